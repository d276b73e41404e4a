//! What a message holds: the sender's own words, words of others, files to fetch, and one line for everything else.
//!
//! Nothing is ever an error here: what is not known is left out, or named by its kind.

use super::super::entities::to_markdown;
use super::super::wire::{Me, Message};
use super::describe::{Description, describe, number, text};
use super::plain::{file_name, label, line, plain};
use super::quotes::{answered, passed_on};
use blufio_core::content::{Content, FileKind, FileRef, Quote, QuoteKind};
use serde_json::Value;
use serde_json::value::RawValue;

/// Characters kept of a media type (RFC 6838 allows 127 on each side of the slash).
const MEDIA_TYPE_CHARACTERS_MAX: usize = 255;

/// The content of a message.
pub(super) fn of(message: &Message, body: &RawValue, bot: &Me) -> Content {
    let mut files = files(message);
    let mut said = words(message);
    let mut quotes = Vec::new();
    quotes.extend(answered(message, bot));
    let from = passed_on(message);
    if files.is_empty()
        && message.text.is_none()
        && let Ok(whole) = serde_json::from_str::<Value>(body.get())
        && let Some(Description { text, others }) = describe(&whole)
    {
        if others && from.is_none() {
            quotes.push(Quote { kind: QuoteKind::Shared, from: String::new(), text });
        } else {
            said = if said.is_empty() { text } else { format!("{said}\n{text}") };
        }
    }
    if let Some(from) = from {
        files.iter_mut().for_each(|file| file.forwarded = Some(from.clone()));
        // Not the sender's words, so no command is looked for in them.
        let text = plain(&std::mem::take(&mut said));
        if !text.trim().is_empty() {
            quotes.push(Quote { kind: QuoteKind::Forward, from, text });
        }
    }
    let speaker = message.from.as_ref().filter(|_| message.chat.kind != "private").map(super::name);
    Content { text: said, speaker, quotes, files }
}

/// The text or the caption, with its markup as Markdown; empty for content without words.
fn words(message: &Message) -> String {
    match (&message.text, &message.caption) {
        (Some(text), _) => to_markdown(text, &message.entities),
        (None, Some(caption)) => to_markdown(caption, &message.caption_entities),
        (None, None) => String::new(),
    }
}

