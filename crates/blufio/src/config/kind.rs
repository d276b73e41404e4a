//! What a value may be: the types of configuration keys with their limits, and the check of one value. Forms of text are
//! in [`super::shapes`], the table of groups in [`super::groups`].
//!
//! It does not know where a value came from; a [`Problem`] is turned into a message with a place by the loader.

use std::fmt;
use std::net::SocketAddr;

use toml::Value;

use super::diagnostic::excerpt_of_value;
use super::endpoint::Endpoint;
use super::keys::USERS_MAX;
use super::resolved::{Cap, Listen, QuietHours, WebhookUrl};
use super::{groups, shapes};

/// Bytes of a model's name. Longer: refused.
const MODEL_BYTES_MAX: usize = 128;
/// The Bot API promises at most 52 significant bits for a user id.
const USER_ID_MAX: i64 = (1 << 52) - 1;
/// Senders that stand for no person: service notices, anonymous group admins, posts of channels.
const RESERVED_USERS: &[i64] = &[777_000, 136_817_688, 1_087_968_824];

/// The type of a key with its limits.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
        /// What is counted.
        unit: &'static str,
    },
    /// Free text.
    Text {
        /// Greatest length in bytes of UTF-8.
        bytes_max: usize,
    },
    /// The name of a model.
    Model {
        /// Whether it may be empty.
        optional: bool,
    },
    /// A path, made absolute by the loader.
    Path,
    /// One of a few words.
    Choice {
        /// What is accepted.
        values: &'static [&'static str],
    },
    /// A list of people.
    Users,
    /// The groups that are served, by chat id.
    Groups,
    /// A list of regular expressions.
    Patterns,
    /// A list of names of tools.
    ToolNames,
    /// A list of hosts with ports.
    Places,
    /// An HTTP server.
    Endpoint {
        /// Whether it may be empty.
        optional: bool,
    },
    /// Where Telegram sends updates to.
    WebhookUrl,
    /// An emoji that a bot may react with, or nothing.
    Reaction,
    /// The name of a time zone.
    Timezone,
    /// From one time of the day to another, or nothing.
    QuietHours,
    /// An amount of dollars, or `off`.
    Dollars,
    /// An address to listen on.
    Listen,
}

/// Why a value is refused. The message is a predicate that follows the name of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// As in `must be an integer, not a string`.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
    /// The way from the value to the part of it that is meant; empty: the whole value.
    pub at: Vec<Step>,
}

/// A step from a value to a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// This element of a list.
    Item(usize),
    /// The value of this key of a table.
    Value(String),
    /// This key of a table itself; always the last step.
    Name(String),
}

