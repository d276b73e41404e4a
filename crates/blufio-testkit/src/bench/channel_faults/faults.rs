//! Which call goes wrong next, and how.
//!
//! For every method, and for every chat where the method names one, one fault waits for its call at any time. Some calls
//! pass before it, so that everything gets through in the end. Only what the public server or the network can do is drawn: no
//! answer that claims an effect which there was not, and nothing that ends a chat or the account.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::random::Random;
use crate::botapi::{Action, FakeBotApi, Fault, LoggedRequest};

/// Larger than any answer that is read.
const HUGE_BYTES: usize = 11 * 1024 * 1024;
/// Least time between two faults of the poll: each costs a pause of a second or more, in which nobody is heard.
const POLL_EVERY: Duration = Duration::from_millis(2_000);

/// Methods that name a chat; each chat has its own faults.
const IN_CHATS: [&str; 8] = [
    "sendMessage",
    "sendMessageDraft",
    "editMessageText",
    "sendChatAction",
    "setMessageReaction",
    "sendPhoto",
    "sendDocument",
    "deleteMessage",
];
/// Methods that name none.
const ELSEWHERE: [&str; 5] = ["getUpdates", "answerCallbackQuery", "getFile", "file", "setMyCommands"];

/// Sends: what they put into a chat stays there.
const SENDS: [&str; 3] = ["sendMessage", "sendPhoto", "sendDocument"];

/// Orders faults.
pub(super) struct Saboteur {
    random: Random,
    chats: Vec<i64>,
    /// Faults after which the client waits for its time limit; each costs a chat many seconds.
    silent_left: u32,
    poll_at: Instant,
}

impl Saboteur {
    /// Faults for these chats. Of `count` faults a few in a hundred are silence.
    pub(super) fn new(random: Random, chats: Vec<i64>, count: u32) -> Self {
        Self { random, chats, silent_left: count / 50, poll_at: Instant::now() }
    }

    /// Sees to it that a fault waits for each kind of call.
    pub(super) fn arm(&mut self, telegram: &FakeBotApi) {
        let armed: BTreeSet<(String, Option<i64>)> = telegram.read(|state| {
            state.faults().iter().filter_map(|fault| Some((fault.method.clone()?, fault.chat))).collect()
        });
        let places = self.chats.iter().flat_map(|chat| IN_CHATS.map(|method| (method, Some(*chat))));
        let all: Vec<(&str, Option<i64>)> = places.chain(ELSEWHERE.map(|method| (method, None))).collect();
        for (method, chat) in all {
            if armed.contains(&(method.to_owned(), chat)) {
                continue;
            }
            if method == "getUpdates" {
                if self.poll_at > Instant::now() {
                    continue;
                }
                self.poll_at = Instant::now() + POLL_EVERY;
            }
            let fault = Fault { chat, ..Fault::once(method, self.draw(method)) };
            let passing = match method {
                _ if SENDS.contains(&method) => 1 + self.random.below(3),
                // There are so many of them that they would be most of all faults.
                "setMessageReaction" | "getFile" | "file" => 2 + self.random.below(4),
                _ => self.random.below(2),
            };
            telegram.fault(fault.after(u32::try_from(passing).unwrap_or(1)));
        }
    }

    /// A fault that this method can meet.
    fn draw(&mut self, method: &str) -> Action {
        // Which of the methods can be answered "yes" without an effect and without harm.
        let lie = match method {
            "getUpdates" => Some(json!([])),
            "sendChatAction" | "setMessageReaction" | "answerCallbackQuery" | "setMyCommands" => Some(json!(true)),
            "getFile" => Some(json!({"file_id": "x", "file_unique_id": "x"})),
            _ => None,
        };
        if method == "editMessageText" && self.random.below(4) == 0 {
            return refusal(400, "Bad Request: message can't be edited");
        }
        let silence_fits = !matches!(method, "getUpdates" | "sendPhoto" | "sendDocument" | "deleteMessage");
        loop {
            let action = match self.random.below(60) {
                0..=5 => Action::Delay(50 + self.random.below(700)),
                6..=12 => Action::DropBefore,
                13..=17 => Action::ApplyThenDrop,
                18..=21 => Action::ResetMid,
                22..=25 => Action::TruncatedJson,
                26..=30 => Action::HtmlBody502,
                31..=33 => refusal(500, "Internal Server Error"),
                34 => refusal(502, "Bad Gateway"),
                35 => refusal(503, "Service Unavailable"),
                36..=41 => Action::RateLimit { retry_after: Some(1) },
                42 => Action::RateLimit { retry_after: None },
                43 | 44 => Action::Redirect("http://127.0.0.1:9/".to_owned()),
                45 => Action::HugeBody(HUGE_BYTES),
                46 | 47 => Action::WrongContentType,
                48..=50 => Action::CloseKeepAlive,
                51 => Action::Drip(1),
                52 if silence_fits && self.silent_left > 0 => {
                    self.silent_left -= 1;
                    Action::NeverAnswer
                }
                53 if silence_fits && self.silent_left > 0 => {
                    self.silent_left -= 1;
                    Action::ApplyThenNeverAnswer
                }
                54 => match &lie {
                    Some(result) => Action::Result(result.clone()),
                    None => continue,
                },
                55.. => match special(method, self.random.below(4)) {
                    Some(action) => action,
                    None => continue,
                },
                _ => continue,
            };
            return action;
        }
    }
}

