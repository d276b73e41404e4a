//! Sends one row of the outbox, and tells the runtime how that ended.
//!
//! What a server's answer means for a row is decided here; when a row is sent, and how often, is decided by the runtime.
//! The only tries made here are those that change the request: plain text for refused markup, the chat itself for a
//! deleted topic, a new message for one that cannot be edited any more. Each is made at most once.

use super::Telegram;
use super::api::ApiError;
use super::wire::Sent;
use blufio_core::failpoint::{Failpoint, hit};
use blufio_core::port::SendOutcome;
use blufio_core::record::{OutboxRow, Rendered, Route};
use serde::Serialize;
use serde_json::value::RawValue;
use std::time::Duration;

/// The thread id of a forum's general topic: the server refuses it in a send, and clients need it in a chat action.
const GENERAL_TOPIC: i64 = 1;
/// The pause if a 429 names none.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);
/// The longest pause that is waited for. Longer: the row is given up.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// The number of a message that was sent and has none.
const NO_MESSAGE_ID: i64 = 0;

/// Answers to an edit of a message that is gone.
const GONE: [&str; 2] = ["message to edit not found", "message_id_invalid"];
/// Answers to an edit of a message that stays as it is.
const FIXED: [&str; 1] = ["message can't be edited"];
/// Answers to markup that the server does not read.
pub(super) const UNPARSABLE: [&str; 1] = ["can't parse entities"];
/// Answers to an edit that changes nothing.
pub(super) const UNCHANGED: [&str; 1] = ["message is not modified"];

/// The body of `sendMessage` and `editMessageText`.
#[derive(Clone, Copy, Serialize)]
pub(super) struct TextRequest<'a> {
    pub(super) chat_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message_thread_id: Option<i64>,
    pub(super) text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parse_mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) link_preview_options: Option<LinkPreviewOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reply_parameters: Option<ReplyParameters>,
}

#[derive(Clone, Copy, Serialize)]
pub(super) struct LinkPreviewOptions {
    is_disabled: bool,
}

#[derive(Clone, Copy, Serialize)]
pub(super) struct ReplyParameters {
    message_id: i64,
    allow_sending_without_reply: bool,
}

#[derive(Serialize)]
struct MessageRequest {
    chat_id: i64,
    message_id: i64,
}

#[derive(Serialize)]
struct ActionRequest {
    chat_id: i64,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_thread_id: Option<i64>,
}

/// What is still open to change when the server refuses a request.
#[derive(Clone, Copy)]
struct Shape {
    plain: bool,
    thread: Option<i64>,
    edit: Option<i64>,
    /// A message that could not be changed and must not stay beside its successor.
    left_over: Option<i64>,
}

impl Telegram {
    /// Sends or edits, with the few second tries that are possible.
    pub(super) async fn send_row(&self, row: &OutboxRow) -> SendOutcome {
        match self.is_foreign(&row.route).await {
            Ok(false) => {}
            Ok(true) => return SendOutcome::Dead("it belongs to another bot account".to_owned()),
            Err(error) => return self.not_begun(error),
        }
        let mut shape = Shape { plain: false, thread: thread_to_send(&row.route), edit: row.replaces, left_over: None };
        hit(Failpoint::SendBeforeRequest);
        let outcome = loop {
            let result = self.try_row(row, shape).await;
            let Err(error) = result else { break result };
            match reshaped(shape, &error) {
                Some(next) => shape = next,
                None => break Err(error),
            }
        };
        hit(Failpoint::SendAfterResponse);
        match outcome {
            Ok(message) => {
                if let Some(old) = shape.left_over {
                    self.remove_message(&row.route, old).await;
                }
                SendOutcome::Sent(message)
            }
            Err(error) => self.judge(shape.edit, error),
        }
    }

    /// Best effort: what is not removed is an old message too much, and nothing is lost.
    pub(super) async fn remove_message(&self, route: &Route, message: i64) {
        let request = MessageRequest { chat_id: route.chat, message_id: message };
        if let Err(error) = self.api.call::<bool>("deleteMessage", &request, self.timeouts.send).await {
            tracing::debug!(%error, "a telegram message was not removed");
        }
    }

    /// Shows "typing…". False if the server does not want it, or three failures came in a row.
    pub(super) async fn show_typing(&self, route: &Route) -> bool {
        let request = ActionRequest { chat_id: route.chat, action: "typing", message_thread_id: route.thread };
        match self.api.call::<bool>("sendChatAction", &request, self.timeouts.action).await {
            Ok(_) => {
                self.typing_failures.reset();
                true
            }
            Err(ApiError::Status { code: 400..=499, .. }) => false,
            Err(_) => !self.typing_failures.add_and_reached(3),
        }
    }

