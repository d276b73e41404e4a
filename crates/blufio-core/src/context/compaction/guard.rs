//! Holds a summary against the messages that it replaces: what was exact must still be there, and nothing may have become a
//! rule that nobody stated. Takes time linear in the size of its texts.

use super::rules::{content_words, is_rule, normalise, sentences};
use super::scan;
use crate::ids::MessageSeq;
use aho_corasick::AhoCorasick;
use std::collections::{BTreeMap, BTreeSet};

/// The weighted share of facts that must be found, in permille.
pub const FOUND_PERMILLE_MIN: u64 = 950;
/// The longest summary, in percent of what it replaces.
pub const SUMMARY_PERCENT_MAX: usize = 40;
/// The list of missing facts, in tokens.
pub const APPENDIX_TOKENS_MAX: usize = 1_500;
/// The same in bytes; addresses and numbers take about three bytes a token.
pub const APPENDIX_BYTES_MAX: usize = APPENDIX_TOKENS_MAX * 3;
/// Rules that a summary can state; one with more is no summary.
pub const RULES_MAX: usize = 100;
/// Quoted strings and rules that are looked for letter by letter; of more, the last count as missing.
const SEARCHED_MAX: usize = 2_000;

const WEIGHT_PERSON: u64 = 30;
const WEIGHT_MODEL: u64 = 10;
const WEIGHT_TOOL: u64 = 3;

/// Share of a rule's words that its source must hold: in a sentence that is a rule itself, and in any other, in percent.
const SAME_RULE_PERCENT: usize = 70;
const SAME_SENTENCE_PERCENT: usize = 90;
/// Share of the words of a stated rule by which it is found in a summary, in percent.
const RULE_KEPT_PERCENT: usize = 70;

/// What kind of fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A number with a unit or at least three digits.
    Number,
    /// A day.
    Date,
    /// A time of day.
    Time,
    /// A URL.
    Url,
    /// An e-mail address.
    Email,
    /// The path of a file.
    Path,
    /// A UUID, hexadecimal id, issue number or machine's address.
    Id,
    /// A string between quotation marks.
    Quote,
    /// A sentence that asks for a lasting behaviour.
    Rule,
}

/// Something exact in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What it is.
    pub kind: Kind,
    /// As it was written, spaces aside.
    pub text: String,
    /// Its normal forms, the fullest first; two facts with a form in common are the same.
    pub keys: Vec<String>,
}

/// Everything in a text that a summary must not lose.
#[must_use]
pub fn facts(text: &str) -> Vec<Fact> {
    scan::facts(text)
}

/// Who said a part of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The person whom the session serves.
    Person,
    /// The model, without foreign words before it, or Blufio.
    Assistant,
    /// An earlier summary that the span begins with; it has passed this guard.
    Summary,
    /// A tool, without words of others.
    Tool,
    /// Others, or a model after their words; it counts for nothing and stays behind its handle.
    Hidden,
}

impl Speaker {
    const fn weight(self) -> u64 {
        match self {
            Self::Person => WEIGHT_PERSON,
            Self::Assistant | Self::Summary => WEIGHT_MODEL,
            Self::Tool => WEIGHT_TOOL,
            Self::Hidden => 0,
        }
    }

    /// A rule may come from here.
    const fn is_trusted(self) -> bool {
        match self {
            Self::Person | Self::Assistant | Self::Summary => true,
            Self::Tool | Self::Hidden => false,
        }
    }
}

/// A piece of the span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardPart<'a> {
    /// Its message.
    pub seq: MessageSeq,
    /// Who said it.
    pub speaker: Speaker,
    /// What was said.
    pub text: &'a str,
}

/// Whether a summary may replace its span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may, as it is.
    Good,
    /// It may with this list after it.
    Repaired {
        /// `Verbatim facts` and what was missing, at most [`APPENDIX_BYTES_MAX`] bytes.
        appendix: String,
    },
    /// It may not.
    Rejected(Why),
}

/// Why a summary may not replace its span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is nothing in it.
    Empty,
    /// It is longer than [`SUMMARY_PERCENT_MAX`] percent of its span.
    TooLong,
    /// It loses too much, even with the longest list after it.
    Lossy {
        /// The weighted share that is found with the list, in permille.
        found_permille: u64,
    },
    /// It states a rule that nobody in the span stated.
    Injected(String),
}

impl Why {
    /// For the model that is to do better.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Empty => "it was empty".to_owned(),
            Self::TooLong => "it was too long".to_owned(),
            Self::Lossy { found_permille } => {
                format!("it held {} % of the exact values and rules only", found_permille / 10)
            }
            Self::Injected(rule) => format!("nobody has stated this rule: {rule}"),
        }
    }
}

