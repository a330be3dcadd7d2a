//! What can be changed, and how a change ends.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::exceptions::Exceptions;
use super::hours::WorkWeek;
use super::layers::{Override, Signal, SignalKind, Triggers};
use super::model::{Problems, Source, Status, StatusSettings, Subscriber};
use super::profile::Profile;

/// One change of one subscriber. `if_version` lets it happen only to that version.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// Creates or replaces a document.
    Put {
        /// The document; its `version` is ignored.
        subscriber: Box<Subscriber>,
        /// The version it replaces.
        if_version: Option<u64>,
        /// Who changes the status, where the document changes it and does not say.
        source: Source,
    },
    /// Creates a document; a conflict if there is one.
    Create {
        /// The document; its `version` is ignored.
        subscriber: Box<Subscriber>,
        /// Who sets the status, where the document does not say.
        source: Source,
    },
    /// Removes a subscriber.
    Delete {
        /// Whom.
        id: String,
        /// Which version.
        if_version: Option<u64>,
    },
    /// Chooses a status.
    SetStatus {
        /// Whose.
        id: String,
        /// Which; `in_call` is refused.
        status: Status,
        /// The own status by its id; `status` then follows from it.
        own_status: Option<String>,
        /// Shown with it.
        message: Option<String>,
        /// When it ends by itself; not in the past.
        until: Option<Timestamp>,
        /// Whether it holds against whatever comes by itself.
        hold: bool,
        /// Who chooses.
        source: Source,
        /// The version it changes.
        if_version: Option<u64>,
    },
    /// Back to `available`, without message and end.
    ClearStatus {
        /// Whose.
        id: String,
        /// Who clears it.
        source: Source,
        /// The version it changes.
        if_version: Option<u64>,
    },
    /// Replaces what is set for one status, or for all.
    PutSettings {
        /// Whose.
        id: String,
        /// `all`, one of the five, or the id of an own status.
        part: Box<str>,
        /// What is set from now on.
        settings: Box<StatusSettings>,
        /// The version it changes.
        if_version: Option<u64>,
    },
    /// Orders a status from above, or takes the order back.
    Overrule {
        /// Whose.
        id: String,
        /// What is ordered; `None` to take it back.
        order: Option<Box<Override>>,
        /// The version it changes.
        if_version: Option<u64>,
    },
    /// Somebody reports of a person. The same kind and id again replaces what was said before.
    Report {
        /// Of whom.
        id: String,
        /// What is reported; that it was dismissed stays.
        signal: Box<Signal>,
    },
    /// What was reported is over.
    Withdraw {
        /// Of whom.
        id: String,
        /// Of what kind it was.
        kind: SignalKind,
        /// Its id.
        signal: String,
    },
    /// The calendars say this now, in place of what they said before.
    ReportCalendar {
        /// Of whom.
        id: String,
        /// Everything that the calendars say; what was dismissed stays dismissed.
        signals: Vec<Signal>,
    },
    /// The subscriber wants a signal not to count, or to count again.
    Dismiss {
        /// Whose.
        id: String,
        /// Of what kind it is.
        kind: SignalKind,
        /// Its id.
        signal: String,
        /// Whether it is dismissed from now on.
        dismissed: bool,
    },
    /// Replaces which signals change the status.
    PutTriggers {
        /// Whose.
        id: String,
        /// Which do from now on.
        triggers: Box<Triggers>,
        /// The version it changes.
        if_version: Option<u64>,
    },
    /// Replaces the hours that the person wants instead of those of team and house.
    PutHours {
        /// Whose.
        id: String,
        /// When they work from now on; `None` for as team and house say.
        hours: Option<Box<WorkWeek>>,
        /// The version it changes.
        if_version: Option<u64>,
    },
    /// Replaces who is treated otherwise than the status says.
    PutExceptions {
        /// Whose.
        id: String,
        /// Who is from now on.
        exceptions: Box<Exceptions>,
        /// The version it changes.
        if_version: Option<u64>,
    },
    /// Reads the document anew, because what the administrator lays down is another now.
    Restate {
        /// Whose.
        id: String,
    },
    /// Drops what has ended, and tells what has begun; changes nothing if nothing has.
    Expire {
        /// Whose.
        id: String,
    },
}

/// How a change ended well.
#[derive(Clone, PartialEq, Debug)]
pub struct Changed {
    /// The subscriber as it is now; as it was, if it was deleted.
    pub profile: Arc<Profile>,
    /// Whether there is a new version. The same content again makes none.
    pub is_new: bool,
}

/// Why a change did not happen. Nothing has changed.
#[derive(Clone, PartialEq, Debug)]
pub enum ChangeError {
    /// There is no such subscriber.
    NotFound {
        /// Who was meant.
        id: String,
    },
    /// It contradicts what is there.
    Conflict(Conflict),
    /// It is never allowed; the text says why.
    Refused(String),
    /// The content is not allowed.
    Invalid(Problems),
    /// The store could not write it.
    Store(String),
    /// Too many changes are waiting.
    Busy,
}

