//! The Telegram channel against the fake Bot API server. Time is virtual: a pause only moves the clock.

mod files;
mod menu;
mod polling;
mod previews;
mod questions;
mod secrecy;
mod sending;
mod uploads;
mod webhook;

use blufio_adapters::egress::{Egress, IpFamily, Origin, Purpose};
use blufio_adapters::telegram::{Mode, Streaming, Telegram, TelegramOptions, TelegramTimeouts};
use blufio_core::ids::ChannelName;
use blufio_core::port::{
    AnyChannel, Blobs, Boxed, Channel, ChannelError, ChannelHealth, Clock, Rates, Rng, SendOutcome,
};
use blufio_core::record::{Rendered, Route};
use blufio_core::secret::Secret;
use blufio_core::time::Timestamp;
use blufio_testkit::botapi::{BotApiConfig, FakeBotApi, State};
use blufio_testkit::contract::channel::{self, MemoryIntake, Outside, outbox_row};
use blufio_testkit::contract::provider::Shelf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// Looks like a token and must never be seen outside a request.
const TOKEN: &str = "1000001:CANARY_not-for-any-log";
const BOT: i64 = 1_000_001;
/// The person that the tests play, and so the private chat.
const ANN: i64 = 5_000_000_001;
const LIMIT: Duration = Duration::from_secs(10);

/// A clock that moves only when somebody waits, and remembers how long they did.
#[derive(Default)]
struct TestClock {
    milliseconds: AtomicU64,
    waits: Mutex<Vec<Duration>>,
}

impl TestClock {
    fn waits(&self) -> Vec<Duration> {
        self.waits.lock().unwrap().clone()
    }

    fn advance(&self, by: Duration) {
        self.milliseconds.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.milliseconds.load(Ordering::Relaxed) as i64)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.milliseconds.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        self.advance(duration);
        self.waits.lock().unwrap().push(duration);
        Box::pin(tokio::task::yield_now())
    }
}

/// Jitter in the middle of its range for backoffs, at its upper end for pauses that a server asks for.
struct Middle;

impl Rng for Middle {
    fn bits(&self) -> u64 {
        100
    }
}

struct World {
    server: FakeBotApi,
    clock: Arc<TestClock>,
    /// The files that can be sent.
    shelf: Arc<Shelf>,
    channel: Arc<Telegram>,
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut TelegramOptions)) -> Self {
        let config = BotApiConfig { token: TOKEN.to_owned(), bot_id: BOT, throttle: false, ..BotApiConfig::default() };
        let server = FakeBotApi::start(config).await.unwrap();
        server.open_private(ANN);
        let clock = Arc::new(TestClock::default());
        let shelf = Arc::new(Shelf::default());
        let mut options = options(&server.base_url(), Arc::clone(&clock));
        options.blobs = Arc::clone(&shelf) as Arc<dyn Blobs>;
        change(&mut options);
        let channel = Arc::new(Telegram::new(options).unwrap());
        Self { server, clock, shelf, channel }
    }

    fn any(&self) -> Arc<dyn AnyChannel> {
        Arc::clone(&self.channel) as Arc<dyn AnyChannel>
    }

    fn channel_health(&self) -> ChannelHealth {
        Channel::health(self.channel.as_ref())
    }

    /// A call with the bot's token that is not made by the channel.
    async fn call_as_another_program(&self, method: &str, body: &serde_json::Value) {
        let origin = Origin::parse(&self.server.base_url()).unwrap();
        let client = egress().client(Purpose::Send, &origin).unwrap();
        let request = client.post(&format!("/bot{TOKEN}/{method}")).header("content-type", "application/json");
        let response = blufio_adapters::egress::send(request.body(body.to_string())).await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
    }

    fn count(&self, method: &str) -> u64 {
        self.server.read(|state| state.count(method))
    }

    /// The requests of one method, oldest first.
    fn params(&self, method: &str) -> Vec<serde_json::Value> {
        let requests = self.server.requests().into_iter().filter(|request| request.method == method);
        requests.map(|request| request.params.into()).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.server.violations(), Vec::<String>::new(), "every request was legal");
        }
    }
}

