//! Requests out of stored bytes: what was rendered once is copied, never rendered again.
//!
//! A signed thinking block is bound to every byte before it, and the prompt cache to every block; so `system`, `tools` and
//! each message have one serialised form for the life of an epoch. Put in at send time are only `cache_control`, which the
//! service does not count as a change, and the bytes of files, which are always the same (see `files`). This file refuses to
//! know whether a conversation is legal (see `validate`).

use super::{files, json};
use blufio_core::context::caching::{Shape, Speaker, Ttl};
use blufio_core::limits::MODEL_REQUEST_BYTES_MAX;
use blufio_core::message::{Body as PartBody, Part, Role};
use blufio_core::port::{Blobs, Prompt, ToolSpec};
use blufio_core::record::Shared;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// Put into a block to make the service cache everything up to it, for five minutes.
const MARK: &[u8] = br#","cache_control":{"type":"ephemeral"}"#;
/// The same for an hour.
const MARK_HOUR: &[u8] = br#","cache_control":{"type":"ephemeral","ttl":"1h"}"#;
/// How a message begins that has results of tools; they come first.
const RESULTS_HEAD: &[u8] = br#"{"role":"user","content":[{"type":"tool_result""#;
/// The smallest thinking budget of the models that want one.
const THINKING_BUDGET_MIN: u32 = 1_024;
/// Bytes of the head of a request beside its names: a guess that saves one reallocation.
const HEAD_BYTES: usize = 512;
/// What stands where a tool had nothing to say; the service does not take an empty result that is an error.
const NO_OUTPUT: &str = "(no output)";

