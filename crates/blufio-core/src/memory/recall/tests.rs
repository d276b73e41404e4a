//! What is chosen, and what must be true of every choice.

use super::super::{FactKind, NewFact, Said, Source, moment};
use super::*;
use crate::access::Principal;
use crate::ids::{FactId, PassageId};
use proptest::prelude::*;

const DAY_MS: i64 = 24 * 3_600_000;
const NOW: Timestamp = Timestamp(1_000 * DAY_MS);

fn mine() -> Scope {
    Scope::of(&Principal::Owner)
}

fn passage(id: i64, text: &str) -> Candidate {
    let passage = Passage {
        id: PassageId(id),
        scope: mine(),
        session: SessionId(1),
        seq: MessageSeq(id),
        at: Timestamp(NOW.0 - (100 - id) * DAY_MS),
        speaker: "Ann".to_owned(),
        text: text.to_owned(),
        foreign: false,
    };
    Candidate { found: Found::Passage(passage), dated: 0.0, around: 0.0, dense: None, vector: None }
}

fn fact(id: i64, statement: &str) -> Candidate {
    let fact = NewFact {
        scope: mine(),
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
    };
    let fact = Fact { id: FactId(id), fact, learned_at: NOW, superseded_by: None };
    Candidate { found: Found::Fact(fact), dated: 0.0, around: 0.0, dense: None, vector: None }
}

fn by_words(candidate: Candidate, dated: f32, around: f32) -> Candidate {
    Candidate { dated, around, ..candidate }
}

fn meant(candidate: Candidate, own: f32) -> Candidate {
    Candidate { dense: Some(Dense { own, before: None, after: None }), ..candidate }
}

fn change(candidate: Candidate, change: impl FnOnce(&mut Fact)) -> Candidate {
    let Candidate { found: Found::Fact(mut fact), .. } = candidate.clone() else { panic!("{candidate:?}") };
    change(&mut fact);
    Candidate { found: Found::Fact(fact), ..candidate }
}

fn ask(text: &str, candidates: Vec<Candidate>) -> Vec<Chosen> {
    let question = Question {
        text,
        scopes: &[mine()],
        interval: moment::interval(text, NOW, |_| 0),
        past: moment::is_past(text),
        now: NOW,
    };
    choose(&question, candidates, RECALL_TOKENS_MAX)
}

/// The numbers of what is chosen; facts are negative.
fn chosen(text: &str, candidates: Vec<Candidate>) -> Vec<i64> {
    let number = |chosen: &Chosen| match chosen.found.id() {
        MemoryId::Passage(id) => id.0,
        MemoryId::Fact(id) => -id.0,
    };
    ask(text, candidates).iter().map(number).collect()
}

#[test]
fn ways_of_searching_are_weighed() {
    let three = || {
        vec![
            meant(by_words(passage(1, "one"), 10.0, 0.0), 0.1),
            meant(by_words(passage(2, "two"), 0.0, 10.0), 0.1),
            meant(by_words(passage(3, "three"), 0.0, 0.0), 0.9),
        ]
    };
    assert_eq!(chosen("question", three()), [3, 1, 2]);
    let scores = ask("question", three());
    assert_eq!(scores[0].score, Score { dense: 0.40, named: 1.0, timely: 1.0, ..Score::default() });
    assert_eq!(scores[1].score, Score { dated: 0.35, named: 1.0, timely: 1.0, ..Score::default() });
    // Without any meaning the words make up the whole score.
    let two = vec![by_words(passage(1, "one"), 10.0, 0.0), by_words(passage(2, "two"), 0.0, 10.0)];
    let totals: Vec<f32> = ask("question", two).iter().map(|one| one.score.total()).collect();
    assert!((totals[0] - 0.35 / 0.6).abs() < 1e-6 && (totals[1] - 0.25 / 0.6).abs() < 1e-6, "{totals:?}");
    // Among long texts the meaning counts more.
    let long = |id: i64| passage(id, &format!("{id} {}", "word ".repeat(200)));
    let two = vec![meant(by_words(long(1), 9.0, 9.0), 0.2), meant(long(2), 0.9)];
    assert_eq!(chosen("question", two), [2, 1]);
}

#[test]
fn an_answer_is_about_its_question() {
    let near = Dense { own: 0.4, before: Some(0.8), after: Some(-0.2) };
    assert!((near.smoothed() - 0.61).abs() < 1e-6);
    let answer = Candidate { dense: Some(near), ..passage(1, "In Porto.") };
    assert_eq!(chosen("question", vec![meant(passage(2, "beside it"), 0.5), answer]), [1, 2]);
}

