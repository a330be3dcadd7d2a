//! Everything that runs for a configuration: store, directory, shards, upkeep.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use socket2::Socket;
use tokio::sync::watch;

use super::background::Background;
use super::calendars::Calendars;
use super::chronicle::Collector;
use super::clock::Clock;
use super::codes::Codes;
use super::counters::Latency;
use super::gauges::Gauges;
use super::in_force::{self, InForce, Surveyed};
use super::names::{NameService, Resolving};
use super::post::{Post, posts};
use super::reminders::{keep_passwords_for, tell_of_missing};
use super::shard::{Shards, Sockets};
use super::socket::{BindError, Buffers, bind_shared, granted_less, local_address};
use super::stream::{self, CertificateFacts, Connections, StreamCounters, Streams, Surface, Tls};
use super::timed::Timed;
use super::upkeep::{Upkeep, unix_s};
use crate::call::CallRecord;
use crate::config::{self, Config, ConfigErrors, Listen, compile};
use crate::engine::{Engine, Shared, shard_of};
use crate::event::Ledger;
use crate::message::Transport;
use crate::presence::{Directory, HouseRules, LoadError, NumberPlan, Roster};
use crate::proxy::Trace;
use crate::proxy::policy::Policy;
use crate::registrar::{Flow, Locations};
use crate::store::{Embedded, Options, Records, Store, StoreError};

/// Reads the configuration anew.
pub type Reader = Box<dyn Fn() -> Result<Config, ConfigErrors> + Send + Sync>;

/// A running server. Dropping it ends the shards, then the upkeep, then the roster.
pub struct Server {
    shards: Shards,
    _names: NameService,
    streams: Option<Streams>,
    _background: Background,
    roster: Arc<Roster>,
    shared: Arc<Shared>,
    store: Arc<Timed<Embedded>>,
    clock: Clock,
    addresses: Vec<SocketAddr>,
    read: Reader,
    in_force: Arc<InForce>,
    config: Arc<ArcSwap<Config>>,
    draining: watch::Sender<bool>,
    collector: Arc<Collector>,
    on_reload: Mutex<Vec<ReloadHook>>,
}

type ReloadHook = Box<dyn Fn(&Config) + Send>;

/// A configuration that was put in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys that were changed in the file and keep their running value until a restart.
    pub needs_restart: Vec<&'static str>,
}

impl Server {
    /// Opens everything that the configuration names, and begins to serve. `read` is asked again
    /// by [`Server::reload`].
    ///
    /// # Errors
    /// What cannot be opened, with what can be done about it.
    pub fn start(config: Config, read: Reader) -> Result<Self, StartError> {
        let clock = Clock::start();
        let surveyed = Surveyed::for_start(&config, clock.now().ms);
        let policy = compile(&config, &surveyed).map_err(StartError::Config)?;
        in_force::warn(&config, &policy);
        let tls = Tls::load(&config, unix_s(clock)).map_err(StartError::Config)?;
        let store = open_store(&config, clock)?;
        let directory = Arc::new(Directory::new(random_u64()?));
        let roster = start_roster(&store, &directory, &policy, clock)?;
        let bound = bind(&config)?;
        let addresses = bound.addresses;
        let policy = policy.bound(&addresses);
        let shared = share(&*store, directory, policy, config.shards())?;
        keep_passwords_for(&roster, &shared);
        tell_of_missing(&shared);
        surveyed.publish(&shared.names, clock.now().ms);
        let config = Arc::new(ArcSwap::from_pointee(config));
        let posts = posts(bound.of_shards.len()).map_err(StartError::Thread)?;
        let surface = Surface {
            listeners: listeners(&config.load(), &addresses),
            config: Arc::clone(&config),
            shared: Arc::clone(&shared),
            posts: Arc::clone(&posts),
            clock,
            tls,
        };
        let streams = start_streams(surface, !bound.streams.is_empty())?;
        let host = Host {
            connections: streams.as_ref().map(|s| Arc::clone(s.connections())),
            posts,
            clock,
        };
        let limit = config.load().limits.message_bytes;
        let shards = start_shards(bound.of_shards, host, limit, &shared, &*store)?;
        if let Some(streams) = &streams {
            streams.start(bound.streams).map_err(StartError::Thread)?;
        }
        let collector = Collector::new(Arc::clone(&shared), clock, Arc::clone(&config));
        let collector = Arc::new(collector);
        let in_force = InForce::new(&config, &shared, clock, &addresses);
        let upkeep = Upkeep {
            roster: Arc::clone(&roster),
            shared: Arc::clone(&shared),
            store: Arc::clone(&store) as Arc<dyn Store>,
            collector: Arc::clone(&collector),
            clock,
        };
        shared.directory.watched().wake_by(shards.on_stirred());
        let background = start_background(upkeep, Box::new(shards.on_resolved()), &in_force);
        let background = background.map_err(StartError::Thread)?;
        let names = start_names(&in_force, &shards).map_err(StartError::Thread)?;
        Ok(Self {
            shards,
            _names: names,
            streams,
            _background: background,
            roster,
            shared,
            store,
            clock,
            addresses,
            read,
            in_force,
            config,
            draining: watch::Sender::new(false),
            collector,
            on_reload: Mutex::default(),
        })
    }

