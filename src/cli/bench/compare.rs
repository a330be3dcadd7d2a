//! Runs beside each other: documents that were written before, and their medians by label.

use std::fs;
use std::path::Path;

use super::super::exit::{CliError, Outcome};
use super::super::output::{cell, say, say_table, table};
use super::document::Document;
use super::show::grouped;

/// The runs of a file: one document, or a list of them.
///
/// # Errors
/// It cannot be read, or holds something else.
pub(super) fn read(file: &Path) -> Result<Vec<Document>, CliError> {
    let failed = |reason: String| CliError::failed(format!("{}: {reason}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    let runs = match text.trim_start().starts_with('[') {
        true => serde_json::from_str::<Vec<Document>>(&text),
        false => serde_json::from_str(&text).map(|run| vec![run]),
    };
    let runs = runs.map_err(|error| failed(format!("no document of bench: {error}")))?;
    match runs.iter().all(|run| run.pointsman_bench == 1) {
        true => Ok(runs),
        false => Err(failed("no document of bench".to_owned())),
    }
}

/// All runs of one label with one load.
struct Group<'d> {
    what: String,
    label: &'d str,
    runs: Vec<&'d Document>,
}

/// The groups, those of the same load beside each other, otherwise as they came.
fn groups(runs: &[Document]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for run in runs {
        let what = run.what();
        let is_it = |group: &&mut Group<'_>| group.what == what && group.label == run.label;
        if let Some(group) = groups.iter_mut().find(is_it) {
            group.runs.push(run);
            continue;
        }
        let after = groups.iter().rposition(|group| group.what == what);
        let group = Group {
            what,
            label: &run.label,
            runs: vec![run],
        };
        groups.insert(after.map_or(groups.len(), |at| at + 1), group);
    }
    groups
}

impl Group<'_> {
    fn median(&self, value: impl Fn(&Document) -> f64) -> f64 {
        let mut values: Vec<f64> = self.runs.iter().map(|run| value(run)).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = values.get(middle).copied().unwrap_or_default();
        match values.len() % 2 {
            1 => upper,
            _ => f64::midpoint(
                values.get(middle.wrapping_sub(1)).copied().unwrap_or(upper),
                upper,
            ),
        }
    }

    fn sum(&self, value: impl Fn(&Document) -> u64) -> u64 {
        self.runs.iter().map(|run| value(run)).sum()
    }

    /// What the table tells of it: medians, and how they stand to those of `first`.
    fn row(&self, first: &Self) -> Vec<String> {
        let cpu = |run: &Document| {
            run.server_process
                .clone()
                .unwrap_or_default()
                .cpu_us_per_call
        };
        let user = |run: &Document| {
            run.server_process
                .clone()
                .unwrap_or_default()
                .user_us_per_call
        };
        let system = |run: &Document| {
            run.server_process
                .clone()
                .unwrap_or_default()
                .system_us_per_call
        };
        let latency = |name: &'static str, pick: fn(&super::document::Latency) -> f64| {
            move |run: &Document| run.latency_us.get(name).map_or(0.0, pick)
        };
        let times = |name: &'static str| {
            let is_timed = self
                .runs
                .iter()
                .any(|run| run.latency_us.contains_key(name));
            let p50 = self.median(latency(name, |latency| latency.p50));
            let p99 = self.median(latency(name, |latency| latency.p99));
            or_none(is_timed, format!("{} / {}", grouped(p50), grouped(p99)))
        };
        let is_measured = self.runs.iter().any(|run| run.server_process.is_some());
        let ratio = |value: &dyn Fn(&Document) -> f64| {
            let of_first = first.median(value);
            match std::ptr::eq(self, first) || of_first <= 0.0 {
                true => "1".to_owned(),
                false => format!("{:.2}", self.median(value) / of_first),
            }
        };
        let again = ["invites_again", "requests_again", "answers_again"];
        let again = |run: &Document| again.iter().map(|name| run.count(name)).sum();
        let busy = |run: &Document| run.generator.busiest_percent();
        vec![
            self.what.clone(),
            self.label.to_owned(),
            self.runs.len().to_string(),
            grouped(self.median(|run| run.calls_per_s)),
            ratio(&|run| run.calls_per_s),
            or_none(is_measured, format!("{:.2}", self.median(cpu))),
            ratio(&cpu),
            or_none(
                is_measured,
                format!("{:.2} + {:.2}", self.median(user), self.median(system)),
            ),
            ratio(&user),
            times("final"),
            times("added"),
            grouped(self.sum(|run| run.failed) as f64),
            grouped(self.sum(again) as f64),
            format!("{:.0} %", self.median(busy)),
            format!("{:.2} %", self.median(Document::standstill_percent)),
        ]
    }
}

