//! The real binary with its page, its API, and a caller.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything that should happen at once may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
pub const ADMIN: &str = "administrators-token-of-a-test";

/// A running server; it ends with its test.
pub struct Server {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    _folder: TempDir,
    pub page: String,
    pub sip: SocketAddr,
}

impl Server {
    /// A server with Anna, Bob, Carla and Emil.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// The same with more in its configuration.
    pub fn start_with(more: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("pointsman.toml");
        let text = format!(
            "[store]\npath = {:?}\n[api]\nlisten = \"127.0.0.1:0\"\nadmin_token = \"{ADMIN}\"\n\
             [sip]\nlisten = [\"udp:127.0.0.1:0\"]\ndomains = [\"example.com\"]\n{more}",
            folder.path().join("store")
        );
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_pointsman"))
            .args(["serve", "--config"])
            .arg(&config)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        stdout.read_line(&mut ready).unwrap();
        let after = |mark: &str| {
            let rest = ready
                .split_once(mark)
                .unwrap_or_else(|| panic!("{ready:?}"))
                .1;
            rest.split_whitespace().next().unwrap().to_owned()
        };
        let server = Self {
            page: format!("http://{}", after("api=http://")),
            sip: after("sip=udp:").parse().unwrap(),
            child,
            _stdout: stdout,
            _folder: folder,
        };
        for (id, name, number, team) in [
            ("anna", "Anna Arndt", "101", "Sales"),
            ("bob", "Bob Bauer", "102", "Sales"),
            ("carla", "Carla Conti", "103", "Board"),
            ("emil", "Emil Ernst", "104", "Board"),
        ] {
            let document = json!({"id": id, "display_name": name, "aliases": [number],
                                  "teams": [team], "password": format!("{id}-secret")});
            server.send("POST", "subscribers", &document);
        }
        server
    }

    /// A document of the API.
    pub fn get(&self, path: &str) -> Value {
        self.send("GET", path, &Value::Null)
    }

    /// Asks the API as the administrator.
    pub fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}/api/v1/{path}", self.page))
            .header("authorization", format!("Bearer {ADMIN}"))
            .header("content-type", "application/json");
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        let mut answer = agent.run(request.body(body).unwrap()).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        assert!(answer.status().is_success(), "{method} {path}: {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// What a colleague sees of somebody.
    pub fn status(&self, id: &str) -> Value {
        self.get(&format!("subscribers/{id}/status"))
    }

    /// Waits until the API says so.
    pub fn until(&self, what: &str, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.get(path);
            if holds(&found) {
                return found;
            }
            assert!(Instant::now() < deadline, "{what}: {found}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Calls a number; the final response.
    pub fn call(&self, number: &str) -> String {
        let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
        phone.set_read_timeout(Some(PATIENCE)).unwrap();
        let from = phone.local_addr().unwrap();
        let port = from.port();
        let lines = |method: &str, to_tag: &str| {
            format!(
                "{method} sip:{number}@example.com SIP/2.0\r\n\
                 Via: SIP/2.0/UDP {from};branch=z9hG4bK{port}\r\nMax-Forwards: 70\r\n\
                 From: <sip:+491701112233@example.org>;tag=1\r\n\
                 To: <sip:{number}@example.com>{to_tag}\r\n\
                 Call-ID: call-{port}\r\nCSeq: 1 {method}\r\n\
                 Contact: <sip:caller@{from}>\r\nContent-Length: 0\r\n\r\n"
            )
        };
        phone
            .send_to(lines("INVITE", "").as_bytes(), self.sip)
            .unwrap();
        loop {
            let mut buffer = [0; 4_096];
            let length = phone.recv(&mut buffer).unwrap();
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let status: u16 = text.split(' ').nth(1).unwrap().parse().unwrap();
            if status >= 200 {
                let to = text.lines().find(|line| line.starts_with("To:")).unwrap();
                let tag = to.split_once(">").unwrap().1.to_owned();
                phone
                    .send_to(lines("ACK", &tag).as_bytes(), self.sip)
                    .unwrap();
                return text;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
