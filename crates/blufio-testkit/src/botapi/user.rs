//! The other side of the chats: what people write, edit, press and react with.
//!
//! Refuses to know files (`files.rs`), other contents than text (`content.rs`) and what happens to whole chats
//! (`chats.rs`).

use serde_json::{Map, Value, json};

use super::html::{Entity, utf16_len};
use super::privacy;
use super::render::ANONYMOUS_ADMIN;
use super::state::{ChatKind, Message, Pressed, State, Topic, unix_now};

/// Topic "General" of a forum, whose messages do not name it.
pub(super) const GENERAL_TOPIC: i64 = 1;

/// A message of a user, by itself a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Post {
    /// Chat; a private chat has the id of its user.
    pub chat: i64,
    /// Sender.
    pub user: i64,
    /// Text, or caption of whatever `fields` hold; commands and mentions in it become entities.
    pub text: String,
    /// Topic of a forum, or of a private chat with topics; 1 is "General".
    pub thread: Option<i64>,
    /// Message that is answered.
    pub reply_to: Option<i64>,
    /// Further fields of the Message object, which win over the generated ones.
    pub fields: Map<String, Value>,
}

impl Post {
    /// A plain message.
    pub fn new(chat: i64, user: i64, text: &str) -> Self {
        Self { chat, user, text: text.to_owned(), thread: None, reply_to: None, fields: Map::new() }
    }

    /// Written in a topic.
    pub fn in_topic(self, thread: i64) -> Self {
        Self { thread: Some(thread), ..self }
    }

    /// Answers a message.
    pub fn replying_to(self, message_id: i64) -> Self {
        Self { reply_to: Some(message_id), ..self }
    }

    /// Answers a part of a message, which should occur in it.
    pub fn quoting(self, message_id: i64, part: &str) -> Self {
        self.replying_to(message_id).field("quote", json!({"text": part, "position": 0, "is_manual": true}))
    }

    /// With another caption or text.
    pub fn saying(self, text: &str) -> Self {
        Self { text: text.to_owned(), ..self }
    }

    /// With a field of the Message object, legal or not.
    pub fn field(mut self, name: &str, value: Value) -> Self {
        self.fields.insert(name.to_owned(), value);
        self
    }
}

impl State {
    /// Sends a message and returns the update id, 0 when privacy mode keeps it from the bot. An unknown chat is opened as
    /// private; a user who had blocked the bot unblocks it first, as the apps demand. A topic that is unknown is opened.
    pub fn post(&mut self, post: Post) -> i64 {
        self.reach(post.chat);
        let mut message = self.user_message(post.user, &post.text);
        message.thread = self.reach_topic(post.chat, post.user, post.thread);
        message.reply_to = post.reply_to;
        message.fields = post.fields;
        let chat = &self.chats[&post.chat];
        if let (Some(quote), Some(replied)) =
            (message.fields.get_mut("quote"), post.reply_to.and_then(|id| chat.messages.get(&id)))
            && let Some(at) = quote["text"].as_str().and_then(|part| replied.text.find(part))
        {
            quote["position"] = json!(utf16_len(&replied.text[..at]));
        }
        if post.user == ANONYMOUS_ADMIN && !message.fields.contains_key("sender_chat") {
            message.fields.insert("sender_chat".to_owned(), chat.json());
        }
        self.publish(post.chat, message)
    }

    /// Changes the text of a user's message. `None` when there is no such message or the bot does not get such edits.
    pub fn edit_post(&mut self, chat: i64, message_id: i64, text: &str) -> Option<i64> {
        let entities = detected(text);
        let message = self.chats.get_mut(&chat)?.messages.get_mut(&message_id)?;
        message.earlier.push(std::mem::replace(&mut message.text, text.to_owned()));
        text.clone_into(&mut message.sent);
        message.entities = entities;
        message.edit_date = Some(unix_now());
        let known = &self.chats[&chat];
        let body = self.message_json(known, &known.messages[&message_id]);
        let wanted = self.wants("edited_message") && !privacy::hides(self, known, &body);
        wanted.then(|| self.push_update("edited_message", &body))
    }

