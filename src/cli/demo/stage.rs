//! The stage: the real server from a real configuration, with the systems around it.

use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::SignedDuration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::cast;
use super::wire::System;
use crate::cli::exit::CliError;
use crate::cli::serve::start_api_and_tell;
use crate::config::Config;
use crate::net::{Clock, Server};
use crate::presence::{Change, ChangeError, Directory, Source, Status};
use crate::proxy::{Shared, Trace};

/// Where everything runs but the trunks.
pub(super) const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// A trunk for whose calls forwardings are answered with 302.
pub(super) const TRUNK: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// A trunk for whose calls pointsman forwards itself.
pub(super) const RETARGETING_TRUNK: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
/// Somebody who is no peer.
pub(super) const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));
/// The domain of the demo.
pub(super) const DOMAIN: &str = "example.com";

/// The running server and the systems it sends calls to.
pub(super) struct Stage {
    pub server: Arc<Server>,
    pub clock: Clock,
    api: SocketAddr,
    interrupted: Arc<AtomicBool>,
    ending: watch::Sender<bool>,
    traces: Arc<Traces>,
    pbx: System,
    public_network: System,
    voicemail: System,
    runtime: Runtime,
    _directory: Scratch,
}

/// The decisions so far, by Call-ID.
type Traces = Mutex<HashMap<String, Vec<Trace>>>;

/// What is left when all calls are over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Leftovers {
    /// Calls that the engine takes for open.
    pub calls: u64,
    /// INVITE transactions, timer D not counted.
    pub invites: u64,
    /// INVITE transactions that RFC 3261 keeps for timer D, 32 seconds, to acknowledge what the
    /// PBX may repeat.
    pub waiting_for_timer_d: u64,
    /// Other transactions.
    pub relays: u64,
    /// In-call and ringing marks of all subscribers.
    pub marks: u64,
    /// Open calls in the store.
    pub stored_calls: u64,
    /// Calls that the PBX, voicemail or the public network still hold.
    pub dialogs: u64,
}

impl Leftovers {
    /// Whether nothing is left but what has to wait by the RFC.
    pub(super) fn is_nothing(&self) -> bool {
        let waiting_for_timer_d = self.waiting_for_timer_d;
        *self
            == Self {
                waiting_for_timer_d,
                ..Self::default()
            }
    }
}

impl Stage {
    /// Starts everything, the server's API included.
    ///
    /// # Errors
    /// Something cannot be started, with the reason.
    pub(super) fn set() -> Result<Self, CliError> {
        let (clock, interrupted) = (Clock::start(), Arc::new(AtomicBool::new(false)));
        let runtime = runtime(&interrupted)?;
        let start = |name: &str, book| {
            let system = System::start(name, HOME, clock, book);
            system.map_err(|error| CliError::failed(format!("the simulated {name}: {error}")))
        };
        let pbx = start("pbx", cast::pbx())?;
        let public_network = start("public network", cast::public_network())?;
        let voicemail = start("voicemail", cast::voicemail())?;
        let directory = Scratch::new()?;
        let text = configuration(&[&pbx, &public_network, &voicemail], &directory.0);
        let read = move || Config::parse(Path::new("demo.toml"), &text, []);
        let config = read().map_err(|error| CliError::failed(error.to_string()))?;
        let server = Server::start(config, Box::new(read));
        let server = Arc::new(server.map_err(|error| CliError::failed(error.to_string()))?);
        runtime.block_on(seat_the_cast(&server))?;
        let (ending, told) = watch::channel(false);
        let traces = Arc::new(Traces::default());
        let kept = Arc::clone(&traces);
        let api = start_api_and_tell(Arc::clone(&server), told, move |trace| {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let of_call = kept.entry(trace.texts.call_id().into_owned()).or_default();
            of_call.push(trace.clone());
        });
        let api = runtime.block_on(api);
        let api = api.map_err(|error| CliError::failed(format!("the API: {error}")))?;
        Ok(Self {
            server,
            clock,
            api: api.address,
            interrupted,
            ending,
            traces,
            pbx,
            public_network,
            voicemail,
            runtime,
            _directory: directory,
        })
    }

    /// Where the server's HTTP API is.
    pub(super) fn api(&self) -> SocketAddr {
        self.api
    }

    /// Becomes true when somebody wants the demo to end: SIGINT or SIGTERM.
    pub(super) fn interrupted(&self) -> &Arc<AtomicBool> {
        &self.interrupted
    }

    /// Where the server takes calls.
    pub(super) fn proxy(&self) -> SocketAddr {
        let first = self.server.addresses().first();
        first.copied().unwrap_or(SocketAddr::new(HOME, 5060))
    }

    /// Where numbers outside are reached.
    pub(super) fn public_network(&self) -> SocketAddr {
        self.public_network.local
    }

    /// What the shards share.
    pub(super) fn shared(&self) -> &Shared {
        self.server.shared()
    }

    /// Who can be called.
    pub(super) fn directory(&self) -> &Arc<Directory> {
        &self.server.shared().directory
    }

    /// A subscriber's effective status, as colleagues see it now.
    pub(super) fn effective_status(&self, id: &str) -> Option<Status> {
        let handle = self.directory().handle_of_id(id)?;
        Some(self.directory().effective_status(handle, self.now_unix_s()))
    }

