//! A seeded simulation: random calls over a bad network in virtual time, watched by invariants.
//!
//! `POINTSMAN_SIM_CALLS` sets how many calls are placed (10,000), `POINTSMAN_SEED` replays one seed.
#![allow(
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that finds something else than it expects has failed"
)]

mod callee;
mod caller;
mod checker;
mod checking;
#[path = "../harness/mod.rs"]
mod harness;
mod ladder;
mod network;
mod people;
mod phone;
mod random;
mod sip;
mod watcher;
mod world;

use world::{Scenario, Tally, World};

const CALLS_PER_SEED: usize = 100;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
    )
}

/// Runs one seed; the text of its failure names the seed, the rule and the call.
fn run(seed: u64) -> Result<Tally, String> {
    let scenario = Scenario::of(seed, CALLS_PER_SEED);
    let mut world = World::new(scenario);
    world.run().map_err(|broken| {
        format!(
            "{}\nat {} ms of {scenario:?}\nreplay: POINTSMAN_SEED={seed} cargo test --test \
             simulation\ncall {}\n{}",
            broken.rule,
            world.net.now,
            broken.call_id,
            world.ladder(&broken.call_id)
        )
    })
}

#[test]
fn ten_thousand_random_calls_break_no_invariant() {
    if let Some(seed) = number("POINTSMAN_SEED") {
        match run(seed) {
            Ok(tally) => println!("{tally:?}"),
            Err(failure) => panic!("{failure}"),
        }
        return;
    }
    let calls = number("POINTSMAN_SIM_CALLS").unwrap_or(10_000);
    let seeds = calls.div_ceil(CALLS_PER_SEED as u64);
    let mut sum = Tally::default();
    let mut failures = Vec::new();
    for seed in 1..=seeds {
        match run(seed) {
            Ok(tally) => sum.add(&tally),
            Err(failure) => failures.push(failure),
        }
    }
    for failure in &failures {
        let first: Vec<&str> = failure.lines().take(2).collect();
        println!("{}", first.join(" "));
    }
    assert!(
        failures.is_empty(),
        "{} seeds failed; {}",
        failures.len(),
        failures[0]
    );
    println!("{sum:?}");
    assert!(
        sum.answered * 5 > sum.calls && sum.unheard * 20 < sum.calls,
        "too little came about: {sum:?}"
    );
    let kinds = [
        sum.cancelled,
        sum.redirected,
        sum.refused,
        sum.forked,
        sum.retargeted,
    ];
    assert!(
        sum.calls < 1_000 || kinds.iter().all(|count| count * 200 > sum.calls),
        "some kinds of calls hardly came about: {sum:?}"
    );
}
