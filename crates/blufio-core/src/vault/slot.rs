//! Secrets that the agent may use without seeing them: in which header each is sent.
//!
//! Which hosts it may be sent to stands beside it in the row. Both are part of what a row is bound to, so neither can be
//! changed without the key.

use super::{SealedSecret, VaultError};
use crate::secret::Secret;
use std::fmt;
use std::str::FromStr;

/// Characters of a header as it is written down, with the word before the value. Longer: refused.
const HEADER_CHARS_MAX: usize = 96;
/// Least bytes of a value: answers are searched for it, and a shorter one would be found in innocent words.
pub const VALUE_BYTES_MIN: usize = 8;
/// Most bytes of a value; servers take little more in a header.
pub const VALUE_BYTES_MAX: usize = 4 * 1024;

/// Begins the scope of a row that is for the agent; the header follows.
const SCOPE: &str = "agent ";
/// Headers that say how a request is to be read. A secret in one of them would change the request.
const HEADERS_DENIED: [&str; 13] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// A header, and the word before the secret in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    header: String,
    word: String,
}

impl Default for Slot {
    /// `Authorization: Bearer` (RFC 6750).
    fn default() -> Self {
        Self { header: "Authorization".to_owned(), word: "Bearer".to_owned() }
    }
}

impl FromStr for Slot {
    type Err = VaultError;

    /// Reads `X-Api-Key` or `Authorization: token`.
    fn from_str(text: &str) -> Result<Self, VaultError> {
        let refused = || VaultError::BadHeader(text.chars().take(HEADER_CHARS_MAX).collect());
        let (header, word) = text.split_once(':').unwrap_or((text, ""));
        let (header, word) = (header.trim(), word.trim());
        let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if text.len() > HEADER_CHARS_MAX || header.is_empty() || !header.bytes().all(named) {
            return Err(refused());
        }
        let lower = header.to_ascii_lowercase();
        let shapes_the_request = HEADERS_DENIED.contains(&lower.as_str()) || lower.starts_with("proxy-");
        // Who gets `Basic` sees name and password in another form than the one that answers are searched for.
        if shapes_the_request || !word.bytes().all(|byte| byte.is_ascii_graphic()) || word.eq_ignore_ascii_case("basic")
        {
            return Err(refused());
        }
        Ok(Self { header: header.to_owned(), word: word.to_owned() })
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.word.as_str() {
            "" => formatter.write_str(&self.header),
            word => write!(formatter, "{}: {word}", self.header),
        }
    }
}

impl Slot {
    /// The header's name.
    #[must_use]
    pub fn header(&self) -> &str {
        &self.header
    }

    /// What stands in the header.
    #[must_use]
    pub fn filled(&self, value: &Secret) -> Secret {
        match self.word.as_str() {
            "" => value.clone(),
            word => Secret::new(format!("{word} {}", value.expose())),
        }
    }

    /// As it is kept in a row.
    pub(super) fn scope(&self) -> String {
        format!("{SCOPE}{self}")
    }
}

impl SealedSecret {
    /// The header in which the agent may send it; `None`: it is for the program itself.
    #[must_use]
    pub fn slot(&self) -> Option<Slot> {
        self.scope.strip_prefix(SCOPE)?.parse().ok()
    }
}

/// Whether a value can be sent in a header, and found again in what comes back.
pub(super) fn check_value(value: &Secret) -> Result<(), VaultError> {
    let fits = (VALUE_BYTES_MIN..=VALUE_BYTES_MAX).contains(&value.expose().len());
    if fits && value.expose().bytes().all(|byte| byte.is_ascii_graphic()) { Ok(()) } else { Err(VaultError::BadValue) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_written() {
        let check = |text: &str, expect: &str| {
            let slot: Result<Slot, VaultError> = text.parse();
            assert_eq!(slot.map(|slot| slot.to_string()), Ok(expect.to_owned()));
        };
        check("X-Api-Key", "X-Api-Key");
        check(" authorization :  token ", "authorization: token");
        check("Authorization: Bearer", &Slot::default().to_string());
        for wrong in [
            "",
            ":",
            "a b",
            "Host",
            "proxy-authorization",
            "Cookie\r\nX",
            "X: a\nb",
            "Authorization: basic",
            "é",
            &"x".repeat(97),
        ] {
            assert!(matches!(wrong.parse::<Slot>(), Err(VaultError::BadHeader(_))), "{wrong:?}");
        }
        let filled = |slot: &str| slot.parse::<Slot>().map(|slot| slot.filled(&Secret::new("abc".to_owned())));
        assert_eq!(filled("X-Api-Key").map(|value| value.expose().to_owned()), Ok("abc".to_owned()));
        assert_eq!(filled("Authorization: token").map(|value| value.expose().to_owned()), Ok("token abc".to_owned()));
    }

    #[test]
    fn values_fit_into_a_header() {
        let check =
            |text: &str, fine: bool| assert_eq!(check_value(&Secret::new(text.to_owned())).is_ok(), fine, "{text}");
        check("12345678", true);
        check("1234567", false);
        check("1234 5678", false);
        check("12345678\r\nX: y", false);
        check("pässword", false);
        check(&"x".repeat(VALUE_BYTES_MAX + 1), false);
    }
}
