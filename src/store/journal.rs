//! The journal: every shard's segments, the appenders, and listings across them.
//!
//! Appenders share nothing but the counter of positions. The list of segments is replaced whole
//! when one is added or dropped, so a reader holds on to what it reads and nobody waits.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::calls::sync_directory;
use super::segment::{Segment, Tail};
use super::{JOURNAL_ENTRY_MAX, Journal, Options, Position, StoreError};

/// Segments have a multiple of this many bytes, and at least two entries of any length fit.
const SEGMENT_UNIT: usize = 64 * 1024;
/// How often entries past their retention are written over.
const ERASE_EVERY_S: i64 = 86_400;
const SEGMENT_MIN: usize = 4 * SEGMENT_UNIT;

/// The journal of a directory.
pub(super) struct Journals {
    directory: PathBuf,
    options: Options,
    segment_bytes: usize,
    segments: ArcSwap<Vec<Arc<Segment>>>,
    taken: AtomicBool,
    shards: OnceLock<Vec<Arc<Shard>>>,
    next_position: AtomicU64,
    next_number: AtomicU64,
    now_unix_s: AtomicI64,
    lost: AtomicU64,
    directory_changed: AtomicBool,
    /// One erases at a time.
    erasing: Mutex<()>,
    /// When old entries are erased again, in unix seconds.
    erase_due_s: AtomicI64,
    /// The directory's: no other store while anything is appended.
    _lock: Arc<File>,
}

/// What an appender and the background hand to each other.
struct Shard {
    number: usize,
    /// The segment prepared to follow the one in use.
    next: ArcSwapOption<Segment>,
    current: ArcSwapOption<Segment>,
    /// The disk was full; not asked again until the background has been by.
    full: AtomicBool,
}

struct Appender {
    journals: Arc<Journals>,
    shard: Arc<Shard>,
    segment: Option<(Arc<Segment>, Tail)>,
}

impl Journals {
    /// Opens what segments there are.
    pub(super) fn open(
        directory: &Path,
        options: Options,
        lock: Arc<File>,
    ) -> Result<Arc<Self>, StoreError> {
        let mut segments = Vec::new();
        for path in list(directory)? {
            let segment = Segment::open(&path)?;
            match segment.len() {
                0 => delete(&path)?,
                _ => segments.push(Arc::new(segment)),
            }
        }
        segments.sort_by_key(|segment| segment.last());
        let newest = segments.last().map_or(0, |segment| segment.last().0 + 1);
        let number = segments.iter().map(|segment| segment.number + 1).max();
        let now = segments.iter().map(|segment| segment.newest_unix_s()).max();
        let unit = SEGMENT_UNIT;
        Ok(Arc::new(Self {
            directory: directory.to_path_buf(),
            segment_bytes: options.segment_bytes.clamp(SEGMENT_MIN, 1 << 30) / unit * unit,
            options,
            segments: ArcSwap::from_pointee(segments),
            taken: AtomicBool::new(false),
            shards: OnceLock::new(),
            next_position: AtomicU64::new(newest),
            next_number: AtomicU64::new(number.unwrap_or(0)),
            now_unix_s: AtomicI64::new(now.unwrap_or(0)),
            lost: AtomicU64::new(0),
            directory_changed: AtomicBool::new(true),
            erasing: Mutex::new(()),
            erase_due_s: AtomicI64::new(i64::MIN),
            _lock: lock,
        }))
    }

    /// One appender for each shard, going on in the shard's newest segment.
    pub(super) fn appenders(
        self: &Arc<Self>,
        shards: usize,
    ) -> Result<Vec<Box<dyn Journal>>, StoreError> {
        if self.taken.swap(true, Relaxed) {
            return Err(StoreError::Taken("journals"));
        }
        let all: Vec<Arc<Shard>> = (0..shards.max(1)).map(Shard::new).collect();
        let mut appenders: Vec<Box<dyn Journal>> = Vec::new();
        for shard in all.clone() {
            let segment = match self.newest_of(shard.number) {
                Some(segment) => segment,
                None => Arc::new(self.create(shard.number)?),
            };
            let mut appender = Appender {
                journals: self.clone(),
                shard,
                segment: None,
            };
            appender.go_on(segment);
            appenders.push(Box::new(appender));
        }
        // Last: from now on the background seals what is not appended to.
        let _ = self.shards.set(all);
        Ok(appenders)
    }