    /// Reads the configuration again and puts it in force, as a whole or not at all.
    ///
    /// # Errors
    /// Everything that is wrong with it; nothing has changed.
    pub fn reload(&self) -> Result<Reloaded, ConfigErrors> {
        let mut tls = None;
        let (needs_restart, config) = self.in_force.reload(
            || (self.read)(),
            |config| {
                tls = Some(Tls::load(config, unix_s(self.clock))?);
                Ok(())
            },
        )?;
        if let (Some(streams), Some(tls)) = (&self.streams, tls) {
            streams.connections().put_tls(tls);
        }
        keep_passwords_for(&self.roster, &self.shared);
        self.lay_down();
        // So that shards without anything to do look at it as well.
        self.shards.on_resolved()();
        let hooks = self
            .on_reload
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        hooks.iter().for_each(|hook| hook(&config));
        Ok(Reloaded { needs_restart })
    }

    /// What the administrator lays down is in force when this returns, for everybody.
    fn lay_down(&self) {
        let house = HouseRules::clone(&self.shared.policy.load().house);
        tell_of_missing(&self.shared);
        let set = || match tokio::runtime::Builder::new_current_thread().build() {
            Ok(runtime) => runtime.block_on(self.roster.set_house(house)),
            Err(error) => tracing::error!(%error, "own statuses and hours stay as they were"),
        };
        // A thread of its own: whoever reloads may be a task of another runtime.
        std::thread::scope(|scope| scope.spawn(set).join().ok());
    }

