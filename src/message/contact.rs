//! The Contacts of a message (RFC 3261 §20.10), as a registrar and a redirecting server need them.

use super::address::NameAddr;
use super::fault::Fault;
use super::lexeme::number;
use super::limits;
use super::name::Name;
use super::uri::has_illegal_byte;
use super::view::Message;

/// How long a binding lives whose expiry cannot be read (RFC 3261 §10.2.1.1).
pub const DEFAULT_EXPIRES_S: u32 = 3_600;

/// What the Contact headers of a message say.
#[derive(Clone, Copy, Debug)]
pub enum Contacts<'a> {
    /// None at all: a REGISTER asks for the bindings.
    None,
    /// `*` alone: a REGISTER with `Expires: 0` takes all bindings away (RFC 3261 §10.2.2).
    Star,
    /// One or more addresses, all of which can be read: [`Contacts::iter`] gives them.
    Addresses(Message<'a>),
}

/// One Contact and what it says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact<'a> {
    /// The address. Parameters after a URI without brackets are the header's (RFC 3261 §20.10).
    pub address: NameAddr<'a>,
    /// The preference in thousandths, 0 to 1000; 1000 where none is given or it cannot be read.
    pub q_thousandths: u16,
    /// The lifetime that this Contact asks for. One that cannot be read is `DEFAULT_EXPIRES_S`.
    pub expires_s: Option<u32>,
}

impl<'a> Contacts<'a> {
    /// Reads all Contacts of a message; all or nothing, so that no half of a registration is kept.
    /// Blanks within a URI, and `?` or `,` in one without brackets, make it no address: what they
    /// belong to would be a guess.
    pub fn read(message: &Message<'a>) -> Result<Self, Fault> {
        let (mut star, mut count) = (false, 0);
        for value in message.values(Name::Contact) {
            count += 1;
            if count > limits::CONTACTS {
                return Err(Fault::TooManyContacts);
            }
            if value.bytes == b"*" {
                star = true;
            } else {
                Contact::parse(value.bytes)?;
            }
        }
        match (count, star) {
            (0, _) if message.count(Name::Contact) > 0 => Err(Fault::MalformedContact),
            (0, _) => Ok(Self::None),
            (1, true) => Ok(Self::Star),
            (_, true) => Err(Fault::StarWithOthers),
            (_, false) => Ok(Self::Addresses(*message)),
        }
    }

    /// The addresses in order; nothing for none and for `*`.
    pub fn iter(&self) -> impl Iterator<Item = Contact<'a>> + use<'a> {
        let message = match self {
            Self::Addresses(message) => Some(*message),
            Self::None | Self::Star => None,
        };
        let values = message.into_iter().flat_map(|m| m.values(Name::Contact));
        values.filter_map(|value| Contact::parse(value.bytes).ok())
    }
}

impl<'a> Contact<'a> {
    /// Reads one Contact that is not `*`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let address = NameAddr::parse(bytes).map_err(|_| Fault::MalformedContact)?;
        let is_sound = address.is_strict() && !has_illegal_byte(address.uri);
        if !is_sound || address.parsed_uri().is_err() {
            return Err(Fault::MalformedContact);
        }
        let expires = address.param(b"expires");
        Ok(Self {
            address,
            q_thousandths: address.param(b"q").flatten().map_or(1_000, thousandths),
            expires_s: expires.map(|value| seconds(value.unwrap_or_default())),
        })
    }
}

impl<'a> Message<'a> {
    /// The Expires header in seconds; one that cannot be read or is beyond 2^32-1 is
    /// `DEFAULT_EXPIRES_S` (RFC 3261 §10.2.1.1).
    pub fn expires_s(&self) -> Option<u32> {
        self.header(Name::Expires)
            .map(|header| seconds(header.value))
    }
}

fn seconds(value: &[u8]) -> u32 {
    let number = number(value).and_then(|number| u32::try_from(number).ok());
    number.unwrap_or(DEFAULT_EXPIRES_S)
}

/// `0`, `1`, `0.5`, `0.333`, `1.0`: at most three digits after the point (RFC 3261 §25.1).
fn thousandths(value: &[u8]) -> u16 {
    let (whole, rest) = match value.iter().position(|byte| *byte == b'.') {
        Some(at) => value.split_at(at),
        None => (value, &b""[..]),
    };
    let digits = rest.get(1..).unwrap_or_default();
    let scale = match digits.len() {
        0 => 0,
        1 => 100,
        2 => 10,
        3 => 1,
        _ => return 1_000,
    };
    let fraction = if digits.is_empty() {
        Some(0)
    } else {
        number(digits)
    };
    let sum = number(whole).zip(fraction).and_then(|(whole, fraction)| {
        let sum = whole.checked_mul(1_000)?.checked_add(fraction * scale)?;
        u16::try_from(sum).ok()
    });
    sum.filter(|sum| *sum <= 1_000).unwrap_or(1_000)
}
