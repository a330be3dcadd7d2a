//! Dialogs that ended of late, so that a 2xx that comes late does not open them again.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;

use super::identity::Identity;
use crate::transaction::Ms;

/// How long an end is remembered at least: a 2xx is passed on for 64*T1 after the first one (RFC 6026
/// §7.1), and an end is not older than its dialog.
const REMEMBERED_MS: Ms = 64_000;
/// So many of the latest ends are remembered, up to twice as many are kept.
const LIMIT: usize = 100_000;

type Dialogs = HashSet<u64, BuildHasherDefault<Identity>>;

/// The dialogs that ended within the last minute or two, by a hash of their keys. They are forgotten
/// by the half, so that none has to be looked up again for that.
#[derive(Debug, Default)]
pub(super) struct Ended {
    recent: Dialogs,
    older: Dialogs,
    /// When the first of the recent ones came.
    since: Ms,
}

impl Ended {
    /// A dialog ended; the tags in either order.
    pub(super) fn remember(&mut self, key: u64, tags: [u64; 2], now: Ms) {
        if now >= self.since + REMEMBERED_MS || self.recent.len() >= LIMIT {
            std::mem::swap(&mut self.recent, &mut self.older);
            self.recent.clear();
            self.since = now;
        }
        self.recent.insert(name(key, tags));
    }

    /// Whether a dialog is remembered.
    pub(super) fn contains(&self, key: u64, tags: [u64; 2]) -> bool {
        let dialog = name(key, tags);
        self.recent.contains(&dialog) || self.older.contains(&dialog)
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
    fn an_end_is_remembered_for_its_time_and_forgotten_after_twice_of_it() {
        let mut ended = Ended::default();
        ended.remember(7, [1, 2], 0);
        ended.remember(8, [1, 2], REMEMBERED_MS - 1);
        ended.remember(9, [1, 2], 2 * REMEMBERED_MS - 2);
        assert!(ended.contains(8, [1, 2]) && ended.contains(9, [1, 2]));
        ended.remember(10, [1, 2], 3 * REMEMBERED_MS);
        assert!(!ended.contains(7, [1, 2]) && !ended.contains(8, [1, 2]));
        assert!(ended.contains(9, [1, 2]));
    }

    #[test]
    fn the_oldest_ends_give_way_at_the_limit() {
        let mut ended = Ended::default();
        let last = 2 * LIMIT as u64 + 5;
        for key in 0..=last {
            ended.remember(key, [1, 2], 0);
            assert!(ended.recent.len() + ended.older.len() <= 2 * LIMIT);
        }
        assert!(!ended.contains(4, [1, 2]));
        assert!((last - LIMIT as u64..=last).all(|key| ended.contains(key, [1, 2])));
    }
}
