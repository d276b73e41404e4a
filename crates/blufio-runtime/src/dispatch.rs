//! Sends what is in the outbox of one channel: strictly in order per chat, within the rates, each try committed before its
//! first byte is written.
//!
//! The fast path: an actor that is about to commit an answer asks for a [`Permit`]. If the chat has nothing waiting and the
//! rates allow it, the row is committed as being sent and handed over directly, which saves a commit.

use crate::herald::{Herald, News};
use crate::tasks::{Tasks, guarded};
use blufio_core::approval::{approval_id, buttons, offers_always};
use blufio_core::failpoint::{Failpoint, hit};
use blufio_core::ids::{ApprovalId, ChannelName, OutboxId};
use blufio_core::limits::OUTBOX_AGE;
use blufio_core::port::{AnyChannel, AnyStorage, Boxed, Clock, Rates, Rng, SendOutcome, StoreError};
use blufio_core::rate::Bucket;
use blufio_core::record::{OutboxMark, OutboxRow, Payload, Rendered, Route};
use blufio_core::time::Timestamp;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// Rows handed over that wait for the loop. Full: the actor waits, which is as good as the row waiting in the outbox.
const HANDED_MAX: usize = 64;
/// Rows read at a time, one per chat.
const READ_ROWS: u32 = 256;
/// How often the loop looks even if nobody pokes it, and stamps that it lives.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long a channel rests after the account was refused.
const REFUSED_REST: Duration = Duration::from_secs(60);
/// After the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Shortest and longest pause after a provable failure; between them as long as the row has waited already, which doubles it.
const FAILED_PAUSE: (Duration, Duration) = (Duration::from_millis(400), Duration::from_secs(30));
/// Waits longer than this are not worth keeping a row for.
const WAIT_MAX: Duration = Duration::from_secs(3_600);
/// Chats whose bucket is remembered. Full: all are forgotten, and start with a full burst.
const BUCKETS_MAX: usize = 4_096;

/// The way out of one channel.
pub struct Dispatcher {
    channel: Arc<dyn AnyChannel>,
    storage: Arc<dyn AnyStorage>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    /// Takes what others should know.
    herald: Herald,
    state: Mutex<Lanes>,
    poke: Notify,
    /// No new send: the process is ending.
    draining: AtomicBool,
    hand: mpsc::Sender<OutboxRow>,
    handed: tokio::sync::Mutex<mpsc::Receiver<OutboxRow>>,
    /// Called on every round of the loop.
    beat: Box<dyn Fn() + Send + Sync>,
}

/// What is going on per chat.
struct Lanes {
    /// Chats with a permit given out or a row being sent.
    busy: HashSet<i64>,
    /// The row that is being sent, by chat.
    sending: HashMap<i64, OutboxId>,
    /// Looks at the outbox so far.
    looks: u64,
    /// Chats that may have rows waiting, with the look during or before which that became known; nobody overtakes them.
    waiting: HashMap<i64, u64>,
    /// After a start nothing is known, so every chat may have rows.
    all_waiting: bool,
    rates: Option<Rates>,
    account: Option<Bucket>,
    chats: HashMap<i64, Bucket>,
    /// The whole account rests until then. Like the buckets, on the monotonic clock, which nobody sets.
    rest_until: Timestamp,
    /// So do these chats, whatever is for them: the pause of a row holds for that row alone.
    rests: HashMap<i64, Timestamp>,
}

/// Leave to send one row at once. Dropping it unused frees the chat.
pub struct Permit {
    dispatcher: Arc<Dispatcher>,
    chat: Option<i64>,
}

/// Rows on their way; each says at its end whether there may be more for its chat.
type Sends = FuturesUnordered<Boxed<'static, bool>>;

