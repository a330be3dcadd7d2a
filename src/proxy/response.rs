//! A response comes in (RFC 3261 §16.7): find its context, and for an INVITE go through the steps.

use std::sync::Arc;

use super::best::{Best, upstream_edits, upstream_status};
use super::cancel::{CancelReason, write_ack};
use super::carry_out::Carried;
use super::dialog::Answer;
use super::forward::complete_length;
use super::handle::send_stored;
use super::health::{Heard, heard};
use super::note::Final;
use super::privacy::{self, Passage};
use super::route::Routed;
use super::{Arrival, InviteKey, Proxy, RelayKey};
use crate::message::{Index, Message, Method, check};
use crate::presence::{Handle, MarkKind};
use crate::routing::Failure;
use crate::transaction::{BranchId, BranchKind, Reaction};

impl Proxy {
    /// A response that was framed. One that is broken or answers nothing of ours is dropped
    /// (RFC 3261 §16.7, RFC 6026 §7.3).
    pub fn handle_response(&mut self, arrival: &Arrival, message: Message<'_>) {
        self.count(|c| &c.responses_received);
        if let Err(fault) = check(&message) {
            self.count_fault(fault);
            return;
        }
        self.hears_control |= message.names_control();
        let (Some(status), Ok(via), Ok(cseq)) =
            (message.status(), message.top_via(), message.cseq())
        else {
            self.count(|c| &c.stray_responses);
            return;
        };
        let branch =
            BranchId::read(via.branch).filter(|_| self.policy.is_our_address(via.host, via.port));
        let is_ours = match branch {
            Some(branch) if branch.kind == BranchKind::Invite => {
                let key = InviteKey::from(slotmap::KeyData::from_ffi(branch.context));
                self.invites.unpack_for(key, &branch);
                self.heed_overload(arrival, &via, &branch);
                match cseq.method {
                    Method::Cancel if self.knows_branch(key, &branch) => {
                        self.on_cancel_response(key, branch.leg, status);
                        true
                    }
                    Method::Invite if self.knows_branch(key, &branch) && goes_on(&message) => {
                        self.on_invite_response(arrival, key, branch.leg, &message);
                        true
                    }
                    _ => false,
                }
            }
            Some(branch) if branch.kind == BranchKind::NonInvite && goes_on(&message) => {
                self.heed_overload(arrival, &via, &branch);
                let key = RelayKey::from(slotmap::KeyData::from_ffi(branch.context));
                self.on_relay_response(arrival, key, &branch, &message)
            }
            Some(branch) if branch.kind == BranchKind::Probe => {
                self.on_probe_response(&branch, status, cseq.method)
            }
            Some(branch) if branch.kind == BranchKind::Notify => {
                self.on_notify_response(&branch, status, cseq.method)
            }
            _ => self.on_code_response(arrival, &message),
        };
        if !is_ours {
            self.count(|c| &c.stray_responses);
        }
    }

    fn knows_branch(&self, key: InviteKey, id: &BranchId) -> bool {
        self.invites
            .get(key)
            .and_then(|invite| invite.branches.get(usize::from(id.leg)))
            .is_some_and(|branch| branch.check == id.check)
    }

    /// The client transaction says what a response to an INVITE means (§17.1.1.2).
    fn on_invite_response(
        &mut self,
        arrival: &Arrival,
        key: InviteKey,
        leg: u8,
        message: &Message<'_>,
    ) {
        let Some(status) = message.status() else {
            return;
        };
        let Some(branch) = self
            .invites
            .get_mut(key)
            .and_then(|invite| invite.branch(leg))
        else {
            return;
        };
        let around = (&*self.shared, &*self.policy);
        heard(around, &branch.hop, Heard::Response(message), self.now);
        let base = self.policy.base(branch.hop.listener);
        let reaction = branch.client.on_response(status, self.now.ms, &base);
        if matches!(reaction, Reaction::Ack | Reaction::PassAndAck) {
            self.acknowledge(key, leg, message);
        }
        if matches!(reaction, Reaction::Pass | Reaction::PassAndAck) {
            match status {
                100..=199 => self.on_provisional(key, leg, message),
                200..=299 => self.on_success(arrival, key, leg, message),
                _ => {
                    self.on_refused(arrival, key, message);
                    self.on_failure(key, leg, Failed::Answered(message));
                }
            }
        }
        self.settle_invite(key);
    }

