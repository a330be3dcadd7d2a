//! Calls through the real binary, with SIPp as caller, PBX, voicemail and mobile phone.
//!
//! `make test` runs them: it installs SIPp and sets `POINTSMAN_REAL_PEERS`. Without that variable
//! each test says that it was left out. The scenarios are `fixtures/sipp/*.xml`; what is checked
//! is what each side got, the API's account of it, and that no call is left.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![expect(unreachable_pub, reason = "the modules of a test binary share")]
#![expect(
    clippy::disallowed_methods,
    reason = "these tests live in real time and on real sockets"
)]

mod baresip;
mod browser;
mod browsing;
mod cancelling;
mod certificates;
mod connecting;
mod crowding;
mod diverting;
mod failing;
mod handshaking;
mod losing;
#[path = "../network/mod.rs"]
mod network;
mod phone;
mod phones;
mod probing;
mod program;
mod publishing;
mod refusing;
mod relay;
mod resolving;
mod running;
mod scanning;
mod server;
mod sipp;
mod stage;
mod streaming;
mod wait;
