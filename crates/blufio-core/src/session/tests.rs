//! The turn's machine, driven by hand and at random.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::ids::{Boot, ToolName};
use crate::limits::{APPROVAL_RESTED_TTL, APPROVAL_TTL};
use proptest::prelude::*;

const START: Timestamp = Timestamp(1_000_000);

fn admitted() -> Input {
    Input::Admitted { rounds_max: 3, fallback: true, deadline: Timestamp(1_900_000) }
}

fn said(stop: StopReason) -> Input {
    Input::CallDone { stop, calls: vec![], text: true, content: true, cut: false }
}

fn facts(id: &str, replay: Replay, fingerprint: u64) -> CallFacts {
    CallFacts {
        id: CallId::new(id),
        name: ToolName::new("t"),
        replay,
        fingerprint,
        refused: None,
        ask: false,
        ask_from: None,
    }
}

fn asks(calls: Vec<CallFacts>) -> Input {
    Input::CallDone { stop: StopReason::ToolUse, calls, text: false, content: true, cut: false }
}

fn done(id: &str) -> Input {
    Input::ToolDone { call: CallId::new(id) }
}

fn decided(id: &str, verdict: Verdict) -> Input {
    Input::Decided { call: CallId::new(id), verdict }
}

fn fails(failure: Failure) -> Input {
    Input::CallFailed { failure, retry_after_ms: None, shown: false, jitter: 0 }
}

/// Runs inputs one after another and returns the orders of the last one.
fn last(inputs: &[Input]) -> Vec<Effect> {
    let mut turn = Turn::default();
    let mut out = Vec::new();
    for input in inputs {
        out.clear();
        turn.step(input.clone(), START, &mut out).unwrap_or_else(|_| panic!("stale: {input:?} in {turn:?}"));
    }
    out
}

fn call_model(fallback: bool, more_room: bool) -> Effect {
    Effect::CallModel { fallback, more_room }
}

fn finish(outcome: Outcome) -> Effect {
    Effect::Finish { outcome, notice: None }
}

fn error(note: Note, trouble: Trouble) -> Vec<Effect> {
    vec![Effect::AppendNote(note), finish(Outcome::Error(trouble))]
}

fn start(id: &str) -> Effect {
    Effect::StartTool { call: CallId::new(id) }
}

#[test]
fn an_answer_ends_the_turn() {
    let begin = last(&[admitted()]);
    assert_eq!(begin[1..], [call_model(false, false)]);
    assert_eq!(last(&[admitted(), said(StopReason::EndTurn)]), [Effect::KeepReply, finish(Outcome::Reply)]);
}

#[test]
fn every_stop_reason_has_an_end() {
    let with = |stop, text, content| Input::CallDone { stop, calls: vec![], text, content, cut: false };
    let check = |input, expect: &[Effect]| assert_eq!(last(&[admitted(), input]), expect);
    check(with(StopReason::EndTurn, false, false), &error(Note::NoReply, Trouble::NoReply));
    check(with(StopReason::ToolUse, true, true), &[Effect::KeepReply, finish(Outcome::Reply)]);
    check(with(StopReason::Refusal, true, true), &error(Note::NoReply, Trouble::Refused));
    check(
        with(StopReason::MaxTokens, true, true),
        &[Effect::KeepReply, Effect::Finish { outcome: Outcome::Reply, notice: Some(Notice::LengthLimit) }],
    );
    check(
        with(StopReason::ContextWindow, true, true),
        &[Effect::KeepReply, Effect::Finish { outcome: Outcome::Reply, notice: Some(Notice::ContextFull) }],
    );
    check(with(StopReason::ContextWindow, false, true), &error(Note::Error, Trouble::Call(Failure::PromptTooLong)));
    check(with(StopReason::PauseTurn, true, true), &[Effect::KeepReply, call_model(false, false)]);
}

#[test]
fn pauses_are_bounded() {
    let mut inputs = vec![admitted()];
    inputs.extend(std::iter::repeat_n(said(StopReason::PauseTurn), usize::from(PAUSES_MAX)));
    assert_eq!(last(&inputs), [Effect::KeepReply, call_model(false, false)]);
    inputs.push(said(StopReason::PauseTurn));
    assert_eq!(
        last(&inputs),
        [Effect::KeepReply, Effect::Finish { outcome: Outcome::Reply, notice: Some(Notice::PausedTooOften) }]
    );
}

