//! The composition root: the only place that names concrete adapters.

use crate::config::resolved::{
    Config, DmPolicy, Effort, Embedding, ErrorPolicy, Group, IpFamily, Mode, Queue, Streaming, Topic,
};
use crate::failure::Failure;
use crate::secrets::webhook_secret;
use blufio_adapters::anthropic::{Anthropic, AnthropicOptions, Limits};
use blufio_adapters::egress::guard::Place;
use blufio_adapters::egress::web::WebLimits;
use blufio_adapters::egress::{self, Egress};
use blufio_adapters::embedding::{self, MiniLm, Weights};
pub use blufio_adapters::embedding::{EMBEDDED, FILE_BYTES, FILE_NAME, FILE_SHA256, sum};
use blufio_adapters::search::{SearchOptions, WebSearch};
use blufio_adapters::telegram::{self, Telegram, TelegramOptions, TelegramTimeouts};
use blufio_adapters::transcription::{Transcription, TranscriptionOptions};
use blufio_adapters::web::{WebOptions, WebPages};
use blufio_core::access::{AccessRules, DirectPolicy, GroupRules, TopicRules};
use blufio_core::catalogue::Catalogue;
use blufio_core::ids::{ChannelName, ModelId, ToolName};
use blufio_core::keys::KeyTree;
use blufio_core::port::{
    self, AnyChannel, AnyEmbedding, AnyProvider, AnyStorage, AnyTool, AnyTranscriber, Blobs, Clock, Rates, Rng,
    SecretStore, Webhook,
};
use blufio_core::record::Retention;
use blufio_core::time::Timestamp;
use blufio_runtime::clock::SystemClock;
use blufio_runtime::desk::Desk;
use blufio_runtime::heartbeat::Heartbeat;
use blufio_runtime::memory::Memory;
use blufio_runtime::scheduler::Bell;
use blufio_runtime::{Adapters, Learn, QueueMode, QuietHours, Settings, tools};
use blufio_store::{Executor, FileBlobs, OpenError, Options, Role, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const MODELS: &str = include_str!("../../../data/models/anthropic.toml");

/// A model's end is announced in the log this long before it.
const RETIRES_SOON: Duration = Duration::from_secs(30 * 24 * 3600);
/// Messages a group may get at once after a pause; the rate per minute is configured.
const GROUP_BURST: u32 = 5;
/// A price list older than this may be wrong.
const PRICES_OLD: Duration = Duration::from_secs(90 * 24 * 3600);

/// Which channels to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// All that are configured.
    Configured,
    /// None: the shell runs the engine on its own.
    None,
}

