//! The copy that goes downstream (RFC 3261 §16.6): edits over the received bytes, nothing rebuilt.

use std::net::SocketAddr;

use super::hop::{Flow, Hop};
use super::keys::Keys;
use super::policy::{Listener, Policy};
use super::privacy::Passage;
use super::rejection::Rejection;
use super::route::{Routed, TOKEN_PARAM};
use super::token::FlowToken;
use super::{Arrival, breadth, session};
use crate::message::forward::{count_hop, line, stamp_top_via, write_number};
use crate::message::{Edits, Message, Name, Transport, Via};
use crate::transaction::BranchId;
use crate::transaction::branch::write_hex;

/// What the copy is made from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    /// The request as it came in from there.
    Received(SocketAddr),
    /// The request as an earlier branch sent it, without our Via: stamped and counted already.
    Stored,
}

impl Origin {
    /// The source to stamp into the top Via of a response.
    pub(super) fn source(self) -> Option<SocketAddr> {
        match self {
            Self::Received(from) => Some(from),
            Self::Stored => None,
        }
    }
}

/// Everything that differs between the request and its copy.
pub(super) struct Copy<'a> {
    pub origin: Origin,
    /// The new Request-URI, where it changes.
    pub uri: Option<&'a [u8]>,
    pub routed: &'a Routed,
    pub branch: BranchId,
    /// Whether our Via offers overload control (RFC 7339).
    pub offers_control: bool,
    /// The listener that sends the copy.
    pub listener: &'a Listener,
    /// Asks the other side to use the connection for its requests too (RFC 5923 §5).
    pub has_alias: bool,
    pub record_route: Option<RecordRoute<'a>>,
    /// Route values of a binding's Path (RFC 3327 §5.3).
    pub path: &'a [u8],
    /// Complete header lines for the top of the header section.
    pub lines: &'a [u8],
    /// Complete header lines for its end.
    pub tail: &'a [u8],
    /// How many branches the copy may have at once (RFC 5393 §5).
    pub breadth: u32,
    pub policy: &'a Policy,
    /// Between whom it passes, where that matters: `tail` and what is asserted must pass somebody.
    pub passage: Option<Passage<'a>>,
}

/// What is written into our Record-Route: one value, or one for each side where these differ
/// (RFC 3261 §16.6(4), RFC 5658).
pub(super) struct RecordRoute<'a> {
    keys: &'a Keys,
    /// Our token for the call.
    token: u64,
    /// Whether the request was for a `sips` URI.
    is_secure: bool,
    /// The listener towards upstream.
    upstream: &'a Listener,
    /// How the side of the caller is reached, where its Contact does not say it.
    upstream_flow: Option<FlowToken>,
    /// The same for the callee's.
    downstream_flow: Option<FlowToken>,
}

/// Collects the edits that make the copy of `message`. Returns how many bytes at the top of its
/// header section are ours alone: Via, Record-Route and the Path's Route.
pub(super) fn edit(
    message: &Message<'_>,
    copy: &Copy<'_>,
    edits: &mut Edits,
) -> Result<usize, Rejection> {
    edits.clear();
    edit_uri(message, copy, edits);
    let mut own = 0;
    edits.insert(message.first_header_at(), |out| {
        let start = out.len();
        write_top(copy, out);
        own = out.len() - start;
        out.extend_from_slice(copy.lines);
        breadth::write_missing(message, copy.breadth, out);
    });
    breadth::edit(message, copy.breadth, edits);
    if let Some(passage) = &copy.passage {
        passage.edit(message, edits);
    }
    if let Origin::Received(from) = copy.origin {
        stamp_top_via(message, edits, from)?;
        count_hop(message, edits)?;
        session::edit(message, copy.policy, edits);
        if let Some(line) = copy
            .routed
            .asserted
            .as_deref()
            .filter(|_| copy.passage.is_some_and(|passage| passage.is_to_trusted))
        {
            edits.insert(message.headers_end(), |out| out.extend_from_slice(line));
        }
    }
    complete_length(message, copy.listener.transport, edits);
    for span in &copy.routed.drop {
        edits.remove(span.clone());
    }
    if copy.routed.append_uri {
        append_route(message, edits);
    }
    if let Some(passage) = copy.passage.filter(|_| !copy.tail.is_empty()) {
        edits.insert(message.headers_end(), |out| {
            passage.write_tail(message, copy.tail, out);
        });
    }
    Ok(own)
}

/// A message that came as a datagram may lack a Content-Length; on a stream it must have one
/// (§16.6(9), §20.14).
pub(super) fn complete_length(message: &Message<'_>, transport: Transport, edits: &mut Edits) {
    if transport.is_reliable() && message.header(Name::ContentLength).is_none() {
        edits.insert(message.headers_end(), |out| {
            line(out, b"Content-Length", |out| {
                write_number(out, message.body().len() as u64);
            });
        });
    }
}

fn edit_uri(message: &Message<'_>, copy: &Copy<'_>, edits: &mut Edits) {
    let from_route = copy
        .routed
        .uri
        .as_ref()
        .and_then(|span| message.bytes().get(span.clone()));
    if let Some(uri) = copy.uri.or(from_route) {
        edits.replace(message.uri_span(), |out| out.extend_from_slice(uri));
    }
}

