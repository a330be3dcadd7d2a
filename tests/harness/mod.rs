//! One engine on a virtual clock: bytes in, bytes out, no sockets and no waiting.
#![allow(
    dead_code,
    reason = "each test binary uses its own part of the harness"
)]

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;

use pointsman::auth::AuthPolicy;
use pointsman::engine::{
    ConnectionId, Engine, Handled, Hop, Input, Now, Outbox, Shared, Source, Unreachable,
};
use pointsman::event::Ledger;
use pointsman::message::Transport;
use pointsman::presence::{Directory, NumberPlan, Subscriber};
use pointsman::proxy::policy::{
    Limits, Listener, NextHop, Overload, Peer, Policy, Timers, UnknownCallee, Voicemail,
};
use pointsman::registrar::{Locations, Rules};
use pointsman::routing::Mode;
use pointsman::store::{Memory, Records, Store};

pub const PROXY: &str = "192.0.2.1:5060";
pub const CALLER: &str = "192.0.2.50:5070";
pub const PBX: &str = "192.0.2.3:5080";
pub const VOICEMAIL: &str = "192.0.2.4:5090";
pub const MOBILE: &str = "192.0.2.5:5060";
/// 2026-11-23 12:00:00 UTC.
pub const NOON_UNIX_MS: i64 = 1_795_435_200_000;

/// A message the engine sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub to: SocketAddr,
    pub hop: Hop,
    pub bytes: Vec<u8>,
}

impl Sent {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn first_line(&self) -> String {
        self.text().lines().next().unwrap_or_default().to_owned()
    }

    pub fn status(&self) -> Option<u16> {
        self.first_line()
            .strip_prefix("SIP/2.0 ")?
            .get(..3)?
            .parse()
            .ok()
    }

    pub fn method(&self) -> Option<String> {
        self.status()
            .is_none()
            .then(|| self.first_line().split(' ').next().unwrap().to_owned())
    }

    /// The values of all header lines of that name.
    pub fn headers(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let head = text.split("\r\n\r\n").next().unwrap_or_default().to_owned();
        head.split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(key, _)| key.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }

    pub fn header(&self, name: &str) -> Option<String> {
        self.headers(name).into_iter().next()
    }
}

/// The engine under test with everything around it.
pub struct World {
    pub engine: Engine,
    pub shared: Arc<Shared>,
    pub store: Memory,
    pub now_ms: u64,
    out: Outbox,
}

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn hop(text: &str) -> NextHop {
    NextHop::at("hop", address(text))
}

/// A listener at an address, on the network that test hosts are on.
pub fn listener(transport: Transport, local: &str) -> Listener {
    let local = address(local);
    let host = local.ip().to_string();
    Listener {
        transport,
        local,
        network: None,
        has_default_route: true,
        advertised: local.to_string().into(),
        host: host.into(),
        port: local.port(),
    }
}

pub fn peer(name: &str, mode: Mode) -> Peer {
    Peer {
        name: name.into(),
        networks: Vec::new(),
        certificates: Vec::new(),
        forwarding: mode,
        voicemail_forwarding: mode,
        trust_diversion: true,
        trust_identity: true,
        send_identity: true,
        external: false,
    }
}

/// The policy of most tests: redirect, a PBX, voicemail, `example.com` is ours.
pub fn policy() -> Policy {
    Policy {
        listeners: vec![listener(Transport::Udp, PROXY)],
        domains: vec!["example.com".into()],
        plan: Arc::new(NumberPlan::for_region("DE").unwrap()),
        next_hop: Some(hop(PBX)),
        outbound: None,
        voicemail: Some(Voicemail {
            before: "sip:vm-".into(),
            after: format!("@{VOICEMAIL}").into(),
            per_subscriber: true,
            hop: hop(VOICEMAIL),
        }),
        peers: Vec::new(),
        stranger: peer("", Mode::Redirect),
        auth: AuthPolicy::off(),
        never_ban: Vec::new(),
        dnd_status: 480,
        unknown_callee: UnknownCallee::NextHop,
        registrar: None,
        timers: Timers::default(),
        limits: Limits::default(),
        overload: Overload::default(),
        ring_for_s: 30,
        call_limit: 1,
        hop_limit: 5,
        retry_after_s: 5,
        health: Default::default(),
        zone: jiff::tz::TimeZone::UTC,
        holidays: Default::default(),
        house: Default::default(),
        visibility: Default::default(),
        udp_limit_bytes: 1_300,
        join_datagrams: true,
        events: Default::default(),
    }
}

/// The same, but forwardings are carried out by the engine.
pub fn retargeting() -> Policy {
    Policy {
        stranger: peer("", Mode::Retarget),
        ..policy()
    }
}

/// The same without a PBX: phones register with us.
pub fn registering() -> Policy {
    Policy {
        registrar: Some(Rules::default()),
        next_hop: None,
        ..policy()
    }
}