    /// Answers new calls with 503 from now on.
    pub fn begin_drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
        self.draining.send_replace(true);
        self.shards.nudge();
    }

    /// How many calls are open or being set up. While draining, a shard tells the latter after
    /// its next batch.
    pub fn calls_open(&self) -> u64 {
        let of_shard = |view: &crate::proxy::ShardView| {
            view.counters.calls_open.get() + view.counters.invites_pending.get()
        };
        self.shared.shards.iter().map(of_shard).sum()
    }

    /// Whether new calls are answered 503, and when that begins.
    pub fn draining(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }

    /// Whether a shard ended by itself, so that the process should.
    pub fn has_failed(&self) -> bool {
        self.shards.have_failed()
    }

    /// Hands every decision to `sink` after it was logged; the first sink counts.
    pub fn on_trace(&self, sink: impl Fn(Trace) + Send + Sync + 'static) {
        self.collector.hand_to(sink);
    }

    /// Logs and hands on the decisions of this moment, so that whoever asks now finds them.
    pub fn collect_traces(&self) {
        self.collector.collect();
    }

    /// Calls `hook` with each configuration that is put in force from now on.
    pub fn on_reload(&self, hook: impl Fn(&Config) + Send + 'static) {
        let mut hooks = self
            .on_reload
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        hooks.push(Box::new(hook));
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// The addresses listened on, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where subscribers are changed.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// What the shards share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The store.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as Arc<dyn Store>
    }

    /// How long the store took for each batch of changes.
    pub fn store_writes(&self) -> &Latency {
        &self.store.writes
    }

    /// The clock that the shards run on.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// What connections count, where anybody listens for them.
    pub fn stream_counters(&self) -> Option<Arc<StreamCounters>> {
        let streams = self.streams.as_ref();
        streams.map(|streams| Arc::clone(streams.connections().counters()))
    }

    /// Our certificates as they are in force; none where nobody connects to us.
    pub fn certificates(&self) -> Vec<CertificateFacts> {
        let streams = self.streams.as_ref();
        let tls = streams.and_then(|streams| streams.connections().tls());
        tls.map(|tls| tls.certificates().to_vec())
            .unwrap_or_default()
    }

    /// How many connections each table of theirs knows: all zero when nobody is connected.
    pub fn connections(&self) -> [usize; 4] {
        let streams = self.streams.as_ref();
        streams.map_or([0; 4], |streams| streams.connections().sizes())
    }

    /// Transport and address of each listener, in the order of the configuration.
    pub fn listeners(&self) -> Vec<(Transport, SocketAddr)> {
        listeners(&self.config(), &self.addresses)
    }

    /// What the shards' hosts count.
    pub fn gauges(&self) -> Gauges {
        self.shards.gauges()
    }
}

/// What goes on beside the calls: upkeep, the calendars, and feature codes.
fn start_background(
    upkeep: Upkeep,
    on_answered: Box<dyn Fn() + Send>,
    in_force: &Arc<InForce>,
) -> io::Result<Background> {
    let codes = Codes {
        roster: Arc::clone(&upkeep.roster),
        shared: Arc::clone(&upkeep.shared),
        on_answered,
    };
    let calendars = Calendars::new(&upkeep.roster, in_force)?;
    let mut background = upkeep.start()?;
    calendars.start(&mut background)?;
    codes.start(&mut background)?;
    Ok(background)
}

fn start_names(in_force: &Arc<InForce>, shards: &Shards) -> io::Result<NameService> {
    let moved = Arc::clone(in_force);
    NameService::start(Resolving {
        shared: Arc::clone(&in_force.shared),
        clock: in_force.clock,
        config: Arc::clone(&in_force.config),
        on_resolved: Box::new(shards.on_resolved()),
        on_moved: Box::new(move || moved.follow_names()),
    })
}

/// The store, without what it keeps no longer.
fn open_store(config: &Config, clock: Clock) -> Result<Arc<Timed<Embedded>>, StartError> {
    let options = Options {
        calls_per_shard: config.limits.calls.div_ceil(config.shards()),
        bindings: config.limits.bindings,
        subscriptions: config.limits.subscriptions,
        journal_bytes: u64::from(config.store.journal_max_mib) << 20,
        journal_retention_s: i64::from(config.store.journal_days) * 86_400,
        ..Options::default()
    };
    let config::StoreEngine::Embedded = config.store.engine;
    let inner = Embedded::open(&config.store.path, options).map_err(StartError::Store)?;
    let store = Timed {
        inner,
        writes: Latency::default(),
    };
    store.maintain(unix_s(clock)).map_err(StartError::Store)?;
    Ok(Arc::new(store))
}

fn start_roster(
    store: &Arc<Timed<Embedded>>,
    directory: &Arc<Directory>,
    policy: &Policy,
    clock: Clock,
) -> Result<Arc<Roster>, StartError> {
    let store = Arc::clone(store) as Arc<dyn Store>;
    let clock = Arc::new(move || clock.timestamp());
    let around = (Arc::clone(directory), NumberPlan::clone(&policy.plan));
    let house = HouseRules::clone(&policy.house);
    let roster = Roster::start_under(house, store, around, clock);
    roster.map(Arc::new).map_err(StartError::Load)
}

