//! Opening the file: who may read it, the settings of a connection, and the versions of the schema.

use crate::fault::Done;
use crate::{audit, export};
use blufio_core::failpoint::{Failpoint, hit};
use blufio_core::keys::DatabaseKey;
use blufio_core::port::StoreError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

/// The schema, one entry per version, applied in order and never edited after a release.
const MIGRATIONS: &[&str] = &[
    include_str!("schema/0001.sql"),
    include_str!("schema/0002.sql"),
    include_str!("schema/0003.sql"),
    include_str!("schema/0004.sql"),
    include_str!("schema/0005.sql"),
    include_str!("schema/0006.sql"),
];
/// `BLUF` in the file's header, so that nothing else is ever taken for our database.
const APPLICATION: i64 = 0x424C_5546;
/// How long a statement waits for another process (the command line, a backup) that holds the file.
pub(crate) const BUSY: Duration = Duration::from_millis(5_000);
/// Bytes that the file may have, unless [`crate::Store::limit_bytes`] says otherwise.
pub const BYTES_MAX: u64 = 20 * 1024 * 1024 * 1024;
/// Bytes of a page; asked for it, an encrypted database answers in words.
pub(crate) const PAGE: u64 = 4096;
/// Statements kept prepared per connection.
const STATEMENTS_MAX: usize = 96;

/// How every plain database begins; an encrypted one begins with the salt of its key.
const PLAIN: &[u8; 16] = b"SQLite format 3\0";

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file is encrypted with another key, or damaged. Nothing in it was changed.
    #[error("the database does not open with this key")]
    WrongKey,
    /// A key was given, and the file is not encrypted.
    #[error("the database is not encrypted")]
    Plain,
    /// No key was given, and the file is encrypted.
    #[error("the database is encrypted, and there is no key")]
    Encrypted,
    /// The copy that was to take the database's place is not the same; it was thrown away.
    #[error("the copy of the database is not the same: {0}")]
    Copy(String),
    /// A later version of the program wrote it.
    #[error("the database has schema {found}, this program knows {known}; install the newer version again")]
    Newer {
        /// The file's version.
        found: u32,
        /// The newest version this program knows.
        known: u32,
    },
    /// Opened for reading only, but it has to be brought up to date first.
    #[error("the database has schema {found}, this program needs {known}; start the service once")]
    Older {
        /// The file's version.
        found: u32,
        /// The version this program needs.
        known: u32,
    },
    /// A database of another program.
    #[error("the file is a database of another program")]
    Foreign,
    /// The file could not be created or read.
    #[error("{0}")]
    File(#[source] std::io::Error),
    /// SQLite refused.
    #[error("{0}")]
    Database(String),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.to_string())
    }
}

/// The newest schema this program knows.
#[must_use]
pub fn schema() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// The writing connection; creates and migrates the file.
pub(crate) fn writer(
    path: &Path,
    key: Option<&DatabaseKey>,
    audit_key: Option<Zeroizing<[u8; 32]>>,
) -> Result<Connection, OpenError> {
    export::clean(path).map_err(OpenError::File)?;
    private_file(path).map_err(OpenError::File)?;
    let mut connection = bare(path, key, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    audit::arm(&connection, audit_key)?;
    // Must come before the journal mode, which writes the first page; afterwards it is silently ignored.
    connection.execute_batch(&format!("PRAGMA page_size = {PAGE}; PRAGMA auto_vacuum = INCREMENTAL;"))?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA secure_delete = ON;
         PRAGMA journal_size_limit = 16777216;
         PRAGMA wal_autocheckpoint = 1000;",
    )?;
    settle(&connection, 1024)?;
    limit_bytes(&connection, BYTES_MAX).map_err(|fault| OpenError::Database(StoreError::from(fault).to_string()))?;
    migrate(&mut connection)?;
    Ok(connection)
}

