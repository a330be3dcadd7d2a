//! The table of connections: which one a message takes, and what is told when one ends.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use super::super::clock::Clock;
use super::super::post::{Handed, Post};
use super::counters::{Closed, Refusal, StreamCounters};
use super::dial;
use super::link::{End, Link};
use super::queue::{Bounds, Queue, Refused};
use super::quiet::Quiet;
use super::seat::{Opener, Opening, Seat, Seats};
use super::tls::Tls;
use crate::config::{Config, Limits};
use crate::engine::{Hop, Shared, Unreachable};
use crate::message::Transport;
use crate::proxy::{ConnectionId, Flow, FlowView};

/// Ids begin with the time, so that no id of an earlier run comes again: it may stand in a flow
/// token that outlived it.
const IDS_PER_MS: u32 = 20;

/// What connections are made beside.
pub(in crate::net) struct Surface {
    /// Transport and bound address of each listener.
    pub listeners: Vec<(Transport, SocketAddr)>,
    /// The configuration in force.
    pub config: Arc<ArcSwap<Config>>,
    /// What the shards share.
    pub shared: Arc<Shared>,
    /// The shards' queues.
    pub posts: Arc<[Post]>,
    /// Their clock.
    pub clock: Clock,
    /// What TLS needs, where it is configured.
    pub tls: Option<Tls>,
}

/// Every connection, by what messages look for.
pub(in crate::net) struct Connections {
    surface: Surface,
    tls: ArcSwapOption<Tls>,
    runtime: Handle,
    links: DashMap<ConnectionId, Arc<Link>>,
    /// Those that we opened or are opening, one for each.
    opened: DashMap<Route, Arc<Link>>,
    /// Those that others opened, by their addresses and aliases.
    accepted: DashMap<(u8, SocketAddr), Arc<Link>>,
    seats: Arc<Seats>,
    next_id: AtomicU64,
    queued_bytes: Arc<AtomicUsize>,
    counters: Arc<StreamCounters>,
    ending: watch::Receiver<bool>,
    quiet: Quiet,
    /// Told when a connection has ended.
    ended: Notify,
}

/// Where a connection of ours leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Route {
    listener: u8,
    to: SocketAddr,
    /// On TLS, whose certificate was verified.
    name: Option<Arc<str>>,
}

impl Connections {
    pub(super) fn new(
        mut surface: Surface,
        runtime: Handle,
        ending: watch::Receiver<bool>,
    ) -> Self {
        let started_ms = surface.clock.now().unix_ms.unsigned_abs().max(1);
        let tls = surface.tls.take().map(Arc::new);
        Self {
            surface,
            tls: ArcSwapOption::new(tls),
            runtime,
            links: DashMap::new(),
            opened: DashMap::new(),
            accepted: DashMap::new(),
            seats: Arc::default(),
            next_id: AtomicU64::new(started_ms << IDS_PER_MS),
            queued_bytes: Arc::default(),
            counters: Arc::default(),
            ending,
            quiet: Quiet::default(),
            ended: Notify::new(),
        }
    }

    /// Sends a message over the connection that its hop wants, or one that is opened for it. It
    /// never waits: the message lies in the connection's queue afterwards.
    ///
    /// # Errors
    /// It cannot be sent at all. What fails later is told to every shard.
    pub(in crate::net) fn send(
        self: &Arc<Self>,
        hop: &Hop,
        message: &[u8],
    ) -> Result<(), Unreachable> {
        let failure = |connection| Unreachable {
            to: hop.to,
            listener: Some(hop.listener),
            connection,
        };
        if let Some(id) = hop.flow.connection() {
            let pushed = self.link(id).map(|link| link.queue.push(message));
            match (pushed, hop.flow) {
                (Some(Ok(())), _) => return Ok(()),
                (Some(Err(Refused::Full)), _) | (_, Flow::Only(_)) => {
                    return Err(failure(Some(id)));
                }
                _ => {}
            }
        }
        // A connection that was found may end before the message lies in its queue.
        for _ in 0..2 {
            let link = self.link_to(hop).ok_or(failure(None))?;
            match link.queue.push(message) {
                Ok(()) => return Ok(()),
                Err(Refused::Full) => return Err(failure(Some(link.id))),
                Err(Refused::Closed) => self.forget(&link),
            }
        }
        Err(failure(None))
    }

