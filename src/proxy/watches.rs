//! The event subscriptions of one shard, and what their watchers are still to be told.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::BuildHasherDefault;

use slotmap::SlotMap;

use super::WatchKey;
use super::hop::{Hop, Unreachable};
use crate::call::Identity;
use crate::event::{End, Subscription};
use crate::presence::Handle;
use crate::transaction::{Ms, NonInviteClient, soonest};

/// By so much an end that is worked out anew may differ.
const OFF_BY_MS: Ms = 1_000;

/// One watcher of one person.
pub(super) struct Watch {
    /// What finds it: the dialog, the package and the id.
    pub key: u64,
    pub subscription: Subscription,
    /// Where notifications go.
    pub hop: Hop,
    /// Stands for the document that was told last; none where it has to be told anyhow.
    pub told: Option<u64>,
    /// The NOTIFY that waits for its answer: there is one at a time, so none overtakes another.
    pending: Option<Pending>,
    /// When a NOTIFY that failed for now is tried again, and how many have failed in a row.
    pub retry: Option<(Ms, u8)>,
    /// Why it is over, but for its last NOTIFY.
    pub end: Option<End>,
    is_due: bool,
    /// What the timer wheel holds for its NOTIFY, and for its end: the end's entry stays while those
    /// of NOTIFYs come and go.
    armed: Ms,
    end_armed: Ms,
}

/// A NOTIFY that was sent.
pub(super) struct Pending {
    pub client: NonInviteClient,
    /// The check in its branch.
    pub check: u32,
    /// All of it, to send it again.
    pub sent: Box<[u8]>,
    /// Whether it said that the subscription is over.
    pub is_last: bool,
}

impl Watch {
    pub(super) fn new(key: u64, subscription: Subscription, hop: Hop) -> Self {
        Self {
            key,
            subscription,
            hop,
            told: None,
            pending: None,
            retry: None,
            end: None,
            is_due: false,
            armed: Ms::MAX,
            end_armed: Ms::MAX,
        }
    }

    /// The NOTIFY that waits for its answer.
    pub(super) fn pending(&mut self) -> Option<&mut Pending> {
        self.pending.as_mut()
    }

