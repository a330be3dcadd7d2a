//! `pointsman bench`: calls against any SIP proxy, checked, counted and timed.
//!
//! What to play comes from the options, the playing is [`crate::bench`]'s, sockets and threads are
//! [`crate::net::bench`]'s. Here the one is turned into the other, and what came of it into tables,
//! documents and pages.
//!
//! Entry point: [`Bench::run`].

mod document;
mod options;
mod people;
mod plan;
mod show;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::Setting;
use super::exit::{CliError, Exit, Outcome};
use super::output::say_json;
use crate::bench::Sample;
use crate::net::bench::{BenchError, Found, Run, run};
use crate::net::Clock;
use document::Document;
pub(super) use options::Bench;

impl Bench {
    /// Plays what the options say and shows what came of it.
    ///
    /// # Errors
    /// Options that make no sense, a server that does not answer, a port in use.
    pub(super) fn run(self, setting: &Setting) -> Outcome {
        if self.output.json_file.is_some() && !setting.json {
            let file = self.output.json_file.unwrap_or_default();
            return Err(CliError::usage(format!(
                "{}: a file is written with --json only",
                file.display()
            )));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let _signals = stop_on_signals(&stop)?;
        let run = self.plan()?;
        let (document, samples) = self.play(&run, &stop)?;
        self.write(setting, &document)?;
        show::samples(&samples);
        for warning in show::warnings(&document) {
            eprintln!("warning: {warning}");
        }
        self.verdict(&document)
    }

    /// One run, with a line that lives while it does.
    fn play(&self, run_: &Run, stop: &AtomicBool) -> Result<(Document, Vec<Sample>), CliError> {
        let started = Clock::start().timestamp().to_string();
        let line = show::live_line();
        let what = self.what();
        let found = run(run_, stop, &mut |glance| {
            line.set_message(show::glance_line(&what, glance));
        });
        line.finish_and_clear();
        let found: Found = found.map_err(refused)?;
        let label = self.output.label.clone().unwrap_or_default();
        let document = Document::of(&label, started, run_, &found);
        let mut samples = found.tally.samples;
        samples.truncate(self.checks.show);
        Ok((document, samples))
    }

    fn what(&self) -> String {
        let mix = self.mix();
        let names: Vec<_> = mix.iter().map(|(scenario, _)| scenario.name()).collect();
        names.join("+")
    }

    /// Writes what was asked for, where it was asked for.
    fn write(&self, setting: &Setting, document: &Document) -> Outcome {
        let failed = |error: serde_json::Error| CliError::failed(error.to_string());
        match (setting.json, &self.output.json_file) {
            (true, Some(file)) => {
                let text = serde_json::to_string_pretty(document).map_err(failed)?;
                write_file(file, &text)?;
                show::tables(document)
            }
            (true, None) => say_json(&serde_json::to_value(document).map_err(failed)?),
            (false, _) => show::tables(document),
        }
    }

    /// Whether more calls failed than may.
    fn verdict(&self, document: &Document) -> Outcome {
        let limit = self.max_failed_percent();
        if document.count("placed") == 0 {
            return Err(CliError::failed("no call was placed in the measured interval"));
        }
        if document.failed_percent > limit {
            return Err(CliError::failed(format!(
                "{:.3} % of the calls failed, {limit} % may",
                document.failed_percent
            )));
        }
        Ok(Exit::Done)
    }

    fn max_failed_percent(&self) -> f64 {
        let usual = if self.load.ramp { 0.1 } else { 0.0 };
        self.checks.max_failures.unwrap_or(usual)
    }
}

fn refused(error: BenchError) -> CliError {
    let exit = match error {
        BenchError::Refused { .. } | BenchError::Silent { .. } => Exit::Unreachable,
        _ => Exit::Failed,
    };
    CliError::new(exit, error.to_string())
}

fn write_file(file: &Path, text: &str) -> Result<(), CliError> {
    fs::write(file, text)
        .map_err(|error| CliError::failed(format!("{}: {error}", file.display())))
}

/// Lets Ctrl-C and SIGTERM end a run with its tables.
fn stop_on_signals(stop: &Arc<AtomicBool>) -> Result<Runtime, CliError> {
    let failed = |error: io::Error| CliError::failed(format!("cannot start: {error}"));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(1).thread_name("signals").enable_all();
    let runtime = runtime.build().map_err(failed)?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    drop(entered);
    let stop = Arc::clone(stop);
    runtime.spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stop.swap(true, Ordering::Relaxed) {
                // Asked twice: at once.
                std::process::exit(130);
            }
        }
    });
    Ok(runtime)
}
