//! Our Via branch: it carries where its transaction lies, so a response finds it without a map.

/// The magic cookie of RFC 3261 §8.1.1.7, and two letters of ours.
const PREFIX: &[u8; 9] = b"z9hG4bKpm";
/// Length of the whole branch: prefix, kind, context, leg, check.
const LEN: usize = PREFIX.len() + 1 + 16 + 2 + 8;

/// Which table the context stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BranchKind {
    /// An INVITE's response context.
    Invite,
    /// Any other request with a transaction.
    NonInvite,
    /// A request relayed without one (an ACK for a 2xx): no response is expected.
    Stateless,
    /// A request of our own that asks how a system is doing.
    Probe,
    /// A NOTIFY of our own.
    Notify,
}

/// What our branch parameter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BranchId {
    /// The table.
    pub kind: BranchKind,
    /// Slot and generation in that table.
    pub context: u64,
    /// Which of the context's branches.
    pub leg: u8,
    /// A keyed hash over what routing depends on: tells a loop from a spiral (RFC 3261 §16.6(8),
    /// RFC 5393 §4.2) and makes the branch unguessable.
    pub check: u32,
}

impl BranchId {
    /// Appends the branch's text, always the same length.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(PREFIX);
        out.push(match self.kind {
            BranchKind::Invite => b'i',
            BranchKind::NonInvite => b'n',
            BranchKind::Stateless => b's',
            BranchKind::Probe => b'p',
            BranchKind::Notify => b'w',
        });
        write_hex(out, self.context, 16);
        write_hex(out, u64::from(self.leg), 2);
        write_hex(out, u64::from(self.check), 8);
    }

    /// Reads a branch of ours; `None` for anybody else's.
    pub fn read(text: &[u8]) -> Option<Self> {
        let (kind, digits) = text.strip_prefix(PREFIX)?.split_first()?;
        if text.len() != LEN {
            return None;
        }
        let kind = match kind {
            b'i' => BranchKind::Invite,
            b'n' => BranchKind::NonInvite,
            b's' => BranchKind::Stateless,
            b'p' => BranchKind::Probe,
            b'w' => BranchKind::Notify,
            _ => return None,
        };
        Some(Self {
            kind,
            context: read_hex(digits.get(..16)?)?,
            leg: read_hex(digits.get(16..18)?)? as u8,
            check: read_hex(digits.get(18..26)?)? as u32,
        })
    }
}

/// Appends the lowest `digits` hexadecimal digits of `value`.
pub fn write_hex(out: &mut Vec<u8>, value: u64, digits: u32) {
    let text = hex(value);
    let start = text.len().saturating_sub(digits as usize);
    out.extend_from_slice(text.get(start..).unwrap_or_default());
}

/// The lower-case hexadecimal digits of a number, all sixteen.
pub fn hex(value: u64) -> [u8; 16] {
    let text = u128::from(eight_digits((value >> 32) as u32)) << 64
        | u128::from(eight_digits(value as u32));
    text.to_be_bytes()
}

/// Eight hexadecimal digits at once, the first in the highest byte.
#[inline]
fn eight_digits(value: u32) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let pairs = (u64::from(value) << 16 | u64::from(value)) & 0x0000_ffff_0000_ffff;
    let bytes = (pairs << 8 | pairs) & 0x00ff_00ff_00ff_00ff;
    let nibbles = (bytes << 4 | bytes) & (ONES * 0x0f);
    // The letters stand 39 places behind the digits.
    let letters = ((nibbles + ONES * 6) >> 4) & ONES;
    nibbles + ONES * u64::from(b'0') + letters * 39
}

/// Reads lower-case hexadecimal digits, at most 16.
pub fn read_hex(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let (words, rest) = digits.as_chunks::<8>();
    let mut value = 0_u64;
    for word in words {
        value = value << 32 | u64::from(read_eight(*word)?);
    }
    for digit in rest {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        value = value << 4 | u64::from(nibble);
    }
    Some(value)
}

/// Reads eight hexadecimal digits at once.
#[inline]
fn read_eight(digits: [u8; 8]) -> Option<u32> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let text = u64::from_be_bytes(digits);
    // Of a letter the seventh bit is set, and its low four are its number less nine.
    let letters = text >> 6 & ONES;
    let nibbles = (text & (ONES * 0x0f)) + letters * 9;
    let bytes = (nibbles | nibbles >> 4) & 0x00ff_00ff_00ff_00ff;
    let pairs = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
    let value = (pairs | pairs >> 16) as u32;
    (eight_digits(value) == text).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digits_are_read_as_the_standard_library_does(text in "[0-9a-fA-G/:`]{0,17}") {
            let is_ours = !text.is_empty() && text.len() <= 16;
            let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
            let expected = u64::from_str_radix(&text, 16).ok().filter(|_| is_ours && is_lower);
            prop_assert_eq!(read_hex(text.as_bytes()), expected);
        }

        #[test]
        fn what_is_written_is_read(context: u64, leg: u8, check: u32, kind in 0..4) {
            let kinds = [
                BranchKind::Invite,
                BranchKind::NonInvite,
                BranchKind::Stateless,
                BranchKind::Probe,
            ];
            let kind = kinds[kind as usize];
            let branch = BranchId { kind, context, leg, check };
            let mut text = Vec::new();
            branch.write(&mut text);
            prop_assert_eq!(text.len(), LEN);
            prop_assert_eq!(BranchId::read(&text), Some(branch));
        }

        #[test]
        fn anything_else_is_refused(text in "(z9hG4bKpm)?[a-z0-9]{0,40}") {
            if let Some(branch) = BranchId::read(text.as_bytes()) {
                let mut again = Vec::new();
                branch.write(&mut again);
                prop_assert_eq!(again, text.as_bytes());
            }
        }
    }
}
