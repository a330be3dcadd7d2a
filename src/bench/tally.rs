//! What was counted and timed, to be added up over threads.

use hdrhistogram::Histogram;

use super::check::Wrong;

/// The longest time a histogram tells from a longer one.
const LONGEST_NS: u64 = 600_000_000_000;
/// Times below this are told as this.
const SHORTEST_NS: u64 = 100;
/// How many significant digits a histogram keeps.
const DIGITS: u8 = 3;
/// How many statuses there are, 100 to 699 by their number.
const STATUSES: usize = 700;

macro_rules! counters {
    ($($field:ident $text:literal;)*) => {
        /// Plain counts. Of a call they are taken when it was due in the measured interval.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counts {
            $(#[doc = $text] pub $field: u64,)*
        }

        impl Counts {
            /// Adds those of another thread.
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }

            /// Name, value and meaning of each.
            pub fn rows(&self) -> Vec<(&'static str, u64, &'static str)> {
                vec![$((stringify!($field), self.$field, $text),)*]
            }
        }
    };
}

counters! {
    placed "calls, registrations and subscriptions due in the measured interval";
    right "of these, those that went as they should";
    completed "those that ended well within the interval, whenever they were due";
    wrong_status "failed: another final status than the scenario wants";
    wrong_message "failed: a message was not as it must be";
    timed_out "failed: no answer in time";
    rang_on "of these, those that rang and were not answered";
    cut_off "failed: the TCP connection was closed before the answer";
    not_placed "failed: as many calls as may be were still open";
    failed_outside "failed besides, due before or after the measured interval";
    retransmitted_calls "calls of which a message had to be sent again";
    invites_again "INVITEs sent again (timer A)";
    requests_again "BYEs, CANCELs, REGISTERs and SUBSCRIBEs sent again (timer E)";
    answers_again "final answers of the callee sent again, for want of an ACK (timer G)";
    unacknowledged "calls whose ACK has not reached the callee";
    left_standing "calls to the callee that the back-to-back user agent has not ended";
    repeated_requests "requests that reached the callee, and NOTIFYs that reached the caller, more than once";
    repeated_answers "final answers that reached the caller more than once";
    forked_answers "further callees' 200s to one call: acknowledged and hung up";
    late "answers later than the limit, or after the call had been given up";
    late_provisionals "provisional answers behind the final one";
    unexpected "messages nobody had asked for";
    unparsable "what is no SIP message, or over TCP has no Content-Length";
    connections_closed "the caller's TCP connections that the server closed";
    challenged "requests answered with 401 or 407";
    refused_byes "BYEs, and SUBSCRIBEs to end, that were refused";
    notifications "NOTIFYs of changes that came within the interval, whoever subscribed when";
    left_open "calls that a run which was ended early could not end in time: the server may still have them";
    send_failed "messages the kernel did not take";
}

/// A distribution of times, nanoseconds.
#[derive(Debug, Clone)]
pub struct Times(Histogram<u64>);

impl Times {
    /// An empty one.
    pub fn new() -> Self {
        let bounds = Histogram::new_with_bounds(SHORTEST_NS, LONGEST_NS, DIGITS);
        Self(bounds.unwrap_or_else(|_| unreachable!("the bounds are fixed and in order")))
    }

    /// Notes one.
    #[inline]
    pub fn note(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    /// How many were noted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time within which this share of them lies.
    pub fn quantile_ns(&self, share: f64) -> u64 {
        self.0.value_at_quantile(share).min(self.0.max())
    }

    /// The longest.
    pub fn max_ns(&self) -> u64 {
        self.0.max()
    }

    /// The mean.
    pub fn mean_ns(&self) -> f64 {
        self.0.mean()
    }

    /// Adds those of another thread.
    pub fn add(&mut self, other: &Self) {
        // The bounds are the same, so nothing is out of range.
        let _ = self.0.add(&other.0);
    }
}

impl Default for Times {
    fn default() -> Self {
        Self::new()
    }
}

/// How one scenario of a mix went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Calls due in the measured interval.
    pub placed: u64,
    /// Those that went as they should.
    pub right: u64,
    /// Those that ended well within the interval, whenever they were due.
    pub completed: u64,
}

/// A message that was not as it must be.
#[derive(Debug, Clone)]
pub struct Sample {
    /// What is wrong.
    pub what: String,
    /// The message.
    pub message: Vec<u8>,
}

