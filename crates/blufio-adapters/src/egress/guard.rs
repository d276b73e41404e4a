//! What may be reached: pure checks of addresses as they are written and of addresses that names lead to.
//!
//! A text is parsed once, as browsers do (WHATWG URL), and only the parsed form is looked at and used from then on; so it does
//! not matter how somebody spells a forbidden place. Whatever is not known to be public is refused. This file opens no socket
//! and looks no name up.

use reqwest::Url;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of an address. Longer: refused.
pub const URL_BYTES_MAX: usize = 4 * 1024;
/// The port of https, open to every caller that may reach the web.
const HTTPS: u16 = 443;
/// Names that are never looked up, the zones with everything below them: they mean this machine, its network or the service
/// that gives a rented machine its keys.
const NAMES_DENIED: [&str; 3] = ["metadata.azure.com", "metadata.tencentyun.com", "metadata.platformequinix.com"];
const ZONES_DENIED: [&str; 5] = ["localhost", "local", "internal", "home.arpa", "localdomain"];

/// Why an address may not be used. The words are for the model and the operator; they repeat nothing of the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It cannot be parsed, or is too long.
    #[error("it is no valid address; write https://host/path")]
    Unreadable,
    /// Another scheme than https, or http to somewhere that the operator has not named.
    #[error("the scheme must be https")]
    Scheme,
    /// From https to http.
    #[error("it leads from https to http")]
    Downgrade,
    /// It carries a user name or a password.
    #[error("it carries a user name or a password")]
    Credentials,
    /// The caller may not speak to this host.
    #[error("this host is not one that may be reached")]
    Host,
    /// The caller may not use this port.
    #[error("this port may not be used; only 443 is open")]
    Port,
    /// A name of this machine or of a private network.
    #[error("the name belongs to this machine or to a private network")]
    Name,
    /// An address that is not on the public internet.
    #[error("the address is this machine's or belongs to a private or reserved network, not to the public internet")]
    Address,
    /// More redirects than are followed.
    #[error("it redirects too often")]
    Redirects,
}

/// A host as parsed: a name in ASCII and lower case without the dot at its end, or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name that has to be looked up.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl Host {
    fn of(url: &Url) -> Result<Self, Denied> {
        let text = url.host_str().ok_or(Denied::Unreadable)?;
        let literal = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = literal.parse() {
            return Ok(Self::Address(address));
        }
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(plain);
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.len() > 253 || !name.split('.').all(label) {
            return Err(Denied::Unreadable);
        }
        Ok(Self::Name(name.to_owned()))
    }
}

/// A place that the operator has named: its host may be private, at this port alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    host: Host,
    port: u16,
}

impl Place {
    /// Reads `host:port`; an IPv6 address stands in brackets. `None` if it is malformed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port: u16 = port.parse().ok().filter(|port| digits && *port != 0)?;
        // Nothing but a host: what else the parser would take is refused before it can.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'[' | b']' | b':');
        if !host.bytes().all(plain) {
            return None;
        }
        let url = Url::parse(&format!("https://{host}/")).ok()?;
        if url.port().is_some() {
            return None;
        }
        Some(Self { host: Host::of(&url).ok()?, port })
    }

    /// Addresses that the operator may have meant by it.
    fn admits(&self, address: IpAddr) -> bool {
        match &self.host {
            Host::Address(named) => *named == address,
            // A name may lead into the operator's network, but not to addresses that no host has or that are a machine's
            // own link: there the keys of rented machines are given out.
            Host::Name(_) => is_public(address) || is_of_a_network(address),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(formatter, "{name}:{}", self.port),
            Host::Address(IpAddr::V4(address)) => write!(formatter, "{address}:{}", self.port),
            Host::Address(IpAddr::V6(address)) => write!(formatter, "[{address}]:{}", self.port),
        }
    }
}

/// The hosts of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    /// Any that is public.
    Public,
    /// This one.
    One(Host),
}

/// What one caller may reach. Everything else is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    hosts: Hosts,
    ports: Vec<u16>,
    places: Vec<Place>,
}

impl Allow {
    /// Any public host over https, and the places that the operator has named, there over http too.
    #[must_use]
    pub fn web(places: Vec<Place>) -> Self {
        Self { hosts: Hosts::Public, ports: vec![HTTPS], places }
    }

    /// The same with one more port. A test has no server at the port of https.
    #[must_use]
    pub(super) fn and_port(mut self, port: u16) -> Self {
        self.ports.push(port);
        self
    }

    /// The host and port of a service that the operator has configured, and nothing else. An address that is written out, and
    /// `localhost`, may be used as they are; a name must lead to public addresses or be among the `places`.
    pub(super) fn service(url: &Url, places: &[Place]) -> Result<Self, Denied> {
        let host = Host::of(url)?;
        let port = url.port_or_known_default().ok_or(Denied::Port)?;
        let own = Place { host: host.clone(), port };
        let as_written = match &host {
            Host::Address(_) => true,
            Host::Name(name) => name == "localhost",
        };
        let places = if as_written || places.contains(&own) { vec![own] } else { Vec::new() };
        Ok(Self { hosts: Hosts::One(host), ports: vec![port], places })
    }

