//! Words of others that come along with a message: what it answers, and whose words it passes on.
//!
//! Names prove nothing, and the words are never the sender's own.

use super::super::entities::to_markdown;
use super::super::wire::{Me, Message, MessageEntity};
use super::describe::{describe, files_named, number, text};
use super::plain::{cut, label, plain};
use blufio_core::content::{Quote, QuoteKind};
use serde_json::Value;

/// Characters kept of a message that is answered. Longer: cut.
const QUOTED_CHARACTERS_MAX: usize = 1_000;
/// Whose words are quoted, if nobody says.
const SOMEBODY: &str = "somebody";

/// The message that is answered, as far as it has words: the part that was marked, or all of it.
pub(super) fn answered(message: &Message, bot: &Me) -> Option<Quote> {
    // In a topic a message may answer the service message that opened it, which says nothing.
    let replied = message.reply_to_message.as_ref().filter(|replied| replied.get("forum_topic_created").is_none());
    let whole = replied.or(message.external_reply.as_ref());
    let marked = message.quote.as_ref().and_then(|quote| marked_up(quote, "text", "entities"));
    let story = || message.reply_to_story.as_ref().map(|_| "[a story]".to_owned());
    let words = marked.or_else(|| whole.and_then(words_of)).or_else(story)?;
    let words = cut(&plain(&words), QUOTED_CHARACTERS_MAX);
    if words.trim().is_empty() {
        return None;
    }
    let from = match (whole, &message.reply_to_story) {
        (Some(whole), _) => author(whole),
        (None, Some(story)) => story.get("chat").map_or_else(|| SOMEBODY.to_owned(), title),
        (None, None) => SOMEBODY.to_owned(),
    };
    let own = replied.is_some_and(|replied| replied.get("from").and_then(|from| number(from, "id")) == Some(bot.id));
    Some(Quote { kind: if own { QuoteKind::Own } else { QuoteKind::Reply }, from, text: words })
}

/// Who said first what the sender passes on: the origin of a forwarded message, or the inline bot that wrote it.
pub(super) fn passed_on(message: &Message) -> Option<String> {
    match (&message.forward_origin, &message.via_bot) {
        (Some(origin), _) => Some(origin_name(origin)),
        (None, Some(bot)) => Some(user_name(bot)),
        (None, None) => None,
    }
}

/// First and last name of a user or contact, as they may be shown.
pub(super) fn user_name(user: &Value) -> String {
    let part = |name: &str| text(user, name).unwrap_or_default();
    or_somebody(label(&format!("{} {}", part("first_name"), part("last_name"))))
}

fn words_of(message: &Value) -> Option<String> {
    marked_up(message, "text", "entities")
        .or_else(|| marked_up(message, "caption", "caption_entities"))
        .or_else(|| describe(message).map(|described| described.text))
        .or_else(|| files_named(message))
}

fn marked_up(value: &Value, words: &str, entities: &str) -> Option<String> {
    let words = text(value, words).filter(|words| !words.is_empty())?;
    let entities = value.get(entities).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    // One entity of an unknown shape costs its markup and not that of the others.
    let entities: Vec<MessageEntity> =
        entities.iter().filter_map(|entity| serde_json::from_value(entity.clone()).ok()).collect();
    Some(to_markdown(words, &entities))
}

/// A message in the name of a chat has a made-up user in `from`; one from elsewhere has an origin.
fn author(message: &Value) -> String {
    match (message.get("sender_chat"), message.get("from"), message.get("origin")) {
        (Some(chat), ..) => title(chat),
        (None, Some(user), _) => user_name(user),
        (None, None, Some(origin)) => origin_name(origin),
        (None, None, None) => SOMEBODY.to_owned(),
    }
}

fn origin_name(origin: &Value) -> String {
    let chat = origin.get("sender_chat").or_else(|| origin.get("chat"));
    match (origin.get("sender_user"), text(origin, "sender_user_name"), chat) {
        (Some(user), ..) => user_name(user),
        (None, Some(name), _) => or_somebody(label(name)),
        (None, None, Some(chat)) => title(chat),
        (None, None, None) => SOMEBODY.to_owned(),
    }
}

/// The title of a group or channel, or the name of the person whose chat it is.
fn title(chat: &Value) -> String {
    text(chat, "title").map(label).filter(|title| !title.is_empty()).unwrap_or_else(|| user_name(chat))
}

