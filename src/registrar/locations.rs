//! The location service: all bindings, shared by the shards (RFC 3261 §10.1).
//!
//! A reader takes no lock. Writers come one at a time, REGISTER is no call: the lock is held for the
//! comparison of a few URIs and one write into the kernel's memory.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use super::binding::{Binding, Bindings, Reach};
use super::record::{decode, encode};
use super::refusal::Refusal;
use super::registration::Registration;
use super::table::Table;
use super::targets::Targets;
use super::update::{NO_SLOT, updated};
use crate::presence::{Directory, Handle, Profile};
use crate::store::{Memory, Records, SlotRecords, SlotWrite};

/// Every binding, for reading at any time from any thread.
pub struct Locations {
    table: Table,
    count: AtomicUsize,
    writer: Mutex<Writer>,
}

struct Writer {
    records: Box<dyn SlotRecords>,
    /// The chunk that is swept next.
    sweeps_at: usize,
}

/// What a REGISTER led to.
#[derive(Debug, Clone)]
pub struct Registered {
    /// All bindings there are now.
    pub bindings: Option<Arc<Bindings>>,
}

impl Locations {
    /// The bindings that an earlier run left. Those of subscribers who are no more are dropped;
    /// `listener_of` says by which listener a flow is used now.
    pub fn restore(
        mut records: Box<dyn SlotRecords>,
        directory: &Directory,
        listener_of: impl Fn(&super::Flow) -> Option<u8>,
    ) -> Self {
        let mut kept: std::collections::BTreeMap<Handle, Bindings> = Default::default();
        let mut stale: Vec<SlotWrite<'_>> = Vec::new();
        records.each(&mut |slot, record| {
            let known = decode(record, slot)
                .and_then(|(id, binding)| Some((id, directory.handle_of_id(id)?, binding)));
            let Some((id, callee, mut binding)) = known else {
                stale.push(SlotWrite::free(slot));
                return;
            };
            if let Some(flow) = binding.reach.flow_mut() {
                match listener_of(flow) {
                    Some(listener) => flow.listener = listener,
                    None => binding.reach = Reach::Resolved,
                }
            }
            let of_callee = kept.entry(callee).or_insert_with(|| Bindings {
                id: id.into(),
                callee,
                list: Box::default(),
            });
            let mut list = std::mem::take(&mut of_callee.list).into_vec();
            list.push(binding);
            of_callee.list = list.into();
        });
        for slot in &stale {
            records.write(std::slice::from_ref(slot));
        }
        let locations = Self::over(records);
        for (callee, mut bindings) in kept {
            bindings
                .list
                .sort_by_key(|binding| binding.registered_unix_ms);
            locations.count.fetch_add(bindings.list.len(), Relaxed);
            locations.table.store(callee, Some(Arc::new(bindings)));
        }
        locations
    }

    fn over(records: Box<dyn SlotRecords>) -> Self {
        Self {
            table: Table::new(),
            count: AtomicUsize::new(0),
            writer: Mutex::new(Writer {
                records,
                sweeps_at: 0,
            }),
        }
    }

    /// Where a request to a subscriber goes. `gr` is the value of that URI parameter: a GRUU means
    /// one instance only (RFC 5627 §6.1). Wait-free.
    pub fn targets(
        &self,
        (callee, profile): (Handle, &Profile),
        gr: Option<&[u8]>,
        now_unix_ms: i64,
        is_open: impl Fn(NonZeroU64) -> bool,
    ) -> Targets {
        let Some(bindings) = self.of(callee, profile.id()) else {
            return Targets::default();
        };
        let mut order: SmallVec<[(u16, Reach); 4]> = SmallVec::new();
        for (index, binding) in (0_u16..).zip(&bindings.list) {
            let is_wanted = gr.is_none_or(|gr| is_instance(binding.instance(), gr));
            if binding.is_expired(now_unix_ms) || !is_wanted || !is_sip(binding.uri()) {
                continue;
            }
            let reach = match binding.reach {
                Reach::Only(flow) if !flow.is_open(&is_open) => continue,
                Reach::Preferred(flow) if !flow.is_open(&is_open) => Reach::Resolved,
                reach => reach,
            };
            order.push((index, reach));
        }
        Targets::of(bindings, order)
    }

