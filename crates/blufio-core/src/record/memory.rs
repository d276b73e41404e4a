//! What is remembered, between the runtime and the storage: what is indexed, what is asked, how facts change.

use crate::ids::{FactChangeId, FactId};
use crate::memory::recall::Candidate;
use crate::memory::vector::Vector;
use crate::memory::{Fact, FactKind, NewFact, Said, Scope, Source};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Bytes of a message that are indexed. More: the rest is not found by its words.
pub const PASSAGE_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a message that are indexed with the one after it. More: its end is.
pub const PASSAGE_BEFORE_BYTES_MAX: usize = 1024;
/// Bytes of a fact's statement. More: refused.
pub const STATEMENT_BYTES_MAX: usize = 1_000;
/// Bytes of a fact's subject. More: refused.
pub const SUBJECT_BYTES_MAX: usize = 200;
/// Facts of a scope, those that hold no more included. Full: refused until some are forgotten.
pub const FACTS_MAX: u32 = 10_000;
/// Changes of facts in one transaction. More: refused.
pub const FACT_CHANGES_MAX: usize = 64;
/// Pieces of one text that have vectors. More: the others are not found by their meaning.
pub const PIECES_MAX: usize = 64;

const _: () = assert!(PASSAGE_BEFORE_BYTES_MAX < PASSAGE_BYTES_MAX);
const _: () = assert!(SUBJECT_BYTES_MAX < STATEMENT_BYTES_MAX);

/// How messages become passages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indexing {
    /// Messages in one transaction. More: the next call takes them.
    pub messages_max: u32,
    /// What the agent is called.
    pub agent: String,
    /// By how many minutes the owner's time is ahead of UTC: days are local ones.
    pub ahead_minutes: i32,
}

/// What is asked of the memory.
#[derive(Clone, Debug)]
pub struct Recall {
    /// Whose memory may answer.
    pub scopes: Vec<Scope>,
    /// The question.
    pub text: String,
    /// Its meaning, and the model that knows it; `None`: only words are compared.
    pub meaning: Option<(String, Vector)>,
    /// What is looked through.
    pub kinds: RecallKinds,
    /// Messages that are before the model anyway, and so are not found.
    pub visible: Option<Source>,
}

/// What is looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecallKinds {
    /// Everything.
    All,
    /// Only what is known; standing facts are never searched for.
    Facts,
    /// Only what was said.
    Passages,
}

/// What was found, for [`crate::memory::recall::choose`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recalled {
    /// In no particular order.
    pub candidates: Vec<Candidate>,
    /// Meanings were compared, too. False also if none is stored of this model.
    pub by_meaning: bool,
}

/// Changes of one scope's facts: all of them, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remember {
    /// Whose facts. Those of others are not found.
    pub scope: Scope,
    /// Who wants it: `owner`, `person:<id>`, `cli`, `blufio`.
    pub by: String,
    /// At most [`FACT_CHANGES_MAX`].
    pub changes: Vec<FactChange>,
}

/// A change of a fact. Nothing is overwritten: what is no longer right stays beside what takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactChange {
    /// A new one. The one that it supersedes was right until then. What is known word for word already is not kept twice.
    Add(Box<NewFact>),
    /// It was wrong: a new one takes its place and the old one is not found any more.
    Edit {
        /// Which.
        id: FactId,
        /// What is right.
        to: Box<FactEdit>,
    },
    /// Gone from the disk, with what it was before it was edited.
    Forget {
        /// Which.
        id: FactId,
        /// The passages that it comes from are not found any more either; the messages themselves stay in their conversation.
        passages: bool,
    },
    /// As it was before a change, unless something has changed since. Also of an undoing.
    Undo(FactChangeId),
}

/// What is right of a fact that was wrong; `None`: as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactEdit {
    /// Who says so.
    pub said: Said,
    /// The kind.
    pub kind: Option<FactKind>,
    /// What it is about.
    pub subject: Option<String>,
    /// The sentence.
    pub statement: Option<String>,
    /// Whether it stays in front.
    pub pinned: Option<bool>,
}

/// What has become of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactState {
    /// It holds, as far as anybody knows.
    Open,
    /// It held until another took its place.
    Superseded,
    /// It was wrong, and another took its place.
    Corrected,
    /// It was added, and that was undone.
    Withdrawn,
}

/// Which facts are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactFilter {
    /// Those that nothing took the place of.
    Open,
    /// All others.
    Closed,
    /// All.
    All,
}

/// A fact for showing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactView {
    /// The fact.
    pub fact: Fact,
    /// What has become of it.
    pub state: FactState,
}

/// A fact with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactHistory {
    /// The fact.
    pub view: FactView,
    /// Those whose place it took, the last one first, at most a hundred.
    pub before: Vec<FactView>,
    /// What was done to it, oldest first.
    pub changes: Vec<FactChangeView>,
}

/// A change for showing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactChangeView {
    /// Its number.
    pub id: FactChangeId,
    /// The fact.
    pub fact: FactId,
    /// What was done.
    pub what: FactChangeKind,
    /// By whom.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// It can be undone, as long as nothing has changed since.
    pub undoable: bool,
}

/// What was done to a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactChangeKind {
    /// It is new.
    Added,
    /// It is new and takes the place of a wrong one.
    Edited,
    /// A change was undone.
    Undone,
    /// It is gone.
    Forgotten,
}

/// How much is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryStatus {
    /// Passages.
    pub passages: u64,
    /// Messages that are still to become passages.
    pub unindexed: u64,
    /// Facts that hold.
    pub facts_open: u64,
    /// All others.
    pub facts_closed: u64,
    /// Vectors, of all models.
    pub vectors: u64,
    /// Bytes of the index of words.
    pub words_bytes: u64,
    /// Bytes of the vectors.
    pub vectors_bytes: u64,
}
