//! The one place that reads the machine's clocks.

use blufio_core::port::{Boxed, Clock};
use blufio_core::time::Timestamp;
use std::time::{Duration, Instant, SystemTime};

/// The machine's clock.
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Starts counting.
    #[expect(clippy::disallowed_methods, reason = "the one home of clock reads")]
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

/// How far a test has moved the wall clock: the seconds in the file that `BLUFIO_CLOCK_OFFSET_FILE` names, read at every look.
#[cfg(feature = "failpoints")]
#[expect(clippy::disallowed_methods, reason = "only builds for tests have it")]
fn moved_ms() -> i64 {
    let file = std::env::var_os("BLUFIO_CLOCK_OFFSET_FILE");
    let seconds = file.and_then(|file| std::fs::read_to_string(file).ok()).and_then(|text| text.trim().parse().ok());
    seconds.unwrap_or(0_i64).saturating_mul(1_000)
}

/// Nobody moves the clock of what people get.
#[cfg(not(feature = "failpoints"))]
const fn moved_ms() -> i64 {
    0
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one home of clock reads")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX).saturating_add(moved_ms()))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}
