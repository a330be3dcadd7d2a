//! REGISTER for a domain of ours, where phones register with us (RFC 3261 §10.3).
//!
//! The answer is kept for Timer J, so a retransmission gets the same one (§17.2.2). Kept answers are
//! bounded: beyond the bound a retransmission is processed anew, which changes nothing, as a binding
//! knows the transaction that made it.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::hop::{ConnectionId, Hop};
use super::rejection::Rejection;
use super::request::ProxyRequest;
use super::{AnswerKey, Arrival, Owner, Proxy};
use crate::message::{Reply, Scheme, write_response};
use crate::registrar::{
    Arrived, Flow, Refusal, Registration, Rules, check_extensions, write_headers,
};
use crate::transaction::NonInviteServer;

/// How many answers a shard keeps: at 32 s each, those of a thousand registrations a second.
const ANSWERS_LIMIT: usize = 32_768;

/// A request that was answered at once: the rest of its server transaction.
pub(super) struct Answered {
    server_key: u64,
    server: NonInviteServer,
    upstream: Hop,
    response: Box<[u8]>,
}

impl Proxy {
    /// Carries a REGISTER out and answers it.
    pub(super) fn register(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        server_key: u64,
    ) -> Result<(), Rejection> {
        let rules = self.policy.registrar.ok_or(Rejection::NowhereToGo)?;
        let mut headers = std::mem::take(&mut self.scratch.lines);
        headers.clear();
        let outcome = self.bind(arrival, request, (server_key, rules), &mut headers);
        let (status, reason) = match outcome {
            Ok(()) => (200, ""),
            Err(refusal) => {
                let retry_after_s = self.policy.retry_after_s;
                refusal.write_headers(&request.message, &rules, retry_after_s, &mut headers);
                (refusal.status(), refusal.reason_phrase())
            }
        };
        if let Some(counters) = self.counters() {
            let label = outcome.err().map_or("", Refusal::label);
            let result = if outcome.is_ok() {
                "accepted"
            } else {
                "refused"
            };
            counters.registrations.inc(result, label);
        }
        let tag = self.stateless_tag(arrival);
        let reply = Reply {
            status,
            reason: reason.as_bytes(),
            source: Some(arrival.from),
            to_tag: Some(&tag),
            headers: &headers,
            body: None,
        };
        let upstream = arrival.reply_hop(&request.via);
        let response: Box<[u8]> = self
            .out
            .send(&upstream, |out| {
                write_response(&request.message, &reply, out)
            })
            .into();
        self.scratch.lines = headers;
        self.keep_answer(server_key, upstream, response, status);
        Ok(())
    }

    /// Steps 2 and 4 to 8; what a 200 says goes into `headers`.
    fn bind(
        &self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        (server_key, rules): (u64, Rules),
        headers: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let message = &request.message;
        check_extensions(message)?;
        let shared = Arc::clone(&self.shared);
        let aor = request.to.parsed_uri().map_err(|_| Refusal::MalformedTo)?;
        if !matches!(aor.scheme, Scheme::Sip | Scheme::Sips | Scheme::Tel) {
            return Err(Refusal::MalformedTo);
        }
        let callee = self.around().resolve_uri(&aor).ok_or(Refusal::NotFound)?;
        let profile = shared.directory.profile(callee).ok_or(Refusal::NotFound)?;
        let registration = Registration::read(
            message,
            (callee, profile.id()),
            self.arrived(arrival, request),
            (server_key, self.now.unix_ms),
            rules,
        )?;
        let is_open = |id: NonZeroU64| shared.flows.get(ConnectionId(id)).is_some();
        let registered = shared.locations.register(&registration, &is_open)?;
        let bindings = registered.bindings.as_deref();
        write_headers(&registration, bindings, &request.to, headers);
        Ok(())
    }

    fn arrived(&self, arrival: &Arrival, request: &ProxyRequest<'_>) -> Arrived {
        Arrived {
            flow: Flow {
                listener: arrival.listener,
                transport: self.policy.transport(arrival.listener),
                peer: arrival.from,
                connection: arrival.connection.map(|id| id.0),
            },
            is_direct: request.message.vias().take(2).count() == 1,
            sent_by: request.via.host_ip(),
        }
    }

    /// Keeps an answer for retransmissions, for Timer J (§17.2.2).
    pub(super) fn keep_answer(
        &mut self,
        server_key: u64,
        upstream: Hop,
        response: Box<[u8]>,
        status: u16,
    ) {
        let base = self.policy.base(upstream.listener);
        if base.reliable || self.answers.len() >= ANSWERS_LIMIT {
            return;
        }
        let mut server = NonInviteServer::start(self.now.ms, &base);
        server.on_response(status, self.now.ms, &base);
        let Some(timer_j) = server.deadline() else {
            return;
        };
        let key = self.answers.insert(Answered {
            server_key,
            server,
            upstream,
            response,
        });
        self.servers.insert(server_key, Owner::Answer(key));
        self.wheel.insert(timer_j, Owner::Answer(key));
    }

    /// A retransmission: the answer once more.
    pub(super) fn repeat_answer(&mut self, key: AnswerKey) {
        self.count(|c| &c.retransmissions_received);
        if let Some(answered) = self.answers.get(key) {
            super::handle::send_stored(&answered.upstream, &answered.response, &mut self.out);
            self.count(|c| &c.retransmissions_sent);
        }
    }

    /// Timer J: nothing more is expected.
    pub(super) fn wake_answer(&mut self, key: AnswerKey) {
        let Some(answered) = self.answers.get_mut(key) else {
            return;
        };
        answered.server.on_timeout(self.now.ms);
        if answered.server == NonInviteServer::Terminated {
            let server_key = answered.server_key;
            self.answers.remove(key);
            self.servers.remove(&server_key);
        }
    }
}
