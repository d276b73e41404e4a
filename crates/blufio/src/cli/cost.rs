//! `blufio cost`: what was spent on what, and what the cache has saved.

use super::arguments::{Cost, CostGroup};
use super::screen::{Look, Screen, harmless, table};
use super::source::Source;
use crate::failure::Failure;
use crate::keys::Installation;
use blufio_core::ids::SessionKey;
use blufio_core::money::MicroUsd;
use blufio_core::port::Clock;
use blufio_core::record::{CostBy, CostLine};
use blufio_core::time::Timestamp;
use blufio_runtime::clock::SystemClock;
use blufio_runtime::zone_or_system;
use jiff::tz::TimeZone;
use jiff::{ToSpan as _, Zoned};
use serde_json::json;

/// Characters of the longest bar.
const BAR_CHARS: u64 = 40;

/// Carries it out.
pub fn run(command: &Cost, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let zone = zone_or_system(here.config.agent.timezone.as_deref());
    let since = begin(&zone, SystemClock::start().now(), command.days);
    let session = command.session.as_ref().map(SessionKey::new);
    let by = command.by.costs();
    let lines = crate::serve::runtime()?
        .block_on(async { Source::find(here).await?.costs(by, since, session.as_ref()).await })?;
    let lines = if by == CostBy::Quarter { by_day(&zone, lines) } else { lines };
    let total = total(&lines);
    if screen.json {
        let by = command.by.word();
        return screen
            .write_json(&json!({"by": by, "days": command.days, "since": since, "lines": lines, "total": total}));
    }
    if command.csv {
        return screen.write(&csv(command.by.word(), &lines));
    }
    if lines.is_empty() {
        return screen.write(&format!("nothing was spent in the last {} days\n", command.days));
    }
    screen.write(&if command.chart { chart(&lines, screen) } else { figures(command, &lines, &total) })?;
    screen.write(&summary(command.days, &total, screen))
}

/// The midnight with which the last `days` days begin, today among them.
fn begin(zone: &TimeZone, now: Timestamp, days: u32) -> Timestamp {
    let local = jiff::Timestamp::from_millisecond(now.0).map(|now| now.to_zoned(zone.clone()));
    let first = local.and_then(|local| {
        let first = local.date().checked_sub(i64::from(days.saturating_sub(1)).days())?;
        first.to_zoned(zone.clone())
    });
    first.map_or(Timestamp(0), |first| Timestamp(first.timestamp().as_millisecond()))
}

/// Quarters of an hour, in order, as days of the agent's time zone.
fn by_day(zone: &TimeZone, quarters: Vec<CostLine>) -> Vec<CostLine> {
    let mut days: Vec<CostLine> = Vec::new();
    for quarter in quarters {
        let at = quarter.key.parse().ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
        let day = at.map_or(quarter.key.clone(), |at| Zoned::new(at, zone.clone()).date().to_string());
        match days.last_mut() {
            Some(last) if last.key == day => last.add(&quarter),
            _ => days.push(CostLine { key: day, ..quarter }),
        }
    }
    days
}

fn total(lines: &[CostLine]) -> CostLine {
    let mut total = CostLine { key: "total".to_owned(), ..CostLine::default() };
    lines.iter().for_each(|line| total.add(line));
    total
}

fn prompt(line: &CostLine) -> u64 {
    line.input + line.cache_write_5m + line.cache_write_1h + line.cache_read
}

fn share(line: &CostLine) -> String {
    (line.cache_read * 100).checked_div(prompt(line)).map_or_else(|| "-".to_owned(), |share| format!("{share} %"))
}

fn saved(line: &CostLine) -> String {
    let sign = if line.saved() < 0 { "-" } else { "" };
    format!("{sign}{}", MicroUsd(line.saved().unsigned_abs()).cents())
}

fn figures(command: &Cost, lines: &[CostLine], total: &CostLine) -> String {
    let row = |line: &CostLine| {
        vec![
            harmless(&line.key),
            line.calls.to_string(),
            prompt(line).to_string(),
            share(line),
            line.output.to_string(),
            line.cost.cents(),
            saved(line),
        ]
    };
    let rows: Vec<Vec<String>> = lines.iter().chain(std::iter::once(total)).map(row).collect();
    let head = command.by.word().to_uppercase();
    table(&[&head, "CALLS", "PROMPT TOKENS", "FROM CACHE", "OUTPUT TOKENS", "COST", "SAVED BY CACHE"], &rows)
}

