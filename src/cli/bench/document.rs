//! What a run found, as a document: what `--json` writes and `--compare` reads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bench::{Latencies, Scenario, Seat, Tally};
use crate::net::bench::{Busy, Found, Run, Used};

/// The version of the document.
const VERSION: u32 = 1;
/// From which share of its time on a thread counts as the limit, percent.
const BUSY_LIMIT: f64 = 90.0;
/// From which lag on, at the 99th percentile, the generator counts as the limit, µs.
const LAG_LIMIT_US: f64 = 5_000.0;

/// One run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Document {
    pub pointsman_bench: u32,
    pub label: String,
    pub started: String,
    pub server: String,
    /// Where calls were to arrive, where that was played.
    pub callee: Option<String>,
    pub transport: String,
    pub load: Load,
    pub interval_s: f64,
    /// Calls that ended well in the interval, a second.
    pub calls_per_s: f64,
    /// NOTIFYs of changes, a second.
    pub notifications_per_s: f64,
    pub failed_percent: f64,
    pub failed: u64,
    pub scenarios: Vec<Played>,
    pub counts: BTreeMap<String, u64>,
    pub statuses: BTreeMap<String, u64>,
    pub wrong: BTreeMap<String, u64>,
    pub latency_us: BTreeMap<String, Latency>,
    pub server_process: Option<ServerProcess>,
    pub generator: Own,
    pub machine: Machine,
    pub moments: Vec<Point>,
    pub open_at_end: u64,
    pub interrupted: bool,
    /// Whether the server's process ended meanwhile.
    pub server_gone: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ramp: Vec<Step>,
}

/// How calls were placed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Load {
    /// In words, the same for runs that can be compared.
    pub text: String,
    pub window: Option<u32>,
    pub rate: Option<f64>,
    pub count: Option<u64>,
    pub hold_s: f64,
    pub ring_s: f64,
    pub warm_up_s: f64,
}

/// One scenario.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Played {
    pub scenario: String,
    pub weight: u32,
    pub users: u32,
    pub placed: u64,
    pub right: u64,
    pub calls_per_s: f64,
}

/// A distribution of times.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Latency {
    pub count: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
    /// Percentile and time.
    pub curve: Vec<(f64, f64)>,
}

/// What the server's processes used in the interval.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ServerProcess {
    pub cpu_us_per_call: f64,
    pub user_us_per_call: f64,
    pub system_us_per_call: f64,
    pub cpu_percent: f64,
    pub rss_bytes: u64,
    pub pss_bytes: u64,
    pub rss_growth_bytes: i64,
    pub voluntary_switches_per_call: f64,
    pub involuntary_switches_per_call: f64,
    pub udp_drops: u64,
    pub threads: u64,
    pub processes: u64,
}

/// How the generator itself did.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Own {
    pub threads: usize,
    pub cpu_us_per_call: f64,
    /// Of each thread.
    pub busy_percent: Vec<f64>,
    pub lag_p99_us: f64,
    pub lag_max_us: f64,
    pub udp_drops: u64,
    /// How often a thread was kept from its sockets for more than a millisecond.
    pub held_up: u64,
    /// How long the thread that had most of that, as a share of the interval.
    pub held_up_percent: f64,
    pub held_up_max_ms: f64,
    /// Whether it, not the server, was the limit.
    pub was_the_limit: bool,
}

/// What the machine did beside.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Machine {
    /// How long a hypervisor gave one of its processors to others, the one of which it took most, as a
    /// share of the interval.
    pub stolen_percent: f64,
}

/// One point of the curves.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Point {
    pub at_s: f64,
    pub calls_per_s: f64,
    pub failed_per_s: f64,
    pub retransmissions_per_s: f64,
    pub open: u64,
    pub rss_bytes: Option<u64>,
}

/// One step of a ramp.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Step {
    pub rate: f64,
    pub calls_per_s: f64,
    pub failed_percent: f64,
    pub sustained: bool,
}

