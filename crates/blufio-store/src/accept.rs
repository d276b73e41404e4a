//! Taking updates in: identity, fate and cursor in one transaction. It judges nobody; that has been done.

use crate::chats::{self, Chat};
use crate::fault::Done;
use crate::overheard::{self, Reaction};
use crate::{approvals, ledger, outbox, pairing, rows};
use blufio_core::access::Principal;
use blufio_core::content::Content;
use blufio_core::ids::{ChannelName, InboxId, ScheduleId, SessionId, SessionKey};
use blufio_core::limits::INBOX_PENDING_MAX;
use blufio_core::port::StoreError;
use blufio_core::record::{Accepted, Batch, DecisionReplies, Draft, Fate, Item, Route, Taken};
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
    user: Option<i64>,
    text: &'a str,
    content: Option<String>,
    album: Option<&'a str>,
    answer: Option<&'a str>,
}

impl<'a> New<'a> {
    /// One that is over.
    fn done(outcome: &'a str) -> Self {
        Self { state: "done", outcome: Some(outcome), ..Self::default() }
    }

    /// One that is over and came to nothing.
    fn dropped(outcome: &'a str) -> Self {
        Self { state: "dropped", ..Self::done(outcome) }
    }
}

fn take(connection: &Connection, batch: &Batch, item: &Item) -> Done<Accepted> {
    if let Some(old) = repeat(connection, &Source::of(batch, item))? {
        return Ok(old);
    }
    let at = batch.at;
    let closed = |inbox| Accepted { inbox, new: true, taken: Taken::Closed };
    let chat = |id| Chat { channel: &batch.channel, account: batch.account, id };
    match &item.fate {
        Fate::Queue { session: key, route, principal, user, content, album, when_full, pending_max } => {
            let session = session(connection, key, at)?;
            if waiting(connection, None)? >= INBOX_PENDING_MAX {
                return Err(StoreError::Full("inbox").into());
            }
            spoken(connection, session, route)?;
            if waiting(connection, Some(session))? >= *pending_max {
                let row = New { session: Some(session), route: Some(route), ..New::dropped("full") };
                let inbox = insert(connection, batch, item, &row)?;
                answer(connection, when_full.as_ref(), Some(session), at)?;
                return Ok(closed(inbox));
            }
            let row = New {
                waits: true,
                state: "received",
                outcome: None,
                session: Some(session),
                route: Some(route),
                principal: Some(rows::principal_word(principal)),
                user: Some(*user),
                text: &content.text,
                content: rows::content_text(content)?,
                album: album.as_deref(),
                answer: None,
            };
            let inbox = insert(connection, batch, item, &row)?;
            Ok(Accepted { inbox, new: true, taken: Taken::Queued })
        }
        Fate::Overhear { session: key, heard, keep } => {
            let session = session(connection, key, at)?;
            let inbox = insert(connection, batch, item, &New { session: Some(session), ..New::done("overheard") })?;
            chats::reopen_of(connection, &batch.channel, batch.account, session)?;
            overheard::hear(connection, session, inbox, heard, *keep, at)?;
            Ok(closed(inbox))
        }
        Fate::React { chat: id, message, name, emoji } => {
            let reaction = Reaction { chat: chat(*id), message: *message, name, emoji };
            let Some((session, seen)) = overheard::reaction(connection, &reaction)? else {
                return insert(connection, batch, item, &New::dropped("not_ours")).map(closed);
            };
            let inbox = insert(connection, batch, item, &New { session: Some(session), ..New::done("reaction") })?;
            overheard::hear(connection, session, inbox, &seen, overheard::REACTIONS_MAX, at)?;
            Ok(closed(inbox))
        }
        Fate::Decide { approval, verdict, by, at: shown, replies } => {
            let decision = approvals::Decision {
                approval,
                verdict: *verdict,
                by,
                at: *shown,
                channel: &batch.channel,
                account: batch.account,
            };
            let waits = approvals::decide(connection, &decision, at)?;
            let reply = replies
                .as_deref()
                .map(|DecisionReplies { decided, late }| if waits.is_some() { decided } else { late });
            let row = New { answer: reply.map(|reply| reply.body.plain.as_str()), ..New::done("decision") };
            let inbox = insert(connection, batch, item, &row)?;
            answer(connection, reply, None, at)?;
            let taken = waits.map_or(Taken::AlreadyDecided, |session| Taken::Decided(session, *verdict));
            Ok(Accepted { inbox, new: true, taken })
        }
        Fate::Migrate { old, new } => {
            let inbox = insert(connection, batch, item, &New::done("migrated"))?;
            chats::migrate(connection, chat(*old), *new)?;
            Ok(closed(inbox))
        }
        Fate::Chat { chat: id, closed: why } => {
            let inbox = insert(connection, batch, item, &New::done("chat"))?;
            match why {
                Some(why) => chats::close(connection, chat(*id), why, at)?,
                None => chats::reopen(connection, chat(*id))?,
            }
            Ok(closed(inbox))
        }
        Fate::Link { user, name, code, welcome } => {
            let inbox = insert(connection, batch, item, &New::done("pairing"))?;
            let asks = pairing::Asks { channel: &batch.channel, account: batch.account, user: *user, name, code };
            let Some(pairing) = pairing::show_link(connection, &asks, at)? else { return Ok(closed(inbox)) };
            answer(connection, Some(welcome), None, at)?;
            Ok(Accepted { inbox, new: true, taken: Taken::Paired(pairing) })
        }
        Fate::Stop { session: key, text, reply } => {
            let session = session(connection, key, at)?;
            let row = New { answer: Some(text), session: Some(session), ..New::done("stop") };
            let inbox = insert(connection, batch, item, &row)?;
            stop(connection, session, inbox, at)?;
            answer(connection, reply.as_ref(), Some(session), at)?;
            Ok(closed(inbox))
        }
        Fate::Switch { killed, by, text, reply } => {
            let inbox = insert(connection, batch, item, &New { answer: Some(text), ..New::done("switch") })?;
            ledger::switch(connection, *killed, by, at)?;
            answer(connection, reply.as_ref(), None, at)?;
            Ok(closed(inbox))
        }
        Fate::Answer { text, reply } => {
            let inbox = insert(connection, batch, item, &New { answer: Some(text), ..New::done("answer") })?;
            answer(connection, reply.as_ref(), None, at)?;
            Ok(closed(inbox))
        }
        Fate::Pair { user, name, code, reply } => {
            let inbox = insert(connection, batch, item, &New::done("pairing"))?;
            let asks = pairing::Asks { channel: &batch.channel, account: batch.account, user: *user, name, code };
            if pairing::ask(connection, &asks, at)? {
                answer(connection, Some(reply), None, at)?;
            }
            Ok(closed(inbox))
        }
        Fate::Edit { session: key, message, text } => {
            let session = session(connection, key, at)?;
            let inbox = insert(connection, batch, item, &New { session: Some(session), ..New::done("edit") })?;
            rows::change(
                connection,
                "UPDATE inbox SET text = ?3
                 WHERE session = ?1 AND state = 'received' AND reply_to = ?2 AND channel = ?4 AND account = ?5",
                params![session.0, message, text, batch.channel.as_str(), batch.account],
            )?;
            Ok(closed(inbox))
        }
        Fate::Drop { reason } => insert(connection, batch, item, &New::dropped(reason)).map(closed),
        Fate::Poison => {
            insert(connection, batch, item, &New { state: "poison", ..New::done("unreadable") }).map(closed)
        }
    }
}

