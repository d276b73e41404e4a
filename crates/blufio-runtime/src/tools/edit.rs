//! `edit_file`: replaces an exact text in a file.

use super::workspace::{FILE_BYTES_MAX, PATH_BYTES_MAX, Relative, Workspace};
use super::{FileTool, file_spec};
use blufio_core::port::{AnyTool, ArgRole, Replay, ToolError};
use serde::Deserialize;
use serde_json::json;
use std::io::Read;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    pub path: String,
    pub old: String,
    pub new: String,
    pub all: Option<bool>,
}

pub(super) fn tool(workspace: Arc<Workspace>) -> Arc<dyn AnyTool> {
    let description = "Replaces a text in a file of the workspace. `old` must stand there exactly so, white space included, and \
        exactly once; add lines around it to make it unique, or set `all`.";
    let text = |what: &str| json!({"type": "string", "maxLength": FILE_BYTES_MAX, "description": what});
    let schema = json!({
        "type": "object",
        "properties": {
            "path": {
                "type": "string",
                "maxLength": PATH_BYTES_MAX,
                "description": "Relative to the workspace."
            },
            "old": text("The text to replace."),
            "new": text("The text to put there; may be empty."),
            "all": {"type": "boolean", "description": "Replace every occurrence."}
        },
        "required": ["path", "old", "new"],
        "additionalProperties": false
    });
    let roles = &[("path", ArgRole::Path), ("old", ArgRole::Content), ("new", ArgRole::Content)];
    // Not idempotent: putting `ab` for `b` a second time makes `aab`, and from the file alone nobody can tell whether the
    // first time happened. A model that reads "outcome unknown" looks at the file; that is cheaper than a journal of edits.
    let spec = file_spec("edit_file", description, schema, Replay::Effectful, roles);
    Arc::new(FileTool { spec, workspace, work: |workspace, arguments, key| edit(workspace, &arguments, key) })
}

pub(super) fn edit(workspace: &Workspace, arguments: &Arguments, key: &str) -> Result<String, ToolError> {
    let Arguments { path, old, new, all } = arguments;
    let path = Relative::parse(path)?;
    let refused = |why: String| Err(ToolError::ToModel(why));
    if old.is_empty() {
        return refused("`old` is empty; to write a whole file, use `write_file`".to_owned());
    }
    if old == new {
        return refused("`old` and `new` are the same; there is nothing to change".to_owned());
    }
    let lock = workspace.lock();
    let before = whole(workspace, &path)?;
    let places: Vec<usize> = before.match_indices(old.as_str()).map(|(place, _)| place).collect();
    let Some(first) = places.first().copied() else {
        return refused(format!("`old` does not occur in `{path}`; {}", hint(&before, old)));
    };
    let line = before.get(..first).unwrap_or_default().matches('\n').count() + 1;
    let all = all.unwrap_or(false);
    if !all && let Some(second) = next(&before, old, first) {
        let other = before.get(..second).unwrap_or_default().matches('\n').count() + 1;
        return refused(format!(
            "`old` occurs more than once in `{path}`, first in the lines {line} and {other}; add the lines around it to make \
             it unique, or set `all`"
        ));
    }
    // Checked before the text is built: a short `old` and a long `new` could make gigabytes.
    let count = if all { places.len() } else { 1 };
    let length = before.len() + count.saturating_mul(new.len()) - count * old.len();
    if length > FILE_BYTES_MAX {
        return refused(format!("`{path}` would have {length} bytes; at most {FILE_BYTES_MAX} are allowed"));
    }
    let after = before.replacen(old.as_str(), new, count);
    workspace.replace(&lock, &path, key, after.as_bytes())?;
    Ok(match count {
        1 => format!("replaced 1 occurrence in `{path}`, in line {line}"),
        _ => format!("replaced {count} occurrences in `{path}`, the first in line {line}"),
    })
}

/// The next place after `first`, also one that overlaps it: replacing either would be a guess.
fn next(text: &str, old: &str, first: usize) -> Option<usize> {
    let from = text.ceil_char_boundary(first + 1);
    text.get(from..)?.find(old).map(|place| from + place)
}

fn whole(workspace: &Workspace, path: &Relative) -> Result<String, ToolError> {
    let (file, size) = workspace.file(path)?;
    let mut bytes = Vec::new();
    let limit = FILE_BYTES_MAX as u64;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| ToolError::Broken(format!("{path}: {error}")))?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(ToolError::ToModel(format!("`{path}` has {size} bytes; files up to {limit} can be edited")));
    }
    String::from_utf8(bytes).map_err(|_| ToolError::ToModel(format!("`{path}` is not UTF-8 text and cannot be edited")))
}

/// Why the text may not have been found.
fn hint(before: &str, old: &str) -> String {
    if before.contains('\r') && before.replace("\r\n", "\n").contains(&old.replace("\r\n", "\n")) {
        return "the lines of the file end in \\r\\n: write them so".to_owned();
    }
    let first = old.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let like = |line: &str| !first.is_empty() && line.trim() == first;
    match before.lines().position(like) {
        Some(place) => {
            let line = place + 1;
            format!("line {line} is like its first line: read the file from there and copy the text exactly")
        }
        None => "read the file and copy the text exactly".to_owned(),
    }
}
