//! The HTML of `parse_mode=HTML`, read the way the public server reads it (<https://core.telegram.org/bots/api#html-style>).
//!
//! Independent of the renderer of the product, which it judges. Refuses to know limits of methods (those are in
//! `methods.rs`), Markdown, and entities that the server detects in plain text.

use serde_json::{Value, json};

/// Most entities kept of one message; the server drops the rest silently.
pub const ENTITIES_MAX: usize = 100;

/// One piece of formatting; offset and length count UTF-16 code units of the parsed text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// Type name of the Bot API, for example `bold`.
    pub kind: &'static str,
    /// First code unit.
    pub offset: usize,
    /// Number of code units, never 0.
    pub length: usize,
    /// The target of a `text_link`, the language of a `pre`, the id of a `custom_emoji`.
    pub argument: Option<String>,
}

impl Entity {
    /// The entity as the Bot API writes it.
    pub fn json(&self) -> Value {
        let mut value = json!({"type": self.kind, "offset": self.offset, "length": self.length});
        let key = match self.kind {
            "text_link" => "url",
            "pre" => "language",
            "custom_emoji" => "custom_emoji_id",
            _ => return value,
        };
        if let Some(argument) = &self.argument {
            value[key] = json!(argument);
        }
        value
    }
}

/// What a user sees: text without tags, and its formatting.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParsedText {
    /// Plain text, trimmed like the server does.
    pub text: String,
    /// Formatting in order of offset, longer ones first.
    pub entities: Vec<Entity>,
}

impl ParsedText {
    /// Length of the text in UTF-16 code units, the unit of all message limits.
    pub fn utf16_len(&self) -> usize {
        utf16_len(&self.text)
    }
}

/// Length of `text` in UTF-16 code units.
pub fn utf16_len(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// Text that was sent without `parse_mode`, cleaned and trimmed.
pub fn plain(text: &str) -> ParsedText {
    trimmed(ParsedText { text: clean(text), entities: Vec::new() })
}

/// Parses the HTML of a message.
///
/// The error is the part after `can't parse entities: `, with byte offsets into `text`.
pub fn parse(text: &str) -> Result<ParsedText, String> {
    let mut parser =
        Parser { source: text.as_bytes(), at: 0, result: Vec::new(), units: 0, open: Vec::new(), entities: Vec::new() };
    parser.run()?;
    if let Some(open) = parser.open.last() {
        return Err(format!("Can't find end tag corresponding to start tag \"{}\"", open.tag));
    }
    let text = String::from_utf8(parser.result).map_err(|_| "Text must be encoded in UTF-8".to_owned())?;
    let mut entities = parser.entities;
    for entity in &mut entities {
        if entity.kind == "code" {
            entity.argument = None;
        }
    }
    entities.sort_by_key(|entity| (entity.offset, usize::MAX - entity.length));
    entities.truncate(ENTITIES_MAX);
    // Cleaning replaces one code unit by one, except for the carriage return, which no renderer should emit anyway.
    Ok(trimmed(ParsedText { text: clean(&text), entities }))
}

fn clean(text: &str) -> String {
    text.chars()
        .filter(|&symbol| symbol != '\r')
        .map(|symbol| if symbol < ' ' && symbol != '\n' && symbol != '\t' { ' ' } else { symbol })
        .collect()
}

/// Cuts white space at the end, and at the begin as far as no entity starts there.
fn trimmed(mut parsed: ParsedText) -> ParsedText {
    parsed.text.truncate(parsed.text.trim_end().len());
    let units = parsed.utf16_len();
    parsed.entities.retain_mut(|entity| {
        entity.length = entity.length.min(units.saturating_sub(entity.offset));
        entity.length > 0
    });
    let first = parsed.entities.first().map_or(units, |entity| entity.offset);
    let lead = parsed.text.bytes().take(first).take_while(|byte| matches!(byte, b' ' | b'\n')).count();
    parsed.text.drain(..lead);
    for entity in &mut parsed.entities {
        entity.offset -= lead;
    }
    parsed
}

struct Open {
    tag: String,
    argument: String,
    units: usize,
    begin: usize,
}

struct Parser<'a> {
    source: &'a [u8],
    at: usize,
    result: Vec<u8>,
    units: usize,
    open: Vec<Open>,
    entities: Vec<Entity>,
}

