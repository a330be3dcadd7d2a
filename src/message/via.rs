//! One Via element: who sent the request, and where the response goes (RFC 3261 §18.2, §20.42).

use super::fault::Fault;
use super::lexeme::{Params, is_same, is_token, part, port, skip_space, tail, trimmed};
use super::remembered::{Field, Place};
use super::scan::find;
use super::uri;
use super::usual;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// A Via element in its parts; every part is as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, `TLS`, `WS`, `WSS` or any other token, in any case.
    pub transport: &'a [u8],
    /// The sent-by host, without the brackets of an IPv6 reference.
    pub host: &'a [u8],
    /// The sent-by port, where one is written.
    pub port: Option<u16>,
    /// The branch; empty when there is none, as from an RFC 2543 client.
    pub branch: &'a [u8],
    /// The `received` parameter: the address the request came from.
    pub received: Option<&'a [u8]>,
    /// The `rport` parameter (RFC 3581): `Some(None)` asks for it, `Some(Some(_))` answers.
    pub rport: Option<Option<u16>>,
    /// The `maddr` parameter.
    pub maddr: Option<&'a [u8]>,
    /// The `oc` parameter (RFC 7339): `Some(None)` offers to listen, `Some(Some(_))` asks.
    pub oc: Option<Option<&'a [u8]>>,
    /// The whole element.
    pub bytes: &'a [u8],
    /// The element's place in the message.
    pub span: Range<usize>,
    params_at: usize,
    /// The place of the `rport` parameter within the element, where it is the only one that tells
    /// where the request came from.
    pub(super) lone_rport: Option<Range<usize>>,
    /// Whether the branch has no value, or there are two: others may read another one.
    has_unclear_branch: bool,
}

/// What every branch of an RFC 3261 element begins with (§8.1.1.7).
pub const MAGIC_COOKIE: &[u8] = b"z9hG4bK";

impl<'a> Via<'a> {
    /// Reads one element without white space at its ends; `offset` is its place in the message.
    pub fn parse(bytes: &'a [u8], offset: usize) -> Result<Self, Fault> {
        usual::via(bytes, offset).map_or_else(|| Self::parse_any(bytes, offset), Ok)
    }

    pub(super) fn parse_any(bytes: &'a [u8], offset: usize) -> Result<Self, Fault> {
        let transport_at = transport_offset(bytes).ok_or(Fault::MalformedVia)?;
        let rest = tail(bytes, transport_at);
        let transport_end = rest.iter().position(|&byte| !is_token(byte));
        let transport_end = transport_at + transport_end.ok_or(Fault::MalformedVia)?;
        let sent_by_at = skip_space(bytes, transport_end);
        if transport_end == transport_at || sent_by_at == transport_end {
            return Err(Fault::MalformedVia);
        }
        let sent_by = tail(bytes, sent_by_at);
        let params_at = sent_by_at + find(b';', sent_by).unwrap_or(sent_by.len());
        let (host, port) = sent_by_parts(part(bytes, sent_by_at..params_at))?;
        let mut known = Known::default();
        for param in Params::from_offset(bytes, params_at) {
            known.take(param.name, param.value);
        }
        let sender = (part(bytes, transport_at..transport_end), host, port);
        Ok(Self::of(bytes, offset, sender, params_at, known))
    }

    /// Puts together what was read; the sender is transport, host and port.
    #[inline]
    pub(super) fn of(
        bytes: &'a [u8],
        offset: usize,
        (transport, host, port): (&'a [u8], &'a [u8], Option<u16>),
        params_at: usize,
        known: Known<'a>,
    ) -> Self {
        Self {
            transport,
            host,
            port,
            branch: known.branch.unwrap_or_default(),
            received: known.received,
            rport: known.rport,
            maddr: known.maddr,
            oc: known.oc,
            lone_rport: known.lone_rport(bytes),
            bytes,
            span: offset..offset + bytes.len(),
            params_at,
            has_unclear_branch: known.has_unclear_branch,
        }
    }

