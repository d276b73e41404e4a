//! The facts that a turn takes; serialised, they are its journal.

use crate::approval::Verdict;
use crate::ids::{CallId, ToolName};
use crate::message::StopReason;
use crate::port::{Failure, Replay};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A fact. The serialised form is the journal's, version [`JOURNAL_VERSION`]; `journal_entries_keep_their_form` pins it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Input {
    /// The turn begins.
    Admitted {
        /// Rounds of tool calls it may take.
        rounds_max: u8,
        /// Another model may be asked when the first is not available.
        fallback: bool,
        /// When it must be over.
        deadline: Timestamp,
    },
    /// The model has answered.
    CallDone {
        /// Why it stopped.
        stop: StopReason,
        /// The tools it asks for, judged.
        calls: Vec<CallFacts>,
        /// It wrote something a person can read.
        text: bool,
        /// There is anything at all to keep.
        content: bool,
        /// The last tool call is cut off.
        cut: bool,
    },
    /// A try failed.
    CallFailed {
        /// How.
        failure: Failure,
        /// The vendor's wish.
        retry_after_ms: Option<u64>,
        /// Text was shown that cannot be taken back.
        shown: bool,
        /// 0 to 1,000, so that the pause is decided here and chance is not.
        jitter: u16,
    },
    /// A tool has ended; its result is in its row.
    ToolDone {
        /// Which.
        call: CallId,
    },
    /// An owner has answered.
    Decided {
        /// The call that waited.
        call: CallId,
        /// The answer.
        verdict: Verdict,
    },
    /// An owner has answered, but the call that waits is not what was asked about.
    Void {
        /// The call.
        call: CallId,
    },
    /// A timer has rung.
    Fired {
        /// Which.
        timer: Timer,
    },
    /// The person said stop.
    Stop,
    /// The process has started anew while the turn ran.
    Restarted {
        /// Starts in which it ran without getting anywhere.
        attempts: u32,
    },
    /// The code that ran the turn panicked; the process lives.
    Panicked,
}

/// Version of the serialised [`Input`].
pub const JOURNAL_VERSION: u32 = 1;

/// The timers of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timer {
    /// The turn has run for too long.
    Deadline,
    /// The pause before the next try is over.
    Retry,
    /// Nobody has answered in time.
    Approval,
}

/// A tool call as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFacts {
    /// The model's id.
    pub id: CallId,
    /// The tool.
    pub name: ToolName,
    /// What may happen after a crash.
    pub replay: Replay,
    /// Equal for calls with the same name and arguments.
    pub fingerprint: u64,
    /// Why it may not run: unknown tool, arguments that are no JSON or do not fit, denied by policy.
    pub refused: Option<String>,
    /// An owner has to say yes first.
    pub ask: bool,
    /// The owner rests until then, and the question waits; `None`: it is asked at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask_from: Option<Timestamp>,
}
