//! Why a plan was chosen: plain data for logs, metrics, the journal, `explain` and tests.

use std::sync::Arc;

use super::question::Failure;
use crate::presence::{
    CallerClass, Chat, Handle, Layer, Matched, Moment, OwnName, Status, StatusLayer, Step, Target,
};

/// One thing that led to a decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// An emergency centre calls back.
    EmergencyCallback,
    /// The callee is no subscriber any more.
    UnknownCallee,
    /// Which base status is in force.
    Status {
        /// Whose.
        subscriber: Handle,
        /// Which.
        status: Status,
        /// The own status that it stands for.
        own: Option<OwnName>,
        /// Why: in which layer.
        layer: StatusLayer,
        /// When it ends, in unix seconds.
        until_unix_s: Option<i64>,
    },
    /// A status has ended by itself, so `available` is in force.
    Expired {
        /// Whose.
        subscriber: Handle,
        /// Which.
        status: Status,
    },
    /// The subscriber is in as many calls as count as busy.
    InCall {
        /// Who.
        subscriber: Handle,
        /// In how many.
        calls: u16,
    },
    /// A setting applies.
    Rule {
        /// Whose.
        subscriber: Handle,
        /// Set for which status, or for all.
        layer: Layer,
        /// For which moment.
        moment: Moment,
        /// For this class of caller.
        class: CallerClass,
        /// What it says.
        step: Step,
    },
    /// The caller is on the block list.
    Blocked {
        /// Whose.
        subscriber: Handle,
    },
    /// The caller rings through, whatever the status.
    Vip {
        /// To whom.
        subscriber: Handle,
    },
    /// What is set for chat messages applies.
    Chat {
        /// Whose.
        subscriber: Handle,
        /// Set for which status, or for all.
        layer: Layer,
        /// What it says.
        chat: Chat,
    },
    /// An exception applies.
    Exception {
        /// Whose.
        subscriber: Handle,
        /// What the subscriber calls it, and what it says.
        matched: Matched,
    },
    /// A forwarding counts as not set: the administrator does not allow its target.
    TargetRefused {
        /// Who forwards.
        subscriber: Handle,
        /// Whereto.
        target: Arc<Target>,
    },
    /// The caller is whom the subscriber forwards to, and comes through.
    CallThrough {
        /// Who forwards.
        subscriber: Handle,
    },
    /// An attempt to connect has failed.
    Failed {
        /// Whom.
        subscriber: Handle,
        /// How.
        failure: Failure,
    },
    /// A forwarding is skipped: the call has been where it goes.
    Loop {
        /// Who would be called again.
        subscriber: Handle,
    },
    /// A forwarding is skipped: the call has been diverted too often.
    HopLimit {
        /// How often.
        diversions: u8,
    },
    /// The first called subscriber's no-answer action is taken instead.
    FirstCalled {
        /// Whose.
        subscriber: Handle,
    },
    /// Voicemail is wanted and there is none.
    NoVoicemail,
}

impl Reason {
    /// The name for metrics, logs and tests.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::EmergencyCallback => "emergency_callback",
            Self::UnknownCallee => "unknown_callee",
            Self::Status { status, .. } => match status {
                Status::Available => "available",
                Status::Away => "away",
                Status::Break => "break",
                Status::Dnd => "dnd",
                Status::InCall => "in_call",
            },
            Self::Expired { .. } => "expired",
            Self::InCall { .. } => "in_call",
            Self::Rule { moment, step, .. } => rule_label(*moment, step),
            Self::Blocked { .. } => "blocked",
            Self::Vip { .. } => "vip",
            Self::Chat { chat, .. } => match chat {
                Chat::Deliver => "chat_deliver",
                Chat::Reject => "chat_reject",
                Chat::Suppress => "chat_suppress",
            },
            Self::Exception { matched, .. } => match matched.step {
                Step::Connect => "exception_connect",
                Step::Reject => "exception_reject",
                Step::Missed => "exception_missed",
                Step::Voicemail => "exception_voicemail",
                Step::Forward(_) => "exception_forward",
            },
            Self::TargetRefused { .. } => "target_refused",
            Self::CallThrough { .. } => "call_through",
            Self::Failed { failure, .. } => match failure {
                Failure::NoAnswer => "failed_no_answer",
                Failure::Busy => "failed_busy",
                Failure::Unreachable => "failed_unreachable",
                Failure::Declined => "failed_declined",
            },
            Self::Loop { .. } => "loop",
            Self::HopLimit { .. } => "hop_limit",
            Self::FirstCalled { .. } => "first_called",
            Self::NoVoicemail => "no_voicemail",
        }
    }

    /// Whom it is about.
    pub const fn subscriber(&self) -> Option<Handle> {
        match self {
            Self::Status { subscriber, .. }
            | Self::Expired { subscriber, .. }
            | Self::InCall { subscriber, .. }
            | Self::Rule { subscriber, .. }
            | Self::Blocked { subscriber }
            | Self::Vip { subscriber }
            | Self::Chat { subscriber, .. }
            | Self::Exception { subscriber, .. }
            | Self::CallThrough { subscriber }
            | Self::TargetRefused { subscriber, .. }
            | Self::Failed { subscriber, .. }
            | Self::Loop { subscriber }
            | Self::FirstCalled { subscriber } => Some(*subscriber),
            Self::EmergencyCallback
            | Self::UnknownCallee
            | Self::HopLimit { .. }
            | Self::NoVoicemail => None,
        }
    }
}

/// The moment and the action in one word.
const fn rule_label(moment: Moment, step: &Step) -> &'static str {
    macro_rules! by_step {
        ($moment:literal) => {
            match step {
                Step::Connect => concat!($moment, "_connect"),
                Step::Reject => concat!($moment, "_reject"),
                Step::Missed => concat!($moment, "_missed"),
                Step::Voicemail => concat!($moment, "_voicemail"),
                Step::Forward(_) => concat!($moment, "_forward"),
            }
        };
    }
    match moment {
        Moment::Immediate => by_step!("immediate"),
        Moment::Busy => by_step!("busy"),
        Moment::NoAnswer => by_step!("no_answer"),
        Moment::Unreachable => by_step!("unreachable"),
        Moment::Declined => by_step!("declined"),
    }
}
