//! Files that are sent: what arrives, in which shape, and what each answer of the server means.

use super::sending::{GROUP, answer, kind, migrated};
use super::{ANN, LIMIT, TestClock, World, called, options, route};
use blufio_adapters::telegram::Telegram;
use blufio_core::content::OutgoingFile;
use blufio_core::ids::AttachmentId;
use blufio_core::port::{BlobError, Blobs, Channel, SendOutcome};
use blufio_core::record::{OutboxRow, Payload, Rendered, Route};
use blufio_core::time::Timestamp;
use blufio_testkit::botapi::{Action, ChatKind, Fault};
use blufio_testkit::contract::channel::outbox_row;
use blufio_testkit::messages::media;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A row with a stored file.
fn row(world: &World, to: Route, name: &str, bytes: &[u8], picture: bool) -> OutboxRow {
    let attachment = world.shelf.put(bytes).unwrap();
    let media_type = if picture { "image/png" } else { "text/plain" }.to_owned();
    let file = OutgoingFile { attachment, name: name.to_owned(), media_type, bytes: bytes.len() as u64, picture };
    let body = Rendered { rich: String::new(), plain: String::new() };
    OutboxRow { payload: Payload::File(file), ..outbox_row(to, body, None) }
}

fn report(world: &World) -> OutboxRow {
    row(world, route(ANN), "report.txt", b"a report", false)
}

fn picture(world: &World) -> OutboxRow {
    row(world, route(ANN), "picture.png", &media::png(40, 30), true)
}

fn with_caption(row: OutboxRow, rich: &str, plain: &str) -> OutboxRow {
    OutboxRow { body: Rendered { rich: rich.to_owned(), plain: plain.to_owned() }, ..row }
}

#[tokio::test]
async fn a_file_arrives_as_it_is_stored() {
    let world = World::new().await;
    world.server.add_group(GROUP, "Group", ChatKind::Supergroup { forum: true }, &[ANN]);
    world.server.change(|state| state.add_topic(GROUP, 9));
    let bytes: Vec<u8> = (0..=255).cycle().take(70_000).chain(*b"\r\n--\r\n\r\n--boundary--\r\n").collect();
    let to = Route { thread: Some(9), reply_to: Some(77), ..route(GROUP) };
    let sent = with_caption(row(&world, to, "Übersicht; 1.txt", &bytes, false), "<b>see</b> &amp; read", "see & read");
    let SendOutcome::Sent(message) = world.channel.send(&sent).await else { panic!() };
    let received = world.server.received_files(GROUP).remove(0);
    assert_eq!((received.kind, received.message_id, received.thread), ("document", message, Some(9)));
    assert_eq!((received.name.as_str(), received.media_type.as_str()), ("Übersicht; 1.txt", "text/plain"));
    assert_eq!((received.caption.as_str(), received.html.as_str()), ("see & read", "<b>see</b> &amp; read"));
    assert!(received.bytes == bytes, "every byte");

    assert_eq!(kind(&world.channel.send(&picture(&world)).await), "sent");
    let received = world.server.received_files(ANN).remove(0);
    assert_eq!((received.kind, received.bytes.to_vec()), ("photo", media::png(40, 30)));
    assert_eq!((received.caption.as_str(), received.thread, received.reply_to), ("", None, None));
    let request = world.params("sendPhoto").remove(0);
    assert!(request["caption"].is_null() && request["parse_mode"].is_null() && request["reply_parameters"].is_null());
}

/// Each is in memory as a whole, so they are few.
#[tokio::test]
async fn two_files_are_uploaded_at_once_and_texts_do_not_wait_for_them() {
    let world = World::new().await;
    world.server.open_private(ANN);
    world.server.fault(Fault::on("sendDocument", Action::NeverAnswer));
    let mut uploads = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let (channel, row) = (Arc::clone(&world.channel), report(&world));
        uploads.spawn(async move { channel.send(&row).await });
    }
    world.server.wait_for(called("sendDocument", 2), LIMIT).await;
    for number in 0..10 {
        let text = Rendered { rich: String::new(), plain: format!("text {number}") };
        assert_eq!(kind(&world.channel.send(&outbox_row(route(ANN), text, None)).await), "sent");
    }
    assert_eq!(world.count("sendDocument"), 2);
    world.server.clear_faults();
    uploads.abort_all();
    while uploads.join_next().await.is_some() {}
    assert_eq!(kind(&world.channel.send(&report(&world)).await), "sent", "whoever goes away makes room");
}

