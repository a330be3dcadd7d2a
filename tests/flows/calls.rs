//! A call that is connected, answered and ended.

use crate::harness::*;

const BOB: &str = r#"{"id":"bob","display_name":"Bob","aliases":["102","+49301234102"]}"#;
const ANNA: &str = r#"{"id":"anna","display_name":"Anna","aliases":["101"]}"#;

fn answered(world: &mut World, call: &str) -> (Sent, Sent) {
    let sent = world.receive(CALLER, invite("sip:bob@example.com", call));
    let copy = find(&sent, PBX, "INVITE");
    world.receive(PBX, respond(&copy, "180 Ringing", ""));
    let sent = world.receive(PBX, respond(&copy, "200 OK", ""));
    (answer(&sent, CALLER, 200), copy)
}

#[test]
fn an_available_colleague_is_connected_to_the_pbx() {
    let mut world = World::new(policy(), &[BOB]);
    let sent = world.receive(CALLER, invite("sip:bob@example.com", "a"));
    assert_eq!(
        sent[0].status(),
        Some(100),
        "the first thing a caller hears is a 100"
    );
    assert_eq!(sent.len(), 2);
    let copy = find(&sent, PBX, "INVITE");
    assert_eq!(copy.first_line(), "INVITE sip:bob@example.com SIP/2.0");
    assert_eq!(copy.header("Max-Forwards").unwrap(), "69");
    let vias = copy.headers("Via");
    assert!(vias[0].starts_with(&format!("SIP/2.0/UDP {PROXY};branch=z9hG4bK")));
    assert_eq!(
        vias[1],
        format!("SIP/2.0/UDP {CALLER};branch=z9hG4bKaINVITE")
    );
    assert!(
        copy.header("Record-Route")
            .unwrap()
            .starts_with(&format!("<sip:{PROXY};lr;"))
    );
}

#[test]
fn every_alias_finds_the_same_subscriber() {
    let uris = [
        "sip:102@example.com",
        "sip:+49301234102@example.com",
        "tel:+49-30-1234102",
        "sip:0049301234102@example.com",
        "sip:0301234102@example.com",
        "sip:BOB@EXAMPLE.COM",
    ];
    for (call, uri) in uris.iter().enumerate() {
        let mut world = World::new(
            policy(),
            &[&BOB.replace("\"aliases\"", "\"status\":\"dnd\",\"aliases\"")],
        );
        let sent = world.receive(CALLER, invite(uri, &format!("c{call}")));
        assert_eq!(statuses(&sent, CALLER), [480], "{uri}");
    }
}

#[test]
fn a_whole_call_marks_both_parties_and_leaves_nothing_behind() {
    let mut world = World::new(policy(), &[BOB, ANNA]);
    let from_anna = invite("sip:bob@example.com", "a")
        .replace("sip:carl@elsewhere.net", "sip:anna@example.com");
    let sent = world.receive(CALLER, from_anna);
    let copy = find(&sent, PBX, "INVITE");
    assert_eq!(world.marks("bob"), (0, 0));
    let sent = world.receive(PBX, respond(&copy, "180 Ringing", ""));
    assert_eq!(statuses(&sent, CALLER), [180]);
    assert_eq!(world.marks("bob"), (0, 1));
    let sent = world.receive(PBX, respond(&copy, "200 OK", ""));
    let ok = answer(&sent, CALLER, 200);
    assert_eq!(ok.headers("Via").len(), 1);
    assert_eq!((world.marks("bob"), world.marks("anna")), ((1, 0), (1, 0)));
    let sent = world.receive(CALLER, in_dialog(&ok, "ACK", 1, false, ""));
    let ack = find(&sent, PBX, "ACK");
    assert_eq!(ack.headers("Via").len(), 2);
    assert!(ack.header("Route").is_none());
    let sent = world.receive(PBX, in_dialog(&ok, "BYE", 2, true, ""));
    let bye = find(&sent, CALLER, "BYE");
    assert_eq!((world.marks("bob"), world.marks("anna")), ((0, 0), (0, 0)));
    let sent = world.receive(CALLER, respond(&bye, "200 OK", ""));
    assert_eq!(statuses(&sent, PBX), [200]);
    world.assert_drained();
}

#[test]
fn a_second_2xx_of_the_same_dialog_is_passed_but_counted_once() {
    let mut world = World::new(policy(), &[BOB]);
    let (ok, copy) = answered(&mut world, "a");
    let sent = world.receive(PBX, respond(&copy, "200 OK", ""));
    assert_eq!(statuses(&sent, CALLER), [200]);
    assert_eq!(world.marks("bob"), (1, 0));
    world.receive(CALLER, in_dialog(&ok, "BYE", 2, false, ""));
    assert_eq!(world.marks("bob"), (0, 0));
    world.assert_drained();
}

