//! What waits to be sent over one connection: bounded, filled by the shards, emptied by one writer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// How many bytes wait for all connections together at most.
const TOTAL_BYTES: usize = 256 << 20;
/// A buffer that grew beyond this is given back when it is empty.
const KEPT_BYTES: usize = 64 << 10;

/// The bounds of one queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Messages.
    pub messages: usize,
    /// Bytes they have together.
    pub bytes: usize,
}

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The connection is closed or about to be.
    Closed,
    /// Too much waits: the queue has ended the connection.
    Full,
}

/// Some messages, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// All their bytes.
    pub bytes: Vec<u8>,
    /// Where each of them ends.
    pub ends: Vec<usize>,
}

/// The queue of one connection.
pub(super) struct Queue {
    pending: Mutex<Pending>,
    /// There is something to take, or nothing more to wait for.
    changed: Notify,
    bounds: Bounds,
    total: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Pending {
    batch: Batch,
    /// What the writer has taken and not yet sent.
    taken: Taken,
    end: Option<End>,
}

#[derive(Default, Clone, Copy)]
struct Taken {
    messages: usize,
    bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// What waits is still sent.
    Finished,
    /// Nothing more is sent.
    Full,
}

impl Queue {
    /// An empty queue; `total` counts what waits in all queues.
    pub(super) fn new(bounds: Bounds, total: Arc<AtomicUsize>) -> Self {
        Self {
            pending: Mutex::default(),
            changed: Notify::new(),
            bounds,
            total,
        }
    }

    /// Adds a message. It never waits but for the copying of another one.
    pub(super) fn push(&self, message: &[u8]) -> Result<(), Refused> {
        let mut pending = self.lock();
        if pending.end.is_some() {
            return Err(Refused::Closed);
        }
        let messages = pending.batch.ends.len() + pending.taken.messages;
        let bytes = pending.batch.bytes.len() + pending.taken.bytes + message.len();
        let total = self.total.fetch_add(message.len(), Ordering::Relaxed) + message.len();
        if messages >= self.bounds.messages || bytes > self.bounds.bytes || total > TOTAL_BYTES {
            self.total.fetch_sub(message.len(), Ordering::Relaxed);
            pending.end = Some(End::Full);
            self.changed.notify_one();
            return Err(Refused::Full);
        }
        let was_empty = pending.batch.ends.is_empty();
        pending.batch.bytes.extend_from_slice(message);
        let end = pending.batch.bytes.len();
        pending.batch.ends.push(end);
        drop(pending);
        if was_empty {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Waits for messages and takes them all; the batch taken before has been sent. `false` when
    /// there will be none.
    pub(super) async fn take(&self, batch: &mut Batch) -> bool {
        loop {
            if let Some(has_some) = self.try_take(batch) {
                return has_some;
            }
            self.changed.notified().await;
        }
    }

    fn try_take(&self, batch: &mut Batch) -> Option<bool> {
        batch.clear();
        let mut pending = self.lock();
        let sent = std::mem::take(&mut pending.taken);
        self.total.fetch_sub(sent.bytes, Ordering::Relaxed);
        if pending.end == Some(End::Full) {
            return Some(false);
        }
        if pending.batch.ends.is_empty() {
            return pending.end.map(|_| false);
        }
        std::mem::swap(&mut pending.batch, batch);
        pending.taken = Taken {
            messages: batch.ends.len(),
            bytes: batch.bytes.len(),
        };
        Some(true)
    }

    /// Takes no more messages; those that wait can still be taken.
    pub(super) fn finish(&self) {
        let mut pending = self.lock();
        pending.end.get_or_insert(End::Finished);
        self.changed.notify_one();
    }

    /// Whether the connection has to end because too much waited.
    pub(super) fn is_full(&self) -> bool {
        self.lock().end == Some(End::Full)
    }

    /// Whether something waits or is being sent.
    pub(super) fn has_some(&self) -> bool {
        let pending = self.lock();
        !pending.batch.ends.is_empty() || pending.taken.messages > 0
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let pending = self.lock();
        let bytes = pending.batch.bytes.len() + pending.taken.bytes;
        self.total.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Batch {
    /// Each message.
    pub(super) fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let ranges = starts.zip(&self.ends);
        ranges.map(|(start, end)| self.bytes.get(start..*end).unwrap_or_default())
    }

    fn clear(&mut self) {
        self.ends.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        messages: 3,
        bytes: 100,
    };

    fn queue() -> (Queue, Arc<AtomicUsize>) {
        let total = Arc::new(AtomicUsize::new(0));
        (Queue::new(BOUNDS, Arc::clone(&total)), total)
    }

    #[tokio::test]
    async fn messages_come_out_in_order_and_whole() {
        let (queue, total) = queue();
        queue.push(b"one").unwrap();
        queue.push(b"three").unwrap();
        let mut batch = Batch::default();
        assert!(queue.take(&mut batch).await);
        let messages: Vec<&[u8]> = batch.messages().collect();
        assert_eq!(messages, [&b"one"[..], b"three"]);
        assert_eq!(batch.bytes, b"onethree");
        assert!(queue.has_some() && total.load(Ordering::Relaxed) == 8);
        queue.push(b"last").unwrap();
        queue.finish();
        assert_eq!(queue.push(b"late"), Err(Refused::Closed));
        assert!(queue.take(&mut batch).await);
        assert_eq!(batch.bytes, b"last");
        assert!(!queue.take(&mut batch).await && !queue.has_some());
        assert_eq!(total.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn what_is_being_sent_counts_until_it_is() {
        for big in [&b"x"[..], &[0; 50]] {
            let (queue, total) = queue();
            let mut batch = Batch::default();
            queue.push(big).unwrap();
            assert!(queue.take(&mut batch).await);
            while queue.push(big).is_ok() {}
            assert!(queue.is_full());
            assert_eq!(queue.push(b"x"), Err(Refused::Closed));
            assert!(!queue.take(&mut batch).await);
            drop(queue);
            assert_eq!(total.load(Ordering::Relaxed), 0);
        }
    }

    #[tokio::test]
    async fn a_waiting_writer_is_woken_by_a_message_and_by_the_end() {
        let (queue, _) = queue();
        let queue = Arc::new(queue);
        let of_writer = Arc::clone(&queue);
        let writer = tokio::spawn(async move {
            let (mut batch, mut seen) = (Batch::default(), Vec::new());
            while of_writer.take(&mut batch).await {
                seen.extend_from_slice(&batch.bytes);
            }
            seen
        });
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        queue.push(b"a").unwrap();
        while queue.has_some() {
            tokio::task::yield_now().await;
        }
        queue.push(b"b").unwrap();
        queue.finish();
        assert_eq!(writer.await.unwrap(), b"ab");
    }
}