/// Whether `summary` may replace `span`, beside the `kept` messages and what is in `memory`.
#[must_use]
pub fn check(span: &[GuardPart<'_>], summary: &str, kept: &str, memory: &str) -> Verdict {
    if summary.trim().is_empty() {
        return Verdict::Rejected(Why::Empty);
    }
    let source = span.iter().fold(0_usize, |sum, part| sum.saturating_add(part.text.len()));
    if summary.len().saturating_mul(100) > source.saturating_mul(SUMMARY_PERCENT_MAX) {
        return Verdict::Rejected(Why::TooLong);
    }
    if let Some(rule) = injected(span, summary) {
        return Verdict::Rejected(Why::Injected(rule));
    }
    let coverage = Coverage::of(span, &[summary, kept, memory]);
    if coverage.permille() >= FOUND_PERMILLE_MIN {
        return Verdict::Good;
    }
    let (appendix, found_permille) = coverage.appendix();
    if found_permille < FOUND_PERMILLE_MIN {
        return Verdict::Rejected(Why::Lossy { found_permille });
    }
    Verdict::Repaired { appendix }
}

/// The weighted share of the span's facts that is found in the texts, in permille.
#[must_use]
pub fn found_permille(span: &[GuardPart<'_>], summary: &str, kept: &str, memory: &str) -> u64 {
    Coverage::of(span, &[summary, kept, memory]).permille()
}

/// The list of facts that the texts do not hold, as far as it has room; empty if nothing is missing.
#[must_use]
pub fn appendix(span: &[GuardPart<'_>], summary: &str, kept: &str, memory: &str) -> String {
    Coverage::of(span, &[summary, kept, memory]).appendix().0
}

/// A fact of the span with what it weighs.
struct Weighed {
    fact: Fact,
    weight: u64,
    seq: MessageSeq,
}

struct Coverage {
    total: u64,
    found: u64,
    missing: Vec<Weighed>,
}

impl Coverage {
    fn of(span: &[GuardPart<'_>], texts: &[&str]) -> Self {
        let mut keys = BTreeSet::new();
        let mut quoted = BTreeSet::new();
        for fact in texts.iter().flat_map(|text| facts(text)) {
            match fact.kind {
                Kind::Quote | Kind::Rule => quoted.extend(fact.keys),
                _ => keys.extend(fact.keys),
            }
        }
        let all = weighed(span);
        let total = all.iter().map(|one| one.weight).sum();
        let holds = |fact: &Fact| {
            let known = if matches!(fact.kind, Kind::Quote | Kind::Rule) { &quoted } else { &keys };
            fact.keys.iter().any(|key| known.contains(key))
        };
        let mut missing: Vec<Weighed> = all.into_iter().filter(|one| !holds(&one.fact)).collect();
        // What the person stated first, of that the newest.
        missing.sort_by_key(|one| std::cmp::Reverse((one.weight, one.seq)));
        let said = said(&missing, texts);
        let mut at = 0_usize;
        missing.retain(|_| {
            at += 1;
            !said.contains(&(at - 1))
        });
        let lost: u64 = missing.iter().map(|one| one.weight).sum();
        Self { total, found: u64::saturating_sub(total, lost), missing }
    }

    fn permille(&self) -> u64 {
        share(self.found, self.total)
    }

    /// The list, and what is found with it.
    fn appendix(&self) -> (String, u64) {
        let mut list = String::new();
        let mut found = self.found;
        for Weighed { fact, weight, seq } in &self.missing {
            let line = format!("- {} [msg {seq}–{seq}]\n", fact.text);
            let title = if list.is_empty() { "Verbatim facts\n" } else { "" };
            if list.len() + title.len() + line.len() > APPENDIX_BYTES_MAX {
                continue;
            }
            list.push_str(title);
            list.push_str(&line);
            found += weight;
        }
        (list, share(found, self.total))
    }
}

fn share(found: u64, total: u64) -> u64 {
    found.saturating_mul(1_000).checked_div(total).unwrap_or(1_000)
}

/// The facts of a span, each once with the most that it weighs and where it was last.
fn weighed(span: &[GuardPart<'_>]) -> Vec<Weighed> {
    let mut facts: BTreeMap<(Kind, String), Weighed> = BTreeMap::new();
    for part in span.iter().filter(|part| part.speaker.weight() > 0) {
        for fact in scan::facts(part.text) {
            let person = part.speaker == Speaker::Person;
            let carried = person || part.speaker == Speaker::Summary;
            // Only the person states rules; between quotation marks of another it would look like one.
            let rule =
                fact.kind == Kind::Rule || (fact.kind == Kind::Quote && fact.keys.iter().any(|key| is_rule(key)));
            let Some(key) = fact.keys.first().filter(|_| carried || !rule) else { continue };
            let weight = part.speaker.weight();
            let entry = facts.entry((fact.kind, key.clone()));
            let known = entry.or_insert_with(|| Weighed { fact, weight, seq: part.seq });
            known.weight = known.weight.max(weight);
            known.seq = known.seq.max(part.seq);
        }
    }
    facts.into_values().collect()
}

/// Which of the missing quoted strings and rules the texts say in other dress.
fn said(missing: &[Weighed], texts: &[&str]) -> BTreeSet<usize> {
    let searched = missing.iter().enumerate().filter(|(_, one)| matches!(one.fact.kind, Kind::Quote | Kind::Rule));
    let searched: Vec<(usize, &str, Kind)> = searched
        .filter_map(|(at, one)| Some((at, one.fact.keys.first()?.as_str(), one.fact.kind)))
        .filter(|(_, key, _)| !key.is_empty())
        .take(SEARCHED_MAX)
        .collect();
    let mut said = BTreeSet::new();
    if searched.is_empty() {
        return said;
    }
    let Ok(finder) = AhoCorasick::new(searched.iter().map(|(_, key, _)| *key)) else { return said };
    let rules: Vec<(usize, BTreeSet<String>)> = searched
        .iter()
        .filter(|(_, _, kind)| *kind == Kind::Rule)
        .take(RULES_MAX)
        .map(|(at, key, _)| (*at, content_words(key)))
        .filter(|(_, words)| !words.is_empty())
        .collect();
    for text in texts {
        let text_normal = normalise(text);
        for found in finder.find_overlapping_iter(&text_normal) {
            said.extend(searched.get(found.pattern().as_usize()).map(|(at, _, _)| *at));
        }
        if rules.is_empty() {
            continue;
        }
        for sentence in sentences(text) {
            let sentence = normalise(sentence);
            if !is_rule(&sentence) {
                continue;
            }
            let words = content_words(&sentence);
            let same = rules.iter().filter(|(_, rule)| shared(rule, &words) * 100 >= rule.len() * RULE_KEPT_PERCENT);
            said.extend(same.map(|(at, _)| *at));
        }
    }
    said
}

fn shared(one: &BTreeSet<String>, other: &BTreeSet<String>) -> usize {
    one.iter().filter(|word| other.contains(*word)).count()
}

/// The first rule of the summary that has no source in the span.
fn injected(span: &[GuardPart<'_>], summary: &str) -> Option<String> {
    let mut stated = Vec::new();
    for sentence in sentences(summary) {
        let bare = bare(sentence);
        let normal = normalise(&bare);
        if is_rule(&normal) {
            stated.push((sentence, normal, bare));
        }
    }
    if stated.is_empty() {
        return None;
    }
    if stated.len() > RULES_MAX {
        return Some(format!("more than {RULES_MAX} rules"));
    }
    let trusted = || span.iter().filter(|part| part.speaker.is_trusted());
    let keys: BTreeSet<String> = trusted().flat_map(|part| facts(part.text)).flat_map(|fact| fact.keys).collect();
    // Only what has a source stays out of the list; every sentence of the span is looked at once.
    let mut open: Vec<(String, String, BTreeSet<String>)> = Vec::new();
    for (sentence, normal, bare) in stated {
        let exact = |fact: &Fact| !matches!(fact.kind, Kind::Rule | Kind::Quote);
        let known =
            facts(&bare).iter().filter(|fact| exact(fact)).all(|fact| fact.keys.iter().any(|key| keys.contains(key)));
        if !known {
            return Some(sentence.to_owned());
        }
        // A bare “from now on:” has no words of its own, but the lines after it may: it must stand in the span as it is.
        let words = content_words(&normal);
        open.push((sentence.to_owned(), normal, words));
    }
    for part in trusted() {
        for sentence in sentences(part.text) {
            if open.is_empty() {
                return None;
            }
            let source = normalise(&bare(sentence));
            let needed = if is_rule(&source) { SAME_RULE_PERCENT } else { SAME_SENTENCE_PERCENT };
            let words = content_words(&source);
            open.retain(|(_, normal, rule)| {
                let same = !rule.is_empty() && shared(rule, &words) * 100 >= rule.len() * needed;
                !same && *normal != source
            });
        }
    }
    open.into_iter().next().map(|(sentence, _, _)| sentence)
}

/// A sentence without its bullet and without `[msg a–b]`.
pub(super) fn bare(sentence: &str) -> String {
    let mut bare = String::with_capacity(sentence.len());
    let mut rest = sentence.trim_start_matches(['-', '*', '•', '·', '#', '>', ' ']);
    while let Some((before, after)) = rest.split_once("[msg ") {
        bare.push_str(before);
        // Digits and dashes alone: nothing else can hide in there.
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '-' | '–' | ',' | ' '));
        rest = rest.strip_prefix(']').unwrap_or(rest);
    }
    bare.push_str(rest);
    bare.trim().to_owned()
}
