//! The two clocks, read once for each batch.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use crate::engine::Now;

/// The server's clock; all its copies tell the same time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Self {
        Self { start: stopwatch() }
    }

    /// The time.
    pub fn now(&self) -> Now {
        Now {
            ms: stopwatch().duration_since(self.start).as_millis() as u64,
            unix_ms: unix_ms(),
        }
    }

    /// The time of day.
    pub fn timestamp(&self) -> Timestamp {
        Timestamp::from_millisecond(unix_ms()).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// A point in time, to measure how long something takes.
#[expect(clippy::disallowed_methods, reason = "the clock is read here")]
pub(super) fn stopwatch() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the clock is read here")]
fn unix_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
