//! Where a message goes: by which listener, to which address, over which connection.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::Arc;

use dashmap::DashMap;
use smallvec::SmallVec;

use super::policy::Policy;
use crate::message::Transport;

/// Names a connection of a stream transport; never used again while the process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub NonZeroU64);

/// Which connection a message takes, where the transport has any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flow {
    /// One to the address, opened if there is none.
    #[default]
    Any,
    /// This one; if it is gone, one to the address (responses, RFC 3261 §18.2.2).
    Prefer(ConnectionId),
    /// This one or none: nobody but the other side can open it (RFC 5626 §5.3, RFC 7118 §5).
    Only(ConnectionId),
}

impl Flow {
    /// The connection that it names.
    pub fn connection(self) -> Option<ConnectionId> {
        match self {
            Self::Any => None,
            Self::Prefer(id) | Self::Only(id) => Some(id),
        }
    }
}

/// The next hop of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Its address. For a response over a connection: where one is opened if that is gone.
    pub to: SocketAddr,
    /// Index into [`Policy::listeners`]: says the transport, and whose address is in Via.
    pub listener: u8,
    /// The connection.
    pub flow: Flow,
    /// The name that the other side's certificate must have, where the hop was found by one
    /// (RFC 5922 §7.2); without one it must have the address.
    pub name: Option<Arc<str>>,
}

impl Hop {
    /// A hop that any connection reaches.
    pub fn new(to: SocketAddr, listener: u8) -> Self {
        Self {
            to,
            listener,
            flow: Flow::Any,
            name: None,
        }
    }

    /// Whether a failure that the host tells of is this hop's.
    pub(super) fn is_hit_by(&self, failure: &Unreachable) -> bool {
        match failure.connection {
            Some(id) if self.flow.connection() == Some(id) => true,
            _ => self.to == failure.to && failure.listener.is_none_or(|l| l == self.listener),
        }
    }
}

/// Hops to try one after the other (RFC 3263 §4.3).
pub type Hops = SmallVec<[Hop; 1]>;

/// Messages to an address cannot be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreachable {
    /// The address.
    pub to: SocketAddr,
    /// The listener that tried; an ICMP error does not tell.
    pub listener: Option<u8>,
    /// The connection that broke or could not be used.
    pub connection: Option<ConnectionId>,
}

/// One target that a name or address was resolved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// By what.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
    /// The name that a certificate must have.
    pub name: Option<Arc<str>>,
}

/// Endpoints in the order in which they are to be tried.
pub type Endpoints = SmallVec<[Endpoint; 2]>;

impl Policy {
    /// The hop to an endpoint: by the listener of its transport and family that reaches it. `None`
    /// where there is no such listener.
    pub fn hop_to(&self, endpoint: &Endpoint, upstream_listener: u8) -> Option<Hop> {
        let listener =
            self.listener_towards(endpoint.transport, endpoint.address.ip(), upstream_listener)?;
        Some(Hop {
            to: endpoint.address,
            listener,
            flow: Flow::Any,
            name: endpoint.name.clone(),
        })
    }

    /// The listener whose address the other side can reach: on its network, else where the default
    /// route leads, else the one towards upstream, else the first that fits.
    pub fn listener_towards(
        &self,
        transport: Transport,
        to: IpAddr,
        upstream_listener: u8,
    ) -> Option<u8> {
        let to = to.to_canonical();
        let fitting = || {
            (0u8..).zip(&self.listeners).filter(move |(_, listener)| {
                listener.transport == transport
                    && listener.local.ip().to_canonical().is_ipv4() == to.is_ipv4()
            })
        };
        let rank = |number: u8, listener: &super::policy::Listener| {
            let is_near = listener.network.is_some_and(|network| network.holds(to));
            let is_upstream = number == upstream_listener;
            let reach = match (is_near, listener.has_default_route) {
                (true, _) => 4,
                (false, true) => 2,
                (false, false) => 0,
            };
            reach + u8::from(is_upstream)
        };
        let mut best: Option<(u8, u8)> = None;
        for (number, listener) in fitting() {
            let rank = rank(number, listener);
            if best.is_none_or(|(_, highest)| rank > highest) {
                best = Some((number, rank));
            }
        }
        best.map(|(number, _)| number)
    }

    /// The transport of a listener.
    pub fn transport(&self, listener: u8) -> Transport {
        self.listeners
            .get(usize::from(listener))
            .map_or(Transport::Udp, |listener| listener.transport)
    }
}

/// The open connections, as the shards and the API see them; the host keeps the table true.
#[derive(Default)]
pub struct Flows {
    open: DashMap<ConnectionId, Arc<FlowView>>,
}

/// One open connection.
#[derive(Debug)]
pub struct FlowView {
    /// Its listener.
    pub listener: u8,
    /// The other side, as PROXY protocol tells it where that is in use.
    pub peer: SocketAddr,
    /// The names in the other side's verified certificate, lower case; none without one.
    pub identities: Vec<Box<str>>,
    /// Whether we opened it.
    pub is_outgoing: bool,
    /// Milliseconds since 1970.
    pub since_unix_ms: i64,
}

impl Flows {
    /// The connection of that id, while it is open.
    pub fn get(&self, id: ConnectionId) -> Option<Arc<FlowView>> {
        self.open.get(&id).map(|view| Arc::clone(&view))
    }

    /// A connection was opened.
    pub fn insert(&self, id: ConnectionId, view: FlowView) {
        self.open.insert(id, Arc::new(view));
    }

    /// A connection was closed.
    pub fn remove(&self, id: ConnectionId) {
        self.open.remove(&id);
    }

    /// Every open connection.
    pub fn each(&self, mut f: impl FnMut(ConnectionId, &Arc<FlowView>)) {
        for entry in &self.open {
            f(*entry.key(), entry.value());
        }
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}
