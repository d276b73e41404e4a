//! The audit log.

use super::Subject;
use super::fixture::{AT, batch, begin, commit, key, queue};
use blufio_core::audit::{AuditEntry, AuditHead, AuditKind, AuditTrouble};
use blufio_core::ids::SessionId;
use blufio_core::port::Storage;
use blufio_core::record::{AuditView, Commit, Query, Record, Retention, View};
use blufio_core::time::Timestamp;
use serde_json::json;
use std::time::Duration;

/// An entry about `target`.
pub(super) fn entry(target: &str) -> AuditEntry {
    AuditEntry {
        kind: AuditKind::ToolRun,
        actor: "owner".to_owned(),
        session: Some(key(1)),
        target: target.to_owned(),
        outcome: "done".to_owned(),
        detail: json!({ "about": target }),
    }
}

/// The newest entries, newest first.
pub(super) async fn list(store: &impl Storage, limit: u32, before: Option<u64>) -> Vec<AuditView> {
    match store.view(Query::Audit { limit, before }, AT).await.unwrap() {
        View::Audit(entries) => entries,
        other => panic!("{other:?}"),
    }
}

async fn targets(store: &impl Storage) -> Vec<String> {
    list(store, 99, None).await.into_iter().map(|entry| entry.target).collect()
}

pub(super) async fn entries_come_with_their_commit_or_not_at_all<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let boot = store.recover(AT).await.unwrap().boot;
    let empty = store.verify_audit(None).await.unwrap();
    assert_eq!((empty.entries, empty.head, empty.trouble), (0, AuditHead::default(), None));
    store.audit(vec![entry("a"), AuditEntry { session: None, ..entry("b") }], AT).await.unwrap();
    let inbox = store.accept(batch(vec![queue(1, 1, "hi")])).await.unwrap()[0].inbox;
    let session = store.open(key(1), AT).await.unwrap().id;
    let good = Commit { audit: vec![entry("c")], ..begin(session, 1, inbox, 1, boot) };
    store.commit(good).await.unwrap();
    let bad = Commit { audit: vec![entry("d")], ..commit(SessionId(99), 1, vec![Record::ModelChosen(None)]) };
    store.commit(bad).await.unwrap_err();
    drop(store);
    let store = subject.open();
    assert_eq!(targets(&store).await, ["c", "b", "a"]);
    let page = list(&store, 1, Some(2)).await;
    let expected = AuditView {
        seq: 1,
        at: AT,
        kind: "tool_run".to_owned(),
        actor: "owner".to_owned(),
        session: Some(key(1)),
        target: "a".to_owned(),
        outcome: "done".to_owned(),
        detail: Some(json!({ "about": "a" })),
    };
    assert_eq!(page, [expected]);
    store.audit(vec![entry("e")], AT).await.unwrap();
    let whole = store.verify_audit(None).await.unwrap();
    assert_eq!((whole.entries, whole.head.seq, whole.trouble), (4, 4, None));
    assert_eq!(store.verify_audit(Some(whole.head)).await.unwrap(), whole);
    let other = AuditHead { hash: [1; 32], ..whole.head };
    assert_eq!(store.verify_audit(Some(other)).await.unwrap().trouble, Some(AuditTrouble::Replaced { seq: 4 }));
    let later = AuditHead { seq: 9, ..whole.head };
    let cut = AuditTrouble::CutOff { seq: 4, known: 9 };
    assert_eq!(store.verify_audit(Some(later)).await.unwrap().trouble, Some(cut));
}

pub(super) async fn details_are_forgotten_and_the_chain_stays<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let day = |days: u64| AT.plus(Duration::from_secs(days * 86_400));
    store.audit((0..600).map(|number| entry(&number.to_string())).collect(), AT).await.unwrap();
    store.audit(vec![entry("new")], day(60)).await.unwrap();
    let details = async || {
        let all = list(&store, 1_000, None).await;
        assert_eq!(all.len(), 601);
        all.iter().filter(|entry| entry.detail.is_some()).count()
    };
    let forget = async |messages_days, at: Timestamp| {
        while store.retain(Retention { messages_days }, at).await.unwrap() {}
    };
    forget(0, day(89)).await;
    assert_eq!(details().await, 601);
    forget(0, day(91)).await;
    assert_eq!(details().await, 1, "after 90 days");
    forget(7, day(68)).await;
    assert_eq!(details().await, 0, "not longer than messages");
    let verdict = store.verify_audit(None).await.unwrap();
    assert_eq!((verdict.entries, verdict.trouble), (601, None));
}
