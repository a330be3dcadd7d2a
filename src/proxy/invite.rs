//! The response context of one INVITE (RFC 3261 §16.7): its server transaction and its branches.

use std::net::SocketAddr;

use smallvec::SmallVec;

use super::best::Best;
use super::caller::Identity;
use super::facts::Outcome;
use super::hop::{Hop, Unreachable};
use super::policy::Policy;
use super::target::Target;
use super::token::FlowToken;
use crate::presence::{Handle, Mark};
use crate::routing::{Divert, Failure, History, Mode, Reasons};
use crate::transaction::{Due, InviteClient, InviteServer, Ms, NonInviteClient, soonest};

/// One INVITE between upstream and its branches.
pub(super) struct Invite {
    /// What finds this context for retransmissions, ACK and CANCEL.
    pub server_key: u64,
    pub call_key: u64,
    /// What routing depended on, for the branches' loop detection.
    pub check: u32,
    /// How many branches may be active at once (RFC 5393 §5.3.2: Incoming Max-Breadth).
    pub breadth: u32,
    /// The Reason lines of the CANCEL that came from upstream.
    pub cancel_reason: Box<[u8]>,
    pub server: InviteServer,
    /// Where upstream is.
    pub upstream: Hop,
    /// How the caller is reached within the dialog, where the Contact does not say it.
    pub flow: Option<FlowToken>,
    pub branches: SmallVec<[Branch; 1]>,
    /// The last provisional, or the final response if it is not a 2xx: what a retransmission of
    /// the INVITE is answered with. Empty: a 100, written anew.
    pub response: Box<[u8]>,
    /// The best final response so far that was not passed on (§16.7(6)).
    pub best: Option<Best>,
    /// Upstream sent a CANCEL: no branch is started any more.
    pub is_cancelled: bool,
    /// The callees' tags whose 2xx opened a call, hashed. The same 2xx again opens none, even where
    /// the BYE has overtaken it.
    pub answered: SmallVec<[u64; 1]>,
    /// The deadline the timer wheel holds for this context.
    pub armed: Ms,
    /// `None` for a re-INVITE: nothing was decided.
    pub story: Option<Box<Story>>,
}

/// What the decision needs again when a branch fails, and what is told about the call afterwards.
pub(super) struct Story {
    pub caller: Identity,
    pub history: History,
    /// Who this INVITE called.
    pub callee: Option<Handle>,
    /// How many of the visited were so before this INVITE came to us.
    pub visited_before: usize,
    pub forwarding: Mode,
    pub voicemail: Mode,
    pub invited_ms: Ms,
    pub invited_unix_ms: i64,
    pub first_ring_ms: Option<Ms>,
    pub source: SocketAddr,
    pub outcome: Outcome,
    pub reasons: Reasons,
    /// The target of the last diversion, as the next hop saw it.
    pub target: Box<[u8]>,
    /// The Session-Expires that we inserted, seconds; 0 where we did not (RFC 4028 §8.1).
    pub offered_session_s: u32,
    /// Targets that are tried when those of now have failed.
    pub waiting: Vec<Target>,
    /// How the branches of now have failed so far: what most deserves the callee's rules.
    pub failure: Option<Failure>,
    /// After whose failure was last decided, and after which.
    pub asked: Option<(Handle, Failure)>,
    /// The branch after whose failure nothing is tried yet: the next target's name is being resolved.
    pub waits_after: Option<u8>,
}

/// One copy of the INVITE that was sent downstream.
pub(super) struct Branch {
    pub client: InviteClient,
    pub hop: Hop,
    pub check: u32,
    /// Its share of the context's Max-Breadth.
    pub breadth: u32,
    /// What was sent, for retransmission, CANCEL and ACK; empty once answered with a 2xx.
    pub sent: Box<[u8]>,
    /// How many bytes at the top of its headers are ours alone.
    pub own_bytes: u32,
    /// The Request-URI as it was before a binding's Contact took its place.
    pub dialled: Option<Box<[u8]>>,
    /// What is tried if this hop fails (RFC 3263 §4.3).
    pub retry: Option<Box<Retry>>,
    /// When it is tried although this hop has only been silent.
    pub failover_at: Option<Ms>,
    /// Another hop was tried in its place: its failure counts no more.
    pub is_superseded: bool,
    /// The subscriber whose phones this branch reaches.
    pub callee: Option<Handle>,
    /// While they ring.
    pub ringing: Option<Mark>,
    /// How long they may ring, milliseconds.
    pub ring_for: Option<Ms>,
    /// When ringing becomes a no-answer; set by the first 18x.
    pub ring_deadline: Option<Ms>,
    /// Timer C (§16.8): set while no final response has come.
    pub timer_c: Ms,
    pub cancel: Cancel,
    /// Why we gave the branch up ourselves.
    pub given_up: Option<Failure>,
}

/// The hops that are left of a target.
pub(super) struct Retry {
    pub target: Target,
}

/// The CANCEL of a branch (§9.1).
pub(super) enum Cancel {
    /// Not wanted.
    No,
    /// Wanted, but no provisional response has come yet.
    Wanted,
    /// Sent.
    Sent {
        client: NonInviteClient,
        sent: Box<[u8]>,
        /// When the branch is taken for dead if no final response came: 64*T1 after the CANCEL.
        abandon_at: Ms,
    },
}

