//! Receiving: the order of storing and confirming, every failure of a poll, and what the owner is told.

use super::{ANN, Ann, BOT, LIMIT, TOKEN, World, called, route};
use blufio_core::port::{Boxed, Channel, ChannelError, ChannelHealth, Inbound, InboundKind, Intake, IntakeError};
use blufio_testkit::botapi::{Action, BotApiConfig, FakeBotApi, Fault};
use blufio_testkit::contract::channel::{MemoryIntake, Outside, receive, stop};
use serde_json::json;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// An inbox in memory that remembers what the owner was told.
#[derive(Default)]
pub(super) struct Noting {
    pub(super) inbox: Arc<MemoryIntake>,
    told: Mutex<Vec<(&'static str, String)>>,
}

impl Noting {
    pub(super) fn topics(&self) -> Vec<&'static str> {
        self.told.lock().unwrap().iter().map(|(topic, _)| *topic).collect()
    }

    pub(super) fn words(&self) -> Vec<String> {
        self.told.lock().unwrap().iter().map(|(_, words)| words.clone()).collect()
    }
}

impl Intake for Noting {
    fn accept(&self, account: i64, batch: Vec<Inbound>, cursor: i64) -> Boxed<'_, Result<(), IntakeError>> {
        self.inbox.accept(account, batch, cursor)
    }

    fn cursor(&self, account: i64) -> Option<i64> {
        self.inbox.cursor(account)
    }

    fn ready(&self) -> Boxed<'_, ()> {
        self.inbox.ready()
    }

    fn tell_owner(&self, topic: &'static str, text: String) {
        self.told.lock().unwrap().push((topic, text));
    }
}

/// Receives for as long as `work` takes. Receiving is dropped when this returns.
pub(super) async fn while_receiving<T>(world: &World, intake: &Arc<Noting>, work: impl Future<Output = T>) -> T {
    tokio::select! {
        error = Channel::receive(world.channel.as_ref(), Arc::clone(intake) as Arc<dyn Intake>) => {
            panic!("receiving ended by itself: {error}")
        }
        outcome = work => outcome,
    }
}

fn answer(status: u16, description: &str) -> Action {
    Action::Answer { status, description: description.to_owned(), parameters: json!(null) }
}

/// The offsets of all polls, oldest first; `null` where there was none.
fn offsets(world: &World) -> Vec<serde_json::Value> {
    world.params("getUpdates").into_iter().map(|params| params["offset"].clone()).collect()
}

fn kinds(intake: &MemoryIntake) -> Vec<String> {
    let kind = |kind: &InboundKind| match kind {
        InboundKind::Message { content, .. } => format!("message {}", content.text),
        InboundKind::Edited { text, message, .. } => format!("edit {message} {text}"),
        InboundKind::Ignored(kind) => format!("ignored {kind}"),
        InboundKind::Malformed => "malformed".to_owned(),
        other => format!("{other:?}"),
    };
    intake.distinct().iter().map(|inbound| kind(&inbound.kind)).collect()
}