    /// A connection to the hop's address; a new one where there is none.
    fn link_to(self: &Arc<Self>, hop: &Hop) -> Option<Arc<Link>> {
        let transport = self.transport(hop.listener)?;
        let name = hop.name.clone().filter(|_| transport == Transport::Tls);
        let route = Route {
            listener: hop.listener,
            to: hop.to,
            name,
        };
        if let Some(link) = self.opened.get(&route) {
            return Some(Arc::clone(&link));
        }
        let accepted = self.accepted.get(&(hop.listener, hop.to));
        if let Some(link) = accepted.filter(|link| link.may_serve(hop.to, hop.name.as_deref())) {
            return Some(Arc::clone(&link));
        }
        if transport.is_websocket() || *self.ending.borrow() {
            self.counters.refused(Refusal::NotOpen);
            return None;
        }
        self.open(route, transport)
    }

    fn open(self: &Arc<Self>, route: Route, transport: Transport) -> Option<Arc<Link>> {
        let (seat, opening) = self.seats_for_ours()?;
        let entry = match self.opened.entry(route) {
            Entry::Occupied(taken) => return Some(Arc::clone(taken.get())),
            Entry::Vacant(entry) => entry,
        };
        let route = entry.key();
        let link = self.new_link(End {
            id: self.new_id(),
            listener: route.listener,
            transport,
            peer: route.to,
            name: route.name.clone(),
            is_outgoing: true,
        });
        drop(entry.insert(Arc::clone(&link)));
        self.links.insert(link.id, Arc::clone(&link));
        let dialled = dial::dial(Arc::clone(self), Arc::clone(&link), (seat, opening));
        self.runtime.spawn(dialled);
        Some(link)
    }

    fn seats_for_ours(&self) -> Option<(Seat, Opening)> {
        let limits = self.limits();
        let Some(seat) = self.seats.take(limits.connections) else {
            self.counters.refused(Refusal::Connections);
            return None;
        };
        let Some(opening) = self.seats.begin(Opener::Us, limits.connections_opening) else {
            self.counters.refused(Refusal::Opening);
            return None;
        };
        Some((seat, opening))
    }

    /// Adds a connection that somebody opened to us; what it says comes afterwards.
    pub(super) fn admit(&self, listener: u8, peer: SocketAddr) -> Option<Arc<Link>> {
        let transport = self.transport(listener)?;
        Some(self.new_link(End {
            id: self.new_id(),
            listener,
            transport,
            peer,
            name: None,
            is_outgoing: false,
        }))
    }

    /// Shows a connection to shards and API, now that it is open.
    pub(super) fn show(&self, link: &Arc<Link>) {
        let now = self.surface.clock.now();
        link.touch(now.ms);
        let view = FlowView {
            listener: link.listener,
            peer: link.peer,
            identities: link.identities.get().cloned().unwrap_or_default(),
            is_outgoing: link.is_outgoing,
            since_unix_ms: now.unix_ms,
        };
        self.surface.shared.flows.insert(link.id, view);
        self.counters.opened(link.transport, link.is_outgoing);
        if !link.is_outgoing {
            self.links.insert(link.id, Arc::clone(link));
            self.stand_for(link, link.peer);
        }
    }

    /// Lets requests to another address go over a connection, too.
    pub(super) fn add_alias(&self, link: &Arc<Link>, alias: SocketAddr) {
        if link.add_alias(alias) {
            self.stand_for(link, alias);
        }
    }

    fn stand_for(&self, link: &Arc<Link>, address: SocketAddr) {
        let key = (link.listener, address);
        self.accepted.insert(key, Arc::clone(link));
    }

    /// Takes an open connection out of all tables, and tells the shards unless that is no failure.
    /// What waits in its queue can still be sent.
    pub(super) fn retire(&self, link: &Arc<Link>, why: Closed) {
        self.surface.shared.flows.remove(link.id);
        self.counters.closed(link.transport, why);
        self.give_up(link, !matches!(why, Closed::Idle | Closed::Ending));
    }

    /// As [`Connections::retire`], for one that never was open.
    pub(super) fn give_up(&self, link: &Arc<Link>, is_failure: bool) {
        link.queue.finish();
        self.forget(link);
        self.links.remove(&link.id);
        if is_failure {
            self.tell(Unreachable {
                to: link.peer,
                listener: Some(link.listener),
                connection: Some(link.id),
            });
        }
    }

