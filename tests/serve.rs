//! The real binary: start, calls, reload, drain, end.
#![expect(clippy::disallowed_methods, reason = "phones have sockets, and clocks")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const ANNA: &str = r#"{"id":"anna","display_name":"Anna Arndt","aliases":["101"],"status":"dnd"}"#;
const BERT: &str = r#"{"id":"bert","display_name":"Bert Busch","aliases":["102"]}"#;

/// A directory with a configuration and a store.
struct Site {
    directory: tempfile::TempDir,
    more: String,
}

/// A running server; dropping it kills it.
struct Server {
    child: Child,
    log: PathBuf,
    _stdout: BufReader<ChildStdout>,
    sip: SocketAddr,
    api: SocketAddr,
}

impl Site {
    fn new(more: &str) -> Self {
        let site = Self {
            directory: tempfile::tempdir().unwrap(),
            more: more.to_owned(),
        };
        site.write("");
        site
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("pointsman.toml")
    }

    fn write(&self, sip: &str) {
        let text = format!(
            "[store]\npath = {:?}\n[api]\nlisten = \"127.0.0.1:0\"\n{}\n[sip]\n\
             listen = [\"udp:127.0.0.1:0\"]\nshards = 2\ndomains = [\"example.com\"]\n{sip}\n",
            self.directory.path().join("store"),
            self.more,
        );
        std::fs::write(self.file(), text).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
        command.args(["serve", "--config"]).arg(self.file());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn serve(&self) -> Server {
        let log = self.directory.path().join("log");
        let mut command = self.command();
        command.stderr(std::fs::File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
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
        assert!(ready.starts_with("READY "), "{ready:?}");
        let (sip, api) = (after("sip=udp:"), after("api=http://"));
        Server {
            child,
            log,
            _stdout: stdout,
            sip,
            api,
        }
    }

    /// What a server that does not start says.
    fn fail(&self) -> String {
        let output = self.command().output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    }
}

impl Server {
    fn signal(&self, signal: &str) {
        let command = format!("kill -{signal} {}", self.child.id());
        assert!(
            Command::new("sh")
                .args(["-c", &command])
                .status()
                .unwrap()
                .success()
        );
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

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits for the end; the exit code and the log.
    fn ended(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        (code, self.log())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn phone() -> UdpSocket {
    let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
    phone
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    phone
}

fn invite(phone: &UdpSocket, to: SocketAddr, number: &str, call_id: &str) {
    let from = phone.local_addr().unwrap();
    let message = format!(
        "INVITE sip:{number}@example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP {from};branch=z9hG4bK{call_id}\r\nMax-Forwards: 70\r\n\
         From: <sip:bob@example.org>;tag=1\r\nTo: <sip:{number}@example.com>\r\n\
         Call-ID: {call_id}\r\nCSeq: 1 INVITE\r\nContact: <sip:bob@{from}>\r\n\
         Content-Length: 0\r\n\r\n"
    );
    phone.send_to(message.as_bytes(), to).unwrap();
}

/// The status of the final response to a call.
fn call(to: SocketAddr, number: &str, call_id: &str) -> u16 {
    let phone = phone();
    invite(&phone, to, number, call_id);
    loop {
        let mut buffer = [0; 4_096];
        let length = phone.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]);
        let status: u16 = text.split(' ').nth(1).unwrap().parse().unwrap();
        if status >= 200 {
            return status;
        }
    }
}

/// Waits until `is_so`.
fn until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came true");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn a_server_starts_reloads_and_ends() {
    let site = Site::new("[log]\nformat = \"json\"");
    let server = site.serve();
    server.add(ANNA);
    assert!(server.http("GET /healthz", "").starts_with("HTTP/1.1 200"));
    assert!(server.http("GET /readyz", "").starts_with("HTTP/1.1 200"));
    assert_eq!(call(server.sip, "101", "first"), 480);
    let decisions = server.http("GET /api/v1/decisions", "");
    assert!(decisions.contains("\"call_id\":\"first\""), "{decisions}");
    assert!(
        server
            .http("GET /metrics", "")
            .contains("pointsman_datagrams_received_total ")
    );

    site.write("dnd_status = 700");
    server.signal("HUP");
    until(|| server.log().contains("the running configuration stays"));
    let answer = server.http("POST /api/v1/reload", "");
    assert!(
        answer.contains("dnd_status") && answer.contains("480, 486, 603"),
        "{answer}"
    );
    assert_eq!(call(server.sip, "101", "second"), 480);
    site.write("dnd_status = 603\nreceive_buffer_bytes = 100000");
    let answer = server.http("POST /api/v1/reload", "");
    assert!(answer.contains("sip.receive_buffer_bytes"), "{answer}");
    assert_eq!(call(server.sip, "101", "third"), 603);
    site.write("dnd_status = 486");
    server.signal("HUP");
    let number = std::cell::Cell::new(0);
    until(|| {
        number.set(number.get() + 1);
        call(server.sip, "101", &format!("hup-{}", number.get())) == 486
    });

    server.signal("TERM");
    let (code, log) = server.ended();
    assert_eq!(code, Some(0), "{log}");
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let call = lines
        .iter()
        .find(|line| line["call_id"] == "first")
        .unwrap();
    assert_eq!(
        (&call["status"], &call["decision"]),
        (&480.into(), &"reject".into())
    );
}

#[test]
fn a_server_that_ends_lets_open_calls_finish_and_takes_no_new_ones() {
    let pbx = phone();
    let site = Site::new("[shutdown]\ngrace_s = 60");
    site.write(&format!("next_hop = \"sip:{}\"", pbx.local_addr().unwrap()));
    let server = site.serve();
    server.add(BERT);
    let caller = phone();
    invite(&caller, server.sip, "102", "ringing");
    let mut buffer = [0; 4_096];
    let length = pbx.recv(&mut buffer).unwrap();
    assert!(buffer[..length].starts_with(b"INVITE "));

    server.signal("TERM");
    until(|| server.http("GET /readyz", "").starts_with("HTTP/1.1 503"));
    assert_eq!(call(server.sip, "999", "late"), 503);
    server.signal("TERM");
    let (code, log) = server.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(
        log.contains("ending at once") && log.contains("calls=1"),
        "{log}"
    );
}

#[test]
fn what_keeps_a_server_from_starting_is_said() {
    let site = Site::new("");
    let server = site.serve();
    let locked = site.fail();
    assert!(locked.contains("in use by another process"), "{locked}");
    let other = Site::new("");
    other.write(&format!("x = 1\nlisten = \"udp:{}\"", server.sip));
    let unreadable = other.fail();
    assert!(unreadable.contains("duplicate key"), "{unreadable}");
    other.write("nexthop = \"sip:127.0.0.1\"");
    let unknown = other.fail();
    assert!(
        unknown.contains("pointsman.toml:10:1: sip.nexthop:"),
        "{unknown}"
    );
    let text = std::fs::read_to_string(other.file()).unwrap();
    let text = text.replace("127.0.0.1:0\"]", &format!("{}\"]", server.sip));
    std::fs::write(other.file(), text.replace("nexthop", "next_hop")).unwrap();
    let in_use = other.fail();
    assert!(in_use.contains("another program uses the port"), "{in_use}");
    let open = Site::new("");
    let text = std::fs::read_to_string(open.file()).unwrap();
    std::fs::write(
        open.file(),
        text.replace("listen = \"127.0.0.1:0\"", "listen = \"0.0.0.0:0\""),
    )
    .unwrap();
    assert!(open.fail().contains("there is no token"));
}

/// A REGISTER of a phone on this machine, answered with a status and the whole text.
fn register(phone: &UdpSocket, to: SocketAddr, number: u32, contact: &str) -> (u16, String) {
    let own = phone.local_addr().unwrap();
    let text = format!(
        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKr{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:102@example.com>;tag=1\r\nTo: <sip:102@example.com>\r\n\
         Call-ID: register-{number}\r\nCSeq: {number} REGISTER\r\n{contact}\
         Content-Length: 0\r\n\r\n"
    );
    let mut answer = [0; 65_535];
    for _ in 0..10 {
        phone.send_to(text.as_bytes(), to).unwrap();
        if let Ok(bytes) = phone.recv(&mut answer) {
            let text = String::from_utf8_lossy(&answer[..bytes]).into_owned();
            return (text[8..11].parse().unwrap(), text);
        }
    }
    panic!("no answer to REGISTER {number}");
}

#[test]
fn an_acknowledged_registration_survives_kill_9() {
    let site = Site::new("[auth]\nmethods = []");
    let phone = phone();
    let own = phone.local_addr().unwrap();
    let server = site.serve();
    server.add(BERT);
    for number in 1..=10 {
        let contact = format!("Contact: <sip:p{number}@{own}>;q=0.{}\r\n", number - 1);
        let (status, text) = register(&phone, server.sip, number, &contact);
        assert_eq!(status, 200, "{text}");
    }
    let gone = format!("Contact: <sip:p4@{own}>;expires=0\r\n");
    assert_eq!(register(&phone, server.sip, 11, &gone).0, 200);
    server.signal("KILL");
    drop(server);
    let server = site.serve();
    let (status, text) = register(&phone, server.sip, 12, "");
    assert_eq!(status, 200);
    for number in 1..=10 {
        let is_bound = text.contains(&format!("<sip:p{number}@{own}>"));
        assert_eq!(is_bound, number != 4, "{number}: {text}");
    }
    let path = "/api/v1/subscribers/bert/bindings";
    let listed = server.http(&format!("GET {path}"), "");
    assert_eq!(
        listed.matches("\"is_reachable\":true").count(),
        9,
        "{listed}"
    );
    let output = Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(["--json", "--api", &format!("http://{}", server.api)])
        .args(["bindings", "bert"])
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(shown.matches("sip:p").count(), 9, "{shown}");
    server.http(&format!("DELETE {path}"), "");
    let (_, text) = register(&phone, server.sip, 13, "");
    assert!(!text.contains("Contact:"), "{text}");
}

/// An all-day entry around today, as a calendar writes it.
fn out_of_office() -> String {
    let day = |offset: i64| {
        let now = jiff::Timestamp::now().as_second() + offset * 86_400;
        let at = jiff::Timestamp::from_second(now).unwrap();
        let at = at.to_zoned_datetime(jiff::tz::TimeZone::UTC);
        at.strftime("%Y%m%d").to_string()
    };
    format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:1\r\nSUMMARY:Holiday\r\n\
         DTSTART;VALUE=DATE:{}\r\nDTEND;VALUE=DATE:{}\r\nX-MICROSOFT-CDO-BUSYSTATUS:OOF\r\n\
         END:VEVENT\r\nEND:VCALENDAR\r\n",
        day(-1),
        day(3)
    )
}

#[test]
fn a_calendar_sets_a_status_and_its_end_takes_it_back() {
    let site = Site::new("[presence]\ncalendar_refresh_s = 10");
    let file = site.directory.path().join("anna.ics");
    std::fs::write(&file, out_of_office()).unwrap();
    let server = site.serve();
    let anna = format!(
        r#"{{"id":"anna","aliases":["101"],"calendars":[{file:?}],
            "settings":{{"away":{{"immediate":"missed"}}}}}}"#
    );
    server.add(&anna);
    let status = || server.http("GET /api/v1/subscribers/anna/status", "");
    until(|| status().contains(r#""status":"away""#));
    assert!(status().contains(r#""layer":"calendar""#), "{}", status());
    assert_eq!(call(server.sip, "101", "calendar-1"), 480);
    let calendars = || server.http("GET /api/v1/subscribers/anna/calendars", "");
    assert!(calendars().contains(r#""entries":1}"#), "{}", calendars());
    std::fs::write(&file, "<html>Sign in</html>").unwrap();
    until(|| calendars().contains(r#""code":"no_calendar""#));
    assert!(
        status().contains(r#""status":"away""#),
        "what it said stays: {}",
        status()
    );
    std::fs::write(&file, "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n").unwrap();
    until(|| !status().contains(r#""status":"away""#));
    until(|| !calendars().contains(r#""fault":"#));
}

/// A server of calendars that answers nobody before it was asked so often.
fn patient_calendars(times: usize) -> std::net::SocketAddr {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let asked: Vec<_> = listener
            .incoming()
            .take(times)
            .map(Result::unwrap)
            .collect();
        for mut stream in asked {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            let text = out_of_office();
            let length = text.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{text}");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

#[test]
fn a_calendar_that_hangs_does_not_hold_up_the_others() {
    let site = Site::new("[presence]\ncalendar_networks = [\"127.0.0.1\"]");
    let server = site.serve();
    let calendars = patient_calendars(6);
    let people = ["anna", "bob", "carol", "dave", "erin", "frank"];
    for id in people {
        let feed = format!("http://{calendars}/{id}.ics");
        server.add(&format!(r#"{{"id":"{id}","calendars":["{feed}"]}}"#));
    }
    let is_away = |id: &str| {
        let status = server.http(&format!("GET /api/v1/subscribers/{id}/status"), "");
        status.contains(r#""status":"away""#)
    };
    until(|| people.iter().all(|id| is_away(id)));
}

/// The `sh` blocks of a document, one after the other.
fn shell_blocks(document: &str) -> String {
    let blocks = document.split("```sh\n").skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

fn is_there(program: &str) -> bool {
    let output = Command::new(program).arg("--version").output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn the_shell_examples_of_the_integration_guide_work() {
    if !(is_there("curl") && is_there("jq")) {
        eprintln!("skipped: curl or jq is missing");
        return;
    }
    let site = Site::new("admin_token = \"hunter2\"\n[presence]\ncalendar_refresh_s = 10");
    let server = site.serve();
    let api = format!("http://{}", server.api);
    let calendar = site.directory.path().join("anna.ics");
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_pointsman"));
    let path = format!(
        "{}:{}",
        binary.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let run = |script: &str, token: &str| {
        let mut shell = Command::new("sh");
        let shell = shell.args(["-euc", script]).env("PATH", &path);
        let shell = shell.env("POINTSMAN", &api).env("TOKEN", token);
        let shell = shell
            .env("ADMIN_TOKEN", "hunter2")
            .env("CALENDAR", &calendar);
        let output = shell.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let faults = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{script}\n{text}\n{faults}");
        text
    };
    let admin = |rest: &str| {
        let curl = "curl --fail --silent --header \"Authorization: Bearer $ADMIN_TOKEN\"";
        run(&format!("{curl} {rest}"), "")
    };
    for subscriber in [
        BERT,
        r#"{"id":"anna","display_name":"Anna Arndt","aliases":["101"]}"#,
    ] {
        admin(&format!(
            "--json '{subscriber}' \"$POINTSMAN/api/v1/subscribers\""
        ));
    }
    let made = admin("--json '{}' \"$POINTSMAN/api/v1/subscribers/anna/tokens\" | jq -r .token");
    let guide =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/integration.md"))
            .unwrap();
    let told = run(&shell_blocks(&guide), made.trim());
    assert!(told.contains("At the dentist"), "{told}");
    assert!(told.contains("\"layer\":\"event\""), "{told}");
    let status = || admin("\"$POINTSMAN/api/v1/subscribers/anna/status\"");
    until(|| status().contains("\"layer\":\"calendar\""));
    let shown = status();
    assert!(shown.contains("\"status\":\"away\""), "{shown}");
    assert!(shown.contains("Berlin"), "{shown}");
}

/// A phone's side of a call to a feature code: the final status; after a 200 it acknowledges and
/// waits for the BYE.
fn dial(phone: &UdpSocket, to: SocketAddr, code: &str, call_id: &str) -> u16 {
    let from = phone.local_addr().unwrap();
    let request = |method: &str, cseq: &str, to_tag: &str| {
        format!(
            "{method} sip:{code}@example.com SIP/2.0\r\n\
             Via: SIP/2.0/UDP {from};branch=z9hG4bK{call_id}{method}{to_tag}\r\nMax-Forwards: 70\r\n\
             From: <sip:101@example.com>;tag=1\r\nTo: <sip:{code}@example.com>{to_tag}\r\n\
             P-Asserted-Identity: <sip:anna@example.com>\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n\
             Contact: <sip:anna@{from}>\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let send = |text: &str| phone.send_to(text.as_bytes(), to).unwrap();
    let receive = || {
        let mut buffer = [0; 4_096];
        let length = phone.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    send(&request("INVITE", "1 INVITE", ""));
    let answer = loop {
        let text = receive();
        if !text.starts_with("SIP/2.0 1") {
            break text;
        }
    };
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let tag = answer.lines().find(|line| line.starts_with("To:")).unwrap();
    let tag = format!(";tag={}", tag.rsplit_once(";tag=").unwrap().1);
    send(&request("ACK", "1 ACK", &tag));
    if status == 200 {
        let bye = loop {
            let text = receive();
            if text.starts_with("BYE ") {
                break text;
            }
        };
        let same = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
        let kept = bye
            .lines()
            .filter(|line| same.iter().any(|name| line.starts_with(name)));
        let kept: String = kept.map(|line| format!("{line}\r\n")).collect();
        send(&format!(
            "SIP/2.0 200 OK\r\n{kept}Content-Length: 0\r\n\r\n"
        ));
    }
    status
}

#[test]
fn a_pbx_sends_a_feature_code_and_everybody_sees_it() {
    let site = Site::new(
        "[[peer]]\nname = \"pbx\"\naddress = \"127.0.0.1\"\n[forwarding]\ndeny = [\"+49900*\"]",
    );
    let server = site.serve();
    server.add(r#"{"id":"anna","display_name":"Anna Arndt","aliases":["101"]}"#);
    server.add(BERT);
    let phone = phone();
    let status = || server.http("GET /api/v1/subscribers/anna/status", "");
    let settings = || server.http("GET /api/v1/subscribers/anna/settings/all", "");
    assert_eq!(dial(&phone, server.sip, "*78", "a"), 200);
    assert!(status().contains("\"status\":\"dnd\""), "{}", status());
    assert!(status().contains("\"source\":\"feature_code\""));
    assert_eq!(dial(&phone, server.sip, "*79", "b"), 200);
    assert!(
        status().contains("\"status\":\"available\""),
        "{}",
        status()
    );
    assert_eq!(dial(&phone, server.sip, "*21*102%23", "c"), 200);
    assert!(settings().contains("\"forward\":\"102\""), "{}", settings());
    assert_eq!(dial(&phone, server.sip, "*720900223344", "d"), 403);
    assert_eq!(dial(&phone, server.sip, "*72", "e"), 484);
    assert_eq!(dial(&phone, server.sip, "*72101", "g"), 403, "to oneself");
    assert_eq!(dial(&phone, server.sip, "%2321%23", "f"), 200);
    assert!(!settings().contains("forward"), "{}", settings());
    let journal = server.http("GET /api/v1/subscribers/anna/journal", "");
    assert_eq!(
        journal.matches("\"kind\":\"feature_code\"").count(),
        6,
        "{journal}"
    );
}

/// A SUBSCRIBE to Bert's lamp.
fn subscribe(phone: &UdpSocket, to: SocketAddr, call_id: &str) {
    let own = phone.local_addr().unwrap();
    let text = format!(
        "SUBSCRIBE sip:102@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{call_id}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:anna@example.com>;tag=1\r\nTo: <sip:102@example.com>\r\n\
         Call-ID: {call_id}\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:anna@{own}>\r\n\
         Event: presence\r\nContent-Length: 0\r\n\r\n"
    );
    phone.send_to(text.as_bytes(), to).unwrap();
}

/// Answers every NOTIFY until one for each of `watchers` subscriptions has said `what`; their
/// CSeqs, one behind the other.
fn told(phone: &UdpSocket, watchers: usize, what: &str) -> std::collections::BTreeMap<String, u32> {
    let mut told = std::collections::BTreeMap::new();
    while told.len() < watchers {
        let mut buffer = [0; 4_096];
        let (length, server) = phone.recv_from(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if !text.starts_with("NOTIFY ") {
            assert!(text.starts_with("SIP/2.0 200 "), "{text}");
            continue;
        }
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let copied = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
        let kept = head
            .lines()
            .filter(|line| copied.iter().any(|c| line.starts_with(c)));
        let answer: Vec<&str> = kept.collect();
        let answer = format!(
            "SIP/2.0 200 OK\r\n{}\r\nContent-Length: 0\r\n\r\n",
            answer.join("\r\n")
        );
        phone.send_to(answer.as_bytes(), server).unwrap();
        let value = |name: &str| {
            head.lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap()
        };
        if body.contains(what) {
            let cseq = value("CSeq: ").trim_end_matches(" NOTIFY").parse().unwrap();
            told.insert(value("Call-ID: ").to_owned(), cseq);
        }
    }
    told
}

#[test]
fn lamps_follow_over_kill_9_on_every_shard() {
    const WATCHERS: usize = 40;
    let site = Site::new("[auth]\nmethods = []");
    let phone = phone();
    let server = site.serve();
    server.add(&ANNA.replace("dnd", "available"));
    server.add(BERT);
    for number in 0..WATCHERS {
        subscribe(&phone, server.sip, &format!("lamp-{number}"));
    }
    told(&phone, WATCHERS, "<basic>open</basic>");
    let path = "PUT /api/v1/subscribers/bert/status";
    let answer = server.http(path, r#"{"status":"away","message":"Lunch"}"#);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let before = told(&phone, WATCHERS, "Lunch");
    let metrics = server.http("GET /metrics", "");
    let open = format!("pointsman_subscriptions_open {WATCHERS}\n");
    assert!(metrics.contains(&open), "{metrics}");
    server.signal("KILL");
    server.ended();

    let server = site.serve();
    let after = told(&phone, WATCHERS, "Lunch");
    for (call_id, cseq) in &after {
        assert!(*cseq > before[call_id], "{call_id}");
    }
    server.http(path, r#"{"status":"available"}"#);
    told(&phone, WATCHERS, "<basic>open</basic>");
    let answer = server.http("DELETE /api/v1/subscribers/bert", "");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    told(&phone, WATCHERS, "");
    until(|| {
        server
            .http("GET /metrics", "")
            .contains("pointsman_subscriptions_open 0\n")
    });
}
