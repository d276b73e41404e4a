//! Where everything comes in: who speaks, is it a command, does it wait for a turn.
//!
//! Authorisation is [`blufio_core::access::authorize`] and happens before anything reads the content. What is decided here is
//! committed together with the channel's cursor; only then are sessions woken and answers sent.

use crate::engine::Engine;
use crate::host::status_text;
use blufio_core::access::{Access, Principal, Refusal, authorize, pairing_code};
use blufio_core::command::{self, Command};
use blufio_core::failpoint::{Failpoint, hit};
use blufio_core::ids::{ChannelName, InboxId, SessionKey};
use blufio_core::limits::INBOUND_TEXT_BYTES_MAX;
use blufio_core::port::{Boxed, Inbound, InboundKind, Intake, IntakeError, StoreError};
use blufio_core::record::{Accepted, Batch, Draft, Fate, Item, Route, Shared, Taken};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// While the inbox is full.
const FULL_PAUSE: Duration = Duration::from_millis(500);

const HELLO: &str =
    "Hello, I am Blufio, your agent. Write to me as you would to a person. /help lists what else I understand.";
const UNREADABLE: &str = "I can only read text so far.";
const TOO_LONG: &str = "This message is too long for me (64 KiB is the most).";
const QUEUE_FULL: &str =
    "I have too many of your messages waiting. Please send this again when I have caught up, or /stop.";

/// The intake of one channel.
pub(crate) struct ChannelIntake {
    engine: Arc<Engine>,
    channel: ChannelName,
    /// Cursors as stored, by account.
    cursors: Mutex<BTreeMap<i64, i64>>,
    /// The last batch did not fit.
    full: std::sync::atomic::AtomicBool,
}

/// Somebody's message, with who they are settled.
pub(crate) struct Message {
    pub session: SessionKey,
    pub route: Route,
    pub principal: Principal,
    pub text: String,
    pub addressee: Option<String>,
}

impl ChannelIntake {
    pub fn new(engine: Arc<Engine>, channel: ChannelName, cursors: BTreeMap<i64, i64>) -> Self {
        Self { engine, channel, cursors: Mutex::new(cursors), full: false.into() }
    }

    async fn take(&self, account: i64, inbound: Vec<Inbound>, cursor: i64) -> Result<(), IntakeError> {
        let mut items = Vec::with_capacity(inbound.len());
        for update in inbound {
            items.push(self.judge(account, update).await);
        }
        let at = self.engine.adapters.clock.now();
        let channel = self.channel.clone();
        let accepted = accept(&self.engine, Batch { channel, account, items, cursor: Some(cursor), at }).await;
        let full = matches!(accepted, Err(StoreError::Full(_)));
        self.full.store(full, std::sync::atomic::Ordering::SeqCst);
        accepted.map_err(|error| IntakeError(error.to_string()))?;
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner).insert(account, cursor);
        Ok(())
    }

    async fn judge(&self, account: i64, inbound: Inbound) -> Item {
        let Inbound { update, fingerprint, raw, kind } = inbound;
        let fate = self.fate(account, kind).await;
        metrics::counter!("blufio_inbound_total", "channel" => self.channel.to_string(), "fate" => fate_word(&fate))
            .increment(1);
        // Nothing of what a stranger wrote is kept.
        let raw = if matches!(fate, Fate::Drop { .. } | Fate::Pair { .. }) { Shared::from([]) } else { raw };
        Item { update, fingerprint, raw, fate }
    }

    async fn fate(&self, account: i64, kind: InboundKind) -> Fate {
        let rules = self.engine.rules(&self.channel, account);
        match kind {
            InboundKind::Ignored(_) => Fate::Drop { reason: "ignored" },
            InboundKind::Malformed => Fate::Poison,
            InboundKind::Edited { sender, session, message, text } => match authorize(&sender, &rules) {
                // Without words, or with too many, it would have got no turn either.
                Access::Granted(_) if text.trim().is_empty() || text.len() > INBOUND_TEXT_BYTES_MAX => {
                    Fate::Drop { reason: "unreadable" }
                }
                Access::Granted(_) => Fate::Edit { session, message, text },
                Access::MayPair => Fate::Drop { reason: Refusal::Stranger.as_str() },
                Access::Refused(refusal) => Fate::Drop { reason: refusal.as_str() },
            },
            InboundKind::Message { sender, name, route, session, text, addressee } => {
                match authorize(&sender, &rules) {
                    Access::Granted(principal) => {
                        fate(&self.engine, Message { session, route, principal, text, addressee }).await
                    }
                    Access::MayPair => self.pairing(account, sender.user, name, &route),
                    Access::Refused(refusal) => Fate::Drop { reason: refusal.as_str() },
                }
            }
        }
    }

    fn pairing(&self, account: i64, user: i64, name: String, route: &Route) -> Fate {
        let code = pairing_code(self.engine.adapters.rng.bits());
        let text = format!(
            "I do not know you yet. If I am yours, run this where I live:\n\n`blufio pairing approve {code}`\n\nThe code is valid for one hour."
        );
        tracing::info!(account, user, "a stranger asks to be paired; `blufio pairing list` shows the code");
        match first(self.engine.drafts(route, &text, None)) {
            Some(reply) => Fate::Pair { user, name, code, reply },
            None => Fate::Drop { reason: Refusal::Stranger.as_str() },
        }
    }
}