#[test]
fn a_cut_tool_call_is_not_run_and_gets_more_room_once() {
    let cut = || Input::CallDone {
        stop: StopReason::MaxTokens,
        calls: vec![facts("a", Replay::Pure, 1)],
        text: false,
        content: true,
        cut: true,
    };
    assert_eq!(last(&[admitted(), cut()]), [call_model(false, true)]);
    assert_eq!(last(&[admitted(), cut(), cut()]), error(Note::Error, Trouble::LengthLimit));
}

#[test]
fn thinking_that_fills_the_room_gets_more_room_once() {
    let thought =
        || Input::CallDone { stop: StopReason::MaxTokens, calls: vec![], text: false, content: true, cut: false };
    assert_eq!(last(&[admitted(), thought()]), [call_model(false, true)]);
    assert_eq!(last(&[admitted(), thought(), thought()]), error(Note::Error, Trouble::LengthLimit));
}

#[test]
fn an_outage_counts_neither_against_the_turn_nor_against_its_tries() {
    let mut turn = Turn::default();
    let mut out = Vec::new();
    let minutes = |count: u64| std::time::Duration::from_secs(count * 60);
    turn.step(admitted(), START, &mut out).unwrap();
    turn.step(fails(Failure::Server), START.plus(minutes(1)), &mut out).unwrap();
    out.clear();
    let back = START.plus(minutes(60));
    turn.step(Input::Restarted { attempts: 0 }, back, &mut out).unwrap();
    assert_eq!(turn.deadline(), back.plus(minutes(14)), "fifteen minutes, of which one was used");
    out.clear();
    turn.step(fails(Failure::Server), back, &mut out).unwrap();
    assert!(matches!(out[..], [Effect::Arm { timer: Timer::Retry, .. }]), "a first try again: {out:?}");
}

#[test]
fn results_come_together_and_the_model_is_asked_again() {
    let calls = vec![facts("a", Replay::Pure, 1), facts("b", Replay::Effectful, 2)];
    assert_eq!(last(&[admitted(), asks(calls.clone())]), [Effect::KeepReply, start("a"), start("b")]);
    assert_eq!(last(&[admitted(), asks(calls.clone()), done("b")]), []);
    assert_eq!(
        last(&[admitted(), asks(calls), done("b"), done("a")]),
        [Effect::AppendResults { last: false }, call_model(false, false)]
    );
}

#[test]
fn at_most_eight_tools_run_and_more_than_sixty_four_are_refused() {
    let calls: Vec<CallFacts> = (0..66).map(|n| facts(&n.to_string(), Replay::Pure, n)).collect();
    let effects = last(&[admitted(), asks(calls)]);
    assert_eq!(effects.iter().filter(|effect| matches!(effect, Effect::StartTool { .. })).count(), PARALLEL_TOOLS_MAX);
    assert_eq!(effects.iter().filter(|effect| matches!(effect, Effect::RefuseTool { .. })).count(), 2);
}

#[test]
fn identical_calls_are_refused_and_then_end_the_turn() {
    let same = |n: u32| vec![facts(&n.to_string(), Replay::Pure, 7)];
    let mut inputs = vec![Input::Admitted { rounds_max: 25, fallback: false, deadline: Timestamp(1_900_000) }];
    for n in 0..u32::from(IDENTICAL_CALLS_MAX) {
        inputs.extend([asks(same(n)), done(&n.to_string())]);
    }
    inputs.push(asks(same(8)));
    let refused = last(&inputs);
    assert!(matches!(refused[1], Effect::RefuseTool { .. }), "{refused:?}");
    assert_eq!(refused[2..], [Effect::AppendResults { last: false }, call_model(false, false)]);
    inputs.push(asks(same(9)));
    assert_eq!(last(&inputs)[3..], error(Note::Error, Trouble::Loop));
}

#[test]
fn rounds_are_bounded_and_the_model_is_told() {
    let mut inputs = vec![admitted()];
    for n in 0..3_u64 {
        inputs.extend([asks(vec![facts(&n.to_string(), Replay::Pure, n)]), done(&n.to_string())]);
    }
    assert_eq!(last(&inputs), [Effect::AppendResults { last: true }, call_model(false, false)]);
    inputs.push(asks(vec![facts("x", Replay::Pure, 99)]));
    assert_eq!(last(&inputs)[3..], error(Note::Error, Trouble::Rounds));
}

