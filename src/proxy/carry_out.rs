//! Carrying out a plan: a branch to the PBX, a redirect, a retargeted branch, a rejection.

use std::sync::Arc;

use super::branch::Attempt;
use super::divert::Diversion;
use super::facts::Outcome;
use super::forward::Origin;
use super::handle::send_stored;
use super::note::Final;
use super::route::{Routed, Unroutable};
use super::target::{Target, Targets};
use super::{InviteKey, Proxy};
use crate::message::{Message, Reply, Uri, write_response};
use crate::presence::Handle;
use crate::registrar::request_uri;
use crate::routing::{
    Connect, Decision, Destination, Divert, Failure, Plan, Reason, Rejection, decide_after,
};

/// The request a plan is carried out on.
#[derive(Clone, Copy)]
pub(super) struct Source<'m> {
    pub message: Message<'m>,
    pub origin: Origin,
}

impl Source<'_> {
    /// Whether it is the request itself, not what is left of it in a branch.
    fn is_received(&self) -> bool {
        matches!(self.origin, Origin::Received(_))
    }
}

/// What became of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carried {
    /// It was carried out.
    Out,
    /// Nothing was done: a name that it needs is being resolved.
    Waits,
}

impl Proxy {
    /// Does what was decided; whether it could be, or must wait for a name that is being resolved.
    pub(super) fn carry_out(
        &mut self,
        key: InviteKey,
        decision: Decision,
        source: &Source<'_>,
        routed: &Routed,
    ) -> Carried {
        let outcome = outcome_of(&decision.plan);
        let why = decision.reasons.last().map(Reason::label);
        let mut told_before = 0;
        if let Some(story) = self.story_of(key) {
            story.outcome = outcome;
            told_before = story.reasons.len();
            story.reasons.extend(decision.reasons);
        }
        let carried = self.do_plan(key, decision.plan, source, routed);
        match carried {
            Carried::Out => self.count_decision(outcome, why),
            Carried::Waits => {
                if let Some(story) = self.story_of(key) {
                    story.reasons.truncate(told_before);
                }
            }
        }
        carried
    }

    fn do_plan(
        &mut self,
        key: InviteKey,
        plan: Plan,
        source: &Source<'_>,
        routed: &Routed,
    ) -> Carried {
        match plan {
            Plan::Connect(connect) => self.connect(key, &connect, source, routed),
            Plan::Redirect(divert) => {
                self.redirect(key, &divert, source);
                Carried::Out
            }
            Plan::Forward(divert) => self.retarget(key, &divert, source, routed),
            Plan::Reject(rejection) => {
                let status = rejection.status(self.policy.dnd_status);
                let headers = reason_header(rejection, status);
                let answer = Final {
                    status,
                    headers: &headers,
                    rejection: Some(rejection),
                };
                self.answer(key, source, &answer);
                Carried::Out
            }
        }
    }

    /// Branches to where the callee is reached; nowhere counts as unreachable.
    fn connect(
        &mut self,
        key: InviteKey,
        connect: &Connect,
        source: &Source<'_>,
        routed: &Routed,
    ) -> Carried {
        let attempt = Attempt {
            uri: None,
            callee: Some(connect.callee),
            ring_for_s: self.ring_for_s(connect),
            is_divert: false,
        };
        match self.targets_for(key, connect.callee, source.message.uri()) {
            Ok(targets) => {
                match self.willing_to_connect(key, &source.message, targets) {
                    Some(targets) => {
                        self.try_targets(key, source, routed, &attempt, targets);
                    }
                    None => self.answer(key, source, &Final::new(503)),
                }
                Carried::Out
            }
            Err(Unroutable::Pending) if self.may_wait(source) => Carried::Waits,
            Err(_) => {
                let decision = self.decide_again(key, connect.callee, Failure::Unreachable);
                match decision {
                    Some(decision) => self.carry_out(key, decision, source, routed),
                    None => {
                        self.answer(key, source, &Final::new(480));
                        Carried::Out
                    }
                }
            }
        }
    }

    /// Whether what a plan needs may be waited for. A request that is just received is parked, which
    /// knows an end by itself.
    fn may_wait(&self, source: &Source<'_>) -> bool {
        source.is_received()
            || self
                .resumed_until_ms
                .is_none_or(|until| self.now.ms < until)
    }

    /// How long a callee may ring: as they set it, else the default where they want something
    /// done then.
    fn ring_for_s(&self, connect: &Connect) -> Option<u16> {
        let default = connect
            .has_no_answer_action
            .then_some(self.policy.ring_for_s);
        connect.ring_for_s.or(default)
    }

