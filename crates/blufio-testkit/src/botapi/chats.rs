//! What happens to whole chats: groups, topics, membership, upgrades, floods.
//!
//! Refuses to know single messages but the service notes that go with such events.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::render::topic_created;
use super::state::{Chat, ChatKind, State, Topic, unix_now};

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

    /// Adds a topic to a chat, as if it had been there for long.
    pub fn add_topic(&mut self, chat: i64, thread: i64) {
        if let Some(chat) = self.chats.get_mut(&chat) {
            let creator = chat.members.first().copied().unwrap_or(1);
            chat.topics.insert(thread, Topic { name: format!("Topic {thread}"), creator, closed: false });
        }
    }

    /// A user opens a topic in a forum; returns its number, which is that of the service message about it. `None` when the
    /// chat is unknown.
    pub fn create_topic(&mut self, chat: i64, user: i64, name: &str) -> Option<i64> {
        self.chats.get(&chat)?;
        let mut note = self.user_message(user, "");
        note.fields.insert("forum_topic_created".to_owned(), topic_created(name));
        let thread = self.add_message(chat, note);
        if let Some(chat) = self.chats.get_mut(&chat) {
            chat.topics.insert(thread, Topic { name: name.to_owned(), creator: user, closed: false });
            if let Some(note) = chat.messages.get_mut(&thread) {
                note.thread = Some(thread);
            }
        }
        self.announce(chat, thread);
        Some(thread)
    }

    /// Deletes a topic; sends to it then fail with `message thread not found`. The bot is not told. Messages stay visible
    /// to tests.
    pub fn delete_topic(&mut self, chat: i64, thread: i64) {
        if let Some(chat) = self.chats.get_mut(&chat) {
            chat.topics.remove(&thread);
        }
    }

    /// Closes a topic, so that sends to it fail with `TOPIC_CLOSED`, or opens it again.
    pub fn close_topic(&mut self, chat: i64, thread: i64, closed: bool) {
        if let Some(topic) = self.chats.get_mut(&chat).and_then(|chat| chat.topics.get_mut(&thread)) {
            topic.closed = closed;
        }
    }

    /// Blocks the bot in a private chat or throws it out of a group (403 from then on), or lets it in again. The bot is
    /// told by `my_chat_member`.
    pub fn set_blocked(&mut self, chat: i64, blocked: bool) {
        let Some(known) = self.chats.get_mut(&chat) else { return };
        let reason = match known.kind {
            ChatKind::Private => "bot was blocked by the user",
            ChatKind::Group => "bot was kicked from the group chat",
            ChatKind::Supergroup { .. } => "bot was kicked from the supergroup chat",
        };
        known.closed = blocked.then_some(reason);
        let by = if known.kind == ChatKind::Private { chat } else { 1 };
        let (old, new) = if blocked { ("member", "kicked") } else { ("kicked", "member") };
        self.membership(chat, by, old, new);
    }

    /// A user removes the bot from a group without banning it.
    pub fn remove_bot(&mut self, chat: i64, by: i64) {
        let Some(known) = self.chats.get_mut(&chat) else { return };
        known.closed = Some(match known.kind {
            ChatKind::Supergroup { .. } => "bot is not a member of the supergroup chat",
            ChatKind::Private | ChatKind::Group => "bot is not a member of the group chat",
        });
        self.membership(chat, by, "member", "left");
    }

    /// A user adds the bot to a group, which must exist: `my_chat_member` and the service message.
    pub fn invite_bot(&mut self, chat: i64, by: i64) {
        let Some(known) = self.chats.get_mut(&chat) else { return };
        known.closed = None;
        self.membership(chat, by, "left", "member");
        let mut note = self.user_message(by, "");
        let bot = self.user_json(self.config.bot_id);
        note.fields.insert("new_chat_members".to_owned(), json!([bot]));
        self.publish(chat, note);
    }

    /// The account of a user is gone: 403 `user is deactivated`. The bot is not told.
    pub fn deactivate_user(&mut self, user: i64) {
        if let Some(chat) = self.chats.get_mut(&user) {
            chat.closed = Some("user is deactivated");
        }
    }

    fn membership(&mut self, chat: i64, by: i64, old: &str, new: &str) {
        let bot = self.user_json(self.config.bot_id);
        let member = |status: &str| match status {
            "kicked" => json!({"status": status, "user": bot, "until_date": 0}),
            _ => json!({"status": status, "user": bot}),
        };
        let body = json!({
            "chat": self.chats[&chat].json(), "from": self.user_json(by), "date": unix_now(),
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
            let mut message = self.user_message(author, "");
            message.fields = Map::from_iter([(key.to_owned(), Value::from(other))]);
            self.publish(chat, message);
        }
    }

    /// Answers 429 to sends, edits and drafts for so many seconds, with the time that is left: in one chat, or in all
    /// (`None`). Sends after the first refusal and before its time is up are counted; see [`State::early_sends`].
    pub fn flood(&mut self, chat: Option<i64>, seconds: u64) {
        let until = self.now() + Duration::from_secs(seconds);
        let flood = match chat {
            Some(chat) => self.chats.get_mut(&chat).map(|chat| &mut chat.flood),
            None => Some(&mut self.flood),
        };
        if let Some(flood) = flood {
            flood.until = until;
            flood.told = false;
        }
    }

    /// The refusal of a send while a flood lasts.
    pub(super) fn flooded(&mut self, chat: i64) -> Option<Refusal> {
        let now = self.now();
        let chat = self.chats.get_mut(&chat).map(|chat| &mut chat.flood);
        let flood = [Some(&mut self.flood), chat]
            .into_iter()
            .flatten()
            .filter(|flood| flood.until > now)
            .max_by_key(|flood| flood.until)?;
        if flood.told {
            self.early_sends += 1;
        }
        flood.told = true;
        let left = flood.until - now;
        Some(Refusal::too_many(Some(left.as_secs() + u64::from(left.subsec_nanos() > 0))))
    }

    /// The next message of a chat gets this id: in a supergroup of this chat alone, elsewhere of all other chats.
    pub fn set_next_message_id(&mut self, chat: i64, next: i64) {
        match self.chats.get_mut(&chat) {
            Some(known) if matches!(known.kind, ChatKind::Supergroup { .. }) => known.next_message_id = next,
            _ => self.next_message_id = next,
        }
    }

    /// Changes the largest accepted command menu; a larger one is answered `BOT_COMMANDS_TOO_MUCH`.
    pub fn set_commands_max(&mut self, commands: usize) {
        self.config.commands_max = commands;
    }

    /// Whether groups hide from the bot what is not meant for it.
    pub fn set_privacy_mode(&mut self, on: bool) {
        self.config.privacy_mode = on;
    }

    /// Delivers the updates of the next batch of two or more in another order, decided by `seed`.
    pub fn reorder_next(&mut self, seed: u64) {
        self.reorder = Some(seed);
    }
}
