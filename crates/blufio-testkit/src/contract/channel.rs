//! What every channel must do, whatever is behind it; and an inbox in memory for its tests.
//!
//! The suite plays the runtime on one side and, through [`Outside`], a person on the other. It refuses to know any
//! service: limits, formats and faults of one are the business of that channel's own tests.

use blufio_core::ids::OutboxId;
use blufio_core::port::{
    AnyChannel, Boxed, ChannelError, ChannelHealth, Inbound, InboundKind, Intake, IntakeError, Preview, PreviewOutcome,
    SendOutcome,
};
use blufio_core::record::{OutboxRow, Payload, Rendered, Route};
use blufio_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How long one step of the suite may take.
const STEP_LIMIT: Duration = Duration::from_secs(10);

/// The world behind the channel: one person in one conversation.
pub trait Outside: Send + Sync {
    /// The person writes.
    fn write(&self, text: &str);
    /// What the person sees of the channel's messages now, oldest first, without markup.
    fn seen(&self) -> Vec<String>;
    /// Where an answer to the person goes.
    fn route(&self) -> Route;
}

/// Runs the whole suite. The channel must be fresh and its clock must not really wait.
pub async fn run(channel: Arc<dyn AnyChannel>, outside: &dyn Outside) {
    rendering(channel.as_ref());
    receiving(&channel, outside).await;
    sending(channel.as_ref(), outside).await;
    previewing(channel.as_ref(), outside).await;
    best_effort(channel.as_ref(), outside).await;
}

fn rendering(channel: &dyn AnyChannel) {
    assert!(channel.render("").is_empty(), "nothing becomes no message");
    assert!(channel.render(" \n\t ").is_empty(), "blanks become no message");
    for text in ["x", "**bold**", "<b>", "```\ncode\n```", "a & b", "\u{1F600}"] {
        let rendered = channel.render(text);
        assert_eq!(rendered.len(), 1, "{text:?}");
        assert!(!rendered[0].rich.trim().is_empty() && !rendered[0].plain.trim().is_empty(), "{text:?}");
    }
    let long: String = (0..3_000).map(|number| format!("word{number} ")).collect();
    let words: Vec<String> = channel.render(&long).iter().flat_map(|part| words_of(&part.plain)).collect();
    assert_eq!(words, words_of(&long), "a long text arrives whole and in order");
}

