//! The agent's own looks: nothing is asked while nothing has changed, and it speaks only by a decision.

use std::os::unix::fs::DirBuilderExt;

use blufio_testkit::messages::{Fault, FaultKind};
use serde_json::Value;

use crate::support::{ANN, World};

const CALLS: &str = "SELECT count(*) FROM ledger";

fn put(world: &World, path: &str, text: &str) {
    let path = world.workspace().join(path);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Lets it look now; whether something was asked.
async fn look(world: &World) -> bool {
    world.setup.run(&["cron", "run", "heartbeat"]).await.unwrap().status.success()
}

/// What became of its newest look.
async fn newest(world: &World) -> Value {
    let done = world.setup.run(&["cron", "history", "heartbeat", "--json"]).await.unwrap();
    serde_json::from_slice::<Value>(&done.stdout).unwrap()[0].clone()
}

/// Everything running, looking at every hour of the day.
async fn start() -> World {
    let mut world = World::prepare().await;
    put(&world, "HEARTBEAT.md", "");
    world.set(&[("heartbeat.active_hours", r#""""#)]);
    world.run().await;
    world
        .eventually("it is scheduled", async |world| (world.sql("SELECT count(*) FROM schedules") == 1).then_some(()))
        .await;
    world.ask(ANN, "#1", "answer #1").await;
    world
}

#[tokio::test]
async fn forty_eight_idle_looks_call_nobody() {
    let world = start().await;
    let calls = world.messages.calls();
    for _ in 0..24 {
        assert!(!look(&world).await);
    }
    assert_eq!(newest(&world).await["note"], "there is nothing to look at");
    put(&world, "HEARTBEAT.md", "# Look at\n\n<!-- the mail -->\n- [x] the garden\n");
    for _ in 0..24 {
        assert!(!look(&world).await);
    }
    assert_eq!((world.messages.calls(), world.sql(CALLS)), (calls, 1));
    world.finish().await;
}

#[tokio::test]
async fn a_change_is_asked_about_once_by_the_cheapest_model_and_told_by_a_decision() {
    let mut world = start().await;
    let before = world.messages.requests().pop().unwrap().body.clone();
    put(&world, "AGENTS.md", &"This is not for a look. ".repeat(100));
    put(&world, "rent.md", "due on Friday");
    put(&world, "HEARTBEAT.md", "- watch: rent.md\n- [say:{\"notify\": true, \"text\": \"The rent is due.\"}]\n");
    assert!(look(&world).await);
    world.hear(ANN, "The rent is due.").await;
    let body = world.messages.requests().pop().unwrap().body.clone();
    let text = body.to_string();
    assert!(
        text.contains("due on Friday") && !text.contains("This is not for a look") && !text.contains("#1"),
        "{text}"
    );
    assert!(body.get("tools").is_none(), "{body}");
    let newest_call = |what: &str| format!("SELECT {what} FROM ledger ORDER BY id DESC LIMIT 1");
    let tokens = world.sql(&newest_call("input + cache_write_5m + cache_write_1h + cache_read"));
    let cost = world.sql(&newest_call("amount"));
    assert_eq!(body["model"], "claude-haiku-5-5");
    assert!(tokens <= 3_000 && cost <= 600, "{tokens} tokens, {cost} µ$");
    println!("a look that has seen a change: {tokens} prompt tokens, {cost} µ$");
    world.eventually("it is over", async |world| (newest(world).await["state"] == "done").then_some(())).await;
    let calls = world.messages.calls();
    assert!(!look(&world).await, "nothing has changed since");
    world.restart().await;
    assert!(!look(&world).await, "also after a restart");
    assert_eq!(newest(&world).await["note"], "nothing has changed");
    // What it does not decide to say, nobody hears.
    for (number, silence) in ["[say:{\"notify\": false}]", "[say:HEARTBEAT_OK]", "[say:The rent!]"].iter().enumerate() {
        put(&world, "HEARTBEAT.md", &format!("- {silence}\n"));
        assert!(look(&world).await, "{silence}");
        let over = format!(
            "SELECT count(*) FROM turns JOIN sessions ON sessions.id = session WHERE key = 'heartbeat:main' AND state = 'done' AND {number} = {number}"
        );
        let expected = i64::try_from(number).unwrap() + 2;
        world.eventually("it is over", async |world| (world.sql(&over) == expected).then_some(())).await;
    }
    assert_eq!(world.messages.calls(), calls + 3);
    world.ask(ANN, "#2", "answer #2").await;
    assert_eq!(world.heard(ANN).len(), 3, "{:?}", world.heard(ANN));
    // The conversation goes on as if nobody had looked.
    let after = world.messages.requests().pop().unwrap().body.clone();
    assert_eq!(after["messages"][0]["content"][0]["text"], before["messages"][0]["content"][0]["text"]);
    assert_eq!(after["messages"].as_array().unwrap().len(), 3);
    world.finish().await;
}

#[tokio::test]
async fn it_rests_outside_of_its_hours_when_its_money_is_spent_and_when_it_is_off() {
    let minute = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC);
    let hours = format!("\"{:02}:00-{:02}:30\"", (minute.hour() + 3) % 24, (minute.hour() + 3) % 24);
    let mut world = World::prepare().await;
    put(&world, "HEARTBEAT.md", "- look\n");
    world.set(&[("heartbeat.active_hours", hours.as_str()), ("agents.main.timezone", r#""UTC""#)]);
    world.run().await;
    world
        .eventually("it is scheduled", async |world| (world.sql("SELECT count(*) FROM schedules") == 1).then_some(()))
        .await;
    assert!(!look(&world).await);
    assert_eq!(newest(&world).await["note"], "outside of the active hours");
    world.set(&[("heartbeat.active_hours", r#""""#), ("heartbeat.day_usd", r#""0""#)]);
    world.restart().await;
    assert!(!look(&world).await);
    assert_eq!(newest(&world).await["note"], "its budget of the day is used up");
    world.set(&[("heartbeat.enabled", "false")]);
    world.restart().await;
    assert!(!look(&world).await);
    world
        .eventually("it is gone", async |world| (world.sql("SELECT count(*) FROM schedules") == 0).then_some(()))
        .await;
    assert_eq!(world.messages.calls(), 0);
    world.finish().await;
}

#[tokio::test]
async fn a_question_that_got_no_answer_is_asked_again() {
    let world = start().await;
    put(&world, "HEARTBEAT.md", "- [say:{\"notify\": true, \"text\": \"At last.\"}]\n");
    let refused = FaultKind::Status {
        code: 401,
        kind: "authentication_error".to_owned(),
        message: String::new(),
        error_code: None,
        retry_after: None,
    };
    world.messages.fault(Fault::next(1, refused));
    assert!(look(&world).await);
    world.eventually("it has failed", async |world| (newest(world).await["state"] == "failed").then_some(())).await;
    assert!(look(&world).await, "nothing has changed, and nothing was answered");
    world.hear(ANN, "At last.").await;
    world.finish().await;
}
