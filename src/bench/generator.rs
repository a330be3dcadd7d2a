//! The player of one thread's calls: both sides of each, without sockets and without a clock.

use super::calls::{Call, Calls, Stage};
use super::check::Wrong;
use super::ident::{self, Ident};
use super::outbox::{Hop, Outbox};
use super::plan::{Plan, Scenario, Seat, turns};
use super::tally::{Sample, Tally};
use super::timers::{Deadline, Due, Timers};
use super::writer::{Request, Writer};
use crate::message::{Message, Name};

/// Plays calls: `place` begins one, `receive` and `tick` carry them on, the outbox has what is to
/// be sent.
#[derive(Debug)]
pub struct Generator {
    pub(super) plan: Plan,
    pub(super) writer: Writer,
    pub(super) calls: Calls,
    pub(super) timers: Timers,
    pub(super) outbox: Outbox,
    pub(super) tally: Tally,
    turns: Vec<u8>,
    turn: u64,
    item_turns: Vec<u64>,
    open: u32,
    pub(super) setting_up: u32,
    answers: u64,
    right: u64,
    failed: u64,
    last_end_ns: u64,
    pub(super) is_measuring: bool,
    /// The run was interrupted: calls are hung up, and none counts.
    pub(super) is_leaving: bool,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Right,
    WrongStatus,
    TimedOut,
    CutOff,
}

impl Generator {
    /// A player of this plan, which has begun nothing.
    pub fn new(plan: Plan) -> Self {
        let times = plan.times;
        Self {
            writer: Writer::new(&plan),
            calls: Calls::new(plan.slots, plan.thread),
            timers: Timers::new([times.t1_ns, times.ring_ns, times.hold_ns]),
            outbox: Outbox::default(),
            tally: Tally::new(plan.items.len()),
            turns: turns(&plan.items),
            turn: u64::from(plan.thread),
            item_turns: first_turns(&plan),
            open: 0,
            setting_up: 0,
            answers: 0,
            right: 0,
            failed: 0,
            last_end_ns: 0,
            is_measuring: false,
            is_leaving: false,
            plan,
        }
    }

    /// Whether calls that are due from now on count.
    pub fn set_measuring(&mut self, is_measuring: bool) {
        if is_measuring && !self.is_measuring {
            self.turn = u64::from(self.plan.thread);
        }
        self.is_measuring = is_measuring;
    }

    /// How many calls are open.
    pub fn open(&self) -> u32 {
        self.open
    }

    /// How many of them have no final answer yet.
    pub fn setting_up(&self) -> u32 {
        self.setting_up
    }

    /// How many messages of the server's have been received.
    pub fn answers(&self) -> u64 {
        self.answers
    }

    /// How many calls have ended well so far, whether they count or not.
    pub fn right(&self) -> u64 {
        self.right
    }

    /// How many have failed so far, whether they count or not.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Whether what has not reached the callee yet may still do so: an ACK, or what ends the other half
    /// of a call through a back-to-back user agent.
    pub fn awaits_callee(&self, now_ns: u64) -> bool {
        let counts = &self.tally.counts;
        let t1_ns = self.plan.times.t1_ns;
        let patience_ns = match self.plan.is_back_to_back {
            true if counts.left_standing > 0 => t1_ns.saturating_mul(4),
            is_other_half if counts.unacknowledged > 0 || (is_other_half && self.is_leaving) => {
                t1_ns
            }
            _ => return false,
        };
        now_ns < self.last_end_ns.saturating_add(patience_ns)
    }

    /// When the last call ended.
    pub fn last_end_ns(&self) -> u64 {
        self.last_end_ns
    }

    /// What was counted so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The same, to count what only the host sees.
    pub fn tally_mut(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// What is to be sent.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// When `tick` is wanted next.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        self.timers.soonest_ns()
    }

    /// Which thread a message belongs to, where it is of this run.
    pub fn owner_of(&self, message: &Message<'_>) -> Option<u8> {
        self.ident_of(message).map(|ident| ident.thread)
    }

