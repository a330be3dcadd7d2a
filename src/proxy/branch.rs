//! A new branch of an INVITE: the copy that is sent, and what is kept of it (RFC 3261 §16.6).

use std::sync::Arc;

use super::carry_out::Source;
use super::forward::{Copy, Origin, edit};
use super::hop::Hops;
use super::invite::{Branch, Cancel};
use super::note::Final;
use super::privacy::Passage;
use super::route::Routed;
use super::{InviteKey, Proxy, breadth};
use crate::presence::Handle;
use crate::transaction::{BranchId, BranchKind, InviteClient};

/// One branch to be started.
pub(super) struct Attempt<'a> {
    /// The new Request-URI, where it changes.
    pub uri: Option<&'a [u8]>,
    /// Where it can be reached: the first is tried first. Never empty.
    pub hops: Hops,
    /// Whose phones it reaches.
    pub callee: Option<Handle>,
    pub ring_for_s: Option<u16>,
    /// Diversion and History-Info stand in the scratch buffers.
    pub is_divert: bool,
}

impl Proxy {
    /// Sends a copy of the request on a new branch (§16.6). The context knows the branch before it
    /// is sent.
    pub(super) fn start_branch(
        &mut self,
        key: InviteKey,
        source: &Source<'_>,
        routed: &Routed,
        attempt: &Attempt<'_>,
    ) {
        let policy = Arc::clone(&self.policy);
        if !attempt.is_divert {
            self.scratch.lines.clear();
            self.scratch.tail.clear();
            self.send_first_trying(key, source);
        }
        self.offer_session_timer(key, source, &policy);
        let Some(invite) = self.invites.get(key) else {
            return;
        };
        let leg = invite.branches.len();
        let fits = leg < policy.limits.branches.min(usize::from(u8::MAX));
        let hop = attempt.hops.first().filter(|_| fits);
        let listener = |number: u8| policy.listeners.get(usize::from(number));
        let Some((hop, sender)) = hop.and_then(|hop| Some((hop, listener(hop.listener)?))) else {
            self.answer(key, source, &Final::new(480));
            return;
        };
        let active = invite.branches.iter().filter(|b| b.client.is_pending());
        let mut shares = breadth::split(invite.breadth, active.map(|b| b.breadth), 1);
        let Some(breadth) = shares.next() else {
            self.answer(key, source, &Final::new(440));
            return;
        };
        let id = self.branch_id(key, leg as u8);
        let record_route = listener(invite.upstream.listener)
            .filter(|_| matches!(source.origin, Origin::Received(_)))
            .map(|towards| (self.keys.token(invite.call_key), towards));
        let copy = Copy {
            origin: source.origin,
            uri: attempt.uri,
            routed,
            branch: id,
            listener: sender,
            record_route,
            lines: &self.scratch.lines,
            tail: &self.scratch.tail,
            breadth,
            passage: Passage::of_request(&policy, source.origin, hop),
        };
        let edits = &mut self.scratch.edits;
        if edit(&source.message, &copy, edits).is_err() {
            return;
        }
        let sent: Box<[u8]> = self
            .out
            .send(hop, |out| edits.apply(source.message.bytes(), out))
            .into();
        let base = policy.base(hop.listener);
        let branch = Branch {
            client: InviteClient::start(self.now.ms, &base),
            hop: hop.clone(),
            check: id.check,
            breadth,
            sent,
            callee: attempt.callee,
            ringing: None,
            ring_for: attempt.ring_for_s.map(|seconds| u64::from(seconds) * 1_000),
            ring_deadline: None,
            timer_c: self.now.ms + policy.timers.timer_c,
            cancel: Cancel::No,
            given_up: None,
        };
        if let Some(invite) = self.invites.get_mut(key) {
            invite.branches.push(branch);
        }
        self.settle_invite(key);
    }

    /// Our branch parameter: where the transaction lies, and the loop check of the request.
    fn branch_id(&self, key: InviteKey, leg: u8) -> BranchId {
        BranchId {
            kind: BranchKind::Invite,
            context: ffi(key),
            leg,
            check: self.invites.get(key).map_or(0, |invite| invite.check),
        }
    }
}

/// A slotmap key as a number.
pub(super) fn ffi(key: impl slotmap::Key) -> u64 {
    key.data().as_ffi()
}
