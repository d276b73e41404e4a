//! Updates that the server brings: who may bring them, what is stored before it is taken, and how the webhook is kept.

use super::polling::{Noting, while_receiving};
use super::{ANN, BOT, LIMIT, World, called};
use blufio_adapters::telegram::{Mode, Telegram};
use blufio_core::port::{Boxed, Channel, ChannelError, ChannelHealth, Clock, InboundKind, Intake, Webhook};
use blufio_core::secret::Secret;
use blufio_core::time::Timestamp;
use blufio_testkit::botapi::{Action, Fault};
use blufio_testkit::http::{Handler, HttpServer, Request, Responder};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

const URL: &str = "https://bot.example.org/telegram-webhook";
const SECRET: &str = "0123456789abcdef-SECRET_0123456789";
const MINUTE: Duration = Duration::from_secs(60);

/// A clock that stands still until a test moves it.
#[derive(Default)]
struct HandClock {
    milliseconds: watch::Sender<u64>,
    sleepers: watch::Sender<usize>,
}

impl HandClock {
    /// Waits until somebody has gone to sleep for the `times`th time, and lets `by` pass.
    async fn advance_when_asleep(&self, times: usize, by: Duration) {
        self.asleep(times).await;
        self.milliseconds.send_modify(|milliseconds| *milliseconds += by.as_millis() as u64);
    }

    async fn asleep(&self, times: usize) {
        let mut sleepers = self.sleepers.subscribe();
        tokio::time::timeout(LIMIT, sleepers.wait_for(|count| *count >= times)).await.unwrap().unwrap();
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp(*self.milliseconds.borrow() as i64)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(*self.milliseconds.borrow())
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        let until = (self.monotonic() + duration).as_millis() as u64;
        let mut time = self.milliseconds.subscribe();
        self.sleepers.send_modify(|count| *count += 1);
        Box::pin(async move {
            drop(time.wait_for(|now| *now >= until).await);
        })
    }
}

fn mode() -> Mode {
    Mode::Webhook { url: URL.to_owned(), secret: Secret::new(SECRET.to_owned()) }
}

/// A channel in webhook mode, the clock that it goes by, and an inbox.
async fn world() -> (World, Arc<HandClock>, Arc<Noting>) {
    let clock = Arc::new(HandClock::default());
    let shared: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
    let world = World::with(|options| {
        options.mode = mode();
        options.clock = shared;
    })
    .await;
    (world, clock, Arc::new(Noting::default()))
}

fn update(id: i64, text: &str) -> Vec<u8> {
    let person = json!({"id": ANN, "is_bot": false, "first_name": "Ann"});
    let message = json!({"message_id": id, "date": 1, "from": person, "text": text,
        "chat": {"id": ANN, "type": "private", "first_name": "Ann"}});
    json!({"update_id": id, "message": message}).to_string().into_bytes()
}

/// What stands between the server and the channel, as briefly as possible.
struct Gateway(Arc<Telegram>);

impl Handler for Gateway {
    async fn handle(&self, request: Request, responder: Responder) {
        let secret = request.header("x-telegram-bot-api-secret-token").unwrap_or_default();
        let status = if !self.0.admits(secret.as_bytes()) {
            404
        } else if Webhook::take(self.0.as_ref(), &request.body).await.is_err() {
            503
        } else {
            200
        };
        responder.full(status, &[], "").await;
    }
}

/// A gateway to which the world's server brings its updates.
async fn gateway(world: &World, channel: &Arc<Telegram>) -> HttpServer {
    let gateway =
        HttpServer::start(SocketAddr::from(([127, 0, 0, 1], 0)), Arc::new(Gateway(Arc::clone(channel)))).await;
    let gateway = gateway.unwrap();
    world.server.webhook_target(gateway.addr());
    gateway
}

async fn take(world: &World, body: &[u8]) -> Result<(), String> {
    let taking = Webhook::take(world.channel.as_ref(), body);
    tokio::time::timeout(LIMIT, taking).await.unwrap().map_err(|error| error.to_string())
}

