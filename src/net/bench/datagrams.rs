//! The seats of one thread over UDP.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::super::batch::{Receiver, kernel_drops};
use super::super::sender::{Manner, Sender};
use super::os;
use crate::bench::{Hop, Outbox, Seat};

/// How much a socket's buffers shall hold.
const BUFFER_BYTES: i32 = 16 << 20;
/// The same, where the system's limit cannot be passed.
const MODEST_BUFFER_BYTES: usize = 4 << 20;

/// How many rounds pass between two looks at what the server sends from another address.
const OTHERS_EVERY: u32 = 16;

/// One thread's sockets.
pub(super) struct Datagrams {
    seats: Vec<SeatSocket>,
    receiver: Receiver,
    sender: Sender,
    join_from: usize,
    round: u32,
}

/// The socket of a seat, with one beside it on the same port that is connected to the server: what
/// goes there costs the kernel less, and what comes from elsewhere still arrives.
pub(super) struct SeatSocket {
    seat: Seat,
    socket: Socket,
    connected: Option<(SocketAddr, Socket)>,
}

/// Binds a seat; `is_shared` where several threads have the same address.
///
/// # Errors
/// What the system says.
pub(super) fn bind(address: SocketAddr, is_shared: bool) -> io::Result<Socket> {
    let socket = open(address)?;
    if is_shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_recv_buffer_size(MODEST_BUFFER_BYTES)?;
    socket.set_send_buffer_size(MODEST_BUFFER_BYTES)?;
    os::enlarge(socket.as_fd(), BUFFER_BYTES);
    Ok(socket)
}

impl SeatSocket {
    /// A seat that is called.
    pub(super) fn new(seat: Seat, socket: Socket) -> Self {
        Self {
            seat,
            socket,
            connected: None,
        }
    }

    /// The caller's seat, which mostly speaks with the server.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn towards(server: SocketAddr, address: SocketAddr) -> io::Result<Self> {
        // First alone, so that nobody else has the port.
        let address = match address.port() {
            0 => address,
            _ => {
                bind(address, false)?;
                address
            }
        };
        let socket = open(address)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        let bound = socket.local_addr()?;
        let connected = open(address)?;
        connected.set_reuse_address(true)?;
        connected.bind(&bound)?;
        connected.connect(&server.into())?;
        Ok(Self {
            seat: Seat::Caller,
            socket,
            connected: Some((server, connected)),
        })
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn address(&self) -> io::Result<Option<SocketAddr>> {
        Ok(self.socket.local_addr()?.as_socket())
    }

    fn sockets(&self) -> impl Iterator<Item = &Socket> {
        let connected = self.connected.iter().map(|(_, socket)| socket);
        std::iter::once(&self.socket).chain(connected)
    }
}

impl Datagrams {
    /// The sockets of one thread. With `joins`, the kernel is given messages by the train: on
    /// the way to another machine, its card would have to be able to divide them.
    pub(super) fn new(seats: Vec<SeatSocket>, joins: bool) -> Self {
        Self {
            seats,
            receiver: Receiver::new(),
            sender: Sender::new(),
            join_from: if joins { 2 } else { usize::MAX },
            round: 0,
        }
    }

    /// Hands over what has arrived, a batch of each socket's; how many that were.
    #[inline]
    pub(super) fn receive(&mut self, mut each: impl FnMut(Hop, &[u8])) -> io::Result<usize> {
        self.round = self.round.wrapping_add(1);
        let wants_others = self.round.is_multiple_of(OTHERS_EVERY);
        let mut total = 0;
        for seat in &self.seats {
            if let Some((_, socket)) = &seat.connected {
                total += receive(&mut self.receiver, socket, seat.seat, &mut each)?;
            }
            if wants_others || seat.connected.is_none() {
                total += receive(&mut self.receiver, &seat.socket, seat.seat, &mut each)?;
            }
        }
        Ok(total)
    }

    /// Sends what waits and goes over UDP; how much of it the kernel did not take.
    #[inline]
    pub(super) fn send(&mut self, outbox: &Outbox) -> u64 {
        let mut failed = 0;
        let mut send = |socket: &Socket, manner, seat, is_meant: &dyn Fn(SocketAddr) -> bool| {
            let meant = outbox.iter().filter(|(hop, _)| {
                hop.seat == seat && hop.connection.is_none() && is_meant(hop.to)
            });
            let messages = meant.map(|(hop, bytes)| (hop.to, bytes));
            self.sender
                .send(socket.as_fd(), manner, messages, &mut |_, _| failed += 1);
        };
        let manner = |is_connected| Manner {
            join_from: self.join_from,
            is_connected,
        };
        for seat in &self.seats {
            let peer = seat.connected.as_ref().map(|(peer, _)| *peer);
            if let Some((peer, socket)) = &seat.connected {
                send(socket, manner(true), seat.seat, &|to| to == *peer);
            }
            send(&seat.socket, manner(false), seat.seat, &|to| {
                Some(to) != peer
            });
        }
        failed
    }

    /// What is waited for; whatever wakes us is looked at first.
    pub(super) fn waited_for(&mut self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.round = OTHERS_EVERY - 1;
        let sockets = self.seats.iter().flat_map(SeatSocket::sockets);
        sockets.map(AsFd::as_fd)
    }

    /// How many datagrams the kernel dropped, as this thread had not taken others yet.
    pub(super) fn drops(&self) -> u64 {
        let sockets = self.seats.iter().flat_map(SeatSocket::sockets);
        sockets
            .filter_map(|socket| kernel_drops(socket.as_fd()))
            .map(u64::from)
            .sum()
    }
}

#[inline]
fn receive(
    receiver: &mut Receiver,
    socket: &Socket,
    seat: Seat,
    each: &mut impl FnMut(Hop, &[u8]),
) -> io::Result<usize> {
    let count = receiver.receive(socket.as_fd(), false)?;
    for slot in 0..count {
        if let Some(datagram) = receiver.get(slot) {
            let hop = Hop {
                seat,
                to: datagram.from,
                connection: None,
            };
            each(hop, datagram.bytes);
        }
    }
    Ok(count)
}
