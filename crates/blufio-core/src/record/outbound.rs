//! What goes out: drafts, the rows that they become, and how sends end.

use super::Route;
use crate::approval::Button;
use crate::content::OutgoingFile;
use crate::ids::{ApprovalId, OutboxId};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// One thing to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Where to.
    pub route: Route,
    /// The rendered body.
    pub body: Rendered,
    /// Replaces this message instead of being a new one.
    pub replaces: Option<i64>,
    /// What it is besides a text.
    pub payload: Payload,
    /// Not before this instant; 0: at once. Only notices and questions may wait, since nobody overtakes anything else.
    pub not_before: Timestamp,
}

impl Draft {
    /// A text, to be sent at once.
    #[must_use]
    pub const fn text(route: Route, body: Rendered) -> Self {
        Self { route, body, replaces: None, payload: Payload::Text, not_before: Timestamp(0) }
    }
}

/// What a message is besides its text. It decides what happens when nobody knows whether it arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Payload {
    /// Nothing else: sent again, marked as a possible duplicate.
    Text,
    /// Something the owner should know: as a text, but it may wait and holds up nothing.
    Notice,
    /// A file with the text below it: given up, and the owner is told.
    File(OutgoingFile),
    /// A question with buttons: the question is void, and a new one with another id is asked.
    Question {
        /// Which.
        approval: ApprovalId,
        /// Its buttons, in one row.
        buttons: Vec<Button>,
    },
}

/// A text as a channel sends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendered {
    /// With markup.
    pub rich: String,
    /// Without, if the markup is refused.
    pub plain: String,
}

/// A row of the outbox that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// The row.
    pub id: OutboxId,
    /// Where to.
    pub route: Route,
    /// The rendered body.
    pub body: Rendered,
    /// Replaces this message instead of being a new one.
    pub replaces: Option<i64>,
    /// What it is besides a text.
    pub payload: Payload,
    /// Tries so far.
    pub attempt: u8,
    /// Not before this instant.
    pub not_before: Timestamp,
    /// An earlier try may have arrived.
    pub maybe_duplicate: bool,
    /// When it was written.
    pub at: Timestamp,
}

/// A change of an outbox row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboxMark {
    /// A try begins; committed before its first byte is written.
    Sending(OutboxId),
    /// Delivered under this number.
    Sent(OutboxId, i64),
    /// Provably not delivered; try again at this instant.
    Again {
        /// The row.
        id: OutboxId,
        /// When.
        not_before: Timestamp,
        /// It was not the row's fault (rate limit, channel down): the try does not count.
        free: bool,
        /// Why.
        error: String,
    },
    /// Bytes were written and no answer was read: sent once more, marked as a possible duplicate; from the second time on after
    /// a pause.
    Uncertain {
        /// The row.
        id: OutboxId,
        /// It was a new message, even if the row is to change one.
        anew: bool,
        /// Why.
        error: String,
    },
    /// Given up, with the reason.
    Dead(OutboxId, String),
    /// The chat is closed to us: all its rows are given up.
    ChatClosed(Route, String),
    /// The chat goes on under this id: its rows wait there.
    Migrated {
        /// The row whose send told us.
        id: OutboxId,
        /// Where it was sent.
        route: Route,
        /// The new id.
        new: i64,
    },
    /// Nobody knows whether a question arrived: it is void, and asked again under another id.
    AskedAgain {
        /// The row.
        id: OutboxId,
        /// The void question.
        void: ApprovalId,
        /// The id of the new one.
        fresh: ApprovalId,
        /// Its text.
        question: Rendered,
        /// Its buttons.
        buttons: Vec<Button>,
    },
}

/// Something for the owners, told at most once in a while.
#[derive(Clone, Debug)]
pub struct Telling {
    /// What it is about; the same word is not told again before `every` has passed.
    pub topic: String,
    /// The pause.
    pub every: std::time::Duration,
    /// The messages.
    pub drafts: Vec<Draft>,
}
