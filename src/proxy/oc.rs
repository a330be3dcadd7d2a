//! Overload control between neighbours (RFC 7339, loss-based), both ways.
//!
//! *As a client* our Via offers it ([`OFFER`]); what the next hop's responses ask for is kept for each
//! of its addresses, and that share of the new requests does not go there: to another target, or
//! answered 503 without Retry-After (§5.10). Which, the Call-ID's keyed hash says: of the least
//! worth first ([`Class`]); what a call in progress needs and emergency calls always go.
//!
//! *As a server* every response whose top Via offers it tells how much less we want: nothing
//! (`oc=0;oc-validity=0`, §5.1) while all is well. That is written when the response leaves, whoever
//! made it and whether it is sent again, so that it is never older than the response (§5.2); and
//! what somebody downstream wrote there is overwritten, so that nobody throttles our upstream but
//! us (§5.4). The offer stays in the Via of the copy that goes downstream: there the response
//! finds it again; only the topmost Via counts for the next hop.

use std::net::SocketAddr;

use slotmap::KeyData;

use super::hop::Hop;
use super::overload::{Class, draw};
use super::target::Targets;
use super::{Arrival, InviteKey, Outbox, Proxy, RelayKey};
use crate::message::forward::write_number;
use crate::message::{Edits, Index, Message, Name, Via, scan};
use crate::transaction::{BranchId, BranchKind, Ms};

/// What our Via says: we do as we are told, in the loss-based way (§4.1, §4.2).
pub(super) const OFFER: &[u8] = b";oc;oc-algo=\"loss\"";

const NAMES: [&[u8]; 4] = [b"oc", b"oc-algo", b"oc-validity", b"oc-seq"];
/// How long a value counts that does not say it (§4.3).
const VALIDITY_MS: Ms = 500;
/// How long a value counts at most, whatever it says.
const LONGEST_VALIDITY_MS: Ms = 3_600_000;
/// By how much a sequence number falls when it begins anew, and is not only late (§4.4): a minute,
/// as most are times.
const OVERFLOW: u64 = 60 * SEQUENCE_UNIT;
/// The fraction of a sequence number has five digits.
const SEQUENCE_UNIT: u64 = 100_000;
/// How many next hops are throttled at a time.
const HOPS: usize = 256;
/// How long requests are counted before the counts are halved.
const MIX_MS: Ms = 5_000;
/// How many requests tell what the mix of classes is.
const SAMPLE: u32 = 20;
/// What is in force for a class that nothing is known of: as if four in five requests were new
/// ones (§7.2).
const USUAL_SHARE_PERCENT: u32 = 80;

/// What the next hops want less of. Empty nearly always.
#[derive(Debug, Default)]
pub(super) struct Throttles(Vec<Throttle>);

/// One next hop that wants less.
#[derive(Debug)]
struct Throttle {
    to: SocketAddr,
    listener: u8,
    percent: u32,
    sequence: u64,
    until_ms: Ms,
    /// Requests of late, by [`Class`] in its order.
    mix: [u32; 4],
    halved_ms: Ms,
}

/// What a response says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Feedback {
    percent: u32,
    validity_ms: Ms,
    /// `None` where it has none: it counts at once.
    sequence: Option<u64>,
}

impl Feedback {
    /// Reads the top Via of a response; `None` where the next hop does not take part, or says what
    /// the loss-based way does not know (§7.1).
    fn read(via: &Via<'_>) -> Option<Self> {
        let percent = number(via.oc??)?;
        if percent > 100 || !is_loss_based(via) {
            return None;
        }
        let validity_ms = match via.param(b"oc-validity") {
            Some(value) => number(value?)?.min(LONGEST_VALIDITY_MS),
            None => VALIDITY_MS,
        };
        Some(Self {
            percent: percent as u32,
            validity_ms,
            sequence: via.param(b"oc-seq").flatten().and_then(sequence),
        })
    }
}