impl World {
    pub fn new(policy: Policy, subscribers: &[&str]) -> Self {
        Self::with_store(policy, subscribers, Memory::new([7; 32]), 0)
    }

    pub fn with_store(policy: Policy, subscribers: &[&str], store: Memory, now_ms: u64) -> Self {
        let directory = Arc::new(Directory::new(7));
        for json in subscribers {
            let subscriber: Subscriber = serde_json::from_str(json).unwrap();
            directory.put(&subscriber, &policy.plan).unwrap();
        }
        let records = store.records(Records::Bindings).unwrap();
        let locations = Locations::restore(records, &directory, |flow| Some(flow.listener));
        let ledger = Ledger::restore(store.records(Records::Subscriptions).unwrap());
        let shared = Shared::new(policy, directory, store.secret(), 1).with_locations(locations);
        let shared = Arc::new(shared.with_ledger(ledger));
        let stored = store.open_calls(1, &|_| 0).unwrap().remove(0);
        let journal = store.journals(1).unwrap().remove(0);
        let now = Now {
            ms: now_ms,
            unix_ms: NOON_UNIX_MS + now_ms as i64,
        };
        let engine = Engine::new(0, Arc::clone(&shared), stored, journal, now);
        Self {
            engine,
            shared,
            store,
            now_ms,
            out: Outbox::new(),
        }
    }

    pub fn now(&self) -> Now {
        Now {
            ms: self.now_ms,
            unix_ms: NOON_UNIX_MS + self.now_ms as i64,
        }
    }

    /// Changes a subscriber, as the API does.
    pub fn put(&self, json: &str) {
        let subscriber: Subscriber = serde_json::from_str(json).unwrap();
        self.shared
            .directory
            .put(&subscriber, &self.shared.policy.load().plan)
            .unwrap();
    }

    /// A datagram arrives; what the engine sends comes back.
    pub fn receive(&mut self, from: &str, bytes: impl AsRef<[u8]>) -> Vec<Sent> {
        self.receive_by(Source::datagram(address(from), 0), bytes)
    }

    /// A message of a connection arrives on a listener.
    pub fn receive_over(
        &mut self,
        (connection, listener): (u64, u8),
        from: &str,
        bytes: impl AsRef<[u8]>,
    ) -> Vec<Sent> {
        let source = Source {
            connection: NonZeroU64::new(connection).map(ConnectionId),
            ..Source::datagram(address(from), listener)
        };
        self.receive_by(source, bytes)
    }

    /// A datagram arrives on another listener.
    pub fn receive_on(&mut self, listener: u8, from: &str, bytes: impl AsRef<[u8]>) -> Vec<Sent> {
        self.receive_by(Source::datagram(address(from), listener), bytes)
    }

    /// A message arrives; what the engine sends comes back.
    pub fn receive_by(&mut self, source: Source, bytes: impl AsRef<[u8]>) -> Vec<Sent> {
        let bytes = bytes.as_ref();
        let input = Input::Message { source, bytes };
        assert_eq!(
            self.engine.handle(self.now(), input, &mut self.out),
            Handled::Done
        );
        self.take()
    }

    /// The network reports that an address cannot be reached.
    pub fn unreachable(&mut self, to: &str) -> Vec<Sent> {
        let failure = Unreachable {
            to: address(to),
            listener: None,
            connection: None,
        };
        let input = Input::Unreachable(failure);
        self.engine.handle(self.now(), input, &mut self.out);
        self.take()
    }

    /// Names were resolved.
    pub fn resolved(&mut self) -> Vec<Sent> {
        self.engine
            .handle(self.now(), Input::Resolved, &mut self.out);
        self.take()
    }

    /// Time passes; every timer fires in its turn.
    pub fn advance(&mut self, ms: u64) -> Vec<Sent> {
        let end = self.now_ms + ms;
        let mut sent = Vec::new();
        while let Some(at) = self.engine.next_timeout().filter(|at| *at <= end) {
            self.now_ms = at.max(self.now_ms);
            let now = self.now();
            self.engine.handle_timeouts(now, &mut self.out);
            sent.extend(self.take());
        }
        self.now_ms = end;
        sent
    }

    fn take(&mut self) -> Vec<Sent> {
        let sent = self
            .out
            .transmits()
            .iter()
            .map(|t| Sent {
                to: t.hop.to,
                hop: t.hop.clone(),
                bytes: self.out.payload(t).to_vec(),
            })
            .collect();
        self.out.clear();
        sent
    }

    /// How many calls a subscriber is in, and how many ring there.
    pub fn marks(&self, id: &str) -> (u16, u16) {
        let handle = self.shared.directory.handle_of_id(id).unwrap();
        let routing = self.shared.directory.routing(handle);
        (routing.calls, routing.ringing)
    }

