//! What an engine wants sent: one arena of bytes per batch, so relaying allocates nothing.

use super::hop::Hop;
use crate::message::Edits;

/// Messages to send, in order. The host sends them all and clears the box.
#[derive(Debug, Default)]
pub struct Outbox(Box<Contents>);

/// In memory of their own, as boxes are exchanged for each input.
#[derive(Debug, Default)]
struct Contents {
    bytes: Vec<u8>,
    transmits: Vec<Transmit>,
    edited: Vec<u8>,
}

/// One message to send: a range of the outbox's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where it goes.
    pub hop: Hop,
    start: u32,
    end: u32,
}

impl Outbox {
    /// An empty box; it keeps its capacity over [`Outbox::clear`].
    pub fn new() -> Self {
        Self(Box::new(Contents {
            bytes: Vec::with_capacity(256 * 1024),
            transmits: Vec::with_capacity(256),
            edited: Vec::new(),
        }))
    }

    /// Adds a message that `write` appends to the arena, and shows it to the caller.
    pub fn send(&mut self, hop: &Hop, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        let Contents {
            bytes, transmits, ..
        } = &mut *self.0;
        let start = bytes.len();
        write(bytes);
        let end = bytes.len();
        transmits.push(Transmit {
            hop: hop.clone(),
            start: start as u32,
            end: end as u32,
        });
        bytes.get(start..end).unwrap_or_default()
    }

    /// Edits one of the messages; whether there is such a one.
    pub(super) fn edit(&mut self, number: usize, edits: &Edits) -> bool {
        let Contents {
            bytes,
            transmits,
            edited,
        } = &mut *self.0;
        let Some(transmit) = transmits.get_mut(number) else {
            return false;
        };
        let range = transmit.start as usize..transmit.end as usize;
        edited.clear();
        edits.apply(bytes.get(range).unwrap_or_default(), edited);
        transmit.start = bytes.len() as u32;
        bytes.extend_from_slice(edited);
        transmit.end = bytes.len() as u32;
        true
    }

    /// What is to be sent, in order.
    pub fn transmits(&self) -> &[Transmit] {
        &self.0.transmits
    }

    /// The bytes of one transmit.
    pub fn payload(&self, transmit: &Transmit) -> &[u8] {
        self.0
            .bytes
            .get(transmit.start as usize..transmit.end as usize)
            .unwrap_or_default()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.transmits.is_empty()
    }

    /// Forgets all, keeps the capacity.
    pub fn clear(&mut self) {
        self.0.bytes.clear();
        self.0.transmits.clear();
    }
}
