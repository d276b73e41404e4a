//! A long conversation becomes a short one without losing what matters.
//!
//! [`plan`] decides whether and where to cut, [`ask`] writes what the model is asked, [`guard`] holds its summary against
//! what was said, and [`fallback`] makes one without a model. Messages stay stored for ever: a summary is only a view of them.

pub mod ask;
pub mod fallback;
pub mod guard;
pub mod plan;
pub(crate) mod rules;
pub(crate) mod scan;
#[cfg(test)]
mod tests;

use crate::access::Principal;
use crate::ids::{MessageSeq, ToolName};
use crate::message::{Body, Origin, Part};
use crate::record::NeutralMessage;
use guard::{GuardPart, Speaker};

/// A message of the span that a summary replaces.
#[derive(Clone, Copy, Debug)]
pub struct SpanMessage<'a> {
    /// The message.
    pub message: &'a NeutralMessage,
    /// When it was said, as the model shall read it (`2026-11-23 14:05`).
    pub date: &'a str,
    /// A turn begins with it.
    pub starts_turn: bool,
}

/// Who said a part, as it concerns `principal`. In a span that holds words of others, what tools returned is hidden as well: it
/// may hold what a misled model gave them.
#[must_use]
pub fn speaker(part: &Part, principal: &Principal, tainted_span: bool) -> Speaker {
    match part.origin {
        Origin::Owner | Origin::OwnerVoice => Speaker::Person,
        Origin::Person if *principal == Principal::Owner => Speaker::Hidden,
        Origin::Person => Speaker::Person,
        Origin::Model | Origin::Engine => Speaker::Assistant,
        Origin::Tool if tainted_span => Speaker::Hidden,
        Origin::Tool => Speaker::Tool,
        Origin::Group | Origin::Forward | Origin::File | Origin::Derived | Origin::Foreign => Speaker::Hidden,
    }
}

/// Words of others are in the span, or what a model made of them.
#[must_use]
pub fn is_tainted(span: &[SpanMessage<'_>], principal: &Principal) -> bool {
    span.iter().flat_map(|one| &one.message.parts).any(|part| speaker(part, principal, false) == Speaker::Hidden)
}

/// The parts of a span as the guard weighs them.
#[must_use]
pub fn guard_parts<'a>(span: &[SpanMessage<'a>], principal: &Principal) -> Vec<GuardPart<'a>> {
    let tainted = is_tainted(span, principal);
    let parts = span.iter().flat_map(|one| one.message.parts.iter().map(|part| (one.message.seq, part)));
    parts
        .filter_map(|(seq, part)| {
            let text = words(part)?;
            // The arguments of a call are tool noise, whoever wrote them.
            let speaker = match (speaker(part, principal, tainted), &part.body) {
                (Speaker::Hidden, _) => Speaker::Hidden,
                (_, Body::ToolCall { .. }) => Speaker::Tool,
                (said_by, _) => said_by,
            };
            Some(GuardPart { seq, speaker, text })
        })
        .collect()
}

/// Replaces large tool results by one line each; `name_of` finds the tool of a call, if it is one of ours: a name that a model
/// made up could say anything.
pub fn clear_results(message: &mut NeutralMessage, name_of: impl Fn(&crate::ids::CallId) -> Option<ToolName>) {
    let seq = message.seq;
    for part in &mut message.parts {
        let Body::ToolResult { id, content, .. } = &mut part.body else { continue };
        if content.len() < plan::CLEARED_RESULT_BYTES_MIN {
            continue;
        }
        let name = name_of(id).map_or_else(|| "a tool".to_owned(), |name| format!("`{}`", name.as_str()));
        *content = format!("[{} bytes from {name}, no longer shown; `read_again` with message {seq}]", content.len());
        // What stands there now is ours.
        part.origin = Origin::Engine;
        part.private = false;
    }
}

/// Where messages that are not shown can be read again.
#[must_use]
pub fn handle(first: MessageSeq, last: MessageSeq, bytes: usize) -> String {
    format!(
        "[msg {first}–{last}] {bytes} bytes of or after words of others, not shown; `read_again` with message {first}"
    )
}

/// The text of a part, if it has any.
fn words(part: &Part) -> Option<&str> {
    match &part.body {
        Body::Text { text } => Some(text),
        Body::ToolCall { input, .. } => Some(input),
        Body::ToolResult { content, .. } => Some(content),
        Body::Document { title, .. } => Some(title),
        Body::Image { .. } | Body::Opaque { .. } => None,
    }
}

/// The beginning of a text, at most so many characters, in one line.
fn head(text: &str, chars: usize) -> String {
    let mut line = String::new();
    let mut left = chars;
    for word in text.split_whitespace() {
        if !line.is_empty() {
            if left == 0 {
                break;
            }
            line.push(' ');
            left -= 1;
        }
        let taken: String = word.chars().take(left).collect();
        left -= taken.chars().count();
        line.push_str(&taken);
        if left == 0 {
            break;
        }
    }
    if line.len() < text.trim().len() { line.trim_end().to_owned() + "…" } else { line }
}
