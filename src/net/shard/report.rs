//! What a shard counts and logs.

use super::core::Core;
use super::{Handler, HostCounters};
use crate::engine::{Now, Source};

/// How often the same trouble is logged at most.
const SECOND_MS: u64 = 1_000;
/// How much of a message that caused a panic is logged.
pub(super) const FIRST_LINE_LIMIT: usize = 128;

impl<H: Handler> Core<H> {
    /// Logs, once a second, that a source sends more than it may; the engine counts.
    pub(super) fn report_limited(&mut self, now: Now, source: &Source) {
        if now.ms >= self.limited_quiet_until_ms {
            self.limited_quiet_until_ms = now.ms + SECOND_MS;
            tracing::warn!(
                source = %source.address,
                "a source sends more than limits.messages_per_source_s; the excess is dropped"
            );
        }
    }

    /// Counts a panic and logs it, once a second: where it happened was told by the panic hook.
    pub(super) fn report_panic(&mut self, now: Now, line: &str) {
        self.count(|counters| counters.panics.inc());
        if now.ms >= self.quiet_until_ms {
            self.quiet_until_ms = now.ms + SECOND_MS;
            tracing::error!(
                shard = self.number,
                line,
                "a message caused a panic and was dropped"
            );
        }
    }

    pub(super) fn count_received(&self, count: usize) {
        if count > 0 {
            self.count(|counters| {
                HostCounters::add(&counters.datagrams_received, count);
                counters.receive_calls.inc();
            });
        }
    }

    pub(super) fn count(&self, count: impl Fn(&HostCounters)) {
        if let Some(post) = self.posts.get(usize::from(self.number)) {
            count(&post.counters);
        }
    }
}

/// The first line of a message, made safe for a log.
pub(super) fn first_line(bytes: &[u8]) -> String {
    let line = bytes
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .next()
        .unwrap_or_default();
    let line = line.get(..FIRST_LINE_LIMIT).unwrap_or(line);
    line.escape_ascii().to_string()
}
