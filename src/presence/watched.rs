//! Who is watched, and by which shards: whoever changes what watchers see tells those shards.
//!
//! A change costs one look at a word where nobody watches. Nothing is lost where a queue is full:
//! its shard then looks at everybody it watches. What is told is that something may have changed,
//! never what: a reader asks the directory, so the last state always arrives.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use crossbeam_queue::ArrayQueue;

use super::directory::Handle;
use super::record::SUBSCRIBER_LIMIT;

/// How many subscribers one chunk has room for.
const CHUNK: usize = 4_096;
/// How many changes wait for one shard before it has to look at everybody.
const QUEUE_LIMIT: usize = 4_096;
/// The most shards there are: each has a bit.
const SHARDS: usize = 64;

/// What wakes a shard.
type Wake = Box<dyn Fn(usize) + Send + Sync>;

/// The watched subscribers of every shard, and the changes that wait for it.
pub struct Watched {
    chunks: Box<[OnceLock<Chunk>]>,
    queues: [OnceLock<Queue>; SHARDS],
    wake: OnceLock<Wake>,
}

type Chunk = Box<[AtomicU64]>;

struct Queue {
    changed: ArrayQueue<Handle>,
    is_full: AtomicBool,
    /// Whether the shard was woken since it looked last.
    is_woken: AtomicBool,
}

/// What has changed for a shard since it asked last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stirred {
    /// Perhaps this subscriber.
    One(Handle),
    /// Perhaps anybody.
    Anybody,
}

impl Watched {
    pub(super) fn new() -> Self {
        let chunks = SUBSCRIBER_LIMIT.div_ceil(CHUNK);
        Self {
            chunks: (0..chunks).map(|_| OnceLock::new()).collect(),
            queues: [const { OnceLock::new() }; SHARDS],
            wake: OnceLock::new(),
        }
    }

    /// What wakes a shard: called once for whatever has changed until the shard asks. Set once, by
    /// the host.
    pub fn wake_by(&self, wake: impl Fn(usize) + Send + Sync + 'static) {
        let _ = self.wake.set(Box::new(wake));
        self.stir_all();
    }

    /// From now on the shard is told when a subscriber changes. What it reads after this is told
    /// or seen.
    pub fn watch(&self, handle: Handle, shard: usize) {
        let Some(queue) = self.queues.get(shard) else {
            return;
        };
        queue.get_or_init(Queue::new);
        if let Some(word) = self.chunk(handle).and_then(|chunk| {
            let chunk = chunk.get_or_init(|| (0..CHUNK).map(|_| AtomicU64::new(0)).collect());
            chunk.get(handle.position() % CHUNK)
        }) {
            word.fetch_or(1 << shard, Ordering::SeqCst);
            fence(Ordering::SeqCst);
        }
    }

    /// The shard need not be told of a subscriber any more.
    pub fn unwatch(&self, handle: Handle, shard: usize) {
        if let Some(word) = self.word(handle).filter(|_| shard < SHARDS) {
            word.fetch_and(!(1 << shard), Ordering::SeqCst);
        }
    }

    /// What has changed for a shard, oldest first; `None` where that was all.
    pub fn stirred(&self, shard: usize) -> Option<Stirred> {
        let queue = self.queue(shard)?;
        queue.is_woken.store(false, Ordering::SeqCst);
        if queue.is_full.load(Ordering::SeqCst) && queue.is_full.swap(false, Ordering::SeqCst) {
            while queue.changed.pop().is_some() {}
            return Some(Stirred::Anybody);
        }
        queue.changed.pop().map(Stirred::One)
    }

    /// Whether something has changed for a shard.
    #[inline]
    pub fn has_stirred(&self, shard: usize) -> bool {
        self.queue(shard)
            .is_some_and(|queue| !queue.changed.is_empty() || queue.is_full.load(Ordering::Relaxed))
    }