    /// The request for a text in a chat.
    pub(super) fn text_request<'a>(&self, route: &Route, body: &'a Rendered, plain: bool) -> TextRequest<'a> {
        let quoted = route.reply_to.filter(|_| !is_private(route));
        TextRequest {
            chat_id: route.chat,
            message_id: None,
            message_thread_id: thread_to_send(route),
            text: if plain { &body.plain } else { &body.rich },
            parse_mode: if plain { None } else { Some("HTML") },
            link_preview_options: (!self.link_preview).then_some(LinkPreviewOptions { is_disabled: true }),
            reply_parameters: quoted
                .map(|message_id| ReplyParameters { message_id, allow_sending_without_reply: true }),
        }
    }

    /// Sends a new message; gives its number, or zero if it has none (the server sends it later).
    pub(super) async fn send_text(&self, request: &TextRequest<'_>) -> Result<i64, ApiError> {
        let read = |result: &RawValue| {
            Some(serde_json::from_str::<Sent>(result.get()).map_or(NO_MESSAGE_ID, |sent| sent.message_id))
        };
        self.api.call_in(super::api::Lane::Calls, "sendMessage", request, self.timeouts.send, read).await
    }

    /// Changes a message.
    pub(super) async fn edit_text(&self, request: TextRequest<'_>, message: i64) -> Result<(), ApiError> {
        let request =
            TextRequest { message_id: Some(message), message_thread_id: None, reply_parameters: None, ..request };
        self.api.call_in(super::api::Lane::Calls, "editMessageText", &request, self.timeouts.send, |_| Some(())).await
    }

    async fn try_row(&self, row: &OutboxRow, shape: Shape) -> Result<i64, ApiError> {
        let request =
            TextRequest { message_thread_id: shape.thread, ..self.text_request(&row.route, &row.body, shape.plain) };
        match shape.edit {
            Some(message) => self.edit_text(request, message).await.map(|()| message),
            None => self.send_text(&request).await,
        }
    }

    /// What it means for a row that the server did not say who this bot is: the row was not sent, whatever the error.
    fn not_begun(&self, error: ApiError) -> SendOutcome {
        let words = error.to_string();
        let (after, everywhere) = match error {
            error if error.is_unauthorized() => return self.judge(None, error),
            ApiError::Status { code: 429, retry_after, .. } => (Some(retry_after.unwrap_or(DEFAULT_RETRY_AFTER)), true),
            ApiError::NotSent(_) => (None, true),
            _ => (None, false),
        };
        SendOutcome::NotSent { after, everywhere, error: words }
    }

    /// What an error means for the row.
    fn judge(&self, edit: Option<i64>, error: ApiError) -> SendOutcome {
        let words = error.to_string();
        if error.is_bad_request(&UNCHANGED) {
            return SendOutcome::Sent(edit.unwrap_or(NO_MESSAGE_ID));
        }
        if error.is_bad_request(&["message text is empty", "text must be non-empty"]) {
            tracing::error!("telegram found nothing visible in a text; it was skipped");
            return SendOutcome::Sent(edit.unwrap_or(NO_MESSAGE_ID));
        }
        if error.is_bad_request(&["message is too long", "message_too_long"]) {
            tracing::error!("telegram found a message too long that was cut to its limit");
        }
        match error {
            // Nobody is reached, so nothing is wrong with this row, and no other chat fares better.
            ApiError::NotSent(_) => SendOutcome::NotSent { after: None, everywhere: true, error: words },
            ApiError::Uncertain(_) => SendOutcome::Uncertain(words),
            // An answer that cannot be read says nothing, unless its status says that it was a failure.
            ApiError::Garbage { code: 400.. } => SendOutcome::NotSent { after: None, everywhere: false, error: words },
            ApiError::Garbage { .. } => SendOutcome::Uncertain(words),
            ApiError::Status { code: 429, retry_after, .. } => paused(retry_after, words),
            ApiError::NoToken(reason) => {
                self.health.failed(reason);
                SendOutcome::Unauthorized(words)
            }
            ApiError::Status { code: 401 | 404, .. } => {
                self.health.failed("the bot token is refused");
                SendOutcome::Unauthorized(words)
            }
            ApiError::Status { code: 403, .. } => SendOutcome::ChatClosed(words),
            ApiError::Status { code: 400..=499, .. } => SendOutcome::Dead(words),
            ApiError::Status { .. } => SendOutcome::NotSent { after: None, everywhere: false, error: words },
        }
    }
}

/// The same message in another shape, if that may help: each change is possible once.
fn reshaped(shape: Shape, error: &ApiError) -> Option<Shape> {
    if !shape.plain && error.is_bad_request(&UNPARSABLE) {
        metrics::counter!("blufio_telegram_format_fallback_total").increment(1);
        tracing::warn!(%error, "telegram refused the markup of a message; sending it as plain text");
        return Some(Shape { plain: true, ..shape });
    }
    if shape.thread.is_some() && error.is_bad_request(&["message thread not found"]) {
        tracing::warn!("the telegram topic of a message is gone; sending it to the chat");
        return Some(Shape { thread: None, ..shape });
    }
    if shape.edit.is_some() && error.is_bad_request(&GONE) {
        return Some(Shape { edit: None, ..shape });
    }
    if shape.edit.is_some() && error.is_bad_request(&FIXED) {
        return Some(Shape { edit: None, left_over: shape.edit, ..shape });
    }
    None
}

/// Every request that is judged here names a chat, so the pause is that chat's and not the bot's.
fn paused(retry_after: Option<Duration>, words: String) -> SendOutcome {
    let after = retry_after.unwrap_or(DEFAULT_RETRY_AFTER);
    if after > RETRY_AFTER_MAX {
        return SendOutcome::Dead(words);
    }
    SendOutcome::NotSent { after: Some(after), everywhere: false, error: words }
}

/// A chat between two has the positive id of the person.
pub(super) fn is_private(route: &Route) -> bool {
    route.chat > 0
}

/// The thread as a send names it.
pub(super) fn thread_to_send(route: &Route) -> Option<i64> {
    route.thread.filter(|thread| *thread != GENERAL_TOPIC)
}
