//! What names lead to. The call path only looks; what is missing is asked for, and whoever waits for
//! it is told when it is there. The host resolves (RFC 3263) beside the call path.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_queue::ArrayQueue;
use dashmap::DashMap;
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::choice::{draw, in_weighted_order};
use super::hop::{Endpoint, Endpoints};
use crate::message::{Scheme, Transport, Uri, host_address};

/// How many names are remembered, and how many wait to be resolved.
const NAMES_LIMIT: usize = 10_000;
const WANTED_LIMIT: usize = 256;
/// When the table is full, one of so many names is forgotten: those unused for longest.
const FORGET_SHARE: usize = 16;
/// How many endpoints one lookup gives at most.
const ENDPOINTS_LIMIT: usize = 16;
/// A name that was asked for is not asked for again so soon.
const ASK_AGAIN_MS: u64 = 5_000;
/// A name in use is asked for anew before it expires: by a tenth of its time, but not longer.
const REFRESH_SHARE: u64 = 10;
const REFRESH_AHEAD_MS: u64 = 30_000;

/// What RFC 3263 §4 starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sought<'a> {
    /// The host, IPv6 without brackets.
    pub host: &'a [u8],
    /// The port, where one is written.
    pub port: Option<u16>,
    /// The transport, where one is asked for.
    pub transport: Option<Transport>,
    /// Whether the scheme is `sips`.
    pub is_secure: bool,
}

impl<'a> Sought<'a> {
    /// What a URI leads to (RFC 3263 §4.1); its `maddr` goes before its host (RFC 3261 §19.1.1).
    /// `None` where the URI names no host or a transport that we do not speak.
    pub fn of(uri: &Uri<'a>) -> Option<Self> {
        let transport = match uri.param(b"transport").flatten() {
            Some(name) => Some(Transport::from_name(name)?),
            None => None,
        };
        let host = uri.param(b"maddr").flatten().unwrap_or(uri.host);
        let inner = host.strip_prefix(b"[").and_then(|h| h.strip_suffix(b"]"));
        Some(Self {
            host: inner.unwrap_or(host),
            port: uri.port,
            transport,
            is_secure: uri.scheme == Scheme::Sips,
        })
        .filter(|sought| !sought.host.is_empty())
    }

    /// The transport in force for an address, or for a name without records of its own
    /// (RFC 3263 §4.1).
    pub fn transport_or_default(&self) -> Transport {
        match (self.transport, self.is_secure) {
            (Some(Transport::Tcp) | None, true) => Transport::Tls,
            (Some(Transport::Ws), true) => Transport::Wss,
            (Some(transport), _) => transport,
            (None, false) => Transport::Udp,
        }
    }

    /// The endpoint that it names by address; `None` for a host name.
    pub fn literal(&self) -> Option<Endpoint> {
        let ip = host_address(self.host)?;
        let transport = self.transport_or_default();
        let port = self.port.unwrap_or(transport.default_port());
        Some(Endpoint {
            transport,
            address: SocketAddr::new(ip, port),
            name: None,
        })
    }

    /// Names it in the table: the host in lower case, then the rest, each of fixed length.
    fn key(&self) -> Key {
        let mut key: Key = self.host.iter().map(u8::to_ascii_lowercase).collect();
        let port = self.port.map_or([0; 3], |port| {
            let [high, low] = port.to_be_bytes();
            [1, high, low]
        });
        key.extend_from_slice(&port);
        let transport = self.transport.map_or(0, |transport| transport as u8 + 1);
        key.extend_from_slice(&[transport, u8::from(self.is_secure)]);
        key
    }
}

/// Room for nearly every host without an allocation.
type Key = SmallVec<[u8; 72]>;

/// A [`Sought`] with a text of its own, for the host that resolves it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// The host name.
    pub host: Box<str>,
    /// The port, where one is written.
    pub port: Option<u16>,
    /// The transport, where one is asked for.
    pub transport: Option<Transport>,
    /// Whether the scheme is `sips`.
    pub is_secure: bool,
}

impl Wanted {
    /// The same, borrowed.
    pub fn sought(&self) -> Sought<'_> {
        Sought {
            host: self.host.as_bytes(),
            port: self.port,
            transport: self.transport,
            is_secure: self.is_secure,
        }
    }
}

impl fmt::Display for Wanted {
    /// As a URI.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_secure { "sips:" } else { "sip:" })?;
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match self.transport {
            Some(transport) => write!(f, ";transport={}", transport.param()),
            None => Ok(()),
        }
    }
}

/// One target of a name: an SRV record, or the name itself where it has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which of the domain's transports it belongs to, the preferred one first (RFC 3263 §4.1).
    pub rank: u16,
    /// Those of a lower number are tried first (RFC 2782).
    pub priority: u16,
    /// How often it comes first among those of its priority.
    pub weight: u16,
    /// Its addresses, those of the preferred family first; never empty.
    pub endpoints: Endpoints,
}

/// What a name was resolved to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resolved {
    /// Its targets; none where the name leads nowhere.
    pub targets: Vec<Target>,
    /// When it must be asked again, on the shards' clock.
    pub expires_ms: u64,
}

