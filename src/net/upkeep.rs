//! What may wait, in threads beside the shards: the store, statuses that end, the log.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::background::Background;
use super::chronicle::Collector;
use super::clock::Clock;
use crate::engine::Shared;
use crate::presence::Roster;
use crate::store::Store;

/// How often the store is looked after, and statuses whose time is over are dropped.
const UPKEEP: Duration = Duration::from_secs(1);
/// How often decisions are collected from the shards.
const COLLECT: Duration = Duration::from_millis(50);
/// How often bindings that have ended are dropped, and in how many chunks of the table each time:
/// a million subscribers have their turn four times a minute.
const SWEEP: Duration = Duration::from_millis(500);
const SWEPT_CHUNKS: usize = 8;

/// What the threads work on.
pub(super) struct Upkeep {
    pub roster: Arc<Roster>,
    pub shared: Arc<Shared>,
    pub store: Arc<dyn Store>,
    pub collector: Arc<Collector>,
    pub clock: Clock,
}

impl Upkeep {
    /// Starts the threads; they work once more at their end.
    pub(super) fn start(self) -> io::Result<Background> {
        let mut background = Background::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let (roster, collector) = (self.roster, self.collector);
        let shared = Arc::clone(&self.shared);
        // Apart from the store's upkeep, as both wait for the disk.
        background.every("expire", UPKEEP, move || {
            runtime.block_on(roster.expire());
        })?;
        background.every("chronicle", COLLECT, move || collector.collect())?;
        let (of_sweep, clock) = (self.shared, self.clock);
        background.every("bindings", SWEEP, move || {
            let now_unix_ms = clock.now().unix_ms;
            let directory = &of_sweep.directory;
            of_sweep
                .locations
                .sweep(directory, now_unix_ms, SWEPT_CHUNKS);
        })?;
        tell_of_bans(Arc::clone(&shared), &mut background)?;
        look_after(self.store, self.clock, &mut background)?;
        Ok(background)
    }
}

/// Logs each source that is shut out, once.
fn tell_of_bans(shared: Arc<Shared>, background: &mut Background) -> io::Result<()> {
    background.every("bans", UPKEEP, move || {
        for ban in shared.guard.bans.news() {
            let seconds = ban.until_unix_ms.saturating_sub(ban.since_unix_ms) / 1_000;
            tracing::warn!(source = %ban.source, seconds, "shut out after too many failures");
        }
    })
}

/// Keeps the store well; each fault is logged when it begins and when it ends.
fn look_after(store: Arc<dyn Store>, clock: Clock, background: &mut Background) -> io::Result<()> {
    let mut told = String::new();
    background.every("store", UPKEEP, move || {
        let fault = store.maintain(unix_s(clock)).err();
        let fault = fault.map(|fault| fault.to_string()).unwrap_or_default();
        if fault != told {
            match fault.is_empty() {
                true => tracing::info!("the store is well again"),
                false => tracing::error!(fault, "the store"),
            }
            told = fault;
        }
    })
}

/// Seconds since 1970.
pub(super) fn unix_s(clock: Clock) -> i64 {
    clock.now().unix_ms.div_euclid(1_000)
}
