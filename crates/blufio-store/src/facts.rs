//! What is known: added, corrected, forgotten, and every change undone if nothing has changed since.
//!
//! The words of a fact are written once. What changes is its state, and the log of changes holds nothing but states; so whoever
//! is forgotten is gone with one row, wherever that row was mentioned.

use crate::fault::{Done, broken, not_found};
use crate::passages::{self, Words, word_row};
use crate::recall::matching;
use crate::rows;
use blufio_core::ids::{FactChangeId, FactId, MessageSeq, SessionId};
use blufio_core::memory::moment::day_words;
use blufio_core::memory::words::terms;
use blufio_core::memory::{Fact, FactKind, NewFact, Said, Scope, Source};
use blufio_core::port::StoreError;
use blufio_core::record::{
    FACT_CHANGES_MAX, FACTS_MAX, FactChange, FactChangeKind, FactChangeView, FactEdit, FactFilter, FactHistory,
    FactState, FactView, Remember, STATEMENT_BYTES_MAX, SUBJECT_BYTES_MAX,
};
use blufio_core::time::Timestamp;
use rusqlite::{Connection, Row, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Facts before one that are shown, and changes of one. More: the others are not shown.
const HISTORY_MAX: usize = 100;
/// Standing facts in one answer. More: the oldest that are not pinned are left out.
const STANDING_MAX: u32 = 200;
/// The columns that [`read`] reads.
pub(crate) const COLUMNS: &str =
    "SELECT facts.id, scopes.name, kind, subject, statement, source_session, source_first, source_last, said, confidence,
            valid_from, valid_to, supersedes, pinned, learned_at, superseded_by, state
     FROM facts JOIN scopes ON scopes.id = facts.scope";

/// What changes of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    fact: i64,
    state: FactState,
    superseded_by: Option<i64>,
    valid_to: Option<i64>,
}

pub(crate) fn remember(connection: &Connection, remember: &Remember, at: Timestamp) -> Done<Vec<Option<Fact>>> {
    let Remember { scope, by, changes } = remember;
    if changes.len() > FACT_CHANGES_MAX {
        return refused(format!("more than {FACT_CHANGES_MAX} changes at once"));
    }
    let id = passages::scope_id(connection, scope)?;
    let changer = Changer { connection, scope, id, by, at };
    let one = |change: &FactChange| match change {
        FactChange::Add(new) => changer.add(new).map(Some),
        FactChange::Edit { id, to } => changer.edit(*id, to).map(Some),
        FactChange::Forget { id, passages } => changer.forget(*id, *passages).map(|()| None),
        FactChange::Undo(change) => changer.undo(*change).map(Some),
    };
    changes.iter().map(one).collect()
}

/// Who changes whose facts, and when.
struct Changer<'a> {
    connection: &'a Connection,
    scope: &'a Scope,
    id: i64,
    by: &'a str,
    at: Timestamp,
}

