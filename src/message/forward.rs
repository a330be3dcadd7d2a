//! The edits a proxy makes to a message it passes on (RFC 3261 §16.6, §16.7, §18.2; RFC 3581).

use super::edit::Edits;
use super::fault::Fault;
use super::name::Name;
use super::via::Via;
use super::view::Message;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

/// What a request without Max-Forwards gets (RFC 3261 §16.6(3)).
pub const MAX_FORWARDS: u8 = 70;

/// Puts a Via line above the topmost one; `write` appends the value, such as
/// `SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK…` (RFC 3261 §16.6(8)).
pub fn push_via(message: &Message<'_>, edits: &mut Edits, write: impl FnOnce(&mut Vec<u8>)) {
    let top = message.header(Name::Via).map(|header| header.line.start);
    let at = top.unwrap_or(message.first_header_at());
    edits.insert(at, |out| line(out, b"Via", write));
}

/// Notes in the top Via where the request came from: `received` where the sent-by host is another
/// or `rport` is asked for, and the port in `rport` (RFC 3261 §18.2.1, RFC 3581 §4). What the
/// sender claimed in these two parameters goes.
pub fn stamp_top_via(
    message: &Message<'_>,
    edits: &mut Edits,
    source: SocketAddr,
) -> Result<(), Fault> {
    let via = message.top_via()?;
    if needs_stamp(&via, source) {
        edits.replace(via.span.clone(), |out| write_stamped(&via, source, out));
    }
    Ok(())
}

/// Takes the topmost Via away: its line, or only the element where the line has more (RFC 3261
/// §16.7(3)).
pub fn remove_top_via(message: &Message<'_>, edits: &mut Edits) -> Result<(), Fault> {
    if let Some(header) = message.header(Name::Via)
        && message.is_top_via_alone()
    {
        edits.remove(header.line);
        return Ok(());
    }
    let value = message.values(Name::Via).next().ok_or(Fault::MissingVia)?;
    edits.remove(value.cut);
    Ok(())
}

/// Takes the topmost Route value away, where there is one (RFC 3261 §16.4).
pub fn remove_top_route(message: &Message<'_>, edits: &mut Edits) {
    if let Some(value) = message.values(Name::Route).next() {
        edits.remove(value.cut);
    }
}

/// Counts a hop: Max-Forwards less one, or `MAX_FORWARDS` where there is none (RFC 3261
/// §16.6(3)). Returns what was written; 0 stays 0, and is refused before (§16.3(3)).
pub fn count_hop(message: &Message<'_>, edits: &mut Edits) -> Result<u8, Fault> {
    let hops = message.max_forwards()?;
    let left = hops.map_or(MAX_FORWARDS, |hops| hops.saturating_sub(1));
    match message.header(Name::MaxForwards) {
        Some(header) => edits.replace(header.value_span, |out| write_number(out, left.into())),
        None => {
            let via = message.header(Name::Via).map(|header| header.line.end);
            let at = via.unwrap_or(message.first_header_at());
            edits.insert(at, |out| {
                line(out, b"Max-Forwards", |out| write_number(out, left.into()))
            });
        }
    }
    Ok(left)
}

/// Puts a header line above all others; `write` appends the value.
pub fn insert_header(
    message: &Message<'_>,
    edits: &mut Edits,
    name: &[u8],
    write: impl FnOnce(&mut Vec<u8>),
) {
    edits.insert(message.first_header_at(), |out| line(out, name, write));
}

/// Puts a header line below all others, as the last before the body.
pub fn append_header(
    message: &Message<'_>,
    edits: &mut Edits,
    name: &[u8],
    write: impl FnOnce(&mut Vec<u8>),
) {
    edits.insert(message.headers_end(), |out| line(out, name, write));
}

/// Takes all lines of a header away.
pub fn remove_header(message: &Message<'_>, edits: &mut Edits, name: Name) {
    for header in message.headers(name) {
        edits.remove(header.line);
    }
}

/// Puts another Request-URI in the request's place (RFC 3261 §16.6(2)). A response stays as it is.
pub fn replace_uri(message: &Message<'_>, edits: &mut Edits, uri: &[u8]) {
    if message.method().is_some() {
        edits.replace(message.uri_span(), |out| out.extend_from_slice(uri));
    }
}

/// Appends a whole header line; `write` appends the value.
pub fn line(out: &mut Vec<u8>, name: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    write(out);
    out.extend_from_slice(b"\r\n");
}

/// Appends a number in decimal.
pub fn write_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [b'0'; 20];
    let mut rest = number;
    let mut count = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        count += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - count..).unwrap_or_default());
}

pub(super) fn needs_stamp(via: &Via<'_>, source: SocketAddr) -> bool {
    via.received.is_some() || via.rport.is_some() || !is_from(via, source)
}

