//! A new INVITE for one of ours: look up, ask `decide`, and set the response context up.

use smallvec::SmallVec;

use super::branch::Attempt;
use super::caller::identify;
use super::carry_out::{Carried, Source};
use super::divert::read_history;
use super::facts::Outcome;
use super::forward::Origin;
use super::hop::Hops;
use super::invite::{Invite, Story};
use super::policy::{Peer, Policy, UnknownCallee};
use super::rejection::Rejection;
use super::request::ProxyRequest;
use super::route::{Routed, Unroutable, is_ours};
use super::target;
use super::{Arrival, InviteKey, Now, Owner, Proxy};
use crate::message::{Name, Uri};
use crate::presence::{Directory, Handle, ProfileGuard, Target};
use crate::routing::{Caller, History, Question, Reason, Subscribers, decide};
use crate::transaction::{InviteServer, Ms};

/// The server transaction's key and the loop check of a request.
pub(super) type Identifiers = (u64, u32);

/// The directory as `decide` sees it: it knows which hosts are ours.
#[derive(Clone, Copy)]
pub struct Neighbourhood<'a> {
    /// Who is known.
    pub directory: &'a Directory,
    /// Which hosts are ours, and how numbers are written.
    pub policy: &'a Policy,
}

impl Subscribers for Neighbourhood<'_> {
    fn routing(&self, handle: Handle) -> crate::presence::Routing {
        self.directory.routing(handle)
    }

    fn profile(&self, handle: Handle) -> Option<ProfileGuard> {
        self.directory.profile_guard(handle)
    }

    fn resolve(&self, target: &Target) -> Option<Handle> {
        match target {
            Target::Uri { uri, .. } => self.resolve_uri(&Uri::parse(uri.as_bytes()).ok()?),
            Target::Number { key, .. } => self.directory.find(key.as_bytes()),
        }
    }

    fn may_forward_to(&self, target: &Target) -> bool {
        let rules = &self.policy.house.targets;
        rules.is_empty()
            || rules.refusal(target, &self.policy.plan).is_none()
            || self.resolve(target).is_some()
    }
}

impl Neighbourhood<'_> {
    /// The subscriber that a URI in one of our domains names.
    pub fn resolve_uri(&self, uri: &Uri<'_>) -> Option<Handle> {
        if uri.scheme != crate::message::Scheme::Tel && !is_ours(uri, self.policy) {
            return None;
        }
        self.directory
            .find_dialled(&uri.unescaped_user(), &self.policy.plan)
    }
}

impl Proxy {
    /// Looks the callee up and carries the decision out. This is the line that decides.
    pub(super) fn set_up(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        routed: &Routed,
        peer: &Peer,
        identifiers: Identifiers,
    ) -> Result<(), Rejection> {
        let policy = std::sync::Arc::clone(&self.policy);
        let shared = std::sync::Arc::clone(&self.shared);
        let around = Neighbourhood {
            directory: &shared.directory,
            policy: &policy,
        };
        let target = routed
            .uri
            .clone()
            .and_then(|span| request.message.bytes().get(span));
        let uri = target.map_or(Ok(request.uri), Uri::parse)?;
        let Some(callee) = around.resolve_uri(&uri) else {
            return self.unknown_callee(arrival, request, routed, (peer, identifiers));
        };
        let history = if peer.trust_diversion {
            read_history(&request.message, |uri| around.resolve_uri(uri))
        } else {
            History::default()
        };
        let story = self.story(arrival, request, peer, Some(callee), history);
        let decision = {
            let question = question(&story, callee, &policy, request.is_emergency(), self.now);
            decide(&question, &around)
        };
        if self.hides_names(arrival, request) && self.rings_nowhere(arrival, request, &decision) {
            self.hold_call_against(arrival, request, identifiers.0)?;
        }
        let key = self.insert_invite(arrival, request, identifiers, Some(Box::new(story)));
        let source = Source {
            message: request.message,
            origin: Origin::Received(arrival.from),
        };
        match self.carry_out(key, decision, &source, routed) {
            Carried::Out => Ok(()),
            Carried::Waits => {
                self.invites.remove(key);
                self.servers.remove(identifiers.0);
                self.park(arrival, &request.message, identifiers.0)
            }
        }
    }

    pub(super) fn story(
        &self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        peer: &Peer,
        callee: Option<Handle>,
        history: History,
    ) -> Story {
        Story {
            caller: identify(request, peer, &self.policy, &self.shared.directory),
            callee,
            visited_before: history.visited.len(),
            history,
            forwarding: peer.forwarding,
            voicemail: peer.voicemail_forwarding,
            invited_ms: self.now.ms,
            invited_unix_ms: self.now.unix_ms,
            first_ring_ms: None,
            source: arrival.from,
            outcome: Outcome::Connect,
            reasons: SmallVec::new(),
            target: Box::default(),
            offered_session_s: 0,
            waiting: Vec::new(),
            failure: None,
            asked: None,
            waits_after: None,
        }
    }

