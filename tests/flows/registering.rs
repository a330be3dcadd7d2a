//! REGISTER where phones register with us (RFC 3261 §10.3).

use std::sync::Arc;

use pointsman::message::Transport;
use pointsman::proxy::policy::Policy;
use pointsman::registrar::Rules;

use crate::harness::*;

const BOB: &str = r#"{"id":"bob","display_name":"Bob","aliases":["102","+49301234102"]}"#;
const ANNA: &str = r#"{"id":"anna","display_name":"Anna","aliases":["101"]}"#;
const PHONE: &str = "192.0.2.70:5060";

/// A REGISTER of Bob's phone: its Call-ID, its CSeq, and lines of its own.
fn register(call: &str, cseq: u32, lines: &str) -> String {
    register_to("sip:bob@example.com", call, cseq, lines)
}

fn register_to(to: &str, call: &str, cseq: u32, lines: &str) -> String {
    format!(
        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bK{call}{cseq}\r\n\
         Max-Forwards: 70\r\nFrom: <{to}>;tag=1\r\nTo: <{to}>\r\nCall-ID: {call}\r\n\
         CSeq: {cseq} REGISTER\r\n{lines}Content-Length: 0\r\n\r\n"
    )
}

fn world() -> World {
    World::new(registering(), &[BOB, ANNA])
}

/// The one answer to a request.
#[track_caller]
fn answered(world: &mut World, request: String) -> Sent {
    let sent = world.receive(PHONE, request);
    assert_eq!(sent.len(), 1, "{sent:#?}");
    sent.into_iter().next().unwrap()
}

#[track_caller]
fn refused(world: &mut World, lines: &str, status: u16) -> Sent {
    let answer = answered(world, register("refused", 1, lines));
    assert_eq!(
        answer.status(),
        Some(status),
        "{lines:?}: {}",
        answer.text()
    );
    assert!(answer.headers("Contact").is_empty());
    answer
}

/// What is bound, as a query tells.
fn bound(world: &mut World) -> Vec<String> {
    let call = format!("query{}", world.now_ms);
    let answer = answered(world, register(&call, 1, ""));
    assert_eq!(answer.status(), Some(200));
    answer.headers("Contact")
}

#[test]
fn a_contact_is_bound_listed_and_ends() {
    let mut world = world();
    let answer = answered(
        &mut world,
        register("a", 1, "Contact: <sip:bob@192.0.2.70>\r\n"),
    );
    assert_eq!(answer.first_line(), "SIP/2.0 200 OK");
    assert_eq!(
        answer.headers("Contact"),
        ["<sip:bob@192.0.2.70>;expires=3600"]
    );
    assert_eq!(
        answer.header("Date").unwrap(),
        "Mon, 23 Nov 2026 12:00:00 GMT"
    );
    assert!(answer.header("To").unwrap().contains(";tag="));
    assert!(answer.header("Record-Route").is_none());
    world.advance(600_000);
    assert_eq!(bound(&mut world), ["<sip:bob@192.0.2.70>;expires=3000"]);
    world.advance(3_000_000);
    assert!(bound(&mut world).is_empty());
    world.assert_drained();
}

#[test]
fn the_address_of_record_is_found_however_it_is_written() {
    let forms = [
        "sip:bob@example.com",
        "sip:BOB@Example.COM;user=phone",
        "sip:%62ob@example.com",
        "sip:102@example.com",
        "sip:+49301234102@example.com",
        "sip:0301234102@example.com",
        "sips:bob@example.com",
        "tel:+49-30-1234102",
    ];
    for (number, to) in forms.into_iter().enumerate() {
        let mut world = world();
        let lines = "Contact: <sip:bob@192.0.2.70>\r\n";
        let call = format!("c{number}");
        let answer = answered(&mut world, register_to(to, &call, 1, lines));
        assert_eq!(answer.status(), Some(200), "{to}");
        assert_eq!(bound(&mut world).len(), 1, "{to}");
    }
}

