//! The whole runtime: start, say, watch, ask, shut down.

use crate::costs;
use crate::decision::{AT_TERMINAL, decision, is_decided};
use crate::dispatch::{Dispatcher, Dispatchers};
use crate::engine::showing::{self, ContextView};
use crate::engine::{Adapters, Engine, Settings};
use crate::events::Reader;
use crate::health::{Health, Readiness};
use crate::herald::{Herald, News, herald};
use crate::intake::{self, ChannelIntake, Message};
use crate::memory;
use crate::money::{self, Money};
use crate::quiet::zone_or_system;
use crate::scheduler::{self, ScheduleWish};
use crate::tasks::{Tasks, blocking};
use blufio_core::access::{Principal, pairing_code};
use blufio_core::approval::Verdict;
use blufio_core::content::Content;
use blufio_core::failpoint::{Failpoint, hit};
use blufio_core::ids::{ApprovalId, ChannelName, GrantId, InboxId, OutboxId, ScheduleId, SessionKey};
use blufio_core::limits::SHUTDOWN;
use blufio_core::money::MicroUsd;
use blufio_core::port::{AnyChannel, Asker, ChannelError, ChannelHealth, Clock, LOCAL_CHANNEL, StoreError};
use blufio_core::record::{
    Batch, Claimed, CostBy, CostLine, Item, Pairing, PairingChange, Query, Recovered, Route, Shared, StoreStatus,
    Taken, Telling, View,
};
use blufio_core::schedule::Schedule;
use blufio_core::time::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The session of the person at the machine itself.
pub const LOCAL_SESSION: &str = "local:main";

/// The name under which a working commit is stamped.
const WRITER: &str = "writer";
/// How often a commit is proved to work, and how soon after the start old rows are looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(10);
/// How often old rows are looked for.
const RETENTION: Duration = Duration::from_secs(600);
/// While there is more to delete.
const RETENTION_SOON: Duration = Duration::from_millis(200);
/// Between two looks whether a channel knows its account by now.
const ACCOUNT_PAUSE: Duration = Duration::from_millis(200);
/// Before a channel that had to give up begins again; doubles up to [`RECEIVE_PAUSE_MAX`].
const RECEIVE_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause.
const RECEIVE_PAUSE_MAX: Duration = Duration::from_secs(60);
/// What runs may finish within this part of a shutdown.
const DRAIN: Duration = Duration::from_secs(6);
/// Answers that are being sent may arrive within this part.
const FLUSH: Duration = Duration::from_secs(2);

const _: () = assert!(DRAIN.as_secs() + FLUSH.as_secs() < SHUTDOWN.as_secs());

/// A running Blufio.
pub struct Host {
    engine: Arc<Engine>,
    started: Duration,
}

/// What became of something said locally.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Its row.
    pub inbox: InboxId,
    /// It was said before, under the same client id.
    pub repeated: bool,
    /// It waits for a turn; otherwise it is answered already.
    pub queued: bool,
    /// The kill switch is on, so that it waits until somebody turns that off.
    pub killed: bool,
}

/// How everything is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostStatus {
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// Ready, or why not.
    pub ready: bool,
    /// Why not.
    pub reason: Option<String>,
    /// The model of new sessions.
    pub model: String,
    /// The kill switch is on: nothing runs.
    pub killed: bool,
    /// Turns that run now.
    pub running_turns: u64,
    /// Sessions in memory.
    pub live_sessions: u64,
    /// The channels.
    pub channels: BTreeMap<String, ChannelHealth>,
    /// What the store counts.
    pub store: StoreStatus,
}

