//! How many tokens a text is, without the vendor's tokenizer.
//!
//! No current tokenizer is public. So characters are counted by class, each class has its usual number of characters per
//! token, and the vendor's own counts correct the sum: a [`Ratio`] per model and kind of text, and a [`Meter`] that takes
//! what is known of a prompt instead of estimating it. This file refuses to know what pictures and documents cost.

mod json;
mod scan;
#[cfg(test)]
mod tests;

pub use json::{message, system, tools};
pub use scan::{code, text};

use crate::ids::{EpochNumber, ModelId};
use crate::message::Usage;
use serde::{Deserialize, Serialize};

/// Models whose ratios are kept. Full: the one not heard of for the longest time is forgotten.
pub const RATIO_MODELS_MAX: usize = 32;
/// Models whose last prompt of a session is kept. Full: as above.
pub const METER_MODELS_MAX: usize = 4;
/// Smallest ratio of counted to estimated tokens, in thousandths. Below: taken as this one.
pub const RATIO_MIN: u32 = 500;
/// Largest ratio of counted to estimated tokens, in thousandths. Above: taken as this one.
pub const RATIO_MAX: u32 = 2_000;
/// The shortest estimate that tells something about a ratio; a shorter one is mostly the cost of its frame.
const OBSERVED_MIN: Milli = Milli(16_000);
/// One part in so many of a new ratio is the newest observation.
const OBSERVED_SHARE: i64 = 10;

const _: () = assert!(RATIO_MIN < 1_000 && 1_000 < RATIO_MAX);

/// Which of the vendor's tokenizers a model has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tokenizer {
    /// Models from 4.7 on: more tokens for the same text.
    #[default]
    Newer,
    /// Models before.
    Older,
}

/// Thousandths of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Milli(pub u64);

impl Milli {
    /// The sum, or the largest number there is.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Whole tokens, rounded up.
    #[must_use]
    pub const fn tokens(self) -> u64 {
        self.0.div_ceil(1_000)
    }
}

impl std::iter::Sum for Milli {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::default(), Self::plus)
    }
}

/// How many tokens the vendor counted for each that was estimated: thousandths, a moving mean that forgets a tenth with each
/// observation, from [`RATIO_MIN`] to [`RATIO_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "u32", into = "u32")]
pub struct Ratio(u32);

impl Default for Ratio {
    fn default() -> Self {
        Self(1_000)
    }
}

impl From<u32> for Ratio {
    fn from(thousandths: u32) -> Self {
        Self(thousandths.clamp(RATIO_MIN, RATIO_MAX))
    }
}

impl From<Ratio> for u32 {
    fn from(ratio: Ratio) -> Self {
        ratio.0
    }
}

impl Ratio {
    /// Learns that the vendor counted `actual` tokens for what was `estimated`, before any ratio. A very short text is ignored.
    pub fn observe(&mut self, estimated: Milli, actual: u64) {
        if estimated < OBSERVED_MIN {
            return;
        }
        let seen = u128::from(actual) * 1_000_000 / u128::from(estimated.0);
        let seen = u32::try_from(seen).unwrap_or(RATIO_MAX).clamp(RATIO_MIN, RATIO_MAX);
        let away = i64::from(seen) - i64::from(self.0);
        // To the nearest: rounding towards zero would never close the last hundredth.
        let step = (away + away.signum() * OBSERVED_SHARE / 2) / OBSERVED_SHARE;
        self.0 = u32::try_from(i64::from(self.0) + step).unwrap_or(RATIO_MAX).clamp(RATIO_MIN, RATIO_MAX);
    }

    /// What the vendor will probably count, rounded up.
    #[must_use]
    pub fn apply(self, estimated: Milli) -> Milli {
        let corrected = (u128::from(estimated.0) * u128::from(self.0)).div_ceil(1_000);
        Milli(u64::try_from(corrected).unwrap_or(u64::MAX))
    }
}

/// What a ratio is of; the errors of an estimate differ between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Tools and system text.
    Static,
    /// What people and models say.
    Chat,
    /// What tools return.
    Tool,
}

/// The ratios of all models that were called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<OfModel>", into = "Vec<OfModel>")]
pub struct Ratios(Vec<OfModel>);

/// The ratios of a model, as they are stored; the model that was observed last comes last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OfModel {
    model: ModelId,
    #[serde(default, rename = "static")]
    frozen: Ratio,
    #[serde(default)]
    chat: Ratio,
    #[serde(default)]
    tool: Ratio,
}

impl OfModel {
    const fn of(&mut self, kind: Kind) -> &mut Ratio {
        match kind {
            Kind::Static => &mut self.frozen,
            Kind::Chat => &mut self.chat,
            Kind::Tool => &mut self.tool,
        }
    }
}

impl From<Vec<OfModel>> for Ratios {
    fn from(mut models: Vec<OfModel>) -> Self {
        models.drain(..models.len().saturating_sub(RATIO_MODELS_MAX));
        Self(models)
    }
}

