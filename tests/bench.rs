//! `bench` as a stranger runs it: the real binary, against itself and against the real server.
#![expect(clippy::disallowed_methods, reason = "a silent port is played")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod network;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use network::Network;
use serde_json::Value;

const SUBSCRIBERS: &str = concat!(
    r#"{"id":"anna","password":"correct horse","settings":{"in_call":{"immediate":"connect"}}}"#,
    "\n",
    r#"{"id":"bert","settings":{"in_call":{"immediate":"connect"}}}"#,
    "\n",
    r#"{"id":"carl","status":"away","settings":{"away":{"immediate":{"forward":"sip:x@192.0.2.7"}}}}"#,
    "\n",
    r#"{"id":"dora","status":"dnd"}"#,
    "\n",
    r#"{"id":"emil","status":"away","settings":{"away":{"immediate":"voicemail"}}}"#,
    "\n",
);

fn pointsman(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(arguments)
        .output()
        .unwrap()
}

fn bench(arguments: &[&str]) -> Output {
    pointsman(&[&["bench"], arguments].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The document of a run that ended with this code.
fn document(output: &Output, code: i32) -> Value {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    serde_json::from_str(&out).unwrap()
}

/// Where nobody listens.
const NOBODY: &str = "127.0.0.1:9";

/// A running server with some subscribers; dropping it kills it.
struct Server {
    directory: tempfile::TempDir,
    child: Child,
    sip: SocketAddr,
    api: String,
    callee: SocketAddr,
    voicemail: SocketAddr,
    _network: Network,
}

impl Server {
    fn start() -> Self {
        Self::start_with("")
    }

    /// With more lines in its configuration.
    fn start_with(more: &str) -> Self {
        Self::start_as(true, more)
    }

    /// The registrar of its users: nobody stands behind it.
    fn registrar() -> Self {
        Self::start_as(false, "[auth]\nmethods = []\n")
    }

    /// Before a next hop, or without one.
    fn start_as(has_next_hop: bool, more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let network = Network::claim();
        let [sip, callee, voicemail] = [1, 2, 3].map(|n| SocketAddr::new(network.host(n), 5060));
        let config = directory.path().join("pointsman.toml");
        let next_hop = match has_next_hop {
            true => format!("next_hop = \"sip:{callee}\"\n"),
            false => String::new(),
        };
        let text = format!(
            "[store]\npath = {:?}\n[api]\nlisten = \"127.0.0.1:0\"\n[sip]\n\
             listen = [\"udp:{sip}\", \"tcp:{sip}\"]\nshards = 1\ndomains = [\"127.0.0.1\"]\n\
             {next_hop}voicemail = \"sip:vm-{{subscriber}}@{voicemail}\"\n\
             forwarding = \"redirect\"\nvoicemail_forwarding = \"retarget\"\n{more}",
            directory.path().join("store"),
        );
        std::fs::write(&config, text).unwrap();
        let users = directory.path().join("users.jsonl");
        std::fs::write(&users, SUBSCRIBERS).unwrap();
        let imported = pointsman(&["import", path(&users), "--config", path(&config)]);
        assert!(imported.status.success(), "{imported:?}");
        let mut child = Command::new(env!("CARGO_BIN_EXE_pointsman"))
            .args(["serve", "--config", path(&config)])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut ready).unwrap();
        assert!(ready.starts_with("READY "), "{ready:?}");
        let api = ready.split_once("api=").unwrap().1.trim().to_owned();
        Self {
            directory,
            child,
            sip,
            api,
            callee,
            voicemail,
            _network: network,
        }
    }

    fn users(&self) -> PathBuf {
        self.directory.path().join("users.jsonl")
    }

    /// How many subscriptions it has open.
    fn subscriptions(&self) -> u64 {
        let mut stream = TcpStream::connect(self.api.trim_start_matches("http://")).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let mut lines = answer.lines();
        let open = lines.find_map(|line| line.strip_prefix("pointsman_subscriptions_open"));
        let value = open.unwrap().split_whitespace().next_back();
        value.unwrap().parse().unwrap()
    }

    /// Waits until it has so many open.
    fn until_subscriptions(&self, count: u64) {
        let start = Instant::now();
        while self.subscriptions() != count {
            assert!(start.elapsed() < Duration::from_secs(10), "{count}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Plays so many calls of a mix, two at a time.
    fn bench(&self, mix: &str, more: &[&str]) -> Output {
        let (sip, callee) = (self.sip.to_string(), self.callee.to_string());
        let (voicemail, users) = (self.voicemail.to_string(), self.users());
        let arguments = [
            "--server",
            &sip,
            "--callee",
            &callee,
            "--voicemail",
            &voicemail,
            "--domain",
            "127.0.0.1",
            "--subscribers",
            path(&users),
            "--mix",
            mix,
            "--json",
        ];
        bench(&[&arguments, more].concat())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_tool_proves_itself_against_its_reflector() {
    let output = bench(&[
        "--self-test",
        "--duration",
        "1s",
        "--warm-up",
        "200ms",
        "--window",
        "20",
    ]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    for part in ["redirect: ", "call: ", "a whole core would drive"] {
        assert!(out.contains(part), "{out}");
    }
    assert!(out.contains(" 0 failed"), "{out}");
}

#[test]
fn calls_redirects_and_rejections_of_the_real_server_are_right_over_udp_and_tcp() {
    let server = Server::start();
    let id = server.child.id().to_string();
    for transport in ["udp", "tcp"] {
        let more = [
            "--transport",
            transport,
            "--count",
            "60",
            "--window",
            "2",
            "--server-pid",
            &id,
        ];
        let output = server.bench("call=2,redirect=1,reject=1,voicemail=1", &more);
        let document = document(&output, 0);
        assert_eq!(document["failed"], 0, "{document:#}");
        assert_eq!(document["counts"]["right"], 60, "{document:#}");
        assert_eq!(document["counts"]["unexpected"], 0, "{document:#}");
        assert_eq!(document["statuses"]["200"], 36);
        assert_eq!(document["statuses"]["302"], 12);
        assert_eq!(document["statuses"]["480"], 12);
        assert_eq!(document["latency_us"]["added"]["count"], 36);
        assert_eq!(document["latency_us"]["bye"]["count"], 36);
        assert!(document["server_process"]["rss_bytes"].as_u64().unwrap() > 1 << 20);
    }
}

#[test]
fn challenged_calls_are_placed_again_with_credentials() {
    let server = Server::start_with("[auth]\nmethods = [\"INVITE\"]\n");
    for transport in ["udp", "tcp"] {
        let common = [
            "--count",
            "12",
            "--transport",
            transport,
            "--from",
            "sip:anna@{domain}",
        ];
        let with = [&common[..], &["--credentials", "anna:correct horse"]].concat();
        let paid = document(&server.bench("call=2,redirect=1,reject=1", &with), 0);
        assert_eq!(paid["counts"]["right"], 12, "{paid:#}");
        assert_eq!(paid["counts"]["challenged"], 12, "{paid:#}");
        assert_eq!(
            paid["statuses"],
            serde_json::json!({"200": 6, "302": 3, "480": 3})
        );
        // Without them the challenge is the final answer, and what would help is told.
        let output = server.bench("call", &common);
        assert!(
            text(&output.stderr).contains("--credentials USER:PASSWORD"),
            "{output:?}"
        );
        assert_eq!(document(&output, 1)["statuses"]["407"], 12);
    }
    // Refused ones are not tried for ever.
    let wrong = [
        "--count",
        "2",
        "--from",
        "sip:anna@{domain}",
        "--credentials",
        "anna:x",
    ];
    let refused = document(&server.bench("call", &wrong), 1);
    assert_eq!(refused["counts"]["challenged"], 4, "{refused:#}");
}

#[test]
fn subscriptions_at_the_real_server_are_right_over_udp_and_tcp() {
    let server = Server::registrar();
    for (transport, event) in [("udp", "dialog"), ("tcp", "dialog"), ("udp", "presence")] {
        let more = ["--count", "20", "--transport", transport, "--event", event];
        let more = [&more[..], &["--from", "sip:anna@{domain}"]].concat();
        let played = document(&server.bench("subscribe", &more), 0);
        assert_eq!(played["counts"]["right"], 20, "{played:#}");
        assert_eq!(played["counts"]["unexpected"], 0, "{played:#}");
        assert_eq!(played["statuses"]["200"], 20, "{played:#}");
        assert_eq!(played["latency_us"]["notified"]["count"], 20);
        assert_eq!(played["latency_us"]["bye"]["count"], 20);
        assert_eq!(server.subscriptions(), 0);
    }
    let guarded = Server::start_as(false, "");
    let more = ["--count", "4", "--from", "sip:anna@{domain}"];
    let more = [&more[..], &["--credentials", "anna:correct horse"]].concat();
    let paid = document(&guarded.bench("subscribe", &more), 0);
    assert_eq!(paid["counts"]["right"], 4, "{paid:#}");
    assert!(paid["counts"]["challenged"].as_u64().unwrap() >= 4);
}

#[test]
fn changes_are_counted_and_an_interrupted_run_leaves_no_subscription() {
    let server = Server::registrar();
    let sip = server.sip.to_string();
    let arguments = [
        ["--server", &sip],
        ["--scenario", "subscribe"],
        ["--event", "presence"],
        ["--users", "bert"],
        ["--domain", "127.0.0.1"],
        ["--from", "sip:anna@{domain}"],
        ["--window", "30"],
        ["--hold", "60s"],
        ["--warm-up", "200ms"],
        ["--duration", "60s"],
    ];
    let running = Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(["bench", "--json"])
        .args(arguments.concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    server.until_subscriptions(30);
    std::thread::sleep(Duration::from_millis(500));
    for status in ["away", "dnd"] {
        let set = pointsman(&["--api", &server.api, "status", "set", "bert", status]);
        assert!(set.status.success(), "{set:?}");
        std::thread::sleep(Duration::from_millis(300));
    }
    let id = running.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let told = document(&running.wait_with_output().unwrap(), 0);
    assert_eq!(told["counts"]["notifications"], 60, "{told:#}");
    assert!(told["notifications_per_s"].as_f64().unwrap() > 0.0);
    assert_eq!(told["counts"]["left_open"], 0, "{told:#}");
    server.until_subscriptions(0);
}

#[test]
fn calls_that_nobody_answers_are_cancelled_and_an_open_loop_keeps_its_rate() {
    let server = Server::start();
    let output = server.bench(
        "no-answer",
        &["--count", "10", "--window", "1", "--ring", "50ms"],
    );
    let cancelled = document(&output, 0);
    assert_eq!(cancelled["statuses"]["487"], 10, "{cancelled:#}");
    let more = ["--rate", "50", "--duration", "1s", "--warm-up", "200ms"];
    let paced = document(&server.bench("redirect", &more), 0);
    let placed = paced["counts"]["placed"].as_u64().unwrap();
    assert!((45..=60).contains(&placed), "{placed}");
    // Answers other than the scenario wants are failures, and the exit code says so.
    let output = server.bench("redirect=1", &["--count", "3", "--expect", "301"]);
    let failed = document(&output, 1);
    assert_eq!(failed["counts"]["wrong_status"], 3, "{failed:#}");
    let output = server.bench(
        "redirect=1",
        &["--count", "3", "--expect", "301", "--max-failures", "100"],
    );
    document(&output, 0);
}

#[test]
fn a_generator_that_was_stopped_says_that_the_machine_was_away() {
    let server = Server::start();
    let sip = server.sip.to_string();
    let mut running = Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(["bench", "--server", &sip, "--scenario", "reject"])
        .args(["--users", "dora", "--domain", "127.0.0.1", "--json"])
        .args(["--rate", "50", "--duration", "1s", "--warm-up", "0s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let signal = |name: &str, id: u32| {
        let sent = Command::new("kill").args([name, &id.to_string()]).status();
        assert!(sent.unwrap().success());
    };
    // Again and again, so that one stop falls into the interval.
    while running.try_wait().unwrap().is_none() {
        signal("-STOP", running.id());
        std::thread::sleep(Duration::from_millis(100));
        signal("-CONT", running.id());
        std::thread::sleep(Duration::from_millis(200));
    }
    let output = running.wait_with_output().unwrap();
    let generator = document(&output, 0)["generator"].clone();
    let number = |name: &str| generator[name].as_f64().unwrap();
    assert!(number("held_up") >= 1.0, "{generator:#}");
    assert!(number("held_up_max_ms") >= 90.0, "{generator:#}");
    assert!(number("held_up_percent") >= 5.0, "{generator:#}");
    let err = text(&output.stderr);
    assert!(err.contains("the machine was not there for"), "{err}");
}

#[test]
fn a_server_that_ends_during_a_run_leaves_what_was_measured() {
    let mut server = Server::start();
    let (id, sip) = (server.child.id().to_string(), server.sip.to_string());
    let arguments = [
        "--server",
        &sip,
        "--scenario",
        "reject",
        "--users",
        "dora",
        "--rate",
        "50",
    ];
    let more = [
        "--domain",
        "127.0.0.1",
        "--warm-up",
        "0s",
        "--server-pid",
        &id,
    ];
    let mut running = Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .arg("bench")
        .args([&arguments[..], &more].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(running.try_wait().unwrap(), None);
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let output = running.wait_with_output().unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{out}\n{err}");
    assert!(
        out.contains("(ended early)") && out.contains("\n480 "),
        "{out}"
    );
    assert!(err.contains("ended during the run"), "{err}");
}

#[test]
fn runs_are_written_compared_and_laid_beside_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let server = Server::start();
    let page = file("page.html");
    for label in ["before", "after"] {
        let to = file(&format!("{label}.json"));
        let more = ["--count", "5", "--label", label, path(&to)];
        let output = server.bench("reject", &more);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(
            text(&output.stdout).contains("calls/s over"),
            "{}",
            text(&output.stdout)
        );
    }
    let (before, after) = (file("before.json"), file("after.json"));
    let compared = [
        "--compare",
        path(&before),
        "--compare",
        path(&after),
        "--report",
        path(&page),
        "--markdown",
    ];
    let output = bench(&compared);
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        out.contains("| load | server |") && out.contains("| after |"),
        "{out}"
    );
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("before") && page.contains("<svg") && !page.contains("http://"));
}

#[test]
fn what_cannot_work_is_said_within_seconds() {
    let output = bench(&["--server", NOBODY]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        text(&output.stderr).contains("nothing answers at"),
        "{output:?}"
    );
    let output = bench(&["--server", NOBODY, "--transport", "tcp"]);
    assert_eq!(output.status.code(), Some(3));
    // Somebody has the port, and says nothing.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let output = bench(&["--server", &address]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        text(&output.stderr).contains("has answered none of"),
        "{output:?}"
    );
    let output = bench(&["--server", &address, "--callee", &address]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("another program has it"),
        "{output:?}"
    );
    // Before a call is played, not when its result is to be written.
    let output = bench(&["--server", NOBODY, "--report", "/nowhere/page.html"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("/nowhere/page.html: No such"),
        "{output:?}"
    );
    for (arguments, part) in [
        (
            &["--server", "127.0.0.1", "--window", "1", "--threads", "2"][..],
            "needs one call at least",
        ),
        (&["--server", "127.0.0.1", "--count", "0"][..], "--count"),
        (
            &["--server", "192.0.2.1:5060"][..],
            "neither loopback nor private",
        ),
        (&[][..], "--server says which server to call"),
        (
            &["--server", "127.0.0.1", "--mix", "calls=1"][..],
            "there are call, redirect",
        ),
        (
            &["--server", "127.0.0.1", "--users", "u[1..x]"][..],
            "is no range",
        ),
        (
            &["--server", "127.0.0.1", "--users", "redirect=a"][..],
            "the mix does not have",
        ),
        (
            &["--server", "127.0.0.1", "out.json"][..],
            "with --json only",
        ),
        (
            &["--server", "127.0.0.1", "--to", "sip:{usr}@x"][..],
            "there is no {usr}",
        ),
        (
            &["--server", "127.0.0.1", "--server-pid", "999999999"][..],
            "no such process",
        ),
    ] {
        let output = bench(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {output:?}");
        assert!(
            text(&output.stderr).contains(part),
            "{arguments:?} {output:?}"
        );
    }
}
