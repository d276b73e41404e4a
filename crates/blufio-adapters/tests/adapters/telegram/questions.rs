//! Questions with buttons, what answers their presses, and the sign that a message was read.

use super::sending::{GROUP, answer, kind, migrated};
use super::{ANN, BOT, World, route};
use blufio_core::approval::{Question, approval_id, buttons, question};
use blufio_core::ids::ApprovalId;
use blufio_core::port::{Channel, InboundKind, SendOutcome};
use blufio_core::record::{OutboxRow, Payload, Rendered, Route};
use blufio_testkit::botapi::{Action, ChatKind, Fault};
use blufio_testkit::contract::channel::{MemoryIntake, outbox_row, receive, stop};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

fn id() -> ApprovalId {
    approval_id([1, 2])
}

fn asked(world: &World, to: Route) -> OutboxRow {
    let (id, reason, tool) = (&id(), "I always ask.", "write_file");
    let arguments = "{\"path\":\"a.txt\"}";
    let text = question(&Question { id, reason, tool, arguments, hash: "0123456789abcdef", grantable: false });
    let body = world.channel.render(&text).remove(0);
    let payload = Payload::Question { approval: id.clone(), buttons: buttons(id, false) };
    OutboxRow { payload, ..outbox_row(to, body, None) }
}

fn decided(message: i64) -> OutboxRow {
    let body = Rendered { rich: "<b>Allowed</b>".to_owned(), plain: "Allowed".to_owned() };
    outbox_row(route(ANN), body, Some(message))
}

#[tokio::test]
async fn a_question_has_its_buttons_in_one_row_until_it_is_decided() {
    let world = World::new().await;
    let SendOutcome::Sent(message) = world.channel.send(&asked(&world, route(ANN))).await else { panic!() };
    let shown = world.server.transcript(ANN).remove(0);
    let expect: Vec<(String, String)> =
        buttons(&id(), false).into_iter().map(|button| (button.label, button.data)).collect();
    assert_eq!(shown.buttons, [expect]);
    assert!(shown.text.starts_with("May I run write_file?") && shown.text.contains("{\"path\":\"a.txt\"}"));

    assert_eq!(world.channel.send(&decided(message)).await, SendOutcome::Sent(message));
    let shown = world.server.transcript(ANN).remove(0);
    assert_eq!((shown.text.as_str(), shown.buttons), ("Allowed", Vec::new()));
    assert_eq!(world.channel.send(&decided(message)).await, SendOutcome::Sent(message), "a repeat changes nothing");
}

#[tokio::test]
async fn every_answer_to_a_question_has_its_outcome() {
    let cases = [
        (Action::RateLimit { retry_after: Some(7) }, "not sent, 7s"),
        (Action::RateLimit { retry_after: Some(3_601) }, "dead"),
        (answer(500, "Internal Server Error"), "not sent"),
        (Action::HtmlBody502, "not sent"),
        (Action::DropBefore, "uncertain"),
        (Action::NeverAnswer, "uncertain"),
        (Action::ApplyThenDrop, "uncertain"),
        (Action::ResetMid, "uncertain"),
        (Action::TruncatedJson, "uncertain"),
        (answer(400, "Bad Request: chat not found"), "dead"),
        (answer(400, "Bad Request: BUTTON_DATA_INVALID"), "dead"),
        (migrated(-1_009), "migrated to -1009"),
        (answer(403, "Forbidden: bot was blocked by the user"), "chat closed"),
        (answer(401, "Unauthorized"), "unauthorized"),
    ];
    let world = World::with(|options| options.timeouts.send = Duration::from_millis(150)).await;
    for (action, expect) in cases {
        world.server.fault(Fault::on("sendMessage", action.clone()));
        let before = world.count("sendMessage");
        let outcome = world.channel.send(&asked(&world, route(ANN))).await;
        assert_eq!(kind(&outcome), expect, "{action:?}: {outcome:?}");
        assert_eq!(world.count("sendMessage"), before + 1, "{action:?}: a question is asked once");
        world.server.clear_faults();
    }
}

