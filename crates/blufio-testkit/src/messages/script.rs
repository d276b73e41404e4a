//! What a test can order: answers in advance ([`Script`]) and trouble ([`Fault`]).
//!
//! Plain data with a JSON form for the standalone server; how it is carried out is the business of other files.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One answer, given instead of the built-in one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// Content of the answer, in order.
    pub blocks: Vec<Block>,
    /// `None`: `tool_use` if there is a call among the blocks, else `end_turn`.
    pub stop_reason: Option<String>,
    /// How texts are cut into deltas.
    pub chunking: Chunking,
    /// Milliseconds before the first event.
    pub first_token_ms: u64,
    /// Milliseconds before each delta.
    pub delta_ms: u64,
    /// Trouble of this answer alone.
    pub faults: Vec<FaultKind>,
    /// Only for a request whose user text of the turn contains this.
    pub only_if: Option<String>,
    /// Only for this model.
    pub model: Option<String>,
}

impl Script {
    /// An answer of these blocks.
    pub fn blocks(blocks: impl IntoIterator<Item = Block>) -> Self {
        Self { blocks: blocks.into_iter().collect(), ..Self::default() }
    }

    /// An answer of one text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::blocks([Block::Text(text.into())])
    }

    /// An answer of one call.
    pub fn tool(name: &str, input: Value) -> Self {
        Self::blocks([Block::tool(name, input)])
    }

    /// The same with another stop reason.
    #[must_use]
    pub fn stop(mut self, reason: &str) -> Self {
        self.stop_reason = Some(reason.to_owned());
        self
    }

    /// The same with a fault.
    #[must_use]
    pub fn fault(mut self, fault: FaultKind) -> Self {
        self.faults.push(fault);
        self
    }

    /// The same, only for requests whose user text contains `text`.
    #[must_use]
    pub fn only_if(mut self, text: &str) -> Self {
        self.only_if = Some(text.to_owned());
        self
    }
}

/// One content block of an answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// A text.
    Text(String),
    /// Thinking, signed by the fake; its text is sent only if the request asks for summaries.
    Thinking(String),
    /// Redacted thinking, signed by the fake.
    Redacted,
    /// A call.
    Tool {
        /// `None`: a fresh one.
        #[serde(default)]
        id: Option<String>,
        /// Name of the tool.
        name: String,
        /// JSON text of the input, sent as it is; it may be cut or broken.
        input: String,
    },
    /// Any block, sent whole in `content_block_start`.
    Raw(Value),
}

impl Block {
    /// A call with a fresh id.
    pub fn tool(name: &str, input: Value) -> Self {
        Self::Tool { id: None, name: name.to_owned(), input: input.to_string() }
    }
}

/// How a text is cut into deltas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chunking {
    /// One delta.
    Whole,
    /// This many words per delta.
    Words(usize),
    /// At most this many bytes per delta, never inside a character.
    Bytes(usize),
}

impl Default for Chunking {
    fn default() -> Self {
        Self::Words(4)
    }
}

/// Trouble for requests to `/v1/messages`, after they were judged.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// For how long.
    pub when: When,
    /// What happens.
    pub kind: FaultKind,
    /// Only for a request whose user text of the turn contains this.
    #[serde(default)]
    pub only_if: Option<String>,
}

impl Fault {
    /// For the next `n` requests.
    pub fn next(n: u32, kind: FaultKind) -> Self {
        Self { when: When::Next(n), kind, only_if: None }
    }

    /// Until the faults are cleared.
    pub fn always(kind: FaultKind) -> Self {
        Self { when: When::UntilCleared, kind, only_if: None }
    }
}

/// For how long a fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// For this many requests that it applies to.
    Next(u32),
    /// Until the faults are cleared.
    UntilCleared,
}

/// What goes wrong. A request gets at most one fault of each [`Class`], the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// An error answer instead of a reply.
    Status {
        /// HTTP status.
        code: u16,
        /// `error.type`; an empty one gives an HTML body, as from a proxy.
        kind: String,
        /// `error.message`.
        #[serde(default)]
        message: String,
        /// `error.details.error_code`.
        #[serde(default)]
        error_code: Option<String>,
        /// The `retry-after` header.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// The connection is reset before any byte.
    ResetConnection,
    /// No byte, until the client goes away.
    NeverAnswer,
    /// `message_start`, then pings until the client goes away.
    SilenceWithPings,
    /// One event (or body) of this many bytes that never ends in a line.
    HugeBody {
        /// Bytes.
        bytes: u64,
    },
    /// These bytes as the event stream, instead of a reply.
    Replay(Vec<u8>),

    /// Events, deltas and a block that no client knows.
    UnknownEvents,
    /// No `usage` anywhere.
    MissingUsage,
    /// Zeroes in `message_start`, everything in `message_delta`.
    UsageAtEnd,
    /// Negative token counts.
    NegativeUsage,
    /// Two or more calls with one id.
    DuplicateToolIds,
    /// A call with an empty id.
    EmptyToolId,
    /// A call in a reply that stops with `end_turn`.
    ToolUseWithEndTurn,
    /// Stop reason `tool_use` without a call.
    ToolUseWithoutCall,
    /// This many calls of the first declared tool.
    ParallelCalls(usize),
    /// A stop reason that no client knows.
    UnknownStopReason,
    /// Stop reason `model_context_window_exceeded`.
    ContextWindowExceeded,

    /// This many events, then an `error` event (without streaming: status 529).
    ErrorEventAfter(usize),
    /// This many bytes of the body, then the end of the connection.
    CutAtByte(usize),
    /// In the middle of the reply an event with this text as data (without streaming: this text as body).
    InvalidJson(String),
    /// The body in pieces of `bytes`, one each `ms` milliseconds.
    Drip {
        /// Bytes of a piece.
        bytes: usize,
        /// Milliseconds between pieces.
        ms: u64,
    },
}

/// What a fault acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Instead of a reply.
    Instead,
    /// The reply itself.
    Reply,
    /// The way of the bytes.
    Transport,
}

impl FaultKind {
    /// What this fault acts on.
    pub fn class(&self) -> Class {
        match self {
            Self::Status { .. }
            | Self::ResetConnection
            | Self::NeverAnswer
            | Self::SilenceWithPings
            | Self::HugeBody { .. }
            | Self::Replay(_) => Class::Instead,
            Self::ErrorEventAfter(_) | Self::CutAtByte(_) | Self::InvalidJson(_) | Self::Drip { .. } => {
                Class::Transport
            }
            Self::UnknownEvents
            | Self::MissingUsage
            | Self::UsageAtEnd
            | Self::NegativeUsage
            | Self::DuplicateToolIds
            | Self::EmptyToolId
            | Self::ToolUseWithEndTurn
            | Self::ToolUseWithoutCall
            | Self::ParallelCalls(_)
            | Self::UnknownStopReason
            | Self::ContextWindowExceeded => Class::Reply,
        }
    }

    /// An error answer without a code and without a hint when to come back.
    pub fn status(code: u16, kind: &str, message: &str) -> Self {
        Self::Status { code, kind: kind.to_owned(), message: message.to_owned(), error_code: None, retry_after: None }
    }

    /// 429 with `retry-after` in seconds.
    pub fn rate_limited(retry_after_s: u64) -> Self {
        Self::Status {
            code: 429,
            kind: "rate_limit_error".to_owned(),
            message: "This request would exceed your organization's rate limit".to_owned(),
            error_code: None,
            retry_after: Some(retry_after_s.to_string()),
        }
    }

    /// 529.
    pub fn overloaded() -> Self {
        Self::status(529, "overloaded_error", "Overloaded")
    }
}
