//! How likely the session's cache is warm, from how long the person usually takes to write again.

use super::Ttl;

/// Gaps between messages that are looked at, the newest ones.
pub const GAPS_MAX: usize = 30;

/// Weight of what is assumed before anything is known, in gaps.
const PRIOR: u64 = 2;
/// The assumption spreads a gap evenly over the orders of magnitude between these, in seconds.
const GAP_SECONDS_MIN: u64 = 5;
const GAP_SECONDS_MAX: u64 = 86_400;

/// Chances in thousandths; more than 1,000 counts as 1,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Odds {
    /// The cache of the session's model is warm now.
    pub warm: u16,
    /// It is warm at the next turn if this turn reads or writes it.
    pub warm_if_read: u16,
    /// It is warm at the next turn if this turn leaves it alone; never more than the other two.
    pub warm_if_left: u16,
}

impl Odds {
    /// From the last `gaps` between messages (newest last, in seconds), the seconds since the session's model was last
    /// called, and how long its entry lives. Rounded towards staying.
    #[must_use]
    pub fn from_gaps(gaps: &[u64], idle_seconds: u64, ttl: Ttl) -> Self {
        let left = ttl.seconds().saturating_sub(idle_seconds);
        let newest = gaps.iter().rev().take(GAPS_MAX);
        let all = newest.clone().count() as u64 + PRIOR;
        let shorter = |limit: u64| newest.clone().map(|gap| near(*gap, limit)).sum::<u64>() + PRIOR * share(limit);
        let thousandths = |value: u64| u16::try_from(value).unwrap_or(1_000).min(1_000);
        Self {
            warm: if left > 0 { 1_000 } else { 0 },
            // One more for each is what was rounded down.
            warm_if_read: thousandths((shorter(ttl.seconds()) + all).div_ceil(all)),
            warm_if_left: if left > 0 { thousandths(shorter(left) / all) } else { 0 },
        }
    }

    /// Within their limits, whatever the caller wrote.
    pub(super) fn sound(self) -> Self {
        let (warm, warm_if_read) = (self.warm.min(1_000), self.warm_if_read.min(1_000));
        Self { warm, warm_if_read, warm_if_left: self.warm_if_left.min(warm).min(warm_if_read) }
    }
}

/// The chance, in thousandths, that a gap like this one is below `seconds`: next time it may be half or double as long.
fn near(gap: u64, seconds: u64) -> u64 {
    let (shortest, limit) = (log2(gap), log2(seconds) + 1_024);
    limit.saturating_sub(shortest).min(2_048) * 1_000 / 2_048
}

/// The assumed chance of a gap below `seconds`, in thousandths.
fn share(seconds: u64) -> u64 {
    let low = log2(GAP_SECONDS_MIN);
    let inside = log2(seconds.clamp(GAP_SECONDS_MIN, GAP_SECONDS_MAX)) - low;
    inside * 1_000 / (log2(GAP_SECONDS_MAX) - low)
}

/// The logarithm in 1,024ths, straight between powers of two; none below 1, and no more than that of 2^40.
fn log2(value: u64) -> u64 {
    let value = value.clamp(1, 1 << 40);
    let whole = value.ilog2();
    whole as u64 * 1_024 + ((value - (1 << whole)) << 10 >> whole)
}
