//! The store as its users see it: the contract of storages on plain and on encrypted files, and what only this one promises.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod damage;
mod migration;
mod model;
mod speed;
mod writing;

use blufio_core::keys::DatabaseKey;
use blufio_core::port::{Boxed, Clock};
use blufio_core::time::Timestamp;
use blufio_store::{Executor, Options, Role, Store};
use blufio_testkit::contract::storage;
use blufio_testkit::database;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A clock that moves by a fixed step whenever somebody looks.
struct Steps {
    step_ms: u64,
    looks: AtomicU64,
}

impl Clock for Steps {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.step_ms * self.looks.fetch_add(1, Ordering::Relaxed))
    }
    fn sleep(&self, _duration: Duration) -> Boxed<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

fn options(executor: Executor) -> Options {
    let clock = Arc::new(Steps { step_ms: 0, looks: AtomicU64::new(0) });
    Options { executor, role: Role::Owner, clock, audit_key: Some([9; 32].into()) }
}

fn open(path: &Path, executor: Executor) -> Store {
    Store::open(path, None, options(executor)).unwrap()
}

fn open_encrypted(path: &Path, executor: Executor) -> Store {
    let key = DatabaseKey::new([7; 48]);
    // For the invariants, which look into the file themselves.
    database::write_key(path, &key);
    Store::open(path, Some(&key), options(executor)).unwrap()
}

#[tokio::test]
async fn contract_with_threads() {
    storage::suite(|path| open(path, Executor::Thread)).await;
}

#[tokio::test]
async fn contract_inline() {
    storage::suite(|path| open(path, Executor::Inline)).await;
}

#[tokio::test]
async fn contract_encrypted() {
    storage::suite(|path| open_encrypted(path, Executor::Thread)).await;
}

#[tokio::test]
async fn contract_encrypted_inline() {
    storage::suite(|path| open_encrypted(path, Executor::Inline)).await;
}

/// All connections of a process share what OpenSSL keeps about its algorithms. If it was built without threads, this ends in a
/// double free (`.cargo/openssl-perl`).
#[test]
fn many_encrypted_databases_are_opened_and_closed_at_the_same_time() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|threads| {
        for number in 0..8 {
            let path = folder.path().join(format!("{number}.db"));
            threads.spawn(move || {
                let key = DatabaseKey::new([number; 48]);
                for round in 0..40 {
                    let database = rusqlite::Connection::open(&path).unwrap();
                    database.execute_batch(&format!("PRAGMA key = \"x'{}'\"", key.reveal().as_str())).unwrap();
                    database.execute_batch("CREATE TABLE IF NOT EXISTS t (n INTEGER)").unwrap();
                    database.execute("INSERT INTO t VALUES (?1)", [round]).unwrap();
                    drop(database);
                    let database = blufio_testkit::database::open_with(&path, &key).unwrap();
                    let rows: i64 = database.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
                    assert_eq!(rows, round + 1, "in {}", path.display());
                }
            });
        }
    });
}
