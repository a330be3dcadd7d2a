//! The callee's side, and voicemail's: what arrives there, and how it is answered.

use super::calls::{Leg, LegStage};
use super::check::{self, Checked, Wrong, unless};
use super::generator::Generator;
use super::ident::{Ident, Written};
use super::outbox::Hop;
use super::plan::{Scenario, Seat};
use super::timers::{Deadline, Due};
use crate::message::{Message, Method, Reply, write_response};

/// The To tag of a leg: the call's identity and the seat.
pub(super) fn to_tag(ident: &Written, seat: Seat) -> [u8; 24] {
    let mut tag = [b't'; 24];
    let last = [b'p', b'0' + seat as u8];
    for (byte, from) in tag.iter_mut().zip(ident.iter().chain(&last)) {
        *byte = *from;
    }
    tag
}

pub(super) fn leg_index(seat: Seat) -> usize {
    usize::from(seat == Seat::Elsewhere)
}

impl Generator {
    pub(super) fn on_request(&mut self, now_ns: u64, hop: Hop, message: &Message<'_>) {
        let method = message.method().unwrap_or(Method::Other);
        let Some(ident) = self.ident_of(message) else {
            return self.on_foreign_request(hop, method, message);
        };
        let hop = answer_hop(hop, message);
        if self.calls.get(ident).is_none() {
            return self.on_request_of_ended_call(hop, ident, message);
        }
        let written = ident.write(self.plan.seed);
        let sent = self.writer.max_forwards(method);
        if let Err(wrong) = check::request(message, &written, sent, self.plan.checks_at_callee()) {
            self.wrong(ident, wrong, message);
        }
        match method {
            Method::Invite => self.on_invite(now_ns, hop, ident, message),
            Method::Ack => self.on_ack(hop, ident, message),
            Method::Bye => self.on_bye(hop, ident, message),
            Method::Cancel => self.on_cancel(now_ns, hop, ident, message),
            Method::Options => self.answer(hop, message, 200),
            _ => {
                self.unexpected("a request that is not played", message);
                self.answer(hop, message, 501);
            }
        }
    }

    fn leg(&mut self, ident: Ident, seat: Seat) -> Option<&mut Leg> {
        self.calls.get(ident)?.legs.get_mut(leg_index(seat))
    }

    /// What is no request of ours: a proxy may ask whether we are alive.
    fn on_foreign_request(&mut self, hop: Hop, method: Method, message: &Message<'_>) {
        match method {
            Method::Options => self.answer(hop, message, 200),
            Method::Ack => self.unexpected("an ACK of no call", message),
            _ => {
                self.unexpected("a request of no call", message);
                self.answer(hop, message, 481);
            }
        }
    }

    pub(super) fn answer(&mut self, hop: Hop, message: &Message<'_>, status: u16) {
        let reply = Reply {
            source: Some(hop.to),
            to_tag: Some(b"bench"),
            ..Reply::new(status)
        };
        self.outbox
            .push(hop, |out| write_response(message, &reply, out));
    }

    fn on_invite(&mut self, now_ns: u64, hop: Hop, ident: Ident, message: &Message<'_>) {
        let branch = message.top_via().map_or(&[][..], |via| via.branch);
        let Some(leg) = self.leg(ident, hop.seat) else {
            return;
        };
        if leg.stage != LegStage::Idle {
            let is_same = leg.branch == branch;
            return self.on_invite_again(hop, ident, is_same, message);
        }
        leg.branch.clear();
        leg.branch.extend_from_slice(branch);
        leg.hop = Some(hop);
        if let Err(wrong) = self.check_invite(hop.seat, ident, message) {
            self.wrong(ident, wrong, message);
        }
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        if call.is_measured {
            self.tally.added_ns.note(now_ns.saturating_sub(call.due_ns));
        }
        let item = self.plan.items.get(usize::from(call.item));
        let scenario = item.map_or(Scenario::Call, |item| item.scenario);
        let only_rings = match scenario {
            Scenario::NoAnswer => true,
            Scenario::Forward | Scenario::Voicemail => {
                hop.seat == Seat::Callee && self.plan.seat(Seat::Elsewhere).is_some()
            }
            _ => false,
        };
        let ring_ns = self.plan.times.ring_ns;
        let written = ident.write(self.plan.seed);
        let tag = to_tag(&written, hop.seat);
        let Some(leg) = call.legs.get_mut(leg_index(hop.seat)) else {
            return;
        };
        leg.stage = LegStage::Ringing;
        let may_refuse = only_rings || ring_ns > 0;
        let writer = &mut self.writer;
        writer.prepare_answers(message, hop.seat, &tag, (leg, may_refuse));
        self.outbox.push(hop, |out| {
            writer.write_ringing(message, hop.seat, &tag, (leg, out));
        });
        if only_rings {
            return;
        }
        match ring_ns {
            0 => self.pick_up_leg(now_ns, ident, hop.seat),
            _ => self.set(now_ns, ring_ns, Due::PickUp, ident),
        }
    }

