//! `write_file`: makes a text the whole content of a file.

use super::workspace::{FILE_BYTES_MAX, PATH_BYTES_MAX, Relative, Workspace};
use super::{FileTool, spec};
use blufio_core::port::{AnyTool, ArgRole, Replay, ToolError};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    pub path: String,
    pub content: String,
}

pub(super) fn tool(workspace: Arc<Workspace>) -> Arc<dyn AnyTool> {
    let description = "Creates a text file in the workspace, with its folders, or replaces all that was in it. To change a part, \
        use `edit_file`.";
    let schema = json!({
        "type": "object",
        "properties": {
            "path": {
                "type": "string",
                "maxLength": PATH_BYTES_MAX,
                "description": "Relative to the workspace."
            },
            "content": {
                "type": "string",
                "maxLength": FILE_BYTES_MAX,
                "description": "All of it."
            }
        },
        "required": ["path", "content"],
        "additionalProperties": false
    });
    let roles = &[("path", ArgRole::Path), ("content", ArgRole::Content)];
    // Running it again leaves the same file with the same content.
    let spec = spec("write_file", description, schema, Replay::Idempotent, roles);
    Arc::new(FileTool { spec, workspace, work: |workspace, arguments, key| write(workspace, &arguments, key) })
}

pub(super) fn write(workspace: &Workspace, arguments: &Arguments, key: &str) -> Result<String, ToolError> {
    let path = Relative::parse(&arguments.path)?;
    workspace.replace(&workspace.lock(), &path, key, arguments.content.as_bytes())?;
    Ok(format!("wrote {} bytes to `{path}`", arguments.content.len()))
}
