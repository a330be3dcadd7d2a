//! What is set for no answer, busy, declined and unreachable, and what happens without it.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use crate::sipp::{Log, Sipp};
use crate::stage::*;
use crate::wait::are_peers_wanted;

/// A PBX that refuses calls with this status at once.
fn refusing(stage: &Stage, status: &str) -> Sipp {
    stage.start(stage.waiting("uas_refuse", stage.pbx()).status(status))
}

/// One call that the PBX refuses.
fn failed(settings: &str, status: &str) -> (Stage, Log) {
    let stage = Stage::new("", &[anna("available", settings)]);
    let pbx = refusing(&stage, status);
    let caller = stage.call(TO_ANNA);
    assert_eq!(pbx.finish().requests(), ["INVITE", "ACK"]);
    stage.assert_free();
    (stage, caller)
}

fn cause(caller: &Log) -> String {
    let contact = uri_of(caller.answer(302), "Contact");
    assert!(contact.starts_with("sip:vm-anna@"), "{contact}");
    contact
        .split("cause=")
        .nth(1)
        .unwrap_or_default()
        .to_owned()
}

const NO_ANSWER: &str = r#"{"available":{"no_answer":"voicemail","ring_for_s":5}}"#;

#[test]
fn nobody_answers_so_the_phone_is_cancelled_and_voicemail_takes_the_call() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new("forwarding = \"retarget\"", &[anna("available", NO_ANSWER)]);
    let pbx = stage.wait_for_call("uas_cancelled", stage.pbx());
    let voicemail = stage.wait_for_call("uas_answer", stage.voicemail());
    let start = Instant::now();
    let caller = stage.call(TO_ANNA);
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(5), "{took:?}");
    assert!(took < Duration::from_secs(9), "{took:?}");
    assert_eq!(caller.answers(), [180, 181, 180, 200]);
    assert_eq!(pbx.finish().requests(), ["INVITE", "CANCEL", "ACK"]);
    let invite = voicemail.finish().request("INVITE").clone();
    let box_of_anna = format!("sip:vm-anna@{}", stage.voicemail());
    let line = format!("INVITE {box_of_anna};target=sip%3A101%40example.com;cause=408 SIP/2.0");
    assert_eq!(invite.first_line(), line);
    let (decision, reasons, _) = stage.decided(&caller);
    assert_eq!(decision, "forward_voicemail");
    assert!(reasons.ends_with(&["failed_no_answer".into(), "no_answer_voicemail".into()]));
    stage.assert_noted("anna", "voicemail");
    stage.assert_free();
}

#[test]
fn nobody_answers_so_the_caller_is_redirected_to_voicemail() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new("", &[anna("available", NO_ANSWER)]);
    let pbx = stage.wait_for_call("uas_cancelled", stage.pbx());
    let caller = stage.call(TO_ANNA);
    assert_eq!(caller.answers(), [180, 302]);
    assert_eq!(cause(&caller), "408");
    assert_eq!(pbx.finish().requests(), ["INVITE", "CANCEL", "ACK"]);
    stage.assert_noted("anna", "voicemail");
    stage.assert_free();
}

#[test]
fn a_408_after_ringing_is_no_answer() {
    if !are_peers_wanted() {
        return;
    }
    let settings = r#"{"available":{"no_answer":"missed","unreachable":"voicemail"}}"#;
    let stage = Stage::new("", &[anna("available", settings)]);
    let pbx = stage.waiting("uas_ring_refuse", stage.pbx()).pause_ms(100);
    let pbx = stage.start(pbx.status("408 Request Timeout"));
    let caller = stage.call(TO_ANNA);
    pbx.finish();
    assert_eq!(caller.answers(), [180, 480]);
    let reasons = ["available", "failed_no_answer", "no_answer_missed"];
    stage.assert_decided(&caller, "reject", &reasons);
    stage.assert_noted("anna", "missed");
    let (stage, caller) = failed(settings, "408 Request Timeout");
    assert_eq!(cause(&caller), "503", "without ringing it is unreachable");
    stage.assert_free();
}

#[test]
fn a_busy_phone_is_the_busy_rules_affair() {
    if !are_peers_wanted() {
        return;
    }
    let settings = r#"{"available":{"busy":"voicemail"}}"#;
    for status in ["486 Busy Here", "600 Busy Everywhere"] {
        let (stage, caller) = failed(settings, status);
        assert_eq!(caller.answers(), [302]);
        assert_eq!(cause(&caller), "486");
        let reasons = ["available", "failed_busy", "busy_voicemail"];
        stage.assert_decided(&caller, "redirect_voicemail", &reasons);
        stage.assert_noted("anna", "voicemail");
    }
}

