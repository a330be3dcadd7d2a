//! The lexical rules that headers share: white space, quoted strings, comma lists, parameters.

use super::scan;
use std::ops::Range;

/// The bytes of a range; empty where the range is not inside.
#[inline]
pub(super) fn part(bytes: &[u8], range: Range<usize>) -> &[u8] {
    bytes.get(range).unwrap_or_default()
}

/// The bytes from an offset on; empty beyond the end.
#[inline]
pub(super) fn tail(bytes: &[u8], from: usize) -> &[u8] {
    bytes.get(from..).unwrap_or_default()
}

/// Whether two words are the same in any case; most are written alike.
#[inline]
pub(crate) fn is_same(word: &[u8], other: &[u8]) -> bool {
    word.len() == other.len() && (word == other || word.eq_ignore_ascii_case(other))
}

/// White space of a header value: blanks, and the line ends of a folded line (RFC 3261 §7.3.1).
#[inline]
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// A byte of a token (RFC 3261 §25.1).
#[inline]
pub(super) fn is_token(byte: u8) -> bool {
    TOKEN.get(usize::from(byte)).copied().unwrap_or_default()
}

static TOKEN: [bool; 256] = token_bytes();

#[expect(clippy::indexing_slicing, reason = "runs at compile time only")]
const fn token_bytes() -> [bool; 256] {
    let mut bytes = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        bytes[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
            );
        byte += 1;
    }
    bytes
}

/// The range without white space at its ends. Of nothing but white space, the empty range at its
/// beginning: what is written there stays in the line that the white space is of.
#[inline]
pub(super) fn trim(bytes: &[u8], range: Range<usize>) -> Range<usize> {
    let whole = part(bytes, range.clone());
    let rest = without_space_before(whole);
    if rest.is_empty() {
        return range.start..range.start;
    }
    let start = range.start + (whole.len() - rest.len());
    start..start + without_space_after(rest).len()
}

/// The bytes without white space at their ends.
#[inline]
pub(super) fn trimmed(bytes: &[u8]) -> &[u8] {
    without_space_after(without_space_before(bytes))
}

#[inline]
fn without_space_before(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_space(*first)
    {
        bytes = rest;
    }
    bytes
}

#[inline]
fn without_space_after(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., last] = bytes
        && is_space(*last)
    {
        bytes = rest;
    }
    bytes
}

/// The offset of the first byte from `at` on that is not white space.
#[inline]
pub(super) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).copied().is_some_and(is_space) {
        at += 1;
    }
    at
}

/// The offset of the quote that closes a string whose opening quote stands before `from`.
pub(super) fn closing_quote(bytes: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let at = from + scan::find2(b'"', b'\\', tail(bytes, from))?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at);
        }
        from = at + 2;
    }
}

/// Looks for separators outside quotes and `<>`. A quote that is never closed reaches to the end;
/// a `<` that is never closed is an ordinary byte.
#[derive(Clone, Debug)]
pub(super) struct Outside<'a> {
    bytes: &'a [u8],
    /// Whether a `>` may still follow: asked once, so that a run of `<` costs no second look.
    closes: bool,
}

impl<'a> Outside<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            closes: true,
        }
    }

    /// The offset of the first `stop` from `from` on; the length when there is none.
    #[inline]
    pub(super) fn find(&mut self, stop: u8, mut from: usize) -> usize {
        while let Some(found) = scan::find3(stop, b'"', b'<', tail(self.bytes, from)) {
            let at = from + found;
            from = match self.bytes.get(at) {
                Some(b'"') => match closing_quote(self.bytes, at + 1) {
                    Some(close) => close + 1,
                    None => return self.bytes.len(),
                },
                Some(b'<') => self.close(at + 1),
                _ => return at,
            };
        }
        self.bytes.len()
    }

    /// The offset after the `>` that closes a bracket opened before `from`, else `from`.
    fn close(&mut self, from: usize) -> usize {
        if !self.closes {
            return from;
        }
        let close = scan::find(b'>', tail(self.bytes, from));
        self.closes = close.is_some();
        close.map_or(from, |close| from + close + 1)
    }
}

/// The first value of a comma-separated list, such as a Route's, without white space around it.
pub fn first_value(list: &[u8]) -> Option<&[u8]> {
    let first = Elements::new(list).next()?;
    Some(trimmed(part(list, first))).filter(|value| !value.is_empty())
}

/// The elements of a comma list, trimmed, empty ones included.
pub(super) struct Elements<'a> {
    outside: Outside<'a>,
    at: Option<usize>,
}

impl<'a> Elements<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            outside: Outside::new(bytes),
            at: Some(0),
        }
    }
}

impl Iterator for Elements<'_> {
    type Item = Range<usize>;

    #[inline]
    fn next(&mut self) -> Option<Range<usize>> {
        let start = self.at?;
        let end = self.outside.find(b',', start);
        let bytes = self.outside.bytes;
        self.at = (end < bytes.len()).then_some(end + 1);
        Some(trim(bytes, start..end))
    }
}

