//! What becomes of a relayed request: its responses (RFC 3261 §16.7, RFC 4320), its timers, and the
//! next hop where one fails.

use super::best::{Best, upstream_edits};
use super::failover::received;
use super::forward::{Origin, complete_length};
use super::health::{Heard, heard};
use super::privacy::{self, Passage};
use super::relay::{Relay, Relayed};
use super::route::Routed;
use super::{Arrival, Proxy, RelayKey};
use crate::message::{Index, Message, Method, Reply, write_response};
use crate::transaction::{BranchId, Due, Ms, Reaction};

impl Proxy {
    /// A response to a relayed request (§17.1.2). Says whether it was one of ours.
    pub(super) fn on_relay_response(
        &mut self,
        arrival: &Arrival,
        key: RelayKey,
        id: &BranchId,
        message: &Message<'_>,
    ) -> bool {
        let (Some(status), Ok(cseq)) = (message.status(), message.cseq()) else {
            return false;
        };
        let Some(relay) = self.relays.get_mut(key) else {
            return false;
        };
        let (method, is_in_dialog) = (relay.method, relay.is_in_dialog);
        let Some(branch) = relay
            .branches
            .get_mut(usize::from(id.leg))
            .filter(|branch| branch.check == id.check && cseq.method == method)
        else {
            return false;
        };
        let around = (&*self.shared, &*self.policy);
        heard(around, &branch.hop, Heard::Response(message), self.now);
        let base = self.policy.base(branch.hop.listener);
        let reaction = branch.client.on_response(status, self.now.ms, &base);
        if reaction == Reaction::Pass {
            match status {
                // RFC 4320 §4.1: no provisional but our own 100.
                100..=199 => {}
                200..=299 => self.pass_relay_response(key, status, message),
                _ => self.on_relay_refused(key, id.leg, message),
            }
            match status {
                200..=299 if method == Method::Update => self.on_refreshed(arrival, message),
                408 | 481 if is_in_dialog => self.on_dialog_refused(arrival, message),
                _ => {}
            }
        }
        if status >= 200 {
            self.forget_sent(key, id.leg);
        }
        self.settle_relay(key);
        true
    }

    fn forget_sent(&mut self, key: RelayKey, leg: u8) {
        let relay = self.relays.get_mut(key);
        let branch = relay.and_then(|relay| relay.branches.get_mut(usize::from(leg)));
        if let Some(branch) = branch.filter(|branch| !branch.client.is_pending()) {
            branch.sent = Box::default();
        }
    }

    /// 100 to a request that was not answered for so long that its client would send it again only
    /// every T2 (RFC 4320 §4.1).
    fn send_relay_trying(&mut self, key: RelayKey) {
        let Some(relay) = self.relays.get_mut(key) else {
            return;
        };
        let sent = relay.branches.iter().find(|branch| !branch.sent.is_empty());
        let received = sent
            .and_then(|branch| received(&branch.sent, branch.own_bytes, None, &mut self.scratch));
        if let Some(received) = received
            && let Ok(message) = self.scratch.stored.parse(&received)
        {
            let trying = Reply::new(100);
            let sent = self.out.send(&relay.upstream, |out| {
                write_response(&message, &trying, out)
            });
            relay.response = sent.into();
        }
    }

    /// A 300–699: the next hop for a 503, else it is kept until every branch has answered.
    fn on_relay_refused(&mut self, key: RelayKey, leg: u8, message: &Message<'_>) {
        let status = message.status().unwrap_or(500);
        if status == 503 && self.fail_relay_over(key, leg) {
            return;
        }
        let Some(relay) = self.relays.get_mut(key) else {
            return;
        };
        Best::consider(&mut relay.best, message);
        self.conclude_relay(key, status >= 600);
    }

    /// Passes the best response once no branch may bring a better one. RFC 4320 §4.2: no 408, it
    /// would come too late for the client's own timer anyway; nothing at all is no answer either.
    fn conclude_relay(&mut self, key: RelayKey, is_decided: bool) {
        let Some(relay) = self.relays.get_mut(key) else {
            return;
        };
        if relay.has_pending_branch() && !is_decided {
            return;
        }
        let best = relay.best.take().filter(|best| best.status != 408);
        let Some(best) = best else {
            relay.give_up();
            return;
        };
        let mut index = Index::new();
        if let Ok(message) = index.parse(&best.bytes)
            && best.edit(&message, &mut self.scratch.edits).is_some()
        {
            self.send_relay_response(key, best.status, &message);
        }
    }

    /// Passes a response upstream as it is.
    fn pass_relay_response(&mut self, key: RelayKey, status: u16, message: &Message<'_>) {
        if upstream_edits(message, &mut self.scratch.edits).is_some() {
            self.send_relay_response(key, status, message);
        }
    }

    fn send_relay_response(&mut self, key: RelayKey, status: u16, message: &Message<'_>) {
        let edits = &mut self.scratch.edits;
        let relay = self.relays.get_mut(key);
        let Some(relay) = relay.filter(|relay| relay.server.is_open()) else {
            return;
        };
        if privacy::concerns(message) {
            let hops = relay.branches.iter().map(|branch| &branch.hop);
            let way = Passage::of_response(&self.policy, &self.shared, hops, &relay.upstream);
            way.edit(message, edits);
        }
        let transport = self.policy.transport(relay.upstream.listener);
        complete_length(message, transport, edits);
        relay.response = self
            .out
            .send(&relay.upstream, |out| edits.apply(message.bytes(), out))
            .into();
        let base = self.policy.base(relay.upstream.listener);
        relay.server.on_response(status, self.now.ms, &base);
    }

