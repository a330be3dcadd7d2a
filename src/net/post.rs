//! What a shard shows to other threads: its queue, its waker, its numbers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;

use super::counters::{HostCounters, Latency};
use super::epoll::Waker;
use crate::engine::{Source, Unreachable};

/// How many inputs wait for a shard at most.
const QUEUE_LIMIT: usize = 8_192;
/// How many bytes they have at most.
const QUEUE_LIMIT_BYTES: usize = 16 << 20;

/// An input for a shard that another one received.
pub(super) enum Handed {
    /// A message of a call of that shard, and when it was received, on the clock of `Now::ms`.
    Message {
        source: Source,
        bytes: Bytes,
        received_ms: u64,
    },
    /// Nothing can be delivered there; which shard tried cannot be told, so each is told.
    Unreachable(Unreachable),
    /// A name was resolved that somebody waits for.
    Resolved,
    /// Watchers are to be told of something: the engine says so itself once it is asked.
    Stirred,
}

/// One shard as other threads see it.
pub(super) struct Post {
    queue: ArrayQueue<Handed>,
    queued_bytes: AtomicUsize,
    pub waker: Waker,
    pub counters: HostCounters,
    pub latency: Latency,
    /// How long messages waited before they were handled.
    pub waiting: Latency,
    /// How long an INVITE takes to be decided and carried out.
    pub decision: Latency,
}

/// The posts of so many shards.
pub(super) fn posts(shards: usize) -> io::Result<Arc<[Post]>> {
    (0..shards).map(|_| Post::new()).collect()
}

impl Post {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            queue: ArrayQueue::new(QUEUE_LIMIT),
            queued_bytes: AtomicUsize::new(0),
            waker: Waker::new()?,
            counters: HostCounters::default(),
            latency: Latency::default(),
            waiting: Latency::default(),
            decision: Latency::default(),
        })
    }

    /// Puts an input into the queue; whether there was room. The shard is not woken yet.
    pub(super) fn push(&self, handed: Handed) -> bool {
        let length = handed.len();
        if self.queued_bytes.fetch_add(length, Ordering::Relaxed) + length > QUEUE_LIMIT_BYTES {
            self.queued_bytes.fetch_sub(length, Ordering::Relaxed);
            return false;
        }
        let is_queued = self.queue.push(handed).is_ok();
        if !is_queued {
            self.queued_bytes.fetch_sub(length, Ordering::Relaxed);
        }
        is_queued
    }

    /// Puts an input into the queue while that is half empty, so that those who can wait leave room
    /// for those who cannot; whether it was.
    pub(super) fn push_with_room(&self, handed: impl FnOnce() -> Handed) -> bool {
        self.queue.len() < QUEUE_LIMIT / 2
            && self.queued_bytes.load(Ordering::Relaxed) < QUEUE_LIMIT_BYTES / 2
            && self.push(handed())
    }

    /// Takes the oldest input.
    pub(super) fn pop(&self) -> Option<Handed> {
        let handed = self.queue.pop()?;
        self.queued_bytes.fetch_sub(handed.len(), Ordering::Relaxed);
        Some(handed)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl Handed {
    fn len(&self) -> usize {
        match self {
            Self::Message { bytes, .. } => bytes.len(),
            Self::Unreachable(_) | Self::Resolved | Self::Stirred => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn datagram(length: usize) -> Handed {
        let from = SocketAddr::from(([127, 0, 0, 1], 5060));
        Handed::Message {
            source: Source::datagram(from, 0),
            bytes: vec![0; length].into(),
            received_ms: 0,
        }
    }

    #[test]
    fn the_queue_is_bounded_in_inputs_and_in_bytes() {
        let post = Post::new().unwrap();
        let taken = (0..10_000).filter(|_| post.push(datagram(100))).count();
        assert_eq!(taken, QUEUE_LIMIT);
        while post.pop().is_some() {}
        let taken = (0..10_000).filter(|_| post.push(datagram(65_507))).count();
        assert_eq!(taken, QUEUE_LIMIT_BYTES / 65_507);
        while post.pop().is_some() {}
        assert!(post.is_empty() && post.push(datagram(1)));
    }
}
