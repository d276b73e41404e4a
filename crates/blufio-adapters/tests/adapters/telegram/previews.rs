//! What is shown of an unfinished answer.

use super::{ANN, World, route};
use blufio_adapters::telegram::Streaming;
use blufio_core::port::{Channel, Preview, PreviewOutcome};
use blufio_testkit::botapi::{Action, ChatKind, Fault};
use serde_json::json;
use std::time::Duration;

const GROUP: i64 = -1_001_234_567_890;
const DRAFT: PreviewOutcome = PreviewOutcome::Shown { pause: Duration::from_secs(1) };

fn preview(chat: i64, text: &str, message: Option<i64>) -> Preview {
    Preview { route: route(chat), draft: 77, text: text.to_owned(), message }
}

fn answer(status: u16, description: &str) -> Action {
    Action::Answer { status, description: description.to_owned(), parameters: json!(null) }
}

fn placed(outcome: PreviewOutcome) -> (i64, Duration) {
    match outcome {
        PreviewOutcome::Placed { message, pause } => (message, pause),
        other => panic!("{other:?}"),
    }
}

fn drafts(world: &World) -> Vec<String> {
    world.server.read(|state| state.drafts(ANN)).into_iter().map(|draft| draft.text).collect()
}

#[tokio::test]
async fn private_chats_see_drafts() {
    let world = World::new().await;
    for text in ["The **ans", "The **answer** is `4", "The **answer** is `42`"] {
        assert_eq!(world.channel.preview(preview(ANN, text, None)).await, DRAFT);
    }
    assert_eq!(drafts(&world), ["The **ans", "The answer is `4", "The answer is 42"]);
    assert!(world.server.transcript(ANN).is_empty(), "a draft is no message");
    assert_eq!(world.channel.preview(preview(ANN, "  \n", None)).await, DRAFT);
    assert_eq!(drafts(&world).len(), 3, "nothing visible, nothing sent");
}

#[tokio::test]
async fn a_server_without_drafts_is_not_asked_again_for_a_day() {
    let world = World::new().await;
    world.server.forget_drafts(true);
    let (message, pause) = placed(world.channel.preview(preview(ANN, "one", None)).await);
    assert_eq!(pause, Duration::from_millis(1_500));
    assert_eq!(world.server.transcript(ANN)[0].text, "…");
    assert_eq!(placed(world.channel.preview(preview(ANN, "one **two", Some(message))).await), (message, pause));
    assert_eq!(placed(world.channel.preview(preview(ANN, "one **two", Some(message))).await), (message, pause));
    assert_eq!(world.server.transcript(ANN)[0].text, "one **two");
    placed(world.channel.preview(preview(ANN, "next answer", None)).await);
    assert_eq!(world.count("sendMessageDraft"), 1);
    world.server.forget_drafts(false);
    world.clock.advance(Duration::from_secs(24 * 3600 - 1));
    placed(world.channel.preview(preview(ANN, "later", None)).await);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.channel.preview(preview(ANN, "a day later", None)).await, DRAFT);
    assert_eq!(world.count("sendMessageDraft"), 2);
}

#[tokio::test]
async fn groups_and_edit_mode_see_edits() {
    let world = World::new().await;
    world.server.add_group(GROUP, "Group", ChatKind::Supergroup { forum: false }, &[ANN]);
    let (message, pause) = placed(world.channel.preview(preview(GROUP, "one", None)).await);
    assert_eq!(pause, Duration::from_secs(4));
    placed(world.channel.preview(preview(GROUP, "one two", Some(message))).await);
    assert_eq!(world.server.transcript(GROUP)[0].text, "one two");

    let edits = World::with(|options| options.streaming = Streaming::Edit).await;
    placed(edits.channel.preview(preview(ANN, "one", None)).await);
    assert_eq!((edits.count("sendMessageDraft"), world.count("sendMessageDraft")), (0, 0));
}

#[tokio::test]
async fn trouble_ends_the_previews_of_an_answer() {
    let refusals = [
        Action::RateLimit { retry_after: Some(3) },
        Action::HtmlBody502,
        Action::DropBefore,
        answer(403, "Forbidden: bot was blocked by the user"),
    ];
    for action in refusals {
        let world = World::new().await;
        world.server.fault(Fault::on("sendMessageDraft", action.clone()));
        assert_eq!(world.channel.preview(preview(ANN, "x", None)).await, PreviewOutcome::Stop, "{action:?}");
        assert_eq!(world.count("sendMessageDraft"), 1);
        assert_eq!(world.count("sendMessage"), 0, "{action:?}: drafts are not given up for that");
        world.server.clear_faults();
        assert_eq!(world.channel.preview(preview(ANN, "next answer", None)).await, DRAFT);

        world.server.fault(Fault::on("editMessageText", action));
        assert_eq!(world.channel.preview(preview(ANN, "x", Some(1))).await, PreviewOutcome::Stop);
    }
    let world = World::new().await;
    assert_eq!(world.channel.preview(preview(ANN, "gone", Some(99))).await, PreviewOutcome::Stop);
}

#[tokio::test]
async fn refused_markup_is_shown_as_plain_text() {
    let world = World::new().await;
    let refusal = || answer(400, "Bad Request: can't parse entities: unclosed tag at byte offset 3");
    world.server.fault(Fault::once("sendMessageDraft", refusal()));
    assert_eq!(world.channel.preview(preview(ANN, "**b**", None)).await, DRAFT);
    assert_eq!(drafts(&world), ["b"]);
    assert_eq!(world.channel.preview(preview(ANN, "**b** c", None)).await, DRAFT, "that says nothing about drafts");
}

#[tokio::test]
async fn nothing_is_sent_when_it_is_off() {
    let world = World::with(|options| options.streaming = Streaming::Off).await;
    assert_eq!(world.channel.preview(preview(ANN, "x", None)).await, PreviewOutcome::Stop);
    assert!(world.server.requests().is_empty());
    assert!(world.channel.can_replace_preview(&route(ANN)), "nothing was shown, so nothing stays");
}

#[tokio::test]
async fn long_previews_show_their_newest_part() {
    let world = World::new().await;
    let text: String = (0..2_000).map(|number| format!("word{number} ")).collect();
    assert_eq!(world.channel.preview(preview(ANN, &text, None)).await, DRAFT);
    let shown = drafts(&world).pop().unwrap();
    assert!(shown.starts_with('…') && shown.trim_end().ends_with("word1999"));
    assert!(shown.encode_utf16().count() <= 3_500);
}