#[test]
fn nobody_of_that_name_is_404_and_another_domain_is_not_served() {
    let mut world = world();
    for to in [
        "sip:nobody@example.com",
        "sip:bob@elsewhere.net",
        "sip:example.com",
    ] {
        let answer = answered(&mut world, register_to(to, "n", 1, ""));
        assert_eq!(answer.status(), Some(404), "{to}");
    }
    let request =
        register("n", 2, "").replace("REGISTER sip:example.com", "REGISTER sip:elsewhere.net");
    assert_eq!(answered(&mut world, request).status(), Some(403));
}

#[test]
fn intervals_come_from_the_parameter_then_the_header_then_the_default() {
    let mut world = world();
    let lines = "Expires: 120\r\nContact: <sip:a@192.0.2.70>;expires=90, <sip:b@192.0.2.70>\r\n";
    let answer = answered(&mut world, register("a", 1, lines));
    let contacts = answer.headers("Contact");
    assert_eq!(
        contacts,
        [
            "<sip:a@192.0.2.70>;expires=90",
            "<sip:b@192.0.2.70>;expires=120"
        ]
    );
    let lines = "Contact: <sip:c@192.0.2.70>;expires=1000000\r\n";
    let answer = answered(&mut world, register("a", 2, lines));
    assert_eq!(
        answer.headers("Contact")[2],
        "<sip:c@192.0.2.70>;expires=7200",
        "the longest"
    );
    let lines = "Contact: <sip:d@192.0.2.70>;expires=soon\r\n";
    let answer = answered(&mut world, register("a", 3, lines));
    assert_eq!(
        answer.headers("Contact")[3],
        "<sip:d@192.0.2.70>;expires=3600",
        "malformed"
    );
}

#[test]
fn too_brief_an_interval_is_423_and_nothing_is_bound() {
    let mut world = world();
    let lines = "Contact: <sip:a@192.0.2.70>, <sip:b@192.0.2.70>;expires=59\r\n";
    let answer = refused(&mut world, lines, 423);
    assert_eq!(answer.header("Min-Expires").unwrap(), "60");
    refused(
        &mut world,
        "Expires: 1\r\nContact: <sip:a@192.0.2.70>\r\n",
        423,
    );
    assert!(bound(&mut world).is_empty());
    let rules = Rules {
        min_expires_s: 3_600,
        ..Rules::default()
    };
    let strict = Policy {
        registrar: Some(rules),
        ..registering()
    };
    world.shared.policy.store(Arc::new(strict));
    let answer = answered(
        &mut world,
        register("a", 1, "Contact: <sip:a@192.0.2.70>;expires=3600\r\n"),
    );
    assert_eq!(answer.status(), Some(200), "an hour is never too brief");
}

#[test]
fn zero_removes_one_and_the_wildcard_removes_all() {
    let mut world = world();
    let three = "Contact: <sip:a@h.net>\r\nm: <sip:b@h.net>\r\nContact: sip:c@h.net\r\n";
    answered(&mut world, register("a", 1, three));
    let lines = "Contact: <sip:%61@H.net;x=1>;expires=0\r\n";
    let answer = answered(&mut world, register("a", 2, lines));
    let rest = ["<sip:b@h.net>;expires=3600", "<sip:c@h.net>;expires=3600"];
    assert_eq!(answer.headers("Contact"), rest);
    let answer = answered(&mut world, register("a", 3, "Contact: *\r\nExpires: 0\r\n"));
    assert_eq!(
        (answer.status(), answer.headers("Contact").len()),
        (Some(200), 0)
    );
    assert!(world.shared.locations.is_empty());
    let answer = answered(
        &mut world,
        register("a", 4, "Contact: <sip:b@h.net>\r\nExpires: 0\r\n"),
    );
    assert_eq!(
        answer.status(),
        Some(200),
        "what is not bound can be removed"
    );
}

