//! Nonces that need no memory: a time, a salt, and a keyed hash over both and the realm.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher24};

use super::algorithm::nibble;

/// Time, salt and hash in hexadecimal digits.
const NONCE_BYTES: usize = 48;
/// How far into the future a nonce may be, for a clock that was set back a little.
const AHEAD_S: i64 = 5;

/// Makes nonces and knows them again, also after a restart: the key comes from the store's secret.
/// A nonce is bound to time and realm and to no address, as phones roam.
pub struct Nonces {
    key: SipHasher24,
}

/// What stands for a nonce in the table of counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NonceId {
    /// When it was made, seconds since 1970.
    pub made_s: u32,
    /// What tells it from others of that second.
    pub salt: u64,
}

/// What is known of a nonce that somebody answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NonceState {
    /// One of ours that is still good.
    Fresh(NonceId),
    /// One of ours that is too old.
    Expired,
    /// Not ours, or of another realm.
    Foreign,
}

impl Nonces {
    /// Nonces under a secret.
    pub fn new(secret: &[u8; 32]) -> Self {
        let (low, high) = secret.split_at(16);
        let word = |half: &[u8], at: usize| {
            half.iter()
                .skip(at)
                .take(8)
                .fold(0u64, |word, byte| word << 8 | u64::from(*byte))
        };
        let mut derive = SipHasher24::new_with_keys(word(low, 0), word(low, 8));
        derive.write(high);
        derive.write(b"digest nonce");
        let derived = derive.finish128();
        Self {
            key: SipHasher24::new_with_keys(derived.h1, derived.h2),
        }
    }

    /// A salt for a request: the same for its retransmissions within a second, told by nobody.
    pub fn salt(&self, transaction: u64) -> u64 {
        let mut hasher = self.key;
        hasher.write(b"salt");
        hasher.write_u64(transaction);
        hasher.finish128().h1
    }

    /// Appends a nonce of this moment.
    pub fn write(&self, id: NonceId, realm: &str, out: &mut Vec<u8>) {
        let (high, low) = self.seal(id, realm);
        write_hex(out, id.made_s.into(), 8);
        write_hex(out, id.salt, 16);
        write_hex(out, high, 16);
        write_hex(out, low.into(), 8);
    }

    /// What a nonce is at this moment.
    pub fn read(&self, nonce: &[u8], realm: &str, now_s: i64, lifetime_s: u32) -> NonceState {
        let Some(id) = self.known(nonce, realm) else {
            return NonceState::Foreign;
        };
        let age_s = now_s.saturating_sub(i64::from(id.made_s));
        match (-AHEAD_S..=i64::from(lifetime_s)).contains(&age_s) {
            true => NonceState::Fresh(id),
            false => NonceState::Expired,
        }
    }

    /// Whether we made the nonce, however old it is.
    pub fn is_ours(&self, nonce: &[u8], realm: &str) -> bool {
        self.known(nonce, realm).is_some()
    }

    fn known(&self, nonce: &[u8], realm: &str) -> Option<NonceId> {
        if nonce.len() != NONCE_BYTES {
            return None;
        }
        let word = |range: std::ops::Range<usize>| {
            let mut digits = nonce.get(range)?.iter();
            digits.try_fold(0u64, |word, digit| {
                Some(word << 4 | u64::from(nibble(*digit)?))
            })
        };
        let id = NonceId {
            made_s: u32::try_from(word(0..8)?).ok()?,
            salt: word(8..24)?,
        };
        let (high, low) = self.seal(id, realm);
        let differs = (word(24..40)? ^ high) | (word(40..48)? ^ u64::from(low));
        (differs == 0).then_some(id)
    }

    fn seal(&self, id: NonceId, realm: &str) -> (u64, u32) {
        let mut hasher = self.key;
        hasher.write(b"seal");
        hasher.write_u32(id.made_s);
        hasher.write_u64(id.salt);
        hasher.write(realm.as_bytes());
        let seal = hasher.finish128();
        (seal.h1, seal.h2 as u32)
    }
}

/// Appends so many hexadecimal digits, at most 16.
pub(super) fn write_hex(out: &mut Vec<u8>, value: u64, digits: u32) {
    for place in (0..digits).rev() {
        let nibble = value >> (place * 4) & 15;
        out.push(
            b"0123456789abcdef"
                .get(nibble as usize)
                .copied()
                .unwrap_or(b'0'),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: NonceId = NonceId {
        made_s: 1_000,
        salt: 0xfeed_face_dead_beef,
    };

    fn nonce(nonces: &Nonces) -> Vec<u8> {
        let mut out = Vec::new();
        nonces.write(ID, "example.com", &mut out);
        out
    }

    #[test]
    fn a_nonce_is_good_for_its_lifetime_and_its_realm() {
        let nonces = Nonces::new(&[7; 32]);
        let nonce = nonce(&nonces);
        assert_eq!(nonce.len(), NONCE_BYTES);
        let state = |now_s| nonces.read(&nonce, "example.com", now_s, 300);
        assert_eq!(state(1_000), NonceState::Fresh(ID));
        assert_eq!(state(1_300), NonceState::Fresh(ID));
        assert_eq!(state(1_301), NonceState::Expired);
        assert_eq!(state(996), NonceState::Fresh(ID));
        assert_eq!(state(900), NonceState::Expired);
        let elsewhere = nonces.read(&nonce, "example.net", 1_000, 300);
        assert_eq!(elsewhere, NonceState::Foreign);
    }

    #[test]
    fn it_is_known_after_a_restart_and_to_nobody_else() {
        let nonce = nonce(&Nonces::new(&[7; 32]));
        assert!(Nonces::new(&[7; 32]).is_ours(&nonce, "example.com"));
        assert!(!Nonces::new(&[8; 32]).is_ours(&nonce, "example.com"));
    }

    #[test]
    fn no_byte_of_it_can_be_changed() {
        let nonces = Nonces::new(&[7; 32]);
        let good = nonce(&nonces);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] = if bad[at] == b'0' { b'1' } else { b'0' };
            assert!(!nonces.is_ours(&bad, "example.com"), "{at}");
            assert!(!nonces.is_ours(&good[..at], "example.com"), "{at}");
        }
    }
}
