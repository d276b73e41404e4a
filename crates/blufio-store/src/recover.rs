//! A start: counts the boot, judges what ran in the last one, and says what waits.

use crate::fault::Done;
use crate::{chats, ledger, open, outbox, pairing, rows, schedules};
use blufio_core::ids::{Boot, ChannelName, OutboxId, SessionKey};
use blufio_core::record::Recovered;
use blufio_core::time::Timestamp;
use rusqlite::Connection;

pub(crate) fn recover(connection: &Connection, at: Timestamp) -> Done<Recovered> {
    let last = open::meta(connection, "boot")?;
    let unclean = open::meta(connection, "clean")? == 0;
    let boot = last.saturating_add(1);
    open::set_meta(connection, "boot", boot)?;
    open::set_meta(connection, "clean", 0)?;
    judge_turns(connection, last, boot, unclean)?;
    ledger::count_strays(connection, at)?;
    schedules::pull_back(connection, at)?;
    Ok(Recovered {
        boot: Boot(boot),
        unclean,
        sessions: sessions(connection)?,
        cursors: cursors(connection)?,
        paired: pairing::approved(connection)?,
        aliases: chats::aliases(connection)?,
        uncertain_sends: judge_sends(connection, at)?,
        killed: ledger::is_killed(connection)?,
    })
}

/// A turn that ran in the last boot and got somewhere starts counting anew. One that ran and got nowhere counts one more,
/// if the process died. One that did not run, or waits for an owner, stays as it was. Its main row counts for those that joined it. All claims become
/// this boot's.
fn judge_turns(connection: &Connection, last: i64, boot: i64, unclean: bool) -> Done<()> {
    let ran = "id IN (SELECT inbox FROM turns WHERE state = 'running' AND EXISTS (
                   SELECT 1 FROM steps WHERE session = turns.session AND turn = turns.turn AND boot = ?1))";
    let progress = "id IN (SELECT inbox FROM turns WHERE state = 'running' AND EXISTS (
                   SELECT 1 FROM steps WHERE session = turns.session AND turn = turns.turn AND boot = ?1 AND progress = 1))";
    rows::change(connection, &format!("UPDATE inbox SET attempts = 0 WHERE {progress}"), [last])?;
    if unclean {
        let asks = "id IN (SELECT inbox FROM turns WHERE state = 'running' AND EXISTS (
                        SELECT 1 FROM tool_runs
                        WHERE session = turns.session AND turn = turns.turn AND state = 'awaiting_approval'))";
        let sql = format!("UPDATE inbox SET attempts = attempts + 1 WHERE {ran} AND NOT {progress} AND NOT {asks}");
        rows::change(connection, &sql, [last])?;
    }
    let claims = "UPDATE inbox SET claimed_boot = ?1
                  WHERE id IN (SELECT inbox FROM turns WHERE state = 'running')
                     OR joined IN (SELECT inbox FROM turns WHERE state = 'running')";
    rows::change(connection, claims, [boot])?;
    Ok(())
}

/// Sends that were in flight: nobody knows whether they arrived.
fn judge_sends(connection: &Connection, at: Timestamp) -> Done<u32> {
    let sending = "SELECT id FROM outbox INDEXED BY outbox_waiting
                   WHERE state IN ('queued', 'sending') AND state = 'sending' ORDER BY id";
    let ids = rows::all(connection, sending, [], |row| Ok(OutboxId(row.get(0)?)))?;
    for id in &ids {
        outbox::uncertain(connection, *id, false, "the process ended during the send", at)?;
    }
    Ok(u32::try_from(ids.len()).unwrap_or(u32::MAX))
}

/// Sessions with something to do, the one that has waited longest first.
fn sessions(connection: &Connection) -> Done<Vec<SessionKey>> {
    rows::all(
        connection,
        "SELECT key, min(row) FROM (
             SELECT session, inbox AS row FROM turns WHERE state = 'running'
             UNION ALL
             SELECT session, min(id) FROM inbox WHERE state = 'received' GROUP BY session
         ) JOIN sessions ON sessions.id = session GROUP BY session ORDER BY 2",
        [],
        |row| {
            let key: String = row.get(0)?;
            Ok(SessionKey::new(key))
        },
    )
}

fn cursors(connection: &Connection) -> Done<Vec<(ChannelName, i64, i64)>> {
    rows::all(connection, "SELECT channel, account, cursor FROM cursors ORDER BY channel, account", [], |row| {
        let channel: String = row.get(0)?;
        Ok((ChannelName::new(channel), row.get(1)?, row.get(2)?))
    })
}
