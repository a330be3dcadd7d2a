//! Requests within a dialog, session timers, and calls that outlive the process.

use crate::harness::*;
use pointsman::call::{Entry, EntryKind};
use pointsman::proxy::{Keys, Policy};
use pointsman::store::Store;

const BOB: &str = r#"{"id":"bob","display_name":"Bob"}"#;
const URI: &str = "sip:bob@example.com";
const TIMER: &str = "Supported: timer\r\n";

fn answered(world: &mut World, extra: &str, answer_extra: &str) -> Sent {
    let sent = world.receive(CALLER, request("INVITE", URI, "a", extra));
    let copy = find(&sent, PBX, "INVITE");
    answer(
        &world.receive(PBX, respond(&copy, "200 OK", answer_extra)),
        CALLER,
        200,
    )
}

#[test]
fn a_stranger_with_a_forged_route_is_not_relayed() {
    let mut world = World::new(policy(), &[BOB]);
    let ok = answered(&mut world, "", "");
    let genuine = in_dialog(&ok, "INFO", 2, false, "");
    let forged = genuine.replace("Call-ID: a@caller", "Call-ID: b@caller");
    assert_eq!(statuses(&world.receive(CALLER, forged), CALLER), [403]);
    find(&world.receive(CALLER, genuine), PBX, "INFO");
}

#[test]
fn a_re_invite_is_relayed_and_its_ack_too() {
    let mut world = World::new(policy(), &[BOB]);
    let ok = answered(&mut world, "", "");
    let copy = find(
        &world.receive(CALLER, in_dialog(&ok, "INVITE", 2, false, "")),
        PBX,
        "INVITE",
    );
    let sent = world.receive(PBX, respond(&copy, "200 OK", ""));
    assert_eq!(statuses(&sent, CALLER), [200]);
    find(
        &world.receive(CALLER, in_dialog(&ok, "ACK", 2, false, "")),
        PBX,
        "ACK",
    );
    assert_eq!(world.marks("bob"), (1, 0), "still one call");
    world.receive(CALLER, in_dialog(&ok, "BYE", 3, false, ""));
    world.assert_drained();
}

#[test]
fn a_strict_router_before_us_is_repaired() {
    let mut world = World::new(policy(), &[BOB]);
    let ok = answered(&mut world, "", "");
    let route = ok.header("Record-Route").unwrap();
    let ours = route.trim_start_matches('<').trim_end_matches('>');
    let strict = in_dialog(&ok, "BYE", 2, false, "")
        .replacen(&format!("BYE sip:callee@{PBX}"), &format!("BYE {ours}"), 1)
        .replace(
            &format!("Route: {route}"),
            &format!("Route: <sip:callee@{PBX}>"),
        );
    let bye = find(&world.receive(CALLER, strict), PBX, "BYE");
    assert_eq!(bye.first_line(), format!("BYE sip:callee@{PBX} SIP/2.0"));
    assert!(bye.header("Route").is_none());
    assert_eq!(world.marks("bob"), (0, 0));
}

#[test]
fn a_strict_router_after_us_gets_its_uri() {
    let mut world = World::new(policy(), &[BOB]);
    let ok = answered(&mut world, "", "");
    let route = ok.header("Record-Route").unwrap();
    let strict = in_dialog(&ok, "INFO", 2, false, "").replace(
        &format!("Route: {route}"),
        &format!("Route: {route}, <sip:192.0.2.9:5062>"),
    );
    let info = find(&world.receive(CALLER, strict), "192.0.2.9:5062", "INFO");
    assert_eq!(info.first_line(), "INFO sip:192.0.2.9:5062 SIP/2.0");
    assert_eq!(info.headers("Route"), [format!("<sip:callee@{PBX}>")]);
}

#[test]
fn a_loose_router_after_us_is_the_next_hop() {
    let mut world = World::new(policy(), &[BOB]);
    let ok = answered(&mut world, "", "");
    let route = ok.header("Record-Route").unwrap();
    let loose = in_dialog(&ok, "INFO", 2, false, "").replace(
        &format!("Route: {route}"),
        &format!("Route: {route} ,<sip:192.0.2.9:5062;lr>\r\nRoute: <sip:192.0.2.10;lr>"),
    );
    let info = find(&world.receive(CALLER, loose), "192.0.2.9:5062", "INFO");
    assert_eq!(info.first_line(), format!("INFO sip:callee@{PBX} SIP/2.0"));
    assert_eq!(
        info.headers("Route"),
        ["<sip:192.0.2.9:5062;lr>", "<sip:192.0.2.10;lr>"]
    );
}

#[test]
fn a_dialog_that_the_other_side_does_not_know_ends_the_call() {
    for status in ["481 Call Does Not Exist", "408 Request Timeout"] {
        let mut world = World::new(policy(), &[BOB]);
        let ok = answered(&mut world, "", "");
        let copy = find(
            &world.receive(CALLER, in_dialog(&ok, "INFO", 2, false, "")),
            PBX,
            "INFO",
        );
        world.receive(PBX, respond(&copy, status, ""));
        assert_eq!(world.marks("bob"), (0, 0), "{status}");
        world.assert_drained();
    }
}

