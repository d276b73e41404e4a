//! How well rankings of turns answer questions. It knows neither a store nor a way of searching.

use std::collections::{BTreeMap, BTreeSet};

use super::format::{Kind, Question};

/// The places that count for the first figures.
const FEW: usize = 5;
/// The places that count for the others.
const MANY: usize = 10;
/// The tokens that a prompt has room for.
const TOKENS: u64 = 1_000;

/// A turn that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// The turn.
    pub turn: String,
    /// What it costs to show it, in tokens.
    pub tokens: u64,
}

/// How well one question was answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Score {
    /// There is evidence.
    Found(Found),
    /// It was never said; the best is to show nothing.
    Never {
        /// Turns that were shown all the same.
        turns: usize,
        /// What they cost, in tokens.
        tokens: u64,
    },
}

/// Shares of the evidence, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Found {
    /// Among the first 5.
    pub recall_5: f64,
    /// Among the first 10.
    pub recall_10: f64,
    /// 1 if all of it is among the first 10, else 0.
    pub all_10: f64,
    /// 1 divided by the place of the first evidence; 0 if there is none.
    pub reciprocal_rank: f64,
    /// Within the first 1,000 tokens; the first turn that has no room ends them.
    pub recall_1000: f64,
}

/// Holds a ranking, best first, against the evidence of a question.
#[must_use]
pub fn score(question: &Question, ranking: &[Ranked]) -> Score {
    if question.kind == Kind::None {
        return Score::Never { turns: ranking.len(), tokens: ranking.iter().map(|ranked| ranked.tokens).sum() };
    }
    let evidence: BTreeSet<&str> = question.evidence.iter().map(String::as_str).collect();
    let share = |places: usize| {
        let seen: BTreeSet<&str> = ranking.iter().take(places).map(|ranked| ranked.turn.as_str()).collect();
        evidence.intersection(&seen).count() as f64 / evidence.len().max(1) as f64
    };
    let first = ranking.iter().position(|ranked| evidence.contains(ranked.turn.as_str()));
    let recall_10 = share(MANY);
    Score::Found(Found {
        recall_5: share(FEW),
        recall_10,
        all_10: if recall_10 == 1.0 { 1.0 } else { 0.0 },
        reciprocal_rank: first.map_or(0.0, |place| 1.0 / (place + 1) as f64),
        recall_1000: share(affordable(ranking)),
    })
}

/// How many of the first turns have room.
fn affordable(ranking: &[Ranked]) -> usize {
    let costs = ranking.iter().scan(0_u64, |sum, ranked| {
        *sum += ranked.tokens;
        Some(*sum)
    });
    costs.take_while(|sum| *sum <= TOKENS).count()
}

/// Scores of many questions, by their kinds.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    found: BTreeMap<Kind, Vec<Found>>,
    never: Vec<(usize, u64)>,
}

/// The means of a kind of question, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Means {
    /// How many questions.
    pub questions: usize,
    /// The mean of each figure.
    pub found: Found,
}

/// What is shown for questions about what was never said.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Never {
    /// How many questions.
    pub questions: usize,
    /// The share of them for which nothing is shown, 0 to 1.
    pub silent: f64,
    /// Tokens that are shown for one of them on average.
    pub tokens: f64,
}

impl Summary {
    /// Counts a question in.
    pub fn add(&mut self, kind: Kind, score: Score) {
        match score {
            Score::Found(found) => self.found.entry(kind).or_default().push(found),
            Score::Never { turns, tokens } => self.never.push((turns, tokens)),
        }
    }

    /// The kinds with evidence that there were, with their means.
    #[must_use]
    pub fn kinds(&self) -> Vec<(Kind, Means)> {
        self.found.iter().map(|(kind, all)| (*kind, means(all))).collect()
    }

    /// The means over all questions with evidence.
    #[must_use]
    pub fn overall(&self) -> Means {
        means(&self.found.values().flatten().copied().collect::<Vec<_>>())
    }

    /// Questions without evidence.
    #[must_use]
    pub fn never(&self) -> Never {
        let questions = self.never.len();
        let share = |sum: f64| sum / questions.max(1) as f64;
        Never {
            questions,
            silent: share(self.never.iter().filter(|(turns, _)| *turns == 0).count() as f64),
            tokens: share(self.never.iter().map(|(_, tokens)| *tokens as f64).sum()),
        }
    }
}

