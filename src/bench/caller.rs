//! The caller's side: what comes back for INVITE, CANCEL, BYE and REGISTER, and what it sends then;
//! SUBSCRIBE is in `watcher`.

use std::net::SocketAddr;

use super::calls::{LegStage, Stage};
use super::check::{self, Asked, Checked, Wrong, contact_uri, unless};
use super::dialog::{form_dialog, next_hop, tag_of};
use super::generator::{End, Generator};
use super::ident::{self, Ident, Letter};
use super::outbox::Hop;
use super::plan::{Scenario, Seat};
use super::timers::{Deadline, Due};
use super::writer::Request;
use crate::message::{Message, Method, Name, Uri};

/// So many ACKs are not all lost by chance.
const ACKS_ENOUGH: u8 = 3;

impl Generator {
    pub(super) fn on_response(&mut self, now_ns: u64, hop: Hop, message: &Message<'_>) {
        let Some(ident) = self.ident_of(message) else {
            return self.unexpected("a response to nothing that was sent", message);
        };
        let method = message.cseq().map_or(Method::Other, |cseq| cseq.method);
        let is_of = |letter| {
            let via = message.top_via();
            via.is_ok_and(|via| ident::is_letter(via.branch, letter))
        };
        if is_of(Letter::OtherBye) || is_of(Letter::OtherUnsubscribe) {
            return;
        }
        let is_last = is_of(Letter::Unsubscribe) || is_of(Letter::AuthorizedUnsubscribe);
        let Some(call) = self.calls.get(ident) else {
            return self.on_late(hop, ident, message);
        };
        let is_of_before = match method {
            Method::Bye => call.is_bye_authorized && is_of(Letter::Bye),
            Method::Subscribe if is_last => call.is_bye_authorized && is_of(Letter::Unsubscribe),
            _ => {
                let begins = [Letter::Invite, Letter::Register, Letter::Subscribe];
                call.is_authorized && begins.into_iter().any(is_of)
            }
        };
        if is_of_before {
            return self.on_challenge_again(hop, ident, message);
        }
        let (letter, number) = match method {
            Method::Bye => (call.bye_letter(), call.bye_cseq()),
            Method::Register => (call.register_letter(), call.cseq()),
            Method::Subscribe if is_last => (call.unsubscribe_letter(), call.bye_cseq()),
            Method::Subscribe => (call.subscribe_letter(), call.cseq()),
            _ => (call.invite_letter(), call.cseq()),
        };
        // A NOTIFY may have come before the 200.
        let has_tag = method == Method::Bye || is_last || call.is_notified;
        let address = self.plan.seat(Seat::Caller).unwrap_or(self.plan.server);
        let asked = Asked {
            ident: &ident.write(self.plan.seed),
            letter,
            cseq: (number, method),
            local: &self.writer.place(Seat::Caller).local,
            address,
            transport: self.plan.transport.token().as_bytes(),
            to_tag: has_tag.then_some(call.to_tag.as_slice()),
        };
        if let Err(wrong) = check::response(message, &asked, self.plan.checks) {
            self.wrong(ident, wrong, message);
        }
        let status = message.status().unwrap_or_default();
        match method {
            Method::Invite if status < 200 => self.on_provisional(now_ns, ident, message),
            Method::Invite => self.on_final(now_ns, ident, message),
            Method::Bye => self.on_bye_answer(now_ns, ident, message),
            Method::Cancel => self.on_cancel_answer(ident, message),
            Method::Register => self.on_register_answer(now_ns, ident, message),
            Method::Subscribe if is_last => self.on_unsubscribe_answer(now_ns, ident, message),
            Method::Subscribe => self.on_subscribe_answer(now_ns, ident, message),
            _ => self.unexpected("a response to a method that was not sent", message),
        }
    }

