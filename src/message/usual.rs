//! The forms that nearly all URIs, addresses and Vias have, each read in one pass over the few bytes
//! in it that are neither letters nor digits. Others get `None`, which says nothing about them: they
//! are read with more care, and so are these in the tests, with the same result.

use super::address::NameAddr;
use super::lexeme::{is_same, part, port, skip_space, tail};
use super::scan::{self, MARKED};
use super::uri::{Scheme, Uri, ends_host};
use super::via::{self, Via};

/// `sip:user@host:port;params`, without user, port or parameters too; nothing else around it.
/// No byte of it is one that no URI has.
#[inline]
pub(super) fn uri(bytes: &[u8]) -> Option<Uri<'_>> {
    begins(bytes, SIP)?;
    let mut separators = Separators::new(bytes, SIP.len());
    sip(&mut separators, SIP.len(), None).map(|(uri, _)| uri)
}

/// `"Display" <sip:user@host>;params`, or without a display name. No byte of its URI and tags is one
/// that these never have.
#[inline]
pub(super) fn address(bytes: &[u8]) -> Option<(NameAddr<'_>, Uri<'_>)> {
    let (display, open) = display(bytes)?;
    begins(tail(bytes, open), b"<sip:")?;
    let user_at = open + 1 + SIP.len();
    let mut separators = Separators::new(bytes, user_at);
    let (uri, close) = sip(&mut separators, user_at, Some(b'>'))?;
    let (mut tag, mut tags) = (None, 0_u8);
    let params = tail(bytes, close + 1);
    if !params.is_empty() {
        separators.expect(close + 1, b';')?;
        each_param(&mut separators, close + 1, |name, value| {
            if is_same(name, b"tag") {
                if tags == 0 {
                    tag = value.filter(|tag| !tag.is_empty());
                }
                tags = tags.saturating_add(1);
            }
        })?;
    }
    let written = bytes.get(open + 1..close)?;
    Some((NameAddr::usual(display, written, params, (tag, tags)), uri))
}

/// `SIP/2.0/UDP host:port;params`, with one blank, whatever the transport.
#[inline]
pub(super) fn via(bytes: &[u8], offset: usize) -> Option<Via<'_>> {
    const BEFORE: &[u8; 8] = b"SIP/2.0/";
    begins(bytes, BEFORE)?;
    let mut separators = Separators::new(bytes, BEFORE.len());
    let (transport_end, b' ') = separators.next()? else {
        return None;
    };
    let sent_by = host_port(&mut separators, transport_end + 1)?;
    if transport_end == BEFORE.len() || sent_by.port == Some(0) {
        return None;
    }
    let mut params = via::Known::default();
    match sent_by.next {
        Some(b';') => each_param(&mut separators, sent_by.end, |name, value| {
            params.take(name, value);
        })?,
        Some(_) => return None,
        None => {}
    }
    let transport = bytes.get(BEFORE.len()..transport_end)?;
    let sender = (transport, sent_by.host, sent_by.port);
    Some(Via::of(bytes, offset, sender, sent_by.end, params))
}

const SIP: &[u8; 4] = b"sip:";

/// As many bytes as are known beforehand are compared without a call.
#[inline]
fn begins<const N: usize>(bytes: &[u8], with: &[u8; N]) -> Option<()> {
    (bytes.first_chunk()? == with).then_some(())
}

/// The name without its quotes, and where the bracket after it stands.
#[inline]
fn display(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let [b'"', named @ ..] = bytes else {
        return Some((b"", 0));
    };
    let length = scan::find2(b'"', b'\\', named)?;
    let is_closed = named.get(length) == Some(&b'"');
    is_closed.then(|| (part(named, 0..length), skip_space(bytes, length + 2)))
}

/// From the user, which begins at `user_at`, up to `end`, or to the end of all bytes; and where that is.
#[inline(always)]
fn sip<'a>(
    separators: &mut Separators<'a>,
    user_at: usize,
    end: Option<u8>,
) -> Option<(Uri<'a>, usize)> {
    let bytes = separators.bytes;
    let beginning = *separators;
    let mut password = None;
    let user_end = loop {
        match separators.next_or_end() {
            (at, Some(b'@')) => break Some(at),
            (at, Some(b':')) => password = password.or(Some(at)),
            (_, next) if next == end => break None,
            (_, Some(byte)) if is_usual(byte) => {}
            _ => return None,
        }
    };
    let (user, host_at) = match user_end {
        Some(at) => (user_at..password.unwrap_or(at), at + 1),
        None => {
            *separators = beginning;
            (0..0, user_at)
        }
    };
    let sent_by = host_port(separators, host_at)?;
    let mut close = sent_by.end;
    let mut next = sent_by.next;
    if next == Some(b';') {
        next = loop {
            match separators.next_or_end() {
                (at, next) if next == end => {
                    close = at;
                    break end;
                }
                (_, Some(byte)) if byte != b'?' && is_usual(byte) => {}
                _ => return None,
            }
        };
    }
    let uri = Uri {
        scheme: Scheme::Sip,
        user: bytes.get(user)?,
        host: sent_by.host,
        port: sent_by.port,
        host_port: bytes.get(host_at..sent_by.end)?,
        params: bytes.get(sent_by.end..close)?,
        headers: b"",
        has_question: false,
    };
    (next == end).then_some((uri, close))
}