    fn check_invite(&mut self, seat: Seat, ident: Ident, message: &Message<'_>) -> Checked {
        let checks = self.plan.checks_at_callee();
        let has_elsewhere = self.plan.seat(Seat::Elsewhere).is_some();
        let Some(call) = self.calls.get(ident) else {
            return Ok(());
        };
        let Some(item) = self.plan.items.get(usize::from(call.item)) else {
            return Ok(());
        };
        unless(checks, Wrong::CSeq, || {
            message
                .cseq()
                .is_ok_and(|cseq| (cseq.number, cseq.method) == (call.cseq(), Method::Invite))
        })?;
        unless(checks, Wrong::ToTag, || {
            message.to().is_ok_and(|to| to.tag.is_none())
        })?;
        unless(checks, Wrong::Place, || match item.scenario {
            Scenario::Call | Scenario::NoAnswer => seat == Seat::Callee,
            Scenario::Forward | Scenario::Voicemail => seat == Seat::Callee || has_elsewhere,
            Scenario::Redirect | Scenario::Reject | Scenario::Register | Scenario::Subscribe => {
                false
            }
        })?;
        let user = item.targets.name(call.user);
        let writer = &mut self.writer;
        unless(checks, Wrong::Contact, || {
            writer.is_invite_contact(check::contact_uri(message))
        })?;
        unless(checks, Wrong::Body, || {
            writer.is_invite_body(&ident.write(self.plan.seed), user, message.body())
        })
    }

    fn on_invite_again(&mut self, hop: Hop, ident: Ident, is_same: bool, message: &Message<'_>) {
        if !is_same {
            self.unexpected("a second INVITE of the same call", message);
            // What would change the session is refused, and leaves it as it is (RFC 3261 §14.2).
            let is_in_dialog = message.to().is_ok_and(|to| to.tag.is_some());
            return self.answer(hop, message, if is_in_dialog { 488 } else { 482 });
        }
        let written = ident.write(self.plan.seed);
        let tag = to_tag(&written, hop.seat);
        let writer = &mut self.writer;
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        self.tally.counts.repeated_requests += u64::from(call.is_measured);
        let Some(leg) = call.legs.get(leg_index(hop.seat)) else {
            return;
        };
        self.outbox.push(hop, |out| match leg.stage {
            LegStage::Ringing => writer.write_ringing(message, hop.seat, &tag, (leg, out)),
            LegStage::Refused => out.extend_from_slice(&leg.refusal),
            _ => out.extend_from_slice(&leg.answer),
        });
    }

    /// Answers the legs that have rung long enough.
    pub(super) fn pick_up(&mut self, now_ns: u64, ident: Ident) {
        for seat in [Seat::Callee, Seat::Elsewhere] {
            let is_only_ringing = seat == Seat::Callee && self.rings_for_elsewhere(ident);
            if !is_only_ringing {
                self.pick_up_leg(now_ns, ident, seat);
            }
        }
    }

    /// Whether the callee of this call rings until the proxy sends the call elsewhere.
    fn rings_for_elsewhere(&mut self, ident: Ident) -> bool {
        let has_elsewhere = self.plan.seat(Seat::Elsewhere).is_some();
        let Some(call) = self.calls.get(ident) else {
            return true;
        };
        let item = self.plan.items.get(usize::from(call.item));
        let scenario = item.map(|item| item.scenario);
        has_elsewhere && matches!(scenario, Some(Scenario::Forward | Scenario::Voicemail))
    }

    fn pick_up_leg(&mut self, now_ns: u64, ident: Ident, seat: Seat) {
        self.send_final(now_ns, ident, seat, LegStage::Answered);
    }

    /// Sends the 200 or the 487 of a leg that rings; it is sent again until its ACK arrives.
    fn send_final(&mut self, now_ns: u64, ident: Ident, seat: Seat, stage: LegStage) {
        let wait_ns = self.plan.times.t1_ns;
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        let Some(leg) = call.legs.get_mut(leg_index(seat)) else {
            return;
        };
        if leg.stage != LegStage::Ringing {
            return;
        }
        leg.stage = stage;
        leg.wait_ns = wait_ns;
        leg.resend_at_ns = now_ns.saturating_add(wait_ns);
        send_again(&mut self.outbox, leg);
        self.set(now_ns, wait_ns, Due::Answer, ident);
    }