impl Throttles {
    /// Takes over what a hop said, unless it is older than what is known (§5.4).
    fn heed(&mut self, hop: &Hop, feedback: Feedback, now_ms: Ms) {
        self.0.retain(|throttle| throttle.until_ms > now_ms);
        let position = self.0.iter().position(|known| known.is_of(hop));
        let is_over = feedback.percent == 0 || feedback.validity_ms == 0;
        if let Some(known) = position.and_then(|position| self.0.get_mut(position)) {
            let is_newer = feedback.sequence.is_none_or(|sequence| {
                sequence > known.sequence || sequence.saturating_add(OVERFLOW) < known.sequence
            });
            if is_newer {
                known.percent = if is_over { 0 } else { feedback.percent };
                known.sequence = feedback.sequence.unwrap_or(known.sequence);
                // What ends it is remembered too, so that a late response does not revive it.
                known.until_ms = now_ms + feedback.validity_ms.max(VALIDITY_MS);
            }
        } else if !is_over && self.0.len() < HOPS {
            self.0.push(Throttle {
                to: hop.to,
                listener: hop.listener,
                percent: feedback.percent,
                sequence: feedback.sequence.unwrap_or(0),
                until_ms: now_ms + feedback.validity_ms,
                mix: [0; 4],
                halved_ms: now_ms,
            });
        }
    }

    /// Whether this request must not go to that hop. Counts it.
    fn holds_back(&mut self, hop: &Hop, class: Class, call_key: u64, now_ms: Ms) -> bool {
        let Some(throttle) = self.0.iter_mut().find(|known| known.is_of(hop)) else {
            return false;
        };
        if throttle.until_ms <= now_ms || throttle.percent == 0 {
            return false;
        }
        throttle.count(class, now_ms);
        draw(call_key) < throttle.loss(class)
    }
}

impl Throttle {
    fn is_of(&self, hop: &Hop) -> bool {
        self.to == hop.to && self.listener == hop.listener
    }

