//! What the owner is told without having asked, and what happens where nobody can be told anything: shut chats, long waits,
//! other programs on the same bot, quiet hours, errors that are not to be told.

use std::time::{SystemTime, UNIX_EPOCH};

use blufio_testkit::botapi::{BotApiConfig, ChatKind};
use blufio_testkit::messages::{Fault, FaultKind, MessagesConfig};

use crate::support::{ANN, BOB, SOON, TOKEN, World, answered, each_once};

/// A group that is served.
const TEAM: i64 = -1_000_000_000_100;
const DECLINED: &str = "The model declined to answer this";
const EMPTY: &str = "The model ended without a reply";
const LOST: &str = "A message to chat 1002 could not be delivered";
const PRIVACY: &str = "privacy mode is on";
const CONFLICT: &str = "Another program fetches this bot's messages";

/// How often the bot has tried to send to a chat.
fn sends(world: &World, chat: i64) -> usize {
    let requests = world.telegram.requests();
    requests.iter().filter(|request| request.method == "sendMessage" && request.params["chat_id"] == chat).count()
}

/// Rows of the outbox for a chat in this state.
async fn rows(world: &World, chat: i64, state: &str, count: i64) {
    world.stored(&format!("SELECT count(*) FROM outbox WHERE chat = {chat} AND state = '{state}'"), count).await;
}

// ---------------------------------------------------------------- shut chats

#[tokio::test]
async fn who_has_blocked_the_bot_gets_nothing_until_they_come_back() {
    let world = World::start().await;
    world.telegram.open_private(ANN);
    world.say(BOB, "#1 [slow:500]");
    world.prompted("#1").await;
    world.say(BOB, "#2");
    world.say(BOB, "#3");
    world.stored("SELECT count(*) FROM inbox WHERE state = 'received'", 2).await;
    world.telegram.set_blocked(BOB, true);
    world.stored("SELECT count(*) FROM closed_chats WHERE chat = 1002 AND reason LIKE '%blocked%'", 1).await;
    // The turns end all the same, and their answers are given up at once.
    world.stored("SELECT count(*) FROM turns WHERE state = 'done'", 3).await;
    rows(&world, BOB, "dead", 3).await;
    let told = world.hear(ANN, LOST).await;
    assert!(told.text.contains("blocked") && told.text.contains("blufio channel status"), "{}", told.text);
    assert!(sends(&world, BOB) <= 3, "no row is tried twice: {}", sends(&world, BOB));
    // Others are served.
    world.ask(ANN, "#4", "answer #4").await;

    world.ask(BOB, "/start", "Hello, I am Blufio").await;
    assert_eq!(world.sql("SELECT count(*) FROM closed_chats"), 0);
    world.ask(BOB, "#5", "answer #5").await;
    assert_eq!(answered(&world.heard(BOB)), each_once([5]), "what was given up stays so");
    assert_eq!(world.count(ANN, LOST), 1, "told once");
    assert_eq!(world.get("/readyz").await.unwrap().0, 200);
    world.finish().await;
}

/// The account is gone, and nobody tells the bot.
#[tokio::test]
async fn a_chat_that_refuses_a_message_is_shut() {
    let mut world = World::start().await;
    world.telegram.open_private(ANN);
    world.say(BOB, "#1 [long:2500] [slow:300]");
    world.prompted("#1").await;
    world.telegram.change(|state| state.deactivate_user(BOB));
    world.stored("SELECT count(*) FROM closed_chats WHERE chat = 1002 AND reason LIKE '%deactivated%'", 1).await;
    world.stored("SELECT count(*) FROM outbox WHERE chat = 1002 AND state <> 'dead'", 0).await;
    assert!(world.sql("SELECT count(*) FROM outbox WHERE chat = 1002") > 1, "an answer of several messages");
    assert_eq!(sends(&world, BOB), 1, "the rest of it was not tried");
    world.hear(ANN, LOST).await;
    // A restart tries nothing again.
    world.restart().await;
    world.ask(ANN, "#2", "answer #2").await;
    assert_eq!((sends(&world, BOB), world.count(ANN, LOST)), (1, 1));
    world.ask(BOB, "/start", "Hello, I am Blufio").await;
    world.ask(BOB, "#3", "answer #3").await;
    world.finish().await;
}

