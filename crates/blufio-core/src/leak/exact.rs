//! Known values, and the forms in which they leave a house: as they are, in base64 at each of its three alignments, in hex,
//! percent-encoded, escaped for JSON.

use super::{EXACT_BYTES_MIN, Finding, mark_name};
use aho_corasick::{AhoCorasick, Anchored, Input, MatchKind, StartKind};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const FOR_URLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Known values in all their forms.
pub(super) struct Exact {
    automaton: Option<AhoCorasick>,
    /// The name of each pattern.
    names: Vec<Arc<str>>,
    /// The patterns, sorted, to tell whether a text ends within one.
    sorted: Vec<Vec<u8>>,
    longest: usize,
    values: usize,
}

impl Exact {
    pub(super) fn new<'a>(values: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut patterns: BTreeMap<Vec<u8>, Arc<str>> = BTreeMap::new();
        let mut count = 0;
        for (name, value) in values.into_iter().filter(|(_, value)| value.len() >= EXACT_BYTES_MIN) {
            let name = mark_name(name);
            count += 1;
            for form in forms(value) {
                patterns.entry(form).or_insert_with(|| name.clone());
            }
        }
        let mut automaton = AhoCorasick::builder();
        automaton.match_kind(MatchKind::Standard).start_kind(StartKind::Unanchored);
        // Building fails beyond 2³¹ states only, which no set of secrets has; without it the rules still hold.
        let automaton = (!patterns.is_empty()).then(|| automaton.build(patterns.keys()).ok()).flatten();
        let longest = patterns.keys().map(Vec::len).max().unwrap_or(0);
        let (sorted, names) = patterns.into_iter().unzip();
        Self { automaton, names, sorted, longest, values: count }
    }

    pub(super) fn len(&self) -> usize {
        self.values
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        self.names.iter().any(|known| &**known == name)
    }

    /// Every occurrence, also overlapping ones, since a part of a second value is a leak too.
    pub(super) fn scan(&self, text: &str, found: &mut Vec<Finding>) {
        let Some(automaton) = &self.automaton else { return };
        for hit in automaton.find_overlapping_iter(text) {
            let Some(name) = self.names.get(hit.pattern().as_usize()) else { continue };
            let finding = Finding { range: hit.range(), name: name.clone(), exact: true };
            match found.last_mut() {
                // `aaaaaaaa` in a megabyte of `a` is one finding, not a million.
                Some(last) if last.name == finding.name && finding.range.start <= last.range.end => {
                    last.range.start = last.range.start.min(finding.range.start);
                    last.range.end = last.range.end.max(finding.range.end);
                }
                _ => found.push(finding),
            }
        }
    }

    pub(super) fn first(&self, text: &str) -> Option<&Arc<str>> {
        let input = Input::new(text).anchored(Anchored::No).earliest(true);
        let hit = self.automaton.as_ref()?.try_find(input).ok()??;
        self.names.get(hit.pattern().as_usize())
    }

    /// How many bytes at the end of the text may be the beginning of a known value.
    pub(super) fn begun(&self, text: &[u8]) -> usize {
        let most = text.len().min(self.longest.saturating_sub(1));
        let begins = |length: &usize| {
            let tail = text.get(text.len() - length..).unwrap_or_default();
            let next = self.sorted.partition_point(|pattern| pattern.as_slice() < tail);
            self.sorted.get(next).is_some_and(|pattern| pattern.len() > tail.len() && pattern.starts_with(tail))
                || self.sorted.get(next + 1).is_some_and(|pattern| pattern.starts_with(tail))
        };
        (1..=most).rev().find(begins).unwrap_or(0)
    }
}

/// The forms of a value that differ from each other, none shorter than the least length.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let bytes = value.as_bytes();
    let mut all = vec![bytes.to_vec(), hex(bytes, false), hex(bytes, true)];
    for offset in 0..3 {
        all.extend([STANDARD, FOR_URLS].map(|alphabet| base64(bytes, offset, alphabet)));
    }
    all.extend([true, false].map(|upper| percent(bytes, upper)));
    all.extend([true, false].map(|ascii| json(value, ascii)));
    all.sort_unstable();
    all.dedup();
    all.retain(|form| form.len() >= EXACT_BYTES_MIN);
    all
}

fn hex(bytes: &[u8], upper: bool) -> Vec<u8> {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let written = if upper { write!(text, "{byte:02X}") } else { write!(text, "{byte:02x}") };
        debug_assert!(written.is_ok(), "a String takes everything");
    }
    text.into_bytes()
}

/// The characters of base64 that depend on these bytes alone if `offset` (0 to 2) others stand before them.
fn base64(bytes: &[u8], offset: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let bit = |at: usize| {
        let byte = bytes.get((at / 8).wrapping_sub(offset)).copied().unwrap_or(0);
        usize::from(byte >> (7 - at % 8) & 1)
    };
    let (first, end) = ((offset * 8).div_ceil(6), (offset + bytes.len()) * 8 / 6);
    let sextet = |at: usize| (at * 6..at * 6 + 6).fold(0, |value, at| value << 1 | bit(at));
    (first..end).filter_map(|at| alphabet.get(sextet(at)).copied()).collect()
}

/// Percent-encoded as a part of a URL: what RFC 3986 calls unreserved stays.
fn percent(bytes: &[u8], upper: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() * 3);
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            out.push(b'%');
            out.extend(hex(&[byte], upper));
        }
    }
    out
}

/// Escaped as within a JSON string, by those who leave letters of other scripts as they are and by those who do not.
fn json(value: &str, ascii: bool) -> Vec<u8> {
    let quoted = serde_json::Value::from(value).to_string();
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    let mut out = String::with_capacity(inner.len());
    for character in inner.chars() {
        if ascii && !character.is_ascii() {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let written = write!(out, "\\u{unit:04x}");
                debug_assert!(written.is_ok(), "a String takes everything");
            }
        } else {
            out.push(character);
        }
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_are_those_of_the_standards() {
        let check = |form: Vec<u8>, expect: &str| assert_eq!(String::from_utf8_lossy(&form), expect);
        check(base64(b"foobar", 0, STANDARD), "Zm9vYmFy");
        // `base64("xfoobar")` is eGZvb2Jhcg==, `base64("xyfoobar")` is eHlmb29iYXI=; the first and last characters share bits.
        check(base64(b"foobar", 1, STANDARD), "Zvb2Jhc");
        check(base64(b"foobar", 2, STANDARD), "mb29iYX");
        check(base64(&[0xfb, 0xff, 0xfe], 0, FOR_URLS), "-__-");
        check(hex(b"\x0fz", false), "0f7a");
        check(hex(b"\x0fz", true), "0F7A");
        check(percent("a b/ü~".as_bytes(), true), "a%20b%2F%C3%BC~");
        check(json("a\"b\\ü\n😀", false), "a\\\"b\\\\ü\\n😀");
        check(json("ü😀", true), "\\u00fc\\ud83d\\ude00");
    }

    #[test]
    fn the_beginning_of_a_value_is_seen_at_the_end_of_a_text() {
        let exact = Exact::new([("a", "hunter2!"), ("b", "hunger")]);
        let begun = |text: &str| exact.begun(text.as_bytes());
        assert_eq!([begun("the hun"), begun("hunter2"), begun("hunter2!"), begun("hu "), begun("")], [3, 7, 0, 0, 0]);
    }
}