#[test]
fn the_wildcard_with_anything_else_is_400() {
    let mut world = world();
    answered(&mut world, register("a", 1, "Contact: <sip:a@h.net>\r\n"));
    for lines in [
        "Contact: *\r\n",
        "Contact: *\r\nExpires: 60\r\n",
        "Contact: *, <sip:b@h.net>\r\nExpires: 0\r\n",
        "Contact: <sip:b@h.net>\r\nContact: *\r\nExpires: 0\r\n",
        "Contact: *;expires=0\r\nExpires: 0\r\n",
    ] {
        refused(&mut world, lines, 400);
    }
    assert_eq!(bound(&mut world).len(), 1);
}

#[test]
fn a_malformed_contact_is_400_and_spoils_the_whole_request() {
    let mut world = world();
    for contact in [
        "<sip:a@h.net>, nonsense",
        "<sip:a@h.net",
        "\"A <sip:a@h.net>",
        "sip:a@h.net?Route=%3Csip:b@h%3E",
        "",
    ] {
        refused(&mut world, &format!("Contact: {contact}\r\n"), 400);
    }
    assert!(bound(&mut world).is_empty());
}

#[test]
fn an_older_request_of_the_same_phone_fails_and_changes_nothing() {
    let mut world = world();
    answered(
        &mut world,
        register("a", 7, "Contact: <sip:a@h.net>;q=0.5\r\n"),
    );
    for (cseq, branch) in [(6, "x"), (7, "y")] {
        let lines = "Contact: <sip:b@h.net>, <sip:a@h.net>;expires=0\r\n";
        let late = register("a", cseq, lines).replace("z9hG4bK", &format!("z9hG4bK{branch}"));
        assert_eq!(answered(&mut world, late).status(), Some(500), "{cseq}");
    }
    let late = register("a", 3, "Contact: *\r\nExpires: 0\r\n");
    assert_eq!(answered(&mut world, late).status(), Some(500));
    assert_eq!(bound(&mut world), ["<sip:a@h.net>;q=0.5;expires=3600"]);
    let other = register("b", 1, "Contact: <sip:a@h.net>;q=0.7\r\n");
    let answer = answered(&mut world, other);
    assert_eq!(
        answer.headers("Contact"),
        ["<sip:a@h.net>;q=0.7;expires=3600"],
        "another phone"
    );
}

#[test]
fn a_retransmission_gets_the_same_answer_and_changes_nothing() {
    let mut world = world();
    let request = register("a", 1, "Contact: <sip:a@h.net>\r\n");
    let first = answered(&mut world, request.clone());
    world.advance(4_000);
    let second = answered(&mut world, request.clone());
    assert_eq!(first.bytes, second.bytes);
    assert_eq!(world.engine.load().answers, 1);
    world.advance(40_000);
    assert_eq!(world.engine.load(), Default::default());
    let late = answered(&mut world, request);
    assert_eq!(
        late.status(),
        Some(200),
        "the binding knows the transaction that made it"
    );
}

#[test]
fn several_phones_are_bound_beside_each_other_up_to_a_limit() {
    let mut world = world();
    for number in 0..16 {
        let lines = format!(
            "Contact: <sip:bob@192.0.2.{}>;q=0.{}\r\n",
            100 + number,
            number % 10
        );
        let answer = answered(&mut world, register(&format!("p{number}"), 1, &lines));
        assert_eq!(answer.headers("Contact").len(), number + 1);
    }
    refused(&mut world, "Contact: <sip:bob@192.0.2.200>\r\n", 403);
    let answer = answered(
        &mut world,
        register("p3", 2, "Contact: <sip:bob@192.0.2.103>\r\n"),
    );
    assert_eq!(
        answer.headers("Contact").len(),
        16,
        "those there are can be refreshed"
    );
    assert!(
        refused(&mut world, &"Contact: <sip:x@h>\r\n".repeat(101), 403)
            .text()
            .contains("Too Many")
    );
}

#[test]
fn require_is_understood_or_refused() {
    let mut world = world();
    let answer = refused(&mut world, "Require: path, teleport, 100rel\r\n", 420);
    assert_eq!(answer.headers("Unsupported"), ["teleport", "100rel"]);
    let answer = answered(
        &mut world,
        register("a", 1, "Require: Path, outbound, gruu\r\n"),
    );
    assert_eq!(answer.status(), Some(200));
}

