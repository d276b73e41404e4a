//! Methods that put a text, an edit or a draft before the eyes of a user.

use serde_json::{Value, json};

use super::answer::Refusal;
use super::html::{self, Entity, ParsedText};
use super::inspect::DraftUpdate;
use super::methods::{list, target};
use super::queue::push_bounded;
use super::schema::Params;
use super::state::{CHAT_LOG_MAX, ChatKind, Message, State, unix_now};
use super::user::GENERAL_TOPIC;

/// Longest text of a message after parsing, in UTF-16 units.
pub const TEXT_UNITS_MAX: usize = 4096;
/// Longest caption after parsing, in UTF-16 units.
pub const CAPTION_UNITS_MAX: usize = 1024;
/// Longest callback data of a button, in bytes.
pub const CALLBACK_DATA_BYTES_MAX: usize = 64;

/// Whether the topic "General" may be named.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum General {
    Named,
    Unnamed,
}

/// What a call costs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Charge {
    Message,
    Edit,
    Draft,
}

pub(super) fn send_message(state: &mut State, params: &Params) -> Result<Value, Refusal> {
    let chat = target(state, params)?;
    let thread = thread(state, chat, params, General::Unnamed)?;
    let parsed = formatted(params, "text", "entities", TEXT_UNITS_MAX, "message is too long")?;
    if parsed.text.is_empty() {
        return Err(Refusal::bad("message text is empty"));
    }
    let message = draft_message(state, chat, thread, params, "text", parsed)?;
    charge(state, chat, Charge::Message)?;
    Ok(store(state, chat, message))
}

pub(super) fn send_draft(state: &mut State, params: &Params) -> Result<Value, Refusal> {
    if state.drafts_unknown {
        return Err(Refusal::new(404, "Not Found: method not found"));
    }
    let chat = target(state, params)?;
    if state.chats[&chat].kind != ChatKind::Private {
        return Err(Refusal::bug("drafts can be sent only to private chats", "sendMessageDraft: the chat is a group"));
    }
    thread(state, chat, params, General::Unnamed)?;
    let draft_id = params.integer("draft_id").unwrap_or_default();
    if draft_id == 0 {
        return Err(Refusal::bug("draft identifier must be non-zero", "sendMessageDraft: draft_id is 0"));
    }
    let text = formatted(params, "text", "entities", TEXT_UNITS_MAX, "message is too long")?.text;
    charge(state, chat, Charge::Draft)?;
    let update = DraftUpdate { at_ms: state.now_ms(), draft_id, text };
    if let Some(chat) = state.chats.get_mut(&chat) {
        push_bounded(&mut chat.drafts, update, CHAT_LOG_MAX);
    }
    Ok(json!(true))
}

pub(super) fn edit_text(state: &mut State, params: &Params) -> Result<Value, Refusal> {
    let (chat, id) = own_message(state, params)?;
    if state.chats[&chat].messages[&id].media.is_some() {
        return Err(Refusal::bad("there is no text in the message to edit"));
    }
    let parsed = formatted(params, "text", "entities", TEXT_UNITS_MAX, "message is too long")?;
    if parsed.text.is_empty() {
        return Err(Refusal::bad("message text is empty"));
    }
    let markup = inline_keyboard(params)?;
    let old = &state.chats[&chat].messages[&id];
    if old.text == parsed.text && old.entities == parsed.entities && old.markup == markup {
        return Err(not_modified());
    }
    charge(state, chat, Charge::Edit)?;
    let sent = params.text("text").unwrap_or_default().to_owned();
    edit(state, chat, id, |message| {
        if message.text != parsed.text {
            message.earlier.push(std::mem::replace(&mut message.text, parsed.text));
        }
        message.entities = parsed.entities;
        message.sent = sent;
        message.markup = markup;
    })
}

