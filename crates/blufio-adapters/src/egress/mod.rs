//! The one way out over HTTP: address rules, roots of trust, name lookups, connection pools, capped bodies.
//!
//! Every adapter that talks to a service gets its [`Client`] here, so that these rules have one home: https, or http to
//! this machine only; no proxies, no redirects, HTTP/1.1; names are never looked up through the C library. It refuses to
//! know any API that is spoken on top of it, and it never tries a request again: only the caller knows whether that is safe.

pub mod local;
mod resolver;
mod tls;

use blufio_core::limits::MODEL_CONNECT;
use reqwest::{Method, RequestBuilder, Response, Url};
use std::error::Error as _;
use std::net::IpAddr;
use std::time::Duration;

/// Connecting to a channel's server.
const CHANNEL_CONNECT: Duration = Duration::from_secs(10);
/// How long a connection may lie idle before it is closed.
const POOL_IDLE: Duration = Duration::from_secs(90);
/// Between two probes of an idle connection, so that a long poll notices a peer that vanished.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
/// Characters of an error's description that are kept.
const DESCRIPTION_CHARS_MAX: usize = 300;

/// What a pool of connections is for. Requests of different purposes never share a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Calls of a model.
    Model,
    /// A channel's long poll, which occupies its connection nearly all the time.
    Poll,
    /// What a channel sends.
    Send,
}

impl Purpose {
    /// Name lookup, TCP and TLS handshake together.
    const fn connect_timeout(self) -> Duration {
        match self {
            Self::Model => MODEL_CONNECT,
            Self::Poll | Self::Send => CHANNEL_CONNECT,
        }
    }

    /// Idle connections that are kept per host.
    const fn idle_connections(self) -> usize {
        match self {
            Self::Model => 16,
            Self::Poll => 1,
            Self::Send => 16,
        }
    }
}

/// Where requests go: scheme, host and port, checked once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(Url);

impl Origin {
    /// Reads `https://host[:port]`, or `http://` if the host is this machine (127.0.0.0/8, `[::1]`, `localhost`).
    pub fn parse(text: &str) -> Result<Self, EgressError> {
        let refuse = |why| Err(EgressError::Address(why));
        let Ok(url) = Url::parse(text) else { return refuse("it is no URL") };
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("it holds a user name or password");
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return refuse("it must be scheme, host and port alone");
        }
        match (url.scheme(), url.host_str()) {
            (_, None) => refuse("it has no host"),
            ("https", Some(_)) => Ok(Self(url)),
            ("http", Some(host)) if is_this_machine(host) => Ok(Self(url)),
            ("http", Some(_)) => refuse("http is for this machine only (127.0.0.1, [::1], localhost); use https"),
            _ => refuse("the scheme must be https"),
        }
    }

    /// The address of `path` (which begins with a slash) at this origin. A `?` in it is escaped, not a query.
    fn at(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(path);
        url
    }
}

/// Literal loopback addresses and the one name that the resolver answers with them.
fn is_this_machine(host: &str) -> bool {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || literal.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Why there is no answer. No variant ever shows an address with its path: paths may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// Nothing may be sent there. Nothing was sent.
    #[error("this address may not be used: {0}")]
    Address(&'static str),
    /// The request or the client could not be made. Nothing was sent.
    #[error("the request could not be made: {0}")]
    Build(String),
    /// No connection. Nothing was sent.
    #[error("not connected: {0}")]
    NotConnected(String),
    /// The connection broke; the request may have been received and acted upon.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The answer did not come in time; the request may have been received and acted upon.
    #[error("no answer in time")]
    Timeout,
    /// The answer is longer than the caller accepts.
    #[error("the answer is longer than {max} bytes")]
    TooLarge {
        /// Bytes that would have been accepted.
        max: usize,
    },
}

impl EgressError {
    /// It is certain that the service never saw the request. HTTP libraries cannot say whether bytes were written to a
    /// connection once it stood, so everything after the handshake counts as uncertain.
    #[must_use]
    pub const fn nothing_was_sent(&self) -> bool {
        matches!(self, Self::Address(_) | Self::Build(_) | Self::NotConnected(_))
    }
}

impl From<reqwest::Error> for EgressError {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_builder() {
            Self::Build(describe(&error))
        } else if error.is_connect() {
            Self::NotConnected(describe(&error))
        } else if error.is_timeout() {
            Self::Timeout
        } else {
            Self::Broken(describe(&error))
        }
    }
}

