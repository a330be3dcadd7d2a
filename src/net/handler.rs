//! What a shard hosts: what the host asks of an engine.

use crate::engine::{Engine, Handled, Input, Now, Outbox, Source};

/// What a shard hosts; the [`Engine`], and in tests anything that answers.
pub trait Handler {
    /// These messages will come next; see [`Engine::foresee`].
    fn foresee<'m>(&self, _messages: impl Iterator<Item = &'m [u8]>) {}
    /// Takes one input; see [`Engine::handle`].
    fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Outbox) -> Handled;
    /// Fires what is due; see [`Engine::handle_timeouts`].
    fn handle_timeouts(&mut self, now: Now, out: &mut Outbox);
    /// When that must be, on the clock of [`Now::ms`].
    fn next_timeout(&self) -> Option<u64>;
    /// How many INVITEs were decided so far.
    fn decisions(&self) -> u64 {
        0
    }
    /// Whether datagrams may be given to the kernel joined; see [`Engine::joins_datagrams`].
    fn joins_datagrams(&self) -> bool {
        true
    }
    /// Whether a message of this source is taken; see [`Engine::admits`].
    fn admits(&mut self, _now: Now, _source: &Source) -> bool {
        true
    }
    /// The kernel lost so many datagrams; see [`Engine::note_lost`].
    fn note_lost(&mut self, _datagrams: u64) {}
    /// Of new requests, how many in ten thousand shall reach it; see [`Engine::wanted`].
    fn wanted(&mut self, _now: Now, _is_possible: bool) -> u32 {
        10_000
    }
    /// Shows sizes to the metrics; once for each batch.
    fn publish_gauges(&self) {}
}

impl Handler for Engine {
    fn foresee<'m>(&self, messages: impl Iterator<Item = &'m [u8]>) {
        Self::foresee(self, messages);
    }

    fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Outbox) -> Handled {
        Self::handle(self, now, input, out)
    }

    fn handle_timeouts(&mut self, now: Now, out: &mut Outbox) {
        Self::handle_timeouts(self, now, out);
    }

    fn next_timeout(&self) -> Option<u64> {
        Self::next_timeout(self)
    }

    fn decisions(&self) -> u64 {
        Self::decisions(self)
    }

    fn joins_datagrams(&self) -> bool {
        Self::joins_datagrams(self)
    }

    fn admits(&mut self, now: Now, source: &Source) -> bool {
        Self::admits(self, now, source)
    }

    fn note_lost(&mut self, datagrams: u64) {
        Self::note_lost(self, datagrams);
    }

    fn wanted(&mut self, now: Now, is_possible: bool) -> u32 {
        Self::wanted(self, now, is_possible)
    }

    fn publish_gauges(&self) {
        Self::publish_gauges(self);
    }
}
