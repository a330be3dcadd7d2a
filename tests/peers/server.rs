//! The real binary, `pointsman serve`, and its API.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use crate::wait::{PATIENCE, end_of, until};

const BINARY: &str = env!("CARGO_BIN_EXE_pointsman");

/// A running server; it ends with its test.
pub struct Server {
    child: Child,
    api: String,
    log: PathBuf,
}

impl Server {
    /// Starts `serve` with a configuration file and waits for its READY line.
    pub fn start(config: &Path) -> Self {
        let log = config.with_extension("log");
        let log_file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let mut child = Command::new(BINARY)
            .args(["serve", "--config"])
            .arg(config)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .spawn()
            .unwrap();
        let (tell, told) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let mut server = Self {
            child,
            api: String::new(),
            log,
        };
        let ready = told.recv_timeout(PATIENCE);
        let ready = ready.unwrap_or_else(|_| panic!("not ready: {}", server.log()));
        assert!(ready.starts_with("READY "), "{ready}");
        server.api = ready.split("api=").nth(1).unwrap().to_owned();
        server
    }

    /// Imports subscribers, one JSON document a line, with the command line.
    pub fn import(&self, file: &Path) {
        self.tell(&["import", file.to_str().unwrap()]);
    }

    /// What the command line prints.
    pub fn tell(&self, arguments: &[&str]) -> String {
        let done = Command::new(BINARY)
            .args(["--api", &self.api])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{arguments:?}: {said}");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// The JSON document at a path below `/api/v1/`.
    pub fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(&format!("/api/v1/{path}"));
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Puts a JSON document.
    pub fn put(&self, path: &str, document: &Value) {
        let url = format!("{}/api/v1/{path}", self.api);
        let agent = agent();
        let mut answer = agent.put(&url).send_json(document).unwrap();
        let body = answer.body_mut().read_to_string().unwrap();
        assert!(answer.status().is_success(), "{path}: {body}");
    }

    /// Deletes what is at a path.
    pub fn delete(&self, path: &str) {
        let url = format!("{}/api/v1/{path}", self.api);
        let answer = agent().delete(&url).call().unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }

    /// Status and body of any path.
    pub fn ask(&self, path: &str) -> (u16, String) {
        let mut answer = agent().get(format!("{}{path}", self.api)).call().unwrap();
        let body = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), body)
    }

    /// A number of `/metrics`; 0 where it is not named.
    pub fn metric(&self, name: &str) -> u64 {
        let (_, text) = self.ask("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.trim().parse::<f64>().ok());
        number.map_or(0, |number| number as u64)
    }

    /// The sum of a labelled number of `/metrics`.
    pub fn metric_sum(&self, name: &str) -> u64 {
        let (_, text) = self.ask("/metrics");
        let lines = text.lines().filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        let numbers = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        numbers.sum::<f64>() as u64
    }

    /// How much memory it has, kibibytes.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        number.unwrap().parse().unwrap()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for a text in the log.
    pub fn wait_for_log(&self, text: &str) {
        until(&format!("`{text}` in {}", self.log()), || {
            self.log().contains(text).then_some(())
        });
    }

    /// Sends a signal to the server alone.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success(), "kill {signal} {pid}");
    }

    /// How it ended by itself.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        end_of(&mut self.child, patience).expect("the server did not end")
    }

    /// Ends it as a power cut would.
    pub fn kill_9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill_9();
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE));
    config.build().into()
}
