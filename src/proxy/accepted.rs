//! INVITEs that a 2xx has answered (RFC 6026 §7): until timers L and M they wait for a further 2xx,
//! which seldom comes. Such a context with one branch is packed to a quarter of its size, as each
//! call has one for half a minute; whatever comes for it unpacks it, and it is handled as any other.

use std::net::SocketAddr;

use slotmap::SlotMap;
use smallvec::{SmallVec, smallvec};

use super::InviteKey;
use super::caller::Identity;
use super::facts::Outcome;
use super::hop::Hop;
use super::invite::{Branch, Cancel, Invite, Story};
use crate::presence::Handle;
use crate::routing::{CallerClass, History, Mode, Reason};
use crate::transaction::{BranchId, InviteClient, InviteServer, Ms};

/// The INVITE contexts of a shard, each in memory of its own: a table of slots never shrinks, and
/// grows by moving all of them.
#[derive(Default)]
pub(super) struct Invites {
    contexts: SlotMap<InviteKey, Context>,
    packed: usize,
}

enum Context {
    Whole(Box<Invite>),
    Packed(Box<Accepted>),
}

/// What is left of a context.
struct Accepted {
    server_key: u64,
    call_key: u64,
    check: u32,
    is_cancelled: bool,
    timer_l: Ms,
    upstream: Hop,
    armed: Ms,
    answered: SmallVec<[u64; 1]>,
    told: Option<Told>,
    /// Of its branch.
    timer_m: Ms,
    downstream: Hop,
    branch_check: u32,
    callee: Option<Handle>,
}

/// What a further call needs that another 2xx opens.
struct Told {
    caller: Option<Handle>,
    class: CallerClass,
    callee: Option<Handle>,
    invited_ms: Ms,
    invited_unix_ms: i64,
    first_ring_ms: Option<Ms>,
    outcome: Outcome,
    offered_session_s: u32,
    reasons: SmallVec<[Reason; 1]>,
}

impl Invites {
    pub(super) fn insert(&mut self, invite: Box<Invite>) -> InviteKey {
        self.contexts.insert(Context::Whole(invite))
    }

    /// A context that is not packed.
    pub(super) fn get(&self, key: InviteKey) -> Option<&Invite> {
        match self.contexts.get(key)? {
            Context::Whole(invite) => Some(invite),
            Context::Packed(_) => None,
        }
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, key: InviteKey) -> Option<&mut Invite> {
        match self.contexts.get_mut(key)? {
            Context::Whole(invite) => Some(invite),
            Context::Packed(_) => None,
        }
    }

    /// Forgets a context.
    pub(super) fn remove(&mut self, key: InviteKey) {
        if let Some(Context::Packed(_)) = self.contexts.remove(key) {
            self.packed -= 1;
        }
    }

    /// How many there are, packed or not.
    pub(super) fn len(&self) -> usize {
        self.contexts.len()
    }

    /// How many of them are packed.
    pub(super) fn packed_len(&self) -> usize {
        self.packed
    }

    /// Those that are not packed.
    pub(super) fn iter(&self) -> impl Iterator<Item = (InviteKey, &Invite)> {
        self.contexts
            .iter()
            .filter_map(|(key, context)| match context {
                Context::Whole(invite) => Some((key, &**invite)),
                Context::Packed(_) => None,
            })
    }

    /// Packs a context that only waits for its end.
    pub(super) fn pack(&mut self, key: InviteKey) {
        if let Some(context) = self.contexts.get_mut(key)
            && let Context::Whole(invite) = context
            && let Some(accepted) = invite.pack()
        {
            *context = Context::Packed(Box::new(accepted));
            self.packed += 1;
        }
    }

    /// Makes a context whole again for a response to its branch.
    pub(super) fn unpack_for(&mut self, key: InviteKey, id: &BranchId) {
        if let Some(context) = self.contexts.get_mut(key)
            && let Context::Packed(accepted) = context
            && (id.leg, id.check) == (0, accepted.branch_check)
        {
            *context = Context::Whole(Box::new(accepted.unpack()));
            self.packed -= 1;
        }
    }

    /// When a packed context ends.
    pub(super) fn packed(&self, key: InviteKey) -> Option<Packed> {
        match self.contexts.get(key)? {
            Context::Whole(_) => None,
            Context::Packed(accepted) => Some(accepted.packed()),
        }
    }

