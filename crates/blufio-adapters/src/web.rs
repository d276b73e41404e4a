//! Reads pages of the open web: fetches them through the guarded client and makes text of them.
//!
//! GET alone, with the same headers for everybody and no cookies; with a secret only where it was asked for by name and its
//! hosts allow it, and then the answer is searched for it before anybody sees it. A page is remembered for a short while under its
//! address, so that reading on in it costs no second request. Which call may be made, and how far the text is trusted, is
//! decided elsewhere.

mod cache;
mod html;
mod scrub;
mod text;

use crate::egress::guard::{Host, Target};
use crate::egress::web::{Carried, Fetched, WebError as ClientError, WebLimits, takes_secrets, written_origin};
use crate::egress::{Egress, EgressError, web};
use blufio_core::leak::Leaks;
use blufio_core::port::{Clock, Credential, CredentialError, Credentials, Hops, Page, Web, WebError};
use cache::Cache;
use scrub::Scrub;
use std::fmt;
use std::sync::Arc;
use text::Kind;
pub(crate) use text::one_line;
use tokio::sync::{Semaphore, SemaphorePermit};

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
    secrets: Option<Secrets>,
}

/// Where secrets come from, and who takes them out of what comes back.
struct Secrets {
    credentials: Arc<dyn Credentials>,
    leaks: Leaks,
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
            secrets: None,
        }
    }

    /// Lets calls use secrets. `leaks`: learns each before it is sent, and takes it out of what comes back.
    #[must_use]
    pub fn with_secrets(self, credentials: Arc<dyn Credentials>, leaks: Leaks) -> Self {
        Self { secrets: Some(Secrets { credentials, leaks }), ..self }
    }

    // Judged first, so that a remembered page is no way around the rules.
    fn target(&self, url: &str, hops: &Hops) -> Result<Target, WebError> {
        self.client.target(url).map_err(|denied| {
            hops.refuse(written_origin(reqwest::Url::parse(url).ok().as_ref()), &denied);
            WebError::Denied(denied.to_string())
        })
    }

    async fn room(&self) -> Result<SemaphorePermit<'_>, WebError> {
        let late = |_| WebError::Unavailable("too many pages are being fetched".to_owned());
        let room = tokio::time::timeout(self.limits.total, self.room.acquire()).await.map_err(late)?;
        // The semaphore is never closed; holding the permit is all that matters.
        room.map_err(|error| WebError::Unavailable(error.to_string()))
    }
}

impl Web for WebPages {
    async fn fetch(&self, url: &str, hops: &Hops) -> Result<Arc<Page>, WebError> {
        let target = self.target(url, hops)?;
        let key = target.url().as_str().to_owned();
        if let Some(page) = self.cache.get(&key, self.clock.monotonic()) {
            return Ok(page);
        }
        let _room = self.room().await?;
        let fetched = self.client.get(target, hops).await.map_err(told)?;
        let page = Arc::new(page(fetched, None).await?);
        self.cache.put(key, &page, self.clock.monotonic());
        Ok(page)
    }

    async fn fetch_with(&self, url: &str, secret: &str, hops: &Hops) -> Result<Arc<Page>, WebError> {
        let refused = |why: CredentialError| WebError::Secret(why.to_string());
        let Some(Secrets { credentials, leaks }) = &self.secrets else {
            return Err(WebError::Secret("there is no vault".to_owned()));
        };
        let target = self.target(url, hops)?;
        if !takes_secrets(&target) {
            return Err(WebError::Secret("a secret is sent over https only".to_owned()));
        }
        let host = match target.host() {
            Host::Name(name) => name.clone(),
            Host::Address(address) => address.to_string(),
        };
        // Asked each time, so that what was taken out of the vault opens no remembered page either.
        let credential = credentials.find(secret, &host).await.map_err(refused)?;
        let key = key_with(&credential, &target);
        if let Some(page) = self.cache.get(&key, self.clock.monotonic()) {
            return Ok(page);
        }
        let unfit = || WebError::Secret("its value does not fit into a header".to_owned());
        let carried = Carried::new(&credential, leaks).ok_or_else(unfit)?;
        let scrub = Scrub::new(&credential, leaks);
        let _room = self.room().await?;
        credentials.used(&credential, &host).await.map_err(refused)?;
        let fetched = self.client.get_with(target, Some(&carried), hops).await.map_err(told)?;
        let page = Arc::new(page(fetched, Some(&scrub)).await?);
        self.cache.put(key, &page, self.clock.monotonic());
        Ok(page)
    }
}

/// What is fetched with a secret is another page than without, and than with the secret's next version. No address holds a
/// line break.
fn key_with(credential: &Credential, target: &Target) -> String {
    format!("{}\n{}\n{}", credential.name, credential.version, target.url())
}

fn told(error: ClientError) -> WebError {
    match error {
        ClientError::Denied(denied) => WebError::Denied(denied.to_string()),
        ClientError::Status(status) => WebError::Status(status),
        ClientError::KeptBack(status) => WebError::Secret(format!(
            "the address leads to another place, to which it is not sent, and which answered with status {status}; look for an \
             address that answers by itself"
        )),
        ClientError::Leads => {
            WebError::Secret("the answer leads to an address that holds it, which is not followed".to_owned())
        }
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

/// What came as a page; with `scrub`, without the secret that was sent.
async fn page(fetched: Fetched, scrub: Option<&Scrub>) -> Result<Page, WebError> {
    let clean = |text: String| match scrub {
        Some(scrub) => scrub.clean(&text),
        None => text,
    };
    let kind = Kind::of(fetched.content_type.map(clean).as_deref(), &fetched.body);
    let mut page = Page {
        url: clean(fetched.url.to_string()),
        title: None,
        media_type: kind.media_type.clone(),
        text: None,
        bytes: fetched.body.len(),
        cut: false,
        kept_back: fetched.kept_back,
    };
    if kind.is_text {
        let decoded = text::decode(&fetched.body, &kind);
        if kind.is_html {
            // Before it is taken apart and after: Markdown writes some characters in another way, and HTML does, too.
            let html::Markdown { title, text, cut } =
                html::markdown(&clean(decoded), &fetched.url, TEXT_BYTES_MAX).await;
            (page.title, page.text, page.cut) = (title.map(clean), Some(clean(text)), cut);
        } else {
            let mut text: String = clean(decoded.chars().filter(|character| text::is_visible(*character)).collect());
            page.cut = text.len() > TEXT_BYTES_MAX;
            text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
            text.shrink_to_fit();
            page.text = Some(text);
        }
    }
    let shown = [Some(&page.url), page.title.as_ref(), Some(&page.media_type), page.text.as_ref()];
    match scrub {
        Some(scrub) if shown.into_iter().flatten().any(|text| scrub.is_in_pieces(text)) => {
            Err(WebError::Unreadable("the answer holds the secret in pieces, so nothing of it is shown".to_owned()))
        }
        _ => Ok(page),
    }
}
