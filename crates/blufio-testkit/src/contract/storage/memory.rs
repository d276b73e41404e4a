//! Passages, vectors, and what is found of both.

use super::Subject;
use super::fixture::{AT, begin, end, key, parts, queue};
use super::inbox::take;
use blufio_core::ids::{Boot, MessageSeq, PassageId, SessionId, SessionKey, TurnNumber};
use blufio_core::memory::recall::{Candidate, Found};
use blufio_core::memory::vector::{DIMENSIONS, Vector};
use blufio_core::memory::{MemoryId, Passage, Scope, Source};
use blufio_core::message::{Body, Origin, Part, Role};
use blufio_core::port::Storage;
use blufio_core::record::{
    Commit, Fate, Indexing, MemoryStatus, Query, Recall, RecallKinds, Recalled, Record, Retention, View,
};
use std::time::Duration;

const MODEL: &str = "mini";

pub(super) fn owner() -> Scope {
    Scope::stored("owner".to_owned())
}

/// A conversation that is written down turn by turn.
pub(super) struct Talk {
    session: SessionId,
    key: SessionKey,
    boot: Boot,
    chat: i64,
    turn: i64,
}

impl Talk {
    pub(super) async fn new(store: &impl Storage, boot: Boot, chat: i64) -> Self {
        Self::named(store, boot, chat, key(chat)).await
    }

    async fn named(store: &impl Storage, boot: Boot, chat: i64, key: SessionKey) -> Self {
        Self { session: store.open(key.clone(), AT).await.unwrap().id, key, boot, chat, turn: 0 }
    }

    /// A turn with these parts; its two messages are one minute after the last turn.
    pub(super) async fn say(&mut self, store: &impl Storage, question: Vec<Part>, answer: Vec<Part>) {
        self.turn += 1;
        let first = self.turn * 2 - 1;
        let mut item = queue(self.chat, self.chat.abs() * 1_000 + self.turn, "words");
        if let Fate::Queue { session, .. } = &mut item.fate {
            *session = self.key.clone();
        }
        let inbox = take(store, item).await;
        let opening = begin(self.session, self.turn, inbox, first, self.boot);
        store.commit(with(opening, self.turn, parts(1, first, Role::User, question))).await.unwrap();
        let ending = end(self.session, self.turn, first + 1, self.boot, self.chat);
        store.commit(with(ending, self.turn, parts(1, first + 1, Role::Assistant, answer))).await.unwrap();
    }

    /// A turn of plain words.
    pub(super) async fn words(&mut self, store: &impl Storage, question: &str, answer: &str) {
        let (question, answer) = (Part::text(Origin::Owner, question), Part::text(Origin::Model, answer));
        self.say(store, vec![question], vec![answer]).await;
    }

    pub(super) fn messages(&self, first: i64, last: i64) -> Source {
        Source { session: self.session, first: MessageSeq(first), last: MessageSeq(last) }
    }
}

/// The same with another message, at the turn's minute.
fn with(commit: Commit, turn: i64, message: Record) -> Commit {
    let replace = |record| if matches!(record, Record::Message(_)) { message.clone() } else { record };
    let records = commit.records.into_iter().map(replace).collect();
    Commit {
        records,
        turn: TurnNumber(turn),
        at: AT.plus(Duration::from_secs(60) * u32::try_from(turn).unwrap()),
        ..commit
    }
}

pub(super) async fn index(store: &impl Storage) {
    let mut rounds = 0;
    let indexing = || Indexing { messages_max: 3, agent: "Blufio".to_owned(), ahead_minutes: 60 };
    while store.index(indexing()).await.unwrap() {
        rounds += 1;
        assert!(rounds < 100, "indexing comes to an end");
    }
}

pub(super) fn question(text: &str) -> Recall {
    Recall { scopes: vec![owner()], text: text.to_owned(), meaning: None, kinds: RecallKinds::All, visible: None }
}

