//! What a stranger found who tried the built program with messages of their own.

use crate::harness::*;

const BOB: &str = r#"{"id":"bob","display_name":"Bob","aliases":["102"]}"#;
const URI: &str = "sip:bob@example.com";

fn world() -> World {
    World::new(policy(), &[BOB])
}

#[test]
fn a_header_without_a_value_is_rewritten_in_its_own_line() {
    for blanks in ["", " ", "\t", " \r\n "] {
        let extra = format!("Max-Breadth:{blanks}\r\nSubject: hello\r\n");
        let sent = world().receive(CALLER, request("INVITE", URI, "a", &extra));
        let copy = find(&sent, PBX, "INVITE");
        assert_eq!(copy.header("Subject").unwrap(), "hello", "{}", copy.text());
        assert!(copy.header("Max-Breadth").unwrap().starts_with("60"));
    }
}

#[test]
fn an_address_of_record_must_be_a_sip_uri_or_a_number() {
    let mut world = World::new(registering(), &[BOB]);
    for (n, (to, status)) in [
        ("isbn:2983792873", 400),
        ("urn:service:sos", 400),
        ("sip:bob@example.com", 200),
        ("sip:nobody@example.com", 404),
    ]
    .into_iter()
    .enumerate()
    {
        let asked = request("REGISTER", "sip:example.com", &format!("r{n}"), "");
        let asked = asked.replace("To: <sip:example.com>", &format!("To: <{to}>"));
        let sent = world.receive(CALLER, asked);
        assert_eq!(statuses(&sent, CALLER), [status], "{to}");
    }
}
