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

    /// Whether requests to somebody of that name may go over it: on TLS the certificate says who
    /// is there (RFC 5922 §7).
    pub(super) fn may_serve(&self, name: Option<&str>) -> bool {
        let Some(name) = name.filter(|_| self.transport == Transport::Tls) else {
            return true;
        };
        self.has_identity(name)
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
