//! One self-contained page: tables and plots of one run or several side by side.

use std::fmt::Write;

use super::document::Document;
use super::show::grouped;
use super::svg::{Axis, COLOURS, Line, bars, escaped, lines};

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2430;--dim:#5b6675;--paper:#fff;--rule:#dfe4ea}\
@media(prefers-color-scheme:dark){:root{--ink:#e7ecf2;--dim:#9aa7b6;--paper:#12171e;--rule:#2b3440}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:2rem auto;\
max-width:62rem;padding:0 1rem}h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}\
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}\
th,td{padding:.3rem .8rem .3rem 0;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}\
th:first-child,td:first-child{text-align:left}th{color:var(--dim);font-weight:500}\
svg{width:100%;height:auto}.grid{stroke:var(--rule)}.mark,.name{fill:var(--dim);font-size:12px}\
.line{fill:none;stroke-width:2}.part1{opacity:.6}.key{display:inline-block;width:.8em;height:.8em;\
margin-right:.4em;border-radius:2px}.dim{color:var(--dim)}.warn{color:#c0392b}";
/// A colour for each run; they are told apart by who cannot see some, too.
const PALETTE: [&str; COLOURS] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#7f7f7f",
];

/// The page for these runs.
pub(super) fn page(runs: &[Document]) -> String {
    let mut html = String::from(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>pointsman bench</title><style>",
    );
    html.push_str(STYLE);
    for (index, colour) in PALETTE.iter().enumerate() {
        let _ = write!(
            html,
            ".line.c{index}{{stroke:{colour}}}.bar.c{index}{{fill:{colour}}}.key.c{index}{{background:{colour}}}"
        );
    }
    html.push_str("</style></head><body><h1>pointsman bench</h1>");
    summary(runs, &mut html);
    section(
        &mut html,
        "Due to final answer, by percentile",
        &percentiles(runs, "final"),
    );
    section(
        &mut html,
        "Due to INVITE at the callee: added latency",
        &percentiles(runs, "added"),
    );
    section(
        &mut html,
        "Due to first NOTIFY",
        &percentiles(runs, "notified"),
    );
    section(
        &mut html,
        "BYE or last SUBSCRIBE to its 200",
        &percentiles(runs, "bye"),
    );
    section(&mut html, "Server CPU per call (user, system)", &cpu(runs));
    section(
        &mut html,
        "Calls that ended well, over time",
        &over_time(runs, "calls/s", |point| Some(point.calls_per_s)),
    );
    section(
        &mut html,
        "Calls that failed and messages sent again, over time",
        &over_time(runs, "a second", |point| {
            Some(point.failed_per_s + point.retransmissions_per_s)
        }),
    );
    section(
        &mut html,
        "Open calls, over time",
        &over_time(runs, "calls", |point| Some(point.open as f64)),
    );
    section(
        &mut html,
        "Server's resident memory, over time",
        &over_time(runs, "MB", |point| {
            point.rss_bytes.map(|bytes| bytes as f64 / 1e6)
        }),
    );
    latency_table(runs, &mut html);
    counts_table(runs, &mut html);
    ramps(runs, &mut html);
    html.push_str("</body></html>\n");
    html
}

/// The name of a run, for people.
pub(super) fn name(run: &Document, index: usize) -> String {
    match run.label.as_str() {
        "" => format!("run {}", index + 1),
        label => label.to_owned(),
    }
}

fn key(run: &Document, index: usize) -> String {
    let name = escaped(&name(run, index));
    format!("<span class=\"key c{}\"></span>{name}", index % COLOURS)
}

fn section(html: &mut String, title: &str, plot: &str) {
    if !plot.is_empty() {
        let _ = write!(html, "<h2>{title}</h2>{plot}");
    }
}

