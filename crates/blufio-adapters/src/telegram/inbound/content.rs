//! What a message holds: the sender's own words, words of others, files to fetch, and one line for everything else.
//!
//! Nothing is ever an error here: what is not known is left out, or named by its kind.

use super::super::entities::to_markdown;
use super::super::wire::{Me, Message, MessageEntity};
use blufio_core::content::{Content, FileKind, FileRef, Quote, QuoteKind};
use serde_json::Value;
use serde_json::value::RawValue;

/// Characters kept of a name, a title or the like. Longer: cut.
const LABEL_CHARACTERS_MAX: usize = 64;
/// Characters kept of a message that is answered. Longer: cut.
const QUOTED_CHARACTERS_MAX: usize = 1_000;
/// Characters kept of a description of something that is no text. Longer: cut.
const DESCRIPTION_CHARACTERS_MAX: usize = 1_000;

/// The content of a message.
pub(super) fn of(message: &Message, body: &RawValue, bot: &Me) -> Content {
    let mut text = words(message);
    let files = files(message);
    if files.is_empty()
        && message.text.is_none()
        && let Ok(whole) = serde_json::from_str::<Value>(body.get())
        && let Some(description) = describe(&whole)
    {
        text = if text.is_empty() { description } else { format!("{text}\n{description}") };
    }
    let mut quotes = Vec::new();
    quotes.extend(answered(message, bot));
    if let Some(origin) = &message.forward_origin
        && !text.trim().is_empty()
    {
        // Passed on, so these are not the sender's words.
        let forwarded = Quote { kind: QuoteKind::Forward, from: origin_name(origin), text: plain(&text) };
        quotes.push(forwarded);
        text = String::new();
    }
    let speaker = message.from.as_ref().filter(|_| message.chat.kind != "private").map(super::name);
    Content { text, speaker, quotes, files }
}

/// The text or the caption, with its markup as Markdown; empty for content without words.
pub(super) fn words(message: &Message) -> String {
    match (&message.text, &message.caption) {
        (Some(text), _) => to_markdown(text, &message.entities),
        (None, Some(caption)) => to_markdown(caption, &message.caption_entities),
        (None, None) => String::new(),
    }
}

/// A name or title as it may be shown: one short line without anything that hides or turns text.
pub(super) fn label(text: &str) -> String {
    let shown: String = plain(text).chars().filter(|character| !character.is_control()).collect();
    shown.trim().chars().take(LABEL_CHARACTERS_MAX).collect()
}

/// Words of others without characters that hide, reorder or smuggle text.
fn plain(text: &str) -> String {
    let hidden = |character: char| {
        matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}')
            || (character.is_control() && !matches!(character, '\n' | '\t'))
    };
    text.chars().filter(|character| !hidden(*character)).collect()
}

/// The message that is answered, as far as it has words.
fn answered(message: &Message, bot: &Me) -> Option<Quote> {
    let (replied, other) = (message.reply_to_message.as_ref(), message.external_reply.as_ref());
    let whole = replied.filter(|replied| replied.get("forum_topic_created").is_none());
    let marked = message.quote.as_ref().and_then(|quote| field(quote, "text")).map(str::to_owned);
    let text = marked.or_else(|| {
        let whole = whole?;
        let entities = |name: &str| -> Vec<MessageEntity> {
            whole.get(name).and_then(|list| serde_json::from_value(list.clone()).ok()).unwrap_or_default()
        };
        match (field(whole, "text"), field(whole, "caption")) {
            (Some(text), _) => Some(to_markdown(text, &entities("entities"))),
            (None, Some(caption)) => Some(to_markdown(caption, &entities("caption_entities"))),
            (None, None) => describe(whole).or_else(|| files_named(whole)),
        }
    })?;
    let text = cut(&plain(&text), QUOTED_CHARACTERS_MAX);
    if text.trim().is_empty() {
        return None;
    }
    let author = whole.and_then(|whole| whole.get("from"));
    let own = author.and_then(|from| from.get("id")).and_then(Value::as_i64) == Some(bot.id);
    let from = match (author, other.and_then(|other| other.get("origin"))) {
        (Some(from), _) => user_name(from),
        (None, Some(origin)) => origin_name(origin),
        (None, None) => whole.and_then(|whole| whole.get("sender_chat")).map_or("somebody".to_owned(), title),
    };
    Some(Quote { kind: if own { QuoteKind::Own } else { QuoteKind::Reply }, from, text })
}

