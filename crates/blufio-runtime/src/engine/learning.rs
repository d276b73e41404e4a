//! What is worth knowing of a conversation is written down when it rests, or before it is made shorter. What is asked and what of
//! the answer is believed is [`blufio_core::memory::extract`]'s.

use super::Engine;
use super::aside::{self, Aside, Called, commit};
use super::compacting::{messages_from, principal};
use super::prefix::is_look;
use super::session::Session;
use crate::costs::costs;
use crate::sessions::Seat;
use blufio_core::ids::SessionKey;
use blufio_core::memory::extract::ask::{TOOL, TOOL_DESCRIPTION, ask};
use blufio_core::memory::extract::judge::judge;
use blufio_core::memory::extract::{Span, SpanMessage, Speaker};
use blufio_core::memory::{Fact, Scope};
use blufio_core::message::{Body, Origin, Part, Role, visible_text};
use blufio_core::money::MicroUsd;
use blufio_core::port::{StoreError, ToolSpec};
use blufio_core::record::{CostBy, FactChange, FactFilter, MessageView, Purpose, Query, Record, View};
use std::sync::Arc;
use std::time::Duration;

/// A conversation rests when nobody has spoken in it for so long.
pub(crate) const REST: Duration = Duration::from_secs(5 * 60);
/// Tokens of an answer: a dozen facts.
const ANSWER_TOKENS_MAX: u32 = 2_048;
/// Known facts that are looked at.
const KNOWN_MAX: u32 = 500;
/// Who learns, in the log of changes.
const BY: &str = "blufio";
/// Conversations that are looked through one after the other.
const AT_ONCE: u32 = 4;

/// How facts are learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learn {
    /// What it may cost per day; `None`: as much as the budgets allow.
    pub day: Option<MicroUsd>,
}

/// Writes down what is worth knowing of what was said since the last time. Whoever writes at `seat` interrupts it; then, and after
/// trouble, it is done the next time.
pub(super) async fn learn(engine: &Arc<Engine>, session: &mut Session, seat: Option<&Seat>) -> Result<(), StoreError> {
    if !is_due(engine, session) || !has_money(engine).await? {
        return Ok(());
    }
    let messages = messages_from(engine, session, session.learned.next()).await?;
    let principal = principal(&messages);
    let said: Vec<SpanMessage> = messages.iter().filter_map(|view| heard(engine, view)).collect();
    let last = session.last_message;
    let spans = Span::split(&session.scope, session.id, said).spans;
    for (place, span) in spans.iter().enumerate() {
        let known = known(engine, &session.scope).await?;
        let now = engine.adapters.clock.now();
        let offset = |at| engine.adapters.memory.ahead_minutes(at);
        let asked = ask(span, &known, now, offset);
        let tool = ToolSpec::new(TOOL, TOOL_DESCRIPTION, asked.schema);
        let aside = Aside {
            purpose: Purpose::Memory,
            principal: &principal,
            system: &asked.system,
            words: asked.user,
            tools: &[&tool],
            max_tokens: ANSWER_TOKENS_MAX,
        };
        let parts = match aside::call(engine, session, aside, seat).await? {
            Called::Said(parts) => parts,
            Called::Failed => {
                engine.adapters.memory.rest();
                return Ok(());
            }
            Called::Interrupted => return Ok(()),
        };
        keep(engine, session, span, &known, &parts).await?;
        let done = span.messages().last().map_or(last, |message| message.seq);
        session.learned = if place + 1 == spans.len() { last } else { done };
        commit(engine, session, session.last_turn, vec![Record::Learned(session.learned)]).await?;
    }
    if spans.is_empty() {
        session.learned = last;
        commit(engine, session, session.last_turn, vec![Record::Learned(last)]).await?;
    }
    Ok(())
}

/// There is something to learn, and nothing speaks against doing it now.
pub(super) fn is_due(engine: &Engine, session: &Session) -> bool {
    engine.settings.learn.is_some()
        && session.learned < session.last_message
        && !is_look(&session.key)
        && !engine.is_killed()
        && !engine.adapters.memory.rests()
}

