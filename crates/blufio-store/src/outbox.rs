//! What is to be sent: written with the step that decided it, and moved on by the sender's marks.
//!
//! Per chat, rows go out in the order of their numbers, one at a time. A row that is given up takes the later rows of the
//! same reply with it, so that nobody reads the end of an answer without its beginning.

use crate::fault::{Done, not_found};
use crate::rows;
use blufio_core::ids::{ChannelName, OutboxId, SessionId, TurnNumber};
use blufio_core::limits::OUTBOX_AGE;
use blufio_core::record::{Draft, OutboxMark, OutboxRow, Rendered, Route};
use blufio_core::time::Timestamp;
use rusqlite::{Connection, params};
use std::time::Duration;

/// The longest pause before a row is sent again whose sends keep ending in the dark.
const UNCERTAIN_PAUSE: Duration = Duration::from_secs(30);

/// Where a group of drafts comes from.
pub(crate) struct Reply {
    pub(crate) session: Option<SessionId>,
    pub(crate) turn: Option<TurnNumber>,
    /// The first row is being sent already.
    pub(crate) first_sending: bool,
}

/// Writes the drafts of one reply.
pub(crate) fn enqueue(connection: &Connection, drafts: &[Draft], reply: &Reply, at: Timestamp) -> Done<Vec<OutboxId>> {
    let mut ids: Vec<OutboxId> = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let sending = reply.first_sending && ids.is_empty();
        let (state, attempt) = if sending { ("sending", 1) } else { ("queued", 0) };
        let Draft { route, body, replaces } = draft;
        rows::change(
            connection,
            "INSERT INTO outbox (session, turn, reply, channel, account, chat, thread, reply_to, body_rich, body_plain,
                                 replaces, state, attempt, not_before, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 0, ?14)",
            params![
                reply.session.map(|session| session.0),
                reply.turn.map(|turn| turn.0),
                ids.first().map_or(0, |first| first.0),
                route.channel.as_str(),
                route.account,
                route.chat,
                route.thread,
                route.reply_to,
                body.rich,
                body.plain,
                replaces,
                state,
                attempt,
                at.0,
            ],
        )?;
        let id = connection.last_insert_rowid();
        if ids.is_empty() {
            rows::change(connection, "UPDATE outbox SET reply = id WHERE id = ?1", [id])?;
        }
        ids.push(OutboxId(id));
    }
    Ok(ids)
}

/// Rows that wait, of all channels.
pub(crate) fn waiting(connection: &Connection) -> Done<u32> {
    let sql = "SELECT count(*) FROM outbox WHERE state IN ('queued', 'sending')";
    Ok(rows::first(connection, sql, [], |row| Ok(row.get(0)?))?.unwrap_or(0))
}

/// The oldest unfinished row of each chat, if it is not being sent.
pub(crate) fn heads(connection: &Connection, channel: &ChannelName, limit: u32) -> Done<Vec<OutboxRow>> {
    rows::all(
        connection,
        "SELECT id, channel, account, chat, thread, reply_to, body_rich, body_plain, replaces, attempt, not_before,
                maybe_duplicate, at
         FROM outbox AS row
         WHERE state IN ('queued', 'sending') AND channel = ?1 AND state = 'queued'
           AND NOT EXISTS (SELECT 1 FROM outbox AS ahead
                           WHERE ahead.state IN ('queued', 'sending') AND ahead.channel = row.channel
                             AND ahead.account = row.account AND ahead.chat = row.chat AND ahead.id < row.id)
         ORDER BY id LIMIT ?2",
        params![channel.as_str(), limit],
        |row| {
            Ok(OutboxRow {
                id: OutboxId(row.get(0)?),
                route: rows::route(row, 1)?,
                body: Rendered { rich: row.get(6)?, plain: row.get(7)? },
                replaces: row.get(8)?,
                attempt: row.get(9)?,
                not_before: rows::time(row, 10)?,
                maybe_duplicate: row.get(11)?,
                at: rows::time(row, 12)?,
            })
        },
    )
}

pub(crate) fn mark(connection: &Connection, marks: &[OutboxMark], at: Timestamp) -> Done<()> {
    marks.iter().try_for_each(|mark| apply(connection, mark, at))
}

