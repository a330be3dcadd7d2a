//! The seats of one thread over UDP.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, Socket, Type};

use super::super::batch::{Receiver, Sender, kernel_drops};
use super::os;
use crate::bench::{Hop, Outbox, Seat};

/// How much a socket's buffers shall hold.
const BUFFER_BYTES: i32 = 16 << 20;
/// The same, where the system's limit cannot be passed.
const MODEST_BUFFER_BYTES: usize = 4 << 20;

/// One thread's sockets.
pub(super) struct Datagrams {
    seats: Vec<(Seat, Socket)>,
    receiver: Receiver,
    sender: Sender,
}

/// Binds a seat; `is_shared` where several threads have the same address.
///
/// # Errors
/// What the system says.
pub(super) fn bind(address: SocketAddr, is_shared: bool) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if is_shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_recv_buffer_size(MODEST_BUFFER_BYTES)?;
    socket.set_send_buffer_size(MODEST_BUFFER_BYTES)?;
    os::enlarge(socket.as_fd(), BUFFER_BYTES);
    socket.bind(&address.into())?;
    Ok(socket)
}

impl Datagrams {
    /// The sockets of one thread.
    pub(super) fn new(seats: Vec<(Seat, Socket)>) -> Self {
        Self {
            seats,
            receiver: Receiver::new(),
            sender: Sender::new(),
        }
    }

    /// Hands over what has arrived, a batch of each socket's; how many that were.
    #[inline]
    pub(super) fn receive(&mut self, mut each: impl FnMut(Hop, &[u8])) -> io::Result<usize> {
        let mut total = 0;
        for (seat, socket) in &self.seats {
            let count = self.receiver.receive(socket.as_fd(), false)?;
            for slot in 0..count {
                if let Some(datagram) = self.receiver.get(slot) {
                    let hop = Hop {
                        seat: *seat,
                        to: datagram.from,
                        connection: None,
                    };
                    each(hop, datagram.bytes);
                }
            }
            total += count;
        }
        Ok(total)
    }

    /// Sends what waits; how many the kernel did not take.
    #[inline]
    pub(super) fn send(&mut self, outbox: &Outbox) -> u64 {
        let mut failed = 0;
        for (seat, socket) in &self.seats {
            let messages = outbox.of(*seat).map(|(hop, bytes)| (hop.to, bytes));
            let mut count = |_, _: &io::Error| failed += 1;
            self.sender.send(socket.as_fd(), messages, &mut count);
        }
        failed
    }

    /// Waits until something arrives, or the time is over.
    pub(super) fn wait(&self, timeout_ns: u64) {
        let sockets = self.seats.iter().map(|(_, socket)| socket.as_fd());
        os::wait(sockets, timeout_ns);
    }

    /// How many datagrams the kernel dropped, as this thread had not taken others yet.
    pub(super) fn drops(&self) -> u64 {
        let drops = self.seats.iter();
        drops
            .filter_map(|(_, socket)| kernel_drops(socket.as_fd()))
            .map(u64::from)
            .sum()
    }
}