/// What a process runs with, besides the adapters' traits.
pub struct Wired {
    /// The adapters.
    pub adapters: Adapters,
    /// The engine's settings.
    pub settings: Settings,
    /// The way in for a server that calls, if one does.
    pub webhook: Option<Arc<dyn Webhook>>,
    /// Transactions committed so far, for the metrics.
    pub commits: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// The operating system's source of chance.
struct OsRng;

impl Rng for OsRng {
    fn bits(&self) -> u64 {
        getrandom::u64().unwrap_or_else(|error| {
            // Ids of questions, codes and the frames around foreign text would be guessable: rather nothing than that.
            tracing::error!(%error, "the system gives no random numbers; Blufio ends here");
            blufio_sandbox::end_process(Failure::INTERNAL)
        })
    }
}

/// Opens the database for reading only, beside a process that may be writing.
pub fn store_reader(config: &Config, keys: Option<&KeyTree>) -> Result<Arc<dyn AnyStorage>, Failure> {
    Ok(open(config, keys, Role::Reader, Arc::new(SystemClock::start()))?)
}

/// An open database.
pub struct Database {
    /// What is in it.
    pub storage: Arc<dyn AnyStorage>,
    /// Transactions committed so far.
    pub commits: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// Opens the database for the engine; the caller holds the lock.
pub fn database(config: &Config, keys: &KeyTree) -> Result<Database, Failure> {
    let store = open(config, Some(keys), Role::Owner, Arc::new(SystemClock::start()))?;
    let counter = store.clone();
    Ok(Database { storage: store, commits: Arc::new(move || counter.commits()) })
}

/// Opens the database for writing; the caller holds the lock.
pub fn store_owner(config: &Config, keys: &KeyTree) -> Result<Arc<dyn AnyStorage>, Failure> {
    Ok(open(config, Some(keys), Role::Owner, Arc::new(SystemClock::start()))?)
}

/// Puts everything together.
///
/// `credentials`: who gives out secrets that the agent may use. `spawner`: who runs programs, if anybody does.
pub fn wire(
    config: &Config,
    secrets: &dyn SecretStore,
    credentials: Arc<dyn port::Credentials>,
    database: Database,
    channels: Channels,
    spawner: Option<Arc<dyn port::Executor>>,
) -> Result<Wired, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let rng: Arc<dyn Rng> = Arc::new(OsRng);
    let catalogue = Arc::new(catalogue(config)?);
    for advice in advice(config, &catalogue, clock.now()) {
        tracing::warn!("{advice}");
    }
    let egress = way_out(config)?;
    let blobs = blobs(config)?;
    let provider = provider(config, secrets, &egress, &blobs)?;
    let mut ways_in = WaysIn::default();
    if channels == Channels::Configured {
        ways_in = channels_of(config, secrets, &egress, &blobs, (&clock, &rng))?;
    }
    let (workspace, send_bytes_max) = (&config.agent.workspace, config.telegram.media_bytes_max);
    let desk = Desk::open(workspace).map_err(|error| Failure {
        message: format!("the workspace folder {} cannot be used", config.agent.workspace.display()),
        cause: Some(error.to_string()),
        hint: Some("choose another with [agents.main] workspace".to_owned()),
        code: Failure::PERMISSION,
    })?;
    let mut tools = tools::builtin(&desk, clock.clone(), blobs.clone(), send_bytes_max);
    tools.extend(web_tools(config, (secrets, credentials), &egress, &clock)?);
    tools.extend(spawner.map(tools::exec));
    let transcriber = transcriber(config, secrets, &egress)?;
    let Database { storage: store, commits } = database;
    tools.push(tools::read_again(store.clone()));
    let bell = Bell::default();
    tools.extend(tools::schedule(store.clone(), clock.clone(), bell.clone()));
    let memory = Memory::new(store.clone(), embedding(config)?, clock.clone(), config.agent.timezone.as_deref());
    tools.extend(tools::memory(&memory));
    known_tools(&config.tools.ask, &tools)?;
    let (channels, webhook) = (ways_in.channels, ways_in.webhook);
    Ok(Wired {
        commits,
        settings: settings(config, catalogue),
        webhook,
        adapters: Adapters {
            storage: store,
            provider,
            channels,
            tools,
            desk,
            memory,
            bell,
            blobs,
            transcriber,
            clock,
            rng,
        },
    })
}

/// A tool that is to be asked for and does not exist was meant to be another.
fn known_tools(ask: &BTreeSet<String>, tools: &[Arc<dyn AnyTool>]) -> Result<(), Failure> {
    let names: Vec<&str> = tools.iter().map(|tool| tool.spec().name.as_str()).collect();
    match ask.iter().find(|name| !names.contains(&name.as_str())) {
        None => Ok(()),
        Some(unknown) => Err(Failure {
            message: format!("[tools] ask names `{unknown}`, and there is no such tool"),
            cause: None,
            hint: Some(format!("the tools are {}", names.join(", "))),
            code: Failure::CONFIG,
        }),
    }
}

fn blobs(config: &Config) -> Result<Arc<dyn Blobs>, Failure> {
    let folder = config.data_dir.join("attachments");
    let opened = FileBlobs::open(&folder, config.attachments_bytes_max).map_err(|error| Failure {
        message: format!("the folder {} cannot be used", folder.display()),
        cause: Some(error.to_string()),
        hint: Some("it holds files that were sent, and must belong to the user who runs Blufio".to_owned()),
        code: Failure::PERMISSION,
    })?;
    Ok(Arc::new(opened))
}

/// The one way out, with the places that the operator has opened besides the public internet.
fn way_out(config: &Config) -> Result<Egress, Failure> {
    let egress = Egress::new().map_err(|error| Failure::internal("the HTTP client could not be set up", &error))?;
    let mut places = Vec::new();
    for named in &config.allow_private {
        let unusable = || Failure::internal("[egress] allow_private holds something that is no place", &named.0);
        places.push(Place::parse(&named.0).ok_or_else(unusable)?);
    }
    Ok(egress.with_places(places))
}

fn web_tools(
    config: &Config,
    (secrets, credentials): (&dyn SecretStore, Arc<dyn port::Credentials>),
    egress: &Egress,
    clock: &Arc<dyn Clock>,
) -> Result<Vec<Arc<dyn AnyTool>>, Failure> {
    let mut all = Vec::new();
    if config.tools.web_fetch {
        let options = WebOptions { egress, clock: clock.clone(), limits: WebLimits::default() };
        let pages = WebPages::new(options).with_secrets(credentials, crate::redact::leaks());
        all.push(tools::web_fetch(Arc::new(pages)));
    }
    if let Some(url) = &config.search {
        let options = SearchOptions { base_url: url.as_str(), key: secrets.get("search.api_key"), egress };
        let search =
            WebSearch::new(options).map_err(|error| Failure::internal("web search could not be set up", &error))?;
        all.push(tools::web_search(Arc::new(search), config.search_price));
    }
    Ok(all)
}

/// Fetches the file of the embedding model.
///
/// # Errors
/// In words: why it did not come.
pub async fn fetch_model(url: &str, part: &mut File, progress: impl FnMut(u64)) -> Result<(), String> {
    let egress = Egress::new().map_err(|error| error.to_string())?;
    embedding::download(&egress, url, part, progress).await.map_err(|error| error.to_string())
}

/// The model for meanings: the one in the program, or else the one that is, or will be, installed.
fn embedding(config: &Config) -> Result<Option<Arc<dyn AnyEmbedding>>, Failure> {
    if config.memory.embedding == Embedding::Off {
        return Ok(None);
    }
    let installed = || Weights::File(crate::model::path(&config.data_dir));
    let weights = embedding::EMBEDDED.map_or_else(installed, Weights::Embedded);
    let model = MiniLm::start(weights, embedding::IDLE)
        .map_err(|error| Failure::internal("the thread of the embedding model could not be started", &error))?;
    Ok(Some(Arc::new(model)))
}

fn transcriber(
    config: &Config,
    secrets: &dyn SecretStore,
    egress: &Egress,
) -> Result<Option<Arc<dyn AnyTranscriber>>, Failure> {
    let Some(service) = &config.transcription else { return Ok(None) };
    let options = TranscriptionOptions {
        base_url: service.url.as_str(),
        model: service.model.clone(),
        key: secrets.get("transcription.api_key"),
        egress,
    };
    let transcriber = Transcription::new(options)
        .map_err(|error| Failure::internal("the transcriber could not be set up", &error))?;
    Ok(Some(Arc::new(transcriber)))
}

/// A database of an earlier version is still plain; it can be looked at, and is encrypted before anything is written.
fn open(config: &Config, keys: Option<&KeyTree>, role: Role, clock: Arc<dyn Clock>) -> Result<Arc<Store>, Failure> {
    let path = config.data_dir.join(crate::keys::DATABASE);
    if let (Role::Owner, Some(keys)) = (role, keys) {
        encrypt(&path, keys)?;
    }
    let keys = if crate::keys::is_plain(&path)? { None } else { keys };
    let audit_key = keys.map(|keys| keys.audit.clone());
    let options = Options { executor: Executor::Thread, role, clock, audit_key };
    let opened = Store::open(&path, keys.map(|keys| &keys.database), options);
    opened.map(Arc::new).map_err(|error| unopened(&path, &error))
}

/// Replaces a plain database by an encrypted one.
fn encrypt(path: &Path, keys: &KeyTree) -> Result<(), Failure> {
    if !crate::keys::is_plain(path)? {
        return Ok(());
    }
    tracing::info!(
        "the database is of an earlier version and not encrypted; this is done now, once, and may take a minute per gigabyte"
    );
    let mut told = 0;
    let progress = move |written: u64, all: u64| {
        let tenth = written.saturating_mul(10) / all.max(1);
        if tenth > told {
            told = tenth;
            tracing::info!(percent = tenth * 10, "encrypting the database");
        }
    };
    blufio_store::encrypt(path, &keys.database, progress).map_err(|error| unopened(path, &error))?;
    tracing::info!("the database is encrypted");
    Ok(())
}

/// Why a database cannot be opened, for a person.
pub fn unopened(path: &Path, error: &OpenError) -> Failure {
    let (hint, code) = match error {
        OpenError::Newer { .. } => (Some("it was written by a newer Blufio; run that version"), Failure::CONFIG),
        OpenError::WrongKey => {
            (Some("database and keyslots.json belong together; restore both from the same backup"), Failure::PERMISSION)
        }
        _ => (None, Failure::GENERAL),
    };
    Failure {
        message: format!("the database {} cannot be opened", path.display()),
        cause: Some(error.to_string()),
        hint: hint.map(str::to_owned),
        code,
    }
}

fn catalogue(config: &Config) -> Result<Catalogue, Failure> {
    let wrong = |cause: String| Failure {
        message: "the models file cannot be used".to_owned(),
        cause: Some(cause),
        hint: Some(
            "compare it with data/models/anthropic.toml of the source, or remove [anthropic] models_file".to_owned(),
        ),
        code: Failure::CONFIG,
    };
    match &config.anthropic.models_file {
        None => Catalogue::parse(MODELS).map_err(|error| wrong(error.to_string())),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
            Catalogue::parse(&text).map_err(|error| wrong(format!("{}: {error}", path.display())))
        }
    }
}

