//! From options to what is to be run.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::exit::CliError;
use super::options::{Bench, of_scenario};
use super::people;
use crate::bench::{Checks, Item, Pace, Plan, Scenario, Templates, Times};
use crate::net::bench::{Processes, Run};
use crate::net::random;

/// The window where nothing is said about the load.
const USUAL_WINDOW: u32 = 50;
/// How long calls are measured where nothing else is said.
const USUAL_DURATION: Duration = Duration::from_secs(10);
/// How long calls are placed before they are measured.
const USUAL_WARM_UP: Duration = Duration::from_secs(2);
/// The longest pause between two retransmissions (T2).
const T2: Duration = Duration::from_secs(4);
/// Slots beyond the window, so that one rests before it is used again.
const SPARE_SLOTS: u32 = 1_024;
/// The most slots of a run.
const MOST_SLOTS: u32 = 4_000_000;
/// What open calls may take beyond their own times to end.
const DRAIN: Duration = Duration::from_secs(2);

impl Bench {
    /// The scenarios with their weights.
    pub(super) fn mix(&self) -> Vec<(Scenario, u32)> {
        match (self.target.scenario, self.target.mix.as_slice()) {
            (Some(scenario), _) => vec![(scenario, 1)],
            (None, []) => vec![(Scenario::Call, 1)],
            (None, mix) => mix.to_vec(),
        }
    }

    /// What is to be run.
    ///
    /// # Errors
    /// Options that make no sense together.
    pub(super) fn plan(&self) -> Result<Run, CliError> {
        let server = self.target.server_address()?;
        let caller = self.target.local_address(server)?;
        Ok(Run {
            server: self.server_processes()?,
            ..self.plan_for(server, caller)?
        })
    }

    /// The same for this server, called from this address.
    pub(super) fn plan_for(&self, server: SocketAddr, caller: SocketAddr) -> Result<Run, CliError> {
        let target = &self.target;
        let elsewhere = target.voicemail.or(target.forward_to);
        let pace = self.pace();
        let threads = u32::from(self.machine.threads);
        if let Some(window) = pace.window.filter(|window| *window < threads) {
            return Err(CliError::usage(format!(
                "--window {window}: each of {threads} threads needs one call at least"
            )));
        }
        let ring_and_hold = self.load.ring + self.load.hold;
        let open = pace.window.unwrap_or(self.load.max_open);
        let times = self.times();
        let mut seed = [0; 4];
        random(&mut seed).map_err(|error| CliError::failed(error.to_string()))?;
        let plan = Plan {
            items: self.items()?,
            templates: Arc::new(self.templates()?),
            server,
            transport: target.transport.transport(),
            seats: [Some(caller), target.callee, elsewhere],
            times,
            checks: self.checks(),
            is_back_to_back: target.back_to_back,
            domain: target.domain.clone().unwrap_or_else(|| server.to_string()),
            event: target.event.event(),
            credentials: target.credentials.clone(),
            seed: u32::from_le_bytes(seed),
            thread: 0,
            threads: self.machine.threads,
            turn_step: match pace.count {
                Some(_) => self.machine.threads,
                None => 1,
            },
            most_open: open,
            may_go_far: target.i_may_load_this_host,
            slots: open.saturating_add(SPARE_SLOTS + open / 8).min(MOST_SLOTS),
            samples: self.checks.show,
        };
        let counted = pace.count.is_some();
        Ok(Run {
            plan,
            pace,
            warm_up: self.load.warm_up.unwrap_or(if counted {
                Duration::ZERO
            } else {
                USUAL_WARM_UP
            }),
            duration: match (self.load.duration, counted) {
                (Some(duration), _) => Some(duration),
                (None, true) => None,
                (None, false) => Some(USUAL_DURATION),
            },
            drain: self.checks.timeout + ring_and_hold + DRAIN,
            cpus: self.machine.cpus.clone(),
            spins: self.machine.spin,
            server: None,
        })
    }

