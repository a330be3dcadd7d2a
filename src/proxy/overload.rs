//! What is given up when more comes than can be handled, and in which order.
//!
//! Messages are handled in the order in which they came: a queue that let some overtake others would
//! let a BYE overtake its ACK. Priority is what is *given up first*. ACK, BYE, CANCEL, responses,
//! requests of dialogs that we put ourselves into, and emergency calls from those we know are
//! never given up; then come new calls, then other new requests, then subscriptions and
//! publications ([`Class`]). Two things make us give up a request:
//!
//! - **It waited too long.** `max_delay_ms` for a new call, half of it for other requests, a quarter
//!   for subscriptions and publications: below T1, so that who sent it has not yet sent it again.
//! - **More comes than fits.** Where the kernel's buffer is small it overflows long before anything
//!   has waited so long, and what it loses is anything, also a BYE. So a share of the new requests is
//!   given up while anything is lost, or a queue stands that even who waited least found long
//!   ([`Gate`], after RFC 8033): which, the Call-ID's keyed hash says.
//!
//! Where less than three quarters are let in, most of what is given up does not even reach us: the
//! kernel is told to leave it ([`Gate::wanted`]), by chance, as receiving it and refusing it would take
//! the time of the calls that go through.
//!
//! What reaches us and is given up is answered 503 with Retry-After, before any state is made. It is
//! dropped instead where the answer would be wrong or too dear:
//!
//! - its server transaction is there: it came again, and whatever is to be answered comes by itself;
//! - it was refused, and came before that answer was sent: whoever sent it could not know yet. One
//!   that came later is answered again, as the answer was lost, and is never let in: its sender may
//!   have given up by then;
//! - it waited 64*T1: its sender has given up (RFC 3261 §17.1);
//! - so many were written in this window already ([`Gate::may_answer`]): answering costs several
//!   times as much as dropping, and whoever is not answered asks again after T1.

use super::keys::mix;
use super::rejection::Rejection;
use super::{Arrival, Proxy};
use crate::message::{Message, Method, Name, Via};
use crate::transaction::Ms;

/// How long load is watched before the share that is let in changes.
const WINDOW_MS: Ms = 100;
/// Refusals that are answered in a window in any case, and then one for so many requests: a call has
/// at least three, and costs several times as much as a refusal.
const ANSWERS: u64 = 100;
const REQUESTS_PER_ANSWER: u64 = 8;
/// Everything is let in, in ten-thousandths.
const ALL: u32 = 10_000;
/// What is let in at least: each caller sends its INVITE up to seven times, so ten times too many calls
/// are soon seventy times too many INVITEs.
const LEAST: u32 = ALL / 200;
/// How much the share changes in a window for a queue as long as is wanted too long or too short, and
/// for one that has grown or shrunk by as much (RFC 8033 §4.2: PIE).
const BY_LENGTH: f64 = 0.05;
const BY_GROWTH: f64 = 0.15;
/// Fewer requests in a window are no queue, however long they waited: the machine paused.
const FEW: u64 = 20;
/// The most that it grows, and shrinks, in a window.
const MOST_MORE: f64 = 0.2;
const MOST_LESS: f64 = 0.5;
/// After so many windows without a queue it grows twice as fast, after as many more three times.
const CALM: u32 = 4;
/// From here downwards the kernel is to leave what would only be refused, and until here again.
const SIEVED_BELOW: u32 = ALL / 4 * 3;
const SIEVED_UNTIL: u32 = ALL / 10 * 9;
/// How many refusals are remembered; a power of two.
const REFUSALS: usize = 1 << 14;
/// Keeps the draw apart from other uses of a Call-ID's hash.
const DRAW: u64 = 0x6f76_6572_6c6f_6164;

/// What a request is worth when not everything can be handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A subscription or publication outside a dialog: goes first.
    Event,
    /// Any other request outside a dialog.
    Other,
    /// A new call, or what claims a dialog that we know nothing of.
    Call,
    /// What a call in progress needs, and emergency calls from those we know: never given up.
    Kept,
}

