//! Which counters of which nonces were used: the table that makes a replay fail (RFC 7616 §3.4).
//!
//! A nonce enters the table when somebody has proved a password with it, so a flood of guesses
//! leaves no trace. Where a set of the table is full, its oldest nonce falls out, and from then on
//! every nonce of the set that is as old counts as used up: its client is told `stale=true` and
//! goes on with another. So nothing is ever accepted twice, however small the table.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use super::nonce::NonceId;

const SETS: usize = 8_192;
const WAYS: usize = 16;
/// How far behind the greatest counter another may be: requests overtake each other.
const WINDOW: u32 = 64;

/// The counters of the nonces in use.
pub struct Replays {
    sets: Box<[Mutex<Set>]>,
    /// Nonces from before count as used up: what was counted then is forgotten.
    begun_s: AtomicU32,
}

#[derive(Default)]
struct Set {
    used: Vec<Used>,
    /// Nonces not in the set that were made then or before count as used up.
    forgotten_s: Option<u32>,
}

struct Used {
    id: NonceId,
    greatest: u32,
    /// Which counters below the greatest were used; bit 0 is the greatest itself.
    seen: u64,
    /// The transaction that used the greatest: it may come again.
    transaction: u64,
}

/// What a counter is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// Used for the first time.
    New,
    /// The same request came again.
    Again,
    /// Used before, too far behind, or of a nonce that is forgotten.
    UsedUp,
}

impl Default for Replays {
    fn default() -> Self {
        Self {
            sets: (0..SETS).map(|_| Mutex::default()).collect(),
            begun_s: AtomicU32::new(0),
        }
    }
}

impl Replays {
    /// The table begins to count at this time, once.
    pub fn begin(&self, now_s: i64) {
        let now_s = u32::try_from(now_s).unwrap_or_default();
        let order = Ordering::Relaxed;
        self.begun_s.compare_exchange(0, now_s, order, order).ok();
    }

    /// Uses a counter of a nonce. `transaction` stands for the request and its source; `oldest_s`
    /// is when the oldest nonce was made that is still good.
    pub fn count(&self, id: NonceId, count: u32, transaction: u64, oldest_s: i64) -> Counted {
        let position = (id.salt as usize) % self.sets.len().max(1);
        let Some(set) = self.sets.get(position) else {
            return Counted::UsedUp;
        };
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = set.used.iter_mut().find(|used| used.id == id) {
            return used.count(count, transaction);
        }
        let is_forgotten = set.forgotten_s.is_some_and(|at| id.made_s <= at);
        if is_forgotten || id.made_s < self.begun_s.load(Ordering::Relaxed) {
            return Counted::UsedUp;
        }
        set.make_room(oldest_s);
        set.used.push(Used {
            id,
            greatest: count,
            seen: 1,
            transaction,
        });
        Counted::New
    }

