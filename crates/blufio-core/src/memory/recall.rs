//! What of the things that were found is put before the model: scores of the ways in which they were found become one, what says
//! the same again is left out, and the rest is what fits.
//!
//! It searches nothing: candidates come with their scores, and the numbers here are the ones that were measured.

use super::moment::Interval;
use super::vector::Vector;
use super::{Fact, MemoryId, Passage, Said, Scope, words};
use crate::context::estimate::{self, Tokenizer};
use crate::ids::{MessageSeq, SessionId};
use crate::time::Timestamp;
use std::collections::BTreeSet;

/// Tokens of everything that is recalled for one message. Full: the best are taken.
pub const RECALL_TOKENS_MAX: u64 = 600;
/// Tokens around each thing that is recalled: its date, who said it.
const FRAME_TOKENS: u64 = 12;
/// Share of the budget that is for facts, in percent; the rest is for passages. What one kind leaves, the other may take.
const FACTS_PERCENT: u64 = 60;
/// Signs of a passage that are shown. More: the part with the words of the question.
const SHOWN_SIGNS_MAX: usize = 600;

/// Weights of the words of a text with its date and speaker, of the words with those of the message before, and of the meaning.
const WEIGHTS: [f32; 3] = [0.35, 0.25, 0.40];
/// The same among long texts, which share words by chance and where the meaning tells more.
const WEIGHTS_LONG: [f32; 3] = [0.25, 0.15, 0.60];
/// Passages are long from this mean on, in signs.
const LONG_SIGNS: usize = 800;
/// How much the message before and the one after add to a message's meaning: an answer is about its question.
const NEIGHBOURS: [f32; 2] = [0.30, 0.15];
/// Who was named in the question, or has said it, counts more.
const NAMED: f32 = 1.15;
/// What lies in the time that was asked for counts more, and what is far from it no less: a text may be about another time than
/// its own.
const TIMELY: f32 = 0.30;
/// Two texts that are so alike say the same.
const SAME_COSINE: f32 = 0.95;
/// Messages that a fact may come from if it is to stand for them.
const SOURCE_MESSAGES_MAX: i64 = 2;
/// What scores less than this share of the best is not about the question.
const NEAR_SHARE: f32 = 0.15;

const _: () = assert!(FACTS_PERCENT < 100);

/// How alike the meanings of a question and a text are, from -1 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dense {
    /// The text's own.
    pub own: f32,
    /// That of the message before in its conversation, if it is known.
    pub before: Option<f32>,
    /// That of the message after it.
    pub after: Option<f32>,
}

impl Dense {
    /// With the share that the neighbours have in it.
    #[must_use]
    pub fn smoothed(&self) -> f32 {
        let [before, after] = NEIGHBOURS;
        self.own + before * self.before.unwrap_or(0.0) + after * self.after.unwrap_or(0.0)
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// A passage.
    Passage(Passage),
    /// A fact.
    Fact(Fact),
}

impl Found {
    /// Its number.
    #[must_use]
    pub const fn id(&self) -> MemoryId {
        match self {
            Self::Passage(passage) => MemoryId::Passage(passage.id),
            Self::Fact(fact) => MemoryId::Fact(fact.id),
        }
    }

    /// Whose it is.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        match self {
            Self::Passage(passage) => &passage.scope,
            Self::Fact(fact) => &fact.fact.scope,
        }
    }

    /// Its words.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Passage(passage) => &passage.text,
            Self::Fact(fact) => &fact.fact.statement,
        }
    }

    /// When it was said or learned.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        match self {
            Self::Passage(passage) => passage.at,
            Self::Fact(fact) => fact.learned_at,
        }
    }

    /// No words of others are in it.
    #[must_use]
    pub fn is_own(&self) -> bool {
        match self {
            Self::Passage(passage) => !passage.foreign,
            Self::Fact(fact) => fact.fact.said != Said::Foreign,
        }
    }

    /// From when to when it is about.
    fn about(&self) -> (Timestamp, Timestamp) {
        match self {
            Self::Passage(passage) => (passage.at, passage.at),
            Self::Fact(fact) => {
                let from = fact.fact.valid_from.or(fact.fact.valid_to).unwrap_or(fact.learned_at);
                (from, fact.fact.valid_to.unwrap_or(from).max(from))
            }
        }
    }

    fn named(&self) -> &str {
        match self {
            Self::Passage(passage) => &passage.speaker,
            Self::Fact(fact) => &fact.fact.subject,
        }
    }
}

