//! What the shards share with each other and with the API: read-mostly tables and bounded queues.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;
use dashmap::DashMap;

use super::counters::Counters;
use super::facts::{CallEvent, Trace};
use super::policy::Policy;
use crate::presence::Directory;

/// How many facts of one kind a shard keeps for a reader that is late; older ones are dropped.
const QUEUE_LIMIT: usize = 4_096;
/// How many host names are remembered, and how many wait to be resolved.
const NAMES_LIMIT: usize = 10_000;
const WANTED_LIMIT: usize = 256;

/// Everything that is not one shard's own.
pub struct Shared {
    /// The configuration in force.
    pub policy: ArcSwap<Policy>,
    /// Who can be called, and how they are right now.
    pub directory: Arc<Directory>,
    /// Host names that were needed, resolved off the call path.
    pub names: Names,
    /// The store's secret: keys every hash of what comes from the network.
    pub secret: [u8; 32],
    /// Set when the process is about to end: new calls are answered 503.
    pub draining: AtomicBool,
    /// How many readers want [`CallEvent`]s; with none, none are made.
    pub watchers: AtomicUsize,
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
    /// Tables for `shards` shards.
    pub fn new(policy: Policy, directory: Arc<Directory>, secret: [u8; 32], shards: usize) -> Self {
        let view = || ShardView {
            counters: Counters::default(),
            traces: ArrayQueue::new(QUEUE_LIMIT),
            events: ArrayQueue::new(QUEUE_LIMIT),
        };
        Self {
            policy: ArcSwap::from_pointee(policy),
            directory,
            names: Names::new(),
            secret,
            draining: AtomicBool::new(false),
            watchers: AtomicUsize::new(0),
            shards: (0..shards.max(1)).map(|_| view()).collect(),
            event_queued: tokio::sync::Notify::new(),
        }
    }

    /// Whether new calls are refused because the process is about to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// Host names and their addresses. The call path only looks; what is missing is asked for and a
/// retransmission finds it. The host resolves [`Names::take_wanted`] with the system's resolver.
pub struct Names {
    resolved: DashMap<Box<str>, Resolved>,
    wanted: ArrayQueue<Box<str>>,
}

/// What is known of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolved {
    /// `None` where the name has no address.
    pub address: Option<IpAddr>,
    /// When it must be asked again, on the shards' clock.
    pub expires_ms: u64,
}

/// The state of a name on the call path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// It has this address.
    Address(IpAddr),
    /// It was asked for; try again shortly.
    Pending,
    /// It has none.
    Nothing,
}

impl Names {
    fn new() -> Self {
        Self {
            resolved: DashMap::new(),
            wanted: ArrayQueue::new(WANTED_LIMIT),
        }
    }

    /// The address of a host name; asks for it where it is unknown or too old.
    pub fn lookup(&self, host: &[u8], now_ms: u64) -> Lookup {
        let Ok(host) = std::str::from_utf8(host) else {
            return Lookup::Nothing;
        };
        let known = self.resolved.get(host).map(|entry| *entry);
        match known {
            Some(Resolved {
                address: Some(address),
                expires_ms,
            }) => {
                if expires_ms <= now_ms {
                    let _ = self.wanted.push(host.into());
                }
                Lookup::Address(address)
            }
            Some(Resolved {
                address: None,
                expires_ms,
            }) if expires_ms > now_ms => Lookup::Nothing,
            _ => {
                let _ = self.wanted.push(host.into());
                Lookup::Pending
            }
        }
    }

    /// The next name to resolve, for the host.
    pub fn take_wanted(&self) -> Option<Box<str>> {
        self.wanted.pop()
    }

    /// The host resolved a name. When the table is full, all of it is forgotten and asked again.
    pub fn put(&self, host: Box<str>, resolved: Resolved) {
        if self.resolved.len() >= NAMES_LIMIT {
            self.resolved.clear();
        }
        self.resolved.insert(host, resolved);
    }
}
