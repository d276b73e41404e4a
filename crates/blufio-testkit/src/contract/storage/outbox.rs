//! What goes out.

use super::Subject;
use super::fixture::{AT, batch, channel, commit, draft, item, key};
use super::inbox::status;
use blufio_core::content::OutgoingFile;
use blufio_core::ids::{AttachmentId, ChannelName, OutboxId};
use blufio_core::limits::OUTBOX_AGE;
use blufio_core::port::{Storage, StoreError};
use blufio_core::record::{Draft, Fate, OutboxMark, OutboxRow, Payload, Query, Record, Retention, Telling, View};
use blufio_core::time::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;

/// Puts a reply of these parts into the outbox, as a session's commit would.
async fn reply(store: &impl Storage, drafts: Vec<Draft>, first_sending: bool) -> Vec<OutboxId> {
    let session = store.open(key(1), AT).await.unwrap().id;
    store.commit(commit(session, 0, vec![Record::Outbox { drafts, first_sending }])).await.unwrap().outbox
}

async fn heads(store: &impl Storage) -> Vec<OutboxRow> {
    store.outbox(channel(), 100, AT).await.unwrap()
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
    OutboxMark::Uncertain { id, anew: false, error: "no answer".to_owned() }
}

pub(super) async fn one_row_per_chat_in_order<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let first = reply(&store, vec![draft(1, "a1"), draft(1, "a2")], false).await;
    let second = reply(&store, vec![draft(2, "b1")], false).await;
    reply(&store, vec![draft(1, "a3")], false).await;
    assert_eq!(ids(&store).await, [first[0], second[0]]);
    assert_eq!(store.outbox(channel(), 1, AT).await.unwrap().len(), 1, "at most the limit");
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
    for anew in [true, false] {
        mark(&store, OutboxMark::Sending(edit[0])).await;
        mark(&store, OutboxMark::Uncertain { id: edit[0], anew, error: "no answer".to_owned() }).await;
        let row = &heads(&store).await[0];
        assert_eq!(
            (row.maybe_duplicate, row.replaces),
            (true, Some(55)),
            "what was sent instead is one more, for ever"
        );
    }
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

fn notice(chat: i64, text: &str, not_before: i64) -> Draft {
    Draft { payload: Payload::Notice, not_before: Timestamp(not_before), ..draft(chat, text) }
}

fn file(chat: i64, name: &str) -> Draft {
    let (attachment, name, media_type) = (AttachmentId::new("ab"), name.to_owned(), "text/plain".to_owned());
    let payload = Payload::File(OutgoingFile { attachment, name, media_type, bytes: 7, picture: false });
    Draft { payload, ..draft(chat, "") }
}

async fn due(store: &impl Storage, at: Timestamp) -> Vec<String> {
    store.outbox(channel(), 100, at).await.unwrap().into_iter().map(|row| row.body.plain).collect()
}

pub(super) async fn a_notice_that_must_wait_holds_up_nobody<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let later = Timestamp(AT.0 + 1_000);
    let early = reply(&store, vec![notice(1, "n1", later.0), notice(1, "n2", 0)], false).await;
    reply(&store, vec![draft(1, "a")], false).await;
    let held = reply(&store, vec![Draft { not_before: later, ..draft(2, "text") }], false).await;
    assert_eq!(due(&store, AT).await, ["a", "text"], "only notices are passed, and their own words wait for them");
    assert_eq!(status(&store).await.outbox_oldest_ms, 0);
    assert_eq!(heads(&store).await[1].not_before, later);
    let sending = heads(&store).await[0].id;
    mark(&store, OutboxMark::Sending(sending)).await;
    assert_eq!(due(&store, later).await, ["text"], "one thing at a time");
    mark(&store, OutboxMark::Sent(sending, 900)).await;
    let rows = store.outbox(channel(), 9, later).await.unwrap();
    assert_eq!((rows[0].id, rows[0].payload.clone(), rows[1].id), (early[0], Payload::Notice, held[0]));
}

