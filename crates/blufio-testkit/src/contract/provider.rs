//! What every provider must do, whatever is behind it; and a provider in memory, which is the second one to pass.
//!
//! The model behind the provider must obey the directives of [`crate::messages::brain`]. The suite plays the runtime: it
//! keeps what it is told to keep and sends it back. It refuses to know any vendor's words: formats, faults and limits of
//! one are the business of that provider's own tests.

use crate::messages::brain;
use crate::messages::{Block, judge_history};
use blufio_core::ids::{CallId, ModelId, ToolName};
use blufio_core::message::{Body, Origin, Part, Role, StopReason, Usage, visible_text};
use blufio_core::port::{
    AnyProvider, Delta, DeltaSink, Failure, Prompt, PromptMessage, Provider, ProviderError, Replay, Reply, ToolLimits,
    ToolSpec,
};
use blufio_core::record::Shared;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Runs the whole suite against `model`.
pub async fn run(provider: &dyn AnyProvider, model: &str) {
    rendering(provider);
    a_text_is_streamed_and_kept(provider, model).await;
    a_conversation_goes_on_with_the_kept_bytes(provider, model).await;
    calls_are_answered_together(provider, model).await;
    endings_are_told(provider, model).await;
    a_broken_history_is_not_sent(provider, model).await;
    a_dropped_call_harms_nothing(provider, model).await;
}

/// The tools `now` and `list_files`, without arguments.
pub fn tools() -> [ToolSpec; 2] {
    ["now", "list_files"].map(|name| ToolSpec {
        name: ToolName::new(name),
        description: "A tool of the contract suite.",
        schema: json!({ "type": "object", "properties": {}, "additionalProperties": false }),
        replay: Replay::Pure,
        egress: false,
        arg_roles: &[],
        limits: ToolLimits::default(),
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
        };
        Self { provider, prompt }
    }

    /// Appends stored bytes.
    pub fn keep(&mut self, role: Role, wire: Shared) {
        self.prompt.messages.push(PromptMessage { role, wire });
    }

    /// Appends a user message of one text.
    pub fn say(&mut self, text: &str) {
        let parts = [Part::text(Origin::Owner, text)];
        self.keep(Role::User, self.provider.render_message(Role::User, &parts).expect("a text is something"));
    }

    /// Makes one try and gives the shown text with the reply; nothing is kept.
    pub async fn ask(&self) -> (Result<Reply, ProviderError>, String) {
        let shown = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&shown);
        let deltas: DeltaSink = Box::new(move |delta| sink.lock().expect("no test panics in between").push(delta));
        let reply = tokio::time::timeout(ANSWER_LIMIT, self.provider.complete(self.prompt.clone(), deltas)).await;
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
    let estimate = provider.estimate_tokens(&talk.prompt);
    let reply = talk.answer().await;
    assert!(visible_text(&reply.parts).contains("good morning, ørret 🐟"));
    assert_eq!(reply.stop, StopReason::EndTurn);
    assert!(reply.wire.is_some() && !reply.cut_tool_call && reply.refusal.is_none());
    let usage = reply.usage.expect("the model counts");
    assert!(usage.output > 0 && usage.prompt() > 0);
    assert!(estimate >= usage.prompt(), "the estimate errs upwards: {estimate} for {}", usage.prompt());
    talk.say("more");
    assert!(provider.estimate_tokens(&talk.prompt) > estimate);
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

/// A provider in memory: the model is [`brain`], messages are plain JSON, a token is four bytes.
#[derive(Default)]
pub struct MemoryProvider {
    ids: AtomicU64,
}

impl MemoryProvider {
    fn body(prompt: &Prompt) -> Value {
        let parse = |bytes: &Shared| serde_json::from_slice::<Value>(bytes).expect("we rendered it");
        let messages: Vec<Value> = prompt.messages.iter().map(|message| parse(&message.wire)).collect();
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
            Body::Opaque { .. } => None,
        };
        let blocks: Vec<Value> = parts.iter().filter_map(block).collect();
        let role = if role == Role::User { "user" } else { "assistant" };
        (!blocks.is_empty()).then(|| json!({ "role": role, "content": blocks }).to_string().into_bytes().into())
    }

    fn estimate_tokens(&self, prompt: &Prompt) -> u64 {
        let messages: usize = prompt.messages.iter().map(|message| message.wire.len()).sum();
        (prompt.system.len() + prompt.tools.len() + messages).div_ceil(4) as u64
    }

    async fn complete(&self, prompt: Prompt, mut deltas: DeltaSink) -> Result<Reply, ProviderError> {
        let body = Self::body(&prompt);
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
            usage: Some(Usage { input: Provider::estimate_tokens(self, &prompt), output, ..Usage::default() }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_provider_in_memory_keeps_the_contract() {
        run(&MemoryProvider::default(), "memory").await;
    }
}
