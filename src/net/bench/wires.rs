//! What a thread receives from and sends to, whatever the transport; and what threads hand over.

use std::io;

use crossbeam_queue::ArrayQueue;

use super::datagrams::Datagrams;
use super::streams::Streams;
use crate::bench::{Hop, Outbox};

/// How much can wait for one thread.
const HANDED_LIMIT: usize = 65_536;

/// The sockets of one thread.
pub(super) enum Wires {
    /// Over UDP.
    Datagrams(Datagrams),
    /// Over TCP.
    Streams(Streams),
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
    /// Hands over what has arrived; how many messages that were.
    #[inline]
    pub(super) fn receive(&mut self, each: impl FnMut(Hop, &[u8])) -> io::Result<usize> {
        match self {
            Self::Datagrams(datagrams) => datagrams.receive(each),
            Self::Streams(streams) => streams.receive(each),
        }
    }

    /// Sends what waits; how many messages could not be sent.
    #[inline]
    pub(super) fn send(&mut self, outbox: &Outbox) -> u64 {
        match self {
            Self::Datagrams(datagrams) => datagrams.send(outbox),
            Self::Streams(streams) => streams.send(outbox),
        }
    }

    /// Sends a message over a connection of this thread's.
    pub(super) fn send_one(&mut self, hop: Hop, bytes: &[u8]) {
        if let Self::Streams(streams) = self {
            streams.send_one(hop, bytes);
        }
    }

    /// Writes what a peer has not taken yet; how many connections took something.
    pub(super) fn push_on(&mut self) -> usize {
        match self {
            Self::Datagrams(_) => 0,
            Self::Streams(streams) => streams.push_on(),
        }
    }

    /// Waits until something arrives, or the time is over.
    pub(super) fn wait(&mut self, timeout_ns: u64) {
        match self {
            Self::Datagrams(datagrams) => datagrams.wait(timeout_ns),
            Self::Streams(streams) => streams.wait(timeout_ns),
        }
    }

    /// Datagrams that the kernel dropped.
    pub(super) fn drops(&self) -> u64 {
        match self {
            Self::Datagrams(datagrams) => datagrams.drops(),
            Self::Streams(_) => 0,
        }
    }
}
