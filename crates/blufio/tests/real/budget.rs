//! Money: what does not fit any budget is not spent, whoever asks and however often the process dies; and the kill switch.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{ANN, BOB, CAT, World};

const ALL_OFF: [(&str, &str); 6] = [
    ("budget.turn_usd", r#""off""#),
    ("budget.session_day_usd", r#""off""#),
    ("budget.person_day_usd", r#""off""#),
    ("budget.agent_day_usd", r#""off""#),
    ("budget.day_usd", r#""off""#),
    ("budget.month_usd", r#""off""#),
];
/// The kill switch has so long to end everything.
const KILL: Duration = Duration::from_millis(500);

/// Everything running, with only this cap.
async fn capped(key: &str, dollars: &str) -> World {
    let mut world = World::prepare().await;
    world.set(&ALL_OFF);
    let dollars = format!("\"{dollars}\"");
    world.set(&[(key, dollars.as_str())]);
    world.run().await;
    world
}

/// Micro-dollars that the ledger has, settled and held.
fn booked(world: &World) -> i64 {
    world.sql("SELECT coalesce(sum(amount), 0) FROM ledger")
}

#[tokio::test]
async fn a_call_without_room_is_refused_in_plain_words() {
    for (key, words) in [
        ("budget.turn_usd", "the budget of one answer"),
        ("budget.session_day_usd", "today's budget of this conversation"),
        ("budget.person_day_usd", "today's budget of the person who asks"),
        ("budget.agent_day_usd", "today's budget of this agent"),
        ("budget.day_usd", "today's budget"),
        ("budget.month_usd", "this month's budget"),
    ] {
        let world = capped(key, "0.0005").await;
        world.say(ANN, "#1");
        let told = world.hear(ANN, key).await.text;
        assert!(told.contains(words) && told.contains("$0.0005 are spent or reserved"), "{told}");
        assert_eq!(told.contains("It is free again on "), key != "budget.turn_usd", "{told}");
        assert_eq!((booked(&world), world.messages.calls()), (0, 0), "nobody was called");
        world.finish().await;
    }
}

#[tokio::test]
async fn short_money_means_a_shorter_answer_then_a_cheaper_model() {
    let what = "SELECT max_tokens FROM ledger WHERE model = 'claude-sonnet-5-5' AND reason = 'usual'";
    let world = capped("budget.turn_usd", "0.06").await;
    world.ask(ANN, "#1", "answer #1").await;
    let tokens = world.sql(what);
    assert!((1_024..8_192).contains(&tokens), "{tokens}");
    world.finish().await;

    let world = capped("budget.turn_usd", "0.012").await;
    world.ask(ANN, "#1", "answer #1").await;
    assert_eq!(world.sql("SELECT count(*) FROM ledger WHERE model = 'claude-haiku-5-5' AND reason = 'budget'"), 1);
    // Who has chosen a model gets that one or none.
    world.ask(ANN, "/model sonnet", "From now on").await;
    world.say(ANN, "#2");
    world.hear(ANN, "I stop here to stay within the budget of one answer").await;
    assert_eq!(world.sql("SELECT count(*) FROM ledger"), 1);
    world.finish().await;
}

#[tokio::test]
async fn many_at_once_do_not_exceed_a_cap_that_fits_one() {
    let world = capped("budget.day_usd", "0.15").await;
    for (number, person) in [ANN, BOB, CAT].into_iter().enumerate() {
        world.say(person, &format!("#{number} [slow:700]"));
    }
    world.stored("SELECT count(*) FROM turns WHERE state = 'done'", 3).await;
    assert!(world.sql("SELECT count(*) FROM turns WHERE outcome = 'reply'") >= 1);
    assert!(booked(&world) <= 150_000);
    assert_eq!(booked(&world), i64::try_from(world.messages.spend()).unwrap(), "what the vendor bills");
    world.finish().await;
}

#[tokio::test]
async fn what_was_spent_and_what_was_told_is_known_after_a_crash() {
    // One call holds some nine cents and settles for less than one.
    let mut world = capped("budget.session_day_usd", "0.10").await;
    world.ask(ANN, "#1", "answer #1").await;
    let told = world.hear(ANN, "80 % of today's budget of this conversation (tg:").await.text;
    assert!(told.contains("of $0.10 are spent or reserved"), "{told}");
    world.say(ANN, "#2 [slow:60000]");
    world.prompted("#2").await;
    world.kill().await;
    world.run().await;
    // The call that died is counted by an estimate, and what is left is held for the one that takes its place.
    world.prompted_times("#2", 2).await;
    world.stored("SELECT count(*) FROM ledger WHERE state = 'counted_estimate'", 1).await;
    assert!(booked(&world) <= 100_000);
    world.ask(ANN, "/stop", "Stopped.").await;
    world.stored("SELECT count(*) FROM turns WHERE state = 'done'", 2).await;
    assert!(booked(&world) <= 100_000);
    assert_eq!(world.count(ANN, "80 % of today's budget"), 1, "told once");
    // Somebody else's conversation has a budget of its own.
    world.ask(BOB, "#4", "answer #4").await;
    world.finish().await;
}

#[tokio::test]
async fn cost_says_what_was_spent_and_to_whom_it_is_nothing() {
    let world = World::start().await;
    world.ask(ANN, "#1", "answer #1").await;
    world.say(ANN, "/cost");
    let told = world.hear(ANN, "This conversation has cost").await.text;
    for words in ["in 1 calls", "Today: $", "This month: $", "claude-sonnet-5-5", "today's budget:", "of $5.00"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    world.ask(BOB, "#2", "answer #2").await;
    world.say(BOB, "/cost");
    let told = world.hear(BOB, "This conversation has cost").await.text;
    assert!(told.contains("person who asks: $") && !told.contains("month"), "{told}");
    world.finish().await;
}

#[tokio::test]
async fn the_kill_switch_ends_everything_and_outlives_restarts() {
    let mut world = World::start().await;
    world.say(ANN, "#1 [slow:60000]");
    world.prompted("#1").await;
    world.say(CAT, "#2 [slow:60000]");
    world.prompted("#2").await;
    world.ask(BOB, "/kill", "Only an owner may do that.").await;
    let asked = Instant::now();
    world.say(ANN, "/kill");
    world.stored("SELECT count(*) FROM turns WHERE outcome = 'stopped'", 2).await;
    assert!(asked.elapsed() < KILL, "{:?}", asked.elapsed());
    world.hear(ANN, "Everything has stopped").await;
    world.messages.wait_for(|seen| (seen.open_calls == 0).then_some(()), KILL).await;

    world.say(ANN, "#3");
    world.say(CAT, "#4");
    world.stored("SELECT count(*) FROM inbox WHERE state = 'received'", 2).await;
    world.kill().await;
    world.run().await;
    world.ask(ANN, "/status", "The kill switch is on").await;
    let status: Value = world.status().await;
    assert_eq!(status["killed"], true);
    world.stored("SELECT count(*) FROM inbox WHERE state = 'received'", 2).await;
    world.ask(CAT, "/resume", "Only an owner may do that.").await;
    world.say(ANN, "/resume");
    world.hear(ANN, "answer #3").await;
    world.hear(CAT, "answer #4").await;
    assert_eq!(world.sql("SELECT count(*) FROM audit WHERE kind = 'kill_switch'"), 2);
    world.finish().await;
}

#[tokio::test]
async fn a_turn_that_a_kill_interrupts_before_its_restart_ends_as_stopped() {
    let mut world = World::start().await;
    world.say(ANN, "#1 [slow:60000]");
    world.prompted("#1").await;
    world.kill().await;
    world.tamper("UPDATE meta SET value = 1 WHERE key = 'killed'");
    world.run().await;
    world.stored("SELECT count(*) FROM turns WHERE outcome = 'stopped'", 1).await;
    world.ask(ANN, "/resume", "Everything may run again").await;
    world.ask(ANN, "#2", "answer #2").await;
    world.finish().await;
}

#[tokio::test]
async fn a_model_and_an_effort_can_be_wanted_once_and_for_good() {
    let mut world = World::start().await;
    world.ask(ANN, "/opus #1", "answer #1").await;
    world.ask(ANN, "/haiku", "Write the message behind it").await;
    world.ask(ANN, "/haiku #2", "answer #2").await;
    world.ask(ANN, "#3", "answer #3").await;
    let asked = |world: &World, word: &str| {
        let requests = world.messages.requests();
        let mut bodies = requests.iter().rev().map(|request| request.body.clone());
        bodies.find(|body| body["messages"].to_string().contains(word)).expect("it was asked")
    };
    for (model, count) in [("claude-opus-5-5", 1), ("claude-haiku-5-5", 1), ("claude-sonnet-5-5", 1)] {
        let sql = format!("SELECT count(*) FROM ledger WHERE model = '{model}'");
        assert_eq!(world.sql(&sql), count, "{model}");
    }
    assert_eq!(world.sql("SELECT count(*) FROM ledger WHERE reason = 'chosen'"), 2);
    assert!(!asked(&world, "#3")["messages"].to_string().contains("/opus"), "the model does not read the command");
    // A kill does not change who answers.
    world.say(ANN, "/opus #4 [slow:60000]");
    world.prompted("#4").await;
    world.kill().await;
    world.run().await;
    world.prompted_times("#4", 2).await;
    assert_eq!(asked(&world, "#4")["model"], "claude-opus-5-5");
    world.ask(ANN, "/stop", "Stopped.").await;

    world.ask(ANN, "/think", "medium").await;
    world.ask(ANN, "/think hard", "I do not know hard").await;
    world.ask(ANN, "/think high", "From now on").await;
    world.restart().await;
    world.ask(ANN, "#5", "answer #5").await;
    assert_eq!(asked(&world, "#5")["output_config"]["effort"], "high");
    world.finish().await;
}
