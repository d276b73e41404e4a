//! The configuration as the file spells it: sections and fields, nothing decided.
//!
//! It is read from the merged values of all sources, in which the table of keys has filled in its defaults; therefore
//! a field is optional here only if its absence has a meaning. No `flatten` and no `untagged`: both lose the reason of
//! an error.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

use super::endpoint::Endpoint;
use super::kind::user_id;
use super::resolved::{DmPolicy, Effort, Listen, LogFormat, LogLevel, Queue, RateMode, Streaming};

/// The whole file.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct Raw {
    pub storage: RawStorage,
    pub agents: RawAgents,
    pub anthropic: RawAnthropic,
    pub session: RawSession,
    pub telegram: RawTelegram,
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
    pub effort: Effort,
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

/// `[telegram]`
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct RawTelegram {
    pub enabled: Option<bool>,
    pub api_root: Endpoint,
    pub dm_policy: DmPolicy,
    pub allow_from: Vec<RawUser>,
    pub owners: Vec<RawUser>,
    pub streaming: Streaming,
    pub link_preview: bool,
    pub text_chunk: usize,
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
        user_id(&value).map(Self).map_err(serde::de::Error::custom)
    }
}
