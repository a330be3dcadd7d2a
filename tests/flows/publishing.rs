//! PUBLISH (RFC 3903): it goes to whom a subscriber's state is kept by, never to their phones.

use pointsman::proxy::Policy;

use crate::authenticating::{by, guarded, sign};
use crate::harness::*;

const ANNA: &str = r#"{"id":"anna","aliases":["101"],"password":"correct horse"}"#;
const AOR: &str = "sip:anna@example.com";
const PHONE: &str = "192.0.2.70:5060";

/// As phones send it by UDP: a body as long as the datagram (RFC 3261 §18.3).
fn publish(call: &str) -> String {
    let event = "Event: presence\r\nExpires: 600\r\n";
    let whole = request("PUBLISH", AOR, call, event).replace("/sdp", "/pidf+xml");
    let (head, _) = whole.split_once("Content-Length:").unwrap();
    format!("{head}\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"{AOR}\"/>\r\n")
}

/// A world in which Anna has a phone.
fn world(policy: Policy) -> World {
    let mut world = World::new(policy, &[ANNA]);
    let contact = format!("Contact: <sip:anna@{PHONE}>\r\n");
    let register =
        request("REGISTER", AOR, "r", &contact).replace("REGISTER sip:anna@", "REGISTER sip:");
    let answer = world.receive(PHONE, register);
    assert_eq!(answer[0].status(), Some(200), "{answer:#?}");
    world
}

#[test]
fn where_nobody_keeps_events_a_publication_is_a_bad_event() {
    let mut world = world(registering());
    for (call, uri) in [("a", AOR), ("b", "sip:nobody@example.com")] {
        let sent = world.receive(CALLER, publish(call).replace(AOR, uri));
        assert_eq!(sent.len(), 1, "{sent:#?}");
        assert_eq!(sent[0].first_line(), "SIP/2.0 489 Bad Event", "{uri}");
        assert_eq!(world.engine.load().relays, 0);
    }
    let sent = world.receive(PHONE, request("MESSAGE", AOR, "m", ""));
    find(&sent, PHONE, "MESSAGE");
}

#[test]
fn behind_the_registrar_the_next_hop_keeps_events() {
    let next_hop = policy().next_hop;
    let mut world = world(Policy {
        next_hop,
        ..registering()
    });
    let publish = publish("a");
    let sent = find(&world.receive(CALLER, &publish), PBX, "PUBLISH");
    let (_, body) = publish.split_once("\r\n\r\n").unwrap();
    assert!(
        sent.text().ends_with(&format!("\r\n\r\n{body}")),
        "{}",
        sent.text()
    );
    let sent = world.receive(PBX, respond(&sent, "200 OK", "SIP-ETag: dx200xyz\r\n"));
    let answer = answer(&sent, CALLER, 200);
    assert_eq!(answer.header("SIP-ETag").as_deref(), Some("dx200xyz"));
}

#[test]
fn a_publication_that_we_answer_is_challenged_as_by_its_server() {
    let policy = Policy {
        registrar: registering().registrar,
        next_hop: None,
        ..guarded()
    };
    let mut world = crate::authenticating::world(policy, &[ANNA]);
    let challenged = world.receive(CALLER, by("anna", "PUBLISH", AOR, "a", ""));
    assert_eq!(challenged[0].status(), Some(401), "{challenged:#?}");
    let signed = sign(&challenged[0], ("anna", "correct horse"), ("PUBLISH", AOR));
    let sent = world.receive(CALLER, by("anna", "PUBLISH", AOR, "b", &signed));
    assert_eq!(sent[0].status(), Some(489), "{sent:#?}");
}
