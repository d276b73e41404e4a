//! What people see while an answer is written, and that the finished text is there exactly once.

use std::time::Duration;

use blufio_testkit::botapi::{Action, Fault};

use crate::support::{ANN, SOON, World};

const AUTO: (&str, &str) = ("telegram.streaming", "\"auto\"");
const EDIT: (&str, &str) = ("telegram.streaming", "\"edit\"");

/// The words that `[long:N]` gives.
fn words(count: usize) -> Vec<&'static str> {
    const WORDS: [&str; 8] = ["the", "little", "fake", "model", "writes", "one", "word", "more"];
    WORDS.into_iter().cycle().take(count).collect()
}

/// The words of all these texts, without punctuation.
fn read(texts: &[String]) -> Vec<String> {
    texts.iter().flat_map(|text| text.split_whitespace()).map(|word| word.trim_matches('.').to_owned()).collect()
}

#[tokio::test]
async fn drafts_grow_and_the_answer_is_sent_once() {
    let world = World::start_with(&[AUTO]).await;
    world.ask(ANN, "[long:100][drip:110]", "the little fake").await;
    assert_eq!(read(&world.heard(ANN)), words(100));
    let (drafts, sent_at) = world.telegram.read(|state| {
        let sent = state.requests().find(|request| request.method == "sendMessage").unwrap().at_ms;
        (state.drafts(ANN), sent)
    });
    assert!(drafts.len() >= 2, "{drafts:?}");
    assert!(drafts.windows(2).all(|pair| pair[1].text.starts_with(pair[0].text.trim_end_matches(['.', '…', ' ']))));
    assert!(drafts.iter().all(|draft| draft.draft_id == drafts[0].draft_id && draft.draft_id != 0));
    assert!(drafts.iter().all(|draft| draft.at_ms <= sent_at), "no draft after the answer: {drafts:?}, {sent_at}");
    world.finish().await;
}

#[tokio::test]
async fn a_quick_answer_needs_no_preview_and_no_typing_sign() {
    let world = World::start_with(&[AUTO]).await;
    world.ask(ANN, "hello", "You said").await;
    let (drafts, actions) = world.telegram.read(|state| (state.drafts(ANN), state.actions(ANN)));
    assert!(drafts.is_empty() && actions.is_empty(), "{drafts:?} {actions:?}");
    world.finish().await;
}

#[tokio::test]
async fn typing_is_shown_while_the_turn_runs_and_not_after_it() {
    let world = World::start().await;
    world.ask(ANN, "[slow:600] hello", "You said").await;
    // A second turn, so that a sign of the first one that comes late would be seen.
    world.ask(ANN, "[slow:50] quick", "quick").await;
    let (actions, sent): (Vec<_>, Vec<u64>) = world.telegram.read(|state| {
        let sent = state.requests().filter(|request| request.method == "sendMessage").map(|request| request.at_ms);
        (state.actions(ANN), sent.collect())
    });
    assert_eq!(actions.len(), 1, "{actions:?}");
    assert!(actions[0].action == "typing" && actions[0].at_ms < sent[0], "{actions:?} {sent:?}");
    world.finish().await;
}

