//! Calls that are refused: do not disturb, rules, loops, limits, and what is not for us.

use crate::sipp::Log;
use crate::stage::*;
use crate::wait::are_peers_wanted;

/// One call to Anna; nobody behind the server is there to be asked.
fn refused(keys: &str, subscribers: &[&str], extra: (&str, &str)) -> (Stage, Log) {
    let stage = Stage::new(keys, subscribers);
    let pbx = stage.wait_for_call("uas_answer", stage.pbx());
    let caller = stage.calling("uac_call", TO_ANNA).key(extra.0, extra.1);
    let caller = stage.start(caller).finish();
    assert!(pbx.stop().0.is_empty(), "the PBX hears nothing of it");
    stage.assert_free();
    (stage, caller)
}

const PLAIN: (&str, &str) = ("extra", "Subject: test");

#[test]
fn do_not_disturb_is_480_with_a_reason() {
    if !are_peers_wanted() {
        return;
    }
    let (stage, caller) = refused("", &[&anna("dnd", "{}")], PLAIN);
    assert_eq!(caller.answers(), [480]);
    let reason = caller.answer(480).header("Reason");
    assert_eq!(reason, "SIP;cause=480;text=\"Do Not Disturb\"");
    stage.assert_decided(&caller, "reject", &["dnd"]);
    stage.assert_noted("anna", "rejected_dnd");
}

#[test]
fn do_not_disturb_is_486_or_603_where_that_is_configured() {
    if !are_peers_wanted() {
        return;
    }
    for status in [486, 603] {
        let keys = format!("dnd_status = {status}");
        let (stage, caller) = refused(&keys, &[&anna("dnd", "{}")], PLAIN);
        assert_eq!(caller.answers(), [status]);
        stage.assert_decided(&caller, "reject", &["dnd"]);
        stage.assert_noted("anna", "rejected_dnd");
    }
}

