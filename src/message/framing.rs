//! A byte stream cut into messages (RFC 3261 §18.3), for TCP and TLS: no sockets, no clock.

use super::fault::{Malformed, Unframed};
use super::index::Index;
use super::lexeme::{is_token, number, part, tail};
use super::name::Name;
use super::start::StartLine;
use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

/// Cuts a byte stream into messages (RFC 3261 §18.3).
///
/// Content-Length decides where a message ends, read as [`Index`] reads it, so that a frame is one
/// message to both. What cannot be cut is final: the connection is closed, for whatever follows was
/// chosen by the sender and may be made to look like a message of somebody else.
///
/// However the bytes are cut into pushes, the frames are the same. Each byte is looked at once; what
/// is kept is bounded by the limit and one push.
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    limit_bytes: usize,
    /// So many bytes of the buffer's message were searched for the empty line.
    searched: usize,
    /// The start line of the buffer's message is one.
    is_sip: bool,
    /// The length of the buffer's message, once its header section is whole.
    length: Option<usize>,
    /// A CRLF came right before: another one makes a ping of both.
    after_line_end: bool,
    /// The stream is of no more use.
    broken: Option<Unframed>,
    /// The start line and header section of the message that made it so, where they are whole.
    refused: Option<Bytes>,
}

/// One piece of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A message, from its start line to the last byte of its body. [`Index::parse`] reads it.
    Message(Bytes),
    /// Two CRLF between messages: a keep-alive, to be answered with one CRLF (RFC 5626 §4.4.1).
    Ping,
    /// One CRLF between messages: the answer to a ping of ours. It is told as soon as it is here,
    /// so a [`Frame::Ping`] always comes after the `Pong` that its first half was.
    Pong,
}

impl Framer {
    /// A framer for a new connection, which takes messages of up to so many bytes.
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            limit_bytes,
            searched: 0,
            is_sip: false,
            length: None,
            after_line_end: false,
            broken: None,
            refused: None,
        }
    }

    /// Takes what was received. Call [`Framer::next`] until it returns `None` before the next push:
    /// more than a message's limit is not kept waiting.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Unframed> {
        if let Some(why) = self.broken {
            return Err(why);
        }
        if self.buffer.len() > self.limit_bytes {
            return Err(self.give_up(Unframed::TooLong));
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The next whole frame; `None` until more is pushed. After an error there is nothing but it.
    #[expect(
        clippy::should_implement_trait,
        reason = "more may come after `None`, nothing after an error"
    )]
    pub fn next(&mut self) -> Result<Option<Frame>, Unframed> {
        if let Some(why) = self.broken {
            return Err(why);
        }
        if let Some(keep_alive) = self.keep_alive() {
            return Ok(Some(keep_alive));
        }
        if self.length.is_none() {
            self.length = self.read_head().map_err(|why| self.give_up(why))?;
        }
        let whole = self.length.filter(|length| *length <= self.buffer.len());
        Ok(whole.map(|length| {
            self.length = None;
            self.is_sip = false;
            self.searched = 0;
            Frame::Message(self.buffer.split_to(length).freeze())
        }))
    }

    /// After an error, the start line and header section of the message that cannot be cut out, if
    /// they came whole: a request can be answered with them (RFC 3261 §18.3).
    pub fn take_refused(&mut self) -> Option<Bytes> {
        self.refused.take()
    }

    /// How many bytes wait for the rest of their message.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    fn give_up(&mut self, why: Unframed) -> Unframed {
        self.buffer = BytesMut::new();
        self.broken = Some(why);
        why
    }

    /// Takes line ends before a message away (RFC 3261 §7.5), one CRLF at a time. A CR or LF alone
    /// says nothing.
    fn keep_alive(&mut self) -> Option<Frame> {
        loop {
            match (self.buffer.first(), self.buffer.get(1)) {
                (Some(b'\r'), Some(b'\n')) => {
                    self.buffer.advance(2);
                    self.after_line_end = !self.after_line_end;
                    let is_first = self.after_line_end;
                    return Some(if is_first { Frame::Pong } else { Frame::Ping });
                }
                (Some(b'\r'), None) | (None, _) => return None,
                (Some(b'\r' | b'\n'), _) => self.buffer.advance(1),
                (Some(_), _) => {
                    self.after_line_end = false;
                    return None;
                }
            }
            self.after_line_end = false;
        }
    }

    /// The length of the message at the front, once its header section is whole.
    fn read_head(&mut self) -> Result<Option<usize>, Unframed> {
        match self.buffer.first() {
            None | Some(b'\r') => return Ok(None),
            Some(byte) if !is_token(*byte) => return Err(Unframed::NotSip),
            Some(_) => {}
        }
        let Some(body_at) = self.find_body()? else {
            let is_full = self.buffer.len() >= self.limit_bytes;
            return if is_full {
                Err(Unframed::TooLong)
            } else {
                Ok(None)
            };
        };
        let length = self.whole_length(body_at);
        if length.is_err() {
            self.refused = Some(self.buffer.split_to(body_at).freeze());
        }
        length.map(Some)
    }

    /// The length of the message whose body begins at that offset.
    fn whole_length(&self, body_at: usize) -> Result<usize, Unframed> {
        let length = content_length(part(&self.buffer, 0..body_at))?;
        let length = usize::try_from(length).ok();
        let whole = length.and_then(|length| length.checked_add(body_at));
        let fits = whole.filter(|whole| *whole <= self.limit_bytes);
        fits.ok_or(Unframed::TooLong)
    }

    /// The offset after the empty line, as the index finds it: a line end and then another, with or
    /// without CR. The search goes on where it stopped.
    fn find_body(&mut self) -> Result<Option<usize>, Unframed> {
        let end = self.buffer.len().min(self.limit_bytes);
        let bytes = part(&self.buffer, 0..end);
        while let Some(found) = memchr(b'\n', tail(bytes, self.searched)) {
            let at = self.searched + found;
            if !self.is_sip {
                check_start_line(part(bytes, 0..at))?;
                self.is_sip = true;
            }
            let body_at = match (bytes.get(at + 1), bytes.get(at + 2)) {
                (Some(b'\n'), _) => Some(at + 2),
                (Some(b'\r'), Some(b'\n')) => Some(at + 3),
                (None, _) | (Some(b'\r'), None) => {
                    self.searched = at;
                    return Ok(None);
                }
                _ => None,
            };
            if body_at.is_some() {
                return Ok(body_at);
            }
            self.searched = at + 1;
        }
        self.searched = bytes.len();
        Ok(None)
    }
}

