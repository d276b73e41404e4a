//! The one turn engine. Every entrance leads to an inbox row; every row is answered here.

mod actor;
mod aside;
mod asking;
mod booking;
mod compacting;
mod consent;
mod content;
pub(crate) mod learning;
mod live;
mod measuring;
mod prefix;
mod recalling;
mod session;
pub mod showing;
mod ticket;
mod toolwork;
mod turn;

use crate::desk::Desk;
use crate::dispatch::Dispatchers;
use crate::events::Hub;
use crate::health::Health;
use crate::heartbeat::Heartbeat;
use crate::herald::Herald;
use crate::memory::Memory;
use crate::money::Money;
use crate::quiet::QuietHours;
use crate::scheduler::Bell;
use crate::sessions::{Sessions, Woken};
use crate::tasks::Tasks;
use blufio_core::access::AccessRules;
use blufio_core::budget::Caps;
use blufio_core::catalogue::Catalogue;
use blufio_core::context::estimate::Ratios;
use blufio_core::ids::{Boot, ChannelName, ModelId, SessionKey, ToolName};
use blufio_core::ingress::framed;
use blufio_core::leak::Leaks;
use blufio_core::limits::FILES_OPEN_MAX;
use blufio_core::port::{AnyChannel, AnyProvider, AnyStorage, AnyTool, AnyTranscriber, Blobs, Clock, Rng};
use blufio_core::record::{Draft, Pairing, Recovered, Retention, Route};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// See [`ErrorPolicy::Once`].
const ERRORS_TOLD_EVERY: Duration = Duration::from_secs(600);
/// Error texts that are remembered. Full: all are forgotten, and may be told again.
const TOLD_ERRORS_MAX: usize = 1_000;

/// The adapters a process runs with.
#[derive(Clone)]
pub struct Adapters {
    /// Durable state.
    pub storage: Arc<dyn AnyStorage>,
    /// The model.
    pub provider: Arc<dyn AnyProvider>,
    /// Ways in and out, by name.
    pub channels: BTreeMap<ChannelName, Arc<dyn AnyChannel>>,
    /// What the model may call.
    pub tools: Vec<Arc<dyn AnyTool>>,
    /// What lies in the workspace.
    pub desk: Arc<Desk>,
    /// What is remembered.
    pub memory: Arc<Memory>,
    /// Rung when schedules have changed.
    pub bell: Bell,
    /// Files that were sent or will be.
    pub blobs: Arc<dyn Blobs>,
    /// Writes down what is said in recordings, if there is one.
    pub transcriber: Option<Arc<dyn AnyTranscriber>>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub rng: Arc<dyn Rng>,
}

/// What happens to a message that arrives while a turn runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueMode {
    /// It gets a turn of its own, first in, first out.
    Followup,
    /// What waits when a turn begins is answered together.
    Collect,
    /// It ends the running turn and is answered then, together with whatever else waits.
    Interrupt,
    /// It joins the running turn when that next reads results of tools; otherwise as [`QueueMode::Followup`].
    Steer,
}

/// Which errors are told in a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorPolicy {
    /// Every one.
    Always,
    /// The same text at most once in ten minutes per chat.
    Once,
    /// None; the log has them.
    Silent,
}

/// How the engine behaves; every value is checked by the configuration.
#[derive(Clone)]
pub struct Settings {
    /// The model of a session that chose none.
    pub model: ModelId,
    /// Asked when the first is not available.
    pub fallback: Option<ModelId>,
    /// Room for one answer, in tokens.
    pub max_tokens: u32,
    /// What a conversation may take of a prompt, in tokens; it is made shorter well before.
    pub context_tokens: u64,
    /// Courtesies may go to a cheaper model, and the effort follows the message.
    pub routing: bool,
    /// The effort asked for; `None` leaves the model's default.
    pub effort: Option<String>,
    /// The system text.
    pub instructions: String,
    /// Knows what is secret, for all text that comes from tools or goes to channels and tools.
    pub leaks: Leaks,
    /// Rounds of tools per turn.
    pub tool_rounds: u8,
    /// How long a turn may run.
    pub turn_deadline: Duration,
    /// How long an idle session stays in memory.
    pub idle_evict: Duration,
    /// Turns that run at once.
    pub running_turns: usize,
    /// Sessions in memory.
    pub live_sessions: usize,
    /// Rows that may wait per session.
    pub pending_messages: u32,
    /// Who may speak, per channel; approved pairings come from the store.
    pub access: BTreeMap<ChannelName, AccessRules>,
    /// How long things are kept.
    pub retention: Retention,
    /// Models and prices.
    pub catalogue: Arc<Catalogue>,
    /// What may be spent.
    pub caps: Caps,
    /// How facts are learned from conversations; `None`: not at all.
    pub learn: Option<learning::Learn>,
    /// How the agent looks by itself whether something matters; `None`: not at all.
    pub heartbeat: Option<Heartbeat>,
    /// What happens to a message that arrives while a turn runs.
    pub queue: QueueMode,
    /// Tools that wait for an owner's yes.
    pub ask: BTreeSet<ToolName>,
    /// The time zone (IANA name); `None`: the machine's.
    pub timezone: Option<String>,
    /// When notices wait.
    pub quiet: Option<QuietHours>,
    /// Which errors are told in a chat.
    pub errors: ErrorPolicy,
    /// Bytes of one file from a person.
    pub media_bytes_max: u64,
    /// How long files are kept that no conversation shows, in days.
    pub attachments_days: u32,
    /// The language that recordings are in; `None`: the transcriber finds out.
    pub spoken_language: Option<String>,
}

