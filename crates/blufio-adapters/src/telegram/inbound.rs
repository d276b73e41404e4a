//! From one element of `getUpdates` to the facts that the runtime judges.
//!
//! Every update becomes exactly one [`Inbound`], whatever is in it: an unreadable one is `Malformed` and an unused kind
//! `Ignored`, so that one odd update never holds up the others. Nothing here decides who may speak.

mod content;
mod describe;
mod events;
mod gating;
mod plain;
mod quotes;
#[cfg(test)]
mod tests;

pub(super) use gating::Mentions;

use super::GENERAL_TOPIC;
use super::wire::{Marks, Me, Message, RawFields, SERVICE_FIELDS, UPDATE_KINDS, User};
use blufio_core::access::Sender;
use blufio_core::ids::{ChannelName, SessionKey};
use blufio_core::limits::UPDATE_BYTES_MAX;
use blufio_core::port::{Inbound, InboundKind};
use blufio_core::record::{Route, Shared};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// Accounts in whose name Telegram itself, anonymous administrators and channels write.
const SERVICE_ACCOUNTS: [i64; 3] = [777_000, 1_087_968_824, 136_817_688];
/// The number under which an update without a readable id is stored.
const NO_UPDATE_ID: i64 = 0;

/// Reads one update.
pub(super) fn read(raw: &RawValue, bot: &Me, mentions: &Mentions) -> Inbound {
    let text = raw.get();
    let fields: RawFields<'_> = serde_json::from_str(text).unwrap_or_default();
    let update = id_of(&fields).unwrap_or(NO_UPDATE_ID);
    let too_large = text.len() > UPDATE_BYTES_MAX;
    let stored: Shared = if too_large { Shared::from(&[][..]) } else { Shared::from(text.as_bytes()) };
    let body = if too_large || update == NO_UPDATE_ID { None } else { body_of(&fields) };
    let judged = body.and_then(|(kind, body)| Some((fingerprint(kind, body)?, judge(kind, body, bot, mentions)?)));
    match judged {
        Some((fingerprint, kind)) => Inbound { update, fingerprint, raw: stored, kind },
        None => Inbound { update, fingerprint: digest(text), raw: stored, kind: InboundKind::Malformed },
    }
}

/// The update's id, if it has a positive one.
pub(super) fn id_of(fields: &RawFields<'_>) -> Option<i64> {
    fields.get("update_id").and_then(|id| id.get().parse::<i64>().ok()).filter(|id| *id > NO_UPDATE_ID)
}

/// The word under which an update is counted; one of a fixed list.
pub(super) fn label(kind: &InboundKind) -> &'static str {
    match kind {
        InboundKind::Message { .. } => "message",
        InboundKind::Edited { .. } => "edited_message",
        InboundKind::Pressed { .. } => "callback_query",
        InboundKind::Reacted { .. } => "message_reaction",
        InboundKind::Membership { .. } => "my_chat_member",
        InboundKind::Migrated { .. } => "migration",
        InboundKind::Ignored(kind) => kind,
        InboundKind::Malformed => "malformed",
    }
}

/// The field beside `update_id`: "at most one of the optional parameters can be present in any given update".
fn body_of<'a>(fields: &RawFields<'a>) -> Option<(&'static str, &'a RawValue)> {
    let known = UPDATE_KINDS.iter().find_map(|kind| Some((*kind, *fields.get(*kind)?)));
    let unknown = || fields.iter().find(|(name, _)| name.as_str() != "update_id").map(|(_, body)| ("unknown", *body));
    known.or_else(unknown)
}

/// What an update is; `None` if it cannot be read.
fn judge(kind: &'static str, body: &RawValue, bot: &Me, mentions: &Mentions) -> Option<InboundKind> {
    let body_text = body.get();
    match kind {
        "message" | "edited_message" => {
            let message: Message = serde_json::from_str(body_text).ok()?;
            if let Some(migrated) = events::migration(&message) {
                return Some(migrated);
            }
            if has_no_words(&message) && is_service(body) {
                return Some(InboundKind::Ignored("service_message"));
            }
            let addressed = gating::is_addressed(&message, bot, mentions);
            let read = if kind == "message" { said } else { changed };
            Some(read(&message, body, bot, addressed))
        }
        "callback_query" => Some(events::pressed(serde_json::from_str(body_text).ok()?)),
        "message_reaction" => Some(events::reacted(&serde_json::from_str(body_text).ok()?)),
        "my_chat_member" => Some(events::membership(&serde_json::from_str(body_text).ok()?)),
        other => Some(InboundKind::Ignored(other)),
    }
}