// ---------------------------------------------------------------- long waits

#[tokio::test]
async fn a_chat_that_must_wait_for_an_hour_holds_up_no_other_and_waits_over_a_restart() {
    let mut world = World::start().await;
    world.telegram.open_private(BOB);
    world.telegram.change(|state| state.flood(Some(BOB), 3_600));
    world.say(BOB, "#1");
    world
        .stored("SELECT count(*) FROM outbox WHERE chat = 1002 AND state = 'queued' AND not_before > at + 3500000", 1)
        .await;
    world.ask(ANN, "#2", "answer #2").await;
    // What comes later waits behind it.
    world.say(BOB, "#3");
    world.stored("SELECT count(*) FROM turns WHERE state = 'done'", 3).await;
    world.ask(ANN, "#4", "answer #4").await;
    world.restart().await;
    world.ask(ANN, "#5", "answer #5").await;
    world.booked().await;
    world.kill().await;
    world.run().await;
    world.ask(ANN, "#6", "answer #6").await;
    assert_eq!((sends(&world, BOB), world.telegram.read(|state| state.early_sends())), (1, 0));
    rows(&world, BOB, "queued", 2).await;

    // The hour passes: for the server by its clock, for the rows in the database.
    world.end().await;
    world.tamper("UPDATE outbox SET not_before = not_before - 3600000 WHERE state = 'queued'");
    world.telegram.change(|state| state.flood(Some(BOB), 0));
    world.run().await;
    world.hear(BOB, "answer #3").await;
    assert_eq!(answered(&world.heard(BOB)), each_once([1, 3]));
    assert_eq!(answered(&world.heard(ANN)), each_once([2, 4, 5, 6]));
    world.finish().await;
}

// ---------------------------------------------------------------- another program on the same bot

/// Somebody else asks for this bot's updates once.
async fn poll_elsewhere(world: &World) {
    let stream = tokio::net::TcpStream::connect(world.telegram.addr()).await.unwrap();
    let request = format!("GET /bot{TOKEN}/getUpdates?timeout=0 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let (status, body) = crate::support::exchange(stream, &request).await.expect("the fake answers");
    assert_eq!(status, 200, "{body}");
}

/// Waits until the server's own poll is open, and not the short one at its start.
async fn polls(world: &World, before: u64) {
    world.telegram.wait_for(|state| (state.count("getUpdates") >= before + 2).then_some(()), SOON).await;
}

#[tokio::test]
async fn another_program_that_polls_is_told_of_once() {
    let mut world = World::prepare().await;
    world.telegram.open_private(ANN);
    world.run().await;
    polls(&world, 0).await;
    poll_elsewhere(&world).await;
    let told = world.hear(ANN, CONFLICT).await;
    assert!(told.text.contains("BotFather"), "it says what to do: {}", told.text);
    assert_eq!(world.get("/healthz").await.unwrap().0, 200, "the process lives");

    // Once more, after a restart, since it would wait for a minute otherwise.
    let before = world.telegram.read(|state| state.count("getUpdates"));
    world.restart().await;
    polls(&world, before).await;
    world.ask(ANN, "#1", "answer #1").await;
    let noticed = world.log().matches("another program receives this bot's updates").count();
    poll_elsewhere(&world).await;
    world
        .eventually("it is noticed", async |world| {
            (world.log().matches("another program receives this bot's updates").count() > noticed).then_some(())
        })
        .await;
    world.end().await;
    assert_eq!(world.count(ANN, CONFLICT), 1, "told once an hour");
    world.finish().await;
}

// ---------------------------------------------------------------- what the bot cannot see

/// A world with a group, not started.
async fn with_group(bot: BotApiConfig, rules: &str) -> World {
    let mut world = World::prepare_as(MessagesConfig::default(), bot).await;
    world.telegram.open_private(ANN);
    world.telegram.add_group(TEAM, "the team", ChatKind::Supergroup { forum: false }, &[ANN, BOB]);
    world.set(&[("telegram.groups", &format!("{{ {TEAM} = {{ {rules} }} }}"))]);
    world
}

#[tokio::test]
async fn a_bot_that_is_to_read_along_and_cannot_says_so_once() {
    let mut world = with_group(BotApiConfig::default(), "require_mention = false").await;
    world.run().await;
    let told = world.hear(ANN, PRIVACY).await;
    assert!(told.text.contains("/setprivacy") && told.text.contains("@blufio_test_bot"), "{}", told.text);
    world.restart().await;
    world.ask(ANN, "#1", "answer #1").await;
    world.end().await;
    assert_eq!(world.count(ANN, PRIVACY), 1, "told once an hour");
    assert_eq!(world.log().matches("privacy mode is on for this bot").count(), 2, "and logged at each start");
    world.finish().await;
}

#[tokio::test]
async fn a_bot_that_sees_what_it_is_to_see_says_nothing() {
    let sees_all = BotApiConfig { can_read_all_group_messages: true, ..BotApiConfig::default() };
    let cases = [(sees_all, "require_mention = false"), (BotApiConfig::default(), "history_limit = 0")];
    for (bot, rules) in cases {
        let mut world = with_group(bot, rules).await;
        world.run().await;
        world.ask(ANN, "#1", "answer #1").await;
        world.end().await;
        assert_eq!(world.count(ANN, PRIVACY), 0, "{rules}");
        world.finish().await;
    }
}

// ---------------------------------------------------------------- quiet hours

/// From an hour ago to an hour from now, by the clock of UTC.
fn quiet_now() -> String {
    let minutes = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 60 % 1_440;
    let time = |minutes: u64| format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60);
    format!("\"{}-{}\"", time(minutes + 1_380), time(minutes + 60))
}

