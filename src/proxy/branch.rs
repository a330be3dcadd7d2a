//! A new branch of an INVITE: the copy that is sent, and what is kept of it (RFC 3261 §16.6).

use std::sync::Arc;

use super::carry_out::Source;
use super::forward::{Copy, RecordRoute, edit};
use super::hop::{Flow, Hop};
use super::invite::{Branch, Cancel, Retry};
use super::note::Final;
use super::policy::{Listener, Policy};
use super::route::Routed;
use super::target::{Target, Targets, fitting, take_group};
use super::{InviteKey, Proxy, breadth};
use crate::presence::Handle;
use crate::transaction::{BranchId, BranchKind, InviteClient};

/// What the branches that are tried at the same time have in common.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    /// The new Request-URI of a diversion.
    pub uri: Option<&'a [u8]>,
    /// Whose phones they reach.
    pub callee: Option<Handle>,
    pub ring_for_s: Option<u16>,
    /// Diversion and History-Info stand in the scratch buffers.
    pub is_divert: bool,
}

/// A copy that was just sent.
struct Made<'a> {
    hop: Hop,
    /// The hops that are left of the target.
    rest: &'a [Hop],
    check: u32,
    sent: Box<[u8]>,
    own_bytes: usize,
}

/// More than we add to a request: Via, two Record-Routes, Session-Expires, Max-Forwards.
const ADDED_BYTES: usize = 360;

impl Proxy {
    /// Tries targets: the most preferred at once, all that are equally so in parallel; the others
    /// wait until these have failed (RFC 3261 §16.6).
    pub(super) fn try_targets(
        &mut self,
        key: InviteKey,
        source: &Source<'_>,
        routed: &Routed,
        attempt: &Attempt<'_>,
        mut targets: Targets,
    ) {
        let policy = Arc::clone(&self.policy);
        if !attempt.is_divert {
            self.scratch.lines.clear();
            self.scratch.tail.clear();
            self.send_first_trying(key, source);
        }
        self.offer_session_timer(key, source, &policy);
        let group = self.take_breadth(key, &mut targets);
        let has_more = !targets.is_empty();
        if let Some(story) = self.story_of(key) {
            story.waiting = match has_more {
                true => targets.into_vec(),
                false => Vec::new(),
            };
            story.failure = None;
        }
        let default = has_more.then_some(policy.ring_for_s);
        let attempt = Attempt {
            ring_for_s: attempt.ring_for_s.or(default),
            ..*attempt
        };
        let mut is_any_sent = false;
        for target in group {
            is_any_sent |= self.start_branch(key, source, routed, &attempt, &target);
        }
        if !is_any_sent
            && !self
                .invites
                .get(key)
                .is_some_and(|i| i.has_pending_branch())
        {
            self.answer(key, source, &Final::new(480));
        }
        self.settle_invite(key);
    }

    /// Takes the targets of the highest q, as many as the request may have branches, and shares its
    /// breadth out among them (RFC 5393 §5.3.3).
    fn take_breadth(&self, key: InviteKey, targets: &mut Targets) -> Targets {
        let Some(invite) = self.invites.get(key) else {
            return Targets::new();
        };
        let is_active = |branch: &&Branch| branch.client.is_pending() && !branch.is_superseded;
        let active = invite.branches.iter().filter(is_active);
        let active = active.map(|branch| branch.breadth);
        let mut group = take_group(targets);
        let shares = breadth::split(invite.breadth, active, group.len());
        let later = group.drain(shares.len().min(group.len())..);
        targets.insert_many(0, later);
        for (target, share) in group.iter_mut().zip(shares) {
            target.breadth = share;
        }
        group
    }

