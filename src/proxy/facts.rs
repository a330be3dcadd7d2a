//! What is told about a call: its decision trace and its events, for the log, the API and metrics.

use std::net::SocketAddr;

use smallvec::SmallVec;

use crate::presence::Handle;
use crate::routing::{CallerClass, Reason};

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
        }
    }
}

/// One call's decision with its reasons, written when the caller got the final response.
#[derive(Debug, Clone)]
pub struct Trace {
    /// When the INVITE came, milliseconds since 1970.
    pub at_unix_ms: i64,
    /// The Call-ID.
    pub call_id: Box<str>,
    /// The caller's address, from the From header.
    pub from: Box<str>,
    /// The address that was called, from the To header.
    pub to: Box<str>,
    /// Where the INVITE came from.
    pub source: SocketAddr,
    /// The class the caller was given.
    pub class: CallerClass,
    /// Who was called, where that is a subscriber.
    pub callee: Option<Handle>,
    /// What was done.
    pub outcome: Outcome,
    /// Why, in the order it was found.
    pub reasons: SmallVec<[Reason; 4]>,
    /// The target of a diversion; empty otherwise.
    pub target: Box<str>,
    /// The final status that the caller got.
    pub status: u16,
    /// From the INVITE to the final response, milliseconds.
    pub setup_ms: u32,
    /// How long it rang, milliseconds.
    pub ring_ms: u32,
}

/// A call began or ended. The record is encoded: [`crate::call::CallRecord::decode`].
#[derive(Debug, Clone)]
pub struct CallEvent {
    /// Whether it began.
    pub is_open: bool,
    /// The call's record.
    pub record: Box<[u8]>,
}
