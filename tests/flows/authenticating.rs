//! Digest: who is challenged, what proves a password, and what the next hop sees.

use crate::harness::*;
use pointsman::auth::{Algorithm, AuthPolicy, Hashing, Methods};
use pointsman::message::Method;
use pointsman::presence::Subscriber;
use pointsman::proxy::policy::{Network, Peer};
use pointsman::proxy::{ConnectionId, FlowView, Policy};
use pointsman::routing::Mode;

pub const ANNA: &str = r#"{"id":"anna","aliases":["101"],"password":"correct horse"}"#;
pub const BOB: &str = r#"{"id":"bob","password":"battery staple"}"#;

/// We are the registrar, and the methods of the default must be authenticated.
pub fn guarded() -> Policy {
    let methods = [Method::Register, Method::Publish, Method::Subscribe];
    Policy {
        auth: AuthPolicy {
            methods: Methods::of(methods),
            realm: "example.com".into(),
            registrar_is_local: true,
            ..AuthPolicy::off()
        },
        ..policy()
    }
}

/// Who may call must authenticate too.
fn calls_guarded() -> Policy {
    let mut policy = guarded();
    policy.auth.methods = Methods::ALL;
    policy
}

/// A world whose subscribers' passwords are kept as the API keeps them.
pub fn world(policy: Policy, subscribers: &[&str]) -> World {
    let hashing: Hashing = policy.auth.hashing();
    let world = World::new(policy, &[]);
    for json in subscribers {
        let subscriber: Subscriber = serde_json::from_str(json).unwrap();
        let subscriber = subscriber.with_digests(&hashing);
        let plan = &world.shared.policy.load().plan;
        world.shared.directory.put(&subscriber, plan).unwrap();
    }
    world
}

/// A request from a phone of anna's.
pub fn by(user: &str, method: &str, uri: &str, call: &str, extra: &str) -> String {
    request(method, uri, call, extra).replace(
        "\"Carl\" <sip:carl@elsewhere.net>",
        &format!("<sip:{user}@example.com>"),
    )
}

/// The value of a field of a challenge.
pub fn field(challenge: &str, name: &str) -> String {
    let start = format!("{name}=");
    let field = challenge
        .split(", ")
        .map(|f| f.trim_start_matches("Digest "));
    let value = field.filter_map(|f| f.strip_prefix(&start)).next();
    value.unwrap_or_default().trim_matches('"').to_owned()
}

/// Credentials that answer a challenge, with the header that belongs to the response.
pub fn sign(answer: &Sent, (user, password): (&str, &str), (method, uri): (&str, &str)) -> String {
    sign_counting(answer, (user, password), (method, uri), 1)
}

pub fn sign_counting(
    answer: &Sent,
    (user, password): (&str, &str),
    (method, uri): (&str, &str),
    nc: u32,
) -> String {
    let (header, challenge) = match answer.status() {
        Some(401) => ("Authorization", answer.header("WWW-Authenticate")),
        _ => ("Proxy-Authorization", answer.header("Proxy-Authenticate")),
    };
    let challenge = challenge.unwrap();
    let algorithm = Algorithm::from_name(field(&challenge, "algorithm").as_bytes()).unwrap();
    let (realm, nonce) = (field(&challenge, "realm"), field(&challenge, "nonce"));
    let hex = |parts: &[&str]| {
        let parts: Vec<_> = parts.iter().map(|part| part.as_bytes()).collect();
        String::from_utf8(algorithm.hash(&parts).hex().as_bytes().to_vec()).unwrap()
    };
    let (ha1, ha2) = (hex(&[user, &realm, password]), hex(&[method, uri]));
    let nc = format!("{nc:08x}");
    let response = hex(&[&ha1, &nonce, &nc, "c0ffee", "auth", &ha2]);
    format!(
        "{header}: Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", \
         uri=\"{uri}\", response=\"{response}\", algorithm={}, cnonce=\"c0ffee\", qop=auth, \
         nc={nc}, opaque=\"{}\"\r\n",
        algorithm.name(),
        field(&challenge, "opaque")
    )
}

