//! Trouble at the provider of the model and at the Bot API: who reads what, and that everything goes on afterwards.

use std::time::Duration;

use blufio_testkit::botapi::{Action, Fault as BotFault};
use blufio_testkit::messages::{Block, Fault, FaultKind, Script};
use serde_json::{Value, json};

use crate::support::{ANN, BOB, World, answered, each_once};

// ---------------------------------------------------------------- the model's provider

/// A refusal that asks to come back at once, so that the test need not wait for the usual pauses.
fn status(code: u16, kind: &str) -> FaultKind {
    FaultKind::Status {
        code,
        kind: kind.to_owned(),
        message: format!("the fake says {kind}"),
        error_code: None,
        retry_after: Some("0".to_owned()),
    }
}

/// Files in the workspace.
fn files(world: &World) -> usize {
    let entries = std::fs::read_dir(world.workspace()).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_file()).count()
}

/// The models that were asked, oldest first.
fn models(world: &World) -> Vec<String> {
    let requests = world.messages.requests();
    requests.iter().map(|request| request.body["model"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_overloaded_provider_is_asked_again_and_answers_once() {
    let world = World::start().await;
    world.messages.fault(Fault::next(2, status(529, "overloaded_error")));
    world.ask(ANN, "#1", "answer #1").await;
    assert_eq!(world.messages.requests().len(), 3);
    assert_eq!(answered(&world.heard(ANN)), each_once([1]));
    world.finish().await;
}

#[tokio::test]
async fn the_fallback_model_answers_when_the_first_stays_away() {
    let world = World::start().await;
    world.messages.fault(Fault::next(4, status(500, "api_error")));
    world.ask(ANN, "#1", "answer #1").await;
    let sonnet = "claude-sonnet-5-5";
    assert_eq!(models(&world), [sonnet, sonnet, sonnet, sonnet, "claude-opus-5-5"]);
    world.ask(ANN, "#2", "answer #2").await;
    assert_eq!(models(&world).last().unwrap(), sonnet, "the next message tries the first one again");
    world.finish().await;
}

#[tokio::test]
async fn trouble_that_stays_is_told_and_the_next_message_works() {
    let cases = [
        (status(400, "invalid_request_error"), "refused the request"),
        (status(401, "authentication_error"), "blufio vault set anthropic.api_key, then restart"),
        (status(402, "billing_error"), "spending limit or an unpaid bill"),
        (status(404, "not_found_error"), "does not know this model"),
        (status(413, "request_too_large"), "too long for the model"),
    ];
    let world = World::start().await;
    for (number, (fault, words)) in (1..).zip(cases) {
        world.messages.fault(Fault::next(1, fault));
        world.ask(ANN, &format!("trouble {number}"), words).await;
        world.ask(ANN, &format!("#{number}"), &format!("answer #{number}")).await;
    }
    assert_eq!(world.messages.requests().len(), 10, "none of them was tried twice");
    world.messages.fault(Fault::next(8, status(529, "overloaded_error")));
    world.ask(ANN, "busy", "overloaded right now").await;
    world.ask(ANN, "#9", "answer #9").await;
    world.finish().await;
}

#[tokio::test]
async fn broken_streams_are_tried_again_in_silence() {
    let mut world = World::prepare().await;
    let faults = [
        FaultKind::ErrorEventAfter(5),
        FaultKind::CutAtByte(700),
        FaultKind::InvalidJson("{\"type\":".to_owned()),
        FaultKind::ResetConnection,
        FaultKind::HugeBody { bytes: 50 * 1024 * 1024 },
        FaultKind::Replay(b"data: {}\n\nevent: x\n\n\xff\xfe".to_vec()),
    ];
    // One person for each, at once, since every pause before a second try is waited for.
    let people: Vec<i64> = (2_001..).take(faults.len()).collect();
    let root = world.telegram.base_url();
    world.setup.telegram(&root, crate::support::TOKEN, &people);
    world.run().await;
    for (person, fault) in people.iter().zip(faults) {
        world.messages.fault(Fault { only_if: Some(format!("#{person}")), ..Fault::next(1, fault) });
        world.say(*person, &format!("#{person}"));
    }
    for person in people {
        world.hear(person, &format!("answer #{person}")).await;
        assert_eq!(world.heard(person).len(), 1, "{:?}", world.heard(person));
    }
    assert_eq!(world.messages.requests().len(), 12, "each was asked twice");
    world.finish().await;
}

#[tokio::test]
async fn every_way_of_stopping_has_its_words() {
    let world = World::start().await;
    world.ask(ANN, "[refuse]", "declined to answer").await;
    world.ask(ANN, "[empty]", "ended without a reply").await;
    let cut = world.ask(ANN, "[max_tokens] [say:one two three four]", "cut at the length limit").await;
    assert!(cut.text.starts_with("one two"), "{}", cut.text);
    let paused = world.ask(ANN, "[pause:2] [say:at last]", "at last").await;
    assert!(paused.text.starts_with("One moment"), "{}", paused.text);
    world.messages.fault(Fault::next(1, FaultKind::ContextWindowExceeded));
    world.ask(ANN, "[say:nearly full]", "filled the model's window").await;
    for fault in [FaultKind::UnknownStopReason, FaultKind::UnknownEvents, FaultKind::ToolUseWithoutCall] {
        world.messages.fault(Fault::next(1, fault.clone()));
        let text = format!("[say:still {fault:?}]");
        world.ask(ANN, &text, &format!("still {fault:?}")).await;
    }
    world
        .ask(
            ANN,
            r#"[max_tokens] #5 [tool:write_file {"path":"long.txt","content":"some words that can be cut"}]"#,
            "answer #5",
        )
        .await;
    assert!(world.workspace().join("long.txt").exists(), "the cut call was asked for again with more room");
    world.ask(ANN, "#6", "answer #6").await;
    world.finish().await;
}

#[tokio::test]
async fn odd_tool_calls_are_answered_and_end_in_a_reply() {
    let world = World::start().await;
    let odd: [Vec<Block>; 3] = [
        vec![Block::Tool { id: None, name: "now".to_owned(), input: "{\"zone\": ".to_owned() }],
        vec![Block::Tool { id: None, name: "now".to_owned(), input: "[1]".to_owned() }],
        (0..70).map(|n| Block::tool("write_file", json!({"path": format!("{n}"), "content": "x"}))).collect(),
    ];
    for (number, blocks) in (1..).zip(odd) {
        world.messages.push(Script::blocks(blocks).only_if(&format!("#{number}")));
        world.ask(ANN, &format!("#{number}"), &format!("answer #{number}")).await;
    }
    assert_eq!(files(&world), 64, "calls beyond the limit do not run");
    for (number, fault) in (4..).zip([
        FaultKind::ToolUseWithEndTurn,
        FaultKind::ParallelCalls(3),
        FaultKind::DuplicateToolIds,
        FaultKind::EmptyToolId,
    ]) {
        world.messages.fault(Fault::next(1, fault));
        world.ask(ANN, &format!("#{number}"), &format!("answer #{number}")).await;
    }
    world.finish().await;
}

#[tokio::test]
async fn the_same_call_again_and_again_ends_the_turn_and_so_do_too_many_rounds() {
    let world = World::start_with(&[("session.tool_rounds", "6")]).await;
    let same = "[tool:now {}]".to_owned() + &"[then:tool:now {}]".repeat(8);
    world.ask(ANN, &same, "repeating the same tool call").await;
    let rounds: String = (0..9).map(|n| format!(r#"[then:tool:write_file {{"path":"{n}","content":"x"}}]"#)).collect();
    world.ask(ANN, &rounds, "used up the rounds").await;
    assert_eq!(files(&world), 6);
    world.ask(ANN, "#1", "answer #1").await;
    world.finish().await;
}

#[tokio::test]
async fn calls_without_figures_are_booked_as_estimates() {
    let world = World::start().await;
    world.messages.fault(Fault::next(1, FaultKind::MissingUsage));
    world.ask(ANN, "#1", "answer #1").await;
    world.messages.fault(Fault::next(1, FaultKind::UsageAtEnd));
    world.ask(ANN, "#2", "answer #2").await;
    world.messages.fault(Fault::next(1, FaultKind::NegativeUsage));
    world.ask(ANN, "#3", "answer #3").await;
    let state = |call: i64| world.sql(&format!("SELECT state = 'settled' FROM ledger WHERE turn = {call}"));
    assert_eq!((state(1), state(2), state(3)), (0, 1, 0), "only known figures are settled");
    assert_eq!(world.sql("SELECT count(*) FROM ledger WHERE state = 'counted_estimate' AND amount > 0"), 2);
    world.finish().await;
}

#[tokio::test]
async fn a_turn_that_takes_too_long_is_ended() {
    let world = World::start_with(&[("session.turn_deadline_s", "1")]).await;
    world.ask(ANN, "[slow:30000]", "This took too long").await;
    world.ask(ANN, "#1", "answer #1").await;
    world.finish().await;
}

#[tokio::test]
async fn a_model_without_a_price_is_not_called() {
    let world = World::start_with(&[("agents.main.model", "\"claude-unheard-of\"")]).await;
    world.ask(ANN, "hello", "price of this model is not known").await;
    assert_eq!(world.messages.requests().len(), 0);
    world.ask(ANN, "/model claude-opus-5-5", "From now on").await;
    world.ask(ANN, "#1", "answer #1").await;
    world.finish().await;
}

// ---------------------------------------------------------------- the Bot API

fn says(status: u16, description: &str) -> Action {
    Action::Answer { status, description: description.to_owned(), parameters: Value::Null }
}

#[tokio::test]
async fn a_chat_that_must_wait_waits_alone() {
    let world = World::start().await;
    world.telegram.fault(BotFault::once("sendMessage", Action::RateLimit { retry_after: Some(1) }).in_chat(ANN));
    world.say(ANN, "#1");
    world.telegram.wait_for(|state| (state.count("sendMessage") == 1).then_some(()), crate::support::SOON).await;
    world.ask(BOB, "#2", "answer #2").await;
    assert_eq!(world.heard(ANN), [""; 0]);
    world.say(ANN, "#3");
    world.hear(ANN, "answer #3").await;
    assert_eq!(answered(&world.heard(ANN)), each_once([1, 3]));
    let at: Vec<u64> = world
        .telegram
        .requests()
        .iter()
        .filter(|request| request.method == "sendMessage" && request.params["chat_id"] == ANN)
        .map(|request| request.at_ms)
        .collect();
    assert!(at[1] - at[0] >= 1_000, "{at:?}");
    world.finish().await;
}

#[tokio::test]
async fn errors_of_the_server_are_tried_again() {
    let world = World::start().await;
    for (number, action) in (1..).zip([says(500, "Internal Server Error"), Action::HtmlBody502]) {
        world.telegram.fault(BotFault::once("sendMessage", action));
        world.ask(ANN, &format!("#{number}"), &format!("answer #{number}")).await;
    }
    assert_eq!(answered(&world.heard(ANN)), each_once([1, 2]));
    world.finish().await;
}

#[tokio::test]
async fn an_answer_that_got_lost_is_sent_once_more_at_most() {
    let world = World::start().await;
    world.telegram.fault(BotFault::once("sendMessage", Action::ApplyThenDrop));
    world.say(ANN, "#1");
    world.ask(ANN, "#2", "answer #2").await;
    let heard = answered(&world.heard(ANN));
    assert!(matches!(heard[..], [(1, 1..=2), (2, 1)]), "{heard:?}");
    let flagged = world.sql("SELECT count(*) FROM outbox WHERE maybe_duplicate");
    assert_eq!(flagged, 1, "what may have been sent twice is marked");
    world.finish().await;
}

#[tokio::test]
async fn a_server_that_is_away_for_a_while_loses_no_answer() {
    // Four refused connections in a row: more than a row that is refused by the server itself would get.
    let mut world = World::start().await;
    world.say(ANN, "#1 [slow:300]");
    world.prompted("#1").await;
    let address = world.telegram.addr();
    let config = blufio_testkit::botapi::BotApiConfig {
        addr: address,
        token: crate::support::TOKEN.to_owned(),
        throttle: false,
        first_update_id: 100,
        ..blufio_testkit::botapi::BotApiConfig::default()
    };
    // The last clone gone, the address is free: connections are refused.
    let elsewhere = blufio_testkit::botapi::FakeBotApi::start(blufio_testkit::botapi::BotApiConfig::default()).await;
    drop(std::mem::replace(&mut world.telegram, elsewhere.unwrap()));
    world.stored("SELECT count(*) FROM turns WHERE state = 'done'", 1).await;
    world
        .eventually("the row was tried several times", async |world| {
            let (_, text) = world.get("/metrics").await?;
            let line = text.lines().find(|line| line.starts_with("blufio_sends_total") && line.contains("not_sent"))?;
            (line.rsplit(' ').next()?.parse::<u64>().ok()? >= 4).then_some(())
        })
        .await;
    world.telegram = blufio_testkit::botapi::FakeBotApi::start(config).await.unwrap();
    world.telegram.open_private(ANN);
    world.hear(ANN, "answer #1").await;
    world.ask(ANN, "#2", "answer #2").await;
    assert_eq!(answered(&world.heard(ANN)), each_once([1, 2]));
    world.finish().await;
}

#[tokio::test]
async fn a_person_who_blocks_the_bot_is_left_alone_until_they_write_again() {
    let world = World::start().await;
    world.messages.push(Script { first_token_ms: 1_500, ..Script::text("answer #1").only_if("#1") });
    world.say(ANN, "#1");
    world.prompted("#1").await;
    world.telegram.set_blocked(ANN, true);
    // The server says so by an update, which comes before the answer.
    world.stored("SELECT count(*) FROM closed_chats WHERE chat = 1001", 1).await;
    world.stored("SELECT count(*) FROM outbox WHERE state = 'dead'", 1).await;
    assert_eq!(world.telegram.counts().get("sendMessage"), None, "it is known to be shut");
    world.ask(BOB, "#2", "answer #2").await;
    world.ask(ANN, "#3", "answer #3").await;
    assert_eq!(answered(&world.heard(ANN)), each_once([3]));
    world.finish().await;
}

#[tokio::test]
async fn markup_that_is_refused_is_sent_as_plain_text() {
    let world = World::start().await;
    let refused = says(400, "Bad Request: can't parse entities: Unsupported start tag \"x\" at byte offset 1");
    world.telegram.fault(BotFault::once("sendMessage", refused));
    let said = world.ask(ANN, "[say:**bold** and <b>x</b>] ", "bold").await;
    let last = world.telegram.requests().into_iter().rfind(|request| request.method == "sendMessage").unwrap();
    assert!(last.params.get("parse_mode").is_none(), "{:?}", last.params);
    assert!(said.text.contains("<b>x</b>"), "{}", said.text);
    world.finish().await;
}

#[tokio::test]
async fn polls_recover_from_every_kind_of_answer() {
    let world = World::start().await;
    let faults = [
        says(500, "Internal Server Error"),
        Action::TruncatedJson,
        Action::ResetMid,
        Action::HugeBody(11 * 1024 * 1024),
        Action::WrongContentType,
        Action::CloseKeepAlive,
    ];
    for (number, action) in (1..).zip(faults) {
        // The poll that waits is answered by this message; the one after it meets the fault.
        world.telegram.fault(BotFault::once("getUpdates", action));
        world.say(ANN, &format!("#{number}"));
        world.hear(ANN, &format!("answer #{number}")).await;
    }
    world.ask(ANN, "#7", "answer #7").await;
    assert_eq!(answered(&world.heard(ANN)), each_once(1..=7));
    assert_eq!(world.sql("SELECT count(*) FROM turns"), 7);
    world.finish().await;
}

#[tokio::test]
async fn somebody_else_who_polls_is_told_in_the_status() {
    let mut world = World::start().await;
    let conflict = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";
    world.say(ANN, "#1");
    world.hear(ANN, "answer #1").await;
    world.telegram.fault(BotFault::once("getUpdates", says(409, conflict)));
    // Ends the poll that may wait; the next one is refused.
    world.say(ANN, "#2");
    let health = world
        .eventually("the channel is degraded", async |world| {
            let health = world.status().await["channels"]["telegram"].take();
            (health["state"] == "degraded").then_some(health)
        })
        .await;
    assert!(health["reason"].as_str().unwrap().contains("another program"), "{health}");
    assert!(world.end().await < Duration::from_secs(1), "the long pause holds up no end");
    world.finish().await;
}

#[tokio::test]
async fn a_token_that_is_refused_makes_the_server_unready_and_leaves_it_alive() {
    let mut world = World::start().await;
    world.telegram.revoke_token(true);
    world.say(ANN, "#1");
    let status = world
        .eventually("the channel has failed", async |world| {
            let status = world.status().await;
            (status["channels"]["telegram"]["state"] == "failed").then_some(status)
        })
        .await;
    assert!(status["reason"].as_str().unwrap().contains("token"), "{status}");
    assert_eq!(world.get("/readyz").await.unwrap().0, 503);
    assert_eq!(world.get("/healthz").await.unwrap().0, 200);
    assert!(world.server().is_running());
    let row = world.say_here("local:main", "here", "#5").await;
    assert_eq!(world.outcome(row).await["text"], "answer #5");
    world.end().await;
    world.telegram.revoke_token(false);
    world.run().await;
    world.hear(ANN, "answer #1").await;
    world.finish().await;
}
