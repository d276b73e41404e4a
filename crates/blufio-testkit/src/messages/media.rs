//! Pictures and documents in a request: which are legal, and what they show.
//!
//! Their bytes must be what their block says they are, as far as the first bytes tell; nothing is decoded. Limits are those of
//! the vendor's guides to vision and PDF support. It refuses to know where in a conversation a block may stand.

use std::fmt::Display;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Largest base64 text of one image in bytes: the service refuses by the text, not by the picture in it.
const IMAGE_TEXT_BYTES_MAX: usize = 5 * 1024 * 1024;
/// Most pixels along a side of an image.
const SIDE_PX_MAX: u32 = 8_000;
/// Longest title of a document in characters.
const TITLE_CHARS_MAX: usize = 500;
/// How far into a file the sign of a PDF may stand.
const PDF_SIGN_WITHIN_BYTES: usize = 1_024;
/// Pixels that count as one token.
const PIXELS_PER_TOKEN: u64 = 750;
/// Tokens of the largest image, which the service scales down to, and of one whose size is not read.
const IMAGE_TOKENS_MAX: u64 = 4_784;
const IMAGE_TOKENS_UNREAD: u64 = 1_600;
/// Bytes of a document that count as one token.
const DOCUMENT_BYTES_PER_TOKEN: usize = 60;
/// What the product writes into its own store in place of a file; it must never leave the machine.
const STORE_MARK: &str = "blufio-attachment";

/// Judges an image block; on success the pixels along its longer side, 0 if they cannot be read.
pub fn judge_image(block: &Value, path: impl Display) -> Result<u32, String> {
    let source = &block["source"];
    judge_source(source, &path, "image")?;
    if source["type"] != "base64" {
        return Ok(0);
    }
    let media = source["media_type"].as_str().unwrap_or_default();
    if !matches!(media, "image/jpeg" | "image/png" | "image/gif" | "image/webp") {
        return Err(format!("{path}.image.source.media_type: unsupported media type '{media}'"));
    }
    let length = source["data"].as_str().unwrap_or_default().len();
    if length > IMAGE_TEXT_BYTES_MAX {
        return Err(format!(
            "{path}.image.source: image exceeds 5 MB maximum: {length} bytes > {IMAGE_TEXT_BYTES_MAX} bytes"
        ));
    }
    let bytes = decode(source).ok_or_else(|| format!("{path}.image.source.data: invalid base64 data"))?;
    let real = media_type(&bytes).ok_or_else(|| format!("{path}.image.source.data: Could not process image"))?;
    if real != media {
        return Err(format!(
            "{path}.image.source.media_type: Image does not match the provided media type {media}, it is {real}"
        ));
    }
    let size = dimensions(&bytes);
    if size.is_none() && media != "image/webp" {
        return Err(format!("{path}.image.source.data: Could not process image"));
    }
    let (width, height) = size.unwrap_or_default();
    if size.is_some() && width.min(height) == 0 {
        return Err(format!("{path}.image.source.data: Could not process image"));
    }
    if width.max(height) > SIDE_PX_MAX {
        return Err(format!(
            "{path}.image.source.data: At least one of the image dimensions exceed max allowed size: {SIDE_PX_MAX} pixels"
        ));
    }
    Ok(width.max(height))
}

/// Judges a document block.
pub fn judge_document(block: &Value, path: impl Display) -> Result<(), String> {
    let source = &block["source"];
    if let Some(title) = block.get("title").filter(|title| !title.is_null()) {
        let length = title.as_str().map_or(0, |title| title.chars().count());
        if !(1..=TITLE_CHARS_MAX).contains(&length) {
            return Err(format!("{path}.document.title: String should have 1 to {TITLE_CHARS_MAX} characters"));
        }
    }
    if source["type"] == "text" {
        let filled = source["data"].as_str().is_some_and(|text| !text.trim().is_empty());
        let plain = source["media_type"] == "text/plain";
        return if filled && plain {
            Ok(())
        } else {
            Err(format!("{path}.document.source: Input should be plain text"))
        };
    }
    judge_source(source, &path, "document")?;
    if source["type"] != "base64" {
        return Ok(());
    }
    if source["media_type"] != "application/pdf" {
        return Err(format!("{path}.document.source.media_type: Input should be 'application/pdf'"));
    }
    let bytes = decode(source).ok_or_else(|| format!("{path}.document.source.data: invalid base64 data"))?;
    if !is_pdf(&bytes) {
        return Err(format!("{path}.document.source.data: The PDF specified was not valid."));
    }
    Ok(())
}

