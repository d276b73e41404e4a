//! Secrets from the environment, held in memory and shown nowhere.

use crate::failure::Failure;
use blufio_core::port::SecretStore;
use std::collections::BTreeMap;
use std::fmt;

/// Environment variables that hold secrets, with the names under which [`EnvSecrets`] knows them.
pub const SECRET_VARIABLES: [(&str, &str); 4] = [
    ("ANTHROPIC_API_KEY", "anthropic.api_key"),
    ("TELEGRAM_BOT_TOKEN", "telegram.bot_token"),
    ("TELEGRAM_WEBHOOK_SECRET", WEBHOOK_SECRET),
    ("TRANSCRIPTION_API_KEY", "transcription.api_key"),
];

/// The name of the secret that Telegram sends along with updates.
const WEBHOOK_SECRET: &str = "telegram.webhook_secret";
/// Least characters of it; the Bot API would take one, which is guessed soon.
const WEBHOOK_SECRET_CHARS_MIN: usize = 32;
/// Most characters of it that the Bot API takes (`setWebhook`, `secret_token`).
const WEBHOOK_SECRET_CHARS_MAX: usize = 256;

/// The secrets that were in the environment at start.
#[derive(Clone, Default)]
pub struct EnvSecrets(BTreeMap<&'static str, String>);

impl EnvSecrets {
    /// Keeps one; blank ones are none.
    pub fn put(&mut self, name: &'static str, value: String) {
        let value = value.trim();
        if !value.is_empty() {
            self.0.insert(name, value.to_owned());
        }
    }
}

impl SecretStore for EnvSecrets {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }
}

impl fmt::Debug for EnvSecrets {
    /// The names only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The secret that webhook mode needs: 32 to 256 of `A-Z a-z 0-9 _ -`. Without it, or with another form, the program must
/// not start, since anybody could send updates.
pub fn webhook_secret(secrets: &dyn SecretStore) -> Result<String, Failure> {
    let refused = |message: &str| Failure {
        message: message.to_owned(),
        cause: None,
        hint: Some(
            "set TELEGRAM_WEBHOOK_SECRET in the environment, for example to what `openssl rand -hex 32` prints"
                .to_owned(),
        ),
        code: Failure::PERMISSION,
    };
    let Some(secret) = secrets.get(WEBHOOK_SECRET) else {
        return Err(refused("there is no secret for the webhook of Telegram"));
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let length = WEBHOOK_SECRET_CHARS_MIN..=WEBHOOK_SECRET_CHARS_MAX;
    if !length.contains(&secret.len()) || !secret.bytes().all(fits) {
        return Err(refused("the secret for the webhook of Telegram must have 32 to 256 of A-Z a-z 0-9 _ -"));
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let mut secrets = EnvSecrets::default();
        secrets.put("anthropic.api_key", " sk-canary ".to_owned());
        secrets.put("telegram.bot_token", "  ".to_owned());
        assert_eq!(secrets.get("anthropic.api_key").as_deref(), Some("sk-canary"));
        assert_eq!(secrets.get("telegram.bot_token"), None);
        assert!(!format!("{secrets:?}").contains("canary"));
    }

    #[test]
    fn the_secret_of_the_webhook_has_its_form() {
        let check = |value: &str, accepted: bool| {
            let mut secrets = EnvSecrets::default();
            secrets.put("telegram.webhook_secret", value.to_owned());
            let read = webhook_secret(&secrets);
            assert_eq!(read.as_deref().ok(), accepted.then_some(value), "{value}");
            let shown = format!("{:?}", read.err());
            assert!(value.is_empty() || !shown.contains(value), "the message shows the secret: {shown}");
        };
        check("", false);
        check(&"a".repeat(31), false);
        check(&"aZ9_-xyz".repeat(4), true);
        check(&"a".repeat(256), true);
        check(&"a".repeat(257), false);
        check(&format!("{}.", "a".repeat(32)), false);
        check(&format!("{} b", "a".repeat(32)), false);
        check(&"ä".repeat(32), false);
    }
}
