//! `blufio status`: is it running, is it well, what has it done and what did that cost.

use super::screen::{Look, Screen, bytes, duration, one_line};
use super::source::{Source, store_status};
use crate::client::ServerStatus;
use crate::config::resolved::Config;
use crate::failure::Failure;
use crate::keys::Installation;
use crate::redact;
use blufio_core::port::ChannelHealth;
use blufio_core::record::StoreStatus;
use serde_json::json;

/// Characters of a reason that are shown.
const REASON_CHARS: usize = 100;

/// Carries it out.
pub fn run(here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    crate::serve::runtime()?.block_on(show(here, screen))
}

async fn show(here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let (source, config) = (Source::find(here).await?, here.config);
    if let Source::Server(client) = &source
        && client.is_locked().await?
    {
        return locked(config, screen);
    }
    let questions = source.approvals().await?.len();
    match source {
        Source::Server(client) => running(&client.status().await?, questions, config, screen),
        Source::Store(store) => stopped(Some(&store_status(&store).await?), questions, config, screen),
        Source::Nothing => stopped(None, questions, config, screen),
    }
}

fn locked(config: &Config, screen: &Screen) -> Result<(), Failure> {
    if screen.json {
        return screen.write_json(&json!({"running": true, "locked": true, "data_dir": config.data_dir}));
    }
    let state = screen.paint(Look::Red, "locked: it waits for `blufio vault unlock`, and receives nothing");
    screen.write(&lines(&[("state", state), ("data folder", config.data_dir.display().to_string())], screen))
}

fn running(server: &ServerStatus, questions: usize, config: &Config, screen: &Screen) -> Result<(), Failure> {
    let ServerStatus { version, status } = server;
    if screen.json {
        let data_dir = &config.data_dir;
        return screen.write_json(&redact::json(json!({
            "running": true, "version": version, "data_dir": data_dir, "status": status, "open_questions": questions,
        })));
    }
    let state = match &status.reason {
        None if status.killed => {
            screen.paint(Look::Red, "stopped by the kill switch; `blufio resume` lets things run again")
        }
        None => screen.paint(Look::Green, "ready"),
        Some(reason) => screen.paint(Look::Red, &format!("not ready: {}", one_line(reason, REASON_CHARS))),
    };
    let mut rows = vec![
        ("state", state),
        ("version", format!("{version}, up for {}", duration(status.uptime_ms))),
        ("data folder", config.data_dir.display().to_string()),
        ("model", status.model.clone()),
        ("turns running", format!("{} ({} conversations in memory)", status.running_turns, status.live_sessions)),
    ];
    for (name, health) in &status.channels {
        rows.push((name, channel(health, screen)));
    }
    counts(&status.store, questions, &mut rows);
    screen.write(&redact::text(&lines(&rows, screen)))
}

fn stopped(store: Option<&StoreStatus>, questions: usize, config: &Config, screen: &Screen) -> Result<(), Failure> {
    if screen.json {
        let data_dir = &config.data_dir;
        return screen.write_json(&redact::json(json!({
            "running": false, "data_dir": data_dir, "store": store, "open_questions": questions,
        })));
    }
    let mut rows =
        vec![("state", screen.paint(Look::Red, "not running")), ("data folder", config.data_dir.display().to_string())];
    match store {
        Some(store) => counts(store, questions, &mut rows),
        None => rows.push(("database", "none yet; `blufio serve` or `blufio shell` creates it".to_owned())),
    }
    screen.write(&redact::text(&lines(&rows, screen)))
}

fn channel(health: &ChannelHealth, screen: &Screen) -> String {
    match health {
        ChannelHealth::Starting => "starting".to_owned(),
        ChannelHealth::Ready { .. } | ChannelHealth::Listening => screen.paint(Look::Green, "ready"),
        ChannelHealth::Degraded { reason, .. } => {
            screen.paint(Look::Red, &format!("in trouble: {}", one_line(reason, REASON_CHARS)))
        }
        ChannelHealth::Failed { reason } => {
            screen.paint(Look::Red, &format!("down: {}", one_line(reason, REASON_CHARS)))
        }
    }
}

fn counts(store: &StoreStatus, questions: usize, rows: &mut Vec<(&str, String)>) {
    let turns: Vec<String> = store.turns.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
    let turns = if turns.is_empty() { "none".to_owned() } else { turns.join(", ") };
    let oldest = if store.outbox_pending == 0 {
        String::new()
    } else {
        format!(", the oldest for {}", duration(store.outbox_oldest_ms))
    };
    rows.push(("sessions", store.sessions.to_string()));
    rows.push(("turns", turns));
    rows.push((
        "waiting",
        format!("{} to be answered, {} to be sent{oldest}", store.inbox_pending, store.outbox_pending),
    ));
    if questions > 0 {
        rows.push(("questions", format!("{questions} wait for an owner's answer: `blufio approval list` shows them")));
    }
    for (chat, reason) in &store.outbox_dead {
        rows.push(("not delivered", format!("chat {chat}: {}", one_line(reason, REASON_CHARS))));
    }
    if !store.outbox_dead.is_empty() {
        rows.push(("", "`blufio channel status` says what to do about it".to_owned()));
    }
    rows.push(("spent", format!("{} in 24 hours, {} in all", store.spent_day, store.spent)));
    if store.estimated.0 > 0 || store.held.0 > 0 {
        rows.push((
            "of it",
            format!("{} by estimate; {} more is held for calls that run", store.estimated, store.held),
        ));
    }
    rows.push(("database", format!("{}, schema {}", bytes(store.database_bytes), store.schema)));
}

fn lines(rows: &[(&str, String)], screen: &Screen) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter()
        .map(|(name, value)| format!("{}  {value}\n", screen.paint(Look::Dim, &format!("{name:<width$}"))))
        .collect()
}
