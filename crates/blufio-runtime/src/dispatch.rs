//! Sends what is in the outbox of one channel: strictly in order per chat, within the rates, each try committed before its
//! first byte is written.
//!
//! The fast path: an actor that is about to commit an answer asks for a [`Permit`]. If the chat has nothing waiting and the
//! rates allow it, the row is committed as being sent and handed over directly, which saves a commit.

use crate::tasks::Tasks;
use blufio_core::failpoint::{Failpoint, hit};
use blufio_core::ids::{ChannelName, OutboxId};
use blufio_core::limits::{OUTBOX_AGE, SEND_TRIES_MAX};
use blufio_core::port::{AnyChannel, AnyStorage, Clock, Rates, SendOutcome, StoreError};
use blufio_core::rate::Bucket;
use blufio_core::record::{OutboxMark, OutboxRow, Route};
use blufio_core::time::Timestamp;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::{HashMap, HashSet};
use std::future::Future;
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
/// Shortest and longest pause while the channel's server cannot be reached.
const UNREACHED_PAUSE: (Duration, Duration) = (Duration::from_millis(400), Duration::from_secs(30));
/// Waits longer than this are not worth keeping a row for.
const WAIT_MAX: Duration = Duration::from_secs(3_600);
/// Chats whose bucket is remembered. Full: all are forgotten, and start with a full burst.
const BUCKETS_MAX: usize = 4_096;

/// The way out of one channel.
pub struct Dispatcher {
    channel: Arc<dyn AnyChannel>,
    storage: Arc<dyn AnyStorage>,
    clock: Arc<dyn Clock>,
    state: Mutex<Lanes>,
    poke: Notify,
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
    /// The whole account rests until then.
    rest_until: Timestamp,
}

/// Leave to send one row at once. Dropping it unused frees the chat.
pub struct Permit {
    dispatcher: Arc<Dispatcher>,
    chat: Option<i64>,
}

type Sends = FuturesUnordered<blufio_core::port::Boxed<'static, (OutboxRow, SendOutcome)>>;

