//! More than can be handled: what is given up, in which order, and what never is; RFC 7339.

use super::harness::*;
use pointsman::engine::{Handled, Source};
use pointsman::proxy::policy::{Limits, Network, Overload, Policy};
use pointsman::routing::Mode;

const BOB: &str = r#"{"id":"bob","display_name":"Bob"}"#;
const URI: &str = "sip:bob@example.com";
/// A neighbour that is known.
const TRUNK: &str = "192.0.2.70:5060";

fn strict(max_delay_ms: u32) -> Policy {
    let overload = Overload {
        max_delay_ms,
        ..Overload::default()
    };
    let trunk = pointsman::proxy::policy::Peer {
        networks: vec![Network::host(address(TRUNK).ip())],
        ..peer("trunk", Mode::Redirect)
    };
    Policy {
        overload,
        peers: vec![trunk],
        ..policy()
    }
}

fn world() -> World {
    World::new(strict(200), &[BOB])
}

fn late(waited_ms: u32) -> Source {
    Source {
        waited_ms,
        ..Source::datagram(address(CALLER), 0)
    }
}

fn shed(world: &World) -> Vec<(String, String, u64)> {
    let counters = &world.shared.shards[0].counters;
    let seen = counters.shed.iter();
    seen.map(|(class, reason, count)| (class.to_owned(), reason.to_owned(), count))
        .collect()
}

fn only(class: &str, reason: &str) -> Vec<(String, String, u64)> {
    vec![(class.to_owned(), reason.to_owned(), 1)]
}

#[test]
fn what_waited_too_long_is_refused_by_what_it_is_worth() {
    let cases = [
        ("SUBSCRIBE", 50, "event"),
        ("PUBLISH", 50, "event"),
        ("REGISTER", 100, "other"),
        ("OPTIONS", 100, "other"),
        ("MESSAGE", 100, "other"),
        ("REFER", 100, "other"),
        ("FOO", 100, "other"),
        ("INVITE", 200, "call"),
    ];
    for (method, limit_ms, class) in cases {
        let mut world = world();
        let sent = world.receive_by(late(limit_ms - 1), request(method, URI, "a", ""));
        assert!(!statuses(&sent, CALLER).contains(&503), "{method}");
        assert!(shed(&world).is_empty(), "{method}");
        let before = world.engine.load();
        let sent = world.receive_by(late(limit_ms), request(method, URI, "b", ""));
        let refused = answer(&sent, CALLER, 503);
        assert_eq!((sent.len(), world.engine.load()), (1, before), "{method}");
        let retry_after_s: u32 = refused.header("Retry-After").unwrap().parse().unwrap();
        assert!((5..=7).contains(&retry_after_s));
        assert!(refused.header("To").unwrap().contains(";tag="));
        assert_eq!(shed(&world), only(class, "delay"), "{method}");
        world.assert_drained();
    }
}

#[test]
fn retry_after_is_spread_and_the_same_for_the_same_call() {
    let mut world = world();
    let mut wait = |call: &str| {
        let sent = world.receive_by(late(300), invite(URI, call));
        answer(&sent, CALLER, 503).header("Retry-After").unwrap()
    };
    let seen: std::collections::BTreeSet<_> = (0..50).map(|n| wait(&format!("c{n}"))).collect();
    assert_eq!(seen.len(), 3, "5, 6 and 7 seconds");
}

#[test]
fn a_call_in_progress_goes_on_however_long_its_messages_waited() {
    let mut world = world();
    let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    let from_pbx = Source {
        waited_ms: 60_000,
        ..Source::datagram(address(PBX), 0)
    };
    let ok = answer(
        &world.receive_by(from_pbx, respond(&copy, "200 OK", "")),
        CALLER,
        200,
    );
    let very_late = late(60_000);
    let mut cseq = 1;
    for method in ["ACK", "INVITE", "UPDATE", "INFO", "NOTIFY", "REFER", "BYE"] {
        cseq += u32::from(method != "ACK");
        let sent = world.receive_by(very_late, in_dialog(&ok, method, cseq, false, ""));
        let passed = find(&sent, PBX, method);
        if method != "ACK" {
            world.receive(PBX, respond(&passed, "200 OK", ""));
        }
    }
    assert_eq!(world.marks("bob"), (0, 0));
    assert!(shed(&world).is_empty());
    world.assert_drained();
}

