//! The leak scanner of `blufio-core`: what it finds of what was made by chance, what it takes for a secret in ordinary text,
//! how fast it reads, and whether hard text makes it slower than text twice as long may be.

mod benign;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use base64::Engine as _;
use blufio_core::leak::{LeakScanner, Leaks, Rule, RuleSet};
use clap::Args;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::string::string_regex;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::report::{Report, ms};

/// Share of samples that must be found.
const RECALL_MIN: f64 = 0.99;
/// Share of ordinary lines in which something may be found.
const FALSE_MAX: f64 = 0.005;
/// Ordinary text per second.
const MB_PER_S_MIN: f64 = 50.0;
/// Times that text twice as long may take longer.
const GROWTH_MAX: f64 = 3.0;
/// Known values, as many as a large vault has.
const KNOWN_VALUES: usize = 50;
/// Bytes of a hard text; and of twice that.
const HARD_BYTES: usize = 64 * 1024;
/// Times a suspicious growth is measured again; another process may have caused it.
const MEASURED_AGAIN: usize = 20;
const SEED: [u8; 32] = *b"leaks: the seed of these samples";

/// Options of this measurement.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Samples of each rule
    #[arg(long, default_value_t = 200)]
    pub samples: usize,
}

/// Measures.
///
/// # Errors
/// A rule's pattern makes no samples.
pub fn run(options: &Options) -> Result<Report> {
    let rules = Arc::new(RuleSet::standard());
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &SEED));
    let values = known_values(&mut runner)?;
    let pairs = || values.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let scanner = LeakScanner::new(rules.clone(), pairs());
    let about = format!(
        "The leak scanner with {} rules and {KNOWN_VALUES} known values, in this process: {} samples made from each rule's \
         pattern, every known value in every encoding, ordinary text made from words, code, logs, hashes and pictures.",
        rules.len(),
        options.samples
    );
    let mut report = Report::new("leaks", about);
    recall(&mut report, &scanner, &rules, options.samples, &mut runner)?;
    exact(&mut report, &scanner, pairs());
    let text = benign::text(20_000);
    false_positives(&mut report, &scanner, &text);
    speed(&mut report, &scanner, &text);
    hard(&mut report, &scanner, &rules, &mut runner)?;
    Ok(report)
}

fn sample(pattern: &str, runner: &mut TestRunner) -> Result<String> {
    let wrong = |error: &dyn std::fmt::Display| anyhow!("{pattern} makes no samples: {error}");
    let made = string_regex(pattern).map_err(|error| wrong(&error))?.new_tree(runner).map_err(|error| wrong(&error))?;
    Ok(made.current())
}

fn known_values(runner: &mut TestRunner) -> Result<Vec<(String, String)>> {
    let shapes = ["[0-9A-Za-z]{12,60}", "[ -~]{10,40}", "[0-9a-f]{64}", "[a-zà-ÿ0-9]{8,20}", "[0-9A-Za-z+/]{43}="];
    let value = |number: usize| Ok((format!("value.{number}"), sample(shapes[number % shapes.len()], runner)?));
    (0..KNOWN_VALUES).map(value).collect()
}

/// How a secret of this rule comes along in real text.
fn in_context(rule: &Rule, sample: &str, number: usize) -> String {
    let Some(near) = rule.near().get(number % rule.near().len().max(1)) else {
        let scheme = if sample.starts_with(':') { "https" } else { "" };
        return match number % 3 {
            0 => format!("I use {scheme}{sample} for this"),
            1 => format!("{{\"value\":\"{scheme}{sample}\"}}"),
            _ => format!("X={scheme}{sample}\n"),
        };
    };
    let name = if near.ends_with('_') { format!("{near}api") } else { near.clone() };
    match number % 4 {
        0 => format!("export {}_KEY={sample}\n", name.to_uppercase()),
        1 => format!("{{\"{name}_secret\": \"{sample}\"}}"),
        2 => format!("{name}:{sample}"),
        _ => format!("const {name}Token = '{sample}';"),
    }
}

