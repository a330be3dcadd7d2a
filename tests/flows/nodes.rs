//! Groups of PBX nodes: their order, checks with OPTIONS, and what a node in trouble means.

use std::collections::BTreeMap;

use pointsman::message::Transport;
use pointsman::proxy::policy::{NextHop, Node, Policy};
use pointsman::proxy::{
    Check, Endpoint, HealthRules, Lookup, Now, Resolved, Standing, Trouble, Wanted,
};

use crate::harness::*;

const BOB: &str = r#"{"id":"bob","display_name":"Bob","aliases":["102"]}"#;
const URI: &str = "sip:bob@example.com";
const A: &str = "192.0.2.21:5060";
const B: &str = "192.0.2.22:5060";

fn wanted(host: &str) -> Wanted {
    Wanted {
        host: host.into(),
        port: None,
        transport: None,
        is_secure: false,
    }
}

fn node(name: &str, host: &str, priority: u16, weight: u16) -> Node {
    Node {
        name: name.into(),
        target: wanted(host),
        priority,
        weight,
        addresses: Vec::new(),
    }
}

fn group(nodes: Vec<Node>) -> NextHop {
    NextHop {
        host_port: "pbx.example.com".into(),
        nodes,
    }
}

/// Two nodes, `a` before `b`, each asked every 20 seconds.
fn checked() -> Policy {
    let check = |name: &str, host: &str| Check {
        name: name.into(),
        target: wanted(host),
        every_ms: 20_000,
    };
    Policy {
        next_hop: Some(group(vec![
            node("a", "192.0.2.21", 1, 1),
            node("b", "192.0.2.22", 2, 1),
        ])),
        health: HealthRules {
            checks: vec![check("a", "192.0.2.21"), check("b", "192.0.2.22")],
            ..HealthRules::default()
        },
        ..policy()
    }
}

fn order(world: &World, group: &NextHop, salt: u64) -> Vec<String> {
    match world.shared.seek_group(group, salt, world.now_ms) {
        Lookup::Found(found) => found.iter().map(|e| e.address.ip().to_string()).collect(),
        other => panic!("{other:?}"),
    }
}

fn standing(world: &World, at: &str) -> Standing {
    world
        .shared
        .health
        .of((Transport::Udp, address(at)))
        .standing
}

/// Time passes; node `b` answers every OPTIONS, node `a` as `a` says. What else was sent.
fn pass(world: &mut World, ms: u64, a: Option<&str>) -> Vec<Sent> {
    let mut others = Vec::new();
    for _ in 0..ms / 500 {
        for sent in world.advance(500) {
            if sent.method().as_deref() != Some("OPTIONS") {
                others.push(sent);
                continue;
            }
            let status = if sent.to == address(B) {
                Some("200 OK")
            } else {
                a
            };
            if let Some(status) = status {
                let to = sent.to.to_string();
                world.receive(&to, respond(&sent, status, ""));
            }
        }
    }
    others
}

/// Ends the checks; what is open must be over before the next would be due.
fn stop_checks(world: &mut World) {
    let mut policy = (**world.shared.policy.load()).clone();
    policy.health.checks.clear();
    world.shared.policy.store(policy.into());
    world.resolved();
}

#[test]
fn nodes_are_taken_by_priority_and_by_weight() {
    let world = World::new(policy(), &[]);
    let group = group(vec![
        node("a", "192.0.2.1", 1, 3),
        node("b", "192.0.2.2", 1, 1),
        node("c", "192.0.2.3", 2, 1),
    ]);
    let mut first = BTreeMap::<String, u32>::new();
    for salt in 0..4_000 {
        let order = order(&world, &group, salt);
        assert_eq!((order.len(), &*order[2]), (3, "192.0.2.3"));
        *first.entry(order[0].clone()).or_default() += 1;
    }
    assert!((2_800..3_200).contains(&first["192.0.2.1"]), "{first:?}");
}

#[test]
fn a_node_in_trouble_is_tried_after_all_others_and_still_tried() {
    let world = World::new(policy(), &[]);
    let group = group(vec![
        node("a", "192.0.2.21", 1, 1),
        node("b", "192.0.2.22", 2, 1),
    ]);
    let penalise = |at: &str| {
        let (target, now) = ((Transport::Udp, address(at)), world.now());
        let rules = HealthRules::default();
        world
            .shared
            .health
            .penalise(target, Trouble::TimedOut, now, &rules);
    };
    penalise(A);
    assert_eq!(order(&world, &group, 1), ["192.0.2.22", "192.0.2.21"]);
    penalise(B);
    assert_eq!(order(&world, &group, 1), ["192.0.2.21", "192.0.2.22"]);
}

