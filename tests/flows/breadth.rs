//! Max-Breadth and loop detection (RFC 5393).

use crate::harness::*;

const BOB: &str = r#"{"id":"bob","display_name":"Bob","aliases":["102"]}"#;
const URI: &str = "sip:bob@example.com";

fn copied(extra: &str) -> Sent {
    let mut world = World::new(policy(), &[BOB]);
    let sent = world.receive(CALLER, request("INVITE", URI, "a", extra));
    find(&sent, PBX, "INVITE")
}

#[test]
fn every_request_leaves_with_exactly_one_max_breadth() {
    assert_eq!(copied("").headers("Max-Breadth"), ["60"]);
    assert_eq!(copied("Max-Breadth: 7\r\n").headers("Max-Breadth"), ["7"]);
    let twice = copied("Max-Breadth: 9\r\nmax-breadth: 3\r\n");
    assert_eq!(twice.headers("Max-Breadth"), ["9"]);
    let mut world = World::new(policy(), &[BOB]);
    for method in ["MESSAGE", "SUBSCRIBE", "PUBLISH"] {
        let sent = world.receive(CALLER, request(method, URI, method, ""));
        let copy = find(&sent, PBX, method);
        assert_eq!(copy.headers("Max-Breadth"), ["60"], "{method}");
    }
}

#[test]
fn more_than_our_maximum_is_overwritten() {
    assert_eq!(copied("Max-Breadth: 61\r\n").headers("Max-Breadth"), ["60"]);
    assert_eq!(
        copied("Max-Breadth: 4294967296\r\n").headers("Max-Breadth"),
        ["60"]
    );
}

#[test]
fn without_any_breadth_the_answer_is_440() {
    let mut world = World::new(policy(), &[BOB]);
    let sent = world.receive(CALLER, request("INVITE", URI, "a", "Max-Breadth: 0\r\n"));
    let refused = answer(&sent, CALLER, 440);
    assert_eq!(refused.first_line(), "SIP/2.0 440 Max-Breadth Exceeded");
    world.assert_drained();
}

#[test]
fn a_branch_that_failed_leaves_its_breadth_to_the_next() {
    let bob = r#"{"id":"bob","display_name":"Bob","settings":{"available":{"busy":"voicemail"}}}"#;
    let mut world = World::new(retargeting(), &[bob]);
    let one = request("INVITE", URI, "a", "Max-Breadth: 1\r\n");
    let copy = find(&world.receive(CALLER, one), PBX, "INVITE");
    assert_eq!(copy.headers("Max-Breadth"), ["1"]);
    let sent = world.receive(PBX, respond(&copy, "486 Busy Here", ""));
    let next = find(&sent, VOICEMAIL, "INVITE");
    assert_eq!(next.headers("Max-Breadth"), ["1"]);
    world.receive(VOICEMAIL, respond(&next, "486 Busy Here", ""));
    world.assert_drained();
}

#[test]
fn a_request_that_comes_back_changed_in_what_routing_reads_is_a_spiral() {
    let back = |copy: &Sent, extra: &str| {
        let via = format!("Via: SIP/2.0/UDP {PBX};branch=z9hG4bKb{}\r\n", extra.len());
        copy.text()
            .replacen("Via: ", &format!("{extra}{via}Via: "), 1)
    };
    let mut world = World::new(policy(), &[BOB]);
    let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    assert_eq!(statuses(&world.receive(PBX, back(&copy, "")), PBX), [482]);
    let diverted = "Diversion: <sip:zoe@example.com>;reason=user-busy;counter=1\r\n";
    let sent = world.receive(PBX, back(&copy, diverted));
    let spiral = find(&sent, PBX, "INVITE");
    assert_eq!(
        statuses(&world.receive(PBX, back(&spiral, "")), PBX),
        [482],
        "a second time round is a loop"
    );
    let history = "History-Info: <sip:zoe@example.com;cause=486>;index=1.1;mp=1\r\n";
    find(&world.receive(PBX, back(&copy, history)), PBX, "INVITE");
}

#[test]
fn what_routing_does_not_read_makes_no_spiral() {
    let mut world = World::new(policy(), &[BOB]);
    let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    let back = copy.text().replacen(
        "Via: ",
        &format!("X-Passed: pbx\r\nVia: SIP/2.0/UDP {PBX};branch=z9hG4bKb;x=\"a;b\"\r\nVia: "),
        1,
    );
    assert_eq!(statuses(&world.receive(PBX, back), PBX), [482]);
}

#[test]
fn a_looped_message_is_found_too() {
    let mut world = World::new(policy(), &[BOB]);
    let sent = world.receive(CALLER, request("MESSAGE", URI, "a", ""));
    let copy = find(&sent, PBX, "MESSAGE");
    let via = format!("Via: SIP/2.0/UDP {PBX};branch=z9hG4bKb\r\nVia: ");
    let back = copy.text().replacen("Via: ", &via, 1);
    assert_eq!(statuses(&world.receive(PBX, back), PBX), [482]);
}