impl Problem {
    /// A problem of the whole value.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, at: Vec::new() }
    }

    /// The same with advice.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, seen from a value that holds this one.
    pub fn under(mut self, step: Step) -> Self {
        self.at.insert(0, step);
        self
    }

    /// The keys on the way to the part that is meant, each after a dot.
    pub fn subject(&self) -> String {
        let names = self.at.iter().filter_map(|step| match step {
            Step::Value(name) => Some(format!(".{name}")),
            Step::Item(_) | Step::Name(_) => None,
        });
        names.collect()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl Kind {
    /// The type in words, for messages and for the reference page.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Boolean => "a boolean",
            Self::Integer { .. } => "an integer",
            Self::Users => "a list of user ids",
            Self::Groups => "a table of groups",
            Self::Patterns | Self::ToolNames | Self::Places => "a list of strings",
            Self::Text { .. }
            | Self::Model { .. }
            | Self::Path
            | Self::Choice { .. }
            | Self::Endpoint { .. }
            | Self::WebhookUrl
            | Self::Reaction
            | Self::Timezone
            | Self::QuietHours
            | Self::Dollars
            | Self::Listen => "a string",
        }
    }

    /// Unit and limits in words.
    pub fn limits(&self) -> String {
        match self {
            Self::Boolean => "`true`, `false`".to_owned(),
            Self::Integer { min, max, unit } => format!("{min} to {max} {unit}"),
            Self::Text { bytes_max } => format!("at most {bytes_max} bytes"),
            Self::Model { .. } => format!("at most {MODEL_BYTES_MAX} bytes, printable ASCII without spaces"),
            Self::Path => "a path; `~/` is the home directory".to_owned(),
            Self::Choice { values } => alternatives(values),
            Self::Users => format!("at most {USERS_MAX}; `123456789` or `\"tg:123456789\"`"),
            Self::Groups => groups::limits(),
            Self::Patterns => shapes::patterns_limits(),
            Self::ToolNames => shapes::tool_names_limits(),
            Self::Places => shapes::places_limits(),
            Self::Endpoint { optional } => {
                let empty = if *optional { "; or empty" } else { "" };
                format!("`https://host[:port]` without a path; `http` only to loopback{empty}")
            }
            Self::WebhookUrl => format!("`https://host[:port]{}`", shapes::WEBHOOK_PATH),
            Self::Reaction => format!("one of {}; or empty", shapes::REACTIONS),
            Self::Timezone => shapes::timezone_limits(),
            Self::QuietHours => "`HH:MM-HH:MM`, 00:00 to 23:59, over midnight if need be; or empty".to_owned(),
            Self::Dollars => "US dollars with at most six decimals, as in `\"2.50\"`; or `off`".to_owned(),
            Self::Listen => "`ip:port` on loopback, or `off`".to_owned(),
        }
    }

    /// True if an environment value is taken as it is, unless it is a TOML string.
    pub fn is_textual(&self) -> bool {
        self.noun() == "a string"
    }

    /// Checks type and limits of a value.
    pub fn check(&self, value: &Value) -> Result<(), Problem> {
        match (self, value) {
            (Self::Boolean, Value::Boolean(_)) => Ok(()),
            (Self::Integer { min, max, unit }, Value::Integer(number)) => {
                if (*min..=*max).contains(number) {
                    return Ok(());
                }
                Err(Problem::new(format!("must be {min} to {max} {unit}, not {number}")))
            }
            (Self::Text { bytes_max }, Value::String(text)) => {
                if text.len() <= *bytes_max {
                    return Ok(());
                }
                Err(Problem::new(format!("must be at most {bytes_max} bytes long, not {}", text.len())))
            }
            (Self::Model { optional }, Value::String(text)) => model(text, *optional),
            (Self::Path, Value::String(text)) => path(text),
            (Self::Choice { values }, Value::String(text)) => choice(text, values),
            (Self::Users, Value::Array(items)) => users(items),
            (Self::Groups, Value::Table(table)) => groups::check(table),
            (Self::Patterns, Value::Array(items)) => shapes::patterns(items),
            (Self::ToolNames, Value::Array(items)) => shapes::tool_names(items),
            (Self::Places, Value::Array(items)) => shapes::places(items),
            (Self::Endpoint { optional: true } | Self::QuietHours | Self::Reaction, Value::String(text))
                if text.is_empty() =>
            {
                Ok(())
            }
            (Self::Endpoint { .. }, Value::String(text)) => Endpoint::parse(text).map(drop),
            (Self::WebhookUrl, Value::String(text)) => WebhookUrl::parse(text).map(drop),
            (Self::Reaction, Value::String(text)) => shapes::reaction(text).map(drop),
            (Self::Timezone, Value::String(text)) => shapes::timezone(text),
            (Self::QuietHours, Value::String(text)) => QuietHours::parse(text).map(drop),
            (Self::Dollars, Value::String(text)) => Cap::parse(text).map(drop),
            (Self::Listen, Value::String(text)) => listen(text).map(drop),
            (
                _,
                Value::String(_)
                | Value::Integer(_)
                | Value::Float(_)
                | Value::Boolean(_)
                | Value::Datetime(_)
                | Value::Array(_)
                | Value::Table(_),
            ) => {
                let problem = Problem::new(format!("must be {}, not {}", self.noun(), found(value)));
                Err(match (self, value) {
                    (Self::Users, Value::Integer(number)) => problem.hint(format!("write `[{number}]`")),
                    (Self::Patterns | Self::ToolNames | Self::Places, Value::String(_)) => {
                        problem.hint("put it in brackets, as in `['…']`")
                    }
                    (Self::Groups, _) => problem.hint("name each by its chat id, as in `{ -1001234567890 = {} }`"),
                    (Self::Boolean | Self::Integer { .. }, Value::String(_)) => problem.hint("write it without quotes"),
                    (_, Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_))
                        if self.is_textual() =>
                    {
                        problem.hint("put it in quotes")
                    }
                    (_, _) => problem,
                })
            }
        }
    }
}

