//! Which `messages` arrays are legal: roles, pairing of calls and results, and the shape of every block.
//!
//! Written from the vendor's public documentation of the Messages API, without a look at the product's own validator,
//! which it judges. It refuses to know the rest of the request. Sentences follow the vendor's where those are known.
//! Stricter than the service: it merges neighbours of one role and accepts empty tool results; a client that sends
//! either has lost track of its history, so here both are refused.

use std::collections::HashSet;
use std::fmt::Display;

use serde_json::Value;

use super::media;

/// Most messages of one request.
const MESSAGES_MAX: usize = 100_000;
/// Most images of one request, by the strictest model.
const IMAGES_MAX: usize = 100;
/// Images above which a request's images may have only so many pixels along a side.
const FEW_IMAGES_MAX: usize = 20;
const MANY_IMAGES_SIDE_PX_MAX: u32 = 2_000;
/// Text of the block type that the fake invents, to see that clients keep what they do not know.
pub const FUTURE_BLOCK: &str = "future_block";

/// What the array alone does not tell.
pub struct Context<'a> {
    /// Whether an assistant message with this `content` ended with `pause_turn`: it may be last, or be continued by a
    /// second assistant message.
    pub paused: &'a dyn Fn(&Value) -> bool,
    /// Whether the model takes `role: "system"` among the messages.
    pub system_role: bool,
    /// Whether the request declares the beta of `compaction` blocks.
    pub compaction: bool,
}

/// Judges the `messages` of a conversation in which no reply was paused. The error says where and what.
pub fn judge_history(messages: &Value) -> Result<(), String> {
    judge_messages(messages, &Context { paused: &|_| false, system_role: true, compaction: true })
}

/// Judges `messages` within `context`, in one pass.
pub fn judge_messages(messages: &Value, context: &Context<'_>) -> Result<(), String> {
    let messages = messages.as_array().ok_or("messages: Input should be a valid array")?;
    if messages.is_empty() {
        return Err("messages: at least one message is required".into());
    }
    if messages.len() > MESSAGES_MAX {
        return Err(format!("messages: at most {MESSAGES_MAX} messages are allowed"));
    }
    let mut walk = Walk { context, before: Before::Nothing, open: Vec::new(), ids: HashSet::new(), images: 0, side: 0 };
    for (index, message) in messages.iter().enumerate() {
        walk.message(index, message)?;
    }
    walk.end(messages.len() - 1)
}

/// What precedes a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    User,
    /// `paused`: the next one may be of the assistant as well.
    Assistant {
        paused: bool,
    },
    System,
}

struct Walk<'a> {
    context: &'a Context<'a>,
    before: Before,
    /// Calls of the last assistant message, by index and id.
    open: Vec<&'a str>,
    /// Every call id of the conversation.
    ids: HashSet<&'a str>,
    images: usize,
    /// Pixels along the longest side of any of them.
    side: u32,
}

impl<'a> Walk<'a> {
    fn message(&mut self, index: usize, message: &'a Value) -> Result<(), String> {
        let fields = message.as_object().ok_or_else(|| format!("messages.{index}: Input should be an object"))?;
        let role = fields.get("role").and_then(Value::as_str).unwrap_or_default();
        for key in fields.keys() {
            let known = matches!(key.as_str(), "role" | "content")
                || role == "system" && matches!(key.as_str(), "clear_at" | "output_config");
            if !known {
                return Err(format!("messages.{index}.{key}: Extra inputs are not permitted"));
            }
        }
        let content = &message["content"];
        match role {
            "user" => self.user(index, content),
            "assistant" => self.assistant(index, content),
            "system" => self.system(index, message),
            _ => Err(format!("messages.{index}.role: Input should be 'user', 'assistant' or 'system'")),
        }
    }