impl Host {
    /// Recovers what the last process left and starts everything. Channels are the adapters' to choose: none for a shell
    /// that runs without a server.
    pub async fn start(adapters: Adapters, settings: Settings) -> Result<Self, StoreError> {
        let clock = adapters.clock.clone();
        hit(Failpoint::BootBeforeCommit);
        let recovered_at = clock.now();
        let recovered = adapters.storage.recover(recovered_at).await?;
        hit(Failpoint::BootAfterCommit);
        let (tasks, health) = (Tasks::new(clock.clone()), Arc::new(Health::new(clock.clone())));
        let (herald, listener) = herald();
        let money = open_book(&adapters, &settings, &herald).await?;
        let dispatchers = dispatchers(&adapters, &health, &herald);
        let engine = Engine::new(adapters, settings, tasks, health, (dispatchers, herald), money, &recovered);
        drop(engine.tasks.spawn("herald", listener.listen(engine.clone())));
        let host = Self { started: clock.monotonic(), engine };
        host.log_start(&recovered);
        for session in &recovered.sessions {
            // Rows of channels that do not run here are left alone.
            if host.serves(session) {
                host.engine.wake(session);
            }
        }
        for dispatcher in host.engine.dispatchers.values() {
            dispatcher.start(&host.engine.tasks);
        }
        host.start_channels(&recovered);
        host.start_housekeeping();
        if recovered.uncertain_sends > 0 {
            drop(host.engine.tasks.spawn("lost sends", tell_of_lost_sends(host.engine.clone(), recovered_at)));
        }
        Ok(host)
    }

    /// Says something as the owner, on this machine. `client` names the message: saying it twice is saying it once.
    pub async fn say(&self, session: &SessionKey, client: &str, text: String) -> Result<Said, StoreError> {
        let Asker { route, .. } = Asker::local(session.clone());
        let channel = route.channel.clone();
        let message = Message {
            session: session.clone(),
            route,
            principal: Principal::Owner,
            user: 0,
            group: false,
            content: Content::words(text),
            album: None,
            addressee: None,
        };
        let fate = intake::fate(&self.engine, message).await;
        let item = Item { update: 0, fingerprint: client.to_owned(), raw: Shared::from([]), fate };
        let at = self.engine.adapters.clock.now();
        let batch = Batch { channel, account: 0, items: vec![item], cursor: None, at };
        let accepted = intake::accept(&self.engine, batch).await?;
        let accepted = accepted.first().ok_or_else(|| StoreError::Broken("the store took no row".to_owned()))?;
        let (queued, killed) = (accepted.taken == Taken::Queued, self.engine.is_killed());
        Ok(Said { inbox: accepted.inbox, repeated: !accepted.new, queued, killed })
    }

    /// A number nobody else has.
    #[must_use]
    pub fn unique(&self) -> String {
        format!("{:016x}", self.engine.adapters.rng.bits())
    }

    /// Follows a session after event `after`.
    pub fn follow(&self, session: SessionKey, after: u64) -> Reader {
        self.engine.hub.subscribe(session, after)
    }

    /// Reads for showing.
    pub async fn view(&self, query: Query) -> Result<View, StoreError> {
        self.engine.adapters.storage.view(query, self.engine.adapters.clock.now()).await
    }

    /// Sends a message as the owner's machine: to a chat of a channel, in its place after what waits there.
    pub async fn send(&self, channel: &ChannelName, chat: i64, text: &str) -> Result<(), StoreError> {
        let unknown = || StoreError::NotFound(format!("no channel `{channel}` runs here"));
        let known = self.engine.adapters.channels.get(channel).ok_or_else(unknown)?;
        let unready = || StoreError::NotFound(format!("the channel `{channel}` does not know yet which account it is"));
        let route = Route { chat, ..known.private_route(chat).ok_or_else(unready)? };
        let drafts = self.engine.drafts(&route, text, None);
        let telling = Telling { topic: format!("send {}", self.unique()), every: Duration::ZERO, drafts };
        self.engine.adapters.storage.tell(telling, self.engine.adapters.clock.now()).await?;
        self.poke(channel);
        Ok(())
    }