#[tokio::test]
async fn a_question_keeps_its_buttons_in_another_shape() {
    let world = World::new().await;
    world.server.add_group(GROUP, "Group", ChatKind::Supergroup { forum: true }, &[ANN]);
    let refusals = [
        answer(400, "Bad Request: can't parse entities: unsupported start tag"),
        answer(400, "Bad Request: message is too long"),
    ];
    for refusal in refusals {
        world.server.fault(Fault::once("sendMessage", refusal));
        assert_eq!(kind(&world.channel.send(&asked(&world, route(ANN))).await), "sent");
    }
    let gone = Route { thread: Some(9), ..route(GROUP) };
    assert!(kind(&world.channel.send(&asked(&world, gone)).await).starts_with("sent, but: "));
    let shown: Vec<usize> = [world.server.transcript(ANN), world.server.transcript(GROUP)]
        .iter()
        .flatten()
        .map(|message| message.buttons.iter().flatten().count())
        .collect();
    assert_eq!(shown, [2, 2, 2]);
}

/// The data of the button, as the person's press brings it, and the words that answer the press.
#[tokio::test]
async fn a_press_comes_in_and_is_answered() {
    let world = World::new().await;
    let SendOutcome::Sent(message) = world.channel.send(&asked(&world, route(ANN))).await else { panic!() };
    let intake = Arc::new(MemoryIntake::default());
    let task = receive(&world.any(), &intake);
    // Presses are brought only to a bot that has asked for them.
    world.server.wait_for(|state| state.allowed_updates().map(drop), super::LIMIT).await;
    world.server.press(ANN, message, ANN, &buttons(&id(), false)[0].data).unwrap();
    let inbound = intake.wait_for(|intake| intake.distinct().first().cloned()).await;
    stop(task).await;
    let InboundKind::Pressed { sender, press, message: pressed, data } = inbound.kind else { panic!() };
    assert_eq!((sender.user, sender.chat, sender.private, pressed), (ANN, ANN, true, message));
    assert_eq!(data, buttons(&id(), false)[0].data);

    // The limit counts UTF-16 units, and a character is never cut in half.
    let words = format!("x{}", "😀".repeat(150));
    world.channel.answer_press(&press, &words).await;
    let answers = world.server.read(|state| state.callback_answers());
    assert_eq!((answers.len(), answers[0].text.as_str()), (1, format!("x{}", "😀".repeat(99)).as_str()));
    assert_eq!(world.server.read(|state| state.unanswered_callbacks()), Vec::<String>::new());

    // Too late, or answered already: nobody minds, and nothing is tried twice.
    world.channel.answer_press(&press, "again").await;
    assert_eq!((world.count("answerCallbackQuery"), world.server.read(|state| state.callback_answers()).len()), (2, 1));
    world.channel.answer_press("never there", "").await;
    assert!(world.params("answerCallbackQuery")[2]["text"].is_null());
    world.server.fault(Fault::on("answerCallbackQuery", Action::HtmlBody502));
    world.channel.answer_press(&press, "again").await;
    assert_eq!(world.count("answerCallbackQuery"), 4);
}

#[tokio::test]
async fn a_message_gets_the_configured_emoji_once() {
    let world = World::with(|options| options.reaction_ack = Some("👀".to_owned())).await;
    world.server.send_text(ANN, "hello");
    let written = Route { reply_to: Some(1), ..route(ANN) };
    world.channel.acknowledge(&written).await;
    assert_eq!(world.server.transcript(ANN)[0].reactions, ["👀"]);
    let expect = json!({"chat_id": ANN, "message_id": 1, "reaction": [{"type": "emoji", "emoji": "👀"}]});
    assert_eq!(world.params("setMessageReaction"), [expect]);

    // Not a message, another bot's, one that is gone, a server in trouble: one try at most.
    world.channel.acknowledge(&route(ANN)).await;
    world.channel.acknowledge(&Route { account: BOT + 1, ..written.clone() }).await;
    assert_eq!(world.count("setMessageReaction"), 1);
    world.channel.acknowledge(&Route { reply_to: Some(99), ..written.clone() }).await;
    world.server.fault(Fault::on("setMessageReaction", Action::HtmlBody502));
    world.channel.acknowledge(&written).await;
    assert_eq!(world.count("setMessageReaction"), 3);

    let silent = World::new().await;
    silent.channel.acknowledge(&written).await;
    assert_eq!(silent.server.requests().len(), 0, "nothing is asked where no emoji is configured");
}

#[tokio::test]
async fn people_are_reached_and_invited_once_it_is_known_who_the_bot_is() {
    let world = World::new().await;
    assert_eq!((world.channel.private_route(ANN), world.channel.invitation("CODE2345")), (None, None));
    assert!(world.channel.typing(&route(ANN)).await);
    assert_eq!(world.channel.private_route(ANN), Some(route(ANN)));
    let address = "https://t.me/blufio_test_bot?start=CODE2345";
    assert_eq!(world.channel.invitation("CODE2345").as_deref(), Some(address));
}
