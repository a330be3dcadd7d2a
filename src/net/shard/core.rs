//! One shard's engine with what it fills: an input that causes a panic costs that input alone.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;

use super::super::clock::stopwatch;
use super::super::post::{Handed, Post};
use super::Handler;
use super::report::first_line;
use crate::engine::{Handled, Input, Now, Outbox, Source, Unreachable};

/// How many inputs of other shards are taken with each batch.
const HANDED_PER_PASS: usize = 256;
/// One of so many datagrams is timed.
const SAMPLE: u32 = 16;

/// The engine with what it fills.
pub(super) struct Core<H> {
    pub number: u16,
    pub engine: H,
    pub outbox: Outbox,
    pub posts: Arc<[Post]>,
    pub message_limit: usize,
    /// A bit for each shard that was handed something and not yet woken.
    pub to_wake: u64,
    pub untimed: u32,
    pub quiet_until_ms: u64,
    pub limited_quiet_until_ms: u64,
}

impl<H: Handler> Core<H> {
    /// Handles a datagram of this shard's sockets, or hands it to the shard that owns its call.
    pub(super) fn handle_received(&mut self, now: Now, source: Source, bytes: &[u8]) {
        self.untimed += 1;
        let timed = (self.untimed >= SAMPLE).then(stopwatch);
        let handled = self.handle(now, Input::Message { source, bytes });
        if let Some(start) = timed {
            self.untimed = 0;
            let ns = start.elapsed().as_nanos() as u64;
            if let Some(post) = self.posts.get(usize::from(self.number)) {
                post.latency.record(ns);
                post.waiting.record(u64::from(source.waited_ms) * 1_000_000);
            }
        }
        if let Handled::Belongs(owner) = handled {
            self.hand_over(
                owner,
                Handed::Message {
                    source,
                    bytes: Bytes::copy_from_slice(bytes),
                    received_ms: now.ms,
                },
            );
        }
    }

    fn hand_over(&mut self, owner: u16, handed: Handed) {
        let is_other = owner != self.number;
        let post = self.posts.get(usize::from(owner)).filter(|_| is_other);
        let is_queued = post.is_some_and(|post| post.push(handed));
        if is_queued {
            self.to_wake |= 1_u64.checked_shl(owner.into()).unwrap_or(0);
        }
        self.count(|counters| match is_queued {
            true => counters.handed_over.inc(),
            false => counters.handover_drops.inc(),
        });
    }

    /// Wakes whom this batch handed something, once each.
    pub(super) fn wake_others(&mut self) {
        let mut left = std::mem::take(&mut self.to_wake);
        while left != 0 {
            let shard = left.trailing_zeros() as usize;
            left &= left - 1;
            if self.posts.get(shard).is_some_and(|post| post.waker.wake()) {
                self.count(|counters| counters.handover_wakeups.inc());
            }
        }
    }

    /// Handles what other shards handed over; whether more waits.
    pub(super) fn take_handed(&mut self, now: Now) -> bool {
        for _ in 0..HANDED_PER_PASS {
            let post = self.posts.get(usize::from(self.number));
            let Some(handed) = post.and_then(Post::pop) else {
                return false;
            };
            let handled = match &handed {
                Handed::Message {
                    source,
                    bytes,
                    received_ms,
                } => {
                    if source.connection.is_none() {
                        self.count(|counters| counters.handed_in.inc());
                    }
                    let handed_ms = now.ms.saturating_sub(*received_ms);
                    let handed_ms = u32::try_from(handed_ms).unwrap_or(u32::MAX);
                    let source = Source {
                        waited_ms: source.waited_ms.saturating_add(handed_ms),
                        ..*source
                    };
                    // A datagram was let in by the shard that received it.
                    if source.connection.is_some() && !self.engine.admits(now, &source) {
                        self.report_limited(now, &source);
                        continue;
                    }
                    self.handle(now, Input::Message { source, bytes })
                }
                Handed::Unreachable(failure) => self.handle(now, Input::Unreachable(*failure)),
                Handed::Resolved => self.handle(now, Input::Resolved),
                // What it says is asked for with the timers.
                Handed::Stirred => Handled::Done,
            };
            if handled != Handled::Done {
                self.count(|counters| counters.handover_drops.inc());
            }
        }
        true
    }

    /// Passes ICMP errors on: the kernel gives them to any socket that shares the port.
    pub(super) fn tell_others(&mut self, unreachable: &[SocketAddr]) {
        for to in unreachable {
            self.count(|counters| counters.unreachable.inc());
            for shard in (0..self.posts.len() as u16).filter(|shard| *shard != self.number) {
                if self
                    .posts
                    .get(usize::from(shard))
                    .is_some_and(|p| p.push(Handed::Unreachable(undeliverable(*to))))
                {
                    self.to_wake |= 1_u64.checked_shl(shard.into()).unwrap_or(0);
                }
            }
        }
    }

    /// Lets the engine handle an input. A panic costs that input and nothing else.
    /// Gives an input to the engine. What decides an INVITE is timed each time.
    pub(super) fn handle(&mut self, now: Now, input: Input<'_>) -> Handled {
        let is_invite =
            matches!(input, Input::Message { bytes, .. } if bytes.starts_with(b"INVITE "));
        let before = is_invite.then(|| (self.engine.decisions(), stopwatch()));
        let handled = self.handle_contained(now, input);
        let decided = before.filter(|(count, _)| *count != self.engine.decisions());
        if let Some((_, start)) = decided
            && let Some(post) = self.posts.get(usize::from(self.number))
        {
            post.decision.record(start.elapsed().as_nanos() as u64);
        }
        handled
    }

    fn handle_contained(&mut self, now: Now, input: Input<'_>) -> Handled {
        let (engine, outbox) = (&mut self.engine, &mut self.outbox);
        let handled = catch_unwind(AssertUnwindSafe(|| engine.handle(now, input, outbox)));
        handled.unwrap_or_else(|_| {
            let line = match input {
                Input::Message { bytes, .. } => first_line(bytes),
                Input::Unreachable(failure) => format!("({failure:?})"),
                Input::Resolved => "(resolved)".to_owned(),
            };
            self.report_panic(now, &line);
            Handled::Done
        })
    }

    pub(super) fn handle_timeouts(&mut self, now: Now) {
        let (engine, outbox) = (&mut self.engine, &mut self.outbox);
        if catch_unwind(AssertUnwindSafe(|| engine.handle_timeouts(now, outbox))).is_err() {
            self.report_panic(now, "(timer)");
        }
    }
}

/// What an ICMP error tells.
pub(super) fn undeliverable(to: SocketAddr) -> Unreachable {
    Unreachable {
        to,
        listener: None,
        connection: None,
    }
}
