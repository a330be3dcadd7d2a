//! Who watches a run: turns its phases, reads the server's accounts, sees that it answers at all.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Run;
use super::error::BenchError;
use super::os;
use super::processes::Used;
use super::worker::{Phase, Shared, Worked};
use crate::bench::Seat;

/// How often it is looked.
const TICK: Duration = Duration::from_millis(20);
/// How long a server may answer nothing at all.
const SILENCE: Duration = Duration::from_secs(5);
/// How far apart the moments are that a report shows.
const MOMENT: Duration = Duration::from_millis(500);
/// The most moments that are kept; of a longer run every second one is dropped, again and again.
const MOST_MOMENTS: usize = 2_400;

/// How a run stands.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Glance {
    /// Since its start.
    pub at_s: f64,
    /// What it is doing.
    pub phase: &'static str,
    /// Calls that ended well, a second.
    pub right_per_s: f64,
    /// Calls that ended well so far.
    pub right: u64,
    /// Calls that failed so far.
    pub failed: u64,
    /// Calls placed so far.
    pub placed: u64,
    /// Messages sent again so far.
    pub again: u64,
    /// Open calls.
    pub open: u64,
}

/// One point of a run's curves.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moment {
    /// Since the start of the run.
    pub at_s: f64,
    /// Calls that ended well, a second.
    pub right_per_s: f64,
    /// Calls that failed, a second.
    pub failed_per_s: f64,
    /// Messages sent again, a second.
    pub again_per_s: f64,
    /// Open calls.
    pub open: u64,
    /// The server's resident memory.
    pub rss_bytes: Option<u64>,
}

/// What was read from outside.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// When calls began to count, since the start of the run.
    pub from_s: f64,
    /// How long they counted.
    pub interval_s: f64,
    /// The server's accounts at both edges.
    pub server: Option<(Used, Used)>,
    /// How long in the interval a hypervisor gave a processor to others, the one of which it took most.
    pub stolen_ms: u64,
    /// The curves.
    pub moments: Vec<Moment>,
    /// Calls still open when calls ceased to count.
    pub open_at_end: u64,
    /// Whether the server's process ended meanwhile.
    pub is_server_gone: bool,
}

impl Measured {
    /// Begins the interval with the first call: of a run without a warm-up.
    pub(super) fn begin_at(&mut self, first_ns: u64) {
        let first_s = first_ns as f64 / 1e9;
        self.interval_s += self.from_s - first_s;
        self.from_s = first_s;
    }

    /// Ends the interval with the last call: of a run that ends by itself.
    pub(super) fn end_at(&mut self, last_ns: u64) {
        let last_s = last_ns as f64 / 1e9 - self.from_s;
        if last_s > 0.0 && last_s < self.interval_s {
            self.interval_s = last_s;
        }
    }
}

/// The one who watches.
struct Watch<'r> {
    run: &'r Run,
    shared: &'r Shared,
    start: Instant,
    stop: &'r AtomicBool,
    threads: &'r [JoinHandle<io::Result<Worked>>],
    measured: Measured,
    last: Glance,
    last_moment: Glance,
    spacing: Duration,
}

/// Watches a run until its calls are over; whether it was ended early.
pub(super) fn watch(
    run: &Run,
    shared: &Shared,
    (start, stop): (Instant, &AtomicBool),
    threads: &[JoinHandle<io::Result<Worked>>],
    glance: &mut dyn FnMut(&Glance),
) -> Result<(Measured, bool), BenchError> {
    let mut watch = Watch {
        run,
        shared,
        start,
        stop,
        threads,
        measured: Measured::default(),
        last: Glance::default(),
        last_moment: Glance::default(),
        spacing: MOMENT,
    };
    let mut is_interrupted = watch.wait_until(Some(run.warm_up), glance)?;
    let before = run.server.as_ref().map(super::Processes::used);
    let stolen_before_ms = os::stolen_ms();
    shared.set(Phase::Measuring);
    watch.measured.from_s = watch.at().as_secs_f64();
    if !is_interrupted {
        let end = run.duration.map(|duration| watch.at() + duration);
        is_interrupted = watch.wait_until(end, glance)?;
    }
    // Read as at the beginning: just before the edge.
    let after = run.server.as_ref().map(super::Processes::used);
    let stolen = os::stolen_ms().into_iter().zip(stolen_before_ms);
    let stolen = stolen.map(|(after_ms, before_ms)| after_ms.saturating_sub(before_ms));
    // That much at least: both readings are of whole ticks.
    watch.measured.stolen_ms = stolen.max().unwrap_or_default().saturating_sub(os::TICK_MS);
    shared.set(Phase::Draining);
    watch.measured.interval_s = watch.at().as_secs_f64() - watch.measured.from_s;
    watch.measured.open_at_end = shared.sum(|live| live.open.load(Relaxed).into());
    let end = watch.at() + run.drain;
    if !is_interrupted {
        is_interrupted = watch.wait_until(Some(end), glance)?;
    }
    if let (Some(server), Some(before), Some(after), false) =
        (&run.server, before, after, watch.measured.is_server_gone)
    {
        let pss_bytes = server.pss_bytes();
        watch.measured.server = Some((before, Used { pss_bytes, ..after }));
    }
    if !is_interrupted {
        watch.check_answers(true)?;
    }
    Ok((watch.measured, is_interrupted))
}

