//! What is set for a call that could not be connected.

use super::decision::{Cause, Rejection};
use super::question::Failure;
use crate::presence::{BaseStatus, CallerClass, Layer, Moment, Profile, Status, Step};

/// What is set for a failure: during a call by `in_call` itself, else by the status or `all`.
/// Unreachable falls back to no answer, declined to busy.
pub(super) fn after_step(
    profile: &Profile,
    base: BaseStatus,
    in_call: bool,
    (failure, class): (Failure, CallerClass),
    mut admits: impl FnMut(&Step) -> bool,
) -> Option<(&Step, Layer, Moment)> {
    let moments: &[Moment] = match failure {
        Failure::NoAnswer => &[Moment::NoAnswer],
        Failure::Busy => &[Moment::Busy],
        Failure::Unreachable => &[Moment::Unreachable, Moment::NoAnswer],
        Failure::Declined => &[Moment::Declined, Moment::Busy],
    };
    moments.iter().find_map(|&moment| {
        let own = profile.own_step(Status::InCall, moment, class);
        if let Some(step) = own.filter(|step| in_call && admits(step)) {
            return Some((step, Layer::Of(Status::InCall), moment));
        }
        let (step, layer) = profile.step(base, (moment, class), &mut admits)?;
        Some((step, layer, moment))
    })
}

pub(super) const fn rejection_after(failure: Failure) -> Rejection {
    match failure {
        Failure::NoAnswer => Rejection::NoAnswer,
        Failure::Busy => Rejection::Busy,
        Failure::Unreachable => Rejection::Unreachable,
        Failure::Declined => Rejection::Refused,
    }
}

pub(super) const fn cause_after(failure: Failure) -> Cause {
    match failure {
        Failure::NoAnswer => Cause::NoAnswer,
        Failure::Busy => Cause::Busy,
        Failure::Unreachable => Cause::Unreachable,
        Failure::Declined => Cause::Declined,
    }
}
