//! Sending: what each answer of the server means for a row, and the few second tries.

use super::{ANN, BOT, TOKEN, TestClock, World, options, route};
use blufio_adapters::telegram::Telegram;
use blufio_core::port::{Channel, ChannelHealth, SendOutcome};
use blufio_core::record::{OutboxRow, Rendered, Route};
use blufio_testkit::botapi::{Action, ChatKind, Fault};
use blufio_testkit::contract::channel::outbox_row;
use blufio_testkit::http::{Handler, HttpServer, Request, Responder};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

pub(super) const GROUP: i64 = -1_001_234_567_890;

fn row_to(route: Route) -> OutboxRow {
    let body = Rendered { rich: "<b>hi</b> there".to_owned(), plain: "hi there".to_owned() };
    outbox_row(route, body, None)
}

pub(super) fn answer(status: u16, description: &str) -> Action {
    Action::Answer { status, description: description.to_owned(), parameters: json!(null) }
}

/// The answer of a group that goes on under another id.
pub(super) fn migrated(new: i64) -> Action {
    let description = "Bad Request: group chat was upgraded to a supergroup chat".to_owned();
    Action::Answer { status: 400, description, parameters: json!({"migrate_to_chat_id": new}) }
}

/// The outcome's kind, for tables.
pub(super) fn kind(outcome: &SendOutcome) -> String {
    match outcome {
        SendOutcome::Sent(_) => "sent".to_owned(),
        SendOutcome::SentBeside { remark, .. } => format!("sent, but: {remark}"),
        SendOutcome::Migrated(new) => format!("migrated to {new}"),
        SendOutcome::NotSent { after, everywhere, .. } => {
            format!(
                "not sent{}{}",
                after.map_or(String::new(), |after| format!(", {after:?}")),
                if *everywhere { ", everywhere" } else { "" }
            )
        }
        SendOutcome::Uncertain(_) => "uncertain".to_owned(),
        SendOutcome::UncertainAnew(_) => "uncertain anew".to_owned(),
        SendOutcome::Dead(_) => "dead".to_owned(),
        SendOutcome::ChatClosed(_) => "chat closed".to_owned(),
        SendOutcome::Unauthorized(_) => "unauthorized".to_owned(),
    }
}

#[tokio::test]
async fn every_answer_has_its_outcome() {
    let cases = [
        (Action::RateLimit { retry_after: Some(7) }, "not sent, 7s"),
        (Action::RateLimit { retry_after: Some(3_600) }, "not sent, 3600s"),
        (Action::RateLimit { retry_after: Some(3_601) }, "dead"),
        (Action::RateLimit { retry_after: None }, "not sent, 5s"),
        (answer(500, "Internal Server Error"), "not sent"),
        (answer(503, "Service Unavailable"), "not sent"),
        (Action::HtmlBody502, "not sent"),
        (Action::DropBefore, "uncertain"),
        (Action::NeverAnswer, "uncertain"),
        (Action::ApplyThenDrop, "uncertain"),
        (Action::ApplyThenNeverAnswer, "uncertain"),
        (Action::ResetMid, "uncertain"),
        (Action::Drip(50), "uncertain"),
        (Action::TruncatedJson, "uncertain"),
        (Action::HugeBody(11 * 1024 * 1024), "uncertain"),
        (Action::WrongContentType, "sent"),
        (Action::CloseKeepAlive, "sent"),
        (answer(400, "Bad Request: chat not found"), "dead"),
        (answer(400, "Bad Request: message text is empty"), "sent"),
        (answer(400, "Bad Request: group chat was upgraded to a supergroup chat"), "dead"),
        (migrated(-1_009), "migrated to -1009"),
        (answer(403, "Forbidden: bot was blocked by the user"), "chat closed"),
        (answer(403, "Forbidden: user is deactivated"), "chat closed"),
        (answer(403, "Forbidden: bot was kicked from the supergroup chat"), "chat closed"),
        (answer(401, "Unauthorized"), "unauthorized"),
    ];
    let world = World::with(|options| options.timeouts.send = Duration::from_millis(750)).await;
    for (action, expect) in cases {
        world.server.fault(Fault::on("sendMessage", action.clone()));
        let before = world.count("sendMessage");
        let outcome = world.channel.send(&row_to(route(ANN))).await;
        assert_eq!(kind(&outcome), expect, "{action:?}: {outcome:?}");
        assert_eq!(world.count("sendMessage"), before + 1, "{action:?}: a row is sent once");
        world.server.clear_faults();
        assert_eq!(kind(&world.channel.send(&row_to(route(ANN))).await), "sent", "after {action:?}");
    }
    assert!(matches!(world.channel_health(), ChannelHealth::Failed { .. }), "a refused token is seen by everybody");
    assert_eq!(world.clock.waits(), Vec::<Duration>::new(), "waiting is not the channel's business");
}

