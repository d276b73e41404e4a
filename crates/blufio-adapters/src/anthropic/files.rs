//! Pictures and documents: a mark in the stored bytes, their content in the request.
//!
//! A message is rendered and stored with a mark in place of each file's bytes ([`ATTACHMENT_MARK`]); when a request is put
//! together, the base64 of the stored file takes its place. The same file gives the same bytes, so a request still begins with
//! all of the one before. This file refuses to know where in a conversation a block may stand, and what a picture shows.

use super::json;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blufio_core::content::{ATTACHMENT_MARK, attachments};
use blufio_core::ids::AttachmentId;
use blufio_core::limits::DOCUMENT_PAGES_MAX;
use blufio_core::message::Role;
use blufio_core::port::{BlobError, Blobs, Prompt, PromptMessage};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What stands in a message where a file was.
const GONE: &[u8] = br#"{"type":"text","text":"[this file is no longer stored]"}"#;
/// How every message begins that may hold a file.
const USER_HEAD: &[u8] = br#"{"role":"user","content":["#;
/// How every message ends.
const END: &[u8] = b"]}";
/// What the value of a mark begins with.
pub(super) const MARK: &str = "blufio-attachment:";
/// Longest title of a document in characters, says the API reference.
const TITLE_CHARS_MAX: usize = 500;
/// Tokens of a prepared picture at most: its area is bounded by what the service scales down to.
const IMAGE_TOKENS: u64 = 1_600;
/// Tokens of a page of a document at most: its text (1,500 to 3,000 tokens, says the documentation) and a picture of it.
const PAGE_TOKENS: u64 = 3_000 + IMAGE_TOKENS;
/// Bytes that a page of a document has at least, for one whose pages could not be counted. Fewer are possible and rare.
const PAGE_BYTES_MIN: u64 = 1_000;
/// Bytes that are encoded at once; a multiple of three, so that only the last piece is padded.
const PIECE_BYTES: usize = 48 * 1024;

const _: () = assert!(PIECE_BYTES.is_multiple_of(3));

