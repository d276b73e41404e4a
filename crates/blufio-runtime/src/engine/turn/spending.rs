//! The calls of a turn and what they cost: held before, booked after.

use super::routing::reason;
use super::{Action, News, Run};
use crate::costs::{AGENT, person};
use crate::engine::booking;
use crate::engine::toolwork::digest;
use blufio_core::budget::{CallKey, Denied, Granted, Payer, Wish};
use blufio_core::ids::{CallNumber, ModelId, ToolName};
use blufio_core::message::Usage;
use blufio_core::money::MicroUsd;
use blufio_core::port::{Failure, Prompt, StoreError};
use blufio_core::record::{CallCost, ModelReason, OpenCall, Purpose, Record};
use blufio_core::time::Timestamp;

/// A call that is made as soon as its prompt is counted.
pub(in crate::engine) struct WantedCall {
    model: ModelId,
    fallback: bool,
    more_room: bool,
}

impl Run<'_> {
    /// Books a call of which nothing is known any more.
    pub(super) fn book_abandoned(&mut self, open: OpenCall) {
        let cost = booking::abandoned(self.engine, &open);
        self.close_call(&open, cost, None, Some("abandoned".to_owned()));
    }

    /// Books a call that is over.
    pub(super) fn close_call(
        &mut self,
        open: &OpenCall,
        cost: CallCost,
        request: Option<String>,
        failure: Option<String>,
    ) {
        metrics::counter!("blufio_model_calls_total", "outcome" => if failure.is_some() { "failed" } else { "done" })
            .increment(1);
        self.session.last_call = open.call;
        if let CallCost::Settled { usage, cost, .. } = &cost {
            self.session.tokens = Some(usage.prompt().saturating_add(usage.output));
            self.session.counted(self.engine, &open.model, usage);
            metrics::counter!("blufio_spend_micro_usd_total").increment(cost.0);
            metrics::counter!("blufio_tokens_total", "kind" => "prompt").increment(usage.prompt());
            metrics::counter!("blufio_tokens_total", "kind" => "cache_read").increment(usage.cache_read);
            metrics::counter!("blufio_tokens_total", "kind" => "output").increment(usage.output);
        }
        self.engine.money.settle(self.call_key(open.call), booking::amount(&cost), self.now());
        self.records.push(Record::CallClosed { call: open.call, cost, request, failure });
    }

    /// Makes a call, if every budget has room for its worst case. Where the estimate of the prompt is so near to an edge that it
    /// may lie on either side, the vendor counts it first.
    pub(super) fn call_model(&mut self, fallback: bool, more_room: bool) {
        if self.engine.is_draining() {
            return;
        }
        let settings = &self.engine.settings;
        let usual = self.session.epoch.as_ref().map_or(&settings.model, |epoch| &epoch.model);
        let routed = self.routed.as_ref().map(|decision| &decision.model).filter(|model| *model != usual);
        let usual = self.forced.as_ref().or(routed).unwrap_or(usual);
        let model = settings.fallback.as_ref().filter(|_| fallback).unwrap_or(usual).clone();
        let (wanted, at) = (WantedCall { model, fallback, more_room }, self.now());
        match self.session.unsure_of(self.engine, &wanted.model, at) {
            None => self.reserve_call(wanted),
            Some(tokens) => {
                let prompt = self.prompt(&wanted.model, settings.max_tokens, (tokens, at));
                let provider = self.engine.adapters.provider.clone();
                self.actions.push(Action::Count(Box::pin(async move {
                    let counted = provider.count(prompt).await;
                    let counted = counted.inspect_err(|error| tracing::warn!("a prompt could not be counted: {error}"));
                    News::Counted(wanted, counted.ok())
                })));
            }
        }
    }

    /// The vendor has counted the prompt, or could not.
    pub(super) async fn call_counted(&mut self, wanted: WantedCall, tokens: Option<u64>) -> Result<(), StoreError> {
        if let Some(tokens) = tokens {
            self.session.counted_before(&wanted.model, tokens);
        }
        if self.engine.is_draining() {
            return Ok(());
        }
        self.reserve_call(wanted);
        self.commit(None).await
    }

    fn reserve_call(&mut self, wanted: WantedCall) {
        let WantedCall { model: wanted, fallback, more_room } = wanted;
        let settings = &self.engine.settings;
        let usual = self.session.epoch.as_ref().map_or(&settings.model, |epoch| &epoch.model);
        let routed = self.routed.as_ref().filter(|decision| decision.model == wanted && wanted != *usual);
        let chosen = self.session.model.is_some() || self.forced.is_some();
        let at = self.now();
        // A model that the person has chosen is not exchanged for a cheaper one.
        let cheaper = if chosen { Vec::new() } else { settings.catalogue.cheaper(&wanted, at) };
        let models = [vec![wanted.clone()], cheaper].concat();
        let max_tokens = if more_room { settings.max_tokens.saturating_mul(4) } else { settings.max_tokens };
        let prompt_tokens = self.session.prompt_tokens(self.engine, &wanted);
        let number = self.call.next();
        let (payer, call) = (self.payer(), self.call_key(number));
        let wish = Wish { call, payer: &payer, models: &models, prompt_tokens, max_tokens, at };
        let granted = match self.engine.money.reserve(&settings.catalogue, &wish, &self.session.key) {
            Ok(granted) => granted,
            Err(Denied::NoPrice(_)) => return self.actions.push(Action::Refused(Failure::NoPrice, wanted)),
            Err(Denied::Budget(refusal)) => {
                self.refused = Some(self.engine.money.words(&refusal));
                tracing::warn!(session = %self.session.key, budget = refusal.budget.key(), "a call has no room in a budget");
                return self.actions.push(Action::Refused(Failure::OverBudget, wanted));
            }
        };
        let reason = match () {
            () if granted.model != wanted => ModelReason::Budget,
            () if fallback => ModelReason::Fallback,
            () if chosen => ModelReason::Chosen,
            () if routed.is_some() => routed.map_or(ModelReason::Usual, reason),
            () => ModelReason::Usual,
        };
        self.session.measured.called(number == CallNumber(1), at);
        let prompt = self.prompt(&granted.model, granted.max_tokens, (prompt_tokens, at));
        self.call = number;
        let Granted { model, max_tokens, held, .. } = granted;
        let open = OpenCall { call: number, model, held, prompt_tokens, max_tokens, reason, at };
        self.records.push(Record::CallOpened(open.clone()));
        self.open = Some(open);
        self.actions.push(Action::Call(prompt));
    }

    /// Pays for a call of a tool that asks a service for money; why not, in words, if no budget has room for it.
    pub(super) fn pay_tool(&mut self, tool: &ToolName) -> Result<(), String> {
        let price = self.engine.tools.get(tool).map_or(MicroUsd::ZERO, |tool| tool.spec().price);
        if price == MicroUsd::ZERO {
            return Ok(());
        }
        let at = self.now();
        let paid = self.engine.money.pay(&self.payer(), price, &self.session.key, at);
        paid.map_err(|refusal| format!("not run: {}", self.engine.money.words(&refusal)))?;
        self.call = self.call.next();
        let open = OpenCall {
            call: self.call,
            model: ModelId::new(tool.as_str()),
            held: price,
            prompt_tokens: 0,
            max_tokens: 0,
            reason: ModelReason::Usual,
            at,
        };
        // Both at once: the price is known, so nothing is left to be settled, wherever the process dies.
        self.records.push(Record::SideCallOpened(open, Purpose::Tool));
        let cost = CallCost::Settled { usage: Usage::default(), cost: price, uncached: price };
        self.records.push(Record::CallClosed { call: self.call, cost, request: None, failure: None });
        metrics::counter!("blufio_spend_micro_usd_total").increment(price.0);
        Ok(())
    }

    fn payer(&self) -> Payer {
        Payer {
            session: self.session.id,
            turn: self.number,
            person: person(&self.row.principal),
            agent: AGENT.to_owned(),
        }
    }

    const fn call_key(&self, call: CallNumber) -> CallKey {
        CallKey { session: self.session.id, turn: self.number, call }
    }

    fn prompt(&mut self, model: &ModelId, max_tokens: u32, (tokens, at): (u64, Timestamp)) -> Prompt {
        let settings = &self.engine.settings;
        let known = settings.catalogue.get(model);
        let adaptive = known.is_some_and(|model| model.thinking.iter().any(|kind| kind == "adaptive"));
        let routed = self.routed.as_ref().and_then(|decision| decision.effort).map(|effort| effort.as_str().to_owned());
        let effort = self.session.effort.clone().or(routed).or_else(|| settings.effort.clone());
        let effort = effort.filter(|_| known.is_some_and(|model| model.default_effort.is_some()));
        let marks = self.session.marks(self.engine, model, tokens, at);
        let (system, tools) = self.session.frozen_bytes();
        Prompt {
            request: format!("{}-{}-{}", self.session.id, self.number, self.turn.round()),
            model: model.clone(),
            max_tokens,
            effort,
            thinking: adaptive.then(|| "adaptive".to_owned()),
            person: digest(self.session.key.as_str()),
            system,
            tools,
            messages: self.session.history.clone(),
            marks,
        }
    }
}
