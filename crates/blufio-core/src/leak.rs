//! Finds secrets in text and takes them out: values that are known, in every form they are likely to take, and strings of
//! the shapes that makers of keys and tokens document.
//!
//! Two passes of an Aho–Corasick automaton over the text, one for known values and one for the words that rules hang on; a
//! rule looks at a bounded stretch behind such a word only, so the work grows with the text and never faster. Whatever
//! matches becomes `[redacted:<name>]`; text that has been through it once is not changed by a second time. This module
//! does not know where text comes from and where it goes.

mod assignment;
mod exact;
mod rules;
mod stream;
#[cfg(test)]
mod tests;

use crate::secret::Secret;
use exact::Exact;
pub use rules::{Rule, RuleSet, RulesError};
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock};
pub use stream::LeakStream;

/// Least bytes of a known value that is looked for; shorter ones would be found in innocent words.
pub const EXACT_BYTES_MIN: usize = 6;
/// Most bytes of a name in `[redacted:<name>]`.
const NAME_BYTES_MAX: usize = 64;
/// What stands before the name.
const OPENING: &str = "[redacted:";

static STANDARD: LazyLock<Arc<RuleSet>> = LazyLock::new(|| Arc::new(RuleSet::standard()));

/// A stretch of text that is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which bytes; both ends are between characters.
    pub range: Range<usize>,
    /// Name of the known value or of the rule.
    pub name: Arc<str>,
    /// It is a known value, in one of its forms.
    pub exact: bool,
}

/// Looks for secrets. Immutable: another set of known values is another scanner.
pub struct LeakScanner {
    rules: Arc<RuleSet>,
    exact: Exact,
}

impl fmt::Debug for LeakScanner {
    /// How much it knows, and nothing of what.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeakScanner").field("rules", &self.rules.len()).field("values", &self.exact.len()).finish()
    }
}

impl LeakScanner {
    /// With these rules and these known values, each with the name that replaces it. Values shorter than
    /// [`EXACT_BYTES_MIN`] are left out.
    pub fn new<'a>(rules: Arc<RuleSet>, exact: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self { rules, exact: Exact::new(exact) }
    }

    /// All secrets in the text, from left to right; they do not overlap.
    pub fn scan(&self, text: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        for (stretch, edges) in self.stretches(text) {
            let Some(part) = text.get(stretch.clone()) else { continue };
            let mut here = Vec::new();
            self.exact.scan(part, &mut here);
            self.rules.scan(part, edges, &mut here);
            // The name of a secret is none, however much it looks like one: `"secret": "home-assistant.token"`.
            here.retain(|found| {
                found.exact || !part.get(found.range.clone()).is_some_and(|text| self.exact.knows(text))
            });
            found.extend(here.into_iter().map(|Finding { range, name, exact }| {
                let range = range.start + stretch.start..range.end + stretch.start;
                Finding { range, name, exact }
            }));
        }
        merged(text, found)
    }

    /// The text with `[redacted:<name>]` in the place of every secret.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let found = self.scan(text);
        if found.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(replaced(text, 0..text.len(), &found)) }
    }

    /// The same with known values alone. Rules may take out a part of what is then no longer found as a whole; who looks twice
    /// at a text begins with this.
    pub fn redact_exact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut found = Vec::new();
        self.exact.scan(text, &mut found);
        let found = merged(text, found);
        if found.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(replaced(text, 0..text.len(), &found)) }
    }

    /// The name of a known value that stands in the text in any form. This is what blocks: rules may err, a known value not.
    pub fn holds_exact(&self, text: &str) -> Option<String> {
        self.exact.first(text).map(|name| name.to_string())
    }

    /// Where secrets can be: the text without the marks of earlier redactions. A mark counts as one only with a name that
    /// this scanner would write, so that nobody hides a value between such brackets.
    fn stretches(&self, text: &str) -> Vec<(Range<usize>, Edges)> {
        let mut all = Vec::new();
        let (mut start, mut after_mark, mut from) = (0, false, 0);
        while let Some(at) = text.get(from..).and_then(|rest| rest.find(OPENING)).map(|at| at + from) {
            from = at + OPENING.len();
            let name = text.get(from..).and_then(|rest| {
                let end = rest.bytes().take(NAME_BYTES_MAX + 1).position(|byte| byte == b']')?;
                rest.get(..end)
            });
            let Some(name) = name.filter(|name| self.exact.knows(name) || self.rules.knows(name)) else { continue };
            all.push((start..at, Edges { left: after_mark, right: true }));
            start = from + name.len() + 1;
            (after_mark, from) = (true, start);
        }
        all.push((start..text.len(), Edges { left: after_mark, right: false }));
        all
    }
}

