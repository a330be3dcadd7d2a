//! Feature codes: dialled by INVITE, answered when the change was made, and ended by us.

use std::sync::Arc;

use crate::authenticating::{ANNA, by, guarded, sign, world};
use crate::harness::*;
use pointsman::message::Transport;
use pointsman::presence::{CodeAction, FeatureCodes, HouseRules};
use pointsman::proxy::{CodeAnswer, CodeWish, Policy};

const BOB: &str = r#"{"id":"bob","display_name":"Bob"}"#;

/// The usual codes; who sends from the PBX's address is a peer we trust.
fn coded(policy: Policy) -> Policy {
    let codes = FeatureCodes(FeatureCodes::usual());
    Policy {
        house: Arc::new(HouseRules {
            codes,
            ..HouseRules::default()
        }),
        ..policy
    }
}

/// Bob's INVITE, as the PBX in front passes it on.
fn dial(code: &str, call: &str) -> String {
    let uri = format!("sip:{code}@example.com");
    by("bob", "INVITE", &uri, call, "").replace(CALLER, PBX)
}

/// What somebody is to do, and that they have done it.
fn take(world: &World) -> CodeWish {
    world.shared.codes.wishes.pop().unwrap()
}

fn grant(world: &mut World, outcome: Result<(), (u16, String)>) -> Vec<Sent> {
    let wish = take(world);
    let answer = CodeAnswer {
        call_key: wish.call_key,
        outcome,
    };
    world.shared.codes.answers[wish.shard].push(answer).unwrap();
    world.resolved()
}

/// The caller's request within the call.
fn within(ok: &Sent, method: &str, cseq: u32) -> String {
    let value = |name: &str| ok.header(name).unwrap();
    format!(
        "{method} sip:192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {PBX};branch=z9hG4bKw{method}\r\n\
         Max-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
         Content-Length: 0\r\n\r\n",
        value("From"),
        value("To"),
        value("Call-ID")
    )
}

#[test]
fn a_code_is_answered_when_it_is_done_and_ended_by_us() {
    let mut world = World::new(coded(policy()), &[BOB]);
    let first = world.receive(PBX, dial("*78", "a"));
    assert_eq!(statuses(&first, PBX), [100]);
    let again = world.receive(PBX, dial("*78", "a"));
    assert!(statuses(&again, PBX).iter().all(|status| *status == 100));
    let sent = grant(&mut world, Ok(()));
    let ok = answer(&sent, PBX, 200);
    assert_eq!(ok.header("Content-Type").unwrap(), "application/sdp");
    assert!(ok.header("Contact").unwrap().contains("192.0.2.1:5060"));
    assert!(world.shared.codes.wishes.is_empty(), "asked once");
    // Nobody acknowledges: it is repeated, and a repeated INVITE makes no second change.
    let repeated = world.advance(1_600);
    assert_eq!(statuses(&repeated, PBX), [200, 200]);
    world.receive(PBX, dial("*78", "a"));
    assert!(world.shared.codes.wishes.is_empty());
    let sent = world.receive(PBX, within(&ok, "ACK", 1));
    let bye = find(&sent, PBX, "BYE");
    assert_eq!(bye.first_line(), format!("BYE sip:carl@{PBX} SIP/2.0"));
    assert_eq!(bye.header("From"), ok.header("To"));
    assert_eq!(bye.header("To"), ok.header("From"));
    assert!(world.receive(PBX, within(&ok, "ACK", 1)).is_empty());
    assert_eq!(find(&world.advance(600), PBX, "BYE").bytes, bye.bytes);
    world.receive(PBX, respond(&bye, "200 OK", ""));
    assert_eq!(world.engine.load().codes, 0);
    assert_eq!(world.marks("bob"), (0, 0), "it is no call");
    world.assert_drained();
}

#[test]
fn every_dialect_asks_for_the_same() {
    for (dialled, label, number) in [
        ("*78", "status_dnd", ""),
        ("%2a79", "status_available", ""),
        ("*72+491701234567", "forward_immediate", "+491701234567"),
        ("*21*0301234%23", "forward_immediate", "0301234"),
        ("%23%2321%23", "clear_immediate", ""),
        ("**61*101%23", "forward_no_answer", "101"),
        ("*33", "status_break", ""),
    ] {
        let mut world = World::new(coded(policy()), &[BOB]);
        world.receive(PBX, dial(dialled, "a"));
        let wish = take(&world);
        let (action, given) = (wish.code.action.label(), wish.code.number.clone());
        assert_eq!(
            (action.as_str(), given.as_str()),
            (label, number),
            "{dialled}"
        );
        let bob = world.shared.directory.handle_of_id("bob");
        assert_eq!(Some(wish.subscriber), bob);
    }
    let mut world = World::new(coded(policy()), &[BOB]);
    let passed = world.receive(PBX, dial("*98", "a"));
    find(&passed, PBX, "INVITE");
    let pickup = r#"{"id":"pickup","aliases":["*78"]}"#;
    let mut world = World::new(coded(policy()), &[BOB, pickup]);
    find(&world.receive(PBX, dial("*78", "a")), PBX, "INVITE");
}

