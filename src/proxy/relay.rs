//! Requests other than INVITE: relayed with a transaction (RFC 3261 §16, RFC 4320), and the ACK of
//! a 2xx, which has none.

use std::sync::Arc;

use smallvec::SmallVec;

use super::best::Best;
use super::branch::{ffi, has_alias};
use super::extensions::may_make_dialog;
use super::forward::{Copy, Origin, RecordRoute, edit, write_path};
use super::handle::Way;
use super::hop::{Hop, Unreachable};
use super::rejection::Rejection;
use super::request::ProxyRequest;
use super::route::Routed;
use super::setup::Identifiers;
use super::target::{Target, Targets, fitting};
use super::token::FlowToken;
use super::{Arrival, Owner, Proxy, RelayKey, breadth};
use crate::message::{Message, Method, Name};
use crate::transaction::{BranchId, BranchKind, Ms, NonInviteClient, NonInviteServer, soonest};

/// A request other than INVITE and ACK between upstream and its branches.
pub(super) struct Relay {
    pub server_key: u64,
    pub call_key: u64,
    /// What routing depended on, for the branches' loop detection.
    pub check: u32,
    pub method: Method,
    pub is_in_dialog: bool,
    pub server: NonInviteServer,
    pub upstream: Hop,
    pub branches: SmallVec<[RelayBranch; 1]>,
    /// The best final response so far that was not passed on (§16.7(6)).
    pub best: Option<Best>,
    /// The last response passed upstream.
    pub response: Box<[u8]>,
    /// The deadline the timer wheel holds for this context.
    pub armed: Ms,
}

/// One copy of the request that was sent downstream.
pub(super) struct RelayBranch {
    pub client: NonInviteClient,
    pub hop: Hop,
    pub check: u32,
    /// What was sent; empty once answered.
    pub sent: Box<[u8]>,
    /// How many bytes at the top of its headers are ours alone.
    pub own_bytes: usize,
    /// What is tried if this hop fails (RFC 3263 §4.3).
    pub retry: Option<Box<Target>>,
    /// When it is tried although this hop has only been silent.
    pub failover_at: Option<Ms>,
    /// Another hop was tried in its place.
    pub is_superseded: bool,
}

/// A request as it is relayed: from where, on what way, to whom.
pub(super) struct Relayed<'a, 'm> {
    pub message: Message<'m>,
    pub origin: Origin,
    pub routed: &'a Routed,
    pub target: &'a Target,
    /// Its share of the request's Max-Breadth (RFC 5393 §5).
    pub breadth: u32,
    /// Where it came from.
    pub upstream: &'a Hop,
}

/// More than we add to a request: Via and two Record-Routes.
const ADDED_BYTES: usize = 320;

impl Relay {
    pub(super) fn is_over(&self) -> bool {
        let mut branches = self.branches.iter();
        self.server == NonInviteServer::Terminated
            && branches.all(|branch| branch.client == NonInviteClient::Terminated)
    }

    /// Whether a branch may still answer.
    pub(super) fn has_pending_branch(&self) -> bool {
        self.branches
            .iter()
            .any(|branch| branch.client.is_pending() && !branch.is_superseded)
    }
}

impl RelayBranch {
    pub(super) fn is_silent(&self) -> bool {
        matches!(self.client, NonInviteClient::Trying { .. })
    }

    /// Whether it may still hear something that counts, or has to be sent again.
    pub(super) fn is_waiting(&self) -> bool {
        self.client.is_pending()
    }

    fn deadline(&self) -> Option<Ms> {
        let failover = self.failover_at.filter(|_| self.is_silent());
        soonest([self.client.deadline(), failover])
    }
}

