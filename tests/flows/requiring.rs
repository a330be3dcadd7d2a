//! What requests require, what we say that we can do, and how hops are counted at the end.

use crate::harness::*;

const BOB: &str = r#"{"id":"bob","display_name":"Bob"}"#;
const URI: &str = "sip:bob@example.com";
const OURSELVES: &str = "sip:192.0.2.1:5060";

#[test]
fn a_420_names_only_what_is_not_supported() {
    let mut world = World::new(policy(), &[BOB]);
    let extra = "Proxy-Require: privacy, magic\r\nProxy-Require: more\r\n";
    let refused = answer(
        &world.receive(CALLER, request("INVITE", URI, "a", extra)),
        CALLER,
        420,
    );
    assert_eq!(refused.headers("Unsupported"), ["magic, more"]);
    let extra = "Proxy-Require: Privacy\r\nPrivacy: id\r\n";
    let copy = find(
        &world.receive(CALLER, request("INVITE", URI, "b", extra)),
        PBX,
        "INVITE",
    );
    assert_eq!(copy.headers("Proxy-Require"), ["Privacy"]);
}

#[test]
fn require_is_for_the_recipient_and_passed_on() {
    let mut world = World::new(policy(), &[BOB]);
    let extra = "Require: 100rel, magic\r\n";
    let copy = find(
        &world.receive(CALLER, request("INVITE", URI, "a", extra)),
        PBX,
        "INVITE",
    );
    assert_eq!(copy.headers("Require"), ["100rel, magic"]);
    let sent = world.receive(CALLER, request("OPTIONS", OURSELVES, "b", extra));
    let refused = answer(&sent, CALLER, 420);
    assert_eq!(refused.headers("Unsupported"), ["100rel, magic"]);
}

#[test]
fn what_an_ack_or_cancel_requires_is_ignored() {
    let mut world = World::new(policy(), &[BOB]);
    let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    world.receive(PBX, respond(&copy, "180 Ringing", ""));
    let demand = "Max-Forwards: 70\r\nRequire: magic\r\nProxy-Require: magic\r\n";
    let cancel = cancel(URI, "a").replace("Max-Forwards: 70\r\n", demand);
    let sent = world.receive(CALLER, cancel);
    assert_eq!(statuses(&sent, CALLER), [200]);
    find(&sent, PBX, "CANCEL");
    let ok = answer(
        &world.receive(PBX, respond(&copy, "200 OK", "")),
        CALLER,
        200,
    );
    let ack = in_dialog(&ok, "ACK", 1, false, "").replace("Max-Forwards: 70\r\n", demand);
    find(&world.receive(CALLER, ack), PBX, "ACK");
}

#[test]
fn options_tell_what_we_can_do() {
    let mut world = World::new(policy(), &[]);
    let sent = world.receive(CALLER, request("OPTIONS", OURSELVES, "a", ""));
    let told = answer(&sent, CALLER, 200);
    for (name, part) in [
        ("Allow", "INVITE, ACK, CANCEL, BYE"),
        ("Accept", "application/sdp"),
        ("Accept-Encoding", "identity"),
        ("Accept-Language", "en"),
        ("Supported", "timer, histinfo"),
        ("Content-Length", "0"),
    ] {
        let value = told.header(name).unwrap_or_default();
        assert!(value.contains(part), "{name}: {value}");
    }
    assert!(told.header("To").unwrap().contains(";tag="));
}

#[test]
fn the_last_hop_counts_only_for_what_is_passed_on() {
    let mut world = World::new(policy(), &[BOB]);
    let last =
        |method: &str, uri: &str| request(method, uri, method, "").replace("rds: 70", "rds: 0");
    let sent = world.receive(CALLER, last("OPTIONS", OURSELVES));
    assert_eq!(statuses(&sent, CALLER), [200], "it is for us");
    for (method, uri) in [
        ("MESSAGE", URI),
        ("INVITE", URI),
        ("SUBSCRIBE", "sip:x@elsewhere.net"),
    ] {
        let sent = world.receive(CALLER, last(method, uri));
        assert_eq!(statuses(&sent, CALLER), [483], "{method}");
    }
}

