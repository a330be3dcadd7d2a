//! A request comes in: a retransmission, an ACK, a CANCEL, or something new (RFC 3261 §16.2–16.5).

use super::chat::Chat;
use super::hop::{Hop, Hops};
use super::invite::Invite;
use super::keys::mix;
use super::overload::Class;
use super::policy::{Peer, UnknownCallee};
use super::rejection::Rejection;
use super::request::ProxyRequest;
use super::route::{Routed, Unroutable, is_ours};
use super::setup::{Identifiers, Neighbourhood};
use super::target::{Target, Targets};
use super::{Arrival, InviteKey, Outbox, Owner, Proxy, RelayKey, extensions, privacy, session};
use crate::message::{Message, Method, Scheme, Uri, Via, check};
use crate::presence::Handle;

/// Where a request may go, once it is known who sent it and for whom it is.
pub(super) enum Way {
    /// Look the callee up and decide.
    Lookup,
    /// To the PBX, as it is.
    NextHop,
    /// To the host that its Route or Request-URI names.
    Onward,
    /// To where the subscriber is registered.
    Bindings(Handle),
    /// It is for ourselves.
    Ourselves,
    /// To our registrar.
    Registrar,
    /// To our notifier.
    Notifier,
}

impl Proxy {
    /// A request that was framed. Whatever is to be sent is in `out` when this returns.
    pub fn handle_request(&mut self, arrival: &Arrival, message: Message<'_>) {
        self.count(|c| &c.requests_received);
        self.take_request(arrival, message);
        self.hears_control |= message.names_control();
    }

    fn take_request(&mut self, arrival: &Arrival, message: Message<'_>) {
        let Some(method) = message.method() else {
            return;
        };
        let via = match message.top_via() {
            Ok(via) => via,
            Err(_) if self.is_shut_out(arrival, &message) => return,
            Err(fault) => {
                self.reject_unroutable(arrival, message, Rejection::Malformed(fault));
                return;
            }
        };
        let key = self.server_key(arrival, &message, &via, method);
        self.servers.warm(key);
        if self.gives_up(arrival, &message, &via, (method, key)) {
            return;
        }
        if method != Method::Ack {
            // Meanwhile the table's lines arrive; who needs the outcome asks again.
            let _ = check(&message);
        }
        let may_end_code = matches!(method, Method::Ack | Method::Bye);
        if may_end_code && self.on_code_request(arrival, &message) {
            return;
        }
        match (method, self.servers.get(key)) {
            (Method::Ack, Some(Owner::Invite(invite))) if self.awaits_ack(invite) => {
                self.on_ack(invite);
            }
            (Method::Ack, Some(Owner::Confirmed(_))) => {}
            (Method::Ack, _) => self.on_new_request(arrival, message, via, key),
            (Method::Cancel, Some(Owner::Invite(invite))) => match check(&message) {
                Ok(()) => self.on_cancel(arrival, invite, message),
                Err(fault) => self.reject_unroutable(arrival, message, fault.into()),
            },
            (Method::Cancel, Some(Owner::Confirmed(_))) => match check(&message) {
                Ok(()) => self.on_cancel(arrival, InviteKey::default(), message),
                Err(fault) => self.reject_unroutable(arrival, message, fault.into()),
            },
            (_, Some(Owner::Confirmed(_))) => self.count(|c| &c.retransmissions_received),
            (_, Some(Owner::Invite(invite))) => self.repeat_invite_response(invite),
            (_, Some(Owner::Relay(relay))) => self.repeat_relay_response(relay),
            (_, Some(Owner::Answer(answer))) => self.repeat_answer(answer),
            (_, _) => self.on_new_request(arrival, message, via, key),
        }
    }

    /// What finds the server transaction (§17.2.3). What is sent again comes the same way and, where
    /// no ACK and no CANCEL has to find it, for the same URI: a client that takes its branch for
    /// another request, too, gets an answer to that. An RFC 2543 client has no unique branch, its request is
    /// told by what RFC 3261 §17.2.3 lists instead.
    fn server_key(
        &self,
        arrival: &Arrival,
        message: &Message<'_>,
        via: &Via<'_>,
        method: Method,
    ) -> u64 {
        let fallback = if via.has_rfc3261_branch() {
            0
        } else {
            let tag = message
                .from_()
                .ok()
                .and_then(|from| from.tag)
                .unwrap_or_default();
            let number = message.cseq().map_or(0, |cseq| cseq.number);
            u64::from(self.keys.check(self.keys.tag(tag), message.uri(), number))
        };
        let key = self
            .keys
            .transaction(arrival.call_key, via, method, fallback);
        let key = mix(key, u64::from(arrival.connection.is_some()));
        match method {
            Method::Invite | Method::Ack | Method::Cancel => key,
            _ => mix(key, self.keys.tag(message.uri())),
        }
    }