fn recall(
    report: &mut Report,
    scanner: &LeakScanner,
    rules: &RuleSet,
    samples: usize,
    runner: &mut TestRunner,
) -> Result<()> {
    let (mut found, mut all, mut worst) = (0, 0, (1.0, String::new()));
    for rule in rules.iter() {
        let mut of_rule = 0;
        for number in 0..samples {
            let sample = sample(rule.sample_pattern(), runner)?;
            let text = in_context(rule, &sample, number);
            let hidden: usize = scanner.scan(&text).iter().map(|finding| finding.range.len()).sum();
            // A group of the pattern may be the secret, with names of hosts and keys around it that may stay.
            of_rule += usize::from(hidden * 10 >= sample.len() * 4);
        }
        (found, all) = (found + of_rule, all + samples);
        let share = of_rule as f64 / samples.max(1) as f64;
        if share < worst.0 {
            worst = (share, rule.name().to_owned());
        }
    }
    let share = found as f64 / f64::from(u32::try_from(all).unwrap_or(u32::MAX)).max(1.0);
    report.must("samples found", format!("{} of {all}", percent(share)), "≥ 99 %", share >= RECALL_MIN);
    if worst.0 < 1.0 {
        report.figure("… of the rule with the fewest", format!("{} ({})", percent(worst.0), worst.1));
    }
    Ok(())
}

/// The forms of a value as others write them.
fn forms(value: &str) -> Vec<String> {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent = value.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    });
    let mut all =
        vec![value.to_owned(), hex.to_uppercase(), hex, percent.collect(), serde_json::json!(value).to_string()];
    for before in ["", "n", "nm"] {
        all.push(STANDARD.encode(format!("{before}{value}")));
        all.push(URL_SAFE_NO_PAD.encode(format!("{before}{value}")));
    }
    all
}

fn exact<'a>(report: &mut Report, scanner: &LeakScanner, values: impl Iterator<Item = (&'a str, &'a str)> + Clone) {
    let leaks = Leaks::default();
    leaks.learn(values.clone());
    let (mut found, mut streamed, mut all) = (0, 0, 0);
    for form in values.flat_map(|(_, value)| forms(value)) {
        let text = format!("it is {form} there");
        found += usize::from(scanner.holds_exact(&text).is_some());
        for size in [1, 3, 16] {
            let characters: Vec<char> = text.chars().collect();
            let mut stream = leaks.redact_streaming();
            let pieces: String =
                characters.chunks(size).map(|piece| stream.push(&piece.iter().collect::<String>())).collect();
            let shown = pieces + &stream.finish();
            streamed += usize::from(shown.contains("[redacted:") && scanner.holds_exact(&shown).is_none());
        }
        all += 1;
    }
    report.must("known values found, in 11 forms", format!("{found} of {all}"), "all", found == all);
    report.must(
        "… in a stream of pieces of 1, 3 and 16 characters",
        format!("{streamed} of {}", all * 3),
        "all",
        streamed == all * 3,
    );
}

fn false_positives(report: &mut Report, scanner: &LeakScanner, text: &str) {
    let wrong: Vec<&str> = text.lines().filter(|line| !scanner.scan(line).is_empty()).collect();
    let lines = text.lines().count();
    let share = wrong.len() as f64 / lines as f64;
    report.must(
        "ordinary lines with a finding",
        format!("{} of {lines}", percent(share)),
        "≤ 0.5 %",
        share <= FALSE_MAX,
    );
    if let Some(line) = wrong.first() {
        let first = scanner.scan(line);
        let line: String = line.chars().take(120).collect();
        report.notes.push(format!("The first of them, by `{}`: `{line}`", first[0].name));
    }
}

