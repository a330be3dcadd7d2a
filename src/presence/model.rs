//! The subscriber's document, as import, export, the API and the store write it.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::exceptions::Exceptions;
use super::hours::WorkWeek;
use super::layers::{Override, Signal, Triggers};
use super::password::PasswordWish;
use super::visibility::Visibility;

/// What a subscriber shows to colleagues. All five always exist.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Reachable by phone and chat.
    #[default]
    Available,
    /// Not at the desk: calls are forwarded as set, else shown as missed.
    Away,
    /// A short interruption; reachable only as set.
    Break,
    /// Calls are rejected unless an action says otherwise.
    Dnd,
    /// Derived from open calls. Never chosen, never stored.
    InCall,
}

/// The languages in which people are addressed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// German.
    De,
    /// English.
    #[default]
    En,
}

/// Where a status came from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The web page.
    Web,
    /// The HTTP API or the command line.
    Api,
    /// A key or menu of a telephone.
    Phone,
    /// A dialled code.
    FeatureCode,
    /// A calendar event.
    Calendar,
    /// Idle, screen lock or another automatic observation.
    Trigger,
    /// An administrator on the subscriber's behalf.
    Admin,
    /// A bulk import.
    Import,
}

/// What happens to a call.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Ring the subscriber.
    Connect,
    /// Refuse the call.
    Reject,
    /// Refuse the call without ringing and note it as missed.
    Missed,
    /// Send the caller to the voicemail box.
    Voicemail,
    /// Send the caller to a number, an extension, or a `sip:`, `sips:` or `tel:` URI.
    Forward(String),
}

/// One action for every caller, or one for each class of caller.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Rule {
    /// The same for every caller.
    All(Action),
    /// By caller class; a class left out is unset.
    PerClass(ClassRule),
}

/// Actions by caller class. A class left out inherits.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, ToSchema)]
pub struct ClassRule {
    /// Callers who are colleagues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub internal: Option<Action>,
    /// Callers from outside who show a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<Action>,
    /// Callers who withhold their identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<Action>,
}

/// Who is calling, as far as settings tell callers apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallerClass {
    /// A colleague.
    Internal,
    /// Somebody from outside who shows a number.
    External,
    /// Somebody who withholds their identity.
    Anonymous,
}

/// What becomes of a chat message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Chat {
    /// It is delivered.
    Deliver,
    /// It is refused; its sender is told.
    Reject,
    /// It is accepted (202), not delivered, and stands in the journal.
    Suppress,
}

/// What a subscriber set for one status.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, ToSchema)]
pub struct StatusSettings {
    /// Shown to colleagues while the status is in force, at most 500 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Taken before anything rings. Unset means `connect`, under `dnd` `reject`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub immediate: Option<Rule>,
    /// Taken when the phone answers 486 or 600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy: Option<Rule>,
    /// Taken when nobody answers within `ring_for_s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_answer: Option<Rule>,
    /// Taken when no phone can be reached. Unset means `no_answer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<Rule>,
    /// Taken when the call is declined (603). Unset means `busy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declined: Option<Rule>,
    /// Seconds to ring before `no_answer`, 5 to 120.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 5, maximum = 120)]
    pub ring_for_s: Option<u16>,
    /// What becomes of chat messages. Unset, `immediate` decides as it does for calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat: Option<Chat>,
}

/// The settings of every status. What a status leaves unset is taken from `all`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, ToSchema)]
pub struct Settings {
    /// Inherited by every status.
    #[serde(skip_serializing_if = "StatusSettings::is_empty")]
    pub all: StatusSettings,
    /// While available.
    #[serde(skip_serializing_if = "StatusSettings::is_empty")]
    pub available: StatusSettings,
    /// While away.
    #[serde(skip_serializing_if = "StatusSettings::is_empty")]
    pub away: StatusSettings,
    /// During a break.
    #[serde(rename = "break", skip_serializing_if = "StatusSettings::is_empty")]
    pub pause: StatusSettings,
    /// Under do not disturb.
    #[serde(skip_serializing_if = "StatusSettings::is_empty")]
    pub dnd: StatusSettings,
    /// During a call. `immediate` is the action for a second call.
    #[serde(skip_serializing_if = "StatusSettings::is_empty")]
    pub in_call: StatusSettings,
    /// While in a status of the deployment's own, by its id, at most 32. What it leaves unset is taken
    /// from the settings of the status that it stands for, then from `all`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    pub own: BTreeMap<String, StatusSettings>,
}

