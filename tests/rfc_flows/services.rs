//! RFC 5359: services that a proxy carries out.

use crate::harness::*;

const BOB: &str = "sip:bob@example.com";
const B2: &str = "192.0.2.5:5060";

fn subscriber(settings: &str) -> String {
    format!(r#"{{"id":"bob","display_name":"Bob","settings":{settings},"status":"available"}}"#)
}

/// From the forwarded INVITE on: ringing, answer, ACK, talk, BYE.
fn completes(world: &mut World, forwarded: &Sent, at: &str) {
    let sent = world.receive(at, respond(forwarded, "180 Ringing", ""));
    assert_eq!(statuses(&sent, CALLER), [180]);
    let sent = world.receive(at, respond(forwarded, "200 OK", "").replace(PBX, at));
    let ok = answer(&sent, CALLER, 200);
    let to_b2 = |text: String| text.replace(PBX, at);
    let ack = to_b2(in_dialog(&ok, "ACK", 1, false, ""));
    find(&world.receive(CALLER, ack), at, "ACK");
    let bye = to_b2(in_dialog(&ok, "BYE", 2, false, ""));
    let bye = find(&world.receive(CALLER, bye), at, "BYE");
    let sent = world.receive(at, respond(&bye, "200 OK", ""));
    assert_eq!(statuses(&sent, CALLER), [200]);
    world.assert_drained();
}

#[test]
fn rfc5359_2_7_call_forwarding_unconditional() {
    let bob = subscriber(r#"{"available":{"immediate":{"forward":"sip:+1972@192.0.2.5"}}}"#);
    let mut world = World::new(retargeting(), &[&bob]);
    let sent = world.receive(CALLER, invite(BOB, "a"));
    assert_eq!(statuses(&sent, CALLER), [100, 181], "F2, F3");
    let forwarded = find(&sent, B2, "INVITE");
    assert_eq!(
        forwarded.first_line(),
        "INVITE sip:+1972@192.0.2.5 SIP/2.0",
        "F4"
    );
    assert_eq!(forwarded.header("To").unwrap(), format!("<{BOB}>"));
    assert_eq!(forwarded.header("Max-Forwards").unwrap(), "69");
    completes(&mut world, &forwarded, B2);
}

#[test]
fn rfc5359_2_7_the_same_by_redirect() {
    let bob = subscriber(r#"{"available":{"immediate":{"forward":"sip:+1972@192.0.2.5"}}}"#);
    let mut world = World::new(policy(), &[&bob]);
    let moved = answer(&world.receive(CALLER, invite(BOB, "a")), CALLER, 302);
    assert_eq!(moved.header("Contact").unwrap(), "<sip:+1972@192.0.2.5>");
    world.receive(CALLER, ack_failure(BOB, "a", &moved));
    world.assert_drained();
}

#[test]
fn rfc5359_2_8_call_forwarding_busy() {
    let bob = subscriber(r#"{"available":{"busy":{"forward":"sip:bob@192.0.2.5"}}}"#);
    let mut world = World::new(retargeting(), &[&bob]);
    let sent = world.receive(CALLER, invite(BOB, "a"));
    assert_eq!(statuses(&sent, CALLER), [100]);
    let first = find(&sent, PBX, "INVITE");
    let sent = world.receive(PBX, respond(&first, "486 Busy Here", ""));
    find(&sent, PBX, "ACK");
    assert_eq!(statuses(&sent, CALLER), [181], "F6");
    let second = find(&sent, B2, "INVITE");
    assert_ne!(first.headers("Via")[0], second.headers("Via")[0]);
    assert_eq!(first.headers("Via")[1], second.headers("Via")[1]);
    completes(&mut world, &second, B2);
}

#[test]
fn rfc5359_2_9_call_forwarding_no_answer() {
    let bob = subscriber(
        r#"{"available":{"no_answer":{"forward":"sip:bob@192.0.2.5"},"ring_for_s":10}}"#,
    );
    let mut world = World::new(retargeting(), &[&bob]);
    let first = find(&world.receive(CALLER, invite(BOB, "a")), PBX, "INVITE");
    let sent = world.receive(PBX, respond(&first, "180 Ringing", ""));
    assert_eq!(statuses(&sent, CALLER), [180]);
    let sent = world.advance(10_100);
    let cancel = find(&sent, PBX, "CANCEL");
    assert!(statuses(&sent, CALLER).is_empty());
    world.receive(PBX, respond(&cancel, "200 OK", ""));
    let sent = world.receive(PBX, respond(&first, "487 Request Terminated", ""));
    find(&sent, PBX, "ACK");
    assert_eq!(statuses(&sent, CALLER), [181], "F10");
    let second = find(&sent, B2, "INVITE");
    completes(&mut world, &second, B2);
}

#[test]
fn rfc5359_2_12_find_me_tries_one_after_the_other() {
    let bob = subscriber(
        r#"{"available":{"no_answer":{"forward":"cleo"},"busy":{"forward":"cleo"},"ring_for_s":5}}"#,
    );
    let cleo = r#"{"id":"cleo","display_name":"Cleo","settings":{"available":{
        "unreachable":{"forward":"dora"}}}}"#;
    let dora = r#"{"id":"dora","display_name":"Dora","settings":{"available":{
        "busy":{"forward":"sip:b4@192.0.2.5"}}}}"#;
    let mut world = World::new(retargeting(), &[&bob, cleo, dora]);
    let b1 = find(&world.receive(CALLER, invite(BOB, "a")), PBX, "INVITE");
    world.receive(PBX, respond(&b1, "180 Ringing", ""));
    find(&world.advance(5_100), PBX, "CANCEL");
    let sent = world.receive(PBX, respond(&b1, "487 Request Terminated", ""));
    let b2 = find(&sent, PBX, "INVITE");
    assert!(b2.first_line().contains("cleo@"));
    let sent = world.receive(PBX, respond(&b2, "480 Not Logged In", ""));
    let b3 = find(&sent, PBX, "INVITE");
    assert!(b3.first_line().contains("dora@"));
    assert!(statuses(&sent, CALLER).iter().all(|status| *status == 181));
    let sent = world.receive(PBX, respond(&b3, "486 Busy Here", ""));
    let b4 = find(&sent, B2, "INVITE");
    let branches = [&b1, &b2, &b3, &b4].map(|copy| copy.headers("Via")[0].clone());
    for (at, branch) in branches.iter().enumerate() {
        assert!(!branches[at + 1..].contains(branch), "each has its own");
    }
    completes(&mut world, &b4, B2);
}