    /// A task has ended, and its place is free.
    pub(super) fn ended(&self) {
        self.ended.notify_waiters();
    }

    /// Lets no new message find the connection by its addresses.
    fn forget(&self, link: &Arc<Link>) {
        let is_same = |found: &Arc<Link>| found.id == link.id;
        if link.is_outgoing {
            let route = Route {
                listener: link.listener,
                to: link.peer,
                name: link.name.clone(),
            };
            self.opened.remove_if(&route, |_, found| is_same(found));
        }
        for address in link.addresses() {
            let key = (link.listener, address);
            self.accepted.remove_if(&key, |_, found| is_same(found));
        }
    }

    /// Tells every shard of a failure: which of them waits for an answer is not known here.
    fn tell(&self, failure: Unreachable) {
        for post in self.surface.posts.iter() {
            post.push(Handed::Unreachable(failure));
            post.waker.wake();
        }
    }

    fn new_link(&self, end: End) -> Arc<Link> {
        let limits = self.limits();
        let bounds = Bounds {
            messages: limits.connection_queue_messages,
            bytes: limits.connection_queue_bytes,
        };
        let queue = Queue::new(bounds, Arc::clone(&self.queued_bytes));
        Arc::new(Link::new(end, queue, self.surface.clock.now().ms))
    }

    fn new_id(&self) -> ConnectionId {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        ConnectionId(NonZeroU64::new(id).unwrap_or(NonZeroU64::MIN))
    }

    fn link(&self, id: ConnectionId) -> Option<Arc<Link>> {
        self.links.get(&id).map(|link| Arc::clone(&link))
    }

    /// Sends what waits everywhere, then closes.
    pub(super) fn finish_all(&self) {
        for entry in &self.links {
            entry.value().queue.finish();
        }
    }

    /// Waits until there is no connection, nor one being opened.
    pub(super) async fn until_empty(&self) {
        loop {
            let ended = self.ended.notified();
            if self.seats.len() == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Takes out of the tables what was not closed in time.
    pub(super) fn forget_all(&self) {
        self.links.clear();
        self.opened.clear();
        self.accepted.clear();
        let mut left = Vec::new();
        self.surface.shared.flows.each(|id, _| left.push(id));
        for id in left {
            self.surface.shared.flows.remove(id);
        }
    }

    /// How many connections each table knows: all zero when nobody is connected.
    pub(in crate::net) fn sizes(&self) -> [usize; 4] {
        [
            self.links.len(),
            self.opened.len(),
            self.accepted.len(),
            self.seats.len(),
        ]
    }

    /// The bounds in force.
    pub(super) fn limits(&self) -> Limits {
        self.surface.config.load().limits
    }

    pub(super) fn surface(&self) -> &Surface {
        &self.surface
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(super) fn seats(&self) -> &Arc<Seats> {
        &self.seats
    }

    /// What they counted.
    pub(in crate::net) fn counters(&self) -> &Arc<StreamCounters> {
        &self.counters
    }

    /// Whether a line that others cause may be logged now.
    pub(super) fn may_log(&self) -> bool {
        self.quiet.may_speak(self.now_ms())
    }

    /// Becomes true when the server ends.
    pub(super) fn ending(&self) -> watch::Receiver<bool> {
        self.ending.clone()
    }

    /// What TLS needs, as it is in force.
    pub(in crate::net) fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.load_full()
    }

    /// Puts other certificates in force for connections to come.
    pub(in crate::net) fn put_tls(&self, tls: Option<Tls>) {
        if let Some(tls) = &tls {
            tls.warn(self.now_unix_s());
        }
        self.tls.store(tls.map(Arc::new));
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> &ArcSwap<Config> {
        &self.surface.config
    }

    /// What a listener speaks.
    pub(super) fn transport(&self, listener: u8) -> Option<Transport> {
        let listener = self.surface.listeners.get(usize::from(listener));
        listener.map(|(transport, _)| *transport)
    }

    pub(super) fn now_unix_s(&self) -> i64 {
        self.surface.clock.now().unix_ms.div_euclid(1_000)
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.surface.clock.now().ms
    }
}
