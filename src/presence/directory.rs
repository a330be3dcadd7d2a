//! The directory: who is known under a key, and what routing must know of them.
//!
//! Reading takes no lock and allocates nothing; a writer beside it slows nobody down. Changes come
//! one at a time, from the roster.

use std::borrow::Cow;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use smallvec::SmallVec;

use super::index::Index;
use super::model::{Status, Subscriber};
use super::numbers::NumberPlan;
use super::profile::Profile;
use super::record::{MarkKind, ProfileGuard, Records, Routing, SUBSCRIBER_LIMIT};
use super::watched::Watched;

/// So many removed records rest before the first of them is used again, so that a reader that has
/// just found a handle cannot meet somebody else under it.
const RESTING: usize = 1024;

/// Where a subscriber's record is. Stays valid while the subscriber exists or a [`Mark`] is held.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Handle(pub(super) u32);

/// Every subscriber, for reading at any time from any thread.
pub struct Directory {
    pub(super) index: ArcSwap<Index>,
    pub(super) records: Records,
    watched: Watched,
    count: AtomicUsize,
    changes: AtomicU64,
    end: AtomicUsize,
    writer: Mutex<Writer>,
    seed: u64,
}

/// A call that a subscriber is in, or that rings there. Dropping it takes the mark back.
#[must_use = "dropping a mark takes it back"]
pub struct Mark {
    directory: Arc<Directory>,
    handle: Handle,
    kind: MarkKind,
    is_counted: bool,
}

/// Why a subscriber could not be put.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PutError {
    /// A key belongs to somebody else.
    Taken {
        /// The alias or id.
        key: String,
        /// Whose it is.
        owner: String,
    },
    /// There is room for no more subscribers.
    Full,
}

/// Some subscribers in the order of their ids.
#[derive(Clone, Debug)]
pub struct Page {
    /// At most as many as were asked for.
    pub subscribers: Vec<Arc<Profile>>,
    /// The id after which the next page begins; `None` at the end.
    pub next: Option<String>,
    /// How many there are on all pages.
    pub total: usize,
}

#[derive(Default)]
struct Writer {
    /// Slots of the index that are not empty, tombstones included.
    used: usize,
    keys: usize,
    free: VecDeque<Handle>,
}

impl Handle {
    /// A number below [`SUBSCRIBER_LIMIT`], for tables beside the directory.
    pub const fn position(self) -> usize {
        self.0 as usize
    }
}

impl Directory {
    /// An empty directory. The seed keeps callers from choosing keys that collide.
    pub fn new(seed: u64) -> Self {
        Self {
            index: ArcSwap::from_pointee(Index::with_room(0, seed)),
            records: Records::new(),
            watched: Watched::new(),
            count: AtomicUsize::new(0),
            changes: AtomicU64::new(0),
            end: AtomicUsize::new(0),
            writer: Mutex::default(),
            seed,
        }
    }

    /// Who has this canonical key: an alias, or an id in lower case.
    #[inline]
    pub fn find(&self, key: &[u8]) -> Option<Handle> {
        self.index.load().find(key, &self.records)
    }

