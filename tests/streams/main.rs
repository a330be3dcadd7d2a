//! Connections: a whole server on loopback, with real sockets on all sides.
#![expect(
    clippy::disallowed_methods,
    reason = "phones have sockets, and wait for what they can see"
)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod balancer;
mod certificates;
mod peer;
mod site;
mod tcp;
mod tls;
mod websocket;