/// Everything turns share.
pub(crate) struct Engine {
    pub adapters: Adapters,
    pub settings: Settings,
    pub boot: Boot,
    pub tasks: Tasks,
    pub sessions: Sessions,
    pub hub: Arc<Hub>,
    pub health: Arc<Health>,
    pub dispatchers: Dispatchers,
    pub herald: Herald,
    /// What is held and spent.
    pub money: Money,
    /// The kill switch is on: nothing runs.
    killed: watch::Sender<bool>,
    /// Approved pairings.
    people: Mutex<Vec<Pairing>>,
    /// Groups that go on under another id: by channel and account, the new id and the one it is known as.
    aliases: Mutex<BTreeMap<(ChannelName, i64), BTreeMap<i64, i64>>>,
    /// When each error text was last told in a chat, on the monotonic clock.
    told_errors: Mutex<HashMap<(i64, &'static str), Duration>>,
    /// How far estimates of tokens were from what the vendor counted.
    ratios: Mutex<Ratios>,
    /// The questions of the last hour.
    questions: asking::Questions,
    /// One picture at a time: decoding one takes a hundred megabytes at worst.
    pub pictures: Semaphore,
    /// One permit per file that is fetched and opened.
    pub files: Semaphore,
    pub tools: BTreeMap<ToolName, Arc<dyn AnyTool>>,
    prefixes: prefix::Prefixes,
    /// Changes whenever the configuration of system text and tools does.
    configured: String,
    /// One permit per running turn; see [`ticket`].
    permits: Arc<Semaphore>,
    /// No new work: what runs may finish.
    draining: AtomicBool,
    drained: watch::Sender<bool>,
}

impl Engine {
    pub fn new(
        adapters: Adapters,
        settings: Settings,
        tasks: Tasks,
        health: Arc<Health>,
        (dispatchers, herald): (Dispatchers, Herald),
        money: Money,
        recovered: &Recovered,
    ) -> Arc<Self> {
        let tools: BTreeMap<ToolName, Arc<dyn AnyTool>> =
            adapters.tools.iter().map(|tool| (tool.spec().name.clone(), tool.clone())).collect();
        let configured = prefix::configured(&settings.instructions, tools.values().map(|tool| tool.spec()));
        let engine = Arc::new(Self {
            sessions: Sessions::new(settings.live_sessions),
            hub: Arc::default(),
            people: Mutex::new(recovered.paired.clone()),
            aliases: Mutex::default(),
            told_errors: Mutex::default(),
            ratios: Mutex::default(),
            questions: asking::Questions::default(),
            pictures: Semaphore::new(1),
            files: Semaphore::new(FILES_OPEN_MAX),
            herald,
            money,
            killed: watch::Sender::new(recovered.killed),
            permits: Arc::new(Semaphore::new(settings.running_turns.max(1))),
            draining: AtomicBool::new(false),
            drained: watch::Sender::new(false),
            adapters,
            settings,
            boot: recovered.boot,
            tasks,
            health,
            dispatchers,
            tools,
            prefixes: prefix::Prefixes::default(),
            configured,
        });
        for (channel, account, new, known_as) in &recovered.aliases {
            engine.alias(channel, *account, *known_as, *new);
        }
        engine
    }

    /// There is, or may be, work for a session.
    pub fn wake(self: &Arc<Self>, key: &SessionKey) {
        if self.is_draining() {
            return;
        }
        if let Woken::Start(seat) = self.sessions.wake(key) {
            actor::start(self.clone(), key.clone(), seat);
        }
    }

    /// The rules of a channel's account as they are now, with the pairings of that account.
    pub fn rules(&self, channel: &ChannelName, account: i64) -> AccessRules {
        let mut rules = self.settings.access.get(channel).cloned().unwrap_or_default();
        let people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        let here = people.iter().filter(|pairing| pairing.channel == *channel && pairing.account == account);
        rules.paired = here.map(|pairing| (pairing.user, pairing.owner)).collect();
        let aliases = self.aliases.lock().unwrap_or_else(PoisonError::into_inner);
        rules.aliases = aliases.get(&(channel.clone(), account)).cloned().unwrap_or_default();
        rules
    }

