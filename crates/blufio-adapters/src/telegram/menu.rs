//! The menu of commands that the clients show. It is a convenience: a failure is logged and nothing depends on it.

use super::Telegram;
use blufio_core::command::MENU;
use serde::Serialize;

#[derive(Serialize)]
struct SetMyCommands {
    commands: Vec<BotCommand>,
    scope: BotCommandScope,
}

#[derive(Serialize)]
struct BotCommand {
    command: &'static str,
    description: &'static str,
}

#[derive(Serialize)]
struct BotCommandScope {
    #[serde(rename = "type")]
    kind: &'static str,
}

/// Sets the menu of all private chats, once per start of the program.
pub(super) async fn show(telegram: &Telegram) {
    if telegram.menu_shown.swap(true, std::sync::atomic::Ordering::Relaxed) {
        return;
    }
    let request = SetMyCommands {
        commands: MENU.iter().map(|(command, description)| BotCommand { command, description }).collect(),
        scope: BotCommandScope { kind: "all_private_chats" },
    };
    if let Err(error) = telegram.api.call::<bool>("setMyCommands", &request, telegram.timeouts.send).await {
        tracing::info!(%error, "the telegram menu was not set");
    }
}