    /// A subscriber's record has changed, which must have been seen by all (`SeqCst`).
    #[inline]
    pub(super) fn stir(&self, handle: Handle) {
        if let Some(word) = self.word(handle) {
            let shards = word.load(Ordering::SeqCst);
            if shards != 0 {
                self.tell(handle, shards);
            }
        }
    }

    /// What anybody sees may have changed: somebody is no more, or belongs to other teams, or the
    /// configuration is another.
    pub fn stir_all(&self) {
        for (shard, queue) in self.queues.iter().enumerate() {
            if let Some(queue) = queue.get() {
                queue.is_full.store(true, Ordering::SeqCst);
                self.wake(queue, shard);
            }
        }
    }

    #[cold]
    fn tell(&self, handle: Handle, mut shards: u64) {
        while shards != 0 {
            let shard = shards.trailing_zeros() as usize;
            shards &= shards - 1;
            if let Some(queue) = self.queue(shard) {
                if queue.changed.push(handle).is_err() {
                    queue.is_full.store(true, Ordering::SeqCst);
                }
                self.wake(queue, shard);
            }
        }
    }

    fn wake(&self, queue: &Queue, shard: usize) {
        if let Some(wake) = self.wake.get()
            && !queue.is_woken.swap(true, Ordering::SeqCst)
        {
            wake(shard);
        }
    }

    #[inline]
    fn word(&self, handle: Handle) -> Option<&AtomicU64> {
        self.chunk(handle)?.get()?.get(handle.position() % CHUNK)
    }

    #[inline]
    fn chunk(&self, handle: Handle) -> Option<&OnceLock<Chunk>> {
        self.chunks.get(handle.position() / CHUNK)
    }

    #[inline]
    fn queue(&self, shard: usize) -> Option<&Queue> {
        self.queues.get(shard)?.get()
    }
}

impl Queue {
    fn new() -> Self {
        Self {
            changed: ArrayQueue::new(QUEUE_LIMIT),
            is_full: AtomicBool::new(false),
            is_woken: AtomicBool::new(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn each_shard_that_watches_is_told_and_woken_once_until_it_asks() {
        let watched = Watched::new();
        let woken = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&woken);
        watched.wake_by(move |shard| {
            counted.fetch_add(1 << (8 * shard), Ordering::Relaxed);
        });
        let (anna, bob) = (Handle(3), Handle(5_000));
        watched.stir(anna);
        watched.watch(anna, 0);
        watched.watch(anna, 2);
        watched.watch(bob, 2);
        watched.stir(anna);
        watched.stir(bob);
        assert_eq!(watched.stirred(0), Some(Stirred::One(anna)));
        assert_eq!(watched.stirred(0), None);
        assert_eq!(watched.stirred(1), None);
        assert_eq!(watched.stirred(2), Some(Stirred::One(anna)));
        assert!(watched.has_stirred(2));
        assert_eq!(watched.stirred(2), Some(Stirred::One(bob)));
        assert!(!watched.has_stirred(2));
        assert_eq!(woken.load(Ordering::Relaxed), 1 | 1 << 16);
        watched.stir(bob);
        assert_eq!(woken.load(Ordering::Relaxed), 1 | 2 << 16);
        assert_eq!(watched.stirred(2), Some(Stirred::One(bob)));
        watched.unwatch(anna, 2);
        watched.stir(anna);
        assert_eq!(watched.stirred(2), None);
        assert_eq!(watched.stirred(0), Some(Stirred::One(anna)));
    }

    #[test]
    fn a_full_queue_becomes_a_look_at_everybody() {
        let watched = Watched::new();
        watched.watch(Handle(1), 0);
        for _ in 0..=QUEUE_LIMIT {
            watched.stir(Handle(1));
        }
        assert_eq!(watched.stirred(0), Some(Stirred::Anybody));
        assert_eq!(watched.stirred(0), None);
        watched.stir(Handle(1));
        assert_eq!(watched.stirred(0), Some(Stirred::One(Handle(1))));
    }
}
