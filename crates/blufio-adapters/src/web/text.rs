//! What kind of thing a body is, and its bytes as characters.

use encoding_rs::{Encoding, UTF_8};

/// Bytes of a body in which its kind and encoding are looked for.
const HEAD_BYTES: usize = 1024;
/// Characters of a media type that are shown.
const MEDIA_TYPE_CHARS_MAX: usize = 100;

/// The kind of a body.
pub(super) struct Kind {
    /// Lower case, without parameters.
    pub(super) media_type: String,
    pub(super) is_html: bool,
    pub(super) is_text: bool,
    charset: Option<&'static Encoding>,
}

impl Kind {
    /// By what the server says, or by its first bytes if the server says nothing.
    pub(super) fn of(content_type: Option<&str>, body: &[u8]) -> Self {
        let (named, parameters) =
            content_type.unwrap_or("").split_once(';').unwrap_or((content_type.unwrap_or(""), ""));
        let plain = |character: &char| character.is_ascii_alphanumeric() || "/+-._".contains(*character);
        let named: String =
            named.trim().to_ascii_lowercase().chars().filter(plain).take(MEDIA_TYPE_CHARS_MAX).collect();
        let media_type = if named.contains('/') { named } else { guess(body).to_owned() };
        let is_html = matches!(media_type.as_str(), "text/html" | "application/xhtml+xml");
        let is_text = is_html
            || media_type.starts_with("text/")
            || ["+json", "+xml", "+yaml"].iter().any(|end| media_type.ends_with(end))
            || matches!(
                media_type.as_str(),
                "application/json"
                    | "application/ld+json"
                    | "application/x-ndjson"
                    | "application/xml"
                    | "application/javascript"
                    | "application/yaml"
                    | "application/x-yaml"
                    | "application/toml"
                    | "application/x-sh"
            );
        // A drawing is XML, and still nothing to read.
        let is_text = is_text && media_type != "image/svg+xml";
        let charset = parameters.split(';').find_map(|parameter| label(parameter));
        Self { media_type, is_html, is_text, charset }
    }
}

fn guess(body: &[u8]) -> &'static str {
    let head = body.get(..HEAD_BYTES).unwrap_or(body);
    let words = head.trim_ascii_start().to_ascii_lowercase();
    if words.starts_with(b"<!doctype html") || words.starts_with(b"<html") {
        "text/html"
    } else if head.contains(&0) || !readable(head) {
        "application/octet-stream"
    } else {
        "text/plain"
    }
}

/// UTF-8, but for a character that the end of the piece cut.
fn readable(head: &[u8]) -> bool {
    match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    }
}

/// `charset=…`, with or without quotes.
fn label(parameter: &str) -> Option<&'static Encoding> {
    let (name, value) = parameter.split_once('=')?;
    let value = value.trim().trim_matches(|mark| mark == '"' || mark == '\'');
    name.trim().eq_ignore_ascii_case("charset").then(|| Encoding::for_label(value.as_bytes())).flatten()
}

/// The body as text: by a byte order mark, by what the server says, by what the page says, else as UTF-8. Never fails; what is
/// wrong becomes a replacement character.
pub(super) fn decode(body: &[u8], kind: &Kind) -> String {
    let said = kind.charset.or_else(|| kind.is_html.then(|| declared(body)).flatten());
    let (text, _, _) = said.unwrap_or(UTF_8).decode(body);
    text.into_owned()
}

/// What a page says of itself in its first bytes: `<meta charset=…>`, or the older form with `content="…; charset=…"`.
fn declared(body: &[u8]) -> Option<&'static Encoding> {
    let head = body.get(..HEAD_BYTES).unwrap_or(body).to_ascii_lowercase();
    let head = String::from_utf8_lossy(&head);
    let (_, rest) = head.split_once("charset")?;
    let value = rest.trim_start().strip_prefix('=')?.trim_start().trim_start_matches(['"', '\'']);
    let end = value.find(|mark: char| mark.is_whitespace() || "\"'>;/".contains(mark)).unwrap_or(value.len());
    let found = Encoding::for_label(value.get(..end)?.as_bytes())?;
    // A page whose head could be read as ASCII is not in UTF-16, whatever it says.
    Some(if found == encoding_rs::UTF_16LE || found == encoding_rs::UTF_16BE { UTF_8 } else { found })
}

/// Whether a character of a foreign text is kept: no controls, no zero-width characters, no marks of direction, no tags. All
/// of these can hide words from people that a model reads.
pub(super) const fn is_visible(character: char) -> bool {
    !matches!(character,
        '\u{0}'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}'
        | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// The visible words on one line.
pub(crate) fn one_line(text: &str, characters_max: usize) -> String {
    let seen: String = text.chars().filter(|character| character.is_whitespace() || is_visible(*character)).collect();
    let words: Vec<&str> = seen.split_whitespace().collect();
    words.join(" ").chars().take(characters_max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content_type: &str, body: &[u8]) -> Option<String> {
        let kind = Kind::of(Some(content_type), body);
        kind.is_text.then(|| decode(body, &kind))
    }

    #[test]
    fn every_way_to_name_an_encoding_is_understood() {
        let check = |content_type: &str, body: &[u8], expect: &str| {
            assert_eq!(read(content_type, body).as_deref(), Some(expect), "{content_type}");
        };
        check("text/plain", "größe".as_bytes(), "größe");
        check("text/plain; charset=iso-8859-1", b"gr\xf6\xdfe", "größe");
        check("text/html; Charset=\"windows-1251\"", b"\xcf\xf0", "Пр");
        check("text/html", b"<meta charset=windows-1251>\xcf\xf0", "<meta charset=windows-1251>Пр");
        let older = b"<META http-equiv=x content='text/html; charset=ISO-8859-1'>\xf6";
        check("text/html", older, "<META http-equiv=x content='text/html; charset=ISO-8859-1'>ö");
        check("text/plain", b"<meta charset=windows-1251>\xc3\xb6", "<meta charset=windows-1251>ö");
        check("text/html; charset=shift_jis", b"\x93\xfa\x96\x7b", "日本");
        check("text/html; charset=nonsense", "ö".as_bytes(), "ö");
        check("text/html", b"<meta charset=utf-16>\xc3\xb6", "<meta charset=utf-16>ö");
        check("text/plain; charset=utf-8", b"\xff\xfea\0b\0", "ab");
        check("application/json", b"{\"a\":\"\xff\"}", "{\"a\":\"\u{fffd}\"}");
    }

    #[test]
    fn what_is_no_text_is_not_read() {
        for kind in ["image/png", "application/pdf", "application/octet-stream", "image/svg+xml", "audio/mpeg"] {
            assert_eq!(read(kind, b"text"), None, "{kind}");
        }
        let guess = |body: &[u8]| Kind::of(None, body).media_type;
        assert_eq!(guess(b" \n<!DOCTYPE HTML><p>"), "text/html");
        assert_eq!(guess(b"plain words"), "text/plain");
        assert_eq!(guess(b"\x89PNG\r\n\x1a\n\0\0"), "application/octet-stream");
        assert_eq!(guess(&[b"x".repeat(HEAD_BYTES - 1), "ö".into()].concat()), "text/plain");
        assert_eq!(Kind::of(Some("text/html\u{0}\n<script>"), b"").media_type, "text/htmlscript");
    }
}
