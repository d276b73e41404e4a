//! One way to call the Bot API: a method, a JSON body, a time limit, and an error that says what the caller can do.
//!
//! The bot's token is part of every address. It leaves this file only inside a request: no error, log line, metric or
//! `Debug` output holds it, also not when a server repeats it in its answer. What a method means is not known here.

use super::wire::{Envelope, ResponseParameters};
use crate::egress::{self, Client, Egress, EgressError, Origin, Purpose};
use crate::form::Form;
use blufio_core::secret::Secret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Bytes of an answer that are read. More: the answer counts as unreadable.
const ANSWER_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Characters of a server's description that are kept. More: cut.
const DESCRIPTION_CHARACTERS_MAX: usize = 300;

/// Why a call gave no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// There is no token to call with: nothing was asked.
    #[error("{0}")]
    NoToken(&'static str),
    /// No connection was made: provably without effect.
    #[error("no connection: {0}")]
    NotSent(String),
    /// Bytes were written and no answer was read.
    #[error("no answer: {0}")]
    Uncertain(String),
    /// The Bot API said no.
    #[error("{code} {description}")]
    Status {
        /// `error_code`, which is the HTTP status.
        code: u16,
        /// The server's words, without the token, at most 300 characters.
        description: String,
        /// The pause that it asks for.
        retry_after: Option<Duration>,
        /// The group goes on under this id.
        migrated: Option<i64>,
    },
    /// An answer that is none of the Bot API's: a proxy's page, half a body, too large a body.
    #[error("an unreadable answer with status {code}")]
    Garbage {
        /// The HTTP status.
        code: u16,
    },
}

impl ApiError {
    /// The token is missing or not valid. The server answers 404 where it does not even look like one.
    pub(super) fn is_unauthorized(&self) -> bool {
        matches!(self, Self::NoToken(_) | Self::Status { code: 401 | 404, .. })
    }

    /// The answer is a 400 whose description contains one of `words` (compared without case).
    pub(super) fn is_bad_request(&self, words: &[&str]) -> bool {
        let Self::Status { code: 400, description, .. } = self else { return false };
        let description = description.to_ascii_lowercase();
        words.iter().any(|word| description.contains(word))
    }

    /// The word it is counted under; one of a fixed list.
    fn label(&self) -> &'static str {
        match self {
            Self::NoToken(_) => "no_token",
            Self::NotSent(_) => "not_sent",
            Self::Uncertain(_) => "uncertain",
            Self::Garbage { .. } => "unreadable",
            Self::Status { code, .. } => match code {
                400 => "400",
                401 => "401",
                403 => "403",
                404 => "404",
                409 => "409",
                429 => "429",
                500..=599 => "5xx",
                _ => "other",
            },
        }
    }
}

/// Why a file was not downloaded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Download {
    /// It has more bytes than were allowed.
    TooLarge,
    /// The address is not good any more.
    Gone,
    /// Anything else; trying again may help.
    Failed(String),
}

/// Which connections a call uses. A long poll never shares one with a send.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Everything that is answered at once.
    Calls,
    /// `getUpdates`.
    Poll,
}

/// The Bot API of one bot.
pub(super) struct Api {
    origin: Origin,
    /// The token, or why there is none to call with.
    token: Result<Secret, &'static str>,
    egress: Egress,
    calls: Client,
    poll: Mutex<Client>,
}

impl fmt::Debug for Api {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Api")
    }
}

impl Api {
    /// Prepares the connections; makes none. Without a token that has the shape of one, every call is
    /// [`ApiError::NoToken`].
    pub(super) fn new(root: &str, token: Option<Secret>, egress: Egress) -> Result<Self, EgressError> {
        let token = match token {
            None => Err("there is no bot token; `blufio vault set telegram.bot_token`, then restart"),
            Some(token) if has_shape(token.expose()) => Ok(token),
            Some(_) => Err("the bot token does not have the form `<digits>:<letters, digits, _ or ->`"),
        };
        let origin = Origin::parse(root)?;
        Ok(Self {
            token,
            calls: egress.client(Purpose::Send, &origin)?,
            poll: Mutex::new(egress.client(Purpose::Poll, &origin)?),
            origin,
            egress,
        })
    }

