//! What is to be sent: written with the step that decided it, and moved on by the sender's marks.
//!
//! Per chat, rows go out in the order of their numbers, one at a time; only notices that must wait hold up nobody. A row that
//! is given up takes the later rows of the same reply with it, so that nobody reads the end of an answer without its
//! beginning; a file that is given up does not, since the words can be read without it.

use crate::chats::{self, Chat};
use crate::fault::{Done, broken, not_found};
use crate::{approvals, rows};
use blufio_core::ids::{ChannelName, OutboxId, SessionId, TurnNumber};
use blufio_core::limits::OUTBOX_AGE;
use blufio_core::record::{Committed, Draft, GivenUp, OutboxMark, OutboxRow, Payload, Rendered, Telling};
use blufio_core::time::Timestamp;
use rusqlite::{Connection, Row, params};
use std::time::Duration;

/// The longest pause before a row is sent again whose sends keep ending in the dark.
const UNCERTAIN_PAUSE: Duration = Duration::from_secs(30);
/// How long after it was given up a row is among all that are sent again.
const REVIVED: Duration = Duration::from_secs(24 * 3600);

/// Where a group of drafts comes from.
#[derive(Clone, Copy, Default)]
pub(crate) struct Reply {
    pub(crate) session: Option<SessionId>,
    pub(crate) turn: Option<TurnNumber>,
    /// The first row is being sent already.
    pub(crate) first_sending: bool,
    /// They end the reply that this row is a part of.
    pub(crate) continues: Option<OutboxId>,
}

/// Writes the drafts of one reply. What is for a shut chat is given up at once, also if it was to be sent at once.
pub(crate) fn enqueue(connection: &Connection, drafts: &[Draft], reply: &Reply, at: Timestamp) -> Done<Committed> {
    let mut committed = Committed::default();
    for draft in drafts {
        let ids = &committed.outbox;
        let shut = chats::shut(connection, Chat::of(&draft.route))?;
        let (state, attempt) = match &shut {
            Some(_) => ("dead", 0),
            None if reply.first_sending && ids.is_empty() => ("sending", 1),
            None => ("queued", 0),
        };
        let Draft { route, body, replaces, payload, not_before } = draft;
        let (kind, payload) = payload_columns(payload)?;
        rows::change(
            connection,
            "INSERT INTO outbox (session, turn, reply, channel, account, chat, thread, reply_to, body_rich, body_plain,
                                 replaces, state, attempt, not_before, at, kind, payload, error, done_at)
             VALUES (?1, ?2, coalesce((SELECT reply FROM outbox WHERE id = ?3), 0), ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,
                     ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
            params![
                reply.session.map(|session| session.0),
                reply.turn.map(|turn| turn.0),
                ids.first().copied().or(reply.continues).map(|first| first.0),
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
                not_before.0,
                at.0,
                kind,
                payload,
                shut,
                shut.as_ref().map(|_| at.0),
            ],
        )?;
        let id = connection.last_insert_rowid();
        rows::change(connection, "UPDATE outbox SET reply = id WHERE id = ?1 AND reply = 0", [id])?;
        committed.outbox.push(OutboxId(id));
        if let Some(reason) = shut {
            committed.given_up.push(GivenUp { id: OutboxId(id), chat: draft.route.chat, reason });
        }
    }
    Ok(committed)
}

/// The word for queries, and what the word does not say.
fn payload_columns(payload: &Payload) -> Done<(&'static str, Option<String>)> {
    Ok(match payload {
        Payload::Text => ("text", None),
        Payload::Notice => ("notice", None),
        Payload::File(_) => ("file", Some(serde_json::to_string(payload)?)),
        Payload::Question { .. } => ("question", Some(serde_json::to_string(payload)?)),
    })
}

/// Reads the columns `kind, payload` from `first` on.
pub(crate) fn payload(row: &Row<'_>, first: usize) -> Done<Payload> {
    let (kind, stored): (String, Option<String>) = (row.get(first)?, row.get(first + 1)?);
    match (kind.as_str(), stored) {
        ("text", None) => Ok(Payload::Text),
        ("notice", None) => Ok(Payload::Notice),
        (_, Some(stored)) => Ok(serde_json::from_str(&stored)?),
        (kind, None) => Err(broken(format!("a row of the outbox of the kind `{kind}` without its content"))),
    }
}

