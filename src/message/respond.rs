//! A response to a request, written from the request's own bytes (RFC 3261 §8.2.6).

use super::forward::{line, needs_stamp, write_number, write_stamped};
use super::lexeme::part;
use super::name::Name;
use super::view::{Header, Message};
use std::net::SocketAddr;
use std::ops::Range;

/// What to answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reply<'a> {
    /// The status code, 100 to 699.
    pub status: u16,
    /// The reason phrase; empty for the usual one of the status.
    pub reason: &'a [u8],
    /// Where the request came from, for `received` and `rport` in the top Via; `None` leaves the
    /// Via as it is, for a request whose Via was stamped when it came in.
    pub source: Option<SocketAddr>,
    /// The tag for a To that has none; `None` for a 100 (RFC 3261 §8.2.6.2).
    pub to_tag: Option<&'a [u8]>,
    /// Complete header lines, each with its line end.
    pub headers: &'a [u8],
    /// Content-Type and body.
    pub body: Option<(&'a [u8], &'a [u8])>,
}

impl<'a> Reply<'a> {
    /// A reply with the usual reason phrase and no more.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }
}

/// Appends the response to `out`: every Via, From, To, Call-ID and CSeq that the request has, byte
/// for byte but for the top Via's stamp and the To tag; a 100 has the Timestamp too (RFC 3261
/// §8.2.6.1). A half-broken request is answered with what it has.
pub fn write_response(request: &Message<'_>, reply: &Reply<'_>, out: &mut Vec<u8>) {
    status_line(reply, out);
    let mut source = reply.source;
    for via in request.headers(Name::Via) {
        write_via(request, &via, source.take(), out);
    }
    if let Some(from) = request.header(Name::From) {
        copy(request, from.line, out);
    }
    if let Some(to) = request.header(Name::To) {
        write_to(request, &to, reply.to_tag, out);
    }
    for name in [Name::CallId, Name::CSeq] {
        if let Some(header) = request.header(name) {
            copy(request, header.line, out);
        }
    }
    if reply.status == 100 {
        for timestamp in request.headers(Name::Timestamp) {
            copy(request, timestamp.line, out);
        }
    }
    out.extend_from_slice(reply.headers);
    write_body(reply, out);
}

fn status_line(reply: &Reply<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"SIP/2.0 ");
    write_number(out, reply.status.into());
    out.push(b' ');
    let usual = reason_phrase(reply.status).as_bytes();
    out.extend_from_slice(if reply.reason.is_empty() {
        usual
    } else {
        reply.reason
    });
    out.extend_from_slice(b"\r\n");
}

fn write_via(
    request: &Message<'_>,
    header: &Header<'_>,
    source: Option<SocketAddr>,
    out: &mut Vec<u8>,
) {
    let via = source.and_then(|source| Some((source, request.top_via().ok()?)));
    match via.filter(|(source, via)| needs_stamp(via, *source)) {
        Some((source, via)) => {
            out.extend_from_slice(part(request.bytes(), header.line.start..via.span.start));
            write_stamped(&via, source, out);
            copy(request, via.span.end..header.line.end, out);
        }
        None => copy(request, header.line.clone(), out),
    }
}

fn write_to(request: &Message<'_>, header: &Header<'_>, tag: Option<&[u8]>, out: &mut Vec<u8>) {
    let untagged = request.to().is_ok_and(|to| to.tags == 0);
    match tag.filter(|_| untagged) {
        Some(tag) => {
            let end = header.value_span.end;
            out.extend_from_slice(part(request.bytes(), header.line.start..end));
            out.extend_from_slice(b";tag=");
            out.extend_from_slice(tag);
            out.extend_from_slice(b"\r\n");
        }
        None => copy(request, header.line.clone(), out),
    }
}

/// Copies a line up to its line end, and ends it as a line must end: the request's last line may
/// have none.
fn copy(request: &Message<'_>, line: Range<usize>, out: &mut Vec<u8>) {
    let text = part(request.bytes(), line);
    if let [.., b'\r', b'\n'] = text {
        out.extend_from_slice(text);
        return;
    }
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    out.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
    out.extend_from_slice(b"\r\n");
}

