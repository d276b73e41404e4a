//! What is known: added, corrected, undone, forgotten.

use super::Subject;
use super::fixture::AT;
use super::memory::{Talk, index, owner, question, status, texts};
use blufio_core::ids::{FactChangeId, FactId, MessageSeq, SessionId};
use blufio_core::memory::vector::{DIMENSIONS, Vector};
use blufio_core::memory::{Fact, FactKind, MemoryId, NewFact, Said, Scope, Source};
use blufio_core::port::{Storage, StoreError};
use blufio_core::record::{
    FACT_CHANGES_MAX, FactChange, FactChangeKind, FactEdit, FactFilter, FactHistory, FactState, FactView, Query,
    Recall, RecallKinds, Remember, STATEMENT_BYTES_MAX, View,
};
use blufio_core::time::Timestamp;
use rusqlite::types::ValueRef;
use std::path::Path;

fn new(statement: &str) -> NewFact {
    NewFact {
        scope: owner(),
        kind: FactKind::Fact,
        subject: "Ann".to_owned(),
        statement: statement.to_owned(),
        source: None,
        said: Said::Owner,
        confidence: 90,
        valid_from: None,
        valid_to: None,
        supersedes: None,
        pinned: false,
    }
}

fn add(fact: NewFact) -> FactChange {
    FactChange::Add(Box::new(fact))
}

fn edit(id: FactId, statement: &str) -> FactChange {
    let to =
        FactEdit { said: Said::Owner, kind: None, subject: None, statement: Some(statement.to_owned()), pinned: None };
    FactChange::Edit { id, to: Box::new(to) }
}

async fn change(store: &impl Storage, scope: Scope, changes: Vec<FactChange>) -> Result<Vec<Option<Fact>>, StoreError> {
    store.remember(Remember { scope, by: "owner".to_owned(), changes }, AT).await
}

async fn done(store: &impl Storage, one: FactChange) -> Fact {
    change(store, owner(), vec![one]).await.unwrap().remove(0).unwrap()
}

async fn forget(store: &impl Storage, id: FactId, passages: bool) {
    assert_eq!(change(store, owner(), vec![FactChange::Forget { id, passages }]).await.unwrap(), [None]);
}

async fn refused(store: &impl Storage, scope: Scope, one: FactChange, words: &str) {
    match change(store, scope, vec![one.clone()]).await {
        Err(StoreError::Refused(why) | StoreError::NotFound(why)) => assert!(why.contains(words), "{one:?}: {why}"),
        other => panic!("{one:?}: {other:?}"),
    }
}

async fn history(store: &impl Storage, id: FactId) -> Option<FactHistory> {
    match store.view(Query::Fact { scope: owner(), id }, AT).await.unwrap() {
        View::Fact(history) => history.map(|history| *history),
        other => panic!("{other:?}"),
    }
}

async fn state(store: &impl Storage, id: FactId) -> FactState {
    history(store, id).await.unwrap().view.state
}

async fn list(store: &impl Storage, filter: FactFilter, search: Option<&str>) -> Vec<i64> {
    let query = Query::Facts { scope: owner(), filter, search: search.map(str::to_owned), limit: 100 };
    match store.view(query, AT).await.unwrap() {
        View::Facts(views) => views.iter().map(|view: &FactView| view.fact.id.0).collect(),
        other => panic!("{other:?}"),
    }
}

async fn last_change(store: &impl Storage, id: FactId) -> FactChangeId {
    history(store, id).await.unwrap().changes.last().unwrap().id
}

