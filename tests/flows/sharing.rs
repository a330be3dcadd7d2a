//! Several phones of one subscriber: parallel and serial forking (RFC 3261 §16.6, §16.7), and what
//! Max-Breadth makes of it (RFC 5393 §5).

use crate::harness::*;

const BOB: &str = r#"{"id":"bob","display_name":"Bob"}"#;
const URI: &str = "sip:bob@example.com";
const DESK: &str = "192.0.2.71:5060";
const SOFT: &str = "192.0.2.72:5060";
const HOME: &str = "192.0.2.73:5060";

/// Bob's phones, each registered with its q.
fn phones(of: &[(&str, &str)]) -> World {
    let mut world = World::new(registering(), &[BOB]);
    for (phone, q) in of {
        let register = format!(
            "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP {phone};branch=z9hG4bKr\r\n\
             Max-Forwards: 70\r\nFrom: <{URI}>;tag=1\r\nTo: <{URI}>\r\nCall-ID: r{phone}\r\n\
             CSeq: 1 REGISTER\r\nContact: <sip:bob@{phone}>;q={q}\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(statuses(&world.receive(phone, register), phone), [200]);
    }
    world
}

/// The INVITEs that reach phones, in order.
fn invited(sent: &[Sent]) -> Vec<String> {
    sent.iter()
        .filter(|sent| sent.method().as_deref() == Some("INVITE"))
        .map(|sent| sent.to.to_string())
        .collect()
}

fn methods(sent: &[Sent], to: &str) -> Vec<String> {
    sent.iter()
        .filter(|sent| sent.to == address(to))
        .filter_map(Sent::method)
        .collect()
}

fn at(phone: &str, response: String) -> String {
    response.replace(PBX, phone)
}

#[test]
fn phones_of_one_q_ring_at_once_and_share_the_breadth() {
    let mut world = phones(&[(DESK, "1.0"), (SOFT, "1.0"), (HOME, "0.5")]);
    let sent = world.receive(CALLER, invite(URI, "a"));
    let (desk, soft) = (find(&sent, DESK, "INVITE"), find(&sent, SOFT, "INVITE"));
    assert_eq!(invited(&sent).len(), 2);
    assert_eq!(desk.first_line(), format!("INVITE sip:bob@{DESK} SIP/2.0"));
    assert_eq!(desk.headers("Max-Breadth"), ["30"]);
    assert_eq!(soft.headers("Max-Breadth"), ["30"]);
    assert_ne!(desk.headers("Via")[0], soft.headers("Via")[0]);
    assert!(
        world
            .receive(DESK, respond(&desk, "480 Away", ""))
            .iter()
            .all(|sent| sent.method().as_deref() == Some("ACK")),
        "the other still rings"
    );
    let sent = world.receive(SOFT, respond(&soft, "480 Away", ""));
    let home = find(&sent, HOME, "INVITE");
    assert_eq!(home.headers("Max-Breadth"), ["60"], "reclaimed");
    let sent = world.receive(HOME, respond(&home, "486 Busy Here", ""));
    assert_eq!(statuses(&sent, CALLER).len(), 1, "one final response");
    world.assert_drained();
}

#[test]
fn with_a_breadth_of_one_phones_are_tried_in_turn() {
    let mut world = phones(&[(DESK, "1.0"), (SOFT, "1.0")]);
    let one = request("INVITE", URI, "a", "Max-Breadth: 1\r\n");
    let sent = world.receive(CALLER, one);
    let first = invited(&sent);
    assert_eq!(first.len(), 1, "RFC 5393 §5.5");
    let copy = find(&sent, &first[0], "INVITE");
    assert_eq!(copy.headers("Max-Breadth"), ["1"]);
    let sent = world.receive(&first[0], respond(&copy, "480 Away", ""));
    let second = invited(&sent);
    assert_eq!(second.len(), 1);
    assert_ne!(first, second);
    let copy = find(&sent, &second[0], "INVITE");
    assert_eq!(copy.headers("Max-Breadth"), ["1"]);
    world.receive(&second[0], respond(&copy, "480 Away", ""));
    world.assert_drained();
}

#[test]
fn a_message_that_cannot_reach_every_phone_at_once_is_a_440() {
    let mut world = phones(&[(DESK, "1.0"), (SOFT, "1.0")]);
    let one = request("MESSAGE", URI, "a", "Max-Breadth: 1\r\n");
    let sent = world.receive(CALLER, one);
    assert_eq!((statuses(&sent, CALLER), sent.len()), (vec![440], 1));
    let two = request("MESSAGE", URI, "b", "Max-Breadth: 2\r\n");
    let sent = world.receive(CALLER, two);
    assert_eq!(find(&sent, DESK, "MESSAGE").headers("Max-Breadth"), ["1"]);
    assert_eq!(find(&sent, SOFT, "MESSAGE").headers("Max-Breadth"), ["1"]);
}

#[test]
fn the_first_to_answer_wins_and_the_others_hear_that_it_was_elsewhere() {
    let mut world = phones(&[(DESK, "1.0"), (SOFT, "1.0")]);
    let sent = world.receive(CALLER, invite(URI, "a"));
    let (desk, soft) = (find(&sent, DESK, "INVITE"), find(&sent, SOFT, "INVITE"));
    world.receive(DESK, respond(&desk, "180 Ringing", ""));
    world.receive(SOFT, respond(&soft, "180 Ringing", ""));
    let sent = world.receive(SOFT, at(SOFT, respond(&soft, "200 OK", "")));
    let ok = answer(&sent, CALLER, 200);
    let lost = find(&sent, DESK, "CANCEL");
    let reason = "SIP;cause=200;text=\"Call completed elsewhere\"";
    assert_eq!(lost.headers("Reason"), [reason]);
    world.receive(DESK, respond(&lost, "200 OK", ""));
    let sent = world.receive(DESK, respond(&desk, "487 Request Terminated", ""));
    assert_eq!(methods(&sent, DESK), ["ACK"]);
    assert!(statuses(&sent, CALLER).is_empty(), "the final is out");
    world.receive(
        CALLER,
        in_dialog(&ok, "BYE", 2, false, "").replace(PBX, SOFT),
    );
    world.assert_drained();
}

#[test]
fn a_6xx_cancels_what_rings_and_tries_nothing_more() {
    let mut world = phones(&[(DESK, "1.0"), (SOFT, "1.0"), (HOME, "0.5")]);
    let sent = world.receive(CALLER, invite(URI, "a"));
    let (desk, soft) = (find(&sent, DESK, "INVITE"), find(&sent, SOFT, "INVITE"));
    world.receive(DESK, respond(&desk, "180 Ringing", ""));
    let sent = world.receive(SOFT, respond(&soft, "600 Busy Everywhere", ""));
    let cancel = find(&sent, DESK, "CANCEL");
    assert!(
        cancel.headers("Reason")[0].starts_with("SIP;cause=600"),
        "not completed elsewhere"
    );
    assert!(invited(&sent).is_empty());
    let sent = world.receive(DESK, respond(&desk, "487 Request Terminated", ""));
    assert_eq!(statuses(&sent, CALLER), [600]);
    assert!(invited(&sent).is_empty(), "RFC 3261 §16.7(5)");
    world.receive(DESK, respond(&cancel, "200 OK", ""));
    world.assert_drained();
}

#[test]
fn challenges_of_all_phones_reach_the_caller_together() {
    let mut world = phones(&[(DESK, "1.0"), (SOFT, "1.0")]);
    let sent = world.receive(CALLER, invite(URI, "a"));
    let (desk, soft) = (find(&sent, DESK, "INVITE"), find(&sent, SOFT, "INVITE"));
    let first = "WWW-Authenticate: Digest realm=\"desk\", nonce=\"1\"\r\n";
    let second = "Proxy-Authenticate: Digest realm=\"soft\", nonce=\"2\"\r\n";
    let sent = world.receive(DESK, respond(&desk, "401 Unauthorized", first));
    assert!(statuses(&sent, CALLER).is_empty());
    let challenge = respond(&soft, "407 Proxy Authentication Required", second);
    let sent = world.receive(SOFT, challenge);
    let refused = sent.iter().find(|s| s.to == address(CALLER)).unwrap();
    assert!(matches!(refused.status(), Some(401 | 407)));
    assert_eq!(refused.headers("WWW-Authenticate").len(), 1);
    assert_eq!(refused.headers("Proxy-Authenticate").len(), 1);
    world.assert_drained();
}

#[test]
fn a_cancel_reaches_every_phone_that_rings() {
    let mut world = phones(&[(DESK, "1.0"), (SOFT, "1.0")]);
    let sent = world.receive(CALLER, invite(URI, "a"));
    let copies = [find(&sent, DESK, "INVITE"), find(&sent, SOFT, "INVITE")];
    for (copy, phone) in copies.iter().zip([DESK, SOFT]) {
        world.receive(phone, respond(copy, "180 Ringing", ""));
    }
    let sent = world.receive(CALLER, cancel(URI, "a"));
    assert_eq!(statuses(&sent, CALLER), [200]);
    for (copy, phone) in copies.iter().zip([DESK, SOFT]) {
        let onward = find(&sent, phone, "CANCEL");
        assert_eq!(onward.headers("Via"), copy.headers("Via")[..1]);
        assert_eq!(
            onward.first_line(),
            copy.first_line().replace("INVITE", "CANCEL")
        );
        world.receive(phone, respond(&onward, "200 OK", ""));
    }
    world.receive(DESK, respond(&copies[0], "487 Request Terminated", ""));
    let sent = world.receive(SOFT, respond(&copies[1], "487 Request Terminated", ""));
    assert_eq!(statuses(&sent, CALLER), [487]);
    world.assert_drained();
}
