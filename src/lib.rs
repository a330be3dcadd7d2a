//! pointsman sets the points for calls: a presence-aware SIP routing engine in front of a PBX.
//!
//! # The way of an INVITE
//!
//! 1. A datagram comes in on a shard's socket: `net` receives it in a batch, reads the clock once and
//!    gives both to [`engine::Engine::handle`]. What comes over TCP, TLS or WebSocket is cut into
//!    messages first ([`message::Framer`]). From here on there is no I/O, no clock and no lock.
//! 2. [`message::Index::parse`] notes where its fields are. Nothing is copied; what is not understood
//!    stays as it is. The Call-ID's keyed hash says which shard owns the call
//!    ([`engine::shard_of`]).
//! 3. [`proxy::Proxy::handle_request`] finds its server transaction, or checks it once and routes it
//!    (RFC 3261 §16.3 to §16.5): it belongs to a dialog, is for one of ours, dials a feature code
//!    (`proxy::codes`), must be authenticated first ([`auth`]), or is refused. Where more comes than
//!    can be handled, `proxy::overload` gives it up before any state is made.
//! 4. For one of ours, `proxy::setup` looks the callee up in the [`presence::Directory`], wait-free,
//!    and asks **[`routing::decide()`]: the function that decides**. It is pure: a question of plain
//!    data gives a [`routing::Decision`], a plan with its reasons.
//! 5. `proxy::carry_out` does what the plan says: branches to the PBX or to the callee's registered
//!    phones (`proxy::target`; edits over the received bytes), a 302, a branch to another target, or
//!    a rejection. A branch that fails tries the next hop of its target, then the next targets
//!    (`proxy::failover`); then the call is decided again by [`routing::decide_after`].
//! 6. The 2xx opens a [`call`] record: it marks both parties as in a call, and a copy of it stands in
//!    the [`store`] before the 2xx goes on. The BYE closes it. The journal, the events and the
//!    metrics come from the same record; phones that watch either of them are told (`proxy::tell`).
//! 7. What is to be sent waits in the [`engine::Outbox`], each message with its hop: listener,
//!    address and connection. The host sends the batch.
//!
//! # The map
//!
//! | module | what it is |
//! |---|---|
//! | [`message`] | bytes to meaning and back: the lazy index, edits, typed fields, responses |
//! | [`transaction`] | RFC 3261 §17 with RFC 6026: four machines, their timers, the wheel, the table |
//! | [`auth`] | Digest: challenges, credentials, nonces; who fails is slowed down and shut out |
//! | [`presence`] | subscribers, statuses, settings; the directory that routing reads; the roster that writes |
//! | [`routing`] | `decide`: pure |
//! | [`call`] | the record of each open call, marks, journal entries |
//! | [`proxy`] | RFC 3261 §16: response contexts, branches, CANCEL, redirect, retarget |
//! | [`event`] | RFC 6665: who watches whom; PIDF and dialog-info for phones |
//! | [`registrar`] | RFC 3261 §10: bindings of subscribers' phones, for running without a PBX |
//! | [`engine`] | the sans-IO whole of one shard |
//! | [`net`] | the only place that touches sockets, the clock and the operating system |
//! | [`config`] | the TOML file, and what it is compiled to |
//! | [`api`] | HTTP: subscribers, statuses, settings, calls, `explain`, events, metrics |
//! | [`cli`] | one file for each subcommand; talks to the running server by its API |
//! | [`bench`](mod@bench) | the load generator: calls played without sockets and clock, checked, counted, timed |
//! | [`store`] | one trait for what outlives the process; redb and mapped files behind it |
//! | `ahead` | asking for memory before it is read |
//!
//! # Words of ours
//!
//! - *plan*: what is to be done with one INVITE. *Decision*: the plan with its *reasons*.
//! - *base status*: the status somebody is in by choice or rule. *Overlay*: the computed fact of being
//!   in a call that is laid over it, never stored.
//! - *shard*: one engine with its socket, thread and calls. All messages of a call meet on one.
//! - *mark*: that a subscriber is in a call or rings; it belongs to the call's record.

mod ahead;
pub mod api;
pub mod auth;
pub mod bench;
pub mod call;
pub mod cli;
pub mod config;
pub mod engine;
pub mod event;
pub mod message;
pub mod net;
pub mod presence;
pub mod proxy;
pub mod registrar;
pub mod routing;
pub mod store;
pub mod transaction;
