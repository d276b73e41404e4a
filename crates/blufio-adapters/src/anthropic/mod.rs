//! Claude behind the Messages API of Anthropic, version 2026-10-21, by API key.
//!
//! One call of [`Provider::complete`] is one try; what follows a failure is decided elsewhere. Requests are put together
//! from stored bytes (`request`) and stored files (`files`), checked once more (`validate`), streamed (`sse`, `stream`), and the reply is assembled
//! once (`assemble`). Logins of consumer plans are not supported: their tokens belong to other products.

mod assemble;
mod count;
mod errors;
mod files;
mod json;
mod request;
pub(crate) mod sse;
mod stream;
mod usage;
mod validate;

pub use validate::{Illegal, check as check_request};

use crate::blocking::blocking;
use crate::egress::{Client, Egress, EgressError, Origin, Purpose};
use assemble::Assembler;
use blufio_core::context::caching::Shape;
use blufio_core::context::estimate::{self, Milli, Tokenizer};
use blufio_core::failpoint::{Failpoint, hit};
use blufio_core::limits;
use blufio_core::message::{Part, Role};
use blufio_core::port::{Blobs, DeltaSink, Failure, Prompt, PromptMessage, Provider, ProviderError, Reply, ToolSpec};
use blufio_core::record::Shared;
use blufio_core::secret::Secret;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use stream::{Try, failed, unsent};
use tracing::debug;

/// Where the API is, unless configured otherwise.
pub const BASE_URL: &str = "https://api.anthropic.com";
/// The version of the API that this module speaks.
const VERSION: HeaderValue = HeaderValue::from_static("2026-10-21");
/// Where answers come from.
const PATH: &str = "/v1/messages";
/// How tokens of consumer logins begin.
const LOGIN_TOKENS: &[&str] = &["sk-ant-oat", "sk-ant-ort"];
/// Bytes of one stream as they come, with the framing of events, pings and what nobody knows; a token that comes alone takes
/// some 130 bytes of them. Over: the stream is cut and counts as failure `protocol`.
const STREAM_BYTES_MAX: usize = 32 * 1024 * 1024;

const _: () = assert!(limits::MODEL_RESPONSE_BYTES_MAX < STREAM_BYTES_MAX);

/// The limits of one try; the defaults are those of [`blufio_core::limits`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the request to the first content.
    pub first_content: Duration,
    /// Between two pieces of content.
    pub idle_content: Duration,
    /// The whole stream.
    pub stream: Duration,
    /// Bytes of a request.
    pub request_bytes_max: usize,
    /// Bytes of a reply's content: texts, thinking, inputs of tools, blocks nobody knows.
    pub response_bytes_max: usize,
    /// Bytes of the stream that carries it.
    pub stream_bytes_max: usize,
    /// Bytes of one event.
    pub event_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            first_content: limits::MODEL_FIRST_CONTENT,
            idle_content: limits::MODEL_IDLE_CONTENT,
            stream: limits::MODEL_STREAM,
            request_bytes_max: limits::MODEL_REQUEST_BYTES_MAX,
            response_bytes_max: limits::MODEL_RESPONSE_BYTES_MAX,
            stream_bytes_max: STREAM_BYTES_MAX,
            event_bytes_max: limits::SSE_EVENT_BYTES_MAX,
        }
    }
}

/// What is needed to talk to the service.
pub struct AnthropicOptions<'a> {
    /// Scheme, host and port.
    pub base_url: &'a str,
    /// The API key; shown nowhere.
    pub api_key: Secret,
    /// The HTTP client.
    pub egress: &'a Egress,
    /// Where the files are that messages show.
    pub blobs: Arc<dyn Blobs>,
    /// Limits of one try.
    pub limits: Limits,
}

/// Why the provider cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnthropicError {
    /// The key is a login of another product.
    #[error(
        "this is a login token, not an API key; create a key in the Anthropic Console, `blufio vault set anthropic.api_key`, then restart"
    )]
    LoginToken,
    /// The key has characters that no key has, or none at all.
    #[error("the Anthropic API key is empty or holds characters that no key has")]
    Key,
    /// The address or the client is not usable.
    #[error("anthropic.base_url: {0}")]
    Egress(#[from] EgressError),
}

/// The provider.
pub struct Anthropic {
    client: Client,
    headers: HeaderMap,
    api_key: Secret,
    blobs: Arc<dyn Blobs>,
    limits: Limits,
}

