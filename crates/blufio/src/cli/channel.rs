//! `blufio channel`: how a channel is and what to do about it, messages that were given up, a message of one's own.
//!
//! The advice is for what Telegram and the channel say in words; a reason that no advice fits is shown as it is.

use super::arguments::Channel;
use super::input::piped;
use super::screen::{Look, Screen, duration, local_time, one_line, table};
use super::source::{Source, of_store};
use crate::client::{CallError, ChannelStatus, Client};
use crate::config::resolved::Config;
use crate::failure::Failure;
use crate::keys::{self, Installation};
use crate::{lock, wire};
use blufio_core::ids::{ChannelName, OutboxId};
use blufio_core::port::{ChannelHealth, Clock};
use blufio_core::record::{ChatView, DeadView};
use blufio_core::time::Timestamp;
use blufio_runtime::clock::SystemClock;
use serde_json::json;

/// Characters of a message that are shown.
const TEXT_CHARS: usize = 40;
/// Characters of a reason that are shown.
const REASON_CHARS: usize = 100;
/// Given-up messages that are shown. More: only counted; `--json` has them.
const DEAD_ROWS_MAX: usize = 20;

/// Words of a reason, in lower case, and what to do. The first that fits holds.
const CURES: &[(&[&str], &str)] = &[
    (
        &["there is no bot token"],
        "Get a token from @BotFather on Telegram (/newbot), keep it with `blufio vault set telegram.bot_token`, then \
         restart `blufio serve`.",
    ),
    (
        &["refuses the bot token", "token is refused", "bot token does not have the form"],
        "The token is wrong. Copy it from @BotFather on Telegram (/mybots, then API Token), keep it with `blufio vault set \
         telegram.bot_token`, then restart `blufio serve`.",
    ),
    (
        &["another program receives"],
        "Another program fetches this bot's messages, and only one can. Stop it (an older installation?), or make a bot of \
         your own with /newbot at @BotFather. Nothing has to be restarted here.",
    ),
    (
        &["a webhook is set", "changed the webhook"],
        "Another program sets this bot's webhook. Stop it, or revoke the token at @BotFather (/revoke) and use the new one \
         here only.",
    ),
    (
        &["webhook has no secret"],
        "Set TELEGRAM_WEBHOOK_SECRET to 32 or more letters and digits (`openssl rand -hex 32`), and restart `blufio serve`.",
    ),
    (
        &["cannot deliver updates", "wait at telegram"],
        "Telegram does not get through to the webhook. Does [telegram] webhook_url lead to [gateway] listen, by https and \
         with a valid certificate? Without one, use [telegram] mode = \"polling\".",
    ),
    (
        &["did not take the webhook"],
        "Telegram could not be told where to bring messages, and is asked again. Does [telegram] webhook_url begin with https, \
         name a public host, and use port 443, 80, 88 or 8443? Without such an address, use [telegram] mode = \"polling\".",
    ),
    (
        &["inbox is full"],
        "More was written than is answered yet. It goes on by itself; /stop in a chat drops what waits there.",
    ),
    (
        &["cannot be stored", "no space left"],
        "Make room on the disk that holds the data folder. Telegram keeps the messages for a day.",
    ),
    (
        &["asks to wait", "too many requests", "asked to wait"],
        "Telegram limits how much a bot may send. It goes on by itself; what was given up can be sent again later.",
    ),
    (
        &["blocked"],
        "The person has blocked the bot and has to write to it again (or choose Restart in the chat); then send again what \
         matters.",
    ),
    (
        &["kicked", "was removed", "not a member"],
        "The bot is not in that group any more. Let somebody add it again; then send again what matters.",
    ),
    (&["deactivated"], "That Telegram account does not exist any more. Nothing can be sent to it."),
    (
        &["can't initiate conversation", "chat not found", "peer_id_invalid"],
        "The bot knows no such chat. A person has to write to the bot first; the id of a group is negative, and the bot must \
         be in it.",
    ),
    (
        &["rights", "need administrator", "chat_write_forbidden", "topic_closed", "restricted"],
        "The bot may not write in that group. Let an administrator allow it.",
    ),
    (&["another bot account"], "It was written for another bot. It can be sent with that bot's token only."),
    (&["nobody knows whether"], "It may have arrived. Look into the chat before you send it again."),
    (&["too large", "too big"], "It is larger than Telegram takes. Ask the agent for something smaller."),
];

/// For trouble that no other advice fits.
const NETWORK: &str = "If it does not pass by itself: can this machine reach api.telegram.org (name service, firewall, [telegram] ip_family)? \
                       The log of `blufio serve` has the details.";
