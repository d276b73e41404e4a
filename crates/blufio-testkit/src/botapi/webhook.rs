//! Webhooks: setting them, and bringing the updates to where a test receives them.
//!
//! The public server speaks TLS to the host of the URL; here the test names a loopback address that plain HTTP goes to,
//! with the path and the host of the URL (<https://core.telegram.org/bots/api#setwebhook>). Updates are brought one at a
//! time and in order, which is a legal use of any `max_connections`. Refuses to know what an update contains.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::Shared;
use super::answer::Refusal;
use super::queue::push_bounded;
use super::schema::Params;
use super::state::{State, unix_now};

/// Pause after the first failed delivery; each further one doubles it.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Time for one delivery, from connecting to the status line.
const DELIVERY_TIME_MAX: Duration = Duration::from_secs(60);
/// Largest head of an answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Deliveries kept for inspection.
const DELIVERIES_MAX: usize = 10_000;
/// Ports that a webhook may have.
const PORTS: [&str; 4] = ["80", "88", "443", "8443"];
/// `max_connections` when none was given.
const CONNECTIONS: i64 = 40;

/// One try to bring an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WebhookDelivery {
    /// Milliseconds since the start of the server, at the end of the try.
    pub at_ms: u64,
    /// The update.
    pub update_id: i64,
    /// HTTP status of the answer; 0 when there was none.
    pub status: u16,
    /// Why it failed, as `getWebhookInfo` shows it; `None` when the update was taken.
    pub error: Option<String>,
}

/// The webhook that is set.
pub(super) struct Webhook {
    params: Map<String, Value>,
    host: String,
    path: String,
    last_error: Option<(i64, String)>,
}

/// The webhook and its deliveries.
#[derive(Default)]
pub(super) struct Webhooks {
    active: Option<Webhook>,
    /// Changes with the webhook; a delivery of another generation is given up.
    generation: u64,
    target: Option<SocketAddr>,
    deliveries: VecDeque<WebhookDelivery>,
}

impl Webhooks {
    pub(super) fn is_set(&self) -> bool {
        self.active.is_some()
    }
}

pub(super) fn info(state: &State) -> Value {
    let mut info = json!({"url": "", "has_custom_certificate": false, "pending_update_count": state.queue.len()});
    if let Some(webhook) = &state.webhook.active {
        info["url"] = webhook.params["url"].clone();
        info["has_custom_certificate"] = json!(webhook.params.contains_key("certificate"));
        info["max_connections"] =
            json!(webhook.params.get("max_connections").and_then(Value::as_i64).unwrap_or(CONNECTIONS));
        if let Some(address) = webhook.params.get("ip_address") {
            info["ip_address"] = address.clone();
        }
        if let Some((date, message)) = &webhook.last_error {
            info["last_error_date"] = json!(date);
            info["last_error_message"] = json!(message);
        }
    }
    if let Some(kinds) = state.allowed_updates().filter(|kinds| !kinds.is_empty()) {
        info["allowed_updates"] = json!(kinds);
    }
    info
}

pub(super) fn set(state: &mut State, params: &Params) -> Result<Value, Refusal> {
    let url = params.text("url").unwrap_or_default();
    if url.is_empty() {
        return Ok(delete(state, params));
    }
    let (host, path) = parts(url)?;
    let secret = params.text("secret_token").unwrap_or_default();
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if secret.len() > 256 || !secret.bytes().all(legal) {
        return Err(Refusal::bad("secret token contains unallowed characters"));
    }
    if params.integer("max_connections").is_some_and(|count| !(1..=100).contains(&count)) {
        return Err(Refusal::bug("max_connections is out of range", "setWebhook: max_connections is not 1 to 100"));
    }
    if params.flag("drop_pending_updates") {
        state.queue.clear();
    }
    if params.values.contains_key("allowed_updates") {
        let kinds = super::methods::list(params, "allowed_updates").iter().filter_map(Value::as_str);
        state.allowed_updates = Some(kinds.map(str::to_owned).collect());
    }
    let mut values = params.values.clone();
    values.remove("drop_pending_updates");
    // The same webhook once more changes nothing, as on the public server.
    if state.webhook.active.as_ref().is_none_or(|webhook| webhook.params != values) {
        state.webhook.generation += 1;
        state.webhook.active = Some(Webhook { params: values, host, path, last_error: None });
    }
    if state.poll.waiting {
        state.poll.generation += 1;
        state.poll.by_webhook = true;
    }
    Ok(json!(true))
}

pub(super) fn delete(state: &mut State, params: &Params) -> Value {
    if params.flag("drop_pending_updates") {
        state.queue.clear();
    }
    if state.webhook.active.take().is_some() {
        state.webhook.generation += 1;
    }
    json!(true)
}

/// Host (with its port) and path (with its query) of a webhook's address.
fn parts(url: &str) -> Result<(String, String), Refusal> {
    let https = || Refusal::bad("bad webhook: An HTTPS URL must be provided for webhook");
    let rest = url.strip_prefix("https://").ok_or_else(https)?;
    let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if host.rsplit_once(':').is_some_and(|(_, port)| !PORTS.contains(&port)) {
        return Err(Refusal::bad("bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443"));
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'[' | b']' | b':');
    if name.is_empty() || !name.bytes().all(legal) || path.bytes().any(|byte| byte <= b' ') {
        return Err(Refusal::bad("bad webhook: URL host is empty"));
    }
    let path = path.split('#').next().unwrap_or_default();
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok((host.to_owned(), path))
}

impl State {
    /// Names the loopback address that updates are brought to while a webhook is set; `None` brings none.
    pub fn set_webhook_target(&mut self, target: Option<SocketAddr>) {
        self.webhook.target = target;
    }