impl Parser<'_> {
    fn run(&mut self) -> Result<(), String> {
        while self.at < self.source.len() {
            match self.peek() {
                b'&' => match decode_character(&self.source[self.at..]) {
                    Some((symbol, used)) => {
                        self.at += used;
                        self.push(symbol);
                    }
                    None => self.copy(),
                },
                b'<' if self.source.get(self.at + 1) == Some(&b'/') => self.end_tag()?,
                b'<' => self.start_tag()?,
                _ => self.copy(),
            }
        }
        Ok(())
    }

    /// The byte at the cursor, 0 at the end, as in the NUL-terminated strings of the server.
    fn peek(&self) -> u8 {
        self.source.get(self.at).copied().unwrap_or(0)
    }

    fn copy(&mut self) {
        let byte = self.peek();
        // Continuation bytes add nothing; a four-byte sequence is a surrogate pair.
        self.units += usize::from(byte & 0xC0 != 0x80) + usize::from(byte >= 0xF0);
        self.result.push(byte);
        self.at += 1;
    }

    fn push(&mut self, symbol: char) {
        self.units += symbol.len_utf16();
        self.result.extend_from_slice(symbol.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn skip_spaces(&mut self) {
        while self.at < self.source.len() && is_space(self.peek()) {
            self.at += 1;
        }
    }

    fn slice(&self, begin: usize) -> String {
        String::from_utf8_lossy(&self.source[begin..self.at.min(self.source.len())]).into_owned()
    }

    fn start_tag(&mut self) -> Result<(), String> {
        let begin = self.at;
        self.at += 1;
        while !is_space(self.peek()) && self.peek() != b'>' {
            self.at += 1;
        }
        if self.peek() == 0 {
            return Err(format!("Unclosed start tag at byte offset {begin}"));
        }
        let tag = self.slice(begin + 1).to_ascii_lowercase();
        if kind(&tag).is_none() {
            return Err(format!("Unsupported start tag \"{tag}\" at byte offset {begin}"));
        }
        let mut argument = String::new();
        loop {
            self.skip_spaces();
            if self.peek() == b'>' {
                break;
            }
            if self.peek() == 0 {
                return Err(format!("Unclosed start tag \"{tag}\" at byte offset {begin}"));
            }
            let (name, value) = self.attribute(&tag, begin)?;
            match (tag.as_str(), name.as_str()) {
                ("a", "href") | ("tg-emoji", "emoji-id") => argument = value.unwrap_or_default(),
                ("code", "class") => argument = strip(value, "language-"),
                ("span", "class") => argument = strip(value, "tg-"),
                ("blockquote", "expandable") => argument = "1".to_owned(),
                _ => {}
            }
        }
        if tag == "span" && argument != "spoiler" {
            return Err(format!("Tag \"span\" must have class \"tg-spoiler\" at byte offset {begin}"));
        }
        self.at += 1;
        self.open.push(Open { tag, argument, units: self.units, begin: self.result.len() });
        Ok(())
    }

    fn attribute(&mut self, tag: &str, tag_begin: usize) -> Result<(String, Option<String>), String> {
        let unclosed = || format!("Unclosed start tag \"{tag}\" at byte offset {tag_begin}");
        let begin = self.at;
        while !is_space(self.peek()) && !matches!(self.peek(), b'=' | b'>') {
            self.at += 1;
        }
        let name = self.slice(begin).to_ascii_lowercase();
        if name.is_empty() {
            return Err(format!("Empty attribute name in the tag \"{tag}\" at byte offset {tag_begin}"));
        }
        self.skip_spaces();
        if self.peek() != b'=' {
            // Only `expandable` may stand without a value.
            if self.peek() == 0 {
                return Err(unclosed());
            }
            if tag == "blockquote" && name == "expandable" {
                return Ok((name, None));
            }
            return Err(format!(
                "Expected equal sign in declaration of an attribute of the tag \"{tag}\" at byte offset {tag_begin}"
            ));
        }
        self.at += 1;
        self.skip_spaces();
        let value = match self.peek() {
            0 => return Err(unclosed()),
            quote @ (b'"' | b'\'') => self.quoted(quote),
            _ => self.name_token()?,
        };
        if self.peek() == 0 { Err(unclosed()) } else { Ok((name, Some(value))) }
    }

    fn name_token(&mut self) -> Result<String, String> {
        let begin = self.at;
        while self.peek().is_ascii_alphanumeric() || matches!(self.peek(), b'.' | b'-') {
            self.at += 1;
        }
        if !is_space(self.peek()) && self.peek() != b'>' {
            return Err(format!("Unexpected end of name token at byte offset {begin}"));
        }
        Ok(self.slice(begin).to_ascii_lowercase())
    }

    fn quoted(&mut self, quote: u8) -> String {
        self.at += 1;
        let mut value = Vec::new();
        while self.peek() != quote && self.peek() != 0 {
            match decode_character(&self.source[self.at..]) {
                Some((symbol, used)) => {
                    value.extend_from_slice(symbol.encode_utf8(&mut [0; 4]).as_bytes());
                    self.at += used;
                }
                None => {
                    value.push(self.peek());
                    self.at += 1;
                }
            }
        }
        if self.peek() == quote {
            self.at += 1;
        }
        String::from_utf8_lossy(&value).into_owned()
    }

    fn end_tag(&mut self) -> Result<(), String> {
        let begin = self.at;
        let Some(open) = self.open.pop() else {
            return Err(format!("Unexpected end tag at byte offset {begin}"));
        };
        self.at += 2;
        while !is_space(self.peek()) && self.peek() != b'>' {
            self.at += 1;
        }
        let found = self.slice(begin + 2).to_ascii_lowercase();
        self.skip_spaces();
        if self.peek() != b'>' {
            return Err(format!("Unclosed end tag at byte offset {begin}"));
        }
        self.at += 1;
        if !found.is_empty() && found != open.tag {
            let expected = &open.tag;
            return Err(format!(
                "Unmatched end tag at byte offset {begin}, expected \"</{expected}>\", found \"</{found}>\""
            ));
        }
        if self.units > open.units {
            self.close(open);
        }
        Ok(())
    }

    fn close(&mut self, open: Open) {
        let Some(kind) = kind(&open.tag) else { return };
        let (offset, length) = (open.units, self.units - open.units);
        let same_span = self.entities.last_mut().filter(|last| last.offset == offset && last.length == length);
        let mut entity = Entity { kind, offset, length, argument: None };
        match (kind, same_span) {
            // `<pre><code class="language-x">` in either nesting is one `pre` with a language.
            ("pre", Some(last)) if last.kind == "code" && last.argument.is_some() => {
                last.kind = "pre";
                return;
            }
            ("code", Some(last)) if last.kind == "pre" && !open.argument.is_empty() => {
                last.argument = Some(open.argument);
                return;
            }
            ("code" | "custom_emoji", _) if !open.argument.is_empty() => entity.argument = Some(open.argument),
            ("text_link", _) => {
                let shown = String::from_utf8_lossy(&self.result[open.begin..]).into_owned();
                let url = if open.argument.is_empty() { shown } else { open.argument };
                match checked_link(&url) {
                    Some(url) => entity.argument = Some(url),
                    // A target that is no link leaves plain text, without an error.
                    None => return,
                }
            }
            ("blockquote", _) if !open.argument.is_empty() => entity.kind = "expandable_blockquote",
            _ => {}
        }
        self.entities.push(entity);
    }
}

fn strip(value: Option<String>, prefix: &str) -> String {
    value.as_deref().and_then(|value| value.strip_prefix(prefix)).unwrap_or_default().to_owned()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, 0 | b' ' | b'\t' | b'\n' | b'\r' | 0x0B)
}

