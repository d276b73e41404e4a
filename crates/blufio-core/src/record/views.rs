//! What is read for showing: questions and answers of the store, also the JSON of the control socket.

use super::{
    AuditView, FactFilter, FactHistory, FactView, Grant, MemoryStatus, Pairing, PairingRequest, RunView, ScheduleView,
};
use crate::ids::{
    ApprovalId, AttachmentId, Boot, ChannelName, FactId, InboxId, MessageSeq, ModelId, OutboxId, ScheduleId,
    SessionKey, ToolName, TurnNumber,
};
use crate::memory::{Fact, Scope};
use crate::message::{Part, Role};
use crate::money::MicroUsd;
use crate::session::Input;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What is asked of the store for showing.
#[derive(Clone, Debug)]
pub enum Query {
    /// Counts and sums.
    Status,
    /// Sessions, newest activity first.
    Sessions {
        /// At most this many.
        limit: u32,
    },
    /// The newest messages of a session, oldest of them first.
    Messages {
        /// Which.
        session: SessionKey,
        /// At most this many.
        limit: u32,
    },
    /// The journal of a session's turns, oldest first.
    Journal {
        /// Which.
        session: SessionKey,
        /// Only this turn.
        turn: Option<TurnNumber>,
    },
    /// Approved pairings and waiting requests.
    Pairings,
    /// What became of an inbox row.
    Inbox(InboxId),
    /// What waits in a session, oldest first.
    Waiting(SessionKey),
    /// Questions to an owner that are open.
    Approvals,
    /// What may always run.
    Grants,
    /// The audit log, newest first.
    Audit {
        /// At most this many.
        limit: u32,
        /// Only entries before this one.
        before: Option<u64>,
    },
    /// What a channel could not deliver, and which chats are shut.
    Channel(ChannelName),
    /// Files that a running conversation or an unsent message shows.
    Attachments,
    /// In which topic a message of ours is.
    Thread {
        /// The channel.
        channel: ChannelName,
        /// The account.
        account: i64,
        /// The chat.
        chat: i64,
        /// The message.
        message: i64,
    },
    /// The number of a session.
    Session(SessionKey),
    /// What counts against the budgets.
    Spent {
        /// When the day began.
        day: Timestamp,
        /// When the month began.
        month: Timestamp,
    },
    /// What calls have cost.
    Costs {
        /// Summed up by this.
        by: CostBy,
        /// Of calls opened at this instant or later.
        since: Timestamp,
        /// Of one conversation only.
        session: Option<SessionKey>,
    },
    /// Schedules, those that are off included.
    Schedules {
        /// Of one conversation only.
        session: Option<SessionKey>,
    },
    /// The runs of a schedule, newest first.
    Runs {
        /// Which.
        schedule: ScheduleId,
        /// At most this many.
        limit: u32,
    },
    /// What is known of a scope, newest first.
    Facts {
        /// Whose.
        scope: Scope,
        /// Which.
        filter: FactFilter,
        /// Only those with one of these words.
        search: Option<String>,
        /// At most this many.
        limit: u32,
    },
    /// A fact of a scope, and how it came to be.
    Fact {
        /// Whose.
        scope: Scope,
        /// Which.
        id: FactId,
    },
    /// The standing facts of a scope that nothing took the place of: pinned ones first, then the newest, at most two hundred.
    Standing(Scope),
    /// Conversations in which nobody has spoken since, and of which what is worth knowing was not written down; oldest first.
    Unlearned {
        /// Since this instant.
        before: Timestamp,
        /// At most this many.
        limit: u32,
    },
    /// The memory as it was last written into its file.
    MemoryFile,
    /// How much is remembered.
    Memory,
}

/// By what costs are summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostBy {
    /// Model.
    Model,
    /// Conversation.
    Session,
    /// Agent.
    Agent,
    /// Who asked.
    Person,
    /// What for.
    Purpose,
    /// Why this model.
    Reason,
    /// Quarters of an hour, from which the days of every time zone can be put together: milliseconds since 1970.
    Quarter,
}

