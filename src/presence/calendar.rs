//! Calendars (RFC 5545): when a person is busy or out of office, and which days are holidays.
//!
//! A well-kept crate reads the text and expands recurrences with their time zones; this module says
//! what an event means for a status. Tentative and cancelled events, and those during which the
//! person is free, mean nothing.

use std::collections::BTreeMap;
use std::ops::Range;

use calcard::common::timezone::Tz;
use calcard::icalendar::{
    ICalendar, ICalendarComponent, ICalendarComponentType, ICalendarProperty, ICalendarStatus,
    ICalendarTransparency, ICalendarValue,
};
use jiff::Timestamp;
use jiff::civil::Date;

use super::exceptions::Holidays;
use super::layers::{Signal, SignalKind, Triggers};
use super::model::{Source, Status};
use super::own::{BaseStatus, OwnStatuses, StatusName};
use super::readings::{CATEGORIES_LIMIT, FeedFault, Found};

/// How many recurrences of one event are followed: 27 years of a daily one.
const RECURRENCES_LIMIT: usize = 10_000;
/// How many events of one calendar count at once.
const ENTRIES_LIMIT: usize = 32;
/// How much of an event's title is kept.
const TITLE_LIMIT_BYTES: usize = 200;
/// How long a category may be that is offered.
const CATEGORY_LIMIT_BYTES: usize = 64;

/// What an event says about a person.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Availability {
    /// Busy: in a meeting.
    Busy,
    /// Out of office.
    OutOfOffice,
}

/// One occurrence of an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Names the occurrence, from one reading to the next.
    pub id: String,
    /// Its summary.
    pub title: String,
    /// When it begins, in unix seconds.
    pub from_s: i64,
    /// When it is over, in unix seconds.
    pub until_s: i64,
    /// Whether it has days and no times.
    pub is_all_day: bool,
    /// What it says.
    pub availability: Availability,
    /// Its categories.
    pub categories: Vec<String>,
}

/// The occurrences that touch `window` (unix seconds), the earliest first, and what else the
/// calendar says. Times without a zone are read in `zone`.
///
/// # Errors
/// The text is no calendar.
pub fn read(text: &str, zone: &str, window: Range<i64>) -> Result<(Vec<Entry>, Found), FeedFault> {
    let calendar = parse(text)?;
    let zone: Tz = zone.parse().unwrap_or(Tz::UTC);
    let mut entries = Vec::new();
    for group in by_uid(&calendar, counts) {
        let expanded = group.expand_dates(zone_of(&group, zone), RECURRENCES_LIMIT);
        for event in expanded.events {
            let (from_s, until_s) = match event.clone().try_into_date_time() {
                Some(exact) => (exact.start.timestamp(), exact.end.timestamp()),
                None => event.timestamps(),
            };
            let is_near = from_s < window.end && until_s > window.start && from_s < until_s;
            let component = group.component_by_id(event.comp_id);
            let Some(component) = component.filter(|_| is_near) else {
                continue;
            };
            entries.extend(entry(component, from_s, until_s));
        }
    }
    entries.sort_by(|one, other| (one.from_s, &one.id).cmp(&(other.from_s, &other.id)));
    let found = found(&calendar, entries.len());
    Ok((entries, found))
}

/// What a calendar has, beside the `entries` that count.
fn found(calendar: &ICalendar, entries: usize) -> Found {
    let events = calendar.components.iter();
    let events: Vec<_> = events
        .filter(|component| component.component_type == ICalendarComponentType::VEvent)
        .collect();
    let mut categories: Vec<String> = Vec::new();
    let named = events.iter().flat_map(|event| categories_of(event));
    for category in named.filter(|category| (1..=CATEGORY_LIMIT_BYTES).contains(&category.len())) {
        let is_known = |one: &String| one.to_lowercase() == category.to_lowercase();
        if categories.len() < CATEGORIES_LIMIT && !categories.iter().any(is_known) {
            categories.push(category);
        }
    }
    categories.sort_by_key(|category| category.to_lowercase());
    Found {
        events: events.len(),
        entries,
        categories,
    }
}