    /// A re-INVITE that is answered 481 or 408 found no dialog (§12.2.1.2).
    fn on_refused(&mut self, arrival: &Arrival, key: InviteKey, message: &Message<'_>) {
        let is_new = self.story_of(key).is_some();
        if !is_new && matches!(message.status(), Some(408 | 481)) {
            self.on_dialog_refused(arrival, message);
        }
    }

    /// The ACK of a 300–699 is ours to send (§17.1.1.3). What was sent is kept for that until the
    /// transaction ends.
    fn acknowledge(&mut self, key: InviteKey, leg: u8, message: &Message<'_>) {
        let index = &mut self.scratch.stored;
        let Some(branch) = self
            .invites
            .get_mut(key)
            .and_then(|invite| invite.branch(leg))
        else {
            return;
        };
        if let Ok(sent) = index.parse(&branch.sent) {
            self.out
                .send(&branch.hop, |out| write_ack(&sent, message, out));
        }
    }

    /// Steps 2 and 5 of §16.7 for a 1xx: timer C starts again, ringing begins, it is passed on.
    fn on_provisional(&mut self, key: InviteKey, leg: u8, message: &Message<'_>) {
        let status = message.status().unwrap_or(100);
        let timer_c = self.policy.timers.timer_c;
        let directory = Arc::clone(&self.shared.directory);
        let Some(invite) = self.invites.get_mut(key) else {
            return;
        };
        let is_open = invite.server.is_proceeding();
        let Some(branch) = invite.branch(leg) else {
            return;
        };
        let is_wanted = is_open && !branch.is_superseded;
        if status > 100 {
            branch.timer_c = self.now.ms + timer_c;
        }
        let begins_ringing = (180..=189).contains(&status) && branch.ring_deadline.is_none();
        if begins_ringing && branch.ringing.is_none() {
            branch.ringing = branch
                .callee
                .map(|callee| directory.mark(callee, MarkKind::Ringing));
            branch.ring_deadline = branch.ring_for.map(|ring_for| self.now.ms + ring_for);
        }
        let now_ms = self.now.ms;
        if begins_ringing && let Some(story) = self.story_of(key) {
            story.first_ring_ms.get_or_insert(now_ms);
        }
        self.send_wanted_cancel(key, leg);
        if status > 100 && is_wanted {
            self.forward_response(key, message, b"");
        }
    }

    /// Steps 5 and 10 for a 2xx: it is passed on at once, the call is open, the others are
    /// cancelled.
    fn on_success(&mut self, arrival: &Arrival, key: InviteKey, leg: u8, message: &Message<'_>) {
        let Some(invite) = self.invites.get_mut(key) else {
            return;
        };
        if !invite.server.takes_2xx() {
            return;
        }
        let base = self.policy.base(invite.upstream.listener);
        let is_first = invite.server.is_proceeding();
        invite.server.on_final(200, self.now.ms, &base);
        invite.response = Box::default();
        invite.best = None;
        let Some(branch) = invite.branch(leg) else {
            return;
        };
        branch.sent = Box::default();
        branch.ringing = None;
        let answer = Answer {
            key,
            callee: branch.callee,
            message,
            is_first,
        };
        let lines = self.on_answer(arrival, &answer);
        self.forward_response(key, message, &lines);
        if is_first {
            self.cancel_branches(key, CancelReason::AnsweredElsewhere);
        }
    }

