//! Statuses of a deployment's own, "Business trip": named by the administrator, each of one class.
//!
//! The class says what calls, phones and colleagues make of it; the name has a text in each
//! language, and settings of its own. Names are kept once for the whole process ([`OwnName`]), so
//! that whatever tells of a status stays small and is compared as a number.

use std::num::NonZeroU16;
use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::hours::WorkWeek;
use super::layers::Triggers;
use super::model::{Language, Problem, Status, Subscriber};
use super::settings::Layer;

/// How many own statuses a deployment has at most.
pub const OWN_STATUSES_LIMIT: usize = 32;
/// How many names one process can have seen: every reload may bring others.
const NAMES_LIMIT: usize = 4_096;
/// How long the id of an own status may be.
const ID_LIMIT_BYTES: usize = 32;

/// Every name seen so far, the oldest first; none is ever forgotten.
static NAMES: RwLock<Vec<&'static str>> = RwLock::new(Vec::new());

/// The id of an own status as a number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct OwnName(NonZeroU16);

/// A status that is in force: one of the five, and the own status it stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BaseStatus {
    /// What it means for calls.
    pub status: Status,
    /// The own status, where it is one.
    pub own: Option<OwnName>,
}

/// What an own status means for calls, phones and colleagues.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// As `available`.
    Available,
    /// As `break`: reachable only as set.
    Restricted,
    /// As `away`.
    #[default]
    Away,
    /// As `dnd`.
    Dnd,
}

/// The colours in which a status can be shown.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "a colour is what its name says")]
pub enum Colour {
    Green,
    Teal,
    Blue,
    Purple,
    Pink,
    Red,
    Orange,
    Yellow,
    Grey,
}

/// One own status.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnStatus {
    /// Its id as a number.
    pub name: OwnName,
    /// What it means.
    pub class: Class,
    /// What Germans read.
    pub de: Box<str>,
    /// What everybody else reads.
    pub en: Box<str>,
    /// In which colour it is shown.
    pub colour: Colour,
    /// The activity that phones are told (RFC 4480 §3.2).
    pub activity: Option<Box<str>>,
}

/// The own statuses of a deployment, in the order in which people see them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OwnStatuses(pub Vec<OwnStatus>);

/// A status by its name: one of the five, or an own one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum StatusName {
    /// One of the five.
    Of(Status),
    /// An own status by its id.
    Own(Box<str>),
}

impl OwnName {
    /// The number of an id, which is given one if it has none. `None` when there are too many.
    pub fn of(id: &str) -> Option<Self> {
        if let Some(known) = Self::find(id) {
            return Some(known);
        }
        let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have been faster.
        let position = match names.iter().position(|name| *name == id) {
            Some(position) => position,
            None if names.len() >= NAMES_LIMIT => return None,
            None => {
                names.push(Box::leak(id.into()));
                names.len().saturating_sub(1)
            }
        };
        Self::at(position)
    }

    /// The number of an id that has one.
    pub fn find(id: &str) -> Option<Self> {
        let names = NAMES.read().unwrap_or_else(PoisonError::into_inner);
        Self::at(names.iter().position(|name| *name == id)?)
    }

    /// The id.
    pub fn id(self) -> &'static str {
        let names = NAMES.read().unwrap_or_else(PoisonError::into_inner);
        let position = usize::from(self.0.get()).saturating_sub(1);
        names.get(position).copied().unwrap_or_default()
    }

    fn at(position: usize) -> Option<Self> {
        let number = u16::try_from(position.checked_add(1)?).ok()?;
        NonZeroU16::new(number).map(Self)
    }
}

impl BaseStatus {
    /// Plain `available`.
    pub const AVAILABLE: Self = Self {
        status: Status::Available,
        own: None,
    };

    /// Where settings for it are looked for, the first one first.
    pub fn layers(self) -> impl Iterator<Item = Layer> {
        let own = self.own.map(Layer::Own);
        own.into_iter().chain([Layer::Of(self.status), Layer::All])
    }
}

impl From<Status> for BaseStatus {
    fn from(status: Status) -> Self {
        Self { status, own: None }
    }
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 4] = [Self::Available, Self::Restricted, Self::Away, Self::Dnd];

    /// The name in the configuration, `restricted`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Restricted => "restricted",
            Self::Away => "away",
            Self::Dnd => "dnd",
        }
    }

    /// The one of the five that is of this class.
    pub const fn status(self) -> Status {
        match self {
            Self::Available => Status::Available,
            Self::Restricted => Status::Break,
            Self::Away => Status::Away,
            Self::Dnd => Status::Dnd,
        }
    }

    /// The class of one of the five. Who is in a call is reachable in a limited way.
    pub const fn of(status: Status) -> Self {
        match status {
            Status::Available => Self::Available,
            Status::Break | Status::InCall => Self::Restricted,
            Status::Away => Self::Away,
            Status::Dnd => Self::Dnd,
        }
    }
}

