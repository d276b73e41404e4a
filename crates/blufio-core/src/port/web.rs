//! Reads pages of the web, and searches it.

use super::Boxed;
use crate::secret::Secret;
use crate::vault::Slot;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// A secret was to be sent along, and was kept back: it comes from another place than the one that was asked.
    pub kept_back: bool,
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
    /// The secret may not be used like this. It was not sent.
    #[error("the secret was not used: {0}")]
    Secret(String),
    /// The service does not accept the key; the operator has to act.
    #[error("the service does not accept its key")]
    Unauthorized,
}

/// How a request to one place ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HopEnd {
    /// Nothing was sent there, because of this.
    Refused(String),
    /// It was allowed, and no answer came.
    Unanswered,
    /// An answer came.
    Answered,
}

/// A place that a fetch leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Scheme, host and port: neither path nor query.
    pub origin: String,
    /// What became of it.
    pub end: HopEnd,
}

/// The places that one fetch leads to, in order. It is written while the fetch goes on, so that what was asked is known of one
/// that is cut short, too. A page out of memory leads nowhere.
#[derive(Clone, Debug, Default)]
pub struct Hops(Arc<Mutex<Vec<Hop>>>);

impl Hops {
    /// A place is asked now.
    pub fn begin(&self, origin: String) {
        self.lock().push(Hop { origin, end: HopEnd::Unanswered });
    }

    /// How that ended.
    pub fn end(&self, end: HopEnd) {
        if let Some(last) = self.lock().last_mut() {
            last.end = end;
        }
    }

    /// A place is not asked.
    pub fn refuse(&self, origin: String, why: &impl ToString) {
        self.lock().push(Hop { origin, end: HopEnd::Refused(why.to_string()) });
    }

    /// All of them so far; from now on there are none.
    #[must_use]
    pub fn take(&self) -> Vec<Hop> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Hop>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads pages. One try per call; cancelled by dropping the future.
pub trait Web: Send + Sync + 'static {
    /// Fetches the page, or takes it from memory if it was fetched a short while ago.
    fn fetch(&self, url: &str, hops: &Hops) -> impl Future<Output = Result<Arc<Page>, WebError>> + Send;

    /// The same with the secret of this name, which goes to the hosts that it is for and to no others, and is in nothing that
    /// comes back.
    fn fetch_with(
        &self,
        _url: &str,
        _secret: &str,
        _hops: &Hops,
    ) -> impl Future<Output = Result<Arc<Page>, WebError>> + Send {
        std::future::ready(Err(WebError::Secret("there is no vault".to_owned())))
    }
}

/// A secret that may go to one host, once.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Its name.
    pub name: String,
    /// Grows when it is changed.
    pub version: u32,
    /// Where it stands in a request.
    pub slot: Slot,
    /// The secret itself.
    pub value: Secret,
}

/// Why there is no credential. The words are for the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// There is none of this name that the agent may use.
    #[error(
        "there is no secret `{0}` that the agent may use; the operator allows it with `blufio vault set NAME --host HOST`"
    )]
    NotForAgent(String),
    /// It is for other hosts.
    #[error("`{name}` may not be sent to {host}; it is for {}", allowed.join(", "))]
    OtherHost {
        /// Its name.
        name: String,
        /// Where it was to be sent.
        host: String,
        /// Where it may be sent.
        allowed: Vec<String>,
    },
    /// The vault cannot be read, or the use not be recorded. The operator's log has the reason.
    #[error("the vault cannot be used at the moment")]
    Broken,
}

/// Gives out secrets that the agent may use without seeing them.
pub trait Credentials: Send + Sync + 'static {
    /// The secret of this name, if it may go to `host`: a name in lower case or an address, without a port.
    fn find<'a>(&'a self, name: &'a str, host: &'a str) -> Boxed<'a, Result<Credential, CredentialError>>;
    /// Records that it is sent to `host` now. Nothing is sent unless this succeeds.
    fn used<'a>(&'a self, credential: &'a Credential, host: &'a str) -> Boxed<'a, Result<(), CredentialError>>;
}

/// The erased twin of [`Web`].
pub trait AnyWeb: Send + Sync + 'static {
    /// See [`Web::fetch`].
    fn fetch<'a>(&'a self, url: &'a str, hops: &'a Hops) -> Boxed<'a, Result<Arc<Page>, WebError>>;
    /// See [`Web::fetch_with`].
    fn fetch_with<'a>(
        &'a self,
        url: &'a str,
        secret: &'a str,
        hops: &'a Hops,
    ) -> Boxed<'a, Result<Arc<Page>, WebError>>;
}

impl<T: Web> AnyWeb for T {
    fn fetch<'a>(&'a self, url: &'a str, hops: &'a Hops) -> Boxed<'a, Result<Arc<Page>, WebError>> {
        Box::pin(Web::fetch(self, url, hops))
    }
    fn fetch_with<'a>(
        &'a self,
        url: &'a str,
        secret: &'a str,
        hops: &'a Hops,
    ) -> Boxed<'a, Result<Arc<Page>, WebError>> {
        Box::pin(Web::fetch_with(self, url, secret, hops))
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
