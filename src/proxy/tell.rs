//! NOTIFY (RFC 6665 §4.2.2): each watcher is told how things are, one request at a time.
//!
//! What has changed meanwhile is in the next one, so a watcher that is slow gets fewer, and always
//! the last state. Nothing is told twice: a change that the watcher does not see sends nothing.

use std::sync::Arc;

use super::branch::ffi;
use super::hop::{ConnectionId, Flow, Hop, Unreachable};
use super::keys::{mix, shard_of};
use super::setup::Neighbourhood;
use super::subscribe::sight;
use super::watches::{Pending, Watch};
use super::{Owner, Proxy, WatchKey};
use crate::event::{End, Notify, see, write_document};
use crate::message::{Method, NameAddr, Uri};
use crate::presence::Stirred;
use crate::registrar::Binding;
use crate::transaction::{BranchId, BranchKind, Due, Ms, NonInviteClient};

/// So many watchers are told at once, with the timers: no more than a shard receives at once, so that
/// answers do not pile up. Calls go on before the next.
pub(super) const AT_ONCE: usize = 64;
/// So many are told at once with the message that has changed something.
pub(super) const WITH_A_MESSAGE: usize = 16;
/// When a NOTIFY is tried again that a watcher could not take for now, and how often.
const RETRY_MS: Ms = 5_000;
const RETRIES: u8 = 5;
/// The wait for a stream's other side doubles so often: up to five minutes.
const LONGEST_DOUBLED: u8 = 6;

impl Proxy {
    /// Takes over the subscriptions that an earlier run left: their watchers are told how things
    /// are now.
    pub(super) fn restore_watches(&mut self) {
        let (shared, shards) = (Arc::clone(&self.shared), self.shared.shards.len() as u16);
        let call_key = |call_id: &[u8]| self.keys.call(call_id);
        let is_mine =
            |call_id: &[u8]| usize::from(shard_of(call_key(call_id), shards)) == self.shard;
        let taken = shared
            .ledger
            .take(&shared.directory, self.now.unix_ms, is_mine);
        for mut subscription in taken {
            let way = subscription.way;
            let listener = self
                .policy
                .listener_towards(way.transport, way.peer.ip(), way.listener);
            let Some(listener) = listener else {
                shared.ledger.remove(&mut subscription);
                continue;
            };
            let hop = Hop {
                to: way.peer,
                listener,
                flow: Flow::Any,
                name: None,
            };
            let call_key = self.keys.call(&subscription.dialog.call_id);
            let watcher = NameAddr::parse(&subscription.dialog.remote).ok();
            let tag = watcher.and_then(|watcher| watcher.tag).unwrap_or_default();
            let event = (subscription.package, &*subscription.event_id);
            let key = self.watch_key(call_key, tag, event);
            let presentity = subscription.presentity;
            let (key, is_first) = self.watches.insert(Watch::new(key, subscription, hop));
            if is_first {
                shared.directory.watched().watch(presentity, self.shard);
            }
            self.settle_watch(key);
        }
    }

    /// Whether watchers are to be told something.
    pub(super) fn has_news(&self) -> bool {
        let watched = self.shared.directory.watched();
        !self.watches.is_empty() && (self.watches.has_due() || watched.has_stirred(self.shard))
    }

    /// Tells so many watchers what has changed.
    pub(super) fn tell_watchers(&mut self, at_once: usize) {
        let shared = Arc::clone(&self.shared);
        for _ in 0..at_once {
            match shared.directory.watched().stirred(self.shard) {
                None => break,
                Some(Stirred::One(presentity)) => self.watches.make_due_of(presentity),
                Some(Stirred::Anybody) => self.watches.make_all_due(),
            }
        }
        for _ in 0..at_once {
            match self.watches.next_due() {
                None => break,
                Some(key) => self.tell_watcher(key),
            }
        }
    }

    /// Sends a watcher what they see, unless they know it or owe an answer: then once it has come.
    pub(super) fn tell_watcher(&mut self, key: WatchKey) {
        let mut body = std::mem::take(&mut self.scratch.tail);
        let watch = self.watches.get_mut(key);
        if watch.is_some_and(|watch| watch.pending().is_none()) {
            let fingerprint = self.compose(key, &mut body);
            let watch = self.watches.get_mut(key);
            if watch.is_some_and(|watch| watch.end.is_some() || watch.told != Some(fingerprint)) {
                self.notify(key, fingerprint, &body);
            }
        }
        self.scratch.tail = body;
        self.settle_watch(key);
    }

