//! URIs as routing needs them: scheme, user, host, port, parameters (RFC 3261 §19.1, RFC 3966).

use super::fault::Fault;
use super::lexeme::{Params, part, port, tail, trimmed};
use super::remembered::{Field, Place};
use super::scan::{self, find, find2};
use super::usual;
use memchr::memmem;
use smallvec::SmallVec;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The scheme of a URI, as far as a proxy cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:` (RFC 3966)
    Tel,
    /// `urn:`, such as `urn:service:sos` (RFC 5031)
    Urn,
    /// Any other scheme.
    Other,
}

/// A URI in its parts; every part is as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// The scheme, whatever its case.
    pub scheme: Scheme,
    /// sip and sips: the user, still escaped, without password, empty when there is none.
    /// tel: the number as written. Others: all between the scheme and the parameters.
    pub user: &'a [u8],
    /// sip and sips: the host without the brackets of an IPv6 reference. Empty for others.
    pub host: &'a [u8],
    /// The port, where one is written.
    pub port: Option<u16>,
    /// `host:port` as written, brackets included.
    pub host_port: &'a [u8],
    /// The parameters from the first semicolon on, or empty.
    pub params: &'a [u8],
    /// The headers after the question mark, or empty.
    pub headers: &'a [u8],
    /// Whether there is a question mark, though nothing may follow it.
    pub(super) has_question: bool,
}

impl<'a> Uri<'a> {
    /// Reads a URI that stands alone in `bytes`, without brackets.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        usual::uri(bytes).map_or_else(|| Self::parse_any(bytes), Ok)
    }

    pub(super) fn parse_any(bytes: &'a [u8]) -> Result<Self, Fault> {
        let colon = find(b':', bytes).ok_or(Fault::MalformedUri)?;
        let scheme = scheme(part(bytes, 0..colon)).ok_or(Fault::MalformedUri)?;
        let rest = tail(bytes, colon + 1);
        match scheme {
            Scheme::Sip | Scheme::Sips => sip(scheme, rest),
            _ => opaque(scheme, rest),
        }
    }

    /// The value of a parameter, in any case: `Some(None)` when it stands there without one.
    pub fn param(&self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        match self.params {
            [] => None,
            params => Params::new(params).value(name),
        }
    }

    /// Whether the URI asks for loose routing (RFC 3261 §19.1.1).
    pub fn is_lr(&self) -> bool {
        self.param(b"lr").is_some()
    }

    /// The user with its `%HH` escapes undone; a bad escape stays as it is.
    pub fn unescaped_user(&self) -> SmallVec<[u8; 32]> {
        let mut user = SmallVec::new();
        unescape(self.user, &mut user);
        user
    }

    /// Whether the host is this one, in any case.
    pub fn is_host(&self, host: &[u8]) -> bool {
        self.host.eq_ignore_ascii_case(host)
    }

    /// The host as an address, where it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        ip(self.host)
    }
}

/// A [`Uri`] as places in its message.
#[derive(Clone, Copy, Debug)]
pub(super) struct UriPlaces {
    scheme: Scheme,
    user: Place,
    host: Place,
    port: Option<u16>,
    host_port: Place,
    params: Place,
    headers: Place,
    has_question: bool,
}

impl<'a> Field<'a> for Uri<'a> {
    type Places = UriPlaces;

    fn places(&self, message: &'a [u8]) -> UriPlaces {
        let place = |piece| Place::of(piece, message);
        UriPlaces {
            scheme: self.scheme,
            user: place(self.user),
            host: place(self.host),
            port: self.port,
            host_port: place(self.host_port),
            params: place(self.params),
            headers: place(self.headers),
            has_question: self.has_question,
        }
    }

    fn at(places: &UriPlaces, message: &'a [u8]) -> Self {
        Self {
            scheme: places.scheme,
            user: places.user.within(message),
            host: places.host.within(message),
            port: places.port,
            host_port: places.host_port.within(message),
            params: places.params.within(message),
            headers: places.headers.within(message),
            has_question: places.has_question,
        }
    }
}

/// The address that a host spells, IPv6 without brackets; `None` for a name.
pub fn host_address(host: &[u8]) -> Option<IpAddr> {
    ip(host)
}

pub(super) fn ip(host: &[u8]) -> Option<IpAddr> {
    let ip = ipv4(host).map(IpAddr::V4);
    ip.or_else(|| ipv6(host).map(IpAddr::V6))
}

/// The IPv4 address a text spells: four numbers without leading zeros.
fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let (mut address, mut dots, mut octet) = (0_u32, 0, None);
    for byte in text {
        let digit = u32::from(byte.wrapping_sub(b'0'));
        octet = match (digit, octet) {
            (0..=9, None) => Some(digit),
            (0..=9, Some(value @ 1..=25)) => Some(value * 10 + digit),
            (_, Some(value)) if *byte == b'.' => {
                address = address << 8 | value;
                dots += 1;
                None
            }
            _ => return None,
        };
        if dots > 3 || octet.is_some_and(|value| value > 255) {
            return None;
        }
    }
    let last = octet.filter(|_| dots == 3)?;
    Some(Ipv4Addr::from_bits(address << 8 | last))
}

/// The IPv6 address a text spells. The grammar of RFC 3261 allows one colon too many before an
/// embedded IPv4 address; it is passed over (RFC 5118 §4.10).
fn ipv6(text: &[u8]) -> Option<Ipv6Addr> {
    find(b':', text)?;
    let parse = |text: &[u8]| str::from_utf8(text).ok()?.parse().ok();
    parse(text).or_else(|| {
        let at = memmem::find(text, b":::").filter(|_| text.contains(&b'.'))?;
        let mut fewer: SmallVec<[u8; 48]> = SmallVec::from_slice(part(text, 0..at));
        fewer.extend_from_slice(tail(text, at + 1));
        parse(&fewer)
    })
}

/// Whether the text between the brackets of an IPv6 reference is an address, zone or not.
fn is_reference(text: &[u8]) -> bool {
    let zone = find(b'%', text).unwrap_or(text.len());
    ipv6(part(text, 0..zone)).is_some() && zone + 1 != text.len()
}

fn scheme(text: &[u8]) -> Option<Scheme> {
    let first = text.first()?;
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    if !first.is_ascii_alphabetic() || !text.iter().all(legal) {
        return None;
    }
    let is = |name: &[u8]| text.eq_ignore_ascii_case(name);
    Some(match text.len() {
        3 if is(b"sip") => Scheme::Sip,
        4 if is(b"sips") => Scheme::Sips,
        3 if is(b"tel") => Scheme::Tel,
        3 if is(b"urn") => Scheme::Urn,
        _ => Scheme::Other,
    })
}

fn sip(scheme: Scheme, rest: &[u8]) -> Result<Uri<'_>, Fault> {
    let (user, rest) = match find(b'@', rest) {
        Some(at) => (part(rest, 0..at), tail(rest, at + 1)),
        None => (part(rest, 0..0), rest),
    };
    let user = find(b':', user).map_or(user, |colon| part(user, 0..colon));
    let host_end = find2(b';', b'?', rest).unwrap_or(rest.len());
    let (host, port) = host_port(part(rest, 0..host_end)).ok_or(Fault::MalformedUri)?;
    let after = tail(rest, host_end);
    let question = find(b'?', after).unwrap_or(after.len());
    Ok(Uri {
        scheme,
        user,
        host,
        port,
        host_port: part(rest, 0..host_end),
        params: part(after, 0..question),
        headers: tail(after, question + 1),
        has_question: question < after.len(),
    })
}

fn opaque(scheme: Scheme, rest: &[u8]) -> Result<Uri<'_>, Fault> {
    let end = find2(b';', b'?', rest).unwrap_or(rest.len());
    if end == 0 {
        return Err(Fault::MalformedUri);
    }
    let after = tail(rest, end);
    let question = find(b'?', after).unwrap_or(after.len());
    let empty = part(rest, 0..0);
    Ok(Uri {
        scheme,
        user: part(rest, 0..end),
        host: empty,
        port: None,
        host_port: empty,
        params: part(after, 0..question),
        headers: tail(after, question + 1),
        has_question: question < after.len(),
    })
}

/// Splits `host`, `host:port` or `[v6]:port`; the host comes without brackets. White space around
/// the colon is passed over: a Via may have it, and a URI is checked for it elsewhere.
pub(super) fn host_port(text: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let text = trimmed(text);
    if let [b'[', inner @ ..] = text {
        let host_end = inner.iter().position(|&byte| !is_reference_byte(byte));
        let host = part(inner, 0..host_end?);
        let after = tail(inner, host.len()).strip_prefix(b"]")?;
        return is_reference(host).then_some((host, port_after(after)?));
    }
    let host = part(
        text,
        0..scan::position(text, ends_host).unwrap_or(text.len()),
    );
    if host.is_empty() {
        return None;
    }
    Some((host, port_after(tail(text, host.len()))?))
}

/// What follows a host: nothing, or a colon with a port.
#[inline]
fn port_after(after: &[u8]) -> Option<Option<u16>> {
    match trimmed(after).split_first() {
        None => Some(None),
        Some((b':', digits)) => Some(Some(port(trimmed(digits))?)),
        Some(_) => None,
    }
}

/// Underscores are no host name's, but many networks have them.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

/// Marks the bytes that are no host's.
#[inline]
pub(super) fn ends_host(block: scan::Block) -> scan::Block {
    let letters = block.lowered().is_within(b'a', b'z');
    let digits = block.is_within(b'0', b'9');
    let others = block.is_within(b'-', b'.').or(block.is(b'_'));
    letters.or(digits).or(others).others()
}

/// A byte between the brackets of an IPv6 reference; `%` begins a zone.
fn is_reference_byte(byte: u8) -> bool {
    is_host_byte(byte) || matches!(byte, b':' | b'%')
}

fn unescape(text: &[u8], out: &mut SmallVec<[u8; 32]>) {
    let mut rest = text;
    while let Some(at) = find(b'%', rest) {
        out.extend_from_slice(part(rest, 0..at));
        let pair = (
            rest.get(at + 1).copied().and_then(hex),
            rest.get(at + 2).copied().and_then(hex),
        );
        if let (Some(high), Some(low)) = pair {
            out.push(high << 4 | low);
            rest = tail(rest, at + 3);
        } else {
            out.push(b'%');
            rest = tail(rest, at + 1);
        }
    }
    out.extend_from_slice(rest);
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// Whether the bytes hold what no URI has: blanks, control bytes, brackets or quotes.
pub(super) fn has_illegal_byte(uri: &[u8]) -> bool {
    scan::any(uri, |block| {
        let bracket = block.is(b'<').or(block.is(b'>'));
        let quote = block.is(b'"').or(block.is(0x7f));
        bracket.or(quote).or(block.is_at_most(b' '))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Uri<'_> {
        Uri::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn an_ipv4_address_is_what_the_standard_library_takes_for_one() {
        let numbers = [
            "0", "7", "00", "01", "10", "99", "255", "256", "300", "1000", "", "x",
        ];
        let ends = ["", ".", ".1", " "];
        for number in 0..12_usize.pow(4) {
            let part = |place: u32| numbers[number / 12_usize.pow(place) % 12];
            for end in ends {
                let text = format!("{}.{}.{}.{}{end}", part(0), part(1), part(2), part(3));
                assert_eq!(ipv4(text.as_bytes()), text.parse().ok(), "{text}");
            }
        }
        assert_eq!(ip(b"1.2.3"), None);
        assert_eq!(ip(b"1::2"), Some("1::2".parse().unwrap()));
        assert_eq!(ip(b"a::2"), Some("a::2".parse().unwrap()));
        assert_eq!(ip(b"example.com"), None);
        assert_eq!(ip(b""), None);
    }

    #[test]
    fn a_host_ends_at_every_byte_that_is_no_hosts() {
        for byte in 0..=255 {
            let ends = scan::any(&[byte; 16], ends_host);
            assert_eq!(ends, !is_host_byte(byte), "{byte:#x}");
        }
    }

    #[test]
    fn a_sip_uri_has_all_its_parts() {
        let uri = parsed("sips:alice:pw@[2001:db8::1]:5061;transport=TLS;lr?subject=x");
        assert_eq!(uri.scheme, Scheme::Sips);
        assert_eq!(uri.user, b"alice");
        assert_eq!(uri.host, b"2001:db8::1");
        assert_eq!(uri.host_port, b"[2001:db8::1]:5061");
        assert_eq!(uri.port, Some(5061));
        assert_eq!(uri.param(b"Transport"), Some(Some(&b"TLS"[..])));
        assert!(uri.is_lr());
        assert_eq!(uri.headers, b"subject=x");
        assert_eq!(uri.ip(), Some("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn a_user_may_hold_semicolons() {
        let uri = parsed("SIP:+49;phone-context=x@Example.COM;user=phone");
        assert_eq!(uri.user, b"+49;phone-context=x");
        assert!(uri.is_host(b"example.com"));
        assert_eq!(uri.params, b";user=phone");
        assert_eq!(uri.ip(), None);
    }

    #[test]
    fn no_user_no_port_is_fine() {
        let uri = parsed("sip:192.0.2.1");
        assert_eq!(
            (uri.user, uri.host, uri.port),
            (&b""[..], &b"192.0.2.1"[..], None)
        );
        assert_eq!(uri.ip(), Some("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn tel_and_urn_have_no_host() {
        let tel = parsed("tel:+49-30-1234;phone-context=example.com");
        assert_eq!((tel.scheme, tel.user), (Scheme::Tel, &b"+49-30-1234"[..]));
        assert_eq!(tel.param(b"phone-context"), Some(Some(&b"example.com"[..])));
        assert_eq!(parsed("urn:service:sos").user, b"service:sos");
        assert_eq!(parsed("soap.beep://h:1").scheme, Scheme::Other);
    }

    #[test]
    fn what_has_no_host_or_a_bad_port_is_refused() {
        for text in [
            "",
            "sip",
            "sip:",
            ":a@b",
            "sip:a@",
            "sip:a@b:",
            "sip:a@b:x",
            "sip:a@b:65536",
            "sip:a@b@c",
            "sip:a@[::1",
            "sip:a@[::1]x",
            "sip:a@b c",
            "1sip:a@b",
            "tel:",
        ] {
            assert_eq!(
                Uri::parse(text.as_bytes()),
                Err(Fault::MalformedUri),
                "{text:?}"
            );
        }
    }

    #[test]
    fn escapes_are_undone_and_bad_ones_kept() {
        let uri = parsed("sip:a%6cice%00%zz%4@h");
        assert_eq!(uri.unescaped_user().as_slice(), b"alice\0%zz%4");
    }
}
