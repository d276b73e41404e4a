//! Messages as they can be found again: made of the text of messages, behind everything else, and removed with them.
//!
//! How far a session is indexed stands in its row and moves in the same transaction, so nothing is left out and nothing is
//! indexed twice, wherever a process dies.

use crate::fault::Done;
use crate::rows;
use blufio_core::ids::{MessageSeq, PassageId, SessionId};
use blufio_core::memory::moment::day_words;
use blufio_core::memory::words::{head, indexable};
use blufio_core::memory::{Passage, Scope, Source};
use blufio_core::message::{Body, Origin, Part, visible_text};
use blufio_core::record::{Indexing, PASSAGE_BEFORE_BYTES_MAX, PASSAGE_BYTES_MAX};
use blufio_core::time::Timestamp;
use rusqlite::{Connection, Row, params};
use std::collections::HashSet;

/// The session of the agent's own looks, in which nobody speaks.
pub(crate) const UNINDEXED_SESSION: &str = "heartbeat:main";
/// Bits of the number of a passage or fact; those above are its scope's.
const SCOPE_SHIFT: u32 = 40;

/// The columns that [`read`] reads.
pub(crate) const COLUMNS: &str = "SELECT passages.id, scopes.name, session, seq, at, speaker, text, others
                                  FROM passages JOIN scopes ON scopes.id = passages.scope";

/// A message that is no passage yet.
struct Message {
    session: SessionId,
    seq: MessageSeq,
    parts: Vec<Part>,
    at: Timestamp,
    scope: Scope,
    speaker: String,
}

pub(crate) fn index(connection: &Connection, indexing: &Indexing) -> Done<bool> {
    let behind = "SELECT id, indexed, last_message, key FROM sessions WHERE indexed < last_message ORDER BY id";
    let mut room = indexing.messages_max;
    let sessions = rows::all(connection, &format!("{behind} LIMIT {}", room.max(1)), [], |row| {
        let place: (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok((place, row.get::<_, String>(3)?))
    })?;
    for ((session, indexed, last), key) in sessions {
        if room == 0 {
            break;
        }
        let messages =
            if key == UNINDEXED_SESSION { Vec::new() } else { messages(connection, session, indexed, room, indexing)? };
        let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        // Messages that are not there any more have no numbers to wait for.
        let more = messages.last().filter(|_| count >= room).map(|message| message.seq.0);
        let reached = more.unwrap_or(last);
        room = room.saturating_sub(count.max(1));
        messages.into_iter().try_for_each(|message| add(connection, message, indexing))?;
        rows::change(connection, "UPDATE sessions SET indexed = ?2 WHERE id = ?1", [session, reached])?;
    }
    Ok(rows::first(connection, &format!("{behind} LIMIT 1"), [], |_| Ok(()))?.is_some())
}

/// How many messages are still to be looked at.
pub(crate) fn unindexed(connection: &Connection) -> Done<u64> {
    let sum = "SELECT coalesce(sum(last_message - indexed), 0) FROM sessions WHERE indexed < last_message";
    Ok(rows::first(connection, sum, [], |row| rows::unsigned(row, 0))?.unwrap_or(0))
}

fn messages(connection: &Connection, session: i64, after: i64, limit: u32, indexing: &Indexing) -> Done<Vec<Message>> {
    // A person is called what they call themselves, or as they were paired, or what they are.
    let sql = "SELECT messages.seq, role = 'assistant', parts, messages.at,
                      iif(sessions.chat < 0, 'chat:' || key, turns.principal_id),
                      coalesce(inbox.content ->> '$.speaker',
                               (SELECT name FROM pairings
                                WHERE user = coalesce(inbox.user, CAST(substr(turns.principal_id, 8) AS INTEGER)) LIMIT 1),
                               turns.principal_id)
               FROM messages JOIN sessions ON sessions.id = messages.session
               JOIN turns ON turns.session = messages.session AND turns.turn = messages.turn
               LEFT JOIN inbox ON inbox.id = turns.inbox
               WHERE messages.session = ?1 AND messages.seq > ?2 ORDER BY messages.seq LIMIT ?3";
    rows::all(connection, sql, params![session, after, limit], |row| {
        let parts: String = row.get(2)?;
        let agent: bool = row.get(1)?;
        Ok(Message {
            session: SessionId(session),
            seq: MessageSeq(row.get(0)?),
            parts: rows::parts(&parts)?,
            at: rows::time(row, 3)?,
            scope: Scope::stored(row.get(4)?),
            speaker: if agent { indexing.agent.clone() } else { row.get(5)? },
        })
    })
}

fn add(connection: &Connection, message: Message, indexing: &Indexing) -> Done<()> {
    let Message { session, seq, mut parts, at, scope, speaker } = message;
    parts.retain(|part| matches!(part.body, Body::Text { .. }) && part.origin != Origin::Engine);
    let text = visible_text(&parts);
    let text = head(text.trim(), PASSAGE_BYTES_MAX);
    if text.is_empty() {
        return Ok(());
    }
    let others = parts.iter().any(|part| part.origin.is_foreign());
    let scope = scope_id(connection, &scope)?;
    rows::change(
        connection,
        "INSERT INTO passages (scope, session, seq, at, speaker, text, others) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![scope, session.0, seq.0, at.0, speaker, text, others],
    )?;
    let words = Words {
        scope,
        id: connection.last_insert_rowid(),
        dated: &format!("{} {speaker}", day_words(at, indexing.ahead_minutes)),
        said: text,
        around: &before(connection, session.0, seq.0)?,
    };
    words.add(connection, "passage_words")
}

/// The end of what was said before, or nothing.
fn before(connection: &Connection, session: i64, seq: i64) -> Done<String> {
    let sql = "SELECT text FROM passages WHERE session = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT 1";
    let text: Option<String> = rows::first(connection, sql, [session, seq], |row| Ok(row.get(0)?))?;
    let text = text.unwrap_or_default();
    let from = text.ceil_char_boundary(text.len().saturating_sub(PASSAGE_BEFORE_BYTES_MAX));
    Ok(text.get(from..).unwrap_or_default().to_owned())
}

/// A row of an index of words.
pub(crate) struct Words<'a> {
    pub(crate) scope: i64,
    pub(crate) id: i64,
    pub(crate) dated: &'a str,
    pub(crate) said: &'a str,
    pub(crate) around: &'a str,
}

