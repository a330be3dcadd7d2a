//! What is broken or hostile: every class has a corpus in `fixtures/malformed` with a verdict for
//! each file, and a property that holds for all of its members. The engine itself is asked, and the
//! stream framer.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that finds something else than it expects has failed"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod anomalies;
mod corpus;
mod edges;
mod fields;
mod letter;
mod relayed;
mod responses;
mod sequences;
mod torture;
mod verdict;
