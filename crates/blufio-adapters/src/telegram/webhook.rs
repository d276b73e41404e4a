//! Receives updates that the server brings, and says yes to none before it is stored.
//!
//! The gateway serves the route and hands over bodies whose secret [`Webhook::admits`]; here they are read, stored one after
//! the other, and the webhook itself is set and watched. Whatever is not answered with yes stays at the server, which
//! brings it again for up to 24 hours (<https://core.telegram.org/bots/api#setwebhook>). So nothing is lost while the process
//! is down, and the webhook stays set when it stops.

use super::api::ApiError;
use super::poll::pause::{BACKOFF, Backoff, asked_for, is_due};
use super::poll::start::{OnlyReceiver, door, refused};
use super::poll::{ALLOWED_UPDATES, Nothing};
use super::wire::Me;
use super::{Telegram, inbound, menu};
use blufio_core::port::{Boxed, ChannelError, Intake, IntakeError, Webhook};
use blufio_core::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::hint::black_box;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Connections that the server may use at once. Updates are stored one after the other anyway.
const CONNECTIONS_MAX: u32 = 4;
/// Updates that wait to be stored. More: their callers wait, of whom the server allows itself [`CONNECTIONS_MAX`].
const DELIVERIES_WAITING_MAX: usize = 16;
/// How often the server is asked about the webhook.
const CHECKED_EVERY: Duration = Duration::from_secs(60);
/// How often a webhook is set that somebody else changes again and again.
const SET_EVERY: Duration = Duration::from_secs(600);
/// Looks in a row at which more updates waited than at the one before, until that is a trouble.
const GROWING_MAX: u32 = 2;
/// Characters kept of the server's words about a failed delivery. More: cut.
const WORDS_CHARACTERS_MAX: usize = 200;
/// The topic under which the owner is told about the webhook.
const TOPIC: &str = "telegram webhook";

/// How updates come in.
#[derive(Clone, Debug)]
pub enum Mode {
    /// The server is asked for them.
    Polling,
    /// The server brings them to `url` and shows `secret`.
    Webhook {
        /// Where to, as the server reaches it: https.
        url: String,
        /// What it shows with each update: 1–256 characters of `A-Z a-z 0-9 _ -`.
        secret: Secret,
    },
}

/// One body that was brought, and who waits for its fate.
pub(super) struct Delivery {
    body: Vec<u8>,
    taken: oneshot::Sender<Result<(), IntakeError>>,
}

/// An error means that nothing was stored; answered with anything but 2xx, the server brings the update again. A body that
/// is no JSON object with an update id is such an error too: the server sends none like it, and nothing could name it in
/// the store. One with an id is stored whatever is in it, so that it does not come again for ever.
impl Webhook for Telegram {
    fn admits(&self, secret: &[u8]) -> bool {
        let Mode::Webhook { secret: known, .. } = &self.mode else { return false };
        is_secret(known.expose()) && same(secret, known.expose().as_bytes())
    }

    fn take(&self, body: &[u8]) -> Boxed<'_, Result<(), IntakeError>> {
        let body = body.to_vec();
        Box::pin(async move {
            let closed = || IntakeError("telegram updates are not taken in now".to_owned());
            let door = door(&self.identity).ok_or_else(closed)?;
            let (taken, outcome) = oneshot::channel();
            door.send(Delivery { body, taken }).await.map_err(|_| closed())?;
            outcome.await.unwrap_or_else(|_| Err(closed()))
        })
    }
}

/// Receives until the future is dropped or the token is refused. The webhook stays set.
pub(super) async fn receive(
    telegram: &Telegram,
    intake: &dyn Intake,
    bot: &Me,
    receiver: &OnlyReceiver,
    (url, secret): (&str, &str),
) -> ChannelError {
    if !is_secret(secret) {
        let reason = "the webhook has no secret of 1-256 letters, digits, _ or -; set TELEGRAM_WEBHOOK_SECRET";
        telegram.health.failed(reason);
        return ChannelError::Fatal(reason.to_owned());
    }
    let (door, queue) = mpsc::channel(DELIVERIES_WAITING_MAX);
    receiver.open(door);
    let troubles = Mutex::new(Troubles::default());
    let taker = Taker { telegram, intake, bot, troubles: &troubles };
    let keeper = Keeper { telegram, intake, url, secret, troubles: &troubles };
    let taking = async { tokio::join!(menu::show(telegram), taker.run(queue)) };
    tokio::select! {
        error = keeper.run() => error,
        _ = taking => ChannelError::Restart("the way in for telegram updates was closed".to_owned()),
    }
}

