//! Something the model may call.

use super::{Boxed, Hops};
use crate::access::Principal;
use crate::content::OutgoingFile;
use crate::ids::{CallId, ChannelName, SessionId, SessionKey, ToolName};
use crate::message::Origin;
use crate::money::MicroUsd;
use crate::record::Route;
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

/// What an argument is used for; the policy looks at these instead of at names. An argument without a role is a
/// [`ArgRole::Destination`], which is the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgRole {
    /// Where something goes: an address, a recipient, an account, an amount.
    Destination,
    /// Content that is written or sent.
    Content,
    /// Chooses what is read or how much of it; changes nothing.
    Selector,
    /// A path inside the workspace.
    Path,
    /// Names a secret that is sent along. It is not given to the tool's caller, and what comes back is private.
    Credential,
}

/// Where bytes of a call may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Egress {
    /// They stay on this machine.
    #[default]
    None,
    /// Into the conversation that asks.
    Conversation,
    /// To a service that the operator configured.
    Service,
    /// To wherever the arguments say.
    Anywhere,
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
    /// Where bytes may go.
    pub egress: Egress,
    /// What its arguments are used for.
    pub arg_roles: &'static [(&'static str, ArgRole)],
    /// Whose words it returns: [`Origin::Tool`]; [`Origin::Foreign`], which are trusted in nothing; or [`Origin::Derived`],
    /// where they may also be the model's own, come back (a file that it wrote).
    pub returns: Origin,
    /// What it returns is the owner's and must not leave this machine except to the model.
    pub private: bool,
    /// People who are not owners may use it, too.
    pub people: bool,
    /// An owner is asked before every call (running programs, deleting, paying).
    pub asks: bool,
    /// What a call costs at the service that it asks, counted when it begins, whatever comes of it; zero: nothing.
    pub price: MicroUsd,
    /// Its limits.
    pub limits: ToolLimits,
}

impl ToolSpec {
    /// A tool that reads, sends nothing away and asks nobody; the rest is set where it is declared.
    #[must_use]
    pub fn new(name: &str, description: &'static str, schema: serde_json::Value) -> Self {
        Self {
            name: ToolName::new(name),
            description,
            schema,
            replay: Replay::Pure,
            egress: Egress::None,
            arg_roles: &[],
            returns: Origin::Tool,
            private: false,
            people: false,
            asks: false,
            price: MicroUsd::ZERO,
            limits: ToolLimits::default(),
        }
    }

    /// What an argument is used for.
    #[must_use]
    pub fn role(&self, argument: &str) -> ArgRole {
        let role = self.arg_roles.iter().find(|(name, _)| *name == argument);
        role.map_or(ArgRole::Destination, |(_, role)| *role)
    }

    /// The origin of what a call has returned; `foreign`: words of others were before the model that made the call.
    ///
    /// An error repeats arguments, and what a model chose must not come back as what somebody else has said.
    #[must_use]
    pub const fn origin(&self, error: bool, foreign: bool) -> Origin {
        match (self.returns.is_foreign(), error) {
            (true, false) => self.returns,
            (true, true) => Origin::Derived,
            (false, _) if foreign => Origin::Derived,
            (false, _) => self.returns,
        }
    }

    /// Whether a call with these arguments sends a secret along.
    #[must_use]
    pub fn uses_secret(&self, arguments: &serde_json::Value) -> bool {
        let named = |name: &str, value: &serde_json::Value| self.role(name) == ArgRole::Credential && !value.is_null();
        arguments.as_object().is_some_and(|fields| fields.iter().any(|(name, value)| named(name, value)))
    }
}

/// One call.
#[derive(Clone, Debug)]
pub struct ToolCall {
    /// The model's id.
    pub id: CallId,
    /// The conversation that it is made in.
    pub session: SessionId,
    /// The same for every run of this call, for tools that write under a key.
    pub key: Arc<str>,
    /// The arguments, an object.
    pub input: serde_json::Value,
    /// The time zone of the conversation (IANA name); `None`: the machine's.
    pub zone: Option<String>,
    /// Files can be sent in this conversation.
    pub sends_files: bool,
    /// What the owner's yes to this call was held to ([`Tool::binding`]); a tool that would do something else refuses.
    pub bound: Option<String>,
    /// Where it notes the places that it asks, for the audit log.
    pub hops: Hops,
    /// Who wants it, and where.
    pub asker: Arc<Asker>,
}

/// Who wants something, and where the answer goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The conversation.
    pub session: SessionKey,
    /// The place in it.
    pub route: Route,
    /// On whose behalf.
    pub principal: Principal,
    /// Their id, as the channel knows it.
    pub user: Option<i64>,
}

impl Asker {
    /// The owner at this machine.
    #[must_use]
    pub fn local(session: SessionKey) -> Self {
        let channel = ChannelName::new(LOCAL_CHANNEL);
        let route = Route { channel, account: 0, chat: 0, thread: None, reply_to: None };
        Self { session, route, principal: Principal::Owner, user: None }
    }
}

/// The channel of what is said at this machine.
pub const LOCAL_CHANNEL: &str = "local";

/// What an owner's yes to a call is held to besides its arguments: what they stand for outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Hexadecimal digits that change whenever it changes.
    pub hash: String,
    /// The yes may hold for all equal calls.
    pub always: bool,
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
    /// What a yes to this call has to be held to; `None`: nothing but its arguments. Asked when a question is put and again
    /// before the call runs: if it has changed, the call is refused. An error means that the call could not run either.
    fn binding(&self, _call: &ToolCall) -> impl Future<Output = Result<Option<Binding>, ToolError>> + Send {
        std::future::ready(Ok(None))
    }
}

/// The erased twin of [`Tool`].
pub trait AnyTool: Send + Sync + 'static {
    /// See [`Tool::spec`].
    fn spec(&self) -> &ToolSpec;
    /// See [`Tool::run`].
    fn run(&self, call: ToolCall) -> Boxed<'_, Result<ToolOutput, ToolError>>;
    /// See [`Tool::binding`].
    fn binding<'a>(&'a self, call: &'a ToolCall) -> Boxed<'a, Result<Option<Binding>, ToolError>>;
}

impl<T: Tool> AnyTool for T {
    fn spec(&self) -> &ToolSpec {
        Tool::spec(self)
    }
    fn run(&self, call: ToolCall) -> Boxed<'_, Result<ToolOutput, ToolError>> {
        Box::pin(Tool::run(self, call))
    }
    fn binding<'a>(&'a self, call: &'a ToolCall) -> Boxed<'a, Result<Option<Binding>, ToolError>> {
        Box::pin(Tool::binding(self, call))
    }
}
