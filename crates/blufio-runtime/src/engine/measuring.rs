//! How large a prompt is and what of it is worth keeping in the vendor's cache. How both are computed is
//! [`blufio_core::context`]'s; here is what they are computed from.

use super::Engine;
use super::session::Session;
use crate::scheduler;
use blufio_core::context::caching::{self, Lifetimes, Marks, Prior, Shape, Size, Speaker, Ttl};
use blufio_core::context::estimate::{Fresh, Kind, Meter, Milli, Tokenizer};
use blufio_core::ids::{EpochNumber, ModelId};
use blufio_core::message::{Role, Usage};
use blufio_core::port::PromptMessage;
use blufio_core::record::Shared;
use blufio_core::route::{self, Odds};
use blufio_core::time::Timestamp;
use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::Duration;

/// What is known of the size of a session's prompt and of the times between its calls.
#[derive(Default)]
pub(super) struct Measured {
    meter: Meter,
    /// Of the epoch's system text and tools, uncorrected.
    frozen: Option<(EpochNumber, Tokenizer, Milli)>,
    gaps: caching::Gaps,
    /// The same in seconds, the newest last.
    seconds: VecDeque<u64>,
    last_call_at: Timestamp,
}

impl Measured {
    /// From the last turns of a session: see [`blufio_core::record::Snapshot`].
    pub fn new(gaps: Vec<Duration>, last_call_at: Timestamp) -> Self {
        let mut measured = Self { last_call_at, ..Self::default() };
        gaps.into_iter().for_each(|gap| measured.observe(gap));
        measured
    }

    /// A call is made; `first` of its turn.
    pub fn called(&mut self, first: bool, at: Timestamp) {
        if first && self.last_call_at > Timestamp(0) {
            self.observe(at.since(self.last_call_at));
        }
        self.last_call_at = at;
    }

    fn observe(&mut self, gap: Duration) {
        self.gaps.observe(gap);
        if self.seconds.len() >= caching::GAPS_MAX {
            self.seconds.pop_front();
        }
        self.seconds.push_back(gap.as_secs());
    }

    /// How likely the cache is warm, now and at the next turn.
    pub fn odds(&self, ttl: route::Ttl, now: Timestamp) -> Odds {
        let idle = if self.last_call_at > Timestamp(0) { now.since(self.last_call_at).as_secs() } else { u64::MAX };
        let (head, tail) = self.seconds.as_slices();
        Odds::from_gaps(&[head, tail].concat(), idle, ttl)
    }
}

impl Engine {
    /// A stored message as a part of a prompt.
    pub fn message(&self, role: Role, wire: Shared) -> PromptMessage {
        PromptMessage { role, shape: self.adapters.provider.shape(role, &wire), wire }
    }

    /// Tokens of a prompt that stands alone.
    pub fn tokens(&self, model: &ModelId, (system, tools): (&Shared, &Shared), messages: &[PromptMessage]) -> u64 {
        let tokenizer = self.tokenizer(model);
        let frozen = self.adapters.provider.measure_frozen(system, tools, tokenizer);
        let said = messages.iter().map(|message| self.measured(model, tokenizer, message));
        self.corrected(model, Kind::Static, frozen).plus(said.sum()).tokens()
    }

    /// Tokens of one message.
    pub fn tokens_of(&self, model: &ModelId, message: &PromptMessage) -> u64 {
        self.measured(model, self.tokenizer(model), message).tokens()
    }

    fn tokenizer(&self, model: &ModelId) -> Tokenizer {
        self.settings.catalogue.get(model).map_or_else(Tokenizer::default, |model| model.tokenizer)
    }

    fn measured(&self, model: &ModelId, tokenizer: Tokenizer, message: &PromptMessage) -> Milli {
        self.corrected(model, kind(&message.shape), self.adapters.provider.measure(message, tokenizer))
    }

    fn corrected(&self, model: &ModelId, kind: Kind, estimated: Milli) -> Milli {
        self.ratios.lock().unwrap_or_else(PoisonError::into_inner).get(model, kind).apply(estimated)
    }
}

impl Session {
    /// Tokens of the prompt as it stands.
    pub fn prompt_tokens(&mut self, engine: &Engine, model: &ModelId) -> u64 {
        let frozen = self.frozen(engine, model);
        let tokenizer = engine.tokenizer(model);
        self.measured.meter.estimate(
            self.epoch_number(),
            model,
            &self.history,
            || engine.corrected(model, Kind::Static, frozen),
            |message| engine.measured(model, tokenizer, message),
        )
    }

