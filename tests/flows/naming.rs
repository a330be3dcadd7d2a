//! A target whose name is being resolved: the call waits for it, whenever it is needed.

use crate::harness::*;
use pointsman::message::Transport;
use pointsman::proxy::{Endpoint, Resolved};

const URI: &str = "sip:bob@example.com";
const ELSEWHERE: &str = "203.0.113.9:5060";
const BOB: &str = r#"{"id":"bob","display_name":"Bob","settings":{"available":{
    "busy":{"forward":"sip:bob@mobile.example.net"},"no_answer":"voicemail"}}}"#;
const AWAY: &str = r#"{"id":"bob","display_name":"Bob","status":"away","settings":{"away":{
    "immediate":{"forward":"sip:bob@mobile.example.net"}}}}"#;

fn is_found(world: &mut World) -> Vec<Sent> {
    let wanted = world.shared.names.take_wanted().unwrap();
    assert_eq!(&*wanted.host, "mobile.example.net");
    let endpoint = Endpoint {
        transport: Transport::Udp,
        address: address(ELSEWHERE),
        name: None,
    };
    let found = Resolved::of([endpoint].into_iter().collect(), world.now_ms + 60_000);
    world.shared.names.put(&wanted, found, world.now_ms);
    world.resolved()
}

fn ends(world: &mut World, forwarded: &Sent) {
    let sent = world.receive(ELSEWHERE, respond(forwarded, "200 OK", ""));
    let ok = answer(&sent, CALLER, 200);
    world.receive(CALLER, in_dialog(&ok, "BYE", 2, false, ""));
    world.assert_drained();
}

/// Bob is busy, and his second target's name is not known yet.
fn waits() -> World {
    let mut world = World::new(retargeting(), &[BOB]);
    let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    let sent = world.receive(PBX, respond(&copy, "486 Busy Here", ""));
    assert!(statuses(&sent, CALLER).is_empty(), "it waits");
    world
}

#[test]
fn a_first_target_is_waited_for() {
    let mut world = World::new(retargeting(), &[AWAY]);
    assert!(world.receive(CALLER, invite(URI, "a")).is_empty());
    let forwarded = find(&is_found(&mut world), ELSEWHERE, "INVITE");
    ends(&mut world, &forwarded);
}

#[test]
fn a_target_after_a_failure_is_waited_for() {
    let mut world = waits();
    let sent = is_found(&mut world);
    assert_eq!(statuses(&sent, CALLER), [181]);
    let forwarded = find(&sent, ELSEWHERE, "INVITE");
    assert_eq!(forwarded.headers("Diversion").len(), 1);
    ends(&mut world, &forwarded);
}

#[test]
fn a_name_that_nobody_resolves_counts_as_unreachable() {
    let mut world = waits();
    let voicemail = find(&world.advance(5_100), VOICEMAIL, "INVITE");
    let sent = world.receive(VOICEMAIL, respond(&voicemail, "480 No Box", ""));
    assert_eq!(statuses(&sent, CALLER), [486], "the best of both");
    world.assert_drained();
}

#[test]
fn a_caller_who_gives_up_while_it_waits_gets_a_487() {
    let mut world = waits();
    let sent = world.receive(CALLER, cancel(URI, "a"));
    assert_eq!(statuses(&sent, CALLER), [200, 487]);
    assert!(is_found(&mut world).is_empty(), "nobody is called");
    world.assert_drained();
}
