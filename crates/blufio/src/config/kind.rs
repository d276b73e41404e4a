//! What a value may be: the types of configuration keys with their limits, and the check of one value.
//!
//! It does not know where a value came from; a [`Problem`] is turned into a message with a place by the loader.

use std::fmt;
use std::net::SocketAddr;

use toml::Value;

use super::diagnostic::excerpt_of_value;
use super::endpoint::Endpoint;
use super::keys::USERS_MAX;
use super::resolved::Listen;

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
        /// What is understood and refused, since this version cannot do it.
        later: &'static [&'static str],
    },
    /// A list of people.
    Users,
    /// An HTTP server.
    Endpoint,
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
    /// The element of a list that is meant.
    pub item: Option<usize>,
}

impl Problem {
    /// A problem of the whole value.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, item: None }
    }

    /// The same with advice.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
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
            Self::Text { .. }
            | Self::Model { .. }
            | Self::Path
            | Self::Choice { .. }
            | Self::Endpoint
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
            Self::Choice { values, .. } => alternatives(values),
            Self::Users => format!("at most {USERS_MAX}; `123456789` or `\"tg:123456789\"`"),
            Self::Endpoint => "`https://host[:port]` without a path; `http` only to loopback".to_owned(),
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
            (Self::Choice { values, later }, Value::String(text)) => choice(text, values, later),
            (Self::Users, Value::Array(items)) => users(items),
            (Self::Endpoint, Value::String(text)) => Endpoint::parse(text).map(drop),
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
                    .hint("list the people by numeric user id, or use `dm_policy = \"pairing\"`"));
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

fn choice(text: &str, values: &[&'static str], later: &[&'static str]) -> Result<(), Problem> {
    if values.contains(&text) {
        return Ok(());
    }
    if later.contains(&text) {
        let problem = Problem::new(format!("cannot be `{text}` yet: it comes with a later version"));
        return Err(problem.hint(format!("this version accepts {}", alternatives(values))));
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
        user_id(item).map_err(|problem| Problem { item: Some(index), ..problem })?;
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

fn found(value: &Value) -> &'static str {
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