    /// Steps 4 to 9 for a 300–699, or for a branch that failed without one: the next hop of its
    /// target, the next targets, what the callee wants then, else the best response.
    pub(super) fn on_failure(&mut self, key: InviteKey, leg: u8, failed: Failed<'_, '_>) {
        let Some(invite) = self.invites.get_mut(key) else {
            return;
        };
        let is_open = invite.server.is_proceeding();
        let is_cancelled = invite.is_cancelled;
        let Some(branch) = invite.branch(leg) else {
            return;
        };
        let has_rung = branch.ringing.take().is_some() || branch.ring_deadline.is_some();
        let (callee, given_up) = (branch.callee, branch.given_up);
        branch.ring_deadline = None;
        if !is_open || branch.is_superseded {
            return;
        }
        if self.fail_over(key, leg, &failed) {
            return;
        }
        let failure = given_up.or_else(|| failed.failure(has_rung));
        self.keep_best(key, failed, given_up.is_some());
        self.keep_failure(key, failure);
        let status = failed.status();
        if status >= 600 {
            self.give_up_others(key, status);
        }
        let Some(invite) = self.invites.get_mut(key) else {
            return;
        };
        if invite.has_pending_branch() {
            return;
        }
        if is_cancelled {
            self.pass_best(key, leg, status);
            return;
        }
        if self.try_waiting(key, leg).is_some() {
            return;
        }
        let failure = self.story_of(key).and_then(|story| story.failure.take());
        let again = callee
            .zip(failure)
            .and_then(|(callee, failure)| self.try_again(key, leg, callee, failure));
        if again.is_none() {
            self.pass_best(key, leg, status);
        }
    }

    /// A 6xx ends the search: nothing else is tried, and what still rings is cancelled.
    fn give_up_others(&mut self, key: InviteKey, status: u16) {
        if let Some(story) = self.story_of(key) {
            story.waiting.clear();
        }
        self.cancel_branches(key, CancelReason::Refused(status));
    }

    /// Remembers how a branch failed: of several, what says most about the callee counts.
    fn keep_failure(&mut self, key: InviteKey, failure: Option<Failure>) {
        let weight = |failure: Failure| match failure {
            Failure::Declined => 4,
            Failure::NoAnswer => 3,
            Failure::Busy => 2,
            Failure::Unreachable => 1,
        };
        if let (Some(story), Some(failure)) = (self.story_of(key), failure) {
            let kept = story
                .failure
                .filter(|kept| weight(*kept) >= weight(failure));
            story.failure = kept.or(Some(failure));
        }
    }

    /// Asks what the callee of a failed branch wants, and does it.
    fn try_again(
        &mut self,
        key: InviteKey,
        leg: u8,
        callee: Handle,
        failure: Failure,
    ) -> Option<()> {
        let decision = self.decide_again(key, callee, failure)?;
        let carried = self.with_received(key, leg, |proxy, source| {
            proxy.carry_out(key, decision, source, &Routed::default())
        })?;
        if carried == Carried::Waits {
            self.park_call(key, leg);
        }
        Some(())
    }

    /// The name that a call's next target needs was resolved, or will not be.
    pub(super) fn resume_call(&mut self, key: InviteKey) {
        let asked = self
            .story_of(key)
            .and_then(|story| story.waits_after.take().zip(story.asked));
        let Some((leg, (callee, failure))) = asked else {
            return;
        };
        if self.try_again(key, leg, callee, failure).is_none() {
            self.pass_best(key, leg, 480);
        }
        self.settle_invite(key);
    }

    /// Step 6: keeps the response if it is better than what there is. A 487 that our own CANCEL
    /// brought about says nothing about the call.
    fn keep_best(&mut self, key: InviteKey, failed: Failed<'_, '_>, is_given_up: bool) {
        let Failed::Answered(message) = failed else {
            return;
        };
        let Some(invite) = self.invites.get_mut(key) else {
            return;
        };
        if !(is_given_up && failed.status() == 487) {
            Best::consider(&mut invite.best, message);
        }
    }

    /// Step 9 for the best response; where no branch had any to give, one of ours that says how
    /// the last of them failed.
    pub(super) fn pass_best(&mut self, key: InviteKey, leg: u8, failed_status: u16) {
        let Some(invite) = self.invites.get_mut(key) else {
            return;
        };
        let is_cancelled = invite.is_cancelled;
        let Some(best) = invite
            .best
            .take()
            .filter(|best| !is_cancelled || best.status == 487)
        else {
            let has_rung = invite
                .story
                .as_ref()
                .is_some_and(|s| s.first_ring_ms.is_some());
            let status = match (is_cancelled, has_rung) {
                (true, _) => 487,
                (false, true) => 480,
                (false, false) if failed_status == 503 => upstream_status(503),
                (false, false) => 408,
            };
            self.with_received(key, leg, |proxy, source| {
                proxy.answer(key, source, &Final::new(status));
            });
            return;
        };
        let mut index = Index::new();
        if let Ok(message) = index.parse(&best.bytes) {
            self.forward_final(key, &best, &message);
        }
    }