/// The files that are fetched; pictures in their largest size.
fn files(message: &Message) -> Vec<FileRef> {
    let largest = message.photo.as_ref().and_then(Value::as_array).and_then(|sizes| {
        let side = |size: &Value, name: &str| number(size, name).unwrap_or(0).max(0);
        let area = |size: &&Value| side(size, "width").saturating_mul(side(size, "height"));
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
    let shown = |field: &str, show: fn(&str) -> String| text(value, field).map(show).filter(|shown| !shown.is_empty());
    Some(FileRef {
        kind,
        handle: text(value, "file_id").filter(|handle| !handle.is_empty())?.to_owned(),
        name: shown("file_name", file_name).or_else(|| shown("title", label)),
        media_type: shown("mime_type", |text| line(text, MEDIA_TYPE_CHARACTERS_MAX)),
        bytes: number(value, "file_size").and_then(|bytes| u64::try_from(bytes).ok()),
        seconds: number(value, "duration").and_then(|seconds| u32::try_from(seconds).ok()),
        forwarded: None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn content(fields: &str) -> Content {
        content_in(r#""id":5,"type":"private""#, fields)
    }

    fn content_in(chat: &str, fields: &str) -> Content {
        let text = format!(r#"{{"message_id":3,"chat":{{{chat}}},"from":{{"id":5,"first_name":"Ann"}},{fields}}}"#);
        let body = RawValue::from_string(text).unwrap();
        let bot = Me { id: 42, username: None, has_topics_enabled: false, can_read_all_group_messages: false };
        of(&serde_json::from_str(body.get()).unwrap(), &body, &bot)
    }

    #[test]
    fn own_words_and_descriptions() {
        let check = |fields: &str, expect: &str| assert_eq!(content(fields).text, expect, "{fields}");
        check(r#""text":"b","entities":[{"type":"bold","offset":0,"length":1}]"#, "**b**");
        check(r#""photo":[],"caption":"look","caption_entities":[{"type":"code","offset":0,"length":4}]"#, "`look`");
        check(r#""video":{"duration":7},"caption":"look""#, "look\n[a video, which I cannot watch: 7 s]");
        check(r#""sticker":{}"#, "[a sticker]");
        check(r#""rich_message":{"blocks":[{"type":"paragraph","text":"one"}]}"#, "one");
        check(r#""text":"x","poll":{"question":"?"}"#, "x");
        check(r#""something_of_2030":{}"#, "");
        assert!(content(r#""something_of_2030":{}"#).is_empty());
    }

    #[test]
    fn names_that_somebody_else_may_have_chosen_are_not_the_senders_words() {
        let shared = |text: &str| Quote { kind: QuoteKind::Shared, from: String::new(), text: text.to_owned() };
        let contact = content(r#""contact":{"first_name":"evil.example/x","phone_number":"1"}"#);
        assert_eq!((contact.text.as_str(), contact.quotes), ("", vec![shared("[a contact: evil.example/x, 1]")]));
        let video = content(r#""video":{"file_name":"evil.example"},"caption":"look""#);
        let named = shared("[a video, which I cannot watch: “evil.example”]");
        assert_eq!((video.text.as_str(), video.quotes), ("look", vec![named]));
    }

    #[test]
    fn files_are_named_and_the_largest_picture_is_taken() {
        let photo = content(
            r#""photo":[{"file_id":"s","width":90,"height":90},{"file_id":"l","width":1280,"height":960,"file_size":7},
                {"file_id":"n","width":-9000,"height":-9000}],"caption":"x""#,
        );
        assert_eq!((photo.text.as_str(), photo.files.len()), ("x", 1));
        assert_eq!((photo.files[0].handle.as_str(), photo.files[0].bytes), ("l", Some(7)));
        let voice = content(r#""voice":{"file_id":"v","duration":9,"mime_type":"audio/ogg","file_size":-1}"#);
        let expect = FileRef {
            kind: FileKind::Voice,
            handle: "v".into(),
            name: None,
            media_type: Some("audio/ogg".into()),
            bytes: None,
            seconds: Some(9),
            forwarded: None,
        };
        assert_eq!(voice.files, [expect]);
        let music = content(r#""audio":{"file_id":"a","duration":99999999999,"title":"Song"}"#);
        assert_eq!((music.files[0].kind, music.files[0].seconds), (FileKind::Voice, None));
        assert_eq!(music.files[0].name.as_deref(), Some("Song"));
        let document = content(r#""document":{"file_id":"d","file_name":"a\u202e\nb.txt","mime_type":7}"#);
        assert_eq!((document.files[0].name.as_deref(), &document.files[0].media_type), (Some("a b.txt"), &None));
        let office = "application/vnd.openxmlformats-officedocument.presentationml.presentation.macroEnabled.12";
        let long =
            format!(r#""document":{{"file_id":"d","file_name":"{}.pptm","mime_type":"{office}"}}"#, "x".repeat(99));
        let long = &content(&long).files[0];
        assert!(long.name.as_deref().is_some_and(|name| name.ends_with("x.pptm") && name.len() == 64), "{long:?}");
        assert_eq!(long.media_type.as_deref(), Some(office));
        for odd in [r#""document":{"file_name":"x"}"#, r#""document":{"file_id":""}"#, r#""photo":{}"#, r#""voice":[]"#]
        {
            assert!(content(odd).files.is_empty(), "{odd}");
        }
        assert!(content(r#""animation":{"file_id":"a"},"document":{"file_id":"a"}"#).files.is_empty());
    }

    #[test]
    fn what_is_passed_on_is_nothing_the_sender_said() {
        let eve = r#""forward_origin":{"type":"hidden_user","sender_user_name":"Eve"}"#;
        let forward = |text: &str| vec![Quote { kind: QuoteKind::Forward, from: "Eve".into(), text: text.into() }];
        let stop = content(&format!(r#""text":"/st\u202eop now",{eve}"#));
        assert_eq!(stop, Content { quotes: forward("/stop now"), ..Content::default() });
        let sticker = content(&format!(r#""sticker":{{}},{eve}"#));
        assert_eq!(sticker, Content { quotes: forward("[a sticker]"), ..Content::default() });
        let picture = content(&format!(r#""photo":[{{"file_id":"p"}}],{eve}"#));
        assert_eq!((picture.text.as_str(), picture.quotes.len(), picture.files.len()), ("", 0, 1));
        assert_eq!(picture.files[0].forwarded.as_deref(), Some("Eve"), "nor are its files the sender's");
        assert_eq!(content(r#""photo":[{"file_id":"p"}]"#).files[0].forwarded, None);
        let inline = content(r#""text":"/stop","via_bot":{"id":7,"first_name":"Gif"}"#);
        assert_eq!((inline.text.as_str(), inline.quotes[0].from.as_str()), ("", "Gif"));
    }

    #[test]
    fn speakers_are_named_where_several_speak() {
        let group = r#""id":-7,"type":"supergroup""#;
        assert_eq!(content(r#""text":"x""#).speaker, None);
        assert_eq!(content_in(group, r#""text":"x""#).speaker.as_deref(), Some("Ann"));
    }
}
