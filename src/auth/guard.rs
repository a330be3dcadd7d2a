//! What a process knows about authentication: its nonces, which of them were used, who failed.

use super::algorithm::{Algorithm, Hash};
use super::bans::Bans;
use super::challenge::{Challenge, Side};
use super::credentials::Credentials;
use super::digest::matches;
use super::nonce::{NonceId, NonceState, Nonces};
use super::policy::AuthPolicy;
use super::presented::Presented;
use super::replay::{Counted, Replays};

/// Judges credentials and writes challenges; shared by all shards.
pub struct Guard {
    nonces: Nonces,
    replays: Replays,
    /// Who has failed.
    pub bans: Bans,
    /// What stands in for the digest of somebody who does not exist.
    dummies: [Hash; 3],
}

/// The request that presents credentials.
#[derive(Clone, Copy, Debug)]
pub struct Presentation<'a> {
    /// Its method, as written.
    pub method: &'a [u8],
    /// Stands for its transaction and its source: the same when it is sent again.
    pub transaction: u64,
    /// The time, seconds since 1970.
    pub now_s: i64,
    /// It was judged before and is handled anew: its counter was used then.
    pub is_resumed: bool,
}

/// What credentials are worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// They prove the password.
    Right,
    /// They prove the password with a nonce that is too old or was used: another is given.
    Stale,
    /// They prove nothing.
    Wrong,
}

/// How a request stands that must be authenticated, for counting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judged {
    /// It presents nothing for our realm.
    Absent,
    /// It presents something.
    Presented(Verdict),
}

