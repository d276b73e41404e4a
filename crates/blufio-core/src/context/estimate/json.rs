//! What of the stored parts of a request is text, and of which kind. Anything at all is counted, legal or not.

use super::scan::{code, opaque, text};
use super::{Milli, Tokenizer};
use serde_json::{Map, Value};

/// What frames a message.
const MESSAGE: Milli = Milli(8_000);
/// What frames a block.
const BLOCK: Milli = Milli(4_000);
/// What the vendor says to the model about tools if there are any.
const TOOLS: Milli = Milli(350_000);

/// Tokens of a stored message, `{"role":…,"content":[…]}`. Files are not counted. What is no JSON counts as text.
#[must_use]
pub fn message(wire: &[u8], tokenizer: Tokenizer) -> Milli {
    let own = match serde_json::from_slice::<Value>(wire) {
        Ok(Value::Object(message)) => message.get("content").map_or(Milli(0), |value| content(value, tokenizer)),
        Ok(other) => content(&other, tokenizer),
        Err(_) => text(&String::from_utf8_lossy(wire), tokenizer),
    };
    MESSAGE.plus(own)
}

/// Tokens of the tools, an array of their definitions; none without any. What is no JSON counts as code.
#[must_use]
pub fn tools(wire: &[u8], tokenizer: Tokenizer) -> Milli {
    match serde_json::from_slice::<Value>(wire) {
        Ok(Value::Array(tools)) if tools.is_empty() => Milli(0),
        Ok(tools) => TOOLS.plus(structure(&tools, tokenizer)),
        Err(_) => code(&String::from_utf8_lossy(wire), tokenizer),
    }
}

/// Tokens of the system text, a string or an array of blocks. What is no JSON counts as text.
#[must_use]
pub fn system(wire: &[u8], tokenizer: Tokenizer) -> Milli {
    match serde_json::from_slice::<Value>(wire) {
        Ok(value) => content(&value, tokenizer),
        Err(_) => text(&String::from_utf8_lossy(wire), tokenizer),
    }
}

fn content(value: &Value, tokenizer: Tokenizer) -> Milli {
    match value {
        Value::String(string) => BLOCK.plus(text(string, tokenizer)),
        Value::Array(blocks) => blocks.iter().map(|value| content_block(value, tokenizer)).sum(),
        Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) => content_block(value, tokenizer),
    }
}

fn content_block(value: &Value, tokenizer: Tokenizer) -> Milli {
    let own = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| field(fields, name, value, tokenizer)).sum(),
        Value::String(string) => text(string, tokenizer),
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) => structure(value, tokenizer),
    };
    BLOCK.plus(own)
}

fn field(fields: &Map<String, Value>, name: &str, value: &Value, tokenizer: Tokenizer) -> Milli {
    match (name, value) {
        ("type" | "cache_control", _) => Milli(0),
        ("source", Value::Object(source)) => file(source, tokenizer),
        ("content", _) => content(value, tokenizer),
        ("signature", Value::String(string)) => opaque(string, tokenizer),
        ("data", Value::String(string)) if kind(fields) != Some("text") => opaque(string, tokenizer),
        (_, Value::String(string)) => text(string, tokenizer),
        (_, Value::Array(_) | Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_)) => {
            structure(value, tokenizer)
        }
    }
}

/// Of a file only what it is as text: its bytes are counted by what they show.
fn file(source: &Map<String, Value>, tokenizer: Tokenizer) -> Milli {
    match (kind(source), source.get("data"), source.get("content")) {
        (Some("text"), Some(Value::String(string)), _) => text(string, tokenizer),
        (Some("content"), _, Some(value)) => content(value, tokenizer),
        (_, _, _) => Milli(0),
    }
}

fn kind(fields: &Map<String, Value>) -> Option<&str> {
    fields.get("type").and_then(Value::as_str)
}

/// JSON as code; what describes something in it is prose.
fn structure(value: &Value, tokenizer: Tokenizer) -> Milli {
    match value {
        Value::Null | Value::Bool(_) => code("true,", tokenizer),
        Value::Number(number) => code(&number.to_string(), tokenizer).plus(code(",", tokenizer)),
        Value::String(string) => code("\"\",", tokenizer).plus(code(string, tokenizer)),
        Value::Array(items) => {
            items.iter().fold(code("[],", tokenizer), |sum, item| sum.plus(structure(item, tokenizer)))
        }
        Value::Object(fields) => fields.iter().fold(code("{},", tokenizer), |sum, (name, value)| {
            let name_cost = code("\"\":", tokenizer).plus(code(name, tokenizer));
            let value_cost = match (name.as_str(), value) {
                ("description", Value::String(string)) => code("\"\",", tokenizer).plus(text(string, tokenizer)),
                (_, value) => structure(value, tokenizer),
            };
            sum.plus(name_cost).plus(value_cost)
        }),
    }
}