const AOR: &str = "sip:anna@example.com";
const SECRET: (&str, &str) = ("anna", "correct horse");

fn the_answer(sent: Vec<Sent>) -> Sent {
    assert_eq!(sent.len(), 1, "{sent:#?}");
    sent[0].clone()
}

#[test]
fn a_request_without_credentials_is_challenged_and_nothing_is_kept() {
    let mut world = world(guarded(), &[ANNA]);
    for (method, status) in [("REGISTER", 401), ("PUBLISH", 407), ("SUBSCRIBE", 407)] {
        let asked = by("anna", method, AOR, method, "");
        let answer = the_answer(world.receive(CALLER, &asked));
        assert_eq!(answer.status(), Some(status), "{method}");
        assert_eq!(world.engine.load(), Default::default());
        let name = if status == 401 {
            "WWW-Authenticate"
        } else {
            "Proxy-Authenticate"
        };
        let challenges = answer.headers(name);
        let algorithms: Vec<_> = challenges.iter().map(|c| field(c, "algorithm")).collect();
        assert_eq!(algorithms, ["SHA-256", "SHA-512-256"]);
        assert_eq!(field(&challenges[0], "qop"), "auth");
        assert_eq!(field(&challenges[0], "realm"), "example.com");
        assert_eq!(
            field(&challenges[0], "nonce"),
            field(&challenges[1], "nonce")
        );
        assert_eq!(
            world.receive(CALLER, &asked)[0].bytes,
            answer.bytes,
            "again the same"
        );
    }
    world.assert_drained();
}

#[test]
fn a_phone_that_proves_its_password_is_let_in_by_id_and_by_number() {
    for (user, aor) in [("anna", AOR), ("101", "sip:101@example.com")] {
        let mut world = world(guarded(), &[ANNA]);
        let challenged = the_answer(world.receive(CALLER, by(user, "REGISTER", aor, "a", "")));
        let signed = sign(&challenged, (user, "correct horse"), ("REGISTER", aor));
        let again = by(user, "REGISTER", aor, "b", &signed);
        let copy = find(&world.receive(CALLER, again), PBX, "REGISTER");
        assert_eq!(copy.header("Authorization"), None, "nobody else's business");
    }
}

#[test]
fn a_publish_without_content_length_is_legal_over_udp() {
    for methods in [guarded().auth.methods, Methods::NONE] {
        let mut policy = guarded();
        policy.auth.methods = methods;
        let mut world = world(policy, &[ANNA]);
        let publish = |extra: &str, call: &str| {
            let text = by(
                "anna",
                "PUBLISH",
                AOR,
                call,
                &format!("Event: presence\r\n{extra}"),
            );
            let (head, rest) = text.split_once("Content-Length: ").unwrap();
            format!("{head}{}", rest.split_once("\r\n").unwrap().1)
        };
        let first = world.receive(CALLER, publish("", "a"));
        let copy = if methods.is_empty() {
            find(&first, PBX, "PUBLISH")
        } else {
            let signed = sign(&the_answer(first), SECRET, ("PUBLISH", AOR));
            find(
                &world.receive(CALLER, publish(&signed, "b")),
                PBX,
                "PUBLISH",
            )
        };
        assert!(copy.text().ends_with(SDP), "{}", copy.text());
    }
}

/// An answer without the name that was asked for, and without nonces, which are new for each request.
fn plain(sent: &Sent) -> String {
    let text = sent.text().replace("nobo", "anna");
    let mut parts = text.split("nonce=\"");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| {
        let (nonce, rest) = part.split_once('"').unwrap();
        assert_eq!(nonce.len(), 48);
        plain + rest
    })
}

