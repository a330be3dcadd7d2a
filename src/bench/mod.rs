//! The load generator: plays callers, callees and voicemail against any SIP proxy, checks every
//! message, counts and times.
//!
//! Everything here is without sockets and without a clock: messages and the time come in, messages
//! go out. The host in `net` owns sockets and threads; the command line says what to play and shows
//! what came of it. Nothing is allocated for a message once the slab of calls is warm.
//!
//! A call's identity stands in its branch, its Call-ID and its tags, so an answer finds its call by
//! index. Times count from when a call was *due*: a server that stalls is seen in the latency of
//! the calls that could not be placed meanwhile.
//!
//! Entry point: [`Generator`], which plays a [`Plan`]; a [`Schedule`] says when calls are due.

mod callee;
mod caller;
mod calls;
mod challenged;
mod check;
mod dialog;
mod digest;
mod generator;
mod ident;
mod outbox;
mod pace;
mod plan;
mod ramp;
mod reflector;
mod strays;
mod tally;
mod targets;
mod template;
mod templates;
#[cfg(test)]
mod tests;
mod timers;
mod watcher;
mod writer;

pub use check::Wrong;
pub use generator::Generator;
pub use outbox::{Hop, Outbox};
pub use pace::{Pace, Schedule};
pub use plan::{Checks, Credentials, Event, Item, Plan, Scenario, Seat, Times, is_near};
pub use ramp::{Bar, Ramp, Step, StepResult};
pub use reflector::Reflector;
pub use tally::{Counts, Outcome, Sample, Tally, Times as Latencies};
pub use targets::{Targets, TargetsError};
pub use template::TemplateError;
pub use templates::Templates;
