//! RFC 3665 §3.2 to §3.11.

use super::trapezoid::*;
use crate::harness::*;

/// F1 to F6 of §3.2: the INVITE reaches Bob through both proxies.
fn reach_bob(net: &mut Trapezoid) -> Sent {
    let sent = net.send(ALICE, SS1, call_bob("74b43", 1, ""));
    assert_eq!(statuses(&sent, ALICE), [100]);
    find(&sent, BOB, "INVITE")
}

fn ringing(net: &mut Trapezoid, at_bob: &Sent) {
    let sent = net.send(BOB, SS2, answer_of(at_bob, "180 Ringing"));
    assert_eq!(statuses(&sent, ALICE), [180]);
}

fn established(net: &mut Trapezoid) -> Sent {
    let at_bob = reach_bob(net);
    ringing(net, &at_bob);
    let sent = net.send(BOB, SS2, answer_of(&at_bob, "200 OK"));
    let ok = answer(&sent, ALICE, 200);
    let sent = net.send(ALICE, SS1, within(&ok, "ACK", 1, false));
    find(&sent, BOB, "ACK");
    ok
}

fn ends(net: &mut Trapezoid, ok: &Sent, cseq: u32) {
    let bye = find(
        &net.send(BOB, SS2, within(ok, "BYE", cseq, true)),
        ALICE,
        "BYE",
    );
    let is_from_second = bye.headers("Via")[0].contains(SS2);
    let proxy = if is_from_second { SS2 } else { SS1 };
    let sent = net.send(ALICE, proxy, respond(&bye, "200 OK", ""));
    assert_eq!(statuses(&sent, BOB), [200]);
    net.assert_drained();
}

#[test]
fn rfc3665_3_2_session_establishment_through_two_proxies() {
    let mut net = Trapezoid::new();
    let at_bob = reach_bob(&mut net);
    assert_eq!(at_bob.header("Max-Forwards").unwrap(), "68");
    let vias = at_bob.headers("Via");
    assert_eq!(vias.len(), 3);
    assert!(vias[0].starts_with(&format!("SIP/2.0/UDP {SS2};branch=z9hG4bK")));
    assert!(vias[1].starts_with(&format!("SIP/2.0/UDP {SS1};branch=z9hG4bK")));
    assert!(vias[2].starts_with(&format!("SIP/2.0/UDP {ALICE};branch=z9hG4bK74b43")));
    let routes = at_bob.headers("Record-Route");
    assert!(routes[0].starts_with(&format!("<sip:{SS2};lr")));
    assert!(routes[1].starts_with(&format!("<sip:{SS1};lr")));
    assert!(
        at_bob.headers("Route").is_empty(),
        "Proxy 1 took its own off"
    );
    ringing(&mut net, &at_bob);
    let sent = net.send(BOB, SS2, answer_of(&at_bob, "200 OK"));
    let ok = answer(&sent, ALICE, 200);
    assert_eq!(ok.headers("Via").len(), 1);
    assert_eq!(ok.headers("Record-Route"), routes);
    let sent = net.send(ALICE, SS1, within(&ok, "ACK", 1, false));
    let ack = find(&sent, BOB, "ACK");
    assert_eq!(ack.headers("Via").len(), 3);
    assert_eq!(ack.header("Max-Forwards").unwrap(), "68");
    assert!(ack.headers("Route").is_empty());
    let sent = net.send(BOB, SS2, within(&ok, "BYE", 1, true));
    let bye = find(&sent, ALICE, "BYE");
    assert_eq!(bye.headers("Via").len(), 3);
    net.send(ALICE, SS1, respond(&bye, "200 OK", ""));
    net.assert_ladder(&[
        "Alice -> Proxy 1 INVITE",
        "Proxy 1 -> Alice 100 Trying",
        "Proxy 1 -> Proxy 2 INVITE",
        "Proxy 2 -> Proxy 1 100 Trying",
        "Proxy 2 -> Bob INVITE",
        "Bob -> Proxy 2 180 Ringing",
        "Proxy 2 -> Proxy 1 180 Ringing",
        "Proxy 1 -> Alice 180 Ringing",
        "Bob -> Proxy 2 200 OK",
        "Proxy 2 -> Proxy 1 200 OK",
        "Proxy 1 -> Alice 200 OK",
        "Alice -> Proxy 1 ACK",
        "Proxy 1 -> Proxy 2 ACK",
        "Proxy 2 -> Bob ACK",
        "Bob -> Proxy 2 BYE",
        "Proxy 2 -> Proxy 1 BYE",
        "Proxy 1 -> Alice BYE",
        "Alice -> Proxy 1 200 OK",
        "Proxy 1 -> Proxy 2 200 OK",
        "Proxy 2 -> Bob 200 OK",
    ]);
    net.assert_drained();
}