#[tokio::test]
async fn no_connection_means_not_sent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let channel = Telegram::new(options(&nobody, Arc::<TestClock>::default())).unwrap();
    assert_eq!(kind(&channel.send(&row_to(route(ANN))).await), "not sent, everywhere");
}

#[tokio::test]
async fn a_message_is_html_without_link_previews_and_without_a_quote_in_private_chats() {
    let world = World::new().await;
    let to = Route { reply_to: Some(3), ..route(ANN) };
    assert_eq!(kind(&world.channel.send(&row_to(to)).await), "sent");
    let expect = json!({"chat_id": ANN, "text": "<b>hi</b> there", "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": true}});
    assert_eq!(world.params("sendMessage"), [expect]);
}

#[tokio::test]
async fn groups_get_a_quote_and_the_general_topic_is_not_named() {
    let world = World::with(|options| options.link_preview = true).await;
    world.server.add_group(GROUP, "Group", ChatKind::Supergroup { forum: true }, &[ANN]);
    world.server.change(|state| state.add_topic(GROUP, 9));
    for (thread, expect) in [(None, None), (Some(1), None), (Some(9), Some(9))] {
        let to = Route { thread, reply_to: Some(77), ..route(GROUP) };
        assert_eq!(kind(&world.channel.send(&row_to(to)).await), "sent");
        let request = world.params("sendMessage").pop().unwrap();
        assert_eq!(request["message_thread_id"], json!(expect));
        assert_eq!(request["reply_parameters"], json!({"message_id": 77, "allow_sending_without_reply": true}));
        assert!(request["link_preview_options"].is_null());
    }
    let general = Route { thread: Some(1), ..route(GROUP) };
    assert!(world.channel.typing(&general).await);
    assert_eq!(world.params("sendChatAction")[0]["message_thread_id"], json!(1), "clients need it there");
}

#[tokio::test]
async fn refused_markup_is_sent_once_as_plain_text() {
    let world = World::new().await;
    let body = Rendered { rich: "<b>1 < 2".to_owned(), plain: "1 < 2".to_owned() };
    let outcome = world.channel.send(&outbox_row(route(ANN), body, None)).await;
    assert_eq!(kind(&outcome), "sent");
    assert_eq!(world.server.transcript(ANN)[0].text, "1 < 2");
    assert!(world.params("sendMessage")[1]["parse_mode"].is_null());

    let refusal = answer(400, "Bad Request: can't parse entities: unsupported start tag");
    world.server.fault(Fault::on("sendMessage", refusal));
    assert_eq!(kind(&world.channel.send(&row_to(route(ANN))).await), "dead");
    assert_eq!(world.count("sendMessage"), 4, "two tries, not more");
}

