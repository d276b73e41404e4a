//! `name = "value"` in all its spellings: JSON, YAML, shell, code, headers, forms. Finds where the value stands and judges
//! whether it looks like something that was made by chance.

use aho_corasick::AhoCorasick;
use std::ops::Range;
use std::sync::LazyLock;

/// Bytes between a name's keyword and what separates it from its value.
const NAME_REST_BYTES_MAX: usize = 40;
/// Bytes of quotes, brackets and blanks around the separator, on either side.
const GLUE_BYTES_MAX: usize = 8;
/// Bytes of a value. What is longer is no password; keys of that length have a shape of their own.
const VALUE_BYTES_MAX: usize = 256;

/// Words in the names of secrets, in lower case; the flag: a person may have chosen the value, so short ones count.
pub(super) const SECRET_WORDS: [(&str, bool); 28] = [
    ("password", true),
    ("passwd", true),
    ("passphrase", true),
    ("passwort", true),
    ("contraseña", true),
    ("mot de passe", true),
    ("pwd", true),
    ("secret", false),
    ("token", false),
    ("api_key", false),
    ("apikey", false),
    ("api-key", false),
    ("api key", false),
    ("access_key", false),
    ("accesskey", false),
    ("access-key", false),
    ("private_key", false),
    ("privatekey", false),
    ("auth_key", false),
    ("authkey", false),
    ("encryption_key", false),
    ("signing_key", false),
    ("master_key", false),
    ("account_key", false),
    ("credential", false),
    ("client_key", false),
    ("authorization", false),
    ("key", false),
];

/// Least bytes of a value that was made by chance, and of one that a person may have chosen.
const CHANCE_BYTES_MIN: usize = 16;
const CHOSEN_BYTES_MIN: usize = 8;
/// Least bits per character of either.
const CHANCE_BITS_MIN: f64 = 3.0;
const CHOSEN_BITS_MIN: f64 = 2.5;
/// `key` says little, so its value must say more.
const KEY_BYTES_MIN: usize = 20;
const KEY_BITS_MIN: f64 = 3.8;

/// Parts of what stands for a value and is none.
static STANDS_FOR_ANOTHER: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let parts = ["://", "${", "{{", "xxxx", "****", "....", "::", "example", "your", "process.env", "os.environ"];
    AhoCorasick::builder().ascii_case_insensitive(true).build(parts).ok()
});

/// A value behind a name.
pub(super) struct Value {
    /// Where it starts.
    pub start: usize,
    /// The quote that ends it, if one begins it.
    quote: Option<u8>,
}

/// The value of the name whose keyword ends at `from`.
pub(super) fn value_after(text: &[u8], from: usize) -> Option<Value> {
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-. ".contains(&byte);
    let mut at = skip(text, from, NAME_REST_BYTES_MAX, in_name);
    at = skip(text, at, GLUE_BYTES_MAX, |byte| b"\"'`\\])".contains(&byte));
    at = skip(text, at, GLUE_BYTES_MAX, |byte| byte == b' ' || byte == b'\t');
    let separator = text.get(at..at + 2).unwrap_or_else(|| text.get(at..).unwrap_or_default());
    let comma = match separator {
        b":=" | b"=>" | b"->" => {
            at += 2;
            false
        }
        [b'=' | b':' | b'>', ..] => {
            at += 1;
            false
        }
        // `set("NAME", "value")`
        [b',', ..] => {
            at += 1;
            true
        }
        _ => return None,
    };
    let start = skip(text, at, GLUE_BYTES_MAX, |byte| b" \t\"'`\\".contains(&byte));
    let quote = text.get(at..start)?.iter().rev().find(|byte| b"\"'`".contains(byte)).copied();
    (!comma || quote.is_some()).then_some(Value { start, quote })
}

fn skip(text: &[u8], from: usize, most: usize, skips: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().take(most).take_while(|byte| skips(**byte)).count()
}