impl Intake for ChannelIntake {
    fn accept(&self, account: i64, batch: Vec<Inbound>, cursor: i64) -> Boxed<'_, Result<(), IntakeError>> {
        Box::pin(self.take(account, batch, cursor))
    }

    fn cursor(&self, account: i64) -> Option<i64> {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner).get(&account).copied()
    }

    fn ready(&self) -> Boxed<'_, ()> {
        Box::pin(async move {
            if self.full.load(std::sync::atomic::Ordering::SeqCst) {
                self.engine.adapters.clock.sleep(FULL_PAUSE).await;
            }
        })
    }
}

/// What becomes of a message from somebody who may speak.
pub(crate) async fn fate(engine: &Arc<Engine>, message: Message) -> Fate {
    let Message { session, route, principal, text, addressee } = message;
    let answer = |text: String| Fate::Answer { reply: first(engine.drafts(&route, &text, None)), text };
    match command::parse(&text, addressee.as_deref()) {
        Some(Command::Stop) => {
            let text = if engine.sessions.is_busy(&session) { "Stopped." } else { "Nothing is running." }.to_owned();
            Fate::Stop { session, reply: first(engine.drafts(&route, &text, None)), text }
        }
        Some(Command::Start) => answer(HELLO.to_owned()),
        Some(Command::Help) => answer(help()),
        Some(Command::Status) => answer(status_text(engine, &session, &principal).await),
        None if text.trim().is_empty() => answer(UNREADABLE.to_owned()),
        None if text.len() > INBOUND_TEXT_BYTES_MAX => answer(TOO_LONG.to_owned()),
        command @ (Some(Command::New | Command::Model(_)) | None) => {
            // Whom a command was addressed to is settled here; text that only looks like one is left as it is.
            let text = if command.is_some() { strip_addressee(text) } else { text };
            let when_full = first(engine.drafts(&route, QUEUE_FULL, None));
            let pending_max = engine.settings.pending_messages;
            Fate::Queue { session, route, principal, text, when_full, pending_max }
        }
    }
}

/// Commits a batch, then lets what follows from it happen. A task of its own sees to both: whoever handed the batch in may go
/// away in between.
pub(crate) async fn accept(engine: &Arc<Engine>, batch: Batch) -> Result<Vec<Accepted>, StoreError> {
    let worker = engine.clone();
    let work = async move {
        let fates: Vec<Fate> = batch.items.iter().map(|item| item.fate.clone()).collect();
        hit(Failpoint::IntakeBeforeCommit);
        let accepted = worker.adapters.storage.accept(batch).await?;
        hit(Failpoint::IntakeAfterCommit);
        for (fate, accepted) in fates.into_iter().zip(&accepted) {
            // A repeat wakes once more, which does no harm: the first time may have been cut short.
            if accepted.new || accepted.taken == Taken::Queued {
                follow(&worker, fate, accepted.inbox, accepted.taken);
            }
        }
        Ok(accepted)
    };
    engine.tasks.spawn("intake", work).await.ok().flatten().unwrap_or(Err(StoreError::Closed))
}

fn follow(engine: &Arc<Engine>, fate: Fate, inbox: InboxId, taken: Taken) {
    let reply = match fate {
        Fate::Queue { session, when_full, .. } => {
            if taken == Taken::Queued {
                engine.wake(&session);
                return;
            }
            when_full
        }
        Fate::Stop { session, reply, .. } => {
            engine.sessions.stop(&session, inbox);
            reply
        }
        Fate::Answer { reply, .. } => reply,
        Fate::Pair { reply, .. } => Some(reply),
        Fate::Edit { .. } | Fate::Drop { .. } | Fate::Poison => None,
    };
    if let Some(draft) = reply
        && let Some(dispatcher) = engine.dispatchers.get(&draft.route.channel)
    {
        dispatcher.poke(&draft.route);
    }
}

/// `/new@name` becomes `/new`: whom it was addressed to is settled.
fn strip_addressee(text: String) -> String {
    match text.trim_start().split_once('@') {
        Some((command, rest)) if command.starts_with('/') && !command.contains(char::is_whitespace) => {
            let argument = rest.split_once(char::is_whitespace).map_or("", |(_, argument)| argument);
            format!("{command} {argument}").trim_end().to_owned()
        }
        _ => text,
    }
}

fn help() -> String {
    let lines: Vec<String> = command::MENU.iter().map(|(name, about)| format!("/{name} – {about}")).collect();
    format!("Write to me as you would to a person. I also understand:\n\n{}", lines.join("\n"))
}

fn first(drafts: Vec<Draft>) -> Option<Draft> {
    drafts.into_iter().next()
}

const fn fate_word(fate: &Fate) -> &'static str {
    match fate {
        Fate::Queue { .. } => "queued",
        Fate::Stop { .. } | Fate::Answer { .. } => "command",
        Fate::Pair { .. } => "pairing",
        Fate::Edit { .. } => "edit",
        Fate::Drop { .. } => "dropped",
        Fate::Poison => "poison",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addressee_of_a_command_is_taken_off() {
        let strip = |text: &str| strip_addressee(text.to_owned());
        assert_eq!(strip("/model@my_bot opus"), "/model opus");
        assert_eq!(strip("/new@my_bot"), "/new");
        assert_eq!(strip("mail me at a@b.c"), "mail me at a@b.c");
        assert_eq!(strip("/etc is @home"), "/etc is @home");
    }
}
