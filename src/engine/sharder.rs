//! Which shard a message belongs to, told before any shard has seen it.

use super::shard_of;
use crate::message::{Malformed, Message};
use crate::proxy::Keys;

/// Finds the owner of a call as [`Engine::handle`] does: whoever receives messages for all shards
/// spares them the handing over.
///
/// [`Engine::handle`]: super::Engine::handle
pub struct Sharder {
    keys: Keys,
    shards: u16,
}

impl Sharder {
    /// The owners among `shards` shards, under the store's secret.
    pub fn new(secret: &[u8; 32], shards: u16) -> Self {
        Self {
            keys: Keys::new(secret),
            shards,
        }
    }

    /// The owner. What cannot be read as a message has no call: the first shard counts it.
    pub fn owner(&self, message: &Result<Message<'_>, Malformed>) -> u16 {
        let Ok(message) = message else {
            return 0;
        };
        let call_id = message.call_id().unwrap_or_default();
        shard_of(self.keys.call(call_id), self.shards)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Index;

    #[test]
    fn the_call_id_alone_chooses_the_shard() {
        let sharder = Sharder::new(&[7; 32], 8);
        let mut index = Index::new();
        let mut owner = |text: &str| sharder.owner(&index.parse(text.as_bytes()));
        let mut seen = std::collections::HashSet::new();
        for number in 0..100 {
            let invite = owner(&format!(
                "INVITE sip:a@b SIP/2.0\r\nCall-ID: {number}\r\n\r\n"
            ));
            let answer = owner(&format!("SIP/2.0 200 OK\r\ni: {number}\r\nVia: x\r\n\r\n"));
            assert_eq!(invite, answer);
            seen.insert(invite);
        }
        assert_eq!(seen.len(), 8);
        assert_eq!(owner("hello"), 0);
    }
}
