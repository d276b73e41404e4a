//! The orders that a turn gives.

use super::input::Timer;
use super::trouble::{Notice, Outcome};
use crate::ids::CallId;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// An order. Rows are committed with the input that caused it; actions follow the commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Row: the model's answer joins the conversation.
    KeepReply,
    /// Row: the tool gets this error as its result and does not run.
    RefuseTool {
        /// Which.
        call: CallId,
        /// What the model reads.
        why: String,
    },
    /// Row: the tool was interrupted; nobody knows whether it took effect.
    ForgetTool {
        /// Which.
        call: CallId,
    },
    /// Row: the results of the round join the conversation.
    AppendResults {
        /// Tell the model that there will be no more rounds.
        last: bool,
    },
    /// Row: a line of ours stands where the model's answer is missing.
    AppendNote(Note),
    /// Rows and action: the turn is over.
    Finish {
        /// How.
        outcome: Outcome,
        /// Something to add to the answer.
        notice: Option<Notice>,
    },
    /// Row: the prompt is rendered anew without any thinking.
    DropThinking,
    /// Row: the prompt is rendered anew with its files described instead of shown.
    DropFiles,
    /// Row and action: ask the model.
    CallModel {
        /// The other model.
        fallback: bool,
        /// With more room for the answer than usual.
        more_room: bool,
    },
    /// Row and action: run the tool.
    StartTool {
        /// Which.
        call: CallId,
    },
    /// Row and action: ask an owner.
    AskApproval {
        /// The call that waits.
        call: CallId,
    },
    /// Row: questions that are still open are closed.
    CloseApprovals,
    /// Action: wake me then.
    Arm {
        /// The timer.
        timer: Timer,
        /// When.
        at: Timestamp,
    },
    /// Action: whatever runs for this turn ends now.
    Cancel,
}

/// Our line in place of an answer, so that roles always alternate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// The person stopped it.
    Stopped,
    /// The model said nothing, or declined.
    NoReply,
    /// Something failed.
    Error,
}

impl Note {
    /// The text in the conversation.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "[stopped]",
            Self::NoReply => "[no reply]",
            Self::Error => "[error]",
        }
    }
}
