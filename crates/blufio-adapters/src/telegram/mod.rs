//! The Telegram channel: the only code that knows the Bot API.
//!
//! Updates are polled and handed on as facts, rows of the outbox are sent once, unfinished answers are shown as drafts or
//! edits. It never sees the store, never decides who may speak, and never paces itself. Facts about the API come from its
//! documentation (<https://core.telegram.org/bots/api>).

mod api;
mod entities;
mod files;
mod health;
mod inbound;
mod menu;
mod poll;
mod press;
mod preview;
mod send;
pub mod text;
mod webhook;
mod wire;

pub use preview::Streaming;
pub use webhook::Mode;

use crate::egress::{Egress, EgressError, IpFamily};
use blufio_core::content::FileRef;
use blufio_core::ids::ChannelName;
use blufio_core::limits::{FETCH, POLL_SILENCE};
use blufio_core::port::{
    Blobs, Channel, ChannelError, ChannelHealth, Clock, FetchError, Intake, Preview, PreviewOutcome, Rates, Rng,
    SendOutcome,
};
use blufio_core::record::{OutboxRow, Rendered, Route};
use blufio_core::secret::Secret;
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// The channel's name.
pub const CHANNEL: &str = "telegram";
/// The thread id of a forum's general topic: its messages name none, and the server refuses it in a send.
const GENERAL_TOPIC: i64 = 1;
/// The pause if a 429 names none.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);
/// Files that are uploaded at once; each is in memory twice. Full: the others wait, up to the time that a row has.
const UPLOADS_MAX: usize = 2;
/// How long it is believed who the bot is.
const IDENTITY_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// What a Telegram channel needs.
pub struct TelegramOptions {
    /// The server: scheme, host and port; `http` only to loopback.
    pub api_root: String,
    /// The bot's token. Without one, or with one of another form, the channel is made and says that it has failed.
    pub token: Option<Secret>,
    /// How updates come in.
    pub mode: Mode,
    /// The way out; its connect timeout holds for every call.
    pub egress: Egress,
    /// Which addresses of the server are used.
    pub ip_family: IpFamily,
    /// Files that are sent.
    pub blobs: Arc<dyn Blobs>,
    /// How unfinished answers are shown.
    pub streaming: Streaming,
    /// Clients may show previews of links.
    pub link_preview: bool,
    /// Length at which an answer is cut, in UTF-16 code units.
    pub text_chunk: usize,
    /// Regular expressions that address the bot in a group.
    pub mention_patterns: Vec<String>,
    /// The emoji that says that a message was read.
    pub reaction_ack: Option<String>,
    /// Something in a group is read that is not said to the bot.
    pub reads_groups: bool,
    /// Sending limits; `None`: no local limit.
    pub rates: Option<Rates>,
    /// How long calls may take.
    pub timeouts: TelegramTimeouts,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for the jitter of pauses.
    pub rng: Arc<dyn Rng>,
}

/// How long calls may take, each from connecting to the last byte of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelegramTimeouts {
    /// Sending, editing, removing, and the calls at the start.
    pub send: Duration,
    /// Small signs: that somebody is at work, that a message was read, that a press was taken.
    pub action: Duration,
    /// Uploading a file.
    pub upload: Duration,
    /// Fetching a file, with asking where it is.
    pub fetch: Duration,
    /// Between two pieces of a file that is fetched.
    pub stall: Duration,
    /// One long poll. The server holds it open for 50 s.
    pub poll: Duration,
    /// All tries of a poll without any answer. Over: the channel is started anew.
    pub watchdog: Duration,
}

impl Default for TelegramTimeouts {
    fn default() -> Self {
        Self {
            send: Duration::from_secs(15),
            action: Duration::from_secs(5),
            upload: Duration::from_secs(60),
            fetch: FETCH,
            stall: Duration::from_secs(10),
            poll: Duration::from_secs(65),
            watchdog: POLL_SILENCE,
        }
    }
}

/// The Telegram channel of one bot.
pub struct Telegram {
    api: api::Api,
    identity: poll::start::Identity,
    mode: Mode,
    mentions: inbound::Mentions,
    reaction_ack: Option<String>,
    reads_groups: bool,
    blobs: Arc<dyn Blobs>,
    streaming: Streaming,
    link_preview: bool,
    text_chunk: usize,
    rates: Option<Rates>,
    timeouts: TelegramTimeouts,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    health: health::Health,
    /// Who the bot is, and since when that is known.
    bot: Mutex<Option<(Duration, wire::Me)>>,
    drafts_refused_until: health::Instant,
    typing_failures: press::Failures,
    menu_shown: AtomicBool,
    uploads: Semaphore,
}

impl fmt::Debug for Telegram {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Telegram").field("health", &self.health.get()).finish_non_exhaustive()
    }
}