#[tokio::test]
async fn a_topic_that_is_gone_leaves_the_chat() {
    let world = World::new().await;
    world.server.add_group(GROUP, "Group", ChatKind::Supergroup { forum: true }, &[ANN]);
    let to = Route { thread: Some(9), ..route(GROUP) };
    let outcome = world.channel.send(&row_to(to.clone())).await;
    let SendOutcome::SentBeside { message, remark } = &outcome else { panic!("{outcome:?}") };
    assert!(remark.contains("topic 9") && remark.contains(&GROUP.to_string()), "{remark}");
    let messages = world.server.transcript(GROUP);
    assert_eq!((messages.len(), messages[0].thread, messages[0].message_id), (1, None, *message));
    assert_eq!(world.count("sendMessage"), 2);

    world.server.fault(Fault::on("sendMessage", answer(400, "Bad Request: message thread not found")));
    assert_eq!(kind(&world.channel.send(&row_to(to.clone())).await), "dead");
    assert_eq!(world.count("sendMessage"), 4, "the chat itself is tried once");
    world.server.clear_faults();

    world.server.change(|state| state.add_topic(GROUP, 9));
    assert_eq!(kind(&world.channel.send(&row_to(to.clone())).await), "sent");
    world.server.change(|state| state.close_topic(GROUP, 9, true));
    let sends = world.count("sendMessage");
    assert_eq!(kind(&world.channel.send(&row_to(to)).await), "dead", "what is for a closed topic is not for everybody");
    assert_eq!(world.count("sendMessage"), sends + 1);
}

fn long_row(replaces: Option<i64>) -> OutboxRow {
    let plain = "twelve words and nothing that is not *literal* are in here. ".repeat(60);
    outbox_row(route(ANN), Rendered { rich: plain.clone(), plain: plain.trim().to_owned() }, replaces)
}

/// Our counting says that it fits. If the server says otherwise, it is not lost.
#[tokio::test]
async fn a_text_that_is_too_long_after_all_comes_in_pieces() {
    let world = World::new().await;
    let too_long = || answer(400, "Bad Request: message is too long");
    let row = long_row(None);
    world.server.fault(Fault::once("sendMessage", too_long()));
    let SendOutcome::Sent(last) = world.channel.send(&row).await else { panic!() };
    let seen = world.server.transcript(ANN);
    assert_eq!((seen.len(), seen[1].message_id), (2, last));
    assert_eq!(format!("{} {}", seen[0].text, seen[1].text), row.body.plain);

    // What replaces a message begins in that message.
    world.server.fault(Fault::once("editMessageText", too_long()));
    assert_eq!(kind(&world.channel.send(&long_row(Some(last))).await), "sent");
    let seen = world.server.transcript(ANN);
    assert_eq!(seen.len(), 3);
    assert_eq!(format!("{} {}", seen[1].text, seen[2].text), row.body.plain);

    // Nothing helps.
    world.server.fault(Fault::on("sendMessage", too_long()));
    let before = world.count("sendMessage");
    assert_eq!(kind(&world.channel.send(&row).await), "dead");
    assert_eq!(world.count("sendMessage"), before + 2);
    world.server.clear_faults();
}

/// Once a piece is there, the row may not come again as if nothing had happened.
#[tokio::test]
async fn pieces_that_break_off_are_uncertain() {
    let world = World::new().await;
    world.server.fault(Fault::once("sendMessage", answer(400, "Bad Request: message is too long")));
    world.server.fault(Fault::once("sendMessage", Action::RateLimit { retry_after: Some(7) }));
    assert_eq!(kind(&world.channel.send(&long_row(None)).await), "not sent, 7s", "no piece is there");
    world.server.fault(Fault::once("sendMessage", answer(400, "Bad Request: message is too long")));
    world.server.fault(Fault::once("sendMessage", Action::RateLimit { retry_after: Some(7) }).after(1));
    assert_eq!(kind(&world.channel.send(&long_row(None)).await), "uncertain");
    assert_eq!(world.server.transcript(ANN).len(), 1);
}