impl Colour {
    /// Every colour.
    pub const ALL: [Self; 9] = [
        Self::Green,
        Self::Teal,
        Self::Blue,
        Self::Purple,
        Self::Pink,
        Self::Red,
        Self::Orange,
        Self::Yellow,
        Self::Grey,
    ];

    /// The colour in which one of the five is shown.
    pub const fn of(status: Status) -> Self {
        match status {
            Status::Available => Self::Green,
            Status::Away => Self::Orange,
            Status::Break => Self::Teal,
            Status::Dnd => Self::Red,
            Status::InCall => Self::Purple,
        }
    }
}

impl OwnStatus {
    /// What people read.
    pub fn text(&self, language: Language) -> &str {
        match language {
            Language::De => &self.de,
            Language::En => &self.en,
        }
    }
}

impl OwnStatuses {
    /// The own status of that id.
    pub fn get(&self, id: &str) -> Option<&OwnStatus> {
        self.0.iter().find(|own| own.name.id() == id)
    }

    /// The own status of that name.
    pub fn of(&self, name: OwnName) -> Option<&OwnStatus> {
        self.0.iter().find(|own| own.name == name)
    }

    /// What a status means, and its name where it is an own one that there is. One that is gone
    /// counts as the one of the five that it was.
    pub fn resolve(&self, status: Status, own: Option<&str>) -> BaseStatus {
        match own.and_then(|id| self.get(id)) {
            Some(own) => BaseStatus {
                status: own.class.status(),
                own: Some(own.name),
            },
            None => status.into(),
        }
    }

    /// What a name means; `None` where there is no such status.
    pub fn named(&self, name: &StatusName) -> Option<BaseStatus> {
        match name {
            StatusName::Of(status) => Some((*status).into()),
            StatusName::Own(id) => {
                Some(self.resolve(Status::Away, Some(id))).filter(|base| base.own.is_some())
            }
        }
    }

    /// The names of all that can be chosen, for people who wrote another.
    pub fn choices(&self) -> String {
        let five = Status::ALL
            .into_iter()
            .filter(|status| *status != Status::InCall)
            .map(Status::name);
        let own = self.0.iter().map(|own| own.name.id());
        five.chain(own).collect::<Vec<_>>().join(", ")
    }
}

impl StatusName {
    /// Reads a name: one of the five, or what may be the id of an own status.
    pub fn read(name: &str) -> Option<Self> {
        match Status::from_name(name) {
            Some(status) => Some(Self::Of(status)),
            None => is_own_id(name).then(|| Self::Own(name.into())),
        }
    }

    /// The name in documents.
    pub fn name(&self) -> &str {
        match self {
            Self::Of(status) => status.name(),
            Self::Own(id) => id,
        }
    }
}

impl utoipa::PartialSchema for StatusName {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        String::schema()
    }
}

impl ToSchema for StatusName {}

impl From<Status> for StatusName {
    fn from(status: Status) -> Self {
        Self::Of(status)
    }
}

impl Serialize for StatusName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for StatusName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::read(&name).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "`{}` is no status: use available, away, break, dnd or the id of an own status",
                name.chars().take(40).collect::<String>()
            ))
        })
    }
}

impl Subscriber {
    /// Where the document names own statuses, and which.
    pub(super) fn own_mentions(&self) -> Vec<(String, String)> {
        let of = |field: &str, own: &Option<String>| own.clone().map(|id| (field.to_owned(), id));
        let order = self.overruled.as_ref();
        let signals = self.signals.iter().enumerate();
        let settings = self.settings.own.keys();
        of("own_status", &self.own_status)
            .into_iter()
            .chain(order.and_then(|order| of("override.own_status", &order.own_status)))
            .chain(signals.filter_map(|(at, signal)| {
                of(&format!("signals.{at}.own_status"), &signal.own_status)
            }))
            .chain(settings.map(|id| (format!("settings.own.{id}"), id.clone())))
            .chain(self.triggers.own_mentions("triggers."))
            .chain(
                self.hours
                    .iter()
                    .flat_map(|hours| hours.own_mentions("hours.")),
            )
            .collect()
    }

