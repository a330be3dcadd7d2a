//! CANCEL: from upstream for an INVITE of ours, and from us for a branch (RFC 3261 §9, §16.10).

use super::invite::{Branch, Cancel};
use super::{Arrival, InviteKey, Proxy};
use crate::message::{Index, Message, Name, Reply, write_response};
use crate::routing::Failure;
use crate::transaction::NonInviteClient;

/// How much of the reasons of a CANCEL is passed on.
const REASON_LIMIT_BYTES: usize = 1_024;

/// Why a branch is cancelled, as the next hop is told (RFC 3326).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CancelReason {
    /// Another branch answered: phones need not show a missed call.
    AnsweredElsewhere,
    /// The caller gave up; what they say of it is passed on.
    CallerCancelled,
    /// Another branch was answered with this 6xx: nobody wants the call.
    Refused(u16),
    /// It rang long enough, or timer C fired.
    NoAnswer,
}

impl CancelReason {
    fn write_header(self, out: &mut Vec<u8>) {
        match self {
            Self::AnsweredElsewhere => out
                .extend_from_slice(b"Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n"),
            Self::CallerCancelled => {}
            Self::Refused(status) => {
                out.extend_from_slice(b"Reason: SIP;cause=");
                crate::message::forward::write_number(out, status.into());
                out.extend_from_slice(b"\r\n");
            }
            Self::NoAnswer => {
                out.extend_from_slice(b"Reason: SIP;cause=480;text=\"No answer\"\r\n");
            }
        }
    }
}

impl Proxy {
    /// A CANCEL for an INVITE that we have: answered at once, and carried to every branch that has
    /// no final response (§16.10). The same for a retransmitted CANCEL.
    pub(super) fn on_cancel(&mut self, arrival: &Arrival, key: InviteKey, message: Message<'_>) {
        let tag = self.tag(arrival.call_key);
        let reply = Reply {
            status: 200,
            source: Some(arrival.from),
            to_tag: Some(&tag),
            ..Reply::default()
        };
        let hop = arrival.reply_hop_of(&message);
        self.out
            .send(&hop, |out| write_response(&message, &reply, out));
        let Some(invite) = self.invites.get_mut(key) else {
            return;
        };
        if !invite.server.is_proceeding() || invite.is_cancelled {
            return;
        }
        invite.is_cancelled = true;
        invite.cancel_reason = reason_lines(&message);
        self.cancel_branches(key, CancelReason::CallerCancelled);
        let waits_after = self
            .story_of(key)
            .and_then(|story| story.waits_after.take());
        if let Some(leg) = waits_after {
            self.pass_best(key, leg, 487);
        }
        self.settle_invite(key);
    }

    /// Cancels every branch that may still answer.
    pub(super) fn cancel_branches(&mut self, key: InviteKey, reason: CancelReason) {
        let count = self
            .invites
            .get(key)
            .map_or(0, |invite| invite.branches.len());
        for leg in 0..count {
            self.cancel_branch(key, leg as u8, reason);
        }
    }

    /// Cancels one branch: at once after a provisional response, else as soon as one comes (§9.1).
    pub(super) fn cancel_branch(&mut self, key: InviteKey, leg: u8, reason: CancelReason) {
        let index = &mut self.scratch.stored;
        let Some(invite) = self.invites.get_mut(key) else {
            return;
        };
        let mut header = Vec::new();
        match reason {
            CancelReason::CallerCancelled => header.extend_from_slice(&invite.cancel_reason),
            _ => reason.write_header(&mut header),
        }
        let Some(branch) = invite.branch(leg) else {
            return;
        };
        if !branch.client.is_pending() || matches!(branch.cancel, Cancel::Sent { .. }) {
            return;
        }
        if reason == CancelReason::NoAnswer {
            branch.given_up = Some(Failure::NoAnswer);
        }
        if !branch.client.is_cancellable() {
            branch.cancel = Cancel::Wanted;
            return;
        }
        let base = self.policy.base(branch.hop.listener);
        let mut sent = Vec::with_capacity(512);
        write_cancel(branch, &header, index, &mut sent);
        self.out
            .send(&branch.hop, |out| out.extend_from_slice(&sent));
        branch.cancel = Cancel::Sent {
            client: NonInviteClient::start(self.now.ms, &base),
            sent: sent.into_boxed_slice(),
            abandon_at: self.now.ms + base.t1_64(),
        };
    }

