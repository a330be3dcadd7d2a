//! The contacts of a REGISTER (RFC 3261 §10.2.1, §20.10).

use smallvec::SmallVec;

use super::binding::instance_of;
use super::refusal::Refusal;
use crate::message::{Message, Name, NameAddr, Uri, Value};

/// What a malformed interval stands for (RFC 3261 §20.10).
const MALFORMED_EXPIRES_S: u32 = 3_600;

/// What a REGISTER says about contacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contacts<'a> {
    /// Nothing: it asks what is bound.
    Query,
    /// `*`: every binding is to go.
    Everything,
    /// These are to be bound, refreshed or removed.
    List(SmallVec<[Contact<'a>; 2]>),
}

/// One contact of a REGISTER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact<'a> {
    /// The URI as written.
    pub uri: &'a [u8],
    /// The parameters to keep, as written: all but the interval and what a registrar makes.
    pub params: SmallVec<[u8; 96]>,
    /// The interval asked for; `None` leaves it to the Expires header or the default.
    pub expires_s: Option<u32>,
    /// The preference in thousandths.
    pub q_thousandths: u16,
    /// Which flow of its instance it is; 0 without one, or without an instance (RFC 5626 §6).
    pub reg_id: u32,
}

impl<'a> Contacts<'a> {
    /// Reads all Contact headers.
    ///
    /// # Errors
    /// A contact that is malformed, or `*` where it may not stand.
    pub fn read(message: &Message<'a>) -> Result<Self, Refusal> {
        let mut list = SmallVec::new();
        let mut stars = 0_usize;
        for value in message.values(Name::Contact) {
            match value.bytes {
                b"*" => stars = stars.saturating_add(1),
                _ => list.push(Contact::read(&value)?),
            }
        }
        match (stars, list.is_empty()) {
            (0, true) if message.header(Name::Contact).is_some() => Err(Refusal::MalformedContact),
            (0, true) => Ok(Self::Query),
            (0, false) => Ok(Self::List(list)),
            (1, true) if expires_header(message) == Some(0) => Ok(Self::Everything),
            _ => Err(Refusal::MisusedWildcard),
        }
    }
}

impl<'a> Contact<'a> {
    fn read(value: &Value<'a>) -> Result<Self, Refusal> {
        let malformed = |_| Refusal::MalformedContact;
        let address = NameAddr::parse(value.bytes).map_err(malformed)?;
        Uri::parse(address.uri).map_err(malformed)?;
        let illegal = |byte: &u8| matches!(byte, 0..=b' ' | b'<' | b'>' | b'"' | 0x7f);
        let is_ambiguous = !is_bracketed(value.bytes, address.uri) && address.uri.contains(&b'?');
        if is_ambiguous || address.uri.iter().any(illegal) {
            return Err(Refusal::MalformedContact);
        }
        let mut contact = Self {
            uri: address.uri,
            params: SmallVec::new(),
            expires_s: None,
            q_thousandths: 1_000,
            reg_id: 0,
        };
        for param in address.params() {
            let text = param.value.unwrap_or_default();
            if param.is(b"expires") {
                contact.expires_s = Some(interval(text));
                continue;
            }
            let is_ours = [&b"pub-gruu"[..], b"temp-gruu", b"temp-gruu-cookie"];
            if is_ours.iter().any(|name| param.is(name)) {
                continue;
            }
            if param.is(b"q") {
                contact.q_thousandths = preference(text).ok_or(Refusal::MalformedContact)?;
            } else if param.is(b"reg-id") {
                contact.reg_id = number(text)
                    .and_then(|id| u32::try_from(id).ok())
                    .unwrap_or(0);
            }
            contact.push(param.name, param.value);
        }
        if instance_of(&contact.params).is_empty() {
            contact.reg_id = 0;
        }
        Ok(contact)
    }

    /// Keeps a parameter, unfolded: it will stand in lines of our own.
    fn push(&mut self, name: &[u8], value: Option<&[u8]>) {
        let unfolded = |byte: &u8| match byte {
            b'\r' | b'\n' => b' ',
            byte => *byte,
        };
        self.params.push(b';');
        self.params.extend(name.iter().map(unfolded));
        if let Some(value) = value {
            self.params.push(b'=');
            self.params.extend(value.iter().map(unfolded));
        }
    }

    /// The instance of the phone; empty without one.
    pub fn instance(&self) -> &[u8] {
        instance_of(&self.params)
    }
}

/// The interval of the Expires header.
pub(super) fn expires_header(message: &Message<'_>) -> Option<u32> {
    message
        .header(Name::Expires)
        .map(|header| interval(header.value))
}

/// Without brackets a question mark could be the URI's or not: such an address must have them
/// (RFC 3261 §20.10).
fn is_bracketed(value: &[u8], uri: &[u8]) -> bool {
    let start = (uri.as_ptr() as usize).saturating_sub(value.as_ptr() as usize);
    let before = value.get(..start).unwrap_or_default();
    before.trim_ascii_end().ends_with(b"<")
}

