//! One shard's file of open calls: `calls-<generation>-<shard>.slots`.
//!
//! ```text
//! 0     header: magic, slot bytes, shard, shards, generation, checksum; then the number of chunks
//! 512   the pending slot: the new record while an update is carried out
//! 4096  chunks of 4096 slots of 512 bytes:
//!         state: 0 free, odd while its record is being replaced, else the sequence of its write
//!         length u32 and CRC-32 u32 (over state, slot number and record), slot number, record
//! ```
//!
//! `kill -9` ends the process between two stores, and all stores before it are in the file. So
//! - an insertion writes a free slot and then its state: without the state there is no record;
//! - a removal is one store, state 0;
//! - an update writes the new record whole into the pending slot, then over the old one (state odd
//!   meanwhile), then frees the pending slot. The next run finishes an update whose pending slot is
//!   whole; if it is not, the old record has not been touched.
//!
//! After a power cut pages may be of different moments; the checksum finds what does not belong
//! together. Other threads read a slot as a seqlock: its state before and after the copy.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
    fence,
};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::map::{Mapping, WORD, load_bytes, reserve, store_bytes};
use super::{CALL_RECORD_MAX, OpenCalls, StoreError};

const MAGIC: u64 = u64::from_le_bytes(*b"PMCALLS1");
const SLOT_BYTES: usize = 512;
const SLOT_WORDS: usize = SLOT_BYTES / WORD;
/// The words before the record: state, length and checksum, slot number.
const HEAD_WORDS: usize = 3;
const PAGE: usize = 4096;
const PENDING: u32 = u32::MAX;
const CHUNK_SLOTS: usize = 4096;
const CHUNK_BYTES: usize = CHUNK_SLOTS * SLOT_BYTES;

const _: () = assert!(CALL_RECORD_MAX == SLOT_BYTES - HEAD_WORDS * WORD);

/// Which file this is among those of its generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) generation: u64,
    pub(super) shard: usize,
    pub(super) shards: usize,
}

/// The file, shared by its one writer, readers and the background.
pub(super) struct SlotFile {
    path: PathBuf,
    file: File,
    header: Mapping,
    chunks: Box<[OnceLock<Mapping>]>,
    ready: AtomicUsize,
    growing: Mutex<()>,
    full: AtomicBool,
    used: AtomicUsize,
    written: AtomicU64,
    synced: AtomicU64,
}

/// The one writer of a [`SlotFile`].
pub(super) struct Slots {
    shared: Arc<SlotFile>,
    limit: usize,
    live: usize,
    free: Vec<u32>,
    /// The first slot that has never been used, and the end of those that may be.
    fresh: u32,
    end: u32,
    sequence: u64,
    /// The directory's lock.
    _lock: Option<Arc<File>>,
}

/// What a slot holds.
enum Content {
    Free,
    Record { sequence: u64, length: usize },
    Torn,
}

impl SlotFile {
    /// Makes an empty file at `path` for up to `most` slots.
    pub(super) fn create(path: &Path, id: Identity, most: usize) -> Result<Arc<Self>, StoreError> {
        let failed = |error| StoreError::io("create", path, error);
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(true);
        let file = options.open(path).map_err(failed)?;
        reserve(&file, 0, PAGE as u64).map_err(failed)?;
        let header = Mapping::new(&file, 0, PAGE).map_err(failed)?;
        for (word, value) in header.words().iter().zip(id.words()) {
            word.store(value, Relaxed);
        }
        let made = Self::with_header(path, file, header, most);
        made.grow().map_err(failed)?;
        Ok(Arc::new(made))
    }

    /// Opens a file and maps every chunk of it.
    pub(super) fn open(path: &Path, most: usize) -> Result<(Identity, Arc<Self>), StoreError> {
        let failed = |error| StoreError::io("open", path, error);
        let damaged = |fault: &str| StoreError::damaged(path, fault);
        let file = File::options().read(true).write(true).open(path);
        let file = file.map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        if bytes < PAGE as u64 {
            return Err(damaged("it is cut short"));
        }
        let header = Mapping::new(&file, 0, PAGE).map_err(failed)?;
        let id = Identity::read(header.words()).ok_or_else(|| damaged("its header is wrong"))?;
        let chunks = header.words().get(6).map_or(0, |word| word.load(Relaxed));
        if (bytes - PAGE as u64) / (CHUNK_BYTES as u64) < chunks {
            return Err(damaged("it is cut short"));
        }
        let chunks = usize::try_from(chunks).map_err(|_| damaged("its header is wrong"))?;
        let opened = Self::with_header(path, file, header, most.max(chunks * CHUNK_SLOTS));
        for chunk in 0..chunks {
            opened.map_chunk(chunk).map_err(failed)?;
        }
        Ok((id, Arc::new(opened)))
    }