impl Dispatcher {
    /// For one channel. `beat` is called whenever the loop goes round.
    pub fn new(
        channel: Arc<dyn AnyChannel>,
        storage: Arc<dyn AnyStorage>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        herald: Herald,
        beat: impl Fn() + Send + Sync + 'static,
    ) -> Arc<Self> {
        let rates = channel.rates();
        let account =
            rates.map(|rates| Bucket::new(rates.global_per_s, milli(rates.global_per_s), monotonic(clock.as_ref())));
        let (hand, handed) = mpsc::channel(HANDED_MAX);
        let state = Lanes {
            busy: HashSet::new(),
            sending: HashMap::new(),
            looks: 0,
            waiting: HashMap::new(),
            all_waiting: true,
            rates,
            account,
            chats: HashMap::new(),
            rest_until: Timestamp(0),
            rests: HashMap::new(),
        };
        Arc::new(Self {
            channel,
            storage,
            clock,
            rng,
            herald,
            state: Mutex::new(state),
            poke: Notify::new(),
            draining: AtomicBool::new(false),
            hand,
            handed: tokio::sync::Mutex::new(handed),
            beat: Box::new(beat),
        })
    }

    /// Keeps the loop running.
    pub fn start(self: &Arc<Self>, tasks: &Tasks) {
        let dispatcher = self.clone();
        tasks.keep("outbox", move || {
            let dispatcher = dispatcher.clone();
            Box::pin(async move { dispatcher.run().await })
        });
    }

    /// Leave to send one row to this chat now, if nothing waits there.
    pub fn reserve(self: &Arc<Self>, route: &Route) -> Option<Permit> {
        let now = monotonic(self.clock.as_ref());
        let mut lanes = self.lock();
        let chat = route.chat;
        if !lanes.is_free(chat) || !lanes.wait(chat, now).is_zero() {
            return None;
        }
        lanes.take(chat, now);
        Some(Permit { dispatcher: self.clone(), chat: Some(chat) })
    }

    /// Nothing waits for this chat or is being sent there, so what is not in the outbox overtakes nothing and disregards no
    /// pause that the server asked for.
    pub fn is_free(&self, route: &Route) -> bool {
        let now = monotonic(self.clock.as_ref());
        let lanes = self.lock();
        lanes.is_free(route.chat) && lanes.resting(route.chat, now).is_zero()
    }

    /// Rows were committed for this chat: look for them.
    pub fn poke(&self, route: &Route) {
        self.lock().expect_rows(route.chat);
        self.poke.notify_one();
    }

    /// Rows were committed for a chat that is not known here: look at all.
    pub fn poke_all(&self) {
        self.lock().all_waiting = true;
        self.poke.notify_one();
    }

    /// Nothing is being sent.
    pub fn is_quiet(&self) -> bool {
        self.lock().busy.is_empty()
    }

    /// From now on rows stay where they are; what is being sent may arrive.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Sends until the task is dropped.
    async fn run(self: Arc<Self>) {
        let mut handed = self.handed.lock().await;
        let mut sends: Sends = FuturesUnordered::new();
        self.take_up().await;
        // An instant and not a pause, so that the traffic of other chats does not put it off.
        let mut look_at = Duration::ZERO;
        loop {
            (self.beat)();
            let now = self.clock.monotonic();
            if now >= look_at {
                look_at = now.saturating_add(self.start_due(&mut sends).await);
            }
            tokio::select! {
                Some(row) = handed.recv() => sends.push(self.clone().deliver(row)),
                Some(more) = sends.next(), if !sends.is_empty() => {
                    if more {
                        look_at = Duration::ZERO;
                    }
                }
                () = self.poke.notified() => look_at = Duration::ZERO,
                () = self.clock.sleep(look_at.saturating_sub(self.clock.monotonic())) => {}
            }
        }
    }

    /// If a loop before this one panicked, nobody knows what became of the rows it was sending.
    async fn take_up(&self) {
        let lost: Vec<(i64, OutboxId)> = {
            let mut lanes = self.lock();
            lanes.all_waiting = true;
            lanes.sending.drain().collect()
        };
        for (chat, id) in lost {
            let mark = OutboxMark::Uncertain { id, anew: false, error: "the outbox loop was restarted".to_owned() };
            self.book(mark).await;
            self.lock().busy.remove(&chat);
        }
    }

