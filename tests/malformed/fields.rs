//! A property for each class of `fixtures/malformed`: what the class has in common, for members that
//! are made up here.

use crate::letter::{Letter, VIA, any_case, space, token};
use crate::verdict::{Outcome, outcome, streamed, verdict};
use pointsman::message::{Contacts, Index, Name, NameAddr, Via};
use proptest::prelude::*;

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig::with_cases(count)
}

/// The values of a header in what was relayed.
fn values(copy: &[u8], name: Name) -> Vec<Vec<u8>> {
    let mut index = Index::new();
    let message = index.parse(copy).unwrap();
    message
        .values(name)
        .map(|value| value.bytes.to_vec())
        .collect()
}

fn length_text() -> impl Strategy<Value = (String, Option<u64>)> {
    prop_oneof![
        3 => (0u64..12).prop_map(|n| (n.to_string(), Some(n))),
        2 => (0u64..12, 1usize..30).prop_map(|(n, zeros)| (format!("{}{n}", "0".repeat(zeros)), Some(n))),
        1 => any::<u64>().prop_map(|n| (n.to_string(), Some(n))),
        1 => "[-+ ,.x0-9a-f]{0,24}".prop_map(|text| {
            let text = text.trim().to_owned();
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.then(|| text.parse().ok()).flatten();
            (text, number)
        }),
    ]
}

