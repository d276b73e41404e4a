//! When a question is about: expressions of time in English and German become an interval of instants.
//!
//! It reads no clock and knows no time zones: the caller says how far a zone is ahead of UTC at an instant.

use super::words::head;
use crate::time::Timestamp;

/// Bytes of a question in which expressions of time are looked for. More: the rest is not read.
const QUESTION_BYTES_MAX: usize = 2 * 1024;
/// The years that a number alone may name.
const YEARS: std::ops::RangeInclusive<i64> = 1900..=2199;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// From an instant on and before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The first instant.
    pub from: Timestamp,
    /// The first one after it.
    pub to: Timestamp,
}

impl Interval {
    /// How well something fits that was or held between two instants: 1 inside, falling to 0 as far outside as the interval is
    /// long, but at least a day.
    #[must_use]
    pub fn fit(self, from: Timestamp, to: Timestamp) -> f32 {
        let gap = (self.from.0.saturating_sub(to.0)).max(from.0.saturating_sub(self.to.0.saturating_sub(1))).max(0);
        let reach = self.to.0.saturating_sub(self.from.0).max(DAY_MS);
        #[expect(clippy::cast_precision_loss, reason = "days need no precision")]
        let share = gap as f32 / reach as f32;
        (1.0 - share).max(0.0)
    }
}

/// The interval that a question names, if it does; the first one of several. `offset` is how many minutes local time is ahead of
/// UTC at an instant.
#[must_use]
pub fn interval(question: &str, now: Timestamp, offset: impl Fn(Timestamp) -> i32) -> Option<Interval> {
    let tokens = tokens(question);
    let today = day_of(now, &offset);
    let days = (0..tokens.len()).find_map(|place| named(tokens.get(place..)?, before(&tokens, place), today))?;
    let begin = |day: i64| {
        let utc = Timestamp(day.saturating_mul(DAY_MS));
        let local = |at: Timestamp| Timestamp(utc.0.saturating_sub(i64::from(offset(at)) * 60_000));
        // The offset that counts is the one at the begin of the local day.
        local(local(utc))
    };
    Some(Interval { from: begin(days.0), to: begin(days.1) })
}

/// Whether a question is about then and not about now.
#[must_use]
pub fn is_past(question: &str) -> bool {
    const WORDS: &[&str] = &[
        "anfangs",
        "back",
        "before",
        "damals",
        "earlier",
        "ehemals",
        "first",
        "former",
        "formerly",
        "früher",
        "hatte",
        "initially",
        "old",
        "once",
        "originally",
        "previous",
        "previously",
        "ursprünglich",
        "used",
        "vorher",
        "war",
        "waren",
        "was",
        "were",
        "zuerst",
        "zuvor",
    ];
    tokens(question).iter().any(|token| WORDS.contains(&token.text.as_str()))
}

/// The words of an instant by which it is found: date, month and weekday in English and German.
#[must_use]
pub fn day_words(at: Timestamp, offset_minutes: i32) -> String {
    let day = day_of(at, &|_| offset_minutes);
    let (year, month, date) = civil(day);
    let name = |table: &[&[&str]], place: i64| {
        usize::try_from(place).ok().and_then(|place| table.get(place)).map_or_else(String::new, |names| names.join(" "))
    };
    let (month_name, weekday) = (name(MONTHS, month - 1), name(WEEKDAYS, weekday(day)));
    format!("{year:04}-{month:02}-{date:02} {date} {month_name} {weekday}")
}

/// A word or number, and the sign before it.
struct Token {
    text: String,
    joined: Option<char>,
}

impl Token {
    fn number(&self) -> Option<i64> {
        let digits = self.text.trim_end_matches(|sign: char| sign.is_alphabetic());
        let ordinal = matches!(self.text.get(digits.len()..), Some("" | "st" | "nd" | "rd" | "th"));
        if ordinal && digits.len() <= 4 { digits.parse().ok() } else { None }
    }
}

fn tokens(question: &str) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    let (mut word, mut joined, mut signs) = (String::new(), None, 0);
    for sign in head(question, QUESTION_BYTES_MAX).chars().flat_map(char::to_lowercase).chain([' ']) {
        if sign.is_alphanumeric() {
            word.push(sign);
            continue;
        }
        if !word.is_empty() {
            found.push(Token { text: std::mem::take(&mut word), joined });
            signs = 0;
        }
        signs += 1;
        joined = (signs == 1).then_some(sign);
    }
    found
}

