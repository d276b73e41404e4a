//! The token is part of every address and must be nowhere else, also not when a server repeats it.

use super::{ANN, TOKEN, World, options, route};
use blufio_adapters::telegram::Telegram;
use blufio_core::content::{FileKind, FileRef, OutgoingFile};
use blufio_core::ids::AttachmentId;
use blufio_core::port::{Blobs, Channel, Preview};
use blufio_core::record::{OutboxRow, Payload, Rendered, Route};
use blufio_testkit::botapi::{Action, FILE_METHOD, Fault};
use blufio_testkit::contract::channel::{outbox_row, receive};
use blufio_testkit::contract::provider::Shelf;
use serde_json::json;
use std::fmt::{Debug, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::span;

/// Keeps every event of every level as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0.lock().unwrap(), "{field}={value:?} ").unwrap();
    }
}

struct Capture {
    log: Log,
    spans: AtomicU64,
}

impl tracing::Subscriber for Capture {
    fn enabled(&self, _metadata: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        attributes.record(&mut self.log.clone());
        span::Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _span: &span::Id, values: &span::Record<'_>) {
        values.record(&mut self.log.clone());
    }

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.log.clone());
    }

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}

#[tokio::test]
async fn the_token_is_in_no_error_no_log_and_no_debug_output() {
    let log = Log::default();
    let guard = tracing::subscriber::set_default(Capture { log: log.clone(), spans: AtomicU64::new(0) });
    let mut said = String::new();
    let echo = |status| Action::Answer {
        status,
        description: format!("Bad Request: no such thing /bot{TOKEN}/sendMessage"),
        parameters: json!(null),
    };
    let actions = [
        echo(400),
        echo(401),
        echo(403),
        echo(404),
        echo(409),
        echo(500),
        Action::RateLimit { retry_after: Some(4_000) },
        Action::Redirect(format!("http://127.0.0.1:9/file/bot{TOKEN}/x")),
        Action::Result(json!({"file_id": "f", "file_unique_id": "u", "file_path": format!("{TOKEN}/x")})),
        Action::HtmlBody502,
        Action::DropBefore,
        Action::NeverAnswer,
        Action::ResetMid,
        Action::TruncatedJson,
    ];
    let shelf = Arc::new(Shelf::default());
    let attachment = shelf.put(b"x").unwrap();
    for action in actions {
        let world = World::with(|options| {
            options.reaction_ack = Some("👀".to_owned());
            options.blobs = Arc::clone(&shelf) as Arc<dyn Blobs>;
            options.timeouts.upload = Duration::from_millis(100);
            options.timeouts.stall = Duration::from_millis(100);
            options.timeouts.send = Duration::from_millis(100);
            options.timeouts.action = Duration::from_millis(100);
            options.timeouts.poll = Duration::from_millis(50);
            options.timeouts.watchdog = Duration::from_millis(2_500);
        })
        .await;
        world.server.fault(Fault::once("getUpdates", action.clone()));
        world.server.fault(Fault::on("getUpdates", echo(401)));
        let error = receive(&world.any(), &Arc::default()).await.unwrap();
        write!(said, "{error} {error:?} {:?}", world.channel_health()).unwrap();
        world.server.fault(Fault::always(action.clone()));
        exercise(&world.channel, &attachment, &mut said).await;
        // The same for the address of a file, which holds the token too.
        world.server.clear_faults();
        let place = json!({"file_id": "f", "file_unique_id": "u", "file_path": "a/b.txt"});
        world.server.fault(Fault::on("getFile", Action::Result(place)));
        world.server.fault(Fault::on(FILE_METHOD, action));
        write!(said, "{:?} ", world.channel.fetch(&handle(), 1_000).await).unwrap();
    }
    // Nobody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    exercise(&Telegram::new(options(&nobody, Arc::default())).unwrap(), &attachment, &mut said).await;

    drop(guard);
    let logged = log.0.lock().unwrap();
    assert!(logged.contains("telegram refused") || logged.contains("the telegram poll failed"), "the log was captured");
    let secret = TOKEN.split_once(':').unwrap().1;
    for (place, text) in [("an error", said.as_str()), ("the log", logged.as_str())] {
        if let Some(at) = text.find(secret) {
            let from = text.floor_char_boundary(at.saturating_sub(300));
            panic!("the token is in {place}: {}", &text[from..at]);
        }
    }
}

fn handle() -> FileRef {
    FileRef {
        kind: FileKind::Document,
        handle: "f".to_owned(),
        name: None,
        media_type: None,
        bytes: None,
        seconds: None,
        forwarded: None,
    }
}

/// Makes every call once and writes down everything that comes back.
async fn exercise(channel: &Telegram, attachment: &AttachmentId, said: &mut String) {
    let body = Rendered { rich: "x".to_owned(), plain: "x".to_owned() };
    for replaces in [None, Some(1)] {
        let outcome = channel.send(&outbox_row(route(ANN), body.clone(), replaces)).await;
        write!(said, "{outcome:?} ").unwrap();
    }
    for message in [None, Some(1)] {
        let preview = Preview { route: route(ANN), draft: 1, text: "x".to_owned(), message };
        write!(said, "{:?} ", channel.preview(preview).await).unwrap();
    }
    for picture in [false, true] {
        let (name, media_type) = ("a.txt".to_owned(), "text/plain".to_owned());
        let file = OutgoingFile { attachment: attachment.clone(), name, media_type, bytes: 1, picture };
        let row = OutboxRow { payload: Payload::File(file), ..outbox_row(route(ANN), body.clone(), None) };
        write!(said, "{:?} ", channel.send(&row).await).unwrap();
    }
    write!(said, "{:?} ", channel.fetch(&handle(), 1_000).await).unwrap();
    channel.acknowledge(&Route { reply_to: Some(1), ..route(ANN) }).await;
    channel.answer_press("press", "words").await;
    channel.typing(&route(ANN)).await;
    channel.remove(&route(ANN), 1).await;
    write!(said, "{channel:?} {:?} ", channel.health()).unwrap();
}