#[tokio::test]
async fn in_the_quiet_hours_notices_wait_and_answers_do_not() {
    let mut world = with_group(BotApiConfig::default(), "").await;
    world.set(&[("notices.quiet_hours", &quiet_now()), ("agents.main.timezone", "\"UTC\"")]);
    world.run().await;
    world.stored("SELECT count(*) FROM outbox WHERE kind = 'notice' AND state = 'queued' AND not_before > at", 1).await;
    let wait = world.sql("SELECT not_before - at FROM outbox WHERE kind = 'notice'");
    assert!((3_500_000..=3_600_000).contains(&wait), "until the end of the quiet hours: {wait} ms");
    world.ask(ANN, "#1", "answer #1").await;
    world.ask(ANN, "/whoami", "an owner").await;
    world.restart().await;
    world.ask(ANN, "#2", "answer #2").await;
    assert_eq!(world.count(ANN, PRIVACY), 0, "it still waits");
    world.end().await;
    world.tamper("UPDATE outbox SET not_before = not_before - 3700000 WHERE kind = 'notice'");
    world.run().await;
    world.hear(ANN, PRIVACY).await;
    assert_eq!(answered(&world.heard(ANN)), each_once(1..=2));
    world.finish().await;
}

#[tokio::test]
async fn in_the_quiet_hours_what_others_want_asked_waits_and_what_the_owner_wants_does_not() {
    let mut world = World::prepare().await;
    let tools = r#"["write_file"]"#;
    world.set(&[("notices.quiet_hours", &quiet_now()), ("agents.main.timezone", "\"UTC\""), ("tools.ask", tools)]);
    world.run().await;
    world.telegram.open_private(ANN);
    let write = r#"[tool:write_file {"path":"a.txt","content":"written"}]"#;
    world.say(BOB, &format!("{write} #1"));
    world
        .stored("SELECT count(*) FROM outbox WHERE kind = 'question' AND state = 'queued' AND not_before > at", 1)
        .await;
    let open = world.sql("SELECT expires - created FROM approvals");
    assert!((25_100_000..=25_200_000).contains(&open), "six hours from the end of the quiet hours: {open} ms");
    world.ask(ANN, "#2", "answer #2").await;
    world.restart().await;
    world.ask(ANN, "#3", "answer #3").await;
    assert_eq!(world.count(ANN, "May I"), 0, "it still waits");
    // Who writes is awake.
    world.say(ANN, &format!("{write} #4"));
    world.hear(ANN, "May I").await;
    world.say(ANN, "/stop");
    world.hear(ANN, "Stopped.").await;
    world.end().await;
    world.tamper("UPDATE outbox SET not_before = not_before - 3700000 WHERE kind = 'question' AND state = 'queued'");
    world.run().await;
    world.eventually("the question of the night", async |world| (world.count(ANN, "May I") == 2).then_some(())).await;
    world.say(BOB, "/stop");
    world.hear(BOB, "Stopped.").await;
    world.finish().await;
}

