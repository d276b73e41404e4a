//! Small signs to a person: somebody is at work, a message was read, a press was taken. Conveniences; nothing depends on
//! them, and none is tried twice.

use super::Telegram;
use super::api::ApiError;
use super::health::Streak;
use blufio_core::record::Route;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Length of the words that answer a press, in UTF-16 code units (Bot API, `answerCallbackQuery`). Longer: cut.
const PRESS_UNITS_MAX: usize = 200;
/// Answers to a press that was answered before, or too late.
const TOO_OLD: [&str; 1] = ["query is too old"];
/// Failures in a row after which a chat is no longer shown that somebody is at work.
const TYPING_FAILURES_MAX: u32 = 3;
/// Chats whose failures are counted. Full: all counts start anew.
const FAILING_CHATS_MAX: usize = 256;

#[derive(Serialize)]
struct Answer<'a> {
    callback_query_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    text: &'a str,
}

#[derive(Serialize)]
struct React<'a> {
    chat_id: i64,
    message_id: i64,
    reaction: [Emoji<'a>; 1],
}

#[derive(Serialize)]
struct Emoji<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    emoji: &'a str,
}

#[derive(Serialize)]
struct Act {
    chat_id: i64,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_thread_id: Option<i64>,
}

impl Telegram {
    /// Answers a press, so that the button stops waiting.
    pub(super) async fn take_press(&self, press: &str, text: &str) {
        let request = Answer { callback_query_id: press, text: cut(text, PRESS_UNITS_MAX) };
        match self.api.call::<bool>("answerCallbackQuery", &request, self.timeouts.action).await {
            Err(error) if !error.is_bad_request(&TOO_OLD) => {
                tracing::info!(%error, "the press of a button was not answered");
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// Puts the configured emoji on the message that is answered.
    pub(super) async fn show_read(&self, route: &Route) {
        let (Some(emoji), Some(message_id)) = (self.reaction_ack.as_deref(), route.reply_to) else { return };
        match self.is_foreign(route).await {
            Ok(false) => {}
            Ok(true) => return,
            Err(error) => return tracing::debug!(%error, "a message got no reaction"),
        }
        let reaction = [Emoji { kind: "emoji", emoji }];
        let request = React { chat_id: route.chat, message_id, reaction };
        if let Err(error) = self.api.call::<bool>("setMessageReaction", &request, self.timeouts.action).await {
            tracing::debug!(%error, "a message got no reaction");
        }
    }

    /// Shows "typing…". False if the server does not want it, or three failures came in a row in that chat.
    pub(super) async fn show_typing(&self, route: &Route) -> bool {
        let request = Act { chat_id: route.chat, action: "typing", message_thread_id: route.thread };
        match self.api.call::<bool>("sendChatAction", &request, self.timeouts.action).await {
            Ok(_) => {
                self.typing_failures.forget(route.chat);
                true
            }
            Err(ApiError::Status { code: 400..=499, .. }) => false,
            Err(_) => !self.typing_failures.one_more(route.chat),
        }
    }
}

/// Failures in a row, by chat.
#[derive(Default)]
pub(super) struct Failures(Mutex<BTreeMap<i64, Streak>>);

impl Failures {
    fn forget(&self, chat: i64) {
        self.lock().remove(&chat);
    }

    /// Counts one more; true if these are too many. Then the count starts anew.
    fn one_more(&self, chat: i64) -> bool {
        let mut chats = self.lock();
        if chats.len() >= FAILING_CHATS_MAX && !chats.contains_key(&chat) {
            chats.clear();
        }
        chats.entry(chat).or_default().add_and_reached(TYPING_FAILURES_MAX)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i64, Streak>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The beginning of a text, at most so many UTF-16 code units.
fn cut(text: &str, units_max: usize) -> &str {
    let mut units = 0;
    for (at, character) in text.char_indices() {
        units += character.len_utf16();
        if units > units_max {
            return text.get(..at).unwrap_or_default();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_between_characters() {
        assert_eq!(cut("ab😀c", 3), "ab");
        assert_eq!(cut("ab😀c", 4), "ab😀");
        assert_eq!(cut("ab", 9), "ab");
    }

    #[test]
    fn failures_are_counted_per_chat_and_their_number_is_limited() {
        let failures = Failures::default();
        assert!(!failures.one_more(1) && !failures.one_more(1) && !failures.one_more(2));
        failures.forget(2);
        assert!(failures.one_more(1), "the third in a row");
        assert!(!failures.one_more(1), "the count starts anew");
        for chat in 0..1_000 {
            failures.one_more(chat);
            assert!(failures.lock().len() <= FAILING_CHATS_MAX);
        }
    }
}
