//! Host names that calls ask for, and the configured ones: resolved beside the call path by one
//! thread, each once at a time, anew before they expire. While no name server answers, what was
//! found before stays in use.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::clock::Clock;
use super::dns::Asking;
use super::locate::{Located, Ours, Unanswered, locate};
use crate::config::Config;
use crate::engine::Shared;
use crate::proxy::policy::{NextHop, Node, Policy};
use crate::proxy::{Resolved, Wanted};

/// How many names are resolved at once.
const CONCURRENCY: usize = 256;
/// How long one name may take, whatever it leads to.
const CHAIN_LIMIT: Duration = Duration::from_secs(15);
/// How often names that expire are looked for, and the system's files.
const TICK: Duration = Duration::from_secs(1);
/// When a name is asked for again for which nobody answered.
const RETRY_MS: u64 = 5_000;

/// What the thread works for.
pub(super) struct Resolving {
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Clock,
    pub(super) config: Arc<ArcSwap<Config>>,
    /// Tells the shards that names were resolved.
    pub(super) on_resolved: Box<dyn Fn() + Send + Sync>,
    /// A configured name leads to other addresses than the policy knows.
    pub(super) on_moved: Box<dyn Fn() + Send + Sync>,
}

/// The thread that resolves; dropping it ends it.
pub(super) struct NameService {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl NameService {
    /// Starts the thread.
    ///
    /// # Errors
    /// No thread or descriptor is left.
    pub(super) fn start(resolving: Resolving) -> io::Result<Self> {
        let runtime = runtime()?;
        let (stop, told) = watch::channel(false);
        let thread = Builder::new().name("names".to_owned());
        let thread = thread.spawn(move || runtime.block_on(resolving.run(told)))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for NameService {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// What the thread remembers.
struct Memory {
    asking: Option<Arc<Asking>>,
    /// Names that are being resolved.
    under_way: HashSet<Wanted>,
    /// Configured names that cannot be resolved, so that it is said once.
    lost: Mutex<HashSet<Wanted>>,
}

impl Resolving {
    async fn run(self, mut stop: watch::Receiver<bool>) {
        let names = &self.shared.names;
        let mut memory = Memory {
            asking: None,
            under_way: HashSet::new(),
            lost: Mutex::default(),
        };
        let lost = std::mem::take(&mut memory.lost);
        let mut running = FuturesUnordered::new();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = stop.changed() => return,
                Some(done) = running.next(), if !running.is_empty() => {
                    memory.under_way.remove(&done);
                }
                () = names.asked() => {}
                _ = ticks.tick() => self.look_after(&mut memory),
            }
            while running.len() < CONCURRENCY
                && let Some(asking) = memory.asking.clone()
                && let Some(wanted) = names.take_wanted()
            {
                if memory.under_way.insert(wanted.clone()) {
                    running.push(self.resolve(asking, wanted, &lost));
                }
            }
        }
    }

    /// Once a second: the configured names are in use, what expires is asked for, and the system's
    /// files are read again when they changed.
    fn look_after(&self, memory: &mut Memory) {
        let dns = &self.config.load().dns;
        if memory
            .asking
            .as_ref()
            .is_none_or(|asking| !asking.is_current(dns))
        {
            match Asking::new(dns) {
                Ok(asking) => memory.asking = Some(Arc::new(asking)),
                Err(error) => tracing::error!(error, "names cannot be resolved"),
            }
        }
        let now_ms = self.clock.now().ms;
        for node in nodes(&self.shared.policy.load()) {
            self.shared.names.resolved(&node.target.sought(), now_ms);
        }
        self.shared.names.ask_expiring(now_ms);
        self.shared.health.sweep(now_ms);
    }

    async fn resolve(
        &self,
        asking: Arc<Asking>,
        wanted: Wanted,
        lost: &Mutex<HashSet<Wanted>>,
    ) -> Wanted {
        let names = &self.shared.names;
        let ours = Ours::of(&self.shared.policy.load());
        let servers = asking.counting(&names.counts);
        let located = timeout(CHAIN_LIMIT, locate(&servers, &wanted, &ours)).await;
        let located = located.unwrap_or_else(|_| Err(Unanswered("it took too long".to_owned())));
        let now_ms = self.clock.now().ms;
        let mut lost = lost.lock().unwrap_or_else(PoisonError::into_inner);
        match located {
            Ok(located) => {
                if lost.remove(&wanted) {
                    tracing::info!(host = &*wanted.host, "the name can be resolved again");
                }
                if names.put(&wanted, resolved(located, now_ms), now_ms) {
                    self.follow(&wanted);
                    (self.on_resolved)();
                }
            }
            Err(Unanswered(error)) => {
                let is_configured = nodes(&self.shared.policy.load()).any(|n| n.target == wanted);
                if is_configured && lost.insert(wanted.clone()) {
                    tracing::warn!(
                        host = &*wanted.host,
                        error,
                        "a configured name cannot be resolved; what was found before stays in use"
                    );
                }
                names.put_off(&wanted, now_ms.saturating_add(RETRY_MS), now_ms);
                (self.on_resolved)();
            }
        }
        wanted
    }

    /// Where a configured name leads elsewhere now, the policy follows: its systems are known by
    /// their addresses.
    fn follow(&self, wanted: &Wanted) {
        let found = self
            .shared
            .names
            .addresses(&wanted.sought())
            .unwrap_or_default();
        let policy = self.shared.policy.load();
        let is_moved = |node: &Node| {
            let mut known = node.addresses.clone();
            known.sort_unstable();
            known != found
        };
        if nodes(&policy).any(|node| node.target == *wanted && is_moved(node)) {
            tracing::info!(
                host = &*wanted.host,
                ?found,
                "a configured name leads elsewhere"
            );
            (self.on_moved)();
        }
    }
}

fn resolved(located: Located, now_ms: u64) -> Resolved {
    Resolved {
        targets: located.targets,
        expires_ms: now_ms.saturating_add(u64::from(located.ttl_s) * 1_000),
    }
}

/// The nodes of all configured systems.
fn nodes(policy: &Policy) -> impl Iterator<Item = &Node> {
    let voicemail = policy.voicemail.as_ref().map(|voicemail| &voicemail.hop);
    let hops = [
        policy.next_hop.as_ref(),
        policy.outbound.as_ref(),
        voicemail,
    ];
    hops.into_iter()
        .flatten()
        .flat_map(|hop: &NextHop| &hop.nodes)
}

/// One name and what became of it.
pub(super) type Asked = (Wanted, Result<Resolved, String>);

/// Resolves names now, all at once, for as long as `patience`; the times are those of `now_ms`.
pub(super) fn resolve_now(
    (config, names): (&Config, Vec<Wanted>),
    now_ms: u64,
    patience: Duration,
) -> Vec<Asked> {
    if names.is_empty() {
        return Vec::new();
    }
    let listen = config.sip.listen.iter();
    let ours = Ours::new(listen.map(|l| (l.transport, l.address.is_ipv4())));
    let failed = |error: String| {
        names
            .iter()
            .map(|n| (n.clone(), Err(error.clone())))
            .collect()
    };
    let work = || -> Result<Vec<Asked>, String> {
        let counts = Default::default();
        runtime()
            .map_err(|error| error.to_string())?
            .block_on(async {
                let asking = Asking::new(&config.dns)?;
                let servers = asking.counting(&counts);
                let one = async |wanted: &Wanted| {
                    let located = timeout(patience, locate(&servers, wanted, &ours)).await;
                    let found = match located {
                        Ok(Ok(located)) => Ok(resolved(located, now_ms)),
                        Ok(Err(Unanswered(error))) => Err(error),
                        Err(_) => Err("no name server answered in time".to_owned()),
                    };
                    (wanted.clone(), found)
                };
                Ok(futures_util::future::join_all(names.iter().map(one)).await)
            })
    };
    // In a thread of its own: the caller's may belong to another runtime.
    let done = std::thread::scope(|scope| scope.spawn(work).join());
    match done {
        Ok(Ok(asked)) => asked,
        Ok(Err(error)) => failed(error),
        Err(_) => failed("the resolver ended in a fault".to_owned()),
    }
}

/// The addresses of what was found, each once.
pub(super) fn addresses(resolved: &Resolved) -> Vec<IpAddr> {
    let mut addresses: Vec<_> = resolved.endpoints().map(|e| e.address.ip()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}
