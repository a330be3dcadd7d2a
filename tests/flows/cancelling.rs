//! CANCEL, and what crosses it.

use crate::harness::*;

const BOB: &str = r#"{"id":"bob","display_name":"Bob","aliases":["102"]}"#;
const URI: &str = "sip:bob@example.com";

fn ringing() -> (World, Sent) {
    let mut world = World::new(policy(), &[BOB]);
    let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    world.receive(PBX, respond(&copy, "180 Ringing", ""));
    (world, copy)
}

#[test]
fn a_cancel_is_answered_at_once_and_carried_on() {
    let (mut world, copy) = ringing();
    let sent = world.receive(CALLER, cancel(URI, "a"));
    assert_eq!(statuses(&sent, CALLER), [200]);
    let onward = find(&sent, PBX, "CANCEL");
    assert_eq!(
        onward.headers("Via"),
        copy.headers("Via")[..1],
        "the branch is the INVITE's"
    );
    assert_eq!(onward.header("CSeq").unwrap(), "1 CANCEL");
    assert!(
        world
            .receive(PBX, respond(&onward, "200 OK", ""))
            .is_empty()
    );
    let sent = world.receive(PBX, respond(&copy, "487 Request Terminated", ""));
    find(&sent, PBX, "ACK");
    let terminated = answer(&sent, CALLER, 487);
    assert_eq!(world.marks("bob"), (0, 0));
    world.receive(CALLER, ack_failure(URI, "a", &terminated));
    world.assert_drained();
}

#[test]
fn cancel_before_100_is_held_until_a_provisional() {
    let mut world = World::new(policy(), &[BOB]);
    let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    let sent = world.receive(CALLER, cancel(URI, "a"));
    assert_eq!(statuses(&sent, CALLER), [200]);
    assert!(sent.iter().all(|s| s.method().is_none()), "RFC 3261 §9.1");
    let sent = world.receive(PBX, respond(&copy, "100 Trying", ""));
    find(&sent, PBX, "CANCEL");
    world.receive(PBX, respond(&copy, "487 Request Terminated", ""));
    world.assert_drained();
}

#[test]
fn a_200_that_crosses_the_cancel_is_passed_on_and_marks() {
    let (mut world, copy) = ringing();
    world.receive(CALLER, cancel(URI, "a"));
    let ok = answer(
        &world.receive(PBX, respond(&copy, "200 OK", "")),
        CALLER,
        200,
    );
    assert_eq!(world.marks("bob"), (1, 0));
    world.receive(CALLER, in_dialog(&ok, "BYE", 2, false, ""));
    assert_eq!(world.marks("bob"), (0, 0));
    world.assert_drained();
}

#[test]
fn a_cancel_after_the_200_changes_nothing() {
    let (mut world, copy) = ringing();
    let ok = answer(
        &world.receive(PBX, respond(&copy, "200 OK", "")),
        CALLER,
        200,
    );
    let sent = world.receive(CALLER, cancel(URI, "a"));
    assert_eq!(statuses(&sent, CALLER), [200]);
    assert_eq!(sent.len(), 1);
    assert_eq!(world.marks("bob"), (1, 0));
    world.receive(CALLER, in_dialog(&ok, "BYE", 2, false, ""));
    world.assert_drained();
}

#[test]
fn a_cancel_that_matches_nothing_is_answered_481() {
    let mut world = World::new(policy(), &[BOB]);
    assert_eq!(
        statuses(&world.receive(CALLER, cancel(URI, "x")), CALLER),
        [481]
    );
}

#[test]
fn a_pbx_that_ignores_the_cancel_does_not_hold_the_caller() {
    let (mut world, _) = ringing();
    world.receive(CALLER, cancel(URI, "a"));
    let sent = world.advance(33_000);
    assert!(
        sent.iter()
            .filter(|s| s.method().as_deref() == Some("CANCEL"))
            .count()
            > 3
    );
    answer(&sent, CALLER, 487);
    world.assert_drained();
}

#[test]
fn a_cancelled_call_does_not_go_to_voicemail() {
    let json =
        r#"{"id":"bob","display_name":"Bob","settings":{"available":{"no_answer":"voicemail"}}}"#;
    let mut world = World::new(retargeting(), &[json]);
    let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    world.receive(PBX, respond(&copy, "180 Ringing", ""));
    world.receive(CALLER, cancel(URI, "a"));
    let sent = world.receive(PBX, respond(&copy, "487 Request Terminated", ""));
    assert_eq!(statuses(&sent, CALLER), [487]);
    world.assert_drained();
}

#[test]
fn a_broken_cancel_is_answered_400_and_cancels_nothing() {
    let mut world = World::new(policy(), &[BOB]);
    let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    world.receive(PBX, respond(&copy, "180 Ringing", ""));
    for (good, bad) in [
        ("CSeq: 1 CANCEL", "CSeq: 1 INVITE"),
        (
            "Call-ID: a@caller",
            "Call-ID: a@caller\r\nCall-ID: a@caller",
        ),
        ("Max-Forwards: 70", "Max-Forwards: x"),
    ] {
        let sent = world.receive(CALLER, cancel(URI, "a").replace(good, bad));
        assert_eq!(statuses(&sent, CALLER), [400], "{bad}");
        assert_eq!(sent.len(), 1, "{bad}");
    }
    let sent = world.receive(CALLER, cancel(URI, "a"));
    let onward = find(&sent, PBX, "CANCEL");
    world.receive(PBX, respond(&onward, "200 OK", ""));
    let sent = world.receive(PBX, respond(&copy, "487 Request Terminated", ""));
    assert_eq!(statuses(&sent, CALLER), [487]);
    world.assert_drained();
}
