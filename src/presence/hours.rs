//! Weekly hours: when a person works, pauses and is off, and on which status that puts them.
//!
//! A week is written as [`WorkWeek`], compiled once for all whom it is for ([`Schedule`]) and asked
//! for the [`Segment`] that a moment lies in. Boundaries are times of day in a zone, so that they
//! follow daylight saving: one that the clocks skip lies where they go on, of one that comes twice
//! the first counts.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::exceptions::Holidays;
use super::house::HouseRules;
use super::layers::{Signal, SignalKind};
use super::model::{Problem, Status, Subscriber};
use super::own::{BaseStatus, OwnStatuses, StatusName};

/// The id of the signal by which hours are told and dismissed.
pub const HOURS_SIGNAL: &str = "hours";
/// How many spans one day has at most.
const SPANS_LIMIT: usize = 8;
/// Minutes of a day.
const DAY_MIN: u16 = 24 * 60;
/// How many days are looked at, back and ahead, for the boundaries around a moment.
const BACK_DAYS: i64 = 8;
const AHEAD_DAYS: i64 = 16;

/// The hours of a week, as people write them.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WorkWeek {
    /// When work is on a Monday: `["09:00-12:30", "13:00-17:00"]`, in order, at most 8; what lies
    /// between two is a break. `24:00` ends a day; a day without any is off.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub mon: Vec<WorkSpan>,
    /// The same on a Tuesday.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub tue: Vec<WorkSpan>,
    /// The same on a Wednesday.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub wed: Vec<WorkSpan>,
    /// The same on a Thursday.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub thu: Vec<WorkSpan>,
    /// The same on a Friday.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub fri: Vec<WorkSpan>,
    /// The same on a Saturday.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub sat: Vec<WorkSpan>,
    /// The same on a Sunday.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub sun: Vec<WorkSpan>,
    /// In which time zone, by its IANA name; left out, in that of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The status outside of hours: `away`, `break`, `dnd`, an own one, or `available` for none.
    /// Left out, `away`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outside: Option<StatusName>,
    /// The status during breaks. Left out, `break`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_breaks: Option<StatusName>,
    /// The status on holidays. Left out, `away`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_holidays: Option<StatusName>,
}

/// A part of a day, written `09:00-12:30`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WorkSpan {
    from_min: u16,
    to_min: u16,
}

/// What a moment is by the hours.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HoursKind {
    /// Nobody works on that day.
    Holiday,
    /// Between two spans of a day.
    Break,
    /// At work.
    Business,
    /// Before, after, or on a day off.
    Outside,
}

/// A time during which the hours say the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// What they say.
    pub kind: HoursKind,
    /// Since when, in unix seconds.
    pub from_s: i64,
    /// Until when: the next boundary, in unix seconds.
    pub until_s: i64,
}

/// A week compiled for all whom it is for.
#[derive(Debug)]
pub struct Schedule {
    week: WorkWeek,
    zone: TimeZone,
    holidays: Holidays,
    outside: BaseStatus,
    in_breaks: BaseStatus,
    on_holidays: BaseStatus,
    /// The last segment that was found: at a boundary many ask for the same one.
    last: Mutex<Option<Segment>>,
}

/// The hours that are for one person.
#[derive(PartialEq, Eq, Debug)]
pub struct WorkHours {
    /// The week.
    pub schedule: Arc<Schedule>,
    /// What it said when this was made.
    pub current: Segment,
    /// Until when the person does not want it to count, in unix seconds.
    pub dismissed_until_s: i64,
}

