//! One way to spawn, one way to stop.
//!
//! Every task of the process starts here, with a name and a class. A critical task that ends or panics is started again
//! after a pause that doubles from 0.1 s to 30 s; more than five restarts in five minutes ask the whole process to end, so
//! that the service manager takes over. A panic is logged and counted in every class; none is swallowed.

use blufio_core::port::{Boxed, Clock};
use futures_util::FutureExt;
use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
const RESTARTS_MAX: usize = 5;
const RESTARTS_WINDOW: Duration = Duration::from_secs(300);

/// Runs work that may block, on a thread that may. A panic in it goes on in the caller; `None`: the process is ending.
///
/// Dropping the future takes back work that waits for a thread. Work that has begun goes on to its end, so it must be bounded.
#[expect(clippy::disallowed_methods, reason = "the one home of blocking work")]
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match AbortOnDropHandle::new(tokio::task::spawn_blocking(work)).await {
        Ok(done) => Some(done),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => None,
        },
    }
}

/// Starts and stops tasks.
#[derive(Clone)]
pub struct Tasks {
    clock: Arc<dyn Clock>,
    tracker: TaskTracker,
    /// Rung when work must end: every task drops what it does.
    stop: CancellationToken,
    /// Rung when a critical task cannot be kept alive.
    failed: CancellationToken,
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, tracker: TaskTracker::new(), stop: CancellationToken::new(), failed: CancellationToken::new() }
    }

    /// Runs `work` once; a panic is logged and counted, and `None` stands for it.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<Option<T>> {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => None,
                done = guarded(name, work) => done,
            }
        })
    }

    /// Keeps a task alive: `make` is called for each start, and the task ends only with the process.
    pub fn keep(&self, name: &'static str, make: impl Fn() -> Boxed<'static, ()> + Send + Sync + 'static) {
        let (clock, failed) = (self.clock.clone(), self.failed.clone());
        let work = async move {
            let mut restarts: Vec<Duration> = Vec::new();
            let mut pause = BACKOFF_FIRST;
            loop {
                let started = clock.monotonic();
                guarded(name, make()).await;
                let now = clock.monotonic();
                if now.saturating_sub(started) > RESTARTS_WINDOW {
                    pause = BACKOFF_FIRST;
                }
                restarts.retain(|at| now.saturating_sub(*at) < RESTARTS_WINDOW);
                restarts.push(now);
                metrics::counter!("blufio_task_restarts_total", "task" => name).increment(1);
                if restarts.len() > RESTARTS_MAX {
                    tracing::error!(task = name, "restarted too often; the process ends");
                    failed.cancel();
                    return;
                }
                tracing::warn!(task = name, pause_ms = pause.as_millis(), "task ended; it starts again");
                clock.sleep(pause).await;
                pause = (pause * 2).min(BACKOFF_MAX);
            }
        };
        drop(self.spawn(name, work));
    }

    /// The process cannot go on.
    pub fn fail(&self) {
        self.failed.cancel();
    }

    /// Resolves when a critical task cannot be kept alive.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Ends every task and waits until they are gone.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Runs a future; a panic becomes `None`, a log line and a count.
pub async fn guarded<T>(name: &'static str, work: impl Future<Output = T>) -> Option<T> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => Some(done),
        Err(panic) => {
            tracing::error!(task = name, panic = panic_text(panic.as_ref()), "a task panicked: a bug in Blufio");
            metrics::counter!("blufio_panics_total", "task" => name).increment(1);
            None
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use blufio_core::time::Timestamp;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Every pause is over at once.
    struct Hurry;

    impl Clock for Hurry {
        fn now(&self) -> Timestamp {
            Timestamp(0)
        }
        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
        fn sleep(&self, _: Duration) -> Boxed<'static, ()> {
            Box::pin(tokio::task::yield_now())
        }
    }

    fn tasks() -> Tasks {
        Tasks::new(Arc::new(Hurry))
    }

    #[tokio::test]
    async fn a_critical_task_that_keeps_panicking_ends_the_process() {
        let (tasks, starts) = (tasks(), Arc::new(AtomicU32::new(0)));
        let counter = starts.clone();
        tasks.keep("poller", move || {
            counter.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { panic!("boom") })
        });
        tasks.failed().await;
        assert_eq!(starts.load(Ordering::SeqCst), u32::try_from(RESTARTS_MAX).unwrap() + 1);
    }

    #[tokio::test]
    async fn stopping_ends_every_task() {
        let tasks = tasks();
        tasks.keep("endless", || Box::pin(std::future::pending()));
        let task = tasks.spawn("endless too", std::future::pending::<()>());
        tasks.stop().await;
        assert_eq!(task.await.unwrap(), None);
    }
}
