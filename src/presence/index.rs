//! Keys to handles: an open-addressing table that readers search without waiting.
//!
//! A slot is half a cache line and holds the key itself where it is short. Once published, a slot
//! keeps its key for ever; only its handle may change, and it may become a tombstone. So a reader
//! that sees a slot's first word sees the whole key that belongs to it.

use std::hash::Hasher as _;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

use super::directory::Handle;
use super::numbers::KEY_LIMIT_BYTES;
use crate::ahead::fetch;

/// Keys up to this length are compared without leaving the slot.
const INLINE_BYTES: usize = 27;
const EMPTY: u64 = 0;
/// A length no key has.
const TOMBSTONE: u64 = 0xff << 32;
const SMALLEST: usize = 64;

/// Word 0: handle (32 bits), length (8), the key's first three bytes (24). Words 1 to 3: the next
/// 24 bytes; of a long key the hash and two words of its beginning.
#[derive(Default)]
struct Slot([AtomicU64; 4]);

/// The slots of one cache line, which are looked at together: which of them it is cannot be foretold,
/// and a processor that guesses wrong waits for memory twice.
#[repr(align(64))]
#[derive(Default)]
struct Bucket([Slot; SLOTS]);

const SLOTS: usize = 2;

/// One generation of the table. It never grows: a larger one takes its place.
pub(super) struct Index {
    buckets: Box<[Bucket]>,
    seed: u64,
    shared_seed: SharedSeed,
}

/// A key as a slot holds it.
#[derive(Clone, Copy)]
pub(super) struct Packed {
    words: [u64; 4],
    hash: u64,
    is_long: bool,
}

/// What a search needs beside the table: whether a record has a key that is too long for a slot.
pub(super) trait LongKeys {
    /// Whether `handle` is known under `key`.
    fn has_key(&self, handle: Handle, key: &[u8]) -> bool;
}

impl Index {
    /// A table with room for `keys` at three quarters of its slots.
    pub(super) fn with_room(keys: usize, seed: u64) -> Self {
        let slots = keys
            .saturating_add(keys / 3)
            .saturating_add(1)
            .max(SMALLEST);
        let buckets = slots.div_ceil(SLOTS);
        Self {
            buckets: (0..buckets).map(|_| Bucket::default()).collect(),
            seed,
            shared_seed: SharedSeed::from_u64(seed),
        }
    }

    /// How many slots may be taken, dead or alive, before a larger table is due.
    pub(super) fn limit(&self) -> usize {
        let slots = self.buckets.len().saturating_mul(SLOTS);
        slots - slots / 4
    }

    /// Prepares a key; `None` when it is too long to be anybody's.
    pub(super) fn pack(&self, key: &[u8]) -> Option<Packed> {
        if key.is_empty() || key.len() > KEY_LIMIT_BYTES {
            return None;
        }
        Some(Packed::new(key, self.hash(key)))
    }

    /// The handle of a key. Wait-free.
    #[inline]
    pub(super) fn find(&self, key: &[u8], long_keys: &impl LongKeys) -> Option<Handle> {
        let packed = self.pack(key)?;
        self.search(&packed, |handle| {
            !packed.is_long || long_keys.has_key(handle, key)
        })
    }

    /// The handle of a prepared key. Of a long one the table has the beginning and the hash only:
    /// there `is_right` decides.
    #[inline]
    pub(super) fn search(
        &self,
        packed: &Packed,
        is_right: impl Fn(Handle) -> bool,
    ) -> Option<Handle> {
        for Bucket([one, two]) in self.probe(packed.hash) {
            let (first, second) = (one.first(), two.first());
            let (is_first, is_second) = (one.matches(first, packed), two.matches(second, packed));
            if is_first | is_second {
                let handle = handle_of(if is_first { first } else { second });
                if is_right(handle) {
                    return Some(handle);
                }
                // Both may begin as a long key does.
                if is_first & is_second && is_right(handle_of(second)) {
                    return Some(handle_of(second));
                }
            }
            if (first == EMPTY) | (second == EMPTY) {
                return None;
            }
        }
        None
    }

