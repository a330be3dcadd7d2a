//! Exceptions: who is treated otherwise than the status says, and when.
//!
//! A block list, callers who ring through, and rules in the subscriber's order; the first that
//! matches decides. They are kept as the subscriber wrote them ([`Exceptions`]) and read by routing
//! in a compiled form ([`ExceptionRules`]); [`ExceptionRules::oddities`] names rules that can never
//! match.

use std::sync::Arc;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model::{Action, CallerClass, Language};
use super::numbers::NumberPlan;
use super::settings::{Step, Target};

/// Everything that is an exception for one subscriber.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, ToSchema)]
pub struct Exceptions {
    /// Callers who are refused with 603, whatever the status; at most 200. They are not told that
    /// they are blocked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub blocked: Vec<String>,
    /// Callers who ring through every status, `dnd` too; at most 200.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub vips: Vec<String>,
    /// Callers who are put through although all calls are forwarded to them, under `dnd` too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub call_through_dnd: bool,
    /// The rules in their order, at most 50: the first that matches decides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub rules: Vec<Exception>,
}

/// One rule.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, ToSchema)]
pub struct Exception {
    /// What the subscriber calls it, at most 128 bytes.
    pub name: String,
    /// Whom it is for, at most 200: a number, a prefix `+4989*`, a colleague's id or extension, a
    /// `sip:` URI, `@host`, or `internal`, `external`, `anonymous`. Nobody named: everybody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub callers: Vec<String>,
    /// When it applies; left out, always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<Hours>,
    /// What happens to the call.
    pub action: Action,
    /// When the rule ends by itself (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

/// Hours of a week.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// `mon` to `sun`; none named: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub days: Vec<Day>,
    /// From this time of day on, `08:30`; left out, from midnight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<TimeOfDay>,
    /// Before this time of day; left out, to midnight. Not after `from`: over midnight, and the day
    /// is that of its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<TimeOfDay>,
    /// True: on holidays only. False: not on holidays. Left out, whatever the day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holidays: Option<bool>,
    /// The time zone by its IANA name, `Europe/Berlin`; left out, that of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// A day of the week.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// How many minutes a day has on the clock.
const DAY_MINUTES: u16 = 24 * 60;

/// Minutes since midnight, written `08:30`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, ToSchema)]
#[schema(value_type = String, pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$")]
pub struct TimeOfDay(u16);

/// The days on which nobody works, in ascending order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Holidays(Box<[Date]>);

/// The moment of a call, and what it takes to tell which day that is.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    /// The time, in unix seconds.
    pub now_unix_s: i64,
    /// The server's time zone.
    pub zone: &'a TimeZone,
    /// The holidays.
    pub holidays: &'a Holidays,
}

/// Exceptions in the form that routing reads.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExceptionRules {
    written: Exceptions,
    blocked: Box<[Pattern]>,
    vips: Box<[Pattern]>,
    rules: Box<[CompiledRule]>,
}

/// A rule that matched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Matched {
    /// What the subscriber calls it.
    pub name: Arc<str>,
    /// What it says.
    pub step: Step,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct CompiledRule {
    matched: Matched,
    callers: Box<[Pattern]>,
    when: Option<CompiledHours>,
    until_s: i64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct CompiledHours {
    hours: Hours,
    zone: Option<TimeZone>,
}

/// Whom a word of a caller list means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pattern {
    /// Everybody of that class.
    Class(CallerClass),
    /// Whose number begins so.
    Prefix(Box<str>),
    /// Who calls from that host.
    Host(Box<str>),
    /// This one.
    One(Target),
}

impl Day {
    const fn of(weekday: Weekday) -> Self {
        match weekday {
            Weekday::Monday => Self::Mon,
            Weekday::Tuesday => Self::Tue,
            Weekday::Wednesday => Self::Wed,
            Weekday::Thursday => Self::Thu,
            Weekday::Friday => Self::Fri,
            Weekday::Saturday => Self::Sat,
            Weekday::Sunday => Self::Sun,
        }
    }
}

