//! Forwarding: redirect and retarget, voicemail, chains, loops, and what the texts say.

use crate::harness::*;
use pointsman::proxy::Policy;

const BOB_URI: &str = "sip:bob@example.com";

fn away(id: &str, action: &str) -> String {
    format!(
        r#"{{"id":"{id}","display_name":"{id}","status":"away","settings":{{"away":{{"immediate":{action}}}}}}}"#
    )
}

fn call(policy: Policy, subscribers: &[&str]) -> (World, Vec<Sent>) {
    let mut world = World::new(policy, subscribers);
    let sent = world.receive(CALLER, invite(BOB_URI, "a"));
    (world, sent)
}

#[test]
fn an_away_colleague_redirects_to_a_number() {
    let (mut world, sent) = call(policy(), &[&away("bob", r#"{"forward":"+491701234567"}"#)]);
    assert_eq!(sent.len(), 1, "a redirect is one message");
    let moved = answer(&sent, CALLER, 302);
    assert_eq!(
        moved.header("Contact").unwrap(),
        "<sip:+491701234567@example.com>"
    );
    let diversion = moved.header("Diversion").unwrap();
    assert!(
        diversion.starts_with("<sip:bob@example.com>;reason="),
        "{diversion}"
    );
    let history = moved.header("History-Info").unwrap();
    assert!(
        history.starts_with("<sip:bob@example.com>;index=1, <sip:+491701234567@example.com;cause="),
        "{history}"
    );
    assert!(history.ends_with(";index=1.1;mp=1"), "{history}");
    assert_eq!(statuses(&world.advance(600), CALLER), [302]);
    world.receive(CALLER, ack_failure(BOB_URI, "a", &moved));
    world.assert_drained();
}

#[test]
fn a_sip_target_is_used_as_it_was_set() {
    let (_, sent) = call(
        policy(),
        &[&away("bob", r#"{"forward":"sip:b@192.0.2.5:5062;x=y"}"#)],
    );
    let moved = answer(&sent, CALLER, 302);
    assert_eq!(
        moved.header("Contact").unwrap(),
        "<sip:b@192.0.2.5:5062;x=y>"
    );
}

#[test]
fn retargeting_sends_the_call_on_and_says_so() {
    let (mut world, sent) = call(
        retargeting(),
        &[&away("bob", r#"{"forward":"+491701234567"}"#)],
    );
    assert_eq!(statuses(&sent, CALLER), [100, 181]);
    let forwarded = find(&sent, PBX, "INVITE");
    assert_eq!(
        forwarded.first_line(),
        format!("INVITE sip:+491701234567@{PBX} SIP/2.0")
    );
    assert!(
        forwarded
            .header("Diversion")
            .unwrap()
            .contains("<sip:bob@example.com>;reason=")
    );
    assert!(
        forwarded
            .header("History-Info")
            .unwrap()
            .contains("index=1.1;mp=1")
    );
    let ok = answer(
        &world.receive(PBX, respond(&forwarded, "200 OK", "")),
        CALLER,
        200,
    );
    assert_eq!(
        world.marks("bob"),
        (0, 0),
        "who did not answer is not in a call"
    );
    world.receive(CALLER, in_dialog(&ok, "BYE", 2, false, ""));
    world.assert_drained();
}

#[test]
fn a_forwarded_call_marks_the_colleague_who_answers() {
    let zoe = r#"{"id":"zoe","display_name":"Zoe","aliases":["105"]}"#;
    let (mut world, sent) = call(retargeting(), &[&away("bob", r#"{"forward":"105"}"#), zoe]);
    let forwarded = find(&sent, PBX, "INVITE");
    assert_eq!(forwarded.first_line(), "INVITE sip:105@example.com SIP/2.0");
    let ok = answer(
        &world.receive(PBX, respond(&forwarded, "200 OK", "")),
        CALLER,
        200,
    );
    assert_eq!((world.marks("bob"), world.marks("zoe")), ((0, 0), (1, 0)));
    world.receive(CALLER, in_dialog(&ok, "BYE", 2, false, ""));
    world.assert_drained();
}

#[test]
fn voicemail_is_the_box_of_who_was_called_first() {
    let zoe = away("zoe", r#""voicemail""#);
    let (_, sent) = call(policy(), &[&away("bob", r#"{"forward":"zoe"}"#), &zoe]);
    let contact = answer(&sent, CALLER, 302).header("Contact").unwrap();
    assert!(
        contact.starts_with(&format!(
            "<sip:vm-bob@{VOICEMAIL};target=sip%3Abob%40example.com;cause="
        )),
        "{contact}"
    );
}

#[test]
fn a_loop_ends_in_voicemail_and_else_in_482() {
    let zoe = away("zoe", r#"{"forward":"bob"}"#);
    let bob = r#"{"id":"bob","display_name":"Bob","status":"away","settings":{
        "away":{"immediate":{"forward":"zoe"},"no_answer":"voicemail"}}}"#;
    let (_, sent) = call(policy(), &[bob, &zoe]);
    let contact = answer(&sent, CALLER, 302).header("Contact").unwrap();
    assert!(contact.contains("sip:vm-bob@"), "{contact}");
    let (_, sent) = call(policy(), &[&away("bob", r#"{"forward":"zoe"}"#), &zoe]);
    assert_eq!(statuses(&sent, CALLER), [482]);
}

#[test]
fn diversions_that_came_with_the_call_count() {
    let bob = away("bob", r#"{"forward":"+491701234567"}"#);
    let mut world = World::new(policy(), &[&bob]);
    let far = request(
        "INVITE",
        BOB_URI,
        "a",
        "Diversion: <sip:x@else.net>;reason=away;counter=5\r\n",
    );
    assert_eq!(statuses(&world.receive(CALLER, far), CALLER), [483]);
    let near = request(
        "INVITE",
        BOB_URI,
        "b",
        "Diversion: <sip:x@else.net>;reason=away;counter=4\r\n",
    );
    assert_eq!(statuses(&world.receive(CALLER, near), CALLER), [302]);
}

#[test]
fn a_diversion_is_believed_only_of_a_peer_trusted_with_it() {
    let mut policy = policy();
    policy.stranger.trust_diversion = false;
    let mut world = World::new(policy, &[&away("bob", r#"{"forward":"+491701234567"}"#)]);
    let far = request(
        "INVITE",
        BOB_URI,
        "a",
        "Diversion: <sip:x@else.net>;reason=away;counter=9\r\n",
    );
    assert_eq!(statuses(&world.receive(CALLER, far), CALLER), [302]);
}

#[test]
fn call_through_reaches_who_is_forwarded_to_the_caller() {
    let bob = away("bob", r#"{"forward":"zoe"}"#);
    let zoe = r#"{"id":"zoe","display_name":"Zoe"}"#;
    let mut world = World::new(policy(), &[&bob, zoe]);
    let from_zoe = invite(BOB_URI, "a").replace("sip:carl@elsewhere.net", "sip:zoe@example.com");
    find(&world.receive(CALLER, from_zoe), PBX, "INVITE");
}

#[test]
fn dnd_rejects_with_a_reason_in_the_configured_way() {
    let bob = r#"{"id":"bob","display_name":"Bob","status":"dnd"}"#;
    let (_, sent) = call(policy(), &[bob]);
    let rejected = answer(&sent, CALLER, 480);
    assert_eq!(
        rejected.header("Reason").unwrap(),
        r#"SIP;cause=480;text="Do Not Disturb""#
    );
    let (_, sent) = call(
        Policy {
            dnd_status: 486,
            ..policy()
        },
        &[bob],
    );
    assert_eq!(statuses(&sent, CALLER), [486]);
}

#[test]
fn a_busy_colleague_rejects_the_second_call_where_set() {
    let bob = r#"{"id":"bob","display_name":"Bob","settings":{"in_call":{"immediate":"reject"}}}"#;
    let (mut world, sent) = call(policy(), &[bob]);
    let ok = answer(
        &world.receive(PBX, respond(&find(&sent, PBX, "INVITE"), "200 OK", "")),
        CALLER,
        200,
    );
    let second = world.receive(CALLER, invite(BOB_URI, "b"));
    assert_eq!(statuses(&second, CALLER), [486]);
    world.receive(CALLER, in_dialog(&ok, "BYE", 2, false, ""));
    find(&world.receive(CALLER, invite(BOB_URI, "c")), PBX, "INVITE");
}

#[test]
fn caller_classes_are_told_apart() {
    let bob = r#"{"id":"bob","display_name":"Bob","status":"away","settings":{"away":{"immediate":
        {"internal":"connect","external":{"forward":"+491701234567"},"anonymous":"reject"}}}}"#;
    let zoe = r#"{"id":"zoe","display_name":"Zoe","aliases":["105"]}"#;
    let mut world = World::new(policy(), &[bob, zoe]);
    let from = |uri: &str, call: &str| invite(BOB_URI, call).replace("sip:carl@elsewhere.net", uri);
    find(
        &world.receive(CALLER, from("sip:105@example.com", "a")),
        PBX,
        "INVITE",
    );
    assert_eq!(
        statuses(
            &world.receive(CALLER, from("sip:105@else.net", "b")),
            CALLER
        ),
        [302]
    );
    let anonymous = world.receive(CALLER, from("sip:anonymous@anonymous.invalid", "c"));
    assert_eq!(statuses(&anonymous, CALLER), [433]);
    let asserted = request(
        "INVITE",
        BOB_URI,
        "d",
        "P-Asserted-Identity: <sip:zoe@example.com>\r\n",
    );
    find(&world.receive(CALLER, asserted), PBX, "INVITE");
}

#[test]
fn a_change_is_seen_by_the_next_invite() {
    let (mut world, sent) = call(policy(), &[r#"{"id":"bob","display_name":"Bob"}"#]);
    find(&sent, PBX, "INVITE");
    world.put(r#"{"id":"bob","display_name":"Bob","status":"dnd"}"#);
    assert_eq!(
        statuses(&world.receive(CALLER, invite(BOB_URI, "b")), CALLER),
        [480]
    );
}

#[test]
fn an_expired_status_no_longer_counts() {
    let bob = r#"{"id":"bob","display_name":"Bob","status":"dnd","until":"2026-11-23T12:05:00Z"}"#;
    let (mut world, sent) = call(policy(), &[bob]);
    assert_eq!(statuses(&sent, CALLER), [480]);
    world.advance(300_000);
    find(&world.receive(CALLER, invite(BOB_URI, "b")), PBX, "INVITE");
}

#[test]
fn a_call_that_comes_back_unchanged_is_a_loop() {
    let (mut world, sent) = call(policy(), &[r#"{"id":"bob","display_name":"Bob"}"#]);
    let copy = find(&sent, PBX, "INVITE");
    let back = copy.text().replacen(
        "Via: ",
        &format!("Via: SIP/2.0/UDP {PBX};branch=z9hG4bKb\r\nVia: "),
        1,
    );
    assert_eq!(statuses(&world.receive(PBX, back), PBX), [482]);
}