impl WorkHours {
    /// Those that the document asks for, else those of its teams, else those of the house.
    pub(super) fn of(
        subscriber: &Subscriber,
        house: &HouseRules,
        now_unix_s: i64,
    ) -> Option<Box<Self>> {
        let schedule = match &subscriber.hours {
            Some(week) => Arc::new(house.schedule(week)),
            None => Arc::clone(house.hours_of(&subscriber.teams)?),
        };
        if schedule.week().is_free() {
            return None;
        }
        let mut signals = subscriber.signals.iter();
        let dismissed = signals.find(|signal| signal.is_of_hours() && signal.dismissed);
        let until = dismissed.and_then(|signal| signal.until);
        Some(Box::new(Self {
            current: schedule.remembered(now_unix_s),
            dismissed_until_s: until.map_or(i64::MIN, Timestamp::as_second),
            schedule,
        }))
    }
}

impl Signal {
    /// Whether it is the one by which hours are told and dismissed.
    pub fn is_of_hours(&self) -> bool {
        self.kind == SignalKind::Schedule && self.id == HOURS_SIGNAL
    }
}

impl WorkSpan {
    /// Reads `09:00-12:30`.
    pub fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once('-')?;
        let (from_min, to_min) = (minutes(from.trim())?, minutes(to.trim())?);
        (from_min < to_min).then_some(Self { from_min, to_min })
    }
}

impl std::fmt::Display for WorkSpan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (from, to) = (self.from_min, self.to_min);
        write!(
            f,
            "{:02}:{:02}-{:02}:{:02}",
            from / 60,
            from % 60,
            to / 60,
            to % 60
        )
    }
}

impl Serialize for WorkSpan {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WorkSpan {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            let text: String = text.chars().take(40).collect();
            serde::de::Error::custom(format!(
                "`{text}` are no hours; write them as 09:00-12:30, the end after the beginning"
            ))
        })
    }
}

impl utoipa::PartialSchema for WorkSpan {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        String::schema()
    }
}

impl ToSchema for WorkSpan {}

impl WorkWeek {
    /// The days with their names in documents, Monday first.
    pub fn days(&self) -> [(&'static str, &[WorkSpan]); 7] {
        [
            ("mon", &self.mon),
            ("tue", &self.tue),
            ("wed", &self.wed),
            ("thu", &self.thu),
            ("fri", &self.fri),
            ("sat", &self.sat),
            ("sun", &self.sun),
        ]
    }

    /// Whether no hours are written: such a week says nothing about anybody.
    pub fn is_free(&self) -> bool {
        self.days().iter().all(|(_, spans)| spans.is_empty())
    }

    /// The statuses that are named, with their keys.
    pub fn statuses(&self) -> [(&'static str, Option<&StatusName>); 3] {
        [
            ("outside", self.outside.as_ref()),
            ("in_breaks", self.in_breaks.as_ref()),
            ("on_holidays", self.on_holidays.as_ref()),
        ]
    }

    /// What is wrong with it, by key.
    pub fn problems(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (day, spans) in self.days() {
            let field = format!("{path}{day}");
            if spans.len() > SPANS_LIMIT {
                problems.push(Problem::new(&field, format!("at most {SPANS_LIMIT}")));
            }
            let pairs = spans.iter().zip(spans.iter().skip(1));
            if let Some((one, next)) = pairs
                .into_iter()
                .find(|(one, next)| one.to_min > next.from_min)
            {
                let text = format!("{next} begins before {one} ends; write them in order");
                problems.push(Problem::new(&field, text));
            }
        }
        let zone = self.zone.as_deref();
        if let Some(zone) = zone.filter(|zone| TimeZone::get(zone).is_err()) {
            let zone: String = zone.chars().take(40).collect();
            let text = format!("`{zone}` is no time zone; use an IANA name, Europe/Berlin");
            problems.push(Problem::new(format!("{path}zone"), text));
        }
        for (key, name) in self.statuses() {
            if name == Some(&StatusName::Of(Status::InCall)) {
                let text = "in_call is set by calls only";
                problems.push(Problem::new(format!("{path}{key}"), text));
            }
        }
        problems
    }

    fn of_day(&self, day: Date) -> &[WorkSpan] {
        let number = usize::from(day.weekday().to_monday_zero_offset().unsigned_abs());
        self.days().get(number).map_or(&[], |(_, spans)| spans)
    }
}

impl HoursKind {
    /// The cause that is told with the status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Holiday => "holiday",
            Self::Break => "break",
            Self::Business => "business_hours",
            Self::Outside => "outside_hours",
        }
    }
}

