//! The seats of one thread over TCP: the caller's connection to the server, those it opens for
//! requests of dialogs that go elsewhere, and those the server opens to the callee.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};

use super::wires::{Handed, Inboxes};
use crate::bench::{Hop, Outbox, Seat};
use crate::message::{Frame, Framer, Unframed};

/// The longest message.
const MESSAGE_LIMIT_BYTES: usize = 65_536;
/// How much is read from one connection before the others have their turn.
const READ_BYTES: usize = 256 << 10;
/// How often at most that is done in a row.
const READS: usize = 4;
/// How much may wait for a peer that does not take it.
const WAITING_LIMIT_BYTES: usize = 64 << 20;
/// The most connections of one thread.
const CONNECTIONS_LIMIT: usize = 4_096;
/// How many low bits of a connection's number are its index; above them stands its thread.
const INDEX_BITS: u32 = 24;

/// One thread's sockets.
pub(super) struct Streams {
    thread: u8,
    inboxes: Arc<Inboxes>,
    listeners: Vec<(Seat, TcpListener)>,
    connections: Vec<Option<Connection>>,
    /// The connections that this side has opened.
    opened: HashMap<SocketAddr, u32>,
    /// Whence the caller opens them; `None` where it does not.
    caller: Option<IpAddr>,
    lost: Lost,
    /// Where the caller's connections led that were closed.
    closed: Vec<SocketAddr>,
    room: Vec<u8>,
}

/// How many connections ended, and how.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lost {
    /// Given up for what is no SIP message, or has no Content-Length.
    pub unframed: u64,
    /// The caller's, which the server closed.
    pub closed: u64,
}

struct Connection {
    stream: TcpStream,
    seat: Seat,
    peer: SocketAddr,
    framer: Framer,
    waiting: Vec<u8>,
    written: usize,
}

