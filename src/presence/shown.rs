//! What a change of a document means for those who look on: colleagues, and the person alone.

use std::sync::Arc;

use super::change::StatusChanged;
use super::model::Subscriber;
use super::profile::Profile;

/// What a new version changes for those who look on; `None` where that is nothing.
pub(super) fn compare(
    before: Option<&Arc<Profile>>,
    after: &Profile,
    now_unix_s: i64,
) -> Option<StatusChanged> {
    let was = before.map(|before| shown(before, now_unix_s));
    let has_turned = before.is_some_and(|b| b.is_due(now_unix_s));
    let is_shown = has_turned || was != Some(shown(after, now_unix_s));
    let is_inward = before.is_some_and(|before| {
        let has_moved = || before.standings(now_unix_s) != after.standings(now_unix_s);
        let is_alike = before.version() == after.version() || is_set_alike(before, after);
        !is_alike || (!is_shown && has_moved())
    });
    (is_shown || is_inward).then(|| StatusChanged {
        is_shown,
        is_inward,
        regrouped: before
            .filter(|before| seen_by(before) != seen_by(after))
            .cloned(),
        ..StatusChanged::of(after, now_unix_s, false)
    })
}

/// Whether two documents differ in the layers of the status only.
fn is_set_alike(before: &Profile, after: &Profile) -> bool {
    let after = after.to_subscriber();
    let set = Subscriber {
        status: after.status,
        own_status: after.own_status.clone(),
        status_message: after.status_message.clone(),
        until: after.until,
        source: after.source,
        since: after.since,
        version: after.version,
        hold: after.hold,
        overruled: after.overruled.clone(),
        signals: after.signals.clone(),
        ..before.to_subscriber()
    };
    set == after
}

/// Who sees how much of a profile.
fn seen_by(profile: &Profile) -> impl PartialEq + '_ {
    (profile.visibility(), profile.teams(), profile.delegates())
}

/// What colleagues see of a profile, calls aside.
fn shown(profile: &Profile, now_unix_s: i64) -> impl PartialEq + '_ {
    let standing = profile.standing(now_unix_s);
    (
        standing.base(),
        profile.message_at(now_unix_s, standing.status),
        standing.until_unix_s,
        standing.source,
        profile.is_in_meeting(now_unix_s),
        profile.display_name(),
        seen_by(profile),
    )
}
