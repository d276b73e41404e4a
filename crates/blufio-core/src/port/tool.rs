//! Something the model may call.

use super::Boxed;
use crate::content::OutgoingFile;
use crate::ids::{CallId, ToolName};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// What may happen to a call that a crash interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replay {
    /// Reads only: run it again.
    Pure,
    /// Writes the same thing however often it runs with the same key: run it again.
    Idempotent,
    /// Anything else: never run again; the model is told that the outcome is unknown.
    Effectful,
}

/// What an argument is used for; the policy looks at these instead of at names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgRole {
    /// A path inside the workspace.
    Path,
    /// Content that is written or sent.
    Content,
    /// Anything else.
    Plain,
}

/// The limits of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToolLimits {
    /// How long one run may take; over it, the model reads an error.
    pub time: Duration,
    /// How many bytes it may return; more is cut in the middle.
    pub output_bytes: usize,
}

impl Default for ToolLimits {
    fn default() -> Self {
        Self { time: Duration::from_secs(30), output_bytes: crate::limits::TOOL_OUTPUT_BYTES_MAX }
    }
}

/// A tool's own declaration.
#[derive(Clone, Debug)]
pub struct ToolSpec {
    /// `[a-zA-Z0-9_-]{1,64}`.
    pub name: ToolName,
    /// For the model.
    pub description: &'static str,
    /// JSON Schema of the arguments, an object.
    pub schema: serde_json::Value,
    /// What may happen after a crash.
    pub replay: Replay,
    /// Bytes may leave this machine.
    pub egress: bool,
    /// What its arguments are used for.
    pub arg_roles: &'static [(&'static str, ArgRole)],
    /// Its limits.
    pub limits: ToolLimits,
}

/// One call.
#[derive(Clone, Debug)]
pub struct ToolCall {
    /// The model's id.
    pub id: CallId,
    /// The same for every run of this call, for tools that write under a key.
    pub key: Arc<str>,
    /// The arguments, an object.
    pub input: serde_json::Value,
    /// The time zone of the conversation (IANA name); `None`: the machine's.
    pub zone: Option<String>,
    /// Files can be sent in this conversation.
    pub sends_files: bool,
}

/// What a tool gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolOutput {
    /// What the model reads.
    pub text: String,
    /// Files for the person, stored already; committed together with the result and then sent.
    pub files: Vec<OutgoingFile>,
}

impl From<String> for ToolOutput {
    fn from(text: String) -> Self {
        Self { text, files: Vec::new() }
    }
}

/// Why a tool did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The model reads this and may try something else.
    #[error("{0}")]
    ToModel(String),
    /// The machine failed; logged in full, the model reads one line.
    #[error("{0}")]
    Broken(String),
}

/// A tool.
pub trait Tool: Send + Sync + 'static {
    /// Its declaration, the same for the life of the process.
    fn spec(&self) -> &ToolSpec;
    /// Runs once. Cancelled by dropping the future.
    fn run(&self, call: ToolCall) -> impl Future<Output = Result<ToolOutput, ToolError>> + Send;
}

/// The erased twin of [`Tool`].
pub trait AnyTool: Send + Sync + 'static {
    /// See [`Tool::spec`].
    fn spec(&self) -> &ToolSpec;
    /// See [`Tool::run`].
    fn run(&self, call: ToolCall) -> Boxed<'_, Result<ToolOutput, ToolError>>;
}

impl<T: Tool> AnyTool for T {
    fn spec(&self) -> &ToolSpec {
        Tool::spec(self)
    }
    fn run(&self, call: ToolCall) -> Boxed<'_, Result<ToolOutput, ToolError>> {
        Box::pin(Tool::run(self, call))
    }
}