/// Listens for a seat; `is_shared` where several threads have the same address.
///
/// # Errors
/// What the system says.
pub(super) fn listen(address: SocketAddr, is_shared: bool) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if is_shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(1_024)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl Streams {
    /// The sockets of one thread: its listeners, and the caller's connection to the server, where
    /// it calls over TCP.
    ///
    /// # Errors
    /// The connection cannot be used.
    pub(super) fn new(
        thread: u8,
        inboxes: Arc<Inboxes>,
        listeners: Vec<(Seat, TcpListener)>,
        server: Option<TcpStream>,
    ) -> io::Result<Self> {
        let mut streams = Self {
            thread,
            inboxes,
            listeners,
            connections: Vec::new(),
            opened: HashMap::new(),
            caller: None,
            lost: Lost::default(),
            closed: Vec::new(),
            room: vec![0; READ_BYTES],
        };
        if let Some(server) = server {
            let peer = server.peer_addr()?;
            streams.caller = Some(server.local_addr()?.ip());
            let number = streams.adopt(server, Seat::Caller, peer)?;
            streams.opened.insert(peer, number);
        }
        Ok(streams)
    }

    /// Whether there is any connection.
    pub(super) fn is_used(&self) -> bool {
        self.caller.is_some() || !self.connections.is_empty()
    }

    fn adopt(&mut self, stream: TcpStream, seat: Seat, peer: SocketAddr) -> io::Result<u32> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let connection = Connection {
            stream,
            seat,
            peer,
            framer: Framer::new(MESSAGE_LIMIT_BYTES),
            waiting: Vec::new(),
            written: 0,
        };
        let free = self.connections.iter().position(Option::is_none);
        let index = free.unwrap_or(self.connections.len());
        match self.connections.get_mut(index) {
            Some(place) => *place = Some(connection),
            None if index < CONNECTIONS_LIMIT => self.connections.push(Some(connection)),
            None => return Err(io::Error::other("too many connections")),
        }
        Ok(u32::from(self.thread) << INDEX_BITS | index as u32)
    }

    /// Hands over what has arrived; how many messages that were.
    pub(super) fn receive(&mut self, mut each: impl FnMut(Hop, &[u8])) -> usize {
        self.accept();
        let mut count = 0;
        let number_of = |index: usize| u32::from(self.thread) << INDEX_BITS | index as u32;
        for (index, place) in self.connections.iter_mut().enumerate() {
            let Some(connection) = place else {
                continue;
            };
            let hop = Hop {
                seat: connection.seat,
                to: connection.peer,
                connection: Some(number_of(index)),
            };
            let mut counted = |bytes: &[u8]| {
                count += 1;
                each(hop, bytes);
            };
            let read = connection.read(&mut self.room, &mut counted);
            if read != State::Open {
                let (peer, is_caller) = (connection.peer, connection.seat == Seat::Caller);
                self.lost.unframed += u64::from(read == State::Unframed);
                self.lost.closed += u64::from(read == State::Closed && is_caller);
                if is_caller {
                    self.closed.push(peer);
                }
                *place = None;
                self.opened.retain(|to, _| *to != peer);
            }
        }
        count
    }

    fn accept(&mut self) {
        let mut accepted = Vec::new();
        for (seat, listener) in &self.listeners {
            while let Ok((stream, peer)) = listener.accept() {
                accepted.push((stream, *seat, peer));
            }
        }
        for (stream, seat, peer) in accepted {
            // One too many, or one that is closed again, is dropped.
            let _ = self.adopt(stream, seat, peer);
        }
    }

    /// Sends what waits and goes over TCP; how many messages could not be sent.
    pub(super) fn send(&mut self, outbox: &Outbox) -> u64 {
        let mut failed = 0;
        for (hop, bytes) in outbox.iter() {
            let is_caller = self.caller.is_some() && hop.seat == Seat::Caller;
            if hop.connection.is_none() && !is_caller {
                continue;
            }
            failed += u64::from(!self.queue(hop, bytes));
        }
        self.push_on();
        failed
    }

    /// Sends a message over a connection of this thread's.
    pub(super) fn send_one(&mut self, hop: Hop, bytes: &[u8]) {
        self.queue(hop, bytes);
    }

    /// Puts a message behind what waits for its connection; whether that could be.
    fn queue(&mut self, hop: Hop, bytes: &[u8]) -> bool {
        let Some(number) = hop.connection.or_else(|| self.connection_to(hop.to)) else {
            return false;
        };
        let owner = (number >> INDEX_BITS) as u8;
        if owner != self.thread {
            let bytes = bytes.to_vec();
            return self.inboxes.push(owner, Handed::Send { hop, bytes });
        }
        let index = (number & ((1 << INDEX_BITS) - 1)) as usize;
        let Some(Some(connection)) = self.connections.get_mut(index) else {
            return false;
        };
        if connection.waiting.len() > WAITING_LIMIT_BYTES {
            return false;
        }
        connection.waiting.extend_from_slice(bytes);
        true
    }

    /// The caller's connection to an address, begun where there is none: other calls go on while
    /// the other side is slow to take it.
    fn connection_to(&mut self, to: SocketAddr) -> Option<u32> {
        if let Some(number) = self.opened.get(&to) {
            return Some(*number);
        }
        let from = SocketAddr::new(self.caller?, 0);
        let stream = begin(from, to).ok()?;
        let number = self.adopt(stream, Seat::Caller, to).ok()?;
        self.opened.insert(to, number);
        Some(number)
    }

    /// Writes what peers have not taken yet; how many of them took something.
    pub(super) fn push_on(&mut self) -> usize {
        let connections = self.connections.iter_mut().flatten();
        connections
            .map(|connection| usize::from(connection.write()))
            .sum()
    }

    /// Where the caller's connections led that were closed since the last time.
    pub(super) fn take_closed(&mut self) -> Vec<SocketAddr> {
        std::mem::take(&mut self.closed)
    }

    /// Which connections ended.
    pub(super) fn lost(&self) -> Lost {
        self.lost
    }

    /// What is waited for.
    pub(super) fn waited_for(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let listeners = self.listeners.iter().map(|(_, listener)| listener.as_fd());
        let streams = self.connections.iter().flatten();
        listeners.chain(streams.map(|connection| connection.stream.as_fd()))
    }
}

/// How a connection is after it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closed,
    /// What came cannot be told apart into messages (RFC 3261 §18.3): the rest is lost.
    Unframed,
}