impl From<Ratios> for Vec<OfModel> {
    fn from(ratios: Ratios) -> Self {
        ratios.0
    }
}

impl Ratios {
    /// The ratio of one model and kind; one to one for what was never observed.
    #[must_use]
    pub fn get(&self, model: &ModelId, kind: Kind) -> Ratio {
        let known = self.0.iter().find(|known| known.model == *model);
        known.map_or_else(Ratio::default, |known| match kind {
            Kind::Static => known.frozen,
            Kind::Chat => known.chat,
            Kind::Tool => known.tool,
        })
    }

    /// See [`Ratio::observe`].
    pub fn observe(&mut self, model: &ModelId, kind: Kind, estimated: Milli, actual: u64) {
        let mut known = match self.0.iter().position(|known| known.model == *model) {
            Some(place) => self.0.remove(place),
            None => OfModel {
                model: model.clone(),
                frozen: Ratio::default(),
                chat: Ratio::default(),
                tool: Ratio::default(),
            },
        };
        known.of(kind).observe(estimated, actual);
        if self.0.len() >= RATIO_MODELS_MAX {
            self.0.remove(0);
        }
        self.0.push(known);
    }
}

/// What the vendor has counted of a session's prompt, so that only what came since has to be estimated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    epoch: EpochNumber,
    /// One of each model, the last one last: tokens are of a model, and a session may leave its own for a turn.
    known: Vec<Known>,
}

/// The prompt after an answer: everything up to it, and it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    model: ModelId,
    messages: usize,
    tokens: u64,
}

/// What a call told about the size of what was new in its prompt; to be held against an estimate of the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fresh {
    /// The whole prompt: tools, system text and all messages.
    Whole {
        /// What the vendor counted.
        tokens: u64,
    },
    /// The messages from this one (from 0) to the last of the request.
    Since {
        /// The first of them.
        message: usize,
        /// What the vendor counted.
        tokens: u64,
    },
}

impl Meter {
    /// A call was answered: its request had so many messages, and its answer is the message after them. Not for a call whose
    /// answer is not kept. Returns what it tells about the estimate, if it tells anything.
    pub fn settled(&mut self, epoch: EpochNumber, model: &ModelId, messages: usize, usage: &Usage) -> Option<Fresh> {
        let counted = usage.prompt();
        if counted == 0 {
            return None;
        }
        let before = self.known(epoch, model, messages).map(|known| (known.messages, known.tokens));
        self.counted(epoch, model, messages.saturating_add(1), counted.saturating_add(usage.output));
        match before {
            None => Some(Fresh::Whole { tokens: counted }),
            Some((message, known)) if message < messages => {
                Some(Fresh::Since { message, tokens: counted.saturating_sub(known) })
            }
            Some(_) => None,
        }
    }

    /// The vendor has counted a prompt of so many messages.
    pub fn counted(&mut self, epoch: EpochNumber, model: &ModelId, messages: usize, tokens: u64) {
        if self.epoch != epoch {
            *self = Self { epoch, known: Vec::new() };
        }
        self.known.retain(|known| known.model != *model);
        if self.known.len() >= METER_MODELS_MAX {
            self.known.remove(0);
        }
        self.known.push(Known { model: model.clone(), messages, tokens });
    }

    /// How much of the estimate for so many messages was counted and not guessed.
    #[must_use]
    pub fn known_tokens(&self, epoch: EpochNumber, model: &ModelId, messages: usize) -> u64 {
        self.known(epoch, model, messages).map_or(0, |known| known.tokens)
    }

    /// Tokens of the prompt with these messages: what was counted, and the rest estimated. `measure` and `frozen`, which is for
    /// tools and system text, are estimates that a [`Ratio`] has already corrected. `measure` is asked only for what is new.
    #[must_use]
    pub fn estimate<M>(
        &self,
        epoch: EpochNumber,
        model: &ModelId,
        messages: &[M],
        frozen: impl FnOnce() -> Milli,
        measure: impl FnMut(&M) -> Milli,
    ) -> u64 {
        let known = self.known(epoch, model, messages.len());
        let (from, base) = known.map_or_else(|| (0, frozen()), |known| (known.messages, thousandfold(known.tokens)));
        let new: Milli = messages.get(from..).unwrap_or_default().iter().map(measure).sum();
        base.plus(new).tokens()
    }

    /// Of another epoch, of another model, or of a longer conversation, which this one cannot be the continuation of: nothing.
    fn known(&self, epoch: EpochNumber, model: &ModelId, messages: usize) -> Option<&Known> {
        let known = self.known.iter().filter(|_| self.epoch == epoch);
        known.rev().find(|known| known.model == *model && known.messages <= messages)
    }
}

const fn thousandfold(tokens: u64) -> Milli {
    Milli(tokens.saturating_mul(1_000))
}