#[test]
fn names_and_times_of_the_question_count() {
    let two = |text: &str| vec![by_words(passage(90, text), 5.0, 5.0), by_words(passage(93, "bees"), 5.0, 5.0)];
    assert_eq!(chosen("bees", two("honey")), [93, 90], "of two that are as good, the newer one");
    assert_eq!(chosen("does Clara keep bees", two("Clara")), [90, 93]);
    assert_eq!(chosen("10 days ago, what about bees", two("honey")), [90, 93]);
}

#[test]
fn what_holds_no_more_is_for_questions_about_then() {
    let home = || {
        vec![
            change(by_words(fact(1, "Ann lives in Berlin"), 5.0, 5.0), |fact| fact.superseded_by = Some(FactId(2))),
            by_words(fact(2, "Ann lives in Porto"), 5.0, 5.0),
            change(by_words(fact(3, "Ann lives in a tent"), 5.0, 5.0), |fact| fact.fact.valid_to = Some(Timestamp(5))),
            change(by_words(fact(4, "the move is in May"), 5.0, 5.0), |fact| {
                fact.fact.kind = FactKind::Event;
                fact.fact.valid_to = Some(Timestamp(5));
            }),
        ]
    };
    assert_eq!(chosen("where do I live", home()), [-4, -2]);
    assert_eq!(chosen("where did I live before", home()), [-4, -3, -2, -1]);
}

#[test]
fn what_says_the_same_is_left_out() {
    let vector = |first: f32| {
        let mut values = [0.01; crate::memory::vector::DIMENSIONS];
        values[0] = first;
        Vector::new(&values)
    };
    let with = |id: i64, first: f32| Candidate { vector: vector(first), ..meant(passage(id, &format!("p{id}")), 0.5) };
    assert_eq!(chosen("question", vec![with(1, 5.0), with(2, 6.0), with(3, -5.0)]), [3, 2]);
    assert_eq!(
        chosen(
            "again",
            vec![by_words(passage(1, "Same, again"), 5.0, 1.0), by_words(passage(2, "same again!"), 4.0, 1.0)]
        ),
        [1]
    );
    let from = |first: i64, last: i64| {
        let source = Source { session: SessionId(1), first: MessageSeq(first), last: MessageSeq(last) };
        change(by_words(fact(1, "a fact"), 5.0, 5.0), |fact| fact.fact.source = Some(source))
    };
    let turns = || (1..=3).map(|id| by_words(passage(id, &format!("p{id}")), 5.0, 5.0));
    assert_eq!(chosen("question", turns().chain([from(2, 3)]).collect()), [-1, 1]);
    assert_eq!(chosen("question", turns().chain([from(1, 3)]).collect()), [-1, 3, 2, 1], "a long range is no twin");
}

#[test]
fn what_is_far_from_the_best_is_left_out() {
    let (best, far) = (by_words(passage(1, "best"), 10.0, 10.0), by_words(passage(2, "far"), 2.0, 2.0));
    assert_eq!(chosen("question", vec![best.clone(), far.clone(), by_words(passage(3, "near"), 4.0, 4.0)]), [1, 3]);
    assert_eq!(chosen("question", vec![best, far]), [1]);
    assert_eq!(chosen("question", vec![meant(passage(1, "another matter"), -0.1)]), [0; 0]);
}

#[test]
fn facts_and_passages_share_the_room() {
    let facts =
        |count: i64| (1..=count).map(|id| by_words(fact(id, &format!("{id} {}", "fact ".repeat(30))), 5.0, 5.0));
    let turns =
        |count: i64| (1..=count).map(|id| by_words(passage(id, &format!("{id} {}", "turn ".repeat(30))), 5.0, 5.0));
    let count = |candidates: Vec<Candidate>| {
        let chosen = chosen("question", candidates);
        (chosen.iter().filter(|id| **id < 0).count(), chosen.iter().filter(|id| **id > 0).count())
    };
    let (some_facts, some_turns) = count(facts(50).chain(turns(50)).collect());
    let (all_facts, no_turns) = count(facts(50).collect());
    let (no_facts, all_turns) = count(turns(50).collect());
    assert_eq!((no_turns, no_facts), (0, 0));
    assert!(some_facts > some_turns && some_turns > 0 && all_facts > some_facts && all_turns > some_turns);
    assert_eq!(count(facts(1).chain(turns(50)).collect()), (1, all_turns - 1));
}

