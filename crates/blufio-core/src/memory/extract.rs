//! What of a conversation is worth knowing later: what a cheap model is asked ([`ask`]), and which of its answers count
//! ([`judge`]).
//!
//! A model only proposes. Who said something is never taken from its answer, and nothing exact is believed that does not stand
//! in the messages it names. What others wrote can be remembered as theirs, and is never a wish of the person.

pub mod ask;
mod days;
mod evidence;
pub mod judge;
#[cfg(test)]
mod tests;

use super::Scope;
use crate::context::compaction::ask::shortened;
use crate::ids::{MessageSeq, SessionId};
use crate::time::Timestamp;

/// Bytes of the words of a span. Over: another span begins.
pub const SPAN_BYTES_MAX: usize = 48 * 1024;
/// Messages of a span. Over: another span begins.
pub const SPAN_MESSAGES_MAX: usize = 60;
/// Bytes of one message. Over: its middle is left out.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024;
/// Spans that a piece of a conversation is split into. Over: the oldest are left out; the words themselves can still be found.
pub const SPANS_MAX: usize = 8;

const _: () = assert!(MESSAGE_BYTES_MAX < SPAN_BYTES_MAX);

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The owner, in own words.
    Owner,
    /// Another person, in own words.
    Person,
    /// The agent.
    Agent,
    /// A tool of ours.
    Tool,
}

/// A message of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanMessage {
    /// The message.
    pub seq: MessageSeq,
    /// Who wrote it.
    pub speaker: Speaker,
    /// What they are called.
    pub name: String,
    /// When.
    pub at: Timestamp,
    /// The words.
    pub text: String,
    /// Words of others are in it, or may be; whoever wrote it.
    pub foreign: bool,
}

/// A piece of a conversation that is looked through for what is worth knowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Whose memory it goes to.
    pub scope: Scope,
    /// The conversation.
    pub session: SessionId,
    /// Its messages, in order; never empty.
    messages: Vec<SpanMessage>,
}

/// A piece of a conversation in spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spans {
    /// In order.
    pub spans: Vec<Span>,
    /// Messages at the beginning for which there was no room.
    pub left_out: usize,
}

impl Span {
    /// Its messages, in order; never empty.
    #[must_use]
    pub fn messages(&self) -> &[SpanMessage] {
        &self.messages
    }

    /// Splits messages, which are in order, into spans within the limits; empty ones are left away.
    #[must_use]
    pub fn split(scope: &Scope, session: SessionId, messages: Vec<SpanMessage>) -> Spans {
        let (mut runs, mut bytes) = (Vec::<Vec<SpanMessage>>::new(), 0_usize);
        for mut message in messages.into_iter().filter(|message| !message.text.trim().is_empty()) {
            message.text = shortened(&message.text, MESSAGE_BYTES_MAX);
            bytes = bytes.saturating_add(message.text.len());
            match runs.last_mut() {
                Some(run) if bytes <= SPAN_BYTES_MAX && run.len() < SPAN_MESSAGES_MAX => run.push(message),
                _ => {
                    bytes = message.text.len();
                    runs.push(vec![message]);
                }
            }
        }
        let over = runs.len().saturating_sub(SPANS_MAX);
        let left_out = runs.drain(..over).map(|run| run.len()).sum();
        let span = |messages| Self { scope: scope.clone(), session, messages };
        Spans { spans: runs.into_iter().map(span).collect(), left_out }
    }
}