/// What is wrong now; both halves of the work have a say in the channel's health.
#[derive(Default)]
struct Troubles {
    /// The webhook was seen to be set at least once.
    confirmed: bool,
    storing: Option<String>,
    webhook: Option<String>,
}

fn settle(telegram: &Telegram, troubles: &Mutex<Troubles>, change: impl FnOnce(&mut Troubles)) {
    let mut troubles = troubles.lock().unwrap_or_else(PoisonError::into_inner);
    change(&mut troubles);
    match troubles.storing.as_ref().or(troubles.webhook.as_ref()) {
        Some(reason) => telegram.health.troubled(reason),
        None if troubles.confirmed => telegram.health.listening(telegram.clock.monotonic()),
        None => {}
    }
}

/// Stores what is brought, one after the other.
struct Taker<'a> {
    telegram: &'a Telegram,
    intake: &'a dyn Intake,
    bot: &'a Me,
    troubles: &'a Mutex<Troubles>,
}

impl Taker<'_> {
    async fn run(&self, mut queue: mpsc::Receiver<Delivery>) {
        while let Some(Delivery { body, taken }) = queue.recv().await {
            let outcome = self.store(&body).await;
            if taken.send(outcome).is_err() {
                tracing::debug!("a webhook call ended before its update was stored; the server brings it again");
            }
        }
    }

    /// The cursor stays where polling left it. The server brings updates out of order when one of them fails, so a cursor
    /// above the last one brought would, back in polling mode, confirm and so delete one that still waits there.
    async fn store(&self, body: &[u8]) -> Result<(), IntakeError> {
        // A broken character spoils the one string it is in and not the update around it.
        let text = String::from_utf8_lossy(body);
        let unreadable = || IntakeError("the body is no update".to_owned());
        let raw: &RawValue = serde_json::from_str(&text).map_err(|_| unreadable())?;
        let inbound = inbound::read(raw, self.bot, &self.telegram.mentions);
        if inbound.update <= 0 {
            return Err(unreadable());
        }
        metrics::counter!("blufio_telegram_updates_total", "kind" => inbound::label(&inbound.kind)).increment(1);
        let cursor = self.intake.cursor(self.bot.id).unwrap_or(0);
        // Whether there is room is only known by trying. Refused at once is better than held: the server waits longer each
        // time.
        if let Err(error) = self.intake.accept(self.bot.id, vec![inbound], cursor).await {
            tracing::error!(%error, "a telegram update was not stored; the server keeps it");
            return Err(self.troubled(&format!("updates cannot be stored: {error}")));
        }
        settle(self.telegram, self.troubles, |troubles| troubles.storing = None);
        Ok(())
    }

    fn troubled(&self, reason: &str) -> IntakeError {
        settle(self.telegram, self.troubles, |troubles| troubles.storing = Some(reason.to_owned()));
        IntakeError(reason.to_owned())
    }
}

#[derive(Serialize)]
struct SetWebhook<'a> {
    url: &'a str,
    secret_token: &'a str,
    max_connections: u32,
    allowed_updates: [&'static str; 5],
    drop_pending_updates: bool,
}

/// The answer to `getWebhookInfo`, as far as it is watched.
#[derive(Deserialize)]
struct WebhookState {
    #[serde(default)]
    url: String,
    #[serde(default)]
    pending_update_count: i64,
    #[serde(default)]
    last_error_date: i64,
    #[serde(default)]
    last_error_message: String,
}

/// Sets the webhook and sees to it that it stays so.
struct Keeper<'a> {
    telegram: &'a Telegram,
    intake: &'a dyn Intake,
    url: &'a str,
    secret: &'a str,
    troubles: &'a Mutex<Troubles>,
}

/// What the last look at the webhook showed.
#[derive(Default)]
struct Seen {
    /// When the webhook was last set by us.
    set_at: Option<Duration>,
    /// The date of the newest failed delivery that is known, in seconds since 1970.
    error_date: Option<i64>,
    pending: i64,
    /// Looks in a row at which more updates waited than before.
    growing: u32,
}

