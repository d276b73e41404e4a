//! From the model's Markdown to what Telegram is given.
//!
//! Markdown becomes a [`Document`] (plain text and spans), the document is cut into pieces that fit one message, and each
//! piece is written as Telegram HTML and, for the case that the server refuses the HTML, as plain text. Cutting works on
//! the document and never on HTML, so a piece cannot hold half a tag. Nothing here knows about chats, sending or drafts.
//!
//! Limits are counted in UTF-16 code units of the text after entity parsing, the unit of `MessageEntity.offset` in the
//! Bot API and the stricter reading of "1-4096 characters after entities parsing".

mod builder;
mod chunk;
mod document;
mod html;
mod parse;
mod preview;
mod table;
#[cfg(test)]
mod tests;
mod unicode;

pub use chunk::{chunks, render};
pub use document::{Document, Span, SpanKind};
pub use parse::parse;
pub use preview::preview;

/// UTF-16 code units of one message after entity parsing, the server's limit. Longer: the text is cut into chunks.
pub const MESSAGE_UNITS_MAX: usize = 4096;
/// Smallest limit that cutting works with, in UTF-16 code units. A smaller one is raised to it.
pub const CHUNK_UNITS_MIN: usize = 128;
/// Entities of one message. The server ignores those after about the hundredth; more make a new chunk.
pub const ENTITIES_MAX: usize = 90;
/// UTF-16 code units of a preview. Longer: the newest part is shown.
pub const PREVIEW_UNITS_MAX: usize = 3500;
/// UTF-16 code units of a link's address. Longer: the address is shown as text.
pub const URL_UNITS_MAX: usize = 2048;
/// Bytes of Markdown that are read as Markdown. What comes after them is kept as plain text.
pub const MARKDOWN_BYTES_MAX: usize = 1024 * 1024;

const _: () = assert!(PREVIEW_UNITS_MAX <= MESSAGE_UNITS_MAX);
const _: () = assert!(CHUNK_UNITS_MIN < MESSAGE_UNITS_MAX);
// One character of a label with its address in brackets always fits, so that cutting makes progress.
const _: () = assert!(URL_UNITS_MAX + 8 < MESSAGE_UNITS_MAX - chunk::NOTE_UNITS_MAX);
const _: () = assert!(chunk::NOTE_UNITS_MAX < CHUNK_UNITS_MIN);

/// One message, written in both ways. Both forms are at most [`MESSAGE_UNITS_MAX`] long after entity parsing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// For `parse_mode` `HTML`.
    pub html: String,
    /// The same without markup, links as `label (address)`, for a send without `parse_mode`.
    pub plain: String,
}
