//! The only folder that touches sockets, the clock and the operating system.
//!
//! One thread per shard receives datagrams by the batch, hands them to its engine and sends what
//! the engine wants sent (`shard`). Beside them one thread does what may wait: the store's upkeep,
//! names, the log of calls (`upkeep`). Nothing here decides about a call or knows a header.
//!
//! Entry point: [`Server::start`].

mod batch;
mod clock;
mod counters;
mod epoll;
mod post;
mod shard;
mod socket;

pub use clock::Clock;
pub use counters::{HostCounters, LATENCY_BOUNDS_NS, Latency};
pub use shard::{Gauges, Handler, Shards};
pub use socket::{BindError, Buffers, System, bind_shared, granted_less, local_address};
