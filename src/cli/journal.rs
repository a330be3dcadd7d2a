//! `pointsman journal`: what became of a subscriber's calls.

use clap::Args;
use serde_json::Value;

use super::Setting;
use super::client::{escape, field, take, text};
use super::exit::Outcome;
use super::output::{cell, local_time, say_json, say_table, table};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pointsman journal anna --limit 20")]
pub(super) struct Journal {
    /// Id of the subscriber
    id: String,
    /// At most so many, the newest first
    #[arg(long, short, default_value_t = 50, value_name = "COUNT")]
    limit: u64,
}

impl Journal {
    pub(super) fn run(&self, setting: &Setting) -> Outcome {
        let path = format!(
            "/api/v1/subscribers/{}/journal?limit={}",
            escape(&self.id),
            self.limit
        );
        let mut answer = setting.client()?.get(&path)?;
        let entries = take(&mut answer, "entries");
        if setting.json {
            return say_json(&entries);
        }
        let mut table = table(&["at", "what", "from", "target", "rang", "talked", "why"]);
        for entry in entries.as_array().into_iter().flatten() {
            table.add_row([
                cell(&local_time(text(entry, "at"))),
                cell(text(entry, "kind")),
                cell(text(entry, "from")),
                cell(text(entry, "target")),
                cell(&seconds(field(entry, "ring_ms"), 1_000)),
                cell(&seconds(field(entry, "talk_s"), 1)),
                cell(&labels(field(entry, "reasons"))),
            ]);
        }
        say_table(table, "no calls yet")
    }
}

fn seconds(value: &Value, per_second: u64) -> String {
    match value.as_u64() {
        None | Some(0) => String::new(),
        Some(count) => format!("{} s", (count + per_second / 2) / per_second),
    }
}

fn labels(reasons: &Value) -> String {
    let labels = reasons.as_array().into_iter().flatten();
    labels
        .filter_map(Value::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}
