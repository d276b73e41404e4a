//! What every provider must do, whatever is behind it; and a provider in memory, which is the second one to pass.
//!
//! The model behind the provider must obey the directives of [`crate::messages::brain`]. The suite plays the runtime: it
//! keeps what it is told to keep and sends it back. It refuses to know any vendor's words: formats, faults and limits of
//! one are the business of that provider's own tests.

use crate::messages::{Block, brain, judge_history, media};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blufio_core::content::attachments;
use blufio_core::context::caching::{Lifetimes, Marks, Shape, Size, Speaker, Ttl, marks};
use blufio_core::context::estimate::{Milli, Tokenizer};
use blufio_core::ids::{AttachmentId, CallId, ModelId, ToolName};
use blufio_core::message::{Body, Origin, Part, Role, StopReason, Usage, visible_text};
use blufio_core::port::{
    AnyProvider, BlobError, Blobs, Delta, DeltaSink, Failure, Prompt, PromptMessage, Provider, ProviderError, Reply,
    ToolSpec,
};
use blufio_core::record::Shared;
use blufio_core::time::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Runs the whole suite against `model`. The provider finds its files in `shelf`.
pub async fn run(provider: &dyn AnyProvider, model: &str, shelf: &Shelf) {
    rendering(provider);
    a_text_is_streamed_and_kept(provider, model).await;
    a_conversation_goes_on_with_the_kept_bytes(provider, model).await;
    calls_are_answered_together(provider, model).await;
    endings_are_told(provider, model).await;
    a_broken_history_is_not_sent(provider, model).await;
    a_dropped_call_harms_nothing(provider, model).await;
    files_are_seen(provider, model, shelf).await;
    files_that_are_gone_are_named(provider, model, shelf).await;
}

/// The tools `now` and `list_files`, without arguments.
pub fn tools() -> [ToolSpec; 2] {
    ["now", "list_files"].map(|name| {
        let schema = json!({ "type": "object", "properties": {}, "additionalProperties": false });
        ToolSpec::new(name, "A tool of the contract suite.", schema)
    })
}

/// A conversation with a provider, kept as the runtime keeps it.
pub struct Conversation<'a> {
    provider: &'a dyn AnyProvider,
    /// What the next call sends.
    pub prompt: Prompt,
}

impl<'a> Conversation<'a> {
    /// An empty one, with [`tools`].
    pub fn new(provider: &'a dyn AnyProvider, model: &str) -> Self {
        let tools = tools();
        let prompt = Prompt {
            request: "contract".to_owned(),
            model: ModelId::new(model),
            max_tokens: 1_024,
            effort: None,
            thinking: None,
            person: "contract".to_owned(),
            system: provider.render_system("You are the subject of a contract suite."),
            tools: provider.render_tools(&tools.iter().collect::<Vec<_>>()),
            messages: Vec::new(),
            marks: Marks::default(),
        };
        Self { provider, prompt }
    }

    /// Appends stored bytes.
    pub fn keep(&mut self, role: Role, wire: Shared) {
        let shape = self.provider.shape(role, &wire);
        self.prompt.messages.push(PromptMessage { role, wire, shape });
    }

    /// Appends a user message of one text.
    pub fn say(&mut self, text: &str) {
        self.show(&[Part::text(Origin::Owner, text)]);
    }

    /// Appends a user message of these parts.
    pub fn show(&mut self, parts: &[Part]) {
        self.keep(Role::User, self.provider.render_message(Role::User, parts).expect("the parts are something"));
    }

    /// Tokens of the prompt, estimated.
    pub fn tokens(&self) -> u64 {
        let Prompt { system, tools, messages, .. } = &self.prompt;
        let said = messages.iter().map(|message| self.provider.measure(message, Tokenizer::Newer));
        self.provider.measure_frozen(system, tools, Tokenizer::Newer).plus(said.sum()).tokens()
    }

