//! What a turn does next.
//!
//! [`Turn`] takes facts ([`Input`]) and gives orders ([`Effect`]). The runtime commits each input, and the rows that follow
//! from the orders, before it carries the orders out; the state is never stored, it is the fold of the committed inputs
//! (docs/decisions/0008). Everything a decision needs is in the input, so the fold needs neither a clock nor the messages.
//!
//! One session runs one turn at a time; what waits is in the inbox, and this file knows nothing of it.

mod effect;
mod input;
mod results;
mod retry;
mod trouble;

pub use effect::{Effect, Note};
pub use input::{CallFacts, Input, JOURNAL_VERSION, Timer};
pub use results::{note, results};
pub use trouble::{Notice, Outcome, Trouble};

use crate::approval::{Verdict, open_until};
use crate::ids::CallId;
use crate::limits::{IDENTICAL_CALLS_MAX, PARALLEL_TOOLS_MAX, PAUSES_MAX, POISON_ATTEMPTS, TOOL_CALLS_MAX};
use crate::message::StopReason;
use crate::port::{Failure, Replay};
use crate::record::Step;
use crate::time::Timestamp;
use retry::Plan;
use std::collections::BTreeMap;

/// An input that does not fit the state: late news of something already given up. It is not journaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the turn is past that")]
pub struct Stale;

/// A turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    rounds_max: u8,
    may_fall_back: bool,
    deadline: Timestamp,
    /// When it last took a fact; what it had left then, it has left after a restart.
    at: Timestamp,
    /// Rounds of tools asked for so far.
    rounds: u8,
    pauses: u8,
    fallback: bool,
    more_room: bool,
    thinking_dropped: bool,
    files_dropped: bool,
    /// Something readable has been kept.
    said: bool,
    /// How often each call was made.
    seen: BTreeMap<u64, u8>,
    phase: Phase,
}

/// What a turn is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Not admitted yet.
    New,
    /// A call is in flight.
    Calling(Tries),
    /// Between two tries.
    Waiting(Tries),
    /// Tools run.
    Tools {
        runs: Vec<Run>,
        end: Option<Trouble>,
        /// Since when, and until when, an owner is asked; that time is not the turn's.
        asking: Option<Asking>,
    },
    /// Over.
    Done(Outcome),
}

/// An owner is being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asking {
    since: Timestamp,
    until: Timestamp,
}

/// The tries of one call on one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tries {
    failed: u8,
    since: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    call: CallId,
    replay: Replay,
    state: RunState,
}

/// The machine of one tool call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunState {
    Planned,
    AwaitingApproval,
    Started,
    Over,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            rounds_max: 0,
            may_fall_back: false,
            deadline: Timestamp(0),
            at: Timestamp(0),
            rounds: 0,
            pauses: 0,
            fallback: false,
            more_room: false,
            thinking_dropped: false,
            files_dropped: false,
            said: false,
            seen: BTreeMap::new(),
            phase: Phase::New,
        }
    }
}

impl Turn {
    /// The state after these committed inputs.
    pub fn fold(steps: &[Step]) -> Result<Self, Stale> {
        let mut turn = Self::default();
        let mut dropped = Vec::new();
        for step in steps {
            turn.step(step.input.clone(), step.at, &mut dropped)?;
            dropped.clear();
        }
        Ok(turn)
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.phase {
            Phase::Done(outcome) => Some(outcome),
            Phase::New | Phase::Calling(_) | Phase::Waiting(_) | Phase::Tools { .. } => None,
        }
    }

    /// When it must be over.
    #[must_use]
    pub const fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// It waits for an owner's answer.
    #[must_use]
    pub const fn is_asking(&self) -> bool {
        matches!(self.phase, Phase::Tools { asking: Some(_), .. })
    }

    /// The round of tool calls it is in, from 0.
    #[must_use]
    pub const fn round(&self) -> u8 {
        self.rounds
    }

