//! One thread of the generator: receives, plays, sends; and tells how busy it is.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::super::clock::stopwatch;
use super::account::{Account, Busy};
use super::os;
use super::wires::{Handed, Inboxes, Wires};
use crate::bench::{Generator, Hop, Schedule, Tally};
use crate::message::Index;

/// How many calls are placed before messages are looked at again.
const PLACED_AT_ONCE: usize = 64;
/// How long an idle thread looks again and again before it waits, nanoseconds.
const SPIN_NS: u64 = 200_000;
/// The longest wait, nanoseconds: so soon a change of phase is seen.
const LONGEST_WAIT_NS: u64 = 2_000_000;

/// How long calls of a run that was interrupted may take to be hung up, nanoseconds.
const FAREWELL_NS: u64 = 2_000_000_000;

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Calls are placed and do not count yet.
    WarmUp,
    /// They count.
    Measuring,
    /// No more are placed; those open go on.
    Draining,
    /// It is over.
    Over,
    /// It was ended early.
    Interrupted,
}

impl Phase {
    /// What it is called while people watch.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::WarmUp => "warming up",
            Self::Measuring => "measuring",
            Self::Draining | Self::Over | Self::Interrupted => "ending",
        }
    }
}

/// What the threads and the one that watches them share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    phase: AtomicU8,
    /// By thread.
    pub live: Vec<Live>,
}

/// One thread's counts as they stand, for who watches.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Live {
    pub placed: AtomicU64,
    pub right: AtomicU64,
    pub failed: AtomicU64,
    pub again: AtomicU64,
    pub answers: AtomicU64,
    pub open: AtomicU32,
    pub is_over: AtomicU8,
}

impl Shared {
    pub(super) fn new(threads: usize, phase: Phase) -> Self {
        let mut live = Vec::new();
        live.resize_with(threads, Live::default);
        Self {
            phase: AtomicU8::new(phase as u8),
            live,
        }
    }

    pub(super) fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::WarmUp,
            1 => Phase::Measuring,
            2 => Phase::Draining,
            3 => Phase::Over,
            _ => Phase::Interrupted,
        }
    }

    /// The sum of one count over all threads.
    pub(super) fn sum(&self, count: impl Fn(&Live) -> u64) -> u64 {
        self.live.iter().map(count).sum()
    }
}

/// What a thread hands back.
pub(super) struct Worked {
    pub tally: Tally,
    pub busy: Busy,
    /// When its first call was due.
    pub began_ns: u64,
    /// When its last call ended.
    pub last_end_ns: u64,
}

/// One thread.
pub(super) struct Worker {
    pub thread: u8,
    pub generator: Generator,
    pub schedule: Schedule,
    pub wires: Wires,
    pub inboxes: Arc<Inboxes>,
    pub shared: Arc<Shared>,
    pub start: Instant,
    pub spins: bool,
    pub cpu: Option<usize>,
}

impl Worker {
    /// Plays until the run is over.
    ///
    /// # Errors
    /// A socket fails, or the core cannot be had.
    pub(super) fn run(mut self) -> io::Result<Worked> {
        if let Some(cpu) = self.cpu {
            os::pin(cpu)?;
        }
        os::be_exact();
        let mut index = Index::new();
        let mut account = Account::default();
        let began_ns = self.now_ns();
        self.schedule.begin(began_ns);
        if self.shared.phase() == Phase::WarmUp {
            self.schedule.warm_up();
        }
        let mut farewell_ns = None;
        loop {
            let now_ns = self.now_ns();
            let phase = self.shared.phase();
            account.begin_round(now_ns, phase, || self.wires.drops());
            match phase {
                Phase::Over => {
                    self.generator.abandon(now_ns);
                    break;
                }
                Phase::Interrupted => {
                    if farewell_ns.is_none() {
                        self.generator.leave(now_ns);
                    }
                    let until_ns = *farewell_ns.get_or_insert(now_ns + FAREWELL_NS);
                    let open = self.generator.open();
                    let is_done = open == 0 && !self.generator.awaits_callee(now_ns);
                    if is_done || now_ns >= until_ns {
                        self.generator.tally_mut().counts.left_open += u64::from(open);
                        break;
                    }
                }
                Phase::Measuring => self.schedule.count(),
                _ => {}
            }
            self.generator.set_measuring(phase == Phase::Measuring);
            let mut worked = self.receive(&mut index)?;
            for peer in self.wires.take_closed() {
                self.generator.on_connection_closed(now_ns, peer);
            }
            self.generator.tick(now_ns);
            if matches!(phase, Phase::WarmUp | Phase::Measuring) {
                self.place(now_ns);
            }
            worked += self.flush();
            self.tell(phase);
            match worked {
                0 => self.idle(&mut account, now_ns),
                _ => account.was_busy(),
            }
        }
        let mut tally = self.generator.tally().clone();
        let lost = self.wires.lost();
        tally.counts.unparsable += lost.unframed;
        tally.counts.connections_closed += lost.closed;
        Ok(Worked {
            began_ns,
            last_end_ns: self.generator.last_end_ns(),
            tally,
            busy: account.busy(),
        })
    }