impl Schedule {
    /// Compiles a week; `zone` is the one where it names none.
    pub fn new(week: &WorkWeek, statuses: &OwnStatuses, zone: &TimeZone, days: &Holidays) -> Self {
        let named = |name: &Option<StatusName>, default: Status| {
            let named = name.as_ref().and_then(|name| statuses.named(name));
            named.unwrap_or_else(|| default.into())
        };
        let own = week.zone.as_deref();
        Self {
            zone: own
                .and_then(|name| TimeZone::get(name).ok())
                .unwrap_or_else(|| zone.clone()),
            outside: named(&week.outside, Status::Away),
            in_breaks: named(&week.in_breaks, Status::Break),
            on_holidays: named(&week.on_holidays, Status::Away),
            week: week.clone(),
            holidays: days.clone(),
            last: Mutex::new(None),
        }
    }

    /// The week as it was written.
    pub const fn week(&self) -> &WorkWeek {
        &self.week
    }

    /// The status that a kind of time puts people on; `None` for none.
    pub fn status(&self, kind: HoursKind) -> Option<BaseStatus> {
        let base = match kind {
            HoursKind::Holiday => self.on_holidays,
            HoursKind::Break => self.in_breaks,
            HoursKind::Outside => self.outside,
            HoursKind::Business => return None,
        };
        Some(base).filter(|base| base.status != Status::Available)
    }

    /// The segment that a moment lies in, remembered for those who ask next.
    pub fn remembered(&self, now_unix_s: i64) -> Segment {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match *last {
            Some(segment) if segment.holds(now_unix_s) => segment,
            _ => {
                let segment = self.segment(now_unix_s);
                *last = Some(segment);
                segment
            }
        }
    }

    /// The segment that a moment lies in.
    pub fn segment(&self, now_unix_s: i64) -> Segment {
        let mut segment = Segment {
            kind: HoursKind::Outside,
            from_s: i64::MIN,
            until_s: i64::MAX,
        };
        let Ok(now) = Timestamp::from_second(now_unix_s) else {
            // No moment: it holds for none.
            segment.until_s = now_unix_s;
            return segment;
        };
        let today = now.to_zoned_datetime(self.zone.clone()).date();
        let boundaries = self.boundaries_around(today);
        for (at_s, kind) in &boundaries {
            if *at_s <= now_unix_s {
                let is_new = segment.kind != *kind || segment.from_s == i64::MIN;
                segment.from_s = if is_new { *at_s } else { segment.from_s };
                segment.kind = *kind;
            } else if *kind != segment.kind {
                segment.until_s = *at_s;
                return segment;
            }
        }
        // Nothing else within two weeks: then it is looked at again.
        let last_s = boundaries.last().map_or(i64::MIN, |(at_s, _)| *at_s);
        segment.until_s = last_s.max(now_unix_s.saturating_add(86_400));
        segment
    }

    /// When something begins around a day, and what; in order, one thing at a time.
    fn boundaries_around(&self, today: Date) -> Vec<(i64, HoursKind)> {
        let mut around: Vec<(i64, HoursKind)> = Vec::new();
        let days = (-BACK_DAYS..=AHEAD_DAYS).filter_map(|at| today.checked_add(at.days()).ok());
        for day in days {
            for (at_min, kind) in self.boundaries(day) {
                let Some(at_s) = self.instant(day, at_min) else {
                    continue;
                };
                match around.last_mut() {
                    // In a gap of the clocks the end of a span can come before its beginning.
                    Some((last_s, last)) if at_s <= *last_s => *last = kind,
                    _ => around.push((at_s, kind)),
                }
            }
        }
        around
    }

