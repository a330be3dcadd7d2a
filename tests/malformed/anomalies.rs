//! Thousands of INVITEs with an odd value in every field, as the test suites that break SIP servers
//! make them: each is relayed untouched, refused with a clear status or dropped, the next good call
//! goes through, and nothing is left.

use crate::harness::*;
use crate::letter::Letter;
use crate::verdict::{Outcome, outcome_in, world};
use pointsman::message::{Index, Name};

/// What takes a field's place, or a part of it.
#[expect(clippy::too_many_lines, reason = "a table of values")]
fn oddities() -> Vec<Vec<u8>> {
    let mut odd: Vec<Vec<u8>> = Vec::new();
    for byte in *b"aA0 :;,<>\"\\%@[]()/=?&\t\x00\x01\x7f\xff" {
        for count in [1, 2, 31, 257, 1_025, 5_000] {
            odd.push(vec![byte; count]);
        }
    }
    for text in [
        "",
        "%s%s%s%s",
        "%n%n%n%n",
        "%.9999d",
        "%x%x",
        "%00",
        "%",
        "%%",
        "%2",
        "%zz",
        "-1",
        "0",
        "+1",
        "2147483647",
        "2147483648",
        "4294967295",
        "4294967296",
        "18446744073709551616",
        "-2147483649",
        "0x41",
        "1e9",
        "NaN",
        "1.5",
        "999999999999999999999999999999",
        "\r\n ",
        "\r\n\t\r\n ",
        "\r",
        "\n ",
        "\u{feff}",
        "\u{202e}x",
        "caf\u{e9}",
        "../../etc/passwd",
        "';DROP TABLE x;--",
        "<script>",
        "${7*7}",
        "sip:",
        "sip:@",
        "sip::",
        "sip:a@",
        "sip:@b",
        "sip:a@b:",
        "sip:a@b:99999",
        "sip:[",
        "sip:[]",
        "sip:]",
        "sip:a@[::1",
        "sip:a@[::1]:",
        "sip:a@::1",
        "sip:a:b:c@d",
        "tel:",
        "tel:+",
        "urn:",
        "::::",
        "a:b",
        "SIP/2.0",
        "SIP/2.0/UDP",
        "SIP/2.0/UDP h;branch",
        "SIP/2.0/UDP h;branch=",
        "SIP/-1.0/UDP h",
        "INVITE",
        "1 INVITE",
        "1 invite",
        "INVITE 1",
        "*",
        "*,*",
        "\"",
        "\\\"",
        "\"\\",
        "\"a\\\" <sip:a@b>",
        "<",
        ">",
        "<>",
        "<<sip:a@b>>",
        "<sip:a@b>;tag",
        "<sip:a@b>;tag=;tag=",
        "<sip:a@b>;=x",
        ";;;;",
        ",,,,",
        "\u{0}\u{0}\u{0}\u{0}",
        "a\u{0}b",
    ] {
        odd.push(text.as_bytes().to_vec());
    }
    odd.push(b"\xc0\x80\xe0\x80\xaf\xfe\xff".to_vec());
    odd.push(b"(((((".repeat(800));
    odd.push(b"<sip:a@b>,".repeat(400));
    odd.push(b";a=b".repeat(900));
    odd
}

const FIELDS: &[(&str, &str)] = &[
    ("Via", "SIP/2.0/UDP 192.0.2.50:5070;branch=z9hG4bK-odd"),
    ("From", "\"Nora\" <sip:nora@elsewhere.net>;tag=n0ra"),
    ("To", "\"Bob\" <sip:bob@example.com>"),
    ("Call-ID", "c0ffee@192.0.2.50"),
    ("CSeq", "17 INVITE"),
    ("Max-Forwards", "70"),
    ("Contact", "<sip:nora@192.0.2.50:5070>;q=1"),
    ("Route", "<sip:192.0.2.1:5060;lr>"),
    ("Record-Route", "<sip:192.0.2.60;lr>"),
    ("Content-Type", "application/sdp"),
    ("Content-Disposition", "session;handling=required"),
    ("Expires", "120"),
    ("Date", "Thu, 05 Nov 2026 12:00:00 GMT"),
    ("User-Agent", "Phone/1.0 (x)"),
    ("Supported", "100rel, timer"),
    ("Require", "100rel"),
    ("Proxy-Require", "sec-agree"),
    ("Min-SE", "90"),
    ("Privacy", "id"),
    ("P-Asserted-Identity", "<sip:nora@elsewhere.net>"),
    ("Diversion", "<sip:x@h>;reason=no-answer;counter=1"),
    ("History-Info", "<sip:x@h>;index=1.1"),
    ("Priority", "normal"),
    ("Reason", "SIP;cause=200;text=\"x\""),
    ("Replaces", "a@b;to-tag=1;from-tag=2"),
    ("Authorization", "Digest username=\"nora\", nonce=\"1\""),
    (
        "Proxy-Authorization",
        "Digest username=\"nora\", nonce=\"1\"",
    ),
    ("Subject", "hello"),
    ("X-Unknown", "anything"),
];

