//! The embedding model against what its unrounded original makes of the same texts, and the comings and goings of its thread.
//! The weights are made by `./dev model`; without them these tests fail.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blufio_adapters::embedding::{
    BACKGROUND_TEXTS_MAX, EMBEDDED, FILE_BYTES, FILE_NAME, FILE_SHA256, IDLE, MiniLm, TURN_TEXTS_MAX, Weights,
};
use blufio_core::memory::vector::Vector;
use blufio_core::port::Urgency::{Background, Turn};
use blufio_core::port::{Embedding, EmbeddingError, EmbeddingHealth};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A sentence and the vector of the model in f32, for 100 sentences in six languages; made by scripts/minilm-golden.py.
const GOLDEN: &str = include_str!("../data/minilm.txt");

fn file() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/models").join(FILE_NAME);
    assert!(path.exists(), "{} is not there; ./dev model makes it", path.display());
    path
}

fn start() -> MiniLm {
    MiniLm::start(Weights::File(file()), IDLE).unwrap()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn number(value: i8, scale: f32) -> f32 {
    f32::from(value) * scale
}

/// Lets the thread get on until the model is as it is waited for; a test that waits in vain is ended by the runner.
async fn until(model: &MiniLm, seen: impl Fn(&EmbeddingHealth) -> bool) -> EmbeddingHealth {
    loop {
        let health = model.health();
        if seen(&health) {
            return health;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn vectors_are_those_of_the_original() {
    let model = start();
    let three = texts(&["the cat sat on the mat", "a kitten rested on the rug", "quarterly tax filing deadline"]);
    let vectors = model.embed(three, Background).await.unwrap();
    let first: Vec<f32> =
        vectors[0].bytes().iter().take(4).map(|byte| number(byte.cast_signed(), vectors[0].scale())).collect();
    for (value, expect) in first.iter().zip([0.1304, -0.0119, -0.0281, 0.0512]) {
        assert!((value - expect).abs() < 0.005, "{first:?}");
    }
    assert!((vectors[0].cosine(&vectors[1]) - 0.613).abs() < 0.01, "{}", vectors[0].cosine(&vectors[1]));
    assert!((vectors[0].cosine(&vectors[2]) - 0.048).abs() < 0.01, "{}", vectors[0].cosine(&vectors[2]));
}

#[tokio::test]
async fn rounding_keeps_the_meaning_in_every_language() {
    let model = start();
    let golden: Vec<(&str, &str)> = GOLDEN.lines().map(|line| line.split_once('\t').unwrap()).collect();
    assert_eq!(golden.len(), 100);
    let all = golden.iter().map(|(text, _)| (*text).to_owned()).collect();
    let vectors = model.embed(all, Background).await.unwrap();
    let (mut least, mut sum) = (1.0_f64, 0.0);
    for ((text, expect), vector) in golden.iter().zip(&vectors) {
        let bytes = STANDARD.decode(expect).unwrap();
        let expect = bytes.chunks_exact(2).map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]])));
        let (mut product, mut left, mut right) = (0.0, 0.0, 0.0);
        for (a, b) in expect.zip(vector.bytes().map(|byte| f64::from(byte.cast_signed()))) {
            (product, left, right) = (product + a * b, left + a * a, right + b * b);
        }
        let cosine = product / (left * right).sqrt();
        assert!(cosine >= 0.999, "{cosine}: {text}");
        (least, sum) = (least.min(cosine), sum + cosine);
    }
    println!("cosine with the original: {:.5} on average, {least:.5} at least", sum / 100.0);
}

#[tokio::test]
async fn every_text_has_a_vector() {
    let model = start();
    assert_eq!(model.model(), "03f0fa97");
    assert_eq!(model.embed(Vec::new(), Turn).await, Ok(Vec::new()));
    let emoji = "\u{1f600}".repeat(10_000);
    let spaced = "\u{1f600} ".repeat(10_000);
    let long = "words and more words ".repeat(5_000);
    let odd = ["", " ", "\0\u{200b}", &emoji, &spaced, &long, "mixed текст 混合 نص", "\u{301}\u{301}"];
    let vectors = model.embed(texts(&odd), Background).await.unwrap();
    assert_eq!(vectors.len(), odd.len());
    assert_eq!(vectors[0], vectors[1], "nothing to read is an empty text");
    let again = model.embed(texts(&odd), Turn).await.unwrap();
    assert_eq!(again, vectors);
}

#[test]
fn long_texts_are_cut_in_pieces() {
    // No model is loaded for it.
    let model = MiniLm::start(Weights::File(PathBuf::from("/nowhere")), IDLE).unwrap();
    assert_eq!(model.pieces("a short text"), ["a short text"]);
    assert_eq!(model.pieces(""), Vec::<String>::new());
    let long = "The quick brown fox jumps over the lazy dog. ".repeat(25_000);
    let pieces = model.pieces(&long);
    assert_eq!(pieces.len(), 32);
    assert!(pieces.iter().all(|piece| long.contains(piece.as_str())));
}

#[tokio::test]
async fn a_turn_does_not_wait_for_the_model() {
    let model = start();
    assert_eq!(model.health(), EmbeddingHealth::default());
    assert_eq!(model.embed(texts(&["a"]), Turn).await, Err(EmbeddingError::Loading));
    let health = until(&model, |health| health.loaded).await;
    assert_eq!(health, EmbeddingHealth { loaded: true, waiting: 0, trouble: None });
    assert_eq!(model.embed(texts(&["a", "b"]), Turn).await.map(|vectors| vectors.len()), Ok(2));
}

