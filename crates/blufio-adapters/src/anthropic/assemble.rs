//! A reply out of the events of a stream: assembled once, in the order in which its blocks began, and serialised once.
//!
//! The bytes made here are what is stored and sent back for the life of the epoch, so nothing is rewritten: fields keep
//! their order and spelling, a tool's input is the text that the deltas carried, a block nobody knows stays as it came.
//! Unknown events and deltas are ignored. This file refuses to know connections and timers.

use super::errors::Told;
use super::json::{self, Fields};
use super::sse::Event;
use super::usage::Counted;
use super::{request, validate};
use blufio_core::ids::{CallId, ToolName};
use blufio_core::message::{Body, Origin, Part, Role, StopReason, Usage};
use blufio_core::port::{Delta, Reply};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashSet;
use tracing::{debug, warn};

/// Bytes of an answer that are taken for one token, where the service did not get to count; errs upwards.
const BYTES_PER_TOKEN: usize = 3;
/// Tokens assumed for a block beside its text, likewise.
const BLOCK_TOKENS: usize = 10;

/// What an event brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing that counts as content (pings, the head, what nobody knows).
    Nothing,
    /// Content that is not shown.
    Content,
    /// Content to show.
    Shown(Delta),
    /// The end.
    Done,
}

/// Why a stream cannot go on.
#[derive(Debug)]
pub(super) enum Broken {
    /// It is not what the protocol says.
    Protocol(&'static str),
    /// The service said so.
    Told(Told),
}

/// A reply that is being assembled.
#[derive(Debug)]
pub(super) struct Assembler {
    /// Ids of tool calls that the conversation has used.
    known: HashSet<String>,
    begun: bool,
    blocks: Vec<Block>,
    /// Of all blocks, as far as they have come.
    content_bytes: usize,
    usage: Counted,
    stop: Option<String>,
    refusal: Option<String>,
    done: bool,
}

#[derive(Debug)]
struct Block {
    index: u64,
    fields: Fields,
    kind: String,
    /// Text, thinking, or the input of a tool, as far as it has come.
    text: String,
    signature: Option<String>,
    open: bool,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct MessageStart {
    message: StartedMessage,
}

#[derive(Deserialize)]
struct StartedMessage {
    usage: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct BlockStart {
    index: u64,
    content_block: Fields,
}

#[derive(Deserialize)]
struct BlockDelta<'a> {
    index: u64,
    #[serde(borrow)]
    delta: &'a RawValue,
}

#[derive(Deserialize)]
struct BlockStop {
    index: u64,
}

#[derive(Deserialize)]
struct MessageDelta {
    #[serde(default)]
    delta: Ending,
    usage: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ending {
    stop_reason: Option<String>,
    stop_details: Option<StopDetails>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StopDetails {
    category: Option<String>,
}

#[derive(Deserialize)]
struct ErrorEvent {
    error: Told,
}

fn parse<'a, T: Deserialize<'a>>(data: &'a [u8]) -> Result<T, Broken> {
    serde_json::from_slice(data).map_err(|_| Broken::Protocol("an event does not have the form of its type"))
}

impl Assembler {
    /// An empty reply to a request with these tool calls in it.
    pub(super) fn new(known: HashSet<String>) -> Self {
        let usage = Counted::default();
        let blocks = Vec::new();
        Self { known, begun: false, blocks, content_bytes: 0, usage, stop: None, refusal: None, done: false }
    }

    /// The last event has come.
    pub(super) const fn done(&self) -> bool {
        self.done
    }

    /// Bytes of content so far: what the blocks began with, and what their deltas carried. Framing does not count.
    pub(super) const fn content_bytes(&self) -> usize {
        self.content_bytes
    }

    /// Takes the next event.
    pub(super) fn event(&mut self, event: &Event) -> Result<Progress, Broken> {
        if self.done {
            return Ok(Progress::Nothing);
        }
        let data = event.data.as_slice();
        if json::too_deep(data) {
            return Err(Broken::Protocol("an event nests too deeply"));
        }
        let head: Head<'_> = serde_json::from_slice(data).map_err(|_| Broken::Protocol("an event is not JSON"))?;
        match &*head.kind {
            "message_start" if self.begun => Err(Broken::Protocol("a second message begins")),
            "message_start" => {
                self.begun = true;
                self.usage.take(parse::<MessageStart>(data)?.message.usage.as_ref());
                Ok(Progress::Nothing)
            }
            "error" => Err(Broken::Told(parse::<ErrorEvent>(data)?.error)),
            "content_block_start" | "content_block_delta" | "content_block_stop" | "message_delta" | "message_stop"
                if !self.begun =>
            {
                Err(Broken::Protocol("content before the message"))
            }
            "content_block_start" => self.start(parse(data)?),
            "content_block_delta" => self.delta(&parse(data)?),
            "content_block_stop" => {
                self.open_block(parse::<BlockStop>(data)?.index)?.open = false;
                Ok(Progress::Content)
            }
            "message_delta" => {
                let MessageDelta { delta, usage } = parse(data)?;
                self.usage.take(usage.as_ref());
                self.stop = delta.stop_reason.or(self.stop.take());
                self.refusal = delta.stop_details.and_then(|details| details.category).or(self.refusal.take());
                Ok(Progress::Content)
            }
            "message_stop" => {
                self.done = true;
                Ok(Progress::Done)
            }
            "ping" => Ok(Progress::Nothing),
            other => {
                debug!(kind = other, "an event nobody knows");
                Ok(Progress::Nothing)
            }
        }
    }

    fn start(&mut self, BlockStart { index, content_block: fields }: BlockStart) -> Result<Progress, Broken> {
        if self.blocks.iter().any(|block| block.index == index) {
            return Err(Broken::Protocol("two blocks with one number"));
        }
        let kind = fields.text("type");
        let text = match kind.as_str() {
            "" => return Err(Broken::Protocol("a block without a type")),
            "text" => fields.text("text"),
            "thinking" => fields.text("thinking"),
            "tool_use" => {
                self.admit(&fields)?;
                String::new()
            }
            _ => String::new(),
        };
        self.content_bytes = self.content_bytes.saturating_add(fields.bytes());
        let shown = (kind == "text").then_some(Delta::TextBlock);
        self.blocks.push(Block { index, fields, kind, text, signature: None, open: true });
        Ok(shown.map_or(Progress::Content, Progress::Shown))
    }

    /// A call whose id was used before could never be answered.
    fn admit(&mut self, fields: &Fields) -> Result<(), Broken> {
        let (id, name) = (fields.text("id"), fields.text("name"));
        if !validate::is_id(&id) || !validate::is_tool_name(&name) {
            return Err(Broken::Protocol("a tool call without a usable id and name"));
        }
        if !self.known.insert(id) {
            return Err(Broken::Protocol("a tool call id used twice"));
        }
        Ok(())
    }

    fn delta(&mut self, BlockDelta { index, delta }: &BlockDelta<'_>) -> Result<Progress, Broken> {
        let block = self.open_block(*index)?;
        let delta: Fields = parse(delta.get().as_bytes())?;
        let kind = delta.text("type");
        let field = match (block.kind.as_str(), kind.as_str()) {
            ("text", "text_delta") => "text",
            ("thinking", "thinking_delta") => "thinking",
            ("thinking", "signature_delta") => "signature",
            // Also for tools that run at the service, whose blocks are kept.
            (kind, "input_json_delta") if !matches!(kind, "text" | "thinking") => "partial_json",
            (block, delta) => {
                debug!(block, delta, "a delta nobody knows");
                return Ok(Progress::Content);
            }
        };
        let piece = delta.text(field);
        let bytes = piece.len();
        let progress = match field {
            "signature" => {
                block.signature = Some(piece);
                Progress::Content
            }
            "text" => {
                block.text.push_str(&piece);
                Progress::Shown(Delta::Text(piece))
            }
            _ => {
                block.text.push_str(&piece);
                Progress::Content
            }
        };
        self.content_bytes = self.content_bytes.saturating_add(bytes);
        Ok(progress)
    }

    fn open_block(&mut self, index: u64) -> Result<&mut Block, Broken> {
        let found = self.blocks.iter_mut().rfind(|block| block.index == index && block.open);
        found.ok_or(Broken::Protocol("news of a block that is not open"))
    }

    /// What an unfinished reply has used: the counted prompt, and the counted answer or what its bytes may have cost if that
    /// is more. `None` if the prompt was not counted.
    pub(super) fn usage_so_far(&self) -> Option<Usage> {
        let written: usize =
            self.blocks.iter().map(|block| block.text.len().div_ceil(BYTES_PER_TOKEN) + BLOCK_TOKENS).sum();
        let usage = self.usage.so_far()?;
        Some(Usage { output: usage.output.max(u64::try_from(written).unwrap_or(u64::MAX)), ..usage })
    }

    /// The whole reply, after the last event.
    pub(super) fn finish(self, request: Option<String>) -> Result<Reply, &'static str> {
        let stop = match self.stop.as_deref() {
            None => return Err("the message has no stop reason"),
            Some("end_turn" | "stop_sequence") => StopReason::EndTurn,
            Some("tool_use") => StopReason::ToolUse,
            Some("max_tokens") => StopReason::MaxTokens,
            Some("pause_turn") => StopReason::PauseTurn,
            Some("refusal") => StopReason::Refusal,
            Some("model_context_window_exceeded") => StopReason::ContextWindow,
            Some(other) => {
                warn!(reason = other, "a stop reason nobody knows; taken for an end");
                StopReason::EndTurn
            }
        };
        let cut = self.blocks.last().is_some_and(|block| block.kind == "tool_use" && !json::is_object(&block.text));
        let kept: Vec<&Block> = self.blocks.iter().filter(|block| !block.is_blank()).collect();
        let wire: Vec<String> = kept.iter().map(|block| block.wire()).collect();
        Ok(Reply {
            request,
            wire: request::message(Role::Assistant, &wire),
            parts: kept.iter().map(|block| block.part()).collect(),
            stop,
            cut_tool_call: cut && stop == StopReason::MaxTokens,
            refusal: self.refusal,
            usage: self.usage.complete(),
        })
    }
}

impl Block {
    /// A text that could not be sent back.
    fn is_blank(&self) -> bool {
        self.kind == "text" && self.text.trim().is_empty()
    }

