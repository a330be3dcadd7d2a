//! What is refused, and what is met with silence.

use crate::harness::*;
use pointsman::proxy::Policy;
use pointsman::proxy::policy::Limits;

const BOB: &str = r#"{"id":"bob","display_name":"Bob"}"#;
const URI: &str = "sip:bob@example.com";

fn refused(request: impl AsRef<[u8]>) -> Sent {
    let mut world = World::new(policy(), &[BOB]);
    let sent = world.receive(CALLER, request);
    assert_eq!(sent.len(), 1, "{sent:#?}");
    world.assert_drained();
    sent[0].clone()
}

#[test]
fn nobody_relays_through_us_to_foreign_domains() {
    for method in ["INVITE", "MESSAGE", "OPTIONS", "REGISTER"] {
        let answer = refused(request(method, "sip:victim@203.0.113.9", "a", ""));
        assert_eq!(answer.status(), Some(403), "{method}");
    }
    let routed = request("INVITE", URI, "a", "Route: <sip:203.0.113.9;lr>\r\n");
    assert_eq!(refused(routed).status(), Some(403));
}

#[test]
fn a_peer_may_call_out() {
    let mut world = World::new(policy(), &[BOB]);
    let out = request("INVITE", "sip:+4940555@203.0.113.9", "a", "");
    let copy = find(
        &world.receive(PBX, out.replace(CALLER, PBX)),
        "203.0.113.9:5060",
        "INVITE",
    );
    assert!(copy.header("Record-Route").is_some());
}

#[test]
fn hops_are_counted_down_to_483() {
    let none = invite(URI, "a").replace("Max-Forwards: 70", "Max-Forwards: 0");
    assert_eq!(refused(none).first_line(), "SIP/2.0 483 Too Many Hops");
    let mut world = World::new(policy(), &[BOB]);
    let missing = invite(URI, "b").replace("Max-Forwards: 70\r\n", "");
    let copy = find(&world.receive(CALLER, missing), PBX, "INVITE");
    assert_eq!(copy.header("Max-Forwards").unwrap(), "70");
}

#[test]
fn an_extension_we_do_not_know_is_refused_by_name() {
    let answer = refused(request("INVITE", URI, "a", "Proxy-Require: magic\r\n"));
    assert_eq!(answer.status(), Some(420));
    assert_eq!(answer.header("Unsupported").unwrap(), "magic");
}

#[test]
fn malformed_requests_get_a_400_that_names_the_fault() {
    let good = invite(URI, "a");
    let cases = [
        (
            good.replace("CSeq: 1 INVITE", "CSeq: 1 BYE"),
            "CSeq Method Mismatch",
        ),
        (good.replace("CSeq: 1 INVITE\r\n", ""), "Missing CSeq"),
        (good.replace("Call-ID: a@caller\r\n", ""), "Missing Call-ID"),
        (
            good.replace("Content-Length: ", "Content-Length: 9"),
            "Content-Length",
        ),
        (
            good.replace("From: \"Carl\" <", "From: \"Carl <"),
            "Malformed From",
        ),
    ];
    for (request, fault) in cases {
        let line = refused(request).first_line();
        assert!(
            line.starts_with("SIP/2.0 400 ") && line.contains(fault),
            "{line} / {fault}"
        );
    }
    assert_eq!(
        refused(good.replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia")).status(),
        Some(505)
    );
    assert_eq!(
        refused(good.replace(
            "INVITE sip:bob@example.com",
            "INVITE mailto:bob@example.com"
        ))
        .status(),
        Some(416)
    );
}

#[test]
fn noise_keepalives_and_stray_messages_are_met_with_silence() {
    let mut world = World::new(policy(), &[BOB]);
    for noise in [
        &b"\r\n\r\n"[..],
        b"",
        b"\0\0\0\0",
        b"hello",
        b"\xff\xfe\x00SIP",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        assert!(world.receive(CALLER, noise).is_empty(), "{noise:?}");
    }
    let stray = format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP {PROXY};branch=z9hG4bKpmi00000001000000010012345678\r\n\
         From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    );
    assert!(world.receive(PBX, stray).is_empty());
    let ack = invite(URI, "a").replace("INVITE", "ACK");
    assert!(world.receive(CALLER, ack).is_empty(), "a stray ACK");
    world.assert_drained();
}

#[test]
fn a_full_table_answers_503_before_any_state_is_made() {
    let limits = Limits {
        transactions: 2,
        ..Limits::default()
    };
    let mut world = World::new(Policy { limits, ..policy() }, &[BOB]);
    world.receive(CALLER, invite(URI, "a"));
    world.receive(CALLER, invite(URI, "b"));
    let full = answer(&world.receive(CALLER, invite(URI, "c")), CALLER, 503);
    let retry_after_s: u32 = full.header("Retry-After").unwrap().parse().unwrap();
    assert!((5..=7).contains(&retry_after_s), "a little spread");
    assert_eq!(world.engine.load().invites, 2);
}

#[test]
fn what_only_absorbs_repetitions_takes_a_fraction_of_the_room() {
    let limits = Limits {
        transactions: 4,
        ..Limits::default()
    };
    let dnd = r#"{"id":"eve","display_name":"Eve","status":"dnd"}"#;
    let mut world = World::new(Policy { limits, ..policy() }, &[BOB, dnd]);
    let eve = "sip:eve@example.com";
    for number in 0..16 {
        let call = format!("refused{number}");
        let refusal = answer(&world.receive(CALLER, invite(eve, &call)), CALLER, 480);
        world.receive(CALLER, ack_failure(eve, &call, &refusal));
    }
    for number in 0..2 {
        let sent = world.receive(CALLER, invite(URI, &format!("answered{number}")));
        let copy = find(&sent, PBX, "INVITE");
        let sent = world.receive(PBX, respond(&copy, "200 OK", ""));
        let ok = answer(&sent, CALLER, 200);
        world.receive(CALLER, in_dialog(&ok, "ACK", 1, false, ""));
        let sent = world.receive(CALLER, in_dialog(&ok, "BYE", 2, false, ""));
        let bye = find(&sent, PBX, "BYE");
        world.receive(PBX, respond(&bye, "200 OK", ""));
    }
    // All of that is two; two more wait at the PBX, for the next there is no room.
    for call in ["a", "b"] {
        find(&world.receive(CALLER, invite(URI, call)), PBX, "INVITE");
    }
    answer(&world.receive(CALLER, invite(URI, "c")), CALLER, 503);
    assert_eq!(world.engine.load().invites, 20);
    world.assert_drained();
}

#[test]
fn a_draining_process_ends_its_calls_and_takes_no_new_ones() {
    let mut world = World::new(policy(), &[BOB]);
    let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    let ok = answer(
        &world.receive(PBX, respond(&copy, "200 OK", "")),
        CALLER,
        200,
    );
    world
        .shared
        .draining
        .store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(
        statuses(&world.receive(CALLER, invite(URI, "b")), CALLER),
        [503]
    );
    find(
        &world.receive(CALLER, in_dialog(&ok, "BYE", 2, false, "")),
        PBX,
        "BYE",
    );
    world.assert_drained();
}
