//! Reading connections: a consistent picture per job, and no job for longer than a few seconds.

use crate::fault::Done;
use crate::writer::Job;
use blufio_core::port::{Clock, StoreError};
use rusqlite::Connection;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Threads that read.
pub(crate) const READERS: usize = 2;
/// One read. Over: interrupted, so that the log can be folded into the file.
const READ_TIME: Duration = Duration::from_secs(5);
/// Steps of SQLite's machine between two looks at the clock (about a millisecond).
const STEPS_PER_LOOK: i32 = 10_000;

/// A reading connection.
pub(crate) struct Reader {
    connection: Connection,
    clock: Arc<dyn Clock>,
    /// When the running read must be over, in milliseconds of the monotonic clock.
    deadline: Arc<AtomicU64>,
}

impl Reader {
    pub(crate) fn new(mut connection: Connection, clock: Arc<dyn Clock>) -> Done<Self> {
        let deadline = Arc::new(AtomicU64::new(u64::MAX));
        let (watch, until) = (Arc::clone(&clock), Arc::clone(&deadline));
        let overdue = move || milliseconds(watch.monotonic()) > until.load(Ordering::Relaxed);
        connection.progress_handler(STEPS_PER_LOOK, Some(overdue))?;
        Ok(Self { connection, clock, deadline })
    }

    /// Runs a job inside one read transaction and answers it.
    pub(crate) fn serve(&self, mut job: Box<dyn Job>) {
        let until = milliseconds(self.clock.monotonic().saturating_add(READ_TIME));
        self.deadline.store(until, Ordering::Relaxed);
        let read = self.run("BEGIN").map_err(StoreError::from).and_then(|()| job.run(&self.connection));
        self.deadline.store(u64::MAX, Ordering::Relaxed);
        // What was read stays true even if the end of the transaction fails.
        if !self.connection.is_autocommit()
            && let Err(error) = self.run("ROLLBACK")
        {
            tracing::error!(error = %StoreError::from(error), "a read could not be ended");
        }
        job.finish(read.err());
    }

    fn run(&self, sql: &str) -> Done<()> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::writer::task;
    use blufio_core::port::Boxed;
    use blufio_core::time::Timestamp;

    /// A second passes with every look.
    struct Hurry(AtomicU64);

    impl Clock for Hurry {
        fn now(&self) -> Timestamp {
            Timestamp(0)
        }
        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.0.fetch_add(1, Ordering::Relaxed))
        }
        fn sleep(&self, _duration: Duration) -> Boxed<'static, ()> {
            Box::pin(std::future::ready(()))
        }
    }

    #[test]
    fn a_long_read_is_ended_and_the_next_one_works() {
        let connection = Connection::open_in_memory().unwrap();
        let reader = Reader::new(connection, Arc::new(Hurry(AtomicU64::new(0)))).unwrap();
        let (endless, mut answer) = task(|connection| {
            let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
            Ok(connection.query_row(sql, [], |row| row.get::<_, i64>(0))?)
        });
        reader.serve(endless);
        let error = answer.try_recv().unwrap().unwrap_err();
        assert!(matches!(&error, StoreError::Broken(text) if text.contains("too long")), "{error}");
        let (short, mut answer) =
            task(|connection| Ok(connection.query_row("SELECT 7", [], |row| row.get::<_, i64>(0))?));
        reader.serve(short);
        assert_eq!(answer.try_recv().unwrap().unwrap(), 7);
    }
}