    fn place(&self, host: &Host, port: u16) -> Option<&Place> {
        self.places.iter().find(|place| place.host == *host && place.port == port)
    }
}

/// An address that one caller may try to reach, as far as it can be judged before its name is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    url: Url,
    host: Host,
    port: u16,
    place: Option<Place>,
}

impl Target {
    /// Judges an address as it is written.
    ///
    /// # Errors
    /// It may not be used.
    pub fn parse(text: &str, allow: &Allow) -> Result<Self, Denied> {
        if text.len() > URL_BYTES_MAX {
            return Err(Denied::Unreadable);
        }
        Self::of(Url::parse(text).map_err(|_| Denied::Unreadable)?, allow)
    }

    /// Judges where an answer redirects to: from the start, and never from https to http.
    ///
    /// # Errors
    /// It may not be used.
    pub fn redirected(&self, location: &str, allow: &Allow) -> Result<Self, Denied> {
        if location.len() > URL_BYTES_MAX {
            return Err(Denied::Unreadable);
        }
        let url = self.url.join(location).map_err(|_| Denied::Unreadable)?;
        if self.url.scheme() == "https" && url.scheme() == "http" {
            return Err(Denied::Downgrade);
        }
        Self::of(url, allow)
    }

    fn of(mut url: Url, allow: &Allow) -> Result<Self, Denied> {
        if !matches!(url.scheme(), "https" | "http") {
            return Err(Denied::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Denied::Credentials);
        }
        let host = Host::of(&url)?;
        if let Host::Name(name) = &host {
            // Without the dot at the end, certificates and `Host` have one spelling. It cannot become an address by that.
            url.set_host(Some(name)).map_err(|_| Denied::Unreadable)?;
            if Host::of(&url)? != host {
                return Err(Denied::Unreadable);
            }
        }
        let port = url.port_or_known_default().ok_or(Denied::Port)?;
        let place = allow.place(&host, port).cloned();
        if place.is_none() {
            if url.scheme() != "https" {
                return Err(Denied::Scheme);
            }
            allow.hosts.check(&host)?;
            if !allow.ports.contains(&port) {
                return Err(Denied::Port);
            }
        }
        url.set_fragment(None);
        let target = Self { url, host, port, place };
        match &target.host {
            Host::Address(address) => target.check(*address)?,
            Host::Name(name) if target.place.is_none() && is_private_name(name) => return Err(Denied::Name),
            Host::Name(_) => {}
        }
        Ok(target)
    }

    /// Judges an address that the host's name leads to.
    ///
    /// # Errors
    /// It may not be used.
    pub fn check(&self, address: IpAddr) -> Result<(), Denied> {
        let admitted = match &self.place {
            Some(place) => place.admits(address),
            None => is_public(address),
        };
        if admitted { Ok(()) } else { Err(Denied::Address) }
    }

    /// The operator has named it, so that even an address of this machine is meant.
    pub(super) fn is_named(&self) -> bool {
        self.place.is_some()
    }

    /// What is asked for, without a fragment.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Its host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Hosts {
    fn check(&self, host: &Host) -> Result<(), Denied> {
        match self {
            Self::Public => Ok(()),
            Self::One(one) if one == host => Ok(()),
            Self::One(_) => Err(Denied::Host),
        }
    }
}

/// Names that never leave a private network. A name without a dot is completed by the machine's search list.
fn is_private_name(name: &str) -> bool {
    let below = |zone: &str| name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !name.contains('.') || ZONES_DENIED.iter().any(|zone| below(zone)) || NAMES_DENIED.contains(&name)
}

/// Whether an address is a global unicast address of the public internet (IANA's special-purpose registries).
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
            | [224..=255, ..]
    )
}

/// Only 2000::/3 is given out. What lies outside needs no list: `::`, loopback, mapped and embedded IPv4, NAT64, discard,
/// segment routing, unique local, link local, site local, multicast.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let given_out = first & 0xe000 == 0x2000;
    let special = match first {
        // 2001::/23 (Teredo, benchmarking, ORCHID and others) and documentation.
        0x2001 => second < 0x0200 || second == 0x0db8,
        // 6to4 holds an IPv4 address.
        0x2002 => true,
        0x3fff => second < 0x1000,
        _ => false,
    };
    given_out && !special
}

/// Addresses of hosts in private networks and of this machine.
fn is_of_a_network(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_loopback() || address.is_private() || matches!(address.octets(), [100, 64..=127, ..])
        }
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}

#[cfg(test)]
mod tests;
