//! A target with several hops: the next one is tried when one fails (RFC 3263 §4.3).

use crate::harness::*;
use pointsman::proxy::Policy;
use pointsman::proxy::policy::NextHop;

const URI: &str = "sip:bob@example.com";
const BOB: &str = r#"{"id":"bob","display_name":"Bob"}"#;
const SECOND: &str = "192.0.2.33:5080";

/// Two nodes of a PBX, the first preferred.
fn two_nodes() -> Policy {
    let mut second = hop(SECOND).nodes;
    let mut nodes = hop(PBX).nodes;
    nodes.append(&mut second);
    nodes[1].priority = 2;
    let next_hop = NextHop {
        host_port: PBX.into(),
        nodes,
    };
    Policy {
        next_hop: Some(next_hop),
        ..policy()
    }
}

fn called() -> (World, Sent) {
    let mut world = World::new(two_nodes(), &[BOB]);
    let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    (world, copy)
}

fn ends(world: &mut World, copy: &Sent) {
    let ok = answer(
        &world.receive(SECOND, respond(copy, "200 OK", "")),
        CALLER,
        200,
    );
    assert_eq!(world.marks("bob"), (1, 0));
    world.receive(CALLER, in_dialog(&ok, "BYE", 2, false, ""));
    world.assert_drained();
}

#[test]
fn a_503_is_tried_at_the_next_hop() {
    let (mut world, first) = called();
    let sent = world.receive(PBX, respond(&first, "503 Service Unavailable", ""));
    find(&sent, PBX, "ACK");
    assert!(statuses(&sent, CALLER).is_empty());
    let second = find(&sent, SECOND, "INVITE");
    assert_ne!(first.headers("Via")[0], second.headers("Via")[0]);
    assert_eq!(first.headers("Via")[1..], second.headers("Via")[1..]);
    assert_eq!(
        first.header("Max-Forwards"),
        second.header("Max-Forwards"),
        "a hop is counted once"
    );
    assert_eq!(second.headers("Record-Route").len(), 1);
    ends(&mut world, &second);
}

#[test]
fn a_busy_answer_is_not_tried_elsewhere() {
    let (mut world, first) = called();
    let sent = world.receive(PBX, respond(&first, "486 Busy Here", ""));
    assert_eq!(statuses(&sent, CALLER), [486]);
    world.assert_drained();
}

#[test]
fn what_the_network_refuses_is_tried_at_the_next_hop() {
    let (mut world, _) = called();
    let second = find(&world.unreachable(PBX), SECOND, "INVITE");
    ends(&mut world, &second);
}

#[test]
fn a_silent_hop_is_superseded_and_cancelled_should_it_wake_up() {
    let (mut world, first) = called();
    let sent = world.advance(4_100);
    let second = find(&sent, SECOND, "INVITE");
    let late = world.receive(PBX, respond(&first, "180 Ringing", ""));
    let cancel = find(&late, PBX, "CANCEL");
    assert!(statuses(&late, CALLER).is_empty(), "nobody hears of it");
    world.receive(PBX, respond(&cancel, "200 OK", ""));
    world.receive(PBX, respond(&first, "487 Request Terminated", ""));
    ends(&mut world, &second);
}

#[test]
fn a_superseded_hop_that_answers_first_wins_the_call() {
    let (mut world, first) = called();
    let second = find(&world.advance(4_100), SECOND, "INVITE");
    world.receive(SECOND, respond(&second, "180 Ringing", ""));
    let sent = world.receive(PBX, respond(&first, "200 OK", ""));
    let ok = answer(&sent, CALLER, 200);
    let cancel = find(&sent, SECOND, "CANCEL");
    world.receive(SECOND, respond(&cancel, "200 OK", ""));
    world.receive(SECOND, respond(&second, "487 Request Terminated", ""));
    world.receive(CALLER, in_dialog(&ok, "BYE", 2, false, ""));
    world.assert_drained();
}

#[test]
fn when_every_hop_has_failed_upstream_gets_one_answer() {
    let (mut world, first) = called();
    let sent = world.receive(PBX, respond(&first, "503 Service Unavailable", ""));
    let second = find(&sent, SECOND, "INVITE");
    let sent = world.receive(SECOND, respond(&second, "503 Service Unavailable", ""));
    assert_eq!(statuses(&sent, CALLER), [500]);
    world.assert_drained();
    let (mut world, _) = called();
    let all = world.advance(60_000);
    let finals: Vec<u16> = statuses(&all, CALLER)
        .into_iter()
        .filter(|status| *status >= 200)
        .collect();
    assert_eq!(finals[0], 408);
    assert!(finals.iter().all(|status| *status == 408));
    world.assert_drained();
}

#[test]
fn a_cancelled_call_is_not_tried_elsewhere() {
    let (mut world, first) = called();
    world.receive(CALLER, cancel(URI, "a"));
    let sent = world.receive(PBX, respond(&first, "503 Service Unavailable", ""));
    assert!(sent.iter().all(|sent| sent.to != address(SECOND)));
    assert_eq!(statuses(&sent, CALLER), [487]);
    world.assert_drained();
}

#[test]
fn other_requests_fail_over_too() {
    let text = request("MESSAGE", URI, "m", "");
    for way in ["503", "silence", "icmp"] {
        let mut world = World::new(two_nodes(), &[BOB]);
        let copy = find(&world.receive(CALLER, &text), PBX, "MESSAGE");
        let sent = match way {
            "503" => world.receive(PBX, respond(&copy, "503 Service Unavailable", "")),
            "icmp" => world.unreachable(PBX),
            _ => world.advance(4_100),
        };
        let second = find(&sent, SECOND, "MESSAGE");
        assert_eq!(second.headers("Via").len(), 2, "{way}");
        let sent = world.receive(SECOND, respond(&second, "200 OK", ""));
        assert_eq!(statuses(&sent, CALLER), [200], "{way}");
        world.assert_drained();
    }
}