fn write_body(reply: &Reply<'_>, out: &mut Vec<u8>) {
    let (content_type, body) = reply.body.unwrap_or_default();
    if reply.body.is_some() {
        line(out, b"Content-Type", |out| {
            out.extend_from_slice(content_type)
        });
    }
    line(out, b"Content-Length", |out| {
        write_number(out, body.len() as u64)
    });
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

/// The usual reason phrase of a status (RFC 3261 §21 and the IANA registry); empty when unknown.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        199 => "Early Dialog Terminated",
        200 => "OK",
        202 => "Accepted",
        204 => "No Notification",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        305 => "Use Proxy",
        380 => "Alternative Service",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        412 => "Conditional Request Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        433 => "Anonymity Disallowed",
        440 => "Max-Breadth Exceeded",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        485 => "Ambiguous",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        493 => "Undecipherable",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Index;

    fn response(request: &str, reply: &Reply<'_>) -> String {
        let mut index = Index::new();
        let mut out = Vec::new();
        write_response(&index.parse(request.as_bytes()).unwrap(), reply, &mut out);
        String::from_utf8(out).unwrap()
    }

    const REQUEST: &str = "INVITE sip:b@h SIP/2.0\r\n\
        v: SIP/2.0/UDP a.example.com;rport;branch=z9hG4bK1,\r\n SIP/2.0/UDP b\r\n\
        Subject: x\r\n\
        Via: SIP/2.0/UDP c\r\n\
        t:  \"B\" <sip:b@h> \r\n\
        From: <sip:a@h>;tag=1\r\n\
        Call-ID : 1@a\r\n\
        CSeq: 1 INVITE\r\n\
        Content-Length: 2\r\n\r\nhi";

    #[test]
    fn a_response_carries_the_requests_own_bytes() {
        let reply = Reply {
            source: Some("192.0.2.1:5070".parse().unwrap()),
            to_tag: Some(b"77"),
            headers: b"Retry-After: 5\r\n",
            body: Some((b"text/plain", b"no")),
            ..Reply::new(480)
        };
        assert_eq!(
            response(REQUEST, &reply),
            "SIP/2.0 480 Temporarily Unavailable\r\n\
            v: SIP/2.0/UDP a.example.com;rport=5070;branch=z9hG4bK1;received=192.0.2.1,\r\n \
            SIP/2.0/UDP b\r\n\
            Via: SIP/2.0/UDP c\r\n\
            From: <sip:a@h>;tag=1\r\n\
            t:  \"B\" <sip:b@h>;tag=77\r\n\
            Call-ID : 1@a\r\n\
            CSeq: 1 INVITE\r\n\
            Retry-After: 5\r\n\
            Content-Type: text/plain\r\n\
            Content-Length: 2\r\n\r\nno"
        );
    }

    #[test]
    fn a_100_gives_the_timestamp_back_and_no_other_response_does() {
        let stamped = REQUEST.replace("Subject: x\r\n", "Timestamp: 54.3\r\n");
        assert!(response(&stamped, &Reply::new(100)).contains("\r\nTimestamp: 54.3\r\n"));
        assert!(!response(&stamped, &Reply::new(180)).contains("Timestamp"));
    }

    #[test]
    fn a_tag_is_never_added_to_a_tag() {
        let tagged = REQUEST.replace("<sip:b@h> ", "<sip:b@h>;Tag=9");
        let out = response(
            &tagged,
            &Reply {
                to_tag: Some(b"77"),
                ..Reply::new(200)
            },
        );
        assert!(out.contains(";Tag=9\r\n") && !out.contains("77"));
    }

    #[test]
    fn a_half_broken_request_is_answered_with_what_it_has() {
        let request = "INVITE sip:b@h SIP/2.0\nVia: nonsense\nCSeq: x\nnoise\nTo: \"b";
        let reply = Reply {
            reason: b"Malformed To",
            source: Some("192.0.2.1:5070".parse().unwrap()),
            to_tag: Some(b"77"),
            ..Reply::new(400)
        };
        assert_eq!(
            response(request, &reply),
            "SIP/2.0 400 Malformed To\r\nVia: nonsense\r\nTo: \"b\r\nCSeq: x\r\n\
            Content-Length: 0\r\n\r\n"
        );
    }
}