#[test]
fn a_2xx_that_crosses_the_bye_opens_the_call_no_second_time() {
    let mut world = World::new(policy(), &[BOB]);
    let (ok, copy) = answered(&mut world, "a");
    let bye = world.receive(CALLER, in_dialog(&ok, "BYE", 2, false, ""));
    let bye = find(&bye, PBX, "BYE");
    let sent = world.receive(PBX, respond(&copy, "200 OK", ""));
    assert_eq!(
        statuses(&sent, CALLER),
        [200],
        "the caller acknowledges it again"
    );
    assert_eq!(world.marks("bob"), (0, 0));
    world.receive(PBX, respond(&bye, "200 OK", ""));
    world.assert_drained();
}

#[test]
fn each_2xx_of_a_fork_is_a_call_of_its_own() {
    let mut world = World::new(policy(), &[BOB]);
    let (first, copy) = answered(&mut world, "a");
    let other = respond(&copy, "200 OK", "").replace("tag=callee", "tag=other");
    let second = answer(&world.receive(PBX, other), CALLER, 200);
    assert_eq!(world.marks("bob"), (2, 0));
    world.receive(CALLER, in_dialog(&first, "BYE", 2, false, ""));
    assert_eq!(world.marks("bob"), (1, 0));
    world.receive(PBX, in_dialog(&second, "BYE", 7, true, ""));
    assert_eq!(world.marks("bob"), (0, 0));
    world.assert_drained();
}

#[test]
fn a_retransmitted_invite_is_answered_with_the_last_provisional() {
    let mut world = World::new(policy(), &[BOB]);
    let sent = world.receive(CALLER, invite("sip:bob@example.com", "a"));
    let copy = find(&sent, PBX, "INVITE");
    let again = world.receive(CALLER, invite("sip:bob@example.com", "a"));
    assert_eq!(statuses(&again, CALLER), [100]);
    assert_eq!(again.len(), 1, "the PBX is not asked twice");
    world.receive(PBX, respond(&copy, "180 Ringing", ""));
    let again = world.receive(CALLER, invite("sip:bob@example.com", "a"));
    assert_eq!(statuses(&again, CALLER), [180]);
    world.receive(PBX, respond(&copy, "200 OK", ""));
    assert!(
        world
            .receive(CALLER, invite("sip:bob@example.com", "a"))
            .is_empty()
    );
}

#[test]
fn an_unanswered_invite_is_sent_again_by_timer_a() {
    let mut world = World::new(policy(), &[BOB]);
    let sent = world.receive(CALLER, invite("sip:bob@example.com", "a"));
    let copy = find(&sent, PBX, "INVITE");
    let sent = world.advance(4_000);
    assert_eq!(sent.len(), 3);
    assert!(
        sent.iter().all(|again| again.bytes == copy.bytes),
        "byte for byte the same"
    );
    world.receive(PBX, respond(&copy, "100 Trying", ""));
    assert!(world.advance(20_000).is_empty(), "a provisional stops it");
}

#[test]
fn a_retransmitted_bye_is_relayed_once_and_answered_again() {
    let mut world = World::new(policy(), &[BOB]);
    let (ok, _) = answered(&mut world, "a");
    let bye = in_dialog(&ok, "BYE", 2, false, "");
    let copy = find(&world.receive(CALLER, &bye), PBX, "BYE");
    assert!(world.receive(CALLER, &bye).is_empty());
    world.receive(PBX, respond(&copy, "200 OK", ""));
    assert_eq!(statuses(&world.receive(CALLER, &bye), CALLER), [200]);
    world.assert_drained();
}

#[test]
fn what_a_proxy_does_not_understand_is_relayed_byte_for_byte() {
    let mut world = World::new(policy(), &[BOB]);
    let odd = "X-Odd :  caf\u{e9} \r\n\tfolded ;a=\"b,c\"\r\nSubject:\r\nk: 100rel , timer\r\n";
    let request = request("FROBNICATE", "sip:bob@example.com;x=y", "a", odd);
    let copy = find(&world.receive(CALLER, &request), PBX, "FROBNICATE");
    let (head, body) = request.split_once("\r\nMax-Forwards: 70\r\n").unwrap();
    let text = copy.text();
    assert!(
        text.ends_with(&format!("\r\nMax-Forwards: 69\r\n{body}")),
        "{text}"
    );
    assert!(text.contains(head.split_once("\r\n").unwrap().1));
    assert!(text.starts_with("FROBNICATE sip:bob@example.com;x=y SIP/2.0\r\nVia: "));
    let response = respond(&copy, "299 \u{dc}ber-OK", "X-Odd :  x\r\n y\r\n");
    let back = answer(&world.receive(PBX, &response), CALLER, 299);
    assert_eq!(back.first_line(), "SIP/2.0 299 \u{dc}ber-OK");
    assert!(back.text().contains("X-Odd :  x\r\n y\r\n"));
    world.assert_drained();
}

