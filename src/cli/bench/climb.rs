//! `--ramp`: steps at one rate after the other, until the highest that is sustained is confirmed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::exit::CliError;
use super::document::{Document, Step};
use super::options::Bench;
use super::show::grouped;
use crate::bench::{Bar, Ramp, Sample, StepResult};
use crate::net::bench::{Found, Run};

/// Where the search begins, where no rate is given.
const FIRST_RATE: f64 = 1_000.0;
/// How long a step lasts where nothing is said.
const STEP: Duration = Duration::from_secs(3);
/// How long calls are placed before a step counts.
const WARM_UP: Duration = Duration::from_secs(1);
/// How much longer a confirming step lasts.
const CONFIRMING: u32 = 3;
/// How long open calls of a step may take to end beyond their own times; what is still open then
/// has failed.
const DRAIN: Duration = Duration::from_secs(8);
/// From which lag on, at the 99th percentile, a step was not on schedule, nanoseconds.
const LAG_LIMIT_NS: u64 = 20_000_000;

/// So many calls may be in flight at the edges of a step.
const EDGE_CALLS: f64 = 5.0;

impl Bench {
    /// Finds the highest rate; the document is that of the last step that confirmed it.
    pub(super) fn climb(
        &self,
        run: &Run,
        stop: &AtomicBool,
    ) -> Result<(Document, Vec<Sample>), CliError> {
        let bar = Bar {
            failed_percent: self.max_failed_percent(),
            retransmitted_percent: 0.1,
            share_of_rate: 0.985,
        };
        let mut ramp = Ramp::new(self.load.rate.unwrap_or(FIRST_RATE), bar);
        let mut steps = Vec::new();
        let mut best = None;
        let mut is_server_gone = false;
        while let Some(step) = ramp.next() {
            let length = self.load.duration.unwrap_or(STEP);
            let mut run = run.clone();
            // Another run for the server: it may remember the last one's calls.
            run.plan.seed = run.plan.seed.wrapping_add(steps.len() as u32);
            run.pace.rate = Some(step.rate);
            run.warm_up = self.load.warm_up.unwrap_or(WARM_UP);
            run.duration = Some(length * if step.is_confirming { CONFIRMING } else { 1 });
            run.drain = run.drain.min(DRAIN + self.load.ring + self.load.hold);
            let what = format!("{} at {}/s", self.what(), grouped(step.rate));
            let (document, found) = self.play_one(&run, &what, stop)?;
            if document.interrupted {
                is_server_gone = document.server_gone;
                break;
            }
            let came_to = result(&found, &document);
            let is_sustained = ramp.observe(came_to);
            eprintln!(
                "{}/s: {} calls/s, {:.3} % failed{}, {:.3} % sent again: {}",
                grouped(step.rate),
                grouped(document.calls_per_s),
                document.failed_percent,
                causes(&document),
                came_to.retransmitted_percent,
                match (is_sustained, came_to.on_schedule) {
                    (true, _) => "sustained",
                    (false, true) => "not sustained",
                    (false, false) => "not sustained; the generator fell behind its schedule",
                }
            );
            steps.push(Step {
                rate: step.rate,
                calls_per_s: document.calls_per_s,
                failed_percent: document.failed_percent,
                sustained: is_sustained,
            });
            if is_sustained {
                best = Some((document, found.tally.samples));
            }
        }
        let is_asked = stop.load(Ordering::Relaxed);
        let (mut document, samples) = best.ok_or_else(|| {
            CliError::failed(match (is_server_gone, is_asked) {
                (true, _) => {
                    "the server's process (--server-pid) ended before any rate was sustained"
                }
                (false, true) => "ended before any rate was sustained",
                (false, false) => "no rate was sustained; see the steps above",
            })
        })?;
        document.server_gone = is_server_gone;
        document.ramp = steps;
        document.interrupted = ramp.found().is_none();
        document.load.text = "highest sustained rate".to_owned();
        Ok((document, samples))
    }
}

/// What the failures were, in parentheses; nothing where there are none.
fn causes(document: &Document) -> String {
    let names = [
        "wrong_status",
        "wrong_message",
        "timed_out",
        "cut_off",
        "not_placed",
    ];
    let counts = names.map(|name| (name.replace('_', " "), document.count(name)));
    let failures = counts.into_iter().filter(|(_, count)| *count > 0);
    let failures: Vec<_> = failures
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if failures.is_empty() {
        return String::new();
    }
    let statuses = document.statuses.iter();
    let statuses: Vec<_> = statuses
        .map(|(status, count)| format!("{status} {count} times"))
        .collect();
    let heard = match statuses.is_empty() {
        true => String::from("no answer"),
        false => statuses.join(", "),
    };
    format!(" ({}; {heard})", failures.join(", "))
}

fn result(found: &Found, document: &Document) -> StepResult {
    let counts = &found.tally.counts;
    // Calls in flight at the edges of a short step are no shortfall.
    let slack_per_s = EDGE_CALLS / document.interval_s.max(1e-9);
    let again = counts.retransmitted_calls as f64 * 100.0 / counts.placed.max(1) as f64;
    StepResult {
        calls_per_s: document.calls_per_s + slack_per_s,
        failed_percent: document.failed_percent,
        retransmitted_percent: again,
        on_schedule: found.tally.lag_ns.quantile_ns(0.99) < LAG_LIMIT_NS,
    }
}