/// What was done with the same update before.
fn repeat(connection: &Connection, source: &Source<'_>) -> Done<Option<Accepted>> {
    rows::first(
        connection,
        "SELECT id, state, outcome FROM inbox
         WHERE channel = ?1 AND account = ?2 AND update_id = ?3 AND fingerprint = ?4",
        params![source.channel.as_str(), source.account, source.update, source.fingerprint],
        |row| {
            let (state, outcome): (String, Option<String>) = (row.get(1)?, row.get(2)?);
            let taken = match (state.as_str(), outcome.as_deref()) {
                ("received" | "claimed", _) => Taken::Queued,
                (_, Some("decision")) => Taken::AlreadyDecided,
                _ => Taken::Closed,
            };
            Ok(Accepted { inbox: InboxId(row.get(0)?), new: false, taken })
        },
    )
}

/// A turn that a schedule has brought about.
pub(crate) struct Scheduled<'a> {
    /// The schedule, and the time that it is for.
    pub(crate) slot: (ScheduleId, Timestamp),
    pub(crate) session: &'a SessionKey,
    pub(crate) route: &'a Route,
    pub(crate) principal: &'a Principal,
    pub(crate) user: Option<i64>,
    pub(crate) content: &'a Content,
}

/// Whether one more row may wait.
pub(crate) fn has_room(connection: &Connection, key: &SessionKey, pending_max: u32) -> Done<bool> {
    let here = "SELECT count(*) FROM inbox
                WHERE session = (SELECT id FROM sessions WHERE key = ?1) AND state = 'received'";
    let here = rows::first(connection, here, [key.as_str()], |row| Ok(row.get::<_, u32>(0)?))?.unwrap_or(0);
    Ok(here < pending_max && waiting(connection, None)? < INBOX_PENDING_MAX)
}

