//! Which of the proposed facts count. The same answer is always judged in the same way; who said something is found out here and
//! never taken from the answer.

use super::ask::shown;
use super::days::Day;
use super::evidence::Evidence;
use super::{Span, SpanMessage, Speaker};
use crate::context::compaction::rules::{content_words, is_rule, normalise};
use crate::ids::{FactId, MessageSeq};
use crate::memory::{Fact, FactKind, NewFact, Said, Scope, Source};
use crate::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// Facts of one span. More are refused.
pub const FACTS_MAX: usize = 12;
/// Bytes of a statement. Longer ones are refused.
pub const STATEMENT_BYTES_MAX: usize = 400;
/// The same of the shortest.
pub const STATEMENT_BYTES_MIN: usize = 6;
/// Bytes of a subject. Longer ones are refused.
pub const SUBJECT_BYTES_MAX: usize = 80;
/// Bytes of a refused statement that are kept for the log.
const REFUSED_BYTES_MAX: usize = 200;
/// Answers in a list that are looked at.
const LOOKED_AT_MAX: usize = 4 * FACTS_MAX;
/// Share of the words of a lasting wish that must stand in one sentence of the person that states a rule, in percent.
const WISH_PERCENT: usize = 70;
/// Words that two statements without a subject must share to be about the same.
const SHARED_WORDS_MIN: usize = 2;

/// What became of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// What is known from now on.
    pub facts: Vec<NewFact>,
    /// What was not believed, and why.
    pub refused: Vec<(String, Why)>,
}

/// Why a proposed fact was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It does not have the form that was asked for.
    Form(String),
    /// There were too many before it.
    TooMany,
    /// Its statement or its subject is too short or too long.
    Length,
    /// The messages that it names are not in the span.
    NoMessages,
    /// Something exact in it stands in none of its messages.
    Missing(String),
    /// It has no word in common with its messages.
    Unrelated,
    /// It is known.
    Known,
    /// A lasting wish that no sentence of the person in its messages states.
    NoWish,
    /// An order in the words of others.
    Order,
}

impl Why {
    /// In words, for the log.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Form(what) => format!("not in the form that was asked for: {what}"),
            Self::TooMany => format!("more than {FACTS_MAX} facts"),
            Self::Length => "too short or too long".to_owned(),
            Self::NoMessages => "its messages are not in the span".to_owned(),
            Self::Missing(what) => format!("its messages do not say `{what}`"),
            Self::Unrelated => "its messages are about something else".to_owned(),
            Self::Known => "it is known already".to_owned(),
            Self::NoWish => "the person has not stated this wish".to_owned(),
            Self::Order => "it is an order in the words of others".to_owned(),
        }
    }
}

/// A fact as a model writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proposed {
    kind: FactKind,
    subject: String,
    statement: String,
    from: i64,
    to: i64,
    confidence: u8,
    valid_from: Option<String>,
    valid_to: Option<String>,
    supersedes: Option<i64>,
}

/// Judges the arguments with which a model has called [`super::ask::TOOL`]. `known` and `offset` are those of the question.
///
/// A day that does not follow from the messages is left away, and so is a superseded fact that is not shown, is about something
/// else, or was said by somebody whose word counts more.
#[must_use]
pub fn judge(answer: &Value, span: &Span, known: &[Fact], offset: impl Fn(Timestamp) -> i32) -> Judged {
    let mut judged = Judged::default();
    let Some(list) = answer.get("facts").and_then(Value::as_array) else {
        judged.refused.push((String::new(), Why::Form("no list of facts".to_owned())));
        return judged;
    };
    let open: Vec<&Fact> = shown(span, known).collect();
    let stated = |fact: &&Fact| fact.superseded_by.is_none() && fact.fact.scope == span.scope;
    let mut said: BTreeSet<Vec<String>> =
        known.iter().filter(stated).map(|fact| sorted_words(&fact.fact.statement)).collect();
    for value in list.iter().take(LOOKED_AT_MAX) {
        let one = if judged.facts.len() < FACTS_MAX { fact(value, span, &open, &offset) } else { Err(Why::TooMany) };
        match one {
            Ok(fact) if said.insert(sorted_words(&fact.statement)) => judged.facts.push(fact),
            Ok(fact) => judged.refused.push((fact.statement, Why::Known)),
            Err(why) => judged.refused.push((label(value), why)),
        }
    }
    judged
}

