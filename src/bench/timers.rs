//! What is due when: most waits of a run have one of three lengths, so most deadlines come in the
//! order in which they were set.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The caller's request has no final answer: retransmit it, or give up.
    Request,
    /// The callee's answer has no ACK.
    Answer,
    /// The callee has rung long enough.
    PickUp,
    /// The caller has heard it ring long enough.
    GiveUp,
    /// The call has lasted long enough.
    HangUp,
}

/// A deadline of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Deadline {
    pub at_ns: u64,
    pub slot: u32,
    pub generation: u32,
    pub due: Due,
}

/// All deadlines of a thread. What is no longer wanted stays until it is due.
#[derive(Debug, Default)]
pub(super) struct Timers {
    lanes: [Lane; LANES],
    others: BinaryHeap<Reverse<Deadline>>,
}

/// Deadlines that are all set the same time ahead.
#[derive(Debug, Default)]
struct Lane {
    wait_ns: u64,
    deadlines: VecDeque<Deadline>,
}

const LANES: usize = 3;

impl Timers {
    /// No deadline; `waits_ns` are the usual lengths.
    pub(super) fn new(waits_ns: [u64; LANES]) -> Self {
        Self {
            lanes: waits_ns.map(|wait_ns| Lane {
                wait_ns,
                deadlines: VecDeque::new(),
            }),
            others: BinaryHeap::new(),
        }
    }

    /// Sets a deadline some time from now.
    #[inline]
    pub(super) fn set(&mut self, now_ns: u64, wait_ns: u64, mut deadline: Deadline) {
        deadline.at_ns = now_ns.saturating_add(wait_ns);
        for lane in &mut self.lanes {
            let last = lane.deadlines.back();
            if lane.wait_ns == wait_ns && last.is_none_or(|last| last.at_ns <= deadline.at_ns) {
                lane.deadlines.push_back(deadline);
                return;
            }
        }
        self.others.push(Reverse(deadline));
    }

    /// The next deadline that is over.
    #[inline]
    pub(super) fn next(&mut self, now_ns: u64) -> Option<Deadline> {
        for lane in &mut self.lanes {
            if lane
                .deadlines
                .front()
                .is_some_and(|next| next.at_ns <= now_ns)
            {
                return lane.deadlines.pop_front();
            }
        }
        let next = self.others.peek()?;
        if next.0.at_ns > now_ns {
            return None;
        }
        self.others.pop().map(|next| next.0)
    }

    /// When the next deadline is.
    pub(super) fn soonest_ns(&self) -> Option<u64> {
        let lanes = self.lanes.iter().filter_map(|lane| lane.deadlines.front());
        let lanes = lanes.map(|next| next.at_ns);
        lanes
            .chain(self.others.peek().map(|next| next.0.at_ns))
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deadline(slot: u32) -> Deadline {
        Deadline {
            at_ns: 0,
            slot,
            generation: 0,
            due: Due::Request,
        }
    }

    #[test]
    fn deadlines_come_when_they_are_due_and_not_before() {
        let mut timers = Timers::new([500, 0, 100]);
        timers.set(0, 500, deadline(1));
        timers.set(10, 500, deadline(2));
        timers.set(10, 100, deadline(3));
        timers.set(10, 70, deadline(4));
        timers.set(5, 500, deadline(5));
        assert_eq!(timers.soonest_ns(), Some(80));
        assert_eq!(timers.next(79), None);
        let mut at = |now| {
            std::iter::from_fn(|| timers.next(now))
                .map(|deadline| deadline.slot)
                .collect::<Vec<_>>()
        };
        assert_eq!(at(80), [4]);
        assert_eq!(at(200), [3]);
        assert!(at(499).is_empty());
        let mut late = at(1_000);
        late.sort_unstable();
        assert_eq!(late, [1, 2, 5]);
        assert_eq!(timers.soonest_ns(), None);
    }
}
