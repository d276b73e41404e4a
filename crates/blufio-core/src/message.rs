//! What a conversation is made of, without any vendor's words.
//!
//! A message is a list of parts. These neutral parts are the lasting record of a conversation; the bytes a vendor must get
//! back verbatim are kept beside them (see [`crate::record::StoredMessage`]) and are never derived from here within an epoch.
//! The serialised form of [`Part`] is stored, so a change of it needs an upcaster; `stored_form_of_parts` pins it.

use crate::ids::{AttachmentId, CallId, ToolName};
use serde::{Deserialize, Serialize};

/// Whose turn it is to speak in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The person, or tool results.
    User,
    /// The model.
    Assistant,
}

/// Where the text of a part comes from; it decides how far the text is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The owner's own words.
    Owner,
    /// A machine's transcript of the owner's voice; it commands and approves nothing.
    OwnerVoice,
    /// A paired or allow-listed person's own words.
    Person,
    /// Something said in a group and not to us.
    Group,
    /// Somebody's words that a person passed on or quoted.
    Forward,
    /// The content of a file that a person sent.
    File,
    /// A model wrote it.
    Model,
    /// A model wrote it with foreign words before it, which it may have followed.
    Derived,
    /// A tool of ours returned it.
    Tool,
    /// A tool returned it, and others may have written it.
    Foreign,
    /// Blufio wrote it (`[stopped]`, `[no reply]`, `[error]`).
    Engine,
}

impl Origin {
    /// Words of others, or such that may follow them, whoever asks; a person's words are others' to an owner only.
    #[must_use]
    pub const fn is_foreign(self) -> bool {
        self.is_others() || matches!(self, Self::Derived)
    }

    /// Words of others, none of which a model of ours has chosen.
    #[must_use]
    pub const fn is_others(self) -> bool {
        matches!(self, Self::Group | Self::Forward | Self::File | Self::Foreign)
    }
}

/// One piece of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Where it comes from.
    pub origin: Origin,
    /// Must not leave this machine except to the model.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// The content.
    pub body: Body,
}

/// The content of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Body {
    /// Text, never empty.
    Text {
        /// The text.
        text: String,
    },
    /// The model asks for a tool.
    ToolCall {
        /// The model's id for it.
        id: CallId,
        /// The tool.
        name: ToolName,
        /// The arguments as the model wrote them (JSON text, spelling kept).
        input: String,
    },
    /// What the tool said.
    ToolResult {
        /// The call it answers.
        id: CallId,
        /// The text shown to the model, never empty.
        content: String,
        /// The call did not do what was asked.
        error: bool,
    },
    /// A picture, prepared for models: upright, without metadata, small enough.
    Image {
        /// Its stored bytes.
        attachment: AttachmentId,
        /// `image/jpeg` or `image/png`.
        media_type: String,
        /// How many there are.
        bytes: u64,
    },
    /// A document that the model reads by itself.
    Document {
        /// Its stored bytes.
        attachment: AttachmentId,
        /// `application/pdf`.
        media_type: String,
        /// How many there are.
        bytes: u64,
        /// The name that its sender gave it; a label and never a path.
        title: String,
        /// Its pages, as it claims itself; zero: nobody knows.
        #[serde(default, skip_serializing_if = "is_unknown")]
        pages: u32,
    },
    /// A block that only its vendor understands (thinking, redacted thinking, server tools); its bytes are in the wire row.
    Opaque {
        /// The vendor's name of the block type.
        kind: String,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_unknown(pages: &u32) -> bool {
    *pages == 0
}

impl Part {
    /// A text part.
    pub fn text(origin: Origin, text: impl Into<String>) -> Self {
        Self { origin, private: false, body: Body::Text { text: text.into() } }
    }
}

/// The visible text of a message's parts, blocks joined by a blank line.
#[must_use]
pub fn visible_text(parts: &[Part]) -> String {
    let texts: Vec<&str> = parts
        .iter()
        .filter_map(|part| match &part.body {
            Body::Text { text } if !text.trim().is_empty() => Some(text.as_str()),
            Body::Text { .. }
            | Body::ToolCall { .. }
            | Body::ToolResult { .. }
            | Body::Image { .. }
            | Body::Document { .. }
            | Body::Opaque { .. } => None,
        })
        .collect();
    texts.join("\n\n")
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// It had said what it wanted (also a stop sequence, and any reason we do not know).
    EndTurn,
    /// It waits for tool results.
    ToolUse,
    /// It ran out of `max_tokens`.
    MaxTokens,
    /// The vendor paused a long turn; calling again continues it.
    PauseTurn,
    /// It declined.
    Refusal,
    /// The context window is full; the answer is valid but cut.
    ContextWindow,
}

/// What a call used, in tokens, as the vendor counted it. The vendor's figures are the only truth for billing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Prompt tokens outside the cache.
    pub input: u64,
    /// Prompt tokens written to the five-minute cache.
    pub cache_write_5m: u64,
    /// Prompt tokens written to the one-hour cache.
    pub cache_write_1h: u64,
    /// Prompt tokens read from the cache.
    pub cache_read: u64,
    /// Tokens the model produced, thinking included.
    pub output: u64,
}

impl Usage {
    /// The size of the prompt: plain, written and read together.
    #[must_use]
    pub const fn prompt(&self) -> u64 {
        self.input
            .saturating_add(self.cache_write_5m)
            .saturating_add(self.cache_write_1h)
            .saturating_add(self.cache_read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn stored_form_of_parts() {
        let parts = vec![
            Part::text(Origin::Owner, "hi"),
            Part {
                origin: Origin::Model,
                private: false,
                body: Body::ToolCall { id: CallId::new("toolu_1"), name: ToolName::new("now"), input: "{}".into() },
            },
            Part {
                origin: Origin::Tool,
                private: true,
                body: Body::ToolResult { id: CallId::new("toolu_1"), content: "12:00".into(), error: false },
            },
            Part { origin: Origin::Model, private: false, body: Body::Opaque { kind: "thinking".into() } },
        ];
        let stored = concat!(
            r#"[{"origin":"owner","body":{"type":"text","text":"hi"}},"#,
            r#"{"origin":"model","body":{"type":"tool_call","id":"toolu_1","name":"now","input":"{}"}},"#,
            r#"{"origin":"tool","private":true,"body":{"type":"tool_result","id":"toolu_1","content":"12:00","error":false}},"#,
            r#"{"origin":"model","body":{"type":"opaque","kind":"thinking"}}]"#
        );
        assert_eq!(serde_json::to_string(&parts).unwrap(), stored);
        assert_eq!(serde_json::from_str::<Vec<Part>>(stored).unwrap(), parts);
        assert_eq!(visible_text(&parts), "hi");
        // Rows from before pages were counted.
        let old = r#"{"type":"document","attachment":"ab","media_type":"application/pdf","bytes":7,"title":"t"}"#;
        let document = |pages| Body::Document {
            attachment: AttachmentId::new("ab"),
            media_type: "application/pdf".into(),
            bytes: 7,
            title: "t".into(),
            pages,
        };
        assert_eq!(serde_json::from_str::<Body>(old).unwrap(), document(0));
        assert_eq!(serde_json::to_string(&document(0)).unwrap(), old);
        let new = old.replace('}', r#","pages":3}"#);
        assert_eq!(serde_json::to_string(&document(3)).unwrap(), new);
        assert_eq!(serde_json::from_str::<Body>(&new).unwrap(), document(3));
    }
}