    /// When something begins on a day, and what.
    fn boundaries(&self, day: Date) -> Vec<(u16, HoursKind)> {
        if self.holidays.contains(day) {
            return vec![(0, HoursKind::Holiday)];
        }
        let spans = self.week.of_day(day);
        let mut boundaries = vec![(0, HoursKind::Outside)];
        for (at, span) in (1..).zip(spans) {
            let after = match at < spans.len() {
                true => HoursKind::Break,
                false => HoursKind::Outside,
            };
            boundaries.push((span.from_min, HoursKind::Business));
            boundaries.push((span.to_min, after));
        }
        // Where a span ends with the day, the next day says what begins.
        boundaries.retain(|(at, _)| *at < DAY_MIN);
        boundaries
    }

    fn instant(&self, day: Date, at_min: u16) -> Option<i64> {
        let (hour, minute) = (
            i8::try_from(at_min / 60).ok()?,
            i8::try_from(at_min % 60).ok()?,
        );
        let time = Time::new(hour, minute, 0, 0).ok()?;
        let local = DateTime::from_parts(day, time);
        let zoned = self.zone.to_zoned_datetime(local).ok()?;
        Some(zoned.timestamp().as_second())
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        (&self.week, &self.zone, &self.holidays) == (&other.week, &other.zone, &other.holidays)
            && (self.outside, self.in_breaks, self.on_holidays)
                == (other.outside, other.in_breaks, other.on_holidays)
    }
}

impl Eq for Schedule {}

impl Segment {
    /// Whether a moment lies in it.
    pub const fn holds(&self, now_unix_s: i64) -> bool {
        self.from_s <= now_unix_s && now_unix_s < self.until_s
    }
}