/// The text of what was measured.
fn or_none(is_measured: bool, text: String) -> String {
    match is_measured {
        true => text,
        false => "–".to_owned(),
    }
}

const HEADERS: [&str; 15] = [
    "load",
    "server",
    "runs",
    "calls/s",
    "ratio",
    "CPU µs/call",
    "ratio",
    "user + system",
    "user ratio",
    "final p50/p99 µs",
    "added p50/p99 µs",
    "failed",
    "sent again",
    "generator busy",
    "machine away",
];

/// Prints medians by load and label, with their ratio to the first label of the same load.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn medians(runs: &[Document], is_markdown: bool) -> Outcome {
    let groups = groups(runs);
    let rows = groups.iter().map(|group| {
        let first = groups.iter().find(|first| first.what == group.what);
        group.row(first.unwrap_or(group))
    });
    if is_markdown {
        say(&format!("| {} |", HEADERS.join(" | ")))?;
        say(&format!("|{}", "---|".repeat(HEADERS.len())))?;
        for row in rows {
            say(&format!("| {} |", row.join(" | ").replace('\n', " ")))?;
        }
        return super::super::DONE;
    }
    // In capitals, as tables have them, µ would be M.
    let headers = HEADERS.map(|header| header.replace('µ', "u"));
    let mut shown = table(&headers.each_ref().map(String::as_str));
    for row in rows {
        shown.add_row(row.iter().map(|text| cell(text)));
    }
    say_table(shown, "no run")
}

#[cfg(test)]
mod tests {
    use super::super::document::Load;
    use super::*;

    fn run(label: &str, load: &str, calls_per_s: f64) -> Document {
        Document {
            pointsman_bench: 1,
            label: label.to_owned(),
            load: Load {
                text: load.to_owned(),
                ..Load::default()
            },
            calls_per_s,
            ..Document::default()
        }
    }

    #[test]
    fn runs_are_grouped_by_load_and_label_and_told_by_medians() {
        let runs = [
            run("a", "50 open", 10.0),
            run("b", "50 open", 30.0),
            run("a", "3000/s", 5.0),
            run("a", "50 open", 30.0),
            run("a", "50 open", 20.0),
            run("b", "50 open", 50.0),
        ];
        let groups = groups(&runs);
        let heads: Vec<_> = groups
            .iter()
            .map(|group| (group.what.as_str(), group.label))
            .collect();
        assert_eq!(
            heads,
            [(" 50 open", "a"), (" 50 open", "b"), (" 3000/s", "a")]
        );
        let [first, second, ..] = groups.as_slice() else {
            panic!("{heads:?}");
        };
        assert_eq!(first.row(first)[2..5], ["3", "20", "1"]);
        assert_eq!(second.row(first)[2..5], ["2", "40", "2.00"]);
    }

    #[test]
    fn a_file_that_is_no_document_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("x.json");
        for (text, is_good) in [
            ("{}", false),
            ("[1]", false),
            ("{\"pointsman_bench\":1}", true),
            ("[{\"pointsman_bench\":1},{\"pointsman_bench\":1}]", true),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(read(&file).is_ok(), is_good, "{text}");
        }
        assert!(read(&directory.path().join("none.json")).is_err());
    }
}