#[tokio::test]
async fn the_webhook_is_set_and_updates_are_stored_before_they_are_taken() {
    let (world, clock, intake) = world().await;
    assert_eq!(world.channel_health(), ChannelHealth::Starting);
    while_receiving(&world, &intake, async {
        clock.asleep(1).await;
        assert_eq!(world.channel_health(), ChannelHealth::Listening);
        for (id, text) in [(7, "one"), (8, "two"), (8, "two")] {
            take(&world, &update(id, text)).await.unwrap();
            assert_eq!(intake.inbox.texts().last().map(String::as_str), Some(text));
        }
    })
    .await;
    assert_eq!(intake.inbox.texts(), ["one", "two"], "a repeat has the same identity");
    let kinds = json!(["message", "edited_message", "callback_query", "message_reaction", "my_chat_member"]);
    let expect = json!({"url": URL, "secret_token": SECRET, "max_connections": 4, "allowed_updates": kinds,
        "drop_pending_updates": false});
    assert_eq!(world.params("setWebhook"), [expect]);
    assert_eq!((world.count("getUpdates"), world.count("deleteWebhook")), (0, 0));
    assert_eq!(intake.topics(), Vec::<&str>::new());
}

#[tokio::test]
async fn nothing_is_taken_before_and_after_receiving() {
    let (world, clock, intake) = world().await;
    assert!(take(&world, &update(1, "early")).await.is_err());
    for round in 0..3 {
        while_receiving(&world, &intake, async {
            clock.asleep(round + 1).await;
            take(&world, &update(2 + round as i64, "hi")).await.unwrap();
        })
        .await;
        assert!(take(&world, &update(9, "late")).await.is_err());
    }
    assert_eq!(intake.inbox.texts().len(), 3);
    assert_eq!(world.count("deleteWebhook"), 0, "the server keeps what comes meanwhile");
}

#[tokio::test]
async fn only_the_secret_is_admitted() {
    let (world, ..) = world().await;
    let check = |shown: &[u8], expect: bool| assert_eq!(world.channel.admits(shown), expect, "{shown:?}");
    check(SECRET.as_bytes(), true);
    check(b"", false);
    check(&SECRET.as_bytes()[..SECRET.len() - 1], false);
    check(format!("{SECRET} ").as_bytes(), false);
    check(SECRET.to_lowercase().as_bytes(), false);
    check(&[0; 100_000], false);
    let polling = World::new().await;
    assert!(!polling.channel.admits(b"") && !polling.channel.admits(SECRET.as_bytes()));
    assert!(take(&polling, &update(1, "x")).await.is_err());
}

#[tokio::test]
async fn without_a_usable_secret_nothing_is_received() {
    for secret in ["", "with space", "\u{e9}"] {
        let mode = Mode::Webhook { url: URL.to_owned(), secret: Secret::new(secret.to_owned()) };
        let world = World::with(|options| options.mode = mode).await;
        let intake: Arc<dyn Intake> = Arc::new(Noting::default());
        let error = Channel::receive(world.channel.as_ref(), intake).await;
        assert!(matches!(error, ChannelError::Fatal(_)), "{error}");
        assert!(matches!(world.channel_health(), ChannelHealth::Failed { .. }));
        assert!(!world.channel.admits(secret.as_bytes()));
        assert_eq!(world.count("setWebhook"), 0);
    }
}

