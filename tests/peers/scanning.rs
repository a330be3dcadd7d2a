//! sipvicious: who scans a server finds that there is one, guesses no name and no password, and is
//! shut out; those who are trusted notice nothing.

use std::net::UdpSocket;
use std::ops::RangeInclusive;
use std::process::Command;
use std::time::Duration;

use crate::program::{Said, run};
use crate::stage::*;
use crate::wait::{are_peers_wanted, until_true};

const LIMIT: Duration = Duration::from_secs(40);
/// The port from which is scanned: sipvicious binds it on every address.
const OWN_PORT: &str = "47110";
/// We are the registrar; the mobile network is trusted.
const KEYS: &str = r#"# next_hop =
[[peer]]
name = "trunk"
address = "{mobile}"
[auth]
md5_only = true"#;

/// 101, 102 and 175 exist.
fn office() -> Stage {
    let with_password = |id: &str, number: u16, password: u16| {
        format!(r#"{{"id":"{id}","aliases":["{number}"],"password":"{password}"}}"#)
    };
    let subscribers = [
        with_password("anna", 101, 1_050),
        with_password("bob", 102, 1_003),
        with_password("carol", 175, 9_999),
    ];
    Stage::new(KEYS, &subscribers)
}

fn scan(stage: &Stage, tool: &str, arguments: &[&str]) -> Said {
    let mut command = Command::new(tool);
    command
        .env("HOME", stage.folder())
        .current_dir(stage.folder());
    command.args(["-P", OWN_PORT]).args(arguments);
    if tool != "svmap" {
        // After so many seconds without an answer it gives up.
        command.arg("--maximumtime=5");
    }
    let server = stage.address().ip().to_string();
    let said = run(command.arg(server), LIMIT);
    assert!(said.code.is_some(), "{tool} does not end: {}", said.text);
    assert!(!said.text.contains("Traceback"), "{}", said.text);
    said
}

/// The sources that are shut out.
fn bans(stage: &Stage) -> usize {
    stage.server.get("bans")["bans"].as_array().unwrap().len()
}

/// Calls by a stranger, one after the other, each answered or not within a moment.
fn call_numbers(stage: &Stage, numbers: RangeInclusive<u16>) {
    let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
    phone
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let from = phone.local_addr().unwrap();
    let send = |method: &str, number: u16, to: &str| {
        let message = format!(
            "{method} sip:{number}@example.com SIP/2.0\r\n\
             Via: SIP/2.0/UDP {from};branch=z9hG4bK{number}\r\nMax-Forwards: 70\r\n\
             From: <sip:scan@example.org>;tag=1\r\n{to}\r\nCall-ID: scan-{number}\r\n\
             CSeq: 1 {method}\r\nContact: <sip:scan@{from}>\r\nContent-Length: 0\r\n\r\n"
        );
        phone.send_to(message.as_bytes(), stage.address()).unwrap();
        let mut buffer = [0; 2_048];
        let length = phone.recv(&mut buffer).unwrap_or_default();
        let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let mut lines = answer.lines();
        lines
            .find(|line| line.starts_with("To:"))
            .map(str::to_owned)
    };
    for number in numbers {
        let to = format!("To: <sip:{number}@example.com>");
        if let Some(answered) = send("INVITE", number, &to) {
            send("ACK", number, &answered);
        }
    }
}

/// A call by somebody who is trusted, to a phone that is not there: it is answered.
fn assert_trusted_are_served(stage: &Stage) {
    let trunk = stage.calling("uac_call", TO_ANNA).from(stage.mobile());
    assert_eq!(stage.start(trunk).finish().answers(), [480]);
}

#[test]
fn a_scan_finds_one_server_and_no_extension() {
    if !are_peers_wanted() {
        return;
    }
    let stage = office();
    let said = scan(&stage, "svmap", &["-p5060"]);
    assert_eq!(said.text.matches(":5060 |").count(), 1, "{}", said.text);
    for method in ["REGISTER", "OPTIONS"] {
        let careful = ["-m", method, "-e100-180"];
        let forced = ["-m", method, "-e100-180", "--force"];
        for arguments in [&careful[..], &forced] {
            let said = scan(&stage, "svwar", arguments);
            assert!(!said.text.contains("| 1"), "{}", said.text);
            assert!(said.text.contains("found nothing"), "{}", said.text);
        }
    }
    assert_trusted_are_served(&stage);
    stage.assert_forgotten();
}

#[test]
fn who_calls_number_after_number_finds_nobody_and_is_shut_out_before_long() {
    if !are_peers_wanted() {
        return;
    }
    let stage = office();
    let said = scan(&stage, "svwar", &["-m", "INVITE", "-e100-180", "--force"]);
    assert!(said.text.contains("found nothing"), "{}", said.text);
    // To svwar a 480 says nothing, and it gives up; who goes on is shut out.
    call_numbers(&stage, 100..=180);
    assert_eq!(bans(&stage), 1, "{}", said.text);
    let again = scan(&stage, "svwar", &["-m", "INVITE", "-e170-176", "--force"]);
    assert!(again.text.contains("found nothing"), "{}", again.text);
    assert_trusted_are_served(&stage);
    until_true("no call is left", || stage.calls().is_empty());
    stage.assert_forgotten();
}

#[test]
fn who_tries_password_after_password_is_shut_out_before_long() {
    if !are_peers_wanted() {
        return;
    }
    let stage = office();
    let said = scan(&stage, "svcrack", &["-u", "101", "-r1000-1100"]);
    assert!(!said.text.contains("| 101"), "{}", said.text);
    assert_eq!(bans(&stage), 1, "{}", said.text);
    let before_kib = stage.server.resident_kib();
    for user in ["101", "102", "nobody"] {
        let said = scan(&stage, "svcrack", &["-u", user, "-r1000-1100"]);
        assert!(!said.text.contains("| 10"), "{}", said.text);
    }
    let grown_kib = stage.server.resident_kib().saturating_sub(before_kib);
    assert!(grown_kib < 16 * 1_024, "{grown_kib} KiB more");
    let refused = "pointsman_authentication_failures_total";
    assert!(stage.server.metric_sum(refused) <= 20);
    assert_trusted_are_served(&stage);
    stage.assert_forgotten();
}