impl TimeOfDay {
    /// The time of that text, `08:30`.
    pub fn parse(text: &str) -> Option<Self> {
        let (hours, minutes) = text.split_once(':')?;
        let number = |digits: &str, limit: u16| {
            let is_plain = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
            let value: u16 = digits.parse().ok().filter(|_| is_plain)?;
            (value < limit).then_some(value)
        };
        Some(Self(number(hours, 24)? * 60 + number(minutes, 60)?))
    }

    fn of(time: Time) -> Self {
        let (hour, minute) = (time.hour().unsigned_abs(), time.minute().unsigned_abs());
        Self(u16::from(hour) * 60 + u16::from(minute))
    }
}

impl std::fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl Serialize for TimeOfDay {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("`{text}` is no time of day; write it as 08:30"))
        })
    }
}

impl Holidays {
    /// These days.
    pub fn new(days: impl IntoIterator<Item = Date>) -> Self {
        let mut days: Vec<Date> = days.into_iter().collect();
        days.sort_unstable();
        days.dedup();
        Self(days.into())
    }

    /// These and others.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        Self::new(self.0.iter().chain(&others.0).copied())
    }

    /// Whether nobody works on that day.
    pub fn contains(&self, day: Date) -> bool {
        self.0.binary_search(&day).is_ok()
    }
}

impl Hours {
    /// Whether they are on at that local time.
    pub fn contains(&self, now: &ZonedDateTime, holidays: &Holidays) -> bool {
        let midnight = TimeOfDay(0);
        let (from, to) = (self.from.unwrap_or(midnight), self.to.unwrap_or(midnight));
        let time = TimeOfDay::of(now.time());
        let is_over_midnight = to <= from && to > midnight;
        let began_yesterday = is_over_midnight && time < to;
        let is_in_time = match to {
            _ if is_over_midnight => time >= from || time < to,
            to if to == midnight => time >= from,
            to => from <= time && time < to,
        };
        let day = if began_yesterday {
            now.date().yesterday().unwrap_or(now.date())
        } else {
            now.date()
        };
        let is_day = self.days.is_empty() || self.days.contains(&Day::of(day.weekday()));
        let is_wanted = self
            .holidays
            .is_none_or(|wanted| holidays.contains(day) == wanted);
        is_in_time && is_day && is_wanted
    }
}

impl CompiledHours {
    fn is_on(&self, occasion: Occasion<'_>) -> bool {
        let zone = self.zone.as_ref().unwrap_or(occasion.zone);
        Timestamp::from_second(occasion.now_unix_s).is_ok_and(|now| {
            let local = now.to_zoned_datetime(zone.clone());
            self.hours.contains(&local, occasion.holidays)
        })
    }
}

impl Pattern {
    /// The meaning of a word that [`Pattern::check`] passes.
    pub fn parse(word: &str, plan: &NumberPlan) -> Self {
        if let Some(class) = class_of(word) {
            return Self::Class(class);
        }
        if let Some(host) = word.strip_prefix('@') {
            return Self::Host(host.to_ascii_lowercase().into());
        }
        match word.strip_suffix('*') {
            Some(prefix) if is_prefix(prefix) => Self::Prefix(prefix.into()),
            _ => Self::One(Target::parse(word, plan)),
        }
    }

    /// What is wrong with a word, where something is.
    pub fn check(word: &str) -> Result<String, &'static str> {
        let word = word.trim();
        let is_host = |host: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
            !host.is_empty() && host.bytes().all(allowed)
        };
        match word.strip_prefix('@') {
            _ if class_of(word).is_some() => return Ok(word.to_owned()),
            Some(host) if is_host(host) => return Ok(word.to_owned()),
            _ => {}
        }
        if let Some(prefix) = word.strip_suffix('*') {
            let plain: String = prefix
                .chars()
                .filter(|c| !matches!(c, ' ' | '-' | '/' | '(' | ')'))
                .collect();
            if is_prefix(&plain) {
                return Ok(format!("{plain}*"));
            }
        }
        super::validate::normalise_target(word)
    }
}