    fn with_header(path: &Path, file: File, header: Mapping, most: usize) -> Self {
        let chunks = most.div_ceil(CHUNK_SLOTS).max(1);
        Self {
            path: path.to_path_buf(),
            file,
            header,
            chunks: (0..chunks).map(|_| OnceLock::new()).collect(),
            ready: AtomicUsize::new(0),
            growing: Mutex::new(()),
            full: AtomicBool::new(false),
            used: AtomicUsize::new(0),
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
        }
    }

    /// Hands over a consistent copy of each record.
    pub(super) fn read(&self, each: &mut dyn FnMut(&[u8])) {
        let mut copy = [0; CALL_RECORD_MAX];
        let slots = self.ready.load(Acquire) * CHUNK_SLOTS;
        for slot in (0u32..).take(slots).map_while(|slot| self.slot(slot)) {
            if let Some(record) = slot.read(&mut copy) {
                each(record);
            }
        }
    }

    /// The background's part: a further chunk when the last is nearly used up, and everything
    /// written so far on the disk.
    pub(super) fn maintain(&self) -> Result<(), StoreError> {
        self.full.store(false, Relaxed);
        let room = self.ready.load(Relaxed) * CHUNK_SLOTS - self.used.load(Relaxed);
        let mut grown = Ok(());
        if room < CHUNK_SLOTS / 4 && self.ready.load(Relaxed) < self.chunks.len() {
            grown = self.grow();
        }
        self.sync()?;
        grown.map_err(|error| StoreError::io("extend", &self.path, error))
    }

    /// Everything written so far on the disk.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let written = self.written.load(Relaxed);
        if self.synced.load(Relaxed) != written {
            let synced = self.file.sync_data();
            synced.map_err(|error| StoreError::io("write to", &self.path, error))?;
            self.synced.store(written, Relaxed);
        }
        Ok(())
    }

    /// Everything of a new file on the disk, its length too.
    pub(super) fn sync_new(&self) -> Result<(), StoreError> {
        let synced = self.file.sync_all();
        synced.map_err(|error| StoreError::io("write to", &self.path, error))
    }

    /// Reserves and maps one more chunk. Whoever finds it taken care of meanwhile is content.
    fn grow(&self) -> io::Result<()> {
        let before = self.ready.load(Acquire);
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = self.ready.load(Acquire);
        if ready > before {
            return Ok(());
        }
        if ready >= self.chunks.len() {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        reserve(&self.file, chunk_offset(ready), CHUNK_BYTES as u64)?;
        self.map_chunk(ready)?;
        if let Some(chunks) = self.header.words().get(6) {
            chunks.store(ready as u64 + 1, Release);
        }
        Ok(())
    }

    fn map_chunk(&self, chunk: usize) -> io::Result<()> {
        let mapping = Mapping::new(&self.file, chunk_offset(chunk), CHUNK_BYTES)?;
        if let Some(place) = self.chunks.get(chunk) {
            let _ = place.set(mapping);
            self.ready.store(chunk + 1, Release);
        }
        Ok(())
    }

    fn slot(&self, number: u32) -> Option<Slot<'_>> {
        let index = number as usize;
        let chunk = self.chunks.get(index / CHUNK_SLOTS)?.get()?;
        Slot::at(chunk.words(), index % CHUNK_SLOTS, number)
    }

    fn pending(&self) -> Option<Slot<'_>> {
        Slot::at(self.header.words(), 1, PENDING)
    }
}

impl Identity {
    fn words(self) -> [u64; 6] {
        let (shard, shards) = (self.shard as u64, self.shards as u64);
        let words = [MAGIC, SLOT_BYTES as u64, shard, shards, self.generation];
        let mut crc = crc32fast::Hasher::new();
        words
            .iter()
            .for_each(|word| crc.update(&word.to_le_bytes()));
        let [magic, slot, shard, shards, generation] = words;
        [
            magic,
            slot,
            shard,
            shards,
            generation,
            crc.finalize().into(),
        ]
    }

    fn read(words: &[AtomicU64]) -> Option<Self> {
        let (read, _) = words.split_first_chunk::<6>()?;
        let read = read.each_ref().map(|word| word.load(Relaxed));
        let [_, _, shard, shards, generation, _] = read;
        let id = Self {
            generation,
            shard: usize::try_from(shard).ok()?,
            shards: usize::try_from(shards).ok()?,
        };
        (id.words() == read).then_some(id)
    }
}