#[test]
fn a_path_is_kept_and_told_to_those_who_know_it() {
    let mut world = world();
    let path = "Path: <sip:edge2.example.net;lr>,<sip:edge1.example.net;lr;ob>\r\n";
    let contact = "Contact: <sip:bob@10.0.0.5>\r\n";
    let answer = refused(&mut world, &format!("{path}{contact}"), 420);
    assert_eq!(answer.header("Unsupported").unwrap(), "path");
    let lines = format!("Supported: path\r\n{path}{contact}");
    let answer = answered(&mut world, register("a", 1, &lines));
    let value = "<sip:edge2.example.net;lr>,<sip:edge1.example.net;lr;ob>";
    assert_eq!(answer.headers("Path"), [value]);
    let targets = targets(&world);
    assert_eq!(targets, [("sip:bob@10.0.0.5".to_owned(), value.to_owned())]);
}

/// Request-URI and path of each of Bob's targets.
fn targets(world: &World) -> Vec<(String, String)> {
    let bob = world.shared.directory.handle_of_id("bob").unwrap();
    let profile = world.shared.directory.profile(bob).unwrap();
    let now = world.now().unix_ms;
    let targets = world
        .shared
        .locations
        .targets((bob, &profile), None, now, |_| true);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    targets
        .iter()
        .map(|t| (text(&t.uri), text(t.path)))
        .collect()
}

const FLOW: &str = "Supported: path, outbound\r\n\
    Contact: <sip:bob@192.0.2.70>;+sip.instance=\"<urn:uuid:0001>\";reg-id=1\r\n";

#[test]
fn a_later_registration_of_an_instance_replaces_its_flow() {
    let mut world = world();
    let answer = answered(&mut world, register("a", 1, FLOW));
    assert_eq!(answer.headers("Require"), ["outbound"]);
    assert!(answer.header("Flow-Timer").is_some());
    let contact = "<sip:bob@192.0.2.70>;+sip.instance=\"<urn:uuid:0001>\";reg-id=1;expires=3600";
    assert_eq!(answer.headers("Contact"), [contact]);
    let moved = FLOW
        .replace("192.0.2.70", "192.0.2.71:7000")
        .replace("uuid:0001", "UUID:0001");
    let answer = answered(&mut world, register("b", 1, &moved));
    assert_eq!(answer.headers("Contact").len(), 1, "{}", answer.text());
    assert!(
        answer
            .header("Contact")
            .unwrap()
            .starts_with("<sip:bob@192.0.2.71:7000>")
    );
    let second = FLOW.replace("reg-id=1", "reg-id=2");
    let answer = answered(&mut world, register("c", 1, &second));
    assert_eq!(answer.headers("Contact").len(), 2);
}

#[test]
fn reg_id_counts_only_where_outbound_does() {
    let mut world = world();
    let without = FLOW.replace(", outbound", "");
    let answer = answered(&mut world, register("a", 1, &without));
    assert!(answer.header("Require").is_none());
    let alone = FLOW.replace("+sip.instance=\"<urn:uuid:0001>\";", "");
    let answer = answered(&mut world, register("a", 2, &alone));
    assert!(
        answer.header("Require").is_none(),
        "a flow needs an instance"
    );
    let two = FLOW.replace("Contact: ", "Contact: <sip:bob@192.0.2.99>, ");
    refused(&mut world, &two, 400);
    let proxied = register("b", 1, FLOW).replacen(
        "Via:",
        "Via: SIP/2.0/UDP 192.0.2.60;branch=z9hG4bKp\r\nVia:",
        1,
    );
    let answer = answered(&mut world, proxied.clone());
    assert_eq!(
        answer.first_line(),
        "SIP/2.0 439 First Hop Lacks Outbound Support"
    );
    let edge = "Path: <sip:192.0.2.60;lr;ob>\r\nContact";
    let proxied = proxied
        .replace("b\r\nCSeq: 1", "b\r\nCSeq: 2")
        .replace("bKp", "bKq");
    let answer = answered(&mut world, proxied.replace("Contact", edge));
    assert_eq!(
        (answer.status(), answer.headers("Require").len()),
        (Some(200), 1)
    );
    assert!(
        answer.header("Flow-Timer").is_none(),
        "the edge keeps the flow"
    );
}