/// What some calls have cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostLine {
    /// Which calls; see [`CostBy`].
    pub key: String,
    /// How many.
    pub calls: u64,
    /// Prompt tokens outside the cache.
    pub input: u64,
    /// Prompt tokens written to the five-minute cache.
    pub cache_write_5m: u64,
    /// Prompt tokens written to the one-hour cache.
    pub cache_write_1h: u64,
    /// Prompt tokens read from the cache.
    pub cache_read: u64,
    /// Tokens the model produced.
    pub output: u64,
    /// What they cost, estimates included.
    pub cost: MicroUsd,
    /// Of it by estimate.
    pub estimated: MicroUsd,
    /// Held for calls that are open.
    pub held: MicroUsd,
    /// What the settled calls cost.
    pub settled: MicroUsd,
    /// What the settled calls would have cost without any cache.
    pub uncached: MicroUsd,
}

impl CostLine {
    /// Adds another line's figures.
    pub fn add(&mut self, other: &Self) {
        let sums = [
            (&mut self.calls, other.calls),
            (&mut self.input, other.input),
            (&mut self.cache_write_5m, other.cache_write_5m),
            (&mut self.cache_write_1h, other.cache_write_1h),
            (&mut self.cache_read, other.cache_read),
            (&mut self.output, other.output),
            (&mut self.cost.0, other.cost.0),
            (&mut self.estimated.0, other.estimated.0),
            (&mut self.held.0, other.held.0),
            (&mut self.settled.0, other.settled.0),
            (&mut self.uncached.0, other.uncached.0),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
    }

    /// What the cache has saved; negative if writing it cost more than reading it saved. In micro-dollars.
    #[must_use]
    pub fn saved(&self) -> i64 {
        let signed = |amount: MicroUsd| i64::try_from(amount.0).unwrap_or(i64::MAX);
        signed(self.uncached).saturating_sub(signed(self.settled))
    }
}

/// The answer to a [`Query`]; the variant matches.
#[derive(Clone, Debug)]
pub enum View {
    /// To [`Query::Status`].
    Status(StoreStatus),
    /// To [`Query::Sessions`].
    Sessions(Vec<SessionView>),
    /// To [`Query::Messages`].
    Messages(Vec<MessageView>),
    /// To [`Query::Journal`].
    Journal(Vec<TurnView>),
    /// To [`Query::Pairings`].
    Pairings(Vec<Pairing>, Vec<PairingRequest>),
    /// To [`Query::Inbox`].
    Inbox(Option<InboxView>),
    /// To [`Query::Waiting`]: the words of each.
    Waiting(Vec<String>),
    /// To [`Query::Approvals`].
    Approvals(Vec<ApprovalView>),
    /// To [`Query::Grants`], oldest first.
    Grants(Vec<Grant>),
    /// To [`Query::Audit`].
    Audit(Vec<AuditView>),
    /// To [`Query::Channel`].
    Channel(ChannelView),
    /// To [`Query::Attachments`].
    Attachments(std::collections::BTreeSet<AttachmentId>),
    /// To [`Query::Thread`]; none also if the message is not known.
    Thread(Option<i64>),
    /// To [`Query::Session`].
    Session(Option<crate::ids::SessionId>),
    /// To [`Query::Spent`].
    Spent(crate::budget::Spent),
    /// To [`Query::Costs`], dearest first; by time, oldest first.
    Costs(Vec<CostLine>),
    /// To [`Query::Schedules`], the next one first, those that are off last.
    Schedules(Vec<ScheduleView>),
    /// To [`Query::Runs`].
    Runs(Vec<RunView>),
    /// To [`Query::Facts`].
    Facts(Vec<FactView>),
    /// To [`Query::Fact`]; none also if it is another's.
    Fact(Option<Box<FactHistory>>),
    /// To [`Query::Standing`].
    Standing(Vec<Fact>),
    /// To [`Query::Unlearned`].
    Unlearned(Vec<SessionKey>),
    /// To [`Query::MemoryFile`]; empty: never.
    MemoryFile(String),
    /// To [`Query::Memory`].
    Memory(MemoryStatus),
}

/// An open question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalView {
    /// Its id.
    pub id: ApprovalId,
    /// The conversation that waits.
    pub session: SessionKey,
    /// The tool.
    pub tool: ToolName,
    /// The exact arguments.
    pub input: String,
    /// On whose behalf the conversation wants it: `owner`, or `person:` and an id.
    pub asked_by: String,
    /// Since when.
    pub asked: Timestamp,
    /// A name of all that the answer is bound to, in hexadecimal; the question shows its beginning.
    pub hash: String,
    /// It may be answered with "always".
    pub grantable: bool,
    /// Counts as a no from then on.
    pub expires: Timestamp,
}