#[test]
fn wrong_credentials_and_unknown_names_are_answered_alike() {
    let mut world = world(guarded(), &[ANNA]);
    let mut try_as = |user: &str, call: &str, header: Option<&Sent>| {
        let aor = format!("sip:{user}@example.com");
        let signed = header
            .map(|c| sign(c, (user, "wrong"), ("REGISTER", &aor)))
            .unwrap_or_default();
        the_answer(world.receive(CALLER, by(user, "REGISTER", &aor, call, &signed)))
    };
    let alike = |known: &Sent, unknown: &Sent| {
        assert_eq!(plain(known), plain(unknown));
    };
    let known = try_as("anna", "same", None);
    let unknown = try_as("nobo", "same", None);
    alike(&known, &unknown);
    let known = try_as("anna", "next", Some(&known));
    let unknown = try_as("nobo", "next", Some(&unknown));
    assert_eq!(known.status(), Some(401));
    alike(&known, &unknown);
    assert!(!known.text().contains("stale"));
}

#[test]
fn strangers_learn_nothing_by_any_method_that_is_guarded_nor_by_options() {
    let mut world = world(guarded(), &[ANNA]);
    for method in ["REGISTER", "SUBSCRIBE", "PUBLISH", "OPTIONS"] {
        let mut ask = |user: &str| {
            let aor = format!("sip:{user}@example.com");
            the_answer(world.receive(CALLER, request(method, &aor, "same", "")))
        };
        let (known, unknown) = (ask("anna"), ask("nobo"));
        assert_eq!(known.to, unknown.to);
        assert_eq!(plain(&known), plain(&unknown), "{method}");
    }
    world.assert_drained();
}

#[test]
fn an_old_nonce_is_stale_and_a_replay_is_too() {
    let mut world = world(guarded(), &[ANNA]);
    let challenged = the_answer(world.receive(CALLER, by("anna", "REGISTER", AOR, "a", "")));
    let signed = |nc| sign_counting(&challenged, SECRET, ("REGISTER", AOR), nc);
    let first = by("anna", "REGISTER", AOR, "b", &signed(1));
    find(&world.receive(CALLER, &first), PBX, "REGISTER");
    let stale = |sent: Vec<Sent>| {
        let answer = the_answer(sent);
        assert_eq!(answer.status(), Some(401));
        assert_eq!(
            field(&answer.header("WWW-Authenticate").unwrap(), "stale"),
            "true"
        );
        answer
    };
    let replayed = by("anna", "REGISTER", AOR, "c", &signed(1));
    stale(world.receive("198.51.100.66:5060", replayed));
    let second = by("anna", "REGISTER", AOR, "d", &signed(2));
    find(&world.receive("198.51.100.7:5060", second), PBX, "REGISTER");
    world.advance(301_000);
    let late = by("anna", "REGISTER", AOR, "e", &signed(3));
    let fresh = stale(world.receive(CALLER, late));
    let signed = sign(&fresh, SECRET, ("REGISTER", AOR));
    let renewed = by("anna", "REGISTER", AOR, "f", &signed);
    find(&world.receive(CALLER, renewed), PBX, "REGISTER");
}

#[test]
fn the_same_request_again_is_no_replay() {
    let mut world = world(guarded(), &[ANNA]);
    let challenged = the_answer(world.receive(CALLER, by("anna", "SUBSCRIBE", AOR, "a", "")));
    let signed = sign(&challenged, SECRET, ("SUBSCRIBE", AOR));
    let asked = by("anna", "SUBSCRIBE", AOR, "b", &signed);
    let copy = find(&world.receive(CALLER, &asked), PBX, "SUBSCRIBE");
    assert!(
        world.receive(CALLER, &asked).is_empty(),
        "its transaction absorbs it"
    );
    let answered = world.receive(PBX, respond(&copy, "200 OK", ""));
    assert_eq!(statuses(&answered, CALLER), [200]);
    world.advance(40_000);
    find(&world.receive(CALLER, &asked), PBX, "SUBSCRIBE");
}