    fn on_provisional(&mut self, now_ns: u64, ident: Ident, message: &Message<'_>) {
        let ring_ns = self.plan.times.ring_ns;
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        let (is_first, item) = (call.stage == Stage::Calling, call.item);
        match call.stage {
            Stage::Calling => call.stage = Stage::Proceeding,
            Stage::Proceeding | Stage::Cancelling => {}
            _ => {
                self.tally.counts.late_provisionals += u64::from(call.is_measured);
                return;
            }
        }
        if message.status() == Some(100) {
            // Whoever gives up does so also where the 180 is lost, which is not sent again.
            if is_first && self.gives_up(item) {
                let wait_ns = ring_ns.saturating_add(self.plan.times.t2_ns);
                self.set(now_ns, wait_ns, Due::GiveUp, ident);
            }
            return;
        }
        if std::mem::replace(&mut call.has_rung, true) {
            return;
        }
        if call.is_measured {
            let waited_ns = now_ns.saturating_sub(call.due_ns);
            self.tally.ringing_ns.note(waited_ns);
        }
        if let Err(wrong) = self.check_ringing(ident, message) {
            self.wrong(ident, wrong, message);
        }
        if self.is_leaving {
            self.give_up(now_ns, ident);
        } else if self.gives_up(item) {
            if ring_ns == 0 {
                self.give_up(now_ns, ident);
            } else {
                self.set(now_ns, ring_ns, Due::GiveUp, ident);
            }
        }
    }

    /// Whether the caller of this scenario gives up what rings.
    fn gives_up(&self, item: u8) -> bool {
        let item = self.plan.items.get(usize::from(item));
        item.is_some_and(|item| item.scenario == Scenario::NoAnswer)
    }

    /// A 180 is of somebody who rings; what else is provisional a proxy may make itself.
    fn check_ringing(&mut self, ident: Ident, message: &Message<'_>) -> Checked {
        let is_callees = self.plan.plays_callee() && !self.plan.is_back_to_back;
        if !is_callees || message.status() != Some(180) {
            return Ok(());
        }
        let written = ident.write(self.plan.seed);
        unless(self.plan.checks, Wrong::ToTag, || {
            [Seat::Callee, Seat::Elsewhere]
                .iter()
                .any(|seat| tag_of(message) == super::callee::to_tag(&written, *seat))
        })
    }

    fn on_final(&mut self, now_ns: u64, ident: Ident, message: &Message<'_>) {
        let status = message.status().unwrap_or_default();
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        let is_first = matches!(
            call.stage,
            Stage::Calling | Stage::Proceeding | Stage::Cancelling
        );
        if !is_first {
            return self.on_repeated_final(ident, message);
        }
        call.to_tag.clear();
        call.to_tag.extend_from_slice(tag_of(message));
        if status < 300 {
            self.note_final(now_ns, ident, status);
            return self.on_answered(now_ns, ident, message);
        }
        self.send(ident, Request::AckFailure);
        if !self.authorize(now_ns, ident, (Request::Invite, message)) {
            self.note_final(now_ns, ident, status);
            self.on_refused(now_ns, ident, message);
        }
    }

    /// Counts and times the final answer to an INVITE, REGISTER or SUBSCRIBE.
    pub(super) fn note_final(&mut self, now_ns: u64, ident: Ident, status: u16) {
        let late_ns = self.plan.times.late_ns;
        let Some(call) = self.calls.get(ident).filter(|call| call.is_measured) else {
            return;
        };
        call.status = status;
        let waited_ns = now_ns.saturating_sub(call.due_ns);
        self.tally.final_ns.note(waited_ns);
        self.tally.note_status(status);
        self.tally.counts.late += u64::from(waited_ns > late_ns);
    }

    fn on_refused(&mut self, now_ns: u64, ident: Ident, message: &Message<'_>) {
        let status = message.status().unwrap_or_default();
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        let item = self.plan.items.get(usize::from(call.item));
        let is_right = item.is_some_and(|item| item.finals.contains(&status));
        if is_right && (300..400).contains(&status) {
            let checked = unless(self.plan.checks, Wrong::Contact, || {
                contact_uri(message).is_some_and(|uri| Uri::parse(uri).is_ok())
            });
            if let Err(wrong) = checked {
                self.wrong(ident, wrong, message);
            }
        }
        let end = if is_right {
            End::Right
        } else {
            self.sample("another final status than the scenario wants", message);
            End::WrongStatus
        };
        self.end(now_ns, ident, end);
    }

