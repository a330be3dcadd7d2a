//! Which call a message belongs to: written into the branch, the Call-ID and the tags, so that
//! whatever comes back finds its call by index, without a map.

use crate::message::MAGIC_COOKIE;

/// How many bytes an identity has on the wire.
pub(super) const IDENT_BYTES: usize = 22;
/// How many bytes a branch of ours has.
const BRANCH_BYTES: usize = MAGIC_COOKIE.len() + IDENT_BYTES + 1;

/// The identity of one call of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ident {
    /// The thread that plays the call.
    pub thread: u8,
    /// Its place in that thread's slab, below 2^24.
    pub slot: u32,
    /// How often the place was used before.
    pub generation: u32,
}

/// An identity as it is written: 6 digits of the run's seed, 2 of the thread, 6 of the slot and 8
/// of the generation.
pub(super) type Written = [u8; IDENT_BYTES];

/// Which transaction of a call a branch names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Letter {
    /// The INVITE, its CANCEL and the ACK of its failure.
    Invite = b'i',
    /// The same of the INVITE with credentials.
    AuthorizedInvite = b'j',
    /// The ACK of a 2xx.
    Ack = b'a',
    /// The BYE.
    Bye = b'b',
    /// The BYE with credentials.
    AuthorizedBye = b'e',
    /// The REGISTER.
    Register = b'r',
    /// The REGISTER with credentials.
    AuthorizedRegister = b's',
    /// The SUBSCRIBE that begins a subscription.
    Subscribe = b'u',
    /// The same with credentials.
    AuthorizedSubscribe = b'v',
    /// The SUBSCRIBE that ends it.
    Unsubscribe = b'w',
    /// The same with credentials.
    AuthorizedUnsubscribe = b'x',
    /// The ACK of a 2xx whose dialog is not the call's.
    OtherAck = b'c',
    /// The BYE of such a dialog.
    OtherBye = b'd',
    /// The SUBSCRIBE that ends a subscription that was given up.
    OtherUnsubscribe = b'y',
}

impl Ident {
    /// The identity as text, the same for the whole call.
    pub(super) fn write(self, seed: u32) -> Written {
        let mut text = [0; IDENT_BYTES];
        let high = u64::from(seed & 0xff_ffff) << 8 | u64::from(self.thread);
        let low = u64::from(self.slot & 0xff_ffff) << 32 | u64::from(self.generation);
        let (head, tail) = text.split_at_mut(8);
        write_hex(high, head);
        write_hex(low, tail);
        text
    }

    /// The identity that a text begins with, where it is of this run.
    pub(super) fn read(text: &[u8], seed: u32) -> Option<Self> {
        let (head, tail) = text.get(..IDENT_BYTES)?.split_at_checked(8)?;
        let (high, low) = (read_hex(head)?, read_hex(tail)?);
        (high >> 8 == u64::from(seed & 0xff_ffff)).then_some(Self {
            thread: high as u8,
            slot: (low >> 32) as u32,
            generation: low as u32,
        })
    }
}

/// The branch of one transaction of a call.
pub(super) fn branch(ident: &Written, letter: Letter) -> [u8; BRANCH_BYTES] {
    let mut text = [0; BRANCH_BYTES];
    let parts = [MAGIC_COOKIE, ident, &[letter as u8]];
    for (byte, from) in text.iter_mut().zip(parts.into_iter().flatten()) {
        *byte = *from;
    }
    text
}

/// Whether a branch of ours names this transaction.
pub(super) fn is_letter(branch: &[u8], letter: Letter) -> bool {
    branch.len() == BRANCH_BYTES && branch.last() == Some(&(letter as u8))
}

/// The identity that a branch of ours names.
pub(super) fn of_branch(branch: &[u8], seed: u32) -> Option<Ident> {
    Ident::read(branch.strip_prefix(MAGIC_COOKIE)?, seed)
}

fn write_hex(mut value: u64, text: &mut [u8]) {
    for byte in text.iter_mut().rev() {
        let digit = (value & 15) as u8;
        *byte = digit + if digit < 10 { b'0' } else { b'a' - 10 };
        value >>= 4;
    }
}

fn read_hex(text: &[u8]) -> Option<u64> {
    let mut value = 0;
    for byte in text {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        value = value << 4 | u64::from(digit);
    }
    Some(value)
}

/// Appends a number in decimal digits.
pub(super) fn write_decimal(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut length = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        (value, length) = (value / 10, length + 1);
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - length..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENT: Ident = Ident {
        thread: 3,
        slot: 0x00ab_cdef,
        generation: 0xfedc_0001,
    };

    #[test]
    fn an_identity_is_read_as_it_was_written() {
        let text = IDENT.write(0x123456);
        assert_eq!(&text, b"12345603abcdeffedc0001");
        assert_eq!(Ident::read(&text, 0x123456), Some(IDENT));
        let branch = branch(&text, Letter::Bye);
        assert_eq!(&branch, b"z9hG4bK12345603abcdeffedc0001b");
        assert_eq!(of_branch(&branch, 0x123456), Some(IDENT));
    }

    #[test]
    fn an_identity_of_another_run_or_no_identity_is_none() {
        let text = IDENT.write(0x123456);
        assert_eq!(Ident::read(&text, 0x123457), None);
        assert_eq!(Ident::read(&text[1..], 0x123456), None);
        assert_eq!(Ident::read(b"12345603abcdeffedc000X", 0x123456), None);
        assert_eq!(of_branch(b"12345603abcdeffedc0001", 0x123456), None);
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        let mut out = Vec::new();
        for value in [0, 9, 10, u64::MAX] {
            write_decimal(value, &mut out);
            out.push(b' ');
        }
        assert_eq!(out, b"0 9 10 18446744073709551615 ");
    }
}
