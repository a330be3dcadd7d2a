//! One test's world: a server of its own, and addresses of its own for everybody around it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use crate::certificates;
use crate::network::Network;
use crate::server::Server;
use crate::sipp::{Log, Role, Seen, Sipp};
use crate::wait::{until, until_true};

const ANNA: &str = r#"{"id":"anna","display_name":"Anna","aliases":["101","+493012345101"]"#;
/// Anna without any settings.
pub const PLAIN_ANNA: &str =
    r#"{"id":"anna","display_name":"Anna","aliases":["101","+493012345101"]}"#;
/// Bob without any settings.
pub const PLAIN_BOB: &str = r#"{"id":"bob","display_name":"Bob","aliases":["102"]}"#;
/// Anna's address.
pub const TO_ANNA: &str = "sip:101@example.com";

/// Anna with a status and settings.
pub fn anna(status: &str, settings: &str) -> String {
    format!(r#"{ANNA},"status":"{status}","settings":{settings}}}"#)
}

/// Bob with a status and settings.
pub fn bob(status: &str, settings: &str) -> String {
    PLAIN_BOB.replace(
        '}',
        &format!(r#","status":"{status}","settings":{settings}}}"#),
    )
}

/// The server with everybody around it.
pub struct Stage {
    pub server: Server,
    config: PathBuf,
    network: Network,
    folder: TempDir,
    next_caller: AtomicU16,
}

impl Stage {
    /// A server that knows `subscribers`. `keys` are further keys of `[sip]`, which go before
    /// those of every stage, and sections after them; `{pbx}` and its like are filled in.
    pub fn new(keys: &str, subscribers: &[impl AsRef<str>]) -> Self {
        let network = Network::claim();
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("pointsman.toml");
        if keys.contains("{folder}") {
            let hosts = [1, 2, 4].map(|last| network.host(last).to_string());
            certificates::write(folder.path(), &hosts);
        }
        std::fs::write(&config, configuration(&network, folder.path(), keys)).unwrap();
        let stage = Self {
            server: Server::start(&config),
            config,
            network,
            folder,
            next_caller: AtomicU16::new(5060),
        };
        let lines: Vec<_> = subscribers.iter().map(AsRef::as_ref).collect();
        let file = stage.folder.path().join("subscribers.jsonl");
        std::fs::write(&file, lines.join("\n")).unwrap();
        stage.server.import(&file);
        stage
    }

    /// Writes another configuration; the server learns of it when it is told.
    pub fn configure(&self, keys: &str) {
        let text = configuration(&self.network, self.folder.path(), keys);
        std::fs::write(&self.config, text).unwrap();
    }

    /// Starts the server again, on the same store.
    pub fn restart(&mut self) {
        self.server = Server::start(&self.config);
    }

    /// Where everybody's files lie.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.network.host(1), 5060)
    }

    pub fn pbx(&self) -> SocketAddr {
        SocketAddr::new(self.network.host(2), 5060)
    }

    pub fn voicemail(&self) -> SocketAddr {
        SocketAddr::new(self.network.host(3), 5060)
    }

    pub fn mobile(&self) -> SocketAddr {
        SocketAddr::new(self.network.host(4), 5060)
    }

    /// Where somebody else is, who has a host of their own.
    pub fn host(&self, last: u8) -> SocketAddr {
        SocketAddr::new(self.network.host(last), 5060)
    }

    /// An address for a relay.
    pub fn relay(&self, last: u8) -> SocketAddr {
        SocketAddr::new(self.network.host(last), 5060)
    }

    /// Somebody who waits for calls.
    pub fn waiting(&self, scenario: &str, at: SocketAddr) -> Role {
        Role::waiting(scenario, at)
    }

    /// A caller, at an address of their own.
    pub fn calling(&self, scenario: &str, uri: &str) -> Role {
        let port = self.next_caller.fetch_add(1, Ordering::Relaxed);
        let at = SocketAddr::new(self.network.host(5), port);
        Role::calling(scenario, at, self.address(), uri)
    }

    pub fn start(&self, role: Role) -> Sipp {
        role.start(self.folder.path())
    }

    /// Waits for a call to somebody and lets it go as the scenario says.
    pub fn wait_for_call(&self, scenario: &str, at: SocketAddr) -> Sipp {
        self.start(self.waiting(scenario, at))
    }

    /// A whole call by an external caller; what they saw.
    pub fn call(&self, uri: &str) -> Log {
        self.start(self.calling("uac_call", uri)).finish()
    }

    /// What the server says of a subscriber.
    pub fn subscriber(&self, id: &str) -> Value {
        self.server.get(&format!("subscribers/{id}"))
    }

    /// Waits until a subscriber is in that many calls, which their status then shows.
    pub fn wait_for_calls_of(&self, id: &str, calls: u64) {
        until_true(&format!("{id} in {calls} call(s)"), || {
            self.subscriber(id)["calls"] == calls
        });
        let is_in_call = self.subscriber(id)["effective_status"] == "in_call";
        assert_eq!(is_in_call, calls > 0, "{}", self.subscriber(id));
    }

    /// The calls in progress.
    pub fn calls(&self) -> Vec<Value> {
        let listed = self.server.get("calls");
        listed["calls"].as_array().unwrap().clone()
    }

    /// What was decided for a caller's call: the decision, its reasons, the final status.
    pub fn decided(&self, log: &Log) -> (String, Vec<String>, u64) {
        let call_id = log.0[0].header("Call-ID");
        let path = format!("decisions?call_id={call_id}");
        let trace = until(&path, || {
            let decisions = self.server.get(&path);
            decisions["decisions"].get(0).cloned()
        });
        let decision = trace["decision"].as_str().unwrap().to_owned();
        (
            decision,
            texts(&trace["reasons"]),
            trace["status"].as_u64().unwrap(),
        )
    }

    /// Checks what was decided for a caller's call and why, and that the caller got just that.
    pub fn assert_decided(&self, log: &Log, decision: &str, reasons: &[&str]) {
        let (decided, why, status) = self.decided(log);
        assert_eq!(
            (decided.as_str(), &why[..]),
            (decision, &reasons.map_owned()[..])
        );
        let answers = log.answers();
        assert_eq!(
            answers.last().map(|s| u64::from(*s)),
            Some(status),
            "{answers:?}"
        );
    }

    /// The newest entry of a subscriber's journal, when there are so many.
    pub fn journal(&self, id: &str, entries: usize) -> Value {
        let path = format!("subscribers/{id}/journal");
        until(&format!("{entries} in the journal of {id}"), || {
            let journal = self.server.get(&path);
            let found = journal["entries"].as_array().unwrap();
            assert!(found.len() <= entries, "{journal}");
            (found.len() == entries).then(|| found.first().cloned().unwrap_or_default())
        })
    }

    /// Checks that a subscriber's journal has one entry, of this kind.
    pub fn assert_noted(&self, id: &str, kind: &str) {
        let entry = self.journal(id, 1);
        assert_eq!(entry["kind"], kind, "{entry}");
    }

    /// Waits until so many phones are registered.
    pub fn wait_for_bindings(&self, count: u64) {
        until_true(&format!("{count} binding(s)"), || {
            self.server.get("bindings")["total"] == count
        });
    }

    /// Checks that no phone is registered, no connection open and no call left.
    pub fn assert_forgotten(&self) {
        self.wait_for_bindings(0);
        until_true("no connection is open", || {
            self.server.metric_sum("pointsman_connections_open") == 0
        });
        self.assert_free();
    }

    /// Checks that no call is left anywhere: no record, no mark, no count.
    pub fn assert_free(&self) {
        until_true("no call is left", || self.calls().is_empty());
        assert_eq!(self.server.metric("pointsman_calls_open"), 0);
        let all = self.server.get("subscribers?limit=1000");
        for subscriber in all["subscribers"].as_array().unwrap() {
            let id = subscriber["id"].as_str().unwrap();
            let full = self.subscriber(id);
            assert_eq!(full["calls"], 0, "{full}");
            assert_ne!(full["effective_status"], "in_call", "{full}");
        }
        assert!(
            !self.server.log().contains("panic"),
            "{}",
            self.server.log()
        );
    }
}

/// The strings of a JSON list.
fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().unwrap().iter();
    items
        .map(|item| item.as_str().unwrap().to_owned())
        .collect()
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!(
                "what everybody logged is kept in {}",
                self.folder.path().display()
            );
        }
    }
}

