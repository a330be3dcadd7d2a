//! Timers fire: the wheel wakes a context, the context says what is due (RFC 3261 §16.8, §17).

use super::accepted::Packed;
use super::cancel::CancelReason;
use super::health::{Heard, heard};
use super::hop::Unreachable;
use super::invite::{Cancel, InviteDue};
use super::response::Failed;
use super::{InviteKey, Owner, Proxy, RelayKey, tell};
use crate::transaction::{InviteServer, Ms, Wheel};

impl Proxy {
    /// Everything that is due by now.
    pub fn handle_timeouts(&mut self) {
        let mut due = Vec::new();
        self.wheel
            .fire(self.now.ms, |_: &mut Wheel<Owner>, at, owner| {
                due.push((at, owner))
            });
        // Most of these have not been touched for seconds: looked at one after the other before the
        // first is woken, their waits for memory overlap.
        due.retain(|(at, owner)| self.still_waits(*owner, *at));
        for server_key in due.iter().filter_map(|(_, owner)| self.key_of(*owner)) {
            self.servers.warm(server_key);
        }
        for (at, owner) in due {
            if at > self.now.ms {
                self.wheel.insert(at, owner);
                continue;
            }
            match owner {
                Owner::Invite(key) => self.wake_invite(key, at),
                Owner::Confirmed(key) => self.end_confirmed(key),
                Owner::Relay(key) => self.wake_relay(key, at),
                Owner::Answer(key) => self.wake_answer(key),
                Owner::Call(id) => self.wake_call(id),
                Owner::Parked => self.handle_resolved(),
                Owner::Probe(key) => self.wake_probe(key, at),
                Owner::Probes => self.probe_due(at),
                Owner::Code(call_key) => self.wake_code(call_key),
                Owner::Watch(key) => self.wake_watch(key, at),
            }
        }
        if self.has_news() {
            self.tell_watchers(tell::AT_ONCE);
        }
    }

    /// Whether somebody still wants to be woken at that time, for which the wheel has an entry.
    fn still_waits(&self, owner: Owner, at: Ms) -> bool {
        match owner {
            Owner::Invite(key) => self.invites.armed(key) == Some(at),
            // Found out when it ends, once its place in the table was asked for.
            Owner::Confirmed(_) => true,
            Owner::Relay(key) => self.relays.get(key).is_some_and(|relay| relay.armed == at),
            Owner::Answer(key) => self.answers.contains_key(key),
            Owner::Call(id) => self.calls.deadline(id) == Some(at),
            Owner::Probe(key) => self.probes.is_armed(key, at),
            Owner::Code(call_key) => self.codes.contains_key(&call_key),
            Owner::Probes => self.probes.is_planned(at),
            Owner::Watch(key) => self.watches.is_armed(key, at),
            Owner::Parked => true,
        }
    }

    /// What finds somebody who is woken, where it is mostly for the end.
    fn key_of(&self, owner: Owner) -> Option<u64> {
        match owner {
            Owner::Invite(key) => self.invites.packed(key).map(|packed| packed.server_key),
            Owner::Confirmed(server_key) => Some(server_key),
            Owner::Answer(key) => self.answers.get(key).map(|answered| answered.server_key),
            _ => None,
        }
    }

    /// An entry of the wheel is stale when the context has been armed for something sooner since.
    fn wake_invite(&mut self, key: InviteKey, at: Ms) {
        if let Some(packed) = self.invites.packed(key) {
            self.wake_accepted(key, packed, at);
            return;
        }
        let policy = std::sync::Arc::clone(&self.policy);
        let Some(invite) = self
            .invites
            .get_mut(key)
            .filter(|invite| invite.armed == at)
        else {
            return;
        };
        invite.armed = Ms::MAX;
        while let Some(due) = self
            .invites
            .get_mut(key)
            .and_then(|i| i.due(self.now.ms, &policy))
        {
            self.on_invite_due(key, due);
        }
        self.settle_invite(key);
    }

    /// Timers L and M: what a 2xx has answered ends (RFC 6026 §7.1, §7.2).
    fn wake_accepted(&mut self, key: InviteKey, packed: Packed, at: Ms) {
        if packed.armed != at {
            return;
        }
        if packed.ends > self.now.ms {
            self.invites.arm(key, packed.ends);
            self.wheel.insert(packed.ends, Owner::Invite(key));
            return;
        }
        self.invites.remove(key);
        self.servers.remove(packed.server_key);
    }