    /// Who is meant by a dialled user part: as dialled, normalised, or as a national number.
    pub fn find_dialled(&self, user: &[u8], plan: &NumberPlan) -> Option<Handle> {
        let index = self.index.load();
        let mut keys = plan.dialled_keys(user);
        while let Some(key) = keys.next_key() {
            let found = index.find(key, &self.records);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// What routing needs to know, from one atomic word.
    #[inline]
    pub fn routing(&self, handle: Handle) -> Routing {
        self.records.routing(handle)
    }

    /// The profile, for as long as it is needed.
    pub fn profile(&self, handle: Handle) -> Option<Arc<Profile>> {
        self.records.full(handle)
    }

    /// The profile for a short look.
    #[inline]
    pub fn profile_guard(&self, handle: Handle) -> Option<ProfileGuard> {
        self.records.guard(handle)
    }

    /// The subscriber of that id, in any case; an alias is not an id.
    pub fn get(&self, id: &str) -> Option<Arc<Profile>> {
        self.handle_of_id(id)
            .and_then(|handle| self.profile(handle))
    }

    /// Where the subscriber of that id is.
    pub fn handle_of_id(&self, id: &str) -> Option<Handle> {
        let handle = self.find(id.to_ascii_lowercase().as_bytes())?;
        let profile = self.records.guard(handle)?;
        profile.id().eq_ignore_ascii_case(id).then_some(handle)
    }

    /// What colleagues see: `in_call` during calls and meetings, unless it is `dnd`, which none of
    /// them lifts.
    pub fn effective_status(&self, handle: Handle, now_unix_s: i64) -> Status {
        let routing = self.routing(handle);
        match self.records.guard(handle).filter(|_| routing.is_timed) {
            Some(profile) => {
                let is_in_meeting = profile.is_in_meeting(now_unix_s);
                let occupied = routing.calls.saturating_add(u16::from(is_in_meeting));
                effective_status(profile.status_at(now_unix_s), occupied)
            }
            None => effective_status(routing.status, routing.calls),
        }
    }

    /// Marks a call. A subscriber who has been removed meanwhile is marked in vain.
    pub fn mark(self: &Arc<Self>, handle: Handle, kind: MarkKind) -> Mark {
        let is_counted = self.records.raise(handle, kind);
        self.watched.stir(handle);
        Mark {
            directory: Arc::clone(self),
            handle,
            kind,
            is_counted,
        }
    }

    /// Who is told when somebody's status or marks have changed.
    pub const fn watched(&self) -> &Watched {
        &self.watched
    }

    /// How many subscribers there are.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many changes of documents there were: who looked through all of them need not do so again
    /// while this is the same.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Whether there is no subscriber.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a validated document in place of the one with its id, or beside the others.
    ///
    /// # Errors
    /// Nothing has changed when a key belongs to somebody else or there is no room.
    pub fn put(&self, subscriber: &Subscriber, plan: &NumberPlan) -> Result<Handle, PutError> {
        self.put_profile(Arc::new(Profile::new(subscriber, plan, i64::MIN)))
    }

    /// As [`Directory::put`], with a document that is already compiled.
    ///
    /// # Errors
    /// As [`Directory::put`].
    pub fn put_profile(&self, profile: Arc<Profile>) -> Result<Handle, PutError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let present = self.handle_of_id(profile.id());
        let former = present.and_then(|handle| self.records.full(handle));
        if let (Some(handle), Some(former)) = (present, &former)
            && former.has_keys_of(&profile)
        {
            let has_moved = former.teams() != profile.teams();
            self.records.publish(handle, profile);
            self.stir(handle, has_moved);
            return Ok(handle);
        }
        let keys: SmallVec<[Cow<'_, str>; 4]> = profile.keys().collect();
        self.refuse_taken(&keys, present)?;
        let handle = match present {
            Some(handle) => handle,
            None => self.allocate(&mut writer)?,
        };
        self.make_room(keys.len(), &mut writer);
        self.records.publish(handle, Arc::clone(&profile));
        let index = self.index.load();
        let is_new = |key: &str| !former.as_ref().is_some_and(|f| f.has_key(key.as_bytes()));
        for key in keys.iter().filter(|key| is_new(key)) {
            index
                .pack(key.as_bytes())
                .map(|packed| index.insert(&packed, handle));
            writer.used = writer.used.saturating_add(1);
            writer.keys = writer.keys.saturating_add(1);
        }
        for key in former.iter().flat_map(|former| former.keys()) {
            if !keys.contains(&key) {
                drop_key(&index, &key, handle, &mut writer);
            }
        }
        if present.is_none() {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        let has_moved = former.is_some_and(|former| former.teams() != profile.teams());
        self.stir(handle, has_moved);
        Ok(handle)
    }

    /// Counts a change, and tells watchers of somebody who has changed; all of them where what that
    /// person sees has.
    fn stir(&self, handle: Handle, has_moved: bool) {
        self.changes.fetch_add(1, Ordering::Release);
        match has_moved {
            true => self.watched.stir_all(),
            false => self.watched.stir(handle),
        }
    }

    /// Removes the subscriber of that id. Calls that mark the record keep it from being used again.
    pub fn remove(&self, id: &str) -> Option<Arc<Profile>> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = self.handle_of_id(id)?;
        let former = self.records.full(handle)?;
        let index = self.index.load();
        for key in former.keys() {
            drop_key(&index, &key, handle, &mut writer);
        }
        self.records.vacate(handle);
        self.changes.fetch_add(1, Ordering::Release);
        self.watched.stir_all();
        writer.free.push_back(handle);
        self.count.fetch_sub(1, Ordering::Relaxed);
        Some(former)
    }

    /// Makes room for so many more keys at once, before many subscribers are put.
    pub fn reserve(&self, keys: usize) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.make_room(keys, &mut writer);
    }

    /// Whose status has changed by itself at that time: something has begun or ended.
    pub fn due(&self, now_unix_s: i64) -> Vec<Handle> {
        let end = self.end.load(Ordering::Acquire);
        let with_until = self.records.handles(end, |routing| routing.is_timed);
        let is_expired = |handle: &Handle| {
            self.records
                .guard(*handle)
                .is_some_and(|profile| profile.is_due(now_unix_s))
        };
        with_until.filter(is_expired).collect()
    }

    /// Every subscriber, in no order that matters.
    pub fn profiles(&self) -> impl Iterator<Item = Arc<Profile>> {
        self.handles()
            .filter_map(|handle| self.records.full(handle))
    }

    /// The handle of every subscriber.
    pub fn handles(&self) -> impl Iterator<Item = Handle> {
        let end = self.end.load(Ordering::Acquire);
        self.records.handles(end, |routing| !routing.is_vacant)
    }

    /// At most `limit` subscribers whose ids come after `after`, in the order of their ids. With
    /// `search`, those whose id, name or aliases contain the text. Looks at every subscriber.
    pub fn list(&self, after: Option<&str>, search: Option<&str>, limit: usize) -> Page {
        self.list_of(after, search, limit, |_| true)
    }

    /// The same of those who are `wanted`.
    pub fn list_of(
        &self,
        after: Option<&str>,
        search: Option<&str>,
        limit: usize,
        wanted: impl Fn(&Profile) -> bool,
    ) -> Page {
        let after = after.map(str::to_ascii_lowercase);
        let search = search
            .map(str::to_lowercase)
            .filter(|text| !text.is_empty());
        let mut first: BinaryHeap<ById> = BinaryHeap::with_capacity(limit.min(10_000) + 2);
        let (mut total, mut following) = (0, 0usize);
        for profile in self.profiles() {
            if search
                .as_ref()
                .is_some_and(|text| !contains(&profile, text))
                || !wanted(&profile)
            {
                continue;
            }
            total += 1;
            let entry = ById(profile.id().to_ascii_lowercase(), profile);
            if after.as_ref().is_some_and(|after| entry.0 <= *after) {
                continue;
            }
            following += 1;
            first.push(entry);
            if first.len() > limit {
                first.pop();
            }
        }
        let subscribers: Vec<_> = first.into_sorted_vec().into_iter().map(|e| e.1).collect();
        let next = subscribers
            .last()
            .filter(|_| following > subscribers.len())
            .map(|last| last.id().to_owned());
        Page {
            subscribers,
            next,
            total,
        }
    }

    fn refuse_taken(&self, keys: &[Cow<'_, str>], own: Option<Handle>) -> Result<(), PutError> {
        for key in keys {
            if let Some(other) = self
                .find(key.as_bytes())
                .filter(|other| Some(*other) != own)
            {
                let owner = self
                    .profile(other)
                    .map(|p| p.id().to_owned())
                    .unwrap_or_default();
                return Err(PutError::Taken {
                    key: key.to_string(),
                    owner,
                });
            }
        }
        Ok(())
    }

    /// A record that nobody uses and no call marks.
    fn allocate(&self, writer: &mut Writer) -> Result<Handle, PutError> {
        let end = self.end.load(Ordering::Relaxed);
        let is_unmarked = |handle: &&Handle| {
            let routing = self.routing(**handle);
            routing.calls == 0 && routing.ringing == 0
        };
        if writer.free.len() > RESTING || end == SUBSCRIBER_LIMIT {
            let rested = writer.free.iter().position(|handle| is_unmarked(&handle));
            if let Some(handle) = rested.and_then(|position| writer.free.remove(position)) {
                return Ok(handle);
            }
        }
        let handle = u32::try_from(end).map(Handle).map_err(|_| PutError::Full)?;
        if end >= SUBSCRIBER_LIMIT {
            return Err(PutError::Full);
        }
        self.records.reach(handle);
        self.end.store(end.saturating_add(1), Ordering::Release);
        Ok(handle)
    }

    /// Puts a larger index, without its tombstones, in place of one that is too full.
    fn make_room(&self, more: usize, writer: &mut Writer) {
        let index = self.index.load();
        if writer.used.saturating_add(more) <= index.limit() {
            return;
        }
        let keys = writer.keys.saturating_add(more);
        let larger = Index::with_room(keys.saturating_add(keys / 3), self.seed);
        index.copy_to(&larger);
        writer.used = writer.keys;
        self.index.store(Arc::new(larger));
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl Mark {
    /// Whose mark it is.
    pub const fn handle(&self) -> Handle {
        self.handle
    }

    /// What it stands for.
    pub const fn kind(&self) -> MarkKind {
        self.kind
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if self.is_counted {
            self.directory.records.lower(self.handle, self.kind);
            self.directory.watched.stir(self.handle);
        }
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mark({:?}, {:?})", self.handle, self.kind)
    }
}

impl fmt::Display for PutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { key, owner } => write!(f, "`{key}` belongs to {owner}"),
            Self::Full => write!(f, "no room for more than {SUBSCRIBER_LIMIT} subscribers"),
        }
    }
}

impl std::error::Error for PutError {}

/// What colleagues see of a base status and a number of calls.
pub fn effective_status(base: Status, calls: u16) -> Status {
    if calls > 0 && base != Status::Dnd {
        Status::InCall
    } else {
        base
    }
}

struct ById(String, Arc<Profile>);

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for ById {}

impl PartialOrd for ById {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ById {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

fn drop_key(index: &Index, key: &str, handle: Handle, writer: &mut Writer) {
    let dropped = index
        .pack(key.as_bytes())
        .is_some_and(|p| index.replace(&p, handle, None));
    if dropped {
        writer.keys = writer.keys.saturating_sub(1);
    }
}

fn contains(profile: &Profile, lower: &str) -> bool {
    profile.id().to_ascii_lowercase().contains(lower)
        || profile.display_name().to_lowercase().contains(lower)
        || profile.aliases().any(|alias| alias.contains(lower))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn plan() -> NumberPlan {
        crate::presence::sample::plan()
    }

    fn named(id: &str, aliases: &[&str]) -> Subscriber {
        Subscriber {
            id: id.into(),
            display_name: id.to_uppercase(),
            aliases: aliases.iter().map(|alias| (*alias).into()).collect(),
            ..Subscriber::default()
        }
    }

    #[test]
    fn a_subscriber_is_found_by_id_alias_and_dialled_number() {
        let directory = Directory::new(1);
        let anna = directory
            .put(&named("Anna", &["101", "+4930123456"]), &plan())
            .unwrap();
        for key in ["anna", "101", "+4930123456"] {
            assert_eq!(directory.find(key.as_bytes()), Some(anna), "{key}");
        }
        for user in [
            "ANNA",
            "030 123456",
            "0049-30-123456",
            "%2B4930123456",
            "4930123456",
        ] {
            assert_eq!(
                directory.find_dialled(user.as_bytes(), &plan()),
                Some(anna),
                "{user}"
            );
        }
        assert_eq!(directory.get("aNNa").unwrap().id(), "Anna");
        assert!(directory.get("101").is_none());
        assert_eq!(directory.find_dialled(b"102", &plan()), None);
    }

    #[test]
    fn an_extension_beats_a_national_number() {
        let directory = Directory::new(1);
        let number = directory
            .put(&named("a", &["+4930123456"]), &plan())
            .unwrap();
        let extension = directory.put(&named("b", &["030123456"]), &plan()).unwrap();
        assert_eq!(
            directory.find_dialled(b"030123456", &plan()),
            Some(extension)
        );
        assert_eq!(
            directory.find_dialled(b"004930123456", &plan()),
            Some(number)
        );
    }

    #[test]
    fn a_key_of_somebody_else_is_refused_and_nothing_changes() {
        let directory = Directory::new(1);
        directory.put(&named("anna", &["101"]), &plan()).unwrap();
        let error = directory
            .put(&named("bob", &["102", "101"]), &plan())
            .unwrap_err();
        assert_eq!(
            error,
            PutError::Taken {
                key: "101".into(),
                owner: "anna".into()
            }
        );
        assert_eq!(directory.len(), 1);
        assert_eq!(directory.find(b"102"), None);
        assert!(directory.put(&named("ANNA", &["102"]), &plan()).is_ok());
        assert_eq!((directory.len(), directory.find(b"101")), (1, None));
    }

    #[test]
    fn changes_of_documents_are_counted_and_marks_are_not() {
        let directory = Arc::new(Directory::new(7));
        let put = |number| directory.put(&named("anna", &[number]), &plan()).unwrap();
        let anna = put("10");
        let mut counted = vec![directory.changes()];
        let mut count = || {
            counted.push(directory.changes());
            counted
                .windows(2)
                .last()
                .is_some_and(|pair| pair[0] < pair[1])
        };
        put("10");
        assert!(count(), "the same keys");
        put("11");
        assert!(count(), "others");
        let mark = directory.mark(anna, MarkKind::InCall);
        assert!(!count());
        drop(mark);
        directory.remove("anna").unwrap();
        assert!(count());
        assert!(directory.remove("anna").is_none() && !count());
    }

    #[test]
    fn marks_are_taken_back_and_never_fall_below_zero() {
        let directory = Arc::new(Directory::new(1));
        let anna = directory.put(&named("anna", &[]), &plan()).unwrap();
        let first = directory.mark(anna, MarkKind::InCall);
        let second = directory.mark(anna, MarkKind::InCall);
        let ringing = directory.mark(anna, MarkKind::Ringing);
        let routing = directory.routing(anna);
        assert_eq!((routing.calls, routing.ringing), (2, 1));
        assert_eq!(directory.effective_status(anna, 0), Status::InCall);
        directory.put(&named("anna", &["7"]), &plan()).unwrap();
        assert_eq!(directory.routing(anna).calls, 2);
        drop((first, second, ringing));
        let routing = directory.routing(anna);
        assert_eq!((routing.calls, routing.ringing), (0, 0));
        assert_eq!(directory.effective_status(anna, 0), Status::Available);
    }

    #[test]
    fn a_counter_at_its_limit_spills_into_no_other() {
        let directory = Arc::new(Directory::new(1));
        let anna = directory.put(&named("anna", &[]), &plan()).unwrap();
        let marks: Vec<Mark> = (0..5000)
            .map(|_| directory.mark(anna, MarkKind::Ringing))
            .collect();
        assert_eq!(
            (
                directory.routing(anna).ringing,
                directory.routing(anna).calls
            ),
            (4095, 0)
        );
        drop(marks);
        assert_eq!(directory.routing(anna).ringing, 0);
    }

    #[test]
    fn no_call_lifts_dnd() {
        let directory = Arc::new(Directory::new(1));
        let dnd = Subscriber {
            status: Status::Dnd,
            ..named("anna", &[])
        };
        let anna = directory.put(&dnd, &plan()).unwrap();
        let _call = directory.mark(anna, MarkKind::InCall);
        assert_eq!(directory.effective_status(anna, 0), Status::Dnd);
    }

    #[test]
    fn a_removed_record_is_used_again_only_when_rested_and_unmarked() {
        let directory = Arc::new(Directory::new(1));
        let anna = directory.put(&named("anna", &[]), &plan()).unwrap();
        let mark = directory.mark(anna, MarkKind::InCall);
        assert!(directory.remove("anna").is_some() && directory.is_empty());
        assert!(directory.routing(anna).is_vacant && directory.profile(anna).is_none());
        let cycle = || {
            let handle = directory.put(&named("x", &[]), &plan()).unwrap();
            directory.remove("x");
            handle
        };
        assert!((0..2 * RESTING).all(|_| cycle() != anna));
        assert_eq!(directory.routing(anna).calls, 1);
        drop(mark);
        assert!((0..2 * RESTING).any(|_| cycle() == anna));
        assert_eq!(directory.routing(anna).calls, 0);
    }

    #[test]
    fn expired_statuses_are_found_in_their_second() {
        let directory = Directory::new(1);
        let until = jiff::Timestamp::from_second(600).ok();
        let away = Subscriber {
            status: Status::Away,
            until,
            ..named("anna", &[])
        };
        let anna = directory.put(&away, &plan()).unwrap();
        directory.put(&named("bob", &[]), &plan()).unwrap();
        assert_eq!(directory.due(599), []);
        assert_eq!(directory.due(600), [anna]);
        assert_eq!(directory.effective_status(anna, 599), Status::Away);
        assert_eq!(directory.effective_status(anna, 600), Status::Available);
    }

    #[test]
    fn pages_follow_the_ids_and_search_looks_at_names_and_aliases() {
        let directory = Directory::new(1);
        for id in ["dora", "Bob", "anna", "cleo"] {
            directory
                .put(&named(id, &[&format!("{}", id.len() * 100)]), &plan())
                .ok();
        }
        directory.put(&named("emil", &["777"]), &plan()).unwrap();
        let ids = |page: &Page| -> Vec<String> {
            page.subscribers
                .iter()
                .map(|profile| profile.id().to_owned())
                .collect()
        };
        let page = directory.list(None, None, 2);
        assert_eq!(
            (ids(&page), page.total),
            (vec!["Bob".into(), "dora".into()], 3)
        );
        let rest = directory.list(page.next.as_deref(), None, 2);
        assert_eq!((ids(&rest), rest.next), (vec!["emil".to_owned()], None));
        assert_eq!(ids(&directory.list(None, Some("OB"), 9)), ["Bob"]);
        assert_eq!(ids(&directory.list(None, Some("77"), 9)), ["emil"]);
        assert_eq!(directory.list(None, Some("zz"), 9).total, 0);
    }

    #[test]
    fn readers_beside_a_writer_always_find_who_stays() {
        let directory = Arc::new(Directory::new(3));
        let staying: Vec<Handle> = (0..200)
            .map(|n| {
                directory
                    .put(&named(&format!("s{n}"), &[]), &plan())
                    .unwrap()
            })
            .collect();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..3000 {
                    let id = format!("t{round}");
                    let alias = format!("{}", 10_000 + round % 50);
                    directory.put(&named(&id, &[&alias]), &plan()).unwrap();
                    let again = named(&format!("s{}", round % 200), &[]);
                    directory.put(&again, &plan()).unwrap();
                    if round % 3 > 0 {
                        directory.remove(&id);
                    } else {
                        directory.put(&named(&id, &[]), &plan()).unwrap();
                    }
                }
                stop.store(true, Ordering::Relaxed);
            });
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for (n, handle) in staying.iter().enumerate() {
                        assert_eq!(directory.find(format!("s{n}").as_bytes()), Some(*handle));
                        assert!(!directory.routing(*handle).is_vacant);
                    }
                }
            });
        });
    }

    proptest! {
        #[test]
        fn the_directory_does_what_a_map_does(
            steps in prop::collection::vec(
                (0usize..8, prop::collection::vec(100u32..112, 0..3), any::<bool>()), 1..40),
        ) {
            let directory = Directory::new(9);
            let mut model: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for (id, mut aliases, put) in steps {
                aliases.sort_unstable();
                aliases.dedup();
                let id = format!("{}-{id}", "x".repeat(id * 5));
                let aliases: Vec<String> = aliases.iter().map(u32::to_string).collect();
                let taken = model.iter().any(|(other, theirs)| {
                    *other != id && theirs.iter().any(|alias| aliases.contains(alias))
                });
                if put {
                    let names: Vec<&str> = aliases.iter().map(String::as_str).collect();
                    let done = directory.put(&named(&id, &names), &plan());
                    prop_assert_eq!(done.is_err(), taken);
                    if !taken {
                        model.insert(id, aliases);
                    }
                } else {
                    let removed = directory.remove(&id).is_some();
                    prop_assert_eq!(removed, model.remove(&id).is_some());
                }
                prop_assert_eq!(directory.len(), model.len());
                for alias in 100..112u32 {
                    let alias = alias.to_string();
                    let owner = model.iter().find(|(_, theirs)| theirs.contains(&alias));
                    let found = directory.find(alias.as_bytes());
                    let found = found.and_then(|h| directory.profile(h));
                    prop_assert_eq!(found.as_ref().map(|p| p.id()), owner.map(|(id, _)| id.as_str()));
                }
                for id in model.keys() {
                    prop_assert!(directory.get(id).is_some());
                }
            }
        }
    }
}
