//! What outlives the process: subscribers' documents, the open calls, the journal.
//!
//! This is the lowest layer: it keeps bytes and knows nothing of their meaning, and it imports
//! nothing else of the crate. Documents change rarely and are on disk before a change is
//! acknowledged; open calls and journal entries are written on the call path, by plain stores
//! into memory that the kernel keeps when the process is killed. The store never reads a clock:
//! [`Store::maintain`] tells it the time.
//!
//! Enter at [`Store`]; [`Embedded`] keeps it in a directory, [`Memory`] is the engine for tests, the
//! demo and the simulation. [`contract`] says in words what each engine owes its callers, and checks it.

mod calls;
pub mod contract;
mod documents;
mod embedded;
mod journal;
mod map;
mod memory;
mod records;
mod segment;
mod slots;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use embedded::Embedded;
pub use memory::Memory;

/// The longest record of an open call, in bytes.
pub const CALL_RECORD_MAX: usize = 488;

/// The longest journal entry, in bytes.
pub const JOURNAL_ENTRY_MAX: usize = 64 * 1024;

/// The longest record of a binding or subscription, in bytes.
pub const SLOT_RECORD_MAX: usize = 1_000;

/// One engine's whole persistence. The promises are spelled out in [`contract`].
pub trait Store: Send + Sync {
    /// Hands over every document, in the byte order of the keys. Called once, at the start.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged.
    fn load(&self, each: &mut dyn FnMut(&str, &[u8])) -> Result<(), StoreError>;

    /// The same for the documents whose keys begin with `prefix`, at any time.
    ///
    /// # Errors
    /// As [`Store::load`].
    fn load_under(
        &self,
        prefix: &str,
        each: &mut dyn FnMut(&str, &[u8]),
    ) -> Result<(), StoreError> {
        self.load(&mut |key, value| {
            if key.starts_with(prefix) {
                each(key, value);
            }
        })
    }

    /// Carries out the whole batch, in its order, or nothing of it; it is on disk on return.
    /// One caller at a time: whoever has many small changes gathers them into one batch.
    ///
    /// # Errors
    /// Nothing of the batch was written, for example because the disk is full.
    fn write(&self, batch: &[Write]) -> Result<(), StoreError>;

    /// 32 random bytes made when the store was created, so what is keyed by them survives a
    /// restart.
    fn secret(&self) -> [u8; 32];

    /// The open calls of each shard, each to be written by that shard alone. What an earlier run
    /// left is dealt out by `shard_of(record)`: the number of shards may have changed.
    /// Slot numbers are those of this run. Called once for each opening of the store.
    ///
    /// # Errors
    /// A file that cannot be made, read or is damaged; [`StoreError::Taken`] the second time.
    fn open_calls(
        &self,
        shards: usize,
        shard_of: &dyn Fn(&[u8]) -> usize,
    ) -> Result<Vec<Box<dyn OpenCalls>>, StoreError>;

    /// A consistent copy of each open call's record, from any thread, while the shards write.
    /// A call that stays open throughout is handed over exactly once, in its state before or
    /// after an update that happens meanwhile.
    fn read_calls(&self, each: &mut dyn FnMut(&[u8]));

    /// The records of that kind, as an earlier run left them, for one writer. Called once for each
    /// kind and opening of the store.
    ///
    /// # Errors
    /// A file that cannot be made, read or is damaged; [`StoreError::Taken`] the second time.
    fn records(&self, kind: Records) -> Result<Box<dyn SlotRecords>, StoreError>;

    /// One appender for each shard. Called once for each opening of the store.
    ///
    /// # Errors
    /// A file that cannot be made; [`StoreError::Taken`] the second time.
    fn journals(&self, shards: usize) -> Result<Vec<Box<dyn Journal>>, StoreError>;

    /// At most `limit` entries of one subscriber, newest first, from any thread. `before`, the
    /// last position of the listing so far, continues it.
    ///
    /// # Errors
    /// A file that cannot be read.
    fn read_journal(
        &self,
        subscriber: u64,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<(Position, Vec<u8>)>, StoreError>;

    /// Erases every entry of one subscriber, from any thread: on return they are in no listing, and
    /// what they said has been written over. How many there were.
    ///
    /// # Errors
    /// The disk refused; they are in no listing all the same.
    fn erase_journal(&self, subscriber: u64) -> Result<u64, StoreError>;

    /// What has to be done in the background: hand written memory to the disk, drop what is past
    /// its retention, make room ahead of need. Called about once a second, once before the first
    /// call, with the unix time; it may wait for the disk, so never on the call path.
    ///
    /// # Errors
    /// The first duty that failed; the others were tried all the same.
    fn maintain(&self, now_unix_s: i64) -> Result<(), StoreError>;

    /// What was lost since the store was opened, for the metrics.
    fn losses(&self) -> Losses;
}

/// The records of one shard's open calls.
///
/// For the call path: in the ordinary case no system call, no lock, no allocation, and at every
/// instruction a `kill -9` leaves each record as it was before or after, never between.
pub trait OpenCalls: Send {
    /// How many records are kept.
    fn len(&self) -> usize;

    /// Whether none is kept.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps a record of at most [`CALL_RECORD_MAX`] bytes; the slot names it from now on.
    /// `None`: the limit is reached, the disk is full or the record is too long.
    fn insert(&mut self, record: &[u8]) -> Option<u32>;

    /// Replaces a slot's record. `false`, and nothing changes, if the slot is free or the record
    /// is too long.
    fn update(&mut self, slot: u32, record: &[u8]) -> bool;

