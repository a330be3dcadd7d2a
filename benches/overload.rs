//! More calls than the server can handle, offered to the real binary: how many go through.
//!
//! An open loop: new calls come at their rate whether or not earlier ones are answered. A call counts
//! when its BYE is answered. What is sent again: a BYE that nothing answers, as a phone would.
//! Run it on a quiet machine: `cargo bench --bench overload`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a bench that cannot set itself up has failed"
)]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SECONDS: u64 = 3;
const AFTERWARDS: Duration = Duration::from_secs(3);
const T1: Duration = Duration::from_millis(500);
const OPEN: usize = 50;

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The server with one shard, and its address.
fn server(directory: &std::path::Path, callee: SocketAddr, extra: &str) -> (Running, SocketAddr) {
    let config = directory.join("pointsman.toml");
    let text = format!(
        "[sip]\nlisten = [\"udp:127.0.0.1:0\"]\ndomains = [\"example.com\"]\n\
         next_hop = \"sip:{callee}\"\nshards = 1\n[store]\npath = \"{}\"\n\
         [api]\nlisten = \"127.0.0.1:0\"\n[log]\nlevel = \"error\"\n[auth]\nmethods = []\n{extra}",
        directory.join("data").display()
    );
    fs::write(&config, text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(["serve", "--config"])
        .arg(&config)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.find(|line| line.as_ref().unwrap().starts_with("READY"));
    let ready = ready.unwrap().unwrap();
    let address = ready.split("udp:").nth(1).unwrap().split(' ').next();
    (Running(child), address.unwrap().parse().unwrap())
}

/// One call as its caller knows it.
struct Call {
    bye: Option<(Vec<u8>, Instant)>,
}

#[derive(Default, Clone, Copy)]
struct Tally {
    offered: u64,
    done: u64,
    refused: u64,
    /// Answered, and never properly ended.
    stuck: u64,
    worst_ms: u128,
}

struct Load {
    caller: UdpSocket,
    callee: UdpSocket,
    server: SocketAddr,
    calls: HashMap<u64, Call>,
    begun: HashMap<u64, Instant>,
    next: u64,
    tally: Tally,
    buffer: Vec<u8>,
}

impl Load {
    fn invite(&mut self) {
        let (number, local) = (self.next, self.caller.local_addr().unwrap());
        self.next += 1;
        self.tally.offered += 1;
        let text = format!(
            "INVITE sip:{number}@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{number}i\r\n\
             Max-Forwards: 70\r\nFrom: <sip:load@elsewhere.net>;tag=f{number}\r\n\
             To: <sip:{number}@example.com>\r\nCall-ID: {number}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:load@{local}>\r\nContent-Length: 0\r\n\r\n"
        );
        self.begun.insert(number, Instant::now());
        let _ = self.caller.send_to(text.as_bytes(), self.server);
    }

    /// Handles what has come to the caller; whether anything had.
    fn hear_caller(&mut self) -> bool {
        let Some(text) = receive(&self.caller, &mut self.buffer) else {
            return false;
        };
        let number: u64 = header(&text, "Call-ID").parse().unwrap();
        let (status, is_bye) = (&text[8..11], header(&text, "CSeq").ends_with("BYE"));
        if is_bye && self.calls.remove(&number).is_some() {
            self.tally.done += 1;
        }
        if is_bye || status.starts_with('1') {
            return true;
        }
        if status != "200" {
            if self.begun.remove(&number).is_some() {
                self.tally.refused += 1;
            }
            return true;
        }
        let routes: String = lines(&text, "Record-Route")
            .map(|route| format!("Route: {route}\r\n"))
            .collect();
        let (local, to) = (self.caller.local_addr().unwrap(), header(&text, "To"));
        let target = self.callee.local_addr().unwrap();
        let request = |method: &str, cseq: u32| {
            format!(
                "{method} sip:x@{target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{number}{method}\r\n\
                 {routes}Max-Forwards: 70\r\nFrom: <sip:load@elsewhere.net>;tag=f{number}\r\nTo: {to}\r\n\
                 Call-ID: {number}\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
            )
        };
        let _ = self
            .caller
            .send_to(request("ACK", 1).as_bytes(), self.server);
        if let Some(begun) = self.begun.remove(&number) {
            self.tally.worst_ms = self.tally.worst_ms.max(begun.elapsed().as_millis());
            let bye = request("BYE", 2).into_bytes();
            let _ = self.caller.send_to(&bye, self.server);
            let bye = Some((bye, Instant::now()));
            self.calls.insert(number, Call { bye });
        }
        true
    }

    /// Answers what has come to the callee; whether anything had.
    fn hear_callee(&mut self) -> bool {
        let Some(text) = receive(&self.callee, &mut self.buffer) else {
            return false;
        };
        let copied = ["Via", "Record-Route", "From", "Call-ID", "CSeq"];
        let mut head: String = copied
            .iter()
            .flat_map(|name| lines(&text, name).map(move |value| format!("{name}: {value}\r\n")))
            .collect();
        let to = header(&text, "To");
        let tag = if to.contains(";tag=") { "" } else { ";tag=u" };
        let local = self.callee.local_addr().unwrap();
        head += &format!("To: {to}{tag}\r\nContact: <sip:x@{local}>\r\nContent-Length: 0\r\n\r\n");
        let statuses: &[&str] = match text.split(' ').next().unwrap() {
            "INVITE" => &["180 Ringing", "200 OK"],
            "ACK" => &[],
            _ => &["200 OK"],
        };
        for status in statuses {
            let answer = format!("SIP/2.0 {status}\r\n{head}");
            let _ = self.callee.send_to(answer.as_bytes(), self.server);
        }
        true
    }

    fn hear(&mut self) -> bool {
        let mut has_any = false;
        for _ in 0..16 {
            let (caller, callee) = (self.hear_caller(), self.hear_callee());
            has_any |= caller || callee;
            if !caller && !callee {
                break;
            }
        }
        has_any
    }

    fn repeat_byes(&mut self) {
        for call in self.calls.values_mut() {
            if let Some((bye, sent)) = &mut call.bye
                && sent.elapsed() > T1
            {
                *sent = Instant::now();
                let _ = self.caller.send_to(bye, self.server);
            }
        }
    }

    /// So many calls a second; with 0 as many as `OPEN` at a time allow.
    fn run(&mut self, rate: u64) -> (Tally, f64) {
        self.tally = Tally::default();
        let (start, first) = (Instant::now(), self.next);
        let mut byes = start;
        while start.elapsed() < Duration::from_secs(SECONDS) {
            let due = match rate {
                0 => {
                    self.next - first
                        + OPEN.saturating_sub(self.begun.len() + self.calls.len()) as u64
                }
                _ => start.elapsed().as_micros() as u64 * rate / 1_000_000,
            };
            for _ in 0..due.saturating_sub(self.next - first).min(64) {
                self.invite();
            }
            self.hear();
            if byes.elapsed() > T1 {
                byes = Instant::now();
                self.repeat_byes();
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        let in_time = self.tally.done;
        let end = Instant::now();
        while end.elapsed() < AFTERWARDS {
            if !self.hear() {
                std::thread::park_timeout(Duration::from_micros(200));
                self.repeat_byes();
            }
        }
        let mut tally = std::mem::take(&mut self.tally);
        tally.stuck = self.calls.len() as u64;
        self.calls.clear();
        self.begun.clear();
        (tally, in_time as f64 / seconds)
    }
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Option<String> {
    match socket.recv_from(buffer) {
        Ok((length, _)) => Some(String::from_utf8_lossy(&buffer[..length]).into_owned()),
        Err(error) => {
            assert!(matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::ConnectionRefused
            ));
            None
        }
    }
}

fn lines<'t>(text: &'t str, name: &'t str) -> impl Iterator<Item = &'t str> {
    text.split("\r\n")
        .filter_map(|line| line.split_once(": "))
        .filter(move |(key, _)| *key == name)
        .map(|(_, value)| value)
}

fn header<'t>(text: &'t str, name: &'t str) -> &'t str {
    lines(text, name).next().unwrap_or_default()
}

fn bound() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    for (title, extra) in [
        ("as it is", ""),
        (
            "overload.max_delay_ms = 0",
            "[overload]\nmax_delay_ms = 0\n",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let callee = bound();
        let (_running, server) = server(directory.path(), callee.local_addr().unwrap(), extra);
        let mut load = Load {
            caller: bound(),
            callee,
            server,
            calls: HashMap::new(),
            begun: HashMap::new(),
            next: 0,
            tally: Tally::default(),
            buffer: vec![0; 65_536],
        };
        let (_, capacity) = load.run(0);
        println!("{title}: capacity {capacity:.0} calls/s (closed loop, {OPEN} open)");
        for times in [1, 2, 4, 10] {
            let (tally, goodput) = load.run(capacity as u64 * times);
            println!(
                "  {times:>2} x: offered {:>7}/s, goodput {goodput:>6.0}/s ({:.0} %), refused {}, \
                 unanswered {}, never ended {}, worst set-up {} ms",
                tally.offered / SECONDS,
                100.0 * goodput / capacity,
                tally.refused,
                tally.offered - tally.done - tally.refused - tally.stuck,
                tally.stuck,
                tally.worst_ms,
            );
        }
    }
}
