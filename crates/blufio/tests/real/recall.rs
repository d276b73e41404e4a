//! How well and how fast the memory finds what was said: the store and the search of the program, without a server around them.
//!
//! `./dev bench memory FILE…` measures files in the format of bench/memory/README.md; the test measures our own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use blufio_adapters::embedding::{FILE_NAME, IDLE, MiniLm, Weights};
use blufio_core::access::Principal;
use blufio_core::content::Content;
use blufio_core::context::estimate::{Tokenizer, text as estimate};
use blufio_core::ids::{MessageSeq, SessionId, SessionKey};
use blufio_core::memory::Scope;
use blufio_core::memory::recall::Found;
use blufio_core::message::Role;
use blufio_core::port::{AnyEmbedding, AnyStorage, Boxed, Clock, Storage, Urgency};
use blufio_core::record::{Commit, Fate, RecallKinds, Record};
use blufio_core::session::Outcome;
use blufio_core::time::Timestamp;
use blufio_runtime::memory::{Memory, Wanted};
use blufio_store::{Executor, Options, Role as StoreRole, Store};
use blufio_testkit::bench::recall::format::{Conversation, Form, Turn, read, read_folder};
use blufio_testkit::bench::recall::metrics::{Ranked, Summary, score};
use blufio_testkit::contract::storage::{batch, commit, epoch, item, message, route, turn_opened};

/// Everything that is found is ranked; a prompt would show the first of it.
const ALL_TOKENS: u64 = 1_000_000;
/// The person in whose conversation everything was said.
const CHAT: i64 = 42;

/// A clock that is set by hand, since what was said was said long ago.
struct SetClock {
    now: AtomicI64,
    started: Instant,
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        Box::pin(tokio::time::sleep(duration * 100))
    }
}

/// A memory of its own for one conversation.
struct World {
    memory: Arc<Memory>,
    store: Arc<Store>,
    clock: Arc<SetClock>,
    session: SessionId,
    /// The turns that were said, by their place.
    said: HashMap<i64, Turn>,
    turns: i64,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new(embedding: Option<Arc<dyn AnyEmbedding>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(SetClock { now: AtomicI64::new(1), started: Instant::now() });
        let options =
            Options { executor: Executor::Thread, role: StoreRole::Owner, clock: clock.clone(), audit_key: None };
        let store = Arc::new(Store::open(&dir.path().join("blufio.db"), None, options).unwrap());
        Storage::recover(&*store, Timestamp(1)).await.unwrap();
        let session = Storage::open(&*store, key(), Timestamp(1)).await.unwrap().id;
        let storage: Arc<dyn AnyStorage> = store.clone();
        let memory = Memory::new(storage, embedding, clock.clone(), Some("UTC"));
        Self { memory, store, clock, session, said: HashMap::new(), turns: 0, _dir: dir }
    }

    /// Something is said; an assistant answers in the turn of the person before it.
    async fn say(&mut self, form: Form, turn: &Turn) {
        let seq = i64::try_from(self.said.len()).unwrap() + 1;
        self.clock.now.store(turn.time.0, Ordering::SeqCst);
        let answers = form == Form::Assistant && turn.speaker == "assistant";
        let mut records = Vec::new();
        self.turns += 1;
        let content = Content {
            speaker: (form == Form::Chat).then(|| turn.speaker.clone()),
            ..Content::words(turn.text.clone())
        };
        let fate = Fate::Queue {
            session: key(),
            route: route(CHAT, None),
            principal: Principal::Owner,
            user: CHAT,
            content,
            album: None,
            when_full: None,
            pending_max: 20,
        };
        let accepted = Storage::accept(&*self.store, batch(vec![item(self.turns, fate)])).await.unwrap();
        records.push(turn_opened(accepted[0].inbox));
        if seq == 1 {
            records.push(epoch(1, 1));
        }
        let role = if answers { Role::Assistant } else { Role::User };
        records.push(message(1, seq, role, &turn.text));
        records.push(Record::TurnClosed { outcome: Outcome::Reply, text: String::new() });
        let commit = Commit { at: turn.time, ..commit(self.session, self.turns, records) };
        Storage::commit(&*self.store, commit).await.unwrap();
        self.said.insert(seq, turn.clone());
    }

    async fn ask(&self, words: &str, asked: Timestamp) -> Vec<Ranked> {
        self.clock.now.store(asked.0, Ordering::SeqCst);
        let wanted = Wanted {
            scope: Scope::of(&Principal::Owner),
            text: words.to_owned(),
            kinds: RecallKinds::All,
            visible: None,
            tokens: ALL_TOKENS,
        };
        let found = self.memory.find(wanted).await.unwrap();
        let ranked = |found: &Found| match found {
            Found::Passage(passage) => {
                let MessageSeq(seq) = passage.seq;
                let tokens = estimate(&passage.text, Tokenizer::default()).tokens();
                Some(Ranked { turn: self.said[&seq].id.clone(), tokens })
            }
            Found::Fact(_) => None,
        };
        found.chosen.iter().filter_map(|chosen| ranked(&chosen.found)).collect()
    }
}

