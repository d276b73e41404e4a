//! The objects of the Bot API that stand for what the server remembers: users, chats, messages.
//!
//! Refuses to know why they are sent.

use serde_json::{Value, json};

use super::html::Entity;
use super::inspect::VisibleMessage;
use super::state::{Chat, ChatKind, Message, State};

/// Sender of the messages of anonymous administrators.
pub const ANONYMOUS_ADMIN: i64 = 1_087_968_824;
/// Sender of messages in the name of a channel.
pub const CHANNEL_SENDER: i64 = 136_817_688;
/// Sender of service notes and of channel posts that are forwarded into a discussion group.
pub const SERVICE_SENDER: i64 = 777_000;
/// Colour of a topic's icon, one of the six that the server allows.
const TOPIC_COLOUR: u32 = 7_322_096;
/// Fields whose messages have a caption instead of a text.
const CAPTIONED: [&str; 8] = ["animation", "audio", "document", "live_photo", "paid_media", "photo", "video", "voice"];

impl Chat {
    pub(super) fn json(&self) -> Value {
        match self.kind {
            ChatKind::Private => json!({"id": self.id, "type": "private", "first_name": self.title}),
            ChatKind::Group => json!({"id": self.id, "type": "group", "title": self.title}),
            ChatKind::Supergroup { forum: false } => json!({"id": self.id, "type": "supergroup", "title": self.title}),
            ChatKind::Supergroup { forum: true } => {
                json!({"id": self.id, "type": "supergroup", "title": self.title, "is_forum": true})
            }
        }
    }

    /// Whether messages of this chat lie in topics.
    fn has_topics(&self) -> bool {
        matches!(self.kind, ChatKind::Private | ChatKind::Supergroup { forum: true })
    }

    /// First message of the chain of replies that a message of a supergroup belongs to. The server numbers such threads
    /// in groups without topics too, without `is_topic_message`.
    fn reply_thread(&self, message: &Message) -> Option<i64> {
        if self.kind != (ChatKind::Supergroup { forum: false }) {
            return None;
        }
        let mut root = message.reply_to.filter(|id| self.messages.contains_key(id))?;
        while let Some(earlier) = self.messages.get(&root).and_then(|replied| replied.reply_to)
            && earlier < root
        {
            root = earlier;
        }
        Some(root)
    }
}

impl State {
    pub(super) fn user_json(&self, user: i64) -> Value {
        let mut value = if user == self.config.bot_id {
            json!({"id": user, "is_bot": true, "first_name": "Blufio", "username": self.config.username})
        } else {
            match user {
                ANONYMOUS_ADMIN => {
                    json!({"id": user, "is_bot": true, "first_name": "Group", "username": "GroupAnonymousBot"})
                }
                CHANNEL_SENDER => {
                    json!({"id": user, "is_bot": true, "first_name": "Channel", "username": "Channel_Bot"})
                }
                SERVICE_SENDER => json!({"id": user, "is_bot": false, "first_name": "Telegram"}),
                _ => {
                    json!({"id": user, "is_bot": false, "first_name": format!("User {user}"), "language_code": "en"})
                }
            }
        };
        if let (Value::Object(object), Some(fields)) = (&mut value, self.people.get(&user)) {
            object.extend(fields.clone());
        }
        value
    }

    pub(super) fn message_json(&self, chat: &Chat, message: &Message) -> Value {
        let mut value = self.flat_json(chat, message);
        let named = message.reply_to.and_then(|id| chat.messages.get(&id));
        if let Some(replied) = named {
            // The replied message comes whole, but for the message that it answers itself.
            value["reply_to_message"] = self.flat_json(chat, replied);
        } else if let Some(thread) = message.thread
            && chat.kind == (ChatKind::Supergroup { forum: true })
            && thread != message.id
            && !message.fields.contains_key("reply_to_message")
        {
            // In a topic, whatever answers nothing answers the note that opened the topic.
            value["reply_to_message"] = self.topic_root(chat, thread);
        }
        value
    }

    /// A message without the one that it answers.
    fn flat_json(&self, chat: &Chat, message: &Message) -> Value {
        let mut value = json!({
            "message_id": message.id,
            "from": self.user_json(message.from),
            "chat": chat.json(),
            "date": message.date,
        });
        let entities: Vec<Value> = message.entities.iter().map(Entity::json).collect();
        let captioned = message.media.is_some() || CAPTIONED.iter().any(|key| message.fields.contains_key(*key));
        let (text, text_entities) = if captioned { ("caption", "caption_entities") } else { ("text", "entities") };
        if !message.text.is_empty() {
            value[text] = json!(message.text);
        }
        if !entities.is_empty() {
            value[text_entities] = json!(entities);
        }
        if let Some((kind, media)) = &message.media {
            value[*kind] = media.clone();
        }
        if let Some(date) = message.edit_date {
            value["edit_date"] = json!(date);
        }
        if let Some(thread) = message.thread {
            value["message_thread_id"] = json!(thread);
            if chat.has_topics() {
                value["is_topic_message"] = json!(true);
            }
        } else if let Some(thread) = chat.reply_thread(message) {
            value["message_thread_id"] = json!(thread);
        }
        if let Some(markup) = &message.markup {
            value["reply_markup"] = markup.clone();
        }
        if let Value::Object(object) = &mut value {
            object.extend(message.fields.clone());
        }
        value
    }

    /// The note that opened a topic.
    fn topic_root(&self, chat: &Chat, thread: i64) -> Value {
        if let Some(root) = chat.messages.get(&thread).filter(|root| root.fields.contains_key("forum_topic_created")) {
            return self.flat_json(chat, root);
        }
        let topic = chat.topics.get(&thread);
        json!({
            "message_id": thread,
            "from": self.user_json(topic.map_or(1, |topic| topic.creator)),
            "chat": chat.json(),
            "date": 1,
            "message_thread_id": thread,
            "is_topic_message": true,
            "forum_topic_created": topic_created(topic.map_or("Topic", |topic| topic.name.as_str())),
        })
    }

    pub(super) fn visible(&self, message: &Message) -> VisibleMessage {
        let rows = message.markup.as_ref().and_then(|markup| markup["inline_keyboard"].as_array());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let button = |button: &Value| {
            let target = if button["callback_data"].is_string() { &button["callback_data"] } else { &button["url"] };
            (text(&button["text"]), text(target))
        };
        let row = |row: &Value| row.as_array().map(|row| row.iter().map(button).collect()).unwrap_or_default();
        VisibleMessage {
            message_id: message.id,
            from_bot: message.from == self.config.bot_id,
            text: message.text.clone(),
            html: message.sent.clone(),
            edits: message.earlier.clone(),
            date: message.date,
            thread: message.thread,
            reply_to: message.reply_to,
            buttons: rows.map(|rows| rows.iter().map(row).collect()).unwrap_or_default(),
            media: message.media.as_ref().map(|(kind, media)| media["file_name"].as_str().unwrap_or(kind).to_owned()),
            silent: message.silent,
            reactions: message.reactions.clone(),
        }
    }
}

/// A `ForumTopicCreated`.
pub(super) fn topic_created(name: &str) -> Value {
    json!({"name": name, "icon_color": TOPIC_COLOUR})
}
