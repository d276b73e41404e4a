//! How turns end, and what the person reads about it.

use crate::port::Failure;
use serde::{Deserialize, Serialize};

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// With an answer.
    Reply,
    /// The person stopped it; `/stop` itself was answered.
    Stopped,
    /// With an error that the person reads.
    Error(Trouble),
}

impl Outcome {
    /// The word used in the store, in events and in metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Reply => "reply",
            Self::Stopped => "stopped",
            Self::Error(Trouble::Poison) => "poison",
            Self::Error(_) => "error",
        }
    }
}

/// Something to add below an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// It ran out of room.
    LengthLimit,
    /// The conversation fills the model's window.
    ContextFull,
    /// The vendor paused it too often.
    PausedTooOften,
}

impl Notice {
    /// The line the person reads.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::LengthLimit => "(The answer was cut at the length limit. Write “continue” for the rest.)",
            Self::ContextFull => "(This conversation has filled the model's window. /new starts a fresh one.)",
            Self::PausedTooOften => "(The model paused too often; this is what it had. Write “continue” for the rest.)",
        }
    }
}

/// Why a turn ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// The model could not be reached or refused the request.
    Call(Failure),
    /// The stream broke after text was shown that cannot be taken back.
    CutAfterText,
    /// The model declined.
    Refused,
    /// The model said nothing.
    NoReply,
    /// The answer did not fit even the larger room.
    LengthLimit,
    /// Too many rounds of tools.
    Rounds,
    /// The same call again and again.
    Loop,
    /// Too long.
    Deadline,
    /// The process died each time it ran.
    Poison,
    /// A bug in Blufio; the log has it.
    Internal,
}

impl Trouble {
    /// What the person reads: what happened, and what to do.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Call(failure) => failure_text(failure),
            Self::CutAfterText => "(The connection to the model broke here. Write “continue” for the rest.)",
            Self::Refused => "The model declined to answer this. Try to put it another way.",
            Self::NoReply => "(The model ended without a reply.)",
            Self::LengthLimit => {
                "The answer did not fit the length limit. Ask for smaller steps, or raise agents.main.max_tokens."
            }
            Self::Rounds => "I used up the rounds of tool calls for one message. Write “continue” to go on.",
            Self::Loop => "I was repeating the same tool call and stopped. Try to put the task another way.",
            Self::Deadline => "This took too long and was ended. Write “continue” to go on.",
            Self::Poison => {
                "This message made me crash several times, so I gave it up. Everything else works; `blufio session replay` shows what happened."
            }
            Self::Internal => "Something went wrong inside me; the log has the details. Your next message will work.",
        }
    }
}

const fn failure_text(failure: Failure) -> &'static str {
    match failure {
        Failure::RateLimited => "The model's provider is limiting requests right now. Try again in a few minutes.",
        Failure::Overloaded => "The model's provider is overloaded right now. Try again in a few minutes.",
        Failure::Server | Failure::Transport | Failure::Protocol => {
            "The model's provider could not be reached or answered with errors. Try again in a few minutes."
        }
        Failure::Rejected => {
            "The model's provider refused the request; the log has its reason. /new starts a fresh conversation."
        }
        Failure::PromptTooLong => {
            "This conversation has become too long for the model. /compact makes it shorter, and /retry asks again."
        }
        Failure::FileRefused => {
            "The model's provider did not accept a picture or document in this conversation, nor the conversation without it."
        }
        Failure::ThinkingMismatch => {
            "The model's provider did not accept the history. /new starts a fresh conversation."
        }
        Failure::Unauthorized => {
            "The model's provider does not accept the API key. Where Blufio runs: `blufio vault set anthropic.api_key`, then restart."
        }
        Failure::Billing => "The model's provider reports a spending limit or an unpaid bill. Check the account there.",
        Failure::UnknownModel => "The model's provider does not know this model. Choose another with /model.",
        Failure::NoPrice => {
            "The price of this model is not known, so I do not call it. Choose another with /model, or add it to anthropic.models_file."
        }
        Failure::OverBudget => "I stop here to stay within a budget; /cost says how they stand.",
    }
}
