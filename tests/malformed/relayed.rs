//! What is relayed is the same outside the edits, end to end: request and response, whatever a proxy
//! does not understand (RFC 3261 §16.6, §16.7).

use crate::harness::*;
use crate::letter::{any_case, space, token};
use proptest::prelude::*;

/// One header line that no proxy edits, odd in as many ways as are legal.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        token().prop_map(|name| format!("X-{name}")),
        prop::sample::select(vec![
            "Subject",
            "s",
            "k",
            "Supported",
            "Allow",
            "m",
            "Contact",
            "User-Agent",
            "Date",
            "c",
            "Content-Type",
            "e",
            "P-Charging-Vector",
            "Record-Route",
            "Geolocation",
            "y",
        ])
        .prop_flat_map(any_case),
    ];
    let piece = prop_oneof![
        "[ -~]{0,20}".prop_map(String::into_bytes),
        prop::collection::vec(0x80u8..=0xff, 0..6),
        Just(b"\r\n folded".to_vec()),
        Just(b"\r\n\t".to_vec()),
        Just("\u{65e5}\u{672c}".as_bytes().to_vec()),
        Just(b"<sip:[2001:db8::1]:5062;lr>;q=0.7".to_vec()),
        Just(b"<tel:+49-30-1234;phone-context=x>".to_vec()),
        Just(b"\"q \\\" , ;\" <urn:service:sos>".to_vec()),
    ];
    let value = prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat());
    (name, "[ \t]{0,2}", space(), value).prop_map(|(name, blanks, space, value)| {
        [
            name.as_bytes(),
            blanks.as_bytes(),
            b":",
            space.as_bytes(),
            &value,
        ]
        .concat()
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 0..400),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(|part| {
            [
                b"--x\r\nContent-Type: image/png\r\n\r\n".as_slice(),
                &part,
                b"\r\n--x--\r\n",
            ]
            .concat()
        }),
        Just(b"INVITE sip:x@y SIP/2.0\r\nVia: z\r\n\r\n".to_vec()),
    ]
}

/// Keeps what is read here to one line each.
fn singly(lines: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let is_type = |line: &Vec<u8>| {
        let name = line
            .split(|byte| *byte == b':')
            .next()
            .unwrap()
            .trim_ascii();
        name.eq_ignore_ascii_case(b"content-type") || name.eq_ignore_ascii_case(b"c")
    };
    let mut seen = false;
    lines
        .into_iter()
        .filter(|line| !is_type(line) || !std::mem::replace(&mut seen, true))
        .collect()
}

fn joined(lines: &[Vec<u8>]) -> Vec<u8> {
    let whole = lines.iter().map(|line| [line, b"\r\n".as_slice()].concat());
    whole.collect::<Vec<_>>().concat()
}

fn method() -> impl Strategy<Value = String> {
    let known = [
        "INVITE",
        "MESSAGE",
        "SUBSCRIBE",
        "REFER",
        "UPDATE",
        "invite",
    ];
    prop_oneof![
        prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        token()
    ]
    .prop_filter("those have rules of their own", |method| {
        !["ACK", "CANCEL", "OPTIONS"].contains(&method.as_str())
    })
}

struct Parts {
    before: Vec<u8>,
    after: Vec<u8>,
    body: Vec<u8>,
    from: String,
}

/// A request whose Max-Forwards stands between two groups of lines.
fn request(method: &str, parts: &Parts) -> Vec<u8> {
    let head = format!(
        "{method} sip:bob@example.com;x=%41 SIP/2.0\r\nVia : SIP / 2.0 / UDP {CALLER};branch=z9hG4bKr\r\n\
         v: SIP/2.0/TCP [2001:db8::7];branch=z9hG4bKlow;received=::1 , SIP/2.0/UDP h\r\n"
    );
    let rest = format!(
        "{}\r\nTo: <sip:bob@example.com>\r\nI : relayed@h\r\ncseq :\t0007  {method}\r\n",
        parts.from
    );
    let length = format!("L :{}\r\n\r\n", parts.body.len());
    [
        head.as_bytes(),
        &parts.before,
        b"Max-Forwards:  0042 \r\n",
        rest.as_bytes(),
        &parts.after,
        length.as_bytes(),
        &parts.body,
    ]
    .concat()
}

fn ends_with(whole: &[u8], end: &[u8]) -> bool {
    whole.ends_with(end)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn requests_and_responses_keep_every_byte_outside_the_edits(
        method in method(),
        before in prop::collection::vec(line(), 0..5),
        after in prop::collection::vec(line(), 0..5),
        back in prop::collection::vec(line(), 0..5),
        body in body(),
        answer_body in body(),
        from in prop::sample::select(vec![
            "From: \"N\u{f6}ra \\\"\" <sip:n%20ra@[2001:db8::7]>;tag=1", "f : <tel:+4930;ext=7>;tag=a%b;x=\"y;z\"",
            "FROM: N\u{f6}ra <urn:x:y>\r\n\t;tag=1", "f:sip:n@h;tag=1;unknown",
        ]),
        reason in "[ -~\u{e9}\u{65e5}]{0,30}",
    ) {
        let (before, after) = {
            let count = before.len();
            let all = singly([before, after].concat());
            let (before, after) = all.split_at(count.min(all.len()));
            (joined(before), joined(after))
        };
        let parts = Parts { before, after, body, from: from.to_owned() };
        let mut world = crate::verdict::world();
        let sent = world.receive(CALLER, request(&method, &parts));
        let copy = find(&sent, PBX, &method);

        // The start line, our lines, then the Vias with our stamp, then all the rest but the count.
        let first = format!("{method} sip:bob@example.com;x=%41 SIP/2.0\r\nVia: ");
        prop_assert!(copy.bytes.starts_with(first.as_bytes()));
        let rest = request(&method, &parts);
        let low = memchr::memmem::find(&rest, b"v: SIP/2.0/TCP").unwrap();
        let mut want = rest[low..].to_vec();
        let count = memchr::memmem::find(&want, b"Max-Forwards:  0042 \r\n").unwrap();
        want.splice(count..count + 22, *b"Max-Forwards:  41 \r\n");
        prop_assert!(ends_with(&copy.bytes, &want), "{}", copy.text());

        let back = singly(back);
        let head = format!("SIP/2.0 299 {reason}\r\n");
        let vias = &copy.bytes[copy.bytes.windows(5).position(|w| w == b"Via: ").unwrap()..];
        let vias = &vias[..memchr::memmem::find(vias, b"v: SIP/2.0/TCP").unwrap()];
        let vias: Vec<_> = vias.split_inclusive(|byte| *byte == b'\n').collect();
        let ours = vias[0];
        let theirs = vias.iter().find(|line| line.starts_with(b"Via : ")).unwrap();
        let tail = [
            b"v: SIP/2.0/TCP [2001:db8::7];branch=z9hG4bKlow;received=::1 , SIP/2.0/UDP h\r\n".as_slice(),
            parts.from.as_bytes(),
            b"\r\nTo: <sip:bob@example.com>;tag=b\r\nI : relayed@h\r\ncseq :\t0007  ",
            method.as_bytes(),
            b"\r\n",
            &joined(&back),
            format!("L :{}\r\n\r\n", answer_body.len()).as_bytes(),
            &answer_body,
        ]
        .concat();
        let answer = [head.as_bytes(), ours, theirs, &tail].concat();
        let sent = world.receive(PBX, &answer);
        let back = sent.iter().find(|sent| sent.to == address(CALLER)).unwrap();
        prop_assert_eq!(&back.bytes, &[head.as_bytes(), theirs, &tail].concat());
    }
}
