//! What is done at the times of schedules, at most once each, and what became of it.
//!
//! A run and the inbox or outbox row that does it are written in one transaction, and nothing is ever written about how it
//! went: whoever asks reads that from the row, its turn and their messages. So after a crash at any point there is nothing to
//! repair and nothing that could disagree. Only before those rows are forgotten is the answer written down.

use crate::accept::{self, Scheduled};
use crate::chats::{self, Chat};
use crate::fault::{Done, broken};
use crate::outbox::{self, Reply};
use crate::{rows, schedules};
use blufio_core::ids::{InboxId, RunId, ScheduleId};
use blufio_core::limits::{
    OUTBOX_PENDING_MAX, REPLY_CHUNKS_MAX, RUNS_KEPT, SCHEDULE_FAILURES_MAX, SCHEDULE_FAILURES_TOLD,
};
use blufio_core::record::{Claim, ClaimWhat, Claimed, Failing, RunState, RunView};
use blufio_core::schedule::Schedule;
use blufio_core::time::Timestamp;
use rusqlite::{Connection, Row, params};
use std::time::Duration;

/// Runs whose rows may be forgotten soon: inbox rows are kept a day longer.
const FROZEN_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);
/// Rows of the outbox that a run may have, all written at once.
const MESSAGES_MAX: usize = REPLY_CHUNKS_MAX;
/// Who turns off what keeps failing, for the audit log.
const BY_ITSELF: &str = "blufio";

/// Takes a time of a schedule, if it may be taken.
pub(crate) fn claim(connection: &Connection, claim: &Claim, at: Timestamp) -> Done<Claimed> {
    let found =
        "SELECT counted_from, told FROM schedules WHERE id = ?1 AND (?2 OR (next_at IS NOT NULL AND next_at = ?3))";
    let parameters = params![claim.schedule.0, claim.manual, claim.expected.map(|expected| expected.0)];
    let found = rows::first(connection, found, parameters, |row| Ok((row.get(0)?, row.get::<_, bool>(1)?)))?;
    let Some((counted_from, told)) = found else { return Ok(Claimed::Gone) };
    if !claim.manual && claim.next.is_some_and(|next| next <= claim.slot) {
        return Err(broken(format!("schedule {} would go on before its own time", claim.schedule)));
    }
    let before = "SELECT id FROM runs WHERE schedule = ?1 AND slot = ?2";
    let parameters = params![claim.schedule.0, claim.slot.0];
    if rows::first(connection, before, parameters, |row| Ok(row.get::<_, i64>(0)?))?.is_some() {
        return taken(connection, claim);
    }
    if claim.manual {
        return run(connection, claim, None, at);
    }
    let failing = failing(connection, claim.schedule, counted_from)?;
    if failing.failures >= SCHEDULE_FAILURES_MAX {
        let why = format!("{SCHEDULE_FAILURES_MAX} runs in a row have failed, the last one: {}", failing.why);
        schedules::turn_off(connection, claim.schedule, &why)?;
        let schedule = schedules::known(connection, claim.schedule)?;
        schedules::record(connection, &schedule, BY_ITSELF, "off", at)?;
        return Ok(Claimed::Disabled(failing));
    }
    if under_way(connection, claim.schedule)? {
        return skip(connection, claim, "the run before it was not over", at);
    }
    let many = failing.failures >= SCHEDULE_FAILURES_TOLD;
    let claimed = run(connection, claim, (many && !told).then_some(failing), at)?;
    if matches!(claimed, Claimed::Done { .. }) && many != told {
        let sql = "UPDATE schedules SET told = ?2 WHERE id = ?1";
        rows::change(connection, sql, params![claim.schedule.0, many])?;
    }
    Ok(claimed)
}

/// The clock was set back. What was done is done; the schedule goes on behind it.
fn taken(connection: &Connection, claim: &Claim) -> Done<Claimed> {
    go_on(connection, claim)?;
    Ok(Claimed::Gone)
}

/// Writes the run and the row that does it.
fn run(connection: &Connection, claim: &Claim, failing: Option<Failing>, at: Timestamp) -> Done<Claimed> {
    let claimed = carry_out(connection, claim, failing, at)?;
    if let (Claimed::Done { .. }, Some(seen)) = (&claimed, claim.seen) {
        rows::change(connection, "UPDATE schedules SET seen = ?2 WHERE id = ?1", params![claim.schedule.0, seen])?;
    }
    Ok(claimed)
}

