//! A phone of a few lines on a UDP socket, for what no program at hand does.

use std::net::{SocketAddr, UdpSocket};

use crate::sipp::Seen;
use crate::wait::until;

/// A socket from which is said what a test writes.
pub struct Phone {
    socket: UdpSocket,
    server: SocketAddr,
}

impl Phone {
    /// A phone at an address, in front of a server.
    pub fn new(at: SocketAddr, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind(at).unwrap();
        let look = std::time::Duration::from_millis(100);
        socket.set_read_timeout(Some(look)).unwrap();
        Self { socket, server }
    }

    pub fn at(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    pub fn send(&self, message: &str) {
        self.socket
            .send_to(message.as_bytes(), self.server)
            .unwrap();
    }

    /// A request of its own, outside of dialogs: its first lines, then `more`, which ends with the
    /// empty line and the body.
    pub fn ask(&self, method: &str, uri: &str, call: &str, more: &str) {
        self.send(&self.request(method, uri, call, more));
    }

    pub fn request(&self, method: &str, uri: &str, call: &str, more: &str) -> String {
        let at = self.at();
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{call}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:phone@{at}>;tag=f{call}\r\nTo: <{uri}>\r\n\
             Call-ID: {call}\r\nCSeq: 1 {method}\r\nContact: <sip:phone@{at}>\r\n{more}"
        )
    }

    /// The next message that `fits`; others are left unread.
    pub fn hear(&self, what: &str, fits: impl Fn(&Seen) -> bool) -> Seen {
        until(what, || {
            let mut buffer = [0; 65_536];
            let length = self.socket.recv(&mut buffer).ok()?;
            let text = String::from_utf8_lossy(&buffer[..length]).replace("\r\n", "\n");
            let seen = Seen {
                is_received: true,
                text,
            };
            fits(&seen).then_some(seen)
        })
    }

    /// The next request of a method.
    pub fn request_of(&self, method: &str) -> Seen {
        self.hear(method, |m| m.method() == Some(method))
    }

    /// The next final response to a call.
    pub fn final_of(&self, call: &str) -> Seen {
        self.hear(&format!("an answer to {call}"), |m| {
            m.header("Call-ID") == call && m.status().is_some_and(|status| status >= 200)
        })
    }

    /// Answers a request; `more` are further header lines.
    pub fn answer(&self, request: &Seen, status: &str, more: &str) {
        let lines = |name: &str| {
            let values = request.headers(name).into_iter();
            values
                .map(|value| format!("{name}: {value}\r\n"))
                .collect::<String>()
        };
        let tag = match request.header("To").contains(";tag=") {
            true => "",
            false => ";tag=phone",
        };
        self.send(&format!(
            "SIP/2.0 {status}\r\n{}{}From: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:phone@{}>\r\n{more}Content-Length: 0\r\n\r\n",
            lines("Via"),
            lines("Record-Route"),
            request.header("From"),
            request.header("To"),
            request.header("Call-ID"),
            request.header("CSeq"),
            self.at(),
        ));
    }
}
