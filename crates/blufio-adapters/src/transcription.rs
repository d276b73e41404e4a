//! Speech to text over the common transcription HTTP API: `POST /v1/audio/transcriptions`, a multipart form with the
//! recording and the name of a model, answered with `{"text": "…"}`.
//!
//! One try per call, no redirects, no proxy. The key is in no error and in no log. What is done with the text, and how far it
//! is trusted, is decided elsewhere.

use crate::blocking::blocking;
use crate::egress::{self, Client, Egress, EgressError, Origin, Purpose};
use crate::form::{FilePart, Form};
use blufio_core::limits::{ATTACHMENT_BYTES_MAX, INBOUND_TEXT_BYTES_MAX};
use blufio_core::port::{Recording, Transcriber, TranscriberError};
use blufio_core::secret::Secret;
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
    /// The key, if the service wants one; blank counts as none.
    pub key: Option<Secret>,
    /// The way out.
    pub egress: &'a Egress,
}

/// A transcription service.
pub struct Transcription {
    model: String,
    key: Option<Secret>,
    client: Client,
    within: Duration,
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
    /// The server's address, the key or the HTTP client is not usable.
    pub fn new(options: TranscriptionOptions<'_>) -> Result<Self, EgressError> {
        let key = options.key.and_then(|key| key.trimmed());
        if key.as_ref().is_some_and(|key| !key.expose().bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(EgressError::Build("the key holds characters that no key has".to_owned()));
        }
        Ok(Self {
            model: options.model,
            key,
            client: options.egress.client(Purpose::Send, &Origin::parse(options.base_url)?)?,
            within: TRANSCRIBE,
        })
    }

    async fn ask(&self, recording: Recording) -> Result<String, TranscriberError> {
        let model = self.model.clone();
        let ending = || TranscriberError::Unavailable("the process is ending".to_owned());
        let form = blocking(move || form(&recording, model)).await.ok_or_else(ending)?;
        let mut request = self.client.post(PATH).header("content-type", form.content_type).body(form.body);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.expose());
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
            // What the parser says may repeat the answer.
            200 => read(&body).map_err(|why| TranscriberError::Unreadable(self.words(why.as_bytes()))),
            401 | 403 => Err(TranscriberError::Unauthorized),
            408 | 429 | 500.. => Err(TranscriberError::Unavailable(format!("it answered {status}"))),
            _ => Err(TranscriberError::Refused(format!("{status} {}", self.words(&body)))),
        }
    }

    /// Words that are the service's or repeat them: cut, and without the key should it be among them. The key is looked for
    /// last, since leaving out a character in its middle would make it whole.
    fn words(&self, text: &[u8]) -> String {
        let text: String = String::from_utf8_lossy(text).chars().filter(|character| !character.is_control()).collect();
        let text = match &self.key {
            Some(key) => text.replace(key.expose(), "…"),
            None => text,
        };
        text.chars().take(WORDS_CHARACTERS_MAX).collect()
    }
}

impl Transcriber for Transcription {
    async fn transcribe(&self, recording: Recording) -> Result<String, TranscriberError> {
        if recording.audio.len() as u64 > ATTACHMENT_BYTES_MAX {
            return Err(TranscriberError::Refused(format!("it has more than {ATTACHMENT_BYTES_MAX} bytes")));
        }
        let late = || TranscriberError::Unavailable(format!("no answer within {} s", self.within.as_secs()));
        tokio::time::timeout(self.within, self.ask(recording)).await.map_err(|_| late())?
    }
}

fn read(body: &[u8]) -> Result<String, String> {
    let answer: Answer = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if answer.text.len() > INBOUND_TEXT_BYTES_MAX {
        return Err(format!("the text has more than {INBOUND_TEXT_BYTES_MAX} bytes"));
    }
    Ok(answer.text)
}

/// The request. Its boundary is made from the recording, and not in it.
fn form(recording: &Recording, model: String) -> Form {
    let mut fields = vec![("model", model), ("response_format", "json".to_owned())];
    fields.extend(recording.language.clone().map(|language| ("language", language)));
    let Recording { audio, media_type, file_name, .. } = recording;
    let seed = Sha256::digest(audio).iter().take(8).fold(0_u64, |seed, byte| seed << 8 | u64::from(*byte));
    Form::new(&fields, &FilePart { field: "file", name: file_name, media_type, bytes: audio }, seed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use blufio_testkit::transcription::{FakeTranscriber, Says, TranscriberConfig};

    #[tokio::test]
    async fn a_service_that_says_nothing_is_not_available() {
        let fake = FakeTranscriber::start(TranscriberConfig { key: None, model: "m".to_owned() }).await.unwrap();
        fake.says(Says::Nothing);
        let (base_url, egress) = (fake.base_url(), Egress::new().unwrap());
        let options = TranscriptionOptions { base_url: &base_url, model: "m".to_owned(), key: None, egress: &egress };
        let mut transcriber = Transcription::new(options).unwrap();
        assert_eq!(transcriber.within, Duration::from_secs(60));
        transcriber.within = Duration::from_secs(1);
        let recording = Recording {
            audio: b"abc".as_slice().into(),
            media_type: "audio/ogg".to_owned(),
            file_name: "voice.oga".to_owned(),
            language: None,
        };
        let late = Err(TranscriberError::Unavailable("no answer within 1 s".to_owned()));
        assert_eq!(transcriber.transcribe(recording).await, late);
        fake.hung_up().await;
        assert_eq!(fake.heard().len(), 1);
    }
}
