//! JSON kept as it came: objects whose values stay raw text, in order, so that what the vendor sent goes back unchanged.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Map;
use serde_json::value::{RawValue, Value};
use std::borrow::Cow;
use std::fmt;

/// How deep arrays and objects may nest. Parsers commonly stop at 128, and a request wraps a few levels around a block.
pub(super) const DEPTH_MAX: usize = 100;

/// The fields of an object in the order they came.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, Box<RawValue>)>);

impl Fields {
    /// Bytes of names and values.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.get().len()).sum()
    }

    /// The raw text of a field.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.get())
    }

    /// The value of a field that is a string; empty if it is not there or something else.
    pub(super) fn text(&self, name: &str) -> String {
        self.raw(name).map(text_of).unwrap_or_default().into_owned()
    }

    /// The object as JSON, with these raw texts in place of (or behind) its own fields.
    pub(super) fn with(&self, replaced: &[(&str, &str)]) -> String {
        let own = self.0.iter().map(|(key, value)| {
            let replacement = replaced.iter().find(|(name, _)| name == key);
            (key.as_str(), replacement.map_or(value.get(), |(_, raw)| raw))
        });
        let added = replaced.iter().filter(|(name, _)| self.raw(name).is_none()).copied();
        let fields: Vec<String> = own.chain(added).map(|(key, raw)| format!("{}:{raw}", quote(key))).collect();
        format!("{{{}}}", fields.join(","))
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// A string as JSON.
pub(super) fn quote(text: &str) -> String {
    #[expect(clippy::expect_used, reason = "a string has a JSON form, and memory takes it")]
    let quoted = serde_json::to_string(text).expect("a string serialises");
    quoted
}

/// The string that `raw` is; empty if it is something else.
pub(super) fn text_of(raw: &str) -> Cow<'_, str> {
    #[derive(serde::Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(raw).map(|text| text.0).unwrap_or_default()
}

/// Whether `text` is a JSON object that every parser reads.
pub(super) fn is_object(text: &str) -> bool {
    !too_deep(text.as_bytes()) && serde_json::from_str::<Map<String, Value>>(text).is_ok()
}

/// Whether arrays and objects nest deeper than [`DEPTH_MAX`]. Looks at brackets only and uses no stack.
pub(super) fn too_deep(json: &[u8]) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn fields_keep_order_and_spelling() {
        let fields: Fields = serde_json::from_str(r#"{"z":1.50,"a":{"y":1, "b":2},"t":"x\u0041"}"#).unwrap();
        assert_eq!(fields.with(&[]), r#"{"z":1.50,"a":{"y":1, "b":2},"t":"x\u0041"}"#);
        assert_eq!(fields.with(&[("a", "7"), ("n", "[]")]), r#"{"z":1.50,"a":7,"t":"x\u0041","n":[]}"#);
        assert_eq!(fields.text("t"), "xA");
        assert_eq!(fields.text("z"), "");
    }

    #[test]
    fn depth_counts_brackets_outside_of_texts() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(!too_deep(nested(DEPTH_MAX).as_bytes()));
        assert!(too_deep(nested(DEPTH_MAX + 1).as_bytes()));
        assert!(too_deep("[".repeat(1_000_000).as_bytes()));
        assert!(!too_deep(quote(&"[\"\\".repeat(1_000)).as_bytes()));
    }

    #[test]
    fn objects() {
        let check = |text: &str, fine: bool| assert_eq!(is_object(text), fine, "{text}");
        check("{}", true);
        check(r#" {"a":[1]} "#, true);
        check("", false);
        check("[]", false);
        check(r#"{"a":1"#, false);
        check(r#"{"a":"\ud800"}"#, false);
        check(&format!("{{\"a\":{}{}}}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX)), false);
    }
}