    /// After every scenario nothing is left: no transaction, no call, no mark, no stored record.
    pub fn assert_drained(&mut self) {
        self.advance(200_000);
        assert_eq!(
            self.engine.load(),
            Default::default(),
            "tables are not empty"
        );
        for handle in self.shared.directory.handles() {
            let routing = self.shared.directory.routing(handle);
            assert_eq!((routing.calls, routing.ringing), (0, 0), "a mark is stuck");
        }
        self.store
            .read_calls(&mut |_| panic!("a stored call is stuck"));
    }
}

pub const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.50\r\ns=-\r\nt=0 0\r\n";

/// A request outside a dialog, from the caller's phone.
pub fn request(method: &str, uri: &str, call: &str, extra: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK{call}{method}\r\n\
         Max-Forwards: 70\r\nFrom: \"Carl\" <sip:carl@elsewhere.net>;tag=f{call}\r\n\
         To: <{uri}>\r\nCall-ID: {call}@caller\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:carl@{CALLER}>\r\n{extra}Content-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    )
}

pub fn invite(uri: &str, call: &str) -> String {
    request("INVITE", uri, call, "")
}

/// A response as the next hop writes it to a request it received.
pub fn respond(request: &Sent, status: &str, extra: &str) -> String {
    let mut response = format!("SIP/2.0 {status}\r\n");
    for line in request
        .text()
        .split("\r\n\r\n")
        .next()
        .unwrap()
        .split("\r\n")
        .skip(1)
    {
        let name = line.split(':').next().unwrap_or_default().trim();
        let is_to = name.eq_ignore_ascii_case("To");
        let tagged = line.contains(";tag=") || status.starts_with("100");
        match name.to_ascii_lowercase().as_str() {
            "to" if is_to && !tagged => response += &format!("{line};tag=callee\r\n"),
            "via" | "from" | "to" | "call-id" | "cseq" | "record-route" => {
                response += &format!("{line}\r\n");
            }
            _ => {}
        }
    }
    response + &format!("Contact: <sip:callee@{PBX}>\r\n{extra}Content-Length: 0\r\n\r\n")
}

/// A request within the dialog that a 2xx made; `from_callee` turns it round.
pub fn in_dialog(answer: &Sent, method: &str, cseq: u32, from_callee: bool, extra: &str) -> String {
    let (from, to) = (answer.header("From").unwrap(), answer.header("To").unwrap());
    let (from, to) = if from_callee { (to, from) } else { (from, to) };
    let (uri, sender) = if from_callee {
        (format!("sip:carl@{CALLER}"), PBX)
    } else {
        (format!("sip:callee@{PBX}"), CALLER)
    };
    // The caller turns the list round (RFC 3261 §12.1.2).
    let mut routes = answer.headers("Record-Route");
    if !from_callee {
        routes.reverse();
    }
    let routes: String = routes.iter().map(|r| format!("Route: {r}\r\n")).collect();
    let call_id = answer.header("Call-ID").unwrap();
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {sender};branch=z9hG4bK{method}{cseq}{}\r\n\
         Max-Forwards: 70\r\n{routes}From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq} {method}\r\n{extra}Content-Length: 0\r\n\r\n",
        call_id.len()
    )
}

/// The ACK of a 300–699, hop by hop with the INVITE's branch.
pub fn ack_failure(uri: &str, call: &str, response: &Sent) -> String {
    format!(
        "ACK {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK{call}INVITE\r\n\
         Max-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {call}@caller\r\nCSeq: 1 ACK\r\n\
         Content-Length: 0\r\n\r\n",
        response.header("From").unwrap(),
        response.header("To").unwrap()
    )
}

pub fn cancel(uri: &str, call: &str) -> String {
    format!(
        "CANCEL {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK{call}INVITE\r\n\
         Max-Forwards: 70\r\nFrom: \"Carl\" <sip:carl@elsewhere.net>;tag=f{call}\r\n\
         To: <{uri}>\r\nCall-ID: {call}@caller\r\nCSeq: 1 CANCEL\r\nContent-Length: 0\r\n\r\n"
    )
}

/// The statuses sent to an address, in order.
pub fn statuses(sent: &[Sent], to: &str) -> Vec<u16> {
    sent.iter()
        .filter(|s| s.to == address(to))
        .filter_map(Sent::status)
        .collect()
}

/// The first request of that method sent to an address.
pub fn find(sent: &[Sent], to: &str, method: &str) -> Sent {
    sent.iter()
        .find(|s| s.to == address(to) && s.method().as_deref() == Some(method))
        .unwrap_or_else(|| panic!("no {method} to {to} in {sent:#?}"))
        .clone()
}

/// The first response of that status sent to an address.
pub fn answer(sent: &[Sent], to: &str, status: u16) -> Sent {
    sent.iter()
        .find(|s| s.to == address(to) && s.status() == Some(status))
        .unwrap_or_else(|| panic!("no {status} to {to} in {sent:#?}"))
        .clone()
}
