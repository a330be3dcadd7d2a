//! What we write ourselves: CANCEL, ACK, responses, and the texts of a diversion.

use crate::harness::*;
use pointsman::message::Transport;

const BOB: &str = r#"{"id":"bob","display_name":"Bob"}"#;
const URI: &str = "sip:bob@example.com";

/// A call with everything in it that a CANCEL or ACK takes over or must not.
fn rich() -> String {
    let extra = "Route: <sip:192.0.2.1;lr>\r\nRoute: <sip:192.0.2.3:5080;lr>\r\n\
        Require: 100rel\r\nSupported: timer\r\nX-Own: 1\r\n";
    request("INVITE", URI, "a", extra).replace(CALLER, PBX)
}

fn takes_over(ours: &Sent, copy: &Sent, method: &str) {
    let line = |of: &Sent| of.first_line().split_once(' ').unwrap().1.to_owned();
    assert_eq!(line(ours), line(copy), "{method}: the Request-URI");
    assert_eq!(ours.headers("Via"), copy.headers("Via")[..1]);
    for name in ["Route", "From", "Call-ID"] {
        assert_eq!(ours.headers(name), copy.headers(name), "{method}: {name}");
    }
    assert_eq!(ours.headers("CSeq"), [format!("1 {method}")]);
    assert_eq!(ours.headers("Max-Forwards"), ["70"]);
    assert_eq!(ours.headers("Content-Length"), ["0"]);
    for name in [
        "Require",
        "Proxy-Require",
        "Supported",
        "Max-Breadth",
        "Record-Route",
        "Contact",
        "X-Own",
        "Session-Expires",
        "Content-Type",
    ] {
        assert!(ours.headers(name).is_empty(), "{method}: {name}");
    }
}

#[test]
fn a_cancel_of_ours_takes_over_what_it_must_and_no_more() {
    let mut world = World::new(policy(), &[BOB]);
    let copy = find(&world.receive(PBX, rich()), PBX, "INVITE");
    assert_eq!(copy.headers("Route"), ["<sip:192.0.2.3:5080;lr>"]);
    world.receive(PBX, respond(&copy, "180 Ringing", ""));
    let given_up = cancel(URI, "a").replace(CALLER, PBX);
    let sent = world.receive(PBX, given_up);
    let ours = find(&sent, PBX, "CANCEL");
    takes_over(&ours, &copy, "CANCEL");
    assert_eq!(ours.headers("To"), copy.headers("To"));
    world.receive(PBX, respond(&copy, "487 Request Terminated", ""));
    world.assert_drained();
}

#[test]
fn an_ack_of_ours_takes_over_what_it_must_and_the_responses_to() {
    let mut world = World::new(policy(), &[BOB]);
    let copy = find(&world.receive(PBX, rich()), PBX, "INVITE");
    let sent = world.receive(PBX, respond(&copy, "486 Busy Here", ""));
    let ours = find(&sent, PBX, "ACK");
    takes_over(&ours, &copy, "ACK");
    assert_eq!(ours.header("To").unwrap(), format!("<{URI}>;tag=callee"));
    let again = world.receive(PBX, respond(&copy, "486 Busy Here", ""));
    assert_eq!(find(&again, PBX, "ACK").bytes, ours.bytes);
    assert_eq!(again.len(), 1, "acknowledged again, not passed again");
    world.assert_drained();
}

#[test]
fn what_is_answered_without_state_is_answered_the_same_each_time() {
    let mut world = World::new(policy(), &[BOB]);
    let stray = request("INVITE", "sip:x@203.0.113.9", "a", "");
    let first = answer(&world.receive(CALLER, &stray), CALLER, 403);
    world.advance(500);
    let second = answer(&world.receive(CALLER, &stray), CALLER, 403);
    assert_eq!(first.bytes, second.bytes, "with the same tag");
    let other = answer(
        &world.receive(CALLER, request("INVITE", "sip:x@203.0.113.9", "b", "")),
        CALLER,
        403,
    );
    let tag = |of: &Sent| {
        of.header("To")
            .unwrap()
            .split_once(";tag=")
            .unwrap()
            .1
            .to_owned()
    };
    assert_ne!(tag(&first), tag(&other));
    assert!(tag(&first).len() >= 18, "64 bits and more");
    world.assert_drained();
}

#[test]
fn a_redirected_call_that_is_cancelled_gets_its_200() {
    let away = r#"{"id":"bob","display_name":"Bob","status":"away",
        "settings":{"away":{"immediate":{"forward":"+491701234567"}}}}"#;
    let mut world = World::new(policy(), &[away]);
    let moved = answer(&world.receive(CALLER, invite(URI, "a")), CALLER, 302);
    let sent = world.receive(CALLER, cancel(URI, "a"));
    let cancelled = answer(&sent, CALLER, 200);
    assert_eq!(cancelled.header("CSeq").unwrap(), "1 CANCEL");
    assert_eq!(cancelled.header("To"), moved.header("To"), "the same tag");
    assert_eq!(sent.len(), 1, "the 302 stays the final response");
    world.receive(CALLER, ack_failure(URI, "a", &moved));
    world.assert_drained();
}

#[test]
fn a_caller_who_cannot_be_reached_changes_nothing_downstream() {
    let mut world = World::new(policy(), &[BOB]);
    let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    world.receive(PBX, respond(&copy, "180 Ringing", ""));
    assert!(world.unreachable(CALLER).is_empty(), "RFC 3261 §16.9");
    let again = world.receive(CALLER, invite(URI, "a"));
    assert_eq!(statuses(&again, CALLER), [180], "RFC 6026 §7.1");
    let busy = world.receive(PBX, respond(&copy, "486 Busy Here", ""));
    let busy = answer(&busy, CALLER, 486);
    assert!(world.unreachable(CALLER).is_empty());
    assert_eq!(statuses(&world.advance(600), CALLER), [486]);
    world.receive(CALLER, ack_failure(URI, "a", &busy));
    world.assert_drained();
}

