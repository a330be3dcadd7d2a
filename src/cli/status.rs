//! `pointsman status`: show, set and clear a subscriber's status.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};
use ureq::http::Method;

use super::client::{escape, set, text};
use super::exit::Outcome;
use super::output::{cell, local_time, say, say_json, say_table, status_cell, status_word, table};
use super::{Setting, time};

#[derive(Debug, Subcommand)]
pub(super) enum Status {
    /// List the statuses there are: the five, and the deployment's own
    #[command(after_help = "Example:\n  pointsman status list")]
    List,
    /// Show the status of one or more subscribers
    Show(Show),
    /// Set a subscriber's status
    Set(Set),
    /// Clear what was set: the subscriber is available again
    Clear(Clear),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pointsman status show anna bob")]
pub(super) struct Show {
    /// Ids of subscribers
    #[arg(required = true)]
    ids: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman status set anna away --message \"Back at three\" --until 15:00
  pointsman status set bob dnd --until +90m")]
pub(super) struct Set {
    /// Id of the subscriber
    id: String,
    /// available, away, break, dnd, or an own status (`pointsman status list`); `in_call` is shown during
    /// calls and cannot be set
    status: String,
    /// Shown to colleagues with the status
    #[arg(long, short)]
    message: Option<String>,
    /// When it ends by itself: RFC 3339, local `2026-12-24 18:00`, `18:00`, `+90m`
    #[arg(long, short, value_parser = time::parse, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Let it hold against what comes by itself: meetings, calendar, hours, idle
    #[arg(long)]
    hold: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pointsman status clear anna")]
pub(super) struct Clear {
    /// Id of the subscriber
    id: String,
}

impl Status {
    pub(super) fn run(&self, setting: &Setting) -> Outcome {
        match self {
            Self::List => list(setting),
            Self::Show(show) => show.run(setting),
            Self::Set(set) => set.run(setting),
            Self::Clear(clear) => clear.run(setting),
        }
    }
}

impl Show {
    fn run(&self, setting: &Setting) -> Outcome {
        let client = setting.client()?;
        let statuses: Vec<Value> = self
            .ids
            .iter()
            .map(|id| client.get(&path(id)))
            .collect::<Result<_, _>>()?;
        match (setting.json, statuses.as_slice()) {
            (true, [one]) => say_json(one),
            (true, _) => say_json(&Value::Array(statuses)),
            (false, _) => say_statuses(&statuses),
        }
    }
}

impl Set {
    fn run(&self, setting: &Setting) -> Outcome {
        let mut document = json!({ "status": self.status });
        if let Some(message) = &self.message {
            set(&mut document, "message", message.as_str());
        }
        if let Some(until) = &self.until {
            set(&mut document, "until", until.to_string());
        }
        if self.hold {
            set(&mut document, "hold", true);
        }
        let answer = setting
            .client()?
            .json(Method::PUT, &path(&self.id), Some(&document))?;
        say_one(&answer, setting)
    }
}

impl Clear {
    fn run(&self, setting: &Setting) -> Outcome {
        let answer = setting
            .client()?
            .json(Method::DELETE, &path(&self.id), None)?;
        say_one(&answer, setting)
    }
}

fn list(setting: &Setting) -> Outcome {
    let statuses = setting.client()?.get("/api/v1/statuses")?;
    if setting.json {
        return say_json(&statuses);
    }
    let mut table = table(&["id", "class", "german", "english", "colour"]);
    for status in statuses.as_array().into_iter().flatten() {
        let texts = super::client::field(status, "text");
        table.add_row([
            cell(text(status, "id")),
            cell(text(status, "class")),
            cell(text(texts, "de")),
            cell(text(texts, "en")),
            cell(text(status, "colour")),
        ]);
    }
    say_table(table, "none")
}

fn path(id: &str) -> String {
    format!("/api/v1/subscribers/{}/status", escape(id))
}

fn say_one(answer: &Value, setting: &Setting) -> Outcome {
    if setting.json {
        return say_json(answer);
    }
    say(&format!(
        "{} is {}",
        text(answer, "id"),
        super::output::status_line(answer)
    ))
}

fn say_statuses(statuses: &[Value]) -> Outcome {
    let mut table = table(&["id", "status", "message", "until", "source", "since"]);
    for status in statuses {
        table.add_row([
            cell(text(status, "id")),
            status_cell(&status_word(status)),
            cell(text(status, "message")),
            cell(&local_time(text(status, "until"))),
            cell(text(status, "source")),
            cell(&local_time(text(status, "since"))),
        ]);
    }
    say_table(table, "nobody")
}
