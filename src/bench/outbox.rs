//! What is to be sent, in order, until the host takes the batch: one buffer, no allocation each.

use std::net::SocketAddr;
use std::ops::Range;

use super::plan::Seat;

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// Which seat sends it.
    pub seat: Seat,
    /// To which address.
    pub to: SocketAddr,
    /// Over which connection it came, for an answer; `None` for the one to `to`, and over UDP.
    pub connection: Option<u32>,
}

/// The messages to be sent.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    messages: Vec<(Range<usize>, Hop)>,
}

impl Outbox {
    /// Appends what `write` writes as one message.
    #[inline]
    pub(super) fn push(&mut self, hop: Hop, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.messages.push((start..self.bytes.len(), hop));
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// All messages, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Hop, &[u8])> {
        self.messages
            .iter()
            .map(|(range, hop)| (*hop, self.bytes.get(range.clone()).unwrap_or_default()))
    }

    /// Forgets what was sent; the room stays.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.messages.clear();
    }
}