fn words_of(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

async fn receiving(channel: &Arc<dyn AnyChannel>, outside: &dyn Outside) {
    let intake = Arc::new(MemoryIntake::default());
    let task = receive(channel, &intake);
    write_all(outside, &["one", "two"]);
    intake.wait_for_texts(&["one", "two"]).await;
    // A batch that is not taken comes again, and nothing is confirmed meanwhile.
    intake.refuse(2);
    write_all(outside, &["three"]);
    intake.wait_for_texts(&["one", "two", "three"]).await;
    stop(task).await;
    // A channel that is started anew goes on where the inbox is, whatever happened meanwhile.
    write_all(outside, &["four", "five"]);
    let task = receive(channel, &intake);
    intake.wait_for_texts(&["one", "two", "three", "four", "five"]).await;
    assert!(
        matches!(
            channel.health(),
            ChannelHealth::Ready { .. } | ChannelHealth::Listening | ChannelHealth::Degraded { .. }
        ),
        "a channel that received is neither starting nor failed: {:?}",
        channel.health()
    );
    stop(task).await;
    check_facts(&intake, outside);
}

/// Every update has an identity of its own, and every message says who, where and in which conversation.
fn check_facts(intake: &MemoryIntake, outside: &dyn Outside) {
    let updates = intake.distinct();
    let identities: BTreeSet<(i64, &str)> =
        updates.iter().map(|inbound| (inbound.update, inbound.fingerprint.as_str())).collect();
    assert_eq!(identities.len(), updates.len());
    let mut sessions = BTreeSet::new();
    for inbound in &updates {
        assert!(!inbound.fingerprint.is_empty() && !inbound.raw.is_empty(), "{inbound:?}");
        let InboundKind::Message { sender, route, session, .. } = &inbound.kind else { continue };
        assert!(!sender.bot && !sender.impersonal, "{sender:?}");
        assert_eq!(Route { reply_to: None, ..route.clone() }, Route { reply_to: None, ..outside.route() });
        sessions.insert(session.clone());
    }
    assert_eq!(sessions.len(), 1, "one conversation has one key: {sessions:?}");
}

async fn sending(channel: &dyn AnyChannel, outside: &dyn Outside) {
    let before = outside.seen().len();
    let mut numbers = BTreeSet::new();
    let long: String = (0..3_000).map(|number| format!("word{number} ")).collect();
    for text in ["hello", "**bold** and <tags> & `code`", long.as_str()] {
        for body in channel.render(text) {
            let number = sent(channel.send(&row(outside, body, None)).await);
            assert!(numbers.insert(number), "each message has a number of its own: {number}");
        }
    }
    let seen = outside.seen();
    assert_eq!(seen[before], "hello");
    assert_eq!(seen[before + 1], "bold and <tags> & code");
    assert_eq!(words_of(&seen[before + 2..].join(" ")), words_of(&long));

    let first = numbers.first().copied().unwrap_or_default();
    let changed = Rendered { rich: "changed".to_owned(), plain: "changed".to_owned() };
    for _ in 0..2 {
        // The second time nothing is left to change, which is fine too: a row may be sent again after a crash.
        assert_eq!(sent(channel.send(&row(outside, changed.clone(), Some(first))).await), first);
    }
    assert_eq!(outside.seen()[before], "changed");
    assert_eq!(outside.seen().len(), seen.len(), "a replacement is no new message");
}

async fn previewing(channel: &dyn AnyChannel, outside: &dyn Outside) {
    let before = outside.seen().len();
    let mut message = None;
    for text in ["The ans", "The answer **is", "The answer **is** 42"] {
        let preview = Preview { route: outside.route(), draft: 77, text: text.to_owned(), message };
        match channel.preview(preview).await {
            PreviewOutcome::Shown { pause } => assert!(!pause.is_zero()),
            PreviewOutcome::Placed { message: placed, pause } => {
                assert!(message.is_none_or(|known| known == placed), "one reply has one placeholder");
                assert!(!pause.is_zero());
                message = Some(placed);
            }
            PreviewOutcome::Stop => break,
        }
    }
    for body in channel.render("The answer **is** 42.") {
        sent(channel.send(&row(outside, body, message)).await);
    }
    assert_eq!(outside.seen()[before..], ["The answer is 42."], "the finished text is there exactly once");
}

async fn best_effort(channel: &dyn AnyChannel, outside: &dyn Outside) {
    let route = outside.route();
    channel.typing(&route).await;
    for body in channel.render("soon gone") {
        let number = sent(channel.send(&row(outside, body, None)).await);
        channel.remove(&route, number).await;
        channel.remove(&route, number).await;
    }
    // Convenience for the person; nothing may depend on it, whatever the outside says.
    channel.acknowledge(&route).await;
    channel.answer_press("no such press", "words").await;
    let private = channel.private_route(route.chat).expect("by now it is known which account this is");
    assert_eq!((private.account, private.chat, private.thread), (route.account, route.chat, None));
    assert_eq!(channel.account(), Some(route.account));
    assert!(channel.invitation("CODE2345").is_none_or(|address| address.contains("CODE2345")));
    let name = channel.name();
    assert_eq!(name, route.channel);
}

fn sent(outcome: SendOutcome) -> i64 {
    match outcome {
        SendOutcome::Sent(number) => number,
        other => panic!("{other:?}"),
    }
}

fn row(outside: &dyn Outside, body: Rendered, replaces: Option<i64>) -> OutboxRow {
    outbox_row(outside.route(), body, replaces)
}

/// A row that is due, as the runtime would hand it out.
pub fn outbox_row(route: Route, body: Rendered, replaces: Option<i64>) -> OutboxRow {
    OutboxRow {
        id: OutboxId(1),
        route,
        body,
        replaces,
        payload: Payload::Text,
        attempt: 1,
        not_before: Timestamp(0),
        maybe_duplicate: false,
        at: Timestamp(0),
    }
}

fn write_all(outside: &dyn Outside, texts: &[&str]) {
    for text in texts {
        outside.write(text);
    }
}

/// Starts receiving.
pub fn receive(channel: &Arc<dyn AnyChannel>, intake: &Arc<MemoryIntake>) -> JoinHandle<ChannelError> {
    let channel = Arc::clone(channel);
    let intake: Arc<dyn Intake> = Arc::clone(intake) as Arc<dyn Intake>;
    tokio::spawn(async move { channel.receive(intake).await })
}

/// Ends receiving; the future is dropped when this returns.
pub async fn stop(task: JoinHandle<ChannelError>) {
    task.abort();
    match task.await {
        Ok(error) => panic!("receiving ended by itself: {error}"),
        Err(error) => assert!(error.is_cancelled(), "{error}"),
    }
}

#[derive(Default)]
struct Memory {
    cursors: BTreeMap<i64, i64>,
    batches: Vec<(i64, Vec<Inbound>)>,
    refusals: u32,
    full: bool,
    refused: u32,
    told: Vec<(&'static str, String)>,
}

/// What [`MemoryIntake`] calls before it takes a batch, with the cursor behind it.
pub type OnAccept = Box<dyn Fn(i64) + Send + Sync>;

/// An inbox in memory.
#[derive(Default)]
pub struct MemoryIntake {
    memory: Mutex<Memory>,
    changed: Notify,
    on_accept: Option<OnAccept>,
}

impl MemoryIntake {
    /// An inbox that calls `on_accept` with each new cursor, before the batch counts as stored.
    pub fn watched(on_accept: OnAccept) -> Self {
        Self { on_accept: Some(on_accept), ..Self::default() }
    }

    /// An inbox whose cursor of `account` is set already.
    pub fn at(account: i64, cursor: i64) -> Self {
        let intake = Self::default();
        intake.lock().cursors.insert(account, cursor);
        intake
    }

    /// Refuses the next batches.
    pub fn refuse(&self, times: u32) {
        self.lock().refusals = times;
    }

    /// Takes no more (or more again).
    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
        self.changed.notify_waiters();
    }

    /// Batches refused so far.
    pub fn refused(&self) -> u32 {
        self.lock().refused
    }

    /// What the owner was told: topic and words.
    pub fn told(&self) -> Vec<(&'static str, String)> {
        self.lock().told.clone()
    }

    /// The batches taken, with repeats.
    pub fn batches(&self) -> Vec<Vec<Inbound>> {
        self.lock().batches.iter().map(|(_, batch)| batch.clone()).collect()
    }

    /// The updates taken, in order and without repeats, as the store would keep them.
    pub fn distinct(&self) -> Vec<Inbound> {
        let mut known = BTreeSet::new();
        let all = self.batches().into_iter().flatten();
        all.filter(|inbound| known.insert((inbound.update, inbound.fingerprint.clone()))).collect()
    }

    /// The texts of the messages taken, in order and without repeats.
    pub fn texts(&self) -> Vec<String> {
        let text = |inbound: Inbound| match inbound.kind {
            InboundKind::Message { content, .. } => Some(content.text),
            InboundKind::Edited { .. }
            | InboundKind::Pressed { .. }
            | InboundKind::Reacted { .. }
            | InboundKind::Membership { .. }
            | InboundKind::Migrated { .. }
            | InboundKind::Ignored(_)
            | InboundKind::Malformed => None,
        };
        self.distinct().into_iter().filter_map(text).collect()
    }

    /// Waits until `check` finds something. Panics after ten seconds.
    pub async fn wait_for<T>(&self, mut check: impl FnMut(&Self) -> Option<T>) -> T {
        let search = async {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                changed.as_mut().enable();
                if let Some(found) = check(self) {
                    return found;
                }
                changed.await;
            }
        };
        match tokio::time::timeout(STEP_LIMIT, search).await {
            Ok(found) => found,
            Err(_) => panic!("nothing after {STEP_LIMIT:?}; taken so far: {:?}", self.texts()),
        }
    }

    /// Waits until exactly these texts were taken, in this order.
    pub async fn wait_for_texts(&self, texts: &[&str]) {
        self.wait_for(|intake| (intake.texts().len() >= texts.len()).then_some(())).await;
        assert_eq!(self.texts(), texts);
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intake for MemoryIntake {
    fn accept(&self, account: i64, batch: Vec<Inbound>, cursor: i64) -> Boxed<'_, Result<(), IntakeError>> {
        Box::pin(async move {
            // Gives a channel that does not wait the time to show it.
            tokio::task::yield_now().await;
            if let Some(on_accept) = &self.on_accept {
                on_accept(cursor);
            }
            {
                let mut memory = self.lock();
                if memory.refusals > 0 {
                    memory.refusals -= 1;
                    memory.refused += 1;
                    drop(memory);
                    self.changed.notify_waiters();
                    return Err(IntakeError("refused by the test".to_owned()));
                }
                memory.batches.push((account, batch));
                memory.cursors.insert(account, cursor);
            }
            self.changed.notify_waiters();
            Ok(())
        })
    }

    fn cursor(&self, account: i64) -> Option<i64> {
        self.lock().cursors.get(&account).copied()
    }

    fn ready(&self) -> Boxed<'_, ()> {
        Box::pin(async move {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                changed.as_mut().enable();
                if !self.lock().full {
                    return;
                }
                changed.await;
            }
        })
    }

    fn tell_owner(&self, topic: &'static str, text: String) {
        self.lock().told.push((topic, text));
        self.changed.notify_waiters();
    }
}
