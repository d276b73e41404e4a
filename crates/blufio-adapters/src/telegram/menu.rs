//! The menu of commands that the clients show. It is a convenience: a failure is logged and nothing depends on it.

use super::Telegram;
use super::api::ApiError;
use super::wire::MenuEntry;
use blufio_core::command::MENU;
use serde::Serialize;
use std::sync::atomic::Ordering;

/// The answer to a menu that the server finds too long.
const TOO_LONG: [&str; 1] = ["bot_commands_too_much"];

#[derive(Serialize)]
struct GetMyCommands {
    scope: BotCommandScope,
}

#[derive(Serialize)]
struct SetMyCommands<'a> {
    commands: Vec<BotCommand<'a>>,
    scope: BotCommandScope,
}

#[derive(Serialize)]
struct BotCommand<'a> {
    command: &'a str,
    description: &'a str,
}

#[derive(Clone, Copy, Serialize)]
struct BotCommandScope {
    #[serde(rename = "type")]
    kind: &'static str,
}

const PRIVATE_CHATS: BotCommandScope = BotCommandScope { kind: "all_private_chats" };

/// Sets the menu of all private chats unless it is as it should be; looked at once per start of the program.
pub(super) async fn show(telegram: &Telegram) {
    if telegram.menu_shown.swap(true, Ordering::Relaxed) {
        return;
    }
    if let Err(error) = keep(telegram).await {
        tracing::info!(%error, "the telegram menu was not set");
    }
}

/// The commands stand in the order of their use; where the server takes fewer, the last ones go, half of them at a time.
async fn keep(telegram: &Telegram) -> Result<(), ApiError> {
    let request = GetMyCommands { scope: PRIVATE_CHATS };
    let shown: Vec<MenuEntry> = telegram.api.call("getMyCommands", &request, telegram.timeouts.send).await?;
    let mut count = MENU.len();
    while count > 0 {
        let wanted = MENU.get(..count).unwrap_or_default();
        let same =
            |(entry, wanted): (&MenuEntry, &(&str, &str))| entry.command == wanted.0 && entry.description == wanted.1;
        if shown.len() == wanted.len() && shown.iter().zip(wanted).all(same) {
            return Ok(());
        }
        let commands = wanted.iter().map(|(command, description)| BotCommand { command, description }).collect();
        let request = SetMyCommands { commands, scope: PRIVATE_CHATS };
        match telegram.api.call::<bool>("setMyCommands", &request, telegram.timeouts.send).await {
            Err(error) if error.is_bad_request(&TOO_LONG) => count /= 2,
            set => return set.map(drop),
        }
    }
    Ok(())
}