/// Appends the element with `received` and `rport` as this source makes them. Each is written where
/// the sender had it, else at the end; a second one of either goes.
pub(super) fn write_stamped(via: &Via<'_>, source: SocketAddr, out: &mut Vec<u8>) {
    let mut rport = via.rport.is_some().then_some(source.port());
    let mut received = (rport.is_some() || !is_from(via, source)).then_some(source.ip());
    if let Some(span) = via.lone_rport.clone() {
        out.extend_from_slice(via.bytes.get(..span.start).unwrap_or_default());
        write_rport(rport, out);
        out.extend_from_slice(via.bytes.get(span.end..).unwrap_or_default());
        write_received(received, out);
        return;
    }
    let mut copied = 0;
    for param in via.params() {
        let is_rport = match param.name.len() {
            5 if param.is(b"rport") => true,
            8 if param.is(b"received") => false,
            _ => continue,
        };
        out.extend_from_slice(via.bytes.get(copied..param.span.start).unwrap_or_default());
        copied = param.span.end;
        if is_rport {
            write_rport(rport.take(), out);
        } else {
            write_received(received.take(), out);
        }
    }
    out.extend_from_slice(via.bytes.get(copied..).unwrap_or_default());
    write_received(received, out);
    write_rport(rport, out);
}

fn is_from(via: &Via<'_>, source: SocketAddr) -> bool {
    let host = via.host_ip().map(|host| host.to_canonical());
    host == Some(source.ip().to_canonical())
}

fn write_rport(port: Option<u16>, out: &mut Vec<u8>) {
    if let Some(port) = port {
        out.extend_from_slice(b";rport=");
        write_number(out, port.into());
    }
}

fn write_received(address: Option<IpAddr>, out: &mut Vec<u8>) {
    let Some(address) = address else { return };
    out.extend_from_slice(b";received=");
    write_ip(out, address);
}

