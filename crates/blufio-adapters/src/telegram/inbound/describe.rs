//! One line for what is neither words nor a file that is fetched, and the words of a rich message.
//!
//! Read field by field from JSON and never an error: what is missing or of another shape is left out.

use super::plain::{cut, label, line};
use super::quotes::user_name;
use serde_json::Value;

/// Characters kept of a description. Longer: cut.
const DESCRIPTION_CHARACTERS_MAX: usize = 1_000;
/// Characters kept of a question, a title with a sentence in it, or an answer to choose. Longer: cut.
const SENTENCE_CHARACTERS_MAX: usize = 300;

/// What a message is besides words and files.
pub(super) struct Description {
    /// One line in square brackets; of a rich message its words as they are.
    pub text: String,
    /// There are words in it that somebody else may have chosen: the name of a contact, a place, a file.
    pub others: bool,
}

/// Describes a message. `None` for content of a kind that is not known.
pub(super) fn describe(message: &Value) -> Option<Description> {
    if let Some(rich) = message.get("rich_message") {
        let mut words = String::new();
        blocks(rich.get("blocks")?, &mut words);
        let text = Some(words.trim().to_owned()).filter(|words| !words.is_empty())?;
        return Some(Description { text, others: false });
    }
    KINDS.iter().find_map(|(field, what)| {
        let value = message.get(field)?;
        let told = joined(&details(field, value), ", ");
        let others = match *field {
            "sticker" | "location" | "dice" => false,
            "animation" | "video" | "video_note" | "live_photo" => !named(value).is_empty(),
            _ => !told.is_empty(),
        };
        let told = if told.is_empty() { (*what).to_owned() } else { format!("{what}: {told}") };
        Some(Description { text: format!("[{}]", cut(&told, DESCRIPTION_CHARACTERS_MAX)), others })
    })
}

/// The files of a message, by kind and name.
pub(super) fn files_named(message: &Value) -> Option<String> {
    let kinds =
        [("photo", "a picture"), ("document", "the file"), ("voice", "a voice message"), ("audio", "a recording")];
    let (file, what) = kinds.iter().find_map(|(field, what)| Some((message.get(field)?, what)))?;
    Some(format!("[{}]", joined(&[(*what).to_owned(), named(file)], " ")))
}

/// Fields of a message and what they are. A venue comes with a location, and an animation with a document, so the more
/// exact kind is first.
const KINDS: [(&str, &str); 18] = [
    ("sticker", "a sticker"),
    ("venue", "a place"),
    ("location", "a location"),
    ("contact", "a contact"),
    ("poll", "a poll"),
    ("checklist", "a checklist"),
    ("dice", "a throw"),
    ("game", "a game"),
    ("invoice", "an invoice"),
    ("animation", "an animation, which I cannot watch"),
    ("video", "a video, which I cannot watch"),
    ("video_note", "a video message, which I cannot watch"),
    ("live_photo", "a live photo, which I cannot watch"),
    ("story", "a story, which I cannot watch"),
    ("paid_media", "paid media, which I cannot see"),
    ("giveaway", "a giveaway"),
    ("giveaway_winners", "the winners of a giveaway"),
    ("reply_to_story", "a story"),
];

fn details(kind: &str, value: &Value) -> Vec<String> {
    let words = |name: &str| text(value, name).map(label).unwrap_or_default();
    let sentence = |name: &str| text(value, name).map(|text| line(text, SENTENCE_CHARACTERS_MAX)).unwrap_or_default();
    match kind {
        "sticker" => vec![words("emoji")],
        "location" => vec![coordinates(value)],
        "venue" => {
            let place = value.get("location").map(coordinates).unwrap_or_default();
            vec![sentence("title"), sentence("address"), place]
        }
        "contact" => vec![user_name(value), words("phone_number")],
        "poll" => vec![joined(&[sentence("question"), choices(value, "options")], " ")],
        "checklist" => vec![joined(&[sentence("title"), choices(value, "tasks")], " ")],
        "dice" => vec![joined(&[words("emoji"), count(value, "value")], " ")],
        "game" => vec![sentence("title")],
        "invoice" => {
            // The amount is in the smallest unit of a currency whose number of decimals is not told.
            vec![sentence("title"), joined(&[count(value, "total_amount"), words("currency")], " units of ")]
        }
        "animation" | "video" | "video_note" | "live_photo" => vec![named(value), seconds(value)],
        "giveaway" => vec![sentence("prize_description")],
        _ => Vec::new(),
    }
}

