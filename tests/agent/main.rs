//! `pointsman agent` from the outside: a private D-Bus with a logind that the test plays, a real
//! server, and what colleagues see.
//!
//! Needs `dbus-daemon` (`make deps`); without it each test says that it was left out.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![expect(unreachable_pub, reason = "the modules of a test binary share")]
#![expect(
    clippy::disallowed_methods,
    reason = "these tests live in real time and on real sockets"
)]

mod logind;
#[path = "../network/mod.rs"]
mod network;
mod server;
mod tls;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use logind::{Bus, Logind};
use server::{ADMIN, PATIENCE, Server};

/// A running agent; it ends with its test.
struct Agent {
    child: Child,
    stderr: Option<ChildStderr>,
}

impl Agent {
    /// Anna's agent at a server.
    fn start(bus: &str, server: &str, token: &str, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pointsman"))
            .args(["agent", "--server", server, "--client-id", "desk"])
            .args(more)
            .env("DBUS_SYSTEM_BUS_ADDRESS", bus)
            .env("POINTSMAN_TOKEN", token)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take();
        Self { child, stderr }
    }

    /// Waits for its end; the exit code, and what it said.
    fn ended(mut self) -> (i32, String) {
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the agent does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut said = String::new();
        let mut stderr = self.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code().unwrap_or(-1), said)
    }

    /// Waits until it says something like that.
    fn hear(&mut self, text: &str) {
        let lines = BufReader::new(self.stderr.as_mut().unwrap()).lines();
        let mut said = Vec::new();
        for line in lines.map_while(Result::ok) {
            if line.contains(text) {
                return;
            }
            said.push(line);
        }
        panic!("never {text:?} but {said:?}");
    }

    fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn minutes_ago_us(minutes: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_micros()).unwrap() - minutes * 60_000_000
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_or_idle_desk_makes_its_person_away_until_somebody_is_back() {
    let Some(bus) = Bus::start() else { return };
    let server = Server::start();
    let logind = Logind::on(&bus.address).await;
    let token = server.token_of("anna");
    let agent = Agent::start(&bus.address, &server.api, &token, &[]);
    server.until_signals("the desk is in use", |signals| {
        signals[0]["id"] == "desk" && signals[0].get("locked_since").is_none()
    });
    assert_eq!(server.status()["status"], "available");
    logind.set(|session| session.locked = true).await;
    server.until_status("away");
    let why = &server.status()["layers"][0];
    assert_eq!(
        (&why["layer"], &why["cause"]),
        (&json!("idle"), &json!("locked"))
    );
    logind.set(|session| session.locked = false).await;
    server.until_status("available");
    // Idle for less than the minutes that were set is not away yet.
    let since = minutes_ago_us(2);
    logind
        .set(move |session| session.idle_since = Some(since))
        .await;
    server.until_signals("idle", |signals| signals[0].get("idle_since").is_some());
    assert_eq!(server.status()["status"], "available");
    let since = minutes_ago_us(10);
    logind
        .set(move |session| session.idle_since = Some(since))
        .await;
    server.until_status("away");
    logind.set(|session| session.idle_since = None).await;
    server.until_status("available");
    logind.sleep(true).await;
    server.until_status("away");
    logind.sleep(false).await;
    server.until_status("available");
    logind.set(|session| session.locked = true).await;
    server.until_status("away");
    agent.terminate();
    let (code, said) = agent.ended();
    assert_eq!(code, 0, "{said}");
    assert_eq!(server.signals(), json!([]), "taken back at the end");
    server.until_status("available");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_renewed_also_over_a_server_that_comes_back() {
    let Some(bus) = Bus::start() else { return };
    let mut server = Server::start();
    let logind = Logind::on(&bus.address).await;
    let token = server.token_of("anna");
    let mut agent = Agent::start(&bus.address, &server.api, &token, &["--renew", "1"]);
    let first = server.until_signals("told", |signals| signals[0]["until"].is_string());
    server.until_signals("renewed", |signals| {
        signals[0]["until"].as_str() > first[0]["until"].as_str()
    });
    server.stop();
    agent.hear("trying again");
    logind.set(|session| session.locked = true).await;
    server.restart();
    server.until_status("away");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_way_is_said() {
    let Some(bus) = Bus::start() else { return };
    let server = Server::start();
    let token = server.token_of("anna");
    let nowhere = "unix:path=/nonexistent/bus";
    let (code, said) = Agent::start(nowhere, &server.api, &token, &[]).ended();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("there is no system bus"), "{said}");
    let (code, said) = Agent::start(&bus.address, &server.api, &token, &[]).ended();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("logind does not answer"), "{said}");
    let _logind = Logind::on(&bus.address).await;
    let (code, said) = Agent::start(&bus.address, &server.api, "wrong", &[]).ended();
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("the token is not known"), "{said}");
    let (code, said) = Agent::start(&bus.address, &server.api, ADMIN, &[]).ended();
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--subscriber"), "{said}");
    let whose = ["--subscriber", "nobody"];
    let (code, said) = Agent::start(&bus.address, &server.api, ADMIN, &whose).ended();
    assert_eq!(code, 4, "{said}");
    let (code, said) = Agent::start(&bus.address, "ftp://example.com", &token, &[]).ended();
    assert_eq!(code, 2, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn https_is_spoken_with_servers_that_the_system_trusts() {
    let Some(bus) = Bus::start() else { return };
    let server = Server::start();
    let _logind = Logind::on(&bus.address).await;
    let front = tls::Front::before(&server.api).await;
    let token = server.token_of("anna");
    let mut untrusting = Agent::start(&bus.address, &front.url, &token, &[]);
    untrusting.hear("trying again");
    assert_eq!(server.signals(), json!([]));
    drop(untrusting);
    let mut child = Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(["agent", "--server", &front.url, "--client-id", "desk"])
        .env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address)
        .env("POINTSMAN_TOKEN", &token)
        .env("SSL_CERT_FILE", &front.authority)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    server.until_signals("told by https", |signals| signals[0]["id"] == "desk");
    let _ = child.kill();
    let _ = child.wait();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_graphical_session_nothing_is_told() {
    let Some(bus) = Bus::start() else { return };
    let server = Server::start();
    let logind = Logind::on(&bus.address).await;
    let token = server.token_of("anna");
    let _agent = Agent::start(&bus.address, &server.api, &token, &[]);
    server.until_signals("told", |signals| signals[0]["id"] == "desk");
    logind.set(|session| session.is_closing = true).await;
    server.until_signals("withdrawn", |signals| *signals == json!([]));
    logind.set(|session| session.is_closing = false).await;
    server.until_signals("told again", |signals| signals[0]["id"] == "desk");
}