#[test]
fn rfc5359_2_13_a_screened_caller_is_refused() {
    let bob = subscriber(r#"{"available":{"immediate":{"anonymous":"reject"}}}"#);
    let mut world = World::new(policy(), &[&bob]);
    let call = invite(BOB, "a").replace(
        "\"Carl\" <sip:carl@elsewhere.net>",
        "\"Anonymous\" <sip:anonymous@anonymous.invalid>",
    );
    assert_eq!(statuses(&world.receive(CALLER, call), CALLER), [433]);
    find(&world.receive(CALLER, invite(BOB, "b")), PBX, "INVITE");
}

#[test]
fn rfc5359_2_17_automatic_redial_subscribes_through_the_proxy() {
    let mut world = World::new(policy(), &[&subscriber("{}")]);
    let event = "Event: dialog\r\nExpires: 3600\r\nAccept: application/dialog-info+xml\r\n";
    let sent = world.receive(CALLER, request("SUBSCRIBE", BOB, "a", event));
    let subscribe = find(&sent, PBX, "SUBSCRIBE");
    assert_eq!(subscribe.headers("Record-Route").len(), 1);
    let sent = world.receive(
        PBX,
        respond(&subscribe, "202 Accepted", "Expires: 3600\r\n"),
    );
    let accepted = answer(&sent, CALLER, 202);
    let state = "Event: dialog\r\nSubscription-State: active;expires=3600\r\n";
    let notify = in_dialog(&accepted, "NOTIFY", 1, true, state);
    let notify = find(&world.receive(PBX, notify), CALLER, "NOTIFY");
    assert_eq!(notify.headers("Event"), ["dialog"]);
    assert_eq!(
        notify.headers("Record-Route").len(),
        1,
        "RFC 6665 §4.3: a NOTIFY may be the first of its dialog"
    );
    let sent = world.receive(CALLER, respond(&notify, "200 OK", ""));
    assert_eq!(statuses(&sent, PBX), [200]);
    world.assert_drained();
}