/// The texts that are found, those first that are best by date and speaker.
pub(super) async fn texts(store: &impl Storage, recall: Recall) -> Vec<String> {
    let mut found = store.recall(recall).await.unwrap().candidates;
    found.sort_by(|a, b| b.dated.total_cmp(&a.dated));
    found.into_iter().map(|one| one.found.text().to_owned()).collect()
}

async fn passages(store: &impl Storage, recall: Recall) -> Vec<Passage> {
    let found = store.recall(recall).await.unwrap().candidates;
    let passage = |one: Candidate| match one.found {
        Found::Passage(passage) => passage,
        Found::Fact(fact) => panic!("{fact:?}"),
    };
    found.into_iter().map(passage).collect()
}

pub(super) async fn status(store: &impl Storage) -> MemoryStatus {
    match store.view(Query::Memory, AT).await.unwrap() {
        View::Memory(status) => status,
        other => panic!("{other:?}"),
    }
}

/// A vector that points in one of a few directions, and a little along others.
fn towards(direction: usize, bend: f32) -> Vector {
    let mut values = [0.0; DIMENSIONS];
    for (place, value) in values.iter_mut().enumerate() {
        *value = if place % 8 == direction { 1.0 } else { -0.2 + bend * (place % 5) as f32 };
    }
    Vector::new(&values).unwrap()
}

fn meant(direction: usize) -> Recall {
    Recall { meaning: Some((MODEL.to_owned(), towards(direction, 0.0))), ..question("") }
}

async fn embed(store: &impl Storage, model: &str, vector: impl Fn(&str) -> Vec<Vector>) -> usize {
    let texts = store.unembedded(model.to_owned(), 100).await.unwrap();
    let count = texts.len();
    let vectors = texts.into_iter().map(|(id, text)| (id, vector(&text))).collect();
    store.keep_vectors(model.to_owned(), vectors).await.unwrap();
    count
}

pub(super) async fn messages_become_passages_once<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let boot = store.recover(AT).await.unwrap().boot;
    let mut talk = Talk::new(&store, boot, 1).await;
    talk.words(&store, "Clara keeps bees in Porto", "How many hives?").await;
    let thought = Body::Opaque { kind: "hidden".to_owned() };
    let asked = vec![
        Part::text(Origin::Model, "let me look at the clock"),
        Part { origin: Origin::Model, private: false, body: thought },
    ];
    let heard = vec![
        Part::text(Origin::Owner, "look at this"),
        Part::text(Origin::Forward, "the words of Bob"),
        Part::text(Origin::Engine, "[a note]"),
    ];
    talk.say(&store, heard, asked).await;
    talk.say(&store, vec![Part::text(Origin::Engine, "[stopped]")], vec![Part::text(Origin::Model, "fine")]).await;
    assert_eq!(status(&store).await.unindexed, 6);
    assert!(store.index(Indexing { messages_max: 1, agent: "Blufio".to_owned(), ahead_minutes: 0 }).await.unwrap());
    assert_eq!((status(&store).await.unindexed, status(&store).await.passages), (5, 1));
    // A crash: the next process goes on where this one was.
    drop(store);
    let store = subject.open();
    index(&store).await;
    index(&store).await;
    let now = status(&store).await;
    assert_eq!((now.unindexed, now.passages), (0, 5), "a message of the engine alone is none");
    let found = passages(&store, question("bees")).await;
    let bees = found.iter().find(|passage| passage.seq == MessageSeq(1)).unwrap();
    let expected = Passage {
        id: bees.id,
        scope: owner(),
        session: talk.session,
        seq: MessageSeq(1),
        at: AT.plus(Duration::from_secs(60)),
        speaker: "owner".to_owned(),
        text: "Clara keeps bees in Porto".to_owned(),
        foreign: false,
    };
    assert_eq!(*bees, expected);
    let found = passages(&store, question("Bob")).await;
    let bob = found.iter().find(|passage| passage.seq == MessageSeq(3)).unwrap();
    assert_eq!((bob.text.as_str(), bob.foreign), ("look at this\n\nthe words of Bob", true));
    let clock = &passages(&store, question("clock")).await[0];
    assert_eq!((clock.text.as_str(), clock.speaker.as_str()), ("let me look at the clock", "Blufio"));
    assert!(texts(&store, question("hidden note stopped")).await.is_empty());
}

