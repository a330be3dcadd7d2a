//! One segment of the journal: `journal-<shard>-<number>.log`.
//!
//! ```text
//! 0    header: magic, shard, number, bytes, checksum; then the seal, zero while entries may be missing
//!      from the index on the disk, else end of the entries (u32 words) and their number (u32)
//! 64   entries, upwards: length u32 with its high bit set and CRC-32 u32 (over the rest), position,
//!      unix time, subscriber key, record; a zero word ends them
//! end  index, downwards: the low half of the subscriber key and the entry's place (u32 words)
//! ```
//!
//! The length of an entry is its last store, after a zero where the next entry will begin; so after
//! `kill -9` the entries end with a whole one. A segment that is not sealed is scanned when it is
//! opened, and its index written anew; a sealed one is believed, and each entry checked when read.
//! The index needs no memory of its own: eight bytes an entry of the file's pages.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

use super::map::{Mapping, WORD, load_bytes, reserve, store_bytes};
use super::{JOURNAL_ENTRY_MAX, Position, StoreError};

const MAGIC: u64 = u64::from_le_bytes(*b"PMJOURN1");
const HEADER_WORDS: usize = 8;
const SEAL: usize = 5;
/// The words before an entry's record.
const HEAD_WORDS: usize = 4;
const COMMITTED: u32 = 1 << 31;
/// Its record has been written over: it is whole whatever its checksum says.
const ERASED: u32 = 1 << 30;

/// A mapped segment: one appender, any number of readers.
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) shard: usize,
    pub(super) number: u64,
    file: File,
    map: Mapping,
    /// Still appended to, or prepared for it.
    pub(super) active: AtomicBool,
    /// How many entries there are; stored after them.
    count: AtomicU64,
    end: AtomicU64,
    last: AtomicU64,
    newest_unix_s: AtomicI64,
    synced: AtomicU64,
}

/// Where the appender goes on.
pub(super) struct Tail {
    end: usize,
    count: usize,
}

/// An entry as it stands in the segment.
pub(super) struct Entry<'a> {
    pub(super) position: Position,
    pub(super) unix_s: i64,
    pub(super) subscriber: u64,
    pub(super) length: usize,
    pub(super) is_erased: bool,
    crc: u32,
    record: &'a [AtomicU64],
}

impl Segment {
    /// Makes an empty segment at `path`, under a temporary name until its blocks are reserved.
    pub(super) fn create(
        path: &Path,
        shard: usize,
        number: u64,
        bytes: usize,
    ) -> Result<Self, StoreError> {
        let temporary = path.with_extension("log.new");
        let create = || {
            let mut options = File::options();
            let options = options.read(true).write(true).create(true).truncate(true);
            let file = options.open(&temporary)?;
            reserve(&file, 0, bytes as u64)?;
            let map = Mapping::new(&file, 0, bytes)?;
            for (word, value) in map.words().iter().zip(header(shard, number, bytes)) {
                word.store(value, Relaxed);
            }
            std::fs::rename(&temporary, path)?;
            Ok(Self::with_map(path, (shard, number), file, map))
        };
        create().map_err(|error| {
            let _ = std::fs::remove_file(&temporary);
            StoreError::io("create", path, error)
        })
    }

