//! Forwarding and voicemail, by redirect and by retarget, as the one who is diverted to sees it.

use crate::stage::*;
use crate::wait::{are_peers_wanted, until_true};

const TO_MOBILE: &str = r#"{"away":{"immediate":{"forward":"+491701234567"}}}"#;
const TO_VOICEMAIL: &str = r#"{"away":{"immediate":"voicemail"}}"#;
const RETARGET: &str = "forwarding = \"retarget\"";

#[test]
fn an_away_colleague_redirects_the_caller() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new("", &[anna("away", TO_MOBILE)]);
    let caller = stage.call(TO_ANNA);
    assert_eq!(caller.answers(), [302]);
    let moved = caller.answer(302);
    assert_eq!(uri_of(moved, "Contact"), "sip:+491701234567@example.com");
    assert_eq!(uri_of(moved, "Diversion"), "sip:101@example.com");
    assert!(moved.header("History-Info").contains(";index=1.1"));
    stage.assert_decided(&caller, "redirect", &["away", "immediate_forward"]);
    stage.assert_noted("anna", "forwarded");
    stage.assert_free();
}

#[test]
fn a_retargeted_call_reaches_the_mobile_and_is_nobodys_mark() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new(RETARGET, &[anna("away", TO_MOBILE)]);
    let mobile = stage.wait_for_call("uas_answer", stage.mobile());
    let caller = stage.start(stage.calling("uac_talk", TO_ANNA));
    until_true("a call", || stage.calls().len() == 1);
    assert_eq!(stage.subscriber("anna")["calls"], 0);
    let (caller, mobile) = (caller.hang_up_and_finish(), mobile.finish());
    assert_eq!(caller.answers(), [181, 180, 200]);
    let invite = mobile.request("INVITE");
    let line = format!("INVITE sip:+491701234567@{} SIP/2.0", stage.mobile());
    assert_eq!(invite.first_line(), line);
    assert_eq!(uri_of(invite, "Diversion"), "sip:101@example.com");
    assert!(invite.header("Diversion").contains(";reason="));
    assert!(invite.header("History-Info").contains(";index=1.1"));
    stage.assert_decided(&caller, "forward", &["away", "immediate_forward"]);
    stage.assert_noted("anna", "answered_elsewhere");
    stage.assert_free();
}

#[test]
fn a_call_forwarded_to_a_colleague_is_that_colleagues_call() {
    if !are_peers_wanted() {
        return;
    }
    let forwarding = anna("away", r#"{"away":{"immediate":{"forward":"102"}}}"#);
    let stage = Stage::new(RETARGET, &[forwarding.as_str(), PLAIN_BOB]);
    let pbx = stage.wait_for_call("uas_answer", stage.pbx());
    let caller = stage.start(stage.calling("uac_talk", TO_ANNA));
    stage.wait_for_calls_of("bob", 1);
    assert_eq!(stage.subscriber("anna")["calls"], 0);
    let (caller, pbx) = (caller.hang_up_and_finish(), pbx.finish());
    assert_eq!(
        pbx.request("INVITE").first_line(),
        "INVITE sip:102@example.com SIP/2.0"
    );
    stage.assert_decided(
        &caller,
        "forward",
        &["away", "immediate_forward", "available"],
    );
    stage.assert_noted("anna", "answered_elsewhere");
    stage.assert_noted("bob", "answered");
    stage.assert_free();
}

#[test]
fn voicemail_is_a_uri_with_target_and_cause() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new("", &[anna("away", TO_VOICEMAIL)]);
    let caller = stage.call(TO_ANNA);
    assert_eq!(caller.answers(), [302]);
    let box_of_anna = format!("sip:vm-anna@{}", stage.voicemail());
    let contact = uri_of(caller.answer(302), "Contact").to_owned();
    assert_eq!(
        contact,
        format!("{box_of_anna};target=sip%3A101%40example.com;cause=302")
    );
    stage.assert_decided(
        &caller,
        "redirect_voicemail",
        &["away", "immediate_voicemail"],
    );
    stage.assert_noted("anna", "voicemail");
    stage.assert_free();
}

