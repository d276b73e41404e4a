//! What one turn is expected to cost on each candidate, term by term. Exact: everything is summed in `u128`, in tokens times
//! micro-dollars per million times thousandths, and divided once when it is shown.

use super::{Facts, SIDE_FAILURES};
use crate::ids::ModelId;
use crate::money::MicroUsd;

/// More tokens count as this many, so that no product overflows.
const TOKENS_MAX: u64 = 1_000_000_000;
/// A higher price, in micro-dollars per million tokens, counts as this one.
const PRICE_MAX: u64 = 1_000_000_000_000;
/// Parts of the whole in which chances are given.
const WHOLE: u128 = 1_000;

const _: () = assert!((TOKENS_MAX as u128 * PRICE_MAX as u128 * WHOLE * WHOLE).checked_mul(100).is_some());

/// Prices per million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Plain input.
    pub input: MicroUsd,
    /// Input read from the cache.
    pub read: MicroUsd,
    /// Input written to the cache for five minutes.
    pub write_5m: MicroUsd,
    /// Input written to the cache for an hour.
    pub write_1h: MicroUsd,
    /// Output.
    pub output: MicroUsd,
}

/// The prices of a model, which may be others beyond some size of the prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// Up to the band's limit.
    pub base: Rates,
    /// The largest prompt of the base prices, in tokens, and the prices of the whole request beyond it.
    pub beyond: Option<(u64, Rates)>,
}

impl Prices {
    /// The prices of a request whose whole prompt has so many tokens.
    #[must_use]
    pub const fn at(&self, prompt: u64) -> &Rates {
        match &self.beyond {
            Some((max, rates)) if prompt > *max => rates,
            _ => &self.base,
        }
    }
}

/// A model that may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub model: ModelId,
    /// `haiku`, `sonnet`, …: how a person is told of it.
    pub tier: String,
    /// It has the effort knob.
    pub has_effort: bool,
    /// What it costs.
    pub prices: Prices,
}

impl Candidate {
    /// Stronger models cost more. Two with the same prices are of one tier.
    pub(super) const fn rank(&self) -> (u64, u64) {
        (self.prices.base.output.0, self.prices.base.input.0)
    }
}

/// How long a cache entry lives after it was last read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// Five minutes.
    Minutes5,
    /// An hour.
    Hour1,
}

impl Ttl {
    /// In seconds.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        match self {
            Self::Minutes5 => 300,
            Self::Hour1 => 3_600,
        }
    }

    const fn write(self, rates: &Rates) -> MicroUsd {
        match self {
            Self::Minutes5 => rates.write_5m,
            Self::Hour1 => rates.write_1h,
        }
    }
}

/// What a turn is expected to cost on one candidate. Each term is rounded up by itself, the sum once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// The model.
    pub model: ModelId,
    /// Its tier.
    pub tier: String,
    /// The sum.
    pub expected: MicroUsd,
    /// The history, read from the cache.
    pub cached_read: MicroUsd,
    /// The history, written anew or read plainly because this model's cache does not have it.
    pub rewrite: MicroUsd,
    /// What the message adds.
    pub new_tokens: MicroUsd,
    /// The answer.
    pub output: MicroUsd,
    /// Asking the session's model after all.
    pub retry: MicroUsd,
    /// What the session's next turn pays because this one did not keep its cache warm.
    pub refresh_loss: MicroUsd,
}

/// The same, in thousandths of a millionth of a micro-dollar.
pub(super) struct Exact<'a> {
    candidate: &'a Candidate,
    /// In the order of the fields of [`Estimate`].
    terms: [u128; 6],
}

/// Expects the cost of a turn. Below the session's model a candidate answers one message, reads the history plainly and leaves
/// the session's cache alone; above it, it takes the session over and writes its own cache.
pub(super) fn estimate<'a>(candidate: &'a Candidate, session: &Candidate, facts: &Facts<'_>) -> Exact<'a> {
    let (cached, new) = (facts.tokens.cached.min(TOKENS_MAX), facts.tokens.new.min(TOKENS_MAX));
    let prompt = facts.tokens.cached.saturating_add(facts.tokens.new);
    let rates = candidate.prices.at(prompt);
    let output = times(facts.tokens.output, rates.output) * WHOLE;
    let odds = facts.odds.sound();
    let write = facts.ttl.write(rates);
    if candidate.model == session.model {
        let warm = u128::from(odds.warm);
        let read = times(cached, rates.read) * warm;
        let rewrite = times(cached, write) * (WHOLE - warm);
        return Exact { candidate, terms: [read, rewrite, times(new, write) * WHOLE, output, 0, 0] };
    }
    if candidate.rank() >= session.rank() {
        let terms = [0, times(cached, write) * WHOLE, times(new, write) * WHOLE, output, 0, 0];
        return Exact { candidate, terms };
    }
    let staying = estimate(session, session, facts).exact();
    let own = session.prices.at(prompt);
    let lost = MicroUsd(facts.ttl.write(own).0.saturating_sub(own.read.0));
    // The history is lost if the next turn comes while a refreshed entry would live; what is new was never written at all.
    let (refreshed, unrefreshed) = (u128::from(odds.warm_if_read), u128::from(odds.warm_if_left));
    let refresh_loss = times(cached, lost) * (refreshed - unrefreshed) + times(new, lost) * refreshed;
    let (rewrite, new) = (times(cached, rates.input) * WHOLE, times(new, rates.input) * WHOLE);
    let retry = staying * SIDE_FAILURES / WHOLE;
    Exact { candidate, terms: [0, rewrite, new, output, retry, refresh_loss] }
}

impl Exact<'_> {
    /// The sum, for comparing.
    pub(super) fn exact(&self) -> u128 {
        self.terms.iter().sum()
    }

    /// In micro-dollars, for showing.
    pub(super) fn rounded(&self) -> Estimate {
        let [cached_read, rewrite, new_tokens, output, retry, refresh_loss] = self.terms.map(round);
        Estimate {
            model: self.candidate.model.clone(),
            tier: self.candidate.tier.clone(),
            expected: round(self.exact()),
            cached_read,
            rewrite,
            new_tokens,
            output,
            retry,
            refresh_loss,
        }
    }
}

/// Tokens times price.
fn times(tokens: u64, price: MicroUsd) -> u128 {
    u128::from(tokens.min(TOKENS_MAX)) * u128::from(price.0.min(PRICE_MAX))
}

fn round(exact: u128) -> MicroUsd {
    MicroUsd(u64::try_from(exact.div_ceil(1_000_000 * WHOLE)).unwrap_or(u64::MAX))
}