/// Something that was found, and how well each way of searching liked it. More is better.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// What.
    pub found: Found,
    /// By the words of the text with its date and speaker; 0: not found so.
    pub dated: f32,
    /// By the words of the text with those of the message before it; of a fact, with its subject. 0: not found so.
    pub around: f32,
    /// By the meaning.
    pub dense: Option<Dense>,
    /// The meaning itself, for seeing what says the same.
    pub vector: Option<Vector>,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The words.
    pub text: &'a str,
    /// Whose memory may answer; nothing of others is chosen.
    pub scopes: &'a [Scope],
    /// The time it is about, if it says so.
    pub interval: Option<Interval>,
    /// It is about then and not about now; see [`super::moment::is_past`].
    pub past: bool,
    /// Now.
    pub now: Timestamp,
}

/// How a score came about.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// By words, date and speaker: share of the sum before the factors.
    pub dated: f32,
    /// By the words around: share.
    pub around: f32,
    /// By the meaning: share.
    pub dense: f32,
    /// The factor for a name of the question.
    pub named: f32,
    /// The factor for the time of the question.
    pub timely: f32,
}

impl Score {
    /// The score.
    #[must_use]
    pub fn total(&self) -> f32 {
        (self.dated + self.around + self.dense) * self.named * self.timely
    }
}

/// Something to be put before the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// What.
    pub found: Found,
    /// The words that are shown: all, or the part with the words of the question.
    pub shown: String,
    /// Why.
    pub score: Score,
}

/// What bears on a question, facts first, of each kind the best first, in at most `tokens` (estimated) together.
#[must_use]
pub fn choose(question: &Question<'_>, candidates: Vec<Candidate>, tokens: u64) -> Vec<Chosen> {
    let of_time = |fact: &Fact| question.past || question.interval.is_some() || fact.holds(question.now);
    let (mut facts, mut passages) = (Vec::new(), Vec::new());
    for candidate in candidates.into_iter().filter(|candidate| question.scopes.contains(candidate.found.scope())) {
        match &candidate.found {
            Found::Fact(fact) if of_time(fact) => facts.push(candidate),
            Found::Fact(_) => {}
            Found::Passage(_) => passages.push(candidate),
        }
    }
    let facts = apart(near(scored(question, facts)), &[]);
    let passages = apart(near(scored(question, passages)), &facts);
    fit(question, facts, passages, tokens)
}

/// Whether a message asks for anything that could be recalled. An acknowledgement of a few words does not.
#[must_use]
pub fn worth_asking(text: &str) -> bool {
    const WORDS_MAX: usize = 3;
    const NODS: &[&str] = &[
        "absolutely",
        "ah",
        "ahead",
        "alles",
        "alright",
        "awesome",
        "bien",
        "bitte",
        "claro",
        "cool",
        "correct",
        "d",
        "danke",
        "das",
        "do",
        "done",
        "exactly",
        "fine",
        "genau",
        "go",
        "good",
        "got",
        "gracias",
        "great",
        "gut",
        "haha",
        "hallo",
        "hello",
        "hey",
        "hi",
        "hmm",
        "i",
        "it",
        "ja",
        "job",
        "klar",
        "lol",
        "merci",
        "mhm",
        "mir",
        "much",
        "nein",
        "nice",
        "no",
        "non",
        "nope",
        "of",
        "ok",
        "okay",
        "oui",
        "passt",
        "perfect",
        "perfekt",
        "please",
        "prima",
        "que",
        "right",
        "s",
        "schon",
        "schön",
        "see",
        "sehr",
        "si",
        "so",
        "stimmt",
        "stop",
        "super",
        "sure",
        "sí",
        "thank",
        "thanks",
        "that",
        "this",
        "thx",
        "toll",
        "top",
        "vale",
        "verstanden",
        "very",
        "weiter",
        "well",
        "wow",
        "yeah",
        "yep",
        "yes",
        "you",
    ];
    let mut words = words::words(words::head(text, words::QUESTION_BYTES_MAX));
    let first: Vec<String> = words.by_ref().take(WORDS_MAX).collect();
    words.next().is_some() || first.iter().any(|word| !NODS.contains(&word.as_str()))
}

