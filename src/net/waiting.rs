//! How long datagrams waited in the kernel before their batch was taken.
//!
//! The kernel notes when a datagram came; reading that costs about a tenth of a microsecond each, so
//! it is read only where something can have waited: after a batch that was full, and after a
//! listener was not looked at for a while. A datagram of any other batch came after the last one,
//! and has waited less than [`RECENT_MS`].

use crate::engine::Now;

/// What came since a batch that is younger than this has not waited.
pub(super) const RECENT_MS: u64 = 2;
/// By how much the time of day may move against the shards' clock before it counts as set.
const STEP_MS: i64 = 50;
/// How long the kernel's notes are not believed after the time of day was set: what came before
/// then has been handled.
const DISTRUST_MS: u64 = 1_000;

/// What one shard knows of its listeners' queues.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    listeners: Vec<Looked>,
    /// The time of day less the shards' clock.
    offset_ms: Option<i64>,
    distrusted_until_ms: u64,
    /// When the shard first looked.
    began_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Looked {
    at_ms: u64,
    was_full: bool,
}

impl Waiting {
    /// Nothing is known of these listeners.
    pub(super) fn new(listeners: usize) -> Self {
        Self {
            listeners: vec![Looked::default(); listeners],
            ..Self::default()
        }
    }

    /// A pass begins: sees whether the time of day was set since the last one.
    pub(super) fn begin(&mut self, now: Now) {
        self.began_ms.get_or_insert(now.ms);
        let offset_ms = now.unix_ms.saturating_sub_unsigned(now.ms);
        let before = self.offset_ms.replace(offset_ms);
        if before.is_some_and(|before| before.abs_diff(offset_ms) > STEP_MS as u64) {
            self.distrusted_until_ms = now.ms + DISTRUST_MS;
        }
    }

    /// Whether something of the listener's next batch can have waited.
    pub(super) fn is_possible(&self, listener: u8, now: Now) -> bool {
        let looked = self.listeners.get(usize::from(listener));
        looked.is_none_or(|looked| looked.was_full || now.ms >= looked.at_ms + RECENT_MS)
    }

    /// A batch was taken, full or not.
    pub(super) fn looked(&mut self, listener: u8, now: Now, was_full: bool) {
        if let Some(looked) = self.listeners.get_mut(usize::from(listener)) {
            *looked = Looked {
                at_ms: now.ms,
                was_full,
            };
        }
    }

    /// How long a datagram waited that the kernel received at that time of day. What came before the
    /// shard first looked waited for the start until then, which is no sign of load.
    pub(super) fn waited_ms(&self, now: Now, received_unix_ms: Option<i64>) -> u32 {
        let received = received_unix_ms.filter(|_| now.ms >= self.distrusted_until_ms);
        let waited_ms = received.map_or(0, |received| now.unix_ms.saturating_sub(received).max(0));
        let running_ms = now.ms - self.began_ms.unwrap_or(now.ms).min(now.ms);
        let running_ms = u32::try_from(running_ms).unwrap_or(u32::MAX);
        u32::try_from(waited_ms).map_or(running_ms, |waited_ms| waited_ms.min(running_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64, unix_ms: i64) -> Now {
        Now { ms, unix_ms }
    }

    #[test]
    fn what_came_since_a_recent_batch_has_not_waited() {
        let mut waiting = Waiting::new(2);
        assert!(waiting.is_possible(0, at(10, 0)), "never looked at");
        waiting.looked(0, at(10, 0), false);
        assert!(!waiting.is_possible(0, at(11, 0)));
        assert!(waiting.is_possible(1, at(11, 0)), "another listener");
        assert!(
            waiting.is_possible(0, at(12, 0)),
            "not looked at for a while"
        );
        waiting.looked(0, at(12, 0), true);
        assert!(waiting.is_possible(0, at(12, 0)), "more was left");
    }

    #[test]
    fn a_datagram_waited_since_the_kernel_had_it() {
        let mut waiting = Waiting::new(1);
        waiting.begin(at(500, 50_500));
        waiting.begin(at(1_000, 51_000));
        assert_eq!(waiting.waited_ms(at(1_000, 51_000), Some(50_750)), 250);
        assert_eq!(waiting.waited_ms(at(1_000, 51_000), Some(51_003)), 0);
        assert_eq!(waiting.waited_ms(at(1_000, 51_000), None), 0);
    }

    #[test]
    fn what_came_before_the_start_waited_since_the_start() {
        let mut waiting = Waiting::new(1);
        waiting.begin(at(1_000, 51_000));
        assert_eq!(waiting.waited_ms(at(1_000, 51_000), Some(50_000)), 0);
        waiting.begin(at(1_030, 51_030));
        assert_eq!(waiting.waited_ms(at(1_030, 51_030), Some(50_000)), 30);
        assert_eq!(waiting.waited_ms(at(1_030, 51_030), Some(51_020)), 10);
    }

    #[test]
    fn a_clock_that_was_set_makes_nothing_wait() {
        let mut waiting = Waiting::new(1);
        waiting.begin(at(1_000, 51_000));
        waiting.begin(at(1_010, 3_651_010));
        assert_eq!(
            waiting.waited_ms(at(1_010, 3_651_010), Some(51_009)),
            0,
            "an hour forward"
        );
        waiting.begin(at(2_010, 3_652_010));
        assert_eq!(waiting.waited_ms(at(2_010, 3_652_010), Some(3_652_000)), 10);
        waiting.begin(at(2_020, 52_020));
        assert_eq!(
            waiting.waited_ms(at(2_020, 52_020), Some(3_652_010)),
            0,
            "and back"
        );
    }
}
