//! Requests other than INVITE: relayed with a transaction (RFC 3261 §16, RFC 4320), and the ACK of
//! a 2xx, which has none.

use std::sync::Arc;

use super::branch::ffi;
use super::carry_out::without_top_via;
use super::extensions::may_make_dialog;
use super::forward::{Copy, Origin, edit};
use super::handle::Way;
use super::hop::{Hop, Hops, Unreachable};
use super::privacy::Passage;
use super::rejection::Rejection;
use super::request::ProxyRequest;
use super::route::{Routed, Unroutable};
use super::setup::Identifiers;
use super::{Arrival, Owner, Proxy, RelayKey};
use crate::message::forward::remove_top_via;
use crate::message::{Message, Method, Reply, write_response};
use crate::transaction::{
    BranchId, BranchKind, Due, Ms, NonInviteClient, NonInviteServer, Reaction, soonest,
};

/// A request other than INVITE and ACK between upstream and the next hop.
pub(super) struct Relay {
    pub server_key: u64,
    pub method: Method,
    pub is_in_dialog: bool,
    pub server: NonInviteServer,
    pub upstream: Hop,
    pub client: NonInviteClient,
    pub hop: Hop,
    pub check: u32,
    /// What was sent; empty once answered.
    pub sent: Box<[u8]>,
    /// The last response passed upstream.
    pub response: Box<[u8]>,
    /// The deadline the timer wheel holds for this context.
    pub armed: Ms,
}

impl Relay {
    fn is_over(&self) -> bool {
        self.server == NonInviteServer::Terminated && self.client == NonInviteClient::Terminated
    }
}

impl Proxy {
    /// Sends a request on and keeps its transactions.
    pub(super) fn relay(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        routed: &Routed,
        (server_key, check): Identifiers,
        hops: Result<Hops, Unroutable>,
    ) -> Result<(), Rejection> {
        let hops = self.known_destinations(arrival, request, server_key, hops)?;
        let Some(hop) = hops.and_then(|hops| hops.into_iter().next()) else {
            return Ok(());
        };
        if request.method == Method::Bye {
            self.on_bye(arrival, &request.message, routed.is_ours);
        }
        let policy = Arc::clone(&self.policy);
        let base = policy.base(hop.listener);
        let key = self.relays.insert(Relay {
            server_key,
            method: request.method,
            is_in_dialog: request.is_in_dialog(),
            server: NonInviteServer::start(self.now.ms, &policy.base(arrival.listener)),
            upstream: arrival.reply_hop(&request.via),
            client: NonInviteClient::start(self.now.ms, &base),
            hop: hop.clone(),
            check,
            sent: Box::default(),
            response: Box::default(),
            armed: Ms::MAX,
        });
        self.servers.insert(server_key, Owner::Relay(key));
        let branch = BranchId {
            kind: BranchKind::NonInvite,
            context: ffi(key),
            leg: 0,
            check,
        };
        let sent = self.send_copy(arrival, request, routed, (branch, &hop));
        let sent = match sent {
            Ok(sent) => sent,
            Err(rejection) => {
                self.relays.remove(key);
                self.servers.remove(&server_key);
                return Err(rejection);
            }
        };
        if let Some(relay) = self.relays.get_mut(key) {
            relay.sent = sent;
        }
        self.settle_relay(key);
        Ok(())
    }

    /// The ACK of a 2xx goes where its Route says, or nowhere: there is nothing to answer. The ACK
    /// of a response that we made without keeping state is for us (§8.2.7).
    pub(super) fn relay_ack(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        routed: &Routed,
        (way, server_key): (&Way, u64),
    ) -> Result<(), Rejection> {
        let is_hopless = request.max_forwards == Some(0);
        let own_tag = self.tag(arrival.call_key);
        let is_for_us = request.to.tag == Some(&*own_tag);
        if is_hopless
            || is_for_us
            || matches!(way, Way::Lookup | Way::Ourselves)
            || !request.is_in_dialog()
        {
            self.count(|c| &c.stray_acks);
            return Ok(());
        }
        let hops = self.destination(arrival, request, routed, way);
        let hops = self.known_destinations(arrival, request, server_key, hops)?;
        let Some(hop) = hops.and_then(|hops| hops.into_iter().next()) else {
            return Ok(());
        };
        let check = self
            .keys
            .check(arrival.call_key, request.via.branch, request.cseq.number);
        let branch = BranchId {
            kind: BranchKind::Stateless,
            context: self.keys.tag(request.via.branch),
            leg: 0,
            check,
        };
        self.send_copy(arrival, request, routed, (branch, &hop))
            .map(drop)
    }