/// Degrees with six decimals, which is about ten centimetres.
fn coordinates(location: &Value) -> String {
    let degrees = |name: &str| location.get(name).and_then(Value::as_f64).map(|degrees| format!("{degrees:.6}"));
    match (degrees("latitude"), degrees("longitude")) {
        (Some(latitude), Some(longitude)) => format!("{latitude}, {longitude}"),
        _ => String::new(),
    }
}

fn choices(value: &Value, name: &str) -> String {
    let items = value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let texts = items.iter().filter_map(|item| text(item, "text"));
    let texts: Vec<String> = texts.map(|text| line(text, SENTENCE_CHARACTERS_MAX)).collect();
    if texts.is_empty() { String::new() } else { format!("({})", texts.join("; ")) }
}

fn named(file: &Value) -> String {
    text(file, "file_name").map(|name| format!("“{}”", label(name))).unwrap_or_default()
}

fn seconds(recording: &Value) -> String {
    number(recording, "duration").map(|seconds| format!("{seconds} s")).unwrap_or_default()
}

fn count(value: &Value, name: &str) -> String {
    number(value, name).map(|number| number.to_string()).unwrap_or_default()
}

fn joined(parts: &[String], between: &str) -> String {
    let parts: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    parts.join(between)
}

// ---------------------------------------------------------------- rich messages

/// The words of blocks, one line each (`RichBlock…` of the Bot API). The depth is bounded by the reader of the JSON.
fn blocks(block: &Value, words: &mut String) {
    match block {
        Value::Array(all) => all.iter().for_each(|block| blocks(block, words)),
        Value::Object(_) => {
            if let Some(label) = text(block, "label") {
                words.push_str(label);
                words.push(' ');
            }
            for name in ["summary", "text", "expression"] {
                rich_line(block.get(name), words);
            }
            for name in ["items", "blocks"] {
                if let Some(inner) = block.get(name) {
                    blocks(inner, words);
                }
            }
            for row in block.get("cells").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default() {
                let cells = row.as_array().map(Vec::as_slice).unwrap_or_default();
                cells.iter().for_each(|cell| rich_cell(cell, words));
                words.push('\n');
            }
            rich_line(block.get("caption"), words);
            rich_line(block.get("credit"), words);
        }
        _ => {}
    }
}

fn rich_line(rich: Option<&Value>, words: &mut String) {
    let Some(rich) = rich else { return };
    let before = words.len();
    rich_text(rich, words);
    if words.len() > before && !words.ends_with('\n') {
        words.push('\n');
    }
}

fn rich_cell(cell: &Value, words: &mut String) {
    if !words.is_empty() && !words.ends_with('\n') {
        words.push_str(" | ");
    }
    if let Some(rich) = cell.get("text") {
        rich_text(rich, words);
    }
}

/// A `RichText` is a string, a list of them, or one with markup around it.
fn rich_text(rich: &Value, words: &mut String) {
    match rich {
        Value::String(text) => words.push_str(text),
        Value::Array(parts) => parts.iter().for_each(|part| rich_text(part, words)),
        Value::Object(fields) => {
            let inner = ["text", "alternative_text", "expression"].iter().find_map(|name| fields.get(*name));
            if let Some(inner) = inner {
                rich_text(inner, words);
            }
        }
        _ => {}
    }
}

// ---------------------------------------------------------------- fields

/// A field, if it is a string.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