    /// Puts in place what the own statuses stand for.
    pub(super) fn settle(&mut self, statuses: &OwnStatuses) {
        let own = self.own_status.as_deref();
        self.status = statuses.resolve(self.status, own).status;
        if let Some(order) = &mut self.overruled {
            let own = order.own_status.as_deref();
            order.status = statuses.resolve(order.status, own).status;
        }
        for signal in &mut self.signals {
            if let Some(own) = signal.own_status.as_deref().and_then(|id| statuses.get(id)) {
                signal.status = Some(own.class.status());
            }
        }
    }
}

impl WorkWeek {
    /// Where own statuses are named, and which.
    pub(super) fn own_mentions(&self, path: &str) -> Vec<(String, String)> {
        let named = self.statuses().into_iter();
        named
            .filter_map(|(key, name)| match name? {
                StatusName::Of(_) => None,
                StatusName::Own(id) => Some((format!("{path}{key}"), id.to_string())),
            })
            .collect()
    }
}

impl Triggers {
    /// Where own statuses are named, and which.
    pub(super) fn own_mentions(&self, path: &str) -> Vec<(String, String)> {
        let named = [
            ("calendar_busy", &self.calendar_busy),
            ("calendar_out_of_office", &self.calendar_out_of_office),
        ];
        let named = named.into_iter();
        let named = named.filter_map(|(key, name)| Some((key.to_owned(), name.as_ref()?)));
        let categories = self.calendar_categories.iter();
        let categories =
            categories.map(|(category, name)| (format!("calendar_categories.{category}"), name));
        named
            .chain(categories)
            .filter_map(|(key, name)| match name {
                StatusName::Of(_) => None,
                StatusName::Own(id) => Some((format!("{path}{key}"), id.to_string())),
            })
            .collect()
    }
}

/// What is wrong with a document that names own statuses: there must be one of that name, unless
/// the document named it before, when there may have been one.
pub(super) fn unknown(
    mentions: &[(String, String)],
    current: Option<&Subscriber>,
    statuses: &OwnStatuses,
) -> Vec<Problem> {
    let before = current.map(Subscriber::own_mentions).unwrap_or_default();
    let is_left = |id: &str| before.iter().any(|(_, known)| known == id);
    let missing = mentions
        .iter()
        .filter(|(_, id)| statuses.get(id).is_none() && !is_left(id));
    let told = missing.map(|(field, id)| {
        let id: String = id.chars().take(40).collect();
        let text = format!("there is no status `{id}`; use {}", statuses.choices());
        Problem::new(field.as_str(), text)
    });
    told.take(super::MAX_PROBLEMS).collect()
}

/// Whether this may be the id of an own status: lower case, and no word that means something else.
pub fn is_own_id(id: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    let is_taken = ["all", "own", "restricted"].contains(&id) || Status::from_name(id).is_some();
    (1..=ID_LIMIT_BYTES).contains(&id.len())
        && id.starts_with(|c: char| c.is_ascii_lowercase())
        && id.bytes().all(is_plain)
        && !is_taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_number_for_the_whole_process() {
        let trip = OwnName::of("own_test_trip").unwrap();
        assert_eq!(OwnName::of("own_test_trip"), Some(trip));
        assert_eq!(OwnName::find("own_test_trip"), Some(trip));
        assert_eq!(trip.id(), "own_test_trip");
        assert_eq!(OwnName::find("own_test_nobody"), None);
        assert_ne!(OwnName::of("own_test_other"), Some(trip));
    }

    #[test]
    fn an_id_is_a_plain_word_of_its_own() {
        for good in ["business_trip", "home-office", "x1"] {
            assert!(is_own_id(good), "{good}");
        }
        for bad in [
            "",
            "all",
            "own",
            "dnd",
            "in_call",
            "Trip",
            "1st",
            "a b",
            "ü",
            &"x".repeat(33),
        ] {
            assert!(!is_own_id(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_gone_counts_as_what_it_was() {
        let trip = OwnStatus {
            name: OwnName::of("trip").unwrap(),
            class: Class::Dnd,
            de: "Reise".into(),
            en: "Trip".into(),
            colour: Colour::Blue,
            activity: None,
        };
        let statuses = OwnStatuses(vec![trip.clone()]);
        let there = statuses.resolve(Status::Away, Some("trip"));
        assert_eq!((there.status, there.own), (Status::Dnd, Some(trip.name)));
        let gone = OwnStatuses::default().resolve(Status::Away, Some("trip"));
        assert_eq!(gone, Status::Away.into());
        assert_eq!(statuses.choices(), "available, away, break, dnd, trip");
        assert_eq!(trip.text(Language::De), "Reise");
    }
}
