//! How long a change takes to a thousand pages that are open.

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

use crate::browser::say;
use crate::server::{ADMIN, PATIENCE, Server};

const PAGES: usize = 1_000;
const CHANGES: usize = 40;

/// When the pages heard of a change; given away when all have.
struct Heard {
    at: Mutex<Vec<Instant>>,
    all: Sender<Vec<Instant>>,
}

impl Heard {
    fn now(&self) {
        let mut at = self.at.lock().unwrap();
        at.push(Instant::now());
        if at.len() == PAGES {
            self.all.send(std::mem::take(&mut at)).unwrap();
        }
    }
}

/// Reads the stream of a page; tells that it has begun, and each change of Anna's.
async fn read(host: String, begun: Sender<()>, heard: Arc<Heard>) {
    let mut stream = TcpStream::connect(&host).await.unwrap();
    let request = format!(
        "GET /api/v1/events HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {ADMIN}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut lines = BufReader::with_capacity(1_024, stream);
    let mut line = String::new();
    while !line.starts_with(": pointsman") {
        line.clear();
        assert!(lines.read_line(&mut line).await.unwrap() > 0);
    }
    begun.send(()).unwrap();
    while lines
        .read_line(&mut line)
        .await
        .is_ok_and(|length| length > 0)
    {
        if line.starts_with("data:") && line.contains("\"anna\"") {
            heard.now();
        }
        line.clear();
    }
}

#[test]
#[ignore = "a measurement: cargo test --release --test page -- --ignored --nocapture"]
fn a_change_reaches_a_thousand_pages() {
    let server = Server::start();
    let host = server.page.trim_start_matches("http://").to_owned();
    let (all, hears) = mpsc::channel();
    let heard = Arc::new(Heard {
        at: Mutex::default(),
        all,
    });
    let (begun, begins) = mpsc::channel();
    // One thread reads for all, so that it is not a thousand threads that are measured.
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_io().build().unwrap();
        let pages = (0..PAGES).map(|_| (host.clone(), begun.clone(), Arc::clone(&heard)));
        let read = pages.map(|(host, begun, heard)| runtime.spawn(read(host, begun, heard)));
        let reading: Vec<_> = read.collect();
        runtime.block_on(async {
            for page in reading {
                page.await.unwrap();
            }
        });
    });
    for _ in 0..PAGES {
        begins.recv_timeout(PATIENCE).unwrap();
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
        let heard = hears.recv_timeout(PATIENCE).unwrap();
        took.extend(heard.iter().map(|at| at.duration_since(begun)));
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
