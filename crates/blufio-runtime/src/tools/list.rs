//! `list_files`: what is in a folder of the workspace, sorted, in pages.

use super::workspace::{Kind, PATH_BYTES_MAX, Relative, TEMPORARY, Workspace, kind};
use super::{FileTool, file_spec};
use blufio_core::limits::TOOL_SHOWN_BYTES_MAX;
use blufio_core::port::{AnyTool, ArgRole, Replay, ToolError};
use cap_std::fs::Dir;
use serde::Deserialize;
use serde_json::json;
use std::ffi::OsString;
use std::sync::Arc;

/// Entries per call. Over: a note says how to see the next ones.
const ENTRIES_MAX: usize = 500;
/// Bytes of entries per call, so that the page is shown whole. Over: the same note.
const LIST_BYTES_MAX: usize = TOOL_SHOWN_BYTES_MAX - 256;
/// Entries looked at. Over: a note says that the list is not complete.
const SCAN_MAX: usize = 10_000;
/// Levels of folders per call; each holds one open handle.
const DEPTH_MAX: u8 = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    pub path: Option<String>,
    pub depth: Option<u8>,
    pub skip: Option<usize>,
}

pub(super) fn tool(workspace: Arc<Workspace>) -> Arc<dyn AnyTool> {
    let description = "Lists files (with sizes) and folders (ending in `/`) of the workspace, long lists in parts.";
    let schema = json!({
        "type": "object",
        "properties": {
            "path": {
                "type": "string",
                "maxLength": PATH_BYTES_MAX,
                "description": "Default: the workspace itself."
            },
            "depth": {
                "type": "integer",
                "minimum": 1,
                "maximum": DEPTH_MAX,
                "description": "Levels of folders; default 1."
            },
            "skip": {"type": "integer", "minimum": 0, "maximum": SCAN_MAX, "description": "Entries to pass over."}
        },
        "required": [],
        "additionalProperties": false
    });
    let spec = file_spec("list_files", description, schema, Replay::Pure, &[("path", ArgRole::Path)]);
    Arc::new(FileTool { spec, workspace, work: |workspace, arguments, _| list(workspace, &arguments) })
}

pub(super) fn list(workspace: &Workspace, arguments: &Arguments) -> Result<String, ToolError> {
    let path = Relative::parse(arguments.path.as_deref().unwrap_or("."))?;
    let folder = workspace.folder(&path)?;
    let prefix = path.to_string();
    let mut found = Found { entries: Vec::new(), left: SCAN_MAX };
    let prefix = if prefix == "." { String::new() } else { format!("{prefix}/") };
    let complete = walk(&folder, &prefix, arguments.depth.unwrap_or(1).clamp(1, DEPTH_MAX), &mut found)
        .map_err(|error| ToolError::Broken(format!("{path}: {error}")))?;
    Ok(page(&found.entries, arguments.skip.unwrap_or(0), complete))
}

struct Found {
    entries: Vec<String>,
    left: usize,
}

/// Collects the entries of a folder, each folder followed by its own; whether that was all of them.
fn walk(folder: &Dir, prefix: &str, depth: u8, found: &mut Found) -> std::io::Result<bool> {
    let mut names: Vec<OsString> = Vec::new();
    let mut complete = true;
    for entry in folder.entries()? {
        let name = entry?.file_name();
        if prefix.is_empty() && name == TEMPORARY {
            continue;
        }
        if found.left == 0 {
            complete = false;
            break;
        }
        found.left -= 1;
        names.push(name);
    }
    names.sort_unstable();
    for name in names {
        let kind = kind(folder, &name)?;
        let usable = name.to_str().filter(|name| !name.chars().any(char::is_control));
        let Some(text) = usable else {
            found.entries.push(format!("{prefix}{name:?} (a name that cannot be used here)"));
            continue;
        };
        match kind {
            Kind::Folder => {
                let inner = format!("{prefix}{text}/");
                found.entries.push(inner.clone());
                if depth > 1 {
                    match folder.open_dir(&name).and_then(|folder| walk(&folder, &inner, depth - 1, found)) {
                        Ok(all) => complete &= all,
                        Err(_) => found.entries.push(format!("{inner} (cannot be read)")),
                    }
                }
            }
            Kind::File(metadata) => found.entries.push(format!("{prefix}{text} ({} bytes)", metadata.len())),
            Kind::Link => found.entries.push(format!("{prefix}{text} (symbolic link, not followed)")),
            Kind::Special => found.entries.push(format!("{prefix}{text} (not an ordinary file)")),
            // Removed since the folder was read.
            Kind::Missing => {}
        }
    }
    Ok(complete)
}

/// As many entries as fit, and what to do about the others.
fn page(entries: &[String], skip: usize, complete: bool) -> String {
    if entries.is_empty() {
        return "(the folder is empty)".to_owned();
    }
    let (mut text, mut count) = (String::new(), 0);
    for entry in entries.iter().skip(skip).take(ENTRIES_MAX) {
        // One entry is shown even if it is too long by itself, or the next page would begin with it again.
        if count > 0 && text.len() + entry.len() + 1 > LIST_BYTES_MAX {
            break;
        }
        text.push_str(entry);
        text.push('\n');
        count += 1;
    }
    let (next, total) = (skip.saturating_add(count), entries.len());
    if count == 0 {
        text.push_str(&format!("[there are only {total} entries]\n"));
    } else if next < total {
        text.push_str(&format!("[{} of {total} entries; to see more: skip {next}, or list a folder in it]\n", count));
    }
    if !complete {
        text.push_str(&format!(
            "[not complete: only {SCAN_MAX} entries were looked at; list the folders one by one]\n"
        ));
    }
    text.truncate(text.trim_end().len());
    text
}