/// The causes below the outermost sentence, which only says that it did not work.
fn describe(error: &reqwest::Error) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !causes.iter().any(|seen| seen.contains(&text)) {
            causes.push(text);
        }
        source = cause.source();
    }
    if causes.is_empty() {
        causes.push(error.to_string());
    }
    causes.join(": ").chars().take(DESCRIPTION_CHARS_MAX).collect()
}

/// The home of the HTTP client.
#[derive(Clone)]
pub struct Egress {
    tls: rustls::ClientConfig,
    resolver: resolver::Resolver,
}

impl Egress {
    /// Reads the system's certificates (none is fine, the web's roots are built in). Looks no name up and opens no
    /// connection. Fails only if the TLS library refuses its own defaults.
    pub fn new() -> Result<Self, EgressError> {
        Ok(Self { tls: tls::config()?, resolver: resolver::Resolver::default() })
    }

    /// Makes every client look names up again, from the system's configuration of that moment.
    pub fn forget_addresses(&self) {
        self.resolver.forget();
    }

    /// A client with connections of its own; clones of it share them.
    pub fn client(&self, purpose: Purpose) -> Result<Client, EgressError> {
        #[expect(clippy::disallowed_methods, reason = "this is the one HTTP client")]
        let builder = reqwest::Client::builder();
        let http = builder
            .user_agent(concat!("blufio/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(self.tls.clone())
            .dns_resolver(self.resolver.clone())
            .connect_timeout(purpose.connect_timeout())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(purpose.idle_connections())
            .tcp_keepalive(TCP_KEEPALIVE)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .http1_only()
            .referer(false)
            .build()?;
        Ok(Client { http })
    }
}

/// Sends requests of one purpose.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
}

impl Client {
    /// A request to `path`, which begins with a slash.
    pub fn post(&self, origin: &Origin, path: &str) -> RequestBuilder {
        self.http.request(Method::POST, origin.at(path))
    }

    /// A request to `path`, which begins with a slash.
    pub fn get(&self, origin: &Origin, path: &str) -> RequestBuilder {
        self.http.request(Method::GET, origin.at(path))
    }
}

/// Sends a request made by a [`Client`] and waits for the head of the answer, whatever its status.
///
/// Only the connection has a timeout of its own; the caller wraps the rest.
pub async fn send(request: RequestBuilder) -> Result<Response, EgressError> {
    Ok(request.send().await?)
}

/// The next piece of a body; `None` at its end.
pub async fn chunk(response: &mut Response) -> Result<Option<bytes::Bytes>, EgressError> {
    Ok(response.chunk().await?)
}

/// The whole body, at most `max` bytes; a longer one is not read to its end.
pub async fn read_capped(mut response: Response, max: usize) -> Result<Vec<u8>, EgressError> {
    let announced = response.content_length().map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    if announced.is_some_and(|length| length > max) {
        return Err(EgressError::TooLarge { max });
    }
    let mut body = Vec::new();
    while let Some(piece) = chunk(&mut response).await? {
        if piece.len() > max - body.len() {
            return Err(EgressError::TooLarge { max });
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn origins() {
        let check = |text: &str, fine: bool| assert_eq!(Origin::parse(text).is_ok(), fine, "{text}");
        check("https://api.anthropic.com", true);
        check("https://api.telegram.org/", true);
        check("http://127.0.0.1:9", true);
        check("http://127.8.8.8", true);
        check("http://[::1]:80", true);
        check("http://localhost:80", true);
        check("http://api.anthropic.com", false);
        check("http://10.0.0.1", false);
        check("http://localhost.example.org", false);
        check("http://[::ffff:10.0.0.1]", false);
        check("https://user:secret@example.org", false);
        check("https://example.org/path", false);
        check("https://example.org/?a=b", false);
        check("ftp://example.org", false);
        check("unix:/tmp/x", false);
        check("", false);
    }

    #[test]
    fn a_path_cannot_change_the_host_or_add_a_query() {
        let origin = Origin::parse("https://example.org").unwrap();
        assert_eq!(origin.at("/bot1:a_b/getMe").as_str(), "https://example.org/bot1:a_b/getMe");
        assert_eq!(origin.at("/a?b#c").as_str(), "https://example.org/a%3Fb%23c");
        assert_eq!(origin.at("//evil.example/").host_str(), Some("example.org"));
    }

    #[test]
    fn a_client_is_built_for_every_purpose() {
        let egress = Egress::new().unwrap();
        for purpose in [Purpose::Model, Purpose::Poll, Purpose::Send] {
            assert!(egress.client(purpose).is_ok());
        }
    }
}