/// A reply goes on in the supergroup: the runtime gives each row its new chat, and every chunk is there once.
#[tokio::test]
async fn a_group_that_is_upgraded_says_where_it_goes_on() {
    let world = World::new().await;
    world.server.add_group(GROUP, "Group", ChatKind::Supergroup { forum: false }, &[ANN]);
    let bodies = world.channel.render(&"word ".repeat(2_000));
    assert_eq!(bodies.len(), 3);
    let mut chat = GROUP;
    let mut outcomes = Vec::new();
    for (place, body) in bodies.iter().enumerate() {
        if place == 1 {
            world.server.migrate(GROUP, GROUP - 1);
        }
        let mut outcome = world.channel.send(&outbox_row(route(chat), body.clone(), None)).await;
        outcomes.push(kind(&outcome));
        if let SendOutcome::Migrated(new) = outcome {
            chat = new;
            outcome = world.channel.send(&outbox_row(route(chat), body.clone(), None)).await;
            outcomes.push(kind(&outcome));
        }
    }
    assert_eq!(outcomes, ["sent", &format!("migrated to {}", GROUP - 1), "sent", "sent"]);
    assert_eq!(world.server.transcript(GROUP - 1).iter().filter(|message| message.from_bot).count(), 2);
}

#[tokio::test]
async fn a_replacement_edits_and_what_cannot_be_edited_is_sent_anew() {
    let world = World::new().await;
    let SendOutcome::Sent(first) = world.channel.send(&row_to(route(ANN))).await else { panic!() };
    let body = Rendered { rich: "<i>new</i>".to_owned(), plain: "new".to_owned() };
    let row = outbox_row(route(ANN), body, Some(first));
    for _ in 0..2 {
        // The second edit changes nothing, which the server refuses and which is fine.
        assert_eq!(world.channel.send(&row).await, SendOutcome::Sent(first));
    }
    assert_eq!(world.server.transcript(ANN)[0].text, "new");
    assert!(world.params("editMessageText").iter().all(|edit| edit["reply_parameters"].is_null()));

    world.server.fault(Fault::once("editMessageText", answer(400, "Bad Request: message can't be edited")));
    let SendOutcome::Sent(second) = world.channel.send(&row).await else { panic!() };
    let left: Vec<i64> = world.server.transcript(ANN).iter().map(|message| message.message_id).collect();
    assert_eq!(left, [second], "the old one does not stay beside its successor");

    let gone = outbox_row(route(ANN), row.body.clone(), Some(first));
    let SendOutcome::Sent(third) = world.channel.send(&gone).await else { panic!() };
    assert!(third > second);
    assert_eq!(world.server.transcript(ANN).len(), 2);

    world.server.fault(Fault::once("editMessageText", Action::ApplyThenDrop));
    let again = outbox_row(route(ANN), row.body.clone(), Some(third));
    assert_eq!(kind(&world.channel.send(&again).await), "uncertain");
    assert_eq!(world.channel.send(&again).await, SendOutcome::Sent(third), "an edit may be repeated");

    world.server.fault(Fault::once("sendMessage", Action::ApplyThenDrop));
    assert_eq!(kind(&world.channel.send(&gone).await), "uncertain anew", "what is sent instead may be there twice");
}

#[tokio::test]
async fn a_blocked_chat_is_closed_until_the_person_writes() {
    let world = World::new().await;
    world.server.set_blocked(ANN, true);
    assert_eq!(kind(&world.channel.send(&row_to(route(ANN))).await), "chat closed");
    assert!(!world.channel.typing(&route(ANN)).await);
    world.server.set_blocked(ANN, false);
    assert_eq!(kind(&world.channel.send(&row_to(route(ANN))).await), "sent");
}

#[tokio::test]
async fn typing_is_given_up_after_refusals_or_three_failures() {
    let world = World::new().await;
    assert!(world.channel.typing(&route(ANN)).await);
    world.server.fault(Fault::once("sendChatAction", Action::RateLimit { retry_after: Some(1) }));
    assert!(!world.channel.typing(&route(ANN)).await);
    world.server.fault(Fault::on("sendChatAction", Action::HtmlBody502).times(3));
    let mut results = Vec::new();
    for _ in 0..3 {
        results.push(world.channel.typing(&route(ANN)).await);
    }
    assert_eq!(results, [true, true, false]);
    assert!(world.channel.typing(&route(ANN)).await);
}

