//! Looks names up without the C library, whose `getaddrinfo` loads the host's name-service modules at run time and so must
//! never run in a static binary (docs/decisions/0006).
//!
//! Literal addresses never come here. `localhost` is answered at once. The resolver behind it is made at the first real
//! lookup and thrown away after a failed one or when a caller doubts its answers, so that a changed `/etc/resolv.conf` is read
//! again.

use super::EgressError;
use super::family::{FAMILIES, Families, IpFamily};
use super::guard::{Denied, Host, Target};
use super::web::judge;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::debug;

/// Answers that are remembered; we talk to a handful of hosts.
const CACHED_ANSWERS_MAX: u64 = 64;

/// Looks names up; clones share one cache.
#[derive(Clone)]
pub(super) struct Resolver {
    current: Arc<Mutex<Option<TokioResolver>>>,
    /// The only name server to ask; `None`: those of the system.
    server: Option<SocketAddr>,
    family: IpFamily,
    families: &'static Families,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { current: Arc::default(), server: None, family: IpFamily::Auto, families: &FAMILIES }
    }
}

impl Resolver {
    /// One with the same cache that gives out addresses of `family` alone.
    pub(super) fn of_family(self, family: IpFamily) -> Self {
        Self { family, ..self }
    }

    /// One with a cache of its own.
    pub(super) fn apart(self) -> Self {
        Self { current: Arc::default(), ..self }
    }

    /// One with a cache of its own that asks this server and no other.
    pub(super) fn of_server(self, server: SocketAddr) -> Self {
        Self { server: Some(server), current: Arc::default(), ..self }
    }

    /// The resolver in use, or a new one from the system's configuration.
    fn current(&self) -> Result<TokioResolver, NetError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(resolver) = &*current {
            return Ok(resolver.clone());
        }
        let mut builder = match self.server {
            None => TokioResolver::builder_tokio()?,
            Some(server) => {
                let mut connection = ConnectionConfig::udp();
                connection.port = server.port();
                let server = NameServerConfig::new(server.ip(), true, vec![connection]);
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
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

impl Resolver {
    /// Every address of a name of the open web, IPv4 first. What worked is not remembered for these.
    pub(super) async fn find(&self, host: &str) -> Result<Vec<IpAddr>, EgressError> {
        // With a dot at its end a name is whole: the machine's search list adds nothing to it.
        let whole = if host.contains('.') { format!("{host}.") } else { host.to_owned() };
        let found = self.lookup(&whole).await;
        let mut found = found.map_err(|_| EgressError::NotConnected("the name could not be looked up".to_owned()))?;
        found.sort_by_key(IpAddr::is_ipv6);
        Ok(found)
    }

    /// Every address of a service's name, in the order to try them. All must be allowed, whichever family is used.
    pub(super) async fn of_service(
        &self,
        name: &str,
        service: &Target,
    ) -> Result<Vec<IpAddr>, Box<dyn std::error::Error + Send + Sync>> {
        if *service.host() != Host::Name(name.to_owned()) {
            return Err(Denied::Host.into());
        }
        let found = self.lookup(name).await?;
        for address in &found {
            if let Err(denied) = judge(service, *address) {
                let why =
                    format!("{denied}; if it is meant, add \"{name}:{}\" to [egress] allow_private", service.port());
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, why).into());
            }
        }
        let found = self.families.arrange(name, self.family, found);
        if found.is_empty() {
            let why = format!("the host has no address of the chosen family ({:?})", self.family);
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, why).into());
        }
        Ok(found)
    }
}

/// The resolver hook of a client that speaks to one service.
pub(super) struct ServiceResolver {
    pub(super) resolver: Resolver,
    pub(super) service: Target,
}

impl Resolve for ServiceResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, service) = (self.resolver.clone(), self.service.clone());
        Box::pin(async move {
            let found = resolver.of_service(name.as_str(), &service).await?;
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
    use crate::egress::guard::Allow;
    use reqwest::Url;

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
            let url = Url::parse("http://localhost:1").unwrap();
            let service = Target::parse(url.as_str(), &Allow::service(&url, &[]).unwrap()).unwrap();
            let found = Resolver::default().of_family(family).of_service("localhost", &service).await.unwrap();
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