#[test]
fn a_cancel_is_never_given_up() {
    let mut world = world();
    let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    world.receive(PBX, respond(&copy, "180 Ringing", ""));
    let sent = world.receive_by(late(60_000), cancel(URI, "a"));
    answer(&sent, CALLER, 200);
    let cancelled = find(&sent, PBX, "CANCEL");
    world.receive(PBX, respond(&cancelled, "200 OK", ""));
    let sent = world.receive(PBX, respond(&copy, "487 Request Terminated", ""));
    let refused = answer(&sent, CALLER, 487);
    assert!(
        world
            .receive_by(late(60_000), ack_failure(URI, "a", &refused))
            .is_empty()
    );
    world.assert_drained();
}

#[test]
fn a_claimed_dialog_is_worth_no_more_than_a_new_call() {
    let mut world = world();
    let claimed = invite(URI, "a").replace(&format!("To: <{URI}>"), &format!("To: <{URI}>;tag=x"));
    let sent = world.receive_by(late(300), claimed);
    assert_eq!(statuses(&sent, CALLER), [503]);
    world.assert_drained();
}

#[test]
fn a_late_retransmission_of_what_is_being_handled_is_dropped() {
    let mut world = world();
    let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    assert!(world.receive_by(late(300), invite(URI, "a")).is_empty());
    assert_eq!(shed(&world), only("call", "retransmission"));
    let again = world.receive_by(late(100), invite(URI, "a"));
    assert_eq!(statuses(&again, CALLER), [100], "one in time is answered");
    let sent = world.receive(PBX, respond(&copy, "486 Busy Here", ""));
    let busy = answer(&sent, CALLER, 486);
    world.receive(CALLER, ack_failure(URI, "a", &busy));
    world.assert_drained();
}

#[test]
fn a_refused_request_that_comes_again_is_never_let_in() {
    let mut world = world();
    world.advance(10_000);
    answer(&world.receive_by(late(900), invite(URI, "a")), CALLER, 503);
    // Its copy was sent after T1, before the answer could be known: it is in the queue behind it.
    world.advance(10);
    assert!(world.receive_by(late(410), invite(URI, "a")).is_empty());
    assert!(world.receive_by(late(20), invite(URI, "a")).is_empty());
    // One that came after the answer was sent tells that the answer was lost.
    world.advance(490);
    let sent = world.receive_by(late(1), invite(URI, "a"));
    assert_eq!((sent.len(), statuses(&sent, CALLER)), (1, vec![503]));
    assert_eq!(
        shed(&world)
            .iter()
            .map(|(_, reason, count)| (reason.as_str(), *count))
            .collect::<Vec<_>>(),
        [("delay", 1), ("retransmission", 2), ("again", 1)]
    );
    // Another call is not taken for it, and after 64*T1 it is a new request.
    find(&world.receive(CALLER, invite(URI, "b")), PBX, "INVITE");
    world.advance(40_000);
    find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    world.assert_drained();
}

#[test]
fn the_ack_of_a_refusal_goes_no_further() {
    let mut world = world();
    let refused = answer(&world.receive_by(late(300), invite(URI, "a")), CALLER, 503);
    assert!(
        world
            .receive(CALLER, ack_failure(URI, "a", &refused))
            .is_empty()
    );
    world.assert_drained();
}

#[test]
fn what_its_sender_has_given_up_is_not_answered() {
    let mut world = world();
    assert!(world.receive_by(late(32_000), invite(URI, "a")).is_empty());
    assert_eq!(shed(&world), only("call", "stale"));
    let soon = world.receive_by(late(31_999), invite(URI, "b"));
    assert_eq!(statuses(&soon, CALLER), [503]);
}

