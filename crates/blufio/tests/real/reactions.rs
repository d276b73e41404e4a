//! Reactions: of people to the bot's messages, which the model learns with the next message, and of the bot to theirs.

use blufio_testkit::botapi::{Action, BotReaction, Fault as BotFault};

use crate::support::{ANN, BOB, SOON, World, answered, each_once};

/// Messages that may have arrived and whose numbers are not known yet; nobody reacts that fast.
const UNBOOKED: &str = "SELECT count(*) FROM outbox WHERE state <> 'sent'";

/// Updates that came to nothing or wait for the next message, by their outcome.
async fn judged(world: &World, outcome: &str, count: i64) {
    world.stored(&format!("SELECT count(*) FROM inbox WHERE outcome = '{outcome}'"), count).await;
}

#[tokio::test]
async fn a_reaction_to_the_bots_message_is_told_with_the_next_message_once() {
    let mut world = World::start().await;
    let said = world.ask(ANN, "[say:the tower is old]", "the tower is old").await;
    world.stored(UNBOOKED, 0).await;
    world.telegram.react(ANN, said.message_id, ANN, "👍").expect("the bot gets reactions");
    judged(&world, "reaction", 1).await;
    assert_eq!(world.messages.calls(), 1, "it starts no turn");
    // It waits over a restart, too.
    world.restart().await;
    world.ask(ANN, "#1 well?", "answer #1").await;
    let read = world.read_to_model("well?").join("\n");
    assert!(read.contains("reacted 👍 to “the tower is old”"), "{read}");
    world.ask(ANN, "#2 and now?", "answer #2").await;
    let read = world.read_to_model("and now?").join("\n");
    assert!(!read.contains("reacted"), "told once: {read}");
    world.finish().await;
}

#[tokio::test]
async fn a_reaction_that_is_changed_or_taken_back_is_told_as_such() {
    let world = World::start().await;
    let said = world.ask(ANN, "[say:one\ntwo]", "one").await;
    world.stored(UNBOOKED, 0).await;
    for (count, emoji) in (1..).zip(["👍", "🔥", ""]) {
        world.telegram.react(ANN, said.message_id, ANN, emoji).expect("the bot gets reactions");
        judged(&world, "reaction", count).await;
    }
    world.ask(ANN, "#1 well?", "answer #1").await;
    let read = world.read_to_model("well?").join("\n");
    let places: Vec<Option<usize>> =
        ["reacted 👍", "reacted 🔥", "took back the reaction to “one two”"].map(|words| read.find(words)).to_vec();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{read}");
    world.finish().await;
}

#[tokio::test]
async fn reactions_to_other_messages_and_of_other_people_are_nothing() {
    let world = World::start().await;
    let said = world.ask(ANN, "[say:here I am]", "here I am").await;
    let own = world.telegram.transcript(ANN)[0].message_id;
    // To the answer of a command, which is no part of the conversation.
    let help = world.ask(ANN, "/help", "I also understand").await;
    world.stored(UNBOOKED, 0).await;
    let reactions = [(own, ANN), (help.message_id, ANN), (said.message_id, BOB), (said.message_id, 1_009), (999, ANN)];
    for (message, user) in reactions {
        world.telegram.react(ANN, message, user, "👎").expect("the bot gets reactions");
    }
    world.ask(ANN, "#1 well?", "answer #1").await;
    let read = world.read_to_model("well?").join("\n");
    assert!(!read.contains("👎"), "{read}");
    judged(&world, "not_ours", 3).await;
    judged(&world, "reaction", 0).await;
    assert_eq!(world.sql("SELECT count(*) FROM overheard"), 0);
    world.finish().await;
}

#[tokio::test]
async fn the_bot_reacts_to_what_it_takes_up() {
    let world = World::start_with(&[("telegram.reaction_ack", "\"👀\"")]).await;
    world.say(ANN, "#1 [slow:200]");
    world.say(ANN, "#2");
    world.hear(ANN, "answer #2").await;
    world.ask(ANN, "/whoami", "an owner").await;
    let own: Vec<i64> =
        world.telegram.transcript(ANN).iter().filter(|said| !said.from_bot).map(|said| said.message_id).collect();
    let set = world.telegram.wait_for(|state| Some(state.reactions(ANN)).filter(|set| set.len() >= 2), SOON).await;
    let seen: Vec<(i64, &str)> =
        set.iter().map(|BotReaction { message_id, emoji, .. }| (*message_id, emoji[0].as_str())).collect();
    assert_eq!(seen, [(own[0], "👀"), (own[1], "👀")], "each message that gets a turn, and no command");
    let first = world.telegram.transcript(ANN)[0].clone();
    assert_eq!(first.reactions, ["👀"]);
    world.finish().await;
}

#[tokio::test]
async fn a_reaction_that_fails_is_not_missed() {
    let world = World::start_with(&[("telegram.reaction_ack", "\"👀\"")]).await;
    let refused =
        Action::Answer { status: 400, description: "Bad Request: REACTION_INVALID".to_owned(), parameters: ().into() };
    world.telegram.fault(BotFault::once("setMessageReaction", refused));
    world.telegram.fault(BotFault::once("setMessageReaction", Action::NeverAnswer));
    for number in 1..=2 {
        world.ask(ANN, &format!("#{number}"), &format!("answer #{number}")).await;
    }
    world.telegram.wait_for(|state| (state.count("setMessageReaction") >= 2).then_some(()), SOON).await;
    assert_eq!(world.telegram.read(|state| state.count("setMessageReaction")), 2, "tried once each");
    assert_eq!(answered(&world.heard(ANN)), each_once(1..=2));
    world.finish().await;
}

#[tokio::test]
async fn unless_it_is_configured_there_is_no_reaction() {
    let world = World::start().await;
    world.ask(ANN, "#1", "answer #1").await;
    assert_eq!(world.telegram.read(|state| state.count("setMessageReaction")), 0);
    world.finish().await;
}
