//! A phone's PUBLISH by UDP without Content-Length (RFC 3261 §18.3: its body is the rest of the
//! datagram), and what becomes of it behind a PBX and without one.

use crate::phone::Phone;
use crate::stage::*;
use crate::wait::are_peers_wanted;

const BODY: &str = "<?xml version=\"1.0\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
                    entity=\"sip:anna@example.com\"/>\r\n";
const AOR: &str = "sip:anna@example.com";

fn publish(phone: &Phone, call: &str) {
    let head = "Event: presence\r\nExpires: 600\r\nContent-Type: application/pidf+xml\r\n\r\n";
    phone.ask("PUBLISH", AOR, call, &format!("{head}{BODY}"));
}

#[test]
fn the_pbx_gets_it_whole_and_its_answer_comes_back() {
    if !are_peers_wanted() {
        return;
    }
    let stage = Stage::new("", &[PLAIN_ANNA]);
    let phone = Phone::new(stage.host(9), stage.address());
    let pbx = Phone::new(stage.pbx(), stage.address());
    publish(&phone, "pass");
    let publish = pbx.request_of("PUBLISH");
    assert_eq!(publish.first_line(), format!("PUBLISH {AOR} SIP/2.0"));
    let (_, body) = publish.text.split_once("\n\n").unwrap();
    assert_eq!(body, BODY.replace("\r\n", "\n"));
    pbx.answer(&publish, "200 OK", "SIP-ETag: dx200xyz\r\nExpires: 600\r\n");
    let answer = phone.final_of("pass");
    assert_eq!(answer.status(), Some(200));
    assert_eq!(answer.header("SIP-ETag"), "dx200xyz");
    stage.assert_forgotten();
}

#[test]
fn without_a_pbx_nobody_keeps_events() {
    if !are_peers_wanted() {
        return;
    }
    for (keys, status) in [("[auth]\nmethods = []", 489), ("", 401)] {
        let stage = Stage::new(&format!("# next_hop =\n{keys}"), &[PLAIN_ANNA]);
        let phone = Phone::new(stage.host(9), stage.address());
        publish(&phone, "local");
        assert_eq!(phone.final_of("local").status(), Some(status), "{keys}");
        let event = "Event: presence\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n";
        phone.ask("SUBSCRIBE", AOR, "watch", event);
        // We keep who watches whom, and nobody is proven to watch.
        let status = if status == 489 { 403 } else { 401 };
        assert_eq!(phone.final_of("watch").status(), Some(status), "{keys}");
        stage.assert_forgotten();
    }
}
