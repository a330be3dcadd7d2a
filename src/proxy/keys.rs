//! Keyed hashes of what comes from the network, and the token in our Record-Route.

use siphasher::sip::SipHasher13;

use crate::message::{Method, Via};

/// Hashes under the store's secret, so nobody can aim at a table's slot or forge a token, and what
/// is in the store still matches after a restart.
pub struct Keys {
    call: SipHasher13,
    tag: SipHasher13,
    token: SipHasher13,
    check: SipHasher13,
    run: u64,
}

impl Keys {
    /// Derives the four keys from the store's secret.
    pub fn new(secret: &[u8; 32]) -> Self {
        let word = |at: usize| {
            secret.get(at..at + 8).map_or(0, |bytes| {
                bytes
                    .iter()
                    .fold(0u64, |word, byte| word << 8 | u64::from(*byte))
            })
        };
        let hasher = |purpose: u64| {
            SipHasher13::new_with_keys(word(0) ^ word(16) ^ purpose, word(8) ^ word(24))
        };
        Self {
            call: hasher(1),
            tag: hasher(2),
            token: hasher(3),
            check: hasher(4),
            run: 0,
        }
    }

    /// The same keys for one run of the process: its branches differ from those of every other
    /// run, although slots and generations begin anew (RFC 3261 §8.1.1.7).
    #[must_use]
    pub fn for_run(self, started_unix_ms: i64) -> Self {
        Self {
            run: self.check.hash(&started_unix_ms.to_le_bytes()),
            ..self
        }
    }

    /// The Call-ID's hash: chooses the shard and finds the call.
    pub fn call(&self, call_id: &[u8]) -> u64 {
        self.call.hash(call_id)
    }

    /// A tag's hash; an absent tag is the empty one.
    pub fn tag(&self, tag: &[u8]) -> u64 {
        self.tag.hash(tag)
    }

    /// The token in our Record-Route: who presents it is in a dialog that we put ourselves into.
    pub fn token(&self, call_key: u64) -> u64 {
        self.token.hash(&call_key.to_le_bytes())
    }

    /// The proof that a flow token is ours, of this run.
    pub fn flow(&self, token: &[u8]) -> u64 {
        mix(self.token.hash(token), self.run)
    }

    /// A subscriber's key in the journal.
    pub fn subscriber(&self, id: &[u8]) -> u64 {
        self.tag.hash(id)
    }

    /// What finds a server transaction (RFC 3261 §17.2.3): branch, sent-by and method, within the
    /// call. ACK and CANCEL find the INVITE's. `fallback` stands in for the branch of an RFC 2543
    /// client.
    pub fn transaction(&self, call_key: u64, via: &Via<'_>, method: Method, fallback: u64) -> u64 {
        let class = match method {
            Method::Invite | Method::Ack | Method::Cancel => 1,
            _ => 2,
        };
        let branch = if via.has_rfc3261_branch() {
            self.tag.hash(via.branch)
        } else {
            mix(self.tag.hash(via.bytes), fallback)
        };
        let sent_by = mix(fold(via.host), u64::from(via.port.unwrap_or(5060)));
        mix(mix(call_key, branch), mix(sent_by, class))
    }

    /// What routing depends on, in 32 bits of our branch (RFC 3261 §16.6(8)): the same request
    /// coming back unchanged has the same check, within a run.
    pub fn check(&self, call_key: u64, uri: &[u8], cseq: u32) -> u32 {
        let routing = mix(mix(call_key, u64::from(cseq)), self.check.hash(uri));
        mix(routing, self.run) as u32
    }
}

/// The shard that owns a call. The key is a keyed hash under the store's secret, so calls of an
/// earlier run find their shard again.
pub fn shard_of(call_key: u64, shards: u16) -> u16 {
    ((u128::from(call_key) * u128::from(shards)) >> 64) as u16
}

/// A hash without a key, for what is folded into one with a key.
fn fold(text: &[u8]) -> u64 {
    let (words, rest) = text.as_chunks::<8>();
    let rest = rest
        .iter()
        .fold(0, |word, byte| word << 8 | u64::from(*byte));
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    words.fold(mix(rest, text.len() as u64), mix)
}

/// Folds two hashes into one.
pub(super) fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xd6e8_feb8_6659_fd93);
    (product as u64) ^ ((product >> 64) as u64) ^ a.rotate_left(17)
}
