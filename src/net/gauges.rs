//! What the shards' hosts count, for the metrics.

use std::sync::Arc;

use super::counters::{HostCounters, Latency};
use super::post::Post;

/// What the shards' hosts counted.
#[derive(Clone)]
pub struct Gauges(Arc<[Post]>);

impl Gauges {
    pub(super) fn new(posts: Arc<[Post]>) -> Self {
        Self(posts)
    }

    /// Each shard's numbers.
    pub fn counters(&self) -> impl Iterator<Item = &HostCounters> {
        self.0.iter().map(|post| &post.counters)
    }

    /// How long each shard's engine takes for a datagram.
    pub fn latencies(&self) -> impl Iterator<Item = &Latency> {
        self.0.iter().map(|post| &post.latency)
    }

    /// How long messages waited for each shard, before they were handled.
    pub fn waiting(&self) -> impl Iterator<Item = &Latency> {
        self.0.iter().map(|post| &post.waiting)
    }

    /// How long each shard takes to decide an INVITE and carry the decision out.
    pub fn decisions(&self) -> impl Iterator<Item = &Latency> {
        self.0.iter().map(|post| &post.decision)
    }
}
