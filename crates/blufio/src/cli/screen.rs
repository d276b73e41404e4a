//! Where words go and how they look: standard output for results, standard error for remarks, colours on terminals only.
//!
//! Text that others wrote is hostile to a terminal, so [`harmless`] stands before it.

use super::arguments::{Colour, Global};
use crate::config::Environment;
use crate::failure::{Failure, Manner};
use blufio_core::time::Timestamp;
use serde::Serialize;
use std::io::{IsTerminal, Write};

/// The standard streams of this process.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Results are JSON.
    pub json: bool,
    /// A person types.
    pub terminal_in: bool,
    /// A person reads results.
    pub terminal_out: bool,
    /// A person reads remarks.
    pub terminal_err: bool,
    /// What was remarked can be erased again.
    pub erases: bool,
    colour_out: bool,
    colour_err: bool,
}

/// How a piece of text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Headings.
    Bold,
    /// Less important.
    Dim,
    /// Well.
    Green,
    /// Not well.
    Red,
}

impl Screen {
    /// Looks at the streams and at what the person wants. `NO_COLOR` and `TERM=dumb` mean no colours.
    pub fn new(global: &Global, environment: &Environment) -> Self {
        let set = |name: &str| environment.vars.get(name).is_some_and(|value| !value.is_empty());
        let dumb = environment.vars.get("TERM").is_some_and(|term| term == "dumb");
        let colour = |terminal| match global.color {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => terminal && !dumb && !set("NO_COLOR"),
        };
        let terminal_out = std::io::stdout().is_terminal();
        let terminal_err = std::io::stderr().is_terminal();
        Self {
            json: global.json,
            terminal_in: std::io::stdin().is_terminal(),
            terminal_out,
            terminal_err,
            erases: terminal_err && !dumb,
            colour_out: colour(terminal_out),
            colour_err: colour(terminal_err),
        }
    }

    /// Streams that are no terminals, for tests.
    #[cfg(test)]
    pub const fn plain() -> Self {
        Self {
            json: false,
            terminal_in: false,
            terminal_out: false,
            terminal_err: false,
            erases: false,
            colour_out: false,
            colour_err: false,
        }
    }

    /// How failures are told.
    pub fn manner(&self) -> Manner {
        match (self.json, self.colour_err) {
            (true, _) => Manner::Json,
            (false, true) => Manner::Coloured,
            (false, false) => Manner::Plain,
        }
    }

    /// Results may have colours.
    pub const fn has_colour(&self) -> bool {
        self.colour_out
    }

    /// A piece of a result.
    pub fn paint(&self, look: Look, text: &str) -> String {
        paint(self.colour_out, look, text)
    }

    /// Writes a part of the result and makes it visible at once.
    pub fn write(&self, text: &str) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| {
            if error.kind() == std::io::ErrorKind::BrokenPipe {
                Failure::quiet(Failure::BROKEN_PIPE)
            } else {
                let cause = Some(error.to_string());
                Failure { cause, ..Failure::new("the result could not be written", Failure::GENERAL) }
            }
        })
    }

    /// Writes one line of JSON.
    pub fn write_json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|error| Failure::internal("the result is no JSON", &error))?;
        self.write(&format!("{text}\n"))
    }

    /// Writes a remark as it is, without a line break.
    pub fn remark(&self, text: &str) {
        let mut error = std::io::stderr().lock();
        if error.write_all(text.as_bytes()).and_then(|()| error.flush()).is_err() {
            // A remark that nobody can read is no reason to stop.
        }
    }

    /// A remark that matters less.
    pub fn dimmed(&self, text: &str) -> String {
        paint(self.colour_err, Look::Dim, text)
    }

    /// Writes a dim line that is no part of the result; only for a person at a terminal.
    pub fn aside(&self, text: &str) {
        if self.terminal_err && !self.json {
            self.remark(&format!("{}\n", self.dimmed(text)));
        }
    }
}

fn paint(colour: bool, look: Look, text: &str) -> String {
    let code = match look {
        Look::Bold => "1",
        Look::Dim => "2",
        Look::Green => "32",
        Look::Red => "31",
    };
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Text that can neither move a cursor nor change a direction; lines and tabs stay.
pub fn harmless(text: &str) -> String {
    let replace = |character: char| match character {
        '\n' | '\t' => character,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        other if other.is_control() => '\u{fffd}',
        other => other,
    };
    // Line breaks of Windows are line breaks.
    text.replace("\r\n", "\n").chars().map(replace).collect()
}

/// One line of at most `chars` characters.
pub fn one_line(text: &str, chars: usize) -> String {
    let line = harmless(text).split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= chars {
        return line;
    }
    line.chars().take(chars.saturating_sub(1)).chain(['…']).collect()
}

/// An instant as this machine's clock on the wall shows it.
pub fn local_time(at: Timestamp) -> String {
    zoned(at, "%Y-%m-%d %H:%M:%S")
}

/// The time of day, with milliseconds.
pub fn time_of_day(at: Timestamp) -> String {
    zoned(at, "%H:%M:%S%.3f")
}

fn zoned(at: Timestamp, format: &str) -> String {
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(instant) => instant.to_zoned(jiff::tz::TimeZone::system()).strftime(format).to_string(),
        Err(_) => format!("{} ms", at.0),
    }
}

/// A length of time in its two largest units.
pub fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if seconds == 0 => format!("{milliseconds} ms"),
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Bytes in a unit that suits them (10³).
pub fn bytes(count: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", count / unit, count % unit * 10 / unit);
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{} kB", tenths(1_000)),
        1_000_000..1_000_000_000 => format!("{} MB", tenths(1_000_000)),
        _ => format!("{} GB", tenths(1_000_000_000)),
    }
}

/// Rows under a heading, columns as wide as they need to be.
pub fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading: Vec<String> = heading.iter().map(|&text| text.to_owned()).collect();
    let all = || std::iter::once(&heading).chain(rows);
    let widths: Vec<usize> = (0..heading.len())
        .map(|column| all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    all().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_cannot_move_the_cursor() {
        assert_eq!(harmless("a\tb\r\nc\u{1b}[2J\u{7}\u{202e}d"), "a\tb\nc\u{fffd}[2J\u{fffd}\u{fffd}d");
        assert_eq!(one_line(" a\n b ", 10), "a b");
        assert_eq!(one_line("abcdef", 4), "abc…");
    }

    #[test]
    fn figures() {
        let durations: Vec<String> = [7, 1_500, 61_000, 3_700_000, 90_000_000].map(duration).into();
        assert_eq!(durations, ["7 ms", "1 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
        let sizes: Vec<String> = [999, 1_000, 1_234_567, 2_000_000_000].map(bytes).into();
        assert_eq!(sizes, ["999 B", "1.0 kB", "1.2 MB", "2.0 GB"]);
    }

    #[test]
    fn tables_line_up() {
        let rows = [vec!["a".to_owned(), "longer".to_owned()], vec!["bcd".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["k", "v"], &rows), "k    v\na    longer\nbcd  x\n");
    }
}
