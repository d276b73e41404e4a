//! Durable state: narrow and transactional. Every writing call is one transaction; when it returns, it is on disk.

use super::Boxed;
use crate::audit::{AuditEntry, AuditHead, AuditVerdict};
use crate::content::{Content, Overheard};
use crate::ids::{ChannelName, GrantId, InboxId, MessageSeq, OutboxId, SessionId, SessionKey, TurnNumber};
use crate::memory::vector::Vector;
use crate::memory::{Fact, MemoryId};
use crate::record::{
    Accepted, Batch, Claim, Claimed, Commit, Committed, Decided, DueSchedules, Grant, InboxRow, Indexing,
    NeutralMessage, OutboxMark, OutboxRow, Pairing, PairingChange, Query, Recall, Recalled, Recovered, Remember,
    Retention, ScheduleChange, Snapshot, Telling, Vault, View,
};
use crate::schedule::Schedule;
use crate::time::Timestamp;
use crate::vault::VaultChange;
use std::future::Future;

/// Why the store could not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// A limit of the store is reached; nothing was written. Try again later.
    #[error("{0} is full")]
    Full(&'static str),
    /// No space on the disk; nothing was written. Try again when there is.
    #[error("no space left on the disk that holds the database")]
    DiskFull,
    /// It is not any more what the caller had read; nothing was written. Read again.
    #[error("{0} was changed in between")]
    Stale(&'static str),
    /// Nothing there by that name.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be as it was asked for; nothing was written. Ask for something else.
    #[error("{0}")]
    Refused(String),
    /// The database or its disk failed; nothing was written.
    #[error("{0}")]
    Broken(String),
    /// The store is closed.
    #[error("the database is closed")]
    Closed,
}

/// The store.
pub trait Storage: Send + Sync + 'static {
    /// Begins this process's life: counts the boot, judges rows that ran in the last one, says what waits.
    fn recover(&self, at: Timestamp) -> impl Future<Output = Result<Recovered, StoreError>> + Send;

    /// Takes updates in and moves the channel's cursor, in one transaction. Repeats change nothing.
    fn accept(&self, batch: Batch) -> impl Future<Output = Result<Vec<Accepted>, StoreError>> + Send;

    /// Commits steps of one session with all rows that follow from them, before any effect of theirs runs.
    fn commit(&self, commit: Commit) -> impl Future<Output = Result<Committed, StoreError>> + Send;

    /// Opens a session (creating it if it is new) and loads what its actor needs.
    fn open(&self, key: SessionKey, at: Timestamp) -> impl Future<Output = Result<Snapshot, StoreError>> + Send;

    /// The neutral parts of a session's messages from `first` on, for rendering a new epoch.
    fn parts(
        &self,
        session: SessionId,
        first: MessageSeq,
    ) -> impl Future<Output = Result<Vec<NeutralMessage>, StoreError>> + Send;

    /// The waiting rows of a session, oldest first.
    fn waiting(&self, session: SessionId, limit: u32)
    -> impl Future<Output = Result<Vec<InboxRow>, StoreError>> + Send;

    /// What was said in a session's chat, and not to us, before this row and since the last answer; oldest first.
    fn overheard(
        &self,
        session: SessionId,
        before: InboxId,
    ) -> impl Future<Output = Result<Vec<Overheard>, StoreError>> + Send;

    /// What the last turn of a session answered, unless that is too long ago to be stored.
    fn last_request(&self, session: SessionId) -> impl Future<Output = Result<Option<Content>, StoreError>> + Send;

    /// The answered questions of a turn whose calls still wait.
    fn decisions(
        &self,
        session: SessionId,
        turn: TurnNumber,
    ) -> impl Future<Output = Result<Vec<Decided>, StoreError>> + Send;

    /// The next unsent row of each chat of a channel, oldest first: rows in state `queued` with no earlier unfinished row in
    /// their chat. Also those whose `not_before` lies ahead, so that nobody overtakes them; only notices and questions that must
    /// wait are left out, and hold up nobody.
    fn outbox(
        &self,
        channel: ChannelName,
        limit: u32,
        at: Timestamp,
    ) -> impl Future<Output = Result<Vec<OutboxRow>, StoreError>> + Send;

    /// Writes messages that belong to no turn, unless the same was told a short while ago. False if it was.
    fn tell(&self, telling: Telling, at: Timestamp) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Sends given-up rows of a channel again, one or all that were given up within the last day. Says how many.
    fn revive(
        &self,
        channel: ChannelName,
        row: Option<OutboxId>,
        at: Timestamp,
    ) -> impl Future<Output = Result<u32, StoreError>> + Send;

    /// Changes outbox rows, in one transaction.
    fn mark(&self, marks: Vec<OutboxMark>, at: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Decides about people.
    fn pairing(&self, change: PairingChange, at: Timestamp)
    -> impl Future<Output = Result<Pairing, StoreError>> + Send;

    /// The "always" that holds for what has this hash.
    fn grant(&self, hash: String) -> impl Future<Output = Result<Option<Grant>, StoreError>> + Send;

    /// Takes an "always" back; `by` is who does. False if none of that number holds.
    fn revoke(&self, id: GrantId, by: String, at: Timestamp) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// The vault as it is stored.
    fn vault(&self) -> impl Future<Output = Result<Vault, StoreError>> + Send;

    /// Changes the vault and records it, in one transaction. `over` is the header that was read; if another one is there by
    /// now, the answer is [`StoreError::Stale`].
    fn keep_vault(
        &self,
        over: Option<Vec<u8>>,
        change: VaultChange,
        audit: Vec<AuditEntry>,
        at: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Turns the kill switch and records that `by` did; in front of everything else that waits to be written.
    fn switch(&self, killed: bool, by: String, at: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Changes the schedules and records that it was done. Answers with the schedule as it is now, or as it was before it was
    /// removed.
    fn schedule(
        &self,
        change: ScheduleChange,
        at: Timestamp,
    ) -> impl Future<Output = Result<Schedule, StoreError>> + Send;

    /// What is due, and when more will be. Changes nothing: whoever wants to run one claims it.
    fn due(&self, limit: u32, at: Timestamp) -> impl Future<Output = Result<DueSchedules, StoreError>> + Send;

    /// Takes a time of a schedule: the run, the row that does it and the next time become durable together. Whatever dies
    /// afterwards, the same time is never taken again.
    fn claim(&self, claim: Claim, at: Timestamp) -> impl Future<Output = Result<Claimed, StoreError>> + Send;

    /// Makes passages of messages that are none yet, behind everything else. True if there is more to do.
    fn index(&self, indexing: Indexing) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// The texts that have no vectors of this model yet, newest first.
    fn unembedded(
        &self,
        model: String,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<(MemoryId, String)>, StoreError>> + Send;

    /// Keeps the vectors of texts, one per piece, in place of those they had; with none, a text is not found by its meaning. What
    /// is gone by now is left out.
    fn keep_vectors(
        &self,
        model: String,
        vectors: Vec<(MemoryId, Vec<Vector>)>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Finds what may bear on a question, within its scopes; never waits for the writer.
    fn recall(&self, recall: Recall) -> impl Future<Output = Result<Recalled, StoreError>> + Send;

    /// Changes what is known, in one transaction. Answers with the fact of each change as it is now, none for those forgotten.
    /// What is forgotten has left the disk when this returns, unless somebody still reads; then it does with the next checkpoint.
    fn remember(
        &self,
        remember: Remember,
        at: Timestamp,
    ) -> impl Future<Output = Result<Vec<Option<Fact>>, StoreError>> + Send;

    /// Keeps the memory as it was last written into its file, in place of what was kept.
    fn keep_file(&self, text: String) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Records what has no rows of its own.
    fn audit(&self, entries: Vec<AuditEntry>, at: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Looks at the whole audit log. `since`: a head that was kept elsewhere and must be a part of it.
    fn verify_audit(&self, since: Option<AuditHead>) -> impl Future<Output = Result<AuditVerdict, StoreError>> + Send;

    /// Reads for showing; never waits for the writer.
    fn view(&self, query: Query, at: Timestamp) -> impl Future<Output = Result<View, StoreError>> + Send;

    /// Deletes what is old enough, a little at a time, behind everything else. True if there is more to do.
    fn retain(&self, keep: Retention, at: Timestamp) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// A commit that changes nothing but proves that commits work.
    fn probe(&self, at: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Says goodbye: everything is written, the log is folded into the file.
    fn close(&self, at: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Declares the erased twin and its blanket implementation.
macro_rules! erased {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $output:ty;)*) => {
        /// The erased twin of [`Storage`].
        pub trait AnyStorage: Send + Sync + 'static {
            $(#[doc = concat!("See [`Storage::", stringify!($name), "`].")]
            fn $name(&self, $($argument: $kind),*) -> Boxed<'_, Result<$output, StoreError>>;)*
        }
        impl<S: Storage> AnyStorage for S {
            $(fn $name(&self, $($argument: $kind),*) -> Boxed<'_, Result<$output, StoreError>> {
                Box::pin(Storage::$name(self, $($argument),*))
            })*
        }
    };
}

erased! {
    recover(at: Timestamp) -> Recovered;
    accept(batch: Batch) -> Vec<Accepted>;
    commit(commit: Commit) -> Committed;
    open(key: SessionKey, at: Timestamp) -> Snapshot;
    parts(session: SessionId, first: MessageSeq) -> Vec<NeutralMessage>;
    waiting(session: SessionId, limit: u32) -> Vec<InboxRow>;
    overheard(session: SessionId, before: InboxId) -> Vec<Overheard>;
    last_request(session: SessionId) -> Option<Content>;
    decisions(session: SessionId, turn: TurnNumber) -> Vec<Decided>;
    outbox(channel: ChannelName, limit: u32, at: Timestamp) -> Vec<OutboxRow>;
    tell(telling: Telling, at: Timestamp) -> bool;
    revive(channel: ChannelName, row: Option<OutboxId>, at: Timestamp) -> u32;
    mark(marks: Vec<OutboxMark>, at: Timestamp) -> ();
    pairing(change: PairingChange, at: Timestamp) -> Pairing;
    grant(hash: String) -> Option<Grant>;
    revoke(id: GrantId, by: String, at: Timestamp) -> bool;
    vault() -> Vault;
    keep_vault(over: Option<Vec<u8>>, change: VaultChange, audit: Vec<AuditEntry>, at: Timestamp) -> ();
    switch(killed: bool, by: String, at: Timestamp) -> ();
    schedule(change: ScheduleChange, at: Timestamp) -> Schedule;
    due(limit: u32, at: Timestamp) -> DueSchedules;
    claim(claim: Claim, at: Timestamp) -> Claimed;
    index(indexing: Indexing) -> bool;
    unembedded(model: String, limit: u32) -> Vec<(MemoryId, String)>;
    keep_vectors(model: String, vectors: Vec<(MemoryId, Vec<Vector>)>) -> ();
    recall(recall: Recall) -> Recalled;
    remember(remember: Remember, at: Timestamp) -> Vec<Option<Fact>>;
    keep_file(text: String) -> ();
    audit(entries: Vec<AuditEntry>, at: Timestamp) -> ();
    verify_audit(since: Option<AuditHead>) -> AuditVerdict;
    view(query: Query, at: Timestamp) -> View;
    retain(keep: Retention, at: Timestamp) -> bool;
    probe(at: Timestamp) -> ();
    close(at: Timestamp) -> ();
}
