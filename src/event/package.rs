//! The event packages that are served here (RFC 6665 §7.2).

use serde::Serialize;

/// One package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Package {
    /// The status of a person (RFC 3856), as PIDF with RPID.
    Presence,
    /// Whether a person's phones ring or are in a call (RFC 4235): the busy lamp field.
    Dialog,
}

impl Package {
    /// Every package.
    pub const ALL: [Self; 2] = [Self::Presence, Self::Dialog];

    /// The name in Event headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Dialog => "dialog",
        }
    }

    /// What its documents are (RFC 3863 §5.1, RFC 4235 §5.1).
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Presence => "application/pidf+xml",
            Self::Dialog => "application/dialog-info+xml",
        }
    }

    /// The package of that name; names are compared byte by byte (RFC 6665 §8.2.1).
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|package| package.name().as_bytes() == name)
    }
}

/// Some packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Packages(u8);

impl Packages {
    /// These.
    pub fn of(packages: impl IntoIterator<Item = Package>) -> Self {
        Self(
            packages
                .into_iter()
                .fold(0, |all, package| all | 1 << package as u8),
        )
    }

    /// Whether it is among them.
    pub const fn has(self, package: Package) -> bool {
        self.0 & 1 << package as u8 != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// All of them, in a stable order.
    pub fn iter(self) -> impl Iterator<Item = Package> {
        Package::ALL
            .into_iter()
            .filter(move |package| self.has(*package))
    }
}