/// What the operator should know about the chosen models and the price list.
fn advice(config: &Config, catalogue: &Catalogue, now: Timestamp) -> Vec<String> {
    let mut advice = Vec::new();
    for name in std::iter::once(&config.agent.model).chain(&config.agent.fallback_model) {
        let Some(model) = catalogue.get(&ModelId::new(name)) else {
            advice.push(format!(
                "the price of `{name}` is not known, so it will not be called; see [anthropic] models_file"
            ));
            continue;
        };
        if model.retires.is_some_and(|day| day <= now.plus(RETIRES_SOON)) {
            advice.push(format!("`{name}` is retired or soon will be; choose another model"));
        }
    }
    if now.since(catalogue.read_on) > PRICES_OLD {
        advice.push("the price list is older than 90 days; costs may be wrong until it is compared anew".to_owned());
    }
    advice
}

fn provider(
    config: &Config,
    secrets: &dyn SecretStore,
    egress: &Egress,
    blobs: &Arc<dyn Blobs>,
) -> Result<Arc<dyn AnyProvider>, Failure> {
    let Some(api_key) = secrets.get("anthropic.api_key") else {
        return Err(Failure {
            message: "there is no key for the model".to_owned(),
            cause: None,
            hint: Some(
                "`blufio vault set anthropic.api_key` keeps it (an API key from the Anthropic console); ANTHROPIC_API_KEY in \
                 the environment does, too"
                    .to_owned(),
            ),
            code: Failure::PERMISSION,
        });
    };
    let options = AnthropicOptions {
        base_url: config.anthropic.base_url.as_str(),
        api_key,
        egress,
        blobs: blobs.clone(),
        limits: Limits::default(),
    };
    let provider = Anthropic::new(options).map_err(|error| Failure {
        message: "the model's provider cannot be used".to_owned(),
        cause: Some(error.to_string()),
        hint: Some("check the secret anthropic.api_key and [anthropic] base_url".to_owned()),
        code: Failure::PERMISSION,
    })?;
    Ok(Arc::new(provider))
}

