//! The configuration that the program runs with. Whoever holds a [`Config`] has nothing left to check.
//!
//! Relations between keys are judged here; single values were judged by [`super::kind`].

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::endpoint::Endpoint;
use super::kind::{Problem, listen};
use super::raw::{Raw, RawTelegram};

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Database, control socket, locks; absolute. It may not exist yet.
    pub data_dir: PathBuf,
    /// The agent.
    pub agent: Agent,
    /// The model's server.
    pub anthropic: Anthropic,
    /// Limits of conversations.
    pub session: Session,
    /// The Telegram channel.
    pub telegram: Telegram,
    /// The HTTP gateway's address.
    pub gateway_listen: Listen,
    /// How long messages are kept; `None`: for ever.
    pub keep_messages_days: Option<u32>,
    /// Least important log lines.
    pub log_level: LogLevel,
    /// Form of the log.
    pub log_format: LogFormat,
}

/// `[agents.main]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Absolute; does not contain the data directory. It may not exist yet.
    pub workspace: PathBuf,
    /// At most 16 KiB.
    pub instructions: String,
    /// Not empty.
    pub model: String,
    /// Not empty if there is one.
    pub fallback_model: Option<String>,
    /// 1 to 128,000.
    pub max_tokens: u32,
    /// How much work the model puts into an answer.
    pub effort: Effort,
}

/// `[anthropic]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anthropic {
    /// Where the Messages API is.
    pub base_url: Endpoint,
    /// The operator's model data; absolute. Whether it exists is not known here.
    pub models_file: Option<PathBuf>,
}

/// `[session]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Longest turn; at most two hours.
    pub turn_deadline: Duration,
    /// Rounds of tool calls; 1 to 100.
    pub tool_rounds: u8,
    /// Idle time after which a session leaves memory; at most a day.
    pub idle_evict: Duration,
    /// 1 to 64, at most `live_sessions`.
    pub running_turns: usize,
    /// 1 to 1,024.
    pub live_sessions: usize,
    /// Per session; 1 to 200.
    pub pending_messages: u32,
}

/// `[telegram]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telegram {
    enabled: Option<bool>,
    /// Where the Bot API is.
    pub api_root: Endpoint,
    /// Who may write privately.
    pub dm_policy: DmPolicy,
    /// Numeric user ids, all positive.
    pub allow_from: BTreeSet<i64>,
    /// Numeric user ids; a single entry of `allow_from` is the owner if nobody is named.
    pub owners: BTreeSet<i64>,
    /// How an answer is shown while it is written.
    pub streaming: Streaming,
    /// Whether links get previews.
    pub link_preview: bool,
    /// 500 to 4,096 UTF-16 units.
    pub text_chunk: usize,
    /// Rates of sending; `None`: not limited here, only with a loopback `api_root`.
    pub rate: Option<Rate>,
}

impl Telegram {
    /// Whether the channel is started, given whether there is a bot token.
    pub fn is_enabled(&self, has_token: bool) -> bool {
        self.enabled.unwrap_or(has_token)
    }
}

/// `[telegram.rate]`, all at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Messages to all chats together, per second.
    pub global_per_s: u32,
    /// Messages to one private chat, per second.
    pub private_per_s: u32,
    /// Messages to one private chat at once.
    pub private_burst: u32,
}

/// An address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(try_from = "String")]
pub enum Listen {
    /// Nothing listens.
    Off,
    /// A loopback address; port 0 takes a free one.
    At(SocketAddr),
}

impl TryFrom<String> for Listen {
    type Error = Problem;

    fn try_from(text: String) -> Result<Self, Problem> {
        listen(&text)
    }
}

/// How much work the model puts into an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// Least.
    Low,
    /// The default.
    Medium,
    /// More.
    High,
    /// Much more.
    Xhigh,
    /// As much as the model can.
    Max,
}

/// What happens to a message that arrives during a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum Queue {
    /// It gets a turn of its own, first in, first out.
    Followup,
}

/// Private messages of people who are not listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum DmPolicy {
    /// They get a code to be approved.
    Pairing,
    /// They are refused.
    Allowlist,
    /// Nobody may write privately, listed or not.
    Disabled,
}

/// How an answer is shown while it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum Streaming {
    /// Not at all.
    Off,
    /// Drafts in private chats, edits elsewhere.
    Auto,
    /// Edits of one message.
    Edit,
}

/// Whether sending is slowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum RateMode {
    /// To the configured rates.
    On,
    /// Not by us; a wait that the server asks for is obeyed.
    Off,
}

/// Least important log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What failed.
    Error,
    /// What is odd.
    Warn,
    /// What happened.
    Info,
    /// Why it happened.
    Debug,
    /// Everything.
    Trace,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// A finding about a key in relation to others; the loader adds where it was set.