#[test]
fn failures_are_tried_again_then_on_the_other_model_then_told() {
    let retry = Input::Fired { timer: Timer::Retry };
    let mut inputs = vec![admitted()];
    for _ in 0..3 {
        inputs.extend([fails(Failure::Overloaded), retry.clone()]);
    }
    assert_eq!(last(&inputs), [call_model(false, false)]);
    inputs.push(fails(Failure::Overloaded));
    assert_eq!(last(&inputs), [call_model(true, false)]);
    for _ in 0..3 {
        inputs.extend([fails(Failure::Server), retry.clone()]);
    }
    inputs.push(fails(Failure::Server));
    assert_eq!(last(&inputs), error(Note::Error, Trouble::Call(Failure::Server)));
}

#[test]
fn a_refused_request_is_told_at_once() {
    assert_eq!(last(&[admitted(), fails(Failure::Rejected)]), error(Note::Error, Trouble::Call(Failure::Rejected)));
}

#[test]
fn text_that_cannot_be_taken_back_is_not_written_twice() {
    let shown = Input::CallFailed { failure: Failure::Transport, retry_after_ms: None, shown: true, jitter: 0 };
    assert_eq!(last(&[admitted(), shown]), error(Note::Error, Trouble::CutAfterText));
}

#[test]
fn thinking_is_dropped_once() {
    let mismatch = fails(Failure::ThinkingMismatch);
    assert_eq!(last(&[admitted(), mismatch.clone()]), [Effect::DropThinking, call_model(false, false)]);
    assert_eq!(
        last(&[admitted(), mismatch.clone(), mismatch]),
        error(Note::Error, Trouble::Call(Failure::ThinkingMismatch))
    );
}

#[test]
fn files_that_are_refused_are_described_once() {
    let refused = || fails(Failure::FileRefused);
    assert_eq!(last(&[admitted(), refused()]), [Effect::DropFiles, call_model(false, false)]);
    assert_eq!(last(&[admitted(), refused(), refused()]), error(Note::Error, Trouble::Call(Failure::FileRefused)));
}

#[test]
fn stop_leaves_a_conversation_that_can_go_on() {
    let calls = vec![facts("a", Replay::Effectful, 1), facts("b", Replay::Pure, 2)];
    assert_eq!(
        last(&[admitted(), asks(calls), done("b"), Input::Stop]),
        [
            Effect::Cancel,
            Effect::ForgetTool { call: CallId::new("a") },
            Effect::AppendResults { last: false },
            Effect::AppendNote(Note::Stopped),
            finish(Outcome::Stopped)
        ]
    );
    assert_eq!(
        last(&[admitted(), Input::Stop]),
        [Effect::Cancel, Effect::AppendNote(Note::Stopped), finish(Outcome::Stopped)]
    );
}

#[test]
fn after_a_restart_only_harmless_tools_run_again() {
    let calls = vec![facts("a", Replay::Effectful, 1), facts("b", Replay::Pure, 2), facts("c", Replay::Idempotent, 3)];
    let effects = last(&[admitted(), asks(calls), Input::Restarted { attempts: 0 }]);
    assert_eq!(effects[1..], [Effect::ForgetTool { call: CallId::new("a") }, start("b"), start("c")]);
    assert_eq!(last(&[admitted(), Input::Restarted { attempts: 4 }])[1..], [call_model(false, false)]);
    assert_eq!(last(&[admitted(), Input::Restarted { attempts: 5 }])[1..], error(Note::Error, Trouble::Poison));
}

/// Two calls of which one needs a yes.
fn one_asks() -> Input {
    asks(vec![facts("a", Replay::Effectful, 1), CallFacts { ask: true, ..facts("b", Replay::Effectful, 2) }])
}

