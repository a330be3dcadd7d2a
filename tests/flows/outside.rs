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