    fn on_new_request(&mut self, arrival: &Arrival, message: Message<'_>, via: Via<'_>, key: u64) {
        if self.is_shut_out(arrival, &message) {
            return;
        }
        let upstream = arrival.reply_hop(&via);
        let outcome = ProxyRequest::check(message, via).and_then(|request| {
            match self.without_our_maddr(arrival, &request) {
                None => self.admit(arrival, request, key),
                Some(bytes) => self.admit_repaired(arrival, &bytes, key),
            }
        });
        if let Err(rejection) = outcome {
            let rejection = self.hold_against(arrival, &message, (rejection, key));
            self.reject(arrival, message, &upstream, rejection);
        }
    }

    /// Routes a checked request (§16.4, §16.5) and sends it on its way.
    pub(super) fn admit(
        &mut self,
        arrival: &Arrival,
        mut request: ProxyRequest<'_>,
        key: u64,
    ) -> Result<(), Rejection> {
        if request.method == Method::Cancel {
            return Err(Rejection::NoSuchTransaction);
        }
        let check = self.loop_check(arrival, &request);
        if request.is_looping(&self.policy, check) {
            return Err(Rejection::LoopDetected);
        }
        let mut routed = Routed::read(&request, arrival.call_key, &self.policy, &self.keys)?;
        self.take_off_credentials(&request.message, &mut routed);
        let policy = std::sync::Arc::clone(&self.policy);
        let (peer, is_known) = self.peer_of(&policy, arrival);
        let way = self.way(arrival, &request, &routed, is_known);
        let is_for_us = match way {
            Ok(Way::Registrar | Way::Notifier) => true,
            Ok(Way::Ourselves) => request.uri.user.is_empty(),
            _ => false,
        };
        let is_at_its_end = request.is_at_its_end() && !is_for_us && request.method != Method::Ack;
        // Whether a SUBSCRIBE would go on depends on whom it names, which strangers do not learn.
        let is_event = self.served_event(&request).is_some();
        if is_at_its_end && !is_event {
            return Err(Rejection::MaxForwardsExhausted);
        }
        extensions::check(&request)?;
        let side = self.needs_authentication(&request, &routed, is_known, &way);
        if let Some(side) = side.or_else(|| self.proof_of_code(&request, is_known, &way)) {
            self.authenticate(arrival, &mut request, side, key)?;
            self.assert_identity(&request, &mut routed);
        }
        if is_at_its_end {
            return Err(Rejection::MaxForwardsExhausted);
        }
        let way = way.map_err(|rejection| self.discreet(arrival, &request, rejection));
        let (way, request) = (way?, &request);
        if request.method == Method::Ack {
            return self.relay_ack(arrival, request, &routed, (&way, key));
        }
        privacy::check(request, &routed)?;
        session::check(request, &policy)?;
        if let Way::Ourselves = way {
            return self.answer_ourselves(arrival, request);
        }
        if let Way::Registrar = way {
            return self.register(arrival, request, key);
        }
        if let Way::Notifier = way {
            return self.subscribe(arrival, request, key);
        }
        self.check_capacity(arrival, request)?;
        self.pass(arrival, request, &routed, (&way, peer), (key, check))
    }

    /// Sends a request that may go on its way.
    fn pass(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        routed: &Routed,
        (way, peer): (&Way, &Peer),
        (key, check): Identifiers,
    ) -> Result<(), Rejection> {
        let is_chat = request.method == Method::Message && !request.is_in_dialog();
        if is_chat && matches!(way, Way::NextHop | Way::Bindings(_)) {
            let chat = self.decide_message(arrival, request, routed, peer, (key, check))?;
            if chat == Chat::Done {
                return Ok(());
            }
        }
        match (request.method, way) {
            (Method::Invite, Way::Lookup) => match self.dialled_code(request) {
                Some(code) => self.take_code(arrival, request, code, (key, check)),
                None => self.set_up(arrival, request, routed, peer, (key, check)),
            },
            (Method::Invite, Way::NextHop | Way::Onward) => {
                let hops = self.destination(arrival, request, routed, way);
                self.pass_invite(arrival, request, routed, (key, check), (hops, None))
            }
            (method, way) => {
                let targets = self.relay_targets(arrival, request, routed, (way, key))?;
                match targets {
                    None => Ok(()),
                    Some(targets) if method == Method::Invite => {
                        let targets = (targets, None);
                        self.pass_invite_to(arrival, request, routed, (key, check), targets)
                    }
                    Some(targets) => self.relay(arrival, request, routed, (key, check), &targets),
                }
            }
        }
    }

