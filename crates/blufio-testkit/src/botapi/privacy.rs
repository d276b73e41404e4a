//! Which messages of a group a bot in privacy mode gets (<https://core.telegram.org/bots/features#privacy-mode>).
//!
//! Refuses to know what the bot does with them.

use serde_json::Value;

use super::render::{ANONYMOUS_ADMIN, CHANNEL_SENDER};
use super::state::{Chat, ChatKind, State};

/// Beginnings of the fields that make a message a service message, which every bot gets.
const SERVICE: [&str; 18] = [
    "new_chat_",
    "left_chat_member",
    "delete_chat_photo",
    "group_chat_created",
    "supergroup_chat_created",
    "channel_chat_created",
    "message_auto_delete_timer_changed",
    "migrate_",
    "pinned_message",
    "forum_topic_",
    "general_forum_topic_",
    "video_chat_",
    "boost_added",
    "chat_background_set",
    "chat_owner_",
    "users_shared",
    "giveaway_c",
    "proximity_alert_triggered",
];

/// Whether privacy mode keeps this Message object from the bot.
pub(super) fn hides(state: &State, chat: &Chat, message: &Value) -> bool {
    state.config.privacy_mode
        && chat.kind != ChatKind::Private
        && !is_service(message)
        && !is_meant(state, chat, message)
}

fn is_service(message: &Value) -> bool {
    let Some(fields) = message.as_object() else { return false };
    fields.keys().any(|name| SERVICE.iter().any(|begin| name.starts_with(begin)))
}

fn is_meant(state: &State, chat: &Chat, message: &Value) -> bool {
    let bot = state.config.bot_id;
    let from = message["from"]["id"].as_i64().unwrap_or_default();
    let other_bot = message["from"]["is_bot"] == true && !matches!(from, ANONYMOUS_ADMIN | CHANNEL_SENDER);
    if other_bot {
        return false;
    }
    let replied = &message["reply_to_message"];
    let answers =
        !replied.is_null() && !is_service(replied) && (replied["from"]["id"] == bot || is_meant(state, chat, replied));
    answers || message["via_bot"]["id"] == bot || names_bot(state, chat, message)
}

/// Whether a mention or a command in the text is for the bot.
fn names_bot(state: &State, chat: &Chat, message: &Value) -> bool {
    let (text, entities) = match message["text"].as_str() {
        Some(text) => (text, &message["entities"]),
        None => (message["caption"].as_str().unwrap_or_default(), &message["caption_entities"]),
    };
    let units: Vec<u16> = text.encode_utf16().collect();
    let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(0);
    let name = format!("@{}", state.config.username);
    entities.as_array().into_iter().flatten().any(|entity| {
        let begin = number(&entity["offset"]).min(units.len());
        let end = (begin + number(&entity["length"])).min(units.len());
        let part = String::from_utf16_lossy(&units[begin..end]);
        match entity["type"].as_str().unwrap_or_default() {
            "mention" => part.eq_ignore_ascii_case(&name),
            "text_mention" => entity["user"]["id"] == state.config.bot_id,
            "bot_command" => match part.find('@') {
                Some(at) => part[at..].eq_ignore_ascii_case(&name),
                None => is_last_bot(state, chat),
            },
            _ => false,
        }
    })
}

/// A command without a name goes to the bot that wrote last; as long as none did, every bot gets it.
fn is_last_bot(state: &State, chat: &Chat) -> bool {
    let is_bot =
        |user: i64| state.people.get(&user).is_some_and(|fields| fields.get("is_bot") == Some(&Value::Bool(true)));
    let bots = chat.messages.values().rev().map(|message| message.from);
    bots.into_iter()
        .find(|from| *from == state.config.bot_id || is_bot(*from))
        .is_none_or(|from| from == state.config.bot_id)
}
