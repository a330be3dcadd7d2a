//! The dense array of records: for each subscriber one word that routing reads and one profile.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};

use super::directory::Handle;
use super::index::LongKeys;
use super::model::Status;
use super::profile::Profile;
use crate::ahead::fetch;

/// How many subscribers a directory holds at most.
pub const SUBSCRIBER_LIMIT: usize = CHUNK * CHUNKS;

const CHUNK: usize = 4096;
const CHUNKS: usize = 4096;

const STATUS: u64 = 0b111;
const RULES: u64 = 1 << 3;
const BUSY_RULES: u64 = 1 << 4;
const TIMED: u64 = 1 << 5;
const OCCUPIED: u64 = 1 << 6;
const CALLS_SHIFT: u32 = 8;
const CALLS: u64 = 0xffff << CALLS_SHIFT;
const RINGING_SHIFT: u32 = 24;
const RINGING: u64 = 0xfff << RINGING_SHIFT;
const CHANGE_SHIFT: u32 = 36;

/// A reader's short hold of a profile, cheaper than an `Arc`. Not for keeping.
pub type ProfileGuard = Guard<Arc<Profile>>;

/// What the routing word of a subscriber says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Routing {
    /// The base status in force when the profile was put, if it is not timed still.
    pub status: Status,
    /// How many calls the subscriber is in.
    pub calls: u16,
    /// How many calls ring at the subscriber.
    pub ringing: u16,
    /// Whether settings of the base status, or of `all`, can change what a call does.
    pub has_rules: bool,
    /// Whether settings of `in_call` can.
    pub has_busy_rules: bool,
    /// Whether the status may be another by now; the profile says which.
    pub is_timed: bool,
    /// Whether there is no subscriber here, or no longer.
    pub is_vacant: bool,
    /// Grows, modulo 2^28, with every change of the profile.
    pub change: u32,
}

/// Which overlay a [`Mark`](super::Mark) stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MarkKind {
    /// An established call.
    InCall,
    /// A call that rings.
    Ringing,
}

pub(super) struct Records {
    chunks: Box<[OnceLock<Chunk>]>,
    vacant: Arc<Profile>,
}

struct Chunk {
    words: Box<[AtomicU64]>,
    profiles: Box<[ArcSwap<Profile>]>,
}

impl Routing {
    #[inline]
    fn decode(word: u64) -> Self {
        Self {
            status: match word & STATUS {
                0 => Status::Available,
                1 => Status::Away,
                2 => Status::Break,
                _ => Status::Dnd,
            },
            calls: (word >> CALLS_SHIFT) as u16,
            ringing: ((word & RINGING) >> RINGING_SHIFT) as u16,
            has_rules: word & RULES != 0,
            has_busy_rules: word & BUSY_RULES != 0,
            is_timed: word & TIMED != 0,
            is_vacant: word & OCCUPIED == 0,
            change: (word >> CHANGE_SHIFT) as u32,
        }
    }

    const VACANT: Self = Self {
        status: Status::Available,
        calls: 0,
        ringing: 0,
        has_rules: false,
        has_busy_rules: false,
        is_timed: false,
        is_vacant: true,
        change: 0,
    };
}

impl MarkKind {
    const fn field(self) -> (u64, u32) {
        match self {
            Self::InCall => (CALLS, CALLS_SHIFT),
            Self::Ringing => (RINGING, RINGING_SHIFT),
        }
    }
}

impl Records {
    pub(super) fn new() -> Self {
        Self {
            chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect(),
            vacant: Arc::new(Profile::vacant()),
        }
    }

    /// Makes room for the record of that number.
    pub(super) fn reach(&self, handle: Handle) {
        if let Some(chunk) = self.chunks.get(handle.position() / CHUNK) {
            chunk.get_or_init(|| Chunk::new(&self.vacant));
        }
    }

    #[inline]
    pub(super) fn routing(&self, handle: Handle) -> Routing {
        self.word(handle).map_or(Routing::VACANT, |word| {
            Routing::decode(word.load(Ordering::Acquire))
        })
    }

    /// The profile, where there is a subscriber.
    #[inline]
    pub(super) fn guard(&self, handle: Handle) -> Option<ProfileGuard> {
        self.unread(handle).filter(|profile| !profile.is_vacant())
    }

    /// The profile, vacant or not, which is not looked at.
    #[inline]
    pub(super) fn unread(&self, handle: Handle) -> Option<ProfileGuard> {
        self.slot(handle).map(ArcSwap::load)
    }

    /// Asks for a record.
    pub(super) fn warm(&self, handle: Handle) {
        if let (Some(word), Some(slot)) = (self.word(handle), self.slot(handle)) {
            fetch(word);
            fetch(slot);
        }
    }

