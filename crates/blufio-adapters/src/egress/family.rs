//! Which addresses of a host are tried, and in which order: IPv4, IPv6, or both with the one that worked first.
//!
//! The HTTP client tries the family of the first address, and after 300 ms without a connection the other one beside it
//! (RFC 8305, "happy eyeballs"). So a family that leads nowhere costs a moment and not a message; here that moment is
//! saved from the second connection on. Nothing here looks names up or connects.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Hosts whose family is remembered; we talk to a handful. More: IPv4 is tried first for the others.
const HOSTS_MAX: usize = 64;
/// Failures in a row after which the other family is tried first.
const FAILURES_MAX: u32 = 3;

/// Which addresses are used for hosts that are given by name. An address that is written out is used as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpFamily {
    /// Both; first the one that brought the last answer, IPv4 if there was none yet.
    #[default]
    Auto,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

/// What is known of the hosts. There is one network, however many clients use it, so there is one of this per process.
pub(super) static FAMILIES: Families = Families::new();

#[derive(Clone, Copy)]
struct Known {
    v6_first: bool,
    /// Failures since the last answer.
    failures: u32,
}

/// See [`FAMILIES`].
pub(super) struct Families(Mutex<BTreeMap<String, Known>>);

impl Families {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// The addresses to try, in order; none if the host has none of the family.
    pub(super) fn arrange(&self, host: &str, family: IpFamily, mut found: Vec<IpAddr>) -> Vec<IpAddr> {
        match family {
            IpFamily::V4 => found.retain(IpAddr::is_ipv4),
            IpFamily::V6 => found.retain(IpAddr::is_ipv6),
            IpFamily::Auto => {
                let v6_first = self.v6_first(host);
                // Stable: within a family the order is the name server's.
                found.sort_by_key(|address| address.is_ipv6() != v6_first);
            }
        }
        found
    }

    /// The host has answered from this address.
    pub(super) fn worked(&self, host: &str, address: IpAddr) {
        if let Some(known) = self.lock().get_mut(host) {
            *known = Known { v6_first: address.is_ipv6(), failures: 0 };
        }
    }

    /// There was no connection to the host.
    pub(super) fn failed(&self, host: &str) {
        if let Some(known) = self.lock().get_mut(host) {
            known.fail();
        }
    }

    /// A caller doubts the addresses, for what it has seen after the connection stood: one more failure of every host.
    /// A host that works clears itself of it with its next answer.
    pub(super) fn doubted(&self) {
        self.lock().values_mut().for_each(Known::fail);
    }

    fn v6_first(&self, host: &str) -> bool {
        let mut hosts = self.lock();
        if let Some(known) = hosts.get(host) {
            return known.v6_first;
        }
        // A broken IPv6 is the common trouble.
        let known = Known { v6_first: false, failures: 0 };
        if hosts.len() < HOSTS_MAX {
            hosts.insert(host.to_owned(), known);
        }
        known.v6_first
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn fail(&mut self) {
        self.failures += 1;
        if self.failures >= FAILURES_MAX {
            *self = Self { v6_first: !self.v6_first, failures: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HOST: &str = "example.org";

    fn addresses(all: &[&str]) -> Vec<IpAddr> {
        all.iter().map(|address| address.parse().unwrap()).collect()
    }

    fn mixed() -> Vec<IpAddr> {
        addresses(&["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2"])
    }

    #[test]
    fn one_family_is_one_family() {
        let families = Families::new();
        assert_eq!(families.arrange(HOST, IpFamily::V4, mixed()), addresses(&["192.0.2.1", "192.0.2.2"]));
        assert_eq!(families.arrange(HOST, IpFamily::V6, mixed()), addresses(&["2001:db8::1", "2001:db8::2"]));
        assert_eq!(families.arrange(HOST, IpFamily::V6, addresses(&["192.0.2.1"])), addresses(&[]));
    }

    #[test]
    fn what_worked_comes_first_until_it_fails_three_times() {
        let families = Families::new();
        let v6_first = || families.arrange(HOST, IpFamily::Auto, mixed())[0].is_ipv6();
        let v4 = addresses(&["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"]);
        assert_eq!(families.arrange(HOST, IpFamily::Auto, mixed()), v4, "nothing is known yet");
        families.worked(HOST, "2001:db8::2".parse().unwrap());
        assert!(v6_first());
        families.failed(HOST);
        families.doubted();
        assert!(v6_first());
        families.failed(HOST);
        assert!(!v6_first());
        for _ in 0..3 {
            assert!(!v6_first());
            families.doubted();
        }
        assert!(v6_first());
    }

    #[test]
    fn an_answer_clears_a_host() {
        let families = Families::new();
        for _ in 0..10 {
            families.failed(HOST);
            families.doubted();
            let first = families.arrange(HOST, IpFamily::Auto, mixed())[0];
            assert!(first.is_ipv4());
            families.worked(HOST, first);
        }
    }

    #[test]
    fn the_memory_is_bounded() {
        let families = Families::new();
        for number in 0..1_000 {
            families.arrange(&format!("host{number}"), IpFamily::Auto, mixed());
        }
        families.worked("host999", "2001:db8::1".parse().unwrap());
        assert_eq!(families.lock().len(), HOSTS_MAX);
        assert!(families.arrange("host999", IpFamily::Auto, mixed())[0].is_ipv4());
    }
}
