//! The host of the load generator: sockets, threads, the clock, and what `/proc` tells.
//!
//! One thread plays its share of the calls ([`crate::bench::Generator`]); the one that called
//! [`run()`] watches them, turns the phases, and reads the server's accounts at the edges of the
//! measured interval.
//!
//! Entry point: [`run()`].

mod account;
mod datagrams;
mod error;
mod os;
mod processes;
mod reflect;
mod seats;
mod streams;
#[cfg(test)]
mod tests;
mod watch;
mod wires;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::clock::stopwatch;
use crate::bench::{Generator, Pace, Plan, Schedule, Tally};
pub use account::{Busy, HeldUp};
pub use error::BenchError;
pub use processes::{Processes, Used};
pub use reflect::{Reflecting, free_port};
use seats::Seated;
pub use watch::{Glance, Measured, Moment};
use wires::Inboxes;
use worker::{Phase, Shared, Worked, Worker};

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Run {
    /// What is played; the addresses of its seats may have port 0.
    pub plan: Plan,
    /// How calls follow each other, all threads together.
    pub pace: Pace,
    /// How long calls are placed before they count.
    pub warm_up: Duration,
    /// How long they count; `None` until as many were placed as the pace says.
    pub duration: Option<Duration>,
    /// How long open calls may take to end, when no more are placed.
    pub drain: Duration,
    /// The cores of the threads, in turn; none to let the system choose.
    pub cpus: Vec<usize>,
    /// Whether an idle thread never waits.
    pub spins: bool,
    /// The server's process, for its accounts.
    pub server: Option<Processes>,
}

/// What a run found.
#[derive(Debug, Clone)]
pub struct Found {
    /// What the threads counted and timed.
    pub tally: Tally,
    /// What was read at the edges of the measured interval, and while it lasted.
    pub measured: Measured,
    /// How each thread spent its time.
    pub threads: Vec<Busy>,
    /// Where the seats were bound.
    pub seats: [Option<SocketAddr>; 3],
    /// Whether it was ended before its time.
    pub is_interrupted: bool,
}

/// Plays a run to its end. `glance` is shown how it stands several times a second; `stop` ends it
/// early, with what there is.
///
/// # Errors
/// A port is in use, the server does not answer, a core cannot be had.
pub fn run(
    run: &Run,
    stop: &AtomicBool,
    glance: &mut dyn FnMut(&Glance),
) -> Result<Found, BenchError> {
    let inboxes = Arc::new(Inboxes::new(run.plan.threads));
    let seated = seats::take(&run.plan, &inboxes)?;
    let seats = seated.first().map_or([None; 3], |seated| seated.addresses);
    // Without a warm-up the first call counts already.
    let phase = match run.warm_up {
        Duration::ZERO => Phase::Measuring,
        _ => Phase::WarmUp,
    };
    let shared = Arc::new(Shared::new(seated.len(), phase));
    let start = stopwatch();
    let mut threads = Vec::new();
    for (thread, seated) in (0_u8..).zip(seated) {
        let parts = (run.clone(), Arc::clone(&inboxes), Arc::clone(&shared));
        let name = Builder::new().name(format!("bench-{thread}"));
        let spawned = name.spawn(move || {
            let (run, inboxes, shared) = parts;
            worker(&run, thread, (seated, &inboxes, &shared), start).run()
        });
        threads.push(spawned.map_err(BenchError::Thread)?);
    }
    let watched = watch::watch(run, &shared, (start, stop), &threads, glance);
    let is_interrupted = matches!(watched, Ok((_, true)));
    shared.set(if is_interrupted {
        Phase::Interrupted
    } else {
        Phase::Over
    });
    let worked = join(threads)?;
    let (mut measured, is_interrupted) = watched?;
    let mut tally = Tally::new(run.plan.items.len());
    for one in &worked {
        tally.add(&one.tally);
    }
    if run.warm_up.is_zero() {
        let first_ns = worked.iter().map(|one| one.began_ns).min();
        measured.begin_at(first_ns.unwrap_or_default());
    }
    if run.duration.is_none() && !is_interrupted {
        let last_ns = worked.iter().map(|one| one.last_end_ns).max();
        measured.end_at(last_ns.unwrap_or_default());
    }
    Ok(Found {
        tally,
        measured,
        threads: worked.iter().map(|one| one.busy).collect(),
        seats,
        is_interrupted,
    })
}

fn worker(
    run: &Run,
    thread: u8,
    (seated, inboxes, shared): (Seated, &Arc<Inboxes>, &Arc<Shared>),
    start: std::time::Instant,
) -> Worker {
    let cpu = match run.cpus.len() {
        0 => None,
        count => run.cpus.get(usize::from(thread) % count).copied(),
    };
    let plan = Plan {
        thread,
        seats: seated.addresses,
        most_open: run.plan.most_open.div_ceil(run.plan.threads.into()),
        slots: run.plan.slots.div_ceil(run.plan.threads.into()),
        ..run.plan.clone()
    };
    Worker {
        thread,
        generator: Generator::new(plan),
        schedule: Schedule::new(run.pace.share(thread, run.plan.threads), 0),
        wires: seated.into_wires(),
        inboxes: Arc::clone(inboxes),
        shared: Arc::clone(shared),
        start,
        spins: run.spins,
        cpu,
    }
}

fn join(threads: Vec<JoinHandle<std::io::Result<Worked>>>) -> Result<Vec<Worked>, BenchError> {
    let mut worked = Vec::new();
    for thread in threads {
        match thread.join() {
            Ok(Ok(one)) => worked.push(one),
            Ok(Err(error)) => return Err(BenchError::Thread(error)),
            Err(_) => {
                return Err(BenchError::Thread(std::io::Error::other(
                    "a thread ended early",
                )));
            }
        }
    }
    Ok(worked)
}