    /// Sends given-up messages of a channel again; says how many.
    pub async fn revive(&self, channel: &ChannelName, row: Option<OutboxId>) -> Result<u32, StoreError> {
        let now = self.engine.adapters.clock.now();
        let revived = self.engine.adapters.storage.revive(channel.clone(), row, now).await?;
        self.poke(channel);
        Ok(revived)
    }

    /// Makes an address that lets in whoever opens it first, within ten minutes.
    pub async fn invite(&self, channel: &ChannelName) -> Result<String, StoreError> {
        let unknown = || StoreError::NotFound(format!("no channel `{channel}` runs here"));
        let known = self.engine.adapters.channels.get(channel).ok_or_else(unknown)?;
        let code = pairing_code(self.engine.adapters.rng.bits());
        let unready = || StoreError::NotFound(format!("the channel `{channel}` does not know yet which account it is"));
        let (account, address) = known.account().zip(known.invitation(&code)).ok_or_else(unready)?;
        let link = PairingChange::Link { channel: channel.clone(), account, code, has_owner: self.has_owner() };
        self.engine.adapters.storage.pairing(link, self.engine.adapters.clock.now()).await?;
        Ok(address)
    }

    fn poke(&self, channel: &ChannelName) {
        if let Some(dispatcher) = self.engine.dispatchers.get(channel) {
            dispatcher.poke_all();
        }
    }

    /// Decides about people; takes effect with the next update.
    pub async fn pairing(&self, change: PairingChange) -> Result<Pairing, StoreError> {
        let change = match change {
            PairingChange::Approve { code, owner, .. } => {
                PairingChange::Approve { code, owner, has_owner: self.has_owner() }
            }
            other @ (PairingChange::Link { .. } | PairingChange::Reject { .. } | PairingChange::Revoke { .. }) => other,
        };
        let engine = self.engine.clone();
        // A task of its own, so that what is stored is also known here even if whoever asked goes away.
        let work = async move {
            let decision = change.clone();
            hit(Failpoint::PairingBeforeCommit);
            let pairing = engine.adapters.storage.pairing(change, engine.adapters.clock.now()).await?;
            hit(Failpoint::PairingAfterCommit);
            match decision {
                PairingChange::Approve { .. } => engine.person(&pairing, false),
                PairingChange::Revoke { .. } => engine.person(&pairing, true),
                PairingChange::Link { .. } | PairingChange::Reject { .. } => {}
            }
            Ok(pairing)
        };
        self.engine.tasks.spawn("pairing", work).await.ok().flatten().unwrap_or(Err(StoreError::Closed))
    }

    /// Answers a question as the owner at this machine. False if it is not open, or does not take this answer.
    pub async fn decide(&self, approval: ApprovalId, verdict: Verdict) -> Result<bool, StoreError> {
        let batch = decision(approval, verdict, self.engine.adapters.clock.now());
        Ok(is_decided(&intake::accept(&self.engine, batch).await?))
    }

    /// Takes an "always" back as the owner at this machine; false if none of that number holds.
    pub async fn revoke(&self, grant: GrantId) -> Result<bool, StoreError> {
        let Adapters { storage, clock, .. } = &self.engine.adapters;
        storage.revoke(grant, AT_TERMINAL.to_owned(), clock.now()).await
    }

    /// Turns the kill switch, as whoever may use this machine: ends what runs and lets nothing begin, or lets things run again.
    pub async fn switch(&self, killed: bool) -> Result<(), StoreError> {
        let Adapters { storage, clock, .. } = &self.engine.adapters;
        // What runs ends in any case; that nothing begins after a restart either needs the disk.
        if killed {
            self.engine.switch(true);
        }
        storage.switch(killed, AT_TERMINAL.to_owned(), clock.now()).await?;
        self.engine.switch(killed);
        Ok(())
    }

    /// Makes, removes or turns a schedule, as whoever may use this machine.
    pub async fn schedule(&self, wish: ScheduleWish) -> Result<Schedule, StoreError> {
        scheduler::wish(&self.engine, wish).await
    }

