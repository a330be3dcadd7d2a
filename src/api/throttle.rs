//! How often somebody may try a password: by where they come from, and by whom they claim to be.

use std::hash::Hasher as _;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use siphasher::sip::SipHasher13;

/// How many counters there are. Those who share one share its limit, so a flood of made-up names
/// needs no more memory, it only makes itself wait.
const SLOTS: usize = 1 << 14;

/// How many failures are too many.
#[derive(Clone, Copy)]
struct Limit {
    failures: u32,
    window_s: i64,
}

/// Many people may sit behind one address.
const BY_SOURCE: Limit = Limit {
    failures: 30,
    window_s: 60,
};
/// So many wrong passwords in a row are no typing errors.
const BY_ID: Limit = Limit {
    failures: 10,
    window_s: 300,
};

/// Counts failed attempts; never grows.
pub(super) struct Throttle {
    slots: Mutex<Box<[Slot]>>,
    key: (u64, u64),
}

#[derive(Clone, Copy, Default)]
struct Slot {
    begun_s: i64,
    failures: u32,
}

/// An attempt that counts as failed until it is forgiven.
pub(super) struct Attempt([usize; 2]);

impl Throttle {
    /// Counters that nobody can aim at who does not know the secret.
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        let half = |from: usize| {
            let bytes = secret.get(from..from + 8).unwrap_or_default();
            u64::from_le_bytes(bytes.try_into().unwrap_or_default())
        };
        Self {
            slots: Mutex::new(vec![Slot::default(); SLOTS].into()),
            key: (half(8), half(16)),
        }
    }

    /// Counts an attempt.
    ///
    /// # Errors
    /// There were too many; after how many seconds the next is allowed.
    pub(super) fn attempt(&self, source: IpAddr, id: &str, now_s: i64) -> Result<Attempt, u32> {
        let taken = [
            self.slot(b's', &network(source)),
            self.slot(b'i', id.to_ascii_lowercase().as_bytes()),
        ];
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, limit) in taken.into_iter().zip([BY_SOURCE, BY_ID]) {
            let Some(slot) = slots.get_mut(index) else {
                continue;
            };
            let ends_s = slot.begun_s.saturating_add(limit.window_s);
            if now_s >= ends_s || slot.begun_s > now_s {
                *slot = Slot {
                    begun_s: now_s,
                    failures: 0,
                };
            } else if slot.failures >= limit.failures {
                let wait_s = ends_s.saturating_sub(now_s);
                return Err(u32::try_from(wait_s).unwrap_or(u32::MAX).max(1));
            }
        }
        for index in taken {
            if let Some(slot) = slots.get_mut(index) {
                slot.failures = slot.failures.saturating_add(1);
            }
        }
        Ok(Attempt(taken))
    }

    /// The attempt was none: the password was right.
    #[expect(clippy::needless_pass_by_value, reason = "an attempt is forgiven once")]
    pub(super) fn forgive(&self, attempt: Attempt) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        for index in attempt.0 {
            if let Some(slot) = slots.get_mut(index) {
                slot.failures = slot.failures.saturating_sub(1);
            }
        }
    }

    fn slot(&self, kind: u8, name: &[u8]) -> usize {
        let mut hasher = SipHasher13::new_with_keys(self.key.0, self.key.1);
        hasher.write_u8(kind);
        hasher.write(name);
        usize::try_from(hasher.finish() % SLOTS as u64).unwrap_or(0)
    }
}

/// The address, or of an IPv6 address the network that one customer has.
fn network(source: IpAddr) -> Vec<u8> {
    match source.to_canonical() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().into_iter().take(8).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "192.0.2.1";

    fn try_it(throttle: &Throttle, source: &str, id: &str, now_s: i64) -> Result<Attempt, u32> {
        throttle.attempt(source.parse().unwrap(), id, now_s)
    }

    #[test]
    fn failures_for_one_id_make_everybody_wait_who_claims_it() {
        let throttle = Throttle::new(&[7; 32]);
        for n in 0..BY_ID.failures {
            let source = format!("192.0.2.{n}");
            assert!(try_it(&throttle, &source, "anna", 1_000).is_ok());
        }
        assert_eq!(
            try_it(&throttle, "198.51.100.1", "ANNA", 1_010).err(),
            Some(290)
        );
        assert!(try_it(&throttle, "198.51.100.1", "bob", 1_010).is_ok());
        assert!(try_it(&throttle, "198.51.100.1", "anna", 1_300).is_ok());
    }

    #[test]
    fn failures_from_one_network_make_it_wait_whatever_the_id() {
        let throttle = Throttle::new(&[7; 32]);
        for n in 0..BY_SOURCE.failures {
            let source = format!("2001:db8::{n}");
            assert!(try_it(&throttle, &source, &format!("p{n}"), 1_000).is_ok());
        }
        assert!(try_it(&throttle, "2001:db8::ffff", "another", 1_000).is_err());
        assert!(try_it(&throttle, "2001:db8:0:1::1", "another", 1_000).is_ok());
    }

    #[test]
    fn what_succeeds_does_not_count() {
        let throttle = Throttle::new(&[7; 32]);
        for _ in 0..5 * BY_SOURCE.failures {
            let attempt = try_it(&throttle, HERE, "anna", 1_000).unwrap();
            throttle.forgive(attempt);
        }
        assert!(try_it(&throttle, HERE, "anna", 1_000).is_ok());
    }
}