struct Scored {
    candidate: Candidate,
    score: Score,
}

/// One score of all, the best first; of two that are as good, the newer one.
fn scored(question: &Question<'_>, candidates: Vec<Candidate>) -> Vec<Scored> {
    let scale = |of: &dyn Fn(&Candidate) -> Option<f32>| Scale::over(candidates.iter().filter_map(of));
    let (dated, around) = (scale(&|one| good(one.dated)), scale(&|one| good(one.around)));
    let dense = scale(&|one| one.dense.and_then(|dense| good(dense.smoothed())));
    let [w_dated, w_around, w_dense] = weights(&candidates);
    let names = words::names(question.text);
    let mut scored: Vec<Scored> = candidates
        .into_iter()
        .map(|candidate| {
            let score = Score {
                dated: w_dated * dated.of(good(candidate.dated)),
                around: w_around * around.of(good(candidate.around)),
                dense: w_dense * dense.of(candidate.dense.and_then(|dense| good(dense.smoothed()))),
                named: if is_named(&candidate.found, &names) { NAMED } else { 1.0 },
                timely: question.interval.map_or(1.0, |interval| {
                    let (from, to) = candidate.found.about();
                    1.0 + TIMELY * interval.fit(from, to)
                }),
            };
            Scored { candidate, score }
        })
        .collect();
    scored.sort_by(|a, b| {
        let newer =
            (b.candidate.found.at(), b.candidate.found.id()).cmp(&(a.candidate.found.at(), a.candidate.found.id()));
        b.score.total().total_cmp(&a.score.total()).then(newer)
    });
    scored
}

/// A score that says anything: words that are not found have none, and a meaning at a right angle is another one.
fn good(score: f32) -> Option<f32> {
    (score.is_finite() && score > 0.0).then_some(score)
}

/// The weights for these candidates; without any meaning, the words alone make up the score.
fn weights(candidates: &[Candidate]) -> [f32; 3] {
    let lengths = candidates.iter().filter_map(|candidate| match &candidate.found {
        Found::Passage(passage) => Some(passage.text.chars().count()),
        Found::Fact(_) => None,
    });
    let (count, sum) = lengths.fold((0_usize, 0_usize), |(count, sum), signs| (count + 1, sum.saturating_add(signs)));
    let weights = if sum > count.saturating_mul(LONG_SIGNS) { WEIGHTS_LONG } else { WEIGHTS };
    if candidates.iter().any(|candidate| candidate.dense.is_some()) {
        return weights;
    }
    let [dated, around, _] = weights;
    [dated / (dated + around), around / (dated + around), 0.0]
}

/// From the least to the most of a score; from half of the most if the least is more, so that of few that are all good none
/// counts for nothing.
struct Scale {
    least: f32,
    most: f32,
}

impl Scale {
    fn over(scores: impl Iterator<Item = f32>) -> Self {
        let (least, most) =
            scores.fold((f32::INFINITY, f32::NEG_INFINITY), |(least, most), score| (least.min(score), most.max(score)));
        Self { least: least.min(most / 2.0), most }
    }

    /// 0 for the least and for none, 1 for the most.
    fn of(&self, score: Option<f32>) -> f32 {
        score.map_or(0.0, |score| (score - self.least) / (self.most - self.least))
    }
}

fn is_named(found: &Found, names: &BTreeSet<String>) -> bool {
    !names.is_empty() && words::words(found.named()).chain(words::words(found.text())).any(|word| names.contains(&word))
}

/// Those that are near enough to the best.
fn near(mut scored: Vec<Scored>) -> Vec<Scored> {
    let best = scored.first().map_or(0.0, |best| best.score.total());
    scored.retain(|one| one.score.total() > 0.0 && one.score.total() >= best * NEAR_SHARE);
    scored
}

/// Without those that say what a better one or one of `also` says.
fn apart(scored: Vec<Scored>, also: &[Scored]) -> Vec<Scored> {
    let mut kept: Vec<Scored> = Vec::new();
    for one in scored {
        if !also.iter().chain(&kept).any(|other| say_the_same(&other.candidate, &one.candidate)) {
            kept.push(one);
        }
    }
    kept
}