    /// Opens a segment, and makes its index anew if it was not sealed.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |error| StoreError::io("open", path, error);
        let file = File::options().read(true).write(true).open(path);
        let file = file.map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let bytes =
            usize::try_from(bytes).map_err(|_| failed(io::ErrorKind::FileTooLarge.into()))?;
        if bytes < HEADER_WORDS * WORD {
            return Err(StoreError::damaged(path, "it is cut short"));
        }
        let map = Mapping::new(&file, 0, bytes).map_err(failed)?;
        let id = identity(map.words(), bytes).map_err(|fault| StoreError::damaged(path, fault))?;
        let segment = Self::with_map(path, id, file, map);
        segment.recover();
        Ok(segment)
    }

    fn with_map(path: &Path, (shard, number): (usize, u64), file: File, map: Mapping) -> Self {
        Self {
            path: path.to_path_buf(),
            shard,
            number,
            file,
            map,
            active: AtomicBool::new(false),
            count: AtomicU64::new(0),
            end: AtomicU64::new(HEADER_WORDS as u64),
            last: AtomicU64::new(0),
            newest_unix_s: AtomicI64::new(0),
            synced: AtomicU64::new(u64::MAX),
        }
    }

    /// Appends an entry; `false` if the segment has no room for it.
    pub(super) fn append(
        &self,
        tail: &mut Tail,
        (position, unix_s, subscriber): (Position, i64, u64),
        record: &[u8],
    ) -> bool {
        let Some(entry) = self.map.words().get(tail.end..) else {
            return false;
        };
        let record_words = record.len().div_ceil(WORD);
        // The entry, the zero behind it, and the index with one more.
        if HEAD_WORDS + record_words + 1 + tail.count + 1 > entry.len() {
            return false;
        }
        let Some((head, rest)) = entry.split_first_chunk::<HEAD_WORDS>() else {
            return false;
        };
        let [commit, position_word, time, key] = head;
        position_word.store(position.0, Relaxed);
        time.store(unix_s.cast_unsigned(), Relaxed);
        key.store(subscriber, Relaxed);
        store_bytes(rest, record);
        if let Some(next) = rest.get(record_words) {
            next.store(0, Relaxed);
        }
        let crc = checksum(position, unix_s, subscriber, record);
        commit.store(length_and_crc(record.len(), crc), Release);
        self.index(tail.count, subscriber, tail.end);
        tail.count += 1;
        tail.end += HEAD_WORDS + record_words;
        self.publish(tail, position, unix_s);
        true
    }

    /// Where appending goes on.
    pub(super) fn tail(&self) -> Tail {
        Tail {
            end: self.end.load(Relaxed) as usize,
            count: self.len(),
        }
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.count.load(Acquire) as usize
    }

    pub(super) fn bytes(&self) -> usize {
        self.map.words().len() * WORD
    }

    /// Whether more than half of the segment is used.
    pub(super) fn is_half_full(&self) -> bool {
        (self.end.load(Relaxed) + self.count.load(Relaxed)) as usize > self.map.words().len() / 2
    }

    /// The newest entry's position.
    pub(super) fn last(&self) -> Position {
        Position(self.last.load(Relaxed))
    }

    /// The newest entry's time, zero if the clock was not known yet.
    pub(super) fn newest_unix_s(&self) -> i64 {
        self.newest_unix_s.load(Relaxed)
    }

    pub(super) fn assume_newest(&self, unix_s: i64) {
        self.newest_unix_s.fetch_max(unix_s, Relaxed);
    }

    pub(super) fn populate(&self) {
        self.map.populate();
    }

    /// The entries whose key has the same low half as `subscriber`, newest first. `Err` for one
    /// that cannot be read.
    pub(super) fn newest_first(
        &self,
        subscriber: u64,
    ) -> impl Iterator<Item = Result<Entry<'_>, ()>> {
        let words = self.map.words();
        let index = words.get(words.len().saturating_sub(self.len())..);
        let low = subscriber as u32;
        let places = index.into_iter().flatten().map(|word| word.load(Relaxed));
        places
            .filter(move |word| (word >> 32) as u32 == low)
            .map(|word| self.entry(word as u32 as usize).ok_or(()))
    }

    /// Writes over every entry of one subscriber; how many there were.
    pub(super) fn erase(&self, subscriber: u64) -> u64 {
        self.erase_if(subscriber as u32, |entry| entry.subscriber == subscriber)
    }

    /// Writes over every entry that is older; how many there were.
    pub(super) fn erase_before(&self, oldest_s: i64) -> u64 {
        let first = self.entry(HEADER_WORDS);
        let is_old = |entry: &Entry<'_>| entry.unix_s != 0 && entry.unix_s < oldest_s;
        // Entries are in the order of time: without an old one at the beginning there is none.
        if !first.is_some_and(|entry| entry.is_erased || entry.unix_s == 0 || is_old(&entry)) {
            return 0;
        }
        self.erase_if(None, is_old)
    }

    /// Each entry is marked before it is written over, so that the segment is whole at every
    /// instruction.
    fn erase_if(&self, low: impl Into<Option<u32>>, wanted: impl Fn(&Entry<'_>) -> bool) -> u64 {
        let low = low.into();
        let words = self.map.words();
        let index = words.get(words.len().saturating_sub(self.len())..);
        let mut erased = 0;
        for word in index.into_iter().flatten() {
            let at = word.load(Relaxed);
            if low.is_some_and(|low| (at >> 32) as u32 != low) {
                continue;
            }
            let place = at as u32 as usize;
            let entry = self.entry(place).filter(|entry| !entry.is_erased);
            let Some(entry) = entry.filter(&wanted) else {
                continue;
            };
            let Some(head) = words.get(place..place.saturating_add(HEAD_WORDS)) else {
                continue;
            };
            if let [commit, _, _, subscriber] = head {
                commit.fetch_or(u64::from(ERASED), Release);
                for word in entry.record {
                    word.store(0, Relaxed);
                }
                subscriber.store(0, Relaxed);
            }
            word.store(at & u64::from(u32::MAX), Release);
            erased += 1;
        }
        erased
    }

    /// What was written over is so on the disk.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        let failed = |error| StoreError::io("write to", &self.path, error);
        self.file.sync_data().map_err(failed)
    }

    /// To be appended to from now on, sealed or not.
    pub(super) fn reopen(&self) {
        self.active.store(true, Relaxed);
        if let Some(seal) = self.map.words().get(SEAL) {
            seal.store(0, Release);
        }
    }

    /// Entries and index on the disk; then, if it is `settled` which segments are appended to and
    /// this one is not, the seal.
    pub(super) fn sync(&self, settled: bool) -> Result<(), StoreError> {
        let failed = |error| StoreError::io("write to", &self.path, error);
        let active = !settled || self.active.load(Acquire);
        let count = self.count.load(Acquire);
        if self.synced.load(Relaxed) != count {
            self.file.sync_data().map_err(failed)?;
            self.synced.store(count, Relaxed);
        }
        let Some(seal) = self.map.words().get(SEAL) else {
            return Ok(());
        };
        if !active && count > 0 && seal.load(Relaxed) == 0 {
            seal.store(self.end.load(Relaxed) | count << 32, Release);
        }
        Ok(())
    }

    fn index(&self, nth: usize, subscriber: u64, place: usize) {
        let words = self.map.words();
        if let Some(word) = words.get(words.len().wrapping_sub(nth + 1)) {
            word.store(subscriber << 32 | place as u64, Release);
        }
    }

    fn publish(&self, tail: &Tail, position: Position, unix_s: i64) {
        self.last.store(position.0, Relaxed);
        self.newest_unix_s.store(unix_s, Relaxed);
        self.end.store(tail.end as u64, Relaxed);
        self.count.store(tail.count as u64, Release);
    }

    fn recover(&self) {
        let seal = self
            .map
            .words()
            .get(SEAL)
            .map_or(0, |seal| seal.load(Relaxed));
        if seal != 0 && self.believe(seal) {
            return;
        }
        let mut tail = Tail {
            end: HEADER_WORDS,
            count: 0,
        };
        while let Some(entry) = self.entry(tail.end).filter(Entry::is_whole) {
            let words = HEAD_WORDS + entry.length.div_ceil(WORD);
            if tail.end + words + 1 + tail.count + 1 > self.map.words().len() {
                break;
            }
            self.index(tail.count, entry.subscriber, tail.end);
            tail.end += words;
            tail.count += 1;
            self.publish(&tail, entry.position, entry.unix_s);
        }
        if let Some(next) = self.map.words().get(tail.end) {
            next.store(0, Relaxed);
        }
    }

    /// Takes a seal at its word if its last entry is where it says.
    fn believe(&self, seal: u64) -> bool {
        let (end, count) = (seal as u32 as usize, (seal >> 32) as usize);
        let words = self.map.words();
        let newest = words
            .len()
            .checked_sub(count)
            .and_then(|place| words.get(place));
        let place = newest.map_or(0, |word| word.load(Relaxed) as u32 as usize);
        let Some(entry) = self.entry(place).filter(Entry::is_whole) else {
            return false;
        };
        if place + HEAD_WORDS + entry.length.div_ceil(WORD) != end {
            return false;
        }
        self.publish(&Tail { end, count }, entry.position, entry.unix_s);
        self.synced.store(count as u64, Relaxed);
        true
    }

    fn entry(&self, place: usize) -> Option<Entry<'_>> {
        let (head, rest) = self
            .map
            .words()
            .get(place..)?
            .split_first_chunk::<HEAD_WORDS>()?;
        let commit = head.first()?.load(Acquire);
        let [_, position, unix_s, subscriber] = head.each_ref().map(|word| word.load(Relaxed));
        let length = commit as u32;
        let bytes = (length & !(COMMITTED | ERASED)) as usize;
        if place < HEADER_WORDS || length & COMMITTED == 0 || bytes > JOURNAL_ENTRY_MAX {
            return None;
        }
        Some(Entry {
            position: Position(position),
            unix_s: unix_s.cast_signed(),
            subscriber,
            length: bytes,
            is_erased: length & ERASED != 0,
            crc: (commit >> 32) as u32,
            record: rest.get(..bytes.div_ceil(WORD))?,
        })
    }
}