proptest! {
    #![proptest_config(cases(200))]

    /// content_length: relayed exactly when all are one number that the datagram holds; a stream is
    /// cut by it, waits for more, or is closed.
    #[test]
    fn lengths_agree_or_are_refused(
        lengths in prop::collection::vec((length_text(), any_case("Content-Length"), space()), 0..4),
    ) {
        let body = b"0123456789";
        let lines = lengths.iter().map(|((text, _), name, space)| format!("{name} :{space}{text}"));
        let letter = lines.fold(Letter::new("MESSAGE"), Letter::add).body(body);
        let numbers: Vec<_> = lengths.iter().map(|((_, number), ..)| *number).collect();
        let agreed = numbers.first().copied().flatten().filter(|first| {
            numbers.iter().all(|number| *number == Some(*first))
        });
        let (found, stream) = (outcome(&letter.bare()), streamed(&letter.bare()));
        match agreed {
            _ if numbers.is_empty() => {
                prop_assert!(found.copy().ends_with(body));
                prop_assert_eq!(stream, "closed: no_content_length");
            }
            Some(length) if length <= 10 => {
                let kept = &body[..length as usize];
                prop_assert!(found.copy().ends_with(&[b"\r\n\r\n", kept].concat()));
                prop_assert!(stream.starts_with("1 framed"), "{}", stream);
            }
            Some(length) => {
                prop_assert_eq!(found.text(), "400 Content-Length Exceeds Message");
                let fits = length <= 65_535 - (letter.bare().len() as u64 - 10);
                prop_assert_eq!(stream, if fits { "waits" } else { "closed: too_long" });
            }
            None => {
                prop_assert_eq!(found.status(), Some(400));
                prop_assert!(stream.starts_with("closed: "), "{}", stream);
            }
        }
    }

    /// header_names: a name of token bytes in any case with white space before its colon is relayed
    /// as it is; any other name is refused.
    #[test]
    fn names_are_tokens(name in "[-a-zA-Z0-9.!%*_+`'~ @\u{1}\u{e4}(]{1,14}", blanks in "[ \t]{0,3}") {
        let line = format!("{name}{blanks}: value");
        let is_token = name.trim_end().bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
        });
        prop_assume!(!name.trim_end().is_empty() && Name::from_bytes(name.trim_end().as_bytes()) == Name::Other);
        // A line that begins with a blank goes on with the one before it.
        let letter = Letter::new("MESSAGE").add("Subject: x").add(&line);
        let found = outcome(&letter.bytes());
        if is_token || name.starts_with(' ') {
            let copy = found.copy();
            prop_assert!(copy.windows(line.len()).any(|window| window == line.as_bytes()));
        } else {
            prop_assert_eq!(found.text(), "400 Malformed Header Line");
        }
    }

    /// header_names: a CR that ends no line is refused wherever it stands.
    #[test]
    fn a_return_alone_is_refused(which in any::<prop::sample::Index>()) {
        let mut bytes = Letter::new("MESSAGE").add("Subject: a b c").bytes();
        let end = bytes.len() - 4;
        // In front of the message it would be filler.
        let at = 1 + which.index(end - 1);
        prop_assume!(!bytes[..at].ends_with(b"\r"));
        bytes.insert(at, b'\r');
        let found = outcome(&bytes);
        prop_assert!(matches!(found, Outcome::Dropped | Outcome::Answered(400 | 505, _)), "{at}: {found:?}");
    }

    /// singletons: a second one of what is read here is refused in any spelling and place.
    #[test]
    fn two_of_one_are_refused(
        (name, spelling) in prop::sample::select(vec![
            ("From", "from"), ("From", "f"), ("To", "to"), ("To", "t"), ("Call-ID", "call-id"),
            ("Call-ID", "i"), ("CSeq", "cseq"), ("Max-Forwards", "max-forwards"),
            ("Content-Type", "content-type"), ("Content-Type", "c"), ("Expires", "expires"),
            ("Event", "event"), ("Event", "o"), ("Session-Expires", "session-expires"),
            ("Session-Expires", "x"), ("Min-SE", "min-se"), ("SIP-If-Match", "sip-if-match"),
        ]).prop_flat_map(|(name, spelling)| (Just(name), any_case(spelling))),
        blanks in "[ \t]{0,3}",
        space in space(),
        at in any::<prop::sample::Index>(),
    ) {
        let value = match name {
            "From" | "To" => "<sip:mallory@example.com>;tag=2",
            "CSeq" => "18 INVITE",
            _ => "120",
        };
        let mut letter = Letter::new("INVITE");
        if !letter.lines.iter().any(|line| line.starts_with(format!("{name}:").as_bytes())) {
            letter = letter.add(format!("{name}: 90"));
        }
        let at = at.index(letter.lines.len() + 1);
        letter.lines.insert(at, format!("{spelling}{blanks}:{space}{value}").into_bytes());
        prop_assert_eq!(outcome(&letter.bytes()).status(), Some(400));
    }

    /// max_forwards: a number from 1 to 255 is counted down; 0 is 483, anything else 400.
    #[test]
    fn hops_are_a_byte(text in prop_oneof!["[0-9]{1,4}", "0{0,20}[0-9]{1,3}", "[-+ 0-9a-z.]{0,6}"]) {
        let found = outcome(&Letter::new("INVITE").set("Max-Forwards", [&text]).bytes());
        let trimmed = text.trim();
        let digits = !trimmed.is_empty() && trimmed.bytes().all(|byte| byte.is_ascii_digit());
        match trimmed.parse::<u8>().ok().filter(|_| digits) {
            Some(0) => prop_assert_eq!(found.status(), Some(483)),
            Some(hops) => {
                let left = (hops - 1).to_string().into_bytes();
                prop_assert_eq!(values(found.copy(), Name::MaxForwards), vec![left]);
            }
            None => prop_assert_eq!(found.status(), Some(400)),
        }
    }

    /// cseq: below 2^31 and the method's own; else 400, or 501 for a method that is unknown.
    #[test]
    fn a_cseq_is_a_number_and_the_method(
        number in prop_oneof![any::<u32>().prop_map(u64::from), any::<u64>(), (1u64 << 31) - 3..(1 << 31) + 3],
        method in prop::sample::select(vec!["INVITE", "BYE", "MESSAGE", "NEWTHING"]),
        other in prop::sample::select(vec!["INVITE", "BYE", "MESSAGE", "NEWTHING", "message"]),
        space in "[ \t]{1,3}",
    ) {
        let letter = Letter::new(method).set("CSeq", [format!("{number}{space}{other}")]);
        let found = outcome(&letter.bytes());
        match (number < 1 << 31, method == other) {
            (true, true) => prop_assert!(matches!(found, Outcome::Relayed(_))),
            (true, false) if method == "NEWTHING" => prop_assert_eq!(found.status(), Some(501)),
            _ => prop_assert_eq!(found.status(), Some(400)),
        }
    }

    /// call_id: any bytes but blanks and control bytes, and not too many.
    #[test]
    fn a_call_id_is_visible_bytes(call_id in prop::collection::vec(any::<u8>(), 0..40)) {
        prop_assume!(!call_id.contains(&b'\n') && !call_id.contains(&b'\r'));
        let found = outcome(&Letter::new("MESSAGE").set("Call-ID", [&call_id]).bytes());
        let edges = |byte: &u8| !matches!(byte, b' ' | b'\t');
        let start = call_id.iter().position(edges).unwrap_or(call_id.len());
        let end = call_id.iter().rposition(edges).map_or(start, |at| at + 1);
        let inner = &call_id[start..end];
        if inner.is_empty() || inner.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
            prop_assert_eq!(found.text(), "400 Malformed Call-ID");
        } else {
            prop_assert_eq!(values_of_line(found.copy(), Name::CallId), inner);
        }
    }

    /// start_line: anything in place of the request line is relayed, refused or dropped, and what is
    /// relayed keeps its line.
    #[test]
    fn a_request_line_is_three_words(
        method in prop_oneof![Just("INVITE".to_owned()), token(), "[A-Z\t :<\u{0}]{0,6}"],
        uri in prop_oneof!["sip:[a-z;=?<> %@:]{0,12}@example.com", "[a-z]{0,4}:[ -~]{0,12}", "[ -~]{0,12}"],
        version in prop::sample::select(vec!["SIP/2.0", "sip/2.0", "SIP/3.0", "SIP/2.0 ", "HTTP/1.1", "", "SIP/"]),
    ) {
        let mut letter = Letter::new(&method);
        letter.start = format!("{method} {uri} {version}").into_bytes();
        let found = outcome(&letter.bytes());
        match &found {
            Outcome::Relayed(copy) => prop_assert!(copy.starts_with(&letter.start)),
            Outcome::Answered(status, _) => {
                let clear = [200, 400, 403, 404, 416, 481, 501, 505];
                prop_assert!(clear.contains(status), "{status}");
                prop_assert!(!uri.contains(' ') || *status == 400 || *status == 505 || *status == 501);
            }
            Outcome::Dropped => {}
        }
    }

    /// keep_alives: line ends and NULs are met with silence, before a message they are passed over.
    #[test]
    fn line_ends_are_no_message(before in "[\r\n]{0,9}", nuls in 0usize..5) {
        let filler = [before.as_bytes(), &vec![0; nuls]].concat();
        prop_assert_eq!(verdict(&filler), "keep_alive");
        prop_assert_eq!(outcome(&filler), Outcome::Dropped);
        let bytes = [before.as_bytes(), &Letter::new("MESSAGE").bytes()].concat();
        prop_assert!(matches!(outcome(&bytes), Outcome::Relayed(_)));
    }

    /// control_bytes: in a header that is not read they pass, byte for byte.
    #[test]
    fn what_is_not_read_is_not_judged(value in prop::collection::vec(any::<u8>(), 0..60)) {
        prop_assume!(!value.contains(&b'\n') && !value.contains(&b'\r'));
        let line = [b"X-Note: ".as_slice(), &value].concat();
        let found = outcome(&Letter::new("INVITE").add(&line).bytes());
        prop_assert!(found.copy().windows(line.len()).any(|window| window == line.as_slice()));
    }
}