    /// Passes a 300–699 upstream and keeps it for retransmission.
    fn forward_final(&mut self, key: InviteKey, best: &Best, message: &Message<'_>) {
        let status = upstream_status(best.status);
        if best.edit(message, &mut self.scratch.edits).is_some() {
            self.send_edited(key, message);
        }
        if let Some(invite) = self.invites.get_mut(key) {
            let base = self.policy.base(invite.upstream.listener);
            invite.server.on_final(status, self.now.ms, &base);
        }
        self.note_end(key, message, status, None);
    }

    /// Steps 3, 8 and 9 for a 1xx or 2xx: our Via goes, the rest stays as it is, and it is sent to
    /// where the request came from.
    pub(super) fn forward_response(&mut self, key: InviteKey, message: &Message<'_>, lines: &[u8]) {
        let edits = &mut self.scratch.edits;
        if upstream_edits(message, edits).is_none() {
            return;
        }
        if !lines.is_empty() {
            edits.insert(message.headers_end(), |out| out.extend_from_slice(lines));
        }
        self.send_edited(key, message);
    }

    fn send_edited(&mut self, key: InviteKey, message: &Message<'_>) {
        let status = message.status().unwrap_or(500);
        let edits = &mut self.scratch.edits;
        let Some(invite) = self.invites.get_mut(key) else {
            return;
        };
        if privacy::concerns(message) {
            let hops = invite.branches.iter().map(|branch| &branch.hop);
            let way = Passage::of_response(&self.policy, &self.shared, hops, &invite.upstream);
            way.edit(message, edits);
        }
        let transport = self.policy.transport(invite.upstream.listener);
        complete_length(message, transport, edits);
        let sent = self
            .out
            .send(&invite.upstream, |out| edits.apply(message.bytes(), out));
        if !(200..300).contains(&status) {
            invite.response = sent.into();
        }
        self.count_response(upstream_status(status));
    }

    pub(super) fn count_response(&self, status: u16) {
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(counter) = self.counters().and_then(|c| c.responses.get(class)) {
            counter.inc();
        }
    }

    /// Sends the kept final response once more (timer G).
    pub(super) fn repeat_final(&mut self, key: InviteKey) {
        let Some(invite) = self.invites.get(key) else {
            return;
        };
        if !invite.response.is_empty() {
            send_stored(&invite.upstream, &invite.response, &mut self.out);
            self.count(|c| &c.retransmissions_sent);
        }
    }
}

/// Whether there is a Via below ours: without one the response would be meant for us, though what
/// it answers was somebody else's (§16.7(3)).
fn goes_on(message: &Message<'_>) -> bool {
    message.has_lower_via()
}

/// How a branch failed.
#[derive(Clone, Copy)]
pub(super) enum Failed<'a, 'm> {
    /// With a 300–699.
    Answered(&'a Message<'m>),
    /// Without any answer: timer B, timer C, or 64*T1 after a CANCEL. The same as a 408.
    TimedOut,
    /// The transport refused it. The same as a 503 (§16.9).
    Transport,
}

impl Failed<'_, '_> {
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Answered(message) => message.status().unwrap_or(500),
            Self::TimedOut => 408,
            Self::Transport => 503,
        }
    }

    /// Which of the callee's rules a failure calls for; none for answers that are about the
    /// request (redirects, challenges, unsupported media).
    fn failure(&self, has_rung: bool) -> Option<Failure> {
        match self.status() {
            486 | 600 => Some(Failure::Busy),
            603 => Some(Failure::Declined),
            408 if has_rung => Some(Failure::NoAnswer),
            404 | 408 | 410 | 480 | 500..=599 => Some(Failure::Unreachable),
            _ => None,
        }
    }
}
