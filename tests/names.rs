//! The real binary with a name server of a few lines: what names lead to, and what happens when
//! that changes or nobody answers.
#![expect(clippy::disallowed_methods, reason = "phones have sockets, and clocks")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod network;

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, NAPTR, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record};
use network::Network;

/// How long anything may take on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the name server says.
#[derive(Default)]
struct Zone {
    /// By `KIND name`, with its time to live.
    records: BTreeMap<String, (u32, Vec<RData>)>,
    /// Names below these are not answered yet.
    slow: HashSet<String>,
    is_dead: bool,
    queries: usize,
}

/// A name server; it ends with the test's process.
#[derive(Clone)]
struct NameServer {
    zone: Arc<Mutex<Zone>>,
    address: SocketAddr,
}

impl NameServer {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = Self {
            zone: Arc::default(),
            address: socket.local_addr().unwrap(),
        };
        let zone = Arc::clone(&server.zone);
        std::thread::spawn(move || {
            let mut buffer = [0; 1_500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                answer(&zone, &socket, from, &buffer[..length]);
            }
        });
        server
    }

    fn set(&self, key: &str, ttl_s: u32, records: Vec<RData>) {
        let mut zone = self.zone.lock().unwrap();
        zone.records.insert(key.to_owned(), (ttl_s, records));
    }

    fn srv(&self, domain: &str, ttl_s: u32, targets: &[(u16, u16, u16)]) {
        let host = Name::from_utf8(format!("host.{domain}.")).unwrap();
        let record = |(priority, weight, port): &(u16, u16, u16)| {
            RData::SRV(SRV::new(*priority, *weight, *port, host.clone()))
        };
        self.set(
            &format!("SRV _sip._udp.{domain}"),
            ttl_s,
            targets.iter().map(record).collect(),
        );
        let address = RData::A(A::new(127, 0, 0, 1));
        self.set(&format!("A host.{domain}"), ttl_s, vec![address]);
    }

    fn be_dead(&self, is_dead: bool) {
        self.zone.lock().unwrap().is_dead = is_dead;
    }

    fn queries(&self) -> usize {
        self.zone.lock().unwrap().queries
    }
}

fn answer(zone: &Mutex<Zone>, socket: &UdpSocket, from: SocketAddr, query: &[u8]) {
    let query = Message::from_vec(query).unwrap();
    let question = query.queries[0].clone();
    let name = question
        .name()
        .to_ascii()
        .trim_end_matches('.')
        .to_lowercase();
    let mut response = Message::response(query.metadata.id, OpCode::Query);
    response.add_query(question.clone());
    response.metadata.recursion_available = true;
    let mut zone = zone.lock().unwrap();
    zone.queries += 1;
    if zone.is_dead {
        return;
    }
    match zone
        .records
        .get(&format!("{} {name}", question.query_type()))
    {
        Some((ttl_s, records)) => {
            for data in records {
                let record = Record::from_rdata(question.name().clone(), *ttl_s, data.clone());
                response.add_answer(record);
            }
        }
        None => {
            let is_below = |key: &String| key.ends_with(&format!(" {name}"));
            if !zone.records.keys().any(is_below) {
                response.metadata.response_code = ResponseCode::NXDomain;
            }
        }
    }
    let bytes = response.to_vec().unwrap();
    let is_slow = zone.slow.iter().any(|slow| name.ends_with(slow));
    drop(zone);
    if !is_slow {
        socket.send_to(&bytes, from).unwrap();
    }
}

/// The server under test.
struct Server {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    sip: SocketAddr,
    api: SocketAddr,
    directory: tempfile::TempDir,
    calls: usize,
    phone: UdpSocket,
}

fn configuration(directory: &tempfile::TempDir, names: SocketAddr, sip: &str) -> String {
    format!(
        "[store]\npath = {:?}\n[api]\nlisten = \"127.0.0.1:0\"\n[shutdown]\ngrace_s = 0\n\
         [dns]\nservers = [\"{names}\"]\ntimeout_ms = 2000\n[sip]\n\
         listen = [\"udp:127.0.0.1:0\"]\nshards = 2\ndomains = [\"example.com\"]\n{sip}\n",
        directory.path().join("store"),
    )
}

