//! Calls that are connected: marks, both sides hanging up, call waiting, session timers, IPv6.

use std::net::{Ipv6Addr, SocketAddr};

use serde_json::json;

use crate::sipp::Role;
use crate::stage::*;
use crate::wait::are_peers_wanted;

#[test]
fn an_available_colleague_is_connected_and_in_call_until_the_bye() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new("", &[PLAIN_ANNA]);
    let pbx = stage.start(stage.waiting("uas_answer", stage.pbx()).pause_ms(300));
    let caller = stage.start(stage.calling("uac_talk", TO_ANNA));
    stage.wait_for_calls_of("anna", 1);
    let calls = stage.calls();
    assert_eq!((calls.len(), &calls[0]["callee"]), (1, &json!("anna")));
    let (caller, pbx) = (caller.hang_up_and_finish(), pbx.finish());
    assert_eq!(caller.answers(), [180, 200]);
    assert_eq!(pbx.requests(), ["INVITE", "ACK", "BYE"]);
    let invite = pbx.request("INVITE");
    assert_eq!(invite.first_line(), "INVITE sip:101@example.com SIP/2.0");
    assert_eq!(invite.headers("Via").len(), 2);
    assert_eq!(invite.header("Max-Forwards"), "69");
    let route = uri_of(invite, "Record-Route");
    assert!(route.contains(&stage.address().to_string()), "{route}");
    assert!(
        pbx.request("BYE").headers("Route").is_empty(),
        "our own Route is taken off"
    );
    stage.assert_decided(&caller, "connect", &["available"]);
    let entry = stage.journal("anna", 1);
    assert_eq!(
        (&entry["kind"], &entry["status"]),
        (&json!("answered"), &json!(200))
    );
    assert!(entry["ring_ms"].as_u64().unwrap() >= 200, "{entry}");
    stage.assert_free();
}

#[test]
fn a_calling_subscriber_is_in_call_too() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new("", &[PLAIN_ANNA, PLAIN_BOB]);
    let pbx = stage.wait_for_call("uas_answer", stage.pbx());
    let by_bob = stage.calling("uac_talk", TO_ANNA);
    let caller = stage.start(by_bob.key("caller", "\"Bob\" <sip:bob@example.com>"));
    stage.wait_for_calls_of("anna", 1);
    stage.wait_for_calls_of("bob", 1);
    assert_eq!(stage.calls()[0]["caller"], "bob");
    let caller = caller.hang_up_and_finish();
    pbx.finish();
    stage.assert_decided(&caller, "connect", &["available"]);
    stage.assert_free();
}

#[test]
fn the_callee_may_hang_up() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new("", &[PLAIN_ANNA]);
    let pbx = stage.wait_for_call("uas_answer_hang_up", stage.pbx());
    let caller = stage.start(stage.calling("uac_hung_up", TO_ANNA));
    stage.wait_for_calls_of("anna", 1);
    pbx.hang_up_and_finish();
    let caller = caller.finish();
    assert_eq!(caller.requests(), ["BYE"]);
    stage.assert_noted("anna", "answered");
    stage.assert_free();
}

