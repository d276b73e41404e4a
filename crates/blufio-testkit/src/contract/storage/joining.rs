//! Turns that answer several rows, and what a turn answered.

use super::Subject;
use super::fixture::{AT, batch, begin, commit, end, item, key, next, opened_together, queue};
use super::inbox::{row, take};
use blufio_core::content::{Content, FileKind, FileRef};
use blufio_core::ids::{Boot, InboxId, SessionId};
use blufio_core::money::MicroUsd;
use blufio_core::port::{Storage, StoreError};
use blufio_core::record::{Commit, Fate, Item, Record, Retention};
use std::time::Duration;

/// Starts the process and takes these messages.
async fn start(store: &impl Storage, items: Vec<Item>) -> (Boot, SessionId, Vec<InboxId>) {
    let boot = store.recover(AT).await.unwrap().boot;
    let rows = store.accept(batch(items)).await.unwrap().iter().map(|accepted| accepted.inbox).collect();
    (boot, store.open(key(1), AT).await.unwrap().id, rows)
}

/// The begin of a turn that answers `also` together with `inbox`.
fn together(session: SessionId, turn: i64, inbox: InboxId, also: &[InboxId], boot: Boot) -> Commit {
    let mut begin = begin(session, turn, inbox, turn * 2 - 1, boot);
    begin.records[0] = opened_together(inbox, also);
    begin
}

pub(super) async fn rows_are_answered_together<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let (boot, session, rows) = start(&store, (1..=3).map(|update| queue(1, update, "x")).collect()).await;
    store.commit(together(session, 1, rows[0], &[rows[2], rows[1]], boot)).await.unwrap();
    assert_eq!(next(&store, session).await, None);
    let later = [take(&store, queue(1, 4, "y")).await, take(&store, queue(1, 5, "z")).await];
    drop(store);
    let store = subject.open();
    assert_eq!(store.recover(AT).await.unwrap().sessions, [key(1)]);
    let running = store.open(key(1), AT).await.unwrap().running.unwrap();
    assert_eq!((running.inbox.id, running.last_inbox, running.inbox.attempts), (rows[0], rows[2], 1));
    let refused = store.commit(commit(session, 1, vec![Record::Joined(vec![later[0], rows[1]])])).await;
    assert!(matches!(refused, Err(StoreError::NotFound(_))), "{refused:?}");
    assert_eq!(row(&store, later[0]).await.state, "received", "nothing was written");
    store.commit(commit(session, 1, vec![Record::Joined(vec![later[0]])])).await.unwrap();
    assert_eq!(store.open(key(1), AT).await.unwrap().running.unwrap().last_inbox, later[0]);
    assert_eq!(next(&store, session).await.unwrap().id, later[1]);
    store.commit(end(session, 1, 2, boot, 1)).await.unwrap();
    for joined in [rows[0], rows[1], rows[2], later[0]] {
        let view = row(&store, joined).await;
        assert_eq!((view.state.as_str(), view.outcome.as_deref()), ("done", Some("reply")), "{joined}");
        assert_eq!((view.text.as_deref(), view.cost), (Some("answer 1"), MicroUsd(40)), "{joined}");
    }
    let none = store.commit(commit(session, 1, vec![Record::Joined(vec![later[1]])])).await;
    assert!(matches!(none, Err(StoreError::Broken(_))), "nothing runs that it could join: {none:?}");
}

pub(super) async fn a_turn_gets_all_its_rows_or_none<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let (boot, session, rows) = start(&store, vec![queue(1, 1, "a"), queue(1, 2, "/model"), queue(1, 3, "c")]).await;
    let done = Record::CommandDone { inbox: rows[1], text: "done".to_owned() };
    store.commit(commit(session, 0, vec![done])).await.unwrap();
    for also in [vec![rows[1]], vec![rows[2], rows[1]], vec![InboxId(999)], vec![rows[0]]] {
        let refused = store.commit(together(session, 1, rows[0], &also, boot)).await;
        assert!(matches!(refused, Err(StoreError::NotFound(_))), "{also:?}: {refused:?}");
        assert_eq!(row(&store, rows[0]).await.state, "received");
    }
    assert!(store.open(key(1), AT).await.unwrap().running.is_none());
    assert_eq!(store.waiting(session, 9).await.unwrap().len(), 2);
}

/// A picture that is a piece of an album.
fn piece(update: i64, text: &str, handle: &str) -> (Item, FileRef) {
    let file = FileRef {
        kind: FileKind::Photo,
        handle: handle.to_owned(),
        name: None,
        media_type: None,
        bytes: None,
        seconds: None,
        forwarded: None,
    };
    let mut item = queue(1, update, text);
    if let Fate::Queue { content, album, .. } = &mut item.fate {
        content.files = vec![file.clone()];
        *album = Some("a".to_owned());
    }
    (item, file)
}

pub(super) async fn the_last_request_is_found_again<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let ((one, first), (two, second)) = (piece(1, "what are these?", "f1"), piece(2, "", "f2"));
    let (boot, session, rows) = start(&store, vec![one, two, queue(1, 3, "answer soon")]).await;
    assert_eq!(store.last_request(session).await.unwrap(), None);
    store.commit(together(session, 1, rows[0], &rows[1..], boot)).await.unwrap();
    store.commit(end(session, 1, 2, boot, 1)).await.unwrap();
    let asked = Content { files: vec![first, second], ..Content::words("what are these?\n\nanswer soon") };
    assert_eq!(store.last_request(session).await.unwrap(), Some(asked.clone()), "all that was answered together");
    let retry = take(&store, queue(1, 4, "/retry")).await;
    store.commit(together(session, 2, retry, &[], boot)).await.unwrap();
    store.commit(end(session, 2, 4, boot, 1)).await.unwrap();
    assert_eq!(store.last_request(session).await.unwrap(), Some(asked), "a command is no request");
    take(&store, item(5, Fate::Drop { reason: "test" })).await;
    let later = AT.plus(Duration::from_secs(9 * 86_400));
    while store.retain(Retention { messages_days: 0 }, later).await.unwrap() {}
    assert_eq!(store.last_request(session).await.unwrap(), None, "too long ago");
}