#[test]
fn a_node_without_an_address_yet_does_not_hold_up_the_others() {
    let world = World::new(policy(), &[]);
    let nodes = [
        node("a", "slow.example", 1, 1),
        node("b", "192.0.2.2", 2, 1),
    ];
    let both = group(nodes.to_vec());
    assert_eq!(order(&world, &both, 1), ["192.0.2.2"]);
    let slow = group(vec![nodes[0].clone(), nodes[0].clone()]);
    assert_eq!(world.shared.seek_group(&slow, 1, 0), Lookup::Pending);
    let endpoint = Endpoint {
        transport: Transport::Udp,
        address: address("192.0.2.9:5060"),
        name: None,
    };
    let found = Resolved::of([endpoint].into_iter().collect(), 10);
    world.shared.names.put(&nodes[0].target, found, 0);
    assert_eq!(order(&world, &both, 1), ["192.0.2.9", "192.0.2.2"]);
    let nothing = Resolved {
        expires_ms: 10,
        ..Resolved::default()
    };
    world.shared.names.put(&nodes[0].target, nothing, 0);
    assert_eq!(world.shared.seek_group(&slow, 1, 0), Lookup::Nothing);
}

#[test]
fn an_options_says_whom_it_asks_and_comes_in_its_time() {
    let mut world = World::new(checked(), &[BOB]);
    let sent = world.advance(1_000);
    let options = find(&sent, A, "OPTIONS");
    assert_eq!(options.first_line(), "OPTIONS sip:192.0.2.21 SIP/2.0");
    assert_eq!(options.header("Max-Forwards").as_deref(), Some("70"));
    assert!(
        options
            .header("Via")
            .unwrap()
            .starts_with("SIP/2.0/UDP 192.0.2.1:5060;branch=")
    );
    assert_eq!(options.header("To").as_deref(), Some("<sip:192.0.2.21>"));
    for sent in sent.iter().filter(|s| s.method().is_some()) {
        let to = sent.to.to_string();
        assert!(world.receive(&to, respond(sent, "200 OK", "")).is_empty());
    }
    assert_eq!(standing(&world, A), Standing::Up);
    let again = find(&world.advance(20_000), A, "OPTIONS");
    assert_ne!(again.header("Call-ID"), options.header("Call-ID"));
    assert!(again.header("CSeq").unwrap().ends_with("OPTIONS"));
    stop_checks(&mut world);
    world.assert_drained();
}

#[test]
fn a_node_that_does_not_answer_goes_down_and_comes_back_with_its_first_answer() {
    let mut world = World::new(checked(), &[BOB]);
    pass(&mut world, 2_000, Some("200 OK"));
    assert_eq!(
        (standing(&world, A), standing(&world, B)),
        (Standing::Up, Standing::Up)
    );
    pass(&mut world, 30_000, None);
    assert_eq!(
        standing(&world, A),
        Standing::Up,
        "one failure is not enough"
    );
    pass(&mut world, 40_000, None);
    assert_eq!(standing(&world, A), Standing::Down);
    let sent = world.receive(CALLER, invite(URI, "down"));
    let copy = find(&sent, B, "INVITE");
    let sent = world.receive(B, respond(&copy, "486 Busy Here", ""));
    let busy = answer(&sent, CALLER, 486);
    world.receive(CALLER, ack_failure(URI, "down", &busy));

    pass(&mut world, 25_000, Some("404 Not Found"));
    assert_eq!(standing(&world, A), Standing::Up, "an answer is an answer");
    let sent = world.receive(CALLER, invite(URI, "up"));
    let copy = find(&sent, A, "INVITE");
    let sent = world.receive(A, respond(&copy, "486 Busy Here", ""));
    let busy = answer(&sent, CALLER, 486);
    world.receive(CALLER, ack_failure(URI, "up", &busy));
    let changes: Vec<_> = std::iter::from_fn(|| world.shared.health.changes.pop())
        .filter(|change| &*change.name == "a")
        .map(|change| change.standing)
        .collect();
    assert_eq!(changes, [Standing::Up, Standing::Down, Standing::Up]);
    stop_checks(&mut world);
    world.assert_drained();
}

#[test]
fn a_503_and_a_closed_port_count_as_failures_and_retransmissions_as_one() {
    let mut world = World::new(checked(), &[BOB]);
    pass(&mut world, 42_000, Some("503 Service Unavailable"));
    assert_eq!(standing(&world, A), Standing::Down);
    let health = world.shared.health.of((Transport::Udp, address(A)));
    assert_eq!((health.last_status, health.failures >= 2), (503, true));

    let mut world = World::new(checked(), &[BOB]);
    for _ in 0..2 {
        find(&world.advance(20_000), A, "OPTIONS");
        world.unreachable(A);
    }
    assert_eq!(standing(&world, A), Standing::Down);
    stop_checks(&mut world);
    world.assert_drained();
}

#[test]
fn an_answer_that_nobody_asked_for_proves_nothing() {
    let mut world = World::new(checked(), &[BOB]);
    let options = find(&world.advance(1_000), A, "OPTIONS");
    let forged = respond(&options, "200 OK", "").replace("1 OPTIONS", "1 INVITE");
    world.receive(A, forged);
    assert_eq!(standing(&world, A), Standing::Unknown);
    let guessed = respond(&options, "200 OK", "").replace("z9hG4bKpmp0", "z9hG4bKpmpf");
    world.receive(A, guessed);
    assert_eq!(standing(&world, A), Standing::Unknown);
    world.receive(A, respond(&options, "200 OK", ""));
    assert_eq!(standing(&world, A), Standing::Up);
    stop_checks(&mut world);
    world.assert_drained();
}

