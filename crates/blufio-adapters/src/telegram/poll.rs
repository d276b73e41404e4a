//! Receives updates by long polling, and confirms none before it is stored.
//!
//! `getUpdates` with an offset deletes everything below it at the server, for ever. So the next offset is used only after
//! [`Intake::accept`] has returned, and it is always "highest id of the batch + 1": ids may start anew, and then the offset
//! follows them down. Every failure but a refused token is waited out here. Nothing here looks at what an update says.

pub(super) mod pause;
pub(super) mod start;

use super::api::{ApiError, Lane};
use super::webhook::{self, Mode};
use super::wire::{Me, WebhookInfo};
use super::{Telegram, inbound, menu};
use blufio_core::failpoint::{Failpoint, hit};
use blufio_core::port::{ChannelError, Inbound, Intake};
use pause::{BACKOFF, Backoff, asked_for, is_due};
use serde::Serialize;
use serde_json::value::RawValue;
use start::{OnlyReceiver, identify, refused, warn_of_privacy_mode};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Updates in one answer, the server's maximum. More: they come with the next one.
const BATCH_MAX: u32 = 100;
/// Seconds that the server holds a poll open, its maximum.
const LONG_POLL_S: u64 = 50;
/// Sent with every poll, and with the webhook, since the server remembers the last list it was given.
pub(super) const ALLOWED_UPDATES: [&str; 5] =
    ["message", "edited_message", "callback_query", "message_reaction", "my_chat_member"];

/// First and longest pause after the intake refused a batch: it costs the server nothing to be asked again, and a disk that
/// has room again should be noticed within seconds.
const INTAKE_BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(4));
/// Pause if somebody else polls: a little more than one long poll, so that the other one notices first.
const CONFLICT_PAUSE: Duration = Duration::from_secs(55);
/// How often a conflict is told in the log.
const CONFLICT_TOLD_EVERY: Duration = Duration::from_secs(3600);
/// How often a webhook is removed that somebody sets again and again.
const WEBHOOK_CLEARED_EVERY: Duration = Duration::from_secs(600);
/// A long poll that comes back empty sooner than this was not held open; the next one waits for [`EMPTY_PAUSE`].
const EMPTY_TOO_SOON: Duration = Duration::from_millis(500);
/// See [`EMPTY_TOO_SOON`].
const EMPTY_PAUSE: Duration = Duration::from_secs(1);
/// Failures in a row after which the connection and its cached addresses are given up.
const RECONNECT_AFTER: u32 = 3;

#[derive(Serialize)]
struct GetUpdates {
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    limit: u32,
    timeout: u64,
    allowed_updates: [&'static str; 5],
}

#[derive(Serialize)]
pub(super) struct Nothing {}

#[derive(Serialize)]
struct DeleteWebhook {
    drop_pending_updates: bool,
}

/// Receives, in the way that was chosen, until the future is dropped or only a person, or a new start, can help.
pub(super) async fn receive(telegram: &Telegram, intake: &dyn Intake) -> ChannelError {
    let Some(receiver) = OnlyReceiver::claim(telegram.identity) else {
        return ChannelError::Restart("another task of this process receives for this bot".to_owned());
    };
    let bot = match identify(telegram).await {
        Ok(bot) => bot,
        Err(error) => return error,
    };
    warn_of_privacy_mode(telegram, &bot, intake);
    match &telegram.mode {
        Mode::Polling => poll(telegram, intake, bot).await,
        Mode::Webhook { url, secret } => {
            webhook::receive(telegram, intake, &bot, &receiver, (url, secret.expose())).await
        }
    }
}

async fn poll(telegram: &Telegram, intake: &dyn Intake, bot: Me) -> ChannelError {
    let mut poller = match Poller::start(telegram, intake, bot).await {
        Ok(poller) => poller,
        Err(error) => return error,
    };
    let mut polling = pin!(poller.run());
    tokio::select! {
        error = &mut polling => return error,
        () = menu::show(telegram) => {}
    }
    polling.await
}

struct Poller<'a> {
    telegram: &'a Telegram,
    intake: &'a dyn Intake,
    bot: Me,
    offset: Option<i64>,
    first: bool,
    backoff: Backoff,
    intake_backoff: Backoff,
    failures: u32,
    /// When the first request since the last answer was sent.
    unanswered_since: Option<Duration>,
    conflict_told: Option<Duration>,
    webhook_cleared: Option<Duration>,
}

