//! Calls to the phones that a subscriber registered: all at once, or one after the other by q
//! (RFC 3261 §16.5–16.7).

use std::num::NonZeroU64;

use crate::harness::*;
use pointsman::engine::{ConnectionId, Flow, Source};
use pointsman::message::Transport;
use pointsman::proxy::FlowView;

const URI: &str = "sip:bob@example.com";
const BOB: &str = r#"{"id":"bob","display_name":"Bob"}"#;
const DESK: &str = "192.0.2.71:5060";
const MOBILE_APP: &str = "192.0.2.72:5060";
const HOME: &str = "192.0.2.73:5060";

fn register(phone: &str, q: &str, extra: &str) -> String {
    let call = phone.replace([':', '.'], "");
    format!(
        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP {phone};branch=z9hG4bK{call}\r\n\
         Max-Forwards: 70\r\nFrom: <{URI}>;tag=1\r\nTo: <{URI}>\r\nCall-ID: {call}\r\n\
         CSeq: 1 REGISTER\r\nContact: <sip:bob@{phone};line=1>{q}\r\n{extra}\
         Content-Length: 0\r\n\r\n"
    )
}

fn world(subscriber: &str, phones: &[(&str, &str)]) -> World {
    let mut world = World::new(registering(), &[subscriber]);
    for (phone, q) in phones {
        let sent = world.receive(phone, register(phone, q, ""));
        assert_eq!(statuses(&sent, phone), [200]);
    }
    world.advance(40_000);
    world
}

fn reached<'a>(sent: &'a [Sent], method: &str) -> Vec<(String, &'a Sent)> {
    sent.iter()
        .filter(|sent| sent.method().as_deref() == Some(method))
        .map(|sent| (sent.to.to_string(), sent))
        .collect()
}

fn cancelled(world: &mut World, phone: &str, copy: &Sent, cancel: &Sent) {
    world.receive(phone, respond(cancel, "200 OK", ""));
    let sent = world.receive(phone, respond(copy, "487 Request Terminated", ""));
    find(&sent, phone, "ACK");
}

#[test]
fn all_phones_ring_and_the_first_that_answers_has_the_call() {
    let mut world = world(BOB, &[(DESK, ""), (MOBILE_APP, "")]);
    let sent = world.receive(CALLER, invite(URI, "a"));
    let desk = find(&sent, DESK, "INVITE");
    let mobile = find(&sent, MOBILE_APP, "INVITE");
    assert!(
        desk.first_line()
            .starts_with("INVITE sip:bob@192.0.2.71:5060;line=1 SIP/2.0")
    );
    assert_ne!(desk.headers("Via")[0], mobile.headers("Via")[0]);
    for (phone, copy) in [(DESK, &desk), (MOBILE_APP, &mobile)] {
        let ringing = world.receive(phone, respond(copy, "180 Ringing", ""));
        assert_eq!(statuses(&ringing, CALLER), [180]);
    }
    let sent = world.receive(MOBILE_APP, respond(&mobile, "200 OK", ""));
    let ok = answer(&sent, CALLER, 200);
    let cancel = find(&sent, DESK, "CANCEL");
    assert_eq!(
        cancel.header("Reason").as_deref(),
        Some("SIP;cause=200;text=\"Call completed elsewhere\"")
    );
    cancelled(&mut world, DESK, &desk, &cancel);
    assert_eq!(world.marks("bob"), (1, 0));
    world.receive(CALLER, in_dialog(&ok, "BYE", 2, false, ""));
    world.assert_drained();
}

#[test]
fn one_busy_phone_does_not_stop_the_others_but_a_6xx_does() {
    let mut world = world(BOB, &[(DESK, ""), (MOBILE_APP, ""), (HOME, "")]);
    let sent = world.receive(CALLER, invite(URI, "a"));
    let copies: Vec<Sent> = [DESK, MOBILE_APP, HOME]
        .map(|phone| find(&sent, phone, "INVITE"))
        .to_vec();
    world.receive(HOME, respond(&copies[2], "180 Ringing", ""));
    let sent = world.receive(DESK, respond(&copies[0], "486 Busy Here", ""));
    assert!(statuses(&sent, CALLER).is_empty());
    let sent = world.receive(MOBILE_APP, respond(&copies[1], "603 Decline", ""));
    let cancel = find(&sent, HOME, "CANCEL");
    assert!(cancel.header("Reason").unwrap().contains("cause=603"));
    world.receive(HOME, respond(&cancel, "200 OK", ""));
    let sent = world.receive(HOME, respond(&copies[2], "487 Request Terminated", ""));
    assert_eq!(statuses(&sent, CALLER), [603]);
    world.assert_drained();
}

#[test]
fn all_busy_is_busy() {
    let mut world = world(BOB, &[(DESK, ""), (MOBILE_APP, "")]);
    let sent = world.receive(CALLER, invite(URI, "a"));
    let desk = find(&sent, DESK, "INVITE");
    let mobile = find(&sent, MOBILE_APP, "INVITE");
    world.receive(DESK, respond(&desk, "486 Busy Here", ""));
    let sent = world.receive(MOBILE_APP, respond(&mobile, "480 Away", ""));
    assert_eq!(statuses(&sent, CALLER).len(), 1);
    world.assert_drained();
}