    /// Takes one fact and gives orders. A stale fact changes nothing.
    pub fn step(&mut self, input: Input, now: Timestamp, out: &mut Vec<Effect>) -> Result<(), Stale> {
        match (std::mem::replace(&mut self.phase, Phase::New), input) {
            (Phase::New, Input::Admitted { rounds_max, fallback, deadline }) => {
                (self.rounds_max, self.may_fall_back, self.deadline) = (rounds_max, fallback, deadline);
                out.push(Effect::Arm { timer: Timer::Deadline, at: deadline });
                self.call(now, out);
            }
            (Phase::Calling(_), Input::CallDone { stop, calls, text, content, cut }) => {
                self.answered(Answer { stop, calls, text, content, cut }, now, out);
            }
            (Phase::Calling(tries), Input::CallFailed { failure, retry_after_ms, shown, jitter }) => {
                self.failed(tries, &Failed { failure, retry_after_ms, shown, jitter }, now, out);
            }
            (Phase::Waiting(tries), Input::Fired { timer: Timer::Retry }) => self.call_again(tries, out),
            (Phase::Tools { mut runs, end, asking }, Input::ToolDone { call })
                if is_in(&runs, &call, RunState::Started) =>
            {
                set(&mut runs, &call, RunState::Over);
                self.go_on(runs, end, asking, now, out);
            }
            (Phase::Tools { mut runs, end, asking }, Input::Decided { call, verdict })
                if is_in(&runs, &call, RunState::AwaitingApproval) =>
            {
                match verdict {
                    Verdict::Allow | Verdict::Always => set(&mut runs, &call, RunState::Planned),
                    Verdict::Deny => refuse(&mut runs, &call, "not run: the owner said no", out),
                }
                self.go_on(runs, end, asking, now, out);
            }
            (Phase::Tools { mut runs, end, asking }, Input::Void { call })
                if is_in(&runs, &call, RunState::AwaitingApproval) =>
            {
                let why = "not run: it is not what the owner was asked about; call it again to ask anew";
                refuse(&mut runs, &call, why, out);
                self.go_on(runs, end, asking, now, out);
            }
            (Phase::Tools { mut runs, end, asking: Some(asking) }, Input::Fired { timer: Timer::Approval }) => {
                let waiting: Vec<CallId> = awaiting(&runs).map(|run| run.call.clone()).collect();
                for call in waiting {
                    refuse(&mut runs, &call, "not run: nobody answered the question in time", out);
                }
                out.push(Effect::CloseApprovals);
                self.go_on(runs, end, Some(asking), now, out);
            }
            // While an owner is asked, the turn's time stands still.
            (Phase::Tools { runs, end, asking: Some(asking) }, Input::Fired { timer: Timer::Deadline }) => {
                out.push(Effect::Arm {
                    timer: Timer::Deadline,
                    at: asking.until.plus(self.deadline.since(asking.since)),
                });
                self.phase = Phase::Tools { runs, end, asking: Some(asking) };
            }
            (phase, Input::Stop) if !matches!(phase, Phase::New | Phase::Done(_)) => {
                self.abort(phase, Note::Stopped, Outcome::Stopped, out);
            }
            (phase, Input::Fired { timer: Timer::Deadline }) if !matches!(phase, Phase::New | Phase::Done(_)) => {
                self.abort(phase, Note::Error, Outcome::Error(Trouble::Deadline), out);
            }
            (phase, Input::Panicked) if !matches!(phase, Phase::New | Phase::Done(_)) => {
                self.abort(phase, Note::Error, Outcome::Error(Trouble::Internal), out);
            }
            (phase, Input::Restarted { attempts }) if !matches!(phase, Phase::New | Phase::Done(_)) => {
                self.restarted(phase, attempts, now, out);
            }
            (
                phase,
                Input::Admitted { .. }
                | Input::CallDone { .. }
                | Input::CallFailed { .. }
                | Input::ToolDone { .. }
                | Input::Decided { .. }
                | Input::Void { .. }
                | Input::Fired { .. }
                | Input::Stop
                | Input::Restarted { .. }
                | Input::Panicked,
            ) => {
                self.phase = phase;
                return Err(Stale);
            }
        }
        self.at = now;
        self.check(out);
        Ok(())
    }