impl Slots {
    /// Takes the writing end of a file: finishes an update that was cut off, and counts and frees
    /// the slots that are torn.
    pub(super) fn recover(shared: Arc<SlotFile>, limit: usize) -> (Self, u64) {
        let end = u32::try_from(shared.ready.load(Acquire) * CHUNK_SLOTS).unwrap_or(PENDING);
        let mut slots = Self {
            shared,
            limit,
            live: 0,
            free: Vec::new(),
            fresh: end,
            end,
            sequence: 0,
            _lock: None,
        };
        slots.finish_update();
        let torn = slots.scan();
        slots.note();
        (slots, torn)
    }

    /// Keeps the directory locked for as long as this writes.
    pub(super) fn hold(&mut self, lock: Arc<File>) {
        self._lock = Some(lock);
    }

    fn finish_update(&mut self) {
        let Some(pending) = self.shared.pending() else {
            return;
        };
        let mut copy = [0; CALL_RECORD_MAX];
        if let Content::Record { sequence, length } = pending.content(&mut copy)
            && let Some(slot) = self.shared.slot(pending.number())
            && let Some(record) = copy.get(..length)
        {
            let newer = match slot.content(&mut [0; CALL_RECORD_MAX]) {
                Content::Free => false,
                Content::Torn => true,
                Content::Record { sequence: old, .. } => old < sequence,
            };
            if newer {
                slot.write(sequence, record);
            }
            self.sequence = sequence;
        }
        pending.free();
    }

    fn scan(&mut self) -> u64 {
        let (mut torn, mut live_end) = (0, 0);
        self.free.reserve(self.end as usize);
        let mut copy = [0; CALL_RECORD_MAX];
        for number in 0..self.end {
            let Some(slot) = self.shared.slot(number) else {
                break;
            };
            match slot.content(&mut copy) {
                Content::Free => self.free.push(number),
                Content::Torn => {
                    slot.free();
                    self.free.push(number);
                    torn += 1;
                }
                Content::Record { sequence, .. } => {
                    self.sequence = self.sequence.max(sequence);
                    self.live += 1;
                    live_end = number + 1;
                }
            }
        }
        self.fresh = live_end;
        self.free.retain(|slot| *slot < live_end);
        self.free.reverse();
        torn
    }

    /// The next free slot, from a new chunk if need be.
    fn take(&mut self) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        if self.fresh == self.end {
            self.extend()?;
        }
        self.fresh += 1;
        Some(self.fresh - 1)
    }

    fn extend(&mut self) -> Option<()> {
        let known = self.end as usize / CHUNK_SLOTS;
        if self.shared.ready.load(Acquire) <= known {
            // After a refusal the disk is not asked again until the background has been by.
            if self.shared.full.load(Relaxed) {
                return None;
            }
            if self.shared.grow().is_err() {
                self.shared.full.store(true, Relaxed);
                return None;
            }
        }
        self.end = u32::try_from((known + 1) * CHUNK_SLOTS).ok()?;
        // `remove` never has to allocate.
        self.free.reserve(self.end as usize);
        Some(())
    }

    fn next_sequence(&mut self) -> u64 {
        self.sequence += 2;
        self.sequence
    }

    /// Tells the background what has been done.
    fn note(&self) {
        self.shared.used.store(self.live, Relaxed);
        self.shared.written.store(self.sequence, Relaxed);
    }
}

impl OpenCalls for Slots {
    fn insert(&mut self, record: &[u8]) -> Option<u32> {
        if self.live >= self.limit || record.len() > CALL_RECORD_MAX {
            return None;
        }
        let number = self.take()?;
        let sequence = self.next_sequence();
        self.shared.slot(number)?.write(sequence, record);
        self.live += 1;
        self.note();
        Some(number)
    }

    fn update(&mut self, slot: u32, record: &[u8]) -> bool {
        let sequence = self.next_sequence();
        let (Some(slot), Some(pending)) = (self.shared.slot(slot), self.shared.pending()) else {
            return false;
        };
        if slot.is_free() || record.len() > CALL_RECORD_MAX {
            return false;
        }
        pending.write_for(slot.number, sequence, record);
        slot.replace(sequence, record);
        pending.free();
        self.note();
        true
    }

    fn remove(&mut self, slot: u32) {
        let Some(taken) = self.shared.slot(slot) else {
            return;
        };
        if taken.is_free() {
            return;
        }
        taken.free();
        self.sequence += 2;
        self.free.push(slot);
        self.live -= 1;
        self.note();
    }