#[test]
fn credentials_for_another_request_or_realm_prove_nothing() {
    let mut world = world(guarded(), &[ANNA]);
    let challenged = the_answer(world.receive(CALLER, by("anna", "PUBLISH", AOR, "a", "")));
    for (number, (method, uri, password)) in [
        ("SUBSCRIBE", AOR, "correct horse"),
        ("PUBLISH", "sip:bob@example.com", "correct horse"),
        ("PUBLISH", "sip:anna@example.net", "correct horse"),
        ("PUBLISH", AOR, "Correct horse"),
    ]
    .into_iter()
    .enumerate()
    {
        let signed = sign(&challenged, ("anna", password), (method, uri));
        let call = format!("b{number}");
        let answer = the_answer(world.receive(CALLER, by("anna", "PUBLISH", AOR, &call, &signed)));
        assert_eq!(answer.status(), Some(407), "{method} {uri}");
    }
    let other = "Proxy-Authorization: Digest username=\"anna\", realm=\"pbx\", nonce=\"n\", \
         uri=\"sip:x\", response=\"6629fae49393a05397450978507c4ef1\"\r\n";
    let answer = the_answer(world.receive(CALLER, by("anna", "PUBLISH", AOR, "o", other)));
    assert_eq!(answer.status(), Some(407));
}

#[test]
fn a_phone_may_name_us_as_it_likes_in_its_credentials() {
    let mut world = world(guarded(), &[ANNA]);
    let challenged = the_answer(world.receive(CALLER, by("anna", "PUBLISH", AOR, "a", "")));
    for (number, uri) in [
        "sip:anna@192.0.2.1:5060",
        "sip:anna@EXAMPLE.com;transport=udp",
    ]
    .into_iter()
    .enumerate()
    {
        let nc = 1 + number as u32;
        let signed = sign_counting(&challenged, SECRET, ("PUBLISH", uri), nc);
        let asked = by("anna", "PUBLISH", AOR, &format!("b{nc}"), &signed);
        find(&world.receive(CALLER, asked), PBX, "PUBLISH");
    }
}

#[test]
fn nobody_registers_or_publishes_for_somebody_else() {
    for method in ["REGISTER", "PUBLISH"] {
        for aor in ["sip:bob@example.com", "sip:nobody@example.com"] {
            let mut world = world(guarded(), &[ANNA, BOB]);
            let challenged = the_answer(world.receive(CALLER, by("anna", method, aor, "a", "")));
            let signed = sign(&challenged, SECRET, (method, aor));
            let answer = the_answer(world.receive(CALLER, by("anna", method, aor, "b", &signed)));
            assert_eq!(answer.status(), Some(403), "{method} {aor}");
        }
    }
}

#[test]
fn what_the_pbx_answers_is_not_challenged_by_us() {
    let mut policy = guarded();
    policy.auth.registrar_is_local = false;
    let mut world = world(policy, &[ANNA]);
    let own = "Authorization: Digest username=\"anna\", realm=\"example.com\", nonce=\"pbx's\", \
         uri=\"sip:x\", response=\"6629fae49393a05397450978507c4ef1\"\r\n";
    for method in ["REGISTER", "PUBLISH", "SUBSCRIBE"] {
        let copy = find(
            &world.receive(CALLER, by("anna", method, AOR, method, own)),
            PBX,
            method,
        );
        assert!(copy.text().contains(own), "the PBX's own realm may be ours");
    }
}

#[test]
fn ack_and_cancel_are_never_challenged() {
    let mut world = world(calls_guarded(), &[ANNA, BOB]);
    let uri = "sip:bob@example.com";
    let challenged = the_answer(world.receive(CALLER, by("anna", "INVITE", uri, "a", "")));
    assert_eq!(challenged.status(), Some(407));
    assert!(
        world
            .receive(CALLER, ack_failure(uri, "a", &challenged))
            .is_empty()
    );
    let signed = sign(&challenged, SECRET, ("INVITE", uri));
    let sent = world.receive(CALLER, by("anna", "INVITE", uri, "b", &signed));
    let copy = find(&sent, PBX, "INVITE");
    world.receive(PBX, respond(&copy, "180 Ringing", ""));
    let cancelled = world.receive(CALLER, cancel(uri, "b"));
    assert_eq!(statuses(&cancelled, CALLER), [200]);
    find(&cancelled, PBX, "CANCEL");
}

