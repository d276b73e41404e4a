//! Reads for showing. They wait behind the reads that a message needs.

use crate::fault::{Done, not_found};
use crate::{
    approvals, audit, chats, facts, grants, ledger, open, outbox, pairing, passages, rows, runs, schedules, snapshot,
};
use blufio_core::ids::{
    AttachmentId, ChannelName, InboxId, MessageSeq, ModelId, OutboxId, SessionId, SessionKey, TurnNumber,
};
use blufio_core::memory::vector::DIMENSIONS;
use blufio_core::money::MicroUsd;
use blufio_core::record::{
    ChannelView, DeadView, InboxView, MemoryStatus, MessageView, Payload, Query, SessionView, StoreStatus, TurnView,
    View,
};
use blufio_core::time::Timestamp;
use rusqlite::{Connection, params};
use std::collections::BTreeSet;

/// Turns in one answer to [`Query::Journal`]. More: the newest ones.
const JOURNAL_TURNS_MAX: u32 = 100;
/// Given-up messages in one answer to [`Query::Channel`]. More: the newest ones.
const DEAD_SHOWN_MAX: u32 = 100;
/// Characters that are shown of each.
const DEAD_CHARACTERS_MAX: usize = 200;
const DAY_MS: i64 = 24 * 3600 * 1000;

pub(crate) fn view(connection: &Connection, query: &Query, at: Timestamp) -> Done<View> {
    match query {
        Query::Status => status(connection, at).map(View::Status),
        Query::Sessions { limit } => sessions(connection, *limit).map(View::Sessions),
        Query::Messages { session, limit } => messages(connection, session, *limit).map(View::Messages),
        Query::Journal { session, turn } => journal(connection, session, *turn).map(View::Journal),
        Query::Pairings => Ok(View::Pairings(pairing::approved(connection)?, pairing::waiting(connection, at)?)),
        Query::Inbox(id) => inbox(connection, *id).map(View::Inbox),
        Query::Waiting(session) => waiting(connection, session).map(View::Waiting),
        Query::Approvals => approvals::open(connection, at).map(View::Approvals),
        Query::Grants => grants::list(connection).map(View::Grants),
        Query::Audit { limit, before } => audit::list(connection, *limit, *before).map(View::Audit),
        Query::Channel(channel) => way_out(connection, channel).map(View::Channel),
        Query::Attachments => attachments(connection).map(View::Attachments),
        Query::Thread { channel, account, chat, message } => {
            thread(connection, channel, *account, *chat, *message).map(View::Thread)
        }
        Query::Session(key) => {
            let sql = "SELECT id FROM sessions WHERE key = ?1";
            let found = rows::first(connection, sql, [key.as_str()], |row| Ok(SessionId(row.get(0)?)))?;
            Ok(View::Session(found))
        }
        Query::Spent { day, month } => ledger::spent(connection, *day, *month).map(View::Spent),
        Query::Costs { by, since, session } => {
            ledger::costs(connection, *by, *since, session.as_ref()).map(View::Costs)
        }
        Query::Schedules { session } => schedules::list(connection, session.as_ref()).map(View::Schedules),
        Query::Runs { schedule, limit } => {
            schedules::known(connection, *schedule)?;
            runs::list(connection, *schedule, *limit).map(View::Runs)
        }
        Query::Facts { scope, filter, search, limit } => {
            facts::list(connection, scope, *filter, search.as_deref(), *limit).map(View::Facts)
        }
        Query::Fact { scope, id } => Ok(View::Fact(facts::history(connection, scope, *id)?.map(Box::new))),
        Query::Standing(scope) => facts::standing(connection, scope).map(View::Standing),
        Query::Unlearned { before, limit } => snapshot::unlearned(connection, *before, *limit).map(View::Unlearned),
        Query::MemoryFile => facts::shown(connection).map(View::MemoryFile),
        Query::Memory => memory(connection).map(View::Memory),
    }
}

fn count(connection: &Connection, sql: &str) -> Done<u64> {
    Ok(rows::first(connection, sql, [], |row| rows::unsigned(row, 0))?.unwrap_or(0))
}

fn sum(connection: &Connection, condition: &str, parameters: impl rusqlite::Params) -> Done<MicroUsd> {
    let sql = format!("SELECT sum(amount) FROM ledger WHERE {condition}");
    Ok(rows::first(connection, &sql, parameters, |row| rows::money(row, 0))?.unwrap_or_default())
}