pub(super) async fn facts_are_kept_as_they_were_learned<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let source = Source { session: SessionId(3), first: MessageSeq(4), last: MessageSeq(5) };
    let full = NewFact {
        kind: FactKind::Event,
        source: Some(source),
        said: Said::Foreign,
        valid_from: Some(Timestamp(5)),
        valid_to: Some(Timestamp(9)),
        pinned: true,
        ..new("Ann moves to Porto")
    };
    let known = change(&store, owner(), vec![add(full.clone()), add(new("Ann likes figs"))]).await.unwrap();
    drop(store);
    let store = subject.open();
    let first = known[0].as_ref().unwrap();
    assert_eq!(*first, Fact { id: first.id, fact: full.clone(), learned_at: AT, superseded_by: None });
    let kept = history(&store, first.id).await.unwrap();
    assert_eq!(kept.view, FactView { fact: first.clone(), state: FactState::Open });
    assert_eq!((kept.before.len(), kept.changes.len()), (0, 1));
    assert_eq!((kept.changes[0].what, kept.changes[0].by.as_str()), (FactChangeKind::Added, "owner"));
    assert_eq!(done(&store, add(full)).await.id, first.id, "what is known word for word is not kept twice");
    assert_eq!(list(&store, FactFilter::All, None).await, [2, 1]);
}

pub(super) async fn what_cannot_be_known_is_refused<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let person = Scope::stored("person:8".to_owned());
    let standing = |said| NewFact { kind: FactKind::Standing, said, ..new("answer in German") };
    let check = async |fact: NewFact, words: &str| refused(&store, owner(), add(fact), words).await;
    check(standing(Said::Foreign), "own words").await;
    check(standing(Said::Agent), "own words").await;
    check(NewFact { said: Said::Person, ..new("x") }, "theirs").await;
    check(NewFact { scope: person.clone(), ..new("x") }, "belongs to").await;
    check(new(" "), "needs a subject").await;
    check(new(&"x".repeat(STATEMENT_BYTES_MAX + 1)), "too long").await;
    check(NewFact { confidence: 101, ..new("x") }, "surer").await;
    check(NewFact { valid_from: Some(Timestamp(2)), valid_to: Some(Timestamp(1)), ..new("x") }, "begins").await;
    check(NewFact { supersedes: Some(FactId(9)), ..new("x") }, "no fact 9").await;
    refused(&store, owner(), edit(FactId(9), "x"), "no fact 9").await;
    refused(&store, owner(), FactChange::Undo(FactChangeId(9)), "no change 9").await;
    let many = vec![add(new("x")); FACT_CHANGES_MAX + 1];
    assert!(matches!(change(&store, owner(), many).await, Err(StoreError::Refused(_))));
    // A person's own words may stand in front of that person, and in a chat nobody's but the owner's.
    let theirs = NewFact { scope: person.clone(), ..standing(Said::Person) };
    let known = change(&store, person.clone(), vec![add(theirs)]).await.unwrap().remove(0).unwrap();
    let chat = Scope::stored("chat:tg:7:-5".to_owned());
    refused(&store, chat.clone(), add(NewFact { scope: chat, ..standing(Said::Person) }), "own words").await;
    // Nobody changes what is another's, nor learns that it is there.
    for strange in [
        edit(known.id, "x"),
        FactChange::Forget { id: known.id, passages: true },
        FactChange::Undo(FactChangeId(1)),
        add(NewFact { supersedes: Some(known.id), ..new("x") }),
    ] {
        refused(&store, owner(), strange, "no ").await;
    }
    assert_eq!(history(&store, known.id).await, None);
    // All or nothing.
    let both = vec![add(new("good")), add(new(""))];
    assert!(change(&store, owner(), both).await.is_err());
    assert_eq!(list(&store, FactFilter::All, None).await, [0_i64; 0]);
}

