//! What a call is booked with. Prices and sums are [`blufio_core::catalogue`]'s; here is which of them applies.

use super::Engine;
use blufio_core::catalogue::NoPrice;
use blufio_core::limits::ABANDONED_TOKENS_PER_SECOND;
use blufio_core::message::{Usage, visible_text};
use blufio_core::money::MicroUsd;
use blufio_core::port::{ProviderError, Reply};
use blufio_core::record::{CallCost, OpenCall};
use blufio_core::time::Timestamp;

/// A call that was answered: the vendor's figures, or an estimate where it gave none.
pub(super) fn answered(engine: &Engine, open: &OpenCall, reply: &Reply) -> CallCost {
    match reply.usage {
        Some(usage) => match settled(engine, open, usage) {
            Ok((cost, uncached)) => CallCost::Settled { usage, cost, uncached },
            // It had a price when it was called; whatever happened to it since must not lose the bill.
            Err(_) => CallCost::Estimated { cost: open.held },
        },
        // Thinking and tool calls are not visible, so the time is asked, too.
        None => {
            let visible = u64::try_from(visible_text(&reply.parts).len() / 3).unwrap_or(0);
            estimated(engine, open, visible.max(tokens_since(engine, open.at)))
        }
    }
}

/// What the vendor's figures come to, and what they would without a cache.
fn settled(engine: &Engine, open: &OpenCall, usage: Usage) -> Result<(MicroUsd, MicroUsd), NoPrice> {
    let (catalogue, at) = (&engine.settings.catalogue, engine.adapters.clock.now());
    Ok((catalogue.cost(&open.model, &usage, at)?, catalogue.uncached(&open.model, &usage, at)?))
}

/// What a booking counts for.
pub(super) const fn amount(cost: &CallCost) -> MicroUsd {
    match cost {
        CallCost::Settled { cost, .. } | CallCost::Estimated { cost } => *cost,
        CallCost::Free => MicroUsd::ZERO,
    }
}

/// A call that failed: free if it cannot have reached the vendor, else what is known and an estimate of the rest.
pub(super) fn failed(engine: &Engine, open: &OpenCall, error: &ProviderError) -> CallCost {
    match (error.usage, error.reached) {
        (_, false) => CallCost::Free,
        (Some(usage), true) => cut_off(engine, open, usage),
        (None, true) => abandoned(engine, open),
    }
}

/// A call of which nothing is known: its prompt and what may have been produced since.
pub(super) fn abandoned(engine: &Engine, open: &OpenCall) -> CallCost {
    estimated(engine, open, tokens_since(engine, open.at))
}

/// A call that broke off after the vendor had said what the prompt cost.
fn cut_off(engine: &Engine, open: &OpenCall, usage: Usage) -> CallCost {
    let produced = tokens_since(engine, open.at).max(usage.output).min(u64::from(open.max_tokens));
    let usage = Usage { output: produced, ..usage };
    let cost = engine.settings.catalogue.cost(&open.model, &usage, open.at);
    CallCost::Estimated { cost: cost.unwrap_or(open.held) }
}

fn estimated(engine: &Engine, open: &OpenCall, output: u64) -> CallCost {
    let output = output.min(u64::from(open.max_tokens));
    let estimate = engine.settings.catalogue.estimate(&open.model, open.prompt_tokens, output, open.at);
    CallCost::Estimated { cost: estimate.unwrap_or(open.held) }
}

fn tokens_since(engine: &Engine, at: Timestamp) -> u64 {
    engine.adapters.clock.now().since(at).as_secs().saturating_add(1).saturating_mul(ABANDONED_TOKENS_PER_SECOND)
}
