//! How much each source sends: a token bucket for every address, in a table of fixed size that all
//! shards share without a lock.
//!
//! A source with several ports reaches several shards, one with a single port always the same:
//! only a common count keeps the limit for both. Each entry is one word: part of the
//! address's keyed hash, and the moment at which the bucket will be full again ("generic cell rate
//! algorithm"). A flood from more addresses than the table holds forgets the least indebted; that
//! costs some of the flood's limit, never memory.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::keys::mix;
use crate::transaction::Ms;

/// How many entries share a place: a cache line of them.
const WAYS: usize = 8;
/// How many places there are; a power of two. Half a megabyte, made when it is first needed.
const PLACES: usize = 1 << 13;
/// The bits of an entry that tell the moment; the others tell the address.
const MOMENT_BITS: u32 = 40;
const MOMENT_MASK: u64 = (1 << MOMENT_BITS) - 1;
/// Moments are counted in 1/1024 ms, and wrap after twelve days.
const UNITS_PER_MS: u64 = 1_024;
/// How long a source may be ahead of its rate: what it may send in one burst is what it may send
/// in this time.
const BURST_MS: u64 = 1_000;

/// The token buckets.
#[derive(Default)]
pub struct Sources {
    places: std::sync::OnceLock<Box<[[AtomicU64; WAYS]]>>,
}

impl Sources {
    /// Whether a source may send one more message, of `limit_s` each second.
    pub fn admit(&self, source: IpAddr, salt: u64, limit_s: u32, now_ms: Ms) -> bool {
        let places = self.places.get_or_init(|| {
            let empty = || std::array::from_fn(|_| AtomicU64::new(0));
            (0..PLACES).map(|_| empty()).collect()
        });
        let hash = hash_of(source, salt);
        let Some(place) = places.get(hash as usize % PLACES) else {
            return true;
        };
        let name = (hash >> MOMENT_BITS).max(1);
        let now = now_ms.wrapping_mul(UNITS_PER_MS) & MOMENT_MASK;
        let interval = (UNITS_PER_MS * 1_000 / u64::from(limit_s.max(1))).max(1);
        let Some(entry) = entry_of(place, name, now) else {
            return true;
        };
        let admit = |word: u64| {
            let debt = match word >> MOMENT_BITS == name {
                true => ahead(word & MOMENT_MASK, now),
                false => 0,
            };
            let is_within = debt + interval <= BURST_MS * UNITS_PER_MS;
            is_within.then(|| name << MOMENT_BITS | (now + debt + interval) & MOMENT_MASK)
        };
        entry
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, admit)
            .is_ok()
    }
}

/// The entry of a source: its own, or the one with the least debt.
fn entry_of(place: &[AtomicU64; WAYS], name: u64, now: u64) -> Option<&AtomicU64> {
    let words = || {
        place
            .iter()
            .map(|entry| (entry, entry.load(Ordering::Relaxed)))
    };
    words()
        .find(|(_, word)| word >> MOMENT_BITS == name)
        .or_else(|| words().min_by_key(|(_, word)| ahead(word & MOMENT_MASK, now)))
        .map(|(entry, _)| entry)
}

/// How far a moment lies ahead; what is further than any debt lies behind.
fn ahead(moment: u64, now: u64) -> u64 {
    let ahead = moment.wrapping_sub(now) & MOMENT_MASK;
    match ahead > 2 * BURST_MS * UNITS_PER_MS {
        true => 0,
        false => ahead,
    }
}

/// The hash of an IPv4 address, or of an IPv6 network: whoever has one address of a /64 has all.
fn hash_of(source: IpAddr, salt: u64) -> u64 {
    let bits = match source.to_canonical() {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        IpAddr::V6(address) => (u128::from(address) >> 64) as u64 ^ 1 << 63,
    };
    mix(mix(bits, salt), salt.rotate_left(32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn admitted(sources: &Sources, source: &str, limit_s: u32, now_ms: Ms, tries: u32) -> u32 {
        let source = ip(source);
        let admit = |_: &u32| sources.admit(source, 7, limit_s, now_ms);
        (0..tries).filter(admit).count() as u32
    }

    #[test]
    fn a_source_has_its_burst_and_then_its_rate() {
        for limit_s in [1, 50, 1_000, 100_000] {
            let sources = Sources::default();
            let first = admitted(&sources, "192.0.2.1", limit_s, 5_000, 3 * limit_s);
            assert!(
                first.abs_diff(limit_s) <= limit_s / 20,
                "{limit_s}: {first}"
            );
            let mut later = 0;
            for ms in 1..=4_000 {
                later += admitted(
                    &sources,
                    "192.0.2.1",
                    limit_s,
                    5_000 + ms,
                    2 + limit_s / 400,
                );
            }
            assert!(
                later.abs_diff(4 * limit_s) <= limit_s / 5 + 1,
                "{limit_s}: {later}"
            );
        }
    }

    #[test]
    fn sources_do_not_pay_for_each_other() {
        let sources = Sources::default();
        assert_eq!(admitted(&sources, "192.0.2.1", 10, 0, 50), 10);
        assert_eq!(admitted(&sources, "192.0.2.2", 10, 0, 5), 5);
        assert_eq!(
            admitted(&sources, "::ffff:192.0.2.1", 10, 0, 5),
            0,
            "the same"
        );
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let sources = Sources::default();
        assert_eq!(admitted(&sources, "2001:db8::1", 10, 0, 50), 10);
        assert_eq!(admitted(&sources, "2001:db8::ffff:1", 10, 0, 5), 0);
        assert_eq!(admitted(&sources, "2001:db8:0:1::1", 10, 0, 5), 5);
    }

    #[test]
    fn a_flood_of_addresses_takes_no_memory_and_leaves_others_alone() {
        let sources = Sources::default();
        for number in 0..1_000_000_u32 {
            sources.admit(IpAddr::from(number.to_be_bytes()), 7, 10, 1_000);
        }
        assert_eq!(admitted(&sources, "2001:db8::1", 10, 1_000, 10), 10);
    }

    #[test]
    fn a_clock_that_wraps_limits_nobody_for_long() {
        let sources = Sources::default();
        let last = (1 << MOMENT_BITS) / UNITS_PER_MS - 1;
        assert_eq!(admitted(&sources, "192.0.2.1", 10, last, 50), 10);
        assert_eq!(admitted(&sources, "192.0.2.1", 10, last + 1_001, 50), 10);
    }
}
