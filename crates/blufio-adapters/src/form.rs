//! Request bodies that hold a file: multipart forms (RFC 7578), written by hand so that nothing in a file, its name or the
//! text below it can become a field. What the fields mean is not known here.

use sha2::{Digest, Sha256};

/// Characters of a file's name that are sent. Longer: the end, with the extension, is kept.
const NAME_CHARACTERS_MAX: usize = 128;
/// Characters of a media type (RFC 6838 allows 127 on each side of the slash). Longer: it is not named.
const MEDIA_TYPE_CHARACTERS_MAX: usize = 255;
/// The media type of what has none.
const UNKNOWN_MEDIA_TYPE: &str = "application/octet-stream";

/// A file of a form.
pub(crate) struct FilePart<'a> {
    /// The field that it is.
    pub(crate) field: &'static str,
    /// Its name, as somebody gave it.
    pub(crate) name: &'a str,
    /// Its media type, as somebody gave it.
    pub(crate) media_type: &'a str,
    /// What is in it.
    pub(crate) bytes: &'a [u8],
}

/// A request with a file, complete.
pub(crate) struct Form {
    /// The value of the header.
    pub(crate) content_type: String,
    /// What is sent.
    pub(crate) body: Vec<u8>,
}

impl Form {
    /// A form of these fields and a file. Looks through the whole file: make it where that may take a moment. `random` is
    /// what nobody who wrote any of it could know.
    pub(crate) fn new(fields: &[(&'static str, String)], file: &FilePart<'_>, random: u64) -> Self {
        let (name, media_type) = (safe_name(file.name), safe_media_type(file.media_type));
        let taken = |line: &str| {
            let texts = fields.iter().map(|(_, value)| value.as_str()).chain([name.as_str()]);
            occurs(line.as_bytes(), file.bytes) || texts.into_iter().any(|text| text.contains(line))
        };
        let boundary = boundary(random, taken);
        let mut body = Vec::with_capacity(file.bytes.len() + 4_096);
        for (field, value) in fields {
            let head = format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n");
            body.extend_from_slice(head.as_bytes());
        }
        let head = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"{}\"; filename=\"{name}\"\r\n\
             content-type: {media_type}\r\n\r\n",
            file.field
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(file.bytes);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        Self { content_type: format!("multipart/form-data; boundary={boundary}"), body }
    }
}

/// A line that is not taken.
fn boundary(random: u64, taken: impl Fn(&str) -> bool) -> String {
    let mut hash = Sha256::digest(random.to_le_bytes());
    loop {
        let line: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        if !taken(&line) {
            return line;
        }
        hash = Sha256::digest(hash);
    }
}

/// Looks at the first byte first, which is all that most places need.
fn occurs(line: &[u8], bytes: &[u8]) -> bool {
    bytes.windows(line.len()).any(|window| window.first() == line.first() && window == line)
}

/// A name without a path, and without anything that ends a quoted string or a line or that turns the text around.
fn safe_name(name: &str) -> String {
    let plain = |character: &char| {
        !character.is_control()
            && !matches!(character, '"' | '\\' | '/' | ':' | '\u{61C}' | '\u{200E}'..='\u{200F}')
            && !matches!(character, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    let clean: Vec<char> = name.chars().filter(plain).collect();
    let cut: String = clean.iter().skip(clean.len().saturating_sub(NAME_CHARACTERS_MAX)).collect();
    if cut.trim_matches('.').trim().is_empty() { "file".to_owned() } else { cut }
}

/// The type if it has the form of one.
fn safe_media_type(text: &str) -> &str {
    let token = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        !part.is_empty() && part.bytes().all(plain)
    };
    let is_type = text.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype));
    if is_type && text.len() <= MEDIA_TYPE_CHARACTERS_MAX { text } else { UNKNOWN_MEDIA_TYPE }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_place() {
        let check = |name: &str, expect: &str| assert_eq!(safe_name(name), expect);
        check("report.pdf", "report.pdf");
        check("Übersicht 2026; neu.txt", "Übersicht 2026; neu.txt");
        check("a\"; name=\"chat_id\"\r\n\r\n7.txt", "a; name=chat_id7.txt");
        check("../../etc/passwd", "....etcpasswd");
        check("C:\\x.exe", "Cx.exe");
        check("invoice\u{202E}fdp.exe", "invoicefdp.exe");
        check("..", "file");
        check(" \u{0}\u{85}", "file");
        check("", "file");
        check(&format!("{}.pdf", "x".repeat(500)), &format!("{}.pdf", "x".repeat(124)));
    }

    #[test]
    fn a_media_type_is_one_or_none() {
        for fine in ["text/plain", "application/vnd.ms-excel", "image/svg+xml"] {
            assert_eq!(safe_media_type(fine), fine);
        }
        for odd in ["", "text", "/", "text/", "text/plain; charset=x", "text/plain\r\nx: y", "a/b/c", "text/pläin"] {
            assert_eq!(safe_media_type(odd), UNKNOWN_MEDIA_TYPE, "{odd}");
        }
        assert_eq!(safe_media_type(&format!("text/{}", "x".repeat(300))), UNKNOWN_MEDIA_TYPE);
    }

    /// A file, a caption or a name that holds the boundary that would be chosen makes another one be chosen.
    #[test]
    fn the_boundary_occurs_in_no_part() {
        let first = boundary(7, |_| false);
        let second = boundary(7, |line| line == first);
        assert_ne!(first, second);
        let form = |caption: &str, name: &str, bytes: &[u8]| {
            let file = FilePart { field: "document", name, media_type: "text/plain", bytes };
            Form::new(&[("chat_id", "5".to_owned()), ("caption", caption.to_owned())], &file, 7).content_type
        };
        assert!(form("x", "y", b"z").ends_with(&first));
        assert!(form(&format!("\r\n--{first}\r\n"), "y", b"z").ends_with(&second));
        assert!(form("x", &first, b"z").ends_with(&second));
        assert!(form("x", "y", format!("ab\r\n--{first}--\r\n").as_bytes()).ends_with(&second));
        assert!(!form("x", "y", format!("{first}{second}").as_bytes()).ends_with(&second));
    }

    #[test]
    fn a_form_is_its_parts_in_order() {
        let file = FilePart { field: "photo", name: "a\"b.png", media_type: "image/png", bytes: b"\0\xFF\r\n" };
        let form = Form::new(&[("chat_id", "-5".to_owned())], &file, 1);
        let boundary = form.content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
        let head = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"chat_id\"\r\n\r\n-5\r\n\
             --{boundary}\r\ncontent-disposition: form-data; name=\"photo\"; filename=\"ab.png\"\r\n\
             content-type: image/png\r\n\r\n"
        );
        let expect = [head.as_bytes(), b"\0\xFF\r\n", format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
        assert_eq!(form.body, expect);
    }
}
