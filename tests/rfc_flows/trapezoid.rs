//! Alice, Proxy 1 (atlanta), Proxy 2 (biloxi) and Bob on one wire, as RFC 3665 §3 draws them.

use crate::harness::*;
use pointsman::engine::Source;
use pointsman::message::Transport;
use pointsman::proxy::policy::{Network, Peer, Policy};
use pointsman::proxy::{Endpoint, Resolved, Wanted};
use pointsman::routing::Mode;

pub const ALICE: &str = "192.0.2.101:5060";
pub const SS1: &str = "192.0.2.111:5060";
pub const SS2: &str = "192.0.2.222:5060";
pub const BOB: &str = "192.0.2.201:5060";
pub const BOB_URI: &str = "sip:bob@biloxi.example.com";
const CALL_ID: &str = "2xTb9vxSit55XU7p8@atlanta.example.com";

/// Both proxies, and every message that crossed the wire.
pub struct Trapezoid {
    atlanta: World,
    biloxi: World,
    /// `from -> to first line`, in order; retransmissions included.
    pub ladder: Vec<String>,
}

fn known(name: &str, address: &str) -> Peer {
    Peer {
        networks: vec![Network::host(
            address.parse::<std::net::SocketAddr>().unwrap().ip(),
        )],
        ..peer(name, Mode::Retarget)
    }
}

fn proxy(at: &str, domain: &str, next_hop: &str) -> Policy {
    Policy {
        listeners: vec![listener(Transport::Udp, at)],
        domains: vec![domain.into()],
        next_hop: Some(hop(next_hop)),
        voicemail: None,
        peers: vec![
            known("alice", ALICE),
            known("ss1", SS1),
            known("ss2", SS2),
            known("bob", BOB),
        ],
        ..policy()
    }
}

impl Trapezoid {
    pub fn new() -> Self {
        let bob = r#"{"id":"bob","display_name":"Bob"}"#;
        let alice = r#"{"id":"alice","display_name":"Alice"}"#;
        let atlanta = World::new(proxy(SS1, "atlanta.example.com", ALICE), &[alice]);
        let biloxi = World::new(proxy(SS2, "biloxi.example.com", BOB), &[bob]);
        for (world, host, address) in [
            (&atlanta, "biloxi.example.com", SS2),
            (&biloxi, "atlanta.example.com", SS1),
        ] {
            let wanted = Wanted {
                host: host.into(),
                port: None,
                transport: None,
                is_secure: false,
            };
            let endpoint = Endpoint {
                transport: Transport::Udp,
                address: crate::harness::address(address),
                name: None,
            };
            let resolved = Resolved::of([endpoint].into_iter().collect(), u64::MAX);
            world.shared.names.put(&wanted, resolved, 0);
        }
        Self {
            atlanta,
            biloxi,
            ladder: Vec::new(),
        }
    }

    /// A phone sends; the proxies relay between each other until all is said. What reached the
    /// phones comes back.
    pub fn send(&mut self, from: &str, to: &str, bytes: impl AsRef<[u8]>) -> Vec<Sent> {
        let sent = Sent {
            to: address(to),
            hop: Hopless::towards(to),
            bytes: bytes.as_ref().to_vec(),
        };
        self.carry(vec![(from.to_owned(), sent)])
    }

    /// Time passes for both.
    pub fn advance(&mut self, ms: u64) -> Vec<Sent> {
        let first = self.atlanta.advance(ms);
        let second = self.biloxi.advance(ms);
        let first = first.into_iter().map(|sent| (SS1.to_owned(), sent));
        let second = second.into_iter().map(|sent| (SS2.to_owned(), sent));
        self.carry(first.chain(second).collect())
    }