/// Conversations that rest and have not been looked through: the process may have ended before they rested.
pub(crate) async fn overdue(engine: &Engine) -> Result<Vec<SessionKey>, StoreError> {
    if engine.settings.learn.is_none() || engine.adapters.memory.rests() || engine.is_killed() {
        return Ok(Vec::new());
    }
    let now = engine.adapters.clock.now();
    let rested =
        blufio_core::time::Timestamp(now.0.saturating_sub(i64::try_from(REST.as_millis()).unwrap_or(i64::MAX)));
    let View::Unlearned(sessions) =
        engine.adapters.storage.view(Query::Unlearned { before: rested, limit: AT_ONCE }, now).await?
    else {
        return Err(StoreError::Broken("the store answered another question".to_owned()));
    };
    if sessions.is_empty() || !has_money(engine).await? { Ok(Vec::new()) } else { Ok(sessions) }
}

/// Today's budget for it is not used up. If it is, nobody asks again for a while.
async fn has_money(engine: &Engine) -> Result<bool, StoreError> {
    let Some(cap) = engine.settings.learn.and_then(|learn| learn.day) else { return Ok(true) };
    let since = engine.money.period(engine.adapters.clock.now()).day;
    let lines = costs(engine, CostBy::Purpose, since, None).await?;
    let spent = lines.iter().filter(|line| line.key == Purpose::Memory.as_str());
    let spent = spent.fold(MicroUsd::ZERO, |sum, line| sum.plus(line.cost).plus(line.held));
    if spent >= cap {
        engine.adapters.memory.rest();
    }
    Ok(spent < cap)
}

async fn known(engine: &Engine, scope: &Scope) -> Result<Vec<Fact>, StoreError> {
    let query = Query::Facts { scope: scope.clone(), filter: FactFilter::Open, search: None, limit: KNOWN_MAX };
    match engine.adapters.storage.view(query, engine.adapters.clock.now()).await? {
        View::Facts(facts) => Ok(facts.into_iter().map(|view| view.fact).collect()),
        _ => Err(StoreError::Broken("the store answered another question".to_owned())),
    }
}

/// A message as it is looked through: the words of people and of the agent, not what tools have returned.
fn heard(engine: &Engine, view: &MessageView) -> Option<SpanMessage> {
    let said = |part: &&Part| matches!(part.body, Body::Text { .. }) && part.origin != Origin::Engine;
    let parts: Vec<Part> = view.parts.iter().filter(said).cloned().collect();
    let text = engine.settings.leaks.redact(&visible_text(&parts)).into_owned();
    let speaker = match view.role {
        Role::Assistant => Speaker::Agent,
        Role::User if parts.iter().any(|part| part.origin == Origin::Person) => Speaker::Person,
        Role::User => Speaker::Owner,
    };
    let foreign = parts.iter().any(|part| part.origin.is_foreign());
    (!text.trim().is_empty()).then(|| SpanMessage {
        seq: view.seq,
        speaker,
        name: String::new(),
        at: view.at,
        text,
        foreign,
    })
}

/// Keeps what of an answer can be believed.
async fn keep(
    engine: &Engine,
    session: &Session,
    span: &Span,
    known: &[Fact],
    parts: &[Part],
) -> Result<(), StoreError> {
    let answer = parts.iter().find_map(|part| match &part.body {
        Body::ToolCall { name, input, .. } if name.as_str() == TOOL => serde_json::from_str(input).ok(),
        _ => None,
    });
    let Some(answer): Option<serde_json::Value> = answer else {
        tracing::warn!(session = %session.key, "the model was asked for facts and gave none, not even an empty list");
        return Ok(());
    };
    let judged = judge(&answer, span, known, |at| engine.adapters.memory.ahead_minutes(at));
    for (statement, why) in &judged.refused {
        tracing::debug!(session = %session.key, bytes = statement.len(), why = why.words(), "a fact was not believed");
    }
    let (kept, refused) = (judged.facts.len(), judged.refused.len());
    metrics::counter!("blufio_facts_total", "outcome" => "kept").increment(kept as u64);
    metrics::counter!("blufio_facts_total", "outcome" => "refused").increment(refused as u64);
    if kept == 0 {
        return Ok(());
    }
    let changes = judged.facts.into_iter().map(|fact| FactChange::Add(Box::new(fact))).collect();
    match engine.adapters.memory.change(session.scope.clone(), BY, changes).await {
        Ok(_) => tracing::info!(session = %session.key, kept, refused, "facts were learned"),
        Err(StoreError::Refused(why)) => tracing::warn!(session = %session.key, why, "facts could not be kept"),
        Err(error) => return Err(error),
    }
    Ok(())
}