    /// See [`super::Store::read_journal`].
    pub(super) fn read(
        &self,
        subscriber: u64,
        before: Option<Position>,
        limit: usize,
    ) -> Vec<(Position, Vec<u8>)> {
        let before = before.unwrap_or(Position(u64::MAX));
        let oldest_s = self.oldest_s();
        // The oldest of those found so far stands on top.
        let mut found = BinaryHeap::new();
        let segments = self.segments.load_full();
        for segment in segments.iter().rev() {
            for entry in segment.newest_first(subscriber) {
                let Ok(entry) = entry else {
                    self.lost.fetch_add(1, Relaxed);
                    continue;
                };
                let full = found.len() >= limit;
                let worst = found.peek().map(|Reverse((position, _))| *position);
                if full && worst.is_none_or(|worst| entry.position < worst) {
                    break;
                }
                let expired = entry.unix_s != 0 && entry.unix_s < oldest_s;
                let is_other = entry.is_erased || entry.subscriber != subscriber;
                if is_other || entry.position >= before || expired {
                    continue;
                }
                match entry.record() {
                    Some(record) => found.push(Reverse((entry.position, record))),
                    None => _ = self.lost.fetch_add(1, Relaxed),
                }
                if found.len() > limit {
                    found.pop();
                }
            }
        }
        let mut found: Vec<_> = found.into_iter().map(|Reverse(entry)| entry).collect();
        found.sort_unstable_by_key(|(position, _)| Reverse(*position));
        found
    }

    /// See [`super::Store::erase_journal`].
    pub(super) fn erase(&self, subscriber: u64) -> Result<u64, StoreError> {
        self.erase_if(|segment| segment.erase(subscriber))
    }

    fn erase_if(&self, erase: impl Fn(&Segment) -> u64) -> Result<u64, StoreError> {
        let _one = self.erasing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut erased = 0;
        let mut outcome = Ok(());
        for segment in self.segments.load_full().iter() {
            let here = erase(segment);
            erased += here;
            if here > 0 {
                outcome = outcome.and(segment.flush());
            }
        }
        outcome.map(|()| erased)
    }

    /// Once a day, what is past its retention is written over, in segments that stay because of
    /// newer entries.
    fn erase_old(&self, now_unix_s: i64) -> Result<(), StoreError> {
        let due_s = self.erase_due_s.load(Relaxed);
        if now_unix_s < due_s {
            return Ok(());
        }
        let next_s = now_unix_s.saturating_add(ERASE_EVERY_S);
        self.erase_due_s.store(next_s, Relaxed);
        let oldest_s = self.oldest_s();
        self.erase_if(|segment| segment.erase_before(oldest_s))
            .map(|_| ())
    }