/// What a timer of an INVITE context asks for, and of which branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InviteDue {
    /// Send the final response upstream again (timer G).
    RepeatResponse,
    /// No ACK came (timer H).
    NoAck,
    /// Send a branch's INVITE again (timer A).
    RepeatInvite(u8),
    /// A branch did not answer at all (timer B) or took too long (timer C, or after a CANCEL).
    BranchTimedOut(u8),
    /// A branch has heard nothing for so long that its next hop is tried.
    TryNext(u8),
    /// A branch rang long enough.
    RangLongEnough(u8),
    /// Timer C fired after a provisional: cancel the branch.
    GiveUp(u8),
    /// Send a branch's CANCEL again (timer E).
    RepeatCancel(u8),
}

impl Story {
    /// The call was diverted: whoever did so is not asked again (semantics of loops).
    pub(super) fn remember(&mut self, divert: &Divert) {
        for hop in &divert.hops {
            if !self.history.visited.contains(&hop.subscriber) {
                self.history.visited.push(hop.subscriber);
            }
            self.history.diversions = self.history.diversions.saturating_add(1);
        }
    }
}

impl Invite {
    /// Whether a branch may still answer.
    pub(super) fn has_pending_branch(&self) -> bool {
        self.branches
            .iter()
            .any(|branch| branch.client.is_pending() && !branch.is_superseded)
    }

    /// Whether nothing more can happen.
    pub(super) fn is_over(&self) -> bool {
        self.server == InviteServer::Terminated
            && self
                .branches
                .iter()
                .all(|branch| branch.client == InviteClient::Terminated)
    }

    /// When [`Invite::due`] must be asked.
    pub(super) fn deadline(&self) -> Option<Ms> {
        let branches = self.branches.iter().map(Branch::deadline);
        soonest(branches.chain([self.server.deadline()]))
    }

    /// The next thing that is due at `now`; ask again until there is nothing.
    pub(super) fn due(&mut self, now: Ms, policy: &Policy) -> Option<InviteDue> {
        let base = policy.base(self.upstream.listener);
        match self.server.on_timeout(now, &base) {
            Due::Retransmit => return Some(InviteDue::RepeatResponse),
            Due::TimedOut => return Some(InviteDue::NoAck),
            Due::Ended | Due::Nothing => {}
        }
        let mut numbered = (0u8..).zip(self.branches.iter_mut());
        numbered.find_map(|(leg, branch)| branch.due(leg, now, policy))
    }
}

impl Branch {
    /// Whether it was sent to where nothing can be delivered, and has not heard anything yet.
    pub(super) fn is_hit_by(&self, failure: &Unreachable) -> bool {
        self.hop.is_hit_by(failure) && self.is_silent()
    }

    /// Whether nothing at all has been heard of it.
    fn is_silent(&self) -> bool {
        matches!(self.client, InviteClient::Calling { .. })
    }

    fn deadline(&self) -> Option<Ms> {
        let pending = self.client.is_pending();
        let (cancel, abandon) = match &self.cancel {
            Cancel::Sent {
                client, abandon_at, ..
            } => (client.deadline(), pending.then_some(*abandon_at)),
            _ => (None, None),
        };
        let ring = self.ring_deadline.filter(|_| pending && abandon.is_none());
        let timer_c = Some(self.timer_c).filter(|_| pending && abandon.is_none());
        let failover = self.failover_at.filter(|_| self.is_silent());
        soonest([
            self.client.deadline(),
            ring,
            timer_c,
            cancel,
            abandon,
            failover,
        ])
    }

    fn due(&mut self, leg: u8, now: Ms, policy: &Policy) -> Option<InviteDue> {
        let base = policy.base(self.hop.listener);
        match self.client.on_timeout(now, &base) {
            Due::Retransmit => return Some(InviteDue::RepeatInvite(leg)),
            Due::TimedOut => return Some(InviteDue::BranchTimedOut(leg)),
            Due::Ended => self.sent = Box::default(),
            Due::Nothing => {}
        }
        if let Cancel::Sent {
            client, abandon_at, ..
        } = &mut self.cancel
        {
            if client.on_timeout(now, &base) == Due::Retransmit {
                return Some(InviteDue::RepeatCancel(leg));
            }
            if self.client.is_pending() && *abandon_at <= now {
                self.client.abandon();
                return Some(InviteDue::BranchTimedOut(leg));
            }
            return None;
        }
        if !self.client.is_pending() {
            return None;
        }
        if self.ring_deadline.is_some_and(|at| at <= now) {
            self.ring_deadline = None;
            return Some(InviteDue::RangLongEnough(leg));
        }
        if self.is_silent() && self.failover_at.is_some_and(|at| at <= now) {
            self.failover_at = None;
            return Some(InviteDue::TryNext(leg));
        }
        if self.timer_c <= now {
            self.timer_c = Ms::MAX;
            return Some(InviteDue::GiveUp(leg));
        }
        None
    }
}
