//! A store whose writes are timed, as it may not read a clock itself.

use super::clock::stopwatch;
use super::counters::Latency;
use crate::store::{
    Journal, Losses, OpenCalls, Position, Records, SlotRecords, Store, StoreError, Write,
};

/// Another store, with the time that each batch took to be on disk.
pub(super) struct Timed<S> {
    pub inner: S,
    pub writes: Latency,
}

impl<S: Store> Store for Timed<S> {
    fn load(&self, each: &mut dyn FnMut(&str, &[u8])) -> Result<(), StoreError> {
        self.inner.load(each)
    }

    fn load_under(
        &self,
        prefix: &str,
        each: &mut dyn FnMut(&str, &[u8]),
    ) -> Result<(), StoreError> {
        self.inner.load_under(prefix, each)
    }

    fn write(&self, batch: &[Write]) -> Result<(), StoreError> {
        let start = stopwatch();
        let written = self.inner.write(batch);
        self.writes.record(start.elapsed().as_nanos() as u64);
        written
    }

    fn secret(&self) -> [u8; 32] {
        self.inner.secret()
    }

    fn open_calls(
        &self,
        shards: usize,
        shard_of: &dyn Fn(&[u8]) -> usize,
    ) -> Result<Vec<Box<dyn OpenCalls>>, StoreError> {
        self.inner.open_calls(shards, shard_of)
    }

    fn read_calls(&self, each: &mut dyn FnMut(&[u8])) {
        self.inner.read_calls(each);
    }

    fn records(&self, kind: Records) -> Result<Box<dyn SlotRecords>, StoreError> {
        self.inner.records(kind)
    }

    fn journals(&self, shards: usize) -> Result<Vec<Box<dyn Journal>>, StoreError> {
        self.inner.journals(shards)
    }

    fn read_journal(
        &self,
        subscriber: u64,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<(Position, Vec<u8>)>, StoreError> {
        self.inner.read_journal(subscriber, before, limit)
    }

    fn erase_journal(&self, subscriber: u64) -> Result<u64, StoreError> {
        self.inner.erase_journal(subscriber)
    }

    fn maintain(&self, now_unix_s: i64) -> Result<(), StoreError> {
        self.inner.maintain(now_unix_s)
    }

    fn losses(&self) -> Losses {
        self.inner.losses()
    }
}