fn is_prefix(digits: &str) -> bool {
    let bare = digits.strip_prefix('+').unwrap_or(digits);
    !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit())
}

fn class_of(word: &str) -> Option<CallerClass> {
    CallerClass::ALL
        .into_iter()
        .find(|class| class.name().eq_ignore_ascii_case(word))
}

impl Exceptions {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl ExceptionRules {
    /// Compiles exceptions; `None` where there are none.
    pub fn compile(written: &Exceptions, plan: &NumberPlan) -> Option<Self> {
        if written.is_empty() {
            return None;
        }
        let patterns = |words: &[String]| -> Box<[Pattern]> {
            words
                .iter()
                .map(|word| Pattern::parse(word, plan))
                .collect()
        };
        let rules = written.rules.iter().map(|rule| CompiledRule {
            matched: Matched {
                name: rule.name.as_str().into(),
                step: Step::of(&rule.action, plan),
            },
            callers: patterns(&rule.callers),
            when: rule.when.as_ref().map(CompiledHours::of),
            until_s: rule.until.map_or(i64::MAX, Timestamp::as_second),
        });
        Some(Self {
            blocked: patterns(&written.blocked),
            vips: patterns(&written.vips),
            rules: rules.collect(),
            written: written.clone(),
        })
    }

    /// As the subscriber wrote them.
    pub const fn written(&self) -> &Exceptions {
        &self.written
    }

    /// Whether a caller is refused whatever else is set.
    pub fn is_blocked(&self, is_meant: impl FnMut(&Pattern) -> bool) -> bool {
        self.blocked.iter().any(is_meant)
    }

    /// Whether a caller rings through.
    pub fn is_vip(&self, is_meant: impl FnMut(&Pattern) -> bool) -> bool {
        self.vips.iter().any(is_meant)
    }

    /// What each rule says, in their order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.rules.iter().map(|rule| &rule.matched.step)
    }

    /// What each rule is called and says, in their order.
    pub fn matched(&self) -> impl Iterator<Item = &Matched> {
        self.rules.iter().map(|rule| &rule.matched)
    }

    /// The rules that are for a caller at that time, in their order; the first one decides.
    pub fn applying<'a>(
        &'a self,
        occasion: Occasion<'a>,
        mut is_meant: impl FnMut(&Pattern) -> bool + 'a,
    ) -> impl Iterator<Item = &'a Matched> {
        let applies = move |rule: &&CompiledRule| {
            occasion.now_unix_s < rule.until_s
                && (rule.callers.is_empty() || rule.callers.iter().any(&mut is_meant))
                && rule.when.as_ref().is_none_or(|hours| hours.is_on(occasion))
        };
        self.rules.iter().filter(applies).map(|rule| &rule.matched)
    }

    /// Rules that can never match and rules that contradict an earlier one, in a sentence each.
    pub fn oddities(&self, now_unix_s: i64, language: Language) -> Vec<String> {
        let german = language == Language::De;
        let mut told = self.blocked_vips(german);
        for (position, rule) in self.rules.iter().enumerate() {
            let name = &rule.matched.name;
            if rule.until_s <= now_unix_s {
                told.push(match german {
                    true => format!("Die Regel „{name}“ ist abgelaufen"),
                    false => format!("The rule “{name}” has ended"),
                });
                continue;
            }
            let is_always_blocked = !rule.callers.is_empty()
                && rule
                    .callers
                    .iter()
                    .all(|caller| self.blocked.contains(caller));
            if is_always_blocked {
                told.push(match german {
                    true => format!("Die Regel „{name}“ trifft nie zu: ihre Anrufer sind gesperrt"),
                    false => format!("The rule “{name}” never applies: its callers are blocked"),
                });
                continue;
            }
            let is_vip_only = !rule.callers.is_empty()
                && rule.callers.iter().all(|caller| self.vips.contains(caller));
            if is_vip_only {
                told.push(match german {
                    true => format!(
                        "Die Regel „{name}“ trifft nie zu: ihre Anrufer werden immer durchgestellt"
                    ),
                    false => {
                        format!("The rule “{name}” never applies: its callers always ring through")
                    }
                });
                continue;
            }
            let mut earlier = self.rules.iter().take(position);
            let Some(covering) =
                earlier.find(|earlier| earlier.until_s >= rule.until_s && earlier.covers(rule))
            else {
                continue;
            };
            let by = &covering.matched.name;
            let is_contradiction = covering.matched.step != rule.matched.step
                && covering.callers == rule.callers
                && covering.when == rule.when;
            told.push(match (german, is_contradiction) {
                (true, true) => format!("Die Regel „{name}“ widerspricht „{by}“, die zuerst gilt"),
                (true, false) => format!("Die Regel „{name}“ trifft nie zu: „{by}“ gilt zuerst"),
                (false, true) => format!("The rule “{name}” contradicts “{by}”, which comes first"),
                (false, false) => format!("The rule “{name}” never applies: “{by}” comes first"),
            });
        }
        told
    }
}