#[test]
fn a_declined_call_is_the_declined_rules_affair_or_the_busy_rules() {
    if !are_peers_wanted() {
        return;
    }
    let both = r#"{"available":{"busy":"voicemail","declined":"missed"}}"#;
    let (stage, caller) = failed(both, "603 Decline");
    assert_eq!(caller.answers(), [480]);
    let reasons = ["available", "failed_declined", "declined_missed"];
    stage.assert_decided(&caller, "reject", &reasons);
    let (stage, caller) = failed(r#"{"available":{"busy":"voicemail"}}"#, "603 Decline");
    assert_eq!(caller.answers(), [302]);
    let reasons = ["available", "failed_declined", "busy_voicemail"];
    stage.assert_decided(&caller, "redirect_voicemail", &reasons);
}

#[test]
fn an_unreachable_phone_is_the_unreachable_rules_affair() {
    if !are_peers_wanted() {
        return;
    }
    let forward = r#"{"available":{"unreachable":{"forward":"+491701234567"}}}"#;
    for status in [
        "404 Not Found",
        "480 Unavailable",
        "503 Service Unavailable",
    ] {
        let (stage, caller) = failed(forward, status);
        assert_eq!(caller.answers(), [302], "{status}");
        let reasons = ["available", "failed_unreachable", "unreachable_forward"];
        stage.assert_decided(&caller, "redirect", &reasons);
        stage.assert_noted("anna", "forwarded");
    }
}

#[test]
fn without_a_rule_the_pbxs_answer_is_passed_on() {
    if !are_peers_wanted() {
        return;
    }
    for (status, passed_on) in [
        ("486 Busy Here", 486),
        ("603 Decline", 603),
        ("503 Down", 500),
    ] {
        let (stage, caller) = failed("{}", status);
        assert_eq!(caller.answers(), [passed_on]);
        stage.assert_decided(&caller, "connect", &["available"]);
    }
}

#[test]
fn a_dead_pbx_is_noticed_at_once() {
    if !are_peers_wanted() {
        return;
    }
    let settings = r#"{"available":{"unreachable":"voicemail"}}"#;
    let stage = Stage::new("", &[anna("available", settings)]);
    let start = Instant::now();
    let caller = stage.call(TO_ANNA);
    let took = start.elapsed();
    assert!(
        took < Duration::from_secs(3),
        "by ICMP, not by timer B: {took:?}"
    );
    assert_eq!(caller.answers(), [302]);
    let reasons = ["available", "failed_unreachable", "unreachable_voicemail"];
    stage.assert_decided(&caller, "redirect_voicemail", &reasons);
    stage.assert_noted("anna", "voicemail");
    stage.assert_free();
    let stage = Stage::new("", &[PLAIN_ANNA]);
    assert_eq!(
        stage.call(TO_ANNA).answers(),
        [500],
        "without a rule as a 503 (§16.9)"
    );
    stage.assert_free();
}

#[test]
fn a_silent_pbx_is_unreachable_when_timer_b_fires() {
    if !are_peers_wanted() {
        return;
    }
    let settings = r#"{"available":{"unreachable":"voicemail"}}"#;
    let quick = "[timers]\nt1_ms = 20\nt2_ms = 100";
    let stage = Stage::new(quick, &[anna("available", settings)]);
    let silent = UdpSocket::bind(stage.pbx()).unwrap();
    let caller = stage.call(TO_ANNA);
    assert_eq!(caller.answers(), [302]);
    let reasons = ["available", "failed_unreachable", "unreachable_voicemail"];
    stage.assert_decided(&caller, "redirect_voicemail", &reasons);
    silent.set_nonblocking(true).unwrap();
    let mut datagram = [0; 4_096];
    let invites = std::iter::from_fn(|| silent.recv(&mut datagram).ok()).count();
    assert!(invites > 4, "timer A sent it again: {invites}");
    stage.assert_free();
}

#[test]
fn the_rule_of_in_call_counts_during_a_call() {
    if !are_peers_wanted() {
        return;
    }
    let settings = r#"{"available":{"busy":"voicemail"},"in_call":{"busy":"missed"}}"#;
    let stage = Stage::new("", &[anna("available", settings), PLAIN_BOB.to_owned()]);
    let talking = stage.wait_for_call("uas_answer", stage.pbx());
    let by_anna = stage.calling("uac_talk", "sip:102@example.com");
    let by_anna = by_anna.key("caller", "<sip:anna@example.com>");
    let by_anna = stage.start(by_anna);
    stage.wait_for_calls_of("anna", 1);
    stage.configure("next_hop = \"sip:{mobile}:5060\"");
    stage.server.signal("-HUP");
    stage.server.wait_for_log("the configuration was reloaded");
    let busy = stage.waiting("uas_refuse", stage.mobile());
    let busy = stage.start(busy);
    let caller = stage.call(TO_ANNA);
    busy.finish();
    assert_eq!(caller.answers(), [480]);
    let reasons = ["available", "in_call", "failed_busy", "busy_missed"];
    stage.assert_decided(&caller, "reject", &reasons);
    by_anna.hang_up_and_finish();
    talking.finish();
    stage.assert_free();
}
