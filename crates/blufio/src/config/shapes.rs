//! Forms of text that some keys want: times of the day, time zones, emoji, regular expressions, names of tools, hosts
//! with ports, the address of the webhook.
//!
//! Only the form is judged: whether a zone, a tool or a host exists is not known here.

use blufio_core::money::MicroUsd;
use regex::RegexBuilder;
use toml::Value;

use super::diagnostic::{excerpt_of_value, printable};
use super::endpoint::Endpoint;
use super::kind::{Problem, Step, found};
use super::resolved::{Cap, Place, QuietHours, WebhookUrl};

/// Patterns that count as a mention. More: refused.
pub const PATTERNS_MAX: usize = 20;
/// Bytes of one pattern. Longer: refused.
pub const PATTERN_BYTES_MAX: usize = 256;
/// Bytes of one compiled pattern. More: refused.
pub const PATTERN_COMPILED_BYTES_MAX: usize = 1024 * 1024;
/// Tools whose calls are asked about. More: refused.
pub const TOOLS_MAX: usize = 64;
/// Bytes of the name of a tool, as in the Messages API. Longer: refused.
pub const TOOL_NAME_BYTES_MAX: usize = 64;
/// Bytes of the name of a time zone. Longer: refused.
pub const TIMEZONE_BYTES_MAX: usize = 64;
/// Places in private networks. More: refused.
pub const PLACES_MAX: usize = 64;
/// The gateway's route for updates of Telegram.
pub const WEBHOOK_PATH: &str = "/telegram-webhook";

/// What a bot may react with (Bot API, `ReactionTypeEmoji`), with spaces between.
pub const REACTIONS: &str = "❤ 👍 👎 🔥 🥰 👏 😁 🤔 🤯 😱 🤬 😢 🎉 🤩 🤮 💩 🙏 👌 🕊 🤡 🥱 🥴 😍 🐳 ❤\u{200d}🔥 \
    🌚 🌭 💯 🤣 ⚡ 🍌 🏆 💔 🤨 😐 🍓 🍾 💋 🖕 😈 😴 😭 🤓 👻 👨\u{200d}💻 👀 🎃 🙈 😇 😨 \
    🤝 ✍ 🤗 🫡 🎅 🎄 ☃ 💅 🤪 🗿 🆒 💘 🙉 🦄 😘 💊 🙊 😎 👾 🤷\u{200d}♂ 🤷 🤷\u{200d}♀ 😡";

impl QuietHours {
    /// Reads `HH:MM-HH:MM`, 24 hours a day.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let times = text.split_once('-').and_then(|(from, to)| Some((minute_of_day(from)?, minute_of_day(to)?)));
        let Some((from_minute, to_minute)) = times else {
            let shown = excerpt_of_value(text);
            return Err(Problem::new(format!("must be two times of the day, not `{shown}`"))
                .hint("write `22:00-07:00`, or nothing for no quiet hours"));
        };
        if from_minute == to_minute {
            return Err(
                Problem::new("must end at another time than it starts").hint("leave it empty for no quiet hours")
            );
        }
        Ok(Self { from_minute, to_minute })
    }
}

/// Ports that Telegram calls (Bot API, `setWebhook`).
const WEBHOOK_PORTS: [u16; 4] = [443, 80, 88, 8443];

impl TryFrom<String> for Place {
    type Error = Problem;

    fn try_from(text: String) -> Result<Self, Problem> {
        place(&text).map(Self)
    }
}

impl Cap {
    /// Reads an amount of dollars, or `off`.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        if text == "off" {
            return Ok(Self(None));
        }
        MicroUsd::parse_dollars(text).map(|amount| Self(Some(amount))).map_err(|_| {
            Problem::new(format!("must be an amount of US dollars or `off`, not `{}`", excerpt_of_value(text)))
                .hint("write `\"2.50\"`, without a currency")
        })
    }
}

impl TryFrom<String> for Cap {
    type Error = Problem;

    fn try_from(text: String) -> Result<Self, Problem> {
        Self::parse(&text)
    }
}

impl WebhookUrl {
    /// Reads `https://host[:port]/telegram-webhook`.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let example = "write `https://your.host/telegram-webhook`";
        // One slash at the end of an origin would be dropped, and the path is not what the operator wrote.
        let origin = text.strip_suffix(WEBHOOK_PATH).filter(|origin| !origin.ends_with('/'));
        let Some(origin) = origin else {
            let problem = Problem::new(format!("must end in `{WEBHOOK_PATH}`, right after host and port"));
            return Err(problem.hint(example));
        };
        let origin = Endpoint::parse(origin).map_err(|problem| problem.hint(example))?;
        let Some(authority) = origin.as_str().strip_prefix("https://") else {
            return Err(Problem::new("must start with `https://`").hint(example));
        };
        let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).unwrap_or(443);
        if !WEBHOOK_PORTS.contains(&port) {
            let problem = Problem::new(format!("has the port {port}, which Telegram does not call"));
            return Err(problem.hint("use 443, 80, 88 or 8443, for example with a reverse proxy in front"));
        }
        Ok(Self { url: format!("{}{WEBHOOK_PATH}", origin.as_str()) })
    }
}