fn carry_out(connection: &Connection, claim: &Claim, failing: Option<Failing>, at: Timestamp) -> Done<Claimed> {
    let done = |run, inbox| Claimed::Done { run, inbox, failing };
    match &claim.what {
        ClaimWhat::Skip { note } => skip(connection, claim, note, at),
        ClaimWhat::Say { drafts } if drafts.is_empty() => skip(connection, claim, "there is nowhere to say it", at),
        ClaimWhat::Say { drafts } => {
            if drafts.len() > MESSAGES_MAX {
                return Err(broken(format!("{} messages of schedule {}", drafts.len(), claim.schedule)));
            }
            let waiting = usize::try_from(outbox::waiting(connection)?).unwrap_or(usize::MAX);
            if waiting.saturating_add(drafts.len()) > usize::try_from(OUTBOX_PENDING_MAX).unwrap_or(usize::MAX) {
                return Ok(Claimed::Full);
            }
            let Schedule { session, .. } = schedules::known(connection, claim.schedule)?;
            let reply = Reply { session: Some(accept::session(connection, &session, at)?), ..Reply::default() };
            let sent = outbox::enqueue(connection, drafts, &reply, at)?;
            let row = Does { outbox: sent.outbox.first().map(|id| id.0), ..Does::running() };
            Ok(done(write(connection, claim, &row, at)?, None))
        }
        ClaimWhat::Ask { session, route, principal, user, content, pending_max } => {
            if let Some(reason) = chats::shut(connection, Chat::of(route))? {
                // Its answer would reach nobody, and cost money.
                let note = format!("the chat is shut: {reason}");
                let row = Does { state: RunState::Failed, note: &note, ..Does::running() };
                return Ok(done(write(connection, claim, &row, at)?, None));
            }
            if !accept::has_room(connection, session, *pending_max)? {
                return Ok(Claimed::Full);
            }
            let slot = (claim.schedule, claim.slot);
            let new = Scheduled { slot, session, route, principal, user: *user, content };
            let Some(inbox) = accept::scheduled(connection, &new, at)? else { return taken(connection, claim) };
            let row = Does { inbox: Some(inbox.0), ..Does::running() };
            Ok(done(write(connection, claim, &row, at)?, Some(inbox)))
        }
    }
}

fn skip(connection: &Connection, claim: &Claim, note: &str, at: Timestamp) -> Done<Claimed> {
    let row = Does { state: RunState::Skipped, note, ..Does::running() };
    Ok(Claimed::Skipped { run: write(connection, claim, &row, at)? })
}

/// What does a run.
struct Does<'a> {
    state: RunState,
    inbox: Option<i64>,
    outbox: Option<i64>,
    note: &'a str,
}

impl Does<'_> {
    const fn running() -> Self {
        Self { state: RunState::Running, inbox: None, outbox: None, note: "" }
    }
}

fn write(connection: &Connection, claim: &Claim, does: &Does<'_>, at: Timestamp) -> Done<RunId> {
    rows::change(
        connection,
        "INSERT INTO runs (schedule, slot, state, manual, late, skipped, claimed_at, boot, inbox, outbox, note)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, (SELECT value FROM meta WHERE key = 'boot'), ?8, ?9, ?10)",
        params![
            claim.schedule.0,
            claim.slot.0,
            rows::run_word(does.state),
            claim.manual,
            claim.late,
            rows::signed(claim.skipped),
            at.0,
            does.inbox,
            does.outbox,
            does.note,
        ],
    )?;
    let run = RunId(connection.last_insert_rowid());
    go_on(connection, claim)?;
    Ok(run)
}

/// Sets the next time; by hand it stays.
fn go_on(connection: &Connection, claim: &Claim) -> Done<()> {
    if !claim.manual {
        rows::change(
            connection,
            "UPDATE schedules SET next_at = ?2, off = iif(?2 IS NULL, 'it has run', NULL), ended = (?2 IS NULL)
             WHERE id = ?1",
            params![claim.schedule.0, claim.next.map(|next| next.0)],
        )?;
    }
    Ok(())
}

/// Whether the newest run that a time has given is not over. By hand there may be one beside it.
fn under_way(connection: &Connection, schedule: ScheduleId) -> Done<bool> {
    let sql = format!("{COLUMNS} WHERE schedule = ?1 AND manual = 0 AND state <> 'skipped' ORDER BY id DESC LIMIT 1");
    let newest = rows::first(connection, &sql, [schedule.0], |row| read(connection, row))?;
    Ok(newest.is_some_and(|run| run.state == RunState::Running))
}

