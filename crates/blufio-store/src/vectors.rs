//! Vectors of passages and facts: kept in rows, searched by their signs, which the process keeps in memory.
//!
//! The signs are read from the rows when they are first needed, and what is new is read before every search: numbers of vectors
//! only grow. A vector that is gone is noticed when its row is read. So what a search answers always is what its own picture of
//! the database holds, whoever wrote it.

use crate::fault::Done;
use crate::rows;
use blufio_core::ids::{FactId, PassageId};
use blufio_core::memory::MemoryId;
use blufio_core::memory::vector::{SIGN_BYTES, Vector};
use blufio_core::record::PIECES_MAX;
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Vectors that are searched, 72 bytes each. Full: the oldest are not found by their meaning.
const SIGNS_MAX: usize = 120_000;
/// Vectors whose signs are the nearest, and whose rows are read.
const NEAREST: usize = 400;
/// Words of 64 signs.
const SIGN_WORDS: usize = SIGN_BYTES / 8;

const _: () = assert!(SIGN_WORDS * 8 == SIGN_BYTES && NEAREST < SIGNS_MAX);

type Bits = [u64; SIGN_WORDS];

/// The signs of all vectors of a model.
#[derive(Default)]
pub(crate) struct Signs(Mutex<State>);

#[derive(Default)]
struct State {
    model: i64,
    /// The highest number that was looked at.
    seen: i64,
    /// By their numbers.
    entries: VecDeque<Entry>,
}

struct Entry {
    vector: i64,
    scope: i64,
    of: MemoryId,
    bits: Bits,
}

/// A vector that was read.
pub(crate) struct Near {
    pub(crate) cosine: f32,
    pub(crate) vector: Vector,
}

impl Signs {
    /// Forgets everything; the next search reads it again.
    pub(crate) fn clear(&self) {
        *self.lock() = State::default();
    }

    /// What is nearest to a meaning in these scopes, by its nearest piece: at most [`NEAREST`].
    pub(crate) fn nearest(
        &self,
        connection: &Connection,
        model: i64,
        (meaning, scopes): (&Vector, &[i64]),
        wanted: impl Fn(MemoryId) -> bool,
    ) -> Done<BTreeMap<MemoryId, Near>> {
        let newest = newest(connection)?;
        let mut state = self.lock();
        state.read(connection, model, newest)?;
        let near = state.near(&bits(&meaning.signs()), |entry| scopes.contains(&entry.scope) && wanted(entry.of));
        drop(state);
        let (mut found, mut gone) = (BTreeMap::new(), HashSet::new());
        for (vector, of) in near {
            match cosine(connection, vector, meaning)? {
                Row::Read(near) => keep_nearer(&mut found, of, near),
                Row::Damaged => {}
                // One that is newer than this picture of the database is not gone.
                Row::Missing if vector > newest => {}
                Row::Missing => {
                    gone.insert(vector);
                }
            }
        }
        if !gone.is_empty() {
            self.lock().entries.retain(|entry| !gone.contains(&entry.vector));
        }
        Ok(found)
    }

