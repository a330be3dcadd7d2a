//! What finds a transaction by its key: a hash table whose memory can be asked for ahead.
//!
//! Transactions are kept for seconds after their end, so that under load there are hundreds of
//! thousands, of which hardly any is in the cache when it is looked for.

use crate::ahead::fetch;

/// A table has so many parts, each of which grows by itself: moving one takes a shard's time, moving
/// all at once would stop it for tens of milliseconds.
const PARTS: usize = 128;
/// A part's places to begin with.
const SMALLEST: usize = 32;
/// Of eight places so many are taken at most.
const FULL_EIGHTHS: usize = 5;
/// So many places are looked at in most searches.
const USUAL_RUN: usize = 3;

/// Values by keys. Keys are hashes already, under a secret: nobody can aim at a place. All zero and
/// one are the same key.
#[derive(Debug)]
pub struct Table<T> {
    /// The last bits of a key choose.
    parts: Box<[Part<T>; PARTS]>,
    len: usize,
}

#[derive(Debug)]
struct Part<T> {
    /// A key stands at its home or behind it, with no gap between; behind the end comes the beginning.
    places: Box<[Place<T>]>,
    len: usize,
}

#[derive(Debug, Clone, Copy)]
struct Place<T> {
    /// Zero where nothing is.
    key: u64,
    value: Option<T>,
}

