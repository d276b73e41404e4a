//! What the model reads of its tools: all results of a round in one message, each shown part bounded.

use super::Note;
use crate::limits::TOOL_SHOWN_BYTES_MAX;
use crate::message::{Body, Origin, Part};
use crate::record::{ToolRun, ToolState};

/// Bytes shown from the start of an output that is too long to show whole.
const HEAD_BYTES: usize = 3 * 1024;
/// Bytes shown from its end.
const TAIL_BYTES: usize = 1024;

const UNKNOWN: &str = "interrupted, outcome unknown: it may or may not have taken effect";
const NO_OUTPUT: &str = "(no output)";
const LAST_ROUND: &str = "[This was the last round of tool calls for this message. Answer now with what you have.]";

/// The message that carries a round's results; call it when every run is over. A run that is not is told as interrupted.
#[must_use]
pub fn results(runs: &[ToolRun], last: bool) -> Vec<Part> {
    let mut parts: Vec<Part> = runs.iter().map(result).collect();
    if last {
        parts.push(Part::text(Origin::Engine, LAST_ROUND));
    }
    parts
}

/// The assistant message that stands where an answer is missing.
#[must_use]
pub fn note(note: Note) -> Vec<Part> {
    vec![Part::text(Origin::Engine, note.as_str())]
}

fn result(run: &ToolRun) -> Part {
    let (content, error) = match &run.state {
        ToolState::Done { content, error } => (shown(content), *error),
        ToolState::Unknown | ToolState::Started(_) | ToolState::Planned | ToolState::AwaitingApproval => {
            (UNKNOWN.to_owned(), true)
        }
    };
    Part { origin: Origin::Tool, private: false, body: Body::ToolResult { id: run.call.clone(), content, error } }
}

/// The whole output if it is short, else its head and tail with a marker between.
fn shown(output: &str) -> String {
    if output.trim().is_empty() {
        return NO_OUTPUT.to_owned();
    }
    if output.len() <= TOOL_SHOWN_BYTES_MAX {
        return output.to_owned();
    }
    let head = output.get(..output.floor_char_boundary(HEAD_BYTES)).unwrap_or_default();
    let tail = output.get(output.ceil_char_boundary(output.len() - TAIL_BYTES)..).unwrap_or_default();
    let hidden = output.len() - head.len() - tail.len();
    format!("{head}\n[… {hidden} bytes not shown; ask for a smaller part …]\n{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_outputs_show_head_and_tail_on_character_boundaries() {
        let output = "ä".repeat(TOOL_SHOWN_BYTES_MAX);
        let shown = shown(&output);
        assert!(shown.len() <= HEAD_BYTES + TAIL_BYTES + 100);
        assert!(shown.starts_with('ä') && shown.ends_with('ä') && shown.contains("bytes not shown"));
        assert_eq!(super::shown(" \n"), NO_OUTPUT);
    }
}