/// How many of the newest runs have failed, back to the last that has not. What was skipped, or is not over, is neither.
pub(crate) fn failing(connection: &Connection, schedule: ScheduleId, counted_from: i64) -> Done<Failing> {
    let mut failing = Failing { failures: 0, why: String::new() };
    let mut statement = connection.prepare_cached(&format!(
        "{COLUMNS} WHERE schedule = ?1 AND id > ?2 AND state <> 'skipped' ORDER BY id DESC"
    ))?;
    let mut rows = statement.query(params![schedule.0, counted_from])?;
    while let Some(row) = rows.next()? {
        let run = read(connection, row)?;
        match run.state {
            RunState::Failed => {
                failing.failures += 1;
                if failing.why.is_empty() {
                    failing.why = run.note;
                }
            }
            RunState::Done => break,
            RunState::Running | RunState::Skipped | RunState::Unknown => {}
        }
        if failing.failures >= SCHEDULE_FAILURES_MAX {
            break;
        }
    }
    Ok(failing)
}

/// Runs of a schedule, newest first.
pub(crate) fn list(connection: &Connection, schedule: ScheduleId, limit: u32) -> Done<Vec<RunView>> {
    let sql = format!("{COLUMNS} WHERE schedule = ?1 ORDER BY id DESC LIMIT ?2");
    rows::all(connection, &sql, params![schedule.0, limit], |row| read(connection, row))
}

/// Writes down how runs went before the rows that say so are forgotten.
pub(crate) fn freeze(connection: &Connection, at: Timestamp) -> Done<()> {
    // A run from the future was taken when the clock was wrong; its rows have the right time by now.
    let old = format!("{COLUMNS} WHERE state = 'running' AND (claimed_at < ?1 OR claimed_at > ?2)");
    let cutoff = at.0.saturating_sub(i64::try_from(FROZEN_AFTER.as_millis()).unwrap_or(i64::MAX));
    let old = rows::all(connection, &old, [cutoff, at.0], |row| read(connection, row))?;
    old.iter().try_for_each(|run| keep(connection, run))
}

fn keep(connection: &Connection, run: &RunView) -> Done<()> {
    if run.state != RunState::Running {
        let sql = "UPDATE runs SET state = ?2, note = ?3 WHERE id = ?1";
        rows::change(connection, sql, params![run.id.0, rows::run_word(run.state), run.note])?;
    }
    Ok(())
}

/// Forgets all but the newest runs of each schedule, at most `limit`; how many. It looks at every run, and there are not many.
pub(crate) fn forget(connection: &Connection, limit: usize) -> Done<usize> {
    let many = "SELECT schedule, (SELECT id FROM runs AS kept WHERE kept.schedule = runs.schedule
                                  ORDER BY id DESC LIMIT 1 OFFSET ?1 - 1)
                FROM runs GROUP BY schedule HAVING count(*) > ?1";
    let many: Vec<(i64, i64)> = rows::all(connection, many, [RUNS_KEPT], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut forgotten = 0;
    for (schedule, first) in many {
        let open = format!("{COLUMNS} WHERE schedule = ?1 AND id < ?2 AND state = 'running'");
        let open = rows::all(connection, &open, [schedule, first], |row| read(connection, row))?;
        open.iter().try_for_each(|run| keep(connection, run))?;
        forgotten += rows::change(
            connection,
            "DELETE FROM runs WHERE id IN (
                 SELECT id FROM runs WHERE schedule = ?1 AND id < ?2 AND state <> 'running' ORDER BY id LIMIT ?3)",
            params![schedule, first, i64::try_from(limit.saturating_sub(forgotten)).unwrap_or(i64::MAX)],
        )?;
    }
    Ok(forgotten)
}

/// The columns that [`read`] reads.
const COLUMNS: &str =
    "SELECT id, schedule, slot, claimed_at, manual, late, skipped, state, note, inbox, outbox FROM runs";

fn read(connection: &Connection, row: &Row<'_>) -> Done<RunView> {
    let stored: String = row.get(7)?;
    let (inbox, outbox): (Option<i64>, Option<i64>) = (row.get(9)?, row.get(10)?);
    let (state, note) = match (rows::run_state(&stored)?, inbox, outbox) {
        (RunState::Running, Some(inbox), _) => asked(connection, inbox)?,
        (RunState::Running, None, Some(outbox)) => said(connection, outbox)?,
        (state, _, _) => (state, row.get(8)?),
    };
    Ok(RunView {
        id: RunId(row.get(0)?),
        schedule: ScheduleId(row.get(1)?),
        slot: rows::time(row, 2)?,
        claimed_at: rows::time(row, 3)?,
        manual: row.get(4)?,
        late: row.get(5)?,
        skipped: rows::unsigned(row, 6)?,
        state,
        note,
        inbox: inbox.map(InboxId),
    })
}