#[test]
fn a_second_call_waits_when_in_call_says_connect() {
    if !are_peers_wanted() {
        return;
    }
    let waiting = anna("available", r#"{"in_call":{"immediate":"connect"}}"#);
    let stage = Stage::new("", &[waiting]);
    let pbx = stage.start(stage.waiting("uas_answer", stage.pbx()).calls(2));
    let first = stage.start(stage.calling("uac_talk", TO_ANNA));
    stage.wait_for_calls_of("anna", 1);
    let second = stage.start(stage.calling("uac_talk", TO_ANNA));
    stage.wait_for_calls_of("anna", 2);
    let (first, second) = (first.hang_up_and_finish(), second.hang_up_and_finish());
    pbx.finish();
    stage.assert_decided(&first, "connect", &["available"]);
    stage.assert_decided(
        &second,
        "connect",
        &["available", "in_call", "immediate_connect"],
    );
    stage.journal("anna", 2);
    stage.assert_free();
}

#[test]
fn the_one_who_was_forwarded_to_is_put_through() {
    if !are_peers_wanted() {
        return;
    }
    let away = anna(
        "away",
        r#"{"away":{"immediate":{"forward":"+491701234567"}}}"#,
    );
    let stage = Stage::new("", &[away]);
    let pbx = stage.wait_for_call("uas_answer", stage.pbx());
    let mobile = "<sip:+491701234567@carrier.example.net>";
    let caller = stage.calling("uac_call", TO_ANNA).key("caller", mobile);
    let caller = stage.start(caller).finish();
    pbx.finish();
    stage.assert_decided(&caller, "connect", &["away", "call_through"]);
    stage.assert_free();
}

#[test]
fn an_emergency_call_back_passes_do_not_disturb() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new("", &[anna("dnd", "{}")]);
    let pbx = stage.wait_for_call("uas_answer", stage.pbx());
    let caller = stage
        .calling("uac_call", TO_ANNA)
        .key("extra", "Priority: psap-callback");
    let caller = stage.start(caller).finish();
    pbx.finish();
    stage.assert_decided(&caller, "connect", &["emergency_callback"]);
    stage.assert_free();
}

#[test]
fn a_session_timer_is_asked_for_where_the_caller_supports_it() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new("session_expires_s = 600", &[PLAIN_ANNA]);
    let pbx = stage.start(stage.waiting("uas_answer", stage.pbx()).calls(2));
    let supporting = stage
        .calling("uac_talk", TO_ANNA)
        .key("extra", "Supported: timer");
    let supporting = stage.start(supporting);
    stage.wait_for_calls_of("anna", 1);
    assert_eq!(stage.calls()[0]["session_expires_s"], 600);
    let supporting = supporting.hang_up_and_finish();
    stage.wait_for_calls_of("anna", 0);
    let plain = stage.call(TO_ANNA);
    let pbx = pbx.finish();
    let invites = pbx.received().filter(|m| m.method() == Some("INVITE"));
    let asked: Vec<_> = invites.map(|m| m.header("Session-Expires")).collect();
    assert_eq!(asked, ["600", ""]);
    let agreed = supporting.answer(200).header("Session-Expires");
    assert_eq!(agreed, "600;refresher=uac");
    assert_eq!(plain.answer(200).header("Session-Expires"), "");
    stage.assert_free();
}

#[test]
fn nobody_of_that_name_is_the_pbxs_affair() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new("", &[PLAIN_ANNA]);
    let pbx = stage.wait_for_call("uas_answer", stage.pbx());
    let caller = stage.call("sip:199@example.com");
    let invite_line = "INVITE sip:199@example.com SIP/2.0";
    assert_eq!(pbx.finish().request("INVITE").first_line(), invite_line);
    assert_eq!(caller.answers(), [180, 200]);
    stage.assert_decided(&caller, "pass_on", &["unknown_callee"]);
    stage.assert_free();
}

#[test]
fn calls_are_connected_over_ipv6() {
    if !are_peers_wanted() {
        return;
    }
    let [server, pbx, caller] = ports_of_ipv6();
    let keys =
        format!("listen = [\"udp:{server}\", \"udp:{{server}}:5060\"]\nnext_hop = \"sip:{pbx}\"");
    let stage = Stage::new(&keys, &[PLAIN_ANNA]);
    let pbx = stage.start(stage.waiting("uas_answer", pbx));
    let role = Role::calling("uac_talk", caller, server, TO_ANNA);
    let call = stage.start(role);
    stage.wait_for_calls_of("anna", 1);
    let (call, pbx) = (call.hang_up_and_finish(), pbx.finish());
    assert_eq!(call.answers(), [180, 200]);
    let via = pbx.request("INVITE").headers("Via")[0].to_owned();
    assert!(via.contains(&format!("SIP/2.0/UDP {server}")), "{via}");
    stage.assert_decided(&call, "connect", &["available"]);
    stage.assert_noted("anna", "answered");
    stage.assert_free();
}

/// Ports below those that the kernel gives away; there is one address only.
fn ports_of_ipv6() -> [SocketAddr; 3] {
    let first = 20_000 + std::process::id() as u16 % 10_000;
    [first, first + 1, first + 2].map(|port| SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port))
}
