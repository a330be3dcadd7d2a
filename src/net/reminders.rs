//! What the log tells when a configuration comes in force that what is stored does not fit.

use crate::engine::Shared;
use crate::presence::{Directory, HouseRules, NumberPlan, Roster};

/// From now on passwords are kept for the realm in force; the log tells how many are of no use
/// under it.
pub(super) fn keep_passwords_for(roster: &Roster, shared: &Shared) {
    let hashing = shared.policy.load().auth.hashing();
    let (mut passwords, mut unfit, mut example) = (0u64, 0u64, String::new());
    for profile in shared.directory.profiles() {
        passwords += u64::from(profile.credentials().is_some());
        if let Some(gap) = profile.password_gaps(&hashing).into_iter().next() {
            unfit += 1;
            example = format!("{}: {gap}", profile.id());
        }
    }
    if unfit > 0 {
        tracing::warn!(passwords, unfit, example, "passwords must be set again");
    }
    roster.set_hashing(hashing);
}

/// The log tells which own statuses people are in, or set something for, that there are not.
pub(super) fn tell_of_missing(shared: &Shared) {
    let policy = shared.policy.load();
    let (directory, house) = (&shared.directory, &policy.house);
    let (mut people, mut example) = (0u64, String::new());
    for profile in directory.profiles() {
        if let Some(missing) = profile.missing_status(house) {
            people += 1;
            example = format!("{}: {missing}", profile.id());
        }
    }
    tell_of_refused(directory, house, &policy.plan);
    if people > 0 {
        tracing::warn!(
            people,
            example,
            "own statuses are gone: what they stood for counts; what was set for them stays"
        );
    }
}

/// The log tells how many forward where the administrator does not allow it any more.
fn tell_of_refused(directory: &Directory, house: &HouseRules, plan: &NumberPlan) {
    let (mut forwardings, mut example) = (0, String::new());
    for profile in directory.profiles() {
        let refused = house.refused(&profile, directory, plan);
        forwardings += refused.len();
        if let Some(first) = refused.first() {
            example = format!("{}: {first}", profile.id());
        }
    }
    if forwardings > 0 {
        let text = "forwardings count as not set: their targets are not allowed";
        tracing::warn!(forwardings, example, "{text}");
    }
}
