//! Conversations: who is answered, with what, how often, in which order.

use blufio_testkit::botapi::{ChatKind, FileKind, Post, PostedFile};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::{ANN, BOB, CAT, World, answered, each_once};

#[tokio::test]
async fn a_text_is_answered_once_and_the_next_one_is_in_the_same_conversation() {
    let world = World::start().await;
    world.ask(ANN, "good morning", "message 1 of this conversation").await;
    world.ask(ANN, "and now?", "message 2 of this conversation").await;
    world.ask(BOB, "hello", "message 1 of this conversation").await;
    assert_eq!((world.heard(ANN).len(), world.heard(BOB).len()), (2, 1));
    world.finish().await;
}

#[tokio::test]
async fn an_update_that_is_delivered_again_is_not_answered_again() {
    let world = World::start().await;
    let update = world.say(ANN, "#1 [slow:400]");
    world.prompted("#1").await;
    assert!(world.telegram.redeliver(update, 2), "while the model is slow");
    world.hear(ANN, "answer #1").await;
    assert!(world.telegram.redeliver(update, 3));
    world.ask(ANN, "#2", "answer #2").await;
    assert!(world.telegram.redeliver(update, 1));
    world.ask(ANN, "#3", "answer #3").await;
    assert_eq!(answered(&world.heard(ANN)), each_once(1..=3));
    assert_eq!(world.sql("SELECT count(*) FROM turns"), 3);
    world.finish().await;
}

#[tokio::test]
async fn chats_do_not_wait_for_each_other_and_each_keeps_its_order() {
    let world = World::start().await;
    world.say(ANN, "#1 [slow:1500]");
    world.prompted("#1").await;
    for number in 10..15 {
        world.say(BOB, &format!("#{number}"));
        world.say(CAT, &format!("#{}", number + 10));
    }
    world.hear(BOB, "answer #14").await;
    world.hear(CAT, "answer #24").await;
    assert_eq!(world.heard(ANN), [""; 0], "still at work while the others are answered");
    world.say(ANN, "#2");
    world.hear(ANN, "answer #2").await;
    assert_eq!(answered(&world.heard(ANN)), each_once(1..=2));
    assert_eq!(answered(&world.heard(BOB)), each_once(10..15));
    assert_eq!(answered(&world.heard(CAT)), each_once(20..25));
    world.finish().await;
}

