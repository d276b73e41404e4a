//! The configuration that the program runs with. Whoever holds a [`Config`] has nothing left to check.
//!
//! Single values were judged by [`super::kind`], relations between keys by [`super::judge`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use blufio_core::budget::Caps;
use blufio_core::money::MicroUsd;
use serde::Deserialize;

use super::endpoint::Endpoint;
use super::kind::{Problem, listen};
use super::raw::{Raw, RawGroup, RawMode, RawTelegram, RawTopic, RawUser};

/// Bytes in what the keys call a megabyte.
const MIB: u64 = 1024 * 1024;

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Database, control socket, locks; absolute. It may not exist yet.
    pub data_dir: PathBuf,
    /// File with the root key, if one was named.
    pub root_key_file: Option<PathBuf>,
    /// What a start does without a key.
    pub unlock: Unlock,
    /// The agent.
    pub agent: Agent,
    /// The model's server.
    pub anthropic: Anthropic,
    /// What may be spent.
    pub budget: Caps,
    /// Limits of conversations.
    pub session: Session,
    /// Tools.
    pub tools: Tools,
    /// Who searches the web; `None`: nobody.
    pub search: Option<Endpoint>,
    /// What a search costs.
    pub search_price: MicroUsd,
    /// Places in private networks that may be reached; at most 64.
    pub allow_private: BTreeSet<Place>,
    /// Messages that nobody asked for.
    pub notices: Notices,
    /// The agent's own looks, if it looks.
    pub heartbeat: Option<Heartbeat>,
    /// What is remembered, and how.
    pub memory: Memory,
    /// The Telegram channel.
    pub telegram: Telegram,
    /// Who turns speech into text; `None`: nobody.
    pub transcription: Option<Transcription>,
    /// The HTTP gateway's address.
    pub gateway_listen: Listen,
    /// How long messages are kept; `None`: for ever.
    pub keep_messages_days: Option<u32>,
    /// Bytes of all stored files; 16 MiB to 50 GiB, at least `telegram.media_bytes_max`.
    pub attachments_bytes_max: u64,
    /// How long stored files are kept; 1 to 36,500.
    pub keep_attachments_days: u32,
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
    /// 8,000 to 900,000.
    pub context_tokens: u64,
    /// How much work the model puts into an answer.
    pub effort: Effort,
    pub routing: bool,
    /// An IANA name by its form; whether this machine knows it is not known here. `None`: the machine's zone.
    pub timezone: Option<String>,
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
    /// What happens to a message that arrives during a turn.
    pub queue: Queue,
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

/// `[tools]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    /// Tools whose calls wait for an owner's yes; at most 64. Whether they exist is not known here.
    pub ask: BTreeSet<String>,
    /// The agent may read pages of the web.
    pub web_fetch: bool,
    /// The agent may run programs.
    pub exec: Exec,
}

/// `[tools.exec]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exec {
    /// There is a tool for it.
    pub enabled: bool,
    /// Also where the kernel cannot confine them well.
    pub allow_weak: bool,
}

/// `host:port` in lower case; an IPv6 address stands in brackets. Whether it exists is not known here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(try_from = "String")]
pub struct Place(pub String);

/// What may be spent; `None`: any amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(try_from = "String")]
pub struct Cap(pub Option<MicroUsd>);

/// `[notices]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notices {
    /// When they wait; `None`: never.
    pub quiet_hours: Option<QuietHours>,
}

/// The agent's own looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// How often.
    pub every: Duration,
    /// In which hours; `None`: in all.
    pub active_hours: Option<QuietHours>,
    /// What its calls may cost per day; `None`: no cap of its own.
    pub day: Option<MicroUsd>,
}

/// What is remembered, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Whether meanings are compared.
    pub embedding: Embedding,
    /// How facts are learned from conversations that rest; `None`: not at all.
    pub learn: Option<Learn>,
}

/// How facts are learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learn {
    /// What it may cost per day; `None`: no cap of its own.
    pub day: Option<MicroUsd>,
}

/// Hours of every day, by the wall clock; over midnight if the end is before the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(try_from = "String")]
pub struct QuietHours {
    /// Minutes after midnight at which they begin; below 1,440.
    pub from_minute: u16,
    /// Minutes after midnight at which they end; below 1,440 and not the same.
    pub to_minute: u16,
}

impl TryFrom<String> for QuietHours {
    type Error = Problem;

    fn try_from(text: String) -> Result<Self, Problem> {
        Self::parse(&text)
    }
}

/// `[transcription]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcription {
    /// The server.
    pub url: Endpoint,
    /// Not empty.
    pub model: String,
    /// The language spoken; `None`: the server finds out. At most 16 bytes.
    pub language: Option<String>,
}

