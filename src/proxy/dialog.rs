//! The calls that INVITEs make: opened by the 2xx, refreshed by session timers (RFC 4028), closed
//! by BYE, by a failed dialog or by time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::facts::CallEvent;
use super::{Arrival, Counters, InviteKey, Owner, Proxy};
use crate::call::{CallId, CallRecord, Entry, EntryKind, Parties};
use crate::message::{Message, Name, NameAddr};
use crate::presence::{Handle, Profile};

/// How many dialogs one INVITE opens at most, however many phones a fork reaches.
const FORK_LIMIT: usize = 64;

/// A 2xx to an INVITE.
pub(super) struct Answer<'a, 'm> {
    pub key: InviteKey,
    /// Whose phones answered.
    pub callee: Option<Handle>,
    pub message: &'a Message<'m>,
    /// Whether the caller had no final response before.
    pub is_first: bool,
}

/// Why a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Bye,
    Failed,
    Expired,
}

impl Proxy {
    /// Opens the call of a 2xx, or refreshes it for a re-INVITE. Returns header lines to be added
    /// to the 2xx: the session timer the callee left to us (RFC 4028 §8.2).
    pub(super) fn on_answer(&mut self, arrival: &Arrival, answer: &Answer<'_, '_>) -> Vec<u8> {
        let offered = self
            .story_of(answer.key)
            .map(|story| story.offered_session_s);
        let agreed = session_expires(answer.message);
        let Some(offered) = offered else {
            self.on_refreshed(arrival, answer.message);
            return Vec::new();
        };
        let mut lines = Vec::with_capacity(64);
        let session_s = match (agreed, offered) {
            (Some(seconds), _) => seconds,
            (None, 0) => 0,
            (None, seconds) => {
                lines.extend_from_slice(b"Session-Expires: ");
                crate::message::forward::write_number(&mut lines, seconds.into());
                lines.extend_from_slice(b";refresher=uac\r\nRequire: timer\r\n");
                seconds
            }
        };
        self.open_call(arrival, answer, session_s);
        if answer.is_first {
            self.note_end(answer.key, answer.message, 200, None);
        }
        lines
    }

    fn open_call(&mut self, arrival: &Arrival, answer: &Answer<'_, '_>, session_s: u32) {
        let (Ok(from), Ok(to)) = (answer.message.from_(), answer.message.to()) else {
            return;
        };
        let directory = Arc::clone(&self.shared.directory);
        let callee_tag = self.keys.tag(to.tag.unwrap_or_default());
        let Some(invite) = self.invites.get_mut(answer.key) else {
            return;
        };
        if invite.answered.contains(&callee_tag) || invite.answered.len() >= FORK_LIMIT {
            return;
        }
        let Some(story) = invite.story.as_deref() else {
            return;
        };
        invite.answered.push(callee_tag);
        let name = |handle: Option<Handle>| handle.and_then(|handle| directory.profile(handle));
        let parties = Parties {
            caller: story.caller.subscriber,
            callee: answer.callee,
        };
        let (caller, callee) = (name(parties.caller), name(parties.callee));
        let first = story.callee.filter(|first| Some(*first) != answer.callee);
        let first_called = name(first);
        let reasons = story.reason_labels();
        let limit_ms = u64::from(self.policy.timers.call_limit_s) * 1_000;
        let lasts_ms = lasts_ms(session_s, limit_ms);
        let ring_ms = story
            .first_ring_ms
            .map_or(0, |at| self.now.ms.saturating_sub(at));
        let record = CallRecord {
            key: arrival.call_key,
            caller_tag: self.keys.tag(from.tag.unwrap_or_default()),
            callee_tag,
            invited_unix_ms: story.invited_unix_ms,
            answered_unix_ms: self.now.unix_ms,
            ring_ms: u32::try_from(ring_ms).unwrap_or(u32::MAX),
            ends_unix_ms: self.now.unix_ms.saturating_add_unsigned(lasts_ms),
            session_expires_s: session_s,
            call_id: answer.message.call_id().unwrap_or_default(),
            from: from.uri,
            to: to.uri,
            caller: id_of(&caller),
            callee: id_of(&callee),
            first_called: id_of(&first_called),
            reasons: &reasons,
        };
        let deadline = self.now.ms + lasts_ms;
        if let Some(id) = self.calls.open(&record, deadline, parties) {
            self.wheel.insert(deadline, Owner::Call(id));
            self.count(|c| &c.calls_answered);
            if self.is_watched() {
                let mut bytes = Vec::with_capacity(512);
                record.encode(&mut bytes);
                self.tell(CallEvent {
                    is_open: true,
                    record: bytes.into_boxed_slice(),
                });
            }
        }
    }

    /// A 2xx to a re-INVITE or UPDATE moves the session's end (RFC 4028 §10); one without
    /// Session-Expires turns the timer off (§7.2), and only the hard limit is left.
    pub(super) fn on_refreshed(&mut self, arrival: &Arrival, message: &Message<'_>) {
        let session_s = session_expires(message).unwrap_or(0);
        let Some(id) = self.call_of(arrival, message) else {
            return;
        };
        let limit_s = u64::from(self.policy.timers.call_limit_s);
        let Some(answered) = self.calls.record(id).map(|record| record.answered_unix_ms) else {
            return;
        };
        let open_for = self
            .now
            .unix_ms
            .saturating_sub(answered)
            .max(0)
            .unsigned_abs();
        let left_ms = (limit_s * 1_000).saturating_sub(open_for);
        let lasts_ms = lasts_ms(session_s, left_ms);
        let ends = self.now.unix_ms.saturating_add_unsigned(lasts_ms);
        self.calls
            .refresh(id, self.now.ms + lasts_ms, ends, session_s);
        self.wheel.insert(self.now.ms + lasts_ms, Owner::Call(id));
    }