    fn call(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        self.call_again(Tries { failed: 0, since: now }, out);
    }

    fn call_again(&mut self, tries: Tries, out: &mut Vec<Effect>) {
        out.push(Effect::CallModel { fallback: self.fallback, more_room: self.more_room });
        self.phase = Phase::Calling(tries);
    }

    fn finish(&mut self, outcome: Outcome, notice: Option<Notice>, out: &mut Vec<Effect>) {
        out.push(Effect::Finish { outcome: outcome.clone(), notice });
        self.phase = Phase::Done(outcome);
    }

    fn fail(&mut self, note: Note, trouble: Trouble, out: &mut Vec<Effect>) {
        out.push(Effect::AppendNote(note));
        self.finish(Outcome::Error(trouble), None, out);
    }

    /// The model has answered; every stop reason ends here.
    fn answered(&mut self, answer: Answer, now: Timestamp, out: &mut Vec<Effect>) {
        let stop = match answer.stop {
            // A tool call is answered whatever the stop reason says, and a stop for tools without any is an end.
            StopReason::EndTurn | StopReason::PauseTurn if !answer.calls.is_empty() => StopReason::ToolUse,
            StopReason::ToolUse if answer.calls.is_empty() => StopReason::EndTurn,
            StopReason::PauseTurn if !answer.content => StopReason::EndTurn,
            other => other,
        };
        match stop {
            StopReason::Refusal => self.fail(Note::NoReply, Trouble::Refused, out),
            // A tool call that is cut, or nothing but thinking: once more with more room.
            StopReason::MaxTokens if answer.cut || (!answer.text && answer.calls.is_empty()) => {
                if self.more_room {
                    return self.fail(Note::Error, Trouble::LengthLimit, out);
                }
                self.more_room = true;
                self.call(now, out);
            }
            StopReason::ContextWindow if !answer.calls.is_empty() || !answer.text => {
                self.fail(Note::Error, Trouble::Call(Failure::PromptTooLong), out);
            }
            StopReason::ToolUse => self.start_round(answer, now, out),
            StopReason::MaxTokens if !answer.calls.is_empty() => self.start_round(answer, now, out),
            StopReason::PauseTurn if self.pauses < PAUSES_MAX => {
                self.pauses += 1;
                self.said |= answer.text;
                out.push(Effect::KeepReply);
                self.call(now, out);
            }
            StopReason::EndTurn | StopReason::PauseTurn | StopReason::MaxTokens | StopReason::ContextWindow => {
                let notice = match stop {
                    StopReason::MaxTokens => Some(Notice::LengthLimit),
                    StopReason::ContextWindow => Some(Notice::ContextFull),
                    StopReason::PauseTurn => Some(Notice::PausedTooOften),
                    StopReason::EndTurn | StopReason::ToolUse | StopReason::Refusal => None,
                };
                self.end(answer.text, notice, out);
            }
        }
    }

    /// The last answer of the turn.
    fn end(&mut self, text: bool, notice: Option<Notice>, out: &mut Vec<Effect>) {
        if text {
            self.said = true;
            out.push(Effect::KeepReply);
            self.finish(Outcome::Reply, notice, out);
        } else if self.said {
            out.push(Effect::AppendNote(Note::NoReply));
            self.finish(Outcome::Reply, notice, out);
        } else {
            self.fail(Note::NoReply, Trouble::NoReply, out);
        }
    }