/// All that a run has counted.
#[derive(Debug, Clone)]
pub struct Tally {
    /// Plain counts.
    pub counts: Counts,
    /// By scenario, in the order of the mix.
    pub outcomes: Vec<Outcome>,
    /// Final statuses that the caller received, by number.
    statuses: Vec<u64>,
    /// Wrong messages, by [`Wrong`].
    wrongs: [u64; Wrong::COUNT],
    /// Some of them, to be shown.
    pub samples: Vec<Sample>,
    /// INVITE due to its final answer; REGISTER and SUBSCRIBE due to their 200.
    pub final_ns: Times,
    /// INVITE due to the INVITE at the callee.
    pub added_ns: Times,
    /// INVITE due to the 180: the post-dial delay.
    pub ringing_ns: Times,
    /// BYE due to its 200; the SUBSCRIBE that ends a subscription, too.
    pub bye_ns: Times,
    /// SUBSCRIBE due to its first NOTIFY.
    pub notified_ns: Times,
    /// How late calls were placed, after they were due.
    pub lag_ns: Times,
}

impl Tally {
    /// Nothing counted, for so many scenarios.
    pub fn new(scenarios: usize) -> Self {
        Self {
            counts: Counts::default(),
            outcomes: vec![Outcome::default(); scenarios],
            statuses: vec![0; STATUSES],
            wrongs: [0; Wrong::COUNT],
            samples: Vec::new(),
            final_ns: Times::new(),
            added_ns: Times::new(),
            ringing_ns: Times::new(),
            bye_ns: Times::new(),
            notified_ns: Times::new(),
            lag_ns: Times::new(),
        }
    }

    /// Calls that did not go as they should.
    pub fn failed(&self) -> u64 {
        let counts = &self.counts;
        let unanswered = counts.timed_out + counts.cut_off;
        counts.wrong_status + counts.wrong_message + unanswered + counts.not_placed
    }

    /// The share of calls that failed, 0 to 1.
    pub fn failed_share(&self) -> f64 {
        self.failed() as f64 / self.counts.placed.max(1) as f64
    }

    /// The final statuses that were received, with how often.
    pub fn statuses(&self) -> impl Iterator<Item = (u16, u64)> {
        let seen = self.statuses.iter().enumerate();
        seen.filter(|(_, count)| **count > 0)
            .map(|(status, count)| (status as u16, *count))
    }

    /// What was wrong with messages, with how often.
    pub fn wrongs(&self) -> impl Iterator<Item = (Wrong, u64)> {
        let seen = Wrong::ALL.iter().zip(&self.wrongs);
        seen.filter(|(_, count)| **count > 0)
            .map(|(wrong, count)| (*wrong, *count))
    }

    /// Adds that of another thread.
    pub fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        for (own, other) in self.outcomes.iter_mut().zip(&other.outcomes) {
            own.placed += other.placed;
            own.right += other.right;
            own.completed += other.completed;
        }
        for (own, other) in self.statuses.iter_mut().zip(&other.statuses) {
            *own += other;
        }
        for (own, other) in self.wrongs.iter_mut().zip(&other.wrongs) {
            *own += other;
        }
        self.samples.extend(other.samples.iter().cloned());
        self.final_ns.add(&other.final_ns);
        self.added_ns.add(&other.added_ns);
        self.ringing_ns.add(&other.ringing_ns);
        self.bye_ns.add(&other.bye_ns);
        self.notified_ns.add(&other.notified_ns);
        self.lag_ns.add(&other.lag_ns);
    }

    pub(super) fn note_status(&mut self, status: u16) {
        if let Some(count) = self.statuses.get_mut(usize::from(status)) {
            *count += 1;
        }
    }

    /// Takes one back.
    pub(super) fn forget_status(&mut self, status: u16) {
        if let Some(count) = self.statuses.get_mut(usize::from(status)) {
            *count = count.saturating_sub(1);
        }
    }

    pub(super) fn note_wrong(&mut self, wrong: Wrong) {
        if let Some(count) = self.wrongs.get_mut(wrong as usize) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_of_threads_add_up() {
        let mut one = Tally::new(2);
        one.counts.placed = 10;
        one.counts.timed_out = 1;
        one.note_status(302);
        one.note_wrong(Wrong::Via);
        one.final_ns.note(1_000);
        let mut two = one.clone();
        two.final_ns.note(9_000_000);
        two.outcomes[1].placed = 3;
        one.add(&two);
        assert_eq!((one.counts.placed, one.failed()), (20, 2));
        assert_eq!(one.statuses().collect::<Vec<_>>(), [(302, 2)]);
        assert_eq!(one.wrongs().collect::<Vec<_>>(), [(Wrong::Via, 2)]);
        assert_eq!((one.final_ns.count(), one.outcomes[1].placed), (3, 3));
        assert!((one.failed_share() - 0.1).abs() < 1e-9);
    }

    #[test]
    fn a_time_is_told_to_three_digits() {
        let mut times = Times::new();
        for ns in 1..=100_000 {
            times.note(ns * 100);
        }
        for (share, expected) in [(0.5, 5e6), (0.99, 9.9e6), (1.0, 1e7)] {
            let told = times.quantile_ns(share) as f64;
            assert!((told / expected - 1.0).abs() < 0.001, "{share}: {told}");
        }
        times.note(u64::MAX);
        assert!(times.max_ns() >= LONGEST_NS);
    }
}
