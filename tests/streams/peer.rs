//! A plain peer on any byte stream: it writes what it is told and reads message by message.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::site::{PATIENCE, wait};

/// One connection.
pub(crate) struct Peer<S = TcpStream> {
    pub(crate) stream: S,
    unread: Vec<u8>,
}

/// A message that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message(pub(crate) String);

impl Peer {
    pub(crate) fn connect(to: SocketAddr) -> Self {
        Self::new(TcpStream::connect(to).unwrap())
    }

    /// Waits for somebody to connect.
    pub(crate) fn accept(listener: &TcpListener) -> Self {
        listener.set_nonblocking(true).unwrap();
        let accepted = std::cell::RefCell::new(None);
        let is_there = || {
            *accepted.borrow_mut() = listener.accept().ok();
            accepted.borrow().is_some()
        };
        assert!(wait(is_there), "nobody connects");
        let (stream, _) = accepted.into_inner().unwrap();
        stream.set_nonblocking(false).unwrap();
        Self::new(stream)
    }

    pub(crate) fn connect_over(stream: TcpStream) -> Self {
        Self::new(stream)
    }

    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }
}

impl<S: Read + Write> Peer<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self.stream.flush().unwrap();
    }

    /// The next message; panics when the stream ends.
    pub(crate) fn hear(&mut self) -> Message {
        self.try_hear().expect("a message")
    }

    /// The next message, or `None` when the stream ends.
    pub(crate) fn try_hear(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.take() {
                return Some(message);
            }
            if !self.read() {
                return None;
            }
        }
    }

    fn take(&mut self) -> Option<Message> {
        let text = String::from_utf8_lossy(&self.unread).into_owned();
        let (head, _) = text.split_once("\r\n\r\n")?;
        let length = head
            .lines()
            .find_map(|l| l.strip_prefix("Content-Length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        let whole = head.len() + 4 + length;
        (self.unread.len() >= whole).then(|| {
            let bytes: Vec<u8> = self.unread.drain(..whole).collect();
            Message(String::from_utf8(bytes).unwrap())
        })
    }

    /// The next final response to a request.
    pub(crate) fn final_response(&mut self) -> Message {
        loop {
            let message = self.hear();
            if message.status().is_some_and(|status| status >= 200) {
                return message;
            }
        }
    }

    /// Reads exactly so many bytes.
    pub(crate) fn hear_bytes(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            assert!(self.read(), "the stream ends after {:?}", self.unread);
        }
        self.unread.drain(..count).collect()
    }

    /// Waits until the other side closes; what it says before is thrown away.
    pub(crate) fn until_closed(&mut self) {
        while self.read() {}
    }

    fn read(&mut self) -> bool {
        let mut buffer = [0; 16_384];
        match self.stream.read(&mut buffer) {
            Ok(read) => {
                self.unread.extend_from_slice(&buffer[..read]);
                read > 0
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing comes, and nobody closes")
            }
            Err(_) => false,
        }
    }
}

impl Message {
    pub(crate) fn status(&self) -> Option<u16> {
        self.0.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The first header of a name.
    pub(crate) fn header(&self, name: &str) -> &str {
        let start = format!("{name}: ");
        let line = self.0.lines().find(|line| line.starts_with(&start));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.0))
            .split_at(start.len())
            .1
    }

    /// All headers of a name as they stand there.
    pub(crate) fn lines(&self, name: &str) -> String {
        let start = format!("{name}: ");
        let lines = self.0.split_inclusive("\r\n");
        lines.filter(|line| line.starts_with(&start)).collect()
    }

    /// A response with this status.
    pub(crate) fn answer(&self, status: &str, more: &str) -> String {
        let tag = match self.header("To").contains(";tag=") {
            true => "",
            false => ";tag=callee",
        };
        format!(
            "SIP/2.0 {status}\r\n{}{}From: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n{more}\
             Content-Length: 0\r\n\r\n",
            self.lines("Via"),
            self.lines("Record-Route"),
            self.header("From"),
            self.header("To"),
            self.header("Call-ID"),
            self.header("CSeq"),
        )
    }
}

/// A request of a phone at `via`, `TCP 127.0.0.1:5060`.
pub(crate) fn request(
    method: &str,
    user: &str,
    (transport, via): (&str, &str),
    call: &str,
) -> String {
    let more = match method {
        "INVITE" => format!("Contact: <sip:caller@{via};transport={transport}>\r\n"),
        _ => String::new(),
    };
    format!(
        "{method} sip:{user}@example.com SIP/2.0\r\n\
         Via: SIP/2.0/{transport} {via};branch=z9hG4bK{call}{method}\r\nMax-Forwards: 70\r\n\
         From: <sip:caller@example.com>;tag=1\r\nTo: <sip:{user}@example.com>\r\n\
         Call-ID: {call}\r\nCSeq: 1 {method}\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

/// The ACK of an INVITE that was answered with a failure.
pub(crate) fn ack(invite: &str, response: &Message) -> String {
    let to = format!("To: {}\r\n", response.header("To"));
    let mut lines: Vec<String> = invite.split_inclusive("\r\n").map(str::to_owned).collect();
    for line in &mut lines {
        if line.starts_with("To: ") {
            line.clone_from(&to);
        }
    }
    let text = lines.concat();
    let text = text.replacen("INVITE sip", "ACK sip", 1);
    text.replace("CSeq: 1 INVITE", "CSeq: 1 ACK")
}