fn summary(runs: &[Document], html: &mut String) {
    html.push_str(
        "<div class=\"scroll\"><table><tr><th>run</th><th>load</th><th>calls/s</th><th>failed</th>\
         <th>CPU µs/call</th><th>user + system</th><th>p50 µs</th><th>p99 µs</th><th>RSS MB</th>\
         <th>generator busy</th><th>machine away</th></tr>",
    );
    for (index, run) in runs.iter().enumerate() {
        let server = run.server_process.as_ref();
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
        let latency = run.latency_us.get("final").cloned().unwrap_or_default();
        let busiest = run.generator.busiest_percent();
        let _ = write!(
            html,
            "<tr><td>{}<br><span class=\"dim\">{} · {}</span></td><td>{}</td><td>{}</td>\
             <td>{:.3} %</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td{}>{busiest:.0} %</td><td>{:.2} %</td></tr>",
            key(run, index),
            escaped(&run.server),
            escaped(&run.started),
            escaped(&run.what()),
            grouped(run.calls_per_s),
            run.failed_percent,
            or_none(server.map(|server| format!("{:.2}", server.cpu_us_per_call))),
            or_none(server.map(|server| format!(
                "{:.2} + {:.2}",
                server.user_us_per_call, server.system_us_per_call
            ))),
            grouped(latency.p50),
            grouped(latency.p99),
            or_none(server.map(|server| format!("{:.1}", server.rss_bytes as f64 / 1e6))),
            if run.generator.was_the_limit {
                " class=\"warn\" title=\"the generator was the limit\""
            } else {
                ""
            },
            run.standstill_percent(),
        );
    }
    html.push_str("</table></div>");
}

/// Curves of one latency; empty where no run has it. Each nine takes as much room as the last.
fn percentiles(runs: &[Document], which: &str) -> String {
    let nines = |percentile: f64| -(1.0 - percentile / 100.0).max(1e-7).log10();
    let curves: Vec<Line> = runs
        .iter()
        .enumerate()
        .filter_map(|(run, document)| {
            let latency = document.latency_us.get(which)?;
            let curve = latency.curve.iter();
            let points = curve.map(|(percentile, us)| (nines(*percentile), us.max(0.1).log10()));
            Some(Line {
                run,
                points: points.collect(),
            })
        })
        .filter(|line| !line.points.is_empty())
        .collect();
    if curves.is_empty() {
        return String::new();
    }
    let all = || curves.iter().flat_map(|line| &line.points);
    let most_nines = all().map(|(x, _)| *x).fold(2.0, f64::max).ceil();
    let least = all().map(|(_, y)| *y).fold(f64::MAX, f64::min);
    let most = all().map(|(_, y)| *y).fold(0.0, f64::max);
    let names = [
        "0 %",
        "90 %",
        "99 %",
        "99.9 %",
        "99.99 %",
        "99.999 %",
        "99.9999 %",
    ];
    let x = Axis {
        from: 0.0,
        to: most_nines,
        marks: (0..=most_nines as u32)
            .map(f64::from)
            .zip(names)
            .map(|(at, name)| (at, name.to_owned()))
            .collect(),
        name: "percentile".to_owned(),
    };
    let y = Axis::powers("µs", 10_f64.powf(least), 10_f64.powf(most));
    lines(&x, &y, &curves)
}

fn cpu(runs: &[Document]) -> String {
    let with_server: Vec<_> = runs
        .iter()
        .enumerate()
        .map(|(index, run)| {
            let server = run.server_process.clone().unwrap_or_default();
            let parts = vec![
                ("user", server.user_us_per_call),
                ("system", server.system_us_per_call),
            ];
            (name(run, index), parts)
        })
        .collect();
    match runs.iter().any(|run| run.server_process.is_some()) {
        true => bars("µs/call", &with_server),
        false => String::new(),
    }
}

fn over_time(
    runs: &[Document],
    unit: &str,
    value: impl Fn(&super::document::Point) -> Option<f64>,
) -> String {
    let curves: Vec<Line> = runs
        .iter()
        .enumerate()
        .map(|(run, document)| Line {
            run,
            points: document
                .moments
                .iter()
                .filter_map(|point| Some((point.at_s, value(point)?)))
                .collect(),
        })
        .filter(|line| line.points.len() > 1)
        .collect();
    let all = || curves.iter().flat_map(|line| &line.points);
    let most = all().map(|(_, y)| *y).fold(0.0, f64::max);
    if curves.is_empty() || most <= 0.0 {
        return String::new();
    }
    let longest = all().map(|(x, _)| *x).fold(0.0, f64::max);
    lines(
        &Axis::linear("s", longest),
        &Axis::linear(unit, most),
        &curves,
    )
}

fn latency_table(runs: &[Document], html: &mut String) {
    html.push_str(
        "<h2>Latencies, µs</h2><div class=\"scroll\"><table><tr><th>run</th><th>what</th><th>count</th>\
         <th>mean</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>max</th></tr>",
    );
    for (index, run) in runs.iter().enumerate() {
        for (what, latency) in &run.latency_us {
            let _ = write!(
                html,
                "<tr><td>{}</td><td>{}</td>",
                key(run, index),
                escaped(what)
            );
            let values = [
                latency.count as f64,
                latency.mean,
                latency.p50,
                latency.p90,
                latency.p99,
                latency.p99_9,
                latency.max,
            ];
            for value in values {
                let _ = write!(html, "<td>{}</td>", grouped(value));
            }
            html.push_str("</tr>");
        }
    }
    html.push_str("</table></div>");
}

