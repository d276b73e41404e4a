//! The one turn engine. Every entrance leads to an inbox row; every row is answered here.

mod actor;
mod booking;
mod live;
mod session;
mod toolwork;
mod turn;

use crate::dispatch::Dispatchers;
use crate::events::Hub;
use crate::health::Health;
use crate::sessions::{Sessions, Woken};
use crate::tasks::Tasks;
use blufio_core::access::AccessRules;
use blufio_core::catalogue::Catalogue;
use blufio_core::ids::{Boot, ChannelName, ModelId, SessionKey, ToolName};
use blufio_core::port::{AnyChannel, AnyProvider, AnyStorage, AnyTool, Clock, Rng, ToolSpec};
use blufio_core::record::{Draft, Pairing, Retention, Route, Shared};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

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
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub rng: Arc<dyn Rng>,
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
    /// The effort asked for; `None` leaves the model's default.
    pub effort: Option<String>,
    /// The system text.
    pub instructions: String,
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
    /// Approved pairings.
    people: Mutex<Vec<Pairing>>,
    pub tools: BTreeMap<ToolName, Arc<dyn AnyTool>>,
    /// The system text and the tools as they are sent in a new epoch.
    pub system: Shared,
    pub rendered_tools: Shared,
    /// One permit per running turn; a row on probation takes all of them.
    permits: Arc<Semaphore>,
    /// No new work: what runs may finish.
    draining: AtomicBool,
    drained: watch::Sender<bool>,
}

impl Engine {
    pub fn new(
        adapters: Adapters,
        settings: Settings,
        boot: Boot,
        tasks: Tasks,
        health: Arc<Health>,
        dispatchers: Dispatchers,
        people: Vec<Pairing>,
    ) -> Arc<Self> {
        let tools: BTreeMap<ToolName, Arc<dyn AnyTool>> =
            adapters.tools.iter().map(|tool| (tool.spec().name.clone(), tool.clone())).collect();
        let specs: Vec<&ToolSpec> = tools.values().map(|tool| tool.spec()).collect();
        let system = adapters.provider.render_system(&settings.instructions);
        let rendered_tools = adapters.provider.render_tools(&specs);
        Arc::new(Self {
            sessions: Sessions::new(settings.live_sessions),
            hub: Arc::default(),
            people: Mutex::new(people),
            permits: Arc::new(Semaphore::new(settings.running_turns.max(1))),
            draining: AtomicBool::new(false),
            drained: watch::Sender::new(false),
            adapters,
            settings,
            boot,
            tasks,
            health,
            dispatchers,
            tools,
            system,
            rendered_tools,
        })
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
        rules
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
        let draft = |body| Draft { route: route.clone(), body, replaces: replaces.take() };
        channel.render(text).into_iter().map(draft).collect()
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
