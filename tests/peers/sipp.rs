//! SIPp as a caller or as whom the call is for, and what it sent and received.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::wait::{end_of, until_true};

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/sipp");
/// After this time SIPp gives up by itself; somewhat later it is ended.
const LIMIT_S: u64 = 40;

/// A SIPp that is to be started.
pub struct Role {
    scenario: String,
    at: SocketAddr,
    to: Option<SocketAddr>,
    arguments: Vec<String>,
    keys: Vec<(String, String)>,
    status: Option<String>,
    is_tcp: bool,
}

/// A running SIPp; it ends with its test.
pub struct Sipp {
    child: Child,
    name: String,
    at: SocketAddr,
    is_tcp: bool,
    folder: PathBuf,
}

/// A message as SIPp saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub is_received: bool,
    pub text: String,
}

impl Role {
    /// Somebody who waits for calls.
    pub fn waiting(scenario: &str, at: SocketAddr) -> Self {
        let role = Self {
            scenario: scenario.to_owned(),
            at,
            to: None,
            arguments: Vec::new(),
            keys: Vec::new(),
            status: None,
            is_tcp: false,
        };
        role.calls(1)
            .key("contact", &at.to_string())
            .key("extra", "Subject: from the PBX")
    }

    /// An external caller who calls `uri`.
    pub fn calling(scenario: &str, at: SocketAddr, to: SocketAddr, uri: &str) -> Self {
        let mut role = Self::waiting(scenario, at);
        role.to = Some(to);
        role.key("uri", uri)
            .key("caller", "\"Carl\" <sip:carl@elsewhere.net>")
            .key("max_forwards", "70")
            .key("extra", "Subject: from the caller")
    }

    /// Over TCP: `t1`, one connection, or `tn`, one for each call.
    pub fn over_tcp(mut self, mode: &str) -> Self {
        self.is_tcp = true;
        let contact = format!("{};transport=tcp", self.at);
        let role = self.argument("-t", mode).key("contact", &contact);
        // Above the number of files that it may open, SIPp does not start.
        role.argument("-max_socket", 100)
    }

    /// Behind a tunnel, which turns its TCP into TLS: what others see it as.
    pub fn behind(self, tunnel: SocketAddr) -> Self {
        let contact = format!("{tunnel};transport=tls");
        self.key("contact", &contact)
    }

    /// Calls from another address.
    pub fn from(mut self, at: SocketAddr) -> Self {
        self.at = at;
        self
    }

    /// Sends to somebody else than the server.
    pub fn towards(mut self, to: SocketAddr) -> Self {
        self.to = Some(to);
        self
    }

    /// How many calls there are; 1 without it.
    pub fn calls(self, calls: u32) -> Self {
        self.argument("-m", calls)
    }

    /// How many calls begin in a second.
    pub fn rate(self, calls_per_s: u32) -> Self {
        self.argument("-r", calls_per_s)
    }

    /// The scenario's pause.
    pub fn pause_ms(self, pause_ms: u32) -> Self {
        self.argument("-d", pause_ms)
    }

