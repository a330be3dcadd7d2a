//! What an engine wants sent: one arena of bytes per batch, so relaying allocates nothing.

use std::net::SocketAddr;

/// Messages to send, in order. The host sends them all and clears the box.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    transmits: Vec<Transmit>,
}

/// One datagram to send: a range of the outbox's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// Destination.
    pub to: SocketAddr,
    /// Index of the listener whose socket sends it.
    pub listener: u8,
    start: u32,
    end: u32,
}

impl Outbox {
    /// An empty box; it keeps its capacity over [`Outbox::clear`].
    pub fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(256 * 1024),
            transmits: Vec::with_capacity(256),
        }
    }

    /// Adds a datagram that `write` appends to the arena, and shows it to the caller.
    pub fn send(
        &mut self,
        to: SocketAddr,
        listener: u8,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> &[u8] {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let end = self.bytes.len();
        self.transmits.push(Transmit {
            to,
            listener,
            start: start as u32,
            end: end as u32,
        });
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// What is to be sent, in order.
    pub fn transmits(&self) -> &[Transmit] {
        &self.transmits
    }

    /// The bytes of one transmit.
    pub fn payload(&self, transmit: &Transmit) -> &[u8] {
        self.bytes
            .get(transmit.start as usize..transmit.end as usize)
            .unwrap_or_default()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.transmits.is_empty()
    }

    /// Forgets all, keeps the capacity.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.transmits.clear();
    }
}
