//! What is told about a call: its decision trace and its events, for the log, the API and metrics.

use std::borrow::Cow;
use std::net::SocketAddr;

use crate::presence::Handle;
use crate::routing::{CallerClass, Reasons};

/// What was done with an INVITE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Connected to the PBX.
    Connect,
    /// Answered with a 302.
    Redirect,
    /// Sent to another target by ourselves.
    Forward,
    /// Answered with a 302 to voicemail.
    RedirectVoicemail,
    /// Sent to voicemail by ourselves.
    ForwardVoicemail,
    /// Rejected.
    Reject,
    /// Not for a subscriber: passed on.
    PassOn,
    /// A feature code: answered by ourselves.
    FeatureCode,
}

impl Outcome {
    /// The name in the log, the metrics and the API.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Redirect => "redirect",
            Self::Forward => "forward",
            Self::RedirectVoicemail => "redirect_voicemail",
            Self::ForwardVoicemail => "forward_voicemail",
            Self::Reject => "reject",
            Self::PassOn => "pass_on",
            Self::FeatureCode => "feature_code",
        }
    }
}

/// One call's decision with its reasons, written when the caller got the final response.
#[derive(Debug, Clone)]
pub struct Trace {
    /// When the INVITE came, milliseconds since 1970.
    pub at_unix_ms: i64,
    /// The Call-ID, the addresses of From and To, and the target of a diversion.
    pub texts: TraceTexts,
    /// Where the INVITE came from.
    pub source: SocketAddr,
    /// The class the caller was given.
    pub class: CallerClass,
    /// Who was called, where that is a subscriber.
    pub callee: Option<Handle>,
    /// What was done.
    pub outcome: Outcome,
    /// Why, in the order it was found.
    pub reasons: Reasons,
    /// The final status that the caller got.
    pub status: u16,
    /// From the INVITE to the final response, milliseconds.
    pub setup_ms: u32,
    /// How long it rang, milliseconds.
    pub ring_ms: u32,
}

/// The texts of a trace as they stand in the message, one behind the other: one piece of memory for
/// each call. What is not UTF-8 is replaced when somebody reads it, which is seldom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceTexts {
    bytes: Box<[u8]>,
    ends: [u32; 3],
}

impl TraceTexts {
    /// Call-ID, From, To and target.
    pub fn new([call_id, from, to, target]: [&[u8]; 4]) -> Self {
        let ends = [
            call_id.len(),
            call_id.len() + from.len(),
            call_id.len() + from.len() + to.len(),
        ];
        let mut bytes = Vec::with_capacity(call_id.len() + from.len() + to.len() + target.len());
        for piece in [call_id, from, to, target] {
            bytes.extend_from_slice(piece);
        }
        Self {
            bytes: bytes.into_boxed_slice(),
            ends: ends.map(|end| end as u32),
        }
    }

    fn piece(&self, start: u32, end: Option<u32>) -> Cow<'_, str> {
        let end = end.map_or(self.bytes.len(), |end| end as usize);
        let piece = self.bytes.get(start as usize..end);
        String::from_utf8_lossy(piece.unwrap_or_default())
    }

    /// The Call-ID.
    pub fn call_id(&self) -> Cow<'_, str> {
        let [call_id, _, _] = self.ends;
        self.piece(0, Some(call_id))
    }

    /// The caller's address, from the From header.
    pub fn from(&self) -> Cow<'_, str> {
        let [call_id, from, _] = self.ends;
        self.piece(call_id, Some(from))
    }

    /// The address that was called, from the To header.
    pub fn to(&self) -> Cow<'_, str> {
        let [_, from, to] = self.ends;
        self.piece(from, Some(to))
    }

    /// The target of a diversion; empty otherwise.
    pub fn target(&self) -> Cow<'_, str> {
        let [_, _, to] = self.ends;
        self.piece(to, None)
    }
}

/// A call began or ended. The record is encoded: [`crate::call::CallRecord::decode`].
#[derive(Debug, Clone)]
pub struct CallEvent {
    /// Whether it began.
    pub is_open: bool,
    /// The call's record.
    pub record: Box<[u8]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_a_trace_come_back() {
        let texts = TraceTexts::new([b"1@a", b"sip:\xff@b", b"", b"sip:9@c"]);
        assert_eq!(texts.call_id(), "1@a");
        assert_eq!(texts.from(), "sip:\u{fffd}@b");
        assert_eq!((&*texts.to(), &*texts.target()), ("", "sip:9@c"));
    }
}
