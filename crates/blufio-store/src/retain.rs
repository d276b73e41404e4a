//! Forgetting, a little at a time and behind everything else.
//!
//! Ledger, sessions, the bare rows of turns and the audit log without its details stay. The inbox row just before each cursor stays too (without its text), so
//! that the cursor can always be checked against what was received. No statement here reads more than what it deletes and
//! what waits, however much is stored.

use crate::fault::Done;
use crate::{outbox, pairing, passages, rows, runs, schedules};
use blufio_core::ids::{MessageSeq, OutboxId, SessionId};
use blufio_core::limits::OUTBOX_AGE;
use blufio_core::memory::Source;
use blufio_core::record::Retention;
use blufio_core::time::Timestamp;
use rusqlite::{Connection, params};
use std::time::Duration;

/// Rows deleted in one transaction.
const CHUNK_ROWS: usize = 500;
/// Turns whose journals go in one transaction; each may have a few dozen steps and large tool outputs.
const CHUNK_TURNS: usize = 20;
/// Journals and tool outputs after the turn's end.
const STEPS_KEPT: Duration = Duration::from_secs(7 * DAY);
/// Inbox rows after they are over; longer than any channel may deliver an update again.
const INBOX_KEPT: Duration = Duration::from_secs(8 * DAY);
/// Outbox rows after they are over.
const OUTBOX_KEPT: Duration = Duration::from_secs(30 * DAY);
/// Words that were not for us and that no answer came after.
const OVERHEARD_KEPT: Duration = Duration::from_secs(8 * DAY);
/// Questions after they are over.
const APPROVALS_KEPT: Duration = Duration::from_secs(30 * DAY);
/// Details of the audit log, at most: not longer than messages are kept.
const DETAILS_KEPT: Duration = Duration::from_secs(90 * DAY);
/// What was told, and when; far longer than any pause between two tellings.
const TOLD_KEPT: Duration = Duration::from_secs(30 * DAY);
const DAY: u64 = 24 * 3600;
/// Free pages given back to the file system at a time, and how many must be free for it to be worth it.
const PAGES_GIVEN_BACK: i64 = 256;

/// Deletes at most a chunk of what is old enough; true if there may be more.
pub(crate) fn retain(connection: &Connection, keep: Retention, at: Timestamp) -> Done<bool> {
    expire_sends(connection, at)?;
    schedules::pull_back(connection, at)?;
    // First of all: what it reads may be forgotten below.
    runs::freeze(connection, at)?;
    rows::change(connection, "DELETE FROM pairing_requests WHERE expires <= ?1", [at.0])?;
    let mut more = forget_journals(connection, before(at, STEPS_KEPT))?;
    more |= forget_inbox(connection, before(at, INBOX_KEPT))?;
    more |= chunk(
        connection,
        "DELETE FROM outbox WHERE id IN (
             SELECT id FROM outbox WHERE done_at IS NOT NULL AND done_at < ?1 ORDER BY done_at LIMIT ?2)",
        before(at, OUTBOX_KEPT),
    )?;
    more |= chunk(
        connection,
        "DELETE FROM overheard WHERE inbox IN (SELECT inbox FROM overheard WHERE at < ?1 ORDER BY at LIMIT ?2)",
        before(at, OVERHEARD_KEPT),
    )?;
    more |= chunk(
        connection,
        "DELETE FROM approvals WHERE id IN (
             SELECT id FROM approvals WHERE decided_at IS NOT NULL AND decided_at < ?1 ORDER BY decided_at LIMIT ?2)",
        before(at, APPROVALS_KEPT),
    )?;
    more |= chunk(
        connection,
        "DELETE FROM grants WHERE id IN (
             SELECT id FROM grants WHERE revoked_at IS NOT NULL AND revoked_at < ?1 ORDER BY id LIMIT ?2)",
        before(at, APPROVALS_KEPT),
    )?;
    more |= runs::forget(connection, CHUNK_ROWS)? >= CHUNK_ROWS;
    more |= forget_details(connection, keep, at)?;
    rows::change(connection, "DELETE FROM told WHERE at < ?1", [before(at, TOLD_KEPT)])?;
    pairing::forget_links(connection, at)?;
    more |= forget_epochs(connection)?;
    if keep.messages_days > 0 {
        let kept = Duration::from_secs(u64::from(keep.messages_days) * DAY);
        more |= forget_messages(connection, before(at, kept))?;
    }
    Ok(more)
}

/// Gives free pages back to the file system. Not inside a transaction.
pub(crate) fn give_back(connection: &Connection) -> Done<()> {
    let free: i64 = connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
    if free >= PAGES_GIVEN_BACK {
        // One step frees one page, so the statement has to be run to its end.
        let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({PAGES_GIVEN_BACK})"))?;
        let mut steps = statement.raw_query();
        while steps.next()?.is_some() {}
    }
    Ok(())
}

fn before(at: Timestamp, kept: Duration) -> i64 {
    at.0.saturating_sub(i64::try_from(kept.as_millis()).unwrap_or(i64::MAX))
}

/// Runs a deletion with the parameters cutoff and chunk; true if the chunk was full.
fn chunk(connection: &Connection, sql: &str, cutoff: i64) -> Done<bool> {
    let limit = i64::try_from(CHUNK_ROWS).unwrap_or(i64::MAX);
    Ok(rows::change(connection, sql, params![cutoff, limit])? >= CHUNK_ROWS)
}