    /// Tries to bring updates, oldest first, at most the latest 10,000.
    pub fn webhook_deliveries(&self) -> Vec<WebhookDelivery> {
        self.webhook.deliveries.iter().cloned().collect()
    }

    /// URL of the webhook that is set.
    pub fn webhook_url(&self) -> Option<&str> {
        self.webhook.active.as_ref().and_then(|webhook| webhook.params["url"].as_str())
    }

    /// What is to be brought next, if anything.
    fn next_delivery(&self) -> Option<Delivery> {
        let (webhook, target) = self.webhook.active.as_ref().zip(self.webhook.target)?;
        let (update_id, update) = self.queue.head()?;
        let secret = webhook.params.get("secret_token").and_then(Value::as_str).filter(|secret| !secret.is_empty());
        let secret = secret.map(|secret| format!("X-Telegram-Bot-Api-Secret-Token: {secret}\r\n")).unwrap_or_default();
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{secret}Connection: \
             close\r\n\r\n",
            webhook.path,
            webhook.host,
            update.len()
        );
        Some(Delivery { generation: self.webhook.generation, target, update_id, update, head })
    }

    fn note_delivery(&mut self, delivery: &Delivery, outcome: &Result<Answered, String>) {
        // The webhook was changed meanwhile: the update belongs to whoever asks now, even if it was taken.
        if self.webhook.generation != delivery.generation {
            return;
        }
        let (status, error) = match outcome {
            Ok(answered) if answered.is_yes() => (answered.status, None),
            Ok(Answered { status, reason }) => {
                (*status, Some(format!("Wrong response from the webhook: {status} {reason}")))
            }
            Err(why) => (0, Some(why.clone())),
        };
        match (&error, &mut self.webhook.active) {
            (None, _) => self.queue.taken(&delivery.update),
            (Some(message), Some(webhook)) => webhook.last_error = Some((unix_now(), message.clone())),
            (Some(_), None) => {}
        }
        let entry = WebhookDelivery { at_ms: self.now_ms(), update_id: delivery.update_id, status, error };
        push_bounded(&mut self.webhook.deliveries, entry, DELIVERIES_MAX);
    }
}

/// One request to the webhook.
struct Delivery {
    generation: u64,
    target: SocketAddr,
    update_id: i64,
    update: Arc<str>,
    head: String,
}

/// The status line of an answer.
struct Answered {
    status: u16,
    reason: String,
}

impl Answered {
    fn is_yes(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Brings updates for as long as the server lives.
pub(super) async fn deliver(shared: Arc<Shared>) {
    let mut failures = 0_u32;
    // The webhook and the place that failed, and the moment of the next try there.
    let mut resting: Option<(u64, SocketAddr, Instant)> = None;
    loop {
        let changed = shared.polls.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let next = shared.lock().next_delivery();
        let Some(delivery) = next else {
            changed.await;
            continue;
        };
        match resting {
            Some((generation, target, until)) if (generation, target) == (delivery.generation, delivery.target) => {
                if Instant::now() < until {
                    tokio::select! {
                        () = sleep_until(until) => {}
                        () = changed => {}
                    }
                    continue;
                }
            }
            _ => failures = 0,
        }
        let outcome = tokio::select! {
            outcome = bring(&delivery) => outcome,
            () = replaced(&shared, delivery.generation) => continue,
        };
        shared.change(|state| state.note_delivery(&delivery, &outcome));
        if outcome.is_ok_and(|answered| answered.is_yes()) {
            (failures, resting) = (0, None);
        } else {
            let pause = PAUSE.saturating_mul(1 << failures.min(10)).min(PAUSE_MAX);
            failures += 1;
            resting = Some((delivery.generation, delivery.target, Instant::now() + pause));
        }
    }
}

/// Resolves when the webhook is no longer the one of `generation`.
async fn replaced(shared: &Shared, generation: u64) {
    loop {
        let changed = shared.polls.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if shared.lock().webhook.generation != generation {
            return;
        }
        changed.await;
    }
}

async fn bring(delivery: &Delivery) -> Result<Answered, String> {
    match timeout(DELIVERY_TIME_MAX, exchange(delivery)).await {
        Ok(Ok(answered)) => Ok(answered),
        Ok(Err(error)) => Err(match error.kind() {
            ErrorKind::ConnectionRefused => "Connection refused".to_owned(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "Connection reset by peer".to_owned(),
            ErrorKind::UnexpectedEof => "Connection closed".to_owned(),
            _ => format!("Wrong response from the webhook: {error}"),
        }),
        Err(_) => Err("Read timeout expired".to_owned()),
    }
}

async fn exchange(delivery: &Delivery) -> io::Result<Answered> {
    let mut stream = TcpStream::connect(delivery.target).await?;
    let whole = [delivery.head.as_bytes(), delivery.update.as_bytes()].concat();
    // Whoever refuses early may close before everything is written and has still answered.
    let written = stream.write_all(&whole).await;
    let mut answer = Vec::new();
    loop {
        if let Some(answered) = status_line(&answer)? {
            return Ok(answered);
        }
        if answer.len() > ANSWER_BYTES_MAX {
            return Err(io::Error::new(ErrorKind::InvalidData, "the head is too long"));
        }
        match stream.read_buf(&mut answer).await {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) => return Err(written.err().unwrap_or(error)),
        }
    }
}

/// The status line of an answer whose head is complete.
fn status_line(answer: &[u8]) -> io::Result<Option<Answered>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(answer) {
        Ok(httparse::Status::Complete(_)) => Ok(response.code.map(|status| {
            let reason = response.reason.unwrap_or_default().to_owned();
            Answered { status, reason }
        })),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(error) => Err(io::Error::new(ErrorKind::InvalidData, error)),
    }
}