    /// Whom a request that is not decided about is sent to; `None` while a name is being resolved.
    pub(super) fn relay_targets(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        routed: &Routed,
        (way, key): (&Way, u64),
    ) -> Result<Option<Targets>, Rejection> {
        if let Way::Bindings(callee) = way {
            let key_and_listener = (arrival.call_key, arrival.listener);
            return match self.targets_of(*callee, request.uri_bytes, key_and_listener) {
                Ok(targets) => {
                    let willing = self.willing(arrival, &request.message, targets);
                    willing.map(Some).ok_or(Rejection::Throttled)
                }
                Err(Unroutable::Pending) => {
                    self.park(arrival, &request.message, key)?;
                    Ok(None)
                }
                Err(_) => Err(Rejection::NowhereToGo),
            };
        }
        let hops = self.destination(arrival, request, routed, way);
        let hops = self.known_destinations(arrival, request, key, hops)?;
        Ok(hops.map(|hops| std::iter::once(Target::at(hops)).collect()))
    }

    /// Who may send what where: our own dialogs go their way, our domains are served for anybody,
    /// everything else only for those we know.
    fn way(
        &self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        routed: &Routed,
        is_known: bool,
    ) -> Result<Way, Rejection> {
        if routed.is_ours {
            let callee = self.dialog_callee(arrival, request, routed);
            return Ok(callee.map_or(Way::Onward, Way::Bindings));
        }
        let target = self.target_of(request, routed);
        let is_ours = target.as_ref().is_some_and(|uri| self.serves(uri));
        if routed.next.is_some() || routed.flow.is_some() || !is_ours {
            return if is_known {
                Ok(Way::Onward)
            } else {
                Err(Rejection::RelayDenied)
            };
        }
        let has_user = target.as_ref().is_some_and(|uri| !uri.user.is_empty());
        if request.method == Method::Invite && !request.is_in_dialog() && has_user {
            return Ok(Way::Lookup);
        }
        let subscriber = target.and_then(|uri| self.around().resolve_uri(&uri));
        match request.method {
            Method::Subscribe if self.own_event(arrival, request, subscriber).is_some() => {
                Ok(Way::Notifier)
            }
            Method::Register if self.policy.registrar.is_some() => Ok(Way::Registrar),
            Method::Options if !(request.is_in_dialog() || (subscriber.is_some() && is_known)) => {
                Ok(Way::Ourselves)
            }
            Method::Publish if self.policy.registrar.is_some() => match self.policy.next_hop {
                Some(_) => Ok(Way::NextHop),
                None => Err(Rejection::BadEvent),
            },
            _ if self.policy.registrar.is_some() && subscriber.is_some() => {
                Ok(subscriber.map_or(Way::NextHop, Way::Bindings))
            }
            _ if self.policy.next_hop.is_some() => Ok(Way::NextHop),
            _ if self.policy.unknown_callee == UnknownCallee::Reject => Err(Rejection::NotFound),
            _ => Err(Rejection::NowhereToGo),
        }
    }

    /// The subscriber whom a request in a dialog of ours is for, where the remote target is a GRUU or
    /// an address-of-record of ours: it leads to their phones (RFC 5627 §5), not to us.
    fn dialog_callee(
        &self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        routed: &Routed,
    ) -> Option<Handle> {
        let leads_on = routed.next.is_some() || routed.onward_flow(arrival).is_some();
        if leads_on || self.policy.registrar.is_none() {
            return None;
        }
        let target = self.target_of(request, routed);
        let target = target.filter(|uri| is_ours(uri, &self.policy))?;
        self.around().resolve_uri(&target)
    }

