//! What people see: a line while it runs, tables at the end.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::super::exit::Outcome;
use super::super::output::{cell, printable, say, say_table, table};
use super::document::{Document, Latency, ServerProcess};
use crate::bench::{Counts, Sample, Wrong};
use crate::net::bench::Glance;

/// How much of a wrong message is shown.
const SHOWN_BYTES: usize = 4_000;
/// How much of the time may be missing before it is said, percent: half of what a 99th percentile is read from.
const STANDSTILL_PERCENT: f64 = 0.5;

/// A line that lives while a run does; hidden where nobody watches.
pub(super) fn live_line() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// How a run stands, on one line.
pub(super) fn glance_line(what: &str, glance: &Glance) -> String {
    format!(
        "{what}: {} {:.0} s · {}/s · {} open · {} right · {} failed · {} sent again",
        glance.phase,
        glance.at_s,
        grouped(glance.right_per_s),
        glance.open,
        grouped(glance.right as f64),
        grouped(glance.failed as f64),
        grouped(glance.again as f64),
    )
}

/// The tables of a run.
pub(super) fn tables(document: &Document) -> Outcome {
    say(&headline(document))?;
    say("")?;
    let mut scenarios = table(&["scenario", "users", "due", "right", "calls/s"]);
    for played in &document.scenarios {
        scenarios.add_row([
            cell(&played.scenario),
            cell(&grouped(f64::from(played.users))),
            cell(&grouped(played.placed as f64)),
            cell(&grouped(played.right as f64)),
            cell(&grouped(played.calls_per_s)),
        ]);
    }
    say_table(scenarios, "")?;
    say("")?;
    let mut times = table(&["microseconds", "p50", "p90", "p99", "p99.9", "max"]);
    for (name, text) in [
        ("final", "due to final answer"),
        ("added", "due to INVITE at the callee"),
        ("ringing", "due to 180"),
        ("notified", "due to first NOTIFY"),
        ("bye", "BYE or last SUBSCRIBE to its 200"),
    ] {
        if let Some(latency) = document.latency_us.get(name) {
            times.add_row(latency_row(text, latency));
        }
    }
    say_table(times, "no answer was timed")?;
    say("")?;
    say_table(facts(document), "")
}

fn latency_row(text: &str, latency: &Latency) -> Vec<comfy_table::Cell> {
    let times = [
        latency.p50,
        latency.p90,
        latency.p99,
        latency.p99_9,
        latency.max,
    ];
    let times = times.iter().map(|us| cell(&grouped(*us)));
    std::iter::once(cell(text)).chain(times).collect()
}

/// The result on one line.
fn headline(document: &Document) -> String {
    let label = match document.label.as_str() {
        "" => String::new(),
        label => format!("{}: ", printable(label)),
    };
    let ended = if document.interrupted {
        " (ended early)"
    } else {
        ""
    };
    format!(
        "{label}{} at {}, {}: {} calls/s over {:.1} s, {} failed ({:.3} %){ended}",
        printable(&document.what()),
        document.server,
        document.transport,
        grouped(document.calls_per_s),
        document.interval_s,
        grouped(document.failed as f64),
        document.failed_percent,
    )
}

/// What else was found: nothing that is zero.
fn facts(document: &Document) -> comfy_table::Table {
    let mut facts = table(&["what", "how many", ""]);
    let mut row = |name: &str, value: String, text: &str| {
        facts.add_row([cell(name), cell(&value), cell(text)]);
    };
    let told_above = ["placed", "right", "completed"];
    for (name, _, text) in Counts::default().rows() {
        let count = document.count(name);
        if count > 0 && !told_above.contains(&name) {
            row(&name.replace('_', " "), grouped(count as f64), text);
        }
    }
    if document.notifications_per_s > 0.0 {
        let per_s = grouped(document.notifications_per_s);
        row("notifications/s", per_s, &notifications(document));
    }
    for (name, count) in &document.wrong {
        let text = Wrong::from_name(name).map_or("", Wrong::text);
        row(&format!("wrong: {name}"), grouped(*count as f64), text);
    }
    for (status, count) in &document.statuses {
        row(
            status,
            grouped(*count as f64),
            "final answers to INVITE, REGISTER or SUBSCRIBE",
        );
    }
    if let Some(server) = &document.server_process {
        for (name, value, text) in server_rows(document, server) {
            row(name, value, &text);
        }
    }
    let own = &document.generator;
    let busiest = own.busiest_percent();
    row(
        "generator",
        us_per_call(document, own.cpu_us_per_call),
        &format!(
            "of CPU; busy {busiest:.0} %; lag p99 {:.0} µs, max {:.0} µs; {} UDP drops",
            own.lag_p99_us, own.lag_max_us, own.udp_drops
        ),
    );
    if own.held_up > 0 {
        let text = format!(
            "times the generator was kept from its sockets for more than 1 ms; {:.2} % of the interval, {:.1} ms at \
             the longest",
            own.held_up_percent, own.held_up_max_ms
        );
        row("held up", grouped(own.held_up as f64), &text);
    }
    if document.machine.stolen_percent > 0.0 {
        let stolen = format!("{:.2} %", document.machine.stolen_percent);
        row(
            "stolen",
            stolen,
            "of the time, a hypervisor gave a core to others (the core that had most of it)",
        );
    }
    facts
}

