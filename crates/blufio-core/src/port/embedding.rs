//! Texts as vectors, so that what means the same is found without sharing a word.

use super::Boxed;
use crate::memory::vector::Vector;
use std::future::Future;

/// Who asks for vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// A turn waits: it goes first, and gets [`EmbeddingError::Loading`] at once if the model is not in memory yet.
    Turn,
    /// Nobody waits: the model is loaded first if need be.
    Background,
}

/// Why there are no vectors. Whoever gets one goes on without.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmbeddingError {
    /// The model is being loaded; it will be there soon.
    #[error("the embedding model is being loaded")]
    Loading,
    /// Too much waits for the model; ask again later.
    #[error("too many texts wait for the embedding model")]
    Full,
    /// There is no usable model, and a reason that a person understands.
    #[error("{0}")]
    Unusable(String),
}

/// How a model is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EmbeddingHealth {
    /// It is in memory.
    pub loaded: bool,
    /// Texts that wait.
    pub waiting: usize,
    /// Why it cannot be used, if it cannot.
    pub trouble: Option<String>,
}

/// A model that makes vectors of texts.
pub trait Embedding: Send + Sync + 'static {
    /// Names its weights: vectors of another model cannot be compared with its own.
    fn model(&self) -> &str;

    /// A vector for each text, in their order. Texts that are longer than the model reads are cut in pieces by the caller (see
    /// [`Self::pieces`]); an empty text has the vector of the model's empty input.
    fn embed(
        &self,
        texts: Vec<String>,
        urgency: Urgency,
    ) -> impl Future<Output = Result<Vec<Vector>, EmbeddingError>> + Send;

    /// Cuts a text into pieces that the model reads whole, which overlap a little. Needs no loaded model, but a usable one.
    fn pieces(&self, text: &str) -> Vec<String>;

    /// How it is doing.
    fn health(&self) -> EmbeddingHealth;
}

/// The erased twin of [`Embedding`].
pub trait AnyEmbedding: Send + Sync + 'static {
    /// See [`Embedding::model`].
    fn model(&self) -> &str;
    /// See [`Embedding::embed`].
    fn embed(&self, texts: Vec<String>, urgency: Urgency) -> Boxed<'_, Result<Vec<Vector>, EmbeddingError>>;
    /// See [`Embedding::pieces`].
    fn pieces(&self, text: &str) -> Vec<String>;
    /// See [`Embedding::health`].
    fn health(&self) -> EmbeddingHealth;
}

impl<E: Embedding> AnyEmbedding for E {
    fn model(&self) -> &str {
        Embedding::model(self)
    }

    fn embed(&self, texts: Vec<String>, urgency: Urgency) -> Boxed<'_, Result<Vec<Vector>, EmbeddingError>> {
        Box::pin(Embedding::embed(self, texts, urgency))
    }

    fn pieces(&self, text: &str) -> Vec<String> {
        Embedding::pieces(self, text)
    }

    fn health(&self) -> EmbeddingHealth {
        Embedding::health(self)
    }
}
