//! Reads pages of the web, and searches it.

use super::Boxed;
use std::future::Future;
use std::sync::Arc;

/// A page as text. Every word of it is somebody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Where it was in the end, without a fragment.
    pub url: String,
    /// What it calls itself; one line.
    pub title: Option<String>,
    /// The media type, e.g. `text/html`; lower case, without parameters.
    pub media_type: String,
    /// What can be read of it, HTML as Markdown; `None`: it is no text.
    pub text: Option<String>,
    /// Bytes that came, unpacked.
    pub bytes: usize,
    /// The text was longer than what is kept.
    pub cut: bool,
}

/// What a search found. Every word of it is somebody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// One line.
    pub title: String,
    /// Where it is.
    pub url: String,
    /// A few words of it; one line.
    pub excerpt: String,
}

/// Why there is nothing. The words are ours and can be shown to the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    /// The address, or one that it leads to, may not be used. Nothing was sent there.
    #[error("this address is not fetched: {0}")]
    Denied(String),
    /// The server answered with a status that brings nothing.
    #[error("the server answered with status {0}")]
    Status(u16),
    /// No complete answer came; another try later may bring one.
    #[error("nothing was fetched: {0}")]
    Unavailable(String),
    /// The answer cannot be read, or is too long.
    #[error("nothing was read: {0}")]
    Unreadable(String),
    /// The service does not accept the key; the operator has to act.
    #[error("the service does not accept its key")]
    Unauthorized,
}

/// Reads pages. One try per call; cancelled by dropping the future.
pub trait Web: Send + Sync + 'static {
    /// Fetches the page, or takes it from memory if it was fetched a short while ago.
    fn fetch(&self, url: &str) -> impl Future<Output = Result<Arc<Page>, WebError>> + Send;
}

/// The erased twin of [`Web`].
pub trait AnyWeb: Send + Sync + 'static {
    /// See [`Web::fetch`].
    fn fetch<'a>(&'a self, url: &'a str) -> Boxed<'a, Result<Arc<Page>, WebError>>;
}

impl<T: Web> AnyWeb for T {
    fn fetch<'a>(&'a self, url: &'a str) -> Boxed<'a, Result<Arc<Page>, WebError>> {
        Box::pin(Web::fetch(self, url))
    }
}

/// Searches the web. One try per call; cancelled by dropping the future.
pub trait Search: Send + Sync + 'static {
    /// The best hits first, at most ten.
    fn search(&self, query: &str) -> impl Future<Output = Result<Vec<Hit>, WebError>> + Send;
}

/// The erased twin of [`Search`].
pub trait AnySearch: Send + Sync + 'static {
    /// See [`Search::search`].
    fn search<'a>(&'a self, query: &'a str) -> Boxed<'a, Result<Vec<Hit>, WebError>>;
}

impl<T: Search> AnySearch for T {
    fn search<'a>(&'a self, query: &'a str) -> Boxed<'a, Result<Vec<Hit>, WebError>> {
        Box::pin(Search::search(self, query))
    }
}
