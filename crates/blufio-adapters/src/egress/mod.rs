//! The one way out over HTTP: address rules, roots of trust, name lookups, connection pools, capped bodies.
//!
//! Every adapter that talks to a service gets its [`Client`] here, so that these rules have one home: https, or http to
//! this machine only; no proxies, no redirects, HTTP/1.1; names are never looked up through the C library. A client speaks to
//! the one service it was made for; [`web::Web`] is the one that goes wherever a model says, as far as [`guard`] lets it. It
//! refuses to know any API that is spoken on top of it, and it never tries a request again: only the caller knows whether
//! that is safe.

mod body;
mod family;
pub mod guard;
pub mod local;
mod own;
mod resolver;
mod tls;
pub mod web;

pub use family::IpFamily;

use blufio_core::limits::MODEL_CONNECT;
use guard::{Allow, Place, Target};
use reqwest::{ClientBuilder, Method, RequestBuilder, Response, Url};
use rustls::ClientConfig;
use std::collections::BTreeMap;
use std::error::Error as _;
use std::net::{IpAddr, SocketAddr};
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
    /// The answer came in a form that cannot or must not be read.
    #[error("the answer cannot be read: {0}")]
    Unreadable(&'static str),
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
    tls: ClientConfig,
    resolver: resolver::Resolver,
    places: Vec<Place>,
    lab: Lab,
}

/// What only tests set: a world of their own instead of the internet. No rule is weaker by it; what was judged is reached
/// elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Lab {
    /// The only name server.
    pub name_server: Option<SocketAddr>,
    /// A certificate (DER) that is trusted besides the others.
    pub root: Option<Vec<u8>>,
    /// One more port that is open to the web client.
    pub port: Option<u16>,
    /// Where the web client finds a server in place of a public address that a name led to. Port 0 leaves the request's.
    pub stand_ins: BTreeMap<IpAddr, SocketAddr>,
}

impl Egress {
    /// Reads the system's certificates (none is fine, the web's roots are built in). Looks no name up and opens no
    /// connection. Fails only if the TLS library refuses its own defaults.
    pub fn new() -> Result<Self, EgressError> {
        Self::in_a_lab(Lab::default())
    }

    /// The same for a test.
    pub fn in_a_lab(lab: Lab) -> Result<Self, EgressError> {
        let resolver = resolver::Resolver::default();
        let resolver = match lab.name_server {
            Some(server) => resolver.of_server(server),
            None => resolver,
        };
        Ok(Self { tls: tls::config(lab.root.as_deref())?, resolver, places: Vec::new(), lab })
    }

    /// Clients made from the result may reach these places besides what is public: the operator has named them.
    #[must_use]
    pub fn with_places(self, places: Vec<Place>) -> Self {
        Self { places, ..self }
    }

    /// Clients made from the result use addresses of `family` alone for hosts that are given by name.
    #[must_use]
    pub fn of_family(self, family: IpFamily) -> Self {
        Self { resolver: self.resolver.of_family(family), ..self }
    }

    /// Makes every client look names up again, from the system's configuration of that moment. Said three times without an
    /// answer in between, it also makes them try the other address family first.
    pub fn forget_addresses(&self) {
        self.resolver.forget();
    }

    /// A client of one service with connections of its own; clones of it share them. A pooled connection was judged when it
    /// was made, and leads to the same service.
    pub fn client(&self, purpose: Purpose, origin: &Origin) -> Result<Client, EgressError> {
        let denied = |denied: guard::Denied| EgressError::Build(denied.to_string());
        let allow = Allow::service(&origin.0, &self.places).map_err(denied)?;
        let service = Target::parse(origin.0.as_str(), &allow).map_err(denied)?;
        let http = self
            .builder(&self.tls)
            .dns_resolver(resolver::ServiceResolver { resolver: self.resolver.clone(), service })
            .connect_timeout(purpose.connect_timeout())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(purpose.idle_connections())
            .tcp_keepalive(TCP_KEEPALIVE)
            .build()?;
        Ok(Client { http, origin: origin.clone() })
    }

    /// What all clients have in common.
    fn builder(&self, tls: &ClientConfig) -> ClientBuilder {
        #[expect(clippy::disallowed_methods, reason = "this is the one HTTP client")]
        let builder = reqwest::Client::builder();
        builder
            .user_agent(concat!("blufio/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls.clone())
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .http1_only()
            .referer(false)
    }
}

/// Sends requests of one purpose to one service.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    origin: Origin,
}

impl Client {
    /// A request to `path`, which begins with a slash.
    pub fn post(&self, path: &str) -> RequestBuilder {
        self.http.request(Method::POST, self.origin.at(path))
    }

