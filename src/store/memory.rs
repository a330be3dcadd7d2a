//! The store for tests, the demo and the simulation: everything in memory, under locks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    CALL_RECORD_MAX, JOURNAL_ENTRY_MAX, Journal, Losses, OpenCalls, Options, Position, Records,
    SLOT_RECORD_MAX, SlotRecords, SlotWrite, Store, StoreError, Write,
};

/// What an entry costs beside its bytes, counted against [`Options::journal_bytes`].
const ENTRY_OVERHEAD: u64 = 40;

/// A store that lives as long as its last clone. A clone is the same store, so a restart is
/// played by dropping an engine and giving a clone to the next.
#[derive(Clone)]
pub struct Memory(Arc<Contents>);

struct Contents {
    secret: [u8; 32],
    options: Options,
    documents: Mutex<BTreeMap<String, Vec<u8>>>,
    shards: Mutex<Vec<Arc<Mutex<Slots>>>>,
    bindings: Mutex<Slots>,
    subscriptions: Mutex<Slots>,
    journal: Mutex<Entries>,
    now_unix_s: AtomicI64,
    lost_entries: AtomicU64,
}

#[derive(Default)]
struct Slots {
    records: Vec<Option<Vec<u8>>>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Entries {
    entries: VecDeque<Entry>,
    next: u64,
    bytes: u64,
}

struct Entry {
    position: Position,
    subscriber: u64,
    unix_s: i64,
    record: Vec<u8>,
}

struct Calls {
    limit: usize,
    slots: Arc<Mutex<Slots>>,
}

impl Memory {
    /// An empty store with the given secret and the default bounds.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self::with_options(secret, Options::default())
    }

    /// An empty store with the given secret and bounds; segments play no part in it.
    #[must_use]
    pub fn with_options(secret: [u8; 32], options: Options) -> Self {
        Self(Arc::new(Contents {
            secret,
            options,
            documents: Mutex::default(),
            shards: Mutex::default(),
            bindings: Mutex::default(),
            subscriptions: Mutex::default(),
            journal: Mutex::default(),
            now_unix_s: AtomicI64::new(0),
            lost_entries: AtomicU64::new(0),
        }))
    }
}

impl Memory {
    /// As [`Store::records`], which cannot fail here.
    #[must_use]
    pub fn slot_records(&self, kind: Records) -> Box<dyn SlotRecords> {
        let store = self.clone();
        let records = MemoryRecords { store, kind };
        lock(records.slots()).forget_reserved();
        Box::new(records)
    }
}

/// The records of one kind.
struct MemoryRecords {
    store: Memory,
    kind: Records,
}

impl MemoryRecords {
    fn slots(&self) -> &Mutex<Slots> {
        match self.kind {
            Records::Bindings => &self.store.0.bindings,
            Records::Subscriptions => &self.store.0.subscriptions,
        }
    }
}

impl Store for Memory {
    fn load(&self, each: &mut dyn FnMut(&str, &[u8])) -> Result<(), StoreError> {
        for (key, value) in lock(&self.0.documents).iter() {
            each(key, value);
        }
        Ok(())
    }

    fn write(&self, batch: &[Write]) -> Result<(), StoreError> {
        let mut documents = lock(&self.0.documents);
        for write in batch {
            match write {
                Write::Put { key, value } => documents.insert(key.clone(), value.clone()),
                Write::Delete { key } => documents.remove(key),
            };
        }
        Ok(())
    }

    fn secret(&self) -> [u8; 32] {
        self.0.secret
    }

