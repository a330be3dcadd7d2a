//! When calls are due: as fast as a window of open ones allows, or at a rate, whatever becomes of
//! the others.

/// How calls follow each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// At most so many open at once (closed loop); `None` for no such limit.
    pub window: Option<u32>,
    /// At most so many without a final answer, where there is a window.
    pub burst: u32,
    /// So many a second (open loop); `None` for as many as the window allows.
    pub rate: Option<f64>,
    /// Not more than this in all.
    pub count: Option<u64>,
}

/// The schedule of one thread.
#[derive(Debug, Clone)]
pub struct Schedule {
    pace: Pace,
    start_ns: u64,
    placed: u64,
    /// How many were placed when those that count began; `None` before that.
    counted_from: Option<u64>,
    /// The window has held back a call that was due.
    is_held: bool,
}

impl Pace {
    /// The share of one of so many threads.
    #[must_use]
    pub fn share(self, thread: u8, threads: u8) -> Self {
        let (index, threads) = (u64::from(thread), u64::from(threads.max(1)));
        let part = |whole: u64| whole / threads + u64::from(index < whole % threads);
        let small = |whole: u32| part(u64::from(whole)) as u32;
        Self {
            window: self.window.map(small),
            burst: small(self.burst).max(1),
            rate: self.rate.map(|rate| rate / threads as f64),
            count: self.count.map(part),
        }
    }
}

impl Schedule {
    /// A schedule that begins at a point in time.
    pub fn new(pace: Pace, start_ns: u64) -> Self {
        Self {
            pace,
            start_ns,
            placed: 0,
            counted_from: Some(0),
            is_held: false,
        }
    }

    /// What is placed does not count yet.
    pub fn warm_up(&mut self) {
        self.counted_from = None;
    }

    /// What is placed from now on counts.
    pub fn count(&mut self) {
        self.counted_from.get_or_insert(self.placed);
    }

    /// Lets it begin now.
    pub fn begin(&mut self, now_ns: u64) {
        self.start_ns = now_ns;
    }

    /// When the next call is due, if it is by now: in an open loop the time by the clock, however
    /// late it has become; in a closed loop, now. With both, one that the window has held back is due
    /// when there is room for it, and the next ones follow at the rate from then on. Each one that is
    /// told counts as placed.
    #[inline]
    pub fn next(&mut self, now_ns: u64, open: u32, setting_up: u32) -> Option<u64> {
        if self.is_over() {
            return None;
        }
        if let Some(window) = self.pace.window
            && (open >= window || setting_up >= self.pace.burst)
        {
            self.is_held |= self.due_ns().is_some_and(|due_ns| due_ns <= now_ns);
            return None;
        }
        let mut due_ns = match self.pace.rate {
            Some(_) => self.due_ns().filter(|due_ns| *due_ns <= now_ns)?,
            None => now_ns,
        };
        if std::mem::take(&mut self.is_held) {
            self.start_ns += now_ns - due_ns;
            due_ns = now_ns;
        }
        self.placed += 1;
        Some(due_ns)
    }

    /// When the next call will be due, where that is known.
    pub fn due_ns(&self) -> Option<u64> {
        let rate = self.pace.rate?;
        let after_ns = self.placed as f64 * 1e9 / rate;
        (!self.is_over()).then(|| self.start_ns.saturating_add(after_ns as u64))
    }

    /// Whether all calls were placed.
    pub fn is_over(&self) -> bool {
        let counted = self.counted_from.map(|from| self.placed - from);
        self.pace
            .count
            .zip(counted)
            .is_some_and(|(count, counted)| counted >= count)
    }

    /// How many were placed.
    pub fn placed(&self) -> u64 {
        self.placed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Pace = Pace {
        window: None,
        burst: 100,
        rate: None,
        count: None,
    };

    #[test]
    fn an_open_loop_goes_by_the_clock_however_late_it_is() {
        let pace = Pace {
            rate: Some(1_000.0),
            ..NONE
        };
        let mut schedule = Schedule::new(pace, 5_000_000);
        assert_eq!(schedule.next(4_999_999, 0, 0), None);
        assert_eq!(schedule.next(5_000_000, 0, 0), Some(5_000_000));
        assert_eq!(schedule.next(5_000_001, 1, 1), None);
        assert_eq!(schedule.due_ns(), Some(6_000_000));
        // A stall of ten milliseconds: the calls missed are due when they were, not now.
        let late: Vec<_> = std::iter::from_fn(|| schedule.next(15_000_000, 1_000, 1_000)).collect();
        assert_eq!(late.len(), 10);
        assert_eq!((late[0], late[9]), (6_000_000, 15_000_000));
    }

    #[test]
    fn a_closed_loop_keeps_its_window_and_its_burst() {
        let pace = Pace {
            window: Some(10),
            burst: 3,
            ..NONE
        };
        let mut schedule = Schedule::new(pace, 0);
        assert_eq!(schedule.next(7, 0, 0), Some(7));
        assert_eq!(schedule.next(7, 9, 2), Some(7));
        assert_eq!(schedule.next(7, 10, 0), None);
        assert_eq!(schedule.next(7, 5, 3), None);
    }

    #[test]
    fn a_window_with_a_rate_is_never_faster_than_the_rate_whatever_was_held_back() {
        let pace = Pace {
            window: Some(2),
            rate: Some(1_000.0),
            ..NONE
        };
        let mut schedule = Schedule::new(pace, 0);
        assert_eq!(schedule.next(0, 0, 0), Some(0));
        assert_eq!(schedule.next(1_400_000, 1, 1), Some(1_000_000));
        // The window is full for a while: what was due meanwhile does not come all at once.
        assert_eq!(schedule.next(2_500_000, 2, 2), None);
        assert_eq!(schedule.next(9_500_000, 0, 0), Some(9_500_000));
        assert_eq!(schedule.next(9_600_000, 1, 1), None);
        assert_eq!(schedule.next(10_500_000, 1, 1), Some(10_500_000));
    }

    #[test]
    fn a_count_is_of_those_that_come_after_the_warm_up() {
        let pace = Pace {
            count: Some(2),
            ..NONE
        };
        let mut schedule = Schedule::new(pace, 0);
        schedule.warm_up();
        assert!((0..9).all(|_| schedule.next(0, 0, 0).is_some()) && !schedule.is_over());
        for _ in 0..2 {
            schedule.count();
            assert!(schedule.next(0, 0, 0).is_some());
        }
        assert!(schedule.is_over() && schedule.next(0, 0, 0).is_none());
    }

    #[test]
    fn a_count_ends_it_and_threads_share_it() {
        let pace = Pace {
            window: Some(11),
            burst: 100,
            rate: Some(30.0),
            count: Some(7),
        };
        let shares: Vec<_> = (0..3).map(|thread| pace.share(thread, 3)).collect();
        let windows: Vec<_> = shares.iter().map(|share| share.window.unwrap()).collect();
        let counts: Vec<_> = shares.iter().map(|share| share.count.unwrap()).collect();
        assert_eq!((windows, counts), (vec![4, 4, 3], vec![3, 2, 2]));
        assert_eq!(shares[0].rate, Some(10.0));
        let mut schedule = Schedule::new(
            Pace {
                count: Some(2),
                ..NONE
            },
            0,
        );
        assert!(schedule.next(0, 0, 0).is_some() && schedule.next(0, 0, 0).is_some());
        assert!(schedule.is_over() && schedule.next(0, 0, 0).is_none());
        assert_eq!(schedule.placed(), 2);
    }
}
