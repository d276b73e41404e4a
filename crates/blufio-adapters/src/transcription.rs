//! Speech to text over the common transcription HTTP API: `POST /v1/audio/transcriptions`, a multipart form with the
//! recording and the name of a model, answered with `{"text": "…"}`.
//!
//! One try per call, no redirects, no proxy. The key is in no error and in no log. What is done with the text, and how far it
//! is trusted, is decided elsewhere.

use crate::egress::{self, Client, Egress, EgressError, Origin, Purpose};
use blufio_core::limits::{ATTACHMENT_BYTES_MAX, INBOUND_TEXT_BYTES_MAX};
use blufio_core::port::{Recording, Transcriber, TranscriberError};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fmt;
use std::time::Duration;

/// One recording from connecting to the last byte of the answer. Over: the person reads that it was not written down.
const TRANSCRIBE: Duration = Duration::from_secs(60);
/// Bytes of an answer that are read. More: the answer counts as unreadable.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Characters of the service's own words that are kept of a refusal. More: cut.
const WORDS_CHARACTERS_MAX: usize = 200;
/// The one path of the API that is used.
const PATH: &str = "/v1/audio/transcriptions";

/// What a transcriber needs.
pub struct TranscriptionOptions<'a> {
    /// The server: scheme, host and port; `http` only to loopback.
    pub base_url: &'a str,
    /// The model's name, as the service spells it.
    pub model: String,
    /// The key, if the service wants one.
    pub key: Option<String>,
    /// The way out.
    pub egress: &'a Egress,
}

/// A transcription service.
pub struct Transcription {
    origin: Origin,
    model: String,
    key: Option<String>,
    client: Client,
}

impl fmt::Debug for Transcription {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Transcription").field("model", &self.model).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Answer {
    text: String,
}

impl Transcription {
    /// Prepares the connections; makes none.
    ///
    /// # Errors
    /// The server's address or the HTTP client is not usable.
    pub fn new(options: TranscriptionOptions<'_>) -> Result<Self, EgressError> {
        Ok(Self {
            origin: Origin::parse(options.base_url)?,
            model: options.model,
            key: options.key,
            client: options.egress.client(Purpose::Send)?,
        })
    }

    async fn ask(&self, recording: &Recording) -> Result<String, TranscriberError> {
        let form = Form::of(recording, &self.model);
        let kind = format!("multipart/form-data; boundary={}", form.boundary);
        let mut request = self.client.post(&self.origin, PATH).header("content-type", kind).body(form.body);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let unavailable = |error: EgressError| TranscriberError::Unavailable(error.to_string());
        let response = egress::send(request).await.map_err(unavailable)?;
        let status = response.status().as_u16();
        let body = match egress::read_capped(response, ANSWER_BYTES_MAX).await {
            Ok(body) => body,
            Err(error @ EgressError::TooLarge { .. }) => return Err(TranscriberError::Unreadable(error.to_string())),
            Err(error) => return Err(unavailable(error)),
        };
        match status {
            200 => read(&body),
            401 | 403 => Err(TranscriberError::Unauthorized),
            408 | 429 | 500.. => Err(TranscriberError::Unavailable(format!("it answered {status}"))),
            _ => Err(TranscriberError::Refused(format!("{status} {}", self.words(&body)))),
        }
    }

    /// The service's own words about a refusal, cut, and without the key should it repeat that.
    fn words(&self, body: &[u8]) -> String {
        let text = String::from_utf8_lossy(body);
        let text = match self.key.as_deref().filter(|key| !key.is_empty()) {
            Some(key) => text.replace(key, "…"),
            None => text.into_owned(),
        };
        text.chars().filter(|character| !character.is_control()).take(WORDS_CHARACTERS_MAX).collect()
    }
}

impl Transcriber for Transcription {
    async fn transcribe(&self, recording: Recording) -> Result<String, TranscriberError> {
        if recording.audio.len() as u64 > ATTACHMENT_BYTES_MAX {
            return Err(TranscriberError::Refused(format!("it has more than {ATTACHMENT_BYTES_MAX} bytes")));
        }
        let late = || TranscriberError::Unavailable(format!("no answer within {} s", TRANSCRIBE.as_secs()));
        tokio::time::timeout(TRANSCRIBE, self.ask(&recording)).await.map_err(|_| late())?
    }
}

fn read(body: &[u8]) -> Result<String, TranscriberError> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| TranscriberError::Unreadable(error.to_string()))?;
    if answer.text.len() > INBOUND_TEXT_BYTES_MAX {
        return Err(TranscriberError::Unreadable(format!("the text has more than {INBOUND_TEXT_BYTES_MAX} bytes")));
    }
    Ok(answer.text)
}

/// A multipart form (RFC 7578).
struct Form {
    boundary: String,
    body: Vec<u8>,
}

impl Form {
    fn of(recording: &Recording, model: &str) -> Self {
        let boundary = boundary(&recording.audio);
        let mut body = Vec::with_capacity(recording.audio.len() + 1_024);
        let mut field = |name: &str, value: &str| {
            let part =
                format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{}\r\n", one_line(value));
            body.extend_from_slice(part.as_bytes());
        };
        field("model", model);
        field("response_format", "json");
        if let Some(language) = &recording.language {
            field("language", language);
        }
        let head = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{}\"\r\ncontent-type: {}\r\n\r\n",
            one_line(&recording.file_name),
            one_line(&recording.media_type)
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&recording.audio);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        Self { boundary, body }
    }
}

/// A line that does not occur in the audio: a hash of it, hashed again should it occur by a miracle.
fn boundary(audio: &[u8]) -> String {
    let mut hash = Sha256::digest(audio);
    loop {
        let text: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        if !audio.windows(text.len()).any(|window| window == text.as_bytes()) {
            return text;
        }
        hash = Sha256::digest(hash);
    }
}

/// Nothing that would end a header or a quoted string.
fn one_line(text: &str) -> String {
    text.chars().filter(|character| !character.is_control() && !matches!(character, '"' | '\\')).collect()
}
