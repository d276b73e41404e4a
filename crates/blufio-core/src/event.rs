//! What a reader of a session sees while a turn runs: numbered, so that it can go on where it left off.

use crate::ids::{InboxId, ToolName};
use serde::{Deserialize, Serialize};

/// One event of a session's stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Rises by one per session; starts again with every process start.
    pub number: u64,
    /// The inbox row whose turn it belongs to.
    pub inbox: InboxId,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventKind {
    /// A turn began.
    TurnStarted,
    /// The model wrote more text. For display only; `turn_done` carries the truth.
    Text {
        /// The new piece.
        delta: String,
    },
    /// The try that wrote the text since the last boundary failed; what it wrote is void and is written again.
    TextVoided,
    /// A tool runs.
    ToolStarted {
        /// Which.
        tool: ToolName,
    },
    /// A tool is done.
    ToolDone {
        /// Which.
        tool: ToolName,
        /// It returned an error to the model.
        error: bool,
    },
    /// A tool waits for an owner's answer.
    Asked {
        /// The question, as Markdown.
        question: String,
    },
    /// The turn is over.
    TurnDone {
        /// How: `reply`, `stopped`, `error` or `poison`.
        outcome: String,
        /// The whole visible answer.
        text: String,
    },
}
