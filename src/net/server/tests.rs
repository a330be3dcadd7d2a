//! A whole server on loopback, called over UDP.
#![expect(clippy::disallowed_methods, reason = "sockets belong here")]

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::presence::{Change, Source, Subscriber};

struct Site {
    directory: TempDir,
    file: PathBuf,
}

impl Site {
    fn new(more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let site = Self {
            file: directory.path().join("pointsman.toml"),
            directory,
        };
        site.write(more);
        site
    }

    fn write(&self, more: &str) {
        let store = self.directory.path().join("store");
        let text = format!(
            "[store]\npath = {store:?}\n[api]\nlisten = \"127.0.0.1:0\"\n\
             [sip]\nlisten = [\"udp:127.0.0.1:0\", \"udp:[::1]:0\"]\nshards = 2\n\
             domains = [\"example.com\"]\n{more}\n"
        );
        std::fs::write(&self.file, text).unwrap();
    }

    fn reader(&self) -> Reader {
        let file = self.file.clone();
        Box::new(move || Config::load(Some(&file), []))
    }

    fn start(&self) -> Result<Server, StartError> {
        let config = self.reader()().unwrap();
        Server::start(config, self.reader())
    }

    fn server(&self) -> Server {
        self.start().unwrap()
    }
}

fn add(server: &Server, json: &str) {
    let subscriber: Subscriber = serde_json::from_str(json).unwrap();
    let change = Change::Put {
        subscriber: Box::new(subscriber),
        if_version: None,
        source: Source::Api,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(server.roster().change(change)).unwrap();
}

const ANNA: &str = r#"{"id":"anna","display_name":"Anna","aliases":["101"],"status":"dnd"}"#;

fn phone(address: &str) -> UdpSocket {
    let phone = UdpSocket::bind(address).unwrap();
    phone
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    phone
}

/// Calls 101 and hands back the final response; the ACK is sent.
fn call(phone: &UdpSocket, to: SocketAddr, call_id: &str) -> String {
    let from = phone.local_addr().unwrap();
    let message = |method: &str, to_tag: &str| {
        format!(
            "{method} sip:101@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{call_id}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:bob@example.com>;tag=1\r\n\
             To: <sip:101@example.com>{to_tag}\r\nCall-ID: {call_id}\r\nCSeq: 1 {method}\r\n\
             Contact: <sip:bob@{from}>\r\nContent-Length: 0\r\n\r\n"
        )
    };
    phone.send_to(message("INVITE", "").as_bytes(), to).unwrap();
    loop {
        let mut buffer = [0; 4_096];
        let (length, source) = phone.recv_from(&mut buffer).unwrap();
        assert_eq!(source, to);
        let response = String::from_utf8(buffer[..length].to_vec()).unwrap();
        if !response.starts_with("SIP/2.0 1") && response.contains(call_id) {
            let tag = response
                .lines()
                .find(|line| line.starts_with("To:"))
                .unwrap();
            let tag = tag
                .split_once(";tag=")
                .map(|(_, tag)| format!(";tag={tag}"));
            phone
                .send_to(message("ACK", &tag.unwrap_or_default()).as_bytes(), to)
                .unwrap();
            return response;
        }
    }
}

fn status(response: &str) -> &str {
    response
        .lines()
        .next()
        .unwrap_or_default()
        .split(' ')
        .nth(1)
        .unwrap_or_default()
}

#[test]
fn a_call_is_decided_on_every_listener_and_every_shard() {
    let site = Site::new("");
    let server = site.server();
    add(&server, ANNA);
    let traces = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&traces);
    server.on_trace(move |trace| sink.lock().unwrap().push(trace));
    for (listener, address) in ["127.0.0.1:0", "[::1]:0"].into_iter().enumerate() {
        let phone = phone(address);
        for number in 0..8 {
            let response = call(
                &phone,
                server.addresses()[listener],
                &format!("c{listener}-{number}"),
            );
            assert_eq!(status(&response), "480", "{response}");
        }
    }
    let handed: u64 = server
        .gauges()
        .counters()
        .map(|c| c.handed_over.get())
        .sum();
    assert!(handed > 0, "16 calls on 2 shards were never handed over");
    drop(server);
    assert_eq!(traces.lock().unwrap().len(), 16);
}

