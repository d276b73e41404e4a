//! One spelling for JSON that means the same, and how many tokens it counts.
//!
//! Signatures and the prompt cache compare requests by content: `cache_control` markers, key order and the shorthand
//! of a string for one text block make no difference to them. The token counts are this fake's own; they are
//! deterministic and lower than what any careful client reserves, and they claim no likeness to a real tokenizer.

use std::hash::Hasher;

use serde_json::Value;

use super::media;

/// Bytes of text that count as one token.
const TOKEN_BYTES: usize = 4;
/// Tokens of one block beside its content.
const BLOCK_TOKENS: u64 = 3;
/// Tokens of one message beside its blocks.
pub const MESSAGE_TOKENS: u64 = 3;

/// Feeds `value` to `sink` in one spelling, without any `cache_control`.
///
/// The spelling is length-prefixed, so that no two different values have the same one.
pub fn feed(value: &Value, sink: &mut dyn FnMut(&[u8])) {
    match value {
        Value::Null => sink(b"n"),
        Value::Bool(true) => sink(b"t"),
        Value::Bool(false) => sink(b"f"),
        Value::Number(number) => text(b'#', &number.to_string(), sink),
        Value::String(string) => text(b'"', string, sink),
        Value::Array(items) => {
            sink(b"[");
            items.iter().for_each(|item| feed(item, sink));
            sink(b"]");
        }
        // The map is a tree: its keys come sorted.
        Value::Object(fields) => {
            sink(b"{");
            for (key, field) in fields.iter().filter(|(key, _)| *key != "cache_control") {
                text(b'k', key, sink);
                feed(field, sink);
            }
            sink(b"}");
        }
    }
}

fn text(mark: u8, text: &str, sink: &mut dyn FnMut(&[u8])) {
    let mut head = [mark; 9];
    head[1..].copy_from_slice(&(text.len() as u64).to_le_bytes());
    sink(&head);
    sink(text.as_bytes());
}

/// A 64-bit digest of the content of `value`, continued from `before`.
pub fn digest(before: u64, value: &Value) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write_u64(before);
    feed(value, &mut |bytes| hasher.write(bytes));
    hasher.finish()
}

/// The blocks of a `content` or `system` value; a string is one text block.
pub fn blocks(content: &Value) -> std::borrow::Cow<'_, [Value]> {
    match content {
        Value::String(text) => vec![serde_json::json!({ "type": "text", "text": text })].into(),
        Value::Array(blocks) => blocks.as_slice().into(),
        _ => Vec::new().into(),
    }
}

/// Tokens of a text.
pub fn text_tokens(text: &str) -> u64 {
    text.len().div_ceil(TOKEN_BYTES) as u64
}

/// Tokens of one content block or tool definition.
pub fn block_tokens(block: &Value) -> u64 {
    let field = |name: &str| block[name].as_str().map_or(0, text_tokens);
    BLOCK_TOKENS
        + match block["type"].as_str() {
            Some("text") => field("text"),
            Some("thinking") => field("thinking"),
            Some("redacted_thinking") => 0,
            Some("image") => media::image_tokens(block),
            Some("document") => field("title") + media::document_tokens(block),
            Some("tool_result") => blocks(&block["content"]).iter().map(block_tokens).sum(),
            Some("tool_use") => field("name") + weight(&block["input"]).div_ceil(TOKEN_BYTES) as u64,
            _ => weight(block).div_ceil(TOKEN_BYTES) as u64,
        }
}

/// About the length of the JSON text of `value` in bytes, without rendering it.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 4,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(|item| weight(item) + 1).sum::<usize>(),
        Value::Object(fields) => 2 + fields.iter().map(|(key, field)| key.len() + weight(field) + 4).sum::<usize>(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn markers_and_key_order_make_no_difference_and_content_does() {
        let plain: Value = serde_json::from_str(r#"{"type":"text","text":"a"}"#).unwrap();
        let marked = json!({ "text": "a", "type": "text", "cache_control": { "type": "ephemeral" } });
        assert_eq!(digest(0, &plain), digest(0, &marked));
        assert_ne!(digest(0, &plain), digest(1, &plain));
        assert_ne!(digest(0, &json!(["ab", "c"])), digest(0, &json!(["a", "bc"])));
        assert_ne!(digest(0, &json!([[1], 2])), digest(0, &json!([[1, 2]])));
    }
}
