//! Each limit of the message layer: at the limit a request is relayed, one above it is refused. The
//! table in `docs/limits.md` has the same numbers.

use crate::corpus::folder;
use crate::letter::{Letter, VIA};
use crate::verdict::{Outcome, outcome};
use pointsman::message::{Frame, Framer, LARGEST_BYTES, Unframed, limits};

fn meets(at: Letter, above: Letter, refusal: &str) {
    let found = outcome(&at.bytes());
    assert!(
        matches!(found, Outcome::Relayed(_)),
        "{refusal}: {}",
        found.text()
    );
    assert_eq!(outcome(&above.bytes()).text(), refusal);
}

fn vias(count: usize) -> Letter {
    let lower = (1..count).map(|n| format!("SIP/2.0/UDP h{n};branch=z9hG4bK{n}"));
    Letter::new("MESSAGE").set("Via", std::iter::once(VIA.to_owned()).chain(lower))
}

#[test]
fn vias_end_at_their_limit_however_they_are_listed() {
    meets(
        vias(limits::VIAS),
        vias(limits::VIAS + 1),
        "483 Too Many Hops",
    );
    let joined = |letter: Letter| {
        let values: Vec<_> = letter
            .lines
            .iter()
            .filter_map(|line| line.strip_prefix(b"Via: "))
            .collect();
        let value = values.join(&b", "[..]);
        letter.clone().set("Via", [value])
    };
    meets(
        joined(vias(limits::VIAS)),
        joined(vias(limits::VIAS + 1)),
        "483 Too Many Hops",
    );
}

#[test]
fn header_lines_end_at_their_limits() {
    let lines =
        |count: usize| (7..count).fold(Letter::new("MESSAGE"), |l, n| l.add(format!("X-{n}: y")));
    meets(
        lines(limits::HEADERS),
        lines(limits::HEADERS + 1),
        "400 Too Many Header Lines",
    );
    let line = |bytes: usize| Letter::new("MESSAGE").add(format!("X: {}", "y".repeat(bytes - 5)));
    meets(
        line(limits::HEADER_BYTES),
        line(limits::HEADER_BYTES + 1),
        "400 Header Line Too Long",
    );
}

#[test]
fn a_message_ends_at_its_limit() {
    let room =
        limits::MESSAGE_BYTES - Letter::new("MESSAGE").body([b'b'; 10_000]).bytes().len() + 10_000;
    let of = |bytes: usize| Letter::new("MESSAGE").body(vec![b'b'; bytes]);
    assert_eq!(of(room).bytes().len(), limits::MESSAGE_BYTES);
    meets(of(room), of(room + 1), "513 Message Too Large");
}

#[test]
fn a_request_uri_ends_at_its_limit() {
    let uri = |bytes: usize| {
        Letter::to(
            "MESSAGE",
            &format!("sip:{}@example.com", "b".repeat(bytes - 16)),
        )
    };
    meets(
        uri(limits::URI_BYTES),
        uri(limits::URI_BYTES + 1),
        "414 Request-URI Too Long",
    );
}

#[test]
fn routes_contacts_and_credentials_end_at_their_limits() {
    let list = |name: &str, count: usize| {
        let values = (0..count).map(|n| format!("<sip:{n}@192.0.2.1:5060;lr>"));
        Letter::new("MESSAGE").set(name, [values.collect::<Vec<_>>().join(",")])
    };
    meets(
        list("Route", limits::ROUTES),
        list("Route", limits::ROUTES + 1),
        "400 Too Many Routes",
    );
    meets(
        list("Contact", limits::CONTACTS),
        list("Contact", limits::CONTACTS + 1),
        "400 Too Many Contacts",
    );
    for name in ["Authorization", "Proxy-Authorization"] {
        let lines = |count: usize| Letter::new("MESSAGE").set(name, vec!["Digest x=\"y\""; count]);
        let (at, above) = (lines(limits::CREDENTIALS), lines(limits::CREDENTIALS + 1));
        meets(at, above, "400 Too Many Credentials");
    }
}

#[test]
fn identifiers_end_at_their_limits() {
    let call_id = |bytes: usize| Letter::new("MESSAGE").set("Call-ID", ["i".repeat(bytes)]);
    meets(
        call_id(limits::CALL_ID_BYTES),
        call_id(limits::CALL_ID_BYTES + 1),
        "400 Call-ID Too Long",
    );
    for name in ["From", "To"] {
        let tag = |bytes: usize| {
            Letter::new("MESSAGE").set(name, [format!("<sip:x@h>;tag={}", "t".repeat(bytes))])
        };
        meets(
            tag(limits::TAG_BYTES),
            tag(limits::TAG_BYTES + 1),
            "400 Tag Too Long",
        );
    }
    let branch = |bytes: usize| {
        let filler = "b".repeat(bytes - 7);
        Letter::new("MESSAGE").set(
            "Via",
            [format!("SIP/2.0/UDP 192.0.2.50;branch=z9hG4bK{filler}")],
        )
    };
    meets(
        branch(limits::BRANCH_BYTES),
        branch(limits::BRANCH_BYTES + 1),
        "400 Branch Too Long",
    );
}

#[test]
fn a_stream_ends_at_the_largest_message() {
    let head = "MESSAGE sip:b@h SIP/2.0\r\nContent-Length: 65000\r\n\r\n";
    let of = |filler: usize| {
        let head = head.replacen("\r\n", &format!("\r\nX: {}\r\n", "y".repeat(filler)), 1);
        [head.as_bytes(), &[b'b'; 65_000]].concat()
    };
    let room = LARGEST_BYTES - of(0).len();
    let framed = |bytes: &[u8]| {
        let mut framer = Framer::new(LARGEST_BYTES);
        framer.push(bytes).unwrap();
        framer.next()
    };
    assert!(matches!(framed(&of(room)), Ok(Some(Frame::Message(_)))));
    assert_eq!(framed(&of(room + 1)), Err(Unframed::TooLong));
}

#[test]
fn the_documents_table_has_the_same_numbers() {
    let text = std::fs::read_to_string(folder("../docs/limits.md")).unwrap();
    for (what, limit) in [
        ("message", limits::MESSAGE_BYTES),
        ("message on a stream", LARGEST_BYTES),
        ("header lines", limits::HEADERS),
        ("one header line", limits::HEADER_BYTES),
        ("Request-URI", limits::URI_BYTES),
        ("Vias", limits::VIAS),
        ("Routes", limits::ROUTES),
        ("Contacts", limits::CONTACTS),
        ("Authorization, Proxy-Authorization", limits::CREDENTIALS),
        ("Call-ID", limits::CALL_ID_BYTES),
        ("tag", limits::TAG_BYTES),
        ("branch", limits::BRANCH_BYTES),
    ] {
        let row = text
            .lines()
            .find(|line| line.starts_with(&format!("| {what} |")));
        let cell = row
            .and_then(|row| row.split('|').nth(2))
            .unwrap_or_default();
        let number: String = cell.chars().filter(char::is_ascii_digit).collect();
        assert_eq!(number, limit.to_string(), "{what}");
    }
}
