//! Models and what they cost: the one place where money is computed.
//!
//! Prices are dated data (`data/models/anthropic.toml`), not code. Sums are exact: micro-dollars per million tokens times
//! tokens in `u128`, divided once, rounded up. A model without a price is refused.

use crate::context::caching::CachePrices;
use crate::context::estimate::Tokenizer;
use crate::ids::ModelId;
use crate::message::Usage;
use crate::money::MicroUsd;
use crate::route::{Candidate, Prices, Rates};
use crate::time::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;

/// All known models.
#[derive(Clone, Debug)]
pub struct Catalogue {
    models: BTreeMap<ModelId, Model>,
    /// When the list was last compared with the vendor's page.
    pub read_on: Timestamp,
}

/// What is known of one model.
#[derive(Clone, Debug)]
pub struct Model {
    /// The vendor's name.
    pub id: ModelId,
    /// `haiku`, `sonnet`, `opus`, …
    pub tier: String,
    /// Context window in tokens.
    pub context: u64,
    /// Largest `max_tokens`.
    pub max_output: u32,
    /// Below this many tokens nothing is cached.
    pub cache_min: u64,
    /// How its tokens are counted.
    pub tokenizer: Tokenizer,
    /// The kinds of thinking it accepts; empty means none is sent.
    pub thinking: Vec<String>,
    /// The effort the vendor assumes, where it has the knob.
    pub default_effort: Option<String>,
    /// It accepts system messages inside the conversation.
    pub system_role: bool,
    /// The day it stops answering.
    pub retires: Option<Timestamp>,
    bands: Vec<Band>,
}

/// Prices of one band from one day on, in micro-dollars per million tokens.
#[derive(Clone, Debug)]
struct Band {
    from: Timestamp,
    max_prompt: Option<u64>,
    input: MicroUsd,
    output: MicroUsd,
    write_5m: MicroUsd,
    write_1h: MicroUsd,
    read: MicroUsd,
}

