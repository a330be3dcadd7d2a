//! The contacts of a REGISTER (RFC 3261 §10.2.1, §20.10).

use smallvec::SmallVec;

use super::binding::instance_of;
use super::refusal::Refusal;
use crate::message::{self, Fault, Message};

/// What a REGISTER says about contacts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, on the stack, while its REGISTER is handled"
)]
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
        let read = message::Contacts::read(message).map_err(|fault| match fault {
            Fault::StarWithOthers => Refusal::MisusedWildcard,
            Fault::TooManyContacts => Refusal::TooManyBindings,
            _ => Refusal::MalformedContact,
        })?;
        match read {
            message::Contacts::None => Ok(Self::Query),
            message::Contacts::Star if message.expires_s() == Some(0) => Ok(Self::Everything),
            message::Contacts::Star => Err(Refusal::MisusedWildcard),
            message::Contacts::Addresses(_) => Ok(Self::List(
                read.iter().map(|read| Contact::of(&read)).collect(),
            )),
        }
    }
}

impl<'a> Contact<'a> {
    fn of(read: &message::Contact<'a>) -> Self {
        let mut contact = Self {
            uri: read.address.uri,
            params: SmallVec::new(),
            expires_s: read.expires_s,
            q_thousandths: read.q_thousandths,
            reg_id: 0,
        };
        for param in read.address.params() {
            let left_out = [
                &b"expires"[..],
                b"pub-gruu",
                b"temp-gruu",
                b"temp-gruu-cookie",
            ];
            if left_out.iter().any(|name| param.is(name)) {
                continue;
            }
            if param.is(b"reg-id") {
                contact.reg_id = param.value.and_then(number).unwrap_or(0);
            }
            contact.push(param.name, param.value);
        }
        if contact.instance().is_empty() {
            contact.reg_id = 0;
        }
        contact
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

fn number(text: &[u8]) -> Option<u32> {
    str::from_utf8(text).ok()?.parse().ok()
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
    fn a_malformed_interval_counts_as_an_hour() {
        for (text, expires_s) in [
            ("x", 3_600),
            ("", 3_600),
            ("-1", 3_600),
            ("0", 0),
            ("9999999999", 3_600),
        ] {
            one(&format!("<sip:a@h>;expires={text}"), |contact| {
                assert_eq!(contact.expires_s, Some(expires_s), "{text:?}");
            });
        }
    }

    #[test]
    fn what_cannot_be_a_contact_is_refused() {
        for line in [
            "sip:a@h?Route=%3Csip:b%3E",
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