    /// Replaces a keyword of the scenario.
    pub fn key(mut self, name: &str, value: &str) -> Self {
        self.keys.retain(|(known, _)| known != name);
        self.keys.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The failure of a scenario that refuses.
    pub fn status(mut self, status: &str) -> Self {
        self.status = Some(status.to_owned());
        self
    }

    /// How often a message is sent again before SIPp gives up.
    pub fn retransmissions(self, limit: u32) -> Self {
        self.argument("-max_retrans", limit)
            .argument("-max_invite_retrans", limit)
            .argument("-max_non_invite_retrans", limit)
    }

    fn argument(mut self, name: &str, value: impl ToString) -> Self {
        if let Some(position) = self.arguments.iter().position(|known| known == name) {
            self.arguments.drain(position..position + 2);
        }
        self.arguments.extend([name.to_owned(), value.to_string()]);
        self
    }

    /// Starts it; who waits is waiting when this returns.
    pub fn start(self, folder: &Path) -> Sipp {
        let name = format!("{}-{}", self.scenario, self.at.port());
        let name = format!("{}-{name}", self.at.ip().to_string().replace(':', "_"));
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new("sipp");
        if let Some(to) = self.to {
            command.arg(to.to_string());
        }
        command.arg("-sf").arg(self.scenario_file(&folder));
        command.args(["-i", &self.at.ip().to_string()]);
        command.args(["-p", &self.at.port().to_string()]);
        command.args([
            "-nostdin",
            "-timeout_error",
            "-timeout",
            &format!("{LIMIT_S}s"),
        ]);
        command.args(["-trace_msg", "-message_file", "messages", "-trace_err"]);
        command
            .args(["-error_file", "errors"])
            .args(&self.arguments);
        for (name, value) in &self.keys {
            command.args(["-key", name, value]);
        }
        let child = command
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut sipp = Sipp {
            child,
            name: self.scenario,
            at: self.at,
            is_tcp: self.is_tcp,
            folder,
        };
        if self.to.is_none() {
            sipp.wait_until_bound();
        }
        sipp
    }

    /// The scenario, as it is or with another status or transport.
    fn scenario_file(&self, folder: &Path) -> PathBuf {
        let file = Path::new(SCENARIOS).join(format!("{}.xml", self.scenario));
        if self.status.is_none() && !self.is_tcp {
            return file;
        }
        let mut text = std::fs::read_to_string(&file).unwrap();
        if let Some(status) = &self.status {
            assert!(text.contains("486 Busy Here"), "{}", file.display());
            text = text.replace("486 Busy Here", status);
        }
        if self.is_tcp {
            let [via, own] = ["SIP/2.0/UDP", "[local_ip]:[local_port]>"];
            text = text.replace(via, "SIP/2.0/TCP").replace(own, "[contact]>");
        }
        let copy = folder.join("scenario.xml");
        std::fs::write(&copy, text).unwrap();
        copy
    }
}

impl Sipp {
    /// Waits for its regular end: all its calls went as its scenario says.
    pub fn finish(mut self) -> Log {
        let ended = end_of(&mut self.child, Duration::from_secs(LIMIT_S + 5));
        let is_good = ended.is_some_and(|status| status.success());
        assert!(
            is_good,
            "{} failed, {ended:?}: {}",
            self.name,
            self.account()
        );
        self.log()
    }

    /// Tells a SIPp that talks until it is told otherwise to hang up all its calls.
    pub fn hang_up(&self) {
        let any = if self.at.is_ipv6() {
            "[::1]:0"
        } else {
            "127.0.0.1:0"
        };
        let test = UdpSocket::bind(any).unwrap();
        let from = test.local_addr().unwrap();
        let messages = self.log().0;
        let call_ids: HashSet<_> = messages.iter().map(|m| m.header("Call-ID")).collect();
        for call_id in call_ids {
            let info = format!(
                "INFO sip:{} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKinfo\r\n\
                 From: <sip:test@{from}>;tag=t\r\nTo: <sip:{}>\r\nCall-ID: {call_id}\r\n\
                 CSeq: 1 INFO\r\nContent-Length: 0\r\n\r\n",
                self.at, self.at
            );
            test.send_to(info.as_bytes(), self.at).unwrap();
        }
    }

    /// Hangs up, and waits for the regular end.
    pub fn hang_up_and_finish(self) -> Log {
        self.hang_up();
        self.finish()
    }

    /// Ends it now, whatever it still waits for.
    pub fn stop(mut self) -> Log {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.log()
    }

    /// What it sent and received so far.
    pub fn log(&self) -> Log {
        Log(read_messages(&self.folder.join("messages")))
    }

    /// Everything it can tell, for a failed test.
    fn account(&self) -> String {
        let errors = std::fs::read_to_string(self.folder.join("errors")).unwrap_or_default();
        let errors: String = errors.chars().take(2_000).collect();
        format!("{errors}\n{:#?}", self.log().first_lines())
    }