#[tokio::test]
async fn tools_are_called_and_their_results_are_told() {
    let world = World::start().await;
    let said = world.ask(ANN, "what time is it?", "The tool now said").await;
    assert!(said.text.contains("UTC") || said.text.contains("202"), "{}", said.text);
    world.ask(ANN, r#"[tool:write_file {"path":"a.txt","content":"x"}]"#, "The tool write_file said").await;
    assert_eq!(std::fs::read_to_string(world.workspace().join("a.txt")).unwrap(), "x");
    world.finish().await;
}

#[tokio::test]
async fn tools_of_one_response_run_together_and_rounds_follow_each_other() {
    let world = World::start().await;
    let files: String = (1..=3).map(|n| format!(r#"[tool:write_file {{"path":"{n}.txt","content":"{n}"}}]"#)).collect();
    let said = world.ask(ANN, &files, "The tool write_file said").await;
    assert_eq!(said.text.matches("The tool write_file said").count(), 3, "{}", said.text);
    for n in 1..=3 {
        assert_eq!(std::fs::read_to_string(world.workspace().join(format!("{n}.txt"))).unwrap(), n.to_string());
    }
    let rounds = r#"[tool:write_file {"path":"b","content":"one"}][then:tool:read_file {"path":"b"}] #7"#;
    let said = world.ask(ANN, rounds, "The tool read_file said").await;
    assert!(said.text.contains("one") && said.text.contains("answer #7"), "{}", said.text);
    assert_eq!(world.messages.calls(), 5);
    world.finish().await;
}

#[tokio::test]
async fn errors_of_tools_go_to_the_model_and_the_turn_ends_in_a_reply() {
    let world = World::start().await;
    let calls = [
        r#"[tool:read_file {"path":"missing.txt"}] #1"#,
        r#"[tool:no_such_tool {"a":1}] #2"#,
        r#"[tool:read_file {"path":"../blufio.db"}] #3"#,
        r#"[tool:read_file {"unknown":true}] #4"#,
        r#"[tool:write_file {"path":5}] #5"#,
    ];
    for (number, call) in (1..).zip(calls) {
        let said = world.ask(ANN, call, &format!("answer #{number}")).await;
        assert!(said.text.contains("The tool"), "{}", said.text);
    }
    let errors: usize = world
        .messages
        .requests()
        .iter()
        .flat_map(|request| {
            request.body["messages"].as_array().unwrap().last().unwrap()["content"]
                .as_array()
                .cloned()
                .unwrap_or_default()
        })
        .filter(|block| block["is_error"] == true)
        .count();
    assert_eq!(errors, 5, "every call is answered with an error");
    world.finish().await;
}

#[tokio::test]
async fn strangers_are_paired_by_the_owner() {
    let mut world = World::prepare().await;
    let root = world.telegram.base_url();
    world.setup.telegram(&root, crate::support::TOKEN, &[]);
    world.run().await;
    let offer = world.ask(ANN, "let me in", "blufio pairing approve").await;
    let code = offer.text.split("pairing approve ").nth(1).unwrap()[..8].to_owned();
    world.say(ANN, "hello?");
    world.confirmed().await;
    for stranger in [BOB, CAT] {
        world.ask(stranger, "me too", "blufio pairing approve").await;
    }
    world.say(1_004, "me as well");
    world.confirmed().await;

    let (status, person) = world.post("/v1/pairings/approve", &json!({"code": code})).await;
    assert_eq!((status, &person["user"], &person["owner"]), (200, &json!(ANN), &json!(true)), "{person}");
    world.ask(ANN, "#1", "answer #1").await;
    // What was sent before is gone, and the second message and the fourth stranger got no reply.
    assert_eq!(world.heard(ANN).len(), 2);
    assert_eq!((world.heard(BOB).len(), world.heard(1_004)), (1, Vec::new()));
    let (status, _) = world.post("/v1/pairings/approve", &json!({"code": code})).await;
    assert_eq!(status, 404, "a code is valid once");

    // The next one is a person, not a second owner.
    let bobs = world.heard(BOB)[0].split("pairing approve ").nth(1).unwrap()[..8].to_owned();
    let (status, person) = world.post("/v1/pairings/approve", &json!({"code": bobs})).await;
    assert_eq!((status, &person["owner"]), (200, &json!(false)), "{person}");
    world.ask(BOB, "#2", "answer #2").await;

    // Approved people stay so, until they are revoked.
    world.restart().await;
    world.ask(ANN, "#3", "answer #3").await;
    let (status, _) = world.post("/v1/pairings/revoke", &json!({"user": ANN})).await;
    assert_eq!(status, 200);
    world.say(ANN, "#4");
    world.ask(BOB, "#5", "answer #5").await;
    world.confirmed().await;
    assert_eq!(world.count(ANN, "answer #4"), 0);
    assert_eq!(world.sql("SELECT count(*) FROM inbox WHERE text LIKE '%let me in%' OR raw LIKE '%let me in%'"), 0);
    world.finish().await;
}

#[tokio::test]
async fn groups_and_bots_are_refused_in_silence() {
    let world = World::start().await;
    world.telegram.add_group(-100_123, "a group", ChatKind::Supergroup { forum: false }, &[ANN, BOB]);
    world.telegram.post(Post::new(-100_123, ANN, "hello bot"));
    world.telegram.post(Post::new(-100_123, ANN, "/start"));
    let mut robot = Post::new(BOB, BOB, "I am a robot");
    robot.fields = json!({"from": {"id": BOB, "is_bot": true, "first_name": "R"}}).as_object().unwrap().clone();
    world.telegram.post(robot);
    world.ask(ANN, "#1", "answer #1").await;
    assert_eq!((world.heard(-100_123), world.heard(BOB)), (Vec::new(), Vec::new()));
    assert_eq!(world.messages.calls(), 1);
    assert_eq!(world.sql("SELECT count(*) FROM inbox WHERE state = 'dropped'"), 3);
    world.finish().await;
}

#[tokio::test]
async fn a_message_that_waits_can_be_edited() {
    let world = World::start().await;
    world.say(ANN, "#1 [slow:700]");
    world.prompted("#1").await;
    world.say(ANN, "#2 before");
    let waiting = world.telegram.transcript(ANN).last().unwrap().message_id;
    world.stored("SELECT count(*) FROM inbox WHERE state = 'received'", 1).await;
    world.telegram.change(|state| state.edit_post(ANN, waiting, "#3 after")).unwrap();
    world.hear(ANN, "answer #3").await;
    // What was answered already stays answered.
    let first = world.telegram.transcript(ANN)[0].message_id;
    world.telegram.change(|state| state.edit_post(ANN, first, "#9")).unwrap();
    world.ask(ANN, "#4", "answer #4").await;
    assert_eq!(answered(&world.heard(ANN)), each_once([1, 3, 4]));
    world.finish().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_said_and_a_caption_is_read() {
    let world = World::start().await;
    let file = |caption: &str| PostedFile {
        user: ANN,
        kind: FileKind::Photo,
        name: String::new(),
        media_type: String::new(),
        bytes: Bytes::from_static(b"picture"),
        caption: caption.to_owned(),
        group: None,
    };
    world.telegram.post_file(file(""));
    world.hear(ANN, "The picture could not be read").await;
    assert_eq!(world.messages.calls(), 0);
    world.telegram.post_file(file("#1 look"));
    world.hear(ANN, "answer #1").await;
    world.finish().await;
}

#[tokio::test]
async fn commands_are_answered_and_other_slashes_go_to_the_model() {
    let world = World::start().await;
    world.ask(ANN, "/start", "Hello, I am Blufio").await;
    world.ask(ANN, "/help", "/model").await;
    world.ask(ANN, "/status", "Nothing is running here").await;
    world.ask(ANN, "/stop", "Nothing is running").await;
    assert_eq!(world.messages.calls(), 0);
    world.ask(ANN, "one", "message 1 of this conversation").await;
    world.ask(ANN, "/model", "claude-sonnet-5-5").await;
    world.ask(ANN, "/model nonsense", "do not know the model").await;
    world.ask(ANN, "/model claude-opus-5-5", "From now on").await;
    world.ask(ANN, "two", "message 2 of this conversation").await;
    let models: Vec<Value> = world.messages.requests().iter().map(|request| request.body["model"].clone()).collect();
    assert_eq!(models, ["claude-sonnet-5-5", "claude-opus-5-5"]);
    world.ask(ANN, "/new", "New conversation").await;
    world.ask(ANN, "[say:fresh]", "fresh").await;
    let last = world.messages.requests().last().unwrap().body.clone();
    assert_eq!(last["messages"].as_array().unwrap().len(), 1, "/new forgets: {last}");
    assert_eq!(last["model"], "claude-opus-5-5", "the choice stays");
    world.ask(ANN, "/frobnicate now", "You said: \"/frobnicate now\"").await;
    world.finish().await;
}