    /// Frees a slot; a free slot stays free.
    fn remove(&mut self, slot: u32);

    /// Appends a slot's record to `out`; whether the slot holds one.
    fn read(&self, slot: u32, out: &mut Vec<u8>) -> bool;

    /// Hands over each slot with its record.
    fn each(&self, f: &mut dyn FnMut(u32, &[u8]));
}

/// What is kept in slots of [`SlotRecords`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    /// The bindings of the registrar.
    Bindings,
    /// The event subscriptions of watchers.
    Subscriptions,
}

impl Records {
    const fn name(self) -> &'static str {
        match self {
            Self::Bindings => "bindings",
            Self::Subscriptions => "subscriptions",
        }
    }
}

/// Records of one kind, in slots that name them.
///
/// A write waits for no disk: it goes into memory that the kernel keeps. At every instruction a
/// `kill -9` leaves all of a batch or nothing of it.
pub trait SlotRecords: Send {
    /// A slot to write to. `None`: the limit is reached or the disk is full.
    fn reserve(&mut self) -> Option<u32>;

    /// Gives back a slot that was reserved and not written to.
    fn release(&mut self, slot: u32);

    /// Carries out the whole batch, or nothing of it: then `false`. Each slot stands in it once and
    /// was reserved; one that is freed can be reserved again.
    fn write(&mut self, batch: &[SlotWrite<'_>]) -> bool;

    /// Hands over each slot with its record.
    fn each(&self, f: &mut dyn FnMut(u32, &[u8]));

    /// How many slots are reserved or written to.
    fn len(&self) -> usize;

    /// Whether none is.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What becomes of one slot of [`SlotRecords`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotWrite<'a> {
    /// The slot.
    pub slot: u32,
    /// Its record, of at most [`SLOT_RECORD_MAX`] bytes; empty frees the slot.
    pub record: &'a [u8],
}

impl SlotWrite<'_> {
    /// Frees a slot.
    #[must_use]
    pub fn free(slot: u32) -> Self {
        Self { slot, record: &[] }
    }
}

/// One shard's end of the journal; the same promises as [`OpenCalls`].
pub trait Journal: Send {
    /// Appends an entry of at most [`JOURNAL_ENTRY_MAX`] bytes under a subscriber's key. An entry
    /// that is too long, or for which the disk has no room, is lost and counted.
    fn append(&mut self, subscriber: u64, record: &[u8]);
}

/// One change of a document; the key is the subscriber's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Creates or replaces.
    Put {
        /// The subscriber's id.
        key: String,
        /// The document.
        value: Vec<u8>,
    },
    /// Deletes; a document that is not there stays so.
    Delete {
        /// The subscriber's id.
        key: String,
    },
}

/// Where an entry stands in the journal: later entries have greater positions, across shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// What was lost since the store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    /// Records of open calls whose checksum was wrong when the store was opened.
    pub torn_calls: u64,
    /// Records of bindings whose checksum was wrong when the store was opened.
    pub torn_bindings: u64,
    /// The same of subscriptions.
    pub torn_subscriptions: u64,
    /// Journal entries without room, too long, or unreadable.
    pub journal_entries: u64,
}

/// The bounds of what the call path writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The most open calls of one shard.
    pub calls_per_shard: usize,
    /// The most bindings of the registrar.
    pub bindings: usize,
    /// The most event subscriptions.
    pub subscriptions: usize,
    /// The most bytes of the whole journal. The segments being written are kept whatever this
    /// says, so it never falls below two segments for each shard.
    pub journal_bytes: u64,
    /// How long an entry is kept at least, within `journal_bytes`.
    pub journal_retention_s: i64,
    /// The bytes of one segment of the journal, the unit in which it grows and is dropped.
    pub segment_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            calls_per_shard: 200_000,
            bindings: 1_000_000,
            subscriptions: 100_000,
            journal_bytes: 1 << 30,
            journal_retention_s: 90 * 86_400,
            segment_bytes: 16 << 20,
        }
    }
}

impl Options {
    const fn limit_of(&self, kind: Records) -> usize {
        match kind {
            Records::Bindings => self.bindings,
            Records::Subscriptions => self.subscriptions,
        }
    }
}

/// What failed, where, and what can be done about it.
#[derive(Debug)]
pub enum StoreError {
    /// Another process has the directory open.
    Locked {
        /// The store's directory.
        path: PathBuf,
    },
    /// A file does not hold what was written to it.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// The operating system refused.
    Io {
        /// What was tried, as "write to".
        attempt: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The open calls, records or journals were handed out before.
    Taken(&'static str),
}

impl StoreError {
    fn damaged(path: &Path, fault: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_path_buf(),
            fault: fault.into(),
        }
    }

    fn io(attempt: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            attempt,
            path: path.to_path_buf(),
            source,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { path } => write!(
                f,
                "{} is in use by another process: stop it, or give this one its own [store] path",
                path.display()
            ),
            Self::Damaged { path, fault } => write!(
                f,
                "{} is damaged ({fault}): restore it from a backup, or move it away to start without it",
                path.display()
            ),
            Self::Io {
                attempt,
                path,
                source,
            } => {
                write!(f, "cannot {attempt} {}: {source}", path.display())?;
                match source.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        f.write_str("; free some space, nothing half-written is kept")
                    }
                    io::ErrorKind::PermissionDenied => {
                        f.write_str("; the directory must belong to the user that runs pointsman")
                    }
                    _ => Ok(()),
                }
            }
            Self::Taken(what) => write!(f, "the {what} of this store were handed out before"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
