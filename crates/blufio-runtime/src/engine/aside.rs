//! A call beside the turns of a conversation, while nobody speaks there: on the cheapest model, with its money held and booked,
//! and ended when somebody writes.

use super::session::Session;
use super::{Engine, booking};
use crate::costs::{AGENT, person};
use crate::sessions::Seat;
use blufio_core::access::Principal;
use blufio_core::budget::{CallKey, Granted, Payer, Wish};
use blufio_core::context::caching::Marks;
use blufio_core::ids::{CallNumber, ModelId, SessionId, TurnNumber};
use blufio_core::message::{Origin, Part, Role};
use blufio_core::port::{Prompt, ProviderError, Reply, StoreError, ToolSpec};
use blufio_core::record::{CallCost, Commit, ModelReason, OpenCall, Purpose, Record};
use std::sync::Arc;

/// What is asked.
pub(super) struct Aside<'a> {
    /// What for.
    pub purpose: Purpose,
    /// On whose account.
    pub principal: &'a Principal,
    /// The system text.
    pub system: &'a str,
    /// The question.
    pub words: String,
    /// How the model may answer besides with words.
    pub tools: &'a [&'a ToolSpec],
    /// Room for the answer, in tokens.
    pub max_tokens: u32,
}

/// What came of a call.
pub(super) enum Called {
    /// The answer.
    Said(Vec<Part>),
    /// There is none: no money, no model.
    Failed,
    /// Somebody wanted something else in between.
    Interrupted,
}

/// Makes the call. `seat`: whoever writes there interrupts it.
pub(super) async fn call(
    engine: &Arc<Engine>,
    session: &mut Session,
    aside: Aside<'_>,
    seat: Option<&Seat>,
) -> Result<Called, StoreError> {
    let (settings, clock) = (&engine.settings, &engine.adapters.clock);
    let provider = &engine.adapters.provider;
    let wanted = session.wanted_model(engine).clone();
    let model = settings.catalogue.cheaper(&wanted, clock.now()).pop().unwrap_or(wanted);
    let Some(wire) = provider.render_message(Role::User, &[Part::text(Origin::Engine, aside.words)]) else {
        return Ok(Called::Failed);
    };
    let (system, tools) = (provider.render_system(aside.system), provider.render_tools(aside.tools));
    let messages = vec![engine.message(Role::User, wire)];
    let number = CallNumber(session.last_call.0.saturating_add(1));
    let prompt = |model: &ModelId, max_tokens| Prompt {
        request: format!("{}-{}-side-{number}", session.id, session.last_turn),
        model: model.clone(),
        max_tokens,
        effort: None,
        thinking: None,
        person: super::toolwork::digest(session.key.as_str()),
        system: system.clone(),
        tools: tools.clone(),
        messages: messages.clone(),
        // Nobody asks the same again.
        marks: Marks::default(),
    };
    let at = clock.now();
    let person = person(aside.principal);
    let payer = Payer { session: session.id, turn: session.last_turn, person, agent: AGENT.to_owned() };
    let call = CallKey { session: session.id, turn: session.last_turn, call: number };
    let prompt_tokens = engine.tokens(&model, (&system, &tools), &messages);
    let models = [model];
    let wish = Wish { call, payer: &payer, models: &models, prompt_tokens, max_tokens: aside.max_tokens, at };
    let Ok(granted) = engine.money.reserve(&settings.catalogue, &wish, &session.key) else { return Ok(Called::Failed) };
    let Granted { model, max_tokens, held, .. } = granted;
    let prompt = prompt(&model, max_tokens);
    session.last_call = number;
    let open = OpenCall { call: number, model, held, prompt_tokens, max_tokens, reason: ModelReason::Usual, at };
    commit(engine, session, session.last_turn, vec![Record::SideCallOpened(open.clone(), aside.purpose)]).await?;
    let answered = tokio::select! {
        answered = provider.complete(prompt, Box::new(|_| {})) => Some(answered),
        () = written(engine, session.id, seat) => None,
        () = engine.draining() => None,
        () = engine.until_killed_is(true) => None,
    };
    let (cost, request, failure, called) = outcome(engine, session, &open, answered);
    engine.money.settle(call, booking::amount(&cost), clock.now());
    engine.money.turn_over(session.id, session.last_turn, clock.now());
    let record = Record::CallClosed { call: number, cost, request, failure };
    commit(engine, session, session.last_turn, vec![record]).await?;
    Ok(called)
}

/// How a call is booked, and what it has said.
fn outcome(
    engine: &Engine,
    session: &Session,
    open: &OpenCall,
    answered: Option<Result<Reply, ProviderError>>,
) -> (CallCost, Option<String>, Option<String>, Called) {
    match answered {
        Some(Ok(reply)) => {
            let cost = booking::answered(engine, open, &reply);
            (cost, reply.request, None, Called::Said(reply.parts))
        }
        Some(Err(error)) => {
            tracing::warn!(session = %session.key, failure = ?error.failure, "a call beside a turn failed: {error}");
            let (cost, failure) = (booking::failed(engine, open, &error), format!("{:?}", error.failure));
            (cost, error.request, Some(failure), Called::Failed)
        }
        None => (booking::abandoned(engine, open), None, Some("abandoned".to_owned()), Called::Interrupted),
    }
}

/// Resolves when something waits there to be answered. Whoever looks for work afterwards finds it in the inbox.
async fn written(engine: &Engine, session: SessionId, seat: Option<&Seat>) {
    let Some(seat) = seat else { return std::future::pending().await };
    loop {
        seat.wake.notified().await;
        if engine.adapters.storage.waiting(session, 1).await.is_ok_and(|waiting| !waiting.is_empty()) {
            return;
        }
    }
}

/// Writes records beside a turn.
pub(super) async fn commit(
    engine: &Engine,
    session: &Session,
    turn: TurnNumber,
    records: Vec<Record>,
) -> Result<(), StoreError> {
    let at = engine.adapters.clock.now();
    let commit = Commit { session: session.id, turn, steps: Vec::new(), records, audit: Vec::new(), at };
    engine.adapters.storage.commit(commit).await.map(drop)
}
