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