    fn on_answered(&mut self, now_ns: u64, ident: Ident, message: &Message<'_>) {
        if let Err(wrong) = self.check_answer(ident, message) {
            self.wrong(ident, wrong, message);
        }
        if let Some(call) = self.calls.get(ident) {
            call.next_hop = next_hop(&self.plan, message);
            form_dialog(call, message);
        }
        self.send(ident, Request::Ack);
        let (hold_ns, status) = (
            self.plan.times.hold_ns,
            message.status().unwrap_or_default(),
        );
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        call.stage = Stage::Talking;
        (call.acks, call.is_moved) = (1, false);
        self.setting_up -= 1;
        let item = self.plan.items.get(usize::from(call.item));
        let is_right = item.is_some_and(|item| item.finals.contains(&status));
        if !is_right {
            call.has_wrong_status = true;
            self.sample("another final status than the scenario wants", message);
        }
        if hold_ns == 0 || !is_right || self.is_leaving {
            self.hang_up(now_ns, now_ns, ident);
        } else {
            self.set(now_ns, hold_ns, Due::HangUp, ident);
        }
    }

    /// The 200 is the one that the callee sent: its tag, its Record-Routes in their order, its
    /// Contact and its body.
    fn check_answer(&mut self, ident: Ident, message: &Message<'_>) -> Checked {
        let checks = self.plan.checks;
        if !self.plan.plays_callee() {
            return unless(checks, Wrong::Contact, || contact_uri(message).is_some());
        }
        let written = ident.write(self.plan.seed);
        let Some(call) = self.calls.get(ident) else {
            return Ok(());
        };
        let seats = [Seat::Callee, Seat::Elsewhere].into_iter().zip(&call.legs);
        let mut answered = seats
            .into_iter()
            .filter(|(_, leg)| leg.stage.has_answered());
        // Where both have answered, it is the one whose tag it has.
        let is_of = |seat| call.to_tag == super::callee::to_tag(&written, seat);
        let first = answered.clone().next();
        if self.plan.is_back_to_back {
            unless(checks, Wrong::Place, || first.is_some())?;
            return unless(checks, Wrong::Contact, || contact_uri(message).is_some());
        }
        let (seat, leg) = match answered.find(|(seat, _)| is_of(*seat)).or(first) {
            Some(answered) => answered,
            None => return unless(checks, Wrong::ToTag, || false),
        };
        unless(checks, Wrong::ToTag, || is_of(seat))?;
        unless(checks, Wrong::RouteSet, || {
            same_routes(message, &leg.record_routes)
        })?;
        let contact = self.writer.place(seat).contact(leg.is_stream());
        unless(checks, Wrong::Contact, || {
            contact_uri(message) == Some(contact)
        })?;
        unless(checks, Wrong::Body, || {
            leg.answer.get(leg.body_at..) == Some(message.body())
        })
    }

    /// Sends the BYE, or the SUBSCRIBE that ends a subscription, that was due at `due_ns`.
    pub(super) fn hang_up(&mut self, now_ns: u64, due_ns: u64, ident: Ident) {
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        let (stage, request) = match call.stage {
            Stage::Talking => (Stage::Leaving, Request::Bye),
            Stage::Accepted | Stage::Watching => (Stage::Unsubscribing, Request::Unsubscribe),
            _ => return,
        };
        (call.stage, call.request_due_ns) = (stage, due_ns);
        self.send_first(now_ns, ident, request);
    }

    /// Sends the CANCEL.
    pub(super) fn give_up(&mut self, now_ns: u64, ident: Ident) {
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        if call.stage == Stage::Proceeding {
            call.stage = Stage::Cancelling;
            call.request_due_ns = now_ns;
            self.send_first(now_ns, ident, Request::Cancel);
        }
    }

    fn on_cancel_answer(&mut self, ident: Ident, message: &Message<'_>) {
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        if call.stage != Stage::Cancelling {
            return self.unexpected("a response to a CANCEL that was not sent", message);
        }
        // Its INVITE's answer is still to come, and is waited for without another CANCEL.
        call.wait_ns = self.plan.times.timeout_ns;
        let checked = unless(self.plan.checks, Wrong::Cancel, || {
            message.status().is_none_or(|status| status < 300)
        });
        if let Err(wrong) = checked {
            self.wrong(ident, wrong, message);
        }
    }