#[test]
fn a_rejection_is_603_and_anonymous_callers_are_told_433() {
    if !are_peers_wanted() {
        return;
    }
    let rejecting = anna("away", r#"{"away":{"immediate":"reject"}}"#);
    let (stage, caller) = refused("", &[&rejecting], PLAIN);
    assert_eq!(caller.answers(), [603]);
    stage.assert_decided(&caller, "reject", &["away", "immediate_reject"]);
    stage.assert_noted("anna", "rejected");
    let only_anonymous = anna(
        "available",
        r#"{"all":{"immediate":{"anonymous":"reject"}}}"#,
    );
    let anonymous = ("caller", "\"Anonymous\" <sip:anonymous@anonymous.invalid>");
    let (stage, caller) = refused("", &[&only_anonymous], anonymous);
    assert_eq!(caller.answers(), [433]);
    stage.assert_decided(&caller, "reject", &["available", "immediate_reject"]);
    stage.assert_noted("anna", "rejected");
}

#[test]
fn a_missed_call_is_refused_without_ringing_and_noted() {
    if !are_peers_wanted() {
        return;
    }
    let missing = anna("break", r#"{"break":{"immediate":"missed"}}"#);
    let (stage, caller) = refused("", &[&missing], PLAIN);
    assert_eq!(caller.answers(), [480]);
    stage.assert_decided(&caller, "reject", &["break", "immediate_missed"]);
    stage.assert_noted("anna", "missed");
}

#[test]
fn a_second_call_is_486_when_in_call_says_reject() {
    if !are_peers_wanted() {
        return;
    }
    let rejecting = anna("available", r#"{"in_call":{"immediate":"reject"}}"#);
    let stage = Stage::new("", &[rejecting]);
    let pbx = stage.wait_for_call("uas_answer", stage.pbx());
    let first = stage.start(stage.calling("uac_talk", TO_ANNA));
    stage.wait_for_calls_of("anna", 1);
    let second = stage.call(TO_ANNA);
    assert_eq!(second.answers(), [486]);
    stage.assert_decided(
        &second,
        "reject",
        &["available", "in_call", "immediate_reject"],
    );
    stage.wait_for_calls_of("anna", 1);
    assert_eq!(first.hang_up_and_finish().answers(), [180, 200]);
    assert_eq!(pbx.finish().requests(), ["INVITE", "ACK", "BYE"]);
    stage.journal("anna", 2);
    stage.assert_free();
}

#[test]
fn a_circle_is_482_and_a_voicemail_breaks_it() {
    if !are_peers_wanted() {
        return;
    }
    let circling = r#"{"away":{"immediate":{"forward":"102"}}}"#;
    let back = bob("away", r#"{"away":{"immediate":{"forward":"101"}}}"#);
    let (stage, caller) = refused("", &[&anna("away", circling), &back], PLAIN);
    assert_eq!(caller.answers(), [482]);
    let circle = [
        "away",
        "immediate_forward",
        "away",
        "immediate_forward",
        "loop",
    ];
    stage.assert_decided(&caller, "reject", &circle);
    let with_voicemail = circling.replace("}}}", r#"},"no_answer":"voicemail"}}"#);
    let (stage, caller) = refused("", &[&anna("away", &with_voicemail), &back], PLAIN);
    assert_eq!(caller.answers(), [302]);
    let target = uri_of(caller.answer(302), "Contact");
    assert!(
        target.starts_with(&format!("sip:vm-anna@{}", stage.voicemail())),
        "{target}"
    );
    let broken = [&circle[..], &["first_called", "no_answer_voicemail"]].concat();
    stage.assert_decided(&caller, "redirect_voicemail", &broken);
}

#[test]
fn a_call_that_was_diverted_too_often_is_483() {
    if !are_peers_wanted() {
        return;
    }
    let forwarding = anna(
        "away",
        r#"{"away":{"immediate":{"forward":"+491701234567"}}}"#,
    );
    let trusted = "[[peer]]\nname = \"trunk\"\naddress = \"{caller}\"";
    let often = "Diversion: <sip:200@elsewhere.net>;reason=unconditional;counter=5";
    let (stage, caller) = refused(trusted, &[&forwarding], ("extra", often));
    assert_eq!(caller.answers(), [483]);
    stage.assert_decided(
        &caller,
        "reject",
        &["away", "immediate_forward", "hop_limit"],
    );
    let (_, caller) = refused("", &[PLAIN_ANNA], ("max_forwards", "0"));
    assert_eq!(caller.answers(), [483]);
}

#[test]
fn nobody_of_that_name_is_404_where_that_is_configured() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new("unknown_callee = \"reject\"", &[PLAIN_ANNA]);
    let caller = stage.call("sip:199@example.com");
    assert_eq!(caller.answers(), [404]);
    stage.assert_free();
}

#[test]
fn strangers_cannot_have_calls_relayed_to_other_domains() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new("", &[PLAIN_ANNA]);
    let elsewhere = format!("sip:victim@{}", stage.mobile());
    let mobile = stage.wait_for_call("uas_answer", stage.mobile());
    let caller = stage.call(&elsewhere);
    assert_eq!(caller.answers(), [403]);
    assert!(mobile.stop().0.is_empty());
    let relayed = Stage::new(
        "[[peer]]\nname = \"known\"\naddress = \"{caller}\"",
        &[PLAIN_ANNA],
    );
    let elsewhere = format!("sip:friend@{}", relayed.mobile());
    let mobile = relayed.wait_for_call("uas_answer", relayed.mobile());
    assert_eq!(relayed.call(&elsewhere).answers(), [180, 200]);
    mobile.finish();
    stage.assert_free();
    relayed.assert_free();
}

#[test]
fn more_calls_than_the_limit_are_503_with_retry_after() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new(
        "retry_after_s = 7\n[limits]\ncalls = 1",
        &[PLAIN_ANNA, PLAIN_BOB],
    );
    let pbx = stage.start(stage.waiting("uas_answer", stage.pbx()).calls(2));
    let first = stage.start(stage.calling("uac_talk", TO_ANNA));
    stage.wait_for_calls_of("anna", 1);
    let second = stage.call("sip:102@example.com");
    assert_eq!(second.answers(), [503]);
    let retry_after_s: u32 = second.answer(503).header("Retry-After").parse().unwrap();
    assert!((7..=10).contains(&retry_after_s), "{retry_after_s}");
    assert_eq!(stage.server.metric("pointsman_overloads_total"), 1);
    assert_eq!(first.hang_up_and_finish().answers(), [180, 200]);
    stage.wait_for_calls_of("anna", 0);
    assert_eq!(stage.call("sip:102@example.com").answers(), [180, 200]);
    pbx.finish();
    stage.assert_free();
}
