//! The seats of one thread over UDP.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::super::batch::{Receiver, kernel_drops};
use super::os;
use super::trains::{Station, Train};
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
    departures: Departures,
    round: u32,
}

/// What sends messages, where it can several as one.
struct Departures {
    station: Station,
    couples: bool,
    trains: Vec<Coupled>,
}

/// Messages that travel as one.
struct Coupled {
    to: SocketAddr,
    place: Range<usize>,
    each: usize,
    is_full: bool,
}

/// The longest message that is coupled to others: all paths take it whole.
const LONGEST_COUPLED: usize = 1_200;
/// How many messages travel as one at most; the kernel takes 64, and 64 KiB.
const MOST_COUPLED: usize = 48;

impl Coupled {
    /// Whether a message can travel behind those it has.
    fn takes(&self, place: &Range<usize>, to: SocketAddr) -> bool {
        !self.is_full
            && self.to == to
            && self.place.end == place.start
            && place.len() <= self.each
            && self.place.len() < self.each * MOST_COUPLED
    }
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
    /// The sockets of one thread. With `couples`, the kernel is given messages by the train: on
    /// the way to another machine, its card would have to be able to divide them.
    pub(super) fn new(seats: Vec<SeatSocket>, couples: bool) -> Self {
        Self {
            seats,
            receiver: Receiver::new(),
            departures: Departures {
                station: Station::default(),
                couples,
                trains: Vec::new(),
            },
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
        let departures = &mut self.departures;
        for seat in &self.seats {
            let peer = seat.connected.as_ref().map(|(peer, _)| *peer);
            if let Some((peer, socket)) = &seat.connected {
                departures.couple(outbox, seat.seat, |to| to == *peer);
                failed += departures.depart(outbox, socket, true);
            }
            departures.couple(outbox, seat.seat, |to| Some(to) != peer);
            failed += departures.depart(outbox, &seat.socket, false);
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

impl Departures {
    /// Puts messages of a seat into trains: those that stand end to end, go the same way and are
    /// of one length.
    fn couple(&mut self, outbox: &Outbox, seat: Seat, is_meant: impl Fn(SocketAddr) -> bool) {
        self.trains.clear();
        for (place, hop) in outbox.places() {
            if hop.seat != seat || hop.connection.is_some() || !is_meant(hop.to) {
                continue;
            }
            let length = place.len();
            if let Some(last) = self.trains.last_mut()
                && self.couples
                && last.takes(&place, hop.to)
            {
                last.is_full = length < last.each;
                last.place.end = place.end;
                continue;
            }
            self.trains.push(Coupled {
                is_full: length > LONGEST_COUPLED,
                to: hop.to,
                each: length,
                place,
            });
        }
    }

    /// Sends the trains; how many the kernel did not take.
    fn depart(&mut self, outbox: &Outbox, socket: &Socket, is_connected: bool) -> u64 {
        let trains = self.trains.iter().map(|train| Train {
            to: (!is_connected).then_some(train.to),
            bytes: outbox.bytes(train.place.clone()),
            each: u16::try_from(train.each).unwrap_or(u16::MAX),
        });
        self.station.send(socket.as_fd(), trains)
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
