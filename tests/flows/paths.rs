//! A PBX is the registrar, and phones that only their flow reaches register with it by us.

use std::num::NonZeroU64;

use crate::harness::*;
use pointsman::engine::{ConnectionId, Flow};
use pointsman::message::Transport;
use pointsman::proxy::{FlowView, Policy};

const WS: u8 = 1;
const PHONE: &str = "192.0.2.60:40000";

fn world() -> World {
    let listeners = vec![
        listener(Transport::Udp, PROXY),
        listener(Transport::Ws, "192.0.2.1:80"),
    ];
    let policy = Policy {
        listeners,
        ..policy()
    };
    let world = World::new(policy, &[r#"{"id":"bob","display_name":"Bob"}"#]);
    let view = FlowView {
        listener: WS,
        peer: address(PHONE),
        identities: Vec::new(),
        is_outgoing: false,
        since_unix_ms: 0,
    };
    let id = ConnectionId(NonZeroU64::new(5).unwrap());
    world.shared.flows.insert(id, view);
    world
}

fn register(transport: &str, supported: &str) -> String {
    request("REGISTER", "sip:example.com", "r", supported)
        .replacen("SIP/2.0/UDP", &format!("SIP/2.0/{transport}"), 1)
        .replace(
            &format!("<sip:carl@{CALLER}>"),
            "<sip:bob@df7jal23ls0d.invalid;transport=ws>",
        )
}

#[test]
fn a_browser_that_registers_with_the_pbx_is_called_over_its_connection() {
    let mut world = world();
    let sent = world.receive_over((5, WS), PHONE, register("WS", ""));
    let copy = find(&sent, PBX, "REGISTER");
    let path = copy.header("Path").unwrap();
    assert!(path.contains(PROXY) && path.contains(";lr;ob"));
    world.receive(PBX, respond(&copy, "200 OK", ""));
    let route = format!("Route: {path}\r\n");
    let uri = "sip:bob@df7jal23ls0d.invalid;transport=ws";
    let call = request("INVITE", uri, "c", &route);
    let sent = world.receive(PBX, &call);
    let copy = sent
        .iter()
        .find(|s| s.method().as_deref() == Some("INVITE"));
    let copy = copy.unwrap();
    let id = ConnectionId(NonZeroU64::new(5).unwrap());
    assert_eq!(copy.hop.flow, Flow::Only(id));
    assert!(copy.headers("Route").is_empty());
    let copy = copy.clone();
    let refused = respond(&copy, "486 Busy Here", "");
    world.receive_over((5, WS), PHONE, refused);
    let stranger = world.receive(CALLER, call.replace("c@caller", "s@caller"));
    assert_eq!(statuses(&stranger, CALLER), [403], "only the PBX may");
    world.assert_drained();
}

#[test]
fn a_phone_with_an_address_gets_no_path() {
    let mut world = world();
    let sent = world.receive(CALLER, register("UDP", "Supported: path\r\n"));
    assert!(find(&sent, PBX, "REGISTER").header("Path").is_none());
}
