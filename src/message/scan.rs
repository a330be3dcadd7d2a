//! Searches in what is short: a header line, a parameter, a URI. A call to `memchr` costs more
//! there than the search does; these are built into their callers and look at sixteen bytes at once.

/// Sixteen bytes; or, once they were compared, sixteen answers.
pub(crate) use self::block::Block;

/// So many bytes are looked at at once.
const WIDTH: usize = 16;

/// The offset of the first byte that `wanted` marks in its block.
#[inline]
pub(crate) fn position(bytes: &[u8], wanted: impl Fn(Block) -> Block) -> Option<usize> {
    let (blocks, rest) = bytes.as_chunks::<WIDTH>();
    for (number, block) in blocks.iter().enumerate() {
        if let Some(at) = wanted(Block::new(block)).first(0) {
            return Some(number * WIDTH + at);
        }
    }
    if rest.is_empty() {
        return None;
    }
    let before = bytes.len() - rest.len();
    // The last block ends where the bytes do: what of it was looked at before is passed over.
    let at = match bytes.last_chunk::<WIDTH>() {
        Some(block) => wanted(Block::new(block)).first(WIDTH - rest.len()),
        None => in_few(bytes, wanted),
    };
    at.map(|at| before + at)
}

/// Whether `wanted` marks any byte.
#[inline]
pub(crate) fn any(bytes: &[u8], wanted: impl Fn(Block) -> Block) -> bool {
    position(bytes, wanted).is_some()
}

/// The offset of a byte.
#[inline]
pub(crate) fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    position(bytes, |block| block.is(byte))
}

/// The offset of the first of two bytes.
#[inline]
pub(crate) fn find2(one: u8, two: u8, bytes: &[u8]) -> Option<usize> {
    position(bytes, |block| block.is(one).or(block.is(two)))
}

/// The offset of the first of three bytes.
#[inline]
pub(crate) fn find3(one: u8, two: u8, three: u8, bytes: &[u8]) -> Option<usize> {
    let wanted = |block: Block| block.is(one).or(block.is(two)).or(block.is(three));
    position(bytes, wanted)
}

/// So many bytes have their marks in one word.
pub(crate) const MARKED: usize = 64;

/// A bit for each of at most [`MARKED`] bytes, in each of the answers that `wanted` gives.
#[inline]
pub(crate) fn marks<const N: usize>(
    bytes: &[u8],
    wanted: impl Fn(Block) -> [Block; N],
) -> [u64; N] {
    let mut marks = [0; N];
    let mut mark = |block: Block, place: fn(u64, usize) -> u64, at: usize| {
        for (marks, block) in marks.iter_mut().zip(wanted(block)) {
            *marks |= place(block.bits(), at);
        }
    };
    let (blocks, rest) = bytes.as_chunks::<WIDTH>();
    for (number, block) in blocks.iter().take(MARKED / WIDTH).enumerate() {
        mark(Block::new(block), |bits, at| bits << at, number * WIDTH);
    }
    if rest.is_empty() || bytes.len() > MARKED {
        return marks;
    }
    match bytes.last_chunk::<WIDTH>() {
        Some(block) => {
            let at = bytes.len() - WIDTH;
            mark(Block::new(block), |bits, at| bits << at, at);
        }
        None => {
            let (block, width) = few(bytes);
            match width {
                8 => mark(
                    block,
                    |bits, at| bits & 0xff | bits >> 8 << at,
                    bytes.len() - 8,
                ),
                4 => mark(
                    block,
                    |bits, at| bits & 0xf | (bits >> 4 & 0xf) << at,
                    bytes.len() - 4,
                ),
                _ => mark(
                    block,
                    |bits, length| bits & !(u64::MAX << length),
                    bytes.len(),
                ),
            }
        }
    }
    marks
}

/// Fewer bytes than a block has: their first and their last half, which overlap, and how wide these
/// are; 0 for up to three bytes, which come first.
#[inline]
fn few(bytes: &[u8]) -> (Block, usize) {
    let (words, width) = if let (Some(head), Some(tail)) = (bytes.first_chunk(), bytes.last_chunk())
    {
        ((u64::from_le_bytes(*head), u64::from_le_bytes(*tail)), 8)
    } else if let (Some(head), Some(tail)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let (head, tail) = (u32::from_le_bytes(*head), u32::from_le_bytes(*tail));
        ((u64::from(tail) << 32 | u64::from(head), 0), 4)
    } else {
        let pair = |at: usize| bytes.get(at).copied().map_or(0, u64::from);
        ((pair(2) << 16 | pair(1) << 8 | pair(0), 0), 0)
    };
    (Block::of_words(words.0, words.1), width)
}

/// The same among fewer bytes than a block has.
#[inline]
fn in_few(bytes: &[u8], wanted: impl Fn(Block) -> Block) -> Option<usize> {
    let (block, width) = few(bytes);
    let at = wanted(block).first(0)?;
    let is_tail = width > 0 && at >= width;
    let at = if is_tail {
        at + bytes.len() - 2 * width
    } else {
        at
    };
    (at < bytes.len()).then_some(at)
}

