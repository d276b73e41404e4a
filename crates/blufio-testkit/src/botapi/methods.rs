//! What each method does to the state, except `getUpdates` (`poll.rs`) and whatever sends a message (`sending.rs`).
//!
//! Error texts are those of the public server. Refuses to know HTTP and faults.

use serde_json::{Value, json};

use super::answer::Refusal;
use super::inspect::{BotReaction, CallbackAnswer, ChatAction};
use super::queue::push_bounded;
use super::schema::Params;
use super::state::{CHAT_LOG_MAX, ChatKind, State};
use super::{media, sending, webhook};

/// Largest file that `getFile` hands out, in bytes.
const DOWNLOAD_BYTES_MAX: usize = 20 * 1024 * 1024;
/// Largest text of `answerCallbackQuery`, in UTF-16 units.
const CALLBACK_TEXT_UNITS_MAX: usize = 200;
/// Most ids of one `deleteMessages`.
const DELETE_IDS_MAX: usize = 100;

const ACTIONS: [&str; 11] = [
    "typing",
    "upload_photo",
    "record_video",
    "upload_video",
    "record_voice",
    "upload_voice",
    "upload_document",
    "choose_sticker",
    "find_location",
    "record_video_note",
    "upload_video_note",
];

/// The emoji that a bot may react with (description of `ReactionTypeEmoji`), without the joined ones.
const REACTIONS: &str = "❤👍👎🔥🥰👏😁🤔🤯😱🤬😢🎉🤩🤮💩🙏👌🕊🤡🥱🥴😍🐳🌚🌭💯🤣⚡🍌🏆💔🤨😐🍓🍾💋🖕😈😴😭🤓👻👀🎃🙈😇😨🤝✍🤗🫡🎅🎄☃💅🤪🗿🆒💘🙉🦄😘💊🙊😎👾🤷😡";
const JOINED_REACTIONS: [&str; 4] = ["❤\u{200d}🔥", "👨\u{200d}💻", "🤷\u{200d}♂", "🤷\u{200d}♀"];

/// Carries out a call that has passed the check of its parameters.
pub(super) fn call(state: &mut State, method: &str, params: &Params) -> Result<Value, Refusal> {
    match method {
        "getMe" => Ok(get_me(state)),
        "getWebhookInfo" => Ok(webhook::info(state)),
        "setWebhook" => webhook::set(state, params),
        "deleteWebhook" => Ok(webhook::delete(state, params)),
        "sendMessage" => sending::send_message(state, params),
        "sendMessageDraft" => sending::send_draft(state, params),
        "editMessageText" => sending::edit_text(state, params),
        "editMessageReplyMarkup" => sending::edit_markup(state, params),
        "sendPhoto" => media::send_media(state, params, "photo"),
        "sendDocument" => media::send_media(state, params, "document"),
        "sendVoice" => media::send_media(state, params, "voice"),
        "sendMediaGroup" => media::send_media_group(state, params),
        "deleteMessage" => delete_message(state, params),
        "deleteMessages" => delete_messages(state, params),
        "sendChatAction" => chat_action(state, params),
        "setMessageReaction" => set_reaction(state, params),
        "answerCallbackQuery" => answer_callback(state, params),
        "getFile" => get_file(state, params),
        "setMyCommands" => set_commands(state, params),
        "getMyCommands" => Ok(state.commands.get(&commands_key(params)).cloned().unwrap_or_else(|| json!([]))),
        "deleteMyCommands" => Ok(delete_commands(state, params)),
        "getChat" => get_chat(state, params),
        "getChatMember" => get_chat_member(state, params),
        "leaveChat" => leave_chat(state, params),
        _ => Err(Refusal::new(404, "Not Found: method not found")),
    }
}

/// The chat of a call, if the bot may act in it.
pub(super) fn target(state: &State, params: &Params) -> Result<i64, Refusal> {
    let id = match params.values.get("chat_id") {
        Some(Value::Number(id)) => id.as_i64().unwrap_or_default(),
        Some(_) => return Err(Refusal::bad("chat not found")),
        None => return Err(Refusal::bug("chat_id is empty", "chat_id is missing")),
    };
    let chat = state.chats.get(&id).ok_or_else(|| Refusal::bad("chat not found"))?;
    if let Some(new) = chat.migrated_to {
        let refusal = Refusal::bad("group chat was upgraded to a supergroup chat");
        return Err(Refusal { parameters: json!({"migrate_to_chat_id": new}), ..refusal });
    }
    match chat.closed {
        Some(reason) => Err(Refusal::new(403, format!("Forbidden: {reason}"))),
        None => Ok(id),
    }
}