fn say_the_same(a: &Candidate, b: &Candidate) -> bool {
    if let (Some(a), Some(b)) = (&a.vector, &b.vector)
        && a.cosine(b) > SAME_COSINE
    {
        return true;
    }
    match (&a.found, &b.found) {
        (Found::Fact(fact), Found::Passage(passage)) | (Found::Passage(passage), Found::Fact(fact)) => {
            fact.fact.source.is_some_and(|source| {
                source.last.0.saturating_sub(source.first.0) < SOURCE_MESSAGES_MAX
                    && source.holds(passage.session, passage.seq)
            })
        }
        (Found::Fact(_), Found::Fact(_)) | (Found::Passage(_), Found::Passage(_)) => {
            words::words(a.found.text()).eq(words::words(b.found.text()))
        }
    }
}

impl super::Source {
    /// Whether a message is among these.
    #[must_use]
    pub fn holds(&self, session: SessionId, seq: MessageSeq) -> bool {
        self.session == session && (self.first..=self.last).contains(&seq)
    }
}

/// Each kind gets its share, and then what the other has left.
fn fit(question: &Question<'_>, facts: Vec<Scored>, passages: Vec<Scored>, tokens: u64) -> Vec<Chosen> {
    let terms = words::terms(question.text);
    let chosen = |one: Scored| {
        let shown = excerpt(one.candidate.found.text(), &terms);
        Chosen { found: one.candidate.found, shown, score: one.score }
    };
    let (facts, passages): (Vec<_>, Vec<_>) =
        (facts.into_iter().map(chosen).collect(), passages.into_iter().map(chosen).collect());
    let facts_share = tokens.saturating_mul(FACTS_PERCENT) / 100;
    let facts_cost: u64 = facts.iter().map(cost).fold(0, u64::saturating_add);
    let mut room = tokens.saturating_sub(facts_cost.min(facts_share));
    let passages = take(passages, &mut room);
    let mut room = tokens.saturating_sub(passages.iter().map(cost).sum());
    let mut all = take(facts, &mut room);
    all.extend(passages);
    all
}

/// Those that fit, in their order; a smaller one may fit where a larger one does not.
fn take(chosen: Vec<Chosen>, room: &mut u64) -> Vec<Chosen> {
    let fits = |one: &Chosen| {
        let left = room.checked_sub(cost(one));
        *room = left.unwrap_or(*room);
        left.is_some()
    };
    chosen.into_iter().filter(fits).collect()
}

/// What it takes of the budget, estimated in tokens.
fn cost(chosen: &Chosen) -> u64 {
    estimate::text(&chosen.shown, Tokenizer::Newer).tokens().saturating_add(FRAME_TOKENS)
}

/// A text, or of a long one the part that holds most words of the question, cut between words.
fn excerpt(text: &str, terms: &[String]) -> String {
    let starts: Vec<usize> = text.char_indices().map(|(place, _)| place).collect();
    if starts.len() <= SHOWN_SIGNS_MAX {
        return text.trim().to_owned();
    }
    let window = |from: usize| {
        let begin = starts.get(from).copied().unwrap_or(text.len());
        let end = starts.get(from + SHOWN_SIGNS_MAX).copied().unwrap_or(text.len());
        text.get(begin..end).unwrap_or_default()
    };
    let hits = |part: &str| {
        let held: BTreeSet<String> = words::words(&words::indexable(part)).collect();
        terms.iter().filter(|term| held.contains(*term)).count()
    };
    let step = SHOWN_SIGNS_MAX / 3;
    let places = (0..starts.len().saturating_sub(SHOWN_SIGNS_MAX / 2)).step_by(step);
    // Of windows that hold as many, the first.
    let best = places.max_by_key(|place| (hits(window(*place)), std::cmp::Reverse(*place))).unwrap_or(0);
    let part = window(best);
    let head = if best == 0 { part } else { part.split_once(char::is_whitespace).map_or(part, |(_, rest)| rest) };
    let whole = best + SHOWN_SIGNS_MAX >= starts.len();
    let body = if whole { head } else { head.rsplit_once(char::is_whitespace).map_or(head, |(begin, _)| begin) };
    format!("{}{}{}", if best == 0 { "" } else { "… " }, body.trim(), if whole { "" } else { " …" })
}

#[cfg(test)]
mod tests;
