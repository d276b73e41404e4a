//! From one element of `getUpdates` to the facts that the runtime judges.
//!
//! Every update becomes exactly one [`Inbound`], whatever is in it: an unreadable one is `Malformed` and an unused kind
//! `Ignored`, so that one odd update never holds up the others. Nothing here decides who may speak.

mod content;
mod gating;

pub(super) use gating::Mentions;

use super::wire::{
    Callback, Marks, Me, Membership, Message, RawFields, Reaction, SERVICE_FIELDS, UPDATE_KINDS, User,
};
use blufio_core::access::Sender;
use blufio_core::ids::{ChannelName, SessionKey};
use blufio_core::limits::UPDATE_BYTES_MAX;
use blufio_core::port::{Inbound, InboundKind};
use blufio_core::record::{Route, Shared};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// Accounts in whose name Telegram itself, anonymous administrators and channels write.
const SERVICE_ACCOUNTS: [i64; 3] = [777_000, 1_087_968_824, 136_817_688];
/// The thread id of a forum's general topic, whose messages name none.
const GENERAL_TOPIC: i64 = 1;
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
            if let Some(migrated) = migration(&message) {
                return Some(migrated);
            }
            if has_no_words(&message) && is_service(body) {
                return Some(InboundKind::Ignored("service_message"));
            }
            let addressed = gating::is_addressed(&message, bot, mentions);
            Some(if kind == "message" { said(&message, body, bot, addressed) } else { changed(&message, bot, addressed) })
        }
        "callback_query" => Some(pressed(serde_json::from_str(body_text).ok()?)),
        "message_reaction" => Some(reacted(serde_json::from_str(body_text).ok()?)),
        "my_chat_member" => Some(membership(&serde_json::from_str(body_text).ok()?)),
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

fn changed(message: &Message, bot: &Me, addressed: bool) -> InboundKind {
    InboundKind::Edited {
        sender: sender(message, bot, addressed),
        session: session(message, bot),
        message: message.message_id,
        text: content::words(message),
    }
}

/// A press without a message (of one sent by other means) has no chat, so it is refused; but it is answered.
fn pressed(callback: Callback) -> InboundKind {
    let Callback { id, from, message, data } = callback;
    let chat = message.as_ref().map(|message| &message.chat);
    let sender = Sender {
        user: from.id,
        chat: chat.map_or(0, |chat| chat.id),
        topic: None,
        private: chat.is_some_and(|chat| chat.kind == "private"),
        addressed: true,
        bot: from.is_bot,
        impersonal: SERVICE_ACCOUNTS.contains(&from.id),
    };
    InboundKind::Pressed { sender, press: id, message: message.map_or(0, |message| message.message_id), data }
}

fn reacted(reaction: Reaction) -> InboundKind {
    let user = reaction.user.as_ref();
    let sender = Sender {
        user: user.map_or(0, |user| user.id),
        chat: reaction.chat.id,
        topic: None,
        private: reaction.chat.kind == "private",
        addressed: false,
        bot: user.is_some_and(|user| user.is_bot),
        impersonal: user.is_none_or(|user| SERVICE_ACCOUNTS.contains(&user.id)),
    };
    let emoji = reaction.new_reaction.first().map_or(String::new(), |first| {
        first.get("emoji").and_then(|emoji| emoji.as_str()).map_or("a custom emoji", |emoji| emoji).to_owned()
    });
    InboundKind::Reacted { sender, name: user.map(name).unwrap_or_default(), message: reaction.message_id, emoji }
}

fn membership(change: &Membership) -> InboundKind {
    let private = change.chat.kind == "private";
    let closed = match (change.new_chat_member.status.as_str(), private) {
        ("kicked", true) => Some("the bot was blocked by the user"),
        ("kicked" | "left", _) => Some("the bot was removed from the chat"),
        ("restricted", _) if !change.new_chat_member.is_member => Some("the bot was removed from the chat"),
        _ => None,
    };
    InboundKind::Membership { chat: change.chat.id, closed }
}