fn or_somebody(name: String) -> String {
    if name.is_empty() { SOMEBODY.to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn message(fields: &str) -> Message {
        serde_json::from_str(&format!(r#"{{"message_id":3,"chat":{{"id":5,"type":"private"}},{fields}}}"#)).unwrap()
    }

    fn check(fields: &str, expect: Option<(QuoteKind, &str, &str)>) {
        let bot = Me { id: 42, username: None, has_topics_enabled: false, can_read_all_group_messages: false };
        let quote = answered(&message(fields), &bot);
        let quote = quote.as_ref().map(|quote| (quote.kind, quote.from.as_str(), quote.text.as_str()));
        assert_eq!(quote, expect, "{fields}");
    }

    #[test]
    fn what_is_answered() {
        use QuoteKind::{Own, Reply};
        let bob = r#""from":{"id":9,"first_name":"Bob"}"#;
        let us = r#""from":{"id":42,"first_name":"Bot"}"#;
        let reply = |rest: &str| format!(r#""text":"x","reply_to_message":{{"message_id":1,{rest}}}"#);
        check(r#""text":"x""#, None);
        check(&reply(&format!(r#"{bob},"text":"tea?""#)), Some((Reply, "Bob", "tea?")));
        check(&reply(&format!(r#"{us},"text":"no""#)), Some((Own, "Bot", "no")));
        check(
            &reply(&format!(
                r#"{bob},"caption":"bold","caption_entities":[5,{{"type":"bold","offset":0,"length":4}}]"#
            )),
            Some((Reply, "Bob", "**bold**")),
        );
        check(&reply(&format!(r#"{bob},"photo":[{{}}]"#)), Some((Reply, "Bob", "[a picture]")));
        check(
            &reply(&format!(r#"{bob},"document":{{"file_name":"a\u202eb.txt"}}"#)),
            Some((Reply, "Bob", "[the file “ab.txt”]")),
        );
        check(&reply(&format!(r#"{bob},"dice":{{"emoji":"🎲","value":2}}"#)), Some((Reply, "Bob", "[a throw: 🎲 2]")));
        check(&reply(&format!(r#"{us},"forum_topic_created":{{"name":"t"}}"#)), None);
        check(&reply(r#""chat":{"id":5},"date":0"#), None);
        check(
            &reply(r#""sender_chat":{"title":"News"},"from":{"id":136817688,"first_name":"Channel"},"text":"n""#),
            Some((Reply, "News", "n")),
        );
        // The part that was marked, and the whole if that part is unreadable.
        let marked = format!(r#"{},"quote":{{"text":"ea","position":1}}"#, reply(&format!(r#"{bob},"text":"tea""#)));
        check(&marked, Some((Reply, "Bob", "ea")));
        check(&marked.replace(r#""ea""#, "7"), Some((Reply, "Bob", "tea")));
        check(&marked.replace(bob, us), Some((Own, "Bot", "ea")));
        check(&reply(r#""text":"a\u0007\u202e\udb40\udc41b""#), Some((Reply, "somebody", "ab")));
        check(r#""text":"x","reply_to_message":"odd""#, None);
        check(r#""text":"x","quote":{"text":"lone"}"#, Some((Reply, "somebody", "lone")));
    }

    #[test]
    fn what_is_answered_from_elsewhere() {
        use QuoteKind::Reply;
        let elsewhere = |rest: &str| format!(r#""text":"x","external_reply":{{{rest}}}"#);
        let hidden = r#""origin":{"type":"hidden_user","sender_user_name":"Eve"}"#;
        check(&elsewhere(hidden), None);
        check(&format!(r#"{},"quote":{{"text":"n"}}"#, elsewhere(hidden)), Some((Reply, "Eve", "n")));
        check(&elsewhere(&format!(r#"{hidden},"sticker":{{}}"#)), Some((Reply, "Eve", "[a sticker]")));
        check(&elsewhere(&format!(r#"{hidden},"voice":{{}}"#)), Some((Reply, "Eve", "[a voice message]")));
        check(
            r#""text":"x","reply_to_story":{"chat":{"id":9,"first_name":"Bob"},"id":1}"#,
            Some((Reply, "Bob", "[a story]")),
        );
    }

    #[test]
    fn a_long_answered_message_is_cut() {
        let bot = Me { id: 42, username: None, has_topics_enabled: false, can_read_all_group_messages: false };
        let long = format!(r#""text":"x","reply_to_message":{{"text":"{}"}}"#, "y".repeat(5_000));
        let quote = answered(&message(&long), &bot).unwrap();
        assert_eq!((quote.text.chars().count(), quote.text.ends_with('…')), (QUOTED_CHARACTERS_MAX + 1, true));
    }

    #[test]
    fn whose_words_are_passed_on() {
        let check = |fields: &str, expect: Option<&str>| {
            assert_eq!(passed_on(&message(fields)).as_deref(), expect, "{fields}");
        };
        check(r#""text":"x""#, None);
        check(
            r#""forward_origin":{"type":"user","sender_user":{"id":1,"first_name":"Ann","last_name":"B"}}"#,
            Some("Ann B"),
        );
        check(r#""forward_origin":{"type":"hidden_user","sender_user_name":"E\nve"}"#, Some("E ve"));
        check(r#""forward_origin":{"type":"chat","sender_chat":{"id":-1,"title":"Team"}}"#, Some("Team"));
        check(r#""forward_origin":{"type":"channel","chat":{"id":-1,"title":"News"},"message_id":1}"#, Some("News"));
        check(r#""forward_origin":{"type":"something_of_2030"}"#, Some("somebody"));
        check(r#""forward_origin":7"#, Some("somebody"));
        check(r#""forward_origin":{"sender_user":{"id":1,"first_name":"\u3164"}}"#, Some("somebody"));
        check(r#""via_bot":{"id":7,"is_bot":true,"first_name":"Gif"}"#, Some("Gif"));
    }
}
