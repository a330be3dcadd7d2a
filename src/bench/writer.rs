//! The messages of a call, written from the templates.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use super::calls::{Call, Leg};
use super::ident::{Letter, Written, branch};
use super::plan::{Plan, Seat};
use super::template::{Slot, Template, Values};
use super::templates::Templates;
use crate::message::{Message, Method, Name, Reply, write_response};

/// Writes messages; what is the same in all of them is at hand.
#[derive(Debug)]
pub(super) struct Writer {
    templates: Arc<Templates>,
    server: Vec<u8>,
    domain: Vec<u8>,
    transport: &'static [u8],
    /// The URI of who calls, where it is the same for all calls.
    caller_uri: Option<Vec<u8>>,
    event: &'static [u8],
    places: [Place; 3],
    /// Whether the caller speaks over TCP.
    is_stream: bool,
    scratch: Vec<u8>,
}

/// How a seat calls itself.
#[derive(Debug)]
pub(super) struct Place {
    /// `host:port`.
    pub local: Vec<u8>,
    host: Vec<u8>,
    /// The URI of the Contact, for who is called over UDP and over TCP.
    contacts: [Vec<u8>; 2],
}

/// A request of the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    Invite,
    Cancel,
    /// Of a failure: part of the INVITE's transaction.
    AckFailure,
    /// Of a 2xx: a request of the dialog.
    Ack,
    Bye,
    /// The same two of a dialog that is not the call's.
    OtherAck,
    OtherBye,
    Register,
    /// The SUBSCRIBE that begins a subscription.
    Subscribe,
    /// The one that ends it.
    Unsubscribe,
    /// The same of a subscription that was given up.
    OtherUnsubscribe,
}

impl Request {
    /// The letter in its branch.
    fn letter(self, call: &Call) -> Letter {
        match self {
            Self::Invite | Self::Cancel | Self::AckFailure => call.invite_letter(),
            Self::Ack => Letter::Ack,
            Self::Bye => call.bye_letter(),
            Self::OtherAck => Letter::OtherAck,
            Self::OtherBye => Letter::OtherBye,
            Self::Register => call.register_letter(),
            Self::Subscribe => call.subscribe_letter(),
            Self::Unsubscribe => call.unsubscribe_letter(),
            Self::OtherUnsubscribe => Letter::OtherUnsubscribe,
        }
    }

    /// Whether it goes to the remote target, along the dialog's route set (RFC 3261 §12.2.1.1).
    pub(super) const fn is_in_dialog(self) -> bool {
        matches!(
            self,
            Self::Ack
                | Self::Bye
                | Self::OtherAck
                | Self::OtherBye
                | Self::Unsubscribe
                | Self::OtherUnsubscribe
        )
    }

    /// The number in its CSeq.
    fn cseq(self, call: &Call) -> u32 {
        match self {
            Self::Bye | Self::OtherBye | Self::Unsubscribe | Self::OtherUnsubscribe => {
                call.bye_cseq()
            }
            _ => call.cseq(),
        }
    }

    /// Its line of credentials: the ACK has those of its INVITE (RFC 3261 §22.1).
    fn credentials(self, call: &Call) -> &[u8] {
        match self {
            Self::Invite | Self::Ack | Self::OtherAck | Self::Register | Self::Subscribe => {
                &call.authorization
            }
            Self::Bye | Self::Unsubscribe => &call.bye_authorization,
            _ => &[],
        }
    }
}

impl Writer {
    /// A writer for one thread.
    pub(super) fn new(plan: &Plan) -> Self {
        let anywhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let caller = plan.seat(Seat::Caller).unwrap_or(anywhere);
        let callee = plan.seat(Seat::Callee).unwrap_or(caller);
        let elsewhere = plan.seat(Seat::Elsewhere).unwrap_or(callee);
        let mut writer = Self {
            templates: plan.templates.clone(),
            server: plan.server.to_string().into_bytes(),
            domain: plan.domain.clone().into_bytes(),
            transport: plan.transport.token().as_bytes(),
            caller_uri: None,
            event: plan.event.name().as_bytes(),
            places: [caller, callee, elsewhere].map(Place::new),
            is_stream: plan.transport.is_reliable(),
            scratch: Vec::new(),
        };
        let is_own = writer.templates.from.has(Slot::CallId);
        writer.caller_uri = (!is_own).then(|| writer.write_caller_uri(&[]));
        writer
    }

