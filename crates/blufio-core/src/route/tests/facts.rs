//! Models at the prices of 2026-11-22, and a session to decide for.

use super::super::*;
use crate::money::MicroUsd;

pub const HAIKU: &str = "claude-haiku-5-5";
pub const SONNET: &str = "claude-sonnet-5-5";
pub const OPUS: &str = "claude-opus-5-5";

/// Facts that own what they point to.
#[derive(Clone, Debug)]
pub struct Setting {
    pub candidates: Vec<Candidate>,
    pub session: ModelId,
    pub chosen: Chosen,
    pub chosen_effort: Option<Effort>,
    pub default_effort: Option<Effort>,
    pub tokens: Tokens,
    pub ttl: Ttl,
    pub odds: Odds,
    pub history: History,
}

impl Default for Setting {
    /// A warm Sonnet session of 20,000 tokens whose person writes often.
    fn default() -> Self {
        Self {
            candidates: shipped(),
            session: ModelId::new(SONNET),
            chosen: Chosen::ByDefault,
            chosen_effort: None,
            default_effort: None,
            tokens: Tokens { cached: 20_000, new: 60, output: 60 },
            ttl: Ttl::Hour1,
            odds: Odds { warm: 1_000, warm_if_read: 980, warm_if_left: 979 },
            history: History::default(),
        }
    }
}

impl Setting {
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            candidates: &self.candidates,
            session: &self.session,
            chosen: self.chosen,
            chosen_effort: self.chosen_effort,
            default_effort: self.default_effort,
            tokens: self.tokens,
            ttl: self.ttl,
            odds: self.odds,
            history: self.history,
        }
    }
}

pub fn rates(input: u64, read: u64, output: u64) -> Rates {
    Rates {
        input: MicroUsd(input),
        read: MicroUsd(read),
        write_5m: MicroUsd(input * 5 / 4),
        write_1h: MicroUsd(input * 2),
        output: MicroUsd(output),
    }
}

pub fn shipped() -> Vec<Candidate> {
    let model = |id: &str, tier: &str, base, beyond| Candidate {
        model: ModelId::new(id),
        tier: tier.to_owned(),
        has_effort: true,
        prices: Prices { base, beyond },
    };
    vec![
        model(HAIKU, "haiku", rates(100_000, 10_000, 500_000), Some((100_000, rates(500_000, 50_000, 2_500_000)))),
        model(SONNET, "sonnet", rates(2_000_000, 100_000, 10_000_000), None),
        model(OPUS, "opus", rates(4_000_000, 200_000, 20_000_000), None),
    ]
}