#[test]
fn a_public_gruu_is_given_to_those_who_ask() {
    let mut world = world();
    let lines = "Contact: <sip:bob@192.0.2.70>;+sip.instance=\"<urn:uuid:0001>\"\r\n";
    let answer = answered(&mut world, register("a", 1, lines));
    assert!(!answer.text().contains("gruu=\""));
    let answer = answered(
        &mut world,
        register("a", 2, &format!("Supported: gruu\r\n{lines}")),
    );
    let contact = answer.header("Contact").unwrap();
    assert!(
        contact.contains(";pub-gruu=\"sip:bob@example.com;gr=urn:uuid:0001\""),
        "{contact}"
    );
    let other = "Contact: <sip:bob@192.0.2.71>\r\n";
    answered(&mut world, register("b", 1, other));
    let bob = world.shared.directory.handle_of_id("bob").unwrap();
    let profile = world.shared.directory.profile(bob).unwrap();
    let of = |gr: Option<&[u8]>| {
        let now = world.now().unix_ms;
        world
            .shared
            .locations
            .targets((bob, &profile), gr, now, |_| true)
            .len()
    };
    assert_eq!(
        (
            of(None),
            of(Some(b"urn:uuid:0001")),
            of(Some(b"urn:uuid:2"))
        ),
        (2, 1, 0)
    );
}

#[test]
fn what_a_contact_says_is_kept_and_what_a_request_uri_may_not_have_is_left_out() {
    let mut world = world();
    let lines = "Contact: <sip:+19725552222@gw1.example.net;unknownparam>\r\n\
        Contact: sip:+19725552223@gw1.example.net;unknownparam\r\n\
        Contact: <sip:user@example.net?Route=%3Csip:sip.example.com%3E>;methods=\"INVITE,BYE\"\r\n";
    let answer = answered(&mut world, register("a", 1, lines));
    let expected = [
        "<sip:+19725552222@gw1.example.net;unknownparam>;expires=3600",
        "<sip:+19725552223@gw1.example.net>;unknownparam;expires=3600",
        "<sip:user@example.net?Route=%3Csip:sip.example.com%3E>;methods=\"INVITE,BYE\";expires=3600",
    ];
    assert_eq!(answer.headers("Contact"), expected);
    assert!(answer.header("Route").is_none());
    let mut uris: Vec<String> = targets(&world).into_iter().map(|target| target.0).collect();
    uris.sort();
    let expected = [
        "sip:+19725552222@gw1.example.net;unknownparam",
        "sip:+19725552223@gw1.example.net",
        "sip:user@example.net",
    ];
    assert_eq!(uris, expected);
}

#[test]
fn unknown_credentials_of_a_scheme_nobody_knows_do_no_harm() {
    let mut world = world();
    let lines =
        "Authorization: NoOneKnowsThisScheme opaque-data=here\r\nContact: <sip:a@h.net>\r\n";
    let answer = answered(&mut world, register("a", 1, lines));
    assert!(
        matches!(answer.status(), Some(200 | 401)),
        "{}",
        answer.text()
    );
}

#[test]
fn bindings_outlive_the_engine() {
    let mut world = world();
    answered(
        &mut world,
        register("a", 1, "Contact: <sip:a@192.0.2.70>;expires=600\r\n"),
    );
    let store = world.store.clone();
    drop(world);
    let mut world = World::with_store(registering(), &[BOB, ANNA], store, 100_000);
    assert_eq!(bound(&mut world), ["<sip:a@192.0.2.70>;expires=500"]);
    let late = register("a", 1, "Contact: <sip:a@192.0.2.70>;expires=0\r\n").replace("bK", "bKx");
    assert_eq!(
        answered(&mut world, late).status(),
        Some(500),
        "the CSeq is remembered"
    );
}