/// With the instructions that every x86-64 processor has.
#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "SSE2 is part of x86-64, and these instructions touch no memory"
)]
mod block {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x,
        _mm_set1_epi8, _mm_setzero_si128, _mm_sub_epi8,
    };

    #[derive(Clone, Copy)]
    pub(crate) struct Block(__m128i);

    impl Block {
        #[inline(always)]
        pub(super) fn new(bytes: &[u8; super::WIDTH]) -> Self {
            let both = u128::from_le_bytes(*bytes);
            Self::of_words(both as u64, (both >> 64) as u64)
        }

        #[inline(always)]
        pub(super) fn of_words(low: u64, high: u64) -> Self {
            // SAFETY: x86-64 has SSE2.
            Self(unsafe { _mm_set_epi64x(high.cast_signed(), low.cast_signed()) })
        }

        /// Marks the bytes that are this one.
        #[inline(always)]
        pub(crate) fn is(self, byte: u8) -> Self {
            // SAFETY: x86-64 has SSE2.
            Self(unsafe { _mm_cmpeq_epi8(self.0, _mm_set1_epi8(byte.cast_signed())) })
        }

        /// Marks the bytes that are this one or less.
        #[inline(always)]
        pub(crate) fn is_at_most(self, byte: u8) -> Self {
            // SAFETY: x86-64 has SSE2.
            Self(unsafe {
                _mm_cmpeq_epi8(
                    self.0,
                    _mm_min_epu8(self.0, _mm_set1_epi8(byte.cast_signed())),
                )
            })
        }

        /// Marks the bytes from one to another, both included.
        #[inline(always)]
        pub(crate) fn is_within(self, low: u8, high: u8) -> Self {
            // SAFETY: x86-64 has SSE2.
            unsafe {
                let above = _mm_sub_epi8(self.0, _mm_set1_epi8(low.cast_signed()));
                let width = _mm_set1_epi8((high - low).cast_signed());
                Self(_mm_cmpeq_epi8(above, _mm_min_epu8(above, width)))
            }
        }

        /// The same bytes, letters in lower case; others may become others that are no letters.
        #[inline(always)]
        pub(crate) fn lowered(self) -> Self {
            // SAFETY: x86-64 has SSE2.
            Self(unsafe { _mm_or_si128(self.0, _mm_set1_epi8(0x20)) })
        }

        /// What either marks.
        #[inline(always)]
        pub(crate) fn or(self, other: Self) -> Self {
            // SAFETY: x86-64 has SSE2.
            Self(unsafe { _mm_or_si128(self.0, other.0) })
        }

        /// What is not marked.
        #[inline(always)]
        pub(crate) fn others(self) -> Self {
            // SAFETY: x86-64 has SSE2.
            Self(unsafe { _mm_cmpeq_epi8(self.0, _mm_setzero_si128()) })
        }

        /// The place of the first mark from a place on, counted from there.
        #[inline(always)]
        pub(super) fn first(self, from: usize) -> Option<usize> {
            let marks = self.bits() >> from;
            (marks != 0).then(|| marks.trailing_zeros() as usize)
        }

        /// A bit for each byte, the first one's lowest.
        #[inline(always)]
        pub(super) fn bits(self) -> u64 {
            // SAFETY: x86-64 has SSE2.
            unsafe { _mm_movemask_epi8(self.0) }.cast_unsigned().into()
        }
    }
}

/// With the arithmetic of words, for all other processors.
#[cfg(any(not(target_arch = "x86_64"), test))]
#[cfg_attr(target_arch = "x86_64", allow(dead_code, reason = "compared in tests"))]
mod words {
    const ONES: u128 = u128::MAX / 0xff;
    const TOPS: u128 = ONES << 7;

    #[derive(Clone, Copy)]
    pub(crate) struct Block(u128);

    impl Block {
        #[inline]
        pub(super) fn new(bytes: &[u8; super::WIDTH]) -> Self {
            Self(u128::from_le_bytes(*bytes))
        }

        #[inline]
        pub(super) fn of_words(low: u64, high: u64) -> Self {
            Self(u128::from(high) << 64 | u128::from(low))
        }

        /// Marks the bytes that are this one.
        #[inline]
        pub(crate) fn is(self, byte: u8) -> Self {
            let other = self.0 ^ (ONES * u128::from(byte));
            Self(!(((other & !TOPS) + !TOPS) | other) & TOPS)
        }

        /// Marks the bytes that are this one, which is below 128, or less.
        #[inline]
        pub(crate) fn is_at_most(self, byte: u8) -> Self {
            let above = (self.0 & !TOPS) + ONES * u128::from(0x7f - byte);
            Self(!(above | self.0) & TOPS)
        }

