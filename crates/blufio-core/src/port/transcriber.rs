//! Writes down what is said in a recording.

use super::Boxed;
use crate::record::Shared;
use std::future::Future;

/// Something to listen to.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The bytes, at most [`crate::limits::ATTACHMENT_BYTES_MAX`].
    pub audio: Shared,
    /// Their media type, e.g. `audio/ogg`.
    pub media_type: String,
    /// A name of our making, e.g. `voice.oga`; never the sender's.
    pub file_name: String,
    /// The language that is spoken (ISO 639-1); `None`: the transcriber finds out.
    pub language: Option<String>,
}

/// Why a recording was not written down.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TranscriberError {
    /// The service could not be reached, or failed; trying again later may help.
    #[error("the transcriber is not available: {0}")]
    Unavailable(String),
    /// The service does not take this recording.
    #[error("the transcriber refused it: {0}")]
    Refused(String),
    /// The service does not accept the key; the operator has to act.
    #[error("the transcriber does not accept its key")]
    Unauthorized,
    /// The answer cannot be read.
    #[error("the transcriber's answer cannot be read: {0}")]
    Unreadable(String),
}

/// A transcriber. One try per call; cancelled by dropping the future.
pub trait Transcriber: Send + Sync + 'static {
    /// Writes it down; the text may be empty.
    fn transcribe(&self, recording: Recording) -> impl Future<Output = Result<String, TranscriberError>> + Send;
}

/// The erased twin of [`Transcriber`].
pub trait AnyTranscriber: Send + Sync + 'static {
    /// See [`Transcriber::transcribe`].
    fn transcribe(&self, recording: Recording) -> Boxed<'_, Result<String, TranscriberError>>;
}

impl<T: Transcriber> AnyTranscriber for T {
    fn transcribe(&self, recording: Recording) -> Boxed<'_, Result<String, TranscriberError>> {
        Box::pin(Transcriber::transcribe(self, recording))
    }
}