/// The channels, and the way in for a server that calls.
#[derive(Default)]
struct WaysIn {
    channels: BTreeMap<ChannelName, Arc<dyn AnyChannel>>,
    webhook: Option<Arc<dyn Webhook>>,
}

fn channels_of(
    config: &Config,
    secrets: &dyn SecretStore,
    egress: &Egress,
    blobs: &Arc<dyn Blobs>,
    (clock, rng): (&Arc<dyn Clock>, &Arc<dyn Rng>),
) -> Result<WaysIn, Failure> {
    let telegram = &config.telegram;
    let token = secrets.get("telegram.bot_token");
    let mut ways_in = WaysIn::default();
    if !telegram.is_enabled(token.is_some()) {
        return Ok(ways_in);
    }
    let mode = match &telegram.mode {
        Mode::Polling => telegram::Mode::Polling,
        Mode::Webhook(address) => {
            telegram::Mode::Webhook { url: address.url.clone(), secret: webhook_secret(secrets)? }
        }
    };
    let pushed = matches!(mode, telegram::Mode::Webhook { .. });
    let options = TelegramOptions {
        api_root: telegram.api_root.as_str().to_owned(),
        token,
        mode,
        egress: egress.clone(),
        ip_family: match telegram.ip_family {
            IpFamily::Auto => egress::IpFamily::Auto,
            IpFamily::V4 => egress::IpFamily::V4,
            IpFamily::V6 => egress::IpFamily::V6,
        },
        blobs: blobs.clone(),
        streaming: match telegram.streaming {
            Streaming::Off => telegram::Streaming::Off,
            Streaming::Auto => telegram::Streaming::Auto,
            Streaming::Edit => telegram::Streaming::Edit,
        },
        link_preview: telegram.link_preview,
        text_chunk: telegram.text_chunk,
        mention_patterns: telegram.mention_patterns.clone(),
        reaction_ack: telegram.reaction_ack.clone(),
        reads_groups: telegram.groups.values().any(reads_along),
        rates: telegram.rate.map(|rate| Rates {
            global_per_s: rate.global_per_s,
            chat_per_s: rate.private_per_s,
            chat_burst: rate.private_burst,
            group_per_min: rate.group_per_min,
            group_burst: GROUP_BURST,
        }),
        timeouts: TelegramTimeouts::default(),
        clock: clock.clone(),
        rng: rng.clone(),
    };
    // A token that is missing or wrong is the channel's own trouble, which `status` and the readiness check show.
    let channel = Telegram::new(options).map_err(|error| Failure::internal("Telegram could not be set up", &error))?;
    let channel = Arc::new(channel);
    ways_in.webhook = pushed.then(|| channel.clone() as Arc<dyn Webhook>);
    ways_in.channels.insert(ChannelName::new("telegram"), channel);
    Ok(ways_in)
}

