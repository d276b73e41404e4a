//! The whole database once more under another key: written beside the old file, compared with it, and put in its place.
//!
//! Until the rename the old file is whole and opens with the old key; after it the new one is whole and opens with the new key.
//! A copy that was not finished is removed at the next start ([`clean`]). Nothing is ever changed in place. The caller holds
//! the data folder's lock.

use crate::fault::Done;
use crate::open::{self, OpenError};
use crate::{audit, vault};
use blufio_core::audit::AuditEntry;
use blufio_core::failpoint::{Failpoint, hit};
use blufio_core::keys::DatabaseKey;
use blufio_core::port::StoreError;
use blufio_core::record::Vault;
use blufio_core::time::Timestamp;
use blufio_core::vault::VaultChange;
use rusqlite::{Connection, OpenFlags, params};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Steps of SQLite's machine between two looks at how large the copy is.
const STEPS_PER_LOOK: i32 = 200_000;
/// Bytes overwritten at a time.
const SHRED_BYTES: usize = 1024 * 1024;

/// Encrypts a plain database. `progress` gets the bytes written so far and about how many there will be.
///
/// The old file's content is overwritten afterwards, as far as the file system does that in place.
///
/// # Errors
/// The file is encrypted already, is not ours, cannot be read, or there is no room for its copy; it is left as it was.
pub fn encrypt(
    path: &Path,
    key: &DatabaseKey,
    progress: impl FnMut(u64, u64) + Send + 'static,
) -> Result<(), OpenError> {
    replace(path, (None, key), None, progress, &hit)
}

/// What becomes another along with the database's key, in the copy, before anything counts.
pub struct Rewrite {
    /// The key that sealed the audit log, and the one that seals it from now on.
    pub audit_keys: [Zeroizing<[u8; 32]>; 2],
    /// The vault's header as it is, and what takes its place; `None`: there is no vault.
    pub vault: Option<(Vec<u8>, VaultChange)>,
    /// What the audit log says about it, and when.
    pub audit: (Vec<AuditEntry>, Timestamp),
}

/// Gives an encrypted database another key, in the same way, and with it everything in it that hangs on another key.
///
/// # Errors
/// As [`encrypt`]; `old` is not its key, or the vault is not the one that was to be replaced.
pub fn rekey(
    path: &Path,
    (old, new): (&DatabaseKey, &DatabaseKey),
    rewrite: &Rewrite,
    progress: impl FnMut(u64, u64) + Send + 'static,
) -> Result<(), OpenError> {
    replace(path, (Some(old), new), Some(rewrite), progress, &hit)
}