/// The whole value of a header's only line.
fn values_of_line(copy: &[u8], name: Name) -> Vec<u8> {
    let mut index = Index::new();
    let message = index.parse(copy).unwrap();
    message.header(name).unwrap().value.to_vec()
}

fn via_element() -> impl Strategy<Value = (String, bool)> {
    let host = prop::sample::select(vec![
        "192.0.2.7",
        "a.example.net:5062",
        "[2001:db8::7]",
        "[2001:db8::7]:5062",
        "[fe80::1%eth0]",
        "x_y",
        "[::ffff:192.0.2.7]",
    ]);
    let good = (token(), host, space(), token()).prop_map(|(transport, host, space, branch)| {
        let text = format!(
            "SIP/2.0/{transport} {host}{space};{space}branch{space}={space}z9hG4bK{branch}"
        );
        (text, true)
    });
    let bad = prop::sample::select(vec![
        "",
        "SIP/2.0/UDP",
        "nonsense",
        "SIP/2.0/UDP [::1;branch=z9hG4bK1",
        "SIP/2.0/UDP 2001:db8::7",
        "SIP/2.0/UDP h:0",
        "SIP/2.0/UDP h:65536",
        "SIP/2.0/UDP ;branch=x",
        "SIP/2.0/UDP a b",
        "SIP/2.0/UDP [g::1]",
        "SIP/2.0/UDP h;branch=\"x\"",
        ";;",
    ]);
    prop_oneof![9 => good, 1 => bad.prop_map(|text| (text.to_owned(), false))]
}

