//! How the bytes of an answer travel: speed, cuts, pings, resets; and what has been billed when they stop.
//!
//! Refuses to know what the answer says.

use std::time::Duration;

use super::Shared;
use super::error::ApiError;
use super::models::{Model, Usage};
use super::reply::{Event, Reply, error_event, ping, raw_event};
use super::script::FaultKind;
use crate::http::{Responder, render};

/// Time between two pings of a silent stream.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes of one write of a huge body.
const HUGE_PIECE_BYTES: usize = 64 * 1024;
/// Data of the invalid event, if the test names none.
const BROKEN_JSON: &str = r#"{"type":"content_block_delta","index":0,"delta":{"#;

/// What a reply costs so far. Booked before the bytes leave, so that a client never knows of more than is booked.
pub struct Bill<'a> {
    shared: &'a Shared,
    model: &'a Model,
    usage: Usage,
    booked: u64,
    complete: bool,
}

impl<'a> Bill<'a> {
    /// Opens the bill of a call; nothing is booked yet.
    pub fn open(shared: &'a Shared, model: &'a Model, usage: Usage) -> Self {
        shared.note(|observed| {
            observed.calls += 1;
            observed.open_calls += 1;
        });
        Self { shared, model, usage, booked: 0, complete: false }
    }

    /// Books the call up to this many output tokens.
    fn book(&mut self, output: u64) {
        let cost = self.model.cost(&Usage { output, ..self.usage });
        if cost > self.booked {
            self.shared.note(|observed| observed.spend += cost - self.booked);
            self.booked = cost;
        }
    }
}

impl Drop for Bill<'_> {
    fn drop(&mut self) {
        self.shared.note(|observed| {
            observed.open_calls -= 1;
            observed.disconnects += u64::from(!self.complete);
        });
    }
}

/// Some bytes of a body, what they wait for, and what they cost.
struct Piece {
    bytes: Vec<u8>,
    delay: Duration,
    /// Output tokens when these bytes are out.
    tokens: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// As it should.
    Finish,
    /// In the middle.
    Close,
}

struct Head<'a> {
    content_type: &'a str,
    request_id: &'a str,
}

impl Head<'_> {
    fn headers(&self) -> [(&str, &str); 6] {
        [
            ("content-type", self.content_type),
            ("request-id", self.request_id),
            ("anthropic-organization-id", "org_fake"),
            ("anthropic-ratelimit-requests-limit", "4000"),
            ("anthropic-ratelimit-requests-remaining", "3999"),
            ("anthropic-ratelimit-requests-reset", "2030-01-01T00:00:00Z"),
        ]
    }
}

/// Sends an error answer.
pub async fn error(responder: Responder, error: &ApiError, request_id: &str) {
    if error.kind.is_empty() {
        let body = format!("<html><body><h1>{} Error</h1></body></html>", error.status);
        return responder.full(error.status, &[("content-type", "text/html")], body).await;
    }
    let mut headers = vec![("content-type", "application/json"), ("request-id", request_id)];
    if let Some(after) = &error.retry_after {
        headers.push(("retry-after", after));
    }
    responder.full(error.status, &headers, error.body(request_id).to_string()).await;
}

/// Says nothing until the client goes away.
pub async fn hold(mut responder: Responder) {
    responder.closed_by_peer().await;
    responder.close();
}

/// Sends a reply, with its faults.
pub async fn reply(
    responder: Responder,
    reply: &Reply,
    stream: bool,
    faults: &[FaultKind],
    mut bill: Bill<'_>,
    request_id: &str,
) {
    let content_type = if stream { "text/event-stream; charset=utf-8" } else { "application/json" };
    let head = Head { content_type, request_id };
    let mut pieces = match faults.iter().find(|fault| matches!(fault, FaultKind::Replay(_))) {
        Some(FaultKind::Replay(bytes)) => replayed(bytes, &mut bill),
        _ if stream => streamed(reply, bill.shared.config.tokens_per_s),
        _ => vec![Piece {
            bytes: reply.message().to_string().into_bytes(),
            delay: Duration::ZERO,
            tokens: reply.usage.output,
        }],
    };
    if let Some(first) = pieces.first_mut() {
        first.delay += Duration::from_millis(reply.first_token_ms);
    }
    let mut end = End::Finish;
    for fault in faults {
        match fault {
            FaultKind::SilenceWithPings => return silence(responder, reply, &head, bill).await,
            FaultKind::HugeBody { bytes } => return huge(responder, *bytes, &head, bill).await,
            FaultKind::ErrorEventAfter(_) if !stream => {
                bill.complete = true;
                drop(bill);
                let overloaded = ApiError::plain(529, "overloaded_error", "Overloaded");
                return error(responder, &overloaded, request_id).await;
            }
            FaultKind::ErrorEventAfter(count) => {
                pieces.truncate(*count);
                pieces.push(Piece::of(error_event("overloaded_error", "Overloaded"), Duration::ZERO));
            }
            FaultKind::InvalidJson(text) => break_json(&mut pieces, text, stream),
            FaultKind::CutAtByte(bytes) => end = cut(&mut pieces, *bytes),
            FaultKind::Drip { bytes, ms } => pieces = drip(pieces, *bytes, Duration::from_millis(*ms)),
            _ => {}
        }
    }
    send(responder, &pieces, end, &head, bill).await;
}