/// The words before a place, the nearest last.
fn before(tokens: &[Token], place: usize) -> &[Token] {
    tokens.get(..place).unwrap_or_default()
}

/// The days `[first, end)` that the words here name.
fn named(here: &[Token], before: &[Token], today: i64) -> Option<(i64, i64)> {
    date(here)
        .or_else(|| month_date(here, before, today))
        .or_else(|| near(here, before, today))
        .or_else(|| year(here, before))
}

/// `2025-05-03`, `2025-05`, `3.5.2025`.
fn date(here: &[Token]) -> Option<(i64, i64)> {
    let [first, second, rest @ ..] = here else { return None };
    let third = rest.first().filter(|token| token.joined == second.joined).and_then(Token::number);
    match (first.text.len(), second.joined?, first.number()?, second.number()?, third) {
        (4, '-' | '/', year, month, third) => month_days(year, month, third),
        (1 | 2, '.' | '/', date, month, Some(year)) if YEARS.contains(&year) => month_days(year, month, Some(date)),
        _ => None,
    }
}

/// `3 May 2025`, `May 3rd`, `3. Mai`, `in May`, `last May`.
fn month_date(here: &[Token], before: &[Token], today: i64) -> Option<(i64, i64)> {
    let first = here.first()?;
    let after = |place: usize| here.get(place).and_then(Token::number);
    if let (Some(date @ 1..=31), Some(month)) = (first.number(), skip_of(here).and_then(month)) {
        let year = skip_of(here).and_then(|_| here.iter().skip(2).take(2).find_map(Token::number)).filter(is_year);
        return in_year(year, today, |year| month_days(year, month, Some(date)));
    }
    let month = month(first)?;
    if let Some(date @ 1..=31) = after(1) {
        return in_year(after(2).filter(is_year), today, |year| month_days(year, month, Some(date)));
    }
    let year = after(1).filter(is_year);
    let told = before.last().is_some_and(|word| {
        [
            "in", "im", "since", "seit", "last", "letzten", "this", "diesen", "of", "early", "late", "mid", "anfang",
            "ende", "mitte",
        ]
        .contains(&word.text.as_str())
    });
    // “may” and “march” are verbs, too.
    let month_only = !["may", "march", "mar", "sun", "dec"].contains(&first.text.as_str());
    (year.is_some() || told || month_only).then_some(())?;
    in_year(year, today, |year| month_days(year, month, None))
}

/// The word after the first; `3rd of May`.
fn skip_of(here: &[Token]) -> Option<&Token> {
    match here.get(1) {
        Some(of) if of.text == "of" => here.get(2),
        second => second,
    }
}

/// In that year, or in the last one in which it has begun already.
fn in_year(year: Option<i64>, today: i64, days: impl Fn(i64) -> Option<(i64, i64)>) -> Option<(i64, i64)> {
    let (this, _, _) = civil(today);
    match year {
        Some(year) => days(year),
        None => days(this).filter(|(first, _)| *first <= today).or_else(|| days(this - 1)),
    }
}

/// What is told from today: yesterday, last week, two weeks ago, on Monday.
fn near(here: &[Token], before: &[Token], today: i64) -> Option<(i64, i64)> {
    let first = here.first()?;
    let day = |ago: i64| Some((today - ago, today - ago + 1));
    match first.text.as_str() {
        "today" | "heute" | "tonight" => return day(0),
        "yesterday" | "gestern" => {
            let texts: Vec<&str> = before.iter().rev().take(3).map(|word| word.text.as_str()).collect();
            return day(if texts == ["before", "day", "the"] { 2 } else { 1 });
        }
        "day" if here.get(1).is_some_and(|word| word.text == "before") => {
            return if here.get(2).is_some_and(|word| word.text == "yesterday") { day(2) } else { None };
        }
        "vorgestern" => return day(2),
        "last" | "past" | "letzte" | "letzten" | "letztes" | "letzter" | "vergangene" | "vergangenen"
        | "vergangenes" | "vorige" | "vorigen" | "voriges" => return back(here.get(1)?, 1, today),
        "this" | "diese" | "diesen" | "dieses" | "dieser" => return back(here.get(1)?, 0, today),
        "vor" => return ago(here.get(1)?, here.get(2)?, today),
        _ => {}
    }
    if here.get(2).is_some_and(|word| word.text == "ago") {
        return ago(first, here.get(1)?, today);
    }
    let place = place(WEEKDAYS, first)?;
    // “sun” and “mon” alone are other words in other languages.
    (first.text.len() > 3).then(|| last_weekday(place, today))
}

