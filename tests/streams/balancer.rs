//! Behind a load balancer that speaks the PROXY protocol.

use ppp::v2::{Builder, Command, Protocol, Version};

use super::peer::{Peer, request};
use super::site::Site;
use super::tcp::from;

fn header(command: Command, source: &str) -> Vec<u8> {
    let source: std::net::SocketAddr = source.parse().unwrap();
    let to = std::net::SocketAddr::new(source.ip(), 5060);
    let builder = Builder::with_addresses(Version::Two | command, Protocol::Stream, (source, to));
    builder.build().unwrap()
}

fn peer_of(site: &Site) -> String {
    let mut peer = String::new();
    let flows = &site.server.shared().flows;
    flows.each(|_, view| peer = view.peer.to_string());
    peer
}

#[test]
fn the_told_source_counts_for_connections_of_the_balancer_and_of_nobody_else() {
    let networks = r#"proxy_protocol = ["127.0.0.9"]"#;
    let site = Site::new(r#""tcp:127.0.0.1:0""#, networks, "");
    let invite = |call: &str| request("INVITE", "101", ("TCP", "192.0.2.7:5060"), call);
    for (source, call) in [("192.0.2.7:4711", "v4"), ("[2001:db8::7]:4711", "v6")] {
        let mut balancer = Peer::connect_over(from("127.0.0.9", &site));
        for byte in header(Command::Proxy, source) {
            balancer.send([byte]);
        }
        balancer.send(invite(call));
        let response = balancer.final_response();
        assert_eq!(response.status(), Some(480));
        assert_eq!(peer_of(&site), source);
        drop(balancer);
        site.until_empty();
    }
    let mut check = Peer::connect_over(from("127.0.0.9", &site));
    let local = check.local().to_string();
    check.send(header(Command::Local, "192.0.2.7:4711"));
    check.send(invite("local"));
    assert_eq!(check.final_response().status(), Some(480));
    assert_eq!(peer_of(&site), local);
    drop(check);

    let mut bare = Peer::connect_over(from("127.0.0.9", &site));
    bare.send(invite("bare"));
    bare.until_closed();
    site.until("connections_refused", "proxy_header", 1);
    let mut liar = Peer::connect(site.at(0));
    liar.send(header(Command::Proxy, "192.0.2.7:4711"));
    liar.until_closed();
    site.until("connections_unframed", "not_sip", 1);
    site.until_empty();
}