impl Class {
    /// How the metrics call it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Other => "other",
            Self::Call => "call",
            Self::Kept => "kept",
        }
    }

    /// How long a request of this class may have waited; `None` as long as it likes.
    fn patience_ms(self, max_delay_ms: u32) -> Option<u32> {
        let divisor = match self {
            Self::Event => 4,
            Self::Other => 2,
            Self::Call => 1,
            Self::Kept => return None,
        };
        Some((max_delay_ms / divisor).max(1)).filter(|_| max_delay_ms > 0)
    }

    /// How many of this class are let in where `admitted` new calls are, in ten-thousandths.
    fn share(self, admitted: u32) -> u32 {
        let given_up = ALL.saturating_sub(admitted);
        match self {
            Self::Event => ALL.saturating_sub(given_up.saturating_mul(4)),
            Self::Other => ALL.saturating_sub(given_up.saturating_mul(2)),
            Self::Call => admitted,
            Self::Kept => ALL,
        }
    }

    /// How many transactions there may be for one more of this class: what calls in progress need
    /// finds room when nothing new does.
    pub(super) fn room(self, limit: usize) -> usize {
        match self {
            Self::Event => limit - limit / 4,
            Self::Other => limit - limit / 8,
            Self::Call => limit,
            Self::Kept => limit.saturating_add(limit / 8 + 64),
        }
    }
}

/// How much is let in, and what was refused of late.
#[derive(Debug)]
pub(super) struct Gate {
    window_ends_ms: Ms,
    /// New calls that are let in, in ten-thousandths of those that come.
    admitted: u32,
    /// Of those that come, how many the kernel lets through, in ten-thousandths.
    wanted: u32,
    /// Windows without trouble in a row.
    calm: u32,
    /// The least that a request of this window waited: who found the queue shortest.
    least_wait_ms: u32,
    /// The same of the window before.
    waited_before_ms: u32,
    /// How long a queue may be.
    bound_ms: u32,
    /// Datagrams that the kernel dropped in this window.
    lost: u64,
    /// Requests that came in this window.
    requests: u64,
    /// Refusals that were answered in this window.
    answers: u64,
    /// When what was refused; empty until something is.
    refused: Vec<(u64, Ms)>,
    refused_until_ms: Ms,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            window_ends_ms: 0,
            admitted: ALL,
            wanted: ALL,
            calm: 0,
            least_wait_ms: u32::MAX,
            waited_before_ms: 0,
            bound_ms: u32::MAX,
            lost: 0,
            requests: 0,
            answers: 0,
            refused: Vec::new(),
            refused_until_ms: 0,
        }
    }
}

impl Gate {
    /// How many of a hundred requests had better not come, as RFC 7339 tells it.
    pub(super) fn excess_percent(&self) -> u32 {
        ALL.saturating_sub(self.admitted).div_ceil(ALL / 100)
    }

    /// The kernel lost so many datagrams.
    pub(super) fn lost(&mut self, datagrams: u64) {
        self.lost = self.lost.saturating_add(datagrams);
    }

    /// A request came: the window turns in time. `bound_ms` is how long a queue may be: what even who
    /// found it shortest waited, so that a pause is none.
    fn count(&mut self, now_ms: Ms, waited_ms: u32, bound_ms: u32) {
        if now_ms >= self.window_ends_ms {
            self.turn(now_ms);
        }
        self.requests += 1;
        self.least_wait_ms = self.least_wait_ms.min(waited_ms);
        self.bound_ms = bound_ms;
    }

    /// Ends a window, and those that have passed since without a request.
    fn turn(&mut self, now_ms: Ms) {
        let passed = now_ms.saturating_sub(self.window_ends_ms) / WINDOW_MS;
        for _ in 0..=passed.min(100) {
            let change = 1.0 + self.change();
            let admitted = (f64::from(self.admitted) * change).ceil() as u32;
            self.admitted = admitted.clamp(LEAST, ALL);
            (self.lost, self.requests, self.answers) = (0, 0, 0);
            self.least_wait_ms = u32::MAX;
        }
        self.window_ends_ms = now_ms + WINDOW_MS;
    }

    /// By how much the share is to change after this window. What was lost tells by how much too much
    /// was let in; a queue by how long it is and whether it grows.
    fn change(&mut self) -> f64 {
        let waited_ms = match self.requests {
            0..FEW => 0,
            _ => self.least_wait_ms,
        };
        let before_ms = std::mem::replace(&mut self.waited_before_ms, waited_ms);
        let bound_ms = f64::from(self.bound_ms.max(1));
        let in_bounds = |ms: u32| f64::from(ms) / bound_ms;
        let has_queue = waited_ms > 0 || before_ms > 0;
        self.calm = if has_queue || self.lost > 0 {
            0
        } else {
            self.calm + 1
        };
        let faster = if has_queue { 1 } else { 1 + self.calm / CALM };
        let by_length = BY_LENGTH * (1.0 - in_bounds(waited_ms)) * f64::from(faster);
        let by_growth = BY_GROWTH * (in_bounds(before_ms) - in_bounds(waited_ms));
        let change = (by_length + by_growth).clamp(-MOST_LESS, MOST_MORE);
        if self.lost == 0 {
            return change;
        }
        let lost = self.lost as f64 / (self.lost + self.requests) as f64;
        change.min(-lost.clamp(BY_LENGTH, MOST_LESS))
    }