/// Why a models file is not usable.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Not the expected TOML.
    #[error("models file: {0}")]
    Toml(#[from] Box<toml::de::Error>),
    /// A value that makes no sense.
    #[error("models file: model `{model}`: {problem}")]
    Model {
        /// Which model.
        model: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A day that is not one.
    #[error("models file: `{0}` is not a day like 2026-11-22")]
    Day(String),
}

/// A model that may not be called because nobody knows what it costs.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("no price is known for model `{0}`; add it to the file named by [anthropic] models_file")]
pub struct NoPrice(pub ModelId);

impl Model {
    /// It costs more beyond some size of its prompt.
    #[must_use]
    pub fn has_bands(&self) -> bool {
        self.bands.iter().any(|band| band.max_prompt.is_some())
    }
}

impl Catalogue {
    /// Reads a models file and checks it: every model has prices, bands ascend and the last is open.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let raw: RawFile = toml::from_str(text).map_err(Box::new)?;
        let mut models = BTreeMap::new();
        for model in raw.model {
            let model = resolve(model)?;
            models.insert(model.id.clone(), model);
        }
        Ok(Self { models, read_on: parse_day(&raw.read_on)? })
    }

    /// Looks a model up.
    #[must_use]
    pub fn get(&self, id: &ModelId) -> Option<&Model> {
        self.models.get(id)
    }

    /// All models in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Model> {
        self.models.values()
    }

    /// The model named `word`: an id, or the newest of a tier.
    #[must_use]
    pub fn find(&self, word: &str) -> Option<&Model> {
        self.get(&ModelId::new(word)).or_else(|| self.models.values().rfind(|model| model.tier == word))
    }

    /// What a finished call cost.
    pub fn cost(&self, model: &ModelId, usage: &Usage, at: Timestamp) -> Result<MicroUsd, NoPrice> {
        let band = self.band(model, usage.prompt(), at)?;
        Ok(total(&[
            (usage.input, band.input),
            (usage.cache_write_5m, band.write_5m),
            (usage.cache_write_1h, band.write_1h),
            (usage.cache_read, band.read),
            (usage.output, band.output),
        ]))
    }

    /// The most a call can cost: its estimated prompt with 15 % on top at the dearest input price, and all of `max_tokens`.
    pub fn reserve(&self, model: &ModelId, prompt: u64, max_tokens: u32, at: Timestamp) -> Result<MicroUsd, NoPrice> {
        let prompt = prompt.saturating_mul(115).div_ceil(100);
        let band = self.band(model, prompt, at)?;
        let dearest = band.input.max(band.write_5m).max(band.write_1h);
        Ok(total(&[(prompt, dearest), (u64::from(max_tokens), band.output)]))
    }

    /// The most tokens of an answer that a call may have so that its worst case costs no more than `room`; `None`: the prompt
    /// alone costs more.
    pub fn affordable(
        &self,
        model: &ModelId,
        prompt: u64,
        room: MicroUsd,
        at: Timestamp,
    ) -> Result<Option<u32>, NoPrice> {
        let (none, one) = (self.reserve(model, prompt, 0, at)?, self.reserve(model, prompt, 1_000_000, at)?);
        let Some(left) = room.0.checked_sub(none.0) else { return Ok(None) };
        // Rounding up once may make the price of a million tokens look a micro-dollar smaller than it is: the result is checked.
        let per_million = one.0.saturating_sub(none.0).max(1);
        let tokens = u128::from(left) * 1_000_000 / u128::from(per_million);
        let mut tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        while tokens > 0 && self.reserve(model, prompt, tokens, at)? > room {
            tokens -= 1;
        }
        Ok(Some(tokens))
    }

    /// The newest model of every cheaper tier, the dearest of them first; for when money is short.
    #[must_use]
    pub fn cheaper(&self, model: &ModelId, at: Timestamp) -> Vec<ModelId> {
        let price = |model: &ModelId| self.band(model, 0, at).map(|band| (band.output, band.input)).ok();
        let Some(own) = price(model) else { return Vec::new() };
        let newest = |tier: &str| self.models.values().rfind(|model| model.tier == tier).map(|model| model.id.clone());
        let mut cheaper: Vec<_> = self
            .models
            .values()
            .filter(|known| newest(&known.tier).as_ref() == Some(&known.id) && known.retires.is_none_or(|day| at < day))
            .filter_map(|known| Some((price(&known.id)?, known.id.clone())))
            .filter(|(price, _)| *price < own)
            .collect();
        cheaper.sort_by_key(|(price, _)| std::cmp::Reverse(*price));
        cheaper.into_iter().map(|(_, id)| id).collect()
    }

    /// What a finished call would have cost without any cache.
    pub fn uncached(&self, model: &ModelId, usage: &Usage, at: Timestamp) -> Result<MicroUsd, NoPrice> {
        self.cost(model, &Usage { input: usage.prompt(), output: usage.output, ..Usage::default() }, at)
    }

    /// What a prompt of so many tokens costs per million, by what the cache does with them.
    pub fn cache_prices(&self, model: &ModelId, prompt: u64, at: Timestamp) -> Result<CachePrices, NoPrice> {
        let Band { input, read, write_5m, write_1h, .. } = *self.band(model, prompt, at)?;
        Ok(CachePrices { input, read, write_5m, write_1h })
    }

    /// The newest model of every tier that still answers, for a choice between them.
    #[must_use]
    pub fn candidates(&self, at: Timestamp) -> Vec<Candidate> {
        let newest = |tier: &str| self.models.values().rfind(|model| model.tier == tier).map(|model| &model.id);
        let alive = |model: &&Model| newest(&model.tier) == Some(&model.id) && model.retires.is_none_or(|day| at < day);
        let candidate = |model: &Model| {
            let rates = |band: &Band| Rates {
                input: band.input,
                read: band.read,
                write_5m: band.write_5m,
                write_1h: band.write_1h,
                output: band.output,
            };
            let base = self.band(&model.id, 0, at).ok()?;
            let beyond = base.max_prompt.and_then(|max| Some((max, rates(self.band(&model.id, max + 1, at).ok()?))));
            Some(Candidate {
                model: model.id.clone(),
                tier: model.tier.clone(),
                has_effort: model.default_effort.is_some(),
                prices: Prices { base: rates(base), beyond },
            })
        };
        self.models.values().filter(alive).filter_map(candidate).collect()
    }

    /// What a call that was never answered is booked with: its estimated prompt, written to the cache, and the tokens it may
    /// have produced.
    pub fn estimate(&self, model: &ModelId, prompt: u64, output: u64, at: Timestamp) -> Result<MicroUsd, NoPrice> {
        self.cost(model, &Usage { cache_write_5m: prompt, output, ..Usage::default() }, at)
    }

    /// The next edges of a prompt of so many tokens: where a band of prices or the model's context ends.
    #[must_use]
    pub fn edges(&self, model: &ModelId, at: Timestamp) -> Vec<u64> {
        let Some(known) = self.models.get(model) else { return Vec::new() };
        let since = known.bands.iter().map(|band| band.from).filter(|from| *from <= at).max();
        let bands = known.bands.iter().filter(|band| Some(band.from) == since).filter_map(|band| band.max_prompt);
        bands.chain([known.context]).collect()
    }

    fn band(&self, model: &ModelId, prompt: u64, at: Timestamp) -> Result<&Band, NoPrice> {
        let missing = || NoPrice(model.clone());
        let bands = &self.models.get(model).ok_or_else(missing)?.bands;
        let since = bands.iter().map(|band| band.from).filter(|from| *from <= at).max().ok_or_else(missing)?;
        bands
            .iter()
            .filter(|band| band.from == since)
            .find(|band| band.max_prompt.is_none_or(|max| prompt <= max))
            .ok_or_else(missing)
    }
}