impl Words<'_> {
    pub(crate) fn add(&self, connection: &Connection, table: &str) -> Done<()> {
        rows::change(
            connection,
            &format!("INSERT INTO {table} (rowid, dated, said, around) VALUES (?1, ?2, ?3, ?4)"),
            params![word_row(self.scope, self.id), indexable(self.dated), indexable(self.said), indexable(self.around)],
        )?;
        Ok(())
    }
}

/// The number of a row in an index of words: those of a scope follow each other.
pub(crate) const fn word_row(scope: i64, id: i64) -> i64 {
    scope << SCOPE_SHIFT | id
}

/// What a row in an index of words is about.
pub(crate) const fn of_word_row(row: i64) -> i64 {
    row & ((1 << SCOPE_SHIFT) - 1)
}

/// Removes the passages of some messages, with their vectors, and their words also from what is indexed of the messages after.
pub(crate) fn forget(connection: &Connection, messages: &Source) -> Done<()> {
    let (session, range) = (messages.session.0, [messages.session.0, messages.first.0, messages.last.0]);
    let gone = "DELETE FROM passages WHERE session = ?1 AND seq BETWEEN ?2 AND ?3 RETURNING scope, id";
    let gone = rows::all(connection, gone, range, |row| Ok(word_row(row.get(0)?, row.get(1)?)))?;
    for row in &gone {
        rows::change(connection, "DELETE FROM passage_words WHERE rowid = ?1", [row])?;
    }
    let next = "SELECT scope, id, seq FROM passages WHERE session = ?1 AND seq > ?2 ORDER BY seq LIMIT 1";
    let next = rows::first(connection, next, [session, messages.last.0], |row| {
        Ok((word_row(row.get(0)?, row.get(1)?), row.get::<_, i64>(2)?))
    })?;
    if let (Some((next, seq)), false) = (next, gone.is_empty()) {
        let around = indexable(&before(connection, session, seq)?);
        rows::change(connection, "UPDATE passage_words SET around = ?2 WHERE rowid = ?1", params![next, around])?;
    }
    Ok(())
}

/// The passages of some messages.
pub(crate) fn ids(connection: &Connection, messages: &Source) -> Done<HashSet<i64>> {
    let sql = "SELECT id FROM passages WHERE session = ?1 AND seq BETWEEN ?2 AND ?3";
    let range = [messages.session.0, messages.first.0, messages.last.0];
    Ok(rows::all(connection, sql, range, |row| Ok(row.get(0)?))?.into_iter().collect())
}

/// The number of a scope, which is given one if it has none.
pub(crate) fn scope_id(connection: &Connection, scope: &Scope) -> Done<i64> {
    if let Some(id) = known_scope(connection, scope)? {
        return Ok(id);
    }
    rows::change(connection, "INSERT INTO scopes (name) VALUES (?1)", [scope.as_str()])?;
    Ok(connection.last_insert_rowid())
}

/// The number of a scope that has anything.
pub(crate) fn known_scope(connection: &Connection, scope: &Scope) -> Done<Option<i64>> {
    rows::first(connection, "SELECT id FROM scopes WHERE name = ?1", [scope.as_str()], |row| Ok(row.get(0)?))
}

pub(crate) fn read(row: &Row<'_>) -> Done<Passage> {
    Ok(Passage {
        id: PassageId(row.get(0)?),
        scope: Scope::stored(row.get(1)?),
        session: SessionId(row.get(2)?),
        seq: MessageSeq(row.get(3)?),
        at: rows::time(row, 4)?,
        speaker: row.get(5)?,
        text: row.get(6)?,
        foreign: row.get(7)?,
    })
}