#[test]
fn each_check_belongs_to_one_of_several_shards() {
    let directory = pointsman::presence::Directory::new(7);
    let shared = std::sync::Arc::new(pointsman::engine::Shared::new(
        checked(),
        directory.into(),
        [7; 32],
        4,
    ));
    let store = pointsman::store::Memory::new([7; 32]);
    use pointsman::store::Store;
    let calls = store.open_calls(4, &|_| 0).unwrap();
    let journals = store.journals(4).unwrap();
    let now = Now {
        ms: 0,
        unix_ms: NOON_UNIX_MS,
    };
    let mut asked = Vec::new();
    for (shard, (calls, journal)) in (0u16..).zip(calls.into_iter().zip(journals)) {
        let shared = std::sync::Arc::clone(&shared);
        let mut engine = pointsman::engine::Engine::new(shard, shared, calls, journal, now);
        let mut out = pointsman::engine::Outbox::new();
        let later = Now { ms: 2_000, ..now };
        engine.handle_timeouts(later, &mut out);
        for transmit in out.transmits() {
            let bytes = out.payload(transmit).to_vec();
            let sent = Sent {
                to: transmit.hop.to,
                hop: transmit.hop.clone(),
                bytes,
            };
            let source = pointsman::engine::Source::datagram(sent.to, 0);
            let response = respond(&sent, "200 OK", "");
            let bytes = response.as_bytes();
            let input = pointsman::engine::Input::Message { source, bytes };
            let mut out = pointsman::engine::Outbox::new();
            let handled = engine.handle(later, input, &mut out);
            assert_eq!(
                handled,
                pointsman::engine::Handled::Done,
                "its answer is its own"
            );
            asked.push(sent.to);
        }
    }
    asked.sort();
    assert_eq!(asked, [address(A), address(B)]);
}

/// Calls, refuses the call at whichever node gets it, and says which.
fn tried_first(world: &mut World, call: &str) -> String {
    let sent = world.receive(CALLER, invite(URI, call));
    let invites = |s: &&Sent| s.method().as_deref() == Some("INVITE");
    let copy = sent.iter().find(invites).unwrap().clone();
    let to = copy.to.to_string();
    let sent = world.receive(&to, respond(&copy, "486 Busy Here", ""));
    let busy = answer(&sent, CALLER, 486);
    world.receive(CALLER, ack_failure(URI, call, &busy));
    to
}

/// The same two nodes, without checks.
fn unchecked() -> Policy {
    Policy {
        health: HealthRules::default(),
        ..checked()
    }
}

#[test]
fn a_call_that_a_node_does_not_answer_puts_it_last_for_the_next_ones() {
    let mut world = World::new(unchecked(), &[BOB]);
    assert_eq!(tried_first(&mut world, "before"), A);
    find(&world.receive(CALLER, invite(URI, "silent")), A, "INVITE");
    let copy = find(&world.advance(5_000), B, "INVITE");
    let sent = world.receive(B, respond(&copy, "486 Busy Here", ""));
    let busy = answer(&sent, CALLER, 486);
    world.receive(CALLER, ack_failure(URI, "silent", &busy));
    assert_eq!(tried_first(&mut world, "after"), B);
    world.advance(30_000);
    assert_eq!(
        tried_first(&mut world, "later"),
        A,
        "a penalty is over some time"
    );
    world.assert_drained();
}

#[test]
fn a_503_and_a_closed_port_put_a_node_last_and_an_answer_first_again() {
    let mut world = World::new(unchecked(), &[BOB]);
    let copy = find(&world.receive(CALLER, invite(URI, "a")), A, "INVITE");
    let busy = respond(
        &copy,
        "503 Service Unavailable",
        "Retry-After: 90 (lunch);duration=5\r\n",
    );
    let copy = find(&world.receive(A, busy), B, "INVITE");
    let health = world.shared.health.of((Transport::Udp, address(A)));
    assert_eq!(health.penalised_until_ms, world.now_ms + 90_000);
    let sent = world.receive(B, respond(&copy, "486 Busy Here", ""));
    world.receive(CALLER, ack_failure(URI, "a", &answer(&sent, CALLER, 486)));
    world.advance(45_000);
    assert_eq!(tried_first(&mut world, "b"), B);

    find(&world.receive(CALLER, invite(URI, "c")), B, "INVITE");
    let copy = find(&world.unreachable(B), A, "INVITE");
    let sent = world.receive(A, respond(&copy, "486 Busy Here", ""));
    world.receive(CALLER, ack_failure(URI, "c", &answer(&sent, CALLER, 486)));
    assert_eq!(
        tried_first(&mut world, "d"),
        A,
        "its answer is its way back"
    );
    world.assert_drained();
}