impl Document {
    /// What a run found.
    pub(super) fn of(label: &str, started: String, run: &Run, found: &Found) -> Self {
        let tally = &found.tally;
        let counts = &tally.counts;
        let interval_s = found.measured.interval_s.max(1e-9);
        // Where none ended well, nothing can be told for each.
        let calls = match counts.completed {
            0 => f64::INFINITY,
            calls => calls as f64,
        };
        let server = found.measured.server.as_ref();
        let per_s = |count: u64| count as f64 / interval_s;
        Self {
            pointsman_bench: VERSION,
            label: label.to_owned(),
            started,
            server: run.plan.server.to_string(),
            callee: run.plan.seat(Seat::Callee).map(|callee| callee.to_string()),
            transport: run.plan.transport.param().to_owned(),
            load: Load::of(run),
            interval_s,
            calls_per_s: per_s(counts.completed),
            notifications_per_s: per_s(counts.notifications),
            failed_percent: tally.failed_share() * 100.0,
            failed: tally.failed(),
            scenarios: played(run, tally, per_s),
            counts: counts
                .rows()
                .iter()
                .map(|(name, count, _)| ((*name).to_owned(), *count))
                .collect(),
            statuses: tally
                .statuses()
                .map(|(status, count)| (status.to_string(), count))
                .collect(),
            wrong: tally
                .wrongs()
                .map(|(wrong, count)| (wrong.name().to_owned(), count))
                .collect(),
            latency_us: latencies(tally),
            server_process: server
                .map(|(before, after)| ServerProcess::of(before, after, calls, interval_s)),
            generator: Own::of(run, tally, &found.threads, calls),
            machine: Machine {
                stolen_percent: (found.measured.stolen_ms as f64 / 10.0 / interval_s).min(100.0),
            },
            moments: found.measured.moments.iter().map(Point::of).collect(),
            open_at_end: found.measured.open_at_end,
            interrupted: found.is_interrupted,
            server_gone: found.measured.is_server_gone,
            ramp: Vec::new(),
        }
    }

    /// For how much of the interval the machine was not there, percent: the generator was kept from its
    /// sockets, or processors were taken away, the server's perhaps.
    pub(super) fn standstill_percent(&self) -> f64 {
        let own = self.generator.held_up_percent;
        own.max(self.machine.stolen_percent)
    }

    /// A count by its name.
    pub(super) fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or_default()
    }

    /// The callee that was played for nothing: calls were to arrive there, and failed, and none did.
    pub(super) fn missed_callee(&self) -> Option<&str> {
        let mut scenarios = self.scenarios.iter().filter(|one| one.placed > 0);
        let should_ring = scenarios
            .any(|one| Scenario::from_name(&one.scenario).is_some_and(Scenario::needs_callee));
        let callee = self
            .callee
            .as_deref()
            .filter(|_| should_ring && self.failed > 0);
        callee.filter(|_| !self.latency_us.contains_key("added"))
    }

    /// What is played, and how: the same for runs that can be compared.
    pub(super) fn what(&self) -> String {
        let names: Vec<_> = self
            .scenarios
            .iter()
            .map(|one| one.scenario.as_str())
            .collect();
        format!("{} {}", names.join("+"), self.load.text)
    }
}

fn played(run: &Run, tally: &Tally, per_s: impl Fn(u64) -> f64) -> Vec<Played> {
    let outcomes = run.plan.items.iter().zip(&tally.outcomes);
    outcomes
        .map(|(item, outcome)| Played {
            scenario: item.scenario.name().to_owned(),
            weight: item.weight,
            users: item.targets.len(),
            placed: outcome.placed,
            right: outcome.right,
            calls_per_s: per_s(outcome.completed),
        })
        .collect()
}

fn latencies(tally: &Tally) -> BTreeMap<String, Latency> {
    let all = [
        ("final", &tally.final_ns),
        ("added", &tally.added_ns),
        ("ringing", &tally.ringing_ns),
        ("bye", &tally.bye_ns),
        ("notified", &tally.notified_ns),
    ];
    all.into_iter()
        .filter(|(_, times)| times.count() > 0)
        .map(|(name, times)| (name.to_owned(), Latency::of(times)))
        .collect()
}

impl Load {
    fn of(run: &Run) -> Self {
        let pace = &run.pace;
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        let mut text = match (pace.window, pace.rate) {
            (Some(window), None) => format!("{window} open"),
            (Some(window), Some(rate)) => format!("{window} open, at most {rate:.0}/s"),
            (None, Some(rate)) => format!("{rate:.0}/s"),
            (None, None) => "unlimited".to_owned(),
        };
        let times = &run.plan.times;
        let s = |ns: u64| ns as f64 / 1e9;
        if times.hold_ns > 0 {
            text.push_str(&format!(", held {} s", s(times.hold_ns)));
        }
        if times.ring_ns > 0 {
            text.push_str(&format!(", ringing {} s", s(times.ring_ns)));
        }
        if let Some(count) = pace.count {
            text.push_str(&format!(", {count} call{}", plural(count)));
        }
        Self {
            text,
            window: pace.window,
            rate: pace.rate,
            count: pace.count,
            hold_s: s(times.hold_ns),
            ring_s: s(times.ring_ns),
            warm_up_s: run.warm_up.as_secs_f64(),
        }
    }
}

