//! Opens databases of the program under test, encrypted or not, with plain SQLite and without the store's code.
//!
//! The key of an installation comes from its root key, which is beside the data folder of a [`Setup`](crate::process::Setup).
//! A database that belongs to no installation has its key in a file beside it ([`write_key`]).

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use blufio_core::keys::{DatabaseKey, KeySlots, KeyTree, RootKey};
use rusqlite::{Connection, OpenFlags};

/// The key of a database without an installation, in its folder.
const KEY_FILE: &str = "database.key";
/// Where root keys are, seen from the data folder.
const ROOT_KEYS: [&str; 2] = ["../root.key", "../.config/blufio/root.key"];

/// The schema, version by version. Names of the tables are the store's; what is read here has to follow them.
const SCHEMA: [&str; 6] = [
    include_str!("../../blufio-store/src/schema/0001.sql"),
    include_str!("../../blufio-store/src/schema/0002.sql"),
    include_str!("../../blufio-store/src/schema/0003.sql"),
    include_str!("../../blufio-store/src/schema/0004.sql"),
    include_str!("../../blufio-store/src/schema/0005.sql"),
    include_str!("../../blufio-store/src/schema/0006.sql"),
];

/// Makes a plain database as version `version` of the schema had it, with nothing in it.
///
/// # Errors
/// It is there already, or its folder is not.
pub fn create_plain(path: &Path, version: u8) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection
        .execute_batch("PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;")?;
    for sql in &SCHEMA[..usize::from(version)] {
        connection.execute_batch(sql)?;
    }
    connection.pragma_update(None, "user_version", version)?;
    Ok(connection)
}

/// Opens a database for looking at it, also beside the process that it belongs to.
///
/// # Errors
/// There is no such file. A missing or wrong key shows at the first look: "file is not a database".
pub fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    open_as(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// Opens a database for changing it behind the program's back, while no process has it.
///
/// # Errors
/// As [`open_read_only`].
pub fn open(path: &Path) -> rusqlite::Result<Connection> {
    open_as(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
}

/// Opens a database for looking at it with a key of the caller's.
///
/// # Errors
/// As [`open_read_only`].
pub fn open_with(path: &Path, key: &DatabaseKey) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    unlock(&connection, key)?;
    Ok(connection)
}

fn unlock(connection: &Connection, key: &DatabaseKey) -> rusqlite::Result<()> {
    let key = key.reveal();
    connection.execute_batch(&format!("PRAGMA cipher_log_level = NONE; PRAGMA key = \"x'{}'\";", key.as_str()))
}

fn open_as(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, access)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    if !is_plain(path)
        && let Some(key) = key(path)
    {
        unlock(&connection, &key)?;
    }
    Ok(connection)
}

/// Whether anybody could read it; also true of a file that is empty or not there.
pub fn is_plain(path: &Path) -> bool {
    let mut begin = Vec::new();
    // What cannot be read is reported by whoever opens it.
    let read = fs::File::open(path).and_then(|file| file.take(16).read_to_end(&mut begin));
    read.is_err() || begin.is_empty() || begin == b"SQLite format 3\0"
}

/// The keys of the installation whose data folder this is.
pub fn keys(data_dir: &Path) -> Option<KeyTree> {
    let slots = KeySlots::parse(&fs::read_to_string(data_dir.join("keyslots.json")).ok()?).ok()?;
    let roots = ROOT_KEYS.iter().filter_map(|root| RootKey::parse(&fs::read(data_dir.join(root)).ok()?).ok());
    roots.into_iter().find(|root| slots.verify(root).is_ok()).map(|root| root.derive(&slots.install_id))
}

/// Keeps the key of a database without an installation beside it, for [`open_read_only`].
pub fn write_key(database: &Path, key: &DatabaseKey) {
    fs::write(beside(database), key.reveal().as_bytes()).expect("the folder is there");
}

fn key(database: &Path) -> Option<DatabaseKey> {
    if let Ok(digits) = fs::read_to_string(beside(database)) {
        let mut bytes = [0; 48];
        for (byte, place) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(digits.get(place..place + 2)?, 16).ok()?;
        }
        return Some(DatabaseKey::new(bytes));
    }
    keys(database.parent()?).map(|keys| keys.database)
}

fn beside(database: &Path) -> PathBuf {
    database.with_file_name(KEY_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use blufio_core::keys::InstallId;

    #[test]
    fn keys_are_found_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir_all(&data).unwrap();
        let path = data.join("blufio.db");
        assert!(is_plain(&path) && key(&path).is_none());
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(3_u8..).for_each(|(byte, value)| *byte = value.wrapping_mul(37));
        let root = RootKey::parse(&bytes).unwrap();
        let install = InstallId([4; 16]);
        fs::write(folder.path().join("root.key"), bytes).unwrap();
        fs::write(data.join("keyslots.json"), KeySlots::new(install, &root).to_json()).unwrap();
        let expected = root.derive(&install).database;
        assert_eq!(*key(&path).unwrap().reveal(), *expected.reveal());
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(&format!("PRAGMA key = \"x'{}'\"; CREATE TABLE t (a);", *expected.reveal())).unwrap();
        drop(connection);
        assert!(!is_plain(&path));
        assert!(open_read_only(&path).unwrap().prepare("SELECT a FROM t").is_ok());
        write_key(&path, &DatabaseKey::new([9; 48]));
        assert!(open_read_only(&path).unwrap().prepare("SELECT a FROM t").is_err());
        open(&data.join("nothing")).unwrap_err();
    }
}