    /// 302 with the target in Contact, and how the call came there.
    fn redirect(&mut self, key: InviteKey, divert: &Divert, source: &Source<'_>) {
        let Some(mut texts) = self.write_diversion(key, divert, source, true) else {
            self.answer(key, source, &Final::new(480));
            return;
        };
        let mut headers = std::mem::take(&mut texts.lines);
        headers.extend_from_slice(b"Contact: <");
        headers.extend_from_slice(&texts.uri);
        headers.extend_from_slice(b">\r\n");
        headers.extend_from_slice(&texts.tail);
        if let Some(story) = self.story_of(key) {
            story.target = texts.uri.as_slice().into();
        }
        let answer = Final {
            status: 302,
            headers: &headers,
            rejection: None,
        };
        self.answer(key, source, &answer);
        texts.lines = headers;
        self.return_texts(texts);
    }

    /// A branch to the new target, announced upstream with a 181.
    fn retarget(
        &mut self,
        key: InviteKey,
        divert: &Divert,
        source: &Source<'_>,
        routed: &Routed,
    ) -> Carried {
        let targets = self.divert_targets(key, divert, source);
        if matches!(targets, Err(Unroutable::Pending)) && self.may_wait(source) {
            return Carried::Waits;
        }
        let targets = targets.and_then(|targets| {
            let willing = self.willing_to_connect(key, &source.message, targets);
            willing.ok_or(Unroutable::Nowhere)
        });
        let (Some(texts), Ok(targets)) =
            (self.write_diversion(key, divert, source, false), targets)
        else {
            return self.divert_failed(key, divert, source, routed);
        };
        let (callee, ring_for_s) = match &divert.to {
            Destination::Subscriber { connect, .. } => {
                (Some(connect.callee), self.ring_for_s(connect))
            }
            _ => (None, None),
        };
        if let Some(story) = self.story_of(key) {
            story.target = texts.uri.as_slice().into();
            story.remember(divert);
        }
        self.send_first_trying(key, source);
        self.send_being_forwarded(key, source);
        let uri = std::mem::take(&mut self.scratch.uri);
        self.scratch.lines = texts.lines;
        self.scratch.tail = texts.tail;
        let attempt = Attempt {
            uri: Some(&texts.uri),
            callee,
            ring_for_s,
            is_divert: true,
        };
        self.try_targets(key, source, routed, &attempt, targets);
        self.scratch.uri = uri;
        Carried::Out
    }

    /// The target cannot be reached at all: the subscriber's unreachable action, else 480.
    fn divert_failed(
        &mut self,
        key: InviteKey,
        divert: &Divert,
        source: &Source<'_>,
        routed: &Routed,
    ) -> Carried {
        let is_voicemail = matches!(divert.to, Destination::Voicemail { .. });
        let last = divert.hops.last().map(|hop| hop.subscriber);
        if let Some(story) = self.story_of(key) {
            story.remember(divert);
        }
        let decision = last
            .filter(|_| !is_voicemail)
            .and_then(|callee| self.decide_again(key, callee, Failure::Unreachable));
        match decision {
            Some(decision) => self.carry_out(key, decision, source, routed),
            None => {
                self.answer(key, source, &Final::new(480));
                Carried::Out
            }
        }
    }

    /// Asks `decide_after` what the callee of a failed branch wants.
    pub(super) fn decide_again(
        &mut self,
        key: InviteKey,
        callee: Handle,
        failure: Failure,
    ) -> Option<Decision> {
        let policy = Arc::clone(&self.policy);
        let shared = Arc::clone(&self.shared);
        let story = self.invites.get_mut(key)?.story.as_deref_mut()?;
        story.asked = Some((callee, failure));
        let around = super::setup::Neighbourhood {
            directory: &shared.directory,
            policy: &policy,
        };
        let question = super::setup::question(story, callee, &policy, false, self.now);
        decide_after(&question, failure, &around)
    }

    /// Where a diversion goes.
    fn divert_targets(
        &self,
        key: InviteKey,
        divert: &Divert,
        source: &Source<'_>,
    ) -> Result<Targets, Unroutable> {
        if let Destination::Subscriber { connect, .. } = &divert.to {
            return self.targets_for(key, connect.callee, b"");
        }
        let invite = self.invites.get(key).ok_or(Unroutable::Nowhere)?;
        let story = invite.story.as_deref().ok_or(Unroutable::Nowhere)?;
        let towards = self.towards(invite.call_key, invite.upstream.listener);
        let uri = source
            .message
            .parsed_uri()
            .map_err(|_| Unroutable::Nowhere)?;
        let diversion = self.diversion(divert, source, &uri, &story.history);
        let hops = diversion.hops(&towards)?;
        Ok(std::iter::once(Target::at(hops)).collect())
    }

