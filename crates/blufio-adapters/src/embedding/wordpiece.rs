//! Texts as the numbered pieces of words that the model was trained on: the uncased WordPiece of BERT. Words are lower-cased and
//! lose their accents, then the longest known piece is taken from the front, again and again.
//!
//! It gives the ids of the reference tokenizer, with one difference: what looks like a special piece (`[SEP]`) in a text is text.
//! What the model does with the ids is not known here.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::LazyLock;
use tables::holds;
use unicode_normalization::UnicodeNormalization;

mod tables;

/// Pieces of a text that the model reads, the two at its ends included. More: left out.
pub const PIECES_MAX: usize = 256;
/// Pieces of a text between the two ends.
const INNER_PIECES_MAX: usize = PIECES_MAX - 2;
/// Pieces that a part of a text shares with the part before it, at most.
const OVERLAP_PIECES_MAX: usize = 32;
/// Parts of one text. More: the rest of the text is left out.
pub const PARTS_MAX: usize = 32;
/// Characters of a word. More: it counts as one unknown piece.
const WORD_CHARACTERS_MAX: usize = 100;
// Every part goes on, even after a word that is cut into single characters.
const _: () = assert!(OVERLAP_PIECES_MAX + WORD_CHARACTERS_MAX < INNER_PIECES_MAX);

/// Stands for a word that has no pieces.
const UNKNOWN: u16 = 100;
/// Stands before every text.
const FIRST: u16 = 101;
/// Stands behind every text.
const LAST: u16 = 102;

/// The pieces, one a line in the order of their ids; `##` marks those that go on with a word. It is the `vocab.txt` of
/// all-MiniLM-L6-v2 (Apache-2.0), unchanged.
const VOCABULARY: &str = include_str!("vocab.txt");

static WORD_PIECE: LazyLock<WordPiece> = LazyLock::new(WordPiece::new);

/// Finds pieces in the vocabulary; 180 kB.
pub struct WordPiece {
    /// Where each line begins, and the end of the last one.
    lines: Vec<u32>,
    /// Ids of what begins a word, sorted by the text.
    starts: Vec<u16>,
    /// Ids of what goes on with a word, sorted by the text.
    continuations: Vec<u16>,
    /// Bytes of the longest piece.
    longest: usize,
}

/// What is done with a character.
#[derive(Clone, Copy)]
enum Class {
    /// Left out.
    Removed,
    /// Between words.
    Space,
    /// A word of its own.
    Ideograph,
    /// A word of its own, also if only a part of a character is one.
    Punctuation,
    /// Part of a word.
    Part,
}

