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