    /// Deletes a user's message, of which the bot is not told. False when there is no such message.
    pub fn delete_post(&mut self, chat: i64, message_id: i64) -> bool {
        self.chats.get_mut(&chat).is_some_and(|chat| chat.messages.remove(&message_id).is_some())
    }

    /// Presses a button of a message. `None` when the message is unknown or the bot does not want presses.
    pub fn press(&mut self, chat: i64, message_id: i64, user: i64, data: &str) -> Option<i64> {
        let known = self.chats.get(&chat)?;
        let message = self.message_json(known, known.messages.get(&message_id)?);
        self.pressed(chat, user, data, &message)
    }

    /// Presses a button of a message that the server no longer shows to the bot (`date` 0), known or not. `None` when
    /// the chat is unknown or the bot does not want presses.
    pub fn press_inaccessible(&mut self, chat: i64, message_id: i64, user: i64, data: &str) -> Option<i64> {
        let message = json!({"chat": self.chats.get(&chat)?.json(), "message_id": message_id, "date": 0});
        self.pressed(chat, user, data, &message)
    }

    fn pressed(&mut self, chat: i64, user: i64, data: &str, message: &Value) -> Option<i64> {
        if !self.wants("callback_query") {
            return None;
        }
        let id = format!("callback-{}", self.queue.next_id);
        let body = json!({
            "id": id, "from": self.user_json(user), "message": message, "chat_instance": chat.to_string(), "data": data
        });
        self.callbacks.insert(id, Pressed { user, data: data.to_owned(), at_ms: self.now_ms() });
        Some(self.push_update("callback_query", &body))
    }

    /// Makes all presses too old to be answered.
    pub fn expire_callbacks(&mut self) {
        self.callbacks.clear();
    }

    /// Puts an emoji on a message in place of the user's earlier one; an empty one takes that away. `None` when the chat
    /// is unknown or the bot does not get reactions: it has to ask for them, and in privacy mode there are none.
    pub fn react(&mut self, chat: i64, message_id: i64, user: i64, emoji: &str) -> Option<i64> {
        let known = self.chats.get_mut(&chat)?;
        let hidden = self.config.privacy_mode && known.kind != ChatKind::Private;
        let earlier = known.messages.get_mut(&message_id).and_then(|message| {
            if emoji.is_empty() {
                message.user_reactions.remove(&user)
            } else {
                message.user_reactions.insert(user, emoji.to_owned())
            }
        });
        let list = |emoji: &str| match emoji {
            "" => json!([]),
            emoji => json!([{"type": "emoji", "emoji": emoji}]),
        };
        let body = json!({
            "chat": self.chats[&chat].json(), "message_id": message_id, "user": self.user_json(user),
            "date": unix_now(), "old_reaction": list(earlier.as_deref().unwrap_or_default()),
            "new_reaction": list(emoji)
        });
        (!hidden && self.wants("message_reaction")).then(|| self.push_update("message_reaction", &body))
    }

    /// Queues any update, legal or not, and returns its id. Without `update_id` it gets the next one.
    pub fn push_raw(&mut self, update: &Value) -> i64 {
        let id = update["update_id"].as_i64().unwrap_or(self.queue.next_id);
        let mut rest = update.as_object().cloned().unwrap_or_default();
        rest.remove("update_id");
        let fields: String = rest.iter().map(|(key, value)| format!(",{}:{value}", json!(key))).collect();
        self.queue.push(id, format!("{{\"update_id\":{id}{fields}}}").into());
        id
    }

    /// Gives a user other fields of the User object than the generated ones, for example a hostile `first_name`.
    pub fn describe_user(&mut self, user: i64, fields: Map<String, Value>) {
        self.people.entry(user).or_default().extend(fields);
    }