    /// The model asks for tools: each call is run, asked for, or refused.
    fn start_round(&mut self, answer: Answer, now: Timestamp, out: &mut Vec<Effect>) {
        self.said |= answer.text;
        self.rounds = self.rounds.saturating_add(1);
        out.push(Effect::KeepReply);
        let mut end = (self.rounds > self.rounds_max).then_some(Trouble::Rounds);
        let mut runs = Vec::with_capacity(answer.calls.len());
        let mut until = now;
        for (place, facts) in answer.calls.into_iter().enumerate() {
            let made = self.seen.entry(facts.fingerprint).or_insert(0);
            *made = made.saturating_add(1);
            if *made > IDENTICAL_CALLS_MAX + 1 {
                end = Some(Trouble::Loop);
            }
            let why = if self.rounds > self.rounds_max {
                Some("not run: this turn has used up its rounds of tool calls".to_owned())
            } else if *made > IDENTICAL_CALLS_MAX {
                Some(format!("not run: the same call was made {made} times in this turn; try something else or answer"))
            } else if place >= TOOL_CALLS_MAX {
                Some(format!("not run: more than {TOOL_CALLS_MAX} calls in one response"))
            } else {
                facts.refused
            };
            let state = match why {
                Some(why) => {
                    out.push(Effect::RefuseTool { call: facts.id.clone(), why });
                    RunState::Over
                }
                None if facts.ask => {
                    until = until.max(open_until(now, facts.ask_from));
                    out.push(Effect::AskApproval { call: facts.id.clone() });
                    RunState::AwaitingApproval
                }
                None => RunState::Planned,
            };
            runs.push(Run { call: facts.id, replay: facts.replay, state });
        }
        let asking = awaiting(&runs).next().is_some().then_some(Asking { since: now, until });
        if let Some(asking) = asking {
            out.push(Effect::Arm { timer: Timer::Approval, at: asking.until });
        }
        self.go_on(runs, end, asking, now, out);
    }

    /// Starts what may start; if nothing is left, the round is over.
    fn go_on(
        &mut self,
        mut runs: Vec<Run>,
        end: Option<Trouble>,
        mut asking: Option<Asking>,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        if let Some(asked) = asking.filter(|_| awaiting(&runs).next().is_none()) {
            self.deadline = self.deadline.plus(now.since(asked.since));
            out.push(Effect::Arm { timer: Timer::Deadline, at: self.deadline });
            asking = None;
        }
        let mut free = PARALLEL_TOOLS_MAX.saturating_sub(count(&runs, RunState::Started));
        for run in runs.iter_mut().filter(|run| run.state == RunState::Planned) {
            if free == 0 {
                break;
            }
            free -= 1;
            run.state = RunState::Started;
            out.push(Effect::StartTool { call: run.call.clone() });
        }
        if count(&runs, RunState::Over) < runs.len() {
            self.phase = Phase::Tools { runs, end, asking };
            return;
        }
        out.push(Effect::AppendResults { last: self.rounds >= self.rounds_max });
        match end {
            Some(trouble) => self.fail(Note::Error, trouble, out),
            None => self.call(now, out),
        }
    }

    /// A try failed: again, on the other model, without thinking, or not at all.
    fn failed(&mut self, tries: Tries, failed: &Failed, now: Timestamp, out: &mut Vec<Effect>) {
        let tries = Tries { failed: tries.failed.saturating_add(1), ..tries };
        if failed.shown {
            return self.fail(Note::Error, Trouble::CutAfterText, out);
        }
        if failed.failure == Failure::ThinkingMismatch && !self.thinking_dropped {
            self.thinking_dropped = true;
            out.push(Effect::DropThinking);
            return self.call(now, out);
        }
        if failed.failure == Failure::FileRefused && !self.files_dropped {
            self.files_dropped = true;
            out.push(Effect::DropFiles);
            return self.call(now, out);
        }
        match retry::plan(tries.failed, tries.since, failed, now) {
            Plan::Again(until) => {
                out.push(Effect::Arm { timer: Timer::Retry, at: until });
                self.phase = Phase::Waiting(tries);
            }
            Plan::OtherModel if self.may_fall_back && !self.fallback => {
                self.fallback = true;
                self.call(now, out);
            }
            Plan::OtherModel | Plan::GiveUp => self.fail(Note::Error, Trouble::Call(failed.failure), out),
        }
    }