#[test]
fn rfc3665_3_3_a_challenge_from_further_on_reaches_alice_and_her_credentials_go_on() {
    let mut net = Trapezoid::new();
    let at_bob = reach_bob(&mut net);
    let challenge = "Proxy-Authenticate: Digest realm=\"biloxi.example.com\", qop=\"auth\", \
        nonce=\"c1e22c41ae6cbe5ae983a9c8e88d359\"\r\n";
    let refusal = respond(&at_bob, "407 Proxy Authentication Required", challenge);
    let sent = net.send(BOB, SS2, refusal);
    find(&sent, BOB, "ACK");
    let refused = answer(&sent, ALICE, 407);
    assert!(
        refused
            .header("Proxy-Authenticate")
            .unwrap()
            .contains("biloxi")
    );
    let to = refused.header("To").unwrap();
    net.send(ALICE, SS1, hop_by_hop("ACK", "74b43", 1, &to));
    let credentials = "Proxy-Authorization: Digest username=\"alice\", \
        realm=\"biloxi.example.com\", nonce=\"c1e22c41ae6cbe5ae983a9c8e88d359\", \
        uri=\"sip:bob@biloxi.example.com\", response=\"f44ab22f150c6a56071bce8\"\r\n";
    let sent = net.send(ALICE, SS1, call_bob("74b44", 2, credentials));
    let again = find(&sent, BOB, "INVITE");
    assert!(
        again
            .header("Proxy-Authorization")
            .unwrap()
            .contains("biloxi")
    );
    let sent = net.send(BOB, SS2, answer_of(&again, "200 OK"));
    let ok = answer(&sent, ALICE, 200);
    net.send(ALICE, SS1, within(&ok, "ACK", 2, false));
    ends(&mut net, &ok, 1);
}

#[test]
fn rfc3665_3_4_the_second_proxy_serves_alone_when_the_first_has_failed() {
    let mut net = Trapezoid::new();
    let direct = call_bob("74b03", 1, "").replace(&format!("Route: <sip:{SS1};lr>\r\n"), "");
    let sent = net.send(ALICE, SS2, direct);
    assert_eq!(statuses(&sent, ALICE), [100]);
    let at_bob = find(&sent, BOB, "INVITE");
    assert_eq!(at_bob.header("Max-Forwards").unwrap(), "69");
    assert_eq!(at_bob.headers("Record-Route").len(), 1);
    ringing(&mut net, &at_bob);
    let sent = net.send(BOB, SS2, answer_of(&at_bob, "200 OK"));
    let ok = answer(&sent, ALICE, 200);
    find(
        &net.send(ALICE, SS2, within(&ok, "ACK", 1, false)),
        BOB,
        "ACK",
    );
    ends(&mut net, &ok, 1);
}

#[test]
fn rfc3665_3_6_an_offer_in_the_ack_passes_after_a_redirect() {
    let away = r#"{"id":"bob","display_name":"Bob","status":"away",
        "settings":{"away":{"immediate":{"forward":"sip:bob@chicago.example.com"}}}}"#;
    let mut redirect = World::new(policy(), &[away]);
    let sent = redirect.receive(CALLER, invite("sip:bob@example.com", "a"));
    let moved = answer(&sent, CALLER, 302);
    assert_eq!(moved.first_line(), "SIP/2.0 302 Moved Temporarily");
    assert_eq!(
        moved.header("Contact").unwrap(),
        "<sip:bob@chicago.example.com>"
    );
    redirect.receive(CALLER, ack_failure("sip:bob@example.com", "a", &moved));
    redirect.assert_drained();
    let mut net = Trapezoid::new();
    let ok = established(&mut net);
    let offer = format!("Content-Length: {}\r\n\r\n{SDP}", SDP.len());
    let ack = within(&ok, "ACK", 1, false).replace("Content-Length: 0\r\n\r\n", &offer);
    let ack = find(&net.send(ALICE, SS1, ack), BOB, "ACK");
    assert!(ack.text().ends_with(SDP));
    ends(&mut net, &ok, 1);
}

