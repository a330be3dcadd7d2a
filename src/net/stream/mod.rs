//! Connections: TCP, TLS, WebSocket and secure WebSocket, beside the shards and their datagrams.
//!
//! A few threads of their own run one task for each connection. It cuts what comes into messages and
//! puts each into the queue of the shard that owns its call (`inbox`); a shard that wants something
//! sent puts it into the connection's own bounded queue and goes on ([`Connections::send`]). So no
//! shard waits for a peer, and a peer that does not read hurts only itself. Nothing here knows what
//! a message means, but for what a connection is chosen by (`inbox`, RFC 5923).
//!
//! Entry point: [`Streams::start`].

mod accept;
mod connections;
mod counters;
mod dial;
mod inbox;
mod link;
mod listen;
mod octets;
mod proxy_header;
mod queue;
mod refuse;
mod renew;
mod seat;
mod tls;
mod websocket;

pub(super) use connections::{Connections, Surface};
pub use counters::{Labelled, StreamCounters};
pub(super) use listen::bind;
pub use tls::CertificateFacts;
pub(super) use tls::Tls;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::priority;
use super::socket::allow_descriptors;

/// Threads at most; a connection's work is little beside a shard's.
const THREADS: usize = 4;
/// Descriptors for all but connections.
const OTHER_DESCRIPTORS: u64 = 1_000;
/// How long the last messages and the ends of connections may take when the server ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// The running connections and their listeners. Dropping it sends what waits and closes them all.
pub(super) struct Streams {
    runtime: Option<Runtime>,
    connections: Arc<Connections>,
    ending: watch::Sender<bool>,
}

impl Streams {
    /// Threads for connections, before anybody can be connected.
    pub(super) fn new(surface: Surface) -> io::Result<Self> {
        let threads = surface.posts.len().clamp(1, THREADS);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("streams")
            .on_thread_start(priority::go_first)
            .enable_all()
            .build()?;
        let ending = watch::Sender::new(false);
        let connections = Connections::new(surface, runtime.handle().clone(), ending.subscribe());
        Ok(Self {
            runtime: Some(runtime),
            connections: Arc::new(connections),
            ending,
        })
    }

    /// What the shards send with.
    pub(super) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// Begins to accept connections; each socket has the index of its listener.
    pub(super) fn start(&self, sockets: Vec<(u8, TcpListener)>) -> io::Result<()> {
        let handle = self.connections.runtime();
        let _entered = handle.enter();
        self.make_room();
        for (listener, socket) in sockets {
            let socket = tokio::net::TcpListener::from_std(socket)?;
            handle.spawn(accept::accept(
                Arc::clone(&self.connections),
                listener,
                socket,
            ));
        }
        if self.connections.tls().is_some() {
            handle.spawn(renew::watch(Arc::clone(&self.connections)));
        }
        Ok(())
    }
}

impl Streams {
    /// Lets the process have as many descriptors as connections are allowed.
    fn make_room(&self) {
        let connections = self.connections.limits().connections;
        let wanted = connections as u64 + OTHER_DESCRIPTORS;
        match allow_descriptors(wanted) {
            Ok(granted) if granted < wanted => tracing::warn!(
                connections,
                granted,
                "the process may have fewer descriptors than limits.connections needs; raise its \
                 hard limit (LimitNOFILE, ulimit -n)"
            ),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the limit of descriptors cannot be raised"),
        }
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.ending.send_replace(true);
        self.connections.finish_all();
        if let Some(runtime) = self.runtime.take() {
            let connections = Arc::clone(&self.connections);
            let all_closed = async move {
                let closed = connections.until_empty();
                let _ = tokio::time::timeout(FAREWELL, closed).await;
            };
            runtime.block_on(all_closed);
            runtime.shutdown_timeout(FAREWELL);
        }
        self.connections.forget_all();
    }
}