fn key() -> SessionKey {
    SessionKey::new(format!("tg:7:dm:{CHAT}"))
}

/// The figures of a set, and how long each question took.
struct Measured {
    summary: Summary,
    times: Vec<Duration>,
    turns: usize,
}

async fn measure(conversations: &[Conversation], embedding: Option<Arc<dyn AnyEmbedding>>) -> Measured {
    let mut measured = Measured { summary: Summary::default(), times: Vec::new(), turns: 0 };
    for conversation in conversations {
        let mut world = World::new(embedding.clone()).await;
        let mut questions: Vec<_> = conversation.questions.iter().collect();
        questions.sort_by_key(|question| question.asked);
        let mut turns = conversation.turns.iter().peekable();
        for question in questions {
            let mut more = false;
            while let Some(turn) = turns.next_if(|turn| turn.time <= question.asked) {
                world.say(conversation.form, turn).await;
                more = true;
            }
            if more {
                world.memory.catch_up().await.unwrap();
            }
            let before = Instant::now();
            let ranking = world.ask(&question.text, question.asked).await;
            measured.times.push(before.elapsed());
            measured.summary.add(question.kind, score(question, &ranking));
        }
        measured.turns += world.said.len();
        Storage::close(&*world.store, Timestamp(1)).await.unwrap();
    }
    measured.times.sort();
    measured
}

fn show(name: &str, measured: &Measured) {
    let line = |what: &str, means: blufio_testkit::bench::recall::metrics::Means| {
        let found = means.found;
        println!(
            "  {what:14} {:5}   {:.3}   {:.3}   {:.3}   {:.3}   {:.3}",
            means.questions, found.recall_5, found.recall_10, found.all_10, found.reciprocal_rank, found.recall_1000
        );
    };
    println!("{name}: {} turns\n  kind           count   R@5     R@10    all@10  MRR     R@1000t", measured.turns);
    measured.summary.kinds().into_iter().for_each(|(kind, means)| line(&kind.to_string(), means));
    line("all", measured.summary.overall());
    let never = measured.summary.never();
    println!("  never said     {:5}   silent {:.2}, else {:.0} tokens", never.questions, never.silent, never.tokens);
    let at = |percent: usize| measured.times.get(measured.times.len() * percent / 100).copied().unwrap_or_default();
    println!("  a question takes {:.1?} (p50), {:.1?} (p95)\n", at(50), at(95));
}

/// The model, loaded; `None` if it was not made.
async fn model() -> Option<Arc<dyn AnyEmbedding>> {
    let made = std::env::var_os("BLUFIO_EMBED_MODEL").map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = made.unwrap_or_else(|| root.join("target/models").join(FILE_NAME));
    let model: Arc<dyn AnyEmbedding> = Arc::new(MiniLm::start(Weights::File(path.clone()), IDLE).unwrap());
    let ready = model.embed(vec!["ready".to_owned()], Urgency::Background).await;
    ready.inspect_err(|why| eprintln!("{}: {why}; ./dev model makes it", path.display())).ok().map(|_| model)
}

#[tokio::test]
async fn our_own_questions_find_their_answers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/memory");
    let ours = read_folder(&folder).unwrap();
    let words = measure(&ours, None).await;
    show("by words", &words);
    let model = model().await.expect("the embedding model: ./dev model makes it");
    let both = measure(&ours, Some(model)).await;
    show("by words and meaning", &both);
    let (words, both) = (words.summary.overall().found, both.summary.overall().found);
    // Our questions share few words with their answers on purpose.
    assert!(both.recall_10 >= 0.60 && both.reciprocal_rank >= 0.28, "{both:?}");
    assert!(words.recall_10 >= 0.25 && words.reciprocal_rank >= 0.15, "{words:?}");
}

/// Measures the files that are named in `BLUFIO_RECALL_FILES`, one a line.
#[tokio::test]
#[ignore = "a measurement of files that somebody names: ./dev bench memory FILE…"]
async fn files() {
    let files = std::env::var("BLUFIO_RECALL_FILES").expect("BLUFIO_RECALL_FILES names files");
    let model = model().await;
    for file in files.lines().filter(|line| !line.is_empty()) {
        let path = Path::new(file);
        let all = if path.is_dir() { read_folder(path) } else { read(path) };
        let all = all.unwrap_or_else(|error| panic!("{error:#}"));
        show(&format!("{file}, by words"), &measure(&all, None).await);
        if model.is_some() {
            show(&format!("{file}, by words and meaning"), &measure(&all, model.clone()).await);
        }
    }
}
