//! The index of a received message: where each header line is, found in one pass.

use super::fault::{Fault, Malformed};
use super::lexeme::{is_token, number, part, tail, trim};
use super::line_ends::LineEnds;
use super::name::Name;
use super::remembered::Remembered;
use super::scan::find;
use super::start::StartLine;
use super::view::Message;
use std::ops::Range;

/// The largest message: what a UDP datagram can carry.
pub const LARGEST_BYTES: usize = 65_535;

/// Reusable scratch for reading messages: it keeps its capacity, so that reading allocates nothing
/// once it is warm. One holds one message at a time.
#[derive(Clone, Debug)]
pub struct Index {
    pub(super) start: StartLine,
    pub(super) lines: Vec<Line>,
    pub(super) slots: [Slot; Name::COUNT],
    /// Just after the start line.
    pub(super) first_header_at: usize,
    /// Where the empty line begins; the length when there is none.
    pub(super) headers_end: usize,
    /// Just after the empty line.
    pub(super) body_at: usize,
    /// The first fault of the header section as a whole.
    pub(super) fault: Option<Fault>,
    /// Whether a CR in the start line or a header line ends no line.
    pub(super) has_bare_return: bool,
    pub(super) remembered: Remembered,
}

/// One header line with its continuations, as offsets into the message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) start: u32,
    pub(super) name_end: u32,
    pub(super) value_start: u32,
    pub(super) value_end: u32,
    pub(super) end: u32,
    pub(super) name: Name,
}

impl Line {
    #[inline]
    fn new(start: usize, name_end: usize, value: Range<usize>, end: usize) -> Self {
        Self {
            start: narrow(start),
            name_end: narrow(name_end),
            value_start: narrow(value.start),
            value_end: narrow(value.end),
            end: narrow(end),
            name: Name::Other,
        }
    }
}

/// The lines of one name: which is the first, and how many there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) first: u16,
    pub(super) count: u16,
}

impl Index {
    /// An empty index; the first messages make it grow.
    pub fn new() -> Self {
        Self {
            start: StartLine::EMPTY,
            lines: Vec::with_capacity(64),
            slots: [Slot { first: 0, count: 0 }; Name::COUNT],
            first_header_at: 0,
            headers_end: 0,
            body_at: 0,
            fault: None,
            has_bare_return: false,
            remembered: Remembered::default(),
        }
    }

    /// Reads a datagram. All that can be framed is accepted, so that a bad request can be answered
    /// with what it has; `check` says whether it may be processed. Line ends before the message are
    /// passed over (RFC 3261 §7.5) and bytes after Content-Length cut off (§18.3).
    pub fn parse<'a>(&'a mut self, datagram: &'a [u8]) -> Result<Message<'a>, Malformed> {
        let bytes = without_leading_line_ends(datagram)?;
        self.remembered.clear();
        let mut ends = LineEnds::new(bytes);
        self.first_header_at = ends.next();
        let line = part(bytes, 0..self.first_header_at);
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        self.start = StartLine::parse(line.strip_suffix(b"\r").unwrap_or(line))?;
        self.read_headers(ends);
        let end = self.end(bytes);
        Ok(Message::new(part(bytes, 0..end), self))
    }

