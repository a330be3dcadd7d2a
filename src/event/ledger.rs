//! What the shards share of subscriptions: the store's records and how many there are.
//!
//! A SUBSCRIBE is no call: the lock is held for one write into the kernel's memory.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;

use super::Rules;
use super::record::{decode, encode};
use super::refusal::Refusal;
use super::subscription::Subscription;
use crate::presence::Directory;
use crate::store::{Memory, Records, SLOT_RECORD_MAX, SlotRecords, SlotWrite};

/// The subscriptions of every shard, as far as they are kept and counted.
pub struct Ledger {
    records: Mutex<Box<dyn SlotRecords>>,
    count: AtomicUsize,
    by_watcher: DashMap<Box<str>, usize>,
    /// What an earlier run left, until its shard takes it.
    left: Mutex<Vec<(u32, Box<[u8]>)>>,
}

impl Ledger {
    /// What an earlier run left in `records`.
    pub fn restore(records: Box<dyn SlotRecords>) -> Self {
        let mut left = Vec::new();
        records.each(&mut |slot, record| left.push((slot, Box::from(record))));
        Self {
            records: Mutex::new(records),
            count: AtomicUsize::new(0),
            by_watcher: DashMap::new(),
            left: Mutex::new(left),
        }
    }

    /// Those of an earlier run whose Call-ID is a shard's. What cannot be read, is of somebody who
    /// is no more or has ended meanwhile is forgotten.
    pub fn take(
        &self,
        directory: &Directory,
        now_unix_ms: i64,
        is_mine: impl Fn(&[u8]) -> bool,
    ) -> Vec<Subscription> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::new();
        left.retain(|(slot, record)| {
            match decode(record, *slot, directory).filter(|s| !s.is_expired(now_unix_ms)) {
                None => {
                    self.lock().write(&[SlotWrite::free(*slot)]);
                    false
                }
                Some(mut subscription) if is_mine(&subscription.dialog.call_id) => {
                    self.count_in(&mut subscription);
                    taken.push(subscription);
                    false
                }
                Some(_) => true,
            }
        });
        taken
    }

    /// Counts a new subscription, and keeps it where it is not over at once.
    ///
    /// # Errors
    /// There are too many, or the store did not take it; nothing has changed.
    pub fn add(
        &self,
        subscription: &mut Subscription,
        rules: &Rules,
        is_kept: bool,
    ) -> Result<(), Refusal> {
        if self.len() >= rules.limit {
            return Err(Refusal::Full);
        }
        let of_watcher = self.by_watcher.get(&subscription.watcher_id);
        if of_watcher.is_some_and(|count| *count >= rules.per_watcher) {
            return Err(Refusal::TooMany);
        }
        let mut record = Vec::new();
        encode(subscription, &mut record);
        if record.len() > SLOT_RECORD_MAX {
            return Err(Refusal::TooLong);
        }
        if is_kept {
            subscription.slot = Some(self.keep(&record)?);
        }
        self.count_in(subscription);
        Ok(())
    }

    fn keep(&self, record: &[u8]) -> Result<u32, Refusal> {
        let mut records = self.lock();
        let slot = records.reserve().ok_or(Refusal::Full)?;
        if !records.write(&[SlotWrite { slot, record }]) {
            records.release(slot);
            return Err(Refusal::NotStored);
        }
        Ok(slot)
    }

    /// Keeps what has changed of a subscription.
    ///
    /// # Errors
    /// The store did not take it, and keeps what it has.
    pub fn update(&self, subscription: &Subscription) -> Result<(), Refusal> {
        let mut record = Vec::new();
        encode(subscription, &mut record);
        if record.len() > SLOT_RECORD_MAX {
            return Err(Refusal::TooLong);
        }
        let slot = subscription.slot.ok_or(Refusal::NotStored)?;
        let record = &record;
        match self.lock().write(&[SlotWrite { slot, record }]) {
            true => Ok(()),
            false => Err(Refusal::NotStored),
        }
    }

    /// Keeps a subscription that is over no longer; it counts until it is removed.
    pub fn erase(&self, subscription: &mut Subscription) {
        if let Some(slot) = subscription.slot.take() {
            self.lock().write(&[SlotWrite::free(slot)]);
        }
    }

    /// Forgets a subscription that was added.
    pub fn remove(&self, subscription: &mut Subscription) {
        self.erase(subscription);
        if !std::mem::take(&mut subscription.is_counted) {
            return;
        }
        self.count.fetch_sub(1, Relaxed);
        let watcher = &subscription.watcher_id;
        if let Some(mut count) = self.by_watcher.get_mut(watcher) {
            *count = count.saturating_sub(1);
        }
        self.by_watcher.remove_if(watcher, |_, count| *count == 0);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn count_in(&self, subscription: &mut Subscription) {
        subscription.is_counted = true;
        self.count.fetch_add(1, Relaxed);
        if !subscription.watcher_id.is_empty() {
            *self
                .by_watcher
                .entry(subscription.watcher_id.clone())
                .or_default() += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Box<dyn SlotRecords>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Ledger {
    /// One whose subscriptions do not outlive the process.
    fn default() -> Self {
        Self::restore(Memory::new([0; 32]).slot_records(Records::Subscriptions))
    }
}
