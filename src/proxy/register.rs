//! REGISTER for a domain of ours, where phones register with us (RFC 3261 §10.3).
//!
//! The answer is kept for Timer J, so a retransmission gets the same one (`answered`).

use std::num::NonZeroU64;
use std::sync::Arc;

use super::hop::ConnectionId;
use super::rejection::Rejection;
use super::request::ProxyRequest;
use super::{Arrival, Proxy};
use crate::message::{Reply, Scheme};
use crate::registrar::{
    Arrived, Flow, Refusal, Registration, Rules, check_extensions, write_headers,
};

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
        let reply = Reply {
            status,
            reason: reason.as_bytes(),
            headers: &headers,
            ..Reply::default()
        };
        self.answer_and_keep(arrival, request, server_key, reply);
        self.scratch.lines = headers;
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
}
