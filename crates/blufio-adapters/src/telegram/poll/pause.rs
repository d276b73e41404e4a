//! How long to wait before something is tried again. No clock and no sleeping here.

use super::super::DEFAULT_RETRY_AFTER;
use blufio_core::port::Rng;
use std::time::Duration;

/// First and longest pause after a failure.
pub(in crate::telegram) const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Pauses that double up to a limit, each a tenth shorter or longer by chance.
pub(in crate::telegram) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(in crate::telegram) fn new((first, longest): (Duration, Duration)) -> Self {
        Self { first, longest, next: first }
    }

    pub(in crate::telegram) fn next(&mut self, rng: &dyn Rng) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.longest);
        scaled(pause, 900 + rng.bits() % 201)
    }

    pub(in crate::telegram) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// The pause that the server asks for, or five seconds if it names none, and up to a tenth more.
pub(in crate::telegram) fn asked_for(retry_after: Option<Duration>, rng: &dyn Rng) -> Duration {
    scaled(retry_after.unwrap_or(DEFAULT_RETRY_AFTER), 1_000 + rng.bits() % 101)
}

/// Whether something that happens at most once per `every` may happen now.
pub(in crate::telegram) fn is_due(last: Option<Duration>, now: Duration, every: Duration) -> bool {
    last.is_none_or(|last| now.saturating_sub(last) >= every)
}

fn scaled(pause: Duration, thousandths: u64) -> Duration {
    let milliseconds = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(milliseconds.saturating_mul(thousandths) / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u64);

    impl Rng for Fixed {
        fn bits(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn pauses_double_up_to_their_limit() {
        let mut backoff = Backoff::new(BACKOFF);
        let pauses: Vec<u64> = (0..7).map(|_| backoff.next(&Fixed(100)).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        backoff.reset();
        assert_eq!(backoff.next(&Fixed(0)), Duration::from_millis(900));
        backoff.reset();
        assert_eq!(backoff.next(&Fixed(200)), Duration::from_millis(1_100));
    }

    #[test]
    fn a_pause_that_is_asked_for_is_never_shortened() {
        let ten = Some(Duration::from_secs(10));
        assert_eq!(asked_for(ten, &Fixed(100)), Duration::from_secs(11));
        assert_eq!(asked_for(ten, &Fixed(101)), Duration::from_secs(10));
        assert_eq!(asked_for(None, &Fixed(0)), Duration::from_secs(5));
    }

    #[test]
    fn the_first_time_is_always_due() {
        let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
        assert!(is_due(None, Duration::ZERO, hour));
        assert!(!is_due(Some(minute), hour, hour));
        assert!(is_due(Some(minute), hour + minute, hour));
    }
}
