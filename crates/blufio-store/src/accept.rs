//! Taking updates in: identity, fate and cursor in one transaction. It judges nobody; that has been done.

use crate::fault::Done;
use crate::{outbox, pairing, rows};
use blufio_core::ids::{InboxId, SessionId, SessionKey};
use blufio_core::limits::INBOX_PENDING_MAX;
use blufio_core::port::StoreError;
use blufio_core::record::{Accepted, Batch, Draft, Fate, Item, Route, Taken};
use blufio_core::time::Timestamp;
use rusqlite::{Connection, params};

pub(crate) fn accept(connection: &Connection, batch: &Batch) -> Done<Vec<Accepted>> {
    let accepted = batch.items.iter().map(|item| take(connection, batch, item)).collect::<Done<Vec<_>>>()?;
    if let Some(cursor) = batch.cursor {
        rows::change(
            connection,
            "INSERT INTO cursors (channel, account, cursor) VALUES (?1, ?2, ?3)
             ON CONFLICT (channel, account) DO UPDATE SET cursor = excluded.cursor",
            params![batch.channel.as_str(), batch.account, cursor],
        )?;
    }
    Ok(accepted)
}

/// The session of that key, created if it is new.
pub(crate) fn session(connection: &Connection, key: &SessionKey, at: Timestamp) -> Done<SessionId> {
    let find = "SELECT id FROM sessions WHERE key = ?1";
    if let Some(id) = rows::first(connection, find, [key.as_str()], |row| Ok(row.get(0)?))? {
        return Ok(SessionId(id));
    }
    rows::change(connection, "INSERT INTO sessions (key, last_at) VALUES (?1, ?2)", params![key.as_str(), at.0])?;
    Ok(SessionId(connection.last_insert_rowid()))
}

/// A row to be written; `Default` is one that is over at once and keeps nothing.
#[derive(Default)]
struct New<'a> {
    waits: bool,
    state: &'static str,
    outcome: Option<&'a str>,
    session: Option<SessionId>,
    route: Option<&'a Route>,
    principal: Option<String>,
    text: &'a str,
    answer: Option<&'a str>,
}

fn take(connection: &Connection, batch: &Batch, item: &Item) -> Done<Accepted> {
    if let Some(old) = repeat(connection, batch, item)? {
        return Ok(old);
    }
    let at = batch.at;
    let closed = |inbox| Accepted { inbox, new: true, taken: Taken::Closed };
    match &item.fate {
        Fate::Queue { session: key, route, principal, text, when_full, pending_max } => {
            let session = session(connection, key, at)?;
            if waiting(connection, None)? >= INBOX_PENDING_MAX {
                return Err(StoreError::Full("inbox").into());
            }
            let row = New { session: Some(session), route: Some(route), ..New::default() };
            if waiting(connection, Some(session))? >= *pending_max {
                let inbox = insert(connection, batch, item, &New { state: "dropped", outcome: Some("full"), ..row })?;
                answer(connection, when_full.as_ref(), Some(session), at)?;
                return Ok(closed(inbox));
            }
            let principal = Some(rows::principal_word(principal));
            let inbox =
                insert(connection, batch, item, &New { waits: true, state: "received", principal, text, ..row })?;
            Ok(Accepted { inbox, new: true, taken: Taken::Queued })
        }
        Fate::Stop { session: key, text, reply } => {
            let session = session(connection, key, at)?;
            let row = New {
                state: "done",
                outcome: Some("stop"),
                answer: Some(text),
                session: Some(session),
                ..New::default()
            };
            let inbox = insert(connection, batch, item, &row)?;
            stop(connection, session, inbox, at)?;
            answer(connection, reply.as_ref(), Some(session), at)?;
            Ok(closed(inbox))
        }
        Fate::Answer { text, reply } => {
            let row = New { state: "done", outcome: Some("answer"), answer: Some(text), ..New::default() };
            let inbox = insert(connection, batch, item, &row)?;
            answer(connection, reply.as_ref(), None, at)?;
            Ok(closed(inbox))
        }
        Fate::Pair { user, name, code, reply } => {
            let inbox =
                insert(connection, batch, item, &New { state: "done", outcome: Some("pairing"), ..New::default() })?;
            let asks = pairing::Asks { channel: &batch.channel, account: batch.account, user: *user, name, code };
            if pairing::ask(connection, &asks, at)? {
                answer(connection, Some(reply), None, at)?;
            }
            Ok(closed(inbox))
        }
        Fate::Edit { session: key, message, text } => {
            let session = session(connection, key, at)?;
            let row = New { state: "done", outcome: Some("edit"), session: Some(session), ..New::default() };
            let inbox = insert(connection, batch, item, &row)?;
            rows::change(
                connection,
                "UPDATE inbox SET text = ?3
                 WHERE session = ?1 AND state = 'received' AND reply_to = ?2 AND channel = ?4 AND account = ?5",
                params![session.0, message, text, batch.channel.as_str(), batch.account],
            )?;
            Ok(closed(inbox))
        }
        Fate::Drop { reason } => {
            insert(connection, batch, item, &New { state: "dropped", outcome: Some(reason), ..New::default() })
                .map(closed)
        }
        Fate::Poison => {
            insert(connection, batch, item, &New { state: "poison", outcome: Some("unreadable"), ..New::default() })
                .map(closed)
        }
    }
}