/// Tells what was not told within the pause; the messages to each chat are a reply of their own.
pub(crate) fn tell(connection: &Connection, telling: &Telling, at: Timestamp) -> Done<bool> {
    // A clock that was ahead must not silence a topic.
    let news = rows::change(
        connection,
        "INSERT INTO told (topic, at) VALUES (?1, ?2)
         ON CONFLICT (topic) DO UPDATE SET at = excluded.at WHERE told.at > excluded.at OR excluded.at - told.at >= ?3",
        params![telling.topic, at.0, milliseconds(telling.every)],
    )?;
    if news == 0 {
        return Ok(false);
    }
    for drafts in telling.drafts.chunk_by(|one, next| one.route == next.route) {
        enqueue(connection, drafts, &Reply::default(), at)?;
    }
    Ok(true)
}

/// Sends given-up rows again: one of any age, or all of the last day whose chats are open. The rest of a reply comes with
/// each, so that its parts arrive in order.
pub(crate) fn revive(
    connection: &Connection,
    channel: &ChannelName,
    row: Option<OutboxId>,
    at: Timestamp,
) -> Done<u32> {
    let revived = rows::change(
        connection,
        "UPDATE outbox SET state = 'queued', attempt = 0, not_before = 0, error = NULL, done_at = NULL, at = ?3
         WHERE state = 'dead' AND channel = ?1 AND kind <> 'question' AND withdrawn = 0 AND reply IN (
             SELECT reply FROM outbox AS chosen
             WHERE chosen.state = 'dead' AND chosen.channel = ?1 AND chosen.kind <> 'question' AND chosen.withdrawn = 0
               AND (chosen.id = ?2 OR (?2 IS NULL AND chosen.done_at > ?4 AND NOT EXISTS (
                   SELECT 1 FROM closed_chats WHERE closed_chats.channel = chosen.channel
                     AND closed_chats.account = chosen.account AND closed_chats.chat = chosen.chat))))",
        params![channel.as_str(), row.map(|row| row.0), at.0, at.0.saturating_sub(milliseconds(REVIVED))],
    )?;
    Ok(u32::try_from(revived).unwrap_or(u32::MAX))
}

/// Rows that wait, of all channels.
pub(crate) fn waiting(connection: &Connection) -> Done<u32> {
    let sql = "SELECT count(*) FROM outbox WHERE state IN ('queued', 'sending')";
    Ok(rows::first(connection, sql, [], |row| Ok(row.get(0)?))?.unwrap_or(0))
}