/// The bytes of a value that looks secret. `word`: the place in [`SECRET_WORDS`]; `open_end`: what follows the text is not
/// known to end a value.
pub(super) fn secret_value(text: &[u8], value: &Value, word: usize, open_end: bool) -> Option<Range<usize>> {
    let (name, chosen) = SECRET_WORDS.get(word).copied()?;
    let ends = |byte: u8| match value.quote {
        Some(quote) => byte == quote || byte < b' ' || byte == b'\\',
        None => byte <= b' ' || b"\"'`<>(){}[],;|&\\".contains(&byte),
    };
    let end = skip(text, value.start, VALUE_BYTES_MAX + 1, |byte| !ends(byte));
    if end - value.start > VALUE_BYTES_MAX {
        return None;
    }
    // Trailing punctuation of a sentence is no part of it.
    let mut bytes = text.get(value.start..end)?;
    if value.quote.is_none() {
        while let [rest @ .., b'.' | b':' | b'!' | b'?'] = bytes {
            bytes = rest;
        }
    }
    match text.get(end) {
        None if open_end => return None,
        // A call or an index: `token = next(…)`.
        Some(b'(' | b'[' | b'{') if value.quote.is_none() => return None,
        _ => {}
    }
    let (least, bits) = match name {
        "key" => (KEY_BYTES_MIN, KEY_BITS_MIN),
        _ if chosen => (CHOSEN_BYTES_MIN, CHOSEN_BITS_MIN),
        _ => (CHANCE_BYTES_MIN, CHANCE_BITS_MIN),
    };
    let secret = bytes.len() >= least
        && (name != "key" || is_mixed(bytes))
        && !is_words(bytes, chosen)
        && (chosen || bytes.iter().any(u8::is_ascii_alphabetic))
        && !stands_for_another(bytes)
        && entropy(bytes) >= bits;
    secret.then(|| value.start..value.start + bytes.len())
}

/// A variable, a placeholder, a path, prose: not a value.
fn stands_for_another(bytes: &[u8]) -> bool {
    let begins = [b"$".as_slice(), b"{", b"<", b"%", b"/", b"./", b"~/", b"[redacted:"];
    begins.iter().any(|begin| bytes.starts_with(begin))
        || STANDS_FOR_ANOTHER.as_ref().is_some_and(|parts| parts.is_match(bytes))
        || bytes.iter().any(|byte| byte.is_ascii_whitespace())
}

/// Made of words and small numbers, as identifiers and file names are: `my-token-2024`, `self.tokens.next`.
fn is_words(bytes: &[u8], chosen: bool) -> bool {
    let plain = |part: &[u8]| {
        let digits = part.iter().filter(|byte| byte.is_ascii_digit()).count();
        let others = part.iter().filter(|byte| !byte.is_ascii()).count();
        others > 0 || digits == 0 && is_one_case(part) || digits == part.len() && digits <= 4
    };
    let symbols = bytes.iter().filter(|byte| b"!@#$%^&*+?".contains(byte)).count();
    if chosen && symbols > 0 {
        return false;
    }
    bytes.split(|byte| !byte.is_ascii_alphanumeric() && byte.is_ascii()).all(plain)
}

/// `word`, `Word`, `WORD`, or `someWords` with humps as code has them, not `xKqZ`.
fn is_one_case(part: &[u8]) -> bool {
    let humps = part.iter().skip(1).filter(|byte| byte.is_ascii_uppercase()).count();
    humps * 4 <= part.len() || part.iter().all(u8::is_ascii_uppercase)
}

/// Has digits, small and capital letters.
fn is_mixed(bytes: &[u8]) -> bool {
    let kinds: [fn(&u8) -> bool; 3] = [u8::is_ascii_digit, u8::is_ascii_lowercase, u8::is_ascii_uppercase];
    kinds.iter().all(|kind| bytes.iter().any(kind))
}

/// Shannon's entropy in bits per byte, of the bytes as they are distributed here.
pub(super) fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for &byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let total = bytes.len().max(1) as f64;
    let share = |count: &u32| f64::from(*count) / total;
    -counts.iter().filter(|count| **count > 0).map(|count| share(count) * share(count).log2()).sum::<f64>()
}
