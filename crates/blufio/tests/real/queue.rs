//! What becomes of messages that arrive while a turn runs: a turn of their own, one together, in place of what runs, or as a
//! part of it. In every mode each is taken up once, also over kills and stops.

use std::time::Duration;

use blufio_testkit::botapi::{ChatKind, Post};
use blufio_testkit::messages::Script;
use serde_json::{Value, json};

use crate::support::{ANN, BOB, BOT, CAT, World, answered, each_once};

/// A group that is served.
const TEAM: i64 = -1_000_000_000_100;
const WAITING: &str = "SELECT count(*) FROM inbox WHERE state = 'received'";

async fn prepare(mode: &str) -> World {
    let mut world = World::prepare().await;
    world.set(&[("session.queue", &format!("\"{mode}\""))]);
    world
}

async fn start(mode: &str) -> World {
    let mut world = prepare(mode).await;
    world.run().await;
    world
}

/// The same with a group in which everything is said to the bot.
async fn start_with_group(mode: &str) -> World {
    let mut world = prepare(mode).await;
    world.telegram.add_group(TEAM, "the team", ChatKind::Supergroup { forum: false }, &[ANN, BOB, CAT]);
    world.set(&[("telegram.groups", &format!("{{ {TEAM} = {{}} }}"))]);
    world.run().await;
    world
}

/// An answer that never comes, for whoever says this; the next call is answered as usual.
fn endless(words: &str) -> Script {
    Script { first_token_ms: 60_000, ..Script::text("never").only_if(words) }
}

/// Somebody says something to the bot in the group.
fn asks(user: i64, text: &str) -> Post {
    Post::new(TEAM, user, &format!("{BOT} {text}"))
}

/// Numbers that each message of the bot answers, message by message.
fn together(world: &World, chat: i64) -> Vec<Vec<u64>> {
    let heard = world.heard(chat);
    heard
        .iter()
        .map(|text| answered(std::slice::from_ref(text)).into_iter().map(|(number, _)| number).collect())
        .collect()
}

/// Every message that was accepted is over, and none has two turns.
fn nothing_is_left(world: &World) {
    assert_eq!(world.sql("SELECT count(*) FROM inbox WHERE state IN ('received', 'claimed')"), 0);
    assert_eq!(world.sql("SELECT count(*) - count(DISTINCT inbox) FROM turns"), 0);
}

/// The words of the user's messages that the model was last shown, each with its role.
fn conversation(world: &World) -> Vec<(String, String)> {
    let body = world.messages.requests().last().expect("it was asked").body.clone();
    let words = |message: &Value| match &message["content"] {
        Value::String(text) => text.clone(),
        content => {
            let blocks = content.as_array().into_iter().flatten();
            blocks.filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().join("|")
        }
    };
    let messages = body["messages"].as_array().into_iter().flatten();
    messages.map(|message| (message["role"].as_str().unwrap_or_default().to_owned(), words(message))).collect()
}

// ---------------------------------------------------------------- followup

#[tokio::test]
async fn each_waiting_message_gets_a_turn_of_its_own() {
    let world = start("followup").await;
    world.say(ANN, "#1 [slow:300]");
    world.prompted("#1").await;
    for number in 2..6 {
        world.say(ANN, &format!("#{number}"));
    }
    world.hear(ANN, "answer #5").await;
    assert_eq!(together(&world, ANN), [[1], [2], [3], [4], [5]]);
    nothing_is_left(&world);
    world.finish().await;
}

// ---------------------------------------------------------------- collect

#[tokio::test]
async fn what_waits_is_collected_into_one_turn_in_order() {
    let world = start("collect").await;
    world.say(ANN, "#1 [slow:500]");
    world.prompted("#1").await;
    for number in 2..5 {
        world.say(ANN, &format!("#{number} words"));
    }
    world.stored(WAITING, 3).await;
    world.hear(ANN, "answer #4").await;
    assert_eq!(together(&world, ANN), [vec![1], vec![2, 3, 4]]);
    assert_eq!(world.read_to_model("#4 words"), ["#2 words", "#3 words", "#4 words"]);
    assert_eq!((world.messages.calls(), world.sql("SELECT count(*) FROM turns")), (2, 2));
    nothing_is_left(&world);
    // The conversation goes on as if it had been one message.
    world.ask(ANN, "and?", "message 3 of this conversation").await;
    world.finish().await;
}

