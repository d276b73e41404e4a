//! `blufio session`: conversations as they were said, and turns as they happened.

use super::arguments::Session;
use super::screen::{Look, Screen, bytes, harmless, local_time, one_line, table, time_of_day};
use super::source::Source;
use crate::failure::Failure;
use crate::keys::Installation;
use blufio_core::approval::Verdict;
use blufio_core::ids::{CallId, SessionKey, ToolName, TurnNumber};
use blufio_core::message::{Body, Part, Role};
use blufio_core::record::{MessageView, SessionView, TurnView};
use blufio_core::session::{CallFacts, Input, Timer};
use serde::Serialize;
use std::collections::BTreeMap;

/// Characters of a tool's input or output that are shown.
const TOOL_CHARS: usize = 200;

/// Carries it out.
pub fn run(command: &Session, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    crate::serve::runtime()?.block_on(async {
        let source = Source::find(here).await?;
        match command {
            Session::List { limit } => list(&source.sessions(*limit).await?, screen),
            Session::Show { key, limit } => show(&source.messages(&SessionKey::new(key), *limit).await?, screen),
            Session::Replay { key, turn } => {
                let turns = source.journal(&SessionKey::new(key), turn.map(TurnNumber)).await?;
                replay(&turns, *turn, screen)
            }
        }
    })
}

fn list(sessions: &[SessionView], screen: &Screen) -> Result<(), Failure> {
    if screen.json {
        return screen.write_json(&sessions);
    }
    if sessions.is_empty() {
        return screen.write("there are no conversations yet\n");
    }
    let row = |session: &SessionView| {
        let state = match (session.running, session.pending) {
            (true, 0) => "answering".to_owned(),
            (true, waiting) => format!("answering, {waiting} waiting"),
            (false, 0) => "idle".to_owned(),
            (false, waiting) => format!("{waiting} waiting"),
        };
        let model = session.model.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        vec![
            harmless(session.key.as_str()),
            session.messages.to_string(),
            session.turns.to_string(),
            session.cost.to_string(),
            model,
            local_time(session.last),
            state,
        ]
    };
    let rows: Vec<Vec<String>> = sessions.iter().map(row).collect();
    screen.write(&table(&["SESSION", "MESSAGES", "TURNS", "COST", "MODEL", "LAST", "STATE"], &rows))
}

fn show(messages: &[MessageView], screen: &Screen) -> Result<(), Failure> {
    if screen.json {
        return screen.write_json(&messages);
    }
    if messages.is_empty() {
        return screen.write("nothing has been said in this conversation yet\n");
    }
    let texts: Vec<String> = messages.iter().map(|message| said(message, screen)).collect();
    screen.write(&texts.join("\n"))
}