/// Rows that nobody could deliver for a day. What is being sent just now is left to its sender.
fn expire_sends(connection: &Connection, at: Timestamp) -> Done<()> {
    let old = rows::all(
        connection,
        "SELECT id FROM outbox INDEXED BY outbox_waiting
         WHERE state IN ('queued', 'sending') AND state = 'queued' AND at < ?1 ORDER BY id LIMIT 100",
        [before(at, OUTBOX_AGE)],
        |row| Ok(OutboxId(row.get(0)?)),
    )?;
    for id in old {
        outbox::give_up(connection, id, "not delivered within 24 hours", at)?;
    }
    Ok(())
}

fn forget_journals(connection: &Connection, cutoff: i64) -> Done<bool> {
    let turns: Vec<(i64, i64)> = rows::all(
        connection,
        "SELECT session, turn FROM turns WHERE journal = 1 AND closed_at < ?1 ORDER BY closed_at LIMIT ?2",
        params![cutoff, i64::try_from(CHUNK_TURNS).unwrap_or(i64::MAX)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    for turn in &turns {
        rows::change(connection, "DELETE FROM steps WHERE session = ?1 AND turn = ?2", *turn)?;
        rows::change(connection, "DELETE FROM tool_runs WHERE session = ?1 AND turn = ?2", *turn)?;
        rows::change(connection, "UPDATE turns SET journal = 0 WHERE session = ?1 AND turn = ?2", *turn)?;
    }
    Ok(turns.len() >= CHUNK_TURNS)
}

fn forget_inbox(connection: &Connection, cutoff: i64) -> Done<bool> {
    rows::change(
        connection,
        "UPDATE inbox SET text = '', content = NULL, answer = NULL, raw = x''
         WHERE id IN (SELECT inbox.id FROM cursors JOIN inbox USING (channel, account) WHERE update_id = cursor - 1)
           AND done_at < ?1 AND (text <> '' OR content IS NOT NULL OR answer IS NOT NULL OR raw <> x'')",
        [cutoff],
    )?;
    chunk(
        connection,
        "DELETE FROM inbox WHERE id IN (
             SELECT id FROM inbox WHERE done_at IS NOT NULL AND done_at < ?1 AND NOT EXISTS (
                 SELECT 1 FROM cursors WHERE cursors.channel = inbox.channel AND cursors.account = inbox.account
                   AND cursor = update_id + 1)
             ORDER BY done_at LIMIT ?2)",
        cutoff,
    )
}

/// The details of what was recorded; the entries themselves stay, and the chain stays whole.
fn forget_details(connection: &Connection, keep: Retention, at: Timestamp) -> Done<bool> {
    let kept = match keep.messages_days {
        0 => DETAILS_KEPT,
        days => DETAILS_KEPT.min(Duration::from_secs(u64::from(days) * DAY)),
    };
    chunk(
        connection,
        "DELETE FROM audit_detail WHERE seq IN (
             SELECT seq FROM (SELECT seq, ts_ms FROM audit_detail JOIN audit USING (seq) ORDER BY seq LIMIT ?2)
             WHERE ts_ms < ?1)",
        before(at, kept),
    )
}

/// Earlier epochs are never sent again: first their bytes, then, once they have none, they themselves.
fn forget_epochs(connection: &Connection) -> Done<bool> {
    let old: Vec<(i64, i64)> = rows::all(
        connection,
        "SELECT session, number FROM epochs
         WHERE number < (SELECT max(number) FROM epochs AS newer WHERE newer.session = epochs.session) LIMIT 1",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    for (session, number) in &old {
        let limit = i64::try_from(CHUNK_ROWS).unwrap_or(i64::MAX);
        let wires = rows::change(
            connection,
            "DELETE FROM wire WHERE rowid IN (SELECT rowid FROM wire WHERE session = ?1 AND epoch = ?2 LIMIT ?3)",
            params![session, number, limit],
        )?;
        if wires < CHUNK_ROWS {
            rows::change(
                connection,
                "DELETE FROM epochs WHERE session = ?1 AND number = ?2",
                params![session, number],
            )?;
        }
    }
    Ok(!old.is_empty())
}

/// Whole turns at a time: what is left still begins with a person's message, and every call still has its result.
fn forget_messages(connection: &Connection, cutoff: i64) -> Done<bool> {
    let turns: Vec<(i64, i64)> = rows::all(
        connection,
        "SELECT session, turn FROM turns WHERE messages = 1 AND closed_at < ?1 ORDER BY closed_at LIMIT ?2",
        params![cutoff, i64::try_from(CHUNK_TURNS).unwrap_or(i64::MAX)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    for turn in &turns {
        forget_passages(connection, *turn)?;
        let wires = "DELETE FROM wire WHERE session = ?1 AND seq IN (
                         SELECT seq FROM messages WHERE session = ?1 AND turn = ?2)";
        rows::change(connection, wires, *turn)?;
        rows::change(connection, "DELETE FROM messages WHERE session = ?1 AND turn = ?2", *turn)?;
        rows::change(connection, "UPDATE turns SET messages = 0 WHERE session = ?1 AND turn = ?2", *turn)?;
    }
    Ok(turns.len() >= CHUNK_TURNS)
}

fn forget_passages(connection: &Connection, turn: (i64, i64)) -> Done<()> {
    let range = "SELECT min(seq), max(seq) FROM messages WHERE session = ?1 AND turn = ?2";
    let range =
        rows::first(connection, range, turn, |row| Ok(row.get::<_, Option<i64>>(0)?.zip(row.get(1)?)))?.flatten();
    range.map_or(Ok(()), |(first, last)| {
        let (session, first, last) = (SessionId(turn.0), MessageSeq(first), MessageSeq(last));
        passages::forget(connection, &Source { session, first, last })
    })
}
