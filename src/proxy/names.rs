//! What names lead to. The call path only looks; what is missing is asked for, and whoever waits for
//! it is told when it is there. The host resolves (RFC 3263) beside the call path.

use std::net::SocketAddr;

use crossbeam_queue::ArrayQueue;
use dashmap::DashMap;

use super::hop::{Endpoint, Endpoints};
use crate::message::{Scheme, Transport, Uri};

/// How many names are remembered, and how many wait to be resolved.
const NAMES_LIMIT: usize = 10_000;
const WANTED_LIMIT: usize = 256;

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
        let ip = std::str::from_utf8(self.host).ok()?.parse().ok()?;
        let transport = self.transport_or_default();
        let port = self.port.unwrap_or(transport.default_port());
        Some(Endpoint {
            transport,
            address: SocketAddr::new(ip, port),
            name: None,
        })
    }

    fn key(&self) -> Option<Box<str>> {
        let host = std::str::from_utf8(self.host).ok()?.to_ascii_lowercase();
        let port = self.port.map(|port| port.to_string()).unwrap_or_default();
        let transport = self.transport.map_or("", Transport::param);
        let scheme = if self.is_secure { "sips" } else { "sip" };
        Some(format!("{scheme}:{host}:{port}:{transport}").into())
    }
}

/// A [`Sought`] with a text of its own, for the host that resolves it.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Its endpoints; none where the name leads nowhere.
    pub endpoints: Endpoints,
    /// When it must be asked again, on the shards' clock.
    pub expires_ms: u64,
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
    resolved: DashMap<Box<str>, Resolved>,
    wanted: ArrayQueue<Wanted>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            resolved: DashMap::new(),
            wanted: ArrayQueue::new(WANTED_LIMIT),
        }
    }
}

impl Names {
    /// The endpoints of what is sought; asks for them where they are unknown or too old. `salt`
    /// chooses among equals, the same way for the same salt.
    pub fn lookup(&self, sought: &Sought<'_>, _salt: u64, now_ms: u64) -> Lookup {
        if let Some(endpoint) = sought.literal() {
            return Lookup::Found(smallvec::smallvec![endpoint]);
        }
        let Some(key) = sought.key() else {
            return Lookup::Nothing;
        };
        let known = self.resolved.get(&key).map(|entry| entry.clone());
        match known {
            Some(known) if !known.endpoints.is_empty() => {
                if known.expires_ms <= now_ms {
                    self.want(sought);
                }
                Lookup::Found(known.endpoints)
            }
            Some(known) if known.expires_ms > now_ms => Lookup::Nothing,
            _ => {
                self.want(sought);
                Lookup::Pending
            }
        }
    }

    fn want(&self, sought: &Sought<'_>) {
        if let Ok(host) = std::str::from_utf8(sought.host) {
            let _ = self.wanted.push(Wanted {
                host: host.into(),
                port: sought.port,
                transport: sought.transport,
                is_secure: sought.is_secure,
            });
        }
    }

    /// The next name to resolve, for the host.
    pub fn take_wanted(&self) -> Option<Wanted> {
        self.wanted.pop()
    }

    /// The host resolved a name. When the table is full, all of it is forgotten and asked again.
    pub fn put(&self, wanted: &Wanted, resolved: Resolved) {
        if self.resolved.len() >= NAMES_LIMIT {
            self.resolved.clear();
        }
        if let Some(key) = wanted.sought().key() {
            self.resolved.insert(key, resolved);
        }
    }
}
