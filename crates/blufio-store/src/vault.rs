//! The vault's tables: sealed rows and the header that lists them, changed together. What is in them is not known here.

use crate::fault::Done;
use crate::{audit, rows};
use blufio_core::audit::AuditEntry;
use blufio_core::port::StoreError;
use blufio_core::record::Vault;
use blufio_core::time::Timestamp;
use blufio_core::vault::{SealedSecret, VaultChange};
use rusqlite::{Connection, params};

pub(crate) fn vault(connection: &Connection) -> Done<Vault> {
    let sql =
        "SELECT name, version, scope, allowed_hosts, salt, nonce, ct, dek_version, created_at FROM vault ORDER BY name";
    let rows = rows::all(connection, sql, [], |row| {
        let hosts: String = row.get(3)?;
        Ok(SealedSecret {
            name: row.get(0)?,
            version: row.get(1)?,
            scope: row.get(2)?,
            allowed_hosts: serde_json::from_str(&hosts)?,
            salt: row.get(4)?,
            nonce: row.get(5)?,
            ct: row.get(6)?,
            dek_version: row.get(7)?,
            created: rows::time(row, 8)?,
        })
    })?;
    Ok(Vault { header: header(connection)?, rows })
}

fn header(connection: &Connection) -> Done<Option<Vec<u8>>> {
    rows::first(connection, "SELECT bytes FROM vault_header WHERE id = 1", [], |row| Ok(row.get(0)?))
}

/// Puts a change in, unless somebody was faster.
pub(crate) fn keep(
    connection: &Connection,
    over: Option<&[u8]>,
    change: &VaultChange,
    entries: &[AuditEntry],
    at: Timestamp,
) -> Done<()> {
    if header(connection)?.as_deref() != over {
        return Err(StoreError::Stale("the vault").into());
    }
    rows::change(
        connection,
        "INSERT INTO vault_header (id, bytes) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET bytes = excluded.bytes",
        [&change.header],
    )?;
    for name in &change.remove {
        rows::change(connection, "DELETE FROM vault WHERE name = ?1", [name])?;
    }
    change.put.iter().try_for_each(|row| put(connection, row))?;
    audit::append(connection, entries, at)
}

fn put(connection: &Connection, row: &SealedSecret) -> Done<()> {
    rows::change(
        connection,
        "INSERT OR REPLACE INTO vault (name, version, scope, allowed_hosts, salt, nonce, ct, dek_version, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            row.name,
            row.version,
            row.scope,
            serde_json::to_string(&row.allowed_hosts)?,
            row.salt,
            row.nonce,
            row.ct,
            row.dek_version,
            row.created.0,
        ],
    )?;
    Ok(())
}
