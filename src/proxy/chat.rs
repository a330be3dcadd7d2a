//! MESSAGE (RFC 3428) for a subscriber: decided as a call is, and delivered, forwarded, refused or
//! suppressed. What is not delivered stands in the subscriber's journal.

use std::sync::Arc;

use super::caller::identify;
use super::divert::Diversion;
use super::policy::Peer;
use super::rejection::Rejection;
use super::request::ProxyRequest;
use super::route::{Routed, Unroutable};
use super::setup::{Identifiers, Neighbourhood};
use super::target::{Target, Targets};
use super::{Arrival, Proxy};
use crate::call::{Entry, EntryKind};
use crate::message::Reply;
use crate::presence::Handle;
use crate::routing::{
    Caller, Decision, Destination, Divert, History, Plan, Question, Reason, Rejection as Refused,
    decide,
};

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chat {
    /// It goes on as it is.
    Delivered,
    /// It was forwarded, answered, or waits for a name.
    Done,
}

impl Proxy {
    /// Asks what the callee wants done with a message, and does it unless it is to be delivered.
    pub(super) fn decide_message(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        routed: &Routed,
        peer: &Peer,
        identifiers: Identifiers,
    ) -> Result<Chat, Rejection> {
        let policy = Arc::clone(&self.policy);
        let shared = Arc::clone(&self.shared);
        let around = Neighbourhood {
            directory: &shared.directory,
            policy: &policy,
        };
        let Some(callee) = around.resolve_uri(&request.uri) else {
            return Ok(Chat::Delivered);
        };
        let caller = identify(request, peer, &policy, &shared.directory);
        let history = History::default();
        let asking = Caller {
            class: caller.class,
            subscriber: caller.subscriber,
            key: &caller.key,
            uri: &caller.uri,
        };
        let now_unix_s = self.now.unix_ms.div_euclid(1_000);
        let question = Question {
            voicemail_available: false,
            hop_limit: policy.hop_limit,
            zone: &policy.zone,
            holidays: &policy.holidays,
            is_message: true,
            ..Question::new(asking, callee, &history, now_unix_s)
        };
        let decision = decide(&question, &around);
        match &decision.plan {
            Plan::Connect(_) => Ok(Chat::Delivered),
            Plan::Reject(refused) => {
                self.answer_message(arrival, request, *refused, identifiers.0);
                let status = refused.status(policy.dnd_status);
                self.note_message((callee, status), request, &decision, b"");
                Ok(Chat::Done)
            }
            Plan::Forward(divert) | Plan::Redirect(divert) => {
                let targets = self.message_targets(arrival, request, divert, &history);
                match targets {
                    Ok((uri, targets)) => {
                        self.relay(arrival, request, routed, identifiers, &targets)?;
                        self.note_message((callee, 202), request, &decision, &uri);
                    }
                    Err(Unroutable::Pending) => {
                        self.park(arrival, &request.message, identifiers.0)?;
                    }
                    Err(_) => {
                        self.answer_message(arrival, request, Refused::Missed, identifiers.0);
                        self.note_message((callee, 480), request, &decision, b"");
                    }
                }
                Ok(Chat::Done)
            }
        }
    }

    /// Where a forwarded message goes. A telephone number takes no messages.
    fn message_targets(
        &self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        divert: &Divert,
        history: &History,
    ) -> Result<(Vec<u8>, Targets), Unroutable> {
        let diversion = Diversion {
            divert,
            dialled: &request.uri,
            dialled_bytes: request.uri_bytes,
            history,
            policy: &self.policy,
            shared: &self.shared,
        };
        let mut uri = Vec::new();
        diversion.write_target(request.uri.host_port, &mut uri);
        let key_and_listener = (arrival.call_key, arrival.listener);
        let mut targets = match &divert.to {
            Destination::Subscriber { connect, .. } => {
                self.targets_of(connect.callee, b"", key_and_listener)?
            }
            Destination::Target(target) if !target.is_number() => {
                let towards = self.towards(arrival.call_key, arrival.listener);
                std::iter::once(Target::at(diversion.hops(&towards)?)).collect()
            }
            _ => return Err(Unroutable::Nowhere),
        };
        for target in &mut targets {
            target.uri.get_or_insert_with(|| uri.as_slice().into());
        }
        Ok((uri, targets))
    }

    fn answer_message(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        refused: Refused,
        server_key: u64,
    ) {
        let status = refused.status(self.policy.dnd_status);
        let reply = Reply {
            status,
            reason: refused.reason_phrase().as_bytes(),
            ..Reply::default()
        };
        self.count_response(status);
        self.answer_and_keep(arrival, request, server_key, reply);
    }

    fn note_message(
        &mut self,
        (callee, status): (Handle, u16),
        request: &ProxyRequest<'_>,
        decision: &Decision,
        target: &[u8],
    ) {
        let Some(profile) = self.shared.directory.profile(callee) else {
            return;
        };
        let labels: Vec<&str> = decision.reasons.iter().map(Reason::label).collect();
        let labels = labels.join(",");
        let entry = Entry {
            kind: EntryKind::Message,
            at_unix_ms: self.now.unix_ms,
            ring_ms: 0,
            talk_s: 0,
            status: status.into(),
            from: request.from.uri,
            target,
            call_id: request.message.call_id().unwrap_or_default(),
            reasons: labels.as_bytes(),
        };
        self.write_journal(profile.id().as_bytes(), &entry);
    }
}