pub(super) async fn a_lost_file_takes_nothing_with_it<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    store.recover(AT).await.unwrap();
    let rows = reply(&store, vec![file(1, "f1"), file(1, "f2"), draft(1, "words")], true).await;
    let attachments = async || match store.view(Query::Attachments, AT).await.unwrap() {
        View::Attachments(attachments) => attachments,
        other => panic!("{other:?}"),
    };
    assert_eq!(attachments().await, BTreeSet::from([AttachmentId::new("ab")]));
    mark(&store, uncertain(rows[0])).await;
    let head = heads(&store).await.remove(0);
    assert_eq!((head.id, head.payload), (rows[1], file(1, "f2").payload));
    mark(&store, OutboxMark::Sending(rows[1])).await;
    assert_eq!(attachments().await.len(), 1);
    drop(store);
    let store = subject.open();
    assert_eq!(store.recover(AT).await.unwrap().uncertain_sends, 1);
    assert_eq!(ids(&store).await, [rows[2]], "the words go out");
    let error = "nobody knows whether this file arrived".to_owned();
    assert_eq!(status(&store).await.outbox_dead, [(1, error.clone()), (1, error)]);
    mark(&store, OutboxMark::Sending(rows[2])).await;
    mark(&store, OutboxMark::Sent(rows[2], 900)).await;
    let View::Attachments(none) = store.view(Query::Attachments, AT).await.unwrap() else { panic!("attachments") };
    assert!(none.is_empty());
    let View::Channel(view) = store.view(Query::Channel(channel()), AT).await.unwrap() else { panic!("a channel") };
    assert_eq!(view.dead.iter().map(|dead| dead.text.as_str()).collect::<Vec<_>>(), ["[f2]", "[f1]"]);
}

pub(super) async fn what_was_given_up_can_be_sent_again<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let long = reply(&store, vec![draft(1, "a1"), draft(1, "a2")], true).await;
    mark(&store, OutboxMark::Dead(long[0], "refused".to_owned())).await;
    let other = reply(&store, vec![draft(2, "b")], true).await;
    mark(&store, OutboxMark::Dead(other[0], "refused".to_owned())).await;
    let sent = reply(&store, vec![draft(3, "c")], true).await;
    mark(&store, OutboxMark::Sent(sent[0], 900)).await;
    let day = AT.plus(Duration::from_secs(24 * 3600));
    let revive = async |channel, row, at| store.revive(channel, row, at).await.unwrap();
    assert_eq!(revive(channel(), None, day).await, 0, "too long ago");
    assert_eq!(revive(ChannelName::new("local"), Some(other[0]), AT).await, 0, "another channel's");
    assert_eq!(revive(channel(), Some(sent[0]), AT).await, 0, "it arrived");
    assert_eq!(revive(channel(), Some(long[1]), day).await, 2, "with the rest of its reply");
    let row = &heads(&store).await[0];
    assert_eq!((row.id, row.attempt, row.at, row.not_before), (long[0], 0, day, Timestamp(0)));
    store.retain(Retention { messages_days: 0 }, day.plus(Duration::from_secs(60))).await.unwrap();
    assert_eq!(ids(&store).await, [long[0]], "its age counts from now");
    assert_eq!(revive(channel(), None, AT).await, 1);
    assert_eq!(ids(&store).await, [long[0], other[0]]);
}

pub(super) async fn the_same_is_told_once_in_a_while<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let tell = async |topic: &str, at| {
        let drafts = vec![notice(1, topic, 0), notice(2, topic, 0)];
        let telling = Telling { topic: topic.to_owned(), every: Duration::from_secs(60), drafts };
        store.tell(telling, at).await.unwrap()
    };
    assert!(tell("disk", AT).await && tell("key", AT).await);
    assert!(!tell("disk", AT.plus(Duration::from_secs(59))).await);
    assert!(tell("disk", AT.plus(Duration::from_secs(60))).await);
    assert!(tell("disk", AT).await, "a clock that was ahead silences nothing");
    assert_eq!(due(&store, AT).await, ["disk", "disk"]);
    let first = heads(&store).await[0].id;
    mark(&store, OutboxMark::Dead(first, "refused".to_owned())).await;
    assert_eq!(due(&store, AT).await, ["disk", "key"], "the other owner reads it");
}