    /// Makes a user id another bot.
    pub fn add_bot(&mut self, user: i64, username: &str) {
        let fields = [("is_bot", json!(true)), ("first_name", json!(username)), ("username", json!(username))];
        self.describe_user(user, fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    }

    /// Opens a private chat that is unknown, and unblocks the bot.
    pub(super) fn reach(&mut self, chat: i64) {
        self.open_private(chat);
        let known = &self.chats[&chat];
        if known.closed.is_some() && known.kind == ChatKind::Private {
            self.set_blocked(chat, false);
        }
    }

    /// The topic of a new message: "General" is none, an unknown one is opened.
    pub(super) fn reach_topic(&mut self, chat: i64, user: i64, thread: Option<i64>) -> Option<i64> {
        let chat = self.chats.get_mut(&chat)?;
        let forum = chat.kind == ChatKind::Supergroup { forum: true };
        let thread = thread.filter(|thread| !(forum && *thread == GENERAL_TOPIC))?;
        if forum || (chat.kind == ChatKind::Private && self.config.private_topics) {
            let topic = || Topic { name: format!("Topic {thread}"), creator: user, closed: false };
            chat.topics.entry(thread).or_insert_with(topic);
        }
        Some(thread)
    }

    pub(super) fn user_message(&self, user: i64, text: &str) -> Message {
        Message {
            from: user,
            date: unix_now(),
            text: text.to_owned(),
            sent: text.to_owned(),
            entities: detected(text),
            ..Message::default()
        }
    }

    /// Stores a message and tells the bot of it, if it may see it; returns the update id or 0.
    pub(super) fn publish(&mut self, chat: i64, message: Message) -> i64 {
        let id = self.add_message(chat, message);
        self.announce(chat, id)
    }

    /// Tells the bot of a stored message, if it may see it; returns the update id or 0.
    pub(super) fn announce(&mut self, chat: i64, id: i64) -> i64 {
        let known = &self.chats[&chat];
        let body = self.message_json(known, &known.messages[&id]);
        if privacy::hides(self, known, &body) { 0 } else { self.push_update("message", &body) }
    }
}

/// The entities that the server finds in plain text, as far as bots react to them: commands and mentions.
fn detected(text: &str) -> Vec<Entity> {
    let mut entities = Vec::new();
    let mut begin = 0;
    for word in text.split_inclusive(char::is_whitespace) {
        let trimmed = word.trim_end();
        let name_end = |from: usize| {
            let legal = |symbol: char| symbol.is_ascii_alphanumeric() || symbol == '_';
            trimmed[from..].find(|symbol| !legal(symbol)).map_or(trimmed.len(), |at| from + at)
        };
        let (kind, end) = match trimmed.as_bytes().first() {
            Some(b'/') => {
                let end = name_end(1);
                let at_bot = trimmed[end..].starts_with('@') && name_end(end + 1) > end + 1;
                ("bot_command", if at_bot { name_end(end + 1) } else { end })
            }
            Some(b'@') => ("mention", name_end(1)),
            _ => ("", 0),
        };
        if end > 1 {
            let (offset, length) = (utf16_len(&text[..begin]), utf16_len(&trimmed[..end]));
            entities.push(Entity { kind, offset, length, argument: None });
        }
        begin += word.len();
    }
    entities
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_mentions_are_found() {
        let found = |text| -> Vec<(&'static str, usize, usize)> {
            detected(text).into_iter().map(|entity| (entity.kind, entity.offset, entity.length)).collect()
        };
        assert_eq!(found("/start abc"), [("bot_command", 0, 6)]);
        assert_eq!(found("😀 @blufio_bot, /stop@blufio_bot"), [("mention", 3, 11), ("bot_command", 16, 16)]);
        assert_eq!(found("a/b x@y / @"), []);
    }
}