    /// Runs a schedule now, whatever its times are.
    pub async fn run_schedule(&self, id: ScheduleId) -> Result<(), StoreError> {
        let View::Schedules(all) = self.view(Query::Schedules { session: None }).await? else {
            return Err(StoreError::Broken("the store answered another question".to_owned()));
        };
        let found = all.into_iter().find(|view| view.schedule.id == id);
        let found = found.ok_or_else(|| StoreError::NotFound(format!("there is no schedule {id}")))?;
        let refused = |why: String| Err(StoreError::Refused(why));
        match scheduler::run_now(&self.engine, &found.schedule).await? {
            Some(Claimed::Done { .. }) => Ok(()),
            Some(Claimed::Full) => Err(StoreError::Full("inbox")),
            Some(Claimed::Skipped { .. }) => refused("nothing was done; its history says why".to_owned()),
            Some(Claimed::Disabled(failing)) => {
                refused(format!("it has failed {} times: {}", failing.failures, failing.why))
            }
            Some(Claimed::Gone) => Err(StoreError::Stale("the schedule")),
            None => refused("somebody is being answered; try again in a moment".to_owned()),
        }
    }

    /// What the next request of a conversation would hold.
    pub async fn context(&self, session: &SessionKey) -> Result<ContextView, StoreError> {
        showing::show(&self.engine, session).await
    }

    /// What calls since an instant have cost, dearest first; by time, oldest first.
    pub async fn costs(
        &self,
        by: CostBy,
        since: Timestamp,
        session: Option<SessionKey>,
    ) -> Result<Vec<CostLine>, StoreError> {
        costs::costs(&self.engine, by, since, session).await
    }

