//! A fake Telegram Bot API that behaves like the public server and refuses what a correct client never sends.
//!
//! Every call is checked against the published field table ([`schema`]); unknown parameters, which the public server
//! ignores, are answered 400 and recorded as a violation. Tests play the users, order faults and look at what is
//! visible in a chat. Refuses to know anything about the product.

mod answer;
mod chats;
mod content;
mod control;
mod fault;
mod files;
pub mod html;
mod inspect;
mod media;
mod methods;
pub(crate) mod params;
mod picture;
mod poll;
mod privacy;
mod queue;
mod render;
pub mod schema;
mod sending;
mod server;
mod state;
mod user;
mod webhook;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

pub use content::Origin;
pub use control::USAGE;
pub use fault::{Action, Chance, Fault, RateModel};
pub use files::{FileKind, PostedFile, UserFile};
pub use inspect::{
    BotReaction, CallbackAnswer, ChatAction, DraftUpdate, LoggedRequest, Notification, ReceivedFile, VisibleMessage,
};
pub use media::{PHOTO_BYTES_MAX, UPLOAD_BYTES_MAX};
pub use params::Upload;
pub use render::{ANONYMOUS_ADMIN, CHANNEL_SENDER, SERVICE_SENDER};
pub use sending::{CALLBACK_DATA_BYTES_MAX, CAPTION_UNITS_MAX, TEXT_UNITS_MAX};
pub use server::FILE_METHOD;
pub use state::{ChatKind, State, StoredFile};
pub use user::Post;
pub use webhook::WebhookDelivery;

use crate::http::HttpServer;

/// How the server starts.
#[derive(Debug, Clone)]
pub struct BotApiConfig {
    /// Address to listen on; port 0 picks a free one.
    pub addr: SocketAddr,
    /// The only token that is accepted, for example `1:TEST`.
    pub token: String,
    /// User id of the bot.
    pub bot_id: i64,
    /// User name of the bot, without `@`.
    pub username: String,
    /// Requests kept for inspection; 0 keeps none.
    pub log_limit: usize,
    /// Whether quick repeats of a poll are slowed down (3 s, 0.5 s) and repeated conflicts delayed by 3 s, like on the
    /// public server.
    pub throttle: bool,
    /// Rate limits; `None` never answers 429 by itself.
    pub rate: Option<RateModel>,
    /// Id of the first update.
    pub first_update_id: i64,
    /// Messages kept per chat; older ones vanish.
    pub messages_per_chat_max: usize,
    /// Largest accepted command menu.
    pub commands_max: usize,
    /// `has_topics_enabled` of `getMe`; a user who writes in a topic of the private chat opens it.
    pub private_topics: bool,
    /// `can_read_all_group_messages` of `getMe`.
    pub can_read_all_group_messages: bool,
    /// Whether groups hide from the bot what is not meant for it. False is a bot that is an administrator of its groups,
    /// which sees everything whatever `getMe` says.
    pub privacy_mode: bool,
}

impl Default for BotApiConfig {
    fn default() -> Self {
        Self {
            addr: ([127, 0, 0, 1], 0).into(),
            token: "1:TEST".to_owned(),
            bot_id: 1_000_001,
            username: "blufio_test_bot".to_owned(),
            log_limit: 10_000,
            throttle: true,
            rate: None,
            first_update_id: 1,
            messages_per_chat_max: 10_000,
            commands_max: 100,
            private_topics: false,
            can_read_all_group_messages: false,
            privacy_mode: false,
        }
    }
}

struct Shared {
    state: Mutex<State>,
    /// Anything changed.
    changed: Notify,
    /// Something changed that a long poll waits for.
    polls: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in a test's predicate must not hide the state from the other assertions.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_waiters();
        self.polls.notify_waiters();
        result
    }
}

/// A running fake server. Clones are the same server, which stops with the last one.
#[derive(Clone)]
pub struct FakeBotApi {
    shared: Arc<Shared>,
    http: Arc<HttpServer>,
    /// Kept so that it ends with the last clone.
    _deliveries: Arc<Deliveries>,
}