/// Whatever is in a name, a caption or a file: it stays what it is, and no field comes of it.
#[tokio::test]
async fn nothing_in_a_file_becomes_a_field() {
    let attack =
        "x\"\r\ncontent-type: text/html\r\n\r\n--b\r\ncontent-disposition: form-data; name=\"chat_id\"\r\n\r\n1";
    let names = [
        attack,
        "a\"; name=\"chat_id",
        "a\\\"; filename=\"b",
        "a\nb\rc\0d",
        "../../etc/passwd",
        "..",
        "",
        "\u{202E}fdp.exe",
        "a; filename*=UTF-8''b",
    ];
    let world = World::new().await;
    for name in names {
        let sent = with_caption(row(&world, route(ANN), name, attack.as_bytes(), false), "", attack);
        let sent = OutboxRow { body: Rendered { rich: attack.replace('"', "&quot;"), ..sent.body }, ..sent };
        assert_eq!(kind(&world.channel.send(&sent).await), "sent", "{name:?}");
        let received = world.server.received_files(ANN).pop().unwrap();
        assert!(received.bytes == attack.as_bytes(), "{name:?}");
        assert_eq!(received.media_type, "text/plain", "{name:?}");
        let odd = |symbol: char| symbol.is_control() || "\"\\/\u{202E}".contains(symbol);
        assert!(!received.name.is_empty() && !received.name.contains(odd), "{name:?}: {:?}", received.name);
    }
    let requests = world.params("sendDocument");
    assert_eq!(requests.len(), names.len());
    assert!(requests.iter().all(|request| request["chat_id"] == ANN));
    assert_eq!(world.server.transcript(ANN).len(), names.len());
}

#[tokio::test]
async fn every_answer_to_a_file_has_its_outcome() {
    let cases = [
        (Action::RateLimit { retry_after: Some(7) }, "not sent, 7s"),
        (Action::RateLimit { retry_after: Some(3_601) }, "dead"),
        (answer(500, "Internal Server Error"), "not sent"),
        (Action::HtmlBody502, "not sent"),
        (Action::DropBefore, "uncertain"),
        (Action::NeverAnswer, "uncertain"),
        (Action::ApplyThenDrop, "uncertain"),
        (Action::ApplyThenNeverAnswer, "uncertain"),
        (Action::ResetMid, "uncertain"),
        (Action::Drip(50), "uncertain"),
        (Action::TruncatedJson, "uncertain"),
        (Action::WrongContentType, "sent"),
        (answer(400, "Bad Request: chat not found"), "dead"),
        (answer(400, "Bad Request: file must be non-empty"), "dead"),
        (answer(400, "Bad Request: group chat was upgraded to a supergroup chat"), "dead"),
        (migrated(-1_009), "migrated to -1009"),
        (answer(403, "Forbidden: bot was blocked by the user"), "chat closed"),
        (answer(413, "Request Entity Too Large"), "dead"),
        (answer(401, "Unauthorized"), "unauthorized"),
    ];
    let world = World::with(|options| options.timeouts.upload = Duration::from_millis(300)).await;
    for (sent, method) in [(report(&world), "sendDocument"), (picture(&world), "sendPhoto")] {
        for (action, expect) in &cases {
            world.server.fault(Fault::on(method, action.clone()));
            let before = world.count(method);
            let outcome = world.channel.send(&sent).await;
            assert_eq!(kind(&outcome), *expect, "{method} {action:?}: {outcome:?}");
            assert_eq!(world.count(method), before + 1, "{method} {action:?}: a file is sent once");
            world.server.clear_faults();
        }
    }
    assert_eq!(world.clock.waits(), Vec::<Duration>::new(), "waiting is not the channel's business");
}

/// The effect is there and the answer was lost: it is not for the channel to send it again.
#[tokio::test]
async fn a_file_whose_answer_is_lost_is_there_once() {
    let world = World::new().await;
    world.server.fault(Fault::once("sendDocument", Action::ApplyThenDrop));
    assert_eq!(kind(&world.channel.send(&report(&world)).await), "uncertain");
    assert_eq!((world.server.received_files(ANN).len(), world.count("sendDocument")), (1, 1));
}