    /// Why there is no token to call with, if there is none.
    pub(super) fn trouble(&self) -> Option<&'static str> {
        self.token.as_ref().err().copied()
    }

    /// What names the bot at its server, so that two of them in one process can be told apart. Holds the token: hash it.
    pub(super) fn secret_identity(&self) -> Secret {
        Secret::new(format!("{:?} {:?}", self.origin, self.token.as_ref().map(Secret::expose)))
    }

    /// Calls a method and reads its result. `limit` covers everything from connecting to the last byte.
    ///
    /// # Errors
    /// See [`ApiError`]; a result of another shape than `T` is `Garbage`.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        body: &impl Serialize,
        limit: Duration,
    ) -> Result<T, ApiError> {
        self.call_in(Lane::Calls, method, body, limit, |result| serde_json::from_str(result.get()).ok()).await
    }

    /// As [`Self::call`], on a chosen lane and with a reader of its own.
    pub(super) async fn call_in<T>(
        &self,
        lane: Lane,
        method: &'static str,
        body: &impl Serialize,
        limit: Duration,
        read: impl FnOnce(&RawValue) -> Option<T>,
    ) -> Result<T, ApiError> {
        let body = serde_json::to_vec(body).map_err(|error| ApiError::NotSent(error.to_string()))?;
        self.post(lane, method, ("application/json", body), limit, read).await
    }

    /// Calls a method with a body that holds a file.
    pub(super) async fn upload<T>(
        &self,
        method: &'static str,
        form: Form,
        limit: Duration,
        read: impl FnOnce(&RawValue) -> Option<T>,
    ) -> Result<T, ApiError> {
        self.post(Lane::Calls, method, (&form.content_type, form.body), limit, read).await
    }

    async fn post<T>(
        &self,
        lane: Lane,
        method: &'static str,
        body: (&str, Vec<u8>),
        limit: Duration,
        read: impl FnOnce(&RawValue) -> Option<T>,
    ) -> Result<T, ApiError> {
        let outcome = match tokio::time::timeout(limit, self.exchange(lane, method, body)).await {
            Ok(Ok((code, bytes))) => self.understand(code, &bytes, read),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ApiError::Uncertain(format!("nothing within {} ms", limit.as_millis()))),
        };
        let label = outcome.as_ref().err().map_or("ok", ApiError::label);
        metrics::counter!("blufio_telegram_requests_total", "method" => method, "outcome" => label).increment(1);
        outcome
    }

    /// Fetches a file that `getFile` named, at most `bytes_max` of it. Between two pieces at most `stall` may pass.
    pub(super) async fn download(&self, path: &str, bytes_max: u64, stall: Duration) -> Result<Vec<u8>, Download> {
        let token = self.token.as_ref().map_err(|why| Download::Failed((*why).to_owned()))?;
        let failed = |error: EgressError| Download::Failed(self.scrubbed(&error.to_string()));
        let silent = |_| Download::Failed("it came to a stop".to_owned());
        let request = self.calls.get(&format!("/file/bot{}/{path}", token.expose()));
        let mut response = tokio::time::timeout(stall, egress::send(request)).await.map_err(silent)?.map_err(failed)?;
        match response.status().as_u16() {
            200 => {}
            404 | 410 => return Err(Download::Gone),
            code => return Err(Download::Failed(format!("the server answered {code}"))),
        }
        if response.content_length().is_some_and(|length| length > bytes_max) {
            return Err(Download::TooLarge);
        }
        let mut bytes = Vec::new();
        loop {
            let piece =
                tokio::time::timeout(stall, egress::chunk(&mut response)).await.map_err(silent)?.map_err(failed)?;
            let Some(piece) = piece else { return Ok(bytes) };
            if (bytes.len() + piece.len()) as u64 > bytes_max {
                return Err(Download::TooLarge);
            }
            bytes.extend_from_slice(&piece);
        }
    }

    /// Makes the next poll look its server's name up again and use a new connection.
    pub(super) fn reconnect_poll(&self) {
        self.egress.forget_addresses();
        match self.egress.client(Purpose::Poll, &self.origin) {
            Ok(fresh) => *self.poll.lock().unwrap_or_else(PoisonError::into_inner) = fresh,
            Err(error) => tracing::warn!(%error, "kept the old connection of the telegram poll"),
        }
    }

    fn client(&self, lane: Lane) -> Client {
        match lane {
            Lane::Calls => self.calls.clone(),
            Lane::Poll => self.poll.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Sends the request and reads the whole answer, whatever it is.
    async fn exchange(
        &self,
        lane: Lane,
        method: &str,
        (kind, body): (&str, Vec<u8>),
    ) -> Result<(u16, Vec<u8>), ApiError> {
        let token = self.token.as_ref().map_err(|why| ApiError::NoToken(why))?;
        let request = self
            .client(lane)
            .post(&format!("/bot{}/{method}", token.expose()))
            .header(reqwest::header::CONTENT_TYPE, kind)
            .body(body);
        let response = egress::send(request).await.map_err(|error| self.failed(&error))?;
        let code = response.status().as_u16();
        match egress::read_capped(response, ANSWER_BYTES_MAX).await {
            Ok(bytes) => Ok((code, bytes)),
            Err(EgressError::TooLarge { .. }) => Err(ApiError::Garbage { code }),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// A failure of the transport. Only a connection that was never made is known to have had no effect.
    fn failed(&self, error: &EgressError) -> ApiError {
        let words = self.scrubbed(&error.to_string());
        if error.nothing_was_sent() { ApiError::NotSent(words) } else { ApiError::Uncertain(words) }
    }

    fn understand<T>(&self, code: u16, bytes: &[u8], read: impl FnOnce(&RawValue) -> Option<T>) -> Result<T, ApiError> {
        // A broken character spoils the one string it is in and not the batch around it.
        let text = String::from_utf8_lossy(bytes);
        let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(&text) else { return Err(ApiError::Garbage { code }) };
        if envelope.ok {
            return envelope.result.and_then(read).ok_or(ApiError::Garbage { code });
        }
        let ResponseParameters { retry_after, migrate_to_chat_id } = envelope.parameters.unwrap_or_default();
        Err(ApiError::Status {
            code: envelope.error_code.and_then(|code| u16::try_from(code).ok()).unwrap_or(code),
            description: self.scrubbed(&envelope.description.unwrap_or_default()),
            retry_after: retry_after.map(Duration::from_secs),
            migrated: migrate_to_chat_id,
        })
    }

    /// Words from outside: without the token, and not longer than they need to be.
    fn scrubbed(&self, words: &str) -> String {
        let clean: Cow<'_, str> = match &self.token {
            Ok(token) if words.contains(token.expose()) => Cow::Owned(words.replace(token.expose(), "<token>")),
            Ok(_) | Err(_) => Cow::Borrowed(words),
        };
        clean.chars().filter(|character| !character.is_control()).take(DESCRIPTION_CHARACTERS_MAX).collect()
    }
}

/// `<digits>:<letters, digits, _ or ->`, as the Bot API documents its tokens.
fn has_shape(token: &str) -> bool {
    let Some((id, secret)) = token.split_once(':') else { return false };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) && !secret.is_empty() && secret.bytes().all(plain)
}
