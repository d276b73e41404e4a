//! How long a search takes. Ignored by default: `cargo nextest run --release -p blufio-store --run-ignored only --no-capture speed`.

#![allow(
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

use super::open_encrypted;
use blufio_core::memory::Scope;
use blufio_core::memory::vector::{DIMENSIONS, Vector};
use blufio_core::port::Storage;
use blufio_core::record::{Indexing, Query, Recall, RecallKinds, View};
use blufio_core::time::Timestamp;
use blufio_store::{Executor, Store};
use blufio_testkit::database;
use std::path::Path;
use std::time::Instant;

const AT: i64 = 1_700_000_000_000;
/// Words that there are; the commonest is in most texts, as in any language.
const WORDS: f64 = 30_000.0;
const QUESTIONS: usize = 200;

struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn word(&mut self) -> String {
        let mut rank = WORDS.powf(self.next()) as u32;
        let mut word = String::from("w");
        loop {
            word.push(char::from(b'a' + (rank % 20) as u8));
            rank /= 20;
            if rank == 0 {
                return word;
            }
        }
    }

    fn text(&mut self, words: usize) -> String {
        (0..words).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }

    fn vector(&mut self) -> Vector {
        let values: Vec<f32> =
            (0..DIMENSIONS).map(|_| (self.next() + self.next() + self.next() - 1.5) as f32).collect();
        Vector::new(&values).unwrap()
    }
}

/// Conversations of two hundred messages, short questions and longer answers.
fn fill(path: &Path, messages: i64, chance: &mut Chance) {
    let connection = database::open(path).unwrap();
    connection.execute_batch("PRAGMA synchronous = OFF; BEGIN").unwrap();
    for message in 0..messages {
        let (session, seq) = (message / 200 + 1, message % 200 + 1);
        if seq == 1 {
            let sql = "INSERT INTO sessions (id, key, chat, last_message, last_at) VALUES (?1, 's:' || ?1, 1, 200, 1)";
            connection.execute(sql, [session]).unwrap();
            let sql = "INSERT INTO turns (session, turn, inbox, principal_id, state, outcome, deadline, opened_at, closed_at, journal)
                       VALUES (?1, 1, ?1, 'owner', 'done', 'reply', 1, 1, 1, 0)";
            connection.execute(sql, [session]).unwrap();
        }
        let (role, origin, words) = if seq % 2 == 1 { ("user", "owner", 12) } else { ("assistant", "model", 60) };
        let parts =
            format!("[{{\"origin\":\"{origin}\",\"body\":{{\"type\":\"text\",\"text\":\"{}\"}}}}]", chance.text(words));
        let at = AT + message * 60_000;
        let sql = "INSERT INTO messages (session, seq, turn, role, parts, at) VALUES (?1, ?2, 1, ?3, ?4, ?5)";
        connection.execute(sql, rusqlite::params![session, seq, role, parts, at]).unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
}

async fn index(store: &Store) {
    let indexing = || Indexing { messages_max: 500, agent: "Blufio".to_owned(), ahead_minutes: 0 };
    while store.index(indexing()).await.unwrap() {}
}

async fn embed(store: &Store, chance: &mut Chance) {
    loop {
        let texts = store.unembedded("test".to_owned(), 500).await.unwrap();
        if texts.is_empty() {
            return;
        }
        let vectors = texts.into_iter().map(|(id, _)| (id, vec![chance.vector()])).collect();
        store.keep_vectors("test".to_owned(), vectors).await.unwrap();
    }
}

async fn ask(store: &Store, chance: &mut Chance, with_vector: bool, words: usize) -> String {
    let mut times = Vec::new();
    let mut found = 0;
    for _ in 0..QUESTIONS {
        let recall = Recall {
            scopes: vec![Scope::stored("owner".to_owned())],
            text: chance.text(words),
            meaning: with_vector.then(|| ("test".to_owned(), chance.vector())),
            kinds: RecallKinds::All,
            visible: None,
        };
        let begin = Instant::now();
        found += store.recall(recall).await.unwrap().candidates.len();
        times.push(begin.elapsed().as_secs_f64() * 1_000.0);
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    format!("p50 {:.1} ms, p95 {:.1} ms, most {:.1} ms, {} found", at(0.5), at(0.95), at(1.0), found / QUESTIONS)
}

#[tokio::test]
#[ignore = "measures, and takes minutes"]
async fn speed() {
    for passages in [10_000, 100_000] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blufio.db");
        let store = open_encrypted(&path, Executor::Inline);
        store.recover(Timestamp(AT)).await.unwrap();
        let mut chance = Chance(0x9E37_79B9_7F4A_7C15);
        fill(&path, passages, &mut chance);
        let begin = Instant::now();
        index(&store).await;
        println!("{passages} passages, indexed in {:.1} s", begin.elapsed().as_secs_f64());
        println!("  by words, 4 terms: {}", ask(&store, &mut chance, false, 4).await);
        println!("  by words, 8 terms: {}", ask(&store, &mut chance, false, 8).await);
        println!("  by words, 25 terms: {}", ask(&store, &mut chance, false, 25).await);
        let begin = Instant::now();
        embed(&store, &mut chance).await;
        println!("  vectors kept in {:.1} s", begin.elapsed().as_secs_f64());
        println!("  and by meaning, 8 terms: {}", ask(&store, &mut chance, true, 8).await);
        drop(store);
        let store = open_encrypted(&path, Executor::Inline);
        let begin = Instant::now();
        let only = Recall {
            scopes: vec![Scope::stored("owner".to_owned())],
            text: String::new(),
            meaning: Some(("test".to_owned(), chance.vector())),
            kinds: RecallKinds::All,
            visible: None,
        };
        store.recall(only).await.unwrap();
        println!("  first search after a start: {:.0} ms", begin.elapsed().as_secs_f64() * 1_000.0);
        if let View::Memory(status) = store.view(Query::Memory, Timestamp(AT)).await.unwrap() {
            println!("  {status:?}; file {} MB", std::fs::metadata(&path).unwrap().len() / 1_000_000);
        }
    }
}
