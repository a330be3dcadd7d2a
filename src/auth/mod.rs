//! Digest authentication (RFC 7616, RFC 8760, RFC 3261 §22), and what becomes of those who fail.
//!
//! What a client presents is read leniently and judged strictly; challenges are written; nonces are
//! made from time and a keyed hash, so that nothing is kept before somebody has authenticated; of a
//! password only digests are kept. Sources that fail again and again are slowed down, then banned.
//!
//! Nothing here knows sockets, the clock or subscribers: time and digests come in as arguments.
//!
//! Entry points: [`Presented::parse`], [`Guard`] for a process, [`Credentials`] for a subscriber,
//! [`AuthPolicy`] for what is configured.

mod algorithm;
mod bans;
mod challenge;
mod credentials;
mod digest;
mod fields;
mod guard;
mod nonce;
mod policy;
mod presented;
mod replay;

pub use algorithm::{Algorithm, Hash};
pub use bans::{Answer, Ban, BanRules, Bans, Offence, Source};
pub use challenge::{Challenge, Side};
pub use credentials::{Credentials, Gap, Hashing, PASSWORD_LIMIT_BYTES, Password};
pub use digest::matches;
pub use fields::{Field, fields, scheme};
pub use guard::{Guard, Judged, Presentation, Verdict};
pub use nonce::{NonceId, NonceState, Nonces};
pub use policy::{AuthPolicy, Methods};
pub use presented::Presented;
pub use replay::{Counted, Replays};