impl Watch<'_> {
    fn at(&self) -> Duration {
        super::super::clock::stopwatch().saturating_duration_since(self.start)
    }

    /// Looks until a point in time, or until no thread has calls open or to place; whether it was
    /// ended early.
    fn wait_until(
        &mut self,
        end: Option<Duration>,
        glance: &mut dyn FnMut(&Glance),
    ) -> Result<bool, BenchError> {
        loop {
            let left = end.map(|end| end.saturating_sub(self.at()));
            if left == Some(Duration::ZERO) {
                return Ok(false);
            }
            let threads = self.shared.live.len() as u64;
            if self.shared.sum(|live| live.is_over.load(Relaxed).into()) == threads {
                return Ok(false);
            }
            if self.pause(left.unwrap_or(TICK).min(TICK), glance)? {
                return Ok(true);
            }
        }
    }

    fn pause(
        &mut self,
        pause: Duration,
        glance: &mut dyn FnMut(&Glance),
    ) -> Result<bool, BenchError> {
        std::thread::park_timeout(pause);
        if self.threads.iter().any(JoinHandle::is_finished) {
            return Ok(true);
        }
        self.look(glance);
        let server = self.run.server.as_ref();
        self.measured.is_server_gone = server.is_some_and(|server| !server.is_running());
        if !self.measured.is_server_gone {
            self.check_answers(false)?;
        }
        Ok(self.measured.is_server_gone || self.stop.load(Relaxed))
    }

    /// Nothing at all was answered, after a while or until the end.
    fn check_answers(&self, is_end: bool) -> Result<(), BenchError> {
        let waited = self.at();
        let placed = self.shared.sum(|live| live.placed.load(Relaxed));
        let answers = self.shared.sum(|live| live.answers.load(Relaxed));
        if (is_end || waited > SILENCE) && placed > 0 && answers == 0 {
            let plan = &self.run.plan;
            return Err(BenchError::Silent {
                server: plan.server,
                callee: plan.seat(Seat::Callee),
                waited,
                placed,
            });
        }
        Ok(())
    }

    /// Shows how the run stands, and keeps it from time to time.
    fn look(&mut self, glance: &mut dyn FnMut(&Glance)) {
        let sum = |count: fn(&super::worker::Live) -> u64| self.shared.sum(count);
        let mut now = Glance {
            at_s: self.at().as_secs_f64(),
            phase: self.shared.phase().name(),
            right_per_s: self.last.right_per_s,
            right: sum(|live| live.right.load(Relaxed)),
            failed: sum(|live| live.failed.load(Relaxed)),
            placed: sum(|live| live.placed.load(Relaxed)),
            again: sum(|live| live.again.load(Relaxed)),
            open: sum(|live| live.open.load(Relaxed).into()),
        };
        let since_s = now.at_s - self.last.at_s;
        if since_s >= 0.2 {
            now.right_per_s = (now.right - self.last.right) as f64 / since_s;
            self.last = now;
            glance(&now);
        }
        let since_s = now.at_s - self.last_moment.at_s;
        if since_s >= self.spacing.as_secs_f64() {
            let before = self.last_moment;
            let per_s = |now: u64, before: u64| now.saturating_sub(before) as f64 / since_s;
            self.measured.moments.push(Moment {
                at_s: now.at_s,
                right_per_s: per_s(now.right, before.right),
                failed_per_s: per_s(now.failed, before.failed),
                again_per_s: per_s(now.again, before.again),
                open: now.open,
                rss_bytes: self.run.server.as_ref().map(super::Processes::rss_bytes),
            });
            self.last_moment = now;
            self.thin_out();
        }
    }

    /// Keeps a long run's curves short.
    fn thin_out(&mut self) {
        if self.measured.moments.len() >= MOST_MOMENTS {
            let mut is_kept = false;
            self.measured.moments.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            self.spacing *= 2;
        }
    }
}