    /// Writes the document of a subscription; nothing where its watcher may see nothing any more,
    /// which ends it. What comes back stands for what it says.
    fn compose(&mut self, key: WatchKey, out: &mut Vec<u8>) -> u64 {
        out.clear();
        let (policy, shared) = (Arc::clone(&self.policy), Arc::clone(&self.shared));
        let directory = &shared.directory;
        let sight = sight(&shared, &policy, self.now);
        let around = Neighbourhood {
            directory,
            policy: &policy,
        };
        let Some(watch) = self.watches.get_mut(key) else {
            return 0;
        };
        let subscription = &mut watch.subscription;
        let named = Uri::parse(subscription.entity.as_bytes()).ok();
        let named = named.and_then(|uri| around.resolve_uri(&uri));
        let profile = directory.profile(subscription.presentity);
        let profile = profile.filter(|p| p.id().eq_ignore_ascii_case(&subscription.presentity_id));
        let watcher = match &*subscription.watcher_id {
            "" => Some(None),
            id => directory.get(id).map(Some),
        };
        let is_served = policy.events.packages.has(subscription.package);
        let mut version = 0..0;
        let end = match (&profile, watcher) {
            (Some(_), _) if named.is_some_and(|named| named != subscription.presentity) => {
                Some(End::Deactivated)
            }
            (None, _) => Some(End::NoResource),
            (Some(_), _) if named.is_none() => Some(End::NoResource),
            (Some(profile), Some(watcher)) if is_served => {
                let seen = see(
                    sight,
                    (subscription.presentity, profile),
                    watcher.as_deref(),
                );
                if let Some(seen) = &seen {
                    let about = (&*subscription.entity, subscription.cseq);
                    version =
                        write_document(subscription.package, seen, about, &policy.events, out);
                }
                seen.is_none().then_some(End::Rejected)
            }
            _ => Some(End::Rejected),
        };
        if let Some(end) = end {
            watch.end.get_or_insert(end);
            shared.ledger.erase(&mut watch.subscription);
        }
        let (before, after) = (out.get(..version.start), out.get(version.end..));
        let [before, after] = [before, after].map(|part| self.keys.tag(part.unwrap_or_default()));
        mix(before, after)
    }

    fn notify(&mut self, key: WatchKey, fingerprint: u64, body: &[u8]) {
        let (policy, shared) = (Arc::clone(&self.policy), Arc::clone(&self.shared));
        let other_hop = self.other_hop(key);
        let Some(watch) = self.watches.get_mut(key) else {
            return;
        };
        if let Some(hop) = other_hop {
            watch.hop = hop;
        }
        let Some(listener) = policy.listeners.get(usize::from(watch.hop.listener)) else {
            return;
        };
        let (cseq, is_beyond) = watch.subscription.count_notify();
        if is_beyond && watch.end.is_none() {
            // Where the store does not take it, a restart may repeat numbers.
            let _ = shared.ledger.update(&watch.subscription);
        }
        let call_key = self.keys.call(&watch.subscription.dialog.call_id);
        let check = self.keys.check(call_key, b"notify", cseq);
        let mut branch = Vec::with_capacity(48);
        BranchId {
            kind: BranchKind::Notify,
            context: ffi(key),
            leg: 0,
            check,
        }
        .write(&mut branch);
        let notify = Notify {
            subscription: &watch.subscription,
            transport: listener.transport,
            advertised: &listener.advertised,
            branch: &branch,
            cseq,
            state: match watch.end {
                Some(end) => Err(end),
                None => Ok(watch.subscription.expires_s(self.now.unix_ms)),
            },
            body,
        };
        let sent = self.out.send(&watch.hop, |out| notify.write(out)).into();
        let base = policy.base(watch.hop.listener);
        watch.told = Some(fingerprint);
        let client = NonInviteClient::start(self.now.ms, &base);
        let pending = Pending {
            client,
            check,
            sent,
            is_last: watch.end.is_some(),
        };
        self.watches.wait(key, pending);
        self.count(|c| &c.notifies_sent);
    }

    /// Where a watcher's phone is reached now, whose connection is gone: over the one it has
    /// registered by since.
    fn other_hop(&mut self, key: WatchKey) -> Option<Hop> {
        let (policy, shared) = (Arc::clone(&self.policy), Arc::clone(&self.shared));
        let is_open = |id: ConnectionId| shared.flows.get(id).is_some();
        let watch = self.watches.get_mut(key)?;
        let subscription = &watch.subscription;
        let is_gone = !watch.hop.flow.connection().is_some_and(is_open);
        if !policy.transport(watch.hop.listener).is_reliable() || !is_gone {
            return None;
        }
        let watcher = shared.directory.handle_of_id(&subscription.watcher_id)?;
        let bindings = shared.locations.of(watcher, &subscription.watcher_id)?;
        let is_same = |binding: &&Binding| *binding.uri() == *subscription.dialog.target;
        let mut flows = bindings.list.iter().filter(is_same);
        let flow =
            flows.find_map(|binding| binding.reach.flow().filter(|f| f.connection.is_some()))?;
        let connection = flow
            .connection
            .map(ConnectionId)
            .filter(|id| is_open(*id))?;
        Some(Hop {
            to: flow.peer,
            listener: flow.listener,
            flow: Flow::Only(connection),
            name: None,
        })
    }