    fn open_calls(
        &self,
        shards: usize,
        shard_of: &dyn Fn(&[u8]) -> usize,
    ) -> Result<Vec<Box<dyn OpenCalls>>, StoreError> {
        let mut dealt: Vec<Slots> = (0..shards.max(1)).map(|_| Slots::default()).collect();
        let mut current = lock(&self.0.shards);
        for slots in current.iter() {
            for record in lock(slots).records.iter().flatten() {
                let shard = shard_of(record).min(dealt.len() - 1);
                if let Some(slots) = dealt.get_mut(shard) {
                    slots.records.push(Some(record.clone()));
                }
            }
        }
        *current = dealt
            .into_iter()
            .map(|slots| Arc::new(Mutex::new(slots)))
            .collect();
        let limit = self.0.options.calls_per_shard;
        Ok(current
            .iter()
            .map(|slots| {
                Box::new(Calls {
                    limit,
                    slots: slots.clone(),
                }) as Box<dyn OpenCalls>
            })
            .collect())
    }

    fn read_calls(&self, each: &mut dyn FnMut(&[u8])) {
        let shards = lock(&self.0.shards).clone();
        for slots in shards {
            lock(&slots)
                .records
                .iter()
                .flatten()
                .for_each(|record| each(record));
        }
    }

    fn records(&self, kind: Records) -> Result<Box<dyn SlotRecords>, StoreError> {
        Ok(self.slot_records(kind))
    }

    fn journals(&self, shards: usize) -> Result<Vec<Box<dyn Journal>>, StoreError> {
        Ok((0..shards.max(1))
            .map(|_| Box::new(self.clone()) as Box<dyn Journal>)
            .collect())
    }

    fn read_journal(
        &self,
        subscriber: u64,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<(Position, Vec<u8>)>, StoreError> {
        let journal = lock(&self.0.journal);
        let older = |entry: &&Entry| before.is_none_or(|before| entry.position < before);
        Ok(journal
            .entries
            .iter()
            .rev()
            .filter(older)
            .filter(|entry| entry.subscriber == subscriber)
            .take(limit)
            .map(|entry| (entry.position, entry.record.clone()))
            .collect())
    }

    fn erase_journal(&self, subscriber: u64) -> Result<u64, StoreError> {
        let mut journal = lock(&self.0.journal);
        let before = journal.entries.len();
        journal
            .entries
            .retain(|entry| entry.subscriber != subscriber);
        Ok(before.saturating_sub(journal.entries.len()) as u64)
    }

    fn maintain(&self, now_unix_s: i64) -> Result<(), StoreError> {
        self.0.now_unix_s.store(now_unix_s, Relaxed);
        let oldest = now_unix_s.saturating_sub(self.0.options.journal_retention_s);
        let mut journal = lock(&self.0.journal);
        for entry in journal.entries.iter_mut().filter(|entry| entry.unix_s == 0) {
            entry.unix_s = now_unix_s;
        }
        while journal
            .entries
            .front()
            .is_some_and(|entry| entry.unix_s < oldest)
        {
            journal.drop_oldest();
        }
        Ok(())
    }

    fn losses(&self) -> Losses {
        Losses {
            torn_calls: 0,
            torn_bindings: 0,
            torn_subscriptions: 0,
            journal_entries: self.0.lost_entries.load(Relaxed),
        }
    }
}

/// A slot that is reserved holds an empty record.
impl SlotRecords for MemoryRecords {
    fn reserve(&mut self) -> Option<u32> {
        let mut slots = lock(self.slots());
        match slots.len() < self.store.0.options.limit_of(self.kind) {
            true => slots.take(Vec::new()),
            false => None,
        }
    }

    fn release(&mut self, slot: u32) {
        lock(self.slots()).free(slot);
    }

    fn write(&mut self, batch: &[SlotWrite<'_>]) -> bool {
        let mut slots = lock(self.slots());
        let fits = |write: &SlotWrite<'_>| {
            let kept = slots.records.get(write.slot as usize);
            kept.is_some_and(Option::is_some) && write.record.len() <= SLOT_RECORD_MAX
        };
        if !batch.iter().all(fits) {
            return false;
        }
        for write in batch {
            match slots.records.get_mut(write.slot as usize) {
                Some(Some(kept)) if !write.record.is_empty() => write.record.clone_into(kept),
                _ => slots.free(write.slot),
            }
        }
        true
    }

