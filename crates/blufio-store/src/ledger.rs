//! What calls cost: opened, closed, summed up; and the kill switch.

use crate::fault::{Done, not_found};
use crate::{audit, open, rows};
use blufio_core::audit::{AuditEntry, AuditKind};
use blufio_core::budget::{CallKey, Payer, Spent};
use blufio_core::ids::{CallNumber, SessionId, SessionKey, TurnNumber};
use blufio_core::money::MicroUsd;
use blufio_core::record::{CostBy, CostLine};
use blufio_core::time::Timestamp;
use rusqlite::{Connection, Row, params};
use serde_json::json;

/// Milliseconds of a quarter of an hour: all time zones differ from each other by whole ones.
const QUARTER_MS: i64 = 15 * 60 * 1000;

/// What counts against the budgets of a day and a month.
pub(crate) fn spent(connection: &Connection, day: Timestamp, month: Timestamp) -> Done<Spent> {
    let today = "SELECT session, principal_id, agent_id, sum(amount) FROM ledger
                 WHERE opened_at >= ?1 GROUP BY session, principal_id, agent_id";
    let turns = "SELECT turns.session, turns.turn, (SELECT sum(amount) FROM ledger
                        WHERE ledger.session = turns.session AND ledger.turn = turns.turn)
                 FROM turns WHERE state = 'running'";
    let open = "SELECT session, turn, call, principal_id, agent_id, amount, opened_at FROM ledger WHERE state = 'held'";
    Ok(Spent {
        today: rows::all(connection, today, [day.0], |row| {
            Ok((SessionId(row.get(0)?), row.get(1)?, row.get(2)?, rows::money(row, 3)?))
        })?,
        month: rows::first(connection, "SELECT sum(amount) FROM ledger WHERE opened_at >= ?1", [month.0], |row| {
            rows::money(row, 0)
        })?
        .unwrap_or_default(),
        turns: rows::all(connection, turns, [], |row| {
            Ok((SessionId(row.get(0)?), TurnNumber(row.get(1)?), rows::money(row, 2)?))
        })?,
        open: rows::all(connection, open, [], open_call)?,
    })
}

fn open_call(row: &Row<'_>) -> Done<(CallKey, Payer, MicroUsd, Timestamp)> {
    let (session, turn) = (SessionId(row.get(0)?), TurnNumber(row.get(1)?));
    let call = CallKey { session, turn, call: CallNumber(row.get(2)?) };
    let payer = Payer { session, turn, person: row.get(3)?, agent: row.get(4)? };
    Ok((call, payer, rows::money(row, 5)?, rows::time(row, 6)?))
}

/// What calls since an instant have cost, of all conversations or one.
pub(crate) fn costs(
    connection: &Connection,
    by: CostBy,
    since: Timestamp,
    session: Option<&SessionKey>,
) -> Done<Vec<CostLine>> {
    let (key, order) = match by {
        CostBy::Model => ("model", "8 DESC, 1"),
        CostBy::Session => ("(SELECT key FROM sessions WHERE id = session)", "8 DESC, 1"),
        CostBy::Agent => ("agent_id", "8 DESC, 1"),
        CostBy::Person => ("principal_id", "8 DESC, 1"),
        CostBy::Purpose => ("purpose", "8 DESC, 1"),
        CostBy::Reason => ("reason", "8 DESC, 1"),
        CostBy::Quarter => ("opened_at / ?3 * ?3", "min(opened_at)"),
    };
    if let Some(key) = session {
        let known = "SELECT id FROM sessions WHERE key = ?1";
        rows::first(connection, known, [key.as_str()], |row| Ok(row.get::<_, i64>(0)?))?
            .ok_or_else(|| not_found(format!("no session `{key}`")))?;
    }
    let sql = format!(
        "SELECT CAST({key} AS TEXT), count(*), sum(input), sum(cache_write_5m), sum(cache_write_1h), sum(cache_read), sum(output),
                sum(amount) FILTER (WHERE state <> 'held'), sum(amount) FILTER (WHERE state = 'counted_estimate'),
                sum(amount) FILTER (WHERE state = 'held'), sum(amount) FILTER (WHERE uncached IS NOT NULL), sum(uncached)
         FROM ledger
         WHERE opened_at >= ?1 AND (?2 IS NULL OR session = (SELECT id FROM sessions WHERE key = ?2)) AND ?3 > 0
         GROUP BY 1 ORDER BY {order}"
    );
    rows::all(connection, &sql, params![since.0, session.map(SessionKey::as_str), QUARTER_MS], |row| {
        let tokens = |column| Ok::<_, crate::fault::Fault>(rows::money(row, column)?.0);
        Ok(CostLine {
            key: row.get(0)?,
            calls: rows::unsigned(row, 1)?,
            input: tokens(2)?,
            cache_write_5m: tokens(3)?,
            cache_write_1h: tokens(4)?,
            cache_read: tokens(5)?,
            output: tokens(6)?,
            cost: rows::money(row, 7)?,
            estimated: rows::money(row, 8)?,
            held: rows::money(row, 9)?,
            settled: rows::money(row, 10)?,
            uncached: rows::money(row, 11)?,
        })
    })
}

/// Counts in full what is held for calls beside turns that nobody can end any more.
pub(crate) fn count_strays(connection: &Connection, at: Timestamp) -> Done<()> {
    rows::change(
        connection,
        "UPDATE ledger SET state = 'counted_estimate', failure = 'abandoned', closed_at = ?1
         WHERE state = 'held' AND NOT EXISTS (
             SELECT 1 FROM turns WHERE session = ledger.session AND turn = ledger.turn AND state = 'running')",
        [at.0],
    )?;
    Ok(())
}

/// Whether the kill switch is on.
pub(crate) fn is_killed(connection: &Connection) -> Done<bool> {
    Ok(open::meta(connection, "killed")? != 0)
}

/// Turns the kill switch.
pub(crate) fn switch(connection: &Connection, killed: bool, by: &str, at: Timestamp) -> Done<()> {
    open::set_meta(connection, "killed", i64::from(killed))?;
    let entry = AuditEntry {
        kind: AuditKind::KillSwitch,
        actor: by.to_owned(),
        session: None,
        target: "everything".to_owned(),
        outcome: if killed { "stopped" } else { "may run again" }.to_owned(),
        detail: json!({}),
    };
    audit::append(connection, &[entry], at)
}
