//! What a shard shows to other threads: its queue, its waker, its numbers.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;

use super::counters::{HostCounters, Latency};
use super::epoll::Waker;

/// How many inputs wait for a shard at most.
const QUEUE_LIMIT: usize = 8_192;
/// How many bytes they have at most.
const QUEUE_LIMIT_BYTES: usize = 16 << 20;

/// An input for a shard that another one received.
pub(super) enum Handed {
    /// A datagram of a call of that shard.
    Datagram {
        from: SocketAddr,
        listener: u8,
        bytes: Box<[u8]>,
    },
    /// An ICMP error; which shard sent the datagram cannot be told, so each is told.
    Unreachable(SocketAddr),
}

/// One shard as other threads see it.
pub(super) struct Post {
    queue: ArrayQueue<Handed>,
    queued_bytes: AtomicUsize,
    pub waker: Waker,
    pub counters: HostCounters,
    pub latency: Latency,
    /// How long an INVITE takes to be decided and carried out.
    pub decision: Latency,
}

impl Post {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            queue: ArrayQueue::new(QUEUE_LIMIT),
            queued_bytes: AtomicUsize::new(0),
            waker: Waker::new()?,
            counters: HostCounters::default(),
            latency: Latency::default(),
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
            Self::Datagram { bytes, .. } => bytes.len(),
            Self::Unreachable(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(length: usize) -> Handed {
        let from = SocketAddr::from(([127, 0, 0, 1], 5060));
        Handed::Datagram {
            from,
            listener: 0,
            bytes: vec![0; length].into(),
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