impl<T: Copy> Table<T> {
    /// An empty table.
    pub fn new() -> Self {
        Self {
            parts: Box::new(std::array::from_fn(|_| Part::with_places(SMALLEST))),
            len: 0,
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The key will be looked for soon.
    #[inline]
    pub fn warm(&self, key: u64) {
        let key = stored(key);
        if let Some(part) = self.parts.get(part_of(key)) {
            part.warm(key);
        }
    }

    /// The value of a key.
    #[inline]
    pub fn get(&self, key: u64) -> Option<T> {
        let key = stored(key);
        self.parts.get(part_of(key))?.get(key)
    }

    /// Whether the key has a value.
    pub fn contains(&self, key: u64) -> bool {
        self.get(key).is_some()
    }

    /// Gives a key its value, in place of one that it had.
    pub fn insert(&mut self, key: u64, value: T) {
        let key = stored(key);
        if let Some(part) = self.parts.get_mut(part_of(key)) {
            self.len += usize::from(part.insert(key, value));
        }
    }

    /// Takes a key's value away.
    pub fn remove(&mut self, key: u64) {
        let key = stored(key);
        if let Some(part) = self.parts.get_mut(part_of(key)) {
            self.len -= usize::from(part.remove(key));
        }
    }
}

const fn part_of(key: u64) -> usize {
    key as usize % PARTS
}

impl<T: Copy> Part<T> {
    fn with_places(places: usize) -> Self {
        Self {
            places: vec![Place::EMPTY; places].into(),
            len: 0,
        }
    }

    #[inline]
    fn warm(&self, key: u64) {
        let home = self.home(key);
        if let Some(run) = self.places.get(home..home + USUAL_RUN) {
            fetch(run);
        }
    }

    #[inline]
    fn get(&self, key: u64) -> Option<T> {
        let place = self.find(key).ok()?;
        self.places.get(place)?.value
    }

    /// Whether the key is new.
    fn insert(&mut self, key: u64, value: T) -> bool {
        let value = Some(value);
        let (place, is_new) = match self.find(key) {
            Ok(place) => (place, false),
            Err(_) if (self.len + 1) * 8 > self.places.len() * FULL_EIGHTHS => {
                self.grow();
                (self.find(key).unwrap_or_else(|free| free), true)
            }
            Err(free) => (free, true),
        };
        self.len += usize::from(is_new);
        self.put(place, Place { key, value });
        is_new
    }

    /// Whether the key was there. What stands behind it moves up, so that no search stops too early.
    fn remove(&mut self, key: u64) -> bool {
        let Ok(mut gap) = self.find(key) else {
            return false;
        };
        self.len -= 1;
        let last = self.places.len() - 1;
        let mut place = gap;
        loop {
            place = (place + 1) & last;
            let behind = self.places.get(place).copied().unwrap_or(Place::EMPTY);
            if behind.key == 0 {
                break;
            }
            let from_home = place.wrapping_sub(self.home(behind.key)) & last;
            if from_home >= place.wrapping_sub(gap) & last {
                self.put(gap, behind);
                gap = place;
            }
        }
        self.put(gap, Place::EMPTY);
        true
    }

    fn put(&mut self, at: usize, content: Place<T>) {
        if let Some(place) = self.places.get_mut(at) {
            *place = content;
        }
    }

    /// The first bits choose: in a larger table the keys stand in the same order, so that moving to
    /// it goes through both from the beginning to the end.
    #[inline]
    fn home(&self, key: u64) -> usize {
        ((u128::from(key) * self.places.len() as u128) >> 64) as usize
    }

    /// Where a key is, or else where it would be put. There is always a free place.
    #[inline]
    fn find(&self, key: u64) -> Result<usize, usize> {
        let mut place = self.home(key);
        loop {
            match self.places.get(place) {
                Some(own) if own.key == key => return Ok(place),
                Some(Place { key: 0, .. }) => return Err(place),
                Some(_) => place += 1,
                None => place = 0,
            }
        }
    }

    fn grow(&mut self) {
        let mut larger = Self::with_places(self.places.len() * 2);
        larger.len = self.len;
        for place in self.places.iter().filter(|place| place.key != 0) {
            if let Err(free) = larger.find(place.key) {
                larger.put(free, *place);
            }
        }
        *self = larger;
    }
}

impl<T> Place<T> {
    const EMPTY: Self = Self {
        key: 0,
        value: None,
    };
}

impl<T: Copy> Default for Table<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Zero says that there is no key.
const fn stored(key: u64) -> u64 {
    if key == 0 { 1 } else { key }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use proptest::prelude::*;

    /// Homes close together, at the beginning and at the end, so that runs grow long and wrap; mostly
    /// in one part.
    fn crowded() -> impl Strategy<Value = u64> {
        let home = prop_oneof![0_u64..4, 60_u64..64, 0_u64..64];
        let part = prop_oneof![9 => Just(5_u64), 1 => 0_u64..3];
        (home, 0_u64..8, part).prop_map(|(home, rest, part)| home << 58 | rest << 7 | part)
    }

    proptest! {
        #[test]
        fn it_finds_what_a_map_finds(
            steps in prop::collection::vec((crowded(), any::<u16>(), 0_u8..3), 1..400)
        ) {
            let (mut table, mut map) = (Table::new(), HashMap::new());
            for (key, value, step) in steps {
                let only = key.max(1);
                match step {
                    0 => {
                        table.remove(key);
                        map.remove(&only);
                    }
                    _ => {
                        table.insert(key, value);
                        map.insert(only, value);
                    }
                }
                table.warm(key);
                prop_assert_eq!(table.len(), map.len());
                prop_assert_eq!(table.get(key), map.get(&only).copied());
                prop_assert_eq!(table.contains(key), map.contains_key(&only));
            }
            for (key, value) in &map {
                prop_assert_eq!(table.get(*key), Some(*value));
            }
            for key in map.keys() {
                table.remove(*key);
            }
            let mut places = table.parts.iter().flat_map(|part| part.places.iter());
            prop_assert!(table.is_empty() && places.all(|place| place.key == 0));
        }
    }

    #[test]
    fn it_grows_and_keeps_what_it_has() {
        let mut table = Table::new();
        let key = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for n in 1..=50_000 {
            table.insert(key(n), n);
        }
        assert_eq!(table.len(), 50_000);
        assert!((1..=50_000).all(|n| table.get(key(n)) == Some(n)));
        assert_eq!(table.get(key(50_001)), None);
        let places: Vec<_> = table.parts.iter().map(|part| part.places.len()).collect();
        assert!(
            places.iter().all(|places| [512, 1_024].contains(places)),
            "{places:?}"
        );
    }
}
