//! Typed fields that are read once for each message: as places in it, so that they outlive no
//! borrow. Check, routing, response, journal and trace all ask for the same few.

use std::cell::Cell;
use std::ops::Range;

use super::address::NameAddr;
use super::fault::Fault;
use super::uri::Uri;
use super::via::Via;
use super::view::CSeq;

/// A piece of a message. All empty pieces are the same.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    start: u16,
    end: u16,
}

impl Place {
    /// The place of a piece of `whole`; offsets fit, as a message has at most 65,535 bytes.
    #[inline]
    pub(super) fn of(piece: &[u8], whole: &[u8]) -> Self {
        if piece.is_empty() {
            return Self::default();
        }
        let start = (piece.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        Self {
            start: start as u16,
            end: start.wrapping_add(piece.len()) as u16,
        }
    }

    /// A place by its offsets, which fit.
    #[inline]
    pub(super) fn at(span: Range<usize>) -> Self {
        Self {
            start: span.start as u16,
            end: span.end as u16,
        }
    }

    /// The piece.
    #[inline]
    pub(super) fn within(self, whole: &[u8]) -> &[u8] {
        whole.get(self.span()).unwrap_or_default()
    }

    /// Where it is.
    #[inline]
    pub(super) fn span(self) -> Range<usize> {
        self.start.into()..self.end.into()
    }
}

/// A typed field that can be kept as places.
pub(super) trait Field<'a>: Sized {
    /// What is kept of it.
    type Places: Copy;

    fn places(&self, message: &'a [u8]) -> Self::Places;
    fn at(places: &Self::Places, message: &'a [u8]) -> Self;
}

/// One field, once it was read.
pub(super) type Slot<P> = Cell<Option<Result<P, Fault>>>;

/// What was read of a message.
#[derive(Clone, Debug, Default)]
pub(super) struct Remembered {
    pub(super) via: Slot<<Via<'static> as Field<'static>>::Places>,
    pub(super) from: Slot<<NameAddr<'static> as Field<'static>>::Places>,
    pub(super) to: Slot<<NameAddr<'static> as Field<'static>>::Places>,
    pub(super) from_uri: Slot<<Uri<'static> as Field<'static>>::Places>,
    pub(super) cseq: Slot<<CSeq<'static> as Field<'static>>::Places>,
    pub(super) uri: Slot<<Uri<'static> as Field<'static>>::Places>,
    /// What the check found.
    pub(super) checked: Cell<Option<Result<(), Fault>>>,
    /// Whether a Via that was read and is meant for others has an `oc`.
    pub(super) names_control: Cell<bool>,
}

impl Remembered {
    /// Another message is read.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.via.set(None);
        self.from.set(None);
        self.to.set(None);
        self.from_uri.set(None);
        self.cseq.set(None);
        self.uri.set(None);
        self.checked.set(None);
        self.names_control.set(false);
    }
}

/// The field, from its slot or as `read` reads it.
#[inline]
pub(super) fn once<'a, T: Field<'a>>(
    slot: &Slot<T::Places>,
    message: &'a [u8],
    read: impl FnOnce() -> Result<T, Fault>,
) -> Result<T, Fault> {
    if let Some(known) = slot.get() {
        return known.map(|places| T::at(&places, message));
    }
    let field = read();
    slot.set(Some(match &field {
        Ok(field) => Ok(field.places(message)),
        Err(fault) => Err(*fault),
    }));
    field
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Index;

    const TEXT: &[u8] = b"INVITE sips:a:p@[2001:db8::1]:5061;lr;x=1?h=1 SIP/2.0\r\n\
        Via: SIP/2.0/UDP [2001:db8::9]:99;maddr=m;rport=7;branch=z9hG4bK1;received=::1, b\r\n\
        From: \"A \\\" B\" <sip:a@b>;tag=1;x=y\r\nTo: sip:b@c;tag\r\nCSeq: 7 \t INVITE\r\n\r\n";

    #[test]
    fn what_is_remembered_is_what_was_read() {
        let mut index = Index::new();
        let message = index.parse(TEXT).unwrap();
        let read = (message.top_via(), message.from_(), message.to());
        assert!(read.0.is_ok() && read.1.is_ok() && read.2.is_ok());
        assert_eq!((message.top_via(), message.from_(), message.to()), read);
        let uri = message.parsed_uri();
        assert_eq!(message.parsed_uri(), uri);
        let cseq = message.cseq();
        assert!(cseq.is_ok() && message.cseq() == cseq);
        assert_eq!(Uri::parse(message.uri()), uri);
        let via = read.0.unwrap();
        assert_eq!(via.params().count(), 4);
        assert_eq!(message.vias().count(), 2);
    }

    #[test]
    fn faults_are_remembered_and_nothing_passes_to_the_next_message() {
        let mut index = Index::new();
        let broken = index
            .parse(b"ACK sip: SIP/2.0\r\nVia: x\r\nFrom: \"\r\nTo:\r\n\r\n")
            .unwrap();
        for _ in 0..2 {
            assert_eq!(broken.top_via(), Err(Fault::MalformedVia));
            assert_eq!(broken.from_(), Err(Fault::MalformedFrom));
            assert_eq!(broken.to(), Err(Fault::MalformedTo));
            assert!(broken.parsed_uri().is_err());
        }
        let whole = index.parse(TEXT).unwrap();
        assert!(whole.top_via().is_ok() && whole.from_().is_ok() && whole.to().is_ok());
        assert!(whole.parsed_uri().is_ok());
    }
}