    /// Whether messages are taken and answered.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        if self.engine.is_draining() {
            return Readiness::NotReady("shutting down".to_owned());
        }
        let health = &self.engine.health;
        if let Some(name) = health.hanging() {
            return Readiness::NotReady(format!("the {name} loop hangs"));
        }
        for (name, channel) in &self.engine.adapters.channels {
            if let Some(trouble) = health.channel_trouble(&channel.health()) {
                return Readiness::NotReady(format!("{name}: {trouble}"));
            }
        }
        let stuck = self.engine.sessions.all_running().into_iter().find(|(_, progress)| health.is_stuck(*progress));
        stuck.map_or(Readiness::Ready, |(key, _)| Readiness::NotReady(format!("session {key} is stuck")))
    }

    /// What the operator should know about a channel although nothing fails.
    #[must_use]
    pub fn remark(&self, channel: &ChannelName) -> Option<String> {
        self.engine.adapters.channels.get(channel)?.remark()
    }

    /// A critical loop hangs, or commits have not worked for too long. For the service manager's watchdog.
    #[must_use]
    pub fn hangs(&self) -> Option<&'static str> {
        self.engine.health.hanging()
    }

    /// How everything is.
    pub async fn status(&self) -> Result<HostStatus, StoreError> {
        let store = store_status(&self.engine).await?;
        let reason = match self.readiness() {
            Readiness::Ready => None,
            Readiness::NotReady(reason) => Some(reason),
        };
        let uptime = self.engine.adapters.clock.monotonic().saturating_sub(self.started);
        let channels = self.engine.adapters.channels.iter().map(|(name, channel)| (name.to_string(), channel.health()));
        Ok(HostStatus {
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            ready: reason.is_none(),
            reason,
            model: self.engine.settings.model.to_string(),
            killed: self.engine.is_killed(),
            running_turns: u64::try_from(self.engine.sessions.all_running().len()).unwrap_or(0),
            live_sessions: u64::try_from(self.engine.sessions.count()).unwrap_or(0),
            channels: channels.collect(),
            store,
        })
    }

    /// Sets the gauges to what is true now; called before metrics are read.
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats; counts are far below 2^52")]
    pub async fn set_gauges(&self) -> Result<(), StoreError> {
        let status = store_status(&self.engine).await?;
        metrics::gauge!("blufio_inbox_pending").set(status.inbox_pending as f64);
        metrics::gauge!("blufio_outbox_pending").set(status.outbox_pending as f64);
        metrics::gauge!("blufio_attachments_bytes").set(self.engine.adapters.blobs.bytes() as f64);
        metrics::gauge!("blufio_database_bytes").set(status.database_bytes as f64);
        metrics::gauge!("blufio_sessions_live").set(self.engine.sessions.count() as f64);
        metrics::gauge!("blufio_turns_running").set(self.engine.sessions.all_running().len() as f64);
        Ok(())
    }

    /// Resolves when a critical task cannot be kept alive.
    pub async fn failed(&self) {
        self.engine.tasks.failed().await;
    }

    /// Ends everything in phases: no new work, what runs may finish, answers may arrive, the log is folded into the file.
    pub async fn shutdown(&self) -> Result<(), StoreError> {
        let clock = &self.engine.adapters.clock;
        self.engine.drain();
        self.wait_until(DRAIN, || self.engine.sessions.all_running().is_empty()).await;
        for dispatcher in self.engine.dispatchers.values() {
            dispatcher.drain();
        }
        self.wait_until(FLUSH, || self.engine.dispatchers.values().all(|dispatcher| dispatcher.is_quiet())).await;
        self.engine.tasks.stop().await;
        hit(Failpoint::ShutdownBeforeCheckpoint);
        let closed = self.engine.adapters.storage.close(clock.now()).await;
        hit(Failpoint::ShutdownAfterCheckpoint);
        closed
    }

    async fn wait_until(&self, most: Duration, done: impl Fn() -> bool) {
        let clock = &self.engine.adapters.clock;
        let end = clock.monotonic().saturating_add(most);
        while !done() && clock.monotonic() < end {
            clock.sleep(Duration::from_millis(10)).await;
        }
    }

    /// The configuration names an owner.
    fn has_owner(&self) -> bool {
        self.engine.settings.access.values().any(|rules| !rules.owners.is_empty() || rules.allow_from.len() == 1)
    }

    /// A session belongs to a channel that runs here, or to the machine itself.
    fn serves(&self, session: &SessionKey) -> bool {
        let local = session.as_str().starts_with(LOCAL_CHANNEL);
        local || !self.engine.adapters.channels.is_empty()
    }

    fn start_channels(&self, recovered: &Recovered) {
        for (name, channel) in &self.engine.adapters.channels {
            let stored = recovered.cursors.iter().filter(|(channel, ..)| channel == name);
            let cursors = stored.map(|(_, account, cursor)| (*account, *cursor)).collect();
            let intake = Arc::new(ChannelIntake::new(self.engine.clone(), name.clone(), cursors));
            let (channel, name, engine) = (channel.clone(), name.clone(), self.engine.clone());
            self.engine.tasks.keep("channel", move || {
                let (channel, intake, name, engine) = (channel.clone(), intake.clone(), name.clone(), engine.clone());
                Box::pin(async move {
                    tokio::select! {
                        () = receive(channel.as_ref(), intake, &name, engine.adapters.clock.as_ref()) => {}
                        () = engine.draining() => std::future::pending().await,
                    }
                })
            });
        }
    }

    fn start_housekeeping(&self) {
        let (prover, cleaner) = (self.engine.clone(), self.engine.clone());
        self.engine.tasks.keep("housekeeping", move || {
            let engine = prover.clone();
            Box::pin(async move { prove_commits(&engine).await })
        });
        // On its own, since it waits behind everything else that is written.
        let clockwork = self.engine.clone();
        self.engine.tasks.keep("scheduler", move || {
            let engine = clockwork.clone();
            Box::pin(async move { scheduler::run(&engine).await })
        });
        let rememberer = self.engine.clone();
        self.engine.tasks.keep("memory", move || {
            let engine = rememberer.clone();
            Box::pin(async move { memory::keep_up(&engine).await })
        });
        self.engine.tasks.keep("retention", move || {
            let engine = cleaner.clone();
            Box::pin(async move { forget_old_rows(&engine).await })
        });
    }

    fn log_start(&self, recovered: &Recovered) {
        tracing::info!(
            boot = %recovered.boot,
            unclean = recovered.unclean,
            sessions = recovered.sessions.len(),
            uncertain_sends = recovered.uncertain_sends,
            "recovered"
        );
    }
}

