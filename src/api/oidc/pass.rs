//! The secret of one way to the provider and back.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::api::auth::{Origin, hex};

/// The cookie of those who are on the way.
pub(super) const COOKIE: &str = "pointsman_sign_in";
/// How long somebody may take at the provider.
const WAY_S: u32 = 900;

/// The secret of one way out and back.
pub(super) struct Pass(pub String);

impl Pass {
    pub(super) fn state(&self) -> String {
        self.part("state")
    }

    pub(super) fn nonce(&self) -> String {
        self.part("nonce")
    }

    pub(super) fn verifier(&self) -> String {
        self.part("verifier")
    }

    /// None of the parts tells of another.
    pub(super) fn part(&self, name: &str) -> String {
        hex(&Sha256::digest(format!("{name}\n{}", self.0).as_bytes()))
    }

    pub(super) fn has_state(&self, state: &str) -> bool {
        self.state().as_bytes().ct_eq(state.as_bytes()).into()
    }

    /// Sent along when the provider leads back, therefore not `Strict`.
    pub(super) fn cookie(&self, origin: &Origin) -> String {
        cookie(&self.0, WAY_S, origin)
    }

    pub(super) fn none(origin: &Origin) -> String {
        cookie("", 0, origin)
    }
}

fn cookie(secret: &str, life_s: u32, origin: &Origin) -> String {
    let secure = if origin.is_secure { "; Secure" } else { "" };
    format!(
        "{COOKIE}={secret}; Path=/api/v1/session/oidc; Max-Age={life_s}; HttpOnly; \
         SameSite=Lax{secure}"
    )
}
