//! Subscribers, their statuses and settings, and the directory that the call path reads.
//!
//! What people set lives here as one document per subscriber (`model`), is checked and stored by one
//! writer (`roster`) and is read by every INVITE without a lock (`directory`). Numbers that people
//! write in many ways find one subscriber (`numbers`).
//!
//! This folder never decides what happens to a call (that is `routing`) and knows no message,
//! socket or clock: the time comes in as an argument.
//!
//! Entry points: [`Subscriber`] for documents, [`Directory`] for readers, [`Roster`] for changes,
//! [`NumberPlan`] for numbers.

mod admit;
mod applied;
mod bequest;
pub mod calendar;
mod change;
mod circles;
pub mod codes;
mod directory;
mod document;
pub mod exceptions;
pub mod hours;
pub mod house;
#[cfg(test)]
mod house_tests;
mod index;
pub mod layers;
pub mod model;
pub mod numbers;
mod objects;
pub mod own;
mod password;
mod profile;
pub mod readings;
mod record;
mod reported;
mod roster;
#[cfg(test)]
pub(crate) mod sample;
mod settings;
mod shown;
mod standing;
mod stored;
pub mod targets;
mod validate;
pub mod visibility;
mod warm;
mod warnings;
mod watched;
mod writer;

pub use change::{Change, ChangeError, Changed, Conflict, StatusChanged};
pub use codes::{CodeAction, DialledCode, FeatureCode, FeatureCodes};
pub use directory::{Directory, Handle, Mark, Page, PutError, effective_status};
pub use document::MAX_PROBLEMS;
pub use exceptions::{
    Exception, ExceptionRules, Exceptions, Holidays, Hours, Matched, Occasion, Pattern,
};
pub use hours::{HOURS_SIGNAL, HoursKind, Schedule, Segment, WorkHours, WorkSpan, WorkWeek};
pub use house::{HouseRules, TeamHours};
pub use layers::{Override, Signal, SignalKind, StatusLayer, Triggers};
pub use model::{
    Action, CallerClass, Chat, ClassRule, Language, Problem, Problems, Rule, Settings, Source,
    Status, StatusSettings, Subscriber,
};
pub use numbers::{NumberPlan, SmallBuf, UnknownRegion};
pub use objects::read_object;
pub use own::{BaseStatus, Class, Colour, OwnName, OwnStatus, OwnStatuses, StatusName, is_own_id};
pub use password::PasswordWish;
pub use profile::Profile;
pub use record::{MarkKind, ProfileGuard, Routing, SUBSCRIBER_LIMIT};
pub use roster::{Clock, Roster};
pub use settings::{Layer, Moment, Rules, Step, Target, UriParts};
pub use standing::Standing;
pub use stored::LoadError;
pub use targets::{TargetPattern, TargetRules};
pub use validate::{check_feed, is_id};
pub use visibility::{Level, Visibility};
pub use watched::{Stirred, Watched};
