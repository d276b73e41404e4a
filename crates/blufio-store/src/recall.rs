//! Finding what may bear on a question: by words, by the words around them, by meaning. How good it is together is decided by
//! [`blufio_core::memory::recall`].
//!
//! A search by words reads its scopes' part of the index and no other.

use crate::fault::Done;
use crate::passages::{self, of_word_row, word_row};
use crate::vectors::{self, Near, Signs};
use crate::{facts, rows};
use blufio_core::ids::{FactId, PassageId};
use blufio_core::memory::recall::{Candidate, Dense, Found};
use blufio_core::memory::vector::Vector;
use blufio_core::memory::{MemoryId, words};
use blufio_core::record::{FactState, Recall, RecallKinds, Recalled};
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, HashSet};

/// What is found by words, each way.
const BY_WORDS: usize = 200;
/// Texts whose words are scored. More: common words are not looked for; if that is not enough, only the newest count.
const MATCHES_MAX: u32 = 4_000;
/// What is found by meaning, with what its neighbours add.
const BY_MEANING: usize = 100;

/// How well the words of something match: with its date and speaker, and with what is around it.
#[derive(Clone, Copy, Default)]
struct Match {
    dated: f32,
    around: f32,
}

pub(crate) fn recall(connection: &Connection, signs: &Signs, recall: &Recall) -> Done<Recalled> {
    let mut scopes = Vec::new();
    for scope in &recall.scopes {
        scopes.extend(passages::known_scope(connection, scope)?);
    }
    let visible =
        recall.visible.as_ref().map(|visible| passages::ids(connection, visible)).transpose()?.unwrap_or_default();
    let meaning = match &recall.meaning {
        Some((name, meaning)) => vectors::model(connection, name)?.map(|model| (model, meaning)),
        None => None,
    };
    let search = Search { connection, signs, scopes, visible, meaning, query: recall.text.as_str() };
    let mut candidates = Vec::new();
    if recall.kinds != RecallKinds::Facts {
        search.passages(&mut candidates)?;
    }
    if recall.kinds != RecallKinds::Passages {
        search.facts(&mut candidates)?;
    }
    Ok(Recalled { candidates, by_meaning: search.meaning.is_some() })
}

struct Search<'a> {
    connection: &'a Connection,
    signs: &'a Signs,
    scopes: Vec<i64>,
    /// Passages that are not to be found.
    visible: HashSet<i64>,
    meaning: Option<(i64, &'a Vector)>,
    query: &'a str,
}

