//! The other side of the chats: what people do, and what happens to the bot and its chats from outside.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::html::{Entity, utf16_len};
use super::state::{Chat, ChatKind, Message, State, unix_now};

/// A text message of a user.
#[derive(Debug, Clone, PartialEq)]
pub struct Post {
    /// Chat; a private chat has the id of its user.
    pub chat: i64,
    /// Sender.
    pub user: i64,
    /// Text; commands and mentions in it become entities.
    pub text: String,
    /// Topic of a forum.
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
}

/// What kind of file a user sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A picture, offered in two sizes.
    Photo,
    /// Any file.
    Document,
    /// A voice message.
    Voice,
}

/// A file that a user sends in a private chat.
#[derive(Debug, Clone, PartialEq)]
pub struct PostedFile {
    /// Sender and chat.
    pub user: i64,
    /// How it is sent.
    pub kind: FileKind,
    /// File name (documents only).
    pub name: String,
    /// Media type (documents and voice).
    pub media_type: String,
    /// Content.
    pub bytes: Bytes,
    /// Caption, may be empty.
    pub caption: String,
    /// `media_group_id`, for albums.
    pub group: Option<String>,
}

impl State {
    /// Makes the private chat of a user known, as if `/start` had been pressed long ago.
    pub fn open_private(&mut self, user: i64) {
        self.chats.entry(user).or_insert_with(|| Chat::new(user, ChatKind::Private, &format!("User {user}")));
    }

    /// Adds a group with the bot in it.
    pub fn add_group(&mut self, chat: i64, title: &str, kind: ChatKind, members: &[i64]) {
        let mut group = Chat::new(chat, kind, title);
        group.members = members.iter().copied().collect();
        self.chats.insert(chat, group);
    }

    /// Adds a topic to a chat.
    pub fn add_topic(&mut self, chat: i64, thread: i64) {
        if let Some(chat) = self.chats.get_mut(&chat) {
            chat.topics.insert(thread);
        }
    }

    /// Deletes a topic; sends to it then fail with `message thread not found`.
    pub fn delete_topic(&mut self, chat: i64, thread: i64) {
        if let Some(chat) = self.chats.get_mut(&chat) {
            chat.topics.remove(&thread);
        }
    }

    /// Sends a message and returns the update id. An unknown chat is opened as private; a user who had blocked the bot
    /// unblocks it first, as the apps demand.
    pub fn post(&mut self, post: Post) -> i64 {
        self.reach(post.chat);
        let mut message = self.user_message(post.user, &post.text);
        message.thread = post.thread;
        message.reply_to = post.reply_to;
        self.publish(post.chat, message, post.fields)
    }

    /// Sends a file in the private chat of its user and returns the update id.
    pub fn post_file(&mut self, file: PostedFile) -> i64 {
        self.reach(file.user);
        let size = file.bytes.len();
        let name = match file.kind {
            FileKind::Photo => "photo.jpg",
            FileKind::Document => file.name.as_str(),
            FileKind::Voice => "voice.oga",
        };
        let id = self.store_file(name, file.bytes);
        let unique = format!("u-{id}");
        let media = match file.kind {
            FileKind::Photo => {
                let small = self.store_file("small.jpg", Bytes::from_static(b"small"));
                let variant = |id: &str, side: u32, bytes: usize| json!({"file_id": id, "file_unique_id": format!("u-{id}"), "width": side, "height": side, "file_size": bytes});
                ("photo", json!([variant(&small, 90, 5), variant(&id, 1280, size)]))
            }
            FileKind::Document => (
                "document",
                json!({"file_id": id, "file_unique_id": unique, "file_name": file.name, "mime_type": file.media_type, "file_size": size}),
            ),
            FileKind::Voice => (
                "voice",
                json!({"file_id": id, "file_unique_id": unique, "duration": 3, "mime_type": file.media_type, "file_size": size}),
            ),
        };
        let mut message = self.user_message(file.user, &file.caption);
        message.media = Some(media);
        let group = file.group.map(|group| ("media_group_id".to_owned(), json!(group)));
        self.publish(file.user, message, group.into_iter().collect())
    }

    /// Changes the text of a user's message. `None` when there is no such message or the bot does not want edits.
    pub fn edit_post(&mut self, chat: i64, message_id: i64, text: &str) -> Option<i64> {
        let entities = detected(text);
        let message = self.chats.get_mut(&chat)?.messages.get_mut(&message_id)?;
        message.earlier.push(std::mem::replace(&mut message.text, text.to_owned()));
        text.clone_into(&mut message.sent);
        message.entities = entities;
        message.edit_date = Some(unix_now());
        let body = {
            let chat = &self.chats[&chat];
            self.message_json(chat, &chat.messages[&message_id])
        };
        self.wants("edited_message").then(|| self.push_update("edited_message", &body))
    }