    /// How many nonces are in use.
    pub fn len(&self) -> usize {
        let of_set = |set: &Mutex<Set>| {
            set.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .used
                .len()
        };
        self.sets.iter().map(of_set).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Set {
    fn make_room(&mut self, oldest_s: i64) {
        if self.used.len() < WAYS {
            return;
        }
        self.used
            .retain(|used| i64::from(used.id.made_s) >= oldest_s);
        if self.used.len() < WAYS {
            return;
        }
        let oldest = self
            .used
            .iter()
            .enumerate()
            .min_by_key(|(_, used)| used.id.made_s);
        if let Some((at, _)) = oldest {
            let made_s = self.used.swap_remove(at).id.made_s;
            self.forgotten_s = self.forgotten_s.max(Some(made_s));
        }
    }
}

impl Used {
    fn count(&mut self, count: u32, transaction: u64) -> Counted {
        if count > self.greatest {
            let by = count - self.greatest;
            self.seen = self.seen.checked_shl(by).unwrap_or(0) | 1;
            self.greatest = count;
            self.transaction = transaction;
            return Counted::New;
        }
        let behind = self.greatest - count;
        if behind >= WINDOW {
            return Counted::UsedUp;
        }
        let bit = 1u64 << behind;
        if self.seen & bit == 0 {
            self.seen |= bit;
            return Counted::New;
        }
        match behind == 0 && transaction == self.transaction {
            true => Counted::Again,
            false => Counted::UsedUp,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(made_s: u32, salt: u64) -> NonceId {
        NonceId { made_s, salt }
    }

    #[test]
    fn a_counter_is_good_once_and_may_overtake() {
        let replays = Replays::default();
        let count = |count, transaction| replays.count(id(10, 1), count, transaction, 0);
        assert_eq!(count(1, 7), Counted::New);
        assert_eq!(count(1, 7), Counted::Again);
        assert_eq!(count(1, 8), Counted::UsedUp);
        assert_eq!(count(5, 8), Counted::New);
        assert_eq!(count(3, 9), Counted::New);
        assert_eq!(count(3, 9), Counted::UsedUp);
        assert_eq!(count(1, 7), Counted::UsedUp);
        assert_eq!(count(100, 9), Counted::New);
        assert_eq!(count(36, 9), Counted::UsedUp);
        assert_eq!(count(37, 9), Counted::New);
        assert_eq!(count(u32::MAX, 9), Counted::New);
    }

    #[test]
    fn a_nonce_that_fell_out_is_used_up() {
        let replays = Replays::default();
        let in_one_set = |n: u32| id(100 + n, 1 + u64::from(n) * SETS as u64);
        for n in 0..=WAYS as u32 {
            assert_eq!(replays.count(in_one_set(n), 1, 1, 0), Counted::New);
        }
        assert_eq!(replays.len(), WAYS);
        assert_eq!(replays.count(in_one_set(0), 1, 2, 0), Counted::UsedUp);
        assert_eq!(replays.count(in_one_set(0), 2, 2, 0), Counted::UsedUp);
        assert_eq!(replays.count(in_one_set(1), 1, 2, 0), Counted::UsedUp);
        let later = id(200, 1 + 77 * SETS as u64);
        assert_eq!(replays.count(later, 1, 1, 0), Counted::New);
    }

    #[test]
    fn nonces_that_have_expired_give_way_and_nobody_is_stale_for_it() {
        let replays = Replays::default();
        let in_one_set = |n: u64| id(100, 1 + n * SETS as u64);
        for n in 0..WAYS as u64 {
            replays.count(in_one_set(n), 1, 1, 0);
        }
        let fresh = id(500, 1);
        assert_eq!(replays.count(fresh, 1, 1, 400), Counted::New);
        assert_eq!(replays.len(), 1);
        assert_eq!(replays.sets[1].lock().unwrap().forgotten_s, None);
    }

    #[test]
    fn nonces_of_an_earlier_run_are_used_up() {
        let replays = Replays::default();
        replays.begin(50);
        replays.begin(99);
        assert_eq!(replays.count(id(49, 1), 1, 1, 0), Counted::UsedUp);
        assert_eq!(replays.count(id(50, 1), 1, 1, 0), Counted::New);
    }

    #[test]
    fn the_table_is_bounded() {
        let replays = Replays::default();
        for salt in 0..(SETS * WAYS * 2) as u64 {
            replays.count(id(1_000, salt), 1, 1, 0);
        }
        assert!(replays.len() <= SETS * WAYS);
    }

    proptest! {
        #[test]
        fn nothing_is_accepted_twice(
            uses in prop::collection::vec((0u32..40, 1u32..200), 1..400),
        ) {
            let replays = Replays::default();
            let mut accepted = std::collections::HashSet::new();
            for (position, (nonce, count)) in uses.into_iter().enumerate() {
                let id = id(100 + nonce % 7, u64::from(nonce) * SETS as u64);
                if replays.count(id, count, position as u64, 0) == Counted::New {
                    prop_assert!(accepted.insert((nonce, count)));
                }
            }
        }
    }
}
