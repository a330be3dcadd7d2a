//! What the table of names promises to the call path and to the host.

use super::*;
use smallvec::smallvec;

fn wanted(host: &str) -> Wanted {
    Wanted {
        host: host.into(),
        port: None,
        transport: None,
        is_secure: false,
    }
}

fn endpoint(text: &str) -> Endpoint {
    Endpoint {
        transport: Transport::Udp,
        address: text.parse().unwrap(),
        name: None,
    }
}

fn target((rank, priority, weight): (u16, u16, u16), address: &str) -> Target {
    Target {
        rank,
        priority,
        weight,
        endpoints: smallvec![endpoint(address)],
    }
}

fn found(names: &Names, host: &str, salt: u64, now_ms: u64) -> Vec<String> {
    match names.lookup(&wanted(host).sought(), salt, now_ms) {
        Lookup::Found(endpoints) => endpoints.iter().map(|e| e.address.to_string()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_address_needs_no_table() {
    let names = Names::default();
    assert_eq!(found(&names, "192.0.2.1", 0, 0), ["192.0.2.1:5060"]);
    assert_eq!(found(&names, "2001:db8::1", 0, 0), ["[2001:db8::1]:5060"]);
    assert!(names.is_empty() && names.take_wanted().is_none());
}

#[test]
fn many_messages_ask_for_a_name_once() {
    let names = Names::default();
    let sought = wanted("pbx.example.com");
    for host in ["pbx.example.com", "PBX.example.COM", "pbx.example.com"] {
        assert_eq!(names.lookup(&wanted(host).sought(), 0, 0), Lookup::Pending);
    }
    assert_eq!(names.take_wanted(), Some(sought.clone()));
    assert_eq!(names.take_wanted(), None);
    names.lookup(&sought.sought(), 0, ASK_AGAIN_MS);
    assert!(
        names.take_wanted().is_some(),
        "an answer that never came is asked for again"
    );
}

#[test]
fn port_transport_and_scheme_tell_names_apart() {
    let names = Names::default();
    let plain = wanted("a.example");
    let others = [
        Wanted {
            port: Some(5060),
            ..plain.clone()
        },
        Wanted {
            transport: Some(Transport::Udp),
            ..plain.clone()
        },
        Wanted {
            is_secure: true,
            ..plain.clone()
        },
    ];
    names.put(
        &plain,
        Resolved::of(smallvec![endpoint("192.0.2.1:5060")], 10),
        0,
    );
    for other in others {
        assert_eq!(
            names.lookup(&other.sought(), 0, 0),
            Lookup::Pending,
            "{other:?}"
        );
    }
}

#[test]
fn rank_goes_before_priority_and_priority_before_weight() {
    let names = Names::default();
    let targets = vec![
        target((1, 0, 100), "192.0.2.4:5060"),
        target((0, 2, 100), "192.0.2.3:5060"),
        target((0, 1, 1), "192.0.2.2:5060"),
        target((0, 0, 0), "192.0.2.1:5060"),
    ];
    names.put(
        &wanted("a.example"),
        Resolved {
            targets,
            expires_ms: 10,
        },
        0,
    );
    for salt in 0..50 {
        assert_eq!(
            found(&names, "a.example", salt, 0),
            [
                "192.0.2.1:5060",
                "192.0.2.2:5060",
                "192.0.2.3:5060",
                "192.0.2.4:5060"
            ]
        );
    }
}

#[test]
fn addresses_of_one_target_take_turns_within_their_family() {
    let names = Names::default();
    let addresses = ["192.0.2.1:5060", "192.0.2.2:5060", "[2001:db8::1]:5060"];
    let endpoints = addresses.into_iter().map(endpoint).collect();
    names.put(&wanted("a.example"), Resolved::of(endpoints, 10), 0);
    let mut first = std::collections::BTreeMap::<String, u32>::new();
    for salt in 0..1_000 {
        let order = found(&names, "a.example", salt, 0);
        assert_eq!(order[2], "[2001:db8::1]:5060");
        *first.entry(order[0].clone()).or_default() += 1;
    }
    assert!(
        first.len() == 2 && first.values().all(|n| *n > 400),
        "{first:?}"
    );
}

#[test]
fn a_name_stays_in_use_while_it_cannot_be_asked_for() {
    let names = Names::default();
    let name = wanted("a.example");
    names.put(
        &name,
        Resolved::of(smallvec![endpoint("192.0.2.1:5060")], 1_000),
        0,
    );
    found(&names, "a.example", 0, 60_000);
    assert_eq!(
        names.take_wanted(),
        Some(name.clone()),
        "too old, so it is asked for"
    );
    names.put_off(&name, 65_000, 60_000);
    assert_eq!(found(&names, "a.example", 0, 64_000), ["192.0.2.1:5060"]);
    assert!(names.take_wanted().is_none(), "not before its time");
    found(&names, "a.example", 0, 65_000);
    assert!(names.take_wanted().is_some());
}

#[test]
fn a_name_that_leads_nowhere_is_believed_for_its_time() {
    let names = Names::default();
    let name = wanted("gone.example");
    assert!(names.put(
        &name,
        Resolved {
            expires_ms: 10_000,
            ..Resolved::default()
        },
        0
    ));
    assert_eq!(names.lookup(&name.sought(), 0, 9_999), Lookup::Nothing);
    assert!(names.take_wanted().is_none());
    assert_eq!(names.lookup(&name.sought(), 0, 10_000), Lookup::Pending);
    assert!(names.take_wanted().is_some());
    let back = Resolved::of(smallvec![endpoint("192.0.2.1:5060")], 20_000);
    assert!(
        names.put(&name, back.clone(), 10_000),
        "it leads somewhere now"
    );
    assert!(
        !names.put(&name, back, 10_000),
        "and to the same place again"
    );
}

#[test]
fn a_name_in_use_is_resolved_before_it_expires_and_an_unused_one_is_not() {
    let names = Names::default();
    for host in ["used.example", "idle.example"] {
        let resolved = Resolved::of(smallvec![endpoint("192.0.2.1:5060")], 101_000);
        names.put(&wanted(host), resolved, 1_000);
    }
    // A name counts as used at the moment of its answer: somebody asked for it.
    for host in ["used.example", "idle.example"] {
        let resolved = Resolved::of(smallvec![endpoint("192.0.2.1:5060")], 102_000);
        names.put(&wanted(host), resolved, 2_000);
    }
    found(&names, "used.example", 0, 50_000);
    let expiring = |now_ms| {
        names.ask_expiring(now_ms);
        std::iter::from_fn(|| names.take_wanted()).collect::<Vec<_>>()
    };
    assert!(expiring(91_000).is_empty());
    assert_eq!(expiring(93_000), [wanted("used.example")]);
    assert!(expiring(93_001).is_empty(), "once is enough");
    assert!(!expiring(93_000 + ASK_AGAIN_MS).is_empty());
}

#[test]
fn a_full_table_forgets_what_was_not_used_for_longest() {
    let names = Names::default();
    for number in 0..NAMES_LIMIT as u64 {
        let resolved = Resolved::of(smallvec![endpoint("192.0.2.1:5060")], u64::MAX);
        names.put(&wanted(&format!("n{number}.example")), resolved, number);
    }
    found(&names, "n0.example", 0, 1_000_000);
    names.lookup(&wanted("new.example").sought(), 0, 1_000_000);
    let left = NAMES_LIMIT - NAMES_LIMIT / FORGET_SHARE;
    assert!(
        (left - 1..=left + 1).contains(&names.len()),
        "{}",
        names.len()
    );
    found(&names, "n0.example", 0, 1_000_000);
    let oldest = names.lookup(&wanted("n1.example").sought(), 0, 1_000_000);
    assert_eq!(oldest, Lookup::Pending);
}

#[test]
fn a_flood_of_names_is_bounded_and_not_kept() {
    let names = Names::default();
    for number in 0..5_000 {
        names.lookup(&wanted(&format!("n{number}.example")).sought(), 0, 0);
    }
    assert_eq!(names.len(), WANTED_LIMIT);
}
