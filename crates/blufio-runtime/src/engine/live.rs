//! What is shown while a turn runs: the growing text, the typing sign, the preview.

use super::Engine;
use super::turn::News;
use crate::dispatch::Dispatcher;
use crate::tasks::guarded;
use blufio_core::event::EventKind;
use blufio_core::ids::{InboxId, SessionKey};
use blufio_core::leak::{LeakStream, Leaks};
use blufio_core::port::{AnyChannel, Boxed, Clock, Delta, DeltaSink, Preview, PreviewOutcome};
use blufio_core::record::{InboxRow, Route};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Before the first preview: an answer that comes at once needs none.
const FIRST_PREVIEW: Duration = Duration::from_millis(700);
/// Before the typing sign, for the same reason; nobody notices a tenth of a second.
const FIRST_TYPING: Duration = Duration::from_millis(100);
/// The sign lasts five seconds at most.
const TYPING_EVERY: Duration = Duration::from_millis(4_500);
/// A turn that shows nothing for this long is not at work any more, as far as a reader can tell.
const TYPING_SILENCE: Duration = Duration::from_secs(120);
/// Before it is looked again whether a chat is free for a preview.
const BUSY_PAUSE: Duration = Duration::from_secs(1);
/// A preview vanishes after thirty seconds unless it is shown again.
const REFRESH: Duration = Duration::from_secs(20);

/// The text of a running turn.
pub(super) struct LiveText {
    session: SessionKey,
    inbox: InboxId,
    hub: Arc<crate::events::Hub>,
    text: watch::Sender<String>,
    /// The current try has shown text.
    shown: AtomicBool,
}

impl LiveText {
    pub fn new(session: SessionKey, inbox: InboxId, hub: Arc<crate::events::Hub>, text: String) -> Arc<Self> {
        Arc::new(Self { session, inbox, hub, text: watch::Sender::new(text), shown: AtomicBool::new(false) })
    }

    /// Takes the deltas of one try, and shows them without secrets.
    pub fn sink(self: &Arc<Self>, leaks: &Leaks) -> DeltaSink {
        self.shown.store(false, Ordering::Relaxed);
        let mut spoken = Spoken { live: self.clone(), stream: Some(leaks.redact_streaming()) };
        Box::new(move |delta| match delta {
            Delta::TextBlock if !spoken.live.has_shown() && spoken.live.text.borrow().is_empty() => {}
            Delta::TextBlock => spoken.push("\n\n"),
            Delta::Text(text) => {
                spoken.live.shown.store(true, Ordering::Relaxed);
                spoken.push(&text);
            }
        })
    }

    fn push(&self, delta: String) {
        if !delta.is_empty() {
            self.text.send_modify(|text| text.push_str(&delta));
            self.publish(EventKind::Text { delta });
        }
    }

    /// The current try failed: its text is void, `kept` is what stays. True if it had shown any.
    pub fn void(&self, kept: String) -> bool {
        let shown = self.shown.swap(false, Ordering::Relaxed);
        if shown {
            self.text.send_replace(kept);
            self.publish(EventKind::TextVoided);
        }
        shown
    }

    /// All visible text so far.
    pub fn text(&self) -> String {
        self.text.borrow().clone()
    }

    /// The current try has shown text.
    pub fn has_shown(&self) -> bool {
        self.shown.load(Ordering::Relaxed)
    }

    pub fn publish(&self, kind: EventKind) {
        self.hub.publish(&self.session, self.inbox, kind);
    }
}

/// What one try says. A word that may become a secret is held back until it is whole, at the latest until the try is over.
struct Spoken {
    live: Arc<LiveText>,
    stream: Option<LeakStream>,
}

impl Spoken {
    fn push(&mut self, piece: &str) {
        if let Some(stream) = &mut self.stream {
            self.live.push(stream.push(piece));
        }
    }
}

impl Drop for Spoken {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.live.push(stream.finish());
        }
    }
}