impl Entry<'_> {
    /// The record, if the checksum is right.
    pub(super) fn record(&self) -> Option<Vec<u8>> {
        let mut record = vec![0; self.length];
        load_bytes(self.record, &mut record);
        let crc = checksum(self.position, self.unix_s, self.subscriber, &record);
        (crc == self.crc).then_some(record)
    }

    fn is_whole(&self) -> bool {
        self.is_erased || self.record().is_some()
    }
}

fn header(shard: usize, number: u64, bytes: usize) -> [u64; 5] {
    let (shard, bytes) = (shard as u64, bytes as u64);
    let mut crc = crc32fast::Hasher::new();
    for word in [MAGIC, shard, number, bytes] {
        crc.update(&word.to_le_bytes());
    }
    [MAGIC, shard, number, bytes, crc.finalize().into()]
}

/// Shard and number of the header, or what is wrong.
fn identity(words: &[AtomicU64], bytes: usize) -> Result<(usize, u64), &'static str> {
    let (read, _) = words.split_first_chunk::<5>().ok_or("it is cut short")?;
    let read = read.each_ref().map(|word| word.load(Relaxed));
    let [_, shard, number, made_with, _] = read;
    let wrong = "its header is wrong";
    let shard = usize::try_from(shard).map_err(|_| wrong)?;
    let made_with = usize::try_from(made_with).map_err(|_| wrong)?;
    if read != header(shard, number, made_with) {
        return Err(wrong);
    }
    match made_with == bytes {
        true => Ok((shard, number)),
        false => Err("its length has changed"),
    }
}

fn length_and_crc(length: usize, crc: u32) -> u64 {
    length as u64 | u64::from(COMMITTED) | u64::from(crc) << 32
}

fn checksum(position: Position, unix_s: i64, subscriber: u64, record: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&position.0.to_le_bytes());
    crc.update(&unix_s.to_le_bytes());
    crc.update(&subscriber.to_le_bytes());
    crc.update(record);
    crc.finalize()
}
