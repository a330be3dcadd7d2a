//! The open calls of one shard, their marks, and their copies in the store.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use slotmap::{SlotMap, new_key_type};

use super::ended::Ended;
use super::identity::Identity;
use super::record::{CallRecord, RECORD_LIMIT};
use crate::presence::{Directory, Handle, Mark, MarkKind};
use crate::store::OpenCalls;
use crate::transaction::Ms;

new_key_type! {
    /// Names an open call of this shard; never reused for another one.
    pub struct CallId;
}

/// The open calls: the one owner of the fact that somebody is in a call.
pub struct Calls {
    calls: SlotMap<CallId, Call>,
    by_key: HashMap<u64, CallId, BuildHasherDefault<Identity>>,
    ended: Ended,
    stored: Box<dyn OpenCalls>,
    directory: Arc<Directory>,
    scratch: Vec<u8>,
    old: Vec<u8>,
}

/// One open call in memory: what finds it, what it marks, and where its record is.
struct Call {
    key: u64,
    tags: [u64; 2],
    /// The next call with the same Call-ID (another 2xx of a fork).
    next: Option<CallId>,
    kept: Kept,
    deadline: Ms,
    _marks: Marks,
}

/// Where a call's record is: once, not twice.
enum Kept {
    /// In this slot of the store.
    Stored(u32),
    /// Here, as the store is full.
    Here(Box<[u8]>),
}

impl Kept {
    /// Appends the record to `out`; whether there is one.
    fn read(&self, stored: &dyn OpenCalls, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Stored(slot) => stored.read(*slot, out),
            Self::Here(record) => {
                out.extend_from_slice(record);
                true
            }
        }
    }
}

/// The caller's mark and the callee's.
type Marks = [Option<Mark>; 2];

/// Who a call marks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parties {
    /// The calling subscriber.
    pub caller: Option<Handle>,
    /// The subscriber who answered.
    pub callee: Option<Handle>,
}

impl Calls {
    /// Takes over what an earlier run left in `stored` and marks its parties again. Calls whose
    /// end has passed meanwhile are dropped. `unix_ms` and `now` are the same moment.
    pub fn restore(
        stored: Box<dyn OpenCalls>,
        directory: Arc<Directory>,
        now: Ms,
        unix_ms: i64,
    ) -> Self {
        let mut left = Vec::new();
        stored.each(&mut |slot, record| left.push((slot, Box::<[u8]>::from(record))));
        let mut calls = Self {
            calls: SlotMap::with_key(),
            by_key: HashMap::default(),
            ended: Ended::default(),
            stored,
            directory,
            scratch: Vec::with_capacity(RECORD_LIMIT),
            old: Vec::with_capacity(RECORD_LIMIT),
        };
        for (slot, record) in left {
            calls.restore_one(slot, &record, now, unix_ms);
        }
        calls
    }

    fn restore_one(&mut self, slot: u32, record: &[u8], now: Ms, unix_ms: i64) {
        let Some(read) = CallRecord::decode(record).filter(|r| r.ends_unix_ms > unix_ms) else {
            self.stored.remove(slot);
            return;
        };
        let subscriber = |id| self.directory.handle_of_id(std::str::from_utf8(id).ok()?);
        let parties = Parties {
            caller: subscriber(read.caller),
            callee: subscriber(read.callee),
        };
        let deadline = now + read.ends_unix_ms.abs_diff(unix_ms);
        let (key, tags) = (read.key, [read.caller_tag, read.callee_tag]);
        let kept = Kept::Stored(slot);
        let next = None;
        self.insert(parties, |_marks| Call {
            key,
            tags,
            next,
            kept,
            deadline,
            _marks,
        });
    }

    /// How many calls are open.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether no call is open.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Every open call with its deadline, to put them on the timer wheel after a restart.
    pub fn deadlines(&self) -> impl Iterator<Item = (CallId, Ms)> {
        self.calls.iter().map(|(id, call)| (id, call.deadline))
    }

