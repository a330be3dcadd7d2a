//! sipsak: a ping, a registration with Digest, a flood, and requests with random bytes in them.

use std::process::Command;
use std::time::Duration;

use crate::program::{Said, run};
use crate::stage::*;
use crate::wait::{are_peers_wanted, until_true, within};

/// We are the registrar; sipsak knows MD5 alone.
const KEYS: &str = r#"listen = ["udp:{server}:5060", "tcp:{server}:5060"]
# next_hop =
[auth]
md5_only = true"#;
const ANNA: &str =
    r#"{"id":"anna","display_name":"Anna","aliases":["101"],"password":"correct horse"}"#;
const LIMIT: Duration = Duration::from_secs(20);

/// The host of whoever asks for what is in order.
const GOOD: u8 = 8;
/// The host of whoever does not.
const BAD: u8 = 9;

fn sipsak(stage: &Stage, host: u8, arguments: &[&str]) -> Said {
    let proxy = stage.address().to_string();
    let mut command = Command::new("sipsak");
    command.args(["--local-ip", &stage.host(host).ip().to_string()]);
    command.args(["--outbound-proxy", &proxy]).args(arguments);
    run(&mut command, LIMIT)
}

/// Waits until the server answers a ping over UDP with 200.
fn ping(stage: &Stage) {
    let uri = format!("sip:{}", stage.address());
    until_true("a ping is answered", || {
        let said = sipsak(stage, GOOD, &["-vvv", "-s", &uri]);
        said.code == Some(0) && said.text.contains("SIP/2.0 200 OK")
    });
}

#[test]
fn a_ping_is_answered_over_udp_and_tcp() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new(KEYS, &[ANNA]);
    ping(&stage);
    let uri = format!("sip:{}", stage.address());
    let said = sipsak(&stage, GOOD, &["-vvv", "--transport", "tcp", "-s", &uri]);
    assert!(said.text.contains("SIP/2.0 200 OK"), "{}", said.text);
    stage.assert_forgotten();
}

fn register(stage: &Stage, password: &str, expires: &str) -> Said {
    let contact = format!("sip:anna@{}", stage.host(9));
    let who = ["-vvv", "-i", "-U", "-u", "anna", "-a", password];
    let what = ["-C", &contact, "-x", expires, "-s", "sip:anna@example.com"];
    sipsak(stage, GOOD, &[&who[..], &what].concat())
}

#[test]
fn a_phone_registers_with_its_password_only() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new(KEYS, &[ANNA]);
    let refused = register(&stage, "wrong", "600");
    assert_ne!(refused.code, Some(0), "{}", refused.text);
    stage.wait_for_bindings(0);
    let taken = register(&stage, "correct horse", "600");
    assert_eq!(taken.code, Some(0), "{}", taken.text);
    stage.wait_for_bindings(1);
    let bound = stage.server.get("bindings");
    assert_eq!(bound["bindings"][0]["subscriber"], "anna");
    let short = register(&stage, "correct horse", "10");
    assert!(short.text.contains("423 "), "{}", short.text);
    let gone = register(&stage, "correct horse", "0");
    assert_eq!(gone.code, Some(0), "{}", gone.text);
    stage.assert_forgotten();
}

#[test]
fn a_flood_passes_and_leaves_nothing() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new(KEYS, &[ANNA]);
    ping(&stage);
    let before = stage.server.metric_sum("pointsman_requests_received_total");
    let uri = format!("sip:{}", stage.address());
    let said = sipsak(&stage, BAD, &["-F", "-e", "3000", "-s", &uri]);
    assert!(said.code.is_some(), "{}", said.text);
    ping(&stage);
    let after = stage.server.metric_sum("pointsman_requests_received_total");
    assert!(after > before + 1_000, "{before} {after} {}", said.text);
    stage.assert_forgotten();
}

#[test]
fn random_bytes_do_no_harm() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new(KEYS, &[ANNA]);
    let uri = format!("sip:101@{}", stage.address());
    let received = || stage.server.metric_sum("pointsman_requests_received_total");
    // sipsak ends as soon as a request of its making cannot be answered any more.
    let has_tried = within(Duration::from_secs(60), || {
        let mut command = Command::new("sipsak");
        command.args(["--timer-t1", "10", "-R", "-t", "40", "-s", &uri]);
        run(&mut command, LIMIT);
        (received() > 40).then_some(())
    });
    assert!(has_tried.is_some(), "{}", received());
    ping(&stage);
    stage.assert_forgotten();
}