#[tokio::test]
async fn what_cannot_be_shown_as_a_picture_is_a_document() {
    let wide = [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(), &[0, 0, 0x27, 0x10, 0, 0, 0, 10]].concat();
    let mut huge = media::png(1, 1);
    huge.resize(10_000_001, 0);
    for (bytes, tries) in [(b"no picture".to_vec(), 1), (wide, 1), (huge, 0)] {
        let world = World::new().await;
        let sent = with_caption(row(&world, route(ANN), "p.png", &bytes, true), "<i>look</i>", "look");
        assert_eq!(kind(&world.channel.send(&sent).await), "sent");
        let received = world.server.received_files(ANN);
        assert_eq!((received.len(), received[0].kind, received[0].caption.as_str()), (1, "document", "look"));
        assert!(received[0].bytes == bytes);
        assert_eq!((world.count("sendPhoto"), world.count("sendDocument")), (tries, 1));
    }
    let world = World::new().await;
    world.server.fault(Fault::on("sendDocument", answer(400, "Bad Request: PHOTO_INVALID_DIMENSIONS")));
    assert_eq!(kind(&world.channel.send(&report(&world)).await), "dead", "a document is not tried as one again");
    assert_eq!(world.count("sendDocument"), 1);
}

#[tokio::test]
async fn a_file_changes_its_shape_as_a_text_does() {
    let world = World::new().await;
    world.server.add_group(GROUP, "Group", ChatKind::Supergroup { forum: true }, &[ANN]);
    let gone = Route { thread: Some(9), ..route(GROUP) };
    let sent = with_caption(row(&world, gone, "a.txt", b"x", false), "<b>1 < 2", "1 < 2");
    let outcome = world.channel.send(&sent).await;
    assert!(matches!(&outcome, SendOutcome::SentBeside { remark, .. } if remark.contains("topic 9")), "{outcome:?}");
    let received = world.server.received_files(GROUP);
    assert_eq!((received.len(), received[0].caption.as_str(), received[0].thread), (1, "1 < 2", None));
    assert_eq!(world.count("sendDocument"), 3, "the topic, the markup, and then it was there");

    world.server.migrate(GROUP, GROUP - 1);
    let sent = row(&world, route(GROUP), "a.txt", b"x", false);
    assert_eq!(world.channel.send(&sent).await, SendOutcome::Migrated(GROUP - 1));
    assert_eq!(kind(&world.channel.send(&OutboxRow { route: route(GROUP - 1), ..sent }).await), "sent");
    assert_eq!(world.server.received_files(GROUP - 1).iter().filter(|file| file.bytes == "x").count(), 1);
}

#[tokio::test]
async fn a_file_does_not_stay_beside_the_message_it_replaces() {
    let world = World::new().await;
    let body = Rendered { rich: "…".to_owned(), plain: "…".to_owned() };
    let SendOutcome::Sent(placeholder) = world.channel.send(&outbox_row(route(ANN), body, None)).await else {
        panic!()
    };
    let sent = OutboxRow { replaces: Some(placeholder), ..report(&world) };
    let SendOutcome::Sent(message) = world.channel.send(&sent).await else { panic!() };
    let left: Vec<i64> = world.server.transcript(ANN).iter().map(|message| message.message_id).collect();
    assert_eq!(left, [message]);
}

/// A store whose disk has failed.
struct Broken;

impl Blobs for Broken {
    fn put(&self, _bytes: &[u8]) -> Result<AttachmentId, BlobError> {
        Err(BlobError::Full)
    }

    fn get(&self, _id: &AttachmentId) -> Result<Vec<u8>, BlobError> {
        Err(BlobError::Broken("input/output error".to_owned()))
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn sweep(&self, _keep: &BTreeSet<AttachmentId>, _days: u32, _now: Timestamp) -> Result<u64, BlobError> {
        Ok(0)
    }
}

#[tokio::test]
async fn a_file_that_is_not_stored_is_given_up_and_one_that_cannot_be_read_is_not() {
    let world = World::new().await;
    let sent = report(&world);
    world.shelf.sweep(&BTreeSet::new(), 0, Timestamp(0)).unwrap();
    let gone = "the file `report.txt` is no longer stored".to_owned();
    assert_eq!(world.channel.send(&sent).await, SendOutcome::Dead(gone));

    let world = World::with(|options| options.blobs = Arc::new(Broken)).await;
    assert_eq!(kind(&world.channel.send(&sent).await), "not sent");
    assert_eq!(world.count("sendDocument"), 0);
}

#[tokio::test]
async fn without_a_connection_a_file_is_not_sent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let world = World::new().await;
    let sent = report(&world);
    let mut options = options(&nobody, Arc::<TestClock>::default());
    options.blobs = Arc::clone(&world.shelf) as Arc<dyn Blobs>;
    let channel = Telegram::new(options).unwrap();
    assert_eq!(kind(&channel.send(&sent).await), "not sent, everywhere");
}