fn said(message: &Message, body: &RawValue, bot: &Me, addressed: bool) -> InboundKind {
    InboundKind::Message {
        sender: sender(message, bot, addressed),
        name: message.from.as_ref().map(name).unwrap_or_default(),
        route: Route {
            channel: ChannelName::new(super::CHANNEL),
            account: bot.id,
            chat: message.chat.id,
            thread: thread(message, bot),
            reply_to: Some(message.message_id),
        },
        session: session(message, bot),
        content: content::of(message, body, bot),
        album: message.media_group_id.as_ref().map(|group| format!("{}:{group}", message.chat.id)),
        addressee: bot.username.clone(),
    }
}

fn changed(message: &Message, body: &RawValue, bot: &Me, addressed: bool) -> InboundKind {
    InboundKind::Edited {
        sender: sender(message, bot, addressed),
        session: session(message, bot),
        message: message.message_id,
        // Of what was passed on, none of the words are the sender's, so this is empty and replaces nothing.
        text: content::of(message, body, bot).text,
    }
}

fn sender(message: &Message, bot: &Me, addressed: bool) -> Sender {
    let user = message.from.as_ref().map_or(0, |user| user.id);
    Sender {
        user,
        chat: message.chat.id,
        topic: thread(message, bot),
        private: message.chat.kind == "private",
        addressed,
        bot: message.from.as_ref().is_some_and(|user| user.is_bot),
        impersonal: message.from.is_none() || message.sender_chat.is_some() || SERVICE_ACCOUNTS.contains(&user),
    }
}

fn has_no_words(message: &Message) -> bool {
    message.text.is_none() && message.caption.is_none()
}

fn is_service(body: &RawValue) -> bool {
    let fields: RawFields<'_> = serde_json::from_str(body.get()).unwrap_or_default();
    SERVICE_FIELDS.iter().any(|name| fields.contains_key(*name))
}

/// A topic. Messages of a forum's general topic carry no `is_topic_message`, replies in plain groups carry a thread id that
/// is none, and private chats have topics only where the bot has them switched on.
fn thread(message: &Message, bot: &Me) -> Option<i64> {
    let private = message.chat.kind == "private";
    match message.message_thread_id.filter(|_| message.is_topic_message) {
        Some(topic) => Some(topic).filter(|_| !private || bot.has_topics_enabled),
        None => message.chat.is_forum.then_some(GENERAL_TOPIC).filter(|_| !private),
    }
}

/// The general topic has no suffix, so that a group keeps its conversation when topics are switched on.
fn session(message: &Message, bot: &Me) -> SessionKey {
    let topic = thread(message, bot).filter(|topic| *topic != GENERAL_TOPIC);
    let topic = topic.map(|topic| format!(":topic:{topic}")).unwrap_or_default();
    let kind = if message.chat.kind == "private" { "dm" } else { "group" };
    SessionKey::new(format!("tg:{}:{kind}:{}{topic}", bot.id, message.chat.id))
}

/// First and last name, as they may be shown; the id of somebody whose name cannot be seen.
fn name(user: &User) -> String {
    let name = plain::label(&format!("{} {}", user.first_name, user.last_name.as_deref().unwrap_or_default()));
    if name.is_empty() { format!("user {}", user.id) } else { name }
}

/// Tells a reused update id from a repeat: a hash of what identifies the event. `None` if those fields are unreadable.
fn fingerprint(kind: &str, body: &RawValue) -> Option<String> {
    let marks: Marks<'_> = match serde_json::from_str(body.get()) {
        Ok(marks) => marks,
        // A kind that is not used may spell the same names differently; then all of it identifies it.
        Err(_) if !matches!(kind, "message" | "edited_message") => return Some(digest(body.get())),
        Err(_) => return None,
    };
    let number = |value: Option<i64>| value.map(|value| value.to_string()).unwrap_or_default();
    let chat = number(marks.chat.map(|chat| chat.id));
    let id = marks.id.map(RawValue::get).unwrap_or_default();
    let (message, edit, date) = (number(marks.message_id), number(marks.edit_date), number(marks.date));
    Some(digest(&format!("{kind}\n{chat}\n{message}\n{edit}\n{id}\n{date}")))
}

/// The first eight bytes of the SHA-256 of `text`, as 16 hexadecimal digits.
fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
