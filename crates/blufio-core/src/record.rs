//! What the runtime and the storage say to each other: rows in domain terms, without SQL and without futures.
//!
//! Numbers of turns, messages and calls are chosen by the session's one actor, so a commit never has to wait to learn them.

mod audit;
mod inbound;
mod memory;
mod outbound;
mod schedules;
mod vault;
mod views;

pub use audit::{AuditView, Grant};
pub use inbound::{Accepted, Batch, DecisionReplies, Fate, InboxRow, Item, Taken};
pub use memory::{
    FACT_CHANGES_MAX, FACTS_MAX, FactChange, FactChangeKind, FactChangeView, FactEdit, FactFilter, FactHistory,
    FactState, FactView, Indexing, MemoryStatus, PASSAGE_BEFORE_BYTES_MAX, PASSAGE_BYTES_MAX, PIECES_MAX, Recall,
    RecallKinds, Recalled, Remember, STATEMENT_BYTES_MAX, SUBJECT_BYTES_MAX,
};
pub use outbound::{Draft, OutboxMark, OutboxRow, Payload, Rendered, Telling};
pub use schedules::{
    Claim, ClaimWhat, Claimed, DueSchedules, Failing, RunState, RunView, ScheduleChange, ScheduleView,
};
pub use vault::Vault;
pub use views::{
    ApprovalView, ChannelView, ChatView, CostBy, CostLine, DeadView, InboxView, MessageView, Query, SessionView,
    StoreStatus, TurnView, View,
};

use crate::approval::Verdict;
use crate::audit::AuditEntry;
use crate::ids::{
    ApprovalId, Boot, CallId, CallNumber, ChannelName, EpochNumber, GrantId, InboxId, MessageSeq, ModelId, OutboxId,
    SessionId, SessionKey, ToolName, TurnNumber,
};
use crate::memory::Scope;
use crate::message::{Part, Role, Usage};
use crate::money::MicroUsd;
use crate::port::Replay;
use crate::session::{Input, Outcome};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Bytes shared between the store, the session and the wire.
pub type Shared = Arc<[u8]>;

/// Where an answer goes. Built once at intake and carried by value; there is no fallback to another chat.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Route {
    /// The channel.
    pub channel: ChannelName,
    /// The account of the channel (Telegram: the bot's id; local: 0).
    pub account: i64,
    /// The chat (Telegram: the chat's id; local: 0).
    pub chat: i64,
    /// The thread in the chat, if it has threads.
    pub thread: Option<i64>,
    /// The message that is answered.
    pub reply_to: Option<i64>,
}

// ---------------------------------------------------------------- a session's steps

/// One transaction of one session: inputs of the journal and the rows that follow from them.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The session.
    pub session: SessionId,
    /// The turn the steps belong to.
    pub turn: TurnNumber,
    /// New journal entries, in order.
    pub steps: Vec<Step>,
    /// The rows, in order.
    pub records: Vec<Record>,
    /// What is to be recorded besides what the rows themselves bring along: questions, their answers, and what may always run.
    pub audit: Vec<AuditEntry>,
    /// Now.
    pub at: Timestamp,
}

/// A journal entry: an input of the turn's state machine. State is the fold of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// From 1 within the turn.
    pub seq: u32,
    /// When it was decided.
    pub at: Timestamp,
    /// The process start that decided it.
    pub boot: Boot,
    /// What happened.
    pub input: Input,
}

