//! What strangers are not told: which names are subscribers' (RFC 3261 §26.3.2.4 asks no less of a
//! registrar). A name that nobody has is refused to them as a subscriber without a phone is: the same
//! response, kept and sent again alike, and held against them alike.

use super::carry_out::Source;
use super::facts::Outcome;
use super::forward::Origin;
use super::note::Final;
use super::policy::Peer;
use super::rejection::Rejection;
use super::request::ProxyRequest;
use super::route::Unroutable;
use super::setup::Identifiers;
use super::{Arrival, Proxy};
use crate::routing::{Decision, History, Plan, Reason};

impl Proxy {
    /// Whether the sender of a request must not learn which names there are: it is nobody we know,
    /// and has not proved who it is.
    pub(super) fn hides_names(&self, arrival: &Arrival, request: &ProxyRequest<'_>) -> bool {
        self.policy.auth.hides_names()
            && request.authenticated.is_none()
            && !self.peer_of(&self.policy, arrival).1
    }

    /// A refusal as its hearer may hear it.
    pub(super) fn discreet(
        &self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        rejection: Rejection,
    ) -> Rejection {
        match rejection {
            Rejection::NotFound if self.hides_names(arrival, request) => Rejection::NowhereToGo,
            other => other,
        }
    }

    /// Holds a stranger's call that rings nowhere against its source, whether the name exists or
    /// not: who scans calls many of both.
    ///
    /// # Errors
    /// The source asks too fast: no answer.
    pub(super) fn hold_call_against(
        &self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        key: u64,
    ) -> Result<(), Rejection> {
        let missed = (Rejection::NotFound, key);
        match self.hold_against(arrival, &request.message, missed) {
            Rejection::Withheld => Err(Rejection::Withheld),
            _ => Ok(()),
        }
    }

    /// Whether a decision leads to a subscriber whom nothing reaches.
    pub(super) fn rings_nowhere(
        &self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        decision: &Decision,
    ) -> bool {
        let Plan::Connect(connect) = &decision.plan else {
            return false;
        };
        let way = (arrival.call_key, arrival.listener);
        let targets = self.targets_of(connect.callee, request.uri_bytes, way);
        matches!(targets, Err(Unroutable::Nowhere | Unroutable::FlowGone))
    }

    /// Answers a stranger's call to nobody as one to a subscriber without a phone.
    pub(super) fn refuse_unknown(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        peer: &Peer,
        identifiers: Identifiers,
    ) {
        let mut story = self.story(arrival, request, peer, None, History::default());
        story.outcome = Outcome::Reject;
        story.reasons.push(Reason::UnknownCallee);
        let key = self.insert_invite(arrival, request, identifiers, Some(Box::new(story)));
        let source = Source {
            message: request.message,
            origin: Origin::Received(arrival.from),
        };
        self.answer(key, &source, &Final::new(480));
    }
}