/// The days of every all-day event that touches `window` (unix seconds).
///
/// # Errors
/// The text is no calendar.
pub fn holidays(text: &str, window: Range<i64>) -> Result<(Holidays, Found), FeedFault> {
    let calendar = parse(text)?;
    let mut days = Vec::new();
    for group in by_uid(&calendar, |_| true) {
        for event in group.expand_dates(Tz::UTC, RECURRENCES_LIMIT).events {
            let (from_s, until_s) = event.timestamps();
            let component = group.component_by_id(event.comp_id);
            let is_day = component.is_some_and(is_all_day);
            if !is_day || from_s >= window.end || until_s <= window.start {
                continue;
            }
            let first = Timestamp::from_second(from_s).map(day_of);
            let last = Timestamp::from_second(until_s.saturating_sub(1)).map(day_of);
            if let (Ok(first), Ok(last)) = (first, last) {
                let all = std::iter::successors(Some(first), |day| day.tomorrow().ok());
                days.extend(all.take_while(|day| *day <= last).take(366));
            }
        }
    }
    days.sort_unstable();
    days.dedup();
    let found = found(&calendar, days.len());
    Ok((Holidays::new(days), found))
}

/// What a calendar reports of a person who wants it so.
pub fn signals(entries: &[Entry], triggers: &Triggers, statuses: &OwnStatuses) -> Vec<Signal> {
    let reported = entries.iter().filter_map(|entry| {
        let (kind, base) = meaning(entry, triggers, statuses)?;
        Some(Signal {
            kind,
            id: entry.id.clone(),
            title: Some(entry.title.clone()).filter(|title| !title.is_empty()),
            status: base.map(|base| base.status),
            own_status: base.and_then(|base| Some(base.own?.id().to_owned())),
            from: Timestamp::from_second(entry.from_s).ok(),
            until: Timestamp::from_second(entry.until_s).ok(),
            idle_since: None,
            locked_since: None,
            dismissed: false,
            source: Source::Calendar,
        })
    });
    reported.take(ENTRIES_LIMIT).collect()
}

/// A category that the person named, else out of office, else a meeting.
/// A name that there is no status of any more is as good as none.
fn meaning(
    entry: &Entry,
    triggers: &Triggers,
    statuses: &OwnStatuses,
) -> Option<(SignalKind, Option<BaseStatus>)> {
    let named = entry.categories.iter().find_map(|category| {
        let mut wanted = triggers.calendar_categories.iter();
        let found = wanted.find(|(name, _)| name.to_lowercase() == category.to_lowercase());
        found.and_then(|(_, name)| statuses.named(name))
    });
    let meant = |name: &Option<StatusName>| name.as_ref().and_then(|name| statuses.named(name));
    match (named, entry.availability) {
        (Some(base), _) => entry_of(base),
        (None, Availability::OutOfOffice) => {
            let meant = meant(&triggers.calendar_out_of_office);
            entry_of(meant.unwrap_or(Status::Away.into()))
        }
        (None, Availability::Busy) => match meant(&triggers.calendar_busy) {
            Some(base) => entry_of(base),
            None if entry.is_all_day => None,
            None => Some((SignalKind::Meeting, None)),
        },
    }
}

/// What stands for `available` means nothing.
fn entry_of(base: BaseStatus) -> Option<(SignalKind, Option<BaseStatus>)> {
    (base.status != Status::Available).then_some((SignalKind::Calendar, Some(base)))
}

fn parse(text: &str) -> Result<ICalendar, FeedFault> {
    if !text
        .trim_start_matches('\u{feff}')
        .trim_start()
        .starts_with("BEGIN:VCALENDAR")
    {
        return Err(FeedFault::NoCalendar);
    }
    ICalendar::parse(text).map_err(|_| FeedFault::NoCalendar)
}

/// Each event with its overrides and all time zones, so that one without an end cannot use up the
/// recurrences of the others.
fn by_uid(calendar: &ICalendar, counts: impl Fn(&ICalendarComponent) -> bool) -> Vec<ICalendar> {
    let zones: Vec<&ICalendarComponent> = calendar
        .components
        .iter()
        .filter(|component| {
            matches!(
                component.component_type,
                ICalendarComponentType::VTimezone
                    | ICalendarComponentType::Standard
                    | ICalendarComponentType::Daylight
            )
        })
        .collect();
    let mut groups: BTreeMap<String, Vec<ICalendarComponent>> = BTreeMap::new();
    for (position, component) in calendar.components.iter().enumerate() {
        if component.component_type == ICalendarComponentType::VEvent && counts(component) {
            let uid = component
                .uid()
                .map_or_else(|| position.to_string(), str::to_owned);
            groups.entry(uid).or_default().push(component.clone());
        }
    }
    let whole = |events: Vec<ICalendarComponent>| {
        let mut root = ICalendarComponent {
            component_type: ICalendarComponentType::VCalendar,
            ..ICalendarComponent::default()
        };
        let zones = zones.iter().map(|zone| (*zone).clone());
        let members: Vec<ICalendarComponent> = events.into_iter().chain(zones).collect();
        root.component_ids = (1..).take(members.len()).collect();
        let components = std::iter::once(root).chain(members).collect();
        ICalendar { components }
    };
    groups.into_values().map(whole).collect()
}

