//! The tools that come with Blufio: the time, text files in one folder, files from and to the person, and the web.
//!
//! A tool declares itself ([`blufio_core::port::ToolSpec`]) and runs; who may call it, how often and what becomes of a call
//! that a crash interrupted is decided elsewhere. Files are reached only through `workspace::Workspace`.

mod again;
mod attachment;
mod edit;
mod exec;
mod fetch;
mod list;
mod memory;
mod now;
mod read;
mod schedule;
pub mod schema;
mod search;
mod send;
mod similar;
pub(crate) mod skill;
pub(crate) mod workspace;
mod write;

#[cfg(test)]
mod tests;

pub use workspace::sweep_temporary;

use crate::desk::Desk;
use crate::memory::Memory;
use crate::scheduler::Bell;
use blufio_core::message::Origin;
use blufio_core::money::MicroUsd;
use blufio_core::port::{
    AnySearch, AnyStorage, AnyTool, AnyWeb, ArgRole, Blobs, Clock, Executor, Replay, Tool, ToolCall, ToolError,
    ToolOutput, ToolSpec,
};
use serde::de::DeserializeOwned;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use workspace::Workspace;

/// Why there are no tools.
#[derive(Debug, thiserror::Error)]
pub enum ToolsError {
    /// The folder cannot be made, opened or cleaned: choose another, or mend its permissions.
    #[error("the workspace folder {} cannot be used: {source}", path.display())]
    Workspace {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The tools: `now`, `read_file`, `list_files`, `write_file`, `edit_file`, `send_file`, `read_attachment`, `skill_load`.
///
/// They work in the workspace of the desk. A file to send has at most `send_bytes_max` bytes.
#[must_use]
pub fn builtin(
    desk: &Arc<Desk>,
    clock: Arc<dyn Clock>,
    blobs: Arc<dyn Blobs>,
    send_bytes_max: u64,
) -> Vec<Arc<dyn AnyTool>> {
    let folder = desk.folder();
    vec![
        now::tool(clock),
        read::tool(folder.clone()),
        list::tool(folder.clone()),
        write::tool(folder.clone()),
        edit::tool(folder.clone()),
        send::tool(folder, blobs.clone(), send_bytes_max),
        attachment::tool(blobs),
        skill::tool(desk.clone()),
    ]
}

/// The tool `read_again`, which reads in the conversation that calls it and in no other.
#[must_use]
pub fn read_again(storage: Arc<dyn AnyStorage>) -> Arc<dyn AnyTool> {
    again::tool(storage)
}

/// The tools `schedule` and `schedule_list`.
#[must_use]
pub fn schedule(storage: Arc<dyn AnyStorage>, clock: Arc<dyn Clock>, bell: Bell) -> [Arc<dyn AnyTool>; 2] {
    schedule::tools(storage, clock, bell)
}

/// The tools `memory_search`, `memory_save`, `memory_forget` and `session_search`.
#[must_use]
pub fn memory(memory: &Arc<Memory>) -> [Arc<dyn AnyTool>; 4] {
    memory::tools(memory)
}

/// The tool `web_fetch`.
#[must_use]
pub fn web_fetch(web: Arc<dyn AnyWeb>) -> Arc<dyn AnyTool> {
    fetch::tool(web)
}

/// The tool `web_search`, with the price of a query.
#[must_use]
pub fn web_search(service: Arc<dyn AnySearch>, price: MicroUsd) -> Arc<dyn AnyTool> {
    search::tool(service, price)
}

/// The tool `exec`.
#[must_use]
pub fn exec(executor: Arc<dyn Executor>) -> Arc<dyn AnyTool> {
    exec::tool(executor)
}

/// A tool that works on the workspace: its declaration, and a function that may block.
struct FileTool<A> {
    spec: ToolSpec,
    workspace: Arc<Workspace>,
    work: fn(&Workspace, A, &str) -> Result<String, ToolError>,
}

impl<A: DeserializeOwned + Send + 'static> Tool for FileTool<A> {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, call: ToolCall) -> Result<ToolOutput, ToolError> {
        let (workspace, work, arguments) = (self.workspace.clone(), self.work, arguments(call.input)?);
        blocking(move || work(&workspace, arguments, &call.key).map(ToolOutput::from)).await
    }
}

/// A declaration with the ordinary limits; no byte leaves this machine.
fn spec(
    name: &str,
    description: &'static str,
    schema: serde_json::Value,
    replay: Replay,
    arg_roles: &'static [(&'static str, ArgRole)],
) -> ToolSpec {
    ToolSpec { replay, arg_roles, ..ToolSpec::new(name, description, schema) }
}

/// As [`spec`], for a tool that shows the owner's files or the conversation, which may hold words of others and of the model.
fn file_spec(
    name: &str,
    description: &'static str,
    schema: serde_json::Value,
    replay: Replay,
    arg_roles: &'static [(&'static str, ArgRole)],
) -> ToolSpec {
    ToolSpec { returns: Origin::Derived, private: true, ..spec(name, description, schema, replay, arg_roles) }
}

/// The arguments as the tool's own type.
fn arguments<A: DeserializeOwned>(input: serde_json::Value) -> Result<A, ToolError> {
    serde_json::from_value(input).map_err(|error| ToolError::ToModel(format!("the arguments do not fit: {error}")))
}

/// Runs work that may block. A call that was cancelled may still take effect, which is what the model is told about it; the
/// work is short, because everything it reads and writes has a limit.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ToolError> + Send + 'static,
) -> Result<T, ToolError> {
    let ending = || Err(ToolError::Broken("the work was not done: the process is ending".to_owned()));
    crate::tasks::blocking(work).await.unwrap_or_else(ending)
}