    pub(super) fn wake_relay(&mut self, key: RelayKey, at: Ms) {
        let Some(relay) = self.relays.get_mut(key).filter(|relay| relay.armed == at) else {
            return;
        };
        relay.armed = Ms::MAX;
        if relay.server.on_timeout(self.now.ms) == Due::TimedOut {
            self.send_relay_trying(key);
        }
        let branches = self.relays.get(key).map_or(0, |relay| relay.branches.len());
        for leg in 0..branches {
            self.wake_relay_branch(key, leg as u8);
        }
        self.settle_relay(key);
    }

    fn wake_relay_branch(&mut self, key: RelayKey, leg: u8) {
        let now_ms = self.now.ms;
        let relay = self.relays.get_mut(key);
        let Some(branch) = relay.and_then(|relay| relay.branches.get_mut(usize::from(leg))) else {
            return;
        };
        let base = self.policy.base(branch.hop.listener);
        match branch.client.on_timeout(now_ms, &base) {
            Due::Retransmit => {
                self.out
                    .send(&branch.hop, |out| out.extend_from_slice(&branch.sent));
                self.count(|c| &c.retransmissions_sent);
            }
            Due::TimedOut => {
                let is_counted = !branch.is_superseded;
                if is_counted && !self.fail_relay_over(key, leg) {
                    self.conclude_relay(key, false);
                }
                self.forget_sent(key, leg);
                return;
            }
            Due::Ended | Due::Nothing => {}
        }
        self.supersede_silent(key, leg);
    }

    /// A hop has been silent for long: the next one is tried beside it.
    fn supersede_silent(&mut self, key: RelayKey, leg: u8) {
        let now_ms = self.now.ms;
        let relay = self.relays.get_mut(key);
        let Some(branch) = relay.and_then(|relay| relay.branches.get_mut(usize::from(leg))) else {
            return;
        };
        let is_due = branch.is_silent() && branch.failover_at.is_some_and(|at| at <= now_ms);
        if !is_due {
            return;
        }
        branch.failover_at = None;
        let around = (&*self.shared, &*self.policy);
        heard(around, &branch.hop, Heard::Nothing, self.now);
        if self.fail_relay_over(key, leg) {
            let relay = self.relays.get_mut(key);
            if let Some(branch) = relay.and_then(|relay| relay.branches.get_mut(usize::from(leg))) {
                branch.is_superseded = true;
            }
        }
    }

    /// Tries the next hop of a branch (RFC 3263 §4.3); whether there was one.
    fn fail_relay_over(&mut self, key: RelayKey, leg: u8) -> bool {
        let Some(relay) = self.relays.get_mut(key).filter(|r| r.server.is_open()) else {
            return false;
        };
        let Some(branch) = relay.branches.get_mut(usize::from(leg)) else {
            return false;
        };
        let Some(target) = branch.retry.take() else {
            return false;
        };
        let upstream = relay.upstream.clone();
        // What was sent has the target's Request-URI already.
        let own = branch.own_bytes;
        let Some(received) = received(&branch.sent, own, None, &mut self.scratch) else {
            return false;
        };
        self.count(|c| &c.failovers);
        let mut index = Index::new();
        let Ok(message) = index.parse(&received) else {
            return false;
        };
        let relayed = Relayed {
            message,
            origin: Origin::Stored,
            routed: &Routed::default(),
            target: &target,
            breadth: target.breadth,
            upstream: &upstream,
        };
        self.start_relay_branch(key, &relayed, None).is_ok()
    }

    /// The transport refused a request: as if it were answered 503 (RFC 3261 §16.9), so upstream
    /// gets a 500 where no other hop or branch is left.
    pub(super) fn fail_relay(&mut self, key: RelayKey, leg: u8) {
        let relay = self.relays.get_mut(key);
        let Some(branch) = relay.and_then(|relay| relay.branches.get_mut(usize::from(leg))) else {
            return;
        };
        let around = (&*self.shared, &*self.policy);
        heard(around, &branch.hop, Heard::Refusal, self.now);
        branch.client.on_transport_failure();
        let is_counted = !branch.is_superseded;
        if is_counted && !self.fail_relay_over(key, leg) {
            self.fail_without_hops(key, leg);
        }
        self.forget_sent(key, leg);
        self.settle_relay(key);
    }

    fn fail_without_hops(&mut self, key: RelayKey, leg: u8) {
        let Some(relay) = self.relays.get(key) else {
            return;
        };
        if relay.has_pending_branch() || relay.best.is_some() {
            self.conclude_relay(key, false);
            return;
        }
        let tag = self.tag(relay.server_key);
        let Some(relay) = self.relays.get_mut(key).filter(|r| r.server.is_open()) else {
            return;
        };
        let branch = relay.branches.get(usize::from(leg));
        let received = branch.and_then(|b| received(&b.sent, b.own_bytes, None, &mut self.scratch));
        let reply = Reply {
            to_tag: Some(&tag),
            ..Reply::new(500)
        };
        if let Some(received) = received
            && let Ok(message) = self.scratch.stored.parse(&received)
        {
            let sent = self
                .out
                .send(&relay.upstream, |out| write_response(&message, &reply, out));
            relay.response = sent.into();
            let base = self.policy.base(relay.upstream.listener);
            relay.server.on_response(500, self.now.ms, &base);
        }
        if let Some(relay) = self.relays.get_mut(key) {
            relay.give_up();
        }
    }
}

impl Relay {
    /// Nothing came from downstream: no answer is passed, none is made (RFC 4320 §4.2).
    fn give_up(&mut self) {
        if self.server.is_open() {
            self.server.abandon();
        }
    }
}