/// Where groups are to be read along and the server does not let the bot.
const PRIVACY: &str = "The bot hears only mentions in groups, because its privacy mode is on: write /setprivacy to @BotFather, choose the bot, \
                       Disable, then remove it from each group and add it again.";

/// Carries it out.
pub fn run(command: &Channel, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let runtime = crate::serve::runtime()?;
    match command {
        Channel::Status { name } => runtime.block_on(status(&ChannelName::new(name), here, screen)),
        // Without an id it is all of them, whether or not that is said.
        Channel::Retry { id, all: _, channel } => {
            let (name, row) = (ChannelName::new(channel), id.map(OutboxId));
            let revived = runtime.block_on(retry(&name, row, here))?;
            again(revived, row, screen)
        }
        Channel::Send { chat, text, channel } => {
            let text = if text == "-" { piped("send it in parts, or as a file")? } else { text.clone() };
            if text.trim().is_empty() {
                return Err(Failure::new("the message is empty", Failure::USAGE));
            }
            runtime.block_on(send(&ChannelName::new(channel), *chat, &text, here.config, screen))
        }
    }
}

/// A channel that does not run, or does not know yet which account it is.
pub fn unready(error: CallError) -> Failure {
    let missing = matches!(error, CallError::Refused { status: 404, .. });
    let failure = Failure::from(error);
    let hint = "`blufio channel status` says how the channel is".to_owned();
    if missing { Failure { hint: Some(hint), code: Failure::UNAVAILABLE, ..failure } } else { failure }
}

async fn status(name: &ChannelName, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let source = Source::find(here).await?;
    let running = matches!(source, Source::Server(_));
    let status = source.channel(name).await?;
    let advice = advice(&status, running);
    if screen.json {
        let ChannelStatus { health, trouble, remark, outbox } = &status;
        return screen.write_json(&json!({
            "name": name, "running": running, "health": health, "trouble": trouble, "remark": remark,
            "waiting": outbox.waiting, "dead": outbox.dead, "closed": outbox.closed, "advice": advice,
        }));
    }
    screen.write(&render(name, &status, running, &advice, SystemClock::start().now(), screen))
}

fn render(
    name: &ChannelName,
    status: &ChannelStatus,
    running: bool,
    advice: &[&str],
    now: Timestamp,
    screen: &Screen,
) -> String {
    let outbox = &status.outbox;
    let messages = |count: u64| if count == 1 { "1 message".to_owned() } else { format!("{count} messages") };
    let mut text = format!("{name}: {}\n", health(status, running, screen));
    text += &match outbox.waiting {
        0 => "nothing waits to be sent\n".to_owned(),
        count => format!("{} to be sent\n", messages(count)),
    };
    let mut part = |heading: &str, rows: &str| text += &format!("\n{}\n{rows}", screen.paint(Look::Bold, heading));
    if !outbox.dead.is_empty() {
        let row = |dead: &DeadView| {
            let age = u64::try_from(now.since(dead.at).as_millis()).unwrap_or(u64::MAX);
            let (text, reason) = (one_line(&dead.text, TEXT_CHARS), one_line(&dead.error, REASON_CHARS));
            vec![dead.id.to_string(), dead.chat.to_string(), duration(age), text, reason]
        };
        let rows: Vec<Vec<String>> = outbox.dead.iter().take(DEAD_ROWS_MAX).map(row).collect();
        let mut rows = table(&["ID", "CHAT", "AGE", "TEXT", "REASON"], &rows);
        if let Some(more @ 1..) = outbox.dead.len().checked_sub(DEAD_ROWS_MAX) {
            rows += &format!("and {more} more; --json shows them\n");
        }
        part("Could not be delivered (`blufio channel retry [ID]` sends again)", &rows);
    }
    if !outbox.closed.is_empty() {
        let row =
            |chat: &ChatView| vec![chat.chat.to_string(), local_time(chat.since), one_line(&chat.reason, REASON_CHARS)];
        let rows: Vec<Vec<String>> = outbox.closed.iter().map(row).collect();
        part("Shut chats", &table(&["CHAT", "SINCE", "REASON"], &rows));
    }
    if !advice.is_empty() {
        part("What to do", &advice.iter().map(|advice| format!("· {advice}\n")).collect::<String>());
    }
    text
}

