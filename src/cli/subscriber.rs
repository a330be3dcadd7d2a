//! `pointsman subscriber`: list, show, change and delete subscribers.

use std::fs;
use std::io::{self, Read};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use ureq::http::Method;

use super::client::{Client, escape, field, set, take, text};
use super::exit::{CliError, Exit, Outcome};
use super::output::{cell, printable, say, say_json, say_table, status_cell, status_line, table};
use super::{DONE, Setting, settings};

/// How many subscribers one request lists.
const PAGE: u64 = 500;

#[derive(Debug, Subcommand)]
pub(super) enum Subscriber {
    /// List subscribers
    List(List),
    /// Show one subscriber with everything that is set
    Show(Show),
    /// Create a subscriber or change the parts that are named
    Set(Set),
    /// Delete subscribers
    Delete(Delete),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman subscriber list --search arndt
  pointsman subscriber list --json | jq -r '.[].id'")]
pub(super) struct List {
    /// Only those whose id, name or aliases contain this
    #[arg(long, short)]
    search: Option<String>,
    /// At most so many
    #[arg(long, short, default_value_t = 1_000, value_name = "COUNT")]
    limit: u64,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pointsman subscriber show anna")]
pub(super) struct Show {
    /// Id of the subscriber
    id: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman subscriber set anna --name \"Anna Arndt\" --alias 101 --alias +493012345101
  pointsman subscriber set bob --language de
  pointsman subscriber set carol --file carol.json")]
pub(super) struct Set {
    /// Id of the subscriber
    id: String,
    /// Name for people
    #[arg(long, short)]
    name: Option<String>,
    /// Extension or number that reaches the subscriber; given once or more, it replaces all
    #[arg(long, short)]
    alias: Vec<String>,
    /// Remove all aliases
    #[arg(long, conflicts_with = "alias")]
    no_alias: bool,
    /// Language in which the subscriber is addressed: de or en
    #[arg(long)]
    language: Option<String>,
    /// Replace the whole document by this JSON file; `-` is standard input
    #[arg(long, short, value_name = "FILE",
          conflicts_with_all = ["name", "alias", "no_alias", "language"])]
    file: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pointsman subscriber delete anna bob")]
pub(super) struct Delete {
    /// Ids of subscribers
    #[arg(required = true)]
    ids: Vec<String>,
}

impl Subscriber {
    pub(super) fn run(&self, setting: &Setting) -> Outcome {
        match self {
            Self::List(list) => list.run(setting),
            Self::Show(show) => show.run(setting),
            Self::Set(set) => set.run(setting),
            Self::Delete(delete) => delete.run(setting),
        }
    }
}

impl List {
    fn run(&self, setting: &Setting) -> Outcome {
        let (found, more) = self.fetch(&setting.client()?)?;
        if setting.json {
            return say_json(&Value::Array(found));
        }
        let mut table = table(&["id", "name", "aliases", "status", "message", "calls"]);
        for subscriber in &found {
            table.add_row([
                cell(text(subscriber, "id")),
                cell(text(subscriber, "display_name")),
                cell(&aliases(subscriber)),
                status_cell(text(subscriber, "effective_status")),
                cell(text(subscriber, "status_message")),
                cell(&field(subscriber, "calls").to_string()),
            ]);
        }
        say_table(table, "no subscribers")?;
        if more {
            eprintln!("… and more: raise --limit or narrow with --search");
        }
        DONE
    }