    /// Of the requests that come, how many shall reach us: a quarter more than are let in, as some are
    /// to hear a 503.
    pub(super) fn wanted(&mut self, now_ms: Ms, is_possible: bool) -> u32 {
        if now_ms >= self.window_ends_ms {
            self.turn(now_ms);
        }
        let until = if self.wanted < ALL {
            SIEVED_UNTIL
        } else {
            SIEVED_BELOW
        };
        self.wanted = match !is_possible || self.admitted >= until {
            true => ALL,
            false => (self.admitted + self.admitted / 4).min(ALL),
        };
        self.wanted
    }

    /// How many are let in of those that reach us, in ten-thousandths; nothing is left of what
    /// comes over a connection.
    fn admitted_here(&self, arrival: &Arrival) -> u32 {
        match arrival.connection {
            Some(_) => self.admitted,
            None => (self.admitted * ALL / self.wanted.max(1)).min(ALL),
        }
    }

    /// Whether one more refusal may be answered in this window.
    fn may_answer(&self) -> bool {
        self.answers < ANSWERS.max(self.requests / REQUESTS_PER_ANSWER)
    }

    /// When this request was refused, where it was.
    fn refused_at(&self, key: u64) -> Option<Ms> {
        let slot = self.refused.get(key as usize % REFUSALS)?;
        (slot.0 == key).then_some(slot.1)
    }

    fn remember(&mut self, key: u64, now_ms: Ms, until_ms: Ms) {
        if self.refused.is_empty() {
            self.refused.resize(REFUSALS, (0, 0));
        }
        if let Some(slot) = self.refused.get_mut(key as usize % REFUSALS) {
            *slot = (key, now_ms);
        }
        self.refused_until_ms = until_ms;
    }
}

/// A number below ten thousand for a call, always the same; nobody can choose it.
pub(super) fn draw(call_key: u64) -> u32 {
    (mix(call_key, DRAW) % u64::from(ALL)) as u32
}

