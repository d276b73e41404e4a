//! What goes wrong, as a person reads it: what, why, what to do, and the exit code.

use crate::redact;
use std::fmt;
use std::io::Write;

/// A command that could not be carried out.
#[derive(Debug)]
pub struct Failure {
    /// What happened; empty if there is nothing left to say, and only the exit code counts.
    pub message: String,
    /// Why.
    pub cause: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// The exit code.
    pub code: u8,
}

/// How a failure is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// `error: …`, with `cause:` and `hint:` below.
    Plain,
    /// The same, coloured.
    Coloured,
    /// One JSON object.
    Json,
}

impl Failure {
    /// Anything without a code of its own.
    pub const GENERAL: u8 = 1;
    /// A command line that makes no sense.
    pub const USAGE: u8 = 2;
    /// An address or a service is not available (`EX_UNAVAILABLE` of sysexits.h).
    pub const UNAVAILABLE: u8 = 69;
    /// A bug (`EX_SOFTWARE`).
    pub const INTERNAL: u8 = 70;
    /// Another instance runs (`EX_TEMPFAIL`).
    pub const ANOTHER_INSTANCE: u8 = 75;
    /// A key or a permission is missing (`EX_NOPERM`).
    pub const PERMISSION: u8 = 77;
    /// The configuration or the database's version is wrong (`EX_CONFIG`).
    pub const CONFIG: u8 = 78;
    /// Ended by Ctrl-C (128 + SIGINT).
    pub const INTERRUPTED: u8 = 130;
    /// Nobody reads what is written (128 + SIGPIPE).
    pub const BROKEN_PIPE: u8 = 141;
    /// Ended by a second signal (128 + SIGTERM).
    pub const SECOND_SIGNAL: u8 = 143;

    /// Only a message.
    pub fn new(message: impl Into<String>, code: u8) -> Self {
        Self { message: message.into(), cause: None, hint: None, code }
    }

    /// Only an exit code: what there is to say has been said.
    pub fn quiet(code: u8) -> Self {
        Self::new("", code)
    }

    /// Something that should not have happened.
    pub fn internal(message: &str, cause: &dyn fmt::Display) -> Self {
        Self { cause: Some(cause.to_string()), ..Self::new(message, Self::INTERNAL) }
    }

    /// Tells it on standard error.
    pub fn report(&self, manner: Manner) {
        if self.message.is_empty() {
            return;
        }
        let mut error = std::io::stderr().lock();
        if writeln!(error, "{}", redact::text(&self.render(manner))).is_err() {
            // Nobody is left to be told; the exit code still says it.
        }
    }

    fn render(&self, manner: Manner) -> String {
        let (red, dim, off) = match manner {
            Manner::Plain => ("", "", ""),
            Manner::Coloured => ("\x1b[1;31m", "\x1b[2m", "\x1b[0m"),
            Manner::Json => {
                let Self { message, cause, hint, code } = self;
                let error = serde_json::json!({"message": message, "cause": cause, "hint": hint, "code": code});
                return serde_json::json!({ "error": error }).to_string();
            }
        };
        let mut text = format!("{red}error:{off} {}", self.message);
        for (word, more) in [("cause", &self.cause), ("hint", &self.hint)] {
            if let Some(more) = more {
                text += &format!("\n  {dim}{word}:{off} {more}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_with_cause_and_hint() {
        let failure = Failure {
            cause: Some("it is locked".into()),
            hint: Some("unlock it".into()),
            ..Failure::new("no entry", Failure::PERMISSION)
        };
        assert_eq!(failure.render(Manner::Plain), "error: no entry\n  cause: it is locked\n  hint: unlock it");
        assert_eq!(Failure::new("no entry", 1).render(Manner::Coloured), "\u{1b}[1;31merror:\u{1b}[0m no entry");
        let json: serde_json::Value = serde_json::from_str(&failure.render(Manner::Json)).unwrap_or_default();
        let expect = serde_json::json!({"error": {"message": "no entry", "cause": "it is locked", "hint": "unlock it", "code": 77}});
        assert_eq!(json, expect);
    }
}