/// Receives for ever. Trouble with the outside is no reason to count the task as failing: it begins again after a pause.
async fn receive(channel: &dyn AnyChannel, intake: Arc<ChannelIntake>, name: &ChannelName, clock: &dyn Clock) {
    let mut pause = RECEIVE_PAUSE;
    loop {
        let started = clock.monotonic();
        match channel.receive(intake.clone()).await {
            ChannelError::Restart(reason) => tracing::warn!(channel = %name, reason, "the channel starts again"),
            ChannelError::Fatal(reason) => {
                tracing::error!(channel = %name, reason, "the channel is down until a person mends it");
                return std::future::pending().await;
            }
        }
        if clock.monotonic().saturating_sub(started) > RECEIVE_PAUSE_MAX {
            pause = RECEIVE_PAUSE;
        }
        clock.sleep(pause).await;
        pause = (pause * 2).min(RECEIVE_PAUSE_MAX);
    }
}

fn dispatchers(adapters: &Adapters, health: &Arc<Health>, herald: &Herald) -> Dispatchers {
    let make = |(name, channel): (&ChannelName, &Arc<dyn AnyChannel>)| {
        let health = health.clone();
        let (channel, storage, clock) = (channel.clone(), adapters.storage.clone(), adapters.clock.clone());
        let (rng, herald) = (adapters.rng.clone(), herald.clone());
        (name.clone(), Dispatcher::new(channel, storage, clock, rng, herald, move || health.beat("outbox")))
    };
    adapters.channels.iter().map(make).collect()
}

/// Tells the owners of what the last process was sending when it died and what cannot be sent again: `recovered_at` is when it
/// was given up.
async fn tell_of_lost_sends(engine: Arc<Engine>, recovered_at: Timestamp) {
    let clock = &engine.adapters.clock;
    for (name, channel) in &engine.adapters.channels {
        // Before that, nobody can be told.
        while channel.account().is_none() {
            clock.sleep(ACCOUNT_PAUSE).await;
        }
        match engine.adapters.storage.view(Query::Channel(name.clone()), clock.now()).await {
            Ok(View::Channel(view)) => {
                let lost = view.dead.iter().filter(|dead| dead.at == recovered_at);
                for dead in lost {
                    let error = format!("{} – {}", dead.text, dead.error);
                    engine.herald.say(News::undelivered(dead.chat, &error));
                }
            }
            Ok(_) => tracing::error!("the store answered another question"),
            Err(error) => tracing::error!(%error, "it is not known what was lost"),
        }
    }
}

/// Deletes what is old enough, a little at a time.
async fn forget_old_rows(engine: &Engine) {
    let clock = &engine.adapters.clock;
    let mut pause = HOUSEKEEPING;
    loop {
        clock.sleep(pause).await;
        hit(Failpoint::RetentionBeforeDelete);
        let more = engine.adapters.storage.retain(engine.settings.retention, clock.now()).await;
        hit(Failpoint::RetentionAfterDelete);
        pause = if matches!(more, Ok(true)) { RETENTION_SOON } else { RETENTION };
        if let Err(error) = more {
            tracing::error!(%error, "old rows could not be deleted");
        } else if pause == RETENTION {
            forget_old_files(engine).await;
        }
    }
}

