//! What finds a transaction by its key: a hash table whose memory can be asked for ahead.
//!
//! Transactions are kept for seconds after their end, so that under load there are hundreds of
//! thousands, of which hardly any is in the cache when it is looked for.

use crate::ahead::fetch;

/// Places to begin with.
const SMALLEST: usize = 64;
/// Of eight places so many are taken at most.
const FULL_EIGHTHS: usize = 5;
/// So many places are looked at in most searches.
const USUAL_RUN: usize = 3;

/// Values by keys. Keys are hashes already, under a secret: nobody can aim at a place. All zero and
/// one are the same key.
#[derive(Debug)]
pub struct Table<T> {
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
        Self::with_places(SMALLEST)
    }

    fn with_places(places: usize) -> Self {
        Self {
            places: vec![Place::EMPTY; places].into(),
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
        let home = self.home(stored(key));
        if let Some(run) = self.places.get(home..home + USUAL_RUN) {
            fetch(run);
        }
    }

    /// The value of a key.
    #[inline]
    pub fn get(&self, key: u64) -> Option<T> {
        let place = self.find(stored(key)).ok()?;
        self.places.get(place)?.value
    }

    /// Whether the key has a value.
    pub fn contains(&self, key: u64) -> bool {
        self.find(stored(key)).is_ok()
    }

    /// Gives a key its value, in place of one that it had.
    pub fn insert(&mut self, key: u64, value: T) {
        let key = stored(key);
        let place = match self.find(key) {
            Ok(place) => place,
            Err(_) if (self.len + 1) * 8 > self.places.len() * FULL_EIGHTHS => {
                self.grow();
                self.len += 1;
                self.find(key).unwrap_or_else(|free| free)
            }
            Err(free) => {
                self.len += 1;
                free
            }
        };
        let value = Some(value);
        self.put(place, Place { key, value });
    }

    /// Takes a key's value away. What stands behind it moves up, so that no search stops too early.
    pub fn remove(&mut self, key: u64) {
        let Ok(mut gap) = self.find(stored(key)) else {
            return;
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

    /// Homes close together, at the beginning and at the end, so that runs grow long and wrap.
    fn crowded() -> impl Strategy<Value = u64> {
        let home = prop_oneof![0_u64..4, 60_u64..64, 0_u64..64];
        (home, 0_u64..8).prop_map(|(home, rest)| home << 58 | rest)
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
            prop_assert!(table.is_empty() && table.places.iter().all(|place| place.key == 0));
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
        assert_eq!(table.places.len(), 131_072);
    }
}