/// `[telegram]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telegram {
    enabled: Option<bool>,
    /// Where the Bot API is.
    pub api_root: Endpoint,
    /// How updates arrive.
    pub mode: Mode,
    /// Which addresses of the Bot API are used.
    pub ip_family: IpFamily,
    /// Who may write privately.
    pub dm_policy: DmPolicy,
    /// Numeric user ids, all positive.
    pub allow_from: BTreeSet<i64>,
    /// Numeric user ids; a single entry of `allow_from` is the owner if nobody is named.
    pub owners: BTreeSet<i64>,
    /// The groups that are served, by chat id, all negative; at most 1,000.
    pub groups: BTreeMap<i64, Group>,
    /// Who may speak in groups that name nobody; empty: whoever is in `allow_from`.
    pub group_allow_from: BTreeSet<i64>,
    /// Regular expressions that compile; at most 20.
    pub mention_patterns: Vec<String>,
    /// How an answer is shown while it is written.
    pub streaming: Streaming,
    /// Whether links get previews.
    pub link_preview: bool,
    /// 500 to 4,096 UTF-16 units.
    pub text_chunk: usize,
    /// Bytes of one file; 1 to 20 MiB.
    pub media_bytes_max: u64,
    /// Which errors are told in the chat.
    pub error_policy: ErrorPolicy,
    /// The emoji that says that a message was taken, as the Bot API spells it.
    pub reaction_ack: Option<String>,
    /// Rates of sending; `None`: not limited here, only with a loopback `api_root`.
    pub rate: Option<Rate>,
}

impl Telegram {
    /// Whether the channel is started, given whether there is a bot token.
    pub fn is_enabled(&self, has_token: bool) -> bool {
        self.enabled.unwrap_or(has_token)
    }
}

/// How updates arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// We ask for them.
    Polling,
    /// The server brings them to this address.
    Webhook(WebhookUrl),
}

/// An `https` address with the path `/telegram-webhook`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(try_from = "String")]
pub struct WebhookUrl {
    /// The whole address.
    pub url: String,
}

impl TryFrom<String> for WebhookUrl {
    type Error = Problem;

    fn try_from(text: String) -> Result<Self, Problem> {
        Self::parse(&text)
    }
}

/// A group that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// False: it is refused as if it were not listed, except for topics that say otherwise.
    pub enabled: bool,
    /// Only what is said to the agent gets an answer.
    pub require_mention: bool,
    /// Who may speak; empty: see [`Telegram::group_allow_from`].
    pub allow_from: BTreeSet<i64>,
    /// How many messages to others are kept for the next answer; at most 500.
    pub history_limit: u32,
    /// Topics with rules of their own, by thread id, all positive; at most 1,000.
    pub topics: BTreeMap<i64, Topic>,
}

/// A topic of a group; what is `None` is as in the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// See [`Group::enabled`].
    pub enabled: Option<bool>,
    /// See [`Group::require_mention`].
    pub require_mention: Option<bool>,
    /// See [`Group::allow_from`].
    pub allow_from: Option<BTreeSet<i64>>,
    /// See [`Group::history_limit`].
    pub history_limit: Option<u32>,
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
    /// Messages and edits in one group, per minute.
    pub group_per_min: u32,
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

/// What a start does if the root key is nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum Unlock {
    /// It ends.
    Never,
    /// It waits until a person brings the key to the control socket.
    Socket,
}

/// Whether a model for meanings is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum Embedding {
    /// If there is one.
    Auto,
    /// Never.
    Off,
}

/// What happens to a message that arrives during a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum Queue {
    /// It gets a turn of its own, first in, first out.
    Followup,
    /// What waits becomes one message.
    Collect,
    /// The running turn is cancelled, then it gets its own.
    Interrupt,
    /// It joins the running turn at the next results of tools, else as [`Queue::Followup`].
    Steer,
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

/// Which errors are told in the chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum ErrorPolicy {
    /// Each.
    Always,
    /// The same one at most once in ten minutes.
    Once,
    /// None; the log has them.
    Silent,
}

/// Which addresses are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum IpFamily {
    /// Whichever answers.
    Auto,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
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