/// The unit before this one, or this one.
fn back(unit: &Token, before: i64, today: i64) -> Option<(i64, i64)> {
    let (year, month, _) = civil(today);
    let monday = today - weekday(today);
    let season = |first_month: i64| {
        let span = |year| {
            Some((
                month_days(year, first_month, None)?.0,
                month_days(year + first_month / 12, first_month % 12 + 3, None)?.0,
            ))
        };
        let begun = |span: &(i64, i64)| span.0 <= today && (before == 0 || span.1 <= today);
        span(year).filter(begun).or_else(|| span(year - 1))
    };
    match unit.text.as_str() {
        "night" | "nacht" => Some((today - 1, today + 1)),
        "week" | "woche" => Some((monday - 7 * before, monday - 7 * before + 7)),
        "weekend" | "wochenende" => {
            let saturday = monday + 5 - if before == 1 && weekday(today) < 5 { 7 } else { 7 * before };
            Some((saturday, saturday + 2))
        }
        "month" | "monat" => months_back(year, month, before),
        "year" | "jahr" | "jahres" => {
            Some((month_days(year - before, 1, None)?.0, month_days(year - before + 1, 1, None)?.0))
        }
        "spring" | "frühling" | "frühjahr" => season(3),
        "summer" | "sommer" => season(6),
        "autumn" | "fall" | "herbst" => season(9),
        "winter" => season(12),
        _ => place(WEEKDAYS, unit).map(|place| last_weekday(place, today)),
    }
}

/// `two weeks ago`, `vor drei Tagen`: as exact as it is said.
fn ago(count: &Token, unit: &Token, today: i64) -> Option<(i64, i64)> {
    const NUMBERS: &[&[&str]] = &[
        &["a", "an", "one", "ein", "einem", "einer"],
        &["two", "couple", "zwei"],
        &["three", "few", "drei", "paar"],
        &["four", "vier"],
        &["five", "fünf"],
        &["six", "sechs"],
        &["seven", "sieben"],
        &["eight", "acht"],
        &["nine", "neun"],
        &["ten", "zehn"],
        &["eleven", "elf"],
        &["twelve", "zwölf"],
    ];
    let count = count.number().or_else(|| place(NUMBERS, count).map(|place| place + 1))?;
    let (year, month, _) = civil(today);
    match unit.text.as_str() {
        "day" | "days" | "tag" | "tagen" => Some((today - count, today - count + 1)),
        "week" | "weeks" | "woche" | "wochen" => Some((today - 7 * count - 3, today - 7 * count + 4)),
        "month" | "months" | "monat" | "monaten" => months_back(year, month, count),
        "year" | "years" | "jahr" | "jahren" => {
            Some((month_days(year - count, 1, None)?.0, month_days(year - count + 1, 1, None)?.0))
        }
        _ => None,
    }
}

/// `in 2024`, `im Jahr 2024`.
fn year(here: &[Token], before: &[Token]) -> Option<(i64, i64)> {
    let year = here.first().filter(|token| token.text.len() == 4).and_then(Token::number).filter(is_year)?;
    let told =
        before.last().is_some_and(|word| ["in", "since", "seit", "jahr", "year", "of"].contains(&word.text.as_str()));
    told.then_some(())?;
    Some((month_days(year, 1, None)?.0, month_days(year + 1, 1, None)?.0))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "a filter hands a reference")]
fn is_year(number: &i64) -> bool {
    YEARS.contains(number)
}

fn month(token: &Token) -> Option<i64> {
    place(MONTHS, token).map(|place| place + 1)
}

/// The last day of that name before today.
fn last_weekday(place: i64, today: i64) -> (i64, i64) {
    let day = today - 1 - (weekday(today) - 1 - place).rem_euclid(7);
    (day, day + 1)
}

