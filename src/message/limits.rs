//! How much of anything one message may hold: every limit of the message layer, in one place.
//!
//! RFC 3261 sets none, so each is far above what well-behaved peers send and low enough that one
//! message costs a bounded amount of work and memory. What exceeds a limit is refused by
//! [`super::check()`] with the status of its [`super::Fault`]; a response is dropped.
//! `docs/limits.md` has the same table.

/// The largest request that is relayed, in bytes: our own lines still fit into a UDP datagram after
/// it. Above it 513.
pub const MESSAGE_BYTES: usize = 64_000;

/// How many header lines a message may have, continuation lines counting with theirs.
pub const HEADERS: usize = 256;

/// The longest header line in bytes, with its continuation lines and line ends.
pub const HEADER_BYTES: usize = 8_192;

/// The longest Request-URI in bytes. Above it 414.
pub const URI_BYTES: usize = 4_096;

/// How many Vias a request may have: as many as hops that a Max-Forwards of 70 allows. Above it
/// 483. A response may have one more, which is ours.
pub const VIAS: usize = 70;

/// How many Route values a request may have.
pub const ROUTES: usize = 70;

/// How many Contact values a request may have.
pub const CONTACTS: usize = 100;

/// How many Authorization lines a request may have, and how many Proxy-Authorization lines.
pub const CREDENTIALS: usize = 16;

/// The longest Call-ID in bytes.
pub const CALL_ID_BYTES: usize = 1_024;

/// The longest tag of a From or To in bytes.
pub const TAG_BYTES: usize = 512;

/// The longest branch of a Via in bytes.
pub const BRANCH_BYTES: usize = 512;
