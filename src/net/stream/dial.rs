//! Connections that we open.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connections::Connections;
use super::counters::Refusal;
use super::link::Link;
use super::seat::{Opening, Seat};
use super::{listen, octets};

/// Opens a connection and speaks over it until it ends; messages wait in its queue meanwhile.
pub(super) async fn dial(
    connections: Arc<Connections>,
    link: Arc<Link>,
    (seat, opening): (Seat, Opening),
) {
    let limit = Duration::from_secs(connections.limits().connect_s.into());
    let connected = timeout(limit, connect(&connections, &link)).await;
    let connected = match connected {
        Ok(connected) => connected.map_err(|error| (Refusal::Unreachable, error.to_string())),
        Err(_) => Err((Refusal::Late, "no answer in time".to_owned())),
    };
    match connected {
        Ok(stream) => {
            drop(opening);
            connections.show(&link);
            octets::speak(&connections, &link, stream).await;
        }
        Err((why, error)) => {
            connections.counters().refused(why);
            tracing::info!(to = %link.peer, transport = link.transport.param(), error,
                "cannot connect");
            connections.give_up(&link, true);
        }
    }
    drop(seat);
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