pub(super) fn edit_markup(state: &mut State, params: &Params) -> Result<Value, Refusal> {
    let (chat, id) = own_message(state, params)?;
    let markup = inline_keyboard(params)?;
    if state.chats[&chat].messages[&id].markup == markup {
        return Err(not_modified());
    }
    charge(state, chat, Charge::Edit)?;
    edit(state, chat, id, |message| message.markup = markup)
}

fn not_modified() -> Refusal {
    Refusal::bad(
        "message is not modified: specified new message content and reply markup are exactly the same as a current \
         content and reply markup of the message",
    )
}

/// The topic of a call. A topic that does not exist, and "General" by its number, are not found.
pub(super) fn thread(state: &State, chat: i64, params: &Params, general: General) -> Result<Option<i64>, Refusal> {
    let Some(thread) = params.integer("message_thread_id") else { return Ok(None) };
    let chat = &state.chats[&chat];
    let named_general = thread == GENERAL_TOPIC && general == General::Named;
    match chat.topics.get(&thread) {
        Some(topic) if topic.closed => Err(Refusal::bad("TOPIC_CLOSED")),
        Some(_) => Ok(Some(thread)),
        None if named_general && chat.kind == (ChatKind::Supergroup { forum: true }) => Ok(Some(thread)),
        None => Err(Refusal::bad("message thread not found")),
    }
}

pub(super) fn formatted(
    params: &Params,
    name: &str,
    entities: &str,
    units_max: usize,
    too_long: &str,
) -> Result<ParsedText, Refusal> {
    let text = params.text(name).unwrap_or_default();
    let mode = params.text("parse_mode").unwrap_or_default();
    let parsed = match mode.to_ascii_lowercase().as_str() {
        "" => ParsedText { entities: given_entities(params, entities), ..html::plain(text) },
        "html" => html::parse(text).map_err(|error| Refusal::bad(format!("can't parse entities: {error}")))?,
        _ => return Err(Refusal::bug("unsupported parse_mode", format!("parse_mode \"{mode}\" is not spoken here"))),
    };
    if parsed.utf16_len() > units_max { Err(Refusal::bad(too_long)) } else { Ok(parsed) }
}

/// Entities that were sent as such. Only what comparing two versions of a message needs is kept.
fn given_entities(params: &Params, name: &str) -> Vec<Entity> {
    const KINDS: [&str; 11] = [
        "bold",
        "italic",
        "underline",
        "strikethrough",
        "spoiler",
        "code",
        "pre",
        "blockquote",
        "expandable_blockquote",
        "text_link",
        "custom_emoji",
    ];
    let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(0);
    let entity = |value: &Value| {
        let kind = KINDS.into_iter().find(|kind| value["type"] == **kind)?;
        let argument =
            ["url", "language", "custom_emoji_id"].iter().find_map(|key| value[*key].as_str()).map(str::to_owned);
        Some(Entity { kind, offset: number(&value["offset"]), length: number(&value["length"]), argument })
    };
    list(params, name).iter().filter_map(entity).collect()
}

/// The inline keyboard of a call; an empty one is none. Other markups are kept as they are.
fn inline_keyboard(params: &Params) -> Result<Option<Value>, Refusal> {
    let Some(markup) = params.values.get("reply_markup") else { return Ok(None) };
    let Some(rows) = markup["inline_keyboard"].as_array() else { return Ok(Some(markup.clone())) };
    let buttons = || rows.iter().filter_map(Value::as_array).flatten();
    for button in buttons() {
        let label = button["text"].as_str().unwrap_or_default();
        if label.trim().is_empty() {
            return Err(Refusal::bug("inline keyboard button text must be non-empty", "a button has no text"));
        }
        let decoration = ["text", "icon_custom_emoji_id", "style"];
        let targets = button
            .as_object()
            .map_or(0, |fields| fields.keys().filter(|key| !decoration.contains(&key.as_str())).count());
        if targets != 1 {
            return Err(Refusal::bug(
                "text buttons are unallowed in the inline keyboard",
                format!("button \"{label}\" has {targets} targets"),
            ));
        }
        let data = button["callback_data"].as_str();
        if data.is_some_and(|data| data.is_empty() || data.len() > CALLBACK_DATA_BYTES_MAX) {
            return Err(Refusal::bug(
                "BUTTON_DATA_INVALID",
                format!("callback data of \"{label}\" is not 1 to 64 bytes"),
            ));
        }
    }
    Ok(buttons().next().map(|_| markup.clone()))
}

