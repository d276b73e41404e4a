//! `read_file`: a part of a text file that fits into what the model is shown, and how to read on.

use super::workspace::{PATH_BYTES_MAX, Relative, Workspace};
use super::{FileTool, file_spec};
use blufio_core::limits::{TOOL_OUTPUT_BYTES_MAX, TOOL_SHOWN_BYTES_MAX};
use blufio_core::port::{AnyTool, ArgRole, Replay, ToolError};
use serde::Deserialize;
use serde_json::json;
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

/// Bytes of the note below the text.
const NOTE_BYTES: usize = 256;
/// Bytes of text per call. Over: cut after a line, with a note that says how to read on. More than is shown whole would lose
/// its middle, and the model could not tell which lines that were.
const READ_BYTES_MAX: usize = TOOL_SHOWN_BYTES_MAX - NOTE_BYTES;
const _: () = assert!(READ_BYTES_MAX + NOTE_BYTES <= TOOL_OUTPUT_BYTES_MAX);
/// Bytes passed over on the way to `start_line`. Over: refused.
const SKIP_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    pub path: String,
    pub start_line: Option<u64>,
    pub start_byte: Option<u64>,
    pub lines: Option<u64>,
}

pub(super) fn tool(workspace: Arc<Workspace>) -> Arc<dyn AnyTool> {
    let description =
        "Reads a text file of the workspace, long ones in parts: the note at the end says how to read on.";
    let schema = json!({
        "type": "object",
        "properties": {
            "path": {
                "type": "string",
                "maxLength": PATH_BYTES_MAX,
                "description": "Path relative to the workspace, e.g. `notes/today.md`."
            },
            "start_line": {"type": "integer", "minimum": 1, "description": "First line; default 1."},
            "lines": {"type": "integer", "minimum": 1, "description": "How many; default: as many as fit."},
            "start_byte": {
                "type": "integer",
                "minimum": 0,
                "description": "Bytes of that line to pass over."
            }
        },
        "required": ["path"],
        "additionalProperties": false
    });
    let spec = file_spec("read_file", description, schema, Replay::Pure, &[("path", ArgRole::Path)]);
    Arc::new(FileTool { spec, workspace, work: |workspace, arguments, _| read(workspace, &arguments) })
}

pub(super) fn read(workspace: &Workspace, arguments: &Arguments) -> Result<String, ToolError> {
    let path = Relative::parse(&arguments.path)?;
    let (file, size) = workspace.file(&path)?;
    let mut reader = BufReader::new(file);
    let line = arguments.start_line.unwrap_or(1).max(1);
    let byte = arguments.start_byte.unwrap_or(0);
    skip(&mut reader, &path, line, byte)?;
    let mut window = Vec::new();
    // One byte more than is shown tells whether something follows.
    let limit = u64::try_from(READ_BYTES_MAX + 1).unwrap_or(u64::MAX);
    reader.take(limit).read_to_end(&mut window).map_err(|error| ToolError::Broken(format!("{path}: {error}")))?;
    if window.is_empty() && line > 1 && byte == 0 {
        return Err(ToolError::ToModel(format!("`{path}` has only {} lines", line - 1)));
    }
    let text = text(&window, byte).ok_or_else(|| {
        ToolError::ToModel(format!("`{path}` is not UTF-8 text ({size} bytes); only text files can be read"))
    })?;
    Ok(part(text, window.len() > READ_BYTES_MAX, Position { line, byte }, arguments.lines.unwrap_or(u64::MAX), size))
}

/// Where a part begins: both as the arguments count them.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Position {
    line: u64,
    byte: u64,
}