fn health(status: &ChannelStatus, running: bool, screen: &Screen) -> String {
    let (good, bad) = (|text: &str| screen.paint(Look::Green, text), |text: &str| screen.paint(Look::Red, text));
    match (&status.health, &status.trouble) {
        (None, _) if running => bad("off: the server was started without it"),
        (None, _) => "no server is running, so its health is unknown".to_owned(),
        (Some(ChannelHealth::Starting), _) => "starting: Telegram has not said yet which bot this is".to_owned(),
        (Some(ChannelHealth::Ready { .. }), Some(trouble)) => bad(&one_line(trouble, REASON_CHARS)),
        (Some(ChannelHealth::Ready { .. }), None) => format!("{}, it fetches messages", good("ready")),
        (Some(ChannelHealth::Listening), _) => format!("{}, messages are brought to its webhook", good("ready")),
        (Some(ChannelHealth::Degraded { reason, .. }), _) => {
            bad(&format!("in trouble that may pass: {}", one_line(reason, REASON_CHARS)))
        }
        (Some(ChannelHealth::Failed { reason }), _) => {
            bad(&format!("down until somebody mends it: {}", one_line(reason, REASON_CHARS)))
        }
    }
}

/// What to do, each thing once, the most urgent first.
fn advice(status: &ChannelStatus, running: bool) -> Vec<&'static str> {
    let mut all = Vec::new();
    match &status.health {
        None if running => all.extend(cure("there is no bot token")),
        None => all.push("Start it with `blufio serve`."),
        Some(ChannelHealth::Starting) => all.push(NETWORK),
        Some(ChannelHealth::Ready { .. } | ChannelHealth::Listening) => {
            all.extend(status.trouble.as_deref().map(|trouble| cure(trouble).unwrap_or(NETWORK)));
        }
        Some(ChannelHealth::Degraded { reason, .. } | ChannelHealth::Failed { reason }) => {
            all.push(cure(reason).unwrap_or(NETWORK));
        }
    }
    let (dead, closed) = (&status.outbox.dead, &status.outbox.closed);
    let reasons = closed.iter().map(|chat| &chat.reason).chain(dead.iter().map(|dead| &dead.error));
    all.extend(reasons.filter_map(|reason| cure(reason)));
    if status.remark.as_deref().is_some_and(|remark| remark.contains("privacy mode")) {
        all.push(PRIVACY);
    }
    let mut once: Vec<&'static str> = Vec::new();
    for advice in all {
        if !once.contains(&advice) {
            once.push(advice);
        }
    }
    once
}

fn cure(reason: &str) -> Option<&'static str> {
    let reason = reason.to_lowercase();
    CURES.iter().find(|(words, _)| words.iter().any(|word| reason.contains(word))).map(|(_, advice)| *advice)
}

async fn retry(name: &ChannelName, row: Option<OutboxId>, here: Installation<'_>) -> Result<u32, Failure> {
    let config = here.config;
    if let Some(client) = Client::find(&config.data_dir).await? {
        return Ok(client.retry(name, row).await?);
    }
    let _lock = lock::take(&config.data_dir)?;
    let keys = keys::obtain(here)?;
    let (store, clock) = (wire::store_owner(config, &keys.tree)?, SystemClock::start());
    let revived = store.revive(name.clone(), row, clock.now()).await;
    store.close(clock.now()).await.map_err(of_store)?;
    revived.map_err(of_store)
}

fn again(revived: u32, row: Option<OutboxId>, screen: &Screen) -> Result<(), Failure> {
    if let (0, Some(row)) = (revived, row) {
        let hint = "`blufio channel status` lists the ones there are; a question is never sent again".to_owned();
        let message = format!("no message {row} was given up");
        return Err(Failure { hint: Some(hint), ..Failure::new(message, Failure::GENERAL) });
    }
    if screen.json {
        return screen.write_json(&json!({ "revived": revived }));
    }
    screen.write(&match revived {
        0 => "there is nothing to send again\n".to_owned(),
        1 => "1 message goes out again\n".to_owned(),
        many => format!("{many} messages go out again\n"),
    })
}