/// What only some methods are answered.
fn special(method: &str, choice: u64) -> Option<Action> {
    let text = match (method, choice) {
        ("sendMessage", 0..=2) | ("editMessageText", 0) => {
            "Bad Request: can't parse entities: Unsupported start tag \"x\" at byte offset 1"
        }
        ("sendMessage", _) => "Bad Request: message is too long",
        ("editMessageText", _) => "Bad Request: message can't be edited",
        ("sendPhoto", _) => "Bad Request: PHOTO_INVALID_DIMENSIONS",
        ("sendChatAction", _) => "Bad Request: not enough rights",
        ("setMessageReaction", _) => "Bad Request: REACTION_INVALID",
        ("deleteMessage", _) => "Bad Request: message can't be deleted for everyone",
        ("answerCallbackQuery", _) => {
            "Bad Request: query is too old and response timeout expired or query ID is invalid"
        }
        ("setMyCommands", _) => "Bad Request: BOT_COMMANDS_TOO_MUCH",
        ("getUpdates", _) => return Some(Action::Result(json!({"neither": "a list"}))),
        _ => return None,
    };
    Some(refusal(400, text))
}

fn refusal(status: u16, description: &str) -> Action {
    Action::Answer { status, description: description.to_owned(), parameters: Value::Null }
}

/// Faults that were met so far.
#[derive(Debug, Default)]
pub(super) struct Met {
    /// Requests that were looked at.
    read: usize,
    /// By kind.
    pub(super) kinds: BTreeMap<String, u64>,
    /// By method.
    pub(super) methods: BTreeMap<String, u64>,
    /// Sends of a text that had their effect and no answer.
    pub(super) lost_answers: u64,
    /// Sends of a file of which the client cannot know whether they had an effect.
    pub(super) doubtful_files: u64,
    /// Removals that did not happen, or that the client gave up.
    pub(super) not_removed: u64,
    /// Answers to presses that did not happen.
    pub(super) not_answered: u64,
}

impl Met {
    /// Reads on in the log of the fake.
    pub(super) fn read_on(&mut self, telegram: &FakeBotApi) {
        telegram.read(|state| {
            for request in state.requests().skip(self.read) {
                self.count(request);
            }
        });
    }

    fn count(&mut self, request: &LoggedRequest) {
        self.read += 1;
        let Some(fault) = request.fault.as_deref() else { return };
        let kind = fault.split(|symbol: char| !symbol.is_ascii_alphanumeric()).next().unwrap_or_default();
        *self.kinds.entry(kind.to_owned()).or_default() += 1;
        *self.methods.entry(request.method.clone()).or_default() += 1;
        let unanswered =
            matches!(kind, "ApplyThenDrop" | "ApplyThenNeverAnswer" | "ResetMid" | "TruncatedJson" | "HugeBody");
        let without_effect = !unanswered && !matches!(kind, "Delay" | "Drip" | "WrongContentType" | "CloseKeepAlive");
        match request.method.as_str() {
            "sendMessage" => self.lost_answers += u64::from(unanswered),
            "sendPhoto" | "sendDocument" => {
                self.doubtful_files += u64::from(unanswered || matches!(kind, "DropBefore" | "Redirect"));
            }
            "deleteMessage" => self.not_removed += u64::from(without_effect),
            "answerCallbackQuery" => self.not_answered += u64::from(without_effect),
            _ => {}
        }
    }

    /// All together.
    pub(super) fn total(&self) -> u64 {
        self.kinds.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::botapi::BotApiConfig;

    #[tokio::test]
    async fn every_kind_is_drawn_and_one_waits_for_every_call() {
        let telegram = FakeBotApi::start(BotApiConfig::default()).await.unwrap();
        let mut saboteur = Saboteur::new(Random::new(7), vec![5, -6], 2_000);
        let mut kinds = BTreeSet::new();
        for _ in 0..50 {
            saboteur.poll_at = Instant::now();
            saboteur.arm(&telegram);
            let faults = telegram.read(|state| state.faults().to_vec());
            assert_eq!(faults.len(), 2 * IN_CHATS.len() + ELSEWHERE.len());
            kinds.extend(faults.iter().map(|fault| {
                let text = format!("{:?}", fault.action);
                text.split(|symbol: char| !symbol.is_ascii_alphanumeric()).next().unwrap().to_owned()
            }));
            saboteur.arm(&telegram);
            assert_eq!(telegram.read(|state| state.faults().len()), faults.len(), "none waits twice");
            telegram.clear_faults();
        }
        assert_eq!(kinds.len(), 16, "{kinds:?}");
    }
}
