//! Runs over real sockets on this machine, against peers that are right and peers that are odd.
#![expect(clippy::disallowed_methods, reason = "peers have sockets")]

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::*;
use crate::bench::{Checks, Event, Item, Scenario, Targets, Templates, Times};
use crate::message::{Index, Method, Reply, Transport, write_response};

const HOME: ([u8; 4], u16) = ([127, 0, 0, 1], 0);
const MS: u64 = 1_000_000;

fn counted(scenario: Scenario, server: SocketAddr, callee: Option<SocketAddr>) -> Run {
    let pattern = format!("{}[1..10]", scenario.name());
    let plan = Plan {
        items: vec![Item {
            scenario,
            weight: 1,
            targets: Arc::new(Targets::of_pattern(&pattern).unwrap()),
            finals: scenario.usual_finals().to_vec(),
        }],
        templates: Arc::new(Templates::compile(&[], "sip:{user}@{domain}", "sip:b@x").unwrap()),
        server,
        transport: Transport::Udp,
        seats: [Some(SocketAddr::from(HOME)), callee, None],
        times: Times {
            ring_ns: 0,
            hold_ns: 0,
            t1_ns: 500 * MS,
            t2_ns: 4_000 * MS,
            timeout_ns: 32_000 * MS,
            late_ns: 32_000 * MS,
        },
        checks: Checks::ALL,
        is_back_to_back: false,
        domain: "127.0.0.1".to_owned(),
        event: Event::default(),
        credentials: None,
        seed: 77,
        thread: 0,
        threads: 1,
        turn_step: 1,
        most_open: 64,
        slots: 64,
        may_go_far: false,
        samples: 4,
    };
    Run {
        plan,
        pace: Pace {
            window: Some(10),
            burst: 10,
            rate: None,
            count: Some(200),
        },
        warm_up: Duration::ZERO,
        duration: None,
        drain: Duration::from_secs(40),
        cpus: Vec::new(),
        spins: false,
        server: None,
    }
}

fn played(what: &Run) -> Found {
    run(what, &AtomicBool::new(false), &mut |_| {}).unwrap()
}

#[test]
fn calls_through_a_reflector_end_well_on_one_thread_and_on_three() {
    for threads in [1, 3] {
        let callee = free_port(HOME.into()).unwrap();
        let reflector = Reflecting::start(HOME.into(), callee).unwrap();
        let mut what = counted(Scenario::Call, reflector.address(), Some(callee));
        what.plan.threads = threads;
        let found = played(&what);
        let counts = found.tally.counts;
        let samples = &found.tally.samples;
        assert_eq!(
            (counts.placed, counts.right),
            (200, 200),
            "{counts:?} {samples:?}"
        );
        assert_eq!(counts.unexpected + counts.unparsable, 0, "{samples:?}");
        assert_eq!(found.threads.len(), usize::from(threads));
        assert!(found.measured.interval_s > 0.0 && !found.is_interrupted);
    }
}

#[test]
fn a_server_that_answers_from_another_address_is_heard() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    server
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let peer = std::thread::spawn(move || {
        let other = UdpSocket::bind("127.0.0.2:0").unwrap();
        let (mut index, mut room) = (Index::new(), [0; 4_096]);
        let mut acknowledged = 0;
        while acknowledged < 200 {
            let (length, from) = server.recv_from(&mut room).unwrap();
            let Ok(request) = index.parse(&room[..length]) else {
                continue;
            };
            let mut answer = Vec::new();
            let reply = Reply {
                to_tag: Some(b"t"),
                ..Reply::new(480)
            };
            match request.method() {
                Some(Method::Invite) => write_response(&request, &reply, &mut answer),
                _ => acknowledged += 1,
            }
            if !answer.is_empty() {
                other.send_to(&answer, from).unwrap();
            }
        }
    });
    let found = played(&counted(Scenario::Reject, address, None));
    let counts = found.tally.counts;
    assert_eq!((counts.right, counts.wrong_message), (200, 0), "{counts:?}");
    peer.join().unwrap();
}

#[test]
fn a_server_that_closes_the_connection_behind_each_answer_loses_no_call() {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut index, mut room) = (Index::new(), [0; 4_096]);
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let Ok(length @ 1..) = stream.read(&mut room) else {
                continue;
            };
            let request = index.parse(&room[..length]).unwrap();
            // An ACK that came over a connection of its own.
            if request.method() == Some(Method::Invite) {
                let mut answer = Vec::new();
                let reply = Reply {
                    to_tag: Some(b"t"),
                    ..Reply::new(480)
                };
                write_response(&request, &reply, &mut answer);
                stream.write_all(&answer).unwrap();
            }
        }
    });
    let mut what = counted(Scenario::Reject, address, None);
    what.plan.transport = Transport::Tcp;
    (what.pace.window, what.pace.count) = (Some(1), Some(20));
    let counts = played(&what).tally.counts;
    assert_eq!((counts.placed, counts.right), (20, 20), "{counts:?}");
    assert!(counts.connections_closed >= 20, "{counts:?}");
}

#[test]
fn a_counted_mix_has_each_scenario_as_often_as_its_weight_says() {
    let callee = free_port(HOME.into()).unwrap();
    let reflector = Reflecting::start(HOME.into(), callee).unwrap();
    let mut what = counted(Scenario::Call, reflector.address(), Some(callee));
    let others = [(Scenario::Redirect, 2), (Scenario::Reject, 1)];
    what.plan.items[0].weight = 7;
    for (scenario, weight) in others {
        let one = counted(scenario, reflector.address(), None);
        let item = one.plan.items.into_iter().next().unwrap();
        what.plan.items.push(Item { weight, ..item });
    }
    (what.plan.threads, what.plan.turn_step) = (4, 4);
    what.pace.count = Some(10);
    let found = played(&what);
    let placed: Vec<_> = found.tally.outcomes.iter().map(|one| one.placed).collect();
    assert_eq!(placed, [7, 2, 1]);
    assert_eq!(found.tally.counts.right, 10);
}

#[test]
fn a_run_that_is_stopped_tells_what_there_is() {
    let callee = free_port(HOME.into()).unwrap();
    let reflector = Reflecting::start(HOME.into(), callee).unwrap();
    let mut what = counted(Scenario::Call, reflector.address(), Some(callee));
    what.pace.count = None;
    what.plan.times.hold_ns = 3_600_000 * MS;
    let stop = AtomicBool::new(false);
    let found = run(&what, &stop, &mut |glance| {
        if glance.open == 10 {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let found = found.unwrap();
    assert!(found.is_interrupted);
    let counts = &found.tally.counts;
    assert_eq!((counts.placed, found.tally.failed()), (0, 0));
    assert_eq!(counts.left_open, 0, "all were hung up");
}

#[test]
fn a_run_that_is_stopped_tells_what_it_could_not_end() {
    let silent = std::net::UdpSocket::bind(std::net::SocketAddr::from(HOME)).unwrap();
    let address = silent.local_addr().unwrap();
    let mut what = counted(Scenario::Reject, address, None);
    (what.pace.count, what.pace.window) = (None, Some(10));
    let stop = AtomicBool::new(false);
    let found = run(&what, &stop, &mut |glance| {
        if glance.open == 10 {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let counts = found.unwrap().tally.counts;
    assert_eq!((counts.placed, counts.left_open), (0, 10));
}
