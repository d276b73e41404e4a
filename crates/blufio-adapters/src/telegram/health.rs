//! How the channel is, as the readiness check and `status` read it; and two small counters of the same sort.
//!
//! Whether a state means *ready* is judged by the runtime, from the age of the poll that has had no answer.

use blufio_core::port::ChannelHealth;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

enum State {
    Starting,
    Ready,
    Listening,
    Degraded(String),
    Failed(String),
}

struct Inner {
    state: State,
    /// When the first request of the poll in flight was sent, or the last answer taken in; with a webhook, when all was
    /// last seen to be well.
    since: Duration,
    /// Whether the last poll was answered and its updates were stored: then the next request is a new poll.
    answered: bool,
}

/// The channel's health. Times are those of the monotonic clock.
pub(super) struct Health {
    inner: Mutex<Inner>,
}

impl Health {
    pub(super) fn new(now: Duration) -> Self {
        Self { inner: Mutex::new(Inner { state: State::Starting, since: now, answered: true }) }
    }

    /// A poll is sent. A retry does not make it younger.
    pub(super) fn asked(&self, now: Duration) {
        let mut inner = self.lock();
        if inner.answered {
            inner.since = now;
            inner.answered = false;
        }
    }

    /// A poll was answered, and what it brought is stored.
    pub(super) fn answered(&self, now: Duration) {
        *self.lock() = Inner { state: State::Ready, since: now, answered: true };
    }

    /// Updates are brought by the server, and nothing is wrong with that.
    pub(super) fn listening(&self, now: Duration) {
        *self.lock() = Inner { state: State::Listening, since: now, answered: true };
    }

    /// Trouble that may pass. A channel that was never authenticated stays `Starting`.
    pub(super) fn degraded(&self, reason: impl Into<String>) {
        let mut inner = self.lock();
        if !matches!(inner.state, State::Starting) {
            inner.state = State::Degraded(reason.into());
        }
    }

    /// Trouble of a bot that is known, from the start on.
    pub(super) fn troubled(&self, reason: &str) {
        self.lock().state = State::Degraded(reason.to_owned());
    }

    /// Only a person can mend it.
    pub(super) fn failed(&self, reason: &str) {
        self.lock().state = State::Failed(reason.to_owned());
    }

    pub(super) fn get(&self) -> ChannelHealth {
        let inner = self.lock();
        let poll_since_ms = u64::try_from(inner.since.as_millis()).unwrap_or(u64::MAX);
        match &inner.state {
            State::Starting => ChannelHealth::Starting,
            State::Listening => ChannelHealth::Listening,
            State::Ready => ChannelHealth::Ready { poll_since_ms },
            State::Degraded(reason) => ChannelHealth::Degraded { reason: reason.clone(), poll_since_ms },
            State::Failed(reason) => ChannelHealth::Failed { reason: reason.clone() },
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An instant of the monotonic clock that may not be set yet.
#[derive(Default)]
pub(super) struct Instant(AtomicU64);

impl Instant {
    pub(super) fn set(&self, at: Duration) {
        let milliseconds = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        self.0.store(milliseconds.max(1), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            milliseconds => Some(Duration::from_millis(milliseconds)),
        }
    }
}

/// Failures in a row.
#[derive(Default)]
pub(super) struct Streak(AtomicU32);

impl Streak {
    pub(super) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Counts one more; true if there are `limit` now. Then the count starts anew.
    pub(super) fn add_and_reached(&self, limit: u32) -> bool {
        let reached = self.0.fetch_add(1, Ordering::Relaxed) + 1 >= limit;
        if reached {
            self.reset();
        }
        reached
    }
}