#[test]
fn rfc3665_3_7_a_re_invite_changes_the_session_on_the_same_way() {
    let mut net = Trapezoid::new();
    let ok = established(&mut net);
    net.ladder.clear();
    let sent = net.send(BOB, SS2, within(&ok, "INVITE", 14, true));
    let again = find(&sent, ALICE, "INVITE");
    let sent = net.send(ALICE, SS1, respond(&again, "200 OK", ""));
    assert_eq!(statuses(&sent, BOB), [200]);
    find(
        &net.send(BOB, SS2, within(&ok, "ACK", 14, true)),
        ALICE,
        "ACK",
    );
    net.assert_ladder(&[
        "Bob -> Proxy 2 INVITE",
        "Proxy 2 -> Bob 100 Trying",
        "Proxy 2 -> Proxy 1 INVITE",
        "Proxy 1 -> Proxy 2 100 Trying",
        "Proxy 1 -> Alice INVITE",
        "Alice -> Proxy 1 200 OK",
        "Proxy 1 -> Proxy 2 200 OK",
        "Proxy 2 -> Bob 200 OK",
        "Bob -> Proxy 2 ACK",
        "Proxy 2 -> Proxy 1 ACK",
        "Proxy 1 -> Alice ACK",
    ]);
    ends(&mut net, &ok, 15);
}

#[test]
fn rfc3665_3_8_no_answer_is_cancelled_hop_by_hop() {
    let mut net = Trapezoid::new();
    let at_bob = reach_bob(&mut net);
    ringing(&mut net, &at_bob);
    net.ladder.clear();
    let to = format!("Bob <{BOB_URI}>");
    let sent = net.send(ALICE, SS1, hop_by_hop("CANCEL", "74b43", 1, &to));
    assert_eq!(statuses(&sent, ALICE), [200]);
    let cancel = find(&sent, BOB, "CANCEL");
    assert_eq!(cancel.headers("Via"), at_bob.headers("Via")[..1]);
    net.send(BOB, SS2, respond(&cancel, "200 OK", ""));
    let sent = net.send(BOB, SS2, answer_of(&at_bob, "487 Request Terminated"));
    let terminated = answer(&sent, ALICE, 487);
    let to = terminated.header("To").unwrap();
    net.send(ALICE, SS1, hop_by_hop("ACK", "74b43", 1, &to));
    net.assert_ladder(&[
        "Alice -> Proxy 1 CANCEL",
        "Proxy 1 -> Alice 200 OK",
        "Proxy 1 -> Proxy 2 CANCEL",
        "Proxy 2 -> Proxy 1 200 OK",
        "Proxy 2 -> Bob CANCEL",
        "Bob -> Proxy 2 200 OK",
        "Bob -> Proxy 2 487 Request Terminated",
        "Proxy 2 -> Bob ACK",
        "Proxy 2 -> Proxy 1 487 Request Terminated",
        "Proxy 1 -> Proxy 2 ACK",
        "Proxy 1 -> Alice 487 Request Terminated",
        "Alice -> Proxy 1 ACK",
    ]);
    net.assert_drained();
}

/// What §3.9 and §3.11 have in common: the failure is acknowledged on each hop.
fn fails(status: &str, rings: bool) {
    let mut net = Trapezoid::new();
    let at_bob = reach_bob(&mut net);
    if rings {
        ringing(&mut net, &at_bob);
    }
    net.ladder.clear();
    let sent = net.send(BOB, SS2, answer_of(&at_bob, status));
    let failed = answer(&sent, ALICE, status[..3].parse().unwrap());
    let to = failed.header("To").unwrap();
    assert!(to.ends_with("tag=314159"), "Bob's own tag");
    net.send(ALICE, SS1, hop_by_hop("ACK", "74b43", 1, &to));
    let expected = [
        format!("Bob -> Proxy 2 {status}"),
        "Proxy 2 -> Bob ACK".to_owned(),
        format!("Proxy 2 -> Proxy 1 {status}"),
        "Proxy 1 -> Proxy 2 ACK".to_owned(),
        format!("Proxy 1 -> Alice {status}"),
        "Alice -> Proxy 1 ACK".to_owned(),
    ];
    assert_eq!(net.ladder, expected);
    net.assert_drained();
}

#[test]
fn rfc3665_3_9_busy_is_acknowledged_hop_by_hop() {
    fails("486 Busy Here", false);
}

#[test]
fn rfc3665_3_11_temporarily_unavailable_after_ringing() {
    fails("480 Temporarily Unavailable", true);
}

#[test]
fn rfc3665_3_10_a_silent_phone_is_tried_seven_times_and_given_up() {
    let mut net = Trapezoid::new();
    reach_bob(&mut net);
    net.ladder.clear();
    let sent = net.advance(33_000);
    let repeated = sent
        .iter()
        .filter(|sent| sent.to == address(BOB) && sent.method().as_deref() == Some("INVITE"));
    assert_eq!(repeated.count(), 6, "F6 to F11");
    // The RFC prints a 480 of Proxy 2's; 408 is what RFC 3261 §16.7 makes of timer B.
    let failed = answer(&sent, ALICE, 408);
    let to = failed.header("To").unwrap();
    net.send(ALICE, SS1, hop_by_hop("ACK", "74b43", 1, &to));
    net.assert_drained();
}