    /// A call to nobody of ours in a domain of ours.
    fn unknown_callee(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        routed: &Routed,
        (peer, identifiers): (&Peer, Identifiers),
    ) -> Result<(), Rejection> {
        match (self.policy.unknown_callee, &self.policy.next_hop) {
            (UnknownCallee::NextHop, Some(hop)) => {
                let towards = self.towards(arrival.call_key, arrival.listener);
                let hops = towards.next_hop(hop);
                let why = Some(Reason::UnknownCallee);
                self.pass_invite(arrival, request, routed, identifiers, (hops, why))
            }
            _ if self.hides_names(arrival, request) => {
                self.hold_call_against(arrival, request, identifiers.0)?;
                self.refuse_unknown(arrival, request, peer, identifiers);
                Ok(())
            }
            _ => Err(Rejection::NotFound),
        }
    }

    /// Relays an INVITE that no decision is about: to somebody we do not know, or within a dialog.
    /// The trace of a new call tells `why`.
    pub(super) fn pass_invite(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        routed: &Routed,
        identifiers: Identifiers,
        (hops, why): (Result<Hops, Unroutable>, Option<Reason>),
    ) -> Result<(), Rejection> {
        let hops = self.known_destinations(arrival, request, identifiers.0, hops)?;
        match hops {
            Some(hops) => {
                let targets = std::iter::once(target::Target::at(hops)).collect();
                let targets = (targets, why);
                self.pass_invite_to(arrival, request, routed, identifiers, targets)
            }
            None => Ok(()),
        }
    }

    /// The same to targets that are known.
    pub(super) fn pass_invite_to(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        routed: &Routed,
        identifiers: Identifiers,
        (targets, why): (target::Targets, Option<Reason>),
    ) -> Result<(), Rejection> {
        let policy = std::sync::Arc::clone(&self.policy);
        let story = (!request.is_in_dialog()).then(|| {
            let (peer, _) = self.peer_of(&policy, arrival);
            let mut story = self.story(arrival, request, peer, None, History::default());
            story.outcome = Outcome::PassOn;
            story.reasons.extend(why);
            Box::new(story)
        });
        let key = self.insert_invite(arrival, request, identifiers, story);
        let source = Source {
            message: request.message,
            origin: Origin::Received(arrival.from),
        };
        let attempt = Attempt {
            uri: None,
            callee: None,
            ring_for_s: None,
            is_divert: false,
        };
        self.try_targets(key, &source, routed, &attempt, targets);
        Ok(())
    }

    /// The hops to send to; `None` while a name is being resolved: the request waits for that.
    pub(super) fn known_destinations(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        server_key: u64,
        hops: Result<Hops, Unroutable>,
    ) -> Result<Option<Hops>, Rejection> {
        match hops {
            Ok(hops) => {
                let targets = std::iter::once(target::Target::at(hops)).collect();
                let willing = self.willing(arrival, &request.message, targets);
                let willing = willing.and_then(|targets| targets.into_iter().next());
                let hops = willing.map(|target| Some(target.hops));
                hops.ok_or(Rejection::Throttled)
            }
            Err(Unroutable::Pending) => {
                self.park(arrival, &request.message, server_key)?;
                Ok(None)
            }
            Err(Unroutable::Nowhere) => Err(Rejection::Unresolvable),
            Err(Unroutable::FlowGone) => Err(Rejection::FlowFailed),
        }
    }

    /// Makes the context and the entry that finds it.
    pub(super) fn insert_invite(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        (server_key, check): Identifiers,
        story: Option<Box<Story>>,
    ) -> InviteKey {
        let key = self.invites.insert(Box::new(Invite {
            server_key,
            call_key: arrival.call_key,
            check,
            breadth: request.breadth,
            cancel_reason: Box::default(),
            server: InviteServer::Proceeding,
            upstream: arrival.reply_hop(&request.via),
            flow: self.flow_of(arrival, request),
            branches: SmallVec::new(),
            response: Box::default(),
            best: None,
            is_cancelled: false,
            answered: SmallVec::new(),
            armed: Ms::MAX,
            story,
        }));
        self.servers.insert(server_key, Owner::Invite(key));
        key
    }
}

/// The question about a call as it stands.
pub(super) fn question<'a>(
    story: &'a Story,
    callee: Handle,
    policy: &'a Policy,
    is_emergency_callback: bool,
    now: Now,
) -> Question<'a> {
    Question {
        caller: Caller {
            class: story.caller.class,
            subscriber: story.caller.subscriber,
            key: &story.caller.key,
            uri: &story.caller.uri,
        },
        callee,
        history: &story.history,
        forwarding: story.forwarding,
        voicemail: story.voicemail,
        voicemail_available: policy.voicemail.is_some(),
        call_limit: policy.call_limit,
        hop_limit: policy.hop_limit,
        now_unix_s: now.unix_ms.div_euclid(1_000),
        is_emergency_callback,
        is_message: false,
        zone: &policy.zone,
        holidays: &policy.holidays,
    }
}

impl ProxyRequest<'_> {
    /// Whether this calls somebody back who had called an emergency number (RFC 7090).
    fn is_emergency(&self) -> bool {
        self.message
            .headers(Name::Priority)
            .any(|header| header.value.eq_ignore_ascii_case(b"psap-callback"))
    }
}
