//! Sends one row of the outbox, and tells the runtime how that ended.
//!
//! What a server's answer means for a row is decided here; when a row is sent, and how often, is decided by the runtime.
//! The only tries made here are those that change the request: plain text for refused markup, the chat itself for a
//! deleted topic, a new message for one that cannot be edited any more, a document for a refused picture, pieces of a text
//! that is too long. Each is made at most once.

mod file;
mod request;

pub(super) use request::TextRequest;

use super::api::ApiError;
use super::{DEFAULT_RETRY_AFTER, GENERAL_TOPIC, Telegram, text};
use blufio_core::failpoint::{Failpoint, hit};
use blufio_core::port::SendOutcome;
use blufio_core::record::{OutboxRow, Payload, Rendered, Route};
use file::Loaded;
use request::{InlineButton, Keyboard};
use std::time::Duration;

/// The longest pause that is waited for. Longer: the row is given up.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Length of the pieces of a text that the server finds too long, against our counting, in UTF-16 code units.
const PIECE_UNITS: usize = 2_000;
/// The number of a message that was sent and has none.
const NO_MESSAGE_ID: i64 = 0;

/// Answers to an edit of a message that is gone.
const GONE: [&str; 2] = ["message to edit not found", "message_id_invalid"];
/// Answers to an edit of a message that stays as it is.
const FIXED: [&str; 1] = ["message can't be edited"];
/// Answers to a message for a topic that is gone. What is for a closed one is not for everybody in the chat: it is given up.
const NO_TOPIC: [&str; 2] = ["message thread not found", "topic_deleted"];
/// Answers to a picture that the server does not show as one.
const NO_PICTURE: [&str; 3] = ["photo_", "image_process_failed", "too big for a photo"];
/// Answers to a text that is longer than the server takes.
const TOO_LONG: [&str; 2] = ["message is too long", "message_too_long"];
/// Answers to markup that the server does not read.
pub(super) const UNPARSABLE: [&str; 1] = ["can't parse entities"];
/// Answers to an edit that changes nothing.
pub(super) const UNCHANGED: [&str; 1] = ["message is not modified"];

/// What is still open to change when the server refuses a request.
#[derive(Clone, Copy)]
struct Shape {
    plain: bool,
    thread: Option<i64>,
    edit: Option<i64>,
    /// A file that is shown as a picture.
    picture: bool,
    /// A message that could not be changed and must not stay beside its successor.
    left_over: Option<i64>,
}

impl Shape {
    /// As it was wished. A file does not take the place of a text: it is sent, and the text goes.
    fn wished(row: &OutboxRow, file: Option<&Loaded>) -> Self {
        Self {
            plain: false,
            thread: thread_to_send(&row.route),
            edit: row.replaces.filter(|_| file.is_none()),
            picture: file.is_some_and(Loaded::is_picture),
            left_over: row.replaces.filter(|_| file.is_some()),
        }
    }
}

impl Telegram {
    /// Sends or edits, with the few second tries that are possible.
    pub(super) async fn send_row(&self, row: &OutboxRow) -> SendOutcome {
        match self.is_foreign(&row.route).await {
            Ok(false) => {}
            Ok(true) => return SendOutcome::Dead("it belongs to another bot account".to_owned()),
            Err(error) => return self.not_begun(error),
        }
        let mut upload = None;
        let file = match &row.payload {
            Payload::File(file) => {
                upload = self.uploads.acquire().await.ok();
                match self.load(file).await {
                    Ok(loaded) => Some(loaded),
                    Err(outcome) => return outcome,
                }
            }
            Payload::Text | Payload::Notice | Payload::Question { .. } => None,
        };
        let mut shape = Shape::wished(row, file.as_ref());
        hit(Failpoint::SendBeforeRequest);
        let outcome = loop {
            let error = match self.try_row(row, file.as_ref(), shape).await {
                Ok(message) => break SendOutcome::Sent(message),
                Err(error) => error,
            };
            match reshaped(shape, &error) {
                Some(next) => shape = next,
                None if error.is_bad_request(&TOO_LONG) => break self.send_in_pieces(row, shape).await,
                None => break self.judge(shape.edit, error),
            }
        };
        hit(Failpoint::SendAfterResponse);
        drop((file, upload));
        self.tidied(row, shape, outcome).await
    }

    /// Removes what must not stay beside a message that was sent, and says if it is not where it was to be.
    async fn tidied(&self, row: &OutboxRow, shape: Shape, outcome: SendOutcome) -> SendOutcome {
        let message = match outcome {
            SendOutcome::Sent(message) => message,
            SendOutcome::Uncertain(error) => return unseen(row, shape.edit, error),
            outcome => return outcome,
        };
        if let Some(old) = shape.left_over {
            self.remove_message(&row.route, old).await;
        }
        match thread_to_send(&row.route).filter(|_| shape.thread.is_none()) {
            Some(topic) => {
                let chat = row.route.chat;
                let remark =
                    format!("The topic {topic} of chat {chat} is gone; what was for it is in the chat itself.");
                SendOutcome::SentBeside { message, remark }
            }
            None => SendOutcome::Sent(message),
        }
    }