    /// Begins the call that was due at `due_ns`.
    pub fn place(&mut self, now_ns: u64, due_ns: u64) {
        let turn = self.turn as usize % self.turns.len().max(1);
        let item_index = self.turns.get(turn).copied().unwrap_or_default();
        self.turn += u64::from(self.plan.turn_step);
        let is_measured = self.is_measuring;
        if is_measured {
            self.tally.counts.placed += 1;
            self.tally.lag_ns.note(now_ns.saturating_sub(due_ns));
            if let Some(outcome) = self.tally.outcomes.get_mut(usize::from(item_index)) {
                outcome.placed += 1;
            }
        }
        let may_open = self.open < self.plan.most_open;
        let Some((slot, call)) = may_open.then(|| self.calls.take()).flatten() else {
            self.failed += 1;
            self.tally.counts.not_placed += u64::from(is_measured);
            self.tally.counts.failed_outside += u64::from(!is_measured);
            return;
        };
        let Some(item) = self.plan.items.get(usize::from(item_index)) else {
            return;
        };
        if let Some(turn) = self.item_turns.get_mut(usize::from(item_index)) {
            call.user = item.targets.draw(*turn);
            *turn += u64::from(self.plan.threads);
        }
        (call.item, call.is_measured) = (item_index, is_measured);
        (call.due_ns, call.request_due_ns) = (due_ns, due_ns);
        let user = item.targets.name(call.user);
        self.writer.write_to_uri(user, &mut call.to_uri);
        let (stage, request) = match item.scenario {
            Scenario::Register => (Stage::Registering, Request::Register),
            Scenario::Subscribe => (Stage::Subscribing, Request::Subscribe),
            _ => (Stage::Calling, Request::Invite),
        };
        call.stage = stage;
        self.open += 1;
        self.setting_up += 1;
        let ident = self.calls.ident(slot);
        self.send_first(now_ns, ident, request);
    }

    /// Takes a message that reached a seat; `hop` says where it came from, and an answer goes.
    #[inline]
    pub fn receive(&mut self, now_ns: u64, hop: Hop, message: &Message<'_>) {
        self.answers += 1;
        match (message.status(), hop.seat) {
            (Some(_), Seat::Caller) => self.on_response(now_ns, hop, message),
            (None, Seat::Callee | Seat::Elsewhere) => self.on_request(now_ns, hop, message),
            (None, Seat::Caller) => self.on_stray_request(now_ns, hop, message),
            (Some(_), _) => self.unexpected("a response that reached the callee", message),
        }
    }

    /// Does what is due.
    #[inline]
    pub fn tick(&mut self, now_ns: u64) {
        while let Some(deadline) = self.timers.next(now_ns) {
            let ident = Ident {
                thread: self.plan.thread,
                slot: deadline.slot,
                generation: deadline.generation,
            };
            match deadline.due {
                Due::Request => self.on_request_due(now_ns, deadline, ident),
                Due::Answer => self.on_answer_due(now_ns, deadline, ident),
                Due::PickUp => self.pick_up(now_ns, ident),
                Due::GiveUp => self.give_up(now_ns, ident),
                Due::HangUp => self.hang_up(now_ns, deadline.at_ns, ident),
            }
        }
    }

    /// Gives up all calls that are still open.
    pub fn abandon(&mut self, now_ns: u64) {
        for ident in self.calls.open() {
            self.end(now_ns, ident, End::TimedOut);
        }
    }

    /// Hangs up, cancels or unsubscribes all calls that are still open, and forgets them, as if they had never
    /// been due: of a run that was interrupted. What rings later is cancelled then.
    pub fn leave(&mut self, now_ns: u64) {
        self.is_leaving = true;
        for ident in self.calls.open() {
            let Some(call) = self.calls.get(ident) else {
                continue;
            };
            if std::mem::take(&mut call.is_measured) {
                self.tally.counts.placed -= 1;
                self.tally.forget_status(call.status);
                let outcome = self.tally.outcomes.get_mut(usize::from(call.item));
                if let Some(outcome) = outcome {
                    outcome.placed -= 1;
                }
            }
            match call.stage {
                Stage::Talking | Stage::Accepted | Stage::Watching => {
                    self.hang_up(now_ns, now_ns, ident);
                }
                Stage::Proceeding => self.give_up(now_ns, ident),
                _ => {}
            }
        }
    }

    /// Sends a request for the first time.
    pub(super) fn send_first(&mut self, now_ns: u64, ident: Ident, request: Request) {
        let wait_ns = self.plan.times.t1_ns;
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        (call.wait_ns, call.resend_at_ns) = (wait_ns, now_ns.saturating_add(wait_ns));
        self.send(ident, request);
        self.set(now_ns, wait_ns, Due::Request, ident);
    }

    /// Sends a request as it is, first or again.
    pub(super) fn send(&mut self, ident: Ident, request: Request) {
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        push_request(
            (&self.plan, &self.writer),
            &mut self.outbox,
            (ident, request),
            call,
        );
    }

    /// Sends a request in a dialog that is not in the slab.
    pub(super) fn push_request(&mut self, ident: Ident, request: Request, call: &Call) {
        push_request(
            (&self.plan, &self.writer),
            &mut self.outbox,
            (ident, request),
            call,
        );
    }

    pub(super) fn set(&mut self, now_ns: u64, wait_ns: u64, due: Due, ident: Ident) {
        let deadline = Deadline {
            at_ns: 0,
            slot: ident.slot,
            generation: ident.generation,
            due,
        };
        self.timers.set(now_ns, wait_ns, deadline);
    }