#[test]
fn a_call_runs_after_a_yes_and_not_after_a_no() {
    let ask = Effect::AskApproval { call: CallId::new("b") };
    let asked = last(&[admitted(), one_asks()]);
    let until = START.plus(APPROVAL_TTL);
    assert_eq!(asked, [Effect::KeepReply, ask, Effect::Arm { timer: Timer::Approval, at: until }, start("a")]);
    let deadline = Effect::Arm { timer: Timer::Deadline, at: Timestamp(1_900_000) };
    let allowed = last(&[admitted(), one_asks(), decided("b", Verdict::Allow)]);
    assert_eq!(allowed, [deadline.clone(), start("b")]);
    let denied = last(&[admitted(), one_asks(), done("a"), decided("b", Verdict::Deny)]);
    let refused = Effect::RefuseTool { call: CallId::new("b"), why: "not run: the owner said no".into() };
    assert_eq!(denied, [refused, deadline.clone(), Effect::AppendResults { last: false }, call_model(false, false)]);
    let void = last(&[admitted(), one_asks(), done("a"), Input::Void { call: CallId::new("b") }]);
    let why = "not run: it is not what the owner was asked about; call it again to ask anew".into();
    let refused = Effect::RefuseTool { call: CallId::new("b"), why };
    assert_eq!(void, [refused, deadline, Effect::AppendResults { last: false }, call_model(false, false)]);
}

#[test]
fn silence_is_a_no_and_the_time_of_waiting_is_not_the_turns() {
    let mut turn = Turn::default();
    let mut out = Vec::new();
    let mut at = |input, now| {
        out.clear();
        turn.step(input, Timestamp(now), &mut out).unwrap();
        out.clone()
    };
    at(admitted(), 1_000_000);
    at(one_asks(), 1_000_000);
    at(done("a"), 1_500_000);
    // The deadline of the turn (900 s) rings while an owner is asked: it is put off.
    let until = 1_000_000 + i64::try_from(APPROVAL_TTL.as_millis()).unwrap();
    let put_off = at(Input::Fired { timer: Timer::Deadline }, 1_550_000);
    assert_eq!(put_off, [Effect::Arm { timer: Timer::Deadline, at: Timestamp(until + 900_000) }]);
    let silent = at(Input::Fired { timer: Timer::Approval }, until);
    assert!(matches!(&silent[..2], [Effect::RefuseTool { .. }, Effect::CloseApprovals]), "{silent:?}");
    assert!(silent.contains(&Effect::Arm { timer: Timer::Deadline, at: Timestamp(until + 900_000) }), "{silent:?}");
    assert!(!turn.is_asking());
}

#[test]
fn a_question_that_waits_for_the_morning_is_open_for_hours_after_it() {
    let morning = START.plus(std::time::Duration::from_secs(9 * 3600));
    let night = CallFacts { ask: true, ask_from: Some(morning), ..facts("b", Replay::Effectful, 2) };
    let asked = last(&[admitted(), asks(vec![night])]);
    let until = morning.plus(APPROVAL_RESTED_TTL);
    assert!(asked.contains(&Effect::Arm { timer: Timer::Approval, at: until }), "{asked:?}");
}

#[test]
fn a_question_outlives_a_restart_and_not_a_stop() {
    let until = START.plus(APPROVAL_TTL);
    let restarted = last(&[admitted(), one_asks(), Input::Restarted { attempts: 1 }]);
    assert!(restarted.contains(&Effect::Arm { timer: Timer::Approval, at: until }), "{restarted:?}");
    let stopped = last(&[admitted(), one_asks(), Input::Stop]);
    assert!(stopped.contains(&Effect::CloseApprovals), "{stopped:?}");
    assert_eq!(stopped.last(), Some(&finish(Outcome::Stopped)));
}

#[test]
fn news_from_the_past_changes_nothing() {
    let mut turn = Turn::default();
    let mut out = Vec::new();
    assert_eq!(turn.step(Input::Stop, START, &mut out), Err(Stale));
    turn.step(admitted(), START, &mut out).unwrap();
    let before = turn.clone();
    for stale in [admitted(), done("x"), Input::Fired { timer: Timer::Retry }] {
        assert_eq!(turn.step(stale, START, &mut out), Err(Stale));
    }
    assert_eq!(turn, before);
}

