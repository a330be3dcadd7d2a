//! The caller as a watcher (RFC 6665): what comes back for SUBSCRIBE, and the NOTIFYs, which may come
//! before the 200.

use super::calls::Stage;
use super::check::{self, Checked, Notified, Wrong, contact_uri, unless};
use super::dialog::{form_dialog, next_hop, tag_of};
use super::generator::{End, Generator};
use super::ident::{Ident, Letter, is_letter};
use super::outbox::Hop;
use super::timers::Due;
use super::writer::Request;
use crate::message::Message;

impl Generator {
    /// An answer to the SUBSCRIBE that begins a subscription.
    pub(super) fn on_subscribe_answer(&mut self, now_ns: u64, ident: Ident, message: &Message<'_>) {
        let status = message.status().unwrap_or_default();
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        if call.stage != Stage::Subscribing {
            self.tally.counts.repeated_answers += u64::from(call.is_measured);
            return;
        }
        if status < 200 || self.authorize(now_ns, ident, (Request::Subscribe, message)) {
            return;
        }
        if status < 300 {
            self.on_subscribed(now_ns, ident, message);
        } else {
            self.end_by_status(now_ns, ident, message);
        }
    }

    fn on_subscribed(&mut self, now_ns: u64, ident: Ident, message: &Message<'_>) {
        let (checks, status) = (self.plan.checks, message.status().unwrap_or_default());
        self.note_final(now_ns, ident, status);
        let asked_s = self.writer.subscribe_expires_s(false);
        let checked = unless(checks, Wrong::Contact, || contact_uri(message).is_some())
            .and_then(|()| check::granted(message, asked_s, checks));
        if let Err(wrong) = checked {
            self.wrong(ident, wrong, message);
        }
        let next_hop = next_hop(&self.plan, message);
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        call.to_tag.clear();
        call.to_tag.extend_from_slice(tag_of(message));
        form_dialog(call, message);
        (call.stage, call.next_hop, call.is_moved) = (Stage::Accepted, next_hop, false);
        self.setting_up -= 1;
        let item = self.plan.items.get(usize::from(call.item));
        let is_right = item.is_some_and(|item| item.finals.contains(&status));
        call.has_wrong_status = !is_right;
        let (is_notified, is_terminated) = (call.is_notified, call.is_terminated);
        if !is_right {
            self.sample("another final status than the scenario wants", message);
        }
        if is_terminated {
            self.end_subscription(now_ns, ident);
        } else if !is_right || self.is_leaving {
            self.hang_up(now_ns, now_ns, ident);
        } else if is_notified {
            self.keep_watching(now_ns, ident);
        }
    }

    /// The 200 and the first NOTIFY have come.
    fn keep_watching(&mut self, now_ns: u64, ident: Ident) {
        let hold_ns = self.plan.times.hold_ns;
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        call.stage = Stage::Watching;
        if hold_ns == 0 || self.is_leaving {
            self.hang_up(now_ns, now_ns, ident);
        } else {
            self.set(now_ns, hold_ns, Due::HangUp, ident);
        }
    }

    fn end_subscription(&mut self, now_ns: u64, ident: Ident) {
        let call = self.calls.get(ident);
        let end = match call.is_some_and(|call| call.has_wrong_status) {
            true => End::WrongStatus,
            false => End::Right,
        };
        self.end(now_ns, ident, end);
    }

    /// An answer to the SUBSCRIBE that ends a subscription.
    pub(super) fn on_unsubscribe_answer(
        &mut self,
        now_ns: u64,
        ident: Ident,
        message: &Message<'_>,
    ) {
        let status = message.status().unwrap_or_default();
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        match call.stage {
            Stage::Unsubscribing => {}
            Stage::Unsubscribed => {
                self.tally.counts.repeated_answers += u64::from(call.is_measured);
                return;
            }
            _ => return self.unexpected("a response to a SUBSCRIBE that was not sent", message),
        }
        if status < 200 || self.authorize(now_ns, ident, (Request::Unsubscribe, message)) {
            return;
        }
        self.note_end(now_ns, ident);
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        if status >= 300 {
            self.tally.counts.refused_byes += u64::from(call.is_measured);
            self.sample("a SUBSCRIBE to end that was refused", message);
            return self.end(now_ns, ident, End::WrongStatus);
        }
        call.stage = Stage::Unsubscribed;
        let is_terminated = call.is_terminated;
        let asked_s = self.writer.subscribe_expires_s(true);
        if let Err(wrong) = check::granted(message, asked_s, self.plan.checks) {
            self.wrong(ident, wrong, message);
        }
        if is_terminated {
            self.end_subscription(now_ns, ident);
        }
    }