proptest! {
    #![proptest_config(cases(150))]

    /// via: all of them are Vias and not too many, or the request is refused; the relayed copy has
    /// the same ones below ours.
    #[test]
    fn vias_are_kept_or_refused(
        elements in prop::collection::vec((via_element(), any::<bool>()), 0..80),
    ) {
        let mut lines = vec![VIA.to_owned()];
        for ((text, _), joined) in &elements {
            match lines.last_mut().filter(|_| *joined) {
                Some(line) => *line = format!("{line} , {text}"),
                None => lines.push(text.clone()),
            }
        }
        let found = outcome(&Letter::new("MESSAGE").set("Via", &lines).bytes());
        let too_many = elements.len() + 1 > 70;
        let all_good = elements.iter().all(|((_, good), _)| *good);
        if all_good && !too_many {
            let sent = values(found.copy(), Name::Via);
            let want: Vec<_> = elements.iter().map(|((text, _), _)| text.clone().into_bytes()).collect();
            prop_assert_eq!(&sent[2..], want.as_slice());
            let top = Via::parse(&sent[1], 0).unwrap();
            prop_assert_eq!(top.branch, b"z9hG4bK-letter");
        } else {
            prop_assert!(matches!(found.status(), Some(400 | 483)), "{found:?}");
        }
    }

    /// via: what a sender claims of its address never decides where the answer goes (`outcome`
    /// asserts that), and is overwritten in what is relayed.
    #[test]
    fn claims_of_the_sender_are_overwritten(
        claims in prop::collection::vec(prop::sample::select(vec![
            ";received=203.0.113.9", ";received=[2001:db8::1]", ";received=255.255.255.255",
            ";rport=1", ";rport", ";maddr=224.2.0.1", ";ttl=255", ";received", ";rport=x",
        ]), 0..5),
        spoil in any::<bool>(),
    ) {
        let via = format!("SIP/2.0/UDP 203.0.113.1:9999{};branch=z9hG4bK1", claims.concat());
        let letter = Letter::new("MESSAGE").set("Via", [via]);
        let letter = if spoil { letter.set("CSeq", ["x"]) } else { letter };
        match outcome(&letter.bytes()) {
            Outcome::Relayed(copy) => {
                let sent = values(&copy, Name::Via);
                let via = Via::parse(&sent[1], 0).unwrap();
                prop_assert_eq!(via.received, Some(&b"192.0.2.50"[..]));
                prop_assert!(via.rport.is_none() || via.rport == Some(Some(5070)));
            }
            found => prop_assert_eq!(found.status(), Some(400)),
        }
    }

    /// contact: a proxy passes Contacts on as they are; a registrar gets all of them, or `*` alone,
    /// or a fault.
    #[test]
    fn contacts_are_all_or_nothing(
        contacts in prop::collection::vec(prop::sample::select(vec![
            ("<sip:a@192.0.2.50>;q=0.5;expires=60", true), ("sip:b@h;colour=red", true),
            ("\"C, D\" <sip:c@h;lr?X=y>;q=1.000", true), ("<tel:+49301234>", true),
            ("sip:e@h?X=y", false), ("<>", false), ("< sip:f@h >", false), ("g <sip:g@h", false),
            ("\"h <sip:h@h>", false), ("%", false), ("<sip:i@h:99999>", false),
        ]), 1..6),
        star in 0u8..4,
    ) {
        let mut texts: Vec<_> = contacts.iter().map(|(text, _)| *text).collect();
        if star == 0 {
            texts.push("*");
        }
        let letter = Letter::to("REGISTER", "sip:example.com").set("Contact", &texts);
        let found = outcome(&letter.bytes());
        let mut index = Index::new();
        let copy = index.parse(found.copy()).unwrap();
        let sent: Vec<_> = copy.headers(Name::Contact).map(|header| header.value.to_vec()).collect();
        prop_assert_eq!(sent, texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>());
        let good = contacts.iter().all(|(_, good)| *good) && star != 0;
        match Contacts::read(&copy) {
            Ok(read) => {
                prop_assert!(good);
                prop_assert_eq!(read.iter().count(), contacts.len());
            }
            Err(_) => prop_assert!(!good),
        }
    }

    /// subscribe: any number of Accept lines below the limit, any Expires: relayed as it is.
    #[test]
    fn subscriptions_pass_as_they_are(
        accepts in 0usize..300,
        expires in prop_oneof![any::<u64>().prop_map(|n| n.to_string()), "[-a-z0-9]{0,9}"],
    ) {
        let accepts_lines = (0..accepts).map(|n| format!("Accept: application/x-{n}+xml"));
        let letter = accepts_lines.fold(Letter::new("SUBSCRIBE"), Letter::add);
        let letter = letter.add("Event: presence").set("Expires", [&expires]);
        let found = outcome(&letter.bytes());
        if accepts + 9 > 256 {
            prop_assert_eq!(found.text(), "400 Too Many Header Lines");
        } else {
            prop_assert_eq!(values(found.copy(), Name::Accept).len(), accepts);
            let mut index = Index::new();
            let copy = index.parse(found.copy()).unwrap();
            let number = expires.bytes().all(|byte| byte.is_ascii_digit());
            let number = expires.parse::<u32>().ok().filter(|_| number);
            prop_assert_eq!(copy.expires_s(), Some(number.unwrap_or(3_600)));
        }
    }

    /// authorization: up to sixteen lines of anything pass as they are.
    #[test]
    fn credentials_pass_as_they_are(
        lines in prop::collection::vec("[ -~]{0,60}", 0..24),
        name in prop::sample::select(vec!["Authorization", "Proxy-Authorization"]),
    ) {
        let texts: Vec<_> = lines.iter().map(|line| format!("{name}: {line}")).collect();
        let letter = texts.iter().fold(Letter::to("REGISTER", "sip:example.com"), Letter::add);
        let found = outcome(&letter.bytes());
        if lines.len() > 16 {
            prop_assert_eq!(found.text(), "400 Too Many Credentials");
        } else {
            let copy = String::from_utf8(found.copy().to_vec()).unwrap();
            prop_assert!(texts.iter().all(|text| copy.contains(text)));
        }
    }

    /// xml_bodies: a body is bytes to a proxy, whatever it claims to be.
    #[test]
    fn bodies_are_bytes(body in prop::collection::vec(any::<u8>(), 0..600)) {
        let letter = Letter::new("PUBLISH").add("Event: presence").add("Content-Type: application/pidf+xml");
        let found = outcome(&letter.body(&body).bytes());
        prop_assert!(found.copy().ends_with(&[b"\r\n\r\n", body.as_slice()].concat()));
    }

    /// parties: relayed exactly when it is an address with a scheme and at most one good tag.
    #[test]
    fn parties_are_addresses(
        name in prop::sample::select(vec!["From", "To"]),
        display in prop_oneof![
            Just(("", true)), Just(("\"Nora, \\\" <;tag=x\" ", true)), Just(("Nora Day ", true)),
            Just(("N\u{f6}ra ", true)), Just(("Day, Nora ", false)), Just(("\"Nora ", false)),
            Just(("a@b ", false)), Just(("\"a\"b ", false)),
        ],
        uri in prop_oneof![
            Just(("sip:x@h", true)), Just(("tel:+49", true)), Just(("urn:x:y;z", true)),
            Just(("sip:x@[::1]:5060;lr?a=b", true)), Just((" sip:x@h", false)), Just(("x@h", false)),
            Just(("sip:x y@h", false)), Just(("", false)), Just(("sip:\u{1}@h", false)),
        ],
        tags in prop::collection::vec(prop_oneof![Just("1"), Just("a.b-c"), Just(""), Just("\"x\"")], 0..3),
        space in space(),
    ) {
        let params: String = tags.iter().map(|tag| format!("{space};{space}tag{space}={space}{tag}")).collect();
        let value = format!("{}<{}>{params}", display.0, uri.0);
        let found = outcome(&Letter::new("MESSAGE").set(name, [&value]).bytes());
        let good_tags = tags.len() <= 1 && tags.iter().all(|tag| !tag.is_empty() && !tag.contains('"'));
        if display.1 && uri.1 && good_tags {
            let sent = values_of_line(found.copy(), Name::from_bytes(name.as_bytes()));
            prop_assert_eq!(NameAddr::parse(&sent).unwrap(), NameAddr::parse(value.as_bytes()).unwrap());
        } else {
            prop_assert_eq!(found.status(), Some(400), "{}", value);
        }
    }
}
