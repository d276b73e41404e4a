//! What is shown of a reply while it is still being written.

use unicode_segmentation::UnicodeSegmentation;

use super::document::{Document, SpanKind};
use super::unicode::{floor_boundary, has_visible, part, units};
use super::{CHUNK_UNITS_MIN, Chunk, ENTITIES_MAX, MESSAGE_UNITS_MAX, PREVIEW_UNITS_MAX, parse};

const MORE_BEFORE: &str = "…";
/// Bytes in front of a wanted beginning that are looked at to find a line or a word to begin with.
const BEGINNING_BYTES: usize = 256;

/// An unfinished text as one message: whatever is open is closed, half a link is text. If it is longer than
/// `limit_units` (brought into [`CHUNK_UNITS_MIN`] to [`PREVIEW_UNITS_MAX`]), its newest part after a `…`. None while
/// nothing is visible.
pub fn preview(markdown: &str, limit_units: usize) -> Option<Chunk> {
    let document = parse(markdown);
    let limit = limit_units.clamp(CHUNK_UNITS_MIN, PREVIEW_UNITS_MAX);
    let start = beginning(&document, limit);
    if start == 0 {
        return (!document.is_empty()).then(|| document.to_chunk());
    }
    let mut newest = document.slice(document.spans.iter(), start, document.text.len());
    if !has_visible(&newest.text) {
        return None;
    }
    newest.text.insert_str(0, MORE_BEFORE);
    for span in &mut newest.spans {
        span.start += MORE_BEFORE.len();
        span.end += MORE_BEFORE.len();
    }
    Some(newest.to_chunk())
}

/// Where the part to show begins: 0 if all fits.
fn beginning(document: &Document, limit: usize) -> usize {
    let start = within_entities(document, within_units(&document.text, limit));
    let start = within_plain(document, start);
    if start == 0 {
        return 0;
    }
    let start = start_of_word(&document.text, start);
    let rest = part(&document.text, start, document.text.len());
    start + rest.len() - rest.trim_start_matches('\n').len()
}

/// The earliest beginning that leaves at most so many units, with the mark in front.
fn within_units(text: &str, limit: usize) -> usize {
    let mut left = limit;
    for (offset, character) in text.char_indices().rev() {
        match left.checked_sub(character.len_utf16()) {
            Some(rest) => left = rest,
            None => return offset_after_mark(text, offset + character.len_utf8()),
        }
    }
    0
}

/// Gives up the first character for the mark, which is as long as any that is not an astral one.
fn offset_after_mark(text: &str, offset: usize) -> usize {
    let first = part(text, offset, text.len()).chars().next();
    offset + first.map_or(0, char::len_utf8)
}

/// Moves a beginning behind as many spans as are too many.
fn within_entities(document: &Document, start: usize) -> usize {
    let mut ends: Vec<usize> = document.spans.iter().map(|span| span.end).filter(|&end| end > start).collect();
    let Some(surplus) = ends.len().checked_sub(ENTITIES_MAX).filter(|&surplus| surplus > 0) else { return start };
    ends.sort_unstable();
    ends.get(surplus - 1).copied().unwrap_or(start)
}

/// Moves a beginning behind links until the addresses fit into the plain form.
fn within_plain(document: &Document, start: usize) -> usize {
    let mut room = MESSAGE_UNITS_MAX - units(MORE_BEFORE);
    let mut end = document.text.len();
    for span in document.spans.iter().rev().filter(|span| span.end > start) {
        let SpanKind::Link { url } = &span.kind else { continue };
        let behind = units(part(&document.text, span.end, end));
        let label = units(part(&document.text, span.start.max(start), span.end));
        let needed = behind + label + units(url) + " ()".len();
        if needed > room {
            return start.max(span.end);
        }
        room -= needed;
        end = span.start.max(start);
    }
    let before = units(part(&document.text, start.min(end), end));
    if before > room { end } else { start }
}

/// The next beginning of a line or word a little further on, else the next beginning of a character cluster.
fn start_of_word(text: &str, start: usize) -> usize {
    let context = floor_boundary(text, start.saturating_sub(BEGINNING_BYTES));
    let limit = floor_boundary(text, start + BEGINNING_BYTES);
    let after_blank = |blank: char| {
        let from = part(text, start, limit);
        from.find(blank).map(|found| start + found + blank.len_utf8())
    };
    let cluster = || {
        let clusters = part(text, context, limit).grapheme_indices(true);
        clusters.map(|(offset, _)| context + offset).find(|&offset| offset >= start)
    };
    after_blank('\n').or_else(|| after_blank(' ')).or_else(cluster).unwrap_or(start)
}