/// What the shards share, with the bindings and subscriptions that an earlier run left.
fn share(
    store: &dyn Store,
    directory: Arc<Directory>,
    policy: Policy,
    shards: usize,
) -> Result<Arc<Shared>, StartError> {
    let locations = restore_locations(store, &directory, &policy)?;
    let ledger = restore_ledger(store)?;
    let shared = Shared::new(policy, directory, store.secret(), shards);
    Ok(Arc::new(
        shared.with_locations(locations).with_ledger(ledger),
    ))
}

/// The bindings that an earlier run left, each flow with the listener that has its transport now.
fn restore_locations(
    store: &dyn Store,
    directory: &Directory,
    policy: &Policy,
) -> Result<Locations, StartError> {
    let records = store
        .records(Records::Bindings)
        .map_err(StartError::Store)?;
    let listener_of =
        |flow: &Flow| policy.listener_towards(flow.transport, flow.peer.ip(), flow.listener);
    Ok(Locations::restore(records, directory, listener_of))
}

/// The subscriptions that an earlier run left.
fn restore_ledger(store: &dyn Store) -> Result<Ledger, StartError> {
    let records = store.records(Records::Subscriptions);
    Ok(Ledger::restore(records.map_err(StartError::Store)?))
}

/// What all listeners need.
struct Bound {
    /// Sockets for datagrams, by shard.
    of_shards: Vec<Sockets>,
    /// Sockets for connections, with their listeners.
    streams: Vec<(u8, TcpListener)>,
    /// Every listener's address.
    addresses: Vec<SocketAddr>,
}

fn bind(config: &Config) -> Result<Bound, StartError> {
    let mut bound = Bound {
        of_shards: Vec::new(),
        streams: Vec::new(),
        addresses: Vec::new(),
    };
    bound.of_shards.resize_with(config.shards(), Vec::new);
    for (listener, listen) in (0_u8..).zip(&config.sip.listen) {
        let address = match listen.transport {
            Transport::Udp => bind_datagrams(config, listen, &mut bound.of_shards)?,
            _ => {
                let socket = stream::bind(listen.address);
                let socket = socket.map_err(|source| cannot_bind(listen, source))?;
                let address = socket.local_addr();
                bound.streams.push((listener, socket));
                for shard in &mut bound.of_shards {
                    shard.push(None);
                }
                address.map_err(|source| cannot_bind(listen, source))?
            }
        };
        bound.addresses.push(address);
    }
    Ok(bound)
}

/// A socket for each shard, on the same address.
fn bind_datagrams(
    config: &Config,
    listen: &Listen,
    of_shards: &mut [Sockets],
) -> Result<SocketAddr, StartError> {
    let buffers = Buffers {
        bytes: config.sip.receive_buffer_bytes as usize,
    };
    let sockets = bind_shared(listen.address, buffers, of_shards.len());
    let sockets = sockets.map_err(StartError::Bind)?;
    let mut bound = listen.address;
    for (index, (shard, socket)) in of_shards.iter_mut().zip(sockets).enumerate() {
        if index == 0 {
            bound = local_address(&socket).map_err(|source| cannot_bind(listen, source))?;
            warn_of_small_buffer(&socket, buffers, listen);
        }
        shard.push(Some(socket));
    }
    Ok(bound)
}

fn cannot_bind(listen: &Listen, source: io::Error) -> StartError {
    StartError::Bind(BindError {
        transport: listen.transport,
        address: listen.address,
        source,
    })
}

fn warn_of_small_buffer(socket: &Socket, buffers: Buffers, listen: &Listen) {
    if let Some((asked, granted)) = granted_less(socket, buffers) {
        tracing::warn!(
            %listen,
            asked,
            granted,
            "the kernel granted smaller buffers than sip.receive_buffer_bytes, so bursts may be \
             lost; raise net.core.rmem_max and net.core.wmem_max"
        );
    }
}

