//! TCP: framing, keep-alives, bounds, and what happens when a connection ends.

use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::peer::{Message, Peer, ack, request};
use super::site::{PATIENCE, Site, wait};

const TCP: &str = r#""tcp:127.0.0.1:0""#;
const BOTH_FAMILIES: &str = r#""udp:127.0.0.1:0", "tcp:127.0.0.1:0", "tcp:[::1]:0""#;

/// Calls Anna, who does not want to be disturbed, and acknowledges the 480.
fn refused_call(peer: &mut Peer, call: &str) {
    let via = peer.local().to_string();
    let invite = request("INVITE", "101", ("TCP", &via), call);
    peer.send(&invite);
    acknowledge(peer, &invite);
}

fn acknowledge(peer: &mut Peer, invite: &str) {
    let response = peer.final_response();
    assert_eq!(response.status(), Some(480), "{}", response.0);
    peer.send(ack(invite, &response));
}

#[test]
fn a_call_over_tcp_is_decided_on_both_families() {
    let site = Site::listening(BOTH_FAMILIES);
    for listener in [1, 2] {
        let mut peer = Peer::connect(site.at(listener));
        for number in 0..8 {
            refused_call(&mut peer, &format!("c{listener}-{number}"));
        }
        assert_eq!(site.server.shared().flows.len(), 1);
        drop(peer);
        site.until_empty();
    }
    let counted = site.number("connection_messages", "in");
    assert_eq!(counted, 2 * 8 * 2);
}

#[test]
fn a_request_may_come_byte_by_byte_and_two_at_once() {
    let site = Site::listening(TCP);
    let mut peer = Peer::connect(site.at(0));
    let via = peer.local().to_string();
    let invite = request("INVITE", "101", ("TCP", &via), "slow");
    for byte in invite.as_bytes() {
        peer.send([*byte]);
    }
    acknowledge(&mut peer, &invite);
    let [one, two] = ["one", "two"].map(|call| request("INVITE", "101", ("TCP", &via), call));
    peer.send(format!("{one}{two}"));
    let mut seen: Vec<String> = Vec::new();
    while seen.len() < 2 {
        let response = peer.final_response();
        seen.push(response.header("Call-ID").to_owned());
    }
    seen.sort();
    assert_eq!(seen, ["one", "two"]);
}

#[test]
fn a_thousand_pipelined_requests_are_answered_each() {
    let site = Site::listening(TCP);
    let mut peer = Peer::connect(site.at(0));
    let via = peer.local().to_string();
    let mut sender = peer.stream.try_clone().unwrap();
    let requests: String = (0..1_000)
        .map(|number| request("INVITE", "101", ("TCP", &via), &format!("p{number}")))
        .collect();
    let sending = std::thread::spawn(move || sender.write_all(requests.as_bytes()).unwrap());
    let mut answered = std::collections::HashSet::new();
    while answered.len() < 1_000 {
        let response = peer.final_response();
        assert_eq!(response.status(), Some(480));
        answered.insert(response.header("Call-ID").to_owned());
    }
    sending.join().unwrap();
}

#[test]
fn a_ping_is_answered_with_one_line_end_wherever_it_stands() {
    let site = Site::listening(TCP);
    let mut peer = Peer::connect(site.at(0));
    peer.send("\r\n\r\n");
    assert_eq!(peer.hear_bytes(2), b"\r\n");
    let via = peer.local().to_string();
    let invite = request("INVITE", "101", ("TCP", &via), "ping");
    peer.send(format!("{invite}\r\n\r\n"));
    let mut text = String::new();
    while !(text.contains("SIP/2.0 480") && text.replace("\r\n\r\n", "").contains("\r\n")) {
        text.push_str(&String::from_utf8(peer.hear_bytes(1)).unwrap());
    }
    assert!(site.server.shared().flows.len() == 1);
}

