//! Points in time as people type them.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ZonedDateTime};

/// Reads a point in time for `--at` and `--until`: RFC 3339 with an offset, local
/// `2026-12-24 18:00`, `18:00` for the next time the clock shows that, or `+90m`, `+2h`, `+1d`.
///
/// # Errors
/// A text that is none of these.
pub(super) fn parse(text: &str) -> Result<Timestamp, String> {
    parse_at(text, &now())
}

#[expect(
    clippy::disallowed_methods,
    reason = "what a person types is relative to their clock"
)]
fn now() -> ZonedDateTime {
    ZonedDateTime::now()
}

/// The time of day.
#[expect(
    clippy::disallowed_methods,
    reason = "the command line reads the clock"
)]
pub(super) fn wall() -> Timestamp {
    Timestamp::now()
}

fn parse_at(text: &str, now: &ZonedDateTime) -> Result<Timestamp, String> {
    let text = text.trim();
    relative(text, now)
        .or_else(|| text.parse::<Timestamp>().ok())
        .or_else(|| local(text, now.time_zone()))
        .or_else(|| next_time(text, now))
        .ok_or_else(|| {
            "use 2026-12-24T18:00:00+01:00, local \"2026-12-24 18:00\", 18:00, +90m, +2h or +1d"
                .to_owned()
        })
}

fn relative(text: &str, now: &ZonedDateTime) -> Option<Timestamp> {
    let text = text.strip_prefix('+')?;
    let unit = text.chars().last()?;
    let amount: i64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let duration = SignedDuration::from_secs(amount.checked_mul(seconds)?);
    now.timestamp().checked_add(duration).ok()
}

fn local(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let date_time: DateTime = text.parse().ok()?;
    date_time
        .to_zoned_datetime(zone.clone())
        .ok()
        .map(|zoned| zoned.timestamp())
}

fn next_time(text: &str, now: &ZonedDateTime) -> Option<Timestamp> {
    let time: Time = text.parse().ok()?;
    let today = now
        .date()
        .to_datetime(time)
        .to_zoned_datetime(now.time_zone().clone())
        .ok()?;
    if today.timestamp() > now.timestamp() {
        return Some(today.timestamp());
    }
    let tomorrow = now.date().tomorrow().ok()?.to_datetime(time);
    let zoned = tomorrow.to_zoned_datetime(now.time_zone().clone()).ok()?;
    Some(zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> String {
        let berlin = TimeZone::fixed(jiff::tz::offset(1));
        let now = "2026-11-23T14:00:00Z"
            .parse::<Timestamp>()
            .unwrap()
            .to_zoned_datetime(berlin);
        parse_at(text, &now)
            .unwrap_or_else(|e| panic!("{text}: {e}"))
            .to_string()
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(at("2026-12-24T18:00:00+01:00"), "2026-12-24T17:00:00Z");
        assert_eq!(at("2026-12-24T18:00:00Z"), "2026-12-24T18:00:00Z");
        assert_eq!(at("2026-12-24 18:00"), "2026-12-24T17:00:00Z");
        assert_eq!(at("16:30"), "2026-11-23T15:30:00Z");
        assert_eq!(
            at("08:00"),
            "2026-11-24T07:00:00Z",
            "eight has passed today"
        );
        assert_eq!(at("+90m"), "2026-11-23T15:30:00Z");
        assert_eq!(at("+1d"), "2026-11-24T14:00:00Z");
    }

    #[test]
    fn other_texts_are_refused_with_examples() {
        for bad in [
            "",
            "tomorrow",
            "+",
            "+5",
            "+5y",
            "25:00",
            "2026-13-01 10:00",
            "+99999999999999999d",
        ] {
            let error =
                parse_at(bad, &Timestamp::UNIX_EPOCH.to_zoned_datetime(TimeZone::UTC)).unwrap_err();
            assert!(error.contains("18:00"), "{bad}");
        }
    }
}