fn months_back(year: i64, month: i64, count: i64) -> Option<(i64, i64)> {
    let months = year * 12 + month - 1 - count;
    month_days(months.div_euclid(12), months.rem_euclid(12) + 1, None)
}

/// The days of a month, or one of them.
fn month_days(year: i64, month: i64, date: Option<i64>) -> Option<(i64, i64)> {
    let month_begin = |year: i64, month: i64| (1..=12).contains(&month).then(|| day_number(year, month));
    let first = month_begin(year, month)?;
    let end = if month == 12 { month_begin(year + 1, 1)? } else { month_begin(year, month + 1)? };
    match date {
        None => Some((first, end)),
        Some(date) => (date >= 1 && first + date <= end).then(|| (first + date - 1, first + date)),
    }
}

fn place(names: &[&[&str]], token: &Token) -> Option<i64> {
    names.iter().position(|names| names.contains(&token.text.as_str())).and_then(|place| i64::try_from(place).ok())
}

const MONTHS: &[&[&str]] = &[
    &["january", "januar", "jan"],
    &["february", "februar", "feb"],
    &["march", "märz", "mar"],
    &["april", "apr"],
    &["may", "mai"],
    &["june", "juni", "jun"],
    &["july", "juli", "jul"],
    &["august", "aug"],
    &["september", "sep", "sept"],
    &["october", "oktober", "oct"],
    &["november", "nov"],
    &["december", "dezember", "dec"],
];
const WEEKDAYS: &[&[&str]] = &[
    &["monday", "montag"],
    &["tuesday", "dienstag"],
    &["wednesday", "mittwoch"],
    &["thursday", "donnerstag"],
    &["friday", "freitag"],
    &["saturday", "samstag", "sonnabend"],
    &["sunday", "sonntag"],
];

fn day_of(at: Timestamp, offset: &impl Fn(Timestamp) -> i32) -> i64 {
    at.0.saturating_add(i64::from(offset(at)) * 60_000).div_euclid(DAY_MS)
}

/// From Monday, 0, to Sunday, 6; the day 0 was a Thursday.
fn weekday(day: i64) -> i64 {
    (day + 3).rem_euclid(7)
}

