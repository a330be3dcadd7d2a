//! The call flows that the RFCs print, as far as a proxy is in them: RFC 3665 §3 between two proxies,
//! and the services of RFC 5359. The messages are ours, in the shape printed there; what is compared
//! is who gets which message in which order, and the fields that a proxy answers for.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that finds something else than it expects has failed"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod basic;
mod services;
mod transfers;
mod trapezoid;