    /// The input of a tool call as the model wrote it; `{}` if it wrote none.
    fn input(&self) -> &str {
        let whole = self.fields.raw("input").unwrap_or("{}");
        if self.text.trim().is_empty() { whole } else { self.text.trim() }
    }

    fn wire(&self) -> String {
        match self.kind.as_str() {
            "text" => self.fields.with(&[("text", &json::quote(&self.text))]),
            "thinking" => {
                let thinking = json::quote(&self.text);
                let signature = self.signature.as_ref().map(|signature| json::quote(signature));
                let signature = signature.as_deref().or(self.fields.raw("signature")).unwrap_or("\"\"");
                self.fields.with(&[("thinking", &thinking), ("signature", signature)])
            }
            // A broken input stays broken in the neutral part, where it is refused; here it must be legal to send back.
            "tool_use" if json::is_object(self.input()) => self.fields.with(&[("input", self.input())]),
            "tool_use" => self.fields.with(&[("input", "{}")]),
            _ if json::is_object(&self.text) => self.fields.with(&[("input", self.text.trim())]),
            _ => self.fields.with(&[]),
        }
    }

    fn part(&self) -> Part {
        let body = match self.kind.as_str() {
            "text" => Body::Text { text: self.text.clone() },
            "tool_use" => Body::ToolCall {
                id: CallId::new(self.fields.text("id")),
                name: ToolName::new(self.fields.text("name")),
                input: self.input().to_owned(),
            },
            kind => Body::Opaque { kind: kind.to_owned() },
        };
        Part { origin: Origin::Model, private: false, body }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const START: &str = r#"{"type":"message_start","message":{"usage":{"input_tokens":7,"output_tokens":1}}}"#;

    fn run(events: &[&str]) -> Result<Assembler, Broken> {
        let mut assembler = Assembler::new(HashSet::from(["used".to_owned()]));
        for data in events {
            assembler.event(&Event { name: String::new(), data: data.as_bytes().to_vec() })?;
        }
        Ok(assembler)
    }

    #[test]
    fn streams_that_break_the_protocol() {
        let check = |events: &[&str]| assert!(matches!(run(events), Err(Broken::Protocol(_))), "{events:?}");
        let text = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
        let stop = r#"{"type":"content_block_stop","index":0}"#;
        let delta = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#;
        let call = |id: &str, name: &str| {
            format!(
                r#"{{"type":"content_block_start","index":1,"content_block":{{"type":"tool_use","id":{id},"name":{name}}}}}"#
            )
        };
        check(&[text]);
        check(&[START, START]);
        check(&[START, delta]);
        check(&[START, text, text]);
        check(&[START, text, stop, delta]);
        check(&[START, r#"{"type":"content_block_start","index":0,"content_block":{}}"#]);
        check(&[START, r#"{"type":"content_block_start","index":-1,"content_block":{"type":"text"}}"#]);
        check(&[START, &call("\"used\"", "\"now\"")]);
        check(&[START, &call("\"\"", "\"now\"")]);
        check(&[START, &call("7", "\"now\"")]);
        check(&[START, &call("\"a\"", "\"no w\"")]);
        check(&["not JSON"]);
        check(&["{}"]);
        check(&[&format!(r#"{{"type":"ping","x":{}}}"#, "[".repeat(1_000_000))]);
        assert_eq!(run(&[START]).unwrap().finish(None).unwrap_err(), "the message has no stop reason");
        let broken = run(&[START, text, delta, r#"{"type":"error","error":{"type":"api_error","message":"m"}}"#]);
        assert!(matches!(broken, Err(Broken::Told(_))));
    }

    #[test]
    fn blocks_keep_what_they_came_with() {
        let reply = run(&[
            START,
            r#"{"type":"content_block_start","index":3,"content_block":{"type":"new","b":1.0,"a":[null]}}"#,
            r#"{"type":"content_block_delta","index":3,"delta":{"type":"new_delta","x":1}}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"signature_delta","signature":"old"}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"signature_delta","signature":"new"}}"#,
            r#"{"type":"content_block_start","index":4,"content_block":{"type":"tool_use","id":"a","name":"t","input":{},"caller":{"type":"direct"}}}"#,
            r#"{"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":"{\"n\": 1e2"}}"#,
            r#"{"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":"}"}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"category":"cyber"}},"usage":{"output_tokens":9}}"#,
            r#"{"type":"message_stop"}"#,
            "behind the end",
        ]);
        let reply = reply.unwrap().finish(None).unwrap();
        let expect = concat!(
            r#"{"role":"assistant","content":[{"type":"new","b":1.0,"a":[null]},"#,
            r#"{"type":"thinking","thinking":"","signature":"new"},"#,
            r#"{"type":"tool_use","id":"a","name":"t","input":{"n": 1e2},"caller":{"type":"direct"}}]}"#
        );
        assert_eq!(String::from_utf8_lossy(&reply.wire.unwrap()), expect);
        assert_eq!((reply.stop, reply.refusal.as_deref()), (StopReason::Refusal, Some("cyber")));
        assert_eq!(reply.usage, Some(Usage { input: 7, output: 9, ..Usage::default() }));
    }

    proptest! {
        /// Events in any order, with any values: no panic, and what is accepted makes legal bytes.
        #[test]
        fn any_events(picks in proptest::collection::vec((0..9_usize, 0..3_u8, "[a-z{}\":\\[\\]\\\\0é ]{0,8}"), 0..30)) {
            let mut assembler = run(&[START]).unwrap();
            for (kind, index, text) in picks {
                let (quoted, id) = (json::quote(&text), json::quote(&format!("id{index}")));
                let data = match kind {
                    0 => format!(r#"{{"type":"content_block_start","index":{index},"content_block":{{"type":"text","text":{quoted}}}}}"#),
                    1 => format!(r#"{{"type":"content_block_start","index":{index},"content_block":{{"type":"tool_use","id":{id},"name":"t","input":{{}}}}}}"#),
                    2 => format!(r#"{{"type":"content_block_start","index":{index},"content_block":{{"type":"thinking","thinking":{quoted}}}}}"#),
                    3 => format!(r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"input_json_delta","partial_json":{quoted}}}}}"#),
                    4 => format!(r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"text_delta","text":{quoted}}}}}"#),
                    5 => format!(r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"signature_delta","signature":{quoted}}}}}"#),
                    6 => format!(r#"{{"type":"content_block_stop","index":{index}}}"#),
                    7 => format!(r#"{{"type":"message_delta","delta":{{"stop_reason":{quoted}}},"usage":{{"output_tokens":{index}}}}}"#),
                    _ => text,
                };
                if assembler.event(&Event { name: String::new(), data: data.into_bytes() }).is_err() {
                    break;
                }
            }
            prop_assert!(assembler.usage_so_far().is_some());
            if let Ok(reply) = assembler.finish(None) {
                if let Some(wire) = &reply.wire {
                    prop_assert!(serde_json::from_slice::<serde_json::Value>(wire).is_ok());
                }
                prop_assert_eq!(reply.wire.is_some(), !reply.parts.is_empty());
            }
        }
    }
}
