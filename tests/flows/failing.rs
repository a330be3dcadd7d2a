//! A call that the PBX does not complete: no answer, busy, unreachable, declined.

use crate::harness::*;

const URI: &str = "sip:bob@example.com";
const PLAIN: &str = r#"{"id":"bob","display_name":"Bob"}"#;

fn bob(settings: &str) -> String {
    format!(r#"{{"id":"bob","display_name":"Bob","settings":{{"available":{settings}}}}}"#)
}

fn called(policy: pointsman::proxy::Policy, json: &str) -> (World, Sent) {
    let mut world = World::new(policy, &[json]);
    let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    (world, copy)
}

#[test]
fn with_nothing_set_the_response_of_the_pbx_passes_through() {
    for status in [
        "404 Not Found",
        "486 Busy Here",
        "603 Decline",
        "302 Moved",
        "407 Auth",
    ] {
        let (mut world, copy) = called(policy(), PLAIN);
        let sent = world.receive(PBX, respond(&copy, status, "X-Pbx: yes\r\n"));
        find(&sent, PBX, "ACK");
        let back = answer(&sent, CALLER, status[..3].parse().unwrap());
        assert_eq!(back.first_line(), format!("SIP/2.0 {status}"));
        assert_eq!(back.header("X-Pbx").unwrap(), "yes");
        world.receive(CALLER, ack_failure(URI, "a", &back));
        world.assert_drained();
    }
}

#[test]
fn a_503_is_never_passed_upstream_as_such() {
    let (mut world, copy) = called(policy(), PLAIN);
    let sent = world.receive(PBX, respond(&copy, "503 Service Unavailable", ""));
    assert_eq!(statuses(&sent, CALLER), [500]);
    world.assert_drained();
}

#[test]
fn no_answer_is_counted_from_the_first_180() {
    let (mut world, copy) = called(
        retargeting(),
        &bob(r#"{"no_answer":"voicemail","ring_for_s":20}"#),
    );
    world.receive(PBX, respond(&copy, "100 Trying", ""));
    assert!(world.advance(10_000).is_empty());
    world.receive(PBX, respond(&copy, "180 Ringing", ""));
    world.advance(10_000);
    world.receive(PBX, respond(&copy, "180 Ringing", ""));
    assert!(
        world.advance(9_900).is_empty(),
        "a further 180 does not start it anew"
    );
    let sent = world.advance(200);
    let cancel = find(&sent, PBX, "CANCEL");
    world.receive(PBX, respond(&cancel, "200 OK", ""));
    let sent = world.receive(PBX, respond(&copy, "487 Request Terminated", ""));
    let forwarded = find(&sent, VOICEMAIL, "INVITE");
    assert_eq!(
        forwarded.first_line(),
        format!("INVITE sip:vm-bob@{VOICEMAIL};target=sip%3Abob%40example.com;cause=408 SIP/2.0")
    );
    assert_eq!(statuses(&sent, CALLER), [181]);
    assert_eq!(forwarded.headers("Via").len(), 2);
    assert_eq!(forwarded.headers("Record-Route").len(), 1);
    assert_eq!(forwarded.header("Max-Forwards").unwrap(), "69");
    let ok = answer(
        &world.receive(VOICEMAIL, respond(&forwarded, "200 OK", "")),
        CALLER,
        200,
    );
    assert_eq!(world.marks("bob"), (0, 0), "voicemail is nobody's call");
    world.receive(
        CALLER,
        in_dialog(&ok, "BYE", 2, false, "").replace(PBX, VOICEMAIL),
    );
    world.assert_drained();
}

#[test]
fn in_redirect_mode_a_no_answer_is_a_302_after_the_180() {
    let (mut world, copy) = called(
        policy(),
        &bob(r#"{"no_answer":{"forward":"+491701234567"},"ring_for_s":5}"#),
    );
    world.receive(PBX, respond(&copy, "180 Ringing", ""));
    find(&world.advance(5_100), PBX, "CANCEL");
    let moved = answer(
        &world.receive(PBX, respond(&copy, "487 Terminated", "")),
        CALLER,
        302,
    );
    assert_eq!(
        moved.header("Contact").unwrap(),
        "<sip:+491701234567@example.com>"
    );
    assert!(
        moved
            .header("Diversion")
            .unwrap()
            .contains("reason=no-answer")
    );
    world.receive(CALLER, ack_failure(URI, "a", &moved));
    world.assert_drained();
}

#[test]
fn an_answer_that_crosses_the_ring_timeout_wins() {
    let (mut world, copy) = called(
        retargeting(),
        &bob(r#"{"no_answer":"voicemail","ring_for_s":5}"#),
    );
    world.receive(PBX, respond(&copy, "180 Ringing", ""));
    find(&world.advance(5_100), PBX, "CANCEL");
    let sent = world.receive(PBX, respond(&copy, "200 OK", ""));
    assert_eq!((statuses(&sent, CALLER), sent.len()), (vec![200], 1));
    assert_eq!(world.marks("bob"), (1, 0));
    world.receive(
        CALLER,
        in_dialog(&answer(&sent, CALLER, 200), "BYE", 2, false, ""),
    );
    world.assert_drained();
}

#[test]
fn each_failure_calls_for_its_own_rule() {
    let settings = r#"{"busy":{"forward":"sip:busy@192.0.2.5"},"declined":{"forward":"sip:declined@192.0.2.5"},
        "unreachable":{"forward":"sip:unreachable@192.0.2.5"},"no_answer":{"forward":"sip:no-answer@192.0.2.5"}}"#;
    let cases = [
        ("486 Busy Here", "busy"),
        ("600 Busy Everywhere", "busy"),
        ("603 Decline", "declined"),
        ("404 Not Found", "unreachable"),
        ("410 Gone", "unreachable"),
        ("480 Away", "unreachable"),
        ("500 Oops", "unreachable"),
        ("503 Busy", "unreachable"),
        ("408 Timeout", "unreachable"),
    ];
    for (status, user) in cases {
        let (mut world, copy) = called(retargeting(), &bob(settings));
        let sent = world.receive(PBX, respond(&copy, status, ""));
        let forwarded = find(&sent, MOBILE, "INVITE");
        assert_eq!(
            forwarded.first_line(),
            format!("INVITE sip:{user}@192.0.2.5 SIP/2.0"),
            "{status}"
        );
        world.receive(MOBILE, respond(&forwarded, "486 Busy Here", ""));
        world.assert_drained();
    }
}

#[test]
fn a_408_after_ringing_is_a_no_answer() {
    let settings = r#"{"unreachable":"reject","no_answer":{"forward":"sip:n@192.0.2.5"}}"#;
    let (mut world, copy) = called(retargeting(), &bob(settings));
    world.receive(PBX, respond(&copy, "180 Ringing", ""));
    find(
        &world.receive(PBX, respond(&copy, "408 Request Timeout", "")),
        MOBILE,
        "INVITE",
    );
}

#[test]
fn unreachable_without_a_rule_falls_back_to_no_answer() {
    let (mut world, copy) = called(policy(), &bob(r#"{"no_answer":"voicemail"}"#));
    let moved = answer(
        &world.receive(PBX, respond(&copy, "404 Not Found", "")),
        CALLER,
        302,
    );
    let contact = moved.header("Contact").unwrap();
    assert!(
        contact.starts_with(&format!("<sip:vm-bob@{VOICEMAIL};target=")),
        "{contact}"
    );
}

#[test]
fn a_dead_pbx_is_unreachable_by_timer_b_or_at_once_by_icmp() {
    let settings = bob(r#"{"unreachable":{"forward":"sip:u@192.0.2.5"}}"#);
    let (mut world, _) = called(retargeting(), &settings);
    find(&world.advance(32_100), MOBILE, "INVITE");
    let (mut world, _) = called(retargeting(), &settings);
    find(&world.unreachable(PBX), MOBILE, "INVITE");
}

#[test]
fn a_dead_pbx_without_a_rule_is_a_408() {
    let (mut world, _) = called(policy(), PLAIN);
    let timeout = answer(&world.advance(32_100), CALLER, 408);
    world.receive(CALLER, ack_failure(URI, "a", &timeout));
    world.assert_drained();
}

#[test]
fn a_pbx_that_the_network_refuses_is_a_500_without_a_rule() {
    let (mut world, _) = called(policy(), PLAIN);
    let failed = answer(&world.unreachable(PBX), CALLER, 500);
    world.receive(CALLER, ack_failure(URI, "a", &failed));
    world.assert_drained();
}

#[test]
fn timer_c_ends_a_branch_that_rings_for_ever() {
    let (mut world, copy) = called(policy(), PLAIN);
    world.receive(PBX, respond(&copy, "180 Ringing", ""));
    let sent = world.advance(186_000);
    find(&sent, PBX, "CANCEL");
    let sent = world.receive(PBX, respond(&copy, "487 Request Terminated", ""));
    assert_eq!(statuses(&sent, CALLER), [480]);
    world.assert_drained();
}

#[test]
fn a_failure_is_retransmitted_until_its_ack() {
    let (mut world, copy) = called(policy(), PLAIN);
    let busy = answer(
        &world.receive(PBX, respond(&copy, "486 Busy Here", "")),
        CALLER,
        486,
    );
    assert_eq!(statuses(&world.advance(3_600), CALLER), [486, 486, 486]);
    world.receive(CALLER, ack_failure(URI, "a", &busy));
    assert!(world.advance(10_000).is_empty());
    world.assert_drained();
}

#[test]
fn the_voicemails_own_failure_gives_the_better_answer() {
    let (mut world, copy) = called(retargeting(), &bob(r#"{"busy":"voicemail"}"#));
    let sent = world.receive(PBX, respond(&copy, "486 Busy Here", ""));
    let forwarded = find(&sent, VOICEMAIL, "INVITE");
    let sent = world.receive(VOICEMAIL, respond(&forwarded, "500 Full", ""));
    assert_eq!(statuses(&sent, CALLER), [486]);
    world.assert_drained();
}