/// Our Via, then our Record-Route(s), then the Path's Route.
fn write_top(copy: &Copy<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Via: SIP/2.0/");
    out.extend_from_slice(copy.listener.transport.token().as_bytes());
    out.push(b' ');
    out.extend_from_slice(copy.listener.advertised.as_bytes());
    out.extend_from_slice(b";branch=");
    copy.branch.write(out);
    if copy.offers_control {
        out.extend_from_slice(super::oc::OFFER);
    }
    if copy.has_alias {
        out.extend_from_slice(b";alias");
    }
    out.extend_from_slice(b"\r\n");
    if let Some(record_route) = &copy.record_route {
        record_route.write(copy.listener, out);
    }
    if !copy.path.is_empty() {
        out.extend_from_slice(b"Route: ");
        out.extend_from_slice(copy.path);
        out.extend_from_slice(b"\r\n");
    }
}

impl<'a> RecordRoute<'a> {
    /// For a request of this call that goes on; flows are those of upstream and downstream.
    pub(super) fn of(
        keys: &'a Keys,
        (call_key, message): (u64, &Message<'_>),
        upstream: &'a Listener,
        (upstream_flow, downstream_flow): (Option<FlowToken>, Option<FlowToken>),
    ) -> Self {
        Self {
            keys,
            token: keys.token(call_key),
            is_secure: message.uri().starts_with(b"sips:"),
            upstream,
            upstream_flow,
            downstream_flow,
        }
    }

    /// The value that downstream uses stands on top.
    fn write(&self, downstream: &Listener, out: &mut Vec<u8>) {
        let flows = [self.downstream_flow, self.upstream_flow];
        let differs = self.upstream.advertised != downstream.advertised
            || self.upstream.transport != downstream.transport;
        self.write_value(downstream, self.downstream_flow, out);
        if differs || flows.iter().any(Option::is_some) {
            self.write_value(self.upstream, self.upstream_flow, out);
        }
    }

    fn write_value(&self, listener: &Listener, flow: Option<FlowToken>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Record-Route: <");
        write_own_uri(
            listener,
            flow.map(|flow| (flow, self.keys)),
            self.is_secure,
            out,
        );
        out.extend_from_slice(b";lr;");
        out.extend_from_slice(TOKEN_PARAM);
        out.push(b'=');
        write_hex(out, self.token, 16);
        out.extend_from_slice(b">\r\n");
    }
}

/// Appends our Path: the registrar's requests to the phone come to us, with the flow to take.
pub(super) fn write_path(listener: &Listener, flow: (FlowToken, &Keys), out: &mut Vec<u8>) {
    out.extend_from_slice(b"Path: <");
    write_own_uri(listener, Some(flow), false, out);
    out.extend_from_slice(b";lr;ob>\r\n");
}

/// Appends the URI that leads to a listener of ours, without its closing parameters.
pub(super) fn write_own_uri(
    listener: &Listener,
    flow: Option<(FlowToken, &Keys)>,
    is_secure: bool,
    out: &mut Vec<u8>,
) {
    let is_sips = is_secure && listener.transport.is_secure();
    out.extend_from_slice(if is_sips { b"sips:" } else { b"sip:" });
    if let Some((flow, keys)) = flow {
        flow.write(keys, out);
        out.push(b'@');
    }
    out.extend_from_slice(listener.advertised.as_bytes());
    let transport = match listener.transport {
        Transport::Udp => return,
        Transport::Tls if is_sips => return,
        Transport::Wss => Transport::Ws,
        transport => transport,
    };
    out.extend_from_slice(b";transport=");
    out.extend_from_slice(transport.param().as_bytes());
}

/// Puts the Request-URI last into the Route for a next hop that routes strictly (§16.6(6)).
fn append_route(message: &Message<'_>, edits: &mut Edits) {
    let uri = message.uri();
    let end = message
        .headers(Name::Route)
        .last()
        .map(|header| header.line.end);
    edits.insert(end.unwrap_or(message.headers_end()), |out| {
        out.extend_from_slice(b"Route: <");
        out.extend_from_slice(uri);
        out.extend_from_slice(b">\r\n");
    });
}

impl Arrival {
    /// Where responses go (RFC 3261 §18.2.2, RFC 3581 §4): over the connection that the request
    /// came by, and never to an address that only the message names.
    pub(super) fn reply_hop(&self, via: &Via<'_>) -> Hop {
        let named = || {
            let transport = Transport::from_name(via.transport).unwrap_or(Transport::Udp);
            let port = via.port.unwrap_or(transport.default_port());
            SocketAddr::new(self.from.ip(), port)
        };
        let (to, flow) = match self.connection {
            Some(connection) => (named(), Flow::Prefer(connection)),
            None if via.rport.is_some() => (self.from, Flow::Any),
            None => {
                let port = via.port.unwrap_or(Transport::Udp.default_port());
                (SocketAddr::new(self.from.ip(), port), Flow::Any)
            }
        };
        Hop {
            to,
            listener: self.listener,
            flow,
            name: None,
        }
    }

    /// The same for a request whose top Via may be broken.
    pub(super) fn reply_hop_of(&self, message: &Message<'_>) -> Hop {
        match message.top_via() {
            Ok(via) => self.reply_hop(&via),
            Err(_) => Hop {
                to: self.from,
                listener: self.listener,
                flow: self.connection.map_or(Flow::Any, Flow::Prefer),
                name: None,
            },
        }
    }
}
