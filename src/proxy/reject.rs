//! Requests answered by ourselves without keeping any state (RFC 3261 §8.2.7, §16.3).

use std::io::Write as _;

use super::extensions::write_unsupported;
use super::hop::Hop;
use super::overload::draw;
use super::rejection::Rejection;
use super::session::minimum;
use super::{Arrival, Proxy};
use crate::message::{Fault, Malformed, Message, Method, Reply, write_response};
use crate::transaction::branch::hex;

/// A To tag of ours.
pub(super) type Tag = [u8; 18];

impl Proxy {
    /// The To tag of a response we make: the same for every retransmission of a request.
    pub(super) fn stateless_tag(&self, arrival: &Arrival) -> Tag {
        self.tag(arrival.call_key)
    }

    /// A tag of ours for a call; unguessable, the same whenever it is asked for.
    pub(super) fn tag(&self, call_key: u64) -> Tag {
        let mut tag = *b"pm0000000000000000";
        let [_, _, digits @ ..] = &mut tag;
        *digits = hex(self.keys.token(call_key ^ 0x7461_6700));
        tag
    }

    /// Answers a request whose top Via was read; an ACK is never answered.
    pub(super) fn reject(
        &mut self,
        arrival: &Arrival,
        message: Message<'_>,
        upstream: &Hop,
        rejection: Rejection,
    ) {
        self.count_rejection(rejection);
        if rejection == Rejection::Withheld {
            return;
        }
        if message.method() == Some(Method::Ack) {
            self.count(|c| &c.stray_acks);
            return;
        }
        let tag = self.stateless_tag(arrival);
        let mut headers = Vec::new();
        self.write_rejection_headers(&message, rejection, &mut headers);
        let reply = Reply {
            status: rejection.status(),
            reason: rejection.reason_phrase().as_bytes(),
            source: Some(arrival.from),
            to_tag: Some(&tag),
            headers: &headers,
            body: None,
        };
        self.out
            .send(upstream, |out| write_response(&message, &reply, out));
    }

    /// Answers a request without a usable Via to where it came from.
    pub(super) fn reject_unroutable(
        &mut self,
        arrival: &Arrival,
        message: Message<'_>,
        rejection: Rejection,
    ) {
        let upstream = arrival.reply_hop_of(&message);
        self.reject(arrival, message, &upstream, rejection);
    }

    /// A datagram without a message: a keep-alive, or noise that cannot be answered.
    pub fn count_malformed(&self, malformed: Malformed) {
        let Some(counters) = self.counters() else {
            return;
        };
        match malformed {
            Malformed::KeepAlive => counters.keepalives.inc(),
            _ => counters.malformed.inc("datagram", malformed.kind()),
        }
    }

    /// A message that is framed but broken: a refused request, or a response that is dropped.
    pub(super) fn count_fault(&self, fault: Fault) {
        if let Some(counters) = self.counters() {
            counters.malformed.inc("message", fault.kind());
        }
    }

    fn count_rejection(&self, rejection: Rejection) {
        let Some(counters) = self.counters() else {
            return;
        };
        match rejection {
            Rejection::Malformed(fault) => self.count_fault(fault),
            Rejection::Overloaded => counters.overloads.inc(),
            _ => {}
        }
        counters.rejections.inc("request", rejection.label());
    }

    /// What a refused caller waits: up to half as long again as configured, each another time, so
    /// that they do not all come back at once.
    fn retry_after_s(&self, message: &Message<'_>) -> u32 {
        let base = self.policy.retry_after_s;
        if self.shared.is_draining() {
            return base;
        }
        let call_key = self.keys.call(message.call_id().unwrap_or_default());
        base + draw(call_key) % (base / 2 + 1)
    }

    fn write_rejection_headers(
        &self,
        message: &Message<'_>,
        rejection: Rejection,
        headers: &mut Vec<u8>,
    ) {
        match rejection {
            Rejection::Overloaded => {
                let _ = write!(headers, "Retry-After: {}\r\n", self.retry_after_s(message));
            }
            Rejection::BadExtension(name) => write_unsupported(message, name, headers),
            Rejection::SessionIntervalTooSmall => {
                let _ = write!(headers, "Min-SE: {}\r\n", minimum(&self.policy));
            }
            Rejection::Unauthenticated {
                side,
                is_stale,
                transaction,
                ..
            } => {
                let now_s = self.now.unix_ms.div_euclid(1_000);
                let guard = &self.shared.guard;
                let (role, when) = ((side, is_stale), (transaction, now_s));
                guard.challenge(&self.policy.auth, role, when, headers);
            }
            _ => {}
        }
    }
}
