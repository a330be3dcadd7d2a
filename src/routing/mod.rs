//! What happens to one call, decided from plain data.
//!
//! [`decide()`] answers the first question, where an INVITE for a subscriber goes; [`decide_after`]
//! the second, where it goes when the subscriber could not be connected. Both follow forwardings
//! from subscriber to subscriber, so that one INVITE gets its final answer, and say why.
//!
//! This folder does no I/O, reads no clock and knows no transaction or message; the same question
//! always has the same answer.
//!
//! Entry points: [`decide()`], [`decide_after`], [`Question`], [`Decision`].

mod after;
mod decide;
mod decision;
mod describe;
mod question;
mod reason;
#[cfg(test)]
mod table;

pub use crate::presence::CallerClass;
pub use decide::{decide, decide_after};
pub use decision::{
    Cause, Connect, Decision, Destination, Divert, Hop, Hops, Plan, Reasons, Rejection,
};
pub use describe::Names;
pub use question::{Caller, Failure, History, Lookup, Mode, Question, Subscribers};
pub use reason::Reason;
