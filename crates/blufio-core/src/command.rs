//! Words that start with `/` and are for Blufio, not for the model.

use crate::approval::{Verdict, is_id};
use crate::ids::{ApprovalId, ModelId};

/// A command from a chat or the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Greets and explains; with a code, asks to be let in by it.
    Start(Option<String>),
    /// Lists the commands.
    Help,
    /// Stops what runs and drops what waits, now.
    Stop,
    /// Says how things are.
    Status,
    /// Starts a new conversation.
    New,
    /// Shows the model, or chooses one for this conversation.
    Model(Option<ModelId>),
    /// This one message is for the newest model of this tier; what it says is [`said`].
    Only(&'static str),
    /// Shows how much work goes into answers here, or chooses it.
    Think(Option<String>),
    /// Answers the last message again.
    Retry,
    /// Shows the time zone, or chooses one for this conversation.
    Timezone(Option<String>),
    /// Says what waits.
    Queue,
    /// Says who is speaking, as far as Blufio knows.
    Whoami,
    /// Answers a question; `None` if it does not say which or how.
    Approve(Option<(ApprovalId, Verdict)>),
    /// Makes this conversation shorter for the model.
    Compact,
    /// Says what was spent, and how the budgets stand.
    Cost,
    /// Ends everything that runs, and lets nothing run.
    Kill,
    /// Lets things run again.
    Resume,
}

impl Command {
    /// It keeps its place in the order of messages; the others are answered at once.
    #[must_use]
    pub const fn waits(&self) -> bool {
        match self {
            Self::New
            | Self::Model(_)
            | Self::Only(_)
            | Self::Think(_)
            | Self::Retry
            | Self::Timezone(_)
            | Self::Compact => true,
            Self::Start(_)
            | Self::Help
            | Self::Stop
            | Self::Status
            | Self::Queue
            | Self::Whoami
            | Self::Approve(_)
            | Self::Cost
            | Self::Kill
            | Self::Resume => false,
        }
    }
}

/// The commands as the channels' menus show them, most useful first: name and description.
pub const MENU: [(&str, &str); 19] = [
    ("help", "what I understand"),
    ("stop", "stop what is running"),
    ("new", "start a new conversation"),
    ("status", "how things are"),
    ("retry", "answer my last message again"),
    ("queue", "what waits for its turn"),
    ("model", "show or choose the model"),
    ("haiku", "ask the small model, this once"),
    ("sonnet", "ask the middle model, this once"),
    ("opus", "ask the large model, this once"),
    ("think", "show or choose how much work goes into answers"),
    ("timezone", "show or choose the time zone"),
    ("compact", "shorten this conversation for the model"),
    ("cost", "what was spent, and how the budgets stand"),
    ("approve", "answer a question: its number, then ok or no"),
    ("kill", "stop everything, until /resume"),
    ("resume", "let things run again after /kill"),
    ("whoami", "who I think you are"),
    ("start", "say hello"),
];

/// How much work a model can be asked to put into an answer, from little to much.
pub const EFFORTS: [&str; 5] = ["low", "medium", "high", "xhigh", "max"];

/// What a message says to the model: all of it, without a command that only chooses who answers it.
#[must_use]
pub fn said(text: &str) -> &str {
    match parse(text, None) {
        Some(Command::Only(_)) => {
            let text = text.trim_start();
            text.split_once(char::is_whitespace).map_or("", |(_, said)| said.trim_start())
        }
        _ => text,
    }
}

/// Reads a command; `None` means ordinary text for the model. `username` is the bot's, for `/stop@name`.
#[must_use]
pub fn parse(text: &str, username: Option<&str>) -> Option<Command> {
    let mut words = text.split_whitespace();
    let first = words.next()?.strip_prefix('/')?;
    let (name, addressee) = first.split_once('@').map_or((first, None), |(name, to)| (name, Some(to)));
    if let Some(to) = addressee
        && !username.is_some_and(|own| own.eq_ignore_ascii_case(to))
    {
        return None;
    }
    let argument = words.next();
    match name.to_ascii_lowercase().as_str() {
        "start" => Some(Command::Start(argument.map(str::to_owned))),
        "help" => Some(Command::Help),
        "stop" => Some(Command::Stop),
        "status" => Some(Command::Status),
        "new" | "reset" => Some(Command::New),
        "model" => Some(Command::Model(argument.map(ModelId::new))),
        "haiku" => Some(Command::Only("haiku")),
        "sonnet" => Some(Command::Only("sonnet")),
        "opus" => Some(Command::Only("opus")),
        "think" => Some(Command::Think(argument.map(str::to_ascii_lowercase))),
        "retry" => Some(Command::Retry),
        "timezone" => Some(Command::Timezone(argument.map(str::to_owned))),
        "queue" => Some(Command::Queue),
        "whoami" => Some(Command::Whoami),
        "compact" => Some(Command::Compact),
        "cost" => Some(Command::Cost),
        "kill" => Some(Command::Kill),
        "resume" => Some(Command::Resume),
        "approve" => {
            let id = argument.map(str::to_ascii_uppercase).filter(|id| is_id(id)).map(ApprovalId::new);
            Some(Command::Approve(id.zip(words.next().and_then(|verb| Verdict::parse(&verb.to_ascii_lowercase())))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_recognised_and_text_is_not() {
        assert_eq!(parse("/stop", None), Some(Command::Stop));
        assert_eq!(parse(" /STOP now", None), Some(Command::Stop));
        assert_eq!(parse("/stop@MyBot", Some("mybot")), Some(Command::Stop));
        assert_eq!(parse("/stop@OtherBot", Some("mybot")), None);
        assert_eq!(parse("/model claude-opus-5-5", None), Some(Command::Model(Some(ModelId::new("claude-opus-5-5")))));
        assert_eq!(parse("/model", None), Some(Command::Model(None)));
        assert_eq!(parse("/start ABCD2345", None), Some(Command::Start(Some("ABCD2345".into()))));
        let id = ApprovalId::new("AAAAAAAAAAAAAAAAAAAA");
        assert_eq!(parse("/approve aaaaaaaaaaaaaaaaaaaa OK", None), Some(Command::Approve(Some((id, Verdict::Allow)))));
        assert_eq!(parse("/approve 7 ok", None), Some(Command::Approve(None)));
        assert_eq!(parse("/opus why?", None), Some(Command::Only("opus")));
        assert_eq!(parse("/think HIGH", None), Some(Command::Think(Some("high".into()))));
        let check = |text: &str, expect: &str| assert_eq!(said(text), expect, "{text}");
        check(" /opus why\nis it blue?", "why\nis it blue?");
        check("/haiku", "");
        check("/opusculum is a word", "/opusculum is a word");
        check("see /opus", "see /opus");
        check("/stop it", "/stop it");
        for text in ["stop", "/", "/stopwatch", "see /stop", "", "/etc/passwd"] {
            assert_eq!(parse(text, None), None, "{text}");
        }
        for (name, _) in MENU {
            assert!(parse(&format!("/{name}"), None).is_some(), "{name}");
        }
    }
}