/// The numeric id of a person.
pub fn user_id(value: &Value) -> Result<i64, Problem> {
    let number = match value {
        Value::Integer(number) => Some(*number),
        Value::String(text) => {
            let digits = text.strip_prefix("tg:").or_else(|| text.strip_prefix("telegram:")).unwrap_or(text);
            if text == "*" {
                return Err(Problem::new("cannot hold `*`: there is no mode that lets everybody in")
                    .hint("list the people by numeric user id; `dm_policy = \"pairing\"` lets others ask"));
            }
            if digits.starts_with('@') {
                let name = excerpt_of_value(text);
                return Err(Problem::new(format!("cannot hold `{name}`: a username can change hands"))
                    .hint("write the person's numeric user id"));
            }
            // `parse` would take a sign, which no written form of a user id has.
            digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
        }
        Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    };
    match number {
        Some(number) if RESERVED_USERS.contains(&number) => Err(Problem::new(format!(
            "cannot hold {number}: Telegram uses this id for messages that come from no person"
        ))),
        Some(number) if (1..=USER_ID_MAX).contains(&number) => Ok(number),
        Some(number) if number < 0 => {
            Err(Problem::new(format!("cannot hold {number}: negative ids are groups and channels"))
                .hint("write the numeric user id of a person"))
        }
        Some(_) | None => {
            Err(Problem::new("holds something that is not a user id").hint("write a number such as `123456789`"))
        }
    }
}

/// An address to listen on.
pub fn listen(text: &str) -> Result<Listen, Problem> {
    if text == "off" {
        return Ok(Listen::Off);
    }
    let shown = excerpt_of_value(text);
    let Ok(address) = text.parse::<SocketAddr>() else {
        return Err(Problem::new(format!("must be an IP address with a port, or `off`, not `{shown}`"))
            .hint("write `127.0.0.1:8420`; names such as `localhost` are not looked up"));
    };
    if !address.ip().is_loopback() {
        return Err(Problem::new(format!("must be a loopback address, not `{shown}`"))
            .hint("the gateway has no authentication yet; write `127.0.0.1:8420`"));
    }
    Ok(Listen::At(address))
}

fn model(text: &str, optional: bool) -> Result<(), Problem> {
    if text.is_empty() && !optional {
        return Err(Problem::new("must not be empty"));
    }
    if text.len() > MODEL_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Problem::new(format!("must be the name of a model, not `{}`", excerpt_of_value(text))));
    }
    Ok(())
}

fn path(text: &str) -> Result<(), Problem> {
    if text.is_empty() {
        return Err(Problem::new("must not be empty"));
    }
    if text.contains('\0') {
        return Err(Problem::new("must be a path, which has no zero bytes"));
    }
    if text.starts_with('~') && text != "~" && !text.starts_with("~/") {
        return Err(Problem::new("names the home directory of another user")
            .hint("only `~/` is understood; write the whole path"));
    }
    Ok(())
}

fn choice(text: &str, values: &[&'static str]) -> Result<(), Problem> {
    if values.contains(&text) {
        return Ok(());
    }
    let problem = Problem::new(format!("must be {}, not `{}`", alternatives(values), excerpt_of_value(text)));
    Err(match super::keys::closest(text, values.iter().copied()) {
        Some(value) => problem.hint(format!("did you mean `{value}`?")),
        None => problem,
    })
}

fn users(items: &[Value]) -> Result<(), Problem> {
    if items.len() > USERS_MAX {
        return Err(Problem::new(format!("must have at most {USERS_MAX} entries, not {}", items.len())));
    }
    for (index, item) in items.iter().enumerate() {
        user_id(item).map_err(|problem| problem.under(Step::Item(index)))?;
    }
    Ok(())
}

/// The words with commas and `or` between.
fn alternatives(values: &[&str]) -> String {
    let mut text = String::new();
    for (index, value) in values.iter().enumerate() {
        text += match index {
            0 => "",
            _ if index + 1 == values.len() => " or ",
            _ => ", ",
        };
        text += &format!("`{value}`");
    }
    text
}

/// The type of a value in words.
pub fn found(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a float",
        Value::Boolean(_) => "a boolean",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section",
    }
}
