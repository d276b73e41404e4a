//! A finished reply and its two forms on the wire: one JSON message, or the events of a stream.
//!
//! Refuses to know why the reply is what it is, and how its bytes travel.

use serde_json::{Map, Value, json};

use super::canonical::{self, text_tokens};
use super::history::{FUTURE_BLOCK, FUTURE_PAYLOAD};
use super::models::Usage;
use super::script::Chunking;

/// Tokens of a thinking block or a call beside its text.
const BLOCK_TOKENS: u64 = 8;
/// Bytes of one delta of a tool's input, unless bytes are asked for.
const INPUT_DELTA_BYTES: usize = 16;

/// One content block, with ids and signatures.
#[derive(Clone, Debug)]
pub enum Part {
    /// A text.
    Text(String),
    /// Thinking; `text` is what is sent.
    Thinking {
        /// Text as sent, maybe empty.
        text: String,
        /// Signature over it.
        signature: String,
    },
    /// A call; `input` is JSON text, maybe cut.
    Tool {
        /// Call id.
        id: String,
        /// Tool name.
        name: String,
        /// JSON text.
        input: String,
    },
    /// Any block, sent whole.
    Raw(Value),
}

/// How `usage` is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UsageStyle {
    /// As documented.
    #[default]
    Normal,
    /// Nowhere.
    Missing,
    /// Zeroes first, everything in the last event.
    AtEnd,
    /// Below zero.
    Negative,
}

/// One reply.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Message id.
    pub id: String,
    /// Model id.
    pub model: String,
    /// Content.
    pub parts: Vec<Part>,
    /// Stop reason.
    pub stop_reason: String,
    /// How texts are cut.
    pub chunking: Chunking,
    /// Milliseconds before the first event.
    pub first_token_ms: u64,
    /// Milliseconds before each delta.
    pub delta_ms: u64,
    /// Tokens of the call, output included.
    pub usage: Usage,
    /// How they are told.
    pub usage_style: UsageStyle,
    /// Further fields of the message.
    pub extra: Map<String, Value>,
    /// Whether events and deltas that no client knows are mixed in.
    pub unknown_events: bool,
}

/// One event of a stream.
pub struct Event {
    /// The bytes, with the empty line at the end.
    pub bytes: Vec<u8>,
    /// Output tokens up to here.
    pub tokens: u64,
    /// Whether it carries a piece of content.
    pub delta: bool,
}

impl Part {
    /// Tokens that the model wrote for it.
    pub fn tokens(&self) -> u64 {
        match self {
            Self::Text(text) => text_tokens(text),
            Self::Thinking { text, .. } => BLOCK_TOKENS + text_tokens(text),
            Self::Tool { name, input, .. } => BLOCK_TOKENS + text_tokens(name) + text_tokens(input),
            Self::Raw(block) => canonical::block_tokens(block),
        }
    }

    /// The block as the client has to send it back.
    pub fn block(&self) -> Value {
        match self {
            Self::Text(text) => json!({ "type": "text", "text": text }),
            Self::Thinking { text, signature } => {
                json!({ "type": "thinking", "thinking": text, "signature": signature })
            }
            Self::Tool { id, name, input } => {
                let input = serde_json::from_str(input).unwrap_or_else(|_| json!({}));
                json!({ "type": "tool_use", "id": id, "name": name, "input": input })
            }
            Self::Raw(block) => block.clone(),
        }
    }

    /// The block as it begins in a stream.
    fn opening(&self) -> Value {
        match self {
            Self::Text(_) => json!({ "type": "text", "text": "" }),
            Self::Thinking { .. } => json!({ "type": "thinking", "thinking": "", "signature": "" }),
            Self::Tool { id, name, .. } => json!({ "type": "tool_use", "id": id, "name": name, "input": {} }),
            Self::Raw(block) => block.clone(),
        }
    }

    /// The deltas that complete it.
    fn deltas(&self, chunking: Chunking) -> Vec<Value> {
        match self {
            Self::Text(text) => {
                cut(text, chunking).into_iter().map(|text| json!({ "type": "text_delta", "text": text })).collect()
            }
            Self::Thinking { text, signature } => {
                let texts = cut(text, chunking).into_iter();
                let mut deltas: Vec<Value> =
                    texts.map(|text| json!({ "type": "thinking_delta", "thinking": text })).collect();
                deltas.push(json!({ "type": "signature_delta", "signature": signature }));
                deltas
            }
            Self::Tool { input, .. } => {
                let chunking = match chunking {
                    Chunking::Words(_) => Chunking::Bytes(INPUT_DELTA_BYTES),
                    other => other,
                };
                // An empty piece comes first; an empty input has no other.
                let rest = if input == "{}" { Vec::new() } else { cut(input, chunking) };
                let pieces = std::iter::once("").chain(rest);
                pieces.map(|piece| json!({ "type": "input_json_delta", "partial_json": piece })).collect()
            }
            Self::Raw(_) => Vec::new(),
        }
    }
}

/// The block that no client knows.
pub fn future_block() -> Part {
    Part::Raw(json!({ "type": FUTURE_BLOCK, "payload": FUTURE_PAYLOAD }))
}

