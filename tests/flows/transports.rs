//! Messages between transports and families: what we call ourselves, and how the way back is found.

use std::num::NonZeroU64;

use crate::harness::*;
use pointsman::engine::{ConnectionId, Flow};
use pointsman::message::Transport;
use pointsman::proxy::policy::Network;
use pointsman::proxy::{FlowView, Policy};

const URI: &str = "sip:bob@example.com";
const BOB: &str = r#"{"id":"bob","display_name":"Bob"}"#;
const UDP: u8 = 0;
const TCP: u8 = 1;
const WS: u8 = 2;
const TLS: u8 = 3;
const PHONE: &str = "192.0.2.60:40000";

/// Listens on UDP, TCP, WebSocket and TLS; the PBX is reached as `transport` says.
fn policy_towards(transport: Transport) -> Policy {
    let mut policy = policy();
    policy.listeners = vec![
        listener(Transport::Udp, "192.0.2.1:5060"),
        listener(Transport::Tcp, "192.0.2.1:5060"),
        listener(Transport::Ws, "192.0.2.1:80"),
        listener(Transport::Tls, "192.0.2.1:5061"),
    ];
    if let Some(hop) = &mut policy.next_hop {
        hop.nodes[0].target.transport = Some(transport);
    }
    policy
}

fn world(transport: Transport) -> World {
    World::new(policy_towards(transport), &[BOB])
}

fn open(world: &World, id: u64, listener: u8, peer: &str) {
    let view = FlowView {
        listener,
        peer: address(peer),
        identities: Vec::new(),
        is_outgoing: false,
        since_unix_ms: 0,
    };
    world.shared.flows.insert(connection(id), view);
}

fn connection(id: u64) -> ConnectionId {
    ConnectionId(NonZeroU64::new(id).unwrap())
}

fn over(text: &str, transport: &str) -> String {
    text.replacen("SIP/2.0/UDP", &format!("SIP/2.0/{transport}"), 1)
}

#[test]
fn a_request_goes_by_the_listener_of_its_hop_and_says_so() {
    let mut world = world(Transport::Tcp);
    let copy = find(&world.receive(CALLER, invite(URI, "a")), PBX, "INVITE");
    assert_eq!(copy.hop.listener, TCP);
    assert!(copy.headers("Via")[0].starts_with("SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK"));
    let routes = copy.headers("Record-Route");
    assert_eq!(routes.len(), 2, "the transport changes: RFC 5658");
    assert!(routes[0].contains(";transport=tcp;lr"));
    assert!(!routes[1].contains("transport"));
    let ok = answer(
        &world.receive_over((7, TCP), PBX, respond(&copy, "200 OK", "")),
        CALLER,
        200,
    );
    assert_eq!(ok.hop.listener, UDP);
    let bye = world.receive(CALLER, in_dialog(&ok, "BYE", 2, false, ""));
    let bye = find(&bye, PBX, "BYE");
    assert!(bye.headers("Route").is_empty());
    world.receive_over((7, TCP), PBX, respond(&bye, "200 OK", ""));
    world.assert_drained();
}

#[test]
fn nothing_is_retransmitted_over_a_stream() {
    let mut world = world(Transport::Tcp);
    world.receive(CALLER, invite(URI, "a"));
    let repeated = world.advance(20_000);
    assert!(repeated.iter().all(|sent| sent.to != address(PBX)));
    world.assert_drained();
}

#[test]
fn responses_take_the_connection_of_their_request() {
    let mut world = world(Transport::Udp);
    open(&world, 9, TCP, PHONE);
    let text = over(&invite(URI, "a"), "TCP");
    let sent = world.receive_over((9, TCP), PHONE, text);
    let trying = sent.iter().find(|s| s.status() == Some(100)).unwrap();
    assert_eq!(trying.hop.flow, Flow::Prefer(connection(9)));
    assert_eq!(
        trying.to,
        address("192.0.2.60:5070"),
        "where a new connection would be opened: the Via's port"
    );
    let copy = find(&sent, PBX, "INVITE");
    world.receive(PBX, respond(&copy, "486 Busy Here", ""));
    world.assert_drained();
}

/// Requests towards a WebSocket client take its connection, for nothing else leads there.
#[test]
fn a_websocket_caller_is_reached_over_its_connection_only() {
    let mut world = world(Transport::Udp);
    open(&world, 9, WS, PHONE);
    let text = over(&invite(URI, "a"), "WS").replace(
        &format!("Contact: <sip:carl@{CALLER}>"),
        "Contact: <sip:carl@df7jal23ls0d.invalid;transport=ws>",
    );
    let copy = find(&world.receive_over((9, WS), PHONE, text), PBX, "INVITE");
    let routes = copy.headers("Record-Route");
    assert_eq!(routes.len(), 2);
    assert!(routes[1].contains("transport=ws"));
    let ok = respond(&copy, "200 OK", "");
    let sent = world.receive(PBX, &ok);
    assert_eq!(sent[0].hop.flow, Flow::Prefer(connection(9)));
    let bye = in_dialog(&sent[0], "BYE", 2, true, "").replace(
        &format!("BYE sip:carl@{CALLER}"),
        "BYE sip:carl@df7jal23ls0d.invalid;transport=ws",
    );
    let relayed = world.receive(PBX, &bye);
    assert_eq!(relayed[0].hop.flow, Flow::Only(connection(9)));
    assert_eq!(relayed[0].hop.listener, WS);
    world.receive_over((9, WS), PHONE, respond(&relayed[0], "200 OK", ""));
    world.shared.flows.remove(connection(9));
    let gone = world.receive(
        PBX,
        bye.replace("CSeq: 2", "CSeq: 3").replace("BYE2", "BYE3"),
    );
    assert_eq!(statuses(&gone, PBX), [430]);
    world.assert_drained();
}

