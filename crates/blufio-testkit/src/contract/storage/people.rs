//! Strangers, owners and the lists of them.

use super::Subject;
use super::fixture::{ACCOUNT, AT, batch, channel, draft, item, key, queue};
use super::inbox::{row, take};
use blufio_core::limits::{PAIRING_PENDING_MAX, PAIRING_REPLIES_MAX, PAIRING_TTL};
use blufio_core::port::{Storage, StoreError};
use blufio_core::record::{Batch, Fate, Item, Pairing, PairingChange, PairingRequest, Query, Taken, View};
use blufio_core::time::Timestamp;
use std::time::Duration;

fn asks(update: i64, user: i64) -> Item {
    let (name, code) = (format!("user {user}"), format!("CODE{update}"));
    let fate = Fate::Pair { user, name, code, reply: draft(user, "your code") };
    Item { raw: Vec::new().into(), ..item(update, fate) }
}

async fn ask(store: &impl Storage, update: i64, user: i64, at: Timestamp) {
    store.accept(Batch { at, ..batch(vec![asks(update, user)]) }).await.unwrap();
}

async fn people(store: &impl Storage, at: Timestamp) -> (Vec<Pairing>, Vec<PairingRequest>) {
    match store.view(Query::Pairings, at).await.unwrap() {
        View::Pairings(approved, waiting) => (approved, waiting),
        other => panic!("{other:?}"),
    }
}

async fn replies(store: &impl Storage) -> usize {
    store.outbox(channel(), 100, AT).await.unwrap().len()
}

fn approve(code: &str, has_owner: bool) -> PairingChange {
    PairingChange::Approve { code: code.to_owned(), owner: false, has_owner }
}

pub(super) async fn few_strangers_get_a_code<S: Storage>(subject: &Subject<'_, S>) {
    assert_eq!((PAIRING_PENDING_MAX, PAIRING_REPLIES_MAX), (3, 3), "the case is written for these");
    let store = subject.open();
    for (update, user) in [(1, 101), (2, 101), (3, 102), (4, 103), (5, 104)] {
        ask(&store, update, user, AT).await;
    }
    let users: Vec<i64> = people(&store, AT).await.1.iter().map(|request| request.user).collect();
    assert_eq!((users, replies(&store).await), (vec![101, 102, 103], 3), "asked twice, and the fourth: silence");
    let reject = PairingChange::Reject { code: "code1".to_owned() };
    assert_eq!(store.pairing(reject, AT).await.unwrap().user, 101);
    ask(&store, 6, 105, AT).await;
    assert_eq!(replies(&store).await, 3, "a place is free, but the replies of the window are used up");
    let later = AT.plus(Duration::from_secs(700));
    ask(&store, 7, 105, later).await;
    ask(&store, 8, 101, later).await;
    assert_eq!(replies(&store).await, 4, "the next window; the rejected one waits until the request expires");
    let expired = AT.plus(PAIRING_TTL);
    let refused = store.pairing(approve("CODE3", false), expired).await;
    assert!(matches!(refused, Err(StoreError::NotFound(_))), "{refused:?}");
    ask(&store, 9, 101, expired).await;
    let users: Vec<i64> = people(&store, expired).await.1.iter().map(|request| request.user).collect();
    assert_eq!(users, [105, 101]);
}

pub(super) async fn approval_makes_the_first_one_owner<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    for (update, user) in [(1, 101), (2, 102), (3, 103)] {
        ask(&store, update, user, AT).await;
    }
    let first = store.pairing(approve(" code1 ", false), AT).await.unwrap();
    let expected =
        Pairing { channel: channel(), account: 7, user: 101, name: "user 101".to_owned(), owner: true, at: AT };
    assert_eq!(first, expected);
    assert!(!store.pairing(approve("CODE2", false), AT).await.unwrap().owner);
    let promoted = PairingChange::Approve { code: "CODE3".to_owned(), owner: true, has_owner: true };
    assert!(store.pairing(promoted, AT).await.unwrap().owner);
    let again = store.pairing(approve("CODE1", false), AT).await;
    assert!(matches!(again, Err(StoreError::NotFound(_))), "a code works once: {again:?}");
    drop(store);
    let store = subject.open();
    let paired: Vec<(i64, bool)> =
        store.recover(AT).await.unwrap().paired.iter().map(|pairing| (pairing.user, pairing.owner)).collect();
    assert_eq!(paired, [(101, true), (102, false), (103, true)]);
}