    /// Opens a call: its record is in the store and its parties are marked when this returns.
    /// `None` where this dialog is open already (a retransmitted 2xx), or has ended before its 2xx
    /// came.
    pub fn open(
        &mut self,
        record: &CallRecord<'_>,
        deadline: Ms,
        parties: Parties,
    ) -> Option<CallId> {
        let tags = [record.caller_tag, record.callee_tag];
        let is_known = self.find(record.key, tags[0], tags[1]).is_some();
        if is_known || self.ended.contains(record.key, tags) {
            return None;
        }
        self.scratch.clear();
        record.encode(&mut self.scratch);
        let kept = match self.stored.insert(&self.scratch) {
            Some(slot) => Kept::Stored(slot),
            None => Kept::Here(Box::from(self.scratch.as_slice())),
        };
        let (key, next) = (record.key, None);
        Some(self.insert(parties, |_marks| Call {
            key,
            tags,
            next,
            kept,
            deadline,
            _marks,
        }))
    }

    /// Marks the parties and takes the call in; `make` completes it.
    fn insert(&mut self, parties: Parties, make: impl FnOnce(Marks) -> Call) -> CallId {
        let mark = |party: Option<Handle>| {
            party.map(|handle| self.directory.mark(handle, MarkKind::InCall))
        };
        let marks = [mark(parties.caller), mark(parties.callee)];
        let by_key = &mut self.by_key;
        self.calls.insert_with_key(|id| {
            let mut call = make(marks);
            call.next = by_key.insert(call.key, id);
            call
        })
    }

    /// The open call of a dialog; the tags in either order, as either side may send.
    pub fn find(&self, key: u64, tag: u64, other_tag: u64) -> Option<CallId> {
        let mut next = self.by_key.get(&key).copied();
        while let Some(id) = next {
            let call = self.calls.get(id)?;
            if call.tags == [tag, other_tag] || call.tags == [other_tag, tag] {
                return Some(id);
            }
            next = call.next;
        }
        None
    }

    /// When the call ends by itself; `None` where it has ended.
    pub fn deadline(&self, id: CallId) -> Option<Ms> {
        self.calls.get(id).map(|call| call.deadline)
    }

    /// The record of an open call.
    pub fn record(&mut self, id: CallId) -> Option<CallRecord<'_>> {
        let call = self.calls.get(id)?;
        self.scratch.clear();
        call.kept.read(&*self.stored, &mut self.scratch);
        CallRecord::decode(&self.scratch)
    }

    /// A session refresh moved the call's end (RFC 4028 §10), but never beyond `latest_unix_ms`.
    pub fn refresh(&mut self, id: CallId, deadline: Ms, ends_unix_ms: i64, session_s: u32) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        self.old.clear();
        call.kept.read(&*self.stored, &mut self.old);
        let Some(read) = CallRecord::decode(&self.old) else {
            return;
        };
        let record = CallRecord {
            ends_unix_ms,
            session_expires_s: session_s,
            ..read
        };
        self.scratch.clear();
        record.encode(&mut self.scratch);
        call.deadline = deadline;
        match &mut call.kept {
            Kept::Stored(slot) => {
                self.stored.update(*slot, &self.scratch);
            }
            Kept::Here(record) => *record = Box::from(self.scratch.as_slice()),
        }
    }

    /// Ends a call: its marks and its copy in the store are gone when this returns; the encoded
    /// record is appended to `out` for the journal. Whether it was open.
    pub fn close(&mut self, id: CallId, out: &mut Vec<u8>) -> bool {
        let Some(call) = self.calls.remove(id) else {
            return false;
        };
        call.kept.read(&*self.stored, out);
        if let Kept::Stored(slot) = call.kept {
            self.stored.remove(slot);
        }
        self.unlink(call.key, id, call.next);
        true
    }

    /// A dialog is over, whether it was open or not: a 2xx that the network held up does not open
    /// it again. The tags in either order.
    pub fn remember_end(&mut self, key: u64, tags: [u64; 2], now: Ms) {
        self.ended.remember(key, tags, now);
    }

    fn unlink(&mut self, key: u64, id: CallId, next: Option<CallId>) {
        if self.by_key.get(&key) == Some(&id) {
            match next {
                Some(next) => self.by_key.insert(key, next),
                None => self.by_key.remove(&key),
            };
            return;
        }
        let mut at = self.by_key.get(&key).copied();
        while let Some(call) = at.and_then(|at| self.calls.get_mut(at)) {
            if call.next == Some(id) {
                call.next = next;
                return;
            }
            at = call.next;
        }
    }
}
