//! A model behind an API.

use super::Boxed;
use crate::context::caching::{Marks, Shape};
use crate::context::estimate::{Milli, Tokenizer};
use crate::ids::ModelId;
use crate::message::{Part, Role, StopReason, Usage};
use crate::port::ToolSpec;
use crate::record::Shared;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::time::Duration;

/// A model provider. It makes exactly one try per [`Provider::complete`]; what follows a failure is decided by
/// [`crate::session`].
pub trait Provider: Send + Sync + 'static {
    /// The name that wire rows carry, e.g. `anthropic`.
    fn name(&self) -> &'static str;

    /// The system text as it will be sent, for the life of an epoch.
    fn render_system(&self, text: &str) -> Shared;

    /// The tools as they will be sent, for the life of an epoch; sorted by name.
    fn render_tools(&self, tools: &[&ToolSpec]) -> Shared;

    /// A message from its neutral parts: user messages, tool results, synthetic assistant text, and everything when a new
    /// epoch begins. Parts only the vendor understands are left out. `None` if nothing is left.
    fn render_message(&self, role: Role, parts: &[Part]) -> Option<Shared>;

    /// Whose a stored message is, and how many blocks it has; for the marks of the cache.
    fn shape(&self, role: Role, wire: &Shared) -> Shape;

    /// Tokens of a stored message as far as they can be told without the vendor: nothing is corrected yet. A file counts as
    /// what it shows.
    fn measure(&self, message: &PromptMessage, tokenizer: Tokenizer) -> Milli;

    /// The same of system text and tools.
    fn measure_frozen(&self, system: &Shared, tools: &Shared, tokenizer: Tokenizer) -> Milli;

    /// Tokens of this prompt as the vendor counts them, which costs nothing but a little time. Only for a prompt whose estimate
    /// is too near to an edge; its room for the answer does not matter.
    fn count(&self, prompt: Prompt) -> impl Future<Output = Result<u64, ProviderError>> + Send;

    /// One try. Deltas are for display only; the reply is the truth. Cancelled by dropping the future.
    fn complete(&self, prompt: Prompt, deltas: DeltaSink) -> impl Future<Output = Result<Reply, ProviderError>> + Send;
}

/// Takes what is shown while the model writes; must not block.
pub type DeltaSink = Box<dyn FnMut(Delta) + Send>;

/// A piece of an unfinished answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// A block of visible text begins.
    TextBlock,
    /// More of it.
    Text(String),
}

/// Everything one call needs.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// Our id of the request, the same for every try after a crash.
    pub request: String,
    /// The model.
    pub model: ModelId,
    /// Room for the answer, in tokens.
    pub max_tokens: u32,
    /// `low`, `medium`, `high`, `xhigh` or `max`; `None` leaves the model's default.
    pub effort: Option<String>,
    /// The kind of thinking to ask for, from the catalogue.
    pub thinking: Option<String>,
    /// An opaque name of the person, for the vendor's abuse control.
    pub person: String,
    /// From [`Provider::render_system`].
    pub system: Shared,
    /// From [`Provider::render_tools`].
    pub tools: Shared,
    /// The conversation.
    pub messages: Vec<PromptMessage>,
    /// What of it the vendor is to keep for the next request.
    pub marks: Marks,
}

/// One message of a prompt.
#[derive(Clone, Debug)]
pub struct PromptMessage {
    /// Who speaks.
    pub role: Role,
    /// The bytes.
    pub wire: Shared,
    /// From [`Provider::shape`].
    pub shape: Shape,
}

/// A complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The vendor's id of the request, for its support.
    pub request: Option<String>,
    /// The assistant message to store and to send back verbatim; `None` if the content was empty.
    pub wire: Option<Shared>,
    /// Its neutral parts.
    pub parts: Vec<Part>,
    /// Why it stopped.
    pub stop: StopReason,
    /// The last block is a tool call that was cut off by `max_tokens`.
    pub cut_tool_call: bool,
    /// What a refusal was about, in the vendor's word.
    pub refusal: Option<String>,
    /// What it used; `None` if the vendor did not say.
    pub usage: Option<Usage>,
}