/// In which zone the recurrences of an event are to be counted that names none: UTC for one whose
/// times are in UTC.
fn zone_of(group: &ICalendar, zone: Tz) -> Tz {
    let is_utc = |component: &ICalendarComponent| {
        let start = component.property(&ICalendarProperty::Dtstart);
        let start = start.and_then(|start| start.values.first());
        start
            .and_then(ICalendarValue::as_partial_date_time)
            .is_some_and(|start| start.has_zone())
    };
    let mut components = group.components.iter();
    if components.any(|c| c.is_recurrent_or_override() && is_utc(c)) {
        Tz::UTC
    } else {
        zone
    }
}

/// Whether an event can mean anything. A cancelled override must stay with its event, which it
/// takes an occurrence from; it is left out when its occurrence is read.
fn counts(component: &ICalendarComponent) -> bool {
    component.is_recurrent_or_override() || availability(component).is_some()
}

fn entry(component: &ICalendarComponent, from_s: i64, until_s: i64) -> Option<Entry> {
    let availability = availability(component)?;
    let uid = component.uid().unwrap_or("event");
    let mut title = texts(component, &ICalendarProperty::Summary).join(" ");
    title.retain(|c| !c.is_control());
    truncate(&mut title, TITLE_LIMIT_BYTES);
    let mut id = format!("{from_s}-{uid}");
    id.retain(|c| !c.is_control());
    truncate(&mut id, 128);
    Some(Entry {
        id,
        title,
        from_s,
        until_s,
        is_all_day: is_all_day(component),
        availability,
        categories: categories_of(component),
    })
}

/// The categories, of every line of them (RFC 5545 §3.8.1.2).
fn categories_of(component: &ICalendarComponent) -> Vec<String> {
    let mut all = texts(component, &ICalendarProperty::Categories);
    for category in &mut all {
        category.retain(|c| !c.is_control());
        *category = category.trim().to_owned();
    }
    all
}

fn texts(component: &ICalendarComponent, property: &ICalendarProperty) -> Vec<String> {
    let entries = component.entries.iter();
    let values = entries
        .filter(|entry| entry.name == *property)
        .flat_map(|entry| &entry.values);
    let texts = values.filter_map(ICalendarValue::as_text);
    texts.map(str::to_owned).collect()
}

/// What an event says, by its status, its transparency and what Microsoft's calendars add.
fn availability(component: &ICalendarComponent) -> Option<Availability> {
    if let Some(ICalendarStatus::Tentative | ICalendarStatus::Cancelled) = component.status() {
        return None;
    }
    let extension = component
        .entries
        .iter()
        .find_map(|entry| match &entry.name {
            ICalendarProperty::Other(name)
                if name.eq_ignore_ascii_case("X-MICROSOFT-CDO-BUSYSTATUS") =>
            {
                entry.values.first()?.as_text()
            }
            _ => None,
        });
    match extension.map(str::to_ascii_uppercase).as_deref() {
        Some("OOF") => return Some(Availability::OutOfOffice),
        Some("TENTATIVE" | "FREE" | "WORKINGELSEWHERE") => return None,
        _ => {}
    }
    match component.transparency() {
        Some(ICalendarTransparency::Transparent) => None,
        _ => Some(Availability::Busy),
    }
}

fn is_all_day(component: &ICalendarComponent) -> bool {
    component
        .property(&ICalendarProperty::Dtstart)
        .and_then(|entry| entry.values.first())
        .and_then(ICalendarValue::as_partial_date_time)
        .is_some_and(|start| !start.has_time())
}

fn day_of(at: Timestamp) -> Date {
    at.to_zoned_datetime(jiff::tz::TimeZone::UTC).date()
}