    /// Starts every row that may go now; says when to look again.
    async fn start_due(self: &Arc<Self>, sends: &mut Sends) -> Duration {
        let now = monotonic(self.clock.as_ref());
        let (resting, look) = {
            let mut lanes = self.lock();
            lanes.looks += 1;
            (lanes.rest_until.since(now), lanes.looks)
        };
        if !resting.is_zero() || self.draining.load(Ordering::SeqCst) {
            return resting.clamp(Duration::from_millis(5), LOOK_EVERY);
        }
        let rows = match self.storage.outbox(self.channel.name(), READ_ROWS, self.clock.now()).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::error!(%error, "the outbox could not be read");
                return STORE_PAUSE;
            }
        };
        let complete = rows.len() < usize::try_from(READ_ROWS).unwrap_or(usize::MAX);
        let (due, wait) = self.lock().pick(rows, complete.then_some(look), now, self.clock.now());
        let mut marks = Vec::with_capacity(due.len());
        for row in &due {
            marks.push(OutboxMark::Sending(row.id));
        }
        if !marks.is_empty() {
            hit(Failpoint::SendBeforeMark);
            if let Err(error) = self.storage.mark(marks, self.clock.now()).await {
                tracing::error!(%error, "the outbox could not be written");
                self.lock().release(&due);
                return STORE_PAUSE;
            }
            hit(Failpoint::SendAfterMark);
        }
        for mut row in due {
            row.attempt = row.attempt.saturating_add(1);
            sends.push(self.clone().deliver(row));
        }
        if complete { wait } else { Duration::from_millis(50) }
    }

    /// Sends a row and books how that ended. True: there may be more for its chat.
    fn deliver(self: Arc<Self>, row: OutboxRow) -> Boxed<'static, bool> {
        self.lock().sending.insert(row.route.chat, row.id);
        Box::pin(async move {
            let crashed = || SendOutcome::Uncertain("the sending code panicked".to_owned());
            let outcome = guarded("send", self.channel.send(&row)).await.unwrap_or_else(crashed);
            let mark = self.judge(&row, outcome);
            self.tell(&row, &mark);
            let again = !matches!(mark, OutboxMark::Sent(..));
            hit(Failpoint::SentBeforeCommit);
            self.book(mark).await;
            hit(Failpoint::SentAfterCommit);
            let mut lanes = self.lock();
            lanes.busy.remove(&row.route.chat);
            lanes.sending.remove(&row.route.chat);
            if again {
                lanes.expect_rows(row.route.chat);
            }
            lanes.all_waiting || lanes.waiting.contains_key(&row.route.chat)
        })
    }

    /// Writes a mark, however long that takes: until then a crash means one possible duplicate, never a loss.
    async fn book(&self, mark: OutboxMark) {
        let mut pause = Duration::from_millis(100);
        while let Err(error) = self.storage.mark(vec![mark.clone()], self.clock.now()).await {
            tracing::error!(%error, ?mark, "the end of a send could not be written");
            if matches!(error, StoreError::Closed | StoreError::NotFound(_)) {
                return;
            }
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    fn judge(&self, row: &OutboxRow, outcome: SendOutcome) -> OutboxMark {
        let (id, now) = (row.id, self.clock.now());
        let (mark, word) = match outcome {
            SendOutcome::Sent(message) => (OutboxMark::Sent(id, message), "sent"),
            SendOutcome::SentBeside { message, remark } => {
                self.herald.say(News::Tell { topic: format!("beside {}", row.route.chat), text: remark, about: None });
                (OutboxMark::Sent(id, message), "sent")
            }
            SendOutcome::Migrated(new) => (OutboxMark::Migrated { id, route: row.route.clone(), new }, "migrated"),
            SendOutcome::Uncertain(error) => (self.uncertain(row, error, false), "uncertain"),
            SendOutcome::UncertainAnew(error) => (self.uncertain(row, error, true), "uncertain"),
            SendOutcome::Dead(error) => (OutboxMark::Dead(id, error), "dead"),
            SendOutcome::ChatClosed(error) => (OutboxMark::ChatClosed(row.route.clone(), error), "chat_closed"),
            SendOutcome::Unauthorized(error) => {
                self.rest(REFUSED_REST);
                // Only this process rests: a start with another token sends at once.
                (OutboxMark::Again { id, not_before: now, free: true, error }, "unauthorized")
            }
            SendOutcome::NotSent { after: Some(after), error, .. } if after > WAIT_MAX => {
                (OutboxMark::Dead(id, format!("asked to wait for {} s: {error}", after.as_secs())), "dead")
            }
            SendOutcome::NotSent { after: Some(after), everywhere, error } => {
                if everywhere {
                    self.rest(after);
                } else {
                    self.lock().rest(row.route.chat, monotonic(self.clock.as_ref()), after);
                }
                (OutboxMark::Again { id, not_before: now.plus(after), free: true, error }, "rate_limited")
            }
            SendOutcome::NotSent { after: None, error, .. } if now.since(row.at) > OUTBOX_AGE => {
                (OutboxMark::Dead(id, error), "dead")
            }
            SendOutcome::NotSent { after: None, everywhere, error } => {
                let pause = now.since(row.at).clamp(FAILED_PAUSE.0, FAILED_PAUSE.1);
                if everywhere {
                    self.rest(pause);
                }
                (OutboxMark::Again { id, not_before: now.plus(pause), free: everywhere, error }, "not_sent")
            }
        };
        if let OutboxMark::Dead(_, error) | OutboxMark::ChatClosed(_, error) = &mark {
            tracing::warn!(row = %id, error, "a message cannot be delivered");
        }
        let channel = self.channel.name().to_string();
        metrics::counter!("blufio_sends_total", "channel" => channel, "outcome" => word).increment(1);
        mark
    }

    /// What becomes of a send whose end nobody saw depends on what twice would mean.
    fn uncertain(&self, row: &OutboxRow, error: String, anew: bool) -> OutboxMark {
        match &row.payload {
            Payload::Text | Payload::Notice => OutboxMark::Uncertain { id: row.id, anew, error },
            Payload::File(file) => {
                OutboxMark::Dead(row.id, format!("nobody knows whether the file “{}” arrived: {error}", file.name))
            }
            Payload::Question { approval, buttons: shown } => {
                let fresh = approval_id([self.rng.bits(), self.rng.bits()]);
                let question = renamed(&row.body, approval, &fresh);
                let buttons = buttons(&fresh, offers_always(shown));
                OutboxMark::AskedAgain { id: row.id, void: approval.clone(), fresh, question, buttons }
            }
        }
    }

    /// Says what an owner, or the intake, should know of the end of a send.
    fn tell(&self, row: &OutboxRow, mark: &OutboxMark) {
        let lost = |error: &str| {
            // What could not be told is not told about.
            if row.payload != Payload::Notice {
                self.herald.say(News::undelivered(row.route.chat, error));
            }
        };
        match mark {
            OutboxMark::Dead(_, error) | OutboxMark::ChatClosed(_, error) => lost(error),
            OutboxMark::Migrated { route, new, .. } => {
                self.herald.say(News::Migrated { route: route.clone(), new: *new });
            }
            OutboxMark::Sending(_)
            | OutboxMark::Sent(..)
            | OutboxMark::Again { .. }
            | OutboxMark::Uncertain { .. }
            | OutboxMark::AskedAgain { .. } => {}
        }
    }

    /// Nothing is sent by this account for so long.
    fn rest(&self, pause: Duration) {
        let until = monotonic(self.clock.as_ref()).plus(pause);
        let mut lanes = self.lock();
        lanes.rest_until = lanes.rest_until.max(until);
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    fn is_free(&self, chat: i64) -> bool {
        !self.all_waiting && !self.waiting.contains_key(&chat) && !self.busy.contains(&chat)
    }

    /// Nothing is sent to this chat for so long.
    fn rest(&mut self, chat: i64, now: Timestamp, pause: Duration) {
        self.rests.retain(|_, until| !until.since(now).is_zero());
        self.rests.insert(chat, now.plus(pause));
    }

    /// How long the server wants nothing for this chat.
    fn resting(&self, chat: i64, now: Timestamp) -> Duration {
        let rest = self.rests.get(&chat).map_or(Duration::ZERO, |until| until.since(now));
        self.rest_until.since(now).max(rest)
    }

    /// How long until this chat may get a message.
    fn wait(&mut self, chat: i64, now: Timestamp) -> Duration {
        let resting = self.resting(chat, now);
        let (Some(rates), Some(account)) = (self.rates, self.account.as_mut()) else { return resting };
        let bucket = self.chats.entry(chat).or_insert_with(|| chat_bucket(&rates, chat, now));
        resting.max(account.wait(now)).max(bucket.wait(now))
    }

    fn take(&mut self, chat: i64, now: Timestamp) {
        self.busy.insert(chat);
        if let Some(account) = self.account.as_mut() {
            account.take(now);
        }
        if self.chats.len() > BUCKETS_MAX {
            self.chats.clear();
        }
        if let Some(bucket) = self.chats.get_mut(&chat) {
            bucket.take(now);
        }
    }

    /// Of the rows that are next in their chats, those that may go now; the others say when. `complete`: they are all there
    /// were when that look began.
    fn pick(
        &mut self,
        rows: Vec<OutboxRow>,
        complete: Option<u64>,
        now: Timestamp,
        wall: Timestamp,
    ) -> (Vec<OutboxRow>, Duration) {
        let mut soonest = LOOK_EVERY;
        if let Some(look) = complete {
            // A busy chat shows no row while its first one is being sent, and rows that came since the look were not seen.
            let busy = &self.busy;
            self.waiting.retain(|chat, known| busy.contains(chat) || *known >= look);
            self.all_waiting = false;
        }
        let mut due = Vec::new();
        for row in rows {
            let chat = row.route.chat;
            // Behind this row there may be more.
            self.expect_rows(chat);
            if self.busy.contains(&chat) {
                continue;
            }
            let wait = self.wait(chat, now).max(row.not_before.since(wall));
            if wait.is_zero() {
                self.take(chat, now);
                due.push(row);
            } else {
                soonest = soonest.min(wait);
            }
        }
        (due, soonest.max(Duration::from_millis(5)))
    }

    fn expect_rows(&mut self, chat: i64) {
        self.waiting.insert(chat, self.looks);
    }

    fn release(&mut self, rows: &[OutboxRow]) {
        for row in rows {
            self.busy.remove(&row.route.chat);
            self.expect_rows(row.route.chat);
        }
    }
}

impl Permit {
    /// Sends the row that was committed as being sent.
    pub fn hand_over(mut self, id: OutboxId, mut row: OutboxRow) -> impl Future<Output = ()> + Send {
        self.chat = None;
        row.id = id;
        let dispatcher = self.dispatcher.clone();
        async move {
            if let Err(error) = dispatcher.hand.send(row).await {
                tracing::error!(%error, "the outbox loop is gone");
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(chat) = self.chat {
            self.dispatcher.lock().busy.remove(&chat);
        }
    }
}

/// A private chat has the positive id of its person; groups have negative ones, and stricter limits.
fn chat_bucket(rates: &Rates, chat: i64, now: Timestamp) -> Bucket {
    if chat < 0 {
        return Bucket::new(rates.group_burst, milli(rates.group_per_min) / 60, now);
    }
    Bucket::new(rates.chat_burst, milli(rates.chat_per_s), now)
}

/// The same question under another id.
fn renamed(body: &Rendered, old: &ApprovalId, new: &ApprovalId) -> Rendered {
    let rename = |text: &str| text.replace(old.as_str(), new.as_str());
    Rendered { rich: rename(&body.rich), plain: rename(&body.plain) }
}

/// The monotonic clock in the form that buckets take.
fn monotonic(clock: &dyn Clock) -> Timestamp {
    Timestamp(i64::try_from(clock.monotonic().as_millis()).unwrap_or(i64::MAX))
}

/// The rate of a bucket in thousandths of a token per second.
fn milli(per_second: u32) -> u64 {
    u64::from(per_second).saturating_mul(1_000)
}

/// The dispatchers by channel.
pub type Dispatchers = std::collections::BTreeMap<ChannelName, Arc<Dispatcher>>;
