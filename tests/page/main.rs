//! The page in a real browser: Debian's Chromium, driven over WebDriver.
//!
//! `make test` runs them: it installs chromium and chromium-driver and sets `POINTSMAN_REAL_PEERS`.
//! Without a browser each test says that it was left out. Pictures of every view, on a desk and on a
//! phone, in light and dark, are drawn into `target/page`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![expect(unreachable_pub, reason = "the modules of a test binary share")]
#![expect(
    clippy::disallowed_methods,
    reason = "these tests live in real time and on real sockets"
)]

mod browser;
mod crowd;
mod journey;
mod lamps;
mod looks;
mod personal;
mod provider;
mod server;
#[path = "../../src/api/tests/signer.rs"]
mod signer;
mod uses;
mod words;
