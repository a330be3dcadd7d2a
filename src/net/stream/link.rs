//! One connection as everybody else sees it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::queue::Queue;
use crate::message::Transport;
use crate::proxy::ConnectionId;

/// How many addresses one connection may stand for beside its own (RFC 5923).
const ALIASES: usize = 8;

/// A connection that is open or being opened.
pub(super) struct Link {
    /// Its name.
    pub id: ConnectionId,
    /// Its listener.
    pub listener: u8,
    /// What it speaks.
    pub transport: Transport,
    /// The other side, as PROXY protocol tells it where that is in use.
    pub peer: SocketAddr,
    /// The name that its certificate must have, where we open it.
    pub name: Option<Arc<str>>,
    /// Whether we open it.
    pub is_outgoing: bool,
    /// What waits to be sent.
    pub queue: Queue,
    /// The names in the other side's verified certificate, lower case.
    pub identities: OnceLock<Vec<Box<str>>>,
    /// Other addresses that requests reach over it.
    aliases: Mutex<Vec<SocketAddr>>,
    /// When something last came or went, on the clock of `Now::ms`.
    active_ms: AtomicU64,
    /// Somebody registered over it, so it is kept while the other side lives.
    is_registered: AtomicBool,
}

impl Link {
    /// A connection that came to life at `now_ms`.
    pub(super) fn new(end: End, queue: Queue, now_ms: u64) -> Self {
        Self {
            id: end.id,
            listener: end.listener,
            transport: end.transport,
            peer: end.peer,
            name: end.name,
            is_outgoing: end.is_outgoing,
            queue,
            identities: OnceLock::new(),
            aliases: Mutex::default(),
            active_ms: AtomicU64::new(now_ms),
            is_registered: AtomicBool::new(false),
        }
    }

    /// Whether requests to an address, and to somebody of that name, may go over it. On TLS the
    /// certificate says who is there (RFC 5922 §7); the connection's own address needs none.
    pub(super) fn may_serve(&self, to: SocketAddr, name: Option<&str>) -> bool {
        if self.transport != Transport::Tls {
            return true;
        }
        match name {
            Some(name) => self.has_identity(name),
            None => to == self.peer || self.has_identity(&to.ip().to_canonical().to_string()),
        }
    }

    /// Whether its verified certificate has that name.
    pub(super) fn has_identity(&self, name: &str) -> bool {
        let identities = self.identities.get().map(Vec::as_slice).unwrap_or_default();
        identities
            .iter()
            .any(|identity| identity.eq_ignore_ascii_case(name))
    }

    /// Notes that something came or went.
    pub(super) fn touch(&self, now_ms: u64) {
        self.active_ms.store(now_ms, Ordering::Relaxed);
    }

    /// When something last came or went.
    pub(super) fn active_ms(&self) -> u64 {
        self.active_ms.load(Ordering::Relaxed)
    }

    /// Keeps it open although nothing comes or goes.
    pub(super) fn keep(&self) {
        self.is_registered.store(true, Ordering::Relaxed);
    }

    /// Whether it is kept open.
    pub(super) fn is_kept(&self) -> bool {
        self.is_registered.load(Ordering::Relaxed)
    }

    /// Lets it stand for another address; whether that is new and there is room.
    pub(super) fn add_alias(&self, alias: SocketAddr) -> bool {
        let mut aliases = self.aliases.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = alias != self.peer && aliases.len() < ALIASES && !aliases.contains(&alias);
        if is_new {
            aliases.push(alias);
        }
        is_new
    }

    /// Every address that it stands for.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let aliases = self.aliases.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::once(self.peer)
            .chain(aliases.iter().copied())
            .collect()
    }
}

/// Who is connected to which listener.
pub(super) struct End {
    pub id: ConnectionId,
    pub listener: u8,
    pub transport: Transport,
    pub peer: SocketAddr,
    pub name: Option<Arc<str>>,
    pub is_outgoing: bool,
}

#[cfg(test)]
mod tests {
    use super::super::queue::Bounds;
    use super::*;
    use std::num::NonZeroU64;

    fn link(transport: Transport) -> Link {
        let bounds = Bounds {
            messages: 1,
            bytes: 1,
        };
        let end = End {
            id: ConnectionId(NonZeroU64::MIN),
            listener: 0,
            transport,
            peer: "192.0.2.1:4711".parse().unwrap(),
            name: None,
            is_outgoing: false,
        };
        Link::new(end, Queue::new(bounds, Arc::default()), 0)
    }

    #[test]
    fn on_tls_the_certificate_decides_whom_a_connection_reaches() {
        let (own, other) = ("192.0.2.1:4711", "192.0.2.1:5061");
        let [own, other] = [own, other].map(|address| address.parse().unwrap());
        let tcp = link(Transport::Tcp);
        assert!(tcp.may_serve(other, Some("trunk.example.net")) && tcp.may_serve(own, None));
        let tls = link(Transport::Tls);
        let _ = tls.identities.set(vec!["trunk.example.net".into()]);
        assert!(tls.may_serve(other, Some("Trunk.example.NET")) && tls.may_serve(own, None));
        assert!(!tls.may_serve(other, None) && !tls.may_serve(own, Some("x.example.net")));
        let by_address = link(Transport::Tls);
        let _ = by_address.identities.set(vec!["192.0.2.1".into()]);
        assert!(by_address.may_serve(other, None));
    }

    #[test]
    fn aliases_are_new_bounded_and_not_its_own_address() {
        let link = link(Transport::Tcp);
        assert!(!link.add_alias(link.peer));
        let alias = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let added = (1..100).filter(|port| link.add_alias(alias(*port))).count();
        assert_eq!((added, link.addresses().len()), (ALIASES, ALIASES + 1));
        assert!(!link.add_alias(alias(1)));
    }
}
