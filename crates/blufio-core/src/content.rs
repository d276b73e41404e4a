//! What somebody sent, as far as a channel can tell without opening a file.
//!
//! A channel writes it down at intake, the inbox stores it, and the turn makes message parts of it. The serialised form is
//! stored with the row until the row is deleted, so a new field needs a default.

use crate::ids::AttachmentId;
use serde::{Deserialize, Serialize};

/// A message from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The sender's own words; the only part in which commands are looked for.
    #[serde(skip)]
    pub text: String,
    /// The sender's name where several people speak, as they call themselves; proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speaker: Option<String>,
    /// Words of others that came along.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quotes: Vec<Quote>,
    /// Files that came along, not fetched yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileRef>,
}

impl Content {
    /// Words and nothing else.
    pub fn words(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// There is nothing in it that could be answered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.trim().is_empty() && self.quotes.is_empty() && self.files.is_empty()
    }

    /// Bytes of words, own and quoted.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.quotes.iter().map(|quote| quote.text.len()).fold(self.text.len(), usize::saturating_add)
    }
}

/// Words of somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// How they came along.
    pub kind: QuoteKind,
    /// Who said them, as the channel tells it.
    pub from: String,
    /// The words, as Markdown.
    pub text: String,
}

/// How words of others come along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuoteKind {
    /// The message is an answer to them.
    Reply,
    /// They were passed on.
    Forward,
    /// They name or describe what came instead of words: a contact, a place, a poll, a file that is not fetched.
    Shared,
    /// They were said by the agent itself, and the message is an answer to them.
    Own,
}

/// A file at the channel's server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// What it is.
    pub kind: FileKind,
    /// The channel's handle for fetching it.
    pub handle: String,
    /// The name that its sender gave it; a label and never a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The media type that its sender claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Its size, if the server says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Its length in seconds, for recordings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u32>,
    /// Who made it, as the channel tells it, if the sender passed it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded: Option<String>,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A picture to look at.
    Photo,
    /// Any file.
    Document,
    /// Somebody speaks, or music.
    Voice,
}

/// Something said where the agent was, but not to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overheard {
    /// Who, as they call themselves.
    pub name: String,
    /// What.
    pub text: String,
}

/// A file to send, stored already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutgoingFile {
    /// Its stored bytes.
    pub attachment: AttachmentId,
    /// The name that the receiver sees.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its size.
    pub bytes: u64,
    /// Shown as a picture and not as a file.
    pub picture: bool,
}

/// Stands in stored vendor bytes for the content of a stored file, as `"data":"blufio-attachment:<id>:<bytes>"`, for a
/// document with `:<pages>` behind it if they are known. Quotes inside of JSON strings are escaped, so no text that somebody
/// writes can be taken for it.
pub const ATTACHMENT_MARK: &str = "\"data\":\"blufio-attachment:";

/// The stored files that a message's vendor bytes stand for, with their sizes in bytes, in order.
pub fn attachments(wire: &[u8]) -> impl Iterator<Item = (AttachmentId, u64)> {
    // Bytes that are no text hold no mark.
    let text = std::str::from_utf8(wire).unwrap_or_default();
    text.split(ATTACHMENT_MARK).skip(1).filter_map(|rest| {
        let (id, rest) = rest.split_once(':')?;
        let (numbers, _) = rest.split_once('"')?;
        let bytes = numbers.split(':').next()?;
        Some((AttachmentId::new(id), bytes.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn stored_form_of_contents() {
        let content = Content {
            text: "not in here".into(),
            speaker: Some("Ann".into()),
            quotes: vec![Quote { kind: QuoteKind::Forward, from: "Bob".into(), text: "hi".into() }],
            files: vec![FileRef {
                kind: FileKind::Voice,
                handle: "f1".into(),
                name: None,
                media_type: Some("audio/ogg".into()),
                bytes: Some(7),
                seconds: Some(3),
                forwarded: None,
            }],
        };
        let stored = concat!(
            r#"{"speaker":"Ann","quotes":[{"kind":"forward","from":"Bob","text":"hi"}],"#,
            r#""files":[{"kind":"voice","handle":"f1","media_type":"audio/ogg","bytes":7,"seconds":3}]}"#
        );
        assert_eq!(serde_json::to_string(&content).unwrap(), stored);
        assert_eq!(
            serde_json::from_str::<Content>(stored).unwrap(),
            Content { text: String::new(), ..content.clone() }
        );
        assert_eq!(serde_json::from_str::<Content>("{}").unwrap(), Content::default());
        let forwarded = FileRef { forwarded: Some("Eve".into()), ..content.files[0].clone() };
        let stored = serde_json::to_string(&forwarded).unwrap();
        assert!(stored.ends_with(r#""seconds":3,"forwarded":"Eve"}"#), "{stored}");
        assert_eq!(serde_json::from_str::<FileRef>(&stored).unwrap(), forwarded);
    }

    #[test]
    fn marks_are_found_and_words_are_none() {
        let wire = format!(
            r#"[{{"type":"text","text":{}}},{{"source":{{"type":"base64","data":"blufio-attachment:ab:12"}}}}]"#,
            serde_json::to_string("\"data\":\"blufio-attachment:cd:7\"").unwrap()
        );
        let found: Vec<(AttachmentId, u64)> = attachments(wire.as_bytes()).collect();
        assert_eq!(found, [(AttachmentId::new("ab"), 12)]);
        assert_eq!(attachments(&[0xff, 0xfe]).count(), 0);
        let paged = br#"{"source":{"data":"blufio-attachment:ef:5:100"}}"#;
        assert_eq!(attachments(paged).collect::<Vec<_>>(), [(AttachmentId::new("ef"), 5)]);
    }
}
