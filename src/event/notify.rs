//! How a NOTIFY is written (RFC 6665 §4.2.2, RFC 3261 §12.2.1.1).

use std::io::Write as _;

use super::subscription::{End, Subscription};
use crate::message::Transport;

/// Everything that a NOTIFY says beside what its subscription knows.
pub struct Notify<'a> {
    /// Whose it is.
    pub subscription: &'a Subscription,
    /// What it goes by.
    pub transport: Transport,
    /// `host:port` of ours on that way.
    pub advertised: &'a str,
    /// The branch of our Via.
    pub branch: &'a [u8],
    /// The number of the request.
    pub cseq: u32,
    /// How long the subscription lives yet, seconds, or why it ends.
    pub state: Result<u32, End>,
    /// The document; empty where nothing may be told.
    pub body: &'a [u8],
}

impl Notify<'_> {
    /// Appends the request.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Subscription {
            dialog,
            package,
            event_id,
            ..
        } = self.subscription;
        let token = self.transport.token();
        put(
            out,
            &[b"NOTIFY ", &dialog.target, b" SIP/2.0\r\nVia: SIP/2.0/"],
        );
        put(out, &[token.as_bytes(), b" ", self.advertised.as_bytes()]);
        put(
            out,
            &[b";branch=", self.branch, b";rport\r\nMax-Forwards: 70\r\n"],
        );
        if !dialog.routes.is_empty() {
            put(out, &[b"Route: ", &dialog.routes, b"\r\n"]);
        }
        put(
            out,
            &[b"From: ", &dialog.local, b"\r\nTo: ", &dialog.remote],
        );
        put(out, &[b"\r\nCall-ID: ", &dialog.call_id]);
        let _ = write!(out, "\r\nCSeq: {} NOTIFY\r\n", self.cseq);
        write_contact(self.advertised, self.transport, out);
        put(out, &[b"Event: ", package.name().as_bytes()]);
        if !event_id.is_empty() {
            put(out, &[b";id=", event_id]);
        }
        let _ = match self.state {
            Ok(left_s) => write!(out, "\r\nSubscription-State: active;expires={left_s}\r\n"),
            Err(end) => write!(
                out,
                "\r\nSubscription-State: terminated;reason={}\r\n",
                end.label()
            ),
        };
        if !self.body.is_empty() {
            let _ = write!(out, "Content-Type: {}\r\n", package.content_type());
        }
        let _ = write!(out, "Content-Length: {}\r\n\r\n", self.body.len());
        out.extend_from_slice(self.body);
    }
}

/// Appends our Contact: where requests within the subscription's dialog reach us.
pub fn write_contact(advertised: &str, transport: Transport, out: &mut Vec<u8>) {
    let _ = match transport {
        Transport::Udp => write!(out, "Contact: <sip:{advertised}>\r\n"),
        other => write!(
            out,
            "Contact: <sip:{advertised};transport={}>\r\n",
            other.param()
        ),
    };
}

fn put(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}
