//! Callers who give up: while it rings, before it rings, and too late.

use crate::stage::*;
use crate::wait::are_peers_wanted;

#[test]
fn a_caller_gives_up_while_it_rings() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new("", &[PLAIN_ANNA]);
    let pbx = stage.wait_for_call("uas_cancelled", stage.pbx());
    let caller = stage.start(stage.calling("uac_cancel_ringing", TO_ANNA).pause_ms(300));
    let (caller, pbx) = (caller.finish(), pbx.finish());
    assert_eq!(caller.answers(), [180, 487]);
    assert_eq!(pbx.requests(), ["INVITE", "CANCEL", "ACK"]);
    let (invite, cancel) = (pbx.request("INVITE"), pbx.request("CANCEL"));
    assert_eq!(invite.headers("Via")[0], cancel.headers("Via")[0]);
    let (_, _, status) = stage.decided(&caller);
    assert_eq!(status, 487);
    let entry = stage.journal("anna", 1);
    assert_eq!(entry["kind"], "missed");
    assert!(entry["ring_ms"].as_u64().unwrap() >= 200, "{entry}");
    stage.assert_free();
}

#[test]
fn a_cancel_waits_until_the_pbx_has_said_anything() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new("", &[PLAIN_ANNA]);
    let slow = stage.waiting("uas_cancelled", stage.pbx()).pause_ms(250);
    let pbx = stage.start(slow);
    let caller = stage.start(stage.calling("uac_cancel_trying", TO_ANNA));
    let (caller, pbx) = (caller.finish(), pbx.finish());
    assert_eq!(caller.answers().last(), Some(&487));
    let lines = pbx.first_lines();
    let place = |text: &str| lines.iter().position(|line| line.contains(text)).unwrap();
    assert!(place("180 Ringing") < place("CANCEL"), "{lines:#?}");
    stage.assert_noted("anna", "missed");
    stage.assert_free();
}

#[test]
fn an_answer_that_crosses_the_cancel_counts() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new("", &[PLAIN_ANNA]);
    let pbx = stage.wait_for_call("uas_answers_cancel", stage.pbx());
    let caller = stage.start(stage.calling("uac_cancel_too_late", TO_ANNA));
    let (caller, pbx) = (caller.finish(), pbx.finish());
    assert_eq!(caller.answers(), [180, 200]);
    assert_eq!(pbx.requests(), ["INVITE", "CANCEL", "ACK", "BYE"]);
    stage.assert_noted("anna", "answered");
    stage.assert_free();
}