    /// The estimate of the prompt, if what of it is guessed may be wrong enough to lie on the other side of an edge.
    pub fn unsure_of(&mut self, engine: &Engine, model: &ModelId, at: Timestamp) -> Option<u64> {
        let tokens = self.prompt_tokens(engine, model);
        let known = self.measured.meter.known_tokens(self.epoch_number(), model, self.history.len());
        let error = tokens.saturating_sub(known) * GUESS_ERROR_PERCENT / 100;
        let edges = engine.settings.catalogue.edges(model, at);
        edges.iter().any(|edge| edge.abs_diff(tokens) <= error).then_some(tokens)
    }

    /// The vendor has counted the prompt as it stands, before a call.
    pub fn counted_before(&mut self, model: &ModelId, tokens: u64) {
        let (epoch, messages) = (self.epoch_number(), self.history.len());
        self.measured.meter.counted(epoch, model, messages, tokens);
    }

    /// What of a prompt of so many tokens the vendor is to keep.
    pub fn marks(&mut self, engine: &Engine, model: &ModelId, tokens: u64, at: Timestamp) -> Marks {
        let catalogue = &engine.settings.catalogue;
        let (Some(known), Ok(prices)) = (catalogue.get(model), catalogue.cache_prices(model, tokens, at)) else {
            return Marks::default();
        };
        let frozen = self.frozen(engine, model);
        let frozen = engine.corrected(model, Kind::Static, frozen).tokens();
        // Nobody answers what a schedule has asked; its next time comes when nothing is cached any more.
        let prior = if self.key.as_str().starts_with(scheduler::SESSIONS) { &Prior::SCHEDULED } else { &Prior::CHAT };
        let kept = caching::choose(self.measured.gaps.odds(prior), &prices);
        // The next request comes in seconds.
        let kept = if self.uses_tools() { kept.max(Ttl::FiveMinutes) } else { kept };
        let shapes: Vec<Shape> = self.history.iter().map(|message| message.shape).collect();
        let size = Size { frozen, whole: tokens, cache_min: known.cache_min };
        caching::marks(&shapes, size, Lifetimes { system: kept, messages: kept })
    }

    /// Tools were used lately.
    pub fn uses_tools(&self) -> bool {
        self.history.iter().rev().take(TOOLS_SEEN).any(|message| message.shape.speaker == Speaker::Tools)
    }

    /// The vendor has counted the prompt of a call, as it stands now, and the answer to it.
    pub fn counted(&mut self, engine: &Engine, model: &ModelId, usage: &Usage) {
        let epoch = self.epoch_number();
        let Some(fresh) = self.measured.meter.settled(epoch, model, self.history.len(), usage) else { return };
        let (tokenizer, frozen) = (engine.tokenizer(model), self.frozen(engine, model));
        let since = |from: usize| self.history.get(from..).unwrap_or_default();
        let measure = |messages: &[PromptMessage]| {
            messages.iter().map(|message| engine.adapters.provider.measure(message, tokenizer)).sum::<Milli>()
        };
        let (kind, estimated, tokens) = match fresh {
            Fresh::Whole { tokens } => (Kind::Static, frozen.plus(measure(since(0))), tokens),
            Fresh::Since { message, tokens } => {
                let new = since(message);
                (new.first().map_or(Kind::Chat, |message| kind(&message.shape)), measure(new), tokens)
            }
        };
        engine.ratios.lock().unwrap_or_else(PoisonError::into_inner).observe(model, kind, estimated, tokens);
    }

    fn frozen(&mut self, engine: &Engine, model: &ModelId) -> Milli {
        let (epoch, tokenizer) = (self.epoch_number(), engine.tokenizer(model));
        match self.measured.frozen {
            Some((known, of, frozen)) if (known, of) == (epoch, tokenizer) => frozen,
            _ => {
                let (system, tools) = self.frozen_bytes();
                let frozen = engine.adapters.provider.measure_frozen(&system, &tools, tokenizer);
                self.measured.frozen = Some((epoch, tokenizer, frozen));
                frozen
            }
        }
    }

    fn epoch_number(&self) -> EpochNumber {
        self.epoch.as_ref().map_or(EpochNumber(0), |epoch| epoch.number)
    }
}

/// By how much a guess may be wrong, in percent of what is guessed.
const GUESS_ERROR_PERCENT: u64 = 20;

/// Messages from the end among which a result of a tool says that tools are in use.
const TOOLS_SEEN: usize = 6;

const fn kind(shape: &Shape) -> Kind {
    match shape.speaker {
        Speaker::Tools => Kind::Tool,
        Speaker::Person | Speaker::Model => Kind::Chat,
    }
}