/// An emoji as the Bot API spells it. Keyboards add a sign that asks for the coloured form; it does not count.
pub fn reaction(text: &str) -> Result<&'static str, Problem> {
    let plain: String = text.chars().filter(|character| *character != '\u{fe0f}').collect();
    REACTIONS.split(' ').find(|emoji| *emoji == plain).ok_or_else(|| {
        let shown = excerpt_of_value(text);
        Problem::new(format!("must be one emoji that bots may react with, not `{shown}`"))
            .hint("write `👀` or `👍`, or nothing for no reaction; the reference page has the list")
    })
}

/// The name of a time zone, by its form.
pub fn timezone(text: &str) -> Result<(), Problem> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'-' | b'/');
    if (1..=TIMEZONE_BYTES_MAX).contains(&text.len()) && text.bytes().all(fits) {
        return Ok(());
    }
    let shown = excerpt_of_value(text);
    Err(Problem::new(format!("must be the name of a time zone, not `{shown}`"))
        .hint("write a name such as `Europe/Berlin`"))
}

/// The form of a time zone in words.
pub fn timezone_limits() -> String {
    format!("an IANA name such as `Europe/Berlin`, at most {TIMEZONE_BYTES_MAX} of `A-Z a-z 0-9 _ + - /`")
}

/// Regular expressions, each compiled once to see that it can be.
pub fn patterns(items: &[Value]) -> Result<(), Problem> {
    strings(items, PATTERNS_MAX, pattern)
}

/// The limits of regular expressions in words.
pub fn patterns_limits() -> String {
    format!(
        "at most {PATTERNS_MAX} regular expressions of at most {PATTERN_BYTES_MAX} bytes, in the syntax of the Rust crate `regex`"
    )
}

/// Names of tools.
pub fn tool_names(items: &[Value]) -> Result<(), Problem> {
    strings(items, TOOLS_MAX, |name| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if (1..=TOOL_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits) {
            return Ok(());
        }
        let shown = excerpt_of_value(name);
        Err(Problem::new(format!("cannot hold `{shown}`, which is not the name of a tool")).hint(format!(
            "a name has 1 to {TOOL_NAME_BYTES_MAX} of `A-Z a-z 0-9 _ -`; all tools cannot be named at once"
        )))
    })
}

/// Hosts with ports.
pub fn places(items: &[Value]) -> Result<(), Problem> {
    strings(items, PLACES_MAX, |text| place(text).map(drop))
}

/// A host with a port, in lower case.
pub fn place(text: &str) -> Result<String, Problem> {
    let example = "write it as `nas.example:8443`, `192.168.1.5:80` or `[fd00::5]:80`";
    let port = text.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    // An origin would take a slash at its end, and an IPv6 address without a port ends in a colon and digits.
    if !port || text.ends_with('/') || text.ends_with(']') {
        let shown = excerpt_of_value(text);
        return Err(Problem::new(format!("cannot hold `{shown}`, which is not a host with a port")).hint(example));
    }
    let origin = Endpoint::parse(&format!("https://{text}")).map_err(|problem| problem.hint(example))?;
    Ok(origin.as_str().strip_prefix("https://").unwrap_or_default().to_owned())
}

/// The limits of hosts with ports in words.
pub fn places_limits() -> String {
    format!("at most {PLACES_MAX}; `host:port`, without `*`")
}

/// The limits of names of tools in words.
pub fn tool_names_limits() -> String {
    format!("at most {TOOLS_MAX} names of 1 to {TOOL_NAME_BYTES_MAX} of `A-Z a-z 0-9 _ -`")
}

fn pattern(text: &str) -> Result<(), Problem> {
    if text.len() > PATTERN_BYTES_MAX {
        return Err(Problem::new(format!("holds a pattern of {} bytes; {PATTERN_BYTES_MAX} is the most", text.len())));
    }
    let regex = match RegexBuilder::new(text).size_limit(PATTERN_COMPILED_BYTES_MAX).build() {
        Ok(regex) => regex,
        Err(error) => {
            return Err(Problem::new(format!("holds a pattern that cannot be used: {}", reason(&error)))
                .hint("in single quotes a backslash needs no second one, as in `'(?i)\\bname\\b'`"));
        }
    };
    if regex.is_match("") {
        return Err(Problem::new("holds a pattern that matches the empty text, so every message would be a mention")
            .hint("for that set `require_mention = false` in the group"));
    }
    Ok(())
}

/// What a message of the parser comes down to: it draws the pattern with a mark below, and says why at the end.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or("").trim();
    printable(last.strip_prefix("error: ").unwrap_or(last))
}

/// Checks a list of strings one by one.
fn strings(items: &[Value], max: usize, check: impl Fn(&str) -> Result<(), Problem>) -> Result<(), Problem> {
    if items.len() > max {
        return Err(Problem::new(format!("must have at most {max} entries, not {}", items.len())));
    }
    for (index, item) in items.iter().enumerate() {
        let checked = match item {
            Value::String(text) => check(text),
            other => {
                Err(Problem::new(format!("must hold strings only, not {}", found(other))).hint("put it in quotes"))
            }
        };
        checked.map_err(|problem| problem.under(Step::Item(index)))?;
    }
    Ok(())
}

/// `HH:MM`, as minutes after midnight.
fn minute_of_day(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, below: u16| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|number| digits && *number < below)
    };
    Some(number(hour, 24)? * 60 + number(minute, 60)?)
}
