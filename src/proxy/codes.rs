//! Feature codes that are dialled by INVITE: the one place where we are the other end of a call.
//!
//! The change is another thread's to make (it waits for the disk), so the INVITE waits: 100, then
//! 200 when the change is durable, or a failure that says why. The 200 has an answer in which no
//! media flows (RFC 3264 §6), is repeated until its ACK (RFC 3261 §13.3.1.4), and after that the call
//! is ended by a BYE of ours, so that a phone shows a short call that worked.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::io::Write as _;
use std::net::SocketAddr;

use crossbeam_queue::ArrayQueue;

use super::caller::identify;
use super::carry_out::Source;
use super::extensions::check_recipient;
use super::facts::Outcome;
use super::forward::Origin;
use super::handle::{Way, send_stored};
use super::hop::Hop;
use super::note::Final;
use super::rejection::Rejection;
use super::request::ProxyRequest;
use super::setup::Identifiers;
use super::{Arrival, InviteKey, Owner, Proxy};
use crate::auth::Side;
use crate::call::{Entry, EntryKind, Identity};
use crate::message::{Index, Message, Method, Name, Reply, write_response};
use crate::presence::{DialledCode, Handle};
use crate::routing::History;
use crate::transaction::{Due, Ms, NonInviteClient, branch::write_hex, soonest};

/// How many wishes wait at most, and how many answers for one shard.
const QUEUE_LIMIT: usize = 1_024;
/// How long a change may take.
const PATIENCE_MS: Ms = 8_000;

/// What is asked of whoever changes subscribers, and what they answered.
pub struct CodeDesk {
    /// What is to be done.
    pub wishes: ArrayQueue<CodeWish>,
    /// What became of it, for each shard.
    pub answers: Vec<ArrayQueue<CodeAnswer>>,
}

/// Somebody dialled a code.
#[derive(Debug, Clone)]
pub struct CodeWish {
    /// The shard that waits.
    pub shard: usize,
    /// The call that waits.
    pub call_key: u64,
    /// Who it is.
    pub subscriber: Handle,
    /// What they dialled.
    pub code: DialledCode,
}

/// What became of a wish.
#[derive(Debug, Clone)]
pub struct CodeAnswer {
    /// The call that waits.
    pub call_key: u64,
    /// It is on disk; or the status and a text of what is wrong.
    pub outcome: Result<(), (u16, String)>,
}

/// The calls to feature codes of one shard, by their call keys.
pub(super) type CodeCalls = HashMap<u64, CodeCall, BuildHasherDefault<Identity>>;

/// One call to a feature code.
pub(super) struct CodeCall {
    invite: InviteKey,
    /// The INVITE as it came.
    received: Box<[u8]>,
    from: SocketAddr,
    hop: Hop,
    wish: CodeWish,
    state: CodeState,
}

enum CodeState {
    /// The change is being made.
    Waiting { until: Ms },
    /// The 200 was sent and no ACK has come.
    Answered {
        response: Box<[u8]>,
        next: Ms,
        interval: Ms,
        until: Ms,
    },
    /// Our BYE was sent.
    Ending {
        client: NonInviteClient,
        sent: Box<[u8]>,
    },
}

impl CodeDesk {
    /// Queues for so many shards.
    pub(super) fn new(shards: usize) -> Self {
        let answers = || ArrayQueue::new(QUEUE_LIMIT);
        Self {
            wishes: ArrayQueue::new(QUEUE_LIMIT),
            answers: (0..shards).map(|_| answers()).collect(),
        }
    }
}

impl Proxy {
    /// The code that an INVITE dials, where it is none of our subscribers'.
    pub(super) fn dialled_code(&self, request: &ProxyRequest<'_>) -> Option<DialledCode> {
        let may_be = matches!(request.uri.user.first(), Some(b'*' | b'#' | b'%'));
        if !may_be || request.method != Method::Invite || request.is_in_dialog() {
            return None;
        }
        let code = self
            .policy
            .house
            .codes
            .read(&request.uri.unescaped_user())?;
        let is_somebody = self.around().resolve_uri(&request.uri).is_some();
        (!is_somebody).then_some(code)
    }

