//! The target set of a request (RFC 3261 §16.5): whom to try, and by which hops.

use smallvec::SmallVec;

use super::hop::{ConnectionId, Flow, Hop, Hops};
use super::policy::Policy;
use super::route::{Towards, Unroutable};
use super::token::FlowToken;
use super::{InviteKey, Proxy};
use crate::message::{NameAddr, Transport, Uri};
use crate::presence::Handle;
use crate::registrar::{self, Reach};

/// One target.
#[derive(Debug, Clone, Default)]
pub(super) struct Target {
    /// The Request-URI, where it is a binding's Contact.
    pub uri: Option<Box<[u8]>>,
    /// The binding's Path, as values of a Route header (RFC 3327 §5.3).
    pub path: Box<[u8]>,
    /// How it is reached: the first is tried first. Never empty.
    pub hops: Hops,
    /// The flow that stands for the target in our Record-Route.
    pub flow: Option<FlowToken>,
    /// Its preference, thousandths (RFC 3261 §20.10).
    pub q: u16,
    /// Its share of the request's Max-Breadth, given when it is tried (RFC 5393 §5).
    pub breadth: u32,
    /// The hops were fitted to the request's length already.
    pub is_fitted: bool,
}

/// The targets of a request, the most preferred first.
pub(super) type Targets = SmallVec<[Target; 1]>;

impl Target {
    /// A target whose Request-URI stays as it is.
    pub(super) fn at(hops: Hops) -> Self {
        Self {
            hops,
            ..Self::default()
        }
    }
}

/// Takes the targets that are tried at the same time off the front: those of the highest q.
pub(super) fn take_group(targets: &mut Targets) -> Targets {
    let q = targets.first().map_or(0, |target| target.q);
    let end = targets.iter().take_while(|target| target.q == q).count();
    targets.drain(..end).collect()
}

impl Proxy {
    /// Where a subscriber is reached: at the PBX, or where their phones have registered with us.
    /// `uri` is what was called; it may name one phone (RFC 5627).
    pub(super) fn targets_of(
        &self,
        callee: Handle,
        uri: &[u8],
        (call_key, listener): (u64, u8),
    ) -> Result<Targets, Unroutable> {
        let towards = self.towards(call_key, listener);
        if self.policy.registrar.is_some() {
            return self.bound_targets(callee, uri, &towards);
        }
        let next_hop = self.policy.next_hop.as_ref();
        let hops = towards.next_hop(next_hop.ok_or(Unroutable::Nowhere)?)?;
        Ok(std::iter::once(Target::at(hops)).collect())
    }

    /// The same for the context of an INVITE.
    pub(super) fn targets_for(
        &self,
        key: InviteKey,
        callee: Handle,
        uri: &[u8],
    ) -> Result<Targets, Unroutable> {
        let invite = self.invites.get(key).ok_or(Unroutable::Nowhere)?;
        self.targets_of(callee, uri, (invite.call_key, invite.upstream.listener))
    }

    fn bound_targets(
        &self,
        callee: Handle,
        uri: &[u8],
        towards: &Towards<'_>,
    ) -> Result<Targets, Unroutable> {
        let profile = self.shared.directory.profile_guard(callee);
        let profile = profile.ok_or(Unroutable::Nowhere)?;
        let gr = Uri::parse(uri)
            .ok()
            .and_then(|uri| uri.param(b"gr").flatten());
        let flows = &self.shared.flows;
        let is_open = |id| flows.get(ConnectionId(id)).is_some();
        let now_unix_ms = self.now.unix_ms;
        let bound = self
            .shared
            .locations
            .targets((callee, &profile), gr, now_unix_ms, is_open);
        let mut found = Targets::new();
        let mut of_instance: SmallVec<[(&[u8], usize); 4]> = SmallVec::new();
        let mut failure = Unroutable::Nowhere;
        let bound: SmallVec<[_; 4]> = bound.iter().collect();
        for binding in &bound {
            let target = match bound_target(binding, towards) {
                Ok(target) => target,
                Err(reason) => {
                    failure = reason;
                    continue;
                }
            };
            let has_flows = binding.reg_id > 0 && !binding.instance.is_empty();
            let same = of_instance.iter().find(|(i, _)| *i == binding.instance);
            match same
                .filter(|_| has_flows)
                .and_then(|(_, at)| found.get_mut(*at))
            {
                Some(first) => first.hops.extend(target.hops),
                None => {
                    of_instance.push((binding.instance, found.len()));
                    found.push(target);
                }
            }
        }
        match found.is_empty() {
            true => Err(failure),
            false => Ok(found),
        }
    }
}

/// How a binding is reached.
fn bound_target(
    binding: &registrar::Target<'_>,
    towards: &Towards<'_>,
) -> Result<Target, Unroutable> {
    let first = crate::message::first_value(binding.path);
    let way = first.and_then(|value| NameAddr::parse(value).ok());
    let named = || {
        let uri = way.map_or(&*binding.uri, |way| way.uri);
        towards.uri(&Uri::parse(uri).map_err(|_| Unroutable::Nowhere)?)
    };
    let (hops, flow) = match binding.reach {
        Reach::Resolved => (named()?, None),
        Reach::Preferred(flow) | Reach::Only(flow) => {
            let (hop, token) = over(&flow);
            let mut hops: Hops = std::iter::once(hop).collect();
            if let (Reach::Preferred(_), Ok(others)) = (binding.reach, named()) {
                hops.extend(others);
            }
            (hops, Some(token))
        }
    };
    Ok(Target {
        uri: Some(binding.uri.as_ref().into()),
        path: binding.path.into(),
        hops,
        flow,
        q: binding.q_thousandths,
        is_fitted: false,
        breadth: 0,
    })
}

/// The hop over a registered flow, and its token for the dialog.
fn over(flow: &registrar::Flow) -> (Hop, FlowToken) {
    let (from, listener) = (flow.peer, flow.listener);
    match flow.connection.map(ConnectionId) {
        Some(id) => {
            let hop = Hop {
                flow: Flow::Only(id),
                ..Hop::new(from, listener)
            };
            (hop, FlowToken::Connection { id, listener })
        }
        None => (
            Hop::new(from, listener),
            FlowToken::Datagram { from, listener },
        ),
    }
}

/// The hops for a request of that many bytes: one that is too long for a datagram goes over TCP
/// first, and as a datagram only where nobody takes the connection (RFC 3261 §18.1.1).
pub(super) fn fitting(policy: &Policy, target: &Target, length_bytes: usize) -> Option<Hops> {
    let (limit, hops) = (policy.udp_limit_bytes, &target.hops);
    let is_long = limit > 0 && length_bytes > limit && !target.is_fitted;
    let needs_stream = |hop: &Hop| {
        is_long && hop.flow == Flow::Any && policy.transport(hop.listener) == Transport::Udp
    };
    if !hops.iter().any(needs_stream) {
        return None;
    }
    let mut fitting = Hops::new();
    for hop in hops {
        if needs_stream(hop) {
            let stream = policy.listener_towards(Transport::Tcp, hop.to.ip(), hop.listener);
            fitting.extend(stream.map(|listener| Hop {
                listener,
                ..hop.clone()
            }));
        }
        fitting.push(hop.clone());
    }
    Some(fitting)
}