fn status(connection: &Connection, at: Timestamp) -> Done<StoreStatus> {
    let yesterday = at.0.saturating_sub(DAY_MS);
    let oldest = "SELECT min(at) FROM outbox
                  WHERE state IN ('queued', 'sending') AND NOT (kind IN ('notice', 'question') AND not_before > ?1)";
    let oldest: Option<i64> = rows::first(connection, oldest, [at.0], |row| Ok(row.get(0)?))?.flatten();
    let turns =
        rows::all(connection, "SELECT coalesce(outcome, 'running'), count(*) FROM turns GROUP BY 1", [], |row| {
            Ok((row.get(0)?, rows::unsigned(row, 1)?))
        })?;
    let dead = rows::all(
        connection,
        "SELECT chat, coalesce(error, '') FROM outbox
         WHERE done_at IS NOT NULL AND done_at > ?1 AND state = 'dead' AND withdrawn = 0
         ORDER BY done_at DESC, id DESC LIMIT 10",
        [yesterday],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let pages = count(connection, "SELECT page_count FROM pragma_page_count")?;
    Ok(StoreStatus {
        sessions: count(connection, "SELECT count(*) FROM sessions")?,
        turns: turns.into_iter().collect(),
        inbox_pending: count(connection, "SELECT count(*) FROM inbox WHERE state = 'received'")?,
        outbox_pending: u64::from(outbox::waiting(connection)?),
        outbox_oldest_ms: oldest.map_or(0, |oldest| u64::try_from(at.0.saturating_sub(oldest)).unwrap_or(0)),
        outbox_dead: dead,
        spent_day: sum(connection, "state IN ('settled', 'counted_estimate') AND opened_at > ?1", [yesterday])?,
        spent: sum(connection, "state IN ('settled', 'counted_estimate')", [])?,
        estimated: sum(connection, "state = 'counted_estimate'", [])?,
        held: sum(connection, "state = 'held'", [])?,
        database_bytes: pages.saturating_mul(open::PAGE),
        schema: open::schema(),
    })
}

fn memory(connection: &Connection) -> Done<MemoryStatus> {
    let vectors = count(connection, "SELECT count(*) FROM vectors")?;
    let words = "SELECT (SELECT coalesce(sum(length(block)), 0) FROM passage_words_data)
                      + (SELECT coalesce(sum(length(block)), 0) FROM fact_words_data)";
    Ok(MemoryStatus {
        passages: count(connection, "SELECT count(*) FROM passages")?,
        unindexed: passages::unindexed(connection)?,
        facts_open: count(connection, "SELECT count(*) FROM facts WHERE state = 'open'")?,
        facts_closed: count(connection, "SELECT count(*) FROM facts WHERE state <> 'open'")?,
        vectors,
        words_bytes: count(connection, words)?,
        vectors_bytes: vectors.saturating_mul(DIMENSIONS as u64),
    })
}

fn sessions(connection: &Connection, limit: u32) -> Done<Vec<SessionView>> {
    rows::all(
        connection,
        "SELECT key, last_at,
                (SELECT count(*) FROM messages WHERE session = sessions.id),
                (SELECT count(*) FROM turns WHERE session = sessions.id),
                EXISTS (SELECT 1 FROM turns WHERE session = sessions.id AND state = 'running'),
                (SELECT count(*) FROM inbox WHERE session = sessions.id AND state = 'received'),
                (SELECT sum(amount) FROM ledger WHERE session = sessions.id AND state IN ('settled', 'counted_estimate')),
                (SELECT model FROM epochs WHERE session = sessions.id ORDER BY number DESC LIMIT 1)
         FROM sessions ORDER BY last_at DESC, id DESC LIMIT ?1",
        [limit],
        |row| {
            let (key, model): (String, Option<String>) = (row.get(0)?, row.get(7)?);
            Ok(SessionView {
                key: SessionKey::new(key),
                messages: rows::unsigned(row, 2)?,
                turns: rows::unsigned(row, 3)?,
                running: row.get(4)?,
                pending: rows::unsigned(row, 5)?,
                cost: rows::money(row, 6)?,
                model: model.map(ModelId::new),
                last: rows::time(row, 1)?,
            })
        },
    )
}

fn session(connection: &Connection, key: &SessionKey) -> Done<SessionId> {
    let sql = "SELECT id FROM sessions WHERE key = ?1";
    let found = rows::first(connection, sql, [key.as_str()], |row| Ok(SessionId(row.get(0)?)))?;
    found.ok_or_else(|| not_found(format!("no session `{key}`")))
}

fn messages(connection: &Connection, key: &SessionKey, limit: u32) -> Done<Vec<MessageView>> {
    let session = session(connection, key)?;
    let mut newest = rows::all(
        connection,
        "SELECT seq, turn, role, parts, at FROM messages WHERE session = ?1 ORDER BY seq DESC LIMIT ?2",
        params![session.0, limit],
        |row| {
            let (role, parts): (String, String) = (row.get(2)?, row.get(3)?);
            Ok(MessageView {
                seq: MessageSeq(row.get(0)?),
                turn: TurnNumber(row.get(1)?),
                role: rows::role(&role)?,
                parts: rows::parts(&parts)?,
                at: rows::time(row, 4)?,
            })
        },
    )?;
    newest.reverse();
    Ok(newest)
}

fn journal(connection: &Connection, key: &SessionKey, turn: Option<TurnNumber>) -> Done<Vec<TurnView>> {
    let session = session(connection, key)?;
    let mut turns = rows::all(
        connection,
        "SELECT turn, inbox, coalesce(outcome, 'running') FROM turns
         WHERE session = ?1 AND turn >= ?2 AND turn <= ?3 ORDER BY turn DESC LIMIT ?4",
        params![session.0, turn.map_or(0, |turn| turn.0), turn.map_or(i64::MAX, |turn| turn.0), JOURNAL_TURNS_MAX],
        |row| {
            let turn = TurnNumber(row.get(0)?);
            let steps = snapshot::steps(connection, session, turn)?;
            Ok(TurnView {
                turn,
                inbox: InboxId(row.get(1)?),
                outcome: row.get(2)?,
                steps: steps.into_iter().map(|step| (step.seq, step.at, step.boot, step.input)).collect(),
                cost: turn_cost(connection, session, turn)?,
            })
        },
    )?;
    turns.reverse();
    Ok(turns)
}

fn turn_cost(connection: &Connection, session: SessionId, turn: TurnNumber) -> Done<MicroUsd> {
    let condition = "session = ?1 AND turn = ?2 AND state IN ('settled', 'counted_estimate')";
    sum(connection, condition, params![session.0, turn.0])
}

fn inbox(connection: &Connection, id: InboxId) -> Done<Option<InboxView>> {
    let found = rows::first(connection, "SELECT state, outcome, answer FROM inbox WHERE id = ?1", [id.0], |row| {
        Ok(InboxView { id, state: row.get(0)?, outcome: row.get(1)?, text: row.get(2)?, cost: MicroUsd::ZERO })
    })?;
    let Some(view) = found else { return Ok(None) };
    let turn = "SELECT session, turn FROM turns WHERE inbox = (SELECT coalesce(joined, id) FROM inbox WHERE id = ?1)";
    let turn = rows::first(connection, turn, [id.0], |row| Ok((SessionId(row.get(0)?), TurnNumber(row.get(1)?))))?;
    let cost = turn.map(|(session, turn)| turn_cost(connection, session, turn)).transpose()?;
    Ok(Some(InboxView { cost: cost.unwrap_or_default(), ..view }))
}

/// The words of what waits; in a session that does not exist nothing does.
fn waiting(connection: &Connection, key: &SessionKey) -> Done<Vec<String>> {
    rows::all(
        connection,
        "SELECT text FROM inbox WHERE session = (SELECT id FROM sessions WHERE key = ?1) AND state = 'received' ORDER BY id",
        [key.as_str()],
        |row| Ok(row.get(0)?),
    )
}

fn thread(connection: &Connection, channel: &ChannelName, account: i64, chat: i64, message: i64) -> Done<Option<i64>> {
    let found = rows::first(
        connection,
        "SELECT thread FROM outbox
         WHERE state = 'sent' AND chat = ?1 AND message_id = ?2 AND channel = ?3 AND account = ?4
         ORDER BY id DESC LIMIT 1",
        params![chat, message, channel.as_str(), account],
        |row| Ok(row.get::<_, Option<i64>>(0)?),
    )?;
    Ok(found.flatten())
}

fn way_out(connection: &Connection, channel: &ChannelName) -> Done<ChannelView> {
    let waiting = "SELECT count(*) FROM outbox WHERE state IN ('queued', 'sending') AND channel = ?1";
    let waiting = rows::first(connection, waiting, [channel.as_str()], |row| rows::unsigned(row, 0))?;
    let dead = rows::all(
        connection,
        "SELECT id, chat, body_plain, coalesce(error, ''), done_at, kind, payload FROM outbox
         WHERE done_at IS NOT NULL AND state = 'dead' AND channel = ?1 AND withdrawn = 0
         ORDER BY done_at DESC, id DESC LIMIT ?2",
        params![channel.as_str(), DEAD_SHOWN_MAX],
        |row| {
            let mut text: String = row.get(2)?;
            if let Payload::File(file) = outbox::payload(row, 5)?
                && text.is_empty()
            {
                text = format!("[{}]", file.name);
            }
            Ok(DeadView {
                id: OutboxId(row.get(0)?),
                chat: row.get(1)?,
                text: text.chars().take(DEAD_CHARACTERS_MAX).collect(),
                error: row.get(3)?,
                at: rows::time(row, 4)?,
            })
        },
    )?;
    Ok(ChannelView { waiting: waiting.unwrap_or(0), dead, closed: chats::closed(connection, channel)? })
}

/// Files of messages that are still part of a prompt, and of messages that are still to be sent.
fn attachments(connection: &Connection) -> Done<BTreeSet<AttachmentId>> {
    let shown = rows::all(
        connection,
        "SELECT DISTINCT attachment FROM message_attachments AS shown
         JOIN epochs ON epochs.session = shown.session
          AND epochs.number = (SELECT max(number) FROM epochs AS newest WHERE newest.session = shown.session)
         WHERE shown.seq >= epochs.first",
        [],
        |row| Ok(AttachmentId::new(row.get::<_, String>(0)?)),
    )?;
    let sends = rows::all(
        connection,
        "SELECT kind, payload FROM outbox WHERE state IN ('queued', 'sending') AND kind = 'file'",
        [],
        |row| outbox::payload(row, 0),
    )?;
    let sent = sends.into_iter().filter_map(|payload| match payload {
        Payload::File(file) => Some(file.attachment),
        Payload::Text | Payload::Notice | Payload::Question { .. } => None,
    });
    Ok(shown.into_iter().chain(sent).collect())
}
