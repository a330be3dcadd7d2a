//! What the administrator lays down for everybody's statuses: own statuses and hours.

use std::sync::Arc;

use serde::Serialize;

use super::keys::{Absent::Toml, Absent::Words, Key, key};
use super::readers::time_zone;
use super::{Config, ConfigError};
use crate::presence::{
    Class, CodeAction, Colour, FeatureCode, FeatureCodes, Holidays, HouseRules, Moment, NumberPlan,
    OwnName, OwnStatuses, StatusName, TargetPattern, TargetRules, TeamHours, WorkSpan, WorkWeek,
    is_own_id,
};

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

/// `[[hours]]`
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
#[expect(missing_docs, reason = "each key is described once, below")]
pub struct Hours {
    pub team: Option<String>,
    #[serde(flatten)]
    pub week: WorkWeek,
}

/// `[[feature_code]]`
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
#[expect(missing_docs, reason = "each key is described once, below")]
pub struct Code {
    pub code: String,
    pub status: Option<StatusName>,
    #[serde(serialize_with = "as_text")]
    pub forward: Option<Moment>,
    #[serde(serialize_with = "as_text")]
    pub clear: Option<Cleared>,
}

/// Which forwardings a code takes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleared {
    /// Those of one condition.
    One(Moment),
    /// All.
    All,
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
    /// The rules of the house; holidays are known later, see [`HouseRules::observing`].
    pub fn house(&self) -> HouseRules {
        let mut house = HouseRules {
            zone: self.presence.zone(),
            holidays: Holidays::default(),
            hours: Vec::new(),
            targets: TargetRules::new(&self.forwarding.deny, &self.forwarding.allow),
            domains: self
                .sip
                .domains
                .iter()
                .map(|domain| domain.as_str().into())
                .collect(),
            codes: self.code_table(),
            statuses: OwnStatuses(
                self.statuses
                    .iter()
                    .filter_map(OwnStatus::compiled)
                    .collect(),
            ),
        };
        let hours = self.hours.iter().map(|hours| TeamHours {
            team: hours.team.as_deref().map(Into::into),
            schedule: Arc::new(house.schedule(&hours.week)),
        });
        house.hours = hours.collect();
        house
    }

    /// What is allowed and was hardly meant: patterns of `[forwarding]` that name the beginning of a
    /// number as if it were a whole one.
    pub fn warnings(&self, plan: &NumberPlan) -> Vec<String> {
        let lists = [
            ("forwarding.deny", &self.forwarding.deny),
            ("forwarding.allow", &self.forwarding.allow),
        ];
        let patterns = lists
            .into_iter()
            .flat_map(|(key, list)| list.iter().map(move |text| (key, text)));
        let odd = patterns.filter_map(|(key, text)| {
            let meant = TargetPattern::parse(text)?.likely_meant(plan)?;
            Some(format!(
                "{key}: {text:?} is only the beginning of a number and matches just itself; for all \
                 numbers that begin so write {meant:?}"
            ))
        });
        odd.collect()
    }

    /// Our own codes, then the usual ones that they do not replace.
    fn code_table(&self) -> FeatureCodes {
        if !self.feature_codes.enabled {
            return FeatureCodes::default();
        }
        let mut codes: Vec<FeatureCode> = self.codes.iter().filter_map(Code::compiled).collect();
        if self.feature_codes.usual {
            let usual = FeatureCodes::usual().into_iter();
            let is_new = |code: &FeatureCode| codes.iter().all(|own| own.text() != code.text());
            let usual: Vec<FeatureCode> = usual.filter(is_new).collect();
            codes.extend(usual);
        }
        FeatureCodes(codes)
    }

    /// Codes that are none, do several things, or stand there twice.
    pub(super) fn check_codes(&self) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        let statuses = self.house().statuses;
        for (index, code) in self.codes.iter().enumerate() {
            let mut fault = |key: &str, text: String| {
                errors.push(self.error(&format!("feature_code[{index}].{key}"), text));
            };
            let actions = [
                code.status.is_some(),
                code.forward.is_some(),
                code.clear.is_some(),
            ];
            if actions.into_iter().filter(|is_there| *is_there).count() > 1 {
                let text =
                    "it has several of `status`, `forward` and `clear`; allowed: one of them";
                fault("code", text.to_owned());
            } else if code.compiled().is_none() {
                let text = format!(
                    "{:?} is no such code; allowed: `*` or `#`, then digits, `*` and `#`, with one \
                     {{number}} where it forwards and none elsewhere",
                    code.code
                );
                fault("code", text);
            }
            if let Some(name) = code
                .status
                .as_ref()
                .filter(|name| statuses.named(name).is_none())
            {
                let (name, choices) = (name.name(), statuses.choices());
                fault(
                    "status",
                    format!("there is no status {name:?}; allowed: {choices}"),
                );
            }
            let mut before = self.codes.iter().take(index);
            if before.any(|other| other.code == code.code) {
                fault("code", format!("{:?} stands here twice", code.code));
            }
        }
        errors
    }

    /// Hours that contradict themselves, name no status there is, or are for the same people.
    pub(super) fn check_hours(&self) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        let statuses = self.house().statuses;
        for (index, hours) in self.hours.iter().enumerate() {
            let place = format!("hours[{index}]");
            let problems = hours.week.problems("").into_iter();
            let mut faults: Vec<(String, String)> = problems
                .map(|problem| (problem.field, problem.text))
                .collect();
            for (key, name) in hours.week.statuses() {
                let unknown = name.filter(|name| statuses.named(name).is_none());
                faults.extend(unknown.map(|name| {
                    let (name, choices) = (name.name(), statuses.choices());
                    (
                        key.to_owned(),
                        format!("there is no status {name:?}; allowed: {choices}"),
                    )
                }));
            }
            let mut before = self.hours.iter().take(index);
            let team = |hours: &Hours| hours.team.as_deref().map(str::to_lowercase);
            if before.any(|other| team(other) == team(hours)) {
                let whose = hours.team.as_deref().unwrap_or("everybody");
                faults.push((
                    "team".to_owned(),
                    format!("{whose} has other hours already"),
                ));
            }
            let told = faults.into_iter();
            errors.extend(told.map(|(key, text)| self.error(&format!("{place}.{key}"), text)));
        }
        errors
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

