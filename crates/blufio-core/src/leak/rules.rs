//! Rules: the shapes of keys and tokens, read from `data/leaks/rules.toml`.
//!
//! A rule costs nothing until one of its keywords is met; then its pattern is tried at that one place, over a bounded
//! stretch. Patterns are compiled when they are first needed, so that a process that never meets a keyword never pays.

use super::assignment::{SECRET_WORDS, entropy, secret_value, value_after};
use super::{Edges, Finding};
use aho_corasick::{AhoCorasick, MatchKind, StartKind};
use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

const FILE: &str = include_str!("../../../../data/leaks/rules.toml");

/// Bytes behind a keyword that a rule looks at, unless it says otherwise.
const REACH_BYTES: usize = 512;
/// Bytes behind that for which a run of characters of tokens is followed.
const RUN_BYTES_MAX: usize = 16 * 1024;
/// The name of what [`SECRET_WORDS`] lead to.
const ASSIGNMENT: &str = "assigned-secret";

/// The rules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The file is not what it should be.
    #[error("the rules cannot be read: {0}")]
    Form(#[from] toml::de::Error),
    /// A rule makes no sense.
    #[error("the rule `{0}` needs either keywords or near, and neither empty")]
    Keywords(String),
    /// The keywords of all rules cannot be made one automaton.
    #[error("the keywords cannot be searched for: {0}")]
    Automaton(#[from] aho_corasick::BuildError),
}

#[derive(Deserialize)]
struct File {
    rule: Vec<RawRule>,
}

/// A table of the file. Examples are for the tests.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    name: String,
    #[serde(default)]
    keywords: Vec<String>,
    #[serde(default)]
    near: Vec<String>,
    pattern: String,
    #[serde(default)]
    entropy: f64,
    reach: Option<usize>,
    #[serde(default)]
    back: usize,
    #[serde(default)]
    alone: bool,
    #[serde(default)]
    inner: bool,
    #[serde(default)]
    pem: bool,
    #[serde(default, rename = "generate")]
    generate: Option<String>,
    #[serde(default, rename = "examples")]
    _examples: serde::de::IgnoredAny,
    #[serde(default, rename = "benign")]
    _benign: serde::de::IgnoredAny,
}

/// One shape; the file says what its parts mean.
pub struct Rule {
    raw: RawRule,
    name: Arc<str>,
    compiled: OnceLock<Option<Regex>>,
}

impl Rule {
    /// What stands in the place of a hit.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A pattern that makes samples of a hit.
    pub fn sample_pattern(&self) -> &str {
        self.raw.generate.as_ref().unwrap_or(&self.raw.pattern)
    }

    /// Words that must be in the name of the value; empty if the pattern stands alone.
    pub fn near(&self) -> &[String] {
        &self.raw.near
    }

    /// Least bits per character of the secret.
    pub fn entropy(&self) -> f64 {
        self.raw.entropy
    }

    /// Whether the sample is the first line of a secret of several.
    pub fn is_first_line(&self) -> bool {
        self.raw.pem
    }

    /// The pattern, to be tried at the start of a stretch only. `None`: it is no pattern, which a test rules out.
    pub(super) fn regex(&self) -> Option<&Regex> {
        let build = || {
            let anchored = format!("^(?:{})", self.raw.pattern);
            RegexBuilder::new(&anchored).unicode(false).build().ok()
        };
        self.compiled.get_or_init(build).as_ref()
    }
}

/// What a keyword leads to.
#[derive(Clone, Copy)]
enum Lead {
    /// The rule of this place.
    Rule(usize),
    /// The word of this place in [`SECRET_WORDS`].
    Assignment(usize),
}

/// Rules with the automaton of their keywords.
pub struct RuleSet {
    rules: Vec<Rule>,
    assignment: Arc<str>,
    keywords: AhoCorasick,
    /// For each keyword, what it leads to.
    leads: Vec<Vec<Lead>>,
}

impl fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleSet").field("rules", &self.rules.len()).finish()
    }
}

impl RuleSet {
    /// The rules that come with the program.
    #[expect(clippy::expect_used, reason = "the file is part of the program, and a test reads it")]
    pub fn standard() -> Self {
        Self::parse(FILE).expect("the rules of the program are well-formed")
    }

