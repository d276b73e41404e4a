//! SQLite storage: inbox, journal, conversation, ledger and outbox in one file.
//!
//! One thread writes, two read; nothing blocks the caller's thread (unless [`Executor::Inline`] is asked for). It refuses to
//! know what the rows mean to the engine: it keeps the promises of [`blufio_core::port::Storage`], decides nothing, reads no
//! clock and sends nothing.

mod accept;
mod approvals;
mod audit;
mod blobs;
mod chats;
mod commit;
mod export;
mod facts;
mod fault;
mod grants;
mod lanes;
mod ledger;
mod open;
mod outbox;
mod overheard;
mod pairing;
mod passages;
mod readers;
mod recall;
mod recover;
mod retain;
mod rows;
mod runs;
mod schedules;
mod snapshot;
mod vault;
mod vectors;
mod view;
mod writer;

pub use blobs::FileBlobs;
pub use export::{Rewrite, encrypt, opens, rekey};
pub use open::{BYTES_MAX, OpenError, schema};

use blufio_core::audit::{AuditEntry, AuditHead, AuditVerdict};
use blufio_core::content::{Content, Overheard};
use blufio_core::ids::{ChannelName, GrantId, InboxId, MessageSeq, OutboxId, SessionId, SessionKey, TurnNumber};
use blufio_core::keys::DatabaseKey;
use blufio_core::memory::vector::Vector;
use blufio_core::memory::{Fact, MemoryId};
use blufio_core::port::{Clock, Storage, StoreError};
use blufio_core::record::{
    Accepted, Batch, Claim, Claimed, Commit, Committed, Decided, DueSchedules, FactChange, Fate, Grant, InboxRow,
    Indexing, NeutralMessage, OutboxMark, OutboxRow, Pairing, PairingChange, Query, Recall, Recalled, Recovered,
    Remember, Retention, ScheduleChange, Snapshot, Telling, Vault, View,
};
use blufio_core::schedule::Schedule;
use blufio_core::time::Timestamp;
use blufio_core::vault::VaultChange;
use fault::Done;
use lanes::{Lane, Lanes, Next};
use readers::{READERS, Reader};
use rusqlite::Connection;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use tokio::sync::mpsc;
use vectors::Signs;
use writer::{Job, Work, Writer};
use zeroize::Zeroizing;

/// How long the writer has nothing to do before it tidies up.
const IDLE: Duration = Duration::from_millis(200);
/// How long a shutdown waits for readers before it leaves the log where it is (the next start reads it).
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Where work happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executor {
    /// On threads of its own, so that nobody's task ever waits for a disk.
    Thread,
    /// On the calling task, for simulations whose time stands still while a thread would run.
    Inline,
}

/// What the opener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The process that holds the lock: reads and writes.
    Owner,
    /// Somebody beside it: reads only, changes nothing, migrates nothing.
    Reader,
}

/// How to open the store.
#[derive(Clone)]
pub struct Options {
    /// Where work happens.
    pub executor: Executor,
    /// What the opener is.
    pub role: Role,
    /// Measures how long a transaction and a read take (monotonic time only).
    pub clock: Arc<dyn Clock>,
    /// Seals the entries of the audit log, and is needed to look at the seals; without it they have none.
    pub audit_key: Option<Zeroizing<[u8; 32]>>,
}

/// The store.
pub struct Store {
    engine: Engine,
    commits: Arc<AtomicU64>,
    signs: Arc<Signs>,
    /// This process has taken the store over; only then may it say that it left in good order.
    recovered: AtomicBool,
    audit_key: Option<Zeroizing<[u8; 32]>>,
    clock: Arc<dyn Clock>,
}

enum Engine {
    Threads {
        writer: Option<Arc<Lanes<Work>>>,
        readers: Arc<Lanes<Box<dyn Job>>>,
        threads: Mutex<Vec<JoinHandle<()>>>,
        /// Gives nothing; ends when every thread has let go of its connection.
        ended: tokio::sync::Mutex<mpsc::Receiver<()>>,
    },
    /// `None` in the writer's place once closed, or if the role may not write.
    Inline { writer: Mutex<Option<Box<Writer>>>, reader: Box<Mutex<Reader>> },
}