#[tokio::test]
async fn an_edited_preview_becomes_the_answer() {
    let world = World::start_with(&[EDIT]).await;
    world.say(ANN, "[long:100][drip:110]");
    let done = |state: &blufio_testkit::botapi::State| {
        state.transcript(ANN).into_iter().find(|said| said.from_bot && said.text.ends_with("model."))
    };
    let answer = world.telegram.wait_for(done, SOON).await;
    assert_eq!(read(&[answer.text]), words(100));
    assert_eq!(answer.edits[0], "…", "a placeholder first: {:?}", answer.edits);
    assert!(answer.edits.len() >= 2, "{:?}", answer.edits);
    assert_eq!(world.heard(ANN).len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_long_answer_is_several_messages_in_order() {
    for streaming in [AUTO, EDIT] {
        let world = World::start_with(&[streaming]).await;
        world.say(ANN, "[long:2500][slow:800]");
        let complete = |state: &blufio_testkit::botapi::State| {
            let texts: Vec<String> =
                state.transcript(ANN).into_iter().filter(|said| said.from_bot).map(|said| said.text).collect();
            (read(&texts).len() >= 2_500).then_some(texts)
        };
        let texts = world.telegram.wait_for(complete, SOON).await;
        assert!(texts.iter().map(String::len).sum::<usize>() > 13_000);
        assert!((4..=5).contains(&texts.len()), "{} messages", texts.len());
        assert_eq!(read(&texts), words(2_500));
        world.finish().await;
    }
}

#[tokio::test]
async fn where_drafts_are_unknown_answers_are_edited() {
    let world = World::start_with(&[AUTO]).await;
    world.telegram.forget_drafts(true);
    world.say(ANN, "[long:100][drip:110]");
    let done = |state: &blufio_testkit::botapi::State| {
        state.transcript(ANN).into_iter().find(|said| said.from_bot && said.text.ends_with("model."))
    };
    let answer = world.telegram.wait_for(done, SOON).await;
    assert!(answer.edits.len() >= 2 && answer.edits[0] == "…", "{:?}", answer.edits);
    assert_eq!((world.heard(ANN).len(), world.telegram.counts()["sendMessageDraft"]), (1, 1));
    world.finish().await;
}

#[tokio::test]
async fn an_answer_whose_preview_was_deleted_is_sent_anew() {
    let world = World::start_with(&[EDIT]).await;
    let gone = Action::Answer {
        status: 400,
        description: "Bad Request: message to edit not found".to_owned(),
        parameters: serde_json::Value::Null,
    };
    world.telegram.fault(Fault::on("editMessageText", gone));
    world.say(ANN, "[long:60][drip:110]");
    world.hear(ANN, "model").await;
    assert_eq!(world.heard(ANN).iter().filter(|text| text.contains("model")).count(), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_preview_that_hangs_does_not_hold_up_the_answer_for_long() {
    let world = World::start_with(&[AUTO]).await;
    world.telegram.fault(Fault::on("sendMessageDraft", Action::NeverAnswer));
    world.say(ANN, "[long:80][drip:60]");
    let answer = world.hear_within(ANN, "the little fake", Duration::from_secs(6)).await;
    assert_eq!(read(&[answer.text]), words(80));
    world.finish().await;
}

#[tokio::test]
async fn a_stream_that_breaks_is_taken_back_and_the_answer_comes_once() {
    use blufio_testkit::messages::{Fault, FaultKind};
    let world = World::start_with(&[EDIT]).await;
    world.messages.fault(Fault::next(1, FaultKind::CutAtByte(2_500)));
    world.say(ANN, "[long:100][drip:110]");
    let done = |state: &blufio_testkit::botapi::State| {
        state.transcript(ANN).into_iter().find(|said| said.from_bot && said.text.ends_with("model."))
    };
    let answer = world.telegram.wait_for(done, SOON).await;
    assert_eq!(read(&[answer.text]), words(100));
    assert_eq!(world.heard(ANN).len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_preview_that_a_kill_left_becomes_the_answer_after_the_restart() {
    let mut world = World::start_with(&[EDIT]).await;
    world.say(ANN, "[long:100][drip:110]");
    world.hear(ANN, "the little").await;
    world.kill().await;
    world.run().await;
    let done = |state: &blufio_testkit::botapi::State| {
        state.transcript(ANN).into_iter().find(|said| said.from_bot && said.text.ends_with("model."))
    };
    let answer = world.telegram.wait_for(done, SOON).await;
    assert_eq!(read(&[answer.text]), words(100));
    assert_eq!(world.heard(ANN).len(), 1, "no half of an answer is left: {:?}", world.heard(ANN));
    world.finish().await;
}