    /// Presses a button of a message. `None` when the message is unknown or the bot does not want presses.
    pub fn press(&mut self, chat: i64, message_id: i64, user: i64, data: &str) -> Option<i64> {
        let known = self.chats.get(&chat)?;
        let message = self.message_json(known, known.messages.get(&message_id)?);
        if !self.wants("callback_query") {
            return None;
        }
        let id = format!("callback-{}", self.queue.next_id);
        let body = json!({
            "id": id, "from": self.user_json(user), "message": message, "chat_instance": chat.to_string(), "data": data
        });
        self.callbacks.insert(id);
        Some(self.push_update("callback_query", &body))
    }

    /// Puts an emoji on a message. `None` when the chat is unknown or the bot does not want reactions.
    pub fn react(&mut self, chat: i64, message_id: i64, user: i64, emoji: &str) -> Option<i64> {
        let known = self.chats.get(&chat)?;
        let body = json!({
            "chat": known.json(), "message_id": message_id, "user": self.user_json(user), "date": unix_now(),
            "old_reaction": [], "new_reaction": [{"type": "emoji", "emoji": emoji}]
        });
        self.wants("message_reaction").then(|| self.push_update("message_reaction", &body))
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

    /// Blocks the bot in a chat (403 from then on), or lets it in again. The bot is told by `my_chat_member`.
    pub fn set_blocked(&mut self, chat: i64, blocked: bool) {
        let Some(known) = self.chats.get_mut(&chat) else { return };
        let reason = match known.kind {
            ChatKind::Private => "bot was blocked by the user",
            ChatKind::Group => "bot was kicked from the group chat",
            ChatKind::Supergroup { .. } => "bot was kicked from the supergroup chat",
        };
        known.closed = blocked.then_some(reason);
        let from = if known.kind == ChatKind::Private { chat } else { 1 };
        let (old, new) = if blocked { ("member", "kicked") } else { ("kicked", "member") };
        let bot = self.user_json(self.config.bot_id);
        let member = |status: &str| json!({"status": status, "user": bot, "until_date": 0});
        let body = json!({
            "chat": self.chats[&chat].json(), "from": self.user_json(from), "date": unix_now(),
            "old_chat_member": member(old), "new_chat_member": member(new)
        });
        if self.wants("my_chat_member") {
            self.push_update("my_chat_member", &body);
        }
    }

    /// Upgrades a group to a supergroup with another id, with the two service messages.
    pub fn migrate(&mut self, old: i64, new: i64) {
        let Some(group) = self.chats.get_mut(&old) else { return };
        group.migrated_to = Some(new);
        let (title, members): (String, BTreeSet<i64>) = (group.title.clone(), group.members.clone());
        let author = members.first().copied().unwrap_or(1);
        let members: Vec<i64> = members.into_iter().collect();
        self.add_group(new, &title, ChatKind::Supergroup { forum: false }, &members);
        for (chat, key, other) in [(old, "migrate_to_chat_id", new), (new, "migrate_from_chat_id", old)] {
            let message = self.user_message(author, "");
            self.publish(chat, message, Map::from_iter([(key.to_owned(), json!(other))]));
        }
    }

    /// Makes all file links and ids unknown.
    pub fn expire_files(&mut self) {
        self.files.clear();
    }

    fn reach(&mut self, chat: i64) {
        self.open_private(chat);
        let known = &self.chats[&chat];
        if known.closed.is_some() && known.kind == ChatKind::Private {
            self.set_blocked(chat, false);
        }
    }

    fn user_message(&self, user: i64, text: &str) -> Message {
        Message {
            id: 0,
            from: user,
            date: unix_now(),
            edit_date: None,
            thread: None,
            text: text.to_owned(),
            sent: text.to_owned(),
            entities: detected(text),
            earlier: Vec::new(),
            markup: None,
            media: None,
            reply_to: None,
            silent: false,
            reactions: Vec::new(),
        }
    }

    fn publish(&mut self, chat: i64, message: Message, fields: Map<String, Value>) -> i64 {
        let id = self.add_message(chat, message);
        let known = &self.chats[&chat];
        let mut body = self.message_json(known, &known.messages[&id]);
        if let Value::Object(object) = &mut body {
            object.extend(fields);
        }
        self.push_update("message", &body)
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
