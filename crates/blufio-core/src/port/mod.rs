//! The traits that adapters implement.
//!
//! Each is small, has native async functions, and one erased twin (`Any…`) that the registry holds. Only the composition
//! root names a concrete adapter.

mod channel;
mod clock;
mod provider;
mod storage;
mod tool;

pub use channel::{
    AnyChannel, Channel, ChannelError, ChannelHealth, Inbound, InboundKind, Intake, IntakeError, Preview,
    PreviewOutcome, Rates, SendOutcome,
};
pub use clock::{Clock, Rng, SecretStore};
pub use provider::{AnyProvider, Delta, DeltaSink, Failure, Prompt, PromptMessage, Provider, ProviderError, Reply};
pub use storage::{AnyStorage, Storage, StoreError};
pub use tool::{AnyTool, ArgRole, Replay, Tool, ToolCall, ToolError, ToolLimits, ToolSpec};

use std::future::Future;
use std::pin::Pin;

/// What an erased twin returns.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