    fn on_bye_answer(&mut self, now_ns: u64, ident: Ident, message: &Message<'_>) {
        let status = message.status().unwrap_or_default();
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        if call.stage != Stage::Leaving {
            return self.unexpected("a response to a BYE that was not sent", message);
        }
        if status < 200 || self.authorize(now_ns, ident, (Request::Bye, message)) {
            return;
        }
        self.note_end(now_ns, ident);
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        let is_right = status < 300 && !call.has_wrong_status;
        if is_right {
            self.check_arrived(ident, message);
        }
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        self.tally.counts.refused_byes += u64::from(status >= 300 && call.is_measured);
        if status >= 300 {
            self.sample("a BYE that was refused", message);
        }
        let end = if is_right {
            End::Right
        } else {
            End::WrongStatus
        };
        self.end(now_ns, ident, end);
    }

    /// Times the answer to what ends a call.
    pub(super) fn note_end(&mut self, now_ns: u64, ident: Ident) {
        if let Some(call) = self.calls.get(ident).filter(|call| call.is_measured) {
            let waited_ns = now_ns.saturating_sub(call.request_due_ns);
            self.tally.bye_ns.note(waited_ns);
            self.tally.counts.late += u64::from(waited_ns > self.plan.times.late_ns);
        }
    }

    /// Whether ACK and BYE of a call that was ended well reached who had answered it; a fork's others are
    /// hung up on their own. One ACK may be lost, or still come; not each of several.
    fn check_arrived(&mut self, ident: Ident, message: &Message<'_>) {
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        if !self.plan.checks.wants(Wrong::Lost) {
            return;
        }
        let may_be_lost = call.acks < ACKS_ENOUGH;
        let written = ident.write(self.plan.seed);
        let mut seats = [Seat::Callee, Seat::Elsewhere].into_iter().zip(&call.legs);
        let is_other_half = self.plan.is_back_to_back;
        let leg = seats.find(|(seat, leg)| match is_other_half {
            true => leg.stage.has_answered(),
            false => call.to_tag == super::callee::to_tag(&written, *seat),
        });
        let is_lost = match leg {
            // It is ended after the caller's half.
            Some((_, leg)) if is_other_half && leg.stage != LegStage::Ended => false,
            Some((_, leg)) if leg.stage == LegStage::Ended => !leg.is_confirmed && !may_be_lost,
            Some((_, leg)) => matches!(leg.stage, LegStage::Answered | LegStage::Confirmed),
            None => false,
        };
        let has_none = leg.is_some_and(|(_, leg)| !leg.is_confirmed);
        if is_lost {
            self.wrong(ident, Wrong::Lost, message);
        } else if has_none {
            self.tally.counts.unacknowledged += u64::from(call.is_measured);
        }
    }

    fn on_register_answer(&mut self, now_ns: u64, ident: Ident, message: &Message<'_>) {
        let status = message.status().unwrap_or_default();
        if status >= 200 && !self.authorize(now_ns, ident, (Request::Register, message)) {
            self.end_by_status(now_ns, ident, message);
        }
    }

    /// Ends what a final answer ends.
    pub(super) fn end_by_status(&mut self, now_ns: u64, ident: Ident, message: &Message<'_>) {
        let status = message.status().unwrap_or_default();
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        let item = self.plan.items.get(usize::from(call.item));
        let is_right = item.is_some_and(|item| item.finals.contains(&status));
        self.note_final(now_ns, ident, status);
        let end = if is_right {
            End::Right
        } else {
            self.sample("another final status than the scenario wants", message);
            End::WrongStatus
        };
        self.end(now_ns, ident, end);
    }