#[test]
fn rport_and_received_lead_answers_through_a_nat() {
    let mut world = World::new(policy(), &[BOB]);
    let natted = invite("sip:bob@example.com", "a")
        .replace(&format!("UDP {CALLER};"), "UDP 10.0.0.7:5070;rport;");
    let sent = world.receive("198.51.100.9:41000", natted);
    assert_eq!(statuses(&sent, "198.51.100.9:41000"), [100]);
    let copy = find(&sent, PBX, "INVITE");
    let via = &copy.headers("Via")[1];
    assert!(
        via.contains("rport=41000") && via.contains("received=198.51.100.9"),
        "{via}"
    );
    let sent = world.receive(PBX, respond(&copy, "486 Busy Here", ""));
    assert_eq!(statuses(&sent, "198.51.100.9:41000"), [486]);
}

#[test]
fn an_unknown_callee_is_passed_on_or_refused_as_configured() {
    let mut world = World::new(policy(), &[BOB]);
    find(
        &world.receive(CALLER, invite("sip:zoe@example.com", "a")),
        PBX,
        "INVITE",
    );
    let reject = pointsman::proxy::policy::UnknownCallee::Reject;
    let mut world = World::new(
        pointsman::proxy::Policy {
            unknown_callee: reject,
            ..policy()
        },
        &[],
    );
    let sent = world.receive(CALLER, invite("sip:zoe@example.com", "a"));
    assert_eq!(statuses(&sent, CALLER), [404]);
}

#[test]
fn options_to_ourselves_is_answered_here() {
    let mut world = World::new(policy(), &[]);
    let sent = world.receive(CALLER, request("OPTIONS", "sip:192.0.2.1:5060", "a", ""));
    assert_eq!(statuses(&sent, CALLER), [200]);
    assert!(sent[0].header("Allow").unwrap().contains("INVITE"));
    let sent = world.receive(CALLER, request("OPTIONS", "sip:ping@example.com", "b", ""));
    assert_eq!(
        statuses(&sent, CALLER),
        [200],
        "a health check names anybody"
    );
}

#[test]
fn a_peers_options_to_a_subscriber_go_to_the_pbx_and_fail_with_it() {
    let mut world = World::new(policy(), &[BOB]);
    let asked = request("OPTIONS", "sip:bob@example.com", "a", "").replace(CALLER, VOICEMAIL);
    find(&world.receive(VOICEMAIL, asked), PBX, "OPTIONS");
    assert_eq!(statuses(&world.unreachable(PBX), VOICEMAIL), [500]);
    world.assert_drained();
}

#[test]
fn ipv6_is_served_as_ipv4_is() {
    let mut policy = policy();
    policy.listeners[0].local = address("[2001:db8::1]:5060");
    policy.listeners[0].advertised = "[2001:db8::1]:5060".into();
    policy.listeners[0].host = "2001:db8::1".into();
    policy.next_hop = Some(hop("[2001:db8::3]:5080"));
    let mut world = World::new(policy, &[BOB]);
    let (caller, pbx) = ("[2001:db8::50]:5070", "[2001:db8::3]:5080");
    let call = invite("sip:bob@[2001:db8::1]", "a").replace(CALLER, caller);
    let copy = find(&world.receive(caller, call), pbx, "INVITE");
    assert!(copy.headers("Via")[0].starts_with("SIP/2.0/UDP [2001:db8::1]:5060;"));
    let sent = world.receive(pbx, respond(&copy, "200 OK", "").replace(PBX, pbx));
    let ok = answer(&sent, caller, 200);
    let bye = in_dialog(&ok, "BYE", 2, false, "")
        .replace(PBX, pbx)
        .replace(CALLER, caller);
    let bye = find(&world.receive(caller, bye), pbx, "BYE");
    world.receive(pbx, respond(&bye, "200 OK", ""));
    world.assert_drained();
}

#[test]
fn the_journal_says_who_answered_and_why_the_call_came() {
    use pointsman::call::{Entry, EntryKind};
    use pointsman::proxy::Keys;
    use pointsman::store::Store;
    let mut world = World::new(policy(), &[BOB]);
    let (ok, _) = answered(&mut world, "a");
    world.advance(61_000);
    world.receive(CALLER, in_dialog(&ok, "BYE", 2, false, ""));
    let key = Keys::new(&world.store.secret()).subscriber(b"bob");
    let entries = world.store.read_journal(key, None, 9).unwrap();
    assert_eq!(entries.len(), 1);
    let entry = Entry::decode(&entries[0].1).unwrap();
    assert_eq!((entry.kind, entry.talk_s), (EntryKind::Answered, 61));
    assert_eq!(entry.reasons, b"available");
}

#[test]
fn what_is_over_waits_in_the_wheel_for_a_turn_at_most() {
    let mut world = World::new(policy(), &[BOB]);
    for number in 0..50 {
        let (ok, _) = answered(&mut world, &format!("w{number}"));
        world.receive(CALLER, in_dialog(&ok, "ACK", 1, false, ""));
        let bye = world.receive(CALLER, in_dialog(&ok, "BYE", 2, false, ""));
        let bye = find(&bye, PBX, "BYE");
        world.receive(PBX, respond(&bye, "200 OK", ""));
    }
    // The last end of a call is twelve hours away, timer C three minutes.
    world.advance(64_000);
    assert_eq!(world.engine.load(), Default::default());
}