/// What became of a turn. Its row in the inbox is forgotten before its own, so either may be there.
fn asked(connection: &Connection, inbox: i64) -> Done<(RunState, String)> {
    let found = rows::first(
        connection,
        "SELECT inbox.state, inbox.outcome, turns.session, turns.turn, turns.outcome
         FROM (SELECT ?1 AS id) LEFT JOIN inbox USING (id) LEFT JOIN turns ON turns.inbox = coalesce(inbox.joined, ?1)",
        [inbox],
        |row| {
            let turn: Option<(i64, i64)> = row.get::<_, Option<i64>>(2)?.zip(row.get(3)?);
            Ok((row.get(0)?, row.get(1)?, turn, row.get(4)?))
        },
    )?;
    let (state, why, turn, outcome): (Option<String>, Option<String>, _, Option<String>) = found.unwrap_or_default();
    Ok(match (state.as_deref(), turn, outcome.as_deref()) {
        (_, Some(turn), Some("reply")) => match sends(connection, Sends::Of(turn))? {
            Sent::All => (RunState::Done, "answered and delivered".to_owned()),
            Sent::Nothing => (RunState::Done, "answered".to_owned()),
            Sent::NotYet => (RunState::Running, "answered, not delivered yet".to_owned()),
            Sent::GivenUp(error) => (RunState::Failed, format!("answered, not delivered: {error}")),
        },
        (_, Some(_), Some("stopped")) => (RunState::Skipped, "stopped".to_owned()),
        (_, Some(_), Some(outcome)) => (RunState::Failed, format!("the turn ended with: {outcome}")),
        (_, Some(_), None) | (Some("claimed"), None, _) => (RunState::Running, "the agent is at it".to_owned()),
        (Some("received"), None, _) => (RunState::Running, "it waits for its turn".to_owned()),
        (Some("done"), None, _) => (RunState::Done, "done".to_owned()),
        (Some("dropped"), None, _) => (RunState::Skipped, format!("dropped: {}", why.unwrap_or_default())),
        (Some(state), None, _) => (RunState::Failed, state.to_owned()),
        (None, None, _) => (RunState::Unknown, LOST.to_owned()),
    })
}

/// What became of a message.
fn said(connection: &Connection, first: i64) -> Done<(RunState, String)> {
    Ok(match sends(connection, Sends::From(first))? {
        Sent::All => (RunState::Done, "delivered".to_owned()),
        Sent::NotYet => (RunState::Running, "not delivered yet".to_owned()),
        Sent::GivenUp(error) => (RunState::Failed, format!("not delivered: {error}")),
        Sent::Nothing => (RunState::Unknown, LOST.to_owned()),
    })
}

const LOST: &str = "nobody knows any more";

/// Which messages.
enum Sends {
    /// A turn's.
    Of((i64, i64)),
    /// A reply's, from its first row on. The rows were written at once, so their numbers are close together.
    From(i64),
}

/// How far messages are.
enum Sent {
    Nothing,
    All,
    NotYet,
    GivenUp(String),
}

fn sends(connection: &Connection, which: Sends) -> Done<Sent> {
    let (condition, one, two) = match which {
        Sends::Of((session, turn)) => ("session = ?1 AND turn = ?2", session, turn),
        Sends::From(first) => {
            let more = i64::try_from(MESSAGES_MAX).unwrap_or(i64::MAX);
            ("id BETWEEN ?1 AND ?2 AND reply = ?1", first, first.saturating_add(more))
        }
    };
    // Questions and notices are not what was asked for.
    let sql = format!(
        "SELECT state, coalesce(error, '') FROM outbox
         WHERE {condition} AND kind IN ('text', 'file') AND withdrawn = 0 ORDER BY id"
    );
    let sends: Vec<(String, String)> = rows::all(connection, &sql, [one, two], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if let Some((_, error)) = sends.iter().find(|(state, _)| state == "dead") {
        return Ok(Sent::GivenUp(error.clone()));
    }
    Ok(match sends.iter().all(|(state, _)| state == "sent") {
        _ if sends.is_empty() => Sent::Nothing,
        true => Sent::All,
        false => Sent::NotYet,
    })
}