fn interval(text: &[u8]) -> u32 {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return MALFORMED_EXPIRES_S;
    }
    number(text).map_or(u32::MAX, |seconds| {
        u32::try_from(seconds).unwrap_or(u32::MAX)
    })
}

fn number(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    is_number
        .then(|| str::from_utf8(text).ok()?.parse().ok())
        .flatten()
}

/// A qvalue (RFC 3261 §25.1) in thousandths.
fn preference(text: &[u8]) -> Option<u16> {
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let (whole, fraction) = (parts.next()?, parts.next().unwrap_or_default());
    if fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let padded = fraction.iter().copied().chain([b'0'; 3]).take(3);
    let thousandths = padded.fold(0_u16, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(u16::from(digit.saturating_sub(b'0')))
    });
    match (whole, thousandths) {
        (b"0", thousandths) => Some(thousandths),
        (b"", thousandths) if !fraction.is_empty() => Some(thousandths),
        (b"1", 0) => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Index;

    fn read<T>(lines: &str, check: impl FnOnce(Result<Contacts<'_>, Refusal>) -> T) -> T {
        let text = format!("REGISTER sip:h SIP/2.0\r\n{lines}\r\n");
        check(Contacts::read(
            &Index::new().parse(text.as_bytes()).unwrap(),
        ))
    }

    fn one(line: &str, check: impl FnOnce(&Contact<'_>)) {
        read(&format!("Contact: {line}\r\n"), |contacts| match contacts {
            Ok(Contacts::List(list)) if list.len() == 1 => check(&list[0]),
            other => panic!("{other:?}"),
        });
    }

    #[test]
    fn a_contact_is_read_in_every_form() {
        one("<sip:a@h;x=1>;q=0.5;expires=60;Foo", |contact| {
            assert_eq!(contact.uri, b"sip:a@h;x=1");
            assert_eq!(contact.params.as_slice(), b";q=0.5;Foo");
            assert_eq!((contact.q_thousandths, contact.expires_s), (500, Some(60)));
        });
        one("sip:a@h;x=1", |contact| {
            assert_eq!(
                (contact.uri, contact.params.as_slice()),
                (&b"sip:a@h"[..], &b";x=1"[..])
            );
        });
        one("\"A, B\" <sip:a@h>;q=1", |contact| {
            assert_eq!(contact.uri, b"sip:a@h")
        });
        one("<sip:a@h?Route=%3Csip:b%3E>", |contact| {
            assert_eq!(contact.uri, b"sip:a@h?Route=%3Csip:b%3E");
        });
        one(
            "<sip:a@h>;+sip.instance=\"<urn:uuid:1>\";reg-id=2;pub-gruu=\"x\"",
            |contact| {
                assert_eq!(
                    (contact.instance(), contact.reg_id),
                    (&b"<urn:uuid:1>"[..], 2)
                );
                assert!(!contact.params.ends_with(b"x\""));
            },
        );
        one("<sip:a@h>;reg-id=2", |contact| {
            assert_eq!(contact.reg_id, 0)
        });
    }

    #[test]
    fn a_malformed_interval_counts_as_an_hour_and_a_huge_one_as_huge() {
        for (text, expires_s) in [("x", 3_600), ("", 3_600), ("-1", 3_600), ("0", 0)] {
            one(&format!("<sip:a@h>;expires={text}"), |contact| {
                assert_eq!(contact.expires_s, Some(expires_s), "{text:?}");
            });
        }
        one("<sip:a@h>;expires=99999999999999999999999", |contact| {
            assert_eq!(contact.expires_s, Some(u32::MAX));
        });
    }

    #[test]
    fn what_cannot_be_a_contact_is_refused() {
        for line in [
            "sip:a@h?Route=%3Csip:b%3E",
            "<sip:a@h>;q=2",
            "<sip:a@h>;q=0.1234",
            "<sip:a@h>;q=x",
            "<sip:a@h",
            "<sip:>",
            "a@h",
            "\"A <sip:a@h>",
            "",
        ] {
            let found = read(&format!("Contact: {line}\r\n"), |contacts| contacts.err());
            assert_eq!(found, Some(Refusal::MalformedContact), "{line:?}");
        }
    }

    #[test]
    fn the_wildcard_stands_alone_and_with_expires_zero() {
        let everything = read("Contact: *\r\nExpires: 0\r\n", |contacts| {
            contacts == Ok(Contacts::Everything)
        });
        assert!(everything);
        for lines in [
            "Contact: *\r\n",
            "Contact: *\r\nExpires: 60\r\n",
            "Contact: *, <sip:a@h>\r\nExpires: 0\r\n",
            "Contact: *\r\nContact: *\r\nExpires: 0\r\n",
        ] {
            let found = read(lines, |contacts| contacts.err());
            assert_eq!(found, Some(Refusal::MisusedWildcard), "{lines:?}");
        }
        let found = read("Contact: *;expires=0\r\n", |contacts| contacts.err());
        assert_eq!(found, Some(Refusal::MalformedContact));
        assert!(read("", |contacts| contacts == Ok(Contacts::Query)));
    }
}