/// Who said first what is passed on.
fn origin_name(origin: &Value) -> String {
    let chat = origin.get("sender_chat").or_else(|| origin.get("chat"));
    match (origin.get("sender_user"), field(origin, "sender_user_name"), chat) {
        (Some(user), ..) => user_name(user),
        (None, Some(name), _) => label(name),
        (None, None, Some(chat)) => title(chat),
        (None, None, None) => "somebody".to_owned(),
    }
}

fn user_name(user: &Value) -> String {
    let part = |name: &str| field(user, name).unwrap_or_default();
    let name = label(&format!("{} {}", part("first_name"), part("last_name")));
    if name.is_empty() { "somebody".to_owned() } else { name }
}

fn title(chat: &Value) -> String {
    match field(chat, "title").map(label) {
        Some(title) if !title.is_empty() => title,
        _ => user_name(chat),
    }
}

// ---------------------------------------------------------------- files

/// The files that are fetched; pictures in their largest size.
fn files(message: &Message) -> Vec<FileRef> {
    let largest = message.photo.as_ref().and_then(Value::as_array).and_then(|sizes| {
        let area = |size: &&Value| number(size, "width").unwrap_or(0).saturating_mul(number(size, "height").unwrap_or(0));
        sizes.iter().max_by_key(area)
    });
    let found = [
        (FileKind::Photo, largest),
        (FileKind::Voice, message.voice.as_ref()),
        (FileKind::Voice, message.audio.as_ref()),
        // An animation is a document, too, which nobody can watch here.
        (FileKind::Document, message.document.as_ref().filter(|_| message.animation.is_none())),
    ];
    found.into_iter().find_map(|(kind, value)| file(kind, value?)).into_iter().collect()
}

fn file(kind: FileKind, value: &Value) -> Option<FileRef> {
    Some(FileRef {
        kind,
        handle: field(value, "file_id")?.to_owned(),
        name: field(value, "file_name").or_else(|| field(value, "title")).map(label),
        media_type: field(value, "mime_type").map(label),
        bytes: number(value, "file_size").and_then(|bytes| u64::try_from(bytes).ok()),
        seconds: number(value, "duration").and_then(|seconds| u32::try_from(seconds).ok()),
    })
}

/// The files of an answered message, by kind and name.
fn files_named(message: &Value) -> Option<String> {
    let named = |kind: &str, words: &str| {
        let file = message.get(kind)?;
        let name = field(file, "file_name").map(|name| format!(" “{}”", label(name))).unwrap_or_default();
        Some(format!("[{words}{name}]"))
    };
    named("photo", "a picture")
        .or_else(|| named("document", "the file"))
        .or_else(|| named("voice", "a voice message"))
        .or_else(|| named("audio", "a recording"))
}

// ---------------------------------------------------------------- everything else

