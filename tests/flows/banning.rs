//! Those who fail are slowed down, then shut out; nobody else is.

use crate::authenticating::{ANNA, BOB, by, guarded, sign, world};
use crate::harness::*;
use pointsman::auth::BanRules;
use pointsman::engine::Source;
use pointsman::proxy::Policy;
use pointsman::proxy::policy::{Network, UnknownCallee};

const AOR: &str = "sip:anna@example.com";
const MALLORY: &str = "198.51.100.66:5060";

fn strict() -> Policy {
    let mut policy = guarded();
    policy.auth.bans = BanRules {
        failures: 10,
        window_s: 60,
        ban_s: 300,
    };
    policy
}

/// One wrong password; whether there was an answer.
fn guess(world: &mut World, from: &str, number: u32) -> bool {
    world.advance(200);
    let call = format!("guess{number}");
    let asked = by("anna", "REGISTER", AOR, &call, "").replace(CALLER, from);
    let Some(challenged) = world.receive(from, asked).pop() else {
        return false;
    };
    let signed = sign(&challenged, ("anna", &call), ("REGISTER", AOR));
    let asked = by("anna", "REGISTER", AOR, &format!("{call}b"), &signed).replace(CALLER, from);
    !world.receive(from, asked).is_empty()
}

#[test]
fn who_guesses_is_slowed_down_then_shut_out_and_let_in_again() {
    let mut world = world(strict(), &[ANNA, BOB]);
    let answered = (0..60).filter(|n| guess(&mut world, MALLORY, *n)).count();
    assert!((1..10).contains(&answered), "{answered}");
    let options = request("OPTIONS", "sip:example.com", "o", "").replace(CALLER, MALLORY);
    assert!(world.receive(MALLORY, &options).is_empty());
    assert!(
        world
            .receive(MALLORY, "OPTIONS sip:x SIP/2.0\r\nVia: x\r\n\r\n")
            .is_empty()
    );
    assert_eq!(
        world
            .receive(CALLER, request("OPTIONS", "sip:example.com", "p", ""))
            .len(),
        1
    );
    let bans = world.shared.guard.bans.list(world.now().unix_ms);
    assert_eq!(bans.len(), 1);
    assert_eq!(bans[0].source.to_string(), "198.51.100.66");
    assert_eq!(world.shared.guard.bans.news().len(), 1);
    world.advance(301_000);
    assert_eq!(world.receive(MALLORY, &options).len(), 1);
    assert!(guess(&mut world, MALLORY, 99));
}

#[test]
fn a_right_password_and_a_forgotten_one_shut_nobody_out() {
    let mut world = world(strict(), &[ANNA]);
    for n in 0..9 {
        guess(&mut world, MALLORY, n);
    }
    let asked = by("anna", "REGISTER", AOR, "a", "").replace(CALLER, MALLORY);
    world.advance(3_000);
    let challenged = answer(&world.receive(MALLORY, asked), MALLORY, 401);
    let signed = sign(&challenged, ("anna", "correct horse"), ("REGISTER", AOR));
    let asked = by("anna", "REGISTER", AOR, "b", &signed).replace(CALLER, MALLORY);
    find(&world.receive(MALLORY, asked), PBX, "REGISTER");
    world.advance(60_000);
    assert!(guess(&mut world, MALLORY, 50), "the window is over");
}

#[test]
fn asking_without_credentials_and_noise_shut_nobody_out() {
    let mut world = world(strict(), &[ANNA]);
    for n in 0..500 {
        let asked = by("anna", "REGISTER", AOR, &format!("a{n}"), "");
        assert_eq!(world.receive(CALLER, asked).len(), 1, "{n}");
        let broken = invite("sip:anna@example.com", &format!("x{n}"));
        let broken = broken.replace("CSeq: 1 INVITE", "CSeq: -1 INVITE");
        assert_eq!(world.receive(CALLER, broken).len(), 1, "{n}");
        let cut = "Authorization: Digest username=\"anna\", realm=\"example.com\r\n";
        let asked = by("anna", "REGISTER", AOR, &format!("c{n}"), cut);
        assert_eq!(world.receive(CALLER, asked).len(), 1, "{n}");
    }
    assert!(world.shared.guard.bans.is_empty());
}

