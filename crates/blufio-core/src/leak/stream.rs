//! Redaction of text that comes in pieces. What may be the beginning of a secret is held back until it is known to be one
//! or not to be one; everything else goes on at once.

use super::{LeakScanner, replaced};
use std::ops::Range;
use std::sync::Arc;

/// Bytes that went out already and are kept, because a name before a value decides what the value is.
const CONTEXT_BYTES: usize = 256;
/// Most bytes of a last word that are held back.
const WORD_BYTES_MAX: usize = 4 * 1024;
/// Most bytes that are held back at all.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// Text in pieces. Give every piece to [`push`](Self::push), show what it returns, and at the end what
/// [`finish`](Self::finish) returns.
#[derive(Debug)]
pub struct LeakStream {
    scanner: Arc<LeakScanner>,
    /// What went out, then what is held back.
    text: String,
    /// Bytes of it that went out.
    out: usize,
    /// Bytes of it when it was last looked at.
    seen: usize,
    /// A secret longer than all limits is going by.
    swallows: bool,
}

impl LeakStream {
    pub(super) fn new(scanner: Arc<LeakScanner>) -> Self {
        Self { scanner, text: String::new(), out: 0, seen: 0, swallows: false }
    }

    /// Takes a piece; gives what is safe to show.
    pub fn push(&mut self, piece: &str) -> String {
        let piece = if self.swallows { piece.trim_start_matches(in_token) } else { piece };
        self.swallows &= piece.is_empty();
        self.text.push_str(piece);
        // Many small pieces of one long word are not looked at each time from its start.
        let held = self.text.len() - self.out;
        if self.text.len() - self.seen < held / 8 {
            return String::new();
        }
        self.seen = self.text.len();
        self.release(held <= HELD_BYTES_MAX)
    }

    /// Nothing more will come; gives the rest.
    pub fn finish(mut self) -> String {
        self.release_to(self.text.len(), true)
    }

    fn release(&mut self, may_hold: bool) -> String {
        if may_hold {
            return self.release_to(self.held_from(), false);
        }
        let end = self.text.len();
        self.swallows = self.scanner.scan(&self.text).last().is_some_and(|finding| finding.range.end == end);
        self.release_to(end, true)
    }

    /// Where that begins which may yet turn out to be secret.
    fn held_from(&self) -> usize {
        let end = self.text.len();
        let word = self.text.rfind(char::is_whitespace).map_or(0, |at| self.text.ceil_char_boundary(at + 1));
        let mut from =
            word.max(end.saturating_sub(WORD_BYTES_MAX)).min(end - self.scanner.exact.begun(self.text.as_bytes()));
        // The first line of a private key has blanks in it.
        let line = self.text.rfind('\n').map_or(0, |at| at + 1);
        if let Some(at) = self.text.get(line..).and_then(|line| line.find("-----B")) {
            from = from.min(line + at);
        }
        self.text.floor_char_boundary(from.max(self.out))
    }

    /// Shows what stands before `end`; unless it is the `last`, not a secret that may go on there.
    fn release_to(&mut self, end: usize, last: bool) -> String {
        let found = self.scanner.scan(&self.text);
        let reaches = |range: &Range<usize>| range.start < end && range.end >= end;
        let open = found.iter().find(|finding| !last && reaches(&finding.range));
        let end = open.map_or(end, |finding| finding.range.start.max(self.out));
        // A secret whose beginning went out is shown from there on as a mark.
        let out = replaced(&self.text, self.out..end, &found);
        let keep = self.text.floor_char_boundary(end.saturating_sub(CONTEXT_BYTES));
        self.text.drain(..keep);
        (self.out, self.seen) = (end - keep, self.text.len());
        out
    }
}

fn in_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_-.+/=%\r\n".contains(character)
}