#[test]
fn a_reload_is_whole_or_not_at_all() {
    let site = Site::new("");
    let server = site.server();
    add(&server, ANNA);
    let told = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&told);
    server.on_reload(move |config| hook.lock().unwrap().push(config.sip.dnd_status));
    let phone = phone("127.0.0.1:0");
    let to = server.addresses()[0];

    site.write("dnd_status = 603\nnext_hop = \"sip:name.invalid\"");
    let errors = server.reload().unwrap_err().to_string();
    assert!(
        errors.contains("pointsman.toml:10:12: sip.next_hop"),
        "{errors}"
    );
    site.write("dnd_status = 999");
    assert!(server.reload().is_err());
    assert_eq!(status(&call(&phone, to, "before")), "480");

    site.write("dnd_status = 603\nreceive_buffer_bytes = 100000");
    let reloaded = server.reload().unwrap();
    assert_eq!(reloaded.needs_restart, ["sip.receive_buffer_bytes"]);
    assert_eq!(status(&call(&phone, to, "after")), "603");
    assert_eq!(*told.lock().unwrap(), [603]);
}

#[test]
fn a_draining_server_refuses_new_calls_and_says_when_to_come_back() {
    let site = Site::new("retry_after_s = 7");
    let server = site.server();
    add(&server, ANNA);
    let phone = phone("127.0.0.1:0");
    assert_eq!(status(&call(&phone, server.addresses()[0], "one")), "480");
    server.begin_drain();
    assert!(*server.draining().borrow());
    let response = call(&phone, server.addresses()[0], "two");
    assert_eq!(status(&response), "503");
    assert!(response.contains("Retry-After: 7\r\n"), "{response}");
    assert_eq!(server.calls_open(), 0);
}

#[test]
fn subscribers_outlive_the_server() {
    let site = Site::new("");
    add(&site.server(), ANNA);
    let server = site.server();
    assert_eq!(
        status(&call(&phone("127.0.0.1:0"), server.addresses()[0], "again")),
        "480"
    );
    assert!(server.store_writes().buckets().sum::<u64>() == 0);
}

#[test]
fn a_second_server_is_told_what_is_in_its_way() {
    let site = Site::new("");
    let server = site.server();
    let locked = site.start().err().unwrap().to_string();
    assert!(locked.contains("in use by another process"), "{locked}");
    let port = server.addresses()[0].port();
    let other = Site::new("");
    let text = std::fs::read_to_string(&other.file).unwrap();
    let text = text.replace("udp:127.0.0.1:0", &format!("udp:127.0.0.1:{port}"));
    std::fs::write(&other.file, text).unwrap();
    let in_use = other.start().err().unwrap().to_string();
    assert!(in_use.contains("another program uses the port"), "{in_use}");
    let nowhere = Config::load(Some(Path::new("/nonexistent")), []).unwrap_err();
    assert!(
        StartError::Config(nowhere)
            .to_string()
            .contains("cannot read the file")
    );
}

#[test]
fn a_status_ends_by_itself() {
    let site = Site::new("");
    let server = site.server();
    let until = server.clock().timestamp() + Duration::from_secs(1);
    let json = format!(
        r#"{{"id":"anna","display_name":"Anna","aliases":["101"],"status":"dnd","until":"{until}"}}"#
    );
    add(&server, &json);
    for _ in 0..500 {
        let status = server
            .shared()
            .directory
            .get("anna")
            .unwrap()
            .to_subscriber()
            .status;
        if status == crate::presence::Status::Available {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    panic!("the status stays");
}

#[test]
fn the_end_does_not_wait_for_a_calendar_that_hangs() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let feed = format!("https://{}/holidays.ics", silent.local_addr().unwrap());
    let site = Site::new(&format!("[presence]\nholidays = [\"{feed}\"]"));
    let server = site.server();
    let (_asked, _) = silent.accept().unwrap();
    let begun = crate::net::clock::stopwatch();
    drop(server);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    // Nothing is left that would keep another server from the store.
    drop(site.server());
}