/// Turns a raw configuration without errors into the one the program runs with.
pub fn resolve(raw: Raw) -> Config {
    let agent = raw.agents.main;
    let session = raw.session;
    let speech = raw.transcription;
    let exec = Exec { enabled: raw.tools.exec.enabled, allow_weak: raw.tools.exec.allow_weak };
    Config {
        data_dir: raw.storage.data_dir,
        root_key_file: raw.security.root_key_file,
        unlock: raw.security.unlock,
        agent: Agent {
            workspace: agent.workspace,
            instructions: agent.instructions,
            model: agent.model,
            fallback_model: Some(agent.fallback_model).filter(|model| !model.is_empty()),
            max_tokens: agent.max_tokens,
            context_tokens: agent.context_tokens,
            effort: agent.effort,
            routing: agent.routing,
            timezone: agent.timezone,
        },
        anthropic: Anthropic { base_url: raw.anthropic.base_url, models_file: raw.anthropic.models_file },
        budget: Caps {
            turn: raw.budget.turn_usd.0,
            session_day: raw.budget.session_day_usd.0,
            person_day: raw.budget.person_day_usd.0,
            agent_day: raw.budget.agent_day_usd.0,
            day: raw.budget.day_usd.0,
            month: raw.budget.month_usd.0,
        },
        session: Session {
            queue: session.queue,
            turn_deadline: Duration::from_secs(session.turn_deadline_s),
            tool_rounds: session.tool_rounds,
            idle_evict: Duration::from_secs(session.idle_evict_s),
            running_turns: session.running_turns,
            live_sessions: session.live_sessions,
            pending_messages: session.pending_messages,
        },
        tools: Tools { ask: raw.tools.ask, web_fetch: raw.tools.web_fetch, exec },
        search: raw.search.url,
        search_price: raw.search.query_usd.0.unwrap_or_default(),
        allow_private: raw.egress.allow_private,
        notices: Notices { quiet_hours: raw.notices.quiet_hours },
        heartbeat: raw.heartbeat.enabled.then(|| Heartbeat {
            every: Duration::from_secs(u64::from(raw.heartbeat.every_minutes) * 60),
            active_hours: raw.heartbeat.active_hours,
            day: raw.heartbeat.day_usd.0,
        }),
        memory: Memory {
            embedding: raw.memory.embedding,
            learn: raw.memory.learn.then_some(Learn { day: raw.memory.day_usd.0 }),
        },
        telegram: resolve_telegram(raw.telegram),
        transcription: speech.url.map(|url| Transcription {
            url,
            model: speech.model,
            language: Some(speech.language).filter(|language| !language.is_empty()),
        }),
        gateway_listen: raw.gateway.listen,
        keep_messages_days: Some(raw.retention.messages_days).filter(|days| *days > 0),
        attachments_bytes_max: raw.storage.attachments_max_mb * MIB,
        keep_attachments_days: raw.retention.attachments_days,
        log_level: raw.log.level,
        log_format: raw.log.format,
    }
}

fn resolve_telegram(raw: RawTelegram) -> Telegram {
    let RawTelegram { rate, .. } = raw;
    Telegram {
        enabled: raw.enabled,
        api_root: raw.api_root,
        mode: match (raw.mode, raw.webhook_url) {
            (RawMode::Webhook, Some(url)) => Mode::Webhook(url),
            // Webhook mode without an address was refused by the judge.
            (RawMode::Polling, _) | (RawMode::Webhook, None) => Mode::Polling,
        },
        ip_family: raw.ip_family,
        dm_policy: raw.dm_policy,
        allow_from: people(raw.allow_from),
        owners: people(raw.owners),
        groups: raw.groups.into_iter().map(|(chat, group)| (chat.0, resolve_group(group))).collect(),
        group_allow_from: people(raw.group_allow_from),
        mention_patterns: raw.mention_patterns,
        streaming: raw.streaming,
        link_preview: raw.link_preview,
        text_chunk: raw.text_chunk,
        media_bytes_max: raw.media_max_mb * MIB,
        error_policy: raw.error_policy,
        reaction_ack: raw.reaction_ack.map(|reaction| reaction.0.to_owned()),
        rate: match rate.mode {
            RateMode::On => Some(Rate {
                global_per_s: rate.global_per_s,
                private_per_s: rate.private_per_s,
                private_burst: rate.private_burst,
                group_per_min: rate.group_per_min,
            }),
            RateMode::Off => None,
        },
    }
}

fn resolve_group(raw: RawGroup) -> Group {
    Group {
        enabled: raw.enabled,
        require_mention: raw.require_mention,
        allow_from: people(raw.allow_from),
        history_limit: raw.history_limit,
        topics: raw.topics.into_iter().map(|(thread, topic)| (thread.0, resolve_topic(topic))).collect(),
    }
}

fn resolve_topic(raw: RawTopic) -> Topic {
    Topic {
        enabled: raw.enabled,
        require_mention: raw.require_mention,
        allow_from: raw.allow_from.map(people),
        history_limit: raw.history_limit,
    }
}

fn people(users: Vec<RawUser>) -> BTreeSet<i64> {
    users.into_iter().map(|user| user.0).collect()
}
