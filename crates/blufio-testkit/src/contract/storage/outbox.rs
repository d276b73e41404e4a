//! What goes out.

use super::Subject;
use super::fixture::{AT, batch, channel, commit, draft, item, key};
use super::inbox::status;
use blufio_core::ids::OutboxId;
use blufio_core::limits::OUTBOX_AGE;
use blufio_core::port::{Storage, StoreError};
use blufio_core::record::{Draft, Fate, OutboxMark, OutboxRow, Record, Retention};
use blufio_core::time::Timestamp;
use std::time::Duration;

/// Puts a reply of these parts into the outbox, as a session's commit would.
async fn reply(store: &impl Storage, drafts: Vec<Draft>, first_sending: bool) -> Vec<OutboxId> {
    let session = store.open(key(1), AT).await.unwrap().id;
    store.commit(commit(session, 0, vec![Record::Outbox { drafts, first_sending }])).await.unwrap().outbox
}

async fn heads(store: &impl Storage) -> Vec<OutboxRow> {
    store.outbox(channel(), 100).await.unwrap()
}

async fn ids(store: &impl Storage) -> Vec<OutboxId> {
    heads(store).await.iter().map(|row| row.id).collect()
}

async fn mark(store: &impl Storage, mark: OutboxMark) {
    store.mark(vec![mark], AT).await.unwrap();
}

fn again(id: OutboxId, free: bool) -> OutboxMark {
    OutboxMark::Again { id, not_before: Timestamp(AT.0 + 5_000), free, error: "429".to_owned() }
}

fn uncertain(id: OutboxId) -> OutboxMark {
    OutboxMark::Uncertain { id, error: "no answer".to_owned() }
}

pub(super) async fn one_row_per_chat_in_order<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let first = reply(&store, vec![draft(1, "a1"), draft(1, "a2")], false).await;
    let second = reply(&store, vec![draft(2, "b1")], false).await;
    reply(&store, vec![draft(1, "a3")], false).await;
    assert_eq!(ids(&store).await, [first[0], second[0]]);
    assert_eq!(store.outbox(channel(), 1).await.unwrap().len(), 1, "at most the limit");
    mark(&store, OutboxMark::Sending(first[0])).await;
    assert_eq!(ids(&store).await, [second[0]], "nobody overtakes a row that is being sent");
    mark(&store, again(first[0], false)).await;
    assert_eq!(ids(&store).await, [first[0], second[0]], "nor one that has to wait");
    mark(&store, OutboxMark::Sending(first[0])).await;
    store.mark(vec![OutboxMark::Sent(first[0], 900), OutboxMark::Sending(second[0])], AT).await.unwrap();
    assert_eq!(ids(&store).await, [first[1]]);
    let unknown = store.mark(vec![OutboxMark::Sending(first[1]), OutboxMark::Sending(OutboxId(999))], AT).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))), "{unknown:?}");
    assert_eq!(ids(&store).await, [first[1]], "marks are made together or not at all");
    let closed = OutboxMark::ChatClosed(draft(1, "").route, "blocked".to_owned());
    mark(&store, closed).await;
    assert_eq!((ids(&store).await, status(&store).await.outbox_pending), (Vec::new(), 1));
}

pub(super) async fn tries_are_counted_unless_free<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let id = reply(&store, vec![draft(1, "a")], false).await[0];
    mark(&store, OutboxMark::Sending(id)).await;
    mark(&store, again(id, true)).await;
    assert_eq!(heads(&store).await[0].attempt, 0);
    mark(&store, OutboxMark::Sending(id)).await;
    mark(&store, again(id, false)).await;
    let row = &heads(&store).await[0];
    assert_eq!((row.attempt, row.not_before, row.maybe_duplicate), (1, Timestamp(AT.0 + 5_000), false));
    let fast = reply(&store, vec![draft(2, "b1"), draft(2, "b2")], true).await;
    assert_eq!(ids(&store).await, [id], "the first row of chat 2 is being sent");
    mark(&store, again(fast[0], false)).await;
    assert_eq!(heads(&store).await[1].attempt, 1, "and that was its first try");
}

