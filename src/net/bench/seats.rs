//! Sockets for every seat of every thread, before anything is sent.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use super::datagrams::{self, Datagrams, SeatSocket};
use super::error::BenchError;
use super::streams::{self, Streams};
use super::wires::{Inboxes, Wires};
use crate::bench::{Plan, Seat};
use crate::message::Transport;

/// How long a refusal of the server's machine is waited for.
const REFUSAL: Duration = Duration::from_millis(150);

/// One thread's sockets.
pub(super) struct Seated {
    pub addresses: [Option<SocketAddr>; 3],
    pub sockets: Sockets,
}

/// What becomes a thread's wires, in that thread.
pub(super) enum Sockets {
    Datagrams(Vec<SeatSocket>),
    Streams(Streams),
}

impl Sockets {
    pub(super) fn into_wires(self) -> Wires {
        match self {
            Self::Datagrams(sockets) => Wires::Datagrams(Datagrams::new(sockets)),
            Self::Streams(streams) => Wires::Streams(streams),
        }
    }
}

/// Takes the seats of every thread. Each has a caller's port of its own; those who are called
/// have the same.
///
/// # Errors
/// An address cannot be had, or nothing listens at the server's.
pub(super) fn take(plan: &Plan, inboxes: &Arc<Inboxes>) -> Result<Vec<Seated>, BenchError> {
    match plan.transport {
        Transport::Udp => {
            refused(plan.server)?;
            take_datagrams(plan)
        }
        _ => take_streams(plan, inboxes),
    }
}

/// Whether the server's machine says that nothing listens there: two line ends, which keep a path
/// open and mean nothing (RFC 5626 §3.5.1), would be refused.
#[expect(clippy::disallowed_methods, reason = "sockets belong here")]
fn refused(server: SocketAddr) -> Result<(), BenchError> {
    let any = if server.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let failed = |source| BenchError::Refused { server, source };
    let probe = UdpSocket::bind(any).map_err(failed)?;
    probe.connect(server).map_err(failed)?;
    probe.set_read_timeout(Some(REFUSAL)).map_err(failed)?;
    probe.send(b"\r\n\r\n").map_err(failed)?;
    match probe.recv(&mut [0; 64]) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(failed(error)),
        _ => Ok(()),
    }
}

/// The address of a seat for a thread: the callers' ports follow each other.
fn address_of(plan: &Plan, seat: Seat, thread: u8) -> Option<SocketAddr> {
    let mut address = plan.seat(seat)?;
    if seat == Seat::Caller && address.port() != 0 {
        address.set_port(address.port().saturating_add(thread.into()));
    }
    Some(address)
}

fn take_datagrams(plan: &Plan) -> Result<Vec<Seated>, BenchError> {
    let mut seated = Vec::new();
    let mut plan = plan.clone();
    for thread in 0..plan.threads {
        let mut addresses = [None; 3];
        let mut sockets = Vec::new();
        for (seat, bound) in Seat::ALL.into_iter().zip(&mut addresses) {
            let Some(address) = address_of(&plan, seat, thread) else {
                continue;
            };
            let failed = |source| BenchError::Bind {
                seat,
                address,
                source,
            };
            let socket = match seat {
                Seat::Caller => SeatSocket::towards(plan.server, address),
                _ => bind_called(seat, address, (thread, plan.threads)),
            };
            let socket = socket.map_err(failed)?;
            let local = socket.address().map_err(failed)?;
            *bound = local;
            if let Some(place) = plan.seats.get_mut(seat as usize)
                && seat != Seat::Caller
            {
                *place = local;
            }
            sockets.push(socket);
        }
        seated.push(Seated {
            addresses,
            sockets: Sockets::Datagrams(sockets),
        });
    }
    Ok(seated)
}

/// The socket of a seat that is called, which all threads have on the same port.
fn bind_called(
    seat: Seat,
    address: SocketAddr,
    (thread, threads): (u8, u8),
) -> io::Result<SeatSocket> {
    let is_shared = threads > 1;
    if is_shared && thread == 0 && address.port() != 0 {
        // A port that is shared is shared with every program that asks for it.
        datagrams::bind(address, false)?;
    }
    Ok(SeatSocket::new(seat, datagrams::bind(address, is_shared)?))
}

fn take_streams(plan: &Plan, inboxes: &Arc<Inboxes>) -> Result<Vec<Seated>, BenchError> {
    let server = plan.server;
    let mut seated = Vec::new();
    let mut plan = plan.clone();
    for thread in 0..plan.threads {
        let mut addresses = [None; 3];
        let mut listeners = Vec::new();
        for (seat, bound) in Seat::ALL.into_iter().zip(&mut addresses) {
            let Some(address) = address_of(&plan, seat, thread) else {
                continue;
            };
            let failed = |source| BenchError::Bind {
                seat,
                address,
                source,
            };
            let is_shared = seat != Seat::Caller && plan.threads > 1;
            let listener = streams::listen(address, is_shared).map_err(failed)?;
            let local = listener.local_addr().map_err(failed)?;
            *bound = Some(local);
            if let Some(place) = plan.seats.get_mut(seat as usize)
                && seat != Seat::Caller
            {
                *place = Some(local);
            }
            listeners.push((seat, listener));
        }
        let from = plan
            .seat(Seat::Caller)
            .map(|seat| SocketAddr::new(seat.ip(), 0));
        let from = from.unwrap_or(server);
        let stream = streams::connect(from, server)
            .map_err(|source| BenchError::Refused { server, source })?;
        let streams = Streams::new(thread, Arc::clone(inboxes), listeners, stream);
        seated.push(Seated {
            addresses,
            sockets: Sockets::Streams(streams.map_err(BenchError::Thread)?),
        });
    }
    Ok(seated)
}