    /// Asks for the line where the search for a key begins.
    pub(super) fn warm(&self, packed: &Packed) {
        if let Some(bucket) = self.probe(packed.hash).next() {
            fetch(bucket);
        }
    }

    /// Publishes a key that is not in the table. Only one thread may write at a time. False when
    /// there is no free slot.
    pub(super) fn insert(&self, packed: &Packed, handle: Handle) -> bool {
        for slot in self.probe(packed.hash).flat_map(|bucket| &bucket.0) {
            if slot.word(0, Ordering::Relaxed) == EMPTY {
                slot.publish(packed, handle);
                return true;
            }
        }
        false
    }

    /// Gives the key's slot to another handle, or makes it a tombstone.
    pub(super) fn replace(&self, packed: &Packed, from: Handle, to: Option<Handle>) -> bool {
        for slot in self.probe(packed.hash).flat_map(|bucket| &bucket.0) {
            let first = slot.word(0, Ordering::Relaxed);
            if first == EMPTY {
                return false;
            }
            if slot.matches(first, packed) && handle_of(first) == from {
                let next = to.map_or(TOMBSTONE, |to| packed.first_word(to));
                slot.store(0, next, Ordering::Release);
                return true;
            }
        }
        false
    }

    /// Copies every living key to another table, which nobody reads yet.
    pub(super) fn copy_to(&self, other: &Self) {
        for slot in self.buckets.iter().flat_map(|bucket| &bucket.0) {
            let words: [u64; 4] =
                std::array::from_fn(|position| slot.word(position, Ordering::Relaxed));
            let [first, ..] = words;
            if first >> 32 == EMPTY || first >> 32 == TOMBSTONE >> 32 {
                continue;
            }
            let packed = Packed::from_words(words, |key| self.hash(key));
            other.insert(&packed, handle_of(first));
        }
    }

    #[inline]
    fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared_seed);
        hasher.write(key);
        hasher.finish()
    }

    /// The buckets where a key may be, from its own onwards, once round.
    #[inline]
    fn probe(&self, hash: u64) -> impl Iterator<Item = &Bucket> {
        let start = (u128::from(hash) * self.buckets.len() as u128) >> 64;
        let (head, tail) = self
            .buckets
            .split_at_checked(start as usize)
            .unwrap_or_default();
        tail.iter().chain(head)
    }
}

impl Slot {
    #[inline]
    fn word(&self, position: usize, order: Ordering) -> u64 {
        self.0.get(position).map_or(EMPTY, |word| word.load(order))
    }

    /// The word by which the others may be read.
    #[inline]
    fn first(&self) -> u64 {
        let Self([first, ..]) = self;
        first.load(Ordering::Acquire)
    }

    fn store(&self, position: usize, value: u64, order: Ordering) {
        if let Some(word) = self.0.get(position) {
            word.store(value, order);
        }
    }

    /// The key first, then the word by which readers find it.
    fn publish(&self, packed: &Packed, handle: Handle) {
        for (word, value) in self.0.iter().zip(packed.words).skip(1) {
            word.store(value, Ordering::Relaxed);
        }
        self.store(0, packed.first_word(handle), Ordering::Release);
    }

    /// Whether the key is this one: without a branch, as there is nothing to save once the line is
    /// there.
    #[inline]
    fn matches(&self, first: u64, packed: &Packed) -> bool {
        let Self([_, b, c, d]) = self;
        let [own_a, own_b, own_c, own_d] = packed.words;
        let beginning = (first ^ own_a) >> 32;
        let middle = (b.load(Ordering::Relaxed) ^ own_b) | (c.load(Ordering::Relaxed) ^ own_c);
        beginning | middle | (d.load(Ordering::Relaxed) ^ own_d) == 0
    }
}

impl Packed {
    #[inline]
    fn new(key: &[u8], hash: u64) -> Self {
        let is_long = key.len() > INLINE_BYTES;
        let (a, b) = (word_at(key, 0), word_at(key, 8));
        let (c, d) = (word_at(key, 16), word_at(key, 24));
        let last = if is_long { hash } else { c >> 24 | d << 40 };
        Self {
            words: [
                (key.len() as u64) << 32 | a << 40,
                a >> 24 | b << 40,
                b >> 24 | c << 40,
                last,
            ],
            hash,
            is_long,
        }
    }

