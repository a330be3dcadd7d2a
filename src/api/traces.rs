//! The decisions of late: a bounded table of what the shards traced.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::proxy::{Shared, Trace};

/// How many decisions are kept.
pub const TRACE_LIMIT: usize = 20_000;

/// The newest [`TRACE_LIMIT`] decisions of all shards.
#[derive(Default)]
pub struct Traces(Mutex<VecDeque<Trace>>);

impl Traces {
    /// Takes over what the shards traced since the last time; the oldest give way.
    pub fn collect(&self, shared: &Shared) {
        for shard in &shared.shards {
            // At most one queueful, so that a busy shard cannot keep the others waiting.
            for _ in 0..shard.traces.capacity() {
                let Some(trace) = shard.traces.pop() else {
                    break;
                };
                self.push(trace);
            }
        }
    }

    /// Keeps a decision; the oldest gives way.
    pub fn push(&self, trace: Trace) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == TRACE_LIMIT {
            kept.pop_front();
        }
        kept.push_back(trace);
    }

    /// Drops the decisions that are about somebody.
    pub fn forget(&self, is_about: impl Fn(&Trace) -> bool) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|trace| !is_about(trace));
    }

    /// At most `limit` decisions that `is_wanted`, the newest first.
    pub fn newest(&self, limit: usize, is_wanted: impl Fn(&Trace) -> bool) -> Vec<Trace> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newest: Vec<Trace> = kept
            .iter()
            .rev()
            .filter(|trace| is_wanted(trace))
            .take(limit)
            .cloned()
            .collect();
        drop(kept);
        newest.sort_by_key(|trace| std::cmp::Reverse(trace.at_unix_ms));
        newest
    }
}