    /// In which role the sender of a code must prove who they are, where they can.
    pub(super) fn proof_of_code(
        &self,
        request: &ProxyRequest<'_>,
        is_known: bool,
        way: &Result<Way, Rejection>,
    ) -> Option<Side> {
        let is_code = matches!(way, Ok(Way::Lookup)) && self.dialled_code(request).is_some();
        let can_prove = !is_known && !self.policy.auth.methods.is_empty();
        (is_code && can_prove).then_some(Side::Proxy)
    }

    /// Lets the change that a code stands for be made; the INVITE waits for it.
    ///
    /// # Errors
    /// Nobody is proven to have sent it, or too many wait.
    pub(super) fn take_code(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        code: DialledCode,
        identifiers: Identifiers,
    ) -> Result<(), Rejection> {
        let policy = std::sync::Arc::clone(&self.policy);
        let (peer, is_known) = self.peer_of(&policy, arrival);
        let is_trusted = is_known && peer.trust_identity && !peer.external;
        let believed = || identify(request, peer, &policy, &self.shared.directory).subscriber;
        let proven = request
            .authenticated
            .or_else(|| believed().filter(|_| is_trusted));
        let subscriber = proven.ok_or(Rejection::Unproven)?;
        check_recipient(request)?;
        if self.codes.contains_key(&arrival.call_key) {
            return Err(Rejection::Overloaded);
        }
        let mut story = self.story(arrival, request, peer, None, History::default());
        story.outcome = Outcome::FeatureCode;
        story.target = code.action.label().into_bytes().into();
        let key = self.insert_invite(arrival, request, identifiers, Some(Box::new(story)));
        let source = Source {
            message: request.message,
            origin: Origin::Received(arrival.from),
        };
        self.send_first_trying(key, &source);
        if has_foreign_body(&request.message) {
            let headers = reason(488, "No SDP offer");
            self.refuse_code(key, &source, (488, &headers));
            return Ok(());
        }
        let is_incomplete = code.number.is_empty() && code.takes_number();
        if is_incomplete {
            let headers = reason(484, "The number is missing");
            self.refuse_code(key, &source, (484, &headers));
            return Ok(());
        }
        let wish = CodeWish {
            shard: self.shard,
            call_key: arrival.call_key,
            subscriber,
            code,
        };
        if self.shared.codes.wishes.push(wish.clone()).is_err() {
            self.refuse_code(key, &source, (503, b"Retry-After: 5\r\n"));
            return Ok(());
        }
        let until = self.now.ms.saturating_add(PATIENCE_MS);
        let call = CodeCall {
            invite: key,
            received: request.message.bytes().into(),
            from: arrival.from,
            hop: arrival.reply_hop(&request.via),
            wish,
            state: CodeState::Waiting { until },
        };
        self.codes.insert(arrival.call_key, call);
        self.wheel.insert(until, Owner::Code(arrival.call_key));
        Ok(())
    }

    fn refuse_code(
        &mut self,
        key: InviteKey,
        source: &Source<'_>,
        (status, headers): (u16, &[u8]),
    ) {
        let answer = Final {
            status,
            headers,
            rejection: None,
        };
        self.count_decision(Outcome::FeatureCode, Some("refused"));
        self.answer(key, source, &answer);
    }

    /// Answers the calls whose changes have been made, or could not be.
    pub(super) fn take_code_answers(&mut self) {
        let shared = std::sync::Arc::clone(&self.shared);
        let Some(answers) = shared.codes.answers.get(self.shard) else {
            return;
        };
        for _ in 0..answers.capacity() {
            let Some(answer) = answers.pop() else {
                return;
            };
            self.on_code_answer(answer.call_key, answer.outcome);
        }
    }

    fn on_code_answer(&mut self, call_key: u64, outcome: Result<(), (u16, String)>) {
        let waits = |call: &CodeCall| matches!(call.state, CodeState::Waiting { .. });
        if !self.codes.get(&call_key).is_some_and(waits) {
            return;
        }
        let Some(mut call) = self.codes.remove(&call_key) else {
            return;
        };
        let mut index = Index::new();
        let received = std::mem::take(&mut call.received);
        let Ok(message) = index.parse(&received) else {
            return;
        };
        let source = Source {
            message,
            origin: Origin::Received(call.from),
        };
        let invite = self.invites.get(call.invite);
        let outcome = match invite.is_some_and(|invite| invite.is_cancelled) {
            true => Err((487, "Cancelled; the change was made".to_owned())),
            false => outcome,
        };
        let status = outcome.as_ref().err().map_or(200, |(status, _)| *status);
        self.note_code(&call.wish, status, &message);
        match outcome {
            Ok(()) => {
                call.received = received.clone();
                self.accept_code(call_key, call, &message);
            }
            Err((status, text)) => {
                let headers = reason(status, &text);
                self.refuse_code(call.invite, &source, (status, &headers));
            }
        }
    }

