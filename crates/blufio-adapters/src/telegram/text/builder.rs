//! Writes a [`Document`] from left to right and keeps its promises: spans nest and are never empty, lines have no trailing
//! blanks, blank lines do not pile up, forbidden characters do not get in.
//!
//! Everything that stands between two pieces of visible text (line breaks, blanks, list markers, opening spans) is only
//! noted, and written when the next visible character comes. So nothing has to be taken back at the end of a line or block.

use std::mem::{discriminant, take};

use super::URL_UNITS_MAX;
use super::document::{Document, Span, SpanKind, is_label_of};
use super::unicode::{is_allowed, is_visible, part, units};

/// Line breaks in a row outside code blocks; three of them are two blank lines.
const LINE_BREAKS_MAX: usize = 3;
/// Levels of lists that are indented, two blanks each. Deeper ones stand under the deepest of these.
const INDENT_LEVELS_MAX: usize = 8;
/// Lines of a quotation that are shown unfolded.
const QUOTE_LINES_MAX: usize = 20;
/// Stands for the kind, whatever the address.
const ANY_LINK: SpanKind = SpanKind::Link { url: String::new() };
/// Stands for the kind, folded or not.
const ANY_QUOTE: SpanKind = SpanKind::Quote { expandable: false };

#[derive(Default)]
pub struct Builder {
    text: String,
    spans: Vec<Span>,
    /// Open spans, outer first, each kind once, so that hostile nesting costs nothing. A quotation is always the first.
    open: Vec<Open>,
    /// One per open list: the number of the next item, or none for bullets.
    lists: Vec<Option<u64>>,
    links: Vec<Link>,
    /// Visible characters written.
    visible: usize,
    /// Line breaks to come before the next visible text.
    gap: usize,
    /// Blanks to come before the next visible text, after the line breaks.
    blanks: String,
    /// List markers to come before the next visible text. Several if an item begins with a list.
    marker: String,
    marker_level: usize,
    /// The open quotation began behind a list marker on the same line.
    quote_after_marker: bool,
}

struct Open {
    kind: SpanKind,
    /// Index into `spans` once there is text in it.
    span: Option<usize>,
    /// How often the kind is open.
    depth: usize,
}

struct Link {
    url: String,
    start: usize,
    visible: usize,
    role: LinkRole,
}

/// What becomes of a Markdown link.
enum LinkRole {
    /// A link.
    Linked,
    /// Text with the address behind it.
    Shown,
    /// Text only: it is within another link.
    Inner,
}

