//! Why a request is answered by ourselves before anything is looked up.

use crate::auth::Side;
use crate::message::{Fault, Name};

/// A request that goes no further, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// A field that a proxy needs is missing or broken (RFC 3261 §16.3(1)).
    Malformed(Fault),
    /// Max-Forwards was zero (§16.3(3)).
    MaxForwardsExhausted,
    /// The request went through here unchanged already (§16.3(4), RFC 5393).
    LoopDetected,
    /// This header demands something that we do not know: Proxy-Require (§16.3(5)), or Require of
    /// a request to ourselves (§8.2.2.3).
    BadExtension(Name),
    /// Max-Breadth is 0: not even one branch may be made (RFC 5393 §5.3.3).
    MaxBreadthExceeded,
    /// A privacy that is critical to the caller cannot be provided (RFC 3323 §5); the phrase says
    /// which.
    PrivacyFailure(&'static str),
    /// Session-Expires is below our minimum (RFC 4028 §8.1).
    SessionIntervalTooSmall,
    /// It must be authenticated and is not (RFC 3261 §22).
    Unauthenticated {
        /// 401 or 407.
        side: Side,
        /// Only the nonce was wrong.
        is_stale: bool,
        /// Credentials were presented, and prove nothing.
        is_wrong: bool,
        /// Stands for the request and its source.
        transaction: u64,
    },
    /// Its authenticated sender asks on behalf of somebody else (§10.3(3)).
    NotTheirs,
    /// A feature code, and nobody is proven to have dialled it.
    Unproven,
    /// Its source has failed and asks too fast: no answer.
    Withheld,
    /// For none of our domains, from nobody we know.
    RelayDenied,
    /// Nobody of that name in a domain of ours.
    NotFound,
    /// Nothing configured that could take the call.
    NowhereToGo,
    /// A publication, and none is kept here (RFC 3903 §6): a subscriber's phones, to
    /// whom all else for them goes, are not who keeps their state.
    BadEvent,
    /// A CANCEL or in-dialog request that matches nothing (§9.2).
    NoSuchTransaction,
    /// The host of the target has no address.
    Unresolvable,
    /// The connection of the target is gone (RFC 5626 §5.3).
    FlowFailed,
    /// A table is full or the process ends; nothing was kept.
    Overloaded,
    /// No next hop wants more (RFC 7339 §5.10).
    Throttled,
}

impl Rejection {
    /// The response status.
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed(fault) => fault.status(),
            Self::MaxForwardsExhausted => 483,
            Self::LoopDetected => 482,
            Self::BadExtension(_) => 420,
            Self::MaxBreadthExceeded => 440,
            Self::PrivacyFailure(_) => 500,
            Self::SessionIntervalTooSmall => 422,
            Self::Unauthenticated { side, .. } => side.status(),
            Self::NotTheirs | Self::RelayDenied | Self::Withheld | Self::Unproven => 403,
            Self::NotFound => 404,
            Self::NowhereToGo => 480,
            Self::NoSuchTransaction => 481,
            Self::BadEvent => 489,
            Self::Unresolvable => 500,
            Self::FlowFailed => 430,
            Self::Overloaded | Self::Throttled => 503,
        }
    }

    /// The reason phrase; it names a malformed message's fault.
    pub fn reason_phrase(self) -> &'static str {
        match self {
            Self::Malformed(fault) => fault.reason_phrase(),
            Self::MaxForwardsExhausted => "Too Many Hops",
            Self::LoopDetected => "Loop Detected",
            Self::BadExtension(_) => "Bad Extension",
            Self::MaxBreadthExceeded => "Max-Breadth Exceeded",
            Self::PrivacyFailure(phrase) => phrase,
            Self::SessionIntervalTooSmall => "Session Interval Too Small",
            Self::Unauthenticated { side, .. } => crate::message::reason_phrase(side.status()),
            Self::NotTheirs | Self::Withheld => "Forbidden",
            Self::Unproven => "Not Proven To Be A Subscriber",
            Self::RelayDenied => "Relaying Denied",
            Self::NotFound => "Not Found",
            Self::NowhereToGo => "Temporarily Unavailable",
            Self::NoSuchTransaction => "Call/Transaction Does Not Exist",
            Self::BadEvent => "Bad Event",
            Self::Unresolvable => "Destination Cannot Be Resolved",
            Self::FlowFailed => "Flow Failed",
            Self::Overloaded | Self::Throttled => "Service Unavailable",
        }
    }

    /// The name in logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed(fault) => fault.kind(),
            Self::MaxForwardsExhausted => "max_forwards_exhausted",
            Self::LoopDetected => "loop_detected",
            Self::BadExtension(_) => "bad_extension",
            Self::MaxBreadthExceeded => "max_breadth_exceeded",
            Self::PrivacyFailure(_) => "privacy_failure",
            Self::SessionIntervalTooSmall => "session_interval_too_small",
            Self::Unauthenticated { is_wrong: true, .. } => "wrong_credentials",
            Self::Unauthenticated { is_stale: true, .. } => "stale_nonce",
            Self::Unauthenticated { .. } => "unauthenticated",
            Self::NotTheirs => "not_theirs",
            Self::Withheld => "withheld",
            Self::Unproven => "unproven",
            Self::RelayDenied => "relay_denied",
            Self::NotFound => "not_found",
            Self::NowhereToGo => "nowhere_to_go",
            Self::NoSuchTransaction => "no_such_transaction",
            Self::BadEvent => "bad_event",
            Self::Unresolvable => "unresolvable",
            Self::FlowFailed => "flow_failed",
            Self::Overloaded => "overloaded",
            Self::Throttled => "throttled",
        }
    }
}

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        Self::Malformed(fault)
    }
}