#[test]
fn a_client_of_rfc_2543_is_told_by_its_whole_request() {
    let mut world = World::new(policy(), &[BOB]);
    let old = |text: String| text.replace("branch=z9hG4bKaINVITE", "branch=1");
    let sent = world.receive(CALLER, old(invite(URI, "a")));
    let copy = find(&sent, PBX, "INVITE");
    let again = world.receive(CALLER, old(invite(URI, "a")));
    assert_eq!(statuses(&again, CALLER), [100]);
    assert_eq!(again.len(), 1, "a retransmission");
    let sent = world.receive(PBX, respond(&copy, "180 Ringing", ""));
    assert_eq!(statuses(&sent, CALLER), [180]);
    let sent = world.receive(CALLER, old(cancel(URI, "a")));
    assert_eq!(statuses(&sent, CALLER), [200], "it finds its INVITE");
    let sent = world.receive(PBX, respond(&copy, "487 Request Terminated", ""));
    let ended = answer(&sent, CALLER, 487);
    world.receive(CALLER, old(ack_failure(URI, "a", &ended)));
    let later = world.advance(10_000);
    assert_eq!(statuses(&later, CALLER), [0; 0], "the ACK was its own");
    world.assert_drained();
}

#[test]
fn a_datagram_without_a_length_gets_one_on_a_stream() {
    let mut policy = policy();
    policy.listeners.push(listener(Transport::Tcp, PROXY));
    let mut world = World::new(policy, &[BOB]);
    let out = format!("sip:x@{MOBILE};transport=tcp");
    let message = request("MESSAGE", &out, "a", "").replace(CALLER, PBX);
    let message = message.replace(&format!("Content-Length: {}\r\n", SDP.len()), "");
    let copy = find(&world.receive(PBX, message), MOBILE, "MESSAGE");
    assert_eq!(copy.headers("Content-Length"), [SDP.len().to_string()]);
    assert!(copy.text().ends_with(&format!("\r\n\r\n{SDP}")));
    let plain = request("MESSAGE", URI, "b", "");
    let plain = plain.replace(&format!("Content-Length: {}\r\n", SDP.len()), "");
    let copy = find(&world.receive(CALLER, plain), PBX, "MESSAGE");
    assert!(copy.headers("Content-Length").is_empty(), "as it came");
}

#[test]
fn each_diversion_stands_above_those_before_it() {
    let forward = |id: &str, to: &str| {
        format!(
            r#"{{"id":"{id}","display_name":"x","status":"away","settings":
            {{"away":{{"immediate":{{"forward":"{to}"}}}}}}}}"#
        )
    };
    let (bob, zoe) = (forward("bob", "zoe"), forward("zoe", "+491701234567"));
    let mut world = World::new(retargeting(), &[&bob, &zoe]);
    let earlier = "Diversion: <sip:x@else.net>;reason=user-busy;counter=1\r\n";
    let sent = world.receive(CALLER, request("INVITE", URI, "a", earlier));
    let copy = find(&sent, PBX, "INVITE");
    let users: Vec<_> = copy
        .headers("Diversion")
        .iter()
        .map(|line| line.split(['<', '>']).nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(
        users,
        [
            "sip:zoe@example.com",
            "sip:bob@example.com",
            "sip:x@else.net"
        ]
    );
}

#[test]
fn a_history_that_came_in_is_continued_and_shows_gaps() {
    let away = r#"{"id":"bob","display_name":"Bob","status":"away",
        "settings":{"away":{"immediate":{"forward":"+491701234567"}}}}"#;
    let continued = |history: &str| {
        let mut world = World::new(retargeting(), &[away]);
        let sent = world.receive(CALLER, request("INVITE", URI, "a", history));
        find(&sent, PBX, "INVITE").headers("History-Info")
    };
    let target = format!("<sip:+491701234567@{PBX};cause=302>");
    let known = "History-Info: <sip:anna@example.com>;index=1\r\n\
        History-Info: <sip:bob@example.com;x=y>;index=1.1;np=1\r\n";
    assert_eq!(
        continued(known),
        [
            "<sip:anna@example.com>;index=1".to_owned(),
            "<sip:bob@example.com;x=y>;index=1.1;np=1".to_owned(),
            format!("{target};index=1.1.1;mp=1.1"),
        ]
    );
    let gap = "History-Info: <sip:anna@example.com>;index=1.1.2\r\n";
    assert_eq!(
        continued(gap)[1],
        format!("<sip:bob@example.com>;index=1.1.2.0, {target};index=1.1.2.0.1;mp=1.1.2.0")
    );
}

#[test]
fn a_forwarding_target_loses_what_a_request_uri_may_not_have() {
    let away = r#"{"id":"bob","display_name":"Bob","status":"away","settings":{"away":
        {"immediate":{"forward":"sip:b@192.0.2.5;method=BYE;x=y?Subject=z"}}}}"#;
    let mut world = World::new(retargeting(), &[away]);
    let copy = find(&world.receive(CALLER, invite(URI, "a")), MOBILE, "INVITE");
    assert_eq!(copy.first_line(), "INVITE sip:b@192.0.2.5;x=y SIP/2.0");
}