/// The message of a call, complete but for its id.
pub(super) fn draft_message(
    state: &State,
    chat: i64,
    thread: Option<i64>,
    params: &Params,
    text: &str,
    parsed: ParsedText,
) -> Result<Message, Refusal> {
    let reply = params.values.get("reply_parameters");
    let wanted = reply.and_then(|reply| reply["message_id"].as_i64());
    let reply_to = wanted.filter(|id| state.chats[&chat].messages.contains_key(id));
    let optional = reply.and_then(|reply| reply["allow_sending_without_reply"].as_bool()).unwrap_or(false);
    if wanted.is_some() && reply_to.is_none() && !optional {
        return Err(Refusal::bad("message to be replied not found"));
    }
    Ok(Message {
        from: state.config.bot_id,
        date: unix_now(),
        thread,
        sent: params.text(text).unwrap_or_default().to_owned(),
        text: parsed.text,
        entities: parsed.entities,
        markup: inline_keyboard(params)?,
        reply_to,
        silent: params.flag("disable_notification"),
        ..Message::default()
    })
}

pub(super) fn store(state: &mut State, chat: i64, message: Message) -> Value {
    let id = state.add_message(chat, message);
    let chat = &state.chats[&chat];
    chat.messages.get(&id).map(|message| state.message_json(chat, message)).unwrap_or(Value::Null)
}

fn edit(state: &mut State, chat: i64, id: i64, change: impl FnOnce(&mut Message)) -> Result<Value, Refusal> {
    if let Some(message) = state.chats.get_mut(&chat).and_then(|chat| chat.messages.get_mut(&id)) {
        change(message);
        message.edit_date = Some(unix_now());
    }
    let chat = &state.chats[&chat];
    Ok(state.message_json(chat, &chat.messages[&id]))
}

/// Chat and id of the message to edit, which must be the bot's own.
fn own_message(state: &State, params: &Params) -> Result<(i64, i64), Refusal> {
    if params.values.contains_key("inline_message_id") {
        return Err(Refusal::bad("MESSAGE_ID_INVALID"));
    }
    let chat = target(state, params)?;
    let missing = || Refusal::bug("message identifier is not specified", "an edit without message_id");
    let id = params.integer("message_id").ok_or_else(missing)?;
    let message = state.chats[&chat].messages.get(&id).ok_or_else(|| Refusal::bad("message to edit not found"))?;
    if message.from != state.config.bot_id {
        return Err(Refusal::bad("message can't be edited"));
    }
    Ok((chat, id))
}

/// Refuses while a flood lasts; takes the tokens of the rate model, if one is set.
pub(super) fn charge(state: &mut State, chat: i64, what: Charge) -> Result<(), Refusal> {
    if let Some(refusal) = state.flooded(chat) {
        return Err(refusal);
    }
    let now = state.now();
    let Some(model) = state.config.rate.clone() else { return Ok(()) };
    if (what == Charge::Edit && !model.edits_count) || (what == Charge::Draft && !model.drafts_count) {
        return Ok(());
    }
    let Some(chat) = state.chats.get_mut(&chat) else { return Ok(()) };
    let (per_s, burst) = match chat.kind {
        ChatKind::Private => (model.private_per_s, model.private_burst),
        ChatKind::Group | ChatKind::Supergroup { .. } => (model.group_per_min / 60.0, model.group_per_min),
    };
    let global = state.global_bucket.take(now, model.global_per_s, model.global_per_s);
    global.and_then(|()| chat.bucket.take(now, per_s, burst)).map_err(|seconds| Refusal::too_many(Some(seconds)))
}
