//! How long a change takes to a thousand pages that are open.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::browser::say;
use crate::server::{ADMIN, PATIENCE, Server};

const PAGES: usize = 1_000;
const CHANGES: usize = 20;

#[test]
#[ignore = "a measurement: cargo test --release --test page -- --ignored --nocapture"]
fn a_change_reaches_a_thousand_pages() {
    let server = Server::start();
    let (told, hears) = mpsc::channel::<Instant>();
    for _ in 0..PAGES {
        let mut stream = TcpStream::connect(server.page.trim_start_matches("http://")).unwrap();
        write!(
            stream,
            "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN}\r\n\r\n"
        )
        .unwrap();
        let mut lines = BufReader::with_capacity(1_024, stream);
        let mut line = String::new();
        while !line.starts_with(": pointsman") {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0);
        }
        let told = told.clone();
        let listen = move || {
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
                if line.starts_with("data:") && line.contains("\"anna\"") {
                    let _ = told.send(Instant::now());
                }
                line.clear();
            }
        };
        let small = std::thread::Builder::new().stack_size(128 * 1_024);
        small.spawn(listen).unwrap();
    }
    let mut took: Vec<Duration> = Vec::new();
    for change in 0..CHANGES {
        let status = if change % 2 == 0 { "away" } else { "break" };
        let begun = Instant::now();
        server.send(
            "PUT",
            "subscribers/anna/status",
            &json!({ "status": status }),
        );
        for _ in 0..PAGES {
            took.push(hears.recv_timeout(PATIENCE).unwrap().duration_since(begun));
        }
    }
    took.sort_unstable();
    let at = |share: usize| took[took.len() * share / 100];
    say(&format!(
        "{PAGES} pages, from the request on: median {:?}, p99 {:?}, last {:?}",
        at(50),
        at(99),
        took[took.len() - 1]
    ));
    assert_eq!(took.len(), PAGES * CHANGES);
}