#[test]
fn a_call_is_that_of_who_has_authenticated_whatever_its_from_says() {
    let mut world = world(calls_guarded(), &[ANNA, BOB]);
    let uri = "sip:bob@example.com";
    let forged = "P-Asserted-Identity: <sip:boss@example.com>\r\n\
         P-Preferred-Identity: <sip:boss@example.com>\r\n";
    let challenged = the_answer(world.receive(CALLER, by("bob", "INVITE", uri, "a", "")));
    let extra = format!("{}{forged}", sign(&challenged, SECRET, ("INVITE", uri)));
    let sent = world.receive(CALLER, by("bob", "INVITE", uri, "b", &extra));
    let copy = find(&sent, PBX, "INVITE");
    let asserted = copy.headers("P-Asserted-Identity");
    assert_eq!(asserted, ["<sip:anna@example.com>"]);
    assert!(copy.headers("P-Preferred-Identity").is_empty());
    assert!(copy.headers("Proxy-Authorization").is_empty());
    let answered = world.receive(PBX, respond(&copy, "200 OK", ""));
    assert_eq!(statuses(&answered, CALLER), [200]);
    assert_eq!((world.marks("anna").0, world.marks("bob").0), (1, 1));
    let ok = answer(&answered, CALLER, 200);
    let bye = in_dialog(&ok, "BYE", 2, false, "");
    let bye = find(&world.receive(CALLER, bye), PBX, "BYE");
    world.receive(PBX, respond(&bye, "200 OK", ""));
    world.assert_drained();
}

#[test]
fn within_a_dialog_of_ours_nobody_is_asked_again() {
    let mut world = world(calls_guarded(), &[ANNA, BOB]);
    let uri = "sip:bob@example.com";
    let challenged = the_answer(world.receive(CALLER, by("anna", "INVITE", uri, "a", "")));
    let signed = sign(&challenged, SECRET, ("INVITE", uri));
    let copy = find(
        &world.receive(CALLER, by("anna", "INVITE", uri, "b", &signed)),
        PBX,
        "INVITE",
    );
    let ok = answer(
        &world.receive(PBX, respond(&copy, "200 OK", "")),
        CALLER,
        200,
    );
    for (cseq, method) in [(2, "INFO"), (3, "UPDATE"), (4, "BYE")] {
        let inside = in_dialog(&ok, method, cseq, false, &signed);
        let copy = find(&world.receive(CALLER, inside), PBX, method);
        assert!(copy.headers("Proxy-Authorization").is_empty());
        world.receive(PBX, respond(&copy, "200 OK", ""));
    }
    let outside = in_dialog(&ok, "INFO", 9, false, "").replace(";pm=", ";pn=");
    let outside = outside.replacen("sip:callee@192.0.2.3:5080", uri, 1);
    assert_eq!(
        the_answer(world.receive(CALLER, outside)).status(),
        Some(407)
    );
}

#[test]
fn peers_are_never_challenged() {
    let mut world = world(calls_guarded(), &[ANNA, BOB]);
    let call = invite("sip:bob@example.com", "a").replace(CALLER, PBX);
    find(&world.receive(PBX, call), PBX, "INVITE");
}

#[test]
fn a_peer_is_known_by_its_certificate_on_its_connection_only() {
    let mut policy = calls_guarded();
    policy.peers.push(Peer {
        certificates: vec!["trunk.example.net".into()],
        ..peer("trunk", Mode::Redirect)
    });
    policy.peers.push(Peer {
        certificates: vec!["branch.example.net".into()],
        networks: vec![Network::host("192.0.2.77".parse().unwrap())],
        ..peer("branch", Mode::Redirect)
    });
    let mut world = world(policy, &[ANNA, BOB]);
    let identities = [
        (1, "trunk.example.net", CALLER, 100),
        (2, "other.example.net", CALLER, 407),
        (3, "branch.example.net", CALLER, 407),
        (4, "branch.example.net", "192.0.2.77:9", 100),
    ];
    for (id, name, from, _) in identities {
        let view = FlowView {
            listener: 0,
            peer: address(from),
            identities: vec![name.into()],
            is_outgoing: false,
            since_unix_ms: 0,
        };
        let id = ConnectionId(std::num::NonZeroU64::new(id).unwrap());
        world.shared.flows.insert(id, view);
    }
    for (id, name, from, status) in identities {
        let call = invite("sip:bob@example.com", &format!("c{id}"));
        let sent = world.receive_over((id, 0), from, call);
        let got: Vec<_> = sent.iter().filter_map(Sent::status).collect();
        assert_eq!(got, [status], "{name} from {from}");
    }
    let by_udp = the_answer(world.receive(CALLER, invite("sip:bob@example.com", "u")));
    assert_eq!(by_udp.status(), Some(407));
}

