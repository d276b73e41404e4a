//! Days as numbers since 1970-01-01, as people write them, and as instants.

use crate::catalogue::days_from_civil;
use crate::time::Timestamp;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
/// Years of which days are known.
const YEARS: std::ops::RangeInclusive<i64> = 1900..=2199;

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
}

impl Day {
    /// `None`: there is no such day, or it is too far away.
    pub(super) fn new(year: i64, month: i64, day: i64) -> Option<Self> {
        let written = Self { year, month, day };
        let real = YEARS.contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        (real && Self::numbered(written.number()) == written).then_some(written)
    }

    /// The day `number` days after 1970-01-01.
    pub(super) const fn numbered(number: i64) -> Self {
        // Years are counted from March, so that the leap day comes last; an era has 400 years.
        let shifted = number + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
        Self { year, month, day }
    }

    /// Days since 1970-01-01.
    pub(super) fn number(self) -> i64 {
        days_from_civil(self.year, self.month, self.day)
    }

    /// The day of an instant, local time being `offset` minutes ahead of UTC.
    pub(super) fn of(at: Timestamp, offset: i32) -> Self {
        Self::numbered(at.0.saturating_add(i64::from(offset) * MINUTE_MS).div_euclid(DAY_MS))
    }

    /// Reads `2026-11-23`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-').map(|part| part.parse::<i64>().ok());
        let day = Self::new(parts.next()??, parts.next()??, parts.next()??)?;
        (parts.next().is_none() && text.len() == 10).then_some(day)
    }

    /// The instant at which it begins.
    pub(super) fn begins(self, offset: impl Fn(Timestamp) -> i32) -> Timestamp {
        let utc = self.number() * DAY_MS;
        let local = |at: Timestamp| Timestamp(utc - i64::from(offset(at)) * MINUTE_MS);
        // The offset that counts is the one at the begin of the local day.
        local(local(Timestamp(utc)))
    }

    /// `Mon` to `Sun`.
    pub(super) fn weekday(self) -> &'static str {
        // 1970-01-01 was a Thursday.
        match self.number().rem_euclid(7) {
            0 => "Thu",
            1 => "Fri",
            2 => "Sat",
            3 => "Sun",
            4 => "Mon",
            5 => "Tue",
            _ => "Wed",
        }
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// `2026-11-23 14:05`.
pub(super) fn minute(at: Timestamp, offset: i32) -> String {
    let minutes = at.0.saturating_add(i64::from(offset) * MINUTE_MS).rem_euclid(DAY_MS) / MINUTE_MS;
    let day = Day::of(at, offset);
    format!("{} {day} {:02}:{:02}", day.weekday(), minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_numbered_and_written() {
        let check = |text: &str, expect: Option<i64>| assert_eq!(Day::parse(text).map(Day::number), expect, "{text}");
        check("1970-01-01", Some(0));
        check("2026-11-23", Some(20_780));
        check("2024-02-29", Some(19_782));
        check("2023-02-29", None);
        check("2026-13-01", None);
        check("2026-1-1", None);
        check("2026-01-01-01", None);
        check("tomorrow", None);
        for number in (-25_000..83_000).step_by(13) {
            let day = Day::numbered(number);
            assert_eq!((day.number(), Day::parse(&day.to_string())), (number, Some(day)));
        }
    }

    #[test]
    fn instants_are_local() {
        let at = Timestamp(1_795_474_800_000);
        assert_eq!(minute(at, 0), "Mon 2026-11-23 23:00");
        assert_eq!(minute(at, 120), "Tue 2026-11-24 01:00");
        assert_eq!(Day::of(at, 120).begins(|_| 120), Timestamp(1_795_471_200_000));
    }
}