#[tokio::test]
async fn updates_are_confirmed_only_after_they_are_stored() {
    let world = World::new().await;
    let server = world.server.clone();
    let intake = Arc::new(MemoryIntake::watched(Box::new(move |cursor| {
        let confirmed = |request: &serde_json::Value| request["offset"].as_i64().is_some_and(|offset| offset >= cursor);
        let early = server.requests().iter().any(|request| confirmed(&request.params.clone().into()));
        assert!(!early, "the offset {cursor} was used before its batch was stored");
        assert!(server.read(|state| state.pending_updates()) > 0);
    })));
    let task = receive(&world.any(), &intake);
    for text in ["a", "b", "c", "d"] {
        world.server.send_text(ANN, text);
        intake.wait_for(|intake| intake.texts().contains(&text.to_owned()).then_some(())).await;
    }
    world.server.wait_for(|state| (state.pending_updates() == 0).then_some(()), LIMIT).await;
    stop(task).await;
    assert_eq!(intake.texts(), ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn polls_say_what_they_want_each_time_and_only_the_first_does_not_wait() {
    let world = World::new().await;
    let intake = Arc::new(MemoryIntake::default());
    let task = receive(&world.any(), &intake);
    Ann(world.server.clone()).write("hello");
    intake.wait_for_texts(&["hello"]).await;
    world.server.wait_for(|state| (state.pending_updates() == 0).then_some(()), LIMIT).await;
    stop(task).await;
    let polls = world.params("getUpdates");
    assert!(polls.len() >= 2, "{polls:?}");
    for (place, poll) in polls.iter().enumerate() {
        assert_eq!(poll["timeout"], json!(if place == 0 { 0 } else { 50 }));
        assert_eq!(poll["limit"], json!(100));
        let kinds = json!(["message", "edited_message", "callback_query", "message_reaction", "my_chat_member"]);
        assert_eq!(poll["allowed_updates"], kinds);
        assert!(poll["offset"].as_i64().is_none_or(|offset| offset >= 0));
    }
    assert!(polls[0]["offset"].is_null(), "an unknown bot begins without an offset");
    let connections = |method: &str| -> Vec<u64> {
        let requests = world.server.requests().into_iter().filter(|request| request.method == method);
        requests.map(|request| request.connection).collect()
    };
    assert!(!connections("getUpdates").contains(&connections("getMe")[0]), "polls have a connection of their own");
    assert_eq!(world.server.overlapping_polls(), 0);
}

#[tokio::test]
async fn a_repeated_update_has_the_same_identity() {
    let world = World::new().await;
    let intake = Arc::new(MemoryIntake::default());
    let task = receive(&world.any(), &intake);
    let update = world.server.send_text(ANN, "once");
    intake.wait_for_texts(&["once"]).await;
    assert!(world.server.redeliver(update, 3));
    let seen = |intake: &MemoryIntake| intake.batches().iter().flatten().count();
    world.server.send_text(ANN, "twice");
    intake.wait_for(|intake| (seen(intake) >= 5).then_some(())).await;
    stop(task).await;
    assert_eq!(intake.texts(), ["once", "twice"]);
}

#[tokio::test]
async fn odd_updates_do_not_hold_up_the_others() {
    let world = World::new().await;
    let first = world.server.send_text(ANN, "before");
    world.server.push_update(&json!({"message": 5}));
    world.server.push_update(&json!({"message": {"message_id": 1, "chat": {"id": "x", "type": "private"}}}));
    world.server.push_update(&json!({"holographic_call": {"id": 1}}));
    world.server.push_update(&json!({"poll": {"id": "7"}}));
    world.server.push_update(&json!({}));
    let person =
        json!({"id": 9_007_199_254_740_993_i64, "is_bot": false, "first_name": "Far", "new_field": {"a": [1]}});
    world.server.push_update(&json!({"message": {"message_id": 3, "date": 1, "from": person,
        "chat": {"id": -9_007_199_254_740_993_i64, "type": "group"}, "text": "wide"}}));
    world.server.send_text(ANN, "after");
    let intake = Arc::new(MemoryIntake::default());
    let task = receive(&world.any(), &intake);
    intake.wait_for_texts(&["before", "wide", "after"]).await;
    world.server.wait_for(|state| (state.pending_updates() == 0).then_some(()), LIMIT).await;
    world.server.change(|state| state.edit_post(ANN, 1, "before, changed"));
    intake.wait_for(|intake| kinds(intake).contains(&"edit 1 before, changed".to_owned()).then_some(())).await;
    stop(task).await;
    let expect = [
        "message before",
        "malformed",
        "malformed",
        "ignored unknown",
        "ignored poll",
        "malformed",
        "message wide",
        "message after",
        "edit 1 before, changed",
    ];
    assert_eq!(kinds(&intake), expect);
    let updates: Vec<i64> = intake.distinct().iter().map(|inbound| inbound.update).collect();
    assert_eq!(updates, (first..first + 9).collect::<Vec<_>>());
    let raw = &intake.distinct()[1].raw;
    assert_eq!(&raw[..], format!(r#"{{"update_id":{},"message":5}}"#, first + 1).as_bytes());
}

#[tokio::test]
async fn the_offset_follows_ids_that_start_anew() {
    let world = World::new().await;
    world.server.reset_ids(7);
    world.server.send_text(ANN, "low");
    let intake = Arc::new(MemoryIntake::at(BOT, 1_000_000));
    let task = receive(&world.any(), &intake);
    intake.wait_for_texts(&["low"]).await;
    world.server.send_text(ANN, "next");
    intake.wait_for_texts(&["low", "next"]).await;
    stop(task).await;
    assert_eq!(offsets(&world)[..2], [json!(1_000_000), json!(8)]);
}

#[tokio::test]
async fn the_cursor_of_another_bot_and_a_negative_one_are_not_used() {
    for intake in [MemoryIntake::at(BOT + 1, 500), MemoryIntake::at(BOT, -5)] {
        let world = World::new().await;
        world.server.send_text(ANN, "hi");
        let intake = Arc::new(intake);
        let task = receive(&world.any(), &intake);
        intake.wait_for_texts(&["hi"]).await;
        stop(task).await;
        assert!(offsets(&world)[0].is_null());
    }
}

#[tokio::test]
async fn a_refused_token_ends_the_channel() {
    for method in ["getMe", "getUpdates"] {
        for (status, description) in [(401, "Unauthorized"), (404, "Not Found")] {
            let world = World::new().await;
            world.server.fault(Fault::on(method, answer(status, description)));
            let task = receive(&world.any(), &Arc::default());
            let error = task.await.unwrap();
            assert!(matches!(error, ChannelError::Fatal(_)), "{error}");
            assert!(matches!(world.channel_health(), ChannelHealth::Failed { .. }));
            assert_eq!(world.clock.waits(), Vec::<Duration>::new(), "nothing is tried again");
            assert_eq!(world.count(method), 1);
        }
    }
}

#[tokio::test]
async fn passing_failures_are_waited_out() {
    let cases = [
        (answer(500, "Internal Server Error"), vec![1, 2]),
        (answer(400, "Bad Request: odd"), vec![1, 2]),
        (Action::HtmlBody502, vec![1, 2]),
        (Action::DropBefore, vec![1, 2]),
        (Action::ResetMid, vec![1, 2]),
        (Action::TruncatedJson, vec![1, 2]),
        (Action::HugeBody(11 * 1024 * 1024), vec![1, 2]),
        (Action::WrongContentType, vec![]),
        (answer(409, "Conflict: terminated by other getUpdates request"), vec![55, 55]),
        (answer(409, "Conflict: can't use getUpdates method while webhook is active"), vec![55]),
    ];
    for (action, pauses) in cases {
        let world = World::new().await;
        world.server.send_text(ANN, "hi");
        world.server.fault(Fault::on("getUpdates", action.clone()).times(2));
        let intake = Arc::new(MemoryIntake::default());
        let task = receive(&world.any(), &intake);
        intake.wait_for_texts(&["hi"]).await;
        stop(task).await;
        let waits: Vec<u64> = world.clock.waits().iter().map(Duration::as_secs).take(pauses.len()).collect();
        assert_eq!(waits, pauses, "{action:?}");
        assert!(matches!(world.channel_health(), ChannelHealth::Ready { .. }), "{action:?}");
        assert!(world.params("getUpdates").iter().all(|poll| poll["offset"].is_null() || poll["offset"] == json!(2)));
    }
}

#[tokio::test]
async fn a_pause_that_the_server_asks_for_is_kept() {
    for (retry_after, pause) in [(Some(7), Duration::from_millis(7_700)), (None, Duration::from_millis(5_500))] {
        for method in ["getMe", "getWebhookInfo", "getUpdates"] {
            let world = World::new().await;
            world.server.send_text(ANN, "hi");
            world.server.fault(Fault::once(method, Action::RateLimit { retry_after }));
            let intake = Arc::new(MemoryIntake::default());
            let task = receive(&world.any(), &intake);
            intake.wait_for_texts(&["hi"]).await;
            stop(task).await;
            assert_eq!(world.clock.waits().first(), Some(&pause), "{method}");
        }
    }
}

#[tokio::test]
async fn a_webhook_is_removed_and_what_waits_stays() {
    let world = World::new().await;
    world.server.send_text(ANN, "hi");
    world.call_as_another_program("setWebhook", &json!({"url": "https://example.org/hook"})).await;
    let intake = Arc::new(MemoryIntake::default());
    let task = receive(&world.any(), &intake);
    intake.wait_for_texts(&["hi"]).await;
    stop(task).await;
    assert_eq!(world.params("deleteWebhook"), [json!({"drop_pending_updates": false})]);
}

#[tokio::test]
async fn a_webhook_that_comes_back_is_removed_once_in_ten_minutes() {
    let world = World::new().await;
    let action = answer(409, "Conflict: can't use getUpdates method while webhook is active");
    world.server.fault(Fault::on("getUpdates", action).times(20));
    world.server.send_text(ANN, "hi");
    let intake = Arc::new(MemoryIntake::default());
    let task = receive(&world.any(), &intake);
    intake.wait_for_texts(&["hi"]).await;
    stop(task).await;
    // Twenty answers and eighteen pauses of 55 s are a good sixteen minutes.
    assert_eq!(world.count("deleteWebhook"), 2);
}

#[tokio::test]
async fn a_silent_server_is_given_up_and_asked_again_on_new_connections() {
    let world = World::with(|options| {
        options.timeouts.poll = Duration::from_millis(30);
        options.timeouts.watchdog = Duration::from_secs(10);
    })
    .await;
    let intake = Arc::new(MemoryIntake::default());
    world.server.fault(Fault::on("getUpdates", Action::NeverAnswer));
    for round in 1..=2 {
        let error = receive(&world.any(), &intake).await.unwrap();
        assert!(matches!(error, ChannelError::Restart(_)), "{error}");
        // 1 + 2 + 4 + 8 s of pauses are the first sum above ten.
        assert_eq!(world.count("getUpdates"), 4 * round);
        assert_eq!(world.channel_health(), ChannelHealth::Starting, "never answered, so never ready");
    }
    let requests = world.server.requests();
    let polls = requests.iter().filter(|request| request.method == "getUpdates");
    let connections: std::collections::BTreeSet<u64> = polls.map(|request| request.connection).collect();
    assert_eq!(connections.len(), 8);
    assert_eq!(world.count("getMe"), 1, "who the bot is stays known");

    world.server.clear_faults();
    world.server.send_text(ANN, "hi");
    let task = receive(&world.any(), &intake);
    intake.wait_for_texts(&["hi"]).await;
    stop(task).await;
    assert!(matches!(world.channel_health(), ChannelHealth::Ready { .. }));
}

#[tokio::test]
async fn the_age_of_an_unanswered_poll_survives_retries_and_restarts() {
    let world = World::with(|options| {
        options.timeouts.poll = Duration::from_millis(30);
        options.timeouts.watchdog = Duration::from_secs(10);
    })
    .await;
    let intake = Arc::new(MemoryIntake::default());
    let task = receive(&world.any(), &intake);
    world.server.send_text(ANN, "hi");
    intake.wait_for_texts(&["hi"]).await;
    world.server.fault(Fault::on("getUpdates", Action::NeverAnswer));
    let error = task.await.unwrap();
    assert!(matches!(error, ChannelError::Restart(_)), "{error}");
    let ChannelHealth::Degraded { poll_since_ms, reason } = world.channel_health() else { panic!() };
    assert!(reason.contains("no answer"), "{reason}");
    drop(receive(&world.any(), &intake).await.unwrap());
    let ChannelHealth::Degraded { poll_since_ms: later, .. } = world.channel_health() else { panic!() };
    assert_eq!(poll_since_ms, later);
}

#[tokio::test]
async fn a_full_inbox_leaves_the_updates_at_the_server() {
    let world = World::new().await;
    let intake = Arc::new(MemoryIntake::default());
    let task = receive(&world.any(), &intake);
    world.server.send_text(ANN, "one");
    intake.wait_for_texts(&["one"]).await;
    world.server.wait_for(|state| (state.pending_updates() == 0).then_some(()), LIMIT).await;
    intake.set_full(true);
    // The poll that is in flight may still bring something; after it there is none.
    world.server.send_text(ANN, "two");
    intake.wait_for_texts(&["one", "two"]).await;
    let polls = world.count("getUpdates");
    world.server.send_text(ANN, "three");
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.count("getUpdates"), polls);
    assert!(matches!(world.channel_health(), ChannelHealth::Degraded { .. }));
    intake.set_full(false);
    intake.wait_for_texts(&["one", "two", "three"]).await;
    stop(task).await;
}

#[tokio::test]
async fn what_cannot_be_stored_is_not_confirmed() {
    let world = World::new().await;
    let intake = Arc::new(MemoryIntake::default());
    intake.refuse(5);
    world.server.send_text(ANN, "hi");
    let task = receive(&world.any(), &intake);
    intake.wait_for(|intake| (intake.refused() == 5).then_some(())).await;
    assert_eq!(world.server.read(|state| state.pending_updates()), 1);
    intake.wait_for_texts(&["hi"]).await;
    stop(task).await;
    let waits: Vec<u64> = world.clock.waits().iter().take(5).map(Duration::as_secs).collect();
    assert_eq!(waits, [1, 2, 4, 4, 4], "the disk is asked again within five seconds");
    let polls = offsets(&world);
    assert!(polls[..6].iter().all(serde_json::Value::is_null), "{polls:?}");
}

#[tokio::test]
async fn one_bot_has_one_poll() {
    let world = World::new().await;
    let intake = Arc::new(MemoryIntake::default());
    for _ in 0..5 {
        let task = receive(&world.any(), &intake);
        world.server.wait_for(called("getUpdates", 1), LIMIT).await;
        let error = receive(&world.any(), &intake).await.unwrap();
        assert!(matches!(error, ChannelError::Restart(_)), "{error}");
        stop(task).await;
    }
    assert_eq!(world.server.overlapping_polls(), 0);
}

#[tokio::test]
async fn the_menu_is_set_once_and_does_not_matter() {
    let world = World::new().await;
    world.server.fault(Fault::on("setMyCommands", answer(500, "Internal Server Error")));
    let intake = Arc::new(MemoryIntake::default());
    for text in ["one", "two"] {
        let task = receive(&world.any(), &intake);
        world.server.send_text(ANN, text);
        intake.wait_for(|intake| intake.texts().contains(&text.to_owned()).then_some(())).await;
        world.server.wait_for(called("setMyCommands", 1), LIMIT).await;
        stop(task).await;
    }
    assert_eq!(world.count("setMyCommands"), 1);
    assert_eq!(world.params("setMyCommands")[0]["scope"], json!({"type": "all_private_chats"}));
    let names = &world.params("setMyCommands")[0]["commands"];
    assert_eq!(names.as_array().map(Vec::len), Some(blufio_core::command::MENU.len()));
}

#[tokio::test]
async fn a_start_without_network_waits_and_goes_on() {
    let world = World::new().await;
    world.server.fault(Fault::on("getMe", Action::DropBefore).times(2));
    world.server.fault(Fault::on("getWebhookInfo", Action::HtmlBody502).times(2));
    let intake = Arc::new(MemoryIntake::default());
    assert_eq!(world.channel_health(), ChannelHealth::Starting);
    let task = receive(&world.any(), &intake);
    world.server.send_text(ANN, "hi");
    intake.wait_for_texts(&["hi"]).await;
    stop(task).await;
    assert_eq!(world.clock.waits()[..4], [SECOND, 2 * SECOND, SECOND, 2 * SECOND]);
}

#[tokio::test]
async fn answers_go_where_the_message_came_from() {
    let world = World::new().await;
    let intake = Arc::new(MemoryIntake::default());
    let task = receive(&world.any(), &intake);
    world.server.send_text(ANN, "/stop@blufio_test_bot");
    let inbound = intake.wait_for(|intake| intake.distinct().first().cloned()).await;
    stop(task).await;
    let InboundKind::Message { route: to, session, content, addressee, name, sender, .. } = inbound.kind else {
        panic!()
    };
    assert_eq!(to, blufio_core::record::Route { reply_to: Some(1), ..route(ANN) });
    assert_eq!(session.as_str(), format!("tg:{BOT}:dm:{ANN}"));
    assert_eq!((content.text.as_str(), addressee.as_deref()), ("/stop@blufio_test_bot", Some("blufio_test_bot")));
    assert_eq!((name, sender.user, sender.private), (format!("User {ANN}"), ANN, true));
}

/// What every answer of the server leads to: the pause before the next poll, or the end of the channel.
#[tokio::test]
async fn the_table_of_all_codes() {
    let another = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";
    let webhook = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook";
    let retried = [400, 402, 403, 405, 413, 418, 420, 500, 501, 502, 503, 504, 520];
    let mut cases: Vec<(Action, Option<Duration>)> = Vec::new();
    cases.extend(retried.map(|code| (answer(code, "Some Words"), Some(SECOND))));
    cases.extend([401, 404].map(|code| (answer(code, "Some Words"), None)));
    cases.push((answer(409, another), Some(55 * SECOND)));
    cases.push((answer(409, "Conflict"), Some(55 * SECOND)));
    // The webhook is removed and the next poll follows at once.
    cases.push((answer(409, webhook), Some(Duration::ZERO)));
    cases.push((Action::RateLimit { retry_after: Some(30) }, Some(33 * SECOND)));
    cases.push((Action::RateLimit { retry_after: None }, Some(Duration::from_millis(5_500))));
    for (action, pause) in cases {
        let world = World::new().await;
        world.server.send_text(ANN, "hi");
        world.server.fault(Fault::once("getUpdates", action.clone()));
        let intake = Arc::new(MemoryIntake::default());
        let task = receive(&world.any(), &intake);
        let Some(pause) = pause else {
            let error = task.await.unwrap();
            assert!(matches!(error, ChannelError::Fatal(_)), "{action:?}: {error}");
            assert!(matches!(world.channel_health(), ChannelHealth::Failed { .. }), "{action:?}");
            continue;
        };
        intake.wait_for_texts(&["hi"]).await;
        stop(task).await;
        let first = world.clock.waits().first().copied().unwrap_or_default();
        if pause.is_zero() {
            assert_eq!(world.count("deleteWebhook"), 1, "{action:?}");
        } else {
            assert_eq!(first, pause, "{action:?}");
        }
        assert!(matches!(world.channel_health(), ChannelHealth::Ready { .. }), "{action:?}");
    }
}

/// A poll that is dropped has hung up before the next one asks, so that the bot never conflicts with itself.
#[tokio::test]
async fn fifty_respawns_never_overlap() {
    let world = World::new().await;
    let intake = Arc::new(MemoryIntake::default());
    for round in 0..50 {
        let (polls, text) = (world.count("getUpdates"), format!("message {round}"));
        let task = receive(&world.any(), &intake);
        // Every other round ends in the middle of a long poll, the others anywhere.
        world.server.send_text(ANN, &text);
        intake.wait_for(|intake| intake.texts().contains(&text).then_some(())).await;
        if round % 2 == 0 {
            world.server.wait_for(called("getUpdates", polls + 2), LIMIT).await;
        }
        stop(task).await;
    }
    assert_eq!(world.server.overlapping_polls(), 0);
    assert_eq!(intake.texts().len(), 50);
    assert!(world.server.requests().iter().all(|request| request.status != 409));
}

#[tokio::test]
async fn a_half_open_poll_ages_and_is_replaced_within_ninety_seconds() {
    let world = World::with(|options| options.timeouts.poll = SECOND).await;
    let intake = Arc::new(MemoryIntake::default());
    let task = receive(&world.any(), &intake);
    world.server.send_text(ANN, "one");
    intake.wait_for_texts(&["one"]).await;
    world.server.wait_for(|state| (state.pending_updates() == 0).then_some(()), LIMIT).await;
    world.server.fault(Fault::once("getUpdates", Action::NeverAnswer));
    world.server.send_text(ANN, "two");
    intake.wait_for_texts(&["one", "two"]).await;
    let hanging =
        |state: &blufio_testkit::botapi::State| state.requests().any(|request| request.fault.is_some()).then_some(());
    world.server.wait_for(hanging, LIMIT).await;
    let ChannelHealth::Ready { poll_since_ms } = world.channel_health() else { panic!() };
    // Nobody learns by an error that such a connection is dead; the age tells, and the clock of the age goes on.
    world.clock.advance(60 * SECOND);
    assert_eq!(world.channel_health(), ChannelHealth::Ready { poll_since_ms });
    world.server.send_text(ANN, "three");
    intake.wait_for_texts(&["one", "two", "three"]).await;
    stop(task).await;
    let ChannelHealth::Ready { poll_since_ms: later } = world.channel_health() else { panic!() };
    assert!(later >= poll_since_ms + 60_000, "{later}");
    assert_eq!(world.clock.waits(), [SECOND], "one failure, one pause, and then all is well");
    let polls: Vec<_> = world.server.requests().into_iter().filter(|request| request.method == "getUpdates").collect();
    let dead = polls.iter().position(|request| request.fault.is_some()).unwrap();
    assert_ne!(polls[dead].connection, polls[dead + 1].connection);
}

/// The watchdog counts from the first request of a poll, so that neither a long start nor a slow first answer makes a
/// channel begin again and again.
#[tokio::test]
async fn the_watchdog_lets_a_slow_start_come_to_its_end() {
    let world = World::with(|options| {
        options.timeouts.poll = Duration::from_millis(100);
        options.timeouts.watchdog = 10 * SECOND;
    })
    .await;
    // Pauses of 1 + 2 + 4 + 8 + 16 s each, three times the watchdog and more.
    world.server.fault(Fault::on("getMe", Action::HtmlBody502).times(5));
    world.server.fault(Fault::on("getWebhookInfo", Action::HtmlBody502).times(5));
    world.server.fault(Fault::on("getUpdates", Action::Delay(300)).times(2));
    world.server.send_text(ANN, "hi");
    let intake = Arc::new(MemoryIntake::default());
    let task = receive(&world.any(), &intake);
    intake.wait_for_texts(&["hi"]).await;
    stop(task).await;
    assert!(world.count("getUpdates") >= 3);
}

#[tokio::test]
async fn the_owner_is_told_of_another_program() {
    let another = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";
    let webhook = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook";
    let cases = [(another, 1, vec!["telegram conflict"]), (webhook, 1, vec![]), (webhook, 2, vec!["telegram webhook"])];
    for (description, times, topics) in cases {
        let world = World::new().await;
        world.server.fault(Fault::on("getUpdates", answer(409, description)).times(times));
        world.server.send_text(ANN, "hi");
        let intake = Arc::new(Noting::default());
        while_receiving(&world, &intake, intake.inbox.wait_for_texts(&["hi"])).await;
        assert_eq!(intake.topics(), topics, "{description}");
        assert!(intake.words().iter().all(|words| words.contains("@BotFather")), "{:?}", intake.words());
    }
}

#[tokio::test]
async fn the_owner_is_told_of_privacy_mode_if_it_matters() {
    for (reads_groups, sees_all, topics) in
        [(true, false, vec!["telegram privacy"]), (true, true, vec![]), (false, false, vec![])]
    {
        let config = BotApiConfig {
            token: TOKEN.to_owned(),
            bot_id: BOT,
            can_read_all_group_messages: sees_all,
            ..BotApiConfig::default()
        };
        let server = FakeBotApi::start(config).await.unwrap();
        server.open_private(ANN);
        server.send_text(ANN, "hi");
        let world = World::with(|options| {
            options.api_root = server.base_url();
            options.reads_groups = reads_groups;
        })
        .await;
        let intake = Arc::new(Noting::default());
        while_receiving(&world, &intake, intake.inbox.wait_for_texts(&["hi"])).await;
        assert_eq!(intake.topics(), topics);
        let remark = blufio_core::port::Channel::remark(world.channel.as_ref());
        assert_eq!(remark.is_some_and(|remark| remark.contains("privacy mode")), !topics.is_empty());
        assert!(intake.words().iter().all(|words| words.contains("/setprivacy")), "{:?}", intake.words());
        // The text came with a poll that is only now taken to its end, so the state may be one poll old.
        assert!(!matches!(world.channel_health(), ChannelHealth::Degraded { .. } | ChannelHealth::Failed { .. }));
    }
}
