//! The search for the highest rate that is sustained: doubling, halving the gap, confirming.

/// What one step found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepResult {
    /// Calls that ended well, a second.
    pub calls_per_s: f64,
    /// The share of calls that failed, percent.
    pub failed_percent: f64,
    /// The share of calls of which a message was sent again, percent.
    pub retransmitted_percent: f64,
    /// Whether the generator kept to its schedule.
    pub on_schedule: bool,
}

/// What counts as sustained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// Less than this share of calls fails, percent.
    pub failed_percent: f64,
    /// Less than this share needs a retransmission, percent: loss that is mended is loss.
    pub retransmitted_percent: f64,
    /// At least this share of the rate comes through.
    pub share_of_rate: f64,
}

/// What is to be tried next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Calls a second.
    pub rate: f64,
    /// Whether it confirms what was found, and so should last longer.
    pub is_confirming: bool,
}

/// The search.
#[derive(Debug, Clone)]
pub struct Ramp {
    bar: Bar,
    good: f64,
    bad: Option<f64>,
    next: f64,
    confirmed: u32,
    lowered: u32,
    is_over: bool,
    best: Option<StepResult>,
}

/// From which nearness of good and bad on it is near enough.
const NEAR: f64 = 1.03;
/// How many confirmations in a row are wanted.
const CONFIRMATIONS: u32 = 3;
/// By how much a rate that was not confirmed is lowered.
const LOWERED: f64 = 0.97;
/// How often it is lowered before nothing is said to be sustained.
const MOST_LOWERED: u32 = 40;
/// No generator gets beyond this.
const MOST_RATE: f64 = 1e7;

impl StepResult {
    /// Whether this rate is sustained.
    pub fn is_sustained(&self, rate: f64, bar: &Bar) -> bool {
        self.failed_percent < bar.failed_percent.max(1e-9)
            && self.retransmitted_percent < bar.retransmitted_percent
            && self.calls_per_s >= rate * bar.share_of_rate
            && self.on_schedule
    }
}

impl Ramp {
    /// A search that begins with this rate.
    pub fn new(from: f64, bar: Bar) -> Self {
        Self {
            bar,
            good: 0.0,
            bad: None,
            next: from,
            confirmed: 0,
            lowered: 0,
            is_over: false,
            best: None,
        }
    }

    /// What to try next; `None` when the search is over.
    pub fn next(&self) -> Option<Step> {
        (!self.is_over).then_some(Step {
            rate: self.next,
            is_confirming: self.is_confirming(),
        })
    }

    /// The highest rate that was confirmed, with what it came to.
    pub fn found(&self) -> Option<(f64, StepResult)> {
        let is_found = self.is_over && self.confirmed >= CONFIRMATIONS;
        self.best.filter(|_| is_found).map(|best| (self.good, best))
    }

    /// Learns what the step came to; whether it was sustained.
    pub fn observe(&mut self, result: StepResult) -> bool {
        let rate = self.next;
        let is_sustained = result.is_sustained(rate, &self.bar);
        if self.is_confirming() {
            self.confirm(is_sustained, result);
        } else if is_sustained {
            self.good = rate;
            self.best = Some(result);
            self.next = match self.bad {
                Some(bad) => f64::midpoint(rate, bad),
                None => rate * 2.0,
            };
            self.is_over = rate > MOST_RATE;
        } else {
            self.bad = Some(rate);
            self.next = match self.good {
                good if good > 0.0 => f64::midpoint(good, rate),
                _ => rate / 2.0,
            };
            self.is_over = self.next < 1.0;
        }
        if self.is_confirming() && self.confirmed == 0 && self.lowered == 0 {
            self.next = self.good;
        }
        is_sustained
    }

    fn is_confirming(&self) -> bool {
        self.good > 0.0 && self.bad.is_some_and(|bad| bad / self.good <= NEAR)
    }

    fn confirm(&mut self, is_sustained: bool, result: StepResult) {
        if is_sustained {
            self.confirmed += 1;
            self.best = Some(result);
            self.is_over = self.confirmed >= CONFIRMATIONS;
            return;
        }
        self.confirmed = 0;
        self.lowered += 1;
        self.bad = Some(self.good);
        self.good *= LOWERED;
        self.next = self.good;
        self.is_over = self.lowered > MOST_LOWERED || self.good < 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAR: Bar = Bar {
        failed_percent: 0.1,
        retransmitted_percent: 0.1,
        share_of_rate: 0.985,
    };

    fn result(rate: f64, capacity: f64) -> StepResult {
        let is_over = rate > capacity;
        StepResult {
            calls_per_s: rate.min(capacity),
            failed_percent: if is_over { 5.0 } else { 0.0 },
            retransmitted_percent: 0.0,
            on_schedule: true,
        }
    }

    fn search(from: f64, mut server: impl FnMut(Step) -> StepResult) -> (Ramp, usize) {
        let mut ramp = Ramp::new(from, BAR);
        let mut steps = 0;
        while let Some(step) = ramp.next() {
            steps += 1;
            assert!(steps < 200, "the search does not end");
            ramp.observe(server(step));
        }
        (ramp, steps)
    }

    #[test]
    fn the_capacity_is_found_from_below_and_from_above() {
        for capacity in [10.0, 977.0, 13_500.0, 123_456.0] {
            for from in [10.0, 1_000.0, 500_000.0] {
                let (ramp, steps) = search(from, |step| result(step.rate, capacity));
                let (found, _) = ramp.found().unwrap();
                assert!(
                    found <= capacity && found >= capacity / NEAR,
                    "{found} {capacity}"
                );
                assert!(steps < 30);
            }
        }
    }

    #[test]
    fn a_rate_that_holds_only_for_a_short_step_is_not_confirmed() {
        let (ramp, _) = search(1_000.0, |step| {
            let capacity = if step.is_confirming {
                8_000.0
            } else {
                10_000.0
            };
            result(step.rate, capacity)
        });
        let (found, _) = ramp.found().unwrap();
        assert!(found <= 8_000.0 && found > 7_500.0, "{found}");
    }

    #[test]
    fn a_server_that_sustains_nothing_ends_the_search_with_nothing() {
        let (ramp, _) = search(1_000.0, |_| result(1.0, 0.0));
        assert_eq!(ramp.found(), None);
    }

    #[test]
    fn loss_that_is_mended_and_a_rate_that_is_not_reached_do_not_count() {
        let good = result(1_000.0, 2_000.0);
        assert!(good.is_sustained(1_000.0, &BAR));
        for bad in [
            StepResult {
                retransmitted_percent: 0.2,
                ..good
            },
            StepResult {
                calls_per_s: 900.0,
                ..good
            },
            StepResult {
                on_schedule: false,
                ..good
            },
            StepResult {
                failed_percent: 0.1,
                ..good
            },
        ] {
            assert!(!bad.is_sustained(1_000.0, &BAR));
        }
    }
}
