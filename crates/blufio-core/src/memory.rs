//! What the agent remembers: passages, which are what was said, word for word, and facts, which are what is known of it.

pub mod document;
pub mod extract;
pub mod moment;
pub mod plain;
pub mod recall;
pub mod vector;
pub mod words;

use crate::access::Principal;
use crate::ids::{FactId, MessageSeq, PassageId, SessionId, SessionKey};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Whose memory it is. Nothing reads or writes another's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(String);

impl Scope {
    /// What is said between one person and the agent.
    #[must_use]
    pub fn of(principal: &Principal) -> Self {
        match principal {
            Principal::Owner => Self("owner".to_owned()),
            Principal::Person(id) => Self(format!("person:{id}")),
        }
    }

    /// What is said in a chat that others read, too.
    #[must_use]
    pub fn chat(session: &SessionKey) -> Self {
        Self(format!("chat:{session}"))
    }

    /// As it is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes a stored one.
    #[must_use]
    pub fn stored(text: String) -> Self {
        Self(text)
    }
}

/// A message of a conversation, as it can be found again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Its number.
    pub id: PassageId,
    /// Whose it is.
    pub scope: Scope,
    /// The conversation.
    pub session: SessionId,
    /// The message.
    pub seq: MessageSeq,
    /// When it was said.
    pub at: Timestamp,
    /// Who said it: a person's name, or the agent's.
    pub speaker: String,
    /// The words, without tool calls and their results.
    pub text: String,
    /// Words of others are in it, or may be.
    pub foreign: bool,
}

/// Something that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryId {
    /// A passage.
    Passage(PassageId),
    /// A fact.
    Fact(FactId),
}

/// What a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactKind {
    /// A lasting wish or instruction of the person; always in front, never searched for.
    Standing,
    /// Something that holds until it is superseded.
    Fact,
    /// Something that happened, or will, at a time.
    Event,
}

/// Who said a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// The owner, in own words or by hand.
    Owner,
    /// Another person, of itself.
    Person,
    /// The agent.
    Agent,
    /// Words of others, or such that follow them: never standing, and always labelled.
    Foreign,
}

/// The messages that a fact comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The conversation.
    pub session: SessionId,
    /// The first message.
    pub first: MessageSeq,
    /// The last one.
    pub last: MessageSeq,
}

/// What is to be known from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFact {
    /// Whose it is.
    pub scope: Scope,
    /// What it is about.
    pub kind: FactKind,
    /// Whom or what it is about, in a few words.
    pub subject: String,
    /// One sentence that can be understood alone.
    pub statement: String,
    /// Where it comes from; `None`: written by hand.
    pub source: Option<Source>,
    /// Who said it.
    pub said: Said,
    /// How sure it is, in percent.
    pub confidence: u8,
    /// Since when it holds, if that is known.
    pub valid_from: Option<Timestamp>,
    /// Until when, if that is known.
    pub valid_to: Option<Timestamp>,
    /// The fact that it takes the place of.
    pub supersedes: Option<FactId>,
    /// It stays in front when there is no room for others.
    pub pinned: bool,
}

/// Something that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Its number.
    pub id: FactId,
    /// What is known.
    pub fact: NewFact,
    /// When it was learned.
    pub learned_at: Timestamp,
    /// The fact that has taken its place.
    pub superseded_by: Option<FactId>,
}

impl Fact {
    /// Whether it still holds. What has happened stays so, whenever it was.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        let over = self.fact.valid_to.is_some_and(|end| end <= now);
        self.superseded_by.is_none() && !(over && self.fact.kind != FactKind::Event)
    }
}