fn counts_table(runs: &[Document], html: &mut String) {
    html.push_str("<h2>Counts</h2><div class=\"scroll\"><table><tr><th>what</th>");
    for (index, run) in runs.iter().enumerate() {
        let _ = write!(html, "<th>{}</th>", key(run, index));
    }
    html.push_str("</tr>");
    let mut names: Vec<(&str, String)> = Vec::new();
    for run in runs {
        let counts = run.counts.iter().map(|(name, count)| ("", name, count));
        let statuses = run
            .statuses
            .iter()
            .map(|(name, count)| ("final ", name, count));
        let wrong = run
            .wrong
            .iter()
            .map(|(name, count)| ("wrong: ", name, count));
        for (kind, name, count) in counts.chain(statuses).chain(wrong) {
            let entry = (kind, name.clone());
            if *count > 0 && !names.contains(&entry) {
                names.push(entry);
            }
        }
    }
    for (kind, entry) in &names {
        let _ = write!(
            html,
            "<tr><td>{kind}{}</td>",
            escaped(&entry.replace('_', " "))
        );
        for run in runs {
            let counts = match *kind {
                "" => &run.counts,
                "final " => &run.statuses,
                _ => &run.wrong,
            };
            let count = counts.get(entry).copied().unwrap_or_default();
            let _ = write!(html, "<td>{}</td>", grouped(count as f64));
        }
        html.push_str("</tr>");
    }
    if runs.iter().any(|run| run.notifications_per_s > 0.0) {
        html.push_str("<tr><td>notifications a second</td>");
        for run in runs {
            let _ = write!(html, "<td>{}</td>", grouped(run.notifications_per_s));
        }
        html.push_str("</tr>");
    }
    html.push_str("</table></div>");
}

fn ramps(runs: &[Document], html: &mut String) {
    for (index, run) in runs
        .iter()
        .enumerate()
        .filter(|(_, run)| !run.ramp.is_empty())
    {
        let _ = write!(
            html,
            "<h2>{}: search for the highest rate</h2><div class=\"scroll\"><table><tr><th>rate</th>\
             <th>calls/s</th><th>failed</th><th>sustained</th></tr>",
            key(run, index)
        );
        for step in &run.ramp {
            let _ = write!(
                html,
                "<tr><td>{}</td><td>{}</td><td>{:.3} %</td><td>{}</td></tr>",
                grouped(step.rate),
                grouped(step.calls_per_s),
                step.failed_percent,
                if step.sustained { "yes" } else { "no" }
            );
        }
        html.push_str("</table></div>");
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::{Latency, Point, ServerProcess};
    use super::*;

    fn run(label: &str) -> Document {
        let mut run = Document {
            label: label.to_owned(),
            calls_per_s: 12_345.0,
            server_process: Some(ServerProcess {
                user_us_per_call: 3.0,
                system_us_per_call: 4.0,
                ..ServerProcess::default()
            }),
            ..Document::default()
        };
        let latency = Latency {
            p50: 40.0,
            curve: vec![(0.0, 10.0), (50.0, 40.0), (99.9, 900.0)],
            ..Latency::default()
        };
        run.latency_us.insert("final".to_owned(), latency);
        run.counts.insert("timed_out".to_owned(), 7);
        run.moments = [0.5, 1.0]
            .map(|at_s| Point {
                at_s,
                calls_per_s: 12_000.0,
                ..Point::default()
            })
            .to_vec();
        run
    }

    #[test]
    fn a_page_is_whole_and_asks_no_other_host() {
        let page = page(&[run("before"), run("<after>")]);
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
        for part in [
            "12,345",
            "timed out",
            "&lt;after&gt;",
            "class=\"line c1\"",
            "class=\"bar c0 part1\"",
            "prefers-color-scheme:dark",
        ] {
            assert!(page.contains(part), "{part}");
        }
        for other in [
            "http://", "https://", "<script", "src=", "<after>", "@import", "url(",
        ] {
            assert!(!page.contains(other), "{other}");
        }
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    }

    #[test]
    fn a_run_without_anything_makes_a_page_too() {
        let page = page(&[Document::default()]);
        assert!(page.contains("run 1") && !page.contains("<svg"));
    }
}