/// The value with an oddity in place of all of it, before it, after it and within it.
fn spoiled(value: &str, odd: &[u8]) -> [Vec<u8>; 4] {
    let (head, tail) = value.as_bytes().split_at(value.len() / 2);
    [
        odd.to_vec(),
        [odd, value.as_bytes()].concat(),
        [value.as_bytes(), odd].concat(),
        [head, odd, tail].concat(),
    ]
}

/// A letter that is no retransmission of another.
fn unique(method: &str, number: usize) -> Letter {
    let via = format!("SIP/2.0/UDP 192.0.2.50:5070;branch=z9hG4bK-odd{number}");
    let letter = Letter::new(method).set("Via", [via]);
    letter.set("Call-ID", [format!("odd{number}@h")])
}

fn is_clear(found: &Outcome, letter: &Letter) -> bool {
    match found {
        Outcome::Answered(status, reason) => {
            matches!(
                status,
                400 | 403 | 404 | 414 | 416 | 420 | 481..=483 | 501 | 505 | 513
            ) && !reason.is_empty()
        }
        Outcome::Relayed(copy) => holds_lines(copy, letter),
        Outcome::Dropped => false,
    }
}

/// Whether the copy has all lines that a proxy leaves alone.
fn holds_lines(copy: &[u8], letter: &Letter) -> bool {
    let edited = [
        "Via: ",
        "Max-Forwards: ",
        "Route: ",
        "Diversion: ",
        "History-Info: ",
    ];
    let mut lines = letter
        .lines
        .iter()
        .filter(|line| !edited.iter().any(|name| line.starts_with(name.as_bytes())));
    lines.all(|line| memchr::memmem::find(copy, line).is_some())
}

/// A good call goes through, whatever came before it.
fn lives(world: &mut World, number: usize) {
    let call = format!("good{number}");
    let copy = find(
        &world.receive(CALLER, invite("sip:bob@example.com", &call)),
        PBX,
        "INVITE",
    );
    let sent = world.receive(PBX, respond(&copy, "486 Busy Here", ""));
    assert_eq!(statuses(&sent, CALLER), [486]);
}

#[test]
fn an_odd_value_in_any_field_meets_a_clear_answer() {
    let (oddities, mut world, mut count) = (oddities(), world(), 0);
    for (name, value) in FIELDS {
        for odd in &oddities {
            for spoiled in spoiled(value, odd) {
                count += 1;
                let letter = unique("INVITE", count);
                let letter = letter.set(name, [&spoiled]);
                let found = outcome_in(&mut world, &letter.bytes());
                let shown = String::from_utf8_lossy(&spoiled[..spoiled.len().min(60)]).into_owned();
                // A value that ends the line and begins another one is another message.
                let is_one = Index::new()
                    .parse(&letter.bytes())
                    .is_ok_and(|message| message.count(Name::ContentLength) == 1);
                assert!(
                    is_clear(&found, &letter) || !is_one,
                    "{name}: {shown:?}: {found:?}"
                );
            }
        }
        lives(&mut world, count);
        world.advance(400_000);
    }
    assert!(count > 10_000);
    world.assert_drained();
}

#[test]
fn an_odd_start_line_meets_a_clear_answer() {
    let mut world = world();
    for (number, odd) in oddities().iter().enumerate() {
        for (place, spoiled) in spoiled("INVITE sip:bob@example.com SIP/2.0", odd)
            .into_iter()
            .enumerate()
        {
            let mut letter = unique("INVITE", number * 4 + place);
            letter.start = spoiled;
            let found = outcome_in(&mut world, &letter.bytes());
            let is_silent = found == Outcome::Dropped;
            assert!(is_silent || is_clear(&found, &letter) || found.status() == Some(200));
        }
        if number % 50 == 0 {
            lives(&mut world, number);
            world.advance(400_000);
        }
    }
    world.assert_drained();
}