/// What a refused fact is called in the log.
fn label(value: &Value) -> String {
    let text = value.get("statement").and_then(Value::as_str).unwrap_or_default();
    text.get(..text.floor_char_boundary(REFUSED_BYTES_MAX)).unwrap_or_default().to_owned()
}

fn fact(value: &Value, span: &Span, open: &[&Fact], offset: &impl Fn(Timestamp) -> i32) -> Result<NewFact, Why> {
    let proposed = Proposed::deserialize(value).map_err(|error| Why::Form(error.to_string()))?;
    let (subject, statement) = (proposed.subject.trim(), proposed.statement.trim());
    if proposed.confidence > 100 || [subject, statement].iter().any(|text| text.contains(char::is_control)) {
        return Err(Why::Form("confidence over 100, or more than one line".to_owned()));
    }
    let fits = (STATEMENT_BYTES_MIN..=STATEMENT_BYTES_MAX).contains(&statement.len());
    if !fits || subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX {
        return Err(Why::Length);
    }
    let (messages, source) = range(span, proposed.from, proposed.to).ok_or(Why::NoMessages)?;
    let evidence = Evidence::of(messages, offset);
    if let Some(missing) = evidence.missing(statement).or_else(|| evidence.missing(subject)) {
        return Err(Why::Missing(missing));
    }
    if !evidence.is_related(statement) {
        return Err(Why::Unrelated);
    }
    let said = said(messages, &span.scope);
    check_wish(proposed.kind, said, statement, &evidence)?;
    let day = |text: &Option<String>| text.as_deref().and_then(Day::parse).filter(|day| evidence.allows(*day));
    let (from, to) = (day(&proposed.valid_from), day(&proposed.valid_to));
    let backwards = from.zip(to).is_some_and(|(from, to)| from.number() > to.number());
    let (from, to) = if backwards { (None, None) } else { (from, to) };
    let new = NewFact {
        scope: span.scope.clone(),
        kind: proposed.kind,
        subject: subject.to_owned(),
        statement: statement.to_owned(),
        source: Some(source),
        said,
        confidence: proposed.confidence,
        valid_from: from.map(|day| day.begins(offset)),
        valid_to: to.map(|day| day.begins(offset)),
        supersedes: None,
        pinned: false,
    };
    let old = proposed.supersedes.and_then(|id| open.iter().find(|fact| fact.id == FactId(id)));
    let supersedes = old.filter(|old| may_supersede(&new, &old.fact)).map(|old| old.id);
    Ok(NewFact { supersedes, ..new })
}

/// The messages from one number to another; both must be there.
fn range(span: &Span, from: i64, to: i64) -> Option<(&[SpanMessage], Source)> {
    let place = |seq: i64| span.messages().iter().position(|message| message.seq == MessageSeq(seq));
    let messages = span.messages().get(place(from)?..=place(to)?).filter(|messages| !messages.is_empty())?;
    Some((messages, Source { session: span.session, first: MessageSeq(from), last: MessageSeq(to) }))
}

/// Who said what stands in the messages: one that others may have written makes it theirs, and one that is not the person's makes
/// it the agent's.
fn said(messages: &[SpanMessage], scope: &Scope) -> Said {
    let all = |speaker: Speaker| messages.iter().all(|message| message.speaker == speaker);
    let theirs = scope.as_str().starts_with("person:");
    if messages.iter().any(|message| message.foreign) {
        Said::Foreign
    } else if all(Speaker::Owner) {
        Said::Owner
    } else if all(Speaker::Person) {
        // In anybody else's memory, a person's words are words of others.
        if theirs { Said::Person } else { Said::Foreign }
    } else {
        Said::Agent
    }
}

