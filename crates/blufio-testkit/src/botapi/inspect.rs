//! What a test may look at: the chats as their people see them, and what the bot has done so far.
//!
//! Only reads. Refuses to know how any of it came about.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::fault::Fault;
use super::state::State;

/// A message as a user of the chat sees it now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VisibleMessage {
    /// Id in the chat.
    pub message_id: i64,
    /// Whether the bot wrote it.
    pub from_bot: bool,
    /// Text or caption without formatting.
    pub text: String,
    /// Text or caption as it was sent, with tags.
    pub html: String,
    /// Earlier versions of `text`, oldest first.
    pub edits: Vec<String>,
    /// Unix seconds of the sending.
    pub date: i64,
    /// Topic.
    pub thread: Option<i64>,
    /// The message it answers.
    pub reply_to: Option<i64>,
    /// Inline keyboard, row by row, as (label, callback data or URL).
    pub buttons: Vec<Vec<(String, String)>>,
    /// File name of an attachment, or its kind when it has none.
    pub media: Option<String>,
    /// Whether it was sent without a notification.
    pub silent: bool,
    /// Emoji that the bot put on it.
    pub reactions: Vec<String>,
}

/// A request as it arrived and how it was answered.
#[derive(Debug, Clone, Serialize)]
pub struct LoggedRequest {
    /// Milliseconds since the start of the server.
    pub at_ms: u64,
    /// Number of the TCP connection.
    pub connection: u64,
    /// Method name.
    pub method: String,
    /// Parameters after the type check; empty when the call was illegal.
    pub params: Map<String, Value>,
    /// Uploaded files as (field, file name, bytes).
    pub files: Vec<(String, String, usize)>,
    /// HTTP status; 0 while unanswered or when no answer was sent.
    pub status: u16,
    /// `description` of an error answer.
    pub description: Option<String>,
    /// The fault that hit it.
    pub fault: Option<String>,
}

/// A `sendChatAction`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChatAction {
    /// Milliseconds since the start of the server.
    pub at_ms: u64,
    /// For example `typing`.
    pub action: String,
    /// Topic.
    pub thread: Option<i64>,
}

/// One update of a draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DraftUpdate {
    /// Milliseconds since the start of the server.
    pub at_ms: u64,
    /// Id chosen by the bot.
    pub draft_id: i64,
    /// Text without formatting, empty for the "thinking" placeholder.
    pub text: String,
}

/// The answer to a button press.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallbackAnswer {
    /// Id of the callback query.
    pub id: String,
    /// Milliseconds since the start of the server.
    pub at_ms: u64,
    /// Milliseconds between the press and the answer.
    pub after_ms: u64,
    /// Who pressed.
    pub user: i64,
    /// Data of the button.
    pub data: String,
    /// What the user was shown, empty for nothing.
    pub text: String,
    /// Whether it was shown in a window that has to be closed.
    pub show_alert: bool,
}

/// A `setMessageReaction`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BotReaction {
    /// Milliseconds since the start of the server.
    pub at_ms: u64,
    /// The message.
    pub message_id: i64,
    /// The emoji, none after removing the reaction.
    pub emoji: Vec<String>,
}

/// A message of the bot that made a sound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notification {
    /// Milliseconds since the start of the server.
    pub at_ms: u64,
    /// The message.
    pub message_id: i64,
    /// Its text when it was sent.
    pub text: String,
}

/// A file that the bot sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReceivedFile {
    /// The message with it.
    pub message_id: i64,
    /// `photo`, `document` or `voice`.
    pub kind: &'static str,
    /// File name as the bot gave it, empty for none.
    pub name: String,
    /// Media type as the bot gave it, empty for none.
    pub media_type: String,
    /// Content; base64 in JSON.
    #[serde(rename = "base64", serialize_with = "base64")]
    pub bytes: Bytes,
    /// Caption without formatting.
    pub caption: String,
    /// Caption as it was sent, with tags.
    pub html: String,
    /// Topic.
    pub thread: Option<i64>,
    /// The message it answers.
    pub reply_to: Option<i64>,
    /// Whether it was sent without a notification.
    pub silent: bool,
}

fn base64<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

impl State {
    /// The messages of a chat as a user sees them now, in order of id; empty for an unknown chat.
    pub fn transcript(&self, chat: i64) -> Vec<VisibleMessage> {
        let Some(chat) = self.chats.get(&chat) else { return Vec::new() };
        chat.messages.values().map(|message| self.visible(message)).collect()
    }