/// Reading the system's certificates takes a while, so it is done once.
fn egress() -> Egress {
    static EGRESS: OnceLock<Egress> = OnceLock::new();
    EGRESS.get_or_init(|| Egress::new().unwrap()).clone()
}

fn options(api_root: &str, clock: Arc<TestClock>) -> TelegramOptions {
    TelegramOptions {
        api_root: api_root.to_owned(),
        token: Some(Secret::new(TOKEN.to_owned())),
        mode: Mode::Polling,
        egress: egress(),
        ip_family: IpFamily::Auto,
        blobs: Arc::new(Shelf::default()),
        streaming: Streaming::Auto,
        link_preview: false,
        text_chunk: 4000,
        mention_patterns: Vec::new(),
        reaction_ack: None,
        reads_groups: false,
        rates: Some(Rates { global_per_s: 25, chat_per_s: 1, chat_burst: 3, group_per_min: 20, group_burst: 5 }),
        timeouts: TelegramTimeouts::default(),
        clock,
        rng: Arc::new(Middle),
    }
}

fn route(chat: i64) -> Route {
    Route { channel: ChannelName::new("telegram"), account: BOT, chat, thread: None, reply_to: None }
}

/// Calls of a method so far, for [`FakeBotApi::wait_for`].
fn called(method: &'static str, times: u64) -> impl FnMut(&State) -> Option<()> {
    move |state| (state.count(method) >= times).then_some(())
}

struct Ann(FakeBotApi);

impl Outside for Ann {
    fn write(&self, text: &str) {
        self.0.send_text(ANN, text);
    }

    fn seen(&self) -> Vec<String> {
        let messages = self.0.transcript(ANN).into_iter().filter(|message| message.from_bot);
        messages.map(|message| message.text).collect()
    }

    fn route(&self) -> Route {
        route(ANN)
    }
}

#[tokio::test]
async fn it_passes_the_suite_of_channels() {
    for streaming in [Streaming::Off, Streaming::Auto, Streaming::Edit] {
        let world = World::with(|options| options.streaming = streaming).await;
        channel::run(world.any(), &Ann(world.server.clone())).await;
    }
}

/// A missing or impossible token is the channel's own trouble: it is made, says what is wrong, asks nobody anything.
#[tokio::test]
async fn without_a_usable_token_it_has_failed() {
    let shapes = ["", ":", "1:", ":abc", "x:abc", "1:a b", "1:a/b", "1:abc\n", "1", "-1:abc", "1:abc:d"];
    for token in shapes.into_iter().map(Some).chain([None]) {
        let world = World::with(|options| options.token = token.map(|token| Secret::new(token.to_owned()))).await;
        let ChannelHealth::Failed { reason } = world.channel_health() else { panic!("{token:?}") };
        let ended = Channel::receive(world.channel.as_ref(), Arc::new(MemoryIntake::default())).await;
        assert!(matches!(&ended, ChannelError::Fatal(why) if *why == reason), "{token:?}: {ended}");
        assert_eq!(world.channel_health(), ChannelHealth::Failed { reason: reason.clone() });
        let row = outbox_row(route(ANN), Rendered { rich: "a".to_owned(), plain: "a".to_owned() }, None);
        assert_eq!(Channel::send(world.channel.as_ref(), &row).await, SendOutcome::Unauthorized(reason.clone()));
        assert!(token.is_none_or(|token| token.len() < 3 || !reason.contains(token)), "{reason}");
        assert_eq!(world.server.requests().len(), 0, "{token:?}");
    }
}

#[test]
fn only_this_machine_is_spoken_to_without_tls() {
    let mut elsewhere = options("http://example.org", Arc::default());
    assert!(Telegram::new(elsewhere).is_err());
    elsewhere = options("https://api.telegram.org", Arc::default());
    assert!(Telegram::new(elsewhere).is_ok());
}