impl ExceptionRules {
    /// Callers who would ring through, and are blocked, which goes first.
    fn blocked_vips(&self, german: bool) -> Vec<String> {
        let is_blocked = |vip: &Pattern| self.blocked.iter().any(|blocked| blocked.covers(vip));
        let vips = self.written.vips.iter().zip(&self.vips);
        let told = vips.filter(|(_, vip)| is_blocked(vip));
        told.map(|(word, _)| match german {
            true => format!("{word} ist gesperrt und wird nicht durchgestellt"),
            false => format!("{word} is blocked and does not ring through"),
        })
        .collect()
    }
}

impl CompiledRule {
    /// Whether this rule is for every call that the other is for.
    fn covers(&self, other: &Self) -> bool {
        let has_callers = self.callers.is_empty()
            || (!other.callers.is_empty()
                && other
                    .callers
                    .iter()
                    .all(|one| self.callers.iter().any(|own| own.covers(one))));
        let has_hours = match (&self.when, &other.when) {
            (None, _) => true,
            (Some(own), Some(other)) => own.hours.covers(&other.hours),
            (Some(own), None) => own.hours.covers(&Hours::default()),
        };
        has_callers && has_hours
    }
}

impl Hours {
    /// Whether they are on whenever the others are.
    fn covers(&self, other: &Self) -> bool {
        let is_always = |hours: &Self| {
            hours.days.is_empty() && hours.holidays.is_none() && hours.minutes() == (0, DAY_MINUTES)
        };
        let (from, to) = self.minutes();
        let (other_from, other_to) = other.minutes();
        let has_days = self.days.is_empty()
            || (!other.days.is_empty() && other.days.iter().all(|day| self.days.contains(day)));
        let has_holidays = self.holidays.is_none() || self.holidays == other.holidays;
        let has_time = from <= other_from && other_to <= to;
        is_always(self) || (self.zone == other.zone && has_days && has_holidays && has_time)
    }

    /// From and to which minute they are on, counted from the midnight that their day begins with.
    fn minutes(&self) -> (u16, u16) {
        let from = self.from.map_or(0, |time| time.0);
        match self.to.map_or(0, |time| time.0) {
            0 => (from, DAY_MINUTES),
            to if to <= from => (from, to.saturating_add(DAY_MINUTES)),
            to => (from, to),
        }
    }
}

impl Pattern {
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Prefix(own), Self::Prefix(prefix)) => prefix.starts_with(&**own),
            (Self::Prefix(own), Self::One(Target::Number { key, .. })) => key.starts_with(&**own),
            _ => self == other,
        }
    }
}