/// A person reachable at an address of record: the document of import, export, API and store.
///
/// Reading it from JSON refuses unknown keys by name; `effective_status`, `calls`, `has_password`
/// and `version`, which an answer of the API carries, are ignored, so that an answer can be edited
/// and put back. Instead of a password, `credentials` may stand there as `export` writes them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, ToSchema)]
pub struct Subscriber {
    /// `[A-Za-z0-9._~+-]{1,64}`, compared without regard to case.
    #[schema(pattern = "^[A-Za-z0-9._~+-]{1,64}$")]
    pub id: String,
    /// The name for people, at most 128 bytes. Left out, it is the id.
    #[schema(required = false)]
    pub display_name: String,
    /// Extensions and numbers that reach this subscriber, at most 32.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub aliases: Vec<String>,
    /// The language in which the subscriber is addressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// The status chosen by hand, never `in_call`.
    #[schema(required = false)]
    pub status: Status,
    /// The status of the deployment's own that was chosen, by its id; `status` is then the one that
    /// it stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_status: Option<String>,
    /// Shown with the status, at most 500 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_message: Option<String>,
    /// When the status ends by itself (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Whether the chosen status holds against whatever comes by itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub hold: bool,
    /// Where the status came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Since when the status holds (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Grows with every change; 0 before the document is stored. Ignored on input.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(read_only)]
    pub version: u64,
    /// What happens to calls, per status.
    #[serde(skip_serializing_if = "Settings::is_empty")]
    #[schema(required = false)]
    pub settings: Settings,
    /// Who is treated otherwise than the status says.
    #[serde(skip_serializing_if = "Exceptions::is_empty")]
    #[schema(required = false)]
    pub exceptions: Exceptions,
    /// What an administrator or a delegate ordered. Left out it stays as it is.
    #[serde(rename = "override", skip_serializing_if = "Option::is_none")]
    pub overruled: Option<Override>,
    /// When the person works; left out, the hours of a team or of the house are theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<WorkWeek>,
    /// What clients and calendars report, at most 64. Left out they stay as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub signals: Vec<Signal>,
    /// Which signals change the status.
    #[serde(skip_serializing_if = "is_unset")]
    #[schema(required = false)]
    pub triggers: Triggers,
    /// Calendars that tell when the person is busy or out of office: `https` URLs, or files of the
    /// server by their whole path; at most 4.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub calendars: Vec<String>,
    /// The teams the person belongs to, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub teams: Vec<String>,
    /// What colleagues see.
    #[serde(skip_serializing_if = "is_unset")]
    #[schema(required = false)]
    pub visibility: Visibility,
    /// Colleagues who may order a status, by their ids, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub delegates: Vec<String>,
    /// With what phones authenticate, at most 256 bytes; never written. Left out it stays as it
    /// is, `null` removes it. Only its digests are kept.
    #[serde(skip_serializing)]
    #[schema(value_type = Option<String>, write_only)]
    pub password: PasswordWish,
}

/// One thing that is wrong with a document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// The path of the key, `settings.away.immediate`; empty for the document itself.
    pub field: String,
    /// What is wrong and what is allowed.
    pub text: String,
}

/// Everything that is wrong with a document; never empty where it is an error.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Problems(pub Vec<Problem>);

impl Status {
    /// Every status, in the order in which people see them.
    pub const ALL: [Self; 5] = [
        Self::Available,
        Self::Away,
        Self::Break,
        Self::Dnd,
        Self::InCall,
    ];

