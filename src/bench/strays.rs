//! What no call waits for: answers that come after a call is over, further 2xx of a fork, requests
//! of the server's own. The server is left with nothing open: each 2xx gets its ACK, and the BYE
//! where nobody talks; each request gets an answer.

use super::callee::{answer_hop, leg_index, send_again};
use super::calls::{Call, LegStage, Stage};
use super::check::{Wrong, unless};
use super::dialog::{form_dialog, next_hop, tag_of};
use super::generator::{End, Generator};
use super::ident::Ident;
use super::outbox::Hop;
use super::plan::Seat;
use super::writer::Request;
use crate::message::{Message, Method, Name};

impl Generator {
    /// A response to a call that is over: late, where the call was given up, otherwise a repeated
    /// one.
    pub(super) fn on_late(&mut self, hop: Hop, ident: Ident, message: &Message<'_>) {
        let method = message.cseq().map_or(Method::Other, |cseq| cseq.method);
        let status = message.status().unwrap_or_default();
        let tag = tag_of(message);
        let (has_timed_out, is_known, is_measured) = match self.calls.even_ended(ident) {
            Some(call) => (call.has_timed_out, call.to_tag == tag, call.is_measured),
            None => (false, true, true),
        };
        let is_other = method == Method::Invite && (200..300).contains(&status) && !is_known;
        let counts = &mut self.tally.counts;
        let counter = match status {
            _ if has_timed_out => &mut counts.late,
            ..200 => &mut counts.late_provisionals,
            // It may come behind the 487 that ended the call.
            _ if method == Method::Cancel => return,
            _ if is_other => &mut counts.forked_answers,
            _ => &mut counts.repeated_answers,
        };
        *counter += u64::from(is_measured);
        match status {
            200..300 if method == Method::Subscribe && has_timed_out => {
                self.unsubscribe_other(ident, message);
            }
            _ if method != Method::Invite => {}
            ..200 => {}
            300.. => self.acknowledge_late_failure(hop, message),
            _ if has_timed_out || is_other => self.hang_up_other(ident, message),
            _ => self.send_along(ident, message, &[Request::Ack]),
        }
    }

    /// A further final answer of a call that was answered: the same again, for want of the ACK, or
    /// another callee's (RFC 3261 §13.2.2.4).
    pub(super) fn on_repeated_final(&mut self, ident: Ident, message: &Message<'_>) {
        if message.status().is_some_and(|status| status >= 300) {
            return self.unexpected("a failure after the call was answered", message);
        }
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        let (is_known, is_measured) = (call.to_tag == tag_of(message), call.is_measured);
        if is_known {
            call.acks = call.acks.saturating_add(1);
            self.tally.counts.repeated_answers += u64::from(is_measured);
            self.send(ident, Request::Ack);
        } else {
            self.tally.counts.forked_answers += u64::from(is_measured);
            self.hang_up_other(ident, message);
        }
    }

    /// Acknowledges a 2xx of a dialog that nobody wants, and ends it.
    fn hang_up_other(&mut self, ident: Ident, message: &Message<'_>) {
        self.send_along(ident, message, &[Request::OtherAck, Request::OtherBye]);
    }

    /// Sends requests in the dialog of a 2xx that is not the one the call keeps.
    pub(super) fn send_along(&mut self, ident: Ident, message: &Message<'_>, requests: &[Request]) {
        let mut other = Call {
            to_uri: message.to().map_or(&[][..], |to| to.uri).to_vec(),
            to_tag: tag_of(message).to_vec(),
            next_hop: next_hop(&self.plan, message),
            ..Call::default()
        };
        if let Some(call) = self.calls.even_ended(ident) {
            (other.item, other.user) = (call.item, call.user);
            other.is_authorized = call.is_authorized;
            other.authorization.clone_from(&call.authorization);
        }
        form_dialog(&mut other, message);
        for request in requests {
            self.push_request(ident, *request, &other);
        }
    }

    /// A failure wants its ACK, again or at last.
    pub(super) fn acknowledge_late_failure(&mut self, hop: Hop, message: &Message<'_>) {
        let header = |name| message.header(name).map_or(&[][..], |header| header.value);
        let uri = message.to().map_or(&[][..], |to| to.uri);
        let branch = message.top_via().map_or(&[][..], |via| via.branch);
        let local = &self.writer.place(Seat::Caller).local;
        let transport = self.plan.transport.token().as_bytes();
        let cseq = message.cseq().map_or(1, |cseq| cseq.number).to_string();
        let parts: [&[u8]; 18] = [
            b"ACK ",
            uri,
            b" SIP/2.0\r\nVia: SIP/2.0/",
            transport,
            b" ",
            local,
            b";branch=",
            branch,
            b";rport\r\nMax-Forwards: 70\r\nFrom: ",
            header(Name::From),
            b"\r\nTo: ",
            header(Name::To),
            b"\r\nCall-ID: ",
            header(Name::CallId),
            b"\r\nCSeq: ",
            cseq.as_bytes(),
            b" ACK\r\nContent-Length: 0",
            b"\r\n\r\n",
        ];
        self.outbox.push(hop, |out| {
            parts.iter().for_each(|part| out.extend_from_slice(part));
        });
    }

