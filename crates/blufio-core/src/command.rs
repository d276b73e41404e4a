//! Words that start with `/` and are for Blufio, not for the model.

use crate::ids::ModelId;

/// A command from a chat or the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Greets and explains.
    Start,
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
}

/// The commands as the channels' menus show them: name and description.
pub const MENU: [(&str, &str); 6] = [
    ("help", "what I understand"),
    ("status", "how things are"),
    ("new", "start a new conversation"),
    ("stop", "stop what is running"),
    ("model", "show or choose the model"),
    ("start", "say hello"),
];

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
        "start" => Some(Command::Start),
        "help" => Some(Command::Help),
        "stop" => Some(Command::Stop),
        "status" => Some(Command::Status),
        "new" | "reset" => Some(Command::New),
        "model" => Some(Command::Model(argument.map(ModelId::new))),
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
        for text in ["stop", "/", "/stopwatch", "see /stop", "", "/etc/passwd"] {
            assert_eq!(parse(text, None), None, "{text}");
        }
        for (name, _) in MENU {
            assert!(parse(&format!("/{name}"), None).is_some(), "{name}");
        }
    }
}
