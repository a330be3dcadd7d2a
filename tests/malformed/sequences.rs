//! Good messages in a wrong order: they are answered, passed on or dropped, and nothing is left.

use crate::harness::*;
use crate::verdict::world;

const URI: &str = "sip:bob@example.com";

fn answered(world: &mut World) -> (Sent, Sent) {
    let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    let ok = answer(
        &world.receive(PBX, respond(&copy, "200 OK", "")),
        CALLER,
        200,
    );
    (copy, ok)
}

#[test]
fn a_bye_before_the_ack_ends_the_call() {
    let mut world = world();
    let (_, ok) = answered(&mut world);
    let bye = find(
        &world.receive(CALLER, in_dialog(&ok, "BYE", 2, false, "")),
        PBX,
        "BYE",
    );
    world.receive(PBX, respond(&bye, "200 OK", ""));
    let late = in_dialog(&ok, "ACK", 1, false, "");
    world.receive(CALLER, late);
    world.assert_drained();
}

#[test]
fn a_cseq_that_goes_backwards_is_the_callees_to_judge() {
    let mut world = world();
    let (_, ok) = answered(&mut world);
    world.receive(CALLER, in_dialog(&ok, "ACK", 1, false, ""));
    for cseq in [9, 3, 2_147_483_647, 0] {
        let info = find(
            &world.receive(CALLER, in_dialog(&ok, "INFO", cseq, false, "")),
            PBX,
            "INFO",
        );
        assert_eq!(info.header("CSeq").unwrap(), format!("{cseq} INFO"));
        let refused = respond(&info, "500 Server Internal Error", "");
        assert_eq!(statuses(&world.receive(PBX, refused), CALLER), [500]);
    }
    let bye = find(
        &world.receive(CALLER, in_dialog(&ok, "BYE", 1, false, "")),
        PBX,
        "BYE",
    );
    world.receive(PBX, respond(&bye, "200 OK", ""));
    world.assert_drained();
}

#[test]
fn a_200_after_the_cancel_is_passed_on_for_the_caller_to_end() {
    let mut world = world();
    let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    world.receive(PBX, respond(&copy, "180 Ringing", ""));
    let cancel_copy = find(&world.receive(CALLER, cancel(URI, "a")), PBX, "CANCEL");
    world.receive(PBX, respond(&cancel_copy, "200 OK", ""));
    let ok = answer(
        &world.receive(PBX, respond(&copy, "200 OK", "")),
        CALLER,
        200,
    );
    world.receive(CALLER, in_dialog(&ok, "ACK", 1, false, ""));
    let bye = find(
        &world.receive(CALLER, in_dialog(&ok, "BYE", 2, false, "")),
        PBX,
        "BYE",
    );
    world.receive(PBX, respond(&bye, "200 OK", ""));
    world.assert_drained();
}

#[test]
fn answers_that_come_twice_or_late_make_no_second_final() {
    let mut world = world();
    let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    let busy = respond(&copy, "486 Busy Here", "");
    let first = world.receive(PBX, &busy);
    assert_eq!(statuses(&first, CALLER), [486]);
    for late in [
        "486 Busy Here",
        "180 Ringing",
        "404 Not Found",
        "100 Trying",
    ] {
        let sent = world.receive(PBX, respond(&copy, late, ""));
        assert_eq!(statuses(&sent, CALLER), [0u16; 0], "{late}");
    }
    world.receive(CALLER, ack_failure(URI, "a", &answer(&first, CALLER, 486)));
    world.assert_drained();
}

#[test]
fn what_belongs_to_nothing_leaves_nothing() {
    let mut world = world();
    let stray = request("ACK", URI, "x", "");
    assert!(world.receive(CALLER, stray).is_empty());
    let sent = world.receive(CALLER, cancel(URI, "x"));
    assert_eq!(statuses(&sent, CALLER), [481]);
    world.assert_drained();
}

#[test]
fn a_forged_contact_gets_nothing_from_us() {
    let mut world = world();
    let forged = request("SUBSCRIBE", URI, "x", "Event: presence\r\n").replace(
        "<sip:carl@192.0.2.50:5070>\r\nEvent",
        "<sip:victim@203.0.113.9>\r\nEvent",
    );
    let mut sent = world.receive(CALLER, forged);
    sent.extend(world.advance(100_000));
    assert!(
        sent.iter()
            .all(|sent| sent.to != address("203.0.113.9:5060"))
    );
    world.assert_drained();
}