/// A row change that belongs to a step.
#[derive(Clone, Debug)]
pub enum Record {
    /// The turn begins; its inbox row is claimed.
    TurnOpened {
        /// The row it answers.
        inbox: InboxId,
        /// Rows that it answers together with it.
        also: Vec<InboxId>,
        /// When it must be over.
        deadline: Timestamp,
    },
    /// Rows join the running turn; they are over when it is.
    Joined(Vec<InboxId>),
    /// A question to an owner.
    Approval(NewApproval),
    /// A call runs because an owner has said "always"; refused if that was taken back in between.
    GrantUsed {
        /// By which.
        id: GrantId,
        /// The call.
        call: CallId,
    },
    /// Nobody waits any more for the answers to this turn's open questions; the messages that show them say so.
    ApprovalsClosed {
        /// Why.
        why: &'static str,
    },
    /// The time zone chosen for this session; `None` follows the configuration.
    ZoneChosen(Option<String>),
    /// How much work goes into answers of this session; `None` follows the configuration.
    EffortChosen(Option<String>),
    /// A new frozen prefix.
    Epoch(Epoch),
    /// A message joins the conversation.
    Message(NewMessage),
    /// Up to this message, what is worth knowing was written down.
    Learned(MessageSeq),
    /// A model call is about to be sent; its worst case is held in the ledger.
    CallOpened(OpenCall),
    /// The same for a call beside a turn, which is over: its number goes on from the turn's, and it says what for.
    SideCallOpened(OpenCall, Purpose),
    /// A model call is over.
    CallClosed {
        /// Which.
        call: CallNumber,
        /// What it cost.
        cost: CallCost,
        /// The vendor's id of the request, for its support.
        request: Option<String>,
        /// Why it failed, if it did.
        failure: Option<String>,
    },
    /// A tool call and how far it is (inserted or replaced by its call id).
    ToolRun(ToolRun),
    /// Something to send.
    Outbox {
        /// The drafts, in order.
        drafts: Vec<Draft>,
        /// The first one is being sent already (attempt 1), with a permit in hand.
        first_sending: bool,
    },
    /// The message shown while the turn runs, to be replaced by the answer.
    Placeholder {
        /// The channel's number of it.
        message: i64,
    },
    /// The turn and its inbox row are over.
    TurnClosed {
        /// How.
        outcome: Outcome,
        /// The whole visible answer, for readers of the session.
        text: String,
    },
    /// The model chosen for this session; `None` follows the configuration.
    ModelChosen(Option<ModelId>),
    /// A queued command was carried out without a turn.
    CommandDone {
        /// Its row.
        inbox: InboxId,
        /// The answer as text, for readers of the inbox row.
        text: String,
    },
}

/// A frozen triple of tools, system text and model, and the messages rendered under it.
#[derive(Clone, Debug)]
pub struct Epoch {
    /// Its number in the session.
    pub number: EpochNumber,
    /// Who rendered it.
    pub provider: String,
    /// The model.
    pub model: ModelId,
    /// The rendered system text, as sent.
    pub system: Shared,
    /// The rendered tools, as sent.
    pub tools: Shared,
    /// Changes whenever the configuration of both does; files of the workspace have no part in it.
    pub configured: String,
    /// The system text holds what is the owner's own.
    pub private: bool,
    /// The first message that belongs to the prompt.
    pub first: MessageSeq,
    /// Up to this message, words of others are not in the prompt; 0: all are.
    pub cleared: MessageSeq,
    /// What takes the place of the messages before the first one.
    pub summary: Option<Summary>,
    /// Earlier messages rendered anew for it.
    pub wires: Vec<(MessageSeq, Shared)>,
}

/// What takes the place of older messages in a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The words, from a model or not.
    pub text: String,
    /// Words of several people are in it, so that it is nobody's own.
    pub mixed: bool,
    /// It comes from what must not leave this machine except to the model.
    pub private: bool,
    /// Up to this message, large results of tools are one line each.
    pub results_cleared: MessageSeq,
}

/// A message to be stored.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Its place.
    pub seq: MessageSeq,
    /// Who speaks.
    pub role: Role,
    /// The neutral parts.
    pub parts: Vec<Part>,
    /// The bytes for the vendor, under the current epoch.
    pub wire: Shared,
    /// The epoch.
    pub epoch: EpochNumber,
}

/// A model call that is being made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCall {
    /// Its number in the turn.
    pub call: CallNumber,
    /// The model.
    pub model: ModelId,
    /// The worst case, held.
    pub held: MicroUsd,
    /// Estimated prompt tokens.
    pub prompt_tokens: u64,
    /// The room for the answer, in tokens.
    pub max_tokens: u32,
    /// Why this model.
    pub reason: ModelReason,
    /// When it was sent.
    pub at: Timestamp,
}

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A long conversation is made shorter.
    Compaction,
    /// What is worth knowing of a conversation is written down.
    Memory,
    /// A service that wants money for what a tool asks of it; the ledger has the tool's name in the place of the model's.
    Tool,
}

impl Purpose {
    /// The word that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Compaction => "compaction",
            Self::Memory => "memory",
            Self::Tool => "tool",
        }
    }
}

/// Why a call goes to its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelReason {
    /// The configuration says so.
    Usual,
    /// The person has chosen it.
    Chosen,
    /// The wanted one was not available.
    Fallback,
    /// There was too little money for the wanted one.
    Budget,
    /// A courtesy that any model answers well enough.
    Courtesy,
    /// The usual one had failed.
    Trouble,
}

