//! What one watcher may see of one person right now.

use crate::presence::{
    Directory, Handle, Language, Level, OwnStatuses, Profile, Status, Visibility,
};

/// A person as a watcher sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'p> {
    /// How much is shown; never [`Level::None`].
    pub level: Level,
    /// The effective status. At [`Level::FreeBusy`] only whether it is `available` may be shown.
    pub status: Status,
    /// Whether they are in a call.
    pub is_in_call: bool,
    /// Whether a call rings at their phones.
    pub is_ringing: bool,
    /// What stands beside the status: its message, its own name, or its label; nothing for
    /// somebody who is available and says nothing.
    pub note: Option<&'p str>,
    /// The language of the labels.
    pub language: Language,
    /// When the status ends by itself, in unix seconds.
    pub until_unix_s: Option<i64>,
}

/// What there is to look at, and what the administrator says of it.
#[derive(Clone, Copy)]
pub struct Sight<'a> {
    /// Everybody.
    pub directory: &'a Directory,
    /// The statuses of the deployment's own.
    pub statuses: &'a OwnStatuses,
    /// What colleagues see of each other.
    pub visibility: Visibility,
    /// The time, in unix seconds.
    pub now_unix_s: i64,
}

/// What `watcher` sees of a person; `None` where that is nothing. A watcher who is no subscriber, a
/// trusted system, is one of the others.
pub fn see<'p>(
    sight: Sight<'p>,
    (handle, profile): (Handle, &'p Profile),
    watcher: Option<&Profile>,
) -> Option<Seen<'p>> {
    let Sight {
        directory,
        now_unix_s,
        ..
    } = sight;
    let level = profile.level_for(watcher, sight.visibility);
    if level == Level::None {
        return None;
    }
    let routing = directory.routing(handle);
    let status = directory.effective_status(handle, now_unix_s);
    let language = watcher.and_then(Profile::language);
    let language = language.or(profile.language()).unwrap_or_default();
    let mut seen = Seen {
        level,
        status,
        is_in_call: level >= Level::Status && routing.calls > 0,
        is_ringing: level >= Level::Status && routing.ringing > 0,
        note: None,
        language,
        until_unix_s: None,
    };
    if level >= Level::Status {
        seen.note = name_of(sight, profile, status, language);
    }
    if level == Level::Full {
        let standing = profile.standing(now_unix_s);
        let until = standing.until_unix_s;
        seen.until_unix_s = until.filter(|_| standing.status == status);
        seen.note = profile.message_at(now_unix_s, status).or(seen.note);
    }
    Some(seen)
}

/// The name of a status for people, but of the plainest.
fn name_of<'p>(
    sight: Sight<'p>,
    profile: &Profile,
    status: Status,
    language: Language,
) -> Option<&'p str> {
    let base = profile.base_at(sight.now_unix_s);
    let own = base.own.filter(|_| base.status == status);
    match own.and_then(|own| sight.statuses.of(own)) {
        Some(own) => Some(own.text(language)),
        None if status == Status::Available => None,
        None => Some(status.label(language)),
    }
}
