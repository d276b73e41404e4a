//! Token buckets, as arithmetic: the caller brings the time.

use crate::time::Timestamp;
use std::time::Duration;

/// A bucket that refills at a steady rate.
#[derive(Clone, Debug)]
pub struct Bucket {
    burst_milli: u64,
    per_second_milli: u64,
    level_milli: u64,
    at: Timestamp,
}

const TOKEN_MILLI: u64 = 1_000;

impl Bucket {
    /// A full bucket of `burst` tokens that gains `per_second_milli` thousandths of a token per second.
    #[must_use]
    pub fn new(burst: u32, per_second_milli: u64, now: Timestamp) -> Self {
        let burst_milli = u64::from(burst).saturating_mul(TOKEN_MILLI);
        Self { burst_milli, per_second_milli: per_second_milli.max(1), level_milli: burst_milli, at: now }
    }

    /// How long until a token is there; zero if one is.
    #[must_use]
    pub fn wait(&mut self, now: Timestamp) -> Duration {
        self.refill(now);
        let missing = TOKEN_MILLI.saturating_sub(self.level_milli);
        Duration::from_millis(missing.saturating_mul(1_000).div_ceil(self.per_second_milli))
    }

    /// Takes a token; the level may not fall below zero, so ask [`Self::wait`] first.
    pub fn take(&mut self, now: Timestamp) {
        self.refill(now);
        self.level_milli = self.level_milli.saturating_sub(TOKEN_MILLI);
    }

    fn refill(&mut self, now: Timestamp) {
        let elapsed = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        let gained = elapsed.saturating_mul(self.per_second_milli) / 1_000;
        // Below one thousandth of a token the clock is left where it is, so that short steps are not lost.
        if gained > 0 || now < self.at {
            self.level_milli = self.level_milli.saturating_add(gained).min(self.burst_milli);
            self.at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_grants_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(3, 1_000, Timestamp(0));
        for _ in 0..3 {
            assert_eq!(bucket.wait(Timestamp(0)), Duration::ZERO);
            bucket.take(Timestamp(0));
        }
        assert_eq!(bucket.wait(Timestamp(0)), Duration::from_secs(1));
        assert_eq!(bucket.wait(Timestamp(400)), Duration::from_millis(600));
        assert_eq!(bucket.wait(Timestamp(1_000)), Duration::ZERO);
    }

    #[test]
    fn a_clock_that_jumps_back_neither_fills_nor_blocks_for_ever() {
        let mut bucket = Bucket::new(1, 1_000, Timestamp(1_000_000));
        bucket.take(Timestamp(1_000_000));
        assert_eq!(bucket.wait(Timestamp(0)), Duration::from_secs(1));
        assert_eq!(bucket.wait(Timestamp(1_000)), Duration::ZERO);
    }
}
