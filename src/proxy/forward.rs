//! The copy that goes downstream (RFC 3261 §16.6): edits over the received bytes, nothing rebuilt.

use std::net::SocketAddr;

use super::hop::{Flow, Hop};
use super::policy::Listener;
use super::privacy::Passage;
use super::rejection::Rejection;
use super::route::{Routed, TOKEN_PARAM};
use super::{Arrival, breadth, session};
use crate::message::forward::{count_hop, stamp_top_via};
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
    /// The listener that sends the copy.
    pub listener: &'a Listener,
    /// Our token and the listener towards upstream, where a Record-Route is added.
    pub record_route: Option<(u64, &'a Listener)>,
    /// Complete header lines for the top of the header section.
    pub lines: &'a [u8],
    /// Complete header lines for its end.
    pub tail: &'a [u8],
    /// How many branches the copy may have at once (RFC 5393 §5).
    pub breadth: u32,
    /// Between whom it passes.
    pub passage: Passage<'a>,
}

/// Collects the edits that make the copy of `message`.
pub(super) fn edit(
    message: &Message<'_>,
    copy: &Copy<'_>,
    edits: &mut Edits,
) -> Result<(), Rejection> {
    edits.clear();
    edit_uri(message, copy, edits);
    edits.insert(message.first_header_at(), |out| write_top(copy, out));
    breadth::edit(message, copy.breadth, edits);
    copy.passage.edit(message, edits);
    if let Origin::Received(from) = copy.origin {
        stamp_top_via(message, edits, from)?;
        count_hop(message, edits)?;
        session::edit(message, copy.passage.policy, edits);
    }
    for span in &copy.routed.drop {
        edits.remove(span.clone());
    }
    if copy.routed.append_uri {
        append_route(message, edits);
    }
    if !copy.tail.is_empty() {
        edits.insert(message.headers_end(), |out| {
            copy.passage.write_tail(message, copy.tail, out);
        });
    }
    Ok(())
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

/// Our Via, then our Record-Route(s), then whatever else is added.
fn write_top(copy: &Copy<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Via: SIP/2.0/");
    out.extend_from_slice(copy.listener.transport.token().as_bytes());
    out.push(b' ');
    out.extend_from_slice(copy.listener.advertised.as_bytes());
    out.extend_from_slice(b";branch=");
    copy.branch.write(out);
    out.extend_from_slice(b"\r\n");
    if let Some((token, upstream)) = copy.record_route {
        write_record_route(token, copy.listener, out);
        if upstream.advertised != copy.listener.advertised {
            write_record_route(token, upstream, out);
        }
    }
    out.extend_from_slice(copy.lines);
}

fn write_record_route(token: u64, listener: &Listener, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Record-Route: <sip:");
    out.extend_from_slice(listener.advertised.as_bytes());
    out.extend_from_slice(b";lr;");
    out.extend_from_slice(TOKEN_PARAM);
    out.push(b'=');
    write_hex(out, token, 16);
    out.extend_from_slice(b">\r\n");
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
            None => (named(), Flow::Any),
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