impl Guard {
    /// A guard under the store's secret.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self {
            nonces: Nonces::new(secret),
            replays: Replays::default(),
            bans: Bans::new(secret),
            dummies: Algorithm::ALL.map(|algorithm| algorithm.hash(&[b"nobody", secret])),
        }
    }

    /// The process begins: what an earlier one counted is forgotten, so nonces from before are
    /// answered `stale=true`.
    pub fn begin(&self, now_s: i64) {
        self.replays.begin(now_s);
    }

    /// Judges what a request presents against what is kept of whom it names. The same is computed
    /// whether there is such a subscriber or not, so the time tells nothing.
    pub fn judge(
        &self,
        policy: &AuthPolicy,
        presented: &Presented<'_>,
        credentials: Option<&Credentials>,
        presentation: &Presentation<'_>,
    ) -> Verdict {
        let algorithm = presented.algorithm;
        let kept = credentials.and_then(|credentials| {
            credentials.digest(presented.username, &policy.realm, algorithm)
        });
        let ha1 = kept.unwrap_or_else(|| self.dummy(algorithm));
        let is_proved = matches(presented, &ha1, presentation.method);
        let is_offered = policy.algorithms().contains(&algorithm)
            && (presented.quality.is_some() || algorithm == Algorithm::Md5);
        if !(is_proved && kept.is_some() && is_offered) {
            return Verdict::Wrong;
        }
        let now_s = presentation.now_s;
        let nonce = self
            .nonces
            .read(presented.nonce, &policy.realm, now_s, policy.nonce_s);
        match nonce {
            NonceState::Fresh(id) if self.is_unused(policy, presented, presentation, id) => {
                Verdict::Right
            }
            _ => Verdict::Stale,
        }
    }

    fn is_unused(
        &self,
        policy: &AuthPolicy,
        presented: &Presented<'_>,
        presentation: &Presentation<'_>,
        id: NonceId,
    ) -> bool {
        if presentation.is_resumed {
            return true;
        }
        // A client of RFC 2069 does not count: its nonce is good once.
        let count = presented.quality.map_or(1, |quality| quality.count);
        let oldest_s = presentation.now_s - i64::from(policy.nonce_s);
        let transaction = presentation.transaction;
        self.replays.count(id, count, transaction, oldest_s) != Counted::UsedUp
    }

    /// Appends a challenge. `transaction` is the request's: its retransmission within the second
    /// is given the same nonce.
    pub fn challenge(
        &self,
        policy: &AuthPolicy,
        (side, is_stale): (Side, bool),
        (transaction, now_s): (u64, i64),
        out: &mut Vec<u8>,
    ) {
        let id = NonceId {
            made_s: u32::try_from(now_s).unwrap_or_default(),
            salt: self.nonces.salt(transaction),
        };
        let mut nonce = Vec::with_capacity(48);
        self.nonces.write(id, &policy.realm, &mut nonce);
        let challenge = Challenge {
            realm: &policy.realm,
            nonce: &nonce,
            opaque: self.nonces.salt(policy.realm.len() as u64) as u32,
            is_stale,
        };
        challenge.write(side, policy.algorithms(), out);
    }

    /// Whether credentials answer a challenge of ours, however old: they are nobody else's
    /// business (RFC 3261 §22.3).
    pub fn is_for_us(&self, presented: &Presented<'_>, policy: &AuthPolicy) -> bool {
        presented.realm == policy.realm.as_bytes()
            && self.nonces.is_ours(presented.nonce, &policy.realm)
    }

    /// How many nonces are in use.
    pub fn nonces_in_use(&self) -> usize {
        self.replays.len()
    }

    fn dummy(&self, algorithm: Algorithm) -> Hash {
        let mut dummies = self.dummies.into_iter();
        dummies
            .find(|dummy| dummy.algorithm() == algorithm)
            .unwrap_or_else(|| algorithm.hash(&[b"nobody"]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::algorithm::tests::HASHED;
    use crate::auth::digest::response;
    use crate::auth::{Hashing, Password};

    const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

    struct House {
        guard: Guard,
        policy: AuthPolicy,
        anna: Credentials,
    }

    impl House {
        fn new() -> Self {
            let policy = AuthPolicy {
                realm: "example.com".into(),
                md5: true,
                ..AuthPolicy::off()
            };
            let password = Password::new("correct horse").unwrap();
            let hashing: Hashing = policy.hashing();
            Self {
                guard: Guard::new(&[7; 32]),
                anna: hashing.credentials(&password, ["anna", "101"]),
                policy,
            }
        }

        fn nonce(&self, now_s: i64, transaction: u64) -> String {
            let mut out = Vec::new();
            let side = (Side::Server, false);
            self.guard
                .challenge(&self.policy, side, (transaction, now_s), &mut out);
            let text = String::from_utf8(out).unwrap();
            let nonce = text.split("nonce=\"").nth(1).unwrap();
            nonce.split('"').next().unwrap().to_owned()
        }

        fn judge(&self, text: &str, now_s: i64, transaction: u64) -> Verdict {
            let presented = Presented::parse(text.as_bytes()).unwrap();
            let known = [&b"anna"[..], b"101"].contains(&presented.username);
            let credentials = known.then_some(&self.anna);
            let presentation = Presentation {
                method: b"REGISTER",
                transaction,
                now_s,
                is_resumed: false,
            };
            self.guard
                .judge(&self.policy, &presented, credentials, &presentation)
        }
    }

    fn sign(username: &str, password: &str, nonce: &str, nc: u32) -> String {
        let (algorithm, realm) = (Algorithm::Sha256, "example.com");
        let text = |response: &str| {
            format!(
                "Digest username=\"{username}\", realm=\"{realm}\", nonce=\"{nonce}\", \
                 uri=\"sip:example.com\", response=\"{response}\", algorithm=SHA-256, \
                 qop=auth, nc={nc:08x}, cnonce=\"c\""
            )
        };
        let unsigned = text(ZEROS);
        let presented = Presented::parse(unsigned.as_bytes()).unwrap();
        let ha1 = algorithm.hash(&[username.as_bytes(), realm.as_bytes(), password.as_bytes()]);
        let proof = response(&presented, &ha1, b"REGISTER");
        text(std::str::from_utf8(proof.hex().as_bytes()).unwrap())
    }

    #[test]
    fn a_password_is_proved_by_any_user_name_of_its_owner() {
        let house = House::new();
        for (transaction, (username, password, verdict)) in [
            ("anna", "correct horse", Verdict::Right),
            ("101", "correct horse", Verdict::Right),
            ("anna", "wrong", Verdict::Wrong),
            ("nobody", "correct horse", Verdict::Wrong),
        ]
        .into_iter()
        .enumerate()
        {
            let transaction = transaction as u64;
            let nonce = house.nonce(1_000, transaction);
            let text = sign(username, password, &nonce, 1);
            assert_eq!(
                house.judge(&text, 1_000, transaction),
                verdict,
                "{username}"
            );
        }
    }

    #[test]
    fn a_replay_and_an_old_nonce_are_stale_and_a_wrong_password_is_not() {
        let house = House::new();
        let nonce = house.nonce(1_000, 1);
        let first = sign("anna", "correct horse", &nonce, 1);
        assert_eq!(house.judge(&first, 1_000, 1), Verdict::Right);
        assert_eq!(house.judge(&first, 1_001, 1), Verdict::Right);
        assert_eq!(house.judge(&first, 1_001, 2), Verdict::Stale);
        let second = sign("anna", "correct horse", &nonce, 2);
        assert_eq!(house.judge(&second, 1_300, 3), Verdict::Right);
        let third = sign("anna", "correct horse", &nonce, 3);
        assert_eq!(house.judge(&third, 1_301, 4), Verdict::Stale);
        let forged = sign("anna", "correct horse", "5ca1ab1e", 1);
        assert_eq!(house.judge(&forged, 1_000, 5), Verdict::Stale);
        let wrong = sign("anna", "wrong", &nonce, 9);
        assert_eq!(house.judge(&wrong, 9_000, 6), Verdict::Wrong);
    }

    #[test]
    fn a_wrong_password_uses_no_counter() {
        let house = House::new();
        let nonce = house.nonce(1_000, 1);
        for nc in 1..100 {
            house.judge(&sign("anna", "wrong", &nonce, nc), 1_000, 1);
        }
        assert_eq!(house.guard.nonces_in_use(), 0);
        let right = sign("anna", "correct horse", &nonce, 1);
        assert_eq!(house.judge(&right, 1_000, 2), Verdict::Right);
    }

    #[test]
    fn as_much_is_computed_for_nobody_as_for_somebody() {
        let house = House::new();
        let nonce = house.nonce(1_000, 1);
        let hashes = |username: &str, password: &str| {
            let text = sign(username, password, &nonce, 1);
            let before = HASHED.with(std::cell::Cell::get);
            house.judge(&text, 1_000, 1);
            HASHED.with(std::cell::Cell::get) - before
        };
        let known = hashes("anna", "wrong");
        assert_eq!(known, 2);
        assert_eq!(hashes("nobody", "wrong"), known);
        assert_eq!(hashes("anna", "correct horse"), known);
    }

    #[test]
    fn an_algorithm_that_is_not_offered_proves_nothing() {
        let mut house = House::new();
        let nonce = house.nonce(1_000, 1);
        let ha1 = Algorithm::Md5.hash(&[b"anna", b"example.com", b"correct horse"]);
        let old = |response: &str| {
            format!(
                "Digest username=\"anna\", realm=\"example.com\", nonce=\"{nonce}\", \
                 uri=\"sip:example.com\", response=\"{response}\""
            )
        };
        let unsigned = old(&ZEROS[..32]);
        let presented = Presented::parse(unsigned.as_bytes()).unwrap();
        let proof = response(&presented, &ha1, b"REGISTER");
        let text = old(std::str::from_utf8(proof.hex().as_bytes()).unwrap());
        assert_eq!(house.judge(&text, 1_000, 1), Verdict::Right);
        assert_eq!(house.judge(&text, 1_000, 2), Verdict::Stale, "good once");
        house.policy.md5 = false;
        assert_eq!(house.judge(&text, 1_000, 3), Verdict::Wrong);
    }

    #[test]
    fn credentials_for_us_are_told_from_those_for_others() {
        let house = House::new();
        let is_ours = |text: &str| {
            let presented = Presented::parse(text.as_bytes()).unwrap();
            house.guard.is_for_us(&presented, &house.policy)
        };
        let nonce = house.nonce(1, 1);
        let ours = sign("anna", "x", &nonce, 1);
        assert!(is_ours(&ours));
        assert!(!is_ours(
            &ours.replace("realm=\"example.com\"", "realm=\"pbx\"")
        ));
        assert!(!is_ours(&sign("anna", "x", "5ca1ab1e", 1)));
    }
}
