//! A strict Messages API: a real HTTP server that judges every request, bills it, and answers as told.
//!
//! It believes nothing of the product: it has its own rules ([`judge`], [`history`]), signatures, cache, tokens and
//! prices, none of which share code with what they check. Answers come from scripts, else from a small built-in
//! [`brain`]. Faults are byte-exact. Everything it saw can be read back. It refuses to know channels and databases.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::http::HttpServer;

pub mod brain;
pub mod cache;
mod canonical;
mod control;
pub mod error;
pub mod history;
pub mod judge;
pub mod media;
pub mod models;
mod reply;
mod script;
mod send;
mod serve;
mod signature;

pub use error::ApiError;
pub use history::judge_history;
pub use judge::judge_request;
pub use models::{Model, Models, Usage};
pub use script::{Block, Chunking, Class, Fault, FaultKind, Script, When};

/// Recorded streams, to be replayed whole or cut anywhere.
pub mod streams {
    /// Two text blocks with characters of two, three and four bytes.
    pub const TEXT: &str = include_str!("../../data/streams/text.sse");
    /// Thinking with a summary, a text, and two parallel calls: `weather` and `now`, the second without input.
    pub const TOOLS: &str = include_str!("../../data/streams/tools.sse");
    /// Thinking without text, redacted thinking, and a text.
    pub const THINKING: &str = include_str!("../../data/streams/thinking.sse");
}

/// Most violations that are kept; later ones are counted only.
pub const VIOLATIONS_MAX: usize = 1_000;
/// Most ids and digests of each kind that the fake remembers of its own answers.
const MEMORY_MAX: usize = 100_000;
/// Most requests whose fingerprint is kept for `diagnostics.previous_message_id`.
const FINGERPRINTS_MAX: usize = 1_000;

/// How a fake is set up.
#[derive(Clone, Debug)]
pub struct MessagesConfig {
    /// Where to listen; port 0 picks a free one.
    pub addr: SocketAddr,
    /// The only accepted key.
    pub api_key: String,
    /// Most requests and prompts that are kept; 0 keeps none.
    pub log_limit: usize,
    /// Speed of streams in output tokens per second; `None` sends everything at once.
    pub tokens_per_s: Option<u32>,
    /// Milliseconds before each delta of the built-in answers.
    pub delta_ms: u64,
    /// Whether prefixes are cached and booked as such; without it every prompt is plain input, which is cheaper.
    pub cache: bool,
    /// Whether signatures of thinking blocks are checked.
    pub signatures: bool,
}

impl Default for MessagesConfig {
    fn default() -> Self {
        Self {
            addr: ([127, 0, 0, 1], 0).into(),
            api_key: "sk-test".to_owned(),
            log_limit: 10_000,
            tokens_per_s: None,
            delta_ms: 0,
            cache: true,
            signatures: true,
        }
    }
}

/// One request as it came, to any path of the API.
#[derive(Clone, Debug)]
pub struct LoggedRequest {
    /// Time since the fake started.
    pub at: Duration,
    /// Method and path.
    pub target: String,
    /// Headers in the order sent, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body; `null` if it was none or not JSON.
    pub body: Arc<Value>,
    /// Status of the answer; 0 if there was none.
    pub status: u16,
    /// Id of the reply, if there was one.
    pub message_id: Option<String>,
}

/// Everything that can be read back, as [`FakeMessagesApi::wait_for`] sees it.
#[derive(Debug, Default)]
pub struct Observed {
    /// The newest requests, oldest first.
    pub requests: VecDeque<LoggedRequest>,
    /// The user's text of the newest legal requests, oldest first; each round of a turn repeats it.
    pub prompts: VecDeque<String>,
    /// What no correct client sends, oldest first.
    pub violations: Vec<String>,
    /// Violations so far, also those that were not kept.
    pub violation_count: u64,
    /// Replies begun so far.
    pub calls: u64,
    /// Price of all replies so far in micro-USD; of a cut one only what had been written by then.
    pub spend: u64,
    /// Replies that are being sent.
    pub open_calls: u64,
    /// Replies that the client did not hear to the end.
    pub disconnects: u64,
}

/// A running fake; clones are the same one, and the last one dropped ends it.
#[derive(Clone)]
pub struct FakeMessagesApi {
    shared: Arc<Shared>,
    server: Arc<HttpServer>,
}

struct Shared {
    config: MessagesConfig,
    models: Models,
    signer: signature::Signer,
    started: Instant,
    /// Part of every id, so that a restarted fake gives no id twice.
    boot: String,
    scripts: Mutex<VecDeque<Script>>,
    faults: Mutex<Vec<Fault>>,
    cache: Mutex<cache::Cache>,
    memory: RwLock<Memory>,
    observed: Mutex<Observed>,
    changed: Notify,
    ids: std::sync::atomic::AtomicU64,
}