fn get_me(state: &State) -> Value {
    let mut me = state.user_json(state.config.bot_id);
    me["can_join_groups"] = json!(true);
    me["can_read_all_group_messages"] = json!(state.config.can_read_all_group_messages);
    me["supports_inline_queries"] = json!(false);
    me["has_topics_enabled"] = json!(state.config.private_topics);
    me
}

fn delete_message(state: &mut State, params: &Params) -> Result<Value, Refusal> {
    let chat = target(state, params)?;
    let id = params.integer("message_id").unwrap_or_default();
    if remove(state, chat, id) { Ok(json!(true)) } else { Err(Refusal::bad("message to delete not found")) }
}

fn delete_messages(state: &mut State, params: &Params) -> Result<Value, Refusal> {
    let chat = target(state, params)?;
    let ids: Vec<i64> = list(params, "message_ids").iter().filter_map(Value::as_i64).collect();
    if ids.is_empty() || ids.len() > DELETE_IDS_MAX {
        return Err(Refusal::bug("message identifiers are not specified", "deleteMessages: 1 to 100 ids are allowed"));
    }
    for id in ids {
        remove(state, chat, id);
    }
    Ok(json!(true))
}

fn remove(state: &mut State, chat: i64, id: i64) -> bool {
    let removed = state.chats.get_mut(&chat).and_then(|chat| chat.messages.remove(&id));
    let Some(message) = removed else { return false };
    let visible = state.visible(&message);
    if let Some(chat) = state.chats.get_mut(&chat) {
        chat.deleted.push(visible);
    }
    true
}

fn chat_action(state: &mut State, params: &Params) -> Result<Value, Refusal> {
    let action = params.text("action").unwrap_or_default().to_owned();
    if !ACTIONS.contains(&action.as_str()) {
        return Err(Refusal::bug(
            "wrong parameter action in request",
            format!("sendChatAction: unknown action \"{action}\""),
        ));
    }
    let chat = target(state, params)?;
    let thread = sending::thread(state, chat, params, sending::General::Named)?;
    let entry = ChatAction { at_ms: state.now_ms(), action, thread };
    if let Some(chat) = state.chats.get_mut(&chat) {
        push_bounded(&mut chat.actions, entry, CHAT_LOG_MAX);
    }
    Ok(json!(true))
}

fn set_reaction(state: &mut State, params: &Params) -> Result<Value, Refusal> {
    let chat = target(state, params)?;
    let reactions = list(params, "reaction");
    let legal = |emoji: &str| {
        let mut symbols = emoji.chars();
        let single = symbols.next().filter(|_| symbols.next().is_none());
        single.is_some_and(|symbol| REACTIONS.contains(symbol)) || JOINED_REACTIONS.contains(&emoji)
    };
    let emoji: Option<Vec<String>> = reactions
        .iter()
        .map(|reaction| reaction["emoji"].as_str().filter(|emoji| legal(emoji)).map(str::to_owned))
        .collect();
    let emoji = emoji.ok_or_else(|| Refusal::bad("REACTION_INVALID"))?;
    if emoji.len() > 1 {
        return Err(Refusal::bad("REACTIONS_TOO_MANY"));
    }
    let id = params.integer("message_id").unwrap_or_default();
    let at_ms = state.now_ms();
    let missing = || Refusal::bad("message to react not found");
    let chat = state.chats.get_mut(&chat).ok_or_else(missing)?;
    chat.messages.get_mut(&id).ok_or_else(missing)?.reactions.clone_from(&emoji);
    push_bounded(&mut chat.reactions, BotReaction { at_ms, message_id: id, emoji }, CHAT_LOG_MAX);
    Ok(json!(true))
}

