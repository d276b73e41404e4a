//! The pairing rules of a conversation, on neutral parts.
//!
//! Every tool call has exactly one result in the next message, results come first, roles alternate, nothing is empty. The
//! provider checks the final bytes once more before each send; this is the same rule where no vendor's words are needed.

use crate::ids::CallId;
use crate::message::{Body, Part, Role};
use std::collections::BTreeSet;

/// What is wrong with a history: the message's place, from 0, and the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message {place}: {rule}")]
pub struct Illegal {
    /// Which message.
    pub place: usize,
    /// The broken rule.
    pub rule: &'static str,
}

/// Checks a whole history that is about to be sent (so it ends with a user message).
pub fn check<'a>(messages: impl IntoIterator<Item = (Role, &'a [Part])>) -> Result<(), Illegal> {
    let mut open: BTreeSet<&CallId> = BTreeSet::new();
    let mut known: BTreeSet<&CallId> = BTreeSet::new();
    let mut last = None;
    let mut place = 0;
    for (role, parts) in messages {
        let illegal = |rule| Err(Illegal { place, rule });
        if last.is_none() && role != Role::User {
            return illegal("the first message is not the user's");
        }
        if last == Some(role) {
            return illegal("roles do not alternate");
        }
        if parts.is_empty() {
            return illegal("a message without parts");
        }
        let mut results_over = false;
        for part in parts {
            match &part.body {
                Body::Text { text } if text.trim().is_empty() => return illegal("an empty text"),
                Body::ToolResult { content, .. } if content.trim().is_empty() => {
                    return illegal("an empty tool result");
                }
                Body::ToolCall { .. } | Body::Opaque { .. } if role == Role::User => {
                    return illegal("a model's part in a user message");
                }
                Body::ToolCall { id, .. } if !known.insert(id) => return illegal("a tool call id used twice"),
                Body::ToolCall { id, .. } => {
                    open.insert(id);
                }
                Body::ToolResult { .. } if role == Role::Assistant => return illegal("a tool result from the model"),
                Body::ToolResult { .. } if results_over => return illegal("a tool result after other content"),
                Body::ToolResult { id, .. } if !open.remove(id) => return illegal("a tool result without its call"),
                Body::ToolResult { .. } => {}
                Body::Text { .. } => results_over = true,
                Body::Opaque { .. } => {}
            }
        }
        if role == Role::User && !open.is_empty() {
            return illegal("a tool call without its result");
        }
        last = Some(role);
        place += 1;
    }
    match last {
        Some(Role::User) => Ok(()),
        Some(Role::Assistant) => Err(Illegal { place, rule: "the last message is the model's" }),
        None => Err(Illegal { place: 0, rule: "no messages" }),
    }
}
