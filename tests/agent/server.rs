//! A real server with Anna.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::network::Network;

/// How long anything that should happen at once may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const ADMIN: &str = "administrators-token-of-a-test";

/// A running server; it ends with its test.
pub struct Server {
    child: Child,
    folder: TempDir,
    pub api: String,
    _network: Network,
}

impl Server {
    pub fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let network = Network::claim();
        let address = SocketAddr::new(network.host(1), 8080);
        let text = format!(
            "[store]\npath = {:?}\n[api]\nlisten = \"{address}\"\nadmin_token = \"{ADMIN}\"\n\
             [sip]\nlisten = [\"udp:127.0.0.1:0\"]\nshards = 1\n[shutdown]\ngrace_s = 0\n",
            folder.path().join("store")
        );
        std::fs::write(folder.path().join("pointsman.toml"), text).unwrap();
        let server = Self {
            child: run(&folder),
            folder,
            api: format!("http://{address}"),
            _network: network,
        };
        server.send("POST", "subscribers", &json!({"id": "anna"}));
        server
    }

    /// Ends it, to be started again.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again, on the same address.
    pub fn restart(&mut self) {
        self.child = run(&self.folder);
    }

    pub fn token_of(&self, id: &str) -> String {
        let made = self.send(
            "POST",
            &format!("subscribers/{id}/tokens"),
            &json!({"label": "desk"}),
        );
        made["token"].as_str().unwrap().to_owned()
    }

    pub fn status(&self) -> Value {
        self.send("GET", "subscribers/anna/status", &Value::Null)
    }

    pub fn signals(&self) -> Value {
        self.send("GET", "subscribers/anna/signals", &Value::Null)
    }

    /// Waits until Anna is shown so.
    pub fn until_status(&self, status: &str) {
        self.until(status, "status", |found| found["status"] == status);
    }

    /// Waits until the reports of Anna are so.
    pub fn until_signals(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        self.until(what, "signals", holds)
    }

    fn until(&self, what: &str, part: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.send("GET", &format!("subscribers/anna/{part}"), &Value::Null);
            if holds(&found) {
                return found;
            }
            assert!(Instant::now() < deadline, "never {what}: {found}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}/api/v1/{path}", self.api))
            .header("authorization", format!("Bearer {ADMIN}"))
            .header("content-type", "application/json");
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        let mut answer = agent.run(request.body(body).unwrap()).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        assert!(answer.status().is_success(), "{method} {path}: {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(folder: &TempDir) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(["serve", "--config"])
        .arg(folder.path().join("pointsman.toml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut ready).unwrap();
    assert!(ready.starts_with("READY"), "{ready:?}");
    child
}