fn apply(connection: &Connection, mark: &OutboxMark, at: Timestamp) -> Done<()> {
    match mark {
        OutboxMark::Sending(id) => {
            let changed = rows::change(
                connection,
                "UPDATE outbox SET state = 'sending', attempt = min(attempt + 1, 255) WHERE id = ?1 AND state = 'queued'",
                [id.0],
            )?;
            expect_one(changed, *id, "does not wait")
        }
        // True whatever the row says: a row given up a moment ago may have arrived after all.
        OutboxMark::Sent(id, message) => {
            let changed = rows::change(
                connection,
                "UPDATE outbox SET state = 'sent', message_id = ?2, error = NULL, done_at = ?3 WHERE id = ?1",
                params![id.0, message, at.0],
            )?;
            expect_one(changed, *id, "does not exist")
        }
        OutboxMark::Again { id, not_before, free, error } => {
            let changed = rows::change(
                connection,
                "UPDATE outbox SET state = 'queued', not_before = ?2, attempt = max(attempt - ?3, 0), error = ?4
                 WHERE id = ?1 AND state = 'sending'",
                params![id.0, not_before.0, free, error],
            )?;
            expect_one(changed, *id, "is not being sent")
        }
        OutboxMark::Uncertain { id, error } => {
            let found = uncertain(connection, *id, error, at)?;
            expect_one(usize::from(found), *id, "is not being sent")
        }
        OutboxMark::Dead(id, error) => {
            let found = give_up(connection, *id, error, at)?;
            expect_one(usize::from(found), *id, "is over already")
        }
        OutboxMark::ChatClosed(route, error) => chat_closed(connection, route, error, at),
    }
}

fn expect_one(changed: usize, id: OutboxId, problem: &str) -> Done<()> {
    if changed == 1 { Ok(()) } else { Err(not_found(format!("row {id} of the outbox {problem}"))) }
}

/// A send whose end nobody saw: once more with a warning, but an edit (which changes nothing the second time) without. From
/// the second time on after a pause as long as the row has waited, at most [`UNCERTAIN_PAUSE`]; given up when it is too old.
/// False if the row is not being sent.
pub(crate) fn uncertain(connection: &Connection, id: OutboxId, error: &str, at: Timestamp) -> Done<bool> {
    let again = rows::change(
        connection,
        "UPDATE outbox SET state = 'queued', maybe_duplicate = (replaces IS NULL), error = ?2,
                           not_before = ?3 + (attempt > 1) * max(0, min(?3 - at, ?4))
         WHERE id = ?1 AND state = 'sending' AND ?3 - at <= ?5",
        params![id.0, error, at.0, milliseconds(UNCERTAIN_PAUSE), milliseconds(OUTBOX_AGE)],
    )?;
    if again == 1 {
        return Ok(true);
    }
    let sending = "SELECT 1 FROM outbox WHERE id = ?1 AND state = 'sending'";
    if rows::first(connection, sending, [id.0], |_| Ok(()))?.is_none() {
        return Ok(false);
    }
    give_up(connection, id, &format!("uncertain for too long: {error}"), at)
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Gives a row up, and the later rows of its reply. False if it is over already.
pub(crate) fn give_up(connection: &Connection, id: OutboxId, error: &str, at: Timestamp) -> Done<bool> {
    let changed = rows::change(
        connection,
        "UPDATE outbox SET state = 'dead', error = ?2, done_at = ?3 WHERE id = ?1 AND state IN ('queued', 'sending')",
        params![id.0, error, at.0],
    )?;
    rows::change(
        connection,
        "UPDATE outbox SET state = 'dead', error = 'an earlier part of the reply was not delivered', done_at = ?2
         WHERE state IN ('queued', 'sending') AND reply = (SELECT reply FROM outbox WHERE id = ?1) AND id > ?1",
        params![id.0, at.0],
    )?;
    Ok(changed == 1)
}

fn chat_closed(connection: &Connection, route: &Route, error: &str, at: Timestamp) -> Done<()> {
    rows::change(
        connection,
        "UPDATE outbox SET state = 'dead', error = ?4, done_at = ?5
         WHERE state IN ('queued', 'sending') AND channel = ?1 AND account = ?2 AND chat = ?3",
        params![route.channel.as_str(), route.account, route.chat, error, at.0],
    )?;
    Ok(())
}
