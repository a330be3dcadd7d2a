//! What a stranger found who tried the built program with messages of their own.

use pointsman::auth::{BanRules, Methods};
use pointsman::message::{Method, Transport};
use pointsman::proxy::Policy;
use pointsman::proxy::policy::UnknownCallee;

use crate::harness::*;

const ANNA: &str = r#"{"id":"anna","display_name":"Anna","aliases":["101"]}"#;
const BOB: &str = r#"{"id":"bob","display_name":"Bob","aliases":["102"]}"#;
const URI: &str = "sip:bob@example.com";
const PHONE: &str = "192.0.2.70:5060";

fn world() -> World {
    World::new(policy(), &[BOB])
}

#[test]
fn a_header_without_a_value_is_rewritten_in_its_own_line() {
    for blanks in ["", " ", "\t", " \r\n "] {
        let extra = format!("Max-Breadth:{blanks}\r\nSubject: hello\r\n");
        let sent = world().receive(CALLER, request("INVITE", URI, "a", &extra));
        let copy = find(&sent, PBX, "INVITE");
        assert_eq!(copy.header("Subject").unwrap(), "hello", "{}", copy.text());
        assert!(copy.header("Max-Breadth").unwrap().starts_with("60"));
    }
}

#[test]
fn options_for_a_user_at_its_end_is_483_and_for_us_answered() {
    let mut world = world();
    for (uri, status) in [(URI, 483), ("sip:example.com", 200)] {
        let asked = request("OPTIONS", uri, &format!("o{status}"), "");
        let asked = asked.replace("Max-Forwards: 70", "Max-Forwards: 0");
        assert_eq!(statuses(&world.receive(CALLER, asked), CALLER), [status]);
    }
}

#[test]
fn a_datagram_is_answered_at_5060_whatever_transport_its_via_claims() {
    let sips = request("OPTIONS", "sip:example.com", "o", "").replace(
        &format!("SIP/2.0/UDP {CALLER}"),
        "SIP/2.0/TLS caller.example.net",
    );
    let sent = world().receive("192.0.2.50:40000", sips);
    assert_eq!(statuses(&sent, "192.0.2.50:5060"), [200]);
}

#[test]
fn a_route_with_the_name_of_our_domain_leads_to_us() {
    let mut world = world();
    let routed = request("INVITE", URI, "a", "Route: <sip:example.com;lr>\r\n");
    let copy = find(&world.receive(CALLER, routed), PBX, "INVITE");
    assert_eq!(copy.headers("Route"), [""; 0]);
    for route in ["sip:bob@example.com;lr", "sip:example.com:5099;lr"] {
        let extra = format!("Route: <{route}>\r\n");
        let sent = world.receive(CALLER, request("INVITE", URI, route, &extra));
        assert_eq!(statuses(&sent, CALLER), [403], "{route}");
    }
}

#[test]
fn an_ipv6_domain_is_ours_however_it_is_written() {
    let mut policy = policy();
    policy.domains = vec!["2001:db8::c000:201".into()];
    let mut world = World::new(policy, &[BOB]);
    for (n, host) in [
        "2001:db8::192.0.2.1",
        "2001:DB8:0::C000:201",
        "2001:db8:::192.0.2.1",
    ]
    .into_iter()
    .enumerate()
    {
        let uri = format!("sip:bob@[{host}]");
        let sent = world.receive(CALLER, invite(&uri, &format!("c{n}")));
        find(&sent, PBX, "INVITE");
    }
    let other = world.receive(CALLER, invite("sip:bob@[2001:db8::1]", "other"));
    assert_eq!(statuses(&other, CALLER), [403]);
}

#[test]
fn a_branch_that_was_used_before_for_another_uri_or_transport_is_no_retransmission() {
    let mut policy = policy();
    policy.listeners.push(listener(Transport::Tcp, PROXY));
    let mut world = World::new(policy, &[BOB]);
    let first = request("MESSAGE", URI, "a", "");
    find(&world.receive(CALLER, &first), PBX, "MESSAGE");
    assert!(world.receive(CALLER, &first).is_empty());
    let bad = first.replacen(URI, "sip:2001:db8::10", 1);
    assert_eq!(statuses(&world.receive(CALLER, bad), CALLER), [400]);
    let streamed = world.receive_over((7, 1), CALLER, &first);
    find(&streamed, PBX, "MESSAGE");
}

#[test]
fn a_request_of_a_foreign_dialog_goes_to_the_phone_that_is_registered() {
    let mut world = World::new(registering(), &[BOB]);
    let again = |call: &str| invite(URI, call).replacen("@example.com>", "@example.com>;tag=x", 1);
    let sent = world.receive(CALLER, again("a"));
    assert_eq!(statuses(&sent, CALLER), [480]);
    let contact = format!("Contact: <sip:bob@{PHONE}>\r\n");
    let asked = request("REGISTER", URI, "r", "").replace(CALLER, PHONE);
    let asked = asked.replacen("REGISTER sip:bob@", "REGISTER sip:", 1);
    let asked = asked.replace("Contact: <sip:carl", "X-Contact: <sip:carl");
    let asked = asked.replace("Content-Type", &format!("{contact}Content-Type"));
    assert_eq!(statuses(&world.receive(PHONE, asked), PHONE), [200]);
    let sent = world.receive(CALLER, again("b"));
    find(&sent, PHONE, "INVITE");
}