pub(super) async fn what_is_found_by_words<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let boot = store.recover(AT).await.unwrap().boot;
    let mut talk = Talk::new(&store, boot, 1).await;
    talk.words(&store, "Clara keeps bees in Porto", "They like the café.").await;
    talk.words(&store, "我喜欢东京的天气", "Ja, die Tür ist grün").await;
    index(&store).await;
    let check = async |text: &str, expect: &[i64]| {
        let mut found: Vec<i64> = passages(&store, question(text)).await.iter().map(|passage| passage.seq.0).collect();
        found.sort_unstable();
        assert_eq!(found, expect, "{text}");
    };
    // With the message before, an answer is found by the words of its question.
    check("does she keep a bee?", &[1, 2]).await;
    check("CAFE", &[2, 3]).await;
    check("东京", &[3, 4]).await;
    check("tur", &[4]).await;
    check("what did Blufio say", &[2, 4]).await;
    // 14 November 2023 in UTC was a Tuesday.
    check("on Tuesday in November", &[1, 2, 3, 4]).await;
    check("nothing of this kind", &[]).await;
    check("", &[]).await;
    for syntax in
        ["\"", "a OR", "dated:x", "NEAR(bees, 1)", "* ^ - +", "(", "{said} : bees", "bees\0'; DROP TABLE passages --"]
    {
        store.recall(question(syntax)).await.unwrap();
    }
    let visible = Recall { visible: Some(talk.messages(1, 2)), ..question("bees Porto Tuesday") };
    assert!(passages(&store, visible).await.iter().all(|passage| passage.seq.0 > 2));
    let facts = Recall { kinds: RecallKinds::Facts, ..question("bees") };
    assert!(texts(&store, facts).await.is_empty());
}

pub(super) async fn nobody_finds_what_others_said<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let boot = store.recover(AT).await.unwrap().boot;
    Talk::new(&store, boot, 1).await.words(&store, "the secret of the owner", "kept").await;
    Talk::new(&store, boot, -5).await.words(&store, "the secret of the group", "told").await;
    let mut looks = Talk::named(&store, boot, 3, SessionKey::new("heartbeat:main")).await;
    looks.words(&store, "the secret of a look", "nothing").await;
    index(&store).await;
    embed(&store, MODEL, |_| vec![towards(1, 0.0)]).await;
    let group = Scope::chat(&key(-5));
    let check = async |scopes: Vec<Scope>, expect: &[&str]| {
        for meaning in [None, Some((MODEL.to_owned(), towards(1, 0.0)))] {
            let recall = Recall { scopes: scopes.clone(), meaning, ..question("secret") };
            let Recalled { candidates, .. } = store.recall(recall).await.unwrap();
            let mut found: Vec<&str> =
                candidates.iter().map(|one| one.found.text()).filter(|text| text.contains("secret")).collect();
            found.sort_unstable();
            assert_eq!(found, expect, "{scopes:?}");
            assert!(candidates.iter().all(|one| scopes.contains(one.found.scope())));
        }
    };
    check(vec![owner()], &["the secret of the owner"]).await;
    check(vec![group.clone()], &["the secret of the group"]).await;
    check(vec![owner(), group], &["the secret of the group", "the secret of the owner"]).await;
    check(vec![Scope::stored("person:8".to_owned())], &[]).await;
    check(vec![], &[]).await;
}