    /// All bindings of a subscriber; expired ones may still be among them.
    pub fn of(&self, callee: Handle, id: &str) -> Option<Arc<Bindings>> {
        let bindings = self.table.load(callee);
        bindings.filter(|bindings| bindings.id.eq_ignore_ascii_case(id))
    }

    /// The bindings of every subscriber, in no order that matters.
    pub fn all(&self) -> impl Iterator<Item = Arc<Bindings>> {
        (0..self.table.chunks()).flat_map(|chunk| self.table.chunk(chunk))
    }

    /// How many bindings there are; expired ones count until they are swept.
    pub fn len(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Carries a REGISTER out: wholly, or not at all.
    ///
    /// # Errors
    /// Why nothing has changed.
    pub fn register(
        &self,
        registration: &Registration<'_>,
        is_open: &dyn Fn(NonZeroU64) -> bool,
    ) -> Result<Registered, Refusal> {
        if registration.contacts == super::Contacts::Query {
            let bindings = self.of(registration.callee, registration.id);
            return Ok(Registered { bindings });
        }
        let mut writer = self.lock();
        let (callee, id) = (registration.callee, registration.id);
        let present = self.table.load(callee);
        let own = present.as_ref().filter(|p| p.id.eq_ignore_ascii_case(id));
        let current = own.map(|bindings| bindings.list.iter());
        let current = current.into_iter().flatten();
        let current = current.filter(|b| !b.is_expired(registration.now_unix_ms));
        let next = updated(current.cloned().collect(), registration, is_open)?;
        let bindings = self.commit(&mut writer, (callee, id), present.as_deref(), next)?;
        Ok(Registered { bindings })
    }

    /// Removes what is bound for a subscriber: all, or the binding in that slot of the store.
    /// Hands back how many were removed.
    ///
    /// # Errors
    /// The store did not take it; nothing has changed.
    pub fn remove(&self, callee: Handle, id: &str, slot: Option<u32>) -> Result<usize, Refusal> {
        let mut writer = self.lock();
        let Some(present) = self.of(callee, id) else {
            return Ok(0);
        };
        let stays = |binding: &&Binding| slot.is_some_and(|slot| binding.slot != slot);
        let next: Vec<Binding> = present.list.iter().filter(stays).cloned().collect();
        let removed = present.list.len().saturating_sub(next.len());
        self.commit(&mut writer, (callee, id), Some(&present), next)?;
        Ok(removed)
    }

    /// Drops what has expired, and what belongs to subscribers who are no more, in at most so many
    /// chunks of the table; the next call goes on behind them. Hands back how many went.
    pub fn sweep(&self, directory: &Directory, now_unix_ms: i64, chunks: usize) -> usize {
        let mut swept = 0_usize;
        for _ in 0..chunks.min(self.table.chunks()) {
            let chunk = {
                let mut writer = self.lock();
                let chunk = writer.sweeps_at;
                writer.sweeps_at = (chunk + 1) % self.table.chunks().max(1);
                chunk
            };
            for bindings in self.table.chunk(chunk) {
                swept = swept.saturating_add(self.sweep_one(directory, &bindings, now_unix_ms));
            }
        }
        swept
    }

    fn sweep_one(&self, directory: &Directory, seen: &Bindings, now_unix_ms: i64) -> usize {
        let profile = directory.profile_guard(seen.callee);
        let is_known = profile.is_some_and(|p| p.id().eq_ignore_ascii_case(&seen.id));
        let stays = |binding: &Binding| is_known && !binding.is_expired(now_unix_ms);
        if seen.list.iter().all(stays) {
            return 0;
        }
        let mut writer = self.lock();
        let Some(present) = self.of(seen.callee, &seen.id) else {
            return 0;
        };
        let next: Vec<Binding> = present.list.iter().filter(|b| stays(b)).cloned().collect();
        let gone = present.list.len().saturating_sub(next.len());
        let whose = (seen.callee, &*seen.id);
        let committed = self.commit(&mut writer, whose, Some(&present), next);
        committed.map_or(0, |_| gone)
    }

    /// Writes the difference into the store, then shows it to the readers.
    fn commit(
        &self,
        writer: &mut Writer,
        (callee, id): (Handle, &str),
        present: Option<&Bindings>,
        mut next: Vec<Binding>,
    ) -> Result<Option<Arc<Bindings>>, Refusal> {
        let before = present.map(|present| &*present.list).unwrap_or_default();
        let reserved = reserve(&mut *writer.records, &mut next)?;
        let written = write(&mut *writer.records, id, before, &next);
        if let Err(refusal) = written {
            reserved
                .iter()
                .for_each(|slot| writer.records.release(*slot));
            return Err(refusal);
        }
        self.count.fetch_add(next.len(), Relaxed);
        self.count.fetch_sub(before.len(), Relaxed);
        let bindings = (!next.is_empty()).then(|| {
            Arc::new(Bindings {
                id: id.into(),
                callee,
                list: next.into(),
            })
        });
        self.table.store(callee, bindings.clone());
        Ok(bindings)
    }

    /// A panic elsewhere leaves nothing half-changed under the lock.
    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Locations {
    /// No binding, and none that outlives the process.
    fn default() -> Self {
        Self::over(Memory::new([0; 32]).slot_records(Records::Bindings))
    }
}

impl std::fmt::Debug for Locations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Locations")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// A slot for each binding that has none. What was reserved is given back when one is missing.
fn reserve(
    records: &mut dyn SlotRecords,
    next: &mut [Binding],
) -> Result<SmallVec<[u32; 4]>, Refusal> {
    let mut reserved = SmallVec::new();
    for binding in next.iter_mut().filter(|binding| binding.slot == NO_SLOT) {
        let Some(slot) = records.reserve() else {
            reserved.iter().for_each(|slot| records.release(*slot));
            return Err(Refusal::Full);
        };
        binding.slot = slot;
        reserved.push(slot);
    }
    Ok(reserved)
}

/// Writes what is new or was refreshed and frees what is gone, as one batch.
fn write(
    records: &mut dyn SlotRecords,
    id: &str,
    before: &[Binding],
    next: &[Binding],
) -> Result<(), Refusal> {
    let mut texts: SmallVec<[(u32, Vec<u8>); 2]> = SmallVec::new();
    for binding in next {
        if before.iter().any(|present| present == binding) {
            continue;
        }
        let mut record = Vec::with_capacity(512);
        encode(id, binding, &mut record);
        if record.len() > crate::store::SLOT_RECORD_MAX {
            return Err(Refusal::ContactTooLong);
        }
        texts.push((binding.slot, record));
    }
    let is_gone = |binding: &&Binding| !next.iter().any(|kept| kept.slot == binding.slot);
    let freed = before.iter().filter(is_gone);
    let freed = freed.map(|binding| SlotWrite::free(binding.slot));
    let kept = texts.iter().map(|(slot, record)| SlotWrite {
        slot: *slot,
        record,
    });
    let batch: SmallVec<[SlotWrite<'_>; 4]> = kept.chain(freed).collect();
    match batch.is_empty() || records.write(&batch) {
        true => Ok(()),
        false => Err(Refusal::NotStored),
    }
}

/// Whether a GRUU's `gr` names this instance (RFC 5627 §3.1.1).
fn is_instance(instance: &[u8], gr: &[u8]) -> bool {
    let urn = instance
        .strip_prefix(b"<")
        .and_then(|i| i.strip_suffix(b">"));
    urn.is_some_and(|urn| urn.eq_ignore_ascii_case(gr))
}

/// Whether a request can go there at all.
fn is_sip(uri: &[u8]) -> bool {
    let scheme = uri.split(|byte| *byte == b':').next().unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"sip") || scheme.eq_ignore_ascii_case(b"sips")
}