#[test]
fn journal_entries_keep_their_form() {
    let entries = [
        (admitted(), r#"{"type":"admitted","rounds_max":3,"fallback":true,"deadline":1900000}"#),
        (
            asks(vec![facts("a", Replay::Pure, 1)]),
            r#"{"type":"call_done","stop":"tool_use","calls":[{"id":"a","name":"t","replay":"pure","fingerprint":1,"refused":null,"ask":false}],"text":false,"content":true,"cut":false}"#,
        ),
        (
            fails(Failure::RateLimited),
            r#"{"type":"call_failed","failure":"rate_limited","retry_after_ms":null,"shown":false,"jitter":0}"#,
        ),
        (done("a"), r#"{"type":"tool_done","call":"a"}"#),
        (Input::Fired { timer: Timer::Deadline }, r#"{"type":"fired","timer":"deadline"}"#),
        (decided("a", Verdict::Allow), r#"{"type":"decided","call":"a","verdict":"allow"}"#),
        (Input::Void { call: CallId::new("a") }, r#"{"type":"void","call":"a"}"#),
        (Input::Fired { timer: Timer::Approval }, r#"{"type":"fired","timer":"approval"}"#),
        (Input::Stop, r#"{"type":"stop"}"#),
        (Input::Restarted { attempts: 2 }, r#"{"type":"restarted","attempts":2}"#),
        (Input::Panicked, r#"{"type":"panicked"}"#),
    ];
    for (input, stored) in entries {
        assert_eq!(serde_json::to_string(&input).unwrap(), stored);
        assert_eq!(serde_json::from_str::<Input>(stored).unwrap(), input);
    }
}

/// Any fact, legal or not.
fn any_input() -> impl Strategy<Value = Input> {
    let stop = prop_oneof![
        Just(StopReason::EndTurn),
        Just(StopReason::ToolUse),
        Just(StopReason::MaxTokens),
        Just(StopReason::PauseTurn),
        Just(StopReason::Refusal),
        Just(StopReason::ContextWindow)
    ];
    let replay = prop_oneof![Just(Replay::Pure), Just(Replay::Idempotent), Just(Replay::Effectful)];
    let call =
        (0..12_u32, replay, 0..4_u64, any::<bool>(), any::<bool>()).prop_map(|(id, replay, print, refused, ask)| {
            let mut call = CallFacts { ask, ..facts(&id.to_string(), replay, print) };
            call.refused = refused.then(|| "no".to_owned());
            call
        });
    let failure = prop_oneof![
        Just(Failure::RateLimited),
        Just(Failure::Overloaded),
        Just(Failure::Transport),
        Just(Failure::Rejected),
        Just(Failure::ThinkingMismatch)
    ];
    prop_oneof![
        4 => (stop, proptest::collection::vec(call, 0..4), any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(stop, calls, text, content, cut)| Input::CallDone { stop, calls, text, content: content || text, cut }),
        2 => (failure, proptest::option::of(0..200_000_u64), any::<bool>(), 0..1_000_u16)
            .prop_map(|(failure, retry_after_ms, shown, jitter)| Input::CallFailed { failure, retry_after_ms, shown, jitter }),
        6 => (0..12_u32).prop_map(|id| done(&id.to_string())),
        4 => (0..12_u32, any::<bool>())
            .prop_map(|(id, yes)| decided(&id.to_string(), if yes { Verdict::Allow } else { Verdict::Deny })),
        1 => (0..12_u32).prop_map(|id| Input::Void { call: CallId::new(id.to_string()) }),
        1 => Just(Input::Fired { timer: Timer::Approval }),
        2 => Just(Input::Fired { timer: Timer::Retry }),
        1 => Just(Input::Fired { timer: Timer::Deadline }),
        1 => Just(Input::Stop),
        1 => Just(Input::Panicked),
        2 => (0..7_u32).prop_map(|attempts| Input::Restarted { attempts }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Whatever comes in whatever order: no panic, a finished turn stays finished, and the fold of what was accepted is the state.
    #[test]
    fn state_is_the_fold_of_its_journal(inputs in proptest::collection::vec(any_input(), 0..60)) {
        let mut turn = Turn::default();
        let mut out = Vec::new();
        let mut steps = Vec::new();
        let mut now = START;
        for input in std::iter::once(admitted()).chain(inputs) {
            now = now.plus(std::time::Duration::from_millis(700));
            let over = turn.outcome().is_some();
            let taken = turn.step(input.clone(), now, &mut out).is_ok();
            prop_assert!(!(over && taken), "a finished turn took {:?}", input);
            if taken {
                let seq = u32::try_from(steps.len()).unwrap() + 1;
                steps.push(Step { seq, at: now, boot: Boot(1), input });
            }
            out.clear();
            prop_assert_eq!(&Turn::fold(&steps).unwrap(), &turn);
        }
    }
}
