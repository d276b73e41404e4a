//! Whether a value is the person's own words.
//!
//! A value counts if it stands, character by character, in something the person wrote, from the beginning of a token to the end
//! of one; or if it is a token in another spelling of its kind (mail address, telephone number, web address, number). A piece of
//! a token never counts: who writes `my-bank.example` has not named `bank.example`. Nor does a token with anything added: each
//! mark after an address would be a bit that somebody else chose.

use serde_json::Value;
use std::collections::HashSet;

/// A web address in one form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Url(String);

impl Url {
    /// Reads an absolute `http` or `https` address without user name; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let url = url::Url::parse(text).ok()?;
        let plain = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
        plain.then(|| Self(String::from(url)))
    }

    /// The addresses that stand in a text; of those that stand in each other without a blank, the first 8.
    pub fn all_in(text: &str) -> impl Iterator<Item = Self> {
        let breaks =
            |character: char| character.is_whitespace() || matches!(character, '<' | '>' | '"' | '`' | '|' | '\\');
        text.split(breaks).flat_map(|word| {
            let starts = word.match_indices("http").map(|(at, _)| at).take(NESTED_MAX).collect::<Vec<_>>();
            starts.into_iter().filter_map(move |at| {
                let rest = word.get(at..)?;
                // Of `[words](https://example.org/a)` the address ends with the bracket that it did not open.
                let end = unopened(rest).unwrap_or(rest.len());
                Self::parse(rest.get(..end)?.trim_end_matches(TRAILING))
            })
        })
    }
}

/// Addresses in one word without blanks, as in `https://archive.example/https://example.org`. More: they do not count as shown,
/// so that a long word of them does not cost the square of its length.
const NESTED_MAX: usize = 8;

/// Punctuation that ends a sentence and not a token.
const TRAILING: [char; 8] = ['.', ',', ';', ':', '!', '?', '\'', '’'];
/// What stands around a token.
const AROUND: [char; 22] =
    ['.', ',', ';', ':', '!', '?', '(', ')', '[', ']', '{', '}', '<', '>', '"', '\'', '“', '”', '„', '’', '`', '…'];

/// The first closing bracket that nothing opens.
fn unopened(text: &str) -> Option<usize> {
    let mut open = Vec::new();
    for (at, character) in text.char_indices() {
        match character {
            '(' | '[' | '{' => open.push(character),
            ')' | ']' | '}' if open.pop().is_none() => return Some(at),
            _ => {}
        }
    }
    None
}

/// What a person wrote in a conversation.
#[derive(Clone, Debug, Default)]
pub struct OwnWords {
    /// Every form of every token.
    forms: HashSet<String>,
    /// Each text as it is, and with one blank between its words.
    texts: Vec<String>,
}

impl OwnWords {
    /// Adds a text that the person wrote.
    pub fn add(&mut self, text: &str) {
        for token in text.split_whitespace().map(|word| word.trim_matches(AROUND)).filter(|word| !word.is_empty()) {
            self.forms.extend(spellings(token));
            self.forms.insert(path(token));
        }
        self.texts.push(text.split_whitespace().collect::<Vec<_>>().join(" "));
        self.texts.push(text.to_owned());
    }

    /// The value, or everything in it, is the person's own. Nothing is nobody's and harms nobody; a bare yes or no has no
    /// words that it could be compared with, so it is not.
    #[must_use]
    pub fn holds(&self, value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Bool(_) => false,
            Value::Number(number) => self.holds_text(&number.to_string()),
            Value::String(text) => self.holds_text(text),
            Value::Array(values) => values.iter().all(|value| self.holds(value)),
            Value::Object(fields) => fields.values().all(|value| self.holds(value)),
        }
    }

    /// As [`Self::holds`], for a path below the workspace.
    #[must_use]
    pub fn holds_path(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.forms.contains(&path(text)) || self.holds_text(text),
            value => self.holds(value),
        }
    }

    fn holds_text(&self, text: &str) -> bool {
        text.trim().is_empty()
            || spellings(text).any(|form| self.forms.contains(&form))
            || self.texts.iter().any(|own| stands_in(text, own))
    }
}