/// Passes over everything before the place where reading starts.
fn skip(reader: &mut impl BufRead, path: &Relative, line: u64, byte: u64) -> Result<(), ToolError> {
    let broken = |error: std::io::Error| ToolError::Broken(format!("{path}: {error}"));
    let (mut at, mut in_line, mut passed) = (1, 0, 0_u64);
    while at < line || in_line < byte {
        if passed > SKIP_BYTES_MAX {
            return Err(ToolError::ToModel(format!("`{path}` is too large: only its first 64 MiB can be read")));
        }
        let buffer = reader.fill_buf().map_err(broken)?;
        if buffer.is_empty() {
            let there = if in_line == 0 { at - 1 } else { at };
            return Err(ToolError::ToModel(if at == line {
                format!("line {line} of `{path}` has only {in_line} bytes")
            } else {
                format!("`{path}` has only {there} lines")
            }));
        }
        let newline = buffer.iter().position(|byte| *byte == b'\n');
        let used = if at < line {
            newline.map_or(buffer.len(), |place| place + 1)
        } else {
            let left = usize::try_from(byte - in_line).unwrap_or(usize::MAX).min(buffer.len());
            if newline.is_some_and(|place| place < left) {
                let length = in_line + newline.unwrap_or(0) as u64;
                return Err(ToolError::ToModel(format!("line {line} of `{path}` has only {length} bytes")));
            }
            left
        };
        if at < line && newline.is_some() {
            (at, in_line) = (at + 1, 0);
        } else {
            in_line += used as u64;
        }
        passed += used as u64;
        reader.consume(used);
    }
    Ok(())
}

/// The window as text, without a character that its edges cut through.
fn text(window: &[u8], byte: u64) -> Option<&str> {
    if window.contains(&0) {
        return None;
    }
    let halves = if byte == 0 { 0 } else { window.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count() };
    let window = window.get(halves..)?;
    match std::str::from_utf8(window) {
        Ok(text) => Some(text),
        // Half a character at the end is fine where the window ends, but not where the file does.
        Err(error) if error.error_len().is_none() && window.len() + halves > READ_BYTES_MAX => {
            std::str::from_utf8(window.get(..error.valid_up_to())?).ok()
        }
        Err(_) => None,
    }
}

/// Cuts the text where the part has to end and says where it did.
fn part(text: &str, more: bool, start: Position, lines: u64, size: u64) -> String {
    let lines = usize::try_from(lines).unwrap_or(usize::MAX);
    let wanted = text.match_indices('\n').nth(lines - 1).map_or(text.len(), |(place, _)| place + 1);
    let fits = text.floor_char_boundary(READ_BYTES_MAX);
    // Where the window ends in half a character, the text ends before `fits`, and yet something follows.
    let end = if wanted <= fits && !(more && wanted == text.len()) {
        wanted
    } else {
        // After the last whole line, or within a line that is too long by itself.
        text.get(..fits).and_then(|text| text.rfind('\n')).map_or(fits, |place| place + 1)
    };
    let shown = text.get(..end).unwrap_or_default();
    let complete = end == text.len() && !more;
    if complete && start == (Position { line: 1, byte: 0 }) {
        return if shown.is_empty() { "(the file is empty)".to_owned() } else { shown.to_owned() };
    }
    let newlines = shown.matches('\n').count() as u64;
    let next_line = start.line + newlines;
    let last = if shown.ends_with('\n') { next_line - 1 } else { next_line };
    let gap = if shown.ends_with('\n') { "" } else { "\n" };
    let range =
        if last <= start.line { format!("line {}", start.line) } else { format!("lines {}–{last}", start.line) };
    let note = if complete {
        format!("{range}, to the end of the file")
    } else if shown.ends_with('\n') {
        format!("{range} of a file of {size} bytes; to read on: start_line {next_line}")
    } else {
        // Only a line that is longer than a whole part ends like this, so it is the first one of the part.
        let next_byte = start.byte + shown.len() as u64;
        format!(
            "a part of line {next_line}; file of {size} bytes; to read on: start_line {next_line}, start_byte {next_byte}"
        )
    };
    format!("{shown}{gap}[{note}]")
}