/// A lasting wish must be one sentence of the person whose memory it is; an order in the words of others is never kept.
fn check_wish(kind: FactKind, said: Said, statement: &str, evidence: &Evidence<'_>) -> Result<(), Why> {
    let normal = normalise(statement);
    match (kind, said) {
        (FactKind::Standing, Said::Owner | Said::Person) => {
            let wish = content_words(&normal);
            let states = |sentence: &str| {
                let sentence = normalise(sentence);
                let words = content_words(&sentence);
                let shared = wish.iter().filter(|word| words.contains(*word)).count();
                let same = !wish.is_empty() && shared * 100 >= wish.len() * WISH_PERCENT;
                // “Never …” does not follow from “always …”, which has the same words otherwise.
                same && is_wish(&sentence) && is_negative(&sentence) == is_negative(&normal)
            };
            if evidence.sentences().any(states) { Ok(()) } else { Err(Why::NoWish) }
        }
        (FactKind::Standing, Said::Agent | Said::Foreign) => Err(Why::NoWish),
        (FactKind::Fact | FactKind::Event, Said::Foreign) if is_rule(&normal) => Err(Why::Order),
        (FactKind::Fact | FactKind::Event, _) => Ok(()),
    }
}

/// A normalised sentence states a wish or a rule.
fn is_wish(normalised: &str) -> bool {
    is_rule(normalised) || says(normalised, WISHES)
}

fn is_negative(normalised: &str) -> bool {
    says(normalised, NEGATIONS)
}

/// One of the words or groups of words stands in a normalised sentence.
fn says(normalised: &str, any_of: &[&str]) -> bool {
    let spaced = format!(" {} ", normalised.replace(|c: char| !c.is_alphanumeric() && c != '\'', " "));
    any_of.iter().any(|words| spaced.contains(&format!(" {words} ")))
}

#[rustfmt::skip]
const NEGATIONS: &[&str] = &[
    "no", "not", "never", "don't", "doesn't", "won't", "can't", "without", "stop", "nothing", "neither", "hate", "hates", "avoid",
    "nicht", "nie", "niemals", "kein", "keine", "keinen", "keinem", "keiner", "ohne", "nichts", "hör auf",
    "pas", "jamais", "sans", "rien", "aucun", "aucune", "plus de", "arrête",
    "nunca", "jamás", "sin", "nada", "ningún", "ninguna", "deja de",
];

/// Words that make a wish beside those of a rule.
#[rustfmt::skip]
const WISHES: &[&str] = &[
    "please", "i want you to", "i'd like you to", "i would like you to", "i prefer", "i'd rather", "call me", "answer me",
    "stop", "every time", "whenever", "only",
    "bitte", "ich möchte", "ich will", "ich hätte gern", "mir lieber", "nenn mich", "antworte", "nur", "jedes mal", "hör auf",
    "s'il te plaît", "s'il vous plaît", "je veux que", "je préfère", "je voudrais", "appelle-moi", "réponds", "seulement",
    "chaque fois", "arrête",
    "por favor", "quiero que", "prefiero", "llámame", "responde", "contesta", "solo", "sólo", "cada vez", "deja de",
];

/// Only what is about the same, and by no lesser word; a lasting wish gives way to another one alone.
fn may_supersede(new: &NewFact, old: &NewFact) -> bool {
    let weight = |said: Said| match said {
        Said::Owner | Said::Person => 2,
        Said::Agent => 1,
        Said::Foreign => 0,
    };
    let wish = old.kind != FactKind::Standing || new.kind == FactKind::Standing;
    weight(new.said) >= weight(old.said) && wish && is_related(new, old)
}

fn is_related(new: &NewFact, old: &NewFact) -> bool {
    let words = |text: &str| content_words(&normalise(text));
    let shared = |one: &BTreeSet<String>, other: &BTreeSet<String>| one.intersection(other).count();
    let (new_subject, old_subject) = (words(&new.subject), words(&old.subject));
    let (new_words, old_words) = (words(&new.statement), words(&old.statement));
    shared(&new_subject, &old_subject) > 0
        || shared(&new_subject, &old_words) > 0
        || shared(&old_subject, &new_words) > 0
        || shared(&new_words, &old_words) >= SHARED_WORDS_MIN
}

/// All words in alphabetical order: a statement with other negations is another one.
fn sorted_words(statement: &str) -> Vec<String> {
    let normal = normalise(statement);
    let words = normal.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|word| !word.is_empty());
    let mut words: Vec<String> = words.map(str::to_owned).collect();
    words.sort_unstable();
    words
}
