//! Words of others without characters that hide, reorder or smuggle text.
//!
//! Joiners stay in whole texts, because Persian, Indic scripts and emoji families need them; a label is one short line and
//! keeps nothing that cannot be seen.

/// Characters kept of a name, a title or the like. Longer: cut.
const LABEL_CHARACTERS_MAX: usize = 64;

/// A name or title as it may be shown: one short line without anything that hides or turns text.
pub(super) fn label(text: &str) -> String {
    line(text, LABEL_CHARACTERS_MAX)
}

/// The name of a file as it may be shown: of a long one the end, with the extension, is kept.
pub(super) fn file_name(text: &str) -> String {
    let name = line(text, usize::MAX);
    name.chars().skip(name.chars().count().saturating_sub(LABEL_CHARACTERS_MAX)).collect()
}

/// One line of at most so many characters without anything that hides or turns text.
pub(super) fn line(text: &str, characters_max: usize) -> String {
    let seen: String = text.chars().filter(|character| character.is_whitespace() || !is_unseen(*character)).collect();
    let words: Vec<&str> = seen.split_whitespace().collect();
    words.join(" ").chars().take(characters_max).collect()
}

/// A text with its line breaks, without controls, marks of direction, tags and zero-width spaces.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|character| !is_hidden(*character)).collect()
}

/// `text`, or its first characters and an ellipsis.
pub(super) fn cut(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

const fn is_hidden(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => true,
        // Marks, embeddings, overrides and isolates of direction; zero-width spaces; tags.
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        _ => false,
    }
}

/// Everything of `is_hidden`, and what takes no ink in a label: joiners, soft hyphens, fillers, variation selectors.
const fn is_unseen(character: char) -> bool {
    is_hidden(character)
        || matches!(character, '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200c}' | '\u{200d}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0080}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_one_short_line_of_what_can_be_seen() {
        let check = |text: &str, expect: &str| assert_eq!(label(text), expect, "{text:?}");
        check("Ann", "Ann");
        check("  Ann \n\t B\u{2028}C\r\nD ", "Ann B C D");
        check("a\u{202e}b\u{2066}c\u{2069}d\u{61c}e\u{200f}", "abcde");
        check("a\u{0}b\u{7f}c\u{9b}d\u{1b}[31m", "abcd[31m");
        check("\u{e0041}\u{e007f}x\u{e0100}", "x");
        check("\u{200b}\u{200d}\u{ad}\u{3164}\u{2800}\u{feff}", "");
        check(&"é".repeat(5_000), &"é".repeat(LABEL_CHARACTERS_MAX));
        check("名前 😀", "名前 😀");
        assert_eq!(file_name(&format!("{}\u{202e}.tar.gz", "é".repeat(500))), format!("{}.tar.gz", "é".repeat(57)));
        assert_eq!(file_name("a\nb.txt"), "a b.txt");
    }

    #[test]
    fn texts_keep_their_lines_and_joiners() {
        let check = |text: &str, expect: &str| assert_eq!(plain(text), expect, "{text:?}");
        check("a\n\tb\r\n", "a\n\tb\n");
        check("👨\u{200d}👩\u{200d}👧 می\u{200c}روم", "👨\u{200d}👩\u{200d}👧 می\u{200c}روم");
        check("x\u{202d}y\u{2067}z\u{e0020}\u{200b}", "xyz");
    }

    #[test]
    fn a_cut_is_marked() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöü", 2), "äö…");
        assert_eq!(cut("", 0), "");
    }
}