impl Reply {
    /// The content as the client has to send it back.
    pub fn content(&self) -> Value {
        self.parts.iter().map(Part::block).collect()
    }

    /// The whole message, as without streaming.
    pub fn message(&self) -> Value {
        let mut message = self.head(self.content(), json!(self.stop_reason));
        if let Some(usage) = self.usage_of(self.usage.output, self.usage_style == UsageStyle::AtEnd) {
            message["usage"] = usage;
        }
        message
    }

    fn head(&self, content: Value, stop_reason: Value) -> Value {
        let mut message = json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": content,
            "stop_reason": stop_reason, "stop_sequence": null,
        });
        message.as_object_mut().expect("it was just made").extend(self.extra.clone());
        message
    }

    fn usage_of(&self, output: u64, told: bool) -> Option<Value> {
        let usage = match self.usage_style {
            UsageStyle::Missing => return None,
            UsageStyle::Negative => return Some(json!({ "input_tokens": -5, "output_tokens": -7 })),
            UsageStyle::AtEnd if !told => Usage::default(),
            UsageStyle::AtEnd | UsageStyle::Normal => Usage { output, ..self.usage },
        };
        Some(json!({
            "input_tokens": usage.input,
            "cache_creation_input_tokens": usage.write_5m + usage.write_1h,
            "cache_read_input_tokens": usage.read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": usage.write_5m, "ephemeral_1h_input_tokens": usage.write_1h },
            "output_tokens": usage.output, "service_tier": "standard",
        }))
    }

    /// The first event alone.
    pub fn start_event(&self) -> Event {
        let mut message = self.head(json!([]), Value::Null);
        if let Some(usage) = self.usage_of(1, false) {
            message["usage"] = usage;
        }
        event("message_start", &json!({ "message": message }), 1, false)
    }

    /// The stream.
    pub fn events(&self) -> Vec<Event> {
        let mut events = vec![self.start_event(), ping()];
        if self.unknown_events {
            events.push(event("future_event", &json!({ "payload": 1 }), 1, false));
        }
        let mut tokens = 0;
        for (index, part) in self.parts.iter().enumerate() {
            let opening = json!({ "index": index, "content_block": part.opening() });
            events.push(event("content_block_start", &opening, tokens.max(1), false));
            let deltas = part.deltas(self.chunking);
            let count = deltas.len().max(1) as u64;
            for (at, delta) in deltas.into_iter().enumerate() {
                let so_far = tokens + part.tokens() * (at as u64 + 1) / count;
                let delta = json!({ "index": index, "delta": delta });
                events.push(event("content_block_delta", &delta, so_far.max(1), true));
            }
            if self.unknown_events {
                let delta = json!({ "index": index, "delta": { "type": "future_delta", "payload": 1 } });
                events.push(event("content_block_delta", &delta, tokens.max(1), false));
            }
            tokens += part.tokens();
            events.push(event("content_block_stop", &json!({ "index": index }), tokens.max(1), false));
        }
        let mut delta = json!({ "stop_reason": self.stop_reason, "stop_sequence": null });
        if let Some(details) = self.extra.get("stop_details") {
            delta["stop_details"] = details.clone();
        }
        let mut last = json!({ "delta": delta });
        if let Some(usage) = self.usage_of(self.usage.output, true) {
            let short = json!({ "output_tokens": usage["output_tokens"] });
            last["usage"] = if self.usage_style == UsageStyle::Normal { short } else { usage };
        }
        events.push(event("message_delta", &last, self.usage.output, false));
        events.push(event("message_stop", &json!({}), self.usage.output, false));
        events
    }
}

/// A `ping`.
pub fn ping() -> Event {
    event("ping", &json!({}), 0, false)
}

/// An `error` event.
pub fn error_event(kind: &str, message: &str) -> Event {
    event("error", &json!({ "error": { "type": kind, "message": message } }), 0, false)
}

/// An event with any text as data.
pub fn raw_event(name: &str, data: &str) -> Vec<u8> {
    format!("event: {name}\ndata: {data}\n\n").into_bytes()
}

fn event(name: &str, data: &Value, tokens: u64, delta: bool) -> Event {
    let mut data = data.clone();
    data["type"] = json!(name);
    Event { bytes: raw_event(name, &data.to_string()), tokens, delta }
}

fn cut(text: &str, chunking: Chunking) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = match chunking {
            Chunking::Whole => rest.len(),
            Chunking::Words(count) => {
                rest.match_indices(' ').nth(count.max(1) - 1).map_or(rest.len(), |(space, _)| space + 1)
            }
            Chunking::Bytes(count) => {
                let first = rest.chars().next().map_or(1, char::len_utf8);
                rest.floor_char_boundary(count).max(first)
            }
        };
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_without_loss() {
        assert_eq!(cut("one two three", Chunking::Words(2)), ["one two ", "three"]);
        assert_eq!(cut("aéb", Chunking::Bytes(1)), ["a", "é", "b"]);
        assert_eq!(cut("", Chunking::Whole), [""; 0]);
    }
}