    /// A request that is still without its final answer: again over UDP (timers A and E), until
    /// timers B and F say that there will be none.
    pub(super) fn on_request_due(&mut self, now_ns: u64, deadline: Deadline, ident: Ident) {
        let times = self.plan.times;
        let is_reliable = self.plan.transport.is_reliable();
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        if call.resend_at_ns != deadline.at_ns {
            return;
        }
        let (request, again) = match call.stage {
            Stage::Calling => (Request::Invite, &mut self.tally.counts.invites_again),
            Stage::Cancelling => (Request::Cancel, &mut self.tally.counts.requests_again),
            Stage::Leaving => (Request::Bye, &mut self.tally.counts.requests_again),
            Stage::Registering => (Request::Register, &mut self.tally.counts.requests_again),
            Stage::Subscribing => (Request::Subscribe, &mut self.tally.counts.requests_again),
            Stage::Unsubscribing => (Request::Unsubscribe, &mut self.tally.counts.requests_again),
            Stage::Proceeding => (Request::Invite, &mut 0),
            Stage::Accepted | Stage::Unsubscribed => (Request::Subscribe, &mut 0),
            Stage::Free | Stage::Talking | Stage::Watching => return,
        };
        let ring_ns = match call.stage {
            Stage::Proceeding => times.ring_ns,
            _ => 0,
        };
        let limit_ns = times.timeout_ns.saturating_add(ring_ns);
        let waited_ns = now_ns.saturating_sub(call.request_due_ns);
        if waited_ns >= limit_ns {
            return self.on_timeout(now_ns, ident);
        }
        let is_answered = call.wait_ns >= times.timeout_ns
            || matches!(
                call.stage,
                Stage::Proceeding | Stage::Accepted | Stage::Unsubscribed
            );
        if !is_reliable && !is_answered {
            *again += u64::from(call.is_measured);
            call.is_retransmitted = true;
            call.wait_ns = match request {
                Request::Invite => call.wait_ns.saturating_mul(2),
                _ => call.wait_ns.saturating_mul(2).min(times.t2_ns),
            };
        }
        let wait_ns = call.wait_ns.min(limit_ns - waited_ns).max(1);
        call.resend_at_ns = now_ns.saturating_add(wait_ns);
        if !is_reliable && !is_answered {
            self.send(ident, request);
        }
        self.set(now_ns, wait_ns, Due::Request, ident);
    }

    /// The caller's connection to `peer` was closed. A request that nothing has been heard of since
    /// goes over another one, once; what else waited for an answer there has none to hope for.
    pub fn on_connection_closed(&mut self, now_ns: u64, peer: SocketAddr) {
        for ident in self.calls.open() {
            let Some(call) = self.calls.get(ident) else {
                continue;
            };
            let (request, next_hop) = match call.stage {
                Stage::Calling => (Some(Request::Invite), None),
                Stage::Registering => (Some(Request::Register), None),
                Stage::Leaving => (Some(Request::Bye), call.next_hop),
                Stage::Subscribing => (Some(Request::Subscribe), None),
                Stage::Unsubscribing => (Some(Request::Unsubscribe), call.next_hop),
                Stage::Proceeding | Stage::Cancelling => (None, None),
                Stage::Free | Stage::Talking => continue,
                // A NOTIFY may come over another one.
                Stage::Accepted | Stage::Watching | Stage::Unsubscribed => continue,
            };
            if next_hop.unwrap_or(self.plan.server) != peer {
                continue;
            }
            let request = request.filter(|_| !std::mem::replace(&mut call.is_moved, true));
            let Some(request) = request else {
                self.end(now_ns, ident, End::CutOff);
                continue;
            };
            call.is_retransmitted = true;
            let again = match request {
                Request::Invite => &mut self.tally.counts.invites_again,
                _ => &mut self.tally.counts.requests_again,
            };
            *again += u64::from(call.is_measured);
            if request == Request::Bye {
                // The ACK may have gone down with the connection, too.
                self.send(ident, Request::Ack);
            }
            self.send(ident, request);
        }
    }

    fn on_timeout(&mut self, now_ns: u64, ident: Ident) {
        // What rings would ring on, what is subscribed to would go on, too.
        let request = match self.calls.get(ident).map(|call| call.stage) {
            Some(Stage::Proceeding) => Some(Request::Cancel),
            Some(Stage::Accepted) => Some(Request::OtherUnsubscribe),
            _ => None,
        };
        if let Some(request) = request {
            self.send(ident, request);
        }
        self.end(now_ns, ident, End::TimedOut);
    }
}

/// Whether a message has these Record-Routes, in this order, however they stand in lines.
fn same_routes(message: &Message<'_>, lines: &[u8]) -> bool {
    let mut rest = lines;
    for value in message.values(Name::RecordRoute) {
        let line = rest.strip_prefix(b"Record-Route: ").unwrap_or(rest);
        let Some(after) = line.strip_prefix(value.bytes) else {
            return false;
        };
        let after = after.strip_prefix(b"\r\n").unwrap_or(after);
        rest = after.strip_prefix(b",").unwrap_or(after).trim_ascii_start();
    }
    rest.is_empty()
}