#[test]
fn broken_credentials_however_many_count_as_none() {
    let mut world = world(guarded(), &[ANNA]);
    let challenged = the_answer(world.receive(CALLER, by("anna", "REGISTER", AOR, "a", "")));
    let good = sign(&challenged, SECRET, ("REGISTER", AOR));
    let broken = [
        "Authorization: Digest\r\n".repeat(9),
        "Authorization: Basic Ym9iOnpvb2w=\r\nAuthorization:\r\n".to_owned(),
        format!("{}\r\n", &good[..good.len() / 2]),
        good.replacen(
            "username=\"anna\"",
            "username=\"anna\", username=\"anna\"",
            1,
        ),
        good.replace("Digest", "NoOneKnowsThisScheme"),
        good.replace("nc=00000001", "nc=zzzzzzzz"),
    ];
    for (number, extra) in broken.iter().enumerate() {
        let asked = by("anna", "REGISTER", AOR, &format!("b{number}"), extra);
        let answer = the_answer(world.receive(CALLER, asked));
        assert_eq!(answer.status(), Some(401), "{extra}");
    }
    let with_others = format!("{}{good}", "Authorization: Digest realm=\"x\r\n".repeat(9));
    let asked = by("anna", "REGISTER", AOR, "last", &with_others);
    find(&world.receive(CALLER, asked), PBX, "REGISTER");
}

#[test]
fn a_phone_that_knows_md5_only_is_offered_nothing_else_where_that_is_configured() {
    let mut policy = guarded();
    policy.auth.md5 = true;
    let offered = |policy: &Policy| {
        let mut world = world(policy.clone(), &[ANNA]);
        let challenged = the_answer(world.receive(CALLER, by("anna", "PUBLISH", AOR, "a", "")));
        let challenges = challenged.headers("Proxy-Authenticate").into_iter();
        let offered: Vec<_> = challenges.map(|c| field(&c, "algorithm")).collect();
        let signed = sign(&challenged, SECRET, ("PUBLISH", AOR));
        let sent = world.receive(CALLER, by("anna", "PUBLISH", AOR, "b", &signed));
        find(&sent, PBX, "PUBLISH");
        offered
    };
    assert_eq!(offered(&policy), ["SHA-256", "SHA-512-256", "MD5"]);
    policy.auth.md5_only = true;
    assert_eq!(offered(&policy), ["MD5"]);
}

#[test]
fn our_own_registrar_takes_a_phone_that_proves_its_password() {
    let mut policy = registering();
    policy.auth = guarded().auth;
    let mut world = world(policy, &[ANNA, BOB]);
    let asked = by("anna", "REGISTER", "sip:example.com", "a", "");
    let asked = asked.replace("To: <sip:example.com>", "To: <sip:anna@example.com>");
    let challenged = the_answer(world.receive(CALLER, &asked));
    assert_eq!(challenged.status(), Some(401));
    let signed = sign(&challenged, SECRET, ("REGISTER", "sip:example.com"));
    let register = |to: &str, call: &str, signed: &str| {
        let asked = by("anna", "REGISTER", "sip:example.com", call, signed);
        asked.replace(
            "To: <sip:example.com>",
            &format!("To: <sip:{to}@example.com>"),
        )
    };
    let bound = the_answer(world.receive(CALLER, register("anna", "b", &signed)));
    assert_eq!(bound.status(), Some(200), "{}", bound.text());
    let signed = sign_counting(&challenged, SECRET, ("REGISTER", "sip:example.com"), 2);
    let foreign = the_answer(world.receive(CALLER, register("bob", "c", &signed)));
    assert_eq!(foreign.status(), Some(403), "{}", foreign.text());
}