    /// A NOTIFY: checked, answered and counted.
    pub(super) fn on_notify(&mut self, now_ns: u64, hop: Hop, message: &Message<'_>) {
        let ident = self.ident_of(message);
        let call = ident.and_then(|ident| Some((ident, self.calls.get(ident)?)));
        let call = call.filter(|(_, call)| call.stage.is_of_subscription());
        let Some((ident, call)) = call else {
            return self.on_late_notify(hop, ident, message);
        };
        let number = message.cseq().map_or(0, |cseq| cseq.number);
        let branch = message.top_via().map_or(&[][..], |via| via.branch);
        let is_same = number == call.notify_cseq && branch == call.notify_branch;
        // What was sent again may come behind the next one.
        let is_behind = hop.connection.is_none() && number < call.notify_cseq;
        if call.is_notified && (is_same || is_behind) {
            self.tally.counts.repeated_requests += u64::from(call.is_measured);
            return self.answer(hop, message, 200);
        }
        let stage = call.stage;
        let checked = self.check_notify(ident, message);
        self.note_notify(now_ns, ident, message);
        self.answer(hop, message, 200);
        if let Err(wrong) = checked {
            self.wrong(ident, wrong, message);
        }
        let is_terminated = check::is_terminated(message);
        match stage {
            Stage::Accepted | Stage::Watching | Stage::Unsubscribed if is_terminated => {
                self.end_subscription(now_ns, ident);
            }
            Stage::Accepted => self.keep_watching(now_ns, ident),
            _ => {}
        }
    }

    /// It is of the subscription's dialog, and ends it only when that was asked for.
    fn check_notify(&mut self, ident: Ident, message: &Message<'_>) -> Checked {
        let checks = self.plan.checks;
        let written = ident.write(self.plan.seed);
        let Some(call) = self.calls.get(ident) else {
            return Ok(());
        };
        let asked = Notified {
            ident: &written,
            contact: self.writer.subscribe_contact(),
            tag: (!call.to_tag.is_empty()).then_some(&call.to_tag),
            event: self.writer.subscribe_event(),
            after: call.is_notified.then_some(call.notify_cseq),
        };
        check::notify(message, &asked, checks)?;
        let is_asked = matches!(call.stage, Stage::Unsubscribing | Stage::Unsubscribed);
        unless(checks, Wrong::HungUp, || {
            is_asked || !check::is_terminated(message)
        })
    }

    /// Keeps what tells the next one from it, and counts it.
    fn note_notify(&mut self, now_ns: u64, ident: Ident, message: &Message<'_>) {
        let is_terminated = check::is_terminated(message);
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        call.notify_cseq = message.cseq().map_or(0, |cseq| cseq.number);
        let branch = message.top_via().map_or(&[][..], |via| via.branch);
        call.notify_branch.clear();
        call.notify_branch.extend_from_slice(branch);
        call.is_terminated |= is_terminated;
        if std::mem::replace(&mut call.is_notified, true) {
            let is_change = !is_terminated && self.is_measuring;
            self.tally.counts.notifications += u64::from(is_change);
            return;
        }
        if call.to_tag.is_empty() {
            let tag = message.from_().ok().and_then(|from| from.tag);
            call.to_tag.extend_from_slice(tag.unwrap_or_default());
        }
        if call.is_measured {
            let waited_ns = now_ns.saturating_sub(call.due_ns);
            self.tally.notified_ns.note(waited_ns);
        }
    }

    /// A NOTIFY of no open subscription: the last one again, or one that ends with this answer
    /// (RFC 6665 §4.1.3).
    fn on_late_notify(&mut self, hop: Hop, ident: Option<Ident>, message: &Message<'_>) {
        let number = message.cseq().map_or(0, |cseq| cseq.number);
        let call = ident.and_then(|ident| self.calls.even_ended(ident));
        let (is_known, has_timed_out, is_measured) = call.map_or((false, false, false), |call| {
            let is_known = call.is_notified && number <= call.notify_cseq;
            (is_known, call.has_timed_out, call.is_measured)
        });
        let counts = &mut self.tally.counts;
        match (has_timed_out, is_known) {
            (true, _) => counts.late += u64::from(is_measured),
            (false, true) => counts.repeated_requests += u64::from(is_measured),
            (false, false) => self.unexpected("a NOTIFY of no subscription", message),
        }
        let status = if is_known && !has_timed_out { 200 } else { 481 };
        self.answer(hop, message, status);
    }

    /// Ends a subscription whose 200 came after it was given up.
    pub(super) fn unsubscribe_other(&mut self, ident: Ident, message: &Message<'_>) {
        let branch = message.top_via().map_or(&[][..], |via| via.branch);
        let begins = |letter| is_letter(branch, letter);
        if begins(Letter::Subscribe) || begins(Letter::AuthorizedSubscribe) {
            self.send_along(ident, message, &[Request::OtherUnsubscribe]);
        }
    }
}
