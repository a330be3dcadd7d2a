//! Where the lines of a header section end, found in blocks of 64 bytes.

use super::lexeme::tail;
use super::scan::{Block, MARKED, marks};

/// The line ends of a message from its beginning on, one after the other: CRLF, or LF alone.
pub(super) struct LineEnds<'a> {
    bytes: &'a [u8],
    /// Where the block begins that `newlines` and `bare` are of.
    block_at: usize,
    /// The LFs of the block that were not given yet.
    newlines: u64,
    /// The CRs of the block that no LF follows.
    bare: u64,
    /// Whether a CR that ends no line stood before an end that was given.
    pub(super) has_bare_return: bool,
}

impl<'a> LineEnds<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut ends = Self {
            bytes,
            block_at: 0,
            newlines: 0,
            bare: 0,
            has_bare_return: false,
        };
        ends.read_block();
        ends
    }

    #[inline]
    fn read_block(&mut self) {
        let rest = tail(self.bytes, self.block_at);
        let wanted = |block: Block| [block.is(b'\n'), block.is(b'\r')];
        let ([newlines, returns], length) = match rest.first_chunk::<MARKED>() {
            Some(block) => (marks(block, wanted), MARKED),
            None => (marks(rest, wanted), rest.len()),
        };
        // A last CR of all bytes may be half of a line end; what is within the block is seen there.
        let is_followed = rest.get(length).is_some_and(|next| *next != b'\n');
        let last = u64::from(!is_followed) << (length.max(1) - 1);
        self.newlines = newlines;
        self.bare = returns & !(newlines >> 1 | last);
    }

    /// The offset after the next line end; the length where there is none.
    #[inline]
    pub(super) fn next(&mut self) -> usize {
        loop {
            if self.newlines != 0 {
                let at = self.newlines.trailing_zeros();
                let before = self.newlines ^ (self.newlines - 1);
                self.has_bare_return |= self.bare & before != 0;
                self.newlines &= self.newlines - 1;
                return self.block_at + at as usize + 1;
            }
            self.has_bare_return |= self.bare != 0;
            self.bare = 0;
            if self.bytes.len() - self.block_at <= MARKED {
                return self.bytes.len();
            }
            self.block_at += MARKED;
            self.read_block();
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(bytes: &[u8]) -> (Vec<usize>, bool) {
        let mut ends = LineEnds::new(bytes);
        let mut found = Vec::new();
        while found.last() != Some(&bytes.len()) {
            found.push(ends.next());
        }
        (found, ends.has_bare_return)
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
        assert_eq!((ends.next(), ends.has_bare_return), (3, false));
        assert_eq!((ends.next(), ends.has_bare_return), (8, true));
    }

    #[test]
    fn a_line_goes_on_where_the_next_begins_with_white_space() {
        let mut ends = LineEnds::new(b"a\r\n b\n\tc\nd\n");
        assert_eq!((ends.next_unfolded(), ends.next_unfolded()), (9, 11));
    }
}