/// A host, its port where it has one, and what comes after them.
struct HostPort<'a> {
    host: &'a [u8],
    port: Option<u16>,
    end: usize,
    next: Option<u8>,
}

#[inline(always)]
fn host_port<'a>(separators: &mut Separators<'a>, at: usize) -> Option<HostPort<'a>> {
    let bytes = separators.bytes;
    let (mut end, mut next) = separators.next_or_end();
    let host = bytes.get(at..end)?;
    let mut number = None;
    if next == Some(b':') {
        let digits_at = end + 1;
        (end, next) = separators.next_or_end();
        number = Some(port(bytes.get(digits_at..end)?)?);
    }
    (!host.is_empty()).then_some(HostPort {
        host,
        port: number,
        end,
        next,
    })
}

/// Calls `found` for each parameter from the one on whose semicolon stands at `semicolon` and was the
/// last separator. Their names are words; a value may be quoted.
#[inline(always)]
fn each_param<'a>(
    separators: &mut Separators<'a>,
    mut semicolon: usize,
    mut found: impl FnMut(&'a [u8], Option<&'a [u8]>),
) -> Option<()> {
    let bytes = separators.bytes;
    loop {
        let (mut end, mut next) = separators.next_or_end();
        let name = bytes.get(semicolon + 1..end)?;
        let mut value = None;
        if next == Some(b'=') {
            let value_at = end + 1;
            (end, next) = separators.next_or_end();
            if next == Some(b'"') && end == value_at {
                separators.close_quote()?;
                (end, next) = separators.next_or_end();
            }
            while let Some(byte) = next.filter(|byte| *byte != b';') {
                if byte == b',' || !is_usual(byte) {
                    return None;
                }
                (end, next) = separators.next_or_end();
            }
            value = Some(bytes.get(value_at..end)?);
        }
        if semicolon + 1 != end {
            found(name, value);
        }
        match next {
            Some(b';') => semicolon = end,
            Some(_) => return None,
            None => return Some(()),
        }
    }
}

/// Whether the byte is none that needs more care.
#[inline]
fn is_usual(byte: u8) -> bool {
    (b'!'..0x7f).contains(&byte) && !matches!(byte, b'"' | b'<' | b'>' | b'\\')
}

/// The bytes that are neither letters nor digits nor `.`, `-` or `_`, one after the other.
#[derive(Clone, Copy)]
struct Separators<'a> {
    bytes: &'a [u8],
    /// Those of the block from `base` on that were not given yet, a bit for each.
    marks: u64,
    base: usize,
}

impl<'a> Separators<'a> {
    #[inline]
    fn new(bytes: &'a [u8], from: usize) -> Self {
        Self {
            bytes,
            marks: Self::read_block(bytes, from),
            base: from,
        }
    }

    #[inline(never)]
    fn read_block(bytes: &[u8], base: usize) -> u64 {
        let rest = tail(bytes, base);
        let block = part(rest, 0..rest.len().min(MARKED));
        let [marks] = scan::marks(block, |block| [ends_host(block)]);
        marks
    }

    #[inline(always)]
    fn next(&mut self) -> Option<(usize, u8)> {
        while self.marks == 0 {
            if self.bytes.len() <= self.base + MARKED {
                return None;
            }
            self.base += MARKED;
            self.marks = Self::read_block(self.bytes, self.base);
        }
        let at = self.base + self.marks.trailing_zeros() as usize;
        self.marks &= self.marks - 1;
        Some((at, *self.bytes.get(at)?))
    }

    /// The next one, or where all bytes end.
    #[inline(always)]
    fn next_or_end(&mut self) -> (usize, Option<u8>) {
        match self.next() {
            Some((at, byte)) => (at, Some(byte)),
            None => (self.bytes.len(), None),
        }
    }