#[tokio::test]
async fn typing_in_one_chat_does_not_suffer_from_another() {
    let world = World::new().await;
    world.server.open_private(ANN + 1);
    world.server.fault(Fault::on("sendChatAction", Action::HtmlBody502));
    let mut results = Vec::new();
    for person in [ANN, ANN + 1, ANN, ANN + 1, ANN] {
        results.push(world.channel.typing(&route(person)).await);
    }
    assert_eq!(results, [true, true, true, true, false], "the third of one chat, not the third of all");
}

/// Answers everything with one body, but says who the bot is.
struct Canned(&'static str);

impl Handler for Canned {
    async fn handle(&self, request: Request, responder: Responder) {
        assert!(request.path.starts_with(&format!("/bot{TOKEN}/")));
        let body = if request.path.ends_with("/getMe") { r#"{"ok":true,"result":{"id":1000001}}"# } else { self.0 };
        responder.full(200, &[("content-type", "application/json")], body).await;
    }
}

#[tokio::test]
async fn a_sent_message_without_a_number_is_sent() {
    for (body, expect) in [
        (r#"{"ok":true,"result":{"message_id":0,"date":0}}"#, SendOutcome::Sent(0)),
        (r#"{"ok":true,"result":true}"#, SendOutcome::Sent(0)),
        (r#"{"ok":true,"result":{"message_id":9007199254740993}}"#, SendOutcome::Sent(9_007_199_254_740_993)),
    ] {
        let server = HttpServer::start(([127, 0, 0, 1], 0).into(), Arc::new(Canned(body))).await.unwrap();
        let channel = Telegram::new(options(&server.base_url(), Arc::default())).unwrap();
        assert_eq!(channel.send(&row_to(route(ANN))).await, expect, "{body}");
    }
    let server = HttpServer::start(([127, 0, 0, 1], 0).into(), Arc::new(Canned(r#"{"ok":true}"#))).await.unwrap();
    let channel = Telegram::new(options(&server.base_url(), Arc::default())).unwrap();
    assert_eq!(kind(&channel.send(&row_to(route(ANN))).await), "uncertain");
}

#[tokio::test]
async fn rows_of_another_bot_go_nowhere() {
    let world = World::new().await;
    let other = Route { account: BOT + 1, ..route(ANN) };
    let outcome = world.channel.send(&row_to(other.clone())).await;
    assert_eq!(outcome, SendOutcome::Dead("it belongs to another bot account".to_owned()));
    assert!(!world.channel.typing(&other).await);
    world.channel.remove(&other, 1).await;
    let methods: Vec<String> = world.server.requests().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["getMe"], "who the bot is was asked once, and nothing else");
}

#[tokio::test]
async fn before_it_is_known_who_the_bot_is_nothing_is_sent() {
    let world = World::with(|options| options.timeouts.send = Duration::from_millis(150)).await;
    for (action, expect) in [
        (answer(500, "Internal Server Error"), "not sent"),
        (Action::HtmlBody502, "not sent"),
        (Action::DropBefore, "not sent"),
        (Action::NeverAnswer, "not sent"),
        (Action::RateLimit { retry_after: Some(7) }, "not sent, 7s, everywhere"),
        (answer(401, "Unauthorized"), "unauthorized"),
    ] {
        world.server.fault(Fault::once("getMe", action.clone()));
        assert_eq!(kind(&world.channel.send(&row_to(route(ANN))).await), expect, "{action:?}");
    }
    assert_eq!(world.count("sendMessage"), 0);
    assert_eq!(kind(&world.channel.send(&row_to(route(ANN))).await), "sent");
}
