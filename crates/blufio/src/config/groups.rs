//! The check of `telegram.groups`: groups by chat id, in them topics by thread id, and the few fields of both.
//!
//! Who may speak is decided elsewhere; here is only what may be written.

use toml::{Table, Value};

use super::diagnostic::excerpt_of_value;
use super::keys::{USERS_MAX, closest};
use super::kind::{Kind, Problem, Step, found};

/// Groups that are served. More: refused.
pub const GROUPS_MAX: usize = 1_000;
/// Topics of one group with rules of their own. More: refused.
pub const TOPICS_MAX: usize = 1_000;
/// Messages to others that are kept for the next answer, at most.
pub const HISTORY_MAX: i64 = 500;
/// The same unless the group says otherwise.
pub const HISTORY_DEFAULT: u32 = 50;

/// The Bot API promises at most 52 significant bits for a chat id.
const CHAT_ID_MIN: i64 = -((1 << 52) - 1);
/// The field of a group that holds its topics.
const TOPICS: &str = "topics";

/// What groups and topics have in common.
const FIELDS: &[(&str, Kind)] = &[
    ("enabled", Kind::Boolean),
    ("require_mention", Kind::Boolean),
    ("allow_from", Kind::Users),
    ("history_limit", Kind::Integer { min: 0, max: HISTORY_MAX, unit: "messages" }),
];

/// Which table is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Group,
    Topic,
}

/// The limits in words.
pub fn limits() -> String {
    format!(
        "at most {GROUPS_MAX} groups by negative chat id, each with at most {TOPICS_MAX} `topics` by positive thread id"
    )
}

/// Text for the reference page: the fields, and an example.
pub fn reference() -> String {
    format!(
        "\
| Field | Accepted | Default | Meaning |
|---|---|---|---|
| `enabled` | `true`, `false` | `true` | `false`: refused as if it were not listed |
| `require_mention` | `true`, `false` | `true` | only what is said to the agent gets an answer: a mention, a reply, a command, or a match of `mention_patterns` |
| `allow_from` | at most {USERS_MAX} user ids | `[]` | who may speak; empty: `group_allow_from`, and if that is empty `allow_from` |
| `history_limit` | 0 to {HISTORY_MAX} messages | `{HISTORY_DEFAULT}` | how many messages to others are kept for the next answer |
| `topics` | a table by thread id | none | the same four fields for one topic; what is not set there is as in the group |

```toml
[telegram.groups.-1001234567890]
allow_from = [123456789]

[telegram.groups.-1001234567890.topics.7]
require_mention = false
```
"
    )
}

/// Checks all groups.
pub fn check(groups: &Table) -> Result<(), Problem> {
    at_most(groups, GROUPS_MAX, "groups")?;
    for (name, value) in groups {
        chat_id(name).map_err(|problem| problem.under(Step::Name(name.clone())))?;
        check_rules(value, Level::Group).map_err(|problem| problem.under(Step::Value(name.clone())))?;
    }
    Ok(())
}

/// The id of a group as it is written, negative.
pub fn chat_id(text: &str) -> Result<i64, Problem> {
    let shown = excerpt_of_value(text);
    let example = "write `[telegram.groups.-1001234567890]`, with the group's chat id";
    if text == "*" {
        return Err(Problem::new("cannot hold `*`: groups are served one by one").hint(example));
    }
    if text.starts_with('@') {
        return Err(Problem::new(format!("cannot hold `{shown}`: a name can change hands")).hint(example));
    }
    match canonical(text) {
        Some(id) if (CHAT_ID_MIN..0).contains(&id) => Ok(id),
        Some(id) if (1..=-CHAT_ID_MIN).contains(&id) => {
            Err(Problem::new(format!("cannot hold {id}: the ids of groups are negative"))
                .hint(format!("write `-{id}` if this is a group; people are listed in `allow_from`")))
        }
        Some(_) | None => Err(match FIELDS.iter().find(|(field, _)| *field == text) {
            Some(_) => Problem::new(format!("has `{shown}` outside of a group")).hint(example),
            None => Problem::new(format!("cannot hold `{shown}`, which is not the id of a group")).hint(example),
        }),
    }
}

/// The id of a topic as it is written, positive.
pub fn thread_id(text: &str) -> Result<i64, Problem> {
    canonical(text).filter(|id| *id > 0).ok_or_else(|| {
        let shown = excerpt_of_value(text);
        Problem::new(format!("cannot hold `{shown}`, which is not the id of a topic"))
            .hint("write a positive number, as in `topics.7`; 1 is the general topic")
    })
}

/// Checks one group or one topic.
fn check_rules(rules: &Value, level: Level) -> Result<(), Problem> {
    let Value::Table(fields) = rules else {
        return Err(Problem::new(format!("must be a section, not {}", found(rules)))
            .hint("write its fields, as in `{ enabled = true }`"));
    };
    for (name, value) in fields {
        let below = |problem: Problem| problem.under(Step::Value(name.clone()));
        if let Some((_, kind)) = FIELDS.iter().find(|(field, _)| field == name) {
            kind.check(value).map_err(below)?;
        } else if name == TOPICS && level == Level::Group {
            check_topics(value).map_err(below)?;
        } else {
            return Err(unknown(name, level).under(Step::Name(name.clone())));
        }
    }
    Ok(())
}

fn check_topics(topics: &Value) -> Result<(), Problem> {
    let Value::Table(topics) = topics else {
        return Err(Problem::new(format!("must be a table of topics, not {}", found(topics)))
            .hint("write `topics.7 = { require_mention = false }`, with the topic's thread id"));
    };
    at_most(topics, TOPICS_MAX, TOPICS)?;
    for (name, value) in topics {
        thread_id(name).map_err(|problem| problem.under(Step::Name(name.clone())))?;
        check_rules(value, Level::Topic).map_err(|problem| problem.under(Step::Value(name.clone())))?;
    }
    Ok(())
}

fn unknown(name: &str, level: Level) -> Problem {
    let mut known: Vec<&str> = FIELDS.iter().map(|(field, _)| *field).collect();
    if level == Level::Group {
        known.push(TOPICS);
    }
    let problem = Problem::new(format!("has an unknown key `{}`", excerpt_of_value(name)));
    problem.hint(match closest(name, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("known here: {}", known.join(", ")),
    })
}

fn at_most(table: &Table, max: usize, what: &str) -> Result<(), Problem> {
    if table.len() <= max {
        return Ok(());
    }
    Err(Problem::new(format!("must have at most {max} {what}, not {}", table.len())))
}

/// A number written in the one way in which it is printed, so that no id can stand twice.
fn canonical(text: &str) -> Option<i64> {
    text.parse::<i64>().ok().filter(|number| number.to_string() == text)
}
