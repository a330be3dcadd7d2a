//! The notifier of RFC 6665: who watches whom, and what watchers are shown.
//!
//! Phones subscribe to `presence` (RFC 3856) and `dialog` (RFC 4235, the lamp beside a name); each
//! change of what they may see goes out as the whole state, so a lost notification is mended by the
//! next. A subscription is in the store before it is acknowledged: after a restart every watcher is
//! told how things are. This folder holds the one XML that there is; it knows messages and presence,
//! no sockets, clock or transactions: the proxy brings requests and the time, and sends what is written.
//!
//! Entry points: [`Asked::read`] for a SUBSCRIBE, [`Ledger`] for what is kept of it, [`see`] and
//! [`write_document`] for what a watcher is shown, [`Notify`] for how it goes out.

mod asked;
mod dialog_info;
mod ledger;
mod notify;
mod package;
mod pidf;
mod record;
mod refusal;
mod seen;
mod subscription;
mod xml;

pub use asked::{Asked, event_of, unfolded};
pub use ledger::Ledger;
pub use notify::{Notify, write_contact};
pub use package::{Package, Packages};
pub use refusal::Refusal;
pub use seen::{Seen, Sight, see};
pub use subscription::{Dialog, End, RESERVED_CSEQ, Subscription, WayBack};

use std::ops::Range;

/// What the administrator allows watchers (`[events]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// What is answered here; the rest goes on as any other request.
    pub packages: Packages,
    /// What a subscription gets that asks for more, seconds.
    pub max_expires_s: u32,
    /// How many subscriptions one watcher may have.
    pub per_watcher: usize,
    /// How many there may be in all.
    pub limit: usize,
    /// Whether the lamp of somebody who is not to be disturbed is lit as in a call.
    pub lamp_shows_dnd: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            packages: Packages::default(),
            max_expires_s: 7_200,
            per_watcher: 1_000,
            limit: 100_000,
            lamp_shows_dnd: false,
        }
    }
}

/// Appends the document of a package: what a watcher sees of `entity`. `version` counts the dialog
/// documents of a subscription (RFC 4235 §4.1); where it stands comes back, as two documents that differ
/// in it only say the same.
pub fn write_document(
    package: Package,
    seen: &Seen<'_>,
    (entity, version): (&str, u32),
    rules: &Rules,
    out: &mut Vec<u8>,
) -> Range<usize> {
    match package {
        Package::Presence => {
            pidf::write(seen, entity, out);
            0..0
        }
        Package::Dialog => dialog_info::write(seen, (entity, version), rules.lamp_shows_dnd, out),
    }
}