impl WordPiece {
    /// The one there is; made on first use.
    pub fn get() -> &'static Self {
        &WORD_PIECE
    }

    fn new() -> Self {
        let mut made = Self { lines: vec![0], starts: Vec::new(), continuations: Vec::new(), longest: 0 };
        let mut end = 0_u32;
        for (id, line) in (0_u16..).zip(VOCABULARY.split_inclusive('\n')) {
            end = end.saturating_add(u32::try_from(line.len()).unwrap_or(u32::MAX));
            made.lines.push(end);
            made.longest = made.longest.max(line.len());
            if line.starts_with("##") { &mut made.continuations } else { &mut made.starts }.push(id);
        }
        let (mut starts, mut continuations) =
            (std::mem::take(&mut made.starts), std::mem::take(&mut made.continuations));
        starts.sort_unstable_by_key(|id| made.piece(*id));
        continuations.sort_unstable_by_key(|id| made.piece(*id));
        Self { starts, continuations, ..made }
    }

    /// The text of a piece, with its `##`.
    fn piece(&self, id: u16) -> &'static str {
        let line = |id: usize| self.lines.get(id).and_then(|at| usize::try_from(*at).ok());
        let id = usize::from(id);
        let text = line(id).zip(line(id + 1)).and_then(|(start, end)| VOCABULARY.get(start..end));
        text.unwrap_or_default().trim_end_matches('\n')
    }

    /// The ids of a text, between the two that stand at its ends: at least 2, at most [`PIECES_MAX`].
    pub fn ids(&self, text: &str) -> Vec<u16> {
        let mut ids = vec![FIRST];
        each_word(text, |word, _| {
            self.split(word, &mut ids);
            (ids.len() <= INNER_PIECES_MAX).then_some(())
        });
        ids.truncate(PIECES_MAX - 1);
        ids.push(LAST);
        ids
    }

    /// Cuts a text between words into parts of at most [`PIECES_MAX`] pieces, the two at the ends included, that overlap by up to
    /// 32; at most [`PARTS_MAX`]. A text without words has none.
    pub fn parts(&self, text: &str) -> Vec<String> {
        let mut parts = Vec::new();
        let mut ids = Vec::new();
        let mut window: VecDeque<(Range<usize>, usize)> = VecDeque::new();
        let mut inside = 0;
        let whole = |window: &VecDeque<(Range<usize>, usize)>| {
            let (first, last) = window.front().zip(window.back())?;
            text.get(first.0.start..last.0.end).map(str::to_owned)
        };
        each_word(text, |word, range| {
            ids.clear();
            self.split(word, &mut ids);
            if inside + ids.len() > INNER_PIECES_MAX {
                parts.extend(whole(&window));
                if parts.len() == PARTS_MAX {
                    window.clear();
                    return None;
                }
                while inside > OVERLAP_PIECES_MAX
                    && let Some((_, pieces)) = window.pop_front()
                {
                    inside -= pieces;
                }
            }
            inside += ids.len();
            window.push_back((range, ids.len()));
            Some(())
        });
        parts.extend(whole(&window));
        parts
    }

    /// Adds the pieces of a word.
    fn split(&self, word: &Word, ids: &mut Vec<u16>) {
        let before = ids.len();
        if word.characters > WORD_CHARACTERS_MAX {
            ids.push(UNKNOWN);
            return;
        }
        let mut rest = word.text.as_str();
        while !rest.is_empty() {
            let sorted = if ids.len() == before { &self.starts } else { &self.continuations };
            let Some((id, left)) = self.longest(sorted, rest) else {
                ids.truncate(before);
                ids.push(UNKNOWN);
                return;
            };
            ids.push(id);
            rest = left;
        }
    }

    /// The longest piece at the front, and what is behind it.
    fn longest<'a>(&self, sorted: &[u16], rest: &'a str) -> Option<(u16, &'a str)> {
        let mut end = rest.floor_char_boundary(self.longest);
        while end > 0 {
            let (front, left) = rest.split_at_checked(end)?;
            let found = sorted.binary_search_by(|id| self.piece(*id).trim_start_matches("##").cmp(front));
            if let Some(id) = found.ok().and_then(|at| sorted.get(at)) {
                return Some((*id, left));
            }
            end = rest.floor_char_boundary(end - 1);
        }
        None
    }
}

/// A word, in lower case and without accents.
#[derive(Default)]
struct Word {
    /// Its first characters, one more than are looked up.
    text: String,
    characters: usize,
}

impl Word {
    fn push(&mut self, character: char) {
        self.characters += 1;
        if self.characters <= WORD_CHARACTERS_MAX {
            self.text.push(character);
        }
    }

    fn clear(&mut self) {
        self.text.clear();
        self.characters = 0;
    }
}

/// Shows each word, with its place in the text, until the answer is `None`: enough.
fn each_word(text: &str, mut show: impl FnMut(&Word, Range<usize>) -> Option<()>) -> Option<()> {
    let mut word = Word::default();
    let mut place = 0..0;
    let mut end = |word: &mut Word, place: &Range<usize>| {
        let go_on = if word.characters > 0 { show(word, place.clone()) } else { Some(()) };
        word.clear();
        go_on
    };
    for (at, character) in text.char_indices() {
        let class = class(character);
        if matches!(class, Class::Space | Class::Ideograph) {
            end(&mut word, &place)?;
        }
        if matches!(class, Class::Space | Class::Removed) {
            continue;
        }
        // One character after the other: reordering marks across them would change marks of musical notation alone.
        for part in std::iter::once(character).nfd() {
            let alone = match self::class(part) {
                Class::Removed => continue,
                Class::Punctuation => true,
                Class::Space | Class::Ideograph | Class::Part => false,
            };
            if alone {
                end(&mut word, &place)?;
            }
            if word.characters == 0 {
                place.start = at;
            }
            place.end = at + character.len_utf8();
            part.to_lowercase().for_each(|part| word.push(part));
            if alone {
                end(&mut word, &place)?;
            }
        }
        if matches!(class, Class::Ideograph) {
            end(&mut word, &place)?;
        }
    }
    end(&mut word, &place)
}