#[test]
fn a_call_retargeted_to_voicemail_is_nobodys_call() {
    if !are_peers_wanted() {
        return;
    }
    let keys = "voicemail_forwarding = \"retarget\"";
    let stage = Stage::new(keys, &[anna("away", TO_VOICEMAIL)]);
    let voicemail = stage.wait_for_call("uas_answer", stage.voicemail());
    let caller = stage.start(stage.calling("uac_talk", TO_ANNA));
    until_true("a call", || stage.calls().len() == 1);
    assert_eq!(stage.subscriber("anna")["calls"], 0);
    let caller = caller.hang_up_and_finish();
    assert_eq!(caller.answers(), [181, 180, 200]);
    let voicemail = voicemail.finish();
    let box_of_anna = format!("sip:vm-anna@{}", stage.voicemail());
    let invite = voicemail.request("INVITE");
    let line = format!("INVITE {box_of_anna};target=sip%3A101%40example.com;cause=302 SIP/2.0");
    assert_eq!(invite.first_line(), line);
    assert_eq!(voicemail.requests(), ["INVITE", "ACK", "BYE"]);
    stage.assert_decided(
        &caller,
        "forward_voicemail",
        &["away", "immediate_voicemail"],
    );
    stage.assert_noted("anna", "voicemail");
    stage.assert_free();
}

#[test]
fn the_box_is_that_of_who_was_called_first() {
    if !are_peers_wanted() {
        return;
    }
    let first = anna("away", r#"{"away":{"immediate":{"forward":"102"}}}"#);
    let second = bob("away", TO_VOICEMAIL);
    let stage = Stage::new("", &[first, second]);
    let caller = stage.call(TO_ANNA);
    let contact = uri_of(caller.answer(302), "Contact").to_owned();
    assert!(contact.starts_with("sip:vm-anna@"), "{contact}");
    assert!(
        contact.contains("target=sip%3A101%40example.com"),
        "{contact}"
    );
    let reasons = ["away", "immediate_forward", "away", "immediate_voicemail"];
    stage.assert_decided(&caller, "redirect_voicemail", &reasons);
    stage.assert_free();
}

#[test]
fn who_forwards_to_somebody_in_dnd_gets_the_caller_refused() {
    if !are_peers_wanted() {
        return;
    }
    let first = anna("away", r#"{"away":{"immediate":{"forward":"102"}}}"#);
    let stage = Stage::new("", &[first, bob("dnd", "{}")]);
    let caller = stage.call(TO_ANNA);
    assert_eq!(caller.answers(), [480]);
    stage.assert_decided(&caller, "reject", &["away", "immediate_forward", "dnd"]);
    stage.assert_free();
}

#[test]
fn a_peer_has_its_own_way_of_forwarding() {
    if !are_peers_wanted() {
        return;
    }
    let peer = "[[peer]]\nname = \"trunk\"\naddress = \"{caller}\"\nforwarding = \"retarget\"";
    let stage = Stage::new(peer, &[anna("away", TO_MOBILE)]);
    let mobile = stage.wait_for_call("uas_answer", stage.mobile());
    let caller = stage.call(TO_ANNA);
    assert_eq!(caller.answers(), [181, 180, 200]);
    mobile.finish();
    stage.assert_decided(&caller, "forward", &["away", "immediate_forward"]);
    stage.assert_free();
}

#[test]
fn a_change_is_what_the_next_call_meets() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new("", &[anna("available", TO_MOBILE)]);
    let pbx = stage.wait_for_call("uas_answer", stage.pbx());
    assert_eq!(stage.call(TO_ANNA).answers(), [180, 200]);
    pbx.finish();
    let away = serde_json::json!({"status": "away"});
    stage.server.put("subscribers/anna/status", &away);
    assert_eq!(stage.call(TO_ANNA).answers(), [302]);
    let missed = serde_json::json!({"immediate": "missed"});
    stage.server.put("subscribers/anna/settings/away", &missed);
    assert_eq!(stage.call(TO_ANNA).answers(), [480]);
    stage.journal("anna", 3);
    stage.assert_free();
}
