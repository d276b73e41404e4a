//! What the fake server remembers: chats with their messages, the update queue, the request log.
//!
//! Everything is found by chat and message id; nothing walks over all messages. Refuses to know HTTP.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::BotApiConfig;
use super::fault::{Bucket, Faults};
use super::html::Entity;
use super::queue::{Poll, Queue};

/// Violations whose text is kept; later ones are only counted.
const VIOLATIONS_MAX: usize = 1_000;
/// Distinct error descriptions that are counted.
const ERRORS_MAX: usize = 1_000;
/// Chat actions and draft updates kept per chat.
pub(super) const CHAT_LOG_MAX: usize = 10_000;

/// Kind of a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatKind {
    /// A user and the bot.
    Private,
    /// A basic group.
    Group,
    /// A supergroup, with topics if `forum`.
    Supergroup {
        /// Whether it has topics.
        forum: bool,
    },
}

/// A message as a user of the chat sees it now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VisibleMessage {
    /// Id in the chat.
    pub message_id: i64,
    /// Whether the bot wrote it.
    pub from_bot: bool,
    /// Text or caption without formatting.
    pub text: String,
    /// Text or caption as it was sent, with tags.
    pub html: String,
    /// Earlier versions of `text`, oldest first.
    pub edits: Vec<String>,
    /// Unix seconds of the sending.
    pub date: i64,
    /// Topic.
    pub thread: Option<i64>,
    /// The message it answers.
    pub reply_to: Option<i64>,
    /// Inline keyboard, row by row, as (label, callback data or URL).
    pub buttons: Vec<Vec<(String, String)>>,
    /// File name of an attachment, or its kind when it has none.
    pub media: Option<String>,
    /// Whether it was sent without a notification.
    pub silent: bool,
    /// Emoji that the bot put on it.
    pub reactions: Vec<String>,
}

/// A request as it arrived and how it was answered.
#[derive(Debug, Clone, Serialize)]
pub struct LoggedRequest {
    /// Milliseconds since the start of the server.
    pub at_ms: u64,
    /// Number of the TCP connection.
    pub connection: u64,
    /// Method name.
    pub method: String,
    /// Parameters after the type check; empty when the call was illegal.
    pub params: Map<String, Value>,
    /// Uploaded files as (field, file name, bytes).
    pub files: Vec<(String, String, usize)>,
    /// HTTP status; 0 while unanswered or when no answer was sent.
    pub status: u16,
    /// `description` of an error answer.
    pub description: Option<String>,
    /// The fault that hit it.
    pub fault: Option<String>,
}

/// A `sendChatAction`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChatAction {
    /// Milliseconds since the start of the server.
    pub at_ms: u64,
    /// For example `typing`.
    pub action: String,
    /// Topic.
    pub thread: Option<i64>,
}

/// One update of a draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DraftUpdate {
    /// Milliseconds since the start of the server.
    pub at_ms: u64,
    /// Id chosen by the bot.
    pub draft_id: i64,
    /// Text without formatting, empty for the "thinking" placeholder.
    pub text: String,
}

/// A stored file.
#[derive(Debug, Clone)]
pub struct StoredFile {
    /// Path below `/file/bot<token>/`.
    pub path: String,
    /// Name given by the sender.
    pub name: String,
    /// Content.
    pub bytes: Bytes,
}

#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) id: i64,
    pub(super) from: i64,
    pub(super) date: i64,
    pub(super) edit_date: Option<i64>,
    pub(super) thread: Option<i64>,
    pub(super) text: String,
    pub(super) sent: String,
    pub(super) entities: Vec<Entity>,
    pub(super) earlier: Vec<String>,
    pub(super) markup: Option<Value>,
    /// Field of the Message object and its value, for example `document`.
    pub(super) media: Option<(&'static str, Value)>,
    pub(super) reply_to: Option<i64>,
    pub(super) silent: bool,
    pub(super) reactions: Vec<String>,
}

pub(super) struct Chat {
    pub(super) id: i64,
    pub(super) kind: ChatKind,
    pub(super) title: String,
    pub(super) messages: BTreeMap<i64, Message>,
    pub(super) deleted: Vec<VisibleMessage>,
    pub(super) topics: BTreeSet<i64>,
    pub(super) members: BTreeSet<i64>,
    pub(super) closed: Option<&'static str>,
    pub(super) migrated_to: Option<i64>,
    pub(super) actions: VecDeque<ChatAction>,
    pub(super) drafts: VecDeque<DraftUpdate>,
    pub(super) bucket: Bucket,
    /// Next message id of a supergroup; other chats share one sequence.
    pub(super) next_message_id: i64,
}

impl Chat {
    pub(super) fn new(id: i64, kind: ChatKind, title: &str) -> Self {
        Self {
            id,
            kind,
            title: title.to_owned(),
            messages: BTreeMap::new(),
            deleted: Vec::new(),
            topics: BTreeSet::new(),
            members: BTreeSet::new(),
            closed: None,
            migrated_to: None,
            actions: VecDeque::new(),
            drafts: VecDeque::new(),
            bucket: Bucket::default(),
            next_message_id: 1,
        }
    }

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
}