pub(super) async fn revoking_drops_what_waits<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    ask(&store, 1, 101, AT).await;
    store.pairing(approve("CODE1", true), AT).await.unwrap();
    let theirs = take(&store, queue(101, 2, "waits")).await;
    let others = take(&store, queue(102, 3, "waits")).await;
    assert_eq!(store.pairing(PairingChange::Revoke { user: 101 }, AT).await.unwrap().user, 101);
    assert_eq!(row(&store, theirs).await.outcome.as_deref(), Some("revoked"));
    assert_eq!(row(&store, others).await.state, "received");
    let again = store.pairing(PairingChange::Revoke { user: 101 }, AT).await;
    assert!(matches!(again, Err(StoreError::NotFound(_))), "{again:?}");
    assert!(people(&store, AT).await.0.is_empty());
    ask(&store, 4, 101, AT).await;
    assert_eq!(people(&store, AT).await.1.len(), 1, "they may ask again");
    assert_eq!(store.recover(AT).await.unwrap().sessions, [key(102)]);
}

fn shows(update: i64, user: i64, code: &str) -> Item {
    let (name, code) = (format!("user {user}"), code.to_owned());
    item(update, Fate::Link { user, name, code, welcome: draft(user, "welcome") })
}

async fn link(store: &impl Storage, code: &str, at: Timestamp) -> Result<Pairing, StoreError> {
    let link = PairingChange::Link { channel: channel(), account: ACCOUNT, code: code.to_owned(), has_owner: false };
    store.pairing(link, at).await
}

async fn show(store: &impl Storage, item: Item, at: Timestamp) -> Taken {
    store.accept(Batch { at, ..batch(vec![item]) }).await.unwrap()[0].taken.clone()
}

pub(super) async fn a_link_lets_in_whoever_shows_it_first<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let made = link(&store, "LINK2222", AT).await.unwrap();
    assert_eq!((made.user, made.name.as_str(), made.owner), (0, "LINK2222", false));
    assert!(people(&store, AT).await.0.is_empty(), "nobody is let in yet");
    assert!(link(&store, "LINK2222", AT).await.is_err(), "a code is made once");
    link(&store, "LINK3333", AT).await.unwrap();
    let paired = show(&store, shows(1, 101, "link2222"), AT).await;
    let expected = |user, owner| {
        let name = format!("user {user}");
        Taken::Paired(Pairing { channel: channel(), account: ACCOUNT, user, name, owner, at: AT })
    };
    assert_eq!(paired, expected(101, true), "the first one is an owner, as by approval");
    assert_eq!(show(&store, shows(2, 102, "LINK2222"), AT).await, Taken::Closed, "it works once");
    assert_eq!(show(&store, shows(3, 102, "LINK3333"), AT).await, expected(102, false));
    assert_eq!(replies(&store).await, 2, "nobody else gets an answer");
    link(&store, "LINK4444", AT).await.unwrap();
    let late = AT.plus(Duration::from_secs(600));
    assert_eq!(show(&store, shows(4, 103, "LINK4444"), late).await, Taken::Closed);
    assert_eq!(store.recover(AT).await.unwrap().paired.len(), 2);
}

pub(super) async fn codes_of_links_cannot_be_tried_out<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    link(&store, "LINK2222", AT).await.unwrap();
    for update in 0..5 {
        assert_eq!(show(&store, shows(update, 101, "WRONG222"), AT).await, Taken::Closed);
    }
    assert_eq!(show(&store, shows(5, 101, "LINK2222"), AT).await, Taken::Closed, "too many guesses of one person");
    for update in 6..21 {
        show(&store, shows(update, 200 + update, "WRONG222"), AT).await;
    }
    assert_eq!(show(&store, shows(21, 102, "LINK2222"), AT).await, Taken::Closed, "too many guesses of all");
    assert_eq!((replies(&store).await, people(&store, AT).await.0.len()), (0, 0));
    let hour = AT.plus(Duration::from_secs(3_600));
    link(&store, "LINK3333", hour).await.unwrap();
    assert!(matches!(show(&store, shows(22, 101, "LINK3333"), hour).await, Taken::Paired(_)), "an hour later");
}
