//! What the administrator lays down for everybody's statuses: own statuses.

use serde::Serialize;

use super::keys::{Absent::Toml, Absent::Words, Key, key};
use super::{Config, ConfigError};
use crate::presence::{Class, Colour, HouseRules, OwnName, OwnStatuses, is_own_id};

/// How many own statuses there may be.
const STATUSES_LIMIT: usize = 32;
/// How long a text may be that people read of a status.
const TEXT_LIMIT_BYTES: usize = 64;

/// `[[status]]`
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
#[expect(missing_docs, reason = "each key is described once, below")]
pub struct OwnStatus {
    pub id: String,
    pub class: Class,
    pub text_de: Option<String>,
    pub text_en: Option<String>,
    pub colour: Option<Colour>,
    pub activity: Option<String>,
}

const CLASSES: &[(&str, Class)] = &[
    ("available", Class::Available),
    ("restricted", Class::Restricted),
    ("away", Class::Away),
    ("dnd", Class::Dnd),
];
const COLOURS: &[(&str, Colour)] = &[
    ("green", Colour::Green),
    ("teal", Colour::Teal),
    ("blue", Colour::Blue),
    ("purple", Colour::Purple),
    ("pink", Colour::Pink),
    ("red", Colour::Red),
    ("orange", Colour::Orange),
    ("yellow", Colour::Yellow),
    ("grey", Colour::Grey),
];
/// The activities of RFC 4480 §3.2.
const ACTIVITIES: &[&str] = &[
    "appointment",
    "away",
    "breakfast",
    "busy",
    "dinner",
    "holiday",
    "in-transit",
    "looking-for-work",
    "meal",
    "meeting",
    "on-the-phone",
    "performance",
    "permanent-absence",
    "playing",
    "presentation",
    "shopping",
    "sleeping",
    "spectator",
    "steering",
    "travel",
    "tv",
    "vacation",
    "working",
    "worship",
];

/// What the `[[status]]` sections are about.
pub(super) const STATUS_ABOUT: &str = "Statuses of your own beside the five that always exist, \
    \"Business trip\": people choose them, calendars can stand for them, and settings can be made for \
    them. Each is of one class, which says what calls and phones make of it. Repeat the section for \
    each, at most 32. One that is taken away while somebody is in it counts as the status of its class; \
    what was set for it stays and counts again when it comes back.";

/// The keys of a `[[status]]`.
pub(super) const STATUS_KEYS: &[Key<OwnStatus>] = &[
    key!("id", "text", Words("required"), true,
        s.id = v => v.parsed(own_id)?,
        "The id in documents and in the API, different for each: 1 to 32 of a-z, 0-9, `-` and `_`, a letter \
         first. Not the name of one of the five."),
    key!("class", "`\"available\"`, `\"restricted\"`, `\"away\"` or `\"dnd\"`", Toml(r#""away""#), true,
        s.class = v => v.word(CLASSES)?,
        "What it means for calls, phones and colleagues: as `available`, `break`, `away` or `dnd`, from \
         whose settings it takes what its own leave unset."),
    key!("text_de", "text", Words("as `text_en`, else the id"), true,
        s.text_de = v => Some(v.parsed(status_text)?),
        "What people read in German."),
    key!("text_en", "text", Words("as `text_de`, else the id"), true,
        s.text_en = v => Some(v.parsed(status_text)?),
        "What people read in English."),
    key!("colour", "`\"green\"`, `\"teal\"`, `\"blue\"`, `\"purple\"`, `\"pink\"`, `\"red\"`, `\"orange\"`, \
         `\"yellow\"` or `\"grey\"`", Words("that of its class"), true,
        s.colour = v => Some(v.word(COLOURS)?),
        "In which colour it is shown."),
    key!("activity", "text", Words("none"), true,
        s.activity = v => Some(v.parsed(activity)?),
        "The activity that phones are told of (RPID, RFC 4480 §3.2), `\"travel\"` or `\"vacation\"`."),
];

impl Config {
    /// The rules of the house.
    pub fn house(&self) -> HouseRules {
        HouseRules {
            statuses: OwnStatuses(
                self.statuses
                    .iter()
                    .filter_map(OwnStatus::compiled)
                    .collect(),
            ),
        }
    }

    /// Own statuses that cannot be told apart, or are too many.
    pub(super) fn check_statuses(&self) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        if self.statuses.len() > STATUSES_LIMIT {
            let text = format!(
                "{} own statuses; allowed: {STATUSES_LIMIT}",
                self.statuses.len()
            );
            errors.push(self.error("status", text));
        }
        for (index, status) in self.statuses.iter().enumerate() {
            let mut before = self.statuses.iter().take(index);
            if before.any(|other| other.id == status.id) {
                let text = format!("another own status has the id {:?}", status.id);
                errors.push(self.error(&format!("status[{index}].id"), text));
            }
        }
        errors
    }
}

impl OwnStatus {
    /// `None` only where a process has seen thousands of names.
    fn compiled(&self) -> Option<crate::presence::OwnStatus> {
        let text = |first: &Option<String>, second: &Option<String>| {
            let text = first.as_ref().or(second.as_ref());
            text.unwrap_or(&self.id).as_str().into()
        };
        Some(crate::presence::OwnStatus {
            name: OwnName::of(&self.id)?,
            class: self.class,
            de: text(&self.text_de, &self.text_en),
            en: text(&self.text_en, &self.text_de),
            colour: self.colour.unwrap_or(Colour::of(self.class.status())),
            activity: self.activity.as_deref().map(Into::into),
        })
    }
}

fn own_id(text: &str) -> Result<String, String> {
    match is_own_id(text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} is not allowed; allowed: 1 to 32 of a-z, 0-9, - and _, a letter first, and none of \
             available, away, break, dnd, in_call, all, own, restricted"
        )),
    }
}

fn status_text(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.is_empty() || text.len() > TEXT_LIMIT_BYTES || text.chars().any(char::is_control) {
        true => Err(format!(
            "{text:?} is not allowed; allowed: 1 to {TEXT_LIMIT_BYTES} bytes in one line"
        )),
        false => Ok(text.to_owned()),
    }
}

fn activity(text: &str) -> Result<String, String> {
    match ACTIVITIES.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} is no activity; allowed: {}",
            ACTIVITIES.join(", ")
        )),
    }
}