#[test]
fn an_address_of_record_must_be_a_sip_uri_or_a_number() {
    let mut world = World::new(registering(), &[BOB]);
    for (n, (to, status)) in [
        ("isbn:2983792873", 400),
        ("urn:service:sos", 400),
        ("sip:bob@example.com", 200),
        ("sip:nobody@example.com", 404),
    ]
    .into_iter()
    .enumerate()
    {
        let asked = request("REGISTER", "sip:example.com", &format!("r{n}"), "");
        let asked = asked.replace("To: <sip:example.com>", &format!("To: <{to}>"));
        let sent = world.receive(CALLER, asked);
        assert_eq!(statuses(&sent, CALLER), [status], "{to}");
    }
}

/// Phones register with us and must prove who they are; unknown names are refused.
fn secret() -> Policy {
    let mut policy = Policy {
        unknown_callee: UnknownCallee::Reject,
        ..registering()
    };
    policy.auth.methods = Methods::of([Method::Register, Method::Subscribe]);
    policy.auth.registrar_is_local = true;
    policy.auth.bans = BanRules {
        failures: 10,
        window_s: 60,
        ban_s: 300,
    };
    policy
}

/// What is heard of requests for a name until the time of a transaction is over, without the name.
fn heard(world: &mut World, method: &str, name: &str) -> Vec<String> {
    let uri = format!("sip:{name}@example.com");
    let asked = request(method, &uri, "same", "");
    let mut sent = world.receive(CALLER, &asked);
    sent.extend(world.receive(CALLER, &asked));
    sent.extend(world.advance(40_000));
    sent.iter().map(|s| s.text().replace(name, "_")).collect()
}

#[test]
fn a_stranger_hears_the_same_of_a_name_that_exists_and_of_one_that_does_not() {
    for method in [
        "INVITE",
        "MESSAGE",
        "OPTIONS",
        "REFER",
        "SUBSCRIBE",
        "NONSENSE",
    ] {
        let mut worlds = ["bob", "eve"].map(|name| (World::new(secret(), &[ANNA, BOB]), name));
        let [known, unknown] = worlds.each_mut().map(|(w, name)| heard(w, method, name));
        let realm = |lines: Vec<String>| -> Vec<String> {
            lines.into_iter().filter(|l| !l.contains("nonce")).collect()
        };
        assert_eq!(realm(known.clone()), realm(unknown), "{method}");
        assert!(!known.is_empty(), "{method}");
        for (world, _) in &mut worlds {
            world.assert_drained();
        }
    }
}

#[test]
fn whoever_is_known_and_a_server_without_digest_are_told_404() {
    let mut trusted = secret();
    let mut known = peer("trunk", pointsman::routing::Mode::Redirect);
    known.networks = vec![pointsman::proxy::policy::Network::host(
        address(CALLER).ip(),
    )];
    trusted.peers = vec![known];
    let mut open = secret();
    open.auth.methods = Methods::NONE;
    for policy in [trusted, open] {
        let mut world = World::new(policy, &[BOB]);
        let sent = world.receive(CALLER, invite("sip:eve@example.com", "a"));
        assert_eq!(statuses(&sent, CALLER), [404]);
        let sent = world.receive(CALLER, invite(URI, "b"));
        assert_eq!(statuses(&sent, CALLER), [480]);
    }
}

#[test]
fn who_scans_is_shut_out_after_as_many_names_whether_they_exist_or_not() {
    let subscribers: Vec<String> = (0..60)
        .map(|n| format!(r#"{{"id":"u{n:02}","display_name":"U"}}"#))
        .collect();
    let subscribers: Vec<&str> = subscribers.iter().map(String::as_str).collect();
    let heard = ["u", "x"].map(|first| {
        let mut world = World::new(secret(), &subscribers);
        let answered = (0..60).map(|n| {
            world.advance(900);
            let uri = format!("sip:{first}{n:02}@example.com");
            let sent = world.receive(CALLER, invite(&uri, &format!("c{n}")));
            statuses(&sent, CALLER)
        });
        answered.collect::<Vec<_>>()
    });
    assert_eq!(heard[0], heard[1]);
    assert_eq!((&heard[0][0], &heard[0][59]), (&vec![480], &vec![]));
}

#[test]
fn a_dialog_whose_remote_target_is_a_gruu_of_ours_goes_on_to_the_phone() {
    let mut world = World::new(registering(), &[BOB]);
    let contact =
        format!("Contact: <sip:bob@{PHONE}>;+sip.instance=\"<urn:uuid:1>\"\r\nSupported: gruu\r\n");
    let asked = format!(
        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bKr\r\n\
         From: <{URI}>;tag=1\r\nTo: <{URI}>\r\nCall-ID: r\r\nCSeq: 1 REGISTER\r\n{contact}\r\n"
    );
    let registered = answer(&world.receive(PHONE, asked), PHONE, 200);
    assert!(registered.text().contains("pub-gruu"));
    let gruu = "sip:bob@example.com;gr=urn:uuid:1";
    let copy = find(&world.receive(CALLER, invite(gruu, "a")), PHONE, "INVITE");
    let ok = respond(&copy, "200 OK", "");
    let own = ok
        .lines()
        .find(|line| line.starts_with("Contact:"))
        .unwrap();
    let ok = ok.replace(own, &format!("Contact: <{gruu}>"));
    let answered = answer(&world.receive(PHONE, ok), CALLER, 200);
    for (cseq, method) in [(1, "ACK"), (2, "INFO"), (3, "BYE")] {
        let asked = in_dialog(&answered, method, cseq, false, "");
        let asked = asked.replacen(&format!("sip:callee@{PBX}"), gruu, 1);
        let copy = find(&world.receive(CALLER, asked), PHONE, method);
        assert!(
            copy.first_line().contains(&format!("sip:bob@{PHONE}")),
            "{}",
            copy.first_line()
        );
        if method != "ACK" {
            world.receive(PHONE, respond(&copy, "200 OK", ""));
        }
    }
    world.assert_drained();
}