fn truncate(text: &mut String, limit: usize) {
    while text.len() > limit {
        text.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn calendar(events: &str) -> String {
        let body = events.trim().replace('\n', "\r\n");
        format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n{body}\r\nEND:VCALENDAR\r\n")
    }

    fn event(lines: &str) -> String {
        format!(
            "BEGIN:VEVENT\nUID:1\nDTSTAMP:20261101T000000Z\n{}\nEND:VEVENT",
            lines.trim()
        )
    }

    fn second(utc: &str) -> i64 {
        utc.parse::<Timestamp>().unwrap().as_second()
    }

    fn times(events: &str, window: Range<i64>) -> Vec<(String, String)> {
        let (entries, _) = read(&calendar(events), "Europe/Berlin", window).unwrap();
        let utc = |second| Timestamp::from_second(second).unwrap().to_string();
        entries
            .iter()
            .map(|e| (utc(e.from_s), utc(e.until_s)))
            .collect()
    }

    #[test]
    fn a_recurrence_keeps_its_local_time_over_the_change_of_clocks() {
        let weekly = event(
            "DTSTART;TZID=Europe/Berlin:20261020T090000\nDTEND;TZID=Europe/Berlin:20261020T093000\n\
             RRULE:FREQ=WEEKLY;COUNT=3\nEXDATE;TZID=Europe/Berlin:20261103T090000\nSUMMARY:Stand-up",
        );
        let window = second("2026-10-01T00:00:00Z")..second("2026-12-01T00:00:00Z");
        assert_eq!(
            times(&weekly, window),
            [
                (
                    "2026-10-20T07:00:00Z".to_owned(),
                    "2026-10-20T07:30:00Z".to_owned()
                ),
                (
                    "2026-10-27T08:00:00Z".to_owned(),
                    "2026-10-27T08:30:00Z".to_owned()
                ),
            ]
        );
    }

    #[test]
    fn a_moved_and_a_cancelled_occurrence_are_read_as_such() {
        let daily = "DTSTART:20261123T090000Z\nDTEND:20261123T100000Z\nRRULE:FREQ=DAILY;COUNT=3";
        let moved =
            "RECURRENCE-ID:20261124T090000Z\nDTSTART:20261124T150000Z\nDTEND:20261124T153000Z";
        let cancelled = "RECURRENCE-ID:20261125T090000Z\nDTSTART:20261125T090000Z\n\
                         DTEND:20261125T100000Z\nSTATUS:CANCELLED";
        let all = [event(daily), event(moved), event(cancelled)].join("\n");
        let window = second("2026-11-01T00:00:00Z")..second("2026-12-01T00:00:00Z");
        assert_eq!(
            times(&all, window),
            [
                (
                    "2026-11-23T09:00:00Z".to_owned(),
                    "2026-11-23T10:00:00Z".to_owned()
                ),
                (
                    "2026-11-24T15:00:00Z".to_owned(),
                    "2026-11-24T15:30:00Z".to_owned()
                ),
            ]
        );
    }

    #[test]
    fn an_event_without_an_end_does_not_hide_the_others() {
        let endless = event("DTSTART:19900101T090000Z\nDTEND:19900101T091500Z\nRRULE:FREQ=DAILY")
            .replace("UID:1", "UID:2");
        let one = event("DTSTART:20261123T090000Z\nDTEND:20261123T100000Z");
        let window = second("2026-11-23T00:00:00Z")..second("2026-11-24T00:00:00Z");
        assert_eq!(times(&[endless, one].join("\n"), window).len(), 1);
    }

    #[test]
    fn a_calendar_tells_what_it_has_and_its_categories() {
        let now = "DTSTART:20261123T090000Z\nDTEND:20261123T100000Z\n\
                   CATEGORIES:Travel,Fokus\\, lang\nCATEGORIES:travel\nCATEGORIES: Zoo ";
        let past = "DTSTART:20200101T090000Z\nDTEND:20200101T100000Z\nCATEGORIES:Alt";
        let text = calendar(&[event(now), event(past).replace("UID:1", "UID:2")].join("\n"));
        let window = second("2026-11-23T00:00:00Z")..second("2026-11-24T00:00:00Z");
        let (entries, found) = read(&text, "UTC", window).unwrap();
        assert_eq!(
            (found.events, found.entries, entries.len()),
            (2, 1, 1),
            "{found:?}"
        );
        assert_eq!(found.categories, ["Alt", "Fokus, lang", "Travel", "Zoo"]);
        assert_eq!(entries[0].categories.len(), 4, "{entries:?}");
        assert_eq!(
            read("<html>", "UTC", 0..1).unwrap_err(),
            FeedFault::NoCalendar
        );
    }

    #[test]
    fn tentative_free_and_cancelled_events_mean_nothing() {
        let window = second("2026-11-23T00:00:00Z")..second("2026-11-24T00:00:00Z");
        let at = "DTSTART:20261123T090000Z\nDTEND:20261123T100000Z";
        for (line, availability) in [
            ("STATUS:CONFIRMED", Some(Availability::Busy)),
            ("STATUS:TENTATIVE", None),
            ("STATUS:CANCELLED", None),
            ("TRANSP:TRANSPARENT", None),
            ("X-MICROSOFT-CDO-BUSYSTATUS:TENTATIVE", None),
            ("X-MICROSOFT-CDO-BUSYSTATUS:FREE", None),
            (
                "X-MICROSOFT-CDO-BUSYSTATUS:OOF",
                Some(Availability::OutOfOffice),
            ),
            ("X-MICROSOFT-CDO-BUSYSTATUS:BUSY", Some(Availability::Busy)),
        ] {
            let text = calendar(&event(&format!("{at}\n{line}")));
            let (entries, _) = read(&text, "UTC", window.clone()).unwrap();
            let found = entries.first().map(|entry| entry.availability);
            assert_eq!(found, availability, "{line}");
        }
    }

    #[test]
    fn what_an_entry_means_is_the_persons_to_say() {
        let entry = |availability, categories: &[&str], is_all_day| Entry {
            id: "x".into(),
            title: String::new(),
            from_s: 0,
            until_s: DAY,
            is_all_day,
            availability,
            categories: categories.iter().map(|c| (*c).to_owned()).collect(),
        };
        let kinds = |entry: &Entry, triggers: &Triggers| {
            let statuses = OwnStatuses::default();
            let signals = signals(std::slice::from_ref(entry), triggers, &statuses);
            signals.first().map(|signal| (signal.kind, signal.status))
        };
        let busy = entry(Availability::Busy, &["Travel"], false);
        let away = entry(Availability::OutOfOffice, &[], true);
        let nothing_set = Triggers::default();
        assert_eq!(
            kinds(&busy, &nothing_set),
            Some((SignalKind::Meeting, None))
        );
        assert_eq!(
            kinds(&away, &nothing_set),
            Some((SignalKind::Calendar, Some(Status::Away)))
        );
        let birthday = entry(Availability::Busy, &[], true);
        assert_eq!(kinds(&birthday, &nothing_set), None);
        let wanted = Triggers {
            calendar_busy: Some(Status::Dnd.into()),
            calendar_out_of_office: Some(Status::Available.into()),
            calendar_categories: [("travel".to_owned(), Status::Break.into())].into(),
            ..Triggers::default()
        };
        assert_eq!(
            kinds(&busy, &wanted),
            Some((SignalKind::Calendar, Some(Status::Break)))
        );
        assert_eq!(
            kinds(&birthday, &wanted),
            Some((SignalKind::Calendar, Some(Status::Dnd)))
        );
        assert_eq!(kinds(&away, &wanted), None);
    }

    #[test]
    fn holidays_are_whole_days() {
        let text = calendar(
            &[
                event("DTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20261227\nTRANSP:TRANSPARENT"),
                event("DTSTART;VALUE=DATE:20200101\nRRULE:FREQ=YEARLY").replace("UID:1", "UID:2"),
                event("DTSTART:20261123T090000Z").replace("UID:1", "UID:3"),
            ]
            .join("\n"),
        );
        let window = second("2026-06-01T00:00:00Z")..second("2027-06-01T00:00:00Z");
        let (days, _) = holidays(&text, window).unwrap();
        for (day, is_one) in [
            ("2026-12-24", false),
            ("2026-12-25", true),
            ("2026-12-26", true),
            ("2026-12-27", false),
            ("2027-01-01", true),
            ("2026-11-23", false),
        ] {
            assert_eq!(days.contains(day.parse().unwrap()), is_one, "{day}");
        }
    }

    #[test]
    fn what_is_no_calendar_is_refused() {
        for text in ["", "<html>", "BEGIN:VCARD\r\nEND:VCARD\r\n"] {
            assert!(read(text, "UTC", 0..DAY).is_err(), "{text}");
        }
    }
}