/// One parameter of a header value or URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    /// The name as written.
    pub name: &'a [u8],
    /// The value as written, quotes included; `None` without `=`.
    pub value: Option<&'a [u8]>,
    /// From its semicolon to its last byte, within the bytes that were read.
    pub span: Range<usize>,
}

impl Param<'_> {
    /// Whether the parameter has this name, in any case.
    #[inline]
    pub fn is(&self, name: &[u8]) -> bool {
        is_same(self.name, name)
    }
}

/// The parameters of bytes such as `;a=1 ; b;c="x;y"`, in order. Empty ones are passed over.
#[derive(Clone, Debug)]
pub struct Params<'a> {
    outside: Outside<'a>,
    at: usize,
    plain: Option<Plain>,
}

/// Where parameters without brackets, escapes and white space stand, as most are: a word's worth of
/// bytes at a time.
#[derive(Clone, Debug)]
struct Plain {
    /// The semicolons that were not read yet, a bit for each byte from `base` on.
    semicolons: u64,
    equals: u64,
    base: usize,
    /// Whether nothing follows the bytes that were looked at.
    is_last: bool,
}

impl<'a> Params<'a> {
    /// Reads the parameters of bytes that begin at or before the first semicolon.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::from_offset(bytes, 0)
    }

    /// As `new`, from an offset on; spans count from the start of `bytes`.
    #[inline]
    pub(super) fn from_offset(bytes: &'a [u8], at: usize) -> Self {
        let mut outside = Outside::new(bytes);
        let plain = Plain::of(bytes, at);
        let at = match bytes.get(at) {
            _ if plain.is_some() => bytes.len(),
            Some(b';') => at,
            _ => outside.find(b';', at),
        };
        Self { outside, at, plain }
    }

    /// The value of the first parameter of this name, in any case.
    pub(super) fn value(mut self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        self.find(|param| param.is(name)).map(|param| param.value)
    }
}

impl Plain {
    /// Looks at the bytes from `base` on; `None` where they need more care.
    #[inline]
    fn of(bytes: &[u8], base: usize) -> Option<Self> {
        let rest = tail(bytes, base);
        let is_last = rest.len() <= scan::MARKED;
        let looked_at = if is_last {
            rest
        } else {
            part(rest, 0..scan::MARKED)
        };
        let [mut semicolons, equals, quotes, others] = scan::marks(looked_at, |block| {
            let others = block
                .is(b'\\')
                .or(block.is(b'<'))
                .or(block.is_at_most(b' '));
            [block.is(b';'), block.is(b'='), block.is(b'"'), others]
        });
        if quotes != 0 {
            if quotes.count_ones() % 2 == 1 {
                return None;
            }
            semicolons &= !between_pairs(quotes);
        }
        let ends_one = is_last || semicolons.count_ones() > 1;
        (others == 0 && ends_one).then_some(Self {
            semicolons,
            equals,
            base,
            is_last,
        })
    }

    /// The next one that ends within the bytes that were looked at, else where the next one begins.
    #[inline]
    fn next<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Param<'a>>, usize> {
        while self.semicolons != 0 {
            let semicolon = self.semicolons.trailing_zeros();
            let others = self.semicolons & (self.semicolons - 1);
            let start = self.base + semicolon as usize;
            let end = match others {
                0 if self.is_last => bytes.len(),
                0 => return Err(start),
                _ => self.base + others.trailing_zeros() as usize,
            };
            self.semicolons = others;
            if start + 1 == end {
                continue;
            }
            let equals = start + (self.equals >> semicolon).trailing_zeros() as usize;
            let has_value = equals < end;
            return Ok(Some(Param {
                name: part(bytes, start + 1..if has_value { equals } else { end }),
                value: has_value.then(|| part(bytes, equals + 1..end)),
                span: start..end,
            }));
        }
        Ok(None)
    }
}

/// From each first of two bits up to its second: each bit of the sum without carries of all bits
/// at and below its place.
#[inline]
fn between_pairs(bits: u64) -> u64 {
    let mut sum = bits;
    for shift in [1, 2, 4, 8, 16, 32] {
        sum ^= sum << shift;
    }
    sum
}

impl<'a> Iterator for Params<'a> {
    type Item = Param<'a>;

    #[inline]
    fn next(&mut self) -> Option<Param<'a>> {
        while let Some(plain) = &mut self.plain {
            match plain.next(self.outside.bytes) {
                Ok(param) => return param,
                Err(start) => {
                    self.plain = Plain::of(self.outside.bytes, start);
                    self.at = start;
                }
            }
        }
        self.next_of_any()
    }
}