/// Tokens times price, summed exactly and rounded up once.
fn total(items: &[(u64, MicroUsd)]) -> MicroUsd {
    let sum: u128 = items.iter().map(|(tokens, price)| u128::from(*tokens) * u128::from(price.0)).sum();
    MicroUsd(u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    read_on: String,
    model: Vec<RawModel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModel {
    id: String,
    tier: String,
    context: u64,
    max_output: u32,
    cache_min: u64,
    #[serde(default)]
    tokenizer: Tokenizer,
    thinking: Vec<String>,
    default_effort: Option<String>,
    system_role: bool,
    retires: Option<String>,
    price: Vec<RawPrice>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPrice {
    from: String,
    max_prompt: Option<u64>,
    input: String,
    output: String,
    write_5m: String,
    write_1h: String,
    read: String,
}

fn resolve(raw: RawModel) -> Result<Model, CatalogueError> {
    let problem = |problem: String| CatalogueError::Model { model: raw.id.clone(), problem };
    let mut bands = Vec::with_capacity(raw.price.len());
    for price in &raw.price {
        let dollars = |text: &str| MicroUsd::parse_dollars(text).map_err(|error| problem(error.to_string()));
        bands.push(Band {
            from: parse_day(&price.from)?,
            max_prompt: price.max_prompt,
            input: dollars(&price.input)?,
            output: dollars(&price.output)?,
            write_5m: dollars(&price.write_5m)?,
            write_1h: dollars(&price.write_1h)?,
            read: dollars(&price.read)?,
        });
    }
    bands.sort_by_key(|band| (band.from, band.max_prompt.unwrap_or(u64::MAX)));
    let open_ended = |from| bands.iter().any(|band: &Band| band.from == from && band.max_prompt.is_none());
    if bands.is_empty() || !bands.iter().all(|band| open_ended(band.from)) {
        return Err(problem("each day of a price list needs one band without `max_prompt`".to_owned()));
    }
    let retires = raw.retires.as_deref().map(parse_day).transpose()?;
    Ok(Model {
        id: ModelId::new(&raw.id),
        tier: raw.tier,
        context: raw.context,
        max_output: raw.max_output,
        cache_min: raw.cache_min,
        tokenizer: raw.tokenizer,
        thinking: raw.thinking,
        default_effort: raw.default_effort,
        system_role: raw.system_role,
        retires,
        bands,
    })
}

/// Midnight UTC of a day written `YYYY-MM-DD`.
fn parse_day(text: &str) -> Result<Timestamp, CatalogueError> {
    let wrong = || CatalogueError::Day(text.to_owned());
    let mut parts = text.split('-');
    let mut number = || parts.next().and_then(|part| part.parse::<i64>().ok()).ok_or_else(wrong);
    let (year, month, day) = (number()?, number()?, number()?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) || text.len() != 10 {
        return Err(wrong());
    }
    Ok(Timestamp(days_from_civil(year, month, day) * 86_400_000))
}

/// Days since 1970-01-01 in the Gregorian calendar, counting years from March so that the leap day comes last.
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shipped() -> Catalogue {
        Catalogue::parse(include_str!("../../../data/models/anthropic.toml")).unwrap()
    }

    fn day(text: &str) -> Timestamp {
        parse_day(text).unwrap()
    }

    #[test]
    fn days_are_read() {
        assert_eq!(day("1970-01-01"), Timestamp(0));
        assert_eq!(day("2000-02-29").0, 951_782_400_000);
        assert_eq!(day("2026-11-22").0, 1_795_305_600_000);
        assert!(parse_day("2026-13-01").is_err());
        assert!(parse_day("26-1-1").is_err());
    }

    #[test]
    fn recorded_usage_costs_what_the_price_list_says() {
        let usage =
            Usage { input: 1_000, cache_write_5m: 2_000, cache_write_1h: 3_000, cache_read: 4_000, output: 500 };
        let at = day("2026-11-22");
        let cost = |model: &str, at| shipped().cost(&ModelId::new(model), &usage, at).unwrap();
        // 1,000×2 + 2,000×2.5 + 3,000×4 + 4,000×0.10 + 500×10 dollars per million
        assert_eq!(cost("claude-sonnet-5-5", at), MicroUsd(2_000 + 5_000 + 12_000 + 400 + 5_000));
        assert_eq!(cost("claude-sonnet-5-5", day("2026-10-01")), MicroUsd(2_000 + 5_000 + 12_000 + 800 + 5_000));
        assert_eq!(cost("claude-opus-5-5", at), MicroUsd(4_000 + 10_000 + 24_000 + 800 + 10_000));
        assert_eq!(cost("claude-haiku-5-5", at), MicroUsd(100 + 250 + 600 + 40 + 250));
        assert_eq!(cost("claude-fable-5-2", at), MicroUsd(8_000 + 20_000 + 48_000 + 800 + 20_000));
        assert_eq!(cost("claude-haiku-4-5", at), MicroUsd(1_000 + 2_500 + 6_000 + 400 + 2_500));
    }

    #[test]
    fn the_dearer_band_prices_the_whole_request() {
        let at = day("2026-11-22");
        let cost = |input| {
            let usage = Usage { input, output: 1_000, ..Usage::default() };
            shipped().cost(&ModelId::new("claude-haiku-5-5"), &usage, at).unwrap()
        };
        assert_eq!(cost(100_000), MicroUsd(10_000 + 500));
        assert_eq!(cost(100_001), MicroUsd(50_001 + 2_500));
    }

    #[test]
    fn unknown_models_and_days_before_the_first_price_are_refused() {
        let none = Usage::default();
        assert!(shipped().cost(&ModelId::new("gpt-9"), &none, day("2026-11-22")).is_err());
        assert!(shipped().cost(&ModelId::new("claude-fable-5-2"), &none, day("2026-11-08")).is_err());
    }

    #[test]
    fn shipped_prices_are_consistent() {
        for model in shipped().iter() {
            for band in &model.bands {
                assert_eq!(band.write_5m.0 * 4, band.input.0 * 5, "{}", model.id);
                assert_eq!(band.write_1h.0, band.input.0 * 2, "{}", model.id);
                assert!(band.read < band.input, "{}", model.id);
            }
        }
        assert_eq!(shipped().find("opus").unwrap().id, ModelId::new("claude-opus-5-5"));
    }

    #[test]
    fn a_price_list_without_an_open_band_is_refused() {
        let text = include_str!("../../../data/models/anthropic.toml").replacen(
            "input = \"0.50\"",
            "max_prompt = 9\ninput = \"0.50\"",
            1,
        );
        assert!(matches!(Catalogue::parse(&text), Err(CatalogueError::Model { .. })));
    }

    #[test]
    fn what_is_affordable_fits_and_one_token_more_does_not() {
        let (catalogue, at) = (shipped(), day("2026-11-22"));
        for model in ["claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"].map(ModelId::new) {
            for (prompt, room) in [(0, 1), (1_000, 50_000), (7_777, 123_457), (90_000, 999_999), (200_000, 5_000_000)] {
                let room = MicroUsd(room);
                let reserve = |tokens| catalogue.reserve(&model, prompt, tokens, at).unwrap();
                match catalogue.affordable(&model, prompt, room, at).unwrap() {
                    Some(tokens) => {
                        assert!(reserve(tokens) <= room && reserve(tokens + 1) > room, "{model} {prompt} {tokens}")
                    }
                    None => assert!(reserve(0) > room, "{model} {prompt}"),
                }
            }
        }
    }

    #[test]
    fn cheaper_models_come_in_order() {
        let at = day("2026-11-22");
        let cheaper = |model: &str| {
            let found = shipped().cheaper(&ModelId::new(model), at);
            found.into_iter().map(|id| id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(cheaper("claude-opus-5-5"), ["claude-sonnet-5-5", "claude-haiku-5-5"]);
        assert_eq!(cheaper("claude-sonnet-5-5"), ["claude-haiku-5-5"]);
        assert_eq!(cheaper("claude-haiku-5-5"), [""; 0]);
    }

    #[test]
    fn a_reservation_covers_every_way_of_caching() {
        let at = day("2026-11-22");
        let model = ModelId::new("claude-sonnet-5-5");
        let reserved = shipped().reserve(&model, 1_000, 100, at).unwrap();
        let worst = Usage { cache_write_1h: 1_150, output: 100, ..Usage::default() };
        assert_eq!(reserved, shipped().cost(&model, &worst, at).unwrap());
    }
}