    /// The directory as the configuration in force sees it.
    pub(super) fn around(&self) -> Neighbourhood<'_> {
        Neighbourhood {
            directory: &self.shared.directory,
            policy: &self.policy,
        }
    }

    /// Whether a URI is ours to serve for anybody: in our domains, or a subscriber's number.
    fn serves(&self, uri: &Uri<'_>) -> bool {
        let around = Neighbourhood {
            directory: &self.shared.directory,
            policy: &self.policy,
        };
        match uri.scheme {
            Scheme::Tel => around.resolve_uri(uri).is_some(),
            _ => is_ours(uri, &self.policy) && uri.param(b"maddr").is_none(),
        }
    }

    /// The URI that says for whom a request is: the Request-URI, as the Route may have repaired it.
    fn target_of<'m>(&self, request: &ProxyRequest<'m>, routed: &Routed) -> Option<Uri<'m>> {
        match (&routed.uri, routed.append_uri) {
            (Some(span), false) => Uri::parse(request.message.bytes().get(span.clone())?).ok(),
            _ => Some(request.uri),
        }
    }

    /// Where a request is sent to (§16.6(7)).
    pub(super) fn destination(
        &self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        routed: &Routed,
        way: &Way,
    ) -> Result<Hops, Unroutable> {
        let towards = self.towards(arrival.call_key, arrival.listener);
        if let Way::NextHop = way {
            let hop = self.policy.next_hop.as_ref();
            return towards.next_hop(hop.ok_or(Unroutable::Nowhere)?);
        }
        let next = routed
            .next
            .clone()
            .and_then(|span| request.message.bytes().get(span));
        let uri = match next {
            Some(bytes) => Uri::parse(bytes).ok(),
            None => self.target_of(request, routed),
        };
        let named = || towards.uri(&uri.ok_or(Unroutable::Nowhere)?);
        match routed.onward_flow(arrival) {
            Some(flow) if routed.next.is_none() => towards.flow(flow, named),
            _ => named(),
        }
    }

    /// Refuses what would start something new when a table is full or the process ends. What is
    /// worth less is refused before the table is full; what calls in progress need has room kept.
    fn check_capacity(
        &self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
    ) -> Result<(), Rejection> {
        let limits = &self.policy.limits;
        let transactions = self.transactions();
        let class = || self.class_of(arrival, &request.message, request.method);
        let full = transactions >= Class::Event.room(limits.transactions)
            && transactions >= class().room(limits.transactions);
        let is_call = request.method == Method::Invite && !request.is_in_dialog();
        let no_call = is_call && (self.calls.len() >= limits.calls || self.shared.is_draining());
        if full && let Some(counters) = self.counters() {
            counters.shed.inc(class().label(), "table");
        }
        if full || no_call {
            Err(Rejection::Overloaded)
        } else {
            Ok(())
        }
    }

    /// How many transactions there are, each by the memory it takes: what is over and only absorbs
    /// repetitions is a fraction of one.
    fn transactions(&self) -> usize {
        let packed = self.invites.packed_len();
        let whole = self.invites.len() - packed + self.relays.len();
        whole + (packed + self.answers.len()).div_ceil(4) + self.confirmed.div_ceil(16)
    }

    /// A retransmitted INVITE: the last response once more, or nothing (§17.2.1).
    fn repeat_invite_response(&mut self, key: InviteKey) {
        self.count(|c| &c.retransmissions_received);
        let Some(invite) = self.invites.get(key) else {
            return;
        };
        if !invite.server.repeats_response() {
            return;
        }
        if invite.response.is_empty() {
            self.send_trying(key);
        } else {
            send_stored(&invite.upstream, &invite.response, &mut self.out);
            self.count(|c| &c.retransmissions_sent);
        }
    }

    fn repeat_relay_response(&mut self, key: RelayKey) {
        self.count(|c| &c.retransmissions_received);
        let Some(relay) = self.relays.get(key) else {
            return;
        };
        if relay.server.repeats_response() && !relay.response.is_empty() {
            send_stored(&relay.upstream, &relay.response, &mut self.out);
            self.count(|c| &c.retransmissions_sent);
        }
    }

    /// Whether an ACK with the INVITE's branch is for us: a 2xx is acknowledged end to end, by some
    /// with the INVITE's branch all the same.
    fn awaits_ack(&self, key: InviteKey) -> bool {
        self.invites
            .get(key)
            .is_some_and(|invite| !invite.server.takes_2xx())
    }

    /// The ACK of a 300–699 ends its retransmissions; it goes no further (§17.2.1).
    fn on_ack(&mut self, key: InviteKey) {
        if let Some(invite) = self.invites.get_mut(key) {
            let base = self.policy.base(invite.upstream.listener);
            invite.server.on_ack(self.now.ms, &base);
            invite.response = Box::default();
        }
        if !self.forget_confirmed(key) {
            self.settle_invite(key);
        }
    }

    /// A timer of a context fired or its state changed: forget it when it is over, else make sure
    /// the wheel wakes it in time.
    pub(super) fn settle_invite(&mut self, key: InviteKey) {
        let Some(invite) = self.invites.get_mut(key) else {
            return;
        };
        if invite.is_over() {
            let server_key = invite.server_key;
            self.invites.remove(key);
            self.servers.remove(server_key);
            return;
        }
        if let Some(deadline) = invite.deadline().filter(|at| *at < invite.armed) {
            invite.armed = deadline;
            self.wheel
                .insert(deadline.max(self.now.ms), Owner::Invite(key));
        }
        self.invites.pack(key);
    }
}

/// Sends bytes that a context keeps.
pub(super) fn send_stored(upstream: &Hop, bytes: &[u8], out: &mut Outbox) {
    out.send(upstream, |out| out.extend_from_slice(bytes));
}

impl Invite {
    /// The branch of that number.
    pub(super) fn branch(&mut self, leg: u8) -> Option<&mut super::invite::Branch> {
        self.branches.get_mut(usize::from(leg))
    }
}