    /// Its branch alone.
    #[inline]
    pub(super) fn told(&self) -> Branch<'a> {
        Branch {
            bytes: self.branch,
            is_unclear: self.has_unclear_branch,
        }
    }

    /// The parameters in order; spans count from the element's first byte.
    pub fn params(&self) -> Params<'a> {
        Params::from_offset(self.bytes, self.params_at)
    }

    /// The value of a parameter, in any case: `Some(None)` when it stands there without one.
    pub fn param(&self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        self.params().value(name)
    }

    /// Whether the branch is unique as RFC 3261 §8.1.1.7 promises, and not only a prefix.
    pub fn has_rfc3261_branch(&self) -> bool {
        let cookie = self.branch.get(..MAGIC_COOKIE.len());
        cookie.is_some_and(|cookie| is_same(cookie, MAGIC_COOKIE))
            && self.branch.len() > MAGIC_COOKIE.len()
    }

    /// The `received` parameter as an address, with or without brackets.
    pub fn received_ip(&self) -> Option<IpAddr> {
        let text = self.received?;
        let inner = text
            .strip_prefix(b"[")
            .and_then(|text| text.strip_suffix(b"]"));
        uri::ip(inner.unwrap_or(text))
    }

    /// The sent-by host as an address, where it is one.
    pub fn host_ip(&self) -> Option<IpAddr> {
        uri::ip(self.host)
    }

    /// Where a response over UDP goes: `maddr`, else `received`, else the sent-by host; at the
    /// port of `rport` beside `received`, else the sent-by port, else 5060 (RFC 3261 §18.2.2,
    /// RFC 3581 §4). `None` when that is a name, which somebody has to resolve.
    pub fn response_address(&self) -> Option<SocketAddr> {
        let port = self.port.unwrap_or(5060);
        if let Some(maddr) = self.maddr {
            return uri::ip(unbracketed(maddr)).map(|ip| SocketAddr::new(ip, port));
        }
        match self.received {
            Some(_) => {
                let port = self.rport.flatten().unwrap_or(port);
                self.received_ip().map(|ip| SocketAddr::new(ip, port))
            }
            None => self.host_ip().map(|ip| SocketAddr::new(ip, port)),
        }
    }
}

/// What tells the transactions of a Via apart.
pub(super) struct Branch<'a> {
    pub(super) bytes: &'a [u8],
    /// It has no value, or there are two.
    pub(super) is_unclear: bool,
}

/// The parameters of a Via that somebody asks for.
#[derive(Default)]
pub(super) struct Known<'a> {
    branch: Option<&'a [u8]>,
    received: Option<&'a [u8]>,
    rport: Option<Option<u16>>,
    maddr: Option<&'a [u8]>,
    oc: Option<Option<&'a [u8]>>,
    has_unclear_branch: bool,
    /// The first `rport` as written.
    rport_written: Option<(&'a [u8], Option<&'a [u8]>)>,
    /// How many parameters there are that tell where a request came from.
    sources: u8,
}

impl<'a> Known<'a> {
    #[inline]
    fn lone_rport(&self, element: &[u8]) -> Option<Range<usize>> {
        let (name, value) = self.rport_written.filter(|_| self.sources == 1)?;
        let offset =
            |piece: &[u8]| (piece.as_ptr() as usize).wrapping_sub(element.as_ptr() as usize);
        let last = value.unwrap_or(name);
        let span = offset(name).wrapping_sub(1)..offset(last).wrapping_add(last.len());
        (element.get(span.clone())?.first() == Some(&b';')).then_some(span)
    }

