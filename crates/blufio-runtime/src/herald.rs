//! Carries news from where they are noticed to where something can be done about them: messages for the owners, and groups
//! that go on under another id.
//!
//! Saying something never waits. What does not fit is logged and lost: news are a convenience, and nothing depends on them.

use crate::engine::Engine;
use crate::quiet;
use blufio_core::ids::ChannelName;
use blufio_core::record::{Draft, Payload, Route, Telling};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// News that wait. Full: the newest is logged and lost.
const NEWS_MAX: usize = 64;
/// The same topic is told at most this often.
const TOLD_EVERY: Duration = Duration::from_secs(3_600);
/// Longer than any month: the topic names the period that it is about.
const TOLD_ONCE: Duration = Duration::from_secs(40 * 86_400);

/// Something that happened.
#[derive(Debug)]
pub enum News {
    /// The owners should know.
    Tell {
        /// What it is about; told at most once an hour.
        topic: String,
        /// The words.
        text: String,
        /// The chat that it is about; nobody is told in it.
        about: Option<i64>,
    },
    /// A share of a budget is used up; told once.
    Budget {
        /// Which, in which period.
        topic: String,
        /// The words.
        text: String,
    },
    /// A group goes on under another id, as a send was told.
    Migrated {
        /// The old one.
        route: Route,
        /// The new id.
        new: i64,
    },
}

impl News {
    /// A message was given up.
    pub fn undelivered(chat: i64, error: &str) -> Self {
        let text = format!(
            "A message to chat {chat} could not be delivered: {error}. `blufio channel status` shows it, `blufio channel retry` sends it again."
        );
        Self::Tell { topic: format!("undelivered {chat}"), text, about: Some(chat) }
    }
}

/// Takes news from anywhere.
#[derive(Clone)]
pub struct Herald(mpsc::Sender<News>);

/// The other end.
pub struct Listener(mpsc::Receiver<News>);

/// Both ends.
pub fn herald() -> (Herald, Listener) {
    let (say, hear) = mpsc::channel(NEWS_MAX);
    (Herald(say), Listener(hear))
}

impl Herald {
    /// Says it.
    pub fn say(&self, news: News) {
        if let Err(error) = self.0.try_send(news) {
            tracing::warn!(%error, "news were lost");
        }
    }
}

impl Listener {
    /// Acts on news until the process ends.
    pub async fn listen(mut self, engine: Arc<Engine>) {
        while let Some(news) = self.0.recv().await {
            match news {
                News::Tell { topic, text, about } => tell_owners(&engine, &topic, TOLD_EVERY, &text, about).await,
                News::Budget { topic, text } => tell_owners(&engine, &topic, TOLD_ONCE, &text, None).await,
                News::Migrated { route, new } => engine.alias(&route.channel, route.account, route.chat, new),
            }
        }
    }
}

/// Tells every owner, on every channel, in their private conversation; during the quiet hours when they are over.
async fn tell_owners(engine: &Arc<Engine>, topic: &str, every: Duration, text: &str, about: Option<i64>) {
    tracing::warn!(topic, text, "the owners are told");
    let now = engine.adapters.clock.now();
    let not_before = quiet::end(engine.settings.quiet.as_ref(), engine.settings.timezone.clone(), now).await;
    for (name, mut drafts) in engine.for_owners(text) {
        drafts.retain(|draft| Some(draft.route.chat) != about);
        if drafts.is_empty() {
            continue;
        }
        let drafts = drafts.into_iter().map(|draft| Draft { payload: Payload::Notice, not_before, ..draft }).collect();
        let telling = Telling { topic: format!("{name} {topic}"), every, drafts };
        match engine.adapters.storage.tell(telling, now).await {
            Ok(true) => poke(engine, &name),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, topic, "the owners could not be told"),
        }
    }
}

fn poke(engine: &Engine, channel: &ChannelName) {
    if let Some(dispatcher) = engine.dispatchers.get(channel) {
        dispatcher.poke_all();
    }
}