impl Changer<'_> {
    fn add(&self, new: &NewFact) -> Done<Fact> {
        if let Some(why) = objection(new, self.scope) {
            return refused(why);
        }
        let same = "SELECT id FROM facts WHERE scope = ?1 AND state = 'open' AND kind = ?2 AND statement = ?3";
        let parameters = params![self.id, word(&new.kind)?, new.statement];
        if let Some(id) = rows::first(self.connection, same, parameters, |row| Ok(FactId(row.get(0)?)))? {
            return Ok(self.known(id)?.fact);
        }
        let old = new.supersedes.map(|old| self.replaceable(old)).transpose()?;
        let end = new.valid_from.unwrap_or(self.at);
        self.put(new, FactChangeKind::Added, old.as_ref().map(|old| (old, FactState::Superseded, Some(end))))
    }

    fn edit(&self, id: FactId, to: &FactEdit) -> Done<Fact> {
        let old = self.replaceable(id)?;
        let FactEdit { said, kind, subject, statement, pinned } = to.clone();
        let new = NewFact {
            said,
            kind: kind.unwrap_or(old.fact.fact.kind),
            subject: subject.unwrap_or_else(|| old.fact.fact.subject.clone()),
            statement: statement.unwrap_or_else(|| old.fact.fact.statement.clone()),
            pinned: pinned.unwrap_or(old.fact.fact.pinned),
            supersedes: Some(id),
            ..old.fact.fact.clone()
        };
        match objection(&new, self.scope) {
            Some(why) => refused(why),
            None => self.put(&new, FactChangeKind::Edited, Some((&old, FactState::Corrected, None))),
        }
    }

    /// Writes a new fact, and what becomes of the one whose place it takes.
    fn put(
        &self,
        new: &NewFact,
        what: FactChangeKind,
        old: Option<(&FactView, FactState, Option<Timestamp>)>,
    ) -> Done<Fact> {
        let count = "SELECT count(*) FROM facts WHERE scope = ?1";
        if rows::first(self.connection, count, [self.id], |row| Ok(row.get::<_, u32>(0)?))?.unwrap_or(0) >= FACTS_MAX {
            return refused(format!(
                "{FACTS_MAX} facts are remembered already, and no more are kept; forget some first"
            ));
        }
        let source = new.source;
        rows::change(
            self.connection,
            "INSERT INTO facts (scope, kind, subject, statement, source_session, source_first, source_last, said, confidence,
                                valid_from, valid_to, learned_at, supersedes, pinned, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 'open')",
            params![
                self.id,
                word(&new.kind)?,
                new.subject,
                new.statement,
                source.map(|source| source.session.0),
                source.map(|source| source.first.0),
                source.map(|source| source.last.0),
                word(&new.said)?,
                new.confidence,
                new.valid_from.map(|from| from.0),
                new.valid_to.map(|to| to.0),
                self.at.0,
                new.supersedes.map(|old| old.0),
                new.pinned,
            ],
        )?;
        let id = self.connection.last_insert_rowid();
        let dated = day_words(new.valid_from.unwrap_or(self.at), 0);
        let words = Words { scope: self.id, id, dated: &dated, said: &new.statement, around: &new.subject };
        words.add(self.connection, "fact_words")?;
        let fresh =
            State { fact: id, state: FactState::Open, superseded_by: None, valid_to: new.valid_to.map(|to| to.0) };
        let mut before = vec![State { state: FactState::Withdrawn, ..fresh }];
        let mut after = vec![fresh];
        if let Some((old, state, end)) = old {
            let was = state_of(old);
            let valid_to = was.valid_to.or(end.map(|end| end.0));
            let is = State { state, superseded_by: Some(id), valid_to, ..was };
            set(self.connection, &is)?;
            before.push(was);
            after.push(is);
        }
        self.log(FactId(id), what, &before, &after)?;
        Ok(self.known(FactId(id))?.fact)
    }

    fn forget(&self, id: FactId, also_passages: bool) -> Done<()> {
        let known = self.known(id)?;
        if also_passages && let Some(source) = &known.fact.fact.source {
            let others = "SELECT 1 FROM passages WHERE session = ?1 AND seq BETWEEN ?2 AND ?3 AND scope <> ?4";
            let range = [source.session.0, source.first.0, source.last.0, self.id];
            if rows::first(self.connection, others, range, |_| Ok(()))?.is_some() {
                return refused(format!(
                    "fact {id} comes from what is not remembered here alone; forget it without its passages"
                ));
            }
            passages::forget(self.connection, source)?;
        }
        // What it was before it was edited, or what an undoing has made of it, says about the same.
        let same = "WITH RECURSIVE same (id) AS (
                        SELECT ?1 UNION
                        SELECT facts.id FROM facts JOIN same
                        ON (facts.superseded_by = same.id AND facts.state = 'corrected')
                        OR (facts.supersedes = same.id AND facts.state = 'withdrawn'))
                    SELECT id FROM same";
        for fact in rows::all(self.connection, same, [id.0], |row| Ok(row.get::<_, i64>(0)?))? {
            rows::change(self.connection, "DELETE FROM fact_words WHERE rowid = ?1", [word_row(self.id, fact)])?;
            rows::change(self.connection, "DELETE FROM facts WHERE id = ?1", [fact])?;
            self.log(FactId(fact), FactChangeKind::Forgotten, &[], &[])?;
        }
        Ok(())
    }

    fn undo(&self, change: FactChangeId) -> Done<Fact> {
        let sql = "SELECT fact, before, after, undone_by FROM fact_changes WHERE id = ?1 AND scope = ?2";
        let found = rows::first(self.connection, sql, [change.0, self.id], |row| {
            let (before, after): (String, String) = (row.get(1)?, row.get(2)?);
            let states = (serde_json::from_str::<Vec<State>>(&before)?, serde_json::from_str::<Vec<State>>(&after)?);
            Ok((FactId(row.get(0)?), states, row.get::<_, Option<i64>>(3)?))
        })?;
        let Some((fact, (before, after), undone_by)) = found else {
            return Err(not_found(format!("no change {change}")));
        };
        if before.is_empty() {
            return refused(format!("change {change} cannot be undone: what is forgotten is gone"));
        }
        if undone_by.is_some() {
            return refused(format!("change {change} is undone already"));
        }
        for expected in &after {
            match self.known(FactId(expected.fact)) {
                Ok(known) if state_of(&known) == *expected => {}
                Ok(_) => return refused(format!("fact {} has changed since", expected.fact)),
                Err(_) => return refused(format!("fact {} is forgotten", expected.fact)),
            }
        }
        before.iter().try_for_each(|state| set(self.connection, state))?;
        self.log(fact, FactChangeKind::Undone, &after, &before)?;
        let undone = "UPDATE fact_changes SET undone_by = ?2 WHERE id = ?1";
        rows::change(self.connection, undone, [change.0, self.connection.last_insert_rowid()])?;
        Ok(self.known(fact)?.fact)
    }

    fn log(&self, fact: FactId, what: FactChangeKind, before: &[State], after: &[State]) -> Done<()> {
        rows::change(
            self.connection,
            "INSERT INTO fact_changes (fact, scope, what, by, at, before, after) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                fact.0,
                self.id,
                word(&what)?,
                self.by,
                self.at.0,
                serde_json::to_string(before)?,
                serde_json::to_string(after)?
            ],
        )?;
        Ok(())
    }

    /// A fact of the scope. That another's is there is not told.
    fn known(&self, id: FactId) -> Done<FactView> {
        find(self.connection, self.scope, id)?.ok_or_else(|| not_found(format!("no fact {id}")))
    }

    /// A fact whose place can be taken.
    fn replaceable(&self, id: FactId) -> Done<FactView> {
        let known = self.known(id)?;
        match known.state {
            FactState::Open => Ok(known),
            FactState::Superseded | FactState::Corrected | FactState::Withdrawn => {
                refused(format!("fact {id} does not hold any more; change the one that took its place"))
            }
        }
    }
}