#[test]
fn what_cannot_be_cut_closes_the_connection_and_nothing_behind_it_is_read() {
    let site = Site::listening(TCP);
    let via = ("TCP", "127.0.0.1:9");
    let good = |call: &str| request("INVITE", "101", via, call);
    let long = format!("Content-Length: 70000\r\n\r\n{}", "x".repeat(70_000));
    let faults = [
        (
            "conflicting_content_length",
            "Content-Length: 0\r\nl: 5\r\n\r\n",
        ),
        ("no_content_length", "\r\n"),
        ("bad_content_length", "Content-Length: -1\r\n\r\n"),
        ("too_long", long.as_str()),
        ("not_sip", ""),
    ];
    for (kind, lines) in faults {
        let mut peer = Peer::connect(site.at(0));
        let refused = match kind {
            "not_sip" => None,
            "too_long" => Some(513),
            _ => Some(400),
        };
        let bad = match lines {
            "" => "GET / HTTP/1.1\r\n\r\n".to_owned(),
            _ => good(kind).replace("Content-Length: 0\r\n\r\n", lines),
        };
        // The server may close while we still write.
        let _ = peer.stream.write_all(bad.as_bytes());
        let _ = peer.stream.write_all(good("behind").as_bytes());
        if let Some(status) = refused {
            let answer = peer.hear();
            assert_eq!(answer.status(), Some(status), "{kind}");
            assert_eq!(answer.header("Call-ID"), kind);
        }
        peer.until_closed();
        site.until("connections_unframed", kind, 1);
    }
    assert_eq!(site.number("connection_messages", "in"), 0);
    site.until("connections_closed", "unframed", 5);
    site.until_empty();
}

#[test]
fn what_came_before_the_fault_is_answered_before_the_connection_closes() {
    let site = Site::listening(TCP);
    let mut peer = Peer::connect(site.at(0));
    let via = peer.local().to_string();
    let invite = request("INVITE", "101", ("TCP", &via), "before");
    peer.send(format!("{invite}\0garbage\r\n\r\n"));
    acknowledge_once(&mut peer);
    peer.until_closed();
    site.until("connections_closed", "unframed", 1);
    site.until_empty();
}

/// The one final response; the connection takes no more.
fn acknowledge_once(peer: &mut Peer) {
    let response = peer.final_response();
    assert_eq!(response.status(), Some(480), "{}", response.0);
}

#[test]
fn responses_and_acks_that_cannot_be_cut_are_not_answered() {
    let site = Site::listening(TCP);
    let via = ("TCP", "127.0.0.1:9");
    let response = "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bK1\r\n\r\n";
    let ack = request("ACK", "101", via, "ack").replace("Content-Length: 0\r\n", "");
    for unframed in [response, &ack] {
        let mut peer = Peer::connect(site.at(0));
        peer.send(unframed);
        assert_eq!(peer.try_hear(), None);
    }
    site.until_empty();
}

#[test]
fn who_does_not_read_hurts_only_himself() {
    let site = Site::new(
        TCP,
        "",
        "[limits]\nconnection_queue_bytes = 65536\nconnection_stall_s = 1",
    );
    let mut deaf = Peer::connect(site.at(0));
    deaf.stream
        .set_write_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let mut caller = Peer::connect(site.at(0));
    let closed = || {
        site.number("connections_closed", "queue_full")
            + site.number("connections_closed", "stalled")
    };
    let started = Instant::now();
    let mut calls = 0;
    while closed() == 0 {
        assert!(started.elapsed() < 4 * PATIENCE, "the deaf one stays");
        for number in 0..200 {
            let call = format!("deaf{calls}-{number}");
            let options = request("INVITE", "101", ("TCP", "127.0.0.1:9"), &call);
            if deaf.stream.write_all(options.as_bytes()).is_err() {
                break;
            }
        }
        refused_call(&mut caller, &format!("good{calls}"));
        calls += 1;
    }
    refused_call(&mut caller, "after");
    drop((deaf, caller));
    site.until_empty();
}

