//! The requests that put a text into a chat, change it or take it away. What their answers mean is not known here.

use super::super::Telegram;
use super::super::api::{ApiError, Lane};
use super::super::wire::Sent;
use super::{NO_MESSAGE_ID, is_private, thread_to_send};
use blufio_core::approval::Button;
use blufio_core::record::{Rendered, Route};
use serde::Serialize;
use serde_json::value::RawValue;

/// The body of `sendMessage` and `editMessageText`.
#[derive(Clone, Copy, Serialize)]
pub(in crate::telegram) struct TextRequest<'a> {
    pub(in crate::telegram) chat_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::telegram) message_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::telegram) message_thread_id: Option<i64>,
    pub(in crate::telegram) text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::telegram) parse_mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::telegram) link_preview_options: Option<LinkPreviewOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::telegram) reply_parameters: Option<ReplyParameters>,
    /// None in an edit takes the buttons away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::telegram) reply_markup: Option<Keyboard<'a>>,
}

/// One row of buttons.
#[derive(Clone, Copy, Serialize)]
pub(in crate::telegram) struct Keyboard<'a> {
    inline_keyboard: [&'a [InlineButton<'a>]; 1],
}

impl<'a> Keyboard<'a> {
    /// None for no buttons: the server refuses an empty row.
    pub(super) fn of(buttons: &'a [InlineButton<'a>]) -> Option<Self> {
        (!buttons.is_empty()).then_some(Self { inline_keyboard: [buttons] })
    }
}

/// A button as the server reads it.
#[derive(Serialize)]
pub(in crate::telegram) struct InlineButton<'a> {
    text: &'a str,
    callback_data: &'a str,
}

impl<'a> From<&'a Button> for InlineButton<'a> {
    fn from(button: &'a Button) -> Self {
        Self { text: &button.label, callback_data: &button.data }
    }
}

#[derive(Clone, Copy, Serialize)]
pub(in crate::telegram) struct LinkPreviewOptions {
    is_disabled: bool,
}

#[derive(Clone, Copy, Serialize)]
pub(in crate::telegram) struct ReplyParameters {
    message_id: i64,
    allow_sending_without_reply: bool,
}

#[derive(Serialize)]
struct MessageRequest {
    chat_id: i64,
    message_id: i64,
}

impl Telegram {
    /// The request for a text in a chat.
    pub(in crate::telegram) fn text_request<'a>(
        &self,
        route: &Route,
        body: &'a Rendered,
        plain: bool,
    ) -> TextRequest<'a> {
        TextRequest {
            chat_id: route.chat,
            message_id: None,
            message_thread_id: thread_to_send(route),
            text: if plain { &body.plain } else { &body.rich },
            parse_mode: if plain { None } else { Some("HTML") },
            link_preview_options: (!self.link_preview).then_some(LinkPreviewOptions { is_disabled: true }),
            reply_parameters: quoted(route),
            reply_markup: None,
        }
    }

    /// Sends a new message; gives its number, or zero if it has none (the server sends it later).
    pub(in crate::telegram) async fn send_text(&self, request: &TextRequest<'_>) -> Result<i64, ApiError> {
        self.api.call_in(Lane::Calls, "sendMessage", request, self.timeouts.send, message_number).await
    }

    /// Changes a message.
    pub(in crate::telegram) async fn edit_text(&self, request: TextRequest<'_>, message: i64) -> Result<(), ApiError> {
        let request =
            TextRequest { message_id: Some(message), message_thread_id: None, reply_parameters: None, ..request };
        self.api.call_in(Lane::Calls, "editMessageText", &request, self.timeouts.send, |_| Some(())).await
    }

    /// Best effort: what is not removed is an old message too much, and nothing is lost.
    pub(in crate::telegram) async fn remove_message(&self, route: &Route, message: i64) {
        let request = MessageRequest { chat_id: route.chat, message_id: message };
        if let Err(error) = self.api.call::<bool>("deleteMessage", &request, self.timeouts.send).await {
            tracing::debug!(%error, "a telegram message was not removed");
        }
    }
}

/// The message that is quoted: in a chat between two it is plain what is answered.
pub(super) fn quoted(route: &Route) -> Option<ReplyParameters> {
    let message_id = route.reply_to.filter(|_| !is_private(route))?;
    Some(ReplyParameters { message_id, allow_sending_without_reply: true })
}

/// The number of the message that a send made.
pub(super) fn message_number(result: &RawValue) -> Option<i64> {
    Some(serde_json::from_str::<Sent>(result.get()).map_or(NO_MESSAGE_ID, |sent| sent.message_id))
}