/// What the `[[hours]]` sections are about.
pub(super) const HOURS_ABOUT: &str = "When people work: those of a team, or everybody for whom no \
    team has hours. A subscriber's own `hours` go before both. Between two times of a day is a break, a \
    day without any is off, and on `presence.holidays` nobody works. Outside of hours, in breaks and on \
    holidays a status is in force, in the layer `schedule`. Repeat the section for each team.";

const SPANS: &str = "list of `HH:MM-HH:MM`";
const STATUS_KIND: &str =
    "`\"away\"`, `\"break\"`, `\"dnd\"`, `\"available\"`, or the id of a `[[status]]`";

/// The keys of an `[[hours]]`.
pub(super) const HOURS_KEYS: &[Key<Hours>] = &[
    key!("team", "text", Words("everybody"), true,
        h.team = v => Some(v.parsed(status_text)?),
        "Whose hours they are: the members of this team, as `teams` of a subscriber names it."),
    key!("mon", SPANS, Toml("[]"), true,
        h.week.mon = v => v.list(span)?,
        "When work is on a Monday, `[\"09:00-12:30\", \"13:00-17:00\"]`; at most 8, in order. `24:00` is the \
         end of the day."),
    key!("tue", SPANS, Toml("[]"), true, h.week.tue = v => v.list(span)?, "The same on a Tuesday."),
    key!("wed", SPANS, Toml("[]"), true, h.week.wed = v => v.list(span)?, "The same on a Wednesday."),
    key!("thu", SPANS, Toml("[]"), true, h.week.thu = v => v.list(span)?, "The same on a Thursday."),
    key!("fri", SPANS, Toml("[]"), true, h.week.fri = v => v.list(span)?, "The same on a Friday."),
    key!("sat", SPANS, Toml("[]"), true, h.week.sat = v => v.list(span)?, "The same on a Saturday."),
    key!("sun", SPANS, Toml("[]"), true, h.week.sun = v => v.list(span)?, "The same on a Sunday."),
    key!("zone", "IANA time zone, `Europe/Berlin`", Words("as `presence.time_zone`"), true,
        h.week.zone = v => Some(v.parsed(time_zone)?),
        "In which time zone they are meant."),
    key!("outside", STATUS_KIND, Words("`\"away\"`"), true,
        h.week.outside = v => Some(v.parsed(status_name)?),
        "The status outside of hours; `available` is none."),
    key!("in_breaks", STATUS_KIND, Words("`\"break\"`"), true,
        h.week.in_breaks = v => Some(v.parsed(status_name)?),
        "The status in breaks."),
    key!("on_holidays", STATUS_KIND, Words("`\"away\"`"), true,
        h.week.on_holidays = v => Some(v.parsed(status_name)?),
        "The status on holidays."),
];