/// What a change contradicts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Conflict {
    /// The subscriber exists.
    Exists {
        /// Who.
        id: String,
    },
    /// Somebody else has changed the document meanwhile.
    Version {
        /// Whose.
        id: String,
        /// Its version now; 0 where there is none.
        current: u64,
    },
    /// An id or alias belongs to somebody else.
    Taken {
        /// Which.
        key: String,
        /// To whom.
        owner: String,
    },
}

/// A subscriber's status has changed, or what is shown with it, or another part of the document.
#[derive(Clone, PartialEq, Debug)]
pub struct StatusChanged {
    /// Whose.
    pub id: String,
    /// The base status in force.
    pub status: Status,
    /// The own status that it stands for, by its id.
    pub own_status: Option<String>,
    /// Shown with it.
    pub message: Option<String>,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// Since when it holds.
    pub since: Option<Timestamp>,
    /// Where it came from.
    pub source: Option<Source>,
    /// The version of the document.
    pub version: u64,
    /// Whether the subscriber has been removed.
    pub is_removed: bool,
    /// Whether colleagues may see a difference.
    pub is_shown: bool,
    /// Whether something differs that only the subscriber and the administrator see: settings,
    /// exceptions, layers beneath the status in force.
    pub is_inward: bool,
    /// The subscriber before, where now others see them than before, or see more or less.
    pub regrouped: Option<Arc<Profile>>,
}

impl Change {
    /// Whom it is about.
    pub fn id(&self) -> &str {
        match self {
            Self::Put { subscriber, .. } | Self::Create { subscriber, .. } => &subscriber.id,
            Self::Delete { id, .. }
            | Self::SetStatus { id, .. }
            | Self::ClearStatus { id, .. }
            | Self::PutSettings { id, .. }
            | Self::Overrule { id, .. }
            | Self::Report { id, .. }
            | Self::ReportCalendar { id, .. }
            | Self::Withdraw { id, .. }
            | Self::Dismiss { id, .. }
            | Self::PutTriggers { id, .. }
            | Self::PutExceptions { id, .. }
            | Self::PutHours { id, .. }
            | Self::Restate { id }
            | Self::Expire { id } => id,
        }
    }

    /// The version it may happen to.
    pub(super) const fn if_version(&self) -> Option<u64> {
        match self {
            Self::Put { if_version, .. }
            | Self::Delete { if_version, .. }
            | Self::SetStatus { if_version, .. }
            | Self::ClearStatus { if_version, .. }
            | Self::Overrule { if_version, .. }
            | Self::PutTriggers { if_version, .. }
            | Self::PutExceptions { if_version, .. }
            | Self::PutHours { if_version, .. }
            | Self::PutSettings { if_version, .. } => *if_version,
            Self::Create { .. }
            | Self::Report { .. }
            | Self::ReportCalendar { .. }
            | Self::Withdraw { .. }
            | Self::Dismiss { .. }
            | Self::Restate { .. }
            | Self::Expire { .. } => None,
        }
    }
}

impl StatusChanged {
    pub(super) fn of(profile: &Profile, now_unix_s: i64, is_removed: bool) -> Self {
        let standing = profile.standing(now_unix_s);
        let instant = |at: i64| Timestamp::from_second(at).ok();
        Self {
            id: profile.id().to_owned(),
            status: standing.status,
            own_status: standing.own.map(|own| own.id().to_owned()),
            message: profile
                .message_at(now_unix_s, standing.status)
                .map(str::to_owned),
            until: standing.until_unix_s.and_then(instant),
            since: standing.since_unix_s.and_then(instant),
            source: standing.source,
            version: profile.version(),
            is_removed,
            is_shown: true,
            is_inward: false,
            regrouped: None,
        }
    }
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { id } => write!(f, "there is no subscriber `{id}`"),
            Self::Conflict(conflict) => conflict.fmt(f),
            Self::Refused(text) => f.write_str(text),
            Self::Invalid(problems) => problems.fmt(f),
            Self::Store(text) => write!(f, "the change could not be stored: {text}"),
            Self::Busy => f.write_str("too many changes are waiting; try again"),
        }
    }
}

impl std::error::Error for ChangeError {}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists { id } => write!(f, "there is a subscriber `{id}` already"),
            Self::Version { id, current: 0 } => write!(f, "there is no subscriber `{id}` yet"),
            Self::Version { id, current } => {
                write!(
                    f,
                    "`{id}` has been changed meanwhile; the version is now {current}"
                )
            }
            Self::Taken { key, owner } => write!(f, "`{key}` belongs to `{owner}`"),
        }
    }
}