#[test]
fn a_100_gives_the_timestamp_back_and_has_no_tag() {
    let mut world = World::new(policy(), &[BOB]);
    let sent = world.receive(CALLER, request("INVITE", URI, "a", "Timestamp: 54.21\r\n"));
    let trying = answer(&sent, CALLER, 100);
    assert_eq!(trying.headers("Timestamp"), ["54.21"]);
    assert!(!trying.header("To").unwrap().contains("tag="));
    assert_eq!(trying.header("Content-Length").unwrap(), "0");
}

#[test]
fn a_request_other_than_invite_gets_a_100_only_when_it_waits_for_long() {
    let mut world = World::new(policy(), &[BOB]);
    let message = request("MESSAGE", URI, "a", "");
    let copy = find(&world.receive(CALLER, &message), PBX, "MESSAGE");
    assert!(
        world
            .receive(PBX, respond(&copy, "100 Trying", ""))
            .is_empty()
    );
    assert!(
        world
            .receive(PBX, respond(&copy, "183 Progress", ""))
            .is_empty(),
        "RFC 4320 §4.1: no other provisional at all"
    );
    assert_eq!(statuses(&world.advance(3_499), CALLER), [0; 0]);
    assert_eq!(statuses(&world.advance(2), CALLER), [100]);
    assert_eq!(statuses(&world.receive(CALLER, &message), CALLER), [100]);
    let sent = world.receive(PBX, respond(&copy, "200 OK", ""));
    assert_eq!(statuses(&sent, CALLER), [200]);
    world.assert_drained();
}

#[test]
fn a_request_other_than_invite_is_never_answered_408_nor_late() {
    let mut world = World::new(policy(), &[BOB]);
    let copy = find(
        &world.receive(CALLER, request("MESSAGE", URI, "a", "")),
        PBX,
        "MESSAGE",
    );
    let sent = world.receive(PBX, respond(&copy, "408 Request Timeout", ""));
    assert!(sent.is_empty());
    let copy = find(
        &world.receive(CALLER, request("MESSAGE", URI, "b", "")),
        PBX,
        "MESSAGE",
    );
    let sent = world.advance(40_000);
    assert_eq!(statuses(&sent, CALLER), [100], "a 100 and no 408");
    let late = world.receive(PBX, respond(&copy, "200 OK", ""));
    assert!(late.is_empty(), "RFC 4320 §4.2");
    world.assert_drained();
}

#[test]
fn the_reason_of_a_cancel_is_carried_along() {
    let mut world = World::new(policy(), &[BOB]);
    let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    let reason = "Reason: SIP ;cause=600 ;text=\"Busy Everywhere\"\r\nReason: Q.850;cause=17\r\n";
    let cancel = cancel(URI, "a").replace("Content-Length", &format!("{reason}Content-Length"));
    world.receive(CALLER, cancel);
    let sent = world.receive(PBX, respond(&copy, "100 Trying", ""));
    let onward = find(&sent, PBX, "CANCEL");
    assert_eq!(
        onward.headers("Reason"),
        ["SIP ;cause=600 ;text=\"Busy Everywhere\"", "Q.850;cause=17"]
    );
    world.receive(PBX, respond(&copy, "487 Request Terminated", ""));
    world.assert_drained();
}

#[test]
fn a_provisional_after_the_cancel_is_still_passed_on() {
    let mut world = World::new(policy(), &[BOB]);
    let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    world.receive(CALLER, cancel(URI, "a"));
    let sent = world.receive(PBX, respond(&copy, "183 Session Progress", ""));
    assert_eq!(statuses(&sent, CALLER), [183], "RFC 3261 §16.7(5)");
    world.receive(PBX, respond(&copy, "487 Request Terminated", ""));
    world.assert_drained();
}

#[test]
fn timer_c_without_any_answer_is_a_408() {
    let mut policy = policy();
    policy.timers.timer_c = 5_000;
    let mut world = World::new(policy, &[BOB]);
    find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    let sent = world.advance(5_100);
    assert_eq!(statuses(&sent, CALLER), [408], "RFC 3261 §16.8");
    assert!(sent.iter().all(|s| s.method().as_deref() != Some("CANCEL")));
    world.assert_drained();
}