/// A channel's way out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelView {
    /// Rows that wait.
    pub waiting: u64,
    /// Rows given up, newest first, at most a hundred.
    pub dead: Vec<DeadView>,
    /// Chats that are shut.
    pub closed: Vec<ChatView>,
}

/// A message that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadView {
    /// Its row.
    pub id: OutboxId,
    /// The chat.
    pub chat: i64,
    /// Its text without markup, the first 200 characters.
    pub text: String,
    /// Why.
    pub error: String,
    /// When it was given up.
    pub at: Timestamp,
}

/// A chat that is shut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatView {
    /// Which.
    pub chat: i64,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// Counts and sums of the whole store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Sessions ever.
    pub sessions: u64,
    /// Turns by outcome: `reply`, `stopped`, `error`, `poison`, `running`.
    pub turns: std::collections::BTreeMap<String, u64>,
    /// Inbox rows that wait.
    pub inbox_pending: u64,
    /// Outbox rows that wait.
    pub outbox_pending: u64,
    /// Age of the oldest of them, milliseconds.
    pub outbox_oldest_ms: u64,
    /// Outbox rows given up in the last 24 hours, newest first: chat and reason, at most ten.
    pub outbox_dead: Vec<(i64, String)>,
    /// Settled or counted by estimate in the last 24 hours.
    pub spent_day: MicroUsd,
    /// Settled or counted by estimate ever.
    pub spent: MicroUsd,
    /// Of it by estimate.
    pub estimated: MicroUsd,
    /// Held now.
    pub held: MicroUsd,
    /// Bytes of the database file.
    pub database_bytes: u64,
    /// Version of the schema.
    pub schema: u32,
}

/// A session in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// Its key.
    pub key: SessionKey,
    /// Messages in it.
    pub messages: u64,
    /// Turns in it.
    pub turns: u64,
    /// A turn runs.
    pub running: bool,
    /// Rows that wait.
    pub pending: u64,
    /// What it has cost.
    pub cost: MicroUsd,
    /// The model of its epoch.
    pub model: Option<ModelId>,
    /// The last message's time.
    pub last: Timestamp,
}

/// A message for showing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageView {
    /// Its place.
    pub seq: MessageSeq,
    /// The turn it belongs to.
    pub turn: TurnNumber,
    /// Who speaks.
    pub role: Role,
    /// The parts.
    pub parts: Vec<Part>,
    /// When.
    pub at: Timestamp,
}

/// A turn and its journal for showing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnView {
    /// Its number.
    pub turn: TurnNumber,
    /// The row it answers.
    pub inbox: InboxId,
    /// How it ended, or `running`.
    pub outcome: String,
    /// Journal entries: number, time, boot, input.
    pub steps: Vec<(u32, Timestamp, Boot, Input)>,
    /// What its calls cost.
    pub cost: MicroUsd,
}

/// An inbox row for somebody who waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxView {
    /// The row.
    pub id: InboxId,
    /// `received`, `claimed`, `done`, `dropped` or `poison`.
    pub state: String,
    /// How its turn ended, or why it was dropped.
    pub outcome: Option<String>,
    /// The visible answer, once its turn is over.
    pub text: Option<String>,
    /// What its turn cost.
    pub cost: MicroUsd,
}
