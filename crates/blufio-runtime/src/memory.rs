//! What the agent remembers, for turns, tools and commands: messages become passages and get vectors beside the turns; a question
//! is answered from both, with words alone while there is no model for meanings. What counts and why is
//! [`blufio_core::memory`]'s.

mod file;

use crate::desk::Papers;
use crate::engine::{Engine, learning};
use crate::quiet::zone_or_system;
use crate::tasks::blocking;
use blufio_core::ids::SessionKey;
use blufio_core::memory::recall::{Chosen, Found, Question, choose};
use blufio_core::memory::vector::Vector;
use blufio_core::memory::{Fact, MemoryId, Scope, Source, moment};
use blufio_core::port::{AnyEmbedding, AnyStorage, Clock, EmbeddingError, EmbeddingHealth, StoreError, Urgency};
use blufio_core::record::{FactChange, Indexing, Query, Recall, RecallKinds, Remember, View};
use blufio_core::time::Timestamp;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// What the agent is called among the speakers of passages.
const AGENT: &str = "Blufio";
/// Messages that become passages in one transaction.
const INDEXED_AT_ONCE: u32 = 64;
/// Texts that get vectors before the others are looked at again.
const EMBEDDED_AT_ONCE: u32 = 16;
/// How long a turn waits for the meaning of its question; then words must do.
const MEANING_WAIT: Duration = Duration::from_millis(100);
/// Pause between two looks for what is still to be done, if nobody rings.
const LOOK: Duration = Duration::from_secs(60);
/// A conversation is indexed so long after it has moved, so that an answer and its question are written together.
const SETTLE: Duration = Duration::from_millis(500);
/// Pause after trouble.
const PAUSE: Duration = Duration::from_secs(5);
/// Pause after a try to learn that has failed.
const LEARN_PAUSE: Duration = Duration::from_secs(15 * 60);
/// Scopes whose standing facts are kept at hand. Full: all are read again.
const SCOPES_MAX: usize = 64;
/// How a day is shown.
const DAY: &str = "%Y-%m-%d";

/// The memory.
pub struct Memory {
    storage: Arc<dyn AnyStorage>,
    embedding: Option<Arc<dyn AnyEmbedding>>,
    clock: Arc<dyn Clock>,
    zone: TimeZone,
    /// There may be something to index.
    bell: Notify,
    /// Standing facts by scope, as they are stored.
    standing: Mutex<BTreeMap<Scope, Arc<[Fact]>>>,
    /// The desk whose file was last taken over.
    file: tokio::sync::Mutex<Option<Arc<Papers>>>,
    /// Facts have changed since that was written.
    changed: AtomicBool,
    /// Until when nothing is learned, on the monotonic clock.
    rests_until: Mutex<Duration>,
}

/// What is looked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Whose memory answers.
    pub scope: Scope,
    /// The words.
    pub text: String,
    /// What is looked through.
    pub kinds: RecallKinds,
    /// Messages that are not to be found, since they are read anyway.
    pub visible: Option<Source>,
    /// Room for all that is found, in estimated tokens.
    pub tokens: u64,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Finding {
    /// Facts first, of each kind the best first.
    pub chosen: Vec<Chosen>,
    /// Meanings were compared, too.
    pub by_meaning: bool,
}

impl Memory {
    /// The memory of this storage; `embedding` knows meanings, `timezone` is the agent's (IANA name; `None`: the machine's).
    #[must_use]
    pub fn new(
        storage: Arc<dyn AnyStorage>,
        embedding: Option<Arc<dyn AnyEmbedding>>,
        clock: Arc<dyn Clock>,
        timezone: Option<&str>,
    ) -> Arc<Self> {
        let zone = zone_or_system(timezone);
        let (bell, standing, rests_until) = (Notify::new(), Mutex::default(), Mutex::default());
        let file = tokio::sync::Mutex::default();
        Arc::new(Self {
            storage,
            embedding,
            clock,
            zone,
            bell,
            standing,
            file,
            changed: AtomicBool::new(true),
            rests_until,
        })
    }