    fn user(&mut self, index: usize, content: &'a Value) -> Result<(), String> {
        if self.before == Before::User {
            return Err(alternate(index));
        }
        let mut answered = Vec::new();
        let mut others = false;
        for (at, block) in list(index, content)?.iter().enumerate() {
            let path = Path { message: index, block: at };
            match shape(block, Place::User, path)? {
                Kind::Result(_) if others => {
                    return Err(format!("{path}: `tool_result` blocks must come before any other content"));
                }
                Kind::Result(id) => answered.push((path, id)),
                Kind::Image { side } => {
                    self.image(side);
                    others = true;
                }
                _ => others = true,
            }
            for inner in block["content"].as_array().into_iter().flatten().filter(|inner| inner["type"] == "image") {
                self.image(media::judge_image(inner, path)?);
            }
        }
        if self.images > IMAGES_MAX {
            return Err(format!("messages: at most {IMAGES_MAX} images are allowed"));
        }
        if self.images > FEW_IMAGES_MAX && self.side > MANY_IMAGES_SIDE_PX_MAX {
            return Err(format!(
                "messages: At least one of the image dimensions exceed max allowed size for many-image requests: \
                 {MANY_IMAGES_SIDE_PX_MAX} pixels"
            ));
        }
        self.pair(index, &answered)?;
        self.before = Before::User;
        Ok(())
    }

    fn image(&mut self, side: u32) {
        self.images += 1;
        self.side = self.side.max(side);
    }

    /// Every open call has exactly one of these results, and every result has its call.
    fn pair(&mut self, index: usize, answered: &[(Path, &'a str)]) -> Result<(), String> {
        if self.open.is_empty() && answered.is_empty() {
            return Ok(());
        }
        let mut seen = HashSet::with_capacity(answered.len());
        let open: HashSet<&str> = self.open.iter().copied().collect();
        for (path, id) in answered {
            if !open.contains(id) {
                return Err(format!(
                    "{path}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block \
                     must have a corresponding `tool_use` block in the previous message."
                ));
            }
            if !seen.insert(*id) {
                return Err(format!(
                    "{path}: each tool_use must have a single result. Found multiple `tool_result` blocks with id: {id}"
                ));
            }
        }
        let missing: Vec<&str> = self.open.drain(..).filter(|id| !seen.contains(id)).collect();
        if missing.is_empty() { Ok(()) } else { Err(dangling(index.saturating_sub(1), &missing)) }
    }

    fn assistant(&mut self, index: usize, content: &'a Value) -> Result<(), String> {
        let blocks = list(index, content)?;
        let compaction = blocks.first().is_some_and(|block| block["type"] == "compaction");
        let allowed = match self.before {
            Before::Nothing => compaction,
            Before::User | Before::System => !compaction,
            Before::Assistant { paused } => paused && self.open.is_empty() && !compaction,
        };
        if !allowed {
            return Err(match self.before {
                _ if compaction => format!("messages.{index}: a `compaction` block must open the conversation"),
                Before::Nothing => "messages: first message must use the \"user\" role".into(),
                _ => alternate(index),
            });
        }
        if compaction && (blocks.len() > 1 || !self.context.compaction) {
            return Err(format!(
                "messages.{index}: a `compaction` block stands alone and needs its beta header on every request"
            ));
        }
        for (at, block) in blocks.iter().enumerate() {
            let path = Path { message: index, block: at };
            if let Kind::Call(id) = shape(block, Place::Assistant, path)? {
                if !self.ids.insert(id) {
                    return Err(format!("{path}: `tool_use` ids must be unique, found {id} twice"));
                }
                self.open.push(id);
            }
        }
        self.before = Before::Assistant { paused: compaction || (self.context.paused)(content) };
        Ok(())
    }

    fn system(&mut self, index: usize, message: &Value) -> Result<(), String> {
        if !self.context.system_role {
            return Err(format!("messages.{index}: role 'system' is not supported on this model"));
        }
        // Two in a row are refused by one page of the documentation and merged by another; the stricter one counts.
        if self.before != Before::User || !self.open.is_empty() {
            return Err(format!("messages.{index}: a system message must directly follow a user message"));
        }
        if !matches!(message["clear_at"].as_str(), None | Some("never" | "next_user_message")) {
            return Err(format!("messages.{index}.clear_at: Input should be 'never' or 'next_user_message'"));
        }
        if message.get("content").is_some() {
            for (at, block) in list(index, &message["content"])?.iter().enumerate() {
                shape(block, Place::System, Path { message: index, block: at })?;
            }
        } else if message.get("output_config").is_none() {
            return Err(format!("messages.{index}: a system message needs `content` or `output_config`"));
        }
        self.before = Before::System;
        Ok(())
    }

    fn end(&self, last: usize) -> Result<(), String> {
        match self.before {
            _ if !self.open.is_empty() => Err(dangling(last, &self.open)),
            Before::Assistant { paused: false } => Err("This model does not support assistant message prefill. The \
                                                        conversation must end with a user message."
                .into()),
            _ => Ok(()),
        }
    }
}

fn alternate(index: usize) -> String {
    format!("messages.{index}: roles must alternate between \"user\" and \"assistant\"")
}

fn dangling(index: usize, ids: &[&str]) -> String {
    format!(
        "messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each \
         `tool_use` block must have a corresponding `tool_result` block in the next message.",
        ids.join(", ")
    )
}

/// Blocks of a content; a text alone gives none, after its check.
fn list(index: usize, content: &Value) -> Result<&[Value], String> {
    match content {
        Value::String(text) => filled(text, format_args!("messages.{index}.content")).map(|()| &[][..]),
        Value::Array(blocks) if blocks.is_empty() => {
            Err(format!("messages.{index}: all messages must have non-empty content"))
        }
        Value::Array(blocks) => Ok(blocks),
        _ => Err(format!("messages.{index}.content: Input should be a valid string or array")),
    }
}

fn filled(text: &str, path: impl Display) -> Result<(), String> {
    if text.is_empty() {
        Err(format!("{path}: text content blocks must be non-empty"))
    } else if text.trim().is_empty() {
        Err(format!("{path}: text content blocks must contain non-whitespace text"))
    } else {
        Ok(())
    }
}

/// Where a block stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a user message.
    User,
    /// In an assistant message.
    Assistant,
    /// In the top-level `system` or in a system message.
    System,
    /// Inside a `tool_result`.
    Result,
}

/// What the pairing rules want to know of a block.
enum Kind<'a> {
    Call(&'a str),
    Result(&'a str),
    /// Pixels along its longer side.
    Image {
        side: u32,
    },
    Other,
}

#[derive(Clone, Copy)]
struct Path {
    message: usize,
    block: usize,
}

impl Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "messages.{}.content.{}", self.message, self.block)
    }
}

