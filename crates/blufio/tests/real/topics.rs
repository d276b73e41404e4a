//! Topics: whatever a message leads to lands where the message was, and every topic is a conversation of its own.

use blufio_testkit::botapi::{BotApiConfig, ChatKind, Post, State};
use blufio_testkit::messages::{Fault, FaultKind, MessagesConfig};
use serde_json::json;

use crate::support::{ANN, BOB, BOT, CAT, SOON, World, answered, each_once};

/// A group without topics.
const TEAM: i64 = -1_000_000_000_100;
/// A group with topics.
const FORUM: i64 = -1_000_000_000_300;
/// Topics of the forum; General is the one that always is there.
const PLANS: i64 = 7;
const NOTES: i64 = 9;
const GENERAL: i64 = 1;
/// The bot, as the fake knows it.
const BOT_ID: i64 = 1_000_001;

/// A place to write.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    chat: i64,
    thread: Option<i64>,
}

impl Place {
    /// Somebody says something to the bot there.
    fn asks(self, user: i64, text: &str) -> Post {
        self.says(user, &format!("{BOT} {text}"))
    }

    fn says(self, user: i64, text: &str) -> Post {
        let post = Post::new(self.chat, user, text);
        self.thread.map_or(post.clone(), |thread| post.in_topic(thread))
    }

    /// Where its messages are seen: those of General have no number.
    fn shown(self) -> Option<i64> {
        self.thread.filter(|thread| *thread != GENERAL)
    }
}

fn topic(thread: i64) -> Place {
    Place { chat: FORUM, thread: Some(thread) }
}

async fn prepare(rules: &str) -> World {
    let bot = BotApiConfig { can_read_all_group_messages: true, ..BotApiConfig::default() };
    let mut world = World::prepare_as(MessagesConfig::default(), bot).await;
    world.telegram.open_private(ANN);
    world.telegram.add_group(TEAM, "the team", ChatKind::Supergroup { forum: false }, &[ANN, BOB, CAT]);
    world.telegram.add_group(FORUM, "the forum", ChatKind::Supergroup { forum: true }, &[ANN, BOB, CAT]);
    world.telegram.change(|state| {
        state.add_topic(FORUM, PLANS);
        state.add_topic(FORUM, NOTES);
    });
    world.set(&[("telegram.groups", &format!("{{ {TEAM} = {{}}, {FORUM} = {{ {rules} }} }}"))]);
    world
}

async fn start(rules: &str) -> World {
    let mut world = prepare(rules).await;
    world.run().await;
    world
}

/// Everything the bot has said there, with the topic.
fn threads(world: &World, chat: i64) -> Vec<(Option<i64>, String)> {
    world.said(chat).into_iter().map(|said| (said.thread, said.text)).collect()
}

/// No send names General, which the server would refuse.
fn general_is_never_named(world: &World) {
    for request in world.telegram.requests() {
        let typing = request.method == "sendChatAction";
        let named = request.params.get("message_thread_id") == Some(&json!(GENERAL));
        assert!(!named || typing, "{request:?}");
    }
}