#[test]
fn who_is_shut_out_is_not_told_of_overload_either() {
    let mut world = world(strict(), &[ANNA, BOB]);
    let late = |from: &str| Source {
        waited_ms: 1_000,
        ..Source::datagram(address(from), 0)
    };
    let call = |call: &str, from: &str| {
        let call = invite("sip:bob@example.com", call);
        call.replace(CALLER, from)
    };
    let refused = world.receive_by(late(MALLORY), call("before", MALLORY));
    assert_eq!(statuses(&refused, MALLORY), [503]);
    for n in 0..60 {
        guess(&mut world, MALLORY, n);
    }
    assert!(
        world
            .receive_by(late(MALLORY), call("after", MALLORY))
            .is_empty()
    );
    let refused = world.receive_by(late(CALLER), call("other", CALLER));
    assert_eq!(statuses(&refused, CALLER), [503]);
}

#[test]
fn who_tries_many_numbers_is_shut_out_and_who_misdials_is_not() {
    let policy = Policy {
        unknown_callee: UnknownCallee::Reject,
        ..strict()
    };
    let mut world = world(policy, &[ANNA]);
    let call = |world: &mut World, number: u32, n: u32, from: &str| {
        let uri = format!("sip:9{number:03}@example.com");
        let asked = invite(&uri, &format!("c{from}{n}")).replace(CALLER, from);
        let sent = world.receive(from, asked);
        sent.iter().any(|s| s.status() == Some(480))
    };
    for n in 0..200 {
        world.advance(1_000);
        assert!(call(&mut world, n % 4, n, CALLER), "{n}");
    }
    for n in 0..200 {
        let uri = format!("sip:%0{}x{}@example.com", n % 10, "a".repeat(n));
        world.receive(CALLER, invite(&uri, &format!("garbage{n}")));
    }
    assert!(
        !world
            .shared
            .guard
            .bans
            .is_banned(address(CALLER).ip(), world.now().unix_ms)
    );
    for n in 0..40 {
        call(&mut world, n, n, MALLORY);
    }
    let bans = world.shared.guard.bans.list(world.now().unix_ms);
    assert_eq!(bans.len(), 1);
    assert!(!call(&mut world, 77, 77, MALLORY));
}

#[test]
fn a_call_in_progress_goes_on_although_its_side_is_shut_out() {
    let mut world = world(strict(), &[ANNA, BOB]);
    let call = invite("sip:bob@example.com", "call").replace(CALLER, MALLORY);
    let copy = find(&world.receive(MALLORY, call), PBX, "INVITE");
    let ok = answer(
        &world.receive(PBX, respond(&copy, "200 OK", "")),
        MALLORY,
        200,
    );
    for n in 0..60 {
        guess(&mut world, MALLORY, n);
    }
    assert_eq!(world.shared.guard.bans.list(world.now().unix_ms).len(), 1);
    let bye = in_dialog(&ok, "BYE", 2, false, "").replace(CALLER, MALLORY);
    let bye = find(&world.receive(MALLORY, bye), PBX, "BYE");
    let done = world.receive(PBX, respond(&bye, "200 OK", ""));
    assert_eq!(statuses(&done, MALLORY), [200]);
    world.assert_drained();
}

#[test]
fn who_is_never_banned_is_not_even_slowed_down() {
    let mut policy = strict();
    policy.never_ban.push(Network {
        base: "198.51.100.0".parse().unwrap(),
        prefix: 24,
    });
    let mut world = world(policy, &[ANNA]);
    assert!((0..100).all(|n| guess(&mut world, MALLORY, n)));
    assert!(world.shared.guard.bans.is_empty());
}