    fn diversion<'a>(
        &'a self,
        divert: &'a Divert,
        source: &Source<'a>,
        dialled: &'a Uri<'a>,
        history: &'a crate::routing::History,
    ) -> Diversion<'a> {
        Diversion {
            divert,
            dialled,
            dialled_bytes: source.message.uri(),
            history,
            policy: &self.policy,
            shared: &self.shared,
        }
    }

    /// Writes target, Diversion and History-Info of a diversion into the scratch buffers, which
    /// are handed out.
    fn write_diversion(
        &mut self,
        key: InviteKey,
        divert: &Divert,
        source: &Source<'_>,
        is_redirect: bool,
    ) -> Option<Texts> {
        let mut texts = Texts {
            uri: std::mem::take(&mut self.scratch.uri),
            lines: std::mem::take(&mut self.scratch.lines),
            tail: std::mem::take(&mut self.scratch.tail),
        };
        texts.clear();
        let story = self.invites.get(key)?.story.as_deref()?;
        let dialled = source.message.parsed_uri().ok()?;
        let diversion = self.diversion(divert, source, &dialled, &story.history);
        let host = if is_redirect {
            dialled.host_port
        } else {
            diversion.retarget_host()
        };
        diversion.write_target(host, &mut texts.uri);
        if !is_redirect {
            texts.uri = request_uri(&texts.uri).into_owned();
        }
        diversion.write_diversion(&mut texts.lines);
        diversion.write_history(&source.message, &texts.uri, &mut texts.tail);
        (!texts.uri.is_empty()).then_some(texts)
    }

    fn return_texts(&mut self, texts: Texts) {
        self.scratch.uri = texts.uri;
        self.scratch.lines = texts.lines;
        self.scratch.tail = texts.tail;
    }

    /// 100 Trying at once (§16.2): the first thing a caller hears of us.
    pub(super) fn send_first_trying(&mut self, key: InviteKey, source: &Source<'_>) {
        let Origin::Received(_) = source.origin else {
            return;
        };
        let Some(invite) = self.invites.get(key) else {
            return;
        };
        let reply = Reply {
            status: 100,
            source: source.origin.source(),
            ..Reply::default()
        };
        self.out.send(&invite.upstream, |out| {
            write_response(&source.message, &reply, out);
        });
    }

    /// 181 Call Is Being Forwarded.
    fn send_being_forwarded(&mut self, key: InviteKey, source: &Source<'_>) {
        let Some(invite) = self.invites.get(key) else {
            return;
        };
        if !invite.server.is_proceeding() {
            return;
        }
        let (upstream, tag) = (invite.upstream.clone(), self.tag(invite.call_key));
        let reply = Reply {
            status: 181,
            source: source.origin.source(),
            to_tag: Some(&tag),
            ..Reply::default()
        };
        let sent: Box<[u8]> = self
            .out
            .send(&upstream, |out| {
                write_response(&source.message, &reply, out);
            })
            .into();
        self.count_response(181);
        if let Some(invite) = self.invites.get_mut(key) {
            invite.response = sent;
        }
    }

    /// A 100 for a retransmission, written from what the first branch sent.
    pub(super) fn send_trying(&mut self, key: InviteKey) {
        let Some(invite) = self.invites.get(key) else {
            return;
        };
        let upstream = invite.upstream.clone();
        let Some(received) = invite
            .branches
            .last()
            .and_then(|branch| branch.received(&mut self.scratch))
        else {
            return;
        };
        if let Ok(message) = self.scratch.stored.parse(&received) {
            let mut trying = Vec::with_capacity(512);
            write_response(&message, &Reply::new(100), &mut trying);
            send_stored(&upstream, &trying, &mut self.out);
            self.count(|c| &c.retransmissions_sent);
        }
    }

    pub(super) fn story_of(&mut self, key: InviteKey) -> Option<&mut super::invite::Story> {
        self.invites.get_mut(key)?.story.as_deref_mut()
    }
}

/// The texts of a diversion, in buffers borrowed from the scratch.
struct Texts {
    uri: Vec<u8>,
    lines: Vec<u8>,
    tail: Vec<u8>,
}

impl Texts {
    fn clear(&mut self) {
        self.uri.clear();
        self.lines.clear();
        self.tail.clear();
    }
}

/// Says why do not disturb refused a call (RFC 3326): the status alone would not.
fn reason_header(rejection: Rejection, status: u16) -> Vec<u8> {
    match rejection {
        Rejection::Dnd => {
            format!("Reason: SIP;cause={status};text=\"Do Not Disturb\"\r\n").into_bytes()
        }
        _ => Vec::new(),
    }
}

fn outcome_of(plan: &Plan) -> Outcome {
    let is_voicemail = |divert: &Divert| matches!(divert.to, Destination::Voicemail { .. });
    match plan {
        Plan::Connect(_) => Outcome::Connect,
        Plan::Redirect(divert) if is_voicemail(divert) => Outcome::RedirectVoicemail,
        Plan::Redirect(_) => Outcome::Redirect,
        Plan::Forward(divert) if is_voicemail(divert) => Outcome::ForwardVoicemail,
        Plan::Forward(_) => Outcome::Forward,
        Plan::Reject(_) => Outcome::Reject,
    }
}
