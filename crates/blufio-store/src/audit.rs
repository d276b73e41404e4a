//! The audit log in its tables: appended to with the change that it records, read back entry by entry.
//!
//! The writing connection seals entries with a function of its own ([`arm`]), so that whoever writes can record, and nobody
//! has to carry the key.

use crate::fault::{Done, broken};
use crate::rows;
use blufio_core::audit::{
    AuditEntry, AuditHead, AuditVerdict, Checker, Link, SALT_BYTES, StoredLink, detail_hash, seal,
};
use blufio_core::crypto::same;
use blufio_core::ids::{SessionId, SessionKey};
use blufio_core::record::AuditView;
use blufio_core::time::Timestamp;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, Row, params};
use zeroize::Zeroizing;

/// Entries in one answer to a query. More: the newest ones.
const SHOWN_MAX: u32 = 1_000;

/// Teaches a connection to seal entries; without a key their seals are empty.
pub(crate) fn arm(connection: &Connection, key: Option<Zeroizing<[u8; 32]>>) -> rusqlite::Result<()> {
    connection.create_scalar_function("audit_seal", 1, FunctionFlags::SQLITE_DIRECTONLY, move |call| {
        let hash: [u8; 32] = call.get(0)?;
        Ok(key.as_ref().map_or_else(Vec::new, |key| seal(key, &hash).to_vec()))
    })
}

/// Makes the seals anew with another key. A seal that the old key did not make stays what it is: a forged entry must not
/// become a good one by a change of keys.
pub(crate) fn reseal(connection: &Connection, old: &[u8; 32], new: &[u8; 32]) -> Done<()> {
    let (old, new) = (Zeroizing::new(*old), Zeroizing::new(*new));
    connection.create_scalar_function("audit_reseal", 2, FunctionFlags::SQLITE_DIRECTONLY, move |call| {
        let (hash, mac): (Vec<u8>, Vec<u8>) = (call.get(0)?, call.get(1)?);
        let hash = <[u8; 32]>::try_from(hash).ok().filter(|hash| same(&seal(&old, hash), &mac));
        Ok(hash.map_or(mac, |hash| seal(&new, &hash).to_vec()))
    })?;
    rows::change(connection, "UPDATE audit SET mac = audit_reseal(hash, mac)", [])?;
    Ok(())
}

/// Appends entries, in order.
pub(crate) fn append(connection: &Connection, entries: &[AuditEntry], at: Timestamp) -> Done<()> {
    entries.iter().try_for_each(|entry| append_one(connection, entry.clone().bounded(), at))
}

fn append_one(connection: &Connection, entry: AuditEntry, at: Timestamp) -> Done<()> {
    let last = rows::first(connection, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", [], |row| {
        Ok((rows::unsigned(row, 0)?, row.get::<_, [u8; 32]>(1)?))
    })?;
    let (last, prev) = last.unwrap_or_default();
    let random = rows::first(connection, "SELECT randomblob(16)", [], |row| Ok(row.get::<_, [u8; SALT_BYTES]>(0)?))?;
    let salt = random.ok_or_else(|| broken("SQLite has no chance to give"))?;
    let json = serde_json::to_string(&entry.detail)?;
    let link = Link {
        seq: last.saturating_add(1),
        at,
        kind: entry.kind.as_str(),
        actor: &entry.actor,
        session: entry.session.as_ref().map(SessionKey::as_str),
        target: &entry.target,
        detail: detail_hash(&salt, &json),
        outcome: &entry.outcome,
        prev,
    };
    let hash = link.hash();
    rows::change(
        connection,
        "INSERT INTO audit (seq, ts_ms, kind, actor, session, target, detail_hash, outcome, prev, hash, mac)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, audit_seal(?10))",
        params![
            rows::signed(link.seq),
            at.0,
            link.kind,
            link.actor,
            link.session,
            link.target,
            link.detail,
            link.outcome,
            link.prev,
            hash
        ],
    )?;
    let detail = "INSERT INTO audit_detail (seq, salt, json) VALUES (?1, ?2, ?3)";
    rows::change(connection, detail, params![rows::signed(link.seq), salt, json])?;
    Ok(())
}

/// The key of a session that an entry belongs to.
pub(crate) fn session_key(connection: &Connection, session: SessionId) -> Done<Option<SessionKey>> {
    rows::first(connection, "SELECT key FROM sessions WHERE id = ?1", [session.0], |row| {
        Ok(SessionKey::new(row.get::<_, String>(0)?))
    })
}

/// Entries, newest first.
pub(crate) fn list(connection: &Connection, limit: u32, before: Option<u64>) -> Done<Vec<AuditView>> {
    rows::all(
        connection,
        "SELECT seq, ts_ms, kind, actor, session, target, outcome, json FROM audit LEFT JOIN audit_detail USING (seq)
         WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2",
        params![before.map_or(i64::MAX, rows::signed), limit.min(SHOWN_MAX)],
        |row| {
            let (session, detail): (Option<String>, Option<String>) = (row.get(4)?, row.get(7)?);
            Ok(AuditView {
                seq: rows::unsigned(row, 0)?,
                at: rows::time(row, 1)?,
                kind: row.get(2)?,
                actor: row.get(3)?,
                session: session.map(SessionKey::new),
                target: row.get(5)?,
                outcome: row.get(6)?,
                detail: detail.map(|json| serde_json::from_str(&json)).transpose()?,
            })
        },
    )
}

/// Looks at the whole chain.
pub(crate) fn verify(connection: &Connection, key: Option<&[u8; 32]>, since: Option<AuditHead>) -> Done<AuditVerdict> {
    let counted = "SELECT seq FROM sqlite_sequence WHERE name = 'audit'";
    let counted = rows::first(connection, counted, [], |row| rows::unsigned(row, 0))?.unwrap_or(0);
    let mut checker = Checker::new(key, since);
    let mut statement = connection.prepare_cached(
        "SELECT seq, ts_ms, kind, actor, session, target, detail_hash, outcome, prev, hash, mac, salt, json
         FROM audit LEFT JOIN audit_detail USING (seq) ORDER BY seq",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if !look(&mut checker, row)? {
            break;
        }
    }
    Ok(checker.finish(counted))
}

fn look(checker: &mut Checker<'_>, row: &Row<'_>) -> Done<bool> {
    let (kind, actor, target): (String, String, String) = (row.get(2)?, row.get(3)?, row.get(5)?);
    let (session, outcome): (Option<String>, String) = (row.get(4)?, row.get(7)?);
    let (hash, mac): (Vec<u8>, Vec<u8>) = (row.get(9)?, row.get(10)?);
    let (salt, json): (Option<Vec<u8>>, Option<String>) = (row.get(11)?, row.get(12)?);
    // A hash of another length was never written by us; as zeroes it fits nothing.
    let fixed = |bytes: Vec<u8>| <[u8; 32]>::try_from(bytes).unwrap_or_default();
    let link = Link {
        seq: rows::unsigned(row, 0)?,
        at: rows::time(row, 1)?,
        kind: &kind,
        actor: &actor,
        session: session.as_deref(),
        target: &target,
        detail: fixed(row.get(6)?),
        outcome: &outcome,
        prev: fixed(row.get(8)?),
    };
    let detail = salt.as_deref().zip(json.as_deref());
    Ok(checker.add(&StoredLink { link, hash: &hash, mac: &mac, detail }))
}