impl Builder {
    /// Visible text; line breaks in it are kept.
    pub fn text(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '\n' => self.line_break(),
                ' ' | '\t' => self.blanks.push(character),
                other if !is_allowed(other) => {}
                other => {
                    self.settle();
                    self.text.push(other);
                    self.visible += usize::from(is_visible(other));
                }
            }
        }
    }

    /// One more line break before the next text.
    pub fn line_break(&mut self) {
        self.blanks.clear();
        if self.marker.is_empty() {
            self.gap = (self.gap + 1).min(LINE_BREAKS_MAX);
        }
    }

    /// At least so many line breaks before the next text: 1 for a new line, 2 for a blank line. None directly behind a
    /// list marker.
    pub fn gap(&mut self, line_breaks: usize) {
        self.blanks.clear();
        if self.marker.is_empty() {
            self.gap = self.gap.max(line_breaks);
        }
    }

    /// The gap after a block: a blank line, but only a new line within a list.
    pub fn gap_after_block(&mut self) {
        self.gap(if self.lists.is_empty() { 2 } else { 1 });
    }

    /// Opens a span for the text to come. Opening a kind again within itself only counts.
    pub fn open(&mut self, kind: SpanKind) {
        match self.open.iter_mut().find(|open| discriminant(&open.kind) == discriminant(&kind)) {
            Some(open) => open.depth += 1,
            None => self.open.push(Open { kind, span: None, depth: 1 }),
        }
    }

    /// Closes the span of a kind that was opened last.
    pub fn close(&mut self, kind: &SpanKind) {
        let Some(index) = self.open.iter().rposition(|open| discriminant(&open.kind) == discriminant(kind)) else {
            return;
        };
        if let Some(open) = self.open.get_mut(index) {
            open.depth -= 1;
            if open.depth > 0 {
                return;
            }
        }
        debug_assert_eq!(index + 1, self.open.len(), "Markdown elements nest");
        for open in self.open.split_off(index) {
            self.end_span(open.span);
        }
    }

    /// Code within a line. Telegram allows no other style together with it, so the open ones pause; within a link or
    /// a spoiler it is plain text, since the link and the hiding matter more than the look.
    pub fn code(&mut self, code: &str) {
        if self.is_open(&SpanKind::Spoiler) || self.is_open(&ANY_LINK) {
            self.text(code);
            return;
        }
        let styles = self.open.split_off(usize::from(self.quote().is_some()));
        for style in &styles {
            self.end_span(style.span);
        }
        self.open(SpanKind::Code);
        self.text(code);
        self.close(&SpanKind::Code);
        self.open.extend(styles.into_iter().map(|style| Open { span: None, ..style }));
    }

    /// A code block. Its text is kept as it is, without forbidden characters and trailing blank lines.
    pub fn pre(&mut self, language: Option<String>, code: &str) {
        let code: String = code.chars().filter(|&character| is_allowed(character)).collect();
        let visible = code.chars().filter(|&character| is_visible(character)).count();
        if visible == 0 {
            return;
        }
        self.write_lone_marker();
        self.gap(1);
        self.write_gap();
        self.start_spans(self.open.len());
        let start = self.text.len();
        self.text.push_str(code.trim_end());
        self.visible += visible;
        self.spans.push(Span { kind: SpanKind::Pre { language }, start, end: self.text.len() });
        self.gap_after_block();
    }

    /// A finished document as a part of this line, with its spans.
    pub fn append(&mut self, document: &Document) {
        if document.is_empty() {
            return;
        }
        self.settle();
        let offset = self.text.len();
        self.text.push_str(&document.text);
        self.visible += 1;
        self.spans.extend(document.spans.iter().map(|span| Span {
            kind: span.kind.clone(),
            start: span.start + offset,
            end: span.end + offset,
        }));
    }

    pub fn begin_quote(&mut self) {
        self.gap(1);
        if self.quote().is_none() {
            self.quote_after_marker = !self.marker.is_empty();
        }
        self.open(ANY_QUOTE);
    }

    pub fn end_quote(&mut self) {
        let quote = self.quote().and_then(|open| open.span);
        self.close(&ANY_QUOTE);
        if self.quote().is_none()
            && let Some(span) = quote.and_then(|index| self.spans.get_mut(index))
        {
            let lines = 1 + part(&self.text, span.start, span.end).matches('\n').count();
            span.kind = SpanKind::Quote { expandable: lines > QUOTE_LINES_MAX };
        }
        self.gap_after_block();
    }

    /// A list: of numbers from the given one, or of bullets.
    pub fn begin_list(&mut self, first: Option<u64>) {
        self.gap(1);
        self.lists.push(first);
    }

    pub fn end_list(&mut self) {
        self.lists.pop();
        self.gap_after_block();
    }

    pub fn begin_item(&mut self) {
        self.gap(1);
        if self.marker.is_empty() {
            self.marker_level = self.lists.len().saturating_sub(1);
        }
        match self.lists.last_mut() {
            Some(Some(number)) => {
                self.marker.push_str(&format!("{number}. "));
                *number = number.saturating_add(1);
            }
            Some(None) | None => self.marker.push_str("• "),
        }
    }

    pub fn end_item(&mut self) {
        self.write_lone_marker();
        self.gap(1);
    }

    pub fn begin_link(&mut self, url: &str) {
        let role = if self.is_open(&ANY_LINK) {
            LinkRole::Inner
        } else if is_linkable(url) {
            self.open(SpanKind::Link { url: url.to_owned() });
            LinkRole::Linked
        } else {
            LinkRole::Shown
        };
        // The label is compared with the address, so it has to begin exactly here.
        self.settle();
        self.links.push(Link { url: url.to_owned(), start: self.text.len(), visible: self.visible, role });
    }

    pub fn end_link(&mut self) {
        let Some(link) = self.links.pop() else { return };
        let has_label = self.visible > link.visible;
        match link.role {
            LinkRole::Linked => {
                if !has_label {
                    self.text(&link.url);
                }
                self.close(&ANY_LINK);
            }
            LinkRole::Shown if !has_label => self.text(&link.url),
            LinkRole::Shown => {
                if !link.url.is_empty() && !is_label_of(part(&self.text, link.start, self.text.len()), &link.url) {
                    self.blanks.clear();
                    self.text(&format!(" ({})", link.url));
                }
            }
            LinkRole::Inner => {}
        }
    }

    pub fn finish(mut self) -> Document {
        while let Some(open) = self.open.pop() {
            self.end_span(open.span);
        }
        if self.visible == 0 {
            return Document::default();
        }
        Document { text: self.text, spans: self.spans }
    }

    fn is_open(&self, kind: &SpanKind) -> bool {
        self.open.iter().any(|open| discriminant(&open.kind) == discriminant(kind))
    }

    fn quote(&self) -> Option<&Open> {
        self.open.first().filter(|open| matches!(open.kind, SpanKind::Quote { .. }))
    }

    /// Writes what was noted, so that a visible character can follow.
    fn settle(&mut self) {
        let is_settled = self.gap == 0
            && self.blanks.is_empty()
            && self.marker.is_empty()
            && self.open.iter().all(|open| open.span.is_some());
        if is_settled {
            return;
        }
        if !self.marker.is_empty() {
            self.write_marker();
        } else if self.write_gap() {
            self.indent(self.lists.len());
        }
        self.text.push_str(&take(&mut self.blanks));
        self.start_spans(self.open.len());
    }

    /// Writes the line breaks, none at the very beginning. True at the beginning of a line that is not the first.
    fn write_gap(&mut self) -> bool {
        let line_breaks = take(&mut self.gap);
        if self.text.is_empty() {
            self.blanks.clear();
            return false;
        }
        self.text.extend(std::iter::repeat_n('\n', line_breaks));
        line_breaks > 0
    }

    fn write_marker(&mut self) {
        self.write_gap();
        if !self.quote_after_marker {
            self.start_spans(usize::from(self.quote().is_some()));
        }
        self.indent(self.marker_level);
        self.visible += 1;
        self.text.push_str(&take(&mut self.marker));
    }

    /// Writes the marker of an item that has no text on its line.
    fn write_lone_marker(&mut self) {
        if !self.marker.is_empty() {
            self.marker.pop();
            self.write_marker();
        }
    }

    fn indent(&mut self, levels: usize) {
        self.text.extend(std::iter::repeat_n(' ', 2 * levels.min(INDENT_LEVELS_MAX)));
    }

    /// Starts those of the first `count` open spans here that have no text yet.
    fn start_spans(&mut self, count: usize) {
        let start = self.text.len();
        for open in self.open.iter_mut().take(count).filter(|open| open.span.is_none()) {
            open.span = Some(self.spans.len());
            self.spans.push(Span { kind: open.kind.clone(), start, end: start });
        }
    }

    /// Ends a span here. One that stayed empty goes, with the empty ones in it.
    fn end_span(&mut self, index: Option<usize>) {
        let Some(index) = index else { return };
        let end = self.text.len();
        match self.spans.get_mut(index) {
            Some(span) if span.start < end => span.end = end,
            Some(_) => self.spans.truncate(index),
            None => {}
        }
    }
}

/// Whether an address may be behind a label. The rest is shown, so that the reader sees where it leads.
fn is_linkable(url: &str) -> bool {
    if units(url) > URL_UNITS_MAX || !url.chars().all(is_visible) {
        return false;
    }
    let Some((scheme, rest)) = url.split_once(':') else { return false };
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => rest.strip_prefix("//").is_some_and(has_dotted_host),
        "mailto" => rest.contains('@'),
        "tg" => rest
            .strip_prefix("//user?id=")
            .is_some_and(|id| !id.is_empty() && id.len() <= 19 && id.bytes().all(|byte| byte.is_ascii_digit())),
        _ => false,
    }
}

/// Telegram drops a link whose host is a single word, such as `localhost`; its address is shown instead.
fn has_dotted_host(rest: &str) -> bool {
    rest.split(['/', '?', '#']).next().is_some_and(|host| host.contains('.'))
}