/// Deletes files that no conversation shows and no unsent message needs.
async fn forget_old_files(engine: &Engine) {
    let now = engine.adapters.clock.now();
    let keep = match engine.adapters.storage.view(Query::Attachments, now).await {
        Ok(View::Attachments(keep)) => keep,
        Ok(_) => return tracing::error!("the store answered another question"),
        Err(error) => return tracing::error!(%error, "it is not known which files are needed"),
    };
    let (blobs, days) = (engine.adapters.blobs.clone(), engine.settings.attachments_days);
    match blocking(move || blobs.sweep(&keep, days, now)).await {
        Some(Ok(0)) | None => {}
        Some(Ok(bytes)) => tracing::info!(bytes, "old files were deleted"),
        Some(Err(error)) => tracing::error!(%error, "old files could not be deleted"),
    }
}

/// Proves again and again that commits work.
async fn prove_commits(engine: &Engine) {
    loop {
        engine.health.beat("housekeeping");
        match engine.adapters.storage.probe(engine.adapters.clock.now()).await {
            Ok(()) => engine.health.beat(WRITER),
            Err(StoreError::Closed) if !engine.is_draining() => {
                tracing::error!("the database's writer is gone; the process ends");
                engine.tasks.fail();
            }
            Err(error) => tracing::error!(%error, "commits do not work"),
        }
        engine.adapters.clock.sleep(HOUSEKEEPING).await;
    }
}

/// The book of what is held and spent, as the ledger has it.
async fn open_book(adapters: &Adapters, settings: &Settings, herald: &Herald) -> Result<Money, StoreError> {
    let (zone, now) = (settings.timezone.clone(), adapters.clock.now());
    // The tables of the time zones are files.
    let zone = blocking(move || zone_or_system(zone.as_deref())).await.unwrap_or(TimeZone::UTC);
    let period = money::period(&zone, now);
    let query = Query::Spent { day: period.day, month: period.month };
    match adapters.storage.view(query, now).await? {
        View::Spent(spent) => Ok(Money::new(settings.caps, zone, &spent, now, herald.clone())),
        _ => Err(StoreError::Broken("the store answered another question".to_owned())),
    }
}

async fn store_status(engine: &Engine) -> Result<StoreStatus, StoreError> {
    match engine.adapters.storage.view(Query::Status, engine.adapters.clock.now()).await? {
        View::Status(status) => Ok(status),
        _ => Err(StoreError::Broken("the store answered another question".to_owned())),
    }
}

/// The answer to `/status` in a chat: what concerns this person's session, and whether all is well.
pub(crate) async fn status_text(engine: &Engine, session: &SessionKey, principal: &Principal) -> String {
    let busy = if engine.sessions.is_busy(session) {
        "I am working on a message of yours."
    } else {
        "Nothing is running here."
    };
    let killed = if engine.is_killed() { "The kill switch is on, so nothing runs until /resume. " } else { "" };
    let busy = format!("{killed}{busy} New conversations use {}.", engine.settings.model);
    // Money and the state of the house are the owner's.
    if *principal != Principal::Owner {
        return busy;
    }
    let spent = match store_status(engine).await {
        Ok(status) => format!("The last 24 hours cost {}.", short(status.spent_day)),
        Err(error) => format!("My database cannot be read: {error}."),
    };
    let troubles: Vec<String> = engine
        .adapters
        .channels
        .iter()
        .filter_map(|(name, channel)| {
            engine.health.channel_trouble(&channel.health()).map(|why| format!("{name}: {why}"))
        })
        .collect();
    let well = if troubles.is_empty() { "All is well.".to_owned() } else { troubles.join("; ") };
    format!("{busy} {spent} {well}")
}

/// Dollars with four decimals.
fn short(cost: MicroUsd) -> String {
    let hundredths = cost.0.div_ceil(100);
    format!("${}.{:04}", hundredths / 10_000, hundredths % 10_000)
}