    fn send_copy(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        routed: &Routed,
        (branch, hop): (BranchId, &Hop),
    ) -> Result<Box<[u8]>, Rejection> {
        let policy = Arc::clone(&self.policy);
        let listener = policy.listeners.get(usize::from(hop.listener));
        let listener = listener.ok_or(Rejection::Unresolvable)?;
        let record_route = policy
            .listeners
            .get(usize::from(arrival.listener))
            .filter(|_| may_make_dialog(request.method))
            .map(|towards| (self.keys.token(arrival.call_key), towards));
        let copy = Copy {
            origin: Origin::Received(arrival.from),
            uri: None,
            routed,
            branch,
            listener,
            record_route,
            lines: b"",
            tail: b"",
            breadth: request.breadth,
            passage: Passage::of_request(&policy, Origin::Received(arrival.from), hop),
        };
        let edits = &mut self.scratch.edits;
        edit(&request.message, &copy, edits)?;
        let sent = self
            .out
            .send(hop, |out| edits.apply(request.message.bytes(), out));
        if branch.kind == BranchKind::Stateless {
            Ok(Box::default())
        } else {
            Ok(sent.into())
        }
    }

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
        let Some(relay) = self
            .relays
            .get_mut(key)
            .filter(|relay| relay.check == id.check)
        else {
            return false;
        };
        if cseq.method != relay.method {
            return false;
        }
        let base = self.policy.base(relay.hop.listener);
        let reaction = relay.client.on_response(status, self.now.ms, &base);
        let (method, is_in_dialog) = (relay.method, relay.is_in_dialog);
        if reaction == Reaction::Pass {
            if status >= 200 {
                relay.sent = Box::default();
            }
            self.pass_relay_response(key, status, message);
            match status {
                200..=299 if method == Method::Update => self.on_refreshed(arrival, message),
                408 | 481 if is_in_dialog => self.on_dialog_refused(arrival, message),
                _ => {}
            }
        }
        self.settle_relay(key);
        true
    }

    /// Passes a response upstream. RFC 4320: no provisional (§4.1; the 100 is our own), and no 408
    /// (§4.2): it would come too late for the client's own timer anyway.
    fn pass_relay_response(&mut self, key: RelayKey, status: u16, message: &Message<'_>) {
        let Some(relay) = self
            .relays
            .get_mut(key)
            .filter(|relay| relay.server.is_open())
        else {
            return;
        };
        if status < 200 {
            return;
        }
        if status == 408 {
            relay.server.abandon();
            return;
        }
        let edits = &mut self.scratch.edits;
        edits.clear();
        if remove_top_via(message, edits).is_err() {
            return;
        }
        Passage::of_response(&self.policy, &relay.hop, &relay.upstream).edit(message, edits);
        if status == 503 {
            edits.replace(0..message.first_header_at(), |out| {
                out.extend_from_slice(b"SIP/2.0 500 Server Internal Error\r\n");
            });
        }
        relay.response = self
            .out
            .send(&relay.upstream, |out| {
                edits.apply(message.bytes(), out);
            })
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
        let Some(relay) = self.relays.get_mut(key) else {
            return;
        };
        let base = self.policy.base(relay.hop.listener);
        match relay.client.on_timeout(self.now.ms, &base) {
            Due::Retransmit => {
                self.out
                    .send(&relay.hop, |out| out.extend_from_slice(&relay.sent));
                self.count(|c| &c.retransmissions_sent);
            }
            Due::TimedOut => relay.give_up(),
            Due::Ended | Due::Nothing => {}
        }
        self.settle_relay(key);
    }

    /// 100 to a request that was not answered for so long that its client would send it again only
    /// every T2 (RFC 4320 §4.1).
    fn send_relay_trying(&mut self, key: RelayKey) {
        let Some(relay) = self.relays.get_mut(key) else {
            return;
        };
        let received = without_top_via(&relay.sent, &mut self.scratch);
        if let Ok(message) = self.scratch.stored.parse(&received) {
            let sent = self.out.send(&relay.upstream, |out| {
                write_response(&message, &Reply::new(100), out);
            });
            relay.response = sent.into();
        }
    }

    fn settle_relay(&mut self, key: RelayKey) {
        let Some(relay) = self.relays.get_mut(key) else {
            return;
        };
        if relay.is_over() {
            if let Some(relay) = self.relays.remove(key) {
                self.servers.remove(&relay.server_key);
            }
            return;
        }
        let deadline = soonest([relay.server.deadline(), relay.client.deadline()]);
        if let Some(deadline) = deadline.filter(|at| *at < relay.armed) {
            relay.armed = deadline;
            self.wheel
                .insert(deadline.max(self.now.ms), Owner::Relay(key));
        }
    }

    pub(super) fn relays_hit_by(&self, failure: &Unreachable) -> impl Iterator<Item = RelayKey> {
        let waits = move |relay: &Relay| {
            relay.hop.is_hit_by(failure) && matches!(relay.client, NonInviteClient::Trying { .. })
        };
        self.relays
            .iter()
            .filter(move |(_, relay)| waits(relay))
            .map(|(key, _)| key)
    }

    /// The transport refused a request: as if it were answered 503 (RFC 3261 §16.9), so upstream
    /// gets a 500.
    pub(super) fn fail_relay(&mut self, key: RelayKey) {
        let server_key = self.relays.get(key).map_or(0, |relay| relay.server_key);
        let tag = self.tag(server_key);
        if let Some(relay) = self
            .relays
            .get_mut(key)
            .filter(|relay| relay.server.is_open())
        {
            let received = without_top_via(&relay.sent, &mut self.scratch);
            let reply = Reply {
                to_tag: Some(&tag),
                ..Reply::new(500)
            };
            if let Ok(message) = self.scratch.stored.parse(&received) {
                let sent = self.out.send(&relay.upstream, |out| {
                    write_response(&message, &reply, out);
                });
                relay.response = sent.into();
                let base = self.policy.base(relay.upstream.listener);
                relay.server.on_response(500, self.now.ms, &base);
            }
        }
        if let Some(relay) = self.relays.get_mut(key) {
            relay.client.on_transport_failure();
            relay.give_up();
        }
        self.settle_relay(key);
    }
}

impl Relay {
    /// Nothing came from downstream: no answer is passed, none is made (RFC 4320 §4.2).
    fn give_up(&mut self) {
        self.sent = Box::default();
        if self.server.is_open() {
            self.server.abandon();
        }
    }
}