pub(super) async fn an_uncertain_send_is_repeated_until_it_is_too_old<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let message = reply(&store, vec![draft(1, "a1"), draft(1, "a2")], true).await;
    let mark_at = async |mark, at| store.mark(vec![mark], at).await.unwrap();
    let later = |seconds| AT.plus(Duration::from_secs(seconds));
    mark_at(uncertain(message[0]), later(3)).await;
    let row = &heads(&store).await[0];
    assert_eq!((row.maybe_duplicate, row.not_before), (true, later(3)), "at once");
    for (seconds, pause) in [(4, 4), (20, 20), (3_600, 30)] {
        mark(&store, OutboxMark::Sending(message[0])).await;
        mark_at(uncertain(message[0]), later(seconds)).await;
        assert_eq!(heads(&store).await[0].not_before, later(seconds + pause), "as long as it has waited, at most 30 s");
    }
    mark(&store, OutboxMark::Sending(message[0])).await;
    mark_at(uncertain(message[0]), AT.plus(OUTBOX_AGE + Duration::from_secs(1))).await;
    assert!(ids(&store).await.is_empty(), "given up, and the rest of the reply with it");
    let edit = reply(&store, vec![Draft { replaces: Some(55), ..draft(3, "final") }], true).await;
    mark(&store, uncertain(edit[0])).await;
    let row = &heads(&store).await[0];
    assert_eq!((row.maybe_duplicate, row.replaces), (false, Some(55)), "an edit changes nothing the second time");
}

pub(super) async fn a_crash_in_a_send_is_uncertain<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    assert!(!store.recover(AT).await.unwrap().unclean, "a new file");
    let id = reply(&store, vec![draft(1, "a")], true).await[0];
    reply(&store, vec![draft(2, "b")], false).await;
    drop(store);
    let store = subject.open();
    let recovered = store.recover(AT).await.unwrap();
    assert_eq!((recovered.unclean, recovered.uncertain_sends, recovered.boot.0), (true, 1, 2));
    let flags: Vec<bool> = heads(&store).await.iter().map(|row| row.maybe_duplicate).collect();
    assert_eq!(flags, [true, false]);
    mark(&store, OutboxMark::Sending(id)).await;
    drop(store);
    let store = subject.open();
    assert_eq!(store.recover(AT).await.unwrap().uncertain_sends, 1);
    assert_eq!(heads(&store).await.len(), 2, "and again, however often");
    mark(&store, OutboxMark::Dead(id, "enough".to_owned())).await;
    mark(&store, OutboxMark::Sent(id, 900)).await;
    assert!(status(&store).await.outbox_dead.is_empty(), "what arrived has arrived");
}

pub(super) async fn giving_up_takes_the_rest_of_the_reply<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let long = reply(&store, vec![draft(1, "a1"), draft(1, "a2"), draft(1, "a3")], true).await;
    let next = reply(&store, vec![draft(1, "b1")], false).await;
    mark(&store, OutboxMark::Sent(long[0], 900)).await;
    mark(&store, OutboxMark::Sending(long[1])).await;
    mark(&store, OutboxMark::Dead(long[1], "too strange".to_owned())).await;
    assert_eq!(ids(&store).await, next, "the next reply is another matter");
    let dead = status(&store).await.outbox_dead;
    assert_eq!((dead.len(), dead[1].clone()), (2, (1, "too strange".to_owned())));
}

pub(super) async fn undelivered_rows_expire<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    reply(&store, vec![draft(1, "old")], false).await;
    let sending = reply(&store, vec![draft(2, "on its way")], true).await;
    let later = AT.plus(OUTBOX_AGE).plus(Duration::from_secs(1));
    let answer = Fate::Answer { text: "new".to_owned(), reply: Some(draft(1, "new")) };
    store.accept(blufio_core::record::Batch { at: later, ..batch(vec![item(1, answer)]) }).await.unwrap();
    store.retain(Retention { messages_days: 0 }, later).await.unwrap();
    let left: Vec<String> = heads(&store).await.into_iter().map(|row| row.body.plain).collect();
    assert_eq!(left, ["new"]);
    mark(&store, OutboxMark::Sent(sending[0], 900)).await;
}
