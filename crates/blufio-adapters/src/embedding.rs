//! Texts as vectors by all-MiniLM-L6-v2 (Apache-2.0), on a kernel of our own that reads the weights where they lie
//! (docs/decisions/0028).
//!
//! The model is in memory while it is used, and a little longer. Nobody who waits for an answer waits for it to be loaded. What is
//! done with the vectors is not known here.

use blufio_core::memory::vector::Vector;
use blufio_core::port::{Embedding, EmbeddingError, EmbeddingHealth, Urgency};
pub use download::{DownloadError, download};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use weights::Source;
pub use weights::{Weights, sum};
use wordpiece::WordPiece;
use worker::Shared;

mod download;
mod gguf;
mod kernel;
mod math;
mod model;
mod sys;
mod weights;
mod wordpiece;
mod worker;

/// The SHA-256 of the weights' file.
pub const FILE_SHA256: &str = "03f0fa97d4589b9a6875439e0255e5f7e205ae74779d668cc2db422bd103bcc8";
/// Bytes of the weights' file.
pub const FILE_BYTES: u64 = 24_653_440;
/// The name of the weights' file.
pub const FILE_NAME: &str = "minilm-l6-v2-Q8_0.gguf";
/// Without a text for so long, the model leaves the memory.
pub const IDLE: Duration = Duration::from_secs(10 * 60);
/// Texts that wait while somebody waits for their vectors. More, also in one request: refused with [`EmbeddingError::Full`].
pub const TURN_TEXTS_MAX: usize = 64;
/// Texts that wait while nobody waits for them. More, also in one request: refused with [`EmbeddingError::Full`].
pub const BACKGROUND_TEXTS_MAX: usize = 256;
/// Bytes of a text that are read. More: cut off; the model reads 256 pieces of words at most.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;

/// The weights that are compiled in: only with the feature `embed-model`, which wants them made by `./dev model` first.
#[cfg(feature = "embed-model")]
pub const EMBEDDED: Option<&'static [u8]> = Some(&COMPILED_IN);
/// The weights that are compiled in: only with the feature `embed-model`, which wants them made by `./dev model` first.
#[cfg(not(feature = "embed-model"))]
pub const EMBEDDED: Option<&'static [u8]> = None;

#[cfg(feature = "embed-model")]
static COMPILED_IN: [u8; 24_653_440] =
    *include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/models/minilm-l6-v2-Q8_0.gguf"));

/// The model, on a thread of its own that ends when this is dropped.
///
/// A text of more than 256 pieces is cut off; [`Embedding::pieces`] gives at most 32 parts, about 28 kB of English, and none of a
/// text without words. A text is worked on whole, and requests of a turn come before all others between two texts.
pub struct MiniLm {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for MiniLm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MiniLm").field("health", &self.shared.health()).finish_non_exhaustive()
    }
}

impl MiniLm {
    /// Starts the thread; reads no weights yet. They leave the memory after `idle` without a text, [`IDLE`] for example.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(weights: Weights, idle: Duration) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let inner = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("embedding".to_owned())
            .spawn(move || worker::run(&inner, Source::new(weights), idle))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Takes the model out of memory after the text in hand, because memory is short. Of what waits, turns get
    /// [`EmbeddingError::Loading`] and others [`EmbeddingError::Full`]; the next request loads it again.
    pub fn unload(&self) {
        self.shared.unload();
    }
}

impl Drop for MiniLm {
    /// Waits for the text in hand, or for the check of the file.
    fn drop(&mut self) {
        self.shared.stop();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the embedding model ended in a panic");
        }
    }
}

impl Embedding for MiniLm {
    fn model(&self) -> &str {
        FILE_SHA256.get(..8).unwrap_or(FILE_SHA256)
    }

    async fn embed(&self, texts: Vec<String>, urgency: Urgency) -> Result<Vec<Vector>, EmbeddingError> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let answer = self.shared.submit(texts, urgency)?;
        answer.await.unwrap_or_else(|_| Err(worker::ended()))
    }

    fn pieces(&self, text: &str) -> Vec<String> {
        WordPiece::get().parts(text)
    }

    fn health(&self) -> EmbeddingHealth {
        self.shared.health()
    }
}
