//! The files of open calls in a directory, and how they are dealt out anew when the number of
//! shards has changed.
//!
//! Files carry a generation. A redistribution writes those of the next generation under temporary
//! names, syncs them, renames them and only then deletes the old ones. The latest generation of
//! which every file is there counts, so a crash at any moment leaves one that is whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::slots::{Identity, SlotFile, Slots};
use super::{OpenCalls, StoreError};

/// The writing ends of a directory's open calls, one for each shard, and what was torn.
pub(super) struct Opened {
    pub(super) slots: Vec<Slots>,
    pub(super) files: Vec<Arc<SlotFile>>,
    pub(super) torn: u64,
}

/// Opens the calls left in `directory`, dealt out by `shard_of` if they are not already.
pub(super) fn open(
    directory: &Path,
    limit: usize,
    shards: usize,
    shard_of: &dyn Fn(&[u8]) -> usize,
) -> Result<Opened, StoreError> {
    let mut generations = list(directory)?;
    let Some((generation, paths)) = latest_whole(&mut generations)? else {
        let none = (0..shards).map(|_| Vec::new()).collect();
        return create(directory, limit, 1, none);
    };
    let stale: Vec<PathBuf> = generations
        .into_values()
        .flat_map(BTreeMap::into_values)
        .collect();
    let left = open_generation(&paths, limit)?;
    let shard_of = |record: &[u8]| shard_of(record).min(shards - 1);
    if left.slots.len() == shards && left.is_dealt(&shard_of) {
        remove(directory, stale)?;
        return Ok(left);
    }
    let mut dealt: Vec<Vec<Vec<u8>>> = (0..shards).map(|_| Vec::new()).collect();
    for slots in &left.slots {
        slots.each(&mut |_, record| {
            if let Some(shard) = dealt.get_mut(shard_of(record)) {
                shard.push(record.to_vec());
            }
        });
    }
    let mut made = create(directory, limit, generation + 1, dealt)?;
    made.torn = left.torn;
    remove(directory, stale.into_iter().chain(paths).collect())?;
    Ok(made)
}

impl Opened {
    fn is_dealt(&self, shard_of: &dyn Fn(&[u8]) -> usize) -> bool {
        self.slots.iter().enumerate().all(|(shard, slots)| {
            let mut own = true;
            slots.each(&mut |_, record| own &= shard_of(record) == shard);
            own
        })
    }
}

type Generation = BTreeMap<usize, PathBuf>;

/// The files by generation and shard; what a crash left under a temporary name is deleted.
fn list(directory: &Path) -> Result<BTreeMap<u64, Generation>, StoreError> {
    let failed = |error| StoreError::io("read", directory, error);
    let mut generations: BTreeMap<u64, Generation> = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if name.starts_with("calls-") && name.ends_with(".slots.new") {
            fs::remove_file(&path).map_err(|error| StoreError::io("delete", &path, error))?;
        } else if let Some((generation, shard)) = parse(name) {
            generations
                .entry(generation)
                .or_default()
                .insert(shard, path);
        }
    }
    Ok(generations)
}

fn parse(name: &str) -> Option<(u64, usize)> {
    let numbers = name.strip_prefix("calls-")?.strip_suffix(".slots")?;
    let (generation, shard) = numbers.split_once('-')?;
    Some((generation.parse().ok()?, shard.parse().ok()?))
}

fn path_of(directory: &Path, generation: u64, shard: usize) -> PathBuf {
    directory.join(format!("calls-{generation}-{shard}.slots"))
}

/// Takes the latest generation of which no file is missing out of the list.
fn latest_whole(
    generations: &mut BTreeMap<u64, Generation>,
) -> Result<Option<(u64, Vec<PathBuf>)>, StoreError> {
    let mut missing = None;
    for (&generation, files) in generations.iter().rev() {
        let Some(path) = files.values().next() else {
            continue;
        };
        let (id, _) = SlotFile::open(path, 0)?;
        match (0..id.shards).find(|shard| !files.contains_key(shard)) {
            None => {
                let whole = generations.remove(&generation).unwrap_or_default();
                return Ok(Some((generation, whole.into_values().collect())));
            }
            Some(shard) => {
                missing.get_or_insert(
                    path.with_file_name(format!("calls-{generation}-{shard}.slots")),
                );
            }
        }
    }
    let fault = "it is missing; without its fellows too, calls in progress would be forgotten";
    missing.map_or(Ok(None), |path| Err(StoreError::damaged(&path, fault)))
}

fn open_generation(paths: &[PathBuf], limit: usize) -> Result<Opened, StoreError> {
    let (mut slots, mut files, mut torn) = (Vec::new(), Vec::new(), 0);
    for (shard, path) in paths.iter().enumerate() {
        let (id, file) = SlotFile::open(path, limit)?;
        let named = path.file_name().and_then(|name| parse(name.to_str()?));
        if named != Some((id.generation, id.shard)) || (id.shard, id.shards) != (shard, paths.len())
        {
            return Err(StoreError::damaged(
                path,
                "its name and its header disagree",
            ));
        }
        let (writer, torn_here) = Slots::recover(file.clone(), limit);
        if torn_here > 0 {
            tracing::warn!(path = %path.display(), records = torn_here, "open calls were torn");
        }
        torn += torn_here;
        slots.push(writer);
        files.push(file);
    }
    Ok(Opened { slots, files, torn })
}

/// Writes a generation with the given records, whole on the disk when it gets its names.
fn create(
    directory: &Path,
    limit: usize,
    generation: u64,
    dealt: Vec<Vec<Vec<u8>>>,
) -> Result<Opened, StoreError> {
    let shards = dealt.len();
    let mut paths = Vec::new();
    for (shard, records) in dealt.iter().enumerate() {
        let path = path_of(directory, generation, shard);
        let temporary = path.with_extension("slots.new");
        let id = Identity {
            generation,
            shard,
            shards,
        };
        let most = limit.max(records.len());
        let file = SlotFile::create(&temporary, id, most)?;
        let (mut slots, _) = Slots::recover(file.clone(), most);
        if records.iter().any(|record| slots.insert(record).is_none()) {
            let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(StoreError::io("write to", &temporary, full));
        }
        file.sync_new()?;
        paths.push((temporary, path));
    }
    for (temporary, path) in &paths {
        fs::rename(temporary, path).map_err(|error| StoreError::io("rename", temporary, error))?;
    }
    sync_directory(directory)?;
    let paths: Vec<PathBuf> = paths.into_iter().map(|(_, path)| path).collect();
    open_generation(&paths, limit)
}

fn remove(directory: &Path, files: Vec<PathBuf>) -> Result<(), StoreError> {
    for path in &files {
        fs::remove_file(path).map_err(|error| StoreError::io("delete", path, error))?;
    }
    match files.is_empty() {
        true => Ok(()),
        false => sync_directory(directory),
    }
}

/// Makes names that were given, changed or deleted last.
pub(super) fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| StoreError::io("write to", directory, error))
}