/// Minutes since midnight of `08:30`; `24:00` is the end of the day.
fn minutes(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(hour) || !digits(minute) {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    let all = hour.checked_mul(60)?.checked_add(minute)?;
    (minute < 60 && all <= DAY_MIN).then_some(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schedule(week: serde_json::Value, holidays: &[Date]) -> Schedule {
        let week: WorkWeek = serde_json::from_value(week).unwrap();
        assert_eq!(week.problems(""), []);
        let days = Holidays::new(holidays.iter().copied());
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        Schedule::new(&week, &OwnStatuses::default(), &berlin, &days)
    }

    fn office() -> serde_json::Value {
        let day = json!(["09:00-12:30", "13:00-17:00"]);
        json!({"mon": day, "tue": day, "wed": day, "thu": day, "fri": ["09:00-15:00"]})
    }

    /// What the hours say at a local time, and until when.
    fn at(schedule: &Schedule, local: &str) -> (&'static str, String) {
        let now: jiff::ZonedDateTime = format!("{local}[Europe/Berlin]").parse().unwrap();
        let segment = schedule.remembered(now.timestamp().as_second());
        assert!(segment.holds(now.timestamp().as_second()), "{segment:?}");
        assert_eq!(segment, schedule.segment(now.timestamp().as_second()));
        let until = Timestamp::from_second(segment.until_s).unwrap();
        let until = until.to_zoned_datetime(now.time_zone().clone());
        (
            segment.kind.name(),
            until.strftime("%a %F %H:%M").to_string(),
        )
    }

    #[test]
    fn a_week_goes_from_boundary_to_boundary() {
        let schedule = schedule(office(), &[]);
        for (now, kind, until) in [
            (
                "2026-11-23T08:59:59",
                "outside_hours",
                "Mon 2026-11-23 09:00",
            ),
            (
                "2026-11-23T09:00:00",
                "business_hours",
                "Mon 2026-11-23 12:30",
            ),
            ("2026-11-23T12:30:00", "break", "Mon 2026-11-23 13:00"),
            (
                "2026-11-23T17:00:00",
                "outside_hours",
                "Tue 2026-11-24 09:00",
            ),
            (
                "2026-11-27T14:59:00",
                "business_hours",
                "Fri 2026-11-27 15:00",
            ),
            (
                "2026-11-28T12:00:00",
                "outside_hours",
                "Mon 2026-11-30 09:00",
            ),
        ] {
            assert_eq!(at(&schedule, now), (kind, until.to_owned()), "{now}");
        }
    }

    #[test]
    fn a_holiday_goes_before_the_hours_of_its_day() {
        let schedule = schedule(office(), &[Date::constant(2026, 12, 25)]);
        assert_eq!(
            at(&schedule, "2026-12-24T18:00:00"),
            ("outside_hours", "Fri 2026-12-25 00:00".into())
        );
        assert_eq!(
            at(&schedule, "2026-12-25T10:00:00"),
            ("holiday", "Sat 2026-12-26 00:00".into())
        );
    }

    #[test]
    fn hours_stay_at_their_time_of_day_when_the_clocks_change() {
        let schedule = schedule(json!({"sat": ["22:00-24:00"], "sun": ["00:00-06:00"]}), &[]);
        // Over midnight without a break, and an hour longer when the clocks are put back.
        for (now, until, hours) in [
            ("2026-10-24T23:00:00", "Sun 2026-10-25 06:00", 8),
            ("2027-03-27T23:00:00", "Sun 2027-03-28 06:00", 6),
            ("2026-11-21T23:00:00", "Sun 2026-11-22 06:00", 7),
        ] {
            assert_eq!(
                at(&schedule, now),
                ("business_hours", until.to_owned()),
                "{now}"
            );
            let begin: jiff::ZonedDateTime = format!("{now}[Europe/Berlin]").parse().unwrap();
            let now_s = begin.timestamp().as_second();
            let lasts_s = schedule.segment(now_s).until_s - now_s;
            assert_eq!(lasts_s, hours * 3_600, "{now}");
        }
    }

    #[test]
    fn a_boundary_that_the_clocks_skip_comes_when_they_go_on_and_never_twice() {
        // 02:30 is skipped on 2027-03-28 and comes twice on 2026-10-25.
        let schedule = schedule(json!({"sun": ["02:30-05:00"]}), &[]);
        let kinds = |from: &str| {
            let from: jiff::ZonedDateTime = format!("{from}[Europe/Berlin]").parse().unwrap();
            let from_s = from.timestamp().as_second();
            let each = (0..8 * 60).map(|minute| schedule.segment(from_s + minute * 60).kind);
            let mut kinds: Vec<_> = each.collect();
            kinds.dedup();
            kinds
        };
        use HoursKind::{Business, Outside};
        for day in ["2027-03-28T00:00:00", "2026-10-25T00:00:00"] {
            assert_eq!(kinds(day), [Outside, Business, Outside], "{day}");
        }
    }

    #[test]
    fn spans_that_touch_are_one_and_faults_are_named() {
        let touching = schedule(json!({"mon": ["09:00-12:00", "12:00-15:00"]}), &[]);
        let until = at(&touching, "2026-11-23T10:00:00").1;
        assert_eq!(until, "Mon 2026-11-23 15:00");
        let week: WorkWeek = serde_json::from_value(json!({
            "mon": ["13:00-17:00", "09:00-12:00"], "zone": "Mars", "outside": "in_call"}))
        .unwrap();
        let fields: Vec<_> = week
            .problems("hours.")
            .into_iter()
            .map(|p| p.field)
            .collect();
        assert_eq!(fields, ["hours.mon", "hours.zone", "hours.outside"]);
        for bad in [
            "9-12",
            "12:00-12:00",
            "09:00",
            "25:00-26:00",
            "09:00-24:01",
            "aa:bb-cc:dd",
        ] {
            assert_eq!(WorkSpan::parse(bad), None, "{bad}");
        }
        assert_eq!(
            WorkSpan::parse("00:00-24:00").unwrap().to_string(),
            "00:00-24:00"
        );
    }
}
