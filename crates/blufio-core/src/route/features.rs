//! What is seen in one message without understanding it: how long it is, how many things it asks for, whether there is code
//! or money in it. Bounded work: the head of the text is read, each character a few times.

use super::words;

/// Bytes of a message that are looked at. Longer: the rest counts in [`Features::bytes`] only; it is long anyway.
pub const SCANNED_BYTES_MAX: usize = 16 * 1024;

/// Symbols of programs in a line from which it is code.
const SYMBOLS_MIN: usize = 6;
/// The share of such symbols in a line from which it is code, in percent.
const SYMBOLS_PERCENT_MIN: usize = 4;

/// The writing that most letters of a message belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Script {
    /// No letters at all.
    #[default]
    None,
    /// Latin.
    Latin,
    /// Cyrillic.
    Cyrillic,
    /// Chinese, Japanese, Korean: words are not set apart, so two letters count as one word.
    Wide,
    /// Any other.
    Other,
}

/// What is known of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Size of the whole text.
    pub bytes: usize,
    /// Characters of the head.
    pub chars: usize,
    /// Words of the head.
    pub words: usize,
    /// Lines of the head that are not blank.
    pub lines: usize,
    /// Sentences that end in a question mark, and items of lists.
    pub asks: usize,
    /// Words with a digit.
    pub numbers: usize,
    /// Numbers with a currency.
    pub amounts: usize,
    /// Addresses of pages.
    pub urls: usize,
    /// Fences, paths, or lines with many symbols of programs.
    pub code: bool,
    /// Nothing but thanks, a greeting, a farewell, applause: at most six known words or some emoji.
    pub courtesy: bool,
    /// The person says that the last answer was wrong.
    pub objection: bool,
    /// It is a reply to an older message.
    pub quotes: bool,
    /// Files that came with it.
    pub attachments: usize,
    /// The writing.
    pub script: Script,
}

impl Features {
    /// Looks at one message. `has_quote`: it is a reply to an older message.
    #[must_use]
    pub fn of(text: &str, attachments: usize, has_quote: bool) -> Self {
        let head = text.get(..text.floor_char_boundary(SCANNED_BYTES_MAX)).unwrap_or_default();
        let lines = || head.lines().map(str::trim).filter(|line| !line.is_empty());
        let tokens = || head.split_whitespace();
        let (script, wide) = script(head);
        Self {
            bytes: text.len(),
            chars: head.chars().count(),
            words: tokens().filter(|token| token.contains(char::is_alphanumeric)).count().max(wide / 2),
            lines: lines().count(),
            asks: questions(head) + lines().filter(|line| is_item(line)).count(),
            numbers: tokens().filter(|token| token.contains(|c: char| c.is_ascii_digit()) && !is_url(token)).count(),
            amounts: amounts(head),
            urls: tokens().filter(|token| is_url(token)).count(),
            code: head.contains("```") || lines().any(is_code) || tokens().any(is_path),
            courtesy: words::is_courtesy(text),
            objection: words::is_objection(head),
            quotes: has_quote,
            attachments,
            script,
        }
    }
}

/// Words that end in question marks; marks inside of an address are none. Wide scripts set no spaces: there each mark counts.
fn questions(text: &str) -> usize {
    let ends = |token: &&str| token.trim_end_matches(['"', '\'', ')', '»', '”', '!', '.']).ends_with(['?', '？', '؟']);
    let inner = text.matches('？').count().saturating_sub(1);
    // A mark that stands alone belongs to the word before it, as in French.
    text.split_whitespace().filter(ends).count() + inner
}

/// `- x`, `* x`, `• x`, `1. x`, `2) x`, `A) x`.
fn is_item(line: &str) -> bool {
    let Some((mark, rest)) = line.split_once(' ') else { return false };
    let number = mark.strip_suffix(['.', ')']).unwrap_or_default();
    let numbered = number.len() <= 2 && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let lettered = mark.len() == 2 && mark.ends_with(')') && mark.starts_with(|c: char| c.is_ascii_alphabetic());
    !rest.trim().is_empty() && (matches!(mark, "-" | "*" | "•" | "–" | "—") || numbered || lettered)
}

/// Many symbols of programs for its length. A bracket counts as one where it calls something; in prose it follows a space.
fn is_code(line: &str) -> bool {
    let signs = line.chars().filter(|c| "{}[]<>=;_|\\`$#+*^".contains(*c)).count();
    let calls = line.split('(').rev().skip(1).filter(|before| before.ends_with(char::is_alphanumeric)).count();
    let symbols = signs + calls;
    symbols >= SYMBOLS_MIN && symbols * 100 >= line.chars().count() * SYMBOLS_PERCENT_MIN
}

/// `/var/log/x`, `./x`, `~/x`, `src/x.rs`; not `he/she`, `km/h`, `1/2` or an address.
fn is_path(token: &str) -> bool {
    if is_url(token) || token.starts_with("//") {
        return false;
    }
    let token = token.trim_matches(|c: char| "\"'`,;:()".contains(c));
    let rooted = ["~/", "./", "../"].iter().any(|root| token.strip_prefix(root).is_some_and(|rest| !rest.is_empty()));
    let deep = token.starts_with('/') && token.matches('/').count() >= 2;
    let (folder, file) = token.rsplit_once('/').unwrap_or_default();
    let named = file.rsplit_once('.').is_some_and(|(stem, ending)| {
        !stem.is_empty() && (1..=5).contains(&ending.len()) && ending.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    rooted || deep || (named && folder.contains(|c: char| c.is_ascii_alphabetic()))
}

fn is_url(token: &str) -> bool {
    let token = token.trim_start_matches(['(', '<', '"', '[']);
    ["http://", "https://", "www."].iter().any(|start| token.starts_with(start))
}

/// Signs of a currency or a share beside a digit, `84 €`, `$5`, `3.4 %`.
fn amounts(text: &str) -> usize {
    let signs = |c: char| "€$£¥₽₹%".contains(c);
    let mut found = 0;
    let (mut digit_before, mut sign_before) = (false, false);
    for c in text.chars().filter(|c| *c != ' ' && *c != '\u{a0}') {
        found += usize::from((signs(c) && digit_before) || (c.is_ascii_digit() && sign_before));
        (digit_before, sign_before) = (c.is_ascii_digit(), signs(c) && !digit_before);
    }
    found
}

/// The script of most letters, and how many of them are wide.
fn script(text: &str) -> (Script, usize) {
    let (mut latin, mut cyrillic, mut wide, mut other) = (0_usize, 0_usize, 0_usize, 0_usize);
    for letter in text.chars().filter(|c| c.is_alphabetic()) {
        match letter {
            '\0'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => latin += 1,
            '\u{400}'..='\u{52f}' => cyrillic += 1,
            '\u{1100}'..='\u{11ff}' | '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{20000}'.. => wide += 1,
            _ => other += 1,
        }
    }
    let counted = [(latin, Script::Latin), (cyrillic, Script::Cyrillic), (wide, Script::Wide), (other, Script::Other)];
    let most = counted.into_iter().max_by_key(|(count, _)| *count).filter(|(count, _)| *count > 0);
    (most.map_or(Script::None, |(_, script)| script), wide)
}
