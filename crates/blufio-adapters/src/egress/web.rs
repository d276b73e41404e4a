//! The client for the open web: every address is judged, looked up once, and connected to as it was judged.
//!
//! It sends GET with the same few headers to everybody: no cookies, no credentials, no referrer, so a redirect has nothing to
//! carry along. Each hop has a client and a connection of its own. Nothing is pooled: a connection that was judged under one
//! name and port cannot serve another.

use super::body::read_unpacked;
use super::guard::{Allow, Denied, Host, Target};
use super::own::is_own;
use super::{Egress, EgressError, Lab, send};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use rustls::client::Resumption;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Redirects of one request. More: refused.
const REDIRECTS_MAX: usize = 3;
/// Headers that every request has.
const ACCEPT: HeaderValue =
    HeaderValue::from_static("text/html,text/markdown,text/plain;q=0.9,application/json;q=0.8,*/*;q=0.1");

/// Limits of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebLimits {
    /// Name lookup, TCP and TLS handshake of one hop. Over: not reached.
    pub connect: Duration,
    /// The whole request with its redirects and body. Over: given up.
    pub total: Duration,
    /// Bytes of the unpacked body. More: refused.
    pub body_bytes: usize,
}

impl Default for WebLimits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), total: Duration::from_secs(30), body_bytes: 10 * 1024 * 1024 }
    }
}

/// What came back from the place that answered in the end.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Where that was.
    pub url: Url,
    /// The status of HTTP, 2xx.
    pub status: u16,
    /// The header `content-type`, if it is text.
    pub content_type: Option<String>,
    /// The unpacked body.
    pub body: Vec<u8>,
}

/// Why there is no page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    /// The address, or one that it leads to, may not be used. Nothing was sent there.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The server answered with a status that brings no page.
    #[error("the server answered {0}")]
    Status(u16),
    /// There was no complete answer.
    #[error(transparent)]
    Failed(#[from] EgressError),
}

/// A client for the open web.
#[derive(Clone)]
pub struct Web {
    egress: Egress,
    allow: Allow,
    limits: WebLimits,
}

impl Egress {
    /// A client for public hosts over https and for the places that the operator has named.
    #[must_use]
    pub fn web(&self, limits: WebLimits) -> Web {
        let mut egress = self.clone();
        // What the web makes us look up is kept apart from the services, too. Tickets would let servers recognise each other's visitors, and push the operator's services out of the memory.
        egress.tls.resumption = Resumption::disabled();
        egress.resolver = egress.resolver.apart();
        let allow = Allow::web(self.places.clone());
        let allow = match self.lab.port {
            Some(port) => allow.and_port(port),
            None => allow,
        };
        Web { egress, allow, limits }
    }
}

impl Web {
    /// Judges an address without asking anybody.
    ///
    /// # Errors
    /// It may not be used.
    pub fn target(&self, url: &str) -> Result<Target, Denied> {
        Target::parse(url, &self.allow)
    }

    /// Fetches what is there, following at most three redirects, each judged like the first address.
    ///
    /// # Errors
    /// It may not be used, was not reached, or answered with something else than a body within the limits.
    pub async fn get(&self, target: Target) -> Result<Fetched, WebError> {
        let late = |_| WebError::Failed(EgressError::Timeout);
        tokio::time::timeout(self.limits.total, self.follow(target)).await.map_err(late)?
    }

    async fn follow(&self, mut target: Target) -> Result<Fetched, WebError> {
        for _ in 0..=REDIRECTS_MAX {
            let response = self.hop(&target).await?;
            let status = response.status();
            if status.is_success() {
                return self.read(target, response).await;
            }
            let location = response.headers().get(header::LOCATION);
            let Some(location) = location.filter(|_| redirects(status)) else {
                return Err(WebError::Status(status.as_u16()));
            };
            target = target.redirected(location.to_str().map_err(|_| Denied::Unreadable)?, &self.allow)?;
        }
        Err(Denied::Redirects.into())
    }

    async fn read(&self, target: Target, response: Response) -> Result<Fetched, WebError> {
        let content_type = response.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let status = response.status().as_u16();
        let body = read_unpacked(response, self.limits.body_bytes).await?;
        Ok(Fetched { url: target.url().clone(), status, content_type, body })
    }

    async fn hop(&self, target: &Target) -> Result<Response, WebError> {
        let addresses = self.addresses(target).await?;
        let http = self
            .egress
            .builder(&self.egress.tls)
            .dns_resolver(Looked(addresses))
            .connect_timeout(self.limits.connect)
            .pool_max_idle_per_host(0)
            .build()
            .map_err(EgressError::from)?;
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, ACCEPT);
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        Ok(send(http.request(Method::GET, target.url().clone()).headers(headers)).await?)
    }

    /// Where to connect: every address of the name, all of which must be allowed. It is looked up here and never again, so
    /// that the answer which was judged is the one that is used.
    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, WebError> {
        let found = match target.host() {
            Host::Address(address) => vec![*address],
            Host::Name(name) => {
                let lookup = tokio::time::timeout(self.limits.connect, self.egress.resolver.find(name)).await;
                lookup.map_err(|_| EgressError::NotConnected("the name was not found in time".to_owned()))??
            }
        };
        for address in &found {
            judge(target, *address)?;
        }
        Ok(found.into_iter().map(|address| self.egress.lab.reach(SocketAddr::new(address, 0))).collect())
    }
}

/// The rules for an address that a host has: those of the guard, and it must not be one of this machine's own, unless the
/// operator has named the host.
pub(super) fn judge(target: &Target, address: IpAddr) -> Result<(), Denied> {
    target.check(address)?;
    if !target.is_named() && is_own(address) {
        return Err(Denied::Address);
    }
    Ok(())
}

fn redirects(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Gives out what was looked up and judged before.
struct Looked(Vec<SocketAddr>);

impl Resolve for Looked {
    fn resolve(&self, _name: Name) -> Resolving {
        let addresses: Addrs = Box::new(self.0.clone().into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

impl Lab {
    /// Where an address that was judged is reached.
    fn reach(&self, address: SocketAddr) -> SocketAddr {
        self.stand_ins.get(&address.ip()).copied().unwrap_or(address)
    }
}