    /// The values of one header in a start line and header section, whatever the start line is.
    pub(super) fn values_in_head<'a>(
        &'a mut self,
        head: &'a [u8],
        name: Name,
    ) -> impl Iterator<Item = &'a [u8]> {
        let mut ends = LineEnds::new(head);
        self.first_header_at = ends.next();
        self.read_headers(ends);
        let lines = self.lines.iter().filter(move |line| line.name == name);
        lines.map(|line| part(head, line.value_start as usize..line.value_end as usize))
    }

    fn read_headers(&mut self, ends: LineEnds<'_>) {
        let (mut ends, bytes) = (ends, ends.bytes());
        self.lines.clear();
        self.slots.fill(Slot { first: 0, count: 0 });
        self.fault = None;
        let mut at = self.first_header_at;
        let blank = loop {
            match bytes.get(at) {
                Some(b'\n') => break 1,
                Some(b'\r') if bytes.get(at + 1) == Some(&b'\n') => break 2,
                Some(_) => at = self.read_line(bytes, at, &mut ends),
                None => {
                    self.note(Fault::UnterminatedHeaders);
                    break 0;
                }
            }
        };
        (self.headers_end, self.body_at) = (at, at + blank);
        self.has_bare_return = ends.has_bare_return(at);
    }

    /// Reads the line at `start`; returns the offset of the next.
    #[inline]
    fn read_line(&mut self, bytes: &[u8], start: usize, ends: &mut LineEnds<'_>) -> usize {
        let known = Name::before_colon(tail(bytes, start));
        let end = ends.next_unfolded();
        if let Some((name, colon)) = known {
            let name_end = start + colon;
            if let Some(value) = usual_value(bytes, name_end + 1..end) {
                self.push(Line {
                    name,
                    ..Line::new(start, name_end, value, end)
                });
                return end;
            }
        }
        self.read_odd_line(bytes, start..end);
        end
    }

    /// Reads a line with any name. Without a colon it has no name and its whole text as value.
    #[inline(never)]
    fn read_odd_line(&mut self, bytes: &[u8], span: Range<usize>) {
        let line = part(bytes, span.clone());
        let colon = find(b':', line).unwrap_or(0);
        let raw_name = part(line, 0..colon);
        let name_length = raw_name.trim_ascii_end().len();
        let name = Name::from_bytes(part(line, 0..name_length));
        if name == Name::Other || name_length != colon {
            self.note_bad_name(raw_name);
        }
        let value_at = if colon == 0 {
            span.start
        } else {
            span.start + colon + 1
        };
        let value = trim(bytes, value_at..span.end);
        let name_end = span.start + name_length;
        self.push(Line {
            name,
            ..Line::new(span.start, name_end, value, span.end)
        });
    }

    #[inline]
    fn push(&mut self, line: Line) {
        if let Some(slot) = self.slots.get_mut(line.name as usize) {
            let first = match slot.count {
                0 => narrow(self.lines.len()) as u16,
                _ => slot.first,
            };
            let count = slot.count + 1;
            *slot = Slot { first, count };
        }
        self.lines.push(line);
    }

    /// A name that is empty, begins with a blank, is folded or is no token would be read as
    /// something else by the next hop. Blanks between the name and the colon are allowed.
    fn note_bad_name(&mut self, name: &[u8]) {
        let is_blank = |byte: &&u8| matches!(**byte, b' ' | b'\t');
        let blanks = name.iter().rev().take_while(is_blank).count();
        let word = part(name, 0..name.len() - blanks);
        if word.is_empty() || !word.iter().copied().all(is_token) {
            self.note(Fault::MalformedHeader);
        }
    }

    fn note(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// Where the message ends: after the body that Content-Length gives, if it is clear and fits.
    fn end(&self, bytes: &[u8]) -> usize {
        let Some(slot) = self
            .slots
            .get(Name::ContentLength as usize)
            .filter(|slot| slot.count > 0)
        else {
            return bytes.len();
        };
        let lines = self.lines.iter().skip(slot.first.into());
        let mut lengths = lines
            .filter(|line| line.name == Name::ContentLength)
            .take(slot.count.into())
            .map(|line| {
                number(part(
                    bytes,
                    line.value_start as usize..line.value_end as usize,
                ))
            });
        let first = lengths.next().flatten();
        if slot.count > 1 && lengths.any(|length| length != first) {
            return bytes.len();
        }
        let length = first.and_then(|length| usize::try_from(length).ok());
        let end = length.and_then(|length| self.body_at.checked_add(length));
        end.map_or(bytes.len(), |end| end.min(bytes.len()))
    }
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

/// The message without the line ends before it.
fn without_leading_line_ends(datagram: &[u8]) -> Result<&[u8], Malformed> {
    if datagram.len() > LARGEST_BYTES {
        return Err(Malformed::TooLarge);
    }
    match datagram.first() {
        Some(b'\r' | b'\n' | 0) | None => {}
        Some(_) => return Ok(datagram),
    }
    let is_filler = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let start = datagram
        .iter()
        .position(|byte| !is_filler(byte))
        .ok_or(Malformed::KeepAlive)?;
    let rest = tail(datagram, start);
    if rest.iter().all(|byte| *byte == 0) {
        Err(Malformed::KeepAlive)
    } else {
        Ok(rest)
    }
}

/// The value that most lines have after their colon: a blank before it, CRLF behind it, no control
/// byte at its ends.
#[inline]
fn usual_value(bytes: &[u8], after: Range<usize>) -> Option<Range<usize>> {
    match bytes.get(after.clone())? {
        [b' ', b'!'..=0xff, .., b'!'..=0xff, b'\r', b'\n'] | [b' ', b'!'..=0xff, b'\r', b'\n'] => {
            Some(after.start + 1..after.end - 2)
        }
        _ => None,
    }
}

/// Offsets fit: a message has at most `LARGEST_BYTES`.
#[inline]
fn narrow(offset: usize) -> u32 {
    offset as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Start;

    #[test]
    fn keep_alives_and_noise_are_told_apart() {
        let mut index = Index::new();
        for bytes in [&b""[..], b"\r\n\r\n", b"\n", b"\0\0\0\0", b"\r\n\0"] {
            assert_eq!(
                index.parse(bytes).unwrap_err(),
                Malformed::KeepAlive,
                "{bytes:?}"
            );
        }
        assert_eq!(index.parse(b"\0x").unwrap_err(), Malformed::NotSip);
        assert_eq!(
            index.parse(&[b'a'; LARGEST_BYTES + 1]).unwrap_err(),
            Malformed::TooLarge
        );
    }

    #[test]
    fn line_ends_before_the_message_are_no_part_of_it() {
        let mut index = Index::new();
        let message = index
            .parse(b"\r\n\r\nSIP/2.0 200 OK\r\nl: 0\r\n\r\n")
            .unwrap();
        assert_eq!(message.bytes(), b"SIP/2.0 200 OK\r\nl: 0\r\n\r\n");
        assert_eq!(
            message.start(),
            Start::Response {
                status: 200,
                reason: b"OK"
            }
        );
    }

    #[test]
    fn bytes_after_content_length_are_cut_off() {
        let mut index = Index::new();
        let mut body = |text: &str| {
            let message = index.parse(text.as_bytes()).unwrap();
            String::from_utf8(message.body().to_vec()).unwrap()
        };
        assert_eq!(body("SIP/2.0 200 OK\r\nl: 2\r\n\r\nabcd"), "ab");
        assert_eq!(body("SIP/2.0 200 OK\r\nl: 2\r\nl:2\r\n\r\nabcd"), "ab");
        assert_eq!(body("SIP/2.0 200 OK\r\nl: 2\r\nl: 3\r\n\r\nabcd"), "abcd");
        assert_eq!(body("SIP/2.0 200 OK\r\nl: 9\r\n\r\nabcd"), "abcd");
        assert_eq!(body("SIP/2.0 200 OK\r\n\r\nabcd"), "abcd");
    }

    #[test]
    fn nothing_of_one_message_is_left_in_the_next() {
        let mut index = Index::new();
        let first = index
            .parse(b"SIP/2.0 200 OK\r\nSubject: x\r\nTo: a\r\nTo: b\r\nbad")
            .unwrap();
        assert!(first.framing_fault().is_some() && first.count(Name::To) == 2);
        let second = index.parse(b"SIP/2.0 200 OK\r\nTo: c\r\n\r\n").unwrap();
        assert_eq!(
            (second.count(Name::To), second.count(Name::Subject)),
            (1, 0)
        );
        assert_eq!(second.header(Name::To).unwrap().value, b"c");
        assert!(second.header(Name::Subject).is_none() && second.framing_fault().is_none());
        assert_eq!(second.all_headers().count(), 1);
    }

    #[test]
    fn folded_bare_lf_and_spaced_headers_are_found() {
        let mut index = Index::new();
        let text = b"SIP/2.0 200 OK\nSubject \t:  a\n\t b \r\nTO:\r\nX-Odd: \xff\0\n\n";
        let message = index.parse(text).unwrap();
        assert_eq!(message.header(Name::Subject).unwrap().value, b"a\n\t b");
        assert_eq!(
            message.header(Name::Subject).unwrap().name_bytes,
            b"Subject"
        );
        assert_eq!(message.header(Name::To).unwrap().value, b"");
        assert_eq!(message.header(Name::Other).unwrap().value, b"\xff\0");
        assert_eq!(message.headers_end(), text.len() - 1);
        assert_eq!(message.framing_fault(), None);
    }

    #[test]
    fn what_the_next_hop_would_misread_is_noted() {
        let mut index = Index::new();
        let mut fault = |text: &str| index.parse(text.as_bytes()).unwrap().framing_fault();
        assert_eq!(
            fault("SIP/2.0 200 OK\r\nbad\r\n\r\n"),
            Some(Fault::MalformedHeader)
        );
        assert_eq!(
            fault("SIP/2.0 200 OK\r\n: x\r\n\r\n"),
            Some(Fault::MalformedHeader)
        );
        assert_eq!(
            fault("SIP/2.0 200 OK\r\n To: x\r\n\r\n"),
            Some(Fault::MalformedHeader)
        );
        assert_eq!(
            fault("SIP/2.0 200 OK\r\nTo\r\n : x\r\n\r\n"),
            Some(Fault::MalformedHeader)
        );
        assert_eq!(
            fault("SIP/2.0 200 OK\r\nTo: x\r\n"),
            Some(Fault::UnterminatedHeaders)
        );
        assert_eq!(fault("SIP/2.0 200 OK"), Some(Fault::UnterminatedHeaders));
    }
}