#[test]
fn what_fails_says_why() {
    let mut world = World::new(coded(policy()), &[BOB]);
    let sent = world.receive(PBX, dial("*72", "a"));
    let refused = answer(&sent, PBX, 484);
    assert!(
        refused
            .header("Reason")
            .unwrap()
            .contains("number is missing")
    );
    world.receive(PBX, dial("*72900", "b"));
    let text = "900 may not be forwarded to".to_owned();
    let sent = grant(&mut world, Err((403, text)));
    let refused = answer(&sent, PBX, 403);
    assert!(refused.header("Reason").unwrap().contains("900 may not"));
    let odd = dial("*78", "c").replace("application/sdp", "text/plain");
    assert_eq!(statuses(&world.receive(PBX, odd), PBX), [100, 488]);
    let strict = dial("*78", "r").replacen("Contact:", "Require: 100rel\r\nContact:", 1);
    let refused = answer(&world.receive(PBX, strict), PBX, 420);
    assert_eq!(refused.header("Unsupported").unwrap(), "100rel");
    world.receive(PBX, dial("*78", "d"));
    let late = world.advance(9_000);
    assert!(statuses(&late, PBX).contains(&500), "{late:?}");
    world.assert_drained();
}

#[test]
fn nobody_changes_anything_who_is_not_proven_to_be_the_subscriber() {
    let mut world = World::new(coded(policy()), &[BOB]);
    let stranger = by("bob", "INVITE", "sip:*78@example.com", "a", "");
    let sent = world.receive(CALLER, stranger);
    assert_eq!(statuses(&sent, CALLER), [403], "digest is off");
    assert!(world.shared.codes.wishes.is_empty());
    let nobody = dial("*78", "b").replace("sip:bob@", "sip:zoe@");
    assert_eq!(statuses(&world.receive(PBX, nobody), PBX), [403]);
    assert!(world.shared.codes.wishes.is_empty());
    world.assert_drained();
}

#[test]
fn a_phone_proves_itself_by_digest_even_where_calls_need_not() {
    let mut world = world(coded(guarded()), &[ANNA]);
    let code = by("anna", "INVITE", "sip:*78@example.com", "a", "");
    let sent = world.receive(CALLER, &code);
    let challenge = answer(&sent, CALLER, 407);
    assert!(world.shared.codes.wishes.is_empty());
    let uri = "sip:*78@example.com";
    let proof = sign(&challenge, ("anna", "correct horse"), ("INVITE", uri));
    world.receive(CALLER, by("anna", "INVITE", uri, "a", &proof));
    let wish = take(&world);
    assert_eq!(
        Some(wish.subscriber),
        world.shared.directory.handle_of_id("anna")
    );
    assert!(matches!(wish.code.action, CodeAction::Status(_)));
}

#[test]
fn a_caller_who_hangs_up_first_is_answered_and_nothing_is_left() {
    let mut world = World::new(coded(policy()), &[BOB]);
    world.receive(PBX, dial("*78", "a"));
    let ok = answer(&grant(&mut world, Ok(())), PBX, 200);
    let sent = world.receive(PBX, within(&ok, "BYE", 2));
    assert_eq!(statuses(&sent, PBX), [200]);
    world.assert_drained();
    world.receive(PBX, dial("*78", "b"));
    let ok = answer(&grant(&mut world, Ok(())), PBX, 200);
    let silent = world.advance(40_000);
    find(&silent, PBX, "BYE");
    assert!(ok.text().contains("a=inactive"));
    world.assert_drained();
    world.receive(PBX, dial("*78", "c"));
    let uri = "sip:*78@example.com";
    let gone = cancel(uri, "c")
        .replace(CALLER, PBX)
        .replace("\"Carl\" <sip:carl@elsewhere.net>", "<sip:bob@example.com>");
    assert_eq!(statuses(&world.receive(PBX, gone), PBX), [200]);
    assert_eq!(statuses(&grant(&mut world, Ok(())), PBX), [487]);
    world.assert_drained();
}

#[test]
fn over_a_connection_everything_goes_back_over_it() {
    let mut policy = coded(policy());
    policy.listeners.push(listener(Transport::Tcp, PROXY));
    let mut world = World::new(policy, &[BOB]);
    let code = dial("*78", "a").replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    world.receive_over((7, 1), PBX, code);
    let ok = answer(&grant(&mut world, Ok(())), PBX, 200);
    assert!(ok.header("Contact").unwrap().contains("transport=tcp"));
    let acknowledged = within(&ok, "ACK", 1).replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    let sent = world.receive_over((7, 1), PBX, acknowledged);
    let bye = find(&sent, PBX, "BYE");
    assert_eq!(bye.hop, ok.hop);
    assert!(bye.header("Via").unwrap().starts_with("SIP/2.0/TCP"));
    assert!(
        world.advance(5_000).is_empty(),
        "a connection loses nothing"
    );
    world.receive_over((7, 1), PBX, respond(&bye, "200 OK", ""));
    world.assert_drained();
}
