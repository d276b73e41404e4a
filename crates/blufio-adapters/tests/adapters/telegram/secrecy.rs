//! The token is part of every address and must be nowhere else, also not when a server repeats it.

use super::{ANN, TOKEN, World, options, route};
use blufio_adapters::telegram::Telegram;
use blufio_core::port::{Channel, Preview};
use blufio_core::record::Rendered;
use blufio_testkit::botapi::{Action, Fault};
use blufio_testkit::contract::channel::{outbox_row, receive};
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
        Action::HtmlBody502,
        Action::DropBefore,
        Action::NeverAnswer,
        Action::ResetMid,
        Action::TruncatedJson,
    ];
    for action in actions {
        let world = World::with(|options| {
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
        world.server.fault(Fault::always(action));
        exercise(&world.channel, &mut said).await;
    }
    // Nobody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    exercise(&Telegram::new(options(&nobody, Arc::default())).unwrap(), &mut said).await;

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

/// Makes every call once and writes down everything that comes back.
async fn exercise(channel: &Telegram, said: &mut String) {
    let body = Rendered { rich: "x".to_owned(), plain: "x".to_owned() };
    for replaces in [None, Some(1)] {
        let outcome = channel.send(&outbox_row(route(ANN), body.clone(), replaces)).await;
        write!(said, "{outcome:?} ").unwrap();
    }
    for message in [None, Some(1)] {
        let preview = Preview { route: route(ANN), draft: 1, text: "x".to_owned(), message };
        write!(said, "{:?} ", channel.preview(preview).await).unwrap();
    }
    channel.typing(&route(ANN)).await;
    channel.remove(&route(ANN), 1).await;
    write!(said, "{channel:?} {:?} ", channel.health()).unwrap();
}
