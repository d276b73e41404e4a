//! What no server should send and no person should write: refused or ignored, and the next message is answered.

use blufio_testkit::botapi::Post;
use blufio_testkit::messages::{Fault, FaultKind, streams};
use serde_json::json;

use crate::support::{ANN, World, answered, each_once};

#[tokio::test]
async fn odd_updates_do_not_hold_up_the_good_ones() {
    let world = World::start().await;
    let odd = [
        json!({}),
        json!({"message": 5}),
        json!({"message": null}),
        json!({"message": {"message_id": 1}}),
        json!({"message": {"message_id": "x", "chat": {"id": ANN, "type": "private"}, "date": 0}}),
        json!({"message": {"message_id": 1, "date": 0, "chat": {"id": 1e300, "type": "private"}, "text": "x"}}),
        json!({"something_of_2030": {"id": 1, "nested": [[[[]]]]}}),
        json!({"callback_query": {"id": "1"}}),
        json!({"edited_message": {"message_id": 9, "date": 0, "chat": {"id": ANN, "type": "private"}}}),
        json!({"my_chat_member": "?"}),
        json!({"poll": {"id": "1"}}),
        json!({"message": {"message_id": 7, "date": 0, "chat": {"id": ANN, "type": "private"}, "text": "x".repeat(300_000),
            "from": {"id": ANN, "is_bot": false, "first_name": "A"}}}),
    ];
    world.telegram.change(|state| {
        for update in &odd {
            state.push_raw(update);
        }
        state.post(Post::new(ANN, ANN, "#1"));
        for update in &odd {
            state.push_raw(update);
        }
    });
    world.hear(ANN, "answer #1").await;
    world.ask(ANN, "#2", "answer #2").await;
    world.confirmed().await;
    assert_eq!(answered(&world.heard(ANN)), each_once([1, 2]));
    assert_eq!(world.sql("SELECT count(*) FROM inbox"), 2 + 2 * i64::try_from(odd.len()).unwrap());
    world.finish().await;
}

#[tokio::test]
async fn an_update_without_a_number_does_not_stop_the_others() {
    let world = World::start().await;
    world.telegram.push_update(&json!({"update_id": 0, "message": 1}));
    world.ask(ANN, "#1", "answer #1").await;
    world.finish().await;
}

#[tokio::test]
async fn texts_of_all_sorts_reach_the_model_and_come_back() {
    let world = World::start().await;
    let texts = [
        "ÄÖ 🦀 \u{200d} \u{202e}rtl",
        "<b>&amp;</b> *_`[x](y)",
        "\u{0}\u{1}\u{7f} control",
        "a\nb\r\nc\t d",
        "\u{fffd}\u{feff}",
    ];
    for (number, text) in (1..).zip(texts) {
        world.ask(ANN, &format!("{text} #{number}"), &format!("answer #{number}")).await;
    }
    world.ask(ANN, &format!("{} #9", "long ".repeat(800)), "answer #9").await;
    let quoted = world.ask(ANN, "a < b && c > d *not bold* [x", "You said").await;
    assert!(quoted.text.contains("a < b && c > d"), "{}", quoted.text);
    world.finish().await;
}

#[tokio::test]
async fn streams_cut_at_sampled_places_end_in_an_answer() {
    // Every place is tried with the adapter alone; here a few of each stream go through the whole product.
    let world = World::start_with(&[("agents.main.fallback_model", "\"\"")]).await;
    let mut number = 0;
    for stream in [streams::TEXT, streams::TOOLS, streams::THINKING] {
        for part in [0, 1, 3, 5, 7] {
            number += 1;
            let cut = stream.as_bytes()[..stream.len() * part / 8].to_vec();
            world
                .messages
                .fault(Fault { only_if: Some(format!("#{number} ")), ..Fault::next(1, FaultKind::Replay(cut)) });
        }
    }
    // In sessions of their own, at once: each waits half a second before its second try.
    let mut rows = Vec::new();
    for number in 1..=number {
        rows.push(world.say_here(&format!("local:{number}"), &format!("cut-{number}"), &format!("#{number} ")).await);
    }
    for (number, row) in (1..).zip(rows) {
        let view = world.outcome(row).await;
        assert_eq!((&view["outcome"], &view["text"]), (&json!("reply"), &json!(format!("answer #{number}"))));
    }
    world.finish().await;
}

#[tokio::test]
async fn the_control_socket_refuses_what_it_does_not_understand() {
    let world = World::start().await;
    for (path, body, wanted) in [
        ("/v1/messages", json!({"session": "local:main", "text": "x"}), 422),
        ("/v1/messages", json!({"session": "local:main", "text": "x", "client_id": "a", "more": 1}), 422),
        ("/v1/messages", json!({"session": "tg:1:dm:5", "text": "x", "client_id": "a"}), 400),
        ("/v1/messages", json!({"session": "local:main", "text": "x".repeat(1_100_000), "client_id": "a"}), 413),
        ("/v1/pairings/approve", json!({"code": "ABCDEFGH"}), 404),
        ("/v1/pairings/revoke", json!({"user": 5}), 404),
        ("/v1/nothing", json!({}), 404),
    ] {
        let (status, answer) = world.post(path, &body).await;
        assert_eq!(status, wanted, "{path}: {answer}");
        assert!(answer["error"]["message"].is_string(), "{path}: {answer}");
    }
    assert_eq!(world.messages.calls(), 0);
    world.finish().await;
}

#[tokio::test]
async fn numbers_of_updates_may_begin_anew() {
    let mut world = World::prepare().await;
    world.telegram.reset_ids(900_000);
    world.run().await;
    world.ask(ANN, "#1", "answer #1").await;
    world.ask(ANN, "#2", "answer #2").await;
    world.telegram.reset_ids(7);
    world.ask(ANN, "#3", "answer #3").await;
    world.restart().await;
    world.ask(ANN, "#4", "answer #4").await;
    assert_eq!(answered(&world.heard(ANN)), each_once(1..=4));
    world.finish().await;
}