    fn pace(&self) -> Pace {
        let load = &self.load;
        let is_open_loop = load.rate.is_some() || load.ramp;
        Pace {
            window: load.window.or((!is_open_loop).then_some(USUAL_WINDOW)),
            burst: load.burst,
            rate: load.rate,
            count: load.count,
        }
    }

    fn times(&self) -> Times {
        let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Times {
            ring_ns: ns(self.load.ring),
            hold_ns: ns(self.load.hold),
            t1_ns: ns(self.checks.t1).max(1_000_000),
            t2_ns: ns(T2.max(self.checks.t1)),
            timeout_ns: ns(self.checks.timeout),
            late_ns: ns(self.checks.late),
        }
    }

    fn checks(&self) -> Checks {
        let skipped = self.checks.skip_check.iter();
        skipped.fold(Checks::ALL, |checks, wrong| checks.without(*wrong))
    }

    fn items(&self) -> Result<Vec<Item>, CliError> {
        let mix = self.mix();
        for texts in [
            &self.target.users,
            &self.target.subscribers,
            &self.checks.expect,
        ] {
            for (scenario, rest) in texts.iter().map(|text| of_scenario(text)) {
                if let Some(scenario) = scenario
                    && !mix.iter().any(|(played, _)| *played == scenario)
                {
                    return Err(CliError::usage(format!(
                        "{}={rest}: the mix does not have {0}",
                        scenario.name()
                    )));
                }
            }
        }
        mix.into_iter()
            .map(|(scenario, weight)| {
                Ok(Item {
                    scenario,
                    weight,
                    targets: people::targets(&self.target, scenario)?,
                    finals: self.finals(scenario)?,
                })
            })
            .collect()
    }

    fn finals(&self, scenario: Scenario) -> Result<Vec<u16>, CliError> {
        let mut expected = self.checks.expect.iter().map(|text| of_scenario(text));
        let expected = expected.rfind(|(of, _)| of.is_none_or(|of| of == scenario));
        let Some((_, text)) = expected else {
            return Ok(scenario.usual_finals().to_vec());
        };
        let statuses = text.split(',').map(|status| status.trim().parse::<u16>());
        let statuses: Result<Vec<_>, _> = statuses.collect();
        statuses
            .ok()
            .filter(|all| all.iter().all(|status| (200..700).contains(status)))
            .ok_or_else(|| {
                CliError::usage(format!("--expect {text}: final statuses such as 486,600"))
            })
    }

    fn templates(&self) -> Result<Templates, CliError> {
        let mut replaced = Vec::new();
        for text in &self.target.template {
            let (name, path) = match text.split_once('=') {
                Some((name, path)) => (Some(name.to_owned()), Path::new(path)),
                None => (None, Path::new(text)),
            };
            if path.is_dir() {
                let entries = fs::read_dir(path).map_err(|error| unreadable(path, &error))?;
                for entry in entries.flatten() {
                    let file = entry.path();
                    if file.extension().is_some_and(|extension| extension == "sip") {
                        replaced.push(template(None, &file)?);
                    }
                }
            } else {
                replaced.push(template(name, path)?);
            }
        }
        let templates = Templates::compile(&replaced, &self.target.to, self.target.caller()?)
            .map_err(|error| CliError::usage(error.to_string()))?;
        if self.target.credentials.is_some()
            && let Some(name) = templates.without_credentials()
        {
            return Err(CliError::usage(format!(
                "--credentials: the template {name} has no {{authorization}} for them"
            )));
        }
        Ok(templates)
    }

    fn server_processes(&self) -> Result<Option<Processes>, CliError> {
        let Some(id) = self.machine.server_pid else {
            return Ok(None);
        };
        let processes = Processes::of(id);
        processes
            .map(Some)
            .ok_or_else(|| CliError::usage(format!("--server-pid {id}: there is no such process")))
    }
}

/// A message from a file, by the name given or the file's.
fn template(name: Option<String>, file: &Path) -> Result<(String, String), CliError> {
    let text = fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    let name = name.or_else(|| stem.map(str::to_owned));
    Ok((name.unwrap_or_default(), text))
}

fn unreadable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::failed(format!("{}: {error}", path.display()))
}
