//! Errors and warnings about configuration, printed with file, line and caret.
//!
//! Text from the file or the environment is hostile to a terminal and may be a secret: control characters are replaced,
//! long lines cut, and what looks like a credential is hidden.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use super::Origin;
use super::sources::ConfigFile;

/// Characters of a line that an excerpt shows.
const EXCERPT_CHARS_MAX: usize = 100;
/// Characters before the caret that stay when a line is cut.
const EXCERPT_BEFORE_CHARS: usize = 40;
/// Characters of a value that a message shows.
const VALUE_CHARS_MAX: usize = 60;

/// One error or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it stops the program.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// Where.
    pub place: Place,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Whether a diagnostic stops the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It does.
    Error,
    /// It does not.
    Warning,
}

/// Where something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A part of a file.
    Excerpt(Box<Excerpt>),
    /// A file as a whole.
    File(PathBuf),
    /// The environment variable of this name.
    Variable(String),
    /// This option of the command line.
    Option(&'static str),
    /// Nowhere: it is about a default.
    Nowhere,
}

/// A line of a file with a mark below a part of it, safe to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The file.
    pub path: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The line, or the part of it around the mark.
    text: String,
    /// Characters of `text` before the mark.
    indent: usize,
    /// Characters marked; at least one.
    width: usize,
}

/// Everything that is wrong with a configuration; never empty. The exit code is the caller's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Diagnostic>);

impl std::error::Error for ConfigErrors {}

impl From<Diagnostic> for ConfigErrors {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n\n")?;
            }
            diagnostic.fmt(formatter)?;
        }
        Ok(())
    }
}

impl Diagnostic {
    /// An error without a hint.
    pub fn error(message: impl Into<String>, place: Place) -> Self {
        Self { severity: Severity::Error, message: message.into(), place, hint: None }
    }

    /// A warning without a hint.
    pub fn warning(message: impl Into<String>, place: Place) -> Self {
        Self { severity: Severity::Warning, message: message.into(), place, hint: None }
    }

    /// The same with advice, if there is any.
    pub fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(formatter, "{severity}: {}", self.message)?;
        let mut gutter = String::new();
        match &self.place {
            Place::Excerpt(excerpt) => {
                let number = excerpt.line.to_string();
                gutter = " ".repeat(number.len());
                write!(
                    formatter,
                    "\n{gutter}--> {}:{number}:{}",
                    printable(&excerpt.path.to_string_lossy()),
                    excerpt.column
                )?;
                write!(formatter, "\n{gutter} |\n{number} | {}", excerpt.text)?;
                write!(formatter, "\n{gutter} | {}{}", " ".repeat(excerpt.indent), "^".repeat(excerpt.width))?;
            }
            Place::File(path) => write!(formatter, "\n--> {}", printable(&path.to_string_lossy()))?,
            Place::Variable(name) => write!(formatter, "\n--> environment variable `{}`", printable(name))?,
            Place::Option(name) => write!(formatter, "\n--> option `{name}`")?,
            Place::Nowhere => {}
        }
        match &self.hint {
            Some(hint) => write!(formatter, "\n{gutter} = help: {hint}"),
            None => Ok(()),
        }
    }
}

impl Place {
    /// A span of bytes in a file.
    pub fn excerpt(file: &ConfigFile, span: &Range<usize>) -> Self {
        let text = file.text.as_str();
        // At the end of the file a parser points behind the last line break, which is no line of its own.
        let start = floor(text, span.start.min(text.trim_end_matches(['\n', '\r']).len()));
        let before = text.get(..start).unwrap_or("");
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = text.get(start..).and_then(|rest| rest.find('\n')).map_or(text.len(), |at| start + at);
        let line = text.get(line_start..line_end).unwrap_or("").trim_end_matches('\r');
        let column = before.get(line_start..).unwrap_or("").chars().count();
        let marked = text.get(start..floor(text, span.end.clamp(start, line_end))).unwrap_or("").chars().count();

        let safe: Vec<char> = printable(&hide_credentials(line)).chars().collect();
        let indent = column.min(safe.len());
        let cut = if safe.len() > EXCERPT_CHARS_MAX { indent.saturating_sub(EXCERPT_BEFORE_CHARS) } else { 0 };
        let shown: String = safe.iter().skip(cut).take(EXCERPT_CHARS_MAX).collect();
        let width = marked.min(shown.chars().count().saturating_sub(indent - cut)).max(1);
        Self::Excerpt(Box::new(Excerpt {
            path: file.path.clone(),
            line: line_number(text, start),
            column: column + 1,
            text: shown.trim_end().to_owned(),
            indent: indent - cut,
            width,
        }))
    }

    /// Where a value was set.
    pub fn of(origin: &Origin, file: Option<&ConfigFile>) -> Self {
        match (origin, file) {
            (Origin::File { span, .. }, Some(file)) => Self::excerpt(file, span),
            (Origin::Variable(name), _) => Self::Variable(name.clone()),
            (Origin::Option(name), _) => Self::Option(name),
            (Origin::File { .. }, None) | (Origin::Default | Origin::Derived(_), _) => Self::Nowhere,
        }
    }

    /// Files from top to bottom first, then the rest as it came.
    pub fn order(&self) -> usize {
        match self {
            Self::File(_) => 0,
            Self::Excerpt(excerpt) => excerpt.line,
            Self::Variable(_) | Self::Option(_) | Self::Nowhere => usize::MAX,
        }
    }
}

/// The line of a byte, counted from 1.
pub fn line_number(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// A value for a message: one line, printable, short, no credential.
pub fn excerpt_of_value(value: &str) -> String {
    let safe = printable(&hide_credentials(value));
    if safe.chars().count() <= VALUE_CHARS_MAX {
        safe
    } else {
        safe.chars().take(VALUE_CHARS_MAX).chain(['…']).collect()
    }
}

/// The text without characters that move a cursor, change a direction or break a line; each becomes one other character.
pub fn printable(text: &str) -> String {
    let replace = |character: char| match character {
        '\t' => ' ',
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        other if other.is_control() => '\u{fffd}',
        other => other,
    };
    text.chars().map(replace).collect()
}

/// Cuts a line before something that looks like a credential: the value of a key with a telling name, an Anthropic key
/// (`sk-ant-…`) or a bot token (digits, a colon, 30 or more letters and digits).
fn hide_credentials(line: &str) -> String {
    const NAMES: &[&str] = &["token", "secret", "password", "passwd", "api_key", "api-key", "apikey", "credential"];
    // ASCII case folding keeps every byte where it is. `max_tokens` is a number that people want to see.
    let lower = line.to_ascii_lowercase().replace("max_tokens", "max_number");
    let named = NAMES.iter().filter_map(|name| {
        let at = lower.find(name)?;
        lower.get(at..)?.find('=').map(|equals| at + equals + 1)
    });
    let shaped = lower.find("sk-ant-").into_iter().chain(bot_token(&lower));
    match named.chain(shaped).min() {
        Some(at) => format!("{} …", line.get(..at).unwrap_or("").trim_end()),
        None => line.to_owned(),
    }
}

/// Where something with the form of a bot token starts.
fn bot_token(line: &str) -> Option<usize> {
    const LETTERS_MIN: usize = 30;
    line.match_indices(':').find_map(|(colon, _)| {
        let (before, after) = line.split_at(colon);
        let digits = before.bytes().rev().take_while(u8::is_ascii_digit).count();
        let letters = after
            .bytes()
            .skip(1)
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
            .count();
        (digits >= 6 && letters >= LETTERS_MIN).then(|| colon - digits)
    })
}

/// The last character boundary at or before a byte.
fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at)
}
