//! What the next request of a conversation would hold, for reading: part by part, with tokens, prices and reasons.

use super::Engine;
use super::session::Session;
use blufio_core::context::caching::{Marks, Ttl};
use blufio_core::context::standing::{Audience, Fragment};
use blufio_core::ids::{ModelId, SessionKey};
use blufio_core::message::Role;
use blufio_core::money::MicroUsd;
use blufio_core::port::{PromptMessage, StoreError, ToolSpec};
use blufio_core::record::{Query, View};
use serde::{Deserialize, Serialize};

/// Where a part of a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Zone {
    /// In front, for the life of an epoch.
    Static,
    /// With the message that needs it.
    Conditional,
    /// The conversation.
    Dynamic,
}

/// A part of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextPart {
    /// Where it stands.
    pub zone: Zone,
    /// What it is.
    pub name: String,
    /// Tokens, estimated.
    pub tokens: u64,
    /// Why it is there.
    pub why: String,
    /// How long the vendor is asked to keep everything up to its end: `5m`, `1h`, or not at all.
    pub kept: Option<String>,
}

/// The next request of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextView {
    /// The model.
    pub model: ModelId,
    /// Which epoch of the conversation; 0: the first one has not begun.
    pub epoch: i64,
    /// In their order.
    pub parts: Vec<ContextPart>,
    /// Tokens of all of it, estimated; without the message that is to come.
    pub tokens: u64,
    /// What it costs if nothing of it is in the vendor's cache; none without a known price.
    pub cold: Option<MicroUsd>,
    /// What it costs if all of it is.
    pub warm: Option<MicroUsd>,
}

/// What the next request of a conversation would hold.
pub(crate) async fn show(engine: &Engine, key: &SessionKey) -> Result<ContextView, StoreError> {
    let now = engine.adapters.clock.now();
    match engine.adapters.storage.view(Query::Session(key.clone()), now).await? {
        View::Session(Some(_)) => {}
        _ => return Err(StoreError::NotFound(format!("there is no session `{key}`"))),
    }
    let snapshot = engine.adapters.storage.open(key.clone(), now).await?;
    let mut session = Session::from_snapshot(engine, snapshot).await;
    let session = &mut session.0;
    if session.epoch.as_ref().is_some_and(|epoch| epoch.private) {
        session.prefix = engine.prefix(&session.papers, &session.standing, Audience::Owner);
        session.audience = Audience::Owner;
    }
    let model = session.wanted_model(engine).clone();
    let tokens = session.prompt_tokens(engine, &model);
    let marks = session.marks(engine, &model, tokens, now);
    let mut parts = frozen(engine, session, &model, &marks);
    parts.extend(dynamic(engine, session, &model, &marks));
    parts.extend(session.appended(&session.prefix).into_iter().filter_map(|part| {
        let wire = engine.adapters.provider.render_message(Role::User, std::slice::from_ref(&part))?;
        let name = blufio_core::message::visible_text(&[part]).lines().next().unwrap_or_default().to_owned();
        let tokens = engine.tokens_of(&model, &engine.message(Role::User, wire));
        let why = "has changed since the epoch began; told with the next message".to_owned();
        Some(ContextPart { zone: Zone::Conditional, name, tokens, why, kept: None })
    }));
    let prices = engine.settings.catalogue.cache_prices(&model, tokens, now).ok();
    let cost = |price: MicroUsd| MicroUsd(tokens.saturating_mul(price.0).div_ceil(1_000_000));
    Ok(ContextView {
        epoch: session.epoch.as_ref().map_or(0, |epoch| epoch.number.0),
        cold: prices.map(|prices| cost(prices.input)),
        warm: prices.map(|prices| cost(prices.read)),
        model,
        parts,
        tokens,
    })
}

/// Tools and system text as the epoch has them.
fn frozen(engine: &Engine, session: &Session, model: &ModelId, marks: &Marks) -> Vec<ContextPart> {
    let provider = &engine.adapters.provider;
    let (system, tools) = session.frozen_bytes();
    let nothing = (provider.render_system(""), provider.render_tools(&[]));
    let offered: Vec<&ToolSpec> = engine.tools.values().map(|tool| tool.spec()).collect();
    let names: Vec<&str> =
        offered.iter().map(|spec| spec.name.as_str()).filter(|name| super::prefix::holds(&tools, name)).collect();
    let part = |name: &str, tokens, why: String| ContextPart {
        zone: Zone::Static,
        name: name.to_owned(),
        tokens,
        why,
        kept: None,
    };
    let mut parts = vec![part(
        "tools",
        engine.tokens(model, (&nothing.0, &tools), &[]),
        format!("offered in every request: {}", names.join(", ")),
    )];
    let mut known = 0;
    for Fragment { name, text, why, left_out } in session.prefix.fragments.iter() {
        if !super::prefix::holds(&system, text) {
            continue;
        }
        let tokens = engine.tokens(model, (&provider.render_system(text), &nothing.1), &[]);
        known += tokens;
        let cut = if *left_out > 0 { format!("; {left_out} bytes of it are not") } else { String::new() };
        parts.push(part(name, tokens, format!("{why}{cut}")));
    }
    let rest = engine.tokens(model, (&system, &nothing.1), &[]).saturating_sub(known);
    // Rounding and frames of blocks.
    if rest > 20 {
        parts.push(part("(earlier text)", rest, "as it was when the epoch began; it has changed since".to_owned()));
    }
    if let Some(last) = parts.last_mut() {
        last.kept = ttl(marks.system);
    }
    parts
}

/// The conversation, message by message.
fn dynamic(engine: &Engine, session: &Session, model: &ModelId, marks: &Marks) -> Vec<ContextPart> {
    let summarised = session.summary.as_ref().is_some_and(|summary| !summary.text.is_empty());
    let of = |(place, message): (usize, &PromptMessage)| {
        let (name, why) = match (message.role, message.shape.speaker) {
            _ if place == 0 && summarised => ("summary and message", "takes the place of what was said before"),
            (Role::Assistant, _) => ("answer", "the conversation"),
            (Role::User, blufio_core::context::caching::Speaker::Tools) => ("results of tools", "the conversation"),
            (Role::User, _) => ("message", "the conversation"),
        };
        ContextPart {
            zone: Zone::Dynamic,
            name: name.to_owned(),
            tokens: engine.tokens_of(model, message),
            why: why.to_owned(),
            kept: marks.messages.iter().find(|(marked, _)| *marked == place).and_then(|(_, kept)| ttl(*kept)),
        }
    };
    session.history.iter().enumerate().map(of).collect()
}

fn ttl(ttl: Ttl) -> Option<String> {
    match ttl {
        Ttl::None => None,
        Ttl::FiveMinutes => Some("5m".to_owned()),
        Ttl::Hour => Some("1h".to_owned()),
    }
}
