//! `pointsman calls`: the calls in progress.

use clap::Args;
use serde_json::Value;

use super::Setting;
use super::client::{field, take, text};
use super::exit::Outcome;
use super::output::{cell, local_time, say_json, say_table, table};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  pointsman calls\n  pointsman calls --json | jq length")]
pub(super) struct Calls {
    /// At most so many, the newest first
    #[arg(long, short, default_value_t = 1_000, value_name = "COUNT")]
    limit: u64,
}

impl Calls {
    pub(super) fn run(&self, setting: &Setting) -> Outcome {
        let path = format!("/api/v1/calls?limit={}", self.limit);
        let mut answer = setting.client()?.get(&path)?;
        let calls = take(&mut answer, "calls");
        if setting.json {
            return say_json(&calls);
        }
        let calls = calls.as_array().map(Vec::as_slice).unwrap_or_default();
        let mut table = table(&["since", "from", "to", "answered by", "call-id"]);
        for call in calls {
            table.add_row([
                cell(&local_time(text(call, "answered_at"))),
                cell(party(call, "caller", "from")),
                cell(text(call, "to")),
                cell(text(call, "callee")),
                cell(text(call, "call_id")),
            ]);
        }
        say_table(table, "no calls")?;
        let total = field(&answer, "total").as_u64().unwrap_or(0);
        if total > calls.len() as u64 {
            eprintln!("… of {total} calls; raise --limit to see more");
        }
        super::DONE
    }
}

/// The subscriber where it is one, else the address.
pub(super) fn party<'v>(call: &'v Value, subscriber: &str, address: &str) -> &'v str {
    match text(call, subscriber) {
        "" => text(call, address),
        id => id,
    }
}
