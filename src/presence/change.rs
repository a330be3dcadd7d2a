//! What can be changed, and how a change ends.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

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
        /// Shown with it.
        message: Option<String>,
        /// When it ends by itself; not in the past.
        until: Option<Timestamp>,
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
        /// The status; `None` for what all inherit.
        status: Option<Status>,
        /// What is set from now on.
        settings: Box<StatusSettings>,
        /// The version it changes.
        if_version: Option<u64>,
    },
    /// Drops a status whose `until` has come; changes nothing if it has not.
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
    /// What the person may not have meant, in their language: forwarding that goes in a circle.
    pub warnings: Vec<String>,
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

/// A subscriber's status has changed, or what is shown with it.
#[derive(Clone, PartialEq, Debug)]
pub struct StatusChanged {
    /// Whose.
    pub id: String,
    /// The base status.
    pub status: Status,
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
            | Self::PutSettings { if_version, .. } => *if_version,
            Self::Create { .. } | Self::Expire { .. } => None,
        }
    }
}

impl StatusChanged {
    pub(super) fn of(profile: &Profile, is_removed: bool) -> Self {
        let status = profile.status();
        Self {
            id: profile.id().to_owned(),
            status,
            message: profile.message_for(status).map(str::to_owned),
            until: profile.until(),
            since: profile.since(),
            source: profile.source(),
            version: profile.version(),
            is_removed,
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
