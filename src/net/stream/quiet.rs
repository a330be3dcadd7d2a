//! Log lines that others can cause: a few each second, so that nobody fills the log.

use std::sync::atomic::{AtomicU64, Ordering};

/// Lines in a second.
const LINES: u64 = 10;
const SECOND_MS: u64 = 1_000;

/// Counts the lines of the second.
#[derive(Default)]
pub(super) struct Quiet {
    second: AtomicU64,
    lines: AtomicU64,
}

impl Quiet {
    /// Whether a line may be written now.
    pub(super) fn may_speak(&self, now_ms: u64) -> bool {
        let second = now_ms / SECOND_MS;
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.lines.store(0, Ordering::Relaxed);
        }
        self.lines.fetch_add(1, Ordering::Relaxed) < LINES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_a_few_lines() {
        let quiet = Quiet::default();
        for second in [5, 6, 9] {
            let spoken = (0..1_000).filter(|ms| quiet.may_speak(second * SECOND_MS + ms));
            assert_eq!(spoken.count() as u64, LINES);
        }
    }
}
