//! Chats that are shut, and groups that go on under another id.

use super::Subject;
use super::fixture::{ACCOUNT, AT, batch, begin, channel, commit, draft, item, key, next, queue, route};
use super::inbox::{status, take};
use blufio_core::content::Overheard;
use blufio_core::port::Storage;
use blufio_core::record::{ChannelView, ChatView, Draft, Fate, GivenUp, OutboxMark, Query, Record, View};

async fn way_out(store: &impl Storage) -> ChannelView {
    match store.view(Query::Channel(channel()), AT).await.unwrap() {
        View::Channel(view) => view,
        other => panic!("{other:?}"),
    }
}

async fn say(store: &impl Storage, drafts: Vec<Draft>) {
    let session = store.open(key(1), AT).await.unwrap().id;
    store.commit(commit(session, 0, vec![Record::Outbox { drafts, first_sending: false }])).await.unwrap();
}

fn shut(update: i64, chat: i64, closed: Option<&'static str>) -> blufio_core::record::Item {
    item(update, Fate::Chat { chat, closed })
}

pub(super) async fn a_shut_chat_takes_nothing_until_somebody_speaks<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    take(&store, queue(1, 1, "so that the session has a chat")).await;
    say(&store, vec![draft(1, "a"), draft(2, "elsewhere")]).await;
    take(&store, shut(2, 1, Some("blocked"))).await;
    say(&store, vec![draft(1, "b")]).await;
    let session = store.open(key(1), AT).await.unwrap().id;
    let at_once = Record::Outbox { drafts: vec![draft(1, "c"), draft(2, "after")], first_sending: true };
    let committed = store.commit(commit(session, 0, vec![at_once])).await.unwrap();
    let lost = GivenUp { id: committed.outbox[0], chat: 1, reason: "blocked".to_owned() };
    assert_eq!(committed.given_up, [lost], "what was to be sent at once is not");
    let seen = way_out(&store).await;
    let dead: Vec<(&str, &str)> = seen.dead.iter().map(|dead| (dead.text.as_str(), dead.error.as_str())).collect();
    assert_eq!((seen.waiting, dead), (2, vec![("c", "blocked"), ("b", "blocked"), ("a", "blocked")]));
    assert_eq!(seen.closed, [ChatView { chat: 1, reason: "blocked".to_owned(), since: AT }]);
    assert_eq!(store.revive(channel(), None, AT).await.unwrap(), 0, "not while it is shut");
    let spoken = |update: i64| {
        let answer = |text: &str| Some(draft(1, text));
        let heard = Overheard { name: "Ann".to_owned(), text: "hi".to_owned() };
        match update % 5 {
            0 => shut(update, 1, None),
            1 => queue(1, update, "hello"),
            2 => item(update, Fate::Overhear { session: key(1), heard, keep: 5 }),
            3 => item(update, Fate::Answer { text: String::new(), reply: answer("answered") }),
            _ => {
                let (user, name, code) = (1, "n".to_owned(), "C".to_owned());
                item(update, Fate::Pair { user, name, code, reply: draft(1, "code") })
            }
        }
    };
    for update in 10..15 {
        let closed = OutboxMark::ChatClosed(route(1, None), "kicked".to_owned());
        store.mark(vec![closed], AT).await.unwrap();
        assert_eq!(way_out(&store).await.closed.len(), 1);
        take(&store, spoken(update)).await;
        assert!(way_out(&store).await.closed.is_empty(), "{update}");
    }
    let waiting: Vec<String> = heads(&store).await.into_iter().map(|row| row.1).collect();
    assert_eq!(waiting, ["elsewhere", "code"], "and the answer goes out");
    assert_eq!(status(&store).await.outbox_dead.len(), 4);
    assert_eq!(store.revive(channel(), None, AT).await.unwrap(), 4);
}

/// Chat and text of what is due.
async fn heads(store: &impl Storage) -> Vec<(i64, String)> {
    store.outbox(channel(), 9, AT).await.unwrap().into_iter().map(|row| (row.route.chat, row.body.plain)).collect()
}

pub(super) async fn a_group_goes_on_under_another_id<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let boot = store.recover(AT).await.unwrap().boot;
    let inbox = take(&store, queue(1, 1, "runs")).await;
    let session = store.open(key(1), AT).await.unwrap().id;
    store.commit(begin(session, 1, inbox, 1, boot)).await.unwrap();
    store.commit(commit(session, 1, vec![Record::Placeholder { message: 77 }])).await.unwrap();
    take(&store, queue(1, 2, "waits")).await;
    let edit = Draft { replaces: Some(5), ..draft(1, "a") };
    say(&store, vec![edit, draft(2, "elsewhere")]).await;
    let moves = |update, old, new| item(update, Fate::Migrate { old, new });
    take(&store, moves(3, 1, -100)).await;
    assert_eq!(heads(&store).await, [(-100, "a".to_owned()), (2, "elsewhere".to_owned())]);
    assert_eq!(store.outbox(channel(), 9, AT).await.unwrap()[0].replaces, None, "numbers of messages are new, too");
    let waits = next(&store, session).await.unwrap();
    assert_eq!(waits.route, route(-100, None));
    drop(store);
    let store = subject.open();
    let recovered = store.recover(AT).await.unwrap();
    assert_eq!((recovered.aliases, recovered.sessions), (vec![(channel(), ACCOUNT, -100, 1)], vec![key(1)]));
    let running = store.open(key(1), AT).await.unwrap().running.unwrap();
    assert_eq!((running.inbox.route, running.placeholder), (route(-100, None), None));
    // A second time by the other side, a third time by a send.
    take(&store, moves(4, 1, -100)).await;
    take(&store, moves(5, -100, -200)).await;
    say(&store, vec![draft(-100, "b")]).await;
    let late = store.outbox(channel(), 9, AT).await.unwrap().into_iter().find(|row| row.route.chat == -100).unwrap();
    let told = OutboxMark::Migrated { id: late.id, route: late.route, new: -200 };
    store.mark(vec![OutboxMark::Sending(late.id), told.clone()], AT).await.unwrap();
    store.mark(vec![told], AT).await.unwrap();
    let expected = [(-200, "a".to_owned()), (2, "elsewhere".to_owned())];
    assert_eq!(heads(&store).await, expected, "b waits behind a");
    assert_eq!(store.recover(AT).await.unwrap().aliases[0], (channel(), ACCOUNT, -200, 1), "known as the first one");
    let first = store.outbox(channel(), 1, AT).await.unwrap().remove(0).id;
    store.mark(vec![OutboxMark::Sending(first), OutboxMark::Sent(first, 1)], AT).await.unwrap();
    let row = store.outbox(channel(), 1, AT).await.unwrap().remove(0);
    assert_eq!((row.body.plain.as_str(), row.attempt), ("elsewhere", 0));
    let b = store.outbox(channel(), 9, AT).await.unwrap().remove(1);
    assert_eq!((b.body.plain.as_str(), b.attempt), ("b", 0), "the try does not count");
    store.accept(batch(vec![queue(1, 6, "hello")])).await.unwrap();
}