/// What becomes of a request.
enum Fate {
    /// It is handled.
    Handled,
    /// It is answered 503, for this reason.
    Refused(&'static str),
    /// It is dropped, for this reason.
    Dropped(&'static str),
}

impl Proxy {
    /// Whether a request is given up; if so it was answered, where it is to be. Who is shut out hears
    /// nothing of our load either.
    pub(super) fn gives_up(
        &mut self,
        arrival: &Arrival,
        message: &Message<'_>,
        via: &Via<'_>,
        (method, key): (Method, u64),
    ) -> bool {
        let max_delay_ms = self.policy.overload.max_delay_ms;
        if max_delay_ms == 0 || self.resumed_until_ms.is_some() {
            return false;
        }
        let first_ms = Class::Event.patience_ms(max_delay_ms);
        let first_ms = first_ms.unwrap_or(u32::MAX);
        self.gate
            .count(self.now.ms, arrival.waited_ms, max_delay_ms / 8);
        let is_calm = self.gate.admitted == ALL
            && arrival.waited_ms < first_ms
            && self.gate.refused_until_ms <= self.now.ms;
        if is_calm || matches!(method, Method::Ack | Method::Bye | Method::Cancel) {
            return false;
        }
        if !self.servers.contains(key) && self.is_shut_out(arrival, message) {
            return true;
        }
        let class = self.class_of(arrival, message, method);
        let fate = match class {
            Class::Kept => Fate::Handled,
            _ => self.fate(arrival, via, (class, key)),
        };
        let reason = match fate {
            Fate::Handled => return false,
            Fate::Refused(reason) => {
                let upstream = arrival.reply_hop(via);
                self.reject(arrival, *message, &upstream, Rejection::Overloaded);
                self.gate.answers += 1;
                let until_ms = self.now.ms + self.policy.base(arrival.listener).t1_64();
                self.gate.remember(key, self.now.ms, until_ms);
                reason
            }
            Fate::Dropped(reason) => reason,
        };
        if let Some(counters) = self.counters() {
            counters.shed.inc(class.label(), reason);
        }
        true
    }

    fn fate(&self, arrival: &Arrival, via: &Via<'_>, (class, key): (Class, u64)) -> Fate {
        let patience_ms = class.patience_ms(self.policy.overload.max_delay_ms);
        let is_late = patience_ms.is_some_and(|patience_ms| arrival.waited_ms >= patience_ms);
        if self.servers.contains(key) {
            return match is_late {
                true => Fate::Dropped("retransmission"),
                false => Fate::Handled,
            };
        }
        let t1_64 = self.policy.base(arrival.listener).t1_64();
        let refused_at = self.gate.refused_at(key);
        let refused_at = refused_at.filter(|at| self.now.ms < at.saturating_add(t1_64));
        let came_ms = self.now.ms.saturating_sub(arrival.waited_ms.into());
        let is_excess = || {
            draw(arrival.call_key) >= class.share(self.gate.admitted_here(arrival))
                && !self.throttles_itself(arrival, via)
        };
        let reason = match refused_at {
            Some(at) if came_ms <= at => return Fate::Dropped("retransmission"),
            Some(_) => "again",
            None if is_late => "delay",
            None if is_excess() => "load",
            None => return Fate::Handled,
        };
        if Ms::from(arrival.waited_ms) >= t1_64 {
            return Fate::Dropped("stale");
        }
        match self.gate.may_answer() {
            true => Fate::Refused(reason),
            false => Fate::Dropped("unanswered"),
        }
    }

    /// Whether somebody we know has left the excess out already, as we tell them to (RFC 7339 §7.2).
    fn throttles_itself(&self, arrival: &Arrival, via: &Via<'_>) -> bool {
        self.policy.overload.control
            && super::oc::is_offered(via)
            && self.peer_of(&self.policy, arrival).1
    }

    /// What a request is worth.
    pub(super) fn class_of(
        &self,
        arrival: &Arrival,
        message: &Message<'_>,
        method: Method,
    ) -> Class {
        if matches!(method, Method::Ack | Method::Bye | Method::Cancel) {
            return Class::Kept;
        }
        let has_tag = message.to().is_ok_and(|to| to.tag.is_some());
        if has_tag {
            return match super::route::carries_token(message, arrival.call_key, &self.keys) {
                true => Class::Kept,
                false => Class::Call,
            };
        }
        if is_emergency(message) && self.peer_of(&self.policy, arrival).1 {
            return Class::Kept;
        }
        match method {
            Method::Invite => Class::Call,
            Method::Subscribe | Method::Publish => Class::Event,
            _ => Class::Other,
        }
    }
}

/// Whether a request says that it is about an emergency: a service URN (RFC 5031), a call back to
/// somebody who made an emergency call (RFC 7090), or a priority above routine (RFC 4412).
pub(super) fn is_emergency(message: &Message<'_>) -> bool {
    const SOS: &[u8] = b"urn:service:sos";
    let is_sos = message
        .uri()
        .get(..SOS.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(SOS));
    is_sos
        || message
            .headers(Name::Priority)
            .any(|header| header.value.eq_ignore_ascii_case(b"psap-callback"))
        || message
            .all_headers()
            .filter(|header| header.name_bytes.eq_ignore_ascii_case(b"Resource-Priority"))
            .any(|header| !header.value.to_ascii_lowercase().ends_with(b".routine"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows of a server that can handle `capacity` requests in each, with so many offered.
    fn settle(gate: &mut Gate, offered: u64, capacity: u64) -> u32 {
        let mut sum = 0;
        for window in 0..200 {
            let now_ms = gate.window_ends_ms;
            gate.count(now_ms, 0, 25);
            gate.wanted(now_ms, true);
            let let_in = offered * u64::from(gate.admitted) / u64::from(ALL);
            gate.requests = let_in.min(capacity);
            gate.lost(let_in.saturating_sub(capacity));
            if window >= 100 {
                sum += gate.admitted;
            }
        }
        sum / 100
    }

    #[test]
    fn the_share_settles_where_nothing_is_lost() {
        for times in [2, 4, 10, 70] {
            let admitted = settle(&mut Gate::default(), times * 1_000, 1_000);
            let ideal = ALL / times as u32;
            let tolerance = ideal / 5;
            assert!(
                admitted.abs_diff(ideal) <= tolerance,
                "{times}: {admitted} {ideal}"
            );
        }
        assert_eq!(settle(&mut Gate::default(), 900, 1_000), ALL);
    }

    #[test]
    fn a_pause_is_no_queue_and_a_queue_is_one() {
        let mut gate = Gate::default();
        let window = |gate: &mut Gate, count: u64, waited_ms: &[u32]| {
            for wait_ms in waited_ms.iter().cycle().take(count as usize) {
                gate.count(gate.window_ends_ms.max(1) - 1, *wait_ms, 25);
            }
            gate.turn(gate.window_ends_ms);
            gate.admitted
        };
        assert_eq!(
            window(&mut gate, 40, &[180, 120, 60, 0]),
            ALL,
            "some waited for long"
        );
        assert_eq!(window(&mut gate, FEW - 1, &[900]), ALL, "few came");
        let all_did = window(&mut gate, 40, &[80, 70]);
        assert!(all_did < ALL / 4 * 3, "{all_did}");
        let shrinks = window(&mut gate, 40, &[30]);
        assert!(shrinks > all_did && shrinks < ALL, "{shrinks}");
    }

    /// A server that handles one call each millisecond, or seven refusals, in the fifth part of
    /// the time that another program leaves it; calls come so many times too often.
    fn goodput(times: f64) -> f64 {
        let mut gate = Gate::default();
        let mut queue = std::collections::VecDeque::new();
        let (mut credit, mut good, mut random) = (0.0, 0, 1_u64);
        let mut chance = || {
            random = mix(random, 7);
            (random % u64::from(ALL)) as u32
        };
        for ms in 1..20_000_u64 {
            let count = times as u32 + u32::from(f64::from(chance()) < times.fract() * 10_000.0);
            queue.extend((0..count).filter(|_| chance() < gate.wanted).map(|_| ms));
            credit += if ms % 15 < 3 { 5.0 } else { 0.0 };
            while credit > 0.0
                && let Some(came_ms) = queue.pop_front()
            {
                let waited_ms = (ms - came_ms) as u32;
                gate.count(ms, waited_ms, 25);
                let share = gate.admitted * ALL / gate.wanted.max(1);
                let is_good = waited_ms < 200 && chance() < share;
                credit -= if is_good { 1.0 } else { 0.15 };
                good += u32::from(is_good && ms > 2_000);
            }
            credit = f64::min(credit, 0.5);
            if ms % 50 == 0 {
                gate.wanted(ms, true);
            }
        }
        f64::from(good) / 18_000.0
    }

    #[test]
    fn nine_calls_in_ten_of_what_can_be_handled_go_through_whatever_comes() {
        for times in [1.3, 2.0, 4.0, 10.0] {
            assert!(goodput(times) > 0.9, "{times}: {}", goodput(times));
        }
        assert!(goodput(70.0) > 0.7, "{}", goodput(70.0));
        assert!(goodput(0.9) > 0.88, "nothing is given up without need");
    }

    #[test]
    fn the_kernel_leaves_most_of_what_is_given_up_and_lets_all_in_again() {
        let mut gate = Gate::default();
        settle(&mut gate, 10_000, 1_000);
        let wanted = gate.wanted(gate.window_ends_ms - 1, true);
        assert!(wanted > gate.admitted && wanted < ALL / 5, "{wanted}");
        assert_eq!(gate.wanted(gate.window_ends_ms - 1, false), ALL);
        gate.wanted(gate.window_ends_ms - 1, true);
        let later = gate.window_ends_ms + 10_000;
        assert_eq!(gate.wanted(later, true), ALL, "nothing comes any more");
    }

    #[test]
    fn the_share_returns_when_the_flood_is_over() {
        let mut gate = Gate::default();
        settle(&mut gate, 50_000, 1_000);
        assert!(gate.admitted <= ALL / 25 && gate.excess_percent() >= 90);
        gate.count(gate.window_ends_ms + 10_000, 0, 25);
        gate.count(gate.window_ends_ms + 10_000, 0, 25);
        assert_eq!((gate.admitted, gate.excess_percent()), (ALL, 0));
    }

    #[test]
    fn the_lesser_is_given_up_first() {
        let order = [Class::Event, Class::Other, Class::Call, Class::Kept];
        for admitted in (0..=ALL).step_by(500) {
            assert!(
                order
                    .windows(2)
                    .all(|w| w[0].share(admitted) <= w[1].share(admitted))
            );
        }
        for limit in [1, 2, 7, 1_000_000] {
            assert!(
                order
                    .windows(2)
                    .all(|w| w[0].room(limit) <= w[1].room(limit))
            );
        }
        assert_eq!(Class::Event.share(ALL - ALL / 4), 0);
        assert_eq!(Class::Kept.share(0), ALL);
    }
}