impl Store {
    /// Opens the file, creating and migrating it if the role may. Its folder must exist and belong to us alone. With a key
    /// the file is an encrypted one, without it a plain one, and neither is ever taken for the other.
    ///
    /// # Errors
    /// The file is not ours, needs another key, is of a later version, or cannot be read or created.
    pub fn open(path: &Path, key: Option<&DatabaseKey>, options: Options) -> Result<Self, OpenError> {
        let commits = Arc::new(AtomicU64::new(0));
        let writer = match options.role {
            Role::Owner => Some(Writer {
                connection: open::writer(path, key, options.audit_key.clone())?,
                clock: Arc::clone(&options.clock),
                commits: Arc::clone(&commits),
                log: log_beside(path),
            }),
            Role::Reader => None,
        };
        let reader = || {
            Reader::new(open::reader(path, key)?, Arc::clone(&options.clock))
                .map_err(|fault| OpenError::Database(StoreError::from(fault).to_string()))
        };
        let engine = match options.executor {
            Executor::Inline => {
                Engine::Inline { writer: Mutex::new(writer.map(Box::new)), reader: Box::new(Mutex::new(reader()?)) }
            }
            Executor::Thread => {
                let readers = (0..READERS).map(|_| reader()).collect::<Result<Vec<_>, _>>()?;
                threads(writer, readers).map_err(OpenError::File)?
            }
        };
        let Options { clock, audit_key, .. } = options;
        Ok(Self { engine, commits, signs: Arc::default(), recovered: AtomicBool::new(false), audit_key, clock })
    }

    /// Transactions committed by this process, for tests and metrics.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Sets how many bytes the file may have, [`BYTES_MAX`] unless told. Full: commits fail with [`StoreError::DiskFull`] and
    /// write nothing, until retention has made room.
    ///
    /// # Errors
    /// The store is closed.
    pub async fn limit_bytes(&self, bytes: u64) -> Result<(), StoreError> {
        self.alone(move |connection| open::limit_bytes(connection, bytes)).await
    }

    /// Runs `work` in a transaction and answers once it is on disk.
    async fn write<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce(&Connection) -> Done<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (job, answer) = writer::task(work);
        self.give(lane, Work::Write(job)).await?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Runs `work` on the writing connection, behind everything else and without a transaction.
    async fn alone<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Done<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (job, answer) = writer::task(work);
        self.give(Lane::Background, Work::Alone(job)).await?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    async fn give(&self, lane: Lane, work: Work) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Threads { writer: Some(lanes), .. } => lanes.push(lane, work).await,
            Engine::Threads { writer: None, .. } => Err(StoreError::Closed),
            Engine::Inline { writer, .. } => {
                let writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                writer.as_ref().map(|writer| writer.serve(work, || None)).ok_or(StoreError::Closed)
            }
        }
    }

    /// Runs `work` on a reading connection, on one consistent picture.
    async fn read<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce(&Connection) -> Done<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (job, answer) = writer::task(work);
        match &self.engine {
            Engine::Threads { readers, .. } => readers.push(lane, job).await?,
            Engine::Inline { reader, .. } => reader.lock().unwrap_or_else(PoisonError::into_inner).serve(job),
        }
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Drop for Store {
    /// Everything that was taken is served, then the files are closed.
    fn drop(&mut self) {
        if let Engine::Threads { writer, readers, threads, .. } = &mut self.engine {
            readers.close();
            if let Some(writer) = writer {
                writer.close();
            }
            join(threads);
        }
    }
}

/// Waits until the threads are gone, with everything that libraries keep per thread.
fn join(threads: &Mutex<Vec<JoinHandle<()>>>) {
    let threads = std::mem::take(&mut *threads.lock().unwrap_or_else(PoisonError::into_inner));
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread of the store panicked");
        }
    }
}

/// `blufio.db` has its log in `blufio.db-wal`.
fn log_beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push("-wal");
    PathBuf::from(name)
}

/// Closes the lanes of a thread that ends, also by a panic, so that nobody waits for it.
struct Ending<J>(Arc<Lanes<J>>);

impl<J> Drop for Ending<J> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Starts the threads; the only place that does.
fn threads(writer: Option<Writer>, readers: Vec<Reader>) -> std::io::Result<Engine> {
    let mut threads = Vec::new();
    // Nothing is ever sent: a receiver learns when all senders are gone.
    let (running, ended) = mpsc::channel(1);
    let lanes = match writer {
        Some(writer) => {
            let lanes = Arc::new(Lanes::new());
            let (ending, running) = (Ending(Arc::clone(&lanes)), running.clone());
            threads.push(Builder::new().name("store-writer".to_owned()).spawn(move || {
                write_all(&ending.0, &writer);
                drop(writer);
                drop(running);
            })?);
            Some(lanes)
        }
        None => None,
    };
    let reads = Arc::new(Lanes::new());
    for reader in readers {
        let (ending, running) = (Ending(Arc::clone(&reads)), running.clone());
        threads.push(Builder::new().name("store-reader".to_owned()).spawn(move || {
            read_all(&ending.0, &reader);
            drop(reader);
            drop(running);
        })?);
    }
    let (threads, ended) = (Mutex::new(threads), tokio::sync::Mutex::new(ended));
    Ok(Engine::Threads { writer: lanes, readers: reads, threads, ended })
}