    /// Ends the turn from outside, leaving a conversation that can go on.
    fn abort(&mut self, phase: Phase, note: Note, outcome: Outcome, out: &mut Vec<Effect>) {
        out.push(Effect::Cancel);
        if let Phase::Tools { runs, asking, .. } = phase {
            if asking.is_some() {
                out.push(Effect::CloseApprovals);
            }
            for run in runs {
                match run.state {
                    RunState::Started => out.push(Effect::ForgetTool { call: run.call }),
                    RunState::Planned | RunState::AwaitingApproval => {
                        out.push(Effect::RefuseTool { call: run.call, why: "not run: the turn was ended".to_owned() });
                    }
                    RunState::Over => {}
                }
            }
            out.push(Effect::AppendResults { last: false });
        }
        out.push(Effect::AppendNote(note));
        self.finish(outcome, None, out);
    }

    /// Takes up what a crash or a shutdown left.
    fn restarted(&mut self, phase: Phase, attempts: u32, now: Timestamp, out: &mut Vec<Effect>) {
        if attempts >= POISON_ATTEMPTS {
            return self.abort(phase, Note::Error, Outcome::Error(Trouble::Poison), out);
        }
        // The time in which nothing ran does not count, neither for the turn nor for the tries of its call.
        self.deadline = now.plus(self.deadline.since(self.at));
        out.push(Effect::Arm { timer: Timer::Deadline, at: self.deadline });
        match phase {
            Phase::Calling(_) | Phase::Waiting(_) => self.call(now, out),
            Phase::Tools { mut runs, end, asking } => {
                // A question stays open for as long as it was meant to be, whoever was away meanwhile.
                let asking = asking.map(|asking| Asking { since: now, ..asking });
                if let Some(asking) = asking {
                    out.push(Effect::Arm { timer: Timer::Approval, at: asking.until });
                }
                for run in runs.iter_mut().filter(|run| run.state == RunState::Started) {
                    match run.replay {
                        Replay::Pure | Replay::Idempotent => out.push(Effect::StartTool { call: run.call.clone() }),
                        Replay::Effectful => {
                            run.state = RunState::Over;
                            out.push(Effect::ForgetTool { call: run.call.clone() });
                        }
                    }
                }
                self.go_on(runs, end, asking, now, out);
            }
            Phase::New | Phase::Done(_) => self.phase = phase,
        }
    }

    /// What must hold after every step; a violation is a bug in this file.
    fn check(&self, out: &[Effect]) {
        let finishes = out.iter().filter(|effect| matches!(effect, Effect::Finish { .. })).count();
        assert_eq!(finishes, usize::from(self.outcome().is_some()), "one Finish exactly when the turn is over");
        if let Phase::Tools { runs, asking, .. } = &self.phase {
            assert_eq!(
                asking.is_some(),
                awaiting(runs).next().is_some(),
                "somebody is asked exactly when a call waits"
            );
            assert!(count(runs, RunState::Started) <= PARALLEL_TOOLS_MAX, "too many tools at once");
            assert!(count(runs, RunState::Over) < runs.len(), "a finished round must not linger");
        }
        assert!(!matches!(self.phase, Phase::New), "a step leaves the turn somewhere");
    }
}

struct Answer {
    stop: StopReason,
    calls: Vec<CallFacts>,
    text: bool,
    content: bool,
    cut: bool,
}

struct Failed {
    failure: Failure,
    retry_after_ms: Option<u64>,
    shown: bool,
    jitter: u16,
}

fn count(runs: &[Run], state: RunState) -> usize {
    runs.iter().filter(|run| run.state == state).count()
}

fn is_in(runs: &[Run], call: &CallId, state: RunState) -> bool {
    runs.iter().any(|run| run.call == *call && run.state == state)
}

fn awaiting(runs: &[Run]) -> impl Iterator<Item = &Run> {
    runs.iter().filter(|run| run.state == RunState::AwaitingApproval)
}

fn set(runs: &mut [Run], call: &CallId, state: RunState) {
    for run in runs.iter_mut().filter(|run| run.call == *call) {
        run.state = state;
    }
}

fn refuse(runs: &mut [Run], call: &CallId, why: &str, out: &mut Vec<Effect>) {
    set(runs, call, RunState::Over);
    out.push(Effect::RefuseTool { call: call.clone(), why: why.to_owned() });
}

#[cfg(test)]
mod tests;