pub(super) async fn what_changes_stays_beside_what_was<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let berlin = done(&store, add(new("Ann lives in Berlin"))).await;
    let moved = NewFact { supersedes: Some(berlin.id), valid_from: Some(Timestamp(7)), ..new("Ann lives in Porto") };
    let porto = done(&store, add(moved)).await;
    let old = history(&store, berlin.id).await.unwrap().view;
    assert_eq!(
        (old.state, old.fact.superseded_by, old.fact.fact.valid_to),
        (FactState::Superseded, Some(porto.id), Some(Timestamp(7)))
    );
    let lisbon = done(&store, edit(porto.id, "Ann lives in Lisbon")).await;
    let wrong = history(&store, porto.id).await.unwrap().view;
    assert_eq!((wrong.state, wrong.fact.superseded_by), (FactState::Corrected, Some(lisbon.id)));
    assert_eq!(
        lisbon.fact,
        NewFact { statement: "Ann lives in Lisbon".to_owned(), supersedes: Some(porto.id), ..porto.fact.clone() }
    );
    let before: Vec<FactId> =
        history(&store, lisbon.id).await.unwrap().before.iter().map(|view| view.fact.id).collect();
    assert_eq!(before, [porto.id, berlin.id]);
    refused(&store, owner(), edit(porto.id, "x"), "does not hold any more").await;
    refused(&store, owner(), add(NewFact { supersedes: Some(berlin.id), ..new("x") }), "does not hold any more").await;
    // What was right once is found, what was wrong is not.
    let mut found = texts(&store, question("lives")).await;
    found.sort();
    assert_eq!(found, ["Ann lives in Berlin", "Ann lives in Lisbon"]);
    assert_eq!(list(&store, FactFilter::Open, None).await, [3]);
    assert_eq!(list(&store, FactFilter::Closed, None).await, [2, 1]);
    let now = status(&store).await;
    assert_eq!((now.facts_open, now.facts_closed), (1, 2));
}

pub(super) async fn changes_are_undone_unless_something_came_after<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let berlin = done(&store, add(new("Ann lives in Berlin"))).await;
    let porto = done(&store, add(NewFact { supersedes: Some(berlin.id), ..new("Ann lives in Porto") })).await;
    let moving = last_change(&store, porto.id).await;
    assert_eq!(done(&store, FactChange::Undo(moving)).await.id, porto.id);
    assert_eq!(
        (state(&store, berlin.id).await, state(&store, porto.id).await),
        (FactState::Open, FactState::Withdrawn)
    );
    assert_eq!(history(&store, berlin.id).await.unwrap().view.fact, berlin);
    assert_eq!(texts(&store, question("lives")).await, ["Ann lives in Berlin"]);
    refused(&store, owner(), FactChange::Undo(moving), "undone already").await;
    // An undoing can be undone.
    let undoing = last_change(&store, porto.id).await;
    drop(store);
    let store = subject.open();
    done(&store, FactChange::Undo(undoing)).await;
    assert_eq!(
        (state(&store, berlin.id).await, state(&store, porto.id).await),
        (FactState::Superseded, FactState::Open)
    );
    let redoing = last_change(&store, porto.id).await;
    let lisbon = done(&store, edit(porto.id, "Ann lives in Lisbon")).await;
    refused(&store, owner(), FactChange::Undo(redoing), "has changed since").await;
    let correcting = last_change(&store, lisbon.id).await;
    done(&store, FactChange::Undo(correcting)).await;
    assert_eq!(state(&store, porto.id).await, FactState::Open);
    forget(&store, berlin.id, false).await;
    refused(&store, owner(), FactChange::Undo(redoing), "is forgotten").await;
}

pub(super) async fn facts_are_found_and_standing_ones_are_in_front<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let standing = |statement: &str, pinned| NewFact { kind: FactKind::Standing, pinned, ..new(statement) };
    let all = [
        standing("answer in German", true),
        standing("no emoji", false),
        standing("be brief", false),
        new("German figs"),
    ];
    for fact in all {
        done(&store, add(fact)).await;
    }
    assert_eq!(texts(&store, question("german")).await, ["German figs"], "standing facts are not searched for");
    let passages = Recall { kinds: RecallKinds::Passages, ..question("german") };
    assert!(texts(&store, passages).await.is_empty());
    assert_eq!(list(&store, FactFilter::All, Some("German")).await, [4, 1]);
    assert_eq!(list(&store, FactFilter::All, Some("?!")).await, [0_i64; 0]);
    let View::Standing(front) = store.view(Query::Standing(owner()), AT).await.unwrap() else { panic!("another view") };
    let front: Vec<&str> = front.iter().map(|fact| fact.fact.statement.as_str()).collect();
    assert_eq!(front, ["answer in German", "be brief", "no emoji"]);
    // Only what is searched for gets a vector.
    let texts = store.unembedded("mini".to_owned(), 9).await.unwrap();
    assert_eq!(texts, [(MemoryId::Fact(FactId(4)), "German figs".to_owned())]);
    let meaning = Vector::new(&[1.0; DIMENSIONS]).unwrap();
    store.keep_vectors("mini".to_owned(), vec![(texts[0].0, vec![meaning.clone()])]).await.unwrap();
    let by_meaning = Recall { meaning: Some(("mini".to_owned(), meaning)), ..question("") };
    let found = store.recall(by_meaning).await.unwrap().candidates;
    assert!(found.len() == 1 && found[0].dense.unwrap().own > 0.99, "{found:?}");
}

