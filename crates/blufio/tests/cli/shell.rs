//! `blufio shell`, without and with a server, and across its death.

use super::{Place, SOON, model};
use blufio_testkit::messages::{Fault, FaultKind};
use rustix::process::Signal;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;

#[tokio::test(flavor = "multi_thread")]
async fn one_message_is_answered_and_remembered_by_the_next_process() {
    let api = model().await;
    let place = Place::with(&api);
    let answer = place.run(&["shell", "-m", "hi", "--json"]).json();
    let text = r#"You said: "hi". I am the fake model, and this is message 1 of this conversation."#;
    let cost = answer["cost_micro_usd"].clone();
    assert_eq!(
        answer,
        json!({"outcome": "reply", "text": text, "session": "local:main", "inbox": 1, "cost_micro_usd": cost})
    );
    assert_eq!(cost, api.spend());
    assert!(api.spend() > 0);

    let again = place.run(&["shell", "-m", "who am I?"]).good();
    assert!(again.ends_with("this is message 2 of this conversation.\n"), "{again}");
    let other = place.run(&["shell", "-m", "hi", "--session", "work"]).good();
    assert!(other.ends_with("this is message 1 of this conversation.\n"), "{other}");
    assert_eq!(api.violations(), [""; 0]);

    for name in ["blufio.db", "lock"] {
        let mode = std::fs::metadata(place.data().join(name)).expect(name).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_run() {
    let api = model().await;
    let place = Place::with(&api);
    let answer = place.run(&["shell", "-m", "what time is it?"]).good();
    assert!(answer.starts_with("The tool now said: "), "{answer}");
    assert_eq!(api.calls(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_come_from_standard_input() {
    let api = model().await;
    let place = Place::with(&api);
    assert_eq!(place.feed(&["shell", "-m", "-"], "[say:two]\nlines\n").good(), "two\n");
    let lines = place.feed(&["shell"], "[say:a]\n\n/new\n  [say:b] \n/exit\n[say:never]\n").good();
    assert_eq!(lines, "a\nNew conversation. What is on your mind?\nb\n");
    let objects = place.feed(&["shell", "--json"], "[say:c]\n/help\n").good();
    let outcomes: Vec<serde_json::Value> = objects
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["reply", "answer"]);
    assert_eq!(api.prompts_seen(), ["[say:two]\nlines", "[say:a]", "[say:b]", "[say:c]"]);

    place.feed(&["shell", "-m", "-"], " \n").bad(2, &["error: the message is empty"]);
    place.feed(&["shell", "-m", "-"], &"x".repeat(65 * 1024)).bad(2, &["longer than 65536 bytes", "hint: "]);
    place.run(&["shell", "-m", "hi", "--session", "tg:1:dm:2"]).bad(1, &["not a session of this machine", "hint: "]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_has_an_exit_code() {
    let api = model().await;
    let place = Place::with(&api);
    let ran = place.run(&["shell", "-m", "[refuse]"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""));
    assert_eq!(ran.out, "The model declined to answer this. Try to put it another way.\n");
    let ran = place.run(&["shell", "-m", "[refuse]", "--json"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.contains(r#""outcome":"error""#), "{ran:?}");
    assert_eq!(place.feed(&["shell"], "[refuse]\n[say:fine]\n").code, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_it_says_what_to_do() {
    let place = Place::bare();
    place
        .run(&["shell", "-m", "hi"])
        .bad(77, &["error: ", "hint: `blufio vault set anthropic.api_key`", "ANTHROPIC_API_KEY"]);
    let ran = place.run(&["serve", "--json"]);
    let told: serde_json::Value = serde_json::from_str(ran.err.lines().last().expect("a line")).expect("JSON");
    assert_eq!((ran.code, &told["error"]["code"]), (Some(77), &json!(77)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_running_server_answers() {
    let api = model().await;
    let place = Place::with(&api);
    let server = place.serve();
    assert_eq!(place.run(&["shell", "-m", "[say:hello]"]).good(), "hello\n");
    let status = place.run(&["status", "--json"]).json();
    assert_eq!(status["status"]["store"]["turns"], json!({"reply": 1}));
    let log = server.stop();
    assert!(log.contains("turn over"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_in_the_middle_of_an_answer_loses_nothing() {
    let api = model().await;
    let place = Place::with(&api);
    api.fault(Fault::next(1, FaultKind::NeverAnswer));
    let server = place.serve();
    let shell = place.start(&["shell", "-m", "[say:here it is]", "--json"], "");
    api.wait_for(|seen| (seen.requests.len() == 1).then_some(()), SOON).await;
    server.kill();
    let server = place.serve();
    let answer = shell.end().json();
    assert_eq!((&answer["outcome"], &answer["text"]), (&json!("reply"), &json!("here it is")));
    let messages = place.run(&["session", "show", "local:main", "--json"]).json();
    assert_eq!(messages.as_array().map(Vec::len), Some(2), "said once, answered once: {messages}");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupting_stops_the_answer() {
    let api = model().await;
    let place = Place::with(&api);
    api.fault(Fault::next(1, FaultKind::NeverAnswer));
    let shell = place.start(&["shell", "-m", "hm"], "");
    api.wait_for(|seen| (seen.requests.len() == 1).then_some(()), SOON).await;
    shell.signal(Signal::INT);
    let ran = shell.end();
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(1), "[stopped]\n", ""));
    let answer = place.run(&["shell", "-m", "go on", "--json"]).json();
    assert_eq!(answer["outcome"], "reply");
}
