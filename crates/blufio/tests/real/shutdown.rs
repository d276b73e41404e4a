//! The orderly end.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use blufio_testkit::botapi::{Action, Fault};
use blufio_testkit::messages::Script;

use crate::support::{ANN, SOON, World, answered, each_once};

#[tokio::test]
async fn an_idle_server_ends_at_once_and_leaves_a_folded_log() {
    let mut world = World::start().await;
    world.ask(ANN, "#1", "answer #1").await;
    let took = world.end().await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    let log = world.setup.data_dir().join("blufio.db-wal");
    assert_eq!(std::fs::metadata(&log).map_or(0, |log| log.len()), 0, "the write-ahead log is folded into the file");
    assert_eq!(world.sql("SELECT value FROM meta WHERE key = 'clean'"), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_stream_that_ends_soon_may_end() {
    let mut world = World::start().await;
    world.say(ANN, "#1 [slow:1200]");
    world.prompted("#1").await;
    let took = world.end().await;
    assert!(took > Duration::from_millis(500) && took < Duration::from_secs(6), "{took:?}");
    assert_eq!(answered(&world.heard(ANN)), each_once([1]), "the answer was sent before the end");
    world.run().await;
    world.ask(ANN, "#2", "answer #2").await;
    assert_eq!(answered(&world.heard(ANN)), each_once([1, 2]));
    world.finish().await;
}

#[tokio::test]
async fn a_stream_that_does_not_end_is_given_up_and_answered_after_the_restart() {
    let mut world = World::start().await;
    world.messages.push(Script { first_token_ms: 60_000, ..Script::text("never") });
    world.say(ANN, "#1");
    world.prompted("#1").await;
    let took = world.end().await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    world.run().await;
    world.hear(ANN, "answer #1").await;
    assert_eq!(answered(&world.heard(ANN)), each_once([1]));
    world.finish().await;
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    let mut world = World::start().await;
    world.messages.push(Script { first_token_ms: 60_000, ..Script::text("never") });
    world.say(ANN, "#1");
    world.prompted("#1").await;
    world.server().ask_to_end().unwrap();
    world
        .eventually("the end begins", async |world| matches!(world.get("/readyz").await, Some((503, _))).then_some(()))
        .await;
    let asked = Instant::now();
    world.server().ask_to_end().unwrap();
    let status = world.server().wait().await.unwrap();
    assert_eq!((status.code(), status.signal()), (Some(143), None));
    assert!(asked.elapsed() < Duration::from_millis(1_500), "{:?}", asked.elapsed());
    world.forget();
    world.run().await;
    world.hear(ANN, "answer #1").await;
    world.finish().await;
}

#[tokio::test]
async fn what_arrives_during_the_end_is_answered_after_the_restart() {
    let mut world = World::start().await;
    world.say(ANN, "#1 [slow:800]");
    world.prompted("#1").await;
    world.say(ANN, "#2");
    world.server().ask_to_end().unwrap();
    for number in 3..8 {
        world.say(ANN, &format!("#{number}"));
    }
    let status = world.server().wait().await.unwrap();
    assert!(status.success(), "{status}");
    world.forget();
    world.run().await;
    world.hear(ANN, "answer #7").await;
    assert_eq!(answered(&world.heard(ANN)), each_once(1..8));
    world.finish().await;
}

#[tokio::test]
async fn a_send_that_hangs_does_not_hold_up_the_end_for_long() {
    let mut world = World::start().await;
    world.telegram.fault(Fault::once("sendMessage", Action::NeverAnswer));
    world.say(ANN, "#1");
    world.telegram.wait_for(|state| (state.count("sendMessage") == 1).then_some(()), SOON).await;
    let took = world.end().await;
    assert!(took < Duration::from_secs(6), "{took:?}");
    world.run().await;
    world.hear(ANN, "answer #1").await;
    assert_eq!(world.sql("SELECT count(*) FROM outbox WHERE maybe_duplicate"), 1, "nobody knows whether it arrived");
    world.finish().await;
}
