//! Takes the secret that was sent with a request out of what comes back.

use blufio_core::leak::{LeakScanner, Leaks};
use blufio_core::port::Credential;
use blufio_core::secret::Secret;
use std::sync::Arc;

/// Least letters and digits of a value that are looked for between other characters.
const BARE_BYTES_MIN: usize = 8;

/// Knows the secret, and every other that the process knows.
pub(super) struct Scrub {
    scanner: Arc<LeakScanner>,
    /// The letters and digits of the value, all small; `None`: too few to be looked for.
    bare: Option<Secret>,
}

impl Scrub {
    /// `leaks` knows the credential already.
    pub(super) fn new(credential: &Credential, leaks: &Leaks) -> Self {
        let bare = Secret::new(bare(credential.value.expose()).to_ascii_lowercase());
        Self { scanner: leaks.scanner(), bare: (bare.expose().len() >= BARE_BYTES_MIN).then_some(bare) }
    }

    /// The text without known secrets in any form that is looked for. What only looks like one is taken out later, by whoever
    /// shows the text: half of the secret gone, the rest would not be found in pieces.
    pub(super) fn clean(&self, text: &str) -> String {
        self.scanner.redact_exact(text).into_owned()
    }

    /// Whether the secret stands in the text with something between its characters: lines of base64, digits with colons,
    /// the marks of Markdown; or with its letters made small or large.
    pub(super) fn is_in_pieces(&self, text: &str) -> bool {
        let text = &unescaped(text);
        let letters = bare(text);
        let joined: String = text.chars().filter(|c| !c.is_whitespace() && *c != '\\').collect();
        self.scanner.holds_exact(&joined).is_some()
            || self.scanner.holds_exact(&letters).is_some()
            || self.bare.as_ref().is_some_and(|bare| letters.to_ascii_lowercase().contains(bare.expose()))
    }
}

/// The text without the ways in which JSON and XML write characters that have a meaning there.
fn unescaped(text: &str) -> String {
    const ESCAPES: [(&str, &str); 12] = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&amp;", "&"),
        ("\\u003c", "<"),
        ("\\u003C", "<"),
        ("\\u003e", ">"),
        ("\\u003E", ">"),
        ("\\u0026", "&"),
        ("\\u0027", "'"),
    ];
    ESCAPES.iter().fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

fn bare(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).collect()
}