#[test]
fn whoever_may_make_a_dialog_finds_us_in_its_route() {
    let mut world = World::new(policy(), &[BOB]);
    for (method, is_recorded) in [
        ("INVITE", true),
        ("SUBSCRIBE", true),
        ("NOTIFY", true),
        ("REFER", true),
        ("FROBNICATE", true),
        ("MESSAGE", false),
        ("PUBLISH", false),
    ] {
        let sent = world.receive(CALLER, request(method, URI, method, ""));
        let copy = find(&sent, PBX, method);
        assert_eq!(
            copy.header("Record-Route").is_some(),
            is_recorded,
            "{method}"
        );
    }
}

#[test]
fn a_maddr_that_is_ours_has_done_its_work() {
    let mut world = World::new(policy(), &[BOB]);
    let uri = "sip:bob@example.com:5060;maddr=192.0.2.1;transport=udp;x=y";
    let copy = find(&world.receive(CALLER, invite(uri, "a")), PBX, "INVITE");
    assert_eq!(copy.first_line(), "INVITE sip:bob@example.com;x=y SIP/2.0");
    let outward = "sip:bob@203.0.113.9:5060;maddr=192.0.2.1";
    let call = invite(outward, "b").replace(CALLER, PBX);
    let copy = find(&world.receive(PBX, call), "203.0.113.9:5060", "INVITE");
    assert_eq!(copy.first_line(), "INVITE sip:bob@203.0.113.9 SIP/2.0");
}

#[test]
fn a_foreign_maddr_is_the_only_target_and_only_for_those_we_know() {
    let mut world = World::new(policy(), &[BOB]);
    let uri = "sip:bob@example.com;maddr=203.0.113.9";
    assert_eq!(
        statuses(&world.receive(CALLER, invite(uri, "a")), CALLER),
        [403]
    );
    let call = invite(uri, "b").replace(CALLER, PBX);
    let copy = find(&world.receive(PBX, call), "203.0.113.9:5060", "INVITE");
    assert_eq!(copy.first_line(), format!("INVITE {uri} SIP/2.0"));
}

#[test]
fn a_response_whose_via_is_not_ours_is_dropped() {
    let mut world = World::new(policy(), &[BOB]);
    let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    let ringing = respond(&copy, "180 Ringing", "");
    let foreign = ringing.replacen(PROXY, "192.0.2.99:5060", 1);
    assert!(world.receive(PBX, foreign).is_empty(), "RFC 3261 §18.1.2");
    assert_eq!(statuses(&world.receive(PBX, ringing), CALLER), [180]);
}

#[test]
fn early_dialogs_of_a_fork_each_have_their_prack_and_update() {
    let mut world = World::new(policy(), &[BOB]);
    let sent = world.receive(CALLER, request("INVITE", URI, "a", "Supported: 100rel\r\n"));
    let copy = find(&sent, PBX, "INVITE");
    let reliable = "Require: 100rel\r\nRSeq: 1\r\n";
    for (cseq, tag) in [(2, "one"), (12, "two")] {
        let ringing =
            respond(&copy, "180 Ringing", reliable).replace("tag=callee", &format!("tag={tag}"));
        let ringing = answer(&world.receive(PBX, ringing), CALLER, 180);
        assert_eq!(ringing.headers("RSeq"), ["1"]);
        assert!(ringing.header("To").unwrap().ends_with(tag));
        for (cseq, method) in [(cseq, "PRACK"), (cseq + 1, "UPDATE")] {
            let extra = "RAck: 1 1 INVITE\r\n";
            let request = in_dialog(&ringing, method, cseq, false, extra);
            let passed = find(&world.receive(CALLER, request), PBX, method);
            assert!(passed.header("To").unwrap().ends_with(tag), "{method}");
            assert_eq!(passed.headers("RAck"), ["1 1 INVITE"]);
            let back = world.receive(PBX, respond(&passed, "200 OK", ""));
            assert_eq!(statuses(&back, CALLER), [200]);
        }
    }
    world.receive(PBX, respond(&copy, "486 Busy Here", ""));
    world.assert_drained();
}
