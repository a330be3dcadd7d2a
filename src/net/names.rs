//! Host names that the call path asked for, resolved beside it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::clock::Clock;
use crate::config::Surroundings;
use crate::engine::Shared;
use crate::proxy::{Endpoint, Resolved};

/// How long an address is believed. The system's resolver does not tell the record's own time.
const FOUND_MS: u64 = 60_000;
/// How long it is believed that a name has none.
const NOT_FOUND_MS: u64 = 10_000;
/// After so many names, all are forgotten.
const RECENT_LIMIT: usize = 10_000;

/// Resolves names; several threads may, so that one slow name holds up few others.
pub(super) struct Resolver {
    shared: Arc<Shared>,
    clock: Clock,
    system: Box<dyn Surroundings + Send + Sync>,
    on_resolved: Box<dyn Fn() + Send + Sync>,
    /// When each name must be asked again, as a name is asked for by many messages at once.
    recent: Mutex<HashMap<Box<str>, u64>>,
}

impl Resolver {
    pub(super) fn new(
        shared: Arc<Shared>,
        clock: Clock,
        system: Box<dyn Surroundings + Send + Sync>,
        on_resolved: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self {
            shared,
            clock,
            system,
            on_resolved,
            recent: Mutex::new(HashMap::new()),
        }
    }

    /// Resolves everything that is asked for now.
    pub(super) fn resolve_wanted(&self) {
        while let Some(wanted) = self.shared.names.take_wanted() {
            if self.claim(&wanted.host) {
                let address = self.address(&wanted.host);
                let for_ms = if address.is_some() {
                    FOUND_MS
                } else {
                    NOT_FOUND_MS
                };
                let transport = wanted.sought().transport_or_default();
                let port = wanted.port.unwrap_or(transport.default_port());
                let endpoints = address.map(|ip| Endpoint {
                    transport,
                    address: (ip, port).into(),
                    name: Some((&*wanted.host).into()),
                });
                let resolved = Resolved {
                    endpoints: endpoints.into_iter().collect(),
                    expires_ms: self.clock.now().ms + for_ms,
                };
                self.shared.names.put(&wanted, resolved);
                (self.on_resolved)();
            }
        }
    }

    /// Whether the name has to be asked for, and by the caller.
    fn claim(&self, host: &str) -> bool {
        let now_ms = self.clock.now().ms;
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.get(host).is_some_and(|until| *until > now_ms) {
            return false;
        }
        if recent.len() >= RECENT_LIMIT {
            recent.clear();
        }
        recent.insert(host.into(), now_ms + NOT_FOUND_MS / 2);
        true
    }

    /// The first address of a family that we listen on.
    fn address(&self, host: &str) -> Option<IpAddr> {
        let policy = self.shared.policy.load();
        let usable = |ip: &IpAddr| {
            policy
                .listeners
                .iter()
                .any(|l| l.local.is_ipv4() == ip.is_ipv4())
        };
        match self.system.resolve(host) {
            Ok(found) => found.into_iter().find(usable),
            Err(error) => {
                tracing::debug!(host, %error, "a name has no address");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::shared;
    use super::*;
    use crate::message::Uri;
    use crate::proxy::policy::Network;
    use crate::proxy::{Lookup, Sought};
    use std::io;
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Clone, Default)]
    struct Fake(Arc<AtomicUsize>);

    impl Surroundings for Fake {
        fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            match host {
                "pbx.example.com" => Ok(vec![
                    "2001:db8::1".parse().unwrap(),
                    "192.0.2.1".parse().unwrap(),
                ]),
                _ => Err(io::Error::other("no such name")),
            }
        }

        fn source_towards(&self, _: SocketAddr) -> io::Result<IpAddr> {
            Err(io::Error::other("no route"))
        }

        fn network_of(&self, _: IpAddr) -> Option<Network> {
            None
        }
    }

    #[test]
    fn a_name_that_many_messages_want_is_asked_for_once() {
        let (shared, fake) = (Arc::new(shared()), Fake::default());
        let told = Arc::new(AtomicUsize::new(0));
        let tell = {
            let told = Arc::clone(&told);
            Box::new(move || {
                told.fetch_add(1, Ordering::Relaxed);
            })
        };
        let system = Box::new(fake.clone());
        let resolver = Resolver::new(Arc::clone(&shared), Clock::start(), system, tell);
        let lookup = |host: &str| {
            let uri = format!("sip:{host}");
            let uri = Uri::parse(uri.as_bytes()).unwrap();
            shared.names.lookup(&Sought::of(&uri).unwrap(), 0, 0)
        };
        for host in ["pbx.example.com", "pbx.example.com", "gone.example.com"] {
            assert_eq!(lookup(host), Lookup::Pending);
        }
        resolver.resolve_wanted();
        let Lookup::Found(found) = lookup("pbx.example.com") else {
            panic!("it has an address");
        };
        assert_eq!(found[0].address, "192.0.2.1:5060".parse().unwrap());
        assert_eq!(lookup("gone.example.com"), Lookup::Nothing);
        assert_eq!(fake.0.load(Ordering::Relaxed), 2);
        assert_eq!(told.load(Ordering::Relaxed), 2);
    }
}