impl Resolved {
    /// One target with these endpoints, or nothing where there are none.
    pub fn of(endpoints: Endpoints, expires_ms: u64) -> Self {
        let target = Target {
            rank: 0,
            priority: 0,
            weight: 0,
            endpoints,
        };
        let targets = Some(target).filter(|target| !target.endpoints.is_empty());
        Self {
            targets: targets.into_iter().collect(),
            expires_ms,
        }
    }

    /// Every endpoint once, in the order of rank and priority.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.targets.iter().flat_map(|target| &target.endpoints)
    }
}

/// The state of a name on the call path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// It leads there, in this order.
    Found(Endpoints),
    /// It was asked for; the host tells when the answer is there.
    Pending,
    /// It leads nowhere.
    Nothing,
}

/// Names and where they lead.
pub struct Names {
    known: DashMap<Key, Known>,
    wanted: ArrayQueue<Wanted>,
    asked: Notify,
    /// What the host counts.
    pub counts: NameCounts,
}

/// How often name servers were asked.
#[derive(Debug, Default)]
pub struct NameCounts {
    /// Queries for records of one kind.
    pub queries: AtomicU64,
    /// Queries that nobody answered, or with a failure.
    pub failures: AtomicU64,
}

/// What is known of one name.
struct Known {
    wanted: Wanted,
    /// `None` until the first answer.
    resolved: Option<Resolved>,
    /// When it was put here.
    since_ms: u64,
    used_ms: AtomicU64,
    asked_ms: AtomicU64,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            known: DashMap::new(),
            wanted: ArrayQueue::new(WANTED_LIMIT),
            asked: Notify::new(),
            counts: NameCounts::default(),
        }
    }
}

impl Names {
    /// The endpoints of what is sought, by rank, priority and weight; asks for them where they are
    /// unknown or too old. `salt` decides among equals, the same way for the same salt.
    pub fn lookup(&self, sought: &Sought<'_>, salt: u64, now_ms: u64) -> Lookup {
        if let Some(endpoint) = sought.literal() {
            return Lookup::Found(smallvec::smallvec![endpoint]);
        }
        let key = sought.key();
        let Some(known) = self.known.get(&key) else {
            return self.ask_first(key, sought, now_ms);
        };
        known.used_ms.store(now_ms, Relaxed);
        let Some(resolved) = &known.resolved else {
            self.ask(&known, now_ms);
            return Lookup::Pending;
        };
        let is_old = resolved.expires_ms <= now_ms;
        if is_old {
            self.ask(&known, now_ms);
        }
        match (resolved.targets.is_empty(), is_old) {
            (false, _) => Lookup::Found(in_order(&resolved.targets, salt)),
            (true, true) => Lookup::Pending,
            (true, false) => Lookup::Nothing,
        }
    }

    /// Everything that is known of a name, old or not; for those who show or check it. Counts as
    /// using it, and asks for it like [`Names::lookup`].
    pub fn resolved(&self, sought: &Sought<'_>, now_ms: u64) -> Option<Resolved> {
        if let Some(endpoint) = sought.literal() {
            return Some(Resolved::of(smallvec::smallvec![endpoint], u64::MAX));
        }
        self.lookup(sought, 0, now_ms);
        self.known.get(&sought.key())?.resolved.clone()
    }