    /// Reads what is new of a model, so that the next search need not.
    pub(crate) fn warm(&self, connection: &Connection, model: i64) -> Done<()> {
        let newest = newest(connection)?;
        self.lock().read(connection, model, newest)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn read(&mut self, connection: &Connection, model: i64, newest: i64) -> Done<()> {
        if self.model != model {
            *self = Self { model, ..Self::default() };
        }
        if self.seen >= newest {
            return Ok(());
        }
        let limit = i64::try_from(SIGNS_MAX).unwrap_or(i64::MAX);
        let sql = "SELECT id, scope, passage, fact, scale, v FROM vectors WHERE id > ?1 AND model = ?2 ORDER BY id DESC LIMIT ?3";
        let mut new = rows::all(connection, sql, [self.seen, model, limit], |row| {
            let (scale, bytes): (f64, _) = (row.get(4)?, row.get_ref(5)?);
            let vector = stored(scale, bytes.as_blob().unwrap_or_default());
            let of = memory_id(row.get(2)?, row.get(3)?);
            let (id, scope) = (row.get(0)?, row.get(1)?);
            Ok(vector.zip(of).map(|(vector, of)| Entry { vector: id, scope, of, bits: bits(&vector.signs()) }))
        })?;
        new.reverse();
        self.entries.extend(new.into_iter().flatten());
        let over = self.entries.len().saturating_sub(SIGNS_MAX);
        self.entries.drain(..over);
        self.seen = newest;
        Ok(())
    }

    /// The wanted vectors whose signs differ least.
    fn near(&self, meaning: &Bits, wanted: impl Fn(&Entry) -> bool) -> Vec<(i64, MemoryId)> {
        let differing = |entry: &Entry| entry.bits.iter().zip(meaning).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
        let mut all: Vec<(u32, i64, MemoryId)> = self
            .entries
            .iter()
            .filter(|entry| wanted(entry))
            .map(|entry| (differing(entry), entry.vector, entry.of))
            .collect();
        if all.len() > NEAREST {
            all.select_nth_unstable(NEAREST);
            all.truncate(NEAREST);
        }
        // In the order of their pages.
        all.sort_unstable_by_key(|(_, vector, _)| *vector);
        all.into_iter().map(|(_, vector, of)| (vector, of)).collect()
    }
}

enum Row {
    Read(Near),
    /// Not a vector of ours.
    Damaged,
    Missing,
}

fn cosine(connection: &Connection, vector: i64, meaning: &Vector) -> Done<Row> {
    let sql = "SELECT scale, v FROM vectors WHERE id = ?1";
    let row = rows::first(connection, sql, [vector], |row| {
        let (scale, bytes): (f64, _) = (row.get(0)?, row.get_ref(1)?);
        Ok(stored(scale, bytes.as_blob().unwrap_or_default()))
    })?;
    Ok(match row {
        None => Row::Missing,
        Some(None) => Row::Damaged,
        Some(Some(vector)) => Row::Read(Near { cosine: vector.cosine(meaning), vector }),
    })
}

/// The vector of a passage or fact that is nearest to a meaning, of all its pieces.
pub(crate) fn of(connection: &Connection, model: i64, id: MemoryId, meaning: &Vector) -> Done<Option<Near>> {
    let (column, number) = column(id);
    let sql = format!("SELECT scale, v FROM vectors WHERE {column} = ?1 AND {column} IS NOT NULL AND model = ?2");
    let pieces = rows::all(connection, &sql, [number, model], |row| {
        let (scale, bytes): (f64, _) = (row.get(0)?, row.get_ref(1)?);
        Ok(stored(scale, bytes.as_blob().unwrap_or_default()))
    })?;
    let near = pieces.into_iter().flatten().map(|vector| Near { cosine: vector.cosine(meaning), vector });
    Ok(near.max_by(|a, b| a.cosine.total_cmp(&b.cosine)))
}

fn keep_nearer(found: &mut BTreeMap<MemoryId, Near>, of: MemoryId, near: Near) {
    if found.get(&of).is_none_or(|known| known.cosine < near.cosine) {
        found.insert(of, near);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "it was written from this width")]
fn stored(scale: f64, bytes: &[u8]) -> Option<Vector> {
    Vector::stored(scale as f32, bytes)
}

fn bits(signs: &[u8; SIGN_BYTES]) -> Bits {
    let mut bits = Bits::default();
    for (word, bytes) in bits.iter_mut().zip(signs.chunks_exact(8)) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    bits
}

const fn column(id: MemoryId) -> (&'static str, i64) {
    match id {
        MemoryId::Passage(id) => ("passage", id.0),
        MemoryId::Fact(id) => ("fact", id.0),
    }
}

fn memory_id(passage: Option<i64>, fact: Option<i64>) -> Option<MemoryId> {
    passage.map(|id| MemoryId::Passage(PassageId(id))).or_else(|| fact.map(|id| MemoryId::Fact(FactId(id))))
}

/// The highest number that a vector has ever had.
fn newest(connection: &Connection) -> Done<i64> {
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'vectors'";
    Ok(rows::first(connection, sql, [], |row| Ok(row.get(0)?))?.unwrap_or(0))
}

/// The number of a model that has made a vector.
pub(crate) fn model(connection: &Connection, name: &str) -> Done<Option<i64>> {
    rows::first(connection, "SELECT id FROM vector_models WHERE name = ?1", [name], |row| Ok(row.get(0)?))
}

// ---------------------------------------------------------------- keeping

/// Texts without vectors of this model. Standing facts are not searched for, and what was wrong is not found any more.
pub(crate) fn unembedded(
    connection: &Connection,
    signs: &Signs,
    name: &str,
    limit: u32,
) -> Done<Vec<(MemoryId, String)>> {
    let model = model(connection, name)?;
    if let Some(model) = model {
        signs.warm(connection, model)?;
    }
    // Nothing has a model below zero.
    let model = model.unwrap_or(-1);
    let facts = "kind <> 'standing' AND state IN ('open', 'superseded')";
    let mut found = Vec::new();
    for (table, text, id, wanted) in [
        ("facts", "statement", fact as fn(i64) -> MemoryId, facts),
        // Who has said it is a part of what it means.
        ("passages", "speaker || ': ' || text", passage as fn(i64) -> MemoryId, "1"),
    ] {
        // Two ranges of the index: whatever is not of this model.
        for other in ["embedded < ?1", "embedded > ?1"] {
            let room = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
            let sql = format!(
                "SELECT id, {text} FROM {table} WHERE {other} AND {wanted} ORDER BY embedded, id DESC LIMIT ?2"
            );
            found.extend(rows::all(connection, &sql, params![model, room], |row| Ok((id(row.get(0)?), row.get(1)?)))?);
        }
    }
    Ok(found)
}

fn passage(id: i64) -> MemoryId {
    MemoryId::Passage(PassageId(id))
}

fn fact(id: i64) -> MemoryId {
    MemoryId::Fact(FactId(id))
}

pub(crate) fn keep(connection: &Connection, name: &str, vectors: &[(MemoryId, Vec<Vector>)]) -> Done<()> {
    let model = match model(connection, name)? {
        Some(model) => model,
        None => {
            rows::change(connection, "INSERT INTO vector_models (name) VALUES (?1)", [name])?;
            connection.last_insert_rowid()
        }
    };
    vectors.iter().try_for_each(|(id, pieces)| keep_one(connection, model, *id, pieces))
}

fn keep_one(connection: &Connection, model: i64, id: MemoryId, pieces: &[Vector]) -> Done<()> {
    let (column, number) = column(id);
    let table = match id {
        MemoryId::Passage(_) => "passages",
        MemoryId::Fact(_) => "facts",
    };
    let sql = format!("UPDATE {table} SET embedded = ?2 WHERE id = ?1 RETURNING scope");
    // Gone by now.
    let Some(scope) = rows::first(connection, &sql, [number, model], |row| Ok(row.get::<_, i64>(0)?))? else {
        return Ok(());
    };
    let old = format!("DELETE FROM vectors WHERE {column} = ?1 AND {column} IS NOT NULL");
    rows::change(connection, &old, [number])?;
    let new = format!("INSERT INTO vectors (scope, {column}, piece, model, scale, v) VALUES (?1, ?2, ?3, ?4, ?5, ?6)");
    for (piece, vector) in (0_i64..).zip(pieces.iter().take(PIECES_MAX)) {
        let scale = f64::from(vector.scale());
        rows::change(connection, &new, params![scope, number, piece, model, scale, vector.bytes().as_slice()])?;
    }
    Ok(())
}