impl Keeper<'_> {
    async fn run(&self) -> ChannelError {
        if let Err(error) = self.set_until_it_holds().await {
            return error;
        }
        let mut seen = Seen { set_at: Some(self.now()), ..Seen::default() };
        loop {
            match self.look(&mut seen).await {
                Ok(trouble) => settle(self.telegram, self.troubles, |troubles| {
                    troubles.confirmed |= trouble.is_none();
                    troubles.webhook = trouble;
                }),
                Err(error) if error.is_unauthorized() => return refused(self.telegram, &error),
                Err(error) => {
                    let error = clean(&error.to_string(), self.secret);
                    tracing::warn!(%error, "telegram did not tell how the webhook is");
                    let reason = format!("the webhook cannot be checked: {error}");
                    settle(self.telegram, self.troubles, |troubles| troubles.webhook = Some(reason));
                }
            }
            self.telegram.clock.sleep(CHECKED_EVERY).await;
        }
    }

    /// Sets the webhook at each start, also where the address is the same: whether the secret and the wanted kinds of
    /// updates are, cannot be asked.
    async fn set_until_it_holds(&self) -> Result<(), ChannelError> {
        let mut backoff = Backoff::new(BACKOFF);
        while let Err(error) = self.set().await {
            if error.is_unauthorized() {
                return Err(refused(self.telegram, &error));
            }
            let pause = match &error {
                ApiError::Status { code: 429, retry_after, .. } => asked_for(*retry_after, self.telegram.rng.as_ref()),
                _ => backoff.next(self.telegram.rng.as_ref()),
            };
            let words = clean(&error.to_string(), self.secret);
            tracing::warn!(error = %words, ?pause, "the telegram webhook was not set");
            let reason = format!("telegram did not take the webhook: {words}");
            settle(self.telegram, self.troubles, |troubles| troubles.webhook = Some(reason));
            if matches!(error, ApiError::Status { code: 400, .. }) {
                let told = format!("Telegram does not accept {} as my webhook ({words}). I try again.", self.url);
                self.intake.tell_owner(TOPIC, told);
            }
            self.telegram.clock.sleep(pause).await;
        }
        Ok(())
    }

    async fn set(&self) -> Result<(), ApiError> {
        let request = SetWebhook {
            url: self.url,
            secret_token: self.secret,
            max_connections: CONNECTIONS_MAX,
            allowed_updates: ALLOWED_UPDATES,
            drop_pending_updates: false,
        };
        self.telegram.api.call::<bool>("setWebhook", &request, self.telegram.timeouts.send).await.map(|_| ())
    }

    /// Asks how the webhook is, and mends it if it was changed. The answer is what is wrong.
    async fn look(&self, seen: &mut Seen) -> Result<Option<String>, ApiError> {
        let limit = self.telegram.timeouts.send;
        let state: WebhookState = self.telegram.api.call("getWebhookInfo", &Nothing {}, limit).await?;
        if state.url != self.url {
            return self.mend(seen).await;
        }
        Ok(judge(&state, seen, self.secret))
    }

    /// The address is not ours any more.
    async fn mend(&self, seen: &mut Seen) -> Result<Option<String>, ApiError> {
        let words = "Somebody removed or changed my Telegram webhook, so messages do not reach me. I set it again, but at \
                     most every ten minutes. If another program uses this bot's token, stop it or give it a token of its own.";
        self.intake.tell_owner(TOPIC, words.to_owned());
        if is_due(seen.set_at, self.now(), SET_EVERY) {
            tracing::warn!("the telegram webhook was changed by somebody; setting it again");
            // What did not work is tried again at the next look.
            self.set().await?;
            seen.set_at = Some(self.now());
        }
        Ok(Some("somebody changed the webhook of this bot".to_owned()))
    }

    fn now(&self) -> Duration {
        self.telegram.clock.monotonic()
    }
}