/// A picture as a block.
pub(super) fn image(attachment: &AttachmentId, media_type: &str, bytes: u64) -> String {
    format!(r#"{{"type":"image","source":{}}}"#, source(attachment, media_type, &bytes.to_string()))
}

/// A document as a block; its title is shortened, and left out if it is blank. Zero pages: nobody knows how many.
pub(super) fn document(attachment: &AttachmentId, media_type: &str, bytes: u64, title: &str, pages: u32) -> String {
    let numbers = if pages == 0 { bytes.to_string() } else { format!("{bytes}:{pages}") };
    let title: String = title.trim().chars().take(TITLE_CHARS_MAX).collect();
    let title = if title.is_empty() { title } else { format!(r#","title":{}"#, json::quote(&title)) };
    format!(r#"{{"type":"document","source":{}{title}}}"#, source(attachment, media_type, &numbers))
}

fn source(attachment: &AttachmentId, media_type: &str, numbers: &str) -> String {
    let data = json::quote(&format!("{MARK}{attachment}:{numbers}"));
    format!(r#"{{"type":"base64","media_type":{},"data":{data}}}"#, json::quote(media_type))
}

/// Whether a request for this prompt needs files.
pub(super) fn any(prompt: &Prompt) -> bool {
    prompt.messages.iter().any(|message| message.role == Role::User && attachments(&message.wire).next().is_some())
}

/// Bytes that the files of a message take in a request, as far as its marks tell.
pub(super) fn expanded_bytes(message: &PromptMessage) -> u64 {
    let encoded = |(_, bytes): (AttachmentId, u64)| bytes.div_ceil(3).saturating_mul(4);
    if message.role == Role::User { attachments(&message.wire).map(encoded).fold(0, u64::saturating_add) } else { 0 }
}

/// Tokens of the files of a message.
pub(super) fn estimate(message: &PromptMessage) -> u64 {
    let marks = blocks(message).unwrap_or_default().into_iter().filter_map(Marked::find);
    let tokens = marks.map(|marked| match marked.is_document() {
        true => PAGE_TOKENS.saturating_mul(marked.pages.unwrap_or_else(|| pages_at_most(marked.bytes)).into()),
        false => IMAGE_TOKENS,
    });
    tokens.fold(0, u64::saturating_add)
}

/// How many pages a document of so many bytes may have.
fn pages_at_most(bytes: u64) -> u32 {
    u32::try_from(bytes / PAGE_BYTES_MIN + 1).unwrap_or(u32::MAX).min(DOCUMENT_PAGES_MAX)
}

/// The blocks of a message that holds marks. `None` for any other, and for one whose bytes are not of our form.
pub(super) fn blocks(message: &PromptMessage) -> Option<Vec<&str>> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        content: Vec<&'a RawValue>,
    }
    let wire: &[u8] = &message.wire;
    if message.role != Role::User || !wire.starts_with(USER_HEAD) || attachments(wire).next().is_none() {
        return None;
    }
    let content: Vec<&str> =
        serde_json::from_slice::<Message<'_>>(wire).ok()?.content.iter().map(|raw| raw.get()).collect();
    // Nothing but the blocks and commas between them, so that putting them together again gives the same bytes.
    let commas = content.len().saturating_sub(1);
    let bytes = content.iter().map(|block| block.len()).sum::<usize>() + USER_HEAD.len() + commas + END.len();
    (bytes == wire.len()).then_some(content)
}

/// Appends a message of these blocks, its files in place of their marks. Reads the disk.
pub(super) fn append(body: &mut Vec<u8>, blocks: &[&str], blobs: &dyn Blobs, cache_mark: Option<&[u8]>) {
    body.extend_from_slice(USER_HEAD);
    for (place, block) in blocks.iter().enumerate() {
        if place > 0 {
            body.push(b',');
        }
        append_block(body, block, blobs);
    }
    // The last block's own brace closes behind the mark.
    if let Some(mark) = cache_mark
        && body.pop_if(|last| *last == b'}').is_some()
    {
        body.extend_from_slice(mark);
        body.push(b'}');
    }
    body.extend_from_slice(END);
}

fn append_block(body: &mut Vec<u8>, block: &str, blobs: &dyn Blobs) {
    let Some(marked) = Marked::find(block) else { return body.extend_from_slice(block.as_bytes()) };
    match blobs.get(&marked.id) {
        Ok(bytes) => {
            body.extend_from_slice(marked.before.as_bytes());
            body.extend_from_slice(br#""data":""#);
            bytes.chunks(PIECE_BYTES).for_each(|piece| body.extend_from_slice(STANDARD.encode(piece).as_bytes()));
            body.extend_from_slice(marked.after.as_bytes());
        }
        Err(error) => {
            match error {
                BlobError::Gone => tracing::debug!(attachment = %marked.id, "a file of the conversation is gone"),
                BlobError::Full | BlobError::Broken(_) => {
                    tracing::warn!(attachment = %marked.id, %error, "a file of the conversation cannot be shown");
                }
            }
            body.extend_from_slice(GONE);
        }
    }
}

/// A block with a mark.
struct Marked<'a> {
    id: AttachmentId,
    /// Of the file.
    bytes: u64,
    /// Of a document, if they are known.
    pages: Option<u32>,
    before: &'a str,
    /// From the closing quote on.
    after: &'a str,
}

impl<'a> Marked<'a> {
    fn find(block: &'a str) -> Option<Self> {
        let (before, rest) = block.split_once(ATTACHMENT_MARK)?;
        let (name, after) = rest.split_at(rest.find('"')?);
        let (id, numbers) = name.split_once(':')?;
        let (bytes, pages) =
            numbers.split_once(':').map_or((numbers, None), |(bytes, pages)| (bytes, pages.parse().ok()));
        let bytes = bytes.parse().unwrap_or(u64::MAX);
        Some(Self { id: AttachmentId::new(id), bytes, pages, before, after })
    }

    fn is_document(&self) -> bool {
        self.before.starts_with(r#"{"type":"document""#)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use blufio_core::record::Shared;
    use blufio_core::time::Timestamp;
    use std::collections::BTreeSet;

    /// Every file is its own name.
    struct Names;

    impl Blobs for Names {
        fn put(&self, _: &[u8]) -> Result<AttachmentId, BlobError> {
            Err(BlobError::Full)
        }
        fn get(&self, id: &AttachmentId) -> Result<Vec<u8>, BlobError> {
            match id.as_str() {
                "gone" => Err(BlobError::Gone),
                "broken" => Err(BlobError::Broken("the disk is on fire".into())),
                name => Ok(name.into()),
            }
        }
        fn bytes(&self) -> u64 {
            0
        }
        fn sweep(&self, _: &BTreeSet<AttachmentId>, _: u32, _: Timestamp) -> Result<u64, BlobError> {
            Ok(0)
        }
    }

    fn message(role: Role, wire: &str) -> PromptMessage {
        let wire = Shared::from(wire.as_bytes());
        PromptMessage { role, shape: super::super::request::shape(role, &wire), wire }
    }

    fn user(blocks: &[&str]) -> PromptMessage {
        message(Role::User, &format!(r#"{{"role":"user","content":[{}]}}"#, blocks.join(",")))
    }

    fn sent(message: &PromptMessage, cache_mark: Option<&[u8]>) -> String {
        let mut body = Vec::new();
        append(&mut body, &blocks(message).unwrap(), &Names, cache_mark);
        String::from_utf8(body).unwrap()
    }

    const TEXT: &str = r#"{"type":"text","text":"\"data\":\"blufio-attachment:x:1\""}"#;

    fn picture(name: &str) -> String {
        image(&AttachmentId::new(name), "image/jpeg", 4)
    }

    #[test]
    fn marks_become_base64() {
        let picture = picture("abcd");
        assert_eq!(
            picture,
            r#"{"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"blufio-attachment:abcd:4"}}"#
        );
        let paper = document(&AttachmentId::new("xyz"), "application/pdf", 3, " a\"b.pdf ", 2);
        let expect = format!(
            "{}{},{TEXT},{}{}",
            r#"{"role":"user","content":["#,
            r#"{"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"YWJjZA=="}}"#,
            r#"{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"eHl6"},"title":"a\"b.pdf"}"#,
            "]}"
        );
        assert_eq!(sent(&user(&[&picture, TEXT, &paper]), None), expect);
        let marked = sent(&user(&[TEXT, &picture]), Some(br#","c":1"#));
        assert!(marked.ends_with(r#""data":"YWJjZA=="},"c":1}]}"#), "{marked}");
    }

    #[test]
    fn long_files_are_one_text() {
        let name = "n".repeat(PIECE_BYTES * 2 + 1);
        let whole = sent(&user(&[&picture(&name)]), None);
        let data = whole.split_once(r#""data":""#).unwrap().1.split_once('"').unwrap().0;
        assert_eq!(STANDARD.decode(data).unwrap(), name.as_bytes());
    }

    #[test]
    fn what_cannot_be_shown_is_named() {
        let gone = String::from_utf8(GONE.to_vec()).unwrap();
        for name in ["gone", "broken"] {
            assert_eq!(
                sent(&user(&[&picture(name), TEXT]), None),
                format!(r#"{{"role":"user","content":[{gone},{TEXT}]}}"#)
            );
        }
        let marked = sent(&user(&[&picture("gone")]), Some(br#","c":1"#));
        assert!(marked.ends_with(r#"stored]","c":1}]}"#), "{marked}");
    }

    #[test]
    fn other_messages_are_left_alone() {
        assert_eq!(blocks(&user(&[TEXT])), None);
        let said = user(&[&picture("x")]);
        assert!(blocks(&said).is_some());
        let text = std::str::from_utf8(&said.wire).unwrap();
        assert_eq!(blocks(&message(Role::Assistant, text)), None);
        assert_eq!(blocks(&message(Role::User, &text.replace("[{", "[ {"))), None, "not a form of ours");
    }

    #[test]
    fn estimates() {
        let check = |block: &str, tokens: u64| assert_eq!(estimate(&user(&[block, TEXT])), tokens);
        let paper = |pages| document(&AttachmentId::new("x"), "application/pdf", 10, "t", pages);
        check(&picture("abcd"), 1_600);
        check(&paper(1), 4_600);
        check(&paper(20), 92_000);
        check(&paper(0), 4_600);
        check(&document(&AttachmentId::new("x"), "application/pdf", 20_000, "t", 0), 96_600);
        check(&document(&AttachmentId::new("x"), "application/pdf", 9_000_000, "t", 0), 460_000);
        assert_eq!(estimate(&user(&[TEXT])), 0);
        assert_eq!(expanded_bytes(&user(&[&picture("x"), &paper(7)])), 8 + 16);
        let long = document(&AttachmentId::new("x"), "application/pdf", 1, &"é".repeat(600), 0);
        assert_eq!(long.matches('é').count(), TITLE_CHARS_MAX);
        assert!(!document(&AttachmentId::new("x"), "application/pdf", 1, " ", 0).contains("title"));
    }
}
