//! What comes in.

use super::Subject;
use super::fixture::{ACCOUNT, AT, batch, begin, channel, draft, item, key, next, queue, route};
use blufio_core::access::Principal;
use blufio_core::content::{Content, FileKind, FileRef, Quote, QuoteKind};
use blufio_core::ids::InboxId;
use blufio_core::limits::INBOX_PENDING_MAX;
use blufio_core::port::{Storage, StoreError};
use blufio_core::record::{Accepted, Batch, Fate, InboxRow, InboxView, Query, StoreStatus, Taken, View};

pub(super) async fn status(store: &impl Storage) -> StoreStatus {
    match store.view(Query::Status, AT).await.unwrap() {
        View::Status(status) => status,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn row(store: &impl Storage, id: InboxId) -> InboxView {
    match store.view(Query::Inbox(id), AT).await.unwrap() {
        View::Inbox(Some(view)) => view,
        other => panic!("{other:?}"),
    }
}

/// Accepts one update and returns its row.
pub(super) async fn take(store: &impl Storage, item: blufio_core::record::Item) -> InboxId {
    store.accept(batch(vec![item])).await.unwrap()[0].inbox
}

/// The bodies waiting in the outbox, chat by chat.
async fn waiting(store: &impl Storage) -> Vec<String> {
    store.outbox(channel(), 100, AT).await.unwrap().into_iter().map(|row| row.body.plain).collect()
}

pub(super) async fn repeats_change_nothing<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    store.recover(AT).await.unwrap();
    let answer = Fate::Answer { text: "help".to_owned(), reply: Some(draft(2, "help")) };
    let again = || batch(vec![queue(1, 10, "hi"), item(11, answer.clone())]);
    let first = store.accept(again()).await.unwrap();
    assert!(first.iter().all(|accepted| accepted.new));
    assert_eq!([&first[0].taken, &first[1].taken], [&Taken::Queued, &Taken::Closed]);
    drop(store);
    let store = subject.open();
    let second = store.accept(again()).await.unwrap();
    let old: Vec<Accepted> = first.into_iter().map(|accepted| Accepted { new: false, ..accepted }).collect();
    assert_eq!(second, old);
    assert_eq!(waiting(&store).await, ["help"], "the answer is not sent again");
    assert_eq!(status(&store).await.inbox_pending, 1);
    assert_eq!(store.recover(AT).await.unwrap().cursors, [(channel(), ACCOUNT, 12)]);
}

pub(super) async fn a_reused_number_with_another_fingerprint_is_new<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    take(&store, queue(1, 10, "before")).await;
    let mut other = queue(1, 10, "after");
    other.fingerprint = "another".to_owned();
    let batch = Batch { cursor: None, ..batch(vec![other]) };
    assert!(store.accept(batch).await.unwrap()[0].new);
    assert_eq!(status(&store).await.inbox_pending, 2);
    assert_eq!(store.recover(AT).await.unwrap().cursors, [(channel(), ACCOUNT, 11)], "no cursor leaves it");
}

pub(super) async fn rows_wait_in_order_with_what_they_carry<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    store.recover(AT).await.unwrap();
    let mut person = queue(1, 10, "first ☂");
    if let Fate::Queue { principal, .. } = &mut person.fate {
        *principal = Principal::Person("1".to_owned());
    }
    let accepted = store.accept(batch(vec![person, queue(2, 11, "other"), queue(1, 12, "second")])).await.unwrap();
    drop(store);
    let store = subject.open();
    let snapshot = store.open(key(1), AT).await.unwrap();
    let row = next(&store, snapshot.id).await.unwrap();
    let expected = InboxRow {
        id: accepted[0].inbox,
        route: route(1, Some(10)),
        principal: Principal::Person("1".to_owned()),
        user: Some(1),
        content: Content::words("first ☂"),
        album: None,
        attempts: 0,
        at: AT,
    };
    assert_eq!(row, expected);
    assert_eq!(store.recover(AT).await.unwrap().sessions, [key(1), key(2)], "the one that waits longest is first");
}

pub(super) async fn a_full_session_refuses_with_a_note<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let accepted = store.accept(batch((0..22).map(|update| queue(1, update, "x")).collect())).await.unwrap();
    assert_eq!(accepted.iter().filter(|accepted| accepted.taken == Taken::Queued).count(), 20);
    let last = row(&store, accepted[21].inbox).await;
    assert_eq!((last.state.as_str(), last.outcome.as_deref()), ("dropped", Some("full")));
    assert_eq!(status(&store).await.outbox_pending, 2);
    assert_eq!(take(&store, queue(2, 30, "other sessions are not")).await.0, 23);
}

pub(super) async fn a_full_inbox_takes_nothing<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let chats = |from: u32| (from..from + 100).map(|chat| queue(i64::from(chat), i64::from(chat), "x")).collect();
    for hundred in 0..INBOX_PENDING_MAX / 100 {
        store.accept(batch(chats(hundred * 100))).await.unwrap();
    }
    let over = vec![item(9_000, Fate::Drop { reason: "stranger" }), queue(1, 9_001, "one too many")];
    let refused = store.accept(batch(over)).await;
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    assert_eq!(status(&store).await.inbox_pending, u64::from(INBOX_PENDING_MAX));
    let cursor = i64::from(INBOX_PENDING_MAX);
    assert_eq!(store.recover(AT).await.unwrap().cursors, [(channel(), ACCOUNT, cursor)]);
    let stop = Fate::Stop { session: key(1), text: "stopped".to_owned(), reply: None };
    assert!(store.accept(batch(vec![item(9_002, stop)])).await.is_ok(), "a stop passes");
}

