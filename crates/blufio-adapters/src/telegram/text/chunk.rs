//! Cuts a document into pieces that fit one message each, at the places where a reader minds least.

use std::ops::Range;

use blufio_core::limits::REPLY_CHUNKS_MAX;
use unicode_segmentation::UnicodeSegmentation;

use super::document::{Document, Span, SpanKind};
use super::unicode::{floor_boundary, has_visible, part, units};
use super::{CHUNK_UNITS_MIN, Chunk, ENTITIES_MAX, MESSAGE_UNITS_MAX, parse};

/// UTF-16 code units that the note of a cut reply may take.
pub(super) const NOTE_UNITS_MAX: usize = 100;
/// A cut leaves at least this share of the possible text in the chunk, in per cent, unless there is no place for it.
const CHUNK_FILL_MIN_PERCENT: usize = 30;
/// Bytes behind the limit that are looked at to see where a character cluster ends. Real clusters are much shorter.
const CLUSTER_BYTES: usize = 256;

/// Markdown as the messages of one reply, at most one more than [`REPLY_CHUNKS_MAX`]: then there are too many to send. If
/// there is still more, the last one ends with a note that says how much of the reply is shown. No chunk is blank; a text
/// without anything visible gives none.
///
/// `limit_units` counts UTF-16 code units after entity parsing and is brought into [`CHUNK_UNITS_MIN`] to
/// [`MESSAGE_UNITS_MAX`]. The plain form of a chunk, which has the addresses of links in it, may exceed `limit_units` but
/// not [`MESSAGE_UNITS_MAX`].
pub fn render(markdown: &str, limit_units: usize) -> Vec<Chunk> {
    chunks(&parse(markdown), limit_units, REPLY_CHUNKS_MAX + 1).iter().map(Document::to_chunk).collect()
}

/// A document as at most `pieces_max` pieces that fit one message each, for limits and with a note as in [`render`].
/// Together they hold the whole text, except for blanks at the cuts, pieces in which nothing is visible, and what the note
/// tells of.
pub fn chunks(document: &Document, limit_units: usize, pieces_max: usize) -> Vec<Document> {
    let limits = Limits::new(limit_units);
    let mut cutter = Cutter::new(document);
    let mut pieces = Vec::new();
    while pieces.len() + 1 < pieces_max {
        let Some(piece) = cutter.next(limits) else { return pieces };
        pieces.push(piece);
    }
    pieces.extend(last(cutter, limits));
    pieces
}

/// All the rest if it fits, else as much as fits with a note.
fn last(mut cutter: Cutter<'_>, limits: Limits) -> Option<Document> {
    let mut whole = cutter.clone();
    let rest = whole.next(limits);
    if whole.next(limits).is_none() {
        return rest;
    }
    let mut piece = cutter.next(limits.less(NOTE_UNITS_MAX))?;
    let all = cutter.document.text.chars().count();
    let shown = part(&cutter.document.text, 0, cutter.at).chars().count();
    let note = format!("\n\n[This reply was cut: it has {all} characters, {shown} of them are shown.]");
    debug_assert!(units(&note) <= NOTE_UNITS_MAX);
    piece.text.push_str(&note);
    Some(piece)
}

#[derive(Clone, Copy)]
struct Limits {
    /// UTF-16 code units of the text.
    text: usize,
    /// UTF-16 code units of the text with the addresses of links.
    plain: usize,
}

impl Limits {
    fn new(limit_units: usize) -> Self {
        Limits { text: limit_units.clamp(CHUNK_UNITS_MIN, MESSAGE_UNITS_MAX), plain: MESSAGE_UNITS_MAX }
    }

    fn less(self, units: usize) -> Self {
        Limits { text: self.text.saturating_sub(units), plain: self.plain.saturating_sub(units) }
    }
}

/// How good a place for a cut is, best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    BlankLine,
    LineEnd,
    SentenceEnd,
    Blank,
    Cluster,
}

const PLACES: usize = 1 + Place::Cluster as usize;

/// Walks over a document once. All positions are byte offsets.
#[derive(Clone)]
struct Cutter<'a> {
    document: &'a Document,
    at: usize,
    /// Spans that began before `at` and end after it, outer first; one per kind at most.
    carried: Vec<&'a Span>,
    /// The spans that begin at `at` or later.
    ahead: &'a [Span],
}

impl<'a> Cutter<'a> {
    fn new(document: &'a Document) -> Self {
        Cutter { document, at: 0, carried: Vec::new(), ahead: &document.spans }
    }