    /// The prompt as it is sent, with its marks.
    pub fn marked(&self) -> Prompt {
        let shapes: Vec<Shape> = self.prompt.messages.iter().map(|message| message.shape).collect();
        let size = Size { frozen: 1, whole: 1, cache_min: 1 };
        let lifetimes = Lifetimes { system: Ttl::Hour, messages: Ttl::FiveMinutes };
        Prompt { marks: marks(&shapes, size, lifetimes), ..self.prompt.clone() }
    }

    /// Makes one try and gives the shown text with the reply; nothing is kept.
    pub async fn ask(&self) -> (Result<Reply, ProviderError>, String) {
        let shown = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&shown);
        let deltas: DeltaSink = Box::new(move |delta| sink.lock().expect("no test panics in between").push(delta));
        let reply = tokio::time::timeout(ANSWER_LIMIT, self.provider.complete(self.marked(), deltas)).await;
        let text = text_of(&shown.lock().expect("no test panics in between"));
        (reply.expect("an answer within the limit"), text)
    }

    /// Makes one try, which must succeed, and keeps the reply.
    pub async fn answer(&mut self) -> Reply {
        let (reply, shown) = self.ask().await;
        let reply = reply.unwrap_or_else(|error| panic!("{:?}: {error}", error.failure));
        assert_eq!(shown, visible_text(&reply.parts), "what was shown is what is kept");
        if let Some(wire) = &reply.wire {
            self.keep(Role::Assistant, wire.clone());
        }
        reply
    }

    /// Appends one message that answers every call of `reply` with `content`.
    pub fn answer_calls(&mut self, reply: &Reply, content: &str) {
        let result = |id: CallId| Part {
            origin: Origin::Tool,
            private: false,
            body: Body::ToolResult { id, content: content.to_owned(), error: false },
        };
        let results: Vec<Part> = calls(reply).into_iter().map(|(id, ..)| result(id)).collect();
        self.keep(Role::User, self.provider.render_message(Role::User, &results).expect("results are something"));
    }
}

/// Id, name and input of the calls in a reply.
pub fn calls(reply: &Reply) -> Vec<(CallId, String, String)> {
    let call = |part: &Part| match &part.body {
        Body::ToolCall { id, name, input } => Some((id.clone(), name.as_str().to_owned(), input.clone())),
        _ => None,
    };
    reply.parts.iter().filter_map(call).collect()
}

/// Deltas as a person reads them.
fn text_of(deltas: &[Delta]) -> String {
    let mut blocks: Vec<String> = Vec::new();
    for delta in deltas {
        match delta {
            Delta::TextBlock => blocks.push(String::new()),
            Delta::Text(text) => blocks.last_mut().expect("a block begins before its text").push_str(text),
        }
    }
    blocks.retain(|block| !block.trim().is_empty());
    blocks.join("\n\n")
}

fn rendering(provider: &dyn AnyProvider) {
    let [a, b] = tools();
    assert_eq!(provider.render_tools(&[&a, &b]), provider.render_tools(&[&b, &a]), "tools are sorted");
    assert_eq!(provider.render_system("x"), provider.render_system("x"));
    assert_ne!(provider.render_system("x"), provider.render_system("y"));
    let opaque = Part { body: Body::Opaque { kind: "thinking".into() }, ..Part::text(Origin::Model, "x") };
    for role in [Role::User, Role::Assistant] {
        assert_eq!(provider.render_message(role, &[]), None, "nothing is nothing");
        assert_eq!(provider.render_message(role, std::slice::from_ref(&opaque)), None, "nobody else's blocks");
        assert_eq!(provider.render_message(role, &[Part::text(Origin::Engine, " \n")]), None, "blanks are nothing");
        let text = Part::text(Origin::Engine, "x");
        let both = provider.render_message(role, &[opaque.clone(), text.clone()]);
        assert_eq!(both, provider.render_message(role, &[text]));
        assert!(both.is_some());
    }
}