impl Latency {
    fn of(times: &Latencies) -> Self {
        let us = |share: f64| times.quantile_ns(share) as f64 / 1e3;
        // The further towards the slowest, the denser.
        let mut curve = vec![(0.0, us(0.0))];
        let mut left = 1.0;
        while left * times.count() as f64 >= 1.0 && left > 1e-6 {
            for step in [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1] {
                let share = 1.0 - left * step;
                curve.push((share * 100.0, us(share)));
            }
            left /= 10.0;
        }
        Self {
            count: times.count(),
            mean: times.mean_ns() / 1e3,
            p50: us(0.5),
            p90: us(0.9),
            p99: us(0.99),
            p99_9: us(0.999),
            max: times.max_ns() as f64 / 1e3,
            curve,
        }
    }
}

impl ServerProcess {
    fn of(before: &Used, after: &Used, calls: f64, interval_s: f64) -> Self {
        let since = |value: fn(&Used) -> u64| value(after).saturating_sub(value(before)) as f64;
        let cpu_ns = since(|used| used.cpu_ns);
        let (user, system) = (
            since(|used| used.user_ticks),
            since(|used| used.system_ticks),
        );
        // The ticks tell the shares, the scheduler's account the sum.
        let user_share = if user + system > 0.0 {
            user / (user + system)
        } else {
            0.0
        };
        let cpu_us_per_call = cpu_ns / 1e3 / calls;
        Self {
            cpu_us_per_call,
            user_us_per_call: cpu_us_per_call * user_share,
            system_us_per_call: cpu_us_per_call * (1.0 - user_share),
            cpu_percent: cpu_ns / 1e7 / interval_s,
            rss_bytes: after.rss_bytes,
            pss_bytes: after.pss_bytes,
            rss_growth_bytes: after.rss_bytes as i64 - before.rss_bytes as i64,
            voluntary_switches_per_call: since(|used| used.voluntary_switches) / calls,
            involuntary_switches_per_call: since(|used| used.involuntary_switches) / calls,
            udp_drops: after.udp_drops.saturating_sub(before.udp_drops),
            threads: after.threads,
            processes: after.processes,
        }
    }
}

impl Own {
    /// How busy the busiest thread was.
    pub(super) fn busiest_percent(&self) -> f64 {
        self.busy_percent.iter().copied().fold(0.0, f64::max)
    }

    /// Whether a thread had next to no time left.
    pub(super) fn is_busy(&self) -> bool {
        self.busiest_percent() >= BUSY_LIMIT
    }

    fn of(run: &Run, tally: &Tally, threads: &[Busy], calls: f64) -> Self {
        let busy_percent: Vec<f64> = threads
            .iter()
            .map(|one| one.busy_ns as f64 * 100.0 / one.measured_ns.max(1) as f64)
            .collect();
        let cpu_ns: u64 = threads.iter().map(|one| one.cpu_ns).sum();
        let lag_p99_us = tally.lag_ns.quantile_ns(0.99) as f64 / 1e3;
        let is_open_loop = run.pace.window.is_none();
        let held_up = threads.iter().map(|one| one.held_up);
        let held_up_share = threads
            .iter()
            .map(|one| one.held_up.total_ns as f64 / one.measured_ns.max(1) as f64);
        let mut own = Self {
            threads: threads.len(),
            cpu_us_per_call: cpu_ns as f64 / 1e3 / calls,
            busy_percent,
            lag_p99_us,
            lag_max_us: tally.lag_ns.max_ns() as f64 / 1e3,
            udp_drops: threads.iter().map(|one| one.drops).sum(),
            held_up: held_up.clone().map(|held_up| held_up.times).sum(),
            held_up_percent: held_up_share.fold(0.0, f64::max) * 100.0,
            held_up_max_ms: held_up.map(|one| one.longest_ns).max().unwrap_or(0) as f64 / 1e6,
            was_the_limit: false,
        };
        own.was_the_limit = own.is_busy() || (is_open_loop && lag_p99_us > LAG_LIMIT_US);
        own
    }
}

impl Point {
    fn of(moment: &crate::net::bench::Moment) -> Self {
        Self {
            at_s: moment.at_s,
            calls_per_s: moment.right_per_s,
            failed_per_s: moment.failed_per_s,
            retransmissions_per_s: moment.again_per_s,
            open: moment.open,
            rss_bytes: moment.rss_bytes,
        }
    }
}