/// What the `[[feature_code]]` sections are about.
pub(super) const CODE_ABOUT: &str = "Codes of your own, before the usual ones. A code has one of `status`, \
    `forward` and `clear`. Repeat the section for each.";

const MOMENTS: &[(&str, Moment)] = &[
    ("always", Moment::Immediate),
    ("busy", Moment::Busy),
    ("no_answer", Moment::NoAnswer),
    ("unreachable", Moment::Unreachable),
    ("declined", Moment::Declined),
];
const CLEARED: &[(&str, Cleared)] = &[
    ("always", Cleared::One(Moment::Immediate)),
    ("busy", Cleared::One(Moment::Busy)),
    ("no_answer", Cleared::One(Moment::NoAnswer)),
    ("unreachable", Cleared::One(Moment::Unreachable)),
    ("declined", Cleared::One(Moment::Declined)),
    ("all", Cleared::All),
];

/// The keys of a `[[feature_code]]`.
pub(super) const CODE_KEYS: &[Key<Code>] = &[
    key!("code", "text", Words("required"), true,
        f.code = v => v.text()?,
        "What is dialled: `*` or `#`, then digits, `*` and `#`; `\"*72{number}\"` where a number goes with it."),
    key!("status", STATUS_KIND, Words("none"), true,
        f.status = v => Some(v.parsed(status_name)?),
        "The status that it chooses; `available` clears the choice."),
    key!("forward", "`\"always\"`, `\"busy\"`, `\"no_answer\"`, `\"unreachable\"` or `\"declined\"`",
        Words("none"), true,
        f.forward = v => Some(v.word(MOMENTS)?),
        "When calls are forwarded to the dialled number: in every status that sets nothing else for it."),
    key!("clear", "as `forward`, or `\"all\"`", Words("none"), true,
        f.clear = v => Some(v.word(CLEARED)?),
        "Which forwarding it takes back."),
];

fn as_text<S: serde::Serializer>(value: &impl std::fmt::Debug, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{value:?}"))
}

impl Code {
    fn compiled(&self) -> Option<FeatureCode> {
        let status = self.status.clone().map(CodeAction::Status);
        let forward = self.forward.map(CodeAction::Forward);
        let clear = self.clear.map(|clear| match clear {
            Cleared::One(moment) => CodeAction::Clear(moment),
            Cleared::All => CodeAction::ClearAll,
        });
        FeatureCode::new(&self.code, status.or(forward).or(clear)?)
    }
}

fn span(text: &str) -> Result<WorkSpan, String> {
    let wrong =
        || format!("{text:?} are no hours; allowed: 09:00-12:30, the end after the beginning");
    WorkSpan::parse(text).ok_or_else(wrong)
}

/// A pattern of `[forwarding]`.
pub(super) fn target(text: &str) -> Result<String, String> {
    match TargetPattern::parse(text) {
        Some(_) => Ok(text.trim().to_owned()),
        None => Err(format!(
            "{text:?} is no pattern; allowed: \"+49900*\", \"+49110\", \"sip:*@example.com\", \
             \"sip:*@*.example.com\", \"sip:*\" and \"*\""
        )),
    }
}

fn status_name(text: &str) -> Result<StatusName, String> {
    StatusName::read(text).ok_or_else(|| format!("{text:?} is no status"))
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