/// What was done with the same update before.
fn repeat(connection: &Connection, batch: &Batch, item: &Item) -> Done<Option<Accepted>> {
    rows::first(
        connection,
        "SELECT id, state FROM inbox WHERE channel = ?1 AND account = ?2 AND update_id = ?3 AND fingerprint = ?4",
        params![batch.channel.as_str(), batch.account, item.update, item.fingerprint],
        |row| {
            let state: String = row.get(1)?;
            let taken = if matches!(state.as_str(), "received" | "claimed") { Taken::Queued } else { Taken::Closed };
            Ok(Accepted { inbox: InboxId(row.get(0)?), new: false, taken })
        },
    )
}

/// Rows that wait, of one session or of all.
fn waiting(connection: &Connection, session: Option<SessionId>) -> Done<u32> {
    let count = match session {
        Some(session) => rows::first(
            connection,
            "SELECT count(*) FROM inbox WHERE session = ?1 AND state = 'received'",
            [session.0],
            |row| Ok(row.get(0)?),
        ),
        None => {
            rows::first(connection, "SELECT count(*) FROM inbox WHERE state = 'received'", [], |row| Ok(row.get(0)?))
        }
    };
    Ok(count?.unwrap_or(0))
}

fn insert(connection: &Connection, batch: &Batch, item: &Item, row: &New<'_>) -> Done<InboxId> {
    rows::change(
        connection,
        "INSERT INTO inbox (channel, account, update_id, fingerprint, state, outcome, session,
                            chat, thread, reply_to, principal_id, text, answer, raw, at, done_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        params![
            batch.channel.as_str(),
            batch.account,
            item.update,
            item.fingerprint,
            row.state,
            row.outcome,
            row.session.map(|session| session.0),
            row.route.map(|route| route.chat),
            row.route.and_then(|route| route.thread),
            row.route.and_then(|route| route.reply_to),
            row.principal,
            row.text,
            row.answer,
            &*item.raw,
            batch.at.0,
            if row.waits { None } else { Some(batch.at.0) },
        ],
    )?;
    Ok(InboxId(connection.last_insert_rowid()))
}

/// Drops what waits before `inbox`, and remembers that what runs must end.
fn stop(connection: &Connection, session: SessionId, inbox: InboxId, at: Timestamp) -> Done<()> {
    rows::change(
        connection,
        "UPDATE inbox SET state = 'dropped', outcome = 'by_owner', done_at = ?3
         WHERE session = ?1 AND state = 'received' AND id < ?2",
        params![session.0, inbox.0, at.0],
    )?;
    rows::change(connection, "UPDATE sessions SET stop_before = ?2 WHERE id = ?1", params![session.0, inbox.0])?;
    Ok(())
}

fn answer(connection: &Connection, draft: Option<&Draft>, session: Option<SessionId>, at: Timestamp) -> Done<()> {
    if let Some(draft) = draft {
        let reply = outbox::Reply { session, turn: None, first_sending: false };
        outbox::enqueue(connection, std::slice::from_ref(draft), &reply, at)?;
    }
    Ok(())
}
