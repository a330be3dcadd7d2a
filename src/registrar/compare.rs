//! Whether two contacts are the same URI (RFC 3261 §19.1.4).

use smallvec::SmallVec;

use crate::message::{Param, Params, Scheme, Uri};

/// The characters that an escape keeps apart from themselves: `;` separates, `%3B` does not.
const RESERVED: &[u8] = b";/?:@&=+$,";

/// Parameters without which one URI differs from another that has them, whatever their value.
const TELLING: [&[u8]; 5] = [b"user", b"ttl", b"method", b"maddr", b"transport"];

/// Compares as RFC 3261 §19.1.4 says for sip and sips; other schemes byte by byte.
pub fn is_same_uri(left: &[u8], right: &[u8]) -> bool {
    if left == right {
        return true;
    }
    let (Ok(a), Ok(b)) = (Uri::parse(left), Uri::parse(right)) else {
        return false;
    };
    match (a.scheme, b.scheme) {
        (Scheme::Sip, Scheme::Sip) | (Scheme::Sips, Scheme::Sips) => {
            a.port == b.port
                && is_same_host(&a, &b)
                && canonical(userinfo(left)) == canonical(userinfo(right))
                && has_params_of(&a, &b)
                && has_params_of(&b, &a)
                && sorted(a.headers) == sorted(b.headers)
        }
        (Scheme::Tel, Scheme::Tel) => {
            digits(a.user) == digits(b.user) && has_params_of(&a, &b) && has_params_of(&b, &a)
        }
        _ => false,
    }
}

/// User and password as written.
fn userinfo(uri: &[u8]) -> Option<&[u8]> {
    let start = uri.iter().position(|byte| *byte == b':')?.checked_add(1)?;
    let rest = uri.get(start..)?;
    let at = rest.iter().position(|byte| *byte == b'@')?;
    rest.get(..at)
}

/// The text with its escapes undone, those of reserved characters marked.
fn canonical(text: Option<&[u8]>) -> Option<SmallVec<[u16; 32]>> {
    let text = text?;
    let hex = |at: usize| char::from(*text.get(at)?).to_digit(16);
    let mut out = SmallVec::new();
    let mut at = 0;
    while let Some(byte) = text.get(at).copied() {
        let escaped = (byte == b'%').then(|| Some(hex(at + 1)? * 16 + hex(at + 2)?));
        match escaped.flatten().and_then(|value| u8::try_from(value).ok()) {
            Some(value) => {
                let mark = if RESERVED.contains(&value) { 0x100 } else { 0 };
                out.push(u16::from(value) | mark);
                at += 3;
            }
            None => {
                out.push(u16::from(byte));
                at += 1;
            }
        }
    }
    Some(out)
}

fn folded(text: &[u8]) -> SmallVec<[u16; 32]> {
    let mut text = canonical(Some(text)).unwrap_or_default();
    for unit in &mut text {
        if let Ok(byte) = u8::try_from(*unit) {
            *unit = u16::from(byte.to_ascii_lowercase());
        }
    }
    text
}

fn is_same_host(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    match (a.ip(), b.ip()) {
        (Some(a), Some(b)) => a == b,
        _ => a.is_host(b.host),
    }
}

/// Whether every parameter of `a` that counts is in `b` with the same value.
fn has_params_of(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    Params::new(a.params).all(|param| {
        let name = folded(param.name);
        let other = Params::new(b.params).find(|other| folded(other.name) == name);
        let value = |param: &Param<'_>| param.value.map(folded);
        match other {
            Some(other) => value(&param) == value(&other),
            None => !TELLING.iter().any(|telling| param.is(telling)),
        }
    })
}

/// The headers of a URI: all count, in any order.
fn sorted(headers: &[u8]) -> Vec<SmallVec<[u16; 32]>> {
    let mut all: Vec<_> = headers
        .split(|byte| *byte == b'&')
        .filter(|header| !header.is_empty())
        .map(|header| {
            let name = header
                .split(|byte| *byte == b'=')
                .next()
                .unwrap_or_default();
            let mut canonical_header = folded(name);
            let value = header.get(name.len()..);
            canonical_header.extend(canonical(value).unwrap_or_default());
            canonical_header
        })
        .collect();
    all.sort_unstable();
    all
}

/// A telephone number without its visual separators (RFC 3966 §4).
fn digits(number: &[u8]) -> SmallVec<[u8; 32]> {
    let digits = number.iter().filter(|byte| !b"-.()".contains(byte));
    digits.map(u8::to_ascii_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_same(a: &str, b: &str) -> bool {
        let there = is_same_uri(a.as_bytes(), b.as_bytes());
        assert_eq!(there, is_same_uri(b.as_bytes(), a.as_bytes()), "{a} {b}");
        there
    }

    #[test]
    fn the_equal_uris_of_the_rfc_are_equal() {
        for (a, b) in [
            (
                "sip:%61lice@atlanta.com;transport=TCP",
                "sip:alice@AtlanTa.CoM;Transport=tcp",
            ),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("SIP:a@[2001:db8::1]", "sip:a@[2001:0DB8:0::1]"),
            ("tel:+49-30-1", "tel:+49301"),
        ] {
            assert!(is_same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn the_different_uris_of_the_rfc_are_different() {
        for (a, b) in [
            (
                "SIP:ALICE@AtLanTa.CoM;Transport=udp",
                "sip:alice@AtLanTa.CoM;Transport=UDP",
            ),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            (
                "sip:bob@biloxi.com",
                "sip:bob@biloxi.com:6000;transport=tcp",
            ),
            (
                "sip:carol@chicago.com",
                "sip:carol@chicago.com?Subject=next%20meeting",
            ),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            (
                "sip:carol@chicago.com;security=on",
                "sip:carol@chicago.com;security=off",
            ),
            ("sip:a@b", "sips:a@b"),
            ("sip:a:x@b", "sip:a@b"),
            ("sip:a%3bx@b", "sip:a;x@b"),
            ("sip:a@b;user=phone", "sip:a@b"),
            ("sip:a@b;maddr=c", "sip:a@b"),
            ("sip:b", "sip:@b"),
            ("mailto:a@b", "mailto:A@b"),
        ] {
            assert!(!is_same(a, b), "{a} {b}");
        }
    }
}
