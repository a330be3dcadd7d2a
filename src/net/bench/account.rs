//! How a thread of the generator spends its time: how much of it there was something to do, and how
//! long it was kept from its sockets.

use super::processes::thread_cpu_ns;
use super::worker::Phase;

/// A round takes a fraction of this, unless the generator itself is the limit. One that takes longer
/// than it may have waited besides was held up: others had the processor, or the machine itself stood still.
/// Answers that came meanwhile are timed too late by up to that long.
const HELD_UP_NS: u64 = 1_000_000;

/// How a thread spent its time in the measured interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Busy {
    /// How long the interval was for it.
    pub measured_ns: u64,
    /// Of that, the time in rounds in which there was something to do.
    pub busy_ns: u64,
    /// Time on a core.
    pub cpu_ns: u64,
    /// Datagrams that the kernel dropped, as they were not taken in time.
    pub drops: u64,
    /// When it was kept from its sockets.
    pub held_up: HeldUp,
}

/// The rounds that took longer than a millisecond.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeldUp {
    /// How many there were.
    pub times: u64,
    /// How long they took together.
    pub total_ns: u64,
    /// How long the longest took.
    pub longest_ns: u64,
}

/// What a thread has used by now.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at_ns: u64,
    cpu_ns: u64,
    drops: u64,
}

/// How the time of a thread is accounted for, round by round.
#[derive(Debug, Default)]
pub(super) struct Account {
    busy: Busy,
    from: Option<Mark>,
    round_ns: u64,
    was_busy: bool,
    /// Of the running round, how long it may wait.
    may_wait_ns: u64,
    idle_since_ns: Option<u64>,
}

impl Account {
    /// A round begins. Adds the last one, and takes what was used at the edges of the measured
    /// interval; `drops` is asked there only.
    pub(super) fn begin_round(&mut self, now_ns: u64, phase: Phase, drops: impl FnOnce() -> u64) {
        let mark = |drops: u64| Mark {
            at_ns: now_ns,
            cpu_ns: thread_cpu_ns("/proc/thread-self"),
            drops,
        };
        match (phase, self.from) {
            (Phase::Measuring, None) => self.from = Some(mark(drops())),
            (Phase::Measuring, Some(_)) => self.add_round(now_ns.saturating_sub(self.round_ns)),
            (Phase::Draining | Phase::Over | Phase::Interrupted, Some(from))
                if self.busy.measured_ns == 0 =>
            {
                self.add_round(now_ns.saturating_sub(self.round_ns));
                let to = mark(drops());
                self.busy.measured_ns = (to.at_ns - from.at_ns).max(1);
                self.busy.cpu_ns = to.cpu_ns.saturating_sub(from.cpu_ns);
                self.busy.drops = to.drops.saturating_sub(from.drops);
            }
            _ => {}
        }
        self.round_ns = now_ns;
        self.may_wait_ns = 0;
    }

    fn add_round(&mut self, took_ns: u64) {
        if self.was_busy {
            self.busy.busy_ns += took_ns;
        }
        let held_ns = took_ns.saturating_sub(self.may_wait_ns);
        if held_ns > HELD_UP_NS {
            let held_up = &mut self.busy.held_up;
            held_up.times += 1;
            held_up.total_ns += held_ns;
            held_up.longest_ns = held_up.longest_ns.max(held_ns);
        }
    }

    /// The round had something to do.
    pub(super) fn was_busy(&mut self) {
        self.was_busy = true;
        self.idle_since_ns = None;
    }

    /// The round, which began at `now_ns`, had nothing to do; since when that is so.
    pub(super) fn was_idle(&mut self, now_ns: u64) -> u64 {
        self.was_busy = false;
        *self.idle_since_ns.get_or_insert(now_ns)
    }

    /// The round is about to wait, so long at most.
    pub(super) fn waits(&mut self, most_ns: u64) {
        self.may_wait_ns = most_ns;
    }

    /// What came out.
    pub(super) fn busy(&self) -> Busy {
        self.busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Rounds by when they begin, what they are in, whether they have something to do, and how long they may wait.
    fn accounted(rounds: &[(u64, Phase, bool, u64)]) -> Busy {
        let mut account = Account::default();
        for (at_ns, phase, is_busy, may_wait_ns) in rounds {
            account.begin_round(*at_ns, *phase, || at_ns / MS);
            match is_busy {
                true => account.was_busy(),
                false => {
                    account.was_idle(*at_ns);
                    account.waits(*may_wait_ns);
                }
            }
        }
        account.busy()
    }

    #[test]
    fn rounds_of_the_interval_count_and_no_others() {
        let busy = accounted(&[
            (0, Phase::WarmUp, true, 0),
            (9 * MS, Phase::WarmUp, true, 0),
            (20 * MS, Phase::Measuring, true, 0),
            (20 * MS + 400_000, Phase::Measuring, false, 0),
            (20 * MS + 500_000, Phase::Measuring, true, 0),
            (21 * MS, Phase::Draining, true, 0),
            (40 * MS, Phase::Draining, true, 0),
            (41 * MS, Phase::Over, false, 0),
        ]);
        assert_eq!((busy.measured_ns, busy.busy_ns), (MS, 900_000));
        assert_eq!(busy.drops, 1);
        assert_eq!(busy.held_up, HeldUp::default());
    }

    #[test]
    fn who_waits_as_long_as_it_meant_to_is_not_held_up() {
        let held_up = |rounds: &[(u64, Phase, bool, u64)]| accounted(rounds).held_up;
        let waited = |until_ns| {
            held_up(&[
                (0, Phase::Measuring, false, 2 * MS),
                (until_ns, Phase::Measuring, true, 0),
                (until_ns + 10, Phase::Draining, true, 0),
            ])
        };
        assert_eq!(waited(2 * MS + MS / 2), HeldUp::default());
        let late = HeldUp {
            times: 1,
            total_ns: 3 * MS,
            longest_ns: 3 * MS,
        };
        assert_eq!(waited(5 * MS), late);
        let worked = held_up(&[
            (0, Phase::Measuring, true, 0),
            (3 * MS, Phase::Measuring, true, 0),
            (4 * MS, Phase::Measuring, false, 0),
            (9 * MS, Phase::Measuring, true, 0),
            (10 * MS, Phase::Draining, true, 0),
        ]);
        let twice = HeldUp {
            times: 2,
            total_ns: 8 * MS,
            longest_ns: 5 * MS,
        };
        assert_eq!(worked, twice);
    }
}
