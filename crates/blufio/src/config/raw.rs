//! The configuration as the file spells it: sections and fields, nothing decided.
//!
//! It is read from the merged values of all sources, in which the table of keys has filled in its defaults; therefore
//! a field is optional here only if its absence has a meaning. No `flatten` and no `untagged`: both lose the reason of
//! an error.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::endpoint::Endpoint;
use super::groups::{HISTORY_DEFAULT, chat_id, thread_id};
use super::kind::{Problem, user_id};
use super::resolved::{
    Cap, DmPolicy, Effort, Embedding, ErrorPolicy, IpFamily, Listen, LogFormat, LogLevel, Place, Queue, QuietHours,
    RateMode, Streaming, Unlock, WebhookUrl,
};
use super::shapes::reaction;

/// The whole file.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct Raw {
    pub storage: RawStorage,
    pub security: RawSecurity,
    pub agents: RawAgents,
    pub anthropic: RawAnthropic,
    pub budget: RawBudget,
    pub session: RawSession,
    pub tools: RawTools,
    pub search: RawSearch,
    pub egress: RawEgress,
    pub notices: RawNotices,
    pub heartbeat: RawHeartbeat,
    pub memory: RawMemory,
    pub telegram: RawTelegram,
    pub transcription: RawTranscription,
    pub gateway: RawGateway,
    pub retention: RawRetention,
    pub log: RawLog,
}

/// `[storage]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawStorage {
    pub data_dir: PathBuf,
    pub attachments_max_mb: u64,
}

/// `[security]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawSecurity {
    pub root_key_file: Option<PathBuf>,
    pub unlock: Unlock,
}

/// `[agents]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawAgents {
    pub main: RawAgent,
}

/// `[agents.main]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawAgent {
    pub workspace: PathBuf,
    pub instructions: String,
    pub model: String,
    pub fallback_model: String,
    pub max_tokens: u32,
    pub context_tokens: u64,
    pub effort: Effort,
    pub routing: bool,
    pub timezone: Option<String>,
}

/// `[anthropic]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawAnthropic {
    pub base_url: Endpoint,
    pub models_file: Option<PathBuf>,
}

/// `[session]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawSession {
    pub queue: Queue,
    pub turn_deadline_s: u64,
    pub tool_rounds: u8,
    pub idle_evict_s: u64,
    pub running_turns: usize,
    pub live_sessions: usize,
    pub pending_messages: u32,
}

/// `[tools]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawTools {
    pub ask: BTreeSet<String>,
    pub web_fetch: bool,
    pub exec: RawExec,
}

/// `[tools.exec]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawExec {
    pub enabled: bool,
    pub allow_weak: bool,
}

/// `[budget]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawBudget {
    pub turn_usd: Cap,
    pub session_day_usd: Cap,
    pub person_day_usd: Cap,
    pub agent_day_usd: Cap,
    pub day_usd: Cap,
    pub month_usd: Cap,
}

/// `[search]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawSearch {
    #[serde(deserialize_with = "unless_empty")]
    pub url: Option<Endpoint>,
    pub query_usd: Cap,
}

/// `[memory]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawMemory {
    pub embedding: Embedding,
    pub learn: bool,
    pub day_usd: Cap,
}

/// `[egress]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawEgress {
    pub allow_private: BTreeSet<Place>,
}

/// `[notices]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawNotices {
    #[serde(deserialize_with = "unless_empty")]
    pub quiet_hours: Option<QuietHours>,
}

/// `[heartbeat]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawHeartbeat {
    pub enabled: bool,
    pub every_minutes: u32,
    #[serde(deserialize_with = "unless_empty")]
    pub active_hours: Option<QuietHours>,
    pub day_usd: Cap,
}

/// `[telegram]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawTelegram {
    pub enabled: Option<bool>,
    pub api_root: Endpoint,
    pub mode: RawMode,
    pub webhook_url: Option<WebhookUrl>,
    pub ip_family: IpFamily,
    pub dm_policy: DmPolicy,
    pub allow_from: Vec<RawUser>,
    pub owners: Vec<RawUser>,
    pub groups: BTreeMap<RawChat, RawGroup>,
    pub group_allow_from: Vec<RawUser>,
    pub mention_patterns: Vec<String>,
    pub streaming: Streaming,
    pub link_preview: bool,
    pub text_chunk: usize,
    pub media_max_mb: u64,
    pub error_policy: ErrorPolicy,
    #[serde(deserialize_with = "unless_empty")]
    pub reaction_ack: Option<RawReaction>,
    pub rate: RawRate,
}

/// `[telegram.rate]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawRate {
    pub mode: RateMode,
    pub global_per_s: u32,
    pub private_per_s: u32,
    pub private_burst: u32,
    pub group_per_min: u32,
}

/// `[telegram.groups.<chat_id>]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawGroup {
    #[serde(default = "yes")]
    pub enabled: bool,
    #[serde(default = "yes")]
    pub require_mention: bool,
    #[serde(default)]
    pub allow_from: Vec<RawUser>,
    #[serde(default = "history_default")]
    pub history_limit: u32,
    #[serde(default)]
    pub topics: BTreeMap<RawThread, RawTopic>,
}

/// `[telegram.groups.<chat_id>.topics.<thread_id>]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawTopic {
    pub enabled: Option<bool>,
    pub require_mention: Option<bool>,
    pub allow_from: Option<Vec<RawUser>>,
    pub history_limit: Option<u32>,
}

/// `[transcription]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawTranscription {
    #[serde(deserialize_with = "unless_empty")]
    pub url: Option<Endpoint>,
    pub model: String,
    pub language: String,
}

/// `[gateway]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawGateway {
    pub listen: Listen,
}

/// `[retention]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawRetention {
    pub messages_days: u32,
    pub attachments_days: u32,
}

/// `[log]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawLog {
    pub level: LogLevel,
    pub format: LogFormat,
}

/// A person in a list: a number, or a string with digits that may start with `tg:` or `telegram:`.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct RawUser(pub i64);

impl<'de> Deserialize<'de> for RawUser {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = toml::Value::deserialize(deserializer)?;
        user_id(&value).map(Self).map_err(Error::custom)
    }
}

/// How updates arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum RawMode {
    Polling,
    Webhook,
}

/// The id of a group, as the name of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(try_from = "String")]
pub struct RawChat(pub i64);

impl TryFrom<String> for RawChat {
    type Error = Problem;

    fn try_from(text: String) -> Result<Self, Problem> {
        chat_id(&text).map(Self)
    }
}

/// The id of a topic, as the name of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(try_from = "String")]
pub struct RawThread(pub i64);

impl TryFrom<String> for RawThread {
    type Error = Problem;

    fn try_from(text: String) -> Result<Self, Problem> {
        thread_id(&text).map(Self)
    }
}

/// An emoji as the Bot API spells it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(try_from = "String")]
pub struct RawReaction(pub &'static str);

impl TryFrom<String> for RawReaction {
    type Error = Problem;

    fn try_from(text: String) -> Result<Self, Problem> {
        reaction(&text).map(Self)
    }
}

/// A string that says nothing when it is empty.
fn unless_empty<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<String, Error = Problem>,
{
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Ok(None) } else { T::try_from(text).map(Some).map_err(Error::custom) }
}

fn yes() -> bool {
    true
}

fn history_default() -> u32 {
    HISTORY_DEFAULT
}