impl Telegram {
    /// Makes a channel; nothing is sent before [`Channel::receive`] or another call. A token that cannot be right is no
    /// error here: the rest of the process has work to do without this channel, whose health says what is wrong.
    ///
    /// # Errors
    /// The server's address or the HTTP client is not usable.
    pub fn new(options: TelegramOptions) -> Result<Self, EgressError> {
        let egress = options.egress.of_family(options.ip_family);
        let api = api::Api::new(&options.api_root, options.token, egress)?;
        let health = health::Health::new(options.clock.monotonic());
        if let Some(trouble) = api.trouble() {
            health.failed(trouble);
        }
        Ok(Self {
            identity: Sha256::digest(api.secret_identity().expose().as_bytes()).into(),
            api,
            mode: options.mode,
            mentions: inbound::Mentions::new(&options.mention_patterns),
            reaction_ack: options.reaction_ack,
            reads_groups: options.reads_groups,
            blobs: options.blobs,
            streaming: options.streaming,
            link_preview: options.link_preview,
            text_chunk: options.text_chunk,
            rates: options.rates,
            timeouts: options.timeouts,
            health,
            clock: options.clock,
            rng: options.rng,
            bot: Mutex::new(None),
            drafts_refused_until: health::Instant::default(),
            typing_failures: press::Failures::default(),
            menu_shown: AtomicBool::new(false),
            uploads: Semaphore::new(UPLOADS_MAX),
        })
    }

    fn known_bot(&self) -> Option<wire::Me> {
        let (since, bot) = self.bot.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        (self.clock.monotonic().saturating_sub(since) < IDENTITY_AGE_MAX).then_some(bot)
    }

    /// Who the bot is, as far as that was ever known.
    fn any_bot(&self) -> Option<wire::Me> {
        self.bot.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, bot)| bot.clone())
    }

    /// Whether a row or preview belongs to another bot, whose chats this one must not write to: the same person has the
    /// same chat id at every bot. Asks who this bot is if that was never known.
    async fn is_foreign(&self, route: &Route) -> Result<bool, api::ApiError> {
        let bot = match self.any_bot().map(|bot| bot.id) {
            Some(id) => id,
            None => {
                let bot = self.ask_who_we_are().await?;
                let id = bot.id;
                self.remember_bot(bot);
                id
            }
        };
        Ok(bot != route.account)
    }

    async fn ask_who_we_are(&self) -> Result<wire::Me, api::ApiError> {
        self.api.call("getMe", &poll::Nothing {}, self.timeouts.send).await
    }

    fn remember_bot(&self, bot: wire::Me) {
        *self.bot.lock().unwrap_or_else(PoisonError::into_inner) = Some((self.clock.monotonic(), bot));
    }

    fn forget_bot(&self) {
        *self.bot.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Channel for Telegram {
    fn name(&self) -> ChannelName {
        ChannelName::new(CHANNEL)
    }

    async fn receive(&self, intake: Arc<dyn Intake>) -> ChannelError {
        poll::receive(self, intake.as_ref()).await
    }

    fn render(&self, text: &str) -> Vec<Rendered> {
        let chunks = text::render(text, self.text_chunk).into_iter();
        chunks.map(|chunk| Rendered { rich: chunk.html, plain: chunk.plain }).collect()
    }

    fn account(&self) -> Option<i64> {
        Some(self.any_bot()?.id)
    }

    fn private_route(&self, user: i64) -> Option<Route> {
        let account = self.account()?;
        Some(Route { channel: ChannelName::new(CHANNEL), account, chat: user, thread: None, reply_to: None })
    }

    fn invitation(&self, code: &str) -> Option<String> {
        let username = self.any_bot()?.username?;
        Some(format!("https://t.me/{username}?start={code}"))
    }

    async fn fetch(&self, file: &FileRef, bytes_max: u64) -> Result<Vec<u8>, FetchError> {
        self.fetch_file(file, bytes_max).await
    }

    async fn acknowledge(&self, route: &Route) {
        self.show_read(route).await;
    }

    async fn answer_press(&self, press: &str, text: &str) {
        self.take_press(press, text).await;
    }

    /// A draft vanishes, a placeholder is edited, and without previews nothing was shown.
    fn can_replace_preview(&self, _route: &Route) -> bool {
        true
    }

    async fn preview(&self, preview: Preview) -> PreviewOutcome {
        self.show_preview(&preview).await
    }

    async fn typing(&self, route: &Route) -> bool {
        !matches!(self.is_foreign(route).await, Ok(true)) && self.show_typing(route).await
    }

    async fn send(&self, row: &OutboxRow) -> SendOutcome {
        self.send_row(row).await
    }

    async fn remove(&self, route: &Route, message: i64) {
        if matches!(self.is_foreign(route).await, Ok(false)) {
            self.remove_message(route, message).await;
        }
    }

    fn health(&self) -> ChannelHealth {
        self.health.get()
    }

    fn remark(&self) -> Option<String> {
        let blind = self.reads_groups && self.any_bot().is_some_and(|bot| !bot.can_read_all_group_messages);
        blind.then(|| "its privacy mode is on, so it does not see what is said in groups to others".to_owned())
    }

    fn rates(&self) -> Option<Rates> {
        self.rates
    }
}
