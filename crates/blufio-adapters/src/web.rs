//! Reads pages of the open web: fetches them through the guarded client and makes text of them.
//!
//! GET alone, with the same headers for everybody; no cookies, no credentials. A page is remembered for a short while under its
//! address, so that reading on in it costs no second request. Which call may be made, and how far the text is trusted, is
//! decided elsewhere.

mod cache;
mod html;
mod text;

use crate::egress::web::{Fetched, WebError as ClientError, WebLimits};
use crate::egress::{Egress, EgressError, web};
use blufio_core::port::{Clock, Page, Web, WebError};
use cache::Cache;
use std::fmt;
use std::sync::Arc;
use text::Kind;
pub(crate) use text::one_line;
use tokio::sync::Semaphore;

/// Bytes of a page's text that are kept. More: cut.
const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// Pages that are fetched at once; each may hold its whole body in memory. Full: the others wait, within their own time.
const FETCHES_MAX: usize = 4;

/// What the reader of pages needs.
pub struct WebOptions<'a> {
    /// The way out.
    pub egress: &'a Egress,
    /// Says how old a remembered page is.
    pub clock: Arc<dyn Clock>,
    /// Limits of one fetch.
    pub limits: WebLimits,
}

/// Reads pages.
pub struct WebPages {
    client: web::Web,
    clock: Arc<dyn Clock>,
    cache: Cache,
    room: Semaphore,
    limits: WebLimits,
}

impl fmt::Debug for WebPages {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WebPages")
    }
}

impl WebPages {
    /// Prepares it; nothing is connected.
    #[must_use]
    pub fn new(options: WebOptions<'_>) -> Self {
        Self {
            client: options.egress.web(options.limits),
            clock: options.clock,
            cache: Cache::default(),
            room: Semaphore::new(FETCHES_MAX),
            limits: options.limits,
        }
    }
}

impl Web for WebPages {
    async fn fetch(&self, url: &str) -> Result<Arc<Page>, WebError> {
        // Judged first, so that a remembered page is no way around the rules.
        let target = self.client.target(url).map_err(|denied| WebError::Denied(denied.to_string()))?;
        let key = target.url().as_str().to_owned();
        if let Some(page) = self.cache.get(&key, self.clock.monotonic()) {
            return Ok(page);
        }
        let late = |_| WebError::Unavailable("too many pages are being fetched".to_owned());
        let room = tokio::time::timeout(self.limits.total, self.room.acquire()).await.map_err(late)?;
        // The semaphore is never closed; holding the permit is all that matters.
        let _room = room.map_err(|error| WebError::Unavailable(error.to_string()))?;
        let fetched = self.client.get(target).await.map_err(told)?;
        let page = Arc::new(page(fetched).await);
        self.cache.put(key, &page, self.clock.monotonic());
        Ok(page)
    }
}

fn told(error: ClientError) -> WebError {
    match error {
        ClientError::Denied(denied) => WebError::Denied(denied.to_string()),
        ClientError::Status(status) => WebError::Status(status),
        ClientError::Failed(error @ (EgressError::TooLarge { .. } | EgressError::Unreadable(_))) => {
            WebError::Unreadable(error.to_string())
        }
        // What a connection failed of may repeat names and certificates of the other side.
        ClientError::Failed(EgressError::NotConnected(_)) => {
            WebError::Unavailable("the server could not be reached".to_owned())
        }
        ClientError::Failed(EgressError::Broken(_)) => WebError::Unavailable("the connection broke".to_owned()),
        ClientError::Failed(error @ (EgressError::Address(_) | EgressError::Build(_) | EgressError::Timeout)) => {
            WebError::Unavailable(error.to_string())
        }
    }
}

async fn page(fetched: Fetched) -> Page {
    let kind = Kind::of(fetched.content_type.as_deref(), &fetched.body);
    let url = fetched.url.to_string();
    let bytes = fetched.body.len();
    let page = |title, text, cut| Page { url, title, media_type: kind.media_type.clone(), text, bytes, cut };
    if !kind.is_text {
        return page(None, None, false);
    }
    let decoded = text::decode(&fetched.body, &kind);
    if kind.is_html {
        let html::Markdown { title, text, cut } = html::markdown(&decoded, &fetched.url, TEXT_BYTES_MAX).await;
        return page(title, Some(text), cut);
    }
    let mut text: String = decoded.chars().filter(|character| text::is_visible(*character)).collect();
    let cut = text.len() > TEXT_BYTES_MAX;
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    page(None, Some(text), cut)
}