/// Whether an encrypted database opens with this key. Nothing is changed.
///
/// # Errors
/// It cannot be read, is plain, or not ours.
pub fn opens(path: &Path, key: &DatabaseKey) -> Result<bool, OpenError> {
    match open::bare(path, Some(key), OpenFlags::SQLITE_OPEN_READ_ONLY) {
        Ok(_) => Ok(true),
        Err(OpenError::WrongKey) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes a copy that was not finished.
pub(crate) fn clean(path: &Path) -> io::Result<()> {
    let copy = beside(path, ".new");
    for file in [beside(&copy, "-wal"), beside(&copy, "-shm"), beside(&copy, "-journal"), copy] {
        remove(&file)?;
    }
    Ok(())
}

fn replace(
    path: &Path,
    (old, new): (Option<&DatabaseKey>, &DatabaseKey),
    rewrite: Option<&Rewrite>,
    progress: impl FnMut(u64, u64) + Send + 'static,
    reached: &dyn Fn(Failpoint),
) -> Result<(), OpenError> {
    clean(path).map_err(OpenError::File)?;
    reached(Failpoint::ExportBeforeWrite);
    let copy = beside(path, ".new");
    let written = write(path, old, (&copy, new), progress)
        .and_then(|()| rewrite.map_or(Ok(()), |rewrite| amend(&copy, new, rewrite)))
        .and_then(|()| check(&copy, new));
    if written.is_err()
        && let Err(error) = clean(path)
    {
        tracing::warn!(%error, "an unfinished copy of the database could not be removed; the next start does it");
    }
    written?;
    reached(Failpoint::ExportAfterWrite);
    put_in_place(path, &copy, reached).map_err(OpenError::File)
}

/// Writes the copy and compares it with the original.
fn write(
    path: &Path,
    old: Option<&DatabaseKey>,
    (copy, new): (&Path, &DatabaseKey),
    mut progress: impl FnMut(u64, u64) + Send + 'static,
) -> Result<(), OpenError> {
    let mut connection = open::bare(path, old, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // Everything is in the file from now on, and its log is empty: a log that is left beside another file belongs to nobody.
    let busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy {
        return Err(OpenError::Database("somebody else reads the database".to_owned()));
    }
    open::private_file(copy).map_err(OpenError::File)?;
    // The only ATTACH there is: it takes the key as a value, and the copy is made by one statement.
    let name = copy.to_str().ok_or_else(|| OpenError::File(io::ErrorKind::InvalidFilename.into()))?;
    connection.execute("ATTACH DATABASE ?1 AS new KEY ?2", params![name, *raw(new)])?;
    let number = |name: &str| -> rusqlite::Result<i64> {
        connection.query_row(&format!("PRAGMA main.{name}"), [], |row| row.get(0))
    };
    let total = u64::try_from(number("page_count")?).unwrap_or(0).saturating_mul(open::PAGE);
    let (vacuum, version, owner) = (number("auto_vacuum")?, number("user_version")?, number("application_id")?);
    // A copy that is not finished is thrown away, so it needs no journal; it is synced as a whole before it counts.
    connection.execute_batch(&format!(
        "PRAGMA foreign_keys = OFF; PRAGMA temp_store = MEMORY;
         PRAGMA new.auto_vacuum = {vacuum}; PRAGMA new.journal_mode = OFF; PRAGMA new.synchronous = OFF;"
    ))?;
    let watched = copy.to_owned();
    let look = move || {
        progress(fs::metadata(&watched).map_or(0, |copy| copy.len()).min(total), total);
        false
    };
    connection.progress_handler(STEPS_PER_LOOK, Some(look))?;
    connection.query_row("SELECT sqlcipher_export('new')", [], |_| Ok(()))?;
    connection.execute_batch(&format!("PRAGMA new.user_version = {version}; PRAGMA new.application_id = {owner};"))?;
    compare(&connection)
}

/// The same tables, and in each as many rows.
fn compare(connection: &Connection) -> Result<(), OpenError> {
    let schema = "SELECT count(*) FROM (SELECT type, name, tbl_name, sql FROM";
    for (one, other) in [("main", "new"), ("new", "main")] {
        let sql =
            format!("{schema} {one}.sqlite_schema EXCEPT SELECT type, name, tbl_name, sql FROM {other}.sqlite_schema)");
        let differing: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
        if differing != 0 {
            return Err(OpenError::Copy(format!("{differing} tables or indexes of {one} are not in {other}")));
        }
    }
    // An index of words has no rows of its own: they are in tables beside it.
    let mut tables = connection.prepare("SELECT name FROM main.sqlite_schema WHERE type = 'table' AND rootpage > 0")?;
    let tables: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for table in tables {
        let quoted = table.replace('"', "\"\"");
        let count = |of: &str| -> rusqlite::Result<i64> {
            connection.query_row(&format!("SELECT count(*) FROM {of}.\"{quoted}\""), [], |row| row.get(0))
        };
        let (old, new) = (count("main")?, count("new")?);
        if old != new {
            return Err(OpenError::Copy(format!("{old} rows of {table} became {new}")));
        }
    }
    Ok(())
}

/// Changes in the copy what hangs on other keys.
fn amend(copy: &Path, key: &DatabaseKey, rewrite: &Rewrite) -> Result<(), OpenError> {
    let mut connection = open::bare(copy, Some(key), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA secure_delete = ON; PRAGMA journal_mode = MEMORY;")?;
    let [old, new] = &rewrite.audit_keys;
    audit::arm(&connection, Some(new.clone()))?;
    let transaction = connection.transaction()?;
    let change = || -> Done<()> {
        audit::reseal(&transaction, old, new)?;
        let (entries, at) = &rewrite.audit;
        match &rewrite.vault {
            Some((over, change)) => vault::keep(&transaction, Some(over), change, entries, *at),
            None if vault::vault(&transaction)? == Vault::default() => audit::append(&transaction, entries, *at),
            None => Err(StoreError::Stale("the vault").into()),
        }
    };
    change().map_err(|fault| OpenError::Database(StoreError::from(fault).to_string()))?;
    Ok(transaction.commit()?)
}

/// The copy opens alone with its key, every page of it is authentic, and it is on the disk.
fn check(copy: &Path, key: &DatabaseKey) -> Result<(), OpenError> {
    let connection = open::bare(copy, Some(key), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mut pages = connection.prepare("PRAGMA cipher_integrity_check")?;
    if let Some(row) = pages.query([])?.next()? {
        return Err(OpenError::Copy(row.get(0)?));
    }
    drop(pages);
    let sound: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if sound != "ok" {
        return Err(OpenError::Copy(sound));
    }
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    drop(connection);
    File::open(copy).and_then(|file| file.sync_all()).map_err(OpenError::File)
}

/// The rename, after which the new key is the right one. No log may be beside the file then: the old one's would be taken for
/// the new one's.
fn put_in_place(path: &Path, copy: &Path, reached: &dyn Fn(Failpoint)) -> io::Result<()> {
    for log in ["-wal", "-shm"].map(|end| beside(path, end)) {
        let left = fs::metadata(&log).map_or(0, |log| log.len());
        if left > 0 && log.to_string_lossy().ends_with("-wal") {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "somebody else writes to the database"));
        }
        remove(&log)?;
    }
    let mut old = OpenOptions::new().write(true).open(path)?;
    reached(Failpoint::ExportBeforeRename);
    fs::rename(copy, path)?;
    File::open(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))?.sync_all()?;
    reached(Failpoint::ExportAfterRename);
    reached(Failpoint::ExportBeforeShred);
    if let Err(error) = shred(&mut old) {
        tracing::warn!(%error, "the old content of the database could not be overwritten; its file is gone");
    }
    reached(Failpoint::ExportAfterShred);
    Ok(())
}

/// Overwrites a file that has no name any more.
fn shred(file: &mut File) -> io::Result<()> {
    let zeroes = vec![0; SHRED_BYTES];
    let mut left = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    while left > 0 {
        let bytes = left.min(SHRED_BYTES);
        file.write_all(zeroes.get(..bytes).unwrap_or(&zeroes))?;
        left -= bytes;
    }
    file.sync_all()
}

/// The raw form of a key, as a value.
fn raw(key: &DatabaseKey) -> Zeroizing<String> {
    let digits = key.reveal();
    let mut text = Zeroizing::new(String::with_capacity(digits.len() + 3));
    text.push_str("x'");
    text.push_str(&digits);
    text.push('\'');
    text
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    PathBuf::from(name)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