    /// What bears on some words.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn find(&self, wanted: Wanted) -> Result<Finding, StoreError> {
        let Wanted { scope, text, kinds, visible, tokens } = wanted;
        let meaning = self.meaning(&text).await;
        let scopes = vec![scope];
        let recall = Recall { scopes: scopes.clone(), text: text.clone(), meaning, kinds, visible };
        let recalled = self.storage.recall(recall).await?;
        let now = self.clock.now();
        let question = Question {
            text: &text,
            scopes: &scopes,
            interval: moment::interval(&text, now, |at| self.ahead_minutes(at)),
            past: moment::is_past(&text),
            now,
        };
        let chosen = choose(&question, recalled.candidates, tokens);
        Ok(Finding { chosen, by_meaning: recalled.by_meaning })
    }

    /// The meaning of a question, if it can be had in time.
    async fn meaning(&self, text: &str) -> Option<(String, Vector)> {
        let embedding = self.embedding.as_ref()?;
        let words = blufio_core::memory::words::head(text, blufio_core::memory::words::QUESTION_BYTES_MAX);
        let vectors = tokio::select! {
            vectors = embedding.embed(vec![words.to_owned()], Urgency::Turn) => vectors,
            () = self.clock.sleep(MEANING_WAIT) => return None,
        };
        let vector = vectors.inspect_err(|why| tracing::debug!(%why, "only words are compared")).ok()?.pop()?;
        Some((embedding.model().to_owned(), vector))
    }

    /// Changes the facts of a scope.
    ///
    /// # Errors
    /// One of the changes is refused, or the store cannot be written; nothing has changed then.
    pub async fn change(
        &self,
        scope: Scope,
        by: &str,
        changes: Vec<FactChange>,
    ) -> Result<Vec<Option<Fact>>, StoreError> {
        let remember = Remember { scope: scope.clone(), by: by.to_owned(), changes };
        let changed = self.storage.remember(remember, self.clock.now()).await;
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).remove(&scope);
        self.changed.store(true, Ordering::SeqCst);
        self.ring();
        changed
    }

    /// The standing facts of a scope: pinned ones first, then the newest. The same pointer as long as nothing has changed.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn standing(&self, scope: &Scope) -> Result<Arc<[Fact]>, StoreError> {
        let known = self.standing.lock().unwrap_or_else(PoisonError::into_inner).get(scope).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let View::Standing(facts) = self.storage.view(Query::Standing(scope.clone()), self.clock.now()).await? else {
            return Err(StoreError::Broken("the store answered another question".to_owned()));
        };
        let facts: Arc<[Fact]> = facts.into();
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        if standing.len() >= SCOPES_MAX {
            standing.clear();
        }
        standing.insert(scope.clone(), facts.clone());
        Ok(facts)
    }

    /// How the model for meanings is doing; `None`: there is none.
    #[must_use]
    pub fn health(&self) -> Option<EmbeddingHealth> {
        self.embedding.as_ref().map(|embedding| embedding.health())
    }

    /// There may be something to index.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// Something that was found, as a line for the model or a person: its date, whose words it is, and the words.
    #[must_use]
    pub fn line(&self, chosen: &Chosen) -> String {
        let day = self.day(chosen.found.at());
        match &chosen.found {
            Found::Fact(fact) => format!("- f{}, {day}: {}", fact.id, chosen.shown),
            Found::Passage(passage) => format!("- {day}, {}: {}", passage.speaker, chosen.shown),
        }
    }

    /// A day as the agent's time zone has it.
    #[must_use]
    pub fn day(&self, at: Timestamp) -> String {
        let instant = jiff::Timestamp::from_millisecond(at.0);
        instant.map_or_else(|_| String::new(), |at| at.to_zoned(self.zone.clone()).strftime(DAY).to_string())
    }

    /// There was trouble, or no money: nothing is learned for a while.
    pub(crate) fn rest(&self) {
        *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner) =
            self.clock.monotonic().saturating_add(LEARN_PAUSE);
    }

    /// Nothing is learned now.
    pub(crate) fn rests(&self) -> bool {
        self.clock.monotonic() < *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By how many minutes the agent's time zone is ahead of UTC at an instant.
    pub(crate) fn ahead_minutes(&self, at: Timestamp) -> i32 {
        let instant = jiff::Timestamp::from_millisecond(at.0);
        instant.map_or(0, |at| self.zone.to_offset(at).seconds() / 60)
    }

    /// Makes passages and vectors of everything that has none yet, as far as the model for meanings can be had.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn catch_up(&self) -> Result<(), StoreError> {
        let ahead_minutes = self.ahead_minutes(self.clock.now());
        let indexing = Indexing { messages_max: INDEXED_AT_ONCE, agent: AGENT.to_owned(), ahead_minutes };
        while self.storage.index(indexing.clone()).await? {}
        let Some(embedding) = &self.embedding else { return Ok(()) };
        loop {
            let texts = self.storage.unembedded(embedding.model().to_owned(), EMBEDDED_AT_ONCE).await?;
            if texts.is_empty() {
                return Ok(());
            }
            let Some(vectors) = vectors(embedding, texts).await else { return Ok(()) };
            self.storage.keep_vectors(embedding.model().to_owned(), vectors).await?;
        }
    }
}

/// Makes passages and vectors for ever.
pub(crate) async fn keep_up(engine: &Arc<Engine>) {
    let memory = &engine.adapters.memory;
    loop {
        let pause = match memory.catch_up().await {
            Ok(()) => LOOK,
            Err(StoreError::Closed) => return std::future::pending().await,
            Err(error) => {
                tracing::error!(%error, "what was said could not be indexed");
                PAUSE
            }
        };
        if let Err(error) = memory.sync_file(&engine.adapters.desk).await {
            tracing::debug!(%error, "the memory's file is as it was");
        }
        match learning::overdue(engine).await {
            Ok(sessions) => sessions.iter().for_each(|session| engine.wake(session)),
            Err(error) => tracing::debug!(%error, "it is not known which conversations rest"),
        }
        tokio::select! {
            () = memory.bell.notified() => memory.clock.sleep(SETTLE).await,
            () = memory.clock.sleep(pause) => {}
            () = engine.draining() => return std::future::pending().await,
        }
    }
}

/// The vectors of all pieces of these texts; nothing if the model cannot be had now.
async fn vectors(
    embedding: &Arc<dyn AnyEmbedding>,
    texts: Vec<(MemoryId, String)>,
) -> Option<Vec<(MemoryId, Vec<Vector>)>> {
    let model = embedding.clone();
    let cut = blocking(move || {
        let pieces = |(id, text): (MemoryId, String)| (id, model.pieces(&text));
        texts.into_iter().map(pieces).collect::<Vec<_>>()
    });
    let mut all = Vec::new();
    for (id, pieces) in cut.await? {
        match embedding.embed(pieces, Urgency::Background).await {
            Ok(vectors) => all.push((id, vectors)),
            Err(EmbeddingError::Loading | EmbeddingError::Full) => break,
            Err(EmbeddingError::Unusable(why)) => {
                tracing::debug!(why, "nothing gets vectors");
                return None;
            }
        }
    }
    Some(all).filter(|all| !all.is_empty())
}

/// Whose memory a conversation reads and writes: a chat that others read has one of its own.
#[must_use]
pub fn scope(session: &SessionKey, chat: i64, principal: &blufio_core::access::Principal) -> Scope {
    if chat < 0 { Scope::chat(session) } else { Scope::of(principal) }
}
