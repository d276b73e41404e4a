//! What the fake server remembers: chats with their messages, the update queue, the request log.
//!
//! Everything is found by chat and message id; nothing walks over all messages. Refuses to know HTTP.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::{Map, Value};

use super::BotApiConfig;
use super::fault::{Bucket, Faults};
use super::html::Entity;
use super::inspect::{
    BotReaction, CallbackAnswer, ChatAction, DraftUpdate, LoggedRequest, Notification, ReceivedFile, VisibleMessage,
};
use super::queue::{Poll, Queue, push_bounded};
use super::webhook::Webhooks;

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

/// A stored file.
#[derive(Debug, Clone)]
pub struct StoredFile {
    /// Path below `/file/bot<token>/`.
    pub path: String,
    /// Name given by the sender.
    pub name: String,
    /// Content.
    pub bytes: Bytes,
    /// Whether `getFile` tells the size. The server leaves it out where the sender's app did.
    pub size_known: bool,
}

#[derive(Debug, Clone, Default)]
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
    /// Emoji of the bot.
    pub(super) reactions: Vec<String>,
    /// Emoji of each user.
    pub(super) user_reactions: BTreeMap<i64, String>,
    /// Further fields of the Message object, which win over the generated ones.
    pub(super) fields: Map<String, Value>,
}

/// A topic of a forum, or of a private chat with topics.
#[derive(Debug, Clone)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) creator: i64,
    pub(super) closed: bool,
}

/// A button press that waits for its answer.
#[derive(Debug, Clone)]
pub(super) struct Pressed {
    pub(super) user: i64,
    pub(super) data: String,
    pub(super) at_ms: u64,
}

/// A time in which sends are answered 429.
#[derive(Debug, Clone, Default)]
pub(super) struct Flood {
    pub(super) until: Duration,
    /// Whether the bot was told; a send after that is one that did not wait.
    pub(super) told: bool,
}

pub(super) struct Chat {
    pub(super) id: i64,
    pub(super) kind: ChatKind,
    pub(super) title: String,
    pub(super) messages: BTreeMap<i64, Message>,
    pub(super) deleted: Vec<VisibleMessage>,
    pub(super) topics: BTreeMap<i64, Topic>,
    pub(super) members: BTreeSet<i64>,
    pub(super) closed: Option<&'static str>,
    pub(super) migrated_to: Option<i64>,
    pub(super) actions: VecDeque<ChatAction>,
    pub(super) drafts: VecDeque<DraftUpdate>,
    pub(super) reactions: VecDeque<BotReaction>,
    pub(super) notifications: VecDeque<Notification>,
    pub(super) received: VecDeque<ReceivedFile>,
    pub(super) bucket: Bucket,
    pub(super) flood: Flood,
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
            topics: BTreeMap::new(),
            members: BTreeSet::new(),
            closed: None,
            migrated_to: None,
            actions: VecDeque::new(),
            drafts: VecDeque::new(),
            reactions: VecDeque::new(),
            notifications: VecDeque::new(),
            received: VecDeque::new(),
            bucket: Bucket::default(),
            flood: Flood::default(),
            // In a forum, 1 is the topic "General".
            next_message_id: if kind == (ChatKind::Supergroup { forum: true }) { 2 } else { 1 },
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
    /// Presses without an answer, by id.
    pub(super) callbacks: BTreeMap<String, Pressed>,
    pub(super) callback_answers: VecDeque<CallbackAnswer>,
    /// What is known of users beyond their id, as fields of the User object.
    pub(super) people: BTreeMap<i64, Map<String, Value>>,
    pub(super) commands: BTreeMap<String, Value>,
    pub(super) webhook: Webhooks,
    pub(super) allowed_updates: Option<Vec<String>>,
    pub(super) revoked: bool,
    pub(super) drafts_unknown: bool,
    /// Seed for the order of the next batch of updates.
    pub(super) reorder: Option<u64>,
    pub(super) global_bucket: Bucket,
    pub(super) flood: Flood,
    pub(super) early_sends: u64,
    pub(super) next_message_id: i64,
    pub(super) next_file_id: u64,
    pub(super) log: VecDeque<LoggedRequest>,
    log_first: u64,
    pub(super) counts: BTreeMap<String, u64>,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) violations: Vec<String>,
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
            callbacks: BTreeMap::new(),
            callback_answers: VecDeque::new(),
            people: BTreeMap::new(),
            commands: BTreeMap::new(),
            webhook: Webhooks::default(),
            allowed_updates: None,
            revoked: false,
            drafts_unknown: false,
            reorder: None,
            global_bucket: Bucket::default(),
            flood: Flood::default(),
            early_sends: 0,
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
        let id = message.id;
        if message.from == bot {
            self.sent_total += 1;
            if !message.silent {
                let at_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
                let entry = Notification { at_ms, message_id: id, text: message.text.clone() };
                push_bounded(&mut chat.notifications, entry, CHAT_LOG_MAX);
            }
        }
        chat.messages.insert(id, message);
        if chat.messages.len() > limit {
            chat.messages.pop_first();
        }
        id
    }

    /// Stores a file and returns its id.
    pub(super) fn store_file(&mut self, name: &str, bytes: Bytes) -> String {
        let number = self.next_file_id;
        self.next_file_id += 1;
        let id = format!("file-{number}");
        let extension = name.rsplit_once('.').map_or("bin", |(_, extension)| extension);
        let extension: String = extension.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
        let path = format!("documents/file_{number}.{extension}");
        self.files.insert(id.clone(), StoredFile { path, name: name.to_owned(), bytes, size_known: true });
        id
    }
}

/// Unix seconds.
pub(super) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
