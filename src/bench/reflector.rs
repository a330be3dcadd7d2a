//! The least a server can do: redirects, refuses, registers, notifies once, or relays without any state. It
//! proves what the generator can do, and stands in for a server in tests.

use std::net::SocketAddr;

use super::check::contact_uri;
use super::outbox::{Hop, Outbox};
use super::plan::Seat;
use crate::message::forward::{
    count_hop, insert_header, push_via, remove_top_route, remove_top_via, write_number,
};
use crate::message::{Edits, MAGIC_COOKIE, Message, Method, Name, Reply, Uri, write_response};

/// The tag of what it answers itself.
const TAG: &[u8] = b"reflector";

/// Answers by the user that is called: `redirect…` 302, `reject…` 480; everybody else is at the
/// callee, to whom it relays by the rules of a stateless proxy (RFC 3261 §16.11).
#[derive(Debug)]
pub struct Reflector {
    own: SocketAddr,
    callee: Option<SocketAddr>,
    edits: Edits,
    outbox: Outbox,
}

impl Reflector {
    /// A server at an address, with the address of the callee it relays to.
    pub fn new(own: SocketAddr, callee: Option<SocketAddr>) -> Self {
        Self {
            own,
            callee,
            edits: Edits::new(),
            outbox: Outbox::default(),
        }
    }

    /// What is to be sent.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Takes a message and puts what it comes to into the outbox.
    pub fn receive(&mut self, from: SocketAddr, message: &Message<'_>) {
        match message.method() {
            None => self.on_response(message),
            Some(Method::Register | Method::Options) => self.answer(from, message, 200, b""),
            Some(Method::Subscribe) => self.on_subscribe(from, message),
            Some(method) => self.on_request(from, method, message),
        }
    }

    /// Accepts a subscription, and tells it once that there is nothing to tell.
    fn on_subscribe(&mut self, from: SocketAddr, message: &Message<'_>) {
        let own = self.own;
        let expires_s = message.expires_s().unwrap_or_default();
        let headers = format!("Contact: <sip:{own}>\r\nExpires: {expires_s}\r\n");
        self.answer(from, message, 200, headers.as_bytes());
        let state: &[u8] = match expires_s {
            0 => b"terminated;reason=timeout",
            _ => b"active",
        };
        let value = |name| message.header(name).map_or(&[][..], |header| header.value);
        let contact = contact_uri(message).unwrap_or_default();
        let is_tagged = message.to().is_ok_and(|to| to.tag.is_some());
        let tag: &[&[u8]] = if is_tagged { &[] } else { &[b";tag=", TAG] };
        let (branch, number) = (
            message.top_via().map_or(&[][..], |via| via.branch),
            message.cseq().map_or(0, |cseq| cseq.number),
        );
        self.outbox.push(hop(from), |out| {
            let mut put = |parts: &[&[u8]]| {
                parts.iter().for_each(|part| out.extend_from_slice(part));
            };
            put(&[b"NOTIFY ", contact, b" SIP/2.0\r\nVia: SIP/2.0/UDP "]);
            put(&[own.to_string().as_bytes(), b";branch=", branch, b"n;rport"]);
            put(&[b"\r\nMax-Forwards: 70\r\nFrom: ", value(Name::To)]);
            put(tag);
            put(&[b"\r\nTo: ", value(Name::From)]);
            put(&[b"\r\nCall-ID: ", value(Name::CallId), b"\r\nCSeq: "]);
            put(&[number.to_string().as_bytes(), b" NOTIFY\r\nEvent: "]);
            put(&[value(Name::Event), b"\r\nSubscription-State: ", state]);
            put(&[b"\r\nContent-Length: 0\r\n\r\n"]);
        });
    }

    fn on_request(&mut self, from: SocketAddr, method: Method, message: &Message<'_>) {
        let Ok(uri) = Uri::parse(message.uri()) else {
            return;
        };
        let is_redirected = uri.user.starts_with(b"redirect");
        if is_redirected || uri.user.starts_with(b"reject") {
            if method == Method::Invite && is_redirected {
                let contact = b"Contact: <sip:elsewhere@127.0.0.1:5090>\r\n";
                self.answer(from, message, 302, contact);
            } else if method == Method::Invite {
                self.answer(from, message, 480, b"");
            }
            return;
        }
        let in_dialog = message.to().is_ok_and(|to| to.tag.is_some());
        let to = match in_dialog {
            false => self.callee,
            true => uri
                .ip()
                .map(|ip| SocketAddr::new(ip, uri.port.unwrap_or(5060))),
        };
        match to {
            Some(to) => self.relay(to, in_dialog, message),
            None if method == Method::Ack => {}
            None => self.answer(from, message, 404, b""),
        }
    }

    fn relay(&mut self, to: SocketAddr, in_dialog: bool, message: &Message<'_>) {
        let (own, edits) = (self.own, &mut self.edits);
        edits.clear();
        let branch = message.top_via().map_or(&[][..], |via| via.branch);
        let id = branch.strip_prefix(MAGIC_COOKIE).unwrap_or(branch);
        push_via(message, edits, |out| {
            out.extend_from_slice(b"SIP/2.0/UDP ");
            write_address(out, own);
            out.extend_from_slice(b";branch=z9hG4bKr");
            out.extend_from_slice(id);
        });
        if in_dialog {
            remove_top_route(message, edits);
        } else if message.method() == Some(Method::Invite) {
            insert_header(message, edits, b"Record-Route", |out| {
                out.extend_from_slice(b"<sip:");
                write_address(out, own);
                out.extend_from_slice(b";lr>");
            });
        }
        if count_hop(message, edits).is_ok() {
            self.push(to, message);
        }
    }

    fn on_response(&mut self, message: &Message<'_>) {
        self.edits.clear();
        let next = message.vias().nth(1).and_then(Result::ok);
        let Some(to) = next.and_then(|via| via.response_address()) else {
            return;
        };
        if remove_top_via(message, &mut self.edits).is_ok() {
            self.push(to, message);
        }
    }

    fn push(&mut self, to: SocketAddr, message: &Message<'_>) {
        let edits = &self.edits;
        self.outbox
            .push(hop(to), |out| edits.apply(message.bytes(), out));
    }

    fn answer(&mut self, from: SocketAddr, message: &Message<'_>, status: u16, headers: &[u8]) {
        let reply = Reply {
            source: Some(from),
            to_tag: Some(TAG),
            headers,
            ..Reply::new(status)
        };
        self.outbox
            .push(hop(from), |out| write_response(message, &reply, out));
    }
}

fn hop(to: SocketAddr) -> Hop {
    Hop {
        seat: Seat::Caller,
        to,
        connection: None,
    }
}

fn write_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(address) => {
            for (place, octet) in address.ip().octets().into_iter().enumerate() {
                if place > 0 {
                    out.push(b'.');
                }
                write_number(out, octet.into());
            }
            out.push(b':');
            write_number(out, address.port().into());
        }
        SocketAddr::V6(_) => out.extend_from_slice(address.to_string().as_bytes()),
    }
}
