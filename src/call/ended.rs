//! Dialogs that ended of late, so that a 2xx that comes late does not open them again.

use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasherDefault;

use super::identity::Identity;
use crate::transaction::Ms;

/// How long an end is remembered: a 2xx is passed on for 64*T1 after the first one (RFC 6026
/// §7.1), and an end is not older than its dialog.
const REMEMBERED_MS: Ms = 64_000;
/// The most ends remembered; beyond it the oldest are forgotten.
const LIMIT: usize = 100_000;

/// The dialogs that ended within the last minute, by a hash of their keys.
#[derive(Debug, Default)]
pub(super) struct Ended {
    in_order: VecDeque<(Ms, u64)>,
    dialogs: HashSet<u64, BuildHasherDefault<Identity>>,
}

impl Ended {
    /// A dialog ended; the tags in either order.
    pub(super) fn remember(&mut self, key: u64, tags: [u64; 2], now: Ms) {
        while let Some((at, oldest)) = self.in_order.front().copied() {
            if now < at + REMEMBERED_MS && self.in_order.len() < LIMIT {
                break;
            }
            self.in_order.pop_front();
            self.dialogs.remove(&oldest);
        }
        let dialog = name(key, tags);
        if self.dialogs.insert(dialog) {
            self.in_order.push_back((now, dialog));
        }
    }

    /// Whether a dialog is remembered.
    pub(super) fn contains(&self, key: u64, tags: [u64; 2]) -> bool {
        self.dialogs.contains(&name(key, tags))
    }
}

/// One number for a dialog, whichever side's tag comes first. The parts are keyed hashes already.
fn name(key: u64, tags: [u64; 2]) -> u64 {
    let [low, high] = if tags[0] <= tags[1] {
        tags
    } else {
        [tags[1], tags[0]]
    };
    key ^ low.rotate_left(21) ^ high.rotate_left(42)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_known_by_its_tags_in_either_order() {
        let mut ended = Ended::default();
        ended.remember(7, [1, 2], 0);
        assert!(ended.contains(7, [1, 2]) && ended.contains(7, [2, 1]));
        assert!(!ended.contains(7, [1, 3]) && !ended.contains(8, [1, 2]));
    }

    #[test]
    fn an_end_is_forgotten_after_its_time_and_none_is_kept_twice() {
        let mut ended = Ended::default();
        ended.remember(7, [1, 2], 0);
        ended.remember(7, [1, 2], 10);
        ended.remember(8, [1, 2], REMEMBERED_MS);
        assert!(!ended.contains(7, [1, 2]));
        assert_eq!((ended.in_order.len(), ended.dialogs.len()), (1, 1));
    }

    #[test]
    fn the_oldest_ends_give_way_at_the_limit() {
        let mut ended = Ended::default();
        for key in 0..LIMIT as u64 + 5 {
            ended.remember(key, [1, 2], 0);
        }
        assert_eq!(ended.in_order.len(), LIMIT);
        assert!(!ended.contains(4, [1, 2]) && ended.contains(5, [1, 2]));
    }
}