        /// Marks the bytes from one to another, both included and below 128.
        #[inline]
        pub(crate) fn is_within(self, low: u8, high: u8) -> Self {
            let below = low
                .checked_sub(1)
                .map_or(0, |below| self.is_at_most(below).0);
            Self(self.is_at_most(high).0 & !below)
        }

        /// The same bytes, letters in lower case; others may become others that are no letters.
        #[inline]
        pub(crate) fn lowered(self) -> Self {
            Self(self.0 | (ONES * 0x20))
        }

        /// What either marks.
        #[inline]
        pub(crate) fn or(self, other: Self) -> Self {
            Self(self.0 | other.0)
        }

        /// What is not marked.
        #[inline]
        pub(crate) fn others(self) -> Self {
            Self(!self.0 & TOPS)
        }

        /// The place of the first mark from a place on, counted from there.
        #[inline]
        pub(super) fn first(self, from: usize) -> Option<usize> {
            let marks = self.0 >> (8 * from);
            (marks != 0).then(|| marks.trailing_zeros() as usize / 8)
        }

        /// A bit for each byte, the first one's lowest.
        #[inline]
        pub(super) fn bits(self) -> u64 {
            // Each byte's mark is moved into the uppermost byte, to the place of its own.
            let gather = |word: u128| {
                let marks = (word >> 7) as u64 & (u64::MAX / 0xff);
                marks.wrapping_mul(0x0102_0408_1020_4080) >> 56
            };
            gather(self.0) | gather(self.0 >> 64) << 8
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
use words as block;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wanted_byte_is_found_at_every_length_and_place() {
        let is_wanted = |block: Block| block.is(b';').or(block.is_at_most(b' '));
        for length in 0..70 {
            let mut bytes = vec![b'x'; length];
            assert_eq!(position(&bytes, is_wanted), None);
            for at in (0..length).rev() {
                bytes[at] = if at % 2 == 0 { b';' } else { b'\t' };
                assert_eq!(position(&bytes, is_wanted), Some(at), "{at} of {length}");
            }
        }
    }

    #[test]
    fn every_wanted_byte_has_its_mark_at_every_length() {
        let wanted = |block: Block| [block.is(b';'), block.is_at_most(b' ')];
        for length in 0..=MARKED + 20 {
            for at in 0..length {
                let mut bytes = vec![b'x'; length];
                bytes[at] = b';';
                bytes[length - 1 - at / 2] = b' ';
                let of = |byte: u8| {
                    let places = bytes.iter().take(MARKED).enumerate();
                    let places = places.filter(|(_, other)| **other == byte);
                    places.fold(0, |bits, (place, _)| bits | 1_u64 << place)
                };
                let first_whole = bytes.len().min(MARKED);
                let marked = marks(&bytes[..first_whole], wanted);
                assert_eq!(marked, [of(b';'), of(b' ')], "{at} of {length}");
            }
        }
    }

    #[test]
    fn what_lies_beside_the_bytes_is_not_looked_at() {
        let bytes = [b' '; 64];
        for length in 1..40 {
            let mut bytes = bytes;
            bytes[8..8 + length].fill(b'x');
            let bytes = &bytes[8..8 + length];
            assert!(!any(bytes, |block| block.is_at_most(b' ')));
            assert_eq!(marks(bytes, |block| [block.is_at_most(b' ')]), [0]);
        }
    }

    #[test]
    fn every_byte_is_told_from_every_other_on_every_processor() {
        let all: Vec<u8> = (0..=255).collect();
        for byte in 0..=255 {
            assert_eq!(find(byte, &all), Some(usize::from(byte)));
            let without: Vec<u8> = all.iter().copied().filter(|other| *other != byte).collect();
            assert_eq!(find(byte, &without), None);
        }
        for (block, at) in all.as_chunks::<WIDTH>().0.iter().zip((0..).step_by(WIDTH)) {
            let (block, words) = (Block::new(block), words::Block::new(block));
            for byte in 0..128 {
                assert_eq!(block.is(byte).bits(), words.is(byte).bits());
                assert_eq!(block.is_at_most(byte).bits(), words.is_at_most(byte).bits());
                let high = (byte + 3) & 0x7f;
                let low = byte.min(high);
                let within = (block.is_within(low, high), words.is_within(low, high));
                assert_eq!(within.0.bits(), within.1.bits(), "{low} to {high}");
                let others = (within.0.others(), within.1.others());
                assert_eq!(others.0.bits(), others.1.bits(), "{low} to {high}");
                let lowered = (block.lowered().is(byte), words.lowered().is(byte));
                assert_eq!(lowered.0.bits(), lowered.1.bits(), "{byte}");
                for from in 0..WIDTH {
                    let first = block.is_at_most(byte).first(from);
                    assert_eq!(
                        first,
                        words.is_at_most(byte).first(from),
                        "{at} {byte} {from}"
                    );
                    let first = block.is(byte).first(from);
                    assert_eq!(first, words.is(byte).first(from), "{at} {byte} {from}");
                }
            }
        }
    }
}