/// Appends an address without brackets; an IPv4 address mapped into IPv6 as IPv4.
pub fn write_ip(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let mut text = [0_u8; 15];
            let mut rest = text.iter_mut();
            let mut put = |byte: u8| rest.next().map(|at| *at = byte).map_or(0, |()| 1);
            let mut length = 0;
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    length += put(b'.');
                }
                if octet >= 100 {
                    length += put(b'0' + octet / 100);
                }
                if octet >= 10 {
                    length += put(b'0' + octet / 10 % 10);
                }
                length += put(b'0' + octet % 10);
            }
            out.extend_from_slice(text.get(..length).unwrap_or_default());
        }
        // Writing to a Vec cannot fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Index;

    fn edited(text: &str, edit: impl FnOnce(&Message<'_>, &mut Edits)) -> String {
        let mut index = Index::new();
        let message = index.parse(text.as_bytes()).unwrap();
        let mut edits = Edits::new();
        edit(&message, &mut edits);
        let mut out = Vec::new();
        edits.apply(message.bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn message(headers: &str) -> String {
        format!("INVITE sip:b@h SIP/2.0\r\n{headers}\r\nbody")
    }

    fn stamped(via: &str, source: &str) -> String {
        let source = source.parse().unwrap();
        let text = edited(&message(&format!("Via: {via}\r\n")), |message, edits| {
            stamp_top_via(message, edits, source).unwrap();
        });
        let line = text.lines().nth(1).unwrap();
        line.strip_prefix("Via: ").unwrap().to_owned()
    }

    #[test]
    fn a_via_is_pushed_above_the_top_one() {
        let out = edited(
            &message("To: b\r\nv: SIP/2.0/UDP a\r\n"),
            |message, edits| {
                push_via(message, edits, |out| {
                    out.extend_from_slice(b"SIP/2.0/UDP p")
                });
            },
        );
        assert_eq!(
            out,
            message("To: b\r\nVia: SIP/2.0/UDP p\r\nv: SIP/2.0/UDP a\r\n")
        );
    }

    #[test]
    fn received_is_noted_where_the_host_is_another() {
        assert_eq!(
            stamped("SIP/2.0/UDP 192.0.2.1;branch=x", "192.0.2.1:5060"),
            "SIP/2.0/UDP 192.0.2.1;branch=x"
        );
        assert_eq!(
            stamped("SIP/2.0/UDP 192.0.2.1;branch=x", "192.0.2.2:5060"),
            "SIP/2.0/UDP 192.0.2.1;branch=x;received=192.0.2.2"
        );
        assert_eq!(
            stamped("SIP/2.0/UDP host , SIP/2.0/UDP b", "[::ffff:192.0.2.2]:1"),
            "SIP/2.0/UDP host;received=192.0.2.2 , SIP/2.0/UDP b"
        );
        assert_eq!(
            stamped("SIP/2.0/UDP [::ffff:192.0.2.2]", "192.0.2.2:7"),
            "SIP/2.0/UDP [::ffff:192.0.2.2]"
        );
        assert_eq!(
            stamped("SIP/2.0/UDP [2001:db8:0::1]:5060", "[2001:db8::1]:7"),
            "SIP/2.0/UDP [2001:db8:0::1]:5060"
        );
    }

    #[test]
    fn rport_is_answered_where_it_stands_with_received_always() {
        for (rport, answered) in [
            ("rport", "rport=9"),
            ("RPORT=", "rport=9"),
            ("rport=17", "rport=9"),
            ("rport=\"1;2\"", "rport=9"),
            ("x;rport", "x;rport=9"),
        ] {
            assert_eq!(
                stamped(&format!("SIP/2.0/UDP a:5;{rport};branch=x"), "192.0.2.1:9"),
                format!("SIP/2.0/UDP a:5;{answered};branch=x;received=192.0.2.1")
            );
        }
        assert_eq!(
            stamped("SIP/2.0/UDP 192.0.2.1; rport ;branch=x", "192.0.2.1:9"),
            "SIP/2.0/UDP 192.0.2.1;rport=9 ;branch=x;received=192.0.2.1"
        );
        assert_eq!(
            stamped("SIP/2.0/UDP [::1];RPORT=1;rport=2", "[2001:db8::2]:65535"),
            "SIP/2.0/UDP [::1];rport=65535;received=2001:db8::2"
        );
    }

    #[test]
    fn what_the_sender_claims_to_be_received_goes() {
        assert_eq!(
            stamped(
                "SIP/2.0/UDP 192.0.2.1;received=10.0.0.1;x=1",
                "192.0.2.1:5060"
            ),
            "SIP/2.0/UDP 192.0.2.1;x=1"
        );
        assert_eq!(
            stamped(
                "SIP/2.0/UDP 192.0.2.1;received=a;received=b;x",
                "192.0.2.2:5060"
            ),
            "SIP/2.0/UDP 192.0.2.1;received=192.0.2.2;x"
        );
    }

    #[test]
    fn the_top_via_goes_alone() {
        let without = |headers: &str| {
            edited(&message(headers), |message, edits| {
                remove_top_via(message, edits).unwrap()
            })
        };
        assert_eq!(without("Via: a\r\nTo: b\r\n"), message("To: b\r\n"));
        assert_eq!(
            without("Via: a\r\n ;x\r\nVia: b\r\n"),
            message("Via: b\r\n")
        );
        assert_eq!(without("Via: a ,\r\n b, c\r\n"), message("Via: b, c\r\n"));
        assert_eq!(without("Via: ,a;x=\"1,2\",b\r\n"), message("Via: ,b\r\n"));
        assert_eq!(
            without("Via:\r\nVia: b\r\nTo: c\r\n"),
            message("Via:\r\nTo: c\r\n")
        );
    }

    #[test]
    fn hops_are_counted() {
        let counted = |headers: &str| {
            edited(&message(headers), |message, edits| {
                count_hop(message, edits).unwrap();
            })
        };
        assert_eq!(
            counted("Max-Forwards : 070 \r\n"),
            message("Max-Forwards : 69 \r\n")
        );
        assert_eq!(
            counted("Max-Forwards: 0\r\n"),
            message("Max-Forwards: 0\r\n")
        );
        assert_eq!(
            counted("Via: a\r\nTo: b\r\n"),
            message("Via: a\r\nMax-Forwards: 70\r\nTo: b\r\n")
        );
    }

    #[test]
    fn headers_come_and_go_whole() {
        let out = edited(
            &message("A: 1\r\nRoute: <a>, <b>\r\nRoute: <c>\r\n"),
            |message, edits| {
                remove_top_route(message, edits);
                insert_header(message, edits, b"Record-Route", |out| {
                    out.extend_from_slice(b"<p>")
                });
                append_header(message, edits, b"Z", |out| out.extend_from_slice(b"9"));
                replace_uri(message, edits, b"tel:1");
            },
        );
        let want = message("Record-Route: <p>\r\nA: 1\r\nRoute: <b>\r\nRoute: <c>\r\nZ: 9\r\n");
        assert_eq!(out, want.replace("sip:b@h", "tel:1"));
        let out = edited(
            &message("Route: <a>,\r\n <b>\r\nA: 1\r\nroute: <c>\r\n"),
            |message, edits| {
                remove_header(message, edits, Name::Route);
            },
        );
        assert_eq!(out, message("A: 1\r\n"));
    }

    #[test]
    fn numbers_are_written_as_they_are() {
        for number in [0, 7, 10, 70, 65_535, u64::MAX] {
            let mut out = Vec::new();
            write_number(&mut out, number);
            assert_eq!(out, number.to_string().into_bytes());
        }
    }
}