    /// A BYE came: the dialog is over whatever the other side answers (RFC 3261 §15.1.1), and its
    /// 2xx may be overtaken by it. `is_routed`: it carries our token, so such a dialog there was.
    pub(super) fn on_bye(&mut self, arrival: &Arrival, message: &Message<'_>, is_routed: bool) {
        self.end_dialog(arrival, message, End::Bye, is_routed);
    }

    /// 481 or 408 to a request within the dialog: there is no dialog any more (§12.2.1.2).
    pub(super) fn on_dialog_refused(&mut self, arrival: &Arrival, message: &Message<'_>) {
        self.end_dialog(arrival, message, End::Failed, true);
    }

    fn end_dialog(&mut self, arrival: &Arrival, message: &Message<'_>, end: End, is_known: bool) {
        let Some([from, to]) = self.tags_of(message) else {
            return;
        };
        let call = self.calls.find(arrival.call_key, from, to);
        if is_known || call.is_some() {
            self.calls
                .remember_end(arrival.call_key, [from, to], self.now.ms);
        }
        if let Some(id) = call {
            self.close_call(id, end);
        }
    }

    fn call_of(&self, arrival: &Arrival, message: &Message<'_>) -> Option<CallId> {
        let [from, to] = self.tags_of(message)?;
        self.calls.find(arrival.call_key, from, to)
    }

    fn tags_of(&self, message: &Message<'_>) -> Option<[u64; 2]> {
        let tag = |address: NameAddr<'_>| self.keys.tag(address.tag.unwrap_or_default());
        Some([tag(message.from_().ok()?), tag(message.to().ok()?)])
    }

    /// The wheel woke a call: it ends if its end has really come.
    pub(super) fn wake_call(&mut self, id: CallId) {
        if self
            .calls
            .deadline(id)
            .is_some_and(|deadline| deadline <= self.now.ms)
        {
            self.close_call(id, End::Expired);
        }
    }

    fn close_call(&mut self, id: CallId, end: End) {
        let mut bytes = std::mem::take(&mut self.scratch.closed);
        bytes.clear();
        if self.calls.close(id, &mut bytes) {
            self.note_close(&bytes, end);
        }
        self.scratch.closed = bytes;
    }

    /// The record of a call that has ended goes to the journal and to whoever watches.
    fn note_close(&mut self, bytes: &[u8], end: End) {
        self.count(|c: &Counters| match end {
            End::Bye => &c.calls_ended_bye,
            End::Failed => &c.calls_ended_failed,
            End::Expired => &c.calls_ended_expired,
        });
        if let Some(record) = CallRecord::decode(bytes).filter(|r| !r.callee.is_empty()) {
            let talk_ms = self
                .now
                .unix_ms
                .saturating_sub(record.answered_unix_ms)
                .max(0);
            let entry = Entry {
                kind: answered_as(record.reasons),
                at_unix_ms: record.invited_unix_ms,
                ring_ms: record.ring_ms,
                talk_s: u32::try_from(talk_ms / 1_000).unwrap_or(u32::MAX),
                status: 200,
                from: record.from,
                target: b"",
                call_id: record.call_id,
                reasons: record.reasons,
            };
            self.write_journal(record.callee, &entry);
        }
        if self.is_watched() {
            self.tell(CallEvent {
                is_open: false,
                record: bytes.into(),
            });
        }
    }

    pub(super) fn write_journal(&mut self, subscriber: &[u8], entry: &Entry<'_>) {
        self.scratch.record.clear();
        entry.encode(&mut self.scratch.record);
        self.journal
            .append(self.keys.subscriber(subscriber), &self.scratch.record);
    }

    fn is_watched(&self) -> bool {
        self.shared.watchers.load(Ordering::Relaxed) > 0
    }

    fn tell(&self, event: CallEvent) {
        if let Some(view) = self.shared.shards.get(self.shard) {
            view.events.force_push(event);
            self.shared.event_queued.notify_one();
        }
    }
}

/// The id of a party, as the record has it.
fn id_of(profile: &Option<Arc<Profile>>) -> &[u8] {
    profile
        .as_ref()
        .map_or(b"", |profile| profile.id().as_bytes())
}

/// The session interval that a message agrees on, seconds (RFC 4028 §4).
fn session_expires(message: &Message<'_>) -> Option<u32> {
    let value = message.header(Name::SessionExpires)?.value;
    let digits = value
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let digits = std::str::from_utf8(value.get(..digits)?).ok()?;
    digits.parse().ok().filter(|seconds| *seconds > 0)
}

/// How long a call may go on from now, milliseconds: its session interval, and a little for the
/// BYE to arrive, but never beyond the hard limit.
fn lasts_ms(session_s: u32, limit_ms: u64) -> u64 {
    const GRACE_MS: u64 = 5_000;
    match session_s {
        0 => limit_ms,
        seconds => (u64::from(seconds) * 1_000 + GRACE_MS).min(limit_ms),
    }
}

/// What an answered call is in the journal: the reasons say whether an exception let it through.
fn answered_as(reasons: &[u8]) -> EntryKind {
    let through = [b"vip".as_slice(), b"exception_connect"];
    let mut labels = reasons.split(|byte| *byte == b',');
    if labels.any(|label| through.contains(&label)) {
        EntryKind::RangThrough
    } else {
        EntryKind::Answered
    }
}