    /// Rules from the text of such a file.
    ///
    /// # Errors
    /// It is not TOML, has unknown keys, or a rule without keywords.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        let file: File = toml::from_str(text)?;
        let mut leads: BTreeMap<String, Vec<Lead>> = BTreeMap::new();
        let mut lead = |word: &str, to: Lead| leads.entry(word.to_ascii_lowercase()).or_default().push(to);
        for (at, rule) in file.rule.iter().enumerate() {
            let words = if rule.near.is_empty() { &rule.keywords } else { &rule.near };
            if words.is_empty()
                || words.iter().any(String::is_empty)
                || !rule.near.is_empty() && !rule.keywords.is_empty()
            {
                return Err(RulesError::Keywords(rule.name.clone()));
            }
            words.iter().for_each(|word| lead(word, Lead::Rule(at)));
        }
        for (at, (word, _)) in SECRET_WORDS.iter().enumerate() {
            lead(word, Lead::Assignment(at));
        }
        let keywords = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .start_kind(StartKind::Unanchored)
            .ascii_case_insensitive(true)
            .build(leads.keys())?;
        let rules = file.rule.into_iter();
        let rules = rules.map(|raw| Rule { name: raw.name.as_str().into(), raw, compiled: OnceLock::new() }).collect();
        Ok(Self { rules, assignment: ASSIGNMENT.into(), keywords, leads: leads.into_values().collect() })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        name == ASSIGNMENT || self.rules.iter().any(|rule| &*rule.name == name)
    }

    pub(super) fn scan(&self, text: &str, edges: Edges, found: &mut Vec<Finding>) {
        let stretch = Stretch { text: text.as_bytes(), edges };
        // What has been found is not looked into again. A maker's name says more than that something was assigned.
        let (mut done, mut assigned_done, mut assigned) = (0, 0, Vec::new());
        for hit in self.keywords.find_overlapping_iter(text) {
            for lead in self.leads.get(hit.pattern().as_usize()).into_iter().flatten() {
                match *lead {
                    Lead::Rule(at) if hit.start() >= done => {
                        let Some(rule) = self.rules.get(at) else { continue };
                        if let Some(range) = stretch.by_rule(rule, hit.range()) {
                            done = done.max(range.end);
                            found.push(Finding { range, name: rule.name.clone(), exact: false });
                        }
                    }
                    Lead::Assignment(word) if hit.start() >= assigned_done => {
                        if let Some(range) = stretch.by_assignment(word, hit.range()) {
                            assigned_done = assigned_done.max(range.end);
                            assigned.push(Finding { range, name: self.assignment.clone(), exact: false });
                        }
                    }
                    Lead::Rule(_) | Lead::Assignment(_) => {}
                }
            }
        }
        found.append(&mut assigned);
    }
}

/// A text between two marks.
struct Stretch<'t> {
    text: &'t [u8],
    edges: Edges,
}

impl Stretch<'_> {
    fn by_assignment(&self, word: usize, keyword: Range<usize>) -> Option<Range<usize>> {
        let value = value_after(self.text, keyword.end)?;
        secret_value(self.text, &value, word, self.edges.right)
    }

    fn by_rule(&self, rule: &Rule, keyword: Range<usize>) -> Option<Range<usize>> {
        let RawRule { back, alone, inner, .. } = rule.raw;
        let start = if rule.raw.near.is_empty() {
            let start = self.back(keyword.start, back);
            if !inner && self.is_inside(start, alone) {
                return None;
            }
            start
        } else {
            value_after(self.text, keyword.end)?.start
        };
        let reach = (start + rule.raw.reach.unwrap_or(REACH_BYTES)).min(self.text.len());
        let seen = self.text.get(start..reach)?;
        let groups = rule.regex()?.captures(seen)?;
        let hit = groups.get(1).or_else(|| groups.get(0))?;
        let (from, mut to) = (start + hit.start(), start + hit.end());
        if to == reach && reach < self.text.len() {
            to = self.run_end(to);
        }
        if rule.raw.pem {
            to = self.pem_end(to);
        } else if !inner && self.goes_on(to) {
            return None;
        }
        let enough = entropy(self.text.get(from..to)?) >= rule.raw.entropy;
        (enough && from < to).then_some(from..to)
    }

    /// The start of the run of characters of tokens, at most so many bytes before.
    fn back(&self, from: usize, most: usize) -> usize {
        let before = self.text.get(..from).unwrap_or_default();
        let run = |byte: &&u8| byte.is_ascii_alphanumeric() || b"_~.-".contains(byte);
        from - before.iter().rev().take(most).take_while(run).count()
    }

    /// In the middle of a word, or of a run if `alone`.
    fn is_inside(&self, at: usize, alone: bool) -> bool {
        match at.checked_sub(1).and_then(|at| self.text.get(at)) {
            None => self.edges.left,
            Some(byte) => is_word(*byte) || alone && b"-.".contains(byte),
        }
    }

    /// A word goes on here.
    fn goes_on(&self, at: usize) -> bool {
        self.text.get(at).map_or(self.edges.right, |byte| is_word(*byte))
    }

    fn run_end(&self, from: usize) -> usize {
        let rest = self.text.get(from..).unwrap_or_default();
        let run = |byte: &&u8| byte.is_ascii_alphanumeric() || b"_-.+/=%".contains(byte);
        from + rest.iter().take(RUN_BYTES_MAX).take_while(run).count()
    }

    /// Behind the line that ends the key, or where no key can be any more.
    fn pem_end(&self, from: usize) -> usize {
        let rest = self.text.get(from..).unwrap_or_default();
        // Headers such as `Proc-Type: 4,ENCRYPTED`, base64, line breaks as such or as `\n`. There is no limit: what is walked
        // over here is never walked over again.
        let body = |byte: &&u8| byte.is_ascii_alphanumeric() || b" \t\r\n\\+/=:,.-_()\"'".contains(byte);
        let body = rest.get(..rest.iter().take_while(body).count()).unwrap_or_default();
        let find = |part: &[u8], word: &[u8]| part.windows(word.len()).position(|window| window == word);
        let Some(end) = find(body, b"-----END") else { return from + body.len() };
        let last = body.get(end + 8..).unwrap_or_default();
        from + find(last, b"-----").map_or(body.len(), |at| end + 8 + at + 5)
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
