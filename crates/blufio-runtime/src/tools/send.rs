//! `send_file`: a file of the workspace for the conversation.
//!
//! The tool stores a copy and says what is to be sent; the engine commits that together with the tool's result, so a file
//! is sent once however often the call is taken up again.

use super::workspace::{PATH_BYTES_MAX, Relative, Workspace};
use super::{arguments, blocking, spec};
use crate::media;
use blufio_core::content::OutgoingFile;
use blufio_core::limits::SENT_PICTURE_BYTES_MAX;
use blufio_core::port::{
    AnyTool, ArgRole, BlobError, Blobs, Egress, Replay, Tool, ToolCall, ToolError, ToolOutput, ToolSpec,
};
use serde::Deserialize;
use serde_json::json;
use std::io::Read;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    path: String,
}

struct SendFile {
    spec: ToolSpec,
    workspace: Arc<Workspace>,
    blobs: Arc<dyn Blobs>,
    /// Largest file.
    bytes_max: u64,
}

pub(super) fn tool(workspace: Arc<Workspace>, blobs: Arc<dyn Blobs>, bytes_max: u64) -> Arc<dyn AnyTool> {
    let description = "Sends a file of the workspace into this chat, to everybody in it.";
    let schema = json!({
        "type": "object",
        "properties": {
            "path": {
                "type": "string",
                "maxLength": PATH_BYTES_MAX,
                "description": "Relative to the workspace."
            }
        },
        "required": ["path"],
        "additionalProperties": false
    });
    let roles = &[("path", ArgRole::Path)];
    let spec =
        ToolSpec { egress: Egress::Conversation, ..spec("send_file", description, schema, Replay::Idempotent, roles) };
    Arc::new(SendFile { spec, workspace, blobs, bytes_max })
}

impl Tool for SendFile {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, call: ToolCall) -> Result<ToolOutput, ToolError> {
        if !call.sends_files {
            return Err(ToolError::ToModel(
                "files can be sent in a chat only, and this conversation is not one".into(),
            ));
        }
        let Arguments { path } = arguments(call.input)?;
        let (workspace, blobs, bytes_max) = (self.workspace.clone(), self.blobs.clone(), self.bytes_max);
        blocking(move || send(&workspace, blobs.as_ref(), bytes_max, &path)).await
    }
}

fn send(workspace: &Workspace, blobs: &dyn Blobs, bytes_max: u64, path: &str) -> Result<ToolOutput, ToolError> {
    let path = Relative::parse(path)?;
    let (file, size) = workspace.file(&path)?;
    let too_large = || ToolError::ToModel(format!("`{path}` has more than {} MiB", bytes_max / (1024 * 1024)));
    if size > bytes_max {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let read = file.take(bytes_max + 1).read_to_end(&mut bytes);
    read.map_err(|error| ToolError::Broken(format!("{path}: {error}")))?;
    if bytes.len() as u64 > bytes_max {
        return Err(too_large());
    }
    if bytes.is_empty() {
        return Err(ToolError::ToModel(format!("`{path}` is empty, and empty files cannot be sent")));
    }
    let attachment = blobs.put(&bytes).map_err(|error| match error {
        BlobError::Full => {
            ToolError::ToModel(format!("`{path}` cannot be sent: {error}, so the owner has to make room"))
        }
        BlobError::Gone | BlobError::Broken(_) => ToolError::Broken(error.to_string()),
    })?;
    let name = path.to_string();
    let name = name.rsplit('/').next().unwrap_or(&name).to_owned();
    let media_type = media_type(&name, &bytes);
    // Of a moving picture shown as a picture only the first one would be left.
    let shown = media_type != "image/gif" && media::image::is_image(&bytes);
    let picture = shown && bytes.len() <= SENT_PICTURE_BYTES_MAX;
    let text = format!("`{path}` ({} bytes) will be sent with your answer.", bytes.len());
    let file = OutgoingFile { attachment, media_type: media_type.to_owned(), name, bytes: bytes.len() as u64, picture };
    Ok(ToolOutput { text, files: vec![file] })
}

/// By what is in it, else by its name; the receiver's program decides in any case.
fn media_type(name: &str, bytes: &[u8]) -> &'static str {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        [b'%', b'P', b'D', b'F', b'-', ..] => "application/pdf",
        _ => match name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).as_deref() {
            Some("txt" | "log") => "text/plain",
            Some("md") => "text/markdown",
            Some("csv") => "text/csv",
            Some("json") => "application/json",
            Some("html" | "htm") => "text/html",
            _ => "application/octet-stream",
        },
    }
}