    fn now_ns(&self) -> u64 {
        stopwatch().saturating_duration_since(self.start).as_nanos() as u64
    }

    fn receive(&mut self, index: &mut Index) -> io::Result<usize> {
        let generator = &mut self.generator;
        let (inboxes, thread) = (&self.inboxes, self.thread);
        let start = self.start;
        let now_ns = move || stopwatch().saturating_duration_since(start).as_nanos() as u64;
        let mut now = None;
        let mut received = self.wires.receive(|hop, bytes| {
            let now_ns = *now.get_or_insert_with(now_ns);
            take(generator, index, (inboxes, thread), (now_ns, hop, bytes));
        })?;
        while let Some(handed) = self.inboxes.pop(thread) {
            received += 1;
            match handed {
                Handed::Message { hop, bytes, at_ns } => {
                    take(generator, index, (inboxes, thread), (at_ns, hop, &bytes));
                }
                Handed::Send { hop, bytes } => self.wires.send_one(hop, &bytes),
            }
        }
        Ok(received)
    }

    fn place(&mut self, now_ns: u64) {
        for _ in 0..PLACED_AT_ONCE {
            let (open, setting_up) = (self.generator.open(), self.generator.setting_up());
            match self.schedule.next(now_ns, open, setting_up) {
                Some(due_ns) => self.generator.place(now_ns, due_ns),
                None => return,
            }
        }
    }

    fn flush(&mut self) -> usize {
        let count = self.generator.outbox().len();
        if count > 0 {
            let failed = self.wires.send(self.generator.outbox());
            self.generator.outbox().clear();
            self.generator.tally_mut().counts.send_failed += failed;
        }
        count + self.wires.push_on()
    }

    fn tell(&self, phase: Phase) {
        let Some(live) = self.shared.live.get(usize::from(self.thread)) else {
            return;
        };
        let generator = &self.generator;
        let counts = &generator.tally().counts;
        live.placed.store(self.schedule.placed(), Relaxed);
        live.right.store(generator.right(), Relaxed);
        live.failed.store(generator.failed(), Relaxed);
        let again = counts.invites_again + counts.requests_again + counts.answers_again;
        live.again.store(again, Relaxed);
        // Who sends what cannot be read does answer.
        let answers = generator.answers() + counts.unparsable + self.wires.lost().unframed;
        live.answers.store(answers, Relaxed);
        live.open.store(generator.open(), Relaxed);
        let places_none = phase == Phase::Draining || self.schedule.is_over();
        let is_over =
            places_none && generator.open() == 0 && !generator.awaits_callee(self.now_ns());
        live.is_over.store(is_over.into(), Relaxed);
    }

    /// Nothing to do: looks again for a while, as a wake-up costs more than a look, then waits.
    fn idle(&mut self, account: &mut Account, now_ns: u64) {
        let since_ns = account.was_idle(now_ns);
        if self.spins || now_ns.saturating_sub(since_ns) < SPIN_NS {
            std::hint::spin_loop();
            return;
        }
        let deadlines = [self.generator.next_deadline_ns(), self.schedule.due_ns()];
        let next_ns = deadlines.into_iter().flatten().min();
        let wait_ns = next_ns.map_or(LONGEST_WAIT_NS, |at_ns| at_ns.saturating_sub(now_ns));
        let wait_ns = wait_ns.min(LONGEST_WAIT_NS);
        account.waits(wait_ns);
        self.wires.wait(wait_ns);
    }
}

/// Plays a message, or hands it to the thread whose call it belongs to.
#[inline]
fn take(
    generator: &mut Generator,
    index: &mut Index,
    (inboxes, thread): (&Inboxes, u8),
    (now_ns, hop, bytes): (u64, Hop, &[u8]),
) {
    let Ok(message) = index.parse(bytes) else {
        generator.tally_mut().counts.unparsable += u64::from(!is_keep_alive(bytes));
        return;
    };
    if inboxes.are_several()
        && let Some(owner) = generator.owner_of(&message)
        && owner != thread
    {
        let handed = Handed::Message {
            hop,
            bytes: bytes.to_vec(),
            at_ns: now_ns,
        };
        if inboxes.push(owner, handed) {
            return;
        }
    }
    generator.receive(now_ns, hop, &message);
}

/// RFC 5626 §3.5.1: line ends that only keep a path open; some send other blanks or a zero.
fn is_keep_alive(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| byte.is_ascii_whitespace() || *byte == 0)
}
