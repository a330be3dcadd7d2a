//! What is answered: a plan, and the reasons for it.

use std::sync::Arc;

use smallvec::SmallVec;

use super::question::Mode;
use super::reason::Reason;
use crate::presence::{Handle, Status, Target};

/// The subscribers who divert a call, in order.
pub type Hops = SmallVec<[Hop; 2]>;
/// Why a plan was chosen, in the order in which it was found out.
pub type Reasons = SmallVec<[Reason; 4]>;

/// What happens to a call, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// What to do.
    pub plan: Plan,
    /// What led to it; never empty.
    pub reasons: Reasons,
}

/// What to do with a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Plan {
    /// Send it on to the callee.
    Connect(Connect),
    /// Proxy it to somebody else.
    Forward(Divert),
    /// Answer 302 with somebody else as `Contact`.
    Redirect(Divert),
    /// Refuse it.
    Reject(Rejection),
}

/// How a subscriber is connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connect {
    /// Whom to ring.
    pub callee: Handle,
    /// How long, counted from the first 180, before the no-answer action is taken. `None` where
    /// nothing is to be done then, or where the subscriber leaves the time to the configuration.
    pub ring_for_s: Option<u16>,
    /// Whether the subscriber has an action for no answer.
    pub has_no_answer_action: bool,
    /// Whether the subscriber has an action for any failure: whether to ask `decide_after` at all.
    pub has_after_action: bool,
}

/// How a call leaves a subscriber.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Divert {
    /// Who diverts it, each with the cause; never empty.
    pub hops: Hops,
    /// Where it goes in the end.
    pub to: Destination,
}

/// One subscriber who diverts a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// Who.
    pub subscriber: Handle,
    /// Why.
    pub cause: Cause,
}

/// Where a diverted call goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Destination {
    /// To a number or URI that is no subscriber of ours.
    Target(Arc<Target>),
    /// To a subscriber of ours, whose own settings have been asked already.
    Subscriber {
        /// As the last diverting subscriber wrote it.
        target: Arc<Target>,
        /// How that subscriber is connected.
        connect: Connect,
    },
    /// To a voicemail box.
    Voicemail {
        /// Whose: always the first called subscriber's.
        of: Handle,
    },
}

/// Why a subscriber diverts a call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// Always, whatever the status.
    Unconditional,
    /// In a call, or busy.
    Busy,
    /// Nobody answered.
    NoAnswer,
    /// No phone could be reached.
    Unreachable,
    /// The callee declined.
    Declined,
    /// Under do not disturb.
    DoNotDisturb,
    /// While away or on a break.
    Away,
}

/// Why a call is refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rejection {
    /// Do not disturb.
    Dnd,
    /// In a call, and a second one is refused.
    Busy,
    /// Noted as missed.
    Missed,
    /// The settings refuse it.
    Refused,
    /// Callers who withhold their identity are refused.
    AnonymousRefused,
    /// The caller is on the block list, which is not told.
    Blocked,
    /// A chat message is accepted and not delivered.
    Suppressed,
    /// Nobody answered, and the settings refuse to do more.
    NoAnswer,
    /// No phone could be reached, and the settings refuse to do more.
    Unreachable,
    /// The call has come round with nothing left to try.
    LoopDetected,
    /// The call has been diverted too often with nothing left to try.
    TooManyHops,
    /// There is no such subscriber.
    UnknownCallee,
}

impl Divert {
    /// The plan that carries it out.
    pub fn in_mode(self, mode: Mode) -> Plan {
        match mode {
            Mode::Redirect => Plan::Redirect(self),
            Mode::Retarget => Plan::Forward(self),
        }
    }
}

impl Plan {
    /// The name for metrics and logs.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Forward(_) => "forward",
            Self::Redirect(_) => "redirect",
            Self::Reject(_) => "reject",
        }
    }

    /// Where and by whom a call is diverted, in either mode.
    pub const fn divert(&self) -> Option<&Divert> {
        match self {
            Self::Forward(divert) | Self::Redirect(divert) => Some(divert),
            Self::Connect(_) | Self::Reject(_) => None,
        }
    }
}