/// Why a try failed, as far as it matters for what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// Too many requests.
    RateLimited,
    /// The vendor is overloaded: wait longer.
    Overloaded,
    /// The vendor failed (5xx, timeouts of its own).
    Server,
    /// No connection, or it broke, or nothing came for too long.
    Transport,
    /// The answer was not what the protocol says.
    Protocol,
    /// The request was refused as it is (400).
    Rejected,
    /// The history does not fit the model.
    PromptTooLong,
    /// Signed thinking no longer fits what is before it.
    ThinkingMismatch,
    /// A picture or document in the request cannot be used.
    FileRefused,
    /// The key is wrong or may not do this.
    Unauthorized,
    /// The vendor's own spending limit or an unpaid bill.
    Billing,
    /// No such model.
    UnknownModel,
    /// The price of the model is not known, so it is not called.
    NoPrice,
    /// A budget has no room for it, so it is not called.
    OverBudget,
}

/// A failed try.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ProviderError {
    /// What kind.
    pub failure: Failure,
    /// For the log and, shortened, for the owner. Holds no secret.
    pub message: String,
    /// How long the vendor asks to wait.
    pub retry_after: Option<Duration>,
    /// The vendor's id of the request.
    pub request: Option<String>,
    /// The vendor may have begun to work on it, so it may cost something.
    pub reached: bool,
    /// What was used before it failed, as far as the vendor said.
    pub usage: Option<Usage>,
}

/// The erased twin of [`Provider`].
pub trait AnyProvider: Send + Sync + 'static {
    /// See [`Provider::name`].
    fn name(&self) -> &'static str;
    /// See [`Provider::render_system`].
    fn render_system(&self, text: &str) -> Shared;
    /// See [`Provider::render_tools`].
    fn render_tools(&self, tools: &[&ToolSpec]) -> Shared;
    /// See [`Provider::render_message`].
    fn render_message(&self, role: Role, parts: &[Part]) -> Option<Shared>;
    /// See [`Provider::shape`].
    fn shape(&self, role: Role, wire: &Shared) -> Shape;
    /// See [`Provider::measure`].
    fn measure(&self, message: &PromptMessage, tokenizer: Tokenizer) -> Milli;
    /// See [`Provider::measure_frozen`].
    fn measure_frozen(&self, system: &Shared, tools: &Shared, tokenizer: Tokenizer) -> Milli;
    /// See [`Provider::count`].
    fn count(&self, prompt: Prompt) -> Boxed<'_, Result<u64, ProviderError>>;
    /// See [`Provider::complete`].
    fn complete(&self, prompt: Prompt, deltas: DeltaSink) -> Boxed<'_, Result<Reply, ProviderError>>;
}

impl<P: Provider> AnyProvider for P {
    fn name(&self) -> &'static str {
        Provider::name(self)
    }
    fn render_system(&self, text: &str) -> Shared {
        Provider::render_system(self, text)
    }
    fn render_tools(&self, tools: &[&ToolSpec]) -> Shared {
        Provider::render_tools(self, tools)
    }
    fn render_message(&self, role: Role, parts: &[Part]) -> Option<Shared> {
        Provider::render_message(self, role, parts)
    }
    fn shape(&self, role: Role, wire: &Shared) -> Shape {
        Provider::shape(self, role, wire)
    }
    fn measure(&self, message: &PromptMessage, tokenizer: Tokenizer) -> Milli {
        Provider::measure(self, message, tokenizer)
    }
    fn measure_frozen(&self, system: &Shared, tools: &Shared, tokenizer: Tokenizer) -> Milli {
        Provider::measure_frozen(self, system, tools, tokenizer)
    }
    fn count(&self, prompt: Prompt) -> Boxed<'_, Result<u64, ProviderError>> {
        Box::pin(Provider::count(self, prompt))
    }
    fn complete(&self, prompt: Prompt, deltas: DeltaSink) -> Boxed<'_, Result<Reply, ProviderError>> {
        Box::pin(Provider::complete(self, prompt, deltas))
    }
}
