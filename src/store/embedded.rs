//! The store in a directory of its own: `documents.redb`, `calls-*.slots`, `bindings.slots`,
//! `subscriptions.slots`, `journal-*.log`.

use std::fs::{self, File, TryLockError};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::calls;
use super::documents::Documents;
use super::journal::Journals;
use super::records::{RecordFile, RecordSlots};
use super::slots::SlotFile;
use super::{
    Journal, Losses, OpenCalls, Options, Position, Records, SlotRecords, Store, StoreError, Write,
};

const LOCK: &str = "lock";
/// What the lock file holds once the store is made.
const FORMAT: &[u8] = b"pointsman store 1\n";

/// The default engine: survives `kill -9` and power cuts as [`super::contract`] says.
pub struct Embedded {
    directory: PathBuf,
    options: Options,
    lock: Arc<File>,
    documents: Documents,
    journals: Arc<Journals>,
    calls_taken: AtomicBool,
    calls: OnceLock<Vec<Arc<SlotFile>>>,
    torn_calls: AtomicU64,
    bindings: Opened,
    subscriptions: Opened,
    maintaining: Mutex<()>,
}

/// One file of records, once it was handed out.
#[derive(Default)]
struct Opened {
    is_taken: AtomicBool,
    file: OnceLock<Arc<RecordFile>>,
    torn: AtomicU64,
}

impl Embedded {
    /// Opens the store in `directory`, which is created if it is not there, and locked against
    /// other processes until the store and all it handed out are dropped.
    ///
    /// # Errors
    /// [`StoreError::Locked`], a damaged file, or whatever the operating system refuses.
    pub fn open(directory: impl AsRef<Path>, options: Options) -> Result<Self, StoreError> {
        let directory = directory.as_ref();
        let created = fs::create_dir_all(directory);
        created.map_err(|error| StoreError::io("create", directory, error))?;
        let (lock, is_new) = lock(directory)?;
        let documents = Documents::open(directory, is_new)?;
        let journals = Journals::open(directory, options.clone(), lock.clone())?;
        if is_new {
            sign(directory, &lock)?;
        }
        Ok(Self {
            directory: directory.to_path_buf(),
            options,
            lock,
            documents,
            journals,
            calls_taken: AtomicBool::new(false),
            calls: OnceLock::new(),
            torn_calls: AtomicU64::new(0),
            bindings: Opened::default(),
            subscriptions: Opened::default(),
            maintaining: Mutex::new(()),
        })
    }

    fn opened(&self, kind: Records) -> &Opened {
        match kind {
            Records::Bindings => &self.bindings,
            Records::Subscriptions => &self.subscriptions,
        }
    }

    fn slot_files(&self) -> impl Iterator<Item = &Arc<SlotFile>> {
        self.calls.get().into_iter().flatten()
    }
}

impl Opened {
    /// Everything written so far on the disk.
    fn sync(&self) -> Result<(), StoreError> {
        self.file.get().map_or(Ok(()), |file| file.sync())
    }
}

impl Store for Embedded {
    fn load(&self, each: &mut dyn FnMut(&str, &[u8])) -> Result<(), StoreError> {
        self.documents.load_under("", each)
    }

    fn load_under(
        &self,
        prefix: &str,
        each: &mut dyn FnMut(&str, &[u8]),
    ) -> Result<(), StoreError> {
        self.documents.load_under(prefix, each)
    }

    fn write(&self, batch: &[Write]) -> Result<(), StoreError> {
        self.documents.write(batch)
    }

    fn secret(&self) -> [u8; 32] {
        self.documents.secret()
    }

    fn open_calls(
        &self,
        shards: usize,
        shard_of: &dyn Fn(&[u8]) -> usize,
    ) -> Result<Vec<Box<dyn OpenCalls>>, StoreError> {
        if self.calls_taken.swap(true, Relaxed) {
            return Err(StoreError::Taken("open calls"));
        }
        let limit = self.options.calls_per_shard;
        let mut opened = calls::open(&self.directory, limit, shards.max(1), shard_of)?;
        opened
            .slots
            .iter_mut()
            .for_each(|slots| slots.hold(self.lock.clone()));
        self.torn_calls.store(opened.torn, Relaxed);
        let _ = self.calls.set(opened.files);
        let boxed = |slots| Box::new(slots) as Box<dyn OpenCalls>;
        Ok(opened.slots.into_iter().map(boxed).collect())
    }

    fn read_calls(&self, each: &mut dyn FnMut(&[u8])) {
        self.slot_files().for_each(|file| file.read(each));
    }

    fn records(&self, kind: Records) -> Result<Box<dyn SlotRecords>, StoreError> {
        let opened = self.opened(kind);
        if opened.is_taken.swap(true, Relaxed) {
            return Err(StoreError::Taken(kind.name()));
        }
        let limit = self.options.limit_of(kind);
        let (slots, torn) = RecordSlots::open(&self.directory, (kind, limit), self.lock.clone())?;
        opened.torn.store(torn, Relaxed);
        let _ = opened.file.set(slots.shared());
        Ok(Box::new(slots))
    }

    fn journals(&self, shards: usize) -> Result<Vec<Box<dyn Journal>>, StoreError> {
        self.journals.appenders(shards)
    }

    fn read_journal(
        &self,
        subscriber: u64,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<(Position, Vec<u8>)>, StoreError> {
        Ok(self.journals.read(subscriber, before, limit))
    }

    fn erase_journal(&self, subscriber: u64) -> Result<u64, StoreError> {
        self.journals.erase(subscriber)
    }

    fn maintain(&self, now_unix_s: i64) -> Result<(), StoreError> {
        let _one = self
            .maintaining
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let journals = self.journals.maintain(now_unix_s);
        let calls = self.slot_files().map(|file| file.maintain());
        let records = self.bindings.sync().and(self.subscriptions.sync());
        calls.fold(journals.and(records), Result::and)
    }

    fn losses(&self) -> Losses {
        Losses {
            torn_calls: self.torn_calls.load(Relaxed),
            torn_bindings: self.bindings.torn.load(Relaxed),
            torn_subscriptions: self.subscriptions.torn.load(Relaxed),
            journal_entries: self.journals.lost(),
        }
    }
}

/// Locks the directory; and whether the store in it has not been wholly made yet.
fn lock(directory: &Path) -> Result<(Arc<File>, bool), StoreError> {
    let path = directory.join(LOCK);
    let failed = |error| StoreError::io("lock", &path, error);
    let mut options = File::options();
    let options = options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(StoreError::Locked {
                path: directory.to_path_buf(),
            });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let mut format = Vec::new();
    file.read_to_end(&mut format).map_err(failed)?;
    match format.as_slice() {
        FORMAT => Ok((Arc::new(file), false)),
        part if FORMAT.starts_with(part) => Ok((Arc::new(file), true)),
        _ => Err(StoreError::damaged(
            &path,
            "it does not name a format this version knows",
        )),
    }
}

/// Says, durably, that the store is made: from now on a file that is missing is a fault.
fn sign(directory: &Path, lock: &File) -> Result<(), StoreError> {
    let written = lock.write_all_at(FORMAT, 0).and_then(|()| lock.sync_all());
    written.map_err(|error| StoreError::io("write to", &directory.join(LOCK), error))?;
    calls::sync_directory(directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract;

    #[test]
    fn embedded_keeps_the_contract() {
        let directory = tempfile::tempdir().unwrap();
        contract::check(|| {
            Box::new(Embedded::open(directory.path(), contract::options()).unwrap())
        });
    }
}