#[tokio::test]
async fn a_body_without_an_update_id_is_refused_and_any_other_is_stored() {
    let (world, clock, intake) = world().await;
    let unreadable: [&[u8]; 8] =
        [b"", b"{", b"null", b"[]", b"{}", b"\xff\xfe", br#"{"update_id":"7"}"#, br#"{"update_id":-7,"poll":{}}"#];
    let malformed: [&[u8]; 3] =
        [br#"{"update_id":7}"#, br#"{"update_id":8,"message":5}"#, br#"{"update_id":9,"message":{"message_id":"x"}}"#];
    while_receiving(&world, &intake, async {
        clock.asleep(1).await;
        for body in unreadable {
            assert!(take(&world, body).await.is_err(), "{}", String::from_utf8_lossy(body));
        }
        assert_eq!(intake.inbox.batches().len(), 0);
        for body in malformed {
            take(&world, body).await.unwrap();
        }
        let spoiled =
            update(10, "spoiled ?").iter().map(|byte| if *byte == b'?' { 0xff } else { *byte }).collect::<Vec<u8>>();
        take(&world, &spoiled).await.unwrap();
    })
    .await;
    let kinds: Vec<InboundKind> = intake.inbox.distinct().into_iter().map(|inbound| inbound.kind).collect();
    assert!(kinds[..3].iter().all(|kind| matches!(kind, InboundKind::Malformed)), "{kinds:?}");
    assert_eq!(intake.inbox.texts(), ["spoiled \u{fffd}"]);
}

#[tokio::test]
async fn what_cannot_be_stored_is_not_taken() {
    let (world, clock, intake) = world().await;
    while_receiving(&world, &intake, async {
        clock.asleep(1).await;
        intake.inbox.refuse(1);
        assert!(take(&world, &update(1, "a")).await.is_err());
        assert!(matches!(world.channel_health(), ChannelHealth::Degraded { .. }));
        take(&world, &update(1, "a")).await.unwrap();
        assert_eq!(world.channel_health(), ChannelHealth::Listening);
        intake.inbox.set_full(true);
        // It was full a moment ago; whether it still is, only storing tells.
        take(&world, &update(2, "b")).await.unwrap();
        assert_eq!(world.channel_health(), ChannelHealth::Listening);
    })
    .await;
    assert_eq!(intake.inbox.texts(), ["a", "b"]);
}

#[tokio::test]
async fn many_at_once_are_stored_one_after_the_other() {
    let (world, clock, intake) = world().await;
    while_receiving(&world, &intake, async {
        clock.asleep(1).await;
        // One that hangs up is stored or not, but holds nobody up.
        drop(Webhook::take(world.channel.as_ref(), &update(1, "1")));
        let mut callers = JoinSet::new();
        for id in 2..=40 {
            let channel = Arc::clone(&world.channel);
            callers.spawn(async move { Webhook::take(channel.as_ref(), &update(id, "x")).await });
        }
        while let Some(outcome) = tokio::time::timeout(LIMIT, callers.join_next()).await.unwrap() {
            outcome.unwrap().unwrap();
        }
    })
    .await;
    assert!(intake.inbox.batches().iter().all(|batch| batch.len() == 1));
    assert_eq!(intake.inbox.texts().len(), 39);
}

#[tokio::test]
async fn a_webhook_that_somebody_changes_is_set_again_once_in_ten_minutes() {
    let (world, clock, intake) = world().await;
    let elsewhere = json!({"url": "https://elsewhere.example.org/"});
    while_receiving(&world, &intake, async {
        clock.asleep(1).await;
        world.call_as_another_program("setWebhook", &elsewhere).await;
        for look in 1..=9 {
            clock.advance_when_asleep(look, MINUTE).await;
            clock.asleep(look + 1).await;
            assert!(matches!(world.channel_health(), ChannelHealth::Degraded { .. }));
        }
        assert_eq!(world.count("setWebhook"), 2, "ours at the start and the other one");
        world.server.fault(Fault::once("setWebhook", Action::HtmlBody502));
        clock.advance_when_asleep(10, MINUTE).await;
        clock.asleep(11).await;
        assert_eq!(world.count("setWebhook"), 3, "after ten minutes");
        assert!(matches!(world.channel_health(), ChannelHealth::Degraded { .. }));
        clock.advance_when_asleep(11, MINUTE).await;
        clock.asleep(12).await;
        assert_eq!(world.count("setWebhook"), 4, "that one did not work, so it is tried again at the next look");
        clock.advance_when_asleep(12, MINUTE).await;
        clock.asleep(13).await;
        assert_eq!(world.channel_health(), ChannelHealth::Listening);
    })
    .await;
    assert_eq!(world.params("setWebhook").last().unwrap()["url"], json!(URL));
    assert!(intake.topics().iter().all(|topic| *topic == "telegram webhook") && !intake.topics().is_empty());
}

#[tokio::test]
async fn trouble_with_the_server_degrades_and_passes() {
    let (world, clock, intake) = world().await;
    while_receiving(&world, &intake, async {
        clock.asleep(1).await;
        world.server.fault(Fault::once("getWebhookInfo", Action::HtmlBody502));
        clock.advance_when_asleep(1, MINUTE).await;
        clock.asleep(2).await;
        assert!(matches!(world.channel_health(), ChannelHealth::Degraded { .. }));
        take(&world, &update(1, "still taken")).await.unwrap();
        clock.advance_when_asleep(2, MINUTE).await;
        clock.asleep(3).await;
        assert_eq!(world.channel_health(), ChannelHealth::Listening);
    })
    .await;
    assert_eq!(intake.inbox.texts(), ["still taken"]);
}

#[tokio::test]
async fn a_webhook_that_cannot_be_set_is_tried_again_while_updates_are_taken() {
    let refusal = |status: u16| Action::Answer {
        status,
        description: format!("Bad Request: bad webhook: {SECRET} is odd"),
        parameters: json!(null),
    };
    let cases = [
        (refusal(500), 1, 0),
        (Action::DropBefore, 1, 0),
        (refusal(400), 1, 1),
        (Action::RateLimit { retry_after: Some(30) }, 33, 0),
    ];
    for (action, seconds, told) in cases {
        let (world, clock, intake) = world().await;
        world.server.fault(Fault::once("setWebhook", action.clone()));
        while_receiving(&world, &intake, async {
            clock.asleep(1).await;
            take(&world, &update(1, "from an earlier webhook")).await.unwrap();
            let ChannelHealth::Degraded { reason, .. } = world.channel_health() else { panic!("{action:?}") };
            assert!(reason.starts_with("telegram did not take the webhook: "), "{reason}");
            assert!(!reason.contains(SECRET), "{reason}");
            clock.advance_when_asleep(1, Duration::from_secs(seconds)).await;
            clock.asleep(2).await;
            assert_eq!(world.channel_health(), ChannelHealth::Listening, "{action:?}");
        })
        .await;
        assert_eq!(intake.topics(), vec!["telegram webhook"; told], "{action:?}");
        assert!(intake.words().iter().all(|words| !words.contains(SECRET)), "{:?}", intake.words());
    }
}

#[tokio::test]
async fn a_refused_token_ends_the_channel_also_later() {
    for (method, after) in [("getMe", 0), ("setWebhook", 0), ("getWebhookInfo", 0), ("getWebhookInfo", 1)] {
        let (world, clock, intake) = world().await;
        let refusal = Action::Answer { status: 401, description: "Unauthorized".to_owned(), parameters: json!(null) };
        world.server.fault(Fault::on(method, refusal).after(after));
        let receiving = Channel::receive(world.channel.as_ref(), Arc::clone(&intake) as Arc<dyn Intake>);
        let moving = async {
            if after > 0 {
                clock.advance_when_asleep(1, MINUTE).await;
            }
        };
        let (error, ()) = tokio::join!(receiving, moving);
        assert!(matches!(error, ChannelError::Fatal(_)), "{method}: {error}");
        assert!(matches!(world.channel_health(), ChannelHealth::Failed { .. }), "{method}");
        assert!(take(&world, &update(1, "x")).await.is_err());
    }
}

/// The server brings updates out of order when one of them fails. Polling, later on, must not confirm the failed one away.
#[tokio::test]
async fn back_to_polling_nothing_is_lost() {
    let (world, clock, intake) = world().await;
    let ids = ["first", "second", "third"].map(|text| world.server.send_text(ANN, text));
    while_receiving(&world, &intake, async {
        clock.asleep(1).await;
        let mut bodies: Vec<Vec<u8>> = Vec::new();
        for (id, text) in ids.iter().zip(["first", "second", "third"]) {
            bodies.push(update(*id, text));
        }
        intake.inbox.refuse(1);
        assert!(take(&world, &bodies[0]).await.is_err(), "the first fails and waits at the server");
        take(&world, &bodies[2]).await.unwrap();
    })
    .await;
    assert_eq!(intake.inbox.cursor(BOT), Some(0));

    let polling = World::with(|options| options.api_root = world.server.base_url()).await;
    let all = |inbox: &blufio_testkit::contract::channel::MemoryIntake| {
        let texts = inbox.texts();
        ["first", "second", "third"].iter().all(|text| texts.contains(&(*text).to_owned())).then_some(())
    };
    while_receiving(&polling, &intake, intake.inbox.wait_for(all)).await;
    let requests = world.server.requests();
    let order: Vec<&str> = requests.iter().map(|request| request.method.as_str()).collect();
    let place = |method: &str| order.iter().position(|known| *known == method).unwrap();
    assert!(place("deleteWebhook") < place("getUpdates"), "{order:?}");
    assert_eq!(world.params("deleteWebhook"), [json!({"drop_pending_updates": false})]);
    assert!(world.params("getUpdates")[0]["offset"].is_null());
}

#[tokio::test]
async fn from_polling_to_a_webhook_the_cursor_stays() {
    let world = World::new().await;
    let intake = Arc::new(Noting::default());
    let first = world.server.send_text(ANN, "polled");
    while_receiving(&world, &intake, async {
        intake.inbox.wait_for_texts(&["polled"]).await;
        world.server.wait_for(|state| (state.pending_updates() == 0).then_some(()), LIMIT).await;
    })
    .await;
    let pushed = World::with(|options| {
        options.api_root = world.server.base_url();
        options.mode = mode();
    })
    .await;
    while_receiving(&pushed, &intake, async {
        world.server.wait_for(called("setWebhook", 1), LIMIT).await;
        take(&pushed, &update(first + 5, "brought")).await.unwrap();
    })
    .await;
    assert_eq!(intake.inbox.texts(), ["polled", "brought"]);
    assert_eq!(intake.inbox.cursor(BOT), Some(first + 1));
}

#[tokio::test]
async fn what_is_refused_is_brought_again() {
    let (world, clock, intake) = world().await;
    let _gateway = gateway(&world, &world.channel).await;
    // Set by an earlier start; the server has tried before this one receives.
    let earlier = json!({"url": URL, "secret_token": SECRET});
    world.call_as_another_program("setWebhook", &earlier).await;
    world.server.send_text(ANN, "one");
    let failed = |state: &blufio_testkit::botapi::State| (!state.webhook_deliveries().is_empty()).then_some(());
    world.server.wait_for(failed, LIMIT).await;
    while_receiving(&world, &intake, async {
        clock.asleep(1).await;
        intake.inbox.wait_for_texts(&["one"]).await;
        intake.inbox.refuse(2);
        world.server.send_text(ANN, "two");
        intake.inbox.wait_for_texts(&["one", "two"]).await;
        world.server.wait_for(|state| (state.pending_updates() == 0).then_some(()), LIMIT).await;
    })
    .await;
    let statuses: Vec<u16> = world.server.webhook_deliveries().iter().map(|delivery| delivery.status).collect();
    assert_eq!(statuses[0], 503, "nobody receives yet");
    assert_eq!(statuses[statuses.len() - 4..], [200, 503, 503, 200]);
}

#[tokio::test]
async fn a_server_that_does_not_get_through_is_seen() {
    let (world, clock, intake) = world().await;
    // A port at which nobody listens any more.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    while_receiving(&world, &intake, async {
        clock.asleep(1).await;
        world.server.webhook_target(closed);
        world.server.send_text(ANN, "hi");
        let failed = |state: &blufio_testkit::botapi::State| (!state.webhook_deliveries().is_empty()).then_some(());
        world.server.wait_for(failed, LIMIT).await;
        clock.advance_when_asleep(1, MINUTE).await;
        clock.asleep(2).await;
        let ChannelHealth::Degraded { reason, .. } = world.channel_health() else { panic!() };
        assert_eq!(reason, "telegram cannot deliver updates: Connection refused");
        let _gateway = gateway(&world, &world.channel).await;
        intake.inbox.wait_for_texts(&["hi"]).await;
        world.server.wait_for(|state| (state.pending_updates() == 0).then_some(()), LIMIT).await;
        // The tries of the last minute may have failed once more; those of the next one do not.
        for look in 2..=3 {
            clock.advance_when_asleep(look, MINUTE).await;
            clock.asleep(look + 1).await;
        }
        assert_eq!(world.channel_health(), ChannelHealth::Listening);
    })
    .await;
}

/// One bot, its mode changed again and again, and messages that come at any time.
#[tokio::test]
async fn changing_the_mode_loses_and_doubles_nothing() {
    let (world, _, intake) = world().await;
    let polling = World::with(|options| options.api_root = world.server.base_url()).await;
    let _gateway = gateway(&world, &world.channel).await;
    let mut texts: Vec<String> = Vec::new();
    for round in 0..6 {
        let between = format!("between, before round {round}");
        world.server.send_text(ANN, &between);
        texts.push(between);
        let receiver = if round % 2 == 0 { &polling } else { &world };
        while_receiving(receiver, &intake, async {
            for number in 0..3 {
                let during = format!("message {number} of round {round}");
                world.server.send_text(ANN, &during);
                texts.push(during);
            }
            intake.inbox.wait_for(|inbox| (inbox.texts().len() >= texts.len()).then_some(())).await;
        })
        .await;
    }
    assert_eq!(intake.inbox.texts(), texts);
    assert_eq!((world.count("setWebhook"), world.count("deleteWebhook")), (3, 2));
    assert_eq!(world.server.overlapping_polls(), 0);
}
