//! What an owner has said may always run: made with the answer that says so, counted with the calls that use it, and taken
//! back for ever. Each of the three is recorded in the same transaction.

use crate::fault::{Done, broken, not_found};
use crate::{audit, rows};
use blufio_core::audit::{AuditEntry, AuditKind};
use blufio_core::ids::{CallId, GrantId, SessionId, SessionKey, ToolName, TurnNumber};
use blufio_core::policy::POLICY_VERSION;
use blufio_core::record::Grant;
use blufio_core::time::Timestamp;
use rusqlite::{Connection, Row, params};
use serde_json::json;

const COLUMNS: &str = "id, tool, arguments, made_at, made_by, used_at, uses";

fn read(row: &Row<'_>) -> Done<Grant> {
    let (tool, used): (String, Option<i64>) = (row.get(1)?, row.get(5)?);
    Ok(Grant {
        id: GrantId(row.get(0)?),
        tool: ToolName::new(tool),
        arguments: row.get(2)?,
        made_at: rows::time(row, 3)?,
        made_by: row.get(4)?,
        used_at: used.map(Timestamp),
        uses: rows::unsigned(row, 6)?,
    })
}

/// Those that hold, oldest first.
pub(crate) fn list(connection: &Connection) -> Done<Vec<Grant>> {
    let sql = format!("SELECT {COLUMNS} FROM grants WHERE revoked_at IS NULL AND policy_version = ?1 ORDER BY id");
    rows::all(connection, &sql, [POLICY_VERSION], read)
}

/// The one that holds for what has this hash.
pub(crate) fn find(connection: &Connection, hash: &str) -> Done<Option<Grant>> {
    let sql = format!("SELECT {COLUMNS} FROM grants WHERE hash = ?1 AND revoked_at IS NULL AND policy_version = ?2");
    rows::first(connection, &sql, params![hash, POLICY_VERSION], read)
}

/// What an owner was asked about, and now always allows.
pub(crate) struct Always<'a> {
    pub(crate) session: Option<SessionKey>,
    pub(crate) tool: &'a str,
    pub(crate) arguments: &'a str,
    pub(crate) hash: &'a str,
    pub(crate) by: &'a str,
}

/// Makes one, unless the same holds already.
pub(crate) fn make(connection: &Connection, always: &Always<'_>, at: Timestamp) -> Done<()> {
    let Always { tool, arguments, hash, by, .. } = always;
    let made = rows::first(
        connection,
        "INSERT INTO grants (tool, arguments, hash, policy_version, made_at, made_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (hash) WHERE revoked_at IS NULL DO NOTHING RETURNING id",
        params![tool, arguments, hash, POLICY_VERSION, at.0, by],
        |row| Ok(GrantId(row.get(0)?)),
    )?;
    let Some(id) = made else { return Ok(()) };
    let entry = AuditEntry {
        kind: AuditKind::GrantMade,
        actor: (*by).to_owned(),
        session: always.session.clone(),
        target: target(id),
        outcome: "made".to_owned(),
        detail: json!({ "tool": tool, "arguments": arguments, "hash": hash, "policy": POLICY_VERSION }),
    };
    audit::append(connection, &[entry], at)
}

/// The call that runs because of one.
pub(crate) struct Use<'a> {
    pub(crate) id: GrantId,
    pub(crate) session: SessionId,
    pub(crate) turn: TurnNumber,
    pub(crate) call: &'a CallId,
}

/// Counts a use. One that was taken back since it was looked up is none.
pub(crate) fn used(connection: &Connection, usage: &Use<'_>, at: Timestamp) -> Done<()> {
    let tool = rows::first(
        connection,
        "UPDATE grants SET uses = uses + 1, used_at = ?2 WHERE id = ?1 AND revoked_at IS NULL RETURNING tool",
        params![usage.id.0, at.0],
        |row| Ok(row.get::<_, String>(0)?),
    )?;
    let tool = tool.ok_or_else(|| not_found(format!("no grant {} that holds", usage.id)))?;
    let principal = "SELECT principal_id FROM turns WHERE session = ?1 AND turn = ?2";
    let actor = rows::first(connection, principal, params![usage.session.0, usage.turn.0], |row| Ok(row.get(0)?))?;
    let entry = AuditEntry {
        kind: AuditKind::GrantUsed,
        actor: actor
            .ok_or_else(|| broken(format!("turn {} of session {} does not exist", usage.turn, usage.session)))?,
        session: audit::session_key(connection, usage.session)?,
        target: target(usage.id),
        outcome: "used".to_owned(),
        detail: json!({ "tool": tool, "turn": usage.turn, "call": usage.call }),
    };
    audit::append(connection, &[entry], at)
}

/// Takes one back; false if none of that number holds.
pub(crate) fn revoke(connection: &Connection, id: GrantId, by: &str, at: Timestamp) -> Done<bool> {
    let tool = rows::first(
        connection,
        "UPDATE grants SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL RETURNING tool",
        params![id.0, at.0],
        |row| Ok(row.get::<_, String>(0)?),
    )?;
    let Some(tool) = tool else { return Ok(false) };
    let entry = AuditEntry {
        kind: AuditKind::GrantRevoked,
        actor: by.to_owned(),
        session: None,
        target: target(id),
        outcome: "revoked".to_owned(),
        detail: json!({ "tool": tool }),
    };
    audit::append(connection, &[entry], at)?;
    Ok(true)
}

fn target(id: GrantId) -> String {
    format!("grant {id}")
}
