//! Transactions: how many, what is in them, and what happens when they cannot be.

use super::{Steps, open, options};
use blufio_core::ids::SessionId;
use blufio_core::keys::DatabaseKey;
use blufio_core::port::{Boxed, Clock, Storage, StoreError};
use blufio_core::record::{Batch, Commit, Fate, Item, OutboxMark, Query, Record, View};
use blufio_core::time::Timestamp;
use blufio_store::{Executor, Options, Role, Store};
use blufio_testkit::contract::storage::{
    AT, admitted, answered, batch, channel, commit, draft, epoch, item, key, message, next, queue, step, turn_opened,
};
use blufio_testkit::invariants;
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::task::JoinSet;

#[tokio::test]
async fn a_turn_without_tools_takes_few_commits() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("blufio.db"), Executor::Thread);
    let boot = store.recover(AT).await.unwrap().boot;
    let before = store.commits();
    let inbox = store.accept(batch(vec![queue(1, 1, "hi")])).await.unwrap()[0].inbox;
    let session = store.open(key(1), AT).await.unwrap().id;
    let row = next(&store, session).await.unwrap();
    assert_eq!((row.id, store.commits() - before), (inbox, 1), "reading commits nothing");
    let begin = vec![turn_opened(inbox), epoch(1, 1), message(1, 1, blufio_core::message::Role::User, "hi")];
    let begin = Commit { steps: vec![step(1, boot, admitted())], ..commit(session, 1, begin) };
    store.commit(begin).await.unwrap();
    let end = vec![
        message(1, 2, blufio_core::message::Role::Assistant, "hello"),
        Record::Outbox { drafts: vec![draft(1, "hello")], first_sending: true },
        Record::TurnClosed { outcome: blufio_core::session::Outcome::Reply, text: "hello".to_owned() },
    ];
    let end = Commit { steps: vec![step(2, boot, answered())], ..commit(session, 1, end) };
    let sending = store.commit(end).await.unwrap().outbox[0];
    assert_eq!(store.commits() - before, 3, "before the first byte of the answer leaves");
    store.mark(vec![OutboxMark::Sent(sending, 900)], AT).await.unwrap();
    assert_eq!(store.commits() - before, 4);
    assert!(store.outbox(channel(), 9, AT).await.unwrap().is_empty());
}

/// Has 40 jobs wait while somebody else holds the file, one of them a bad one; returns how many commits they took.
async fn group(path: &Path, step_ms: u64) -> u64 {
    let clock = Arc::new(Steps { step_ms, looks: AtomicU64::new(0) });
    let store = Arc::new(Store::open(path, None, Options { clock, ..options(Executor::Thread) }).unwrap());
    let before = store.commits();
    let other = Connection::open(path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut jobs = JoinSet::new();
    for chat in 0..40 {
        let store = Arc::clone(&store);
        jobs.spawn(async move {
            if chat == 20 {
                let unknown = commit(SessionId(999), 1, vec![Record::ModelChosen(None)]);
                return store.commit(unknown).await.is_err();
            }
            store.accept(batch(vec![queue(chat, chat, "x")])).await.is_ok()
        });
    }
    // On this runtime with one thread every job has been queued once each task has run.
    for _ in 0..80 {
        tokio::task::yield_now().await;
    }
    other.execute_batch("COMMIT").unwrap();
    assert!(jobs.join_all().await.into_iter().all(|expected| expected), "the bad job failed alone");
    match store.view(Query::Status, AT).await.unwrap() {
        View::Status(status) => assert_eq!(status.inbox_pending, 39),
        other => panic!("{other:?}"),
    }
    store.commits() - before
}

#[tokio::test]
async fn waiting_jobs_share_a_commit_until_the_time_is_up() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(group(&folder.path().join("still"), 0).await, 1);
    assert_eq!(group(&folder.path().join("slow"), 15).await, 20, "two looks of 15 ms exceed 20 ms");
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_is_left_again() {
    for executor in [Executor::Thread, Executor::Inline] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blufio.db");
        let store = open(&path, executor);
        store.limit_bytes(1024 * 1024).await.unwrap();
        store.recover(AT).await.unwrap();
        let big = |update: i64| {
            let fate = Fate::Drop { reason: "test" };
            batch(vec![Item { raw: vec![b'x'; 64 * 1024].into(), ..item(update, fate) }])
        };
        let mut taken = 0;
        let error = loop {
            match store.accept(big(taken)).await {
                Ok(_) => taken += 1,
                Err(error) => break error,
            }
            assert!(taken < 100, "the limit holds");
        };
        assert!(matches!(error, StoreError::DiskFull), "{error}");
        assert!(taken > 5);
        store.probe(AT).await.expect("what needs no room still works");
        drop(store);
        invariants::check(&path).unwrap();
        let store = open(&path, executor);
        let accepted = store.accept(Batch { cursor: None, ..big(taken) }).await.unwrap();
        assert_eq!((accepted[0].new, accepted[0].inbox.0), (true, taken + 1), "nothing was taken in part");
    }
}

#[tokio::test]
async fn a_reader_beside_the_owner_sees_everything_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blufio.db");
    let reading = Options { role: Role::Reader, ..options(Executor::Thread) };
    assert!(Store::open(&path, None, reading.clone()).is_err(), "it creates no file");
    let owner = open(&path, Executor::Thread);
    let reader = Store::open(&path, None, reading).unwrap();
    owner.accept(batch(vec![queue(1, 1, "hi")])).await.unwrap();
    let session = reader.open(key(1), AT).await.unwrap().id;
    assert_eq!(next(&reader, session).await.unwrap().content.text, "hi");
    assert!(matches!(reader.probe(AT).await, Err(StoreError::Closed)));
}

#[tokio::test]
async fn closing_folds_the_log_into_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blufio.db");
    let store = open(&path, Executor::Thread);
    store.recover(AT).await.unwrap();
    store.accept(batch(vec![queue(1, 1, "hi")])).await.unwrap();
    store.close(AT).await.unwrap();
    let log = std::fs::metadata(folder.path().join("blufio.db-wal")).map_or(0, |log| log.len());
    assert_eq!(log, 0);
    drop(store);
    // The file alone, without anything beside it, holds everything.
    let copy = folder.path().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    assert_eq!(invariants::check(&copy).unwrap().rows["inbox"], 1);
}

/// Time stands still.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        AT
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
    fn sleep(&self, _duration: Duration) -> Boxed<'static, ()> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_closed_store_has_let_go_of_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blufio.db");
    let held = || {
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        let links = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        links.filter(|link| link.starts_with(folder.path())).count()
    };
    let key = DatabaseKey::new([7; 48]);
    let store = Store::open(&path, Some(&key), Options { clock: Arc::new(Still), ..options(Executor::Thread) });
    let store = store.unwrap();
    store.recover(AT).await.unwrap();
    assert!(held() >= 3, "a writer and two readers");
    store.close(AT).await.unwrap();
    assert_eq!(held(), 0);
    assert!(matches!(store.probe(AT).await, Err(StoreError::Closed)));
}