    fn read(&self, slot: u32, out: &mut Vec<u8>) -> bool {
        let mut copy = [0; CALL_RECORD_MAX];
        let slot = self.shared.slot(slot);
        let record = slot.and_then(|slot| slot.read(&mut copy));
        record.is_some_and(|record| {
            out.extend_from_slice(record);
            true
        })
    }

    fn len(&self) -> usize {
        self.live
    }

    fn each(&self, f: &mut dyn FnMut(u32, &[u8])) {
        let mut copy = [0; CALL_RECORD_MAX];
        for number in 0..self.fresh {
            let Some(slot) = self.shared.slot(number) else {
                break;
            };
            if let Some(record) = slot.read(&mut copy) {
                f(number, record);
            }
        }
    }
}

/// A slot's words.
struct Slot<'a> {
    number: u32,
    state: &'a AtomicU64,
    length_crc: &'a AtomicU64,
    owner: &'a AtomicU64,
    record: &'a [AtomicU64],
}

impl<'a> Slot<'a> {
    fn at(words: &'a [AtomicU64], index: usize, number: u32) -> Option<Self> {
        let words = words.get(index * SLOT_WORDS..(index + 1) * SLOT_WORDS)?;
        let ([state, length_crc, owner], record) = words.split_first_chunk::<HEAD_WORDS>()?;
        Some(Self {
            number,
            state,
            length_crc,
            owner,
            record,
        })
    }

    fn is_free(&self) -> bool {
        self.state.load(Relaxed) == 0
    }

    /// Fills a free slot.
    fn write(&self, sequence: u64, record: &[u8]) {
        self.write_for(self.number, sequence, record);
    }

    fn write_for(&self, owner: u32, sequence: u64, record: &[u8]) {
        // Whoever sees one of the stores below sees that the slot was free before them.
        fence(Release);
        let crc = checksum(owner, sequence, record);
        let length = record.len() as u64;
        self.length_crc
            .store(length | u64::from(crc) << 32, Relaxed);
        self.owner.store(owner.into(), Relaxed);
        store_bytes(self.record, record);
        self.state.store(sequence, Release);
    }

    /// Replaces the record of a slot, odd meanwhile.
    fn replace(&self, sequence: u64, record: &[u8]) {
        // Release: the pending slot is whole before this one is touched.
        self.state.store(self.state.load(Relaxed) | 1, Release);
        self.write(sequence, record);
    }

    /// Release: what was done before is done, if the slot is seen to be free.
    fn free(&self) {
        self.state.store(0, Release);
    }

    fn number(&self) -> u32 {
        u32::try_from(self.owner.load(Relaxed)).unwrap_or(PENDING)
    }

    /// A consistent copy, beside the writer. Waits while the record is being replaced, which takes
    /// the writer a few hundred nanoseconds, or its time off the processor.
    fn read<'b>(&self, copy: &'b mut [u8; CALL_RECORD_MAX]) -> Option<&'b [u8]> {
        loop {
            let before = self.state.load(Acquire);
            if before == 0 {
                return None;
            }
            let length = self.length_crc.load(Relaxed) as u32 as usize;
            let length = length.min(CALL_RECORD_MAX);
            load_bytes(self.record, copy.get_mut(..length)?);
            fence(Acquire);
            if before.is_multiple_of(2) && self.state.load(Relaxed) == before {
                return copy.get(..length);
            }
            std::thread::yield_now();
        }
    }

    /// What the slot holds, checked, when nobody writes.
    fn content(&self, copy: &mut [u8; CALL_RECORD_MAX]) -> Content {
        let sequence = self.state.load(Acquire);
        if sequence == 0 {
            return Content::Free;
        }
        let length_crc = self.length_crc.load(Relaxed);
        let length = length_crc as u32 as usize;
        let Some(record) = copy.get_mut(..length) else {
            return Content::Torn;
        };
        load_bytes(self.record, record);
        let owner = self.number();
        let owned = self.number == PENDING || self.number == owner;
        let whole = u64::from(checksum(owner, sequence, record)) == length_crc >> 32;
        match owned && whole && sequence.is_multiple_of(2) {
            true => Content::Record { sequence, length },
            false => Content::Torn,
        }
    }
}

fn checksum(owner: u32, sequence: u64, record: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    let [a, b, c, d, e, f, g, h] = sequence.to_le_bytes();
    let [i, j, k, l] = owner.to_le_bytes();
    crc.update(&[a, b, c, d, e, f, g, h, i, j, k, l]);
    crc.update(record);
    crc.finalize()
}

fn chunk_offset(chunk: usize) -> u64 {
    PAGE as u64 + chunk as u64 * CHUNK_BYTES as u64
}