#[test]
fn an_emergency_call_from_somebody_we_know_is_never_given_up() {
    for header in [
        "Priority: psap-callback\r\n",
        "Resource-Priority: esnet.1\r\n",
    ] {
        let from = |text: &str| Source {
            waited_ms: 5_000,
            ..Source::datagram(address(text), 0)
        };
        let mut world = world();
        let call = |sender: &str| request("INVITE", URI, "a", header).replace(CALLER, sender);
        let sent = world.receive_by(from(TRUNK), call(TRUNK));
        find(&sent, PBX, "INVITE");
        let mut world = self::world();
        let sent = world.receive_by(from(CALLER), call(CALLER));
        assert_eq!(
            statuses(&sent, CALLER),
            [503],
            "a stranger may claim anything"
        );
    }
    let mut world = world();
    let routine = request("INVITE", URI, "a", "Resource-Priority: q735.routine\r\n");
    let source = Source {
        waited_ms: 5_000,
        ..Source::datagram(address(TRUNK), 0)
    };
    let sent = world.receive_by(source, routine.replace(CALLER, TRUNK));
    assert_eq!(statuses(&sent, TRUNK), [503]);
}

#[test]
fn without_a_limit_nothing_is_given_up() {
    let mut world = World::new(strict(0), &[BOB]);
    world.engine.note_lost(1_000_000);
    find(
        &world.receive_by(late(30_000), invite(URI, "a")),
        PBX,
        "INVITE",
    );
}

/// Offers new calls for a while, with so many lost besides in each tenth of a second; how many were
/// let in, refused and dropped in the last second.
fn under_load(world: &mut World, method: &str, lost: impl Fn(u32) -> u64) -> [usize; 3] {
    let mut seen = [0; 3];
    for window in 0..40 {
        seen = if window % 10 == 0 { [0; 3] } else { seen };
        let mut let_in = 0;
        for number in 0..100 {
            let call = format!("{method}{window}-{number}");
            let text = request(method, URI, &call, "").replace(CALLER, TRUNK);
            let sent = world.receive(TRUNK, text);
            match statuses(&sent, TRUNK).contains(&503) {
                true => seen[1] += 1,
                false if sent.is_empty() => seen[2] += 1,
                false => (seen[0], let_in) = (seen[0] + 1, let_in + 1),
            }
        }
        world.engine.note_lost(lost(let_in));
        world.advance(100);
    }
    seen
}

#[test]
fn a_share_of_new_requests_is_given_up_while_the_kernel_loses_some() {
    let mut world = world();
    let [calls, refused, dropped] = under_load(&mut world, "INVITE", |calls| {
        u64::from(calls.saturating_sub(50))
    });
    assert!((400..600).contains(&calls), "of 1,000 half fit: {calls}");
    assert_eq!((calls + refused, dropped), (1_000, 0));
    let [events, ..] = under_load(&mut world, "SUBSCRIBE", |_| 1);
    assert_eq!(events, 0, "the least worth goes first");
    world.advance(60_000);
    let [calls, ..] = under_load(&mut world, "INVITE", |_| 0);
    assert_eq!(calls, 1_000, "all is well again");
    world.assert_drained();
}

#[test]
fn a_neighbour_that_leaves_the_excess_out_itself_is_not_asked_twice() {
    let mut world = world();
    under_load(&mut world, "INVITE", |_| 50);
    let offers = |call: &str, from: &str| {
        invite(URI, call).replace(CALLER, from).replace(
            &format!("{from};branch"),
            &format!("{from};oc;oc-algo=\"loss\";branch"),
        )
    };
    for number in 0..50 {
        world.engine.note_lost(50);
        let sent = world.receive(TRUNK, offers(&format!("t{number}"), TRUNK));
        find(&sent, PBX, "INVITE");
    }
    let refused = (0..50).filter(|number| {
        let sent = world.receive(CALLER, offers(&format!("s{number}"), CALLER));
        statuses(&sent, CALLER) == [503]
    });
    assert!(refused.count() > 30, "a stranger's word counts for nothing");
}

#[test]
fn refusing_is_bounded_and_the_rest_is_dropped() {
    let mut world = world();
    let (mut refused, mut dropped) = (0, 0);
    for number in 0..3_000 {
        let sent = world.receive_by(late(250), invite(URI, &format!("c{number}")));
        match sent.len() {
            0 => dropped += 1,
            _ => refused += statuses(&sent, CALLER).len(),
        }
    }
    assert!((370..=380).contains(&refused), "one in eight: {refused}");
    assert_eq!(refused + dropped, 3_000);
    // Who was not answered asks again, and is let in when there is room.
    world.advance(3_500);
    find(&world.receive(CALLER, invite(URI, "c2998")), PBX, "INVITE");
    world.assert_drained();
}

