//! `--self-test`: what the generator can do, against a reflector that does next to nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::super::exit::CliError;
use super::super::output::say;
use super::document::Document;
use super::options::Bench;
use super::show::grouped;
use crate::bench::{Item, Pace, Scenario, Targets};
use crate::net::bench::{Reflecting, Run, free_port};

/// How many calls are open at once where nothing is said.
const WINDOW: u32 = 200;
/// How long each part lasts where nothing is said.
const DURATION: Duration = Duration::from_secs(3);
/// How long calls are placed before they count.
const WARM_UP: Duration = Duration::from_millis(500);

impl Bench {
    /// Plays redirects and full calls, or what was asked for, each against a reflector of its own.
    pub(super) fn self_test(&self, stop: &AtomicBool) -> Result<Vec<Document>, CliError> {
        let scenarios = match self.target.scenario {
            None if self.target.mix.is_empty() => vec![Scenario::Redirect, Scenario::Call],
            _ => self
                .mix()
                .into_iter()
                .map(|(scenario, _)| scenario)
                .collect(),
        };
        let mut documents = Vec::new();
        for scenario in scenarios {
            documents.push(self.against_reflector(scenario, stop)?);
        }
        Ok(documents)
    }

    fn against_reflector(
        &self,
        scenario: Scenario,
        stop: &AtomicBool,
    ) -> Result<Document, CliError> {
        let failed = |error: std::io::Error| CliError::failed(format!("the reflector: {error}"));
        let home = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let callee = free_port(home).map_err(failed)?;
        let reflector = Reflecting::start(home, callee).map_err(failed)?;
        let load = &self.load;
        let mut run = self.plan_for(reflector.address(), home)?;
        run.plan.seats = [Some(home), Some(callee), None];
        run.plan.items = vec![item(scenario)?];
        run.pace = Pace {
            window: load.window.or((load.rate.is_none()).then_some(WINDOW)),
            ..run.pace
        };
        run.plan.slots = run.plan.slots.max(WINDOW * 4);
        run.plan.most_open = run.plan.slots;
        if load.count.is_none() {
            run.duration = Some(load.duration.unwrap_or(DURATION));
            run.warm_up = load.warm_up.unwrap_or(WARM_UP);
        }
        let what = format!("{} against the reflector", scenario.name());
        let before_ns = reflector.busy_ns();
        let (mut document, _) = self.play_one(&run, &what, stop)?;
        let all_s = document.interval_s + run.warm_up.as_secs_f64();
        let busy = (reflector.busy_ns() - before_ns) as f64 / 1e7 / all_s.max(1e-9);
        document.label = format!("self-test {}", scenario.name());
        document.generator.was_the_limit = false;
        say_headroom(scenario, &run, &document, busy)?;
        Ok(document)
    }
}

fn item(scenario: Scenario) -> Result<Item, CliError> {
    let pattern = format!("{}[1..1000]", scenario.name());
    let targets = Targets::of_pattern(&pattern).map_err(|e| CliError::usage(e.to_string()))?;
    Ok(Item {
        scenario,
        weight: 1,
        targets: Arc::new(targets),
        finals: scenario.usual_finals().to_vec(),
    })
}

/// What it drove, how busy both sides were, and so what a thread could drive at most.
fn say_headroom(
    scenario: Scenario,
    run: &Run,
    document: &Document,
    reflector_busy: f64,
) -> Result<(), CliError> {
    let own = &document.generator;
    let busy: f64 = own.busy_percent.iter().sum();
    let most = document.calls_per_s * 100.0 / busy.max(1.0);
    let threads = run.plan.threads;
    say(&format!(
        "{}: {} /s driven by {threads} thread{}, {:.2} µs of CPU each; generator busy {:.0} %, \
         reflector {reflector_busy:.0} %; {} failed; a whole core would drive {} /s",
        scenario.name(),
        grouped(document.calls_per_s),
        if threads == 1 { "" } else { "s" },
        own.cpu_us_per_call,
        busy / f64::from(threads),
        document.failed,
        grouped(most),
    ))?;
    Ok(())
}