    /// A group goes on under the id `new`.
    pub fn alias(&self, channel: &ChannelName, account: i64, old: i64, new: i64) {
        let mut aliases = self.aliases.lock().unwrap_or_else(PoisonError::into_inner);
        let here = aliases.entry((channel.clone(), account)).or_default();
        let known_as = here.get(&old).copied().unwrap_or(old);
        if known_as != new {
            here.insert(new, known_as);
        }
    }

    /// The id under which a group goes on that was upgraded.
    pub fn goes_on_as(&self, route: &Route) -> Option<i64> {
        let aliases = self.aliases.lock().unwrap_or_else(PoisonError::into_inner);
        let here = aliases.get(&(route.channel.clone(), route.account))?;
        here.iter().find(|(_, known_as)| **known_as == route.chat).map(|(new, _)| *new)
    }

    /// A text for the owners, in their private conversations, by channel.
    pub fn for_owners(&self, text: &str) -> Vec<(ChannelName, Vec<Draft>)> {
        let on = |(name, channel): (&ChannelName, &Arc<dyn AnyChannel>)| {
            // Until it is known which account this is, nobody can be told.
            let account = channel.account()?;
            let owners = self.rules(name, account).all_owners();
            let routes = owners.into_iter().filter_map(|owner| channel.private_route(owner));
            Some((name.clone(), routes.flat_map(|route| self.drafts(&route, text, None)).collect()))
        };
        self.adapters.channels.iter().filter_map(on).collect()
    }

    /// Where an owner reads: the private conversation with the first one of the first channel that has one.
    pub fn owner_route(&self) -> Option<Route> {
        self.adapters.channels.iter().find_map(|(name, channel)| {
            let account = channel.account()?;
            self.rules(name, account).all_owners().into_iter().find_map(|owner| channel.private_route(owner))
        })
    }

    /// Whether an error text is told in this chat now.
    pub fn tells_error(&self, chat: i64, text: &'static str) -> bool {
        match self.settings.errors {
            ErrorPolicy::Always => true,
            ErrorPolicy::Silent => false,
            ErrorPolicy::Once => {
                let now = self.adapters.clock.monotonic();
                let mut told = self.told_errors.lock().unwrap_or_else(PoisonError::into_inner);
                told.retain(|_, at| now.saturating_sub(*at) < ERRORS_TOLD_EVERY);
                if told.len() >= TOLD_ERRORS_MAX {
                    told.clear();
                }
                if told.contains_key(&(chat, text)) {
                    return false;
                }
                told.insert((chat, text), now);
                true
            }
        }
    }

    /// Somebody was let in, or is `gone`.
    pub fn person(&self, pairing: &Pairing, gone: bool) {
        let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &Pairing| {
            (&known.channel, known.account, known.user) == (&pairing.channel, pairing.account, pairing.user)
        };
        people.retain(|known| !same(known));
        if !gone {
            people.push(pairing.clone());
        }
    }

    /// An answer as it will be sent; nothing for channels that read the rows themselves.
    pub fn drafts(&self, route: &Route, text: &str, replaces: Option<i64>) -> Vec<Draft> {
        let Some(channel) = self.adapters.channels.get(&route.channel) else { return Vec::new() };
        let mut replaces = replaces;
        let draft = |body| Draft { replaces: replaces.take(), ..Draft::text(route.clone(), body) };
        channel.render(text).into_iter().map(draft).collect()
    }

    /// Text of others below a line of ours, cleaned and framed.
    pub fn framed(&self, head: &str, text: &str) -> String {
        format!("{head}\n{}", framed(text, self.adapters.rng.bits()))
    }

    /// Turns the kill switch; what runs sees it at once.
    pub fn switch(&self, killed: bool) {
        self.killed.send_replace(killed);
    }

    /// The kill switch is on.
    pub fn is_killed(&self) -> bool {
        *self.killed.borrow()
    }

    /// Resolves when the kill switch is like this.
    pub async fn until_killed_is(&self, killed: bool) {
        let mut switch = self.killed.subscribe();
        if switch.wait_for(|now| *now == killed).await.is_err() {
            tracing::debug!("the engine is gone");
        }
    }

    /// No new work from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.drained.send_replace(true);
    }

    /// The process is ending.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Resolves when the process begins to end.
    pub async fn draining(&self) {
        let mut drained = self.drained.subscribe();
        if drained.wait_for(|drained| *drained).await.is_err() {
            tracing::debug!("the engine is gone");
        }
    }
}