    /// When its NOTIFY must be looked at.
    fn deadline(&self) -> Option<Ms> {
        let pending = self.pending.as_ref();
        soonest([
            pending.and_then(|pending| pending.client.deadline()),
            self.retry.map(|(at, _)| at).filter(|at| *at < Ms::MAX),
        ])
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Watches {
    open: SlotMap<WatchKey, Box<Watch>>,
    by_key: HashMap<u64, WatchKey, BuildHasherDefault<Identity>>,
    by_presentity: HashMap<Handle, Vec<WatchKey>>,
    due: VecDeque<WatchKey>,
    /// Those with a NOTIFY that waits.
    waiting: HashSet<WatchKey>,
}

impl Watches {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether somebody is to be told something.
    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    pub(super) fn find(&self, key: u64) -> Option<WatchKey> {
        self.by_key.get(&key).copied()
    }

    pub(super) fn get_mut(&mut self, key: WatchKey) -> Option<&mut Watch> {
        self.open.get_mut(key).map(|watch| &mut **watch)
    }

    /// Whether nothing is left of it but its last NOTIFY.
    pub(super) fn is_over(&self, key: WatchKey) -> bool {
        self.open.get(key).is_some_and(|watch| watch.end.is_some())
    }

    /// Takes one in, which is due at once. Whether it is the first of its presentity.
    pub(super) fn insert(&mut self, watch: Watch) -> (WatchKey, bool) {
        let (found_by, presentity) = (watch.key, watch.subscription.presentity);
        let key = self.open.insert(Box::new(watch));
        self.by_key.insert(found_by, key);
        let of_presentity = self.by_presentity.entry(presentity).or_default();
        of_presentity.push(key);
        let is_first = of_presentity.len() == 1;
        self.make_due(key);
        (key, is_first)
    }

    /// Takes one out. Whether it was the last of its presentity.
    pub(super) fn remove(&mut self, key: WatchKey) -> Option<(Box<Watch>, bool)> {
        let watch = self.open.remove(key)?;
        self.waiting.remove(&key);
        if self.by_key.get(&watch.key) == Some(&key) {
            self.by_key.remove(&watch.key);
        }
        let presentity = watch.subscription.presentity;
        let mut is_last = false;
        if let Some(of_presentity) = self.by_presentity.get_mut(&presentity) {
            if let Some(at) = of_presentity.iter().position(|other| *other == key) {
                of_presentity.swap_remove(at);
            }
            is_last = of_presentity.is_empty();
        }
        if is_last {
            self.by_presentity.remove(&presentity);
        }
        Some((watch, is_last))
    }

    /// A NOTIFY was sent.
    pub(super) fn wait(&mut self, key: WatchKey, pending: Pending) {
        if let Some(watch) = self.open.get_mut(key) {
            watch.pending = Some(pending);
            self.waiting.insert(key);
        }
    }

    /// It was answered.
    pub(super) fn answered(&mut self, key: WatchKey) {
        self.waiting.remove(&key);
        if let Some(watch) = self.open.get_mut(key) {
            watch.pending = None;
        }
    }

    /// Its watcher is to be told how things are.
    pub(super) fn make_due(&mut self, key: WatchKey) {
        if let Some(watch) = self.open.get_mut(key).filter(|watch| !watch.is_due) {
            watch.is_due = true;
            self.due.push_back(key);
        }
    }

    /// All watchers of a person are to be told.
    pub(super) fn make_due_of(&mut self, presentity: Handle) {
        for key in self.by_presentity.get(&presentity).into_iter().flatten() {
            if let Some(watch) = self.open.get_mut(*key).filter(|watch| !watch.is_due) {
                watch.is_due = true;
                self.due.push_back(*key);
            }
        }
    }

    /// Everybody is to be told.
    pub(super) fn make_all_due(&mut self) {
        for (key, watch) in &mut self.open {
            if !watch.is_due {
                watch.is_due = true;
                self.due.push_back(key);
            }
        }
    }

    /// The next that is to be told.
    pub(super) fn next_due(&mut self) -> Option<WatchKey> {
        loop {
            let key = self.due.pop_front()?;
            if let Some(watch) = self.open.get_mut(key) {
                watch.is_due = false;
                return Some(key);
            }
        }
    }

    /// Whether the timer wheel is to wake it at `at`.
    pub(super) fn is_armed(&self, key: WatchKey, at: Ms) -> bool {
        let watch = self.open.get(key);
        watch.is_some_and(|watch| watch.armed == at || watch.end_armed == at)
    }

    /// The wheel has woken it.
    pub(super) fn disarm(&mut self, key: WatchKey, at: Ms) {
        let Some(watch) = self.open.get_mut(key) else {
            return;
        };
        for armed in [&mut watch.armed, &mut watch.end_armed] {
            if *armed == at {
                *armed = Ms::MAX;
            }
        }
    }

    /// When the wheel has to wake it, where that is sooner than what it holds; `expires` is its end on
    /// the clock of the wheel, which may be off by a little each time it is worked out.
    pub(super) fn arm(&mut self, key: WatchKey, expires: Ms) -> [Option<Ms>; 2] {
        let Some(watch) = self.open.get_mut(key) else {
            return [None; 2];
        };
        let deadline = watch.deadline().filter(|at| *at < watch.armed);
        watch.armed = deadline.unwrap_or(watch.armed);
        let is_sooner = expires.saturating_add(OFF_BY_MS) < watch.end_armed;
        let end = (watch.end.is_none() && is_sooner).then_some(expires);
        watch.end_armed = end.unwrap_or(watch.end_armed);
        [deadline, end]
    }

    /// Those whose NOTIFY waits for an answer from where nothing can be delivered.
    pub(super) fn hit_by(&self, failure: &Unreachable) -> Vec<WatchKey> {
        let is_hit = |key: &&WatchKey| {
            let watch = self.open.get(**key);
            watch.is_some_and(|watch| watch.hop.is_hit_by(failure))
        };
        self.waiting.iter().filter(is_hit).copied().collect()
    }
}