#[tokio::test]
async fn a_command_ends_what_is_collected() {
    let world = start("collect").await;
    world.say(ANN, "#1 [slow:500]");
    world.prompted("#1").await;
    for text in ["#2", "#3", "/model claude-opus-5-5", "#4", "#5"] {
        world.say(ANN, text);
    }
    world.stored(WAITING, 5).await;
    world.hear(ANN, "answer #5").await;
    let heard: Vec<Vec<u64>> = together(&world, ANN).into_iter().filter(|numbers| !numbers.is_empty()).collect();
    assert_eq!(heard, [vec![1], vec![2, 3], vec![4, 5]]);
    let models: Vec<Value> = world.messages.requests().iter().map(|request| request.body["model"].clone()).collect();
    assert_eq!(models, ["claude-sonnet-5-5", "claude-sonnet-5-5", "claude-opus-5-5"], "each keeps its place");
    nothing_is_left(&world);
    world.finish().await;
}

#[tokio::test]
async fn a_message_that_waits_to_be_collected_can_be_edited_and_an_answered_one_cannot() {
    let world = start("collect").await;
    world.say(ANN, "#1 [slow:700]");
    world.prompted("#1").await;
    world.say(ANN, "#2 before");
    let edited = world.telegram.transcript(ANN).last().unwrap().message_id;
    world.say(ANN, "#3");
    world.stored(WAITING, 2).await;
    let first = world.telegram.transcript(ANN)[0].message_id;
    world.telegram.change(|state| {
        state.edit_post(ANN, edited, "#4 after").expect("the bot gets edits");
        state.edit_post(ANN, first, "#9").expect("the bot gets edits");
    });
    world.hear(ANN, "answer #3").await;
    assert_eq!(together(&world, ANN), [vec![1], vec![4, 3]]);
    world.telegram.change(|state| state.edit_post(ANN, edited, "#8"));
    world.ask(ANN, "#5", "answer #5").await;
    assert_eq!(answered(&world.heard(ANN)), each_once([1, 4, 3, 5]));
    nothing_is_left(&world);
    world.finish().await;
}

#[tokio::test]
async fn collected_messages_survive_a_kill_together() {
    let mut world = start("collect").await;
    world.messages.push(endless("#1"));
    world.say(ANN, "#1");
    world.prompted("#1").await;
    for number in 2..4 {
        world.say(ANN, &format!("#{number}"));
    }
    world.stored(WAITING, 2).await;
    world.messages.push(endless("#3"));
    world.kill().await;
    world.run().await;
    // The first one is answered; then the two that waited run as one, and die with the process.
    world.hear(ANN, "answer #1").await;
    world.prompted("#3").await;
    world.booked().await;
    world.kill().await;
    assert_eq!(world.sql("SELECT count(*) FROM inbox WHERE state = 'claimed'"), 2);
    world.run().await;
    world.hear(ANN, "answer #3").await;
    assert_eq!(together(&world, ANN), [vec![1], vec![2, 3]]);
    assert_eq!(world.sql("SELECT count(*) FROM turns"), 2);
    nothing_is_left(&world);
    world.finish().await;
}

#[tokio::test]
async fn a_stop_ends_all_messages_of_a_turn() {
    let world = start("collect").await;
    world.say(ANN, "#1 [slow:400]");
    world.prompted("#1").await;
    for text in ["#2", "#3 [slow:60000]"] {
        world.say(ANN, text);
    }
    world.stored(WAITING, 2).await;
    world.prompted("#3").await;
    world.ask(ANN, "/stop", "Stopped.").await;
    world.stored("SELECT count(*) FROM turns WHERE state = 'running'", 0).await;
    nothing_is_left(&world);
    assert_eq!(world.sql("SELECT count(*) FROM turns WHERE outcome = 'stopped'"), 1);
    world.ask(ANN, "#4", "answer #4").await;
    assert_eq!(answered(&world.heard(ANN)), each_once([1, 4]), "none of the stopped ones comes back");
    world.finish().await;
}

#[tokio::test]
async fn messages_of_different_people_are_not_collected_together() {
    let world = start_with_group("collect").await;
    world.write(asks(ANN, "#1 [slow:700]"));
    world.prompted("#1").await;
    for (user, number) in [(BOB, 2), (ANN, 3), (BOB, 4), (CAT, 5)] {
        world.write(asks(user, &format!("#{number}")));
    }
    world.stored(WAITING, 4).await;
    for number in [3, 4, 5] {
        world.hear(TEAM, &format!("answer #{number}")).await;
    }
    let mut groups = together(&world, TEAM);
    groups.sort();
    assert_eq!(groups, [vec![1], vec![2, 4], vec![3], vec![5]]);
    nothing_is_left(&world);
    world.finish().await;
}

// ---------------------------------------------------------------- interrupt