impl Piece {
    fn of(event: Event, delay: Duration) -> Self {
        Self { bytes: event.bytes, delay, tokens: event.tokens }
    }
}

fn streamed(reply: &Reply, tokens_per_s: Option<u32>) -> Vec<Piece> {
    let mut before = 0;
    let pace = |event: Event| {
        let new = event.tokens.saturating_sub(before);
        before = before.max(event.tokens);
        let speed = tokens_per_s
            .map_or(Duration::ZERO, |speed| Duration::from_micros(new * 1_000_000 / u64::from(speed.max(1))));
        let delta = if event.delta { Duration::from_millis(reply.delta_ms) } else { Duration::ZERO };
        Piece::of(event, speed + delta)
    };
    reply.events().into_iter().map(pace).collect()
}

/// The pieces of a recorded stream. It is billed by its own `usage`, and what it makes the client repeat is remembered.
fn replayed(stream: &[u8], bill: &mut Bill<'_>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut tokens = 0;
    for event in events_of(stream) {
        let data = event.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"data:"));
        let data: serde_json::Value = data.and_then(|data| serde_json::from_slice(data).ok()).unwrap_or_default();
        let usage = &data["message"]["usage"];
        if usage.is_object() {
            let count = |usage: &serde_json::Value, name: &str| usage[name].as_u64().unwrap_or_default();
            let write_1h = count(&usage["cache_creation"], "ephemeral_1h_input_tokens");
            bill.usage = Usage {
                input: count(usage, "input_tokens"),
                write_5m: count(usage, "cache_creation_input_tokens").saturating_sub(write_1h),
                write_1h,
                read: count(usage, "cache_read_input_tokens"),
                output: 0,
            };
        }
        let output = [usage, &data["usage"]].into_iter().find_map(|usage| usage["output_tokens"].as_u64());
        tokens = output.unwrap_or(tokens);
        bill.shared.remember_replayed(&data);
        pieces.push(Piece { bytes: event.to_vec(), delay: Duration::ZERO, tokens });
    }
    pieces
}

/// The events of a stream, each with the empty line at its end.
fn events_of(stream: &[u8]) -> Vec<&[u8]> {
    let mut events = Vec::new();
    let mut start = 0;
    for at in 0..stream.len() {
        let rest = &stream[start..=at];
        if rest.ends_with(b"\n\n") || rest.ends_with(b"\r\n\r\n") {
            events.push(rest);
            start = at + 1;
        }
    }
    if start < stream.len() {
        events.push(&stream[start..]);
    }
    events
}

impl Shared {
    fn remember_replayed(&self, data: &serde_json::Value) {
        let block = &data["content_block"];
        let signature = data["delta"]["signature"].as_str().or_else(|| block["data"].as_str());
        let call = block["id"].as_str();
        if signature.is_none() && call.is_none() {
            return;
        }
        let mut memory = self.memory.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(signature) = signature {
            super::remember(&mut memory.foreign, signature.to_owned());
        }
        if let Some(call) = call {
            super::remember(&mut memory.undeclared, call.to_owned());
        }
    }
}

fn break_json(pieces: &mut Vec<Piece>, text: &str, stream: bool) {
    let text = if text.is_empty() { BROKEN_JSON } else { text };
    if !stream {
        let tokens = pieces.last().map_or(0, |piece| piece.tokens);
        *pieces = vec![Piece { bytes: text.as_bytes().to_vec(), delay: Duration::ZERO, tokens }];
        return;
    }
    let at = pieces.len() / 2;
    let tokens = pieces.get(at).map_or(0, |piece| piece.tokens);
    let broken = Piece { bytes: raw_event("content_block_delta", text), delay: Duration::ZERO, tokens };
    pieces.insert(at, broken);
}