/// Both of the service messages that tell of an upgrade: the one in the old group and the one in the new.
fn migration(message: &Message) -> Option<InboundKind> {
    let here = message.chat.id;
    match (message.migrate_to_chat_id, message.migrate_from_chat_id) {
        (Some(new), _) => Some(InboundKind::Migrated { old: here, new }),
        (None, Some(old)) => Some(InboundKind::Migrated { old, new: here }),
        (None, None) => None,
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

/// First and last name, as they may be shown.
fn name(user: &User) -> String {
    let whole = format!("{} {}", user.first_name, user.last_name.as_deref().unwrap_or_default());
    content::label(&whole)
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

#[cfg(test)]
mod tests {
    use super::*;
    use blufio_core::content::Content;

    fn read_text(text: &str) -> Inbound {
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        let me = |topics| Me {
            id: 42,
            username: Some("blufio_bot".to_owned()),
            has_topics_enabled: topics,
            can_read_all_group_messages: false,
        };
        read(&raw, &me(text.contains("with topics")), &Mentions::new(&["^hey bot".to_owned()]))
    }

    fn message(fields: &str) -> String {
        format!(
            r#"{{"update_id":7,"message":{{"message_id":3,"date":1,"from":{{"id":5,"is_bot":false,"first_name":"Ann","last_name":"B"}},"chat":{{"id":5,"type":"private"}}{fields}}}}}"#
        )
    }

    fn text_of(fields: &str) -> String {
        match read_text(&message(fields)).kind {
            InboundKind::Message { content, .. } => content.text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_private_message_becomes_facts() {
        let inbound = read_text(&message(r#","text":"hi""#));
        assert_eq!(inbound.update, 7);
        assert_eq!(inbound.fingerprint.len(), 16);
        let InboundKind::Message { sender, name, route, session, content, album, addressee } = inbound.kind else {
            panic!()
        };
        let expect =
            Sender { user: 5, chat: 5, topic: None, private: true, addressed: true, bot: false, impersonal: false };
        assert_eq!(sender, expect);
        assert_eq!((name.as_str(), session.as_str(), album), ("Ann B", "tg:42:dm:5", None));
        assert_eq!(content, Content::words("hi"));
        let expect =
            Route { channel: ChannelName::new("telegram"), account: 42, chat: 5, thread: None, reply_to: Some(3) };
        assert_eq!(route, expect);
        assert_eq!(addressee.as_deref(), Some("blufio_bot"));
    }

    #[test]
    fn words_come_from_text_or_caption_and_media_without_words_is_an_empty_text() {
        assert_eq!(text_of(r#","text":"b","entities":[{"type":"bold","offset":0,"length":1}]"#), "**b**");
        assert_eq!(text_of(r#","photo":[],"caption":"look""#), "look");
        assert_eq!(text_of(r#","sticker":{}"#), "[a sticker]");
        assert_eq!(text_of(r#","something_of_2030":{}"#), "");
    }

    #[test]
    fn what_is_not_said_is_ignored() {
        let kind = |text: &str| label(&read_text(text).kind);
        assert_eq!(kind(&message(r#","pinned_message":{}"#)), "service_message");
        assert_eq!(kind(r#"{"update_id":7,"callback_query":{"id":"1"}}"#), "callback_query");
        assert_eq!(kind(r#"{"update_id":7,"poll":{"id":1,"chat":"odd"}}"#), "poll");
        assert_eq!(kind(r#"{"update_id":7,"something_of_2030":[1]}"#), "unknown");
    }

    #[test]
    fn the_unreadable_is_malformed_and_keeps_its_id() {
        for text in [
            r#"{"update_id":7}"#,
            r#"{"update_id":7,"message":5}"#,
            r#"{"update_id":7,"message":{"message_id":1}}"#,
            r#"{"update_id":7,"message":{"message_id":1.5,"chat":{"id":1}}}"#,
            r#"{"update_id":7,"message":{"message_id":1,"chat":{"id":1},"text":"\ud800"}}"#,
        ] {
            let inbound = read_text(text);
            assert_eq!((inbound.update, label(&inbound.kind)), (7, "malformed"), "{text}");
            assert_eq!(&inbound.raw[..], text.as_bytes());
        }
        for text in ["[]", "null", r#"{"update_id":"7","message":{}}"#, r#"{"update_id":-3,"poll":{}}"#] {
            let inbound = read_text(text);
            assert_eq!((inbound.update, label(&inbound.kind)), (NO_UPDATE_ID, "malformed"), "{text}");
        }
    }

    #[test]
    fn a_too_large_update_keeps_its_id_and_loses_its_body() {
        let inbound = read_text(&message(&format!(r#","text":"{}""#, "x".repeat(UPDATE_BYTES_MAX))));
        assert_eq!((inbound.update, label(&inbound.kind), inbound.raw.len()), (7, "malformed", 0));
    }

    #[test]
    fn depth_does_not_overflow_the_stack() {
        let deep = message(&format!(r#","x":{}{}"#, "[".repeat(50_000), "]".repeat(50_000)));
        assert!(matches!(read_text(&deep).kind, InboundKind::Message { .. } | InboundKind::Malformed));
    }

    #[test]
    fn impersonal_senders_bots_and_groups_are_facts() {
        let sender_of = |update: &str| match read_text(update).kind {
            InboundKind::Message { sender, session, .. } => (sender, session.as_str().to_owned()),
            other => panic!("{other:?}"),
        };
        assert!(sender_of(&message(r#","text":"x","sender_chat":{"id":-1}"#)).0.impersonal);
        assert!(
            sender_of(&message(r#","text":"x""#).replace(r#""id":5,"is_bot":false"#, r#""id":777000"#)).0.impersonal
        );
        assert!(sender_of(&message(r#","text":"x""#).replace("false", "true")).0.bot);
        let group = message(r#","text":"x","message_thread_id":9,"is_topic_message":true"#)
            .replace(r#""id":5,"type":"private""#, r#""id":-1001234567890123,"type":"supergroup""#);
        let (sender, session) = sender_of(&group);
        assert!(!sender.private);
        assert_eq!(session, "tg:42:group:-1001234567890123:topic:9");
    }

    #[test]
    fn the_fingerprint_tells_a_reused_id_from_a_repeat() {
        let first = read_text(&message(r#","text":"hi""#)).fingerprint;
        assert_eq!(first, read_text(&message(r#","text":"hi""#)).fingerprint);
        let other = message(r#","text":"hi""#).replace(r#""message_id":3"#, r#""message_id":4"#);
        assert_ne!(first, read_text(&other).fingerprint);
        let edited = message(r#","text":"hi","edit_date":9"#).replace("\"message\"", "\"edited_message\"");
        assert_ne!(first, read_text(&edited).fingerprint);
    }
}