/// The oldest unfinished row of each chat, if nothing is being sent there. A notice or question that must wait, and its later parts
/// that wait for it, are passed by everything else.
pub(crate) fn heads(connection: &Connection, channel: &ChannelName, limit: u32, at: Timestamp) -> Done<Vec<OutboxRow>> {
    rows::all(
        connection,
        "SELECT id, channel, account, chat, thread, reply_to, body_rich, body_plain, replaces, attempt, not_before,
                maybe_duplicate, at, kind, payload
         FROM outbox AS row
         WHERE state IN ('queued', 'sending') AND channel = ?1 AND state = 'queued'
           AND NOT (kind IN ('notice', 'question') AND not_before > ?3)
           AND NOT EXISTS (SELECT 1 FROM outbox AS other
                           WHERE other.state IN ('queued', 'sending') AND other.channel = row.channel
                             AND other.account = row.account AND other.chat = row.chat
                             AND (other.state = 'sending' OR (other.id < row.id AND (
                                 other.reply = row.reply OR other.kind NOT IN ('notice', 'question') OR NOT EXISTS (
                                     SELECT 1 FROM outbox AS part
                                     WHERE part.state IN ('queued', 'sending') AND part.reply = other.reply
                                       AND part.id <= other.id AND part.kind IN ('notice', 'question') AND part.not_before > ?3)))))
         ORDER BY id LIMIT ?2",
        params![channel.as_str(), limit, at.0],
        |row| {
            Ok(OutboxRow {
                id: OutboxId(row.get(0)?),
                route: rows::route(row, 1)?,
                body: Rendered { rich: row.get(6)?, plain: row.get(7)? },
                replaces: row.get(8)?,
                payload: payload(row, 13)?,
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
            expect_one(changed, *id, "does not exist")?;
            approvals::sent(connection, *id, *message, at)
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
        OutboxMark::Uncertain { id, anew, error } => {
            let found = uncertain(connection, *id, *anew, error, at)?;
            expect_one(usize::from(found), *id, "is not being sent")
        }
        OutboxMark::Dead(id, error) => {
            let found = give_up(connection, *id, error, at)?;
            expect_one(usize::from(found), *id, "is over already")
        }
        OutboxMark::ChatClosed(route, error) => chats::close(connection, Chat::of(route), error, at),
        OutboxMark::Migrated { id, route, new } => {
            rows::change(
                connection,
                "UPDATE outbox SET state = 'queued', not_before = 0, attempt = max(attempt - 1, 0)
                 WHERE id = ?1 AND state = 'sending'",
                [id.0],
            )?;
            chats::migrate(connection, Chat::of(route), *new)
        }
        OutboxMark::AskedAgain { id, void, fresh, question, buttons } => {
            approvals::ask_again(connection, &approvals::Again { row: *id, void, fresh, question, buttons }, at)
        }
    }
}

fn expect_one(changed: usize, id: OutboxId, problem: &str) -> Done<()> {
    if changed == 1 { Ok(()) } else { Err(not_found(format!("row {id} of the outbox {problem}"))) }
}

/// A send whose end nobody saw. A text goes out once more with a warning, but an edit (which changes nothing the second time)
/// without, unless it had become a new message (`anew`); from the second time on after a pause as long as the row has waited, at most [`UNCERTAIN_PAUSE`]; given up when
/// it is too old. A file is given up, a question is asked again under another id. False if the row is not being sent.
pub(crate) fn uncertain(connection: &Connection, id: OutboxId, anew: bool, error: &str, at: Timestamp) -> Done<bool> {
    let sending = rows::first(
        connection,
        "SELECT kind, payload, body_rich, body_plain FROM outbox WHERE id = ?1 AND state = 'sending'",
        [id.0],
        |row| Ok((payload(row, 0)?, Rendered { rich: row.get(2)?, plain: row.get(3)? })),
    )?;
    match sending {
        None => return Ok(false),
        Some((Payload::Text | Payload::Notice, _)) => {}
        Some((Payload::File(_), _)) => return give_up(connection, id, "nobody knows whether this file arrived", at),
        Some((Payload::Question { approval, buttons }, body)) => {
            approvals::ask_again_by_chance(connection, id, (&approval, &buttons), &body, at)?;
            return Ok(true);
        }
    }
    let again = rows::change(
        connection,
        "UPDATE outbox SET state = 'queued', maybe_duplicate = (maybe_duplicate OR ?6 OR replaces IS NULL),
                           error = ?2,
                           not_before = ?3 + (attempt > 1) * max(0, min(?3 - at, ?4))
         WHERE id = ?1 AND state = 'sending' AND ?3 - at <= ?5",
        params![id.0, error, at.0, milliseconds(UNCERTAIN_PAUSE), milliseconds(OUTBOX_AGE), anew],
    )?;
    if again == 1 {
        return Ok(true);
    }
    give_up(connection, id, &format!("uncertain for too long: {error}"), at)
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Gives a row up, and unless it is a file the later rows of its reply. False if it is over already.
pub(crate) fn give_up(connection: &Connection, id: OutboxId, error: &str, at: Timestamp) -> Done<bool> {
    let changed = rows::change(
        connection,
        "UPDATE outbox SET state = 'dead', error = ?2, done_at = ?3 WHERE id = ?1 AND state IN ('queued', 'sending')",
        params![id.0, error, at.0],
    )?;
    rows::change(
        connection,
        "UPDATE outbox SET state = 'dead', error = 'an earlier part of the reply was not delivered', done_at = ?2
         WHERE state IN ('queued', 'sending') AND id > ?1
           AND reply = (SELECT reply FROM outbox WHERE id = ?1 AND kind <> 'file')",
        params![id.0, at.0],
    )?;
    Ok(changed == 1)
}