/// Judges one block of the top-level `system`.
pub fn judge_system_block(block: &Value, index: usize) -> Result<(), String> {
    shape(block, Place::System, format_args!("system.{index}")).map(|_| ())
}

/// Fields, types and place of one block.
fn shape<'a>(block: &'a Value, place: Place, path: impl Display + Copy) -> Result<Kind<'a>, String> {
    let kind = block["type"].as_str().unwrap_or_default();
    let (fields, places): (&[&str], &[Place]) = match kind {
        "text" => {
            (&["text", "cache_control", "citations"], &[Place::User, Place::Assistant, Place::System, Place::Result])
        }
        "image" => (&["source", "cache_control", "transformations"], &[Place::User, Place::Result]),
        "document" => (&["source", "title", "context", "citations", "cache_control"], &[Place::User, Place::Result]),
        "thinking" => (&["thinking", "signature"], &[Place::Assistant]),
        "redacted_thinking" => (&["data"], &[Place::Assistant]),
        "tool_use" => (&["id", "name", "input", "cache_control", "caller", "toolset_name"], &[Place::Assistant]),
        "tool_result" => (&["tool_use_id", "content", "is_error", "cache_control"], &[Place::User]),
        "tool_reference" => (&["tool_name"], &[Place::Result]),
        "search_result" => (&["source", "title", "content", "citations", "cache_control"], &[Place::Result]),
        "server_tool_use" => (&["id", "name", "input", "cache_control", "caller"], &[Place::Assistant]),
        "tool_search_tool_result" => (&["tool_use_id", "content", "cache_control"], &[Place::Assistant]),
        "compaction" => {
            (&["content", "signature", "encrypted_content", "tool_changes", "cache_control"], &[Place::Assistant])
        }
        FUTURE_BLOCK => (&["payload"], &[Place::Assistant]),
        _ => return Err(format!("{path}.type: Input tag '{kind}' does not match any of the expected tags")),
    };
    if !places.contains(&place) {
        return Err(format!("{path}: `{kind}` blocks are not permitted here"));
    }
    let given = block.as_object().into_iter().flat_map(|block| block.keys());
    if let Some(extra) = given.into_iter().find(|key| *key != "type" && !fields.contains(&key.as_str())) {
        return Err(format!("{path}.{kind}.{extra}: Extra inputs are not permitted"));
    }
    let string = |name: &str| {
        block[name].as_str().ok_or_else(|| format!("{path}.{kind}.{name}: Input should be a valid string"))
    };
    match kind {
        "text" => {
            filled(string("text")?, path)?;
            let cited = block["citations"].as_array().is_some_and(|list| !list.is_empty());
            if cited && place != Place::Assistant {
                return Err(format!("{path}.text.citations: citations are not permitted here"));
            }
        }
        "image" => return Ok(Kind::Image { side: media::judge_image(block, path)? }),
        "document" => media::judge_document(block, path)?,
        "thinking" => {
            string("thinking")?;
            string("signature")?;
        }
        "redacted_thinking" => {
            string("data")?;
        }
        "tool_use" | "server_tool_use" => {
            let id = string("id")?;
            if !name_is_legal(id, usize::MAX) {
                return Err(format!("{path}.{kind}.id: String should match pattern '^[a-zA-Z0-9_-]+$'"));
            }
            if !name_is_legal(string("name")?, 64) {
                return Err(format!("{path}.{kind}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"));
            }
            if !block["input"].is_object() {
                return Err(format!("{path}.{kind}.input: Input should be an object"));
            }
            if kind == "tool_use" {
                return Ok(Kind::Call(id));
            }
        }
        "tool_result" => {
            result_content(block, path)?;
            return Ok(Kind::Result(string("tool_use_id")?));
        }
        "tool_reference" => {
            string("tool_name")?;
        }
        FUTURE_BLOCK if block["payload"] != FUTURE_PAYLOAD => {
            return Err(format!("{path}: this block was not kept as it came"));
        }
        _ => {}
    }
    Ok(Kind::Other)
}