/// From the beginning of a token to the end of one; what stands around a token may be missing.
fn stands_in(value: &str, own: &str) -> bool {
    own.match_indices(value).any(|(at, _)| {
        let (before, after) = (own.get(..at).unwrap_or_default(), own.get(at + value.len()..).unwrap_or_default());
        let begins = before.rsplit(char::is_whitespace).next().unwrap_or_default();
        let ends = after.split(char::is_whitespace).next().unwrap_or_default();
        begins.chars().chain(ends.chars()).all(|character| AROUND.contains(&character))
    })
}

/// The one spelling of each kind that a token can be. A whole web address is nothing else.
fn spellings(token: &str) -> impl Iterator<Item = String> {
    let others = Url::parse(token).is_none().then(|| [mail(token), phone(token), number(token)]);
    address(token).into_iter().chain(others.into_iter().flatten().flatten())
}

fn mail(token: &str) -> Option<String> {
    let (name, host) = token.strip_prefix("mailto:").unwrap_or(token).split_once('@')?;
    let plain = !name.is_empty() && host.contains('.') && !host.contains('@');
    plain.then(|| format!("m:{}@{}", name.to_lowercase(), host.to_lowercase()))
}

/// `example.org/a` is `https://example.org/a`.
fn address(token: &str) -> Option<String> {
    let Url(whole) = match Url::parse(token) {
        Some(url) => url,
        None if token.contains('.') && !token.contains([':', '@']) => Url::parse(&format!("https://{token}"))?,
        None => return None,
    };
    Some(format!("u:{whole}"))
}

/// Seven digits at least, with what people put between them; `00` at the beginning is `+`.
fn phone(token: &str) -> Option<String> {
    let spaced = |character: char| character.is_ascii_digit() || matches!(character, '+' | '-' | '.' | '/' | '(' | ')');
    if !token.chars().all(spaced) || token.char_indices().any(|(at, character)| character == '+' && at > 0) {
        return None;
    }
    let digits: String = token.chars().filter(char::is_ascii_digit).collect();
    let international = token.starts_with('+').then_some(digits.as_str()).or_else(|| digits.strip_prefix("00"));
    (digits.len() >= 7).then(|| international.map_or_else(|| format!("n:{digits}"), |rest| format!("n:+{rest}")))
}