    /// A response to a NOTIFY. Says whether it was one of ours.
    pub(super) fn on_notify_response(
        &mut self,
        id: &BranchId,
        status: u16,
        method: Method,
    ) -> bool {
        let key = WatchKey::from(slotmap::KeyData::from_ffi(id.context));
        let now_ms = self.now.ms;
        let Some(watch) = self.watches.get_mut(key) else {
            return false;
        };
        let base = self.policy.base(watch.hop.listener);
        let pending = watch.pending().filter(|p| p.check == id.check);
        let Some(pending) = pending.filter(|_| method == Method::Notify) else {
            return false;
        };
        pending.client.on_response(status, now_ms, &base);
        if status < 200 {
            self.settle_watch(key);
            return true;
        }
        let is_over = pending.is_last;
        let failed_before = watch.retry.take().map_or(0, |(_, failures)| failures);
        if (500..600).contains(&status) && failed_before < RETRIES {
            watch.retry = Some((now_ms + RETRY_MS, failed_before + 1));
        }
        let is_retried = watch.retry.is_some();
        self.watches.answered(key);
        match status {
            _ if is_over => self.forget_watch(key),
            200..=299 => self.watches.make_due(key),
            _ if is_retried => {}
            _ => self.fail_watch(key),
        }
        self.settle_watch(key);
        true
    }

    pub(super) fn wake_watch(&mut self, key: WatchKey, at: Ms) {
        if !self.watches.is_armed(key, at) {
            return;
        }
        self.watches.disarm(key, at);
        let (now, ledger) = (self.now, &self.shared.ledger);
        let Some(watch) = self.watches.get_mut(key) else {
            return;
        };
        if watch.end.is_none() && watch.subscription.is_expired(now.unix_ms) {
            watch.end = Some(End::Timeout);
            ledger.erase(&mut watch.subscription);
            self.watches.make_due(key);
        }
        if let Some(watch) = self.watches.get_mut(key)
            && let Some((at, failures)) = watch.retry
            && at <= now.ms
        {
            // Until it succeeds the failures are remembered; the time has been used up.
            watch.retry = Some((Ms::MAX, failures));
            watch.told = None;
            self.watches.make_due(key);
        }
        self.on_notify_due(key);
        self.settle_watch(key);
    }

    fn on_notify_due(&mut self, key: WatchKey) {
        let now_ms = self.now.ms;
        let Some(watch) = self.watches.get_mut(key) else {
            return;
        };
        let base = self.policy.base(watch.hop.listener);
        let hop = watch.hop.clone();
        let Some(pending) = watch.pending() else {
            return;
        };
        match pending.client.on_timeout(now_ms, &base) {
            Due::Retransmit => {
                self.out
                    .send(&hop, |out| out.extend_from_slice(&pending.sent));
                self.count(|c| &c.retransmissions_sent);
            }
            Due::TimedOut => self.fail_watch(key),
            Due::Ended | Due::Nothing => {}
        }
    }

    /// The transport says that an address cannot be reached.
    pub(super) fn fail_watches(&mut self, failure: &Unreachable) {
        if self.watches.is_empty() {
            return;
        }
        for key in self.watches.hit_by(failure) {
            self.lose_watch(key);
        }
    }

    /// A NOTIFY did not get through. Over a stream that may be until the phone has opened another
    /// connection: it is tried again, ever more seldom, for as long as the subscription lives.
    fn lose_watch(&mut self, key: WatchKey) {
        let (policy, now_ms) = (Arc::clone(&self.policy), self.now.ms);
        let Some(watch) = self.watches.get_mut(key) else {
            return;
        };
        let is_stream = policy.transport(watch.hop.listener).is_reliable();
        if !is_stream || watch.end.is_some() {
            return self.fail_watch(key);
        }
        let failures = watch.retry.map_or(0, |(_, failures)| failures);
        let wait_ms = RETRY_MS << failures.min(LONGEST_DOUBLED);
        watch.told = None;
        watch.retry = Some((now_ms.saturating_add(wait_ms), failures.saturating_add(1)));
        self.watches.answered(key);
        self.settle_watch(key);
    }

    /// A watcher does not take what they asked for: that is over (RFC 6665 §4.2.2).
    fn fail_watch(&mut self, key: WatchKey) {
        self.count(|c| &c.notifies_failed);
        self.forget_watch(key);
    }

    pub(super) fn forget_watch(&mut self, key: WatchKey) {
        let Some((mut watch, is_last)) = self.watches.remove(key) else {
            return;
        };
        self.shared.ledger.remove(&mut watch.subscription);
        if is_last {
            let watched = self.shared.directory.watched();
            watched.unwatch(watch.subscription.presentity, self.shard);
        }
    }

    /// Makes sure that the wheel wakes it in time.
    fn settle_watch(&mut self, key: WatchKey) {
        let now = self.now;
        let Some(watch) = self.watches.get_mut(key) else {
            return;
        };
        let left_ms = watch.subscription.expires_unix_ms - now.unix_ms;
        let expires = now.ms.saturating_add(left_ms.max(0).unsigned_abs());
        for deadline in self.watches.arm(key, expires).into_iter().flatten() {
            self.wheel.insert(deadline, Owner::Watch(key));
        }
    }
}