#[tokio::test]
async fn everything_that_follows_from_a_message_lands_in_its_topic() {
    for place in [Place { chat: TEAM, thread: None }, topic(GENERAL), topic(PLANS)] {
        let mut world = prepare("").await;
        world.set(&[("session.pending_messages", "1"), ("tools.ask", r#"["write_file"]"#)]);
        world.run().await;
        std::fs::write(world.workspace().join("a.txt"), "a file").unwrap();

        // A reply, with the typing sign before it.
        world.ask_in(place.asks(ANN, "#1 [slow:400]"), "answer #1").await;
        // An error.
        world.messages.fault(Fault::next(1, FaultKind::status(400, "invalid_request_error", "no")));
        world.ask_in(place.asks(ANN, "trouble"), "refused the request").await;
        // A note that the queue is full.
        world.write(place.asks(ANN, "#2 [slow:300]"));
        world.prompted("#2").await;
        world.write(place.asks(BOB, "#3"));
        world.stored("SELECT count(*) FROM inbox WHERE state = 'received'", 1).await;
        world.ask_in(place.asks(CAT, "#9"), "too many of your messages").await;
        world.hear(place.chat, "answer #3").await;
        // A file, which the owner names.
        world.ask_in(place.asks(ANN, r#"send us a.txt [tool:send_file {"path":"a.txt"}] #4"#), "answer #4").await;
        // A question, which the owner reads in private and nowhere else.
        world.write(place.asks(ANN, r#"[tool:write_file {"path":"b.txt","content":"b"}] #5"#));
        let question = world.hear(ANN, "May I run").await;
        assert!(world.telegram.press(ANN, question.message_id, ANN, &question.buttons[0][0].1).is_some());
        world.hear(place.chat, "answer #5").await;

        assert_eq!(answered(&world.heard(place.chat)), each_once(1..=5), "{place:?}");
        assert_eq!(world.heard(place.chat).len(), 8, "{:?}", world.heard(place.chat));
        for (thread, text) in threads(&world, place.chat) {
            assert_eq!(thread, place.shown(), "{place:?}: {text}");
        }
        let files = world.telegram.received_files(place.chat);
        assert_eq!((files.len(), files[0].thread), (1, place.shown()));
        let elsewhere = if place.chat == TEAM { FORUM } else { TEAM };
        assert_eq!((world.heard(elsewhere).len(), world.heard(ANN).len()), (0, 1));
        let actions = world.telegram.read(|state| state.actions(place.chat));
        assert!(
            !actions.is_empty() && actions.iter().all(|action| action.thread == place.thread),
            "{place:?} {actions:?}"
        );
        general_is_never_named(&world);
        world.finish().await;
    }
}

#[tokio::test]
async fn previews_are_shown_in_the_topic() {
    for place in [topic(GENERAL), topic(NOTES)] {
        let mut world = prepare("").await;
        world.set(&[("telegram.streaming", "\"auto\"")]);
        world.run().await;
        world.write(place.asks(ANN, "[long:40][drip:120]"));
        let done = |state: &State| {
            state.transcript(FORUM).into_iter().find(|said| said.from_bot && said.text.ends_with("more."))
        };
        let said = world.telegram.wait_for(done, SOON).await;
        assert_eq!((said.thread, said.edits[0].as_str()), (place.shown(), "…"));
        assert_eq!(world.heard(FORUM).len(), 1);
        general_is_never_named(&world);
        world.finish().await;
    }
}

#[tokio::test]
async fn an_answer_to_a_deleted_topic_stays_in_its_group_and_the_owner_is_told_once() {
    let world = start("").await;
    for number in 1..=2 {
        world.write(topic(PLANS).asks(BOB, &format!("#{number} [slow:300]")));
        world.prompted(&format!("#{number}")).await;
        world.telegram.change(|state| state.delete_topic(FORUM, PLANS));
        let said = world.hear(FORUM, &format!("answer #{number}")).await;
        assert_eq!(said.thread, None);
    }
    let notice = world.hear(ANN, "topic").await;
    assert!(notice.text.contains("gone"), "{}", notice.text);
    world.ask_in(topic(NOTES).asks(BOB, "#3"), "answer #3").await;
    world.ask(ANN, "#4", "answer #4").await;
    assert_eq!((world.heard(ANN).len(), world.heard(BOB).len()), (2, 0), "told once: {:?}", world.heard(ANN));
    assert_eq!(answered(&world.heard(FORUM)), each_once(1..=3));
    world.stored("SELECT count(*) FROM outbox WHERE state <> 'sent'", 0).await;
    world.finish().await;
}

#[tokio::test]
async fn an_answer_to_a_closed_topic_goes_nowhere_else_and_the_owner_is_told() {
    let world = start("").await;
    world.write(topic(PLANS).asks(BOB, "#1 [slow:300]"));
    world.prompted("#1").await;
    world.telegram.change(|state| state.close_topic(FORUM, PLANS, true));
    world.hear(ANN, "TOPIC_CLOSED").await;
    world.telegram.change(|state| state.close_topic(FORUM, PLANS, false));
    assert_eq!(world.ask_in(topic(PLANS).asks(BOB, "#2"), "answer #2").await.thread, Some(PLANS));
    assert_eq!(answered(&world.heard(FORUM)), each_once([2]), "the others of the group do not read it");
    world.finish().await;
}

#[tokio::test]
async fn a_reaction_counts_where_its_sender_may_speak() {
    let world = start(&format!("topics = {{ {PLANS} = {{ allow_from = [{CAT}] }} }}")).await;
    let in_plans = world.ask_in(topic(PLANS).asks(CAT, "#1"), "answer #1").await.message_id;
    let in_notes = world.ask_in(topic(NOTES).asks(BOB, "#2"), "answer #2").await.message_id;
    world.stored("SELECT count(*) FROM outbox WHERE state <> 'sent'", 0).await;
    for (message, user) in [(in_plans, BOB), (in_notes, BOB), (in_plans, CAT)] {
        world.telegram.react(FORUM, message, user, "👍").expect("the bot gets reactions");
    }
    world.stored("SELECT count(*) FROM inbox WHERE outcome = 'reaction'", 2).await;
    assert_eq!(
        world.sql("SELECT count(*) FROM inbox WHERE outcome = 'group'"),
        1,
        "of the one who may not speak there"
    );
    world.finish().await;
}

#[tokio::test]
async fn every_topic_is_a_conversation_of_its_own() {
    let mut world = start("").await;
    for (round, restart) in [(1, false), (2, true), (3, false)] {
        for place in [topic(GENERAL), topic(PLANS), topic(NOTES)] {
            let words = format!("message {round} of this conversation");
            world.write(place.asks(ANN, "hello"));
            let found = |state: &State| {
                let said = state
                    .transcript(FORUM)
                    .into_iter()
                    .find(|said| said.from_bot && said.thread == place.shown() && said.text.contains(&words));
                said.map(|_| ())
            };
            world.telegram.wait_for(found, SOON).await;
        }
        if restart {
            world.restart().await;
        }
    }
    // What is overheard in one is not told in another.
    world.write(topic(NOTES).says(BOB, "a secret of the notes"));
    world.ask_in(topic(PLANS).asks(ANN, "what did Bob say? [say:nothing]"), "nothing").await;
    assert!(world.read_to_model("what did Bob say?").iter().all(|text| !text.contains("secret")));
    world.ask_in(topic(NOTES).asks(ANN, "and here? [say:a lot]"), "a lot").await;
    assert!(world.read_to_model("and here?").iter().any(|text| text.contains("a secret of the notes")));
    assert_eq!(world.sql("SELECT count(*) FROM sessions"), 3);
    world.finish().await;
}

#[tokio::test]
async fn topics_do_not_wait_for_each_other() {
    let world = start("").await;
    world.write(topic(PLANS).asks(ANN, "#1 [slow:800]"));
    world.prompted("#1").await;
    world.ask_in(topic(NOTES).asks(ANN, "#2"), "answer #2").await;
    assert_eq!(world.count(FORUM, "answer #1"), 0);
    // Stopping one leaves the other alone.
    world.write(topic(NOTES).says(ANN, "/stop"));
    world.stored("SELECT count(*) FROM inbox WHERE outcome = 'stop'", 1).await;
    world.hear(FORUM, "answer #1").await;
    world.finish().await;
}

#[tokio::test]
async fn a_topic_may_have_rules_of_its_own() {
    let rules = format!(
        "topics = {{ {PLANS} = {{ require_mention = false }}, {NOTES} = {{ enabled = false }}, \
         11 = {{ allow_from = [{BOB}] }}, 12 = {{ history_limit = 1 }} }}"
    );
    let world = start(&rules).await;
    world.ask_in(topic(PLANS).says(ANN, "#1"), "answer #1").await;
    world.write(topic(NOTES).asks(ANN, "#2"));
    world.write(topic(11).asks(ANN, "#3"));
    world.ask_in(topic(11).asks(BOB, "#4"), "answer #4").await;
    world.write(topic(11).says(BOB, "hello"));
    world.stored("SELECT count(*) FROM inbox WHERE outcome = 'group'", 2).await;
    world.stored("SELECT count(*) FROM inbox WHERE outcome = 'overheard'", 1).await;
    for word in ["first", "second"] {
        world.write(topic(12).says(BOB, word));
    }
    world.ask_in(topic(12).asks(ANN, "well? [say:done]"), "done").await;
    let read = world.read_to_model("well?").join("\n");
    assert!(read.contains(": second") && !read.contains(": first"), "{read}");
    assert_eq!(answered(&world.heard(FORUM)), each_once([1, 4]));
    world.finish().await;
}

#[tokio::test]
async fn a_message_in_a_topic_that_the_bot_opened_is_not_an_answer_to_the_bot() {
    let world = start("").await;
    let opened = world.telegram.change(|state| state.create_topic(FORUM, BOT_ID, "by the bot")).unwrap();
    world.write(topic(opened).says(ANN, "hello"));
    world.stored("SELECT count(*) FROM inbox WHERE outcome = 'overheard'", 1).await;
    world.ask_in(topic(opened).asks(ANN, "#2"), "answer #2").await;
    assert_eq!(answered(&world.heard(FORUM)), each_once([2]));
    world.finish().await;
}

#[tokio::test]
async fn topics_of_a_private_chat_are_conversations_of_their_own() {
    let bot = BotApiConfig { private_topics: true, ..BotApiConfig::default() };
    let mut world = World::prepare_as(MessagesConfig::default(), bot).await;
    world.set(&[("telegram.streaming", "\"auto\""), ("tools.ask", r#"["write_file"]"#)]);
    world.run().await;
    let private = |thread: Option<i64>| Place { chat: ANN, thread };
    for place in [private(Some(5)), private(Some(6)), private(None)] {
        world.write(place.says(ANN, "[long:24][drip:200]"));
        let done = |state: &State| {
            state
                .transcript(ANN)
                .into_iter()
                .find(|said| said.from_bot && said.thread == place.thread && said.text.ends_with("more."))
        };
        world.telegram.wait_for(done, SOON).await;
    }
    world.write(private(Some(5)).says(ANN, "again"));
    assert_eq!(world.hear(ANN, "message 2 of this conversation").await.thread, Some(5));
    // The question is asked where the work is.
    world.write(private(Some(6)).says(ANN, r#"[tool:write_file {"path":"b","content":"b"}] #1"#));
    let question = world.hear(ANN, "May I run").await;
    assert_eq!(question.thread, Some(6));
    world.telegram.press(ANN, question.message_id, ANN, &question.buttons[0][0].1).unwrap();
    assert_eq!(world.hear(ANN, "answer #1").await.thread, Some(6));
    world.ask_in(private(Some(5)).says(ANN, "/status"), "Nothing is running here").await;
    assert_eq!(world.said(ANN).last().unwrap().thread, Some(5), "commands are answered in their topic");
    let drafts: Vec<_> = world
        .telegram
        .requests()
        .into_iter()
        .filter(|request| request.method == "sendMessageDraft")
        .map(|request| request.params.get("message_thread_id").and_then(serde_json::Value::as_i64))
        .collect();
    assert!(drafts.contains(&Some(5)) && drafts.contains(&Some(6)) && drafts.contains(&None), "{drafts:?}");
    assert_eq!(world.sql("SELECT count(*) FROM sessions"), 3);
    world.finish().await;
}