    /// The addresses of a name, as far as they are known.
    pub fn addresses(&self, sought: &Sought<'_>) -> Option<Vec<IpAddr>> {
        let known = self.known.get(&sought.key())?;
        let resolved = known.resolved.as_ref()?;
        let mut addresses: Vec<_> = resolved.endpoints().map(|e| e.address.ip()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        Some(addresses)
    }

    /// A name that nobody asked for before.
    fn ask_first(&self, key: Key, sought: &Sought<'_>, now_ms: u64) -> Lookup {
        let Ok(host) = std::str::from_utf8(sought.host) else {
            return Lookup::Nothing;
        };
        let wanted = Wanted {
            host: host.to_ascii_lowercase().into(),
            port: sought.port,
            transport: sought.transport,
            is_secure: sought.is_secure,
        };
        if self.push(wanted.clone()) {
            self.insert(key, Known::new(wanted, None, now_ms));
        }
        Lookup::Pending
    }

    fn ask(&self, known: &Known, now_ms: u64) {
        let asked_ms = known.asked_ms.load(Relaxed);
        if asked_ms.saturating_add(ASK_AGAIN_MS) <= now_ms {
            // Two shards may ask at once: the host resolves a name once at a time.
            known.asked_ms.store(now_ms, Relaxed);
            self.push(known.wanted.clone());
        }
    }

    fn push(&self, wanted: Wanted) -> bool {
        let is_queued = self.wanted.push(wanted).is_ok();
        self.asked.notify_one();
        is_queued
    }

    /// The next name to resolve, for the host.
    pub fn take_wanted(&self) -> Option<Wanted> {
        self.wanted.pop()
    }

    /// Waits until a name is asked for.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    /// The host resolved a name; hands back whether that changed where it leads.
    pub fn put(&self, wanted: &Wanted, mut resolved: Resolved, now_ms: u64) -> bool {
        resolved.targets.sort_by_key(|t| (t.rank, t.priority));
        let key = wanted.sought().key();
        let mut known = Known::new(wanted.clone(), Some(resolved), now_ms);
        if let Some(before) = self.known.get(&key) {
            known.used_ms = before.used_ms.load(Relaxed).into();
        }
        let targets = |known: &Known| Some(known.resolved.as_ref()?.targets.clone());
        let after = targets(&known);
        let before = self.insert(key, known);
        before.is_none_or(|before| targets(&before) != after)
    }

    /// The host could not resolve a name: what was known of it stays in use, and it is asked for
    /// again at `until_ms`.
    pub fn put_off(&self, wanted: &Wanted, until_ms: u64, now_ms: u64) {
        let key = wanted.sought().key();
        let resolved = self.known.get(&key).and_then(|k| k.resolved.clone());
        let resolved = Resolved {
            expires_ms: until_ms,
            ..resolved.unwrap_or_default()
        };
        self.put(wanted, resolved, now_ms);
    }

    /// Asks for the names in use that expire soon, so that they are resolved anew before that.
    pub fn ask_expiring(&self, now_ms: u64) {
        for known in self.known.iter().filter(|k| k.is_expiring(now_ms)) {
            known.asked_ms.store(now_ms, Relaxed);
            if !self.push(known.wanted.clone()) {
                return;
            }
        }
    }

    fn insert(&self, key: Key, known: Known) -> Option<Known> {
        if self.known.len() >= NAMES_LIMIT && !self.known.contains_key(&key) {
            self.forget_unused();
        }
        self.known.insert(key, known)
    }

    /// Makes room: the names that were not used for longest go.
    fn forget_unused(&self) {
        let mut used: Vec<u64> = self.known.iter().map(|k| k.used_ms.load(Relaxed)).collect();
        let share = used.len() / FORGET_SHARE;
        let (_, limit, _) = used.select_nth_unstable(share);
        let (limit, mut left) = (*limit, share + 1);
        self.known.retain(|_, known| {
            let goes = left > 0 && known.used_ms.load(Relaxed) <= limit;
            left -= usize::from(goes);
            !goes
        });
    }

    /// How many names are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

impl Known {
    fn new(wanted: Wanted, resolved: Option<Resolved>, now_ms: u64) -> Self {
        Self {
            wanted,
            resolved,
            since_ms: now_ms,
            used_ms: now_ms.into(),
            asked_ms: now_ms.into(),
        }
    }

    /// Whether it was used since the last answer, and its time is nearly over.
    fn is_expiring(&self, now_ms: u64) -> bool {
        let Some(resolved) = &self.resolved else {
            return false;
        };
        let life_ms = resolved.expires_ms.saturating_sub(self.since_ms);
        let ahead_ms = (life_ms / REFRESH_SHARE).min(REFRESH_AHEAD_MS);
        let was_used = self.used_ms.load(Relaxed) >= self.since_ms;
        let was_asked = self.asked_ms.load(Relaxed) > self.since_ms
            && self.asked_ms.load(Relaxed).saturating_add(ASK_AGAIN_MS) > now_ms;
        was_used && !was_asked && resolved.expires_ms.saturating_sub(ahead_ms) <= now_ms
    }
}

/// The endpoints of sorted targets in the order in which they are to be tried (RFC 3263 §4.2,
/// §4.3). Several addresses of one target are taken in turn, call by call.
fn in_order(targets: &[Target], salt: u64) -> Endpoints {
    let mut endpoints = Endpoints::new();
    let is_equal = |a: &Target, b: &Target| (a.rank, a.priority) == (b.rank, b.priority);
    for (round, equals) in (0u64..).zip(targets.chunk_by(is_equal)) {
        let weights: SmallVec<[u16; 8]> = equals.iter().map(|target| target.weight).collect();
        in_weighted_order(&weights, draw(salt, round, u64::MAX), |number| {
            if let Some(target) = equals.get(number) {
                push_in_turn(&target.endpoints, salt, &mut endpoints);
            }
        });
        if endpoints.len() >= ENDPOINTS_LIMIT {
            break;
        }
    }
    endpoints.truncate(ENDPOINTS_LIMIT);
    endpoints
}

/// Adds a target's addresses: families stay apart, and within one the salt says who is first.
fn push_in_turn(of_target: &[Endpoint], salt: u64, to: &mut Endpoints) {
    let is_equal = |a: &Endpoint, b: &Endpoint| {
        a.transport == b.transport && a.address.is_ipv4() == b.address.is_ipv4()
    };
    for family in of_target.chunk_by(is_equal) {
        let first = draw(!salt, 0, family.len() as u64) as usize;
        let (later, sooner) = family.split_at(first.min(family.len()));
        to.extend(sooner.iter().chain(later).cloned());
    }
}

#[cfg(test)]
mod tests;
