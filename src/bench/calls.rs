//! The calls of a thread: a slab by index, whose entries keep their room when they are used again.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::ident::{Ident, Letter};
use super::outbox::Hop;

/// How far a call has come, seen from the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stage {
    /// Nobody uses the slot.
    #[default]
    Free,
    /// The INVITE has no answer yet.
    Calling,
    /// It has a provisional one.
    Proceeding,
    /// The CANCEL was sent.
    Cancelling,
    /// The 2xx was acknowledged.
    Talking,
    /// The BYE was sent.
    Leaving,
    /// The REGISTER was sent.
    Registering,
    /// The SUBSCRIBE was sent.
    Subscribing,
    /// Its 200 came; the first NOTIFY has not.
    Accepted,
    /// Both came.
    Watching,
    /// The SUBSCRIBE that ends it was sent.
    Unsubscribing,
    /// Its 200 came; the NOTIFY that says so has not.
    Unsubscribed,
}

impl Stage {
    /// Whether there was a final answer that a dialog came of.
    pub(super) const fn has_dialog(self) -> bool {
        matches!(
            self,
            Self::Talking
                | Self::Leaving
                | Self::Accepted
                | Self::Watching
                | Self::Unsubscribing
                | Self::Unsubscribed
        )
    }

    /// Whether it is one of a subscription.
    pub(super) const fn is_of_subscription(self) -> bool {
        matches!(
            self,
            Self::Subscribing
                | Self::Accepted
                | Self::Watching
                | Self::Unsubscribing
                | Self::Unsubscribed
        )
    }
}

/// How far a leg has come, seen from who is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum LegStage {
    /// No INVITE arrived.
    #[default]
    Idle,
    /// It rings.
    Ringing,
    /// The 200 was sent.
    Answered,
    /// The ACK arrived.
    Confirmed,
    /// The 487 was sent.
    Refused,
    /// The BYE, or the ACK of the 487, arrived.
    Ended,
}

impl LegStage {
    /// Whether the 200 was sent, whatever came then.
    pub(super) const fn has_answered(self) -> bool {
        matches!(self, Self::Answered | Self::Confirmed | Self::Ended)
    }

    /// Whether the server has still to end it.
    pub(super) const fn is_standing(self) -> bool {
        matches!(self, Self::Ringing | Self::Answered | Self::Confirmed)
    }
}

/// The part of a call that is played at the callee's or at the other address.
#[derive(Debug, Default)]
pub(super) struct Leg {
    pub stage: LegStage,
    /// The 200 as it is sent; its body begins at `body_at`.
    pub answer: Vec<u8>,
    pub body_at: usize,
    /// The 487, where the leg may be cancelled.
    pub refusal: Vec<u8>,
    /// The Record-Route lines of the INVITE.
    pub record_routes: Vec<u8>,
    /// The branch of the INVITE's top Via.
    pub branch: Vec<u8>,
    /// Where the answers go.
    pub hop: Option<Hop>,
    pub wait_ns: u64,
    pub resend_at_ns: u64,
    /// The ACK of its final answer arrived.
    pub is_confirmed: bool,
}

/// One call.
#[derive(Debug, Default)]
pub(super) struct Call {
    pub generation: u32,
    pub stage: Stage,
    /// Which scenario of the mix.
    pub item: u8,
    /// Which user of the scenario's.
    pub user: u32,
    pub is_measured: bool,
    pub is_wrong: bool,
    /// It was given up; set until the slot is used again.
    pub has_timed_out: bool,
    /// It was answered, and should not have been.
    pub has_wrong_status: bool,
    pub is_retransmitted: bool,
    pub has_rung: bool,
    /// The request under way was sent again, as its connection was closed.
    pub is_moved: bool,
    /// How many ACKs its 2xx has had.
    pub acks: u8,
    /// The INVITE, REGISTER or SUBSCRIBE was sent again, with credentials.
    pub is_authorized: bool,
    /// The BYE, or the SUBSCRIBE that ends a subscription, was.
    pub is_bye_authorized: bool,
    /// A NOTIFY has come.
    pub is_notified: bool,
    /// One has come that ends the subscription.
    pub is_terminated: bool,
    /// The CSeq number of the last NOTIFY.
    pub notify_cseq: u32,
    /// The final status, once it is counted.
    pub status: u16,
    /// When the INVITE, REGISTER or SUBSCRIBE was due.
    pub due_ns: u64,
    /// When the current request was due, and first sent.
    pub request_due_ns: u64,
    pub wait_ns: u64,
    pub resend_at_ns: u64,
    /// The Request-URI of the INVITE, also the To.
    pub to_uri: Vec<u8>,
    /// The remote target of the dialog.
    pub target: Vec<u8>,
    /// The Route lines of the dialog.
    pub routes: Vec<u8>,
    pub to_tag: Vec<u8>,
    /// The branch of the last NOTIFY.
    pub notify_branch: Vec<u8>,
    /// The Authorization or Proxy-Authorization line of the INVITE, REGISTER or SUBSCRIBE.
    pub authorization: Vec<u8>,
    /// That of the BYE, or of the SUBSCRIBE that ends a subscription.
    pub bye_authorization: Vec<u8>,
    /// Where requests in the dialog are sent.
    pub next_hop: Option<SocketAddr>,
    pub legs: [Leg; 2],
}

impl Call {
    /// The CSeq number of its INVITE, REGISTER or SUBSCRIBE: with credentials one more than without (RFC 3261
    /// §22.2).
    pub(super) fn cseq(&self) -> u32 {
        1 + u32::from(self.is_authorized)
    }

