//! Kills and restarts: nothing is lost, nothing is answered twice, the conversation goes on.

use blufio_testkit::messages::{Block, Script};
use serde_json::json;

use crate::support::{ANN, BOB, World, answered, each_once};

/// An answer that begins only after a minute, for whoever says this; the next call is answered as usual.
fn endless(words: &str) -> Script {
    Script { first_token_ms: 60_000, ..Script::text("never").only_if(words) }
}

#[tokio::test]
async fn a_turn_that_was_killed_is_answered_after_the_restart() {
    let mut world = World::start().await;
    world.ask(ANN, "#1", "answer #1").await;
    world.messages.push(endless("#2"));
    world.say(ANN, "#2");
    world.prompted("#2").await;
    world.kill().await;
    world.run().await;
    world.hear(ANN, "answer #2").await;
    world.ask(ANN, "and?", "message 3 of this conversation").await;
    assert_eq!(answered(&world.heard(ANN)), each_once([1, 2]));
    assert_eq!(world.sql("SELECT count(*) FROM ledger WHERE state = 'counted_estimate'"), 1, "the abandoned call");
    world.finish().await;
}

#[tokio::test]
async fn messages_that_wait_survive_a_kill_in_their_order() {
    let mut world = World::start().await;
    world.messages.push(endless("#1"));
    world.say(ANN, "#1");
    world.prompted("#1").await;
    for number in 2..12 {
        world.say(ANN, &format!("#{number}"));
    }
    world.stored("SELECT count(*) FROM inbox WHERE state = 'received'", 10).await;
    world.kill().await;
    world.run().await;
    world.hear(ANN, "answer #11").await;
    assert_eq!(answered(&world.heard(ANN)), each_once(1..12));
    world.finish().await;
}

#[tokio::test]
async fn messages_that_were_not_stored_yet_are_fetched_again() {
    let mut world = World::prepare().await;
    for number in 1..=5 {
        world.say(ANN, &format!("#{number}"));
    }
    world.run().await;
    world.kill().await;
    world.say(ANN, "#6");
    world.run().await;
    world.hear(ANN, "answer #6").await;
    let heard = answered(&world.heard(ANN));
    assert_eq!(heard.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    let copies: usize = heard.iter().map(|(_, copies)| copies).sum();
    assert!(copies <= 7, "one kill duplicates one send at most: {heard:?}");
    assert_eq!(world.sql("SELECT count(*) FROM turns"), 6, "no message has two turns");
    world.finish().await;
}

#[tokio::test]
async fn a_kill_between_two_rounds_of_tools_repeats_none_that_is_done() {
    let mut world = World::start().await;
    world.messages.push(Script::tool("write_file", json!({"path": "a", "content": "1"})).only_if("#1"));
    world.messages.push(endless("#1"));
    world.say(ANN, "#1");
    world.prompted_times("#1", 2).await;
    world.kill().await;
    std::fs::write(world.workspace().join("a"), "2").unwrap();
    world.run().await;
    world.hear(ANN, "answer #1").await;
    assert_eq!(std::fs::read_to_string(world.workspace().join("a")).unwrap(), "2", "not written again");
    assert_eq!(world.sql("SELECT count(*) FROM tool_runs WHERE starts <> 1"), 0);
    world.finish().await;
}

#[tokio::test]
async fn two_restarts_in_a_row_change_nothing() {
    let mut world = World::start().await;
    world.messages.push(endless("#1"));
    world.messages.push(endless("#1"));
    world.say(ANN, "#1");
    world.prompted("#1").await;
    world.kill().await;
    world.run().await;
    world.prompted_times("#1", 2).await;
    world.kill().await;
    world.run().await;
    world.hear(ANN, "answer #1").await;
    world.restart().await;
    world.ask(ANN, "and?", "message 2 of this conversation").await;
    assert_eq!(answered(&world.heard(ANN)), each_once([1]));
    world.finish().await;
}

#[tokio::test]
async fn a_message_that_dies_again_and_again_is_given_up_and_others_are_served() {
    let mut world = World::prepare().await;
    for _ in 0..6 {
        world.messages.push(endless("suspect"));
    }
    world.say(ANN, "suspect");
    for start in 1..=5 {
        world.run().await;
        world.prompted_times("suspect", start).await;
        // From the third death on, the suspect runs alone.
        if start < 4 {
            let number = start + 10;
            world.ask(BOB, &format!("#{number}"), &format!("answer #{number}")).await;
            // A kill before the send is booked would repeat it, which is another test's business.
            world.stored("SELECT count(*) FROM outbox WHERE state <> 'sent'", 0).await;
        }
        world.kill().await;
    }
    world.run().await;
    world.hear(ANN, "made me crash several times").await;
    world.ask(ANN, "#2", "answer #2").await;
    world.ask(BOB, "#20", "answer #20").await;
    assert_eq!(answered(&world.heard(BOB)), each_once([11, 12, 13, 20]));
    assert_eq!(world.sql("SELECT count(*) FROM turns WHERE outcome = 'poison'"), 1);
    world.finish().await;
}

#[tokio::test]
async fn another_model_after_a_restart_gets_the_whole_history() {
    let mut world = World::start().await;
    let blocks = [Block::Thinking("hm".to_owned()), Block::Text("one".to_owned())];
    world.messages.push(Script::blocks(blocks));
    world.ask(ANN, "first", "one").await;
    world.end().await;
    world.set(&[("agents.main.model", "\"claude-opus-5-5\""), ("agents.main.instructions", "\"Be brief.\"")]);
    world.run().await;
    world.ask(ANN, "second", "message 2 of this conversation").await;
    let last = world.messages.requests().last().unwrap().body.clone();
    assert_eq!(last["model"], "claude-opus-5-5");
    assert!(last["system"].to_string().contains("Be brief."), "{}", last["system"]);
    world.finish().await;
}

#[tokio::test]
async fn an_idle_session_leaves_memory_and_remembers() {
    let world = World::start_with(&[("session.idle_evict_s", "1")]).await;
    world.ask(ANN, "one", "message 1 of this conversation").await;
    world
        .eventually("the session leaves", async |world| (world.status().await["live_sessions"] == 0).then_some(()))
        .await;
    world.ask(ANN, "two", "message 2 of this conversation").await;
    world.finish().await;
}

#[tokio::test]
async fn more_people_than_sessions_in_memory_are_all_answered() {
    let mut world = World::prepare().await;
    let people: Vec<i64> = (2_000..2_012).collect();
    let root = world.telegram.base_url();
    world.setup.telegram(&root, crate::support::TOKEN, &people);
    world.set(&[("session.live_sessions", "2"), ("session.running_turns", "2")]);
    world.run().await;
    for person in &people {
        world.say(*person, &format!("#{person} [slow:20]"));
    }
    for person in &people {
        world.hear(*person, &format!("answer #{person}")).await;
        world.ask(*person, "and?", "message 2 of this conversation").await;
    }
    assert!(world.status().await["live_sessions"].as_u64().unwrap() <= 2);
    world.finish().await;
}

#[tokio::test]
async fn something_said_twice_under_one_name_is_said_once() {
    let mut world = World::start().await;
    let row = world.say_here("local:main", "name-1", "#1").await;
    assert_eq!(world.outcome(row).await["text"], "answer #1");
    world.restart().await;
    assert_eq!(world.say_here("local:main", "name-1", "#1").await, row);
    let next = world.say_here("local:main", "name-2", "and?").await;
    let text = world.outcome(next).await["text"].clone();
    assert!(text.as_str().unwrap().contains("message 2 of this conversation"), "{text}");
    world.finish().await;
}