#[test]
fn floods_are_bounded_and_leave_room_for_what_calls_need() {
    let limits = Limits {
        transactions: 1_000,
        ..Limits::default()
    };
    let mut world = World::new(
        Policy {
            limits,
            ..strict(200)
        },
        &[BOB],
    );
    let copy = find(&world.receive(CALLER, invite(URI, "call")), PBX, "INVITE");
    let ok = answer(
        &world.receive(PBX, respond(&copy, "200 OK", "")),
        CALLER,
        200,
    );
    world.receive(CALLER, in_dialog(&ok, "ACK", 1, false, ""));
    let tables = |world: &World| world.engine.load().invites + world.engine.load().relays;
    for (method, most) in [
        ("SUBSCRIBE", 750),
        ("PUBLISH", 750),
        ("REGISTER", 875),
        ("MESSAGE", 875),
        ("INVITE", 1_000),
    ] {
        for number in 0..3_000 {
            let text = request(method, URI, &format!("{method}{number}"), "");
            world.receive("192.0.2.66:5060", text);
        }
        assert_eq!(tables(&world), most, "{method}");
        assert!(world.engine.load().servers <= most);
    }
    // The call goes on and ends while every table is full.
    for cseq in 2..30 {
        let sent = world.receive(CALLER, in_dialog(&ok, "INFO", cseq, false, ""));
        find(&sent, PBX, "INFO");
    }
    find(
        &world.receive(CALLER, in_dialog(&ok, "BYE", 30, false, "")),
        PBX,
        "BYE",
    );
    assert_eq!(world.marks("bob").0, 0);
    world.assert_drained();
}

#[test]
fn a_flood_of_subscriptions_is_bounded_and_calls_go_on() {
    let limits = Limits {
        transactions: 1_000,
        ..Limits::default()
    };
    let mut world = World::new(
        Policy {
            limits,
            ..strict(200)
        },
        &[BOB],
    );
    let mut answered = 0;
    for number in 0..17_000 {
        let text = request("SUBSCRIBE", URI, &format!("s{number}"), "");
        answered += usize::from(!world.receive("192.0.2.66:5060", text).is_empty());
        if number % 100 == 0 {
            world.advance(10);
            let call = format!("call{number}");
            let copy = find(&world.receive(CALLER, invite(URI, &call)), PBX, "INVITE");
            let sent = world.receive(PBX, respond(&copy, "486 Busy Here", ""));
            let busy = answer(&sent, CALLER, 486);
            world.receive(CALLER, ack_failure(URI, &call, &busy));
        }
        assert!(world.engine.load().relays <= 750);
    }
    assert!(answered > 10_000);
    world.assert_drained();
}

#[test]
fn a_source_is_limited_and_others_are_not() {
    let limits = Limits {
        messages_per_source_s: 100,
        ..Limits::default()
    };
    let mut world = World::new(
        Policy {
            limits,
            ..strict(200)
        },
        &[BOB],
    );
    let mut taken = |from: &str, now_ms: u64| {
        let source = Source::datagram(address(from), 0);
        let now = pointsman::engine::Now {
            ms: now_ms,
            unix_ms: NOON_UNIX_MS,
        };
        (0..1_000)
            .filter(|_| world.engine.admits(now, &source))
            .count()
    };
    assert_eq!(taken(CALLER, 1_000), 100, "a first burst");
    assert_eq!(
        taken("192.0.2.50:9", 1_000),
        0,
        "the port is no other source"
    );
    assert_eq!(taken(CALLER, 1_500), 50);
    assert_eq!(taken("192.0.2.51:5070", 1_500), 100);
    assert_eq!(taken(TRUNK, 1_500), 1_000, "a peer is exempt");
    assert_eq!(taken(PBX, 1_500), 1_000, "and what we send calls to");
    let limited = world.shared.shards[0].counters.source_limited.get();
    assert_eq!(limited, 6_000 - 250 - 2_000);
}