/// A reading connection to a file that exists and is up to date.
pub(crate) fn reader(path: &Path, key: Option<&DatabaseKey>) -> Result<Connection, OpenError> {
    let connection = bare(path, key, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let found = version(&connection)?;
    if found < schema() {
        return Err(OpenError::Older { found, known: schema() });
    }
    settle(&connection, 512)?;
    Ok(connection)
}

/// A connection to a file that is ours and opens with this key, without any settings.
pub(crate) fn bare(path: &Path, key: Option<&DatabaseKey>, access: OpenFlags) -> Result<Connection, OpenError> {
    match (form(path).map_err(OpenError::File)?, key) {
        (Form::Plain, Some(_)) => return Err(OpenError::Plain),
        (Form::Other, None) => return Err(OpenError::Encrypted),
        (Form::Plain | Form::Short, None) | (Form::Other | Form::Short, Some(_)) => {}
    }
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    if let Some(key) = key {
        unlock(&connection, key)?;
    }
    check_owner(&connection)?;
    Ok(connection)
}

/// What a file looks like without a key.
enum Form {
    Plain,
    /// No database yet, or never one.
    Short,
    Other,
}

fn form(path: &Path) -> std::io::Result<Form> {
    let mut begin = Vec::new();
    File::open(path)?.take(PAGE).read_to_end(&mut begin)?;
    if begin.starts_with(PLAIN) {
        return Ok(Form::Plain);
    }
    // Every encrypted page has the full size.
    Ok(if u64::try_from(begin.len()).unwrap_or(0) < PAGE { Form::Short } else { Form::Other })
}

/// Gives a new connection its key and sees whether it fits.
fn unlock(connection: &Connection, key: &DatabaseKey) -> Result<(), OpenError> {
    // With a wrong key nothing is to be changed, and closing a connection would fold the log into the file.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // Otherwise a wrong key is told to the standard error output. Memory is overwritten where keys are held, not everywhere:
    // that makes searching ten times slower.
    connection.execute_batch("PRAGMA cipher_log_level = NONE;")?;
    connection.execute_batch(&pragma_key(key))?;
    connection.execute_batch("PRAGMA cipher_memory_security = OFF;")?;
    match connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => return Err(OpenError::WrongKey),
        Err(error) => return Err(error.into()),
        Ok(()) => {}
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(())
}

/// The raw form of a key, which is random already and so is not derived from anything.
fn pragma_key(key: &DatabaseKey) -> Zeroizing<String> {
    let digits = key.reveal();
    let mut pragma = Zeroizing::new(String::with_capacity(digits.len() + 32));
    pragma.push_str("PRAGMA key = \"x'");
    pragma.push_str(&digits);
    pragma.push_str("'\";");
    pragma
}

/// Sets how large the file may become; it never shrinks below what it has.
pub(crate) fn limit_bytes(connection: &Connection, bytes: u64) -> Done<()> {
    Ok(connection.query_row(&format!("PRAGMA max_page_count = {}", bytes / PAGE), [], |_| Ok(()))?)
}

/// The settings that every connection has; `cache` is its page cache in KiB.
fn settle(connection: &Connection, cache: u32) -> Result<(), OpenError> {
    connection.execute_batch(&format!(
        "PRAGMA foreign_keys = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;
         PRAGMA temp_store = MEMORY;
         PRAGMA mmap_size = 0;
         PRAGMA cache_size = -{cache};"
    ))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(())
}

/// Creates the file before SQLite does, so that nobody else can ever open it; the log beside it inherits the mode.
pub(crate) fn private_file(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
                fs::set_permissions(path, Permissions::from_mode(0o600))?;
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Refuses files of other programs and of later versions of this one, before anything is written.
fn check_owner(connection: &Connection) -> Result<(), OpenError> {
    let application: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let found = version(connection)?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let ours = application == APPLICATION || (application == 0 && found == 0 && tables == 0);
    if !ours {
        return Err(OpenError::Foreign);
    }
    if found > schema() {
        return Err(OpenError::Newer { found, known: schema() });
    }
    Ok(())
}

fn version(connection: &Connection) -> Result<u32, OpenError> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// Applies what is missing, each version in a transaction of its own.
fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    let found = version(connection)?;
    for (number, sql) in (1_u32..).zip(MIGRATIONS).skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", number)?;
        hit(Failpoint::MigrationBeforeCommit);
        transaction.commit()?;
        hit(Failpoint::MigrationAfterCommit);
    }
    Ok(())
}

/// The number kept under `key`.
pub(crate) fn meta(connection: &Connection, key: &str) -> Done<i64> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    Ok(statement.query_row([key], |row| row.get(0))?)
}