    /// When the wheel will wake a context.
    pub(super) fn armed(&self, key: InviteKey) -> Option<Ms> {
        Some(match self.contexts.get(key)? {
            Context::Whole(invite) => invite.armed,
            Context::Packed(accepted) => accepted.armed,
        })
    }

    /// The wheel will wake a packed context then.
    pub(super) fn arm(&mut self, key: InviteKey, at: Ms) {
        if let Some(Context::Packed(accepted)) = self.contexts.get_mut(key) {
            accepted.armed = at;
        }
    }
}

/// A packed context, as the timers see it.
#[derive(Clone, Copy)]
pub(super) struct Packed {
    pub server_key: u64,
    pub armed: Ms,
    pub ends: Ms,
}

impl Invite {
    /// What stays of it, where nothing but a further 2xx or its end can come.
    fn pack(&mut self) -> Option<Accepted> {
        let InviteServer::Accepted { timer_l } = self.server else {
            return None;
        };
        let [branch] = self.branches.as_slice() else {
            return None;
        };
        let InviteClient::Accepted { timer_m } = branch.client else {
            return None;
        };
        if !matches!(branch.cancel, Cancel::No) {
            return None;
        }
        Some(Accepted {
            server_key: self.server_key,
            call_key: self.call_key,
            check: self.check,
            is_cancelled: self.is_cancelled,
            timer_l,
            upstream: self.upstream.clone(),
            armed: self.armed,
            answered: std::mem::take(&mut self.answered),
            told: self.story.take().map(|story| story.tell()),
            timer_m,
            downstream: branch.hop.clone(),
            branch_check: branch.check,
            callee: branch.callee,
        })
    }
}

impl Accepted {
    fn packed(&self) -> Packed {
        Packed {
            server_key: self.server_key,
            armed: self.armed,
            ends: self.timer_l.max(self.timer_m),
        }
    }

    fn unpack(&mut self) -> Invite {
        let branch = Branch {
            client: InviteClient::Accepted {
                timer_m: self.timer_m,
            },
            hop: self.downstream.clone(),
            check: self.branch_check,
            breadth: 0,
            sent: Box::default(),
            own_bytes: 0,
            dialled: None,
            retry: None,
            failover_at: None,
            is_superseded: false,
            callee: self.callee,
            ringing: None,
            ring_for: None,
            ring_deadline: None,
            timer_c: Ms::MAX,
            cancel: Cancel::No,
            given_up: None,
        };
        Invite {
            server_key: self.server_key,
            call_key: self.call_key,
            check: self.check,
            breadth: 0,
            cancel_reason: Box::default(),
            server: InviteServer::Accepted {
                timer_l: self.timer_l,
            },
            upstream: self.upstream.clone(),
            flow: None,
            branches: smallvec![branch],
            response: Box::default(),
            best: None,
            is_cancelled: self.is_cancelled,
            answered: std::mem::take(&mut self.answered),
            armed: self.armed,
            story: self
                .told
                .take()
                .map(|told| Box::new(told.story(self.upstream.to))),
        }
    }
}

impl Story {
    fn tell(self: Box<Self>) -> Told {
        Told {
            caller: self.caller.subscriber,
            class: self.caller.class,
            callee: self.callee,
            invited_ms: self.invited_ms,
            invited_unix_ms: self.invited_unix_ms,
            first_ring_ms: self.first_ring_ms,
            outcome: self.outcome,
            offered_session_s: self.offered_session_s,
            reasons: self.reasons.into_iter().collect(),
        }
    }
}

impl Told {
    /// No decision follows a 2xx: what only that would ask for is left empty.
    fn story(self, source: SocketAddr) -> Story {
        Story {
            caller: Identity {
                class: self.class,
                subscriber: self.caller,
                key: SmallVec::new(),
                uri: SmallVec::new(),
            },
            history: History::default(),
            callee: self.callee,
            visited_before: 0,
            forwarding: Mode::default(),
            voicemail: Mode::default(),
            invited_ms: self.invited_ms,
            invited_unix_ms: self.invited_unix_ms,
            first_ring_ms: self.first_ring_ms,
            source,
            outcome: self.outcome,
            reasons: self.reasons.into_iter().collect(),
            target: Box::default(),
            offered_session_s: self.offered_session_s,
            waiting: Vec::new(),
            failure: None,
            asked: None,
            waits_after: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_context_is_small() {
        assert!(size_of::<Accepted>() <= 400, "{}", size_of::<Accepted>());
        assert!(size_of::<Accepted>() * 2 < size_of::<Invite>() + size_of::<Story>());
    }
}