pub(super) async fn stop_drops_what_waits_and_outlives_a_restart<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let boot = store.recover(AT).await.unwrap().boot;
    let running = take(&store, queue(1, 1, "long")).await;
    let session = store.open(key(1), AT).await.unwrap().id;
    store.commit(begin(session, 1, running, 1, boot)).await.unwrap();
    let waits = take(&store, queue(1, 2, "waits")).await;
    let other = take(&store, queue(2, 3, "other chat")).await;
    let stop = Fate::Stop { session: key(1), text: "Stopped.".to_owned(), reply: Some(draft(1, "Stopped.")) };
    let stop = take(&store, item(4, stop)).await;
    take(&store, queue(1, 5, "later")).await;
    drop(store);
    let store = subject.open();
    assert_eq!(row(&store, waits).await.outcome.as_deref(), Some("by_owner"));
    assert_eq!(row(&store, other).await.state, "received");
    let told = row(&store, stop).await;
    assert_eq!((told.state.as_str(), told.text.as_deref()), ("done", Some("Stopped.")));
    let snapshot = store.open(key(1), AT).await.unwrap();
    assert_eq!(snapshot.stop_before, stop);
    assert!(snapshot.running.unwrap().inbox.id < stop, "the running turn is to end");
    assert_eq!(next(&store, session).await.unwrap().content.text, "later");
}

pub(super) async fn edits_reach_only_rows_that_wait<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let boot = store.recover(AT).await.unwrap().boot;
    let first = take(&store, queue(1, 10, "runs")).await;
    take(&store, queue(1, 11, "waits")).await;
    let session = store.open(key(1), AT).await.unwrap().id;
    store.commit(begin(session, 1, first, 1, boot)).await.unwrap();
    for (update, message) in [(12, 10), (13, 11), (14, 99)] {
        let edit = Fate::Edit { session: key(1), message, text: "edited".to_owned() };
        take(&store, item(update, edit)).await;
    }
    assert_eq!(store.open(key(1), AT).await.unwrap().running.unwrap().inbox.content.text, "runs");
    assert_eq!(next(&store, session).await.unwrap().content.text, "edited");
}

pub(super) async fn answered_dropped_and_unreadable_updates_are_closed<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let answer = Fate::Answer { text: "Hello.".to_owned(), reply: Some(draft(1, "Hello.")) };
    let items = vec![item(1, answer), item(2, Fate::Drop { reason: "group" }), item(3, Fate::Poison)];
    let accepted = store.accept(batch(items)).await.unwrap();
    assert!(accepted.iter().all(|accepted| accepted.taken == Taken::Closed));
    let mut seen = Vec::new();
    for accepted in accepted {
        let view = row(&store, accepted.inbox).await;
        seen.push((view.state, view.outcome.unwrap(), view.text));
    }
    let expected = [("done", "answer", Some("Hello.")), ("dropped", "group", None), ("poison", "unreadable", None)];
    assert_eq!(
        seen,
        expected.map(|(state, outcome, text)| (state.to_owned(), outcome.to_owned(), text.map(str::to_owned)))
    );
    assert_eq!(waiting(&store).await, ["Hello."]);
    assert!(store.recover(AT).await.unwrap().sessions.is_empty(), "nothing waits");
}

pub(super) async fn contents_are_kept_beside_the_words<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let content = Content {
        text: "look".to_owned(),
        speaker: Some("Ann".to_owned()),
        quotes: vec![Quote { kind: QuoteKind::Forward, from: "Bob".to_owned(), text: "hi".to_owned() }],
        files: vec![FileRef {
            kind: FileKind::Photo,
            handle: "f1".to_owned(),
            name: None,
            media_type: Some("image/jpeg".to_owned()),
            bytes: Some(7),
            seconds: None,
            forwarded: None,
        }],
    };
    let mut rich = queue(1, 1, "");
    if let Fate::Queue { content: sent, album, .. } = &mut rich.fate {
        (*sent, *album) = (content.clone(), Some("a1".to_owned()));
    }
    store.accept(batch(vec![rich, queue(1, 2, "words"), queue(1, 3, "more")])).await.unwrap();
    drop(store);
    let store = subject.open();
    let session = store.open(key(1), AT).await.unwrap().id;
    let edit = Fate::Edit { session: key(1), message: 1, text: "look!".to_owned() };
    take(&store, item(4, edit)).await;
    let rows = store.waiting(session, 2).await.unwrap();
    let seen: Vec<(Content, Option<&str>)> =
        rows.iter().map(|row| (row.content.clone(), row.album.as_deref())).collect();
    let edited = Content { text: "look!".to_owned(), ..content };
    assert_eq!(seen, [(edited, Some("a1")), (Content::words("words"), None)], "an edit changes the words alone");
    let waiting = async |chat| match store.view(Query::Waiting(key(chat)), AT).await.unwrap() {
        View::Waiting(waiting) => waiting,
        other => panic!("{other:?}"),
    };
    assert_eq!(waiting(1).await, ["look!", "words", "more"]);
    assert!(waiting(9).await.is_empty());
}
