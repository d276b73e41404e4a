//! The traits that adapters implement.
//!
//! Each is small, has native async functions, and one erased twin (`Any…`) that the registry holds. Only the composition
//! root names a concrete adapter.

mod blobs;
mod channel;
mod clock;
mod embedding;
mod provider;
mod spawner;
mod storage;
mod tool;
mod transcriber;
mod web;

pub use blobs::{BlobError, Blobs};
pub use channel::{
    AnyChannel, Channel, ChannelError, ChannelHealth, FetchError, Inbound, InboundKind, Intake, IntakeError, Preview,
    PreviewOutcome, Rates, SendOutcome, Webhook,
};
pub use clock::{Clock, Rng, SecretStore};
pub use embedding::{AnyEmbedding, Embedding, EmbeddingError, EmbeddingHealth, Urgency};
pub use provider::{AnyProvider, Delta, DeltaSink, Failure, Prompt, PromptMessage, Provider, ProviderError, Reply};
pub use spawner::{
    EXEC_ARGS_BYTES_MAX, EXEC_ARGS_MAX, EXEC_OUTPUT_BYTES_MAX, EXEC_TIME_MAX, Ended, ExecError, ExecOutcome,
    ExecRequest, Executor, NEVER_ALWAYS, Prepared, never_always,
};
pub use storage::{AnyStorage, Storage, StoreError};
pub use tool::{
    AnyTool, ArgRole, Asker, Binding, Egress, LOCAL_CHANNEL, Replay, Tool, ToolCall, ToolError, ToolLimits, ToolOutput,
    ToolSpec,
};
pub use transcriber::{AnyTranscriber, Recording, Transcriber, TranscriberError};
pub use web::{
    AnySearch, AnyWeb, Credential, CredentialError, Credentials, Hit, Hop, HopEnd, Hops, Page, Search, Web, WebError,
};

use std::future::Future;
use std::pin::Pin;

/// What an erased twin returns.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
