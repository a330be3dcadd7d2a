//! `pointsman demo`: calls to colleagues in every status, over real UDP on this machine.
//!
//! One process has the real server, a simulated PBX, voicemail, the public network and phones. Each
//! call of `scenarios` is placed, watched and judged; the table says who called whom, what was
//! decided and why, and what the caller's phone got. Nothing here decides about calls, and nothing
//! is printed that was not observed.
//!
//! Entry point: [`Demo::run`].

mod answerer;
mod cast;
mod judge;
mod phone;
mod play;
mod report;
mod scenarios;
mod sip;
mod stage;
mod timing;
mod wire;

use std::io::IsTerminal;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Setting;
use super::exit::{CliError, Exit, Outcome};
use super::output::{say, say_json};
use crate::presence::Language;
use judge::judge;
use play::play;
use report::{Played, Report};
use scenarios::{SCENARIOS, Scenario};
use stage::{Leftovers, Stage};

/// How far apart the calls are placed.
const STAGGER: Duration = Duration::from_millis(25);
/// How long the tables may take to be empty, milliseconds; with `--drain` longer than timer D.
const DRAIN_MS: u64 = 10_000;
const LONG_DRAIN_MS: u64 = 60_000;

#[derive(Debug, Args)]
#[command(after_help = "\
The server, a PBX, voicemail, the public network and phones run in this process on 127.0.0.1 to
127.0.0.3 and 127.0.0.66, on free ports; nothing leaves this machine and nothing is kept. All calls
are placed at the same time; one rings for 5 seconds, so it takes about ten seconds in all.

It ends with 0 if every call came out as expected and no call, mark or transaction is left, else
with 1; a call that came out otherwise says what was expected.

Examples:
  pointsman demo
  pointsman demo --lang de
  pointsman demo --keep
  pointsman demo --json | jq '.calls[] | select(.ok | not)'")]
pub(super) struct Demo {
    /// The language of the table; LANG otherwise
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    lang: Option<Lang>,
    /// Wait until every table is empty, failed calls' timer D of 32 seconds included
    #[arg(long)]
    drain: bool,
    /// Stay up afterwards, with the colleagues and the HTTP API, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// The languages of `--lang`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Lang {
    /// German
    De,
    /// English
    En,
}

impl Demo {
    /// Plays every call and prints what came of them.
    ///
    /// # Errors
    /// The stage cannot be set: no port, no thread, no place for the store.
    pub(super) fn run(self, setting: &Setting) -> Outcome {
        let stage = Stage::set()?;
        let start_ms = stage.clock.now().ms;
        let mut played = play_all(&stage)?;
        stop_if_interrupted(&stage)?;
        played.sort_by_key(|played| {
            SCENARIOS
                .iter()
                .position(|scenario| scenario.key == played.scenario.key)
        });
        let leftovers = self.drain(&stage);
        stop_if_interrupted(&stage)?;
        let report = Report {
            stage: &stage,
            language: self.language(),
            played: &played,
            leftovers,
            elapsed_ms: stage.clock.now().ms - start_ms,
        };
        match setting.json {
            true => say_json(&report.document())?,
            false => say(&report.table())?,
        };
        if self.keep {
            keep(&stage);
        }
        match report.is_ok() {
            true => Ok(Exit::Done),
            false => Err(CliError::failed("not everything came out as expected")),
        }
    }

    fn language(&self) -> Language {
        match self.lang {
            Some(Lang::De) => Language::De,
            Some(Lang::En) => Language::En,
            None => language_of(|name| std::env::var(name).ok()),
        }
    }

