//! What a thread receives from and sends to, whatever the transport; and what threads hand over.

use std::io;
use std::net::SocketAddr;

use crossbeam_queue::ArrayQueue;

use super::datagrams::Datagrams;
use super::os;
use super::streams::{Lost, Streams};
use crate::bench::{Hop, Outbox};

/// How much can wait for one thread.
const HANDED_LIMIT: usize = 65_536;

/// How many rounds pass between two looks for connections, where none is in use.
const STREAMS_EVERY: u32 = 64;

/// The sockets of one thread: whoever is called is called over both transports, as a proxy may
/// change the one for the other.
pub(super) struct Wires {
    datagrams: Datagrams,
    streams: Streams,
    round: u32,
}

/// What one thread gives to another.
#[derive(Debug)]
pub(super) enum Handed {
    /// A message of a call of the other's.
    Message {
        hop: Hop,
        bytes: Vec<u8>,
        at_ns: u64,
    },
    /// An answer that goes over a connection of the other's.
    Send { hop: Hop, bytes: Vec<u8> },
}

/// What waits for each thread.
#[derive(Debug)]
pub(super) struct Inboxes(Vec<ArrayQueue<Handed>>);

impl Inboxes {
    pub(super) fn new(threads: u8) -> Self {
        Self(
            (0..threads)
                .map(|_| ArrayQueue::new(HANDED_LIMIT))
                .collect(),
        )
    }

    /// Whether there is anybody to hand to.
    #[inline]
    pub(super) fn are_several(&self) -> bool {
        self.0.len() > 1
    }

    /// Hands over; whether there was room.
    pub(super) fn push(&self, thread: u8, handed: Handed) -> bool {
        let queue = self.0.get(usize::from(thread));
        queue.is_some_and(|queue| queue.push(handed).is_ok())
    }

    /// What waits for a thread.
    #[inline]
    pub(super) fn pop(&self, thread: u8) -> Option<Handed> {
        if !self.are_several() {
            return None;
        }
        self.0.get(usize::from(thread))?.pop()
    }
}

impl Wires {
    /// Both kinds of a thread's sockets.
    pub(super) fn new(datagrams: Datagrams, streams: Streams) -> Self {
        Self {
            datagrams,
            streams,
            round: 0,
        }
    }

    /// Hands over what has arrived; how many messages that were.
    #[inline]
    pub(super) fn receive(&mut self, mut each: impl FnMut(Hop, &[u8])) -> io::Result<usize> {
        let count = self.datagrams.receive(&mut each)?;
        self.round = self.round.wrapping_add(1);
        if self.streams.is_used() || self.round.is_multiple_of(STREAMS_EVERY) {
            return Ok(count + self.streams.receive(each));
        }
        Ok(count)
    }

    /// Sends what waits; how many messages could not be sent.
    #[inline]
    pub(super) fn send(&mut self, outbox: &Outbox) -> u64 {
        let failed = match self.streams.is_used() {
            true => self.streams.send(outbox),
            false => 0,
        };
        failed + self.datagrams.send(outbox)
    }

    /// Sends a message over a connection of this thread's.
    pub(super) fn send_one(&mut self, hop: Hop, bytes: &[u8]) {
        self.streams.send_one(hop, bytes);
    }

    /// Writes what a peer has not taken yet; how many connections took something.
    pub(super) fn push_on(&mut self) -> usize {
        match self.streams.is_used() {
            true => self.streams.push_on(),
            false => 0,
        }
    }

    /// Waits until something arrives, or the time is over.
    pub(super) fn wait(&mut self, timeout_ns: u64) {
        self.round = STREAMS_EVERY - 1;
        let sockets = self.datagrams.waited_for();
        os::wait(sockets.chain(self.streams.waited_for()), timeout_ns);
    }

    /// Where the caller's connections led that were closed since the last time.
    pub(super) fn take_closed(&mut self) -> Vec<SocketAddr> {
        self.streams.take_closed()
    }

    /// Connections that ended.
    pub(super) fn lost(&self) -> Lost {
        self.streams.lost()
    }

    /// Datagrams that the kernel dropped.
    pub(super) fn drops(&self) -> u64 {
        self.datagrams.drops()
    }
}