/// What is wrong with a webhook whose address is right.
fn judge(state: &WebhookState, seen: &mut Seen, secret: &str) -> Option<String> {
    let grew = seen.error_date.is_some() && state.pending_update_count > seen.pending;
    seen.growing = if grew { seen.growing.saturating_add(1) } else { 0 };
    seen.pending = state.pending_update_count;
    // What failed before the first look is the past: the process was down, or the address another one.
    let known = seen.error_date.replace(state.last_error_date).unwrap_or(state.last_error_date);
    if state.last_error_date > known {
        let reason = format!("telegram cannot deliver updates: {}", clean(&state.last_error_message, secret));
        tracing::warn!(%reason, pending = state.pending_update_count, "the telegram webhook");
        return Some(reason);
    }
    (seen.growing >= GROWING_MAX).then(|| format!("{} updates wait at telegram, and more and more", seen.pending))
}

/// Words from the server, cut, on one line and without the secret.
fn clean(words: &str, secret: &str) -> String {
    let words = words.replace(secret, "<secret>");
    words.chars().filter(|character| !character.is_control()).take(WORDS_CHARACTERS_MAX).collect()
}

/// What the Bot API accepts as a secret.
fn is_secret(secret: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=256).contains(&secret.len()) && secret.bytes().all(plain)
}

/// Compares digests, which have the same length whatever was shown, and looks at every byte of them.
fn same(shown: &[u8], known: &[u8]) -> bool {
    let (shown, known) = (Sha256::digest(shown), Sha256::digest(known));
    let differences = shown.iter().zip(known.iter()).fold(0_u8, |all, (one, other)| black_box(all | (one ^ other)));
    black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_equal_or_not() {
        let check = |shown: &[u8], expect: bool| assert_eq!(same(shown, b"right-secret"), expect, "{shown:?}");
        check(b"right-secret", true);
        check(b"right-secre", false);
        check(b"right-secret ", false);
        check(b"Right-secret", false);
        check(b"", false);
        check(&[0xff; 100_000], false);
    }

    #[test]
    fn the_form_of_secrets() {
        let check = |secret: &str, expect: bool| assert_eq!(is_secret(secret), expect, "{secret:?}");
        check("a", true);
        check("AZaz09_-", true);
        check(&"a".repeat(256), true);
        check(&"a".repeat(257), false);
        check("", false);
        check("with space", false);
        check("with\nline", false);
        check("\u{e9}", false);
    }

    fn judged(looks: &[(i64, i64)]) -> Vec<Option<String>> {
        let mut seen = Seen::default();
        let state = |(pending_update_count, last_error_date): (i64, i64)| WebhookState {
            url: String::new(),
            pending_update_count,
            last_error_date,
            last_error_message: "Wrong response\n from CANARY: 503".to_owned(),
        };
        looks.iter().map(|look| judge(&state(*look), &mut seen, "CANARY")).collect()
    }

    #[test]
    fn a_new_failed_delivery_is_a_trouble_until_the_next_look() {
        let failed = Some("telegram cannot deliver updates: Wrong response from <secret>: 503".to_owned());
        let check = |looks: &[(i64, i64)], expect: &[Option<String>]| assert_eq!(judged(looks), expect, "{looks:?}");
        check(&[(0, 0), (0, 0)], &[None, None]);
        check(&[(0, 0), (1, 500), (0, 500), (1, 560)], &[None, failed.clone(), None, failed.clone()]);
        check(&[(5, 400), (0, 400), (1, 500)], &[None, None, failed]);
    }

    #[test]
    fn more_and_more_updates_that_wait_are_a_trouble() {
        let grown = |pending: i64| Some(format!("{pending} updates wait at telegram, and more and more"));
        let check = |pending: &[i64], expect: &[Option<String>]| {
            let looks: Vec<(i64, i64)> = pending.iter().map(|pending| (*pending, 0)).collect();
            assert_eq!(judged(&looks), expect, "{pending:?}");
        };
        check(&[9, 9, 9], &[None, None, None]);
        check(&[0, 1, 2, 3, 0, 5], &[None, None, grown(2), grown(3), None, None]);
        check(&[100, 50, 60, 60, 70], &[None, None, None, None, None]);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let mode =
            Mode::Webhook { url: "https://example.org/hook".to_owned(), secret: Secret::new("CANARY".to_owned()) };
        let shown = format!("{mode:?}");
        assert!(shown.contains("example.org") && !shown.contains("CANARY"), "{shown}");
    }
}