fn write_all(lanes: &Lanes<Work>, writer: &Writer) {
    let mut patience = Some(IDLE);
    loop {
        match lanes.next(patience) {
            Next::Job(work) => {
                writer.serve(work, || lanes.more());
                patience = Some(IDLE);
            }
            Next::Idle => {
                writer.rest();
                patience = None;
            }
            Next::Closed => return,
        }
    }
}

fn read_all(lanes: &Lanes<Box<dyn Job>>, reader: &Reader) {
    while let Next::Job(job) = lanes.next(None) {
        reader.serve(job);
    }
}

impl Storage for Store {
    async fn recover(&self, at: Timestamp) -> Result<Recovered, StoreError> {
        let recovered = self.write(Lane::Normal, move |connection| recover::recover(connection, at)).await?;
        self.recovered.store(true, Ordering::Relaxed);
        Ok(recovered)
    }

    async fn accept(&self, batch: Batch) -> Result<Vec<Accepted>, StoreError> {
        let stops = batch.items.iter().any(|item| matches!(item.fate, Fate::Stop { .. } | Fate::Switch { .. }));
        let lane = if stops { Lane::Urgent } else { Lane::Normal };
        self.write(lane, move |connection| accept::accept(connection, &batch)).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        self.write(Lane::Normal, move |connection| commit::commit(connection, &commit)).await
    }

    async fn open(&self, key: SessionKey, at: Timestamp) -> Result<Snapshot, StoreError> {
        let known = key.clone();
        if let Some(snapshot) =
            self.read(Lane::Normal, move |connection| snapshot::snapshot(connection, &known)).await?
        {
            return Ok(snapshot);
        }
        let new = move |connection: &Connection| {
            accept::session(connection, &key, at)?;
            snapshot::snapshot(connection, &key)?.ok_or_else(|| fault::not_found(format!("no session `{key}`")))
        };
        self.write(Lane::Normal, new).await
    }

    async fn parts(&self, session: SessionId, first: MessageSeq) -> Result<Vec<NeutralMessage>, StoreError> {
        self.read(Lane::Normal, move |connection| snapshot::parts(connection, session, first)).await
    }

    async fn waiting(&self, session: SessionId, limit: u32) -> Result<Vec<InboxRow>, StoreError> {
        self.read(Lane::Normal, move |connection| snapshot::waiting(connection, session, limit)).await
    }

    async fn overheard(&self, session: SessionId, before: InboxId) -> Result<Vec<Overheard>, StoreError> {
        self.read(Lane::Normal, move |connection| overheard::before(connection, session, before)).await
    }

    async fn last_request(&self, session: SessionId) -> Result<Option<Content>, StoreError> {
        self.read(Lane::Normal, move |connection| snapshot::last_request(connection, session)).await
    }

    async fn decisions(&self, session: SessionId, turn: TurnNumber) -> Result<Vec<Decided>, StoreError> {
        self.read(Lane::Normal, move |connection| approvals::decided(connection, session, turn)).await
    }

    async fn outbox(&self, channel: ChannelName, limit: u32, at: Timestamp) -> Result<Vec<OutboxRow>, StoreError> {
        self.read(Lane::Normal, move |connection| outbox::heads(connection, &channel, limit, at)).await
    }

    async fn tell(&self, telling: Telling, at: Timestamp) -> Result<bool, StoreError> {
        self.write(Lane::Normal, move |connection| outbox::tell(connection, &telling, at)).await
    }

    async fn revive(&self, channel: ChannelName, row: Option<OutboxId>, at: Timestamp) -> Result<u32, StoreError> {
        self.write(Lane::Normal, move |connection| outbox::revive(connection, &channel, row, at)).await
    }

    async fn mark(&self, marks: Vec<OutboxMark>, at: Timestamp) -> Result<(), StoreError> {
        self.write(Lane::Normal, move |connection| outbox::mark(connection, &marks, at)).await
    }

    async fn pairing(&self, change: PairingChange, at: Timestamp) -> Result<Pairing, StoreError> {
        self.write(Lane::Normal, move |connection| pairing::decide(connection, &change, at)).await
    }

    async fn grant(&self, hash: String) -> Result<Option<Grant>, StoreError> {
        self.read(Lane::Normal, move |connection| grants::find(connection, &hash)).await
    }

    async fn revoke(&self, id: GrantId, by: String, at: Timestamp) -> Result<bool, StoreError> {
        self.write(Lane::Urgent, move |connection| grants::revoke(connection, id, &by, at)).await
    }

    async fn vault(&self) -> Result<Vault, StoreError> {
        self.read(Lane::Normal, vault::vault).await
    }

    async fn keep_vault(
        &self,
        over: Option<Vec<u8>>,
        change: VaultChange,
        audit: Vec<AuditEntry>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let keep = move |connection: &Connection| vault::keep(connection, over.as_deref(), &change, &audit, at);
        self.write(Lane::Normal, keep).await
    }