impl Proxy {
    /// Sends a request on to each of its targets and keeps its transactions.
    pub(super) fn relay(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        routed: &Routed,
        (server_key, check): Identifiers,
        targets: &Targets,
    ) -> Result<(), Rejection> {
        let shares = breadth::split(request.breadth, [], targets.len());
        if shares.len() < targets.len() {
            return Err(Rejection::MaxBreadthExceeded);
        }
        if request.method == Method::Bye {
            self.on_bye(arrival, &request.message, routed.is_ours);
        }
        let upstream = arrival.reply_hop(&request.via);
        let key = self.relays.insert(Box::new(Relay {
            server_key,
            call_key: arrival.call_key,
            check,
            method: request.method,
            is_in_dialog: request.is_in_dialog(),
            server: NonInviteServer::start(self.now.ms, &self.policy.base(arrival.listener)),
            upstream: upstream.clone(),
            branches: SmallVec::new(),
            best: None,
            response: Box::default(),
            armed: Ms::MAX,
        }));
        self.servers.insert(server_key, Owner::Relay(key));
        let needs_flow = request.method == Method::Register || may_make_dialog(request.method);
        let flow = match needs_flow {
            true => self.flow_of(arrival, request),
            false => None,
        };
        let mut outcome = Err(Rejection::Unresolvable);
        for (target, breadth) in targets.iter().zip(shares) {
            let relayed = Relayed {
                message: request.message,
                origin: Origin::Received(arrival.from),
                routed,
                target,
                breadth,
                upstream: &upstream,
            };
            let started = self.start_relay_branch(key, &relayed, flow);
            outcome = started.or(outcome);
        }
        if outcome.is_err() {
            self.relays.remove(key);
            self.servers.remove(server_key);
            return outcome;
        }
        self.settle_relay(key);
        Ok(())
    }

    /// Sends a copy on a new branch. The context knows the branch before it is sent.
    pub(super) fn start_relay_branch(
        &mut self,
        key: RelayKey,
        relayed: &Relayed<'_, '_>,
        flow: Option<FlowToken>,
    ) -> Result<(), Rejection> {
        let policy = Arc::clone(&self.policy);
        let relay = self.relays.get(key).ok_or(Rejection::Unresolvable)?;
        let (call_key, upstream) = (relay.call_key, relay.upstream.listener);
        let leg = relay.branches.len();
        if leg >= policy.limits.branches.min(usize::from(u8::MAX)) {
            return Err(Rejection::Unresolvable);
        }
        let message = &relayed.message;
        let length = message.bytes().len() + relayed.target.path.len() + ADDED_BYTES;
        let longer = fitting(&policy, relayed.target, length);
        let hops = longer.as_ref().unwrap_or(&relayed.target.hops);
        let hop = hops.first().ok_or(Rejection::Unresolvable)?;
        let branch = BranchId {
            kind: BranchKind::NonInvite,
            context: ffi(key),
            leg: leg as u8,
            check: relay.check,
        };
        let path = flow.filter(|_| relay.method == Method::Register);
        let path = path.filter(|flow| self.takes_path(message, *flow));
        self.scratch.lines.clear();
        if let (Some(flow), Some(listener)) =
            (path, policy.listeners.get(usize::from(hop.listener)))
        {
            write_path(listener, (flow, &self.keys), &mut self.scratch.lines);
        }
        let upstream = may_make_dialog(relay.method).then_some(upstream);
        let (sent, own_bytes) =
            self.send_copy(relayed, (branch, hop), call_key, (upstream, flow))?;
        let rest = hops.get(1..).unwrap_or_default();
        let retry = (!rest.is_empty()).then(|| {
            Box::new(Target {
                path: relayed.target.path.clone(),
                hops: rest.iter().cloned().collect(),
                breadth: relayed.breadth,
                is_fitted: true,
                ..Target::default()
            })
        });
        let branch = RelayBranch {
            client: NonInviteClient::start(self.now.ms, &policy.base(hop.listener)),
            hop: hop.clone(),
            check: branch.check,
            sent,
            own_bytes,
            failover_at: retry.as_ref().map(|_| self.now.ms + policy.timers.failover),
            retry,
            is_superseded: false,
        };
        if let Some(relay) = self.relays.get_mut(key) {
            relay.branches.push(branch);
        }
        Ok(())
    }