pub(super) async fn what_is_found_by_meaning<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let boot = store.recover(AT).await.unwrap().boot;
    let mut talk = Talk::new(&store, boot, 1).await;
    for text in ["one", "two", "three"] {
        talk.words(&store, text, &format!("{text} again")).await;
    }
    index(&store).await;
    let none = store.recall(meant(1)).await.unwrap();
    assert!(none.candidates.is_empty() && !none.by_meaning);
    let direction = |text: &str| match text {
        text if text.contains(": one") => 1,
        text if text.contains(": two") => 2,
        _ => 3,
    };
    assert_eq!(embed(&store, MODEL, |text| vec![towards(7, 0.1), towards(direction(text), 0.05)]).await, 6);
    assert_eq!(embed(&store, MODEL, |_| panic!("all have vectors")).await, 0);
    let best = async |store: &S, direction: usize| {
        let found = store.recall(meant(direction)).await.unwrap();
        assert!(found.by_meaning);
        let own = |one: &Candidate| one.dense.unwrap().own;
        found.candidates.into_iter().max_by(|a, b| own(a).total_cmp(&own(b)))
    };
    let two = best(&store, 2).await.unwrap();
    assert!(two.found.text().starts_with("two"), "{two:?}");
    let dense = two.dense.unwrap();
    assert!(dense.own > 0.9 && dense.before.is_some() && dense.after.is_some(), "{dense:?}");
    assert_eq!(two.vector, Some(towards(2, 0.05)));
    // What is kept later is found without a restart, and the same after one.
    talk.words(&store, "four", "four again").await;
    index(&store).await;
    embed(&store, MODEL, |_| vec![towards(4, 0.0)]).await;
    assert!(best(&store, 4).await.unwrap().found.text().starts_with("four"));
    drop(store);
    let store = subject.open();
    assert!(best(&store, 4).await.unwrap().found.text().starts_with("four"));
    // Another model's vectors are missing to this one, and take the place of those that were there.
    assert_eq!(embed(&store, "other", |_| vec![towards(5, 0.0)]).await, 8);
    let old = store.recall(meant(2)).await.unwrap();
    assert!(old.candidates.is_empty(), "{old:?}");
    assert_eq!(status(&store).await.vectors, 8);
    // A text may have none, and what is gone gets none.
    assert_eq!(embed(&store, MODEL, |_| Vec::new()).await, 8);
    assert_eq!(store.unembedded(MODEL.to_owned(), 9).await.unwrap(), []);
    let gone = MemoryId::Passage(PassageId(9_999));
    store.keep_vectors(MODEL.to_owned(), vec![(gone, vec![towards(1, 0.0)])]).await.unwrap();
    assert_eq!(status(&store).await.vectors, 0);
}

pub(super) async fn damaged_vectors_are_left_out<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let boot = store.recover(AT).await.unwrap().boot;
    let mut talk = Talk::new(&store, boot, 1).await;
    talk.words(&store, "whole", "short").await;
    index(&store).await;
    embed(&store, MODEL, |_| vec![towards(1, 0.0)]).await;
    store.close(AT).await.unwrap();
    drop(store);
    let damage = "UPDATE vectors SET v = x'0102' WHERE passage = (SELECT id FROM passages WHERE text = 'short')";
    crate::database::open(&subject.path).unwrap().execute(damage, []).unwrap();
    let store = subject.open();
    let found = texts(&store, meant(1)).await;
    assert_eq!(found, ["whole"]);
}

pub(super) async fn passages_go_with_their_messages<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let boot = store.recover(AT).await.unwrap().boot;
    let mut talk = Talk::new(&store, boot, 1).await;
    talk.words(&store, "the first matter", "first answer").await;
    index(&store).await;
    embed(&store, MODEL, |_| vec![towards(1, 0.0)]).await;
    // Not indexed yet when it is forgotten.
    talk.words(&store, "the second matter", "second answer").await;
    let forget = async |seconds: u64| {
        let at = AT.plus(Duration::from_secs(86_400 + seconds));
        while store.retain(Retention { messages_days: 1 }, at).await.unwrap() {}
    };
    forget(30).await;
    assert_eq!(status(&store).await.passages, 2, "not old enough");
    forget(1_000).await;
    let now = status(&store).await;
    assert_eq!((now.passages, now.vectors), (0, 0));
    index(&store).await;
    assert_eq!(status(&store).await.passages, 0);
    assert!(texts(&store, Recall { meaning: meant(1).meaning, ..question("matter answer") }).await.is_empty());
    talk.words(&store, "the third matter", "third answer").await;
    index(&store).await;
    assert_eq!(status(&store).await.passages, 2, "numbers go on");
}