impl<'a> Params<'a> {
    /// Whether nothing from here on is a bracket, an escape or white space, and all quotes are closed.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.plain.as_ref().is_some_and(|plain| plain.is_last)
    }

    /// The next one of bytes that may hold anything.
    fn next_of_any(&mut self) -> Option<Param<'a>> {
        let bytes = self.outside.bytes;
        while self.at < bytes.len() {
            let semicolon = self.at;
            let name_end = name_end(bytes, semicolon + 1);
            self.at = match bytes.get(name_end) {
                Some(b';') | None => name_end,
                Some(b'=') => self.outside.find(b';', name_end + 1),
                Some(_) => self.outside.find(b';', semicolon + 1),
            };
            let equals = match bytes.get(name_end) {
                Some(b'=') => Some(name_end),
                Some(b';') | None => None,
                Some(_) => scan::find(b'=', part(bytes, semicolon..self.at))
                    .map(|equals| semicolon + equals),
            };
            let name = trim(bytes, semicolon + 1..equals.unwrap_or(self.at));
            let value = equals.map(|equals| trim(bytes, equals + 1..self.at));
            if name.is_empty() && value.is_none() {
                continue;
            }
            return Some(Param {
                span: semicolon..value.as_ref().map_or(name.end, |value| value.end),
                name: part(bytes, name),
                value: value.map(|value| part(bytes, value)),
            });
        }
        None
    }
}

/// The offset of the `=` or `;` that ends a parameter's name, or of a byte that must be looked at
/// with more care; names are short.
#[inline]
fn name_end(bytes: &[u8], from: usize) -> usize {
    let rest = tail(bytes, from);
    let is_end = |block: scan::Block| {
        let is_usual = block.is(b'=').or(block.is(b';'));
        is_usual.or(block.is(b'"').or(block.is(b'<')))
    };
    from + scan::position(rest, is_end).unwrap_or(rest.len())
}

/// A decimal number of one to ten digits or more that fits; nothing else around it.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 64 {
        return None;
    }
    if bytes.len() <= 18 {
        return short_number(bytes);
    }
    bytes.iter().try_fold(0u64, |sum, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// The same for so few digits that they fit.
#[inline]
fn short_number(bytes: &[u8]) -> Option<u64> {
    let mut sum = 0u64;
    for &byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum = sum.wrapping_mul(10).wrapping_add(u64::from(digit));
    }
    Some(sum)
}

/// A port: digits, 0 to 65535.
pub(super) fn port(bytes: &[u8]) -> Option<u16> {
    number(bytes).and_then(|number| u16::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(text: &str) -> Vec<(String, Option<String>)> {
        let own = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Params::new(text.as_bytes())
            .map(|param| (own(param.name), param.value.map(own)))
            .collect()
    }

    #[test]
    fn params_keep_quotes_and_skip_empty_ones() {
        let found = params(" ;a=1 ;; b ; c = \"x;y\" ;d=");
        let text = |s: &str| Some(s.to_owned());
        assert_eq!(
            found,
            [
                ("a".to_owned(), text("1")),
                ("b".to_owned(), None),
                ("c".to_owned(), text("\"x;y\"")),
                ("d".to_owned(), text("")),
            ]
        );
    }

    #[test]
    fn plain_bytes_have_the_params_that_any_bytes_have() {
        let long = "y".repeat(61);
        let pieces = [";", "=", "a", "bc;name=", "\"", "\\", "<", long.as_str()];
        for seed in 0..8_usize.pow(6) {
            let chosen = (0..6).map(|at| pieces[seed / 8_usize.pow(at) % 8]);
            let text: String = chosen.collect();
            for (at, before) in [(0, ""), (2, "h;")] {
                let text = format!("{before}{text}");
                let plain = Params::from_offset(text.as_bytes(), at);
                let mut any = plain.clone();
                if any.plain.take().is_some() {
                    any.at = any.outside.find(b';', at);
                }
                assert!(plain.eq(any), "{text}");
            }
        }
    }

    #[test]
    fn a_quote_ends_only_at_an_unescaped_quote() {
        assert_eq!(closing_quote(br#"a\"b" c"#, 0), Some(4));
        assert_eq!(closing_quote(br#"a\"#, 0), None);
        assert_eq!(closing_quote(b"abc", 0), None);
    }

    #[test]
    fn a_bracket_that_never_closes_is_looked_for_once() {
        let mut outside = Outside::new(b"<a>,<,<,");
        assert_eq!(outside.find(b',', 0), 3);
        assert!(outside.closes);
        assert_eq!(outside.find(b',', 4), 5);
        assert!(!outside.closes);
        assert_eq!(outside.find(b',', 6), 7);
    }

    #[test]
    fn numbers_must_fit() {
        assert_eq!(number(b"0070"), Some(70));
        assert_eq!(number(b"18446744073709551616"), None);
        assert_eq!(number(b"-1"), None);
        assert_eq!(number(b""), None);
        assert_eq!(port(b"65536"), None);
    }
}