impl Search<'_> {
    fn passages(&self, candidates: &mut Vec<Candidate>) -> Done<()> {
        let by_words = self.by_words("passage_words", |id| !self.visible.contains(&id))?;
        let wanted = |id| matches!(id, MemoryId::Passage(id) if !self.visible.contains(&id.0));
        let (mut near, mut dense) = (self.near(wanted)?, BTreeMap::new());
        if let Some((model, meaning)) = self.meaning {
            let mut smoothed = Vec::new();
            for (id, one) in &near {
                let MemoryId::Passage(passage) = id else { continue };
                let score = self.among_neighbours(*passage, one.cosine, model, meaning, &near)?;
                smoothed.push((score, *id));
            }
            smoothed.sort_by(|(a, _), (b, _)| b.smoothed().total_cmp(&a.smoothed()));
            dense.extend(smoothed.into_iter().take(BY_MEANING).map(|(score, id)| (id, score)));
        }
        let sql = format!("{} WHERE passages.id = ?1", passages::COLUMNS);
        for number in union(&by_words, dense.keys()) {
            let id = MemoryId::Passage(PassageId(number));
            let Some(passage) = rows::first(self.connection, &sql, [number], passages::read)? else { continue };
            candidates.push(candidate(Found::Passage(passage), &by_words, &dense, &mut near, (number, id)));
        }
        Ok(())
    }

    fn facts(&self, candidates: &mut Vec<Candidate>) -> Done<()> {
        let by_words = self.by_words("fact_words", |_| true)?;
        let mut near = self.near(|id| matches!(id, MemoryId::Fact(_)))?;
        let mut best: Vec<(f32, MemoryId)> = near.iter().map(|(id, near)| (near.cosine, *id)).collect();
        best.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let dense: BTreeMap<MemoryId, Dense> =
            best.into_iter().take(BY_MEANING).map(|(own, id)| (id, Dense { own, before: None, after: None })).collect();
        let sql = format!(
            "{} WHERE facts.id = ?1 AND kind <> 'standing' AND state IN ('open', 'superseded')",
            facts::COLUMNS
        );
        for number in union(&by_words, dense.keys()) {
            let id = MemoryId::Fact(FactId(number));
            let Some(view) = rows::first(self.connection, &sql, [number], facts::read)? else { continue };
            debug_assert!(matches!(view.state, FactState::Open | FactState::Superseded));
            candidates.push(candidate(Found::Fact(view.fact), &by_words, &dense, &mut near, (number, id)));
        }
        Ok(())
    }

    fn near(&self, wanted: impl Fn(MemoryId) -> bool) -> Done<BTreeMap<MemoryId, Near>> {
        match self.meaning {
            Some((model, meaning)) => self.signs.nearest(self.connection, model, (meaning, &self.scopes), wanted),
            None => Ok(BTreeMap::new()),
        }
    }

    /// The meaning of a passage with that of the passages beside it.
    fn among_neighbours(
        &self,
        passage: PassageId,
        own: f32,
        model: i64,
        meaning: &Vector,
        near: &BTreeMap<MemoryId, Near>,
    ) -> Done<Dense> {
        let beside = |comparison: &str, order: &str| -> Done<Option<f32>> {
            let sql = format!(
                "SELECT other.id FROM passages AS this JOIN passages AS other
                 ON other.session = this.session AND other.seq {comparison} this.seq
                 WHERE this.id = ?1 ORDER BY other.seq {order} LIMIT 1"
            );
            let id =
                rows::first(self.connection, &sql, [passage.0], |row| Ok(MemoryId::Passage(PassageId(row.get(0)?))))?;
            match id.map(|id| (id, near.get(&id))) {
                None => Ok(None),
                Some((_, Some(near))) => Ok(Some(near.cosine)),
                Some((id, None)) => Ok(vectors::of(self.connection, model, id, meaning)?.map(|near| near.cosine)),
            }
        };
        Ok(Dense { own, before: beside("<", "DESC")?, after: beside(">", "ASC")? })
    }

    /// The best of each way by words.
    fn by_words(&self, table: &str, wanted: impl Fn(i64) -> bool) -> Done<BTreeMap<i64, Match>> {
        let mut all = Vec::new();
        for scope in &self.scopes {
            let range = [word_row(*scope, 0), word_row(scope + 1, 0)];
            let Some(matching) = matching(&telling(self.connection, table, self.query, range)?) else { continue };
            let sql = format!(
                "SELECT rowid, bm25({table}, 1, 1, 0), bm25({table}, 0, 1, 1) FROM {table}
                 WHERE {table} MATCH ?1 AND rowid >= ?2 AND rowid < ?3 ORDER BY rowid DESC LIMIT {MATCHES_MAX}"
            );
            all.extend(rows::all(self.connection, &sql, params![matching, range[0], range[1]], |row| {
                // The better, the smaller a number SQLite gives.
                let (dated, around): (f64, f64) = (row.get(1)?, row.get(2)?);
                #[expect(clippy::cast_possible_truncation, reason = "a score needs no more")]
                let found = Match { dated: -dated as f32, around: -around as f32 };
                Ok((of_word_row(row.get(0)?), found))
            })?);
        }
        all.retain(|(id, _)| wanted(*id));
        let ways: [fn(&Match) -> f32; 2] = [|found| found.dated, |found| found.around];
        let mut best: BTreeMap<i64, Match> = BTreeMap::new();
        for way in ways {
            all.sort_unstable_by(|(a_id, a), (b_id, b)| way(b).total_cmp(&way(a)).then(b_id.cmp(a_id)));
            best.extend(all.iter().take(BY_WORDS).copied());
        }
        Ok(best)
    }
}

/// The words of a question that tell the most: the rarest, as long as they have not too many matches together. What is in every
/// other text would be read for nothing: it hardly changes a score. If all are that common, all, and the newest matches count.
fn telling(connection: &Connection, table: &str, question: &str, [first, end]: [i64; 2]) -> Done<Vec<String>> {
    let sql = format!(
        "SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {table} MATCH ?1 AND rowid >= ?2 AND rowid < ?3 LIMIT {MATCHES_MAX})"
    );
    let mut known: Vec<(u32, String)> = Vec::new();
    for term in words::terms(question) {
        let parameters = params![matching(std::slice::from_ref(&term)), first, end];
        let count = rows::first(connection, &sql, parameters, |row| Ok(row.get::<_, u32>(0)?))?.unwrap_or(0);
        if count > 0 {
            known.push((count, term));
        }
    }
    known.sort_unstable();
    let mut sum = 0_u32;
    let rare = known.iter().take_while(|(count, _)| {
        sum = sum.saturating_add(*count);
        sum < MATCHES_MAX
    });
    let rare = rare.count();
    known.truncate(if rare == 0 { known.len() } else { rare });
    Ok(known.into_iter().map(|(_, term)| term).collect())
}

/// The search for any of these words; `None`: there are none. They are letters and digits alone.
pub(crate) fn matching(terms: &[String]) -> Option<String> {
    let quoted: Vec<String> = terms.iter().map(|term| format!("\"{term}\"")).collect();
    (!quoted.is_empty()).then(|| quoted.join(" OR "))
}

fn union<'a>(by_words: &BTreeMap<i64, Match>, dense: impl Iterator<Item = &'a MemoryId>) -> Vec<i64> {
    let dense = dense.map(|id| match id {
        MemoryId::Passage(id) => id.0,
        MemoryId::Fact(id) => id.0,
    });
    let mut all: Vec<i64> = by_words.keys().copied().chain(dense).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn candidate(
    found: Found,
    by_words: &BTreeMap<i64, Match>,
    dense: &BTreeMap<MemoryId, Dense>,
    near: &mut BTreeMap<MemoryId, Near>,
    (number, id): (i64, MemoryId),
) -> Candidate {
    let Match { dated, around } = by_words.get(&number).copied().unwrap_or_default();
    let vector = near.remove(&id).map(|near| near.vector);
    Candidate { found, dated, around, dense: dense.get(&id).copied(), vector }
}