impl ModelReason {
    /// The word that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::Chosen => "chosen",
            Self::Fallback => "fallback",
            Self::Budget => "budget",
            Self::Courtesy => "courtesy",
            Self::Trouble => "trouble",
        }
    }

    /// From that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Usual, Self::Chosen, Self::Fallback, Self::Budget, Self::Courtesy, Self::Trouble]
            .into_iter()
            .find(|reason| reason.as_str() == word)
    }
}

/// How a call is booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallCost {
    /// The vendor said what it used.
    Settled {
        /// The vendor's figures.
        usage: Usage,
        /// What they cost.
        cost: MicroUsd,
        /// What they would have cost without any cache.
        uncached: MicroUsd,
    },
    /// Nobody knows; the estimate counts until somebody corrects it.
    Estimated {
        /// The estimate.
        cost: MicroUsd,
    },
    /// It provably cost nothing (refused before any output).
    Free,
}

/// A question to an owner, bound to exactly one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewApproval {
    /// Its id.
    pub id: ApprovalId,
    /// The call that waits.
    pub call: CallId,
    /// What the answer is bound to: SHA-256 over policy version, tool, arguments, session, turn, call and what the tool adds, in
    /// hexadecimal.
    pub hash: String,
    /// What an "always" would hold for: SHA-256 over policy version, tool and canonical arguments, in hexadecimal. `None`: it
    /// cannot be answered so.
    pub grant: Option<String>,
    /// Where it is shown; `None`: only where approvals are listed.
    pub shown: Option<Route>,
    /// The text of the question.
    pub question: Rendered,
    /// It is sent at this instant at the earliest, so that nobody is woken; 0: at once. What is sent later passes it.
    pub not_before: Timestamp,
    /// Counts as a no from then on.
    pub expires: Timestamp,
}

/// An answered question of a running turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The call that waited.
    pub call: CallId,
    /// The answer.
    pub verdict: Verdict,
    /// The question.
    pub id: ApprovalId,
    /// The tool that was asked about.
    pub tool: ToolName,
    /// The arguments that were shown.
    pub input: String,
    /// What the answer is bound to ([`NewApproval::hash`]).
    pub hash: String,
}

/// A tool call of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolRun {
    /// The model's id.
    pub call: CallId,
    /// Place among the calls of the turn, from 0.
    pub place: u32,
    /// The round that asked for it.
    pub round: u8,
    /// The tool.
    pub name: ToolName,
    /// The arguments as the model wrote them.
    pub input: String,
    /// What may happen after a crash.
    pub replay: Replay,
    /// What an owner's yes is held to besides the arguments (see [`crate::port::Tool::binding`]).
    pub bound: Option<String>,
    /// How far it is.
    pub state: ToolState,
}

/// How far a tool call is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolState {
    /// Waits.
    Planned,
    /// Waits for an owner's yes.
    AwaitingApproval,
    /// Runs, since this boot.
    Started(Boot),
    /// Over.
    Done {
        /// What the model reads.
        content: String,
        /// It is an error.
        error: bool,
    },
    /// Interrupted; nobody knows whether it took effect.
    Unknown,
}

/// What a commit gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The rows of its drafts, in order.
    pub outbox: Vec<OutboxId>,
    /// Those of its rows that are for shut chats: they are not sent.
    pub given_up: Vec<GivenUp>,
}

/// A row for a shut chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// The row.
    pub id: OutboxId,
    /// The chat.
    pub chat: i64,
    /// Why it is shut.
    pub reason: String,
}

/// Everything an actor needs to take a session up.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The session.
    pub id: SessionId,
    /// Its key.
    pub key: SessionKey,
    /// The current epoch.
    pub epoch: Option<Epoch>,
    /// The prompt's messages as stored under the epoch.
    pub history: Vec<StoredMessage>,
    /// The last message's number.
    pub last_message: MessageSeq,
    /// When it was stored.
    pub last_at: Timestamp,
    /// Up to this message, what is worth knowing was written down.
    pub learned: MessageSeq,
    /// Whose memory it is: that of the chat if others read it, else of whoever spoke last.
    pub scope: Scope,
    /// The last turn's number.
    pub last_turn: TurnNumber,
    /// The number of its last call.
    pub last_call: CallNumber,
    /// When that was sent; 0: there was none.
    pub last_call_at: Timestamp,
    /// How long each of its last turns' first calls came after the last one of the turn before; the oldest first.
    pub gaps: Vec<Duration>,
    /// The model chosen by the person.
    pub model: Option<ModelId>,
    /// The time zone chosen by the person.
    pub zone: Option<String>,
    /// The effort chosen by the person.
    pub effort: Option<String>,
    /// A `/stop` was given at this row; a turn of an earlier row must end.
    pub stop_before: InboxId,
    /// The turn that was running.
    pub running: Option<RunningTurn>,
}