/// Everything the server knows. Tests see it in `FakeBotApi::wait_for`.
pub struct State {
    pub(super) config: BotApiConfig,
    started: Instant,
    pub(super) chats: HashMap<i64, Chat>,
    pub(super) queue: Queue,
    pub(super) poll: Poll,
    pub(super) faults: Faults,
    pub(super) files: HashMap<String, StoredFile>,
    pub(super) callbacks: BTreeSet<String>,
    pub(super) commands: BTreeMap<String, Value>,
    pub(super) webhook: Option<Map<String, Value>>,
    pub(super) allowed_updates: Option<Vec<String>>,
    pub(super) revoked: bool,
    pub(super) drafts_unknown: bool,
    pub(super) global_bucket: Bucket,
    pub(super) next_message_id: i64,
    pub(super) next_file_id: u64,
    log: VecDeque<LoggedRequest>,
    log_first: u64,
    counts: BTreeMap<String, u64>,
    errors: BTreeMap<String, u64>,
    violations: Vec<String>,
    violation_count: u64,
    pub(super) sent_total: u64,
}

impl State {
    pub(super) fn new(config: BotApiConfig) -> Self {
        Self {
            queue: Queue::new(config.first_update_id),
            config,
            started: Instant::now(),
            chats: HashMap::new(),
            poll: Poll::default(),
            faults: Faults::default(),
            files: HashMap::new(),
            callbacks: BTreeSet::new(),
            commands: BTreeMap::new(),
            webhook: None,
            allowed_updates: None,
            revoked: false,
            drafts_unknown: false,
            global_bucket: Bucket::default(),
            next_message_id: 1,
            next_file_id: 1,
            log: VecDeque::new(),
            log_first: 0,
            counts: BTreeMap::new(),
            errors: BTreeMap::new(),
            violations: Vec::new(),
            violation_count: 0,
            sent_total: 0,
        }
    }

