//! The bindings by the position of their subscriber: read without a lock, replaced whole.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;

use super::binding::Bindings;
use crate::presence::{Handle, SUBSCRIBER_LIMIT};

/// How many subscribers one chunk has room for.
pub(super) const CHUNK: usize = 4_096;

/// A chunk is made when the first subscriber in it registers: a server whose phones register with
/// the PBX has none.
pub(super) struct Table {
    chunks: Box<[OnceLock<Chunk>]>,
    /// The end of the chunks that were ever used.
    reached: AtomicUsize,
}

type Chunk = Box<[ArcSwapOption<Bindings>]>;

impl Table {
    pub(super) fn new() -> Self {
        let chunks = SUBSCRIBER_LIMIT.div_ceil(CHUNK);
        Self {
            chunks: (0..chunks).map(|_| OnceLock::new()).collect(),
            reached: AtomicUsize::new(0),
        }
    }

    /// What is bound for a subscriber, perhaps for the one who had the place before.
    #[inline]
    pub(super) fn load(&self, callee: Handle) -> Option<Arc<Bindings>> {
        let position = callee.position();
        let chunk = self.chunks.get(position / CHUNK)?.get()?;
        chunk.get(position % CHUNK)?.load_full()
    }

    /// Puts others in their place.
    pub(super) fn store(&self, callee: Handle, bindings: Option<Arc<Bindings>>) {
        let position = callee.position();
        let Some(chunk) = self.chunks.get(position / CHUNK) else {
            return;
        };
        self.reached.fetch_max(position / CHUNK + 1, Relaxed);
        let chunk = match &bindings {
            Some(_) => chunk.get_or_init(|| (0..CHUNK).map(|_| ArcSwapOption::empty()).collect()),
            None => match chunk.get() {
                Some(chunk) => chunk,
                None => return,
            },
        };
        if let Some(place) = chunk.get(position % CHUNK) {
            place.store(bindings);
        }
    }

    /// How many chunks may hold something.
    pub(super) fn chunks(&self) -> usize {
        self.reached.load(Relaxed)
    }

    /// Everything in one chunk.
    pub(super) fn chunk(&self, number: usize) -> impl Iterator<Item = Arc<Bindings>> {
        let chunk = self.chunks.get(number).and_then(OnceLock::get);
        chunk
            .into_iter()
            .flat_map(|chunk| chunk.iter().filter_map(ArcSwapOption::load_full))
    }
}
