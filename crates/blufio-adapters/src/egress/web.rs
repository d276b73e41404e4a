//! The client for the open web: every address is judged, looked up once, and connected to as it was judged.
//!
//! It sends GET with the same few headers to everybody: no cookies, no referrer, so a redirect has nothing to carry along. A
//! secret can be sent to the origin that was asked, over https; it stays behind where a redirect leaves that origin. Each hop has a client and a connection of its own. Nothing is pooled: a connection that was judged under one
//! name and port cannot serve another.

use super::body::read_unpacked;
use super::guard::{Allow, Denied, Host, Target};
use super::own::is_own;
use super::{Egress, EgressError, Lab, send};
use blufio_core::leak::Leaks;
use blufio_core::port::{Credential, HopEnd, Hops};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
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
    /// There was a secret to send, and it was not sent to where this comes from.
    pub kept_back: bool,
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
    /// The same, after a redirect to another origin, to which the secret was not sent.
    #[error("the server answered {0} without the secret")]
    KeptBack(u16),
    /// It leads to an address in which the secret stands. Nothing was sent there.
    #[error("it leads to an address that holds the secret")]
    Leads,
    /// There was no complete answer.
    #[error(transparent)]
    Failed(#[from] EgressError),
}

/// A header with a secret, for the origin of one request.
pub struct Carried {
    header: HeaderName,
    value: HeaderValue,
    leaks: Leaks,
}

impl Carried {
    /// Takes a credential; from now on its value is taken out of whatever goes through `leaks`. `None` if it does not fit into
    /// a header.
    #[must_use]
    pub fn new(credential: &Credential, leaks: &Leaks) -> Option<Self> {
        leaks.learn([(credential.name.as_str(), credential.value.expose())]);
        let header = HeaderName::from_bytes(credential.slot.header().as_bytes()).ok()?;
        let mut value = HeaderValue::from_str(credential.slot.filled(&credential.value).expose()).ok()?;
        value.set_sensitive(true);
        Some(Self { header, value, leaks: leaks.clone() })
    }
}

/// Whether a secret may go there at all: over https, or over http to an address of this machine that the operator has named.
#[must_use]
pub fn takes_secrets(target: &Target) -> bool {
    let here = matches!(target.host(), Host::Address(address) if address.is_loopback());
    target.url().scheme() == "https" || (here && target.is_named())
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

    /// Fetches what is there, following at most three redirects, each judged like the first address and noted in `hops`.
    ///
    /// # Errors
    /// It may not be used, was not reached, or answered with something else than a body within the limits.
    pub async fn get(&self, target: Target, hops: &Hops) -> Result<Fetched, WebError> {
        self.get_with(target, None, hops).await
    }

    /// The same with a secret for the origin of `target`. Whoever asks has looked at [`takes_secrets`].
    ///
    /// # Errors
    /// As with [`Web::get`].
    pub async fn get_with(&self, target: Target, carried: Option<&Carried>, hops: &Hops) -> Result<Fetched, WebError> {
        let late = |_| WebError::Failed(EgressError::Timeout);
        tokio::time::timeout(self.limits.total, self.follow(target, carried, hops)).await.map_err(late)?
    }

    async fn follow(&self, mut target: Target, carried: Option<&Carried>, hops: &Hops) -> Result<Fetched, WebError> {
        let origin = target.url().origin();
        // Once left behind it stays behind, even where a redirect leads back: another place has chosen that address.
        let mut carries = carried.filter(|_| takes_secrets(&target));
        for _ in 0..=REDIRECTS_MAX {
            hops.begin(origin_of(target.url()));
            let response = self.hop(&target, carries).await.inspect_err(|error| {
                if let WebError::Denied(why) = error {
                    hops.end(HopEnd::Refused(why.to_string()));
                }
            })?;
            hops.end(HopEnd::Answered);
            let (status, kept_back) = (response.status(), carried.is_some() && carries.is_none());
            if status.is_success() {
                return Ok(Fetched { kept_back, ..self.read(target, response).await? });
            }
            let location = response.headers().get(header::LOCATION);
            let Some(location) = location.filter(|_| redirects(status)) else {
                let status = status.as_u16();
                return Err(if kept_back { WebError::KeptBack(status) } else { WebError::Status(status) });
            };
            let location = location.to_str().map_err(|_| Denied::Unreadable);
            let next = location.and_then(|location| target.redirected(location, &self.allow));
            target = next.inspect_err(|why| {
                let url = location.ok().and_then(|location| target.url().join(location).ok());
                hops.refuse(written_origin(url.as_ref()), why);
            })?;
            if carried.is_some_and(|carried| carried.leaks.holds_exact(target.url().as_str()).is_some()) {
                hops.refuse(origin_of(target.url()), &WebError::Leads);
                return Err(WebError::Leads);
            }
            carries = carries.filter(|_| target.url().origin() == origin);
        }
        hops.refuse(origin_of(target.url()), &Denied::Redirects);
        Err(Denied::Redirects.into())
    }

    async fn read(&self, target: Target, response: Response) -> Result<Fetched, WebError> {
        let content_type = response.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let status = response.status().as_u16();
        let body = read_unpacked(response, self.limits.body_bytes).await?;
        Ok(Fetched { url: target.url().clone(), status, content_type, body, kept_back: false })
    }

    async fn hop(&self, target: &Target, carried: Option<&Carried>) -> Result<Response, WebError> {
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
        if let Some(Carried { header, value, .. }) = carried {
            headers.insert(header, value.clone());
        }
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

/// Scheme, host and port, and nothing else of an address.
fn origin_of(url: &Url) -> String {
    let origin = url.origin();
    if origin.is_tuple() { origin.ascii_serialization() } else { format!("{}:", url.scheme()) }
}

/// The same of what may be no address.
pub(crate) fn written_origin(url: Option<&Url>) -> String {
    url.map_or_else(|| "(unreadable)".to_owned(), origin_of)
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
