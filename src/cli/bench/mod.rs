//! `pointsman bench`: calls against any SIP proxy, checked, counted and timed.
//!
//! What to play comes from the options, the playing is [`crate::bench`]'s, sockets and threads are
//! [`crate::net::bench`]'s. Here the one is turned into the other, and what came of it into tables,
//! documents and pages.
//!
//! Entry point: [`Bench::run`].

mod climb;
mod compare;
mod document;
mod options;
mod page;
mod people;
mod plan;
mod self_test;
mod show;
mod svg;

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
use crate::net::Clock;
use crate::net::bench::{BenchError, Found, Run, run};
use document::Document;
pub(super) use options::Bench;

/// So many ACKs may be lost by chance, and such a share.
const FEW_LOST: u64 = 3;
const LOST_SHARE: f64 = 0.2;

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
        for file in [&self.output.json_file, &self.output.report]
            .into_iter()
            .flatten()
        {
            ensure_writable(file)?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let _signals = stop_on_signals(&stop)?;
        let mut others = Vec::new();
        for file in &self.output.compare {
            others.extend(compare::read(file)?);
        }
        if self.machine.self_test {
            let documents = self.self_test(&stop)?;
            self.write_page(&others, &documents)?;
            self.write_documents(setting, &documents)?;
            return documents
                .iter()
                .try_fold(Exit::Done, |_, document| self.verdict(document));
        }
        if self.target.server.is_none() && !others.is_empty() {
            self.write_page(&others, &[])?;
            return compare::medians(&others, self.output.markdown);
        }
        let run = self.plan()?;
        let (document, samples) = match self.load.ramp {
            true => self.climb(&run, &stop)?,
            false => {
                let (document, found) = self.play_one(&run, &self.what(), &stop)?;
                (document, found.tally.samples)
            }
        };
        let documents = [document];
        let [document] = &documents;
        if !setting.json || self.output.json_file.is_some() {
            show::tables(document)?;
        }
        show::samples(&samples, self.checks.show);
        for warning in show::warnings(document) {
            eprintln!("warning: {warning}");
        }
        self.write_documents(setting, &documents)?;
        self.write_page(&others, &documents)?;
        self.verdict(document)
    }

    /// One run, with a line that lives while it does.
    fn play_one(
        &self,
        run_: &Run,
        what: &str,
        stop: &AtomicBool,
    ) -> Result<(Document, Found), CliError> {
        let started = format!("{:.0}", Clock::start().timestamp());
        let line = show::live_line();
        let found = run(run_, stop, &mut |glance| {
            line.set_message(show::glance_line(what, glance));
        });
        line.finish_and_clear();
        let found = found.map_err(refused)?;
        let label = self.output.label.clone().unwrap_or_default();
        Ok((Document::of(&label, started, run_, &found), found))
    }

    fn what(&self) -> String {
        let mix = self.mix();
        let names: Vec<_> = mix.iter().map(|(scenario, _)| scenario.name()).collect();
        names.join("+")
    }

    /// Writes the documents where they were asked for: one as it is, several as a list.
    fn write_documents(&self, setting: &Setting, documents: &[Document]) -> Outcome {
        if !setting.json {
            return super::DONE;
        }
        let value = match documents {
            [one] => serde_json::to_value(one),
            several => serde_json::to_value(several),
        };
        let value = value.map_err(|error| CliError::failed(error.to_string()))?;
        match &self.output.json_file {
            Some(file) => write_file(file, &format!("{value:#}\n")).map(|()| Exit::Done),
            None => say_json(&value),
        }
    }

    /// Writes the page, where one was asked for: the other runs first, then these.
    fn write_page(&self, others: &[Document], documents: &[Document]) -> Result<(), CliError> {
        let Some(file) = &self.output.report else {
            return Ok(());
        };
        write_file(file, &page::page(&[others, documents].concat()))
    }

    /// Whether more calls failed than may.
    fn verdict(&self, document: &Document) -> Outcome {
        let limit = self.max_failed_percent();
        if document.server_gone {
            return Err(CliError::failed(
                "the server's process (--server-pid) ended during the run: see its log; what is told is of \
                 the time until then",
            ));
        }
        // Subscriptions that were there before may have been told of changes.
        let is_told = document.count("notifications") > 0 && document.count("failed_outside") == 0;
        if document.count("placed") == 0 && !is_told {
            return Err(CliError::failed(nothing_placed(document)));
        }
        if document.failed_percent > limit {
            return Err(CliError::failed(format!(
                "{:.3} % of the calls failed, {limit} % may",
                document.failed_percent
            )));
        }
        let lost = document.count("unacknowledged");
        if lost >= FEW_LOST && lost as f64 > LOST_SHARE * document.count("placed") as f64 {
            return Err(CliError::failed(format!(
                "the ACK of {lost} calls has not reached the callee: more than a network loses. With --hold \
                 4s it is seen whether it ever does; --skip-check lost leaves this out"
            )));
        }
        let standing = document.count("left_standing");
        if standing as f64 * 100.0 > limit * document.count("placed") as f64 {
            return Err(CliError::failed(format!(
                "{standing} calls to the callee were never ended by the server; --skip-check lost leaves this out"
            )));
        }
        Ok(Exit::Done)
    }

    fn max_failed_percent(&self) -> f64 {
        let usual = if self.load.ramp { 0.1 } else { 0.0 };
        self.checks.max_failures.unwrap_or(usual)
    }
}

/// Why a run has no call to tell of, and what to do.
fn nothing_placed(document: &Document) -> String {
    let failed = document.count("failed_outside");
    match failed {
        0 => "no call was placed in the measured interval: let it last longer (--duration)"
            .to_owned(),
        _ => format!(
            "no call was placed in the measured interval, as those before it held the window: {failed} of them \
             failed. Play one of them: --count 1 --warm-up 0s --show 4"
        ),
    }
}

fn refused(error: BenchError) -> CliError {
    let exit = match error {
        BenchError::Refused { .. } | BenchError::Silent { .. } => Exit::Unreachable,
        _ => Exit::Failed,
    };
    CliError::new(exit, error.to_string())
}

/// Sees that a file can be written before calls are played for it; what is in it stays.
fn ensure_writable(file: &Path) -> Result<(), CliError> {
    let found = fs::symlink_metadata(file);
    let is_missing = found.is_err();
    // A pipe would see its writer go, a link may lead anywhere.
    if found.is_ok_and(|found| !found.is_file()) {
        return Ok(());
    }
    let opened = fs::OpenOptions::new().append(true).create(true).open(file);
    opened.map_err(|error| CliError::failed(format!("{}: {error}", file.display())))?;
    if is_missing {
        let _ = fs::remove_file(file);
    }
    Ok(())
}

fn write_file(file: &Path, text: &str) -> Result<(), CliError> {
    fs::write(file, text).map_err(|error| CliError::failed(format!("{}: {error}", file.display())))
}

/// Lets Ctrl-C and SIGTERM end a run with its tables.
fn stop_on_signals(stop: &Arc<AtomicBool>) -> Result<Runtime, CliError> {
    let failed = |error: io::Error| CliError::failed(format!("cannot start: {error}"));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime
        .worker_threads(1)
        .thread_name("signals")
        .enable_all();
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