/// Writes a row that waits like any other. Its channel is that of the answer, so that it goes where the chat goes and is
/// dropped with whoever may not speak any more; what makes it the only one of its kind is the number, which no channel gives.
/// Nobody has spoken, so a chat that is shut stays shut. None if there is a row for the same time already.
pub(crate) fn scheduled(connection: &Connection, new: &Scheduled<'_>, at: Timestamp) -> Done<Option<InboxId>> {
    let Scheduled { slot: (schedule, slot), session: key, route, principal, user, content } = *new;
    let source = Source {
        channel: &route.channel,
        account: route.account,
        update: schedule.0.saturating_neg(),
        fingerprint: &format!("schedule:{schedule}:{slot}", slot = slot.0),
        raw: &[],
        at,
    };
    if repeat(connection, &source)?.is_some() {
        return Ok(None);
    }
    let session = session(connection, key, at)?;
    let sql = "UPDATE sessions SET chat = ?2 WHERE id = ?1 AND chat IS NULL";
    rows::change(connection, sql, params![session.0, route.chat])?;
    let row = New {
        waits: true,
        state: "received",
        outcome: None,
        session: Some(session),
        route: Some(route),
        principal: Some(rows::principal_word(principal)),
        user,
        text: &content.text,
        content: rows::content_text(content)?,
        album: None,
        answer: None,
    };
    write(connection, &source, &row).map(Some)
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

/// Somebody spoke to us there: the chat is open, and it is where the session's messages come from.
fn spoken(connection: &Connection, session: SessionId, route: &Route) -> Done<()> {
    let sql = "UPDATE sessions SET chat = ?2 WHERE id = ?1 AND chat IS NOT ?2";
    rows::change(connection, sql, params![session.0, route.chat])?;
    chats::reopen(connection, Chat::of(route))
}

/// Where a row comes from, and when.
struct Source<'a> {
    channel: &'a ChannelName,
    account: i64,
    update: i64,
    fingerprint: &'a str,
    raw: &'a [u8],
    at: Timestamp,
}

impl<'a> Source<'a> {
    fn of(batch: &'a Batch, item: &'a Item) -> Self {
        let Item { update, fingerprint, raw, .. } = item;
        Self { channel: &batch.channel, account: batch.account, update: *update, fingerprint, raw, at: batch.at }
    }
}

fn insert(connection: &Connection, batch: &Batch, item: &Item, row: &New<'_>) -> Done<InboxId> {
    write(connection, &Source::of(batch, item), row)
}

fn write(connection: &Connection, source: &Source<'_>, row: &New<'_>) -> Done<InboxId> {
    rows::change(
        connection,
        "INSERT INTO inbox (channel, account, update_id, fingerprint, state, outcome, session,
                            chat, thread, reply_to, principal_id, text, answer, raw, at, done_at, content, album, user)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
        params![
            source.channel.as_str(),
            source.account,
            source.update,
            source.fingerprint,
            row.state,
            row.outcome,
            row.session.map(|session| session.0),
            row.route.map(|route| route.chat),
            row.route.and_then(|route| route.thread),
            row.route.and_then(|route| route.reply_to),
            row.principal,
            row.text,
            row.answer,
            source.raw,
            source.at.0,
            if row.waits { None } else { Some(source.at.0) },
            row.content,
            row.album,
            row.user,
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

/// Answers where somebody has just spoken, so the chat is open.
fn answer(connection: &Connection, draft: Option<&Draft>, session: Option<SessionId>, at: Timestamp) -> Done<()> {
    if let Some(draft) = draft {
        chats::reopen(connection, Chat::of(&draft.route))?;
        let reply = outbox::Reply { session, ..outbox::Reply::default() };
        outbox::enqueue(connection, std::slice::from_ref(draft), &reply, at)?;
    }
    Ok(())
}
