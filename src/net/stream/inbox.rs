//! From a connection to the shard that owns the call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::super::post::Handed;
use super::connections::Connections;
use super::link::Link;
use crate::engine::{Sharder, Source};
use crate::message::{Index, Message, Method, Transport};

/// How long a connection is not read while the shard's queue has no room, before the message is
/// dropped.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether there is room.
const LOOK: Duration = Duration::from_millis(2);

/// Hands one connection's messages over.
pub(super) struct Inbox {
    connections: Arc<Connections>,
    link: Arc<Link>,
    sharder: Sharder,
    index: Index,
}

impl Inbox {
    pub(super) fn new(connections: &Arc<Connections>, link: &Arc<Link>) -> Self {
        let surface = connections.surface();
        let shards = surface.posts.len() as u16;
        Self {
            connections: Arc::clone(connections),
            link: Arc::clone(link),
            sharder: Sharder::new(&surface.shared.secret, shards),
            index: Index::new(),
        }
    }

    /// Hands a message over. While the shard is behind, this waits, and so does the connection.
    pub(super) async fn take(&mut self, bytes: Bytes) {
        let received_ms = self.connections.now_ms();
        self.link.touch(received_ms);
        let owner = self.owner(&bytes);
        let counters = self.connections.counters();
        counters.message_in(self.link.transport);
        let source = Source {
            address: self.link.peer,
            listener: self.link.listener,
            connection: Some(self.link.id),
            waited_ms: 0,
        };
        let Some(post) = self.connections.surface().posts.get(usize::from(owner)) else {
            return;
        };
        let handed = || Handed::Message {
            source,
            bytes: bytes.clone(),
            received_ms,
        };
        let mut give_up_at = None;
        while !post.push_with_room(handed) {
            post.waker.wake();
            let now = Instant::now();
            match give_up_at {
                None => {
                    counters.held_back();
                    give_up_at = Some(now + PATIENCE);
                }
                Some(at) if now >= at => return counters.dropped(),
                Some(_) => {}
            }
            sleep(LOOK).await;
        }
        post.waker.wake();
    }

    /// The shard that owns a message's call. What it says about the connection is learnt.
    fn owner(&mut self, bytes: &[u8]) -> u16 {
        let message = self.index.parse(bytes);
        if let Ok(message) = &message {
            learn(&self.connections, &self.link, message);
        }
        self.sharder.owner(&message)
    }
}

/// Notes what a request says about its connection: that somebody registers over it, and that
/// requests may come back over it (RFC 5923).
fn learn(connections: &Connections, link: &Arc<Link>, message: &Message<'_>) {
    let Some(method) = message.method() else {
        return;
    };
    if method == Method::Register {
        link.keep();
    }
    if !link.is_outgoing
        && let Some(alias) = alias(connections, link, message)
    {
        connections.add_alias(link, alias);
    }
}

/// The address that an `alias` in the top Via makes the connection stand for: the source's, with
/// the port of sent-by. On TLS its host must be one of the certificate's names (RFC 5923 §8); on TCP
/// the source must be known, and `sip.reuse_tcp` switched on.
fn alias(connections: &Connections, link: &Link, message: &Message<'_>) -> Option<SocketAddr> {
    let via = message.top_via().ok()?;
    via.param(b"alias")?;
    let host = std::str::from_utf8(via.host).ok()?;
    let surface = connections.surface();
    let may = match link.transport {
        Transport::Tls => link.has_identity(host),
        Transport::Tcp => {
            let policy = surface.shared.policy.load();
            surface.config.load().sip.reuse_tcp && policy.peer(link.peer.ip(), &[]).1
        }
        _ => false,
    };
    let port = via.port.unwrap_or(link.transport.default_port());
    may.then(|| SocketAddr::new(link.peer.ip(), port))
}
