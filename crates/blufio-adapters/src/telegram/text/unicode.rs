//! What a character does to a message: whether it may be in it, whether anyone sees it, how long it counts.

/// Whether a character may be in a message at all.
///
/// Refused are the C0 and C1 controls except newline and tab, and what changes the order or the meaning of the visible
/// text without being visible: bidirectional embeddings, overrides and isolates, and tag characters.
pub fn is_allowed(character: char) -> bool {
    !matches!(character,
        '\u{0}'..='\u{8}' | '\u{B}'..='\u{1F}' | '\u{7F}'..='\u{9F}'
        | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{E0000}'..='\u{E007F}')
}

/// Whether a character alone makes a message non-empty. The server refuses a text of blanks and fillers only.
pub fn is_visible(character: char) -> bool {
    is_allowed(character)
        && !character.is_whitespace()
        && !matches!(character,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2060}'..='\u{206F}' | '\u{2800}'
            | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
            | '\u{E0080}'..='\u{E0FFF}')
}

/// Whether anyone can see something of a text.
pub fn has_visible(text: &str) -> bool {
    text.chars().any(is_visible)
}

/// The length in UTF-16 code units.
pub fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// A part of a text by byte offsets; empty where the offsets are not on character boundaries, which callers rule out.
pub fn part(text: &str, start: usize, end: usize) -> &str {
    debug_assert!(text.is_char_boundary(start) && text.is_char_boundary(end), "{start}..{end}");
    text.get(start..end).unwrap_or_default()
}

/// The largest character boundary that is not above a byte offset.
pub fn floor_boundary(text: &str, offset: usize) -> usize {
    if offset >= text.len() {
        return text.len();
    }
    (0..=offset).rev().find(|&candidate| text.is_char_boundary(candidate)).unwrap_or(0)
}