/// Something in the group is read that was not said to the bot, where it is served at all.
fn reads_along(group: &Group) -> bool {
    let reads = |mention: bool, history: u32| !mention || history > 0;
    let topic = |topic: &Topic| {
        topic.enabled.unwrap_or(group.enabled)
            && reads(
                topic.require_mention.unwrap_or(group.require_mention),
                topic.history_limit.unwrap_or(group.history_limit),
            )
    };
    group.enabled && reads(group.require_mention, group.history_limit) || group.topics.values().any(topic)
}

fn settings(config: &Config, catalogue: Arc<Catalogue>) -> Settings {
    let effort = match config.agent.effort {
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::Xhigh => "xhigh",
        Effort::Max => "max",
    };
    Settings {
        model: ModelId::new(&config.agent.model),
        fallback: config.agent.fallback_model.as_ref().map(ModelId::new),
        max_tokens: config.agent.max_tokens,
        context_tokens: config.agent.context_tokens,
        effort: Some(effort.to_owned()),
        routing: config.agent.routing,
        instructions: config.agent.instructions.clone(),
        leaks: crate::redact::leaks(),
        tool_rounds: config.session.tool_rounds,
        turn_deadline: config.session.turn_deadline,
        idle_evict: config.session.idle_evict,
        running_turns: config.session.running_turns,
        live_sessions: config.session.live_sessions,
        pending_messages: config.session.pending_messages,
        access: BTreeMap::from([(ChannelName::new("telegram"), access(config))]),
        retention: Retention { messages_days: config.keep_messages_days.unwrap_or(0) },
        catalogue,
        caps: config.budget,
        learn: config.memory.learn.map(|learn| Learn { day: learn.day }),
        heartbeat: config.heartbeat.map(|heartbeat| Heartbeat {
            every: heartbeat.every,
            active: heartbeat.active_hours.map(hours),
            day: heartbeat.day,
        }),
        queue: match config.session.queue {
            Queue::Followup => QueueMode::Followup,
            Queue::Collect => QueueMode::Collect,
            Queue::Interrupt => QueueMode::Interrupt,
            Queue::Steer => QueueMode::Steer,
        },
        ask: config.tools.ask.iter().map(ToolName::new).collect(),
        timezone: config.agent.timezone.clone(),
        quiet: config.notices.quiet_hours.map(hours),
        errors: match config.telegram.error_policy {
            ErrorPolicy::Always => blufio_runtime::ErrorPolicy::Always,
            ErrorPolicy::Once => blufio_runtime::ErrorPolicy::Once,
            ErrorPolicy::Silent => blufio_runtime::ErrorPolicy::Silent,
        },
        media_bytes_max: config.telegram.media_bytes_max,
        attachments_days: config.keep_attachments_days,
        spoken_language: config.transcription.as_ref().and_then(|service| service.language.clone()),
    }
}