    /// Waits until nothing is left, or for too long; what is left then.
    fn drain(&self, stage: &Stage) -> Leftovers {
        let limit = if self.drain { LONG_DRAIN_MS } else { DRAIN_MS };
        let end = stage.clock.now().ms + limit;
        let spinner = progress(None, "waiting for the last transactions to end");
        loop {
            let left = stage.leftovers();
            let is_over = left.is_nothing() && !(self.drain && left.waiting_for_timer_d > 0);
            if is_over || stage.clock.now().ms >= end || is_interrupted(stage) {
                spinner.finish_and_clear();
                return left;
            }
            spinner.tick();
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

fn is_interrupted(stage: &Stage) -> bool {
    stage.interrupted().load(Ordering::Relaxed)
}

fn stop_if_interrupted(stage: &Stage) -> Result<(), CliError> {
    match is_interrupted(stage) {
        true => Err(CliError::failed("interrupted")),
        false => Ok(()),
    }
}

/// Stays up until somebody wants the end.
fn keep(stage: &Stage) {
    let (sip, api) = (stage.proxy(), stage.api());
    eprintln!(
        "The server stays up until Ctrl-C: SIP on udp:{sip}, the API on http://{api}\nTry:\n  \
         pointsman --api http://{api} subscriber list\n  \
         pointsman --api http://{api} explain --from 150 --to 102\n  \
         pointsman --api http://{api} status set anna dnd"
    );
    while !is_interrupted(stage) {
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

/// The language of the messages, as the locale's variables name it (POSIX: the first that is set).
fn language_of(variable: impl Fn(&str) -> Option<String>) -> Language {
    let set = ["LC_ALL", "LC_MESSAGES", "LANG"]
        .into_iter()
        .filter_map(variable)
        .find(|value| !value.is_empty());
    match set {
        Some(locale) if locale.to_ascii_lowercase().starts_with("de") => Language::De,
        _ => Language::En,
    }
}

/// Plays all scenarios, each in a thread of its own.
fn play_all(stage: &Stage) -> Result<Vec<Played>, CliError> {
    let bar = progress(Some(SCENARIOS.len()), "calls");
    let (done, results) = mpsc::channel();
    let outcome = std::thread::scope(|scope| {
        for scenario in SCENARIOS {
            let done = done.clone();
            let thread = std::thread::Builder::new().name(scenario.key.to_owned());
            thread
                .spawn_scoped(scope, move || {
                    let _ = done.send((scenario, play(stage, scenario)));
                })
                .map_err(|error| CliError::failed(format!("no thread for a phone: {error}")))?;
            std::thread::park_timeout(STAGGER);
        }
        drop(done);
        results
            .into_iter()
            .map(|played| finish(played, &bar))
            .collect()
    });
    bar.finish_and_clear();
    outcome
}

/// A call that was played, or why it could not be.
type Ended = (&'static Scenario, std::io::Result<play::Got>);

fn finish((scenario, got): Ended, bar: &ProgressBar) -> Result<Played, CliError> {
    let got = got.map_err(|error| {
        CliError::failed(format!(
            "the call {} cannot be placed: {error}",
            scenario.key
        ))
    })?;
    let deviations = judge(scenario, &got);
    bar.inc(1);
    bar.set_message(scenario.key);
    Ok(Played {
        scenario,
        got,
        deviations,
    })
}

/// A bar or a spinner on standard error, where that is a terminal.
fn progress(length: Option<usize>, message: &'static str) -> ProgressBar {
    let bar = match length {
        Some(length) => ProgressBar::new(length as u64),
        None => ProgressBar::new_spinner(),
    };
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let template = match length {
        Some(_) => "{bar:30} {pos} of {len} calls, {elapsed}  {msg}",
        None => "{spinner} {msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(message);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_locale_variable_that_is_set_names_the_language() {
        let of = |set: &'static [(&str, &str)]| {
            language_of(|name| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(of(&[]), Language::En);
        assert_eq!(of(&[("LANG", "de_DE.UTF-8")]), Language::De);
        assert_eq!(of(&[("LC_ALL", "C"), ("LANG", "de_DE")]), Language::En);
        assert_eq!(of(&[("LC_ALL", ""), ("LC_MESSAGES", "de")]), Language::De);
    }
}