/// The threads for connections, where anybody listens for them.
fn start_streams(surface: Surface, is_wanted: bool) -> Result<Option<Streams>, StartError> {
    let streams = is_wanted.then(|| Streams::new(surface));
    streams.transpose().map_err(StartError::Thread)
}

/// Transport and bound address of each listener.
fn listeners(config: &Config, addresses: &[SocketAddr]) -> Vec<(Transport, SocketAddr)> {
    let transports = config.sip.listen.iter().map(|listen| listen.transport);
    transports.zip(addresses.iter().copied()).collect()
}

/// What the shards run beside.
struct Host {
    connections: Option<Arc<Connections>>,
    posts: Arc<[Post]>,
    clock: Clock,
}

fn start_shards(
    sockets: Vec<Sockets>,
    host: Host,
    message_limit: usize,
    shared: &Arc<Shared>,
    store: &dyn Store,
) -> Result<Shards, StartError> {
    let count = sockets.len();
    let owner = |record: &[u8]| {
        let key = CallRecord::decode(record).map_or(0, |record| record.key);
        usize::from(shard_of(key, count as u16))
    };
    let calls = store.open_calls(count, &owner).map_err(StartError::Store)?;
    let journals = store.journals(count).map_err(StartError::Store)?;
    let parts = sockets
        .into_iter()
        .zip((0_u16..).zip(calls.into_iter().zip(journals)));
    let shards = parts.map(|(sockets, (shard, (calls, journal)))| {
        let shared = Arc::clone(shared);
        (sockets, move |now| {
            Engine::new(shard, shared, calls, journal, now)
        })
    });
    let Host {
        connections,
        posts,
        clock,
    } = host;
    let shards = shards.collect();
    Shards::start_beside(connections, posts, shards, (clock, message_limit))
        .map_err(StartError::Thread)
}

fn random_u64() -> Result<u64, StartError> {
    let mut bytes = [0; 8];
    random(&mut bytes).map_err(StartError::Random)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Fills `bytes` with what nobody can guess.
///
/// # Errors
/// The system has none.
#[expect(clippy::disallowed_methods, reason = "chance is drawn here")]
pub fn random(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(io::Error::other)
}

/// Why a server did not start, or ended by itself.
#[derive(Debug)]
pub enum StartError {
    /// The configuration is wrong.
    Config(ConfigErrors),
    /// An address cannot be listened on.
    Bind(BindError),
    /// The store cannot be used.
    Store(StoreError),
    /// The subscribers cannot be read.
    Load(LoadError),
    /// No thread or descriptor is left.
    Thread(io::Error),
    /// The system gives no random numbers.
    Random(io::Error),
    /// Logging cannot begin.
    Logging(io::Error),
    /// The API cannot be served.
    Api {
        /// Where.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// A shard ended by itself; the log says why.
    ShardFailed,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(errors) => errors.fmt(f),
            Self::Bind(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Load(error) => error.fmt(f),
            Self::Thread(error) => {
                write!(
                    f,
                    "cannot start a thread: {error}; see the limits of the process"
                )
            }
            Self::Random(error) => write!(f, "the system gives no random numbers: {error}"),
            Self::Logging(error) => write!(f, "cannot start logging: {error}"),
            Self::Api { address, source } => {
                write!(f, "cannot serve the API on {address}: {source}")?;
                match source.kind() {
                    io::ErrorKind::AddrInUse => f.write_str(
                        "; another program uses the port: stop it, or change api.listen",
                    ),
                    _ => f.write_str("; change api.listen"),
                }
            }
            Self::ShardFailed => f.write_str("a shard ended by itself; the log says why"),
        }
    }
}

impl std::error::Error for StartError {}

#[cfg(test)]
mod tests;
