//! What a document says about a subscriber's password, and what is kept of it.

use super::model::Subscriber;
use super::profile::Profile;
use crate::auth::{Credentials, Gap, Hashing, Password};

/// What a document says about the password. Never written as part of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum PasswordWish {
    /// Nothing: what is kept stays.
    #[default]
    Unsaid,
    /// `null`: there is none from now on.
    Removed,
    /// This one; it becomes digests before anything is stored.
    Clear(Password),
    /// These digests: what is kept, or what another server's export brought.
    Digests(Credentials),
}

impl PasswordWish {
    /// The digests, where there are any.
    pub fn credentials(&self) -> Option<&Credentials> {
        match self {
            Self::Digests(credentials) => Some(credentials),
            Self::Unsaid | Self::Removed | Self::Clear(_) => None,
        }
    }

    /// Whether it is a new password that will be guessed.
    pub fn is_short(&self) -> bool {
        matches!(self, Self::Clear(password) if password.is_short())
    }

    /// What the document says when it is put over one that has `kept`.
    pub(super) fn over(self, kept: Option<&Credentials>) -> Self {
        match self {
            Self::Unsaid => kept.cloned().map_or(Self::Unsaid, Self::Digests),
            Self::Removed => Self::Unsaid,
            said => said,
        }
    }
}

impl Subscriber {
    /// Makes digests of a password for every name that the subscriber's phones may send, and
    /// forgets the password. To be called when the aliases have their canonical form.
    #[must_use]
    pub fn with_digests(mut self, hashing: &Hashing) -> Self {
        if let PasswordWish::Clear(password) = &self.password {
            let lower = self.id.to_ascii_lowercase();
            let lower = (lower != self.id).then_some(lower);
            let names = std::iter::once(self.id.as_str())
                .chain(lower.as_deref())
                .chain(self.aliases.iter().map(String::as_str));
            self.password = PasswordWish::Digests(hashing.credentials(password, names));
        }
        self
    }
}

impl Profile {
    /// What keeps this subscriber's phones from authenticating, although there is a password.
    pub fn password_gaps(&self, hashing: &Hashing) -> Vec<Gap> {
        let gaps = |credentials: &Credentials| {
            let names = std::iter::once(self.id()).chain(self.aliases());
            credentials.gaps(hashing, names)
        };
        self.credentials().map(gaps).unwrap_or_default()
    }
}
