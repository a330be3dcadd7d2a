//! What the simulation found, each as the shortest flow that shows it.

use crate::harness::*;

const BOB: &str = r#"{"id":"bob","display_name":"Bob","aliases":["102"]}"#;
const PATIENT: &str = r#"{"id":"bob","display_name":"Bob",
    "settings":{"available":{"no_answer":"voicemail","ring_for_s":20}}}"#;
const URI: &str = "sip:bob@example.com";

fn called(world: &mut World) -> Sent {
    find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE")
}

#[test]
fn a_2xx_repeated_after_the_bye_does_not_open_the_call_again() {
    let mut world = World::new(policy(), &[BOB]);
    let copy = called(&mut world);
    let ok = respond(&copy, "200 OK", "");
    let answered = answer(&world.receive(PBX, &ok), CALLER, 200);
    world.receive(CALLER, in_dialog(&answered, "BYE", 2, false, ""));
    let sent = world.receive(PBX, &ok);
    assert_eq!(
        statuses(&sent, CALLER),
        [200],
        "it is passed on all the same"
    );
    assert_eq!(world.marks("bob"), (0, 0));
    world.assert_drained();
}

#[test]
fn a_bye_that_overtakes_its_2xx_ends_the_call_beforehand() {
    let mut world = World::new(policy(), &[BOB]);
    let copy = called(&mut world);
    let ok = Sent {
        to: address(CALLER),
        hop: copy.hop.clone(),
        bytes: respond(&copy, "200 OK", "").into_bytes(),
    };
    world.receive(PBX, in_dialog(&ok, "BYE", 2, true, ""));
    world.receive(PBX, &ok.bytes);
    assert_eq!(world.marks("bob"), (0, 0));
    world.assert_drained();
}

#[test]
fn a_phone_that_ignores_a_cancel_is_given_up_although_it_had_a_time_to_ring() {
    let mut world = World::new(policy(), &[PATIENT]);
    let copy = called(&mut world);
    world.receive(PBX, respond(&copy, "180 Ringing", ""));
    world.receive(CALLER, cancel(URI, "a"));
    assert_eq!(statuses(&world.advance(40_000), CALLER)[..1], [487]);
    assert_eq!(world.marks("bob"), (0, 0));
    world.assert_drained();
}

#[test]
fn the_ack_of_a_stateless_503_stays_here() {
    let mut world = World::new(policy(), &[BOB]);
    world
        .shared
        .draining
        .store(true, std::sync::atomic::Ordering::Relaxed);
    let refused = answer(&world.receive(CALLER, invite(URI, "a")), CALLER, 503);
    assert!(
        world
            .receive(CALLER, ack_failure(URI, "a", &refused))
            .is_empty()
    );
}

#[test]
fn a_refresh_without_session_expires_leaves_only_the_hard_limit() {
    let mut world = World::new(policy(), &[BOB]);
    let copy = called(&mut world);
    let session = "Session-Expires: 90;refresher=uac\r\nRequire: timer\r\n";
    let ok = answer(
        &world.receive(PBX, respond(&copy, "200 OK", session)),
        CALLER,
        200,
    );
    let refresh = in_dialog(&ok, "UPDATE", 2, false, session);
    let refresh = find(&world.receive(CALLER, refresh), PBX, "UPDATE");
    world.receive(PBX, respond(&refresh, "200 OK", ""));
    world.advance(600_000);
    assert_eq!(
        world.marks("bob"),
        (1, 0),
        "nobody needs to refresh any more"
    );
    world.advance(12 * 3_600_000);
    assert_eq!(world.marks("bob"), (0, 0));
    world.assert_drained();
}

#[test]
fn a_restart_marks_a_subscriber_again_whatever_the_case_of_the_id() {
    let mixed = BOB.replace("\"bob\"", "\"BoB\"");
    let mut world = World::new(policy(), &[&mixed]);
    let copy = called(&mut world);
    let sent = world.receive(PBX, respond(&copy, "200 OK", ""));
    let ok = answer(&sent, CALLER, 200);
    let mut world = World::with_store(policy(), &[&mixed], world.store.clone(), world.now_ms);
    assert_eq!(world.marks("BoB"), (1, 0));
    world.receive(CALLER, in_dialog(&ok, "BYE", 2, false, ""));
    assert_eq!(world.marks("BoB"), (0, 0));
    world.assert_drained();
}

#[test]
fn a_branch_is_never_used_again_after_a_restart() {
    let mut world = World::new(policy(), &[BOB]);
    let first = called(&mut world);
    let mut world = World::with_store(policy(), &[BOB], world.store.clone(), 1);
    let second = called(&mut world);
    assert_ne!(first.headers("Via")[0], second.headers("Via")[0]);
}