    pub(super) fn full(&self, handle: Handle) -> Option<Arc<Profile>> {
        self.slot(handle)
            .map(ArcSwap::load_full)
            .filter(|profile| !profile.is_vacant())
    }

    /// Puts a profile in place, then the word that describes it. The marks stay.
    pub(super) fn publish(&self, handle: Handle, profile: Arc<Profile>) {
        let flags = flags_of(&profile);
        if let Some(slot) = self.slot(handle) {
            slot.store(profile);
        }
        self.describe(handle, flags);
    }

    /// Takes the profile away. The marks stay until their owners drop them.
    pub(super) fn vacate(&self, handle: Handle) {
        self.describe(handle, 0);
        if let Some(slot) = self.slot(handle) {
            slot.store(Arc::clone(&self.vacant));
        }
        // What comes after it is seen by whoever does not see that they are to be told.
        fence(Ordering::SeqCst);
    }

    /// Counts one more call; false when the counter is at its limit.
    pub(super) fn raise(&self, handle: Handle, kind: MarkKind) -> bool {
        let (mask, shift) = kind.field();
        self.word(handle).is_some_and(|word| {
            word.fetch_update(Ordering::SeqCst, Ordering::Acquire, |word| {
                (word & mask != mask).then(|| word.wrapping_add(1 << shift))
            })
            .is_ok()
        })
    }

    /// Counts one call less, never below zero.
    pub(super) fn lower(&self, handle: Handle, kind: MarkKind) {
        let (mask, shift) = kind.field();
        if let Some(word) = self.word(handle) {
            let lowered = word.fetch_update(Ordering::SeqCst, Ordering::Acquire, |word| {
                (word & mask != 0).then(|| word.wrapping_sub(1 << shift))
            });
            debug_assert!(lowered.is_ok(), "a mark was taken back twice");
        }
    }

    /// The records below `end` whose word satisfies `wanted`.
    pub(super) fn handles<'a>(
        &'a self,
        end: usize,
        wanted: impl Fn(Routing) -> bool + 'a,
    ) -> impl Iterator<Item = Handle> + 'a {
        let words = self
            .chunks
            .iter()
            .filter_map(OnceLock::get)
            .flat_map(|chunk| chunk.words.iter())
            .take(end);
        (0u32..)
            .zip(words)
            .filter(move |(_, word)| wanted(Routing::decode(word.load(Ordering::Acquire))))
            .map(|(position, _)| Handle(position))
    }

    fn describe(&self, handle: Handle, flags: u64) {
        if let Some(word) = self.word(handle) {
            let described = |word: u64| {
                let change = (word >> CHANGE_SHIFT).wrapping_add(1) << CHANGE_SHIFT;
                change | word & (CALLS | RINGING) | flags
            };
            word.fetch_update(Ordering::SeqCst, Ordering::Acquire, |word| {
                Some(described(word))
            })
            .ok();
        }
    }

    #[inline]
    fn word(&self, handle: Handle) -> Option<&AtomicU64> {
        self.chunk(handle)?.words.get(handle.position() % CHUNK)
    }

    #[inline]
    fn slot(&self, handle: Handle) -> Option<&ArcSwap<Profile>> {
        self.chunk(handle)?.profiles.get(handle.position() % CHUNK)
    }

    #[inline]
    fn chunk(&self, handle: Handle) -> Option<&Chunk> {
        self.chunks.get(handle.position() / CHUNK)?.get()
    }
}

impl LongKeys for Records {
    fn has_key(&self, handle: Handle, key: &[u8]) -> bool {
        self.guard(handle)
            .is_some_and(|profile| profile.has_key(key))
    }
}

impl Chunk {
    fn new(vacant: &Arc<Profile>) -> Self {
        Self {
            words: (0..CHUNK).map(|_| AtomicU64::new(0)).collect(),
            profiles: (0..CHUNK)
                .map(|_| ArcSwap::new(Arc::clone(vacant)))
                .collect(),
        }
    }
}

fn flags_of(profile: &Profile) -> u64 {
    let status = match profile.settled().status {
        Status::Available | Status::InCall => 0,
        Status::Away => 1,
        Status::Break => 2,
        Status::Dnd => 3,
    };
    let flag = |set: bool, bit: u64| if set { bit } else { 0 };
    status
        | OCCUPIED
        | flag(profile.has_rules_for(profile.settled()), RULES)
        | flag(profile.has_rules_for(Status::InCall.into()), BUSY_RULES)
        | flag(profile.is_timed(), TIMED)
}