#[test]
fn an_re_invite_that_is_answered_481_ends_the_call() {
    let mut world = World::new(policy(), &[BOB]);
    let ok = answered(&mut world, "", "");
    let copy = find(
        &world.receive(CALLER, in_dialog(&ok, "INVITE", 2, false, "")),
        PBX,
        "INVITE",
    );
    world.receive(PBX, respond(&copy, "481 Call Does Not Exist", ""));
    assert_eq!(world.marks("bob"), (0, 0));
    world.assert_drained();
}

#[test]
fn session_expires_is_inserted_where_the_caller_supports_it() {
    let mut world = World::new(policy(), &[BOB]);
    let plain = find(&world.receive(CALLER, invite(URI, "p")), PBX, "INVITE");
    assert_eq!(plain.header("Session-Expires"), None);
    let sent = world.receive(CALLER, request("INVITE", URI, "a", TIMER));
    let copy = find(&sent, PBX, "INVITE");
    assert_eq!(copy.header("Session-Expires").unwrap(), "1800");
    let ok = answer(
        &world.receive(PBX, respond(&copy, "200 OK", "")),
        CALLER,
        200,
    );
    assert_eq!(ok.header("Session-Expires").unwrap(), "1800;refresher=uac");
    assert_eq!(ok.header("Require").unwrap(), "timer");
    world.advance(1_790_000);
    assert_eq!(world.marks("bob"), (1, 0));
    world.advance(20_000);
    assert_eq!(
        world.marks("bob"),
        (0, 0),
        "no refresh came: the call is over"
    );
}

#[test]
fn a_refresh_keeps_the_call() {
    let mut world = World::new(policy(), &[BOB]);
    let agreed = "Session-Expires: 600;refresher=uas\r\n";
    let ok = answered(&mut world, TIMER, agreed);
    assert_eq!(ok.headers("Session-Expires"), ["600;refresher=uas"]);
    for (cseq, method) in [(2, "UPDATE"), (3, "INVITE"), (4, "UPDATE")] {
        world.advance(500_000);
        let copy = find(
            &world.receive(PBX, in_dialog(&ok, method, cseq, true, "")),
            CALLER,
            method,
        );
        world.receive(CALLER, respond(&copy, "200 OK", agreed));
        assert_eq!(world.marks("bob"), (1, 0), "after {method}");
    }
    world.advance(606_000);
    assert_eq!(world.marks("bob"), (0, 0));
    world.assert_drained();
}

#[test]
fn the_hard_limit_ends_a_call_whose_bye_never_comes() {
    let mut policy = policy();
    policy.timers.call_limit_s = 3_600;
    let mut world = World::new(policy, &[BOB]);
    answered(&mut world, "", "");
    world.advance(3_590_000);
    assert_eq!(world.marks("bob"), (1, 0));
    world.advance(20_000);
    assert_eq!(world.marks("bob"), (0, 0));
    world.assert_drained();
}

#[test]
fn a_call_outlives_the_process_and_its_bye_clears_the_mark() {
    let mut world = World::new(policy(), &[BOB]);
    let ok = answered(&mut world, "", "");
    let store = world.store.clone();
    drop(world);
    let mut world = World::with_store(policy(), &[BOB], store, 60_000);
    assert_eq!(world.marks("bob"), (1, 0), "known after the restart");
    let bye = find(
        &world.receive(PBX, in_dialog(&ok, "BYE", 2, true, "")),
        CALLER,
        "BYE",
    );
    assert_eq!(world.marks("bob"), (0, 0));
    world.receive(CALLER, respond(&bye, "200 OK", ""));
    let key = Keys::new(&world.store.secret()).subscriber(b"bob");
    let entries = world.store.read_journal(key, None, 9).unwrap();
    assert_eq!(entries.len(), 1);
    let entry = Entry::decode(&entries[0].1).unwrap();
    assert_eq!(
        (entry.kind, entry.talk_s),
        (EntryKind::Answered, 60),
        "the time away counts"
    );
    world.assert_drained();
}

#[test]
fn a_restart_does_not_lengthen_a_call() {
    let mut policy = policy();
    policy.timers.call_limit_s = 3_600;
    let restarted = |policy: &Policy, at_ms: u64| {
        let mut world = World::new(policy.clone(), &[BOB]);
        answered(&mut world, "", "");
        let store = world.store.clone();
        World::with_store(policy.clone(), &[BOB], store, at_ms)
    };
    assert_eq!(
        restarted(&policy, 3_700_000).marks("bob"),
        (0, 0),
        "ended while we were away"
    );
    let mut world = restarted(&policy, 3_000_000);
    assert_eq!(world.marks("bob"), (1, 0));
    world.advance(610_000);
    assert_eq!(world.marks("bob"), (0, 0));
    world.assert_drained();
}
