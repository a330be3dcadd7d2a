//! Connections that others open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::connections::Connections;
use super::counters::Refusal;
use super::seat::{Opener, Opening, Seat};
use super::{listen, octets};

/// How long nothing is accepted after the system could not, for want of descriptors perhaps.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the server ends.
pub(super) async fn accept(connections: Arc<Connections>, listener: u8, socket: TcpListener) {
    let mut ending = connections.ending();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = ending.wait_for(|ending| *ending) => return,
        };
        match accepted {
            Ok((stream, peer)) => begin(&connections, stream, (listener, peer)),
            Err(error) => {
                connections.counters().refused(Refusal::Accept);
                tracing::warn!(%error, "a connection cannot be accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Takes a place for a connection, or closes it.
fn begin(connections: &Arc<Connections>, stream: TcpStream, (listener, peer): (u8, SocketAddr)) {
    let limits = connections.limits();
    let seats = connections.seats();
    let Some(seat) = seats.take(limits.connections) else {
        return connections.counters().refused(Refusal::Connections);
    };
    let Some(opening) = seats.begin(Opener::Peer, limits.connections_opening) else {
        return connections.counters().refused(Refusal::Opening);
    };
    let guest = Guest {
        connections: Arc::clone(connections),
        listener,
        peer,
        seat,
        opening,
    };
    connections.runtime().spawn(guest.stay(stream));
}

/// Somebody who has connected.
struct Guest {
    connections: Arc<Connections>,
    listener: u8,
    peer: SocketAddr,
    seat: Seat,
    opening: Opening,
}

impl Guest {
    async fn stay(mut self, stream: TcpStream) {
        let limits = self.connections.limits();
        let limit = Duration::from_secs(limits.handshake_s.into());
        let welcomed = match timeout(limit, self.welcome(stream)).await {
            Ok(welcomed) => welcomed,
            Err(_) => Err(Refusal::Late),
        };
        let stream = match welcomed {
            Ok(stream) => stream,
            Err(why) => return self.connections.counters().refused(why),
        };
        let Some(link) = self.connections.admit(self.listener, self.peer) else {
            return;
        };
        drop(self.opening);
        self.connections.show(&link);
        octets::speak(&self.connections, &link, stream).await;
        drop(self.seat);
    }

    async fn welcome(&mut self, stream: TcpStream) -> Result<TcpStream, Refusal> {
        listen::prepare(&stream).map_err(|_| Refusal::Accept)?;
        self.count_source()?;
        Ok(stream)
    }

    /// Counts the connection among those of its source, unless that is a peer.
    fn count_source(&mut self) -> Result<(), Refusal> {
        let source = self.peer.ip();
        let surface = self.connections.surface();
        let (_, is_known) = surface.shared.policy.load().peer(source);
        if is_known {
            return Ok(());
        }
        let limit = self.connections.limits().connections_per_source;
        match self.seat.come_from(source, limit) {
            true => Ok(()),
            false => Err(Refusal::PerSource),
        }
    }
}