/// The preview of one turn, one showing at a time.
#[derive(Clone)]
pub(super) struct Previews {
    channel: Arc<dyn AnyChannel>,
    /// The way out of the channel, if what is said there goes through the outbox.
    dispatcher: Option<Arc<Dispatcher>>,
    clock: Arc<dyn Clock>,
    route: Route,
    draft: i64,
    /// A request is on its way.
    sending: Arc<AtomicBool>,
}

impl Previews {
    /// For the channel that a row came by; none if nothing can be shown there.
    pub fn new(engine: &Engine, row: &InboxRow) -> Option<Self> {
        Some(Self {
            channel: engine.adapters.channels.get(&row.route.channel)?.clone(),
            dispatcher: engine.dispatchers.get(&row.route.channel).cloned(),
            clock: engine.adapters.clock.clone(),
            route: row.route.clone(),
            draft: row.id.0.max(1),
            sending: Arc::default(),
        })
    }

    /// The first showing.
    pub fn first(&self, live: &LiveText, message: Option<i64>) -> Boxed<'static, News> {
        self.show(live.text.subscribe(), message, FIRST_PREVIEW)
    }

    /// Waits for the pause and for new text, then shows it once.
    pub fn show(
        &self,
        mut text: watch::Receiver<String>,
        message: Option<i64>,
        pause: Duration,
    ) -> Boxed<'static, News> {
        let previews = self.clone();
        Box::pin(async move {
            previews.clock.sleep(pause).await;
            loop {
                while previews.dispatcher.as_ref().is_some_and(|dispatcher| !dispatcher.is_free(&previews.route)) {
                    previews.clock.sleep(BUSY_PAUSE).await;
                }
                let now = text.borrow_and_update().clone();
                if !now.trim().is_empty() {
                    previews.sending.store(true, Ordering::SeqCst);
                    let Self { route, draft, .. } = previews.clone();
                    let shown = previews.channel.preview(Preview { route, draft, text: now, message });
                    // Display is best effort: not even its panic may end the turn.
                    let outcome = guarded("preview", shown).await.unwrap_or(PreviewOutcome::Stop);
                    previews.sending.store(false, Ordering::SeqCst);
                    return News::Preview { outcome, text };
                }
                if text.changed().await.is_err() {
                    return News::Preview { outcome: PreviewOutcome::Stop, text };
                }
            }
        })
    }

    /// Shows the next text when there is one, at the latest after [`REFRESH`].
    pub fn again(
        &self,
        mut text: watch::Receiver<String>,
        message: Option<i64>,
        pause: Duration,
    ) -> Boxed<'static, News> {
        let previews = self.clone();
        Box::pin(async move {
            tokio::select! {
                changed = text.changed() => {
                    if changed.is_err() {
                        return News::Preview { outcome: PreviewOutcome::Stop, text };
                    }
                }
                () = previews.clock.sleep(REFRESH.saturating_sub(pause)) => {}
            }
            previews.show(text, message, pause).await
        })
    }

    /// A preview is being sent right now.
    pub fn is_sending(&self) -> bool {
        self.sending.load(Ordering::SeqCst)
    }

    /// Shows the typing sign until the turn shows nothing new for too long; dropped with the turn.
    pub fn typing(&self, live: &LiveText) -> Boxed<'static, News> {
        let (previews, text) = (self.clone(), live.text.subscribe());
        Box::pin(async move {
            let mut text = text;
            let mut progress = previews.clock.monotonic();
            previews.clock.sleep(FIRST_TYPING).await;
            while guarded("typing", previews.channel.typing(&previews.route)).await.unwrap_or(false) {
                previews.clock.sleep(TYPING_EVERY).await;
                let now = previews.clock.monotonic();
                if text.has_changed().unwrap_or(false) {
                    text.mark_unchanged();
                    progress = now;
                }
                if now.saturating_sub(progress) > TYPING_SILENCE {
                    break;
                }
            }
            News::TypingOver
        })
    }
}
