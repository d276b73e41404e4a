//! Is it alive, is it ready: judged by progress, not by existence.

use crate::sessions::Progress;
use blufio_core::limits::POLL_SILENCE_TOLD;
use blufio_core::port::{ChannelHealth, Clock};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A critical loop that has not gone round for this long hangs.
const BEAT_MAX: Duration = Duration::from_secs(25);
/// A turn that has not got anywhere for this long is stuck.
const STUCK: Duration = Duration::from_secs(11 * 60);

/// Stamps of the critical loops.
pub struct Health {
    clock: Arc<dyn Clock>,
    beats: Mutex<BTreeMap<&'static str, Duration>>,
}

/// The answer of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Messages are taken and answered.
    Ready,
    /// They are not, or not all; one line says why.
    NotReady(String),
}

impl Health {
    /// Nothing stamped yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, beats: Mutex::default() }
    }

    /// The loop of that name has gone round.
    pub fn beat(&self, name: &'static str) {
        let now = self.clock.monotonic();
        self.beats.lock().unwrap_or_else(PoisonError::into_inner).insert(name, now);
    }

    /// A loop that hangs, if there is one.
    pub fn hanging(&self) -> Option<&'static str> {
        let now = self.clock.monotonic();
        let beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        beats.iter().find(|(_, at)| now.saturating_sub(**at) > BEAT_MAX).map(|(name, _)| *name)
    }

    /// Whether a channel lets messages through; the reason if not.
    pub fn channel_trouble(&self, health: &ChannelHealth) -> Option<String> {
        let now = self.clock.monotonic();
        let silent = |since: u64| now.saturating_sub(Duration::from_millis(since)) > POLL_SILENCE_TOLD;
        match health {
            ChannelHealth::Starting => Some("not authenticated yet".to_owned()),
            ChannelHealth::Failed { reason } => Some(reason.clone()),
            ChannelHealth::Ready { poll_since_ms } if silent(*poll_since_ms) => {
                Some("no answer for two minutes".to_owned())
            }
            ChannelHealth::Degraded { reason, poll_since_ms } if silent(*poll_since_ms) => Some(reason.clone()),
            ChannelHealth::Ready { .. } | ChannelHealth::Listening | ChannelHealth::Degraded { .. } => None,
        }
    }

    /// A turn is stuck if it has not got anywhere for longer than any stream may take.
    pub fn is_stuck(&self, progress: Progress) -> bool {
        match progress {
            Progress::At(at) => self.clock.monotonic().saturating_sub(at) > STUCK,
            Progress::Asking => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blufio_core::port::Boxed;
    use blufio_core::time::Timestamp;

    /// Ten minutes after its start.
    struct Later;

    impl Clock for Later {
        fn now(&self) -> Timestamp {
            Timestamp(600_000)
        }
        fn monotonic(&self) -> Duration {
            Duration::from_secs(600)
        }
        fn sleep(&self, _: Duration) -> Boxed<'static, ()> {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn a_channel_is_in_trouble_when_its_poll_has_had_no_answer_for_two_minutes() {
        let health = Health::new(Arc::new(Later));
        let check = |channel: ChannelHealth, expect: Option<&str>| {
            assert_eq!(health.channel_trouble(&channel).as_deref(), expect, "{channel:?}");
        };
        let degraded = |poll_since_ms| ChannelHealth::Degraded { reason: "no connection".to_owned(), poll_since_ms };
        check(ChannelHealth::Starting, Some("not authenticated yet"));
        check(ChannelHealth::Listening, None);
        check(ChannelHealth::Ready { poll_since_ms: 480_000 }, None);
        check(ChannelHealth::Ready { poll_since_ms: 479_999 }, Some("no answer for two minutes"));
        check(degraded(480_000), None);
        check(degraded(479_999), Some("no connection"));
        check(ChannelHealth::Failed { reason: "no token".to_owned() }, Some("no token"));
    }
}