trait MapOwned {
    fn map_owned(&self) -> Vec<String>;
}

impl MapOwned for [&str] {
    fn map_owned(&self) -> Vec<String> {
        self.iter().map(|text| (*text).to_owned()).collect()
    }
}

/// A configuration file. A key that `keys` set, or name in a comment, is left out of the others.
fn configuration(network: &Network, folder: &Path, keys: &str) -> String {
    let keys = fill_in(keys, network).replace("{folder}", folder.to_str().unwrap());
    let common = fill_in(COMMON, network);
    let is_set = |line: &&str| {
        let name = line.split('=').next().unwrap_or_default();
        keys.lines()
            .any(|set| set.trim_start_matches("# ").starts_with(name))
    };
    let common: Vec<_> = common.lines().filter(|line| !is_set(line)).collect();
    let api = network.host(1);
    let path = folder.join("store");
    // A loaded machine of tests keeps messages waiting: that is not what is tried here.
    format!(
        "[overload]\nmax_delay_ms = 10000\n[api]\nlisten = \"{api}:8080\"\n[store]\npath = {path:?}\n[sip]\n{}\n{keys}\n",
        common.join("\n")
    )
}

const COMMON: &str = r#"listen = ["udp:{server}:5060"]
domains = ["example.com"]
next_hop = "sip:{pbx}:5060"
outbound = "sip:{mobile}:5060"
voicemail = "sip:vm-{subscriber}@{voicemail}:5060"
shards = 1"#;

fn fill_in(text: &str, network: &Network) -> String {
    let names = [
        "{server}",
        "{pbx}",
        "{voicemail}",
        "{mobile}",
        "{caller}",
        "{before_pbx}",
    ];
    let mut filled = text.to_owned();
    for (name, last) in names.into_iter().zip(1..) {
        filled = filled.replace(name, &network.host(last).to_string());
    }
    filled
}

/// The parameters of a URI in a header or a first line, as far as the closing bracket or space.
pub fn uri_of<'m>(message: &'m Seen, header: &str) -> &'m str {
    let value = message.header(header);
    let value = value.strip_prefix('<').unwrap_or(value);
    value.split('>').next().unwrap_or_default()
}
