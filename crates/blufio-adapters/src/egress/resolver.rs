//! Looks names up without the C library, whose `getaddrinfo` loads the host's name-service modules at run time and so must
//! never run in a static binary (docs/decisions/0006).
//!
//! Literal addresses never come here. `localhost` is answered at once. The resolver behind it is made at the first real
//! lookup and thrown away after a failed one or when a caller doubts its answers, so that a changed `/etc/resolv.conf` is read
//! again.

use super::family::{FAMILIES, Families, IpFamily};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::NetError;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::debug;

/// Answers that are remembered; we talk to a handful of hosts.
const CACHED_ANSWERS_MAX: u64 = 64;

/// The resolver hook of the HTTP client; clones share one cache.
#[derive(Clone)]
pub(super) struct Resolver {
    current: Arc<Mutex<Option<TokioResolver>>>,
    family: IpFamily,
    families: &'static Families,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { current: Arc::default(), family: IpFamily::Auto, families: &FAMILIES }
    }
}

impl Resolver {
    /// One with the same cache that gives out addresses of `family` alone.
    pub(super) fn of_family(self, family: IpFamily) -> Self {
        Self { family, ..self }
    }

    /// The resolver in use, or a new one from the system's configuration.
    fn current(&self) -> Result<TokioResolver, NetError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(resolver) = &*current {
            return Ok(resolver.clone());
        }
        let mut builder = TokioResolver::builder_tokio()?;
        let options = builder.options_mut();
        options.cache_size = CACHED_ANSWERS_MAX;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        let resolver = builder.build()?;
        *current = Some(resolver.clone());
        Ok(resolver)
    }

    /// Gives up the remembered answers and the configuration they came by.
    pub(super) fn forget(&self) {
        self.families.doubted();
        self.drop_current();
    }

    fn drop_current(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, NetError> {
        if host.eq_ignore_ascii_case("localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        match self.current()?.lookup_ip(host).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(error) => {
                debug!(%error, "name lookup");
                self.drop_current();
                Err(error)
            }
        }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let found = resolver.lookup(name.as_str()).await?;
            let found = resolver.families.arrange(name.as_str(), resolver.family, found);
            if found.is_empty() {
                let why = format!("the host has no address of the chosen family ({:?})", resolver.family);
                return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, why).into());
            }
            // Port 0 is replaced by the one of the request.
            let addresses: Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use hickory_resolver::config::ResolverConfig;
    use hickory_resolver::net::runtime::TokioRuntimeProvider;

    #[tokio::test]
    async fn forgetting_holds_for_every_clone() {
        static OWN: Families = Families::new();
        let resolver = Resolver { families: &OWN, ..Resolver::default() };
        let answers = TokioResolver::builder_with_config(ResolverConfig::default(), TokioRuntimeProvider::default());
        *resolver.current.lock().unwrap() = Some(answers.build().unwrap());
        resolver.clone().forget();
        assert!(resolver.current.lock().unwrap().is_none());
    }

    #[tokio::test]
    async fn only_the_chosen_family_is_given_out() {
        let first = |family: IpFamily| async move {
            let name: Name = "localhost".parse().unwrap();
            let found: Vec<SocketAddr> = Resolver::default().of_family(family).resolve(name).await.unwrap().collect();
            (found.len(), found[0].is_ipv6())
        };
        assert_eq!(first(IpFamily::Auto).await.0, 2);
        assert_eq!(first(IpFamily::V4).await, (1, false));
        assert_eq!(first(IpFamily::V6).await, (1, true));
    }

    #[tokio::test]
    async fn this_machine_needs_no_resolver() {
        let resolver = Resolver::default();
        let found = resolver.lookup("LocalHost").await.unwrap();
        assert_eq!(found, [IpAddr::from([127, 0, 0, 1]), IpAddr::from(Ipv6Addr::LOCALHOST)]);
        assert!(resolver.current.lock().unwrap().is_none(), "made before the first lookup");
    }
}