#[derive(Debug)]
pub struct Finding {
    /// The path of the key.
    pub key: &'static str,
    /// What is wrong, as a predicate of the key.
    pub problem: Problem,
}

/// Errors and warnings about keys in relation to each other.
#[derive(Debug, Default)]
pub struct Findings {
    /// These stop the program.
    pub errors: Vec<Finding>,
    /// These do not.
    pub warnings: Vec<Finding>,
}

/// Judges the relations between keys.
pub fn judge(raw: &Raw) -> Findings {
    let mut found = Findings::default();
    if raw.session.running_turns > raw.session.live_sessions {
        let message = format!("must not be more than `session.live_sessions` ({})", raw.session.live_sessions);
        found.errors.push(Finding {
            key: "session.running_turns",
            problem: Problem::new(message).hint("each running turn needs its session in memory"),
        });
    }
    if lexical(&raw.storage.data_dir).starts_with(lexical(&raw.agents.main.workspace)) {
        let problem =
            Problem::new("must not contain the data directory").hint("the agent's tools could change its own database");
        found.errors.push(Finding { key: "agents.main.workspace", problem });
    }
    if raw.telegram.rate.mode == RateMode::Off && !raw.telegram.api_root.is_loopback() {
        let problem = Problem::new("may be `off` only with a loopback `telegram.api_root`")
            .hint("remove the line; Telegram blocks bots that send too fast");
        found.errors.push(Finding { key: "telegram.rate.mode", problem });
    }
    judge_people(&raw.telegram, &mut found.warnings);
    found
}

fn judge_people(telegram: &RawTelegram, warnings: &mut Vec<Finding>) {
    let mut warn = |key, problem| warnings.push(Finding { key, problem });
    let allowed: BTreeSet<i64> = telegram.allow_from.iter().map(|user| user.0).collect();
    if telegram.owners.is_empty() && allowed.len() > 1 {
        let problem = Problem::new("lists several people, but nobody is an owner")
            .hint("set `telegram.owners`; until then notices go to the log only");
        warn("telegram.allow_from", problem);
    }
    if telegram.dm_policy == DmPolicy::Allowlist && allowed.is_empty() && telegram.owners.is_empty() {
        let problem = Problem::new("is `allowlist`, but `telegram.allow_from` and `telegram.owners` are empty")
            .hint("until somebody is listed, only people who were paired before may speak");
        warn("telegram.dm_policy", problem);
    }
}

/// Turns a raw configuration without errors into the one the program runs with.
pub fn resolve(raw: Raw) -> Config {
    let agent = raw.agents.main;
    let session = raw.session;
    // The one way there is, so nobody has to ask; a second one will not compile before it goes somewhere.
    let Queue::Followup = session.queue;
    Config {
        data_dir: raw.storage.data_dir,
        agent: Agent {
            workspace: agent.workspace,
            instructions: agent.instructions,
            model: agent.model,
            fallback_model: Some(agent.fallback_model).filter(|model| !model.is_empty()),
            max_tokens: agent.max_tokens,
            effort: agent.effort,
        },
        anthropic: Anthropic { base_url: raw.anthropic.base_url, models_file: raw.anthropic.models_file },
        session: Session {
            turn_deadline: Duration::from_secs(session.turn_deadline_s),
            tool_rounds: session.tool_rounds,
            idle_evict: Duration::from_secs(session.idle_evict_s),
            running_turns: session.running_turns,
            live_sessions: session.live_sessions,
            pending_messages: session.pending_messages,
        },
        telegram: resolve_telegram(raw.telegram),
        gateway_listen: raw.gateway.listen,
        keep_messages_days: Some(raw.retention.messages_days).filter(|days| *days > 0),
        log_level: raw.log.level,
        log_format: raw.log.format,
    }
}

fn resolve_telegram(raw: RawTelegram) -> Telegram {
    let RawTelegram { rate, .. } = raw;
    Telegram {
        enabled: raw.enabled,
        api_root: raw.api_root,
        dm_policy: raw.dm_policy,
        allow_from: raw.allow_from.into_iter().map(|user| user.0).collect(),
        owners: raw.owners.into_iter().map(|user| user.0).collect(),
        streaming: raw.streaming,
        link_preview: raw.link_preview,
        text_chunk: raw.text_chunk,
        rate: match rate.mode {
            RateMode::On => Some(Rate {
                global_per_s: rate.global_per_s,
                private_per_s: rate.private_per_s,
                private_burst: rate.private_burst,
            }),
            RateMode::Off => None,
        },
    }
}

/// An absolute path with `..` taken literally. Enough to catch a mistake; the tools open files beneath a directory handle.
fn lexical(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                clean.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::Normal(_) => {
                clean.push(component)
            }
        }
    }
    clean
}
