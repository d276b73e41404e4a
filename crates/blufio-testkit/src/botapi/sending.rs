//! Methods that put a message, an edit or a draft before the eyes of a user.

use serde_json::{Value, json};

use super::answer::Refusal;
use super::html::{self, Entity, ParsedText};
use super::methods::{list, target};
use super::queue::push_bounded;
use super::schema::Params;
use super::state::{CHAT_LOG_MAX, ChatKind, DraftUpdate, Message, State, unix_now};

/// Longest text of a message after parsing, in UTF-16 units.
pub const TEXT_UNITS_MAX: usize = 4096;
/// Longest caption after parsing, in UTF-16 units.
pub const CAPTION_UNITS_MAX: usize = 1024;
/// Longest callback data of a button, in bytes.
pub const CALLBACK_DATA_BYTES_MAX: usize = 64;
/// Id of the topic "General", which is addressed by leaving the thread out.
const GENERAL_TOPIC: i64 = 1;

/// Whether the topic "General" may be named.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum General {
    Named,
    Unnamed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Charge {
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

pub(super) fn send_media(state: &mut State, params: &Params, kind: &'static str) -> Result<Value, Refusal> {
    let chat = target(state, params)?;
    let thread = thread(state, chat, params, General::Unnamed)?;
    let caption = formatted(params, "caption", "caption_entities", CAPTION_UNITS_MAX, "message caption is too long")?;
    let mut message = draft_message(state, chat, thread, params, "caption", caption)?;
    charge(state, chat, Charge::Message)?;
    let source = params.text(kind).unwrap_or_default();
    message.media = Some((kind, media(state, params, kind, source)?));
    Ok(store(state, chat, message))
}

pub(super) fn send_media_group(state: &mut State, params: &Params) -> Result<Value, Refusal> {
    let chat = target(state, params)?;
    let thread = thread(state, chat, params, General::Unnamed)?;
    let items = list(params, "media");
    if !(2..=10).contains(&items.len()) {
        return Err(Refusal::bug("wrong number of items in the group", "sendMediaGroup: 2 to 10 items are allowed"));
    }
    let mut messages = Vec::new();
    for item in items {
        let kind = match item["type"].as_str() {
            Some("photo") => "photo",
            Some("document") => "document",
            _ => return Err(Refusal::bad("media type is not supported by this server")),
        };
        let fields = item.as_object().cloned().unwrap_or_default();
        let item = Params { values: fields, files: params.files.clone() };
        let caption =
            formatted(&item, "caption", "caption_entities", CAPTION_UNITS_MAX, "message caption is too long")?;
        let mut message = draft_message(state, chat, thread, params, "caption", caption)?;
        message.sent = item.text("caption").unwrap_or_default().to_owned();
        message.media = Some((kind, media(state, &item, kind, item.text("media").unwrap_or_default())?));
        messages.push(message);
    }
    charge(state, chat, Charge::Message)?;
    Ok(messages.into_iter().map(|message| store(state, chat, message)).collect())
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
    if (named_general && chat.kind == ChatKind::Supergroup { forum: true }) || chat.topics.contains(&thread) {
        Ok(Some(thread))
    } else {
        Err(Refusal::bad("message thread not found"))
    }
}

fn formatted(
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
fn draft_message(
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
        id: 0,
        from: state.config.bot_id,
        date: unix_now(),
        edit_date: None,
        thread,
        sent: params.text(text).unwrap_or_default().to_owned(),
        text: parsed.text,
        entities: parsed.entities,
        earlier: Vec::new(),
        markup: inline_keyboard(params)?,
        media: None,
        reply_to,
        silent: params.flag("disable_notification"),
        reactions: Vec::new(),
    })
}

fn store(state: &mut State, chat: i64, message: Message) -> Value {
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

/// The media object of an upload or of a known file.
fn media(state: &mut State, params: &Params, kind: &str, source: &str) -> Result<Value, Refusal> {
    let (id, name, media_type, size) = match source.strip_prefix("attach://") {
        Some(field) => {
            let upload = params
                .files
                .get(field)
                .ok_or_else(|| Refusal::bug("file not found", format!("{source} was not uploaded")))?;
            if upload.bytes.is_empty() {
                return Err(Refusal::bad("file must be non-empty"));
            }
            let id = state.store_file(&upload.file_name, upload.bytes.clone());
            (id, upload.file_name.clone(), upload.media_type.clone(), upload.bytes.len())
        }
        None => {
            let wrong = || Refusal::bad("wrong file identifier/HTTP URL specified");
            let file = state.files.get(source).ok_or_else(wrong)?;
            (source.to_owned(), file.name.clone(), String::new(), file.bytes.len())
        }
    };
    let unique = format!("u-{id}");
    Ok(match kind {
        "photo" => json!([{"file_id": id, "file_unique_id": unique, "width": 1, "height": 1, "file_size": size}]),
        "voice" => {
            json!({"file_id": id, "file_unique_id": unique, "duration": params.integer("duration").unwrap_or(0), "file_size": size})
        }
        _ => {
            json!({"file_id": id, "file_unique_id": unique, "file_name": name, "mime_type": media_type, "file_size": size})
        }
    })
}

/// Takes the tokens of the rate model, if one is set.
fn charge(state: &mut State, chat: i64, what: Charge) -> Result<(), Refusal> {
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