#[tokio::test]
async fn outside_the_quiet_hours_notices_are_told_at_once() {
    let mut world = with_group(BotApiConfig::default(), "").await;
    // The same hours somewhere else on earth.
    world.set(&[("notices.quiet_hours", &quiet_now()), ("agents.main.timezone", "\"Pacific/Auckland\"")]);
    world.run().await;
    world.hear(ANN, PRIVACY).await;
    world.finish().await;
}

// ---------------------------------------------------------------- errors

/// Waits until so many turns are over, and demands how each of them ended.
async fn turns(world: &World, outcomes: &[(&str, i64)]) {
    let all: i64 = outcomes.iter().map(|(_, count)| count).sum();
    world.stored("SELECT count(*) FROM turns WHERE state = 'done'", all).await;
    for (outcome, count) in outcomes {
        assert_eq!(world.sql(&format!("SELECT count(*) FROM turns WHERE outcome = '{outcome}'")), *count, "{outcome}");
    }
}

#[tokio::test]
async fn an_error_is_told_once_in_a_while_and_chat() {
    let world = World::start().await;
    world.ask(ANN, "[refuse]", DECLINED).await;
    world.say(ANN, "[refuse]");
    turns(&world, &[("error", 2)]).await;
    world.ask(ANN, "[empty]", EMPTY).await;
    world.ask(BOB, "[refuse]", DECLINED).await;
    world.ask(ANN, "#1", "answer #1").await;
    assert_eq!((world.count(ANN, DECLINED), world.count(ANN, EMPTY), world.count(BOB, DECLINED)), (1, 1, 1));
    turns(&world, &[("error", 4), ("reply", 1)]).await;
    world.finish().await;
}

#[tokio::test]
async fn every_error_is_told_where_that_is_wanted() {
    let world = World::start_with(&[("telegram.error_policy", "\"always\"")]).await;
    for number in 1..=3 {
        world.say(ANN, "[refuse]");
        world.eventually("it is told", async |world| (world.count(ANN, DECLINED) == number).then_some(())).await;
    }
    turns(&world, &[("error", 3)]).await;
    world.finish().await;
}

#[tokio::test]
async fn no_error_is_told_where_none_is_wanted_and_every_turn_ends() {
    let world = World::start_with(&[("telegram.error_policy", "\"silent\"")]).await;
    let unauthorized = FaultKind::Status {
        code: 401,
        kind: "authentication_error".to_owned(),
        message: "the fake does not know the key".to_owned(),
        error_code: None,
        retry_after: None,
    };
    world.messages.fault(Fault { only_if: Some("nobody".to_owned()), ..Fault::always(unauthorized) });
    for text in ["[refuse]", "[empty]", "nobody answers this"] {
        world.say(ANN, text);
    }
    turns(&world, &[("error", 3)]).await;
    world.ask(ANN, "#1", "answer #1").await;
    assert_eq!(world.heard(ANN).len(), 1, "{:?}", world.heard(ANN));
    let log = world.log();
    assert!(log.contains("the model declined") && log.contains("the model call failed"), "the log has them: {log}");
    world.finish().await;
}

/// A preview that stands in the chat already does not stay unfinished.
#[tokio::test]
async fn an_error_that_is_not_told_takes_its_preview_away() {
    let keys =
        [("telegram.error_policy", "\"silent\""), ("telegram.streaming", "\"edit\""), ("session.turn_deadline_s", "1")];
    let world = World::start_with(&keys).await;
    world.say(ANN, "[long:400][drip:50]");
    world.hear(ANN, "").await;
    world.stored("SELECT count(*) FROM turns WHERE outcome = 'error'", 1).await;
    let gone =
        |state: &blufio_testkit::botapi::State| state.transcript(ANN).iter().all(|said| !said.from_bot).then_some(());
    world.telegram.wait_for(gone, SOON).await;
    world.ask(ANN, "#1", "answer #1").await;
    world.finish().await;
}
