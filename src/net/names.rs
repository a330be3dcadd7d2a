//! Host names that the call path asked for, resolved beside it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::clock::Clock;
use crate::config::Surroundings;
use crate::engine::Shared;
use crate::proxy::Resolved;

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
    /// When each name must be asked again, as a name is asked for by many messages at once.
    recent: Mutex<HashMap<Box<str>, u64>>,
}

impl Resolver {
    pub(super) fn new(
        shared: Arc<Shared>,
        clock: Clock,
        system: Box<dyn Surroundings + Send + Sync>,
    ) -> Self {
        Self {
            shared,
            clock,
            system,
            recent: Mutex::new(HashMap::new()),
        }
    }

    /// Resolves everything that is asked for now.
    pub(super) fn resolve_wanted(&self) {
        while let Some(host) = self.shared.names.take_wanted() {
            if self.claim(&host) {
                let address = self.address(&host);
                let for_ms = if address.is_some() {
                    FOUND_MS
                } else {
                    NOT_FOUND_MS
                };
                let expires_ms = self.clock.now().ms + for_ms;
                self.shared.names.put(
                    host,
                    Resolved {
                        address,
                        expires_ms,
                    },
                );
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
    use crate::proxy::Lookup;
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
    }

    #[test]
    fn a_name_that_many_messages_want_is_asked_for_once() {
        let (shared, fake) = (Arc::new(shared()), Fake::default());
        let resolver = Resolver::new(Arc::clone(&shared), Clock::start(), Box::new(fake.clone()));
        for host in [
            &b"pbx.example.com"[..],
            b"pbx.example.com",
            b"gone.example.com",
        ] {
            assert_eq!(shared.names.lookup(host, 0), Lookup::Pending);
        }
        resolver.resolve_wanted();
        let address = Lookup::Address("192.0.2.1".parse().unwrap());
        assert_eq!(shared.names.lookup(b"pbx.example.com", 0), address);
        assert_eq!(shared.names.lookup(b"gone.example.com", 0), Lookup::Nothing);
        assert_eq!(fake.0.load(Ordering::Relaxed), 2);
    }
}