/// Kind and fields of a source.
fn judge_source(source: &Value, path: &impl Display, block: &str) -> Result<(), String> {
    let string = |name: &str| source[name].as_str().unwrap_or_default();
    let fields: &[&str] = match string("type") {
        "base64" => &["type", "media_type", "data"],
        "url" if !string("url").is_empty() => &["type", "url"],
        "file" if !string("file_id").is_empty() => &["type", "file_id"],
        other => {
            return Err(format!(
                "{path}.{block}.source.type: Input tag '{other}' does not match any of the expected tags"
            ));
        }
    };
    for (key, value) in source.as_object().into_iter().flatten() {
        if !fields.contains(&key.as_str()) {
            return Err(format!("{path}.{block}.source.{key}: Extra inputs are not permitted"));
        }
        if value.as_str().is_some_and(|text| text.starts_with(STORE_MARK)) {
            return Err(format!("{path}.{block}.source.{key}: a mark of the client's own store was sent"));
        }
    }
    Ok(())
}

/// Tokens of an image block beside what every block has.
pub fn image_tokens(block: &Value) -> u64 {
    let size = decode(&block["source"]).and_then(|bytes| dimensions(&bytes));
    let count = |(width, height): (u32, u32)| {
        (u64::from(width) * u64::from(height)).div_ceil(PIXELS_PER_TOKEN).min(IMAGE_TOKENS_MAX)
    };
    size.map_or(IMAGE_TOKENS_UNREAD, count)
}

/// Tokens of a document block beside what every block has.
pub fn document_tokens(block: &Value) -> u64 {
    let length = block["source"]["data"].as_str().map_or(0, str::len);
    (length / 4 * 3).div_ceil(DOCUMENT_BYTES_PER_TOKEN) as u64
}

/// What blocks show, as a sentence: `I see 2 pictures (800x600, 100x50) and 1 document (a.pdf).`
pub fn describe<'a>(blocks: impl Iterator<Item = &'a Value>) -> String {
    let (mut pictures, mut documents) = (Vec::new(), Vec::new());
    for block in blocks {
        match block["type"].as_str() {
            Some("image") => {
                let size = decode(&block["source"]).and_then(|bytes| dimensions(&bytes));
                pictures.push(size.map_or("unknown".to_owned(), |(width, height)| format!("{width}x{height}")));
            }
            Some("document") => documents.push(block["title"].as_str().unwrap_or("untitled").to_owned()),
            _ => {}
        }
    }
    format!("I see {} and {}.", count("picture", &pictures), count("document", &documents))
}

fn count(noun: &str, items: &[String]) -> String {
    match items {
        [] => format!("no {noun}s"),
        [one] => format!("1 {noun} ({one})"),
        many => format!("{} {noun}s ({})", many.len(), many.join(", ")),
    }
}

/// The bytes of a base64 source: the standard alphabet, padded.
fn decode(source: &Value) -> Option<Vec<u8>> {
    let text = source["data"].as_str().filter(|_| source["type"] == "base64")?;
    STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty())
}

fn media_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some("image/png"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

fn is_pdf(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(PDF_SIGN_WITHIN_BYTES)];
    head.windows(5).any(|window| window == b"%PDF-")
}

/// Width and height in pixels by the header of a JPEG, PNG or GIF.
pub fn dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    let word = |at: usize| Some(u32::from(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?)));
    let long = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    match media_type(bytes)? {
        "image/png" => Some((long(16)?, long(20)?)),
        "image/gif" => Some((word(6)?.swap_bytes() >> 16, word(8)?.swap_bytes() >> 16)),
        "image/jpeg" => {
            // Segments, each with a mark and a length, up to the one that begins a frame.
            let mut at = 2;
            loop {
                let mark = *bytes.get(at + 1).filter(|_| bytes[at] == 0xff)?;
                match mark {
                    0xc4 | 0xc8 | 0xcc => {}
                    0xc0..=0xcf => return Some((word(at + 7)?, word(at + 5)?)),
                    // The picture itself begins, or ends, before its size was told.
                    0xd9 | 0xda => return None,
                    _ => {}
                }
                // A mark may be preceded by any number of 0xff.
                at += if mark == 0xff { 1 } else { 2 + usize::try_from(word(at + 2)?).ok()? };
            }
        }
        _ => None,
    }
}

/// The head of a PNG of this size: enough for this fake, and for nobody who decodes.
pub fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    bytes.extend_from_slice(&width.to_be_bytes());
    bytes.extend_from_slice(&height.to_be_bytes());
    bytes.extend_from_slice(&[8, 2, 0, 0, 0]);
    bytes
}

/// The head of a JPEG of this size, likewise.
pub fn jpeg(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xe0, 0, 4, 9, 9, 0xff, 0xc0, 0, 11, 8];
    bytes.extend_from_slice(&height.to_be_bytes());
    bytes.extend_from_slice(&width.to_be_bytes());
    bytes.extend_from_slice(&[1, 0x11, 0, 0xff, 0xd9]);
    bytes
}