#[test]
fn there_are_only_so_many_connections_in_all_and_from_one_source() {
    let site = Site::new(
        TCP,
        "",
        "[limits]\nconnections = 3\nconnections_per_source = 2",
    );
    let mut peers = [Peer::connect(site.at(0)), Peer::connect(site.at(0))];
    for (number, peer) in peers.iter_mut().enumerate() {
        refused_call(peer, &format!("in{number}"));
    }
    Peer::connect(site.at(0)).until_closed();
    site.until("connections_refused", "per_source", 1);
    let other = from("127.0.0.2", &site);
    let mut third = Peer::connect_over(other);
    refused_call(&mut third, "third");
    Peer::connect_over(from("127.0.0.3", &site)).until_closed();
    site.until("connections_refused", "connections", 1);
    drop((peers, third));
    site.until_empty();
    refused_call(&mut Peer::connect(site.at(0)), "again");
}

/// A connection from another address of this machine.
pub(crate) fn from(source: &str, site: &Site) -> TcpStream {
    let domain = socket2::Domain::IPV4;
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
    let source: std::net::IpAddr = source.parse().unwrap();
    socket
        .bind(&std::net::SocketAddr::new(source, 0).into())
        .unwrap();
    socket.connect(&site.at(0).into()).unwrap();
    socket.into()
}

#[test]
fn who_says_nothing_or_not_all_is_not_waited_for() {
    let site = Site::new(TCP, "", "[limits]\nfirst_message_s = 1\nmessage_s = 2");
    let mut silent = Peer::connect(site.at(0));
    let mut slow = Peer::connect(site.at(0));
    let began = Instant::now();
    slow.send("INVITE sip:101@example.com SIP/2.0\r\nVia: ");
    let mut writer = slow.stream.try_clone().unwrap();
    let trickle = std::thread::spawn(move || {
        while writer.write_all(b"x").is_ok() {
            std::thread::park_timeout(Duration::from_millis(100));
        }
    });
    silent.until_closed();
    slow.until_closed();
    assert!(began.elapsed() >= Duration::from_secs(2));
    trickle.join().unwrap();
    site.until("connections_closed", "silent", 1);
    site.until("connections_closed", "slow_message", 1);
    site.until_empty();
}

/// The PBX, and how the server calls it by TCP.
fn pbx() -> (TcpListener, String) {
    let pbx = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = pbx.local_addr().unwrap();
    (pbx, format!("next_hop = \"sip:{at};transport=tcp\""))
}

/// A call to Bert from `caller` to the PBX: answered and ended by the caller.
fn whole_call(caller: &mut Peer, pbx: &mut Peer, call: &str) {
    let via = caller.local().to_string();
    caller.send(request("INVITE", "102", ("TCP", &via), call));
    let (ok, invite) = answered(caller, pbx);
    let dialog = |method: &str| in_dialog(method, &ok, &via, call);
    caller.send(dialog("ACK"));
    assert!(pbx.hear().0.starts_with("ACK "));
    caller.send(dialog("BYE"));
    let bye = pbx.hear();
    assert!(bye.0.starts_with("BYE "), "{}", bye.0);
    assert_eq!(bye.header("Call-ID"), invite.header("Call-ID"));
    pbx.send(bye.answer("200 OK", ""));
    assert_eq!(caller.final_response().status(), Some(200));
}

fn answered(caller: &mut Peer, pbx: &mut Peer) -> (Message, Message) {
    let invite = pbx.hear();
    assert!(invite.0.starts_with("INVITE "), "{}", invite.0);
    assert!(invite.header("Via").starts_with("SIP/2.0/TCP "));
    let contact = format!("Contact: <sip:pbx@{};transport=tcp>\r\n", pbx.local());
    pbx.send(invite.answer("200 OK", &contact));
    let ok = caller.final_response();
    assert_eq!(ok.status(), Some(200));
    (ok, invite)
}