    /// Pages through the listing up to the limit; whether there would be more.
    fn fetch(&self, client: &Client) -> Result<(Vec<Value>, bool), CliError> {
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let left = self.limit - found.len() as u64;
            if left == 0 {
                return Ok((found, true));
            }
            let mut path = format!("/api/v1/subscribers?limit={}{after}", left.min(PAGE));
            if let Some(search) = &self.search {
                path.push_str(&format!("&search={}", escape(search)));
            }
            let mut page = client.get(&path)?;
            if let Value::Array(subscribers) = take(&mut page, "subscribers") {
                found.extend(subscribers);
            }
            match page.get("next").and_then(Value::as_str) {
                Some(next) => after = format!("&after={}", escape(next)),
                None => return Ok((found, false)),
            }
        }
    }
}

impl Show {
    fn run(&self, setting: &Setting) -> Outcome {
        let subscriber = setting.client()?.get(&path(&self.id))?;
        if setting.json {
            return say_json(&subscriber);
        }
        say(&format!(
            "{} ({})",
            printable(text(&subscriber, "display_name")),
            text(&subscriber, "id")
        ))?;
        say(&format!("  status    {}", status_line(&subscriber)))?;
        say(&format!("  calls     {}", field(&subscriber, "calls")))?;
        say(&format!("  aliases   {}", printable(&aliases(&subscriber))))?;
        if !text(&subscriber, "language").is_empty() {
            say(&format!("  language  {}", text(&subscriber, "language")))?;
        }
        settings::say_settings(field(&subscriber, "settings"))
    }
}

impl Set {
    fn run(&self, setting: &Setting) -> Outcome {
        let client = setting.client()?;
        let (document, exists) = match &self.file {
            Some(file) => (self.document_of(file)?, true),
            None => self.changed(&client)?,
        };
        let answer = if exists {
            client.json(Method::PUT, &path(&self.id), Some(&document))?
        } else {
            client.json(Method::POST, "/api/v1/subscribers", Some(&document))?
        };
        settings::warn(&answer);
        if setting.json {
            return say_json(&answer);
        }
        say(&format!("{} is saved", text(&answer, "id")))
    }

    /// The document that is there, with the named parts changed; and whether it was there.
    fn changed(&self, client: &Client) -> Result<(Value, bool), CliError> {
        let (mut document, exists) = match client.get(&path(&self.id)) {
            Ok(document) => (document, true),
            Err(error) if error.exit == Exit::NotFound => (json!({ "id": self.id }), false),
            Err(error) => return Err(error),
        };
        if let Some(name) = &self.name {
            set(&mut document, "display_name", name.as_str());
        }
        if !self.alias.is_empty() || self.no_alias {
            set(&mut document, "aliases", self.alias.clone());
        }
        if let Some(language) = &self.language {
            set(&mut document, "language", language.as_str());
        }
        Ok((document, exists))
    }

    fn document_of(&self, file: &str) -> Result<Value, CliError> {
        let mut text = String::new();
        let read = match file {
            "-" => io::stdin().read_to_string(&mut text).map(|_| ()),
            path => fs::read_to_string(path).map(|read| text = read),
        };
        read.map_err(|error| CliError::failed(format!("{file}: {error}")))?;
        let mut document: Value = serde_json::from_str(&text)
            .map_err(|error| CliError::failed(format!("{file}: {error}")))?;
        if let Some(map) = document.as_object_mut() {
            map.entry("id").or_insert_with(|| json!(self.id));
        }
        Ok(document)
    }
}

impl Delete {
    fn run(&self, setting: &Setting) -> Outcome {
        let client = setting.client()?;
        for id in &self.ids {
            let answer = client.json(Method::DELETE, &path(id), None)?;
            if setting.json {
                say_json(&answer)?;
                continue;
            }
            say(&format!("{} is deleted", printable(id)))?;
            let total = field(&answer, "forwarding_total").as_u64().unwrap_or(0);
            if total > 0 {
                let ids = field(&answer, "forwarding").as_array();
                let ids = ids.into_iter().flatten().filter_map(Value::as_str);
                let ids: Vec<String> = ids.take(20).map(printable).collect();
                let more = if total > 20 { ", …" } else { "" };
                eprintln!(
                    "still forwarding calls there, to whoever is given the id or number ({total}): {}{more}",
                    ids.join(", ")
                );
            }
        }
        DONE
    }
}

fn path(id: &str) -> String {
    format!("/api/v1/subscribers/{}", escape(id))
}

fn aliases(subscriber: &Value) -> String {
    let aliases = subscriber["aliases"].as_array();
    let texts: Vec<&str> = aliases
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    texts.join(" ")
}