/// A field, if it is an integer that fits.
pub(super) fn number(value: &Value, name: &str) -> Option<i64> {
    value.get(name).and_then(Value::as_i64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(message: &str, expect: &str) {
        let message: Value = serde_json::from_str(message).unwrap();
        assert_eq!(describe(&message).map(|described| described.text).unwrap_or_default(), expect, "{message}");
    }

    #[test]
    fn what_is_no_text_is_described() {
        check(r#"{"sticker":{"emoji":"👍"}}"#, "[a sticker: 👍]");
        check(r#"{"sticker":{}}"#, "[a sticker]");
        check(r#"{"location":{"latitude":52.5,"longitude":-13.4}}"#, "[a location: 52.500000, -13.400000]");
        check(
            r#"{"location":{},"venue":{"title":"Café","address":"Main St 1","location":{"latitude":1,"longitude":2}}}"#,
            "[a place: Café, Main St 1, 1.000000, 2.000000]",
        );
        check(r#"{"contact":{"first_name":"Bob","last_name":"B","phone_number":"+49"}}"#, "[a contact: Bob B, +49]");
        check(r#"{"poll":{"question":"Tea?","options":[{"text":"yes"},{"text":"no"}]}}"#, "[a poll: Tea? (yes; no)]");
        check(r#"{"checklist":{"title":"Buy","tasks":[{"id":1,"text":"milk"}]}}"#, "[a checklist: Buy (milk)]");
        check(r#"{"dice":{"emoji":"🎲","value":4}}"#, "[a throw: 🎲 4]");
        check(r#"{"game":{"title":"Chess"}}"#, "[a game: Chess]");
        check(
            r#"{"invoice":{"title":"Tea","currency":"EUR","total_amount":450}}"#,
            "[an invoice: Tea, 450 units of EUR]",
        );
        check(r#"{"video":{"duration":7,"file_name":"a.mp4"}}"#, "[a video, which I cannot watch: “a.mp4”, 7 s]");
        check(
            r#"{"animation":{"duration":3},"document":{"file_id":"d"}}"#,
            "[an animation, which I cannot watch: 3 s]",
        );
        check(r#"{"video_note":{"duration":9}}"#, "[a video message, which I cannot watch: 9 s]");
        check(r#"{"story":{"chat":{},"id":1}}"#, "[a story, which I cannot watch]");
        check(r#"{"paid_media":{"star_count":5,"paid_media":[]}}"#, "[paid media, which I cannot see]");
        check(r#"{"giveaway":{"prize_description":"a car"}}"#, "[a giveaway: a car]");
        check(r#"{"giveaway_winners":{}}"#, "[the winners of a giveaway]");
        check(r#"{"something_of_2030":{}}"#, "");
    }

    #[test]
    fn odd_shapes_are_left_out() {
        check(r#"{"poll":"odd","dice":[1]}"#, "[a poll]");
        check(r#"{"location":{"latitude":"north"}}"#, "[a location]");
        check(r#"{"venue":{"title":7,"location":[]}}"#, "[a place]");
        check(r#"{"checklist":{"tasks":{"text":"x"}}}"#, "[a checklist]");
        check(r#"{"video":{"duration":1e9}}"#, "[a video, which I cannot watch]");
        check(r#"{"rich_message":{"blocks":7}}"#, "");
        check(r#"{"rich_message":7}"#, "");
    }

    #[test]
    fn a_description_is_one_line_and_short() {
        let hostile = "x]\\n\u{202e}[a file]\\n".repeat(500);
        let message =
            format!(r#"{{"poll":{{"question":"{hostile}","options":[{}]}}}}"#, [r#"{"text":"y"}"#; 2_000].join(","));
        let described = describe(&serde_json::from_str(&message).unwrap()).unwrap().text;
        assert!(described.starts_with("[a poll: x] [a file]") && described.ends_with("…]"), "{described}");
        assert!(described.chars().count() <= DESCRIPTION_CHARACTERS_MAX + 3);
        assert!(!described.contains(['\n', '\u{202e}']));
    }

    #[test]
    fn rich_messages_give_their_words_in_order() {
        check(
            r#"{"rich_message":{"blocks":[
                {"type":"heading","size":1,"text":"Title"},
                {"type":"paragraph","text":["one ",{"type":"bold","text":["two",{"type":"italic","text":" three"}]}," ",
                    {"type":"custom_emoji","custom_emoji_id":"1","alternative_text":"😀"}]},
                {"type":"list","items":[{"label":"1.","blocks":[{"type":"paragraph","text":"first"}]}]},
                {"type":"table","cells":[[{"text":"a"},{"text":"b"}],[{"text":"c"},{}]],"caption":"cap"},
                {"type":"details","summary":"more","blocks":[{"type":"mathematical_expression","expression":"x^2"}]},
                {"type":"photo","photo":[],"caption":{"text":"seen","credit":"me"}},
                {"type":"divider"},{"type":"something_of_2030"},5]}}"#,
            "Title\none two three 😀\n1. first\na | b\nc | \ncap\nmore\nx^2\nseen",
        );
    }
}