/// Keeps a number under `key`.
pub(crate) fn set_meta(connection: &Connection, key: &str, value: i64) -> Done<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )?;
    statement.execute((key, value))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn pragma(connection: &Connection, name: &str) -> i64 {
        connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn settings_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blufio.db");
        let writer = writer(&path, None, None).unwrap();
        let reader = reader(&path, None).unwrap();
        let mode: String = writer.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        for (name, value) in
            [("auto_vacuum", 2), ("synchronous", 2), ("secure_delete", 1), ("journal_size_limit", 16 << 20)]
        {
            assert_eq!(pragma(&writer, name), value, "{name}");
        }
        for connection in [&writer, &reader] {
            for (name, value) in [("foreign_keys", 1), ("trusted_schema", 0), ("cell_size_check", 1), ("temp_store", 2)]
            {
                assert_eq!(pragma(connection, name), value, "{name}");
            }
            assert_eq!(
                (pragma(connection, "busy_timeout"), pragma(connection, "application_id")),
                (5_000, APPLICATION)
            );
        }
        assert_eq!((pragma(&writer, "cache_size"), pragma(&reader, "cache_size")), (-1_024, -512));
    }

    #[test]
    fn only_its_owner_may_read_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blufio.db");
        drop(writer(&path, None, None).unwrap());
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let _open = writer(&path, None, None).unwrap();
        for file in fs::read_dir(folder.path()).unwrap() {
            let file = file.unwrap();
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
        }
    }

    #[test]
    fn strange_files_are_refused_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, sql: &str| {
            let path = folder.path().join(name);
            Connection::open(&path).unwrap().execute_batch(sql).unwrap();
            let before = fs::read(&path).unwrap();
            let error = writer(&path, None, None).unwrap_err();
            assert_eq!(fs::read(&path).unwrap(), before, "{name}");
            error
        };
        let newer = check("newer", &format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = 99;"));
        assert!(matches!(newer, OpenError::Newer { found: 99, known } if known == schema()), "{newer}");
        let foreign = check("foreign", "CREATE TABLE recipes (name TEXT);");
        assert!(matches!(foreign, OpenError::Foreign), "{foreign}");
        let marked = check("marked", "PRAGMA application_id = 5;");
        assert!(matches!(marked, OpenError::Foreign), "{marked}");
        fs::write(folder.path().join("text"), "not a database, but long enough to look at").unwrap();
        assert!(matches!(writer(&folder.path().join("text"), None, None), Err(OpenError::Database(_))));
    }

    fn key(byte: u8) -> DatabaseKey {
        DatabaseKey::new([byte; 48])
    }

    #[test]
    fn an_encrypted_file_opens_with_its_key_and_with_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blufio.db");
        let log = folder.path().join("blufio.db-wal");
        let owner = writer(&path, Some(&key(1)), None).unwrap();
        owner.execute("INSERT INTO sessions (key, last_at) VALUES ('canary', 1)", []).unwrap();
        // As after a crash: what was written last is in the log alone.
        let (file, frames) = (fs::read(&path).unwrap(), fs::read(&log).unwrap());
        assert!(frames.len() > 4_096);
        for bytes in [&file, &frames] {
            for word in [b"canary".as_slice(), b"SQLite format", b"sessions"] {
                assert!(!bytes.windows(word.len()).any(|found| found == word));
            }
        }
        drop(owner);
        fs::write(&path, &file).unwrap();
        fs::write(&log, &frames).unwrap();
        let untouched = |error: OpenError, expected: fn(&OpenError) -> bool| {
            assert!(expected(&error), "{error:?}");
            assert!(fs::read(&path).unwrap() == file && fs::read(&log).unwrap() == frames, "{error:?}");
        };
        untouched(writer(&path, Some(&key(2)), None).unwrap_err(), |error| matches!(error, OpenError::WrongKey));
        untouched(reader(&path, Some(&key(2))).unwrap_err(), |error| matches!(error, OpenError::WrongKey));
        untouched(writer(&path, None, None).unwrap_err(), |error| matches!(error, OpenError::Encrypted));
        untouched(reader(&path, None).unwrap_err(), |error| matches!(error, OpenError::Encrypted));
        let owner = writer(&path, Some(&key(1)), None).unwrap();
        for (name, value) in [("auto_vacuum", 2), ("synchronous", 2), ("temp_store", 2)] {
            assert_eq!(pragma(&owner, name), value, "{name}");
        }
        assert_eq!(pragma(&reader(&path, Some(&key(1))).unwrap(), "application_id"), APPLICATION);
        assert_eq!(owner.query_row("SELECT count(*) FROM sessions", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
        let plain = folder.path().join("plain.db");
        drop(writer(&plain, None, None).unwrap());
        let before = fs::read(&plain).unwrap();
        assert!(matches!(writer(&plain, Some(&key(1)), None), Err(OpenError::Plain)));
        assert_eq!(fs::read(&plain).unwrap(), before);
    }
}
