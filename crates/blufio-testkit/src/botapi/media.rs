//! Files that the bot sends, one by one or as an album.
//!
//! Refuses to know what all messages have in common (`sending.rs`) and files of users (`files.rs`).

use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::Refusal;
use super::inspect::ReceivedFile;
use super::methods::{list, target};
use super::picture;
use super::queue::push_bounded;
use super::schema::Params;
use super::sending::{CAPTION_UNITS_MAX, Charge, General, charge, draft_message, formatted, store, thread};
use super::state::{Message, State};

/// Largest photo, in bytes.
pub const PHOTO_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Largest upload of another kind, in bytes.
pub const UPLOAD_BYTES_MAX: usize = 50 * 1024 * 1024;
/// Largest sum of width and height of a photo, in pixels.
const PHOTO_EDGES_MAX: u32 = 10_000;
/// Largest ratio between the edges of a photo.
const PHOTO_RATIO_MAX: u32 = 20;
/// Files kept per chat for inspection.
const RECEIVED_MAX: usize = 1_000;

/// A file as the bot sent it.
struct Sent {
    /// The media object of the message.
    object: Value,
    name: String,
    media_type: String,
    bytes: Bytes,
}

pub(super) fn send_media(state: &mut State, params: &Params, kind: &'static str) -> Result<Value, Refusal> {
    let chat = target(state, params)?;
    let thread = thread(state, chat, params, General::Unnamed)?;
    let caption = caption(params)?;
    let message = draft_message(state, chat, thread, params, "caption", caption)?;
    let sent = media(state, params, kind, params.text(kind).unwrap_or_default())?;
    charge(state, chat, Charge::Message)?;
    Ok(keep(state, chat, kind, message, sent))
}

pub(super) fn send_media_group(state: &mut State, params: &Params) -> Result<Value, Refusal> {
    let chat = target(state, params)?;
    let thread = thread(state, chat, params, General::Unnamed)?;
    let items = list(params, "media");
    if !(2..=10).contains(&items.len()) {
        return Err(Refusal::bug("wrong number of items in the group", "sendMediaGroup: 2 to 10 items are allowed"));
    }
    let mut parts = Vec::new();
    for item in items {
        let kind = match item["type"].as_str() {
            Some("photo") => "photo",
            Some("document") => "document",
            _ => return Err(Refusal::bad("media type is not supported by this server")),
        };
        let fields = item.as_object().cloned().unwrap_or_default();
        let item = Params { values: fields, files: params.files.clone() };
        let mut message = draft_message(state, chat, thread, params, "caption", caption(&item)?)?;
        message.sent = item.text("caption").unwrap_or_default().to_owned();
        let sent = media(state, &item, kind, item.text("media").unwrap_or_default())?;
        parts.push((kind, message, sent));
    }
    charge(state, chat, Charge::Message)?;
    let album = json!(format!("album-{}", state.next_file_id));
    let part = |(kind, mut message, sent): (&'static str, Message, Sent)| {
        message.fields.insert("media_group_id".to_owned(), album.clone());
        keep(state, chat, kind, message, sent)
    };
    Ok(parts.into_iter().map(part).collect())
}

fn caption(params: &Params) -> Result<super::html::ParsedText, Refusal> {
    formatted(params, "caption", "caption_entities", CAPTION_UNITS_MAX, "message caption is too long")
}

/// Stores a message with its file.
fn keep(state: &mut State, chat: i64, kind: &'static str, mut message: Message, sent: Sent) -> Value {
    message.media = Some((kind, sent.object));
    let mut received = ReceivedFile {
        message_id: 0,
        kind,
        name: sent.name,
        media_type: sent.media_type,
        bytes: sent.bytes,
        caption: message.text.clone(),
        html: message.sent.clone(),
        thread: message.thread,
        reply_to: message.reply_to,
        silent: message.silent,
    };
    let stored = store(state, chat, message);
    received.message_id = stored["message_id"].as_i64().unwrap_or_default();
    if let Some(chat) = state.chats.get_mut(&chat) {
        push_bounded(&mut chat.received, received, RECEIVED_MAX);
    }
    stored
}

/// The media object of an upload or of a known file.
fn media(state: &mut State, params: &Params, kind: &str, source: &str) -> Result<Sent, Refusal> {
    let (id, name, media_type, bytes) = match source.strip_prefix("attach://") {
        Some(field) => {
            let missing = || Refusal::bug("file not found", format!("{source} was not uploaded"));
            let upload = params.files.get(field).ok_or_else(missing)?;
            acceptable(kind, &upload.bytes)?;
            let id = state.store_file(&upload.file_name, upload.bytes.clone());
            (id, upload.file_name.clone(), upload.media_type.clone(), upload.bytes.clone())
        }
        None => {
            let wrong = || Refusal::bad("wrong file identifier/HTTP URL specified");
            let file = state.files.get(source).ok_or_else(wrong)?;
            (source.to_owned(), file.name.clone(), String::new(), file.bytes.clone())
        }
    };
    let mut object = json!({"file_id": id, "file_unique_id": format!("u-{id}"), "file_size": bytes.len()});
    match kind {
        "photo" => {
            let (width, height) = picture::dimensions(&bytes).unwrap_or((1, 1));
            object["width"] = json!(width);
            object["height"] = json!(height);
            object = json!([object]);
        }
        "voice" => object["duration"] = json!(params.integer("duration").unwrap_or(0)),
        _ => {
            for (field, value) in [("file_name", &name), ("mime_type", &media_type)] {
                if !value.is_empty() {
                    object[field] = json!(value);
                }
            }
        }
    }
    Ok(Sent { object, name, media_type, bytes })
}

fn acceptable(kind: &str, bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::bad("file must be non-empty"));
    }
    if bytes.len() > UPLOAD_BYTES_MAX {
        return Err(Refusal::new(413, "Request Entity Too Large"));
    }
    if kind != "photo" {
        return Ok(());
    }
    if bytes.len() > PHOTO_BYTES_MAX {
        return Err(Refusal::bad(format!(
            "file of size {} bytes is too big for a photo; the maximum size is {PHOTO_BYTES_MAX} bytes",
            bytes.len()
        )));
    }
    if !picture::is_picture(bytes) {
        return Err(Refusal::bad("IMAGE_PROCESS_FAILED"));
    }
    match picture::dimensions(bytes) {
        Some((width, height))
            if width.saturating_add(height) > PHOTO_EDGES_MAX
                || width.max(height) > width.min(height).saturating_mul(PHOTO_RATIO_MAX) =>
        {
            Err(Refusal::bad("PHOTO_INVALID_DIMENSIONS"))
        }
        _ => Ok(()),
    }
}