#[test]
fn a_forged_flow_leads_nowhere() {
    let mut world = world(Transport::Udp);
    open(&world, 9, WS, PHONE);
    let forged = "Route: <sip:c0200000000000000090123456789abcdef@192.0.2.1:5060;lr>\r\n";
    let text = request("MESSAGE", "sip:victim@elsewhere.net", "a", forged);
    let sent = world.receive(CALLER, text);
    assert_eq!(statuses(&sent, CALLER), [403]);
    world.assert_drained();
}

#[test]
fn a_request_too_long_for_a_datagram_goes_over_tcp_first() {
    let mut world = world(Transport::Udp);
    let long = request(
        "INVITE",
        URI,
        "a",
        &format!("X-Long: {}\r\n", "x".repeat(1_200)),
    );
    let copy = find(&world.receive(CALLER, &long), PBX, "INVITE");
    assert_eq!(copy.hop.listener, TCP);
    assert!(copy.headers("Via")[0].starts_with("SIP/2.0/TCP "));
    let again = find(&world.unreachable(PBX), PBX, "INVITE");
    assert_eq!(again.hop.listener, UDP, "nobody takes the connection");
    assert!(again.headers("Via")[0].starts_with("SIP/2.0/UDP "));
    assert_eq!(again.headers("Record-Route").len(), 1);
    world.receive(PBX, respond(&again, "486 Busy Here", ""));
    world.assert_drained();
    let mut policy = policy_towards(Transport::Udp);
    policy.udp_limit_bytes = 0;
    let mut unlimited = World::new(policy, &[BOB]);
    let copy = find(&unlimited.receive(CALLER, long), PBX, "INVITE");
    assert_eq!(copy.hop.listener, UDP);
}

#[test]
fn sips_goes_over_tls_and_its_record_route_is_sips() {
    let mut policy = policy_towards(Transport::Tls);
    if let Some(hop) = &mut policy.next_hop {
        hop.nodes[0].target.is_secure = true;
    }
    let mut world = World::new(policy, &[BOB]);
    open(&world, 9, TLS, PHONE);
    let text = over(&invite("sips:bob@example.com", "a"), "TLS");
    let copy = find(&world.receive_over((9, TLS), PHONE, text), PBX, "INVITE");
    assert_eq!(copy.hop.listener, TLS);
    assert!(copy.headers("Record-Route")[0].starts_with("<sips:192.0.2.1:5061;lr"));
    world.receive_over((8, TLS), PBX, respond(&copy, "603 Decline", ""));
    world.assert_drained();
}

#[test]
fn each_side_is_told_the_address_that_it_can_reach() {
    let mut policy = policy();
    let mut inside = listener(Transport::Udp, "10.0.0.1:5060");
    inside.network = Some(Network {
        base: "10.0.0.0".parse().unwrap(),
        prefix: 8,
    });
    inside.has_default_route = false;
    policy.listeners.push(inside);
    policy.next_hop = Some(hop("10.0.0.3:5080"));
    let mut world = World::new(policy, &[BOB]);
    let copy = find(
        &world.receive(CALLER, invite(URI, "a")),
        "10.0.0.3:5080",
        "INVITE",
    );
    assert!(copy.headers("Via")[0].starts_with("SIP/2.0/UDP 10.0.0.1:5060;"));
    let routes = copy.headers("Record-Route");
    assert!(routes[0].contains("10.0.0.1:5060") && routes[1].contains("192.0.2.1:5060"));
    world.receive("10.0.0.3:5080", respond(&copy, "486 Busy Here", ""));
    world.assert_drained();
}

#[test]
fn between_families_both_addresses_are_in_the_route() {
    let mut policy = policy();
    let mut six = listener(Transport::Udp, "[2001:db8::1]:5060");
    six.host = "2001:db8::1".into();
    policy.listeners.push(six);
    policy.next_hop = Some(hop("[2001:db8::3]:5080"));
    let mut world = World::new(policy, &[BOB]);
    let pbx = "[2001:db8::3]:5080";
    let copy = find(&world.receive(CALLER, invite(URI, "a")), pbx, "INVITE");
    let routes = copy.headers("Record-Route");
    assert!(routes[0].contains("[2001:db8::1]:5060") && routes[1].contains("192.0.2.1:5060"));
    let ok = respond(&copy, "200 OK", "").replace(PBX, pbx);
    let ok = answer(&world.receive_on(1, pbx, ok), CALLER, 200);
    let bye = in_dialog(&ok, "BYE", 2, false, "").replace(PBX, pbx);
    let bye = find(&world.receive(CALLER, bye), pbx, "BYE");
    assert_eq!(bye.hop.listener, 1);
    assert!(bye.headers("Route").is_empty());
    world.receive_on(1, pbx, respond(&bye, "200 OK", ""));
    world.assert_drained();
}

#[test]
fn behind_a_nat_the_caller_is_reached_where_it_sends_from() {
    let mut world = world(Transport::Udp);
    let nat = "198.51.100.7:31337";
    let text = invite(URI, "a")
        .replacen(";branch=", ";rport;branch=", 1)
        .replace(CALLER, "10.9.9.9:5070");
    let copy = find(&world.receive(nat, text), PBX, "INVITE");
    let ok = answer(&world.receive(PBX, respond(&copy, "200 OK", "")), nat, 200);
    let bye = in_dialog(&ok, "BYE", 2, true, "").replace(CALLER, "10.9.9.9:5070");
    let bye = find(&world.receive(PBX, bye), nat, "BYE");
    world.receive(nat, respond(&bye, "200 OK", ""));
    world.assert_drained();
}