fn refused<T>(why: String) -> Done<T> {
    Err(StoreError::Refused(why).into())
}

/// Why something is not remembered.
fn objection(new: &NewFact, scope: &Scope) -> Option<String> {
    let own = match new.said {
        Said::Owner => true,
        // In a chat nobody's own words are lasting instructions but the owner's.
        Said::Person => scope.as_str().starts_with("person:"),
        Said::Agent | Said::Foreign => false,
    };
    let person_elsewhere = new.said == Said::Person && scope.as_str() == "owner";
    let blank = new.statement.trim().is_empty() || new.subject.trim().is_empty();
    let long = new.statement.len() > STATEMENT_BYTES_MAX || new.subject.len() > SUBJECT_BYTES_MAX;
    let backwards = matches!((new.valid_from, new.valid_to), (Some(from), Some(to)) if to < from);
    let rules = [
        (new.scope != *scope, "a fact belongs to the one whose memory is changed"),
        (blank, "a fact needs a subject and a statement"),
        (long, "a fact is one sentence: the subject or the statement is too long"),
        (new.confidence > 100, "nothing is surer than 100 percent"),
        (backwards, "it cannot end before it begins"),
        (new.source.is_some_and(|source| source.last < source.first), "its last message is before its first"),
        (person_elsewhere, "what another person says is remembered as theirs, or as foreign"),
        (new.kind == FactKind::Standing && !own, "only a person's own words can be a standing instruction"),
    ];
    rules.into_iter().find_map(|(broken, why)| broken.then(|| why.to_owned()))
}

fn state_of(view: &FactView) -> State {
    State {
        fact: view.fact.id.0,
        state: view.state,
        superseded_by: view.fact.superseded_by.map(|by| by.0),
        valid_to: view.fact.fact.valid_to.map(|to| to.0),
    }
}

fn set(connection: &Connection, state: &State) -> Done<()> {
    rows::change(
        connection,
        "UPDATE facts SET state = ?2, superseded_by = ?3, valid_to = ?4 WHERE id = ?1",
        params![state.fact, word(&state.state)?, state.superseded_by, state.valid_to],
    )?;
    Ok(())
}

// ---------------------------------------------------------------- reading

/// A fact, if it is of the scope.
fn find(connection: &Connection, scope: &Scope, id: FactId) -> Done<Option<FactView>> {
    let sql = format!("{COLUMNS} WHERE facts.id = ?1 AND scopes.name = ?2");
    rows::first(connection, &sql, params![id.0, scope.as_str()], read)
}

