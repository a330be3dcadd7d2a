//! What is configured about authentication, compiled for the call path.

use super::algorithm::Algorithm;
use super::bans::BanRules;
use super::credentials::Hashing;
use crate::message::Method;

/// Which requests must prove who sends them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Methods {
    bits: u32,
    all: bool,
}

impl Methods {
    /// None: digest is switched off.
    pub const NONE: Self = Self {
        bits: 0,
        all: false,
    };

    /// Every method that can be challenged.
    pub const ALL: Self = Self { bits: 0, all: true };

    /// These methods.
    pub fn of(methods: impl IntoIterator<Item = Method>) -> Self {
        let bits = methods
            .into_iter()
            .fold(0, |bits, method| bits | 1 << method as u32);
        Self { bits, all: false }
    }

    /// Whether a method is among them. ACK and CANCEL never are: they cannot be sent again with
    /// credentials (RFC 3261 §22.1).
    pub fn holds(self, method: Method) -> bool {
        !matches!(method, Method::Ack | Method::Cancel)
            && (self.all || self.bits & 1 << method as u32 != 0)
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }
}

/// Who must authenticate, how, and what happens to those who fail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthPolicy {
    /// Which requests are challenged.
    pub methods: Methods,
    /// The realm; no quotes, backslashes or control characters.
    pub realm: Box<str>,
    /// Whether MD5 is offered and accepted beside SHA-256 and SHA-512/256.
    pub md5: bool,
    /// Whether MD5 alone is, for phones that cannot choose.
    pub md5_only: bool,
    /// How long a nonce is good, seconds.
    pub nonce_s: u32,
    /// Whether we are the registrar. Else REGISTER, PUBLISH and SUBSCRIBE are the PBX's to
    /// challenge.
    pub registrar_is_local: bool,
    /// Who is shut out.
    pub bans: BanRules,
}

impl AuthPolicy {
    /// Nobody is challenged and nobody banned.
    pub fn off() -> Self {
        Self {
            methods: Methods::NONE,
            realm: "localhost".into(),
            md5: false,
            md5_only: false,
            nonce_s: 300,
            registrar_is_local: false,
            bans: BanRules::off(),
        }
    }

    /// The algorithms on offer, the preferred first (RFC 8760 §2.4).
    pub fn algorithms(&self) -> &'static [Algorithm] {
        match (self.md5_only, self.md5) {
            (true, _) => &[Algorithm::Md5],
            (false, true) => &Algorithm::ALL,
            (false, false) => &[Algorithm::Sha256, Algorithm::Sha512_256],
        }
    }

    /// Whether a request of that method from somebody we do not know is challenged, if it begins
    /// something new in a domain of ours.
    pub fn challenges(&self, method: Method) -> bool {
        let is_registrars = matches!(
            method,
            Method::Register | Method::Publish | Method::Subscribe
        );
        self.methods.holds(method) && (self.registrar_is_local || !is_registrars)
    }

    /// Whether strangers must not learn which names there are: phones register with us, and prove
    /// who they are.
    pub fn hides_names(&self) -> bool {
        self.registrar_is_local && !self.methods.is_empty()
    }

    /// How passwords are kept under this policy.
    pub fn hashing(&self) -> Hashing {
        Hashing {
            realm: self.realm.clone(),
            md5: self.md5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ack_and_cancel_are_never_challenged() {
        for method in [Method::Ack, Method::Cancel] {
            assert!(!Methods::ALL.holds(method));
            assert!(!Methods::of([method]).holds(method));
        }
        assert!(Methods::ALL.holds(Method::Other));
        assert!(Methods::of([Method::Invite]).holds(Method::Invite));
        assert!(!Methods::of([Method::Invite]).holds(Method::Bye));
    }

    #[test]
    fn what_the_pbx_answers_is_the_pbxs_to_challenge() {
        let methods = [Method::Register, Method::Publish, Method::Invite];
        let mut policy = AuthPolicy {
            methods: Methods::of(methods),
            ..AuthPolicy::off()
        };
        assert!(!policy.challenges(Method::Register) && !policy.challenges(Method::Publish));
        assert!(policy.challenges(Method::Invite));
        policy.registrar_is_local = true;
        assert!(policy.challenges(Method::Register) && policy.challenges(Method::Publish));
        assert!(!policy.challenges(Method::Subscribe));
    }
}
