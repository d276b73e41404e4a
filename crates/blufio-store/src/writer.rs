//! The one writer: groups of jobs in one transaction each, acknowledged after the COMMIT. It does not know what jobs do.

use crate::fault::{Done, Fault};
use blufio_core::failpoint::{Failpoint, hit};
use blufio_core::port::{Clock, StoreError};
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// Jobs in one transaction. More: the next transaction.
const GROUP_JOBS_MAX: usize = 64;
/// Work in one transaction, after which no further job joins it.
const GROUP_TIME: Duration = Duration::from_millis(20);
/// A write-ahead log longer than this is folded into the file as soon as the writer is idle.
const LOG_BYTES_IDLE_MAX: u64 = 4 * 1024 * 1024;

/// Work that somebody waits for.
pub(crate) trait Job: Send {
    /// Does it. On an error it must be undone; the caller is told by [`Self::finish`].
    fn run(&mut self, connection: &Connection) -> Result<(), StoreError>;
    /// Tells the caller; `failed` is a failure of the transaction it was in.
    fn finish(self: Box<Self>, failed: Option<StoreError>);
}

struct Task<F, T> {
    work: Option<F>,
    result: Option<Result<T, StoreError>>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Job for Task<F, T>
where
    F: FnOnce(&Connection) -> Done<T> + Send,
    T: Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let work = self.work.take().ok_or(StoreError::Closed)?;
        let result = work(connection).map_err(StoreError::from);
        let outcome = result.as_ref().map(|_| ()).map_err(StoreError::clone);
        self.result = Some(result);
        outcome
    }

    fn finish(self: Box<Self>, failed: Option<StoreError>) {
        let result = match (self.result, failed) {
            (Some(Err(error)), _) | (Some(Ok(_)) | None, Some(error)) => Err(error),
            (Some(Ok(value)), None) => Ok(value),
            (None, None) => Err(StoreError::Closed),
        };
        if self.answer.send(result).is_err() {
            tracing::debug!("a caller of the store went away before its answer");
        }
    }
}

/// Makes a job of `work`, and the place where its answer arrives.
pub(crate) fn task<T: Send + 'static>(
    work: impl FnOnce(&Connection) -> Done<T> + Send + 'static,
) -> (Box<dyn Job>, oneshot::Receiver<Result<T, StoreError>>) {
    let (answer, receiver) = oneshot::channel();
    (Box::new(Task { work: Some(work), result: None, answer }), receiver)
}

/// What the writer's thread is given.
pub(crate) enum Work {
    /// Inside a transaction.
    Write(Box<dyn Job>),
    /// Alone and without a transaction (checkpoints, vacuum). Only in the background lane.
    Alone(Box<dyn Job>),
}

/// The writing connection.
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) commits: Arc<AtomicU64>,
    pub(crate) log: PathBuf,
}

impl Writer {
    /// Serves one piece of work, and with it what `more` has waiting.
    pub(crate) fn serve(&self, work: Work, more: impl Fn() -> Option<Work>) {
        match work {
            Work::Write(job) => self.group(job, more),
            Work::Alone(mut job) => {
                let failed = job.run(&self.connection).err();
                job.finish(failed);
            }
        }
    }

    /// One transaction: each job in a savepoint of its own, then COMMIT, then the answers.
    fn group(&self, first: Box<dyn Job>, more: impl Fn() -> Option<Work>) {
        let started = self.clock.monotonic();
        let mut jobs = Vec::new();
        let mut next = Some(first);
        let mut failed = self.run("BEGIN IMMEDIATE").err();
        while let Some(mut job) = next.take() {
            if failed.is_none() {
                failed = self.savepoint(job.as_mut()).err();
            }
            jobs.push(job);
            let room = jobs.len() < GROUP_JOBS_MAX && self.clock.monotonic().saturating_sub(started) < GROUP_TIME;
            if room && failed.is_none() {
                next = more().and_then(|work| match work {
                    Work::Write(job) => Some(job),
                    Work::Alone(job) => {
                        job.finish(Some(StoreError::Broken("work without a transaction in a hot lane".to_owned())));
                        None
                    }
                });
            }
        }
        if failed.is_none() {
            hit(Failpoint::WriterBeforeCommit);
            failed = self.run("COMMIT").err();
        }
        match &failed {
            None => {
                self.commits.fetch_add(1, Ordering::Relaxed);
                hit(Failpoint::WriterAfterCommit);
            }
            Some(error) => {
                tracing::error!(%error, jobs = jobs.len(), "a transaction failed");
                self.undo();
            }
        }
        for job in jobs {
            job.finish(failed.clone());
        }
    }

    /// Runs a job so that its failure undoes nothing but itself. An error here is one of the whole transaction.
    fn savepoint(&self, job: &mut dyn Job) -> Result<(), StoreError> {
        self.run("SAVEPOINT job")?;
        if let Err(error) = job.run(&self.connection) {
            // A full disk or a failing one may have rolled everything back already.
            if self.connection.is_autocommit() {
                return Err(error);
            }
            self.run("ROLLBACK TO job")?;
        }
        self.run("RELEASE job")
    }

    fn undo(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.run("ROLLBACK")
        {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
    }

    fn run(&self, sql: &str) -> Result<(), StoreError> {
        let run = || -> Done<()> {
            self.connection.prepare_cached(sql)?.execute([])?;
            Ok(())
        };
        run().map_err(StoreError::from)
    }

    /// Folds a long log into the file; called when nothing waits. A reader in the way is no trouble: it is tried again.
    pub(crate) fn rest(&self) {
        let long = std::fs::metadata(&self.log).is_ok_and(|log| log.len() > LOG_BYTES_IDLE_MAX);
        if long && let Err(error) = checkpoint(&self.connection, Duration::ZERO) {
            tracing::warn!(error = %StoreError::from(error), "the log could not be folded into the database");
        }
    }
}

/// Folds the log into the file and empties it, waiting up to `patience` for readers.
pub(crate) fn checkpoint(connection: &Connection, patience: Duration) -> Done<()> {
    connection.busy_timeout(patience)?;
    let result = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    connection.busy_timeout(crate::open::BUSY)?;
    result.map_err(Fault::from)
}
