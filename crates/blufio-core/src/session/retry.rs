//! When to try a model call again: at most four tries and 120 seconds on one model, then the other one.

use super::Failed;
use crate::limits::{MODEL_TRIES_MAX, MODEL_TRIES_TIME};
use crate::port::Failure;
use crate::time::Timestamp;
use std::time::Duration;

/// What follows a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// The same call again, then.
    Again(Timestamp),
    /// This model is not available; another may be.
    OtherModel,
    /// Trying will not help.
    GiveUp,
}

/// Decides after `failed_tries` tries (this one included) since `since`.
pub(super) fn plan(failed_tries: u8, since: Timestamp, failed: &Failed, now: Timestamp) -> Plan {
    match failed.failure {
        Failure::RateLimited | Failure::Overloaded | Failure::Server | Failure::Transport | Failure::Protocol => {}
        Failure::UnknownModel | Failure::NoPrice | Failure::OverBudget => return Plan::GiveUp,
        Failure::Rejected
        | Failure::PromptTooLong
        | Failure::ThinkingMismatch
        | Failure::FileRefused
        | Failure::Unauthorized
        | Failure::Billing => return Plan::GiveUp,
    }
    let pause = failed.retry_after_ms.map_or_else(|| backoff(failed_tries, failed), Duration::from_millis);
    let next = now.plus(pause);
    if failed_tries >= MODEL_TRIES_MAX || next.since(since) > MODEL_TRIES_TIME {
        return Plan::OtherModel;
    }
    Plan::Again(next)
}

/// 0.5 s · 2ⁿ up to 8 s (overload: 4 s up to 60 s), shortened by chance to as little as three quarters.
fn backoff(failed_tries: u8, failed: &Failed) -> Duration {
    let (first_ms, cap_ms) = if failed.failure == Failure::Overloaded { (4_000, 60_000) } else { (500, 8_000) };
    let doubled = 1_u64 << failed_tries.saturating_sub(1).min(16);
    let full = (first_ms * doubled).min(cap_ms);
    let cut = full / 4 * u64::from(failed.jitter.min(1_000)) / 1_000;
    Duration::from_millis(full - cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(failure: Failure, retry_after_ms: Option<u64>, jitter: u16) -> Failed {
        Failed { failure, retry_after_ms, shown: false, jitter }
    }

    #[test]
    fn pauses_double_and_jitter_only_shortens() {
        let start = Timestamp(0);
        let at = |tries, failure, jitter| plan(tries, start, &failed(failure, None, jitter), start);
        assert_eq!(at(1, Failure::Server, 0), Plan::Again(Timestamp(500)));
        assert_eq!(at(1, Failure::Server, 1_000), Plan::Again(Timestamp(375)));
        assert_eq!(at(3, Failure::Transport, 0), Plan::Again(Timestamp(2_000)));
        assert_eq!(at(1, Failure::Overloaded, 0), Plan::Again(Timestamp(4_000)));
        assert_eq!(at(4, Failure::Server, 0), Plan::OtherModel);
    }

    #[test]
    fn the_vendors_wish_is_obeyed_if_it_fits() {
        let at = |wish| plan(1, Timestamp(0), &failed(Failure::RateLimited, Some(wish), 0), Timestamp(1_000));
        assert_eq!(at(30_000), Plan::Again(Timestamp(31_000)));
        assert_eq!(at(119_000), Plan::Again(Timestamp(120_000)));
        assert_eq!(at(119_001), Plan::OtherModel);
    }

    #[test]
    fn a_refused_request_is_not_repeated() {
        for failure in
            [Failure::Rejected, Failure::PromptTooLong, Failure::Unauthorized, Failure::Billing, Failure::UnknownModel]
        {
            assert_eq!(plan(1, Timestamp(0), &failed(failure, None, 0), Timestamp(0)), Plan::GiveUp, "{failure:?}");
        }
    }
}
