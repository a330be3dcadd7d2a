//! A server with its directory, and what is seen of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pointsman::config::Config;
use pointsman::net::Server;
use pointsman::presence::{Change, Source, Subscriber};
use tempfile::TempDir;

/// How long anything may take on a machine with much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A directory with a configuration, and the server that runs with it.
pub(crate) struct Site {
    pub(crate) directory: TempDir,
    pub(crate) server: Server,
}

/// The configuration of a test.
pub(crate) struct Plan<'a> {
    pub(crate) listen: &'a str,
    pub(crate) sip: &'a str,
    pub(crate) more: &'a str,
}

impl Site {
    /// Listens on these addresses, `"tcp:127.0.0.1:0", …`.
    pub(crate) fn listening(listen: &str) -> Self {
        Self::new(listen, "", "")
    }

    /// With more keys of `[sip]` and more sections.
    pub(crate) fn new(listen: &str, sip: &str, more: &str) -> Self {
        Self::within(tempfile::tempdir().unwrap(), &Plan { listen, sip, more })
    }

    /// In a directory where files lie already.
    pub(crate) fn within(directory: TempDir, plan: &Plan<'_>) -> Self {
        let file = write(directory.path(), plan);
        let read = Box::new(move || Config::load(Some(&file), []));
        let server = Server::start(read().unwrap(), read).unwrap();
        let site = Self { directory, server };
        site.add(r#"{"id":"anna","display_name":"Anna","aliases":["101"],"status":"dnd"}"#);
        site.add(r#"{"id":"bert","display_name":"Bert","aliases":["102"]}"#);
        site
    }

    fn add(&self, json: &str) {
        let subscriber: Subscriber = serde_json::from_str(json).unwrap();
        let change = Change::Put {
            subscriber: Box::new(subscriber),
            if_version: None,
            source: Source::Api,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let changed = runtime
            .unwrap()
            .block_on(self.server.roster().change(change));
        changed.unwrap();
    }

    /// Where a listener is.
    pub(crate) fn at(&self, listener: usize) -> SocketAddr {
        self.server.addresses()[listener]
    }

    /// The sum of a labelled number over all samples that have `label`.
    pub(crate) fn number(&self, name: &str, label: &str) -> u64 {
        let counters = self.server.stream_counters().unwrap();
        let families = counters.labelled();
        let family = families.iter().find(|family| family.name == name).unwrap();
        let has = |labels: &[(&str, &str)]| labels.iter().any(|(_, value)| *value == label);
        let fitting = family.samples.iter().filter(|(labels, _)| has(labels));
        fitting.map(|(_, value)| value).sum()
    }

    /// Waits until a number is at least so high.
    pub(crate) fn until(&self, name: &str, label: &str, least: u64) {
        let reached = || self.number(name, label) >= least;
        assert!(
            wait(reached),
            "{name} {label}: {} instead of {least}",
            self.number(name, label)
        );
    }

    /// Waits until nobody is connected and no table knows anybody.
    pub(crate) fn until_empty(&self) {
        let is_empty =
            || self.server.connections() == [0; 4] && self.server.shared().flows.is_empty();
        assert!(wait(is_empty), "{:?}", self.server.connections());
    }
}

pub(crate) fn write(directory: &Path, plan: &Plan<'_>) -> PathBuf {
    let file = directory.join("pointsman.toml");
    let store = directory.join("store");
    let Plan { listen, sip, more } = plan;
    // A loaded machine of tests keeps messages waiting: that is not what is tried here.
    let text = format!(
        "[overload]\nmax_delay_ms = 10000\n[store]\npath = {store:?}\n[api]\nlisten = \"127.0.0.1:0\"\n[sip]\nlisten = [{listen}]\n\
         shards = 2\ndomains = [\"example.com\"]\n{sip}\n{more}\n"
    );
    std::fs::write(&file, text).unwrap();
    file
}

/// Waits until something is so; whether it became so.
pub(crate) fn wait(is_so: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    true
}
