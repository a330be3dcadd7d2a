//! responses: what answers a request of ours but is broken is dropped, never relayed, and a good one
//! after it still is.

use crate::harness::*;
use proptest::prelude::*;

/// Spoils one line of a response; `None` takes it out.
fn spoiled(response: &str, name: &str, spoil: Option<&str>) -> Vec<u8> {
    let mut lines: Vec<_> = response.split("\r\n").map(str::to_owned).collect();
    let at = lines
        .iter()
        .position(|line| line.starts_with(name))
        .unwrap();
    match spoil {
        None => drop(lines.remove(at)),
        Some(text) if text.starts_with('+') => {
            lines.insert(at + 1, format!("{name}: {}", &text[1..]))
        }
        Some(text) => lines[at] = format!("{name}: {text}"),
    }
    lines.join("\r\n").into_bytes()
}

const SPOILS: &[(&str, Option<&str>)] = &[
    ("From", None),
    ("From", Some("\"x <sip:x@h>;tag=1")),
    ("From", Some("<sip:x@h>;tag=1;tag=2")),
    ("From", Some("+<sip:x@h>;tag=9")),
    ("To", None),
    ("To", Some("<sip:x@h")),
    ("To", Some("<sip:x@h>;tag=")),
    ("To", Some("+<sip:x@h>;tag=9")),
    ("Call-ID", None),
    ("Call-ID", Some("")),
    ("Call-ID", Some("+other@h")),
    ("CSeq", None),
    ("CSeq", Some("9292394834772304023312 INVITE")),
    ("CSeq", Some("1")),
    ("CSeq", Some("1 MESSAGE")),
    ("CSeq", Some("+2 INVITE")),
    ("Via", Some("+SIP/2.0/UDP")),
    ("Via", Some("+")),
    ("Via", None),
    ("Via: SIP/2.0/UDP 192.0.2.50", None),
    ("Content-Length", Some("-1")),
    ("Content-Length", Some("9")),
    ("Content-Length", Some("0\r\nContent-Length: 5")),
    ("Contact", Some("<sip:c@h>\r\nbroken line")),
    ("Contact", Some("<sip:c@h>\rX: y")),
];

#[test]
fn a_broken_answer_is_dropped_and_a_good_one_still_counts() {
    for (name, spoil) in SPOILS {
        for status in ["180 Ringing", "200 OK", "486 Busy Here"] {
            let mut world = crate::verdict::world();
            let copy = find(
                &world.receive(CALLER, invite("sip:bob@example.com", "a")),
                PBX,
                "INVITE",
            );
            let good = respond(&copy, status, "");
            let sent = world.receive(PBX, spoiled(&good, name, *spoil));
            assert!(sent.is_empty(), "{name} {spoil:?} {status}: {sent:#?}");
            let sent = world.receive(PBX, &good);
            let code: u16 = status[..3].parse().unwrap();
            assert_eq!(statuses(&sent, CALLER), [code], "{name} {spoil:?}");
        }
    }
}

#[test]
fn what_a_response_need_not_have_right_does_not_matter() {
    for line in [
        "Date: yesterday",
        "Warning: 1812 x \"y\"",
        "Contact: ?!",
        "Retry-After: 99999999999999",
    ] {
        let mut world = crate::verdict::world();
        let copy = find(
            &world.receive(CALLER, invite("sip:bob@example.com", "a")),
            PBX,
            "INVITE",
        );
        let good = respond(&copy, "486 Busy Here", &format!("{line}\r\n"));
        let sent = answer(&world.receive(PBX, &good), CALLER, 486);
        assert!(sent.text().contains(line));
    }
}

#[test]
fn seventy_vias_come_back_with_ours() {
    let lower: String = (1..70)
        .map(|n| format!("Via: SIP/2.0/UDP h{n};branch=z9hG4bK{n}\r\n"))
        .collect();
    let request = invite("sip:bob@example.com", "a").replacen(
        "Max-Forwards",
        &format!("{lower}Max-Forwards"),
        1,
    );
    let mut world = crate::verdict::world();
    let copy = find(&world.receive(CALLER, request), PBX, "INVITE");
    assert_eq!(copy.headers("Via").len(), 71);
    let busy = answer(
        &world.receive(PBX, respond(&copy, "486 Busy Here", "")),
        CALLER,
        486,
    );
    assert_eq!(busy.headers("Via").len(), 70);
    let extra = respond(&copy, "486 Busy Here", "").replacen(
        "From:",
        "Via: SIP/2.0/UDP more;branch=z9hG4bKm\r\nFrom:",
        1,
    );
    let copy = find(
        &world.receive(CALLER, invite("sip:bob@example.com", "b")),
        PBX,
        "INVITE",
    );
    assert!(world.receive(PBX, extra).is_empty());
    drop(copy);
}

#[test]
fn the_callers_via_must_tell_transactions_apart_for_the_caller_too() {
    for (from, to) in [
        ("5070;branch=", "5070;branch;="),
        ("5070;branch=", "5070;branch=;"),
        ("5070;branch=", "5070;branch=z9hG4bK;branch="),
    ] {
        let mut world = crate::verdict::world();
        let copy = find(
            &world.receive(CALLER, invite("sip:bob@example.com", "a")),
            PBX,
            "INVITE",
        );
        let good = respond(&copy, "180 Ringing", "");
        let bad = good.replacen(from, to, 1);
        assert!(bad != good && world.receive(PBX, &bad).is_empty(), "{bad}");
        answer(&world.receive(PBX, &good), CALLER, 180);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn mutated_answers_are_relayed_whole_or_dropped(
        status in prop::sample::select(vec!["180 Ringing", "200 OK", "404 Not Found"]),
        at in any::<prop::sample::Index>(),
        cut in 0usize..3,
        insert in prop::collection::vec(any::<u8>(), 0..3),
    ) {
        let mut world = crate::verdict::world();
        let copy = find(&world.receive(CALLER, invite("sip:bob@example.com", "a")), PBX, "INVITE");
        let mut bytes = respond(&copy, status, "X-Extra: yes\r\n").into_bytes();
        let at = at.index(bytes.len());
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, insert);
        for sent in world.receive(PBX, &bytes) {
            if sent.to == address(CALLER) {
                prop_assert_eq!(crate::verdict::verdict(&sent.bytes), "ok");
            }
        }
        world.advance(400_000);
        prop_assert_eq!(world.engine.load().invites, 0);
    }
}