impl Dispatcher {
    /// For one channel. `beat` is called whenever the loop goes round.
    pub fn new(
        channel: Arc<dyn AnyChannel>,
        storage: Arc<dyn AnyStorage>,
        clock: Arc<dyn Clock>,
        beat: impl Fn() + Send + Sync + 'static,
    ) -> Arc<Self> {
        let rates = channel.rates();
        let account = rates.map(|rates| Bucket::new(rates.global_per_s, milli(rates.global_per_s), clock.now()));
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
        };
        let (poke, handed) = (Notify::new(), tokio::sync::Mutex::new(handed));
        Arc::new(Self { channel, storage, clock, state: Mutex::new(state), poke, hand, handed, beat: Box::new(beat) })
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
        let now = self.clock.now();
        let mut lanes = self.lock();
        let chat = route.chat;
        let free = !lanes.all_waiting && !lanes.waiting.contains_key(&chat) && !lanes.busy.contains(&chat);
        if !free || !lanes.wait(chat, now).is_zero() {
            return None;
        }
        lanes.take(chat, now);
        Some(Permit { dispatcher: self.clone(), chat: Some(chat) })
    }

    /// Rows were committed for this chat: look for them.
    pub fn poke(&self, route: &Route) {
        self.lock().expect_rows(route.chat);
        self.poke.notify_one();
    }

    /// Nothing is being sent.
    pub fn is_quiet(&self) -> bool {
        self.lock().busy.is_empty()
    }

    /// Sends until the task is dropped.
    async fn run(self: Arc<Self>) {
        let mut handed = self.handed.lock().await;
        let mut sends: Sends = FuturesUnordered::new();
        self.take_up().await;
        let mut look = true;
        let mut wait = LOOK_EVERY;
        loop {
            (self.beat)();
            if look {
                wait = self.start_due(&mut sends).await;
            }
            look = tokio::select! {
                Some(row) = handed.recv() => {
                    sends.push(self.send(row));
                    false
                }
                Some((row, outcome)) = sends.next(), if !sends.is_empty() => self.sent(row, outcome).await,
                () = self.poke.notified() => true,
                () = self.clock.sleep(wait) => true,
            };
        }
    }

    /// If a loop before this one panicked, nobody knows what became of the rows it was sending.
    async fn take_up(&self) {
        let lost: Vec<(i64, OutboxId)> = {
            let mut lanes = self.lock();
            lanes.all_waiting = true;
            lanes.sending.drain().collect()
        };
        let error = || "the outbox loop was restarted".to_owned();
        let marks = lost.iter().map(|(_, id)| OutboxMark::Uncertain { id: *id, error: error() }).collect::<Vec<_>>();
        if !marks.is_empty()
            && let Err(error) = self.storage.mark(marks, self.clock.now()).await
        {
            tracing::error!(%error, "rows that were being sent could not be booked; the next start does it");
        }
        let mut lanes = self.lock();
        for (chat, _) in lost {
            lanes.busy.remove(&chat);
        }
    }

    /// Starts every row that may go now; says when to look again.
    async fn start_due(&self, sends: &mut Sends) -> Duration {
        let now = self.clock.now();
        let (resting, look) = {
            let mut lanes = self.lock();
            lanes.looks += 1;
            (lanes.rest_until.since(now), lanes.looks)
        };
        if !resting.is_zero() {
            return resting.min(LOOK_EVERY);
        }
        let rows = match self.storage.outbox(self.channel.name(), READ_ROWS).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::error!(%error, "the outbox could not be read");
                return Duration::from_secs(1);
            }
        };
        let complete = rows.len() < usize::try_from(READ_ROWS).unwrap_or(usize::MAX);
        let (due, wait) = self.lock().pick(rows, complete.then_some(look), now);
        let mut marks = Vec::with_capacity(due.len());
        for row in &due {
            marks.push(OutboxMark::Sending(row.id));
        }
        if !marks.is_empty() {
            hit(Failpoint::SendBeforeMark);
            if let Err(error) = self.storage.mark(marks, now).await {
                tracing::error!(%error, "the outbox could not be written");
                self.lock().release(&due);
                return Duration::from_secs(1);
            }
            hit(Failpoint::SendAfterMark);
        }
        for mut row in due {
            row.attempt = row.attempt.saturating_add(1);
            sends.push(self.send(row));
        }
        if complete { wait } else { Duration::from_millis(50) }
    }

    fn send(&self, row: OutboxRow) -> blufio_core::port::Boxed<'static, (OutboxRow, SendOutcome)> {
        self.lock().sending.insert(row.route.chat, row.id);
        let channel = self.channel.clone();
        Box::pin(async move {
            let outcome = channel.send(&row).await;
            (row, outcome)
        })
    }

    /// Books how a send ended. True: look for more rows.
    async fn sent(&self, row: OutboxRow, outcome: SendOutcome) -> bool {
        let now = self.clock.now();
        let mark = self.judge(&row, outcome, now);
        let again = !matches!(mark, OutboxMark::Sent(..));
        hit(Failpoint::SentBeforeCommit);
        let mut pause = Duration::from_millis(100);
        while let Err(error) = self.storage.mark(vec![mark.clone()], now).await {
            // The row stays `sending`: a crash now means one possible duplicate, never a loss.
            tracing::error!(%error, row = %row.id, "the end of a send could not be written");
            if matches!(error, StoreError::Closed | StoreError::NotFound(_)) {
                break;
            }
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
        hit(Failpoint::SentAfterCommit);
        let mut lanes = self.lock();
        lanes.busy.remove(&row.route.chat);
        lanes.sending.remove(&row.route.chat);
        if again {
            lanes.expect_rows(row.route.chat);
        }
        again || lanes.all_waiting || lanes.waiting.contains_key(&row.route.chat)
    }

    fn judge(&self, row: &OutboxRow, outcome: SendOutcome, now: Timestamp) -> OutboxMark {
        let (channel, id) = (self.channel.name().to_string(), row.id);
        let count = |outcome: &'static str| {
            metrics::counter!("blufio_sends_total", "channel" => channel.clone(), "outcome" => outcome).increment(1);
        };
        match outcome {
            SendOutcome::Sent(message) => {
                count("sent");
                OutboxMark::Sent(id, message)
            }
            SendOutcome::Uncertain(error) => {
                count("uncertain");
                OutboxMark::Uncertain { id, error }
            }
            SendOutcome::Dead(error) => {
                count("dead");
                tracing::warn!(row = %id, error, "a message cannot be delivered");
                OutboxMark::Dead(id, error)
            }
            SendOutcome::ChatClosed(error) => {
                count("chat_closed");
                OutboxMark::ChatClosed(row.route.clone(), error)
            }
            SendOutcome::Unauthorized(error) => {
                count("unauthorized");
                self.lock().rest_until = now.plus(REFUSED_REST);
                // Only this process rests: a start with another token sends at once.
                OutboxMark::Again { id, not_before: now, free: true, error }
            }
            SendOutcome::NotSent { after: Some(after), everywhere, error } => {
                count("rate_limited");
                if everywhere {
                    self.lock().rest_until = now.plus(after);
                }
                if after > WAIT_MAX {
                    return OutboxMark::Dead(id, format!("asked to wait for {} s: {error}", after.as_secs()));
                }
                OutboxMark::Again { id, not_before: now.plus(after), free: true, error }
            }
            SendOutcome::NotSent { after: None, everywhere: true, error } => {
                count("not_connected");
                let age = now.since(row.at);
                if age > OUTBOX_AGE {
                    return OutboxMark::Dead(id, error);
                }
                // As long as it has waited already, which doubles the pauses.
                let pause = age.clamp(UNREACHED_PAUSE.0, UNREACHED_PAUSE.1);
                self.lock().rest_until = now.plus(pause);
                OutboxMark::Again { id, not_before: now.plus(pause), free: true, error }
            }
            SendOutcome::NotSent { after: None, everywhere: false, error } => {
                count("not_sent");
                if row.attempt >= SEND_TRIES_MAX {
                    return OutboxMark::Dead(id, error);
                }
                let pause =
                    Duration::from_millis(400 << row.attempt.saturating_sub(1).min(6)).min(Duration::from_secs(30));
                OutboxMark::Again { id, not_before: now.plus(pause), free: false, error }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    /// How long until this chat may get a message.
    fn wait(&mut self, chat: i64, now: Timestamp) -> Duration {
        let resting = self.rest_until.since(now);
        let (Some(rates), Some(account)) = (self.rates, self.account.as_mut()) else { return resting };
        let bucket =
            self.chats.entry(chat).or_insert_with(|| Bucket::new(rates.chat_burst, milli(rates.chat_per_s), now));
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
    fn pick(&mut self, rows: Vec<OutboxRow>, complete: Option<u64>, now: Timestamp) -> (Vec<OutboxRow>, Duration) {
        let mut soonest = LOOK_EVERY;
        let found: HashSet<i64> = rows.iter().map(|row| row.route.chat).collect();
        let mut due = Vec::new();
        for row in rows {
            let chat = row.route.chat;
            if self.busy.contains(&chat) {
                continue;
            }
            let wait = self.wait(chat, now).max(row.not_before.since(now));
            if wait.is_zero() {
                self.take(chat, now);
                due.push(row);
            } else {
                soonest = soonest.min(wait);
            }
        }
        if let Some(look) = complete {
            // A busy chat shows no row while its first one is being sent, and rows that came since the look were not seen.
            let busy = &self.busy;
            self.waiting.retain(|chat, known| found.contains(chat) || busy.contains(chat) || *known >= look);
            self.all_waiting = false;
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

/// The rate of a bucket in thousandths of a token per second.
fn milli(per_second: u32) -> u64 {
    u64::from(per_second).saturating_mul(1_000)
}

/// The dispatchers by channel.
pub type Dispatchers = std::collections::BTreeMap<ChannelName, Arc<Dispatcher>>;