fn speed(report: &mut Report, scanner: &LeakScanner, text: &str) {
    let started = Instant::now();
    drop(RuleSet::standard());
    report.figure("reading the rules", ms(started.elapsed()));
    let per_second = |time: Duration| text.len() as f64 / 1e6 / time.as_secs_f64();
    let whole = per_second(fastest(|| drop(scanner.scan(text))));
    report.goal("ordinary text", format!("{whole:.0} MB/s"), "≥ 50 MB/s", whole >= MB_PER_S_MIN);
    let known = per_second(fastest(|| drop(scanner.holds_exact(text))));
    report.figure("… for known values alone", format!("{known:.0} MB/s"));
    let line = text.lines().find(|line| line.len() > 80).unwrap_or(text);
    let once = fastest(|| (0..1_000).for_each(|_| drop(scanner.scan(line)))) / 1_000;
    report.figure(format!("one line of {} bytes", line.len()), format!("{:.1} µs", once.as_secs_f64() * 1e6));
}

/// The best of three, which is the least disturbed by others.
fn fastest(mut work: impl FnMut()) -> Duration {
    let mut once = || {
        let started = Instant::now();
        work();
        started.elapsed()
    };
    (0..3).map(|_| once()).min().unwrap_or_default()
}

/// Texts that make a careless scanner slow: keywords without end, runs without end, beginnings without ends.
fn hard_units(rules: &RuleSet, runner: &mut TestRunner) -> Result<Vec<String>> {
    let mut units: Vec<String> = [
        "eyJ",
        "eyJ ",
        "eyJ-",
        "://",
        "://a:",
        "-----BEGIN PRIVATE KEY-----\n",
        "key",
        "key=",
        "token: ",
        "a",
        "[redacted:",
        "[redacted:private-key]",
        "bearer ",
        "sk-",
        "sk-ant-api03-",
        "/bot",
        "/bot1:",
        "password = \"",
        "aws = ",
        "é",
        "-----B",
    ]
    .map(str::to_owned)
    .into();
    let mut all = String::new();
    for rule in rules.iter() {
        let sample = sample(rule.sample_pattern(), runner)?;
        let cut = sample.floor_char_boundary(sample.len() * 3 / 4);
        let begun = match rule.near().first() {
            Some(near) => format!("{near}={} ", &sample[..cut]),
            None => format!("{} ", &sample[..cut]),
        };
        all.push_str(&begun);
        units.push(begun);
    }
    units.push(all);
    Ok(units)
}

fn hard(report: &mut Report, scanner: &LeakScanner, rules: &RuleSet, runner: &mut TestRunner) -> Result<()> {
    let (mut growth, mut slowest) = ((0.0, String::new()), (f64::MAX, String::new()));
    let units = hard_units(rules, runner)?;
    for unit in &units {
        let of_size = |bytes: usize| unit.repeat(bytes / unit.len() + 1);
        let (text, twice) = (of_size(HARD_BYTES), of_size(HARD_BYTES * 2));
        let time = |text: &str| fastest(|| drop(scanner.redact(text))).max(Duration::from_micros(1));
        let (mut once, mut double) = (time(&text), time(&twice));
        let ratio = |once: Duration, double: Duration| double.as_secs_f64() / once.as_secs_f64();
        for _ in 0..MEASURED_AGAIN {
            if ratio(once, double) < GROWTH_MAX {
                break;
            }
            (once, double) = (once.min(time(&text)), double.min(time(&twice)));
        }
        let ratio = ratio(once, double);
        let shown: String = unit.chars().take(30).collect();
        if ratio > growth.0 {
            growth = (ratio, shown.clone());
        }
        let speed = twice.len() as f64 / 1e6 / double.as_secs_f64();
        if speed < slowest.0 {
            slowest = (speed, shown);
        }
    }
    let text = format!("{:.2} times as long (`{}`)", growth.0, growth.1.escape_debug());
    report.must(
        format!("{} hard texts: time for twice the length", units.len()),
        text,
        "< 3 times",
        growth.0 < GROWTH_MAX,
    );
    report.figure("… the slowest of them", format!("{:.1} MB/s (`{}`)", slowest.0, slowest.1.escape_debug()));
    Ok(())
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scanner_finds_enough_errs_seldom_and_is_linear() {
        let report = run(&Options { samples: 5 }).unwrap();
        assert!(report.failures.is_empty(), "{report:#?}");
    }
}