#[test]
fn a_lower_q_is_tried_when_the_higher_has_failed() {
    let mut world = world(
        BOB,
        &[(DESK, ";q=0.9"), (MOBILE_APP, ";q=0.5"), (HOME, ";q=0.5")],
    );
    let sent = world.receive(CALLER, invite(URI, "a"));
    assert_eq!(reached(&sent, "INVITE").len(), 1);
    let desk = find(&sent, DESK, "INVITE");
    let sent = world.receive(DESK, respond(&desk, "486 Busy Here", ""));
    assert!(statuses(&sent, CALLER).is_empty());
    let (mobile, home) = (
        find(&sent, MOBILE_APP, "INVITE"),
        find(&sent, HOME, "INVITE"),
    );
    assert!(home.first_line().contains("sip:bob@192.0.2.73:5060;line=1"));
    assert_eq!(
        desk.header("Max-Forwards"),
        home.header("Max-Forwards"),
        "one hop, however many phones are tried"
    );
    world.receive(MOBILE_APP, respond(&mobile, "404 Not Found", ""));
    let sent = world.receive(HOME, respond(&home, "480 Temporarily Unavailable", ""));
    assert_eq!(statuses(&sent, CALLER).len(), 1);
    world.assert_drained();
}

#[test]
fn a_phone_that_rings_on_gives_way_to_the_next_q() {
    let mut world = world(BOB, &[(DESK, ";q=0.9"), (MOBILE_APP, ";q=0.5")]);
    let desk = find(&world.receive(CALLER, invite(URI, "a")), DESK, "INVITE");
    world.receive(DESK, respond(&desk, "180 Ringing", ""));
    let cancel = find(&world.advance(31_000), DESK, "CANCEL");
    world.receive(DESK, respond(&cancel, "200 OK", ""));
    let sent = world.receive(DESK, respond(&desk, "487 Request Terminated", ""));
    let mobile = find(&sent, MOBILE_APP, "INVITE");
    let ok = answer(
        &world.receive(MOBILE_APP, respond(&mobile, "200 OK", "")),
        CALLER,
        200,
    );
    world.receive(CALLER, in_dialog(&ok, "BYE", 2, false, ""));
    world.assert_drained();
}

#[test]
fn nobody_answers_so_the_no_answer_action_is_taken_once() {
    let bob = r#"{"id":"bob","display_name":"Bob",
        "settings":{"available":{"no_answer":"voicemail","ring_for_s":10}}}"#;
    let mut world = world(bob, &[(DESK, ""), (MOBILE_APP, "")]);
    let sent = world.receive(CALLER, invite(URI, "a"));
    let desk = find(&sent, DESK, "INVITE");
    let mobile = find(&sent, MOBILE_APP, "INVITE");
    world.receive(DESK, respond(&desk, "180 Ringing", ""));
    let sent = world.advance(10_100);
    let cancel = find(&sent, DESK, "CANCEL");
    cancelled(&mut world, DESK, &desk, &cancel);
    let late = world.receive(MOBILE_APP, respond(&mobile, "180 Ringing", ""));
    let cancel = find(&late, MOBILE_APP, "CANCEL");
    world.receive(MOBILE_APP, respond(&cancel, "200 OK", ""));
    let sent = world.receive(MOBILE_APP, respond(&mobile, "487 Request Terminated", ""));
    assert_eq!(statuses(&sent, CALLER), [302]);
    world.assert_drained();
}

#[test]
fn a_callee_without_a_phone_counts_as_unreachable() {
    let mut plain = world(BOB, &[]);
    let sent = plain.receive(CALLER, invite(URI, "a"));
    assert_eq!(statuses(&sent, CALLER).last(), Some(&480));
    plain.assert_drained();
    let bob = r#"{"id":"bob","display_name":"Bob",
        "settings":{"available":{"unreachable":"voicemail"}}}"#;
    let mut diverted = world(bob, &[]);
    let sent = diverted.receive(CALLER, invite(URI, "a"));
    assert_eq!(statuses(&sent, CALLER).last(), Some(&302));
    diverted.assert_drained();
}

#[test]
fn challenges_of_all_phones_reach_the_caller() {
    let mut world = world(BOB, &[(DESK, ""), (MOBILE_APP, "")]);
    let sent = world.receive(CALLER, invite(URI, "a"));
    let desk = find(&sent, DESK, "INVITE");
    let mobile = find(&sent, MOBILE_APP, "INVITE");
    let first = "WWW-Authenticate: Digest realm=\"desk\", nonce=\"1\"\r\n";
    world.receive(DESK, respond(&desk, "401 Unauthorized", first));
    let second = "Proxy-Authenticate: Digest realm=\"app\", nonce=\"2\"\r\n";
    let sent = world.receive(MOBILE_APP, respond(&mobile, "407 Auth", second));
    let back = answer(&sent, CALLER, 401);
    assert!(back.header("WWW-Authenticate").unwrap().contains("desk"));
    assert!(back.header("Proxy-Authenticate").unwrap().contains("app"));
    world.assert_drained();
}