pub(super) async fn what_is_forgotten_is_gone_from_the_disk<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let boot = store.recover(AT).await.unwrap().boot;
    let mut talk = Talk::new(&store, boot, 1).await;
    talk.words(&store, "zzpassage zzquestion", "zzanswer").await;
    talk.words(&store, "other", "words").await;
    index(&store).await;
    let source = Some(talk.messages(1, 2));
    let wrong = done(&store, add(NewFact { source, ..new("zzwrong zzfact") })).await;
    let right = done(&store, edit(wrong.id, "zzright zzfact")).await;
    let stays = done(&store, add(new("it stays"))).await;
    let undone = done(&store, add(NewFact { supersedes: Some(right.id), ..new("zzundone zzfact") })).await;
    done(&store, FactChange::Undo(last_change(&store, undone.id).await)).await;
    let vectors = store.unembedded("mini".to_owned(), 99).await.unwrap().into_iter();
    let vectors = vectors.map(|(id, _)| (id, vec![Vector::new(&[1.0; DIMENSIONS]).unwrap()])).collect();
    store.keep_vectors("mini".to_owned(), vectors).await.unwrap();
    assert_eq!(status(&store).await.vectors, 4 + 2);
    let mut group = Talk::new(&store, boot, -5).await;
    group.words(&store, "heard by others", "and answered").await;
    index(&store).await;
    let heard = done(&store, add(NewFact { source: Some(group.messages(1, 2)), ..new("heard somewhere") })).await;
    refused(&store, owner(), FactChange::Forget { id: heard.id, passages: true }, "not remembered here alone").await;
    forget(&store, heard.id, false).await;
    forget(&store, right.id, true).await;
    for gone in [wrong.id, right.id, undone.id] {
        assert_eq!(history(&store, gone).await, None);
    }
    assert_eq!(texts(&store, question("zzfact zzright zzpassage zzanswer zzquestion")).await, [""; 0]);
    assert_eq!(list(&store, FactFilter::All, None).await, [stays.id.0]);
    let now = status(&store).await;
    assert_eq!((now.passages, now.vectors), (4, 3));
    refused(&store, owner(), FactChange::Undo(FactChangeId(1)), "is forgotten").await;
    // Nothing of it is left in any row of the memory; the messages are the conversation's.
    let left = words_left(&subject.path, b"zz");
    assert_eq!(left, [""; 0]);
    if crate::database::is_plain(&subject.path) {
        for word in [&b"zzright"[..], b"zzwrong", b"zzundone", b"zzfact"] {
            let mut log = subject.path.clone().into_os_string();
            log.push("-wal");
            for file in [subject.path.as_os_str(), &log] {
                let bytes = std::fs::read(file).unwrap_or_default();
                assert!(!bytes.windows(word.len()).any(|found| found == word), "{word:?} in {file:?}");
            }
        }
    }
    index(&store).await;
    assert_eq!(status(&store).await.passages, 4, "the messages do not become passages again");
}

/// Cells of the memory's tables that hold a word, the index's own pages included.
fn words_left(path: &Path, word: &[u8]) -> Vec<String> {
    let connection = crate::database::open_read_only(path).unwrap();
    let mut tables = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 AND (name GLOB 'fact*' OR name GLOB 'passage*')")
        .unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    assert!(tables.len() >= 13, "{tables:?}");
    let mut left = Vec::new();
    for table in tables {
        let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for (place, column) in columns.iter().enumerate() {
                let (ValueRef::Text(bytes) | ValueRef::Blob(bytes)) = row.get_ref(place).unwrap() else { continue };
                if bytes.windows(word.len()).any(|found| found == word) {
                    left.push(format!("{table}.{column}: {}", String::from_utf8_lossy(bytes)));
                }
            }
        }
    }
    left
}