fn kind(tag: &str) -> Option<&'static str> {
    Some(match tag {
        "a" => "text_link",
        "b" | "strong" => "bold",
        "i" | "em" => "italic",
        "u" | "ins" => "underline",
        "s" | "strike" | "del" => "strikethrough",
        "tg-spoiler" | "span" => "spoiler",
        "tg-emoji" => "custom_emoji",
        "code" => "code",
        "pre" => "pre",
        "blockquote" => "blockquote",
        _ => return None,
    })
}

fn checked_link(url: &str) -> Option<String> {
    let lower = url.to_ascii_lowercase();
    let known =
        ["http://", "https://", "tg://", "ton://", "mailto:", "tel:"].iter().any(|scheme| lower.starts_with(scheme));
    let host_like = !url.contains([' ', '\n', '<', '>']) && url.contains('.') && !url.contains(':');
    if known && !url.contains([' ', '\n']) {
        Some(url.to_owned())
    } else if host_like {
        Some(format!("http://{url}/"))
    } else {
        None
    }
}

/// The character reference at the begin of `text` and its length in bytes. The semicolon may be missing.
fn decode_character(text: &[u8]) -> Option<(char, usize)> {
    if text.first() != Some(&b'&') {
        return None;
    }
    let (code, mut used) = if text.get(1) == Some(&b'#') {
        let hex = text.get(2) == Some(&b'x');
        let (begin, radix) = if hex { (3, 16) } else { (2, 10) };
        let digits = text[begin..].iter().take_while(|&&byte| char::from(byte).is_digit(radix)).count();
        let code = std::str::from_utf8(&text[begin..begin + digits])
            .ok()
            .and_then(|text| u32::from_str_radix(text, radix).ok())?;
        if code == 0 || code >= 0x10_FFFF || begin + digits >= 10 {
            return None;
        }
        (code, begin + digits)
    } else {
        let letters = text[1..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let symbol = match &text[1..=letters] {
            b"lt" => '<',
            b"gt" => '>',
            b"amp" => '&',
            b"quot" => '"',
            _ => return None,
        };
        (u32::from(symbol), 1 + letters)
    };
    if text.get(used) == Some(&b';') {
        used += 1;
    }
    char::from_u32(code).map(|symbol| (symbol, used))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(html: &str, text: &str, entities: &[(&str, usize, usize, Option<&str>)]) {
        let parsed = parse(html).unwrap();
        assert_eq!(parsed.text, text, "{html}");
        let found: Vec<_> = parsed
            .entities
            .iter()
            .map(|entity| (entity.kind, entity.offset, entity.length, entity.argument.as_deref()))
            .collect();
        assert_eq!(found, entities, "{html}");
    }

    fn check_error(html: &str, error: &str) {
        assert_eq!(parse(html).unwrap_err(), error, "{html}");
    }

    #[test]
    fn formatting_is_counted_in_utf16() {
        check("<b>a</b> <i>😀b</i>", "a 😀b", &[("bold", 0, 1, None), ("italic", 2, 3, None)]);
        check("<b>x<i>y</i></b>", "xy", &[("bold", 0, 2, None), ("italic", 1, 1, None)]);
        check("&lt;&amp;&#33;&#x1F600;&nbsp;&quot", "<&!😀&nbsp;\"", &[]);
        check("a < b".replace('<', "&lt;").as_str(), "a < b", &[]);
        check("<b></b>x", "x", &[]);
    }

    #[test]
    fn code_blocks_links_and_quotes() {
        check("<pre><code class=\"language-rust\">fn</code></pre>", "fn", &[("pre", 0, 2, Some("rust"))]);
        check("<code>a</code>", "a", &[("code", 0, 1, None)]);
        check("<a href=\"https://e.org/?a=1&amp;b\">x</a>", "x", &[("text_link", 0, 1, Some("https://e.org/?a=1&b"))]);
        check("<a href='javascript:x'>x</a>", "x", &[]);
        check("<blockquote expandable>q</blockquote>", "q", &[("expandable_blockquote", 0, 1, None)]);
        check(
            "<tg-spoiler>s</tg-spoiler><span class=tg-spoiler>t</span>",
            "st",
            &[("spoiler", 0, 1, None), ("spoiler", 1, 1, None)],
        );
    }

    #[test]
    fn white_space_is_trimmed_around_the_formatting() {
        check("\n  a <b>b </b>\n", "a b", &[("bold", 2, 1, None)]);
        check("<b>  a</b>", "  a", &[("bold", 0, 3, None)]);
        check(" \n", "", &[]);
    }

    #[test]
    fn errors_name_the_byte_offset() {
        check_error("é<div>", "Unsupported start tag \"div\" at byte offset 2");
        check_error("<b>x", "Can't find end tag corresponding to start tag \"b\"");
        check_error("x</b>", "Unexpected end tag at byte offset 1");
        check_error("<b><i>x</b></i>", "Unmatched end tag at byte offset 7, expected \"</i>\", found \"</b>\"");
        check_error("1 < 2", "Unsupported start tag \"\" at byte offset 2");
        check_error("<b", "Unclosed start tag at byte offset 0");
        check_error("<a href=\"x", "Unclosed start tag \"a\" at byte offset 0");
        check_error("<b>x</b", "Unclosed end tag at byte offset 4");
        check_error("<span>x</span>", "Tag \"span\" must have class \"tg-spoiler\" at byte offset 0");
        check_error("<a href=http://x>y</a>", "Unexpected end of name token at byte offset 8");
    }
}
