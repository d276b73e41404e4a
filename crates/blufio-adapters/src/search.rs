//! Web search over the HTTP API that Brave offers and others imitate: `GET /res/v1/web/search?q=…`, the key in the header
//! `X-Subscription-Token`, answered with `{"web": {"results": [{"title", "url", "description"}]}}`.
//!
//! One try per call, no redirects, no proxy. The key is in no error and in no log, and nothing the service says becomes part
//! of an error.

use crate::egress::{self, Client, Egress, EgressError, Origin, Purpose};
use crate::web::one_line;
use blufio_core::port::{Hit, Search, WebError};
use blufio_core::secret::Secret;
use reqwest::header::{ACCEPT, HeaderName, HeaderValue};
use serde::Deserialize;
use std::fmt;
use std::time::Duration;

/// One search from connecting to the last byte of the answer.
const SEARCH: Duration = Duration::from_secs(20);
/// Bytes of an answer that are read. More: it counts as unreadable.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Hits that are asked for and given.
const HITS_MAX: usize = 10;
/// Characters of a title. More: cut.
const TITLE_CHARS_MAX: usize = 200;
/// Characters of an excerpt. More: cut.
const EXCERPT_CHARS_MAX: usize = 400;
/// Bytes of an address. Longer: the hit is left out.
const URL_BYTES_MAX: usize = 1024;
/// The one path of the API that is used.
const PATH: &str = "/res/v1/web/search";
/// The header that carries the key.
const KEY: HeaderName = HeaderName::from_static("x-subscription-token");

/// What a search service needs.
pub struct SearchOptions<'a> {
    /// The server: scheme, host and port; `http` only to loopback.
    pub base_url: &'a str,
    /// The key, if the service wants one; blank counts as none.
    pub key: Option<Secret>,
    /// The way out.
    pub egress: &'a Egress,
}

/// A search service.
pub struct WebSearch {
    client: Client,
    key: Option<HeaderValue>,
}

impl fmt::Debug for WebSearch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WebSearch")
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    web: Section,
}

#[derive(Default, Deserialize)]
struct Section {
    #[serde(default)]
    results: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    title: String,
    url: String,
    #[serde(default)]
    description: String,
}

impl WebSearch {
    /// Prepares the connections; makes none.
    ///
    /// # Errors
    /// The server's address, the key or the HTTP client is not usable.
    pub fn new(options: SearchOptions<'_>) -> Result<Self, EgressError> {
        let key = options.key.and_then(|key| key.trimmed());
        let unusable = || EgressError::Build("the key holds characters that no key has".to_owned());
        let key = match key {
            Some(key) if key.expose().bytes().all(|byte| byte.is_ascii_graphic()) => {
                let mut key = HeaderValue::from_str(key.expose()).map_err(|_| unusable())?;
                key.set_sensitive(true);
                Some(key)
            }
            Some(_) => return Err(unusable()),
            None => None,
        };
        Ok(Self { client: options.egress.client(Purpose::Send, &Origin::parse(options.base_url)?)?, key })
    }

    async fn ask(&self, query: &str) -> Result<Vec<Hit>, WebError> {
        let count = HITS_MAX.to_string();
        let mut request = self.client.ask(PATH, &[("q", query), ("count", &count)]).header(ACCEPT, "application/json");
        if let Some(key) = &self.key {
            request = request.header(KEY, key.clone());
        }
        let unavailable = |error: EgressError| WebError::Unavailable(error.to_string());
        let response = egress::send(request).await.map_err(unavailable)?;
        match response.status().as_u16() {
            200 => {}
            401 | 403 => return Err(WebError::Unauthorized),
            status => return Err(WebError::Status(status)),
        }
        let body = match egress::read_capped(response, ANSWER_BYTES_MAX).await {
            Ok(body) => body,
            Err(error @ EgressError::TooLarge { .. }) => return Err(WebError::Unreadable(error.to_string())),
            Err(error) => return Err(unavailable(error)),
        };
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| WebError::Unreadable("the service answered with something else than hits".to_owned()))?;
        Ok(answer.web.results.into_iter().filter_map(hit).take(HITS_MAX).collect())
    }
}

impl Search for WebSearch {
    async fn search(&self, query: &str) -> Result<Vec<Hit>, WebError> {
        let late = |_| WebError::Unavailable(format!("no answer within {} s", SEARCH.as_secs()));
        tokio::time::timeout(SEARCH, self.ask(query)).await.map_err(late)?
    }
}

/// The API marks the words that were found with `<strong>` and escapes nothing else.
fn hit(entry: Entry) -> Option<Hit> {
    let plain = |text: &str, most| one_line(&text.replace("<strong>", "").replace("</strong>", ""), most);
    let url = reqwest::Url::parse(&entry.url).ok().filter(|url| matches!(url.scheme(), "https" | "http"))?;
    (url.as_str().len() <= URL_BYTES_MAX).then(|| Hit {
        title: plain(&entry.title, TITLE_CHARS_MAX),
        url: url.into(),
        excerpt: plain(&entry.description, EXCERPT_CHARS_MAX),
    })
}