    /// The identity that a message bears: in its Call-ID, in a branch of ours, or, where a back-to-back
    /// user agent made it, in the user of its From.
    pub(super) fn ident_of(&self, message: &Message<'_>) -> Option<Ident> {
        let seed = self.plan.seed;
        let call_id = message.header(Name::CallId);
        let by_call_id = call_id.and_then(|header| Ident::read(header.value, seed));
        let found = by_call_id.or_else(|| {
            let via = message.vias().last()?.ok()?;
            ident::of_branch(via.branch, seed)
        });
        found.or_else(|| {
            let from = message.from_().ok().filter(|_| self.plan.is_back_to_back)?;
            Ident::read(from.parsed_uri().ok()?.user, seed)
        })
    }

    /// Ends a call and counts how.
    pub(super) fn end(&mut self, now_ns: u64, ident: Ident, end: End) {
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        let counts = &mut self.tally.counts;
        call.has_timed_out = matches!(end, End::TimedOut | End::CutOff);
        let is_right = end == End::Right && !call.is_wrong;
        if self.plan.is_back_to_back && self.plan.checks.wants(Wrong::Lost) {
            let standing = call.legs.iter().filter(|leg| leg.stage.is_standing());
            counts.left_standing += standing.count() as u64 * u64::from(call.is_measured);
        }
        self.setting_up -= u32::from(!call.stage.has_dialog());
        self.open -= 1;
        self.last_end_ns = now_ns;
        if self.is_leaving {
            return self.calls.release(ident.slot);
        }
        let outcome = self.tally.outcomes.get_mut(usize::from(call.item));
        if call.is_measured {
            counts.retransmitted_calls += u64::from(call.is_retransmitted);
            let has_rung_on = call.has_rung && end == End::TimedOut;
            counts.rang_on += u64::from(has_rung_on && call.stage == Stage::Proceeding);
            match end {
                End::TimedOut => counts.timed_out += 1,
                End::CutOff => counts.cut_off += 1,
                End::WrongStatus => counts.wrong_status += 1,
                End::Right if call.is_wrong => counts.wrong_message += 1,
                End::Right => counts.right += 1,
            }
        } else {
            counts.failed_outside += u64::from(!is_right);
        }
        self.right += u64::from(is_right);
        self.failed += u64::from(!is_right);
        counts.completed += u64::from(is_right && self.is_measuring);
        if let Some(outcome) = outcome {
            outcome.right += u64::from(is_right && call.is_measured);
            outcome.completed += u64::from(is_right && self.is_measuring);
        }
        self.calls.release(ident.slot);
    }

    /// Notes that a message of a call is not as it must be; the call has failed, but goes on, so
    /// that the server is left clean.
    pub(super) fn wrong(&mut self, ident: Ident, wrong: Wrong, message: &Message<'_>) {
        if self.is_leaving {
            return;
        }
        self.tally.note_wrong(wrong);
        if wrong != Wrong::Order
            && let Some(call) = self.calls.get(ident)
        {
            call.is_wrong = true;
            // What is no failure makes room for what is one.
            let samples = &mut self.tally.samples;
            if samples.len() == self.plan.samples {
                let order = |sample: &Sample| sample.what == Wrong::Order.text();
                samples.iter().position(order).map(|at| samples.remove(at));
            }
        }
        self.sample(wrong.text(), message);
    }

    pub(super) fn unexpected(&mut self, what: &str, message: &Message<'_>) {
        self.tally.counts.unexpected += 1;
        self.sample(what, message);
    }

    pub(super) fn sample(&mut self, what: &str, message: &Message<'_>) {
        if self.tally.samples.len() < self.plan.samples && !self.is_leaving {
            self.tally.samples.push(Sample {
                what: what.to_owned(),
                message: message.bytes().to_vec(),
            });
        }
    }
}

/// Where each scenario begins among its users: apart, so that those who have the same do not call the
/// same at the same time.
fn first_turns(plan: &Plan) -> Vec<u64> {
    let apart = |index: usize, len: u32| index as u64 * u64::from(len) / plan.items.len() as u64;
    let items = plan.items.iter().enumerate();
    let first = items.map(|(index, item)| apart(index, item.targets.len()));
    first.map(|turn| turn + u64::from(plan.thread)).collect()
}

fn push_request(
    (plan, writer): (&Plan, &Writer),
    outbox: &mut Outbox,
    (ident, request): (Ident, Request),
    call: &Call,
) {
    let next_hop = call.next_hop.filter(|_| request.is_in_dialog());
    let hop = Hop {
        seat: Seat::Caller,
        to: next_hop.unwrap_or(plan.server),
        connection: None,
    };
    let item = plan.items.get(usize::from(call.item));
    let user = item.map_or(&[][..], |item| item.targets.name(call.user));
    let written = ident.write(plan.seed);
    outbox.push(hop, |out| {
        writer.write_request(request, call, &written, user, out);
    });
}
