//! Call flows through the engine in virtual time: what each side sends and receives.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that finds something else than it expects has failed"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod authenticating;
mod banning;
mod breadth;
mod calls;
mod cancelling;
mod chatting;
mod codes;
mod dialogs;
mod diverting;
mod failing;
mod failover;
mod forking;
mod found;
mod identity;
mod naming;
mod nodes;
mod originating;
mod outside;
mod overload;
mod paths;
mod publishing;
mod refusing;
mod registering;
mod requiring;
mod sessions;
mod sharing;
mod transports;
mod watching;