    /// The next parameter in order; of two with the same name the first counts.
    #[inline(always)]
    pub(super) fn take(&mut self, name: &'a [u8], written: Option<&'a [u8]>) {
        let value = written.unwrap_or_default();
        match name.len() {
            6 if is_same(name, b"branch") => {
                self.has_unclear_branch |= self.branch.is_some() || value.is_empty();
                self.branch.get_or_insert(value);
            }
            5 if is_same(name, b"rport") => {
                self.rport.get_or_insert_with(|| written.and_then(port));
                self.rport_written.get_or_insert((name, written));
                self.sources = self.sources.saturating_add(1);
            }
            8 if is_same(name, b"received") => {
                self.received.get_or_insert(value);
                self.sources = self.sources.saturating_add(1);
            }
            5 if is_same(name, b"maddr") => {
                self.maddr.get_or_insert(value);
            }
            2 if is_same(name, b"oc") => {
                self.oc.get_or_insert(written);
            }
            _ => {}
        }
    }
}

/// A [`Via`] as places in its message.
#[derive(Clone, Copy, Debug)]
pub(super) struct ViaPlaces {
    transport: Place,
    host: Place,
    branch: Place,
    received: Option<Place>,
    maddr: Option<Place>,
    oc: Option<Option<Place>>,
    bytes: Place,
    port: Option<u16>,
    rport: Option<Option<u16>>,
    params_at: u16,
    lone_rport: Option<Place>,
    has_unclear_branch: bool,
}

impl ViaPlaces {
    /// The whole element's place.
    #[inline]
    pub(super) fn span(&self) -> Range<usize> {
        self.bytes.span()
    }

    /// Its branch alone: less to ask for than all parts.
    #[inline]
    pub(super) fn branch<'a>(&self, message: &'a [u8]) -> Branch<'a> {
        Branch {
            bytes: self.branch.within(message),
            is_unclear: self.has_unclear_branch,
        }
    }
}

impl<'a> Field<'a> for Via<'a> {
    type Places = ViaPlaces;

    fn places(&self, message: &'a [u8]) -> ViaPlaces {
        let place = |piece| Place::of(piece, message);
        ViaPlaces {
            transport: place(self.transport),
            host: place(self.host),
            branch: place(self.branch),
            received: self.received.map(place),
            maddr: self.maddr.map(place),
            oc: self.oc.map(|value| value.map(place)),
            bytes: place(self.bytes),
            port: self.port,
            rport: self.rport,
            params_at: self.params_at as u16,
            lone_rport: self.lone_rport.clone().map(Place::at),
            has_unclear_branch: self.has_unclear_branch,
        }
    }

    fn at(places: &ViaPlaces, message: &'a [u8]) -> Self {
        Self {
            transport: places.transport.within(message),
            host: places.host.within(message),
            port: places.port,
            branch: places.branch.within(message),
            received: places.received.map(|place| place.within(message)),
            rport: places.rport,
            maddr: places.maddr.map(|place| place.within(message)),
            oc: places
                .oc
                .map(|value| value.map(|place| place.within(message))),
            bytes: places.bytes.within(message),
            span: places.span(),
            params_at: places.params_at.into(),
            lone_rport: places.lone_rport.map(Place::span),
            has_unclear_branch: places.has_unclear_branch,
        }
    }
}

fn unbracketed(text: &[u8]) -> &[u8] {
    let inner = text
        .strip_prefix(b"[")
        .and_then(|text| text.strip_suffix(b"]"));
    inner.unwrap_or(text)
}

/// Where the transport begins, after `SIP / 2.0 /`.
fn transport_offset(bytes: &[u8]) -> Option<usize> {
    const USUAL: &[u8] = b"SIP/2.0/";
    if bytes.starts_with(USUAL) {
        return Some(skip_space(bytes, USUAL.len()));
    }
    let first = find(b'/', bytes)?;
    let second = first + 1 + find(b'/', tail(bytes, first + 1))?;
    let named = !trimmed(part(bytes, 0..first)).is_empty();
    let versioned = !trimmed(part(bytes, first + 1..second)).is_empty();
    (named && versioned).then(|| skip_space(bytes, second + 1))
}

