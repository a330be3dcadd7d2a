//! The only folder that touches sockets, the clock and the operating system.
//!
//! One thread per shard receives datagrams by the batch, hands them to its engine and sends what
//! the engine wants sent (`shard`). Beside them a few threads do what may wait: the store's upkeep,
//! the log of calls (`upkeep`), and names (`names`). Nothing here decides about a call or knows a header.
//!
//! Entry points: [`serve()`] for a whole run, [`Server::start`] for what it runs.

mod background;
mod batch;
pub mod bench;
mod calendars;
mod chronicle;
mod clock;
mod codes;
mod counters;
mod dns;
mod epoll;
mod errand;
mod feeds;
mod gauges;
mod handler;
mod in_force;
mod locate;
mod log;
mod names;
mod post;
mod priority;
mod reminders;
mod sender;
mod serve;
mod server;
mod shard;
mod sieve;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod timed;
mod upkeep;
mod waiting;

pub use clock::Clock;
pub use counters::{HostCounters, LATENCY_BOUNDS_NS, Latency};
pub use errand::{ask, system_roots};
pub use gauges::Gauges;
pub use handler::Handler;
pub use in_force::check;
pub use log::{Logging, start_logging};
pub use serve::{RunningApi, serve};
pub use server::{Reader, Reloaded, Server, StartError, random};
pub use shard::{Shards, Sockets};
pub use socket::{
    BindError, Buffers, System, allow_descriptors, bind_shared, granted_less, local_address,
};
pub use stream::{CertificateFacts, Labelled, StreamCounters};
