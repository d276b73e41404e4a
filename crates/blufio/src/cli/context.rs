//! `blufio context`: what the next request of a conversation would hold, and why.

use super::screen::{Screen, harmless, table};
use crate::client::Client;
use crate::failure::Failure;
use crate::keys::Installation;
use blufio_core::ids::SessionKey;
use blufio_core::money::MicroUsd;
use blufio_runtime::{ContextPart, ContextView, Zone};

/// Messages that are shown one by one; earlier ones are one line.
const MESSAGES_SHOWN: usize = 8;

/// `blufio context show`
pub fn show(session: &str, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let view = crate::serve::runtime()?.block_on(async {
        match Client::find(&here.config.data_dir).await? {
            Some(client) => client.context(&SessionKey::new(session)).await.map_err(Failure::from),
            None => Err(Failure {
                message: "no server runs here".to_owned(),
                cause: None,
                hint: Some("start it with `blufio serve`; it knows what it would send".to_owned()),
                code: Failure::GENERAL,
            }),
        }
    })?;
    if screen.json {
        return screen.write_json(&view);
    }
    screen.write(&text(&view))
}

fn text(view: &ContextView) -> String {
    let of = |zone: Zone| view.parts.iter().filter(move |part| part.zone == zone);
    let said = of(Zone::Dynamic).count();
    let (earlier, newest): (Vec<_>, Vec<_>) =
        of(Zone::Dynamic).enumerate().partition(|(place, _)| place + MESSAGES_SHOWN < said);
    let mut rows: Vec<Vec<String>> = of(Zone::Static).map(row).collect();
    if !earlier.is_empty() {
        let tokens: u64 = earlier.iter().map(|(_, part)| part.tokens).sum();
        let kept = earlier.iter().filter_map(|(_, part)| part.kept.clone()).next_back();
        let name = format!("{} earlier messages", earlier.len());
        rows.push(row(&ContextPart { zone: Zone::Dynamic, name, tokens, why: "the conversation".to_owned(), kept }));
    }
    rows.extend(newest.into_iter().map(|(_, part)| row(part)));
    rows.extend(of(Zone::Conditional).map(row));
    let money = |cost: Option<MicroUsd>| cost.map_or_else(|| "an unknown price".to_owned(), |cost| cost.to_string());
    let mut text = table(&["ZONE", "PART", "TOKENS", "KEPT", "WHY"], &rows);
    text.push_str(&format!(
        "\nabout {} tokens for {}: {} if nothing of it is cached, {} if all of it is\n",
        view.tokens,
        view.model,
        money(view.cold),
        money(view.warm)
    ));
    text
}

fn row(part: &ContextPart) -> Vec<String> {
    let zone = match part.zone {
        Zone::Static => "static",
        Zone::Conditional => "conditional",
        Zone::Dynamic => "dynamic",
    };
    let kept = part.kept.clone().unwrap_or_else(|| "-".to_owned());
    vec![zone.to_owned(), harmless(&part.name), part.tokens.to_string(), kept, harmless(&part.why)]
}