/// Whether a mark stands before or behind a stretch. Such an edge is no boundary of a word, as the secret that was there
/// was none either; else a second redaction could find what the first one did not.
#[derive(Clone, Copy, Debug)]
struct Edges {
    left: bool,
    right: bool,
}

/// Findings in order, those that overlap made one. A known value lends its name first, then the earlier one.
fn merged(text: &str, mut found: Vec<Finding>) -> Vec<Finding> {
    found.sort_by_key(|finding| (finding.range.start, !finding.exact, usize::MAX - finding.range.end));
    let mut all: Vec<Finding> = Vec::with_capacity(found.len());
    for mut finding in found {
        finding.range = text.floor_char_boundary(finding.range.start)..text.ceil_char_boundary(finding.range.end);
        match all.last_mut() {
            Some(last) if finding.range.start < last.range.end => {
                if finding.exact && !last.exact {
                    (last.name, last.exact) = (finding.name, true);
                }
                last.range.end = last.range.end.max(finding.range.end);
            }
            _ => all.push(finding),
        }
    }
    all
}

/// The bytes `part` of the text, with findings replaced. A finding that only reaches into it is replaced as far as it does.
fn replaced(text: &str, part: Range<usize>, found: &[Finding]) -> String {
    let mut out = String::with_capacity(part.len());
    let mut from = part.start;
    for finding in found.iter().filter(|finding| finding.range.end > part.start && finding.range.start < part.end) {
        out.push_str(text.get(from..finding.range.start).unwrap_or_default());
        out.push_str(OPENING);
        out.push_str(&finding.name);
        out.push(']');
        from = finding.range.end.max(from);
    }
    out.push_str(text.get(from..part.end).unwrap_or_default());
    out
}

/// A name as it may stand in a mark.
fn mark_name(name: &str) -> Arc<str> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: String = name.chars().take(NAME_BYTES_MAX).map(plain).collect();
    if name.is_empty() { "secret".into() } else { name.into() }
}

/// The scanner of a running process, shared by everything that lets text in or out. It begins with the rules alone and
/// learns values as they become known; it forgets none, since an old value may still stand in old text.
///
/// The scanner is made when it is first asked for. No lock is held meanwhile, so that a panic in there can be told about
/// through it.
#[derive(Clone, Default)]
pub struct Leaks(Arc<Known>);

#[derive(Default)]
struct Known {
    values: Mutex<Vec<(String, Secret)>>,
    /// `None`: there are values that the last one did not know.
    scanner: RwLock<Option<Arc<LeakScanner>>>,
}

impl fmt::Debug for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.scanner().fmt(f)
    }
}

impl Leaks {
    /// From now on these values are known, each under its name. Values that are too short to look for are passed over.
    pub fn learn<'n, 'v>(&self, values: impl IntoIterator<Item = (&'n str, &'v str)>) {
        let mut known = self.0.values.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, value) in values {
            let is_new = known.iter().all(|(_, old)| old.expose() != value);
            if is_new && value.len() >= EXACT_BYTES_MIN {
                known.push((name.to_owned(), Secret::new(value.to_owned())));
            }
        }
        *self.0.scanner.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The scanner as of now.
    pub fn scanner(&self) -> Arc<LeakScanner> {
        if let Some(scanner) = &*self.0.scanner.read().unwrap_or_else(PoisonError::into_inner) {
            return scanner.clone();
        }
        let values = self.0.values.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let pairs = values.iter().map(|(name, value)| (name.as_str(), value.expose()));
        let scanner = Arc::new(LeakScanner::new(STANDARD.clone(), pairs));
        // Two that come first together make it twice; one that knows less than there is now is not kept.
        let known = self.0.values.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() == values.len() {
            *self.0.scanner.write().unwrap_or_else(PoisonError::into_inner) = Some(scanner.clone());
        }
        scanner
    }

    /// See [`LeakScanner::redact`]: for what a tool said, for files, memory, logs.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.scanner().redact(text)
    }

    /// See [`LeakScanner::holds_exact`]: for what a model says to a channel or to a tool.
    pub fn holds_exact(&self, text: &str) -> Option<String> {
        self.scanner().holds_exact(text)
    }

    /// A redaction of text that comes in pieces, as previews do.
    pub fn redact_streaming(&self) -> LeakStream {
        LeakStream::new(self.scanner())
    }

    /// All texts within a value of JSON, redacted each for itself, so that it stays JSON.
    pub fn redact_json(&self, value: serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
        match value {
            Value::String(text) => Value::String(self.redact(&text).into_owned()),
            Value::Array(items) => items.into_iter().map(|item| self.redact_json(item)).collect(),
            Value::Object(fields) => {
                let fields = fields.into_iter();
                Value::Object(
                    fields.map(|(name, value)| (self.redact(&name).into_owned(), self.redact_json(value))).collect(),
                )
            }
            other => other,
        }
    }
}
