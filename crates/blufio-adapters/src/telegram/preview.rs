//! Shows an answer while it is being written: as a draft in private chats, else as a message that is edited.
//!
//! A preview is worth one request and never a second try: the finished answer goes through the outbox whatever happens
//! here. When the next preview is due is decided by the runtime, from the pause that it is given.

use super::Telegram;
use super::api::ApiError;
use super::send::{TextRequest, UNCHANGED, UNPARSABLE, is_private, thread_to_send};
use super::text;
use blufio_core::failpoint::{Failpoint, hit};
use blufio_core::port::{Preview, PreviewOutcome};
use blufio_core::record::{Rendered, Route};
use serde::Serialize;
use std::time::Duration;

/// Pause between two versions of a draft.
const DRAFT_PAUSE: Duration = Duration::from_millis(1_000);
/// Pause between two edits in a private chat.
const EDIT_PAUSE_PRIVATE: Duration = Duration::from_millis(1_500);
/// Pause between two edits in a group, where the server counts more strictly.
const EDIT_PAUSE_GROUP: Duration = Duration::from_secs(4);
/// How long it is remembered that the server does not know drafts.
const DRAFTS_REFUSED: Duration = Duration::from_secs(24 * 3600);
/// What stands in the message that will become the answer.
const PLACEHOLDER: &str = "…";

/// How unfinished answers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streaming {
    /// Not at all.
    Off,
    /// As drafts in private chats while the server takes them, else as edits.
    Auto,
    /// As edits of a message.
    Edit,
}

/// The body of `sendMessageDraft`.
#[derive(Serialize)]
struct DraftRequest<'a> {
    chat_id: i64,
    draft_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_thread_id: Option<i64>,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parse_mode: Option<&'static str>,
}

impl Telegram {
    /// Shows the newest state of an answer once.
    pub(super) async fn show_preview(&self, preview: &Preview) -> PreviewOutcome {
        if self.streaming == Streaming::Off {
            return PreviewOutcome::Stop;
        }
        match self.is_foreign(&preview.route).await {
            Ok(false) => {}
            Ok(true) => return PreviewOutcome::Stop,
            Err(error) => return stopped(&error),
        }
        let Some(chunk) = text::preview(&preview.text, text::PREVIEW_UNITS_MAX) else { return nothing_yet(preview) };
        let body = Rendered { rich: chunk.html, plain: chunk.plain };
        hit(Failpoint::PreviewBeforeSend);
        let outcome = match preview.message {
            Some(message) => self.edit_preview(&preview.route, &body, message).await,
            None if self.takes_drafts(&preview.route) => self.draft(preview, &body).await,
            None => self.place(&preview.route).await,
        };
        hit(Failpoint::PreviewAfterSend);
        outcome
    }

    fn takes_drafts(&self, route: &Route) -> bool {
        let refused = self.drafts_refused_until.get().is_some_and(|until| self.clock.monotonic() < until);
        self.streaming == Streaming::Auto && is_private(route) && !refused
    }

    async fn draft(&self, preview: &Preview, body: &Rendered) -> PreviewOutcome {
        let mut result = self.send_draft(preview, body, false).await;
        if result.as_ref().is_err_and(|error| error.is_bad_request(&UNPARSABLE)) {
            result = self.send_draft(preview, body, true).await;
        }
        match result {
            Ok(()) => PreviewOutcome::Shown { pause: DRAFT_PAUSE },
            Err(error @ ApiError::Status { code: 400 | 404, .. }) => {
                tracing::info!(%error, "telegram takes no drafts; answers are shown by edits for a day");
                self.drafts_refused_until.set(self.clock.monotonic().saturating_add(DRAFTS_REFUSED));
                self.place(&preview.route).await
            }
            Err(error) => stopped(&error),
        }
    }

    async fn send_draft(&self, preview: &Preview, body: &Rendered, plain: bool) -> Result<(), ApiError> {
        let request = DraftRequest {
            chat_id: preview.route.chat,
            // The server takes any number but zero.
            draft_id: if preview.draft == 0 { 1 } else { preview.draft },
            message_thread_id: thread_to_send(&preview.route),
            text: if plain { &body.plain } else { &body.rich },
            parse_mode: if plain { None } else { Some("HTML") },
        };
        self.api.call::<bool>("sendMessageDraft", &request, self.timeouts.send).await.map(|_| ())
    }

    async fn place(&self, route: &Route) -> PreviewOutcome {
        let body = Rendered { rich: String::new(), plain: PLACEHOLDER.to_owned() };
        match self.send_text(&self.text_request(route, &body, true)).await {
            Ok(message) if message > 0 => PreviewOutcome::Placed { message, pause: edit_pause(route) },
            Ok(_) => PreviewOutcome::Stop,
            Err(error) => stopped(&error),
        }
    }

    async fn edit_preview(&self, route: &Route, body: &Rendered, message: i64) -> PreviewOutcome {
        let mut result = self.edit_text(self.text_request(route, body, false), message).await;
        if result.as_ref().is_err_and(|error| error.is_bad_request(&UNPARSABLE)) {
            let plain: TextRequest<'_> = self.text_request(route, body, true);
            result = self.edit_text(plain, message).await;
        }
        match result {
            Err(error) if !error.is_bad_request(&UNCHANGED) => stopped(&error),
            Ok(()) | Err(_) => PreviewOutcome::Placed { message, pause: edit_pause(route) },
        }
    }
}

fn stopped(error: &ApiError) -> PreviewOutcome {
    tracing::debug!(%error, "no more previews of this answer");
    PreviewOutcome::Stop
}

/// Nothing visible was written yet.
fn nothing_yet(preview: &Preview) -> PreviewOutcome {
    match preview.message {
        Some(message) => PreviewOutcome::Placed { message, pause: DRAFT_PAUSE },
        None => PreviewOutcome::Shown { pause: DRAFT_PAUSE },
    }
}

fn edit_pause(route: &Route) -> Duration {
    if is_private(route) { EDIT_PAUSE_PRIVATE } else { EDIT_PAUSE_GROUP }
}