    /// See [`super::Store::maintain`].
    pub(super) fn maintain(&self, now_unix_s: i64) -> Result<(), StoreError> {
        self.now_unix_s.store(now_unix_s, Relaxed);
        let prepared = self.prepare();
        let synced = self.sync();
        let dropped = self.drop_old(now_unix_s);
        let erased = self.erase_old(now_unix_s);
        prepared.and(synced).and(dropped).and(erased)
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    fn oldest_s(&self) -> i64 {
        let now = self.now_unix_s.load(Relaxed);
        now.saturating_sub(self.options.journal_retention_s)
    }

    fn newest_of(&self, shard: usize) -> Option<Arc<Segment>> {
        let segments = self.segments.load();
        segments
            .iter()
            .rev()
            .find(|segment| segment.shard == shard)
            .cloned()
    }

    fn create(&self, shard: usize) -> Result<Segment, StoreError> {
        let number = self.next_number.fetch_add(1, Relaxed);
        let path = self.directory.join(format!("journal-{shard}-{number}.log"));
        let segment = Segment::create(&path, shard, number, self.segment_bytes)?;
        segment.active.store(true, Relaxed);
        self.directory_changed.store(true, Relaxed);
        Ok(segment)
    }

    /// Makes the segment that is to follow one that is half full.
    fn prepare(&self) -> Result<(), StoreError> {
        for shard in self.shards.get().into_iter().flatten() {
            shard.full.store(false, Relaxed);
            let current = shard.current.load();
            let needed = current
                .as_ref()
                .is_none_or(|segment| segment.is_half_full());
            if needed && shard.next.load().is_none() {
                let segment = self.create(shard.number)?;
                segment.populate();
                shard.next.store(Some(Arc::new(segment)));
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        let settled = self.shards.get().is_some();
        for segment in self.segments.load().iter() {
            segment.sync(settled)?;
        }
        match self.directory_changed.swap(false, Acquire) {
            true => sync_directory(&self.directory),
            false => Ok(()),
        }
    }

    fn drop_old(&self, now_unix_s: i64) -> Result<(), StoreError> {
        let mut segments: Vec<Arc<Segment>> = self.segments.load().to_vec();
        segments.sort_by_key(|segment| segment.last());
        let prepared = self.shards.get().into_iter().flatten();
        let prepared = prepared.filter(|shard| shard.next.load().is_some()).count();
        let mut bytes: usize = segments.iter().map(|segment| segment.bytes()).sum();
        bytes += prepared * self.segment_bytes;
        let mut old = Vec::new();
        for segment in &segments {
            if segment.newest_unix_s() == 0 {
                segment.assume_newest(now_unix_s);
            }
            let expired = segment.newest_unix_s() < self.oldest_s();
            let excess = bytes as u64 > self.options.journal_bytes;
            if (expired || excess) && !segment.active.load(Acquire) {
                bytes -= segment.bytes();
                old.push(segment.path.clone());
            }
        }
        if old.is_empty() {
            return Ok(());
        }
        self.segments.rcu(|all| {
            let kept = all.iter().filter(|segment| !old.contains(&segment.path));
            kept.cloned().collect::<Vec<_>>()
        });
        self.directory_changed.store(true, Relaxed);
        old.iter().try_for_each(|path| delete(path))
    }
}

impl Shard {
    fn new(number: usize) -> Arc<Self> {
        Arc::new(Self {
            number,
            next: ArcSwapOption::empty(),
            current: ArcSwapOption::empty(),
            full: AtomicBool::new(false),
        })
    }
}

impl Appender {
    fn go_on(&mut self, segment: Arc<Segment>) {
        segment.reopen();
        self.journals.segments.rcu(|all| {
            let mut all = all.to_vec();
            if !all.iter().any(|known| Arc::ptr_eq(known, &segment)) {
                all.push(segment.clone());
            }
            all
        });
        self.shard.current.store(Some(segment.clone()));
        let tail = segment.tail();
        self.segment = Some((segment, tail));
    }

    fn append_here(&mut self, entry: (Position, i64, u64), record: &[u8]) -> bool {
        match &mut self.segment {
            Some((segment, tail)) => segment.append(tail, entry, record),
            None => false,
        }
    }

    /// Goes on in the prepared segment, or makes one. `false`: the disk is full.
    fn rotate(&mut self) -> bool {
        let segment = match self.shard.next.swap(None) {
            Some(segment) => segment,
            None if self.shard.full.load(Relaxed) => return false,
            None => match self.journals.create(self.shard.number) {
                Ok(segment) => Arc::new(segment),
                Err(_) => {
                    self.shard.full.store(true, Relaxed);
                    return false;
                }
            },
        };
        if let Some((full, _)) = self.segment.take() {
            full.active.store(false, Release);
        }
        self.go_on(segment);
        true
    }
}

impl Journal for Appender {
    fn append(&mut self, subscriber: u64, record: &[u8]) {
        let position = Position(self.journals.next_position.fetch_add(1, Relaxed));
        let entry = (position, self.journals.now_unix_s.load(Relaxed), subscriber);
        let kept = record.len() <= JOURNAL_ENTRY_MAX
            && (self.append_here(entry, record)
                || self.rotate() && self.append_here(entry, record));
        if !kept {
            self.journals.lost.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        if let Some((segment, _)) = &self.segment {
            segment.active.store(false, Release);
        }
    }
}

/// The segments of a directory; what a crash left under a temporary name is deleted.
fn list(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |error| StoreError::io("read", directory, error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        match name.strip_prefix("journal-") {
            Some(rest) if rest.ends_with(".log.new") => delete(&path)?,
            Some(rest) if rest.ends_with(".log") => paths.push(path),
            _ => {}
        }
    }
    Ok(paths)
}

fn delete(path: &Path) -> Result<(), StoreError> {
    fs::remove_file(path).map_err(|error| StoreError::io("delete", path, error))
}