    /// A provisional response came: a CANCEL that had to wait can go (§9.1).
    pub(super) fn send_wanted_cancel(&mut self, key: InviteKey, leg: u8) {
        let Some(invite) = self.invites.get_mut(key) else {
            return;
        };
        let (is_cancelled, is_answered) = (invite.is_cancelled, !invite.server.is_proceeding());
        let Some(branch) = invite.branch(leg) else {
            return;
        };
        if !matches!(branch.cancel, Cancel::Wanted) {
            return;
        }
        let reason = match branch.given_up {
            _ if is_cancelled => CancelReason::CallerCancelled,
            _ if is_answered => CancelReason::AnsweredElsewhere,
            _ => CancelReason::NoAnswer,
        };
        self.cancel_branch(key, leg, reason);
    }

    /// A response to a CANCEL of ours: only its transaction is interested.
    pub(super) fn on_cancel_response(&mut self, key: InviteKey, leg: u8, status: u16) {
        let Some(branch) = self
            .invites
            .get_mut(key)
            .and_then(|invite| invite.branch(leg))
        else {
            return;
        };
        let base = self.policy.base(branch.hop.listener);
        if let Cancel::Sent { client, sent, .. } = &mut branch.cancel {
            client.on_response(status, self.now.ms, &base);
            if !client.is_pending() {
                *sent = Box::default();
            }
        }
        self.settle_invite(key);
    }
}

/// The Reason lines of a CANCEL, for the CANCELs that it brings about (RFC 3326 §2).
fn reason_lines(cancel: &Message<'_>) -> Box<[u8]> {
    let mut lines = Vec::new();
    for reason in cancel.headers(Name::Reason) {
        if lines.len() + reason.value.len() <= REASON_LIMIT_BYTES {
            crate::message::forward::line(&mut lines, b"Reason", |out| {
                out.extend_from_slice(reason.value);
            });
        }
    }
    lines.into_boxed_slice()
}

/// The CANCEL of a branch's INVITE: same Request-URI, top Via, Route, From, To, Call-ID and CSeq
/// number (§9.1).
fn write_cancel(branch: &Branch, reason: &[u8], index: &mut Index, out: &mut Vec<u8>) {
    let Ok(invite) = index.parse(&branch.sent) else {
        return;
    };
    write_hop_request(
        &invite,
        b"CANCEL",
        invite.header(Name::To).map(|to| to.line),
        out,
    );
    out.extend_from_slice(reason);
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
}

/// The ACK of a branch's 300–699: as the CANCEL, but with the response's To (§17.1.1.3).
pub(super) fn write_ack(sent: &Message<'_>, response: &Message<'_>, out: &mut Vec<u8>) {
    write_hop_request(sent, b"ACK", None, out);
    if let Some(to) = response.header(Name::To) {
        out.extend_from_slice(response.bytes().get(to.line).unwrap_or_default());
    }
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
}

/// What CANCEL and ACK take over from the INVITE that was sent.
fn write_hop_request(
    invite: &Message<'_>,
    method: &[u8],
    to: Option<std::ops::Range<usize>>,
    out: &mut Vec<u8>,
) {
    let line = |span: std::ops::Range<usize>| invite.bytes().get(span).unwrap_or_default();
    out.extend_from_slice(method);
    out.push(b' ');
    out.extend_from_slice(invite.uri());
    out.extend_from_slice(b" SIP/2.0\r\n");
    if let Some(via) = invite.header(Name::Via) {
        out.extend_from_slice(line(via.line));
    }
    for route in invite.headers(Name::Route) {
        out.extend_from_slice(line(route.line));
    }
    out.extend_from_slice(b"Max-Forwards: 70\r\n");
    for span in [invite.header(Name::From).map(|from| from.line), to]
        .into_iter()
        .flatten()
    {
        out.extend_from_slice(line(span));
    }
    if let Some(call_id) = invite.header(Name::CallId) {
        out.extend_from_slice(line(call_id.line));
    }
    let number = invite.cseq().map_or(0, |cseq| cseq.number);
    out.extend_from_slice(b"CSeq: ");
    crate::message::forward::write_number(out, number.into());
    out.push(b' ');
    out.extend_from_slice(method);
    out.extend_from_slice(b"\r\n");
}