fn class(character: char) -> Class {
    match character {
        '\t' | '\n' | '\r' | ' ' => Class::Space,
        _ if character.is_ascii_alphanumeric() => Class::Part,
        _ if character.is_ascii_control() => Class::Removed,
        _ if character.is_ascii() => Class::Punctuation,
        _ if holds(tables::SPACES, character) => Class::Space,
        _ if holds(tables::REMOVED, character) => Class::Removed,
        _ if holds(tables::PUNCTUATION, character) => Class::Punctuation,
        _ if holds(tables::IDEOGRAPHS, character) => Class::Ideograph,
        _ => Class::Part,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// Texts as JSON and their ids, written by the reference (the package `tokenizers`, with the model's own `tokenizer.json`).
    const REFERENCE: &str = include_str!("../../tests/data/wordpiece.txt");

    fn ids(text: &str) -> Vec<u16> {
        WordPiece::get().ids(text)
    }

    #[test]
    fn ids_are_those_of_the_reference() {
        for line in REFERENCE.lines() {
            let (text, expect) = line.split_once('\t').unwrap();
            let text: String = serde_json::from_str(text).unwrap();
            let expect: Vec<u16> = expect.split(' ').map(|id| id.parse().unwrap()).collect();
            assert_eq!(ids(&text), expect, "{text:?}");
        }
    }

    #[test]
    fn the_vocabulary_is_whole() {
        let all = WordPiece::get();
        assert_eq!((all.lines.len(), all.starts.len() + all.continuations.len()), (30_523, 30_522));
        assert_eq!((all.piece(0), all.piece(UNKNOWN), all.piece(FIRST)), ("[PAD]", "[UNK]", "[CLS]"));
        assert_eq!((all.piece(LAST), all.piece(30_521), all.piece(30_522)), ("[SEP]", "##～", ""));
    }

    #[test]
    fn special_pieces_in_a_text_are_text() {
        assert_eq!(ids("[SEP] [CLS]").iter().filter(|id| matches!(**id, FIRST | LAST)).count(), 2);
    }

    #[test]
    fn texts_are_cut_between_words_and_overlap() {
        let check = |text: &str, parts: usize| {
            let found = WordPiece::get().parts(text);
            assert_eq!(found.len(), parts, "{} bytes", text.len());
            found
        };
        check("", 0);
        check(" \n\u{200b} ", 0);
        assert_eq!(check("  Hello,\tWorld!  ", 1), ["Hello,\tWorld!"]);
        let words: Vec<String> = (0..600).map(|number| format!("n{}", number % 10)).collect();
        check(&words[..127].join(" "), 1);
        check(&words[..128].join(" "), 2);
        let parts = check(&words.join(" "), 6);
        let (first, second) = (parts[0].as_str(), parts[1].as_str());
        assert_eq!((ids(first).len(), ids(second).len()), (PIECES_MAX, PIECES_MAX));
        let shared: Vec<&str> = first.split(' ').rev().take(16).collect();
        assert!(second.split(' ').take(16).eq(shared.into_iter().rev()), "{second}");
        check(&"word ".repeat(200_000), PARTS_MAX);
        check(&"x".repeat(1_000_000), 1);
        check(&"{\"a\":[1,2]},".repeat(80_000), PARTS_MAX);
        check(&"\u{1f600}".repeat(10_000), 1);
        check(&"\u{732b}".repeat(1_000), 5);
    }

    proptest! {
        #[test]
        fn any_text_has_ids_and_parts(text in "\\PC{0,400}") {
            let found = ids(&text);
            prop_assert!((2..=PIECES_MAX).contains(&found.len()));
            for part in WordPiece::get().parts(&text) {
                prop_assert!(text.contains(&part) && ids(&part).len() <= PIECES_MAX);
            }
        }

        #[test]
        fn a_part_has_the_ids_that_it_has_in_the_text(words in proptest::collection::vec("[a-zé,]{1,12}", 1..400)) {
            let text = words.join(" ");
            let parts = WordPiece::get().parts(&text);
            let mut rest = text.as_str();
            for part in &parts {
                let at = rest.find(part.as_str());
                prop_assert!(at.is_some(), "parts are in their order");
                rest = &rest[at.unwrap_or(0)..];
            }
            prop_assert!(rest == parts.last().map_or("", String::as_str), "the last part is the end");
        }
    }
}