/// The system text as an array of blocks.
pub(super) fn render_system(text: &str) -> Shared {
    if text.trim().is_empty() {
        return Shared::from(&b"[]"[..]);
    }
    format!(r#"[{{"type":"text","text":{}}}]"#, json::quote(text)).into_bytes().into()
}

/// The tools as an array, sorted by name, keys in a fixed order.
pub(super) fn render_tools(tools: &[&ToolSpec]) -> Shared {
    let mut tools = tools.to_vec();
    tools.sort_by(|a, b| a.name.cmp(&b.name));
    let rendered: Vec<String> = tools
        .iter()
        .map(|tool| {
            let (name, description) = (json::quote(tool.name.as_str()), json::quote(tool.description));
            // The schema's keys are sorted: `Value` keeps them in a tree.
            format!(r#"{{"name":{name},"description":{description},"input_schema":{}}}"#, shown(&tool.schema))
        })
        .collect();
    format!("[{}]", rendered.join(",")).into_bytes().into()
}

/// What a model needs to know of a schema. Bounds are checked when it calls, and a wrong call is told what was wrong; in every
/// request they would only cost.
fn shown(schema: &Value) -> Value {
    const BOUNDS: [&str; 5] = ["additionalProperties", "maxLength", "maxItems", "minimum", "maximum"];
    match schema {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, value)| {
                let bound = BOUNDS.contains(&name.as_str()) && !value.is_object();
                let nothing = *name == "required" && value.as_array().is_some_and(Vec::is_empty);
                !bound && !nothing
            });
            Value::Object(kept.map(|(name, value)| (name.clone(), shown(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(shown).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => schema.clone(),
    }
}

/// A message from neutral parts; results come first, blank texts and what only the vendor understands are left out.
pub(super) fn render_message(role: Role, parts: &[Part]) -> Option<Shared> {
    let (results, others): (Vec<&Part>, Vec<&Part>) =
        parts.iter().partition(|part| matches!(part.body, PartBody::ToolResult { .. }));
    let blocks: Vec<String> = results.into_iter().chain(others).filter_map(|part| block(role, &part.body)).collect();
    message(role, &blocks)
}

/// A message of these blocks; nothing if there are none.
pub(super) fn message(role: Role, blocks: &[String]) -> Option<Shared> {
    let role = match role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let content = blocks.join(",");
    (!blocks.is_empty()).then(|| format!(r#"{{"role":"{role}","content":[{content}]}}"#).into_bytes().into())
}

fn block(role: Role, body: &PartBody) -> Option<String> {
    match (role, body) {
        (_, PartBody::Text { text }) if !text.trim().is_empty() => {
            Some(format!(r#"{{"type":"text","text":{}}}"#, json::quote(text)))
        }
        (Role::Assistant, PartBody::ToolCall { id, name, input }) => {
            let input = if json::is_object(input) { input.trim() } else { "{}" };
            let (id, name) = (json::quote(id.as_str()), json::quote(name.as_str()));
            Some(format!(r#"{{"type":"tool_use","id":{id},"name":{name},"input":{input}}}"#))
        }
        (Role::User, PartBody::ToolResult { id, content, error }) => {
            let content = if content.trim().is_empty() { NO_OUTPUT } else { content };
            let (id, content) = (json::quote(id.as_str()), json::quote(content));
            let error = if *error { r#","is_error":true"# } else { "" };
            Some(format!(r#"{{"type":"tool_result","tool_use_id":{id},"content":{content}{error}}}"#))
        }
        (Role::User, PartBody::Image { attachment, media_type, bytes }) => {
            Some(files::image(attachment, media_type, *bytes))
        }
        (Role::User, PartBody::Document { attachment, media_type, bytes, title, pages }) => {
            Some(files::document(attachment, media_type, *bytes, title, *pages))
        }
        (_, PartBody::Text { .. } | PartBody::Opaque { .. })
        | (Role::User, PartBody::ToolCall { .. })
        | (Role::Assistant, PartBody::ToolResult { .. } | PartBody::Image { .. } | PartBody::Document { .. }) => None,
    }
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// An answer.
    Answer,
    /// The number of its tokens; the service takes nothing there that only an answer needs.
    Count,
}

/// Puts a request together. Nothing is checked here. Reads the disk if a message shows files.
pub(super) fn body(prompt: &Prompt, purpose: Purpose, blobs: &dyn Blobs) -> Vec<u8> {
    let stored = prompt.messages.iter().map(|message| message.wire.len() + MARK_HOUR.len()).sum::<usize>();
    let shown = prompt.messages.iter().map(files::expanded_bytes).fold(0, u64::saturating_add);
    let shown = usize::try_from(shown).unwrap_or(usize::MAX).min(MODEL_REQUEST_BYTES_MAX);
    let mut body = Vec::with_capacity(HEAD_BYTES + prompt.system.len() + prompt.tools.len() + stored + shown);
    body.extend_from_slice(head(prompt, purpose).as_bytes());
    let (has_system, has_tools) = (*prompt.system != *b"[]", *prompt.tools != *b"[]");
    if has_system {
        append(&mut body, br#","system":"#, &prompt.system, "}]", mark(prompt.marks.system));
    }
    if has_tools {
        // Tools are rendered before the system text, whose mark covers them.
        let mark = mark(prompt.marks.system).filter(|_| !has_system);
        append(&mut body, br#","tools":"#, &prompt.tools, "}]", mark);
    }
    let mut marks = prompt.marks.messages.iter().peekable();
    let mut before: &[u8] = br#","messages":["#;
    for (place, message) in prompt.messages.iter().enumerate() {
        let marked = marks.next_if(|(marked, _)| *marked == place).and_then(|(_, ttl)| mark(*ttl));
        match files::blocks(message) {
            None => append(&mut body, before, &message.wire, "}]}", marked),
            Some(blocks) => {
                body.extend_from_slice(before);
                files::append(&mut body, &blocks, blobs, marked);
            }
        }
        before = b",";
    }
    body.extend_from_slice(if prompt.messages.is_empty() { br#","messages":[]}"# } else { b"]}" });
    body
}

/// What is put into a block that is kept so long.
const fn mark(ttl: Ttl) -> Option<&'static [u8]> {
    match ttl {
        Ttl::None => None,
        Ttl::FiveMinutes => Some(MARK),
        Ttl::Hour => Some(MARK_HOUR),
    }
}

/// Appends stored bytes; if they end in `end`, the block before its first character's close gets the mark.
fn append(body: &mut Vec<u8>, before: &[u8], stored: &[u8], end: &str, mark: Option<&[u8]>) {
    body.extend_from_slice(before);
    match mark.and_then(|mark| Some((stored.strip_suffix(end.as_bytes())?, mark))) {
        Some((stored, mark)) => {
            body.extend_from_slice(stored);
            body.extend_from_slice(mark);
            body.extend_from_slice(end.as_bytes());
        }
        None => body.extend_from_slice(stored),
    }
}

/// Everything that may differ between two requests of an epoch.
fn head(prompt: &Prompt, purpose: Purpose) -> String {
    let mut head = format!(r#"{{"model":{}"#, json::quote(prompt.model.as_str()));
    if purpose == Purpose::Answer {
        head.push_str(&format!(r#","max_tokens":{},"stream":true"#, prompt.max_tokens));
    }
    match prompt.thinking.as_deref() {
        None => {}
        Some("enabled") if prompt.max_tokens > THINKING_BUDGET_MIN => {
            let budget = (prompt.max_tokens / 2).max(THINKING_BUDGET_MIN);
            head.push_str(&format!(r#","thinking":{{"type":"enabled","budget_tokens":{budget}}}"#));
        }
        // No room to think.
        Some("enabled") => {}
        Some("adaptive") => head.push_str(r#","thinking":{"type":"adaptive","display":"omitted"}"#),
        Some(other) => head.push_str(&format!(r#","thinking":{{"type":{}}}"#, json::quote(other))),
    }
    if let Some(effort) = &prompt.effort {
        head.push_str(&format!(r#","output_config":{{"effort":{}}}"#, json::quote(effort)));
    }
    if purpose == Purpose::Answer && !prompt.person.is_empty() {
        head.push_str(&format!(r#","metadata":{{"user_id":{}}}"#, json::quote(&prompt.person)));
    }
    head
}

/// Whose a stored message is, and how many blocks it has.
pub(super) fn shape(role: Role, wire: &[u8]) -> Shape {
    let speaker = match role {
        Role::Assistant => Speaker::Model,
        Role::User if wire.starts_with(RESULTS_HEAD) => Speaker::Tools,
        Role::User => Speaker::Person,
    };
    Shape { speaker, blocks: count_blocks(wire) }
}

fn count_blocks(message: &[u8]) -> usize {
    #[derive(Deserialize)]
    struct Content {
        content: Vec<IgnoredAny>,
    }
    serde_json::from_slice::<Content>(message).map_or(1, |message| message.content.len())
}