fn chart(lines: &[CostLine], screen: &Screen) -> String {
    let most = lines.iter().map(|line| line.cost.0).max().unwrap_or(0).max(1);
    let width = lines.iter().map(|line| line.key.chars().count()).max().unwrap_or(0);
    let bar = |line: &CostLine| {
        let length = (line.cost.0 * BAR_CHARS).div_ceil(most);
        let bar = "█".repeat(usize::try_from(length).unwrap_or(0));
        format!("{:width$}  {} {}\n", harmless(&line.key), screen.paint(Look::Green, &bar), line.cost.cents())
    };
    lines.iter().map(bar).collect()
}

fn summary(days: u32, total: &CostLine, screen: &Screen) -> String {
    let mut text = format!("\n{} in {days} days", total.cost.cents());
    if total.saved() > 0 {
        text += &format!("; without the cache {} more", saved(total));
    }
    if total.estimated > MicroUsd::ZERO {
        text += &format!("; {} of it estimated, since the vendor never said", total.estimated.cents());
    }
    if total.held > MicroUsd::ZERO {
        text += &format!("; {} more reserved for calls that run", total.held.cents());
    }
    format!("{}\n", screen.paint(Look::Dim, &text))
}

/// Amounts in dollars with all their digits.
fn csv(by: &str, lines: &[CostLine]) -> String {
    let mut text = format!(
        "{by},calls,input,cache_write_5m,cache_write_1h,cache_read,output,cost_usd,estimated_usd,uncached_usd\n"
    );
    let dollars = |amount: MicroUsd| amount.to_string().replace('$', "");
    for line in lines {
        let key = if line.key.contains([',', '"', '\n']) {
            format!("\"{}\"", line.key.replace('"', "\"\""))
        } else {
            line.key.clone()
        };
        text += &format!(
            "{key},{},{},{},{},{},{},{},{},{}\n",
            line.calls,
            line.input,
            line.cache_write_5m,
            line.cache_write_1h,
            line.cache_read,
            line.output,
            dollars(line.cost),
            dollars(line.estimated),
            dollars(line.uncached)
        );
    }
    text
}

impl CostGroup {
    const fn costs(self) -> CostBy {
        match self {
            Self::Day => CostBy::Quarter,
            Self::Model => CostBy::Model,
            Self::Session => CostBy::Session,
            Self::Agent => CostBy::Agent,
            Self::Person => CostBy::Person,
            Self::Purpose => CostBy::Purpose,
            Self::Reason => CostBy::Reason,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Model => "model",
            Self::Session => "session",
            Self::Agent => "agent",
            Self::Person => "person",
            Self::Purpose => "purpose",
            Self::Reason => "reason",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line(key: &str, cost: u64) -> CostLine {
        CostLine { key: key.into(), calls: 1, cost: MicroUsd(cost), ..CostLine::default() }
    }

    #[test]
    fn quarters_become_days_of_the_zone() {
        let zone = TimeZone::get("Asia/Kathmandu").unwrap();
        // Midnight there is 18:15 UTC.
        let quarters = [1_795_370_400_000_i64, 1_795_371_300_000, 1_795_372_200_000].map(|at| line(&at.to_string(), 5));
        let days = by_day(&zone, quarters.to_vec());
        let shown: Vec<_> = days.iter().map(|day| (day.key.as_str(), day.calls, day.cost.0)).collect();
        assert_eq!(shown, [("2026-11-22", 1, 5), ("2026-11-23", 2, 10)]);
        let at = |text: &str| Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        assert_eq!(begin(&zone, at("2026-11-22T18:15:00Z"), 1), at("2026-11-22T18:15:00Z"));
        assert_eq!(begin(&zone, at("2026-11-22T18:14:59Z"), 2), at("2026-11-20T18:15:00Z"));
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        let text = csv("session", &[line("a,\"b\"", 1_234_567)]);
        assert_eq!(text.lines().nth(1).unwrap(), "\"a,\"\"b\"\"\",1,0,0,0,0,0,1.234567,0.000000,0.000000");
    }

    #[test]
    fn the_longest_bar_is_the_dearest() {
        let text = chart(&[line("a", 100), line("b", 50), line("c", 0)], &Screen::plain());
        let bars: Vec<_> = text.lines().map(|line| line.matches('█').count()).collect();
        assert_eq!(bars, [40, 20, 0]);
    }
}
