//! Sockets for every seat of every thread, before anything is sent.

use std::io;
use std::net::{SocketAddr, TcpStream, UdpSocket};
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
    datagrams: Vec<SeatSocket>,
    streams: Streams,
    joins: bool,
}

impl Seated {
    /// The same as the thread uses them; made in it.
    pub(super) fn into_wires(self) -> Wires {
        Wires::new(Datagrams::new(self.datagrams, self.joins), self.streams)
    }
}

/// Takes the seats of every thread. Each has a caller's port of its own; those who are called
/// have the same.
///
/// # Errors
/// An address cannot be had, or nothing listens at the server's.
pub(super) fn take(plan: &Plan, inboxes: &Arc<Inboxes>) -> Result<Vec<Seated>, BenchError> {
    if plan.transport == Transport::Udp {
        refused(plan.server)?;
    }
    let mut plan = plan.clone();
    let mut seated = Vec::new();
    for thread in 0..plan.threads {
        let one = take_one(&plan, thread, inboxes)?;
        // The threads that follow are called at the same ports.
        let called = one.addresses.iter().zip(&mut plan.seats).skip(1);
        called.for_each(|(bound, seat)| *seat = *bound);
        seated.push(one);
    }
    Ok(seated)
}

fn take_one(plan: &Plan, thread: u8, inboxes: &Arc<Inboxes>) -> Result<Seated, BenchError> {
    let mut addresses = [None; 3];
    let (mut datagrams, mut listeners) = (Vec::new(), Vec::new());
    for (seat, bound) in Seat::ALL.into_iter().zip(&mut addresses) {
        let Some(address) = address_of(plan, seat, thread) else {
            continue;
        };
        let failed = |source| BenchError::Bind {
            seat,
            address,
            source,
        };
        let threads = (thread, plan.threads);
        match plan.transport {
            Transport::Udp => {
                let socket = match seat {
                    Seat::Caller => SeatSocket::towards(plan.server, address),
                    _ => bind_called(seat, address, threads),
                };
                let socket = socket.map_err(failed)?;
                *bound = socket.address().map_err(failed)?;
                datagrams.push(socket);
                let beside = bound.filter(|_| seat != Seat::Caller);
                // Where the other transport's port is taken, it is done without.
                let beside = beside.and_then(|at| streams::listen(at, plan.threads > 1).ok());
                listeners.extend(beside.map(|listener| (seat, listener)));
            }
            _ => {
                let is_shared = seat != Seat::Caller && plan.threads > 1;
                let listener = streams::listen(address, is_shared).map_err(failed)?;
                *bound = Some(listener.local_addr().map_err(failed)?);
                listeners.push((seat, listener));
                let beside = bound.filter(|_| seat != Seat::Caller);
                let beside = beside.and_then(|at| bind_called(seat, at, threads).ok());
                datagrams.extend(beside);
            }
        }
    }
    let server = match plan.transport {
        Transport::Udp => None,
        _ => Some(connected(plan)?),
    };
    let streams = Streams::new(thread, Arc::clone(inboxes), listeners, server);
    Ok(Seated {
        addresses,
        datagrams,
        streams: streams.map_err(BenchError::Thread)?,
        joins: plan.server.ip().is_loopback(),
    })
}

/// The caller's connection to the server.
fn connected(plan: &Plan) -> Result<TcpStream, BenchError> {
    let server = plan.server;
    let from = plan.seat(Seat::Caller);
    let from = from.map_or(server, |seat| SocketAddr::new(seat.ip(), 0));
    streams::connect(from, server).map_err(|source| BenchError::Refused { server, source })
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