    /// The CSeq number of its BYE, or of the SUBSCRIBE that ends it.
    pub(super) fn bye_cseq(&self) -> u32 {
        self.cseq() + 1 + u32::from(self.is_bye_authorized)
    }

    /// The letter in the branch of its BYE.
    pub(super) fn bye_letter(&self) -> Letter {
        match self.is_bye_authorized {
            true => Letter::AuthorizedBye,
            false => Letter::Bye,
        }
    }

    /// The letter in the branch of its INVITE.
    pub(super) fn invite_letter(&self) -> Letter {
        match self.is_authorized {
            true => Letter::AuthorizedInvite,
            false => Letter::Invite,
        }
    }

    /// The letter in the branch of its REGISTER.
    pub(super) fn register_letter(&self) -> Letter {
        match self.is_authorized {
            true => Letter::AuthorizedRegister,
            false => Letter::Register,
        }
    }

    /// The letter in the branch of its SUBSCRIBE.
    pub(super) fn subscribe_letter(&self) -> Letter {
        match self.is_authorized {
            true => Letter::AuthorizedSubscribe,
            false => Letter::Subscribe,
        }
    }

    /// The letter in the branch of the SUBSCRIBE that ends it.
    pub(super) fn unsubscribe_letter(&self) -> Letter {
        match self.is_bye_authorized {
            true => Letter::AuthorizedUnsubscribe,
            false => Letter::Unsubscribe,
        }
    }
}

impl Leg {
    /// Whether its INVITE came over a connection.
    pub(super) fn is_stream(&self) -> bool {
        self.hop.is_some_and(|hop| hop.connection.is_some())
    }

    fn reset(&mut self) {
        self.stage = LegStage::Idle;
        self.hop = None;
        self.is_confirmed = false;
    }
}

/// How many slots rest before one is used again, so that what comes late for its last call finds
/// no other.
const RESTING: usize = 1_024;

/// The slab.
#[derive(Debug)]
pub(super) struct Calls {
    calls: Vec<Call>,
    free: VecDeque<u32>,
    limit: usize,
    thread: u8,
}

impl Calls {
    /// Room for so many calls; entries are made when they are first used.
    pub(super) fn new(slots: u32, thread: u8) -> Self {
        Self {
            calls: Vec::new(),
            free: VecDeque::new(),
            limit: slots as usize,
            thread,
        }
    }

    /// A free slot: the one that was free longest, or a new one while too few rest.
    pub(super) fn take(&mut self) -> Option<(u32, &mut Call)> {
        let may_grow = self.calls.len() < self.limit && self.free.len() < RESTING;
        let slot = if may_grow {
            self.calls.push(Call::default());
            u32::try_from(self.calls.len() - 1).ok()?
        } else {
            self.free.pop_front()?
        };
        let call = self.calls.get_mut(slot as usize)?;
        call.generation = call.generation.wrapping_add(1);
        (call.is_wrong, call.is_retransmitted, call.has_rung) = (false, false, false);
        (call.has_wrong_status, call.has_timed_out, call.next_hop) = (false, false, None);
        (call.is_authorized, call.is_bye_authorized) = (false, false);
        (call.status, call.acks, call.is_moved) = (0, 0, false);
        (call.is_notified, call.is_terminated, call.notify_cseq) = (false, false, 0);
        for buffer in [&mut call.to_uri, &mut call.target, &mut call.routes] {
            buffer.clear();
        }
        call.to_tag.clear();
        call.authorization.clear();
        call.bye_authorization.clear();
        call.legs.iter_mut().for_each(Leg::reset);
        Some((slot, call))
    }

    /// Gives a slot back.
    pub(super) fn release(&mut self, slot: u32) {
        if let Some(call) = self.calls.get_mut(slot as usize) {
            call.stage = Stage::Free;
            self.free.push_back(slot);
        }
    }

    /// The call of an identity, if it is still open.
    #[inline]
    pub(super) fn get(&mut self, ident: Ident) -> Option<&mut Call> {
        let call = self.calls.get_mut(ident.slot as usize)?;
        let is_open = call.generation == ident.generation && call.stage != Stage::Free;
        (is_open && ident.thread == self.thread).then_some(call)
    }

    /// The call of an identity also when it is over, until its slot is used again.
    pub(super) fn even_ended(&mut self, ident: Ident) -> Option<&mut Call> {
        let call = self.calls.get_mut(ident.slot as usize)?;
        let is_it = call.generation == ident.generation && ident.thread == self.thread;
        is_it.then_some(call)
    }

    /// The identity of the call that a slot holds now.
    pub(super) fn ident(&self, slot: u32) -> Ident {
        let call = self.calls.get(slot as usize);
        Ident {
            thread: self.thread,
            slot,
            generation: call.map_or(0, |call| call.generation),
        }
    }

    /// The identities of all open calls.
    pub(super) fn open(&self) -> Vec<Ident> {
        let calls = (0_u32..).zip(&self.calls);
        let open = calls.filter(|(_, call)| call.stage != Stage::Free);
        open.map(|(slot, _)| self.ident(slot)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_used_again_is_another_call() {
        let mut calls = Calls::new(2, 7);
        let (slot, call) = calls.take().unwrap();
        call.stage = Stage::Calling;
        let first = calls.ident(slot);
        assert!(calls.get(first).is_some());
        assert_eq!(calls.open(), [first]);
        calls.release(slot);
        assert!(calls.get(first).is_none());
        assert_eq!(calls.take().unwrap().0, 1);
        let (slot, call) = calls.take().unwrap();
        call.stage = Stage::Calling;
        assert_eq!(slot, 0);
        assert!(calls.get(first).is_none());
        assert!(calls.get(calls.ident(0)).is_some());
        assert!(calls.take().is_none());
    }
}