    fn each(&self, f: &mut dyn FnMut(u32, &[u8])) {
        for (slot, record) in (0u32..).zip(&lock(self.slots()).records) {
            if let Some(record) = record.as_ref().filter(|record| !record.is_empty()) {
                f(slot, record);
            }
        }
    }

    fn len(&self) -> usize {
        lock(self.slots()).len()
    }
}

impl Journal for Memory {
    fn append(&mut self, subscriber: u64, record: &[u8]) {
        if record.len() > JOURNAL_ENTRY_MAX {
            self.0.lost_entries.fetch_add(1, Relaxed);
            return;
        }
        let unix_s = self.0.now_unix_s.load(Relaxed);
        let mut journal = lock(&self.0.journal);
        let position = Position(journal.next);
        journal.next += 1;
        journal.bytes += record.len() as u64 + ENTRY_OVERHEAD;
        journal.entries.push_back(Entry {
            position,
            subscriber,
            unix_s,
            record: record.to_vec(),
        });
        while journal.bytes > self.0.options.journal_bytes {
            journal.drop_oldest();
        }
    }
}

impl Entries {
    fn drop_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.record.len() as u64 + ENTRY_OVERHEAD;
        }
    }
}

impl OpenCalls for Calls {
    fn insert(&mut self, record: &[u8]) -> Option<u32> {
        let mut slots = lock(&self.slots);
        if slots.len() >= self.limit || record.len() > CALL_RECORD_MAX {
            return None;
        }
        slots.take(record.to_vec())
    }

    fn update(&mut self, slot: u32, record: &[u8]) -> bool {
        match lock(&self.slots).records.get_mut(slot as usize) {
            Some(Some(kept)) if record.len() <= CALL_RECORD_MAX => {
                record.clone_into(kept);
                true
            }
            _ => false,
        }
    }

    fn remove(&mut self, slot: u32) {
        lock(&self.slots).free(slot);
    }

    fn read(&self, slot: u32, out: &mut Vec<u8>) -> bool {
        let slots = lock(&self.slots);
        let record = slots.records.get(slot as usize).and_then(Option::as_ref);
        record.is_some_and(|record| {
            out.extend_from_slice(record);
            true
        })
    }

    fn len(&self) -> usize {
        lock(&self.slots).len()
    }

    fn each(&self, f: &mut dyn FnMut(u32, &[u8])) {
        for (slot, record) in (0u32..).zip(&lock(&self.slots).records) {
            if let Some(record) = record {
                f(slot, record);
            }
        }
    }
}

impl Slots {
    fn take(&mut self, record: Vec<u8>) -> Option<u32> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.records.push(None);
                u32::try_from(self.records.len() - 1).ok()?
            }
        };
        *self.records.get_mut(slot as usize)? = Some(record);
        Some(slot)
    }

    fn free(&mut self, slot: u32) {
        let place = self.records.get_mut(slot as usize);
        if place.and_then(Option::take).is_some() {
            self.free.push(slot);
        }
    }

    /// Frees the slots that an earlier opening reserved and did not write to.
    fn forget_reserved(&mut self) {
        let is_reserved = |record: &Option<Vec<u8>>| record.as_ref().is_some_and(Vec::is_empty);
        let records = (0u32..).zip(&self.records);
        let reserved = records.filter(|(_, record)| is_reserved(record));
        for slot in reserved.map(|(slot, _)| slot).collect::<Vec<_>>() {
            self.free(slot);
        }
    }

    fn len(&self) -> usize {
        self.records.len() - self.free.len()
    }
}

/// A panic elsewhere leaves nothing half-changed under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract;

    #[test]
    fn memory_keeps_the_contract() {
        let store = Memory::with_options([7; 32], contract::options());
        contract::check(|| Box::new(store.clone()));
    }
}
