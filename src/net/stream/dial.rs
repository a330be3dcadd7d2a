//! Connections that we open.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::connections::Connections;
use super::counters::Refusal;
use super::link::Link;
use super::seat::{Opening, Seat};
use super::{listen, octets};
use crate::message::Transport;

/// Something that can be spoken over.
enum Opened {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Opens a connection and speaks over it until it ends; messages wait in its queue meanwhile.
pub(super) async fn dial(
    connections: Arc<Connections>,
    link: Arc<Link>,
    (seat, opening): (Seat, Opening),
) {
    match open(&connections, &link).await {
        Ok(opened) => {
            drop(opening);
            connections.show(&link);
            match opened {
                Opened::Tcp(stream) => octets::speak(&connections, &link, stream).await,
                Opened::Tls(stream) => octets::speak(&connections, &link, stream).await,
            }
        }
        Err((why, error)) => {
            connections.counters().refused(why);
            let transport = link.transport.param();
            if connections.may_log() {
                let name = link.name.as_deref();
                tracing::info!(to = %link.peer, transport, name, error, "cannot connect");
            }
            connections.give_up(&link, true);
        }
    }
    drop(seat);
    connections.ended();
}

async fn open(connections: &Connections, link: &Link) -> Result<Opened, (Refusal, String)> {
    let limits = connections.limits();
    let late = |_| (Refusal::Late, "no answer in time".to_owned());
    let limit = Duration::from_secs(limits.connect_s.into());
    let connected = timeout(limit, connect(connections, link)).await;
    let stream = connected
        .map_err(late)?
        .map_err(|error| (Refusal::Unreachable, error.to_string()))?;
    if link.transport != Transport::Tls {
        return Ok(Opened::Tcp(stream));
    }
    let failed = |error: io::Error| (Refusal::Tls, error.to_string());
    let tls = connections.tls().ok_or(io::ErrorKind::NotFound.into());
    let tls = tls.map_err(failed)?;
    let limit = Duration::from_secs(limits.handshake_s.into());
    let greeted = timeout(limit, tls.connect(stream, link)).await;
    let (stream, identities) = greeted.map_err(late)?.map_err(failed)?;
    let _ = link.identities.set(identities);
    Ok(Opened::Tls(Box::new(stream)))
}

/// Connects from the listener's address, which is the one that our Via tells.
async fn connect(connections: &Connections, link: &Link) -> io::Result<TcpStream> {
    let listeners = &connections.surface().listeners;
    let local = listeners.get(usize::from(link.listener));
    let (_, local) = local.ok_or(io::ErrorKind::NotFound)?;
    let socket = listen::from_address(*local, link.peer)?;
    let stream = socket.connect(link.peer).await?;
    listen::prepare(&stream)?;
    Ok(stream)
}