    /// Sends a copy of the request on a new branch (§16.6); whether it could be. The context knows
    /// the branch before it is sent.
    pub(super) fn start_branch(
        &mut self,
        key: InviteKey,
        source: &Source<'_>,
        routed: &Routed,
        attempt: &Attempt<'_>,
        target: &Target,
    ) -> bool {
        let policy = Arc::clone(&self.policy);
        let Some(invite) = self.invites.get(key) else {
            return false;
        };
        let leg = invite.branches.len();
        let fits = leg < policy.limits.branches.min(usize::from(u8::MAX));
        let added = self.scratch.lines.len() + self.scratch.tail.len() + ADDED_BYTES;
        let message = &source.message;
        let length = message.bytes().len() + added;
        let longer = fitting(&policy, target, length);
        let hops = longer.as_ref().unwrap_or(&target.hops);
        let hop = hops.first().filter(|_| fits);
        let listener = |number: u8| policy.listeners.get(usize::from(number));
        let Some((hop, sender)) = hop.and_then(|hop| Some((hop, listener(hop.listener)?))) else {
            return false;
        };
        let upstream = listener(invite.upstream.listener);
        let id = self.branch_id(key, leg as u8);
        let adds = routed.asserted.is_some() || !self.scratch.tail.is_empty();
        let concern = (message, adds);
        let copy = Copy {
            origin: source.origin,
            uri: target.uri.as_deref().or(attempt.uri),
            routed,
            branch: id,
            offers_control: policy.overload.control,
            listener: sender,
            has_alias: has_alias(sender, hop),
            record_route: upstream.map(|upstream| {
                let flows = (invite.flow, target.flow);
                RecordRoute::of(&self.keys, (invite.call_key, message), upstream, flows)
            }),
            path: &target.path,
            lines: &self.scratch.lines,
            tail: &self.scratch.tail,
            breadth: target.breadth,
            policy: &policy,
            passage: self.passage(&policy, concern, (source.origin, &invite.upstream), hop),
        };
        let edits = &mut self.scratch.edits;
        let Ok(own_bytes) = edit(message, &copy, edits) else {
            return false;
        };
        let sent = self.out.send(hop, |out| edits.apply(message.bytes(), out));
        let sent: Box<[u8]> = sent.into();
        let made = Made {
            hop: hop.clone(),
            rest: hops.get(1..).unwrap_or_default(),
            check: id.check,
            sent,
            own_bytes,
        };
        let branch = self.branch(&policy, source, attempt, target, made);
        if let Some(invite) = self.invites.get_mut(key) {
            invite.branches.push(branch);
        }
        true
    }

    /// What is kept of a branch that was just sent.
    fn branch(
        &self,
        policy: &Policy,
        source: &Source<'_>,
        attempt: &Attempt<'_>,
        target: &Target,
        made: Made<'_>,
    ) -> Branch {
        let hop = made.hop;
        let retry = (!made.rest.is_empty()).then(|| Box::new(retry(target, made.rest)));
        Branch {
            client: InviteClient::start(self.now.ms, &policy.base(hop.listener)),
            hop,
            check: made.check,
            breadth: target.breadth,
            sent: made.sent,
            own_bytes: made.own_bytes as u32,
            dialled: target.uri.is_some().then(|| source.message.uri().into()),
            failover_at: retry.as_ref().map(|_| self.now.ms + policy.timers.failover),
            retry,
            is_superseded: false,
            callee: attempt.callee,
            ringing: None,
            ring_for: attempt.ring_for_s.map(|seconds| u64::from(seconds) * 1_000),
            ring_deadline: None,
            timer_c: self.now.ms + policy.timers.timer_c,
            cancel: Cancel::No,
            given_up: None,
        }
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

/// Whether our Via offers the connection for requests of the other side (RFC 5923 §5): one that we
/// open over TLS or TCP.
pub(super) fn has_alias(listener: &Listener, hop: &Hop) -> bool {
    let transport = listener.transport;
    hop.flow == Flow::Any && transport.is_reliable() && !transport.is_websocket()
}

/// The target once its first hop has failed. A flow has no other hop.
fn retry(target: &Target, rest: &[Hop]) -> Retry {
    Retry {
        target: Target {
            uri: target.uri.clone(),
            path: target.path.clone(),
            hops: rest.iter().cloned().collect(),
            flow: None,
            q: target.q,
            breadth: target.breadth,
            is_fitted: true,
        },
    }
}

/// A slotmap key as a number.
pub(super) fn ffi(key: impl slotmap::Key) -> u64 {
    key.data().as_ffi()
}