/// CPU time for each call; nothing where no call ended well.
fn us_per_call(document: &Document, us: f64) -> String {
    match document.count("completed") {
        0 => "–".to_owned(),
        _ => format!("{us:.2} µs/call"),
    }
}

/// What notifications cost; nothing where calls have cost something, too.
fn notifications(document: &Document) -> String {
    let server = document.server_process.as_ref();
    match server.filter(|_| document.count("completed") == 0) {
        None => "NOTIFYs of changes, a second".to_owned(),
        Some(server) => format!(
            "NOTIFYs of changes, a second; {:.2} µs of the server's CPU each",
            server.cpu_percent * 1e4 / document.notifications_per_s
        ),
    }
}

/// What the server's processes used.
fn server_rows(document: &Document, server: &ServerProcess) -> [(&'static str, String, String); 4] {
    [
        (
            "server CPU",
            us_per_call(document, server.cpu_us_per_call),
            format!(
                "{:.2} user + {:.2} system; {:.0} % of a core",
                server.user_us_per_call, server.system_us_per_call, server.cpu_percent
            ),
        ),
        (
            "server memory",
            format!("{:.1} MB", server.rss_bytes as f64 / 1e6),
            format!(
                "resident; {:+.2} MB in the interval; {:.1} MB with what is shared divided",
                server.rss_growth_bytes as f64 / 1e6,
                server.pss_bytes as f64 / 1e6
            ),
        ),
        (
            "context switches",
            format!("{:.3}/call", server.voluntary_switches_per_call),
            format!(
                "waiting; {:.3}/call in favour of others; {} processes, {} threads",
                server.involuntary_switches_per_call, server.processes, server.threads
            ),
        ),
        (
            "server UDP drops",
            grouped(server.udp_drops as f64),
            "datagrams its sockets had no room for".to_owned(),
        ),
    ]
}

/// Says what makes a run's figures doubtful.
pub(super) fn warnings(document: &Document) -> Vec<String> {
    let mut warnings = Vec::new();
    let own = &document.generator;
    if own.was_the_limit {
        warnings.push(
            "the generator was the limit, not the server: give it a core of its own (--cpus), \
             more --threads, or a lower --rate; judge by CPU per call only"
                .to_owned(),
        );
    }
    let standstill = document.standstill_percent();
    if standstill > STANDSTILL_PERCENT && !own.is_busy() {
        warnings.push(format!(
            "the machine was not there for {standstill:.1} % of the time (held up, stolen): the slowest \
             {standstill:.1} % of the times are not the server's alone; compare medians of several runs"
        ));
    }
    if own.udp_drops > 0 {
        warnings.push(format!(
            "the generator's sockets lost {} datagrams; raise net.core.rmem_max or lower the load",
            own.udp_drops
        ));
    }
    if document.count("not_placed") > 0 {
        warnings.push(
            "calls could not be placed, as too many were still open: see --max-open".to_owned(),
        );
    }
    let is_challenge = |(status, _): (&String, &u64)| matches!(status.as_str(), "401" | "407");
    let has_refused = document.count("refused_byes") > 0 && document.count("challenged") > 0;
    if has_refused || document.statuses.iter().any(is_challenge) {
        warnings.push(
            "the server asked for credentials: --credentials USER:PASSWORD for calls and subscriptions, --password or \
             passwords in --subscribers for registrations"
                .to_owned(),
        );
    }
    if document.count("rang_on") > 0 {
        warnings.push(
            "calls rang and nobody answered: did they arrive where their scenario wants them \
             (--callee, --voicemail, --forward-to)?"
                .to_owned(),
        );
    }
    if let Some(callee) = document.missed_callee() {
        warnings.push(format!(
            "no call arrived at {callee} (--callee): does the server send its calls there?"
        ));
    }
    warnings
}

/// Shows messages that were wrong.
pub(super) fn samples(samples: &[Sample], most: usize) {
    for sample in samples.iter().take(most) {
        let text = String::from_utf8_lossy(&sample.message);
        let shown: String = text.chars().take(SHOWN_BYTES).collect();
        eprintln!("\n{}:", sample.what);
        for line in shown.lines() {
            eprintln!("    {}", printable(line.trim_end()));
        }
    }
}

/// A number with its thousands apart.
pub(super) fn grouped(value: f64) -> String {
    let text = format!("{value:.0}");
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.as_str()),
    };
    let mut out = String::from(sign);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (value, text) in [
            (0.0, "0"),
            (999.4, "999"),
            (1_000.0, "1,000"),
            (1_234_567.0, "1,234,567"),
            (-12_345.0, "-12,345"),
        ] {
            assert_eq!(grouped(value), text);
        }
    }
}