    async fn switch(&self, killed: bool, by: String, at: Timestamp) -> Result<(), StoreError> {
        self.write(Lane::Urgent, move |connection| ledger::switch(connection, killed, &by, at)).await
    }

    async fn schedule(&self, change: ScheduleChange, at: Timestamp) -> Result<Schedule, StoreError> {
        self.write(Lane::Normal, move |connection| schedules::change(connection, &change, at)).await
    }

    async fn due(&self, limit: u32, at: Timestamp) -> Result<DueSchedules, StoreError> {
        self.read(Lane::Normal, move |connection| schedules::due(connection, limit, at)).await
    }

    async fn claim(&self, claim: Claim, at: Timestamp) -> Result<Claimed, StoreError> {
        self.write(Lane::Normal, move |connection| runs::claim(connection, &claim, at)).await
    }

    async fn index(&self, indexing: Indexing) -> Result<bool, StoreError> {
        self.write(Lane::Background, move |connection| passages::index(connection, &indexing)).await
    }

    async fn unembedded(&self, model: String, limit: u32) -> Result<Vec<(MemoryId, String)>, StoreError> {
        let signs = Arc::clone(&self.signs);
        self.read(Lane::Background, move |connection| vectors::unembedded(connection, &signs, &model, limit)).await
    }

    async fn keep_vectors(&self, model: String, kept: Vec<(MemoryId, Vec<Vector>)>) -> Result<(), StoreError> {
        self.write(Lane::Background, move |connection| vectors::keep(connection, &model, &kept)).await
    }

    async fn recall(&self, recall: Recall) -> Result<Recalled, StoreError> {
        let signs = Arc::clone(&self.signs);
        self.read(Lane::Normal, move |connection| recall::recall(connection, &signs, &recall)).await
    }

    async fn remember(&self, remember: Remember, at: Timestamp) -> Result<Vec<Option<Fact>>, StoreError> {
        let forgets = remember.changes.iter().any(|change| matches!(change, FactChange::Forget { .. }));
        let facts = self.write(Lane::Normal, move |connection| facts::remember(connection, &remember, at)).await?;
        if forgets {
            self.signs.clear();
            // It is done, whatever becomes of the log; the next time it is folded into the file, its words go there, too.
            if let Err(error) = self.alone(|connection| writer::checkpoint(connection, CLOSE_PATIENCE)).await {
                tracing::warn!(%error, "what was forgotten is still in the log beside the database");
            }
        }
        Ok(facts)
    }

    async fn keep_file(&self, text: String) -> Result<(), StoreError> {
        self.write(Lane::Normal, move |connection| facts::keep_shown(connection, &text)).await
    }

    async fn audit(&self, entries: Vec<AuditEntry>, at: Timestamp) -> Result<(), StoreError> {
        self.write(Lane::Normal, move |connection| audit::append(connection, &entries, at)).await
    }

    async fn verify_audit(&self, since: Option<AuditHead>) -> Result<AuditVerdict, StoreError> {
        let key = self.audit_key.clone();
        self.read(Lane::Background, move |connection| audit::verify(connection, key.as_deref(), since)).await
    }

    async fn view(&self, query: Query, at: Timestamp) -> Result<View, StoreError> {
        self.read(Lane::Background, move |connection| view::view(connection, &query, at)).await
    }

    async fn retain(&self, keep: Retention, at: Timestamp) -> Result<bool, StoreError> {
        let more = self.write(Lane::Background, move |connection| retain::retain(connection, keep, at)).await?;
        if !more {
            self.alone(retain::give_back).await?;
        }
        Ok(more)
    }

    async fn probe(&self, at: Timestamp) -> Result<(), StoreError> {
        self.write(Lane::Normal, move |connection| open::set_meta(connection, "probe", at.0)).await
    }

    async fn close(&self, _at: Timestamp) -> Result<(), StoreError> {
        // The background lane is served last, so everything that was taken before is in it.
        if self.recovered.load(Ordering::Relaxed) {
            self.write(Lane::Background, |connection| open::set_meta(connection, "clean", 1)).await?;
        }
        self.alone(|connection| writer::checkpoint(connection, CLOSE_PATIENCE)).await?;
        match &self.engine {
            Engine::Threads { writer, readers, threads, ended } => {
                readers.close();
                writer.iter().for_each(|writer| writer.close());
                // What the process does at its very end would meet threads that still encrypt.
                let mut ended = ended.lock().await;
                tokio::select! {
                    _ = ended.recv() => join(threads),
                    () = self.clock.sleep(CLOSE_PATIENCE) => tracing::warn!("the database is closed while somebody still reads"),
                }
            }
            Engine::Inline { writer, .. } => *writer.lock().unwrap_or_else(PoisonError::into_inner) = None,
        }
        Ok(())
    }
}
