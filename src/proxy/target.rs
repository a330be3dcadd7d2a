//! The target set of a request (RFC 3261 §16.5): whom to try, and by which hops.

use smallvec::SmallVec;

use super::hop::{Flow, Hop, Hops};
use super::policy::Policy;
use super::route::Unroutable;
use super::token::FlowToken;
use super::{InviteKey, Proxy};
use crate::message::Transport;
use crate::presence::Handle;

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
pub(super) fn take_group(targets: &mut Vec<Target>) -> Targets {
    let q = targets.first().map_or(0, |target| target.q);
    let end = targets.iter().take_while(|target| target.q == q).count();
    targets.drain(..end).collect()
}

impl Proxy {
    /// Where a subscriber is reached: at the PBX.
    pub(super) fn targets_of(
        &self,
        _callee: Option<Handle>,
        call_key: u64,
        listener: u8,
    ) -> Result<Targets, Unroutable> {
        let towards = self.towards(call_key, listener);
        let next_hop = self.policy.next_hop.as_ref();
        let hops = towards.next_hop(next_hop.ok_or(Unroutable::Nowhere)?)?;
        Ok(std::iter::once(Target::at(hops)).collect())
    }

    /// The same for the context of an INVITE.
    pub(super) fn targets_for(
        &self,
        key: InviteKey,
        callee: Handle,
    ) -> Result<Targets, Unroutable> {
        let invite = self.invites.get(key).ok_or(Unroutable::Nowhere)?;
        self.targets_of(Some(callee), invite.call_key, invite.upstream.listener)
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
