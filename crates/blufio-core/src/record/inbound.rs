//! What comes in: updates with their fate, and the rows that become of them.

use super::{Draft, Pairing, Route, Shared};
use crate::access::Principal;
use crate::approval::Verdict;
use crate::content::{Content, Overheard};
use crate::ids::{ApprovalId, ChannelName, InboxId, SessionKey};
use crate::time::Timestamp;

/// Updates of one channel account that become durable together with the channel's cursor.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The channel.
    pub channel: ChannelName,
    /// Its account.
    pub account: i64,
    /// The updates in order.
    pub items: Vec<Item>,
    /// The cursor after them (Telegram: the next offset); `None` leaves it.
    pub cursor: Option<i64>,
    /// Now.
    pub at: Timestamp,
}

/// One update, judged.
#[derive(Clone, Debug)]
pub struct Item {
    /// The channel's number of the update.
    pub update: i64,
    /// Tells a reused number from a repeat; with channel, account and number it is the identity of the update.
    pub fingerprint: String,
    /// The update as it came; empty where nothing of a stranger's text may be kept.
    pub raw: Shared,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of an update.
#[derive(Clone, Debug)]
pub enum Fate {
    /// Waits for a turn (a message, or a command that must keep its place in the order).
    Queue {
        /// The conversation.
        session: SessionKey,
        /// Where the answer goes.
        route: Route,
        /// Who speaks.
        principal: Principal,
        /// Their id, as the channel knows it.
        user: i64,
        /// What was said.
        content: Content,
        /// Pieces of one message have the same word.
        album: Option<String>,
        /// Sent if the session's queue is full; the row is then `dropped(full)`.
        when_full: Option<Draft>,
        /// Rows that may wait in this session.
        pending_max: u32,
    },
    /// Said where the agent is, but not to it: kept for its next answer there.
    Overhear {
        /// The conversation.
        session: SessionKey,
        /// Who, and what.
        heard: Overheard,
        /// How many are kept; the oldest go.
        keep: u32,
    },
    /// A reaction: kept for the next answer if it is to a message of ours, otherwise recorded and forgotten.
    React {
        /// The chat.
        chat: i64,
        /// The message.
        message: i64,
        /// Who.
        name: String,
        /// With what.
        emoji: String,
    },
    /// An answer to a question.
    Decide {
        /// Which question.
        approval: ApprovalId,
        /// The answer.
        verdict: Verdict,
        /// Who answers: shown with the question.
        by: String,
        /// Counts only from this message in this chat (a pressed button).
        at: Option<(i64, i64)>,
        /// Sent as the answer to a command, by what became of it.
        replies: Option<Box<DecisionReplies>>,
    },
    /// A group goes on under another id: what waits for the old one goes to the new one.
    Migrate {
        /// The old id.
        old: i64,
        /// The new id.
        new: i64,
    },
    /// A chat is shut (its rows are given up) or open again.
    Chat {
        /// Which.
        chat: i64,
        /// Why it is shut.
        closed: Option<&'static str>,
    },
    /// A stranger shows a code from `pairing link`.
    Link {
        /// Who.
        user: i64,
        /// The name they give themselves.
        name: String,
        /// The code.
        code: String,
        /// Sent if it is right; a wrong one is counted and gets no answer.
        welcome: Draft,
    },
    /// `/stop`: drops what waits in the session before it, and marks the running turn to be stopped.
    Stop {
        /// The conversation.
        session: SessionKey,
        /// The answer as text, for readers of the inbox row.
        text: String,
        /// The answer to send, only if the update is new.
        reply: Option<Draft>,
    },
    /// `/kill` and `/resume`: from now on nothing runs, or everything runs again.
    Switch {
        /// Nothing runs.
        killed: bool,
        /// Who wants it, for the audit log.
        by: String,
        /// The answer as text, for readers of the inbox row.
        text: String,
        /// The answer to send, only if the update is new.
        reply: Option<Draft>,
    },
    /// Answered at once, without a turn.
    Answer {
        /// The answer as text, for readers of the inbox row.
        text: String,
        /// The answer to send, only if the update is new.
        reply: Option<Draft>,
    },
    /// A stranger asks to be let in.
    Pair {
        /// Who.
        user: i64,
        /// The name they give themselves, for the owner's list; proves nothing.
        name: String,
        /// The code they would get.
        code: String,
        /// Sent if the request was taken (few may wait, few replies may be sent).
        reply: Draft,
    },
    /// New text of a message that may still wait; otherwise only recorded.
    Edit {
        /// The conversation.
        session: SessionKey,
        /// The channel's number of the message.
        message: i64,
        /// The new text.
        text: String,
    },
    /// Recorded and forgotten: an unknown kind, or somebody who may not speak.
    Drop {
        /// Why, one word.
        reason: &'static str,
    },
    /// Not readable as an update.
    Poison,
}

/// What somebody who answered a question by a command is told.
#[derive(Clone, Debug)]
pub struct DecisionReplies {
    /// It counts.
    pub decided: Draft,
    /// It was answered before, or nobody waits for it any more.
    pub late: Draft,
}

/// What the store did with one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The row, new or old.
    pub inbox: InboxId,
    /// False for a repeat: nothing was done.
    pub new: bool,
    /// What became of it.
    pub taken: Taken,
}

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Waits for a turn.
    Queued,
    /// Nothing more will happen (answered, dropped, poison, refused because full).
    Closed,
    /// A question is answered; the turn of this conversation waits for it.
    Decided(SessionKey, Verdict),
    /// The question was answered before.
    AlreadyDecided,
    /// Somebody was let in.
    Paired(Pairing),
}

/// A row of the inbox that waits for, or runs in, a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxRow {
    /// The row.
    pub id: InboxId,
    /// Where the answer goes.
    pub route: Route,
    /// Who speaks.
    pub principal: Principal,
    /// Their id, as the channel knows it; `None` in rows of earlier versions.
    pub user: Option<i64>,
    /// What was said.
    pub content: Content,
    /// Pieces of one message have the same word.
    pub album: Option<String>,
    /// Boots in which it ran without progress.
    pub attempts: u32,
    /// When it came.
    pub at: Timestamp,
}