/// Keeps the first `bytes` of the body. A cut behind the last byte is none.
fn cut(pieces: &mut Vec<Piece>, bytes: usize) -> End {
    let mut left = bytes;
    for at in 0..pieces.len() {
        let length = pieces[at].bytes.len();
        if left < length {
            pieces[at].bytes.truncate(left);
            pieces.truncate(at + 1);
            return End::Close;
        }
        left -= length;
    }
    End::Finish
}

fn drip(pieces: Vec<Piece>, bytes: usize, delay: Duration) -> Vec<Piece> {
    let slices = |piece: Piece| {
        let tokens = piece.tokens;
        let slice = move |bytes: &[u8]| Piece { bytes: bytes.to_vec(), delay, tokens };
        piece.bytes.chunks(bytes.max(1)).map(slice).collect::<Vec<_>>()
    };
    pieces.into_iter().flat_map(slices).collect()
}

async fn send(mut responder: Responder, pieces: &[Piece], end: End, head: &Head<'_>, mut bill: Bill<'_>) {
    if end == End::Finish && pieces.iter().all(|piece| piece.delay.is_zero()) {
        let body: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect();
        bill.book(pieces.last().map_or(0, |piece| piece.tokens));
        bill.complete = true;
        // The bill is closed before the client can know of the end, so that a look afterwards sees everything.
        drop(bill);
        if responder.raw(&whole(head, &body)).await.is_ok() {
            responder.keep_open();
        }
        return;
    }
    let first = pieces.first().map_or(Duration::ZERO, |piece| piece.delay);
    if !wait(&mut responder, first).await || responder.start_chunked(200, &head.headers()).await.is_err() {
        return;
    }
    let mut at = 0;
    while at < pieces.len() {
        if at > 0 && !wait(&mut responder, pieces[at].delay).await {
            return;
        }
        let group = 1 + pieces[at + 1..].iter().take_while(|piece| piece.delay.is_zero()).count();
        let group = &pieces[at..at + group];
        at += group.len();
        bill.book(group.iter().map(|piece| piece.tokens).max().unwrap_or_default());
        bill.complete = at == pieces.len() && end == End::Finish;
        let bytes: Vec<u8> = group.iter().flat_map(|piece| piece.bytes.iter().copied()).collect();
        if responder.chunk(&bytes).await.is_err() {
            bill.complete = false;
            return;
        }
    }
    drop(bill);
    match end {
        End::Finish => responder.finish().await,
        End::Close => responder.close(),
    }
}

/// A whole answer as the bytes of one write; a stream is chunked, as the service does it.
fn whole(head: &Head<'_>, body: &[u8]) -> Vec<u8> {
    let headers = head.headers();
    if !head.content_type.starts_with("text/") {
        return render(200, &headers, body);
    }
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut answer = format!("HTTP/1.1 200 OK\r\n{lines}transfer-encoding: chunked\r\n\r\n").into_bytes();
    if !body.is_empty() {
        answer.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
        answer.extend_from_slice(body);
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"0\r\n\r\n");
    answer
}

/// Waits; `false` if the client went away meanwhile.
async fn wait(responder: &mut Responder, delay: Duration) -> bool {
    if delay.is_zero() {
        return true;
    }
    tokio::select! {
        () = tokio::time::sleep(delay) => true,
        () = responder.closed_by_peer() => false,
    }
}

async fn silence(mut responder: Responder, reply: &Reply, head: &Head<'_>, mut bill: Bill<'_>) {
    bill.book(1);
    let mut sent = responder.start_chunked(200, &head.headers()).await.is_ok()
        && responder.chunk(&[reply.start_event().bytes, ping().bytes].concat()).await.is_ok();
    while sent {
        sent = wait(&mut responder, PING_INTERVAL).await && responder.chunk(&ping().bytes).await.is_ok();
    }
    responder.close();
}

async fn huge(mut responder: Responder, bytes: u64, head: &Head<'_>, mut bill: Bill<'_>) {
    bill.book(1);
    let opening: &[u8] =
        if head.content_type.starts_with("text/") { b"event: ping\ndata: {\"x\":\"" } else { b"{\"x\":\"" };
    let piece = vec![b'x'; HUGE_PIECE_BYTES];
    let mut sent =
        responder.start_chunked(200, &head.headers()).await.is_ok() && responder.chunk(opening).await.is_ok();
    let mut left = bytes;
    while sent && left > 0 {
        left = left.saturating_sub(HUGE_PIECE_BYTES as u64);
        sent = responder.chunk(&piece).await.is_ok();
    }
    responder.close();
}