impl<'a> Poller<'a> {
    /// Makes sure that the updates are not brought elsewhere.
    async fn start(telegram: &'a Telegram, intake: &'a dyn Intake, bot: Me) -> Result<Self, ChannelError> {
        let mut poller = Self {
            offset: intake.cursor(bot.id).filter(|offset| *offset > 0),
            telegram,
            intake,
            bot,
            first: true,
            backoff: Backoff::new(BACKOFF),
            intake_backoff: Backoff::new(INTAKE_BACKOFF),
            failures: 0,
            unanswered_since: None,
            conflict_told: None,
            webhook_cleared: None,
        };
        while let Err(error) = poller.clear_webhook_if_set().await {
            poller.recover(&error).await?;
        }
        poller.backoff.reset();
        Ok(poller)
    }

    async fn run(&mut self) -> ChannelError {
        loop {
            self.wait_for_room().await;
            let asked = self.now();
            let Some(limit) = self.time_left(asked) else {
                return ChannelError::Restart("telegram has not answered a poll for too long".to_owned());
            };
            self.telegram.health.asked(asked);
            hit(Failpoint::PollBeforeRequest);
            let answer = self.ask(limit).await;
            hit(Failpoint::PollAfterResponse);
            let outcome = match answer {
                Ok(batch) => {
                    self.take(batch, asked).await;
                    Ok(())
                }
                Err(error) => self.recover(&error).await,
            };
            if let Err(error) = outcome {
                return error;
            }
        }
    }

    /// Waits until the inbox takes more; meanwhile the server keeps the updates.
    async fn wait_for_room(&self) {
        let mut ready = self.intake.ready();
        if poll_fn(|context| Poll::Ready(ready.as_mut().poll(context).is_pending())).await {
            self.telegram.health.asked(self.now());
            self.telegram.health.degraded("the inbox is full");
            ready.await;
        }
    }

    /// How long the next request may take: the total limit, but never beyond the watchdog. `None`: the watchdog is due.
    fn time_left(&mut self, now: Duration) -> Option<Duration> {
        let since = *self.unanswered_since.get_or_insert(now);
        let left = self.telegram.timeouts.watchdog.saturating_sub(now.saturating_sub(since));
        (!left.is_zero()).then(|| left.min(self.telegram.timeouts.poll))
    }

    async fn ask(&self, limit: Duration) -> Result<Vec<Inbound>, ApiError> {
        let request = GetUpdates {
            offset: self.offset,
            limit: BATCH_MAX,
            timeout: if self.first { 0 } else { LONG_POLL_S },
            allowed_updates: ALLOWED_UPDATES,
        };
        let read = |result: &RawValue| {
            let updates: Vec<&RawValue> = serde_json::from_str(result.get()).ok()?;
            Some(updates.into_iter().map(|update| inbound::read(update, &self.bot, &self.telegram.mentions)).collect())
        };
        self.telegram.api.call_in(Lane::Poll, "getUpdates", &request, limit, read).await
    }

    /// Stores a batch, and only then moves on.
    async fn take(&mut self, mut batch: Vec<Inbound>, asked: Duration) {
        let was_first = std::mem::replace(&mut self.first, false);
        self.answered();
        self.backoff.reset();
        if batch.is_empty() {
            self.telegram.health.answered(self.now());
            if !was_first && self.now().saturating_sub(asked) < EMPTY_TOO_SOON {
                self.sleep(EMPTY_PAUSE).await;
            }
            return;
        }
        // The order in which things were said, whatever the order in which they are brought.
        batch.sort_by_key(|inbound| inbound.update);
        for update in &batch {
            metrics::counter!("blufio_telegram_updates_total", "kind" => inbound::label(&update.kind)).increment(1);
        }
        let next = batch.iter().map(|inbound| inbound.update).max().filter(|id| *id > 0).map(|id| id.saturating_add(1));
        let cursor = next.or(self.offset).unwrap_or(0);
        if let Err(error) = self.intake.accept(self.bot.id, batch, cursor).await {
            tracing::error!(%error, "telegram updates were not stored; the server keeps them");
            self.telegram.health.degraded(format!("updates cannot be stored: {error}"));
            let pause = self.intake_backoff.next(self.telegram.rng.as_ref());
            return self.sleep(pause).await;
        }
        self.offset = Some(cursor);
        self.intake_backoff.reset();
        self.telegram.health.answered(self.now());
        if next.is_none() {
            // Nothing in the batch can be confirmed, so the same would come again at once.
            let pause = self.backoff.next(self.telegram.rng.as_ref());
            self.sleep(pause).await;
        }
    }

