//! Where the lines of a header section end, found in blocks of 64 bytes.

use super::lexeme::tail;
use super::scan::{Block, MARKED, marks};

/// The line ends of a message from its beginning on, one after the other: CRLF, or LF alone.
#[derive(Clone, Copy)]
pub(super) struct LineEnds<'a> {
    bytes: &'a [u8],
    /// Where the block begins that `newlines` and `bare` are of.
    block_at: usize,
    /// The LFs of the block that were not given yet.
    newlines: u64,
    /// The CRs of the block that no LF follows.
    bare: u64,
    /// Such CRs of earlier blocks, wherever in them.
    bare_before: u64,
}

impl<'a> LineEnds<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let (newlines, bare) = block(bytes, 0);
        Self {
            bytes,
            block_at: 0,
            newlines,
            bare,
            bare_before: 0,
        }
    }

    /// What they are the line ends of.
    #[inline]
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The offset after the next line end; the length where there is none.
    #[inline]
    pub(super) fn next(&mut self) -> usize {
        while self.newlines == 0 {
            if self.bytes.len() <= self.block_at + MARKED {
                return self.bytes.len();
            }
            self.bare_before |= self.bare;
            self.block_at += MARKED;
            (self.newlines, self.bare) = block(self.bytes, self.block_at);
        }
        let at = self.block_at + self.newlines.trailing_zeros() as usize;
        self.newlines &= self.newlines - 1;
        at + 1
    }

    /// Whether a CR that ends no line stands before the last end that was given, which was this one.
    pub(super) fn has_bare_return(&self, end: usize) -> bool {
        let within = end - self.block_at;
        let before = match within < MARKED {
            true => (1 << within) - 1,
            false => u64::MAX,
        };
        self.bare_before != 0 || self.bare & before != 0
    }

    /// The same for a line with its continuations (RFC 3261 §7.3.1).
    #[inline]
    pub(super) fn next_unfolded(&mut self) -> usize {
        let mut end = self.next();
        while matches!(self.bytes.get(end), Some(b' ' | b'\t')) {
            end = self.next();
        }
        end
    }
}

/// The LFs of the bytes from `at` on, and the CRs that no LF follows: a bit for each of a block.
#[inline(never)]
fn block(bytes: &[u8], at: usize) -> (u64, u64) {
    let rest = tail(bytes, at);
    let wanted = |block: Block| [block.is(b'\n'), block.is(b'\r')];
    let ([newlines, returns], length) = match rest.first_chunk::<MARKED>() {
        Some(block) => (marks(block, wanted), MARKED),
        None => (marks(rest, wanted), rest.len()),
    };
    // A last CR of all bytes may be half of a line end; what is within the block is seen there.
    let is_followed = rest.get(length).is_some_and(|next| *next != b'\n');
    let last = u64::from(!is_followed) << (length.max(1) - 1);
    (newlines, returns & !(newlines >> 1 | last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(bytes: &[u8]) -> (Vec<usize>, bool) {
        let mut ends = LineEnds::new(bytes);
        let mut found = Vec::new();
        while found.last() != Some(&bytes.len()) {
            found.push(ends.next());
        }
        (found, ends.has_bare_return(bytes.len()))
    }

    #[test]
    fn every_line_end_is_found_in_whichever_block_it_stands() {
        for length in 0..200 {
            for at in 0..length {
                let mut bytes = vec![b'x'; length];
                bytes[at] = b'\n';
                let expected = match at + 1 == length {
                    true => vec![length],
                    false => vec![at + 1, length],
                };
                assert_eq!(ends(&bytes), (expected.clone(), false), "{at} of {length}");
                if at > 0 {
                    bytes[at - 1] = b'\r';
                    assert_eq!(ends(&bytes), (expected, false), "CRLF, {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn a_return_that_ends_no_line_is_noticed_unless_it_is_the_last_byte() {
        for length in 1..200 {
            for at in 0..length {
                let mut bytes = vec![b'x'; length];
                bytes[at] = b'\r';
                let is_last = at + 1 == length;
                assert_eq!(ends(&bytes), (vec![length], !is_last), "{at} of {length}");
            }
        }
    }

    #[test]
    fn a_return_after_the_last_end_that_was_given_is_not_looked_at() {
        let mut ends = LineEnds::new(b"a\r\nb\rc\r\n");
        assert_eq!((ends.next(), ends.has_bare_return(3)), (3, false));
        assert_eq!((ends.next(), ends.has_bare_return(8)), (8, true));
    }

    #[test]
    fn a_line_goes_on_where_the_next_begins_with_white_space() {
        let mut ends = LineEnds::new(b"a\r\n b\n\tc\nd\n");
        assert_eq!((ends.next_unfolded(), ends.next_unfolded()), (9, 11));
    }
}