    fn count(&mut self, class: Class, now_ms: Ms) {
        if now_ms >= self.halved_ms + MIX_MS {
            self.halved_ms = now_ms;
            self.mix = self.mix.map(|count| count / 2);
        }
        if let Some(count) = self.mix.get_mut(class as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// How many of a class are held back, in ten-thousandths, so that `percent` of all requests
    /// are: from the least worth upwards (§7.2).
    fn loss(&self, class: Class) -> u32 {
        let all: u64 = self.mix.iter().map(|count| u64::from(*count)).sum();
        if class == Class::Kept {
            return 0;
        }
        if all < u64::from(SAMPLE) {
            return (self.percent * 10_000 / USUAL_SHARE_PERCENT).min(10_000);
        }
        // In hundredths of a request.
        let mut wanted = all * u64::from(self.percent);
        for (position, count) in self.mix.iter().enumerate() {
            let here = u64::from(*count) * 100;
            if position == class as usize {
                let loss = wanted.min(here) * 10_000 / here.max(1);
                return u32::try_from(loss).unwrap_or(10_000);
            }
            wanted = wanted.saturating_sub(here);
        }
        0
    }
}

impl Proxy {
    /// A response to that branch came: what its sender wants less of, if it is the one we sent to.
    pub(super) fn heed_overload(&mut self, arrival: &Arrival, via: &Via<'_>, branch: &BranchId) {
        if !self.policy.overload.control {
            return;
        }
        let Some(feedback) = Feedback::read(via) else {
            return;
        };
        let context = KeyData::from_ffi(branch.context);
        let hop = match branch.kind {
            BranchKind::Invite => self
                .invites
                .get(InviteKey::from(context))
                .and_then(|invite| {
                    let sent = invite.branches.get(usize::from(branch.leg))?;
                    (sent.check == branch.check).then_some(&sent.hop)
                }),
            BranchKind::NonInvite => self
                .relays
                .get(RelayKey::from(context))
                .and_then(|relay| relay.branches.get(usize::from(branch.leg)))
                .filter(|sent| sent.check == branch.check)
                .map(|sent| &sent.hop),
            BranchKind::Probe | BranchKind::Notify | BranchKind::Stateless => None,
        };
        let is_of_hop = |hop: &&Hop| hop.to == arrival.from && hop.listener == arrival.listener;
        if let Some(hop) = hop.filter(is_of_hop) {
            self.throttles.heed(hop, feedback, self.now.ms);
            self.count(|counters| &counters.oc_received);
        }
    }

    /// The targets, with the hops that want this request; `None` where none of them does.
    pub(super) fn willing(
        &mut self,
        arrival: &Arrival,
        message: &Message<'_>,
        targets: Targets,
    ) -> Option<Targets> {
        if self.throttles.0.is_empty() {
            return Some(targets);
        }
        let method = message.method()?;
        let class = match super::overload::is_emergency(message) {
            true => Class::Kept,
            false => self.class_of(arrival, message, method),
        };
        self.willing_to_take(class, arrival.call_key, targets)
    }

    /// The targets that want a call that was decided; `None` where none of them does.
    pub(super) fn willing_to_connect(
        &mut self,
        key: InviteKey,
        message: &Message<'_>,
        targets: Targets,
    ) -> Option<Targets> {
        if self.throttles.0.is_empty() {
            return Some(targets);
        }
        let class = match super::overload::is_emergency(message) {
            true => Class::Kept,
            false => Class::Call,
        };
        let call_key = self.invites.get(key)?.call_key;
        self.willing_to_take(class, call_key, targets)
    }

    fn willing_to_take(
        &mut self,
        class: Class,
        call_key: u64,
        mut targets: Targets,
    ) -> Option<Targets> {
        let (throttles, now_ms) = (&mut self.throttles, self.now.ms);
        targets.retain(|target| {
            let hops = &mut target.hops;
            hops.retain(|hop| !throttles.holds_back(hop, class, call_key, now_ms));
            !hops.is_empty()
        });
        if targets.is_empty() {
            self.count(|counters| &counters.throttled);
            return None;
        }
        Some(targets)
    }

    /// Tells upstream how much less we want, in every response of this input whose top Via offers
    /// to listen. Before a Via that is meant for others came in with it, no response has to be looked
    /// at.
    pub(super) fn tell_upstream(&mut self, first: usize) {
        if !self.hears_control {
            return;
        }
        let mut told = 0;
        let ask = match self.policy.overload.control {
            true => Some(self.gate.excess_percent()),
            false => None,
        };
        for number in first..self.out.transmits().len() {
            let bytes = self.out.bytes_of(number);
            if !bytes.starts_with(b"SIP/2.0 ") || !may_mention(bytes) {
                continue;
            }
            let index = &mut self.scratch.stored;
            let edits = &mut self.scratch.edits;
            let stamp = Stamp {
                ask,
                unix_ms: self.now.unix_ms,
            };
            if stamp.edit(bytes, index, edits) {
                told += u64::from(self.out.edit(number, edits));
            }
        }
        if let Some(counters) = self.counters().filter(|_| told > 0) {
            counters.oc_sent.set(counters.oc_sent.get() + told);
        }
    }
}

/// What is written into a response.
struct Stamp {
    ask: Option<u32>,
    unix_ms: i64,
}

impl Stamp {
    /// Collects the edits of a response; whether there are any.
    fn edit(&self, response: &[u8], index: &mut Index, edits: &mut Edits) -> bool {
        edits.clear();
        let Ok(message) = index.parse(response) else {
            return false;
        };
        for (position, value) in message.values(Name::Via).enumerate() {
            let Ok(via) = Via::parse(value.bytes, value.span.start) else {
                return false;
            };
            let is_listening = position == 0 && is_offered(&via);
            // Deeper Vias keep their offers, which are none of ours, and lose the values (§5.4).
            let goes = |name: &[u8], value: Option<&[u8]>| match position {
                0 => NAMES.iter().any(|known| name.eq_ignore_ascii_case(known)),
                _ => {
                    name.eq_ignore_ascii_case(b"oc-validity")
                        || name.eq_ignore_ascii_case(b"oc-seq")
                        || (name.eq_ignore_ascii_case(b"oc") && value.is_some())
                }
            };
            for param in via.params().filter(|param| goes(param.name, param.value)) {
                edits.remove(via.span.start + param.span.start..via.span.start + param.span.end);
            }
            if let Some(ask) = self.ask.filter(|_| is_listening) {
                edits.insert(via.span.end, |out| self.write(ask, out));
            }
        }
        !edits.is_empty()
    }

    fn write(&self, ask: u32, out: &mut Vec<u8>) {
        let unix_ms = self.unix_ms.max(0).unsigned_abs();
        let validity_ms = if ask == 0 { 0 } else { VALIDITY_MS };
        out.extend_from_slice(b";oc=");
        write_number(out, ask.into());
        out.extend_from_slice(b";oc-algo=\"loss\";oc-validity=");
        write_number(out, validity_ms);
        out.extend_from_slice(b";oc-seq=");
        write_number(out, unix_ms / 1_000);
        // Three digits, whatever the number.
        out.push(b'.');
        for divisor in [100, 10, 1] {
            write_number(out, unix_ms / divisor % 10);
        }
    }
}

impl Outbox {
    /// The bytes of a transmit, by its number.
    fn bytes_of(&self, number: usize) -> &[u8] {
        let transmit = self.transmits().get(number);
        transmit.map_or(b"", |transmit| self.payload(transmit))
    }
}

/// Whether the sender of a request listens to loss-based feedback (§4.1, §4.2).
pub(super) fn is_offered(via: &Via<'_>) -> bool {
    via.oc.is_some() && is_loss_based(via)
}

fn is_loss_based(via: &Via<'_>) -> bool {
    let list = via.param(b"oc-algo").flatten().unwrap_or_default();
    list.split(|byte| matches!(byte, b'"' | b',' | b' '))
        .any(|name| name.eq_ignore_ascii_case(b"loss"))
}

/// Whether one of the first Via lines may have a parameter of ours: a look at what follows each
/// semicolon, so that a response without any costs no more.
fn may_mention(response: &[u8]) -> bool {
    let mut is_via = false;
    let mut rest = response;
    while let Some(end) = scan::find(b'\n', rest) {
        rest = rest.get(end + 1..).unwrap_or_default();
        let line = rest.get(..scan::find(b'\n', rest).unwrap_or(rest.len()));
        let line = line.unwrap_or_default();
        let is_folded = matches!(line.first(), Some(b' ' | b'\t'));
        let starts = line.get(..4).is_some_and(|start| {
            start.eq_ignore_ascii_case(b"via:") || start.eq_ignore_ascii_case(b"via ")
        });
        let starts = starts || matches!(line, [b'v' | b'V', b':' | b' ' | b'\t', ..]);
        if !starts && !is_folded && (is_via || line.len() <= 1) {
            return false;
        }
        is_via |= starts;
        if is_via && has_parameter_of_ours(line) {
            return true;
        }
    }
    false
}

fn has_parameter_of_ours(mut line: &[u8]) -> bool {
    while let Some(at) = scan::find(b';', line) {
        line = line.get(at + 1..).unwrap_or_default().trim_ascii_start();
        let name = line.get(..2);
        if line.is_empty() || name.is_some_and(|name| name.eq_ignore_ascii_case(b"oc")) {
            return true;
        }
    }
    false
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + u64::from(digit - b'0'))
    })
}

/// `1*12DIGIT "." 1*5DIGIT` (§9) in units of the last of five digits.
fn sequence(text: &[u8]) -> Option<u64> {
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let whole = parts.next().filter(|whole| whole.len() <= 12)?;
    let fraction = parts.next().unwrap_or(b"0");
    let mut digits = [b'0'; 5];
    digits.get_mut(..fraction.len())?.copy_from_slice(fraction);
    Some(number(whole)? * SEQUENCE_UNIT + number(&digits)?)
}

#[cfg(test)]
mod tests;
