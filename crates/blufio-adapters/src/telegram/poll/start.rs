//! What comes before the first update, whichever way it comes: one receiver per bot, who the bot is, and what it cannot see.

use super::super::Telegram;
use super::super::api::ApiError;
use super::super::webhook::Delivery;
use super::super::wire::Me;
use super::pause::{BACKOFF, Backoff, asked_for};
use blufio_core::port::{ChannelError, Intake};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// What a bot is known by in this process: a hash of its address with the token.
pub(in crate::telegram) type Identity = [u8; 32];

/// The bots that this process receives for; two polls of one bot would end each other in turns. In webhook mode with the
/// way to the one who takes updates in.
static RECEIVERS: Mutex<BTreeMap<Identity, Option<mpsc::Sender<Delivery>>>> = Mutex::new(BTreeMap::new());

/// The right to receive for a bot, given back when it is dropped.
pub(in crate::telegram) struct OnlyReceiver(Identity);

impl OnlyReceiver {
    pub(in crate::telegram) fn claim(identity: Identity) -> Option<Self> {
        let mut receivers = receivers();
        if receivers.contains_key(&identity) {
            return None;
        }
        receivers.insert(identity, None);
        Some(Self(identity))
    }

    /// From now on until this is dropped, what is brought goes to the other end of `door`.
    pub(in crate::telegram) fn open(&self, door: mpsc::Sender<Delivery>) {
        receivers().insert(self.0, Some(door));
    }
}

impl Drop for OnlyReceiver {
    fn drop(&mut self) {
        receivers().remove(&self.0);
    }
}

/// The way to the one who takes this bot's updates in, if there is one now.
pub(in crate::telegram) fn door(identity: &Identity) -> Option<mpsc::Sender<Delivery>> {
    receivers().get(identity).cloned().flatten()
}

fn receivers() -> MutexGuard<'static, BTreeMap<Identity, Option<mpsc::Sender<Delivery>>>> {
    RECEIVERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks who the bot is until there is an answer; a known one is good for a day.
pub(in crate::telegram) async fn identify(telegram: &Telegram) -> Result<Me, ChannelError> {
    let mut backoff = Backoff::new(BACKOFF);
    loop {
        if let Some(known) = telegram.known_bot() {
            return Ok(known);
        }
        let error = match telegram.ask_who_we_are().await {
            Ok(bot) => {
                telegram.remember_bot(bot);
                continue;
            }
            Err(error) if error.is_unauthorized() => return Err(refused(telegram, &error)),
            Err(error) => error,
        };
        let pause = match &error {
            ApiError::Status { code: 429, retry_after, .. } => asked_for(*retry_after, telegram.rng.as_ref()),
            _ => backoff.next(telegram.rng.as_ref()),
        };
        tracing::warn!(%error, ?pause, "telegram did not say who the bot is");
        telegram.clock.sleep(pause).await;
    }
}

/// The token is refused: nothing is asked again before a person has acted.
pub(in crate::telegram) fn refused(telegram: &Telegram, error: &ApiError) -> ChannelError {
    telegram.forget_bot();
    if let ApiError::NoToken(reason) = error {
        telegram.health.failed(reason);
        return ChannelError::Fatal((*reason).to_owned());
    }
    let reason = "telegram refuses the bot token";
    telegram.health.failed(reason);
    ChannelError::Fatal(format!("{reason} ({error})"))
}

/// With its privacy mode on, the server passes on only what is meant for the bot: whoever configured it to read along
/// would wait in vain. Nothing fails, so the channel stays ready.
pub(in crate::telegram) fn warn_of_privacy_mode(telegram: &Telegram, bot: &Me, intake: &dyn Intake) {
    if !telegram.reads_groups || bot.can_read_all_group_messages {
        return;
    }
    tracing::warn!("telegram's privacy mode is on for this bot; in groups it sees only what is addressed to it");
    let name = bot.username.as_deref().map(|name| format!("@{name}")).unwrap_or_else(|| "this bot".to_owned());
    let words = format!(
        "Telegram's privacy mode is on, so in groups I see only commands, mentions and replies to me, although I am set \
         up to read along. To change that: write /setprivacy to @BotFather, choose {name}, then Disable. After that, \
         remove me from each group and add me again."
    );
    intake.tell_owner("telegram privacy", words);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bot_is_received_for_once_per_process() {
        let first = OnlyReceiver::claim([7; 32]);
        assert!(first.is_some());
        assert!(OnlyReceiver::claim([7; 32]).is_none());
        assert!(OnlyReceiver::claim([8; 32]).is_some());
        drop(first);
        assert!(OnlyReceiver::claim([7; 32]).is_some());
    }

    #[test]
    fn a_door_is_shut_with_its_receiver() {
        let receiver = OnlyReceiver::claim([9; 32]);
        assert!(door(&[9; 32]).is_none());
        let (sender, _queue) = mpsc::channel(1);
        receiver.iter().for_each(|receiver| receiver.open(sender.clone()));
        assert!(door(&[9; 32]).is_some());
        drop(receiver);
        assert!(door(&[9; 32]).is_none());
    }
}
