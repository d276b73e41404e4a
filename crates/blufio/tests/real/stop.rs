//! `/stop`: within half a second wherever the turn is, and the conversation goes on afterwards.

use std::time::{Duration, Instant};

use blufio_testkit::messages::{Fault, FaultKind};

use crate::support::{ANN, BOB, World, answered, each_once};

/// Longest time from `/stop` to its answer.
const AT_ONCE: Duration = Duration::from_millis(500);

/// Says `/stop`, and demands that it is answered at once and that no turn runs afterwards.
async fn stop(world: &World) {
    let asked = Instant::now();
    world.ask(ANN, "/stop", "Stopped.").await;
    assert!(asked.elapsed() < AT_ONCE, "answered after {:?}", asked.elapsed());
    world.stored("SELECT count(*) FROM turns WHERE state = 'running'", 0).await;
    assert!(asked.elapsed() < AT_ONCE, "over after {:?}", asked.elapsed());
}

/// The next message is answered, in a history that the model takes.
async fn goes_on(world: World) {
    world.ask(ANN, "[say:and on it goes]", "and on it goes").await;
    world.finish().await;
}

#[tokio::test]
async fn a_stream_is_stopped() {
    let world = World::start_with(&[("telegram.streaming", "\"auto\"")]).await;
    world.say(ANN, "[long:400][drip:50]");
    world.telegram.wait_for(|state| (!state.drafts(ANN).is_empty()).then_some(()), crate::support::SOON).await;
    stop(&world).await;
    world.messages.wait_for(|seen| (seen.disconnects == 1).then_some(()), AT_ONCE).await;
    assert_eq!(world.heard(ANN), ["Stopped."], "nothing of the answer stays");
    assert_eq!(
        world.sql("SELECT count(*) FROM ledger WHERE state = 'counted_estimate'"),
        1,
        "what was used is counted"
    );
    goes_on(world).await;
}

#[tokio::test]
async fn an_edited_preview_does_not_stay_unfinished() {
    let world = World::start_with(&[("telegram.streaming", "\"edit\"")]).await;
    world.say(ANN, "[long:400][drip:50]");
    world.hear(ANN, "").await;
    stop(&world).await;
    // It ends in our line; one that arrived too late for that is removed.
    let settled = |state: &blufio_testkit::botapi::State| {
        let mut heard: Vec<String> =
            state.transcript(ANN).into_iter().filter(|said| said.from_bot).map(|said| said.text).collect();
        heard.retain(|text| text != "[stopped]");
        (heard == ["Stopped."]).then_some(())
    };
    world.telegram.wait_for(settled, crate::support::SOON).await;
    goes_on(world).await;
}

#[tokio::test]
async fn rounds_of_tools_are_stopped() {
    let world = World::start().await;
    let rounds: String = (0..20).map(|n| format!(r#"[then:tool:write_file {{"path":"{n}","content":"x"}}]"#)).collect();
    world.say(ANN, &format!("work [slow:60]{rounds}"));
    world.prompted_times("work", 4).await;
    stop(&world).await;
    let calls = world.messages.calls();
    assert!(calls < 15, "{calls} calls");
    goes_on(world).await;
}

#[tokio::test]
async fn a_pause_between_two_tries_is_stopped() {
    let world = World::start().await;
    world.messages.fault(Fault::next(1, FaultKind::rate_limited(30)));
    world.say(ANN, "hello");
    world.stored("SELECT count(*) FROM ledger WHERE state = 'free'", 1).await;
    stop(&world).await;
    goes_on(world).await;
}

#[tokio::test]
async fn what_waits_is_dropped_and_what_comes_later_is_not() {
    let world = World::start().await;
    world.say(ANN, "#1 [slow:5000]");
    world.prompted("#1").await;
    for number in 2..12 {
        world.say(ANN, &format!("#{number}"));
    }
    world.stored("SELECT count(*) FROM inbox WHERE state = 'received'", 10).await;
    stop(&world).await;
    assert_eq!(world.sql("SELECT count(*) FROM inbox WHERE outcome = 'by_owner'"), 10);
    world.ask(ANN, "#12", "answer #12").await;
    assert_eq!(answered(&world.heard(ANN)), each_once([12]));
    goes_on(world).await;
}

#[tokio::test]
async fn a_message_right_behind_a_stop_is_answered() {
    let world = World::start().await;
    for round in 0..5 {
        world.say(ANN, &format!("#{} [slow:5000]", 2 * round + 1));
        world.prompted(&format!("#{} ", 2 * round + 1)).await;
        // In one batch, as a phone sends them that was offline.
        world.say(ANN, "/stop");
        world.say(ANN, &format!("#{}", 2 * round + 2));
        world.hear(ANN, &format!("answer #{}", 2 * round + 2)).await;
    }
    assert_eq!(answered(&world.heard(ANN)), each_once([2, 4, 6, 8, 10]));
    goes_on(world).await;
}

#[tokio::test]
async fn a_session_of_this_machine_is_stopped_through_the_control_socket() {
    let world = World::start().await;
    let row = world.say_here("local:main", "one", "[long:400][drip:50]").await;
    world.prompted("long").await;
    let (status, _) = world.post("/v1/sessions/local:main/stop", &serde_json::json!({})).await;
    assert_eq!(status, 202);
    assert_eq!(world.outcome(row).await["outcome"], "stopped");
    goes_on(world).await;
}

#[tokio::test]
async fn a_turn_that_waits_for_its_place_is_stopped() {
    let world = World::start_with(&[("session.running_turns", "1"), ("session.live_sessions", "4")]).await;
    world.say(BOB, "#1 [slow:1000]");
    world.prompted("#1").await;
    world.say(ANN, "#2");
    world.stored("SELECT count(*) FROM inbox WHERE state = 'received'", 1).await;
    stop_waiting(&world).await;
    world.hear(BOB, "answer #1").await;
    world.ask(ANN, "#3", "answer #3").await;
    assert_eq!(answered(&world.heard(ANN)), each_once([3]));
    goes_on(world).await;
}

/// As [`stop`], while another person's turn runs.
async fn stop_waiting(world: &World) {
    let asked = Instant::now();
    world.ask(ANN, "/stop", "Stopped.").await;
    world.stored("SELECT count(*) FROM inbox WHERE outcome = 'by_owner'", 1).await;
    assert!(asked.elapsed() < AT_ONCE, "answered after {:?}", asked.elapsed());
}
