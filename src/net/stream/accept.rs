//! Connections that others open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;

use super::connections::Connections;
use super::counters::Refusal;
use super::link::Link;
use super::seat::{Opener, Opening, Seat};
use super::{listen, octets, proxy_header, websocket};
use crate::message::Transport;

/// The names in a certificate.
type Identities = Vec<Box<str>>;

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

/// Something that can be spoken over.
enum Welcomed {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Ws(Box<WebSocketStream<TcpStream>>),
    Wss(Box<WebSocketStream<TlsStream<TcpStream>>>),
}

impl Guest {
    async fn stay(mut self, stream: TcpStream) {
        let limits = self.connections.limits();
        let limit = Duration::from_secs(limits.handshake_s.into());
        let welcomed = match timeout(limit, self.welcome(stream)).await {
            Ok(welcomed) => welcomed,
            Err(_) => Err(Refusal::Late),
        };
        let Self {
            connections,
            listener,
            peer,
            seat,
            opening,
        } = self;
        drop(opening);
        match welcomed {
            Ok((stream, identities)) => {
                if let Some(link) = connections.admit(listener, peer) {
                    let _ = link.identities.set(identities);
                    connections.show(&link);
                    speak(&connections, &link, stream).await;
                }
            }
            Err(why) => {
                connections.counters().refused(why);
                tracing::debug!(%peer, listener, reason = why.label(), "a connection is refused");
            }
        }
        drop(seat);
        connections.ended();
    }

    /// Does what comes before the first message. Also tells the names in a verified certificate.
    async fn welcome(&mut self, stream: TcpStream) -> Result<(Welcomed, Identities), Refusal> {
        listen::prepare(&stream).map_err(|_| Refusal::Accept)?;
        let mut stream = stream;
        self.hear_of_source(&mut stream).await?;
        self.count_source()?;
        let limits = self.connections.limits();
        let transport = self.connections.transport(self.listener);
        if !transport.is_some_and(Transport::is_secure) {
            let welcomed = match transport {
                Some(Transport::Ws) => {
                    Welcomed::Ws(Box::new(websocket::welcome(stream, limits).await?))
                }
                _ => Welcomed::Tcp(stream),
            };
            return Ok((welcomed, Identities::new()));
        }
        let tls = self.connections.tls().ok_or(Refusal::Tls)?;
        let (stream, identities) = tls.accept(stream).await.map_err(|error| {
            if self.connections.may_log() {
                let peer = self.peer;
                tracing::info!(%peer, %error, "a TLS handshake failed");
            }
            Refusal::Tls
        })?;
        let welcomed = match transport {
            Some(Transport::Wss) => {
                Welcomed::Wss(Box::new(websocket::welcome(stream, limits).await?))
            }
            _ => Welcomed::Tls(Box::new(stream)),
        };
        Ok((welcomed, identities))
    }

    /// Lets a load balancer tell whom it passes on.
    async fn hear_of_source(&mut self, stream: &mut TcpStream) -> Result<(), Refusal> {
        let config = self.connections.surface().config.load_full();
        let mut balancers = config.sip.proxy_protocol.iter();
        if balancers.any(|network| network.holds(self.peer.ip())) {
            let told = proxy_header::read(stream).await;
            let told = told.map_err(|_| Refusal::ProxyHeader)?;
            self.peer = told.unwrap_or(self.peer);
        }
        Ok(())
    }

    /// Counts the connection among those of its source, unless that is a peer.
    fn count_source(&mut self) -> Result<(), Refusal> {
        let source = self.peer.ip();
        let surface = self.connections.surface();
        let is_known = surface.shared.policy.load().peer(source, &[]).1;
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

async fn speak(connections: &Arc<Connections>, link: &Arc<Link>, welcomed: Welcomed) {
    match welcomed {
        Welcomed::Tcp(stream) => octets::speak(connections, link, stream).await,
        Welcomed::Tls(stream) => octets::speak(connections, link, stream).await,
        Welcomed::Ws(stream) => websocket::speak(connections, link, *stream).await,
        Welcomed::Wss(stream) => websocket::speak(connections, link, *stream).await,
    }
}
