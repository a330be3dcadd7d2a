//! Identities and privacy at the border of the trust domain (RFC 3323, RFC 3325, RFC 7044).

use crate::harness::*;
use pointsman::proxy::Policy;
use pointsman::proxy::policy::{Network, Peer};
use pointsman::routing::Mode;

const URI: &str = "sip:bob@example.com";
const BOB: &str = r#"{"id":"bob","display_name":"Bob"}"#;
const ASSERTED: &str = "P-Asserted-Identity: \"Anna\" <sip:anna@example.com>\r\n\
    P-Asserted-Identity: <tel:+49301234101>\r\n";

fn trusted(name: &str, address: &str, is_trusted: bool) -> Peer {
    Peer {
        networks: vec![Network::host(address.parse().unwrap())],
        trust_identity: is_trusted,
        send_identity: is_trusted,
        ..peer(name, Mode::Retarget)
    }
}

/// The PBX is trusted, the mobile operator and everybody else is not.
fn bordered() -> Policy {
    let mut policy = Policy {
        peers: vec![
            trusted("pbx", "192.0.2.3", true),
            trusted("mobile", "192.0.2.5", false),
        ],
        stranger: Peer {
            trust_identity: false,
            send_identity: false,
            ..peer("stranger", Mode::Retarget)
        },
        ..policy()
    };
    policy.outbound = Some(hop(MOBILE));
    policy
}

/// An INVITE from the PBX out to the mobile operator.
fn out(extra: &str) -> Sent {
    let mut world = World::new(bordered(), &[BOB]);
    let uri = format!("sip:+491701234567@{MOBILE}");
    let call = request("INVITE", &uri, "a", extra).replace(CALLER, PBX);
    find(&world.receive(PBX, call), MOBILE, "INVITE")
}

#[test]
fn an_identity_that_a_stranger_asserts_or_prefers_goes_no_further() {
    let mut world = World::new(bordered(), &[BOB]);
    let extra = format!("{ASSERTED}P-Preferred-Identity: <sip:zoe@example.com>\r\nX-Kept: yes\r\n");
    let sent = world.receive(CALLER, request("INVITE", URI, "a", &extra));
    let copy = find(&sent, PBX, "INVITE");
    assert!(copy.headers("P-Asserted-Identity").is_empty());
    assert!(copy.headers("P-Preferred-Identity").is_empty());
    assert_eq!(copy.headers("X-Kept"), ["yes"]);
}

#[test]
fn an_asserted_identity_is_passed_between_those_who_are_trusted() {
    let mut world = World::new(bordered(), &[BOB]);
    let extra = format!("{ASSERTED}Privacy: id\r\n");
    let call = request("INVITE", URI, "a", &extra).replace(CALLER, PBX);
    let copy = find(&world.receive(PBX, call), PBX, "INVITE");
    assert_eq!(copy.headers("P-Asserted-Identity").len(), 2);
    assert_eq!(copy.headers("Privacy"), ["id"]);
}

#[test]
fn privacy_id_takes_every_identity_off_at_the_border() {
    let copy = out(&format!("{ASSERTED}Privacy: user;id\r\n"));
    assert!(copy.headers("P-Asserted-Identity").is_empty());
    assert_eq!(
        copy.headers("Privacy"),
        ["user;id"],
        "the wish itself stays"
    );
}

#[test]
fn without_a_wish_or_with_none_the_identity_crosses_the_border() {
    for privacy in ["", "Privacy: none\r\n", "Privacy: header\r\n"] {
        let copy = out(&format!("{ASSERTED}{privacy}"));
        assert_eq!(copy.headers("P-Asserted-Identity").len(), 2, "{privacy}");
    }
    let copy = out("Privacy: none\r\n");
    assert_eq!(copy.headers("Privacy"), ["none"]);
}