impl Connection {
    /// Reads what is there, up to its end: a connection that is closed behind a message must not take
    /// the next one.
    fn read(&mut self, room: &mut [u8], each: &mut impl FnMut(&[u8])) -> State {
        for _ in 0..READS {
            match self.read_once(room, each) {
                Ok(State::Open) => {}
                Ok(state) => return state,
                Err(error) if is_for_later(&error) => return State::Open,
                Err(_) => return State::Closed,
            }
        }
        State::Open
    }

    fn read_once(&mut self, room: &mut [u8], each: &mut impl FnMut(&[u8])) -> io::Result<State> {
        let count = self.stream.read(room)?;
        if count == 0 {
            return Ok(State::Closed);
        }
        for piece in room
            .get(..count)
            .unwrap_or_default()
            .chunks(MESSAGE_LIMIT_BYTES)
        {
            if self.take(piece, each).is_err() {
                return Ok(State::Unframed);
            }
        }
        Ok(State::Open)
    }

    fn take(&mut self, piece: &[u8], each: &mut impl FnMut(&[u8])) -> Result<(), Unframed> {
        self.framer.push(piece)?;
        while let Some(frame) = self.framer.next()? {
            match frame {
                Frame::Message(bytes) => each(&bytes),
                Frame::Ping => self.waiting.extend_from_slice(b"\r\n"),
                Frame::Pong => {}
            }
        }
        Ok(())
    }

    /// Writes what waits; whether anything went.
    fn write(&mut self) -> bool {
        let Some(rest) = self
            .waiting
            .get(self.written..)
            .filter(|rest| !rest.is_empty())
        else {
            return false;
        };
        let Ok(count) = self.stream.write(rest) else {
            return false;
        };
        self.written += count;
        if self.written == self.waiting.len() {
            self.waiting.clear();
            self.written = 0;
        } else if self.written > self.waiting.len() / 2 {
            self.waiting.drain(..self.written);
            self.written = 0;
        }
        count > 0
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Opens the caller's connection to the server, from an address of its choice.
///
/// # Errors
/// The server does not take it.
pub(super) fn connect(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = unconnected(from, to)?;
    socket.connect_timeout(&to.into(), std::time::Duration::from_secs(3))?;
    Ok(socket.into())
}

/// Begins to open a connection. What is written before it is open waits; that it is refused, reading
/// tells.
fn begin(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = unconnected(from, to)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(socket.into()),
    }
}

fn unconnected(from: SocketAddr, to: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    if from.port() != 0 {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&from.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The caller's seat with a connection to a server.
    fn caller(server: &TcpListener) -> Streams {
        let to = server.local_addr().unwrap();
        let stream = connect("127.0.0.1:0".parse().unwrap(), to).unwrap();
        Streams::new(0, Arc::new(Inboxes::new(1)), Vec::new(), Some(stream)).unwrap()
    }

    fn hop(to: SocketAddr) -> Hop {
        Hop {
            seat: Seat::Caller,
            to,
            connection: None,
        }
    }

    #[test]
    fn a_peer_that_takes_no_connection_holds_nobody_up() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut streams = caller(&server);
        // Its queue holds one connection that it has not taken; the kernel leaves further ones waiting.
        let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        full.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into())
            .unwrap();
        full.listen(0).unwrap();
        let to = full.local_addr().unwrap().as_socket().unwrap();
        let _first = TcpStream::connect(to).unwrap();
        assert!(streams.queue(hop(to), b"INVITE"));
        assert_eq!(streams.push_on(), 0);
        assert_eq!(streams.receive(|_, _| {}), 0);
        assert_eq!(streams.lost().closed, 0);
        assert!(streams.queue(hop(server.local_addr().unwrap()), b"BYE"));
        assert_eq!(streams.push_on(), 1);
    }

    #[test]
    fn a_refused_connection_is_told_and_not_kept() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut streams = caller(&server);
        let gone = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        // Over loopback the refusal may be there before the call returns.
        if streams.queue(hop(gone), b"INVITE") {
            streams.receive(|_, _| {});
            assert_eq!(streams.take_closed(), [gone]);
        }
        assert!(streams.opened.keys().all(|to| *to != gone));
    }
}
