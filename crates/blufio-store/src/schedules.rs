//! The list of schedules: made, removed, turned on and off, and which of them are due. What is done at their times is in
//! [`crate::runs`].

use crate::chats::Chat;
use crate::fault::{Done, not_found};
use crate::{accept, audit, rows, runs};
use blufio_core::audit::{AuditEntry, AuditKind};
use blufio_core::ids::{ScheduleId, SessionKey};
use blufio_core::limits::SCHEDULES_MAX;
use blufio_core::port::StoreError;
use blufio_core::record::{DueSchedules, ScheduleChange, ScheduleView};
use blufio_core::schedule::{NewSchedule, Schedule, When};
use blufio_core::time::Timestamp;
use rusqlite::{Connection, Row, params};
use serde_json::json;

/// The columns that [`read`] reads; no message is answered, so the route has none.
const COLUMNS: &str =
    "SELECT schedules.id, name, key, channel, account, schedules.chat, thread, NULL, schedules.principal_id,
                              user, rule, schedules.zone, action, next_at, counted_from, created, made_by, off, seen
                       FROM schedules JOIN sessions ON sessions.id = session";

pub(crate) fn change(connection: &Connection, change: &ScheduleChange, at: Timestamp) -> Done<Schedule> {
    match change {
        ScheduleChange::Add(new) => add(connection, new, at),
        ScheduleChange::Remove { id, by } => {
            let schedule = known(connection, *id)?;
            remove(connection, *id)?;
            record(connection, &schedule, by, "removed", at)?;
            Ok(schedule)
        }
        ScheduleChange::Enable { id, on: true, by } => enable(connection, *id, by, at),
        ScheduleChange::Enable { id, on: false, by } => {
            turn_off(connection, *id, &format!("turned off by {by}"))?;
            let schedule = known(connection, *id)?;
            record(connection, &schedule, by, "off", at)?;
            Ok(schedule)
        }
    }
}

fn add(connection: &Connection, new: &NewSchedule, at: Timestamp) -> Done<Schedule> {
    let first = new.first(at).map_err(|trouble| StoreError::Refused(trouble.to_string()))?;
    let session = accept::session(connection, &new.session, at)?;
    let same = "SELECT id, ended FROM schedules WHERE session = ?1 AND name = ?2";
    match rows::first(connection, same, params![session.0, new.name], |row| Ok((row.get(0)?, row.get(1)?)))? {
        Some((id, true)) => remove(connection, ScheduleId(id))?,
        Some((_, false)) => {
            let refused = format!("there is a schedule `{}` in this conversation already", new.name);
            return Err(StoreError::Refused(refused).into());
        }
        None => {}
    }
    make_room(connection)?;
    let NewSchedule { name, session: _, route, principal, user, when, zone, action, made_by } = new;
    rows::change(
        connection,
        "INSERT INTO schedules (session, name, channel, account, chat, thread, principal_id, user, rule, zone, action,
                                next_at, created, made_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        params![
            session.0,
            name,
            route.channel.as_str(),
            route.account,
            route.chat,
            route.thread,
            rows::principal_word(principal),
            user,
            serde_json::to_string(when)?,
            zone,
            serde_json::to_string(action)?,
            first.0,
            at.0,
            made_by,
        ],
    )?;
    let schedule = known(connection, ScheduleId(connection.last_insert_rowid()))?;
    record(connection, &schedule, made_by, "made", at)?;
    Ok(schedule)
}

/// One that will not run again makes room, or nothing does.
fn make_room(connection: &Connection) -> Done<()> {
    let count = rows::first(connection, "SELECT count(*) FROM schedules", [], |row| Ok(row.get::<_, u32>(0)?))?;
    if count.unwrap_or(0) < SCHEDULES_MAX {
        return Ok(());
    }
    let oldest = "SELECT id FROM schedules WHERE ended ORDER BY id LIMIT 1";
    match rows::first(connection, oldest, [], |row| Ok(ScheduleId(row.get(0)?)))? {
        Some(id) => remove(connection, id),
        None => {
            let refused =
                format!("there are {SCHEDULES_MAX} schedules already, and no more are kept; remove one first");
            Err(StoreError::Refused(refused).into())
        }
    }
}

/// What its runs have begun goes on.
fn remove(connection: &Connection, id: ScheduleId) -> Done<()> {
    rows::change(connection, "DELETE FROM runs WHERE schedule = ?1", [id.0])?;
    rows::change(connection, "DELETE FROM schedules WHERE id = ?1", [id.0])?;
    Ok(())
}

fn enable(connection: &Connection, id: ScheduleId, by: &str, at: Timestamp) -> Done<Schedule> {
    let schedule = known(connection, id)?;
    let next = schedule.when.next_after(at).ok_or_else(|| StoreError::Refused("that time has passed".to_owned()))?;
    rows::change(
        connection,
        "UPDATE schedules SET next_at = ?2, off = NULL, ended = 0, told = 0,
                              counted_from = coalesce((SELECT max(id) FROM runs WHERE schedule = ?1), 0)
         WHERE id = ?1",
        params![id.0, next.0],
    )?;
    let schedule = known(connection, id)?;
    record(connection, &schedule, by, "on", at)?;
    Ok(schedule)
}

/// Turns a schedule off that is on.
pub(crate) fn turn_off(connection: &Connection, id: ScheduleId, why: &str) -> Done<()> {
    let sql = "UPDATE schedules SET next_at = NULL, off = ?2 WHERE id = ?1 AND next_at IS NOT NULL";
    rows::change(connection, sql, params![id.0, why])?;
    Ok(())
}

