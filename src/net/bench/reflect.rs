//! The reflector on a thread of its own: what `--self-test` calls.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{Builder, JoinHandle};

use socket2::Socket;

use super::super::batch::Receiver;
use super::super::clock::stopwatch;
use super::super::sender::{Manner, Sender};
use super::datagrams;
use super::os;
use crate::bench::{Outbox, Reflector};
use crate::message::Index;

/// How many times an idle thread looks again before it waits.
const SPINS: u32 = 2_000;
/// How long it waits, nanoseconds: so soon it sees that it is to end.
const WAIT_NS: u64 = 5_000_000;

/// A running reflector; it ends when this is dropped.
pub struct Reflecting {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    busy: Arc<std::sync::atomic::AtomicU64>,
}

impl Reflecting {
    /// Starts one on a free port, which relays calls to this callee.
    ///
    /// # Errors
    /// No port or thread is left.
    pub fn start(at: SocketAddr, callee: SocketAddr) -> io::Result<Self> {
        let socket = datagrams::bind(at, false)?;
        let address = socket.local_addr()?.as_socket();
        let address = address.ok_or_else(|| io::Error::other("the socket has no address"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let busy = Arc::default();
        let parts = (Arc::clone(&stop), Arc::clone(&busy));
        let thread = Builder::new().name("reflector".to_owned()).spawn(move || {
            let (stop, busy) = parts;
            reflect(
                &socket,
                Reflector::new(address, Some(callee)),
                (&stop, &busy),
            );
        })?;
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
            busy,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How long it was busy so far, nanoseconds.
    pub fn busy_ns(&self) -> u64 {
        self.busy.load(Relaxed)
    }
}

impl Drop for Reflecting {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A port that nobody has at the moment, at this address.
///
/// # Errors
/// No port is left.
pub fn free_port(at: SocketAddr) -> io::Result<SocketAddr> {
    let address = datagrams::bind(at, false)?.local_addr()?.as_socket();
    address.ok_or_else(|| io::Error::other("the socket has no address"))
}

fn reflect(
    socket: &Socket,
    mut reflector: Reflector,
    (stop, busy): (&AtomicBool, &std::sync::atomic::AtomicU64),
) {
    os::be_exact();
    let (mut receiver, mut sender) = (Receiver::new(), Sender::new());
    let mut index = Index::new();
    let mut idle = 0_u32;
    while !stop.load(Relaxed) {
        let start = stopwatch();
        let Ok(count) = receiver.receive(socket.as_fd(), false) else {
            return;
        };
        for slot in 0..count {
            if let Some(datagram) = receiver.get(slot)
                && let Ok(message) = index.parse(datagram.bytes)
            {
                reflector.receive(datagram.from, &message);
            }
        }
        send(socket, &mut sender, reflector.outbox());
        if count > 0 {
            idle = 0;
            busy.fetch_add(start.elapsed().as_nanos() as u64, Relaxed);
        } else {
            idle += 1;
        }
        if idle > SPINS {
            os::wait(std::iter::once(socket.as_fd()), WAIT_NS);
        }
    }
}

fn send(socket: &Socket, sender: &mut Sender, outbox: &mut Outbox) {
    if !outbox.is_empty() {
        let messages = outbox.iter().map(|(hop, bytes)| (hop.to, bytes));
        // What cannot be sent is sent again by who wants an answer.
        sender.send(socket.as_fd(), Manner::ONE_BY_ONE, messages, &mut |_, _| {});
        outbox.clear();
    }
}