#[tokio::test]
async fn a_new_message_ends_the_running_turn() {
    let world = start("interrupt").await;
    world.say(ANN, "#1 [slow:60000]");
    world.prompted("#1").await;
    world.say(ANN, "#2 [slow:60000]");
    world.prompted("#2").await;
    world.ask(ANN, "#3", "answer #3").await;
    world.messages.wait_for(|seen| (seen.disconnects == 2).then_some(()), Duration::from_secs(5)).await;
    assert_eq!(together(&world, ANN), [[3]], "only the newest is answered, and nothing else is said");
    assert_eq!(world.sql("SELECT count(*) FROM turns WHERE outcome = 'stopped'"), 2);
    nothing_is_left(&world);
    let talk = conversation(&world);
    let talk: Vec<(&str, &str)> = talk.iter().map(|(role, words)| (role.as_str(), words.as_str())).collect();
    let stopped = ("assistant", "[stopped]");
    let expected = [("user", "#1 [slow:60000]"), stopped, ("user", "#2 [slow:60000]"), stopped, ("user", "#3")];
    assert_eq!(talk, expected, "what was said is not lost");
    world.ask(ANN, "#4", "answer #4").await;
    world.finish().await;
}

#[tokio::test]
async fn messages_that_come_at_once_are_answered_together() {
    let world = start("interrupt").await;
    world.say(ANN, "#1 [slow:60000]");
    world.prompted("#1").await;
    world.telegram.change(|state| {
        for number in 2..6 {
            state.post(Post::new(ANN, ANN, &format!("#{number}")));
        }
    });
    world.hear(ANN, "answer #5").await;
    assert_eq!(together(&world, ANN), [[2, 3, 4, 5]]);
    nothing_is_left(&world);
    world.finish().await;
}

/// What interrupts may be nothing that the turn before it could take along.
#[tokio::test]
async fn a_command_behind_a_message_interrupts_and_nothing_hangs() {
    let world = start("interrupt").await;
    for round in 0..3 {
        let number = 10 * round + 1;
        world.say(ANN, &format!("#{number} [slow:60000]"));
        world.prompted(&format!("#{number} ")).await;
        world.telegram.change(|state| {
            for text in [format!("#{}", number + 1), "/timezone Europe/Berlin".to_owned()] {
                state.post(Post::new(ANN, ANN, &text));
            }
        });
        world.stored("SELECT count(*) FROM inbox WHERE text LIKE '/timezone%' AND state = 'done'", round + 1).await;
        world.ask(ANN, &format!("#{}", number + 2), &format!("answer #{}", number + 2)).await;
        nothing_is_left(&world);
    }
    let heard = answered(&world.heard(ANN));
    assert!(heard.iter().all(|(_, copies)| *copies == 1), "{heard:?}");
    world.finish().await;
}

#[tokio::test]
async fn people_in_a_group_interrupt_each_other_and_everybody_waiting_is_answered() {
    let world = start_with_group("interrupt").await;
    world.write(asks(ANN, "#1 [slow:60000]"));
    world.prompted("#1").await;
    world.telegram.change(|state| {
        for (user, number) in [(BOB, 2), (CAT, 3), (BOB, 4), (ANN, 5)] {
            state.post(asks(user, &format!("#{number}")));
        }
    });
    for number in [3, 4, 5] {
        world.hear(TEAM, &format!("answer #{number}")).await;
    }
    let mut groups = together(&world, TEAM);
    groups.sort();
    assert_eq!(groups, [vec![2, 4], vec![3], vec![5]]);
    nothing_is_left(&world);
    world.finish().await;
}

#[tokio::test]
async fn an_interruption_holds_over_a_kill() {
    let mut world = start("interrupt").await;
    world.messages.push(endless("#1"));
    world.say(ANN, "#1");
    world.prompted("#1").await;
    world.kill().await;
    world.say(ANN, "#2");
    world.messages.push(endless("#1"));
    world.run().await;
    world.hear(ANN, "answer #2").await;
    assert_eq!(answered(&world.heard(ANN)), each_once([2]));
    nothing_is_left(&world);
    world.finish().await;
}

// ---------------------------------------------------------------- steer