/// `host`, `host : port` or `[v6]:port`; a port of 0 reaches nobody.
fn sent_by_parts(text: &[u8]) -> Result<(&[u8], Option<u16>), Fault> {
    uri::host_port(text)
        .filter(|(_, port)| *port != Some(0))
        .ok_or(Fault::MalformedVia)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Via<'_> {
        Via::parse(text.as_bytes(), 5).unwrap()
    }

    #[test]
    fn the_usual_via_is_read() {
        let via = parsed("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport;received=192.0.2.9");
        assert_eq!((via.transport, via.host), (&b"UDP"[..], &b"192.0.2.1"[..]));
        assert_eq!((via.port, via.branch), (Some(5060), &b"z9hG4bK1"[..]));
        assert_eq!(
            (via.rport, via.received),
            (Some(None), Some(&b"192.0.2.9"[..]))
        );
        assert_eq!(via.span, 5..5 + via.bytes.len());
        assert!(via.has_rfc3261_branch());
    }

    #[test]
    fn white_space_and_folding_are_tolerated() {
        let via = parsed(
            "SIP  /   2.0\r\n /TCP     spindle.example.com  : 99  ;\r\n  \
            Branch  =   z9hG4bK9 ; rport = 7",
        );
        assert_eq!(
            (via.transport, via.host),
            (&b"TCP"[..], &b"spindle.example.com"[..])
        );
        assert_eq!(
            (via.port, via.branch, via.rport),
            (Some(99), &b"z9hG4bK9"[..], Some(Some(7)))
        );
    }

    #[test]
    fn ipv6_references_lose_their_brackets() {
        let via = parsed("SIP/2.0/UDP [2001:db8::9]:5061;received=[2001:db8::9:255];branch=x");
        assert_eq!((via.host, via.port), (&b"2001:db8::9"[..], Some(5061)));
        assert_eq!(via.received_ip(), Some("2001:db8::9:255".parse().unwrap()));
        assert!(!via.has_rfc3261_branch());
    }

    #[test]
    fn responses_go_where_the_request_came_from() {
        let target = |text: &str| parsed(text).response_address().map(|to| to.to_string());
        let address = |text: &str| Some(text.to_owned());
        let received = "SIP/2.0/UDP h:5070;received=[2001:db8::1]";
        assert_eq!(target("SIP/2.0/UDP 192.0.2.1"), address("192.0.2.1:5060"));
        assert_eq!(
            target("SIP/2.0/UDP 192.0.2.1:7;rport"),
            address("192.0.2.1:7")
        );
        assert_eq!(target(received), address("[2001:db8::1]:5070"));
        assert_eq!(
            target(&format!("{received};rport=9")),
            address("[2001:db8::1]:9")
        );
        let maddr = format!("{received};maddr=224.2.0.1;rport=9");
        assert_eq!(target(&maddr), address("224.2.0.1:5070"));
        assert_eq!(target("SIP/2.0/UDP example.com:7"), None);
    }

    #[test]
    fn the_first_of_two_params_counts() {
        let via = parsed("SIP/2.0/UDP h;branch=a;branch=b;rport=1;rport=2");
        assert_eq!((via.branch, via.rport), (&b"a"[..], Some(Some(1))));
    }

    #[test]
    fn what_names_no_sender_is_refused() {
        for text in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ;branch=x",
            "SIP/2.0 h",
            "SIP//UDP h",
            "x",
            ";",
            "SIP/2.0/ h",
            "SIP/2.0/UDP h:0",
            "SIP/2.0/UDP h:70000",
            "SIP/2.0/UDP [::1;branch=x",
            "SIP/2.0/UDP a b",
        ] {
            assert_eq!(
                Via::parse(text.as_bytes(), 0),
                Err(Fault::MalformedVia),
                "{text:?}"
            );
        }
    }
}