#[test]
fn a_cancel_reaches_every_phone() {
    let mut world = world(BOB, &[(DESK, ""), (MOBILE_APP, "")]);
    let sent = world.receive(CALLER, invite(URI, "a"));
    let copies = [DESK, MOBILE_APP].map(|phone| find(&sent, phone, "INVITE"));
    for (phone, copy) in [DESK, MOBILE_APP].into_iter().zip(&copies) {
        world.receive(phone, respond(copy, "180 Ringing", ""));
    }
    let sent = world.receive(CALLER, cancel(URI, "a"));
    let mut finals = Vec::new();
    for (phone, copy) in [DESK, MOBILE_APP].into_iter().zip(&copies) {
        let cancel = find(&sent, phone, "CANCEL");
        world.receive(phone, respond(&cancel, "200 OK", ""));
        let sent = world.receive(phone, respond(copy, "487 Request Terminated", ""));
        finals.extend(statuses(&sent, CALLER));
    }
    assert_eq!(finals, [487]);
    world.assert_drained();
}

#[test]
fn a_message_goes_to_every_phone_and_one_answer_comes_back() {
    let mut world = world(BOB, &[(DESK, ""), (MOBILE_APP, "")]);
    let sent = world.receive(CALLER, request("MESSAGE", URI, "m", ""));
    let desk = find(&sent, DESK, "MESSAGE");
    let mobile = find(&sent, MOBILE_APP, "MESSAGE");
    let none = world.receive(DESK, respond(&desk, "404 Not Found", ""));
    assert!(statuses(&none, CALLER).is_empty());
    let sent = world.receive(MOBILE_APP, respond(&mobile, "200 OK", ""));
    assert_eq!(statuses(&sent, CALLER), [200]);
    world.assert_drained();
}

#[test]
fn a_path_is_the_route_to_its_phone() {
    let mut world = World::new(registering(), &[BOB]);
    let path = "Supported: path\r\nPath: <sip:edge@192.0.2.80:5060;lr>\r\n";
    world.receive(DESK, register(DESK, "", path));
    world.advance(40_000);
    let sent = world.receive(CALLER, invite(URI, "a"));
    let copy = find(&sent, "192.0.2.80:5060", "INVITE");
    assert_eq!(copy.headers("Route"), ["<sip:edge@192.0.2.80:5060;lr>"]);
    assert!(copy.first_line().contains("sip:bob@192.0.2.71:5060"));
    world.receive("192.0.2.80:5060", respond(&copy, "486 Busy Here", ""));
    world.assert_drained();
}

#[test]
fn a_browser_is_called_over_the_connection_it_registered_by() {
    let mut policy = registering();
    policy
        .listeners
        .push(listener(Transport::Ws, "192.0.2.1:80"));
    let mut world = World::new(policy, &[BOB]);
    let id = NonZeroU64::new(3).unwrap();
    let view = FlowView {
        listener: 1,
        peer: address(HOME),
        identities: Vec::new(),
        is_outgoing: false,
        since_unix_ms: 0,
    };
    world.shared.flows.insert(ConnectionId(id), view);
    let text = register(HOME, "", "")
        .replacen("SIP/2.0/UDP", "SIP/2.0/WS", 1)
        .replace(&format!("sip:bob@{HOME}"), "sip:bob@x7.invalid");
    let source = Source {
        connection: Some(ConnectionId(id)),
        ..Source::datagram(address(HOME), 1)
    };
    assert_eq!(world.receive_by(source, text)[0].status(), Some(200));
    world.advance(40_000);
    let sent = world.receive(CALLER, invite(URI, "a"));
    let copy = find(&sent, HOME, "INVITE");
    assert_eq!(copy.hop.flow, Flow::Only(ConnectionId(id)));
    let ok = respond(&copy, "200 OK", "").replace(
        &format!("Contact: <sip:callee@{PBX}>"),
        "Contact: <sip:callee@x7.invalid;transport=ws>",
    );
    let ok = answer(&world.receive_by(source, ok), CALLER, 200);
    let bye = in_dialog(&ok, "BYE", 2, false, "").replace(
        &format!("BYE sip:callee@{PBX}"),
        "BYE sip:callee@x7.invalid;transport=ws",
    );
    let bye = find(&world.receive(CALLER, bye), HOME, "BYE");
    assert_eq!(bye.hop.flow, Flow::Only(ConnectionId(id)));
    world.receive_by(source, respond(&bye, "200 OK", ""));
    world.shared.flows.remove(ConnectionId(id));
    let gone = world.receive(CALLER, invite(URI, "b"));
    assert_eq!(statuses(&gone, CALLER).last(), Some(&480));
    world.assert_drained();
}