impl Cause {
    /// What diverting before anything rings is called while `status` is in force.
    pub const fn of_immediate(status: Status) -> Self {
        match status {
            Status::Available => Self::Unconditional,
            Status::Away | Status::Break => Self::Away,
            Status::Dnd => Self::DoNotDisturb,
            Status::InCall => Self::Busy,
        }
    }

    /// The reason of a Diversion header field (RFC 5806 §4).
    pub const fn diversion_reason(self) -> &'static str {
        match self {
            Self::Unconditional => "unconditional",
            Self::Busy => "user-busy",
            Self::NoAnswer => "no-answer",
            Self::Unreachable => "unavailable",
            Self::Declined => "deflection",
            Self::DoNotDisturb => "do-not-disturb",
            Self::Away => "away",
        }
    }

    /// The `cause` parameter of a diverted-to URI (RFC 4458 §2.1): 302 unconditional, 486 busy,
    /// 408 no reply, 487 deflection while ringing, 503 not reachable.
    pub const fn number(self) -> u16 {
        match self {
            Self::Unconditional | Self::DoNotDisturb | Self::Away => 302,
            Self::Busy => 486,
            Self::NoAnswer => 408,
            Self::Unreachable => 503,
            Self::Declined => 487,
        }
    }

    /// The name for metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unconditional => "unconditional",
            Self::Busy => "busy",
            Self::NoAnswer => "no_answer",
            Self::Unreachable => "unreachable",
            Self::Declined => "declined",
            Self::DoNotDisturb => "do_not_disturb",
            Self::Away => "away",
        }
    }
}

impl Rejection {
    /// Every rejection.
    pub const ALL: [Self; 12] = [
        Self::Dnd,
        Self::Busy,
        Self::Missed,
        Self::Refused,
        Self::AnonymousRefused,
        Self::Blocked,
        Self::Suppressed,
        Self::NoAnswer,
        Self::Unreachable,
        Self::LoopDetected,
        Self::TooManyHops,
        Self::UnknownCallee,
    ];

    /// The status code; `dnd_status` is the configured answer to do not disturb.
    pub const fn status(self, dnd_status: u16) -> u16 {
        match self {
            Self::Dnd => dnd_status,
            Self::Suppressed => 202,
            Self::Busy => 486,
            Self::Missed | Self::NoAnswer | Self::Unreachable => 480,
            Self::Refused | Self::Blocked => 603,
            Self::AnonymousRefused => 433,
            Self::LoopDetected => 482,
            Self::TooManyHops => 483,
            Self::UnknownCallee => 404,
        }
    }

    /// The reason phrase; for do not disturb that of the usual 480.
    pub const fn reason_phrase(self) -> &'static str {
        match self {
            Self::Dnd => "Do Not Disturb",
            Self::Suppressed => "Accepted",
            Self::Busy => "Busy Here",
            Self::Missed | Self::NoAnswer | Self::Unreachable => "Temporarily Unavailable",
            Self::Refused | Self::Blocked => "Decline",
            Self::AnonymousRefused => "Anonymity Disallowed",
            Self::LoopDetected => "Loop Detected",
            Self::TooManyHops => "Too Many Hops",
            Self::UnknownCallee => "Not Found",
        }
    }

    /// The name for metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Dnd => "dnd",
            Self::Busy => "busy",
            Self::Missed => "missed",
            Self::Refused => "refused",
            Self::AnonymousRefused => "anonymous_refused",
            Self::Blocked => "blocked",
            Self::Suppressed => "suppressed",
            Self::NoAnswer => "no_answer",
            Self::Unreachable => "unreachable",
            Self::LoopDetected => "loop_detected",
            Self::TooManyHops => "too_many_hops",
            Self::UnknownCallee => "unknown_callee",
        }
    }
}