    /// Waits out a failure.
    async fn recover(&mut self, error: &ApiError) -> Result<(), ChannelError> {
        if let ApiError::Status { .. } = error {
            self.answered();
        }
        match error {
            error if error.is_unauthorized() => return Err(refused(self.telegram, error)),
            ApiError::Status { code: 409, description, .. } => self.conflict(description).await,
            ApiError::Status { code: 429, retry_after, .. } => {
                self.telegram.health.degraded("telegram asks to wait");
                let pause = asked_for(*retry_after, self.telegram.rng.as_ref());
                tracing::warn!(?pause, "telegram asks to poll less often");
                self.sleep(pause).await;
            }
            error => self.failed(error).await,
        }
        Ok(())
    }

    async fn failed(&mut self, error: &ApiError) {
        self.failures = self.failures.saturating_add(1);
        // A request without an answer may have left a connection that is open at this end only.
        if matches!(error, ApiError::Uncertain(_)) || self.failures.is_multiple_of(RECONNECT_AFTER) {
            self.telegram.api.reconnect_poll();
        }
        self.telegram.health.degraded(error.to_string());
        let pause = self.backoff.next(self.telegram.rng.as_ref());
        tracing::warn!(%error, ?pause, "the telegram poll failed");
        self.sleep(pause).await;
    }

    /// Somebody else receives this bot's updates: another process that polls, or a webhook.
    async fn conflict(&mut self, description: &str) {
        let now = self.now();
        let webhook = description.to_ascii_lowercase().contains("webhook");
        if webhook && is_due(self.webhook_cleared, now, WEBHOOK_CLEARED_EVERY) {
            self.telegram.health.degraded("a webhook is set for this bot");
            if self.webhook_cleared.replace(now).is_some() {
                self.tell_of_webhook();
            }
            return self.clear_webhook_or_wait().await;
        }
        self.telegram.health.degraded("another program receives this bot's updates");
        if is_due(self.conflict_told, now, CONFLICT_TOLD_EVERY) {
            self.conflict_told = Some(now);
            tracing::warn!(%description, "another program receives this bot's updates; waiting for it to stop");
        }
        if webhook {
            self.tell_of_webhook();
        } else {
            self.tell_of_conflict();
        }
        self.telegram.api.reconnect_poll();
        let pause = self.backoff.next(self.telegram.rng.as_ref()).max(CONFLICT_PAUSE);
        self.sleep(pause).await;
    }

    fn tell_of_conflict(&self) {
        let words = "Another program fetches this bot's messages from Telegram, and only one can. Some may reach that one \
                     and not me. Stop it, or give it a bot of its own (@BotFather); I go on as soon as it has stopped.";
        self.intake.tell_owner("telegram conflict", words.to_owned());
    }

    fn tell_of_webhook(&self) {
        let words = "Another program sets a webhook for this bot again and again, so messages go there and not to me. I \
                     remove it, but at most every ten minutes. Stop that program, or give it a bot of its own (@BotFather).";
        self.intake.tell_owner("telegram webhook", words.to_owned());
    }

    async fn clear_webhook_or_wait(&mut self) {
        if let Err(error) = self.clear_webhook().await {
            self.failed(&error).await;
        }
    }

    async fn clear_webhook_if_set(&mut self) -> Result<(), ApiError> {
        let info: WebhookInfo =
            self.telegram.api.call("getWebhookInfo", &Nothing {}, self.telegram.timeouts.send).await?;
        if info.url.is_empty() { Ok(()) } else { self.clear_webhook().await }
    }

    /// Removes the webhook and keeps what waits at the server.
    async fn clear_webhook(&mut self) -> Result<(), ApiError> {
        tracing::warn!("a webhook was set for this telegram bot; removing it, since updates are polled");
        let request = DeleteWebhook { drop_pending_updates: false };
        self.telegram.api.call::<bool>("deleteWebhook", &request, self.telegram.timeouts.send).await.map(|_| ())
    }

    fn answered(&mut self) {
        self.unanswered_since = None;
        self.failures = 0;
    }

    fn now(&self) -> Duration {
        self.telegram.clock.monotonic()
    }

    async fn sleep(&self, pause: Duration) {
        self.telegram.clock.sleep(pause).await;
    }
}