    /// The time of the server.
    pub(super) fn now_unix_s(&self) -> i64 {
        self.clock.now().unix_ms.div_euclid(1_000)
    }

    /// Sends a subscriber into a break that ends by itself.
    pub(super) fn begin_break(&self, id: &str, lasts: SignedDuration) -> Result<(), ChangeError> {
        let change = Change::SetStatus {
            id: id.to_owned(),
            status: Status::Break,
            own_status: None,
            message: None,
            hold: false,
            until: Some(self.server.clock().timestamp() + lasts),
            source: Source::Api,
            if_version: None,
        };
        let changed = self.runtime.block_on(self.server.roster().change(change));
        changed.map(|_| ())
    }

    /// The first decision about a call.
    pub(super) fn trace(&self, call_id: &str) -> Option<Trace> {
        self.server.collect_traces();
        let kept = self.traces.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(call_id)?.first().cloned()
    }

    /// How often a request was refused for that reason before any decision.
    pub(super) fn rejections(&self, label: &str) -> u64 {
        let counters = self.shared().shards.iter().map(|shard| &shard.counters);
        let of_label = counters.flat_map(|counters| counters.rejections.iter());
        of_label
            .filter(|(found, reason, _)| *found == label || *reason == label)
            .map(|(_, _, count)| count)
            .sum()
    }

    /// What is left of all calls.
    pub(super) fn leftovers(&self) -> Leftovers {
        let mut left = Leftovers::default();
        let refused = [&self.pbx, &self.public_network, &self.voicemail]
            .map(System::counts)
            .into_iter()
            .fold(0, |sum, counts| {
                left.dialogs += counts.open;
                sum + counts.refused
            });
        for shard in &self.shared().shards {
            left.calls += shard.counters.calls_open.get();
            left.invites += shard.counters.invites_open.get();
            left.relays += shard.counters.relays_open.get();
        }
        left.waiting_for_timer_d = left.invites.min(refused);
        left.invites -= left.waiting_for_timer_d;
        for handle in self.directory().handles() {
            let routing = self.directory().routing(handle);
            left.marks += u64::from(routing.calls) + u64::from(routing.ringing);
        }
        self.server
            .store()
            .read_calls(&mut |_| left.stored_calls += 1);
        left
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.ending.send_replace(true);
    }
}

/// What serves the API, and waits for signals.
fn runtime(interrupted: &Arc<AtomicBool>) -> Result<Runtime, CliError> {
    let failed = |error: io::Error| CliError::failed(format!("cannot start: {error}"));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(1).thread_name("api").enable_all();
    let runtime = runtime.build().map_err(failed)?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    drop(entered);
    let interrupted = Arc::clone(interrupted);
    runtime.spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        interrupted.store(true, Ordering::Relaxed);
    });
    Ok(runtime)
}

/// Stores the colleagues through the roster, as the API does it.
async fn seat_the_cast(server: &Server) -> Result<(), CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::failed(format!("the cast: {error}"));
    let cast = cast::subscribers().map_err(|error| failed(&error))?;
    let changes = cast.into_iter().map(|subscriber| Change::Create {
        subscriber: Box::new(subscriber),
        source: Source::Import,
    });
    let changed = server.roster().change_many(changes.collect()).await;
    changed
        .into_iter()
        .try_for_each(|changed| changed.map(|_| ()))
        .map_err(|error| failed(&error))
}

/// The configuration file that the demo runs on.
fn configuration([pbx, public_network, voicemail]: &[&System; 3], store: &Path) -> String {
    let (pbx, outbound, voicemail) = (pbx.local, public_network.local, voicemail.local);
    let store = store.display();
    format!(
        r#"
[sip]
listen = ["udp:{HOME}:0"]
domains = ["{DOMAIN}"]
region = "DE"
next_hop = "sip:{pbx}"
outbound = "sip:{outbound}"
voicemail = "sip:vm-{{subscriber}}@{voicemail}"
shards = 2

[[peer]]
name = "trunk"
address = "{TRUNK}"
external = true

[[peer]]
name = "retargeting trunk"
address = "{RETARGETING_TRUNK}"
external = true
forwarding = "retarget"

# Nothing is lost on loopback, so nobody needs to wait for what may be under way.
[timers]
t1_ms = 50
t4_ms = 200

[store]
path = "{store}"

[limits]
calls = 1000

[api]
listen = "{HOME}:0"
"#
    )
}

/// How many directories that were left behind are passed over.
const ATTEMPTS: u32 = 100;

/// A directory that is gone when the demo is.
struct Scratch(PathBuf);

impl Scratch {
    /// One that only this user may read, as the store's secret is in it.
    fn new() -> Result<Self, CliError> {
        let parent = std::env::temp_dir();
        let names = (0..ATTEMPTS).map(|n| format!("pointsman-demo-{}-{n}", std::process::id()));
        let mut failure = None;
        for path in names.map(|name| parent.join(name)) {
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                // An earlier process of that number was killed.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        let reason = failure.map_or_else(|| "too many are left".to_owned(), |e| e.to_string());
        let parent = parent.display();
        Err(CliError::failed(format!(
            "no directory for the store in {parent}: {reason}"
        )))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