    /// The key as it stands in a slot of another table with the same seed.
    fn from_words(words: [u64; 4], hash: impl FnOnce(&[u8]) -> u64) -> Self {
        let [first, second, third, fourth] = words;
        let first = first >> 32 << 32;
        let length = (first >> 32 & 0xff) as usize;
        let words = [first, second, third, fourth];
        if length > INLINE_BYTES {
            return Self {
                words,
                hash: fourth,
                is_long: true,
            };
        }
        let mut inline = [0u8; 32];
        for (bytes, word) in inline.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        let key = inline.get(5..5 + length).unwrap_or_default();
        Self {
            words,
            hash: hash(key),
            is_long: false,
        }
    }

    fn first_word(&self, handle: Handle) -> u64 {
        let [first, ..] = self.words;
        first | u64::from(handle.0)
    }
}

/// The eight bytes from `at` on, the first lowest; zeros beyond the end. Not by copying them to where
/// a word is read: a processor waits for such a copy.
#[inline]
fn word_at(key: &[u8], at: usize) -> u64 {
    let rest = key.get(at..).unwrap_or_default();
    if let Some(word) = rest.first_chunk() {
        return u64::from_le_bytes(*word);
    }
    if rest.is_empty() {
        return 0;
    }
    if let Some(last) = key.last_chunk() {
        return u64::from_le_bytes(*last) >> (8 * (8 - rest.len()));
    }
    if let (Some(head), Some(tail)) = (rest.first_chunk(), rest.last_chunk()) {
        let (head, tail) = (u32::from_le_bytes(*head), u32::from_le_bytes(*tail));
        return u64::from(head) | u64::from(tail) << (8 * (rest.len() - 4));
    }
    let bytes = rest.iter().rev();
    bytes.fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[inline]
fn handle_of(first: u64) -> Handle {
    Handle(first as u32)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    struct Known(HashMap<Vec<u8>, u32>);

    impl LongKeys for Known {
        fn has_key(&self, handle: Handle, key: &[u8]) -> bool {
            self.0.get(key) == Some(&handle.0)
        }
    }

    proptest! {
        #[test]
        fn the_index_does_what_a_map_does(
            steps in prop::collection::vec(("[a-c]{1,2}|[ab]{26,29}", 0u32..50, any::<bool>()), 1..60),
            seed in any::<u64>(),
        ) {
            let index = Index::with_room(60, seed);
            let mut known = Known(HashMap::new());
            for (key, value, put) in steps {
                let key = key.into_bytes();
                let packed = index.pack(&key).unwrap();
                match (known.0.get(&key).copied(), put) {
                    (Some(old), true) => {
                        prop_assert!(index.replace(&packed, Handle(old), Some(Handle(value))));
                        known.0.insert(key, value);
                    }
                    (Some(old), false) => {
                        prop_assert!(index.replace(&packed, Handle(old), None));
                        known.0.remove(&key);
                    }
                    (None, true) => {
                        prop_assert!(index.insert(&packed, Handle(value)));
                        known.0.insert(key, value);
                    }
                    (None, false) => prop_assert_eq!(index.find(&key, &known), None),
                }
                for (key, value) in &known.0 {
                    prop_assert_eq!(index.find(key, &known), Some(Handle(*value)));
                }
            }
        }
    }

    #[test]
    fn a_full_table_refuses_and_still_ends_its_searches() {
        let index = Index::with_room(1, 7);
        let none = Known(HashMap::new());
        let keys: Vec<Vec<u8>> = (0..=SMALLEST).map(|n| n.to_string().into_bytes()).collect();
        let refused: Vec<&Vec<u8>> = keys
            .iter()
            .filter(|key| !index.insert(&index.pack(key).unwrap(), Handle(1)))
            .collect();
        assert_eq!(refused.len(), 1);
        assert_eq!(index.find(refused[0], &none), None);
        assert_eq!(index.find(b"", &none), None);
        assert_eq!(index.find(&[b'9'; 65], &none), None);
    }
}