    /// Whether a REGISTER that is passed on gets a Path, so that the registrar sends calls for the
    /// phone by us (RFC 3327 §5.1, RFC 5626 §5.1): where the phone supports it, and for a
    /// WebSocket client, which nobody else can reach.
    fn takes_path(&self, message: &Message<'_>, flow: FlowToken) -> bool {
        let supports = |tag: &[u8]| {
            let mut tags = message.values(Name::Supported);
            tags.any(|value| value.bytes.eq_ignore_ascii_case(tag))
        };
        let is_websocket = matches!(flow, FlowToken::Connection { listener, .. }
            if self.policy.transport(listener).is_websocket());
        is_websocket || supports(b"path") || supports(b"outbound")
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
        let is_for_us = request.to.tag == Some(&own_tag[..]);
        if is_hopless
            || is_for_us
            || matches!(way, Way::Lookup | Way::Ourselves)
            || matches!(way, Way::Bindings(_)) && !routed.is_ours
            || !request.is_in_dialog()
        {
            self.count(|c| &c.stray_acks);
            return Ok(());
        }
        let targets = self.relay_targets(arrival, request, routed, (way, server_key))?;
        let target = targets.and_then(|targets| targets.into_iter().next());
        let Some((target, hop)) = target.and_then(|target| {
            let hop = target.hops.first()?.clone();
            Some((target, hop))
        }) else {
            return Ok(());
        };
        let branch = BranchId {
            kind: BranchKind::Stateless,
            context: self.keys.tag(request.via.branch),
            leg: 0,
            check: self
                .keys
                .check(arrival.call_key, request.via.branch, request.cseq.number),
        };
        let relayed = Relayed {
            message: request.message,
            origin: Origin::Received(arrival.from),
            routed,
            target: &target,
            breadth: request.breadth,
            upstream: &arrival.reply_hop(&request.via),
        };
        self.scratch.lines.clear();
        self.send_copy(&relayed, (branch, &hop), arrival.call_key, (None, None))
            .map(drop)
    }

    /// `upstream` is the listener towards upstream where the request makes a dialog.
    fn send_copy(
        &mut self,
        relayed: &Relayed<'_, '_>,
        (branch, hop): (BranchId, &Hop),
        call_key: u64,
        (upstream, flow): (Option<u8>, Option<FlowToken>),
    ) -> Result<(Box<[u8]>, usize), Rejection> {
        let policy = Arc::clone(&self.policy);
        let listener = |number: u8| policy.listeners.get(usize::from(number));
        let sender = listener(hop.listener).ok_or(Rejection::Unresolvable)?;
        let copy = Copy {
            origin: relayed.origin,
            uri: relayed.target.uri.as_deref(),
            routed: relayed.routed,
            branch,
            offers_control: policy.overload.control,
            listener: sender,
            has_alias: has_alias(sender, hop),
            record_route: upstream.and_then(listener).map(|upstream| {
                let flows = (flow, relayed.target.flow);
                RecordRoute::of(&self.keys, (call_key, &relayed.message), upstream, flows)
            }),
            path: &relayed.target.path,
            lines: &self.scratch.lines,
            tail: b"",
            breadth: relayed.breadth,
            policy: &policy,
            passage: self.passage(
                &policy,
                (&relayed.message, relayed.routed.asserted.is_some()),
                (relayed.origin, relayed.upstream),
                hop,
            ),
        };
        let edits = &mut self.scratch.edits;
        let own_bytes = edit(&relayed.message, &copy, edits)?;
        let bytes = relayed.message.bytes();
        let sent = self.out.send(hop, |out| edits.apply(bytes, out));
        let is_kept = branch.kind != BranchKind::Stateless;
        let sent = if is_kept { sent.into() } else { Box::default() };
        Ok((sent, own_bytes))
    }

    pub(super) fn settle_relay(&mut self, key: RelayKey) {
        if self.complete_relay(key) {
            return;
        }
        let Some(relay) = self.relays.get_mut(key) else {
            return;
        };
        if relay.is_over() {
            if let Some(relay) = self.relays.remove(key) {
                self.servers.remove(relay.server_key);
            }
            return;
        }
        let branches = relay.branches.iter().map(RelayBranch::deadline);
        let deadline = soonest(branches.chain([relay.server.deadline()]));
        if let Some(deadline) = deadline.filter(|at| *at < relay.armed) {
            relay.armed = deadline;
            self.wheel
                .insert(deadline.max(self.now.ms), Owner::Relay(key));
        }
    }

    pub(super) fn relays_hit_by(
        &self,
        failure: &Unreachable,
    ) -> impl Iterator<Item = (RelayKey, u8)> {
        let waits = move |branch: &RelayBranch| branch.hop.is_hit_by(failure) && branch.is_silent();
        self.relays
            .iter()
            .flat_map(|(key, relay)| (0u8..).zip(&relay.branches).map(move |(n, b)| (key, n, b)))
            .filter(move |(_, _, branch)| waits(branch))
            .map(|(key, leg, _)| (key, leg))
    }
}