fn said(message: &MessageView, screen: &Screen) -> String {
    let results = message.parts.iter().all(|part| matches!(part.body, Body::ToolResult { .. }));
    let who = match message.role {
        Role::User if results => "tools",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let heading = screen.paint(Look::Bold, who);
    let place = screen.paint(Look::Dim, &format!("{}  turn {}", local_time(message.at), message.turn));
    let parts: String = message.parts.iter().map(|part| part_text(part, screen)).collect();
    format!("{heading}  {place}\n{parts}")
}

fn part_text(part: &Part, screen: &Screen) -> String {
    let dim = |text: String| format!("{}\n", screen.paint(Look::Dim, &text));
    match &part.body {
        Body::Text { text } => format!("{}\n", harmless(text.trim_end())),
        Body::ToolCall { name, input, .. } => dim(format!("· {name} {}", one_line(input, TOOL_CHARS))),
        Body::ToolResult { content, error, .. } => {
            let word = if *error { "error" } else { "result" };
            dim(format!("· {word}: {}", one_line(content, TOOL_CHARS)))
        }
        Body::Image { media_type, bytes: size, .. } => dim(format!("· ({media_type}, {})", bytes(*size))),
        Body::Document { title, media_type, bytes: size, .. } => {
            dim(format!("· (“{}”, {media_type}, {})", one_line(title, TOOL_CHARS), bytes(*size)))
        }
        Body::Opaque { kind } => dim(format!("· ({})", one_line(kind, TOOL_CHARS))),
    }
}

fn replay(turns: &[TurnView], only: Option<i64>, screen: &Screen) -> Result<(), Failure> {
    if screen.json {
        return screen.write_json(&turns);
    }
    match (turns.is_empty(), only) {
        (false, _) => {
            let texts: Vec<String> = turns.iter().map(|turn| happened(turn, screen)).collect();
            screen.write(&texts.join("\n"))
        }
        (true, None) => screen.write("there are no turns in this conversation yet\n"),
        (true, Some(turn)) => Err(Failure {
            hint: Some("without --turn all turns are shown".to_owned()),
            ..Failure::new(format!("no turn {turn} in this conversation"), Failure::GENERAL)
        }),
    }
}

/// A turn's journal, one line a step.
fn happened(turn: &TurnView, screen: &Screen) -> String {
    let heading = screen.paint(Look::Bold, &format!("turn {}", turn.turn));
    let mut text = format!("{heading}  answers message {}: {}, cost {}\n", turn.inbox, turn.outcome, turn.cost);
    let mut names = BTreeMap::new();
    for (number, at, boot, input) in &turn.steps {
        let place = screen.paint(Look::Dim, &format!("{number:>4}  {}  start {boot}", time_of_day(*at)));
        text += &format!("{place}  {}\n", in_words(input, &mut names));
    }
    text
}

/// An input of the turn's state machine as a person would say it. `names` remembers the tools behind calls.
fn in_words(input: &Input, names: &mut BTreeMap<CallId, ToolName>) -> String {
    match input {
        Input::Admitted { rounds_max, fallback, deadline } => {
            let other = if *fallback { "another model may help out" } else { "no other model" };
            format!("began: at most {rounds_max} rounds of tools, {other}, until {}", local_time(*deadline))
        }
        Input::CallDone { stop, calls, text, content, cut } => {
            names.extend(calls.iter().map(|call| (call.id.clone(), call.name.clone())));
            let what = match (text, content) {
                (true, _) => "wrote text",
                (false, true) => "wrote no text",
                (false, false) => "sent nothing",
            };
            let cut = if *cut { ", the last tool call is cut off" } else { "" };
            let asks = if calls.is_empty() { String::new() } else { format!("; asks for {}", list_calls(calls)) };
            format!("the model {what} and stopped ({}){cut}{asks}", word(stop))
        }
        Input::CallFailed { failure, retry_after_ms, shown, jitter: _ } => {
            let wish = retry_after_ms.map_or_else(String::new, |wish| format!(", asked to wait {wish} ms"));
            let shown = if *shown { ", text had been shown" } else { "" };
            format!("a call failed: {}{wish}{shown}", word(failure))
        }
        Input::ToolDone { call } => match names.get(call) {
            Some(name) => format!("{name} was done"),
            None => format!("tool call {} was done", one_line(call.as_str(), TOOL_CHARS)),
        },
        Input::Decided { call, verdict } => {
            let answer = match verdict {
                Verdict::Allow => "yes",
                Verdict::Always => "always",
                Verdict::Deny => "no",
            };
            let name = names.get(call).map_or_else(|| one_line(call.as_str(), TOOL_CHARS), ToString::to_string);
            format!("an owner said {answer} to {name}")
        }
        Input::Void { call } => {
            let name = names.get(call).map_or_else(|| one_line(call.as_str(), TOOL_CHARS), ToString::to_string);
            format!("an owner answered, but {name} is not what was asked about")
        }
        Input::Fired { timer: Timer::Approval } => "no owner answered in time".to_owned(),
        Input::Fired { timer: Timer::Deadline } => "the time for this turn was over".to_owned(),
        Input::Fired { timer: Timer::Retry } => "the pause was over, next try".to_owned(),
        Input::Stop => "the person said stop".to_owned(),
        Input::Restarted { attempts } => {
            format!("Blufio started anew while the turn ran (attempts so far: {attempts})")
        }
        Input::Panicked => "a bug in Blufio ended the code that ran the turn; it was taken up again".to_owned(),
    }
}

fn list_calls(calls: &[CallFacts]) -> String {
    let call = |call: &CallFacts| match (&call.refused, call.ask) {
        (Some(why), _) => format!("{} (refused: {})", call.name, one_line(why, TOOL_CHARS)),
        (None, true) => format!("{} (needs an owner's yes)", call.name),
        (None, false) => call.name.to_string(),
    };
    calls.iter().map(call).collect::<Vec<_>>().join(", ")
}

/// The stored word of a plain enumeration.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word.replace('_', " "),
        Ok(other) => other.to_string(),
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blufio_core::message::StopReason;
    use blufio_core::port::{Failure as CallFailure, Replay};
    use blufio_core::time::Timestamp;

    #[test]
    fn a_journal_reads_as_a_story() {
        let mut names = BTreeMap::new();
        let mut check = |input: Input, expect: &str| assert_eq!(in_words(&input, &mut names), expect);
        let facts = |name: &str, refused: Option<&str>| CallFacts {
            id: CallId::new(format!("call_{name}")),
            name: ToolName::new(name),
            replay: Replay::Idempotent,
            fingerprint: 1,
            refused: refused.map(str::to_owned),
            ask: false,
            ask_from: None,
        };
        let failed = |retry_after_ms, shown| Input::CallFailed {
            failure: CallFailure::RateLimited,
            retry_after_ms,
            shown,
            jitter: 500,
        };
        check(failed(Some(2_000), false), "a call failed: rate limited, asked to wait 2000 ms");
        check(failed(None, true), "a call failed: rate limited, text had been shown");
        check(Input::Fired { timer: Timer::Retry }, "the pause was over, next try");
        let calls = vec![facts("now", None), facts("rm", Some("there is no such tool"))];
        check(
            Input::CallDone { stop: StopReason::ToolUse, calls, text: false, content: true, cut: false },
            "the model wrote no text and stopped (tool use); asks for now, rm (refused: there is no such tool)",
        );
        check(Input::ToolDone { call: CallId::new("call_now") }, "now was done");
        check(Input::Decided { call: CallId::new("call_now"), verdict: Verdict::Deny }, "an owner said no to now");
        let void = Input::Void { call: CallId::new("call_now") };
        check(void, "an owner answered, but now is not what was asked about");
        check(Input::ToolDone { call: CallId::new("other") }, "tool call other was done");
        check(Input::Restarted { attempts: 1 }, "Blufio started anew while the turn ran (attempts so far: 1)");
        let admitted = Input::Admitted { rounds_max: 25, fallback: true, deadline: Timestamp(0) };
        let words = in_words(&admitted, &mut names);
        assert!(
            words.starts_with("began: at most 25 rounds of tools, another model may help out, until 19"),
            "{words}"
        );
    }
}
