//! Updates that are brought instead of fetched.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use blufio_testkit::http::{Handler, HttpServer, Request, Responder};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Client, LIMIT, bad, ids, server};

/// Keeps what is brought to it and answers 200, but for the first answers.
struct Receiver {
    answers: Mutex<VecDeque<u16>>,
    seen: Mutex<Vec<Request>>,
}

impl Handler for Receiver {
    async fn handle(&self, request: Request, responder: Responder) {
        self.seen.lock().unwrap().push(request);
        let status = self.answers.lock().unwrap().pop_front().unwrap_or(200);
        responder.full(status, &[], b"").await;
    }
}

impl Receiver {
    async fn start(answers: &[u16]) -> (Arc<Self>, HttpServer) {
        let receiver =
            Arc::new(Self { answers: Mutex::new(answers.iter().copied().collect()), seen: Mutex::default() });
        let http = HttpServer::start(([127, 0, 0, 1], 0).into(), Arc::clone(&receiver)).await.expect("a free port");
        (receiver, http)
    }

    fn updates(&self) -> Vec<Value> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|request| serde_json::from_slice(&request.body).expect("JSON")).collect()
    }
}

/// An address that refuses connections.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.and_then(|listener| listener.local_addr()).expect("a free port")
}

#[tokio::test]
async fn updates_are_brought_in_order_until_they_are_taken() {
    let server = server().await;
    let mut client = Client::connect(&server).await;
    let (receiver, http) = Receiver::start(&[503, 404]).await;
    server.send_text(7, "one");
    server.send_text(7, "two");
    let url = "https://bot.example:8443/telegram-webhook?x=1";
    let set = json!({"url": url, "secret_token": "s_1-", "max_connections": 4, "allowed_updates": ["message"]});
    client.ok("setWebhook", set.clone()).await;
    assert_eq!(client.ok("getWebhookInfo", json!({})).await["pending_update_count"], 2, "there is no target yet");
    server.webhook_target(http.addr());
    server.wait_for(|state| (state.pending_updates() == 0).then_some(()), LIMIT).await;

    assert_eq!(ids(&json!(receiver.updates())), [1, 1, 1, 2]);
    assert_eq!(receiver.updates()[3]["message"]["text"], "two");
    let first = receiver.seen.lock().unwrap()[0].clone();
    assert_eq!(
        (first.method.as_str(), first.path.as_str(), first.query["x"].as_str()),
        ("POST", "/telegram-webhook", "1")
    );
    for (name, value) in [
        ("x-telegram-bot-api-secret-token", "s_1-"),
        ("host", "bot.example:8443"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(first.header(name), Some(value));
    }
    let deliveries = server.webhook_deliveries();
    assert_eq!(deliveries.iter().map(|delivery| delivery.status).collect::<Vec<_>>(), [503, 404, 200, 200]);
    assert!(deliveries[1].at_ms >= deliveries[0].at_ms + 50, "{deliveries:?}");
    assert!(deliveries[2].at_ms >= deliveries[1].at_ms + 100, "{deliveries:?}");
    let info = client.ok("getWebhookInfo", json!({})).await;
    assert_eq!(info["last_error_message"], "Wrong response from the webhook: 404 Not Found");
    assert_eq!((&info["max_connections"], &info["allowed_updates"]), (&json!(4), &json!(["message"])));
    client.ok("setWebhook", set).await;
    let info = client.ok("getWebhookInfo", json!({})).await;
    assert!(info["last_error_date"].is_i64(), "setting the same again changes nothing");

    assert!(server.redeliver(1, 2));
    server.wait_for(|state| (state.webhook_deliveries().len() == 6).then_some(()), LIMIT).await;
    assert_eq!(ids(&json!(receiver.updates()))[4..], [1, 1]);
    assert_eq!(server.violations(), [""; 0]);
}

#[tokio::test]
async fn what_is_not_taken_waits_for_the_next_poll() {
    let server = server().await;
    let mut client = Client::connect(&server).await;
    server.webhook_target(nobody().await);
    client.ok("setWebhook", json!({"url": "https://bot.example"})).await;
    server.send_text(7, "one");
    server.wait_for(|state| (state.webhook_deliveries().len() >= 2).then_some(()), LIMIT).await;
    let info = client.ok("getWebhookInfo", json!({})).await;
    assert_eq!((&info["last_error_message"], &info["pending_update_count"]), (&json!("Connection refused"), &json!(1)));
    client.ok("deleteWebhook", json!({"drop_pending_updates": false})).await;
    assert_eq!(client.ok("getWebhookInfo", json!({})).await["url"], "");
    assert_eq!(ids(&client.ok("getUpdates", json!({})).await), [1]);
    client.ok("setWebhook", json!({"url": "https://bot.example", "drop_pending_updates": true})).await;
    assert_eq!(server.read(|state| state.pending_updates()), 0);
}

#[tokio::test]
async fn a_delivery_ends_with_its_webhook() {
    let server = server().await;
    let mut client = Client::connect(&server).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    server.webhook_target(silent.local_addr().expect("an address"));
    client.ok("setWebhook", json!({"url": "https://bot.example/x"})).await;
    server.send_text(7, "one");
    let (held, _) = silent.accept().await.expect("a delivery");
    client.ok("deleteWebhook", json!({})).await;
    assert_eq!(ids(&client.ok("getUpdates", json!({})).await), [1], "an update on its way is not lost");
    assert_eq!(server.webhook_deliveries(), []);
    drop(held);
}

#[tokio::test]
async fn illegal_webhooks_are_refused() {
    let server = server().await;
    let mut client = Client::connect(&server).await;
    for (url, error) in [
        ("http://bot.example", "bad webhook: An HTTPS URL must be provided for webhook"),
        ("https://bot.example:8080/x", "bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443"),
        ("https:///x", "bad webhook: URL host is empty"),
    ] {
        assert_eq!(client.error("setWebhook", json!({"url": url})).await, bad(error));
    }
    let secret = json!({"url": "https://bot.example", "secret_token": "a b"});
    assert_eq!(client.error("setWebhook", secret).await, bad("secret token contains unallowed characters"));
    let many = json!({"url": "https://bot.example", "max_connections": 101});
    assert_eq!(client.error("setWebhook", many).await.0, 400);
    assert_eq!(server.violations().len(), 1);
}
