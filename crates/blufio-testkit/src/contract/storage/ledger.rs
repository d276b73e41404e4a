//! What calls cost, and the kill switch.

use super::fixture::{AT, batch, begin, end, item, key, queue};
use super::inbox::take;
use super::turns::start;
use super::{Subject, draft};
use blufio_core::audit::AuditKind;
use blufio_core::budget::Spent;
use blufio_core::ids::{CallNumber, SessionId, TurnNumber};
use blufio_core::money::MicroUsd;
use blufio_core::port::{Storage, StoreError};
use blufio_core::record::{CostBy, CostLine, Fate, Query, View};
use blufio_core::time::Timestamp;

async fn spent(store: &impl Storage, day: Timestamp, month: Timestamp) -> Spent {
    match store.view(Query::Spent { day, month }, AT).await.unwrap() {
        View::Spent(spent) => spent,
        other => panic!("{other:?}"),
    }
}

async fn costs(store: &impl Storage, by: CostBy, since: Timestamp) -> Vec<CostLine> {
    match store.view(Query::Costs { by, since, session: None }, AT).await.unwrap() {
        View::Costs(lines) => lines,
        other => panic!("{other:?}"),
    }
}

/// Two turns: one is over and has cost 40 of 500, one has a call that is open.
async fn two_turns(store: &impl Storage) -> SessionId {
    let (boot, inbox, session) = start(store, 1).await;
    store.commit(begin(session, 1, inbox, 1, boot)).await.unwrap();
    store.commit(end(session, 1, 2, boot, 1)).await.unwrap();
    let second = take(store, queue(1, 11, "more")).await;
    store.commit(begin(session, 2, second, 3, boot)).await.unwrap();
    session
}

pub(super) async fn what_counts_is_summed_up<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let session = two_turns(&store).await;
    let (after, all) = (Timestamp(AT.0 + 1), MicroUsd(540));
    let seen = spent(&store, AT, AT).await;
    assert_eq!(seen.today, [(session, "owner".to_owned(), "main".to_owned(), all)]);
    assert_eq!((seen.month, &seen.turns[..]), (all, &[(session, TurnNumber(2), MicroUsd(500))][..]));
    let [(call, payer, held, at)] = &seen.open[..] else { panic!("{seen:?}") };
    assert_eq!((call.session, call.turn, call.call), (session, TurnNumber(2), CallNumber(1)));
    assert_eq!((payer.person.as_str(), *held, *at), ("owner", MicroUsd(500), AT));
    let seen = spent(&store, after, AT).await;
    assert_eq!((seen.today.len(), seen.month), (0, all), "yesterday counts for the month");
    let seen = spent(&store, after, after).await;
    assert_eq!((seen.month, seen.turns.len(), seen.open.len()), (MicroUsd(0), 1, 1), "what runs is always named");
}

pub(super) async fn costs_are_summed_up_by_what_is_asked<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    two_turns(&store).await;
    for (by, name) in [
        (CostBy::Model, "model-a".to_owned()),
        (CostBy::Session, key(1).to_string()),
        (CostBy::Agent, "main".to_owned()),
        (CostBy::Person, "owner".to_owned()),
        (CostBy::Purpose, "chat".to_owned()),
        (CostBy::Reason, "usual".to_owned()),
        (CostBy::Quarter, (AT.0 / 900_000 * 900_000).to_string()),
    ] {
        let lines = costs(&store, by, AT).await;
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!((&line.key, line.calls, line.input, line.output), (&name, 2, 10, 5), "{by:?}");
        assert_eq!((line.cost, line.held, line.estimated), (MicroUsd(40), MicroUsd(500), MicroUsd(0)), "{by:?}");
        assert_eq!((line.settled, line.uncached, line.saved()), (MicroUsd(40), MicroUsd(70), 30), "{by:?}");
    }
    assert_eq!(costs(&store, CostBy::Model, Timestamp(AT.0 + 1)).await, []);
    let unknown = Query::Costs { by: CostBy::Model, since: AT, session: Some(key(99)) };
    assert!(matches!(store.view(unknown, AT).await, Err(StoreError::NotFound(_))));
}

pub(super) async fn the_kill_switch_stays_as_it_is<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    assert!(!store.recover(AT).await.unwrap().killed);
    store.switch(true, "owner 1".to_owned(), AT).await.unwrap();
    drop(store);
    let store = subject.open();
    assert!(store.recover(AT).await.unwrap().killed, "after a crash, too");
    let switch = |killed| Fate::Switch { killed, by: "owner 1".into(), text: "ok".into(), reply: Some(draft(1, "ok")) };
    store.accept(batch(vec![item(10, switch(false)), item(11, switch(true)), item(12, switch(false))])).await.unwrap();
    // A repeat turns nothing.
    store.accept(batch(vec![item(11, switch(true))])).await.unwrap();
    drop(store);
    let store = subject.open();
    assert!(!store.recover(AT).await.unwrap().killed);
    let View::Audit(lines) = store.view(Query::Audit { limit: 9, before: None }, AT).await.unwrap() else {
        panic!("audit")
    };
    let turned: Vec<_> = lines
        .iter()
        .rev()
        .filter(|line| line.kind == AuditKind::KillSwitch.as_str())
        .map(|line| line.outcome.as_str())
        .collect();
    assert_eq!(turned, ["stopped", "may run again", "stopped", "may run again"]);
    store.close(AT).await.unwrap();
}