/// A number without its currency and the marks between thousands: `€1,250.00` is `1250`.
fn number(token: &str) -> Option<String> {
    let bare = token.trim_matches(|character: char| matches!(character, '€' | '$' | '£' | '¥' | '%'));
    let (whole, fraction) = match bare.rsplit_once(['.', ',']) {
        // `1,250` has a mark between thousands, `1,25` a fraction.
        Some((whole, rest)) if rest.len() != 3 || whole.contains(['.', ',']) && !same_mark(bare) => (whole, rest),
        Some(_) | None => (bare, ""),
    };
    let whole: String = whole.chars().filter(|character| !matches!(character, '.' | ',' | '\'' | '_')).collect();
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(&whole) || !digits(fraction) {
        return None;
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(if fraction.is_empty() { format!("a:{whole}") } else { format!("a:{whole}.{fraction}") })
}

/// Only one kind of mark is in it.
fn same_mark(text: &str) -> bool {
    !(text.contains('.') && text.contains(','))
}

/// A path without `./` and doubled slashes.
fn path(token: &str) -> String {
    let parts: Vec<&str> = token.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("p:{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn own(text: &str) -> OwnWords {
        let mut words = OwnWords::default();
        words.add(text);
        words
    }

    #[test]
    fn whole_tokens_count_in_every_spelling() {
        let check = |text: &str, value: Value| assert!(own(text).holds(&value), "{text} / {value}");
        check("write to Ann@Example.org, please", json!("ann@example.org"));
        check("write to ann@example.org.", json!("mailto:ann@example.org"));
        check("call +49 (30)1234567", json!("(30)1234567"));
        check("call 0049301234567!", json!("+49301234567"));
        check("read example.org/a", json!("https://example.org/a"));
        check("read https://EXAMPLE.org:443/a?b=c", json!("https://example.org/a?b=c"));
        check("pay €1,250.00 to Bob", json!(1250));
        check("pay 12,50 to Bob", json!("12.5"));
        check("tell “Ann Smith” I am late", json!("Ann Smith"));
        check("tell them: I am late today", json!("I am late"));
        check("tell Ann and Bob", json!(["Ann", "Bob"]));
        check("anything", json!(null));
        check("anything", json!(" "));
        check("anything", json!([]));
    }

    #[test]
    fn pieces_of_tokens_count_for_nothing() {
        let check = |text: &str, value: Value| assert!(!own(text).holds(&value), "{text} / {value}");
        check("write to joann@example.org", json!("ann@example.org"));
        check("write to ann@example.org", json!("ann@example.org.evil.test"));
        check("read https://example.org/a", json!("https://example.org/a?x=secret"));
        check("read https://example.org/a", json!("https://example.org@evil.test/a"));
        check("read https://example.org/a", json!("http://example.org/a"));
        check("my-bank.example", json!("bank.example"));
        check("pay 12 to Bob", json!("120"));
        check("pay 1,250 to Bob", json!("1.25"));
        check("I am not late", json!("I am late"));
        check("late I am", json!("I am late"));
        check("tell Ann", json!(["Ann", "Eve"]));
        check("yes, true", json!(true));
        check("", json!("x"));
    }

    #[test]
    fn nothing_may_be_added_to_a_token() {
        let check = |text: &str, value: &str| assert!(!own(text).holds(&json!(value)), "{text} / {value}");
        for more in ["?", "!", "?!;", ".", "/", "//", ")", "“", " please", "?x", "#"] {
            check("read https://example.org/a", &format!("https://example.org/a{more}"));
        }
        check("read https://example.org/a", "https://example.org//a");
        check("tell Ann and Bob", "Ann  and Bob");
        check("tell Ann", "Ann!");
        check("tell Ann", "“Ann”");
        check("put it into a/b", "a//b");
    }

    proptest::proptest! {
        /// Whatever is added, what is sent is what the person wrote.
        #[test]
        fn marks_carry_nothing(before in "[ .,;:!?()<>\"'/]{0,3}", after in "[ .,;:!?()<>\"'/]{0,12}") {
            let words = own("Look at https://example.org/a, please.");
            let value = format!("{before}https://example.org/a{after}");
            if words.holds(&json!(value)) {
                let sent = value.trim().trim_end_matches(',');
                proptest::prop_assert_eq!(Url::parse(sent), Url::parse("https://example.org/a"), "{}", value);
            }
        }
    }

    #[test]
    fn words_of_two_messages_are_not_joined() {
        let mut words = own("write to Ann");
        words.add("Smith is here");
        assert!(!words.holds(&json!("Ann Smith")));
    }

    #[test]
    fn paths() {
        let check = |text: &str, value: &str, fine: bool| {
            assert_eq!(own(text).holds_path(&json!(value)), fine, "{text} / {value}");
        };
        check("put it into notes/a.md", "./notes//a.md", true);
        check("put it into `a.md`.", "a.md", true);
        check("put it into a.md", "b/a.md", false);
        check("put it into notes", "notes/../a.md", false);
    }

    #[test]
    fn addresses_are_found_in_text() {
        let found = |text: &str| Url::all_in(text).map(|Url(url)| url).collect::<Vec<_>>();
        assert_eq!(
            found("see [this](https://a.test/x(1)), or <http://b.test>."),
            ["https://a.test/x(1)", "http://b.test/"]
        );
        assert_eq!(found("https://user:pw@a.test/ ftp://c.test httpx"), Vec::<String>::new());
        assert_eq!(found(&"http://a.test/".repeat(100_000)).len(), NESTED_MAX);
    }
}