/// The head of a PDF, likewise, with `text` in it so that two may differ.
pub fn pdf(text: &str) -> Vec<u8> {
    format!("%PDF-1.4\n% {text}\n%%EOF\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn image(media: &str, bytes: &[u8]) -> Value {
        json!({ "type": "image", "source": { "type": "base64", "media_type": media, "data": STANDARD.encode(bytes) } })
    }

    fn document(bytes: &[u8]) -> Value {
        let source = json!({ "type": "base64", "media_type": "application/pdf", "data": STANDARD.encode(bytes) });
        json!({ "type": "document", "title": "a.pdf", "source": source })
    }

    fn check(block: &Value, expect: &str) {
        let verdict = match block["type"].as_str() {
            Some("image") => judge_image(block, "here").map(|_| ()),
            _ => judge_document(block, "here"),
        };
        let told = verdict.err().unwrap_or_default();
        assert!(if expect.is_empty() { told.is_empty() } else { told.contains(expect) }, "{told:?}, not {expect:?}");
    }

    #[test]
    fn sizes() {
        assert_eq!(dimensions(&png(70_000, 2)), Some((70_000, 2)));
        assert_eq!(dimensions(&jpeg(800, 600)), Some((800, 600)));
        assert_eq!(dimensions(b"GIF89a\x03\0\x05\x01"), Some((3, 261)));
        for length in 0..17 {
            assert_eq!(dimensions(&jpeg(800, 600)[..length]), None, "{length}");
        }
        assert_eq!(dimensions(&[0xff; 100]), None);
        assert_eq!(dimensions(&[0xff, 0xd8, 0xff, 0xda, 0, 2, 0xff, 0xc0, 0, 9, 8, 1, 1, 1, 1]), None);
    }

    #[test]
    fn pictures() {
        check(&image("image/png", &png(8_000, 1)), "");
        check(&image("image/jpeg", &jpeg(1, 8_000)), "");
        check(&image("image/webp", b"RIFF0000WEBPVP8 "), "");
        check(&image("image/png", &png(8_001, 1)), "max allowed size: 8000");
        check(&image("image/png", &png(0, 1)), "Could not process image");
        check(&image("image/png", &png(1, 1)[..18]), "Could not process image");
        check(&image("image/jpeg", &png(1, 1)), "it is image/png");
        check(&image("image/png", b"%PDF-1.4"), "Could not process image");
        check(&image("image/tiff", &png(1, 1)), "unsupported media type");
        check(&image("image/png", b""), "invalid base64");
        let large = [png(1, 1), vec![0; 4_000_000]].concat();
        check(&image("image/png", &large), "exceeds 5 MB");
        let with = |field: &str, value: &str| {
            let mut block = image("image/png", &png(1, 1));
            block["source"][field] = json!(value);
            block
        };
        check(&with("data", "iVBORw0KGgo"), "invalid base64");
        check(&with("data", "iVBO Rw0K"), "invalid base64");
        check(&with("data", "blufio-attachment:00:12"), "own store");
        check(&with("colour", "red"), "Extra inputs");
        check(&with("type", "path"), "does not match");
    }

    #[test]
    fn documents() {
        check(&document(&pdf("x")), "");
        check(&document(b"PK\x03\x04"), "not valid");
        let with = |pointer: &str, value: Value| {
            let mut block = document(&pdf("x"));
            *block.pointer_mut(pointer).unwrap() = value;
            block
        };
        check(&with("/source/media_type", json!("text/html")), "application/pdf");
        check(&with("/source/data", json!("blufio-attachment:00:12")), "own store");
        check(&with("/title", json!("")), "title");
        check(&with("/title", json!("x".repeat(501))), "title");
        check(&with("/source", json!({ "type": "text", "media_type": "text/plain", "data": "a" })), "");
        check(&with("/source", json!({ "type": "text", "media_type": "text/plain", "data": " " })), "plain text");
    }

    #[test]
    fn sentences_and_tokens() {
        let blocks = [image("image/png", &png(800, 600)), image("image/jpeg", &jpeg(100, 50)), document(&pdf("x"))];
        assert_eq!(describe(blocks.iter()), "I see 2 pictures (800x600, 100x50) and 1 document (a.pdf).");
        assert_eq!(describe([].iter()), "I see no pictures and no documents.");
        assert_eq!(image_tokens(&blocks[0]), 640);
        assert_eq!(image_tokens(&image("image/png", &png(8_000, 8_000))), 4_784);
        assert_eq!(document_tokens(&document(&[b'x'; 6_000])), 100);
    }
}
