//! The first line of a message: what is asked, or what is answered (RFC 3261 §7.1, §7.2).

use super::fault::{Fault, Malformed};
use super::lexeme::{is_token, number, part, tail, trim};
use super::name::Method;
use super::scan::find;
use std::ops::Range;

/// The first line of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// A request line.
    Request {
        /// The method, `Other` when it is none of ours.
        method: Method,
        /// The method as written.
        method_bytes: &'a [u8],
        /// The Request-URI as written.
        uri: &'a [u8],
    },
    /// A status line.
    Response {
        /// 100 to 699.
        status: u16,
        /// The reason phrase as written, often empty.
        reason: &'a [u8],
    },
}

/// The first line as offsets, and the first fault in it that can still be answered.
#[derive(Clone, Debug)]
pub(super) struct StartLine {
    pub(super) kind: Kind,
    /// The Request-URI or the reason phrase.
    pub(super) text: Range<usize>,
    pub(super) fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Request { method: Method, method_end: usize },
    Response { status: u16 },
}

impl StartLine {
    pub(super) const EMPTY: Self = Self {
        kind: Kind::Response { status: 0 },
        text: 0..0,
        fault: None,
    };

    /// Reads the line without its line end.
    pub(super) fn parse(line: &[u8]) -> Result<Self, Malformed> {
        if let Some(usual) = usual_request_line(line) {
            return Ok(usual);
        }
        let space = find(b' ', line).ok_or(Malformed::NotSip)?;
        let first = part(line, 0..space);
        if is_version(first) {
            status_line(line, space)
        } else {
            request_line(line, space)
        }
    }

    pub(super) fn view<'a>(&self, bytes: &'a [u8]) -> Start<'a> {
        let text = part(bytes, self.text.clone());
        match self.kind {
            Kind::Request { method, method_end } => Start::Request {
                method,
                method_bytes: part(bytes, 0..method_end),
                uri: text,
            },
            Kind::Response { status } => Start::Response {
                status,
                reason: text,
            },
        }
    }
}

fn is_version(word: &[u8]) -> bool {
    word.get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"))
}

fn version_fault(word: &[u8]) -> Option<Fault> {
    (!word.eq_ignore_ascii_case(b"SIP/2.0")).then_some(Fault::UnsupportedVersion)
}

fn status_line(line: &[u8], space: usize) -> Result<StartLine, Malformed> {
    let code = tail(line, space + 1);
    let digits = find(b' ', code).unwrap_or(code.len());
    let status = number(part(code, 0..digits)).filter(|code| digits == 3 && *code < 700);
    let status = status
        .filter(|code| *code >= 100)
        .ok_or(Malformed::StatusCode)?;
    let status = u16::try_from(status).map_err(|_| Malformed::StatusCode)?;
    let text = (space + 1 + digits + 1).min(line.len())..line.len();
    let fault = version_fault(part(line, 0..space));
    Ok(StartLine {
        kind: Kind::Response { status },
        text,
        fault,
    })
}

/// `INVITE sip:user@host SIP/2.0`, with a method that we know and one blank where there is one.
#[inline]
fn usual_request_line(line: &[u8]) -> Option<StartLine> {
    let (rest, b" SIP/2.0") = line.split_last_chunk()? else {
        return None;
    };
    let method_end = find(b' ', rest)?;
    let method = Method::from_bytes(part(rest, 0..method_end));
    let is_tidy = match tail(rest, method_end + 1) {
        [first, .., last] => *first > b' ' && *last > b' ',
        _ => false,
    };
    (is_tidy && method != Method::Other).then_some(StartLine {
        kind: Kind::Request { method, method_end },
        text: method_end + 1..rest.len(),
        fault: None,
    })
}

/// The URI is all between the first and the last blank, so that a request with blanks in or around
/// it can be refused by name.
fn request_line(line: &[u8], space: usize) -> Result<StartLine, Malformed> {
    let method_bytes = part(line, 0..space);
    let method = Method::from_bytes(method_bytes);
    let is_token = || !method_bytes.is_empty() && method_bytes.iter().copied().all(is_token);
    if method == Method::Other && !is_token() {
        return Err(Malformed::NotSip);
    }
    let end = trim(line, 0..line.len()).end;
    let mut backwards = part(line, 0..end).iter();
    let last = backwards
        .rposition(|&byte| byte == b' ')
        .ok_or(Malformed::NotSip)?;
    let version = part(line, last + 1..end);
    if !is_version(version) {
        return Err(Malformed::NotSip);
    }
    let written = space + 1..last.max(space + 1);
    let text = trim(line, written.clone());
    let tidy = end == line.len() && text == written && !text.is_empty();
    let fault = (!tidy).then_some(Fault::MalformedRequestLine);
    let kind = Kind::Request {
        method,
        method_end: space,
    };
    Ok(StartLine {
        kind,
        text,
        fault: version_fault(version).or(fault),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> (Start<'_>, Option<Fault>) {
        let start = StartLine::parse(line.as_bytes()).unwrap();
        (start.view(line.as_bytes()), start.fault)
    }

    #[test]
    fn a_request_line_is_read() {
        let start = Start::Request {
            method: Method::Invite,
            method_bytes: b"INVITE",
            uri: b"sip:a@b",
        };
        assert_eq!(read("INVITE sip:a@b SIP/2.0"), (start, None));
        assert_eq!(
            read("INVITE  sip:a@b SIP/2.0"),
            (start, Some(Fault::MalformedRequestLine))
        );
        assert_eq!(
            read("INVITE sip:a@b SIP/2.0 "),
            (start, Some(Fault::MalformedRequestLine))
        );
        assert_eq!(
            read("INVITE sip:a@b SIP/7.0"),
            (start, Some(Fault::UnsupportedVersion))
        );
    }

    #[test]
    fn any_token_is_a_method() {
        let (start, fault) = read("!odd_*+`.%in'~ sip:a@b sip/2.0");
        assert!(matches!(
            start,
            Start::Request {
                method: Method::Other,
                ..
            }
        ));
        assert_eq!(fault, None);
    }

    #[test]
    fn a_status_line_is_read_with_or_without_a_phrase() {
        let response = |reason| {
            (
                Start::Response {
                    status: 486,
                    reason,
                },
                None,
            )
        };
        assert_eq!(read("SIP/2.0 486 Busy  Here"), response(b"Busy  Here"));
        assert_eq!(read("SIP/2.0 486 "), response(b""));
        assert_eq!(read("SIP/2.0 486"), response(b""));
    }

    #[test]
    fn what_is_not_sip_is_refused() {
        for line in [
            "",
            "INVITE",
            "INVITE sip:a@b",
            "GET / HTTP/1.1",
            " INVITE a SIP/2.0",
            "IN\0ITE sip:a@b SIP/2.0",
            "INVITE\tsip:a@b\tSIP/2.0",
        ] {
            assert_eq!(
                StartLine::parse(line.as_bytes()).unwrap_err(),
                Malformed::NotSip,
                "{line}"
            );
        }
        for line in [
            "SIP/2.0 99 x",
            "SIP/2.0 4294967301 x",
            "SIP/2.0 700 x",
            "SIP/2.0 2x0 x",
        ] {
            assert_eq!(
                StartLine::parse(line.as_bytes()).unwrap_err(),
                Malformed::StatusCode
            );
        }
    }
}