    /// 200, repeated until the ACK comes.
    fn accept_code(&mut self, call_key: u64, mut call: CodeCall, message: &Message<'_>) {
        let tag = self.tag(call_key);
        let listener = self.policy.listeners.get(usize::from(call.hop.listener));
        let Some(listener) = listener.cloned() else {
            return;
        };
        let mut headers = Vec::new();
        for route in message.headers(Name::RecordRoute) {
            let line = message.bytes().get(route.line.clone());
            headers.extend_from_slice(line.unwrap_or_default().trim_ascii_end());
            headers.extend_from_slice(b"\r\n");
        }
        let transport = listener.transport.param();
        let (advertised, host) = (&listener.advertised, &listener.host);
        let _ = write!(
            headers,
            "Contact: <sip:{advertised};transport={transport}>\r\nAllow: INVITE, ACK, CANCEL, BYE\r\n"
        );
        let body = answer_without_media(message.body(), host, call_key);
        let reply = Reply {
            status: 200,
            source: Some(call.from),
            to_tag: Some(&tag),
            headers: &headers,
            body: Some((b"application/sdp", &body)),
            ..Reply::default()
        };
        let sent = self.out.send(&call.hop, |out| {
            write_response(message, &reply, out);
        });
        let response = sent.into();
        let base = self.policy.base(call.hop.listener);
        if let Some(invite) = self.invites.get_mut(call.invite) {
            invite.server.on_final(200, self.now.ms, &base);
        }
        self.count_response(200);
        self.count_decision(Outcome::FeatureCode, Some("done"));
        self.note_end(call.invite, message, 200, None);
        self.settle_invite(call.invite);
        let next = self.now.ms.saturating_add(base.t1);
        call.state = CodeState::Answered {
            response,
            next,
            interval: base.t1,
            until: self.now.ms.saturating_add(base.t1_64()),
        };
        self.codes.insert(call_key, call);
        self.wheel.insert(next, Owner::Code(call_key));
    }

    /// Whether an ACK or BYE belongs to a call to a feature code; then it is dealt with.
    pub(super) fn on_code_request(&mut self, arrival: &Arrival, message: &Message<'_>) -> bool {
        if self.codes.is_empty() {
            return false;
        }
        let tag = self.tag(arrival.call_key);
        let is_ours = message.to().is_ok_and(|to| to.tag == Some(&tag[..]));
        let method = message.method();
        let call = self.codes.get(&arrival.call_key).filter(|_| is_ours);
        let Some(call) = call else {
            return false;
        };
        match (method, &call.state) {
            (Some(Method::Ack), CodeState::Answered { .. }) => self.end_code(arrival.call_key),
            (Some(Method::Ack), _) => {}
            (Some(Method::Bye), _) => {
                self.codes.remove(&arrival.call_key);
                let reply = Reply {
                    source: Some(arrival.from),
                    ..Reply::new(200)
                };
                let hop = arrival.reply_hop_of(message);
                self.out
                    .send(&hop, |out| write_response(message, &reply, out));
            }
            _ => return false,
        }
        true
    }

    /// Whether a response is for a BYE of ours; then it is dealt with.
    pub(super) fn on_code_response(&mut self, arrival: &Arrival, message: &Message<'_>) -> bool {
        let is_bye = message.cseq().is_ok_and(|cseq| cseq.method == Method::Bye);
        if self.codes.is_empty() || !is_bye || message.has_lower_via() {
            return false;
        }
        let base = self.policy.base(arrival.listener);
        let Some(call) = self.codes.get_mut(&arrival.call_key) else {
            return false;
        };
        let CodeState::Ending { client, .. } = &mut call.state else {
            return false;
        };
        client.on_response(message.status().unwrap_or_default(), self.now.ms, &base);
        if !client.is_pending() {
            self.codes.remove(&arrival.call_key);
        }
        true
    }