pub(crate) fn list(
    connection: &Connection,
    scope: &Scope,
    filter: FactFilter,
    search: Option<&str>,
    limit: u32,
) -> Done<Vec<FactView>> {
    let states = match filter {
        FactFilter::Open => "state = 'open'",
        FactFilter::Closed => "state <> 'open'",
        FactFilter::All => "1",
    };
    let Some(scope_id) = passages::known_scope(connection, scope)? else { return Ok(Vec::new()) };
    let select = format!("{COLUMNS} WHERE facts.scope = ?1 AND {states}");
    let newest = "ORDER BY facts.id DESC LIMIT ?2";
    let Some(search) = search else {
        return rows::all(connection, &format!("{select} {newest}"), params![scope_id, limit], read);
    };
    let Some(sought) = matching(&terms(search)) else { return Ok(Vec::new()) };
    let row = word_row(scope_id, 0);
    let with =
        format!("facts.id + {row} IN (SELECT rowid FROM fact_words WHERE fact_words MATCH ?3 AND rowid >= {row})");
    rows::all(connection, &format!("{select} AND {with} {newest}"), params![scope_id, limit, sought], read)
}

pub(crate) fn standing(connection: &Connection, scope: &Scope) -> Done<Vec<Fact>> {
    let sql = format!(
        "{COLUMNS} WHERE scopes.name = ?1 AND state = 'open' AND kind = 'standing'
         ORDER BY pinned DESC, facts.id DESC LIMIT {STANDING_MAX}"
    );
    rows::all(connection, &sql, [scope.as_str()], |row| Ok(read(row)?.fact))
}

pub(crate) fn history(connection: &Connection, scope: &Scope, id: FactId) -> Done<Option<FactHistory>> {
    let Some(view) = find(connection, scope, id)? else { return Ok(None) };
    let mut before: Vec<FactView> = Vec::new();
    let mut earlier = view.fact.fact.supersedes;
    while let Some(id) = earlier.filter(|_| before.len() < HISTORY_MAX) {
        let Some(view) = find(connection, scope, id)? else { break };
        earlier = view.fact.fact.supersedes;
        before.push(view);
    }
    let sql = "SELECT id, fact, what, by, at, undone_by IS NULL AND before <> '[]' FROM fact_changes
               WHERE fact = ?1 ORDER BY id LIMIT ?2";
    let limit = i64::try_from(HISTORY_MAX).unwrap_or(i64::MAX);
    let changes = rows::all(connection, sql, [id.0, limit], |row| {
        let what: String = row.get(2)?;
        Ok(FactChangeView {
            id: FactChangeId(row.get(0)?),
            fact: FactId(row.get(1)?),
            what: parse(&what)?,
            by: row.get(3)?,
            at: rows::time(row, 4)?,
            undoable: row.get(5)?,
        })
    })?;
    Ok(Some(FactHistory { view, before, changes }))
}

pub(crate) fn read(row: &Row<'_>) -> Done<FactView> {
    let words: [String; 3] = [row.get(2)?, row.get(8)?, row.get(16)?];
    let [kind, said, state] = &words;
    let source = match (row.get(5)?, row.get(6)?, row.get(7)?) {
        (Some(session), Some(first), Some(last)) => {
            Some(Source { session: SessionId(session), first: MessageSeq(first), last: MessageSeq(last) })
        }
        _ => None,
    };
    let time = |column: usize| -> Done<Option<Timestamp>> { Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp)) };
    let fact = NewFact {
        scope: Scope::stored(row.get(1)?),
        kind: parse(kind)?,
        subject: row.get(3)?,
        statement: row.get(4)?,
        source,
        said: parse(said)?,
        confidence: row.get(9)?,
        valid_from: time(10)?,
        valid_to: time(11)?,
        supersedes: row.get::<_, Option<i64>>(12)?.map(FactId),
        pinned: row.get(13)?,
    };
    let superseded_by = row.get::<_, Option<i64>>(15)?.map(FactId);
    let fact = Fact { id: FactId(row.get(0)?), fact, learned_at: rows::time(row, 14)?, superseded_by };
    Ok(FactView { fact, state: parse(state)? })
}

/// The word of an enum's variant, as it is stored.
fn word(value: &impl Serialize) -> Done<String> {
    match serde_json::to_value(value)? {
        serde_json::Value::String(word) => Ok(word),
        other => Err(broken(format!("`{other}` is not a word"))),
    }
}

fn parse<T: DeserializeOwned>(word: &str) -> Done<T> {
    Ok(serde_json::from_value(serde_json::Value::String(word.to_owned()))?)
}

/// The memory as it was last written into its file; empty: never.
pub(crate) fn shown(connection: &Connection) -> Done<String> {
    let text = rows::first(connection, "SELECT text FROM memory_file", [], |row| Ok(row.get(0)?))?;
    Ok(text.unwrap_or_default())
}

pub(crate) fn keep_shown(connection: &Connection, text: &str) -> Done<()> {
    let sql = "INSERT INTO memory_file (id, text) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET text = excluded.text";
    rows::change(connection, sql, [text])?;
    Ok(())
}