fn answer_callback(state: &mut State, params: &Params) -> Result<Value, Refusal> {
    if params.text("text").is_some_and(|text| super::html::utf16_len(text) > CALLBACK_TEXT_UNITS_MAX) {
        return Err(Refusal::bug("MESSAGE_TOO_LONG", "answerCallbackQuery: text is longer than 200 units"));
    }
    let id = params.text("callback_query_id").unwrap_or_default();
    let too_old = || Refusal::bad("query is too old and response timeout expired or query ID is invalid");
    let pressed = state.callbacks.remove(id).ok_or_else(too_old)?;
    let at_ms = state.now_ms();
    let answer = CallbackAnswer {
        id: id.to_owned(),
        at_ms,
        after_ms: at_ms.saturating_sub(pressed.at_ms),
        user: pressed.user,
        data: pressed.data,
        text: params.text("text").unwrap_or_default().to_owned(),
        show_alert: params.flag("show_alert"),
    };
    push_bounded(&mut state.callback_answers, answer, CHAT_LOG_MAX);
    Ok(json!(true))
}

fn get_file(state: &State, params: &Params) -> Result<Value, Refusal> {
    let id = params.text("file_id").unwrap_or_default();
    let file =
        state.files.get(id).ok_or_else(|| Refusal::bad("wrong file_id or the file is temporarily unavailable"))?;
    if file.bytes.len() > DOWNLOAD_BYTES_MAX {
        return Err(Refusal::bad("file is too big"));
    }
    let mut value = json!({"file_id": id, "file_unique_id": format!("u-{id}"), "file_path": file.path});
    if file.size_known {
        value["file_size"] = json!(file.bytes.len());
    }
    Ok(value)
}

fn commands_key(params: &Params) -> String {
    let scope = params.values.get("scope");
    let part = |name: &str| match scope.and_then(|scope| scope.get(name)) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    };
    let kind = if scope.is_some() { part("type") } else { "default".to_owned() };
    format!("{kind}:{}:{}:{}", part("chat_id"), part("user_id"), params.text("language_code").unwrap_or_default())
}

fn set_commands(state: &mut State, params: &Params) -> Result<Value, Refusal> {
    let commands = list(params, "commands");
    let legal_name = |name: &str| {
        (1..=32).contains(&name.len()) && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
    };
    for command in commands {
        let name = command["command"].as_str().unwrap_or_default();
        if !legal_name(name.strip_prefix('/').unwrap_or(name)) {
            return Err(Refusal::bug("BOT_COMMAND_INVALID", format!("setMyCommands: illegal name \"{name}\"")));
        }
        let length = command["description"].as_str().unwrap_or_default().chars().count();
        if !(1..=256).contains(&length) {
            return Err(Refusal::bug(
                "BOT_COMMAND_DESCRIPTION_INVALID",
                format!("setMyCommands: description of \"{name}\""),
            ));
        }
    }
    if commands.len() > state.config.commands_max {
        return Err(Refusal::bad("BOT_COMMANDS_TOO_MUCH"));
    }
    state.commands.insert(commands_key(params), json!(commands));
    Ok(json!(true))
}

fn delete_commands(state: &mut State, params: &Params) -> Value {
    state.commands.remove(&commands_key(params));
    json!(true)
}

fn get_chat(state: &State, params: &Params) -> Result<Value, Refusal> {
    let id = target(state, params)?;
    let mut value = state.chats[&id].json();
    value["accent_color_id"] = json!(0);
    value["max_reaction_count"] = json!(11);
    value["accepted_gift_types"] = json!({
        "unlimited_gifts": false, "limited_gifts": false, "unique_gifts": false, "premium_subscription": false,
        "gifts_from_channels": false
    });
    Ok(value)
}

fn get_chat_member(state: &State, params: &Params) -> Result<Value, Refusal> {
    let id = target(state, params)?;
    let user = params.integer("user_id").unwrap_or_default();
    let chat = &state.chats[&id];
    let private = chat.kind == ChatKind::Private && user == id;
    let member = private || user == state.config.bot_id || chat.members.contains(&user);
    Ok(json!({"status": if member { "member" } else { "left" }, "user": state.user_json(user)}))
}

fn leave_chat(state: &mut State, params: &Params) -> Result<Value, Refusal> {
    let id = target(state, params)?;
    let chat = state.chats.get_mut(&id).filter(|chat| chat.kind != ChatKind::Private);
    chat.ok_or_else(|| Refusal::bad("chat member status can't be changed in private chats"))?.closed =
        Some("bot is not a member of the group chat");
    Ok(json!(true))
}

/// The items of an array parameter, empty when absent.
pub(super) fn list<'a>(params: &'a Params, name: &str) -> &'a [Value] {
    params.values.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