    /// The ACK came, or will not: our BYE ends the call (RFC 3261 §15).
    fn end_code(&mut self, call_key: u64) {
        let tag = self.tag(call_key);
        let branch = self.keys.token(call_key ^ 0x636f_6465);
        let Some(call) = self.codes.get_mut(&call_key) else {
            return;
        };
        let listener = self.policy.listeners.get(usize::from(call.hop.listener));
        let mut index = Index::new();
        let (Ok(message), Some(listener)) = (index.parse(&call.received), listener) else {
            self.codes.remove(&call_key);
            return;
        };
        let mut bye = Vec::with_capacity(512);
        let via = (listener.transport.token(), &*listener.advertised, branch);
        write_bye(&message, via, &tag, &mut bye);
        let base = self.policy.base(call.hop.listener);
        let client = NonInviteClient::start(self.now.ms, &base);
        send_stored(&call.hop, &bye, &mut self.out);
        let at = client.deadline();
        call.state = CodeState::Ending {
            client,
            sent: bye.into(),
        };
        if let Some(at) = at {
            self.wheel.insert(at, Owner::Code(call_key));
        }
    }

    /// A timer of a call to a feature code may have fired.
    pub(super) fn wake_code(&mut self, call_key: u64) {
        let now = self.now.ms;
        let Some(call) = self.codes.get_mut(&call_key) else {
            return;
        };
        let base = self.policy.base(call.hop.listener);
        let next = match &mut call.state {
            CodeState::Waiting { until } if *until <= now => {
                let text = "The change took too long".to_owned();
                return self.on_code_answer(call_key, Err((500, text)));
            }
            CodeState::Waiting { until } => Some(*until),
            CodeState::Answered { until, .. } if *until <= now => return self.end_code(call_key),
            CodeState::Answered {
                response,
                next,
                interval,
                until,
            } => {
                if *next <= now {
                    send_stored(&call.hop, response, &mut self.out);
                    *interval = interval.saturating_mul(2).min(base.t2);
                    *next = now.saturating_add(*interval);
                }
                soonest([Some(*next), Some(*until)])
            }
            CodeState::Ending { client, sent } => {
                if client.on_timeout(now, &base) == Due::Retransmit {
                    send_stored(&call.hop, sent, &mut self.out);
                }
                client.deadline().filter(|_| client.is_pending())
            }
        };
        match next {
            Some(at) => self.wheel.insert(at.max(now), Owner::Code(call_key)),
            None => {
                self.codes.remove(&call_key);
            }
        }
    }

    /// One entry in the journal of who dialled a code.
    fn note_code(&mut self, wish: &CodeWish, status: u16, message: &Message<'_>) {
        let Some(profile) = self.shared.directory.profile(wish.subscriber) else {
            return;
        };
        let label = wish.code.action.label();
        let entry = Entry {
            kind: EntryKind::FeatureCode,
            at_unix_ms: self.now.unix_ms,
            ring_ms: 0,
            talk_s: 0,
            status: status.into(),
            from: message.from_text(),
            target: wish.code.number.as_bytes(),
            call_id: message.call_id().unwrap_or_default(),
            reasons: label.as_bytes(),
        };
        self.write_journal(profile.id().as_bytes(), &entry);
    }
}