fn hours(hours: crate::config::resolved::QuietHours) -> QuietHours {
    QuietHours { from_minute: hours.from_minute, to_minute: hours.to_minute }
}

fn access(config: &Config) -> AccessRules {
    let telegram = &config.telegram;
    let topic = |topic: &Topic| TopicRules {
        enabled: topic.enabled,
        require_mention: topic.require_mention,
        allow_from: topic.allow_from.clone(),
        history_limit: topic.history_limit,
    };
    let group = |group: &Group| GroupRules {
        enabled: group.enabled,
        require_mention: group.require_mention,
        allow_from: group.allow_from.clone(),
        history_limit: group.history_limit,
        topics: group.topics.iter().map(|(id, rules)| (*id, topic(rules))).collect(),
    };
    AccessRules {
        direct: match telegram.dm_policy {
            DmPolicy::Pairing => DirectPolicy::Pairing,
            DmPolicy::Allowlist => DirectPolicy::Allowlist,
            DmPolicy::Disabled => DirectPolicy::Disabled,
        },
        allow_from: telegram.allow_from.clone(),
        owners: telegram.owners.clone(),
        paired: BTreeMap::new(),
        groups: telegram.groups.iter().map(|(id, rules)| (*id, group(rules))).collect(),
        group_allow_from: telegram.group_allow_from.clone(),
        aliases: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{Environment, Overrides, load};

    #[test]
    fn a_group_is_read_along_where_it_is_served() {
        let check = |rules: &str, expect: bool| {
            let mut environment =
                Environment { cwd: "/".into(), home: Some("/nobody".into()), ..Environment::default() };
            environment.vars.insert("BLUFIO_TELEGRAM__GROUPS".into(), format!("{{ -5 = {{ {rules} }} }}"));
            let config = load::load(&Overrides::default(), &environment).unwrap().config;
            assert_eq!(config.telegram.groups.values().any(reads_along), expect, "{rules}");
        };
        check("", true);
        check("enabled = false", false);
        check("history_limit = 0", false);
        check("history_limit = 0, require_mention = false", true);
        check("history_limit = 0, topics = { 7 = { require_mention = false } }", true);
        check("history_limit = 0, topics = { 7 = { require_mention = false, enabled = false } }", false);
        check("enabled = false, topics = { 7 = { enabled = true } }", true);
        check("enabled = false, topics = { 7 = { history_limit = 9 } }", false);
    }

    #[test]
    fn the_operator_is_told_about_models_and_prices() {
        let retiring = MODELS.replacen("tier = \"sonnet\"", "tier = \"sonnet\"\nretires = \"2026-12-01\"", 1);
        let catalogue = Catalogue::parse(&retiring).unwrap();
        let mut environment = Environment { cwd: "/".into(), home: Some("/nobody".into()), ..Environment::default() };
        environment.vars.insert("BLUFIO_AGENTS__MAIN__FALLBACK_MODEL".into(), "unheard-of".into());
        let config = load::load(&Overrides::default(), &environment).unwrap().config;
        let told = |at| advice(&config, &catalogue, at).len();
        assert_eq!(told(catalogue.read_on), 2, "one model ends soon, one is unknown");
        assert_eq!(told(catalogue.read_on.plus(PRICES_OLD * 2)), 3, "and the list is old");
    }
}