#[tokio::test]
async fn too_much_is_refused() {
    let model = start();
    let many = |count| vec!["text".to_owned(); count];
    assert_eq!(model.embed(many(BACKGROUND_TEXTS_MAX + 1), Background).await, Err(EmbeddingError::Full));
    let (all, more) =
        tokio::join!(model.embed(many(BACKGROUND_TEXTS_MAX), Background), model.embed(many(1), Background));
    assert_eq!((all.map(|vectors| vectors.len()), more), (Ok(BACKGROUND_TEXTS_MAX), Err(EmbeddingError::Full)));
    assert_eq!(model.embed(many(TURN_TEXTS_MAX + 1), Turn).await, Err(EmbeddingError::Full));
    assert_eq!(model.embed(many(TURN_TEXTS_MAX), Turn).await.map(|vectors| vectors.len()), Ok(TURN_TEXTS_MAX));
    assert_eq!(model.health().waiting, 0);
}

#[tokio::test]
async fn a_turn_goes_first() {
    let model = start();
    model.embed(texts(&["load"]), Background).await.unwrap();
    let background = model.embed(vec!["many words that take a while ".repeat(4); 100], Background);
    let turn = async {
        let vectors = model.embed(texts(&["quick"]), Turn).await.unwrap();
        assert!(model.health().waiting > 50, "{:?}", model.health());
        vectors
    };
    let (background, turn) = tokio::join!(background, turn);
    assert_eq!((background.map(|vectors| vectors.len()), turn.len()), (Ok(100), 1));
}

#[tokio::test]
async fn who_has_gone_is_not_worked_for() {
    let model = start();
    model.embed(texts(&["load"]), Background).await.unwrap();
    let long = vec!["many words that take a while ".repeat(40); BACKGROUND_TEXTS_MAX];
    tokio::select! {
        biased;
        _ = model.embed(long, Background) => panic!("that takes longer"),
        () = std::future::ready(()) => {}
    }
    until(&model, |health| health.waiting == 0).await;
    assert!(model.health().loaded);
}

#[tokio::test]
async fn the_model_leaves_when_it_is_idle_and_comes_again() {
    let model = MiniLm::start(Weights::File(file()), Duration::from_millis(50)).unwrap();
    let before = model.embed(texts(&["again"]), Background).await.unwrap();
    until(&model, |health| !health.loaded).await;
    assert_eq!(model.embed(texts(&["again"]), Turn).await, Err(EmbeddingError::Loading));
    assert_eq!(model.embed(texts(&["again"]), Background).await.unwrap(), before);
}

#[tokio::test]
async fn the_model_leaves_when_memory_is_short() {
    let model = start();
    model.embed(texts(&["a"]), Background).await.unwrap();
    model.unload();
    until(&model, |health| !health.loaded).await;
    model.embed(texts(&["a"]), Background).await.unwrap();
    let waits = model.embed(vec!["words ".repeat(300); 100], Background);
    let (waited, ()) = tokio::join!(waits, async { model.unload() });
    assert_eq!(waited, Err(EmbeddingError::Full));
    let health = until(&model, |health| !health.loaded).await;
    assert_eq!(health.waiting, 0);
    assert_eq!(model.embed(texts(&["a"]), Background).await.map(|vectors| vectors.len()), Ok(1));
}

#[tokio::test]
async fn a_file_that_is_missing_or_wrong_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let model = MiniLm::start(Weights::File(path.clone()), IDLE).unwrap();
    let why = |answer: Result<Vec<Vector>, EmbeddingError>| match answer {
        Err(EmbeddingError::Unusable(why)) => why,
        other => panic!("{other:?}"),
    };
    let missing = why(model.embed(texts(&["a"]), Background).await);
    assert!(missing.starts_with("there is no embedding model at") && missing.contains("`blufio model install`"));
    assert_eq!(model.health().trouble, Some(missing.clone()));
    assert_eq!(why(model.embed(texts(&["a"]), Turn).await), missing);

    // Long enough, and not the right one.
    std::fs::File::create(&path).unwrap().set_len(FILE_BYTES).unwrap();
    for _ in 0..2 {
        let wrong = why(model.embed(texts(&["a"]), Background).await);
        assert!(
            wrong.contains("is not the embedding model that this version reads; `blufio model install`"),
            "{wrong}"
        );
    }
    std::fs::write(dir.path().join("short"), b"GGUF").unwrap();
    std::fs::rename(dir.path().join("short"), &path).unwrap();
    assert!(why(model.embed(texts(&["a"]), Background).await).contains("is not the embedding model"));

    // What is put there while it runs is found.
    std::fs::copy(file(), dir.path().join("right")).unwrap();
    std::fs::rename(dir.path().join("right"), &path).unwrap();
    model.embed(texts(&["a"]), Background).await.unwrap();
    assert_eq!(model.health(), EmbeddingHealth { loaded: true, waiting: 0, trouble: None });
}

#[tokio::test]
async fn weights_in_memory_are_used_as_they_are() {
    let bytes = EMBEDDED.unwrap_or_else(|| std::fs::read(file()).unwrap().leak());
    let sum: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((sum.as_str(), bytes.len() as u64), (FILE_SHA256, FILE_BYTES));
    let model = MiniLm::start(Weights::Embedded(bytes), Duration::from_millis(20)).unwrap();
    let expect = start().embed(texts(&["the same"]), Background).await.unwrap();
    assert_eq!(model.embed(texts(&["the same"]), Background).await.unwrap(), expect);
    until(&model, |health| !health.loaded).await;
    assert_eq!(model.embed(texts(&["the same"]), Background).await.unwrap(), expect);
    let cut = MiniLm::start(Weights::Embedded(&bytes[..1_000_000]), IDLE).unwrap();
    let why = EmbeddingError::Unusable("the embedding model cannot be used: it is cut off".to_owned());
    assert_eq!(cut.embed(texts(&["a"]), Background).await, Err(why));
}