impl Anthropic {
    /// Checks key and address; sends nothing.
    pub fn new(options: AnthropicOptions<'_>) -> Result<Self, AnthropicError> {
        let api_key = options.api_key.trimmed().ok_or(AnthropicError::Key)?;
        if LOGIN_TOKENS.iter().any(|prefix| api_key.expose().starts_with(prefix)) {
            return Err(AnthropicError::LoginToken);
        }
        if !api_key.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AnthropicError::Key);
        }
        let mut key = HeaderValue::from_str(api_key.expose()).map_err(|_| AnthropicError::Key)?;
        key.set_sensitive(true);
        let headers = HeaderMap::from_iter([
            (HeaderName::from_static("x-api-key"), key),
            (HeaderName::from_static("anthropic-version"), VERSION),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (ACCEPT, HeaderValue::from_static("text/event-stream")),
        ]);
        Ok(Self {
            client: options.egress.client(Purpose::Model, &Origin::parse(options.base_url)?)?,
            headers,
            api_key,
            blobs: options.blobs,
            limits: options.limits,
        })
    }

    /// The body of the request for this prompt, byte for byte as it is sent. Nothing is checked here. It waits for the disk if
    /// a message shows files: call it where waiting is allowed.
    #[must_use]
    pub fn request_body(&self, prompt: &Prompt) -> Vec<u8> {
        request::body(prompt, request::Purpose::Answer, &*self.blobs)
    }

    /// The request and the ids of its tool calls, on a thread that may wait if there are files to read.
    async fn ready(&self, prompt: &Prompt) -> Result<(Vec<u8>, HashSet<String>), ProviderError> {
        let bytes_max = self.limits.request_bytes_max;
        if !files::any(prompt) {
            return ready(prompt, &*self.blobs, bytes_max);
        }
        let (prompt, blobs) = (prompt.clone(), self.blobs.clone());
        // Bounded: as many files as a prompt shows, each of a bounded size. If the call is dropped, it ends by itself.
        let reading = blocking(move || ready(&prompt, &*blobs, bytes_max)).await;
        reading.unwrap_or_else(|| Err(unsent(Failure::Transport, "the process is ending")))
    }

    async fn attempt(&self, prompt: &Prompt, mut deltas: DeltaSink) -> Result<Reply, ProviderError> {
        let (body, known) = self.ready(prompt).await?;
        hit(Failpoint::CallBeforeRequest);
        let request = self.client.post(PATH).headers(self.headers.clone()).body(body);
        let mut one = Try::new(Assembler::new(known), self.limits, self.api_key.expose());
        let ran = match tokio::time::timeout(self.limits.stream, one.run(request, &mut deltas)).await {
            Ok(ran) => ran,
            Err(_) => Err(failed(Failure::Transport, "the model took longer than an answer may take")),
        };
        hit(Failpoint::CallAfterResponse);
        let Try { assembler, request, .. } = one;
        let usage = assembler.usage_so_far();
        let reply =
            ran.and_then(|()| assembler.finish(request.clone()).map_err(|what| failed(Failure::Protocol, what)));
        reply.map_err(|error| ProviderError { request: error.request.or(request), usage, ..error })
    }
}

impl Provider for Anthropic {
    fn name(&self) -> &'static str {
        "anthropic"
    }

    fn render_system(&self, text: &str) -> Shared {
        request::render_system(text)
    }

    fn render_tools(&self, tools: &[&ToolSpec]) -> Shared {
        request::render_tools(tools)
    }

    fn render_message(&self, role: Role, parts: &[Part]) -> Option<Shared> {
        request::render_message(role, parts)
    }

    fn shape(&self, role: Role, wire: &Shared) -> Shape {
        request::shape(role, wire)
    }

    fn measure(&self, message: &PromptMessage, tokenizer: Tokenizer) -> Milli {
        let shown = files::estimate(message).saturating_mul(1_000);
        estimate::message(&message.wire, tokenizer).plus(Milli(shown))
    }

    fn measure_frozen(&self, system: &Shared, tools: &Shared, tokenizer: Tokenizer) -> Milli {
        estimate::system(system, tokenizer).plus(estimate::tools(tools, tokenizer))
    }

    async fn count(&self, prompt: Prompt) -> Result<u64, ProviderError> {
        self.count_tokens(prompt).await
    }

    async fn complete(&self, prompt: Prompt, deltas: DeltaSink) -> Result<Reply, ProviderError> {
        let mut result = self.attempt(&prompt, deltas).await;
        // A sentence about pictures where there are none is about something else.
        if let Err(error) = &mut result
            && error.failure == Failure::FileRefused
            && !files::any(&prompt)
        {
            error.failure = Failure::Rejected;
        }
        let outcome = match &result {
            Ok(_) => "ok",
            Err(error) => {
                debug!(request = %prompt.request, vendor = error.request.as_deref(), failure = ?error.failure, "a model call failed");
                outcome(error.failure)
            }
        };
        metrics::counter!("blufio_model_requests_total", "outcome" => outcome).increment(1);
        result
    }
}

/// Puts a request together and looks at it once more; with the ids of its tool calls.
fn ready(prompt: &Prompt, blobs: &dyn Blobs, bytes_max: usize) -> Result<(Vec<u8>, HashSet<String>), ProviderError> {
    let body = request::body(prompt, request::Purpose::Answer, blobs);
    if body.len() > bytes_max {
        return Err(unsent(Failure::PromptTooLong, "the request has more bytes than allowed"));
    }
    let known = check_request(&body).map_err(|illegal| {
        tracing::error!(%illegal, request = %prompt.request, "an illegal request was not sent");
        unsent(Failure::Rejected, &illegal.to_string())
    })?;
    Ok((body, known))
}

/// The word of a failure in metrics.
const fn outcome(failure: Failure) -> &'static str {
    match failure {
        Failure::RateLimited => "rate_limited",
        Failure::Overloaded => "overloaded",
        Failure::Server => "server",
        Failure::Transport => "transport",
        Failure::Protocol => "protocol",
        Failure::Rejected => "rejected",
        Failure::PromptTooLong => "prompt_too_long",
        Failure::ThinkingMismatch => "thinking_mismatch",
        Failure::FileRefused => "file_refused",
        Failure::Unauthorized => "unauthorized",
        Failure::Billing => "billing",
        Failure::UnknownModel => "unknown_model",
        Failure::NoPrice => "no_price",
        Failure::OverBudget => "over_budget",
    }
}
