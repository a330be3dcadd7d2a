//! Places for connections: so many in all, so many for each source, so many being opened.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

/// The places that are taken.
#[derive(Default)]
pub(super) struct Seats {
    open: AtomicUsize,
    /// Being opened by others, by us.
    opening: [AtomicUsize; 2],
    sources: DashMap<IpAddr, usize>,
}

/// Who opens a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opener {
    /// Somebody else.
    Peer,
    /// We.
    Us,
}

/// One connection's place; dropping it gives it back.
pub(super) struct Seat {
    seats: Arc<Seats>,
    source: Option<IpAddr>,
}

/// A place among those that are being opened.
pub(super) struct Opening {
    seats: Arc<Seats>,
    opener: Opener,
}

impl Seats {
    /// A place among `limit`.
    pub(super) fn take(self: &Arc<Self>, limit: usize) -> Option<Seat> {
        take(&self.open, limit).then(|| Seat {
            seats: Arc::clone(self),
            source: None,
        })
    }

    /// A place among `limit` that are being opened by the same side.
    pub(super) fn begin(self: &Arc<Self>, opener: Opener, limit: usize) -> Option<Opening> {
        take(self.opening(opener), limit).then(|| Opening {
            seats: Arc::clone(self),
            opener,
        })
    }

    /// How many connections there are, those being opened included.
    pub(super) fn len(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn opening(&self, opener: Opener) -> &AtomicUsize {
        let [by_peer, by_us] = &self.opening;
        match opener {
            Opener::Peer => by_peer,
            Opener::Us => by_us,
        }
    }
}

impl Seat {
    /// Counts the connection among those of its source; whether `limit` allows it.
    pub(super) fn come_from(&mut self, source: IpAddr, limit: usize) -> bool {
        let source = source.to_canonical();
        let mut count = self.seats.sources.entry(source).or_insert(0);
        if *count >= limit {
            return false;
        }
        *count += 1;
        drop(count);
        self.source = Some(source);
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(source) = self.source
            && let Entry::Occupied(mut entry) = self.seats.sources.entry(source)
        {
            *entry.get_mut() = entry.get().saturating_sub(1);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let count = self.seats.opening(self.opener);
        count.fetch_sub(1, Ordering::Relaxed);
    }
}

fn take(count: &AtomicUsize, limit: usize) -> bool {
    let is_taken = count.fetch_add(1, Ordering::Relaxed) < limit;
    if !is_taken {
        count.fetch_sub(1, Ordering::Relaxed);
    }
    is_taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_holds_and_places_come_back() {
        let seats = Arc::new(Seats::default());
        let one: IpAddr = [127, 0, 0, 1].into();
        let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
        let mut taken: Vec<Seat> = (0..3).map_while(|_| seats.take(3)).collect();
        assert!(taken.len() == 3 && seats.take(3).is_none());
        assert!(taken[0].come_from(one, 2) && taken[1].come_from(mapped, 2));
        assert!(!taken[2].come_from(one, 2));
        taken.clear();
        assert_eq!((seats.len(), seats.sources.len()), (0, 0));
        let opening = seats.begin(Opener::Us, 1).unwrap();
        assert!(seats.begin(Opener::Us, 1).is_none());
        assert!(seats.begin(Opener::Peer, 1).is_some());
        drop(opening);
        assert!(seats.begin(Opener::Us, 1).is_some());
    }
}
