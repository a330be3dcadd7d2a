//! What is told about an INVITE when its caller got the final response: trace, journal, metrics.

use smallvec::SmallVec;

use super::carry_out::Source;
use super::facts::{Outcome, Trace, TraceTexts};
use super::invite::Story;
use super::{InviteKey, Now, Proxy};
use crate::call::{Entry, EntryKind};
use crate::message::{Message, Reply, write_response};
use crate::presence::Handle;
use crate::routing::{Reasons, Rejection};

/// A final response of our own making.
pub(super) struct Final<'a> {
    pub status: u16,
    /// Complete header lines.
    pub headers: &'a [u8],
    /// What the decision rejected the call for.
    pub rejection: Option<Rejection>,
}

impl Final<'_> {
    /// A status and nothing more.
    pub(super) fn new(status: u16) -> Self {
        Self {
            status,
            headers: b"",
            rejection: None,
        }
    }
}

/// A journal entry to be written, and in whose journal.
type Noted = (Handle, EntryKind);

impl Proxy {
    /// Answers an INVITE ourselves with a 300–699, once.
    pub(super) fn answer(&mut self, key: InviteKey, source: &Source<'_>, answer: &Final<'_>) {
        let Some(invite) = self.invites.get(key).filter(|i| i.server.is_proceeding()) else {
            return;
        };
        let (upstream, tag) = (invite.upstream.clone(), self.tag(invite.call_key));
        let reason = match &answer.rejection {
            Some(rejection) => rejection.reason_phrase().as_bytes(),
            None => b"",
        };
        let reply = Reply {
            status: answer.status,
            reason,
            source: source.origin.source(),
            to_tag: Some(&tag),
            headers: answer.headers,
            body: None,
        };
        let sent = self.out.send(&upstream, |out| {
            write_response(&source.message, &reply, out);
        });
        let base = self.policy.base(upstream.listener);
        if let Some(invite) = self.invites.get_mut(key) {
            invite.response = sent.into();
            invite.server.on_final(answer.status, self.now.ms, &base);
        }
        self.count_response(answer.status);
        self.note_end(key, &source.message, answer.status, answer.rejection);
        self.settle_invite(key);
    }

    pub(super) fn count_decision(&self, outcome: Outcome, why: Option<&'static str>) {
        if let Some(counters) = self.counters() {
            counters.calls_decided.inc();
            let reason = why.unwrap_or("none");
            counters.decisions.inc(outcome.label(), reason);
        }
    }

    /// The caller has the final response: writes the trace and the journal.
    pub(super) fn note_end(
        &mut self,
        key: InviteKey,
        message: &Message<'_>,
        status: u16,
        rejection: Option<Rejection>,
    ) {
        let Some(invite) = self.invites.get_mut(key) else {
            return;
        };
        let last_callee = invite.branches.last().and_then(|branch| branch.callee);
        let Some(mut story) = invite.story.take() else {
            return;
        };
        for (handle, kind) in noted(&story, status, rejection, last_callee) {
            self.note(handle, kind, &story, (message, status));
        }
        // A further 2xx of a fork opens a call too: the story stays with the context.
        if status < 300 {
            self.push_trace(&story, story.reasons.clone(), message, status);
            if let Some(invite) = self.invites.get_mut(key) {
                invite.story = Some(story);
            }
        } else {
            let reasons = std::mem::take(&mut story.reasons);
            self.push_trace(&story, reasons, message, status);
        }
    }

    fn push_trace(&self, story: &Story, reasons: Reasons, message: &Message<'_>, status: u16) {
        let trace = Trace {
            at_unix_ms: story.invited_unix_ms,
            texts: TraceTexts::new([
                message.call_id().unwrap_or_default(),
                message.from_text(),
                message.to_text(),
                &story.target,
            ]),
            source: story.source,
            class: story.caller.class,
            callee: story.callee,
            outcome: story.outcome,
            reasons,
            status,
            setup_ms: short_ms(self.now.ms.saturating_sub(story.invited_ms)),
            ring_ms: story.ring_ms(self.now),
        };
        if let Some(view) = self.shared.shards.get(self.shard) {
            view.traces.force_push(trace);
        }
    }

    fn note(
        &mut self,
        handle: Handle,
        kind: EntryKind,
        story: &Story,
        (message, status): (&Message<'_>, u16),
    ) {
        let Some(profile) = self.shared.directory.profile_guard(handle) else {
            return;
        };
        let reasons = story.reason_labels();
        let entry = Entry {
            kind,
            at_unix_ms: story.invited_unix_ms,
            ring_ms: story.ring_ms(self.now),
            talk_s: 0,
            status: status.into(),
            from: message.from_text(),
            target: &story.target,
            call_id: message.call_id().unwrap_or_default(),
            reasons: &reasons,
        };
        self.write_journal(profile.id().as_bytes(), &entry);
    }
}

/// In whose journal a call stands and as what: one entry for each subscriber. The entry of who
/// answered is written when the call ends.
fn noted(
    story: &Story,
    status: u16,
    rejection: Option<Rejection>,
    last_callee: Option<Handle>,
) -> SmallVec<[Noted; 2]> {
    let is_answered = status < 300;
    let is_voicemail = matches!(
        story.outcome,
        Outcome::ForwardVoicemail | Outcome::RedirectVoicemail
    );
    let diverted = match story.outcome {
        _ if is_voicemail => EntryKind::Voicemail,
        _ if is_answered => EntryKind::AnsweredElsewhere,
        _ => EntryKind::Forwarded,
    };
    let hops = story
        .history
        .visited
        .get(story.visited_before..)
        .unwrap_or_default();
    let mut noted: SmallVec<[Noted; 2]> = hops.iter().map(|hop| (*hop, diverted)).collect();
    let is_redirected = matches!(
        story.outcome,
        Outcome::Redirect | Outcome::RedirectVoicemail
    );
    let last = match rejection {
        Some(rejection) => story.callee.map(|callee| (callee, rejected_as(rejection))),
        None if is_redirected => story.callee.map(|callee| (callee, diverted)),
        None if is_answered => None,
        None => last_callee
            .or(story.callee)
            .map(|callee| (callee, EntryKind::Missed)),
    };
    if let Some((callee, kind)) = last
        && !noted.iter().any(|(handle, _)| *handle == callee)
    {
        noted.push((callee, kind));
    }
    noted
}

fn rejected_as(rejection: Rejection) -> EntryKind {
    match rejection {
        Rejection::Dnd => EntryKind::RejectedDnd,
        Rejection::Missed => EntryKind::Missed,
        Rejection::Blocked => EntryKind::Blocked,
        _ => EntryKind::Rejected,
    }
}

impl Story {
    /// The labels of the decision's reasons, separated by commas.
    pub(super) fn reason_labels(&self) -> SmallVec<[u8; 96]> {
        let mut labels = SmallVec::new();
        for reason in &self.reasons {
            if !labels.is_empty() {
                labels.push(b',');
            }
            labels.extend_from_slice(reason.label().as_bytes());
        }
        labels
    }

    fn ring_ms(&self, now: Now) -> u32 {
        self.first_ring_ms
            .map_or(0, |at| short_ms(now.ms.saturating_sub(at)))
    }
}

fn short_ms(ms: u64) -> u32 {
    u32::try_from(ms).unwrap_or(u32::MAX)
}