    async fn try_row(&self, row: &OutboxRow, file: Option<&Loaded>, shape: Shape) -> Result<i64, ApiError> {
        match file {
            Some(file) => self.send_file(row, file, shape).await,
            None => self.try_text(&row.route, &row.body, shape, &buttons(row)).await,
        }
    }

    async fn try_text(
        &self,
        route: &Route,
        body: &Rendered,
        shape: Shape,
        buttons: &[InlineButton<'_>],
    ) -> Result<i64, ApiError> {
        let request = TextRequest {
            message_thread_id: shape.thread,
            reply_markup: Keyboard::of(buttons),
            ..self.text_request(route, body, shape.plain)
        };
        match shape.edit {
            Some(message) => self.edit_text(request, message).await.map(|()| message),
            None => self.send_text(&request).await,
        }
    }

    /// The last resort for a text that our counting found short enough and the server did not: as plain text, in pieces,
    /// the buttons below the last one, whose number it gets.
    async fn send_in_pieces(&self, row: &OutboxRow, shape: Shape) -> SendOutcome {
        tracing::error!("telegram found a message too long that was cut to its limit; it is cut again");
        let pieces = text::chunks(&text::Document::literal(&row.body.plain), PIECE_UNITS, usize::MAX);
        let (buttons, count) = (buttons(row), pieces.len());
        let mut sent = None;
        for (place, piece) in pieces.iter().enumerate() {
            let body = Rendered { rich: String::new(), plain: piece.plain() };
            let shape = Shape { plain: true, edit: shape.edit.filter(|_| place == 0), ..shape };
            let buttons = if place + 1 == count { buttons.as_slice() } else { &[] };
            let outcome = match self.try_text(&row.route, &body, shape, buttons).await {
                Ok(message) => SendOutcome::Sent(message),
                Err(error) => self.judge(shape.edit, error),
            };
            match outcome {
                SendOutcome::Sent(message) => sent = Some(message),
                // A part of it is there: to send all of it again is what is done when nobody knows whether it arrived.
                SendOutcome::NotSent { error, .. } if sent.is_some() => return unseen(row, None, error),
                SendOutcome::Uncertain(error) => return unseen(row, shape.edit, error),
                outcome => return outcome,
            }
        }
        sent.map_or_else(|| SendOutcome::Dead("nothing in it can be seen".to_owned()), SendOutcome::Sent)
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
            ApiError::Status { code: 400, migrated: Some(new), .. } => SendOutcome::Migrated(new),
            ApiError::Status { code: 403, .. } => SendOutcome::ChatClosed(words),
            ApiError::Status { code: 400..=499, .. } => SendOutcome::Dead(words),
            ApiError::Status { .. } => SendOutcome::NotSent { after: None, everywhere: false, error: words },
        }
    }
}

/// A request whose end nobody saw: the change of a message is the same the second time, a new message is one more.
fn unseen(row: &OutboxRow, edit: Option<i64>, error: String) -> SendOutcome {
    if row.replaces.is_some() && edit.is_none() {
        SendOutcome::UncertainAnew(error)
    } else {
        SendOutcome::Uncertain(error)
    }
}

/// The same message in another shape, if that may help: each change is possible once.
fn reshaped(shape: Shape, error: &ApiError) -> Option<Shape> {
    if !shape.plain && error.is_bad_request(&UNPARSABLE) {
        metrics::counter!("blufio_telegram_format_fallback_total").increment(1);
        tracing::warn!(%error, "telegram refused the markup of a message; sending it as plain text");
        return Some(Shape { plain: true, ..shape });
    }
    if shape.thread.is_some() && error.is_bad_request(&NO_TOPIC) {
        tracing::warn!(%error, "the telegram topic of a message is gone; sending it to the chat");
        return Some(Shape { thread: None, ..shape });
    }
    if shape.picture && error.is_bad_request(&NO_PICTURE) {
        tracing::info!(%error, "telegram does not show a picture; sending it as a document");
        return Some(Shape { picture: false, ..shape });
    }
    if shape.edit.is_some() && error.is_bad_request(&GONE) {
        return Some(Shape { edit: None, ..shape });
    }
    if shape.edit.is_some() && error.is_bad_request(&FIXED) {
        return Some(Shape { edit: None, left_over: shape.edit, ..shape });
    }
    None
}

fn buttons(row: &OutboxRow) -> Vec<InlineButton<'_>> {
    match &row.payload {
        Payload::Question { buttons, .. } => buttons.iter().map(InlineButton::from).collect(),
        Payload::Text | Payload::Notice | Payload::File(_) => Vec::new(),
    }
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
