//! The documents: one table of a redb file, one durable transaction for each batch.

use std::io::ErrorKind::{InvalidData, UnexpectedEof};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError,
    TableDefinition, TableError,
};

use super::{StoreError, Write};

const DOCUMENTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("documents");
const SECRET: TableDefinition<'_, (), [u8; 32]> = TableDefinition::new("secret");
/// How many batches were written; tells after a failure whether the batch in question was.
const BATCHES: TableDefinition<'_, (), u64> = TableDefinition::new("batches");

/// What redb may keep of the file in memory. The documents are read once, at the start.
const CACHE_BYTES: usize = 32 << 20;

/// The open file. redb refuses everything after a failed write until it is opened anew, so a write
/// that finds the disk full closes it and the next one opens it again.
pub(super) struct Documents {
    path: PathBuf,
    database: Mutex<Option<Database>>,
    secret: [u8; 32],
}

impl Documents {
    /// Opens the file in `directory`, or creates it in a new store.
    pub(super) fn open(directory: &Path, is_new: bool) -> Result<Self, StoreError> {
        let path = directory.join("documents.redb");
        let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
        if !is_new && bytes == 0 {
            return Err(StoreError::damaged(&path, "it is missing or empty"));
        }
        let database = open(&path)?;
        let secret = guarded(&path, || secret_of(&database))?;
        Ok(Self {
            path,
            database: Mutex::new(Some(database)),
            secret,
        })
    }

    pub(super) fn secret(&self) -> [u8; 32] {
        self.secret
    }

    /// Those whose keys begin with `prefix`; empty, all.
    pub(super) fn load_under(
        &self,
        prefix: &str,
        each: &mut dyn FnMut(&str, &[u8]),
    ) -> Result<(), StoreError> {
        let mut database = self.lock();
        let database = opened(&mut database, &self.path)?;
        guarded(&self.path, || {
            let table = match database.begin_read()?.open_table(DOCUMENTS) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(()),
                table => table?,
            };
            for entry in table.range(prefix..)? {
                let (key, value) = entry?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                each(key.value(), value.value());
            }
            Ok(())
        })
    }

    pub(super) fn write(&self, batch: &[Write]) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut kept = self.lock();
        let database = opened(&mut kept, &self.path)?;
        let before = guarded(&self.path, || batches(database))?;
        let written = guarded(&self.path, || write(database, batch, before + 1));
        let Err(error) = written else { return Ok(()) };
        // Closed, so that what the disk holds is what counts, whatever went wrong.
        *kept = None;
        let after = opened(&mut kept, &self.path)
            .and_then(|database| guarded(&self.path, || batches(database)));
        match after {
            Ok(after) if after > before => Ok(()),
            _ => Err(error),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Database>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn opened<'a>(kept: &'a mut Option<Database>, path: &Path) -> Result<&'a Database, StoreError> {
    match kept {
        Some(database) => Ok(database),
        None => Ok(kept.insert(open(path)?)),
    }
}

fn open(path: &Path) -> Result<Database, StoreError> {
    let created = catch_unwind(|| Builder::new().set_cache_size(CACHE_BYTES).create(path));
    let created = created.unwrap_or_else(|_| Err(panicked().into()));
    created.map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::Locked {
            path: path.parent().unwrap_or(path).to_path_buf(),
        },
        error => explain(path, error.into()),
    })
}

fn secret_of(database: &Database) -> Result<[u8; 32], redb::Error> {
    let transaction = database.begin_write()?;
    let mut table = transaction.open_table(SECRET)?;
    if let Some(secret) = table.get(())? {
        return Ok(secret.value());
    }
    let secret = draw().map_err(StorageError::Io)?;
    table.insert((), secret)?;
    drop(table);
    transaction.commit()?;
    Ok(secret)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the store makes its own secret, once"
)]
fn draw() -> std::io::Result<[u8; 32]> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(std::io::Error::other)?;
    Ok(secret)
}

fn batches(database: &Database) -> Result<u64, redb::Error> {
    match database.begin_read()?.open_table(BATCHES) {
        Err(TableError::TableDoesNotExist(_)) => Ok(0),
        table => Ok(table?.get(())?.map_or(0, |batches| batches.value())),
    }
}

fn write(database: &Database, batch: &[Write], batches: u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    let mut table = transaction.open_table(DOCUMENTS)?;
    for write in batch {
        match write {
            Write::Put { key, value } => table.insert(key.as_str(), value.as_slice())?,
            Write::Delete { key } => table.remove(key.as_str())?,
        };
    }
    drop(table);
    transaction.open_table(BATCHES)?.insert((), batches)?;
    Ok(transaction.commit()?)
}

/// Runs what touches the file; a damaged one may also make redb panic.
fn guarded<T>(path: &Path, run: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, StoreError> {
    let ran = catch_unwind(AssertUnwindSafe(run));
    ran.unwrap_or_else(|_| Err(panicked().into()))
        .map_err(|error| explain(path, error))
}

fn panicked() -> StorageError {
    StorageError::Corrupted("it breaks the rules of its format".into())
}

fn explain(path: &Path, error: redb::Error) -> StoreError {
    match error {
        redb::Error::Io(error) if matches!(error.kind(), InvalidData | UnexpectedEof) => {
            StoreError::damaged(path, error.to_string())
        }
        redb::Error::Io(error) => StoreError::io("read or write", path, error),
        redb::Error::Corrupted(fault) => StoreError::damaged(path, fault),
        error => StoreError::damaged(path, error.to_string()),
    }
}