/// A message of the prompt.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    /// Its place.
    pub seq: MessageSeq,
    /// Who speaks.
    pub role: Role,
    /// The bytes for the vendor.
    pub wire: Shared,
}

/// A turn that a crash or a shutdown interrupted.
#[derive(Clone, Debug)]
pub struct RunningTurn {
    /// Its number.
    pub turn: TurnNumber,
    /// The row it answers.
    pub inbox: InboxRow,
    /// The last row it answers together with it.
    pub last_inbox: InboxId,
    /// When it must be over.
    pub deadline: Timestamp,
    /// Its journal; empty if it cannot be read.
    pub steps: Vec<Step>,
    /// Its tool calls, in order.
    pub tools: Vec<ToolRun>,
    /// The neutral parts of the assistant messages it has committed.
    pub said: Vec<Vec<Part>>,
    /// The last call's number.
    pub last_call: CallNumber,
    /// Calls that were in flight.
    pub open_calls: Vec<OpenCall>,
    /// The message shown while it runs.
    pub placeholder: Option<i64>,
}

// ---------------------------------------------------------------- start, people, views

/// What a start found.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// This start.
    pub boot: Boot,
    /// The last process ended without saying goodbye.
    pub unclean: bool,
    /// Sessions with a running turn or waiting rows, oldest first.
    pub sessions: Vec<SessionKey>,
    /// Cursors by channel and account.
    pub cursors: Vec<(ChannelName, i64, i64)>,
    /// Approved pairings: channel, account, user, is an owner.
    pub paired: Vec<Pairing>,
    /// Groups that go on under another id: channel, account, new id, the id that they are known as.
    pub aliases: Vec<(ChannelName, i64, i64, i64)>,
    /// Rows of the outbox that a crash caught in the middle of a send.
    pub uncertain_sends: u32,
    /// The kill switch is on.
    pub killed: bool,
}

/// An approved pairing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pairing {
    /// The channel.
    pub channel: ChannelName,
    /// Its account.
    pub account: i64,
    /// Who.
    pub user: i64,
    /// The name given when asking.
    pub name: String,
    /// May do everything.
    pub owner: bool,
    /// Since when.
    pub at: Timestamp,
}

/// A pairing that waits for approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PairingRequest {
    /// The channel.
    pub channel: ChannelName,
    /// Its account.
    pub account: i64,
    /// Who asks.
    pub user: i64,
    /// The name they give themselves.
    pub name: String,
    /// The code.
    pub code: String,
    /// Valid until.
    pub expires: Timestamp,
}

/// An owner's decision about people.
#[derive(Clone, Debug)]
pub enum PairingChange {
    /// Lets the holder of a code in. The first one becomes the owner where there is none.
    Approve {
        /// The code.
        code: String,
        /// Make them an owner.
        owner: bool,
        /// There is an owner already (by configuration).
        has_owner: bool,
    },
    /// Makes a code that lets in whoever shows it first.
    Link {
        /// The channel.
        channel: ChannelName,
        /// Its account.
        account: i64,
        /// The code.
        code: String,
        /// There is an owner already (by configuration).
        has_owner: bool,
    },
    /// Turns a request down.
    Reject {
        /// The code.
        code: String,
    },
    /// Takes an approval back; what waits from that person is dropped.
    Revoke {
        /// Who.
        user: i64,
    },
}

/// How long things are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Messages older than this many days go; 0 keeps them for ever. The details of the audit log go with them, and after 90
    /// days in any case; the log itself stays.
    pub messages_days: u32,
}

/// A message without vendor bytes, for rendering it anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeutralMessage {
    /// Its place.
    pub seq: MessageSeq,
    /// Who speaks.
    pub role: Role,
    /// The parts.
    pub parts: Vec<Part>,
}