    /// A request to `path`, which begins with a slash.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.ask(path, &[])
    }

    /// The same with a query.
    pub fn ask(&self, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.origin.at(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http.request(Method::GET, url)
    }
}

/// Sends a request made by a [`Client`] and waits for the head of the answer, whatever its status.
///
/// Only the connection has a timeout of its own; the caller wraps the rest.
pub async fn send(request: RequestBuilder) -> Result<Response, EgressError> {
    match request.send().await {
        Ok(response) => {
            if let (Some(host), Some(from)) = (response.url().host_str(), response.remote_addr()) {
                family::FAMILIES.worked(host, from.ip());
            }
            Ok(response)
        }
        Err(error) => {
            if let (true, Some(host)) = (error.is_connect(), error.url().and_then(Url::host_str)) {
                family::FAMILIES.failed(host);
            }
            Err(error.into())
        }
    }
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
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::disallowed_methods,
        reason = "a test fills a listener's queue itself"
    )]
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpSocket, TcpStream};

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

    /// An HTTP server that answers every request of a connection with nothing.
    async fn serve(listener: TcpListener) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            while stream.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
        }
    }

    /// A port of this machine that answers over IPv4; over IPv6, attempts to connect are never answered: the kernel drops
    /// them while the queue of a listener that accepts nobody is full. `None` where there is no IPv6.
    async fn half_dead_port() -> Option<(TcpListener, Vec<TcpStream>, TcpListener)> {
        for _ in 0..20 {
            let alive = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = SocketAddr::from((Ipv6Addr::LOCALHOST, alive.local_addr().unwrap().port()));
            let socket = TcpSocket::new_v6().ok()?;
            if let Err(error) = socket.bind(address) {
                if error.kind() == std::io::ErrorKind::AddrInUse {
                    continue;
                }
                return None;
            }
            let dead = socket.listen(1).unwrap();
            let mut waiting = Vec::new();
            while let Ok(stream) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
                waiting.push(stream.unwrap());
                assert!(waiting.len() < 100, "the queue never fills");
            }
            return Some((alive, waiting, dead));
        }
        panic!("no port is free in both families");
    }

    #[tokio::test]
    async fn a_family_that_leads_nowhere_costs_a_moment_once() {
        let Some((alive, _waiting, _dead)) = half_dead_port().await else {
            eprintln!("skipped: this machine has no IPv6");
            return;
        };
        let origin = Origin::parse(&format!("http://localhost:{}", alive.local_addr().unwrap().port())).unwrap();
        let egress = Egress::new().unwrap();
        let get = |egress: &Egress| {
            let request = egress.client(Purpose::Send, &origin).unwrap().get("/");
            tokio::time::timeout(Duration::from_secs(5), send(request))
        };
        let order = async || {
            let service = Target::parse(origin.0.as_str(), &Allow::service(&origin.0, &[]).unwrap()).unwrap();
            let found = egress.resolver.of_service("localhost", &service).await.unwrap();
            found.iter().map(IpAddr::is_ipv6).collect::<Vec<bool>>()
        };
        tokio::select! {
            () = serve(alive) => {}
            () = async {
                assert_eq!(order().await, [false, true]);
                for _ in 0..3 {
                    egress.forget_addresses();
                }
                assert_eq!(order().await, [true, false], "three doubts without an answer");
                assert_eq!(get(&egress).await.unwrap().unwrap().status().as_u16(), 200, "first reply within 5 s");
                assert_eq!(order().await, [false, true], "what answered comes first from now on");
                assert!(get(&egress.clone().of_family(IpFamily::V4)).await.unwrap().is_ok());
                let hangs = get(&egress.clone().of_family(IpFamily::V6));
                assert!(tokio::time::timeout(Duration::from_millis(600), hangs).await.is_err(), "it is a black hole");
            } => {}
        }
    }

    #[test]
    fn a_client_is_built_for_every_purpose() {
        let egress = Egress::new().unwrap();
        for purpose in [Purpose::Model, Purpose::Poll, Purpose::Send] {
            assert!(egress.client(purpose, &Origin::parse("https://example.org").unwrap()).is_ok());
        }
    }
}
