//! What was not said to us, and reactions.

use super::Subject;
use super::fixture::{AT, begin, channel, commit, draft, item, key, queue};
use super::inbox::{row, take};
use blufio_core::content::Overheard;
use blufio_core::ids::{InboxId, SessionId};
use blufio_core::port::Storage;
use blufio_core::record::{Fate, OutboxMark, Record, Retention};
use std::time::Duration;

fn overhear(chat: i64, update: i64, text: &str, keep: u32) -> blufio_core::record::Item {
    let heard = Overheard { name: "Ann".to_owned(), text: text.to_owned() };
    item(update, Fate::Overhear { session: key(chat), heard, keep })
}

async fn heard(store: &impl Storage, session: SessionId, before: InboxId) -> Vec<String> {
    store.overheard(session, before).await.unwrap().into_iter().map(|heard| heard.text).collect()
}

pub(super) async fn words_wait_for_the_next_answer<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let boot = store.recover(AT).await.unwrap().boot;
    for (update, text) in [(1, "a"), (2, "b"), (3, "c")] {
        take(&store, overhear(1, update, text, 2)).await;
    }
    let other = take(&store, overhear(2, 4, "elsewhere", 2)).await;
    let view = row(&store, other).await;
    assert_eq!((view.state.as_str(), view.outcome.as_deref()), ("done", Some("overheard")));
    let inbox = take(&store, queue(1, 5, "and you?")).await;
    take(&store, overhear(1, 6, "d", 9)).await;
    let last = take(&store, queue(1, 7, "well?")).await;
    drop(store);
    let store = subject.open();
    let session = store.open(key(1), AT).await.unwrap().id;
    assert_eq!(heard(&store, session, inbox).await, ["b", "c"], "the oldest went");
    assert_eq!(heard(&store, session, last).await, ["b", "c", "d"]);
    store.commit(begin(session, 1, inbox, 1, boot)).await.unwrap();
    assert_eq!(heard(&store, session, last).await, ["d"], "what came after the row was not read with it");
    store.commit(commit(session, 1, vec![Record::Joined(vec![last])])).await.unwrap();
    assert_eq!(heard(&store, session, last).await, ["d"], "nor with one that joined");
    let elsewhere = store.open(key(2), AT).await.unwrap().id;
    assert_eq!(heard(&store, elsewhere, last).await, ["elsewhere"]);
    take(&store, overhear(2, 8, "nothing of it", 0)).await;
    assert!(heard(&store, elsewhere, InboxId(i64::MAX)).await.is_empty(), "none are kept");
}

pub(super) async fn reactions_to_our_messages_are_heard<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let session = store.open(key(1), AT).await.unwrap().id;
    let long = format!("one\ntwo {}", "ä".repeat(60));
    let answers = vec![draft(1, "an answer"), draft(1, &long)];
    let answers = commit(session, 0, vec![Record::Outbox { drafts: answers, first_sending: false }]);
    let sent = store.commit(answers).await.unwrap().outbox;
    let react = |update, chat, message, emoji: &str| {
        let (name, emoji) = ("Bob".to_owned(), emoji.to_owned());
        item(update, Fate::React { chat, message, name, emoji })
    };
    let early = take(&store, react(1, 1, 900, "👍")).await;
    assert_eq!(row(&store, early).await.outcome.as_deref(), Some("not_ours"), "nothing was sent yet");
    let mut marks = Vec::new();
    for (id, message) in sent.into_iter().zip([900, 901]) {
        marks.extend([OutboxMark::Sending(id), OutboxMark::Sent(id, message)]);
    }
    store.mark(marks, AT).await.unwrap();
    for (update, chat, message, emoji) in [(2, 1, 900, "👍"), (3, 1, 901, ""), (4, 2, 900, "👎"), (5, 1, 902, "👎")]
    {
        take(&store, react(update, chat, message, emoji)).await;
    }
    let cut = format!("one two {}…", "ä".repeat(52));
    let expected = ["reacted 👍 to “an answer”".to_owned(), format!("took back the reaction to “{cut}”")];
    assert_eq!(heard(&store, session, InboxId(i64::MAX)).await, expected, "another chat or message is not ours");
    assert!(store.outbox(channel(), 9, AT).await.unwrap().is_empty());
    let later = AT.plus(Duration::from_secs(8 * 86_400 + 60));
    while store.retain(Retention { messages_days: 0 }, later).await.unwrap() {}
    assert!(heard(&store, session, InboxId(i64::MAX)).await.is_empty(), "forgotten");
}
