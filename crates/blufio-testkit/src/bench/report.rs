//! What a measurement says, as a table for people, as JSON, and as a section of `bench/RESULTS.md`.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::machine::Machine;

/// The outcome of one kind of measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Its name on the command line, and the name of its section.
    pub kind: String,
    /// What was done, in one sentence.
    pub about: String,
    /// The figures.
    pub figures: Vec<Figure>,
    /// What has to be known to read them.
    pub notes: Vec<String>,
    /// What must not be and was seen. With any, the program fails.
    pub failures: Vec<String>,
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// The value with its unit.
    pub value: String,
    /// What it should be, if anything is asked of it.
    pub goal: Option<String>,
    /// Whether it is.
    pub met: Option<bool>,
}

impl Report {
    /// An empty report.
    pub fn new(kind: &str, about: impl Into<String>) -> Self {
        Self {
            kind: kind.to_owned(),
            about: about.into(),
            figures: Vec::new(),
            notes: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Adds a figure that nothing is asked of.
    pub fn figure(&mut self, what: impl Into<String>, value: impl ToString) {
        self.figures.push(Figure { what: what.into(), value: value.to_string(), goal: None, met: None });
    }

    /// Adds a figure with its goal.
    pub fn goal(&mut self, what: impl Into<String>, value: impl ToString, goal: impl Into<String>, met: bool) {
        let (what, value) = (what.into(), value.to_string());
        self.figures.push(Figure { what, value, goal: Some(goal.into()), met: Some(met) });
    }

    /// Adds a figure whose goal must be reached.
    pub fn must(&mut self, what: impl Into<String>, value: impl ToString, goal: impl Into<String>, met: bool) {
        self.goal(what, value, goal, met);
        if !met && let Some(Figure { what, value, goal: Some(goal), .. }) = self.figures.last() {
            self.failures.push(format!("{what}: {value} instead of {goal}"));
        }
    }

    /// The table as Markdown.
    pub fn markdown(&self, machine: &Machine) -> String {
        let mut text = format!("## {}\n\n{}\n\n| what | measured | goal |\n|---|---|---|\n", self.kind, self.about);
        for Figure { what, value, goal, met } in &self.figures {
            let mark = match met {
                Some(true) => " ✓",
                Some(false) => " ✗",
                None => "",
            };
            let goal = goal.as_deref().unwrap_or("");
            writeln!(text, "| {what} | {value} | {goal}{mark} |").expect("a String takes everything");
        }
        for line in self.notes.iter().map(|note| format!("\n{note}\n")) {
            text.push_str(&line);
        }
        for line in self.failures.iter().map(|failure| format!("\n**Failed:** {failure}\n")) {
            text.push_str(&line);
        }
        write!(text, "\n{machine}\n").expect("a String takes everything");
        text
    }

    /// Replaces the section of this kind in a Markdown file, or appends it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, file: &Path, machine: &Machine) -> Result<()> {
        let old = std::fs::read_to_string(file).unwrap_or_default();
        let new = with_section(&old, &self.kind, &self.markdown(machine));
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(file, new).with_context(|| format!("cannot write {}", file.display()))
    }
}

/// The text with its section `name`, which stands between two marks, replaced or appended.
fn with_section(text: &str, name: &str, section: &str) -> String {
    let (open, close) = (format!("<!-- bench:{name} -->\n"), format!("<!-- /bench:{name} -->\n"));
    let section = format!("{open}{}\n{close}", section.trim_end());
    let found = text.find(&open).and_then(|start| Some((start, start + text[start..].find(&close)? + close.len())));
    match found {
        Some((start, end)) => format!("{}{section}{}", &text[..start], &text[end..]),
        None if text.is_empty() => section,
        None => format!("{}\n\n{section}", text.trim_end()),
    }
}

/// Sorted times, to be asked for quantiles.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Duration>);

impl FromIterator<Duration> for Times {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        let mut times: Vec<Duration> = times.into_iter().collect();
        times.sort_unstable();
        Self(times)
    }
}

impl Times {
    /// The smallest time that so many per cent do not exceed; zero if there are none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Milliseconds with two places.
pub fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1_000.0)
}

/// MB as 10^6 bytes, with one place.
pub fn mb(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_replaced_or_appended() {
        let first = with_section("# Results\n", "a", "one\n");
        assert_eq!(first, "# Results\n\n<!-- bench:a -->\none\n<!-- /bench:a -->\n");
        let both = with_section(&first, "b", "two");
        let changed = with_section(&both, "a", "three");
        assert_eq!(changed, both.replace("one", "three"));
        assert_eq!(with_section(&changed, "b", "two"), changed);
    }

    #[test]
    fn percentiles_are_of_the_sorted_values() {
        let times: Times = [5, 1, 4, 2, 3].into_iter().map(Duration::from_millis).collect();
        let at = |percent| times.percentile(percent).as_millis();
        assert_eq!([at(0), at(20), at(21), at(50), at(99), at(100)], [1, 1, 2, 3, 5, 5]);
        assert_eq!(Times::default().percentile(50), Duration::ZERO);
    }

    #[test]
    fn a_missed_must_is_a_failure_and_a_missed_goal_is_not() {
        let mut report = Report::new("x", "About.");
        report.goal("time", "6 ms", "≤ 5 ms", false);
        report.must("lost", 0, "0", true);
        assert!(report.failures.is_empty());
        report.must("lost", 1, "0", false);
        assert_eq!(report.failures, ["lost: 1 instead of 0"]);
        let machine = Machine::default();
        assert!(report.markdown(&machine).contains("| time | 6 ms | ≤ 5 ms ✗ |"));
    }
}