    fn on_invite_due(&mut self, key: InviteKey, due: InviteDue) {
        match due {
            InviteDue::RepeatResponse => self.repeat_final(key),
            InviteDue::NoAck => {}
            InviteDue::RepeatInvite(leg) => self.repeat_invite(key, leg),
            InviteDue::RepeatCancel(leg) => self.repeat_cancel(key, leg),
            InviteDue::BranchTimedOut(leg) => {
                self.note_silence(key, leg);
                self.on_failure(key, leg, Failed::TimedOut);
            }
            InviteDue::TryNext(leg) => {
                self.note_silence(key, leg);
                self.supersede(key, leg);
            }
            InviteDue::RangLongEnough(_) => self.cancel_branches(key, CancelReason::NoAnswer),
            InviteDue::GiveUp(leg) => self.on_timer_c(key, leg),
        }
    }

    /// Timer C: a branch that has rung is cancelled, one that never answered has timed out (§16.8).
    fn on_timer_c(&mut self, key: InviteKey, leg: u8) {
        let Some(branch) = self
            .invites
            .get_mut(key)
            .and_then(|invite| invite.branch(leg))
        else {
            return;
        };
        if branch.client.is_cancellable() {
            self.cancel_branch(key, leg, CancelReason::NoAnswer);
        } else {
            branch.client.abandon();
            self.on_failure(key, leg, Failed::TimedOut);
        }
    }

    /// Nothing came from a hop; a branch that we cancelled, or gave up for it before, has an excuse.
    fn note_silence(&mut self, key: InviteKey, leg: u8) {
        let invite = self.invites.get(key);
        let branch = invite.and_then(|invite| invite.branches.get(usize::from(leg)));
        let is_excused = |branch: &&super::invite::Branch| {
            branch.is_superseded || matches!(branch.cancel, Cancel::Sent { .. })
        };
        if let Some(branch) = branch.filter(|branch| !is_excused(branch)) {
            let around = (&*self.shared, &*self.policy);
            heard(around, &branch.hop, Heard::Nothing, self.now);
        }
    }

    fn repeat_invite(&mut self, key: InviteKey, leg: u8) {
        let Some(branch) = self
            .invites
            .get_mut(key)
            .and_then(|invite| invite.branch(leg))
        else {
            return;
        };
        self.out
            .send(&branch.hop, |out| out.extend_from_slice(&branch.sent));
        self.count(|c| &c.retransmissions_sent);
    }

    fn repeat_cancel(&mut self, key: InviteKey, leg: u8) {
        let Some(branch) = self
            .invites
            .get_mut(key)
            .and_then(|invite| invite.branch(leg))
        else {
            return;
        };
        if let Cancel::Sent { sent, .. } = &branch.cancel {
            self.out
                .send(&branch.hop, |out| out.extend_from_slice(sent));
        }
        self.count(|c| &c.retransmissions_sent);
    }

    /// The network says that an address cannot be reached (RFC 3261 §16.9, §18.4): branches that
    /// wait for a first answer from there fail at once.
    pub fn handle_unreachable(&mut self, failure: &Unreachable) {
        let waiting: Vec<_> = self
            .invites
            .iter()
            .filter(|(_, invite)| invite.server == InviteServer::Proceeding)
            .flat_map(|(key, invite)| (0u8..).zip(&invite.branches).map(move |(n, b)| (key, n, b)))
            .filter(|(_, _, branch)| branch.is_hit_by(failure))
            .map(|(key, leg, _)| (key, leg))
            .collect();
        for (key, leg) in waiting {
            if let Some(branch) = self
                .invites
                .get_mut(key)
                .and_then(|invite| invite.branch(leg))
            {
                let around = (&*self.shared, &*self.policy);
                heard(around, &branch.hop, Heard::Refusal, self.now);
                branch.client.on_transport_failure();
            }
            self.on_failure(key, leg, Failed::Transport);
            self.settle_invite(key);
        }
        let relays: Vec<(RelayKey, u8)> = self.relays_hit_by(failure).collect();
        for (key, leg) in relays {
            self.fail_relay(key, leg);
        }
        self.fail_probes(failure);
        self.fail_watches(failure);
    }
}