    fn wait_until_bound(&mut self) {
        let at = self.at;
        until_true(&format!("SIPp at {at}"), || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{} at {at}: {}", self.name, self.account());
            is_bound(at, self.is_tcp)
        });
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a socket waits at an address for datagrams or for connections.
pub fn is_bound(at: SocketAddr, is_tcp: bool) -> bool {
    let (table, listening) = match is_tcp {
        true => ("tcp", " 0A "),
        false => ("udp", " "),
    };
    let (six, address) = match at.ip() {
        IpAddr::V4(ip) => ("", hex(&ip.octets())),
        IpAddr::V6(ip) => ("6", hex(&ip.octets())),
    };
    let start = format!(" {address}:{:04X} ", at.port());
    let sockets = std::fs::read_to_string(format!("/proc/net/{table}{six}")).unwrap();
    let mut lines = sockets.lines();
    lines.any(|line| line.contains(&start) && line.contains(listening))
}

/// An address as the kernel writes it: words of four bytes in the machine's order.
fn hex(octets: &[u8]) -> String {
    let words = octets.chunks(4).map(|word| {
        let word = u32::from_ne_bytes(word.try_into().unwrap());
        format!("{word:08X}")
    });
    words.collect()
}

/// Reads `-trace_msg`: a line of dashes, a line that says which way, the message.
fn read_messages(file: &Path) -> Vec<Seen> {
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).replace("\r\n", "\n");
    text.split("-----------------------------------------------")
        .filter_map(|part| {
            let (head, message) = part.split_once(":\n\n")?;
            let is_received = head.contains("message received");
            let is_whole = is_received || head.contains("message sent");
            is_whole.then(|| Seen {
                is_received,
                text: message.to_owned(),
            })
        })
        .collect()
}

impl Seen {
    pub fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    pub fn status(&self) -> Option<u16> {
        let rest = self.first_line().strip_prefix("SIP/2.0 ")?;
        rest.get(..3)?.parse().ok()
    }

    pub fn method(&self) -> Option<&str> {
        let first = self.first_line().split(' ').next()?;
        (self.status().is_none() && !first.is_empty()).then_some(first)
    }

    /// The values of all header lines of that name.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        let head = self.text.split("\n\n").next().unwrap_or_default();
        head.lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(key, _)| key.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }

    /// The first header line of that name; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers(name).first().copied().unwrap_or_default()
    }
}

/// The messages of one SIPp, in order.
#[derive(Debug, Clone)]
pub struct Log(pub Vec<Seen>);

impl Log {
    /// The statuses of the responses it got to its INVITEs, in order, without 100.
    pub fn answers(&self) -> Vec<u16> {
        let of_invite = self
            .without_repetitions()
            .filter(|m| m.header("CSeq").ends_with("INVITE"));
        let statuses = of_invite.filter_map(Seen::status);
        statuses.filter(|status| *status != 100).collect()
    }

    /// The methods of the requests it got, in order.
    pub fn requests(&self) -> Vec<&str> {
        self.without_repetitions()
            .filter_map(Seen::method)
            .collect()
    }

    /// The first response of that status that it got.
    pub fn answer(&self, status: u16) -> &Seen {
        let found = self.received().find(|m| m.status() == Some(status));
        found.unwrap_or_else(|| panic!("no {status}: {:#?}", self.first_lines()))
    }

    /// The first request of that method that it got.
    pub fn request(&self, method: &str) -> &Seen {
        let found = self.received().find(|m| m.method() == Some(method));
        found.unwrap_or_else(|| panic!("no {method}: {:#?}", self.first_lines()))
    }

    /// What it got, without what came again because the machine was slow.
    fn without_repetitions(&self) -> impl Iterator<Item = &Seen> {
        let mut known = HashSet::new();
        self.received().filter(move |m| known.insert(&m.text))
    }

    pub fn received(&self) -> impl Iterator<Item = &Seen> {
        self.0.iter().filter(|message| message.is_received)
    }

    /// Which way each message went, and its first line.
    pub fn first_lines(&self) -> Vec<String> {
        let line = |m: &Seen| {
            let way = if m.is_received { "<-" } else { "->" };
            format!("{way} {}", m.first_line())
        };
        self.0.iter().map(line).collect()
    }
}