    /// The next one is this one and stands there.
    #[inline]
    fn expect(&mut self, at: usize, byte: u8) -> Option<()> {
        (self.next()? == (at, byte)).then_some(())
    }

    /// Passes over what is quoted, which may hold separators but nothing that needs more care.
    #[inline]
    fn close_quote(&mut self) -> Option<()> {
        loop {
            match self.next()? {
                (_, b'"') => return Some(()),
                (_, byte) if !is_usual(byte) => return None,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::uri::has_illegal_byte;
    use proptest::prelude::*;

    /// Text of pieces that matter to one of the readings, most often in an order that makes sense.
    fn text() -> impl Strategy<Value = String> {
        let long = "y".repeat(40);
        let whole = [
            "",
            "<sip:a@h>",
            "<sip:192.0.2.1:5060;pm=0123456789abcdef;lr>",
            "\"A <, B\" <sip:+49;x=1:pw@h.example.com:5060;lr>;tag=1",
            "sip:3000@192.0.2.1:5060;transport=udp;lr",
            "SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK1;received=192.0.2.9",
            "SIP/2.0/TLS-SCTP h;branch=z9hG4bK1;oc;oc-algo=\"loss,rate\";maddr=m",
        ];
        let piece = prop::sample::select(vec![
            "a",
            "sip:",
            "SIP/2.0/",
            "UDP",
            " ",
            "@",
            ":",
            "5060",
            "0",
            "70000",
            ";",
            "=",
            ",",
            "\"",
            "\\",
            "<",
            ">",
            "?",
            "[::1]",
            "h.x",
            ";tag=",
            ";TAG",
            ";branch=",
            ";rport",
            ";received=",
            ";maddr=",
            ";oc=",
            "+",
            "%41",
            "\u{e4}",
            "\t",
            "\0",
            "/",
            "\u{7f}",
        ]);
        let piece = prop_oneof![20 => piece.prop_map(str::to_owned), 1 => Just(long)];
        let added = prop::collection::vec((0.0..1.0, piece), 0..6);
        (prop::sample::select(whole.to_vec()), added).prop_map(|(whole, added)| {
            let mut text = whole.to_owned();
            for (place, piece) in added {
                let mut at = (place * text.len() as f64) as usize;
                while !text.is_char_boundary(at) {
                    at += 1;
                }
                text.insert_str(at, &piece);
            }
            text.trim_matches([' ', '\t']).to_owned()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn what_is_read_here_is_what_care_reads(text in text()) {
            let bytes = text.as_bytes();
            if let Some(uri) = uri(bytes) {
                prop_assert_eq!(Uri::parse_any(bytes), Ok(uri));
                prop_assert!(!has_illegal_byte(bytes));
            }
            if let Some((mut address, uri)) = address(bytes) {
                prop_assert_eq!(Uri::parse_any(address.uri), Ok(uri));
                let tag = address.tag.unwrap_or_default();
                prop_assert!(!has_illegal_byte(address.uri) && !has_illegal_byte(tag));
                prop_assert!(tag.is_ascii() && address.sound);
                address.sound = false;
                prop_assert_eq!(NameAddr::parse_any(bytes), Ok(address));
            }
            if let Some(via) = via(bytes, 7) {
                prop_assert_eq!(Via::parse_any(bytes, 7), Ok(via));
                prop_assert_eq!(super::super::lexeme::Elements::new(bytes).count(), 1);
            }
        }
    }

    #[test]
    fn what_phones_write_is_usual() {
        let host = "pbx.a-long-name-for-a-host.example.com";
        for params in ["", ";lr", ";transport=tcp;ob"] {
            for at in ["192.0.2.1", "192.0.2.1:5060", host] {
                for user in [
                    "",
                    "3000@",
                    "+49301234@",
                    "alice.b_c-d@",
                    "%23*@",
                    "a;x=y:pw@",
                ] {
                    let text = format!("sip:{user}{at}{params}");
                    assert!(uri(text.as_bytes()).is_some(), "{text}");
                    for name in ["", "\"Alice\" ", "\"A; <b>\""] {
                        for tag in ["", ";tag=1", ";x;tag=a+b~;y=\"a;b\""] {
                            let text = format!("{name}<{text}>{tag}");
                            assert!(address(text.as_bytes()).is_some(), "{text}");
                        }
                    }
                }
                let text = format!(
                    "SIP/2.0/UDP {at};rport=7;branch=z9hG4bK-1.a;received=::1;oc;oc-algo=\"loss\""
                );
                assert!(via(text.as_bytes(), 0).is_some(), "{text}");
            }
        }
    }
}