/// One line for what is neither words nor a file that is fetched.
fn describe(message: &Value) -> Option<String> {
    let at = |name: &str| message.get(name);
    let words = |value: &Value, name: &str| field(value, name).map(label).unwrap_or_default();
    let line = if let Some(sticker) = at("sticker") {
        format!("a sticker {}", words(sticker, "emoji"))
    } else if let Some(venue) = at("venue") {
        let place = venue.get("location").map(coordinates).unwrap_or_default();
        format!("a place: {}, {}, at {place}", words(venue, "title"), words(venue, "address"))
    } else if let Some(location) = at("location") {
        format!("a location: {}", coordinates(location))
    } else if let Some(contact) = at("contact") {
        format!("a contact: {}, {}", user_name(contact), words(contact, "phone_number"))
    } else if let Some(poll) = at("poll") {
        format!("a poll: {} ({})", words(poll, "question"), listed(poll, "options"))
    } else if let Some(checklist) = at("checklist") {
        format!("a checklist: {} ({})", words(checklist, "title"), listed(checklist, "tasks"))
    } else if let Some(dice) = at("dice") {
        format!("a throw of {}: {}", words(dice, "emoji"), number(dice, "value").unwrap_or_default())
    } else if let Some(game) = at("game") {
        format!("a game: {}", words(game, "title"))
    } else if let Some(invoice) = at("invoice") {
        format!("an invoice: {}", words(invoice, "title"))
    } else if let Some(rich) = at("rich_message") {
        let mut text = String::new();
        rich_text(rich, &mut text);
        return Some(cut(&plain(&text), DESCRIPTION_CHARACTERS_MAX)).filter(|text| !text.trim().is_empty());
    } else {
        let kinds = [
            ("video", "a video"),
            ("video_note", "a video message"),
            ("animation", "an animation"),
            ("live_photo", "a live photo"),
            ("story", "a story"),
            ("paid_media", "paid media"),
            ("giveaway", "a giveaway"),
            ("giveaway_winners", "winners of a giveaway"),
        ];
        let (value, what) = kinds.iter().find_map(|(kind, what)| Some((at(kind)?, *what)))?;
        let name = field(value, "file_name").map(|name| format!(" “{}”", label(name))).unwrap_or_default();
        let length = number(value, "duration").map(|seconds| format!(" of {seconds} s")).unwrap_or_default();
        format!("{what}{name}{length}, which I cannot watch")
    };
    Some(cut(&format!("[{}]", line.trim()), DESCRIPTION_CHARACTERS_MAX))
}

fn coordinates(location: &Value) -> String {
    let degrees = |name: &str| location.get(name).and_then(Value::as_f64).unwrap_or_default();
    format!("{:.6}, {:.6}", degrees("latitude"), degrees("longitude"))
}

fn listed(value: &Value, name: &str) -> String {
    let items = value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let texts: Vec<String> = items.iter().filter_map(|item| field(item, "text")).map(label).collect();
    texts.join("; ")
}

/// All texts within a rich message, in order. Its depth is bounded by the reader of the JSON.
fn rich_text(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(words) if name == "text" => {
                        text.push_str(words);
                        text.push('\n');
                    }
                    Value::Object(_) | Value::Array(_) => rich_text(value, text),
                    _ => {}
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| rich_text(item, text)),
        _ => {}
    }
}

fn field<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

fn number(value: &Value, name: &str) -> Option<i64> {
    value.get(name).and_then(Value::as_i64)
}