/// Our BYE: back along the way that the INVITE came, and with its addresses turned round.
fn write_bye(
    invite: &Message<'_>,
    (transport, advertised, branch): (&str, &str, u64),
    tag: &[u8],
    out: &mut Vec<u8>,
) {
    let contact = crate::message::Contacts::read(invite).ok();
    let contact = contact.and_then(|contacts| contacts.iter().next());
    let contact = contact.map(|contact| contact.address.uri);
    let uri = contact.or_else(|| invite.from_().ok().map(|from| from.uri));
    out.extend_from_slice(b"BYE ");
    out.extend_from_slice(uri.unwrap_or(b"sip:anonymous.invalid"));
    let _ = write!(
        out,
        " SIP/2.0\r\nVia: SIP/2.0/{transport} {advertised};branch=z9hG4bKcode"
    );
    write_hex(out, branch, 16);
    out.extend_from_slice(b";rport\r\nMax-Forwards: 70\r\n");
    for route in invite.values(Name::RecordRoute) {
        line(out, b"Route: ", route.bytes);
    }
    let value = |name| invite.header(name).map_or(&b""[..], |header| header.value);
    out.extend_from_slice(b"From: ");
    out.extend_from_slice(value(Name::To));
    out.extend_from_slice(b";tag=");
    out.extend_from_slice(tag);
    out.extend_from_slice(b"\r\n");
    line(out, b"To: ", value(Name::From));
    line(out, b"Call-ID: ", value(Name::CallId));
    out.extend_from_slice(b"CSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n");
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The Reason of a failure (RFC 3326), for people.
fn reason(status: u16, text: &str) -> Vec<u8> {
    let plain = |c: char| match c {
        '"' | '\\' => '\'',
        c if c.is_control() => ' ',
        c => c,
    };
    let text: String = text.chars().take(200).map(plain).collect();
    format!("Reason: SIP;cause={status};text=\"{text}\"\r\n").into_bytes()
}

/// Whether the request has a body that is no offer.
fn has_foreign_body(message: &Message<'_>) -> bool {
    let is_sdp = message.header(Name::ContentType).is_some_and(|header| {
        let kind = header
            .value
            .split(|b| *b == b';')
            .next()
            .unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(b"application/sdp")
    });
    !message.body().is_empty() && !is_sdp
}

/// The answer to an offer in which no media flows (RFC 3264 §6): plain audio is inactive, everything
/// else is declined. Without an offer it is one of our own.
fn answer_without_media(offer: &[u8], host: &str, number: u64) -> Vec<u8> {
    let family = if host.contains(':') { "IP6" } else { "IP4" };
    let address = match host.parse::<std::net::IpAddr>() {
        Ok(_) => host,
        Err(_) => "0.0.0.0",
    };
    let id = number >> 1;
    let mut out = Vec::with_capacity(256);
    let _ = write!(
        out,
        "v=0\r\no=- {id} {id} IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n"
    );
    let offered = offer
        .split(|b| *b == b'\n')
        .map(|line| line.trim_ascii_end())
        .filter_map(|line| line.strip_prefix(b"m="));
    let mut has_any = false;
    for media in offered {
        let mut words = media.split(|b| *b == b' ').filter(|word| !word.is_empty());
        let (Some(kind), Some(_), Some(protocol)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let format = words.next().unwrap_or(b"0");
        let is_plain = kind == b"audio" && protocol.starts_with(b"RTP/AVP");
        has_any = true;
        out.extend_from_slice(b"m=");
        out.extend_from_slice(kind);
        out.extend_from_slice(if is_plain { b" 9 " } else { b" 0 " });
        out.extend_from_slice(protocol);
        out.push(b' ');
        out.extend_from_slice(format);
        out.extend_from_slice(b"\r\n");
        if is_plain {
            out.extend_from_slice(b"a=inactive\r\n");
        }
    }
    if !has_any {
        out.extend_from_slice(b"m=audio 9 RTP/AVP 0\r\na=inactive\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(offer: &str) -> String {
        let answer = answer_without_media(offer.as_bytes(), "192.0.2.1", 14);
        String::from_utf8(answer).unwrap()
    }

    #[test]
    fn every_stream_of_an_offer_is_answered_and_none_flows() {
        let offer = "v=0\r\nm=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\n\
                     m=video 4002 RTP/AVP 96\r\nm=audio 4004 RTP/SAVP 0\r\n";
        let answer = answered(offer);
        let media: Vec<_> = answer
            .lines()
            .filter(|line| line.starts_with(['m', 'a']))
            .collect();
        assert_eq!(
            media,
            [
                "m=audio 9 RTP/AVP 8",
                "a=inactive",
                "m=video 0 RTP/AVP 96",
                "m=audio 0 RTP/SAVP 0"
            ]
        );
        assert!(
            answer.starts_with("v=0\r\no=- 7 7 IN IP4 192.0.2.1\r\ns=-\r\n"),
            "{answer}"
        );
    }

    #[test]
    fn without_an_offer_there_is_one_of_ours() {
        assert!(answered("").ends_with("m=audio 9 RTP/AVP 0\r\na=inactive\r\n"));
    }

    #[test]
    fn a_reason_cannot_break_out_of_its_line() {
        let written = String::from_utf8(reason(403, "a\"b\r\nX: y\\")).unwrap();
        assert_eq!(written, "Reason: SIP;cause=403;text=\"a'b  X: y'\"\r\n");
    }
}
