//! How long a change takes to a thousand lamps: the same beside the pages of `crowd`.

use std::collections::HashSet;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::browser::say;
use crate::server::{PATIENCE, Server};

const LAMPS: usize = 1_000;
const CHANGES: usize = 40;

fn subscribe(phone: &UdpSocket, server: &Server, number: usize) {
    let own = phone.local_addr().unwrap();
    let text = format!(
        "SUBSCRIBE sip:101@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:bob@example.com>;tag=1\r\nTo: <sip:101@example.com>\r\n\
         Call-ID: lamp-{number}\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:bob@{own}>\r\n\
         Event: presence\r\nContent-Length: 0\r\n\r\n"
    );
    phone.send_to(text.as_bytes(), server.sip).unwrap();
}

/// Answers the NOTIFY of every watcher once all have come, as each phone would by itself; when each
/// came.
fn hear(phone: &UdpSocket) -> Vec<Instant> {
    let (mut heard, mut at, mut came) = (HashSet::new(), Vec::new(), Vec::new());
    let mut buffer = [0; 4_096];
    while came.len() < LAMPS {
        let (length, server) = phone.recv_from(&mut buffer).unwrap();
        let now = Instant::now();
        let text = &buffer[..length];
        if text.starts_with(b"NOTIFY ") {
            came.push((now, text.to_vec(), server));
        }
    }
    for (now, text, server) in came {
        let mut answer = String::from("SIP/2.0 200 OK\r\n");
        let text = String::from_utf8(text).unwrap();
        for line in text.lines().skip(1).take_while(|line| !line.is_empty()) {
            if let Some(call_id) = line.strip_prefix("Call-ID: ")
                && heard.insert(call_id.to_owned())
            {
                at.push(now);
            }
            let copied = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
            if copied.iter().any(|name| line.starts_with(name)) {
                answer.push_str(line);
                answer.push_str("\r\n");
            }
        }
        answer.push_str("Content-Length: 0\r\n\r\n");
        phone.send_to(answer.as_bytes(), server).unwrap();
    }
    assert_eq!(heard.len(), LAMPS, "one NOTIFY for each");
    at
}

#[test]
#[ignore = "a measurement: cargo test --release --test page -- --ignored --nocapture"]
fn a_change_reaches_a_thousand_lamps() {
    let server =
        Server::start_with("shards = 1\n[auth]\nmethods = []\n[events]\nper_watcher = 10000\n");
    let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
    phone.set_read_timeout(Some(PATIENCE)).unwrap();
    let size = socket2::SockRef::from(&phone).set_recv_buffer_size(8 << 20);
    size.unwrap();
    for number in 0..LAMPS {
        subscribe(&phone, &server, number);
        if number % 50 == 49 {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    hear(&phone);
    let mut took: Vec<Duration> = Vec::new();
    for change in 0..CHANGES {
        let status = if change % 2 == 0 { "away" } else { "available" };
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let set = || {
                server.send(
                    "PUT",
                    "subscribers/anna/status",
                    &json!({ "status": status }),
                )
            };
            scope.spawn(set);
            took.extend(hear(&phone).iter().map(|at| at.duration_since(begun)));
        });
    }
    took.sort_unstable();
    let at = |share: usize| took[took.len() * share / 100];
    say(&format!(
        "{LAMPS} lamps, from the request on: median {:?}, p99 {:?}, last {:?}",
        at(50),
        at(99),
        took[took.len() - 1]
    ));
    assert_eq!(took.len(), LAMPS * CHANGES);
}