impl Server {
    fn start(names: SocketAddr, sip: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pointsman.toml");
        std::fs::write(&file, configuration(&directory, names, sip)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_pointsman"))
            .args(["serve", "--config"])
            .arg(&file)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        stdout.read_line(&mut ready).unwrap();
        let after = |mark: &str| {
            let rest = ready
                .split_once(mark)
                .unwrap_or_else(|| panic!("{ready:?}"))
                .1;
            rest.split_whitespace().next().unwrap().parse().unwrap()
        };
        let (sip, api) = (after("sip=udp:"), after("api=http://"));
        let server = Self {
            child,
            _stdout: stdout,
            sip,
            api,
            directory,
            calls: 0,
            phone: UdpSocket::bind("127.0.0.1:0").unwrap(),
        };
        server.add(r#"{"id":"anna","display_name":"Anna","aliases":["101"]}"#);
        server
    }

    fn http(&self, request: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.api).unwrap();
        let length = body.len();
        write!(
            stream,
            "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn add(&self, subscriber: &str) {
        let answer = self.http("POST /api/v1/subscribers", subscriber);
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }

    fn peers(&self) -> serde_json::Value {
        let answer = self.http("GET /api/v1/peers", "");
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// Calls somebody; hands back the Call-ID.
    fn call(&mut self, number: &str) -> String {
        self.calls += 1;
        let call_id = format!("call-{}", self.calls);
        let from = self.phone.local_addr().unwrap();
        let message = format!(
            "INVITE sip:{number}@example.com SIP/2.0\r\n\
             Via: SIP/2.0/UDP {from};branch=z9hG4bK{call_id}\r\nMax-Forwards: 70\r\n\
             From: <sip:bob@example.org>;tag=1\r\nTo: <sip:{number}@example.com>\r\n\
             Call-ID: {call_id}\r\nCSeq: 1 INVITE\r\nContact: <sip:bob@{from}>\r\n\
             Content-Length: 0\r\n\r\n"
        );
        self.phone.send_to(message.as_bytes(), self.sip).unwrap();
        call_id
    }

    /// The final status that the phone gets for a call.
    fn status(&self, call_id: &str) -> u16 {
        let answer = receive(&self.phone, |text| {
            text.contains(&format!("Call-ID: {call_id}\r\n")) && !text.starts_with("SIP/2.0 1")
        });
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Calls until a call arrives at that system.
    fn call_until(&mut self, arrives: &System, number: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let call_id = self.call(number);
            if arrives.sees(&call_id, Duration::from_millis(1_000)) {
                return;
            }
            assert!(Instant::now() < deadline, "no call arrives; {}", self.log());
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Something with a SIP port that answers nothing, as far as calls go.
struct System(UdpSocket);

impl System {
    fn new() -> Self {
        Self(UdpSocket::bind("127.0.0.1:0").unwrap())
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// Whether the INVITE of a call comes in time. It is refused, so that nothing hangs on.
    fn sees(&self, call_id: &str, patience: Duration) -> bool {
        self.0
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let deadline = Instant::now() + patience;
        let mut buffer = [0; 4_096];
        while Instant::now() < deadline {
            let Ok((length, from)) = self.0.recv_from(&mut buffer) else {
                continue;
            };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.starts_with("INVITE ") {
                self.refuse(&text, from);
                if text.contains(&format!("Call-ID: {call_id}\r\n")) {
                    return true;
                }
            }
        }
        false
    }

    fn refuse(&self, invite: &str, to: SocketAddr) {
        let kept = |line: &&str| {
            ["Via:", "From:", "Call-ID:", "CSeq:"]
                .iter()
                .any(|name| line.starts_with(name))
        };
        let lines: Vec<&str> = invite.split("\r\n").filter(kept).collect();
        let to_line = invite
            .split("\r\n")
            .find(|line| line.starts_with("To:"))
            .unwrap();
        let answer = format!(
            "SIP/2.0 486 Busy Here\r\n{}\r\n{to_line};tag=x\r\nContent-Length: 0\r\n\r\n",
            lines.join("\r\n")
        );
        self.0.send_to(answer.as_bytes(), to).unwrap();
    }
}

fn receive(socket: &UdpSocket, is_wanted: impl Fn(&str) -> bool) -> String {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 4_096];
    loop {
        let length = socket.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if is_wanted(&text) {
            return text;
        }
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn naptr_srv_and_addresses_lead_to_the_pbx_by_priority() {
    let (names, first, second) = (NameServer::start(), System::new(), System::new());
    let service = Name::from_utf8("_sip._udp.pbx.test.").unwrap();
    let text = |text: &str| text.as_bytes().into();
    let naptr = NAPTR::new(10, 10, text("s"), text("SIP+D2U"), text(""), service);
    let unknown = Name::from_utf8("_sip._sctp.pbx.test.").unwrap();
    let sctp = NAPTR::new(5, 10, text("s"), text("SIP+D2S"), text(""), unknown);
    let records = vec![RData::NAPTR(naptr), RData::NAPTR(sctp)];
    names.set("NAPTR pbx.test", 300, records);
    names.srv(
        "pbx.test",
        300,
        &[(1, 0, first.port()), (2, 0, second.port())],
    );
    let mut server = Server::start(names.address, "next_hop = \"sip:pbx.test\"");
    for _ in 0..4 {
        let call_id = server.call("101");
        assert!(first.sees(&call_id, PATIENCE), "{}", server.log());
    }
    let peers = server.peers();
    let targets = &peers["systems"][0]["targets"];
    assert_eq!(targets[0]["address"], format!("127.0.0.1:{}", first.port()));
    assert_eq!(targets[1]["priority"], 2);
}

#[test]
fn calls_are_divided_by_weight() {
    let (names, a, b) = (NameServer::start(), System::new(), System::new());
    names.srv("pbx.test", 300, &[(1, 50, a.port()), (1, 50, b.port())]);
    let mut server = Server::start(names.address, "next_hop = \"sip:pbx.test\"");
    let mut seen = [0, 0];
    for _ in 0..24 {
        let call_id = server.call("101");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if a.sees(&call_id, Duration::from_millis(100)) {
                seen[0] += 1;
                break;
            }
            if b.sees(&call_id, Duration::from_millis(100)) {
                seen[1] += 1;
                break;
            }
            assert!(Instant::now() < deadline, "the call went nowhere");
        }
    }
    // That one of them gets none of 24 happens once in 8 million runs.
    assert!(seen.iter().all(|n| *n > 0), "{seen:?}");
}

#[test]
fn a_change_is_picked_up_and_a_dead_name_server_changes_nothing() {
    let (names, old, new) = (NameServer::start(), System::new(), System::new());
    names.srv("pbx.test", 1, &[(1, 1, old.port())]);
    let mut server = Server::start(names.address, "next_hop = \"sip:pbx.test\"");
    let call_id = server.call("101");
    assert!(old.sees(&call_id, PATIENCE), "{}", server.log());
    names.srv("pbx.test", 1, &[(1, 1, new.port())]);
    server.call_until(&new, "101");

    names.be_dead(true);
    until("it is noticed that nobody answers", || {
        server.log().contains("cannot be resolved")
    });
    let call_id = server.call("101");
    assert!(new.sees(&call_id, PATIENCE), "what was found stays in use");
    let metrics = server.http("GET /metrics", "");
    assert!(
        !metrics.contains("pointsman_dns_failures_total 0"),
        "{metrics}"
    );
    let reloaded = server.http("POST /api/v1/reload", "");
    assert!(reloaded.starts_with("HTTP/1.1 200"), "{reloaded}");

    names.be_dead(false);
    names.srv("pbx.test", 1, &[(1, 1, old.port())]);
    server.call_until(&old, "101");
}

#[test]
fn a_start_needs_no_name_server_and_a_check_does() {
    let (names, pbx) = (NameServer::start(), System::new());
    names.srv("pbx.test", 60, &[(1, 1, pbx.port())]);
    names.be_dead(true);
    let mut server = Server::start(names.address, "next_hop = \"sip:pbx.test\"");
    assert!(
        server.log().contains("a configured name leads nowhere"),
        "{}",
        server.log()
    );
    let file = server.directory.path().join("pointsman.toml");
    let check = |file: &std::path::Path| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
        command.arg("check-config").arg(file).output().unwrap()
    };
    let checked = check(&file);
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(
        said.contains("sip.next_hop: the name \"pbx.test\" leads nowhere"),
        "{said}"
    );

    names.be_dead(false);
    server.call_until(&pbx, "101");
    assert_eq!(check(&file).status.code(), Some(0));
    until("the PBX is known by its address", || {
        server.peers()["peers"].to_string().contains("127.0.0.1")
    });
}

#[test]
fn a_slow_name_holds_up_nobody_and_one_that_is_not_there_is_answered() {
    let (names, pbx, far) = (NameServer::start(), System::new(), System::new());
    names.srv("pbx.test", 300, &[(1, 1, pbx.port())]);
    names.srv("slow.test", 300, &[(1, 1, far.port())]);
    names
        .zone
        .lock()
        .unwrap()
        .slow
        .insert("slow.test".to_owned());
    let sip = "next_hop = \"sip:pbx.test\"\nforwarding = \"retarget\"";
    let mut server = Server::start(names.address, sip);
    for (id, target) in [("slow", "sip:x@slow.test"), ("gone", "sip:x@gone.test")] {
        server.add(&format!(
            r#"{{"id":"{id}","display_name":"{id}","aliases":["{id}"],
                "settings":{{"available":{{"immediate":{{"forward":"{target}"}}}}}}}}"#
        ));
    }
    let slow = server.call("slow");
    let direct = server.call("101");
    assert!(pbx.sees(&direct, PATIENCE));
    assert!(server.status(&slow) >= 400, "nobody waits for ever");
    names.zone.lock().unwrap().slow.clear();
    server.call_until(&far, "slow");
    let gone = server.call("gone");
    assert!(server.status(&gone) >= 400, "{}", server.log());
    let asked = names.queries();
    let gone = server.call("gone");
    assert!(server.status(&gone) >= 400);
    assert_eq!(
        names.queries(),
        asked,
        "that it is not there is believed for a while"
    );
}

/// A real name server, where it is installed; `make test` installs it.
struct Dnsmasq(Child);

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn dnsmasq_says_where_the_pbx_is() {
    if Command::new("dnsmasq").arg("--version").output().is_err() {
        let must = std::env::var_os("POINTSMAN_REAL_PEERS").is_some();
        assert!(
            !must,
            "POINTSMAN_REAL_PEERS is set, but there is no `dnsmasq`"
        );
        return;
    }
    let pbx = System::new();
    let network = Network::claim();
    let at = SocketAddr::new(network.host(1), 5300);
    let child = Command::new("dnsmasq")
        .args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
        ])
        .args(["--bind-interfaces", "--pid-file", "--user=root"])
        .arg(format!("--listen-address={}", at.ip()))
        .arg(format!("--port={}", at.port()))
        .arg("--local=/pbx.test/")
        .arg("--naptr-record=pbx.test,10,10,s,SIP+D2U,,_sip._udp.pbx.test")
        .arg(format!(
            "--srv-host=_sip._udp.pbx.test,node.pbx.test,{},1,1",
            pbx.port()
        ))
        .arg("--cname=node.pbx.test,real.pbx.test")
        .arg("--host-record=real.pbx.test,127.0.0.1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _dnsmasq = Dnsmasq(child);
    let mut server = Server::start(at, "next_hop = \"sip:pbx.test\"");
    server.call_until(&pbx, "101");
}