    /// A request to the caller. A BYE ends the call before its time; NOTIFYs belong to subscriptions;
    /// OPTIONS that ask whether it is alive are answered; nothing else is played.
    pub(super) fn on_stray_request(&mut self, now_ns: u64, hop: Hop, message: &Message<'_>) {
        let hop = answer_hop(hop, message);
        let status = match message.method() {
            // Of an INVITE that was refused here.
            Some(Method::Ack) => return,
            Some(Method::Options) => return self.answer(hop, message, 200),
            Some(Method::Bye) => return self.on_bye_of_server(now_ns, hop, message),
            Some(Method::Notify) => return self.on_notify(now_ns, hop, message),
            Some(Method::Invite) => 488,
            Some(Method::Cancel) => 481,
            _ => 501,
        };
        self.unexpected("a request that reached the caller", message);
        self.answer(hop, message, status);
    }

    fn on_bye_of_server(&mut self, now_ns: u64, hop: Hop, message: &Message<'_>) {
        let ident = self.ident_of(message);
        let call = ident.and_then(|ident| Some((ident, self.calls.even_ended(ident)?)));
        let Some((ident, call)) = call else {
            self.unexpected("a BYE of no call", message);
            return self.answer(hop, message, 481);
        };
        let stage = call.stage;
        // Ours may cross it, or its answer was lost.
        self.answer(hop, message, 200);
        if stage == Stage::Talking {
            let checked = unless(self.plan.checks, Wrong::HungUp, || false);
            if let Err(wrong) = checked {
                self.wrong(ident, wrong, message);
            }
            self.end(now_ns, ident, End::Right);
        }
    }

    /// A request that reaches who was called after the caller's half of the call has ended: what
    /// rings still has to refuse.
    pub(super) fn on_request_of_ended_call(
        &mut self,
        hop: Hop,
        ident: Ident,
        message: &Message<'_>,
    ) {
        let method = message.method().unwrap_or(Method::Other);
        let branch = message.top_via().map_or(&[][..], |via| via.branch);
        let call = self.calls.even_ended(ident);
        let is_measured = call.as_ref().is_none_or(|call| call.is_measured);
        let leg = call.and_then(|call| call.legs.get(leg_index(hop.seat)));
        let stage = leg.map_or(LegStage::Idle, |leg| leg.stage);
        let is_confirmed = leg.is_none_or(|leg| leg.is_confirmed);
        let is_first = match (method, stage) {
            (Method::Bye, LegStage::Answered | LegStage::Confirmed) => true,
            (Method::Cancel, LegStage::Ringing) => true,
            (Method::Invite, LegStage::Idle) => true,
            // The ACK of a 487 comes beside the 487 that ended the call.
            (Method::Ack, _) => true,
            _ => false,
        };
        self.tally.counts.repeated_requests += u64::from(!is_first && is_measured);
        let is_back_to_back = self.plan.is_back_to_back;
        let is_missed =
            |stage| stage == LegStage::Ended || (is_back_to_back && stage == LegStage::Answered);
        if matches!(method, Method::Bye | Method::Cancel) {
            let standing = &mut self.tally.counts.left_standing;
            *standing = standing.saturating_sub(u64::from(is_first && is_measured));
            self.answer(hop, message, 200);
        }
        let call = self.calls.even_ended(ident);
        let leg = call.and_then(|call| call.legs.get_mut(leg_index(hop.seat)));
        match (method, leg) {
            (Method::Cancel, Some(leg)) if is_first => {
                leg.stage = LegStage::Refused;
                send_again(&mut self.outbox, leg);
            }
            (Method::Invite, Some(leg)) if leg.branch == branch && !is_first => {
                let kept = match stage {
                    LegStage::Answered | LegStage::Confirmed => &leg.answer,
                    _ => &leg.refusal,
                };
                self.outbox.push(hop, |out| out.extend_from_slice(kept));
            }
            (Method::Invite, _) => self.answer(hop, message, 487),
            (Method::Bye, Some(leg)) => leg.stage = LegStage::Ended,
            // It was missed when the call ended: the BYE has overtaken it, or another half's is late.
            (Method::Ack, Some(leg)) if is_missed(stage) && !is_confirmed => {
                leg.is_confirmed = true;
                if stage == LegStage::Answered {
                    leg.stage = LegStage::Confirmed;
                }
                let missed = &mut self.tally.counts.unacknowledged;
                *missed = missed.saturating_sub(u64::from(is_measured));
            }
            _ => {}
        }
    }
}
