//! The record of each INVITE dialog, and what derives from it: in-call marks and the journal.
//!
//! A record opens on the 2xx and closes on the BYE, on a failed dialog, at the end of its session
//! timer or at the hard limit. The marks belong to the record, so their sum is the records' sum at
//! every moment. This folder must not know sockets, transactions or decisions. Entry point:
//! [`Calls`].

mod ended;
mod identity;
mod journal;
mod record;
mod table;
mod wire;

pub use identity::Identity;
pub use journal::{Entry, EntryKind};
pub use record::{CallRecord, RECORD_LIMIT};
pub use table::{CallId, Calls, Parties};
