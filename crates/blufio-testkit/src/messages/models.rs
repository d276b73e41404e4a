//! What the fake believes about each model: rules, limits and prices, as of November 2026.
//!
//! A table of its own, on purpose: the product's table is compared with it by every test that compares a ledger.
//! Prices are whole micro-dollars per million tokens.

use serde_json::{Value, json};

/// Tokens of one call by how they are billed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Prompt tokens neither read from nor written to the cache.
    pub input: u64,
    /// Prompt tokens written to the cache for 5 minutes.
    pub write_5m: u64,
    /// Prompt tokens written to the cache for 1 hour.
    pub write_1h: u64,
    /// Prompt tokens read from the cache.
    pub read: u64,
    /// Tokens of the answer, thinking included.
    pub output: u64,
}

impl Usage {
    /// All prompt tokens; this sum picks the price band.
    pub fn prompt(&self) -> u64 {
        self.input + self.write_5m + self.write_1h + self.read
    }
}

/// Micro-USD per million tokens, up to a prompt size.
#[derive(Clone, Copy, Debug)]
pub struct Band {
    /// Largest prompt of this band in tokens.
    pub max_prompt: u64,
    /// Plain prompt tokens.
    pub input: u64,
    /// Tokens of the answer.
    pub output: u64,
    /// Cache writes for 5 minutes.
    pub write_5m: u64,
    /// Cache writes for 1 hour.
    pub write_1h: u64,
    /// Cache reads.
    pub read: u64,
}

/// One model.
#[derive(Clone, Debug)]
pub struct Model {
    /// Id as sent in `model`.
    pub id: &'static str,
    /// Context window in tokens.
    pub context: u64,
    /// Largest legal `max_tokens`.
    pub max_output: u64,
    /// Fewest prefix tokens that are cached.
    pub cache_min: u64,
    /// Legal values of `thinking.type`.
    pub thinking: &'static [&'static str],
    /// Whether `tool_choice` may be `any` or `tool`.
    pub forced_tools: bool,
    /// Whether `role: "system"` may stand among the messages, and whether `effort` exists.
    pub modern: bool,
    /// Prices, by ascending prompt size; the last band is open.
    pub bands: &'static [Band],
}

/// The models that the fake serves.
#[derive(Clone, Debug)]
pub struct Models(Vec<Model>);

const M: u64 = 1_000_000;
const fn band(max_prompt: u64, input: u64, output: u64, read: u64) -> Band {
    Band { max_prompt, input, output, write_5m: input + input / 4, write_1h: input * 2, read }
}
const HAIKU: &[Band] = &[band(100_000, 100_000, 500_000, 10_000), band(u64::MAX, 500_000, 2_500_000, 50_000)];
const SONNET: &[Band] = &[band(u64::MAX, 2 * M, 10 * M, 100_000)];
const OPUS: &[Band] = &[band(u64::MAX, 4 * M, 20 * M, 200_000)];
const FABLE: &[Band] = &[band(u64::MAX, 8 * M, 40 * M, 200_000)];
const HAIKU_4_5: &[Band] = &[band(u64::MAX, M, 5 * M, 100_000)];

impl Default for Models {
    fn default() -> Self {
        let modern = |id, thinking, bands| Model {
            id,
            context: M,
            max_output: 128_000,
            cache_min: 512,
            thinking,
            forced_tools: id == "claude-haiku-5-5",
            modern: true,
            bands,
        };
        Self(vec![
            modern("claude-haiku-5-5", &["adaptive", "disabled"], HAIKU),
            modern("claude-sonnet-5-5", &["adaptive", "between_tools"], SONNET),
            modern("claude-opus-5-5", &["adaptive"], OPUS),
            modern("claude-fable-5-2", &["adaptive"], FABLE),
            Model {
                id: "claude-haiku-4-5",
                context: 200_000,
                max_output: 64_000,
                cache_min: 4_096,
                thinking: &["enabled", "disabled"],
                forced_tools: true,
                modern: false,
                bands: HAIKU_4_5,
            },
        ])
    }
}

impl Models {
    /// The model with this id.
    pub fn get(&self, id: &str) -> Option<&Model> {
        self.0.iter().find(|model| model.id == id)
    }

    /// The answer to `GET /v1/models`.
    pub fn list(&self) -> Value {
        let data: Vec<Value> = self.0.iter().map(Model::describe).collect();
        json!({
            "data": data, "has_more": false,
            "first_id": self.0.first().map(|model| model.id), "last_id": self.0.last().map(|model| model.id),
        })
    }
}

impl Model {
    /// Price of one call in micro-USD: summed over the components, divided once, rounded up.
    pub fn cost(&self, usage: &Usage) -> u64 {
        let band = self.bands.iter().find(|band| usage.prompt() <= band.max_prompt).expect("the last band is open");
        let sum: u128 = [
            (usage.input, band.input),
            (usage.write_5m, band.write_5m),
            (usage.write_1h, band.write_1h),
            (usage.read, band.read),
            (usage.output, band.output),
        ]
        .into_iter()
        .map(|(tokens, price)| u128::from(tokens) * u128::from(price))
        .sum();
        u64::try_from(sum.div_ceil(u128::from(M))).expect("a call costs less than the world has")
    }

    /// The answer to `GET /v1/models/{id}`.
    pub fn describe(&self) -> Value {
        let supported = |is: bool| json!({ "supported": is });
        let thinking = |kind: &str| supported(self.thinking.contains(&kind));
        let effort = supported(self.modern);
        json!({
            "type": "model", "id": self.id, "display_name": self.id, "created_at": "2026-10-07T00:00:00Z",
            "max_input_tokens": self.context, "max_tokens": self.max_output, "lifecycle": "active", "retires_at": null,
            "capabilities": {
                "thinking": { "supported": true, "types": {
                    "adaptive": thinking("adaptive"), "between_tools": thinking("between_tools"),
                    "disabled": thinking("disabled"), "enabled": thinking("enabled") } },
                "effort": { "supported": self.modern, "low": effort, "medium": effort, "high": effort,
                    "xhigh": effort, "max": effort },
                "compaction": { "summarize": supported(self.modern) },
            },
        })
    }

    /// Whether this model may read a thinking block of the model `issuer`; one it may not read is dropped silently.
    pub fn reads_thinking_of(&self, issuer: &str) -> bool {
        self.id == issuer
            || match self.id {
                "claude-haiku-5-5" => false,
                _ => issuer == "claude-haiku-5-5",
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_costs_what_the_price_list_says() {
        let models = Models::default();
        let cost = |id: &str, usage: Usage| models.get(id).unwrap().cost(&usage);
        let usage = Usage { input: 1_000, write_5m: 2_000, write_1h: 3_000, read: 4_000, output: 500 };
        // Sonnet, in USD per million: 2, 2.5, 4, 0.1, 10.
        assert_eq!(cost("claude-sonnet-5-5", usage), 2_000 + 5_000 + 12_000 + 400 + 5_000);
        assert_eq!(cost("claude-sonnet-5-5", Usage { read: 1, ..Usage::default() }), 1, "rounded up");
        let edge = Usage { input: 100_000, output: 1_000, ..Usage::default() };
        assert_eq!(cost("claude-haiku-5-5", edge), 10_000 + 500);
        let over = Usage { input: 100_001, output: 1_000, ..Usage::default() };
        assert_eq!(cost("claude-haiku-5-5", over), 50_001 + 2_500);
    }
}
