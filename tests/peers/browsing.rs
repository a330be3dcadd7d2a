//! A browser's SIP client registers over WebSocket and secure WebSocket, sends messages to another
//! browser and to a phone on UDP, and watches a phone.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::browser::{self, Browser};
use crate::phone::Phone;
use crate::program::run;
use crate::stage::*;
use crate::wait::{are_peers_wanted, until_true};

const KEYS: &str = r#"listen = ["udp:{server}:5060", "ws:{server}:8088", "wss:{server}:8443"]
# next_hop =
[tls]
certificate = "{folder}/{server}.pem"
private_key = "{folder}/{server}.key"
[auth]
md5_only = true"#;
const PASSWORD: &str = "correct horse";
const EVENT: &str = "Event: presence\r\n";

fn office() -> Stage {
    office_with("")
}

fn office_with(more: &str) -> Stage {
    let subscriber = |id: &str| format!(r#"{{"id":"{id}","password":"{PASSWORD}"}}"#);
    Stage::new(
        &format!("{KEYS}\n{more}"),
        &["anna", "bob", "carol"].map(subscriber),
    )
}

/// Anna's page on a plain WebSocket.
fn annas(stage: &Stage) -> Browser {
    let url = format!("ws://{}:8088/", stage.address().ip());
    Browser::open(&url, ("anna", PASSWORD), None)
}

/// Bob's page on a secure one, who verifies our certificate.
fn bobs(stage: &Stage) -> Browser {
    let url = format!("wss://{}:8443/", stage.address().ip());
    let root = stage.folder().join("root.pem");
    Browser::open(&url, ("bob", PASSWORD), Some(&root))
}

/// Carol's phone on UDP, registered by sipsak.
fn carols(stage: &Stage) -> Phone {
    let phone = Phone::new(stage.host(9), stage.address());
    let (server, contact) = (
        stage.address().to_string(),
        format!("sip:carol@{}", phone.at()),
    );
    let mut sipsak = Command::new("sipsak");
    sipsak.args(["-i", "-U", "-u", "carol", "-a", PASSWORD, "-p", &server]);
    sipsak.args(["-C", &contact]);
    sipsak.args(["-x", "600", "-s", "sip:carol@example.com"]);
    let said = run(&mut sipsak, Duration::from_secs(20));
    assert_eq!(said.code, Some(0), "{}", said.text);
    phone
}

#[test]
fn browsers_register_and_send_each_other_messages() {
    if !are_peers_wanted() || !browser::is_there() {
        return;
    }
    let stage = office();
    let (anna, bob) = (annas(&stage), bobs(&stage));
    assert_eq!(anna.wait_for("registered")["status"], 200);
    assert_eq!(bob.wait_for("registered")["status"], 200);
    stage.wait_for_bindings(2);
    for (from, to, id, address) in [
        (&anna, &bob, "anna", "sip:bob@example.com"),
        (&bob, &anna, "bob", "sip:anna@example.com"),
    ] {
        let body = format!("Grüße von {id}\r\n.");
        from.tell(&json!({"what": "message", "to": address, "body": body}));
        assert_eq!(from.wait_for("sent")["status"], 200);
        let message = to.wait_for("message");
        assert_eq!(message["body"], body, "{message}");
        assert_eq!(message["from"], format!("sip:{id}@example.com"));
    }
    for phone in [&anna, &bob] {
        phone.tell(&json!({"what": "unregister"}));
        phone.wait_for("unregistered");
    }
    stage.wait_for_bindings(0);
    anna.tell(&json!({"what": "message", "to": "sip:bob@example.com", "body": "?"}));
    until_true("480", || {
        anna.all("sent").iter().any(|sent| sent["status"] == 480)
    });
    drop((anna, bob));
    stage.assert_forgotten();
}

#[test]
fn a_browser_with_a_wrong_password_is_not_registered() {
    if !are_peers_wanted() || !browser::is_there() {
        return;
    }
    let stage = office();
    let url = format!("ws://{}:8088/", stage.address().ip());
    let stranger = Browser::open(&url, ("anna", "wrong"), None);
    let failed = stranger.wait_for("registration_failed");
    assert_eq!(failed["status"], 401, "{failed}");
    drop(stranger);
    stage.assert_forgotten();
}

#[test]
fn a_browser_and_a_phone_on_udp_exchange_messages() {
    if !are_peers_wanted() || !browser::is_there() {
        return;
    }
    let stage = office();
    let (anna, carol) = (annas(&stage), carols(&stage));
    anna.wait_for("registered");
    stage.wait_for_bindings(2);
    anna.tell(&json!({"what": "message", "to": "sip:carol@example.com", "body": "hello"}));
    let message = carol.request_of("MESSAGE");
    assert!(message.text.ends_with("\n\nhello"), "{}", message.text);
    let vias = message.headers("Via");
    assert!(vias[0].starts_with("SIP/2.0/UDP "), "{vias:?}");
    assert!(vias[1].starts_with("SIP/2.0/WS "), "{vias:?}");
    carol.answer(&message, "202 Accepted", "");
    assert_eq!(anna.wait_for("sent")["status"], 202);

    let text = "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
    carol.ask("MESSAGE", "sip:anna@example.com", "c1", text);
    assert_eq!(anna.wait_for("message")["body"], "hello");
    assert_eq!(carol.final_of("c1").status(), Some(200));
    leave(stage, anna, &carol);
}

#[test]
fn a_browser_watches_a_colleague() {
    if !are_peers_wanted() || !browser::is_there() {
        return;
    }
    let stage = office();
    let (anna, carol) = (annas(&stage), carols(&stage));
    anna.wait_for("registered");
    anna.tell(&json!({"what": "subscribe", "to": "sip:carol@example.com"}));
    anna.wait_for("accepted");
    let told = |what: &str| {
        until_true(what, || {
            let notified = anna.all("notify");
            let newest = notified.last().and_then(|told| told["body"].as_str());
            newest.is_some_and(|body| body.contains(what))
        });
    };
    told("<basic>open</basic>");
    let status = json!({"status": "dnd", "message": "Schöne Grüße"});
    stage.server.put("subscribers/carol/status", &status);
    told("Schöne Grüße");
    anna.tell(&json!({"what": "unsubscribe"}));
    anna.wait_for("terminated");
    until_true("no subscription", || {
        stage.server.metric("pointsman_subscriptions_open") == 0
    });
    leave(stage, anna, &carol);
}

#[test]
fn a_browser_watches_a_phone_that_tells_by_itself() {
    if !are_peers_wanted() || !browser::is_there() {
        return;
    }
    let stage = office_with("[events]\npackages = []\n");
    let (anna, carol) = (annas(&stage), carols(&stage));
    anna.wait_for("registered");
    anna.tell(&json!({"what": "subscribe", "to": "sip:carol@example.com"}));
    let subscribe = carol.request_of("SUBSCRIBE");
    assert_eq!(subscribe.header("Event"), "presence");
    assert!(subscribe.headers("Authorization").is_empty());
    assert!(subscribe.headers("Proxy-Authorization").is_empty());
    carol.answer(&subscribe, "200 OK", "Expires: 600\r\n");
    anna.wait_for("accepted");
    let body = "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:carol@example.com\"/>";
    notify(&carol, &subscribe, (1, "active;expires=600"), body);
    assert_eq!(
        carol.final_of(subscribe.header("Call-ID")).status(),
        Some(200)
    );
    assert_eq!(anna.wait_for("notify")["body"], body);

    anna.tell(&json!({"what": "unsubscribe"}));
    let unsubscribe = carol.request_of("SUBSCRIBE");
    assert_eq!(unsubscribe.header("Expires"), "0");
    carol.answer(&unsubscribe, "200 OK", "Expires: 0\r\n");
    notify(&carol, &subscribe, (2, "terminated;reason=timeout"), "");
    anna.wait_for("terminated");
    leave(stage, anna, &carol);
}

/// Within the dialog that a SUBSCRIBE began.
fn notify(phone: &Phone, subscribe: &crate::sipp::Seen, (cseq, state): (u32, &str), body: &str) {
    let routes = subscribe.headers("Record-Route").into_iter();
    let routes: String = routes.map(|route| format!("Route: {route}\r\n")).collect();
    let (from, to) = (subscribe.header("To"), subscribe.header("From"));
    let call_id = subscribe.header("Call-ID");
    let at = phone.at();
    phone.send(&format!(
        "NOTIFY {} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKn{cseq}\r\nMax-Forwards: 70\r\n\
         {routes}From: {from};tag=phone\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} NOTIFY\r\n\
         Contact: <sip:carol@{at}>\r\n{EVENT}Subscription-State: {state}\r\n\
         Content-Type: application/pidf+xml\r\nContent-Length: {}\r\n\r\n{body}",
        uri_of(subscribe, "Contact"),
        body.len()
    ));
}

/// Everybody goes; nothing is left.
fn leave(stage: Stage, anna: Browser, carol: &Phone) {
    anna.tell(&json!({"what": "stop"}));
    let at = carol.at();
    stage.wait_for_bindings(1);
    let listed = stage.server.get("subscribers/carol/bindings");
    let contact = listed["bindings"][0]["contact"].as_str().unwrap();
    assert!(contact.contains(&at.to_string()), "{listed}");
    stage.server.delete("subscribers/carol/bindings");
    drop(anna);
    stage.assert_forgotten();
}
