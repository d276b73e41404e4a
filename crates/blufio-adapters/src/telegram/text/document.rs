//! The text between Markdown and HTML: characters without markup, and spans over them.

use super::builder::Builder;
use super::unicode::{has_visible, part, units};
use super::{Chunk, html};

/// What a span does to its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Strong emphasis, and headings.
    Bold,
    /// Emphasis.
    Italic,
    /// Struck through.
    Strike,
    /// Hidden until tapped.
    Spoiler,
    /// Code within a line.
    Code,
    /// A code block or a table.
    Pre {
        /// At most 32 characters of `A-Z a-z 0-9 + # . _ -`.
        language: Option<String>,
    },
    /// A quotation.
    Quote {
        /// Shown folded until tapped.
        expandable: bool,
    },
    /// A link.
    Link {
        /// An address with one of the allowed schemes, at most [`super::URL_UNITS_MAX`] units long.
        url: String,
    },
}

/// A stretch of a document's text. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// What it does.
    pub kind: SpanKind,
    /// Byte offset of its first character.
    pub start: usize,
    /// Byte offset behind its last character.
    pub end: usize,
}

/// Text and spans.
///
/// The spans are sorted by start, outer before inner, and any two are nested or apart. `Code` and `Pre` hold no other span
/// and are held by `Quote` alone; no kind is held by itself. At most one of each kind is open at any place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    pub(super) text: String,
    pub(super) spans: Vec<Span>,
}

impl Document {
    /// A document of text that is not Markdown, such as an error or the answer of a command. Forbidden characters are
    /// dropped, blank lines and trailing blanks trimmed.
    pub fn literal(text: &str) -> Self {
        let mut builder = Builder::default();
        builder.text(text);
        builder.finish()
    }

    /// The text without markup.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The spans, sorted by start, outer before inner.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The text's length in UTF-16 code units.
    pub fn units(&self) -> usize {
        units(&self.text)
    }

    /// Whether there is nothing that anyone could see.
    pub fn is_empty(&self) -> bool {
        !has_visible(&self.text)
    }

    /// The text with the address behind each link's label, `label (address)`, unless the label is the address.
    pub fn plain(&self) -> String {
        let mut plain = String::with_capacity(self.text.len());
        let mut done = 0;
        for span in &self.spans {
            if let SpanKind::Link { url } = &span.kind {
                plain.push_str(part(&self.text, done, span.end));
                done = span.end;
                if !is_label_of(part(&self.text, span.start, span.end), url) {
                    plain.push_str(" (");
                    plain.push_str(url);
                    plain.push(')');
                }
            }
        }
        plain.push_str(part(&self.text, done, self.text.len()));
        plain
    }

    /// Telegram HTML with the tags `b i s tg-spoiler code pre blockquote a` and nothing else.
    pub fn to_html(&self) -> String {
        html::write(self)
    }

    /// Both ways to send it. The caller has cut it to fit.
    pub fn to_chunk(&self) -> Chunk {
        Chunk { html: self.to_html(), plain: self.plain() }
    }

    /// A part by byte offsets, made of those spans that reach into it.
    pub(super) fn slice<'a>(&self, spans: impl Iterator<Item = &'a Span>, start: usize, end: usize) -> Document {
        let spans = spans
            .filter(|span| span.start.max(start) < span.end.min(end))
            .map(|span| Span {
                kind: span.kind.clone(),
                start: span.start.max(start) - start,
                end: span.end.min(end) - start,
            })
            .collect();
        Document { text: part(&self.text, start, end).to_owned(), spans }
    }
}

/// Whether showing the address behind the label would say the same thing twice.
pub(super) fn is_label_of(label: &str, url: &str) -> bool {
    label == url || url.strip_prefix("mailto:") == Some(label)
}