    /// Final answers without their ACK are sent again (RFC 3261 §13.3.1.4, timer G of §17.2.1).
    pub(super) fn on_answer_due(&mut self, now_ns: u64, deadline: Deadline, ident: Ident) {
        let times = self.plan.times;
        let mut next_ns = None;
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        for leg in &mut call.legs {
            let is_again = match leg.stage {
                LegStage::Answered => true,
                LegStage::Refused => !leg.is_stream(),
                _ => false,
            };
            if !is_again || leg.resend_at_ns != deadline.at_ns || leg.wait_ns >= times.timeout_ns {
                continue;
            }
            call.is_retransmitted = true;
            self.tally.counts.answers_again += u64::from(call.is_measured);
            leg.wait_ns = leg.wait_ns.saturating_mul(2).min(times.t2_ns);
            leg.resend_at_ns = now_ns.saturating_add(leg.wait_ns);
            next_ns = Some(leg.wait_ns);
            send_again(&mut self.outbox, leg);
        }
        if let Some(wait_ns) = next_ns {
            self.set(now_ns, wait_ns, Due::Answer, ident);
        }
    }

    fn on_ack(&mut self, hop: Hop, ident: Ident, message: &Message<'_>) {
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        let (number, is_measured) = (call.cseq(), call.is_measured);
        let Some(leg) = call.legs.get_mut(leg_index(hop.seat)) else {
            return;
        };
        match leg.stage {
            LegStage::Answered => {
                leg.stage = LegStage::Confirmed;
                leg.is_confirmed = true;
                let is_stream = leg.is_stream();
                self.check_in_dialog((hop.seat, is_stream), (number, Method::Ack), ident, message);
            }
            LegStage::Refused => {
                leg.stage = LegStage::Ended;
                leg.is_confirmed = true;
            }
            // The BYE has overtaken it.
            LegStage::Ended if !leg.is_confirmed => leg.is_confirmed = true,
            LegStage::Confirmed | LegStage::Ended => {
                self.tally.counts.repeated_requests += u64::from(is_measured);
            }
            LegStage::Idle | LegStage::Ringing => {
                self.unexpected("an ACK before the final answer", message);
            }
        }
    }

    fn on_bye(&mut self, hop: Hop, ident: Ident, message: &Message<'_>) {
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        let (number, is_measured) = (call.bye_cseq(), call.is_measured);
        let Some(leg) = call.legs.get_mut(leg_index(hop.seat)) else {
            return;
        };
        let (stage, is_stream) = (leg.stage, leg.is_stream());
        match stage {
            LegStage::Confirmed | LegStage::Answered => leg.stage = LegStage::Ended,
            LegStage::Ended => self.tally.counts.repeated_requests += u64::from(is_measured),
            _ => self.unexpected("a BYE before the final answer", message),
        }
        if stage == LegStage::Answered {
            self.wrong(ident, Wrong::Order, message);
        }
        self.check_in_dialog((hop.seat, is_stream), (number, Method::Bye), ident, message);
        self.answer(hop, message, 200);
    }

    /// Looks at a request in the dialog of the leg that was called over a stream or not.
    fn check_in_dialog(
        &mut self,
        (seat, is_stream): (Seat, bool),
        cseq: (u32, Method),
        ident: Ident,
        message: &Message<'_>,
    ) {
        let tag = to_tag(&ident.write(self.plan.seed), seat);
        let contact = self.writer.place(seat).contact(is_stream);
        let checks = self.plan.checks_at_callee();
        let checked = check::in_dialog(message, contact, &tag, checks).and_then(|()| {
            unless(checks, Wrong::CSeq, || {
                message
                    .cseq()
                    .is_ok_and(|found| (found.number, found.method) == cseq)
            })
        });
        if let Err(wrong) = checked {
            self.wrong(ident, wrong, message);
        }
    }

    fn on_cancel(&mut self, now_ns: u64, hop: Hop, ident: Ident, message: &Message<'_>) {
        let Some(leg) = self.leg(ident, hop.seat) else {
            return;
        };
        match leg.stage {
            LegStage::Idle => {
                self.unexpected("a CANCEL before its INVITE", message);
                self.answer(hop, message, 481);
            }
            stage => {
                self.answer(hop, message, 200);
                if stage == LegStage::Ringing {
                    self.send_final(now_ns, ident, hop.seat, LegStage::Refused);
                }
            }
        }
    }
}

/// Where an answer goes (RFC 3261 §18.2.2, RFC 3581 §4): to where the request came from; at the
/// port of the Via, unless `rport` was asked for.
pub(super) fn answer_hop(mut hop: Hop, message: &Message<'_>) -> Hop {
    if hop.connection.is_none()
        && let Ok(via) = message.top_via()
        && via.rport.is_none()
    {
        hop.to.set_port(via.port.unwrap_or(5060));
    }
    hop
}

pub(super) fn send_again(outbox: &mut super::outbox::Outbox, leg: &Leg) {
    let message = match leg.stage {
        LegStage::Refused => &leg.refusal,
        _ => &leg.answer,
    };
    if let Some(hop) = leg.hop {
        outbox.push(hop, |out| out.extend_from_slice(message));
    }
}