    /// The name in documents, `in_call`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Away => "away",
            Self::Break => "break",
            Self::Dnd => "dnd",
            Self::InCall => "in_call",
        }
    }

    /// The status of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// The label for people.
    pub const fn label(self, language: Language) -> &'static str {
        match (self, language) {
            (Self::Available, Language::De) => "Ich bin anwesend",
            (Self::Available, Language::En) => "Available",
            (Self::Away, Language::De) => "Ich bin abwesend",
            (Self::Away, Language::En) => "Away",
            (Self::Break, Language::De) => "Ich bin in Pause",
            (Self::Break, Language::En) => "On a break",
            (Self::Dnd, Language::De) => "Bitte nicht stören",
            (Self::Dnd, Language::En) => "Do not disturb",
            (Self::InCall, Language::De) => "Im Gespräch",
            (Self::InCall, Language::En) => "In a call",
        }
    }
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 2] = [Self::De, Self::En];

    /// The name in documents, `de`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::De => "de",
            Self::En => "en",
        }
    }

    /// The language of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|language| language.name() == name)
    }
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 8] = [
        Self::Web,
        Self::Api,
        Self::Phone,
        Self::FeatureCode,
        Self::Calendar,
        Self::Trigger,
        Self::Admin,
        Self::Import,
    ];

    /// The name in documents, `feature_code`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Api => "api",
            Self::Phone => "phone",
            Self::FeatureCode => "feature_code",
            Self::Calendar => "calendar",
            Self::Trigger => "trigger",
            Self::Admin => "admin",
            Self::Import => "import",
        }
    }

    /// The source of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }
}

impl CallerClass {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::Internal, Self::External, Self::Anonymous];

    /// The name in documents, `internal`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::External => "external",
            Self::Anonymous => "anonymous",
        }
    }
}

impl StatusSettings {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The rules by their names in documents.
    pub fn rules(&self) -> [(&'static str, Option<&Rule>); 5] {
        [
            ("immediate", self.immediate.as_ref()),
            ("busy", self.busy.as_ref()),
            ("no_answer", self.no_answer.as_ref()),
            ("unreachable", self.unreachable.as_ref()),
            ("declined", self.declined.as_ref()),
        ]
    }
}

impl Settings {
    /// The names of the parts, in the order of [`Settings::parts`].
    pub const PARTS: [&'static str; 6] = ["all", "available", "away", "break", "dnd", "in_call"];

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.parts().into_iter().all(|(_, part)| part.is_empty()) && self.own.is_empty()
    }

    /// Each part with its name.
    pub fn parts(&self) -> [(&'static str, &StatusSettings); 6] {
        [
            ("all", &self.all),
            ("available", &self.available),
            ("away", &self.away),
            ("break", &self.pause),
            ("dnd", &self.dnd),
            ("in_call", &self.in_call),
        ]
    }

    /// The part of that name, to be changed.
    pub fn part_mut(&mut self, name: &str) -> Option<&mut StatusSettings> {
        match name {
            "all" => Some(&mut self.all),
            "available" => Some(&mut self.available),
            "away" => Some(&mut self.away),
            "break" => Some(&mut self.pause),
            "dnd" => Some(&mut self.dnd),
            "in_call" => Some(&mut self.in_call),
            _ => None,
        }
    }

    /// What stands under a name, an own status too; nothing where nothing is set.
    pub fn part(&self, name: &str) -> StatusSettings {
        let mut parts = self.parts().into_iter();
        let part = parts.find(|(own, _)| *own == name).map(|(_, part)| part);
        part.or_else(|| self.own.get(name))
            .cloned()
            .unwrap_or_default()
    }

    /// Sets what stands under a name; under one that is none of the five, for an own status.
    pub fn set_part(&mut self, name: &str, settings: StatusSettings) {
        match self.part_mut(name) {
            Some(part) => *part = settings,
            None if settings.is_empty() => {
                self.own.remove(name);
            }
            None => {
                self.own.insert(name.to_owned(), settings);
            }
        }
    }

    /// What is set for `status` itself, without inheritance.
    pub const fn of(&self, status: Status) -> &StatusSettings {
        match status {
            Status::Available => &self.available,
            Status::Away => &self.away,
            Status::Break => &self.pause,
            Status::Dnd => &self.dnd,
            Status::InCall => &self.in_call,
        }
    }
}

impl ClassRule {
    /// The actions with their caller classes.
    pub fn classes(&self) -> [(CallerClass, Option<&Action>); 3] {
        [
            (CallerClass::Internal, self.internal.as_ref()),
            (CallerClass::External, self.external.as_ref()),
            (CallerClass::Anonymous, self.anonymous.as_ref()),
        ]
    }
}

impl Problem {
    /// A problem of the key at `field`.
    pub fn new(field: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            text: text.into(),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.text)
        } else {
            write!(f, "{}: {}", self.field, self.text)
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("; ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

fn is_unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

const fn is_zero(version: &u64) -> bool {
    *version == 0
}