    fn carry(&mut self, mut wire: Vec<(String, Sent)>) -> Vec<Sent> {
        let mut arrived = Vec::new();
        while !wire.is_empty() {
            let (from, sent) = wire.remove(0);
            let to = sent.to.to_string();
            let line = sent.first_line();
            let what = line
                .strip_prefix("SIP/2.0 ")
                .unwrap_or_else(|| line.split(' ').next().unwrap());
            self.ladder
                .push(format!("{} -> {} {what}", name(&from), name(&to)));
            let (world, own) = match &*to {
                SS1 => (&mut self.atlanta, SS1),
                SS2 => (&mut self.biloxi, SS2),
                _ => {
                    arrived.push(sent);
                    continue;
                }
            };
            let source = Source::datagram(address(&from), 0);
            let answers = world.receive_by(source, &sent.bytes);
            wire.extend(answers.into_iter().map(|sent| (own.to_owned(), sent)));
        }
        arrived
    }

    /// Nothing is left in either proxy.
    pub fn assert_drained(&mut self) {
        self.atlanta.assert_drained();
        self.biloxi.assert_drained();
    }

    /// The whole ladder must be this one.
    pub fn assert_ladder(&self, expected: &[&str]) {
        assert_eq!(self.ladder, expected, "{:#?}", self.ladder);
    }
}

struct Hopless;

impl Hopless {
    fn towards(to: &str) -> pointsman::engine::Hop {
        pointsman::engine::Hop {
            to: address(to),
            listener: 0,
            flow: pointsman::proxy::Flow::Any,
            name: None,
        }
    }
}

fn name(address: &str) -> &str {
    match address {
        ALICE => "Alice",
        SS1 => "Proxy 1",
        SS2 => "Proxy 2",
        BOB => "Bob",
        other => other,
    }
}

/// Alice's INVITE with a Route to her proxy.
pub fn call_bob(branch: &str, cseq: u32, extra: &str) -> String {
    format!(
        "INVITE {BOB_URI} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {ALICE};branch=z9hG4bK{branch}\r\n\
         Max-Forwards: 70\r\n\
         Route: <sip:{SS1};lr>\r\n\
         From: Alice <sip:alice@atlanta.example.com>;tag=9fxced76sl\r\n\
         To: Bob <{BOB_URI}>\r\n\
         Call-ID: {CALL_ID}\r\n\
         CSeq: {cseq} INVITE\r\n\
         Contact: <sip:alice@{ALICE}>\r\n\
         {extra}Content-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    )
}

/// CANCEL, or the ACK of a 300–699, with the INVITE's branch.
pub fn hop_by_hop(method: &str, branch: &str, cseq: u32, to: &str) -> String {
    format!(
        "{method} {BOB_URI} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {ALICE};branch=z9hG4bK{branch}\r\n\
         Max-Forwards: 70\r\n\
         Route: <sip:{SS1};lr>\r\n\
         From: Alice <sip:alice@atlanta.example.com>;tag=9fxced76sl\r\n\
         To: {to}\r\n\
         Call-ID: {CALL_ID}\r\n\
         CSeq: {cseq} {method}\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// Bob's response to what reached him.
pub fn answer_of(request: &Sent, status: &str) -> String {
    respond(request, status, "")
        .replace("tag=callee", "tag=314159")
        .replace(&format!("callee@{PBX}"), &format!("bob@{BOB}"))
}

/// A request within the dialog of a 2xx as Alice got it. Bob's route set is hers reversed
/// (RFC 3261 §12.1).
pub fn within(ok: &Sent, method: &str, cseq: u32, from_bob: bool) -> String {
    let (mut routes, to) = (ok.headers("Record-Route"), ok.header("To").unwrap());
    let from = ok.header("From").unwrap();
    let (from, to, sender, target) = match from_bob {
        true => (to, from, BOB, format!("sip:alice@{ALICE}")),
        false => (from, to, ALICE, format!("sip:bob@{BOB}")),
    };
    // The 2xx lists the proxies from the callee's side on; the caller turns that round.
    if !from_bob {
        routes.reverse();
    }
    let routes: String = routes.iter().map(|r| format!("Route: {r}\r\n")).collect();
    format!(
        "{method} {target} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {sender};branch=z9hG4bKin{method}{cseq}\r\n\
         Max-Forwards: 70\r\n{routes}From: {from}\r\nTo: {to}\r\n\
         Call-ID: {CALL_ID}\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
    )
}
