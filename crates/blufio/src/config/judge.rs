//! Relations between keys: what each value alone allows and all together do not, and what is probably not meant.
//!
//! Where a key was set is the loader's business.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::kind::Problem;
use super::raw::{Raw, RawMode, RawTelegram};
use super::resolved::{DmPolicy, Listen, RateMode};
use super::sources::real;

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

/// Judges the relations between keys. `guarded` are files that the agent must not reach.
pub fn judge(raw: &Raw, guarded: &[PathBuf]) -> Findings {
    let mut found = Findings::default();
    if raw.session.running_turns > raw.session.live_sessions {
        let message = format!("must not be more than `session.live_sessions` ({})", raw.session.live_sessions);
        found.errors.push(Finding {
            key: "session.running_turns",
            problem: Problem::new(message).hint("each running turn needs its session in memory"),
        });
    }
    judge_workspace(raw, guarded, &mut found.errors);
    let beside = |file: &PathBuf| contains(&raw.storage.data_dir, file) || contains(&raw.agents.main.workspace, file);
    if raw.security.root_key_file.as_ref().is_some_and(beside) {
        let problem = Problem::new("must not lie in the data directory or the workspace")
            .hint("a copy of what it locks would carry the key along");
        found.errors.push(Finding { key: "security.root_key_file", problem });
    }
    if raw.telegram.rate.mode == RateMode::Off && !raw.telegram.api_root.is_loopback() {
        let problem = Problem::new("may be `off` only with a loopback `telegram.api_root`")
            .hint("remove the line; Telegram blocks bots that send too fast");
        found.errors.push(Finding { key: "telegram.rate.mode", problem });
    }
    if raw.telegram.media_max_mb > raw.storage.attachments_max_mb {
        let message = format!("must be at least `telegram.media_max_mb` ({})", raw.telegram.media_max_mb);
        let problem = Problem::new(message).hint("otherwise there is a file that can arrive and not be kept");
        found.errors.push(Finding { key: "storage.attachments_max_mb", problem });
    }
    if raw.telegram.mode == RawMode::Webhook {
        judge_webhook(raw, &mut found.errors);
    }
    judge_people(&raw.telegram, &mut found.warnings);
    found
}

/// The agent's tools may change everything below the workspace.
fn judge_workspace(raw: &Raw, guarded: &[PathBuf], errors: &mut Vec<Finding>) {
    let workspace = &raw.agents.main.workspace;
    let mut refuse = |problem| errors.push(Finding { key: "agents.main.workspace", problem });
    if contains(workspace, &raw.storage.data_dir) {
        refuse(
            Problem::new("must not contain the data directory").hint("the agent's tools could change its own database"),
        );
    } else if let Some(file) = guarded.iter().find(|file| contains(workspace, file)) {
        refuse(
            Problem::new(format!("must not contain `{}`", file.display()))
                .hint("the agent's tools could change what guards it; name a folder that is there for the agent alone"),
        );
    }
}

/// Whether a path is a folder or lies below it, as both are written or as both really are.
fn contains(folder: &Path, path: &Path) -> bool {
    lexical(path).starts_with(lexical(folder)) || real(path).starts_with(real(folder))
}

fn judge_webhook(raw: &Raw, errors: &mut Vec<Finding>) {
    let mut refuse = |problem| errors.push(Finding { key: "telegram.mode", problem });
    if raw.telegram.webhook_url.is_none() {
        refuse(Problem::new("is `webhook`, but `telegram.webhook_url` is not set").hint(
            "set `telegram.webhook_url = \"https://your.host/telegram-webhook\"`, where Telegram reaches the gateway",
        ));
    }
    if raw.gateway.listen == Listen::Off {
        refuse(
            Problem::new("is `webhook`, but `gateway.listen` is `off`")
                .hint("set `gateway.listen = \"127.0.0.1:8420\"`: what Telegram sends comes in through the gateway"),
        );
    }
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
    let heard = !allowed.is_empty() || !telegram.group_allow_from.is_empty();
    let deaf = telegram.groups.iter().find(|(_, group)| {
        let named = |list: Option<&Vec<_>>| list.is_some_and(|list| !list.is_empty());
        let topic = group.topics.values().any(|topic| named(topic.allow_from.as_ref()));
        group.enabled && !heard && group.allow_from.is_empty() && !topic
    });
    if let Some((chat, _)) = deaf {
        let problem = Problem::new(format!("serves {}, but nobody may speak there", chat.0))
            .hint("list people in `telegram.group_allow_from`; owners and pairings do not count in groups");
        warn("telegram.groups", problem);
    }
}

/// An absolute path with `..` taken literally.
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