#[tokio::test]
async fn a_message_joins_the_turn_with_the_results_of_its_tools() {
    let world = start("steer").await;
    world.say(ANN, "#1 [slow:600] [tool:list_files {}]");
    world.prompted("#1").await;
    for number in 2..4 {
        world.say(ANN, &format!("#{number} as well"));
    }
    world.stored(WAITING, 2).await;
    let said = world.hear(ANN, "answer #3").await;
    assert!(said.text.contains("answer #1, answer #2, answer #3"), "{}", said.text);
    assert_eq!(together(&world, ANN), [[1, 2, 3]]);
    let last = world.messages.requests().last().unwrap().body["messages"].as_array().unwrap().last().unwrap().clone();
    let kinds: Vec<&str> =
        last["content"].as_array().unwrap().iter().filter_map(|block| block["type"].as_str()).collect();
    assert_eq!(kinds, ["tool_result", "text", "text"], "behind the results, in order");
    assert_eq!(
        (last["content"][1]["text"].as_str(), last["content"][2]["text"].as_str()),
        (Some("#2 as well"), Some("#3 as well"))
    );
    assert_eq!((world.messages.calls(), world.sql("SELECT count(*) FROM turns")), (2, 1), "no turn of their own");
    nothing_is_left(&world);
    world.ask(ANN, "#4", "answer #4").await;
    world.finish().await;
}

#[tokio::test]
async fn without_a_round_of_tools_it_gets_its_own_turn() {
    let world = start("steer").await;
    world.say(ANN, "#1 [slow:400]");
    world.prompted("#1").await;
    for number in 2..4 {
        world.say(ANN, &format!("#{number}"));
    }
    world.hear(ANN, "answer #3").await;
    assert_eq!(together(&world, ANN), [[1], [2], [3]]);
    nothing_is_left(&world);
    world.finish().await;
}

#[tokio::test]
async fn commands_and_what_is_behind_them_do_not_join() {
    let world = start("steer").await;
    world.say(ANN, "#1 [slow:600] [tool:list_files {}]");
    world.prompted("#1").await;
    for text in ["#2", "/new", "#3"] {
        world.say(ANN, text);
    }
    world.stored(WAITING, 3).await;
    world.hear(ANN, "answer #3").await;
    let heard: Vec<Vec<u64>> = together(&world, ANN).into_iter().filter(|numbers| !numbers.is_empty()).collect();
    assert_eq!(heard, [vec![1, 2], vec![3]]);
    assert_eq!(conversation(&world).len(), 1, "/new came before it");
    nothing_is_left(&world);
    world.finish().await;
}

#[tokio::test]
async fn another_person_of_the_group_does_not_join() {
    let world = start_with_group("steer").await;
    world.write(asks(ANN, "#1 [slow:700] [tool:list_files {}]"));
    world.prompted("#1").await;
    for (user, number) in [(ANN, 2), (BOB, 3), (ANN, 4)] {
        world.write(asks(user, &format!("#{number}")));
    }
    world.stored(WAITING, 3).await;
    world.hear(TEAM, "answer #4").await;
    // Bob's words are not Ann's; and what she said after him keeps its place.
    assert_eq!(together(&world, TEAM), [vec![1, 2], vec![3], vec![4]]);
    nothing_is_left(&world);
    world.finish().await;
}

#[tokio::test]
async fn what_joined_survives_a_kill_and_is_answered_once() {
    let mut world = start("steer").await;
    let call = Script { first_token_ms: 500, ..Script::tool("list_files", json!({})).only_if("#1") };
    world.messages.push(call);
    world.messages.push(endless("#2"));
    world.say(ANN, "#1");
    world.prompted("#1").await;
    world.say(ANN, "#2");
    world.stored(WAITING, 1).await;
    world.prompted("#2").await;
    world.kill().await;
    assert_eq!(world.sql("SELECT count(*) FROM inbox WHERE state = 'claimed' AND joined IS NOT NULL"), 1);
    world.run().await;
    world.hear(ANN, "answer #2").await;
    assert_eq!(together(&world, ANN), [[1, 2]]);
    assert_eq!((world.sql("SELECT count(*) FROM turns"), world.messages.calls()), (1, 3));
    nothing_is_left(&world);
    world.finish().await;
}

#[tokio::test]
async fn a_stop_ends_what_joined_too() {
    let mut world = start("steer").await;
    let call = Script { first_token_ms: 500, ..Script::tool("list_files", json!({})).only_if("#1") };
    world.messages.push(call);
    world.messages.push(endless("#2"));
    world.say(ANN, "#1");
    world.prompted("#1").await;
    world.say(ANN, "#2");
    world.stored(WAITING, 1).await;
    world.prompted("#2").await;
    world.ask(ANN, "/stop", "Stopped.").await;
    world.stored("SELECT count(*) FROM turns WHERE state = 'running'", 0).await;
    nothing_is_left(&world);
    world.restart().await;
    world.ask(ANN, "#3", "answer #3").await;
    assert_eq!(answered(&world.heard(ANN)), each_once([3]));
    world.finish().await;
}