#[test]
fn a_flood_is_bounded() {
    let mut world = world();
    for number in 0..33_000_u32 {
        let lines = format!("Contact: <sip:{number}@192.0.2.70>\r\n");
        world.receive(PHONE, register(&format!("f{number}"), 1, &lines));
    }
    assert_eq!(world.shared.locations.len(), 16);
    assert_eq!(world.engine.load().answers, 32_768);
    world.assert_drained();
}

#[test]
fn behind_a_pbx_a_register_passes_through() {
    let mut world = World::new(policy(), &[BOB]);
    let sent = world.receive(PHONE, register("a", 1, "Contact: <sip:a@192.0.2.70>\r\n"));
    let copy = find(&sent, PBX, "REGISTER");
    assert_eq!(copy.header("Contact").unwrap(), "<sip:a@192.0.2.70>");
    assert!(world.shared.locations.is_empty());
}

#[test]
fn an_answer_over_a_stream_is_not_kept() {
    let mut policy = registering();
    policy.listeners.push(listener(Transport::Tcp, PROXY));
    let mut world = World::new(policy, &[BOB]);
    let request = register("a", 1, "Contact: <sip:a@192.0.2.70;transport=tcp>\r\n");
    let request = request.replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    let sent = world.receive_over((5, 1), "192.0.2.70:41000", request);
    assert_eq!(sent[0].status(), Some(200));
    assert_eq!(world.engine.load(), Default::default());
}

/// RFC 3665 §2, as printed but for the names of domain and user.
mod rfc3665 {
    use super::*;

    fn bob(cseq: u32, lines: &str) -> String {
        format!(
            "REGISTER sips:ss2.biloxi.example.com SIP/2.0\r\n\
             Via: SIP/2.0/TLS client.biloxi.example.com:5061;branch=z9hG4bKnashd{cseq}\r\n\
             Max-Forwards: 70\r\nFrom: Bob <sips:bob@biloxi.example.com>;tag=a73kszlfl\r\n\
             To: Bob <sips:bob@biloxi.example.com>\r\n\
             Call-ID: 1j9FpLxk3uxtm8tn@biloxi.example.com\r\nCSeq: {cseq} REGISTER\r\n\
             {lines}Content-Length: 0\r\n\r\n"
        )
    }

    fn biloxi() -> World {
        let mut policy = registering();
        policy.domains = ["biloxi.example.com", "ss2.biloxi.example.com"]
            .map(Into::into)
            .into();
        policy.listeners = vec![listener(Transport::Tls, "192.0.2.1:5061")];
        World::new(policy, &[BOB])
    }

    fn answer_of(world: &mut World, request: String) -> Sent {
        let sent = world.receive_over((3, 0), "192.0.2.201:49152", request);
        sent.into_iter().next().unwrap()
    }

    #[test]
    fn a_new_registration_an_update_a_query_and_a_cancellation() {
        let mut world = biloxi();
        let contact = "Contact: <sips:bob@client.biloxi.example.com>\r\n";
        let ok = answer_of(&mut world, bob(2, contact));
        assert_eq!(ok.first_line(), "SIP/2.0 200 OK");
        let via =
            "SIP/2.0/TLS client.biloxi.example.com:5061;branch=z9hG4bKnashd2;received=192.0.2.201";
        assert_eq!(ok.header("Via").unwrap(), via);
        let first = "<sips:bob@client.biloxi.example.com>;expires=3600";
        assert_eq!(ok.headers("Contact"), [first]);
        let mail = "Contact: mailto:bob@biloxi.example.com\r\n";
        let ok = answer_of(&mut world, bob(3, mail));
        let both = [first, "<mailto:bob@biloxi.example.com>;expires=3600"];
        assert_eq!(ok.headers("Contact"), both);
        assert_eq!(answer_of(&mut world, bob(4, "")).headers("Contact"), both);
        assert_eq!(targets(&world).len(), 1, "no call goes to a mailbox");
        let ok = answer_of(&mut world, bob(5, "Expires: 0\r\nContact: *\r\n"));
        assert_eq!((ok.status(), ok.headers("Contact").len()), (Some(200), 0));
    }
}
