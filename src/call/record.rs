//! The record of one open call, as it is kept on disk and shown by the API.

use super::wire::{Reader, Writer};

/// Longest texts kept of a message; longer ones are cut, matching never depends on them.
const CALL_ID_LIMIT: usize = 72;
const FROM_LIMIT: usize = 64;
const TO_LIMIT: usize = 40;
const REASONS_LIMIT: usize = 40;
/// The largest encoded record: what a slot of the store holds.
pub const RECORD_LIMIT: usize = 480;
const VERSION: u8 = 2;

/// One INVITE dialog, from its 2xx on. Borrowed from the message, or from an encoded record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallRecord<'a> {
    /// The keyed hash of the Call-ID: chooses the shard and finds the record.
    pub key: u64,
    /// Keyed hash of the caller's tag (From of the INVITE).
    pub caller_tag: u64,
    /// Keyed hash of the callee's tag (To of the 2xx).
    pub callee_tag: u64,
    /// When the INVITE came, milliseconds since 1970.
    pub invited_unix_ms: i64,
    /// When the 2xx came, milliseconds since 1970.
    pub answered_unix_ms: i64,
    /// How long the callee rang, milliseconds.
    pub ring_ms: u32,
    /// When the record ends by itself, milliseconds since 1970.
    pub ends_unix_ms: i64,
    /// The negotiated session interval (RFC 4028), seconds; 0 where there is none.
    pub session_expires_s: u32,
    /// The Call-ID, possibly cut.
    pub call_id: &'a [u8],
    /// The caller's address as shown to people.
    pub from: &'a [u8],
    /// The address that was called.
    pub to: &'a [u8],
    /// The calling subscriber's id, empty for anybody else.
    pub caller: &'a [u8],
    /// The id of the subscriber who answered, empty for anybody else.
    pub callee: &'a [u8],
    /// The id of the subscriber called first, empty where it is the one who answered.
    pub first_called: &'a [u8],
    /// The decision's reasons as labels, separated by commas, possibly cut.
    pub reasons: &'a [u8],
}

impl<'a> CallRecord<'a> {
    /// Appends the encoded record, at most [`RECORD_LIMIT`] bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.u8(VERSION);
        writer.u64(self.key);
        writer.u64(self.caller_tag);
        writer.u64(self.callee_tag);
        writer.i64(self.invited_unix_ms);
        writer.i64(self.answered_unix_ms);
        writer.u32(self.ring_ms);
        writer.i64(self.ends_unix_ms);
        writer.u32(self.session_expires_s);
        writer.text(self.call_id, CALL_ID_LIMIT);
        writer.text(self.from, FROM_LIMIT);
        writer.text(self.to, TO_LIMIT);
        writer.text(self.caller, 64);
        writer.text(self.callee, 64);
        writer.text(self.first_called, 64);
        writer.text(self.reasons, REASONS_LIMIT);
    }

    /// Reads an encoded record; `None` where it is not one of this version.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return None;
        }
        Some(Self {
            key: reader.u64()?,
            caller_tag: reader.u64()?,
            callee_tag: reader.u64()?,
            invited_unix_ms: reader.i64()?,
            answered_unix_ms: reader.i64()?,
            ring_ms: reader.u32()?,
            ends_unix_ms: reader.i64()?,
            session_expires_s: reader.u32()?,
            call_id: reader.text()?,
            from: reader.text()?,
            to: reader.text()?,
            caller: reader.text()?,
            callee: reader.text()?,
            first_called: reader.text()?,
            reasons: reader.text()?,
        })
    }

    /// The Call-ID's keyed hash of an encoded record, without reading the rest.
    pub fn key_of(bytes: &[u8]) -> Option<u64> {
        let mut reader = Reader::new(bytes);
        (reader.u8()? == VERSION).then(|| reader.u64()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(
            key: u64, tags: (u64, u64), times: (i64, i64, i64), ring_ms: u32,
            call_id in prop::collection::vec(any::<u8>(), 0..72), from in "[ -~]{0,64}",
            to in "[ -~]{0,40}", ids in ("[a-z0-9]{0,64}", "[a-z0-9]{0,64}", "[a-z0-9]{0,64}"),
        ) {
            let record = CallRecord {
                key,
                caller_tag: tags.0,
                callee_tag: tags.1,
                invited_unix_ms: times.0,
                answered_unix_ms: times.1,
                ring_ms,
                ends_unix_ms: times.2,
                session_expires_s: 1_800,
                call_id: &call_id,
                from: from.as_bytes(),
                to: to.as_bytes(),
                caller: ids.0.as_bytes(),
                callee: ids.1.as_bytes(),
                first_called: ids.2.as_bytes(),
                reasons: b"away,immediate_connect",
            };
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            prop_assert_eq!(CallRecord::key_of(&bytes), Some(key));
            prop_assert_eq!(CallRecord::decode(&bytes), Some(record));
        }

        #[test]
        fn the_longest_texts_fit_a_slot(text in prop::collection::vec(any::<u8>(), 2_000)) {
            let record = CallRecord {
                call_id: &text, from: &text, to: &text, caller: &text, callee: &text,
                first_called: &text, reasons: &text, ..CallRecord::default()
            };
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            prop_assert!(bytes.len() <= RECORD_LIMIT, "{}", bytes.len());
            prop_assert!(CallRecord::decode(&bytes).is_some());
        }

        #[test]
        fn noise_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = CallRecord::decode(&bytes);
        }
    }
}
