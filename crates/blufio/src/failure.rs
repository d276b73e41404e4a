//! What goes wrong, as a person reads it: what, why, what to do, and the exit code.

use std::fmt;

/// A command that could not be carried out.
#[derive(Debug)]
pub struct Failure {
    /// What happened.
    pub message: String,
    /// Why.
    pub cause: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// The exit code.
    pub code: u8,
}

impl Failure {
    /// Anything without a code of its own.
    pub const GENERAL: u8 = 1;
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
    /// Ended by a second signal (128 + SIGTERM).
    pub const SECOND_SIGNAL: u8 = 143;

    /// Only a message.
    pub fn new(message: impl Into<String>, code: u8) -> Self {
        Self { message: message.into(), cause: None, hint: None, code }
    }

    /// Something that should not have happened.
    pub fn internal(message: &str, cause: &dyn fmt::Display) -> Self {
        Self { cause: Some(cause.to_string()), ..Self::new(message, Self::INTERNAL) }
    }
}