#[test]
fn our_via_offers_overload_control_unless_it_is_switched_off() {
    let via = |control| {
        let overload = Overload {
            control,
            ..Overload::default()
        };
        let mut world = World::new(
            Policy {
                overload,
                ..policy()
            },
            &[BOB],
        );
        let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
        copy.headers("Via").remove(0)
    };
    assert!(via(true).ends_with(";oc;oc-algo=\"loss\""));
    assert!(!via(false).contains("oc-algo"));
}

/// An INVITE whose Via offers overload control.
fn offering(call: &str) -> String {
    let offer = format!("{CALLER};oc;oc-algo=\"loss\";branch");
    invite(URI, call).replacen(&format!("{CALLER};branch"), &offer, 1)
}

#[test]
fn upstream_is_told_in_every_response() {
    let mut world = world();
    let sent = world.receive(CALLER, offering("a"));
    let trying = answer(&sent, CALLER, 100).header("Via").unwrap();
    let calm = ";oc=0;oc-algo=\"loss\";oc-validity=0;oc-seq=";
    assert!(trying.contains(calm), "{trying}");
    let copy = find(&sent, PBX, "INVITE");
    world.advance(1_000);
    let sent = world.receive(PBX, respond(&copy, "180 Ringing", ""));
    let ringing = answer(&sent, CALLER, 180).header("Via").unwrap();
    let seq = |via: &str| via.split("oc-seq=").nth(1).unwrap()[..14].to_owned();
    assert!(ringing.contains(calm) && seq(&ringing) > seq(&trying));
    assert_eq!(ringing.matches(";oc=").count(), 1);
    // A retransmission is answered with what holds now.
    world.advance(1_000);
    let again = world.receive(CALLER, offering("a"));
    let again = answer(&again, CALLER, 180).header("Via").unwrap();
    assert!(seq(&again) > seq(&ringing), "{again}");
    let sent = world.receive(PBX, respond(&copy, "486 Busy Here", ""));
    assert!(
        answer(&sent, CALLER, 486)
            .header("Via")
            .unwrap()
            .contains(calm)
    );
}

#[test]
fn upstream_is_told_how_much_less_we_want() {
    let mut world = world();
    under_load(&mut world, "INVITE", |calls| {
        u64::from(calls.saturating_sub(50))
    });
    let refusals = (0..100).map(|number| world.receive(CALLER, offering(&format!("x{number}"))));
    let via = refusals
        .map(|sent| sent[0].header("Via").unwrap())
        .next()
        .unwrap();
    let value = via.split(";oc=").nth(1).unwrap().split(';').next().unwrap();
    assert!((35..=65).contains(&value.parse::<u32>().unwrap()), "{via}");
    assert!(via.contains(";oc-algo=\"loss\";oc-validity=500;oc-seq="));
}

#[test]
fn who_does_not_offer_is_told_nothing_and_nobody_is_told_by_downstream() {
    let mut world = world();
    let sent = world.receive(CALLER, invite(URI, "a"));
    assert!(
        !answer(&sent, CALLER, 100)
            .header("Via")
            .unwrap()
            .contains("oc")
    );
    let copy = find(&sent, PBX, "INVITE");
    let forged = respond(&copy, "180 Ringing", "").replace(
        &format!("{CALLER};branch"),
        &format!("{CALLER};oc=100;oc-algo=\"loss\";oc-validity=9999;branch"),
    );
    let ringing = answer(&world.receive(PBX, forged), CALLER, 180);
    let via = ringing.header("Via").unwrap();
    assert!(
        !via.contains("oc=100") && !via.contains("oc-validity=9999"),
        "{via}"
    );
}

/// Answers a copy with what the PBX asks for in our Via.
fn asking(copy: &Sent, status: &str, asks: &str) -> String {
    let offer = ";oc;oc-algo=\"loss\"";
    let response = respond(copy, status, "");
    assert!(response.contains(offer));
    response.replacen(offer, asks, 1)
}

/// Lets the PBX ask for less; it does so with a call that it refuses.
fn ask_for_less(world: &mut World, from: &str, asks: &str) {
    let call = format!("ask{}", world.now_ms);
    let copy = find(&world.receive(CALLER, invite(URI, &call)), PBX, "INVITE");
    let sent = world.receive(from, asking(&copy, "486 Busy Here", asks));
    let refused = answer(&sent, CALLER, 486);
    assert!(!refused.text().contains("oc="), "it is for us alone");
    world.receive(CALLER, ack_failure(URI, &call, &refused));
}