/// A status code that is none leaves the frame clear: the message is dropped, its connection stays.
fn check_start_line(line: &[u8]) -> Result<(), Unframed> {
    match StartLine::parse(line.strip_suffix(b"\r").unwrap_or(line)) {
        Ok(_) | Err(Malformed::StatusCode) => Ok(()),
        Err(_) => Err(Unframed::NotSip),
    }
}

/// The one length that a header section gives. On a stream it must (RFC 3261 §18.3).
fn content_length(head: &[u8]) -> Result<u64, Unframed> {
    let mut index = Index::new();
    let lengths = index.values_in_head(head, Name::ContentLength);
    let mut agreed = None;
    for value in lengths {
        let length = number(value).ok_or(Unframed::BadContentLength)?;
        if *agreed.get_or_insert(length) != length {
            return Err(Unframed::ConflictingContentLength);
        }
    }
    agreed.ok_or(Unframed::NoContentLength)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 400;
    const OPTIONS: &str = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h\r\n";

    /// All frames of a stream that comes in these pieces, and how it ended.
    fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<Unframed>) {
        let mut framer = Framer::new(LIMIT);
        let mut frames = Vec::new();
        for piece in pieces {
            if let Err(why) = framer.push(piece) {
                return (frames, Some(why));
            }
            loop {
                match framer.next() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(why) => {
                        assert_eq!((framer.next(), framer.push(b"x")), (Err(why), Err(why)));
                        assert_eq!(framer.buffered(), 0);
                        return (frames, Some(why));
                    }
                }
                assert!(framer.buffered() <= LIMIT + piece.len());
            }
            assert!(framer.buffered() <= LIMIT);
        }
        (frames, None)
    }

    fn all(stream: &str) -> (Vec<Frame>, Option<Unframed>) {
        frames([stream.as_bytes()].into_iter())
    }

    fn message(text: &str) -> Frame {
        Frame::Message(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn with(lines: &str, body: &str) -> String {
        format!("{OPTIONS}{lines}\r\n{body}")
    }

    #[test]
    fn content_length_decides_in_every_spelling() {
        for lines in [
            "Content-Length: 4\r\n",
            "l:4\r\n",
            "CONTENT-LENGTH \t :\r\n  4  \r\nX: y\r\n",
            "L: 0004\nContent-length: 4\n",
            "X: y\r\n folded\r\n \r\nl: 4\r\n",
        ] {
            let one = with(lines, "body");
            let two = format!("{one}{one}");
            assert_eq!(all(&two), (vec![message(&one); 2], None), "{lines:?}");
        }
    }

    #[test]
    fn what_has_no_clear_length_ends_the_stream() {
        use Unframed::*;
        for (lines, why) in [
            ("", NoContentLength),
            ("Content-Length: 4\r\nl: 5\r\n", ConflictingContentLength),
            ("Content-Length: -1\r\n", BadContentLength),
            ("Content-Length: 4, 4\r\n", BadContentLength),
            ("Content-Length:\r\n", BadContentLength),
            ("Content-Length: 4x\r\n", BadContentLength),
            ("Content-Length: 99999999999999999999\r\n", BadContentLength),
            ("Content-Length: 18446744073709551615\r\n", TooLong),
            ("Content-Length: 400\r\n", TooLong),
        ] {
            let good = with("l: 0\r\n", "");
            let stream = format!("{good}{}{good}", with(lines, "body"));
            assert_eq!(all(&stream), (vec![message(&good)], Some(why)), "{lines:?}");
        }
    }

    #[test]
    fn the_limit_is_the_last_length_that_passes() {
        let head = with("Content-Length: 300\r\n", "");
        let room = LIMIT - head.len();
        let of = |length: usize| {
            with(
                &format!("Content-Length: {length}\r\n"),
                &"x".repeat(length),
            )
        };
        assert_eq!(all(&of(room)), (vec![message(&of(room))], None));
        assert_eq!(all(&of(room + 1)), (vec![], Some(Unframed::TooLong)));
        let endless = format!("{OPTIONS}X: {}", "x".repeat(LIMIT));
        assert_eq!(all(&endless[..LIMIT - 1]), (vec![], None));
        assert_eq!(all(&endless[..LIMIT]), (vec![], Some(Unframed::TooLong)));
    }

    #[test]
    fn line_ends_between_messages_are_keep_alives() {
        let good = with("l: 0\r\n", "");
        let pair = [Frame::Pong, Frame::Ping];
        assert_eq!(all("\r\n"), (vec![Frame::Pong], None));
        assert_eq!(all("\r\n\r\n"), (pair.to_vec(), None));
        assert_eq!(all("\n\r\r\n\n\r"), (vec![Frame::Pong], None));
        let (frames, end) = all(&format!("\r\n{good}\r\n\r\n\r\n{good}"));
        assert_eq!(
            (&frames[1], &frames[5], frames.len()),
            (&message(&good), &message(&good), 6)
        );
        assert_eq!(
            (&frames[2..4], &frames[4], end),
            (&pair[..], &Frame::Pong, None)
        );
    }

    #[test]
    fn other_protocols_are_told_by_their_first_line() {
        for stream in [
            "GET / HTTP/1.1\r\n",
            "\x16\x03\x01",
            " OPTIONS",
            "\0",
            "hello\n",
        ] {
            assert_eq!(all(stream), (vec![], Some(Unframed::NotSip)), "{stream:?}");
        }
        let odd = "SIP/2.0 4294967301 big\r\nl: 0\r\n\r\n";
        assert_eq!(all(odd), (vec![message(odd)], None));
    }

    #[test]
    fn what_is_not_taken_is_not_kept_waiting() {
        let mut framer = Framer::new(LIMIT);
        let good = with("l: 0\r\n", "");
        let mut taken = 0;
        while framer.push(good.as_bytes()).is_ok() {
            taken += good.len();
        }
        assert!(taken <= LIMIT + good.len());
    }

    #[test]
    fn a_byte_at_a_time_is_searched_once() {
        let mut framer = Framer::new(1 << 20);
        framer.push(OPTIONS.as_bytes()).unwrap();
        for at in 0..500_000 {
            framer.push(if at % 2 == 0 { b"a" } else { b"\n" }).unwrap();
            assert_eq!(framer.next(), Ok(None));
            assert!(framer.buffered() - framer.searched <= 2);
        }
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            8 => (0usize..40).prop_map(|n| with(&format!("l: {n}\r\n"), &"\r\nx".repeat(40)[..n])),
            4 => Just("\r\n".to_owned()),
            1 => prop::sample::select(vec!["\r", "\n", "\n\n", "\r\n\r", "SIP/2.0 99 x\r\n"])
                .prop_map(str::to_owned),
            1 => "[\r\n a:l/]{0,8}",
            1 => (300usize..500).prop_map(|n| with(&format!("Content-Length: {n}\r\n"), &"y".repeat(n))),
        ];
        let pieces = prop::collection::vec(piece, 0..12);
        pieces.prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_frames(
            stream in stream(),
            sizes in prop::collection::vec(1usize..200, 1..20),
        ) {
            let whole = frames([stream.as_slice()].into_iter());
            prop_assert_eq!(&frames(stream.chunks(1)), &whole);
            let (mut rest, mut pieces) = (stream.as_slice(), Vec::new());
            for size in sizes.iter().cycle() {
                let (piece, after) = rest.split_at((*size).min(rest.len()));
                pieces.push(piece);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(&frames(pieces.into_iter()), &whole);
        }

        #[test]
        fn a_frame_is_one_message_to_the_index_too(stream in stream()) {
            for frame in frames([stream.as_slice()].into_iter()).0 {
                let Frame::Message(bytes) = frame else { continue };
                if let Ok(message) = Index::new().parse(&bytes) {
                    prop_assert_eq!(message.bytes(), &bytes[..]);
                }
            }
        }
    }
}