/// Nothing is done any more on behalf of somebody who may not speak, nor where they spoke alone.
pub(crate) fn revoke(connection: &Connection, private: Chat<'_>) -> Done<()> {
    rows::change(
        connection,
        "UPDATE schedules SET next_at = NULL, off = 'who wanted it may not speak here any more'
         WHERE next_at IS NOT NULL AND channel = ?1 AND account = ?2
           AND (chat = ?3 OR user = ?3 OR principal_id = 'person:' || ?3)",
        params![private.channel.as_str(), private.account, private.id],
    )?;
    Ok(())
}

/// A group goes on under another id.
pub(crate) fn migrate(connection: &Connection, old: Chat<'_>, new: i64) -> Done<()> {
    let sql = "UPDATE schedules SET chat = ?4 WHERE channel = ?1 AND account = ?2 AND chat = ?3";
    rows::change(connection, sql, params![old.channel.as_str(), old.account, old.id, new])?;
    Ok(())
}

/// Goes on now with what a clock that was far ahead has put off.
pub(crate) fn pull_back(connection: &Connection, at: Timestamp) -> Done<()> {
    let ahead = "SELECT id, rule, next_at FROM schedules WHERE next_at IS NOT NULL AND next_at > ?1";
    let stored = rows::all(connection, ahead, [at.0], |row| {
        let rule: String = row.get(1)?;
        Ok((row.get::<_, i64>(0)?, serde_json::from_str::<When>(&rule)?, rows::time(row, 2)?))
    })?;
    for (id, when, next_at) in stored {
        if let Some(next) = when.pulled_back(next_at, at) {
            rows::change(connection, "UPDATE schedules SET next_at = ?2 WHERE id = ?1", params![id, next.0])?;
        }
    }
    Ok(())
}

pub(crate) fn due(connection: &Connection, limit: u32, at: Timestamp) -> Done<DueSchedules> {
    let one_more = i64::from(limit).saturating_add(1);
    let sql = format!("{COLUMNS} WHERE next_at IS NOT NULL AND next_at <= ?1 ORDER BY next_at, schedules.id LIMIT ?2");
    let mut due = rows::all(connection, &sql, params![at.0, one_more], |row| read(connection, row))?;
    if due.len() > usize::try_from(limit).unwrap_or(usize::MAX) {
        let next = due.pop().and_then(|more| more.next_at);
        return Ok(DueSchedules { due, next });
    }
    let next = "SELECT min(next_at) FROM schedules WHERE next_at IS NOT NULL AND next_at > ?1";
    let next: Option<i64> = rows::first(connection, next, [at.0], |row| Ok(row.get(0)?))?.flatten();
    Ok(DueSchedules { due, next: next.map(Timestamp) })
}

pub(crate) fn list(connection: &Connection, session: Option<&SessionKey>) -> Done<Vec<ScheduleView>> {
    let sql = format!("{COLUMNS} WHERE ?1 IS NULL OR key = ?1 ORDER BY next_at IS NULL, next_at, schedules.id");
    rows::all(connection, &sql, [session.map(SessionKey::as_str)], |row| {
        let schedule = read(connection, row)?;
        let last = runs::list(connection, schedule.id, 1)?.pop();
        Ok(ScheduleView { schedule, off: row.get(17)?, last })
    })
}

/// The schedule of that number.
pub(crate) fn known(connection: &Connection, id: ScheduleId) -> Done<Schedule> {
    let found =
        rows::first(connection, &format!("{COLUMNS} WHERE schedules.id = ?1"), [id.0], |row| read(connection, row))?;
    found.ok_or_else(|| not_found(format!("no schedule {id}")))
}

fn read(connection: &Connection, row: &Row<'_>) -> Done<Schedule> {
    let (session, principal): (String, String) = (row.get(2)?, row.get(8)?);
    let (rule, action): (String, String) = (row.get(10)?, row.get(12)?);
    let id = ScheduleId(row.get(0)?);
    let next_at = row.get::<_, Option<i64>>(13)?.map(Timestamp);
    let failing = runs::failing(connection, id, row.get(14)?)?;
    Ok(Schedule {
        id,
        name: row.get(1)?,
        session: SessionKey::new(session),
        route: rows::route(row, 3)?,
        principal: rows::principal(&principal)?,
        user: row.get(9)?,
        when: serde_json::from_str(&rule)?,
        zone: row.get(11)?,
        action: serde_json::from_str(&action)?,
        enabled: next_at.is_some(),
        next_at,
        failures: failing.failures,
        created: rows::time(row, 15)?,
        made_by: row.get(16)?,
        seen: row.get(18)?,
    })
}

/// What will be done without anybody there is recorded as an "always" is. What a run does is not: a turn and its messages are
/// recorded nowhere else either.
pub(crate) fn record(connection: &Connection, schedule: &Schedule, by: &str, outcome: &str, at: Timestamp) -> Done<()> {
    let Schedule { id, name, session, when, action, .. } = schedule;
    let entry = AuditEntry {
        kind: AuditKind::ScheduleChanged,
        actor: by.to_owned(),
        session: Some(session.clone()),
        target: format!("schedule {id}"),
        outcome: outcome.to_owned(),
        detail: json!({ "name": name, "when": when, "action": action }),
    };
    audit::append(connection, &[entry], at)
}
