//! RFC 5359: services between phones, which a proxy only has to let pass: hold, transfer, park,
//! pickup; with Replaces (RFC 3891), Referred-By (RFC 3892) and REFER (RFC 3515).

use crate::harness::*;

const BOB: &str = "sip:bob@example.com";
const SUBSCRIBER: &str = r#"{"id":"bob","display_name":"Bob"}"#;

fn talking() -> (World, Sent) {
    let mut world = World::new(policy(), &[SUBSCRIBER]);
    let copy = find(&world.receive(CALLER, invite(BOB, "a")), PBX, "INVITE");
    world.receive(PBX, respond(&copy, "180 Ringing", ""));
    let sent = world.receive(PBX, respond(&copy, "200 OK", ""));
    let ok = answer(&sent, CALLER, 200);
    find(
        &world.receive(CALLER, in_dialog(&ok, "ACK", 1, false, "")),
        PBX,
        "ACK",
    );
    (world, ok)
}

/// A request of the callee's goes to the caller and its answer back.
fn passes(world: &mut World, request: &str, method: &str, status: &str) -> Sent {
    let passed = find(&world.receive(PBX, request), CALLER, method);
    let sent = world.receive(CALLER, respond(&passed, status, ""));
    answer(&sent, PBX, status[..3].parse().unwrap());
    passed
}

fn hangs_up(mut world: World, ok: &Sent, cseq: u32) {
    let bye = in_dialog(ok, "BYE", cseq, true, "");
    passes(&mut world, &bye, "BYE", "200 OK");
    assert_eq!(world.marks("bob"), (0, 0));
    world.assert_drained();
}

#[test]
fn rfc5359_2_1_hold_and_its_end_are_re_invites_whose_bodies_stay_as_they_are() {
    let (mut world, ok) = talking();
    for (cseq, direction) in [(2, "sendonly"), (3, "sendrecv")] {
        let body = format!("{SDP}m=audio 49170 RTP/AVP 0\r\na={direction}\r\n");
        let length = format!(
            "Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let hold = in_dialog(&ok, "INVITE", cseq, true, "");
        let hold = hold.replace("Content-Length: 0\r\n\r\n", &length);
        let passed = passes(&mut world, &hold, "INVITE", "200 OK");
        assert!(passed.text().ends_with(&body));
        let ack = in_dialog(&ok, "ACK", cseq, true, "");
        find(&world.receive(PBX, ack), CALLER, "ACK");
        assert_eq!(world.marks("bob"), (1, 0), "still one call");
    }
    hangs_up(world, &ok, 4);
}

#[test]
fn rfc5359_2_4_an_unattended_transfer_passes_with_its_notifications() {
    let (mut world, ok) = talking();
    let refer = "Refer-To: <sip:carol@chicago.example.com>\r\n\
        Referred-By: <sip:bob@example.com>\r\n";
    let refer = in_dialog(&ok, "REFER", 2, true, refer);
    let passed = passes(&mut world, &refer, "REFER", "202 Accepted");
    assert_eq!(
        passed.headers("Refer-To"),
        ["<sip:carol@chicago.example.com>"]
    );
    assert_eq!(passed.headers("Referred-By"), ["<sip:bob@example.com>"]);
    let state = "Event: refer\r\nSubscription-State: active;expires=60\r\n";
    let notify = in_dialog(&ok, "NOTIFY", 2, false, state);
    let notify = find(&world.receive(CALLER, notify), PBX, "NOTIFY");
    assert_eq!(notify.headers("Event"), ["refer"]);
    let sent = world.receive(PBX, respond(&notify, "200 OK", ""));
    assert_eq!(statuses(&sent, CALLER), [200]);
    hangs_up(world, &ok, 3);
}

#[test]
fn rfc5359_2_5_an_attended_transfer_replaces_a_call_through_the_proxy() {
    let (world, ok) = talking();
    let mut world = world;
    let replaces = "Replaces: 1@chicago;to-tag=5;from-tag=6;early-only\r\n\
        Require: replaces\r\nReferred-By: <sip:alice@atlanta.example.com>\r\n";
    let sent = world.receive(CALLER, request("INVITE", BOB, "b", replaces));
    let copy = find(&sent, PBX, "INVITE");
    assert_eq!(
        copy.headers("Replaces"),
        ["1@chicago;to-tag=5;from-tag=6;early-only"]
    );
    assert_eq!(copy.headers("Require"), ["replaces"]);
    assert_eq!(
        copy.headers("Referred-By"),
        ["<sip:alice@atlanta.example.com>"]
    );
    let sent = world.receive(PBX, respond(&copy, "481 No Such Call", ""));
    assert_eq!(statuses(&sent, CALLER), [481]);
    hangs_up(world, &ok, 2);
}

#[test]
fn rfc5359_2_15_a_parked_call_is_asked_for_outside_its_dialog() {
    let mut world = World::new(policy(), &[SUBSCRIBER]);
    let refer = "Refer-To: <sip:caller@192.0.2.50?Replaces=12345%3Bfrom-tag%3D1%3Bto-tag%3D2>\r\n";
    let sent = world.receive(CALLER, request("REFER", BOB, "a", refer));
    let passed = find(&sent, PBX, "REFER");
    assert_eq!(passed.headers("Record-Route").len(), 1);
    assert!(
        passed
            .header("Refer-To")
            .unwrap()
            .contains("?Replaces=12345%3B")
    );
    let sent = world.receive(PBX, respond(&passed, "202 Accepted", ""));
    assert_eq!(statuses(&sent, CALLER), [202]);
    world.assert_drained();
}

#[test]
fn rfc5359_2_16_a_pickup_cancels_the_phone_that_rang() {
    let mut world = World::new(policy(), &[SUBSCRIBER]);
    let copy = find(&world.receive(CALLER, invite(BOB, "a")), PBX, "INVITE");
    world.receive(PBX, respond(&copy, "180 Ringing", ""));
    let pickup = "Replaces: a@caller;to-tag=callee;from-tag=fa\r\n";
    let invite = request("INVITE", &format!("sip:carl@{CALLER}"), "p", pickup)
        .replace(&format!("UDP {CALLER}"), &format!("UDP {PBX}"));
    let passed = find(&world.receive(PBX, invite), CALLER, "INVITE");
    assert_eq!(passed.headers("Replaces").len(), 1);
    let ok = respond(&passed, "200 OK", "");
    assert_eq!(statuses(&world.receive(CALLER, ok), PBX), [200]);
    let sent = world.receive(CALLER, cancel(BOB, "a"));
    assert_eq!(statuses(&sent, CALLER), [200]);
    find(&sent, PBX, "CANCEL");
    let sent = world.receive(PBX, respond(&copy, "487 Request Terminated", ""));
    assert_eq!(statuses(&sent, CALLER), [487]);
    assert_eq!(world.marks("bob"), (0, 0));
}

#[test]
fn rfc5359_2_6_an_instant_message_passes_both_ways() {
    let (mut world, ok) = talking();
    let message = in_dialog(&ok, "MESSAGE", 2, true, "");
    passes(&mut world, &message, "MESSAGE", "200 OK");
    hangs_up(world, &ok, 3);
}
