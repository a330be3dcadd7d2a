//! Session intervals as a proxy may change them (RFC 4028 §8).

use crate::harness::*;
use pointsman::proxy::Policy;

const BOB: &str = r#"{"id":"bob","display_name":"Bob"}"#;
const URI: &str = "sip:bob@example.com";

fn with_minimum(session_min_s: u32) -> Policy {
    let mut policy = policy();
    policy.timers.session_min_s = session_min_s;
    policy
}

fn copied(policy: Policy, extra: &str) -> (Vec<String>, Vec<String>) {
    let mut world = World::new(policy, &[BOB]);
    let sent = world.receive(CALLER, request("INVITE", URI, "a", extra));
    let copy = find(&sent, PBX, "INVITE");
    (copy.headers("Session-Expires"), copy.headers("Min-SE"))
}

#[test]
fn an_interval_below_our_minimum_is_a_422_to_who_knows_timers() {
    for (minimum, asked) in [(90, 89), (300, 299)] {
        let mut world = World::new(with_minimum(minimum), &[BOB]);
        let extra = format!("Supported: 100rel, timer\r\nx: {asked};refresher=uac\r\n");
        let sent = world.receive(CALLER, request("INVITE", URI, "a", &extra));
        let refused = answer(&sent, CALLER, 422);
        assert_eq!(refused.header("Min-SE").unwrap(), minimum.to_string());
        assert_eq!(sent.len(), 1, "nothing is passed on");
        world.assert_drained();
    }
}

#[test]
fn who_knows_no_timers_gets_our_minimum_instead_of_a_422() {
    let (expires, least) = copied(with_minimum(300), "Session-Expires: 120;refresher=uac\r\n");
    assert_eq!((&*expires[0], &*least[0]), ("300;refresher=uac", "300"));
    let (expires, least) = copied(with_minimum(300), "Session-Expires: 120\r\nMin-SE: 200\r\n");
    assert_eq!((expires, least), (vec!["300".into()], vec!["300".into()]));
    let (expires, least) = copied(with_minimum(300), "Session-Expires: 120\r\nMin-SE: 400\r\n");
    assert_eq!((expires, least), (vec!["400".into()], vec!["400".into()]));
}

#[test]
fn an_interval_that_is_long_enough_stays_as_it_is() {
    let extra = "Supported: timer\r\nSession-Expires: 4000;refresher=uas\r\nMin-SE: 100\r\n";
    let (expires, least) = copied(policy(), extra);
    assert_eq!((&*expires[0], &*least[0]), ("4000;refresher=uas", "100"));
}

#[test]
fn an_interval_below_the_requests_own_minimum_is_raised_to_it() {
    let extra = "Supported: timer\r\nSession-Expires: 100\r\nMin-SE: 120\r\n";
    let (expires, least) = copied(policy(), extra);
    assert_eq!((&*expires[0], &*least[0]), ("120", "120"));
}

#[test]
fn what_we_ask_for_is_never_below_anybodys_minimum() {
    let mut policy = policy();
    policy.timers.session_expires_s = 600;
    let extra = "Supported: timer\r\nMin-SE: 900\r\n";
    assert_eq!(copied(policy.clone(), extra).0, ["900"]);
    policy.timers.session_min_s = 1_200;
    assert_eq!(copied(policy, "Supported: timer\r\n").0, ["1200"]);
}

#[test]
fn a_callee_without_timers_leaves_them_to_the_caller() {
    let mut world = World::new(policy(), &[BOB]);
    let extra = "Supported: timer\r\nSession-Expires: 300\r\n";
    let sent = world.receive(CALLER, request("INVITE", URI, "a", extra));
    let copy = find(&sent, PBX, "INVITE");
    assert_eq!(copy.headers("Session-Expires"), ["300"]);
    let sent = world.receive(PBX, respond(&copy, "200 OK", "Require: foo\r\n"));
    let ok = answer(&sent, CALLER, 200);
    assert_eq!(ok.headers("Session-Expires"), ["300;refresher=uac"]);
    assert_eq!(ok.headers("Require"), ["foo", "timer"]);
    world.advance(290_000);
    assert_eq!(world.marks("bob"), (1, 0));
    world.advance(20_000);
    assert_eq!(world.marks("bob"), (0, 0), "no refresh came");
}

#[test]
fn a_422_of_the_callee_is_the_callers_to_answer() {
    let mut world = World::new(policy(), &[BOB]);
    let extra = "Supported: timer\r\nSession-Expires: 300\r\n";
    let sent = world.receive(CALLER, request("INVITE", URI, "a", extra));
    let copy = find(&sent, PBX, "INVITE");
    let small = respond(&copy, "422 Session Interval Too Small", "Min-SE: 600\r\n");
    let refused = answer(&world.receive(PBX, small), CALLER, 422);
    assert_eq!(refused.headers("Min-SE"), ["600"]);
}