fn let_through(world: &mut World, prefix: &str, extra: &str) -> usize {
    let calls = (0..200).map(|number| format!("{prefix}{number}"));
    calls
        .filter(|call| {
            let sent = world.receive(CALLER, request("INVITE", URI, call, extra));
            let is_refused = statuses(&sent, CALLER).contains(&503);
            if is_refused {
                let refused = answer(&sent, CALLER, 503);
                assert!(refused.header("Retry-After").is_none(), "RFC 7339 §5.10");
                world.receive(CALLER, ack_failure(URI, call, &refused));
            }
            !is_refused
        })
        .count()
}

const HALF: &str = ";oc=50;oc-algo=\"loss\";oc-validity=1000;oc-seq=17.5";

#[test]
fn a_next_hop_that_wants_less_gets_less_until_its_time_is_over() {
    let mut world = world();
    ask_for_less(&mut world, PBX, HALF);
    let through = let_through(&mut world, "a", "");
    assert!((70..130).contains(&through), "{through}");
    world.advance(1_000);
    assert_eq!(let_through(&mut world, "b", ""), 200);
    let counters = &world.shared.shards[0].counters;
    assert_eq!(counters.oc_received.get(), 1);
    assert_eq!(counters.throttled.get(), 200 - through as u64);
    world.assert_drained();
}

#[test]
fn an_emergency_call_goes_to_a_next_hop_that_wants_nothing() {
    let mut world = world();
    ask_for_less(&mut world, PBX, &HALF.replace("50", "100"));
    assert_eq!(let_through(&mut world, "a", ""), 0);
    assert_eq!(
        let_through(&mut world, "b", "Priority: psap-callback\r\n"),
        200
    );
    let other = let_through(&mut world, "c", "Resource-Priority: ets.0\r\n");
    assert_eq!(other, 200);
}

#[test]
fn a_call_in_progress_goes_on_while_its_next_hop_wants_nothing() {
    let mut world = world();
    let copy = find(&world.receive(CALLER, invite(URI, "call")), PBX, "INVITE");
    let ok = answer(
        &world.receive(PBX, respond(&copy, "200 OK", "")),
        CALLER,
        200,
    );
    ask_for_less(&mut world, PBX, &HALF.replace("50", "100"));
    for (method, cseq) in [("ACK", 1), ("INFO", 2), ("INVITE", 3), ("BYE", 4)] {
        let sent = world.receive(CALLER, in_dialog(&ok, method, cseq, false, ""));
        find(&sent, PBX, method);
    }
    assert_eq!(let_through(&mut world, "a", ""), 0);
}

#[test]
fn a_stranger_cannot_throttle_a_next_hop() {
    let mut world = world();
    ask_for_less(&mut world, "192.0.2.66:5080", &HALF.replace("50", "100"));
    assert_eq!(let_through(&mut world, "a", ""), 200);
    assert_eq!(world.shared.shards[0].counters.oc_received.get(), 0);
}

#[test]
fn other_requests_are_held_back_before_calls() {
    let mut world = world();
    ask_for_less(&mut world, PBX, HALF);
    let mut through = [0; 2];
    for number in 0..400 {
        let method = ["MESSAGE", "INVITE"][number % 2];
        let text = request(method, URI, &format!("m{number}"), "");
        let sent = world.receive(CALLER, text);
        // The first few tell what the mix is.
        if number >= 40 {
            through[number % 2] += usize::from(!statuses(&sent, CALLER).contains(&503));
        }
    }
    assert!(through[0] < 20 && through[1] > 160, "{through:?}");
}

#[test]
fn the_hosts_loss_is_what_the_engine_is_told() {
    let mut world = world();
    world.engine.note_lost(500);
    let source = late(0);
    let input = pointsman::engine::Input::Message {
        source,
        bytes: b"\r\n\r\n",
    };
    let mut out = pointsman::engine::Outbox::new();
    let handled = world.engine.handle(world.now(), input, &mut out);
    assert_eq!((handled, out.is_empty()), (Handled::Done, true));
}