    /// The next piece in which something is visible.
    fn next(&mut self, limits: Limits) -> Option<Document> {
        loop {
            self.skip_blanks();
            if self.at >= self.document.text.len() {
                return None;
            }
            let start = self.at;
            let cut = self.cut(limits);
            let end = start + part(&self.document.text, start, cut).trim_end().len();
            let piece = self.document.slice(self.spans_before(end), start, end);
            self.advance(cut);
            if has_visible(&piece.text) {
                return Some(piece);
            }
        }
    }

    /// Leaves out the blanks at a cut, but not the indentation of a line that begins here.
    fn skip_blanks(&mut self) {
        let text = &self.document.text;
        let rest = part(text, self.at, text.len());
        let blanks = part(rest, 0, rest.len() - rest.trim_start().len());
        let is_line_start = part(text, 0, self.at).ends_with('\n');
        let skipped = match blanks.rfind('\n') {
            Some(line_break) => line_break + 1,
            None if is_line_start => 0,
            None => blanks.len(),
        };
        self.advance(self.at + skipped);
    }

    fn advance(&mut self, to: usize) {
        let passed = self.ahead.partition_point(|span| span.start < to);
        let (passed, ahead) = self.ahead.split_at(passed);
        self.carried.extend(passed);
        self.carried.retain(|span| span.end > to);
        self.ahead = ahead;
        self.at = to;
    }

    fn spans_before(&self, end: usize) -> impl Iterator<Item = &'a Span> {
        self.carried.iter().copied().chain(self.ahead.iter().take_while(move |span| span.start < end))
    }

    /// Where the piece that begins here ends: at the best place that the limits leave.
    fn cut(&self, limits: Limits) -> usize {
        let text = &self.document.text;
        let hard_end = self.hard_end(limits);
        if hard_end == text.len() {
            return hard_end;
        }
        let floor = self.at + (hard_end - self.at) * CHUNK_FILL_MIN_PERCENT / 100;
        let code_blocks: Vec<Range<usize>> = self
            .spans_before(hard_end)
            .filter(|span| matches!(span.kind, SpanKind::Pre { .. }))
            .map(|span| span.start..span.end)
            .collect();
        let mut best: [Option<usize>; PLACES] = [None; PLACES];
        for (end, place) in places(part(text, self.at, floor_boundary(text, hard_end + CLUSTER_BYTES))) {
            let end = self.at + end;
            if end > hard_end {
                break;
            }
            // A blank line within code is no better than the end of any other line.
            let is_in_code = place == Place::BlankLine && code_blocks.iter().any(|block| block.contains(&end));
            let place = if is_in_code { Place::LineEnd } else { place };
            for place in [place, Place::Cluster] {
                if let Some(best) = best.get_mut(place as usize).filter(|_| end > floor || place == Place::Cluster) {
                    *best = Some(end);
                }
            }
        }
        // A single cluster that is longer than a message has to be cut anyhow.
        best.into_iter().flatten().next().unwrap_or(hard_end)
    }

    /// The end of the longest piece that the limits allow, at a character boundary. Always beyond the beginning.
    fn hard_end(&self, limits: Limits) -> usize {
        let text = &self.document.text;
        let mut spans = self.ahead.iter().peekable();
        let mut entities = self.carried.len();
        let mut addresses: usize = self.carried.iter().map(|span| address_units(span)).sum();
        let mut visible = 0;
        for (offset, character) in part(text, self.at, text.len()).char_indices() {
            let offset = self.at + offset;
            while let Some(span) = spans.next_if(|span| span.start == offset) {
                entities += 1;
                addresses += address_units(span);
            }
            visible += character.len_utf16();
            if entities > ENTITIES_MAX || visible > limits.text || visible + addresses > limits.plain {
                return if offset > self.at { offset } else { offset + character.len_utf8() };
            }
        }
        text.len()
    }
}

/// What a span adds to the plain form.
fn address_units(span: &Span) -> usize {
    match &span.kind {
        SpanKind::Link { url } => units(url) + " ()".len(),
        _ => 0,
    }
}

/// The ends of all character clusters and what each of them ends. The last one is left out: it may go on.
fn places(text: &str) -> impl Iterator<Item = (usize, Place)> {
    let mut before = "";
    let mut clusters = text.grapheme_indices(true).peekable();
    std::iter::from_fn(move || {
        let (_, cluster) = clusters.next()?;
        let &(end, _) = clusters.peek()?;
        let place = match (before, cluster) {
            ("\n", "\n") => Place::BlankLine,
            (_, "\n") => Place::LineEnd,
            (before, " ") if before.ends_with(['.', '!', '?', '…', ':', ';']) => Place::SentenceEnd,
            (_, "。" | "！" | "？") => Place::SentenceEnd,
            (_, " " | "\t") => Place::Blank,
            _ => Place::Cluster,
        };
        before = cluster;
        Some((end, place))
    })
}