    /// The URI of who calls in this call.
    fn caller_of(&self, call_id: &[u8]) -> Cow<'_, [u8]> {
        match &self.caller_uri {
            Some(uri) => Cow::Borrowed(uri),
            None => Cow::Owned(self.write_caller_uri(call_id)),
        }
    }

    fn write_caller_uri(&self, call_id: &[u8]) -> Vec<u8> {
        let mut uri = Vec::new();
        let values = self.values(Seat::Caller).set(Slot::CallId, call_id);
        self.templates.from.write_piece(&values, &mut uri);
        uri
    }

    /// How a seat calls itself.
    pub(super) fn place(&self, seat: Seat) -> &Place {
        let [caller, callee, elsewhere] = &self.places;
        match seat {
            Seat::Caller => caller,
            Seat::Callee => callee,
            Seat::Elsewhere => elsewhere,
        }
    }

    #[inline]
    fn values(&self, seat: Seat) -> Values<'_> {
        let place = self.place(seat);
        Values::new()
            .set(Slot::Server, &self.server)
            .set(Slot::Domain, &self.domain)
            .set(Slot::Transport, self.transport)
            .set(Slot::Caller, self.caller_uri.as_deref().unwrap_or_default())
            .set(Slot::Event, self.event)
            .set(Slot::Local, &place.local)
            .set(Slot::LocalHost, &place.host)
            .set(Slot::Contact, place.contact(self.is_stream))
    }

    /// The URI of a user.
    pub(super) fn write_to_uri(&self, user: &[u8], out: &mut Vec<u8>) {
        let values = self.values(Seat::Caller).set(Slot::User, user);
        self.templates.to.write_piece(&values, out);
    }

    /// A request of a call.
    #[inline]
    pub(super) fn write_request(
        &self,
        request: Request,
        call: &Call,
        ident: &Written,
        user: &[u8],
        out: &mut Vec<u8>,
    ) {
        let branch = branch(ident, request.letter(call));
        // One digit: what begins a call and what ends it are each sent twice at most.
        let cseq = [b'0' + request.cseq(call) as u8];
        let (uri, routes) = match request.is_in_dialog() {
            true => (&call.target, call.routes.as_slice()),
            false => (&call.to_uri, &[][..]),
        };
        let caller = self.caller_of(ident);
        let values = self
            .values(Seat::Caller)
            .set(Slot::Caller, &caller)
            .set(Slot::RequestUri, uri)
            .set(Slot::Routes, routes)
            .set(Slot::ToUri, &call.to_uri)
            .set(Slot::ToTag, &call.to_tag)
            .set(Slot::User, user)
            .set(Slot::Tag, ident)
            .set(Slot::CallId, ident)
            .set(Slot::Branch, &branch)
            .set(Slot::CSeq, &cseq)
            .set(Slot::Authorization, request.credentials(call));
        self.template(request).write(&values, out);
    }

    fn template(&self, request: Request) -> &Template {
        match request {
            Request::Invite => &self.templates.invite,
            Request::Cancel => &self.templates.cancel,
            Request::Ack | Request::AckFailure | Request::OtherAck => &self.templates.ack,
            Request::Bye | Request::OtherBye => &self.templates.bye,
            Request::Register => &self.templates.register,
            Request::Subscribe => &self.templates.subscribe,
            Request::Unsubscribe | Request::OtherUnsubscribe => &self.templates.unsubscribe,
        }
    }

    /// What the caller sent as Max-Forwards, where its template has one.
    pub(super) fn max_forwards(&self, method: Method) -> Option<u8> {
        let template = match method {
            Method::Ack => &self.templates.ack,
            Method::Bye => &self.templates.bye,
            Method::Cancel => &self.templates.cancel,
            Method::Register => &self.templates.register,
            Method::Subscribe => &self.templates.subscribe,
            _ => &self.templates.invite,
        };
        template.max_forwards
    }

    /// Whether a Contact is the one that the caller's INVITE has; one that a template writes in its
    /// own way is not looked at.
    pub(super) fn is_invite_contact(&self, uri: Option<&[u8]>) -> bool {
        let sent = self.place(Seat::Caller).contact(self.is_stream);
        uri == Some(sent) || !self.templates.invite.has(Slot::Contact)
    }

    /// The Contact of the caller's SUBSCRIBE; `None` where its template writes it in its own way.
    pub(super) fn subscribe_contact(&self) -> Option<&[u8]> {
        let has = self.templates.subscribe.has(Slot::Contact);
        has.then(|| self.place(Seat::Caller).contact(self.is_stream))
    }

    /// The Event of the caller's SUBSCRIBE; `None` where its template writes it in its own way.
    pub(super) fn subscribe_event(&self) -> Option<&[u8]> {
        let has = self.templates.subscribe.has(Slot::Event);
        has.then_some(self.event)
    }

    /// The Expires of the caller's first or last SUBSCRIBE, where its template has one.
    pub(super) fn subscribe_expires_s(&self, is_last: bool) -> Option<u32> {
        let template = match is_last {
            true => &self.templates.unsubscribe,
            false => &self.templates.subscribe,
        };
        template.expires_s
    }

    /// Whether a body is the one that the caller's INVITE has.
    pub(super) fn is_invite_body(&mut self, ident: &Written, user: &[u8], body: &[u8]) -> bool {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let caller = self.caller_of(ident);
        let values = self.values(Seat::Caller).set(Slot::Caller, &caller);
        let values = values.set(Slot::User, user);
        self.templates.invite.write_body(&values, &mut scratch);
        let is_same = scratch == body;
        self.scratch = scratch;
        is_same
    }

    /// Writes the leg's answers to an INVITE into it: the 200, and the 487 where `may_refuse`.
    pub(super) fn prepare_answers(
        &mut self,
        invite: &Message<'_>,
        seat: Seat,
        to_tag: &[u8],
        (leg, may_refuse): (&mut Leg, bool),
    ) {
        leg.record_routes.clear();
        for header in invite.headers(Name::RecordRoute) {
            leg.record_routes.extend_from_slice(b"Record-Route: ");
            leg.record_routes.extend_from_slice(header.value);
            leg.record_routes.extend_from_slice(b"\r\n");
        }
        let mut headers = std::mem::take(&mut self.scratch);
        headers.clear();
        let values = self
            .values(seat)
            .set(Slot::Contact, self.place(seat).contact(leg.is_stream()))
            .set(Slot::RecordRoutes, &leg.record_routes);
        let answer = &self.templates.answer;
        answer.write_headers(&values, &mut headers);
        let body_at = headers.len();
        answer.write_body(&values, &mut headers);
        let (head, body) = headers.split_at_checked(body_at).unwrap_or_default();
        let content_type = answer.content_type.as_deref();
        let reply = Reply {
            status: answer.status,
            reason: &answer.reason,
            source: leg.hop.map(|hop| hop.to),
            to_tag: Some(to_tag),
            headers: head,
            body: content_type.map(|content_type| (content_type, body)),
        };
        leg.answer.clear();
        write_response(invite, &reply, &mut leg.answer);
        leg.body_at = leg.answer.len() - if reply.body.is_some() { body.len() } else { 0 };
        leg.refusal.clear();
        if may_refuse {
            let reply = Reply {
                source: reply.source,
                to_tag: reply.to_tag,
                ..Reply::new(487)
            };
            write_response(invite, &reply, &mut leg.refusal);
        }
        self.scratch = headers;
    }

    /// The 180 to an INVITE whose answers were prepared.
    pub(super) fn write_ringing(
        &mut self,
        invite: &Message<'_>,
        seat: Seat,
        to_tag: &[u8],
        (leg, out): (&Leg, &mut Vec<u8>),
    ) {
        let mut headers = std::mem::take(&mut self.scratch);
        headers.clear();
        let values = self
            .values(seat)
            .set(Slot::Contact, self.place(seat).contact(leg.is_stream()))
            .set(Slot::RecordRoutes, &leg.record_routes);
        let ringing = &self.templates.ringing;
        ringing.write_headers(&values, &mut headers);
        let reply = Reply {
            status: ringing.status,
            reason: &ringing.reason,
            source: leg.hop.map(|hop| hop.to),
            to_tag: Some(to_tag),
            headers: &headers,
            body: None,
        };
        write_response(invite, &reply, out);
        self.scratch = headers;
    }
}

impl Place {
    fn new(address: SocketAddr) -> Self {
        let local = address.to_string().into_bytes();
        let host = match address {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        };
        let contact = |param| format!("sip:bench@{address}{param}").into_bytes();
        Self {
            contacts: [contact(""), contact(";transport=tcp")],
            host: host.into_bytes(),
            local,
        }
    }

    /// The URI of the Contact: who is reached over a connection names TCP in it.
    pub(super) fn contact(&self, is_stream: bool) -> &[u8] {
        let [datagrams, streams] = &self.contacts;
        if is_stream { streams } else { datagrams }
    }
}