/// A request within the call that `ok` answered.
fn in_dialog(method: &str, ok: &Message, via: &str, call: &str) -> String {
    let number = if method == "ACK" { 1 } else { 2 };
    let contact = ok.header("Contact");
    let target = contact.trim_matches(['<', '>']);
    let routes: String = ok.lines("Record-Route").replace("Record-Route", "Route");
    format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/TCP {via};branch=z9hG4bK{call}{method}\r\n{routes}\
         Max-Forwards: 70\r\nFrom: <sip:caller@example.com>;tag=1\r\nTo: {}\r\nCall-ID: {call}\r\n\
         CSeq: {number} {method}\r\nContent-Length: 0\r\n\r\n",
        ok.header("To")
    )
}

#[test]
fn calls_go_on_over_one_connection_to_the_pbx() {
    let (listener, next_hop) = pbx();
    let site = Site::new(TCP, &next_hop, "");
    let mut caller = Peer::connect(site.at(0));
    let via = caller.local().to_string();
    caller.send(request("INVITE", "102", ("TCP", &via), "first"));
    let mut pbx = Peer::accept(&listener);
    assert_eq!(pbx.stream.peer_addr().unwrap().ip(), site.at(0).ip());
    let invite = pbx.hear();
    pbx.send(invite.answer("486 Busy Here", ""));
    assert!(pbx.hear().0.starts_with("ACK "));
    let busy = caller.final_response();
    assert_eq!(busy.status(), Some(486));
    let invite = request("INVITE", "102", ("TCP", &via), "first");
    caller.send(ack(&invite, &busy));
    for number in 0..5 {
        whole_call(&mut caller, &mut pbx, &format!("whole{number}"));
    }
    assert_eq!(site.number("connections_opened", "us"), 1);
    drop((caller, pbx));
    site.until_empty();
}

#[test]
fn a_closed_connection_to_the_pbx_is_opened_again() {
    let (listener, next_hop) = pbx();
    let site = Site::new(TCP, &next_hop, "");
    let mut caller = Peer::connect(site.at(0));
    for number in 0..3 {
        let via = caller.local().to_string();
        let call = format!("again{number}");
        let invite = request("INVITE", "102", ("TCP", &via), &call);
        caller.send(&invite);
        let mut pbx = Peer::accept(&listener);
        let seen = pbx.hear();
        pbx.send(seen.answer("486 Busy Here", ""));
        assert!(pbx.hear().0.starts_with("ACK "));
        let busy = caller.final_response();
        assert_eq!(busy.status(), Some(486));
        caller.send(ack(&invite, &busy));
        drop(pbx);
        site.until("connections_closed", "by_peer", number + 1);
    }
}

#[test]
fn a_pbx_that_is_not_there_or_goes_away_fails_the_call_at_once() {
    let (listener, next_hop) = pbx();
    let site = Site::new(TCP, &next_hop, "");
    let mut caller = Peer::connect(site.at(0));
    let via = caller.local().to_string();
    let began = Instant::now();
    caller.send(request("INVITE", "102", ("TCP", &via), "killed"));
    let mut pbx = Peer::accept(&listener);
    pbx.hear();
    drop(pbx);
    let failed = caller.final_response().status().unwrap();
    assert!(failed >= 400, "{failed}");
    drop(listener);
    caller.send(request("INVITE", "102", ("TCP", &via), "gone"));
    let failed = caller.final_response().status().unwrap();
    assert!(failed >= 400, "{failed}");
    site.until("connections_refused", "unreachable", 1);
    // Timer B would be 32 seconds.
    assert!(began.elapsed() < Duration::from_secs(25));
    drop(caller);
    site.until_empty();
}

