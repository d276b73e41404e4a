//! Whether our own set is as it should be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::format::{Conversation, Form, Kind, read_folder};

const TURNS_MIN: usize = 60;
const QUESTIONS_MIN: usize = 300;
const WEEK_MS: i64 = 7 * 24 * 3_600 * 1_000;
const SET_BYTES_MAX: u64 = 600_000;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../bench/memory")
}

fn set() -> Vec<Conversation> {
    read_folder(&folder()).unwrap()
}

#[test]
fn there_is_enough_of_everything() {
    let set = set();
    let forms = |form: Form| set.iter().filter(|conversation| conversation.form == form).count();
    assert!(forms(Form::Chat) >= 4 && forms(Form::Assistant) >= 4);
    let languages: BTreeSet<&str> = set.iter().map(|conversation| conversation.language.as_str()).collect();
    assert_eq!(languages, BTreeSet::from(["de", "en", "mul"]));
    for conversation in &set {
        let first = conversation.turns.first().unwrap().time.0;
        let last = conversation.turns.last().unwrap().time.0;
        assert!(conversation.turns.len() >= TURNS_MIN && last - first > 8 * WEEK_MS, "{}", conversation.id);
    }
    let mut kinds = BTreeMap::<Kind, usize>::new();
    set.iter().flat_map(|conversation| &conversation.questions).for_each(|question| {
        *kinds.entry(question.kind).or_default() += 1;
    });
    assert!(kinds.values().sum::<usize>() >= QUESTIONS_MIN, "{kinds:?}");
    assert!(kinds.len() == 7 && kinds.values().all(|count| *count >= 20), "{kinds:?}");
    let bytes: u64 = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes < SET_BYTES_MAX, "{bytes}");
}

#[test]
fn evidence_exists_and_lies_before_its_question() {
    for conversation in set() {
        let times: BTreeMap<_, _> = conversation.turns.iter().map(|turn| (turn.id.as_str(), turn.time)).collect();
        for question in &conversation.questions {
            for id in &question.evidence {
                let time = times.get(id.as_str());
                let before = time.is_some_and(|time| *time < question.asked);
                assert!(before, "{} {} {id}", conversation.id, question.id);
            }
        }
    }
}

#[test]
fn no_question_stands_twice_and_none_copies_its_evidence() {
    let set = set();
    let mut texts = BTreeSet::new();
    for (conversation, question) in set.iter().flat_map(|one| one.questions.iter().map(move |question| (one, question)))
    {
        let place = format!("{} {}: {}", conversation.id, question.id, question.text);
        assert!(texts.insert(question.text.to_lowercase()), "{place}");
        let words = words(&question.text);
        for turn in conversation.turns.iter().filter(|turn| question.evidence.contains(&turn.id)) {
            let said = self::words(&turn.text);
            let copied = words.windows(5).find(|run| said.windows(5).any(|other| other == *run));
            assert_eq!(copied, None, "{place}");
        }
    }
}

fn words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}