/// What the fake must remember of its own answers to judge the next request.
#[derive(Default)]
struct Memory {
    /// Digests of contents that ended with `pause_turn`.
    paused: HashSet<u64>,
    /// Ids of calls of tools that were not declared.
    undeclared: HashSet<String>,
    /// Signatures out of recorded streams.
    foreign: HashSet<String>,
    /// Histories whose call was already cut once.
    cut: HashSet<u64>,
    fingerprints: HashMap<String, cache::Fingerprint>,
}

impl FakeMessagesApi {
    /// Starts a fake.
    pub async fn start(config: MessagesConfig) -> io::Result<Self> {
        let addr = config.addr;
        let nanos = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos());
        let shared = Arc::new(Shared {
            signer: signature::Signer::new(&config.api_key),
            config,
            models: Models::default(),
            started: Instant::now(),
            boot: format!("{:08x}", canonical::digest(u64::from(std::process::id()), &json!(nanos.to_string())) as u32),
            scripts: Mutex::default(),
            faults: Mutex::default(),
            cache: Mutex::default(),
            memory: RwLock::default(),
            observed: Mutex::default(),
            changed: Notify::new(),
            ids: std::sync::atomic::AtomicU64::new(0),
        });
        let server = Arc::new(HttpServer::start(addr, Arc::clone(&shared)).await?);
        Ok(Self { shared, server })
    }

    /// The address that was bound.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// `http://address:port`, without a slash at the end.
    pub fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// Appends an answer; the first waiting one that fits a request is given instead of a built-in one.
    pub fn push(&self, script: Script) {
        lock(&self.shared.scripts).push_back(script);
    }

    /// Scripts that no request has taken yet.
    pub fn scripts_left(&self) -> usize {
        lock(&self.shared.scripts).len()
    }

    /// Orders a fault.
    pub fn fault(&self, fault: Fault) {
        lock(&self.shared.faults).push(fault);
    }

    /// Takes all faults back.
    pub fn clear_faults(&self) {
        lock(&self.shared.faults).clear();
    }

    /// The newest requests, at most `log_limit`, oldest first.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.observed().requests.iter().cloned().collect()
    }

    /// The user's text of the newest legal requests, at most `log_limit`, oldest first.
    pub fn prompts_seen(&self) -> Vec<String> {
        self.observed().prompts.iter().cloned().collect()
    }

    /// What no correct client sends, at most [`VIOLATIONS_MAX`], oldest first.
    pub fn violations(&self) -> Vec<String> {
        self.observed().violations.clone()
    }

    /// Replies begun so far.
    pub fn calls(&self) -> u64 {
        self.observed().calls
    }

    /// Price of all replies so far in micro-USD, rounded up per reply.
    pub fn spend(&self) -> u64 {
        self.observed().spend
    }

    /// Waits until `find` finds something in what was observed. Panics after `limit`.
    pub async fn wait_for<T>(&self, mut find: impl FnMut(&Observed) -> Option<T>, limit: Duration) -> T {
        let deadline = Instant::now() + limit;
        loop {
            // Registered before the look, so that no change falls in between.
            let changed = self.shared.changed.notified();
            if let Some(found) = find(&self.observed()) {
                return found;
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                let seen = self.observed();
                panic!(
                    "the fake Messages API did not see it within {limit:?}; {} calls, {} open, last prompts {:?}, \
                     violations {:?}",
                    seen.calls,
                    seen.open_calls,
                    seen.prompts.iter().rev().take(3).collect::<Vec<_>>(),
                    seen.violations
                );
            }
        }
    }

    fn observed(&self) -> MutexGuard<'_, Observed> {
        lock(&self.shared.observed)
    }
}

impl Shared {
    fn next_id(&self, kind: &str) -> String {
        let number = self.ids.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        format!("{kind}_{}{number:08}", self.boot)
    }

    /// Changes what is observed and wakes those who wait for it.
    fn note(&self, change: impl FnOnce(&mut Observed)) {
        change(&mut lock(&self.observed));
        self.changed.notify_waiters();
    }
}

impl Observed {
    fn violation(&mut self, text: String) {
        self.violation_count += 1;
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(text);
        }
    }
}

/// A panicking test must not hide its message behind a poisoned lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Inserts into a set that is emptied when it is full: old conversations are forgotten, not the newest answer.
fn remember<T: Eq + std::hash::Hash>(set: &mut HashSet<T>, item: T) {
    if set.len() >= MEMORY_MAX {
        set.clear();
    }
    set.insert(item);
}