    /// Messages that were deleted from a chat, in the order of deletion.
    pub fn deleted(&self, chat: i64) -> Vec<VisibleMessage> {
        self.chats.get(&chat).map(|chat| chat.deleted.clone()).unwrap_or_default()
    }

    /// Text of the newest message that the bot wrote in a chat.
    pub fn last_bot_text(&self, chat: i64) -> Option<&str> {
        let messages = &self.chats.get(&chat)?.messages;
        messages.values().rev().find(|message| message.from == self.config.bot_id).map(|message| message.text.as_str())
    }

    /// Messages that the bot sent into all chats so far, edits and drafts not counted.
    pub fn sent_total(&self) -> u64 {
        self.sent_total
    }

    /// Chat actions of a chat in the order of arrival.
    pub fn actions(&self, chat: i64) -> Vec<ChatAction> {
        self.chats.get(&chat).map(|chat| chat.actions.iter().cloned().collect()).unwrap_or_default()
    }

    /// Draft updates of a chat in the order of arrival.
    pub fn drafts(&self, chat: i64) -> Vec<DraftUpdate> {
        self.chats.get(&chat).map(|chat| chat.drafts.iter().cloned().collect()).unwrap_or_default()
    }

    /// Calls of a method so far, also failed ones.
    pub fn count(&self, method: &str) -> u64 {
        self.counts.get(method).copied().unwrap_or(0)
    }

    /// Calls per method so far.
    pub fn counts(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }

    /// How often each error description was answered, faults included.
    pub fn errors(&self) -> &BTreeMap<String, u64> {
        &self.errors
    }

    /// Calls that no correct client makes, oldest first.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Polls that were ended because another one began.
    pub fn overlapping_polls(&self) -> u64 {
        self.poll.overlapping
    }

    /// Ids of button presses that the bot has not answered.
    pub fn unanswered_callbacks(&self) -> Vec<String> {
        self.callbacks.keys().cloned().collect()
    }

    /// What the bot answered to button presses, oldest first.
    pub fn callback_answers(&self) -> Vec<CallbackAnswer> {
        self.callback_answers.iter().cloned().collect()
    }

    /// Reactions that the bot set or removed in a chat, oldest first.
    pub fn reactions(&self, chat: i64) -> Vec<BotReaction> {
        self.chats.get(&chat).map(|chat| chat.reactions.iter().cloned().collect()).unwrap_or_default()
    }

    /// Messages of the bot that made a sound in a chat, oldest first, also those that it deleted since.
    pub fn notifications(&self, chat: i64) -> Vec<Notification> {
        self.chats.get(&chat).map(|chat| chat.notifications.iter().cloned().collect()).unwrap_or_default()
    }

    /// Files that the bot sent into a chat, oldest first.
    pub fn received_files(&self, chat: i64) -> Vec<ReceivedFile> {
        self.chats.get(&chat).map(|chat| chat.received.iter().cloned().collect()).unwrap_or_default()
    }

    /// Sends that were tried again before the time of a flood was up; see [`State::flood`].
    pub fn early_sends(&self) -> u64 {
        self.early_sends
    }

    /// Whether the bot may still write in a chat; false for an unknown one.
    pub fn is_open(&self, chat: i64) -> bool {
        self.chats.get(&chat).is_some_and(|chat| chat.closed.is_none() && chat.migrated_to.is_none())
    }

    /// Updates that are not confirmed yet.
    pub fn pending_updates(&self) -> usize {
        self.queue.len()
    }

    /// `allowed_updates` of the latest call that gave it.
    pub fn allowed_updates(&self) -> Option<&[String]> {
        self.allowed_updates.as_deref()
    }

    /// The latest requests, oldest first, at most `log_limit`.
    pub fn requests(&self) -> impl Iterator<Item = &LoggedRequest> {
        self.log.iter()
    }

    /// The faults that are ordered and not used up.
    pub fn faults(&self) -> &[Fault] {
        self.faults.all()
    }

    /// The command menu of a scope type, for example `all_private_chats`, as it was set without a language.
    pub fn commands(&self, scope: &str) -> Option<&Value> {
        self.commands.get(&format!("{scope}:::"))
    }
}
