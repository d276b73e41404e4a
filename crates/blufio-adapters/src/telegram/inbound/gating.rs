//! Whether something in a group is said to the bot: by name, by a command, by an answer to it, or by a pattern of the
//! operator's. What follows from that is decided elsewhere.

use super::super::wire::{Me, Message, MessageEntity};
use regex::{Regex, RegexBuilder};

/// Bytes of one compiled pattern. More: left out, which the configuration has refused before.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// The operator's patterns.
pub(in crate::telegram) struct Mentions(Vec<Regex>);

impl Mentions {
    /// Patterns that do not compile are left out with a line in the log.
    pub(in crate::telegram) fn new(patterns: &[String]) -> Self {
        let compile = |pattern: &String| match RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build() {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                tracing::warn!(%error, "a mention pattern is left out");
                None
            }
        };
        Self(patterns.iter().filter_map(compile).collect())
    }

    fn found(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| pattern.is_match(text))
    }
}

/// A private conversation is always with the bot; in a group somebody has to say so.
pub(super) fn is_addressed(message: &Message, bot: &Me, mentions: &Mentions) -> bool {
    if message.chat.kind == "private" {
        return true;
    }
    let (text, entities) = match (&message.text, &message.caption) {
        (Some(text), _) => (text.as_str(), &message.entities),
        (None, Some(caption)) => (caption.as_str(), &message.caption_entities),
        (None, None) => ("", &message.entities),
    };
    is_answer_to_us(message, bot)
        || entities.iter().any(|entity| names_us(text, entity, bot))
        || (!text.is_empty() && mentions.found(text))
}

/// In a topic every message answers the topic's first one, which may be the bot's own and means nothing.
fn is_answer_to_us(message: &Message, bot: &Me) -> bool {
    let Some(replied) = &message.reply_to_message else { return false };
    let number = |name: &str| replied.get(name).and_then(|value| value.as_i64());
    let from = replied.get("from").and_then(|from| from.get("id")).and_then(|id| id.as_i64());
    let is_root = replied.get("forum_topic_created").is_some()
        || (message.is_topic_message && number("message_id") == message.message_thread_id);
    from == Some(bot.id) && !is_root
}

fn names_us(text: &str, entity: &MessageEntity, bot: &Me) -> bool {
    let own = |name: &str| bot.username.as_deref().is_some_and(|username| username.eq_ignore_ascii_case(name));
    match entity.kind.as_str() {
        "text_mention" => entity.user.as_ref().is_some_and(|user| user.id == bot.id),
        "mention" => part(text, entity).is_some_and(|word| word.strip_prefix('@').is_some_and(own)),
        // A command without a name is for every bot that hears it.
        "bot_command" => part(text, entity).is_some_and(|word| word.split_once('@').is_none_or(|(_, name)| own(name))),
        _ => false,
    }
}

/// The part of a text that an entity is about; its numbers count UTF-16 code units.
fn part(text: &str, entity: &MessageEntity) -> Option<String> {
    let (start, length) = (usize::try_from(entity.offset).ok()?, usize::try_from(entity.length).ok()?);
    let units: Vec<u16> = text.encode_utf16().skip(start).take(length).collect();
    (units.len() == length).then(|| String::from_utf16(&units).ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(fields: &str, expect: bool) {
        let chat = r#""chat":{"id":-7,"type":"supergroup","is_forum":true}"#;
        let message: Message = serde_json::from_str(&format!(r#"{{"message_id":3,{chat},{fields}}}"#)).unwrap();
        let bot = Me {
            id: 42,
            username: Some("Blufio_bot".to_owned()),
            has_topics_enabled: false,
            can_read_all_group_messages: true,
        };
        let mentions = Mentions::new(&["(?i)^hey blu\\b".to_owned(), "(".to_owned(), "a{1000}{1000}{1000}".to_owned()]);
        assert_eq!(is_addressed(&message, &bot, &mentions), expect, "{fields}");
    }

    /// An entity of the first word that starts at `offset`.
    fn marked(field: &str, text: &str, kind: &str, offset: usize, length: usize) -> String {
        let list = if field == "text" { "entities" } else { "caption_entities" };
        let text = serde_json::to_string(text).unwrap();
        format!(r#""{field}":{text},"{list}":[{{"type":"{kind}","offset":{offset},"length":{length}}}]"#)
    }

    #[test]
    fn names() {
        check(r#""text":"hello""#, false);
        check(&marked("text", "@blufio_bot hi", "mention", 0, 11), true);
        check(&marked("text", "hi @BLUFIO_BOT", "mention", 3, 11), true);
        check(&marked("text", "😀 @blufio_bot", "mention", 3, 11), true);
        check(&marked("caption", "look @blufio_bot", "mention", 5, 11), true);
        check(&marked("text", "@blufio_bot2 hi", "mention", 0, 12), false);
        check(&marked("text", "@blufio hi", "mention", 0, 7), false);
        // Only what the server marked as a name is one.
        check(r#""text":"x@blufio_bot.example""#, false);
        check(&marked("text", "x@blufio_bot.example", "email", 0, 20), false);
        check(&marked("text", "@blufio_bot", "bold", 0, 11), false);
        check(&marked("text", "@blufio_bot", "mention", 0, 12), false);
        check(&marked("text", "@blufio_bot", "mention", usize::MAX / 2, 11), false);
        check(r#""text":"@blufio_bot","entities":[{"type":"mention","offset":-1,"length":11}]"#, false);
        check(r#""text":"you","entities":[{"type":"text_mention","offset":0,"length":3,"user":{"id":42}}]"#, true);
        check(r#""text":"you","entities":[{"type":"text_mention","offset":0,"length":3,"user":{"id":43}}]"#, false);
        check(r#""text":"you","entities":[{"type":"text_mention","offset":0,"length":3}]"#, false);
    }

    #[test]
    fn commands() {
        check(&marked("text", "/stop", "bot_command", 0, 5), true);
        check(&marked("text", "/stop@blufio_BOT now", "bot_command", 0, 16), true);
        check(&marked("text", "/stop@other_bot", "bot_command", 0, 15), false);
        check(r#""text":"/stop""#, false);
    }

    #[test]
    fn answers() {
        let answer = |from: i64, rest: &str| {
            format!(r#""text":"x","reply_to_message":{{"message_id":9,"from":{{"id":{from}}}{rest}}}"#)
        };
        let topic = r#","message_thread_id":9,"is_topic_message":true"#;
        check(&answer(42, ""), true);
        check(&answer(43, ""), false);
        check(&answer(42, r#","forum_topic_created":{"name":"t"}"#), false);
        check(&format!("{}{topic}", answer(42, "")), false);
        check(&format!("{}{topic}", answer(42, "").replace(r#""message_id":9"#, r#""message_id":10"#)), true);
        check(r#""text":"x","reply_to_message":[42]"#, false);
    }

    #[test]
    fn patterns() {
        check(r#""text":"HEY BLU, tea?""#, true);
        check(r#""photo":[],"caption":"hey blu: look""#, true);
        check(r#""text":"hey bluebird""#, false);
        check(r#""text":"oh hey blu""#, false);
        check(r#""sticker":{}"#, false);
    }

    #[test]
    fn a_private_conversation_is_always_with_us() {
        let message: Message =
            serde_json::from_str(r#"{"message_id":3,"chat":{"id":5,"type":"private"},"text":"x"}"#).unwrap();
        let bot = Me { id: 42, username: None, has_topics_enabled: false, can_read_all_group_messages: false };
        assert!(is_addressed(&message, &bot, &Mentions::new(&[])));
    }
}