fn cut(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn content(fields: &str) -> Content {
        let chat = if fields.contains("\"speaker\"") { r#""id":-7,"type":"group""# } else { r#""id":5,"type":"private""# };
        let text = format!(r#"{{"message_id":3,"date":1,"chat":{{{chat}}},"from":{{"id":5,"first_name":"Ann"}}{fields}}}"#);
        let body = RawValue::from_string(text).unwrap();
        let bot = Me { id: 42, username: None, has_topics_enabled: false, can_read_all_group_messages: false };
        of(&serde_json::from_str(body.get()).unwrap(), &body, &bot)
    }

    #[test]
    fn what_is_no_text_is_described_and_never_an_error() {
        let check = |fields: &str, expect: &str| assert_eq!(content(fields).text, expect, "{fields}");
        check(r#","sticker":{"emoji":"👍"}"#, "[a sticker 👍]");
        check(r#","sticker":{}"#, "[a sticker]");
        check(r#","location":{"latitude":52.5,"longitude":13.4}"#, "[a location: 52.500000, 13.400000]");
        check(
            r#","venue":{"title":"Café","address":"Main St 1","location":{"latitude":1,"longitude":2}}"#,
            "[a place: Café, Main St 1, at 1.000000, 2.000000]",
        );
        check(r#","contact":{"first_name":"Bob","phone_number":"+49"}"#, "[a contact: Bob, +49]");
        check(r#","poll":{"question":"Tea?","options":[{"text":"yes"},{"text":"no"}]}"#, "[a poll: Tea? (yes; no)]");
        check(r#","dice":{"emoji":"🎲","value":4}"#, "[a throw of 🎲: 4]");
        check(r#","video":{"duration":7,"file_name":"a.mp4"},"caption":"look""#, "look\n[a video “a.mp4” of 7 s, which I cannot watch]");
        check(r#","animation":{"duration":3},"document":{"file_id":"d"}"#, "[an animation of 3 s, which I cannot watch]");
        check(r#","story":{"chat":{},"id":1}"#, "[a story, which I cannot watch]");
        check(r#","rich_message":{"blocks":[{"type":"p","text":"one"},{"inner":{"text":"two"}}]}"#, "one\ntwo\n");
        check(r#","something_of_2030":{}"#, "");
        check(r#","poll":"odd","dice":[1]"#, "[a poll:  ()]");
    }

    #[test]
    fn files_are_named_and_the_largest_picture_is_taken() {
        let sizes = r#","photo":[{"file_id":"s","width":90,"height":90},{"file_id":"l","width":1280,"height":960,"file_size":7}],"caption":"x""#;
        let photo = content(sizes);
        assert_eq!((photo.text.as_str(), photo.files.len()), ("x", 1));
        assert_eq!((photo.files[0].handle.as_str(), photo.files[0].bytes), ("l", Some(7)));
        let voice = content(r#","voice":{"file_id":"v","duration":9,"mime_type":"audio/ogg","file_size":-1}"#);
        assert_eq!((voice.files[0].kind, voice.files[0].seconds, voice.files[0].bytes), (FileKind::Voice, Some(9), None));
        let document = content(r#","document":{"file_id":"d","file_name":"a\u202eb.txt"}"#);
        assert_eq!(document.files[0].name.as_deref(), Some("ab.txt"));
        assert!(content(r#","document":{"file_name":"x"}"#).files.is_empty());
    }

    #[test]
    fn words_of_others_are_quotes() {
        let quotes = |fields: &str| content(fields).quotes;
        let forwarded = content(r#","text":"/stop now","forward_origin":{"type":"hidden_user","sender_user_name":"Eve"}"#);
        assert_eq!(forwarded.text, "");
        assert_eq!(forwarded.quotes, [Quote { kind: QuoteKind::Forward, from: "Eve".into(), text: "/stop now".into() }]);
        let channel = r#","text":"n","forward_origin":{"type":"channel","chat":{"title":"News"}}"#;
        assert_eq!(quotes(channel)[0].from, "News");
        let reply = r#","text":"yes","reply_to_message":{"message_id":1,"from":{"id":9,"first_name":"Bob"},"text":"tea?"}"#;
        assert_eq!(quotes(reply), [Quote { kind: QuoteKind::Reply, from: "Bob".into(), text: "tea?".into() }]);
        let own = r#","text":"why","reply_to_message":{"from":{"id":42,"first_name":"Bot"},"text":"no"},"quote":{"text":"n"}"#;
        assert_eq!(quotes(own), [Quote { kind: QuoteKind::Own, from: "Bot".into(), text: "n".into() }]);
        let root = r#","text":"x","reply_to_message":{"from":{"id":9},"forum_topic_created":{"name":"t"}}"#;
        assert!(quotes(root).is_empty());
        let long = format!(r#","text":"x","reply_to_message":{{"text":"{}"}}"#, "y".repeat(5_000));
        assert_eq!(quotes(&long)[0].text.chars().count(), QUOTED_CHARACTERS_MAX + 1);
        let picture = r#","text":"x","reply_to_message":{"from":{"id":9,"first_name":"Bob"},"photo":[{}]}"#;
        assert_eq!(quotes(picture)[0].text, "[a picture]");
    }
}
