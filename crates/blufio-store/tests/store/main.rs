//! The store as its users see it: the contract of storages on plain and on encrypted files, and what only this one promises.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod damage;
mod migration;
mod model;
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
