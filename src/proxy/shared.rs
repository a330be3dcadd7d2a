//! What the shards share with each other and with the API: read-mostly tables and bounded queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;

use super::codes::CodeDesk;
use super::counters::Counters;
use super::facts::{CallEvent, Trace};
use super::health::Health;
use super::hop::Flows;
use super::names::Names;
use super::policy::Policy;
use super::sources::Sources;
use crate::auth::Guard;
use crate::event::Ledger;
use crate::presence::Directory;
use crate::registrar::Locations;

/// How many facts of one kind a shard keeps for a reader that is late; older ones are dropped.
const QUEUE_LIMIT: usize = 4_096;

/// Everything that is not one shard's own.
pub struct Shared {
    /// The configuration in force.
    pub policy: ArcSwap<Policy>,
    /// Who can be called, and how they are right now.
    pub directory: Arc<Directory>,
    /// What names lead to, resolved off the call path.
    pub names: Names,
    /// How the systems that we send to are doing.
    pub health: Health,
    /// The open connections of stream transports.
    pub flows: Flows,
    /// How much each source sends.
    pub sources: Sources,
    /// Which contacts subscribers have registered.
    pub locations: Locations,
    /// Who watches whom, as far as the shards share it.
    pub ledger: Ledger,
    /// Who has authenticated with which nonce, and who has failed.
    pub guard: Guard,
    /// The store's secret: keys every hash of what comes from the network.
    pub secret: [u8; 32],
    /// Set when the process is about to end: new calls are answered 503.
    pub draining: AtomicBool,
    /// How many readers want [`CallEvent`]s; with none, none are made.
    pub watchers: AtomicUsize,
    /// What is asked for by feature codes.
    pub codes: CodeDesk,
    /// One entry for each shard.
    pub shards: Vec<ShardView>,
    /// Woken when call events were queued.
    pub event_queued: tokio::sync::Notify,
}

/// What one shard shows to the rest of the process.
pub struct ShardView {
    /// Counted by the shard alone, read by anybody.
    pub counters: Counters,
    /// The decisions of late; the oldest fall out.
    pub traces: ArrayQueue<Trace>,
    /// Calls that began or ended, while somebody watches.
    pub events: ArrayQueue<CallEvent>,
}

impl Shared {
    /// Tables for `shards` shards. Bindings do not outlive the process unless they are restored
    /// from a store: [`Shared::with_locations`].
    pub fn new(policy: Policy, directory: Arc<Directory>, secret: [u8; 32], shards: usize) -> Self {
        let view = || ShardView {
            counters: Counters::default(),
            traces: ArrayQueue::new(QUEUE_LIMIT),
            events: ArrayQueue::new(QUEUE_LIMIT),
        };
        Self {
            policy: ArcSwap::from_pointee(policy),
            directory,
            names: Names::default(),
            health: Health::default(),
            flows: Flows::default(),
            sources: Sources::default(),
            locations: Locations::default(),
            ledger: Ledger::default(),
            guard: Guard::new(&secret),
            secret,
            draining: AtomicBool::new(false),
            watchers: AtomicUsize::new(0),
            codes: CodeDesk::new(shards.max(1)),
            shards: (0..shards.max(1)).map(|_| view()).collect(),
            event_queued: tokio::sync::Notify::new(),
        }
    }

    /// The same with bindings that a store keeps.
    #[must_use]
    pub fn with_locations(self, locations: Locations) -> Self {
        Self { locations, ..self }
    }

    /// The same with subscriptions that a store keeps.
    #[must_use]
    pub fn with_ledger(self, ledger: Ledger) -> Self {
        Self { ledger, ..self }
    }

    /// Whether new calls are refused because the process is about to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