impl FromIterator<(Kind, Score)> for Summary {
    fn from_iter<I: IntoIterator<Item = (Kind, Score)>>(scores: I) -> Self {
        let mut summary = Self::default();
        scores.into_iter().for_each(|(kind, score)| summary.add(kind, score));
        summary
    }
}

fn means(all: &[Found]) -> Means {
    let mean = |of: fn(&Found) -> f64| all.iter().map(of).sum::<f64>() / all.len().max(1) as f64;
    let found = Found {
        recall_5: mean(|found| found.recall_5),
        recall_10: mean(|found| found.recall_10),
        all_10: mean(|found| found.all_10),
        reciprocal_rank: mean(|found| found.reciprocal_rank),
        recall_1000: mean(|found| found.recall_1000),
    };
    Means { questions: all.len(), found }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blufio_core::time::Timestamp;

    fn question(kind: Kind, evidence: &[&str]) -> Question {
        let evidence = evidence.iter().map(ToString::to_string).collect();
        Question { id: "q".to_owned(), kind, text: "?".to_owned(), evidence, asked: Timestamp(0) }
    }

    /// Turns named by single letters, each of so many tokens.
    fn ranking(turns: &str, tokens: u64) -> Vec<Ranked> {
        turns.chars().map(|turn| Ranked { turn: turn.to_string(), tokens }).collect()
    }

    #[test]
    fn figures_follow_from_the_places_of_the_evidence() {
        let check = |evidence: &[&str], turns: &str, tokens: u64, expect: [f64; 5]| {
            let Score::Found(found) = score(&question(Kind::Single, evidence), &ranking(turns, tokens)) else {
                panic!("{turns}: no score");
            };
            let Found { recall_5, recall_10, all_10, reciprocal_rank, recall_1000 } = found;
            assert_eq!([recall_5, recall_10, all_10, reciprocal_rank, recall_1000], expect, "{evidence:?} in {turns}");
        };
        check(&["a"], "abc", 10, [1.0, 1.0, 1.0, 1.0, 1.0]);
        check(&["a"], "", 10, [0.0; 5]);
        check(&["z"], "abc", 10, [0.0; 5]);
        check(&["f"], "abcdef", 10, [0.0, 1.0, 1.0, 1.0 / 6.0, 1.0]);
        check(&["b", "f"], "abcdef", 10, [0.5, 1.0, 1.0, 0.5, 1.0]);
        check(&["b", "z"], "abcdef", 10, [0.5, 0.5, 0.0, 0.5, 0.5]);
        check(&["l"], "abcdefghijkl", 10, [0.0, 0.0, 0.0, 1.0 / 12.0, 1.0]);
        // 1,000 tokens are room for two turns of 500 and for none of 1,001.
        check(&["b", "c"], "abc", 500, [1.0, 1.0, 1.0, 0.5, 0.5]);
        check(&["a"], "abc", 1_001, [1.0, 1.0, 1.0, 1.0, 0.0]);
        // A turn that stands twice counts once.
        check(&["a", "b"], "aaaaaab", 10, [0.5, 1.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn nothing_to_find_is_counted_apart() {
        let never = question(Kind::None, &[]);
        assert_eq!(score(&never, &ranking("ab", 30)), Score::Never { turns: 2, tokens: 60 });
        let one = Found { recall_5: 1.0, recall_10: 1.0, all_10: 1.0, reciprocal_rank: 0.5, recall_1000: 1.0 };
        let summary: Summary = [
            (Kind::Single, Score::Found(one)),
            (Kind::Single, Score::Found(Found::default())),
            (Kind::Date, Score::Found(one)),
            (Kind::None, score(&never, &ranking("ab", 30))),
            (Kind::None, score(&never, &[])),
        ]
        .into_iter()
        .collect();
        let kinds: Vec<_> =
            summary.kinds().into_iter().map(|(kind, means)| (kind, means.questions, means.found.recall_5)).collect();
        assert_eq!(kinds, [(Kind::Single, 2, 0.5), (Kind::Date, 1, 1.0)]);
        assert_eq!((summary.overall().questions, summary.overall().found.reciprocal_rank), (3, 1.0 / 3.0));
        assert_eq!(summary.never(), Never { questions: 2, silent: 0.5, tokens: 30.0 });
        assert_eq!(Summary::default().overall(), Means::default());
    }
}
