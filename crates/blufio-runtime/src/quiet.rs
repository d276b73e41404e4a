//! The hours in which notices wait. Answers never do.

use crate::tasks::blocking;
use blufio_core::time::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;

/// Hours of every day, by the wall clock; may go over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietHours {
    /// Minutes after midnight at which they begin.
    pub from_minute: u16,
    /// Minutes after midnight at which they end; not the same.
    pub to_minute: u16,
}

/// When a notice of `now` may be sent: at once (0), or at the end of the quiet hours that `now` lies in.
pub async fn end(quiet: Option<&QuietHours>, zone: Option<String>, now: Timestamp) -> Timestamp {
    let Some(quiet) = quiet.copied() else { return Timestamp(0) };
    // The tables of the time zones are files.
    blocking(move || end_in(quiet, &zone_or_system(zone.as_deref()), now)).await.unwrap_or(Timestamp(0))
}

/// The zone of that name, else the machine's, else UTC.
pub fn zone_or_system(name: Option<&str>) -> TimeZone {
    let named = name.and_then(|name| TimeZone::get(name).ok());
    named.unwrap_or_else(|| TimeZone::try_system().unwrap_or(TimeZone::UTC))
}

fn end_in(quiet: QuietHours, zone: &TimeZone, now: Timestamp) -> Timestamp {
    let Ok(instant) = jiff::Timestamp::from_millisecond(now.0) else { return Timestamp(0) };
    let local = zone.to_datetime(instant);
    let minute = u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs());
    let QuietHours { from_minute, to_minute } = quiet;
    let over_midnight = from_minute > to_minute;
    let inside = if over_midnight {
        minute >= from_minute || minute < to_minute
    } else {
        (from_minute..to_minute).contains(&minute)
    };
    if !inside {
        return Timestamp(0);
    }
    let today = local.date();
    let day = if over_midnight && minute >= from_minute { today.tomorrow() } else { Ok(today) };
    let (hour, minute) = (to_minute / 60, to_minute % 60);
    let end = day.and_then(|day| {
        let time = Time::new(i8::try_from(hour).unwrap_or(0), i8::try_from(minute).unwrap_or(0), 0, 0)?;
        zone.to_timestamp(day.to_datetime(time))
    });
    end.map_or(Timestamp(0), |end| Timestamp(end.as_millisecond()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn notices_wait_for_the_end_of_the_quiet_hours_and_no_longer() {
        let at = |text: &str| Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        let night = QuietHours { from_minute: 22 * 60, to_minute: 7 * 60 };
        let noon = QuietHours { from_minute: 12 * 60, to_minute: 13 * 60 + 30 };
        let check = |quiet, now: &str, expect: Option<&str>| {
            assert_eq!(end_in(quiet, &TimeZone::UTC, at(now)), expect.map_or(Timestamp(0), at), "{now}");
        };
        check(night, "2026-11-22T21:59:59Z", None);
        check(night, "2026-11-22T22:00:00Z", Some("2026-11-23T07:00:00Z"));
        check(night, "2026-11-23T06:59:00Z", Some("2026-11-23T07:00:00Z"));
        check(night, "2026-11-23T07:00:00Z", None);
        check(noon, "2026-11-23T12:00:00Z", Some("2026-11-23T13:30:00Z"));
        check(noon, "2026-11-23T13:30:00Z", None);
    }
}