/// The task that brings updates to the webhook.
struct Deliveries(JoinHandle<()>);

impl Drop for Deliveries {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl FakeBotApi {
    /// Starts the server. Fails when the address cannot be bound.
    pub async fn start(config: BotApiConfig) -> io::Result<Self> {
        let addr = config.addr;
        let shared =
            Arc::new(Shared { state: Mutex::new(State::new(config)), changed: Notify::new(), polls: Notify::new() });
        let http = Arc::new(HttpServer::start(addr, Arc::clone(&shared)).await?);
        let deliveries = Arc::new(Deliveries(tokio::spawn(webhook::deliver(Arc::clone(&shared)))));
        Ok(Self { shared, http, _deliveries: deliveries })
    }

    /// The bound address.
    pub fn addr(&self) -> SocketAddr {
        self.http.addr()
    }

    /// Value for `telegram.api_root`.
    pub fn base_url(&self) -> String {
        self.http.base_url()
    }

    /// TCP connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.http.connections()
    }

    /// Reads the state at one moment.
    pub fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.shared.lock())
    }

    /// Changes the state at one moment; see the methods of [`State`].
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        self.shared.change(change)
    }

    /// Waits until `check` finds something. Panics with a summary of the state after `limit`.
    pub async fn wait_for<T>(&self, check: impl FnMut(&State) -> Option<T>, limit: Duration) -> T {
        match self.try_wait_for(check, limit).await {
            Some(found) => found,
            None => self.read(|state| {
                panic!(
                    "nothing after {limit:?}; calls {:?}, errors {:?}, violations {:?}, pending updates {}",
                    state.counts(),
                    state.errors(),
                    state.violations(),
                    state.pending_updates()
                )
            }),
        }
    }

    /// Waits until `check` finds something, at most `limit`. `check` runs after every change and must be cheap.
    pub async fn try_wait_for<T>(&self, mut check: impl FnMut(&State) -> Option<T>, limit: Duration) -> Option<T> {
        let deadline = Instant::now() + limit;
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(found) = check(&self.shared.lock()) {
                return Some(found);
            }
            if timeout_at(deadline, changed).await.is_err() {
                return None;
            }
        }
    }

    /// Waits until the bot has at least `count` visible messages in a chat and returns all that is visible there.
    pub async fn wait_for_bot_messages(&self, chat: i64, count: usize, limit: Duration) -> Vec<VisibleMessage> {
        let check = |state: &State| {
            let transcript = state.transcript(chat);
            (transcript.iter().filter(|message| message.from_bot).count() >= count).then_some(transcript)
        };
        self.wait_for(check, limit).await
    }

    /// A user writes in the private chat; returns the update id.
    pub fn send_text(&self, user: i64, text: &str) -> i64 {
        self.change(|state| state.post(Post::new(user, user, text)))
    }

    /// A user writes anywhere; returns the update id, 0 when privacy mode keeps it from the bot.
    pub fn post(&self, post: Post) -> i64 {
        self.change(|state| state.post(post))
    }

    /// A user sends a file; returns the update id, 0 when privacy mode keeps it from the bot.
    pub fn post_file(&self, file: impl Into<UserFile>) -> i64 {
        self.change(|state| state.post_file(file))
    }

    /// A user sends files as one album, the caption on its first part; returns the update ids.
    pub fn post_album(&self, caption: &str, files: impl IntoIterator<Item = UserFile>) -> Vec<i64> {
        self.change(|state| state.post_album(caption, files))
    }

    /// A user puts an emoji on a message, or takes it away with an empty one; `None` when the bot does not get it.
    pub fn react(&self, chat: i64, message_id: i64, user: i64, emoji: &str) -> Option<i64> {
        self.change(|state| state.react(chat, message_id, user, emoji))
    }

    /// A user presses a button; `None` when the message is unknown or the bot does not want presses.
    pub fn press(&self, chat: i64, message_id: i64, user: i64, data: &str) -> Option<i64> {
        self.change(|state| state.press(chat, message_id, user, data))
    }

    /// Queues any update, legal or not; returns its id.
    pub fn push_update(&self, update: &Value) -> i64 {
        self.change(|state| state.push_raw(update))
    }

    /// Delivers an update `times` more times, also when it is confirmed. False when it is too old to be known.
    pub fn redeliver(&self, update_id: i64, times: u32) -> bool {
        self.change(|state| state.redeliver(update_id, times))
    }

    /// Brings updates to this loopback address while a webhook is set, to the path of its URL.
    pub fn webhook_target(&self, target: SocketAddr) {
        self.change(|state| state.set_webhook_target(Some(target)));
    }

    /// Tries to bring updates to the webhook, oldest first.
    pub fn webhook_deliveries(&self) -> Vec<WebhookDelivery> {
        self.read(State::webhook_deliveries)
    }

    /// Delivers the next batch of two or more updates in another order, decided by `seed`.
    pub fn reorder_next(&self, seed: u64) {
        self.change(|state| state.reorder_next(seed));
    }

    /// Makes a private chat known, so that the bot may write first.
    pub fn open_private(&self, user: i64) {
        self.change(|state| state.open_private(user));
    }

    /// Adds a group with the bot in it.
    pub fn add_group(&self, chat: i64, title: &str, kind: ChatKind, members: &[i64]) {
        self.change(|state| state.add_group(chat, title, kind, members));
    }

    /// Blocks the bot in a chat, or lets it in again.
    pub fn set_blocked(&self, chat: i64, blocked: bool) {
        self.change(|state| state.set_blocked(chat, blocked));
    }

    /// Upgrades a group to a supergroup with another id.
    pub fn migrate(&self, old: i64, new: i64) {
        self.change(|state| state.migrate(old, new));
    }

    /// Makes the token invalid (401), or valid again.
    pub fn revoke_token(&self, revoked: bool) {
        self.change(|state| state.revoked = revoked);
    }

    /// Replaces the token and starts a new sequence of update ids at `next_update_id`.
    pub fn replace_token(&self, token: &str, next_update_id: i64) {
        self.change(|state| {
            token.clone_into(&mut state.config.token);
            state.renumber_updates(next_update_id);
        });
    }

    /// The next update gets this id; updates that wait are renumbered.
    pub fn reset_ids(&self, next_update_id: i64) {
        self.change(|state| state.renumber_updates(next_update_id));
    }

    /// Makes `sendMessageDraft` unknown (404), or known again.
    pub fn forget_drafts(&self, forget: bool) {
        self.change(|state| state.drafts_unknown = forget);
    }

    /// Orders a fault.
    pub fn fault(&self, fault: Fault) {
        self.change(|state| state.faults.add(fault));
    }

    /// Ends all faults, also those that are until cleared.
    pub fn clear_faults(&self) {
        self.change(|state| state.faults.clear());
    }

    /// What is visible in a chat now.
    pub fn transcript(&self, chat: i64) -> Vec<VisibleMessage> {
        self.read(|state| state.transcript(chat))
    }

    /// Files that the bot sent into a chat, oldest first.
    pub fn received_files(&self, chat: i64) -> Vec<ReceivedFile> {
        self.read(|state| state.received_files(chat))
    }

    /// Calls that no correct client makes, oldest first.
    pub fn violations(&self) -> Vec<String> {
        self.read(|state| state.violations().to_vec())
    }

    /// Polls that were ended because another one began.
    pub fn overlapping_polls(&self) -> u64 {
        self.read(State::overlapping_polls)
    }

    /// The latest requests, oldest first, at most `log_limit`.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.read(|state| state.requests().cloned().collect())
    }

    /// Calls per method so far, also failed ones.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.read(|state| state.counts().clone())
    }

    /// How often each error description was answered.
    pub fn errors(&self) -> BTreeMap<String, u64> {
        self.read(|state| state.errors().clone())
    }
}