#[test]
fn a_response_takes_the_requests_connection_and_a_new_one_when_that_is_closed() {
    let (listener, next_hop) = pbx();
    let site = Site::new(TCP, &next_hop, "");
    let phone = TcpListener::bind("127.0.0.1:0").unwrap();
    let via = phone.local_addr().unwrap().to_string();
    let mut caller = Peer::connect(site.at(0));
    let invite = request("INVITE", "102", ("TCP", &via), "kept");
    caller.send(&invite);
    let mut pbx = Peer::accept(&listener);
    let seen = pbx.hear();
    pbx.send(seen.answer("486 Busy Here", ""));
    let busy = caller.final_response();
    assert_eq!(busy.status(), Some(486));
    caller.send(ack(&invite, &busy));
    assert!(pbx.hear().0.starts_with("ACK "));

    caller.send(request("INVITE", "102", ("TCP", &via), "lost"));
    let seen = pbx.hear();
    drop(caller);
    assert!(wait(|| site.server.shared().flows.len() == 1));
    pbx.send(seen.answer("486 Busy Here", ""));
    let mut back = Peer::accept(&phone);
    let busy = back.final_response();
    assert_eq!((busy.status(), busy.header("Call-ID")), (Some(486), "lost"));
}

#[test]
fn a_call_from_udp_goes_on_over_tcp() {
    let (listener, next_hop) = pbx();
    let site = Site::new(r#""udp:127.0.0.1:0", "tcp:127.0.0.1:0""#, &next_hop, "");
    let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
    phone.set_read_timeout(Some(PATIENCE)).unwrap();
    let via = phone.local_addr().unwrap().to_string();
    let invite = request("INVITE", "102", ("UDP", &via), "mixed");
    phone.send_to(invite.as_bytes(), site.at(0)).unwrap();
    let mut pbx = Peer::accept(&listener);
    let seen = pbx.hear();
    assert!(seen.header("Via").starts_with("SIP/2.0/TCP "), "{}", seen.0);
    pbx.send(seen.answer("486 Busy Here", ""));
    let mut buffer = [0; 4_096];
    loop {
        let length = phone.recv(&mut buffer).unwrap();
        let response = Message(String::from_utf8_lossy(&buffer[..length]).into_owned());
        if response.status() == Some(486) {
            return;
        }
    }
}

#[test]
fn an_idle_connection_is_closed_unless_somebody_registered_over_it() {
    let site = Site::new(TCP, "", "[limits]\nconnection_idle_s = 10");
    let mut idle = Peer::connect(site.at(0));
    refused_call(&mut idle, "idle");
    let mut registered = Peer::connect(site.at(0));
    let via = registered.local().to_string();
    registered.send(request("REGISTER", "102", ("TCP", &via), "reg"));
    registered.final_response();
    idle.until_closed();
    site.until("connections_closed", "idle", 1);
    registered.send("\r\n\r\n");
    assert_eq!(registered.hear_bytes(2), b"\r\n");
}

#[test]
fn what_waits_is_sent_before_the_server_ends() {
    let site = Site::listening(TCP);
    let mut peer = Peer::connect(site.at(0));
    refused_call(&mut peer, "before");
    let flows = std::sync::Arc::clone(site.server.shared());
    assert_eq!(flows.flows.len(), 1);
    drop(site);
    peer.until_closed();
    assert!(flows.flows.is_empty());
}

#[test]
fn calls_go_to_a_peer_over_the_connection_that_it_opened_with_an_alias() {
    // Nobody listens there: the PBX can only be reached over its own connection.
    let at = "127.0.0.1:9";
    let sip = format!("reuse_tcp = true\nnext_hop = \"sip:{at};transport=tcp\"");
    let site = Site::new(TCP, &sip, "");
    let mut pbx = Peer::connect(site.at(0));
    // To nobody of ours, so that we answer it ourselves.
    pbx.send(request(
        "OPTIONS",
        "nobody",
        ("TCP", &format!("{at};alias")),
        "alias",
    ));
    pbx.final_response();
    let mut caller = Peer::connect(site.at(0));
    let via = caller.local().to_string();
    caller.send(request("INVITE", "102", ("TCP", &via), "back"));
    let invite = loop {
        let message = pbx.hear();
        if message.0.starts_with("INVITE ") {
            break message;
        }
    };
    pbx.send(invite.answer("486 Busy Here", ""));
    assert_eq!(caller.final_response().status(), Some(486));
    assert_eq!(site.number("connections_opened", "us"), 0);
    drop((pbx, caller));
    site.until_empty();
}