#[test]
fn of_a_long_text_the_part_with_the_words_is_shown() {
    let text = format!("{} the dentist is Dr. Okafor in Hauptstraße {}", "filler ".repeat(300), "padding ".repeat(300));
    let shown = ask("who is the dentist", vec![by_words(passage(1, &text), 5.0, 5.0)]).remove(0).shown;
    assert!(shown.contains("Okafor") && shown.starts_with("… ") && shown.ends_with(" …"), "{shown}");
    assert!(shown.chars().count() <= SHOWN_SIGNS_MAX + 4);
    let begin = ask("nothing of it", vec![by_words(passage(1, &text), 5.0, 5.0)]).remove(0).shown;
    assert!(begin.starts_with("filler filler"), "{begin}");
}

#[test]
fn nods_ask_for_nothing() {
    for nod in ["ok", "Yes, please!", "thanks", "👍", "", "alles klar", "Danke schön", "go on then… no"] {
        assert_eq!(worth_asking(nod), nod == "go on then… no", "{nod}");
    }
    for question in ["Clara's birthday?", "dentist", "ok and the plate", "yes but which one", "ja aber wann"] {
        assert!(worth_asking(question), "{question}");
    }
}

fn any_candidate() -> impl Strategy<Value = Candidate> {
    let scores =
        (0.0_f32..12.0, 0.0_f32..12.0, proptest::option::of((-1.0_f32..1.0, proptest::option::of(-1.0_f32..1.0))));
    (0_i64..90, "[a-dA-D ]{0,900}", any::<bool>(), any::<bool>(), scores).prop_map(
        |(id, text, is_fact, own, scores)| {
            let (dated, around, dense) = scores;
            let candidate = if is_fact { fact(id, &text) } else { passage(id, &text) };
            let dense = dense.map(|(own, before)| Dense { own, before, after: before });
            let mut candidate = Candidate { dense, ..by_words(candidate, dated, around) };
            if !own {
                let other = Scope::stored("person:7".to_owned());
                match &mut candidate.found {
                    Found::Passage(passage) => passage.scope = other,
                    Found::Fact(fact) => fact.fact.scope = other,
                }
            }
            candidate
        },
    )
}

fn any_candidates() -> impl Strategy<Value = Vec<Candidate>> {
    proptest::collection::vec(any_candidate(), 0..40).prop_map(|mut all| {
        let mut known = BTreeSet::new();
        all.retain(|one| known.insert(one.found.id()));
        all
    })
}

proptest! {
    #[test]
    fn every_choice_is_bounded_and_of_the_scope(candidates in any_candidates(), question in "[a-dA-D ]{0,40}", tokens in 0_u64..2_000) {
        let scopes = [mine()];
        let question = Question { text: &question, scopes: &scopes, interval: None, past: true, now: NOW };
        let chosen = choose(&question, candidates, tokens);
        prop_assert!(chosen.iter().map(cost).sum::<u64>() <= tokens);
        prop_assert!(chosen.iter().all(|one| one.found.scope() == &scopes[0]));
        prop_assert!(chosen.iter().all(|one| one.score.total().is_finite() && one.score.total() > 0.0));
        let ids: BTreeSet<MemoryId> = chosen.iter().map(|one| one.found.id()).collect();
        prop_assert_eq!(ids.len(), chosen.len());
    }

    #[test]
    fn the_order_of_what_was_found_does_not_matter(candidates in any_candidates(), turned in 0_usize..40) {
        let mut others = candidates.clone();
        others.reverse();
        let middle = turned.min(others.len());
        others.rotate_left(middle);
        prop_assert_eq!(ask("A b c", candidates), ask("A b c", others));
    }

    #[test]
    fn a_better_score_gives_no_worse_place(candidates in any_candidates(), place: prop::sample::Index, more in 0.1_f32..5.0) {
        let passages: Vec<Candidate> = candidates.into_iter().filter(|one| matches!(one.found, Found::Passage(_)) && one.dated > 0.0).collect();
        prop_assume!(!passages.is_empty());
        let question = Question { text: "", scopes: &[mine()], interval: None, past: false, now: NOW };
        let place = place.index(passages.len());
        let id = passages[place].found.id();
        let at = |scored: Vec<Scored>| scored.iter().position(|one| one.candidate.found.id() == id).unwrap();
        let mut better = passages.clone();
        better[place].dated += more;
        prop_assert!(at(scored(&question, better)) <= at(scored(&question, passages)));
    }
}
