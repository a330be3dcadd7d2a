//! What a subscriber reads about their calls afterwards: one entry per call and subscriber.

use super::wire::{Reader, Writer};

const VERSION: u8 = 1;

/// What became of a call, for the subscriber whose journal it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// They answered.
    Answered,
    /// Somebody else answered a call to them (it had been forwarded).
    AnsweredElsewhere,
    /// It rang, or was noted, and nobody answered.
    Missed,
    /// It was forwarded without ringing, or after; the target is told.
    Forwarded,
    /// It went to their voicemail.
    Voicemail,
    /// `dnd` rejected it.
    RejectedDnd,
    /// Their rule rejected it for another reason.
    Rejected,
    /// Their block list refused it.
    Blocked,
    /// They answered a call that an exception let ring through; the reasons name which.
    RangThrough,
    /// A chat message to them that was not delivered, or was forwarded.
    Message,
    /// They dialled a feature code; the reasons say what it does, the target is the number.
    FeatureCode,
}

impl EntryKind {
    /// Every kind, in the order of its code on disk.
    pub const ALL: [Self; 11] = [
        Self::Answered,
        Self::AnsweredElsewhere,
        Self::Missed,
        Self::Forwarded,
        Self::Voicemail,
        Self::RejectedDnd,
        Self::Rejected,
        Self::Blocked,
        Self::RangThrough,
        Self::Message,
        Self::FeatureCode,
    ];

    /// The name used by the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::AnsweredElsewhere => "answered_elsewhere",
            Self::Missed => "missed",
            Self::Forwarded => "forwarded",
            Self::Voicemail => "voicemail",
            Self::RejectedDnd => "rejected_dnd",
            Self::Rejected => "rejected",
            Self::Blocked => "blocked",
            Self::RangThrough => "rang_through",
            Self::Message => "message",
            Self::FeatureCode => "feature_code",
        }
    }

    fn code(self) -> u8 {
        Self::ALL.iter().position(|kind| *kind == self).unwrap_or(0) as u8
    }
}

/// One journal entry, borrowed from what it is written from or read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What became of the call.
    pub kind: EntryKind,
    /// When the INVITE came, milliseconds since 1970.
    pub at_unix_ms: i64,
    /// How long it rang, milliseconds.
    pub ring_ms: u32,
    /// How long they talked, seconds.
    pub talk_s: u32,
    /// The final status sent to the caller; 200 for an answered call.
    pub status: u32,
    /// The caller's address.
    pub from: &'a [u8],
    /// The target of a forwarding, or who answered; empty otherwise.
    pub target: &'a [u8],
    /// The Call-ID, possibly cut: joins the entry to the log and the decision trace.
    pub call_id: &'a [u8],
    /// The decision's reasons as labels, separated by commas.
    pub reasons: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Appends the encoded entry.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.u8(VERSION);
        writer.u8(self.kind.code());
        writer.i64(self.at_unix_ms);
        writer.u32(self.ring_ms);
        writer.u32(self.talk_s);
        writer.u32(self.status);
        writer.text(self.from, 128);
        writer.text(self.target, 128);
        writer.text(self.call_id, 128);
        writer.text(self.reasons, 255);
    }

    /// Reads an encoded entry; `None` where it is not one of this version.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return None;
        }
        Some(Self {
            kind: *EntryKind::ALL.get(usize::from(reader.u8()?))?,
            at_unix_ms: reader.i64()?,
            ring_ms: reader.u32()?,
            talk_s: reader.u32()?,
            status: reader.u32()?,
            from: reader.text()?,
            target: reader.text()?,
            call_id: reader.text()?,
            reasons: reader.text()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_every_kind_is_read_as_it_was_written() {
        for kind in EntryKind::ALL {
            let entry = Entry {
                kind,
                at_unix_ms: 1_790_000_000_123,
                ring_ms: 7_000,
                talk_s: 61,
                status: 200,
                from: b"sip:bob@example.com",
                target: b"+491701234567",
                call_id: b"abc@host",
                reasons: b"status_away,immediate_forward",
            };
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            assert_eq!(Entry::decode(&bytes), Some(entry));
            assert_eq!(Entry::decode(&bytes[..bytes.len() - 1]), None);
        }
    }
}