/// The text that the invented block carries.
pub const FUTURE_PAYLOAD: &str = "kept verbatim";

/// `^[a-zA-Z0-9_-]{1,max}$`
pub fn name_is_legal(name: &str, max: usize) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !name.is_empty() && name.len() <= max && name.bytes().all(legal)
}

fn result_content(block: &Value, path: impl Display + Copy) -> Result<(), String> {
    if !matches!(block.get("is_error"), None | Some(Value::Bool(_))) {
        return Err(format!("{path}.tool_result.is_error: Input should be a valid boolean"));
    }
    match &block["content"] {
        Value::String(text) => filled(text, format_args!("{path}.tool_result.content")),
        Value::Array(blocks) if !blocks.is_empty() => blocks.iter().enumerate().try_for_each(|(at, inner)| {
            shape(inner, Place::Result, format_args!("{path}.tool_result.content.{at}").to_string().as_str())
                .map(|_| ())
        }),
        Value::Array(_) | Value::Null => Err(format!("{path}.tool_result: content must be non-empty")),
        _ => Err(format!("{path}.tool_result.content: Input should be a valid string or array")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user(text: &str) -> Value {
        json!({ "role": "user", "content": text })
    }

    fn call(ids: &[&str]) -> Value {
        let calls: Vec<Value> =
            ids.iter().map(|id| json!({ "type": "tool_use", "id": id, "name": "now", "input": {} })).collect();
        json!({ "role": "assistant", "content": calls })
    }

    fn results(ids: &[&str]) -> Value {
        let results: Vec<Value> =
            ids.iter().map(|id| json!({ "type": "tool_result", "tool_use_id": id, "content": "noon" })).collect();
        json!({ "role": "user", "content": results })
    }

    fn check(messages: &[Value], expect: &str) {
        let verdict = judge_history(&json!(messages)).err().unwrap_or_default();
        let fits = if expect.is_empty() { verdict.is_empty() } else { verdict.contains(expect) };
        assert!(fits, "expected {expect:?}, got {verdict:?} for {}", json!(messages));
    }

    #[test]
    fn pairing() {
        check(&[user("a"), call(&["x", "y"]), results(&["y", "x"])], "");
        check(&[user("a"), call(&["x"])], "without `tool_result` blocks immediately after: x");
        check(&[user("a"), call(&["x", "y"]), results(&["x"])], "immediately after: y");
        check(&[user("a"), call(&["x"]), user("b")], "immediately after: x");
        check(&[user("a"), call(&["x"]), results(&["x", "x"])], "multiple `tool_result` blocks");
        check(&[user("a"), call(&["x"]), results(&["z"])], "unexpected `tool_use_id`");
        check(&[user("a"), call(&["x"]), results(&["x"]), call(&["x"]), results(&["x"])], "must be unique");
        check(&[results(&["x"])], "unexpected `tool_use_id`");
        check(&[user("a"), call(&[""]), results(&[""])], "tool_use.id");
        let mut late = results(&["x"]);
        late["content"].as_array_mut().unwrap().insert(0, json!({ "type": "text", "text": "t" }));
        check(&[user("a"), call(&["x"]), late], "must come before");
    }

    #[test]
    fn roles_and_texts() {
        let said = json!({ "role": "assistant", "content": [{ "type": "text", "text": "b" }] });
        check(&[user("a"), said.clone(), user("c")], "");
        check(&[user("a"), user("c")], "roles must alternate");
        check(&[user("a"), said.clone()], "prefill");
        check(&[said.clone(), user("a")], "first message");
        check(&[user(" \n")], "non-whitespace");
        check(&[user("")], "non-empty");
        check(&[json!({ "role": "user", "content": [] })], "non-empty content");
        check(&[], "at least one");
        let system = json!({ "role": "system", "content": "It is noon." });
        check(&[user("a"), system.clone()], "");
        check(&[user("a"), system.clone(), said.clone(), user("b")], "");
        check(&[user("a"), system.clone(), system.clone()], "directly follow");
        check(&[system], "directly follow");
        check(&[json!({ "role": "user", "content": [{ "type": "text", "text": "a", "colour": 1 }] })], "Extra inputs");
        check(&[json!({ "role": "user", "content": [{ "type": "thinking", "thinking": "" }] })], "not permitted here");
        let empty = json!({ "type": "tool_result", "tool_use_id": "x", "is_error": true });
        check(&[user("a"), call(&["x"]), json!({ "role": "user", "content": [empty] })], "must be non-empty");
    }

    #[test]
    fn pictures_and_documents() {
        let source = |media: &str, bytes: &[u8]| {
            let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
            json!({ "type": "base64", "media_type": media, "data": data })
        };
        let image = |side: u32| json!({ "type": "image", "source": source("image/png", &media::png(side, 1)) });
        let document = json!({ "type": "document", "source": source("application/pdf", &media::pdf("x")) });
        let says = |role: &str, content: Vec<Value>| json!({ "role": role, "content": content });
        let text = json!({ "type": "text", "text": "a" });
        check(&[says("user", vec![image(8_000), text, document.clone()])], "");
        check(&[says("user", vec![image(8_001)])], "max allowed size: 8000");
        check(&[says("user", vec![image(2_000); 100])], "");
        check(&[says("user", vec![image(2_000); 101])], "at most 100 images");
        check(&[says("user", vec![image(2_001); 20])], "");
        check(&[says("user", vec![image(2_001); 21])], "many-image requests");
        check(&[user("a"), says("assistant", vec![document.clone()]), user("b")], "not permitted here");
        let result = |inner: Value| {
            let result = json!({ "type": "tool_result", "tool_use_id": "x", "content": [inner] });
            [user("a"), call(&["x"]), says("user", vec![result])]
        };
        check(&result(image(10)), "");
        check(&result(document), "");
        check(&result(image(9_000)), "max allowed size");
    }

    #[test]
    fn a_paused_reply_may_be_last_or_continued() {
        let said = |text: &str| json!({ "role": "assistant", "content": [{ "type": "text", "text": text }] });
        let paused = |content: &Value| content[0]["text"] == "wait";
        let context = Context { paused: &paused, system_role: true, compaction: false };
        let judge = |messages: Value| judge_messages(&messages, &context);
        assert_eq!(judge(json!([user("a"), said("wait")])), Ok(()));
        assert_eq!(judge(json!([user("a"), said("wait"), said("done"), user("b")])), Ok(()));
        assert!(judge(json!([user("a"), said("done"), said("wait")])).is_err());
        assert!(judge(json!([user("a"), said("wait"), said("done")])).is_err());
    }
}