async fn a_text_is_streamed_and_kept(provider: &dyn AnyProvider, model: &str) {
    let mut talk = Conversation::new(provider, model);
    talk.say("[say:good morning, ørret 🐟]");
    let estimate = talk.tokens();
    let reply = talk.answer().await;
    assert!(visible_text(&reply.parts).contains("good morning, ørret 🐟"));
    assert_eq!(reply.stop, StopReason::EndTurn);
    assert!(reply.wire.is_some() && !reply.cut_tool_call && reply.refusal.is_none());
    let usage = reply.usage.expect("the model counts");
    assert!(usage.output > 0 && usage.prompt() > 0);
    assert!(estimate >= usage.prompt(), "the estimate errs upwards: {estimate} for {}", usage.prompt());
    talk.say("more");
    assert!(talk.tokens() > estimate);
}

async fn a_conversation_goes_on_with_the_kept_bytes(provider: &dyn AnyProvider, model: &str) {
    let mut talk = Conversation::new(provider, model);
    for number in 0..3 {
        talk.say(&format!("#{number}"));
        let reply = talk.answer().await;
        assert!(visible_text(&reply.parts).contains(&format!("answer #{number}")), "{:?}", reply.parts);
    }
}

async fn calls_are_answered_together(provider: &dyn AnyProvider, model: &str) {
    let mut talk = Conversation::new(provider, model);
    talk.say(r#"[tool:now {}] [tool:list_files {"path": "a", "exact": 1.0}]"#);
    let reply = talk.answer().await;
    assert_eq!(reply.stop, StopReason::ToolUse);
    let found = calls(&reply);
    let wanted = [("now", "{}"), ("list_files", r#"{"path": "a", "exact": 1.0}"#)];
    assert_eq!(found.iter().map(|(_, name, input)| (name.as_str(), input.as_str())).collect::<Vec<_>>(), wanted);
    assert_ne!(found[0].0, found[1].0, "ids are unique");
    talk.answer_calls(&reply, "noon");
    let reply = talk.answer().await;
    assert!(visible_text(&reply.parts).contains("noon"), "{:?}", reply.parts);
}

async fn endings_are_told(provider: &dyn AnyProvider, model: &str) {
    let mut talk = Conversation::new(provider, model);
    talk.say("[refuse]");
    let reply = talk.answer().await;
    assert_eq!(reply.stop, StopReason::Refusal);
    let mut talk = Conversation::new(provider, model);
    talk.say("[empty]");
    let reply = talk.answer().await;
    assert_eq!((reply.stop, reply.wire, reply.parts), (StopReason::EndTurn, None, vec![]));
    let mut talk = Conversation::new(provider, model);
    talk.say("[pause:2] [say:done]");
    for expect in [StopReason::PauseTurn, StopReason::PauseTurn, StopReason::EndTurn] {
        assert_eq!(talk.answer().await.stop, expect);
    }
    talk.say("[say:more]");
    assert_eq!(talk.answer().await.stop, StopReason::EndTurn);
}

async fn a_broken_history_is_not_sent(provider: &dyn AnyProvider, model: &str) {
    let mut talk = Conversation::new(provider, model);
    talk.say("[tool:now {}]");
    talk.answer().await;
    talk.say("never mind");
    let error = talk.ask().await.0.expect_err("a call without its result");
    assert_eq!((error.failure, error.reached), (Failure::Rejected, false));
}

async fn a_dropped_call_harms_nothing(provider: &dyn AnyProvider, model: &str) {
    let mut talk = Conversation::new(provider, model);
    talk.say("[slow:60000] [say:too late]");
    let soon = tokio::time::timeout(Duration::from_millis(20), talk.ask()).await;
    assert!(soon.is_err(), "the answer was to be slow");
    let mut talk = Conversation::new(provider, model);
    talk.say("[say:still here]");
    assert!(visible_text(&talk.answer().await.parts).contains("still here"));
}

async fn files_are_seen(provider: &dyn AnyProvider, model: &str, shelf: &Shelf) {
    let mut talk = Conversation::new(provider, model);
    let text = |text: &str| Part::text(Origin::Owner, text);
    let bare = {
        talk.say("[describe]");
        talk.tokens()
    };
    talk.prompt.messages.clear();
    let (wide, small) = (shelf.image(&media::png(1_200, 900)), shelf.image(&media::jpeg(100, 50)));
    talk.show(&[wide, text("[describe]"), shelf.document("a \"b\".pdf"), small]);
    let estimate = talk.tokens();
    assert!(estimate > bare + 1_440, "a picture counts: {estimate} for it, {bare} without");
    let reply = talk.answer().await;
    let said = visible_text(&reply.parts);
    assert!(said.contains("I see 2 pictures (1200x900, 100x50) and 1 document (a \"b\".pdf)."), "{said}");
    let used = reply.usage.expect("the model counts").prompt();
    assert!(used > 1_440 && estimate >= used, "the estimate errs upwards: {estimate} for {used}");
    // A message with nothing but a picture, and what was shown before stays shown.
    talk.show(&[shelf.image(&media::png(3, 4))]);
    talk.answer().await;
    talk.say("[describe:all]");
    let said = visible_text(&talk.answer().await.parts);
    assert!(said.contains("I see 3 pictures (1200x900, 100x50, 3x4) and 1 document"), "{said}");
    // The words of the mark that stands for a file are words.
    let quoted = r#""data":"blufio-attachment:00:3" [echo]"#;
    talk.say(quoted);
    assert!(visible_text(&talk.answer().await.parts).contains(quoted));
    let picture = shelf.image(&media::png(3, 4));
    assert_eq!(provider.render_message(Role::Assistant, &[picture]), None, "models send no pictures");
}

async fn files_that_are_gone_are_named(provider: &dyn AnyProvider, model: &str, shelf: &Shelf) {
    let mut talk = Conversation::new(provider, model);
    let (gone, kept) = (shelf.image(&media::png(5, 6)), shelf.image(&media::png(7, 8)));
    if let Body::Image { attachment, .. } = &gone.body {
        shelf.forget(attachment);
    }
    talk.show(&[gone, kept, Part::text(Origin::Owner, "[describe] [echo]")]);
    let said = visible_text(&talk.answer().await.parts);
    assert!(said.contains("I see 1 picture (7x8) and no documents."), "{said}");
    assert!(said.contains("[this file is no longer stored] | [describe] [echo]"), "{said}");
}

/// Stored files in memory.
#[derive(Debug, Default)]
pub struct Shelf(Mutex<BTreeMap<AttachmentId, Vec<u8>>>);

impl Shelf {
    /// Takes a file away, as if somebody had deleted it.
    pub fn forget(&self, id: &AttachmentId) {
        self.files().remove(id);
    }

    /// Stores a picture; the part that shows it.
    pub fn image(&self, bytes: &[u8]) -> Part {
        let attachment = self.put(bytes).expect("there is room");
        let media_type = if bytes.starts_with(b"\x89PNG") { "image/png" } else { "image/jpeg" }.to_owned();
        let body = Body::Image { attachment, media_type, bytes: bytes.len() as u64 };
        Part { origin: Origin::File, private: false, body }
    }

    /// Stores a small document; the part that shows it.
    pub fn document(&self, title: &str) -> Part {
        let content = media::pdf(title);
        let attachment = self.put(&content).expect("there is room");
        let (media_type, bytes) = ("application/pdf".to_owned(), content.len() as u64);
        let body = Body::Document { attachment, media_type, bytes, title: title.to_owned(), pages: 1 };
        Part { origin: Origin::File, private: false, body }
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<AttachmentId, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blobs for Shelf {
    fn put(&self, bytes: &[u8]) -> Result<AttachmentId, BlobError> {
        let id: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let id = AttachmentId::new(id);
        self.files().insert(id.clone(), bytes.to_vec());
        Ok(id)
    }

    fn get(&self, id: &AttachmentId) -> Result<Vec<u8>, BlobError> {
        self.files().get(id).cloned().ok_or(BlobError::Gone)
    }

    fn bytes(&self) -> u64 {
        self.files().values().map(|bytes| bytes.len() as u64).sum()
    }

    fn sweep(&self, keep: &BTreeSet<AttachmentId>, _days: u32, _now: Timestamp) -> Result<u64, BlobError> {
        let before = self.bytes();
        self.files().retain(|id, _| keep.contains(id));
        Ok(before - self.bytes())
    }
}

/// A provider in memory: the model is [`brain`], messages are plain JSON, a token is four bytes.
#[derive(Default)]
pub struct MemoryProvider {
    ids: AtomicU64,
    shelf: Arc<Shelf>,
}

/// A file inside of a rendered message: this, its name and its size.
const MARK: &str = "blufio-attachment:";
/// What any file counts.
const FILE_TOKENS: u64 = 1_600;
/// In a message with results of tools.
const RESULT: &[u8] = br#""tool_result""#;

impl MemoryProvider {
    /// One whose files are in `shelf`.
    pub fn new(shelf: Arc<Shelf>) -> Self {
        Self { shelf, ..Self::default() }
    }

    fn body(&self, prompt: &Prompt) -> Value {
        let parse = |bytes: &Shared| serde_json::from_slice::<Value>(bytes).expect("we rendered it");
        let mut messages: Vec<Value> = prompt.messages.iter().map(|message| parse(&message.wire)).collect();
        for block in messages.iter_mut().flat_map(|message| message["content"].as_array_mut().into_iter().flatten()) {
            let mark = block["source"]["data"].as_str().and_then(|data| data.strip_prefix(MARK));
            let Some((id, _)) = mark.and_then(|mark| mark.split_once(':')) else { continue };
            match self.shelf.get(&AttachmentId::new(id)) {
                Ok(bytes) => block["source"]["data"] = json!(STANDARD.encode(bytes)),
                Err(_) => *block = json!({ "type": "text", "text": "[this file is no longer stored]" }),
            }
        }
        json!({ "tools": parse(&prompt.tools), "messages": messages })
    }

    fn part(&self, block: Block) -> Option<Part> {
        let body = match block {
            Block::Text(text) => Body::Text { text },
            Block::Tool { id, name, input } => {
                let fresh = || format!("call_{}", self.ids.fetch_add(1, Ordering::Relaxed));
                Body::ToolCall { id: CallId::new(id.unwrap_or_else(fresh)), name: ToolName::new(name), input }
            }
            Block::Thinking(_) | Block::Redacted | Block::Raw(_) => return None,
        };
        Some(Part { origin: Origin::Model, private: false, body })
    }
}

impl Provider for MemoryProvider {
    async fn count(&self, prompt: Prompt) -> Result<u64, ProviderError> {
        Ok(prompt.messages.iter().map(|message| message.wire.len() as u64).sum())
    }

    fn name(&self) -> &'static str {
        "memory"
    }

    fn render_system(&self, text: &str) -> Shared {
        json!(text).to_string().into_bytes().into()
    }

    fn render_tools(&self, tools: &[&ToolSpec]) -> Shared {
        let mut names: Vec<Value> = tools.iter().map(|tool| json!({ "name": tool.name.as_str() })).collect();
        names.sort_by_key(|tool| tool["name"].to_string());
        json!(names).to_string().into_bytes().into()
    }

    fn render_message(&self, role: Role, parts: &[Part]) -> Option<Shared> {
        let source = |attachment: &AttachmentId, media_type: &str, bytes: u64| json!({ "type": "base64", "media_type": media_type, "data": format!("{MARK}{attachment}:{bytes}") });
        let block = |part: &Part| match &part.body {
            Body::Text { text } if text.trim().is_empty() => None,
            Body::Text { text } => Some(json!({ "type": "text", "text": text })),
            Body::ToolCall { id, name, input } => {
                let input: Value = serde_json::from_str(input).unwrap_or_else(|_| json!({}));
                Some(json!({ "type": "tool_use", "id": id.as_str(), "name": name.as_str(), "input": input }))
            }
            Body::ToolResult { id, content, error } => Some(
                json!({ "type": "tool_result", "tool_use_id": id.as_str(), "content": content, "is_error": error }),
            ),
            Body::Image { attachment, media_type, bytes } if role == Role::User => {
                Some(json!({ "type": "image", "source": source(attachment, media_type, *bytes) }))
            }
            Body::Document { attachment, media_type, bytes, title, .. } if role == Role::User => {
                Some(json!({ "type": "document", "source": source(attachment, media_type, *bytes), "title": title }))
            }
            Body::Image { .. } | Body::Document { .. } | Body::Opaque { .. } => None,
        };
        let blocks: Vec<Value> = parts.iter().filter_map(block).collect();
        let role = if role == Role::User { "user" } else { "assistant" };
        (!blocks.is_empty()).then(|| json!({ "role": role, "content": blocks }).to_string().into_bytes().into())
    }

    fn shape(&self, role: Role, wire: &Shared) -> Shape {
        let has_results = wire.windows(RESULT.len()).any(|window| window == RESULT);
        let speaker = match role {
            Role::Assistant => Speaker::Model,
            Role::User if has_results => Speaker::Tools,
            Role::User => Speaker::Person,
        };
        Shape { speaker, blocks: 1 }
    }

    fn measure(&self, message: &PromptMessage, _: Tokenizer) -> Milli {
        let files = attachments(&message.wire).count() as u64;
        Milli(1_000 * (message.wire.len().div_ceil(4) as u64 + files * FILE_TOKENS))
    }

    fn measure_frozen(&self, system: &Shared, tools: &Shared, _: Tokenizer) -> Milli {
        Milli(1_000 * (system.len() + tools.len()).div_ceil(4) as u64)
    }

    async fn complete(&self, prompt: Prompt, mut deltas: DeltaSink) -> Result<Reply, ProviderError> {
        let body = self.body(&prompt);
        let paused = prompt.messages.windows(2).any(|pair| pair[0].role == pair[1].role)
            || prompt.messages.last().is_some_and(|last| last.role == Role::Assistant);
        if let Err(message) = judge_history(&body["messages"])
            && !paused
        {
            let failure = Failure::Rejected;
            return Err(ProviderError {
                failure,
                message,
                retry_after: None,
                request: None,
                reached: false,
                usage: None,
            });
        }
        let plan = brain::plan(&body, &brain::turn(&body));
        tokio::time::sleep(Duration::from_millis(plan.first_token_ms)).await;
        let parts: Vec<Part> = plan.blocks.into_iter().filter_map(|block| self.part(block)).collect();
        for part in &parts {
            if let Body::Text { text } = &part.body {
                deltas(Delta::TextBlock);
                deltas(Delta::Text(text.clone()));
            }
        }
        let wire = Provider::render_message(self, Role::Assistant, &parts);
        let called = parts.iter().any(|part| matches!(part.body, Body::ToolCall { .. }));
        let output = wire.as_ref().map_or(1, |wire| wire.len() as u64);
        Ok(Reply {
            request: None,
            stop: match plan.stop_reason {
                Some("refusal") => StopReason::Refusal,
                Some("pause_turn") => StopReason::PauseTurn,
                Some("max_tokens") => StopReason::MaxTokens,
                _ if called => StopReason::ToolUse,
                _ => StopReason::EndTurn,
            },
            wire,
            parts,
            cut_tool_call: false,
            refusal: None,
            usage: Some(Usage { input: counted(self, &prompt), output, ..Usage::default() }),
        })
    }
}

/// Tokens of a prompt, as the provider in memory counts them.
fn counted(provider: &MemoryProvider, prompt: &Prompt) -> u64 {
    let said = prompt.messages.iter().map(|message| Provider::measure(provider, message, Tokenizer::Newer));
    let frozen = Provider::measure_frozen(provider, &prompt.system, &prompt.tools, Tokenizer::Newer);
    frozen.plus(said.sum()).tokens()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_provider_in_memory_keeps_the_contract() {
        let shelf = Arc::new(Shelf::default());
        run(&MemoryProvider::new(Arc::clone(&shelf)), "memory", &shelf).await;
    }
}