async fn send(name: &ChannelName, chat: i64, text: &str, config: &Config, screen: &Screen) -> Result<(), Failure> {
    let client = Client::new(&config.data_dir)?;
    client.send(name, chat, text).await.map_err(unready)?;
    let status = client.channel(name).await?;
    if let Some(shut) = status.outbox.closed.iter().find(|shut| shut.chat == chat) {
        // It is kept, but nothing is sent there before the chat is open again.
        return Err(Failure {
            cause: Some(one_line(&shut.reason, REASON_CHARS)),
            hint: cure(&shut.reason).map(str::to_owned),
            ..Failure::new(format!("chat {chat} is shut"), Failure::GENERAL)
        });
    }
    if screen.json {
        return screen.write_json(&json!({"accepted": true, "chat": chat}));
    }
    screen.write(&format!("accepted for chat {chat}; if it cannot be delivered, `blufio channel status` says why\n"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use blufio_core::record::ChannelView;

    fn words(status: &ChannelStatus, running: bool) -> String {
        let screen = Screen::plain();
        let advice = advice(status, running);
        render(&ChannelName::new("telegram"), status, running, &advice, Timestamp(100_000), &screen)
    }

    fn with(health: ChannelHealth) -> ChannelStatus {
        ChannelStatus { health: Some(health), ..ChannelStatus::default() }
    }

    #[test]
    fn every_trouble_has_an_advice() {
        let degraded = |reason: &str| with(ChannelHealth::Degraded { reason: reason.into(), poll_since_ms: 0 });
        let failed = |reason: &str| with(ChannelHealth::Failed { reason: reason.into() });
        let cases = [
            (failed("telegram refuses the bot token"), "Copy it from @BotFather"),
            (failed("the bot token is refused"), "Copy it from @BotFather"),
            (failed("there is no bot token; `blufio vault set telegram.bot_token`, then restart"), "(/newbot)"),
            (failed("the webhook has no secret of 1-256 letters, digits, _ or -"), "TELEGRAM_WEBHOOK_SECRET"),
            (degraded("another program receives this bot's updates"), "Stop it"),
            (degraded("a webhook is set for this bot"), "/revoke"),
            (degraded("telegram cannot deliver updates: Connection refused"), "webhook_url"),
            (degraded("updates cannot be stored: no space left on the disk"), "Make room"),
            (degraded("updates cannot be stored: inbox is full"), "More was written"),
            (degraded("telegram did not take the webhook: 400 Bad Request: bad webhook"), "webhook_url"),
            (degraded("connect error"), "api.telegram.org"),
            (with(ChannelHealth::Starting), "api.telegram.org"),
        ];
        for (status, advice) in cases {
            let text = words(&status, true);
            assert!(text.split("What to do").nth(1).is_some_and(|part| part.contains(advice)), "{advice}: {text}");
        }
        assert_eq!(words(&with(ChannelHealth::Listening), true).lines().count(), 2, "all is well: nothing to do");
        assert!(words(&ChannelStatus::default(), true).contains("started without it"));
        let blind = ChannelStatus { remark: Some("its privacy mode is on".into()), ..with(ChannelHealth::Listening) };
        assert!(words(&blind, true).contains("/setprivacy"));
        assert!(words(&ChannelStatus::default(), false).contains("health is unknown"));
        let silent = ChannelStatus {
            trouble: Some("no answer for two minutes".into()),
            ..with(ChannelHealth::Ready { poll_since_ms: 0 })
        };
        assert!(words(&silent, true).starts_with("telegram: no answer for two minutes\n"));
    }

    #[test]
    fn what_could_not_be_delivered_is_listed_with_reasons() {
        let dead = |id, error: &str| DeadView {
            id: OutboxId(id),
            chat: 501,
            text: "Hello\n\u{1b}[2J there".into(),
            error: error.into(),
            at: Timestamp(39_000),
        };
        let blocked = "403 Forbidden: bot was blocked by the user";
        let outbox = ChannelView {
            waiting: 1,
            dead: vec![dead(7, blocked), dead(6, "400 Bad Request: chat not found")],
            closed: vec![ChatView { chat: 501, reason: blocked.into(), since: Timestamp(0) }],
        };
        let text = words(&ChannelStatus { outbox, ..with(ChannelHealth::Ready { poll_since_ms: 0 }) }, true);
        assert!(text.starts_with("telegram: ready, it fetches messages\n1 message to be sent\n"), "{text}");
        assert!(text.contains("7   501   1 min 1 s  Hello \u{fffd}[2J there  403 Forbidden"), "{text}");
        assert!(text.contains("\nShut chats\nCHAT  SINCE"), "{text}");
        assert_eq!(text.matches("has blocked the bot").count(), 1, "said once: {text}");
        assert!(text.contains("knows no such chat"), "{text}");

        let many = ChannelView { dead: (0..25).map(|id| dead(id, "x")).collect(), ..ChannelView::default() };
        assert!(words(&ChannelStatus { outbox: many, ..ChannelStatus::default() }, false).contains("and 5 more;"));
    }
}
