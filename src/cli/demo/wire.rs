//! Sockets and threads for the simulated phones and systems.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::answerer::{Answerer, Book};
use super::phone::Phone;
use super::timing::Out;
use crate::net::Clock;

/// How long a thread sleeps at most before it looks whether it is still wanted.
const GLANCE_MS: u64 = 20;
/// Longer than any message here.
const DATAGRAM_LIMIT: usize = 65_536;

/// A UDP socket that knows the time.
pub(super) struct Wire {
    socket: UdpSocket,
    local: SocketAddr,
    clock: Clock,
    buffer: Vec<u8>,
}

/// What stands behind a socket.
pub(super) trait Agent {
    fn receive(&mut self, now: u64, from: SocketAddr, bytes: &[u8], out: &mut Out);
    fn on_time(&mut self, now: u64, out: &mut Out);
    fn deadline(&self) -> Option<u64>;
}

impl Agent for Phone {
    fn receive(&mut self, _now: u64, from: SocketAddr, bytes: &[u8], out: &mut Out) {
        Self::receive(self, from, bytes, out);
    }

    fn on_time(&mut self, now: u64, out: &mut Out) {
        Self::on_time(self, now, out);
    }

    fn deadline(&self) -> Option<u64> {
        Self::deadline(self)
    }
}

impl Agent for Answerer {
    fn receive(&mut self, now: u64, from: SocketAddr, bytes: &[u8], out: &mut Out) {
        Self::receive(self, now, from, bytes, out);
    }

    fn on_time(&mut self, now: u64, out: &mut Out) {
        Self::on_time(self, now, out);
    }

    fn deadline(&self) -> Option<u64> {
        Self::deadline(self)
    }
}

impl Wire {
    /// A socket on a free port of that address.
    ///
    /// # Errors
    /// The address is not one of this machine's.
    #[expect(
        clippy::disallowed_methods,
        reason = "the phones are no part of the engine"
    )]
    pub(super) fn open(address: IpAddr, clock: Clock) -> io::Result<Self> {
        let socket = UdpSocket::bind((address, 0))?;
        let local = socket.local_addr()?;
        let buffer = vec![0; DATAGRAM_LIMIT];
        Ok(Self {
            socket,
            local,
            clock,
            buffer,
        })
    }

    /// Its address.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Milliseconds on the phones' clock.
    pub(super) fn now(&self) -> u64 {
        self.clock.now().ms
    }

    /// Sends what is to be sent. Nobody behind a port is no failure of the sender.
    pub(super) fn send(&self, out: Out) {
        for (to, bytes) in out {
            let _ = self.socket.send_to(&bytes, to);
        }
    }

    /// Waits for a datagram or the agent's deadline, shortly, and lets the agent react.
    pub(super) fn step(&mut self, agent: &mut impl Agent) {
        let now = self.now();
        let until = agent.deadline().unwrap_or(u64::MAX).min(now + GLANCE_MS);
        let wait = Duration::from_millis(until.saturating_sub(now).max(1));
        let received = self
            .socket
            .set_read_timeout(Some(wait))
            .and_then(|()| self.socket.recv_from(&mut self.buffer));
        let (now, mut out) = (self.now(), Out::new());
        if let Ok((length, from)) = received {
            let bytes = self.buffer.get(..length).unwrap_or_default();
            agent.receive(now, from, bytes, &mut out);
        }
        agent.on_time(now, &mut out);
        self.send(out);
    }
}

/// A system that answers calls in a thread of its own until it is dropped.
pub(super) struct System {
    pub local: SocketAddr,
    shared: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

/// What a system shows of itself.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    refused: AtomicU64,
    open: AtomicU64,
}

/// How the calls of a system stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    /// INVITEs that it answered with a failure, since it began.
    pub refused: u64,
    /// Calls that are open now.
    pub open: u64,
}

impl System {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// There is no socket or thread for it.
    pub(super) fn start(name: &str, address: IpAddr, clock: Clock, book: Book) -> io::Result<Self> {
        let mut wire = Wire::open(address, clock)?;
        let (local, shared) = (wire.local(), Arc::new(Seen::default()));
        let seen = Arc::clone(&shared);
        let mut answerer = Answerer::new(local, book);
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || {
            while !seen.stop.load(Ordering::Relaxed) {
                wire.step(&mut answerer);
                seen.refused
                    .store(answerer.refused() as u64, Ordering::Relaxed);
                seen.open.store(answerer.open() as u64, Ordering::Relaxed);
            }
        })?;
        Ok(Self {
            local,
            shared,
            thread: Some(thread),
        })
    }

    /// How its calls stand.
    pub(super) fn counts(&self) -> Counts {
        Counts {
            refused: self.shared.refused.load(Ordering::Relaxed),
            open: self.shared.open.load(Ordering::Relaxed),
        }
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