/// Days from 1970-01-01 to the first of a month: in a calendar that begins in March a leap day comes last.
fn day_number(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and date of a day.
fn civil(day: i64) -> (i64, i64, i64) {
    // The estimate is never too late and at most a year too early, a month at a time later on.
    let estimate = day.div_euclid(366) + 1970 - i64::from(day < 0);
    let mut year = estimate + (day - day_number(estimate, 1)).div_euclid(366);
    while day_number(year + 1, 1) <= day {
        year += 1;
    }
    let month = (1..=12).rev().find(|month| day_number(year, *month) <= day).unwrap_or(1);
    (year, month, day - day_number(year, month) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Wednesday, 15 July 2026, noon in UTC.
    const NOW: Timestamp = Timestamp(1_784_116_800_000);

    fn days(question: &str) -> String {
        let show = |at: Timestamp| {
            let (year, month, date) = civil(at.0.div_euclid(DAY_MS));
            format!("{year}-{month:02}-{date:02}")
        };
        interval(question, NOW, |_| 0).map_or("-".to_owned(), |found| {
            let last = Timestamp(found.to.0 - DAY_MS);
            if last == found.from { show(found.from) } else { format!("{} to {}", show(found.from), show(last)) }
        })
    }

    #[test]
    fn expressions_of_time() {
        let check = |question: &str, expect: &str| assert_eq!(days(question), expect, "{question}");
        check("what did I say today?", "2026-07-15");
        check("where was I yesterday", "2026-07-14");
        check("the day before yesterday", "2026-07-13");
        check("Was war vorgestern?", "2026-07-13");
        check("what did we do last week?", "2026-07-06 to 2026-07-12");
        check("letzte Woche", "2026-07-06 to 2026-07-12");
        check("this week", "2026-07-13 to 2026-07-19");
        check("last weekend", "2026-07-11 to 2026-07-12");
        check("last month", "2026-06-01 to 2026-06-30");
        check("im letzten Monat", "2026-06-01 to 2026-06-30");
        check("last year", "2025-01-01 to 2025-12-31");
        check("last summer", "2025-06-01 to 2025-08-31");
        check("this summer", "2026-06-01 to 2026-08-31");
        check("last winter", "2025-12-01 to 2026-02-28");
        check("letzten Herbst", "2025-09-01 to 2025-11-30");
        check("two weeks ago", "2026-06-28 to 2026-07-04");
        check("vor drei Tagen", "2026-07-12");
        check("10 days ago", "2026-07-05");
        check("a month ago", "2026-06-01 to 2026-06-30");
        check("vor einem Jahr", "2025-01-01 to 2025-12-31");
        check("what happened in May?", "2026-05-01 to 2026-05-31");
        check("in December", "2025-12-01 to 2025-12-31");
        check("in May 2024", "2024-05-01 to 2024-05-31");
        check("im Mai", "2026-05-01 to 2026-05-31");
        check("May I ask you something?", "-");
        check("on 3 May 2025", "2025-05-03");
        check("the 3rd of May", "2026-05-03");
        check("May 3rd, 2025", "2025-05-03");
        check("am 3. Mai", "2026-05-03");
        check("am 3.5.2025", "2025-05-03");
        check("on 2025-05-03?", "2025-05-03");
        check("in 2025-05", "2025-05-01 to 2025-05-31");
        check("2025-02-30", "-");
        check("back in 2024", "2024-01-01 to 2024-12-31");
        check("I have 2024 apples", "-");
        check("on Monday", "2026-07-13");
        check("last Wednesday", "2026-07-08");
        check("am Sonntag", "2026-07-12");
        check("what is my name", "-");
        check("", "-");
    }

    #[test]
    fn days_begin_where_the_person_is() {
        let found = interval("yesterday", Timestamp(NOW.0 + 11 * HOUR_MS), |_| 120).unwrap();
        assert_eq!((found.from.0, found.to.0), (NOW.0 - 14 * HOUR_MS, NOW.0 + 10 * HOUR_MS));
        assert_eq!(day_words(NOW, 0), "2026-07-15 15 july juli jul wednesday mittwoch");
        assert_eq!(day_words(NOW, 12 * 60), "2026-07-16 16 july juli jul thursday donnerstag");
    }

    #[test]
    fn what_lies_in_an_interval_fits() {
        let of = Interval { from: Timestamp(10 * DAY_MS), to: Timestamp(12 * DAY_MS) };
        let check = |from: i64, to: i64, expect: f32| {
            let fit = of.fit(Timestamp(from * DAY_MS), Timestamp(to * DAY_MS));
            assert!((fit - expect).abs() < 0.01, "{from} {to}: {fit}");
        };
        check(10, 10, 1.0);
        check(0, 50, 1.0);
        check(9, 9, 0.5);
        check(0, 8, 0.0);
        check(13, 20, 0.5);
        check(20, 30, 0.0);
    }

    #[test]
    fn questions_about_then() {
        let check = |question: &str, expect: bool| assert_eq!(is_past(question), expect, "{question}");
        check("where did I live before?", true);
        check("what was my first job", true);
        check("Wo habe ich früher gewohnt?", true);
        check("where do I live", false);
        check("Wo wohne ich?", false);
    }

    proptest! {
        #[test]
        fn days_are_numbered_one_after_another(day in -800_000_i64..800_000) {
            let ((year, month, date), (_, _, next)) = (civil(day), civil(day + 1));
            prop_assert_eq!(day_number(year, month) + date - 1, day);
            prop_assert!((1..=12).contains(&month) && (next == date + 1 || next == 1), "{year}-{month}-{date}");
        }

        #[test]
        fn every_interval_has_a_length(question in "(last|this|vor|in|on|two|12|3|2024|may|week|winter|monday|ago|tagen|of|\\.|-| ){1,8}", now in -9_000_000_000_000_i64..9_000_000_000_000) {
            if let Some(found) = interval(&question, Timestamp(now), |_| 60) {
                prop_assert!(found.from < found.to, "{question}: {found:?}");
            }
        }

        #[test]
        fn nothing_breaks_it(question in "(?s).{0,300}", now: i64) {
            let found = interval(&question, Timestamp(now), |_| -720);
            prop_assert!(found.is_none_or(|found| found.from <= found.to));
        }
    }
}