    /// Time since the start of the server.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX)
    }

    /// The messages of a chat as a user sees them now, in order of id; empty for an unknown chat.
    pub fn transcript(&self, chat: i64) -> Vec<VisibleMessage> {
        let Some(chat) = self.chats.get(&chat) else { return Vec::new() };
        chat.messages.values().map(|message| self.visible(message)).collect()
    }

    /// Messages that were deleted from a chat, in the order of deletion.
    pub fn deleted(&self, chat: i64) -> Vec<VisibleMessage> {
        self.chats.get(&chat).map(|chat| chat.deleted.clone()).unwrap_or_default()
    }

    /// Text of the newest message that the bot wrote in a chat.
    pub fn last_bot_text(&self, chat: i64) -> Option<&str> {
        let messages = &self.chats.get(&chat)?.messages;
        messages.values().rev().find(|message| message.from == self.config.bot_id).map(|message| message.text.as_str())
    }

    /// Messages that the bot sent into all chats so far, edits and drafts not counted.
    pub fn sent_total(&self) -> u64 {
        self.sent_total
    }

    /// Chat actions of a chat in the order of arrival.
    pub fn actions(&self, chat: i64) -> Vec<ChatAction> {
        self.chats.get(&chat).map(|chat| chat.actions.iter().cloned().collect()).unwrap_or_default()
    }

    /// Draft updates of a chat in the order of arrival.
    pub fn drafts(&self, chat: i64) -> Vec<DraftUpdate> {
        self.chats.get(&chat).map(|chat| chat.drafts.iter().cloned().collect()).unwrap_or_default()
    }

    /// Calls of a method so far, also failed ones.
    pub fn count(&self, method: &str) -> u64 {
        self.counts.get(method).copied().unwrap_or(0)
    }

    /// Calls per method so far.
    pub fn counts(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }

    /// How often each error description was answered, faults included.
    pub fn errors(&self) -> &BTreeMap<String, u64> {
        &self.errors
    }

    /// Calls that no correct client makes, oldest first.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Polls that were ended because another one began.
    pub fn overlapping_polls(&self) -> u64 {
        self.poll.overlapping
    }

    /// Ids of button presses that the bot has not answered.
    pub fn unanswered_callbacks(&self) -> Vec<String> {
        self.callbacks.iter().cloned().collect()
    }

    /// Updates that are not confirmed yet.
    pub fn pending_updates(&self) -> usize {
        self.queue.len()
    }

    /// `allowed_updates` of the latest call that gave it.
    pub fn allowed_updates(&self) -> Option<&[String]> {
        self.allowed_updates.as_deref()
    }

    /// The latest requests, oldest first, at most `log_limit`.
    pub fn requests(&self) -> impl Iterator<Item = &LoggedRequest> {
        self.log.iter()
    }

    /// The command menu of a scope type, for example `all_private_chats`, as it was set without a language.
    pub fn commands(&self, scope: &str) -> Option<&Value> {
        self.commands.get(&format!("{scope}:::"))
    }

    pub(super) fn violate(&mut self, text: String) {
        self.violation_count += 1;
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(text);
        }
    }

    pub(super) fn count_call(&mut self, method: &str) {
        match self.counts.get_mut(method) {
            Some(count) => *count += 1,
            None => drop(self.counts.insert(method.to_owned(), 1)),
        }
    }

    /// Appends to the log and returns the number of the entry, if one is kept.
    pub(super) fn log_request(&mut self, request: impl FnOnce() -> LoggedRequest) -> Option<u64> {
        let limit = self.config.log_limit;
        if limit == 0 {
            return None;
        }
        if self.log.len() >= limit {
            self.log.pop_front();
            self.log_first += 1;
        }
        self.log.push_back(request());
        Some(self.log_first + self.log.len() as u64 - 1)
    }

    pub(super) fn log_answer(&mut self, entry: Option<u64>, status: u16, description: Option<&str>) {
        if let Some(description) = description {
            let distinct = self.errors.len();
            match self.errors.get_mut(description) {
                Some(count) => *count += 1,
                None if distinct < ERRORS_MAX => drop(self.errors.insert(description.to_owned(), 1)),
                None => {}
            }
        }
        let Some(index) = entry.and_then(|entry| entry.checked_sub(self.log_first)) else { return };
        if let Some(logged) = usize::try_from(index).ok().and_then(|index| self.log.get_mut(index)) {
            logged.status = status;
            logged.description = description.map(str::to_owned);
        }
    }

    /// Appends an update of this kind and returns its id.
    pub(super) fn push_update(&mut self, kind: &str, body: &Value) -> i64 {
        let id = self.queue.next_id;
        // Written by hand so that `update_id` comes first, where `renumber` looks for it.
        self.queue.push(id, format!("{{\"update_id\":{id},\"{kind}\":{body}}}").into());
        id
    }

    /// Whether the bot asked for this kind of update.
    pub(super) fn wants(&self, kind: &str) -> bool {
        match &self.allowed_updates {
            Some(kinds) if !kinds.is_empty() => kinds.iter().any(|wanted| wanted == kind),
            _ => !matches!(kind, "chat_member" | "message_reaction" | "message_reaction_count"),
        }
    }

    pub(super) fn renumber_updates(&mut self, next: i64) {
        self.queue.renumber(next);
    }

    /// Offers an update `times` more times, whatever was confirmed. False when it is too old to be known.
    pub fn redeliver(&mut self, update: i64, times: u32) -> bool {
        self.queue.force(update, times)
    }

    pub(super) fn user_json(&self, user: i64) -> Value {
        if user == self.config.bot_id {
            return json!({"id": user, "is_bot": true, "first_name": "Blufio", "username": self.config.username});
        }
        json!({"id": user, "is_bot": false, "first_name": format!("User {user}"), "language_code": "en"})
    }

    /// Stores a message and returns its id. The chat must exist.
    pub(super) fn add_message(&mut self, chat: i64, mut message: Message) -> i64 {
        let limit = self.config.messages_per_chat_max;
        let bot = self.config.bot_id;
        let chat = self.chats.get_mut(&chat).expect("the chat was looked up before");
        let sequence = match chat.kind {
            ChatKind::Supergroup { .. } => &mut chat.next_message_id,
            ChatKind::Private | ChatKind::Group => &mut self.next_message_id,
        };
        message.id = *sequence;
        *sequence += 1;
        if message.from == bot {
            self.sent_total += 1;
        }
        let id = message.id;
        chat.messages.insert(id, message);
        if chat.messages.len() > limit {
            chat.messages.pop_first();
        }
        id
    }

    pub(super) fn message_json(&self, chat: &Chat, message: &Message) -> Value {
        let mut value = json!({
            "message_id": message.id,
            "from": self.user_json(message.from),
            "chat": chat.json(),
            "date": message.date,
        });
        let entities: Vec<Value> = message.entities.iter().map(Entity::json).collect();
        let (text, text_entities) =
            if message.media.is_some() { ("caption", "caption_entities") } else { ("text", "entities") };
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
            value["is_topic_message"] = json!(true);
        }
        if let Some(markup) = &message.markup {
            value["reply_markup"] = markup.clone();
        }
        if let Some(replied) = message.reply_to.and_then(|id| chat.messages.get(&id)) {
            let flat = Message { reply_to: None, ..replied.clone() };
            value["reply_to_message"] = self.message_json(chat, &flat);
        }
        value
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

    /// Stores a file and returns its id.
    pub(super) fn store_file(&mut self, name: &str, bytes: Bytes) -> String {
        let number = self.next_file_id;
        self.next_file_id += 1;
        let id = format!("file-{number}");
        let extension = name.rsplit_once('.').map_or("bin", |(_, extension)| extension);
        let extension: String = extension.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
        let path = format!("documents/file_{number}.{extension}");
        self.files.insert(id.clone(), StoredFile { path, name: name.to_owned(), bytes });
        id
    }
}

/// Unix seconds.
pub(super) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
