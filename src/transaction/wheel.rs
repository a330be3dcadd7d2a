//! A hashed timer wheel of one turn: inserting and firing cost the same at any fill. A timer that
//! moved or stopped is found out when its entry comes up, which is within a turn: what was given up
//! long before its time (timer C, a call's last end) takes no memory until then.

use super::Ms;

/// Milliseconds per slot: timers fire at most this late.
const TICK: Ms = 4;
/// Slots; with [`TICK`] a turn is 32.8 s, just above 64*T1, so most entries come up once.
const SLOTS: usize = 8_192;
const WORDS: usize = SLOTS / 64;

/// Deadlines of contexts `T`. Entries are never removed: the owner compares the deadline it is
/// asked about with the one it has (lazy cancellation), and inserts it anew where that is still to
/// come.
#[derive(Debug)]
pub struct Wheel<T> {
    slots: Vec<Vec<(Ms, T)>>,
    occupied: [u64; WORDS],
    /// The first tick not yet fired.
    tick: Ms,
    entries: usize,
    scratch: Vec<(Ms, T)>,
}

impl<T: Copy> Wheel<T> {
    /// An empty wheel whose time starts at `now`.
    pub fn new(now: Ms) -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            occupied: [0; WORDS],
            tick: now / TICK,
            entries: 0,
            scratch: Vec::new(),
        }
    }

    /// How many entries wait, stale ones included.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether no entry waits.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Wakes `item` at `at` (rounded up to a tick), at once where that is past; after a turn where
    /// it is further away.
    pub fn insert(&mut self, at: Ms, item: T) {
        let farthest = self.tick + SLOTS as u64 - 1;
        let tick = at.div_ceil(TICK).clamp(self.tick, farthest);
        let slot = (tick % SLOTS as u64) as usize;
        if let (Some(entries), Some(word)) =
            (self.slots.get_mut(slot), self.occupied.get_mut(slot / 64))
        {
            entries.push((at, item));
            *word |= 1 << (slot % 64);
            self.entries += 1;
        }
    }

    /// The moment of the next slot with entries.
    pub fn next(&self) -> Option<Ms> {
        if self.entries == 0 {
            return None;
        }
        let start = (self.tick % SLOTS as u64) as usize;
        let (first_word, bit) = (start / 64, start % 64);
        for step in 0..=WORDS {
            let word_index = (first_word + step) % WORDS;
            let mut word = self.occupied.get(word_index).copied().unwrap_or(0);
            if step == 0 {
                word &= u64::MAX << bit;
            } else if step == WORDS {
                word &= !(u64::MAX << bit);
            }
            if word != 0 {
                let slot = word_index * 64 + word.trailing_zeros() as usize;
                let ahead = (slot + SLOTS - start) % SLOTS;
                return Some((self.tick + ahead as u64) * TICK);
            }
        }
        None
    }

    /// Calls `wake` for every entry that has come up by `now`, with the deadline it was inserted
    /// for, which may be later. `wake` gets the wheel to insert into.
    pub fn fire(&mut self, now: Ms, mut wake: impl FnMut(&mut Self, Ms, T)) {
        let last = now / TICK;
        while self.tick <= last {
            let Some(next) = self.next() else {
                self.tick = last + 1;
                return;
            };
            let next = next / TICK;
            if next > last {
                self.tick = last + 1;
                return;
            }
            self.tick = next + 1;
            self.fire_slot((next % SLOTS as u64) as usize, &mut wake);
        }
    }

    fn fire_slot(&mut self, slot: usize, wake: &mut impl FnMut(&mut Self, Ms, T)) {
        let mut due = std::mem::take(&mut self.scratch);
        if let (Some(entries), Some(word)) =
            (self.slots.get_mut(slot), self.occupied.get_mut(slot / 64))
        {
            due.append(entries);
            *word &= !(1 << (slot % 64));
        }
        self.entries -= due.len();
        for (at, item) in due.drain(..) {
            wake(self, at, item);
        }
        self.scratch = due;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_wheel_has_no_deadline() {
        let mut wheel = Wheel::<u32>::new(5);
        assert_eq!(wheel.next(), None);
        wheel.fire(1_000_000, |_, _, _| panic!("nothing to fire"));
    }

    #[test]
    fn an_entry_beyond_one_turn_comes_up_once_a_turn() {
        let mut wheel = Wheel::new(0);
        wheel.insert(185_000, 'c');
        let mut fired = Vec::new();
        while let Some(now) = wheel.next() {
            wheel.fire(now, |wheel, at, item| {
                fired.push(now);
                if at > now {
                    wheel.insert(at, item);
                }
            });
        }
        assert_eq!(fired.last(), Some(&185_000));
        assert_eq!(fired.len(), 6, "{fired:?}");
    }

    #[test]
    fn what_wake_inserts_for_now_fires_soon_after() {
        let mut wheel = Wheel::new(0);
        wheel.insert(10, 0);
        let mut fired = Vec::new();
        for now in (0..40).step_by(4) {
            wheel.fire(now, |wheel, _, n| {
                fired.push((now, n));
                if n < 2 {
                    wheel.insert(now, n + 1);
                }
            });
        }
        assert_eq!(fired, [(12, 0), (16, 1), (20, 2)]);
        assert!(wheel.is_empty());
    }

    proptest! {
        #[test]
        fn each_entry_is_woken_once_and_within_a_tick(
            delays in prop::collection::vec(0u64..100_000, 1..60), start in 0u64..1_000_000
        ) {
            let mut wheel = Wheel::new(start);
            for (i, delay) in delays.iter().enumerate() {
                wheel.insert(start + delay, i);
            }
            let mut fired = vec![None; delays.len()];
            while let Some(at) = wheel.next() {
                wheel.fire(at, |wheel, deadline, i| {
                    assert!(fired[i].is_none());
                    match deadline <= at {
                        true => fired[i] = Some(at),
                        false => wheel.insert(deadline, i),
                    }
                });
            }
            for (delay, at) in delays.iter().zip(fired) {
                let late = at.unwrap() as i64 - (start + delay) as i64;
                prop_assert!((0..2 * TICK as i64).contains(&late), "{late} ms late");
            }
        }
    }
}