impl CompiledHours {
    fn of(hours: &Hours) -> Self {
        let zone = hours.zone.as_deref();
        Self {
            zone: zone.and_then(|name| TimeZone::get(name).ok()),
            hours: hours.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(text: &str) -> Hours {
        serde_json::from_str(text).unwrap()
    }

    fn at(local: &str) -> ZonedDateTime {
        format!("{local}[Europe/Berlin]").parse().unwrap()
    }

    #[test]
    fn hours_are_those_of_their_days_also_over_midnight() {
        let none = Holidays::default();
        let office = hours(r#"{"days":["mon","fri"],"from":"08:30","to":"17:00"}"#);
        for (local, is_on) in [
            ("2026-11-23T08:30:00", true),
            ("2026-11-23T08:29:59", false),
            ("2026-11-23T17:00:00", false),
            ("2026-11-24T12:00:00", false),
            ("2026-11-27T16:59:59", true),
        ] {
            assert_eq!(office.contains(&at(local), &none), is_on, "{local}");
        }
        let night = hours(r#"{"days":["fri"],"from":"22:00","to":"06:00"}"#);
        for (local, is_on) in [
            ("2026-11-27T22:00:00", true),
            ("2026-11-28T05:59:00", true),
            ("2026-11-28T06:00:00", false),
            ("2026-11-27T05:00:00", false),
            ("2026-11-28T23:00:00", false),
        ] {
            assert_eq!(night.contains(&at(local), &none), is_on, "{local}");
        }
        assert!(hours("{}").contains(&at("2026-11-28T00:00:00"), &none));
        let evening = hours(r#"{"from":"18:00"}"#);
        assert!(evening.contains(&at("2026-11-28T23:59:59"), &none));
        assert!(!evening.contains(&at("2026-11-28T00:00:00"), &none));
    }

    #[test]
    fn hours_follow_daylight_saving() {
        let none = Holidays::default();
        let early = hours(r#"{"from":"02:30","to":"03:30"}"#);
        // In the night of 2026-03-29 the clocks in Berlin go from 02:00 to 03:00.
        let second = |utc: &str| {
            let now: Timestamp = utc.parse().unwrap();
            now.in_tz("Europe/Berlin").unwrap()
        };
        assert!(!early.contains(&second("2026-03-29T00:59:59Z"), &none));
        assert!(
            early.contains(&second("2026-03-29T01:00:00Z"), &none),
            "it is 03:00"
        );
        assert!(!early.contains(&second("2026-03-29T01:30:00Z"), &none));
        // In the night of 2026-10-25 the hour from 02:00 to 03:00 comes twice.
        for (utc, is_on) in [
            ("2026-10-25T00:29:00Z", false),
            ("2026-10-25T00:30:00Z", true),
            ("2026-10-25T01:00:00Z", false),
            ("2026-10-25T01:30:00Z", true),
            ("2026-10-25T02:29:00Z", true),
            ("2026-10-25T02:30:00Z", false),
        ] {
            assert_eq!(early.contains(&second(utc), &none), is_on, "{utc}");
        }
    }

    #[test]
    fn holidays_may_be_wanted_or_not() {
        let days = Holidays::new(["2026-12-25".parse().unwrap()]);
        let only = hours(r#"{"holidays":true}"#);
        let never = hours(r#"{"holidays":false}"#);
        for (local, is_holiday) in [
            ("2026-12-25T10:00:00", true),
            ("2026-12-24T10:00:00", false),
        ] {
            assert_eq!(only.contains(&at(local), &days), is_holiday);
            assert_eq!(never.contains(&at(local), &days), !is_holiday);
        }
    }

    #[test]
    fn a_word_means_a_class_a_prefix_a_host_or_somebody() {
        let plan = crate::presence::sample::plan();
        let parse = |word: &str| Pattern::parse(&Pattern::check(word).unwrap(), &plan);
        assert_eq!(parse("Anonymous"), Pattern::Class(CallerClass::Anonymous));
        assert_eq!(parse("+49 89*"), Pattern::Prefix("+4989".into()));
        assert_eq!(parse("@Example.COM"), Pattern::Host("example.com".into()));
        assert_eq!(
            parse("030 123456"),
            Pattern::One(Target::parse("030123456", &plan))
        );
        assert_eq!(parse("bob"), Pattern::One(Target::parse("bob", &plan)));
        for bad in ["", "@", "@a b", "sip:", "a b"] {
            assert!(Pattern::check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rules_that_never_match_and_contradictions_are_named() {
        let plan = crate::presence::sample::plan();
        let rule = |name: &str, callers: &[&str], action: Action| Exception {
            name: name.into(),
            callers: callers.iter().map(|c| (*c).to_owned()).collect(),
            when: None,
            action,
            until: None,
        };
        let written = Exceptions {
            blocked: vec!["+49666".into()],
            vips: vec!["+49777".into(), "+49666".into()],
            rules: vec![
                rule("Munich", &["+4989*"], Action::Connect),
                rule("Mum", &["+49891234"], Action::Voicemail),
                rule("Munich again", &["+4989*"], Action::Reject),
                rule("Spam", &["+49666"], Action::Connect),
                rule("Boss", &["+49777"], Action::Voicemail),
                rule("Old", &["bob"], Action::Reject).ending(10),
                rule("Bob", &["bob"], Action::Reject),
            ],
            ..Exceptions::default()
        };
        let compiled = ExceptionRules::compile(&written, &plan).unwrap();
        assert_eq!(
            compiled.oddities(20, Language::En),
            [
                "+49666 is blocked and does not ring through",
                "The rule “Mum” never applies: “Munich” comes first",
                "The rule “Munich again” contradicts “Munich”, which comes first",
                "The rule “Spam” never applies: its callers are blocked",
                "The rule “Boss” never applies: its callers always ring through",
                "The rule “Old” has ended",
            ]
        );
        assert_eq!(compiled.oddities(20, Language::De).len(), 6);
    }

    #[test]
    fn hours_cover_what_lies_within_them() {
        let covers = |own: &str, other: &str| hours(own).covers(&hours(other));
        let office = r#"{"days":["mon","tue"],"from":"09:00","to":"17:00"}"#;
        for (own, other, is_covered) in [
            (
                office,
                r#"{"days":["mon"],"from":"10:00","to":"17:00"}"#,
                true,
            ),
            (
                office,
                r#"{"days":["mon"],"from":"10:00","to":"17:01"}"#,
                false,
            ),
            (
                office,
                r#"{"days":["wed"],"from":"10:00","to":"11:00"}"#,
                false,
            ),
            (office, r#"{"from":"10:00","to":"11:00"}"#, false),
            (
                office,
                r#"{"days":["mon"],"from":"16:00","to":"01:00"}"#,
                false,
            ),
            ("{}", office, true),
            (
                r#"{"from":"00:00"}"#,
                r#"{"from":"22:00","to":"06:00"}"#,
                true,
            ),
            (
                r#"{"days":["mon"]}"#,
                r#"{"days":["mon"],"from":"22:00","to":"06:00"}"#,
                false,
            ),
            (
                r#"{"from":"22:00","to":"06:00"}"#,
                r#"{"days":["fri"],"from":"23:00","to":"05:00"}"#,
                true,
            ),
            (
                r#"{"from":"22:00","to":"06:00"}"#,
                r#"{"from":"23:00","to":"07:00"}"#,
                false,
            ),
            (r#"{"holidays":true}"#, "{}", false),
            ("{}", r#"{"holidays":false}"#, true),
            (
                r#"{"zone":"Europe/Vienna","to":"12:00"}"#,
                r#"{"to":"11:00"}"#,
                false,
            ),
        ] {
            assert_eq!(covers(own, other), is_covered, "{own} {other}");
        }
    }

    impl Exception {
        fn ending(self, second: i64) -> Self {
            let until = Timestamp::from_second(second).ok();
            Self { until, ..self }
        }
    }
}