#[test]
fn a_response_is_guarded_like_a_request() {
    let mut world = World::new(bordered(), &[BOB]);
    let call = request("INVITE", &format!("sip:+49170@{MOBILE}"), "a", "").replace(CALLER, PBX);
    let copy = find(&world.receive(PBX, call), MOBILE, "INVITE");
    let ok = respond(&copy, "200 OK", ASSERTED).replace(PBX, MOBILE);
    let ok = ok.replace(&format!("UDP {MOBILE}"), &format!("UDP {PBX}"));
    let back = answer(&world.receive(MOBILE, ok), PBX, 200);
    assert!(
        back.headers("P-Asserted-Identity").is_empty(),
        "untrusted source"
    );
    let copy = find(&world.receive(CALLER, invite(URI, "b")), PBX, "INVITE");
    let private = format!("{ASSERTED}Privacy: id\r\n");
    let ringing = world.receive(PBX, respond(&copy, "180 Ringing", &private));
    let back = answer(&ringing, CALLER, 180);
    assert!(
        back.headers("P-Asserted-Identity").is_empty(),
        "untrusted receiver"
    );
    let back = answer(
        &world.receive(PBX, respond(&copy, "200 OK", ASSERTED)),
        CALLER,
        200,
    );
    assert_eq!(back.headers("P-Asserted-Identity").len(), 2, "no wish");
}

#[test]
fn a_privacy_that_is_critical_and_not_ours_to_give_is_a_500() {
    let mut world = World::new(policy(), &[BOB]);
    let mut refused = |privacy: &str, call: &str| {
        let extra = format!("Privacy: {privacy}\r\n");
        let sent = world.receive(CALLER, request("INVITE", URI, call, &extra));
        answer(&sent, CALLER, 500).first_line()
    };
    assert_eq!(
        refused("header;session;critical", "a"),
        "SIP/2.0 500 Privacy Cannot Be Provided: header, session"
    );
    assert_eq!(
        refused("user;critical", "b"),
        "SIP/2.0 500 Privacy Cannot Be Provided: user"
    );
    world.assert_drained();
}

#[test]
fn what_is_not_critical_or_given_already_or_led_elsewhere_goes_on() {
    let mut world = World::new(bordered(), &[BOB]);
    let mut passed = |extra: &str, call: &str| {
        let call = request("INVITE", URI, call, extra).replace(CALLER, PBX);
        let call = call.replace("\"Carl\" <sip:carl@elsewhere.net>", ANONYMOUS);
        world.receive(PBX, call)
    };
    const ANONYMOUS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";
    let copy = find(&passed("Privacy: header;session\r\n", "a"), PBX, "INVITE");
    assert_eq!(copy.headers("Privacy"), ["header;session"]);
    find(&passed("Privacy: user;id;critical\r\n", "b"), PBX, "INVITE");
    let service = "Route: <sip:192.0.2.9;lr>\r\nPrivacy: header;critical\r\n";
    find(&passed(service, "c"), "192.0.2.9:5060", "INVITE");
}

#[test]
fn our_part_of_the_history_is_hidden_beyond_the_border_where_wished() {
    let history = "History-Info: <sip:bob@example.com>;index=1,\r\n \
        <sip:x@elsewhere.net>;index=1.1;mp=1\r\n";
    let copy = out(&format!("{history}Privacy: history\r\n"));
    assert_eq!(
        copy.text()
            .matches("<sip:anonymous@anonymous.invalid>;index=1,")
            .count(),
        1
    );
    assert!(copy.text().contains("<sip:x@elsewhere.net>;index=1.1;mp=1"));
    assert!(copy.headers("Privacy").is_empty(), "fulfilled");
    let copy = out(history);
    assert!(copy.text().contains("<sip:bob@example.com>;index=1,"));
    let alone = history.replace("example.com>", "example.com?Privacy=history>");
    let copy = out(&alone);
    assert!(
        copy.text()
            .contains("<sip:anonymous@anonymous.invalid>;index=1,")
    );
}

#[test]
fn a_history_of_our_own_making_is_hidden_too() {
    let away = r#"{"id":"bob","display_name":"Bob","status":"away",
        "settings":{"away":{"immediate":{"forward":"+491701234567"}}}}"#;
    let mut world = World::new(bordered(), &[away]);
    let sent = world.receive(
        CALLER,
        request("INVITE", URI, "a", "Privacy: history;id\r\n"),
    );
    let copy = find(&sent, MOBILE, "INVITE");
    let line = copy.header("History-Info").unwrap();
    assert!(
        line.starts_with("<sip:anonymous@anonymous.invalid>;index=1, "),
        "{line}"
    );
    assert_eq!(copy.headers("Privacy"), ["id"]);
}
