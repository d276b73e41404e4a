//! The origin of an HTTP server (scheme, host, port; RFC 6454) as an operator writes it.
//!
//! It refuses to know paths, credentials and name resolution. Plain `http` is accepted only to this machine.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Deserialize;

use super::diagnostic::excerpt_of_value;
use super::kind::Problem;

/// An `https` origin, or an `http` origin on loopback, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(try_from = "String")]
pub struct Endpoint {
    text: String,
    loopback: bool,
}

impl TryFrom<String> for Endpoint {
    type Error = Problem;

    fn try_from(text: String) -> Result<Self, Problem> {
        Self::parse(&text)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Endpoint {
    /// Reads an origin; one slash at the end is dropped. Anything else than scheme, host and port is refused.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let example = "write it as `https://host` or `https://host:port`";
        let lower = text.to_ascii_lowercase();
        let (https, rest) = match (lower.strip_prefix("https://"), lower.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(Problem::new("must start with `https://`").hint(example)),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('@') {
            return Err(Problem::new("must not carry a user name or a password").hint(example));
        }
        if authority.contains(['/', '?', '#']) {
            return Err(Problem::new("must end after host and port").hint(example));
        }
        let Some(loopback) = loopback(authority) else {
            return Err(Problem::new(format!("has no valid host and port: `{}`", excerpt_of_value(text))).hint(example));
        };
        if !https && !loopback {
            return Err(Problem::new("must use `https`: `http` is accepted only to loopback")
                .hint("a loopback host is `127.0.0.1`, `[::1]` or `localhost`"));
        }
        let scheme = if https { "https" } else { "http" };
        Ok(Self { text: format!("{scheme}://{authority}"), loopback })
    }

    /// `scheme://host[:port]`, in lower case, without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True if the host is this machine.
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }
}

/// Whether `host[:port]` is this machine; `None` if it is malformed.
fn loopback(authority: &str) -> Option<bool> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        let address: Ipv6Addr = host.parse().ok()?;
        return valid_port(port).then(|| address.is_loopback());
    }
    let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
    if !valid_port(port) {
        return None;
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Some(address.is_loopback());
    }
    valid_name(host).then_some(host == "localhost")
}

/// Empty, or a colon and a port from 1 to 65535.
fn valid_port(text: &str) -> bool {
    let Some(digits) = text.strip_prefix(':') else { return text.is_empty() };
    digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|port| port != 0)
}

/// A host name. One whose last label is a number is an IPv4 address to many libraries (`127.1`), so it is refused here.
fn valid_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let last = host.rsplit('.').next().unwrap_or(host);
    let numeric = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
    host.len() <= 253 && host.split('.').all(label) && !numeric
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Endpoint;

    fn check(input: &str, expect: Option<(&str, bool)>) {
        let parsed = Endpoint::parse(input).ok();
        assert_eq!(parsed.as_ref().map(|endpoint| (endpoint.as_str(), endpoint.is_loopback())), expect, "{input}");
    }

    #[test]
    fn origins() {
        check("https://api.anthropic.com", Some(("https://api.anthropic.com", false)));
        check("HTTPS://Api.Anthropic.com:443/", Some(("https://api.anthropic.com:443", false)));
        check("http://127.0.0.1:8081", Some(("http://127.0.0.1:8081", true)));
        check("http://127.8.9.1", Some(("http://127.8.9.1", true)));
        check("http://[::1]:80", Some(("http://[::1]:80", true)));
        check("http://localhost:1", Some(("http://localhost:1", true)));
        check("https://[2001:db8::1]", Some(("https://[2001:db8::1]", false)));
    }

    #[test]
    fn refused() {
        for input in [
            "",
            "api.telegram.org",
            "ftp://localhost",
            "https://",
            "https://:443",
            "https:///",
            "https://host//",
            "https://host/bot",
            "https://host?x",
            "https://host#x",
            "https://user:pass@host",
            "https://host:0",
            "https://host:65536",
            "https://host:+1",
            "https://host:",
            "https://ho st",
            "https://hö.st",
            "https://host.",
            "https://a..b",
            "https://[::1",
            "https://[::1]x",
            "https://[1.2.3.4]",
            "https://::1",
            "https://1.2.3",
            "https://0x7f.1",
            "https://127.0x1",
            "https://ho\\st",
            "http://example.org",
            "http://0.0.0.0",
            "http://10.0.0.1",
            "http://[::ffff:127.0.0.1]",
            "http://localhost.example.org",
            "http://127.1",
            "http://127.0.0.1.example.org",
        ] {
            check(input, None);
        }
    }
}
