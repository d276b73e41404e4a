//! The store as its users see it: the contract of storages under both executors, and what only this one promises.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod damage;
mod migration;
mod model;
mod writing;

use blufio_core::port::{Boxed, Clock};
use blufio_core::time::Timestamp;
use blufio_store::{DbKey, Executor, OpenError, Options, Role, Store};
use blufio_testkit::contract::storage;
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
    Options { executor, role: Role::Owner, clock }
}

fn open(path: &Path, executor: Executor) -> Store {
    Store::open(path, None, options(executor)).unwrap()
}

#[tokio::test]
async fn contract_with_threads() {
    storage::suite(|path| open(path, Executor::Thread)).await;
}

#[tokio::test]
async fn contract_inline() {
    storage::suite(|path| open(path, Executor::Inline)).await;
}

#[test]
fn a_key_without_a_cipher_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blufio.db");
    let opened = Store::open(&path, Some(DbKey([7; 32])), options(Executor::Inline));
    assert!(matches!(opened, Err(OpenError::NoCipher)));
    assert!(!path.exists());
}
