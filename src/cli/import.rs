//! `pointsman import`: create or replace subscribers from a file, and report bad lines by number.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::Setting;
use super::client::{Client, text};
use super::exit::{CliError, Exit, Outcome};
use super::lines::{Format, Line};
use super::offline::Offline;
use super::output::{printable, say, say_json};

/// How many lines are sent at once: one commit of the store each.
const BATCH_LINES: usize = 1_000;
/// How many bad lines are told one by one to people.
const TOLD_LIMIT: usize = 50;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman import people.jsonl
  pointsman import people.csv
  pointsman export | ssh other pointsman import -
  pointsman import people.jsonl --store /var/lib/pointsman   (no server running)

CSV: the header names the fields: id, display_name, aliases (separated by ; or space), language,
status, status_message, until, password, settings (JSON), or a single setting as in away.immediate with
connect, reject, missed, voicemail or forward:TARGET.")]
pub(super) struct Import {
    /// The file; `-` is standard input
    file: String,
    /// How the file is written; found out by its extension, else JSON Lines
    #[arg(long, short)]
    format: Option<Format>,
    /// Write into this store directly, while no server runs
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    store: Option<PathBuf>,
    /// Write into the store of this configuration directly, while no server runs
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What became of an import.
#[derive(Debug, Default)]
struct Tally {
    created: u64,
    changed: u64,
    unchanged: u64,
    bad: Vec<(u64, String)>,
}

/// Where the documents go.
enum Target {
    Server(Client),
    Store(Offline),
}

impl Import {
    pub(super) fn run(&self, setting: &Setting) -> Outcome {
        let target = self.target(setting)?;
        let (input, bytes, read) = self.open()?;
        let format = self
            .format
            .or_else(|| Format::of(&self.file))
            .unwrap_or(Format::Jsonl);
        let lines = format
            .lines(Box::new(BufReader::with_capacity(1 << 18, input)))
            .map_err(|error| CliError::failed(format!("{}: {error}", self.file)))?;
        let bar = progress(bytes);
        let mut tally = Tally::default();
        let mut batch = Vec::with_capacity(BATCH_LINES);
        for line in lines {
            batch.push(line.map_err(|error| CliError::failed(format!("{}: {error}", self.file)))?);
            if batch.len() == BATCH_LINES {
                target.put(&mut batch, &mut tally)?;
                bar.set_position(read.load(Relaxed));
                bar.set_message(tally.summary());
            }
        }
        target.put(&mut batch, &mut tally)?;
        bar.finish_and_clear();
        self.report(&tally, setting)
    }

    fn target(&self, setting: &Setting) -> Result<Target, CliError> {
        match (&self.store, &self.config) {
            (Some(path), _) => Offline::open(path).map(Target::Store),
            (None, Some(file)) => Offline::open_configured(file).map(Target::Store),
            (None, None) => setting.client().map(Target::Server),
        }
    }

    /// The input, its length where it is known, and how much of it was read.
    fn open(&self) -> Result<(Counted, Option<u64>, Arc<AtomicU64>), CliError> {
        let (input, bytes): (Box<dyn Read>, _) = if self.file == "-" {
            (Box::new(io::stdin()), None)
        } else {
            let failed = |error| CliError::failed(format!("{}: {error}", self.file));
            let file = File::open(&self.file).map_err(failed)?;
            let metadata = file.metadata().map_err(failed)?;
            if metadata.is_dir() {
                return Err(CliError::failed(format!("{} is a directory", self.file)));
            }
            (Box::new(file), Some(metadata.len()))
        };
        let read = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            input,
            read: read.clone(),
        };
        Ok((counted, bytes, read))
    }

    fn report(&self, tally: &Tally, setting: &Setting) -> Outcome {
        if setting.json {
            say_json(&tally.document())?;
        } else {
            for (number, reason) in tally.bad.iter().take(TOLD_LIMIT) {
                eprintln!("{}:{number}: {}", self.file, printable(reason));
            }
            if tally.bad.len() > TOLD_LIMIT {
                let more = tally.bad.len() - TOLD_LIMIT;
                eprintln!("… and {more} more bad lines; --json lists them all");
            }
            say(&tally.summary())?;
        }
        Ok(if tally.bad.is_empty() {
            Exit::Done
        } else {
            Exit::Failed
        })
    }
}

impl Tally {
    fn summary(&self) -> String {
        format!(
            "{} created, {} changed, {} unchanged, {} bad lines",
            self.created,
            self.changed,
            self.unchanged,
            self.bad.len()
        )
    }

    fn document(&self) -> Value {
        let bad: Vec<Value> = self
            .bad
            .iter()
            .map(|(line, reason)| json!({ "line": line, "reason": reason }))
            .collect();
        json!({
            "created": self.created, "changed": self.changed, "unchanged": self.unchanged,
            "bad": bad
        })
    }

    /// Notes what became of the line of that number.
    fn note(&mut self, number: u64, result: &Value) {
        match text(result, "result") {
            "created" => self.created += 1,
            "changed" => self.changed += 1,
            "unchanged" => self.unchanged += 1,
            _ => self.bad.push((number, text(result, "detail").to_owned())),
        }
    }
}

impl Target {
    /// Stores a batch, notes what became of each line, and empties it.
    fn put(&self, batch: &mut Vec<Line>, tally: &mut Tally) -> Result<(), CliError> {
        let mut numbers = Vec::with_capacity(batch.len());
        let mut documents = Vec::with_capacity(batch.len());
        for Line { number, document } in batch.drain(..) {
            match document {
                Ok(document) => {
                    numbers.push(number);
                    documents.push(document);
                }
                Err(reason) => tally.bad.push((number, reason)),
            }
        }
        let results = match self {
            _ if documents.is_empty() => Vec::new(),
            Self::Server(client) => client.lines("/api/v1/import", json_lines(&documents))?,
            Self::Store(offline) => offline.put(&documents),
        };
        if results.len() != numbers.len() {
            return Err(CliError::failed(format!(
                "the server answered {} of {} lines",
                results.len(),
                numbers.len()
            )));
        }
        for (number, result) in numbers.into_iter().zip(&results) {
            tally.note(number, result);
        }
        tally.bad.sort_by_key(|(number, _)| *number);
        Ok(())
    }
}

fn json_lines(documents: &[Value]) -> Vec<u8> {
    let mut body = Vec::with_capacity(documents.len() * 256);
    for document in documents {
        body.extend(document.to_string().bytes());
        body.push(b'\n');
    }
    body
}

/// A reader that tells how much was read of it.
struct Counted {
    input: Box<dyn Read>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.read.fetch_add(count as u64, Relaxed);
        Ok(count)
    }
}

/// A progress bar on a terminal, nothing elsewhere.
fn progress(bytes: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match bytes {
        Some(bytes) => (
            ProgressBar::new(bytes),
            "{bar:30} {percent:>3} %  {msg}  {elapsed}, {eta} left",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}  {elapsed}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
